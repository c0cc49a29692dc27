/* solver.schedule: a named family of time grids. */
#include "proto/parse_typed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(FMP_TYPED_MAX >= FM_SCHEDULE_MAX_PARAMETERS, "room for every parameter");

#define BASE_STEPS 50

/* Tokens of an image model's input where nothing is said: patches of two by two pixels. */
static double default_length(const fm_model_info *model)
{
    bool is_image = strcmp(model->output_kind, "image") == 0;
    return is_image ? (double)(model->shape[1] * model->shape[2]) / 4 : (double)NAN;
}

static fmp_typed members_of(const fmp_parse *parse, const fm_schedule_type *type)
{
    fmp_typed ret = {.pointer = "/solver/schedule", .type = fm_schedule_type_name(type)};
    while (fm_schedule_type_parameter(type, ret.n, &ret.names[ret.n], &ret.values[ret.n])) {
        if (strcmp(ret.names[ret.n], "length") == 0) {
            ret.values[ret.n] = default_length(parse->model);
        }
        ret.n++;
    }
    return ret;
}

/* False where a value is refused. */
static bool read_parameters(fmp_parse *parse, fm_schedule *ret)
{
    fmp_typed members = members_of(parse, ret->type);
    fmp_typed_refuse_others(parse, &members, FMP_FIELD_SOLVER_SCHEDULE_STEPS + 1,
                            FMP_FIELD_SOLVER_SCHEDULE_STD);
    bool usable = fmp_typed_read(parse, &members);
    memcpy(ret->parameters, members.values, members.n * sizeof *members.values);
    return usable;
}

double *fmp_parse_schedule(fmp_parse *parse)
{
    fm_schedule *schedule = &parse->request->schedule;
    json_t *type = parse->values[FMP_FIELD_SOLVER_SCHEDULE_TYPE];
    json_t *steps = parse->values[FMP_FIELD_SOLVER_SCHEDULE_STEPS];
    int64_t n_steps = 0;
    if (!parse->present[FMP_FIELD_SOLVER_SCHEDULE_TYPE]) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_SCHEDULE_TYPE, "is required");
    }
    if (type == NULL) {
        return NULL;
    }
    schedule->type = fm_schedule_type_find(json_string_value(type));
    size_t most = parse->limits->max_steps;
    schedule->n_steps = BASE_STEPS < most ? BASE_STEPS : most;
    if (steps != NULL && fmp_parse_integer(steps, &n_steps)) {
        schedule->n_steps = (size_t)n_steps;
    }
    if (!read_parameters(parse, schedule)) {
        return NULL;
    }
    double *grid = fmp_parse_alloc(parse, schedule->n_steps + 1, sizeof *grid);
    const fm_path *path = parse->request->spec.path;
    fm_error err = {0};
    if (grid != NULL && fm_schedule_make(schedule, path != NULL ? path : parse->model->path,
                                         parse->span[0], parse->span[1], grid, &err) != FM_OK) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_SCHEDULE, "%s", err.text);
        free(grid);
        return NULL;
    }
    return grid;
}
