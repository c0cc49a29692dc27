/* Trajectories: where they are evaluated, what they give out, and how they end. */
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

START_TEST(no_evaluation_lies_outside_the_span_and_the_end_is_exact)
{
    for (int backward = 0; backward < 2; backward++) {
        for (int outputs = 0; outputs < 2; outputs++) {
            fm_solve_plan plan = trajectory_plan(_i, backward);
            if (trajectory_is_refused(&plan)) {
                continue;
            }
            if (outputs) {
                trajectory_ask_times(&plan, backward);
            }
            trajectory run;
            trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
            ck_assert_int_eq(run.report.status, FM_ROW_OK);
            ck_assert_double_ge(run.earliest, 0);
            ck_assert_double_le(run.latest, 1);
            ck_assert_double_eq(run.report.t, backward ? 0 : 1);
            trajectory_done(&run);
        }
    }
}
END_TEST

START_TEST(outputs_hold_both_ends_exactly_and_change_nothing)
{
    for (int backward = 0; backward < 2; backward++) {
        fm_solve_plan plan = trajectory_plan(_i, backward);
        if (trajectory_is_refused(&plan)) {
            continue;
        }
        trajectory plain, with;
        trajectory_run(&plain, &plan, velocity_mixture, NULL, trajectory_start);
        trajectory_ask_times(&plan, backward);
        trajectory_run(&with, &plan, velocity_mixture, NULL, trajectory_start);
        ck_assert_uint_eq(with.n_outputs, 6);
        ck_assert_mem_eq(with.output_times, plan.output_times, 6 * sizeof(double));
        ck_assert_mem_eq(with.outputs, trajectory_start, sizeof trajectory_start);
        ck_assert_mem_eq(with.outputs + 10, with.end, 2 * sizeof(double));
        ck_assert_mem_eq(with.end, plain.end, 2 * sizeof(double));
        ck_assert_uint_eq(with.report.accepted, plain.report.accepted);
        trajectory_done(&plain);
        trajectory_done(&with);
    }
}
END_TEST

START_TEST(outputs_at_grid_points_are_the_states_there_up_to_rounding_of_the_time)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (trajectory_method(&plan)->adaptive) {
        return;
    }
    double times[4] = {nextafter(0.2, 0), nextafter(0.45, 1), 0.8, nextafter(1, 0)};
    plan.output_times = times;
    plan.n_output_times = 4;
    trajectory run, every;
    trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
    plan.n_output_times = 0;
    plan.output_every_step = true;
    trajectory_run(&every, &plan, velocity_mixture, NULL, trajectory_start);
    ck_assert_uint_eq(every.n_outputs, 5);
    ck_assert_mem_eq(run.outputs, every.outputs + 2, 8 * sizeof(double));
    ck_assert_uint_eq(run.report.evaluations, every.report.evaluations);
    trajectory_done(&run);
    trajectory_done(&every);
}
END_TEST

START_TEST(every_step_gives_the_first_state_and_each_accepted_end)
{
    fm_solve_plan plan = trajectory_plan(_i, true);
    if (trajectory_is_refused(&plan)) {
        return;
    }
    plan.output_every_step = true;
    trajectory run;
    trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
    ck_assert_uint_eq(run.n_outputs, run.report.accepted + 1);
    ck_assert_mem_eq(run.outputs, trajectory_start, sizeof trajectory_start);
    ck_assert_mem_eq(run.outputs + 2 * run.report.accepted, run.end, sizeof trajectory_start);
    for (size_t i = 1; i < run.n_outputs; i++) {
        ck_assert_double_lt(run.output_times[i], run.output_times[i - 1]);
    }
    ck_assert_double_eq(run.output_times[0], 1);
    ck_assert_double_eq(run.output_times[run.n_outputs - 1], 0);
    trajectory_done(&run);
}
END_TEST

