/* Replacement of the observed part of a state. */
#include "engine/inverse/replacement.h"

#include "engine/inverse/operator.h"
#include "engine/math/rng.h"

#include <string.h>

size_t fm_replacement_scratch_size(const fm_operator *forward)
{
    return forward->observation_dimension + fm_operator_scratch_size(forward);
}

void fm_replacement_apply(const fm_replacement *replacement, size_t step, double t, double *x,
                          double *scratch)
{
    const fm_inverse *inverse = replacement->inverse;
    const fm_operator *forward = inverse->forward;
    const double *y = fm_inverse_observation(inverse, replacement->sample);
    fm_path_point at = fm_path_at(replacement->path, t);
    size_t n = forward->dimension, m = forward->observation_dimension;
    double *target = scratch, *rest = scratch + m;
    memset(target, 0, m * sizeof *target);
    if (at.sigma != 0) {
        double *noise = rest;
        fm_rng_normal(replacement->seed, replacement->sample, FM_RNG_REPLACEMENT,
                      (uint64_t)step * n, n, noise);
        fm_operator_apply(forward, noise, target, rest + n);
    }
    for (size_t i = 0; i < m; i++) {
        target[i] = at.alpha * y[i] + at.sigma * target[i];
    }
    fm_operator_correct(forward, fm_inverse_lambda(inverse), target, x, rest);
}
