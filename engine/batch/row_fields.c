/* Quantities of the flow at the outputs of a trajectory, or at given points: each output's state is put before the
 * network once more, and all fields are read from that one output.
 *
 * The state is the one that the client gets, in float32, so a field is what …/velocity says of that state. */
#include "engine/batch/job.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <float.h>
#include <math.h>
#include <string.h>

unsigned fm_job_read_fields(const fm_job_spec *spec)
{
    unsigned fields = spec->fields & ~FM_FIELD_BIT(FM_FIELD_LOG_DENSITY); /* which is integrated */
    if (spec->task == FM_TASK_VELOCITY) {
        return fields; /* x is the point itself, in float32 */
    }
    bool has_outputs = spec->n_output_times > 0 || spec->output_every_step;
    return has_outputs ? fields & ~FM_FIELD_BIT(FM_FIELD_X) : 0;
}

static size_t n_fields(unsigned fields)
{
    size_t n = 0;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        n += (fields & FM_FIELD_BIT(id)) != 0;
    }
    return n;
}

/* ---- where a row's outputs and their fields are ---- */

typedef struct fm_outputs {
    const float *x;      /* [n][dimension] */
    const double *times; /* [n] */
    size_t n;            /* those that the row reached */
    size_t n_all;        /* with those that repeat its last state */
} fm_outputs;

static fm_outputs outputs_of(const fm_row *row)
{
    const fm_job *job = row->job;
    if (job->recordings != NULL) {
        const fm_recording *recording = &job->recordings[row->index];
        return (fm_outputs){.x = recording->x,
                            .times = recording->times,
                            .n = recording->count,
                            .n_all = recording->count};
    }
    size_t n = job->spec.n_output_times;
    return (fm_outputs){.x = job->trajectory + row->index * n * job->dimension,
                        .times = job->spec.output_times,
                        .n = row->n_recorded,
                        .n_all = n};
}

/* Of one field, at output k. */
static float *place_of(fm_row *row, unsigned id, size_t k)
{
    fm_job *job = row->job;
    size_t n = job->n_outputs;
    float *base = job->fields[id];
    if (base != NULL) {
        return base + (row->index * n + k) * job->dimension;
    }
    const fm_recording *recording = &job->recordings[row->index];
    unsigned before = fm_job_read_fields(&job->spec) & (FM_FIELD_BIT(id) - 1);
    return recording->fields + (n_fields(before) * recording->count + k) * job->dimension;
}

double *fm_row_divergence_at(fm_row *row, size_t k)
{
    fm_job *job = row->job;
    if (job->divergence != NULL) {
        return job->divergence + row->index * job->n_outputs + k;
    }
    bool recorded = job->recordings != NULL && job->recordings[row->index].divergences != NULL;
    return recorded ? job->recordings[row->index].divergences + k : NULL;
}

/* ---- reading ---- */

/* A field in float32; false, and zeros, where it is not finite. */
static bool write_field(fm_linear reading, size_t n, const double *x, const double *out, float *to)
{
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        double value = fm_field_element(reading, n, x, out, i);
        finite &= isfinite(value) != 0;
        bool fits = fabs(value) <= (double)FLT_MAX;
        to[i] = fits ? (float)value : copysignf(FLT_MAX, (float)value);
        finite &= fits;
    }
    if (!finite) {
        memset(to, 0, n * sizeof *to);
    }
    return finite;
}

/* All fields at output k from the network's output; false, and zeros, where one is not finite. */
static bool read_all(fm_row *row, double t, const double *x, const double *out, size_t k)
{
    fm_job *job = row->job;
    const fm_field *field = &job->spec.model->field;
    unsigned fields = fm_job_read_fields(&job->spec);
    const unsigned of_velocity =
        FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_DIVERGENCE);
    bool velocity_alone = (fields & ~of_velocity) == 0;
    fm_field_at at = velocity_alone ? fm_field_velocity_at(field, &row->condition, t)
                                    : fm_field_at_time(field, &row->condition, t);
    bool finite = true;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        if ((fields & FM_FIELD_BIT(id)) != 0 && row->ambient != NULL) {
            const double *value = fm_row_field_on_space(row, (fm_field_id)id);
            finite &=
                write_field((fm_linear){.out = 1}, job->dimension, x, value, place_of(row, id, k));
        } else if ((fields & FM_FIELD_BIT(id)) != 0) {
            fm_linear reading = fm_field_reading(&at, (fm_field_id)id);
            finite &= write_field(reading, job->dimension, x, out, place_of(row, id, k));
        }
    }
    double *divergence = fm_row_divergence_at(row, k);
    if (divergence != NULL) {
        *divergence = fm_row_divergence(row);
        finite &= isfinite(*divergence) != 0;
    }
    return finite;
}