START_TEST(evaluations_are_those_declared)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (plan.solver.method->tableau == NULL) {
        return; /* see other_methods_look_about_as_often_as_expected */
    }
    double cost = trajectory_method(&plan)->evaluations_per_step;
    trajectory run;
    trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
    double tried = (double)(run.report.accepted + run.report.rejected);
    double expected = fm_solve_expected_evaluations(&plan);
    if (trajectory_method(&plan)->adaptive) {
        ck_assert_double_eq((double)run.report.evaluations, 2 + cost * tried);
        ck_assert_double_lt(expected, 3 * (double)run.report.evaluations);
        ck_assert_double_gt(expected, (double)run.report.evaluations / 3);
    } else {
        ck_assert_double_eq(tried, 4);
        ck_assert_double_eq((double)run.report.evaluations, 4 * cost);
        ck_assert_double_eq(expected, 4 * cost);
    }
    trajectory_done(&run);
    if (trajectory_method(&plan)->adaptive) {
        plan.solver.first_step = 0.01;
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        tried = (double)(run.report.accepted + run.report.rejected);
        ck_assert_double_eq((double)run.report.evaluations, 1 + cost * tried);
    } else {
        trajectory_ask_times(&plan, false); /* 0.9 lies inside the last step */
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        ck_assert_double_eq((double)run.report.evaluations, 4 * cost + 1);
        ck_assert_double_eq(fm_solve_expected_evaluations(&plan), 4 * cost + 1);
    }
    trajectory_done(&run);
}
END_TEST

/* First and last steps may look less often, or more. Where equations are solved it is a guess. */
START_TEST(other_methods_look_about_as_often_as_expected)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    double inner[4] = {0.1, 0.4, 0.7, 0.9};
    const fm_stepper *stepper = plan.solver.method->stepper;
    bool guesses = stepper->implicit != NULL || stepper == &fm_stepper_implicit_adams;
    if (plan.solver.method->tableau != NULL) {
        return;
    }
    for (int grid = 0; grid < 2; grid++) {
        trajectory run;
        trajectory_ask_times(&plan, false);
        plan.n_output_times = grid == 0 ? 6 : 0;
        if (grid == 1) {
            plan.solver.grid = inner;
            plan.solver.n_grid = 4;
        }
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        double expected = fm_solve_expected_evaluations(&plan);
        double found = (double)run.report.evaluations;
        ck_assert_msg(guesses ? found < 3 * expected && expected < 3 * found : found == expected,
                      "%s: %g, expected %g", trajectory_method(&plan)->name, found, expected);
        trajectory_done(&run);
    }
}
END_TEST

/* A run that ended early is a beginning of the whole one. */
static void check_beginning(const trajectory *run, const trajectory *whole)
{
    size_t accepted = run->report.accepted;
    ck_assert_uint_le(accepted, whole->report.accepted);
    ck_assert_double_eq(run->report.t, whole->output_times[accepted]);
    ck_assert_mem_eq(run->end, whole->outputs + 2 * accepted, 2 * sizeof(double));
    ck_assert_uint_eq(run->n_outputs, accepted + 1);
}

START_TEST(max_evaluations_ends_with_the_last_accepted_state)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    plan.output_every_step = true;
    trajectory whole, run;
    trajectory_run(&whole, &plan, velocity_mixture, NULL, trajectory_start);
    uint64_t needed = whole.report.evaluations;
    for (uint64_t budget = 1; budget <= needed && budget < 200; budget++) {
        plan.solver.max_evaluations = budget;
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        ck_assert_uint_eq(run.report.evaluations, budget);
        ck_assert_int_eq(run.report.status, budget == needed ? FM_ROW_OK : FM_ROW_MAX_EVALUATIONS);
        check_beginning(&run, &whole);
        ck_assert_double_le(fm_solve_expected_evaluations(&plan), (double)budget);
        trajectory_done(&run);
    }
    trajectory_done(&whole);
}
END_TEST

START_TEST(max_evaluations_holds_for_the_evaluations_of_outputs_too)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    trajectory_ask_times(&plan, false);
    trajectory run;
    for (uint64_t budget = 1; budget < 60; budget++) {
        plan.solver.max_evaluations = budget;
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        ck_assert_uint_le(run.report.evaluations, budget);
        ck_assert(run.report.status == FM_ROW_OK || run.report.evaluations == budget);
        for (size_t i = 0; i < run.n_outputs; i++) {
            ck_assert_double_le(run.output_times[i], run.report.t);
        }
        trajectory_done(&run);
    }
}
END_TEST

typedef struct failing {
    uint64_t calls, fails_at;
    double value;
} failing;

static void velocity_failing(void *context, double t, const double *x, double *v)
{
    failing *field = context;
    velocity_mixture(NULL, t, x, v);
    if (++field->calls == field->fails_at) {
        v[1] = field->value;
    }
}

