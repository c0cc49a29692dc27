/* Guidance by the gradient of an observation's likelihood: against PyTorch's autograd in float64, on Gaussians whose
 * posterior is known, and its rules. */
#include "engine/fm.h"
#include "engine/inverse/likelihood.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define N_POINTS  16
#define N_CASES   12
#define DIMENSION 2

static engine_case test;

static void open_model(const char *folder)
{
    const fm_model_options options = {.workers = 2, .gradient_bytes = SIZE_MAX};
    engine_case_open_model(&test, engine_case_model_with(folder, &options), 2);
}

static fm_job *run(const fm_job_spec *spec)
{
    fm_job *job = engine_case_run(test.engine, spec);
    ck_assert_int_eq(fm_job_status(job), FM_OK);
    return job;
}

static size_t numbers(const json_t *list, double *ret)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        ret[i] = json_number_value(json_array_get(list, i));
    }
    return json_array_size(list);
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* ---- a trained network ---- */

typedef struct golden {
    json_t *cases;
    const json_t *it;
    double x[N_POINTS * DIMENSION], t[N_POINTS], v[N_POINTS * DIMENSION];
    double values[4], y[2];
    fm_operator forward;
    fm_inverse inverse;
} golden;

/* A mask's observations have the shape of x. */
static void read_operator(golden *ret)
{
    fm_operator_options options = {.rank = 1, .shape = {DIMENSION}, .values = ret->values};
    const json_t *matrix = json_object_get(ret->it, "matrix");
    const json_t *mask = json_object_get(ret->it, "mask");
    ck_assert((matrix == NULL) != (mask == NULL));
    options.n_rows = json_array_size(matrix);
    for (size_t i = 0; i < options.n_rows; i++) {
        (void)numbers(json_array_get(matrix, i), ret->values + i * DIMENSION);
    }
    (void)numbers(mask, ret->values);
    const fm_operator_type *type = fm_operator_type_find(mask != NULL ? "mask" : "matrix");
    ck_assert_int_eq(fm_operator_init(&ret->forward, type, &options, NULL), FM_OK);
    ck_assert_uint_ge(numbers(json_object_get(ret->it, "y"), ret->y), 1);
    ck_assert(mask == NULL || (ret->values[0] == 1 && ret->values[1] == 0));
}

static void golden_open(golden *ret, size_t index)
{
    memset(ret, 0, sizeof *ret);
    ret->cases = json_load_file("tests/golden/measurement/mlp-checkerboard.json", 0, NULL);
    ck_assert_uint_eq(json_array_size(ret->cases), N_CASES);
    ret->it = json_array_get(ret->cases, index);
    for (size_t i = 0; i < N_POINTS; i++) {
        const json_t *point = json_array_get(json_object_get(ret->it, "points"), i);
        const json_t *v = json_array_get(json_object_get(ret->it, "velocity"), i);
        ck_assert_uint_eq(numbers(json_array_get(point, 0), ret->x + i * DIMENSION), DIMENSION);
        ck_assert_uint_eq(numbers(v, ret->v + i * DIMENSION), DIMENSION);
        ret->t[i] = json_number_value(json_array_get(point, 1));
    }
    read_operator(ret);
    ret->inverse = (fm_inverse){.forward = &ret->forward,
                                .observations = ret->y,
                                .n_observations = 1,
                                .observation_std = number(ret->it, "noise"),
                                .guidance_scale = number(ret->it, "weight")};
}

/* To 1e-5 of the velocities' root mean square; seen 1.6e-6, that of float32 networks. */
START_TEST(an_observation_guides_the_velocity_as_autograd_in_float64_says)
{
    golden it;
    golden_open(&it, (size_t)_i);
    open_model("tests/golden/mlp-checkerboard");
    const fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                              .model = test.model,
                              .n_rows = N_POINTS,
                              .guidance = {.scale = 1},
                              .inverse = &it.inverse,
                              .x = it.x,
                              .t = it.t,
                              .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    fm_job *job = run(&spec);
    double square = 0;
    for (size_t i = 0; i < N_POINTS * DIMENSION; i++) {
        square += it.v[i] * it.v[i] / (N_POINTS * DIMENSION);
    }
    for (size_t i = 0; i < N_POINTS * DIMENSION; i++) {
        fm_row_result row;
        fm_job_row(job, i / DIMENSION, &row);
        double found = (double)row.fields[FM_FIELD_VELOCITY][i % DIMENSION];
        ck_assert_msg(fabs(found - it.v[i]) <= 1e-5 * sqrt(square), "%s, value %zu: %g, not %g",
                      json_string_value(json_object_get(it.it, "name")), i, found, it.v[i]);
    }
    fm_job_free(job);
    engine_case_close(&test);
    json_decref(it.cases);
}
END_TEST

