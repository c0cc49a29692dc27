/* Guidance: every form against PyTorch's float64 velocities, Gaussians against their closed form, and its rules. */
#include "engine/fm.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define N_POINTS  16
#define DIMENSION 2
#define LABELLED  "tests/golden/mlp-labels"
#define WEAK      "tests/golden/guidance/mlp-labels-weak"

/* ---- velocities of a network ---- */

typedef struct golden {
    json_t *cases, *it;
    fm_guidance guidance;
    int32_t labels[N_POINTS], negative[N_POINTS];
    double x[N_POINTS * DIMENSION], t[N_POINTS], v[N_POINTS * DIMENSION];
    double table_t[N_POINTS], table_values[N_POINTS];
    fm_model *model, *weak;
} golden;

static double number(const json_t *object, const char *key, double fallback)
{
    json_t *value = json_object_get(object, key);
    return value == NULL ? fallback : json_number_value(value);
}

static size_t numbers(const json_t *list, double *ret)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        ret[i] = json_number_value(json_array_get(list, i));
    }
    return json_array_size(list);
}

static void read_schedule(golden *ret, const json_t *schedule)
{
    if (schedule == NULL) {
        return;
    }
    fm_guidance_schedule *to = &ret->guidance.schedule;
    to->form = fm_guidance_schedule_find(json_string_value(json_object_get(schedule, "type")));
    ck_assert_uint_lt(to->form, FM_N_GUIDANCE_SCHEDULES);
    to->end = number(schedule, "end", 1);
    to->n = numbers(json_object_get(schedule, "t"), ret->table_t);
    (void)numbers(json_object_get(schedule, "scales"), ret->table_values);
    to->t = ret->table_t;
    to->values = ret->table_values;
}

static void read_guidance(golden *ret, const json_t *from)
{
    fm_guidance *to = &ret->guidance;
    const json_t *apg = json_object_get(from, "apg");
    const json_t *conditions = json_object_get(from, "conditions");
    *to = (fm_guidance){.scale = number(from, "scale", 1),
                        .channels = (size_t)number(from, "channels", 0),
                        .rescale = number(from, "rescale", 0),
                        .zero_star = json_is_true(json_object_get(from, "zero_star")),
                        .projects = apg != NULL,
                        .n_conditions = json_array_size(conditions)};
    to->projection = (fm_guidance_projection){.parallel = number(apg, "eta", 0),
                                              .threshold = number(apg, "norm", 0),
                                              .momentum = number(apg, "momentum", 0)};
    to->has_interval = numbers(json_object_get(from, "interval"), to->interval) == 2;
    for (size_t i = 0; i < to->n_conditions; i++) {
        const json_t *condition = json_array_get(conditions, i);
        to->conditions[i] = (fm_guidance_condition){.label = (int32_t)number(condition, "label", 0),
                                                    .scale = number(condition, "scale", 0)};
    }
    if (json_object_get(from, "model") != NULL) {
        ret->weak = engine_case_model(WEAK, 1);
        to->model = ret->weak;
    }
    if (json_object_get(from, "negative_label") != NULL) {
        to->negative_labels = ret->negative;
    }
    read_schedule(ret, json_object_get(from, "schedule"));
}

static void golden_open(golden *ret, size_t index)
{
    memset(ret, 0, sizeof *ret);
    ret->cases = json_load_file("tests/golden/guidance/mlp-labels.json", 0, NULL);
    ret->it = json_array_get(ret->cases, index);
    ck_assert_ptr_nonnull(ret->it);
    const json_t *guidance = json_object_get(ret->it, "guidance");
    read_guidance(ret, guidance);
    ck_assert_uint_eq(json_array_size(json_object_get(ret->it, "points")), N_POINTS);
    for (size_t i = 0; i < N_POINTS; i++) {
        const json_t *point = json_array_get(json_object_get(ret->it, "points"), i);
        const json_t *v = json_array_get(json_object_get(ret->it, "velocity"), i);
        ck_assert_uint_eq(numbers(json_array_get(point, 0), ret->x + i * DIMENSION), DIMENSION);
        ck_assert_uint_eq(numbers(v, ret->v + i * DIMENSION), DIMENSION);
        ret->t[i] = json_number_value(json_array_get(point, 1));
        ret->labels[i] = (int32_t)number(ret->it, "label", -1);
        ret->negative[i] = (int32_t)number(guidance, "negative_label", 0);
    }
    ret->model = engine_case_model(LABELLED, 1);
}

