/* States on the way: at asked times, equally spaced, or at every step. */
#include "proto/parse.h"

#include <assert.h>
#include <string.h>

static bool wants_every_step(const fmp_parse *parse)
{
    return json_is_true(parse->values[FMP_FIELD_TRAJECTORY_EVERY_STEP]);
}

static size_t count_kinds(const fmp_parse *parse)
{
    /* A value that broke its row's rule still says which kind was wanted; false says none. */
    bool every_step = parse->present[FMP_FIELD_TRAJECTORY_EVERY_STEP] &&
                      !json_is_false(parse->values[FMP_FIELD_TRAJECTORY_EVERY_STEP]);
    return (size_t)parse->present[FMP_FIELD_TRAJECTORY_TIMES] +
           (size_t)parse->present[FMP_FIELD_TRAJECTORY_POINTS] + (size_t)every_step;
}

static void set_times(fmp_parse *parse, double *times, size_t n_times)
{
    parse->request->output_times = times;
    parse->request->spec.output_times = times;
    parse->request->spec.n_output_times = n_times;
}

static void read_times(fmp_parse *parse)
{
    const fm_solver *solver = &parse->request->spec.solver;
    size_t n = fmp_parse_count(parse, FMP_FIELD_TRAJECTORY_TIMES);
    double first = fmp_parse_number_at(parse, FMP_FIELD_TRAJECTORY_TIMES, 0);
    double last = fmp_parse_number_at(parse, FMP_FIELD_TRAJECTORY_TIMES, n - 1);
    double start = solver->grid[0], end = solver->grid[solver->n_grid - 1];
    double direction = end > start ? 1 : -1; /* the times run that way, too */
    if ((first - start) * direction < 0 || (end - last) * direction < 0) {
        fmp_parse_fail(parse, FMP_FIELD_TRAJECTORY_TIMES,
                       "must lie between the grid's first and last time");
        return;
    }
    double *times = fmp_parse_alloc(parse, n, sizeof *times);
    if (times == NULL) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        times[i] = fmp_parse_number_at(parse, FMP_FIELD_TRAJECTORY_TIMES, i);
    }
    set_times(parse, times, n);
}

static void read_points(fmp_parse *parse, json_t *value)
{
    const fm_solver *solver = &parse->request->spec.solver;
    int64_t points = 0;
    bool is_integer = fmp_parse_integer(value, &points);
    assert(is_integer && points >= 2);
    double *times = fmp_parse_alloc(parse, (size_t)points, sizeof *times);
    if (times != NULL) {
        fm_grid_uniform(solver->grid[0], solver->grid[solver->n_grid - 1], (size_t)points - 1,
                        times);
        set_times(parse, times, (size_t)points);
    }
}

/* At the ends, which are the only times where a field may have no value. */
static void check_fields(fmp_parse *parse)
{
    const fm_job_spec *spec = &parse->request->spec;
    const double *times = spec->output_every_step ? spec->solver.grid : spec->output_times;
    size_t n = spec->output_every_step ? spec->solver.n_grid : spec->n_output_times;
    if (times != NULL && n > 0) {
        fmp_parse_check_fields_at(parse, "/trajectory/fields", times[0]);
        if (n > 1) {
            fmp_parse_check_fields_at(parse, "/trajectory/fields", times[n - 1]);
        }
    }
}

void fmp_parse_trajectory(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    if (parse->values[FMP_FIELD_TRAJECTORY] == NULL) {
        return;
    }
    request->has_trajectory = true;
    request->spec.fields = fmp_parse_wanted_fields(parse, FMP_FIELD_TRAJECTORY_FIELDS, FM_FIELD_X);
    if (count_kinds(parse) != 1) {
        fmp_parse_fail(parse, FMP_FIELD_TRAJECTORY,
                       "must have exactly one of times, points and every_step");
        return;
    }
    const fm_solver *solver = &request->spec.solver;
    request->spec.output_every_step = wants_every_step(parse);
    if (request->spec.output_every_step && solver->method != NULL &&
        fm_method_describe(solver->method)->adaptive && request->encoding == FMP_ENCODING_BASE64) {
        fmp_parse_fail(parse, FMP_FIELD_TRAJECTORY_EVERY_STEP,
                       "must not be true with base64 and an adaptive method: each sample has its "
                       "own times");
    }
    if (solver->grid == NULL) {
        return; /* the grid is refused already; what lies within it is not known */
    }
    if (parse->values[FMP_FIELD_TRAJECTORY_TIMES] != NULL) {
        read_times(parse);
    } else if (parse->values[FMP_FIELD_TRAJECTORY_POINTS] != NULL) {
        read_points(parse, parse->values[FMP_FIELD_TRAJECTORY_POINTS]);
    }
    check_fields(parse);
}
