/* Another path than the trained one: its type, its parameters or points, and the times that it has. */
#include "proto/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_SPAN 1e-6 /* of times that grids can divide */

/* The rows of parameters, by their names. */
static fmp_field_id parameter_row(const fmp_parse *parse, const char *name)
{
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "/scheduler/%s", name);
    return fmp_field_find(parse->route, pointer, strlen(pointer));
}

static bool is_of_type(const fm_path_type *type, const char *name)
{
    const char *own = NULL;
    double ignored = 0;
    if (fm_path_type_is_table(type)) {
        return strcmp(name, "t") == 0 || strcmp(name, "alpha") == 0 || strcmp(name, "sigma") == 0;
    }
    for (size_t i = 0; fm_path_type_parameter(type, i, &own, &ignored); i++) {
        if (strcmp(own, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Keys that another type has would pass silently. */
static void refuse_others(fmp_parse *parse, const fm_path_type *type, const char *type_name)
{
    for (unsigned id = FMP_FIELD_SCHEDULER_TYPE + 1; id <= FMP_FIELD_SCHEDULER_SIGMA; id++) {
        const char *name = fmp_field_name(fmp_field_at(id));
        if (parse->present[id] && !is_of_type(type, name)) {
            fmp_parse_fail(parse, (fmp_field_id)id, "is not of scheduler %s", type_name);
        }
    }
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

/* False where a value is refused. */
static bool read_parameters(const fmp_parse *parse, const fm_path_type *type,
                            double ret[FM_PATH_MAX_PARAMETERS])
{
    const char *name = NULL;
    bool usable = true;
    for (size_t i = 0; fm_path_type_parameter(type, i, &name, &ret[i]); i++) {
        fmp_field_id row = parameter_row(parse, name);
        if (parse->values[row] != NULL) {
            ret[i] = json_number_value(parse->values[row]);
        }
        usable = usable && parse->present[row] == (parse->values[row] != NULL);
    }
    return usable;
}

static void read_path(fmp_parse *parse, const fm_path_type *type)
{
    fmp_request *request = parse->request;
    double parameters[FM_PATH_MAX_PARAMETERS] = {0};
    if (fm_path_type_is_table(type)) {
        read_table(parse);
        if (request->path_table == NULL) {
            return;
        }
    } else if (!read_parameters(parse, type, parameters)) {
        return;
    }
    fm_path path;
    fm_error err = {0};
    if (fm_path_init(&path, type, parameters, request->path_table, parse->model->path->source_std,
                     &err) != FM_OK) {
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
        refuse_others(parse, type, json_string_value(name));
        read_path(parse, type);
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