static void golden_close(golden *it)
{
    fm_model_unref(it->model);
    fm_model_unref(it->weak);
    json_decref(it->cases);
}

static fm_job *run(const fm_job_spec *spec)
{
    fm_engine *engine = engine_case_engine(1);
    fm_job *job = engine_case_run(engine, spec);
    fm_engine_free(engine);
    return job;
}

/* As the evaluations of one trajectory would have them. */
static void evaluate_in_order(const golden *it, double *ret)
{
    const fm_network *network = it->model->network;
    const fm_field *field = &it->model->field;
    double momentum[DIMENSION] = {0};
    const fm_condition condition = {
        .label = it->labels[0], .guidance = &it->guidance, .momentum = momentum};
    void *scratch = fm_model_scratch(it->model, 0);
    for (size_t i = 0; i < N_POINTS; i++) {
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        double out[2][DIMENSION];
        ck_assert_uint_eq(fm_field_asks(field, &condition, it->t[i], asks), 2);
        for (size_t k = 0; k < 2; k++) {
            const fm_tile_row row = {
                .x = it->x + i * DIMENSION, .t = asks[k].t, .label = asks[k].label, .out = out[k]};
            ck_assert_int_eq(fm_network_eval(network, &row, 1, scratch), FM_OK);
        }
        fm_field_answer(field, &condition, it->t[i], DIMENSION, it->x + i * DIMENSION,
                        &(fm_field_outputs){.out = out[0], .others = out[1], .stride = DIMENSION},
                        ret + i * DIMENSION, NULL);
    }
}

static void evaluate_as_job(const golden *it, double *ret)
{
    const fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                              .model = it->model,
                              .n_rows = N_POINTS,
                              .labels = it->labels,
                              .guidance = it->guidance,
                              .x = it->x,
                              .t = it->t,
                              .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    fm_job *job = run(&spec);
    for (size_t i = 0; i < N_POINTS; i++) {
        fm_row_result row;
        fm_job_row(job, i, &row);
        for (size_t k = 0; k < DIMENSION; k++) {
            ret[i * DIMENSION + k] = (double)row.fields[FM_FIELD_VELOCITY][k];
        }
    }
    fm_job_free(job);
}

/* To 4e-6 of the velocities' root mean square; seen 1.3e-6, that of float32 networks. */
START_TEST(every_form_of_guidance_gives_the_velocities_of_pytorch_in_float64)
{
    golden it;
    golden_open(&it, (size_t)_i);
    double found[N_POINTS * DIMENSION], square = 0;
    if (it.guidance.projection.momentum != 0.0) {
        evaluate_in_order(&it, found);
    } else {
        evaluate_as_job(&it, found);
    }
    for (size_t i = 0; i < N_POINTS * DIMENSION; i++) {
        square += it.v[i] * it.v[i] / (N_POINTS * DIMENSION);
    }
    for (size_t i = 0; i < N_POINTS * DIMENSION; i++) {
        ck_assert_msg(fabs(found[i] - it.v[i]) <= 4e-6 * sqrt(square), "%s, value %zu: %g, not %g",
                      json_string_value(json_object_get(it.it, "name")), i, found[i], it.v[i]);
    }
    golden_close(&it);
}
END_TEST

/* ---- Gaussians ---- */

