/* engine/solve/schedule: families of time grids against their published numbers, and their rules. */
#include "engine/flow/path.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static fm_schedule schedule_of(const char *name, size_t n_steps)
{
    fm_schedule schedule = {.type = fm_schedule_type_find(name), .n_steps = n_steps};
    const char *parameter = NULL;
    ck_assert_ptr_nonnull(schedule.type);
    for (size_t i = 0;
         fm_schedule_type_parameter(schedule.type, i, &parameter, &schedule.parameters[i]); i++) {
    }
    return schedule;
}

static void make(const fm_schedule *schedule, double *ret)
{
    fm_error err = {0};
    fm_status status = fm_schedule_make(schedule, trajectory_path(), 0, 1, ret, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
}

/* The level 1 / t - 1 of a time of condot. */
START_TEST(edm_levels_of_18_steps_are_the_published_ones)
{
    double grid[19];
    fm_schedule schedule = schedule_of("edm", 18);
    make(&schedule, grid);
    ck_assert_double_eq(grid[0], 0); /* in place of 80, where the noise is drawn */
    ck_assert_double_eq_tol(1 / grid[1] - 1, 57.585985, 1e-6);
    ck_assert_double_eq_tol(1 / grid[9] - 1, 1.923340, 1e-6);
    ck_assert_double_eq_tol(1 / grid[16] - 1, 0.007528, 1e-6);
    ck_assert_double_eq_tol(1 / grid[17] - 1, 0.002, 1e-9);
    ck_assert_double_eq(grid[18], 1);
}
END_TEST

START_TEST(noise_levels_are_those_of_the_path)
{
    double grid[11];
    fm_error err = {0};
    fm_path path;
    const double parameters[FM_PATH_MAX_PARAMETERS] = {0.002, 80, 7};
    ck_assert_int_eq(fm_path_init(&path, fm_path_type_find("edm"), parameters, NULL, 1, &err),
                     FM_OK);
    fm_schedule schedule = schedule_of("edm", 10);
    ck_assert_int_eq(fm_schedule_make(&schedule, &path, 0, 1, grid, &err), FM_EINVAL);
    schedule.parameters[0] = 0.01; /* the path's own last level is no step before its end */
    ck_assert_int_eq(fm_schedule_make(&schedule, &path, 0, 1, grid, &err), FM_OK);
    ck_assert_double_eq_tol(fm_path_at(&path, grid[9]).sigma, 0.01, 1e-12);
}
END_TEST

START_TEST(linear_quadratic_of_50_steps_has_the_published_sigmas)
{
    double grid[51];
    static const size_t points[] = {0, 1, 25, 26, 49, 50};
    static const double sigmas[] = {1, 0.999, 0.975, 0.97248, 0.07548, 0};
    fm_schedule schedule = schedule_of("linear_quadratic", 50);
    make(&schedule, grid);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_double_eq_tol(1 - grid[points[i]], sigmas[i], 5e-6);
    }
}
END_TEST

START_TEST(shifts_compose_by_multiplication)
{
    double by_two[9], by_six[9];
    fm_schedule two = schedule_of("shift", 8), six = two;
    two.parameters[0] = 2;
    six.parameters[0] = 6;
    make(&two, by_two);
    make(&six, by_six);
    for (size_t i = 0; i <= 8; i++) {
        double sigma = 1 - by_two[i];
        ck_assert_double_eq_tol(3 * sigma / (1 + 2 * sigma), 1 - by_six[i], 1e-14);
    }
}
END_TEST

START_TEST(dynamic_shifts_move_the_middle_as_published)
{
    static const double lengths[] = {256, 1024, 4096}, sigmas[] = {0.622459, 0.652489, 0.759511};
    for (size_t i = 0; i < 3; i++) {
        double grid[3];
        fm_schedule schedule = schedule_of("dynamic_shift", 2);
        schedule.parameters[0] = lengths[i];
        make(&schedule, grid);
        ck_assert_double_eq_tol(1 - grid[1], sigmas[i], 1e-6);
    }
}
END_TEST

START_TEST(logit_normal_times_are_quantiles)
{
    double grid[5];
    fm_schedule schedule = schedule_of("logit_normal", 4);
    make(&schedule, grid);
    /* The quartiles of N(0, 1) are at +-0.6744897501960817. */
    ck_assert_double_eq_tol(grid[1], 1 / (1 + exp(0.6744897501960817)), 1e-15);
    ck_assert_double_eq(grid[2], 0.5);
    ck_assert_double_eq_tol(grid[3], 1 - grid[1], 1e-15);
    static double fine[10001];
    schedule = schedule_of("logit_normal", 10000);
    make(&schedule, fine);
    for (size_t i = 1; i < 10000; i++) {
        double x = log(fine[i] / (1 - fine[i]));
        ck_assert_double_eq_tol(erfc(-x / sqrt(2)) / 2, (double)i / 10000, 1e-13);
    }
}
END_TEST

