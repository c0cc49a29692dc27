/* engine/network/classifier: slopes and gradients of log probabilities against their central differences, and a
 * classifier as a model, which describes itself and takes no jobs. */
#include "engine/fm.h"
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/network/classifier.h"
#include "engine/network/gradient_network.h"
#include "tests/support/engine_case.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define FOLDER    "tests/golden/mlp-classifier"
#define N_LABELS  ((size_t)4)
#define DIMENSION ((size_t)2)

static double log_probability(size_t n, const double *logits, size_t label)
{
    double largest = logits[0], sum = 0;
    for (size_t i = 1; i < n; i++) {
        largest = fmax(largest, logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp(logits[i] - largest);
    }
    return logits[label] - largest - log(sum);
}

/* ---- slopes ---- */

/* Seen: 4e-10. */
START_TEST(slopes_are_the_central_differences_of_a_log_softmax)
{
    static const double rows[][N_LABELS] = {{0, 0, 0, 0},
                                            {0.5, -1, 2, 0.25},
                                            {-3, 4, 1, -2},
                                            {1000, 999, 998, 997},
                                            {-800, -800, 0, 1}};
    const double h = 1e-4;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        for (size_t label = 0; label < N_LABELS; label++) {
            double slopes[N_LABELS], moved[N_LABELS], sum = 0;
            memcpy(slopes, rows[k], sizeof slopes);
            fm_classifier_slopes(N_LABELS, (int32_t)label, slopes);
            for (size_t i = 0; i < N_LABELS; i++) {
                memcpy(moved, rows[k], sizeof moved);
                moved[i] = rows[k][i] + h;
                double after = log_probability(N_LABELS, moved, label);
                moved[i] = rows[k][i] - h;
                double before = log_probability(N_LABELS, moved, label);
                ck_assert_double_eq_tol(slopes[i], (after - before) / (2 * h), 1e-8);
                sum += slopes[i];
            }
            ck_assert_double_eq_tol(sum, 0, 1e-15);
        }
    }
}
END_TEST

START_TEST(the_slope_of_a_label_that_is_nearly_certain_keeps_its_digits)
{
    double slopes[] = {50, 0};
    fm_classifier_slopes(2, 0, slopes);
    ck_assert_double_eq_tol(slopes[0] / exp(-50), 1, 1e-15); /* 1 - p would be 0 */
    ck_assert_double_eq_tol(slopes[1] / exp(-50), -1, 1e-15);
    double only = 3;
    fm_classifier_slopes(1, 0, &only);
    ck_assert(only == 0);
}
END_TEST

/* ---- gradients ---- */

/* Of the logits that the plan returns, at points that are moved so far that their float32 shows little. Seen: 9e-5. */
START_TEST(the_gradient_is_the_central_difference_of_the_log_probability)
{
    enum { N = 8 };
    const double h = 5e-3;
    network_case it;
    fm_dense_thread_init();
    network_case_open(&it, FOLDER);
    const fm_network *inner = fm_gradient_network_inner(it.network);
    ck_assert_ptr_ne(inner, it.network);
    ck_assert_uint_eq(inner->info.out_dimension, N_LABELS);
    double x[N][DIMENSION], t[N], label[N], out[N][DIMENSION], want[N][DIMENSION];
    double moved[2][DIMENSION], times[2], logits[2][N_LABELS];
    for (size_t i = 0; i < N; i++) {
        x[i][0] = cos((double)i);
        x[i][1] = 1.5 * sin(3 * (double)i);
        t[i] = (double)i / (double)N;
        label[i] = (double)(i % N_LABELS);
    }
    network_case_eval(it.network, N, N, x[0], t, label, out[0], NULL);
    for (size_t i = 0; i < N * DIMENSION; i++) {
        size_t row = i / DIMENSION;
        memcpy(moved[0], x[row], sizeof moved[0]);
        memcpy(moved[1], x[row], sizeof moved[1]);
        moved[0][i % DIMENSION] -= h;
        moved[1][i % DIMENSION] += h;
        times[0] = times[1] = t[row];
        network_case_eval(inner, 2, 2, moved[0], times, NULL, logits[0], NULL);
        want[row][i % DIMENSION] = (log_probability(N_LABELS, logits[1], (size_t)label[row]) -
                                    log_probability(N_LABELS, logits[0], (size_t)label[row])) /
                                   (2 * h);
    }
    double error = network_case_error(N * DIMENSION, out[0], want[0]);
    ck_assert_msg(error <= 5e-4, "error %g", error);
    network_case_close(&it);
}
END_TEST

