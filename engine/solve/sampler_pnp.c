/* Plug and play: proximal gradient steps whose denoiser is the flow's, for an inverse problem y = H x1 + noise.
 *
 * The state is an estimate of the data, not a point of the flow. A step from t, the grid's next time:
 *
 *     z   = x + (1 - t)^a H^T (y - H x) / |H|^2       towards the observation, as far as 1 - t tells
 *     x'  = mean over n of D(t, alpha z + sigma e_i)  back to the flow's path, and denoised
 *
 * with fresh standard normals e_i and the data prediction D that the velocity tells; a is pnp_power, n pnp_samples.
 * On Gaussian data the mean of D over the noise is the proximal map of the prior, so at a fixed t the steps converge, in
 * the mean, to the posterior's mean for noise of variance |H|^2 (sigma / alpha)^2 / (1 - t)^a. Towards t = 1, where it
 * vanishes for a < 2, the step sizes fall too: the smaller a, the fewer steps are enough to follow. Where the path
 * is pure noise (alpha = 0) nothing of x is left.
 * Source: Martin, Gagneux, Hagemann and Steidl, "PnP-Flow", arXiv:2410.02423, algorithm 3. */
#include "engine/inverse/inverse.h"
#include "engine/inverse/operator.h"
#include "engine/solve/sampler.h"

#include <math.h>
#include <string.h>

#define VECTORS ((size_t)4)

typedef struct plug_and_play {
    size_t index;     /* of the step under way */
    unsigned draw;    /* whose velocity is wanted */
    double *z, *mean; /* of the formulas above; the mean of the draws so far */
    double *y, *v;    /* the wanted state and its velocity */
    double *residual; /* [observation_dimension] */
    double *scratch;  /* the operator's */
} plug_and_play;

static size_t own_bytes(void)
{
    return sizeof(plug_and_play);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return VECTORS;
}

static size_t numbers(const fm_solve_plan *plan)
{
    const fm_operator *forward = plan->inverse == NULL ? NULL : plan->inverse->forward;
    if (forward == NULL) {
        return 0; /* of a plan that will be refused */
    }
    return forward->observation_dimension + fm_operator_scratch_size(forward);
}

static void want_draw(fm_solve *solve)
{
    plug_and_play *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_path_point at = fm_path_at(plan->path, solve->t);
    uint64_t n = (uint64_t)own->index * plan->solver.sampling.pnp_samples + own->draw;
    fm_sampler_noise(solve, n, own->y);
    for (size_t i = 0; i < solve->dimension; i++) {
        own->y[i] = at.alpha * own->z[i] + at.sigma * own->y[i];
    }
    fm_solve_want_at(solve, solve->t, own->y, own->v);
}

static void begin_step(fm_solve *solve)
{
    plug_and_play *own = solve->own;
    const fm_inverse *inverse = solve->plan->inverse;
    const fm_operator *forward = inverse->forward;
    const double *y = fm_inverse_observation(inverse, solve->sample);
    double size = pow(1 - solve->t, solve->plan->solver.sampling.pnp_power) / forward->norm_squared;
    fm_operator_residual(forward, y, solve->x, own->residual, own->scratch);
    fm_operator_adjoint(forward, own->residual, own->z, own->scratch);
    for (size_t i = 0; i < solve->dimension; i++) {
        own->z[i] = solve->x[i] + size * own->z[i];
    }
    memset(own->mean, 0, solve->dimension * sizeof *own->mean);
    own->draw = 0;
    want_draw(solve);
}

static void start(fm_solve *solve, double *memory)
{
    plug_and_play *own = solve->own;
    size_t stride = solve->stride;
    *own = (plug_and_play){.z = memory,
                           .mean = memory + stride,
                           .y = memory + 2 * stride,
                           .v = memory + 3 * stride,
                           .residual = memory + VECTORS * stride};
    own->scratch = own->residual + solve->plan->inverse->forward->observation_dimension;
    begin_step(solve);
}

static void advance(fm_solve *solve)
{
    plug_and_play *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_path_point at = fm_path_at(plan->path, solve->t);
    fm_linear data = fm_estimates_at(&at).x1;
    double share = 1 / (double)plan->solver.sampling.pnp_samples;
    for (size_t i = 0; i < solve->dimension; i++) {
        own->mean[i] += share * (data.x * own->y[i] + data.out * own->v[i]);
    }
    own->draw++;
    if (own->draw < plan->solver.sampling.pnp_samples) {
        want_draw(solve);
        return;
    }
    fm_sampler_line(solve, own->index, own->mean, own->y);
    if (fm_sampler_arrive(solve, own->index, &own->mean)) {
        own->index++;
        begin_step(solve);
    }
}

static double expected(const fm_solve_plan *plan)
{
    return (double)(plan->solver.n_grid - 1) * plan->solver.sampling.pnp_samples;
}

const fm_stepper fm_stepper_pnp_flow = {.own_bytes = own_bytes,
                                        .vectors = vectors,
                                        .numbers = numbers,
                                        .start = start,
                                        .advance = advance,
                                        .expected = expected,
                                        .options = "pnp_power pnp_samples",
                                        .needs_path = true,
                                        .ascends = true,
                                        .needs_inverse = true};
