/* Divergences along a trajectory, and the densities that follow from them.
 *
 *   d log p_t(x_t) / dt = -div u(x_t, t)
 *
 * The solver integrates -div u beside the state, one integral for the exact divergence or one for each probe, in
 * the same steps and under the same error norm. At the earlier end of the grid the density is the source's,
 * N(0, sigma^2 I) with the path's sigma there, or what the space says. A Jacobian's trace is gathered tangent by tangent, in as many calls
 * as they need; each product is a function of the trajectory alone, and they are added in order.
 * Source: Chen et al., arXiv:1806.07366, section 4; Lipman et al., arXiv:2412.06264, section 3.5. */
#include "engine/batch/job.h"
#include "engine/math/rng.h"
#include "engine/model.h"

#include <math.h>
#include <string.h>

#define LOG_TWO_PI 1.83787706640934548356

size_t fm_divergence_traces(const fm_divergence *divergence)
{
    return divergence->method == FM_DIVERGENCE_EXACT ? 1 : divergence->n_probes;
}

bool fm_row_wants_tangents(const fm_row *row)
{
    const fm_job *job = row->job;
    bool of_field = (fm_job_read_fields(&job->spec) & FM_FIELD_BIT(FM_FIELD_DIVERGENCE)) != 0;
    return row->reading ? of_field : row->want.integrals;
}

/* ---- tangents ---- */

/* Probe k is the same at every evaluation of a trajectory. */
static void draw_probe(const fm_row *row, size_t k, double *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    size_t dimension = spec->model->config.space.dimensions;
    fm_rng_normal(spec->seed, row->index, FM_RNG_PROBE, k * dimension, dimension, ret);
    for (size_t i = 0; i < dimension && spec->divergence.probe == FM_PROBE_RADEMACHER; i++) {
        ret[i] = ret[i] > 0 ? 1 : -1;
    }
}

/* Tangent k in an orthonormal basis, times scale: a unit vector, or a probe. */
static void tangent_at(const fm_row *row, size_t k, double scale, double *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    size_t dimension = spec->model->config.space.dimensions;
    if (spec->divergence.method == FM_DIVERGENCE_EXACT) {
        memset(ret, 0, dimension * sizeof *ret);
        ret[k] = scale;
        return;
    }
    draw_probe(row, k, ret);
    for (size_t i = 0; i < dimension && scale != 1.0; i++) {
        ret[i] *= scale;
    }
}

size_t fm_row_tangents(const fm_row *row, double scale, double *ret)
{
    const fm_job *job = row->job;
    size_t inputs = job->spec.model->config.space.inputs, left = job->n_tangents - row->n_tangents;
    size_t n = left < job->tangents_a_call ? left : job->tangents_a_call;
    for (size_t k = 0; k < n; k++) {
        double *tangent = ret + k * inputs;
        if (row->ambient == NULL) {
            tangent_at(row, row->n_tangents + k, scale, tangent);
        } else {
            tangent_at(row, row->n_tangents + k, 1, row->ambient);
            fm_row_push(row, row->ambient, tangent);
        }
    }
    return n;
}

/* The same as product() where the space is not flat; of tangent k. */
static double product_on_space(const fm_row *row, size_t k, const double *image)
{
    size_t dimensions = row->job->spec.model->config.space.dimensions;
    tangent_at(row, k, 1, row->ambient);
    return fm_row_product_on_space(row, row->ambient, image, row->ambient + dimensions);
}

/* z . J z of the velocity, J z its reading from z and the image of the scaled z. */
static double product(const fm_field_at *at, size_t dimension, const double *tangent,
                      const double *image)
{
    fm_linear reading = at->reading.velocity;
    reading.x /= at->state_scale; /* the tangent is scaled */
    double sum = 0;
    for (size_t i = 0; i < dimension; i++) {
        if (tangent[i] != 0.0) {
            sum += tangent[i] * fm_field_element(reading, dimension, tangent, image, i);
        }
    }
    return sum / at->state_scale;
}

