/* engine/flow/prediction and the change of the path: networks read in every way under every scheduler, by the whole
 * engine, against tests/golden/predictions; and what no reference has against its own definition. */
#include "engine/flow/field.h"
#include "engine/fm.h"
#include "engine/memory.h"
#include "tests/support/engine_case.h"
#include "tests/support/network_case.h"
#include "tests/support/temp_folder.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER    "tests/golden/predictions/"
#define TOLERANCE 5e-5 /* times the RMS of the row's tensor; tests/golden/README.md */
#define N_POINTS  ((size_t)16)
#define N_STARTS  ((size_t)8)
#define N_STEPS   ((size_t)50)
#define N_ROWS    35

static json_t *table;
static fm_tensors *tensors;

static void open_reference(void)
{
    json_error_t json_err;
    fm_error err;
    table = json_load_file(FOLDER "predictions.json", 0, &json_err);
    ck_assert_ptr_nonnull(table);
    ck_assert_int_eq(fm_tensors_open(FOLDER "predictions.safetensors", &tensors, &err), FM_OK);
}

static void close_reference(void)
{
    json_decref(table);
    fm_tensors_close(tensors);
}

static const json_t *row_at(int i)
{
    return json_array_get(json_object_get(table, "rows"), (size_t)i);
}

/* ---- a model of the row ---- */

/* The reference's model with another scheduler and prediction. */
static void write_model(temp_folder *folder, json_t *scheduler, json_t *prediction)
{
    json_error_t json_err;
    char here[512], weights[1024];
    json_t *config = json_load_file(FOLDER "config.json", 0, &json_err);
    ck_assert_ptr_nonnull(config);
    json_t *flow = json_object_get(config, "flow");
    ck_assert_int_eq(json_object_set(flow, "scheduler", scheduler), 0);
    ck_assert_int_eq(json_object_set(flow, "prediction", prediction), 0);
    char *text = json_dumps(config, 0);
    temp_folder_make(folder);
    temp_folder_write_text(folder, "config.json", text);
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    (void)snprintf(weights, sizeof weights, "%s/" FOLDER "model.safetensors", here);
    ck_assert_int_eq(symlink(weights, temp_folder_file(folder, "model.safetensors")), 0);
    free(text);
    json_decref(config);
}

typedef struct case_run {
    temp_folder folder;
    fm_model *model;
    fm_engine *engine;
} case_run;

static void open_run(case_run *run, json_t *scheduler, json_t *prediction)
{
    write_model(&run->folder, scheduler, prediction);
    run->model = engine_case_model(run->folder.path, 1);
    run->engine = engine_case_engine(1);
}

static void close_run(case_run *run)
{
    fm_engine_free(run->engine);
    fm_model_unref(run->model);
    temp_folder_remove(&run->folder);
}

static fm_job *run_job(const case_run *run, fm_job_spec *spec)
{
    spec->model = run->model;
    spec->guidance.scale = 1;
    return engine_case_run(run->engine, spec);
}

/* ---- comparisons ---- */

static void check_field(const fm_job *job, fm_field_id id, const char *tensor)
{
    size_t count = 0;
    double *expected = network_case_tensor(tensors, tensor, &count);
    double *found = malloc(count * sizeof *found);
    size_t dimension = count / fm_job_n_rows(job);
    for (size_t i = 0; i < count; i++) {
        fm_row_result result;
        fm_job_row(job, i / dimension, &result);
        ck_assert_int_eq(result.status, FM_ROW_OK);
        found[i] = (id == FM_FIELD_X ? result.x : result.fields[id])[i % dimension];
    }
    double error = network_case_error(count, found, expected);
    ck_assert_msg(error <= TOLERANCE, "%s: %.2g", tensor, error);
    free(found);
    free(expected);
}

static void check_named(const fm_job *job, fm_field_id id, const json_t *row, const char *key)
{
    const char *tensor = json_string_value(json_object_get(row, key));
    if (tensor != NULL) {
        check_field(job, id, tensor);
    }
}

static fm_path path_of(const json_t *scheduler)
{
    const fm_path_type *type =
        fm_path_type_find(json_string_value(json_object_get(scheduler, "type")));
    double parameters[FM_PATH_MAX_PARAMETERS] = {0};
    const char *name = NULL;
    for (size_t i = 0; fm_path_type_parameter(type, i, &name, &parameters[i]); i++) {
        const json_t *value = json_object_get(scheduler, name);
        parameters[i] = value != NULL ? json_number_value(value) : parameters[i];
    }
    fm_path path;
    ck_assert_int_eq(fm_path_init(&path, type, parameters, NULL, 1, NULL), FM_OK);
    return path;
}

