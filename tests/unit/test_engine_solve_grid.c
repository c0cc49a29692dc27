/* Time grids. */
#include "engine/fm.h"
#include "tests/unit/suites.h"

#include <stdint.h>

START_TEST(uniform_grid_has_n_steps_and_exact_ends)
{
    double grid[11];
    fm_grid_uniform(0, 1, 10, grid);
    for (int i = 0; i <= 10; i++) {
        ck_assert_double_eq(grid[i], i / 10.0);
    }
    fm_grid_uniform(0.95, 0.001, 7, grid);
    ck_assert_double_eq(grid[0], 0.95);
    ck_assert_double_eq(grid[7], 0.001);
    for (int i = 0; i < 7; i++) {
        ck_assert_double_eq_tol(grid[i + 1] - grid[i], (0.001 - 0.95) / 7, 1e-15);
    }
}
END_TEST

START_TEST(step_size_shortens_the_last_step)
{
    ck_assert_uint_eq(fm_grid_steps(0, 1, 0.15), 7);
    double grid[8];
    fm_grid_step_size(0, 1, 0.15, grid);
    ck_assert_double_eq(grid[1], 0.15);
    ck_assert_double_eq_tol(grid[6], 0.9, 1e-15);
    ck_assert_double_eq(grid[7], 1);
}
END_TEST

START_TEST(step_size_goes_backward_too)
{
    ck_assert_uint_eq(fm_grid_steps(1, 0, 0.4), 3);
    double grid[4];
    fm_grid_step_size(1, 0, 0.4, grid);
    ck_assert_double_eq(grid[0], 1);
    ck_assert_double_eq_tol(grid[2], 0.2, 1e-15);
    ck_assert_double_eq(grid[3], 0);
}
END_TEST

START_TEST(step_size_that_divides_the_span_up_to_rounding_leaves_no_sliver)
{
    for (size_t n = 1; n <= 3000; n++) {
        double size = 1.0 / (double)n;
        ck_assert_uint_eq(fm_grid_steps(0, 1, size), n);
        ck_assert_uint_eq(fm_grid_steps(0.3, 0.3 + 0.7 * (double)n, 0.7), n);
    }
    ck_assert_uint_eq(fm_grid_steps(0, 1, 0.333333333333), 3);
    ck_assert_uint_eq(fm_grid_steps(0, 1, 0.3333333), 4);
}
END_TEST

START_TEST(step_size_beyond_the_span_makes_one_step)
{
    ck_assert_uint_eq(fm_grid_steps(0, 1, 5), 1);
    ck_assert_uint_eq(fm_grid_steps(0, 1e-12, 1), 1);
    double grid[2];
    fm_grid_step_size(0, 1, 5, grid);
    ck_assert_double_eq(grid[0], 0);
    ck_assert_double_eq(grid[1], 1);
}
END_TEST

START_TEST(step_count_that_overflows_is_size_max)
{
    ck_assert_uint_eq(fm_grid_steps(0, 1, 1e-300), SIZE_MAX);
    ck_assert_uint_eq(fm_grid_steps(-1e300, 1e300, 1e-300), SIZE_MAX);
}
END_TEST

Suite *suite_engine_solve_grid(void)
{
    Suite *suite = suite_create("engine/solve_grid");
    TCase *grids = tcase_create("grids");
    tcase_add_test(grids, uniform_grid_has_n_steps_and_exact_ends);
    tcase_add_test(grids, step_size_shortens_the_last_step);
    tcase_add_test(grids, step_size_goes_backward_too);
    tcase_add_test(grids, step_size_that_divides_the_span_up_to_rounding_leaves_no_sliver);
    tcase_add_test(grids, step_size_beyond_the_span_makes_one_step);
    tcase_add_test(grids, step_count_that_overflows_is_size_max);
    suite_add_tcase(suite, grids);
    return suite;
}
