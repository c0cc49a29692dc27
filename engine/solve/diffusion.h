/* The diffusion coefficient of stochastic sampling, and the names of its settings. */
#ifndef FM_DIFFUSION_H
#define FM_DIFFUSION_H

#include "engine/flow/path.h"
#include "engine/fm_solver.h"

/* D at time t of a path whose point there is `at`:
 *
 *     sigma       norm sigma(t)                     constant    norm
 *     linear      norm (1 - t)                      decreasing  (norm cos(pi t) + 1)^2 / 4
 *     increasing_decreasing  norm sin(pi t)^2       table       linear between its points
 *     sbdm        norm (sigma^2 d_alpha / alpha - sigma d_sigma), the diffusion of the forward process whose
 *                 marginals the path has; not finite where alpha = 0 */
double fm_diffusion_at(const fm_diffusion *diffusion, const fm_path_point *at, double t);

/* Errors: FM_EINVAL, the text names the member. */
FM_MUST_USE fm_status fm_sampling_check(const fm_sampling *sampling, fm_error *err);

#endif
