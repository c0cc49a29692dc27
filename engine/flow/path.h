/* Paths x_t = alpha(t) x1 + sigma(t) x0, in the one convention (t = 0 source, t = 1 data).
 *
 * A scheduler is a row of path.def: its name, parameters with defaults, and its functions.
 * Source: Lipman et al., "Flow Matching Guide and Code", arXiv:2412.06264, section 4; Karras et al.,
 * arXiv:2206.00364, for edm and ve; Song et al., arXiv:2011.13456, for vp and sub_vp. */
#ifndef FM_PATH_H
#define FM_PATH_H

#include "engine/fm_path.h"

#define FM_SINGULAR_MARGIN 1e-3 /* what default grids keep away from a singular end */

/* alpha, sigma and their derivatives at one time; sigma is that of unit noise, so the standard deviation
 * of the source is in it. */
typedef struct fm_path_point {
    double alpha, sigma, d_alpha, d_sigma;
    /* sigma d_sigma: half the derivative of sigma^2, finite where d_sigma is not */
    double sigma_d_sigma;
} fm_path_point;

/* For t in [0, 1]. Everything is finite but a derivative without a finite limit, which is the
 * infinity that it tends to: d_sigma = -inf at t = 1 for linear_vp and (with beta_min > 0) vp, d_alpha = inf
 * and d_sigma = -inf at t = 0 for polynomial with n < 1. Grids stop short of these ends. */
fm_path_point fm_path_at(const fm_path *path, double t);

/* L = d_alpha sigma - alpha d_sigma > 0: x1 = (sigma u - d_sigma x) / L, noise = (d_alpha x - alpha u) / L. */
static inline double fm_path_determinant(const fm_path_point *at)
{
    return at->d_alpha * at->sigma - at->alpha * at->d_sigma;
}

/* The time whose ratio of alpha to sigma is that of the two given (of unit noise, not both 0): the
 * inverse of alpha / sigma, finite at both ends. Ratios that the path does not reach give 0 or 1. */
double fm_path_time_of(const fm_path *path, double alpha, double sigma);

#endif
