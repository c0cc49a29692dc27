/* The pull of an observation on the data that the flow expects. */
#include "engine/inverse/likelihood.h"

#include "engine/inverse/operator.h"

size_t fm_likelihood_scratch_size(const fm_operator *forward)
{
    return forward->observation_dimension + fm_operator_scratch_size(forward);
}

void fm_likelihood_pull(const fm_inverse *inverse, uint64_t sample, const fm_path_point *at,
                        const double *x1_hat, double *ret, double *scratch)
{
    const fm_operator *forward = inverse->forward;
    double *residual = scratch, *rest = scratch + forward->observation_dimension;
    double variance = at->sigma * at->sigma / (at->alpha * at->alpha + at->sigma * at->sigma);
    fm_operator_residual(forward, fm_inverse_observation(inverse, sample), x1_hat, residual, rest);
    fm_operator_invert(forward, fm_inverse_lambda(inverse) / variance, residual, ret, rest);
    for (size_t i = 0; i < forward->dimension; i++) {
        ret[i] /= variance;
    }
}
