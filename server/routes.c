#include "server/routes.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct row {
    const char *method, *pattern;
} row;

static const row rows[FMD_ROUTE_COUNT] = {
#define FMP_ROUTE(id, method, path, summary) {method, path},
#include "proto/routes.def"
#undef FMP_ROUTE
};

/* Compares segment by segment; {model} takes any one segment that is not empty. */
static bool path_matches(const char *pattern, const char *path, char *ret_model)
{
    while (*pattern != '\0') {
        if (*pattern != '{') {
            if (*pattern++ != *path++) {
                return false;
            }
            continue;
        }
        size_t length = strcspn(path, "/");
        if (length == 0) {
            return false;
        }
        size_t kept = length <= FMD_MODEL_NAME_MAX ? length : FMD_MODEL_NAME_MAX + 1;
        memcpy(ret_model, path, kept);
        ret_model[kept] = '\0';
        pattern += strcspn(pattern, "}") + 1;
        path += length;
    }
    return *path == '\0';
}

static void allow_add(char *allow, const char *method)
{
    size_t length = strlen(allow);
    snprintf(allow + length, FMD_ALLOW_MAX - length, "%s%s", length > 0 ? ", " : "", method);
}

fmd_match fmd_route_match(const char *method, const char *path, fmd_routing *ret)
{
    *ret = (fmd_routing){.route = FMD_ROUTE_NONE};
    bool head = strcmp(method, "HEAD") == 0, every = strcmp(path, "*") == 0;
    bool known = every;
    for (size_t i = 0; i < FMD_ROUTE_COUNT && !every; i++) {
        char model[sizeof ret->model] = "";
        if (!path_matches(rows[i].pattern, path, model)) {
            continue;
        }
        known = true;
        memcpy(ret->model, model, sizeof model);
        allow_add(ret->allow, rows[i].method);
        if (strcmp(rows[i].method, "GET") == 0) {
            allow_add(ret->allow, "HEAD");
        }
        if (strcmp(rows[i].method, head ? "GET" : method) == 0) {
            ret->route = (fmd_route)i;
        }
    }
    if (every) {
        allow_add(ret->allow, "GET, HEAD, POST");
    }
    allow_add(ret->allow, "OPTIONS");
    if (ret->route != FMD_ROUTE_NONE) {
        return FMD_MATCH_ROUTE;
    }
    if (known && strcmp(method, "OPTIONS") == 0) {
        return FMD_MATCH_OPTIONS;
    }
    return known ? FMD_MATCH_WRONG_METHOD : FMD_MATCH_NOTHING;
}

const char *fmd_route_name(fmd_route route)
{
    return route < FMD_ROUTE_COUNT ? rows[route].pattern : "none";
}
