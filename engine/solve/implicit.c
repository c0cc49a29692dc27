/* Implicit Runge-Kutta methods on a given grid.
 *
 * The equations of a step are k = G(k), one look at the velocity a stage and evaluation of G. They are solved by
 * Anderson's iteration: the next k is G of the combination of the last ones whose residuals G(k) - k, combined in the same
 * way, are least. On a linear problem of d dimensions it ends in d + 1 rounds however stiff that is, where k <- G(k)
 * diverges. A step's equations count as solved when h |G(k) - k| <= TOLERANCE (1 + |x|); or, since a float32 network
 * gives no residual below its own rounding, when STALLED rounds have not improved on one below LOOSE (1 + |x|). Else
 * the trajectory ends as FM_ROW_NON_FINITE at the step's start: there is no state to go on from.
 *
 * Every step begins with a look at its start, which is the first guess and serves outputs inside the step before.
 * Source: Hairer and Wanner, "Solving Ordinary Differential Equations II", IV.5 and IV.8; Anderson, "Iterative procedures
 * for nonlinear integral equations", J. ACM 12 (1965); Walker and Ni, SIAM J. Numer. Anal. 49 (2011). */
#include "engine/solve/hermite.h"
#include "engine/solve/tableau_implicit.h"
#include "engine/solve/vector.h"

#include <math.h>
#include <string.h>

#define MEMORY    6 /* earlier rounds that a combination may use */
#define TOLERANCE 1e-11
#define LOOSE     1e-5
#define STALLED   6
#define ROUNDS    100

/* ---- tableaux ---- */

#define SQRT3  1.7320508075688772
#define SQRT6  2.449489742783178
#define ROOT15 3.872983346207417
#define GAMMA  0.2928932188134524 /* 1 - 1 / sqrt 2 */
#define BETA   0.3535533905932738 /* sqrt 2 / 4 */

/* clang-format off */
static const fm_implicit_tableau implicit_euler = {
    .stages = 1, .together = 1, .c = {1}, .a = {{1}}, .b = {1}};
static const fm_implicit_tableau implicit_midpoint = {
    .stages = 1, .together = 1, .c = {0.5}, .a = {{0.5}}, .b = {1}};
static const fm_implicit_tableau trapezoid = {
    .stages = 2, .together = 1, .c = {0, 1}, .a = {{0, 0}, {0.5, 0.5}}, .b = {0.5, 0.5}};
static const fm_implicit_tableau sdirk2 = {
    .stages = 2, .together = 1, .c = {GAMMA, 1},
    .a = {{GAMMA, 0}, {1 - GAMMA, GAMMA}}, .b = {1 - GAMMA, GAMMA}};
static const fm_implicit_tableau trbdf2 = {
    .stages = 3, .together = 1, .c = {0, 2 * GAMMA, 1},
    .a = {{0, 0, 0}, {GAMMA, GAMMA, 0}, {BETA, BETA, GAMMA}}, .b = {BETA, BETA, GAMMA}};
static const fm_implicit_tableau radau3 = {
    .stages = 2, .together = 2, .c = {1.0 / 3, 1},
    .a = {{5.0 / 12, -1.0 / 12}, {0.75, 0.25}}, .b = {0.75, 0.25}};
static const fm_implicit_tableau radau5 = {
    .stages = 3, .together = 3, .c = {(4 - SQRT6) / 10, (4 + SQRT6) / 10, 1},
    .a = {{11.0 / 45 - 7 * SQRT6 / 360, 37.0 / 225 - 169 * SQRT6 / 1800, -2.0 / 225 + SQRT6 / 75},
          {37.0 / 225 + 169 * SQRT6 / 1800, 11.0 / 45 + 7 * SQRT6 / 360, -2.0 / 225 - SQRT6 / 75},
          {4.0 / 9 - SQRT6 / 36, 4.0 / 9 + SQRT6 / 36, 1.0 / 9}},
    .b = {4.0 / 9 - SQRT6 / 36, 4.0 / 9 + SQRT6 / 36, 1.0 / 9}};
