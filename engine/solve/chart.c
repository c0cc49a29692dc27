/* Steps on any space, part by part; the integrals that a state ends with are flat wherever it lives. */
#include "engine/solve/chart.h"

#include "engine/name.h"

#include <string.h>

#define CHART_VECTORS 2

static const char *const step_form_names[FM_N_STEP_FORMS] = {
    [FM_STEP_EXPONENTIAL] = "exponential",
    [FM_STEP_PROJECTION] = "projection",
};

fm_step_form fm_step_form_find(const char *name)
{
    return (fm_step_form)fm_name_find(step_form_names, FM_N_STEP_FORMS, name);
}

const char *fm_step_form_name(fm_step_form form)
{
    return step_form_names[form];
}

static bool is_flat(const fm_solve_plan *plan)
{
    return plan->space == NULL || plan->space->is_flat;
}

static bool projects(const fm_solve_plan *plan)
{
    return plan->solver.step == FM_STEP_PROJECTION;
}

size_t fm_chart_vectors(const fm_solve_plan *plan)
{
    return is_flat(plan) ? 0 : CHART_VECTORS;
}

double *fm_chart_place(fm_chart *chart, const fm_solve *solve, double *vectors)
{
    *chart = (fm_chart){0};
    if (is_flat(solve->plan)) {
        return vectors;
    }
    *chart = (fm_chart){.u = vectors, .slope = vectors + solve->stride};
    return vectors + CHART_VECTORS * solve->stride;
}

/* y from x and u, and the integrals by addition. */
static void step(const fm_solve *solve, const double *x, const double *u, double *y)
{
    const fm_solve_plan *plan = solve->plan;
    if (projects(plan)) {
        fm_space_project_step(plan->space, x, u, y);
    } else {
        fm_space_exp(plan->space, x, u, y);
    }
    for (size_t i = solve->dimension - plan->n_integrals; i < solve->dimension; i++) {
        y[i] = x[i] + u[i];
    }
}

void fm_chart_move(const fm_solve *solve, fm_chart *chart, double *y, const double *x,
                   const fm_sum *sum)
{
    if (chart->u == NULL) {
        fm_vector_move(solve->dimension, y, x, sum);
        return;
    }
    memset(chart->slope, 0, solve->dimension * sizeof *chart->slope);
    fm_vector_move(solve->dimension, chart->u, chart->slope, sum);
    step(solve, x, chart->u, y);
}

void fm_chart_pull(const fm_solve *solve, const fm_chart *chart, const double *x, double *v)
{
    if (chart->u != NULL && !projects(solve->plan)) {
        fm_space_pull(solve->plan->space, x, chart->u, v);
    }
}

void fm_chart_hermite(const fm_solve *solve, fm_chart *chart, double *ret, fm_chart_end from,
                      fm_chart_end to, double h, double theta)
{
    size_t n = solve->dimension, first_integral = n - solve->plan->n_integrals;
    if (chart == NULL || chart->u == NULL) {
        fm_vector_hermite(n, ret, from.x, from.slope, to.x, to.slope, h, theta);
        return;
    }
    const fm_space *space = solve->plan->space;
    fm_space_log(space, from.x, to.x, chart->u);
    for (size_t i = first_integral; i < n; i++) {
        chart->u[i] = to.x[i] - from.x[i];
    }
    memcpy(chart->slope, to.slope, n * sizeof *chart->slope);
    fm_space_pull(space, from.x, chart->u, chart->slope);
    /* u = 0 at the start: h10 h v0 + h01 u + h11 h v1. */
    double rest = 1 - theta, of_end = theta * theta * (3 - 2 * theta);
    double of_start_slope = h * theta * rest * rest, of_end_slope = -h * theta * theta * rest;
    for (size_t i = 0; i < n; i++) {
        chart->u[i] =
            of_start_slope * from.slope[i] + of_end * chart->u[i] + of_end_slope * chart->slope[i];
    }
    fm_space_exp(space, from.x, chart->u, ret);
    for (size_t i = first_integral; i < n; i++) {
        ret[i] = from.x[i] + chart->u[i];
    }
}
