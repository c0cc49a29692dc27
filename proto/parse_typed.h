/* Objects that name a type and give it its parameters, as scheduler and solver.schedule. For proto/ only. */
#ifndef FMP_PARSE_TYPED_H
#define FMP_PARSE_TYPED_H

#include "proto/parse.h"

#define FMP_TYPED_MAX 5

typedef struct fmp_typed {
    const char *pointer; /* "/scheduler" */
    const char *type;    /* "vp" */
    size_t n;
    const char *names[FMP_TYPED_MAX]; /* [n] members that the type has */
    double values[FMP_TYPED_MAX];     /* [n] defaults, then what the request says */
} fmp_typed;

/* Refuses members among the rows first … last that are another type's: they would pass silently. */
void fmp_typed_refuse_others(fmp_parse *parse, const fmp_typed *typed, fmp_field_id first,
                             fmp_field_id last);
/* Numbers of the request over the defaults. False where one is refused. */
bool fmp_typed_read(const fmp_parse *parse, fmp_typed *typed);

#endif
