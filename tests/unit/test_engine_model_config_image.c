/* config.json of image networks: the libraries' own arguments and defaults, and every rule with the pointer
 * of what breaks it. */
#include "engine/checkpoint/model_config.h"
#include "tests/support/failing_memory.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA             "\"schema\":\"velocityd.model/1\""
#define MODEL(shape, body) "{" SCHEMA ",\"flow\":{\"shape\":" shape "},\"network\":{" body "}}"
#define LABELLED(shape, body, labels)                                                              \
    "{" SCHEMA ",\"flow\":{\"shape\":" shape "},\"network\":{" body "},\"conditioning\":{"         \
    "\"labels\":{" labels "}}}"
#define TORCHCFM_BODY(dim, more)                                                                   \
    "\"architecture\":\"torchcfm.unet\",\"dim\":" dim ",\"num_channels\":32,"                      \
    "\"num_res_blocks\":2" more
#define TORCHCFM(dim, more) MODEL(dim, TORCHCFM_BODY(dim, more))
#define META_BODY(more)                                                                            \
    "\"architecture\":\"meta.unet\",\"in_channels\":3,\"model_channels\":32,"                      \
    "\"out_channels\":3,\"num_res_blocks\":1,\"attention_resolutions\":[2,8]" more
#define META(more)               MODEL("[3,32,16]", META_BODY(more))
#define SIT_BODY(more)           "\"architecture\":\"sit\",\"input_size\":8" more
#define SIT(more)                MODEL("[4,8,8]", SIT_BODY(more))
#define SIT_LABELS(more, labels) LABELLED("[4,8,8]", SIT_BODY(more), labels)

static fm_status parse(const char *json, fm_model_config *ret, fm_error *err)
{
    return fm_model_config_parse("models/a-model", json, strlen(json), ret, err);
}

static void parse_well(const char *json, fm_model_config *ret)
{
    fm_error err = {0};
    fm_status status = parse(json, ret, &err);
    ck_assert_msg(status == FM_OK, "%s: %s", json, err.text);
}

/* "32+ 64 128+": the channels of each level, + where it attends. */
static const char *levels(const fm_unet_config *unet)
{
    static char text[256];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < unet->n_levels; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu%s", i > 0 ? " " : "",
                                 unet->levels[i].channels, unet->levels[i].attends ? "+" : "");
    }
    return text;
}

/* ---- What is read ---- */

