/* Log likelihoods, divergences and encoding: against closed forms, the libraries' own values, and what Hutchinson's
 * estimator must be. */
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/support/flow_case.h"
#include "tests/support/image_case.h"
#include "tests/support/sanitizer.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static engine_case test;
static const double descending[] = {1, 0}, ascending[] = {0, 1};

static fm_job_spec spec_of(size_t n_rows, const double grid[2], const char *method,
                           double tolerance)
{
    fm_job_spec spec = engine_case_spec(test.model, n_rows, method, 2, grid);
    spec.seed = 5;
    spec.solver.rtol = spec.solver.atol = tolerance;
    return spec;
}

static fm_row_result row_of(const fm_job *job, size_t row)
{
    fm_row_result result;
    fm_job_row(job, row, &result);
    ck_assert_int_eq(result.status, FM_ROW_OK);
    return result;
}

/* The closed form's log density at the points, at t = 1. */
static double *closed_form(size_t n, const double *x)
{
    double *t = fm_alloc_array(n, sizeof *t), *ret = fm_alloc_array(n, sizeof *ret);
    for (size_t i = 0; i < n; i++) {
        t[i] = 1;
    }
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = test.model,
                        .n_rows = n,
                        .guidance = {.scale = 1},
                        .x = x,
                        .t = t,
                        .fields = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)};
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < n; i++) {
        ret[i] = *row_of(job, i).log_density;
    }
    fm_job_free(job);
    fm_free(t);
    return ret;
}

/* ---- the libraries' log densities ---- */

static const struct {
    const char *folder, *name;
} flows[] = {
    {"gaussian-mixture-2d", "log-density-64"},
    {"mlp-checkerboard", "log-density-32"},
    {"mlp-checkerboard", "log-density-grid-32x32"},
};

#define SANITIZED_ROWS ((size_t)160) /* of the reference, where a sanitizer watches */

static double largest_difference(size_t n, const double *a, const double *b)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(a[i] - b[i]));
    }
    return largest;
}

START_TEST(log_densities_are_those_of_the_libraries)
{
    char folder[256];
    (void)snprintf(folder, sizeof folder, "tests/golden/%s", flows[_i].folder);
    engine_case_open(&test, folder, 2);
    flow_case flow;
    flow_case_open(&flow, folder, flows[_i].name, test.model);
    flow.spec.log_likelihood = true;
    if (TESTS_SANITIZED && flow.spec.n_rows > SANITIZED_ROWS) {
        flow.spec.n_rows = SANITIZED_ROWS;
    }
    fm_job *job = engine_case_run(test.engine, &flow.spec);
    size_t n = 0, n_states = 0;
    double *exact = flow_case_values(&flow, "log_density_exact", &n);
    double *theirs = flow_case_values(&flow, "log_density", &n);
    double *latents = flow_case_values(&flow, "x1_exact", &n_states);
    ck_assert_uint_ge(n, flow.spec.n_rows);
    n = flow.spec.n_rows;
    double *ours = fm_alloc_array(n, sizeof *ours), moved = 0;
    for (size_t i = 0; i < n; i++) {
        fm_row_result row = row_of(job, i);
        ours[i] = row.log_likelihood;
        moved = fmax(moved, fabs((double)row.x[0] - latents[2 * i]));
    }
    double allowed = 3 * largest_difference(n, theirs, exact) + 1e-3;
    double error = largest_difference(n, ours, exact);
    ck_assert_msg(error <= allowed, "error %g, allowed %g", error, allowed);
    ck_assert_double_le(moved, 1e-3);
    fm_free(exact);
    fm_free(theirs);
    fm_free(latents);
    fm_free(ours);
    fm_job_free(job);
    flow_case_close(&flow);
    engine_case_close(&test);
}
END_TEST

/* ---- mixtures ---- */

/* Three components in so many dimensions, with made-up means; `one`: a single one. */
static void open_mixture(size_t dimension, bool one)
{
    static char text[16384];
    size_t used = 0, n = one ? 1 : 3;
    used += (size_t)snprintf(text, sizeof text,
                             "{\"schema\": \"velocityd.model/1\", \"flow\": {\"shape\": [%zu]}, "
                             "\"network\": {\"architecture\": \"gaussian_mixture\", \"weights\": "
                             "%s, \"stds\": %s, \"means\": [",
                             dimension, one ? "[1]" : "[0.5, 0.3, 0.2]",
                             one ? "[0.6]" : "[0.5, 0.4, 0.7]");
    for (size_t k = 0; k < n; k++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s[", k == 0 ? "" : ", ");
        for (size_t i = 0; i < dimension; i++) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%.3f", i == 0 ? "" : ", ",
                                     (double)image_case_noise(40, k * dimension + i));
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "]");
    }
    (void)snprintf(text + used, sizeof text - used, "]}}");
    engine_case_open_model(&test, engine_case_model_of_text(text, 2), 2);
}

