/* The report of a model folder. */
#include "engine/fm.h"
#include "engine/memory.h"
#include "tests/support/failing_memory.h"
#include "tests/support/safetensors_image.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool inspect(const char *folder, text *ret)
{
    bool usable = false;
    fm_error err = {0};
    *ret = (text){.length = 0};
    fm_status status = fm_model_inspect(folder, text_append, ret, &usable, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_int_eq(strstr(ret->bytes, "\nerror: ") != NULL, !usable);
    return usable;
}

START_TEST(a_good_folder_is_reported_whole)
{
    static text found;
    ck_assert(inspect("tests/golden/mlp-labels", &found));
    text_expect(&found, "name          mlp-labels\n");
    text_expect(&found, "architecture  mlp\n");
    text_expect(&found, "shape         [2]\n");
    text_expect(&found, "path          condot\n");
    text_expect(&found, "labels        8, null 8: east, north-east, north,");
    text_expect(&found, "compute       float32\n");
    text_expect(&found, "digest        sha256:");
    text_expect(&found, "\nmlp.layers.0.weight  F32    [128, 4]                       512  used\n");
    text_expect(&found, "parameters    33922 in 8 tensors, 135688 bytes\n");
    text_expect(&found, "8 used, 0 unused, 0 missing, 0 of a wrong shape\n");
}
END_TEST

START_TEST(closed_forms_are_reported)
{
    static text found;
    ck_assert(inspect("tests/golden/gaussian-mixture-2d", &found));
    text_expect(&found, "components    3, classes with their own 0\n");
    ck_assert(inspect("tests/golden/dataset-moons", &found));
    text_expect(&found, "points        points.npy\n");
    text_expect(&found, "sampled over [0, 0.999]\n");
    text_expect(&found, "output        points\n");
}
END_TEST

START_TEST(an_images_black_and_white_are_shown)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json",
                           "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":"
                           "\"gaussian_mixture\",\"weights\":[1],\"means\":[[0,1]],\"stds\":[1]},"
                           "\"flow\":{\"shape\":[1,1,2]},\"output\":{\"kind\":\"image\","
                           "\"range\":[-0.5,1]}}");
    ck_assert(inspect(folder.path, &found));
    text_expect(&found, "shape         [1, 1, 2]\n");
    text_expect(&found, "output        image, black -0.5, white 1\n");
    temp_folder_remove(&folder);
}
END_TEST

#define CONFIG                                                                                     \
    "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"mlp\",\"activation\":"      \
    "\"relu\"},\"flow\":{\"shape\":[2]}}"
#define ENTRY(name, shape, offsets)                                                                \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void write_model(const temp_folder *folder, const char *config, const char *header,
                        size_t payload_bytes)
{
    safetensors_image image = safetensors_image_make(header, NULL, payload_bytes);
    temp_folder_write(folder, "model.safetensors", image.data, image.size_bytes);
    safetensors_image_free(&image);
    if (config != NULL) {
        temp_folder_write_text(folder, "config.json", config);
    }
}

static bool add_bytes(void *context, size_t size_bytes)
{
    *(size_t *)context += size_bytes;
    return true;
}

/* 4.3 megabytes of weights here, gigabytes elsewhere. */
#define PREDICTING(prediction)                                                                     \
    "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"mlp\",\"activation\":"      \
    "\"relu\"},\"flow\":{\"shape\":[2],\"prediction\":" prediction "}}"

