/* velocity: which fields, at which times. */
#include "proto/parse.h"

#include <stdio.h>

static void read_times(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    size_t n_rows = request->spec.n_rows;
    const double *range = parse->model->time_range;
    json_t *value = parse->values[FMP_FIELD_T];
    bool is_list = !json_is_number(value);
    if (is_list && fmp_parse_count(parse, FMP_FIELD_T) != n_rows) {
        fmp_parse_fail_length(parse, FMP_FIELD_T, fmp_parse_count(parse, FMP_FIELD_T));
        return;
    }
    request->t = fmp_parse_alloc(parse, n_rows, sizeof *request->t);
    for (size_t i = 0; request->t != NULL && i < n_rows; i++) {
        bool is_number = !is_list || fmp_parse_is_number_at(parse, FMP_FIELD_T, i);
        request->t[i] =
            is_list ? fmp_parse_number_at(parse, FMP_FIELD_T, i) : json_number_value(value);
        bool is_inside = is_number && request->t[i] >= range[0] && request->t[i] <= range[1];
        char pointer[64] = "/t";
        if (is_list) {
            (void)snprintf(pointer, sizeof pointer, "/t/%zu", i);
        }
        if (!is_inside) {
            fmp_parse_fail_at(parse, pointer, "must be a number from %g to %g", range[0], range[1]);
        } else if (is_list || i == 0) {
            fmp_parse_check_fields_at(parse, pointer, request->t[i]);
        }
        if (!is_inside && !is_list) {
            return;
        }
    }
    request->spec.t = request->t;
}

void fmp_parse_velocity(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    request->spec.task = FM_TASK_VELOCITY;
    request->spec.fields = fmp_parse_wanted_fields(parse, FMP_FIELD_FIELDS, FM_FIELD_VELOCITY);
    if (parse->values[FMP_FIELD_T] != NULL) {
        read_times(parse);
    }
    fmp_parse_check_guidance(parse);
}
