/* Embedded Runge-Kutta pairs with step control and dense output, one trajectory at a time.
 *
 * DESIGN. Phases, by what the wanted velocity is for:
 *   FIRST   the first slope, k[0], once
 *   PROBE   the trial step from which the first step size is chosen, once, unless first_step is given
 *   STAGE   rows 1 … stages - 1 of the step under way
 *   EXTRA   further rows for the dense output of a step just accepted, if it holds output times
 * Transitions: FIRST -> PROBE -> STAGE … (begin_step); the last STAGE rejects -> STAGE with a smaller
 * step, or accepts -> EXTRA … -> STAGE of the next step or the end.
 *
 * While x is already the new state in EXTRA, `y` holds the old one, so a trajectory that must end there
 * reports the accepted step. The last slope of a step is the first of the next one; a rejected step
 * keeps its first slope.
 *
 * Control after Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", II.4, with the
 * constants of torchdiffeq: ratio = RMS(error / (atol + rtol max(|x0|, |x1|))), accepted when <= 1, next
 * step = step clamp(0.9 ratio^(-1/order), 0.2 (1 when ratio < 1), 10). As they advise (and torchdiffeq does
 * not), the step after a rejected one does not grow: what the rejection was for may be just behind it, and
 * a longer step over a kink of the velocity may not see it (docs/solvers.md has figures).
 *
 * Ends. A step that would pass the last time is shortened to end there; one that falls short of it by
 * rounding only is stretched. A step too small to move t ends the trajectory as FM_ROW_NON_FINITE: a
 * singularity stands in its way. An error estimate or new state that is not finite although all
 * velocities were (overflow) rejects the step with the smallest factor, so it ends in the same way. */
#include "engine/solve/chart.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define SAFETY      0.9
#define MIN_FACTOR  0.2
#define MAX_FACTOR  10.0
#define FIRST_GUESS 1e-6 /* of a first step where state or slope say nothing */

typedef enum phase { FIRST, PROBE, STAGE, EXTRA } phase;

typedef struct adaptive {
    phase phase;
    bool rejected; /* the last try of a step */
    size_t stage;  /* row whose slope is wanted, in STAGE and EXTRA */
    double t0;     /* start of the step under way or just accepted */
    double t1;     /* its end */
    double step;   /* t1 - t0, signed */
    double next;   /* size of the step to try next, signed; of the probe in PROBE */
    double *y;     /* the wanted row's state, then the new state; the old one once it is accepted */
    double *z;     /* state of an extra row, output state; with output times only */
    double *k[FM_MAX_STAGES]; /* slopes, in the chart of the step's start */
    fm_chart chart;
    double *raw; /* the last slope as it was found, where the space is not flat; else NULL */
} adaptive;

static size_t adaptive_own_bytes(void)
{
    return sizeof(adaptive);
}

static size_t adaptive_vectors(const fm_solve_plan *plan)
{
    const fm_tableau *tableau = plan->solver.method->tableau;
    size_t chart = fm_chart_vectors(plan);
    return 1 + tableau->stages + (plan->n_output_times > 0 ? 1 + tableau->extra : 0) + chart +
           (chart > 0);
}

static void adaptive_start(fm_solve *solve, double *vectors)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    bool outputs = solve->plan->n_output_times > 0;
    assert(tableau->stages + tableau->extra <= FM_MAX_STAGES);
    *own = (adaptive){.phase = FIRST, .y = vectors};
    vectors += solve->stride;
    if (outputs) {
        own->z = vectors;
        vectors += solve->stride;
    }
    size_t slopes = tableau->stages + (outputs ? tableau->extra : 0);
    for (size_t i = 0; i < slopes; i++, vectors += solve->stride) {
        own->k[i] = vectors;
    }
    vectors = fm_chart_place(&own->chart, solve, vectors);
    own->raw = own->chart.u != NULL ? vectors : NULL;
    fm_solve_want_at(solve, solve->t, solve->x, own->k[0]);
}

/* Asks for row i of the step under way, which starts at x0; its state is put into `state`. */
static void want_row(fm_solve *solve, size_t i, const double *x0, double *state)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    const double *row = fm_tableau_row(tableau, i);
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < i; j++) {
        fm_sum_add(&sum, own->step * row[j], own->k[j]);
    }
    fm_chart_move(solve, &own->chart, state, x0, &sum);
    double c = tableau->c[i];
    own->stage = i;
    fm_solve_want_row(solve, i, c == 1 ? own->t1 : own->t0 + c * own->step, state, own->k[i]);
}

