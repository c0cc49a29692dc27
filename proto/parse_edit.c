/* interpolate and edit: the given points, and the jobs that they go through. */
#include "proto/parse.h"
#include "proto/stages.h"

#include <math.h>
#include <string.h>

#define BASE_POINTS 8

bool fmp_parse_encodes(const fmp_parse *parse)
{
    return (parse->route == FMP_API_EDIT && !parse->present[FMP_FIELD_OBSERVATION]) ||
           (parse->route == FMP_API_INTERPOLATE && parse->present[FMP_FIELD_INTERPOLATE_X1]);
}

/* ---- Points ---- */

/* At least the two ends, also where so many samples are not allowed: then the two points are refused. */
static size_t count_points(const fmp_parse *parse)
{
    size_t most = parse->limits->max_samples, base = BASE_POINTS < most ? BASE_POINTS : most;
    int64_t points = 0;
    if (fmp_parse_integer(parse->values[FMP_FIELD_POINTS], &points)) {
        return (size_t)points;
    }
    return base > 2 ? base : 2;
}

static void read_ends(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    bool has_data = parse->present[FMP_FIELD_INTERPOLATE_X1];
    bool has_latents = parse->present[FMP_FIELD_INTERPOLATE_X0];
    fmp_field_id field = has_data ? FMP_FIELD_INTERPOLATE_X1 : FMP_FIELD_INTERPOLATE_X0;
    if (has_data && has_latents) {
        fmp_parse_fail(parse, FMP_FIELD_INTERPOLATE_X0, "must be left out where x1 is given");
    }
    if (!has_data && !has_latents) {
        fmp_parse_fail(parse, FMP_FIELD_INTERPOLATE_X1, "is required where x0 is left out");
    }
    parse->request->spec.n_rows = count_points(parse);
    stages->n_given = 2;
    if (parse->values[field] != NULL) {
        stages->given = fmp_parse_tensor(parse, field, stages->n_given);
    }
}

static void read_data(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    stages->n_given = 1;
    if (!parse->present[FMP_FIELD_EDIT_X1]) {
        fmp_parse_fail(parse, FMP_FIELD_EDIT_X1, "is required where observation is left out");
    }
    if (parse->present[FMP_FIELD_EDIT_NUM_SAMPLES]) {
        fmp_parse_fail(parse, FMP_FIELD_EDIT_NUM_SAMPLES,
                       "must be left out without an observation: x1 has as many as there are");
    }
    if (parse->values[FMP_FIELD_EDIT_X1] != NULL) {
        size_t found = fmp_parse_tensor_rows(parse->values[FMP_FIELD_EDIT_X1]);
        stages->given = fmp_parse_tensor(parse, FMP_FIELD_EDIT_X1, found);
        bool countable = found >= 1 && found <= parse->limits->max_samples;
        stages->n_given = countable ? found : 1;
    }
    parse->request->spec.n_rows = stages->n_given;
    stages->source_labels = fmp_parse_label_rows(parse, FMP_FIELD_SOURCE_LABELS);
}

void fmp_parse_edit_points(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    request->spec.n_rows = 1;
    if (parse->route == FMP_API_EDIT && parse->present[FMP_FIELD_OBSERVATION]) {
        fmp_parse_observation(parse);
        return;
    }
    request->stages = fmp_parse_alloc(parse, 1, sizeof *request->stages);
    if (request->stages == NULL) {
        return;
    }
    request->stages->dimension = parse->model->dimension;
    if (parse->route == FMP_API_INTERPOLATE) {
        read_ends(parse);
    } else {
        read_data(parse);
    }
}

/* ---- Jobs ---- */

static void add_job(fmp_stages *stages, fmp_stage job)
{
    stages->jobs[stages->n_jobs++] = job;
}

static void *alloc_states(fmp_parse *parse, size_t n_rows, size_t number_bytes)
{
    return fmp_parse_alloc(parse, n_rows, parse->model->dimension * number_bytes);
}

static void plan_encoding(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    const fm_solver *solver = &parse->request->spec.solver;
    stages->backward = fmp_parse_alloc(parse, solver->n_grid, sizeof *stages->backward);
    for (size_t i = 0; stages->backward != NULL && i < solver->n_grid; i++) {
        stages->backward[i] = solver->grid[solver->n_grid - 1 - i];
    }
    add_job(stages, FMP_STAGE_ENCODE);
}

static void plan_interpolation(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    const char *name = json_string_value(parse->values[FMP_FIELD_INTERPOLATION]);
    stages->interpolation = name != NULL ? fm_interpolation_find(name) : FM_INTERPOLATION_SLERP;
    stages->weights = fmp_parse_alloc(parse, stages->n_rows, sizeof *stages->weights);
    if (stages->weights == NULL || parse->out_of_memory) {
        return;
    }
    fm_grid_uniform(0, 1, stages->n_rows - 1, stages->weights);
    if (fmp_parse_encodes(parse)) {
        stages->encoded = alloc_states(parse, stages->n_given, sizeof(double));
    } else {
        fmp_stages_interpolate(stages, stages->given, stages->given + stages->dimension);
    }
}

/* Only the source's noise can be drawn anew. */
static void read_noise(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    double first = parse->request->spec.solver.grid[0];
    json_t *value = parse->values[FMP_FIELD_NOISE];
    stages->noise = value != NULL ? json_number_value(value) : 0;
    if (stages->noise > 0 && fabs(first - parse->source) > FMP_SOURCE_MARGIN) {
        fmp_parse_fail(parse, FMP_FIELD_NOISE,
                       "must be 0 where the grid does not begin at the source");
    }
}

static void plan_edit(fmp_parse *parse)
{
    fmp_stages *stages = parse->request->stages;
    read_noise(parse);
    stages->errors = fmp_parse_alloc(parse, stages->n_given, sizeof *stages->errors);
    for (size_t i = 0; stages->errors != NULL && i < stages->n_given; i++) {
        stages->errors[i] = (double)NAN;
    }
    if (!json_is_false(parse->values[FMP_FIELD_ROUND_TRIP])) {
        stages->encoded = alloc_states(parse, stages->n_given, sizeof(double));
        add_job(stages, FMP_STAGE_ROUND_TRIP);
    }
}

void fmp_parse_edit_jobs(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    fmp_stages *stages = request->stages;
    if (stages == NULL || stages->given == NULL || request->spec.solver.grid == NULL) {
        return; /* refused, or of one job: with an observation */
    }
    stages->n_rows = request->spec.n_rows;
    request->x = alloc_states(parse, stages->n_rows, sizeof *request->x);
    request->spec.x = stages->x = request->x;
    stages->path = request->spec.path != NULL ? request->spec.path : parse->model->path;
    stages->latents = alloc_states(parse, stages->n_rows, sizeof *stages->latents);
    stages->earlier = fmp_parse_alloc(parse, stages->n_given, sizeof *stages->earlier);
    if (fmp_parse_encodes(parse)) {
        plan_encoding(parse);
    }
    if (parse->route == FMP_API_INTERPOLATE) {
        plan_interpolation(parse);
    } else {
        plan_edit(parse);
    }
    add_job(stages, FMP_STAGE_DECODE);
}
