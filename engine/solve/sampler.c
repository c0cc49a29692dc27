/* Samplers with one evaluation a step: each is a rule that says what the next state is made of.
 *
 * With the estimates x1 and e of data and noise at (t, x), Gaussian noise z and steps from t to s:
 *
 *     ddim            alpha_s x1 + sigma_s e
 *     ddpm            alpha_s x1 + sqrt(sigma_s^2 - c^2) e + c z,   c^2 = eta^2 sigma_s^2 (1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)
 *     noise_refresh   alpha_s x1 + sigma_s (sqrt(1 - r^2) e + r z)
 *     overshoot       ddim to o = s + c (s - t) (1 - s), then a x_o + b z, a = alpha_s / alpha_o, b^2 = sigma_s^2 - (a sigma_o)^2
 *     euler_maruyama  x + h (v + D s) + sqrt(2 D h) z
 *
 * An output inside a step is a shorter step from the same start with the same noise, so it has the right law at its
 * own time. Sources: Song, Meng and Ermon, arXiv:2010.02502, for ddim and eta; Ho, Jain and Abbeel, arXiv:2006.11239;
 * Liu et al., "Rectified flow", rectifiedflow.github.io, for refreshed noise and overshooting; Ma et al.,
 * arXiv:2401.08740, for the stochastic equation and its last steps. */
#include "engine/solve/sampler.h"

#include "engine/math/rng.h"
#include "engine/solve/diffusion.h"
#include "engine/solve/vector.h"

#include <assert.h>
#include <math.h>

/* ---- shared ---- */

fm_estimates fm_estimates_at(const fm_path_point *at)
{
    const fm_prediction velocity = {.type = fm_prediction_type_find("velocity")};
    fm_reading reading = fm_prediction_read(&velocity, at);
    return (fm_estimates){.x1 = reading.x1, .noise = reading.noise};
}

fm_step fm_step_make(const fm_solve_plan *plan, size_t index, double s)
{
    const fm_solver *solver = &plan->solver;
    double t = solver->grid[index];
    return (fm_step){.t = t,
                     .s = s,
                     .from = fm_path_at(plan->path, t),
                     .to = fm_path_at(plan->path, s),
                     .path = plan->path,
                     .last = index + 2 == solver->n_grid};
}

void fm_sampler_noise(const fm_solve *solve, uint64_t n, double *ret)
{
    fm_rng_normal(solve->plan->seed, solve->sample, FM_RNG_SOLVER_NOISE, n * solve->dimension,
                  solve->dimension, ret);
}

void fm_step_apply(const fm_step_sum *sum, size_t dimension, const double *x, const double *v,
                   const double *noise, double *out)
{
    if (sum->noise == 0) {
        for (size_t i = 0; i < dimension; i++) {
            out[i] = sum->x * x[i] + sum->v * v[i];
        }
        return;
    }
    for (size_t i = 0; i < dimension; i++) {
        out[i] = sum->x * x[i] + sum->v * v[i] + sum->noise * noise[i];
    }
}

void fm_step_add_score(const fm_step_sum *sum, const fm_solve *solve, double *out)
{
    fm_vector_add(solve->dimension, out, sum->score, solve->score);
}

void fm_sampler_line(fm_solve *solve, size_t index, const double *y, double *memory)
{
    double t = solve->t, end = solve->plan->solver.grid[index + 1], time;
    while (fm_output_before(solve, end, &time)) {
        double where = (time - t) / (end - t);
        for (size_t i = 0; i < solve->dimension; i++) {
            memory[i] = solve->x[i] + where * (y[i] - solve->x[i]);
        }
        fm_output_give(solve, time, memory);
    }
}

bool fm_sampler_arrive(fm_solve *solve, size_t index, double **y)
{
    const fm_solver *solver = &solve->plan->solver;
    if (!fm_solve_accepts(solve, index, solver->grid[index + 1], *y)) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return false;
    }
    double *old = solve->x;
    solve->x = *y;
    *y = old;
    solve->t = solver->grid[index + 1];
    solve->accepted++;
    fm_output_at(solve, solve->t, solve->x);
    if (index + 2 == solver->n_grid) {
        fm_solve_end(solve, FM_ROW_OK);
        return false;
    }
    return true;
}

/* ---- rules ---- */

/* alpha x1 + noise_weight e + fresh z */
static fm_step_sum recombine(const fm_step *step, double alpha, double noise_weight, double fresh)
{
    fm_estimates at = fm_estimates_at(&step->from);
    return (fm_step_sum){.x = alpha * at.x1.x + noise_weight * at.noise.x,
                         .v = alpha * at.x1.out + noise_weight * at.noise.out,
                         .noise = fresh};
}

fm_step_sum fm_rule_ddim(const fm_solve_plan *plan, const fm_step *step)
{
    (void)plan;
    return recombine(step, step->to.alpha, step->to.sigma, 0);
}

static fm_step_sum ddpm_rule(const fm_solve_plan *plan, const fm_step *step)
{
    double sigma = step->to.sigma;
    /* The ratio of both signal-to-noise ratios, without a division by a sigma of 0. */
    double ratio = step->from.alpha * sigma / (step->to.alpha * step->from.sigma);
    double kept = fmax(0, (1 - ratio) * (1 + ratio));
    double fresh = plan->solver.sampling.eta * sigma * sqrt(kept);
    return recombine(step, step->to.alpha, sqrt(fmax(0, (sigma - fresh) * (sigma + fresh))), fresh);
}

