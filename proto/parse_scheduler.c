/* Another path than the trained one: its type, its parameters or points, and the times that it has. */
#include "proto/parse_typed.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(FMP_TYPED_MAX >= FM_PATH_MAX_PARAMETERS, "room for every parameter");

#define LEAST_SPAN 1e-6 /* of times that grids can divide */

/* The members of a type: parameters, or the points of a table. */
static fmp_typed members_of(const fm_path_type *type, const char *name)
{
    fmp_typed ret = {.pointer = "/scheduler", .type = name};
    if (fm_path_type_is_table(type)) {
        static const char *const points[] = {"t", "alpha", "sigma"};
        ret.n = sizeof points / sizeof *points;
        memcpy(ret.names, points, sizeof points);
        return ret;
    }
    while (fm_path_type_parameter(type, ret.n, &ret.names[ret.n], &ret.values[ret.n])) {
        ret.n++;
    }
    return ret;
}

static double *read_numbers(fmp_parse *parse, fmp_field_id field, size_t n)
{
    if (!parse->present[field]) {
        fmp_parse_fail(parse, field, "is required");
        return NULL;
    }
    if (parse->values[field] == NULL) {
        return NULL; /* refused */
    }
    if (fmp_parse_count(parse, field) != n) {
        fmp_parse_fail(parse, field, "must have as many entries as t");
        return NULL;
    }
    double *values = fmp_parse_alloc(parse, n, sizeof *values);
    for (size_t i = 0; values != NULL && i < n; i++) {
        values[i] = fmp_parse_number_at(parse, field, i);
    }
    return values;
}

static void read_table(fmp_parse *parse)
{
    size_t n = fmp_parse_count(parse, FMP_FIELD_SCHEDULER_T);
    double *t = read_numbers(parse, FMP_FIELD_SCHEDULER_T, n);
    double *alpha = read_numbers(parse, FMP_FIELD_SCHEDULER_ALPHA, n);
    double *sigma = read_numbers(parse, FMP_FIELD_SCHEDULER_SIGMA, n);
    fm_error err = {0};
    if (t != NULL && alpha != NULL && sigma != NULL) {
        fm_status status = fm_path_table_new(n, t, alpha, sigma, &parse->request->path_table, &err);
        parse->out_of_memory = parse->out_of_memory || status == FM_ENOMEM;
        if (status == FM_EINVAL) {
            fmp_parse_fail(parse, FMP_FIELD_SCHEDULER, "%s", err.text);
        }
    }
    free(t);
    free(alpha);
    free(sigma);
}

static void read_path(fmp_parse *parse, const fm_path_type *type, fmp_typed *members)
{
    fmp_request *request = parse->request;
    if (fm_path_type_is_table(type)) {
        read_table(parse);
        if (request->path_table == NULL) {
            return;
        }
    } else if (!fmp_typed_read(parse, members)) {
        return;
    }
    fm_path path;
    fm_error err = {0};
    if (fm_path_init(&path, type, members->values, request->path_table,
                     parse->model->path->source_std, &err) != FM_OK) {
        fmp_parse_fail(parse, FMP_FIELD_SCHEDULER, "%s", err.text);
        return;
    }
    request->path = fmp_parse_alloc(parse, 1, sizeof *request->path);
    if (request->path != NULL) {
        *request->path = path;
        bool is_own = fm_path_equal(&path, parse->model->path);
        request->spec.path = is_own ? NULL : request->path; /* the same bytes as without */
    }
}

void fmp_parse_scheduler(fmp_parse *parse)
{
    const fm_model_info *model = parse->model;
    if (parse->values[FMP_FIELD_SCHEDULER] != NULL && !parse->present[FMP_FIELD_SCHEDULER_TYPE]) {
        fmp_parse_fail(parse, FMP_FIELD_SCHEDULER_TYPE, "is required");
    }
    json_t *name = parse->values[FMP_FIELD_SCHEDULER_TYPE];
    if (name != NULL) {
        const fm_path_type *type = fm_path_type_find(json_string_value(name));
        fmp_typed members = members_of(type, json_string_value(name));
        fmp_typed_refuse_others(parse, &members, FMP_FIELD_SCHEDULER_TYPE + 1,
                                FMP_FIELD_SCHEDULER_SIGMA);
        read_path(parse, type, &members);
    }
    const fm_path *path = parse->request->spec.path;
    fm_flow_span(model, path, parse->span);
    if (path != NULL && !(parse->span[0] + LEAST_SPAN < parse->span[1])) {
        fmp_parse_fail(parse, FMP_FIELD_SCHEDULER,
                       "must have noise levels sigma / alpha in common with the model's path");
        parse->request->spec.path = path = NULL;
        fm_flow_span(model, NULL, parse->span);
    }
    parse->source = path == NULL ? model->time_range[0] : parse->span[0];
}
