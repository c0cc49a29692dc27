/* PnP-Flow on Gaussian data, where its mean is a linear recursion and the posterior is known. */
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/gaussian_pairs.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define MAX_STEPS 1000

/* Of one pair: the second is observed to be 1, so the exact posterior mean is (0.8, 1). */
static const double posterior[2] = {0.8, 1};

/* ret = t^2 S (t^2 S + (1 - t)^2 I)^-1 x with S = [[1, 0.8], [0.8, 1]]: the mean of D(t, t x + (1 - t) e) over e, which is
 * the proximal map of the prior. */
static void denoise_in_the_mean(double t, const double x[2], double ret[2])
{
    double precision[2];
    pairs_precision(t, precision);
    double a = precision[0] * x[0] + precision[1] * x[1];
    double b = precision[1] * x[0] + precision[0] * x[1];
    ret[0] = t * t * (a + 0.8 * b);
    ret[1] = t * t * (0.8 * a + b);
}

/* The mean of the state after steps at the grid's times. */
static void mean_after(const double *grid, size_t n_steps, double power, double x[2])
{
    for (size_t k = 0; k < n_steps; k++) {
        const double z[2] = {x[0], x[1] + pow(1 - grid[k], power) * (1 - x[1])};
        denoise_in_the_mean(grid[k], z, x);
    }
}

static double distance_after(size_t n_steps, double power)
{
    double grid[MAX_STEPS + 1], x[2] = {0, 1};
    fm_grid_uniform(0, 1, n_steps, grid);
    mean_after(grid, n_steps, power, x);
    return hypot(x[0] - posterior[0], x[1] - posterior[1]);
}

START_TEST(more_steps_come_closer_to_the_posterior_mean_and_to_the_observation)
{
    /* docs/solvers.md has these: the distance of the mean after 100 and after 1000 steps */
    static const struct {
        double power, after_100, after_1000;
    } known[] = {{0, 0.0462, 0.0086}, {0.5, 0.1066, 0.0275}, {1, 0.2653, 0.0991}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ck_assert_double_eq_tol(distance_after(100, known[i].power), known[i].after_100, 1e-4);
        ck_assert_double_eq_tol(distance_after(1000, known[i].power), known[i].after_1000, 1e-4);
    }
}
END_TEST

static fm_solve_plan pairs_plan(size_t n, const double *grid, size_t n_steps)
{
    return (fm_solve_plan){.dimension = 2 * n,
                           .path = trajectory_path(),
                           .inverse = pairs_inverse(n),
                           .seed = 3,
                           .solver = {.method = fm_method_find("pnp_flow"),
                                      .grid = grid,
                                      .n_grid = n_steps + 1,
                                      .sampling = FM_SAMPLING_DEFAULT,
                                      .max_evaluations = 1000000}};
}

#define COPIES ((size_t)4000)

START_TEST(mean_of_the_states_is_that_of_the_linear_recursion)
{
    static const double powers[] = {0, 0.5, 1, 2};
    static double x0[2 * COPIES];
    static trajectory run;
    double grid[51], mean[2] = {0.5, 1};
    size_t n = COPIES;
    fm_grid_uniform(0.1, 1, 50, grid); /* from where the start is not all lost */
    for (size_t i = 0; i < 2 * n; i++) {
        x0[i] = mean[i % 2];
    }
    fm_solve_plan plan = pairs_plan(n, grid, 50);
    plan.solver.sampling.pnp_power = powers[_i];
    trajectory_run(&run, &plan, velocity_pairs, &n, x0);
    ck_assert_uint_eq(run.report.evaluations, 250);
    mean_after(grid, 50, powers[_i], mean);
    for (size_t which = 0; which < 2; which++) {
        moments found = pairs_moments(run.end, n, which);
        /* four standard errors, up to 0.017 */
        ck_assert_double_eq_tol(found.mean, mean[which], 4 * sqrt(found.variance / (double)n));
    }
    trajectory_done(&run);
}
END_TEST

START_TEST(more_draws_make_the_spread_smaller_by_their_root)
{
    static double x0[2 * COPIES];
    double grid[21], spread[2];
    size_t n = COPIES;
    fm_grid_uniform(0, 1, 20, grid);
    fm_solve_plan plan = pairs_plan(n, grid, 20);
    for (size_t i = 0; i < 2; i++) {
        trajectory run;
        plan.solver.sampling.pnp_samples = i == 0 ? 2 : 18;
        trajectory_run(&run, &plan, velocity_pairs, &n, x0);
        ck_assert_uint_eq(run.report.evaluations, i == 0 ? 40 : 360);
        spread[i] = sqrt(pairs_moments(run.end, n, 0).variance);
        trajectory_done(&run);
    }
    ck_assert_double_eq_tol(spread[0] / spread[1], 3, 0.2); /* all is linear in the noise */
}
END_TEST

