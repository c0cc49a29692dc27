/* One trajectory on its way: start, advance, record. */
#include "engine/batch/job.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

bool fm_row_to_float(const double *from, float *to, size_t n)
{
    bool clamped = false;
    for (size_t i = 0; i < n; i++) {
        float value = (float)from[i];
        if (!isfinite(value)) {
            value = from[i] > 0 ? FLT_MAX : -FLT_MAX;
            clamped = true;
        }
        to[i] = value;
    }
    return clamped;
}

bool fm_row_count_recording(fm_job *job, size_t bytes)
{
    size_t limit = job->spec.max_recording_bytes;
    size_t before = atomic_fetch_add_explicit(&job->recording_bytes, bytes, memory_order_relaxed);
    return limit == 0 || (bytes <= limit && before <= limit - bytes);
}

/* Room for one more state. Errors: FM_ETOOBIG beyond the job's bound; FM_ENOMEM. The recording keeps
 * what it has. */
static fm_status recording_reserve(fm_job *job, fm_recording *recording)
{
    if (recording->count < recording->capacity) {
        return FM_OK;
    }
    size_t old = recording->capacity;
    size_t capacity = old == 0 ? FM_RECORDING_STATES : old * 2;
    size_t row_bytes = job->dimension * sizeof(float);
    if (!fm_row_count_recording(
            job,
            (capacity - old) * (row_bytes + (job->n_integrals > 0 ? 2 : 1) * sizeof(double)))) {
        return FM_ETOOBIG;
    }
    float *x = fm_grow(recording->x, old * row_bytes, capacity * row_bytes);
    if (x == NULL) {
        return FM_ENOMEM;
    }
    recording->x = x;
    double *times = fm_grow(recording->times, old * sizeof *times, capacity * sizeof *times);
    if (times == NULL) {
        return FM_ENOMEM;
    }
    recording->times = times;
    if (job->n_integrals > 0) {
        double *integrals =
            fm_grow(recording->integrals, old * sizeof *integrals, capacity * sizeof *integrals);
        if (integrals == NULL) {
            return FM_ENOMEM;
        }
        recording->integrals = integrals;
    }
    recording->capacity = capacity;
    return FM_OK;
}

double *fm_row_log_density_at(fm_row *row, size_t k)
{
    fm_job *job = row->job;
    if (job->log_density != NULL) {
        return job->log_density + row->index * job->n_outputs + k;
    }
    bool recorded = job->recordings != NULL && job->recordings[row->index].integrals != NULL;
    return recorded ? job->recordings[row->index].integrals + k : NULL;
}

/* The integrals so far are kept where log densities will be. */
static void keep_integrals(fm_row *row, size_t k, const double *x)
{
    const fm_job *job = row->job;
    double *to = job->n_integrals > 0 ? fm_row_log_density_at(row, k) : NULL;
    double sum = 0;
    for (size_t i = 0; i < job->n_integrals; i++) {
        sum += x[job->dimension + i];
    }
    if (to != NULL) {
        *to = sum / (double)job->n_integrals;
    }
}

void fm_row_keep_output(void *context, size_t index, double t, const double *x)
{
    fm_row *row = context;
    fm_job *job = row->job;
    const double *exact = fm_row_exact_state(row, x);
    if (!job->spec.output_every_step) {
        assert(index < job->spec.n_output_times);
        size_t offset = (row->index * job->spec.n_output_times + index) * job->dimension;
        row->overflowed |= fm_row_to_float(exact, job->trajectory + offset, job->dimension);
        keep_integrals(row, index, x);
        row->n_recorded = index + 1;
        return;
    }
    fm_recording *recording = &job->recordings[row->index];
    fm_status status = recording_reserve(job, recording);
    if (status != FM_OK) {
        atomic_store_explicit(&job->recording_status, (int)status, memory_order_relaxed);
        return;
    }
    float *to = recording->x + recording->count * job->dimension;
    row->overflowed |= fm_row_to_float(exact, to, job->dimension);
    recording->times[recording->count] = t;
    keep_integrals(row, recording->count, x);
    recording->count++;
}