START_TEST(there_must_be_a_logit_for_each_label)
{
    network_case folder, it = {0};
    fm_error err = {0};
    network_case_open(&folder, FOLDER);
    folder.config.label_count = 5;
    fm_status status =
        network_case_make(&it, &folder.config, FOLDER "/model.safetensors", NULL, 0, &err);
    ck_assert_int_eq(status, FM_EFORMAT);
    ck_assert_msg(strstr(err.text, "\"main.4.weight\": expected shape [5, 32], found [4, 32]") !=
                      NULL,
                  "%s", err.text);
    network_case_close(&it);
    network_case_close(&folder);
}
END_TEST

/* ---- models ---- */

static void count_lines(void *context, const char *text, size_t length)
{
    size_t *lines = context;
    for (size_t i = 0; i < length; i++) {
        *lines += text[i] == '\n';
    }
}

START_TEST(a_classifier_describes_itself)
{
    fm_model *model = engine_case_model(FOLDER, 1);
    const fm_model_info *info = fm_model_describe(model);
    ck_assert(info->is_classifier && info->bits_promised);
    ck_assert(!info->has_score && !info->has_null_label && !info->has_log_density);
    ck_assert_str_eq(info->prediction, "classifier");
    ck_assert_str_eq(info->defaults_json, "{}");
    ck_assert_int_eq(info->label_count, (int32_t)N_LABELS);
    double span[2];
    fm_flow_span(info, NULL, span);
    ck_assert(span[0] == 0 && span[1] == 1);
    size_t lines = 0;
    fm_model_print_plan(model, count_lines, &lines);
    ck_assert_uint_eq(lines, 6); /* input, three layers, output, memory */
    fm_model_unref(model);
}
END_TEST

START_TEST(a_classifier_takes_no_jobs)
{
    static const double grid[] = {0, 1}, x[DIMENSION], t[1];
    static const int32_t label[1];
    fm_model *model = engine_case_model(FOLDER, 1);
    fm_engine *engine = engine_case_engine(1);
    const fm_job_spec specs[] = {
        {.model = model,
         .n_rows = 1,
         .labels = label,
         .guidance = {.scale = 1},
         .solver = {.method = fm_method_find("euler"),
                    .grid = grid,
                    .n_grid = 2,
                    .sampling = FM_SAMPLING_DEFAULT,
                    .max_evaluations = 1}},
        {.task = FM_TASK_VELOCITY,
         .model = model,
         .n_rows = 1,
         .labels = label,
         .guidance = {.scale = 1},
         .x = x,
         .t = t,
         .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)},
    };
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        engine_case_refuse(engine, &specs[i],
                           "model mlp-classifier is a classifier and has no velocity");
    }
    fm_engine_free(engine);
    fm_model_unref(model);
}
END_TEST

Suite *suite_engine_classifier(void)
{
    Suite *suite = suite_create("engine/classifier");
    TCase *tests = tcase_create("classifier");
    tcase_add_test(tests, slopes_are_the_central_differences_of_a_log_softmax);
    tcase_add_test(tests, the_slope_of_a_label_that_is_nearly_certain_keeps_its_digits);
    tcase_add_test(tests, the_gradient_is_the_central_difference_of_the_log_probability);
    tcase_add_test(tests, there_must_be_a_logit_for_each_label);
    tcase_add_test(tests, a_classifier_describes_itself);
    tcase_add_test(tests, a_classifier_takes_no_jobs);
    suite_add_tcase(suite, tests);
    return suite;
}
