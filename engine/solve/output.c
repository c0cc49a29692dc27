/* Which outputs are due: asked times along the grid, or every accepted step. */
#include "engine/solve/method.h"

#include <math.h>

void fm_output_give(fm_solve *solve, double t, const double *x)
{
    solve->plan->output(solve->context, solve->next_output++, t, x);
}

bool fm_output_before(const fm_solve *solve, double end, double *ret_t)
{
    const fm_solve_plan *plan = solve->plan;
    if (plan->output_every_step || solve->next_output == plan->n_output_times) {
        return false;
    }
    double time = plan->output_times[solve->next_output];
    double left = solve->last > plan->solver.grid[0] ? end - time : time - end;
    if (left <= solve->slack) {
        return false;
    }
    *ret_t = time;
    return true;
}

void fm_output_at(fm_solve *solve, double t, const double *x)
{
    const fm_solve_plan *plan = solve->plan;
    if (plan->output_every_step) {
        fm_output_give(solve, t, x);
        return;
    }
    while (solve->next_output < plan->n_output_times &&
           fabs(plan->output_times[solve->next_output] - t) <= solve->slack) {
        fm_output_give(solve, plan->output_times[solve->next_output], x);
    }
}