static const fm_implicit_tableau gauss4 = {
    .stages = 2, .together = 2, .c = {0.5 - SQRT3 / 6, 0.5 + SQRT3 / 6},
    .a = {{0.25, 0.25 - SQRT3 / 6}, {0.25 + SQRT3 / 6, 0.25}}, .b = {0.5, 0.5}};
static const fm_implicit_tableau gauss6 = {
    .stages = 3, .together = 3, .c = {0.5 - ROOT15 / 10, 0.5, 0.5 + ROOT15 / 10},
    .a = {{5.0 / 36, 2.0 / 9 - ROOT15 / 15, 5.0 / 36 - ROOT15 / 30},
          {5.0 / 36 + ROOT15 / 24, 2.0 / 9, 5.0 / 36 - ROOT15 / 24},
          {5.0 / 36 + ROOT15 / 30, 2.0 / 9 + ROOT15 / 15, 5.0 / 36}},
    .b = {5.0 / 18, 4.0 / 9, 5.0 / 18}};
/* clang-format on */

/* ---- the stepper ---- */

typedef struct implicit {
    size_t step;
    /* Of the stages being solved for; SIZE_MAX: the slope at the step's start is wanted. */
    size_t first;
    size_t stage; /* of these, whose velocity is wanted */
    double h;
    double *y; /* the wanted state, the new state */
    double *slope;
    double *k; /* [stages][stride], the iterate */
    double *g; /* [stages][stride], G of it */
    /* The iteration over `together` stages, [together][stride] each: */
    size_t n_rounds, n_kept, n_stalled;
    double best;
    double *residual_steps[MEMORY],
        *value_steps[MEMORY]; /* differences of residuals and of G, the newest first */
    double *residual, *value; /* of the last round */
    fm_hermite hermite;
} implicit;

static const fm_implicit_tableau *tableau_of(const fm_solve *solve)
{
    return solve->method->stepper->implicit;
}

static size_t own_bytes(void)
{
    return sizeof(implicit);
}

static size_t vectors(const fm_solve_plan *plan)
{
    const fm_implicit_tableau *tableau = plan->solver.method->stepper->implicit;
    return 2 + 2 * tableau->stages + tableau->together * (2 * MEMORY + 2) +
           fm_hermite_vectors(plan);
}

static void want_slope(fm_solve *solve)
{
    implicit *own = solve->own;
    own->first = SIZE_MAX;
    fm_solve_want_at(solve, solve->t, solve->x, own->slope);
}

static void start(fm_solve *solve, double *memory)
{
    implicit *own = solve->own;
    const fm_implicit_tableau *tableau = tableau_of(solve);
    size_t stride = solve->stride, block = tableau->together * stride;
    *own = (implicit){.y = memory, .slope = memory + stride};
    memory += 2 * stride;
    own->k = memory;
    own->g = memory + tableau->stages * stride;
    memory += 2 * tableau->stages * stride;
    for (size_t i = 0; i < MEMORY; i++, memory += 2 * block) {
        own->residual_steps[i] = memory;
        own->value_steps[i] = memory + block;
    }
    own->residual = memory;
    own->value = memory + block;
    (void)fm_hermite_place(&own->hermite, solve, memory + 2 * block);
    memset(own->k, 0, tableau->stages * stride * sizeof *own->k); /* padding too */
    memset(own->g, 0, tableau->stages * stride * sizeof *own->g);
    own->h = solve->plan->solver.grid[1] - solve->plan->solver.grid[0];
    want_slope(solve);
}

/* ---- Anderson's iteration ---- */

