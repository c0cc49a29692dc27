/* Samplers that look twice at a step: stochastic Heun and EDM's.
 *
 * stochastic_heun, with D at t and the score's drift f = v + D s:
 *     y = x + sqrt(2 D h) z,  k1 = f(t, y),  k2 = f(t + h, y + h k1),  x' = y + h (k1 + k2) / 2
 * and a last step as euler_maruyama's, for f has no value where sigma = 0.
 *
 * edm_heun, in the noise level k = sigma / alpha and with the estimates x1 and e of data and noise:
 *     churn     k^ = k (1 + min(churn / steps, sqrt(2) - 1)) where k is in the range, x / alpha grows by
 *               scale sqrt(k^2^ - k^2) z, and t^ is the time of k^
 *     predictor x' = alpha' x1 + sigma' e  (Euler in k, which is ddim's step)
 *     corrector x' + alpha' (k' - k^) (e' - e) / 2  (Heun in k), where sigma' is not 0 and k^ is finite
 * Sources: Ma et al., arXiv:2401.08740; Karras et al., arXiv:2206.00364, algorithm 2, on any path. */
#include "engine/solve/sampler.h"
#include "engine/solve/vector.h"

#include <math.h>

typedef enum look { FIRST, SECOND } look;

typedef struct two_looks {
    size_t index;          /* of the step under way */
    look look;             /* what the wanted velocity is for */
    fm_step step;          /* of edm_heun: from t^ */
    const double *start;   /* y of the formulas above: kicked, or the state itself */
    double *kicked;        /* by noise */
    double *y, *v, *slope; /* the wanted state, its velocity, and k1 or e */
    double *z;
} two_looks;

static size_t own_bytes(void)
{
    return sizeof(two_looks);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return 5;
}

static two_looks *place(fm_solve *solve, double *memory)
{
    two_looks *own = solve->own;
    size_t stride = solve->stride;
    *own = (two_looks){.kicked = memory,
                       .y = memory + stride,
                       .v = memory + 2 * stride,
                       .slope = memory + 3 * stride,
                       .z = memory + 4 * stride};
    return own;
}

static void arrive(fm_solve *solve, void (*next)(fm_solve *solve))
{
    two_looks *own = solve->own;
    fm_sampler_line(solve, own->index, own->y, own->z);
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        next(solve);
    }
}

/* ---- stochastic Heun ---- */

static void heun_want(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    own->look = FIRST;
    own->step = fm_step_make(plan, own->index, plan->solver.grid[own->index + 1]);
    if (own->step.last) {
        fm_solve_want_at(solve, solve->t, solve->x, own->v);
        return;
    }
    fm_drift drift = fm_drift_at(plan, &own->step.from, own->step.t);
    double spread = sqrt(2 * drift.diffusion * (own->step.s - own->step.t));
    const fm_step_sum kick = {.x = 1, .noise = spread};
    fm_sampler_noise(solve, own->index, own->z);
    fm_step_apply(&kick, solve->dimension, solve->x, solve->x, own->z, own->kicked);
    own->start = own->kicked;
    fm_solve_want_at(solve, solve->t, own->start, own->v);
}

static void heun_start(fm_solve *solve, double *memory)
{
    (void)place(solve, memory);
    heun_want(solve);
}

static void heun_last(fm_solve *solve)
{
    two_looks *own = solve->own;
    fm_step_sum sum = fm_rule_euler_maruyama(solve->plan, &own->step);
    if (sum.noise != 0) {
        fm_sampler_noise(solve, own->index, own->z);
    }
    fm_step_apply(&sum, solve->dimension, solve->x, own->v, own->z, own->y);
    fm_step_add_score(&sum, solve, own->y);
    arrive(solve, heun_want);
}

/* k1 = f(t, start) */
static void heun_first(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_step *step = &own->step;
    fm_drift drift = fm_drift_at(solve->plan, &step->from, step->t);
    fm_step_apply(&drift.sum, solve->dimension, own->start, own->v, NULL, own->slope);
    fm_step_add_score(&drift.sum, solve, own->slope);
    const fm_step_sum trial = {.x = 1, .v = step->s - step->t};
    fm_step_apply(&trial, solve->dimension, own->start, own->slope, NULL, own->y);
    own->look = SECOND;
    fm_solve_want_at(solve, step->s, own->y, own->v);
}

static void heun_second(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_step *step = &own->step;
    double half = (step->s - step->t) / 2;
    fm_drift drift = fm_drift_at(solve->plan, &step->to, step->s);
    for (size_t i = 0; i < solve->dimension; i++) {
        double second = drift.sum.x * own->y[i] + drift.sum.v * own->v[i];
        own->y[i] = own->start[i] + half * (own->slope[i] + second);
    }
    fm_vector_add(solve->dimension, own->y, half * drift.sum.score, solve->score);
    arrive(solve, heun_want);
}

