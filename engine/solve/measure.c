/* Straightness, kinetic energy and curvature of a trajectory, from the velocities that its steps are made of.
 *
 * Runge-Kutta methods integrate |v|^2 as they do v, with the same weights at the same stages, so what they measure is
 * as exact as what they compute. The others look at the states where their steps begin, and the trapezoid rule joins
 * these; the last state is looked at by none, so the velocity before it stands for it.
 * Source: Liu, Gong and Liu, arXiv:2209.03003, for straightness. */
#include "engine/solve/method.h"

#include <math.h>
#include <string.h>

static size_t measured(const fm_solve *solve)
{
    return solve->dimension - solve->plan->n_integrals;
}

void fm_measure_start(fm_solve *solve, double *vectors)
{
    fm_measure *measure = solve->measure;
    *measure = (fm_measure){
        .first_t = solve->t, .t = solve->t, .start = vectors, .slope = vectors + solve->stride};
    memcpy(measure->start, solve->x, measured(solve) * sizeof *measure->start);
}

/* Between two directions, from the lengths of their difference and sum: exact for small angles too. */
static double angle(size_t n, const double *a, double a_norm, const double *b, double b_norm)
{
    double apart = 0, together = 0;
    if (a_norm == 0 || b_norm == 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        double difference = a[i] / a_norm - b[i] / b_norm, sum = a[i] / a_norm + b[i] / b_norm;
        apart += difference * difference;
        together += sum * sum;
    }
    return 2 * atan2(sqrt(apart), sqrt(together));
}

void fm_measure_slope(fm_solve *solve, const double *v)
{
    fm_measure *measure = solve->measure;
    double square = 0;
    for (size_t i = 0; i < measured(solve); i++) {
        square += v[i] * v[i];
    }
    if (measure->has_slope) {
        bool by_stages = solve->method->tableau != NULL;
        double mean = by_stages ? 0 : (measure->square + square) / 2;
        measure->energy += fabs(solve->t - measure->t) * mean;
        measure->turning +=
            angle(measured(solve), measure->slope, sqrt(measure->square), v, sqrt(square));
    }
    measure->has_slope = true;
    measure->t = solve->t;
    measure->square = square;
    memcpy(measure->slope, v, measured(solve) * sizeof *v);
}

void fm_measure_stages(fm_solve *solve, double h, size_t n, const double *weights,
                       double *const *slopes)
{
    for (size_t i = 0; i < n && solve->measure != NULL; i++) {
        double square = 0;
        for (size_t k = 0; k < measured(solve); k++) {
            square += slopes[i][k] * slopes[i][k];
        }
        solve->measure->energy += fabs(h) * weights[i] * square;
    }
}

fm_path_shape fm_measure_end(const fm_solve *solve)
{
    const fm_measure *measure = solve->measure;
    double span = fabs(solve->t - measure->first_t), distance = 0;
    bool by_stages = solve->method->tableau != NULL;
    double rest = by_stages ? 0 : fabs(solve->t - measure->t) * measure->square;
    double energy = measure->energy + rest;
    for (size_t i = 0; i < measured(solve); i++) {
        double moved = solve->x[i] - measure->start[i];
        distance += moved * moved;
    }
    double straightness = span == 0 ? 0 : energy - distance / span;
    return (fm_path_shape){.straightness = fmax(0, straightness),
                           .kinetic_energy = energy,
                           .curvature = measure->turning};
}
