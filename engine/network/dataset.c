/* dataset: the exact marginal velocity and log density of N points with equal weights, in float64.
 *
 *   w_i  = softmax over i of -|x - alpha x_i|^2 / (2 sigma^2)
 *   xbar = sum_i w_i x_i
 *   u    = d_alpha xbar + (d_sigma / sigma)(x - alpha xbar)
 *   log p_t = log (1/N) sum_i N(x; alpha x_i, sigma^2 I)
 *   J v  = (d_sigma / sigma) v + (d_alpha - alpha d_sigma / sigma) (alpha / sigma^2) sum_i w_i (x_i - xbar) (x_i - xbar) . v
 *
 * sigma includes the source's standard deviation. At sigma = 0 the field is singular: the default grid
 * stops before; asked there, it answers NaN or infinities.
 * Source: Lipman et al., arXiv:2210.02747, theorem 1, with point masses as data.
 *
 * DESIGN: points lie in blocks of BLOCK, dimension by dimension, so that the loops over a block's points
 * have a fixed length and vectorise; every row passes over a block while it is in the cache. The softmax
 * is online: a row keeps its largest exponent so far and rescales its sums when that grows. The order of
 * a row's sums is that of the points, whatever the tile. */
#include "engine/checkpoint/points.h"
#include "engine/memory.h"
#include "engine/network/architecture.h"
#include "engine/network/closed_form.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LOG_TWO_PI 1.83787706640934548356
#define TILE_ROWS  ((size_t)64)
#define BLOCK      ((size_t)64)
#define LANES      ((size_t)8) /* partial sums of a dot product, always added in the same order */
#define NEGLIGIBLE 60.0        /* exp(-60) times 10^9 points is below float64's rounding */

typedef struct dataset {
    fm_network network;
    fm_closed_form form;
    double *blocks; /* [n_blocks][dimension][BLOCK], the last block filled up with zeros */
    size_t n_points, n_blocks;
} dataset;

/* A row's sums, in scratch, followed by the weighted sum of points [dimension]. */
typedef struct row_sums {
    fm_path_point at;
    double exponent_scale; /* 1 / (2 sigma^2) */
    double largest, sum;   /* of exponents so far; of exp(exponent - largest) */
} row_sums;

/* ---- evaluation ---- */

/* ret[j] = -|x - alpha x_j|^2 / (2 sigma^2), -inf past the block's n_points. */
static void block_exponents(const double *block, size_t n_points, size_t dimension, const double *x,
                            const row_sums *sums, double ret[BLOCK])
{
    for (size_t j = 0; j < BLOCK; j++) {
        ret[j] = 0.0;
    }
    for (size_t i = 0; i < dimension; i++) {
        const double *column = block + i * BLOCK;
        for (size_t j = 0; j < BLOCK; j++) {
            double difference = x[i] - sums->at.alpha * column[j];
            ret[j] += difference * difference;
        }
    }
    for (size_t j = 0; j < BLOCK; j++) {
        ret[j] *= -sums->exponent_scale;
    }
    for (size_t j = n_points; j < BLOCK; j++) {
        ret[j] = -HUGE_VAL;
    }
}

static double largest_of(const double values[BLOCK])
{
    double largest = -HUGE_VAL;
    for (size_t j = 0; j < BLOCK; j++) {
        largest = values[j] > largest ? values[j] : largest;
    }
    return largest;
}

static double dot(const double *a, const double *b)
{
    double lanes[LANES] = {0};
    for (size_t j = 0; j < BLOCK; j += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            lanes[lane] += a[j + lane] * b[j + lane];
        }
    }
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* Makes `largest` the reference of the row's sums. */
static void rescale(row_sums *sums, double *mean, size_t dimension, double largest)
{
    double factor = exp(sums->largest - largest);
    sums->largest = largest;
    sums->sum *= factor;
    for (size_t i = 0; i < dimension; i++) {
        mean[i] *= factor;
    }
}

static void add_block(const double *block, size_t n_points, size_t dimension, const double *x,
                      row_sums *sums, double *mean)
{
    double weights[BLOCK];
    block_exponents(block, n_points, dimension, x, sums, weights);
    double largest = largest_of(weights);
    if (!(largest >= sums->largest - NEGLIGIBLE) || !(largest > -HUGE_VAL)) {
        return; /* adds nothing, or x is not finite and the sum stays 0 */
    }
    if (largest > sums->largest) {
        rescale(sums, mean, dimension, largest);
    }
    double block_sum = 0.0;
    for (size_t j = 0; j < BLOCK; j++) {
        double exponent = weights[j] - sums->largest;
        weights[j] = exponent < -NEGLIGIBLE ? 0.0 : exp(exponent);
        block_sum += weights[j];
    }
    sums->sum += block_sum;
    for (size_t i = 0; i < dimension; i++) {
        mean[i] += dot(weights, block + i * BLOCK);
    }
}