static fm_model *open_gaussians(const json_t *it)
{
    char config[1024];
    const json_t *conditional = json_object_get(it, "conditional");
    const json_t *unconditional = json_object_get(it, "unconditional");
    (void)snprintf(
        config, sizeof config,
        "{\"schema\": \"velocityd.model/1\", \"network\": {\"architecture\": \"gaussian_mixture\", "
        "\"weights\": [1], \"means\": [[%.17g]], \"stds\": [%.17g], \"classes\": [{\"weights\": "
        "[1], \"means\": [[%.17g]], \"stds\": [%.17g]}]}, \"flow\": {\"shape\": [1], \"source\": "
        "{\"type\": \"normal\"}, \"scheduler\": {\"type\": \"condot\"}, \"prediction\": "
        "\"velocity\"}, \"conditioning\": {\"labels\": {\"count\": 1, \"null\": 1}}}",
        number(unconditional, "mean", 0), number(unconditional, "std", 1),
        number(conditional, "mean", 0), number(conditional, "std", 1));
    return engine_case_model_of_text(config, 1);
}

/* A Gaussian's flow is affine, so that two trajectories tell its mean and its standard deviation; to 1e-6, of which
 * dopri8 with rtol = atol = 1e-9 takes 2e-8 and the float32 results the rest. */
START_TEST(guided_gaussians_end_in_the_gaussians_that_quadrature_finds)
{
    json_t *cases = json_load_file("tests/golden/guidance/gaussian.json", 0, NULL);
    const json_t *it = json_array_get(cases, (size_t)_i);
    ck_assert_ptr_nonnull(it);
    static const double grid[] = {0, 1}, x0[] = {0, 1};
    static const int32_t labels[] = {0, 0};
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = open_gaussians(it),
                        .n_rows = 2,
                        .labels = labels,
                        .guidance = {.scale = number(it, "scale", 1)},
                        .x = x0,
                        .solver = {.method = fm_method_find("dopri8"),
                                   .grid = grid,
                                   .n_grid = 2,
                                   .rtol = 1e-9,
                                   .atol = 1e-9,
                                   .max_evaluations = 100000}};
    spec.guidance.has_interval =
        numbers(json_object_get(it, "interval"), spec.guidance.interval) == 2;
    fm_job *job = run(&spec);
    fm_row_result at[2];
    fm_job_row(job, 0, &at[0]);
    fm_job_row(job, 1, &at[1]);
    double mean = (double)at[0].x[0], std = (double)at[1].x[0] - mean;
    ck_assert_double_eq_tol(mean, number(it, "mean", -1), 1e-6);
    ck_assert_double_eq_tol(std, number(it, "std", -1), 1e-6);
    fm_job_free(job);
    fm_model_unref(spec.model);
    json_decref(cases);
}
END_TEST

/* ---- a classifier ---- */

/* One mixture of two classes, once as a flow and once as the classifier that it implies; p(y) = 0.6, 0.4. */
#define MIXTURE                                                                                    \
    "{\"schema\": \"velocityd.model/1\", \"network\": {\"architecture\": \"gaussian_mixture\", "   \
    "\"weights\": [0.45, 0.15, 0.4], \"means\": [[1, 0.5], [-0.5, 2], [-1, -1]], "                 \
    "\"stds\": [0.4, 0.3, 0.6], \"classes\": [{\"weights\": [0.45, 0.15], "                        \
    "\"means\": [[1, 0.5], [-0.5, 2]], \"stds\": [0.4, 0.3]}, {\"weights\": [0.4], "               \
    "\"means\": [[-1, -1]], \"stds\": [0.6]}]}, \"flow\": {\"shape\": [2], "                       \
    "\"source\": {\"type\": \"normal\"}, \"scheduler\": {\"type\": \"%s\"}, "                      \
    "\"prediction\": \"%s\"%s}, \"conditioning\": {\"labels\": {\"count\": 2%s}}}"

static fm_model *open_mixture(const char *scheduler, bool is_classifier, bool reversed)
{
    char config[1024];
    (void)snprintf(
        config, sizeof config, MIXTURE, scheduler, is_classifier ? "classifier" : "velocity",
        reversed ? ", \"time\": {\"direction\": \"data_to_noise\", \"scale\": 1000}" : "",
        is_classifier ? "" : ", \"null\": 2");
    return engine_case_model_of_text(config, 1);
}

