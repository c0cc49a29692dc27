/* Loops over blocks of eight elements, which compilers turn into vector instructions, and a tail that
 * does the same operations in the same order, so that an element's bits do not depend on its place. */
#include "engine/solve/vector.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 8

/* Adds to a carry bit at the top when all exponent bits are set, that is for infinities and NaN. */
static inline uint64_t not_finite(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & UINT64_C(0x7ff0000000000000)) + UINT64_C(0x0010000000000000);
}

bool fm_vector_finite(size_t dimension, const double *x)
{
    uint64_t found = 0;
    for (size_t i = 0; i < dimension; i++) {
        found |= not_finite(x[i]);
    }
    return found >> 63 == 0;
}

void fm_vector_move(size_t dimension, double *restrict out, const double *x, const fm_sum *sum)
{
    const size_t n = sum->n_terms;
    size_t i = 0;
    for (; i + BLOCK <= dimension; i += BLOCK) {
        double total[BLOCK] = {0};
        for (size_t j = 0; j < n; j++) {
            const double *term = sum->term[j] + i;
            const double weight = sum->weight[j];
            for (size_t lane = 0; lane < BLOCK; lane++) {
                total[lane] += weight * term[lane];
            }
        }
        for (size_t lane = 0; lane < BLOCK; lane++) {
            out[i + lane] = x[i + lane] + total[lane];
        }
    }
    for (; i < dimension; i++) {
        double total = 0;
        for (size_t j = 0; j < n; j++) {
            total += sum->weight[j] * sum->term[j][i];
        }
        out[i] = x[i] + total;
    }
}

static inline double scaled(double value, double x0, double x1, double rtol, double atol)
{
    double size0 = fabs(x0);
    double size1 = fabs(x1);
    double scale = atol + rtol * (size0 > size1 ? size0 : size1);
    double ratio = value / scale;
    return value == 0 ? 0 : ratio;
}

double fm_vector_ratio(size_t dimension, const double *x0, const double *x1, const fm_sum *sum,
                       double rtol, double atol)
{
    const size_t n = sum->n_terms;
    double square[BLOCK] = {0};
    uint64_t found[BLOCK] = {0};
    size_t i = 0;
    for (; i + BLOCK <= dimension; i += BLOCK) {
        double total[BLOCK] = {0};
        for (size_t j = 0; j < n; j++) {
            const double *term = sum->term[j] + i;
            const double weight = sum->weight[j];
            for (size_t lane = 0; lane < BLOCK; lane++) {
                total[lane] += weight * term[lane];
            }
        }
        for (size_t lane = 0; lane < BLOCK; lane++) {
            double ratio = scaled(total[lane], x0[i + lane], x1[i + lane], rtol, atol);
            square[lane] += ratio * ratio;
            found[lane] |= not_finite(x1[i + lane]) | not_finite(total[lane]);
        }
    }
    for (size_t lane = 0; i < dimension; i++, lane++) {
        double total = 0;
        for (size_t j = 0; j < n; j++) {
            total += sum->weight[j] * sum->term[j][i];
        }
        double ratio = scaled(total, x0[i], x1[i], rtol, atol);
        square[lane] += ratio * ratio;
        found[lane] |= not_finite(x1[i]) | not_finite(total);
    }
    double mean = 0;
    uint64_t any = 0;
    for (size_t lane = 0; lane < BLOCK; lane++) {
        mean += square[lane];
        any |= found[lane];
    }
    return any >> 63 != 0 ? (double)INFINITY : sqrt(mean / (double)dimension);
}

void fm_vector_hermite(size_t dimension, double *restrict out, const double *x0, const double *v0,
                       const double *x1, const double *v1, double h, double theta)
{
    const double rest = 1 - theta;
    const double weight_x = theta * theta * (3 - 2 * theta);
    const double weight_v0 = h * theta * rest * rest;
    const double weight_v1 = -h * theta * theta * rest;
    for (size_t i = 0; i < dimension; i++) {
        out[i] = x0[i] + weight_x * (x1[i] - x0[i]) + (weight_v0 * v0[i] + weight_v1 * v1[i]);
    }
}
