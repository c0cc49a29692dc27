/* The rules of an inverse problem, and which observation a sample has. */
#ifndef FM_INVERSE_H
#define FM_INVERSE_H

#include "engine/fm_inverse.h"

#include <stdint.h>

/* Errors: FM_EINVAL, the text names the member. */
FM_MUST_USE fm_status fm_inverse_check(const fm_inverse *inverse, size_t dimension,
                                       size_t n_samples, fm_error *err);

/* [observation_dimension] */
static inline const double *fm_inverse_observation(const fm_inverse *inverse, uint64_t sample)
{
    size_t which = inverse->n_observations == 1 ? 0 : (size_t)sample;
    return inverse->observations + which * inverse->forward->observation_dimension;
}

/* lambda of fm_operator_invert(): the variance of the noise beside states of variance 1. */
static inline double fm_inverse_lambda(const fm_inverse *inverse)
{
    return inverse->observation_std * inverse->observation_std;
}

#endif