typedef struct classified {
    const char *scheduler, *other_path;
    bool reversed;
} classified;

static const classified classified_rows[] = {
    {"condot", NULL, false},    {"condot", "cosine", false}, {"cosine", NULL, true},
    {"cosine", "condot", true}, {"vp", NULL, false},
};
#define N_CLASSIFIED ((int)(sizeof classified_rows / sizeof *classified_rows))

/* Bayes: grad log p(x | y) = grad log p(x) + grad log p(y | x). Seen 4e-6 in states of size 1: the float32 of the
 * answers, and the tolerance of both solves. */
START_TEST(a_classifier_at_scale_one_makes_the_flow_of_its_class)
{
    const classified *row = &classified_rows[_i];
    fm_model *classifier = open_mixture(row->scheduler, true, false);
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_path path;
    static const double grid[] = {0.01, 0.99};
    static const double x0[] = {0.5, 1, -1, 0.25, 0.1, -0.2, 2, 1};
    static const int32_t labels[] = {0, 1, 1, 0}, null[] = {2, 2, 2, 2};
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = open_mixture(row->scheduler, false, row->reversed),
                        .n_rows = 4,
                        .labels = labels,
                        .guidance = {.scale = 1},
                        .x = x0,
                        .solver = {.method = fm_method_find("dopri8"),
                                   .grid = grid,
                                   .n_grid = 2,
                                   .rtol = 1e-10,
                                   .atol = 1e-10,
                                   .max_evaluations = 100000}};
    if (row->other_path != NULL) {
        ck_assert_int_eq(
            fm_path_init(&path, fm_path_type_find(row->other_path), none, NULL, 1, NULL), FM_OK);
        spec.path = &path;
    }
    fm_job *exact = run(&spec);
    spec.labels = null;
    spec.guidance = (fm_guidance){
        .scale = 1, .classifier = classifier, .classifier_scale = 1, .classifier_labels = labels};
    fm_job *guided = run(&spec);
    for (size_t i = 0; i < 4; i++) {
        fm_row_result a, b;
        fm_job_row(exact, i, &a);
        fm_job_row(guided, i, &b);
        ck_assert(a.status == FM_ROW_OK && b.status == FM_ROW_OK);
        ck_assert_float_eq_tol(a.x[0], b.x[0], 2e-6F);
        ck_assert_float_eq_tol(a.x[1], b.x[1], 2e-6F);
    }
    fm_job_free(exact);
    fm_job_free(guided);
    fm_model_unref(spec.model);
    fm_model_unref(classifier);
}
END_TEST

/* Before 1e-3 its gradient is that of 1e-3, for a_t is infinite at the source: from t = 0 the flow is off by 1e-6. */
START_TEST(a_classifier_guides_from_the_source_on)
{
    fm_model *classifier = open_mixture("condot", true, false);
    static const double grid[] = {0, 1}, x0[] = {0.5, 1};
    static const int32_t label[] = {0};
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = open_mixture("condot", false, false),
                        .n_rows = 1,
                        .labels = label,
                        .guidance = {.scale = 1},
                        .x = x0,
                        .solver = {.method = fm_method_find("dopri5"),
                                   .grid = grid,
                                   .n_grid = 2,
                                   .rtol = 1e-8,
                                   .atol = 1e-8,
                                   .max_evaluations = 100000}};
    fm_job *exact = run(&spec);
    spec.labels = NULL;
    spec.guidance = (fm_guidance){
        .scale = 1, .classifier = classifier, .classifier_scale = 1, .classifier_labels = label};
    fm_job *guided = run(&spec);
    fm_row_result a, b;
    fm_job_row(exact, 0, &a);
    fm_job_row(guided, 0, &b);
    ck_assert_float_eq_tol(a.x[0], b.x[0], 5e-6F);
    ck_assert_float_eq_tol(a.x[1], b.x[1], 5e-6F);
    fm_job_free(exact);
    fm_job_free(guided);
    fm_model_unref(spec.model);
    fm_model_unref(classifier);
}
END_TEST

