/* config.json by the names and shapes of tensors. */
#include "engine/checkpoint/guess.h"
#include "tests/unit/suites.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS ((size_t)64)

/* Tensors of shapes alone: a guess never reads numbers. */
typedef struct shapes {
    fm_tensor tensors[MAX_TENSORS];
    fm_safetensors_row rows[MAX_TENSORS];
    char names[MAX_TENSORS][96];
    size_t count;
} shapes;

static void add(shapes *to, const char *name, size_t rank, ...)
{
    ck_assert_uint_lt(to->count, MAX_TENSORS);
    fm_tensor *tensor = &to->tensors[to->count];
    *tensor = (fm_tensor){.dtype = FM_DTYPE_F32, .rank = rank, .count = 1};
    va_list sizes;
    va_start(sizes, rank);
    for (size_t axis = 0; axis < rank; axis++) {
        tensor->shape[axis] = (size_t)va_arg(sizes, int);
        tensor->count *= tensor->shape[axis];
    }
    va_end(sizes);
    (void)snprintf(to->names[to->count], sizeof to->names[0], "%s", name);
    tensor->name = to->names[to->count];
    to->rows[to->count] = (fm_safetensors_row){tensor->name, tensor};
    to->count++;
}

static int compare_row(const void *left, const void *right)
{
    return strcmp(((const fm_safetensors_row *)left)->name,
                  ((const fm_safetensors_row *)right)->name);
}

static fm_status guess(shapes *from, const char *architecture, fm_guess *ret, fm_error *err)
{
    qsort(from->rows, from->count, sizeof *from->rows, compare_row);
    return fm_guess_config(from->rows, from->count, architecture, "file.pt", ret, err);
}

static void expect_section(const fm_guess *found, const char *section, const char *expected)
{
    char *text = json_dumps(json_object_get(found->config, section), JSON_COMPACT);
    ck_assert_str_eq(text, expected);
    free(text);
}

static void expect_assumed(const fm_guess *found, const char *needle)
{
    for (size_t i = 0; i < json_array_size(found->assumed); i++) {
        if (strstr(json_string_value(json_array_get(found->assumed, i)), needle) != NULL) {
            return;
        }
    }
    ck_abort_msg("\"%s\" is not assumed", needle);
}

static void expect_guess(shapes *from, const char *architecture, fm_guess *ret)
{
    fm_error err = {0};
    ck_assert_msg(guess(from, architecture, ret, &err) == FM_OK, "%s", err.text);
    ck_assert_str_eq(json_string_value(json_object_get(ret->config, "schema")),
                     "velocityd.model/1");
    expect_assumed(ret, "flow.scheduler.type condot");
}

static void done(fm_guess *found)
{
    json_decref(found->config);
    json_decref(found->assumed);
}

static void expect_refused(shapes *from, const char *architecture, const char *needle)
{
    fm_guess found = {0};
    fm_error err = {0};
    ck_assert_int_ne(guess(from, architecture, &found, &err), FM_OK);
    ck_assert_msg(strstr(err.text, needle) != NULL, "expected \"%s\" in: %s", needle, err.text);
    ck_assert_ptr_null(found.config);
}

/* ---- mlp ---- */