bool fm_row_fields_at_point(fm_row *row)
{
    return read_all(row, row->want.t, row->want.x, row->output, 0);
}

static void want_output(fm_row *row, const fm_outputs *outputs)
{
    size_t dimension = row->job->dimension;
    const float *x = outputs->x + row->n_read * dimension;
    for (size_t i = 0; i < dimension; i++) {
        row->vector[i] = (double)x[i];
    }
    if (row->ambient != NULL) {
        memcpy(row->vector, fm_row_exact_state(row, row->vector), dimension * sizeof *row->vector);
    }
    row->want = (fm_solve_want){.t = outputs->times[row->n_read], .x = row->vector};
}

/* Room for the fields of a recording whose length is known now. */
static fm_status reserve(fm_row *row, unsigned fields)
{
    fm_job *job = row->job;
    if (!job->recordings_grow) {
        return FM_OK;
    }
    fm_recording *recording = &job->recordings[row->index];
    size_t states = 0, bytes = 0;
    bool fits = fm_multiply(n_fields(fields), recording->count, &states) &&
                fm_multiply(states, job->dimension * sizeof(float), &bytes);
    bool divergence = (fields & FM_FIELD_BIT(FM_FIELD_DIVERGENCE)) != 0;
    size_t more = divergence ? recording->count * sizeof(double) : 0;
    if (!fits || !fm_row_count_recording(job, bytes + more)) {
        return FM_ETOOBIG;
    }
    recording->fields = fm_alloc(bytes);
    recording->divergences = divergence ? fm_alloc(more) : NULL;
    bool made = recording->fields != NULL && (!divergence || recording->divergences != NULL);
    return made ? FM_OK : FM_ENOMEM;
}

bool fm_row_fields_start(fm_row *row)
{
    unsigned fields = fm_job_read_fields(&row->job->spec);
    if (fields == 0) {
        return false;
    }
    fm_outputs outputs = outputs_of(row);
    if (outputs.n == 0) {
        return false;
    }
    fm_status status = reserve(row, fields);
    if (status != FM_OK) {
        atomic_store_explicit(&row->job->recording_status, (int)status, memory_order_relaxed);
        return false;
    }
    row->reading = true;
    row->n_read = 0;
    want_output(row, &outputs);
    return true;
}

/* Outputs that the row did not reach repeat its last state, and so do their fields. */
static void fill_unreached(fm_row *row, const fm_outputs *outputs)
{
    unsigned fields = fm_job_read_fields(&row->job->spec);
    size_t bytes = row->job->dimension * sizeof(float);
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        for (size_t k = outputs->n; (fields & FM_FIELD_BIT(id)) != 0 && k < outputs->n_all; k++) {
            memcpy(place_of(row, id, k), place_of(row, id, outputs->n - 1), bytes);
        }
    }
    for (size_t k = outputs->n; k < outputs->n_all && row->job->divergence != NULL; k++) {
        *fm_row_divergence_at(row, k) = *fm_row_divergence_at(row, outputs->n - 1);
    }
}

bool fm_row_fields_give(fm_row *row)
{
    fm_outputs outputs = outputs_of(row);
    row->overflowed |= !read_all(row, row->want.t, row->want.x, row->output, row->n_read);
    row->n_read++;
    if (row->n_read < outputs.n) {
        want_output(row, &outputs);
        return true;
    }
    fill_unreached(row, &outputs);
    row->reading = false;
    return false;
}
