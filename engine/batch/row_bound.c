/* A row of FM_TASK_BOUND: the evidence lower bound of a point of tokens, draw by draw (engine/solve/elbo.h). */
#include "engine/batch/job.h"
#include "engine/model.h"

/* Until so near to the data: with uniform tokens the bound of a network that is not exact has no limit at 1. */
#define LAST_OF_UNIFORM 0.999

fm_elbo_plan fm_job_bound_plan(const fm_job_spec *spec)
{
    const fm_model_config *config = &spec->model->config;
    bool is_mask = config->space.parts[0].source.id == FM_SOURCE_MASK;
    return (fm_elbo_plan){.space = &config->space,
                          .path = &config->path,
                          .last = is_mask ? 1 : LAST_OF_UNIFORM,
                          .n_draws = spec->bound_draws,
                          .seed = spec->seed};
}

fm_status fm_job_check_bound(const fm_job_spec *spec, fm_error *err)
{
    if (!fm_job_is_direct(spec)) {
        return fm_fail(err, FM_EINVAL, "a bound is of tokens, which model %s has not alone",
                       spec->model->config.name);
    }
    if (spec->x == NULL) {
        return fm_fail(err, FM_EINVAL, "a bound needs points x");
    }
    fm_elbo_plan plan = fm_job_bound_plan(spec);
    return fm_elbo_check(&plan, err);
}

void fm_row_bound_start(fm_row *row)
{
    const fm_job *job = row->job;
    const double *x = job->spec.x + row->index * job->dimension;
    row->elbo = fm_elbo_init(row->memory, &job->bound, row->index, x);
    fm_row_bound_advance(row);
}

static void end(fm_row *row)
{
    fm_job *job = row->job;
    fm_elbo_report report;
    fm_elbo_describe(row->elbo, &report);
    job->log_likelihood[row->index] = report.bound;
    job->standard_error[row->index] = report.standard_error;
    job->records[row->index] = (fm_row_record){
        .status = report.status, .t = job->bound.last, .evaluations = report.evaluations};
    row->ended = true;
}

void fm_row_bound_advance(fm_row *row)
{
    if (!fm_elbo_next(row->elbo, &row->want)) {
        end(row);
    }
}
