/* Many copies of two correlated numbers, N(0, [[1, r], [r, 1]]) with r = 0.8, of which the second is observed to be 1: the
 * exact posterior of the first is N(0.8, 0.36). One state holds all copies, and the velocity on the straight path from
 * N(0, I) is their closed form, so one trajectory is as many samples as there are copies. */
#ifndef TESTS_GAUSSIAN_PAIRS_H
#define TESTS_GAUSSIAN_PAIRS_H

#include "engine/fm.h"

#define PAIRS_MAX ((size_t)20000)

/* dx/dt; context: size_t, the number of copies. */
void velocity_pairs(void *context, double t, const double *x, double *v);

/* u = B x of one copy at time t < 1, and the score C^-1 x with a minus: B and C^-1 by their entries, [0] on and [1] off
 * the diagonal, which are the same in both rows. */
void pairs_velocity_matrix(double t, double ret[2]);
void pairs_precision(double t, double ret[2]);

/* Observes every second number, to be 1, of n copies; static data, of the last call. */
const fm_inverse *pairs_inverse(size_t n);

/* Mean and variance over n copies of entry `which`. */
typedef struct moments {
    double mean, variance;
} moments;
moments pairs_moments(const double *x, size_t n, size_t which);

#endif