START_TEST(non_finite_velocity_ends_with_the_last_accepted_state)
{
    const double values[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    fm_solve_plan plan = trajectory_plan(_i, false);
    plan.output_every_step = true;
    trajectory whole, run;
    trajectory_run(&whole, &plan, velocity_mixture, NULL, trajectory_start);
    for (uint64_t call = 1; call <= whole.report.evaluations && call < 100; call++) {
        failing field = {.fails_at = call, .value = values[call % 3]};
        trajectory_run(&run, &plan, velocity_failing, &field, trajectory_start);
        ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
        ck_assert_uint_eq(run.report.evaluations, call);
        check_beginning(&run, &whole);
        trajectory_done(&run);
    }
    trajectory_done(&whole);
}
END_TEST

static void velocity_huge(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    (void)x;
    v[0] = 1e308;
    v[1] = 1e308;
}

START_TEST(overflow_ends_with_the_last_finite_state)
{
    double grid[3] = {0, 1, 20};
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (trajectory_knows_path(&plan)) {
        return; /* there is no path beyond 1 */
    }
    plan.solver.grid = grid;
    plan.solver.n_grid = 3;
    const double zero[2] = {0, 0};
    trajectory run;
    trajectory_run(&run, &plan, velocity_huge, NULL, zero);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert(isfinite(run.end[0]) && isfinite(run.end[1]));
    ck_assert_double_lt(run.report.t, 20);
    if (!trajectory_method(&plan)->adaptive) {
        ck_assert_double_eq(run.report.t, 1);
        ck_assert_double_eq_tol(run.end[0] / 1e308, 1, 1e-14);
    }
    trajectory_done(&run);
}
END_TEST

START_TEST(non_finite_start_asks_for_nothing)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    plan.output_every_step = true;
    const double bad[2] = {0, (double)NAN};
    trajectory run;
    trajectory_run(&run, &plan, velocity_mixture, NULL, bad);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert_uint_eq(run.report.evaluations, 0);
    ck_assert_uint_eq(run.n_outputs, 0);
    trajectory_done(&run);
}
END_TEST

static void velocity_zero(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    (void)x;
    v[0] = v[1] = 0;
}

START_TEST(resting_point_stays_with_either_tolerance_zero)
{
    for (int which = 0; which < 2; which++) {
        fm_solve_plan plan = trajectory_plan(_i, true);
        if (trajectory_knows_path(&plan)) {
            return; /* no path has a velocity of 0 everywhere */
        }
        plan.solver.rtol = which ? 0 : 1e-8;
        plan.solver.atol = which ? 1e-8 : 0;
        const double x0[2] = {0, 7};
        trajectory run;
        trajectory_run(&run, &plan, velocity_zero, NULL, x0);
        ck_assert_int_eq(run.report.status, FM_ROW_OK);
        ck_assert_mem_eq(run.end, x0, sizeof x0);
        ck_assert_uint_lt(run.report.evaluations, 150);
        trajectory_done(&run);
    }
}
END_TEST

/* dx_i/dt = cos(3 t) - x_i / 2: the elements know nothing of each other. */
static void velocity_separate(void *context, double t, const double *x, double *v)
{
    size_t n = *(const size_t *)context;
    for (size_t i = 0; i < n; i++) {
        v[i] = cos(3 * t) - x[i] / 2;
    }
}

#define LONG 1029

START_TEST(element_has_the_same_bits_in_every_place_and_dimension)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (trajectory_method(&plan)->stochastic || plan.solver.method->stepper->implicit != NULL) {
        return; /* each place has its own noise; equations are solved for all elements together */
    }
    plan.solver.rtol = plan.solver.atol = 1e300; /* the same steps for all */
    plan.solver.first_step = 0.25;
    trajectory_ask_times(&plan, false);
    double x0[LONG];
    for (size_t i = 0; i < LONG; i++) {
        x0[i] = sin((double)i);
    }
    size_t n = LONG;
    plan.dimension = n;
    trajectory all, one;
    trajectory_run(&all, &plan, velocity_separate, &n, x0);
    const size_t dimensions[4] = {1, 7, 8, 300};
    for (size_t k = 0; k < 4; k++) {
        n = plan.dimension = dimensions[k];
        for (size_t first = 0; first + n <= LONG; first += 241) {
            trajectory_run(&one, &plan, velocity_separate, &n, x0 + first);
            ck_assert_mem_eq(one.end, all.end + first, n * sizeof(double));
            for (size_t i = 0; i < one.n_outputs; i++) {
                ck_assert_mem_eq(one.outputs + i * n, all.outputs + i * LONG + first,
                                 n * sizeof(double));
            }
            trajectory_done(&one);
        }
    }
    trajectory_done(&all);
}
END_TEST

