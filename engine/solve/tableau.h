/* Runge-Kutta methods as data. A step from (t, x) of size h evaluates
 *
 *     k[i] = v(x + h sum_{j<i} a[i][j] k[j], t + c[i] h),   i = 0 … stages - 1,
 *
 * ends at x + h sum_i b[i] k[i], has the error estimate h sum_i error[i] k[i], and is continued inside
 * the step, theta in [0, 1], by x + h sum_i k[i] sum_m dense[i][m] theta^(m + 1). */
#ifndef FM_TABLEAU_H
#define FM_TABLEAU_H

#include <stdbool.h>
#include <stddef.h>

#define FM_MAX_STAGES 18 /* rows of a tableau, those of its dense output included */

typedef struct fm_tableau {
    /* Rows of a step; the last is the first of the next step where there is an error. */
    size_t stages;
    size_t extra;  /* further rows, evaluated only in accepted steps that hold an output time */
    size_t degree; /* of the dense output; 0: the method has none of its own */
    size_t dense_order; /* its order of accuracy; its error in one step is of order + 1 */
    /* Of the usual number of steps for a tolerance, where the pair's results differ by far less than other pairs'
     * of the order; 0: 1. */
    double steps_scale;
    const double *c;     /* [stages + extra] */
    const double *a;     /* rows 1 … stages + extra - 1, row i has i entries, one after the other */
    const double *b;     /* [stages], or NULL: the last row's state is the new state */
    const double *error; /* [stages], or NULL: no embedded method */
    const double *dense; /* [stages + extra][degree], or NULL */
} fm_tableau;

extern const fm_tableau fm_tableau_euler, fm_tableau_midpoint, fm_tableau_heun2, fm_tableau_heun3,
    fm_tableau_rk4, fm_tableau_rk4_38, fm_tableau_adaptive_heun, fm_tableau_fehlberg2,
    fm_tableau_bosh3, fm_tableau_dopri5, fm_tableau_tsit5, fm_tableau_dopri8;

/* Row i of a, [i]; i >= 1. */
static inline const double *fm_tableau_row(const fm_tableau *tableau, size_t i)
{
    return tableau->a + i * (i - 1) / 2;
}

/* Whether slope i has a weight in a step's end, in its error or, with outputs, within it. */
bool fm_tableau_integrates(const fm_tableau *tableau, size_t i, bool outputs);

#endif
