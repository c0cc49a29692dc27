/* solver.schedule: a named family of time grids. */
#include "proto/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE_STEPS 50

/* The row of a parameter, by its name. */
static fmp_field_id parameter_row(const fmp_parse *parse, const char *name)
{
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "/solver/schedule/%s", name);
    return fmp_field_find(parse->route, pointer, strlen(pointer));
}

static bool is_of_type(const fm_schedule_type *type, const char *name)
{
    const char *own = NULL;
    double ignored = 0;
    for (size_t i = 0; fm_schedule_type_parameter(type, i, &own, &ignored); i++) {
        if (strcmp(own, name) == 0) {
            return true;
        }
    }
    return false;
}

static void refuse_others(fmp_parse *parse, const fm_schedule_type *type)
{
    unsigned first = FMP_FIELD_SOLVER_SCHEDULE_STEPS + 1, last = FMP_FIELD_SOLVER_SCHEDULE_STD;
    for (unsigned id = first; id <= last; id++) {
        const char *name = fmp_field_name(fmp_field_at(id));
        if (parse->present[id] && !is_of_type(type, name)) {
            fmp_parse_fail(parse, (fmp_field_id)id, "is not of schedule %s",
                           fm_schedule_type_name(type));
        }
    }
}

/* Tokens of an image model's input where nothing is said: patches of two by two pixels. */
static double default_length(const fm_model_info *model)
{
    bool is_image = strcmp(model->output_kind, "image") == 0;
    return is_image ? (double)(model->shape[1] * model->shape[2]) / 4 : (double)NAN;
}

/* False where a value is refused. */
static bool read_parameters(const fmp_parse *parse, fm_schedule *ret)
{
    const char *name = NULL;
    bool usable = true;
    for (size_t i = 0; fm_schedule_type_parameter(ret->type, i, &name, &ret->parameters[i]); i++) {
        fmp_field_id row = parameter_row(parse, name);
        if (parse->values[row] != NULL) {
            ret->parameters[i] = json_number_value(parse->values[row]);
        } else if (row == FMP_FIELD_SOLVER_SCHEDULE_LENGTH) {
            ret->parameters[i] = default_length(parse->model);
        }
        usable = usable && parse->present[row] == (parse->values[row] != NULL);
    }
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
    refuse_others(parse, schedule->type);
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