START_TEST(an_mlp_is_told_by_its_widths)
{
    static const struct {
        const char *first, *last;
        int inputs, outputs;
        const char *network;
    } rows[] = {
        {"main.0", "main.2", 3, 2,
         "{\"architecture\":\"mlp\",\"activation\":\"silu\",\"time\":\"concat_last\"}"},
        {"net.0", "net.2", 4, 3,
         "{\"architecture\":\"mlp\",\"activation\":\"selu\",\"time\":\"concat_last\"}"},
        {"model.0", "model.2", 3, 2,
         "{\"architecture\":\"mlp\",\"activation\":\"relu\",\"time\":\"concat_first\"}"},
        {"mlp.layers.0", "mlp.layers.2", 4, 2,
         "{\"architecture\":\"mlp\",\"activation\":\"relu\",\"time\":\"concat_last\",\"label\":"
         "\"concat\"}"},
        {"input_layer.1", "main.1", 12, 2,
         "{\"architecture\":\"mlp\",\"activation\":\"silu\",\"time\":\"concat_last\",\"features\":{"
         "\"type\":\"fourier\",\"count\":2},\"layers\":[\"input_layer.1\",\"main.1\"]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static shapes it;
        fm_guess found = {0};
        char name[96];
        it.count = 0;
        (void)snprintf(name, sizeof name, "%s.weight", rows[i].first);
        add(&it, name, 2, 16, rows[i].inputs);
        (void)snprintf(name, sizeof name, "%s.bias", rows[i].first);
        add(&it, name, 1, 16);
        (void)snprintf(name, sizeof name, "%s.weight", rows[i].last);
        add(&it, name, 2, rows[i].outputs, 16);
        expect_guess(&it, NULL, &found);
        expect_section(&found, "network", rows[i].network);
        expect_assumed(&found, "network.activation");
        done(&found);
    }
}
END_TEST

START_TEST(what_is_no_mlp_is_refused_by_a_name)
{
    static shapes it;
    it.count = 0;
    add(&it, "main.0.weight", 2, 16, 3);
    add(&it, "main.2.weight", 2, 2, 8);
    expect_refused(&it, NULL,
                   "tensor \"main.2.weight\": expected 16 columns, the width of "
                   "\"main.0.weight\", found 8");
    it.count = 0;
    add(&it, "main.0.weight", 2, 16, 3);
    add(&it, "side.2.weight", 2, 2, 16);
    expect_refused(&it, NULL, "tensor \"side.2.weight\": its name and shape fit no architecture");
    it.count = 0;
    add(&it, "main.0.weight", 2, 16, 7);
    add(&it, "main.2.weight", 2, 2, 16);
    expect_refused(&it, NULL, "takes 7 numbers and the last gives 2");
    it.count = 0;
    add(&it, "main.0.running_mean", 1, 7);
    expect_refused(&it, NULL, "tensor \"main.0.running_mean\"");
}
END_TEST

/* ---- sit ---- */

static void add_sit(shapes *to, int outputs)
{
    to->count = 0;
    add(to, "pos_embed", 3, 1, 16, 128);
    add(to, "x_embedder.proj.weight", 4, 128, 4, 2, 2);
    add(to, "final_layer.linear.weight", 2, outputs, 128);
    add(to, "y_embedder.embedding_table.weight", 2, 11, 128);
    add(to, "blocks.0.attn.qkv.weight", 2, 384, 128);
    add(to, "blocks.0.mlp.fc1.weight", 2, 512, 128);
    add(to, "blocks.10.attn.qkv.weight", 2, 384, 128);
}

START_TEST(a_sit_is_told_by_its_shapes)
{
    static shapes it;
    fm_guess found = {0};
    add_sit(&it, 32);
    expect_guess(&it, NULL, &found);
    expect_section(&found, "network",
                   "{\"architecture\":\"sit\",\"input_size\":8,\"patch_size\":2,\"in_channels\":4,"
                   "\"hidden_size\":128,\"depth\":11,\"num_heads\":2,\"mlp_ratio\":4.0,"
                   "\"num_classes\":10,\"learn_sigma\":true}");
    expect_section(&found, "conditioning", "{\"labels\":{\"count\":10,\"null\":10}}");
    expect_assumed(&found, "network.num_heads 2");
    done(&found);
    add_sit(&it, 16);
    expect_guess(&it, "sit", &found);
    ck_assert(
        json_is_false(json_object_get(json_object_get(found.config, "network"), "learn_sigma")));
    done(&found);
    add_sit(&it, 16);
    it.tensors[0].shape[1] = 15;
    expect_refused(&it, NULL,
                   "tensor \"pos_embed\": expected a square number of patches, found 15");
}
END_TEST

/* ---- tokens ---- */

static void add_text(shapes *to, int rows, bool turns)
{
    to->count = 0;
    add(to, "vocab_embed.weight", 2, rows, 128);
    add(to, "time_embedding.mlp.0.weight", 2, 32, 256);
    add(to, "blocks.0.qw.weight", 2, 128, 128);
    add(to, "blocks.5.qw.weight", 2, 128, 128);
    if (turns) {
        add(to, "rotary_emb.inv_freq", 1, 16);
    }
}

START_TEST(a_text_dit_is_told_by_its_shapes)
{
    static shapes it;
    fm_guess found = {0};
    add_text(&it, 50258, true);
    expect_guess(&it, NULL, &found);
    expect_section(&found, "network",
                   "{\"architecture\":\"text_dit\",\"vocab_size\":50257,\"masked\":true,"
                   "\"hidden_size\":128,\"cond_dim\":32,\"length\":1024,\"n_blocks\":6,"
                   "\"n_heads\":4}");
    expect_section(&found, "flow",
                   "{\"space\":\"tokens\",\"source\":{\"type\":\"mask\"},\"shape\":[1024],"
                   "\"scheduler\":{\"type\":\"condot\"},\"prediction\":\"logits\",\"time\":{"
                   "\"direction\":\"noise_to_data\",\"scale\":1.0}}");
    expect_section(&found, "output", "{\"kind\":\"tokens\"}");
    expect_assumed(&found, "network.masked true, flow.source mask: the table has 50258 rows");
    expect_assumed(&found, "network.length 1024");
    done(&found);
    add_text(&it, 50257, false);
    expect_guess(&it, "text_dit", &found);
    const json_t *network = json_object_get(found.config, "network");
    ck_assert(json_is_false(json_object_get(network, "masked")));
    ck_assert_int_eq(json_integer_value(json_object_get(network, "n_heads")), 2);
    expect_assumed(&found, "flow.source uniform_tokens");
    expect_assumed(&found, "network.n_heads 2: heads of 64 channels");
    done(&found);
}
END_TEST

static void add_token_mlp(shapes *to, bool is_first)
{
    const char *stem = is_first ? "net" : "main";
    char name[96];
    to->count = 0;
    add(to, is_first ? "embed.weight" : "token_embedding.weight", 2, 20, 8);
    if (!is_first) {
        add(to, "time_embedding.weight", 2, 2, 1);
        add(to, "time_embedding.bias", 1, 2);
    }
    (void)snprintf(name, sizeof name, "%s.1.weight", stem);
    add(to, name, 2, 16, is_first ? 25 : 26);
    (void)snprintf(name, sizeof name, "%s.3.weight", stem);
    add(to, name, 2, 60, 16);
}

START_TEST(an_mlp_of_tokens_is_told_by_its_tables)
{
    static shapes it;
    fm_guess found = {0};
    add_token_mlp(&it, false);
    expect_guess(&it, NULL, &found);
    expect_section(&found, "network",
                   "{\"architecture\":\"mlp\",\"activation\":\"silu\",\"time\":\"concat_last\","
                   "\"token_embedding\":\"token_embedding\",\"vocab_size\":19,\"masked\":true,"
                   "\"time_embedding\":\"time_embedding\",\"activation_first\":true}");
    expect_section(&found, "output", "{\"kind\":\"tokens\"}");
    ck_assert_int_eq(json_integer_value(json_array_get(
                         json_object_get(json_object_get(found.config, "flow"), "shape"), 0)),
                     3);
    done(&found);
    add_token_mlp(&it, true);
    expect_guess(&it, NULL, &found);
    expect_section(&found, "network",
                   "{\"architecture\":\"mlp\",\"activation\":\"elu\",\"time\":\"concat_first\","
                   "\"token_embedding\":\"embed\",\"vocab_size\":19,\"masked\":true,"
                   "\"activation_first\":false}");
    done(&found);
    add_token_mlp(&it, true);
    it.tensors[1].shape[1] = 24;
    expect_refused(&it, NULL,
                   "the first layer takes 24 numbers and the last gives 60: that is not of tokens "
                   "with rows of 8 numbers out of 20, and a time of 1");
}
END_TEST

/* ---- U-Nets ---- */

static void add_unet(shapes *to, int base, int first)
{
    to->count = 0;
    add(to, "time_embed.0.weight", 2, 4 * base, base);
    add(to, "input_blocks.0.0.weight", 4, first, 3, 3, 3);
    add(to, "out.2.weight", 4, 3, first, 3, 3);
}

/* A ResBlock of the inputs. */
static void add_res(shapes *to, int index, int channels, int embedding, bool attention)
{
    char name[96];
    (void)snprintf(name, sizeof name, "input_blocks.%d.0.in_layers.2.weight", index);
    add(to, name, 4, channels, channels, 3, 3);
    (void)snprintf(name, sizeof name, "input_blocks.%d.0.emb_layers.1.weight", index);
    add(to, name, 2, embedding, 512);
    (void)snprintf(name, sizeof name, "input_blocks.%d.1.qkv.weight", index);
    if (attention) {
        add(to, name, 3, 3 * channels, channels, 1);
    }
}

START_TEST(a_torchcfm_unet_is_told_by_its_blocks)
{
    static shapes it;
    fm_guess found = {0};
    add_unet(&it, 128, 128);
    add_res(&it, 1, 128, 128, false);
    add_res(&it, 2, 128, 128, false);
    add(&it, "input_blocks.3.0.op.weight", 4, 128, 128, 3, 3);
    add_res(&it, 4, 256, 256, true);
    add_res(&it, 5, 256, 256, true);
    add(&it, "output_blocks.2.2.conv.weight", 4, 256, 256, 3, 3);
    add(&it, "label_emb.weight", 2, 10, 512);
    expect_guess(&it, NULL, &found);
    expect_section(
        &found, "network",
        "{\"architecture\":\"torchcfm.unet\",\"dim\":[3,32,32],\"num_channels\":128,"
        "\"num_res_blocks\":2,\"channel_mult\":[1,2],\"use_scale_shift_norm\":false,"
        "\"resblock_updown\":false,\"attention_resolutions\":\"16\",\"num_heads\":4,"
        "\"num_head_channels\":64,\"use_new_attention_order\":false,\"learn_sigma\":false,"
        "\"class_cond\":true,\"num_classes\":10}");
    expect_section(&found, "conditioning", "{\"labels\":{\"count\":10}}");
    expect_assumed(&found, "images of 32 x 32");
    done(&found);
}
END_TEST

START_TEST(a_meta_unet_is_told_by_its_first_convolution_or_its_null_class)
{
    static shapes it;
    fm_guess found = {0};
    add_unet(&it, 128, 256); /* average pools: block 2 has no tensors */
    add_res(&it, 1, 256, 512, false);
    add_res(&it, 3, 256, 512, true);
    expect_guess(&it, NULL, &found);
    expect_section(
        &found, "network",
        "{\"architecture\":\"meta.unet\",\"in_channels\":3,\"model_channels\":128,"
        "\"out_channels\":3,\"num_res_blocks\":1,\"channel_mult\":[2,2],"
        "\"use_scale_shift_norm\":true,\"resblock_updown\":false,\"attention_resolutions\":[2],"
        "\"conv_resample\":false,\"with_fourier_features\":false,\"num_heads\":1,"
        "\"num_head_channels\":-1,\"use_new_attention_order\":true}");
    done(&found);
    add_unet(&it, 192,
             192); /* down-sampling ResBlocks; the last block of a level shows its depth */
    add_res(&it, 1, 192, 384, false);
    add_res(&it, 2, 192, 384, false);
    add_res(&it, 3, 96, 192, true);
    add(&it, "output_blocks.1.1.in_layers.2.weight", 4, 192, 192, 3, 3);
    add(&it, "label_emb.weight", 2, 1001, 768);
    expect_guess(&it, NULL, &found);
    const json_t *network = json_object_get(found.config, "network");
    ck_assert_int_eq(json_integer_value(json_object_get(network, "num_classes")), 1000);
    ck_assert(json_is_true(json_object_get(network, "resblock_updown")));
    char *multipliers = json_dumps(json_object_get(network, "channel_mult"), JSON_COMPACT);
    ck_assert_str_eq(multipliers, "[1,0.5]");
    free(multipliers);
    expect_section(&found, "conditioning", "{\"labels\":{\"count\":1000,\"null\":1000}}");
    expect_assumed(&found, "not torchcfm.unet with 1001 classes");
    done(&found);
}
END_TEST

START_TEST(a_unet_of_uneven_levels_is_refused)
{
    static shapes it;
    add_unet(&it, 128, 128);
    add_res(&it, 1, 128, 128, false);
    add_res(&it, 2, 128, 128, false);
    add(&it, "input_blocks.3.0.op.weight", 4, 128, 128, 3, 3);
    add_res(&it, 4, 256, 256, true);
    add(&it, "output_blocks.2.2.conv.weight", 4, 256, 256, 3, 3);
    expect_refused(&it, NULL, "5 input_blocks are no levels of one number of ResBlocks");
}
END_TEST

/* ---- Names ---- */

START_TEST(a_prefix_that_all_names_share_is_cut_off_where_an_architecture_is_behind_it)
{
    static shapes it;
    static shapes wrapped;
    fm_guess found = {0};
    add_sit(&it, 16);
    wrapped.count = 0;
    for (size_t i = 0; i < it.count; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "model.net.%.80s", it.names[i]);
        const size_t *shape = it.tensors[i].shape;
        add(&wrapped, name, it.tensors[i].rank, (int)shape[0], (int)shape[1], (int)shape[2],
            (int)shape[3]);
    }
    expect_guess(&wrapped, NULL, &found);
    expect_section(&found, "output", "{\"kind\":\"points\"}");
    for (size_t i = 0; i < found.count; i++) {
        ck_assert_msg(strncmp(found.rows[i].name, "model.", 6) != 0, "%s", found.rows[i].name);
    }
    done(&found);
}
END_TEST

