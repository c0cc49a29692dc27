/* Methods on spaces that are not flat, against the same equation in the space around.
 *
 * The oracle: v(project(x)) is a smooth field around the space, along which what starts on the space stays there. dopri8 in
 * flat space, at 1e-13, follows it with code that knows no space. */
#include "engine/solve/method.h"
#include "tests/support/space_field.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define FIELD_SIZE 0.8
#define N_STARTS   3

static const double whole[2] = {0, 1};

static void field_on(void *context, double t, const double *x, double *v)
{
    space_field_velocity(context, FIELD_SIZE, t, x, v);
}

/* Of x near the space. */
static void field_around(void *context, double t, const double *x, double *v)
{
    const fm_space *space = context;
    double zero[SPACE_FIELD_MAX_NUMBERS] = {0}, near[SPACE_FIELD_MAX_NUMBERS];
    fm_space_project_step(space, x, zero, near);
    space_field_velocity(space, FIELD_SIZE, t, near, v);
}

static fm_solve_plan plan_of(const fm_space *space, const fm_method *method, const double *grid,
                             size_t n_grid)
{
    return (fm_solve_plan){.solver = {.method = method,
                                      .grid = grid,
                                      .n_grid = n_grid,
                                      .rtol = 1e-6,
                                      .atol = 1e-6,
                                      .sampling = FM_SAMPLING_DEFAULT,
                                      .max_evaluations = 1000000},
                           .dimension = space->states,
                           .space = space};
}

static void run_to_end(fm_solve_plan *plan, velocity_function field, const fm_space *space,
                       const double *x0, double *ret_end)
{
    trajectory run;
    fm_space context = *space;
    trajectory_run(&run, plan, field, &context, x0);
    ck_assert_int_eq(run.report.status, FM_ROW_OK);
    memcpy(ret_end, run.end, space->states * sizeof *ret_end);
    trajectory_done(&run);
}

/* Where the flow really ends; not wrapped. */
static void exact_end(const fm_space *space, const double *grid, const double *x0, double *ret)
{
    fm_solve_plan plan = plan_of(space, fm_method_find("dopri8"), grid, 2);
    plan.space = NULL;
    plan.solver.rtol = plan.solver.atol = 1e-13;
    run_to_end(&plan, field_around, space, x0, ret);
}

static double end_error(const fm_space *space, const fm_method *method, fm_step_form step,
                        size_t n_steps, const double *x0, const double *exact)
{
    double grid[257], end[SPACE_FIELD_MAX_NUMBERS];
    fm_grid_uniform(0, 1, n_steps, grid);
    fm_solve_plan plan = plan_of(space, method, grid, n_steps + 1);
    plan.solver.step = step;
    run_to_end(&plan, field_on, space, x0, end);
    return space_field_gap(space, end, exact);
}

/* Steps of a half as long: the error shrinks by two to the order. */
static double seen_order(const fm_space *space, const fm_method *method, fm_step_form step)
{
    double coarse = 0, fine = 0;
    size_t n_steps = fm_method_describe(method)->order > 3 ? 48 : 64;
    for (uint64_t i = 0; i < N_STARTS; i++) {
        double x0[SPACE_FIELD_MAX_NUMBERS], exact[SPACE_FIELD_MAX_NUMBERS];
        space_field_point(space, i, x0);
        exact_end(space, whole, x0, exact);
        coarse = fmax(coarse, end_error(space, method, step, n_steps, x0, exact));
        fine = fmax(fine, end_error(space, method, step, 2 * n_steps, x0, exact));
    }
    return log2(coarse / fine);
}

static bool is_fixed_on_spaces(const fm_method *method, const fm_space *space)
{
    return fm_method_serves(method, space) && !fm_method_describe(method)->adaptive;
}

