/* New model folders out of checkpoints. */
#include "engine/checkpoint/tensors.h"
#include "engine/fm.h"
#include "tests/support/failing_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/unit/suites.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PYTORCH "tests/golden/pytorch/"

static fm_status convert(const char *in, const char *out, const char *entry, text *ret,
                         fm_error *err)
{
    const fm_convert_options options = {.entry = entry};
    *ret = (text){.length = 0};
    return fm_model_convert(in, out, &options, text_append, ret, err);
}

/* Removes parent/new, which has the two files. */
static void remove_new(const char *out)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
    ck_assert_int_eq(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/config.json", out);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(out), 0);
}

static size_t count_names(const char *path)
{
    DIR *listing = opendir(path);
    ck_assert_ptr_nonnull(listing);
    size_t count = 0;
    while (readdir(listing) != NULL) {
        count++;
    }
    (void)closedir(listing);
    return count - 2; /* "." and ".." */
}

static void expect_equal(const fm_tensor *a, const fm_tensor *b)
{
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(a->dtype, b->dtype);
    ck_assert_uint_eq(a->rank, b->rank);
    ck_assert_int_eq(memcmp(a->shape, b->shape, a->rank * sizeof *a->shape), 0);
    ck_assert_uint_eq(a->size_bytes, b->size_bytes);
    ck_assert_int_eq(memcmp(a->data, b->data, a->size_bytes), 0);
}

START_TEST(every_tensor_is_written_as_it_was_read)
{
    const char *const files[][2] = {{PYTORCH "torchcfm.pt", "ema_model"},
                                    {PYTORCH "wrapper.pth", NULL},
                                    {PYTORCH "nested.pt", NULL},
                                    {"tests/golden/mlp-labels/model.safetensors", NULL}};
    temp_folder folder;
    temp_folder_make(&folder);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        static text said;
        fm_error err = {0};
        char out[600], path[640];
        (void)snprintf(out, sizeof out, "%s/new", folder.parent);
        (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
        fm_tensors *before = NULL, *after = NULL;
        ck_assert_msg(convert(files[i][0], out, files[i][1], &said, &err) == FM_OK, "%s", err.text);
        ck_assert_int_eq(fm_tensors_open_entry(files[i][0], files[i][1], &before, &err), FM_OK);
        ck_assert_msg(fm_tensors_open(path, &after, &err) == FM_OK, "%s", err.text);
        ck_assert_uint_eq(fm_tensors_count(after), fm_tensors_count(before));
        for (size_t k = 0; k < fm_tensors_count(before); k++) {
            const fm_tensor *tensor = fm_tensors_at(before, k);
            expect_equal(tensor, fm_tensors_find(after, tensor->name));
        }
        ck_assert_ptr_nonnull(strstr(said.bytes, "\narchitecture: mlp\nassumed: "));
        fm_tensors_close(before);
        fm_tensors_close(after);
        remove_new(out);
    }
    temp_folder_remove(&folder);
}
END_TEST

/* A state dict of every dtype: as a model it is nonsense, so it comes in a folder, whose config.json stays. */
START_TEST(all_dtypes_views_and_empty_tensors_survive_in_a_folder)
{
    static const char *const files[] = {"protocol-2.pt", "views.pt", "newer.pt"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        static text said;
        temp_folder folder;
        fm_error err = {0};
        char out[600], path[640], in[128], config[128];
        temp_folder_make(&folder);
        (void)snprintf(in, sizeof in, PYTORCH "%s", files[i]);
        (void)snprintf(config, sizeof config,
                       "{\"x\": 0.1, \"weights\": {\"file\": \"%s\", \"prefix\": \"p.\"}}",
                       files[i]);
        FILE *source = fopen(in, "rb");
        ck_assert_ptr_nonnull(source);
        static char bytes[1 << 16];
        size_t length = fread(bytes, 1, sizeof bytes, source);
        (void)fclose(source);
        temp_folder_write(&folder, files[i], bytes, length);
        temp_folder_write_text(&folder, "config.json", config);
        (void)snprintf(out, sizeof out, "%s/new", folder.parent);
        (void)snprintf(path, sizeof path, "%s/config.json", out);
        ck_assert_msg(convert(folder.path, out, NULL, &said, &err) == FM_OK, "%s", err.text);
        json_t *written = json_load_file(path, 0, NULL);
        json_t *expected = json_pack("{s:f, s:{s:s, s:s}}", "x", 0.1, "weights", "file",
                                     "model.safetensors", "prefix", "p.");
        ck_assert(json_equal(written, expected));
        json_decref(written);
        json_decref(expected);
        (void)snprintf(path, sizeof path, "%s/model.safetensors", out);
        fm_tensors *before = NULL, *after = NULL;
        ck_assert_int_eq(fm_tensors_open(in, &before, &err), FM_OK);
        ck_assert_msg(fm_tensors_open(path, &after, &err) == FM_OK, "%s", err.text);
        ck_assert_uint_eq(fm_tensors_count(after), fm_tensors_count(before));
        for (size_t k = 0; k < fm_tensors_count(before); k++) {
            expect_equal(fm_tensors_at(before, k), fm_tensors_at(after, k));
        }
        fm_tensors_close(before);
        fm_tensors_close(after);
        remove_new(out);
        temp_folder_remove(&folder);
    }
}
END_TEST

START_TEST(nothing_is_left_of_a_conversion_that_fails)
{
    static text said;
    temp_folder folder;
    temp_folder_make(&folder);
    size_t before = count_names(folder.parent);
    char out[600];
    (void)snprintf(out, sizeof out, "%s/new", folder.parent);
    fm_status status = FM_ENOMEM;
    for (size_t k = 0; status != FM_OK; k++) {
        fm_error err = {0};
        ck_assert_uint_lt(k, 2000);
        failing_memory_start(k);
        status = convert(PYTORCH "torchcfm.pt", out, "ema_model", &said, &err);
        bool refused = failing_memory_stop();
        if (status != FM_OK) {
            ck_assert_msg(refused && status == FM_ENOMEM, "%zu: %s", k, err.text);
            ck_assert_uint_eq(count_names(folder.parent), before);
            ck_assert_uint_eq(said.length, 0);
        }
    }
    remove_new(out);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(what_is_there_stays_as_it_is)
{
    static text said;
    temp_folder folder;
    fm_error err = {0};
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", "mine");
    ck_assert_int_eq(convert(PYTORCH "nested.pt", folder.path, NULL, &said, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "is there already; name a new folder"));
    ck_assert_uint_eq(count_names(folder.path), 1);
    temp_folder_remove(&folder);
}
END_TEST

Suite *suite_engine_convert(void)
{
    Suite *suite = suite_create("engine/convert");
    TCase *tests = tcase_create("convert");
    tcase_add_test(tests, every_tensor_is_written_as_it_was_read);
    tcase_add_test(tests, all_dtypes_views_and_empty_tensors_survive_in_a_folder);
    tcase_add_test(tests, nothing_is_left_of_a_conversion_that_fails);
    tcase_add_test(tests, what_is_there_stays_as_it_is);
    suite_add_tcase(suite, tests);
    return suite;
}
