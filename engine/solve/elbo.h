/* A lower bound of the log likelihood of tokens under discrete flow matching, as reverse communication like solve.h:
 *
 *     fm_elbo_init(elbo, …);
 *     while (fm_elbo_next(elbo, &want)) {
 *         … write the logits at (want.t, want.x) to want.v …
 *         fm_elbo_give(elbo);
 *     }
 *
 * Of the chain whose rates at (x, t) are kappa'/(1 - kappa) p(y | x) token by token, kappa the path's alpha,
 *
 *     -log q(x1) <= int kappa'/(1 - kappa) E sum_i ([x^i != x1^i] (-log p(x1^i | x)) + [x^i = x1^i] - p(x^i | x)) dt
 *                   + E sum_i (-log p(x1^i | x at the last time)),
 *
 * E over x from p_t(. | x1). The second line is the step with which samplers end; it is 0 where the last time is 1. With
 * the true posterior and the mask for source the bound is -log q(x1) itself.
 *
 * With the mask for source, tokens that are no masks stay as they are, and p has no mask, whatever the network says: what
 * is summed is -log p(x1^i | x) over masks. Samplers (markov.c) take p as it is until their last step; the two are one
 * where the network has learnt as much. With uniform tokens a p that does not tend to [y = x] has a bound that grows
 * without limit towards t = 1: take a last time before, as 0.999.
 *
 * The integral is over kappa, with 1 - kappa = s^2 and s stratified: n draws, one in each n-th of its range. Uniform kappa
 * would not do, for a token is a mask in one of 1/(1 - kappa) draws, and then counts 1/(1 - kappa): the variance would
 * have no bound. By s it has, 4 (log p)^2 for a token. The last step takes more draws, an eighth of n, at least two.
 * Source: Shaul et al., "Flow Matching with General Discrete Paths", arXiv:2412.03487, for the bound of mixture paths; Wolter,
 * "Introduction to Variance Estimation", for successive differences. */
#ifndef FM_ELBO_H
#define FM_ELBO_H

#include "engine/solve/solve.h"

#define FM_ELBO_LEAST_DRAWS ((size_t)2) /* fewer have no standard error */

typedef struct fm_elbo fm_elbo;

/* What the bounds of one job share; read-only, outlives them. */
typedef struct fm_elbo_plan {
    const fm_space *space; /* tokens alone */
    const fm_path *path;   /* alpha from 0 to 1 */
    double last;           /* (0, 1] */
    size_t n_draws;        /* of the integral */
    uint64_t seed;
} fm_elbo_plan;

/* Errors: FM_EINVAL, the text names the field. Thread: any. */
FM_MUST_USE fm_status fm_elbo_check(const fm_elbo_plan *plan, fm_error *err);

/* SIZE_MAX when it overflows. */
size_t fm_elbo_size_bytes(const fm_elbo_plan *plan);

/* Evaluations that it takes, exactly. */
size_t fm_elbo_evaluations(const fm_elbo_plan *plan);

/* memory as of fm_solve_init(). Draws depend on (seed, sample) alone.
 *   x1  [states] tokens; copied */
fm_elbo *fm_elbo_init(void *memory, const fm_elbo_plan *plan, uint64_t sample, const double *x1);
/* False: all draws have been made. Of *ret t, x and v are set. Idempotent until give. */
bool fm_elbo_next(fm_elbo *elbo, fm_solve_want *ret);
/* Logits that are not finite end it. */
void fm_elbo_give(fm_elbo *elbo);

typedef struct fm_elbo_report {
    fm_row_status status;
    double bound;          /* nats, of all tokens: log q(x1) >= bound in the mean */
    double standard_error; /* of that, from the differences of neighbouring draws */
    uint64_t evaluations;
} fm_elbo_report;

/* The bound of an ended one; NAN before, or where a number was not finite. A token that cannot be, as a
 * mask where that is the source, has the bound -HUGE_VAL and no error. */
void fm_elbo_describe(const fm_elbo *elbo, fm_elbo_report *ret);

#endif
