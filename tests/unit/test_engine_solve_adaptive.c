/* Adaptive methods: what they try first, how a step shrinks and grows, and where they stop. */
#include "engine/solve/method.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

/* The state at `end`, from 0 or 1, to twelve digits. */
static void exact_state(double first, double end, double *ret)
{
    double grid[2] = {first, end};
    fm_solve_plan plan = {.dimension = 2,
                          .solver = {.method = fm_method_find("dopri8"),
                                     .grid = grid,
                                     .n_grid = 2,
                                     .rtol = 1e-13,
                                     .atol = 1e-13,
                                     .max_evaluations = 100000}};
    memcpy(ret, trajectory_start, sizeof trajectory_start);
    if (first != end) {
        trajectory run;
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        memcpy(ret, run.end, sizeof trajectory_start);
        trajectory_done(&run);
    }
}

START_TEST(adaptive_outputs_are_accurate_inside_steps)
{
    for (int backward = 0; backward < 2; backward++) {
        fm_solve_plan plan = trajectory_plan(_i, backward);
        if (!trajectory_method(&plan)->adaptive) {
            return;
        }
        double times[101];
        fm_grid_uniform(backward, 1 - backward, 100, times);
        plan.output_times = times;
        plan.n_output_times = 101;
        trajectory run;
        trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
        ck_assert_uint_eq(run.n_outputs, 101);
        double largest = 0;
        for (size_t i = 0; i <= 100; i++) {
            double exact[2];
            exact_state(backward, times[i], exact);
            largest = fmax(largest, trajectory_distance(2, exact, run.outputs + 2 * i));
        }
        /* fehlberg2's error estimate does not weigh its middle slope, so its steps are longer. */
        bool is_loose = strcmp(trajectory_method(&plan)->name, "fehlberg2") == 0;
        ck_assert_msg(largest < (is_loose ? 1e-4 : 5e-5), "%s: %g", trajectory_method(&plan)->name,
                      largest);
        trajectory_done(&run);
    }
}
END_TEST

static void velocity_square(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    v[0] = x[0] * x[0];
    v[1] = 0;
}

/* x' = x^2 from 2 is infinite at t = 1/2. */
START_TEST(adaptive_method_ends_before_a_singularity)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    const double x0[2] = {2, 1};
    trajectory run;
    trajectory_run(&run, &plan, velocity_square, NULL, x0);
    ck_assert_int_ne(run.report.status, FM_ROW_OK);
    ck_assert_double_le(run.report.t, 0.5 + 1e-3);
    ck_assert(isfinite(run.end[0]));
    ck_assert_uint_le(run.report.evaluations, 10000);
    trajectory_done(&run);
}
END_TEST

/* A jump that grows the nearer one looks: no step over t = 1/2 is ever good enough. */
static void velocity_pole(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)x;
    v[0] = t < 0.5 ? 1 : 1 / ((t - 0.5) * (t - 0.5) + 1e-200);
    v[1] = 0;
}

/* Fehlberg's second-order pair does not weigh the slope in the middle: where that is 1e200, the new state is
 * so large that any error is within its tolerance. */
static bool weighs_every_slope(const fm_tableau *tableau)
{
    for (size_t i = 0; tableau->b != NULL && i < tableau->stages; i++) {
        if (tableau->b[i] != 0 && tableau->error[i] == 0) {
            return false;
        }
    }
    return true;
}

START_TEST(step_that_no_longer_moves_ends_the_trajectory)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive || !weighs_every_slope(plan.solver.method->tableau)) {
        return;
    }
    trajectory run;
    trajectory_run(&run, &plan, velocity_pole, NULL, trajectory_start);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert_double_le(run.report.t, 0.5 + 1e-15);
    ck_assert_uint_lt(run.report.evaluations, 2000);
    trajectory_done(&run);
}
END_TEST

static void velocity_jumping(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    double sign = x[0] == trajectory_start[0] ? 1 : -1;
    v[0] = v[1] = 1e3 * sign;
}

START_TEST(rejected_steps_shrink_however_near_the_end)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    const double short_grid[2] = {1 - 1e-15, 1};
    plan.solver.grid = short_grid;
    plan.solver.n_grid = 2;
    plan.solver.rtol = 0;
    plan.solver.atol = 1e-300;
    trajectory run;
    trajectory_run(&run, &plan, velocity_jumping, NULL, trajectory_start);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert_uint_lt(run.report.rejected, 20);
    trajectory_done(&run);
}
END_TEST

typedef struct watch {
    size_t n;
    double t[64], slope;
} watch;

/* A constant slope, or waves far too fast where the slope is 0; notes the first times asked for. */
static void velocity_watched(void *context, double t, const double *x, double *v)
{
    watch *seen = context;
    (void)x;
    if (seen->n < 64) {
        seen->t[seen->n++] = t;
    }
    v[0] = v[1] = seen->slope != 0 ? seen->slope : 1e9 * cos(1e4 * t);
}

