/* Files of torch.save() that are right: what is read of them, and which state dict is taken. */
#include "engine/checkpoint/tensors.h"
#include "tests/support/failing_memory.h"
#include "tests/support/zip_image.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "tests/golden/pytorch/"

/* ---- Everything that expected.json lists ---- */

static double integer_at(const fm_tensor *tensor, size_t index)
{
    const unsigned char *at =
        (const unsigned char *)tensor->data + index * fm_dtype_size_bytes(tensor->dtype);
    uint64_t bits = 0;
    size_t width = fm_dtype_size_bytes(tensor->dtype);
    memcpy(&bits, at, width);
    bool is_signed = fm_dtype_name(tensor->dtype)[0] == 'I';
    if (is_signed && width < 8 && (bits >> (8 * width - 1) & 1) != 0) {
        bits |= ~0ULL << (8 * width);
    }
    return is_signed ? (double)(int64_t)bits : (double)bits;
}

static void expect_values(const char *name, const fm_tensor *found, const json_t *values)
{
    ck_assert_uint_eq(found->count, json_array_size(values));
    double *read = calloc(found->count + 1, sizeof *read);
    ck_assert_ptr_nonnull(read);
    fm_error err = {0};
    if (fm_tensor_to_float64(found, read, &err) != FM_OK) {
        for (size_t i = 0; i < found->count; i++) {
            read[i] = integer_at(found, i);
        }
    }
    for (size_t i = 0; i < found->count; i++) {
        double expected = json_number_value(json_array_get(values, i));
        ck_assert_msg(read[i] == expected, "%s[%zu]: expected %.17g, found %.17g", name, i,
                      expected, read[i]);
    }
    free(read);
}

/* "float32" to "F32", "bool" to "BOOL". */
static const char *dtype_name(const char *torch_name)
{
    static const char *const rows[][2] = {
        {"float64", "F64"}, {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"},
        {"int64", "I64"},   {"int32", "I32"},   {"int16", "I16"},   {"int8", "I8"},
        {"uint16", "U16"},  {"uint8", "U8"},    {"bool", "BOOL"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i][0], torch_name) == 0) {
            return rows[i][1];
        }
    }
    ck_abort_msg("no dtype %s", torch_name);
}

static void expect_tensor(const char *name, const fm_tensor *found, const json_t *expected)
{
    ck_assert_msg(found != NULL, "expected tensor %s", name);
    ck_assert_str_eq(fm_dtype_name(found->dtype),
                     dtype_name(json_string_value(json_object_get(expected, "dtype"))));
    const json_t *shape = json_object_get(expected, "shape");
    ck_assert_uint_eq(found->rank, json_array_size(shape));
    for (size_t axis = 0; axis < found->rank; axis++) {
        ck_assert_int_eq(found->shape[axis], json_integer_value(json_array_get(shape, axis)));
    }
    ck_assert_uint_eq(found->size_bytes, found->count * fm_dtype_size_bytes(found->dtype));
    expect_values(name, found, json_object_get(expected, "values"));
}

static void expect_file(const json_t *row)
{
    char path[256];
    (void)snprintf(path, sizeof path, FOLDER "%s", json_string_value(json_object_get(row, "file")));
    const char *entry = json_string_value(json_object_get(row, "entry"));
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_msg(fm_tensors_open_entry(path, entry, &tensors, &err) == FM_OK, "%s %s: %s", path,
                  entry == NULL ? "" : entry, err.text);
    ck_assert_uint_eq(fm_tensors_file_count(tensors), 1); /* what a model's digest covers */
    ck_assert_str_eq(fm_tensors_file_at(tensors, 0), strrchr(path, '/') + 1);
    const char *origin = json_string_value(json_object_get(row, "origin"));
    if (origin != NULL) {
        ck_assert_str_eq(fm_tensors_origin(tensors), origin);
    }
    json_t *expected = json_object_get(row, "tensors");
    ck_assert_uint_eq(fm_tensors_count(tensors), json_object_size(expected));
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(expected, name, value)
    {
        expect_tensor(name, fm_tensors_find(tensors, name), value);
    }
    fm_tensors_close(tensors);
}

START_TEST(every_file_reads_as_pytorch_reads_it)
{
    json_t *rows = json_load_file(FOLDER "expected.json", 0, NULL);
    ck_assert_uint_gt(json_array_size(rows), 15);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        expect_file(json_array_get(rows, i));
    }
    json_decref(rows);
}
END_TEST

/* ---- Memory ---- */

static unsigned char *read_file(const char *path, size_t *ret_length)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    unsigned char *data = malloc(1 << 16);
    ck_assert_ptr_nonnull(data);
    *ret_length = fread(data, 1, 1 << 16, file);
    ck_assert_uint_lt(*ret_length, 1 << 16);
    (void)fclose(file);
    return data;
}

static bool lies_in(const fm_tensor *tensor, const unsigned char *data, size_t length)
{
    const unsigned char *at = tensor->data;
    return at >= data && at + tensor->size_bytes <= data + length;
}

START_TEST(contiguous_tensors_of_stored_records_are_used_where_they_lie)
{
    size_t length = 0;
    unsigned char *data = read_file(FOLDER "views.pt", &length);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_msg(fm_tensors_parse_pytorch(data, length, NULL, &tensors, &err) == FM_OK, "%s",
                  err.text);
    const char *in_place[] = {"whole", "row", "single", "parameter"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert(lies_in(fm_tensors_find(tensors, in_place[i]), data, length));
    }
    const char *gathered[] = {"transposed", "column", "block", "steps", "permuted", "expanded"};
    for (size_t i = 0; i < 6; i++) {
        ck_assert(!lies_in(fm_tensors_find(tensors, gathered[i]), data, length));
    }
    fm_tensors_close(tensors);
    free(data);
}
END_TEST

