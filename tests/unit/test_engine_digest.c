/* Digests of models. */
#include "engine/checkpoint/digest.h"
#include "tests/support/failing_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <string.h>

static void digest(const temp_folder *folder, const char *const *files, size_t count,
                   char ret[FM_DIGEST_TEXT_BYTES])
{
    fm_error err = {0};
    fm_status status = fm_digest_files(folder->path, files, count, ret, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
}

START_TEST(the_digest_is_sha_256_over_lengths_names_and_contents)
{
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", "{}");
    temp_folder_write(&folder, "empty", "", 0);
    const char *files[] = {"config.json", "empty"};
    char text[FM_DIGEST_TEXT_BYTES];
    /* printf '' | sha256sum */
    digest(&folder, NULL, 0, text);
    ck_assert_str_eq(text, "sha256:"
                           "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /* python3: hashlib.sha256(pack('<QQ', 11, 2) + b'config.json{}' + pack('<QQ', 5, 0) + b'empty') */
    digest(&folder, files, 2, text);
    ck_assert_str_eq(text, "sha256:"
                           "8e74ad714ff2a3b63714b121bd92027ef45b8622e4ca3c3efd4af450fbf509ae");
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(names_contents_and_order_all_count)
{
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "a", "bc");
    temp_folder_write_text(&folder, "ab", "c");
    temp_folder_write_text(&folder, "b", "bc");
    const char *lists[][2] = {{"a", "b"}, {"b", "a"}, {"ab", "b"}, {"a", "ab"}};
    char texts[4][FM_DIGEST_TEXT_BYTES];
    for (size_t i = 0; i < 4; i++) {
        digest(&folder, lists[i], 2, texts[i]);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(texts[i], texts[k]);
        }
    }
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_large_file_is_hashed_whole)
{
    static unsigned char bytes[(1 << 20) + 17];
    temp_folder folder;
    temp_folder_make(&folder);
    const char *files[] = {"w"};
    char first[FM_DIGEST_TEXT_BYTES];
    char second[FM_DIGEST_TEXT_BYTES];
    temp_folder_write(&folder, "w", bytes, sizeof bytes);
    digest(&folder, files, 1, first);
    bytes[sizeof bytes - 1] = 1;
    temp_folder_write(&folder, "w", bytes, sizeof bytes);
    digest(&folder, files, 1, second);
    ck_assert_str_ne(first, second);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_missing_file_is_not_found)
{
    temp_folder folder;
    temp_folder_make(&folder);
    const char *files[] = {"no"};
    char text[FM_DIGEST_TEXT_BYTES] = "untouched";
    fm_error err = {0};
    ck_assert_int_eq(fm_digest_files(folder.path, files, 1, text, &err), FM_ENOTFOUND);
    ck_assert_str_eq(text, "untouched");
    for (size_t k = 0; k < 2; k++) {
        failing_memory_start(k);
        fm_status status = fm_digest_files(folder.path, files, 1, text, &err);
        ck_assert(failing_memory_stop());
        ck_assert_int_eq(status, FM_ENOMEM);
    }
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_models_digest_covers_its_configuration_and_its_data)
{
    const char *mlp_files[] = {"config.json", "model.safetensors"};
    const char *dataset_files[] = {"config.json", "points.npy"};
    const char *folders[] = {"tests/golden/mlp-labels", "tests/golden/dataset-moons"};
    const char *const *files[] = {mlp_files, dataset_files};
    for (size_t i = 0; i < 2; i++) {
        char expected[FM_DIGEST_TEXT_BYTES];
        char text[FM_DIGEST_TEXT_BYTES];
        fm_model_config config;
        fm_tensors *tensors = NULL;
        fm_error err = {0};
        ck_assert_int_eq(fm_digest_files(folders[i], files[i], 2, expected, &err), FM_OK);
        ck_assert_int_eq(fm_model_config_read(folders[i], &config, &err), FM_OK);
        if (i == 0) {
            ck_assert_int_eq(
                fm_tensors_open("tests/golden/mlp-labels/model.safetensors", &tensors, &err),
                FM_OK);
        }
        ck_assert_int_eq(fm_digest_model(&config, tensors, text, &err), FM_OK);
        ck_assert_str_eq(text, expected);
        fm_tensors_close(tensors);
        fm_model_config_done(&config);
    }
}
END_TEST

Suite *suite_engine_digest(void)
{
    Suite *suite = suite_create("engine/digest");
    TCase *tests = tcase_create("digest");
    tcase_add_test(tests, the_digest_is_sha_256_over_lengths_names_and_contents);
    tcase_add_test(tests, names_contents_and_order_all_count);
    tcase_add_test(tests, a_large_file_is_hashed_whole);
    tcase_add_test(tests, a_missing_file_is_not_found);
    tcase_add_test(tests, a_models_digest_covers_its_configuration_and_its_data);
    suite_add_tcase(suite, tests);
    return suite;
}