#define N_POINTS ((size_t)40)

/* Samples of the model, as points that a request may bring. */
static double *sampled(size_t n)
{
    fm_job_spec spec = spec_of(n, ascending, "dopri5", 1e-4);
    size_t dimension = fm_model_describe(test.model)->dimension;
    double *ret = fm_alloc_array(n * dimension, sizeof *ret);
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < n; i++) {
        fm_row_result row = row_of(job, i);
        for (size_t k = 0; k < dimension; k++) {
            ret[i * dimension + k] = (double)row.x[k];
        }
    }
    fm_job_free(job);
    return ret;
}

static const size_t dimensions[] = {2, 5, 64};

START_TEST(log_likelihoods_of_mixtures_are_the_closed_form)
{
    open_mixture(dimensions[_i], false);
    double *x = sampled(N_POINTS), *want = closed_form(N_POINTS, x);
    fm_job_spec spec = spec_of(N_POINTS, descending, "dopri8", 1e-9);
    spec.x = x;
    spec.log_likelihood = true;
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_POINTS; i++) {
        double got = row_of(job, i).log_likelihood;
        ck_assert_msg(fabs(got - want[i]) <= 1e-6 * fabs(want[i]), "%.12g, not %.12g", got,
                      want[i]);
        ck_assert(isnan(row_of(job, i).standard_error));
    }
    fm_job_free(job);
    fm_free(x);
    fm_free(want);
    engine_case_close(&test);
}
END_TEST

/* The density of the data does not depend on the path to it, on which states are scaled for the network. */
START_TEST(log_likelihoods_do_not_depend_on_the_path)
{
    fm_path path;
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    open_mixture(5, false);
    double *x = sampled(N_POINTS), *want = closed_form(N_POINTS, x);
    ck_assert_int_eq(fm_path_init(&path, fm_path_type_find("cosine"), none, NULL, 1, NULL), FM_OK);
    fm_job_spec spec = spec_of(N_POINTS, descending, "dopri8", 1e-9);
    spec.x = x;
    spec.path = &path;
    spec.log_likelihood = true;
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_POINTS; i++) {
        ck_assert_double_eq_tol(row_of(job, i).log_likelihood, want[i], 1e-6 * fabs(want[i]));
    }
    fm_job_free(job);
    fm_free(x);
    fm_free(want);
    engine_case_close(&test);
}
END_TEST

/* log p is integrated from noise to data with the same result as from data to noise. */
START_TEST(a_samples_log_likelihood_is_that_of_the_point_where_it_ends)
{
    open_mixture(5, false);
    fm_job_spec spec = spec_of(N_POINTS, ascending, "dopri8", 1e-10);
    spec.log_likelihood = true;
    fm_job *job = engine_case_run(test.engine, &spec);
    double x[5];
    for (size_t i = 0; i < N_POINTS; i++) {
        fm_row_result row = row_of(job, i);
        for (size_t k = 0; k < 5; k++) {
            x[k] = (double)row.x[k];
        }
        double *want = closed_form(1, x);
        ck_assert_double_eq_tol(row.log_likelihood, *want, 3e-6); /* x is rounded to float32 */
        fm_free(want);
    }
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

/* Along a trajectory, in either direction, the density is the marginal's at each time. */
START_TEST(log_densities_on_the_way_are_the_marginals)
{
    static const double times[2][3] = {{0, 0.4, 1}, {1, 0.4, 0}};
    open_mixture(2, false);
    double *given = sampled(4);
    fm_job_spec spec = spec_of(4, _i == 0 ? ascending : descending, "dopri8", 1e-10);
    spec.x = _i == 0 ? NULL : given;
    spec.output_times = times[_i];
    spec.n_output_times = 3;
    spec.fields = FM_FIELD_BIT(FM_FIELD_X) | FM_FIELD_BIT(FM_FIELD_LOG_DENSITY) |
                  FM_FIELD_BIT(FM_FIELD_DIVERGENCE);
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < 4; i++) {
        fm_row_result row = row_of(job, i);
        for (size_t k = 0; k < 3; k++) {
            double x[2] = {(double)row.fields[FM_FIELD_X][2 * k],
                           (double)row.fields[FM_FIELD_X][2 * k + 1]};
            fm_job_spec at = {.task = FM_TASK_VELOCITY,
                              .model = test.model,
                              .n_rows = 1,
                              .guidance = {.scale = 1},
                              .x = x,
                              .t = &times[_i][k],
                              .fields = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY) |
                                        FM_FIELD_BIT(FM_FIELD_DIVERGENCE)};
            fm_job *point = engine_case_run(test.engine, &at);
            ck_assert_double_eq_tol(row.log_density[k], *row_of(point, 0).log_density, 3e-6);
            ck_assert_double_eq(row.divergence[k], *row_of(point, 0).divergence);
            fm_job_free(point);
        }
    }
    fm_job_free(job);
    fm_free(given);
    engine_case_close(&test);
}
END_TEST

