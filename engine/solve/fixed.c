/* Runge-Kutta methods on a given grid.
 *
 * Outputs between grid points are cubic Hermite interpolants of the states and slopes at both ends of
 * the step. The slope at the end is the first one of the next step, so they leave one evaluation after
 * the step's end; in the last step that evaluation is an extra one, made only if an output needs it.
 * Until it is there, the step's start stays in `before` and `slope_before`. */
#include "engine/solve/method.h"
#include "engine/solve/vector.h"

#include <assert.h>

#define MAX_STAGES 4

typedef struct fixed {
    size_t step;  /* the step under way goes from grid[step] to grid[step + 1] */
    size_t stage; /* the row whose slope is wanted */
    double h;
    double *y;                               /* the wanted stage's state */
    double *k[MAX_STAGES];                   /* slopes */
    double *before, *slope_before, *between; /* with output times only */
    bool pending;                            /* the step before this one has outputs inside */
} fixed;

static size_t fixed_own_bytes(void)
{
    return sizeof(fixed);
}

static size_t fixed_vectors(const fm_solve_plan *plan)
{
    return 1 + plan->solver.method->tableau->stages + (plan->n_output_times > 0 ? 3 : 0);
}

static void fixed_start(fm_solve *solve, double *vectors)
{
    const fm_solve_plan *plan = solve->plan;
    fixed *own = solve->own;
    size_t stages = solve->method->tableau->stages;
    assert(stages <= MAX_STAGES);
    *own = (fixed){.y = vectors};
    vectors += solve->stride;
    for (size_t i = 0; i < stages; i++, vectors += solve->stride) {
        own->k[i] = vectors;
    }
    if (plan->n_output_times > 0) {
        own->before = vectors;
        own->slope_before = vectors + solve->stride;
        own->between = vectors + 2 * solve->stride;
    }
    own->h = plan->solver.grid[1] - plan->solver.grid[0];
    fm_solve_want_at(solve, solve->t, solve->x, own->k[0]);
}

static void swap(double **a, double **b)
{
    double *kept = *a;
    *a = *b;
    *b = kept;
}

/* The slope at the end of the step before has come in: its inner outputs, then that at its end. */
static void give_pending(fm_solve *solve)
{
    fixed *own = solve->own;
    const double *grid = solve->plan->solver.grid + own->step - 1;
    double h = grid[1] - grid[0];
    double time;
    while (fm_output_before(solve, grid[1], &time)) {
        fm_vector_hermite(solve->dimension, own->between, own->before, own->slope_before, solve->x,
                          own->k[0], h, (time - grid[0]) / h);
        fm_output_give(solve, time, own->between);
    }
    fm_output_at(solve, grid[1], solve->x);
    own->pending = false;
}

/* y holds the state at the end of the step. */
static void finish_step(fm_solve *solve)
{
    fixed *own = solve->own;
    const fm_solver *solver = &solve->plan->solver;
    if (!fm_vector_finite(solve->dimension, own->y)) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return;
    }
    swap(&solve->x, &own->y);
    own->step++;
    own->stage = 0;
    solve->t = solver->grid[own->step];
    solve->accepted++;
    bool more = own->step + 1 < solver->n_grid;
    double time;
    own->pending = fm_output_before(solve, solve->t, &time);
    if (own->pending) {
        swap(&own->before, &own->y);
        swap(&own->slope_before, &own->k[0]);
    } else {
        fm_output_at(solve, solve->t, solve->x);
        if (!more) {
            fm_solve_end(solve, FM_ROW_OK);
            return;
        }
    }
    own->h = more ? solver->grid[own->step + 1] - solve->t : 0;
    fm_solve_want_at(solve, solve->t, solve->x, own->k[0]);
}

static void fixed_advance(fm_solve *solve)
{
    fixed *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    const double *grid = solve->plan->solver.grid;
    if (own->pending) {
        give_pending(solve);
        if (own->step + 1 == solve->plan->solver.n_grid) {
            fm_solve_end(solve, FM_ROW_OK);
            return;
        }
    }
    size_t stage = ++own->stage;
    bool complete = stage == tableau->stages;
    const double *row = complete ? tableau->b : fm_tableau_row(tableau, stage);
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < stage; j++) {
        fm_sum_add(&sum, own->h * row[j], own->k[j]);
    }
    fm_vector_move(solve->dimension, own->y, solve->x, &sum);
    if (complete) {
        finish_step(solve);
        return;
    }
    double c = tableau->c[stage];
    double t = c == 1 ? grid[own->step + 1] : solve->t + c * own->h;
    fm_solve_want_at(solve, t, own->y, own->k[stage]);
}

/* Whether an output asked for lies inside the last step and so costs one evaluation. */
static bool ends_with_slope(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    double start = solver->grid[solver->n_grid - 2];
    double end = solver->grid[solver->n_grid - 1];
    double slack = fm_solve_slack(plan);
    for (size_t i = 0; i < plan->n_output_times; i++) {
        double theta_before = (plan->output_times[i] - start) * (end > start ? 1 : -1);
        double theta_after = (end - plan->output_times[i]) * (end > start ? 1 : -1);
        if (theta_before > slack && theta_after > slack) {
            return true;
        }
    }
    return false;
}

static double fixed_expected(const fm_solve_plan *plan)
{
    double steps = (double)(plan->solver.n_grid - 1);
    double stages = (double)plan->solver.method->tableau->stages;
    return steps * stages + (ends_with_slope(plan) ? 1 : 0);
}

const fm_stepper fm_stepper_fixed = {.own_bytes = fixed_own_bytes,
                                     .vectors = fixed_vectors,
                                     .start = fixed_start,
                                     .advance = fixed_advance,
                                     .expected = fixed_expected};
