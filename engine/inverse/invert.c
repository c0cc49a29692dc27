/* The regularised pseudo-inverse by conjugate gradients. */
#include "engine/inverse/operator.h"

#include <string.h>

#define TOLERANCE 1e-10 /* of the normal equations' residual, in parts of the first */

/* The iteration's vectors, in the caller's scratch. */
typedef struct iteration {
    double *left;      /* [observation_dimension] r - H ret */
    double *image;     /* [observation_dimension] H of the direction */
    double *gradient;  /* [dimension] H^T left - lambda ret */
    double *direction; /* [dimension] */
    double *own;       /* the operator's */
} iteration;

static iteration place(const fm_operator *forward, double *scratch)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    return (iteration){.left = scratch,
                       .image = scratch + m,
                       .gradient = scratch + 2 * m,
                       .direction = scratch + 2 * m + n,
                       .own = scratch + 2 * m + 2 * n};
}

static double square(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

/* x += weight y */
static void add(size_t n, double *x, double weight, const double *y)
{
    for (size_t i = 0; i < n; i++) {
        x[i] += weight * y[i];
    }
}

/* The best step along the direction. False where there is none. */
static bool advance(const fm_operator *forward, double lambda, double slope, const iteration *it,
                    double *ret)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    fm_operator_apply(forward, it->direction, it->image, it->own);
    double bend = square(m, it->image) + lambda * square(n, it->direction);
    if (!(bend > 0)) {
        return false;
    }
    double length = slope / bend;
    add(n, ret, length, it->direction);
    add(m, it->left, -length, it->image);
    fm_operator_adjoint(forward, it->left, it->gradient, it->own);
    add(n, it->gradient, -lambda, ret);
    return true;
}

static void iterate(const fm_operator *forward, double lambda, const iteration *it, double *ret)
{
    size_t n = forward->dimension;
    double slope = square(n, it->gradient);
    double enough = TOLERANCE * TOLERANCE * slope;
    memcpy(it->direction, it->gradient, n * sizeof *ret);
    for (size_t i = 0; i < FM_INVERT_ITERATIONS && slope > enough; i++) {
        if (!advance(forward, lambda, slope, it, ret)) {
            return;
        }
        double before = slope;
        slope = square(n, it->gradient);
        for (size_t k = 0; k < n; k++) {
            it->direction[k] = it->gradient[k] + slope / before * it->direction[k];
        }
    }
}

void fm_operator_invert(const fm_operator *forward, double lambda, const double *r, double *ret,
                        double *scratch)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    if (forward->gram > 0) {
        fm_operator_adjoint(forward, r, ret, scratch);
        for (size_t i = 0; i < n; i++) {
            ret[i] /= forward->gram + lambda;
        }
        return;
    }
    iteration it = place(forward, scratch);
    memcpy(it.left, r, m * sizeof *r);
    memset(ret, 0, n * sizeof *ret);
    fm_operator_adjoint(forward, r, it.gradient, it.own);
    iterate(forward, lambda, &it, ret);
}