START_TEST(cosine_and_sine_are_mirror_images)
{
    double cosine[8], sine[8];
    fm_schedule schedule = schedule_of("cosine", 7);
    make(&schedule, cosine);
    schedule = schedule_of("sine", 7);
    make(&schedule, sine);
    for (size_t i = 0; i <= 7; i++) {
        ck_assert_double_eq_tol(cosine[i], 1 - sine[7 - i], 1e-15);
    }
    ck_assert_double_eq_tol(cosine[1], 1 - cos(acos(-1) / 14), 1e-15);
}
END_TEST

static const char *const names[] = {"uniform",      "cosine",        "sine",
                                    "shift",        "dynamic_shift", "linear_quadratic",
                                    "logit_normal", "edm",           "exponential"};

START_TEST(every_grid_ascends_from_the_first_time_to_the_last)
{
    static double grid[1001];
    static const double spans[][2] = {{0, 1}, {0.001, 0.999}, {-1, 3}};
    static const size_t counts[] = {2, 3, 17, 1000};
    for (size_t i = 0; i < 12; i++) {
        const double *span = spans[i / 4];
        fm_schedule schedule = schedule_of(names[_i], counts[i % 4]);
        fm_error err = {0};
        if (isnan(schedule.parameters[0])) {
            schedule.parameters[0] = 777;
        }
        fm_status status =
            fm_schedule_make(&schedule, trajectory_path(), span[0], span[1], grid, &err);
        ck_assert_msg(status == FM_OK, "%s: %s", names[_i], err.text);
        ck_assert_double_eq(grid[0], span[0]);
        ck_assert_double_eq(grid[schedule.n_steps], span[1]);
        for (size_t k = 1; k <= schedule.n_steps; k++) {
            ck_assert_double_gt(grid[k], grid[k - 1]);
        }
    }
}
END_TEST

START_TEST(one_step_is_the_span)
{
    double grid[2];
    fm_schedule schedule = schedule_of(names[_i], 1);
    if (isnan(schedule.parameters[0])) {
        schedule.parameters[0] = 1024;
    }
    make(&schedule, grid);
    ck_assert_double_eq(grid[0], 0);
    ck_assert_double_eq(grid[1], 1);
}
END_TEST

static const struct {
    const char *name;
    double parameters[FM_SCHEDULE_MAX_PARAMETERS];
    const char *rule;
} broken[] = {
    {"shift", {0}, "shift must be above 0"},
    {"shift", {HUGE_VAL}, "shift must be finite"},
    {"dynamic_shift", {(double)NAN, 0.5, 1.15, 256, 4096}, "length is required for dynamic_shift"},
    {"dynamic_shift", {256, 0.5, 1.15, 256, 256}, "max_length must be above base_length"},
    {"dynamic_shift", {1e300, 0.5, 1.15, 256, 4096}, "length must not shift by more than e^30"},
    {"linear_quadratic", {0, 0}, "threshold must be between 0 and 1"},
    {"linear_quadratic", {0.025, 10}, "linear_steps must be an integer from 1 to steps - 1"},
    {"linear_quadratic", {0.025, 2.5}, "linear_steps must be an integer"},
    {"linear_quadratic", {0.9, 5}, "threshold must be at most linear_steps / steps"},
    {"logit_normal", {0, 0}, "std must be above 0"},
    {"edm", {0, 80, 7}, "sigma_min must be above 0"},
    {"edm", {2, 1, 7}, "sigma_max must be above sigma_min"},
    {"edm", {0.002, 80, 0}, "rho must be above 0"},
    {"exponential", {2, 1}, "sigma_max must be above sigma_min"},
    {"edm", {1e-300, 80, 7}, "its times must ascend within the span"},
};

START_TEST(broken_parameters_are_refused_with_the_rule)
{
    double grid[11];
    fm_error err = {0};
    fm_schedule schedule = schedule_of(broken[_i].name, 10);
    memcpy(schedule.parameters, broken[_i].parameters, sizeof schedule.parameters);
    ck_assert_int_eq(fm_schedule_make(&schedule, trajectory_path(), 0, 1, grid, &err), FM_EINVAL);
    ck_assert_msg(strstr(err.text, broken[_i].rule) != NULL, "%s", err.text);
}
END_TEST

Suite *suite_engine_solve_schedule(void)
{
    Suite *suite = suite_create("engine/solve_schedule");
    TCase *tcase = tcase_create("schedule");
    int count = (int)(sizeof names / sizeof *names);
    tcase_add_test(tcase, edm_levels_of_18_steps_are_the_published_ones);
    tcase_add_test(tcase, noise_levels_are_those_of_the_path);
    tcase_add_test(tcase, linear_quadratic_of_50_steps_has_the_published_sigmas);
    tcase_add_test(tcase, shifts_compose_by_multiplication);
    tcase_add_test(tcase, dynamic_shifts_move_the_middle_as_published);
    tcase_add_test(tcase, logit_normal_times_are_quantiles);
    tcase_add_test(tcase, cosine_and_sine_are_mirror_images);
    tcase_add_loop_test(tcase, every_grid_ascends_from_the_first_time_to_the_last, 0, count);
    tcase_add_loop_test(tcase, one_step_is_the_span, 0, count);
    tcase_add_loop_test(tcase, broken_parameters_are_refused_with_the_rule, 0,
                        (int)(sizeof broken / sizeof *broken));
    suite_add_tcase(suite, tcase);
    return suite;
}
