/* One step of one token in a continuous-time Markov chain: rates, the chance of a jump, the law of what comes of it. For
 * engine/solve and its tests.
 *
 * Along the mixture path p_t(x | x1) = kappa [x = x1] + (1 - kappa) p0(x), kappa = the path's alpha, tokens jump from x to
 * another y at the rate
 *
 *     u(y) = kappa'/(1 - kappa) p1(y) + c(t) kappa'/(kappa (1 - kappa)) ((1 - kappa) p0(y) + kappa p1(y)),
 *
 * where p1 is the posterior of x1 given the state. The second term moves nothing in the mean, for any c(t) >= 0: it is the
 * forward rate less the backward one. Where kappa = 0 there is none, for all that it would do is to draw from p0 again.
 *
 * A step takes p1 as it is at its start and reads of the rates how many jumps there will be in the mean, n1 p1(y) + n0
 * p0(y) to y:
 *
 *     Euler         n1, n0: h times the rates at t
 *     exact         their integrals over the step, but that c stays: n1 = (1 + c) ln((1 - kappa_t)/(1 - kappa_s)),
 *                   n0 = c ln(kappa_s/kappa_t); without c a token jumps with probability (kappa_s - kappa_t)/(1 - kappa_t)
 *     tau-leaping   those of Euler
 *
 * Euler and exact draw x1 first, then whether there is a jump, with probability 1 - exp(-n) of the mean n = n1 [x1 != x] +
 * n0 (1 - p0(x)), then where: in parts of n. Tau-leaping draws the number of jumps to each y from Poisson's law and takes
 * them at once. Tokens are names, of which two changes have no sum, so where there are two or more the token stays: the
 * jump happens with probability n exp(-n), n = n1 (1 - p1(x)) + n0 (1 - p0(x)), which falls again where n > 1.
 *
 * The last step, where it ends at kappa = 1, takes x1 for the token, drawn without the mask.
 * Source: Gat et al., "Discrete Flow Matching", arXiv:2407.15595; Lipman et al., arXiv:2412.06264, section 7; Campbell et
 * al., arXiv:2205.14987, for tau-leaping. */
#ifndef FM_JUMP_H
#define FM_JUMP_H

#include "engine/flow/path.h"
#include "engine/fm_solver.h"
#include "engine/solve/categorical.h"

typedef enum fm_jump_form {
    FM_JUMP_EULER,
    FM_JUMP_EXACT,
    FM_JUMP_TAU_LEAPING,
} fm_jump_form;

/* A step of the tokens of one part; a plain value. */
typedef struct fm_jump {
    size_t vocabulary;
    bool is_mask;        /* p0 is the last token alone; else all of them */
    bool arrives;        /* takes x1 */
    bool leaps;          /* tau-leaping */
    double to_x1, to_p0; /* n1 and n0 */
    double most;         /* no token jumps with a larger probability */
    fm_categorical how;  /* logits become p1 */
} fm_jump;

/* From t to s.
 *   last  the grid ends there */
fm_jump fm_jump_make(fm_jump_form form, const fm_path *path, const fm_sampling *sampling,
                     const fm_space_part *part, double t, double s, bool last);

/* p0(y). */
static inline double fm_jump_source(const fm_jump *jump, size_t y)
{
    bool is_last = y + 1 == jump->vocabulary;
    return jump->is_mask ? is_last : 1 / (double)jump->vocabulary;
}

/* Where token x is after the step. logits and order as of fm_categorical_weigh(), the logits are used up.
 *   u  uniform: whether, x1, and which of p0; the last two are not read where u[0] >= most and nothing arrives */
size_t fm_jump_draw(const fm_jump *jump, size_t x, double *logits, size_t *order,
                    const double u[3]);

/* The probabilities of that, law [vocabulary], with the posterior p1 [vocabulary]. */
void fm_jump_law(const fm_jump *jump, size_t x, const double *p1, double *law);

#endif
