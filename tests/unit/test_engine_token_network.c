/* engine/network/text_dit, mlp of tokens: networks that the libraries evaluated, which look up what they are given. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/network/plan.h"
#include "tests/support/failing_memory.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT "tests/golden/text-dit-tiny"

/* Tolerances of tests/golden/README.md. */
static const struct {
    const char *folder;
    size_t length, vocabulary, n_buffers; /* numbers of the file that are no parameters */
} cases[] = {
    {TEXT, 16, 28, 8},
    {"tests/golden/tokens-mlp-masked", 3, 31, 0},
    {"tests/golden/tokens-mlp-uniform", 2, 19, 0},
};
#define N_CASES   ((int)(sizeof cases / sizeof *cases))
#define TOLERANCE 1e-5

START_TEST(networks_of_tokens_are_what_the_libraries_evaluate)
{
    network_case it;
    network_case_open(&it, cases[_i].folder);
    double error = network_case_reference_error(&it, cases[_i].folder, NULL);
    printf("%s: error %.2e of %g\n", cases[_i].folder, error, TOLERANCE);
    ck_assert_msg(error <= TOLERANCE, "%s: error %g", cases[_i].folder, error);
    network_case_close(&it);
}
END_TEST

START_TEST(networks_of_tokens_tell_their_sizes_and_have_no_derivatives)
{
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(cases[_i].folder, &config, &err), FM_OK);
    config.reversible = true;
    char file[256];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", cases[_i].folder);
    network_case it;
    ck_assert_int_eq(network_case_make(&it, &config, file, NULL, 0, &err), FM_OK);
    size_t count = 0;
    for (size_t i = 0; i < fm_tensors_count(it.tensors); i++) {
        count += fm_tensors_at(it.tensors, i)->count;
    }
    const fm_network_info *info = &it.network->info;
    ck_assert_uint_eq(info->parameter_count, count - cases[_i].n_buffers);
    ck_assert_uint_eq(info->dimension, cases[_i].length);
    ck_assert_uint_eq(info->out_dimension, cases[_i].length * cases[_i].vocabulary);
    ck_assert_uint_eq(info->vocabulary, cases[_i].vocabulary);
    ck_assert_uint_eq(info->max_tangents, 0);
    ck_assert_uint_eq(info->tangent_scratch_bytes, 0);
    ck_assert_uint_eq(info->reverse_rows, 0);
    ck_assert_uint_eq(info->reverse_scratch_bytes, 0);
    ck_assert_uint_eq(info->hvp_scratch_bytes, 0);
    ck_assert_uint_eq(config.vocabulary_size, cases[_i].vocabulary);
    network_case_close(&it);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(probes_of_networks_of_tokens_are_tokens_of_all_their_vocabulary)
{
    network_case it;
    network_case_open(&it, cases[_i].folder);
    size_t n = 4096 / cases[_i].length;
    double *x = fm_alloc_array(n * cases[_i].length, sizeof *x);
    bool seen[64] = {false};
    fm_network_probe(it.network, 3, n, x);
    for (size_t i = 0; i < n * cases[_i].length; i++) {
        ck_assert(floor(x[i]) == x[i] && x[i] >= 0 && x[i] < (double)cases[_i].vocabulary);
        seen[(size_t)x[i]] = true;
    }
    for (size_t token = 0; token < cases[_i].vocabulary; token++) {
        ck_assert(seen[token]);
    }
    fm_free(x);
    network_case_close(&it);
}
END_TEST

START_TEST(a_row_of_a_network_of_tokens_has_its_bits_whatever_shares_its_call)
{
    network_case it;
    network_case_open(&it, cases[_i].folder);
    bool independent = false;
    ck_assert_int_eq(fm_network_check_bits(it.network, 0, &independent, NULL), FM_OK);
    ck_assert(independent);
    network_case_close(&it);
}
END_TEST

