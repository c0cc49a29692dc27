/* The OpenAPI 3.1 document, generated from the tables that parse: api.def and routes.def. */
#ifndef FMP_OPENAPI_H
#define FMP_OPENAPI_H

#include "proto/request.h"

void fmp_openapi_write(fmp_buffer *buffer, const char *version, const fmp_limits *limits);

#endif