static void fail_each_allocation(const char *path, const char *entry)
{
    fm_status status = FM_ENOMEM;
    for (size_t k = 0; status != FM_OK; k++) {
        ck_assert_uint_lt(k, 1000);
        fm_tensors *tensors = NULL;
        fm_error err = {0};
        failing_memory_start(k);
        status = fm_tensors_open_entry(path, entry, &tensors, &err);
        bool refused = failing_memory_stop();
        ck_assert_msg(status == FM_OK ? !refused : status == FM_ENOMEM, "%zu: %s", k, err.text);
        fm_tensors_close(tensors);
    }
}

START_TEST(an_exhausted_memory_is_reported_wherever_it_strikes)
{
    fail_each_allocation(FOLDER "compressed.pt", NULL);
    fail_each_allocation(FOLDER "wrapper-buffers.pth", NULL);
    fail_each_allocation(FOLDER "torch-ema.pt", "ema");
}
END_TEST

/* ---- Choosing ---- */

static void expect_refusal(const char *file, const char *entry, const char *needle)
{
    char path[256];
    (void)snprintf(path, sizeof path, FOLDER "%s", file);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = fm_tensors_open_entry(path, entry, &tensors, &err);
    ck_assert_msg(status == FM_EFORMAT, "%s: found %s", file, fm_status_name(status));
    ck_assert_ptr_null(tensors);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "expected %s first in: %s", path,
                  err.text);
    ck_assert_msg(strstr(err.text, needle) != NULL, "expected \"%s\" in: %s", needle, err.text);
}

START_TEST(several_state_dicts_are_listed_with_their_sizes)
{
    expect_refusal("torchcfm.pt", NULL,
                   "weights.entry must name one of the 2 state dicts: \"net_model\" (4 tensors), "
                   "\"ema_model\" (4 tensors)");
    expect_refusal("torch-ema.pt", NULL, "\"ema\" (4 moving averages)");
}
END_TEST

START_TEST(an_entry_that_is_not_there_is_refused_with_those_that_are)
{
    expect_refusal("sit.pt", "emma",
                   "weights.entry \"emma\": expected \"emma\" in a dict, found a dict of model, "
                   "ema, opt, args");
    expect_refusal("sit.pt", "ema.0.weight.x", "expected \"x\" in a dict, found a tensor");
    expect_refusal("sit.pt", "opt", "opt: \"state\": expected a tensor, found a dict");
}
END_TEST

START_TEST(an_unknown_class_is_refused_by_name_where_it_is_needed_and_only_there)
{
    expect_refusal("sit.pt", "args", "args: expected a state dict, found argparse.Namespace");
    expect_refusal("module.pt", NULL,
                   "found torch.nn.modules.container.Sequential; save its "
                   "state_dict() instead");
}
END_TEST

START_TEST(files_that_are_no_checkpoints_say_what_they_are)
{
    expect_refusal("legacy.pt", NULL, "PyTorch's format from before 1.6");
    expect_refusal("legacy.pt", NULL, "torch.save() it again");
    expect_refusal("torchscript.pt", NULL, "is a TorchScript program");
}
END_TEST

START_TEST(averages_that_fit_in_no_way_or_in_several_are_refused)
{
    expect_refusal("ambiguous.pt", "ema",
                   "moving average 0 of 2: may belong to \"a\" or to \"b\" by its shape");
    expect_refusal("unfitting.pt", "ema",
                   "moving average 1 of 2: expected a parameter of its shape [4]");
}
END_TEST

START_TEST(other_files_have_no_entries)
{
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    const char *path = "tests/golden/mlp-labels/model.safetensors";
    ck_assert_int_eq(fm_tensors_open_entry(path, "ema", &tensors, &err), FM_EFORMAT);
    ck_assert_ptr_nonnull(strstr(err.text, "has no entries, found weights.entry \"ema\""));
    ck_assert_int_eq(fm_tensors_open(path, &tensors, &err), FM_OK);
    ck_assert_ptr_null(fm_tensors_origin(tensors));
    fm_tensors_close(tensors);
}
END_TEST

Suite *suite_engine_pytorch(void)
{
    Suite *suite = suite_create("engine/pytorch");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, every_file_reads_as_pytorch_reads_it);
    tcase_add_test(reading, contiguous_tensors_of_stored_records_are_used_where_they_lie);
    tcase_add_test(reading, an_exhausted_memory_is_reported_wherever_it_strikes);
    suite_add_tcase(suite, reading);
    TCase *choosing = tcase_create("choosing");
    tcase_add_test(choosing, several_state_dicts_are_listed_with_their_sizes);
    tcase_add_test(choosing, an_entry_that_is_not_there_is_refused_with_those_that_are);
    tcase_add_test(choosing, an_unknown_class_is_refused_by_name_where_it_is_needed_and_only_there);
    tcase_add_test(choosing, files_that_are_no_checkpoints_say_what_they_are);
    tcase_add_test(choosing, averages_that_fit_in_no_way_or_in_several_are_refused);
    tcase_add_test(choosing, other_files_have_no_entries);
    suite_add_tcase(suite, choosing);
    return suite;
}
