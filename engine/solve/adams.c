/* Adams methods on a given grid, with the weights of its own spacing.
 *
 * The velocity along the trajectory is the polynomial through those at the last states, and its integral over the step
 * is exact:
 *     explicit_adams   x' = x + int p,  p through v at t, t_1, t_2 (Adams-Bashforth, order 3)
 *     implicit_adams   the same as a predictor, then p through v at t', t, t_1, t_2 (Adams-Moulton, order 4), repeated
 *                      until x' stays, four times at most
 * The first two steps are made by rk4_38. Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations
 * I", III.1 and III.5; torchdiffeq's methods are the same on equal steps, and use their weights on unequal ones too,
 * where they are wrong. */
#include "engine/solve/hermite.h"
#include "engine/solve/vector.h"

#include <math.h>

#define HISTORY     3
#define N_STARTING  2 /* steps by a Runge-Kutta method */
#define CORRECTIONS 4
#define RTOL        1e-7
#define ATOL        1e-9

typedef struct adams {
    size_t step;
    size_t stage;     /* of a starting step, whose slope is wanted; 0: the slope at its start */
    size_t corrected; /* how often the step under way has been corrected */
    bool correcting;
    double times[HISTORY]; /* where the slopes are, the newest first */
    double *slopes[HISTORY];
    double *y, *trial; /* the wanted state, and the one before it */
    double *k[4]; /* of a starting step; k[0] is slopes[0]; k[1]: the slope at a predicted end */
    fm_hermite hermite;
} adams;

static size_t adams_own_bytes(void)
{
    return sizeof(adams);
}

static size_t adams_vectors(const fm_solve_plan *plan)
{
    return HISTORY + 2 + 3 + fm_hermite_vectors(plan);
}

static void adams_start(fm_solve *solve, double *vectors)
{
    adams *own = solve->own;
    size_t stride = solve->stride;
    *own = (adams){.y = vectors, .trial = vectors + stride};
    vectors += 2 * stride;
    for (size_t i = 0; i < HISTORY; i++, vectors += stride) {
        own->slopes[i] = vectors;
    }
    for (size_t i = 1; i < 4; i++, vectors += stride) {
        own->k[i] = vectors;
    }
    (void)fm_hermite_place(&own->hermite, solve, vectors);
    own->times[0] = solve->t;
    fm_solve_want_at(solve, solve->t, solve->x, own->slopes[0]);
}

/* ---- weights ---- */

/* Of the j-th of n points in the integral from t to s of the polynomial through all: exact, for Gauss-Legendre with
 * three points is up to degree 5. */
static double weight(const double *points, size_t n, size_t j, double t, double s)
{
    static const double places[3] = {-0.7745966692414834, 0, 0.7745966692414834};
    static const double shares[3] = {5.0 / 18, 8.0 / 18, 5.0 / 18};
    double sum = 0;
    for (size_t k = 0; k < 3; k++) {
        double at = (t + s) / 2 + (s - t) / 2 * places[k], value = 1;
        for (size_t i = 0; i < n; i++) {
            value *= i == j ? 1 : (at - points[i]) / (points[j] - points[i]);
        }
        sum += shares[k] * value;
    }
    return (s - t) * sum;
}

/* out = x + the integral over the step, of the polynomial through the history and, unless it is NULL, the slope at the
 * step's end. */
static void integrate(const fm_solve *solve, const double *end_slope, double *out)
{
    const adams *own = solve->own;
    double end = solve->plan->solver.grid[own->step + 1];
    double points[HISTORY + 1];
    size_t n = HISTORY;
    for (size_t i = 0; i < HISTORY; i++) {
        points[i] = own->times[i];
    }
    if (end_slope != NULL) {
        points[n++] = end;
    }
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < n; j++) {
        fm_sum_add(&sum, weight(points, n, j, solve->t, end),
                   j < HISTORY ? own->slopes[j] : end_slope);
    }
    fm_vector_move(solve->dimension, out, solve->x, &sum);
}

/* ---- steps ---- */