START_TEST(bfloat16_of_tokens_is_within_two_hundredths_or_refused_by_name)
{
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(cases[_i].folder, &config, &err), FM_OK);
    config.compute = FM_COMPUTE_BFLOAT16;
    network_case it;
    char file[256];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", cases[_i].folder);
    fm_status status = network_case_make(&it, &config, file, NULL, 0, &err);
    if (fm_compute_check(FM_COMPUTE_BFLOAT16, NULL) != FM_OK) {
        ck_assert_int_eq(status, FM_EUNSUPPORTED);
    } else {
        ck_assert_msg(status == FM_OK, "%s", err.text);
        double mean = 0;
        double largest = network_case_reference_error(&it, cases[_i].folder, &mean);
        printf("%s in bfloat16: error %.2e of 2e-2, largest %.2e\n", cases[_i].folder, mean,
               largest);
        ck_assert_msg(mean <= 2e-2 && mean > 1e-6, "%s: error %g", cases[_i].folder, mean);
        bool independent = false;
        ck_assert_int_eq(fm_network_check_bits(it.network, 0, &independent, NULL), FM_OK);
        ck_assert(independent);
    }
    network_case_close(&it);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_failed_allocation_of_a_network_of_tokens_is_an_error_and_leaks_nothing)
{
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(cases[_i].folder, &config, &err), FM_OK);
    char file[256];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", cases[_i].folder);
    bool refused = true;
    for (size_t k = 0; refused; k++) {
        ck_assert_uint_lt(k, 100000);
        network_case it;
        failing_memory_start(k);
        fm_status status = network_case_make(&it, &config, file, NULL, 0, &err);
        refused = failing_memory_stop();
        ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                      "allocation %zu: %s", k, err.text);
        network_case_close(&it);
    }
    fm_model_config_done(&config);
}
END_TEST

/* ---- made-up text transformers ---- */

#define HIDDEN    16
#define CONDITION 8
#define LENGTH    5

/* Tensors of one block. `frequencies`: of the buffer, of 4 channels a head; 0: it is left out. */
static unsigned char *text_image(size_t vocabulary, size_t frequencies, size_t *ret_bytes)
{
    const tensor_shape shapes[] = {
        {"vocab_embed.weight", 2, {vocabulary, HIDDEN}},
        {"time_embedding.mlp.0.weight", 2, {CONDITION, 256}},
        {"time_embedding.mlp.0.bias", 1, {CONDITION}},
        {"time_embedding.mlp.2.weight", 2, {CONDITION, CONDITION}},
        {"time_embedding.mlp.2.bias", 1, {CONDITION}},
        {"blocks.0.norm1.weight", 1, {HIDDEN}},
        {"blocks.0.qw.weight", 2, {HIDDEN, HIDDEN}},
        {"blocks.0.kw.weight", 2, {HIDDEN, HIDDEN}},
        {"blocks.0.vw.weight", 2, {HIDDEN, HIDDEN}},
        {"blocks.0.attn_out.weight", 2, {HIDDEN, HIDDEN}},
        {"blocks.0.norm2.weight", 1, {HIDDEN}},
        {"blocks.0.mlp.0.weight", 2, {4 * HIDDEN, HIDDEN}},
        {"blocks.0.mlp.0.bias", 1, {4 * HIDDEN}},
        {"blocks.0.mlp.2.weight", 2, {HIDDEN, 4 * HIDDEN}},
        {"blocks.0.mlp.2.bias", 1, {HIDDEN}},
        {"blocks.0.adaLN_modulation.weight", 2, {6 * HIDDEN, CONDITION}},
        {"blocks.0.adaLN_modulation.bias", 1, {6 * HIDDEN}},
        {"output_layer.norm_final.weight", 1, {HIDDEN}},
        {"output_layer.adaLN_modulation.weight", 2, {2 * HIDDEN, CONDITION}},
        {"output_layer.adaLN_modulation.bias", 1, {2 * HIDDEN}},
        {"output_layer.linear.weight", 2, {vocabulary, HIDDEN}},
        {"output_layer.linear.bias", 1, {vocabulary}},
        {frequencies > 0 ? "rotary_emb.inv_freq" : NULL, 1, {frequencies}},
        {NULL, 0, {0}},
    };
    return network_case_image(shapes, ret_bytes);
}