START_TEST(probe_of_the_first_step_goes_a_hundredth_of_state_over_slope)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    const double x0[2] = {1, 1};
    watch seen = {.slope = 2};
    trajectory run;
    trajectory_run(&run, &plan, velocity_watched, &seen, x0);
    ck_assert_double_eq(seen.t[0], 0);
    ck_assert_double_eq_tol(seen.t[1], 0.005, 1e-15);
    trajectory_done(&run);
}
END_TEST

START_TEST(probe_stays_within_the_span_where_the_field_is_slow)
{
    for (int backward = 0; backward < 2; backward++) {
        fm_solve_plan plan = trajectory_plan(_i, backward);
        if (trajectory_knows_path(&plan)) {
            return; /* they take the velocity for one of their path */
        }
        const double x0[2] = {1e4, 1e4};
        watch seen = {.slope = 0.1};
        trajectory run;
        trajectory_run(&run, &plan, velocity_watched, &seen, x0);
        ck_assert_double_ge(run.earliest, 0);
        ck_assert_double_le(run.latest, 1);
        ck_assert_double_eq_tol(run.end[0], backward ? 1e4 - 0.1 : 1e4 + 0.1, 1e-9);
        trajectory_done(&run);
    }
}
END_TEST

START_TEST(step_with_a_huge_error_is_tried_again_at_a_fifth)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    plan.solver.first_step = 0.9;
    plan.solver.max_evaluations = 40;
    watch seen = {.slope = 0};
    trajectory run;
    trajectory_run(&run, &plan, velocity_watched, &seen, trajectory_start);
    size_t cost = (size_t)trajectory_method(&plan)->evaluations_per_step;
    ck_assert_double_eq_tol(seen.t[1 + cost] / seen.t[1], 0.2, 1e-12);
    trajectory_done(&run);
}
END_TEST

/* Still, but for an outburst in the first try of the first step; n counts calls, slope how many it takes. */
static void velocity_once_wild(void *context, double t, const double *x, double *v)
{
    watch *seen = context;
    (void)t;
    (void)x;
    bool wild = seen->n >= 1 && (double)seen->n <= seen->slope;
    v[0] = v[1] = wild ? 1e9 : 0;
    seen->n++;
}

START_TEST(step_after_a_rejected_one_is_no_longer)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    plan.solver.first_step = 0.5;
    plan.output_every_step = true;
    watch seen = {.slope = trajectory_method(&plan)->evaluations_per_step};
    trajectory run;
    trajectory_run(&run, &plan, velocity_once_wild, &seen, trajectory_start);
    ck_assert_uint_eq(run.report.rejected, 1);
    double step = run.output_times[1];
    ck_assert_double_lt(step, 0.5);
    ck_assert_double_eq_tol(run.output_times[2], 2 * step, 1e-12);
    ck_assert_double_eq(run.output_times[3], 1); /* growing again, by 10 at most */
    trajectory_done(&run);
}
END_TEST

START_TEST(first_step_below_the_rounding_of_t_still_moves)
{
    fm_solve_plan plan = trajectory_plan(_i, true);
    if (!trajectory_method(&plan)->adaptive) {
        return;
    }
    plan.solver.first_step = 1e-300;
    trajectory run;
    trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
    ck_assert_int_eq(run.report.status, FM_ROW_OK);
    trajectory_done(&run);
}
END_TEST

Suite *suite_engine_solve_adaptive(void)
{
    Suite *suite = suite_create("engine/solve_adaptive");
    TCase *methods = tcase_create("every method");
    int count = trajectory_method_count();
    tcase_add_loop_test(methods, adaptive_outputs_are_accurate_inside_steps, 0, count);
    tcase_add_loop_test(methods, adaptive_method_ends_before_a_singularity, 0, count);
    tcase_add_loop_test(methods, step_that_no_longer_moves_ends_the_trajectory, 0, count);
    tcase_add_loop_test(methods, rejected_steps_shrink_however_near_the_end, 0, count);
    tcase_add_loop_test(methods, probe_of_the_first_step_goes_a_hundredth_of_state_over_slope, 0,
                        count);
    tcase_add_loop_test(methods, probe_stays_within_the_span_where_the_field_is_slow, 0, count);
    tcase_add_loop_test(methods, step_with_a_huge_error_is_tried_again_at_a_fifth, 0, count);
    tcase_add_loop_test(methods, step_after_a_rejected_one_is_no_longer, 0, count);
    tcase_add_loop_test(methods, first_step_below_the_rounding_of_t_still_moves, 0, count);
    suite_add_tcase(suite, methods);
    return suite;
}
