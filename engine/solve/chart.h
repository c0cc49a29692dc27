/* Steps on any space, for the Runge-Kutta steppers: where a stage is, and what the velocity there is worth at the step's
 * start. engine/space/space.h has the equation. On a flat space both are nothing but x + u. */
#ifndef FM_CHART_H
#define FM_CHART_H

#include "engine/solve/method.h"
#include "engine/solve/vector.h"

typedef struct fm_chart {
    double *u;     /* [dimension] of the stage that is wanted: in the chart; NULL on flat spaces */
    double *slope; /* [dimension] a slope in the chart */
} fm_chart;

/* Vectors that it takes; place() is given so many, solve->stride apart, and returns the first behind them. */
size_t fm_chart_vectors(const fm_solve_plan *plan);
double *fm_chart_place(fm_chart *chart, const fm_solve *solve, double *vectors);

/* y = the stage at u = sum of the step that starts at x; u is kept. */
void fm_chart_move(const fm_solve *solve, fm_chart *chart, double *y, const double *x,
                   const fm_sum *sum);
/* v, found at that stage, becomes its slope in the chart at x, in place. */
void fm_chart_pull(const fm_solve *solve, const fm_chart *chart, const double *x, double *v);

/* An end of a step: where it is, and the slope there. */
typedef struct fm_chart_end {
    const double *x, *slope;
} fm_chart_end;

/* The state at share theta of a step of size h, from its ends: cubic Hermite interpolation in the chart at the first. x1 lies within the reach of a geodesic. chart NULL: the space is flat. */
void fm_chart_hermite(const fm_solve *solve, fm_chart *chart, double *ret, fm_chart_end from,
                      fm_chart_end to, double h, double theta);

#endif
