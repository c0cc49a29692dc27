/* Densities: how the divergences are found that they are integrals of. */
#ifndef FM_FM_DENSITY_H
#define FM_FM_DENSITY_H

#include <stddef.h>

/* How the divergence of the velocity, the trace of its Jacobian J, is found: exactly, sum_i e_i . J e_i over all
 * dimensions, or by Hutchinson's estimator, the mean of n probes' z . J z, which is unbiased for independent z of
 * mean 0 and variance 1. A trajectory keeps its probes.
 * Source: Hutchinson, 1990, doi:10.1080/03610919008812866; Grathwohl et al., arXiv:1810.01367. */
typedef enum fm_divergence_method {
    FM_DIVERGENCE_EXACT,
    FM_DIVERGENCE_HUTCHINSON,
} fm_divergence_method;

typedef enum fm_probe {
    /* +1 or -1: no variance where J is diagonal, 2 sum_{i != j} J_ij^2 where symmetric. */
    FM_PROBE_RADEMACHER,
    FM_PROBE_GAUSSIAN,
} fm_probe;

#define FM_MAX_PROBES ((size_t)1024)

typedef struct fm_divergence {
    fm_divergence_method method;
    fm_probe probe;
    size_t n_probes; /* of Hutchinson's: 1 to FM_MAX_PROBES */
} fm_divergence;

#define FM_IMAGE_LEVELS 256.0

#endif
