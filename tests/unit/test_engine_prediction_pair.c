/* engine/flow/prediction: networks that return two predictions, read, fed to solvers and served by the engine. */
#include "engine/flow/field.h"
#include "engine/fm.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "engine/solve/solve.h"
#include "tests/support/engine_case.h"
#include "tests/support/safetensors_image.h"
#include "tests/support/temp_folder.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- readings ---- */

static const char *const schedulers[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                         "cosine", "ve",         "edm", "target"};
static const char *const pairs[][2] = {
    {"velocity", "score"}, {"velocity", "epsilon"}, {"v", "score"},        {"v", "epsilon"},
    {"x1", "score"},       {"x1", "epsilon"},       {"score", "velocity"}, {"epsilon", "velocity"},
    {"score", "v"},        {"epsilon", "v"},        {"score", "x1"},       {"epsilon", "x1"}};
#define N_SCHEDULERS ((int)(sizeof schedulers / sizeof *schedulers))
#define N_PAIRS      ((int)(sizeof pairs / sizeof *pairs))

static fm_predictions pair_of(const char *first, const char *second)
{
    return (fm_predictions){.first.type = fm_prediction_type_find(first),
                            .second.type = fm_prediction_type_find(second)};
}

/* A point x = alpha x1 + sigma noise, and what a perfect network says of it. */
typedef struct point {
    fm_path_point at;
    double x1, noise, x, velocity;
} point;

static point point_at(const fm_path *path, double t)
{
    point ret = {.at = fm_path_at(path, t), .x1 = 0.8 - t, .noise = 1.7 * t - 0.4};
    ret.x = ret.at.alpha * ret.x1 + ret.at.sigma * ret.noise;
    ret.velocity = ret.at.d_alpha * ret.x1 + ret.at.d_sigma * ret.noise;
    return ret;
}

static double output_of(const char *prediction, const point *p)
{
    if (strcmp(prediction, "velocity") == 0) {
        return p->velocity;
    }
    if (strcmp(prediction, "v") == 0) {
        return p->at.alpha * p->noise - p->at.sigma * p->x1;
    }
    if (strcmp(prediction, "score") == 0) {
        return -p->noise / p->at.sigma;
    }
    return strcmp(prediction, "x1") == 0 ? p->x1 : p->noise;
}

static void check_reading(fm_linear reading, const point *p, const double out[2], double expected,
                          double scale)
{
    double found = reading.x * p->x + reading.out * out[0] + reading.second * out[1];
    ck_assert_msg(fabs(found - expected) <= 1e-10 * (fabs(expected) + scale), "%.17g, not %.17g",
                  found, expected);
}

START_TEST(a_pair_gives_back_what_it_was_made_of)
{
    const char *const *names = pairs[_i / N_SCHEDULERS];
    fm_path path = usual_path(schedulers[_i % N_SCHEDULERS], 1.3);
    fm_predictions predictions = pair_of(names[0], names[1]);
    ck_assert(fm_predictions_pair(&predictions));
    for (double t = 0.05; t < 1; t += 0.09) {
        point p = point_at(&path, t);
        double out[2] = {output_of(names[0], &p), output_of(names[1], &p)};
        double scale = 1 + fabs(p.x) / fmin(p.at.alpha, p.at.sigma);
        fm_reading reading = fm_predictions_read(&predictions, &p.at);
        check_reading(reading.x1, &p, out, p.x1, scale);
        check_reading(reading.noise, &p, out, p.noise, scale);
        check_reading(reading.score_noise, &p, out, p.noise, scale);
        check_reading(reading.velocity, &p, out, p.velocity,
                      scale * (fabs(p.at.d_alpha) + fabs(p.at.d_sigma)));
    }
}
END_TEST

