/* Plain loops that compilers turn into vector instructions. Nothing depends on alignment: an element's
 * operations and their order are the same wherever it lies, and the norm's partial sums are written
 * out. */
#include "engine/solve/vector.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 8   /* partial sums of a norm */
#define CHUNK 256 /* elements of a sum kept in the first-level cache; a multiple of LANES */

/* Adds to a carry bit at the top when all exponent bits are set, that is for infinities and NaN. */
static inline uint64_t not_finite(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & UINT64_C(0x7ff0000000000000)) + UINT64_C(0x0010000000000000);
}

void fm_vector_add(size_t dimension, double *restrict out, double weight, const double *x)
{
    for (size_t i = 0; weight != 0 && i < dimension; i++) {
        out[i] += weight * x[i];
    }
}

bool fm_vector_finite(size_t dimension, const double *x)
{
    uint64_t found = 0;
    for (size_t i = 0; i < dimension; i++) {
        found |= not_finite(x[i]);
    }
    return found >> 63 == 0;
}

/* total += w[0] k[0], then += w[1] k[1] and so on, four in one pass. */
static void add_four(size_t n, double *restrict total, const double *w, const double *const *k,
                     size_t offset)
{
    const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
    const double *k0 = k[0] + offset, *k1 = k[1] + offset;
    const double *k2 = k[2] + offset, *k3 = k[3] + offset;
    for (size_t i = 0; i < n; i++) {
        total[i] = (((total[i] + w0 * k0[i]) + w1 * k1[i]) + w2 * k2[i]) + w3 * k3[i];
    }
}

static void add_one(size_t n, double *restrict total, double w, const double *k)
{
    for (size_t i = 0; i < n; i++) {
        total[i] += w * k[i];
    }
}

/* total [n] = the sum at elements offset … offset + n - 1 */
static void sum_chunk(size_t n, double *restrict total, const fm_sum *sum, size_t offset)
{
    memset(total, 0, n * sizeof(double));
    size_t j = 0;
    for (; j + 4 <= sum->n_terms; j += 4) {
        add_four(n, total, sum->weight + j, sum->term + j, offset);
    }
    for (; j < sum->n_terms; j++) {
        add_one(n, total, sum->weight[j], sum->term[j] + offset);
    }
}

/* The same at one element, for states too short to be worth a chunk. */
static inline double sum_element(const fm_sum *sum, size_t i)
{
    double total = 0;
    for (size_t j = 0; j < sum->n_terms; j++) {
        total += sum->weight[j] * sum->term[j][i];
    }
    return total;
}

void fm_vector_move(size_t dimension, double *restrict out, const double *x, const fm_sum *sum)
{
    if (dimension < LANES) {
        for (size_t i = 0; i < dimension; i++) {
            out[i] = x[i] + sum_element(sum, i);
        }
        return;
    }
    double total[CHUNK];
    for (size_t start = 0; start < dimension; start += CHUNK) {
        size_t n = dimension - start < CHUNK ? dimension - start : CHUNK;
        sum_chunk(n, total, sum, start);
        for (size_t i = 0; i < n; i++) {
            out[start + i] = x[start + i] + total[i];
        }
    }
}

/* The norm's partial sums: element i goes to lane i mod LANES. */
typedef struct partial_norm {
    double square[LANES];
    uint64_t found[LANES]; /* not_finite() of all that went in */
} partial_norm;

static inline void add_to_lane(partial_norm *norm, size_t lane, double total, double x0, double x1,
                               double rtol, double atol)
{
    double size0 = fabs(x0);
    double size1 = fabs(x1);
    double scale = atol + rtol * (size0 > size1 ? size0 : size1);
    double ratio = total / scale;
    ratio = total == 0 ? 0 : ratio;
    norm->square[lane] += ratio * ratio;
    norm->found[lane] |= not_finite(x1) | not_finite(total);
}

double fm_vector_ratio(size_t dimension, const double *x0, const double *x1, const fm_sum *sum,
                       double rtol, double atol)
{
    partial_norm norm = {{0}, {0}};
    double total[CHUNK];
    for (size_t start = 0; start < dimension; start += CHUNK) {
        size_t n = dimension - start < CHUNK ? dimension - start : CHUNK;
        if (n < LANES) {
            for (size_t i = 0; i < n; i++) {
                total[i] = sum_element(sum, start + i);
            }
        } else {
            sum_chunk(n, total, sum, start);
        }
        size_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            for (size_t lane = 0; lane < LANES; lane++) {
                add_to_lane(&norm, lane, total[i + lane], x0[start + i + lane],
                            x1[start + i + lane], rtol, atol);
            }
        }
        for (size_t lane = 0; i < n; i++, lane++) {
            add_to_lane(&norm, lane, total[i], x0[start + i], x1[start + i], rtol, atol);
        }
    }
    double squares = 0;
    uint64_t found = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        squares += norm.square[lane];
        found |= norm.found[lane];
    }
    return found >> 63 != 0 ? (double)INFINITY : sqrt(squares / (double)dimension);
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