/* Tries own->next; a step that misses the last time by at most `stretch` ends there. */
static void begin_step(fm_solve *solve, double stretch)
{
    adaptive *own = solve->own;
    own->phase = STAGE;
    own->t0 = solve->t;
    own->step = own->next;
    own->t1 = own->t0 + own->step;
    double left = solve->last - own->t0;
    if (fabs(own->step) >= fabs(left) - stretch) {
        own->step = left;
        own->t1 = solve->last;
    }
    if (own->t1 == own->t0) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return;
    }
    want_row(solve, 1, solve->x, own->y);
}

/* RMS of weight0 u0 + weight1 u1 in units of the tolerance at x. */
static double scaled_norm(const fm_solve *solve, double weight0, const double *u0, double weight1,
                          const double *u1)
{
    const fm_solver *solver = &solve->plan->solver;
    fm_sum sum;
    sum.n_terms = 0;
    fm_sum_add(&sum, weight0, u0);
    fm_sum_add(&sum, weight1, u1);
    return fm_vector_ratio(solve->dimension, solve->x, solve->x, &sum, solver->rtol, solver->atol);
}

/* Signed step towards the last time, of at least a few units in the last place of the times, so that
 * it moves, and at most the whole span. */
static double towards_end(const fm_solve *solve, double size)
{
    double left = solve->last - solve->t;
    double bounded = fmin(fmax(size, solve->slack), fabs(left));
    return copysign(bounded, left);
}

/* Hairer, Norsett and Wanner, II.4, "Starting step size", first half: the size of a trial step by
 * Euler's method. */
static void begin_probe(fm_solve *solve)
{
    adaptive *own = solve->own;
    double d0 = scaled_norm(solve, 1, solve->x, 0, NULL);
    double d1 = scaled_norm(solve, 1, own->k[0], 0, NULL);
    double h0 = d0 < 1e-5 || d1 < 1e-5 || !isfinite(d0 / d1) ? FIRST_GUESS : 0.01 * d0 / d1;
    own->phase = PROBE;
    own->next = towards_end(solve, h0);
    fm_sum sum;
    sum.n_terms = 0;
    fm_sum_add(&sum, own->next, own->k[0]);
    fm_chart_move(solve, &own->chart, own->y, solve->x, &sum);
    bool whole = fabs(own->next) == fabs(solve->last - solve->t);
    fm_solve_want_at(solve, whole ? solve->last : solve->t + own->next, own->y, own->k[1]);
}

/* Second half: the step whose estimated error is a hundredth of the tolerance. */
static void end_probe(fm_solve *solve)
{
    adaptive *own = solve->own;
    fm_chart_pull(solve, &own->chart, solve->x, own->k[1]);
    double h0 = fabs(own->next);
    double d1 = scaled_norm(solve, 1, own->k[0], 0, NULL);
    double d2 = scaled_norm(solve, 1, own->k[1], -1, own->k[0]) / h0;
    double larger = fmax(d1, d2);
    double h1 = larger <= 1e-15 ? fmax(FIRST_GUESS, h0 * 1e-3)
                                : pow(0.01 / larger, 1.0 / (double)solve->method->info.order);
    own->next = towards_end(solve, fmin(100 * h0, h1));
    begin_step(solve, solve->slack);
}

/* Gives the outputs inside the accepted step from t0 to t1. */
static void give_inside(fm_solve *solve)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    double time;
    while (fm_output_before(solve, own->t1, &time)) {
        double theta = (time - own->t0) / own->step;
        fm_sum sum;
        sum.n_terms = 0;
        for (size_t i = 0; i < tableau->stages + tableau->extra; i++) {
            const double *row = tableau->dense + i * tableau->degree;
            double value = 0;
            for (size_t m = tableau->degree; m-- > 0;) {
                value = (value + row[m]) * theta;
            }
            fm_sum_add(&sum, own->step * value, own->k[i]);
        }
        fm_chart_move(solve, &own->chart, own->z, own->y, &sum);
        fm_output_give(solve, time, own->z);
    }
}

/* All of an accepted step is known: its outputs leave, then the next step begins. */
static void end_step(fm_solve *solve)
{
    adaptive *own = solve->own;
    give_inside(solve);
    fm_output_at(solve, solve->t, solve->x);
    if (solve->t == solve->last) {
        fm_solve_end(solve, FM_ROW_OK);
        return;
    }
    size_t final = solve->method->tableau->stages - 1;
    double **last = own->raw != NULL ? &own->raw : &own->k[final];
    double *slope = *last;
    *last = own->k[0];
    own->k[0] = slope;
    begin_step(solve, solve->slack);
}