START_TEST(fixed_methods_keep_their_order_on_every_space)
{
    const char *name;
    fm_space space = space_field_at((size_t)_i, &name);
    size_t n_methods = 0;
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        if (!is_fixed_on_spaces(method, &space)) {
            continue;
        }
        n_methods++;
        for (unsigned step = 0; step < FM_N_STEP_FORMS; step++) {
            double order = seen_order(&space, method, (fm_step_form)step);
            double declared = (double)fm_method_describe(method)->order;
            ck_assert_msg(order > declared - 0.25, "%s, %s, %s: order %g", name,
                          fm_method_describe(method)->name, fm_step_form_name((fm_step_form)step),
                          order);
        }
    }
    ck_assert_uint_eq(n_methods, 6);
}
END_TEST

START_TEST(adaptive_methods_hold_their_tolerance_on_every_space)
{
    const char *name;
    fm_space space = space_field_at((size_t)_i, &name);
    size_t n_methods = 0;
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        if (!fm_method_serves(method, &space) || !fm_method_describe(method)->adaptive) {
            continue;
        }
        n_methods++;
        for (uint64_t k = 0; k < N_STARTS; k++) {
            double x0[SPACE_FIELD_MAX_NUMBERS], exact[SPACE_FIELD_MAX_NUMBERS];
            double end[SPACE_FIELD_MAX_NUMBERS];
            space_field_point(&space, k, x0);
            exact_end(&space, whole, x0, exact);
            fm_solve_plan plan = plan_of(&space, method, whole, 2);
            run_to_end(&plan, field_on, &space, x0, end);
            double error = space_field_gap(&space, end, exact);
            double allowed = fm_method_describe(method)->order > 2 ? 5e-5 : 5e-4;
            ck_assert_msg(error < allowed, "%s, %s: error %g", name,
                          fm_method_describe(method)->name, error);
        }
    }
    ck_assert_uint_eq(n_methods, 6);
}
END_TEST

START_TEST(what_is_carried_back_is_where_it_came_from)
{
    static const double back[2] = {1, 0};
    const char *name;
    fm_space space = space_field_at((size_t)_i, &name);
    for (uint64_t k = 0; k < N_STARTS; k++) {
        double x0[SPACE_FIELD_MAX_NUMBERS], x1[SPACE_FIELD_MAX_NUMBERS];
        double again[SPACE_FIELD_MAX_NUMBERS];
        space_field_point(&space, k, x0);
        fm_solve_plan plan = plan_of(&space, fm_method_find("dopri8"), whole, 2);
        run_to_end(&plan, field_on, &space, x0, x1);
        plan.solver.grid = back;
        run_to_end(&plan, field_on, &space, x1, again);
        double error = space_field_gap(&space, again, x0);
        ck_assert_msg(error < 1e-5, "%s: %g", name, error); /* ten times the tolerance */
    }
}
END_TEST

/* Ten steps' outputs between their ends, of methods whose dense output is of at least order 3. */
START_TEST(states_within_steps_lie_on_the_flow_and_on_the_space)
{
    static const char *const methods[] = {"rk4", "dopri5", "dopri8"};
    static const double asked[5] = {0.13, 0.37, 0.5, 0.81, 1};
    const char *name;
    fm_space space = space_field_at((size_t)_i, &name);
    double grid[33], x0[SPACE_FIELD_MAX_NUMBERS], exact[SPACE_FIELD_MAX_NUMBERS];
    fm_grid_uniform(0, 1, 32, grid);
    space_field_point(&space, 1, x0);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        fm_solve_plan plan = plan_of(&space, fm_method_find(methods[m]), grid, 33);
        plan.output_times = asked;
        plan.n_output_times = 5;
        trajectory run;
        trajectory_run(&run, &plan, field_on, &space, x0);
        for (size_t i = 0; i < 5; i++) {
            const double to[2] = {0, asked[i]};
            double *x = run.outputs + i * space.states, kept[SPACE_FIELD_MAX_NUMBERS];
            exact_end(&space, to, x0, exact);
            double error = space_field_gap(&space, x, exact);
            ck_assert_msg(error < 5e-5, "%s, %s at %g: %g", name, methods[m], asked[i], error);
            memcpy(kept, x, space.states * sizeof *x);
            double zero[SPACE_FIELD_MAX_NUMBERS] = {0};
            fm_space_project_step(&space, x, zero, kept);
            ck_assert_double_le(space_field_gap(&space, x, kept), 1e-12);
        }
        trajectory_done(&run);
    }
}
END_TEST