/* At a fixed time the steps contract to the posterior's mean for noise of variance s^2 = ((1 - t) / t)^2 / (1 - t)^a. */
START_TEST(steps_about_one_time_end_at_the_posterior_mean_of_a_noisy_observation)
{
    double x[2] = {-3, 5}, grid[MAX_STEPS], before = HUGE_VAL;
    const double t = 0.7, power = 0.5;
    double s2 = (1 - t) * (1 - t) / (t * t) / pow(1 - t, power);
    const double expected[2] = {0.8 / (1 + s2), 1 / (1 + s2)};
    for (size_t k = 0; k < 150; k++) {
        grid[0] = t;
        mean_after(grid, 1, power, x);
        double off = hypot(x[0] - expected[0], x[1] - expected[1]);
        ck_assert(off < before || off < 1e-14);
        before = off;
    }
    ck_assert_double_lt(before, 1e-12);
    /* and so do the states, on a grid that hardly moves, with many draws */
    static trajectory run;
    size_t n = 1000;
    static double x0[2000];
    for (size_t k = 0; k <= 40; k++) {
        grid[k] = t + 1e-9 * (double)k;
    }
    fm_solve_plan plan = pairs_plan(n, grid, 40);
    plan.solver.sampling.pnp_power = power;
    plan.solver.sampling.pnp_samples = 20;
    trajectory_run(&run, &plan, velocity_pairs, &n, x0);
    for (size_t which = 0; which < 2; which++) {
        moments found = pairs_moments(run.end, n, which);
        ck_assert_double_eq_tol(found.mean, expected[which],
                                4 * sqrt(found.variance / (double)n) + 1e-6);
    }
    trajectory_done(&run);
}
END_TEST

/* A matrix of norm 5 needs steps 25 times as short, else they would not converge. */
START_TEST(steps_are_as_long_as_the_operator_allows)
{
    const double row[2] = {3, 4}, y = 10, x0[2] = {0, 0};
    double grid[201];
    size_t n = 1;
    fm_operator forward;
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = row, .n_rows = 1};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find("matrix"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    const fm_inverse inverse = {.forward = &forward, .observations = &y, .n_observations = 1};
    fm_grid_uniform(0, 1, 200, grid);
    fm_solve_plan plan = pairs_plan(1, grid, 200);
    plan.inverse = &inverse;
    plan.solver.sampling.pnp_power = 0;
    plan.output_every_step = true;
    static trajectory run;
    trajectory_run(&run, &plan, velocity_pairs, &n, x0);
    double residual = fabs(3 * run.end[0] + 4 * run.end[1] - y);
    ck_assert_double_lt(residual, 0.01); /* seen: 0.0046 */
    double half_way = fabs(3 * run.outputs[200] + 4 * run.outputs[201] - y);
    ck_assert_double_gt(half_way, residual);
    trajectory_done(&run);
}
END_TEST

START_TEST(rules_of_the_method_are_named)
{
    fm_error err;
    const fm_solve_plan good = trajectory_plan(0, false);
    fm_operator other = {.dimension = 3};
    fm_inverse wrong = {.forward = &other};
    fm_solve_plan bad = good;
    bad.solver.method = fm_method_find("pnp_flow");
    ck_assert_int_eq(fm_solve_check(&bad, &err), FM_OK);
    const fm_inverse *const inverses[] = {NULL, &wrong};
    for (size_t i = 0; i < 2; i++) {
        bad.inverse = inverses[i];
        ck_assert_int_eq(fm_solve_check(&bad, &err), FM_EINVAL);
        ck_assert_ptr_eq(strstr(err.text, "inverse must be set for pnp_flow"), err.text);
    }
    bad.inverse = good.inverse;
    bad.solver.sampling.pnp_power = -1;
    ck_assert_int_eq(fm_solve_check(&bad, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "pnp_power"));
    bad.solver.sampling = FM_SAMPLING_DEFAULT;
    bad.solver.sampling.pnp_samples = 0;
    ck_assert_int_eq(fm_solve_check(&bad, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "pnp_samples"));
    bad.solver.sampling = FM_SAMPLING_DEFAULT;
    bad.measures_path = true;
    ck_assert_int_eq(fm_solve_check(&bad, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "measures_path"));
}
END_TEST

Suite *suite_engine_pnp_flow(void)
{
    Suite *suite = suite_create("engine/pnp_flow");
    TCase *tcase = tcase_create("pnp_flow");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, more_steps_come_closer_to_the_posterior_mean_and_to_the_observation);
    tcase_add_loop_test(tcase, mean_of_the_states_is_that_of_the_linear_recursion, 0, 4);
    tcase_add_test(tcase, more_draws_make_the_spread_smaller_by_their_root);
    tcase_add_test(tcase, steps_about_one_time_end_at_the_posterior_mean_of_a_noisy_observation);
    tcase_add_test(tcase, steps_are_as_long_as_the_operator_allows);
    tcase_add_test(tcase, rules_of_the_method_are_named);
    suite_add_tcase(suite, tcase);
    return suite;
}