START_TEST(a_torchcfm_unet_has_the_wrappers_defaults)
{
    fm_model_config config;
    parse_well(TORCHCFM("[1,28,28]", ""), &config);
    const fm_unet_config *unet = &config.unet;
    ck_assert_int_eq(config.architecture, FM_ARCHITECTURE_TORCHCFM_UNET);
    ck_assert_int_eq(config.compute, FM_COMPUTE_FLOAT32);
    ck_assert_uint_eq(unet->channels, 1);
    ck_assert_uint_eq(unet->height, 28);
    ck_assert_uint_eq(unet->width, 28);
    ck_assert_uint_eq(unet->output_channels, 1);
    ck_assert_uint_eq(unet->time_channels, 32);
    ck_assert_uint_eq(unet->n_blocks, 2);
    ck_assert_str_eq(levels(unet), "32+ 64 64"); /* 28 / 16 = 1: the first level */
    ck_assert_uint_eq(unet->heads, 1);
    ck_assert_uint_eq(unet->up_heads, 1);
    ck_assert_uint_eq(unet->head_channels, 0);
    ck_assert(unet->heads_first && unet->convs_resample);
    ck_assert(!unet->scale_shift && !unet->blocks_resample && !unet->fourier_features);
    ck_assert_uint_eq(unet->label_rows, 0);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(a_torchcfm_unet_has_levels_by_the_images_width)
{
    static const struct {
        const char *json, *levels;
    } rows[] = {
        {MODEL("[3,512,512]", "\"architecture\":\"torchcfm.unet\",\"dim\":[3,512,512],"
                              "\"num_channels\":64,\"num_res_blocks\":2"),
         "32 64 64 128 128 256+ 256"},
        {TORCHCFM("[3,256,256]", ""), "32 32 64 64 128+ 128"},
        {TORCHCFM("[3,128,128]", ""), "32 32 64 96+ 128"},
        {TORCHCFM("[3,64,64]", ""), "32 64 96+ 128"},
        {TORCHCFM("[3,32,32]", ""), "32 64+ 64 64"},
        {TORCHCFM("[3,64,32]", ",\"channel_mult\":null"), "32 64+ 64 64"},
        {TORCHCFM("[3,16,16]", ",\"channel_mult\":[1,2]"), "32+ 64"},
        {TORCHCFM("[3,16,16]", ",\"channel_mult\":\"1, 2,3.0\""), "32+ 64 96"},
        {TORCHCFM("[3,32,32]", ",\"attention_resolutions\":\"16,8\""), "32 64+ 64+ 64"},
        {TORCHCFM("[3,32,32]", ",\"attention_resolutions\":[32,4,11]"), "32+ 64+ 64 64+"},
        {TORCHCFM("[3,32,32]", ",\"attention_resolutions\":[]"), "32 64 64 64"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fm_model_config config;
        parse_well(rows[i].json, &config);
        ck_assert_str_eq(levels(&config.unet), rows[i].levels);
        fm_model_config_done(&config);
    }
}
END_TEST

START_TEST(every_key_of_a_torchcfm_unet_is_read)
{
    fm_model_config config;
    parse_well(LABELLED("[3,32,32]",
                        TORCHCFM_BODY("[3,32,32]",
                                      ",\"learn_sigma\":true,\"class_cond\":true,"
                                      "\"num_classes\":11,\"num_heads\":4,"
                                      "\"num_heads_upsample\":2,\"num_head_channels\":-1,"
                                      "\"use_scale_shift_norm\":true,\"resblock_updown\":true,"
                                      "\"use_new_attention_order\":true,\"dropout\":0.1,"
                                      "\"use_checkpoint\":false,\"use_fp16\":true"),
                        "\"count\":10,\"null\":10"),
               &config);
    const fm_unet_config *unet = &config.unet;
    ck_assert_uint_eq(unet->output_channels, 6);
    ck_assert_uint_eq(unet->label_rows, 11);
    ck_assert(!unet->has_null_row);
    ck_assert_uint_eq(unet->heads, 4);
    ck_assert_uint_eq(unet->up_heads, 2);
    ck_assert_uint_eq(unet->head_channels, 0);
    ck_assert(unet->scale_shift && unet->blocks_resample && !unet->heads_first);
    ck_assert(config.has_null_label && config.null_label == 10);
    fm_model_config_done(&config);
    parse_well(TORCHCFM("[3,32,32]", ",\"num_heads\":3,\"num_head_channels\":16,"
                                     "\"num_heads_upsample\":-1,\"num_classes\":null"),
               &config);
    ck_assert_uint_eq(unet->head_channels, 16); /* decides, whatever num_heads says */
    ck_assert_uint_eq(unet->up_heads, 3);
    ck_assert_uint_eq(unet->label_rows, 0);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_key_of_a_meta_unet_is_read)
{
    fm_model_config config;
    parse_well(META(""), &config);
    const fm_unet_config *unet = &config.unet;
    ck_assert_str_eq(levels(unet), "32 64+ 128 256+"); /* factors, not widths */
    ck_assert_uint_eq(unet->height, 32);
    ck_assert_uint_eq(unet->width, 16);
    ck_assert_uint_eq(unet->heads, 1);
    ck_assert(unet->heads_first && unet->convs_resample && !unet->fourier_features);
    ck_assert_uint_eq(unet->label_rows, 0);
    fm_model_config_done(&config);
    parse_well(LABELLED("[3,32,16]",
                        META_BODY(",\"channel_mult\":[2,1],\"conv_resample\":false,"
                                  "\"num_classes\":10,\"num_heads\":2,\"num_head_channels\":32,"
                                  "\"use_scale_shift_norm\":true,\"resblock_updown\":true,"
                                  "\"use_new_attention_order\":true,"
                                  "\"with_fourier_features\":true,\"dims\":2,"
                                  "\"ignore_time\":false,\"input_projection\":true,"
                                  "\"dropout\":0.3,\"use_checkpoint\":false"),
                        "\"count\":10,\"null\":10"),
               &config);
    ck_assert_str_eq(levels(unet), "64 32+");
    ck_assert_uint_eq(unet->head_channels, 32);
    ck_assert_uint_eq(unet->label_rows, 11);
    ck_assert(unet->has_null_row && unet->fourier_features && !unet->convs_resample);
    ck_assert(unet->scale_shift && unet->blocks_resample && !unet->heads_first);
    fm_model_config_done(&config);
}
END_TEST

#define PAIR_OF(network)                                                                           \
    "{\"schema\":\"velocityd.model/1\",\"network\":{" network                                      \
    "},\"flow\":{\"shape\":[3,32,32],\"prediction\":[\"velocity\",\"score\"]}}"
#define PAIR_UNET                                                                                  \
    "\"architecture\":\"torchcfm.unet\",\"dim\":[3,32,32],\"num_channels\":32,\"num_res_blocks\":" \
    "1"
#define PAIR_META                                                                                  \
    "\"architecture\":\"meta.unet\",\"in_channels\":3,\"model_channels\":32,\"num_res_blocks\":1," \
    "\"attention_resolutions\":[2],\"out_channels\":"

START_TEST(a_pair_of_predictions_keeps_twice_the_channels)
{
    static const char *const good[] = {PAIR_OF(PAIR_UNET ",\"learn_sigma\":true"),
                                       PAIR_OF(PAIR_META "6")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        fm_model_config config;
        parse_well(good[i], &config);
        ck_assert_uint_eq(config.unet.kept_channels, 6);
        ck_assert_uint_eq(config.unet.output_channels, 6);
        fm_model_config_done(&config);
    }
}
END_TEST

START_TEST(every_key_of_a_sit_is_read)
{
    fm_model_config config;
    parse_well(LABELLED("[4,32,32]", "\"architecture\":\"sit\"", "\"count\":1000"), &config);
    const fm_sit_config *sit = &config.sit;
    ck_assert_uint_eq(sit->channels, 4);
    ck_assert_uint_eq(sit->size, 32);
    ck_assert_uint_eq(sit->patch, 2);
    ck_assert_uint_eq(sit->hidden, 1152);
    ck_assert_uint_eq(sit->depth, 28);
    ck_assert_uint_eq(sit->heads, 16);
    ck_assert_uint_eq(sit->mlp_hidden, 4608);
    ck_assert_uint_eq(sit->output_channels, 8);
    ck_assert_uint_eq(sit->kept_channels, 4);
    ck_assert_uint_eq(sit->label_rows, 1001);
    ck_assert(sit->has_null_row && !config.has_null_label);
    fm_model_config_done(&config);
    parse_well(LABELLED("[1,12,12]",
                        "\"architecture\":\"sit\",\"input_size\":12,\"patch_size\":3,"
                        "\"in_channels\":1,\"hidden_size\":36,\"depth\":1,\"num_heads\":3,"
                        "\"mlp_ratio\":1.99,\"num_classes\":3,\"learn_sigma\":false,"
                        "\"class_dropout_prob\":0",
                        "\"count\":2,\"null\":2"),
               &config);
    ck_assert_uint_eq(sit->patch, 3);
    ck_assert_uint_eq(sit->hidden, 36);
    ck_assert_uint_eq(sit->mlp_hidden, 71); /* cut, not rounded */
    ck_assert_uint_eq(sit->output_channels, 1);
    ck_assert_uint_eq(sit->label_rows,
                      3); /* no row for "no class": the trainer's own is the last */
    ck_assert(!sit->has_null_row && config.null_label == 2);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(a_model_may_compute_in_bfloat16)
{
    fm_model_config config;
    parse_well("{" SCHEMA ",\"flow\":{\"shape\":[1,28,28]},\"network\":{" TORCHCFM_BODY(
                   "[1,28,28]", "") "},\"weights\":{\"compute\":\"bfloat16\"}}",
               &config);
    ck_assert_int_eq(config.compute, FM_COMPUTE_BFLOAT16);
    ck_assert_str_eq(fm_compute_name(config.compute), "bfloat16");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_reference_configuration_of_an_image_network_is_read)
{
    static const char *const names[] = {"unet-torchcfm-mnist",      "unet-torchcfm-variants-a",
                                        "unet-torchcfm-variants-b", "unet-meta-tiny",
                                        "sit-tiny-sigma",           "sit-tiny-nosigma"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[256];
        (void)snprintf(folder, sizeof folder, "tests/golden/%s", names[i]);
        fm_model_config config;
        fm_error err = {0};
        ck_assert_msg(fm_model_config_read(folder, &config, &err) == FM_OK, "%s", err.text);
        fm_model_config_done(&config);
    }
}
END_TEST

/* ---- What is refused ---- */

typedef struct refusal {
    const char *json, *text; /* how the error begins */
    fm_status status;
} refusal;

#define BAD(json, text)   {json, text, FM_EFORMAT}
#define LATER(json, text) {json, text, FM_EUNSUPPORTED}
#define CFM(more)         TORCHCFM("[3,32,32]", more)
#define CFM_LABELS(labels)                                                                         \
    LABELLED("[1,28,28]", TORCHCFM_BODY("[1,28,28]", ",\"class_cond\":true,\"num_classes\":10"),   \
             labels)
#define META_LABELS(labels) LABELLED("[3,32,16]", META_BODY(",\"num_classes\":10"), labels)

static const refusal refusals[] = {
    /* torchcfm.unet: shapes */
    BAD(MODEL("[1,28,28]", "\"architecture\":\"torchcfm.unet\""), "/network/dim: is required"),
    BAD(TORCHCFM("[28,28]", ""), "/network/dim: must have 3 items, found 2"),
    BAD(TORCHCFM("[0,28,28]", ""), "/flow/shape/0: must be from 1 to"),
    BAD(MODEL("[1,28,28]", TORCHCFM_BODY("[1,28,0]", "")), "/network/dim/2: must be from 1 to"),
    BAD(MODEL("[1,28,28]", TORCHCFM_BODY("\"1,28,28\"", "")), "/network/dim: must be an array"),
    BAD(MODEL("[28,28]", TORCHCFM_BODY("[1,28,28]", "")),
        "/flow/shape: must be [channels, height, width], found [28, 28]"),
    BAD(MODEL("[28,28,1]", TORCHCFM_BODY("[1,28,28]", "")),
        "/flow/shape: must be [1, 28, 28], from /network/dim, found [28, 28, 1]"),
    /* torchcfm.unet: levels */
    BAD(MODEL("[1,28,28]", "\"architecture\":\"torchcfm.unet\",\"dim\":[1,28,28]"),
        "/network/num_channels: is required"),
    BAD(MODEL("[1,28,28]",
              "\"architecture\":\"torchcfm.unet\",\"dim\":[1,28,28],\"num_channels\":32"),
        "/network/num_res_blocks: is required"),
    BAD(MODEL("[1,28,28]", "\"architecture\":\"torchcfm.unet\",\"dim\":[1,28,28],"
                           "\"num_channels\":48,\"num_res_blocks\":2"),
        "/network/channel_mult: must give every level a multiple of 32 channels, found 1 times 48"),
    BAD(TORCHCFM("[1,16,16]", ""),
        "/network/channel_mult: is required, for the library has no default for a width of 16"),
    BAD(CFM(",\"channel_mult\":[]"), "/network/channel_mult: must have 1 to 16 items, found 0"),
    BAD(CFM(",\"channel_mult\":[1,1.3]"),
        "/network/channel_mult/1: must give every level a multiple of 32 channels, found 1.3 times "
        "32"),
    BAD(CFM(",\"channel_mult\":[1,0]"),
        "/network/channel_mult/1: must give a level from 1 to 65536 channels, found 0 times 32"),
    BAD(CFM(",\"channel_mult\":[1,1e300]"), "/network/channel_mult/1: must give a level from 1 to"),
    BAD(CFM(",\"channel_mult\":[1,\"2\"]"), "/network/channel_mult/1: must be a number"),
    BAD(CFM(",\"channel_mult\":\"1,2;\""),
        "/network/channel_mult: must be numbers with commas between, found \"1,2;\""),
    BAD(CFM(",\"channel_mult\":\"1],[2\""), "/network/channel_mult: must be numbers with commas"),
    BAD(CFM(",\"channel_mult\":\"1,[2]\""), "/network/channel_mult/1: must be a number"),
    BAD(CFM(",\"channel_mult\":4"), "/network/channel_mult: must be an array"),
    BAD(TORCHCFM("[1,28,30]", ",\"channel_mult\":[1,2,2]"),
        "/network/channel_mult: must halve height and width without a rest 2 times, found 3 levels "
        "for images of 28 x 30"),
    BAD(CFM(",\"channel_mult\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
        "/network/channel_mult: must have 1 to 16 items, found 17"),
    BAD(CFM(",\"num_res_block\":2"), "/network/num_res_block: unknown key; must be one of dim"),
    /* torchcfm.unet: attention */
    BAD(CFM(",\"attention_resolutions\":\"16,x\""),
        "/network/attention_resolutions: must be numbers with commas between, found \"16,x\""),
    BAD(CFM(",\"attention_resolutions\":\"0\""),
        "/network/attention_resolutions/0: must be from 1 to 65536, found 0"),
    BAD(CFM(",\"attention_resolutions\":[16,8.5]"),
        "/network/attention_resolutions/1: must be an integer"),
    BAD(CFM(",\"attention_resolutions\":16"), "/network/attention_resolutions: must be an array"),
    BAD(CFM(",\"num_heads\":0"), "/network/num_heads: must be from 1 to 4096, found 0"),
    BAD(CFM(",\"num_heads\":-1"), "/network/num_heads: must be from 1 to 4096, found -1"),
    BAD(CFM(",\"num_heads\":5"),
        "/network/num_heads: must divide the channels where there is attention, 64 in level 2, "
        "found 5"),
    BAD(CFM(",\"num_heads_upsample\":5"),
        "/network/num_heads_upsample: must divide the channels where there is attention, 64 in "),
    BAD(CFM(",\"num_head_channels\":48"),
        "/network/num_head_channels: must divide the channels where there is attention, 64 in lev"),
    BAD(CFM(",\"attention_resolutions\":[],\"num_heads\":3"), /* the middle always attends */
        "/network/num_heads: must divide the channels where there is attention, 64 in level 4, "),
    BAD(CFM(",\"num_head_channels\":0"), "/network/num_head_channels: must be from 1 to 4096"),
    BAD(CFM(",\"num_head_channels\":-2"), "/network/num_head_channels: must be from 1 to 4096"),
    /* torchcfm.unet: the rest */
    BAD(CFM(",\"use_scale_shift_norm\":1"),
        "/network/use_scale_shift_norm: must be true or false, found an integer"),
    BAD(CFM(",\"resblock_updown\":\"true\""), "/network/resblock_updown: must be true or false"),
    BAD(CFM(",\"use_new_attention_order\":null"), "/network/use_new_attention_order: must be true"),
    BAD(CFM(",\"learn_sigma\":0"), "/network/learn_sigma: must be true or false"),
    BAD(CFM(",\"class_cond\":0"), "/network/class_cond: must be true or false"),
    BAD(CFM(",\"num_classes\":0"), "/network/num_classes: must be from 1 to 16777216, found 0"),
    BAD(CFM(",\"class_cond\":true,\"num_classes\":null"),
        "/network/num_classes: must be an integer"),
    BAD(CFM(",\"dropout\":\"0.1\""), "/network/dropout: must be a number"),
    BAD(CFM(",\"use_checkpoint\":0"), "/network/use_checkpoint: must be true or false"),
    BAD(CFM(",\"use_fp16\":16"), "/network/use_fp16: must be true or false"),
    BAD(CFM(",\"conv_resample\":false"), "/network/conv_resample: unknown key"),
    BAD(CFM(",\"class_cond\":true"), "/conditioning/labels: is required"),
    BAD(LABELLED("[3,32,32]", TORCHCFM_BODY("[3,32,32]", ""), "\"count\":1000"),
        "/conditioning/labels: the network takes no label"),
    BAD(CFM_LABELS("\"count\":11"),
        "/conditioning/labels/count: must be at most /network/num_classes, 10, found 11"),
    BAD(CFM_LABELS("\"count\":10,\"null\":10"),
        "/conditioning/labels/null: must be from 0 to 9, found 10"),
    BAD(CFM_LABELS("\"count\":8,\"null\":9"),
        "/conditioning/labels/null: must be from 0 to 8, found 9"),
    /* meta.unet */
    BAD(MODEL("[3,32,32]", "\"architecture\":\"meta.unet\""), "/network/in_channels: is required"),
    BAD(MODEL("[3,32,32]", "\"architecture\":\"meta.unet\",\"in_channels\":3"),
        "/network/out_channels: is required"),
    BAD(MODEL("[3,32,32]", "\"architecture\":\"meta.unet\",\"in_channels\":3,\"out_channels\":6"),
        "/network/out_channels: must be 3, in_channels for the prediction, found 6"),
    BAD(PAIR_OF(PAIR_META "3"),
        "/network/out_channels: must be 6, in_channels for each prediction, found 3"),
    BAD(PAIR_OF(PAIR_UNET), "/network/learn_sigma: must be true where /flow/prediction is a pair"),
    BAD(MODEL("[1,32,32]", META_BODY("")),
        "/flow/shape: must be [3, 32, 32], from /network/in_channels and an image's height and "
        "width, found [1, 32, 32]"),
    BAD(MODEL("[3,32]", META_BODY("")),
        "/flow/shape: must be [channels, height, width], found [3, 32]"),
    BAD(MODEL("[3,32,32]", "\"architecture\":\"meta.unet\",\"in_channels\":3,\"out_channels\":3"),
        "/network/attention_resolutions: is required"),
    BAD(META(",\"channel_mult\":[1,1,1,1,1,1]"),
        "/network/channel_mult: must halve height and width without a rest 5 times, found 6 levels "
        "for images of 32 x 16"),
    BAD(META(",\"conv_resample\":1"), "/network/conv_resample: must be true or false"),
    BAD(META(",\"with_fourier_features\":\"yes\""), "/network/with_fourier_features: must be true"),
    BAD(MODEL("[1,32,32]", "\"architecture\":\"meta.unet\",\"in_channels\":1,\"model_channels\":32,"
                           "\"out_channels\":1,\"num_res_blocks\":1,\"attention_resolutions\":[],"
                           "\"with_fourier_features\":true"),
        "/network/with_fourier_features: must be false unless in_channels is 3, found in_channels "
        "1"),
    BAD(META(",\"dims\":3"), "/network/dims: must be from 2 to 2, found 3"),
    BAD(META(",\"ignore_time\":0"), "/network/ignore_time: must be true or false"),
    LATER(META(",\"ignore_time\":true"), "/network/ignore_time: is not supported by this release"),
    LATER(META(",\"input_projection\":false"), "/network/input_projection: is not supported by th"),
    BAD(META(",\"num_classes\":0"), "/network/num_classes: must be from 1 to 16777216, found 0"),
    BAD(META(",\"class_cond\":true"), "/network/class_cond: unknown key"),
    BAD(META(",\"num_classes\":10"), "/conditioning/labels: is required"),
    BAD(META_LABELS("\"count\":9"),
        "/conditioning/labels/count: must be /network/num_classes, 10, found 9"),
    BAD(META_LABELS("\"count\":10,\"null\":0"),
        "/conditioning/labels/null: must be from 10 to 10, found 0"),
    /* sit */
    BAD(MODEL("[4,8,4]", SIT_BODY("")),
        "/flow/shape: must be [4, 8, 8], from in_channels and input_size of /network, found [4, 8, "
        "4]"),
    BAD(SIT(",\"patch_size\":3"), "/network/patch_size: must divide input_size, 8, found 3"),
    BAD(SIT(",\"patch_size\":0"), "/network/patch_size: must be from 1 to 65536, found 0"),
    BAD(SIT(",\"num_heads\":7"), "/network/num_heads: must divide hidden_size, 1152, found 7"),
    BAD(SIT(",\"depth\":0"), "/network/depth: must be from 1 to 1024, found 0"),
    BAD(SIT(",\"depth\":1000000000"), "/network/depth: must be from 1 to 1024, found 1000000000"),
    BAD(SIT(",\"hidden_size\":65537"),
        "/network/hidden_size: must be from 1 to 65536, found 65537"),
    BAD(SIT(",\"mlp_ratio\":0"),
        "/network/mlp_ratio: must give a hidden layer from 1 to 65536 wide, found 0 times 1152"),
    BAD(SIT(",\"mlp_ratio\":1e9"), "/network/mlp_ratio: must give a hidden layer from 1 to 65536"),
    BAD(SIT(",\"mlp_ratio\":\"4\""), "/network/mlp_ratio: must be a number"),
    BAD(SIT(",\"learn_sigma\":1"), "/network/learn_sigma: must be true or false"),
    BAD(SIT(",\"class_dropout_prob\":2"),
        "/network/class_dropout_prob: must be from 0 to 1, found 2"),
    BAD(SIT(",\"num_classes\":0"), "/network/num_classes: must be from 1 to 16777216, found 0"),
    BAD(SIT(",\"num_class\":10"), "/network/num_class: unknown key; must be one of architecture"),
    BAD(SIT(""), "/conditioning/labels: is required"),
    BAD(SIT_LABELS(",\"num_classes\":10", "\"count\":11"),
        "/conditioning/labels/count: must be /network/num_classes, 10, found 11"),
    BAD(SIT_LABELS(",\"num_classes\":10", "\"count\":10,\"null\":9"),
        "/conditioning/labels/null: must be from 10 to 10, found 9"),
    BAD(SIT_LABELS(",\"num_classes\":10,\"class_dropout_prob\":0", "\"count\":10,\"null\":10"),
        "/conditioning/labels/null: must be from 0 to 9, found 10"),
};

START_TEST(a_broken_rule_of_an_image_network_is_named_by_its_pointer)
{
    const refusal *row = &refusals[_i];
    fm_model_config config;
    fm_error err = {0};
    fm_status status = parse(row->json, &config, &err);
    ck_assert_msg(status == row->status, "%s: expected %s, found %s: %s", row->json,
                  fm_status_name(row->status), fm_status_name(status), err.text);
    ck_assert_msg(strncmp(err.text, row->text, strlen(row->text)) == 0,
                  "%s: expected \"%s…\", found: %s", row->json, row->text, err.text);
}
END_TEST

START_TEST(every_failed_allocation_of_an_image_network_is_an_error)
{
    static const char *const texts[] = {
        CFM_LABELS("\"count\":10"),
        CFM(",\"channel_mult\":\"1,2\",\"attention_resolutions\":\"16,8\""),
        META_LABELS("\"count\":10,\"null\":10"),
        SIT_LABELS("", "\"count\":1000"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bool refused = true;
        for (size_t k = 0; refused; k++) {
            ck_assert_uint_lt(k, 10000);
            fm_model_config config;
            fm_error err = {0};
            failing_memory_start(k);
            fm_status status = parse(texts[i], &config, &err);
            refused = failing_memory_stop();
            ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                          "%s: allocation %zu: %s: %s", texts[i], k, fm_status_name(status),
                          err.text);
            if (status == FM_OK) {
                fm_model_config_done(&config);
            }
        }
    }
}
END_TEST

Suite *suite_engine_model_config_image(void)
{
    Suite *suite = suite_create("engine/model_config_image");
    TCase *tests = tcase_create("model_config_image");
    tcase_add_test(tests, a_torchcfm_unet_has_the_wrappers_defaults);
    tcase_add_test(tests, a_torchcfm_unet_has_levels_by_the_images_width);
    tcase_add_test(tests, every_key_of_a_torchcfm_unet_is_read);
    tcase_add_test(tests, every_key_of_a_meta_unet_is_read);
    tcase_add_test(tests, a_pair_of_predictions_keeps_twice_the_channels);
    tcase_add_test(tests, every_key_of_a_sit_is_read);
    tcase_add_test(tests, a_model_may_compute_in_bfloat16);
    tcase_add_test(tests, every_reference_configuration_of_an_image_network_is_read);
    tcase_add_loop_test(tests, a_broken_rule_of_an_image_network_is_named_by_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(tests, every_failed_allocation_of_an_image_network_is_an_error);
    suite_add_tcase(suite, tests);
    return suite;
}