static void check_points(const case_run *run, const json_t *row, const fm_path *path)
{
    double *x = network_case_tensor(tensors, "x", NULL);
    double *t = network_case_tensor(tensors, "t", NULL);
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .n_rows = N_POINTS,
                        .x = x,
                        .t = t,
                        .path = path,
                        .fields = FM_FIELD_BIT(FM_N_VECTOR_FIELDS) - 1};
    fm_job *job = run_job(run, &spec);
    check_named(job, FM_FIELD_VELOCITY, row, "velocity");
    check_named(job, FM_FIELD_X1_HAT, row, "x1_hat");
    check_named(job, FM_FIELD_X0_HAT, row, "epsilon_hat");
    check_named(job, FM_FIELD_SCORE, row, "score_hat");
    fm_job_free(job);
    free(x);
    free(t);
}

static void check_flow(const case_run *run, const json_t *row, const fm_path *path)
{
    double grid[N_STEPS + 1];
    double *x0 = network_case_tensor(tensors, "x0", NULL);
    fm_grid_uniform(0.01, 0.99, N_STEPS, grid);
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .n_rows = N_STARTS,
                        .x = x0,
                        .path = path,
                        .solver = {.method = fm_method_find("midpoint"),
                                   .grid = grid,
                                   .n_grid = N_STEPS + 1,
                                   .max_evaluations = 1000}};
    fm_job *job = run_job(run, &spec);
    check_named(job, FM_FIELD_X, row, "flow");
    fm_job_free(job);
    free(x0);
}

START_TEST(outputs_are_read_as_the_reference_reads_them)
{
    const json_t *row = row_at(_i);
    const json_t *transform = json_object_get(row, "transform");
    json_t *trained =
        transform != NULL ? json_object_get(transform, "from") : json_object_get(row, "scheduler");
    fm_path to;
    if (transform != NULL) {
        to = path_of(json_object_get(transform, "to"));
    }
    case_run run;
    open_run(&run, trained, json_object_get(row, "prediction"));
    check_points(&run, row, transform != NULL ? &to : NULL);
    check_flow(&run, row, transform != NULL ? &to : NULL);
    close_run(&run);
}
END_TEST

/* ---- without a reference: against the definitions ---- */

static const char *const schedulers[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                         "cosine", "ve",         "edm", "target"};
static const char *const predictions[] = {"velocity", "x1", "epsilon", "score", "v", "edm"};
#define N_SCHEDULERS  9
#define N_PREDICTIONS 6

/* What a perfect network of the prediction says of x = alpha x1 + sigma noise. */
static double output_of(const char *prediction, const fm_path_point *at, double x1, double noise,
                        double sigma_data)
{
    double level = at->sigma / at->alpha, root = hypot(level, sigma_data);
    double x = at->alpha * x1 + at->sigma * noise;
    const struct {
        const char *name;
        double output;
    } outputs[] = {
        {"velocity", at->d_alpha * x1 + at->d_sigma * noise},
        {"x1", x1},
        {"epsilon", noise},
        {"score", -noise / at->sigma},
        {"v", at->alpha * noise - at->sigma * x1},
        {"edm", (x1 - sigma_data * sigma_data / (root * root) * x / at->alpha) /
                    (level * sigma_data / root)},
    };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (strcmp(outputs[i].name, prediction) == 0) {
            return outputs[i].output;
        }
    }
    ck_abort_msg("no prediction %s", prediction);
}

static double value(fm_linear reading, double x, double out)
{
    return reading.x * x + reading.out * out;
}

static void check_near(double found, double expected, double scale)
{
    ck_assert_msg(fabs(found - expected) <= 1e-10 * (fabs(expected) + scale), "%.17g, not %.17g",
                  found, expected);
}

START_TEST(every_prediction_under_every_scheduler_gives_back_what_it_was_made_of)
{
    fm_path path = usual_path(schedulers[_i % N_SCHEDULERS], 1.3);
    const char *name = predictions[_i / N_SCHEDULERS];
    fm_prediction prediction = {.type = fm_prediction_type_find(name), .parameter = 0.7};
    for (double t = 0.05; t < 1; t += 0.09) {
        fm_path_point at = fm_path_at(&path, t);
        double x1 = 0.8 - t, noise = 1.7 * t - 0.4;
        double x = at.alpha * x1 + at.sigma * noise;
        double out = output_of(name, &at, x1, noise, 0.7);
        fm_reading reading = fm_prediction_read(&prediction, &at);
        double scale = 1 + fabs(x) / fmin(at.alpha, at.sigma);
        check_near(value(reading.x1, x, out), x1, scale);
        check_near(value(reading.noise, x, out), noise, scale);
        check_near(value(reading.velocity, x, out), at.d_alpha * x1 + at.d_sigma * noise,
                   scale * (fabs(at.d_alpha) + fabs(at.d_sigma)));
    }
}
END_TEST

