/* Outputs inside steps by cubic Hermite interpolation. */
#include "engine/solve/hermite.h"

size_t fm_hermite_vectors(const fm_solve_plan *plan)
{
    return plan->n_output_times > 0 ? 3 : 0;
}

double *fm_hermite_place(fm_hermite *hermite, const fm_solve *solve, double *vectors)
{
    *hermite = (fm_hermite){0};
    if (solve->plan->n_output_times == 0) {
        return vectors;
    }
    *hermite = (fm_hermite){
        .x = vectors, .slope = vectors + solve->stride, .between = vectors + 2 * solve->stride};
    return vectors + 3 * solve->stride;
}

static void swap(double **a, double **b)
{
    double *kept = *a;
    *a = *b;
    *b = kept;
}

static bool is_last(const fm_solve *solve, size_t index)
{
    return index + 2 == solve->plan->solver.n_grid;
}

bool fm_hermite_arrive(fm_solve *solve, fm_hermite *hermite, size_t index, double **y,
                       double **slope)
{
    double end = solve->plan->solver.grid[index + 1];
    if (!fm_solve_accepts(solve, index, end, *y)) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return false;
    }
    swap(&solve->x, y);
    solve->t = end;
    solve->accepted++;
    double time;
    hermite->pending = fm_output_before(solve, solve->t, &time);
    if (hermite->pending) {
        swap(&hermite->x, y);
        swap(&hermite->slope, slope);
        return true;
    }
    fm_output_at(solve, solve->t, solve->x);
    if (is_last(solve, index)) {
        fm_solve_end(solve, FM_ROW_OK);
        return false;
    }
    return true;
}

bool fm_hermite_give(fm_solve *solve, fm_hermite *hermite, size_t index, const double *slope)
{
    if (!hermite->pending) {
        return true;
    }
    const double *grid = solve->plan->solver.grid + index - 1;
    double h = grid[1] - grid[0];
    double time;
    while (fm_output_before(solve, grid[1], &time)) {
        const fm_chart_end from = {hermite->x, hermite->slope}, to = {solve->x, slope};
        fm_chart_hermite(solve, hermite->chart, hermite->between, from, to, h,
                         (time - grid[0]) / h);
        fm_output_give(solve, time, hermite->between);
    }
    fm_output_at(solve, grid[1], solve->x);
    hermite->pending = false;
    if (is_last(solve, index - 1)) {
        fm_solve_end(solve, FM_ROW_OK);
        return false;
    }
    return true;
}

/* Whether an output asked for lies inside the last step. */
double fm_hermite_expected(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    double start = solver->grid[solver->n_grid - 2];
    double end = solver->grid[solver->n_grid - 1];
    double direction = end > start ? 1 : -1;
    double slack = fm_solve_slack(plan);
    for (size_t i = 0; i < plan->n_output_times; i++) {
        double before = (plan->output_times[i] - start) * direction;
        double after = (end - plan->output_times[i]) * direction;
        if (before > slack && after > slack) {
            return 1;
        }
    }
    return 0;
}
