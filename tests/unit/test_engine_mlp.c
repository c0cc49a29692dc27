/* engine/network/mlp: reference networks, and tensors that are wrong, missing or too many. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/network/plan.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-5

static const char *const folders[] = {
    "tests/golden/mlp-checkerboard",
    "tests/golden/mlp-moons-otcfm",
    "tests/golden/mlp-labels",
    "tests/golden/mlp-reversed",
    "tests/golden/mlp-activation-elu",
    "tests/golden/mlp-activation-gelu",
    "tests/golden/mlp-activation-gelu-tanh",
    "tests/golden/mlp-activation-leaky-relu",
    "tests/golden/mlp-activation-softplus",
    "tests/golden/mlp-activation-tanh",
    "tests/golden/predictions",
};

START_TEST(reference_networks_are_reproduced)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, folders[_i]);
    double error = network_case_reference_error(&it, folders[_i], NULL);
    ck_assert_msg(error <= TOLERANCE, "%s: error %g", folders[_i], error);
    network_case_close(&it);
}
END_TEST

static char stems[5][16] = {"input_layer", "main.1", "main.3", "main.5", "main.7"};

static fm_model_config config_of(size_t dimension)
{
    return (fm_model_config){.architecture = FM_ARCHITECTURE_MLP,
                             .dimension = dimension,
                             .space = fm_space_euclidean(dimension),
                             .time_scale = 1,
                             .mlp = {.activation = FM_ACTIVATION_SILU}};
}

/* Networks that apply the activation first, with an input layer of another stem; one with waves. */
START_TEST(named_layers_and_fourier_features_reproduce_the_reference)
{
    bool fourier = _i == 1;
    const char *folder = fourier ? "tests/golden/torus-fourier" : "tests/golden/sphere-mlp";
    (void)snprintf(stems[0], sizeof stems[0], fourier ? "input_layer.1" : "input_layer");
    char *layers[5] = {stems[0], stems[1], stems[2], stems[3], stems[4]};
    char prefix[] = "vecfield.";
    fm_model_config config = config_of(fourier ? 2 : 3);
    config.weights_prefix = prefix;
    config.mlp.layers = layers;
    config.mlp.n_layers = 5;
    config.mlp.fourier_count = fourier ? 1 : 0;
    char file[512];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", folder);
    network_case it;
    fm_error err = {0};
    fm_dense_thread_init();
    fm_status status = network_case_make(&it, &config, file, NULL, 0, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    double error = network_case_reference_error(&it, folder, NULL);
    ck_assert_msg(error <= TOLERANCE, "%s: error %g", folder, error);
    network_case_close(&it);
}
END_TEST

/* ---- made-up tensors ---- */

static fm_status make(network_case *it, const fm_model_config *config, const tensor_shape *shapes,
                      fm_error *err)
{
    size_t bytes = 0;
    unsigned char *image = network_case_image(shapes, &bytes);
    fm_status status = network_case_make(it, config, NULL, image, bytes, err);
    /* The packed weights are the network's own: the image may go. */
    fm_weights_free(it->weights);
    fm_tensors_close(it->tensors);
    it->weights = NULL;
    it->tensors = NULL;
    free(image);
    return status;
}

static double entry(size_t index)
{
    return (double)(float)(0.3 * sin(1.0 + 1.7 * (double)index));
}

START_TEST(layers_are_found_in_numeric_order_with_or_without_bias)
{
    /* Names sort as 10, 8, 9; the image holds the tensors in the order given here. */
    const tensor_shape shapes[] = {{"f.8.weight", 2, {4, 2}},
                                   {"f.10.weight", 2, {1, 3}},
                                   {"f.9.bias", 1, {3}},
                                   {"f.9.weight", 2, {3, 4}},
                                   {0}};
    fm_model_config config = config_of(1);
    config.mlp.activation = FM_ACTIVATION_RELU;
    config.mlp.time_first = true;
    char without[2][8] = {"f.10", "f.8"};
    char *layers_without_bias[] = {without[0], without[1]};
    config.mlp.layers_without_bias = layers_without_bias;
    config.mlp.n_layers_without_bias = 2;
    network_case it;
    fm_error err = {0};
    fm_status status = make(&it, &config, shapes, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_uint_eq(it.network->info.parameter_count, 8 + 3 + 3 + 12);
    double x = 0.7;
    double t = 0.4;
    double first[4];
    double second[3];
    double expected = 0;
    for (size_t i = 0; i < 4; i++) {
        first[i] = fmax(0, entry(2 * i) * t + entry(2 * i + 1) * x);
    }
    for (size_t i = 0; i < 3; i++) {
        second[i] = entry(11 + i);
        for (size_t j = 0; j < 4; j++) {
            second[i] += entry(14 + 4 * i + j) * first[j];
        }
        expected += entry(8 + i) * fmax(0, second[i]);
    }
    double out = NAN;
    network_case_eval(it.network, 1, 1, &x, &t, NULL, &out, NULL);
    ck_assert_double_eq_tol(out, expected, 1e-6);
    network_case_close(&it);
}
END_TEST

START_TEST(fourier_features_stand_by_frequency_sines_first)
{
    const tensor_shape shapes[] = {{"0.weight", 2, {1, 8}}, {0}}; /* no stem at all */
    fm_model_config config = config_of(1);
    config.mlp.fourier_count = 2;
    network_case it;
    fm_error err = {0};
    fm_status status = make(&it, &config, shapes, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    double x = 0.7;
    double t = 0.4;
    const double features[8] = {sin(x), sin(t), sin(2 * x), sin(2 * t),
                                cos(x), cos(t), cos(2 * x), cos(2 * t)};
    double expected = 0;
    for (size_t i = 0; i < 8; i++) {
        expected += entry(i) * features[i];
    }
    double out = NAN;
    network_case_eval(it.network, 1, 1, &x, &t, NULL, &out, NULL);
    ck_assert_double_eq_tol(out, expected, 1e-6);
    network_case_close(&it);
}
END_TEST

/* Dimension 2, concat_last: z has 3 columns. Each row is one mistake and what the message must tell. */
static const struct {
    tensor_shape shapes[8];
    bool label;
    const char *tells[4];
} mistakes[] = {
    {{{"net.0.weight", 2, {8, 4}}, {"net.2.weight", 2, {2, 8}}, {0}},
     false,
     {"net.0.weight", "[8, 3]", "[8, 4]", "x [2], t"}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {2, 8}}, {0}},
     true,
     {"net.0.weight", "[8, 4]", "[8, 3]", "x [2], t and label"}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {2, 7}}, {0}},
     false,
     {"net.2.weight", "[2, 8]", "[2, 7]", "after net.0 [8, 3]"}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {3, 8}}, {0}},
     false,
     {"net.2.weight", "[2, 8]", "[3, 8]", "layer 2 of 2"}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.0.bias", 1, {7}}, {"net.2.weight", 2, {2, 8}}, {0}},
     false,
     {"net.0.bias", "[8]", "[7]", "layer 1 of 2"}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {2, 8}}, {"net.1.gain", 1, {8}}, {0}},
     false,
     {"net.1.gain", "[8]", "", ""}},
    {{{"net.0.weight", 2, {8, 3}}, {"other.0.weight", 2, {2, 8}}, {0}},
     false,
     {"net.0.weight", "other.0.weight", "/network/layers", ""}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.a.0.weight", 2, {2, 8}}, {0}},
     false,
     {"net.0.weight", "net.a.0.weight", "/network/layers", ""}},
    {{{"net.0.1.weight", 2, {8, 3}}, {"net.0.weight", 2, {2, 8}}, {0}},
     false,
     {"net.0.1.weight", "net.0.weight", "/network/layers", ""}},
    {{{"net.0.weight", 2, {0, 3}}, {"net.2.weight", 2, {2, 0}}, {0}},
     false,
     {"net.0.weight", "at least one row", "layer 1 of 2", ""}},
    {{{"gain", 1, {8}}, {"net.weight", 2, {2, 3}}, {0}}, false, {"<stem>.<i>.weight", "2", "", ""}},
    /* a layer is missing where its numbers leave a gap */
    {{{"net.0.weight", 2, {8, 3}},
      {"net.2.weight", 2, {8, 8}},
      {"net.6.weight", 2, {9, 8}},
      {"net.8.weight", 2, {2, 9}},
      {0}},
     false,
     {"\"net.4.weight\": expected shape [8, 8], found no such tensor", "layer 3 of 5, after net.2",
      "net.2 and net.6", "/network/layers"}},
    {{{"net.0.weight", 2, {5, 3}}, {"net.4.weight", 2, {2, 8}}, {0}},
     false,
     {"\"net.2.weight\": expected shape [8, 5], found no such tensor", "net.0 and net.4",
      "/network/layers", ""}},
    {{{"net.0.weight", 2, {8, 3}},
      {"net.1.weight", 2, {8, 8}},
      {"net.999999.weight", 2, {2, 8}},
      {0}},
     false,
     {"\"net.2.weight\"", "net.1 and net.999999", "/network/layers", ""}},
    {{{"0.weight", 2, {8, 3}}, {"3.weight", 2, {8, 8}}, {"5.weight", 2, {2, 8}}, {0}},
     false,
     {"\"2.weight\"", "0 and 3", "/network/layers", ""}},
    {{{"net.0.weight", 2, {2, 3}}, {"net.00.weight", 2, {2, 2}}, {0}},
     false,
     {"found 1: \"net.00.weight\" [2, 2]", "", "", ""}},
    /* a bias is missing where other layers have one */
    {{{"net.0.weight", 2, {8, 3}}, {"net.0.bias", 1, {8}}, {"net.2.weight", 2, {2, 8}}, {0}},
     false,
     {"\"net.2.bias\": expected shape [2], found no such tensor",
      "layer 2 of 2, after net.0 [8, 3]", "/network/layers_without_bias", ""}},
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {2, 8}}, {"net.2.bias", 1, {2}}, {0}},
     false,
     {"\"net.0.bias\": expected shape [8], found no such tensor", "layer 1 of 2",
      "/network/layers_without_bias", ""}},
};