START_TEST(networks_that_are_known_but_cannot_be_guessed_are_named)
{
    static shapes it;
    it.count = 0;
    add(&it, "double_layers.0.modC.1.weight", 2, 4, 4);
    expect_refused(&it, NULL,
                   "named like those of minrf.mmdit, whose config.json cannot be guessed");
    expect_refused(&it, "minrf.mmdit",
                   "architecture must be one of mlp, text_dit, sit, meta.unet, "
                   "torchcfm.unet, found \"minrf.mmdit\"");
    expect_refused(&it, "torchcfm.unet",
                   "tensor \"input_blocks.0.0.weight\": expected with 4 "
                   "dimensions for this architecture, found none");
}
END_TEST

Suite *suite_engine_guess(void)
{
    Suite *suite = suite_create("engine/guess");
    TCase *tests = tcase_create("guess");
    tcase_add_test(tests, an_mlp_is_told_by_its_widths);
    tcase_add_test(tests, what_is_no_mlp_is_refused_by_a_name);
    tcase_add_test(tests, a_sit_is_told_by_its_shapes);
    tcase_add_test(tests, a_text_dit_is_told_by_its_shapes);
    tcase_add_test(tests, an_mlp_of_tokens_is_told_by_its_tables);
    tcase_add_test(tests, a_torchcfm_unet_is_told_by_its_blocks);
    tcase_add_test(tests, a_meta_unet_is_told_by_its_first_convolution_or_its_null_class);
    tcase_add_test(tests, a_unet_of_uneven_levels_is_refused);
    tcase_add_test(tests,
                   a_prefix_that_all_names_share_is_cut_off_where_an_architecture_is_behind_it);
    tcase_add_test(tests, networks_that_are_known_but_cannot_be_guessed_are_named);
    suite_add_tcase(suite, tests);
    return suite;
}
