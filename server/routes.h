/* Which route a method and a path name: proto/routes.def as a matcher. Pure. */
#ifndef FMD_ROUTES_H
#define FMD_ROUTES_H

#include <stddef.h>

typedef enum fmd_route {
#define FMP_ROUTE(id, method, path, summary) FMD_ROUTE_##id,
#include "proto/routes.def"
#undef FMP_ROUTE
    FMD_ROUTE_COUNT,
    FMD_ROUTE_NONE = FMD_ROUTE_COUNT, /* unknown path, OPTIONS, or not HTTP as it should be */
} fmd_route;

typedef enum fmd_match {
    FMD_MATCH_ROUTE,
    FMD_MATCH_OPTIONS,      /* answered from `allow` */
    FMD_MATCH_WRONG_METHOD, /* the path exists */
    FMD_MATCH_NOTHING,
} fmd_match;

#define FMD_MODEL_NAME_MAX 64
#define FMD_ALLOW_MAX      64

typedef struct fmd_routing {
    fmd_route route;
    char model[FMD_MODEL_NAME_MAX +
               2];             /* the {model} of the path, cut so that no long one matches */
    char allow[FMD_ALLOW_MAX]; /* "GET, HEAD, OPTIONS": what the path allows */
} fmd_routing;

/* HEAD is served wherever GET is, and OPTIONS everywhere. */
fmd_match fmd_route_match(const char *method, const char *path, fmd_routing *ret);
/* The path's pattern: "/v1/models/{model}/sample"; "none". */
const char *fmd_route_name(fmd_route route);

#endif
