/* engine/network/gaussian_mixture: against the reference, closed forms by hand and the continuity equation. */
#include "engine/flow/field.h"
#include "engine/memory.h"
#include "tests/support/network_case.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Three Gaussians in two dimensions; weights that do not sum to 1. */
static double weights[3] = {1.0, 0.6, 0.4};
static double means[6] = {2.0, 0.0, -1.0, 1.5, -0.5, -2.0};
static double stds[3] = {0.4, 0.6, 0.25};

static fm_model_config config_of(const char *scheduler)
{
    return (fm_model_config){.architecture = FM_ARCHITECTURE_GAUSSIAN_MIXTURE,
                             .dimension = 2,
                             .space = fm_space_euclidean(2),
                             .predictions.first.type = fm_prediction_type_find("velocity"),
                             .time_scale = 1,
                             .path = usual_path(scheduler, 1),
                             .gaussian_mixture.mixture = {3, weights, means, stds, 0}};
}

static void open_config(network_case *it, const fm_model_config *config)
{
    fm_error err = {0};
    fm_status status = network_case_make(it, config, NULL, NULL, 0, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
}

static void eval_one(const network_case *it, const double *x, double t, double label, double *u,
                     double *log_density)
{
    network_case_eval(it->network, 1, 1, x, &t, &label, u, log_density);
}

START_TEST(the_reference_is_reproduced_with_its_log_densities)
{
    network_case it;
    network_case_open(&it, "tests/golden/gaussian-mixture-2d");
    fm_tensors *tensors = NULL;
    ck_assert_int_eq(
        fm_tensors_open("tests/golden/gaussian-mixture-2d/network.safetensors", &tensors, NULL),
        FM_OK);
    size_t n = 0;
    double *x = network_case_tensor(tensors, "x", NULL);
    double *t = network_case_tensor(tensors, "t", &n);
    double *out = network_case_tensor(tensors, "out", NULL);
    double *log_density = network_case_tensor(tensors, "log_density", NULL);
    double ours[2 * 64];
    double our_log_density[64];
    ck_assert_uint_eq(n, 64);
    network_case_eval(it.network, n, 7, x, t, NULL, ours, our_log_density);
    ck_assert_double_le(network_case_error(2 * n, ours, out), 1e-12);
    ck_assert_double_le(network_case_error(n, our_log_density, log_density), 1e-12);
    ck_assert(it.network->info.has_log_density);
    free(log_density);
    free(out);
    free(t);
    free(x);
    fm_tensors_close(tensors);
    network_case_close(&it);
}
END_TEST

START_TEST(one_gaussian_to_another_is_the_affine_field)
{
    double one[1] = {1};
    double m = 2;
    double s = 0.5;
    fm_model_config config = config_of("condot");
    config.dimension = 1;
    config.space = fm_space_euclidean(1);
    config.gaussian_mixture.mixture = (fm_mixture_config){1, one, &m, &s, 0};
    network_case it;
    open_config(&it, &config);
    for (double t = 0; t <= 1; t += 0.125) {
        for (double x = -3; x <= 3; x += 0.75) {
            double variance = (1 - t) * (1 - t) + s * s * t * t;
            double u = 0;
            double log_density = 0;
            eval_one(&it, &x, t, 0, &u, &log_density);
            double expected = m + (s * s * t - (1 - t)) / variance * (x - t * m);
            ck_assert_double_eq_tol(u, expected, 1e-13);
            expected =
                -0.5 * (log(2 * acos(-1.0) * variance) + (x - t * m) * (x - t * m) / variance);
            ck_assert_double_eq_tol(log_density, expected, 1e-13);
        }
    }
    network_case_close(&it);
}
END_TEST

/* Ten Euler steps are x -> A x + B with the known A and B. */
START_TEST(ten_euler_steps_between_gaussians_are_the_known_affine_map)
{
    double one[1] = {1};
    double m = 2;
    double s = 0.5;
    fm_model_config config = config_of("condot");
    config.dimension = 1;
    config.space = fm_space_euclidean(1);
    config.gaussian_mixture.mixture = (fm_mixture_config){1, one, &m, &s, 0};
    network_case it;
    open_config(&it, &config);
    double ends[2];
    for (int i = 0; i < 2; i++) {
        double x = i;
        for (int step = 0; step < 10; step++) {
            double u = 0;
            eval_one(&it, &x, step / 10.0, 0, &u, NULL);
            x += 0.1 * u;
        }
        ends[i] = x;
    }
    ck_assert_double_eq_tol(ends[0], 2.0, 1e-12);
    ck_assert_double_eq_tol(ends[1] - ends[0], 0.430782605, 5e-10);
    network_case_close(&it);
}
END_TEST

/* Classes N(1.5, 0.4^2) and, for null, N(0, 1.2^2), guided with w = 3 end as N(1.833333, 0.044444^2). */
START_TEST(guided_gaussians_end_in_the_known_gaussian)
{
    double one[1] = {1};
    double m = 1.5;
    double zero = 0;
    double s = 0.4;
    double wide = 1.2;
    fm_mixture_config class = {1, one, &m, &s, 0};
    fm_model_config config = config_of("condot");
    config.dimension = 1;
    config.space = fm_space_euclidean(1);
    config.has_labels = config.has_null_label = true;
    config.label_count = config.null_label = 1;
    config.gaussian_mixture.mixture = (fm_mixture_config){1, one, &zero, &wide, 0};
    config.gaussian_mixture.classes = &class;
    config.gaussian_mixture.n_classes = 1;
    network_case it;
    open_config(&it, &config);
    fm_field field;
    fm_field_init(&field, &config);
    fm_condition condition = {.label = 0, .guidance = &(fm_guidance){.scale = 3}};
    double ends[2];
    const int n_steps = 4000;
    for (int i = 0; i < 2; i++) {
        double x = i;
        for (int step = 0; step < n_steps; step++) {
            double v[2];
            double at = x;
            for (int half = 0; half < 2; half++) { /* midpoint */
                fm_field_ask asks[FM_FIELD_MAX_ROWS];
                ck_assert_uint_eq(
                    fm_field_asks(&field, &condition, (step + 0.5 * half) / n_steps, asks), 2);
                eval_one(&it, &at, asks[0].t, asks[0].label, &v[0], NULL);
                eval_one(&it, &at, asks[1].t, asks[1].label, &v[1], NULL);
                fm_field_answer(&field, &condition, (step + 0.5 * half) / n_steps, 1, &at,
                                &(fm_field_outputs){.out = &v[0], .others = &v[1]}, &v[0], NULL);
                at = x + 0.5 / n_steps * v[0];
            }
            x += v[0] / n_steps;
        }
        ends[i] = x;
    }
    ck_assert_double_eq_tol(ends[0], 1.833333, 1e-5);
    ck_assert_double_eq_tol(ends[1] - ends[0], 0.044444, 1e-5);
    network_case_close(&it);
}
END_TEST

static const char *const schedulers[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                         "cosine", "ve",         "edm", "target"};
#define N_SCHEDULERS ((int)(sizeof schedulers / sizeof schedulers[0]))

/* d log p / dt + div u + u . grad log p, by central differences of t and x. */
static double continuity_residual(const network_case *it, const double *x, double t, double h)
{
    double u[2];
    double unused[2];
    double before = 0;
    double after = 0;
    eval_one(it, x, t, 0, u, NULL);
    eval_one(it, x, t - h, 0, unused, &before);
    eval_one(it, x, t + h, 0, unused, &after);
    double residual = (after - before) / (2 * h);
    for (size_t i = 0; i < 2; i++) {
        double left[2] = {x[0], x[1]};
        double right[2] = {x[0], x[1]};
        double u_left[2];
        double u_right[2];
        left[i] -= h;
        right[i] += h;
        eval_one(it, left, t, 0, u_left, &before);
        eval_one(it, right, t, 0, u_right, &after);
        residual += (u_right[i] - u_left[i]) / (2 * h) + u[i] * (after - before) / (2 * h);
    }
    return residual;
}

START_TEST(the_field_moves_the_density_as_the_continuity_equation_says)
{
    fm_model_config config = config_of(schedulers[_i]);
    config.path.source_std = 1.3;
    network_case it;
    open_config(&it, &config);
    for (double t = 0.1; t < 0.95; t += 0.2) {
        for (double angle = 0; angle < 6; angle += 0.9) {
            const double x[2] = {1.4 * cos(angle), 1.1 * sin(angle)};
            ck_assert_double_le(fabs(continuity_residual(&it, x, t, 1e-5)), 2e-6);
        }
    }
    network_case_close(&it);
}
END_TEST

START_TEST(fields_are_finite_from_the_source_to_the_data_and_far_out)
{
    fm_model_config config = config_of(schedulers[_i]);
    network_case it;
    open_config(&it, &config);
    const double times[] = {0, 1e-9, 0.5, 1 - 1e-9, 1};
    const double points[][2] = {{0, 0}, {2, 0}, {1e3, -1e3}, {1e100, 0}};
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 4; j++) {
            double u[2];
            double log_density = 0;
            eval_one(&it, points[j], times[i], 0, u, &log_density);
            ck_assert_msg(isfinite(u[0]) && isfinite(u[1]), "%s t = %g", schedulers[_i], times[i]);
            ck_assert(j == 3 || isfinite(log_density));
        }
    }
    network_case_close(&it);
}
END_TEST