START_TEST(what_a_head_predicts_is_read_from_it_alone)
{
    fm_path path = usual_path("cosine", 1.3);
    fm_path_point at = fm_path_at(&path, 0.3);
    fm_predictions scored = pair_of("velocity", "score"), mixed = pair_of("epsilon", "x1");
    fm_reading first = fm_predictions_read(&scored, &at), both = fm_predictions_read(&mixed, &at);
    ck_assert(first.velocity.second == 0 && first.x1.second == 0 && first.noise.second == 0);
    ck_assert(first.score_noise.x == 0 && first.score_noise.out == 0);
    ck_assert(both.x1.x == 0 && both.x1.out == 0 && both.x1.second == 1);
    ck_assert(both.noise.x == 0 && both.noise.out == 1 && both.noise.second == 0);
    ck_assert(both.velocity.x == 0 && both.velocity.out == at.d_sigma);
    ck_assert_double_eq(both.velocity.second, at.d_alpha);
}
END_TEST

START_TEST(of_a_pair_against_the_direction_the_velocity_alone_changes_its_sign)
{
    fm_field field = {.path = usual_path("condot", 1.3),
                      .predictions = pair_of("score", "velocity"),
                      .data_to_noise = true,
                      .time_scale = 1};
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    double x = 0.7, out[2] = {-3, 5}, v = 0, score = 0;
    fm_field_answer(&field, &condition, 0.25, 1, &x, &(fm_field_outputs){.out = out}, &v, &score);
    ck_assert_double_eq(v, -5);
    ck_assert_double_eq_tol(score, -3, 1e-14);
}
END_TEST

START_TEST(a_velocity_is_read_whatever_the_score_beside_it)
{
    fm_field field = {.path = usual_path("condot", 1.3),
                      .predictions = pair_of("score", "velocity"),
                      .time_scale = 1};
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    double x = 0.7, out[2] = {-(double)INFINITY, 5}, v = 0;
    fm_field_answer(&field, &condition, 0.25, 1, &x, &(fm_field_outputs){.out = out}, &v, NULL);
    ck_assert_double_eq(v, 5);
}
END_TEST

START_TEST(both_of_a_pair_are_guided_and_in_the_same_channels)
{
    fm_field field = {.path = usual_path("condot", 1.3),
                      .predictions = pair_of("velocity", "score"),
                      .time_scale = 1,
                      .has_null_label = true,
                      .null_label = 5,
                      .channels = 2};
    fm_condition condition = {.label = 1, .guidance = &(fm_guidance){.scale = 3, .channels = 1}};
    double out[4] = {1, 2, 3, 4};
    const double null[4] = {0, 0, 1, 1};
    fm_field_combine(&field, &condition, 0.5, 2, &(fm_field_outputs){.out = out, .others = null});
    ck_assert(out[0] == 3 && out[1] == 2 && out[2] == 7 && out[3] == 4);
}
END_TEST

START_TEST(a_pair_on_another_path_is_read_there)
{
    fm_path from = usual_path("condot", 1.3), to = usual_path("vp", 1.3);
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}, .path = &to};
    for (int i = 0; i < N_PAIRS; i++) {
        fm_field field = {
            .path = from, .predictions = pair_of(pairs[i][0], pairs[i][1]), .time_scale = 1};
        point there = point_at(&to, 0.6);
        double model_t = fm_path_time_of(&from, there.at.alpha, there.at.sigma);
        point here = there;
        here.at = fm_path_at(&from, model_t);
        here.velocity = here.at.d_alpha * here.x1 + here.at.d_sigma * here.noise;
        double out[2] = {output_of(pairs[i][0], &here), output_of(pairs[i][1], &here)};
        double v = 0, score = 0;
        fm_field_answer(&field, &condition, 0.6, 1, &there.x, &(fm_field_outputs){.out = out}, &v,
                        &score);
        ck_assert_double_eq_tol(v, there.velocity, 1e-12);
        ck_assert_double_eq_tol(score, -there.noise / there.at.sigma, 1e-12);
    }
}
END_TEST

/* ---- solvers ---- */

/* Normal data from normal noise, in one dimension: v = rate x, score = -x / variance. */
#define DATA_STD 0.5

