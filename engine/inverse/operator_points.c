/* Operators of samples of any shape: masks and matrices. */
#include "engine/inverse/operator.h"
#include "engine/math/rng.h"
#include "engine/memory.h"

#include <math.h>
#include <string.h>

#define ROUNDS 30

/* ---- mask: H = H^T = H^2, diagonal ---- */

static fm_status mask_init(fm_operator *ret, const fm_operator_options *options, fm_error *err)
{
    size_t ones = 0;
    if (options->values == NULL) {
        return fm_fail(err, FM_EINVAL, "mask must be given");
    }
    for (size_t i = 0; i < ret->dimension; i++) {
        double value = options->values[i];
        if (value != 0 && value != 1) {
            return fm_fail(err, FM_EINVAL, "mask must hold 0 and 1; entry %zu does not", i);
        }
        ones += value == 1;
    }
    if (ones == 0) {
        return fm_fail(err, FM_EINVAL, "mask must hold a 1");
    }
    ret->values = options->values;
    ret->observation_dimension = ret->dimension;
    ret->n_observed = ones;
    ret->norm_squared = ret->gram = 1;
    return FM_OK;
}

static void mask_apply(const fm_operator *forward, const double *x, double *ret, double *scratch)
{
    (void)scratch;
    for (size_t i = 0; i < forward->dimension; i++) {
        ret[i] = forward->values[i] != 0 ? x[i] : 0;
    }
}

static void mask_residual(const fm_operator *forward, const double *y, const double *x, double *ret)
{
    for (size_t i = 0; i < forward->dimension; i++) {
        ret[i] = forward->values[i] != 0 ? y[i] - x[i] : 0;
    }
}

static void mask_replace(const fm_operator *forward, const double *y, double *x)
{
    for (size_t i = 0; i < forward->dimension; i++) {
        x[i] = forward->values[i] != 0 ? y[i] : x[i];
    }
}

const fm_operator_type fm_operator_mask = {.name = "mask",
                                           .init = mask_init,
                                           .apply = mask_apply,
                                           .adjoint = mask_apply,
                                           .residual = mask_residual,
                                           .replace = mask_replace};

/* ---- matrix ---- */

static void matrix_apply(const fm_operator *forward, const double *x, double *ret, double *scratch)
{
    (void)scratch;
    size_t n = forward->dimension;
    for (size_t i = 0; i < forward->observation_dimension; i++) {
        const double *row = forward->values + i * n;
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            sum += row[j] * x[j];
        }
        ret[i] = sum;
    }
}

static void matrix_adjoint(const fm_operator *forward, const double *y, double *ret,
                           double *scratch)
{
    (void)scratch;
    size_t n = forward->dimension;
    memset(ret, 0, n * sizeof *ret);
    for (size_t i = 0; i < forward->observation_dimension; i++) {
        const double *row = forward->values + i * n;
        for (size_t j = 0; j < n; j++) {
            ret[j] += row[j] * y[i];
        }
    }
}

static double length_of(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sqrt(sum);
}

/* The power method on H^T H from noise, ROUNDS times: an estimate from below, which n dimensions make too small by a
 * share of about ln n / (2 ROUNDS) at worst, as a rule by far less.
 *   x, y  [dimension], [observation_dimension], overwritten */
static double norm_squared_of(const fm_operator *forward, double *x, double *y)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    double norm = 0;
    fm_rng_normal(0, 0, FM_RNG_PROBE, 0, m, y);
    for (size_t round = 0; round < ROUNDS; round++) {
        matrix_adjoint(forward, y, x, NULL);
        double length = length_of(n, x);
        for (size_t j = 0; j < n && length > 0; j++) {
            x[j] /= length;
        }
        matrix_apply(forward, x, y, NULL);
        norm = length_of(m, y);
    }
    return norm * norm;
}

static fm_status find_norm(fm_operator *ret, fm_error *err)
{
    double *memory = fm_alloc_array(ret->dimension + ret->observation_dimension, sizeof *memory);
    if (memory == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for the norm of a matrix");
    }
    ret->norm_squared = norm_squared_of(ret, memory, memory + ret->dimension);
    fm_free(memory);
    if (!(ret->norm_squared > 0) || !isfinite(ret->norm_squared)) {
        return fm_fail(err, FM_EINVAL, "matrix must hold more than zeros, of a finite norm");
    }
    return FM_OK;
}

static fm_status matrix_init(fm_operator *ret, const fm_operator_options *options, fm_error *err)
{
    size_t count = 0;
    if (options->values == NULL || options->n_rows == 0) {
        return fm_fail(err, FM_EINVAL, "matrix must have at least one row");
    }
    if (!fm_multiply(options->n_rows, ret->dimension, &count)) {
        return fm_fail(err, FM_EINVAL, "matrix has more rows than memory");
    }
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(options->values[i])) {
            return fm_fail(err, FM_EINVAL, "matrix must be finite; entry %zu is not", i);
        }
    }
    ret->values = options->values;
    ret->observation_dimension = options->n_rows;
    return find_norm(ret, err);
}

const fm_operator_type fm_operator_matrix = {
    .name = "matrix", .init = matrix_init, .apply = matrix_apply, .adjoint = matrix_adjoint};