/* Times that a row did not reach carry its last finite state, as its sample does. */
static void fill_unreached(fm_row *row, const float *x)
{
    fm_job *job = row->job;
    size_t n = job->trajectory == NULL ? 0 : job->spec.n_output_times;
    for (size_t i = row->n_recorded; i < n; i++) {
        memcpy(job->trajectory + (row->index * n + i) * job->dimension, x,
               job->dimension * sizeof *x);
    }
}

static void end_sample(fm_row *row)
{
    fm_job *job = row->job;
    fm_solve_report report;
    fm_solve_describe(row->solve, &report);
    float *x = job->x + row->index * job->dimension;
    row->overflowed |= fm_row_to_float(fm_row_exact_state(row, report.x), x, job->dimension);
    fill_unreached(row, x);
    fm_row_densities(row, &report);
    job->records[row->index] =
        (fm_row_record){.status = row->overflowed ? FM_ROW_NON_FINITE : report.status,
                        .t = report.t,
                        .evaluations = report.evaluations + row->n_read,
                        .accepted = report.accepted,
                        .rejected = report.rejected,
                        .shape = report.shape};
    row->ended = true;
}

static void advance_sample(fm_row *row)
{
    if (!fm_solve_next(row->solve, &row->want) && !fm_row_fields_start(row)) {
        end_sample(row);
    }
}

/* A level l of the range becomes a point within its l-th part, the last draws of a point as likely as the first.
 * Source: Theis, van den Oord and Bethge, arXiv:1511.01844; of several draws Ho et al., arXiv:1902.00275. */
static void dequantize(const fm_row *row, double *ret)
{
    const fm_job *job = row->job;
    const double *range = job->spec.model->config.output_range;
    const double *x = job->spec.x + row->index / job->spec.draws * job->dimension;
    double width = range[1] - range[0], most = FM_IMAGE_LEVELS - 1;
    fm_rng_uniform(job->spec.seed, row->index, FM_RNG_DEQUANTIZE, 0, job->dimension, ret);
    for (size_t i = 0; i < job->dimension; i++) {
        double level = round(most * (x[i] - range[0]) / width);
        level = fmin(fmax(level, 0), most);
        ret[i] = range[0] + width * (level + ret[i]) / FM_IMAGE_LEVELS;
    }
}

/* The source's noise at the first time of the grid and, with adds_noise, the data's part of the state there.
 * Source: Meng et al., arXiv:2108.01073, section 3. */
static void draw_start(const fm_row *row, double *ret)
{
    const fm_job *job = row->job;
    const fm_job_spec *spec = &job->spec;
    fm_path_point at = fm_path_at(job->plan.path, spec->solver.grid[0]);
    if (!fm_job_is_flat(spec)) {
        fm_row_draw_on_space(row, at.sigma, ret);
        if (spec->adds_noise) {
            fm_row_add_noise_on_space(row, at.alpha, spec->x + row->index * job->dimension, ret);
        }
        return;
    }
    fm_rng_normal(spec->seed, row->index, FM_RNG_SOURCE_NOISE, 0, job->dimension, ret);
    for (size_t i = 0; i < job->dimension; i++) {
        ret[i] *= at.sigma;
    }
    const double *x = spec->adds_noise ? spec->x + row->index * job->dimension : NULL;
    for (size_t i = 0; x != NULL && i < job->dimension; i++) {
        ret[i] += at.alpha * x[i];
    }
}

static void start_sample(fm_row *row)
{
    fm_job *job = row->job;
    const fm_job_spec *spec = &job->spec;
    double *x0 = row->vector;
    if (spec->draws > 0) {
        dequantize(row, x0);
    } else if (spec->given != NULL) {
        draw_start(row, x0);
        fm_row_give_tokens(row, x0);
    } else if (spec->x != NULL && !spec->adds_noise) {
        const double *x = spec->x + row->index * job->dimension;
        memcpy(x0, fm_row_exact_state(row, x), job->dimension * sizeof *x0);
    } else if (spec->adds_noise || !fm_row_start_inverse(row, x0)) {
        draw_start(row, x0);
    }
    for (size_t i = 0; i < job->n_integrals; i++) {
        x0[job->dimension + i] = 0;
    }
    if (job->n_integrals > 0) {
        row->start_log_density = fm_row_source_log_density(row, spec->solver.grid[0], x0);
    }
    row->solve = fm_solve_init(row->memory, &job->plan, row->index, x0, row);
    advance_sample(row);
}

