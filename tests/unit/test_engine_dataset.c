/* engine/network/dataset: against the reference, the plain formula and the continuity equation. */
#include "engine/flow/field.h"
#include "engine/memory.h"
#include "tests/support/network_case.h"
#include "tests/support/temp_folder.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static temp_folder folder;
static char points_file[] = "points.csv";

/* A folder with points.csv; N points in as many dimensions, given or made up. */
static void write_points(size_t n, size_t dimension, double *ret_points)
{
    temp_folder_make(&folder);
    FILE *file = fopen(temp_folder_file(&folder, points_file), "w");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < n * dimension; i++) {
        ret_points[i] = 2.0 * sin(1.0 + 2.3 * (double)i) + cos(0.7 * (double)(i * i % 97));
        (void)fprintf(file, "%.17g%c", ret_points[i], i % dimension + 1 == dimension ? '\n' : ',');
    }
    ck_assert_int_eq(fclose(file), 0);
}

static void remove_points(void)
{
    temp_folder_remove(&folder);
}

static fm_model_config config_of(const char *scheduler, size_t dimension)
{
    fm_model_config config = {.architecture = FM_ARCHITECTURE_DATASET,
                              .folder = folder.path,
                              .dimension = dimension,
                              .space = fm_space_euclidean(dimension),
                              .predictions.first.type = fm_prediction_type_find("velocity"),
                              .time_scale = 1,
                              .path = usual_path(scheduler, 1),
                              .dataset.file = points_file};
    return config;
}

static void open_config(network_case *it, const fm_model_config *config)
{
    fm_error err = {0};
    fm_status status = network_case_make(it, config, NULL, NULL, 0, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
}

static void eval_one(const network_case *it, const double *x, double t, double *u,
                     double *log_density)
{
    network_case_eval(it->network, 1, 1, x, &t, NULL, u, log_density);
}

START_TEST(the_reference_is_reproduced)
{
    network_case it;
    network_case_open(&it, "tests/golden/dataset-moons");
    fm_tensors *tensors = NULL;
    ck_assert_int_eq(
        fm_tensors_open("tests/golden/dataset-moons/network.safetensors", &tensors, NULL), FM_OK);
    size_t n = 0;
    double *x = network_case_tensor(tensors, "x", NULL);
    double *t = network_case_tensor(tensors, "t", &n);
    double *expected = network_case_tensor(tensors, "out", NULL);
    double out[2 * 32];
    ck_assert_uint_eq(n, 32);
    network_case_eval(it.network, n, 5, x, t, NULL, out, NULL);
    ck_assert_double_le(network_case_error(2 * n, out, expected), 1e-12);
    ck_assert_uint_eq(it.network->info.parameter_count, 400);
    free(expected);
    free(t);
    free(x);
    fm_tensors_close(tensors);
    network_case_close(&it);
}
END_TEST

/* The formulas as the file header has them, in one pass with known largest exponent. */
static void plain_formula(const double *points, size_t n, size_t d, const fm_path_point *at,
                          const double *x, double *u, double *log_density)
{
    double largest = -HUGE_VAL;
    double sum = 0;
    double mean[8] = {0};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < n; i++) {
            double square = 0;
            for (size_t j = 0; j < d; j++) {
                square += pow(x[j] - at->alpha * points[i * d + j], 2);
            }
            double exponent = -square / (2 * at->sigma * at->sigma);
            if (pass == 0) {
                largest = fmax(largest, exponent);
                continue;
            }
            sum += exp(exponent - largest);
            for (size_t j = 0; j < d; j++) {
                mean[j] += exp(exponent - largest) * points[i * d + j];
            }
        }
    }
    for (size_t j = 0; j < d; j++) {
        u[j] = at->d_sigma / at->sigma * x[j] +
               (at->d_alpha - at->alpha * at->d_sigma / at->sigma) * mean[j] / sum;
    }
    *log_density = largest + log(sum / (double)n) -
                   (double)d / 2 * log(2 * acos(-1.0) * at->sigma * at->sigma);
}

static const struct {
    size_t n, dimension;
    const char *scheduler;
    double source_std;
} shapes[] = {{1, 1, "condot", 1},  {63, 3, "condot", 1}, {64, 3, "vp", 1},
              {65, 3, "cosine", 2}, {1000, 5, "ve", 1},   {300, 2, "condot", 0.5}};

START_TEST(any_number_of_points_follows_the_plain_formula)
{
    size_t n = shapes[_i].n;
    size_t d = shapes[_i].dimension;
    double points[5000];
    write_points(n, d, points);
    fm_model_config config = config_of(shapes[_i].scheduler, d);
    config.path.source_std = shapes[_i].source_std;
    network_case it;
    open_config(&it, &config);
    for (double t = 0; t < 0.99; t += 0.11) {
        fm_path_point at = fm_path_at(&config.path, t);
        double x[5];
        for (size_t j = 0; j < d; j++) {
            x[j] = at.alpha * points[n / 2 * d + j] + 0.8 * at.sigma * cos((double)j + 9 * t);
        }
        double u[5];
        double expected[8];
        double log_density = 0;
        double expected_log_density = 0;
        eval_one(&it, x, t, u, &log_density);
        plain_formula(points, n, d, &at, x, expected, &expected_log_density);
        ck_assert_double_le(network_case_error(d, u, expected), 1e-11);
        ck_assert_double_eq_tol(log_density, expected_log_density, 1e-11);
    }
    network_case_close(&it);
    remove_points();
}
END_TEST