static double dot(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Weights that make residual - sum of weight[j] residual_steps[j] least: normal equations by Cholesky, from the newest
 * step on, up to the first that depends on newer ones. Returns how many there are. */
static size_t least_squares(const implicit *own, size_t n, double weight[MEMORY])
{
    double gram[MEMORY][MEMORY] = {{0}}, right[MEMORY] = {0};
    size_t used = 0;
    double lower[MEMORY][MEMORY] = {{0}};
    for (size_t j = 0; j < own->n_kept; j++, used++) {
        for (size_t i = 0; i <= j; i++) {
            gram[j][i] = dot(n, own->residual_steps[j], own->residual_steps[i]);
        }
        double left = gram[j][j];
        for (size_t i = 0; i < j; i++) {
            double sum = gram[j][i];
            for (size_t m = 0; m < i; m++) {
                sum -= lower[j][m] * lower[i][m];
            }
            lower[j][i] = sum / lower[i][i];
            left -= lower[j][i] * lower[j][i];
        }
        if (!(left > 1e-14 * gram[j][j])) {
            break;
        }
        lower[j][j] = sqrt(left);
        right[j] = dot(n, own->residual_steps[j], own->residual);
        for (size_t i = 0; i < j; i++) {
            right[j] -= lower[j][i] * right[i];
        }
        right[j] /= lower[j][j];
    }
    for (size_t j = used; j-- > 0;) {
        double sum = right[j];
        for (size_t i = j + 1; i < used; i++) {
            sum -= lower[i][j] * weight[i];
        }
        weight[j] = sum / lower[j][j];
    }
    return used;
}

static double largest(size_t n, const double *x)
{
    double ret = 0;
    for (size_t i = 0; i < n; i++) {
        ret = fmax(ret, fabs(x[i]));
    }
    return ret;
}

static void rotate(double *list[MEMORY])
{
    double *oldest = list[MEMORY - 1];
    for (size_t i = MEMORY - 1; i > 0; i--) {
        list[i] = list[i - 1];
    }
    list[0] = oldest;
}

/* G of the iterate is known: the round's residual and its differences to the last round's. Padding holds 0. */
static void note_round(implicit *own, size_t n, const double *k, const double *g)
{
    if (own->n_rounds > 0) {
        rotate(own->residual_steps);
        rotate(own->value_steps);
        own->n_kept += own->n_kept < MEMORY;
        for (size_t i = 0; i < n; i++) {
            own->residual_steps[0][i] = g[i] - k[i] - own->residual[i];
            own->value_steps[0][i] = g[i] - own->value[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        own->residual[i] = g[i] - k[i];
        own->value[i] = g[i];
    }
    own->n_rounds++;
}

static void combine(const implicit *own, size_t n, double *k)
{
    double weight[MEMORY] = {0};
    size_t used = least_squares(own, n, weight);
    memcpy(k, own->value, n * sizeof *k);
    for (size_t j = 0; j < used; j++) {
        for (size_t i = 0; i < n; i++) {
            k[i] -= weight[j] * own->value_steps[j][i];
        }
    }
}

typedef enum outcome { GOES_ON, SOLVED, FAILED } outcome;

static outcome judge(implicit *own, size_t n, double size)
{
    double error = fabs(own->h) * largest(n, own->residual);
    bool better = own->n_rounds == 1 || error < 0.9 * own->best;
    own->best = better ? error : own->best;
    own->n_stalled = better ? 0 : own->n_stalled + 1;
    if (error <= TOLERANCE * (1 + size)) {
        return SOLVED;
    }
    if (own->n_stalled >= STALLED || own->n_rounds >= ROUNDS) {
        return own->best <= LOOSE * (1 + size) ? SOLVED : FAILED;
    }
    return isfinite(error) ? GOES_ON : FAILED;
}

/* ---- steps ---- */

/* The state at which stage `first + stage` wants its velocity. */
static void want_stage(fm_solve *solve)
{
    implicit *own = solve->own;
    const fm_implicit_tableau *tableau = tableau_of(solve);
    size_t i = own->first + own->stage, known = own->first + tableau->together;
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < known; j++) {
        fm_sum_add(&sum, own->h * tableau->a[i][j], own->k + j * solve->stride);
    }
    fm_vector_move(solve->dimension, own->y, solve->x, &sum);
    double end = solve->plan->solver.grid[own->step + 1];
    double t = tableau->c[i] == 1 ? end : solve->t + tableau->c[i] * own->h;
    fm_solve_want_at(solve, t, own->y, own->g + i * solve->stride);
}

static void begin_stages(fm_solve *solve, size_t first)
{
    implicit *own = solve->own;
    const fm_implicit_tableau *tableau = tableau_of(solve);
    own->first = first;
    own->stage = 0;
    own->n_rounds = own->n_kept = own->n_stalled = 0;
    for (size_t i = first; i < first + tableau->together; i++) {
        memcpy(own->k + i * solve->stride, own->slope, solve->dimension * sizeof *own->k);
    }
    want_stage(solve);
}

static void finish_step(fm_solve *solve)
{
    implicit *own = solve->own;
    const fm_implicit_tableau *tableau = tableau_of(solve);
    const fm_solver *solver = &solve->plan->solver;
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t i = 0; i < tableau->stages; i++) {
        fm_sum_add(&sum, own->h * tableau->b[i], own->k + i * solve->stride);
    }
    fm_vector_move(solve->dimension, own->y, solve->x, &sum);
    if (!fm_hermite_arrive(solve, &own->hermite, own->step, &own->y, &own->slope)) {
        return;
    }
    own->step++;
    bool more = own->step + 1 < solver->n_grid;
    own->h = more ? solver->grid[own->step + 1] - solve->t : 0;
    want_slope(solve);
}

/* The stages from `first` on are known: the next ones, or the end of the step. A first stage that is explicit is the
 * slope at the start. */
static void next_stages(fm_solve *solve, size_t first)
{
    const fm_implicit_tableau *tableau = tableau_of(solve);
    implicit *own = solve->own;
    if (first == 0 && tableau->c[0] == 0) {
        memcpy(own->k, own->slope, solve->dimension * sizeof *own->k);
        first = 1;
    }
    if (first == tableau->stages) {
        finish_step(solve);
    } else {
        begin_stages(solve, first);
    }
}

static void advance(fm_solve *solve)
{
    implicit *own = solve->own;
    const fm_implicit_tableau *tableau = tableau_of(solve);
    if (own->first == SIZE_MAX) {
        if (fm_hermite_give(solve, &own->hermite, own->step, own->slope)) {
            next_stages(solve, 0);
        }
        return;
    }
    own->stage++;
    if (own->stage < tableau->together) {
        want_stage(solve);
        return;
    }
    size_t n = tableau->together * solve->stride;
    double *k = own->k + own->first * solve->stride, *g = own->g + own->first * solve->stride;
    note_round(own, n, k, g);
    outcome result = judge(own, n, largest(solve->dimension, solve->x));
    if (result == FAILED) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return;
    }
    if (result == SOLVED) {
        memcpy(k, g, n * sizeof *k);
        next_stages(solve, own->first + tableau->together);
        return;
    }
    combine(own, n, k);
    own->stage = 0;
    want_stage(solve);
}

/* A guess: six rounds are usual on smooth fields. */
static double expected(const fm_solve_plan *plan)
{
    const fm_implicit_tableau *tableau = plan->solver.method->stepper->implicit;
    double steps = (double)(plan->solver.n_grid - 1);
    double implicit_stages = (double)(tableau->stages - (tableau->c[0] == 0));
    return steps * (1 + 6 * implicit_stages) + fm_hermite_expected(plan);
}

#define IMPLICIT(name, data)                                                                       \
    const fm_stepper fm_stepper_##name = {.own_bytes = own_bytes,                                  \
                                          .vectors = vectors,                                      \
                                          .start = start,                                          \
                                          .advance = advance,                                      \
                                          .expected = expected,                                    \
                                          .implicit = &(data),                                     \
                                          .forgets = true}

IMPLICIT(implicit_euler, implicit_euler);
IMPLICIT(implicit_midpoint, implicit_midpoint);
IMPLICIT(trapezoid, trapezoid);
IMPLICIT(sdirk2, sdirk2);
IMPLICIT(trbdf2, trbdf2);
IMPLICIT(radau3, radau3);
IMPLICIT(radau5, radau5);
IMPLICIT(gauss4, gauss4);
IMPLICIT(gauss6, gauss6);