static void normal_field(const fm_path *path, double t, double x, double *v, double *score)
{
    fm_path_point at = fm_path_at(path, t);
    double variance = at.alpha * at.alpha * DATA_STD * DATA_STD + at.sigma * at.sigma;
    *v = (at.alpha * at.d_alpha * DATA_STD * DATA_STD + at.sigma * at.d_sigma) / variance * x;
    *score = -x / variance;
}

static double end_of(const char *method, const fm_path *path, bool gives_score)
{
    double grid[21], end = 0, x0 = 0.9;
    fm_grid_uniform(0.02, 0.98, 20, grid);
    fm_solve_plan plan = {.dimension = 1,
                          .path = path,
                          .seed = 11,
                          .gives_score = gives_score,
                          .solver = {.method = fm_method_find(method),
                                     .grid = grid,
                                     .n_grid = 21,
                                     .sampling = FM_SAMPLING_DEFAULT,
                                     .max_evaluations = 1000}};
    fm_error err;
    ck_assert_int_eq(fm_solve_check(&plan, &err), FM_OK);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    fm_solve *solve = fm_solve_init(memory, &plan, 3, &x0, NULL);
    fm_solve_want want;
    while (fm_solve_next(solve, &want)) {
        double score = 0;
        ck_assert_int_eq(want.score != NULL, gives_score);
        normal_field(path, want.t, *want.x, want.v, &score);
        if (want.score != NULL) {
            *want.score = score;
        }
        fm_solve_give(solve);
    }
    fm_solve_report report;
    fm_solve_describe(solve, &report);
    ck_assert_int_eq(report.status, FM_ROW_OK);
    end = report.x[0];
    fm_free(memory);
    return end;
}

static const char *const scored_methods[] = {"euler_maruyama", "stochastic_heun",
                                             "predictor_corrector"};

START_TEST(the_score_of_a_network_steers_as_that_of_the_velocity_does)
{
    for (size_t i = 0; i < 3; i++) {
        ck_assert(fm_method_uses_score(fm_method_find(scored_methods[i])));
        for (int j = 0; j < N_SCHEDULERS; j++) {
            fm_path path = usual_path(schedulers[j], 1);
            double told = end_of(scored_methods[i], &path, true);
            double derived = end_of(scored_methods[i], &path, false);
            ck_assert_msg(fabs(told - derived) <= 1e-9 * (1 + fabs(derived)), "%s %s: %g, not %g",
                          scored_methods[i], schedulers[j], told, derived);
        }
    }
    ck_assert(!fm_method_uses_score(fm_method_find("ddpm")));
    ck_assert(!fm_method_uses_score(fm_method_find("edm_heun")));
}
END_TEST

/* ---- the engine ---- */

/* A network of one layer in two dimensions, out = W (x, t) + b: of the pair, or of one of its halves. */
static const float weight[4][3] = {
    {0.5F, -0.25F, 1.5F}, {0.125F, 0.75F, -0.5F}, {-1.0F, 0.25F, 0.5F}, {0.5F, -1.5F, 0.25F}};
static const float bias[4] = {0.25F, -0.5F, 0.75F, 0.125F};

static fm_model *open_linear(temp_folder *folder, const char *flow, size_t first, size_t n)
{
    char config[512], header[256];
    float payload[16];
    size_t n_floats = n * 3;
    memcpy(payload, weight[first], n_floats * sizeof *payload);
    memcpy(payload + n_floats, bias + first, n * sizeof *payload);
    (void)snprintf(header, sizeof header,
                   "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[%zu,3],\"data_offsets\":[0,%zu]},"
                   "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}}",
                   n, n_floats * 4, n, n_floats * 4, (n_floats + n) * 4);
    (void)snprintf(config, sizeof config,
                   "{\"schema\":\"velocityd.model/"
                   "1\",\"network\":{\"architecture\":\"mlp\",\"activation\":\"silu\"},"
                   "\"flow\":{\"shape\":[2],%s}}",
                   flow);
    temp_folder_make(folder);
    temp_folder_write_text(folder, "config.json", config);
    safetensors_image image = safetensors_image_make(header, payload, (n_floats + n) * 4);
    temp_folder_write(folder, "model.safetensors", image.data, image.size_bytes);
    safetensors_image_free(&image);
    return engine_case_model(folder->path, 1);
}

