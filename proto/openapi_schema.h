/* The schemas of the OpenAPI document's components; for openapi.c. */
#ifndef FMP_OPENAPI_SCHEMA_H
#define FMP_OPENAPI_SCHEMA_H

#include "proto/api.h"
#include "proto/json.h"

/* "schemas": those of openapi_schemas.def and the two request bodies, out of api.def. */
void fmp_openapi_write_schemas(fmp_json *json, const fmp_limits *limits);

#endif
