/* Replacement after steps: its law on a Gaussian, the states it leaves, and the methods that it goes with. */
#include "engine/inverse/replacement.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/gaussian_pairs.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static fm_replacement replacement; /* of the run under way */
static double *scratch;

static void replace(void *context, size_t step, double t, double *x)
{
    (void)context;
    fm_replacement_apply(&replacement, step, t, x, scratch);
}

static void begin(const fm_inverse *inverse, fm_solve_plan *plan)
{
    replacement = (fm_replacement){.inverse = inverse, .path = trajectory_path(), .seed = 11};
    scratch = fm_alloc_array(fm_replacement_scratch_size(inverse->forward), sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    plan->after_step = replace;
    plan->seed = 11;
}

/* ---- the law ---- */

#define FIRST 1e-3
#define LAST  (1 - 1e-3)

/* Mean and variance of the first number after n steps of Euler's method, or Euler-Maruyama's with D = 1 - t, while the
 * second has the law N(t, (1 - t)^2) at the start of each, independent of all before: exact, for all is linear. */
static moments replaced_law(size_t n, bool noisy)
{
    moments law = {.mean = 0, .variance = 1};
    for (size_t k = 0; k < n; k++) {
        double t = FIRST + (LAST - FIRST) * (double)k / (double)n;
        double h = (LAST - FIRST) / (double)n, diffusion = noisy ? 1 - t : 0;
        double drift[2], precision[2];
        pairs_velocity_matrix(t, drift);
        pairs_precision(t, precision);
        double own = drift[0] - diffusion * precision[0];
        double other = drift[1] - diffusion * precision[1];
        law.mean += h * (own * law.mean + other * t);
        law.variance = (1 + h * own) * (1 + h * own) * law.variance +
                       h * other * (1 - t) * h * other * (1 - t) + 2 * diffusion * h;
    }
    return law;
}

START_TEST(one_sided_replacement_gives_the_known_biased_law)
{
    moments stochastic = replaced_law(2000, true), deterministic = replaced_law(2000, false);
    /* docs/solvers.md has these; the exact posterior is N(0.8, 0.36) */
    ck_assert_double_eq_tol(stochastic.mean, 0.456, 5e-4);
    ck_assert_double_eq_tol(stochastic.variance, 0.515, 5e-4);
    ck_assert_double_eq_tol(deterministic.mean, 0.346, 5e-4);
    ck_assert_double_eq_tol(deterministic.variance, 0.599, 5e-4);
}
END_TEST

#define LAW_STEPS 200

/* 20,000 samples. */
START_TEST(samples_with_a_replaced_coordinate_have_the_law_of_the_linear_recursion)
{
    static double x0[2 * PAIRS_MAX];
    double grid[LAW_STEPS + 1];
    size_t n = PAIRS_MAX;
    bool noisy = _i == 1;
    fm_grid_uniform(FIRST, LAST, LAW_STEPS, grid);
    fm_rng_normal(1, 0, FM_RNG_SOURCE_NOISE, 0, 2 * n, x0);
    for (size_t i = 1; i < 2 * n; i += 2) {
        x0[i] = FIRST + (1 - FIRST) * x0[i]; /* as after a step */
    }
    fm_solve_plan plan = {.dimension = 2 * n,
                          .path = trajectory_path(),
                          .solver = {.method = fm_method_find(noisy ? "euler_maruyama" : "euler"),
                                     .grid = grid,
                                     .n_grid = LAW_STEPS + 1,
                                     .sampling = FM_SAMPLING_DEFAULT,
                                     .max_evaluations = LAW_STEPS}};
    plan.solver.sampling.diffusion.form = FM_DIFFUSION_LINEAR;
    plan.solver.sampling.last_step = FM_LAST_STEP_NOISE;
    begin(pairs_inverse(n), &plan);
    static trajectory run;
    trajectory_run(&run, &plan, velocity_pairs, &n, x0);
    ck_assert_int_eq(run.report.status, FM_ROW_OK);
    moments found = pairs_moments(run.end, n, 0), law = replaced_law(LAW_STEPS, noisy);
    /* four standard errors: 0.020 and 0.021 */
    double mean_error = sqrt(law.variance / (double)n);
    double variance_error = law.variance * sqrt(2 / (double)n);
    ck_assert_double_eq_tol(found.mean, law.mean, 4 * mean_error);
    ck_assert_double_eq_tol(found.variance, law.variance, 4 * variance_error);
    moments observed = pairs_moments(run.end, n, 1); /* N(0.999, 0.001^2) */
    ck_assert_double_eq_tol(observed.mean, LAST, 4e-3 / sqrt((double)n));
    ck_assert_double_eq_tol(observed.variance, 1e-6, 1e-7);
    trajectory_done(&run);
    fm_free(scratch);
}
END_TEST

/* ---- states ---- */

START_TEST(observed_part_of_each_output_is_the_path_of_the_observation)
{
    size_t n = 1;
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!fm_method_takes_replacement(plan.solver.method)) {
        return;
    }
    double start[2] = {0.3, -0.4}, ends[5];
    memcpy(ends, plan.solver.grid, sizeof ends);
    trajectory plain, run, asked;
    plan.output_every_step = true;
    plan.seed = 11;
    trajectory_run(&plain, &plan, velocity_pairs, &n, start);
    begin(pairs_inverse(1), &plan);
    trajectory_run(&run, &plan, velocity_pairs, &n, start);
    ck_assert_mem_eq(run.outputs, start, sizeof start);
    for (size_t k = 0; k < 4; k++) {
        double noise[2], t = ends[k + 1], *x = run.outputs + 2 * (k + 1);
        fm_rng_normal(11, 0, FM_RNG_REPLACEMENT, 2 * k, 2, noise);
        ck_assert_double_eq(x[1], t + (1 - t) * noise[1]);
    }
    ck_assert_double_eq(run.outputs[2], plain.outputs[2]); /* the other part, after one step */
    ck_assert_double_eq(run.end[1], 1);
    ck_assert_double_ne(run.end[0], plain.end[0]);
    plan.output_every_step = false; /* the same at asked times, whatever lies between them */
    double times[3] = {0.1, ends[2], 1};
    plan.output_times = times;
    plan.n_output_times = 3;
    trajectory_run(&asked, &plan, velocity_pairs, &n, start);
    ck_assert_mem_eq(asked.outputs + 2, run.outputs + 4, 2 * sizeof(double));
    ck_assert_mem_eq(asked.outputs + 4, run.end, 2 * sizeof(double));
    ck_assert_mem_eq(asked.end, run.end, 2 * sizeof(double));
    trajectory_done(&plain);
    trajectory_done(&run);
    trajectory_done(&asked);
    fm_free(scratch);
}
END_TEST