/* By dopri8; dopri5's global error is larger than its tolerance, by a hundred between two modes. */
START_TEST(what_is_encoded_and_decoded_is_what_it_was)
{
    static const double tolerances[] = {1e-5, 1e-6, 1e-7};
    engine_case_open(&test, "models/gaussian-mixture", 2);
    double *x = sampled(N_POINTS), *latent = fm_alloc_array(N_POINTS * 2, sizeof *latent);
    fm_job_spec spec = spec_of(N_POINTS, descending, "dopri8", tolerances[_i]);
    spec.x = x;
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_POINTS * 2; i++) {
        latent[i] = (double)row_of(job, i / 2).x[i % 2];
    }
    fm_job_free(job);
    spec.solver.grid = ascending;
    spec.x = latent;
    job = engine_case_run(test.engine, &spec);
    double largest = 0;
    for (size_t i = 0; i < N_POINTS * 2; i++) {
        largest = fmax(largest, fabs((double)row_of(job, i / 2).x[i % 2] - x[i]));
    }
    ck_assert_msg(largest <= 10 * tolerances[_i], "%g", largest);
    fm_job_free(job);
    fm_free(x);
    fm_free(latent);
    engine_case_close(&test);
}
END_TEST

/* ---- a trained network ---- */

#define SIDE   ((size_t)(TESTS_SANITIZED ? 121 : 161))
#define EXTENT 8.0

START_TEST(the_density_of_a_trained_network_integrates_to_one)
{
    engine_case_open(&test, "tests/golden/mlp-moons-otcfm", 2);
    double *x = fm_alloc_array(2 * SIDE * SIDE, sizeof *x), sum = 0;
    double step = 2 * EXTENT / (double)(SIDE - 1);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        size_t column = i % SIDE, line = i / SIDE;
        x[2 * i] = -EXTENT + step * (double)line;
        x[2 * i + 1] = -EXTENT + step * (double)column;
    }
    fm_job_spec spec = spec_of(SIDE * SIDE, descending, "dopri5", 1e-5);
    spec.x = x;
    spec.log_likelihood = true;
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        sum += exp(row_of(job, i).log_likelihood) * step * step;
    }
    ck_assert_double_eq_tol(sum, 1, 1e-3);
    fm_job_free(job);
    fm_free(x);
    engine_case_close(&test);
}
END_TEST

/* ---- Hutchinson's estimator ---- */

#define N_PROBED ((size_t)20000)

/* Estimates of the divergence at one point, a row each with probes of its own. */
static void estimate(fm_probe probe, const double point[2], double *ret_mean, double *ret_variance)
{
    double *x = fm_alloc_array(2 * N_PROBED, sizeof *x), *t = fm_alloc_array(N_PROBED, sizeof *t);
    for (size_t i = 0; i < N_PROBED; i++) {
        memcpy(x + 2 * i, point, 2 * sizeof *x);
        t[i] = 0.5;
    }
    fm_job_spec spec = {
        .task = FM_TASK_VELOCITY,
        .model = test.model,
        .n_rows = N_PROBED,
        .seed = 11,
        .guidance = {.scale = 1},
        .x = x,
        .t = t,
        .fields = FM_FIELD_BIT(FM_FIELD_DIVERGENCE),
        .divergence = {.method = FM_DIVERGENCE_HUTCHINSON, .probe = probe, .n_probes = 1}};
    fm_job *job = engine_case_run(test.engine, &spec);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < N_PROBED; i++) {
        double value = *row_of(job, i).divergence;
        sum += value;
        squares += value * value;
    }
    *ret_mean = sum / (double)N_PROBED;
    *ret_variance = squares / (double)N_PROBED - *ret_mean * *ret_mean;
    fm_job_free(job);
    fm_free(x);
    fm_free(t);
}