/* ---- what a velocity asks ---- */

static size_t rows_at(const fm_field *field, const fm_guidance *guidance, double t)
{
    const fm_condition condition = {.label = 1, .guidance = guidance};
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    size_t n = fm_field_asks(field, &condition, t, asks);
    ck_assert_uint_le(n, fm_field_most_rows(field, &condition));
    return n;
}

START_TEST(a_velocity_costs_one_evaluation_where_nothing_guides_it)
{
    fm_model *model = engine_case_model(LABELLED, 1);
    const fm_field *field = &model->field;
    const double t[] = {0, 1}, values[] = {1, 3};
    const fm_guidance interval = {.scale = 3, .has_interval = true, .interval = {0.25, 0.5}};
    ck_assert_uint_eq(rows_at(field, &interval, 0.2), 1);
    ck_assert_uint_eq(rows_at(field, &interval, 0.25), 2);
    ck_assert_uint_eq(rows_at(field, &interval, 0.5), 2);
    ck_assert_uint_eq(rows_at(field, &interval, 0.75), 1);
    const fm_guidance table = {
        .scale = 9,
        .schedule = {.form = FM_GUIDANCE_SCHEDULE_TABLE, .t = t, .values = values, .n = 2}};
    ck_assert_uint_eq(rows_at(field, &table, 0), 1);
    ck_assert_uint_eq(rows_at(field, &table, 0.5), 2);
    const fm_guidance conditions = {.scale = 1, .conditions = {{2, 1}, {3, -1}}, .n_conditions = 2};
    ck_assert_uint_eq(rows_at(field, &conditions, 0.5), 4);
    const fm_guidance star = {.scale = 0, .zero_star = true};
    ck_assert_uint_eq(rows_at(field, &star, 0.5), 2);
    fm_model_unref(model);
}
END_TEST

START_TEST(a_velocity_is_zero_before_zero_until_and_no_other_quantity_is)
{
    fm_model *model = engine_case_model(LABELLED, 1);
    const fm_guidance guidance = {.scale = 1, .zero_until = 0.25};
    const fm_condition condition = {.label = 1, .guidance = &guidance};
    double x[2] = {0.5, -1}, out[4] = {3, 4}, v[2];
    fm_field_answer(&model->field, &condition, 0.2, 2, x, &(fm_field_outputs){.out = out}, v, NULL);
    ck_assert(v[0] == 0 && v[1] == 0);
    fm_field_answer(&model->field, &condition, 0.25, 2, x, &(fm_field_outputs){.out = out}, v,
                    NULL);
    ck_assert(v[0] == 3 && v[1] == 4);
    fm_field_at at = fm_field_at_time(&model->field, &condition, 0.2);
    ck_assert_double_eq_tol(fm_field_element(at.reading.x1, 2, x, out, 0), 0.5 + 0.8 * 3, 1e-12);
    fm_model_unref(model);
}
END_TEST

/* A likelihood's gradient g raises the score by g, whatever the network predicts: so x1 moves by sigma^2 / alpha g
 * and the noise by -sigma g. */
START_TEST(a_gradient_moves_every_prediction_to_the_same_score)
{
    static const char *const names[] = {"velocity", "x1", "epsilon", "score", "v", "edm"};
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_field field = {.time_scale = 1, .channels = 1, .data_to_noise = _i % 2 == 1};
    ck_assert_int_eq(fm_path_init(&field.path, fm_path_type_find("cosine"), none, NULL, 1, NULL),
                     FM_OK);
    field.predictions.first =
        (fm_prediction){.type = fm_prediction_type_find(names[_i / 2]), .parameter = 0.5};
    fm_path_point point = fm_path_at(&field.path, 0.4);
    double x = 0.3, out[2] = {0.7, 0}, gradient = 1.25, before, after, v;
    const fm_condition condition = {0};
    fm_field_at at = fm_field_at_time(&field, &condition, 0.4);
    before = fm_field_element(at.reading.noise, 1, &x, out, 0);
    fm_field_answer(&field, &condition, 0.4, 1, &x,
                    &(fm_field_outputs){.out = out, .gradient = &gradient}, &v, NULL);
    after = fm_field_element(at.reading.noise, 1, &x, out, 0);
    ck_assert_double_eq_tol(after - before, -point.sigma * gradient, 1e-12);
}
END_TEST

