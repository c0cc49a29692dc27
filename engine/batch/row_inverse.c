/* Rows of inverse problems: the rules of such a job, the start of methods that solve one, and replacement after a
 * step. */
#include "engine/batch/job.h"
#include "engine/inverse/operator.h"
#include "engine/inverse/replacement.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <math.h>
#include <string.h>

size_t fm_job_inverse_bytes(const fm_job_spec *spec)
{
    if (spec->inverse == NULL || spec->inverse->forward == NULL) {
        return 0;
    }
    return fm_arena_round(fm_replacement_scratch_size(spec->inverse->forward) * sizeof(double));
}

fm_solve_after_step *fm_job_after_step(const fm_job_spec *spec)
{
    return spec->inverse != NULL && spec->inverse->replaces ? fm_row_after_step : NULL;
}

/* Replaced states are those of the path, on their way from the source to data. */
static fm_status check_grid(const fm_solver *solver, fm_error *err)
{
    double first = solver->grid[0], last = solver->grid[solver->n_grid - 1];
    if (!(first >= 0 && first < last && last <= 1)) {
        return fm_fail(err, FM_EINVAL, "replacement needs a grid that ascends within [0, 1]");
    }
    return FM_OK;
}

/* That somebody uses it. */
static fm_status check_use(const fm_job_spec *spec, fm_error *err)
{
    const fm_inverse *inverse = spec->inverse;
    bool guides = inverse->guidance_scale != 0.0, samples = spec->task == FM_TASK_SAMPLE;
    if (!samples && (inverse->replaces || !guides)) {
        return fm_fail(err, FM_EINVAL, "inverse may only guide where nothing is sampled");
    }
    if (samples && !inverse->replaces && !guides && !fm_method_needs_inverse(spec->solver.method)) {
        return fm_fail(err, FM_EINVAL, "inverse must replace or guide, for %s does not use it",
                       fm_method_describe(spec->solver.method)->name);
    }
    if (guides && (!spec->model->info.has_gradients || !isfinite(inverse->guidance_scale))) {
        return fm_fail(err, FM_EINVAL,
                       "inverse.guidance_scale must be finite, of a model that has gradients");
    }
    return FM_OK;
}

fm_status fm_job_check_inverse(const fm_job_spec *spec, fm_error *err)
{
    const fm_inverse *inverse = spec->inverse;
    if (inverse == NULL) {
        return FM_OK;
    }
    fm_status status = fm_inverse_check(inverse, spec->model->config.dimension, spec->n_rows, err);
    if (status != FM_OK) {
        return fm_fail_prefix(err, status, "inverse");
    }
    status = check_use(spec, err);
    if (status == FM_OK && fm_job_needs_tangents(spec)) {
        status =
            fm_fail(err, FM_EINVAL, "densities are not integrated where something is observed");
    }
    if (status != FM_OK) {
        return status;
    }
    return inverse->replaces ? check_grid(&spec->solver, err) : FM_OK;
}

bool fm_row_start_inverse(fm_row *row, double *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    if (!fm_method_needs_inverse(spec->solver.method)) {
        return false;
    }
    const fm_inverse *inverse = spec->inverse;
    fm_operator_invert(inverse->forward, fm_inverse_lambda(inverse),
                       fm_inverse_observation(inverse, row->index), ret, row->inverse_scratch);
    return true;
}

void fm_row_after_step(void *context, size_t step, double t, double *x)
{
    const fm_row *row = context;
    const fm_job *job = row->job;
    const fm_replacement replacement = {.inverse = job->spec.inverse,
                                        .path = job->plan.path,
                                        .seed = job->spec.seed,
                                        .sample = row->index};
    fm_replacement_apply(&replacement, step, t, x, row->inverse_scratch);
}