static void velocity_at(const double x[2], double ret[2])
{
    static const double t = 0.5;
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = test.model,
                        .n_rows = 1,
                        .guidance = {.scale = 1},
                        .x = x,
                        .t = &t,
                        .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    fm_job *job = engine_case_run(test.engine, &spec);
    ret[0] = (double)row_of(job, 0).fields[FM_FIELD_VELOCITY][0];
    ret[1] = (double)row_of(job, 0).fields[FM_FIELD_VELOCITY][1];
    fm_job_free(job);
}

/* By central differences; answers are in float32, so this has three digits. */
static void jacobian(const double point[2], double ret[2][2])
{
    const double h = 1e-3;
    for (size_t j = 0; j < 2; j++) {
        double x[2] = {point[0], point[1]}, above[2], below[2];
        x[j] = point[j] + h;
        velocity_at(x, above);
        x[j] = point[j] - h;
        velocity_at(x, below);
        for (size_t i = 0; i < 2; i++) {
            ret[i][j] = (above[i] - below[i]) / (2 * h);
        }
    }
}

/* The mixture's Jacobian is symmetric: variance 2 sum_(i != j) J_ij^2, or 2 |J|_F^2. */
START_TEST(hutchinsons_estimator_is_unbiased_and_has_the_predicted_variance)
{
    const double point[] = {0.3, -0.2};
    double j[2][2], mean, variance;
    open_mixture(2, false);
    jacobian(point, j);
    double across = 2 * (j[0][1] * j[0][1] + j[1][0] * j[1][0]);
    double along = 2 * (j[0][0] * j[0][0] + j[1][1] * j[1][1]);
    double want = _i == FM_PROBE_RADEMACHER ? across : across + along;
    estimate((fm_probe)_i, point, &mean, &variance);
    ck_assert_double_eq_tol(mean, j[0][0] + j[1][1], 4 * sqrt(want / (double)N_PROBED) + 1e-3);
    ck_assert_double_eq_tol(variance, want, 0.05 * want);
    engine_case_close(&test);
}
END_TEST

START_TEST(rademacher_probes_of_a_diagonal_jacobian_have_no_variance)
{
    open_mixture(5, true);
    double *x = sampled(N_POINTS), *want = closed_form(N_POINTS, x);
    fm_job_spec spec = spec_of(N_POINTS, descending, "dopri8", 1e-9);
    spec.x = x;
    spec.log_likelihood = true;
    spec.divergence = (fm_divergence){.method = FM_DIVERGENCE_HUTCHINSON, .n_probes = 2};
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_POINTS; i++) {
        ck_assert_double_eq_tol(row_of(job, i).log_likelihood, want[i], 1e-7);
        ck_assert_double_le(row_of(job, i).standard_error, 1e-12);
    }
    fm_job_free(job);
    fm_free(x);
    fm_free(want);
    engine_case_close(&test);
}
END_TEST

/* More probes than fit into a call: the estimate of each row is within its own error of the closed form. */
START_TEST(the_standard_error_says_how_far_an_estimate_is)
{
    open_mixture(5, false);
    double *x = sampled(N_POINTS), *want = closed_form(N_POINTS, x), squares = 0;
    fm_job_spec spec = spec_of(N_POINTS, descending, "dopri5", 1e-6);
    spec.x = x;
    spec.log_likelihood = true;
    spec.divergence = (fm_divergence){
        .method = FM_DIVERGENCE_HUTCHINSON, .probe = FM_PROBE_GAUSSIAN, .n_probes = 200};
    fm_job *job = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < N_POINTS; i++) {
        fm_row_result row = row_of(job, i);
        double errors = (row.log_likelihood - want[i]) / row.standard_error;
        squares += errors * errors;
        ck_assert_double_le(fabs(errors), 4.5);
    }
    ck_assert_double_eq_tol(squares / (double)N_POINTS, 1, 0.7);
    fm_job_free(job);
    fm_free(x);
    fm_free(want);
    engine_case_close(&test);
}
END_TEST

/* ---- what does not change, and what is refused ---- */