static void finish_row(const dataset *self, const fm_tile_row *row, const row_sums *sums,
                       const double *mean)
{
    size_t dimension = self->network.info.dimension;
    const fm_path_point *at = &sums->at;
    double sign = fm_closed_form_sign(&self->form);
    double rate = at->d_sigma / at->sigma;
    for (size_t i = 0; i < dimension; i++) {
        double average = mean[i] / sums->sum;
        row->out[i] = sign * (at->d_alpha * average + rate * (row->x[i] - at->alpha * average));
    }
    if (row->log_density != NULL) {
        *row->log_density = sums->largest + log(sums->sum) - log((double)self->n_points) -
                            (double)dimension * (0.5 * LOG_TWO_PI + log(at->sigma));
    }
}

static fm_status dataset_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                              void *scratch, fm_team *team)
{
    (void)team; /* a row is a moment's work */
    const dataset *self = (const dataset *)network;
    size_t dimension = network->info.dimension;
    assert(n_rows >= 1 && n_rows <= network->info.max_rows);
    row_sums *sums = scratch;
    double *means = (double *)(void *)(sums + network->info.max_rows);
    memset(means, 0, n_rows * dimension * sizeof *means);
    for (size_t i = 0; i < n_rows; i++) {
        fm_path_point at = fm_closed_form_at(&self->form, rows[i].t);
        sums[i] = (row_sums){
            .at = at, .exponent_scale = 0.5 / (at.sigma * at.sigma), .largest = -HUGE_VAL};
    }
    for (size_t b = 0; b < self->n_blocks; b++) {
        const double *block = self->blocks + b * dimension * BLOCK;
        size_t left = self->n_points - b * BLOCK;
        for (size_t i = 0; i < n_rows; i++) {
            add_block(block, left < BLOCK ? left : BLOCK, dimension, rows[i].x, &sums[i],
                      means + i * dimension);
        }
    }
    for (size_t i = 0; i < n_rows; i++) {
        finish_row(self, &rows[i], &sums[i], means + i * dimension);
    }
    return FM_OK;
}

/* ---- derivatives ---- */

/* out += sum over the block of w_i (x_i - mean) (x_i - mean) . v */
static void add_covariance(const dataset *self, const double *block, size_t n_points,
                           const fm_tile_row *row, const row_sums *sums, const double *mean,
                           const double *tangent, double *out)
{
    size_t dimension = self->network.info.dimension;
    double weights[BLOCK], dots[BLOCK] = {0};
    block_exponents(block, n_points, dimension, row->x, sums, weights);
    for (size_t i = 0; i < dimension; i++) {
        const double *column = block + i * BLOCK;
        for (size_t j = 0; j < BLOCK; j++) {
            dots[j] += (column[j] - mean[i] / sums->sum) * tangent[i];
        }
    }
    for (size_t j = 0; j < BLOCK; j++) {
        double exponent = weights[j] - sums->largest;
        weights[j] = exponent < -NEGLIGIBLE ? 0.0 : exp(exponent) / sums->sum * dots[j];
    }
    for (size_t i = 0; i < dimension; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < BLOCK; j++) {
            sum += weights[j] * (block[i * BLOCK + j] - mean[i] / sums->sum);
        }
        out[i] += sum;
    }
}

static void tangent_row(const dataset *self, const fm_tile_row *row, const row_sums *sums,
                        const double *mean, const double *tangent, double *out)
{
    size_t dimension = self->network.info.dimension;
    const fm_path_point *at = &sums->at;
    double sign = fm_closed_form_sign(&self->form), rate = at->d_sigma / at->sigma;
    double gain = (at->d_alpha - rate * at->alpha) * at->alpha / (at->sigma * at->sigma);
    memset(out, 0, dimension * sizeof *out);
    for (size_t b = 0; b < self->n_blocks; b++) {
        size_t left = self->n_points - b * BLOCK;
        add_covariance(self, self->blocks + b * dimension * BLOCK, left < BLOCK ? left : BLOCK, row,
                       sums, mean, tangent, out);
    }
    for (size_t i = 0; i < dimension; i++) {
        out[i] = sign * (rate * tangent[i] + gain * out[i]);
    }
}

