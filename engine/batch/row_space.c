/* What a row does where its states are not in flat space: the network is fed a state as it sees one, its output becomes
 * a slope, and what leaves is made exact. engine/space/space.h has the terms. */
#include "engine/batch/job.h"
#include "engine/math/rng.h"
#include "engine/model.h"

#include <string.h>

bool fm_job_is_flat(const fm_job_spec *spec)
{
    return spec->model->config.space.is_flat;
}

bool fm_job_is_direct(const fm_job_spec *spec)
{
    const fm_space *space = &spec->model->config.space;
    bool all = true;
    for (size_t i = 0; i < space->n_parts; i++) {
        all &= space->parts[i].id == FM_SPACE_TOKENS;
    }
    return all;
}

static const fm_space *space_of(const fm_row *row)
{
    return &row->job->spec.model->config.space;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Two vectors, of whatever is needed. */
size_t fm_row_space_numbers(const fm_job_spec *spec)
{
    const fm_space *space = &spec->model->config.space;
    size_t of_fields = fm_job_read_fields(spec) != 0 ? space->velocities : 0;
    size_t of_tangents = fm_job_needs_tangents(spec) ? space->dimensions : 0;
    size_t most =
        larger(larger(of_fields, of_tangents), larger(space->states, fm_space_draws(space)));
    return fm_job_is_flat(spec) ? 0 : 2 * most;
}

/* ---- states ---- */

void fm_row_draw_on_space(const fm_row *row, double scale, double *ret)
{
    const fm_space *space = space_of(row);
    const fm_job_spec *spec = &row->job->spec;
    size_t n = fm_space_draws(space);
    double *normals = row->ambient, *uniforms = normals + n;
    fm_rng_normal(spec->seed, row->index, FM_RNG_SOURCE_NOISE, 0, n, normals);
    fm_rng_uniform(spec->seed, row->index, FM_RNG_SOURCE_NOISE, n + n % 2, n, uniforms);
    fm_space_draw(space, scale, normals, uniforms, ret);
}

void fm_row_give_tokens(const fm_row *row, double *x)
{
    const fm_job *job = row->job;
    const unsigned char *given = job->spec.given + row->index * job->dimension;
    const double *tokens = job->spec.x + row->index * job->dimension;
    for (size_t i = 0; i < job->dimension; i++) {
        x[i] = given[i] ? tokens[i] : x[i];
    }
}

/* On the geodesic from noise to data, which the path's alpha divides. */
void fm_row_add_noise_on_space(const fm_row *row, double alpha, const double *data, double *x)
{
    fm_space_between(space_of(row), x, data, alpha, row->ambient);
    memcpy(x, row->ambient, row->job->dimension * sizeof *x);
}

const double *fm_row_exact_state(const fm_row *row, const double *x)
{
    if (row->ambient == NULL) {
        return x;
    }
    memcpy(row->ambient, x, row->job->dimension * sizeof *x);
    fm_space_normalise(space_of(row), row->ambient);
    return row->ambient;
}

/* ---- velocities ---- */

/* 1, -1 against the canonical direction, 0 where guidance holds the state still. */
static double sign_of(const fm_row *row)
{
    const fm_field *field = &row->job->spec.model->field;
    return fm_field_velocity_at(field, &row->condition, row->want.t).reading.velocity.out;
}

void fm_row_answer_on_space(fm_row *row, const fm_field_outputs *outputs)
{
    const fm_space *space = space_of(row);
    const fm_field *field = &row->job->spec.model->field;
    fm_field_combine(field, &row->condition, row->want.t, space->outputs, outputs);
    if (row->traces != NULL) {
        row->divergence_rest =
            sign_of(row) * fm_space_divergence_rest(space, row->want.x, outputs->out);
    }
    if (!row->reading && outputs->out != row->want.v) {
        fm_space_velocity(space, row->want.x, outputs->out, row->want.v);
        fm_space_turn(space, sign_of(row), row->want.v);
        fm_row_give_integrals(row);
    }
}

/* ---- derivatives ---- */

void fm_row_push(const fm_row *row, const double *coordinates, double *ret)
{
    fm_space_push(space_of(row), row->want.x, coordinates, ret);
}

double fm_row_product_on_space(const fm_row *row, const double *coordinates, const double *image,
                               double *scratch)
{
    const fm_space *space = space_of(row);
    fm_space_coordinates(space, row->want.x, image, scratch);
    double sum = 0;
    for (size_t i = 0; i < space->dimensions; i++) {
        sum += coordinates[i] * scratch[i];
    }
    return sign_of(row) * sum;
}

/* ---- fields ---- */

/* Where the geodesic with the velocity's direction is at t = 1, if that is the way to one point of data:
 * v = alpha' / (1 - alpha) log_x(x1). */
static void predict_data(const fm_row *row, const double *v, double *ret)
{
    const fm_model_config *config = &row->job->spec.model->config;
    fm_path_point at = fm_path_at(&config->path, row->want.t);
    double *scaled = row->ambient + space_of(row)->velocities;
    double share = at.d_alpha > 0 ? (1 - at.alpha) / at.d_alpha : 0;
    for (size_t i = 0; i < row->job->dimension; i++) {
        scaled[i] = share * v[i];
    }
    fm_space_exp(space_of(row), row->want.x, scaled, ret);
    fm_space_normalise(space_of(row), ret);
}

const double *fm_row_field_on_space(const fm_row *row, fm_field_id id)
{
    if (id == FM_FIELD_X) {
        return row->want.x;
    }
    double *v = row->ambient;
    fm_space_velocity(space_of(row), row->want.x, row->output, v);
    fm_space_turn(space_of(row), sign_of(row), v);
    if (id == FM_FIELD_X1_HAT) {
        predict_data(row, v, v);
    }
    return v;
}
