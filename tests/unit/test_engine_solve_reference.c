/* Every explicit Runge-Kutta row of the reference table against torchdiffeq's and torchode's numbers. */
#include "engine/checkpoint/tensors.h"
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define N_STATES  4
#define DIMENSION 3

static json_t *table;
static fm_tensors *tensors;

static void open_table(void)
{
    fm_error err;
    json_error_t json_err;
    table = json_load_file("tests/golden/solvers/solvers.json", 0, &json_err);
    ck_assert_msg(table != NULL, "%s", json_err.text);
    ck_assert_msg(fm_tensors_open("tests/golden/solvers/solvers.safetensors", &tensors, &err) ==
                      FM_OK,
                  "%s", err.text);
}

static void close_table(void)
{
    json_decref(table);
    fm_tensors_close(tensors);
}

/* A tensor as float64 [ret_count], to be freed; NULL when there is none of that name. */
static double *values(const char *name, size_t *ret_count)
{
    const fm_tensor *tensor = fm_tensors_find(tensors, name);
    if (tensor == NULL) {
        return NULL;
    }
    double *ret = fm_alloc_array(tensor->count, sizeof(double));
    fm_error err;
    ck_assert_ptr_nonnull(ret);
    ck_assert_msg(fm_tensor_to_float64(tensor, ret, &err) == FM_OK, "%s", err.text);
    *ret_count = tensor->count;
    return ret;
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static size_t numbers(const json_t *array, double *ret)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        ret[i] = json_number_value(json_array_get(array, i));
    }
    return json_array_size(array);
}