static fm_status text_open(network_case *ret, size_t vocabulary, const unsigned char *image,
                           size_t image_bytes, fm_error *err)
{
    char json[1024];
    fm_model_config config;
    (void)snprintf(json, sizeof json,
                   "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"text_dit\","
                   "\"vocab_size\":%zu,\"masked\":true,\"hidden_size\":%d,\"cond_dim\":%d,"
                   "\"n_blocks\":1,\"n_heads\":4},\"flow\":{\"space\":\"tokens\",\"shape\":[%d]}}",
                   vocabulary - 1, HIDDEN, CONDITION, LENGTH);
    ck_assert_msg(fm_model_config_parse("models/text", json, strlen(json), &config, err) == FM_OK,
                  "%s", err->text);
    fm_status status = network_case_make(ret, &config, NULL, image, image_bytes, err);
    ret->owns_config = true;
    return status;
}

static void text_eval(const network_case *it, const double *x, double *out)
{
    network_case_eval(it->network, 1, 1, x, (double[]){0.37}, NULL, out, NULL);
}

#define LARGE 50258

static double made_up(size_t place)
{
    return (double)(float)(0.3 * sin(1.0 + 1.7 * (double)place));
}

/* A logit without its bias is the last hidden state times weights that are a wave of their place in the file, so that
 * the logits are a wave, too, of the same period: l_(v + 1) + l_(v - 1) = 2 cos(w) l_v.
 *   biases  the place of the first */
static void check_wave(const double *logits, size_t biases)
{
    double largest = 0, square = 0;
    for (size_t v = 1; v + 1 < LARGE; v++) {
        double before = logits[v - 1] - made_up(biases + v - 1);
        double here = logits[v] - made_up(biases + v);
        double behind = logits[v + 1] - made_up(biases + v + 1);
        square += here * here / LARGE;
        largest = fmax(largest, fabs(behind + before - 2 * cos(1.7 * HIDDEN) * here));
    }
    ck_assert(isfinite(square) && square > 1e-4);
    ck_assert_double_le(largest, 1e-5 * sqrt(square));
}

/* The place of the biases in the file, which they end. */
static size_t first_bias(const unsigned char *image, size_t image_bytes)
{
    uint64_t header_bytes = 0;
    memcpy(&header_bytes, image, sizeof header_bytes);
    return (image_bytes - sizeof header_bytes - header_bytes) / sizeof(float) - LARGE;
}

START_TEST(vocabularies_of_fifty_thousand_are_looked_up_and_answered)
{
    fm_error err = {0};
    network_case it;
    size_t bytes = 0;
    unsigned char *image = text_image(LARGE, 0, &bytes);
    ck_assert_msg(text_open(&it, LARGE, image, bytes, &err) == FM_OK, "%s", err.text);
    ck_assert_uint_eq(it.network->info.out_dimension, (size_t)LENGTH * LARGE);
    double *out = fm_alloc_array((size_t)2 * LENGTH * LARGE, sizeof *out);
    double *other = out + (size_t)LENGTH * LARGE;
    text_eval(&it, (double[]){0, LARGE - 1, 17, LARGE - 1, 40000}, out);
    text_eval(&it, (double[]){0, LARGE - 1, 17, LARGE - 2, 40000}, other); /* another one */
    for (size_t place = 0; place < LENGTH; place++) {
        check_wave(out + place * LARGE, first_bias(image, bytes));
    }
    ck_assert(network_case_error((size_t)LENGTH * LARGE, other, out) > 1e-3);
    fm_free(out);
    network_case_close(&it);
    free(image);
}
END_TEST

START_TEST(frequencies_of_the_file_turn_queries_and_keys)
{
    fm_error err = {0};
    network_case with, without;
    size_t bytes = 0, other_bytes = 0;
    unsigned char *image = text_image(11, 2, &bytes), *other = text_image(11, 0, &other_bytes);
    ck_assert_int_eq(text_open(&with, 11, image, bytes, &err), FM_OK);
    ck_assert_int_eq(text_open(&without, 11, other, other_bytes, &err), FM_OK);
    double a[LENGTH * 11], b[LENGTH * 11];
    const double x[] = {3, 1, 4, 1, 5};
    text_eval(&with, x, a);
    text_eval(&without, x, b);
    ck_assert(network_case_error(LENGTH * 11, a, b) > 1e-4); /* of this file they are no powers */
    network_case_close(&with);
    network_case_close(&without);
    free(image);
    free(other);
}
END_TEST

