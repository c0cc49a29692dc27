/* Exponential integrators in the logarithm of the signal to noise: DPM-Solver++ and UniPC in flow form.
 *
 * With l = ln(alpha / sigma) and the data prediction D, the flow from t to s is, exactly,
 *
 *     x_s = (sigma_s / sigma_t) x_t + sigma_s int_{l_t}^{l_s} e^l D(l) dl,
 *
 * and a method is a polynomial for D. With h = l_s - l_t, q = 1 - e^-h, D0 at t, D1 and D2 at the two steps before,
 * r0 = (l_t - l_1) / h, r1 = (l_1 - l_2) / h:
 *
 *     dpmpp_2m  D = D0 + (D0 - D1) / (2 r0)
 *     dpmpp_3m  D0, its first difference and its second, weighted by the integrals
 *     dpmpp_2s  D at the middle of the step in l, reached by a first-order half step
 *     unipc     predictor as dpmpp_2m; the state is corrected with D_s once that is known, without looking again
 *
 * l is infinite at pure noise and at pure data: a step from or to there, and one whose history begins there, is of
 * first order (ddim's), whose weights stay finite. Sources: Lu et al., arXiv:2211.01095; Zhao et al.,
 * arXiv:2302.04867 (UniPC-2, B2). */
#include "engine/solve/sampler.h"
#include "engine/solve/vector.h"

#include <math.h>

#define HISTORY 3 /* data predictions kept, the newest first */

typedef struct exponential {
    size_t index;          /* of the step under way */
    size_t n_known;        /* data predictions in the history */
    double l[HISTORY];     /* where they were made */
    double *data[HISTORY]; /* D0, D1, D2 */
    double *y, *v;
    double *before; /* unipc: the state that the last step started from */
    fm_step step;   /* dpmpp_2s and unipc: the step under way, or the last */
    bool halfway;   /* dpmpp_2s: the wanted velocity is at the middle */
    double middle;  /* and its time */
} exponential;

/* x_s = x x_t + sum of data[i] D_i */
typedef struct step_weights {
    double x, data[HISTORY];
} step_weights;

static size_t own_bytes(void)
{
    return sizeof(exponential);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return HISTORY + 3;
}

/* ---- history ---- */

static double log_ratio(const fm_path_point *at)
{
    return log(at->alpha / at->sigma); /* infinite at both ends */
}

/* The velocity in v becomes the newest data prediction. */
static void remember(fm_solve *solve, const fm_path_point *at, const double *x)
{
    exponential *own = solve->own;
    fm_estimates estimates = fm_estimates_at(at);
    double *oldest = own->data[HISTORY - 1];
    for (size_t i = HISTORY - 1; i > 0; i--) {
        own->data[i] = own->data[i - 1];
        own->l[i] = own->l[i - 1];
    }
    own->data[0] = oldest;
    own->l[0] = log_ratio(at);
    own->n_known += own->n_known < HISTORY;
    const fm_step_sum sum = {.x = estimates.x1.x, .v = estimates.x1.out};
    fm_step_apply(&sum, solve->dimension, x, own->v, NULL, own->data[0]);
}

/* How many of the data predictions a step of length h may use: a finite distance between all of them. */
static size_t usable(const exponential *own, double h, size_t most)
{
    size_t n = 1;
    while (isfinite(h) && n < most && n < own->n_known && isfinite(own->l[n - 1] - own->l[n])) {
        n++;
    }
    return n;
}

/* ---- weights ---- */

static step_weights first_order(const fm_step *step)
{
    double kept = step->to.sigma / step->from.sigma;
    return (step_weights){.x = kept, .data = {step->to.alpha - step->from.alpha * kept}};
}

static step_weights second_order(const exponential *own, const fm_step *step, double h)
{
    step_weights ret = first_order(step);
    double more = ret.data[0] * h / (2 * (own->l[0] - own->l[1]));
    ret.data[0] += more;
    ret.data[1] = -more;
    return ret;
}