START_TEST(points_that_are_not_finite_give_what_is_not_finite)
{
    fm_model_config config = config_of("condot");
    network_case it;
    open_config(&it, &config);
    double u[2];
    eval_one(&it, (double[]){NAN, 0}, 0.5, 0, u, NULL);
    ck_assert(!isfinite(u[0]));
    eval_one(&it, (double[]){INFINITY, 0}, 0.5, 0, u, NULL);
    ck_assert(!isfinite(u[0]));
    network_case_close(&it);
}
END_TEST

START_TEST(labels_choose_classes_and_the_null_label_the_whole)
{
    fm_mixture_config classes[2] = {{1, weights, means, stds, 0},
                                    {2, weights + 1, means + 2, stds + 1, 0}};
    fm_model_config config = config_of("condot");
    config.gaussian_mixture.classes = classes;
    config.gaussian_mixture.n_classes = 2;
    network_case labelled;
    open_config(&labelled, &config);
    ck_assert_uint_eq(labelled.network->info.parameter_count, 6 * 4);
    const double x[2] = {0.3, -0.4};
    for (int label = 0; label < 3; label++) {
        fm_model_config alone = config_of("condot");
        if (label < 2) {
            alone.gaussian_mixture.mixture = classes[label];
        }
        network_case it;
        open_config(&it, &alone);
        double u[2];
        double expected[2];
        double log_density = 0;
        double expected_log_density = 0;
        eval_one(&labelled, x, 0.6, label, u, &log_density);
        eval_one(&it, x, 0.6, 0, expected, &expected_log_density);
        ck_assert_mem_eq(u, expected, sizeof u);
        ck_assert_double_eq(log_density, expected_log_density);
        network_case_close(&it);
    }
    network_case_close(&labelled);
}
END_TEST