static void finish_step(fm_solve *solve)
{
    adams *own = solve->own;
    double *newest = own->slopes[HISTORY - 1];
    double *kept = own->slopes[0];
    double *given = kept;
    bool pending_copies = solve->plan->n_output_times > 0;
    own->correcting = false;
    if (pending_copies) { /* the history goes on needing what interpolation takes */
        given = own->k[1];
        for (size_t i = 0; i < solve->dimension; i++) {
            given[i] = kept[i];
        }
    }
    if (!fm_hermite_arrive(solve, &own->hermite, own->step, &own->y, &given)) {
        return;
    }
    if (pending_copies) {
        own->k[1] = given;
    }
    for (size_t i = HISTORY - 1; i > 0; i--) {
        own->slopes[i] = own->slopes[i - 1];
        own->times[i] = own->times[i - 1];
    }
    own->slopes[0] = newest;
    own->times[0] = solve->t;
    own->step++;
    own->stage = 0;
    fm_solve_want_at(solve, solve->t, solve->x, own->slopes[0]);
}

/* A stage of rk4_38, whose slopes up to `stage` are known. */
static void starting_stage(fm_solve *solve)
{
    adams *own = solve->own;
    const fm_tableau *tableau = &fm_tableau_rk4_38;
    const double *grid = solve->plan->solver.grid;
    double h = grid[own->step + 1] - grid[own->step];
    size_t stage = ++own->stage;
    bool complete = stage == tableau->stages;
    const double *row = complete ? tableau->b : fm_tableau_row(tableau, stage);
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < stage; j++) {
        fm_sum_add(&sum, h * row[j], j == 0 ? own->slopes[0] : own->k[j]);
    }
    fm_vector_move(solve->dimension, own->y, solve->x, &sum);
    if (complete) {
        finish_step(solve);
        return;
    }
    double c = tableau->c[stage];
    double t = c == 1 ? grid[own->step + 1] : solve->t + c * h;
    fm_solve_want_at(solve, t, own->y, own->k[stage]);
}

static bool slope_came(fm_solve *solve)
{
    adams *own = solve->own;
    return own->stage > 0 || own->correcting ||
           fm_hermite_give(solve, &own->hermite, own->step, own->slopes[0]);
}

/* Whether the step is one of Adams' own; else its next stage has been asked for. */
static bool is_started(fm_solve *solve)
{
    const adams *own = solve->own;
    if (slope_came(solve) && own->step < N_STARTING) {
        starting_stage(solve);
        return false;
    }
    return !solve->ended;
}

static void explicit_advance(fm_solve *solve)
{
    adams *own = solve->own;
    if (is_started(solve)) {
        integrate(solve, NULL, own->y);
        finish_step(solve);
    }
}

static bool stays(const fm_solve *solve)
{
    const adams *own = solve->own;
    for (size_t i = 0; i < solve->dimension; i++) {
        double size = fmax(fabs(own->y[i]), fabs(own->trial[i]));
        if (!(fabs(own->y[i] - own->trial[i]) < ATOL + RTOL * size)) {
            return false;
        }
    }
    return true;
}

static void implicit_advance(fm_solve *solve)
{
    adams *own = solve->own;
    if (!is_started(solve)) {
        return;
    }
    if (own->correcting) {
        double *before = own->trial;
        own->trial = own->y;
        own->y = before;
        integrate(solve, own->k[2], own->y);
        own->corrected++;
        if (own->corrected == CORRECTIONS || stays(solve)) {
            finish_step(solve);
            return;
        }
    } else {
        integrate(solve, NULL, own->y);
        own->correcting = true;
        own->corrected = 0;
    }
    fm_solve_want_at(solve, solve->plan->solver.grid[own->step + 1], own->y, own->k[2]);
}

static double starting_evaluations(double steps)
{
    return 3 * fmin(steps, N_STARTING); /* beyond one a step */
}

static double explicit_expected(const fm_solve_plan *plan)
{
    double steps = (double)(plan->solver.n_grid - 1);
    return steps + starting_evaluations(steps) + fm_hermite_expected(plan);
}

/* A guess: two corrections are usual. */
static double implicit_expected(const fm_solve_plan *plan)
{
    double steps = (double)(plan->solver.n_grid - 1);
    return explicit_expected(plan) + 2 * fmax(0, steps - N_STARTING);
}

const fm_stepper fm_stepper_explicit_adams = {.own_bytes = adams_own_bytes,
                                              .vectors = adams_vectors,
                                              .start = adams_start,
                                              .advance = explicit_advance,
                                              .expected = explicit_expected};
const fm_stepper fm_stepper_implicit_adams = {.own_bytes = adams_own_bytes,
                                              .vectors = adams_vectors,
                                              .start = adams_start,
                                              .advance = implicit_advance,
                                              .expected = implicit_expected};
