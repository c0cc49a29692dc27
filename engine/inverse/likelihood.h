/* How likely an observation y = H x1 + noise is on the way, and its gradient by what the flow expects.
 *
 * Given x_t, x1 is taken to be N(x1_hat(x_t), r^2 I) with r^2 = sigma^2 / (alpha^2 + sigma^2), which it is where data are
 * N(0, I); so
 *
 *     grad log p(y | x_t) = J^T g,   g = H^T (r^2 H H^T + observation_std^2 I)^-1 (y - H x1_hat),   J = d x1_hat / d x_t.
 *
 * Source: Song et al., "Pseudoinverse-guided diffusion models", ICLR 2023; of flows Pokle et al., arXiv:2310.04432. */
#ifndef FM_LIKELIHOOD_H
#define FM_LIKELIHOOD_H

#include "engine/flow/path.h"
#include "engine/inverse/inverse.h"

/* Doubles. */
size_t fm_likelihood_scratch_size(const fm_operator *forward);

/* g of the `sample`-th observation at a point of the path with sigma > 0.
 *   x1_hat, ret  [dimension]
 *   scratch      as many doubles */
void fm_likelihood_pull(const fm_inverse *inverse, uint64_t sample, const fm_path_point *at,
                        const double *x1_hat, double *ret, double *scratch);

#endif