START_TEST(frequencies_of_another_size_are_refused)
{
    fm_error err = {0};
    network_case it;
    size_t bytes = 0;
    unsigned char *image = text_image(11, 3, &bytes);
    ck_assert_int_eq(text_open(&it, 11, image, bytes, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text, "tensor \"rotary_emb.inv_freq\": expected shape [2], found [3]");
    network_case_close(&it);
    free(image);
}
END_TEST

/* A permutation of the places permutes the answers only where nothing tells places apart. */
START_TEST(places_are_told_apart_by_their_turns)
{
    network_case it;
    network_case_open(&it, TEXT);
    double x[16], y[16], a[16 * 28], b[16 * 28];
    for (size_t i = 0; i < 16; i++) {
        x[i] = (double)(i * 7 % 28);
    }
    memcpy(y, x, sizeof y);
    y[0] = x[15];
    y[15] = x[0];
    text_eval(&it, x, a);
    text_eval(&it, y, b);
    ck_assert(network_case_error(28, a, b + (size_t)15 * 28) > 1e-3);
    network_case_close(&it);
}
END_TEST

/* ---- MLPs of tokens ---- */

static const tensor_shape mlp_shapes[] = {
    {"embed.weight", 2, {6, 4}},
    {"clock.weight", 2, {3, 1}},
    {"net.0.weight", 2, {8, 12}},
    {"net.0.bias", 1, {8}},
    {"net.2.weight", 2, {12, 8}},
    {"net.2.bias", 1, {12}},
    {NULL, 0, {0}},
};
#define MLP_KEYS                                                                                   \
    "\"architecture\":\"mlp\",\"activation\":\"tanh\",\"label\":\"concat\",\"vocab_size\":6,"      \
    "\"masked\":false"
#define MLP(keys)                                                                                  \
    "{\"schema\":\"velocityd.model/1\",\"network\":{" MLP_KEYS keys "},\"flow\":{\"space\":"       \
    "\"tokens\",\"shape\":[2],\"source\":{\"type\":\"uniform_tokens\"}},\"conditioning\":{"        \
    "\"labels\":{\"count\":5}}}"

static fm_status mlp_open(network_case *ret, const char *json, fm_error *err)
{
    size_t bytes = 0;
    fm_model_config config;
    unsigned char *image = network_case_image(mlp_shapes, &bytes);
    ck_assert_msg(fm_model_config_parse("models/mlp", json, strlen(json), &config, err) == FM_OK,
                  "%s", err->text);
    /* The weights are packed once it is made. */
    fm_status status = network_case_make(ret, &config, NULL, image, bytes, err);
    ret->owns_config = true;
    fm_weights_free(ret->weights);
    fm_tensors_close(ret->tensors);
    ret->weights = NULL;
    ret->tensors = NULL;
    free(image);
    return status;
}

/* The same by hand: numbers of the file in its order. */
static void mlp_naive(const double *x, double t, double label, bool time_first, double *out)
{
    double z[12], h[8];
    size_t at = time_first ? 4 : 0, time = time_first ? 0 : 8;
    for (size_t i = 0; i < 8; i++) {
        z[at + i] = made_up((size_t)x[i / 4] * 4 + i % 4);
    }
    for (size_t k = 0; k < 3; k++) {
        z[time + k] = made_up(24 + k) * t;
    }
    z[time + 3] = label;
    for (size_t o = 0; o < 8; o++) {
        h[o] = made_up(27 + 96 + o);
        for (size_t i = 0; i < 12; i++) {
            h[o] += made_up(27 + o * 12 + i) * tanh(z[i]);
        }
    }
    for (size_t o = 0; o < 12; o++) {
        out[o] = made_up(131 + 96 + o);
        for (size_t i = 0; i < 8; i++) {
            out[o] += made_up(131 + o * 8 + i) * tanh(h[i]);
        }
    }
}

START_TEST(tokens_the_time_without_bias_and_a_label_enter_in_their_order)
{
    bool time_first = _i == 1;
    fm_error err = {0};
    network_case it;
    const char *json = time_first ? MLP(",\"token_embedding\":\"embed\",\"time_embedding\":"
                                        "\"clock\",\"activation_first\":true,\"time\":"
                                        "\"concat_first\"")
                                  : MLP(",\"token_embedding\":\"embed\",\"time_embedding\":"
                                        "\"clock\",\"activation_first\":true");
    ck_assert_msg(mlp_open(&it, json, &err) == FM_OK, "%s", err.text);
    double out[12], want[12];
    const double x[] = {5, 2};
    network_case_eval(it.network, 1, 1, x, (double[]){0.7}, (double[]){3}, out, NULL);
    mlp_naive(x, 0.7, 3, time_first, want);
    ck_assert_double_le(network_case_error(12, out, want), 1e-6);
    network_case_close(&it);
}
END_TEST

START_TEST(tensors_of_tokens_that_do_not_fit_are_refused_by_name)
{
    static const struct {
        const char *json, *needle;
    } rows[] = {
        {MLP(",\"token_embedding\":\"table\""),
         "/network/token_embedding, of /network/vocab_size: tensor \"table.weight\": expected "
         "shape [6, 1], found no such tensor"},
        {MLP(",\"token_embedding\":\"clock\""),
         "/network/token_embedding, of /network/vocab_size: tensor \"clock.weight\": expected "
         "shape [6, 1], found [3, 1]"},
        {MLP(",\"token_embedding\":\"embed\",\"time_embedding\":\"embed\""),
         "/network/time_embedding: tensor \"embed.weight\": expected shape [6, 1], found [6, 4]"},
        {MLP(",\"token_embedding\":\"embed\""),
         "layer 1 of 2, whose input is x [2], t and label, x by a table: tensor \"net.0.weight\": "
         "expected shape [8, 10], found [8, 12]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fm_error err = {0};
        network_case it;
        ck_assert_int_eq(mlp_open(&it, rows[i].json, &err), FM_EFORMAT);
        ck_assert_msg(strstr(err.text, rows[i].needle) != NULL, "expected \"%s\" in: %s",
                      rows[i].needle, err.text);
        network_case_close(&it);
    }
}
END_TEST

Suite *suite_engine_token_network(void)
{
    Suite *suite = suite_create("engine/token_network");
    TCase *tests = tcase_create("token_network");
    tcase_set_tags(tests, "one_thread");
    tcase_add_checked_fixture(tests, fm_dense_thread_init, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, networks_of_tokens_are_what_the_libraries_evaluate, 0, N_CASES);
    tcase_add_loop_test(tests, networks_of_tokens_tell_their_sizes_and_have_no_derivatives, 0,
                        N_CASES);
    tcase_add_loop_test(tests, probes_of_networks_of_tokens_are_tokens_of_all_their_vocabulary, 0,
                        N_CASES);
    tcase_add_loop_test(tests, a_row_of_a_network_of_tokens_has_its_bits_whatever_shares_its_call,
                        0, N_CASES);
    tcase_add_loop_test(tests, bfloat16_of_tokens_is_within_two_hundredths_or_refused_by_name, 0,
                        N_CASES);
    tcase_add_loop_test(
        tests, every_failed_allocation_of_a_network_of_tokens_is_an_error_and_leaks_nothing, 0,
        N_CASES);
    tcase_add_test(tests, vocabularies_of_fifty_thousand_are_looked_up_and_answered);
    tcase_add_test(tests, frequencies_of_the_file_turn_queries_and_keys);
    tcase_add_test(tests, frequencies_of_another_size_are_refused);
    tcase_add_test(tests, places_are_told_apart_by_their_turns);
    tcase_add_loop_test(tests, tokens_the_time_without_bias_and_a_label_enter_in_their_order, 0, 2);
    tcase_add_test(tests, tensors_of_tokens_that_do_not_fit_are_refused_by_name);
    suite_add_tcase(suite, tests);
    return suite;
}
