/* start of a sample: data that noise is added to, and the time from which the flow goes on. */
#include "proto/number.h"
#include "proto/parse.h"

#include <math.h>

#define LEAST_SPAN 1e-6 /* of times that grids can divide */

void fmp_parse_start(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    static const fmp_field_id members[] = {FMP_FIELD_START_X, FMP_FIELD_START_T};
    if (parse->values[FMP_FIELD_START] == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!parse->present[members[i]]) {
            fmp_parse_fail(parse, members[i], "is required");
        }
    }
    if (parse->present[FMP_FIELD_X0]) {
        fmp_parse_fail(parse, FMP_FIELD_START, "must be left out where x0 is given");
    } else if (parse->values[FMP_FIELD_START_X] != NULL) {
        request->x = fmp_parse_states(parse, FMP_FIELD_START_X, request->spec.n_rows);
        request->spec.x = request->x;
        request->spec.adds_noise = request->x != NULL;
    }
}

void fmp_parse_start_time(fmp_parse *parse)
{
    json_t *value = parse->values[FMP_FIELD_START_T];
    if (value == NULL) {
        return;
    }
    /* A path lies within 0 and 1, wherever else a model has times. */
    double t = json_number_value(value), first = fmax(parse->span[0], 0);
    double last = fmin(parse->span[1], 1);
    if (t >= first && t <= last - LEAST_SPAN) {
        parse->span[0] = t;
        return;
    }
    char from[FMP_NUMBER_MAX_BYTES + 1], to[FMP_NUMBER_MAX_BYTES + 1];
    from[fmp_number_write_double(from, first)] = '\0';
    to[fmp_number_write_double(to, last)] = '\0';
    fmp_parse_fail(parse, FMP_FIELD_START_T, "must be a time from %s to before %s (by 1e-6)", from,
                   to);
}
