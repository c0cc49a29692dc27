/* config.json of networks of tokens: their keys, the names of their tokens, and every rule with the pointer of what
 * breaks it. */
#include "engine/checkpoint/digest.h"
#include "engine/checkpoint/model_config.h"
#include "engine/model.h"
#include "tests/support/failing_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <string.h>

#define MODEL(network, flow, more)                                                                 \
    "{\"schema\":\"velocityd.model/1\",\"network\":{" network "},\"flow\":{" flow "}" more "}"
#define TOKENS(source) "\"space\":\"tokens\",\"shape\":[6],\"source\":{\"type\":\"" source "\"}"
#define TEXT_KEYS(more)                                                                            \
    "\"architecture\":\"text_dit\",\"vocab_size\":5,\"hidden_size\":24,\"cond_dim\":7,"            \
    "\"n_blocks\":3" more
#define TEXT(more) MODEL(TEXT_KEYS(more), TOKENS("mask"), "")
#define MLP_KEYS   "\"architecture\":\"mlp\",\"activation\":\"silu\""
#define MLP(more)  MODEL(MLP_KEYS more, TOKENS("mask"), "")
#define NAMED(output)                                                                              \
    MODEL(TEXT_KEYS(",\"n_heads\":2,\"masked\":true"), TOKENS("mask"), ",\"output\":{" output "}")

static fm_status parse(const char *json, fm_model_config *ret, fm_error *err)
{
    return fm_model_config_parse("models/a-model", json, strlen(json), ret, err);
}

static void parse_well(const char *json, fm_model_config *ret)
{
    fm_error err = {0};
    ck_assert_msg(parse(json, ret, &err) == FM_OK, "%s: %s", json, err.text);
}