/* The integrals of the Newton polynomial through three predictions: its differences are per step h. */
static step_weights third_order(const exponential *own, const fm_step *step, double h)
{
    step_weights ret = first_order(step);
    double r0 = (own->l[0] - own->l[1]) / h, r1 = (own->l[1] - own->l[2]) / h;
    double decay = expm1(-h);
    double first = step->to.alpha * (decay / h + 1);
    double second = -step->to.alpha * ((decay + h) / (h * h) - 0.5);
    /* d0 = (D0 - D1) / r0, d1 = (D1 - D2) / r1; first (d0 + r0 (d0 - d1) / (r0 + r1)) + second (d0 - d1) / (r0 + r1) */
    double d0 = first + (first * r0 + second) / (r0 + r1);
    double d1 = -(first * r0 + second) / (r0 + r1);
    ret.data[0] += d0 / r0;
    ret.data[1] += d1 / r1 - d0 / r0;
    ret.data[2] = -d1 / r1;
    return ret;
}

static step_weights multistep_weights(const exponential *own, const fm_step *step, size_t order)
{
    double h = log_ratio(&step->to) - own->l[0];
    size_t n = usable(own, h, order);
    return n == 1   ? first_order(step)
           : n == 2 ? second_order(own, step, h)
                    : third_order(own, step, h);
}

static void apply(const exponential *own, const step_weights *weights, size_t n, const double *x,
                  double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = weights->x * x[i];
    }
    for (size_t k = 0; k < own->n_known; k++) {
        double weight = weights->data[k];
        for (size_t i = 0; weight != 0 && i < n; i++) {
            out[i] += weight * own->data[k][i];
        }
    }
}

/* ---- multistep: dpmpp_2m, dpmpp_3m ---- */

static void start(fm_solve *solve, double *memory)
{
    exponential *own = solve->own;
    size_t stride = solve->stride;
    *own = (exponential){.y = memory + HISTORY * stride,
                         .v = memory + (HISTORY + 1) * stride,
                         .before = memory + (HISTORY + 2) * stride};
    for (size_t i = 0; i < HISTORY; i++) {
        own->data[i] = memory + i * stride;
    }
    fm_solve_want_at(solve, solve->t, solve->x, own->v);
}

/* Outputs inside the step under way are the ends of shorter steps. */
static void give_between(fm_solve *solve, size_t order)
{
    exponential *own = solve->own;
    double time;
    while (fm_output_before(solve, solve->plan->solver.grid[own->index + 1], &time)) {
        fm_step step = fm_step_make(solve->plan, own->index, time);
        step_weights sum = multistep_weights(own, &step, order);
        apply(own, &sum, solve->dimension, solve->x, own->y);
        fm_output_give(solve, time, own->y);
    }
}

static void next_step(fm_solve *solve)
{
    exponential *own = solve->own;
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        fm_solve_want_at(solve, solve->t, solve->x, own->v);
    }
}

static void multistep(fm_solve *solve, size_t order)
{
    exponential *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_step step = fm_step_make(plan, own->index, plan->solver.grid[own->index + 1]);
    remember(solve, &step.from, solve->x);
    give_between(solve, order);
    step_weights sum = multistep_weights(own, &step, order);
    apply(own, &sum, solve->dimension, solve->x, own->y);
    next_step(solve);
}

static void advance_2m(fm_solve *solve)
{
    multistep(solve, 2);
}

static void advance_3m(fm_solve *solve)
{
    multistep(solve, 3);
}

static double once_a_step(const fm_solve_plan *plan)
{
    return (double)(plan->solver.n_grid - 1);
}

/* ---- singlestep: dpmpp_2s ---- */

static bool has_middle(const fm_step *step)
{
    return isfinite(log_ratio(&step->from)) && isfinite(log_ratio(&step->to));
}

static void want_middle(fm_solve *solve)
{
    exponential *own = solve->own;
    const fm_step *whole = &own->step;
    double l = (log_ratio(&whole->from) + log_ratio(&whole->to)) / 2;
    own->middle = fm_path_time_of(solve->plan->path, exp(l), 1);
    fm_step half = *whole;
    half.to = fm_path_at(solve->plan->path, own->middle);
    step_weights sum = first_order(&half);
    apply(own, &sum, solve->dimension, solve->x, own->y);
    own->halfway = true;
    fm_solve_want_at(solve, own->middle, own->y, own->v);
}

