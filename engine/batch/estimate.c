/* What a job will cost: from the times of a row in a full call and of a call of one row.
 *
 *   work     rows x evaluations x seconds of a row in a full call / workers
 *   seconds  evaluations x the larger of (one call of as many rows as a worker takes, a round's work)
 *
 * A call of n rows takes what lies between the two measured points, on a line. Solvers' own time, a few
 * percent of a usual network's, does not count. */
#include "engine/batch/lane.h"

#include <assert.h>
#include <math.h>

#define MEETING_SECONDS 3e-6 /* of workers who give back and pick one after the other, a call */

/* One call of n rows, 1 <= n <= tile_rows. */
static double call_seconds(const fm_model_info *model, double n)
{
    double tile = (double)model->tile_rows;
    double full = tile * model->evaluation_seconds;
    double one = fmin(model->call_seconds, full);
    return tile > 1 ? one + (full - one) * (n - 1) / (tile - 1) : full;
}

#define GRADIENT_EVALUATIONS 3 /* that a gradient takes as long as: forth, and twice as long back */

/* What a row's evaluation takes beside its own network's rows. */
static double aside_seconds(const fm_job_spec *spec)
{
    const fm_model *others[] = {spec->guidance.model, spec->guidance.classifier};
    bool observed = spec->inverse != NULL && spec->inverse->guidance_scale != 0.0;
    double own = fm_model_describe(spec->model)->evaluation_seconds;
    double seconds = observed ? GRADIENT_EVALUATIONS * own : 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        seconds += others[i] == NULL ? 0 : fm_model_describe(others[i])->evaluation_seconds;
    }
    return seconds;
}

fm_job_estimate fm_job_estimate_of(const fm_job_spec *spec, size_t workers)
{
    const fm_model_info *model = fm_model_describe(spec->model);
    assert(workers >= 1 && model->tile_rows >= 1);
    double expected = fm_job_expected_evaluations(spec);
    double rows = (double)fm_job_network_rows(spec);
    size_t part = fm_lane_part(model->tile_rows, spec->n_rows, workers);
    part = part < spec->n_rows ? part : spec->n_rows;
    double rows_in_call = (double)part * rows / (double)spec->n_rows; /* a guided one is two */
    double asides = aside_seconds(spec);
    double call =
        call_seconds(model, fmin(rows_in_call, (double)model->tile_rows)) + (double)part * asides;
    call += part < spec->n_rows ? MEETING_SECONDS : 0;
    double round =
        (rows * model->evaluation_seconds + (double)spec->n_rows * asides) / (double)workers;
    if (model->divisible) {
        call /= (double)workers;
    }
    return (fm_job_estimate){.evaluations = (double)spec->n_rows * expected,
                             .work_seconds = expected * round,
                             .seconds = expected * fmax(call, round)};
}