START_TEST(weights_count_by_their_shares)
{
    double shares[3] = {0.5, 0.3, 0.2};
    fm_model_config config = config_of("condot");
    network_case it;
    open_config(&it, &config);
    config.gaussian_mixture.mixture.weights = shares;
    network_case normalised;
    open_config(&normalised, &config);
    double u[2];
    double log_density = 0;
    double expected = 1;
    eval_one(&it, (double[]){0.3, 0.2}, 0.8, 0, u, &log_density);
    eval_one(&normalised, (double[]){0.3, 0.2}, 0.8, 0, u, &expected);
    ck_assert_double_eq_tol(log_density, expected, 1e-14);
    network_case_close(&normalised);
    network_case_close(&it);
}
END_TEST

/* Whatever flow.time says, the field around the network is the same canonical one. */
START_TEST(time_direction_and_scale_are_undone)
{
    fm_model_config config = config_of("cosine");
    network_case plain;
    open_config(&plain, &config);
    config.data_to_noise = true;
    config.time_scale = 1000;
    network_case mirrored;
    open_config(&mirrored, &config);
    fm_field field;
    fm_field_init(&field, &config);
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    for (double t = 0; t <= 1; t += 0.0625) {
        const double x[2] = {0.7 - t, 0.2};
        double expected[2];
        double v[2];
        double log_density[2];
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        eval_one(&plain, x, t, 0, expected, &log_density[0]);
        fm_field_asks(&field, &condition, t, asks);
        eval_one(&mirrored, x, asks[0].t, 0, v, &log_density[1]);
        fm_field_answer(&field, &condition, t, 2, x, &(fm_field_outputs){.out = v}, v, NULL);
        ck_assert_double_eq_tol(v[0], expected[0], 1e-12);
        ck_assert_double_eq_tol(v[1], expected[1], 1e-12);
        ck_assert_double_eq_tol(log_density[1], log_density[0], 1e-12);
    }
    network_case_close(&mirrored);
    network_case_close(&plain);
}
END_TEST