static void heun_advance(fm_solve *solve)
{
    two_looks *own = solve->own;
    if (own->step.last) {
        heun_last(solve);
    } else if (own->look == FIRST) {
        heun_first(solve);
    } else {
        heun_second(solve);
    }
}

static double heun_expected(const fm_solve_plan *plan)
{
    return 2 * (double)(plan->solver.n_grid - 1) - 1; /* the last step looks once */
}

const fm_stepper fm_stepper_stochastic_heun = {.own_bytes = own_bytes,
                                               .vectors = vectors,
                                               .start = heun_start,
                                               .advance = heun_advance,
                                               .expected = heun_expected,
                                               .options = "diffusion last_step",
                                               .needs_path = true,
                                               .ascends = true,
                                               .uses_score = true,
                                               .forgets = true};

/* ---- EDM ---- */

static double level_of(const fm_path_point *at)
{
    return at->alpha == 0 ? HUGE_VAL : at->sigma / at->alpha;
}

static double churned(const fm_solve_plan *plan, double level)
{
    const fm_sampling *sampling = &plan->solver.sampling;
    bool inside = level >= sampling->churn_range[0] && level <= sampling->churn_range[1];
    double steps = (double)(plan->solver.n_grid - 1);
    double growth = fmin(sampling->churn / steps, sqrt(2) - 1);
    return inside && isfinite(level) ? level * (1 + growth) : level;
}

/* Moves the start of the step back to the churned level, as far as the path reaches. */
static void edm_churn(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_step *step = &own->step;
    double level = level_of(&step->from);
    double higher = churned(plan, level);
    own->start = solve->x;
    if (!(higher > level)) {
        return;
    }
    fm_path_point before = step->from;
    step->t = fm_path_time_of(plan->path, 1, higher);
    step->from = fm_path_at(plan->path, step->t);
    double reached = level_of(&step->from);
    double scale = step->from.alpha / before.alpha;
    double added = step->from.alpha * sqrt(fmax(0, (reached - level) * (reached + level)));
    const fm_step_sum kick = {.x = scale, .noise = plan->solver.sampling.noise_scale * added};
    fm_sampler_noise(solve, own->index, own->z);
    fm_step_apply(&kick, solve->dimension, solve->x, solve->x, own->z, own->kicked);
    own->start = own->kicked;
}

static void edm_want(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    own->look = FIRST;
    own->step = fm_step_make(plan, own->index, plan->solver.grid[own->index + 1]);
    edm_churn(solve);
    fm_solve_want_at(solve, own->step.t, own->start, own->v);
}

static void edm_start(fm_solve *solve, double *memory)
{
    (void)place(solve, memory);
    edm_want(solve);
}

static void edm_first(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_step *step = &own->step;
    fm_estimates at = fm_estimates_at(&step->from);
    const fm_step_sum noise = {.x = at.noise.x, .v = at.noise.out};
    fm_step_sum sum = fm_rule_ddim(solve->plan, step);
    fm_step_apply(&sum, solve->dimension, own->start, own->v, NULL, own->y);
    fm_step_apply(&noise, solve->dimension, own->start, own->v, NULL, own->slope);
    if (step->to.sigma == 0 || !isfinite(level_of(&step->from))) {
        arrive(solve, edm_want);
        return;
    }
    own->look = SECOND;
    fm_solve_want_at(solve, step->s, own->y, own->v);
}

static void edm_second(fm_solve *solve)
{
    two_looks *own = solve->own;
    const fm_step *step = &own->step;
    fm_estimates at = fm_estimates_at(&step->to);
    double half = step->to.alpha * (level_of(&step->to) - level_of(&step->from)) / 2;
    for (size_t i = 0; i < solve->dimension; i++) {
        double noise = at.noise.x * own->y[i] + at.noise.out * own->v[i];
        own->y[i] += half * (noise - own->slope[i]);
    }
    arrive(solve, edm_want);
}

static void edm_advance(fm_solve *solve)
{
    two_looks *own = solve->own;
    if (own->look == FIRST) {
        edm_first(solve);
    } else {
        edm_second(solve);
    }
}

/* Steps from pure noise and to pure data look once. */
static double edm_expected(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    size_t n_steps = solver->n_grid - 1;
    bool from_noise = fm_path_at(plan->path, solver->grid[0]).alpha == 0;
    bool to_data = fm_path_at(plan->path, solver->grid[n_steps]).sigma == 0;
    double once = n_steps == 1 ? from_noise || to_data : from_noise + to_data;
    return 2 * (double)n_steps - once;
}

const fm_stepper fm_stepper_edm_heun = {.own_bytes = own_bytes,
                                        .vectors = vectors,
                                        .start = edm_start,
                                        .advance = edm_advance,
                                        .expected = edm_expected,
                                        .options = "churn churn_range noise_scale",
                                        .needs_path = true,
                                        .ascends = true,
                                        .forgets = true};
