/* What callers may read of a finished job. */
#include "engine/batch/job.h"

#include <assert.h>
#include <math.h>

static void describe_trajectory(const fm_job *job, size_t row, fm_row_result *ret)
{
    if (job->recordings != NULL) {
        const fm_recording *recording = &job->recordings[row];
        ret->fields[FM_FIELD_X] = recording->x;
        ret->trajectory_times = recording->times;
        ret->n_trajectory = recording->count;
    } else if (job->trajectory != NULL) {
        size_t n = job->spec.n_output_times;
        ret->fields[FM_FIELD_X] = job->trajectory + row * n * job->dimension;
        ret->n_trajectory = n;
    }
}

/* Fields lie in the job's block, or one after the other in a recording of their own. */
static void describe_fields(const fm_job *job, size_t row, fm_row_result *ret)
{
    const float *own = job->recordings != NULL ? job->recordings[row].fields : NULL;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        if ((fm_job_read_fields(&job->spec) & FM_FIELD_BIT(id)) == 0) {
            continue;
        }
        if (job->fields[id] != NULL) {
            ret->fields[id] = job->fields[id] + row * job->n_outputs * job->dimension;
        } else if (own != NULL) {
            ret->fields[id] = own;
            own += job->recordings[row].count * job->dimension;
        }
    }
}

static void describe_densities(const fm_job *job, size_t row, fm_row_result *ret)
{
    bool known = job->log_likelihood != NULL;
    ret->log_likelihood = known ? job->log_likelihood[row] : (double)NAN;
    ret->standard_error = known ? job->standard_error[row] : (double)NAN;
    if (job->log_density != NULL) {
        ret->log_density = job->log_density + row * job->n_outputs;
    } else if (job->recordings != NULL) {
        ret->log_density = job->recordings[row].integrals;
    }
    if (job->divergence != NULL) {
        ret->divergence = job->divergence + row * job->n_outputs;
    } else if (job->recordings != NULL) {
        ret->divergence = job->recordings[row].divergences;
    }
}

void fm_job_row(const fm_job *job, size_t row, fm_row_result *ret)
{
    assert(row < job->spec.n_rows);
    const fm_row_record *record = &job->records[row];
    *ret = (fm_row_result){.status = record->status,
                           .t = record->t,
                           .evaluations = record->evaluations,
                           .accepted = record->accepted,
                           .rejected = record->rejected,
                           .shape = record->shape};
    if (job->spec.task == FM_TASK_SAMPLE) {
        ret->x = job->x + row * job->dimension;
        describe_trajectory(job, row, ret);
    }
    describe_fields(job, row, ret);
    describe_densities(job, row, ret);
}

fm_job_stats fm_job_statistics(const fm_job *job)
{
    double first = job->first_call_seconds > 0 ? job->first_call_seconds : job->ended_seconds;
    return (fm_job_stats){.queue_seconds = first - job->submitted_seconds,
                          .compute_seconds = job->ended_seconds - first,
                          .evaluations = fm_job_evaluations_done(job)};
}
