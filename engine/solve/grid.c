/* The usual time grids. */
#include "engine/fm_solver.h"

#include <assert.h>
#include <math.h>

/* A last step shorter than this share of the others is rounding and joins the one before it. */
#define SLIVER 1e-9

size_t fm_grid_steps(double first, double last, double step_size)
{
    assert(isfinite(first) && isfinite(last) && first != last && step_size > 0);
    double steps = ceil(fabs(last - first) / step_size - SLIVER);
    if (steps >= (double)(SIZE_MAX / 2)) {
        return SIZE_MAX;
    }
    return steps < 1 ? 1 : (size_t)steps;
}

void fm_grid_uniform(double first, double last, size_t n_steps, double *ret_grid)
{
    assert(n_steps > 0);
    for (size_t i = 0; i < n_steps; i++) {
        ret_grid[i] = first + (last - first) * ((double)i / (double)n_steps);
    }
    ret_grid[n_steps] = last;
}

void fm_grid_step_size(double first, double last, double step_size, double *ret_grid)
{
    size_t n_steps = fm_grid_steps(first, last, step_size);
    double step = last > first ? step_size : -step_size;
    for (size_t i = 0; i < n_steps; i++) {
        ret_grid[i] = first + step * (double)i;
    }
    ret_grid[n_steps] = last;
}
