/* The rules of an inverse problem. */
#include "engine/inverse/inverse.h"

#include <math.h>

static fm_status check_observations(const fm_inverse *inverse, size_t n_samples, fm_error *err)
{
    size_t n = inverse->n_observations;
    if (inverse->observations == NULL || (n != 1 && n != n_samples)) {
        return fm_fail(err, FM_EINVAL, "observations must be one, or one for each of %zu samples",
                       n_samples);
    }
    for (size_t i = 0; i < n * inverse->forward->observation_dimension; i++) {
        if (!isfinite(inverse->observations[i])) {
            return fm_fail(err, FM_EINVAL, "observations must be finite; entry %zu is not", i);
        }
    }
    return FM_OK;
}

fm_status fm_inverse_check(const fm_inverse *inverse, size_t dimension, size_t n_samples,
                           fm_error *err)
{
    if (inverse->forward == NULL || inverse->forward->dimension != dimension) {
        return fm_fail(err, FM_EINVAL, "forward must be an operator on samples of dimension %zu",
                       dimension);
    }
    if (!(inverse->observation_std >= 0) || !isfinite(inverse->observation_std)) {
        return fm_fail(err, FM_EINVAL, "observation_std must be finite and not negative");
    }
    return check_observations(inverse, n_samples, err);
}