static void accept_step(fm_solve *solve)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    size_t last = tableau->stages - 1;
    if (tableau->b != NULL) {
        fm_measure_stages(solve, own->step, tableau->stages, tableau->b, own->k);
    } else {
        fm_measure_stages(solve, own->step, last, fm_tableau_row(tableau, last), own->k);
    }
    double *old = solve->x;
    solve->x = own->y;
    own->y = old;
    solve->t = own->t1;
    solve->accepted++;
    double time;
    if (tableau->extra > 0 && fm_output_before(solve, own->t1, &time)) {
        own->phase = EXTRA;
        want_row(solve, tableau->stages, own->y, own->z);
        return;
    }
    end_step(solve);
}

static double step_factor(double ratio, unsigned order, bool may_grow)
{
    double most = may_grow ? MAX_FACTOR : 1;
    if (ratio == 0) {
        return most;
    }
    double least = ratio < 1 ? 1 : MIN_FACTOR;
    return fmin(most, fmax(SAFETY / pow(ratio, 1.0 / (double)order), least));
}

/* All slopes of the step are known: is it good enough? */
static void judge_step(fm_solve *solve)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    const fm_solver *solver = &solve->plan->solver;
    fm_sum sum;
    if (tableau->b != NULL) {
        sum.n_terms = 0;
        for (size_t i = 0; i < tableau->stages; i++) {
            fm_sum_add(&sum, own->step * tableau->b[i], own->k[i]);
        }
        fm_chart_move(solve, &own->chart, own->y, solve->x, &sum);
    }
    sum.n_terms = 0;
    for (size_t i = 0; i < tableau->stages; i++) {
        fm_sum_add(&sum, own->step * tableau->error[i], own->k[i]);
    }
    double ratio =
        fm_vector_ratio(solve->dimension, solve->x, own->y, &sum, solver->rtol, solver->atol);
    own->next = own->step * step_factor(ratio, solve->method->info.order, !own->rejected);
    own->rejected = !(ratio <= 1);
    if (!own->rejected) {
        accept_step(solve);
        return;
    }
    solve->rejected++;
    begin_step(solve, 0); /* stretched again it might never shrink */
}

/* The slope of row own->stage has been found; the step starts at x0. */
static void take_slope(fm_solve *solve, const double *x0)
{
    adaptive *own = solve->own;
    double *slope = own->k[own->stage];
    if (own->raw != NULL && own->stage + 1 == solve->method->tableau->stages) {
        memcpy(own->raw, slope, solve->dimension * sizeof *slope);
    }
    fm_chart_pull(solve, &own->chart, x0, slope);
}

static void adaptive_advance(fm_solve *solve)
{
    adaptive *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    switch (own->phase) {
    case FIRST:
        if (solve->plan->solver.first_step > 0) {
            own->next = towards_end(solve, solve->plan->solver.first_step);
            begin_step(solve, solve->slack);
        } else {
            begin_probe(solve);
        }
        break;
    case PROBE:
        end_probe(solve);
        break;
    case STAGE:
        take_slope(solve, solve->x);
        if (own->stage + 1 < tableau->stages) {
            want_row(solve, own->stage + 1, solve->x, own->y);
        } else {
            judge_step(solve);
        }
        break;
    case EXTRA:
        take_slope(solve, own->y);
        if (own->stage + 1 < tableau->stages + tableau->extra) {
            want_row(solve, own->stage + 1, own->y, own->z);
        } else {
            end_step(solve);
        }
        break;
    }
}

/* A guess fitted to trained velocity fields in two dimensions: one step and tolerance^(-1/order). */
static double adaptive_expected(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    const fm_tableau *tableau = solver->method->tableau;
    double tolerance = fmin(1, fmax(solver->rtol + solver->atol, DBL_EPSILON));
    double scale = tableau->steps_scale > 0 ? tableau->steps_scale : 1;
    double steps = 1 + scale * pow(tolerance, -1.0 / (double)solver->method->info.order);
    double with_outputs = fmin(steps, (double)plan->n_output_times);
    return 2 + steps * (double)(tableau->stages - 1) + with_outputs * (double)tableau->extra;
}

const fm_stepper fm_stepper_adaptive = {.own_bytes = adaptive_own_bytes,
                                        .vectors = adaptive_vectors,
                                        .start = adaptive_start,
                                        .advance = adaptive_advance,
                                        .expected = adaptive_expected};