#define N_ROWS  ((size_t)9)
#define N_STEPS ((size_t)8)

static fm_job_spec sample_spec(fm_model *model, const char *method, double *grid)
{
    fm_grid_uniform(0, 1, N_STEPS, grid);
    return (fm_job_spec){.task = FM_TASK_SAMPLE,
                         .model = model,
                         .n_rows = N_ROWS,
                         .seed = 5,
                         .guidance = {.scale = 1},
                         .solver = {.method = fm_method_find(method),
                                    .grid = grid,
                                    .n_grid = N_STEPS + 1,
                                    .sampling = FM_SAMPLING_DEFAULT,
                                    .max_evaluations = 100}};
}

static const char *const pair_flow =
    "\"coupling\":\"paired\",\"prediction\":[\"velocity\",\"score\"]";

/* A linear network of paired noise and data, and an engine to run it. */
typedef struct {
    temp_folder folder;
    fm_model *model;
    fm_engine *engine;
} paired_setup;

static void paired_setup_make(paired_setup *setup)
{
    setup->model = open_linear(&setup->folder, pair_flow, 0, 4);
    setup->engine = engine_case_engine(1);
}

static void paired_setup_remove(paired_setup *setup)
{
    fm_engine_free(setup->engine);
    fm_model_unref(setup->model);
    temp_folder_remove(&setup->folder);
}

START_TEST(the_first_head_flows_as_if_it_were_alone)
{
    paired_setup both;
    paired_setup_make(&both);
    temp_folder alone_folder;
    fm_model *alone = open_linear(&alone_folder, "\"prediction\":\"velocity\"", 0, 2);
    double grid[N_STEPS + 1];
    fm_job_spec spec = sample_spec(both.model, "rk4", grid),
                other = sample_spec(alone, "rk4", grid);
    fm_job *pair = engine_case_run(both.engine, &spec),
           *single = engine_case_run(both.engine, &other);
    for (size_t i = 0; i < N_ROWS; i++) {
        fm_row_result a, b;
        fm_job_row(pair, i, &a);
        fm_job_row(single, i, &b);
        ck_assert_mem_eq(a.x, b.x, 2 * sizeof(float));
    }
    fm_job_free(pair);
    fm_job_free(single);
    paired_setup_remove(&both);
    fm_model_unref(alone);
    temp_folder_remove(&alone_folder);
}
END_TEST

/* Component k of a head. */
static double head_at(size_t row, const double *x, double t)
{
    return (double)weight[row][0] * x[0] + (double)weight[row][1] * x[1] +
           (double)weight[row][2] * t + (double)bias[row];
}

/* x += h (v + D s) + sqrt(2 D h) z with D = 1 - t, the last step without its noise. */
static void by_hand(size_t sample, uint64_t seed, double x[2])
{
    double h = 1.0 / (double)N_STEPS, z[2];
    fm_rng_normal(seed, sample, FM_RNG_SOURCE_NOISE, 0, 2, x);
    for (size_t k = 0; k < N_STEPS; k++) {
        double t = (double)k * h, d = 1 - t, drift[2];
        fm_rng_normal(seed, sample, FM_RNG_SOLVER_NOISE, 2 * k, 2, z);
        for (size_t i = 0; i < 2; i++) {
            drift[i] = head_at(i, x, t) + d * head_at(2 + i, x, t);
        }
        for (size_t i = 0; i < 2; i++) {
            x[i] += h * drift[i] + (k + 1 < N_STEPS ? sqrt(2 * d * h) * z[i] : 0);
        }
    }
}