/* Before its time the velocity is the flow's own. */
START_TEST(an_observation_guides_from_its_time_on)
{
    golden it;
    golden_open(&it, 0);
    open_model("tests/golden/mlp-checkerboard");
    static const double x[] = {0.5, -1, 0.5, -1}, t[] = {0.25, 0.5};
    it.inverse.guidance_from = 0.5;
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = test.model,
                        .n_rows = 2,
                        .guidance = {.scale = 1},
                        .inverse = &it.inverse,
                        .x = x,
                        .t = t,
                        .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    fm_job *guided = run(&spec);
    spec.inverse = NULL;
    fm_job *plain = run(&spec);
    for (size_t i = 0; i < 2; i++) {
        fm_row_result a, b;
        fm_job_row(guided, i, &a);
        fm_job_row(plain, i, &b);
        bool same = a.fields[FM_FIELD_VELOCITY][0] == b.fields[FM_FIELD_VELOCITY][0];
        ck_assert_int_eq(same, t[i] < 0.5);
    }
    fm_job_free(guided);
    fm_job_free(plain);
    engine_case_close(&test);
    json_decref(it.cases);
}
END_TEST

/* ---- Gaussians ---- */

#define ROWS  4000
#define STEPS 200

static const char standard[] =
    "{\"schema\": \"velocityd.model/1\", \"network\": {\"architecture\": \"gaussian_mixture\", "
    "\"weights\": [1], \"means\": [[0, 0]], \"stds\": [1]}, \"flow\": {\"shape\": [2], \"source\": "
    "{\"type\": \"normal\"}, \"scheduler\": {\"type\": \"condot\"}, \"prediction\": \"velocity\"}}";

/* Data N(0, I), for which the method's only assumption holds: with y = x_1 + x_2 = 1 and noise of standard deviation
 * 0.5 the posterior along (1, 1) / sqrt 2 is N(0.628539, 0.111111) and along (1, -1) / sqrt 2 N(0, 1). Within four
 * standard errors of 4000 samples, and the error of the grid. */
START_TEST(on_normal_data_an_observation_leads_to_the_exact_posterior)
{
    engine_case_open_model(&test, engine_case_model_of_text(standard, 2), 2);
    static const double sum[] = {1, 1}, y[] = {1};
    static double grid[STEPS + 1];
    const fm_operator_options options = {
        .rank = 1, .shape = {DIMENSION}, .values = sum, .n_rows = 1};
    fm_operator forward;
    ck_assert_int_eq(fm_operator_init(&forward, fm_operator_type_find("matrix"), &options, NULL),
                     FM_OK);
    const fm_inverse inverse = {.forward = &forward,
                                .observations = y,
                                .n_observations = 1,
                                .observation_std = 0.5,
                                .guidance_scale = 1};
    fm_grid_uniform(0, 1, STEPS, grid);
    const fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                              .model = test.model,
                              .n_rows = ROWS,
                              .seed = 7,
                              .guidance = {.scale = 1},
                              .inverse = &inverse,
                              .solver = {.method = fm_method_find("midpoint"),
                                         .grid = grid,
                                         .n_grid = STEPS + 1,
                                         .sampling = FM_SAMPLING_DEFAULT,
                                         .max_evaluations = 10000}};
    fm_job *job = run(&spec);
    double mean[2] = {0}, square[2] = {0};
    for (size_t i = 0; i < ROWS; i++) {
        fm_row_result row;
        fm_job_row(job, i, &row);
        const double along[2] = {((double)row.x[0] + (double)row.x[1]) / sqrt(2),
                                 ((double)row.x[0] - (double)row.x[1]) / sqrt(2)};
        for (size_t k = 0; k < 2; k++) {
            mean[k] += along[k] / ROWS;
            square[k] += along[k] * along[k] / ROWS;
        }
    }
    ck_assert_double_eq_tol(mean[0], sqrt(2) / 2.25, 4 * sqrt(0.111111 / ROWS) + 1e-3);
    ck_assert_double_eq_tol(mean[1], 0, 4 / sqrt(ROWS));
    ck_assert_double_eq_tol(square[0] - mean[0] * mean[0], 0.111111,
                            4 * 0.111111 * sqrt(2.0 / ROWS) + 1e-3);
    ck_assert_double_eq_tol(square[1] - mean[1] * mean[1], 1, 4 * sqrt(2.0 / ROWS));
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

/* ---- correlated Gaussians, whose velocity is B x with a constant Jacobian ---- */

#define CORRELATION 0.8
#define HALF_STEPS  4000

