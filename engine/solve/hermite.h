/* Outputs inside the steps of methods that look at every grid point: cubic Hermite interpolation of the states and
 * slopes at both ends of a step, in the chart of its start where the space is not flat. The slope at the end is the first look of the next step, so outputs leave one
 * evaluation after the step's end; in the last step that evaluation is an extra one, made only if an output needs it. */
#ifndef FM_HERMITE_H
#define FM_HERMITE_H

#include "engine/solve/chart.h"
#include "engine/solve/method.h"

typedef struct fm_hermite {
    bool pending;                /* the step before this one has outputs inside */
    double *x, *slope, *between; /* where it started; with output times only */
    fm_chart *chart;             /* of methods that know any space; else NULL: flat */
} fm_hermite;

/* Vectors that it takes; place() is given so many, solve->stride apart, and returns the first behind them. */
size_t fm_hermite_vectors(const fm_solve_plan *plan);
double *fm_hermite_place(fm_hermite *hermite, const fm_solve *solve, double *vectors);

/* Step `index` ends in *y: a finite one becomes solve->x, and *y the state before, or a spare. False when the
 * trajectory has ended; else the slope at solve->x is to be asked for, and given here before it is used.
 *   slope  in: at the step's start; out: that or a spare */
bool fm_hermite_arrive(fm_solve *solve, fm_hermite *hermite, size_t index, double **y,
                       double **slope);
/* The slope at solve->x, the end of step index - 1. False when the trajectory has ended. */
bool fm_hermite_give(fm_solve *solve, fm_hermite *hermite, size_t index, const double *slope);

/* The extra evaluation, 0 or 1. */
double fm_hermite_expected(const fm_solve_plan *plan);

#endif