START_TEST(of_paired_noise_and_data_the_second_head_steers_the_stochastic_equation)
{
    paired_setup setup;
    paired_setup_make(&setup);
    ck_assert(fm_model_describe(setup.model)->paired && fm_model_describe(setup.model)->has_score);
    double grid[N_STEPS + 1];
    const double times[] = {0.25, 1};
    fm_job_spec spec = sample_spec(setup.model, "euler_maruyama", grid);
    spec.solver.sampling.diffusion = (fm_diffusion){.form = FM_DIFFUSION_LINEAR, .norm = 1};
    spec.output_times = times;
    spec.n_output_times = 1;
    spec.fields =
        FM_FIELD_BIT(FM_FIELD_X) | FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_SCORE);
    fm_job *job = engine_case_run(setup.engine, &spec);
    for (size_t i = 0; i < N_ROWS; i++) {
        double x[2], at[2];
        fm_row_result result;
        fm_job_row(job, i, &result);
        by_hand(i, spec.seed, x);
        ck_assert_int_eq(result.status, FM_ROW_OK);
        for (size_t k = 0; k < 2; k++) {
            at[k] = (double)result.fields[FM_FIELD_X][k];
            ck_assert_double_eq_tol((double)result.x[k], x[k], 2e-6 * (1 + fabs(x[k])));
        }
        for (size_t k = 0; k < 2; k++) {
            double v = head_at(k, at, 0.25), score = head_at(2 + k, at, 0.25);
            ck_assert_double_eq_tol((double)result.fields[FM_FIELD_VELOCITY][k], v, 1e-5);
            ck_assert_double_eq_tol((double)result.fields[FM_FIELD_SCORE][k], score, 1e-5);
        }
    }
    fm_job_free(job);
    paired_setup_remove(&setup);
}
END_TEST

START_TEST(at_a_point_every_field_is_read_from_its_head)
{
    paired_setup setup;
    paired_setup_make(&setup);
    const double x[2][2] = {{0.3, -0.8}, {1.5, 0.25}}, t[2] = {0.25, 0.5};
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = setup.model,
                        .n_rows = 2,
                        .x = x[0],
                        .t = t,
                        .guidance = {.scale = 1},
                        .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_X1_HAT) |
                                  FM_FIELD_BIT(FM_FIELD_SCORE)};
    fm_job *job = engine_case_run(setup.engine, &spec);
    for (size_t i = 0; i < 2; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, FM_ROW_OK);
        for (size_t k = 0; k < 2; k++) {
            double v = head_at(k, x[i], t[i]), score = head_at(2 + k, x[i], t[i]);
            double x1 = x[i][k] + (1 - t[i]) * v;
            ck_assert_double_eq_tol((double)result.fields[FM_FIELD_VELOCITY][k], v, 1e-6);
            ck_assert_double_eq_tol((double)result.fields[FM_FIELD_X1_HAT][k], x1, 1e-6);
            ck_assert_double_eq_tol((double)result.fields[FM_FIELD_SCORE][k], score, 1e-6);
        }
    }
    fm_job_free(job);
    paired_setup_remove(&setup);
}
END_TEST

Suite *suite_engine_prediction_pair(void)
{
    Suite *suite = suite_create("engine/prediction_pair");
    TCase *tcase = tcase_create("prediction_pair");
    tcase_add_loop_test(tcase, a_pair_gives_back_what_it_was_made_of, 0, N_PAIRS * N_SCHEDULERS);
    tcase_add_test(tcase, what_a_head_predicts_is_read_from_it_alone);
    tcase_add_test(tcase, of_a_pair_against_the_direction_the_velocity_alone_changes_its_sign);
    tcase_add_test(tcase, a_velocity_is_read_whatever_the_score_beside_it);
    tcase_add_test(tcase, both_of_a_pair_are_guided_and_in_the_same_channels);
    tcase_add_test(tcase, a_pair_on_another_path_is_read_there);
    tcase_add_test(tcase, the_score_of_a_network_steers_as_that_of_the_velocity_does);
    tcase_add_test(tcase, the_first_head_flows_as_if_it_were_alone);
    tcase_add_test(tcase, of_paired_noise_and_data_the_second_head_steers_the_stochastic_equation);
    tcase_add_test(tcase, at_a_point_every_field_is_read_from_its_head);
    suite_add_tcase(suite, tcase);
    return suite;
}