/* Guided by x_2 = 1, of N(0, [[1, r], [r, 1]]): J = alpha S C^-1 is symmetric, and has two entries. */
static void correlated_velocity(const fm_inverse *inverse, const fm_path *path, double t,
                                const double *x, double *v)
{
    fm_path_point at = fm_path_at(path, t);
    double on = at.alpha * at.alpha + at.sigma * at.sigma;
    double off = at.alpha * at.alpha * CORRELATION, determinant = on * on - off * off;
    double j_on = at.alpha * (on - CORRELATION * off) / determinant;
    double j_off = at.alpha * (CORRELATION * on - off) / determinant;
    const double x1_hat[2] = {j_on * x[0] + j_off * x[1], j_off * x[0] + j_on * x[1]};
    double pull[2], scratch[16];
    ck_assert_uint_le(fm_likelihood_scratch_size(inverse->forward), 16);
    fm_likelihood_pull(inverse, 0, &at, x1_hat, pull, scratch);
    const double gradient[2] = {j_on * pull[0] + j_off * pull[1], j_off * pull[0] + j_on * pull[1]};
    double weight = at.sigma / at.alpha; /* a_t of the straight path */
    for (size_t i = 0; i < 2; i++) {
        v[i] = (x1_hat[i] - x[i]) / at.sigma + weight * gradient[i];
    }
}

/* By the midpoint rule, which the flow of a linear velocity makes an affine map: three starts tell it. */
static void correlated_end(const fm_inverse *inverse, const fm_path *path, double x[2])
{
    double first = 1e-4, step = (1 - 2e-4) / HALF_STEPS * 2;
    for (size_t i = 0; i < HALF_STEPS / 2; i++) {
        double t = first + (double)i * step, v[2];
        correlated_velocity(inverse, path, t, x, v);
        const double middle[2] = {x[0] + step / 2 * v[0], x[1] + step / 2 * v[1]};
        correlated_velocity(inverse, path, t + step / 2, middle, v);
        x[0] += step * v[0];
        x[1] += step * v[1];
    }
}

/* The exact posterior of x_1 is N(0.8, 0.36). As r^2 is that of data N(0, I), the flow ends in N(0.761, 0.390), which
 * an independent solution of the linear equation for mean and covariance has found (SciPy's Radau, 1e-10). */
START_TEST(on_correlated_data_an_observation_leads_near_the_posterior)
{
    static const double second[] = {0, 1}, y[] = {0, 1};
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = second};
    fm_operator forward;
    fm_path path;
    ck_assert_int_eq(fm_operator_init(&forward, fm_operator_type_find("mask"), &options, NULL),
                     FM_OK);
    ck_assert_int_eq(fm_path_init(&path, fm_path_type_find("condot"), none, NULL, 1, NULL), FM_OK);
    const fm_inverse inverse = {
        .forward = &forward, .observations = y, .n_observations = 1, .guidance_scale = 1};
    double origin[2] = {0, 0}, right[2] = {1, 0}, up[2] = {0, 1};
    correlated_end(&inverse, &path, origin);
    correlated_end(&inverse, &path, right);
    correlated_end(&inverse, &path, up);
    double a = right[0] - origin[0], b = up[0] - origin[0];
    ck_assert_double_eq_tol(origin[0], 0.761128, 1e-3);
    ck_assert_double_eq_tol(a * a + b * b, 0.389716, 1e-3);
    ck_assert_double_eq_tol(origin[1], 1, 1e-3);
}
END_TEST

/* ---- rules ---- */

START_TEST(a_job_refuses_what_an_observation_cannot_guide)
{
    static const double x[DIMENSION], t[1] = {0.5};
    golden it;
    golden_open(&it, 0);
    open_model("tests/golden/mlp-checkerboard");
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = test.model,
                        .n_rows = 1,
                        .guidance = {.scale = 1},
                        .inverse = &it.inverse,
                        .x = x,
                        .t = t,
                        .fields = FM_FIELD_BIT(FM_FIELD_DIVERGENCE)};
    engine_case_refuse(test.engine, &spec, "densities");
    spec.fields = FM_FIELD_BIT(FM_FIELD_VELOCITY);
    it.inverse.guidance_scale = (double)NAN;
    engine_case_refuse(test.engine, &spec, "guidance_scale");
    it.inverse.guidance_scale = 0;
    engine_case_refuse(test.engine, &spec, "only guide");
    engine_case_close(&test);
    engine_case_open(&test, "tests/golden/mlp-checkerboard", 2);
    ck_assert(!fm_model_describe(test.model)->has_gradients);
    spec.model = test.model;
    it.inverse.guidance_scale = 1;
    engine_case_refuse(test.engine, &spec, "gradients");
    engine_case_close(&test);
    json_decref(it.cases);
}
END_TEST

Suite *suite_engine_observation(void)
{
    Suite *suite = suite_create("engine/observation");
    TCase *guidance = tcase_create("guidance");
    tcase_add_loop_test(guidance, an_observation_guides_the_velocity_as_autograd_in_float64_says, 0,
                        N_CASES);
    tcase_add_test(guidance, an_observation_guides_from_its_time_on);
    tcase_add_test(guidance, on_normal_data_an_observation_leads_to_the_exact_posterior);
    tcase_add_test(guidance, on_correlated_data_an_observation_leads_near_the_posterior);
    tcase_add_test(guidance, a_job_refuses_what_an_observation_cannot_guide);
    suite_add_tcase(suite, guidance);
    return suite;
}
