/* engine/network/frames: the network that PyTorch evaluated, and what it makes of frames that are turned and shifted. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/network/plan_frames.h"
#include "tests/support/failing_memory.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/frames-tiny"

/* ---- the network ---- */

START_TEST(a_network_of_frames_is_what_pytorch_evaluated)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, FOLDER);
    double error = network_case_reference_error(&it, FOLDER, NULL);
    ck_assert_msg(error <= 1e-5, "error %g", error);
    ck_assert_uint_eq(it.network->info.dimension, 6 * FM_FRAME_INPUTS);
    ck_assert_uint_eq(it.network->info.out_dimension, 6 * FM_FRAME_OUTPUTS);
    ck_assert_uint_eq(it.config.space.inputs, it.network->info.dimension);
    ck_assert_uint_eq(it.config.space.outputs, it.network->info.out_dimension);
    network_case_close(&it);
}
END_TEST

START_TEST(a_network_of_frames_counts_every_number_of_its_file)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, FOLDER);
    size_t count = 0;
    for (size_t i = 0; i < fm_tensors_count(it.tensors); i++) {
        count += fm_tensors_at(it.tensors, i)->count;
    }
    ck_assert_uint_eq(it.network->info.parameter_count, count);
    network_case_close(&it);
}
END_TEST

START_TEST(a_row_of_frames_has_its_bits_whatever_shares_its_call)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, FOLDER);
    bool independent = false;
    ck_assert_int_eq(fm_network_check_bits(it.network, 0, &independent, NULL), FM_OK);
    ck_assert(independent);
    network_case_close(&it);
}
END_TEST

START_TEST(every_failed_allocation_of_a_network_of_frames_is_an_error_and_leaks_nothing)
{
    fm_dense_thread_init();
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(FOLDER, &config, &err), FM_OK);
    bool refused = true;
    for (size_t k = 0; refused; k++) {
        ck_assert_uint_lt(k, 1000000);
        network_case it;
        failing_memory_start(k);
        fm_status status =
            network_case_make(&it, &config, FOLDER "/model.safetensors", NULL, 0, &err);
        refused = failing_memory_stop();
        ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                      "allocation %zu: %s", k, err.text);
        network_case_close(&it);
    }
    fm_model_config_done(&config);
}
END_TEST

/* ---- turned and shifted ---- */

/* A rotation of few decimals. */
static const double turn[9] = {0.6,  -0.8, 0.0,  //
                               0.48, 0.36, -0.8, //
                               0.64, 0.48, 0.6};
static const double shift[3] = {3.5, -1.25, 0.75};

static void turned(const double *from, double *to)
{
    for (size_t a = 0; a < 3; a++) {
        to[a] = turn[3 * a] * from[0] + turn[3 * a + 1] * from[1] + turn[3 * a + 2] * from[2];
    }
}

/* R becomes T R, column by column, and x becomes T x + s. */
static void frame_move(const double *from, double *to)
{
    for (size_t c = 0; c < 3; c++) {
        double column[3];
        turned((const double[3]){from[c], from[3 + c], from[6 + c]}, column);
        for (size_t a = 0; a < 3; a++) {
            to[3 * a + c] = column[a];
        }
    }
    turned(from + 9, to + 9);
    for (size_t a = 0; a < 3; a++) {
        to[9 + a] += shift[a];
    }
}

START_TEST(frames_that_are_turned_together_move_in_the_turned_direction_and_turn_as_before)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, FOLDER);
    fm_tensors *points = NULL;
    size_t n = 0, n_out = 0;
    ck_assert_int_eq(fm_tensors_open(FOLDER "/network.safetensors", &points, NULL), FM_OK);
    double *x = network_case_tensor(points, "x", NULL);
    double *t = network_case_tensor(points, "t", &n);
    double *want = network_case_tensor(points, "out", &n_out);
    double *out = fm_alloc_array(n_out, sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (size_t i = 0; i < n * 6; i++) {
        double *frame = x + FM_FRAME_INPUTS * i, moved[12], velocity[3];
        frame_move(frame, moved);
        memcpy(frame, moved, sizeof moved);
        turned(want + FM_FRAME_OUTPUTS * i + 3, velocity);
        memcpy(want + FM_FRAME_OUTPUTS * i + 3, velocity, sizeof velocity);
    }
    network_case_eval(it.network, n, SIZE_MAX, x, t, NULL, out, NULL);
    double error = network_case_error(n_out, out, want);
    ck_assert_msg(error <= 1e-5, "error %g", error);
    fm_free(out);
    free(want);
    free(t);
    free(x);
    fm_tensors_close(points);
    network_case_close(&it);
}
END_TEST

/* ---- config.json ---- */

#define FLOW(members) "{\"schema\":\"velocityd.model/1\",\"flow\":{" members "},\"network\":{"
#define SE3           "\"space\":\"se3\",\"shape\":[4,7],\"representation\":\"matrix\""
#define NETWORK(length, hidden, heads, bins, reach)                                                \
    "\"architecture\":\"frames\",\"length\":" length ",\"hidden_size\":" hidden                    \
    ",\"pair_size\":8,\"n_blocks\":2,\"n_heads\":" heads ",\"distance_bins\":" bins                \
    ",\"distance_max\":" reach
#define GOOD NETWORK("4", "12", "3", "5", "2.5")

