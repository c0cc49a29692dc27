/* Cyclic Jacobi. */
#include "engine/math/symmetric.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define MAX_SWEEPS 64 /* it converges quadratically: a dozen are many */

static void set_identity(size_t n, double *q)
{
    memset(q, 0, n * n * sizeof *q);
    for (size_t i = 0; i < n; i++) {
        q[i * n + i] = 1;
    }
}

/* Two rows, stride 1, or two columns, stride n, of a matrix [n][n]: r_i = c r_i - s r_j, r_j = s r_i + c r_j. */
static void rotate(size_t n, size_t stride, double *ri, double *rj, double c, double s)
{
    for (size_t k = 0; k < n; k++) {
        double a = ri[k * stride], b = rj[k * stride];
        ri[k * stride] = c * a - s * b;
        rj[k * stride] = s * a + c * b;
    }
}

/* The rotation that makes a[i][j] vanish. */
static void eliminate(size_t n, double *a, double *q, size_t i, size_t j)
{
    double across = a[i * n + j];
    double tau = (a[j * n + j] - a[i * n + i]) / (2 * across);
    double t = (tau >= 0 ? 1 : -1) / (fabs(tau) + sqrt(1 + tau * tau));
    double c = 1 / sqrt(1 + t * t), s = t * c;
    rotate(n, 1, a + i * n, a + j * n, c, s);
    rotate(n, n, a + i, a + j, c, s);
    a[i * n + j] = a[j * n + i] = 0;
    rotate(n, n, q + i, q + j, c, s);
}

static bool is_nothing(size_t n, const double *a, size_t i, size_t j)
{
    double scale = sqrt(fabs(a[i * n + i])) * sqrt(fabs(a[j * n + j]));
    return a[i * n + j] == 0 || fabs(a[i * n + j]) <= 0.5 * DBL_EPSILON * scale;
}

/* Every pair once; whether some were more than rounding. */
static bool sweep(size_t n, double *a, double *q)
{
    bool changed = false;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (!is_nothing(n, a, i, j)) {
                eliminate(n, a, q, i, j);
                changed = true;
            }
        }
    }
    return changed;
}

void fm_symmetric_eigen(size_t n, double *a, double *values, double *q)
{
    set_identity(n, q);
    size_t sweeps = 0;
    while (sweeps < MAX_SWEEPS && sweep(n, a, q)) {
        sweeps++;
    }
    for (size_t i = 0; i < n; i++) {
        values[i] = a[i * n + i];
    }
}

void fm_symmetric_compose(size_t n, const double *q, const double *values, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += q[i * n + k] * values[k] * q[j * n + k];
            }
            ret[i * n + j] = ret[j * n + i] = sum;
        }
    }
}

void fm_symmetric_sandwich(size_t n, const double *a, const double *b, double *scratch, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += a[i * n + k] * b[k * n + j];
            }
            scratch[i * n + j] = sum;
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++) {
                sum += scratch[i * n + k] * a[k * n + j];
            }
            ret[i * n + j] = ret[j * n + i] = sum;
        }
    }
}