START_TEST(a_text_transformer_has_the_librarys_keys)
{
    fm_model_config config;
    parse_well(TEXT(",\"n_heads\":2,\"masked\":true,\"length\":6,\"dropout\":0.1"), &config);
    ck_assert_int_eq(config.architecture, FM_ARCHITECTURE_TEXT_DIT);
    ck_assert_uint_eq(config.vocabulary_size, 6);
    ck_assert(config.masked && config.predicts_logits);
    ck_assert_uint_eq(config.text_dit.length, 6);
    ck_assert_uint_eq(config.text_dit.hidden, 24);
    ck_assert_uint_eq(config.text_dit.condition, 7);
    ck_assert_uint_eq(config.text_dit.depth, 3);
    ck_assert_uint_eq(config.text_dit.heads, 2);
    ck_assert_uint_eq(config.space.parts[0].vocabulary, 6);
    ck_assert_uint_eq(config.space.outputs, 36);
    fm_model_config_done(&config);
    parse_well(MODEL(TEXT_KEYS(",\"n_heads\":1"), TOKENS("uniform_tokens"), ""), &config);
    ck_assert_uint_eq(config.vocabulary_size, 5);
    ck_assert_uint_eq(config.text_dit.length, 6); /* the flow's */
    ck_assert(!config.masked);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(an_mlp_of_tokens_has_its_tables_stems)
{
    fm_model_config config;
    parse_well(MLP(",\"token_embedding\":\"embed\",\"vocab_size\":5,\"masked\":true,"
                   "\"time_embedding\":\"clock\",\"activation_first\":true"),
               &config);
    ck_assert_str_eq(config.mlp.token_embedding, "embed");
    ck_assert_str_eq(config.mlp.time_embedding, "clock");
    ck_assert(config.mlp.activation_first);
    ck_assert_uint_eq(config.vocabulary_size, 6);
    fm_model_config_done(&config);
    parse_well(MODEL(MLP_KEYS, TOKENS("mask") ",\"vocabulary_size\":9", ""), &config);
    ck_assert_ptr_null(config.mlp.token_embedding);
    ck_assert_uint_eq(config.vocabulary_size, 9);
    ck_assert(config.masked); /* which its source says */
    fm_model_config_done(&config);
}
END_TEST

static const struct {
    const char *json, *needle;
} refused[] = {
    {TEXT(",\"masked\":true"), "/network/n_heads: is required"},
    {TEXT(",\"n_heads\":5,\"masked\":true"),
     "/network/n_heads: must divide hidden_size, 24, found 5"},
    {TEXT(",\"n_heads\":8,\"masked\":true"),
     "/network/n_heads: must give heads of an even size, found 8 of 3"},
    {TEXT(",\"n_heads\":2"), "/network/masked: must be true where /flow/source is mask"},
    {TEXT(",\"n_heads\":2,\"masked\":true,\"length\":7"),
     "/network/length: must be that of /flow/shape, 6, found 7"},
    {TEXT(",\"n_heads\":2,\"masked\":true,\"dropout\":\"0\""), "/network/dropout: "},
    {TEXT(",\"n_heads\":2,\"masked\":true,\"mlp_ratio\":4"), "/network/mlp_ratio: "},
    {MODEL(TEXT_KEYS(",\"n_heads\":2,\"masked\":true"), TOKENS("uniform_tokens"), ""),
     "/network/masked: must be false where /flow/source is uniform_tokens, which would draw the "
     "mask"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"), "\"shape\":[6]", ""),
     "/flow/space: must be tokens, which the network looks up"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"), "\"space\":\"sphere\",\"shape\":[6]", ""),
     "/flow/space: must be tokens"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"), TOKENS("external") ",\"representation\":\"one_hot\"", ""),
     "/flow/representation: must be index"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"),
           "\"space\":\"tokens\",\"shape\":[2,3],\"source\":{\"type\":\"external\"}", ""),
     "/flow/shape: must be [length], found 2 items"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"), TOKENS("external") ",\"vocabulary_size\":7", ""),
     "/flow/vocabulary_size: must be 5, from the network's keys, found 7"},
    {MODEL(TEXT_KEYS(",\"n_heads\":2"), TOKENS("external"),
           ",\"conditioning\":{\"labels\":{\"count\":3}}"),
     "/conditioning/labels: the network takes no label"},
    {MODEL("\"architecture\":\"text_dit\"", TOKENS("mask"), ""),
     "/network/vocab_size: is required"},
    {MODEL("\"architecture\":\"text_dit\",\"vocab_size\":1", TOKENS("mask"), ""),
     "/network/vocab_size: must be "},
    {MLP(",\"vocab_size\":5"),
     "/network/vocab_size: must be left out: it is for networks with a token_embedding"},
    {MLP(",\"masked\":true"), "/network/masked: must be left out"},
    {MLP(",\"time_embedding\":\"clock\""), "/network/time_embedding: must be left out"},
    {MLP(",\"activation_first\":true"), "/network/activation_first: must be left out"},
    {MLP(",\"token_embedding\":\"\""), "/network/token_embedding: must not be empty"},
    {MLP(",\"token_embedding\":\"a\",\"vocab_size\":5,\"masked\":true,\"time_embedding\":\"\""),
     "/network/time_embedding: must not be empty"},
    {MLP(",\"token_embedding\":\"a\""), "/network/vocab_size: is required"},
    {MLP(",\"token_embedding\":\"a\",\"vocab_size\":5,\"masked\":true,\"features\":{\"type\":"
         "\"fourier\",\"count\":2}"),
     "/network/features: must be none where tokens enter by a token_embedding"},
    {MODEL(MLP_KEYS ",\"token_embedding\":\"a\",\"vocab_size\":5", "\"shape\":[6]", ""),
     "/flow/space: must be tokens"},
    {NAMED("\"kind\":\"points\",\"vocabulary\":\"names.txt\""),
     "/output/vocabulary: must be left out where /output/kind is not tokens"},
    {NAMED("\"kind\":\"tokens\",\"vocabulary\":\"../names.txt\""),
     "/output/vocabulary: must be a file of the same folder, found \"../names.txt\""},
    {NAMED("\"kind\":\"tokens\",\"vocabulary\":7"), "/output/vocabulary: must be "},
    {MODEL(MLP_KEYS, "\"shape\":[6]", ",\"output\":{\"kind\":\"tokens\"}"),
     "/output/kind: must be tokens only where /flow/space is"},
};

START_TEST(rules_of_tokens_are_refused_with_their_pointers)
{
    fm_model_config config;
    fm_error err = {0};
    ck_assert_int_eq(parse(refused[_i].json, &config, &err), FM_EFORMAT);
    ck_assert_msg(strncmp(err.text, refused[_i].needle, strlen(refused[_i].needle)) == 0,
                  "%s: expected \"%s\" in: %s", refused[_i].json, refused[_i].needle, err.text);
}
END_TEST

/* ---- names ---- */

#define WITH_NAMES NAMED("\"kind\":\"tokens\",\"vocabulary\":\"names.txt\"")