bool fm_row_add_tangents(fm_row *row, size_t n, const double *tangents, double *images)
{
    const fm_job *job = row->job;
    const fm_field *field = &job->spec.model->field;
    const fm_space *space = &job->spec.model->config.space;
    size_t dimension = space->is_flat ? space->states : space->outputs;
    size_t image_size = job->spec.model->network->info.out_dimension;
    fm_field_at at = fm_field_velocity_at(field, &row->condition, row->want.t);
    if (row->n_tangents == 0) {
        memset(row->traces, 0, fm_divergence_traces(&job->spec.divergence) * sizeof *row->traces);
    }
    for (size_t k = 0; k < n; k++) {
        double *image = images + k * image_size;
        bool exact = job->spec.divergence.method == FM_DIVERGENCE_EXACT;
        const fm_field_outputs outputs = {
            .out = image, .others = image + n * image_size, .stride = n * image_size};
        fm_field_combine(field, &row->condition, row->want.t, dimension, &outputs);
        row->traces[exact ? 0 : row->n_tangents + k] +=
            row->ambient != NULL ? product_on_space(row, row->n_tangents + k, image)
                                 : product(&at, dimension, tangents + k * dimension, image);
    }
    row->n_tangents += n;
    if (row->n_tangents < job->n_tangents) {
        return false;
    }
    row->n_tangents = 0;
    return true;
}

static double mean_of(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
    }
    return sum / (double)n;
}

double fm_row_divergence(const fm_row *row)
{
    return mean_of(row->traces, fm_divergence_traces(&row->job->spec.divergence)) +
           row->divergence_rest;
}

void fm_row_give_integrals(fm_row *row)
{
    const fm_job *job = row->job;
    for (size_t k = 0; k < job->n_integrals; k++) {
        row->want.v[job->dimension + k] =
            row->want.integrals ? -(row->traces[k] + row->divergence_rest) : 0;
    }
}

/* ---- densities ---- */

double fm_row_source_log_density(const fm_row *row, double t, const double *x)
{
    const fm_job *job = row->job;
    double sigma = fm_path_at(job->plan.path, t).sigma, square = 0;
    if (!fm_job_is_flat(&job->spec)) {
        return fm_space_source_log_density(job->plan.space, sigma, x);
    }
    for (size_t i = 0; i < job->dimension; i++) {
        square += x[i] / sigma * (x[i] / sigma);
    }
    return -0.5 * square - (double)job->dimension * (0.5 * LOG_TWO_PI + log(sigma));
}

/* The outputs hold the integrals so far: they become log densities. */
static void outputs_finish(fm_row *row, bool known, double base, double at_base)
{
    fm_job *job = row->job;
    size_t n =
        job->recordings != NULL ? job->recordings[row->index].count : job->spec.n_output_times;
    for (size_t k = 0; k < n; k++) {
        double *density = fm_row_log_density_at(row, k);
        if (density != NULL) {
            *density = known ? base + (*density - at_base) : (double)NAN;
        }
    }
}

/* Of n values the mean's standard error. */
static double standard_error(const double *values, size_t n)
{
    double mean = mean_of(values, n), squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    return n < 2 ? (double)NAN : sqrt(squares / (double)(n - 1) / (double)n);
}

void fm_row_densities(fm_row *row, const fm_solve_report *report)
{
    fm_job *job = row->job;
    size_t n = job->n_integrals;
    if (n == 0) {
        return;
    }
    const double *grid = job->spec.solver.grid, *integrals = report->x + job->dimension;
    bool ascends = grid[job->spec.solver.n_grid - 1] > grid[0];
    bool known = report->status == FM_ROW_OK && !row->overflowed;
    double integral = mean_of(integrals, n);
    double base =
        ascends ? row->start_log_density : fm_row_source_log_density(row, report->t, report->x);
    outputs_finish(row, known, base, ascends ? 0 : integral);
    if (job->log_likelihood != NULL) {
        job->log_likelihood[row->index] =
            known ? base + (ascends ? integral : -integral) : (double)NAN;
        job->standard_error[row->index] = known ? standard_error(integrals, n) : (double)NAN;
    }
}
