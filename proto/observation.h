/* What is observed of the samples: an inverse problem, the second kind of …/edit.
 *
 *   observation --parse--> operator H, observations y --one job with spec.inverse--> samples, residual |y - H x|
 *
 * Everything is allocated when the request is parsed; the answer is written in its scratch, by one thread. */
#ifndef FMP_OBSERVATION_H
#define FMP_OBSERVATION_H

#include "proto/request.h"

/* How the samples are made to fit; in the order of the choices of /observation/method. */
typedef enum fmp_observation_method {
    FMP_OBSERVATION_REPLACEMENT, /* fm_inverse.replaces */
    FMP_OBSERVATION_PNP_FLOW,    /* the solver's own method */
    FMP_OBSERVATION_GRADIENT,    /* fm_inverse.guidance_scale */
    FMP_N_OBSERVATION_METHODS,
} fmp_observation_method;

/* FMP_N_OBSERVATION_METHODS when there is none. */
fmp_observation_method fmp_observation_method_find(const char *name);
const char *fmp_observation_method_name(fmp_observation_method method);

/* Owned by its request. */
struct fmp_observation {
    fmp_observation_method method;
    fm_operator forward; /* borrows values */
    fm_inverse inverse;  /* borrows forward and y */
    size_t n_values;
    double *values;  /* [n_values] of a mask or a matrix, else NULL */
    double *y;       /* [inverse.n_observations][forward.observation_dimension] */
    double *scratch; /* [fm_operator_misfit_scratch()] */
};

void fmp_observation_free(fmp_observation *observation);          /* takes NULL */
size_t fmp_observation_bytes(const fmp_observation *observation); /* 0 of NULL */
/* Of sample `row`: the root mean square of y - H x over what is observed.
 *   x  [dimension] */
double fmp_observation_residual(const fmp_observation *observation, size_t row, const float *x);

#endif