static void folder_make(temp_folder *ret, const char *names, size_t length)
{
    temp_folder_make(ret);
    temp_folder_write_text(ret, "config.json", WITH_NAMES);
    temp_folder_write(ret, "names.txt", names, length);
}

START_TEST(names_of_tokens_are_the_lines_of_their_file)
{
    static const char *const files[] = {"a\n\xc3\xa9\n \n\nlong name\n_\n",
                                        "a\n\xc3\xa9\n \n\nlong name\n_",
                                        "a\n\xc3\xa9\n \n\nlong name\n"};
    static const char *const names[] = {"a", "\xc3\xa9", " ", "", "long name"};
    fm_error err = {0};
    fm_model_config config;
    temp_folder folder;
    folder_make(&folder, files[_i], strlen(files[_i]));
    ck_assert_msg(fm_model_config_read(folder.path, &config, &err) == FM_OK, "%s", err.text);
    ck_assert_uint_eq(config.vocabulary_size, 6);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(config.vocabulary[i], names[i]);
    }
    ck_assert_str_eq(config.vocabulary[5], _i == 2 ? "[MASK]" : "_");
    fm_model_config_done(&config);
    temp_folder_remove(&folder);
}
END_TEST

static const struct {
    const char *names;
    size_t length;
    const char *needle;
} wrong_names[] = {
    {"a\nb\nc\nd\n", 8,
     "/output/vocabulary: must have 6 lines, one a token, or one less without the mask, found 4"},
    {"a\nb\nc\nd\ne\nf\n\n", 13, "/output/vocabulary: must have 6 lines"},
    {"", 0, "/output/vocabulary: must have 6 lines"},
    {"a\n\xff\nc\nd\ne\n", 10,
     "/output/vocabulary: line 2: a token's name must be UTF-8 without U+0000"},
    {"a\n\xc3\nc\nd\ne\n", 10, "/output/vocabulary: line 2: a token's name must be UTF-8"},
    {"a\n\0\nc\nd\ne\n", 10, "/output/vocabulary: line 2: a token's name must be UTF-8"},
    {"a\nb\nc\nd\n0123456789012345678901234567890123456789012345678901234567890123+\n", 74,
     "/output/vocabulary: line 5: a token's name must have at most 64 bytes, found 65"},
};