/* ---- rules ---- */

static void refused(fm_job_spec *spec, fm_guidance guidance, const char *words)
{
    fm_engine *engine = engine_case_engine(1);
    spec->guidance = guidance;
    engine_case_refuse(engine, spec, words);
    fm_engine_free(engine);
}

START_TEST(a_job_refuses_guidance_that_breaks_a_rule)
{
    static const double x[2] = {0, 0}, t[1] = {0.5};
    static const int32_t labels[1] = {1}, bad[1] = {99};
    fm_model *other = engine_case_model("tests/golden/mlp-reversed", 1);
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = engine_case_model(LABELLED, 1),
                        .n_rows = 1,
                        .labels = labels,
                        .x = x,
                        .t = t,
                        .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    refused(&spec, (fm_guidance){.scale = (double)NAN}, "finite");
    refused(&spec, (fm_guidance){.scale = 1, .rescale = 1.5}, "rescale");
    refused(&spec, (fm_guidance){.scale = 1, .channels = 3}, "channels");
    refused(&spec, (fm_guidance){.scale = 1, .has_interval = true, .interval = {1, 0}}, "interval");
    refused(&spec, (fm_guidance){.scale = 1, .schedule = {.form = FM_GUIDANCE_SCHEDULE_TABLE}},
            "table");
    refused(&spec, (fm_guidance){.scale = 1, .negative_labels = bad}, "label");
    refused(&spec, (fm_guidance){.scale = 1, .n_conditions = 1, .conditions = {{99, 1}}}, "label");
    refused(&spec, (fm_guidance){.scale = 1, .n_conditions = 9}, "label");
    refused(&spec, (fm_guidance){.scale = 1, .zero_star = true, .projects = true}, "projection");
    refused(&spec, (fm_guidance){.scale = 2, .model = other}, "same flow");
    refused(&spec, (fm_guidance){.scale = 1, .classifier = other, .classifier_labels = labels},
            "classifier");
    refused(&spec, (fm_guidance){.scale = 2, .projects = true, .projection = {.momentum = -0.5}},
            "momentum");
    spec.fields = FM_FIELD_BIT(FM_FIELD_DIVERGENCE);
    refused(&spec, (fm_guidance){.scale = 2, .zero_star = true}, "plain");
    fm_model_unref(spec.model);
    fm_model_unref(other);
}
END_TEST

Suite *suite_engine_guidance(void)
{
    Suite *suite = suite_create("engine/guidance");
    TCase *velocities = tcase_create("velocities");
    tcase_add_loop_test(velocities,
                        every_form_of_guidance_gives_the_velocities_of_pytorch_in_float64, 0, 16);
    tcase_add_loop_test(velocities, guided_gaussians_end_in_the_gaussians_that_quadrature_finds, 0,
                        12);
    tcase_add_loop_test(velocities, a_classifier_at_scale_one_makes_the_flow_of_its_class, 0,
                        N_CLASSIFIED);
    tcase_add_test(velocities, a_classifier_guides_from_the_source_on);
    tcase_add_test(velocities, a_velocity_costs_one_evaluation_where_nothing_guides_it);
    tcase_add_test(velocities, a_velocity_is_zero_before_zero_until_and_no_other_quantity_is);
    tcase_add_loop_test(velocities, a_gradient_moves_every_prediction_to_the_same_score, 0, 12);
    suite_add_tcase(suite, velocities);
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, a_job_refuses_guidance_that_breaks_a_rule);
    suite_add_tcase(suite, rules);
    return suite;
}