START_TEST(known_noise_of_the_observation_makes_the_change_smaller)
{
    fm_inverse noisy = *pairs_inverse(1);
    noisy.observation_std = 0.5;
    fm_solve_plan unused = {0};
    double x[2] = {3, 5};
    begin(&noisy, &unused);
    fm_replacement_apply(&replacement, 0, 1, x, scratch);
    ck_assert_double_eq(x[0], 3);
    ck_assert_double_eq_tol(x[1], 5 + (1 - 5) / 1.25, 1e-15);
    fm_free(scratch);
}
END_TEST

START_TEST(each_sample_has_its_own_observation_or_all_share_one)
{
    const double y[4] = {0, 7, 0, 8};
    fm_inverse inverse = *pairs_inverse(1);
    fm_solve_plan unused = {0};
    inverse.observations = y;
    for (size_t n = 1; n <= 2; n++) {
        double x[2] = {3, 5};
        inverse.n_observations = n;
        begin(&inverse, &unused);
        replacement.sample = 1;
        fm_replacement_apply(&replacement, 0, 1, x, scratch);
        ck_assert_double_eq(x[1], n == 1 ? 7 : 8);
        fm_free(scratch);
    }
}
END_TEST

/* ---- methods ---- */

static const double jump[2] = {0.7, 0.2};

static void jump_after_the_second(void *context, size_t step, double t, double *x)
{
    (void)context;
    (void)t;
    if (step == 1) {
        memcpy(x, jump, sizeof jump);
    }
}

START_TEST(a_changed_state_goes_on_as_if_it_had_started_there)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!fm_method_takes_replacement(plan.solver.method) || plan.solver.method->info.stochastic) {
        return;
    }
    trajectory changed, started;
    plan.after_step = jump_after_the_second;
    trajectory_run(&changed, &plan, velocity_mixture, NULL, trajectory_start);
    plan.after_step = NULL;
    plan.solver.grid += 2;
    plan.solver.n_grid -= 2;
    trajectory_run(&started, &plan, velocity_mixture, NULL, jump);
    ck_assert_mem_eq(changed.end, started.end, sizeof jump);
    trajectory_done(&changed);
    trajectory_done(&started);
}
END_TEST