START_TEST(names_that_do_not_fit_are_refused)
{
    fm_error err = {0};
    fm_model_config config;
    temp_folder folder;
    folder_make(&folder, wrong_names[_i].names, wrong_names[_i].length);
    ck_assert_int_eq(fm_model_config_read(folder.path, &config, &err), FM_EFORMAT);
    const char *needle = wrong_names[_i].needle;
    ck_assert_msg(strncmp(err.text, needle, strlen(needle)) == 0, "expected \"%s\" in: %s", needle,
                  err.text);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_missing_file_of_names_is_said_with_its_pointer)
{
    fm_error err = {0};
    fm_model_config config;
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", WITH_NAMES);
    ck_assert_int_eq(fm_model_config_read(folder.path, &config, &err), FM_ENOTFOUND);
    ck_assert_msg(strncmp(err.text, "/output/vocabulary: ", 20) == 0, "%s", err.text);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(names_count_for_the_version_of_a_model)
{
    static const char *const files[] = {"a\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n"};
    char digests[2][FM_DIGEST_TEXT_BYTES];
    for (size_t i = 0; i < 2; i++) {
        fm_model_config config;
        temp_folder folder;
        folder_make(&folder, files[i], strlen(files[i]));
        ck_assert_int_eq(fm_model_config_read(folder.path, &config, NULL), FM_OK);
        ck_assert_int_eq(fm_digest_model(&config, NULL, digests[i], NULL), FM_OK);
        fm_model_config_done(&config);
        temp_folder_remove(&folder);
    }
    ck_assert_str_ne(digests[0], digests[1]);
}
END_TEST

START_TEST(every_failed_allocation_while_names_are_read_is_an_error_and_leaks_nothing)
{
    temp_folder folder;
    folder_make(&folder, "a\nb\nc\nd\ne\n", 10);
    bool refused_one = true;
    for (size_t k = 0; refused_one; k++) {
        fm_error err = {0};
        fm_model_config config;
        ck_assert_uint_lt(k, 10000);
        failing_memory_start(k);
        fm_status status = fm_model_config_read(folder.path, &config, &err);
        refused_one = failing_memory_stop();
        ck_assert_msg(refused_one ? failing_memory_explains(status) : status == FM_OK,
                      "allocation %zu: %s", k, err.text);
        if (status == FM_OK) {
            fm_model_config_done(&config);
        }
    }
    temp_folder_remove(&folder);
}
END_TEST

/* ---- through a model ---- */

static void copy_file(const temp_folder *folder, const char *from, const char *name)
{
    static char bytes[1 << 20];
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", from, name);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    size_t n = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    temp_folder_write(folder, name, bytes, n);
}

#define TINY "tests/golden/text-dit-tiny"
static const char tiny_json[] =
    MODEL("\"architecture\":\"text_dit\",\"vocab_size\":27,\"masked\":true,\"hidden_size\":64,"
          "\"cond_dim\":32,\"length\":16,\"n_blocks\":2,\"n_heads\":4",
          "\"space\":\"tokens\",\"shape\":[16],\"source\":{\"type\":\"mask\"}",
          ",\"output\":{\"kind\":\"tokens\",\"vocabulary\":\"letters.txt\"}");
static const char letters[] =
    "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\nr\ns\nt\nu\nv\nw\nx\ny\nz\n \n";

static void discard(void *context, const char *text, size_t length)
{
    (void)context;
    (void)text;
    (void)length;
}

START_TEST(a_model_tells_the_names_of_its_tokens_and_keeps_them_when_converted)
{
    fm_error err = {0};
    temp_folder folder, other;
    temp_folder_make(&folder);
    temp_folder_make(&other);
    temp_folder_write_text(&folder, "config.json", tiny_json);
    temp_folder_write_text(&folder, "letters.txt", letters);
    copy_file(&folder, TINY, "model.safetensors");
    char out[512];
    (void)snprintf(out, sizeof out, "%s/converted", other.parent);
    const fm_convert_options convert = {0};
    ck_assert_msg(fm_model_convert(folder.path, out, &convert, discard, NULL, &err) == FM_OK, "%s",
                  err.text);
    const char *const paths[] = {folder.path, out};
    for (size_t i = 0; i < 2; i++) {
        fm_model *model = NULL;
        const fm_model_options options = {.workers = 1, .gradient_bytes = (size_t)1 << 30};
        ck_assert_msg(fm_model_open(paths[i], &options, &model, &err) == FM_OK, "%s", err.text);
        const fm_model_info *info = fm_model_describe(model);
        ck_assert_uint_eq(info->n_vocabulary, 28);
        ck_assert(info->masked && info->has_tokens && info->bits_promised);
        ck_assert(!info->has_divergence && !info->has_gradients);
        ck_assert_ptr_null(model->tangents.base); /* nor memory for them */
        ck_assert_str_eq(info->vocabulary[0], "a");
        ck_assert_str_eq(info->vocabulary[26], " ");
        ck_assert_str_eq(info->vocabulary[27], "[MASK]");
        fm_model_unref(model);
    }
    static const char *const written[] = {"config.json", "model.safetensors", "letters.txt"};
    for (size_t i = 0; i < 3; i++) {
        char path[640];
        (void)snprintf(path, sizeof path, "%s/%s", out, written[i]);
        ck_assert_int_eq(remove(path), 0);
    }
    ck_assert_int_eq(remove(out), 0);
    temp_folder_remove(&folder);
    temp_folder_remove(&other);
}
END_TEST

Suite *suite_engine_model_config_tokens(void)
{
    Suite *suite = suite_create("engine/model_config_tokens");
    TCase *tests = tcase_create("model_config_tokens");
    tcase_add_test(tests, a_text_transformer_has_the_librarys_keys);
    tcase_add_test(tests, an_mlp_of_tokens_has_its_tables_stems);
    tcase_add_loop_test(tests, rules_of_tokens_are_refused_with_their_pointers, 0,
                        (int)(sizeof refused / sizeof *refused));
    tcase_add_loop_test(tests, names_of_tokens_are_the_lines_of_their_file, 0, 3);
    tcase_add_loop_test(tests, names_that_do_not_fit_are_refused, 0,
                        (int)(sizeof wrong_names / sizeof *wrong_names));
    tcase_add_test(tests, a_missing_file_of_names_is_said_with_its_pointer);
    tcase_add_test(tests, names_count_for_the_version_of_a_model);
    tcase_add_test(tests,
                   every_failed_allocation_while_names_are_read_is_an_error_and_leaks_nothing);
    tcase_add_test(tests, a_model_tells_the_names_of_its_tokens_and_keeps_them_when_converted);
    suite_add_tcase(suite, tests);
    return suite;
}