START_TEST(wrong_and_extra_tensors_are_named_with_both_shapes)
{
    fm_model_config config = config_of(2);
    config.mlp.label = mistakes[_i].label ? FM_MLP_LABEL_CONCAT : FM_MLP_LABEL_NONE;
    network_case it;
    fm_error err = {0};
    ck_assert_int_eq(make(&it, &config, mistakes[_i].shapes, &err), FM_EFORMAT);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_msg(strstr(err.text, mistakes[_i].tells[i]) != NULL, "no \"%s\" in: %s",
                      mistakes[_i].tells[i], err.text);
    }
    ck_assert_ptr_null(it.network);
    network_case_close(&it);
}
END_TEST

START_TEST(layers_without_bias_are_layers_and_have_none)
{
    const tensor_shape shapes[] = {{"net.0.weight", 2, {8, 3}},
                                   {"net.0.bias", 1, {8}},
                                   {"net.2.weight", 2, {2, 8}},
                                   {"net.2.bias", 1, {2}},
                                   {0}};
    char stem[16] = "net.1";
    char *without_bias[] = {stem};
    fm_model_config config = config_of(2);
    config.mlp.layers_without_bias = without_bias;
    config.mlp.n_layers_without_bias = 1;
    network_case it;
    fm_error err = {0};
    ck_assert_int_eq(make(&it, &config, shapes, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text,
                     "/network/layers_without_bias/0: \"net.1\" is not a layer of this network");
    network_case_close(&it);
    memcpy(stem, "net.0", sizeof "net.0");
    ck_assert_int_eq(make(&it, &config, shapes, &err), FM_EFORMAT);
    ck_assert_ptr_nonnull(strstr(err.text, "found 1: \"net.0.bias\" [8]"));
    network_case_close(&it);
}
END_TEST

/* The same mistakes are none where config.json says so, and where the numbers rise evenly. */
static const struct {
    tensor_shape shapes[8];
    const char *layers[4];
    const char *without_bias;
} meant[] = {
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {8, 8}}, {"net.6.weight", 2, {2, 8}}, {0}},
     {"net.0", "net.2", "net.6"},
     NULL},
    {{{"net.0.weight", 2, {8, 3}}, {"net.0.bias", 1, {8}}, {"net.2.weight", 2, {2, 8}}, {0}},
     {0},
     "net.2"},
    {{{"net.1.weight", 2, {8, 3}}, {"net.4.weight", 2, {8, 8}}, {"net.7.weight", 2, {2, 8}}, {0}},
     {0},
     NULL}, /* a Dropout behind every activation */
    {{{"net.0.weight", 2, {8, 3}}, {"net.2.weight", 2, {2, 8}}, {0}}, {0}, "net.2"},
};