START_TEST(near_the_data_the_field_points_to_the_nearest_point)
{
    double points[200];
    write_points(100, 2, points);
    fm_model_config config = config_of("condot", 2);
    network_case it;
    open_config(&it, &config);
    const double t = 1 - 1e-6;
    const double x[2] = {points[84] * t + 1e-6, points[85] * t - 2e-6};
    double u[2];
    eval_one(&it, x, t, u, NULL);
    ck_assert_double_eq_tol(u[0], (points[84] - x[0]) / 1e-6, 1e-6);
    ck_assert_double_eq_tol(u[1], (points[85] - x[1]) / 1e-6, 1e-6);
    network_case_close(&it);
    remove_points();
}
END_TEST

static double continuity_residual(const network_case *it, const double *x, double t, double h)
{
    double u[2];
    double unused[2];
    double before = 0;
    double after = 0;
    eval_one(it, x, t, u, NULL);
    eval_one(it, x, t - h, unused, &before);
    eval_one(it, x, t + h, unused, &after);
    double residual = (after - before) / (2 * h);
    for (size_t i = 0; i < 2; i++) {
        double left[2] = {x[0], x[1]};
        double right[2] = {x[0], x[1]};
        double u_left[2];
        double u_right[2];
        left[i] -= h;
        right[i] += h;
        eval_one(it, left, t, u_left, &before);
        eval_one(it, right, t, u_right, &after);
        residual += (u_right[i] - u_left[i]) / (2 * h) + u[i] * (after - before) / (2 * h);
    }
    return residual;
}

START_TEST(the_field_moves_the_density_as_the_continuity_equation_says)
{
    double points[200];
    write_points(100, 2, points);
    fm_model_config config = config_of(_i == 0 ? "condot" : "vp", 2);
    config.path.source_std = 1.2;
    network_case it;
    open_config(&it, &config);
    for (double t = 0.1; t < 0.75; t += 0.15) {
        for (double angle = 0; angle < 6; angle += 0.9) {
            const double x[2] = {1.4 * cos(angle), 1.1 * sin(angle)};
            ck_assert_double_le(fabs(continuity_residual(&it, x, t, 1e-5)), 1e-5);
        }
    }
    network_case_close(&it);
    remove_points();
}
END_TEST

START_TEST(time_direction_and_scale_are_undone)
{
    double points[140];
    write_points(70, 2, points);
    fm_model_config config = config_of("condot", 2);
    network_case plain;
    open_config(&plain, &config);
    config.data_to_noise = true;
    config.time_scale = 1000;
    network_case mirrored;
    open_config(&mirrored, &config);
    fm_field field;
    fm_field_init(&field, &config);
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    for (double t = 0; t < 0.9; t += 0.0625) {
        const double x[2] = {0.7 - t, 0.2};
        double expected[2];
        double v[2];
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        eval_one(&plain, x, t, expected, NULL);
        fm_field_asks(&field, &condition, t, asks);
        eval_one(&mirrored, x, asks[0].t, v, NULL);
        fm_field_answer(&field, &condition, t, 2, x, &(fm_field_outputs){.out = v}, v, NULL);
        ck_assert_double_eq_tol(v[0], expected[0], 1e-10);
        ck_assert_double_eq_tol(v[1], expected[1], 1e-10);
    }
    network_case_close(&mirrored);
    network_case_close(&plain);
    remove_points();
}
END_TEST

START_TEST(where_there_is_no_noise_or_no_point_nothing_traps)
{
    double points[140];
    write_points(70, 2, points);
    fm_model_config config = config_of("condot", 2);
    network_case it;
    open_config(&it, &config);
    double u[2] = {0};
    eval_one(&it, points + 6, 1, u, NULL);
    ck_assert(!isfinite(u[0]));
    eval_one(&it, (double[]){NAN, 0}, 0.5, u, NULL);
    ck_assert(isnan(u[0]));
    eval_one(&it, (double[]){1e200, 0}, 0.5, u, NULL); /* its square overflows */
    ck_assert(isnan(u[0]));
    network_case_close(&it);
    remove_points();
}
END_TEST

START_TEST(points_of_another_dimension_are_refused_with_both_shapes)
{
    double points[140];
    write_points(70, 2, points);
    fm_model_config config = config_of("condot", 3);
    network_case it;
    fm_error err = {0};
    ck_assert_int_eq(network_case_make(&it, &config, NULL, NULL, 0, &err), FM_EFORMAT);
    ck_assert_msg(strstr(err.text, "[N, 3]") != NULL && strstr(err.text, "[70, 2]") != NULL &&
                      strstr(err.text, points_file) != NULL,
                  "%s", err.text);
    network_case_close(&it);
    remove_points();
    ck_assert_int_eq(network_case_make(&it, &config, NULL, NULL, 0, &err), FM_ENOTFOUND);
    network_case_close(&it);
}
END_TEST

Suite *suite_engine_dataset(void)
{
    Suite *suite = suite_create("engine/dataset");
    TCase *tcase = tcase_create("dataset");
    tcase_add_test(tcase, the_reference_is_reproduced);
    tcase_add_loop_test(tcase, any_number_of_points_follows_the_plain_formula, 0,
                        (int)(sizeof shapes / sizeof shapes[0]));
    tcase_add_test(tcase, near_the_data_the_field_points_to_the_nearest_point);
    tcase_add_loop_test(tcase, the_field_moves_the_density_as_the_continuity_equation_says, 0, 2);
    tcase_add_test(tcase, time_direction_and_scale_are_undone);
    tcase_add_test(tcase, where_there_is_no_noise_or_no_point_nothing_traps);
    tcase_add_test(tcase, points_of_another_dimension_are_refused_with_both_shapes);
    suite_add_tcase(suite, tcase);
    return suite;
}
