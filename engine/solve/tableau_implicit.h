/* Implicit Runge-Kutta methods as data: k[i] = v(x + h sum_j a[i][j] k[j], t + c[i] h) for all i, j; the step ends at
 * x + h sum_i b[i] k[i]. */
#ifndef FM_TABLEAU_IMPLICIT_H
#define FM_TABLEAU_IMPLICIT_H

#include <stddef.h>

#define FM_MAX_IMPLICIT_STAGES 3

typedef struct fm_implicit_tableau {
    size_t stages;
    /* Stages that depend on each other and are solved for at once; 1: one after the other. */
    size_t together;
    double c[FM_MAX_IMPLICIT_STAGES];
    double a[FM_MAX_IMPLICIT_STAGES][FM_MAX_IMPLICIT_STAGES];
    double b[FM_MAX_IMPLICIT_STAGES];
} fm_implicit_tableau;

#endif