static bool refuse_memory(void *context, size_t size_bytes)
{
    (void)size_bytes;
    ++*(int *)context;
    return false;
}

static void ignore_output(void *context, size_t index, double t, const double *x)
{
    (void)context;
    (void)index;
    (void)t;
    (void)x;
}

/* ret [2] is the end state. */
static void run_quietly(void *memory, const fm_solve_plan *plan, double *ret)
{
    fm_solve *solve = fm_solve_init(memory, plan, 0, trajectory_start, NULL);
    fm_solve_want want, again;
    while (fm_solve_next(solve, &want)) {
        ck_assert(fm_solve_next(solve, &again) && again.t == want.t && again.x == want.x &&
                  again.v == want.v);
        velocity_mixture(NULL, want.t, want.x, want.v);
        fm_solve_give(solve);
    }
    ck_assert(!fm_solve_next(solve, &want));
    fm_solve_report report;
    fm_solve_describe(solve, &report);
    ck_assert_int_eq(report.status, FM_ROW_OK);
    memcpy(ret, report.x, sizeof trajectory_start);
}

START_TEST(memory_is_reusable_and_nothing_is_allocated_inside)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    trajectory_ask_times(&plan, false);
    plan.output = ignore_output;
    size_t bytes = fm_solve_size_bytes(&plan);
    ck_assert_uint_eq(bytes % FM_ALIGNMENT, 0);
    unsigned char *memory = fm_alloc(bytes);
    ck_assert_ptr_nonnull(memory);
    double first[2], second[2];
    int asked = 0;
    fm_memory_set_hook(refuse_memory, &asked);
    run_quietly(memory, &plan, first);
    memset(memory, 0xff, bytes);
    run_quietly(memory, &plan, second);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_int_eq(asked, 0);
    ck_assert_mem_eq(first, second, sizeof first);
    fm_free(memory);
    plan.dimension = SIZE_MAX / 16;
    ck_assert_uint_eq(fm_solve_size_bytes(&plan), SIZE_MAX);
    plan.dimension = SIZE_MAX;
    ck_assert_uint_eq(fm_solve_size_bytes(&plan), SIZE_MAX);
}
END_TEST

START_TEST(ten_euler_steps_between_gaussians_are_the_known_affine_map)
{
    double grid[11], gaussian[2] = {2, 0.5};
    fm_grid_uniform(0, 1, 10, grid);
    fm_solve_plan plan = {
        .dimension = 1,
        .solver = {
            .method = fm_method_find("euler"), .grid = grid, .n_grid = 11, .max_evaluations = 10}};
    double zero = 0, one = 1;
    trajectory at_zero, at_one;
    trajectory_run(&at_zero, &plan, velocity_gaussian, gaussian, &zero);
    trajectory_run(&at_one, &plan, velocity_gaussian, gaussian, &one);
    ck_assert_double_eq_tol(at_zero.end[0], 2, 1e-14);
    ck_assert_double_eq_tol(at_one.end[0] - at_zero.end[0], 0.430782605, 5e-10);
    trajectory_done(&at_zero);
    trajectory_done(&at_one);
}
END_TEST

static void check_refused(fm_solve_plan plan, const char *field)
{
    fm_error err;
    ck_assert_msg(fm_solve_check(&plan, &err) == FM_EINVAL, "%s was accepted", field);
    ck_assert_msg(strncmp(err.text, field, strlen(field)) == 0, "%s: %s", field, err.text);
}

