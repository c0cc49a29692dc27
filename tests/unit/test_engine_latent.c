/* Latents joined two by two or drawn anew in part, and data that noise is added to. */
#include "engine/flow/path.h"
#include "engine/fm.h"
#include "engine/math/rng.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

START_TEST(an_interpolation_is_found_by_its_name)
{
    for (unsigned i = 0; i < FM_N_INTERPOLATIONS; i++) {
        ck_assert_int_eq(fm_interpolation_find(fm_interpolation_name((fm_interpolation)i)), i);
    }
    ck_assert_int_eq(fm_interpolation_find("cubic"), FM_N_INTERPOLATIONS);
}
END_TEST

/* Also of pairs that have no angle, or every great circle. */
START_TEST(every_interpolation_ends_in_the_latents_themselves)
{
    static const double pairs[][2][3] = {{{1, -2, 0.3}, {0.1, 0.7, -1e-3}},
                                         {{1, 2, 3}, {2, 4, 6}},
                                         {{1, 2, 3}, {-1, -2, -3}},
                                         {{0, 0, 0}, {1, 0, 2}},
                                         {{3e38, 3e38, -3e38}, {1, 0, 2}}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double ret[3];
        fm_interpolate((fm_interpolation)_i, 3, pairs[i][0], pairs[i][1], 0, ret);
        ck_assert_mem_eq(ret, pairs[i][0], sizeof ret);
        fm_interpolate((fm_interpolation)_i, 3, pairs[i][0], pairs[i][1], 1, ret);
        ck_assert_mem_eq(ret, pairs[i][1], sizeof ret);
        fm_interpolate((fm_interpolation)_i, 3, pairs[i][0], pairs[i][1], 0.25, ret);
        ck_assert(isfinite(ret[0]) && isfinite(ret[1]) && isfinite(ret[2]));
    }
}
END_TEST

/* Equal weights are equal angles, at the same radius: 1e-11 is allowed, 2e-12 seen, of nearly opposite vectors, whose
 * sines are small. */
START_TEST(slerp_follows_a_great_circle)
{
    static const double angles[] = {1e-7, 0.01, 1, PI / 2, 3, PI - 1e-4};
    double a[2] = {2, 0}, theta = angles[_i];
    double b[2] = {2 * cos(theta), 2 * sin(theta)};
    for (size_t k = 0; k <= 8; k++) {
        double weight = (double)k / 8, ret[2];
        fm_interpolate(FM_INTERPOLATION_SLERP, 2, a, b, weight, ret);
        ck_assert_double_eq_tol(hypot(ret[0], ret[1]), 2, 1e-11);
        ck_assert_double_eq_tol(atan2(ret[1], ret[0]), weight * theta, 1e-11);
    }
}
END_TEST

START_TEST(slerp_of_nearly_parallel_latents_is_linear)
{
    const double a[3] = {1, 2, -3}, b[3] = {1.5, 3, -4.5 + 1e-12};
    double ret[3];
    fm_interpolate(FM_INTERPOLATION_SLERP, 3, a, b, 0.25, ret);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_double_eq(ret[i], 0.75 * a[i] + 0.25 * b[i]);
    }
}
END_TEST

#define MANY 20000

static double mean_square(const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < MANY; i++) {
        sum += x[i] * x[i];
    }
    return sum / MANY;
}

/* Of 20 000 normals the mean square has the standard error sqrt(2 / 20000) = 0.01; 4 are allowed, 0.3 seen. */
START_TEST(slerp_and_variance_preserving_keep_the_variance_and_linear_does_not)
{
    static double a[MANY], b[MANY], ret[MANY];
    fm_rng_normal(3, 0, FM_RNG_SOURCE_NOISE, 0, MANY, a);
    fm_rng_normal(3, 1, FM_RNG_SOURCE_NOISE, 0, MANY, b);
    fm_interpolate(FM_INTERPOLATION_VARIANCE_PRESERVING, MANY, a, b, 0.3, ret);
    ck_assert_double_eq_tol(mean_square(ret), 1, 0.04);
    fm_interpolate(FM_INTERPOLATION_SLERP, MANY, a, b, 0.3, ret);
    ck_assert_double_eq_tol(mean_square(ret), 1, 0.04);
    fm_interpolate(FM_INTERPOLATION_LINEAR, MANY, a, b, 0.3, ret);
    ck_assert_double_eq_tol(mean_square(ret), 0.58, 0.04);
}
END_TEST

START_TEST(a_share_of_a_latent_is_drawn_anew_with_the_rows_own_noise)
{
    const double shares[] = {0, 0.6, 1};
    const double x[5] = {1, -2, 3, 0.5, -0.25};
    fm_path path = usual_path("ve", 2);
    double sigma = fm_path_at(&path, 0).sigma, noise[5];
    fm_rng_normal(7, 4, FM_RNG_SOURCE_NOISE, 0, 5, noise);
    for (size_t k = 0; k < 3; k++) {
        double ret[5], share = shares[k];
        memcpy(ret, x, sizeof ret);
        fm_latent_renew(&path, 0, 7, 4, share, 5, ret);
        for (size_t i = 0; i < 5; i++) {
            double expected = sqrt(1 - share * share) * x[i] + share * sigma * noise[i];
            ck_assert_double_eq_tol(ret[i], expected, 1e-13 * sigma);
        }
        ck_assert(share > 0 || memcmp(ret, x, sizeof ret) == 0);
    }
}
END_TEST