static const char *text(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

/* The plan of a row; grid and output_times have room for 128. */
static void plan_row(const json_t *row, double *grid, double *output_times, fm_solve_plan *ret)
{
    bool reverse = json_is_true(json_object_get(row, "reverse"));
    double first = reverse ? 1 : 0;
    double last = 1 - first;
    size_t steps = (size_t)number(row, "steps");
    *ret = (fm_solve_plan){.dimension = DIMENSION};
    ret->solver = (fm_solver){.method = fm_method_find(text(row, "method")),
                              .grid = grid,
                              .rtol = number(row, "rtol"),
                              .atol = number(row, "atol"),
                              .max_evaluations = 100000};
    if (steps > 0) {
        fm_grid_uniform(first, last, steps, grid);
    } else if (json_object_get(row, "time_grid") != NULL) {
        steps = numbers(json_object_get(row, "time_grid"), grid) - 1;
    } else if (json_object_get(row, "step_size") != NULL) {
        steps = fm_grid_steps(first, last, number(row, "step_size"));
        fm_grid_step_size(first, last, number(row, "step_size"), grid);
    } else {
        steps = 1;
        grid[0] = first;
        grid[1] = last;
    }
    ret->solver.n_grid = steps + 1;
    ret->n_output_times = numbers(json_object_get(row, "output_times"), output_times);
    ret->output_times = output_times;
}

/* The state at a time, on the line between the grid points around it.
 *   at   of a trajectory that gave every step   ret   [DIMENSION] */
static void interpolate_linearly(const trajectory *at, double time, double *ret)
{
    size_t k = 1;
    while (k + 1 < at->n_outputs && at->output_times[k] < time) {
        k++;
    }
    const double *start = at->outputs + (k - 1) * DIMENSION, *end = start + DIMENSION;
    double theta = (at->output_times[k] - time) / (at->output_times[k] - at->output_times[k - 1]);
    for (size_t i = 0; i < DIMENSION; i++) {
        ret[i] = end[i] + theta * (start[i] - end[i]);
    }
}

/* Rows that torchdiffeq interpolated linearly, which is not served here: their grid points are ours, and a line
 * between them is drawn here. */
static void check_linear_row(const json_t *row)
{
    double grid[128], output_times[128];
    fm_solve_plan plan;
    plan_row(row, grid, output_times, &plan);
    size_t times = plan.n_output_times, count, n;
    plan.n_output_times = 0;
    plan.output_every_step = true;
    double *y0 = values("y0", &count);
    double *expected = values(text(row, "tensor"), &n);
    ck_assert_uint_eq(n, count * times);
    for (size_t state = 0; state < N_STATES; state++) {
        trajectory run;
        trajectory_run(&run, &plan, velocity_reference, NULL, y0 + state * DIMENSION);
        for (size_t i = 0; i < times; i++) {
            double at[DIMENSION];
            interpolate_linearly(&run, output_times[i], at);
            const double *wanted = expected + (i * N_STATES + state) * DIMENSION;
            double error = trajectory_distance(DIMENSION, at, wanted);
            ck_assert_msg(error <= 1e-12, "%s state %zu time %zu: %g", text(row, "tensor"), state,
                          i, error);
        }
        trajectory_done(&run);
    }
    fm_free(y0);
    fm_free(expected);
}

/* Methods that solve equations do so to a tolerance of their own, and the reference's did. */
static double tolerance_of(const json_t *row)
{
    const char *method = text(row, "method");
    bool solves =
        fm_method_find(method)->stepper->implicit != NULL || strcmp(method, "implicit_adams") == 0;
    return solves ? 1e-7 : 1e-12;
}

/* torchdiffeq's Adams methods use the weights of equal steps on every grid. */
static bool is_wrong_in_the_reference(const json_t *row)
{
    return strstr(text(row, "method"), "adams") != NULL &&
           json_object_get(row, "time_grid") != NULL;
}

static void check_better_row(const json_t *row)
{
    double grid[128], output_times[128];
    fm_solve_plan plan;
    plan_row(row, grid, output_times, &plan);
    size_t count;
    double *y0 = values("y0", &count), *exact = values("exact", &count);
    double largest = 0;
    for (size_t state = 0; state < N_STATES; state++) {
        trajectory run;
        trajectory_run(&run, &plan, velocity_reference, NULL, y0 + state * DIMENSION);
        largest = fmax(largest, trajectory_distance(DIMENSION, run.end, exact + state * DIMENSION));
        trajectory_done(&run);
    }
    ck_assert_msg(largest < number(row, "error"), "%s: %g, theirs %g", text(row, "tensor"), largest,
                  number(row, "error"));
    fm_free(y0);
    fm_free(exact);
}

static void check_fixed_row(const json_t *row)
{
    double grid[128], output_times[128];
    fm_solve_plan plan;
    plan_row(row, grid, output_times, &plan);
    size_t count, n;
    double *y0 = values("y0", &count);
    double *expected = values(text(row, "tensor"), &n);
    size_t times = plan.n_output_times;
    ck_assert_uint_eq(n, count * (times > 0 ? times : 1));
    for (size_t state = 0; state < N_STATES; state++) {
        trajectory run;
        trajectory_run(&run, &plan, velocity_reference, NULL, y0 + state * DIMENSION);
        ck_assert_int_eq(run.report.status, FM_ROW_OK);
        ck_assert_uint_eq(run.n_outputs, times);
        const double *at = times > 0 ? run.outputs : run.end;
        for (size_t i = 0; i < (times > 0 ? times : 1); i++) {
            const double *wanted = expected + (i * N_STATES + state) * DIMENSION;
            double error = trajectory_distance(DIMENSION, at + i * DIMENSION, wanted);
            ck_assert_msg(error <= tolerance_of(row), "%s state %zu time %zu: %g",
                          text(row, "tensor"), state, i, error);
        }
        trajectory_done(&run);
    }
    fm_free(y0);
    fm_free(expected);
}

START_TEST(fixed_methods_reproduce_the_reference_to_their_tolerance)
{
    open_table();
    size_t checked = 0, index;
    json_t *row;
    json_array_foreach(json_object_get(table, "rows"), index, row)
    {
        const fm_method *method = fm_method_find(text(row, "method"));
        const char *interpolation = text(row, "interpolation");
        if (method == NULL || fm_method_describe(method)->adaptive) {
            continue;
        }
        bool is_linear = interpolation != NULL && strcmp(interpolation, "linear") == 0;
        (is_wrong_in_the_reference(row) ? check_better_row
         : is_linear                    ? check_linear_row
                                        : check_fixed_row)(row);
        checked++;
    }
    ck_assert_uint_eq(checked, 16 * 7 + 4 + 4);
    close_table();
}
END_TEST

/* How far the accepted times move when the start moves by its own rounding. */
static double times_moved_by_rounding(const trajectory *run, fm_solve_plan *plan, const double *y0)
{
    double largest = 0;
    for (size_t i = 0; i < DIMENSION; i++) {
        for (double towards = -10; towards <= 10; towards += 20) {
            double moved[DIMENSION];
            memcpy(moved, y0, sizeof moved);
            moved[i] = nextafter(moved[i], towards);
            trajectory other;
            trajectory_run(&other, plan, velocity_reference, NULL, moved);
            ck_assert_uint_eq(other.n_outputs, run->n_outputs);
            for (size_t k = 0; k < run->n_outputs; k++) {
                largest = fmax(largest, fabs(other.output_times[k] - run->output_times[k]));
            }
            trajectory_done(&other);
        }
    }
    return largest;
}

/* The accepted (t, dt) of the first state, where the reference has them and no step was rejected, for the one
 * after a rejected step does not grow here. The first step is cautious, so its error estimate nears the
 * rounding of the sums behind it, and that moves the steps after it: the more so, the smaller the tolerance
 * and the higher the order. */
static void check_steps(const json_t *row, const fm_solve_plan *plan, const double *y0)
{
    char name[128];
    snprintf(name, sizeof name, "%s.clipped.steps", text(row, "tensor"));
    size_t count;
    double *steps = values(name, &count);
    if (steps == NULL) {
        return;
    }
    fm_solve_plan every = *plan;
    every.output_every_step = true;
    trajectory run;
    trajectory_run(&run, &every, velocity_reference, NULL, y0);
    if (run.report.rejected > 0) {
        trajectory_done(&run);
        fm_free(steps);
        return;
    }
    ck_assert_uint_eq(run.n_outputs, count / 2 + 1);
    double allowed = fmax(1e-9, 3 * times_moved_by_rounding(&run, &every, y0));
    double sign = every.solver.grid[1] > every.solver.grid[0] ? 1 : -1;
    for (size_t i = 0; i < count / 2; i++) {
        double step = (run.output_times[i + 1] - run.output_times[i]) * sign;
        double t_error = fabs(fabs(steps[2 * i]) - run.output_times[i]);
        double step_error = fabs(fabs(steps[2 * i + 1]) - step);
        ck_assert_msg(t_error <= allowed && step_error <= allowed,
                      "%s step %zu: t off %g, dt off %g, allowed %g", name, i, t_error, step_error,
                      allowed);
    }
    trajectory_done(&run);
    fm_free(steps);
}

/* Expected evaluations of a state and the error allowed to its row. */
static void check_adaptive_row(const json_t *row)
{
    double grid[128], output_times[128];
    fm_solve_plan plan;
    plan_row(row, grid, output_times, &plan);
    const json_t *nfe = json_object_get(row, "nfe_clipped");
    double allowed = 2 * number(row, nfe != NULL ? "error_clipped" : "error") + plan.solver.atol;
    nfe = nfe != NULL ? nfe : json_object_get(row, "nfe");
    size_t count;
    char name[128];
    snprintf(name, sizeof name, "%s.clipped", text(row, "tensor"));
    double *clipped = values(name, &count);
    double *y0 = values("y0", &count);
    double *exact = values(grid[0] > grid[1] ? "exact_reverse" : "exact", &count);
    double total = 0, wanted_total = 0;
    for (size_t state = 0; state < N_STATES; state++) {
        trajectory run;
        trajectory_run(&run, &plan, velocity_reference, NULL, y0 + state * DIMENSION);
        ck_assert_int_eq(run.report.status, FM_ROW_OK);
        double error = trajectory_distance(DIMENSION, run.end, exact + state * DIMENSION);
        ck_assert_msg(error <= allowed, "%s state %zu: error %g, allowed %g", text(row, "tensor"),
                      state, error, allowed);
        if (clipped != NULL && run.report.rejected == 0) { /* else: own steps, see check_steps */
            double off = trajectory_distance(DIMENSION, run.end, clipped + state * DIMENSION);
            ck_assert_msg(off <= 1e-9, "%s state %zu: %g from the reference", text(row, "tensor"),
                          state, off);
        }
        double wanted = json_number_value(json_array_get(nfe, state));
        total += (double)run.report.evaluations;
        wanted_total += wanted;
        if (json_object_get(row, "nfe_clipped") != NULL) {
            ck_assert_msg(fabs((double)run.report.evaluations - wanted) <= 0.1 * wanted,
                          "%s state %zu: %g evaluations, wanted %g", text(row, "tensor"), state,
                          (double)run.report.evaluations, wanted);
        }
        trajectory_done(&run);
    }
    ck_assert_msg(fabs(total - wanted_total) <= 0.1 * wanted_total, "%s: %g evaluations, wanted %g",
                  text(row, "tensor"), total, wanted_total);
    check_steps(row, &plan, y0);
    fm_free(clipped);
    fm_free(y0);
    fm_free(exact);
}

START_TEST(adaptive_methods_reproduce_the_reference_s_ends_errors_steps_and_counts)
{
    open_table();
    size_t checked = 0, index;
    json_t *row;
    json_array_foreach(json_object_get(table, "rows"), index, row)
    {
        const fm_method *method = fm_method_find(text(row, "method"));
        if (method != NULL && fm_method_describe(method)->adaptive) {
            check_adaptive_row(row);
            checked++;
        }
    }
    ck_assert_uint_eq(checked, 4 + 4 * 6);
    close_table();
}
END_TEST

Suite *suite_engine_solve_reference(void)
{
    Suite *suite = suite_create("engine/solve_reference");
    TCase *rows = tcase_create("rows");
    tcase_add_test(rows, fixed_methods_reproduce_the_reference_to_their_tolerance);
    tcase_add_test(rows, adaptive_methods_reproduce_the_reference_s_ends_errors_steps_and_counts);
    suite_add_tcase(suite, rows);
    return suite;
}