static bool fail_when_zero(void *context, size_t size_bytes)
{
    (void)size_bytes;
    size_t *left = context;
    if (*left == 0) {
        return false;
    }
    *left -= 1;
    return true;
}

START_TEST(a_failed_allocation_is_reported_and_leaks_nothing)
{
    fm_mixture_config classes[2] = {{1, weights, means, stds, 0}, {2, weights, means, stds, 0}};
    fm_model_config config = config_of("condot");
    config.gaussian_mixture.classes = classes;
    config.gaussian_mixture.n_classes = 2;
    fm_status status = FM_ENOMEM;
    size_t k = 0;
    for (; status != FM_OK; k++) {
        size_t left = k;
        network_case it;
        fm_memory_set_hook(fail_when_zero, &left);
        status = network_case_make(&it, &config, NULL, NULL, 0, NULL);
        fm_memory_set_hook(NULL, NULL);
        ck_assert(status == FM_OK || status == FM_ENOMEM);
        network_case_close(&it);
    }
    ck_assert_uint_eq(k, 2 + 3 * 3 + 1);
}
END_TEST

Suite *suite_engine_gaussian_mixture(void)
{
    Suite *suite = suite_create("engine/gaussian_mixture");
    TCase *tcase = tcase_create("gaussian_mixture");
    tcase_add_test(tcase, the_reference_is_reproduced_with_its_log_densities);
    tcase_add_test(tcase, one_gaussian_to_another_is_the_affine_field);
    tcase_add_test(tcase, ten_euler_steps_between_gaussians_are_the_known_affine_map);
    tcase_add_test(tcase, guided_gaussians_end_in_the_known_gaussian);
    tcase_add_loop_test(tcase, the_field_moves_the_density_as_the_continuity_equation_says, 0,
                        N_SCHEDULERS);
    tcase_add_loop_test(tcase, fields_are_finite_from_the_source_to_the_data_and_far_out, 0,
                        N_SCHEDULERS);
    tcase_add_test(tcase, points_that_are_not_finite_give_what_is_not_finite);
    tcase_add_test(tcase, labels_choose_classes_and_the_null_label_the_whole);
    tcase_add_test(tcase, weights_count_by_their_shares);
    tcase_add_test(tcase, time_direction_and_scale_are_undone);
    tcase_add_test(tcase, a_failed_allocation_is_reported_and_leaks_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}