START_TEST(a_report_says_what_the_network_predicts)
{
    static text found;
    static const struct {
        const char *config, *expected;
    } rows[] = {
        {PREDICTING("\"epsilon\""), "prediction    epsilon\n"},
        {PREDICTING("[\"velocity\",\"score\"],\"coupling\":\"paired\""),
         "prediction    velocity and score, of paired noise and data\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        temp_folder folder;
        temp_folder_make(&folder);
        write_model(&folder, rows[i].config, "{" ENTRY("0.weight", "[2,3]", "[0,24]") "}", 24);
        (void)inspect(folder.path, &found);
        text_expect(&found, rows[i].expected);
        temp_folder_remove(&folder);
    }
}
END_TEST

START_TEST(an_image_network_is_reported_without_packing_its_weights)
{
    static text found;
    size_t allocated = 0;
    fm_memory_set_hook(add_bytes, &allocated);
    bool usable = inspect("tests/golden/unet-torchcfm-mnist", &found);
    fm_memory_set_hook(NULL, NULL);
    ck_assert(usable);
    ck_assert_uint_lt(allocated, (size_t)1 << 20);
    text_expect(&found, "architecture  torchcfm.unet\n");
    text_expect(&found, "\noutput_blocks.5.1.qkv.weight              F32    [96, 32, 1]");
    text_expect(&found, "parameters    1076641 in 167 tensors, 4306564 bytes\n");
    text_expect(&found, "167 used, 0 unused, 0 missing, 0 of a wrong shape\n");
}
END_TEST

START_TEST(a_model_may_be_described_without_being_built)
{
    size_t allocated = 0;
    fm_error err = {0};
    fm_model *model = NULL;
    const fm_model_options options = {.workers = 1, .describe_only = true};
    fm_memory_set_hook(add_bytes, &allocated);
    fm_status status = fm_model_open("tests/golden/unet-torchcfm-mnist", &options, &model, &err);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_uint_lt(allocated, (size_t)1 << 20);
    const fm_model_info *info = fm_model_describe(model);
    ck_assert_str_eq(info->architecture, "torchcfm.unet");
    ck_assert_uint_eq(info->dimension, 784);
    ck_assert_int_eq(info->label_count, 10);
    ck_assert_uint_eq(info->parameter_count, 0); /* nothing was counted */
    fm_model_unref(model);
}
END_TEST

START_TEST(unused_missing_and_misshapen_tensors_are_marked)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    write_model(&folder, CONFIG,
                "{" ENTRY("module.net.0.weight", "[4,3]", "[0,48]") "," ENTRY(
                    "module.net.2.weight", "[2,5]", "[48,88]") "," ENTRY("step\\u001b[2J", "[]",
                                                                         "[88,92]") "}",
                92);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "  used, in the file module.net.0.weight\n");
    text_expect(&found, "  WRONG SHAPE, expected [2, 4], in the file module.net.2.weight\n");
    text_expect(&found, "step?[2J"); /* no escape sequence reaches a terminal */
    text_expect(&found, "  UNUSED\n");
    text_expect(&found, "1 used, 1 unused, 0 missing, 1 of a wrong shape\n");
    text_expect(&found, "error: ");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(numbers_that_are_not_finite_are_named)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    static const char header[] = "{" ENTRY("net.0.weight", "[500,3]", "[0,6000]") "," ENTRY(
        "net.2.weight", "[2,500]", "[6000,10000]") "}";
    float numbers[2500] = {0};
    numbers[1234] = NAN;
    safetensors_image image = safetensors_image_make(header, numbers, sizeof numbers);
    temp_folder_write(&folder, "model.safetensors", image.data, image.size_bytes);
    temp_folder_write_text(&folder, "config.json", CONFIG);
    safetensors_image_free(&image);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found,
                "error: tensor \"net.0.weight\": expected numbers that are finite in float32, "
                "found nan at index [411, 1]\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_missing_tensor_is_marked)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    write_model(&folder,
                "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"mlp\","
                "\"activation\":\"relu\",\"layers\":[\"in\",\"out\"]},\"flow\":{\"shape\":[2]}}",
                "{" ENTRY("in.weight", "[4,3]", "[0,48]") "}", 48);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "out.weight  -");
    text_expect(&found, "MISSING, expected [2, 4]\n");
    text_expect(&found, "1 used, 0 unused, 1 missing, 0 of a wrong shape\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(what_is_missing_between_others_is_shown_and_they_are_still_checked)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    const char *header = "{" ENTRY("n.0.weight", "[4,3]", "[0,48]") "," ENTRY(
        "n.0.bias", "[4]", "[48,64]") "," ENTRY("n.2.weight", "[4,4]",
                                                "[64,128]") "," ENTRY("n.6.weight", "[2,4]",
                                                                      "[128,160]") "}";
    write_model(&folder, CONFIG, header, 160);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "n.2.bias    -");
    text_expect(&found, "MISSING, expected [4]\n");
    text_expect(&found, "n.4.weight  -");
    text_expect(&found, "MISSING, expected [4, 4]\n");
    text_expect(&found, "4 used, 0 unused, 4 missing, 0 of a wrong shape\n");
    write_model(&folder,
                "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"mlp\","
                "\"activation\":\"relu\",\"layers\":[\"n.0\",\"n.2\",\"n.6\"],"
                "\"layers_without_bias\":[\"n.6\",\"n.2\"]},\"flow\":{\"shape\":[2]}}",
                header, 160);
    ck_assert(inspect(folder.path, &found));
    text_expect(&found, "4 used, 0 unused, 0 missing, 0 of a wrong shape\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_folder_with_a_refused_configuration_shows_its_tensors)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    const char *header = "{" ENTRY("w", "[1]", "[0,4]") "}";
    write_model(&folder, NULL, header, 4);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "w       F32    [1]");
    text_expect(&found, "not checked\n");
    text_expect(&found, "config.json: cannot open");
    write_model(&folder,
                "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"flux\"}}",
                header, 4);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "not checked\n");
    text_expect(&found,
                "error: /network/architecture: \"flux\" is not supported by this release\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_malformed_checkpoint_still_shows_the_configuration)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    write_model(&folder, CONFIG, "{\"w\":1}", 0);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "architecture  mlp\n");
    text_expect(&found, "model.safetensors: tensor \"w\": expected an object, found an integer");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(weights_that_cannot_be_read_have_no_digest)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    write_model(&folder, CONFIG, "{\"w\":1}", 0);
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "digest        none, for the weights cannot be read\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_configuration_with_u0000_is_refused_in_words)
{
    static text found;
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", "{\"description\": \"a\\u0000\"}");
    ck_assert(!inspect(folder.path, &found));
    text_expect(&found, "\\u0000 is not allowed\n");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(what_is_no_folder_is_not_found)
{
    static text found;
    bool usable = false;
    fm_error err = {0};
    ck_assert_int_eq(fm_model_inspect("tests/golden/none", text_append, &found, &usable, &err),
                     FM_ENOTFOUND);
    ck_assert_int_eq(fm_model_inspect("tests/unit/run.c", text_append, &found, &usable, &err),
                     FM_ENOTFOUND);
    ck_assert_uint_eq(found.length, 0);
}
END_TEST

Suite *suite_engine_model_inspect(void)
{
    Suite *suite = suite_create("engine/model_inspect");
    TCase *tests = tcase_create("model_inspect");
    tcase_add_test(tests, a_good_folder_is_reported_whole);
    tcase_add_test(tests, closed_forms_are_reported);
    tcase_add_test(tests, an_images_black_and_white_are_shown);
    tcase_add_test(tests, a_report_says_what_the_network_predicts);
    tcase_add_test(tests, an_image_network_is_reported_without_packing_its_weights);
    tcase_add_test(tests, a_model_may_be_described_without_being_built);
    tcase_add_test(tests, numbers_that_are_not_finite_are_named);
    tcase_add_test(tests, unused_missing_and_misshapen_tensors_are_marked);
    tcase_add_test(tests, a_missing_tensor_is_marked);
    tcase_add_test(tests, what_is_missing_between_others_is_shown_and_they_are_still_checked);
    tcase_add_test(tests, a_folder_with_a_refused_configuration_shows_its_tensors);
    tcase_add_test(tests, a_malformed_checkpoint_still_shows_the_configuration);
    tcase_add_test(tests, weights_that_cannot_be_read_have_no_digest);
    tcase_add_test(tests, a_configuration_with_u0000_is_refused_in_words);
    tcase_add_test(tests, what_is_no_folder_is_not_found);
    suite_add_tcase(suite, tests);
    return suite;
}
