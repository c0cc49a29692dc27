/* A type's parameters: which rows they are, and what the request says of them. */
#include "proto/parse_typed.h"

#include <stdio.h>
#include <string.h>

static fmp_field_id row_of(const fmp_parse *parse, const fmp_typed *typed, size_t i)
{
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "%s/%s", typed->pointer, typed->names[i]);
    return fmp_field_find(parse->route, pointer, strlen(pointer));
}

static bool has_member(const fmp_typed *typed, const char *name)
{
    for (size_t i = 0; i < typed->n; i++) {
        if (strcmp(typed->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

void fmp_typed_refuse_others(fmp_parse *parse, const fmp_typed *typed, fmp_field_id first,
                             fmp_field_id last)
{
    const char *kind = strrchr(typed->pointer, '/') + 1;
    for (unsigned id = first; id <= last; id++) {
        if (parse->present[id] && !has_member(typed, fmp_field_name(fmp_field_at(id)))) {
            fmp_parse_fail(parse, (fmp_field_id)id, "is not of %s %s", kind, typed->type);
        }
    }
}

bool fmp_typed_read(const fmp_parse *parse, fmp_typed *typed)
{
    bool usable = true;
    for (size_t i = 0; i < typed->n; i++) {
        fmp_field_id row = row_of(parse, typed, i);
        if (parse->values[row] != NULL) {
            typed->values[i] = json_number_value(parse->values[row]);
        }
        usable = usable && parse->present[row] == (parse->values[row] != NULL);
    }
    return usable;
}