START_TEST(check_names_the_field_that_breaks_a_rule)
{
    static const double bent[3] = {0, 0.5, 0.4};
    static const double still[2] = {0.5, 0.5};
    static const double endless[2] = {0, (double)INFINITY};
    static const double late[2] = {0.5, 1.5};
    static const double unordered[2] = {0.5, 0.4};
    fm_solve_plan good = trajectory_plan(8, false);
    good.output = ignore_output;
    fm_error err;
    ck_assert_int_eq(fm_solve_check(&good, &err), FM_OK);
#define REFUSED(name, ...)                                                                         \
    do {                                                                                           \
        fm_solve_plan bad = good;                                                                  \
        __VA_ARGS__;                                                                               \
        check_refused(bad, name);                                                                  \
    } while (0)
    REFUSED("solver.method", bad.solver.method = NULL);
    REFUSED("dimension", bad.dimension = 0);
    REFUSED("solver.max_evaluations", bad.solver.max_evaluations = 0);
    REFUSED("solver.grid", bad.solver.n_grid = 1);
    REFUSED("solver.grid", bad.solver.grid = NULL);
    REFUSED("solver.grid", bad.solver.grid = bent; bad.solver.n_grid = 3);
    REFUSED("solver.grid", bad.solver.grid = still; bad.solver.n_grid = 2);
    REFUSED("solver.grid", bad.solver.grid = endless; bad.solver.n_grid = 2);
    REFUSED("solver.rtol", bad.solver.rtol = -1);
    REFUSED("solver.rtol", bad.solver.rtol = (double)NAN);
    REFUSED("solver.atol", bad.solver.atol = (double)INFINITY);
    REFUSED("solver.rtol and solver.atol", bad.solver.rtol = bad.solver.atol = 0);
    REFUSED("solver.first_step", bad.solver.first_step = -0.1);
    REFUSED("output_times", bad.output_times = late; bad.n_output_times = 2);
    REFUSED("output_times", bad.output_times = unordered; bad.n_output_times = 2);
    REFUSED("output_times", bad.n_output_times = 2);
    REFUSED("output_every_step", bad.output_times = trajectory_times; bad.n_output_times = 6;
            bad.output_every_step = true);
    REFUSED("output must", bad.output_every_step = true; bad.output = NULL);
#undef REFUSED
}
END_TEST

START_TEST(methods_are_found_by_the_names_they_have)
{
    ck_assert_uint_eq(fm_method_count(), 40);
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        ck_assert_ptr_eq(fm_method_find(fm_method_describe(method)->name), method);
        /* those of tests that loop over trajectory_method_count() */
        ck_assert_int_eq(fm_method_serves(method, NULL), (int)i < trajectory_method_count());
    }
    ck_assert_ptr_null(fm_method_find("rk5"));
    ck_assert_str_eq(fm_row_status_name(FM_ROW_OK), "ok");
    ck_assert_str_eq(fm_row_status_name(FM_ROW_MAX_EVALUATIONS), "max_evaluations");
    ck_assert_str_eq(fm_row_status_name(FM_ROW_NON_FINITE), "non_finite");
}
END_TEST

Suite *suite_engine_solve_solve(void)
{
    Suite *suite = suite_create("engine/solve_solve");
    TCase *methods = tcase_create("every method");
    int count = trajectory_method_count();
    tcase_add_loop_test(methods, no_evaluation_lies_outside_the_span_and_the_end_is_exact, 0,
                        count);
    tcase_add_loop_test(methods, outputs_hold_both_ends_exactly_and_change_nothing, 0, count);
    tcase_add_loop_test(
        methods, outputs_at_grid_points_are_the_states_there_up_to_rounding_of_the_time, 0, count);
    tcase_add_loop_test(methods, every_step_gives_the_first_state_and_each_accepted_end, 0, count);
    tcase_add_loop_test(methods, evaluations_are_those_declared, 0, count);
    tcase_add_loop_test(methods, other_methods_look_about_as_often_as_expected, 0, count);
    tcase_add_loop_test(methods, max_evaluations_ends_with_the_last_accepted_state, 0, count);
    tcase_add_loop_test(methods, max_evaluations_holds_for_the_evaluations_of_outputs_too, 0,
                        count);
    tcase_add_loop_test(methods, non_finite_velocity_ends_with_the_last_accepted_state, 0, count);
    tcase_add_loop_test(methods, overflow_ends_with_the_last_finite_state, 0, count);
    tcase_add_loop_test(methods, non_finite_start_asks_for_nothing, 0, count);
    tcase_add_loop_test(methods, resting_point_stays_with_either_tolerance_zero, 0, count);
    tcase_add_loop_test(methods, element_has_the_same_bits_in_every_place_and_dimension, 0, count);
    tcase_add_loop_test(methods, memory_is_reusable_and_nothing_is_allocated_inside, 0, count);
    suite_add_tcase(suite, methods);
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, ten_euler_steps_between_gaussians_are_the_known_affine_map);
    tcase_add_test(rules, check_names_the_field_that_breaks_a_rule);
    tcase_add_test(rules, methods_are_found_by_the_names_they_have);
    suite_add_tcase(suite, rules);
    return suite;
}
