#include "tests/support/gaussian_pairs.h"

#include <check.h>

#define CORRELATION 0.8

/* The inverse of [[a, b], [b, a]]. */
static void invert(double a, double b, double ret[2])
{
    double determinant = (a - b) * (a + b);
    ret[0] = a / determinant;
    ret[1] = -b / determinant;
}

void pairs_precision(double t, double ret[2])
{
    double noise = (1 - t) * (1 - t);
    invert(t * t + noise, t * t * CORRELATION, ret);
}

/* dC/dt = B C + C B^T, and all commute: B = C' C^-1 / 2 */
void pairs_velocity_matrix(double t, double ret[2])
{
    double precision[2], slope[2] = {2 * t - 2 * (1 - t), 2 * t * CORRELATION};
    pairs_precision(t, precision);
    ret[0] = (slope[0] * precision[0] + slope[1] * precision[1]) / 2;
    ret[1] = (slope[0] * precision[1] + slope[1] * precision[0]) / 2;
}

void velocity_pairs(void *context, double t, const double *x, double *v)
{
    size_t n = *(const size_t *)context;
    double matrix[2];
    pairs_velocity_matrix(t, matrix);
    for (size_t i = 0; i < 2 * n; i += 2) {
        v[i] = matrix[0] * x[i] + matrix[1] * x[i + 1];
        v[i + 1] = matrix[1] * x[i] + matrix[0] * x[i + 1];
    }
}

const fm_inverse *pairs_inverse(size_t n)
{
    static double mask[2 * PAIRS_MAX], y[2 * PAIRS_MAX];
    static fm_operator forward;
    static fm_inverse inverse;
    ck_assert_uint_le(n, PAIRS_MAX);
    for (size_t i = 0; i < 2 * n; i++) {
        mask[i] = y[i] = (double)(i % 2);
    }
    const fm_operator_options options = {.rank = 2, .shape = {n, 2}, .values = mask};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find("mask"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    inverse = (fm_inverse){.forward = &forward, .observations = y, .n_observations = 1};
    return &inverse;
}

moments pairs_moments(const double *x, size_t n, size_t which)
{
    moments ret = {0};
    for (size_t i = 0; i < n; i++) {
        ret.mean += x[2 * i + which] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double off = x[2 * i + which] - ret.mean;
        ret.variance += off * off / (double)(n - 1);
    }
    return ret;
}