static fm_step_sum noise_refresh_rule(const fm_solve_plan *plan, const fm_step *step)
{
    double refresh = plan->solver.sampling.refresh;
    double sigma = step->to.sigma;
    return recombine(step, step->to.alpha, sigma * sqrt((1 - refresh) * (1 + refresh)),
                     sigma * refresh);
}

static fm_step_sum overshoot_rule(const fm_solve_plan *plan, const fm_step *step)
{
    double more = plan->solver.sampling.overshoot * (step->s - step->t) * (1 - step->s);
    double over = fmin(1, step->s + more);
    fm_path_point at = fm_path_at(step->path, over);
    double a = step->to.alpha / at.alpha;
    double kept = a * at.sigma;
    double fresh = sqrt(fmax(0, (step->to.sigma - kept) * (step->to.sigma + kept)));
    return recombine(step, step->to.alpha, kept, fresh);
}

/* score = -e / sigma */
fm_step_sum fm_score_at(const fm_solve_plan *plan, const fm_path_point *at, double weight)
{
    if (plan->gives_score) {
        return (fm_step_sum){.score = weight};
    }
    fm_estimates estimates = fm_estimates_at(at);
    double of_noise = weight == 0 ? 0 : -weight / at->sigma;
    return (fm_step_sum){.x = of_noise * estimates.noise.x, .v = of_noise * estimates.noise.out};
}

fm_drift fm_drift_at(const fm_solve_plan *plan, const fm_path_point *at, double t)
{
    double diffusion = fm_diffusion_at(&plan->solver.sampling.diffusion, at, t);
    fm_drift ret = {.sum = fm_score_at(plan, at, diffusion), .diffusion = diffusion};
    ret.sum.v += 1;
    return ret;
}

fm_step_sum fm_rule_euler_maruyama(const fm_solve_plan *plan, const fm_step *step)
{
    double h = step->s - step->t;
    fm_last_step last = step->last ? plan->solver.sampling.last_step : FM_LAST_STEP_NOISE;
    if (last == FM_LAST_STEP_TWEEDIE) {
        return recombine(step, 1, 0, 0);
    }
    if (last == FM_LAST_STEP_EULER) {
        return (fm_step_sum){.x = 1, .v = h};
    }
    fm_drift drift = fm_drift_at(plan, &step->from, step->t);
    bool noisy = last == FM_LAST_STEP_NOISE;
    return (fm_step_sum){.x = 1 + h * drift.sum.x,
                         .v = h * drift.sum.v,
                         .score = h * drift.sum.score,
                         .noise = noisy ? sqrt(2 * drift.diffusion * h) : 0};
}

/* ---- the stepper ---- */

typedef struct sampler {
    size_t index; /* of the step under way */
    bool drawn;   /* its noise is in z */
    double *y, *v, *z;
} sampler;

static size_t own_bytes(void)
{
    return sizeof(sampler);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return 3;
}

static void want_step(fm_solve *solve)
{
    sampler *own = solve->own;
    own->drawn = false;
    fm_solve_want_at(solve, solve->t, solve->x, own->v);
}

static void start(fm_solve *solve, double *memory)
{
    sampler *own = solve->own;
    *own = (sampler){.y = memory, .v = memory + solve->stride, .z = memory + 2 * solve->stride};
    want_step(solve);
}

/* The state at time s of the step under way. */
static void step_to(fm_solve *solve, double s)
{
    sampler *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_step step = fm_step_make(plan, own->index, s);
    fm_step_sum sum = solve->method->stepper->rule(plan, &step);
    if (sum.noise != 0 && !own->drawn) {
        fm_sampler_noise(solve, own->index, own->z);
        own->drawn = true;
    }
    fm_step_apply(&sum, solve->dimension, solve->x, own->v, own->z, own->y);
    fm_step_add_score(&sum, solve, own->y);
}

static void advance(fm_solve *solve)
{
    sampler *own = solve->own;
    double end = solve->plan->solver.grid[own->index + 1];
    double time;
    while (fm_output_before(solve, end, &time)) {
        step_to(solve, time);
        fm_output_give(solve, time, own->y);
    }
    step_to(solve, end);
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        want_step(solve);
    }
}

static double expected(const fm_solve_plan *plan)
{
    return (double)(plan->solver.n_grid - 1);
}

#define SAMPLER(name, rule_of, words, only_up, scored)                                             \
    const fm_stepper fm_stepper_##name = {.own_bytes = own_bytes,                                  \
                                          .vectors = vectors,                                      \
                                          .start = start,                                          \
                                          .advance = advance,                                      \
                                          .expected = expected,                                    \
                                          .rule = rule_of,                                         \
                                          .options = words,                                        \
                                          .needs_path = true,                                      \
                                          .ascends = (only_up),                                    \
                                          .forgets = true,                                         \
                                          .uses_score = (scored)}

SAMPLER(ddim, fm_rule_ddim, NULL, false, false);
SAMPLER(ddpm, ddpm_rule, "eta", true, false);
SAMPLER(noise_refresh, noise_refresh_rule, "refresh", true, false);
SAMPLER(overshoot, overshoot_rule, "overshoot", true, false);
SAMPLER(euler_maruyama, fm_rule_euler_maruyama, "diffusion last_step", true, true);