static void advance_2s(fm_solve *solve)
{
    exponential *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    double end = plan->solver.grid[own->index + 1];
    if (!own->halfway) {
        own->step = fm_step_make(plan, own->index, end);
        own->n_known = 0;
        remember(solve, &own->step.from, solve->x);
        if (has_middle(&own->step)) {
            want_middle(solve);
            return;
        }
    } else {
        fm_path_point middle = fm_path_at(plan->path, own->middle);
        own->n_known = 0;
        remember(solve, &middle, own->y);
        own->halfway = false;
    }
    give_between(solve, 1);
    step_weights sum = first_order(&own->step);
    apply(own, &sum, solve->dimension, solve->x, own->y);
    next_step(solve);
}

static double expected_2s(const fm_solve_plan *plan)
{
    double expected = 0;
    for (size_t i = 0; i + 1 < plan->solver.n_grid; i++) {
        fm_step step = fm_step_make(plan, i, plan->solver.grid[i + 1]);
        expected += has_middle(&step) ? 2 : 1;
    }
    return expected;
}

/* ---- UniPC ---- */

/* The step from `before` again, with the prediction at its end, which is the newest: that of the step's start and
 * the one before are then D1 and D2. */
static step_weights corrected(const exponential *own, const fm_step *step)
{
    step_weights ret = first_order(step);
    double h = own->l[0] - own->l[1], q = ret.data[0];
    ret.data[1] = q;
    ret.data[0] = 0;
    if (!isfinite(h)) {
        return ret;
    }
    double end = 0.5, earlier = 0;
    if (own->n_known > 2 && isfinite(own->l[1] - own->l[2])) {
        /* Weights of (D_-1 - D) / r and D_s - D for which polynomials of second degree are exact. */
        double r = -(own->l[1] - own->l[2]) / h, decay = expm1(-h);
        double b1 = -1 / h - 1 / decay;
        double b2 = 2 * ((decay / -h - 1) / -h - 0.5) / decay;
        end = (b2 - r * b1) / (1 - r);
        earlier = (b1 - end) / r;
    }
    ret.data[0] = q * end;
    ret.data[2] = q * earlier;
    ret.data[1] -= ret.data[0] + ret.data[2];
    return ret;
}

static void advance_unipc(fm_solve *solve)
{
    exponential *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_path_point here = fm_path_at(plan->path, solve->t);
    remember(solve, &here, solve->x);
    if (own->index > 0) {
        step_weights sum = corrected(own, &own->step);
        apply(own, &sum, solve->dimension, own->before, own->y);
        double *predicted = solve->x;
        solve->x = own->y;
        own->y = predicted;
    }
    own->step = fm_step_make(plan, own->index, plan->solver.grid[own->index + 1]);
    give_between(solve, 2);
    step_weights sum = multistep_weights(own, &own->step, 2);
    apply(own, &sum, solve->dimension, solve->x, own->y);
    for (size_t i = 0; i < solve->dimension; i++) {
        own->before[i] = solve->x[i];
    }
    next_step(solve);
}

#define EXPONENTIAL(name, advance_by, expected_by, without_history)                                \
    const fm_stepper fm_stepper_##name = {.own_bytes = own_bytes,                                  \
                                          .vectors = vectors,                                      \
                                          .start = start,                                          \
                                          .advance = advance_by,                                   \
                                          .expected = expected_by,                                 \
                                          .needs_path = true,                                      \
                                          .ascends = true,                                         \
                                          .forgets = (without_history)}

EXPONENTIAL(dpmpp_2m, advance_2m, once_a_step, false);
EXPONENTIAL(dpmpp_3m, advance_3m, once_a_step, false);
EXPONENTIAL(dpmpp_2s, advance_2s, expected_2s, true);
EXPONENTIAL(unipc, advance_unipc, once_a_step, false);