START_TEST(samples_have_the_same_bytes_with_their_log_likelihood)
{
    static double grid[11];
    engine_case_open(&test, "tests/golden/mlp-moons-otcfm", 2);
    fm_grid_uniform(0, 1, 10, grid);
    fm_job_spec spec = spec_of(100, grid, "midpoint", 1e-5);
    spec.solver.n_grid = 11;
    fm_job *plain = engine_case_run(test.engine, &spec);
    spec.log_likelihood = true;
    fm_job *with = engine_case_run(test.engine, &spec);
    for (size_t i = 0; i < 100; i++) {
        ck_assert_mem_eq(row_of(plain, i).x, row_of(with, i).x, 2 * sizeof(float));
        ck_assert(isnan(row_of(plain, i).log_likelihood));
        ck_assert(isfinite(row_of(with, i).log_likelihood));
        ck_assert_uint_eq(row_of(with, i).evaluations, 20);
    }
    fm_job_free(plain);
    fm_job_free(with);
    engine_case_close(&test);
}
END_TEST

START_TEST(a_row_that_stopped_early_has_no_log_likelihood)
{
    engine_case_open(&test, "tests/golden/mlp-moons-otcfm", 2);
    fm_job_spec spec = spec_of(1, ascending, "dopri5", 1e-6);
    static const double times[] = {0, 1};
    spec.log_likelihood = true;
    spec.output_times = times;
    spec.n_output_times = 2;
    spec.fields = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY);
    spec.solver.max_evaluations = 5;
    fm_job *job = engine_case_run(test.engine, &spec);
    fm_row_result row;
    fm_job_row(job, 0, &row);
    ck_assert_int_eq(row.status, FM_ROW_MAX_EVALUATIONS);
    ck_assert(isnan(row.log_likelihood) && isnan(row.log_density[0]) && isnan(row.log_density[1]));
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

START_TEST(densities_are_refused_where_they_cannot_be_integrated)
{
    fm_error err;
    fm_job *job = NULL;
    engine_case_open(&test, "tests/golden/mlp-moons-otcfm", 2);
    fm_job_spec spec = spec_of(1, ascending, "ddim", 1e-5);
    spec.solver.sampling = FM_SAMPLING_DEFAULT;
    spec.log_likelihood = true;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    ck_assert_str_eq(err.text, "densities cannot be integrated with ddim");
    spec = spec_of(1, ascending, "euler", 1e-5);
    spec.log_likelihood = true;
    spec.divergence.method = FM_DIVERGENCE_HUTCHINSON;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    spec.divergence.n_probes = FM_MAX_PROBES + 1;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    ck_assert_str_eq(err.text, "divergence needs 1 to 1024 probes");
    spec = spec_of(1, ascending, "euler", 1e-5);
    spec.draws = 1;
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_EINVAL);
    ck_assert_str_eq(err.text, "draws need points x, and as many rows for each");
    test.model->info.has_divergence = false;
    spec = spec_of(1, ascending, "euler", 1e-5);
    spec.log_likelihood = true;
    engine_case_refuse(test.engine, &spec, "model mlp-moons-otcfm has no divergence");
    engine_case_close(&test);
}
END_TEST

Suite *suite_engine_density(void)
{
    Suite *suite = suite_create("engine/density");
    TCase *tests = tcase_create("density");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, log_densities_are_those_of_the_libraries, 0,
                        (int)(sizeof flows / sizeof *flows));
    tcase_add_loop_test(tests, log_likelihoods_of_mixtures_are_the_closed_form, 0, 3);
    tcase_add_test(tests, log_likelihoods_do_not_depend_on_the_path);
    tcase_add_test(tests, a_samples_log_likelihood_is_that_of_the_point_where_it_ends);
    tcase_add_loop_test(tests, log_densities_on_the_way_are_the_marginals, 0, 2);
    tcase_add_loop_test(tests, what_is_encoded_and_decoded_is_what_it_was, 0, 3);
    tcase_add_test(tests, the_density_of_a_trained_network_integrates_to_one);
    tcase_add_loop_test(tests, hutchinsons_estimator_is_unbiased_and_has_the_predicted_variance, 0,
                        2);
    tcase_add_test(tests, rademacher_probes_of_a_diagonal_jacobian_have_no_variance);
    tcase_add_test(tests, the_standard_error_says_how_far_an_estimate_is);
    tcase_add_test(tests, samples_have_the_same_bytes_with_their_log_likelihood);
    tcase_add_test(tests, a_row_that_stopped_early_has_no_log_likelihood);
    tcase_add_test(tests, densities_are_refused_where_they_cannot_be_integrated);
    suite_add_tcase(suite, tests);
    return suite;
}