/* eval leaves the rows' sums in its scratch. */
static fm_status dataset_jvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                             void *scratch, void *tangent_scratch, fm_team *team)
{
    (void)tangent_scratch;
    const dataset *self = (const dataset *)network;
    size_t dimension = network->info.dimension;
    fm_status status = dataset_eval(network, rows, n_rows, scratch, team);
    const row_sums *sums = scratch;
    const double *means = (const double *)(const void *)(sums + network->info.max_rows);
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        for (size_t k = 0; k < rows[i].n_tangents; k++) {
            tangent_row(self, &rows[i], &sums[i], means + i * dimension,
                        rows[i].tangents + k * dimension, rows[i].tangent_out + k * dimension);
        }
    }
    return status;
}

static fm_status dataset_vjp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                             void *scratch, fm_team *team)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        const fm_tile_row row = fm_closed_form_transposed(&rows[i]);
        status = dataset_jvp(network, &row, 1, scratch, NULL, team);
    }
    return status;
}

/* ---- construction ---- */

static void dataset_free(fm_network *network)
{
    dataset *self = (dataset *)network;
    fm_free(self->blocks);
    fm_free(self);
}

static const fm_network_ops dataset_ops = {
    .eval = dataset_eval, .jvp = dataset_jvp, .vjp = dataset_vjp, .free = dataset_free};

static fm_status points_read(const fm_model_config *config, fm_points *ret, fm_error *err)
{
    size_t room = strlen(config->folder) + strlen(config->dataset.file) + 2;
    char *file = fm_alloc(room);
    if (file == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a file name");
    }
    (void)snprintf(file, room, "%s/%s", config->folder, config->dataset.file);
    fm_status status = fm_points_read(file, ret, err);
    fm_free(file);
    return status;
}

static fm_status points_check(const fm_model_config *config, const fm_points *points, fm_error *err)
{
    if (points->count == 0) {
        return fm_fail(err, FM_EFORMAT, "%s: no points", config->dataset.file);
    }
    if (points->dimension != config->dimension) {
        return fm_fail(err, FM_EFORMAT, "%s: expected points [N, %zu], found [%zu, %zu]",
                       config->dataset.file, config->dimension, points->count, points->dimension);
    }
    return FM_OK;
}

static fm_status blocks_fill(dataset *self, const fm_points *points, fm_error *err)
{
    size_t dimension = points->dimension;
    self->n_points = points->count;
    self->n_blocks = (points->count - 1) / BLOCK + 1;
    size_t count = 0;
    self->blocks = fm_multiply(self->n_blocks * BLOCK, dimension, &count)
                       ? fm_alloc_array(count, sizeof *self->blocks)
                       : NULL;
    if (self->blocks == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu points", points->count);
    }
    for (size_t p = 0; p < points->count; p++) {
        double *block = self->blocks + p / BLOCK * BLOCK * dimension;
        for (size_t i = 0; i < dimension; i++) {
            block[i * BLOCK + p % BLOCK] = points->data[p * dimension + i];
        }
    }
    return FM_OK;
}

static fm_status dataset_fill(dataset *self, const fm_model_config *config, fm_error *err)
{
    fm_points points = {0};
    fm_status status = points_read(config, &points, err);
    if (status != FM_OK) {
        return status;
    }
    status = points_check(config, &points, err);
    if (status == FM_OK) {
        status = blocks_fill(self, &points, err);
    }
    fm_points_done(&points);
    return status;
}

fm_status fm_dataset_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                         fm_network **ret, fm_error *err)
{
    (void)weights;
    dataset *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a network");
    }
    self->network.ops = &dataset_ops;
    self->form = fm_closed_form_of(config, path);
    fm_status status = dataset_fill(self, config, err);
    if (status != FM_OK) {
        dataset_free(&self->network);
        return status;
    }
    size_t dimension = config->dimension;
    self->network.info = (fm_network_info){
        .dimension = dimension,
        .out_dimension = dimension,
        .parameter_count = self->n_points * dimension,
        .weight_bytes = self->n_blocks * BLOCK * dimension * sizeof(double),
        .scratch_bytes = TILE_ROWS * (sizeof(row_sums) + dimension * sizeof(double)),
        .max_rows = TILE_ROWS,
        .has_log_density = true,
        .max_tangents = TILE_ROWS,
        .reverse_rows = TILE_ROWS,
        .reverse_scratch_bytes = TILE_ROWS * (sizeof(row_sums) + dimension * sizeof(double))};
    *ret = &self->network;
    return FM_OK;
}
