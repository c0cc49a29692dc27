/* Runge-Kutta methods on a given grid. */
#include "engine/solve/hermite.h"

#include <assert.h>

#define MAX_STAGES 4

typedef struct fixed {
    size_t step;  /* the step under way goes from grid[step] to grid[step + 1] */
    size_t stage; /* the row whose slope is wanted */
    double h;
    double *y;             /* the wanted stage's state */
    double *k[MAX_STAGES]; /* slopes */
    fm_hermite hermite;
    fm_chart chart;
} fixed;

static size_t fixed_own_bytes(void)
{
    return sizeof(fixed);
}

static size_t fixed_vectors(const fm_solve_plan *plan)
{
    return 1 + plan->solver.method->tableau->stages + fm_hermite_vectors(plan) +
           fm_chart_vectors(plan);
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
    vectors = fm_hermite_place(&own->hermite, solve, vectors);
    (void)fm_chart_place(&own->chart, solve, vectors);
    own->hermite.chart = &own->chart;
    own->h = plan->solver.grid[1] - plan->solver.grid[0];
    fm_solve_want_row(solve, 0, solve->t, solve->x, own->k[0]);
}

/* y holds the state at the end of the step. */
static void finish_step(fm_solve *solve)
{
    fixed *own = solve->own;
    const fm_solver *solver = &solve->plan->solver;
    const fm_tableau *tableau = solve->method->tableau;
    fm_measure_stages(solve, own->h, tableau->stages, tableau->b, own->k);
    if (!fm_hermite_arrive(solve, &own->hermite, own->step, &own->y, &own->k[0])) {
        return;
    }
    own->step++;
    own->stage = 0;
    bool more = own->step + 1 < solver->n_grid;
    own->h = more ? solver->grid[own->step + 1] - solve->t : 0;
    fm_solve_want_row(solve, 0, solve->t, solve->x, own->k[0]);
}

static void fixed_advance(fm_solve *solve)
{
    fixed *own = solve->own;
    const fm_tableau *tableau = solve->method->tableau;
    const double *grid = solve->plan->solver.grid;
    if (!fm_hermite_give(solve, &own->hermite, own->step, own->k[0])) {
        return;
    }
    if (own->stage > 0) {
        fm_chart_pull(solve, &own->chart, solve->x, own->k[own->stage]);
    }
    size_t stage = ++own->stage;
    bool complete = stage == tableau->stages;
    const double *row = complete ? tableau->b : fm_tableau_row(tableau, stage);
    fm_sum sum;
    sum.n_terms = 0;
    for (size_t j = 0; j < stage; j++) {
        fm_sum_add(&sum, own->h * row[j], own->k[j]);
    }
    fm_chart_move(solve, &own->chart, own->y, solve->x, &sum);
    if (complete) {
        finish_step(solve);
        return;
    }
    double c = tableau->c[stage];
    double t = c == 1 ? grid[own->step + 1] : solve->t + c * own->h;
    fm_solve_want_row(solve, stage, t, own->y, own->k[stage]);
}

static double fixed_expected(const fm_solve_plan *plan)
{
    double steps = (double)(plan->solver.n_grid - 1);
    double stages = (double)plan->solver.method->tableau->stages;
    return steps * stages + fm_hermite_expected(plan);
}

const fm_stepper fm_stepper_fixed = {.own_bytes = fixed_own_bytes,
                                     .vectors = fixed_vectors,
                                     .start = fixed_start,
                                     .advance = fixed_advance,
                                     .expected = fixed_expected,
                                     .forgets = true};
