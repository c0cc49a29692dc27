/* Latents: states at the source, and what is made of them. */
#ifndef FM_FM_LATENT_H
#define FM_FM_LATENT_H

#include "engine/fm_path.h"

#include <stddef.h>
#include <stdint.h>

/* How two latents are joined at a weight w from 0 (the first) to 1 (the second). */
typedef enum fm_interpolation {
    /* Along a great circle: sin((1 - w) theta) / sin theta a + sin(w theta) / sin theta b, theta the angle between
     * them; linear where they are nearly parallel, or one is 0. */
    FM_INTERPOLATION_SLERP,
    /* ((1 - w) a + w b) / sqrt((1 - w)^2 + w^2), which is N(0, I) if both are. */
    FM_INTERPOLATION_VARIANCE_PRESERVING,
    FM_INTERPOLATION_LINEAR,
    FM_N_INTERPOLATIONS,
} fm_interpolation;

/* FM_N_INTERPOLATIONS when there is none. */
fm_interpolation fm_interpolation_find(const char *name);
const char *fm_interpolation_name(fm_interpolation interpolation);
/* a, b and ret are [dimension], ret may be one of them; the ends are exact. Thread: any.
 * Source: Shoemake, 1985, doi:10.1145/325165.325242; Song et al., arXiv:2010.02502, appendix D.5. */
void fm_interpolate(fm_interpolation interpolation, size_t dimension, const double *a,
                    const double *b, double weight, double *ret);

/* Draws a share of a latent anew: x becomes sqrt(1 - share^2) x + share sigma eps, which has the source's law if x has.
 *   path   whose sigma at time t is the source's standard deviation
 *   row    eps is the source noise of this row of the seed
 *   share  0 … 1; 0 leaves x as it is
 *   x      [dimension] */
void fm_latent_renew(const fm_path *path, double t, uint64_t seed, size_t row, double share,
                     size_t dimension, double *x);

#endif
