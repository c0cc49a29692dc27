/* Replacement: at time t the observed part of a state becomes what the path makes of the observation,
 *
 *     x += H^T (H H^T + lambda I)^-1 (alpha y + sigma H e - H x),   lambda = observation_std^2,
 *
 * with fresh standard normal e for every step; the rest of x is left to the flow. At t = 1 of a path that ends at
 * data H x = y, exactly for a mask. The law of the result is not the posterior's, for the flow never hears that the
 * observed part has become what it is: docs/solvers.md has how far it is off on a Gaussian.
 * Source: Song et al., arXiv:2011.13456, appendix I.2; Lugmayr et al., arXiv:2201.09865, without resampling. */
#ifndef FM_REPLACEMENT_H
#define FM_REPLACEMENT_H

#include "engine/flow/path.h"
#include "engine/inverse/inverse.h"

/* Of one trajectory. */
typedef struct fm_replacement {
    const fm_inverse *inverse;
    const fm_path *path;
    uint64_t seed, sample;
} fm_replacement;

/* Doubles. */
size_t fm_replacement_scratch_size(const fm_operator *forward);

/* Step number `step` has ended at time t in x [dimension].
 *   scratch  as many doubles */
void fm_replacement_apply(const fm_replacement *replacement, size_t step, double t, double *x,
                          double *scratch);

#endif
