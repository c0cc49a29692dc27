#include "proto/observation.h"

#include "engine/name.h"

#include <stdint.h>
#include <stdlib.h>

static const char *const methods[FMP_N_OBSERVATION_METHODS] = {
    [FMP_OBSERVATION_REPLACEMENT] = "replacement",
    [FMP_OBSERVATION_PNP_FLOW] = "pnp_flow",
    [FMP_OBSERVATION_GRADIENT] = "gradient",
};

fmp_observation_method fmp_observation_method_find(const char *name)
{
    return (fmp_observation_method)fm_name_find(methods, FMP_N_OBSERVATION_METHODS, name);
}

const char *fmp_observation_method_name(fmp_observation_method method)
{
    return methods[method];
}

void fmp_observation_free(fmp_observation *observation)
{
    if (observation == NULL) {
        return;
    }
    free(observation->values);
    free(observation->y);
    free(observation->scratch);
    free(observation);
}

/* What is counted was allocated, so no sum overflows. */
size_t fmp_observation_bytes(const fmp_observation *observation)
{
    if (observation == NULL) {
        return 0;
    }
    const fm_operator *forward = &observation->forward;
    size_t n_doubles = observation->inverse.n_observations * forward->observation_dimension;
    n_doubles += observation->n_values + fm_operator_misfit_scratch(forward);
    return sizeof *observation + n_doubles * sizeof(double);
}

double fmp_observation_residual(const fmp_observation *observation, size_t row, const float *x)
{
    const fm_operator *forward = &observation->forward;
    size_t which = observation->inverse.n_observations == 1 ? 0 : row;
    const double *y = observation->y + which * forward->observation_dimension;
    return fm_operator_misfit(forward, y, x, observation->scratch);
}