START_TEST(a_thousand_steps_stay_on_the_space)
{
    const char *name;
    fm_space space = space_field_at((size_t)_i, &name);
    static double grid[1001];
    double x0[SPACE_FIELD_MAX_NUMBERS], end[SPACE_FIELD_MAX_NUMBERS];
    fm_grid_uniform(0, 1, 1000, grid);
    for (unsigned step = 0; step < FM_N_STEP_FORMS; step++) {
        space_field_point(&space, 2, x0);
        fm_solve_plan plan = plan_of(&space, fm_method_find("euler"), grid, 1001);
        plan.solver.step = (fm_step_form)step;
        run_to_end(&plan, field_on, &space, x0, end);
        double zero[SPACE_FIELD_MAX_NUMBERS] = {0}, near[SPACE_FIELD_MAX_NUMBERS];
        fm_space_project_step(&space, end, zero, near);
        ck_assert_msg(space_field_gap(&space, end, near) < 1e-12, "%s", name);
    }
}
END_TEST

START_TEST(methods_are_refused_where_they_know_only_flat_space)
{
    const char *name;
    fm_space sphere = space_field_at(0, &name), flat = fm_space_euclidean(3);
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        bool has_tableau = method->tableau != NULL;
        ck_assert_int_eq(fm_method_serves(method, &sphere), has_tableau);
        fm_solve_plan plan = plan_of(&sphere, method, whole, 2);
        plan.path = trajectory_path();
        plan.inverse = trajectory_inverse();
        fm_error err = {0};
        if (!has_tableau && !fm_method_needs_inverse(method)) {
            ck_assert_int_eq(fm_solve_check(&plan, &err), FM_EINVAL);
            ck_assert_ptr_nonnull(strstr(err.text, "is not made for sphere"));
        }
        ck_assert(fm_method_serves(method, &flat) || fm_method_jumps(method) ||
                  strcmp(fm_method_describe(method)->spaces, "tokens") == 0);
    }
}
END_TEST

START_TEST(the_shape_of_a_path_is_measured_in_flat_space_alone)
{
    const char *name;
    fm_space sphere = space_field_at(0, &name);
    fm_solve_plan plan = plan_of(&sphere, fm_method_find("euler"), whole, 2);
    fm_error err = {0};
    plan.measures_path = true;
    ck_assert_int_eq(fm_solve_check(&plan, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "measures_path"));
    plan.space = NULL;
    ck_assert_int_eq(fm_solve_check(&plan, &err), FM_OK);
}
END_TEST

Suite *suite_engine_solve_space(void)
{
    Suite *suite = suite_create("engine/solve_space");
    TCase *tcase = tcase_create("spaces");
    int n = (int)space_field_count();
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, fixed_methods_keep_their_order_on_every_space, 0, n);
    tcase_add_loop_test(tcase, adaptive_methods_hold_their_tolerance_on_every_space, 0, n);
    tcase_add_loop_test(tcase, what_is_carried_back_is_where_it_came_from, 0, n);
    tcase_add_loop_test(tcase, states_within_steps_lie_on_the_flow_and_on_the_space, 0, n);
    tcase_add_loop_test(tcase, a_thousand_steps_stay_on_the_space, 0, n);
    tcase_add_test(tcase, methods_are_refused_where_they_know_only_flat_space);
    tcase_add_test(tcase, the_shape_of_a_path_is_measured_in_flat_space_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}
