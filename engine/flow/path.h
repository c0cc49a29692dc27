/* Paths x_t = alpha(t) x1 + sigma(t) x0, in the one convention (t = 0 source, t = 1 data).
 *
 * A scheduler is a row of path.def: its name, parameters with defaults, and its functions.
 * Source: Lipman et al., "Flow Matching Guide and Code", arXiv:2412.06264, section 4; Karras et al.,
 * arXiv:2206.00364, for edm and ve; Song et al., arXiv:2011.13456, for vp and sub_vp. */
#ifndef FM_PATH_H
#define FM_PATH_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

#define FM_PATH_MAX_PARAMETERS 4

typedef struct fm_path_type fm_path_type; /* a row of path.def */

/* A scheduler with its parameters; a plain value. */
typedef struct fm_path {
    const fm_path_type *type;
    double parameters[FM_PATH_MAX_PARAMETERS];
} fm_path;

/* alpha, sigma and their derivatives at one time. */
typedef struct fm_path_point {
    double alpha, sigma, d_alpha, d_sigma;
    double
        sigma_d_sigma; /* sigma d_sigma: half the derivative of sigma^2, finite where d_sigma is not */
} fm_path_point;

const fm_path_type *fm_path_type_find(const char *name); /* NULL when there is none */
const char *fm_path_type_name(const fm_path_type *type);
/* Parameter `index` of a type: its name and default; false past the last. */
bool fm_path_type_parameter(const fm_path_type *type, size_t index, const char **ret_name,
                            double *ret_default);
/* Errors: FM_EINVAL a parameter is out of its range; the text names it. */
FM_MUST_USE fm_status fm_path_init(fm_path *ret, const fm_path_type *type,
                                   const double parameters[FM_PATH_MAX_PARAMETERS], fm_error *err);
/* For t in [0, 1]. Everything is finite but a derivative without a finite limit, which is the
 * infinity that it tends to: d_sigma = -inf at t = 1 for linear_vp and (with beta_min > 0) vp, d_alpha = inf
 * and d_sigma = -inf at t = 0 for polynomial with n < 1. Grids stop short of these ends. */
fm_path_point fm_path_at(const fm_path *path, double t);

#endif