/* ---- data with noise ---- */

static engine_case test;

#define N_ROWS 100

static fm_job_spec spec_of(const double *grid, const double *x)
{
    return (fm_job_spec){.task = FM_TASK_SAMPLE,
                         .model = test.model,
                         .n_rows = N_ROWS,
                         .seed = 11,
                         .guidance = {.scale = 1},
                         .x = x,
                         .adds_noise = x != NULL,
                         .output_times = grid,
                         .n_output_times = 1,
                         .fields = FM_FIELD_BIT(FM_FIELD_X),
                         .solver = {.method = fm_method_find("midpoint"),
                                    .grid = grid,
                                    .n_grid = 2,
                                    .max_evaluations = 1000}};
}

static void make_data(double *ret)
{
    for (size_t i = 0; i < 2 * N_ROWS; i++) {
        ret[i] = (double)i - 77.25;
    }
}

START_TEST(data_with_noise_at_the_source_is_drawn_noise_bit_for_bit)
{
    engine_case_open(&test, "tests/golden/gaussian-mixture-2d", 2);
    static const double grid[] = {0, 1};
    double x[2 * N_ROWS];
    make_data(x);
    fm_job_spec from_data = spec_of(grid, x), from_noise = spec_of(grid, NULL);
    fm_job *a = engine_case_run(test.engine, &from_data),
           *b = engine_case_run(test.engine, &from_noise);
    for (size_t i = 0; i < N_ROWS; i++) {
        fm_row_result left, right;
        fm_job_row(a, i, &left);
        fm_job_row(b, i, &right);
        ck_assert_mem_eq(left.x, right.x, 2 * sizeof(float));
        ck_assert_mem_eq(left.fields[FM_FIELD_X], right.fields[FM_FIELD_X], 2 * sizeof(float));
    }
    fm_job_free(a);
    fm_job_free(b);
    engine_case_close(&test);
}
END_TEST

START_TEST(data_with_noise_lies_on_the_path)
{
    engine_case_open(&test, "tests/golden/gaussian-mixture-2d", 2);
    static const double grid[] = {0.75, 1};
    double x[2 * N_ROWS], noise[2];
    make_data(x);
    fm_path path = usual_path("cosine", 1);
    fm_path_point at = fm_path_at(&path, grid[0]);
    fm_job_spec spec = spec_of(grid, x);
    spec.path = &path;
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_ROWS; i++) {
        fm_row_result row;
        fm_job_row(job, i, &row);
        fm_rng_normal(spec.seed, i, FM_RNG_SOURCE_NOISE, 0, 2, noise);
        for (size_t k = 0; k < 2; k++) {
            float expected = (float)(at.alpha * x[2 * i + k] + at.sigma * noise[k]);
            ck_assert_float_eq_tol(row.fields[FM_FIELD_X][k], expected, 1e-5f);
        }
    }
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

START_TEST(noise_is_added_to_data_alone_and_on_the_path)
{
    engine_case_open(&test, "tests/golden/gaussian-mixture-2d", 2);
    static const double beyond[] = {-0.5, 1}, grid[] = {0.5, 1};
    double x[2 * N_ROWS];
    make_data(x);
    fm_error err;
    fm_job *job = NULL;
    fm_job_spec spec = spec_of(beyond, x);
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    spec = spec_of(grid, x);
    spec.x = NULL;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    spec = spec_of(grid, x);
    spec.draws = 1;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    engine_case_close(&test);
}
END_TEST

Suite *suite_engine_latent(void)
{
    Suite *suite = suite_create("engine/latent");
    TCase *tcase = tcase_create("latents");
    tcase_add_test(tcase, an_interpolation_is_found_by_its_name);
    tcase_add_loop_test(tcase, every_interpolation_ends_in_the_latents_themselves, 0,
                        FM_N_INTERPOLATIONS);
    tcase_add_loop_test(tcase, slerp_follows_a_great_circle, 0, 6);
    tcase_add_test(tcase, slerp_of_nearly_parallel_latents_is_linear);
    tcase_add_test(tcase, slerp_and_variance_preserving_keep_the_variance_and_linear_does_not);
    tcase_add_test(tcase, a_share_of_a_latent_is_drawn_anew_with_the_rows_own_noise);
    tcase_add_test(tcase, data_with_noise_at_the_source_is_drawn_noise_bit_for_bit);
    tcase_add_test(tcase, data_with_noise_lies_on_the_path);
    tcase_add_test(tcase, noise_is_added_to_data_alone_and_on_the_path);
    suite_add_tcase(suite, tcase);
    return suite;
}
