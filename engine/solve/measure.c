/* Straightness, kinetic energy and curvature of a trajectory, from the velocities at its states.
 *
 * Every method looks at the states where its steps begin, or, where the last look of a step is the first of the next, at
 * those where they end. The last state is looked at by no fixed step: the velocity before it stands for it.
 * Source: Liu, Gong and Liu, arXiv:2209.03003, for straightness. */
#include "engine/solve/method.h"

#include <math.h>
#include <string.h>

void fm_measure_start(fm_solve *solve, double *vectors)
{
    fm_measure *measure = solve->measure;
    *measure = (fm_measure){
        .first_t = solve->t, .t = solve->t, .start = vectors, .slope = vectors + solve->stride};
    memcpy(measure->start, solve->x, solve->dimension * sizeof *measure->start);
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
    for (size_t i = 0; i < solve->dimension; i++) {
        square += v[i] * v[i];
    }
    if (measure->has_slope) {
        measure->energy += fabs(solve->t - measure->t) * (measure->square + square) / 2;
        measure->turning +=
            angle(solve->dimension, measure->slope, sqrt(measure->square), v, sqrt(square));
    }
    measure->has_slope = true;
    measure->t = solve->t;
    measure->square = square;
    memcpy(measure->slope, v, solve->dimension * sizeof *v);
}

fm_path_shape fm_measure_end(const fm_solve *solve)
{
    const fm_measure *measure = solve->measure;
    double span = fabs(solve->t - measure->first_t), distance = 0;
    double energy = measure->energy + fabs(solve->t - measure->t) * measure->square;
    for (size_t i = 0; i < solve->dimension; i++) {
        double moved = solve->x[i] - measure->start[i];
        distance += moved * moved;
    }
    double straightness = span == 0 ? 0 : energy - distance / span;
    return (fm_path_shape){.straightness = fmax(0, straightness),
                           .kinetic_energy = energy,
                           .curvature = measure->turning};
}