START_TEST(methods_that_remember_are_refused_with_the_reason)
{
    static const struct {
        const char *name, *reason;
    } refused[] = {{"adaptive_heun", "step control"},
                   {"fehlberg2", "step control"},
                   {"bosh3", "step control"},
                   {"dopri5", "step control"},
                   {"tsit5", "step control"},
                   {"dopri8", "step control"},
                   {"explicit_adams", "again"},
                   {"implicit_adams", "again"},
                   {"dpmpp_2m", "again"},
                   {"dpmpp_3m", "again"},
                   {"unipc", "again"},
                   {"pnp_flow", "not one of the flow"}};
    size_t n = 0;
    for (size_t i = 0; i < (size_t)trajectory_method_count(); i++) {
        fm_error err;
        fm_solve_plan plan = trajectory_plan((int)i, false);
        const char *name = trajectory_method(&plan)->name;
        plan.after_step = replace;
        fm_status status = fm_solve_check(&plan, &err);
        ck_assert_int_eq(status == FM_OK, fm_method_takes_replacement(plan.solver.method));
        size_t k = 0;
        while (k < sizeof refused / sizeof *refused && strcmp(refused[k].name, name) != 0) {
            k++;
        }
        bool expected = k < sizeof refused / sizeof *refused;
        ck_assert_msg(expected == (status == FM_EINVAL), "%s", name);
        ck_assert_msg(!expected || strstr(err.text, refused[k].reason) != NULL, "%s", err.text);
        n += expected;
    }
    ck_assert_uint_eq(n, sizeof refused / sizeof *refused);
}
END_TEST

static void break_the_third(void *context, size_t step, double t, double *x)
{
    (void)context;
    (void)t;
    x[1] = step == 2 ? (double)INFINITY : x[1];
}

START_TEST(a_change_that_is_not_finite_ends_the_trajectory_before_it)
{
    fm_solve_plan plan = trajectory_plan(_i, false);
    if (!fm_method_takes_replacement(plan.solver.method)) {
        return;
    }
    trajectory run;
    plan.after_step = break_the_third;
    plan.output_every_step = true;
    trajectory_run(&run, &plan, velocity_mixture, NULL, trajectory_start);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert_uint_eq(run.report.accepted, 2);
    ck_assert_mem_eq(run.end, run.outputs + 4, 2 * sizeof(double));
    trajectory_done(&run);
}
END_TEST

START_TEST(a_path_with_jumps_is_not_measured)
{
    fm_error err;
    fm_solve_plan plan = trajectory_plan(0, false);
    plan.after_step = replace;
    plan.measures_path = true;
    ck_assert_int_eq(fm_solve_check(&plan, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "measures_path"));
}
END_TEST

Suite *suite_engine_replacement(void)
{
    Suite *suite = suite_create("engine/replacement");
    TCase *law = tcase_create("law");
    tcase_set_timeout(law, 60);
    tcase_add_test(law, one_sided_replacement_gives_the_known_biased_law);
    tcase_add_loop_test(
        law, samples_with_a_replaced_coordinate_have_the_law_of_the_linear_recursion, 0, 2);
    suite_add_tcase(suite, law);
    TCase *states = tcase_create("states");
    int count = trajectory_method_count();
    tcase_add_loop_test(states, observed_part_of_each_output_is_the_path_of_the_observation, 0,
                        count);
    tcase_add_test(states, known_noise_of_the_observation_makes_the_change_smaller);
    tcase_add_test(states, each_sample_has_its_own_observation_or_all_share_one);
    tcase_add_loop_test(states, a_changed_state_goes_on_as_if_it_had_started_there, 0, count);
    tcase_add_test(states, methods_that_remember_are_refused_with_the_reason);
    tcase_add_loop_test(states, a_change_that_is_not_finite_ends_the_trajectory_before_it, 0,
                        count);
    tcase_add_test(states, a_path_with_jumps_is_not_measured);
    suite_add_tcase(suite, states);
    return suite;
}