START_TEST(every_key_of_frames_is_read)
{
    const char json[] = FLOW(SE3) GOOD "},\"output\":{\"kind\":\"frames\"}}";
    fm_model_config config;
    fm_error err = {0};
    ck_assert_msg(fm_model_config_parse("models/a", json, strlen(json), &config, &err) == FM_OK,
                  "%s", err.text);
    const fm_frames_config *frames = &config.frames;
    ck_assert_int_eq(config.architecture, FM_ARCHITECTURE_FRAMES);
    ck_assert_uint_eq(frames->length, 4);
    ck_assert_uint_eq(frames->hidden, 12);
    ck_assert_uint_eq(frames->pair, 8);
    ck_assert_uint_eq(frames->n_blocks, 2);
    ck_assert_uint_eq(frames->heads, 3);
    ck_assert_uint_eq(frames->bins, 5);
    ck_assert_double_eq(frames->reach, 2.5);
    ck_assert_str_eq(config.output_kind, "frames");
    fm_model_config_done(&config);
}
END_TEST

static const struct {
    const char *json, *text;
} refusals[] = {
    {FLOW("\"shape\":[4,7]") GOOD "}}", "/flow/space: must be se3 for frames"},
    {FLOW("\"space\":\"so3\",\"shape\":[7,4],\"representation\":\"matrix\"") GOOD "}}",
     "/flow/space: must be se3 for frames"},
    {FLOW("\"space\":\"product\",\"shape\":[28],\"factors\":[{" SE3 "}]") GOOD "}}",
     "/flow/space: must be se3 for frames"},
    {FLOW("\"space\":\"se3\",\"shape\":[4,7]") GOOD "}}",
     "/flow/representation: must be matrix for frames"},
    {FLOW("\"space\":\"se3\",\"shape\":[5,7],\"representation\":\"matrix\"") GOOD "}}",
     "/flow/shape: must be [4, 7], from length of /network, found [5, 7]"},
    {FLOW("\"space\":\"se3\",\"shape\":[2,2,7],\"representation\":\"matrix\"") GOOD "}}",
     "/flow/shape: must be [4, 7], from length of /network, found [2, 2, 7]"},
    {FLOW(SE3 ",\"prediction\":\"x1\"") GOOD "}}", "/flow/prediction: must be velocity for se3"},
    {FLOW(SE3) NETWORK("1", "12", "3", "5", "2.5") "}}", "/network/length: must be from 2 to "},
    {FLOW(SE3) NETWORK("4", "0", "3", "5", "2.5") "}}", "/network/hidden_size: must be from 1 to "},
    {FLOW(SE3) NETWORK("4", "12", "5", "5", "2.5") "}}",
     "/network/n_heads: must divide hidden_size, 12, found 5"},
    {FLOW(SE3) NETWORK("4", "12", "3", "1", "2.5") "}}",
     "/network/distance_bins: must be from 2 to "},
    {FLOW(SE3) NETWORK("4", "12", "3", "5", "0") "}}",
     "/network/distance_max: must be above 0, found 0"},
    {FLOW(SE3) NETWORK("4", "12", "3", "5", "\"far\"") "}}",
     "/network/distance_max: must be a number, found a string"},
    {FLOW(SE3) "\"architecture\":\"frames\",\"length\":4}}", "/network/hidden_size: is required"},
    {FLOW(SE3) GOOD ",\"depth\":3}}", "/network/depth: unknown key"},
    {FLOW(SE3) GOOD "},\"conditioning\":{\"labels\":{\"count\":2}}}", "/conditioning/labels: "},
};
#define N_REFUSALS ((int)(sizeof refusals / sizeof *refusals))

START_TEST(a_broken_rule_of_frames_is_named_by_its_pointer)
{
    const char *json = refusals[_i].json, *text = refusals[_i].text;
    fm_model_config config;
    fm_error err = {0};
    fm_status status = fm_model_config_parse("models/a", json, strlen(json), &config, &err);
    ck_assert_msg(status == FM_EFORMAT, "%s: %s", json, fm_status_name(status));
    ck_assert_msg(strncmp(err.text, text, strlen(text)) == 0, "expected \"%s…\", found: %s", text,
                  err.text);
}
END_TEST

/* The first that is missing, or has another shape. */
START_TEST(tensors_of_another_shape_are_refused_by_name)
{
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(FOLDER, &config, &err), FM_OK);
    config.frames.length = 7;
    network_case it;
    ck_assert_int_eq(network_case_make(&it, &config, FOLDER "/model.safetensors", NULL, 0, &err),
                     FM_EFORMAT);
    ck_assert_msg(strstr(err.text, "pair_embedder.offsets") != NULL, "%s", err.text);
    network_case_close(&it);
    fm_model_config_done(&config);
}
END_TEST

Suite *suite_engine_frames(void)
{
    Suite *suite = suite_create("engine/frames");
    TCase *tests = tcase_create("frames");
    tcase_set_tags(tests, "one_thread");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_network_of_frames_is_what_pytorch_evaluated);
    tcase_add_test(tests, a_network_of_frames_counts_every_number_of_its_file);
    tcase_add_test(tests, a_row_of_frames_has_its_bits_whatever_shares_its_call);
    tcase_add_test(tests,
                   every_failed_allocation_of_a_network_of_frames_is_an_error_and_leaks_nothing);
    tcase_add_test(tests,
                   frames_that_are_turned_together_move_in_the_turned_direction_and_turn_as_before);
    tcase_add_test(tests, every_key_of_frames_is_read);
    tcase_add_loop_test(tests, a_broken_rule_of_frames_is_named_by_its_pointer, 0, N_REFUSALS);
    tcase_add_test(tests, tensors_of_another_shape_are_refused_by_name);
    suite_add_tcase(suite, tests);
    return suite;
}