static void end_point(fm_row *row)
{
    bool finite = fm_row_fields_at_point(row);
    row->job->records[row->index] = (fm_row_record){
        .status = finite ? FM_ROW_OK : FM_ROW_NON_FINITE, .t = row->want.t, .evaluations = 1};
    row->ended = true;
}

void fm_row_start(fm_row *row)
{
    const fm_job_spec *spec = &row->job->spec;
    const fm_model_config *config = &spec->model->config;
    row->started = true;
    row->ended = false;
    row->overflowed = false;
    row->reading = spec->task == FM_TASK_VELOCITY;
    row->n_recorded = 0;
    row->n_read = 0;
    row->n_tangents = 0;
    row->divergence_rest = 0;
    int32_t unconditional = config->has_null_label ? config->null_label : 0;
    const int32_t *negative = spec->guidance.negative_labels;
    row->condition = (fm_condition){
        .label = spec->labels != NULL ? spec->labels[row->index] : unconditional,
        .negative_label = negative != NULL ? negative[row->index] : 0,
        .guidance = fm_field_guidance(&spec->model->field, &spec->guidance),
        .path = spec->path,
        .momentum = row->asides.momentum,
    };
    fm_row_asides_start(row);
    if (spec->task == FM_TASK_SAMPLE) {
        start_sample(row);
    } else if (spec->task == FM_TASK_BOUND) {
        fm_row_bound_start(row);
    } else {
        row->want.t = spec->t[row->index];
        row->want.x = spec->x + row->index * row->job->dimension;
    }
}

double *fm_row_network_output(const fm_row *row)
{
    bool pair = fm_predictions_count(&row->job->spec.model->field.predictions) > 1;
    bool becomes = row->ambient != NULL && !fm_job_is_direct(&row->job->spec);
    bool jumps = row->job->spec.model->config.space.bins.n > 0;
    return row->reading || pair || jumps || becomes ? row->output : row->want.v;
}

/* Behind the velocity, for a method that takes them; they are of no guidance. */
static void give_jumps(const fm_row *row)
{
    const fm_space *space = &row->job->spec.model->config.space;
    if (fm_method_jumps(row->job->spec.solver.method)) {
        size_t n = space->velocities - space->states;
        memcpy(row->want.v + space->states, row->output + space->states, n * sizeof *row->want.v);
    }
}

void fm_row_answer(fm_row *row, const double *others)
{
    const fm_field *field = &row->job->spec.model->field;
    size_t dimension = row->job->dimension;
    const fm_solve_want *want = &row->want;
    const fm_field_outputs outputs = {.out = fm_row_network_output(row),
                                      .others = others,
                                      .stride = row->job->spec.model->network->info.out_dimension,
                                      .model = row->asides.model_out,
                                      .gradient = fm_row_weighted_gradient(row)};
    if (row->ambient != NULL) {
        fm_row_answer_on_space(row, &outputs);
    } else if (row->reading) {
        fm_field_combine(field, &row->condition, want->t, dimension, &outputs);
    } else {
        fm_field_answer(field, &row->condition, want->t, dimension, want->x, &outputs, want->v,
                        want->score);
        give_jumps(row);
        fm_row_give_integrals(row);
    }
}

void fm_row_give(fm_row *row)
{
    if (row->job->spec.task == FM_TASK_VELOCITY) {
        end_point(row);
    } else if (row->job->spec.task == FM_TASK_BOUND) {
        fm_elbo_give(row->elbo);
        fm_row_bound_advance(row);
    } else if (row->reading) {
        if (!fm_row_fields_give(row)) {
            end_sample(row);
        }
    } else {
        fm_solve_give(row->solve);
        advance_sample(row);
    }
}
