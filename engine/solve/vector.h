/* The passes over a state that methods consist of: each reads and writes every element once, with
 * the sums of an element, and of the norm, in an order that depends on the dimension alone. */
#ifndef FM_VECTOR_H
#define FM_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

/* A linear combination of slopes; terms with weight zero are left out when it is built. */
typedef struct fm_sum {
    size_t n_terms;
    double weight[18];
    const double *term[18]; /* [dimension] each */
} fm_sum;

static inline void fm_sum_add(fm_sum *sum, double weight, const double *term)
{
    if (weight != 0) {
        sum->weight[sum->n_terms] = weight;
        sum->term[sum->n_terms++] = term;
    }
}

/* out = x + sum; out overlaps none of the others. */
void fm_vector_move(size_t dimension, double *restrict out, const double *x, const fm_sum *sum);

/* Root mean square of sum / (atol + rtol max(|x0|, |x1|)), element by element; 0 / 0 counts as 0.
 * Infinite when x1 or the sum has an element that is not finite. x0 and x1 may be the same. */
double fm_vector_ratio(size_t dimension, const double *x0, const double *x1, const fm_sum *sum,
                       double rtol, double atol);

/* Cubic Hermite interpolation: the state at t0 + theta h from states and slopes at both ends. */
void fm_vector_hermite(size_t dimension, double *restrict out, const double *x0, const double *v0,
                       const double *x1, const double *v1, double h, double theta);

/* out += weight x, or nothing where the weight is 0; x is not read then. */
void fm_vector_add(size_t dimension, double *restrict out, double weight, const double *x);

bool fm_vector_finite(size_t dimension, const double *x);

#endif
