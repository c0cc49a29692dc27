/* Guidance: how several outputs at one state become one, entry by entry of what is guided.
 *
 * With c the output with the label, u the base (that of the null class, of a negative label or of a weaker model) and
 * s the scale at time t:
 *
 *     plain        u + s (c - u)                                                  Ho and Salimans, arXiv:2207.12598
 *     zero_star    a u + s (c - a u), a = <c, u> / |u|^2                          Fan et al., arXiv:2503.18886
 *     projection   c + (s - 1) (d_orthogonal + parallel d_parallel) to c,         Sadat et al., arXiv:2410.02416
 *                  d = c - u + momentum d_before, no longer than threshold
 *     conditions   + sum_i s_i (c_i - u)                                          Liu et al., arXiv:2206.01714
 *     rescale      (1 - r + r std(c) / std(v)) v of the result v                  Lin et al., arXiv:2305.08891
 *
 * in that order. Of flows see Zheng et al., arXiv:2311.13443; a weaker model as base: Karras et al., arXiv:2406.02507;
 * intervals: Kynkaanniemi et al., arXiv:2404.07724.
 * Thread: all functions are pure. */
#ifndef FM_GUIDANCE_H
#define FM_GUIDANCE_H

#include "engine/fm_guidance.h"

/* Whether anything is guided at time t: outside the interval the output is c. */
bool fm_guidance_acts(const fm_guidance *guidance, double t);
/* The scale at time t of the interval. */
double fm_guidance_scale_at(const fm_guidance *guidance, double t);
/* Whether u + s (c - u) and the conditions are all of it: then it is linear in the outputs of one network, and s = 1
 * is c and s = 0 is u to the bit. */
bool fm_guidance_is_plain(const fm_guidance *guidance);

/* What is combined; all [n]. */
typedef struct fm_guidance_outputs {
    double *c; /* in and out: becomes the result */
    const double *base;
    const double *conditions; /* the i-th at conditions + i * stride */
    size_t stride;
    double *momentum; /* in and out: d_before; NULL without momentum */
} fm_guidance_outputs;

/* The formulas above.
 *   scale  at the time, of fm_guidance_scale_at() */
void fm_guidance_combine(const fm_guidance *guidance, double scale, size_t n,
                         const fm_guidance_outputs *outputs);

#endif