START_TEST(an_edm_network_is_fed_the_preconditioned_state_and_a_quarter_of_the_log_noise)
{
    fm_path path = usual_path("edm", 1.3);
    fm_field field = {
        .path = path,
        .predictions.first = {.type = fm_prediction_type_find("edm"), .parameter = 0.5},
        .time_scale = 1};
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    ck_assert_uint_eq(fm_field_asks(&field, &condition, 0.4, asks), 1);
    double sigma = fm_path_at(&path, 0.4).sigma;
    ck_assert_double_eq_tol(asks[0].t, log(sigma) / 4, 1e-14);
    ck_assert_double_eq_tol(asks[0].state_scale, 1 / sqrt(sigma * sigma + 0.25), 1e-14);
}
END_TEST

/* N(2, 0.5^2) is exact on every path, so the field changed from one path to another is the other's own. */
static double gaussian_velocity(const fm_path_point *at, double x)
{
    double variance = at->alpha * at->alpha * 0.25 + at->sigma * at->sigma;
    double rate = (at->alpha * at->d_alpha * 0.25 + at->sigma * at->d_sigma) / variance;
    return rate * (x - at->alpha * 2) + at->d_alpha * 2;
}

START_TEST(a_field_changed_to_another_path_is_the_field_of_that_path)
{
    fm_path from = usual_path(schedulers[_i / N_SCHEDULERS], 1.3);
    fm_path to = usual_path(schedulers[_i % N_SCHEDULERS], 1.3);
    fm_field field = {.path = from,
                      .predictions.first.type = fm_prediction_type_find("velocity"),
                      .time_scale = 1};
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}, .path = &to};
    for (double t = 0.1; t < 0.95; t += 0.07) {
        fm_path_point at = fm_path_at(&to, t);
        double model_t = fm_path_time_of(&from, at.alpha, at.sigma);
        if (model_t == 0 || model_t == 1) {
            continue; /* noise that the other path does not reach */
        }
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        double x = at.alpha * 1.6 + at.sigma * 0.4;
        (void)fm_field_asks(&field, &condition, t, asks);
        check_near(asks[0].t, model_t, 1);
        fm_path_point there = fm_path_at(&from, model_t);
        double v = gaussian_velocity(&there, asks[0].state_scale * x);
        fm_field_answer(&field, &condition, t, 1, &x, &(fm_field_outputs){.out = &v}, &v, NULL);
        double expected = gaussian_velocity(&at, x);
        ck_assert_msg(fabs(v - expected) <= 1e-8 * (1 + fabs(expected)), "t = %g: %g, not %g", t, v,
                      expected);
    }
}
END_TEST

START_TEST(a_changed_path_is_finite_at_both_ends)
{
    fm_path from = usual_path("condot", 1.3), to = usual_path("cosine", 1.3);
    fm_field field = {.path = from,
                      .predictions.first.type = fm_prediction_type_find("velocity"),
                      .time_scale = 1};
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}, .path = &to};
    for (int end = 0; end < 2; end++) {
        double x = 0.3, v = 0;
        fm_path_point at = fm_path_at(&to, end), there = fm_path_at(&from, end);
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        (void)fm_field_asks(&field, &condition, end, asks);
        ck_assert_double_eq(asks[0].t, end);
        v = gaussian_velocity(&there, asks[0].state_scale * x);
        fm_field_answer(&field, &condition, end, 1, &x, &(fm_field_outputs){.out = &v}, &v, NULL);
        ck_assert_double_eq_tol(v, gaussian_velocity(&at, x), 1e-12);
    }
}
END_TEST

Suite *suite_engine_prediction(void)
{
    Suite *suite = suite_create("engine/prediction");
    TCase *reference = tcase_create("reference");
    tcase_add_checked_fixture(reference, open_reference, close_reference);
    tcase_add_loop_test(reference, outputs_are_read_as_the_reference_reads_them, 0, N_ROWS);
    suite_add_tcase(suite, reference);
    TCase *definitions = tcase_create("definitions");
    tcase_add_loop_test(definitions,
                        every_prediction_under_every_scheduler_gives_back_what_it_was_made_of, 0,
                        N_SCHEDULERS * N_PREDICTIONS);
    tcase_add_test(definitions,
                   an_edm_network_is_fed_the_preconditioned_state_and_a_quarter_of_the_log_noise);
    tcase_add_loop_test(definitions, a_field_changed_to_another_path_is_the_field_of_that_path, 0,
                        N_SCHEDULERS * N_SCHEDULERS);
    tcase_add_test(definitions, a_changed_path_is_finite_at_both_ends);
    suite_add_tcase(suite, definitions);
    return suite;
}