START_TEST(what_config_json_says_is_absent_is_no_mistake)
{
    fm_model_config config = config_of(2);
    char names[4][16], without[16];
    char *layers[4], *without_bias[] = {without};
    for (; config.mlp.n_layers < 4 && meant[_i].layers[config.mlp.n_layers] != NULL;
         config.mlp.n_layers++) {
        layers[config.mlp.n_layers] = names[config.mlp.n_layers];
        (void)snprintf(names[config.mlp.n_layers], sizeof names[0], "%s",
                       meant[_i].layers[config.mlp.n_layers]);
    }
    config.mlp.layers = layers;
    if (meant[_i].without_bias != NULL) {
        (void)snprintf(without, sizeof without, "%s", meant[_i].without_bias);
        config.mlp.layers_without_bias = without_bias;
        config.mlp.n_layers_without_bias = 1;
    }
    network_case it;
    fm_error err = {0};
    fm_status status = make(&it, &config, meant[_i].shapes, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    network_case_close(&it);
}
END_TEST

START_TEST(a_missing_tensor_is_named_and_later_layers_are_still_on_record)
{
    const tensor_shape shapes[] = {
        {"in.weight", 2, {8, 3}}, {"mid.bias", 1, {6}}, {"out.weight", 2, {2, 6}}, {0}};
    char in[] = "in";
    char mid[] = "mid";
    char out[] = "out";
    char *layers[] = {in, mid, out};
    char *without_bias[] = {in, out};
    fm_model_config config = config_of(2);
    config.mlp.layers = layers;
    config.mlp.n_layers = 3;
    config.mlp.layers_without_bias = without_bias;
    config.mlp.n_layers_without_bias = 2;
    size_t bytes = 0;
    unsigned char *image = network_case_image(shapes, &bytes);
    network_case it;
    fm_error err = {0};
    ck_assert_int_eq(network_case_make(&it, &config, NULL, image, bytes, &err), FM_EFORMAT);
    ck_assert_msg(strstr(err.text, "mid.weight") != NULL && strstr(err.text, "[6, 8]") != NULL,
                  "%s", err.text);
    size_t n_used = 0;
    bool missing = false;
    for (size_t i = 0; i < fm_weights_count(it.weights); i++) {
        const fm_weights_entry *entry_at = fm_weights_at(it.weights, i);
        n_used += entry_at->state == FM_WEIGHTS_USED ? 1 : 0;
        missing = missing || (entry_at->state == FM_WEIGHTS_MISSING &&
                              strcmp(entry_at->name, "mid.weight") == 0);
    }
    ck_assert_uint_eq(n_used, 3);
    ck_assert(missing);
    network_case_close(&it);
    free(image);
}
END_TEST

static const struct {
    size_t width, max_rows;
} capacities[] = {{64, 256}, {512, 256}, {1024, 128}, {3000, 64}};

START_TEST(tiles_are_as_large_as_the_cache_holds)
{
    size_t width = capacities[_i].width;
    const tensor_shape shapes[] = {{"net.0.weight", 2, {width, 3}},
                                   {"net.2.weight", 2, {_i == 3 ? 2 : width, width}},
                                   {_i == 3 ? NULL : "net.4.weight", 2, {2, width}},
                                   {0}};
    fm_model_config config = config_of(2);
    network_case it;
    fm_error err = {0};
    fm_status status = make(&it, &config, shapes, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_uint_eq(it.network->info.max_rows, capacities[_i].max_rows);
    network_case_close(&it);
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

START_TEST(weights_that_are_not_finite_are_refused_by_name)
{
    const tensor_shape shapes[] = {{"net.0.weight", 2, {2, 3}}, {"net.0.bias", 1, {2}}, {0}};
    fm_model_config config = config_of(2);
    size_t bytes = 0;
    unsigned char *image = network_case_image(shapes, &bytes);
    float bad = _i == 0 ? NAN : INFINITY;
    memcpy(image + bytes - sizeof bad, &bad, sizeof bad); /* the last of the bias */
    network_case it;
    fm_error err = {0};
    ck_assert_int_eq(network_case_make(&it, &config, NULL, image, bytes, &err), FM_EFORMAT);
    ck_assert_ptr_nonnull(strstr(err.text, "\"net.0.bias\": expected numbers that are finite"));
    ck_assert_ptr_nonnull(strstr(err.text, " at index [1]"));
    network_case_close(&it);
    free(image);
}
END_TEST

START_TEST(a_failed_allocation_is_reported_and_leaks_nothing)
{
    const tensor_shape shapes[] = {
        {"net.0.weight", 2, {8, 3}}, {"net.0.bias", 1, {8}}, {"net.2.weight", 2, {2, 8}}, {0}};
    fm_model_config config = config_of(2);
    char stem[] = "net.2";
    char *without_bias[] = {stem};
    config.mlp.layers_without_bias = without_bias;
    config.mlp.n_layers_without_bias = 1;
    size_t bytes = 0;
    unsigned char *image = network_case_image(shapes, &bytes);
    fm_status status = FM_ENOMEM;
    size_t k = 0;
    for (; status != FM_OK; k++) {
        ck_assert_uint_lt(k, 1000);
        size_t left = k;
        network_case it;
        fm_error err = {0};
        fm_memory_set_hook(fail_when_zero, &left);
        status = network_case_make(&it, &config, NULL, image, bytes, &err);
        fm_memory_set_hook(NULL, NULL);
        ck_assert_msg(status == FM_OK || status == FM_ENOMEM, "%s", err.text);
        network_case_close(&it);
    }
    ck_assert_uint_gt(k, 10);
    free(image);
}
END_TEST

Suite *suite_engine_mlp(void)
{
    Suite *suite = suite_create("engine/mlp");
    TCase *tcase = tcase_create("mlp");
    tcase_add_loop_test(tcase, reference_networks_are_reproduced, 0,
                        (int)(sizeof folders / sizeof folders[0]));
    tcase_add_loop_test(tcase, named_layers_and_fourier_features_reproduce_the_reference, 0, 2);
    tcase_add_test(tcase, layers_are_found_in_numeric_order_with_or_without_bias);
    tcase_add_test(tcase, fourier_features_stand_by_frequency_sines_first);
    tcase_add_loop_test(tcase, wrong_and_extra_tensors_are_named_with_both_shapes, 0,
                        (int)(sizeof mistakes / sizeof mistakes[0]));
    tcase_add_test(tcase, layers_without_bias_are_layers_and_have_none);
    tcase_add_loop_test(tcase, what_config_json_says_is_absent_is_no_mistake, 0,
                        (int)(sizeof meant / sizeof meant[0]));
    tcase_add_test(tcase, a_missing_tensor_is_named_and_later_layers_are_still_on_record);
    tcase_add_loop_test(tcase, tiles_are_as_large_as_the_cache_holds, 0,
                        (int)(sizeof capacities / sizeof capacities[0]));
    tcase_add_loop_test(tcase, weights_that_are_not_finite_are_refused_by_name, 0, 2);
    tcase_add_test(tcase, a_failed_allocation_is_reported_and_leaks_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}
