/* Safetensors files: what is read, and every way in which a file can be wrong. */
#include "engine/checkpoint/tensors.h"
#include "tests/support/failing_memory.h"
#include "tests/support/safetensors_image.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_error(fm_status status, const fm_error *err, fm_status expected,
                         const char *needle)
{
    ck_assert_msg(status == expected, "expected %s, found %s: %s", fm_status_name(expected),
                  fm_status_name(status), err->text);
    ck_assert_int_eq(err->status, expected);
    ck_assert_msg(strstr(err->text, needle) != NULL, "expected \"%s\" in: %s", needle, err->text);
}

/* Images end at the end of their memory, so that ASan sees one byte too far. */
static fm_status parse(const char *header, size_t payload_bytes, safetensors_image *image,
                       fm_tensors **ret, fm_error *err)
{
    *image = safetensors_image_make(header, NULL, payload_bytes);
    return fm_tensors_parse(image->data, image->size_bytes, ret, err);
}

/* ---- Reading ---- */

START_TEST(tensors_come_in_name_order_with_their_bytes)
{
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[3,11]},"
                         "\"scalar\":{\"data_offsets\":[11,12],\"dtype\":\"BOOL\",\"shape\":[]},"
                         "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[3,3]},"
                         "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}";
    unsigned char payload[12] = {1, 2, 3};
    float floats[2] = {0.5F, -3.25F};
    memcpy(payload + 3, floats, sizeof floats);
    payload[11] = 1;
    safetensors_image image = safetensors_image_make(header, payload, sizeof payload);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_int_eq(fm_tensors_parse(image.data, image.size_bytes, &tensors, &err), FM_OK);
    ck_assert_uint_eq(fm_tensors_count(tensors), 4);
    const char *names[] = {"a", "b", "empty", "scalar"};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(fm_tensors_at(tensors, i)->name, names[i]);
        ck_assert_ptr_eq(fm_tensors_find(tensors, names[i]), fm_tensors_at(tensors, i));
    }
    ck_assert_ptr_null(fm_tensors_find(tensors, "c"));
    const fm_tensor *b = fm_tensors_find(tensors, "b");
    ck_assert_uint_eq(b->rank, 2);
    ck_assert_uint_eq(b->shape[0], 2);
    ck_assert_uint_eq(b->shape[1], 1);
    ck_assert_uint_eq(b->count, 2);
    ck_assert_uint_eq(b->size_bytes, 8);
    float read[2] = {0};
    ck_assert_int_eq(fm_tensor_to_float32(b, read, &err), FM_OK); /* not aligned: offset 3 */
    ck_assert_float_eq(read[0], 0.5F);
    ck_assert_float_eq(read[1], -3.25F);
    ck_assert_uint_eq(fm_tensors_find(tensors, "scalar")->count, 1);
    ck_assert_uint_eq(fm_tensors_find(tensors, "empty")->count, 0);
    fm_tensors_close(tensors);
    safetensors_image_free(&image);
}
END_TEST

START_TEST(a_file_without_tensors_is_a_file)
{
    safetensors_image image = {0};
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_int_eq(parse("{}", 0, &image, &tensors, &err), FM_OK);
    ck_assert_uint_eq(fm_tensors_count(tensors), 0);
    ck_assert_ptr_null(fm_tensors_find(tensors, ""));
    fm_tensors_close(tensors);
    safetensors_image_free(&image);
}
END_TEST

START_TEST(every_reference_file_opens_and_closes)
{
    const char *patterns[] = {"tests/golden/mlp-*/model.safetensors",
                              "tests/golden/*/network.safetensors",
                              "tests/golden/*/flows/*.safetensors"};
    size_t opened = 0;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t files;
        ck_assert_int_eq(glob(patterns[i], 0, NULL, &files), 0);
        for (size_t k = 0; k < files.gl_pathc; k++) {
            fm_tensors *tensors = NULL;
            fm_error err = {0};
            ck_assert_msg(fm_tensors_open(files.gl_pathv[k], &tensors, &err) == FM_OK, "%s",
                          err.text);
            ck_assert_uint_gt(fm_tensors_count(tensors), 0);
            ck_assert_uint_eq(fm_tensors_file_count(tensors), 1);
            ck_assert_str_eq(fm_tensors_file_at(tensors, 0), strrchr(files.gl_pathv[k], '/') + 1);
            fm_tensors_close(tensors);
            opened++;
        }
        globfree(&files);
    }
    ck_assert_uint_gt(opened, 30);
}
END_TEST

/* ---- Conversion ---- */

/* The value of a binary16 by its definition. */
static double half_value(unsigned half)
{
    int exponent = (int)(half >> 10 & 0x1f);
    double mantissa = half & 0x3ff;
    double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 0x1f) {
        magnitude = mantissa == 0 ? HUGE_VAL : NAN;
    }
    return half & 0x8000 ? -magnitude : magnitude;
}

START_TEST(every_half_is_converted_exactly)
{
    uint16_t halves[65536];
    for (size_t i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
    }
    fm_tensor tensor = {.name = "h",
                        .dtype = FM_DTYPE_F16,
                        .rank = 1,
                        .shape = {65536},
                        .count = 65536,
                        .data = halves,
                        .size_bytes = sizeof halves};
    float *narrow = malloc(65536 * sizeof *narrow);
    double *wide = malloc(65536 * sizeof *wide);
    ck_assert(narrow != NULL && wide != NULL);
    fm_error err = {0};
    ck_assert_int_eq(fm_tensor_to_float32(&tensor, narrow, &err), FM_OK);
    ck_assert_int_eq(fm_tensor_to_float64(&tensor, wide, &err), FM_OK);
    for (unsigned i = 0; i < 65536; i++) {
        double expected = half_value(i);
        ck_assert_msg(isnan(expected) ? isnan(narrow[i]) && isnan(wide[i])
                                      : (double)narrow[i] == expected && wide[i] == expected,
                      "half 0x%04x: expected %a, found %a and %a", i, expected, narrow[i], wide[i]);
        ck_assert_int_eq(signbit(narrow[i]) != 0, i >= 0x8000);
    }
    free(narrow);
    free(wide);
}
END_TEST

START_TEST(brain_floats_are_the_upper_half_of_floats)
{
    /* 1, -2, the smallest subnormal, infinity, and 3.140625 at an odd address */
    unsigned char bytes[] = {0xff, 0x80, 0x3f, 0x00, 0xc0, 0x01, 0x00, 0x80, 0x7f, 0x49, 0x40};
    double expected[] = {1.0, -2.0, 0x1p-133, HUGE_VAL, 3.140625};
    fm_tensor tensor = {.name = "b",
                        .dtype = FM_DTYPE_BF16,
                        .rank = 1,
                        .shape = {5},
                        .count = 5,
                        .data = bytes + 1,
                        .size_bytes = 10};
    float narrow[5];
    double wide[5];
    fm_error err = {0};
    ck_assert_int_eq(fm_tensor_to_float32(&tensor, narrow, &err), FM_OK);
    ck_assert_int_eq(fm_tensor_to_float64(&tensor, wide, &err), FM_OK);
    for (size_t i = 0; i < 5; i++) {
        ck_assert((double)narrow[i] == expected[i]);
        ck_assert(wide[i] == expected[i]);
    }
}
END_TEST

START_TEST(doubles_are_kept_or_rounded)
{
    unsigned char bytes[1 + 2 * sizeof(double)] = {0};
    double values[] = {0.1, -1e300};
    memcpy(bytes + 1, values, sizeof values);
    fm_tensor tensor = {.name = "d",
                        .dtype = FM_DTYPE_F64,
                        .rank = 1,
                        .shape = {2},
                        .count = 2,
                        .data = bytes + 1,
                        .size_bytes = sizeof values};
    float narrow[2];
    double wide[2];
    fm_error err = {0};
    ck_assert_int_eq(fm_tensor_to_float32(&tensor, narrow, &err), FM_OK);
    ck_assert_int_eq(fm_tensor_to_float64(&tensor, wide, &err), FM_OK);
    ck_assert(narrow[0] == 0.1F && isinf(narrow[1]) && narrow[1] < 0);
    ck_assert(wide[0] == 0.1 && wide[1] == -1e300);
}
END_TEST

START_TEST(integers_are_not_weights)
{
    int64_t value = 1;
    fm_tensor tensor = {.name = "steps",
                        .dtype = FM_DTYPE_I64,
                        .count = 1,
                        .data = &value,
                        .size_bytes = sizeof value};
    float narrow = 0;
    double wide = 0;
    fm_error err = {0};
    expect_error(fm_tensor_to_float32(&tensor, &narrow, &err), &err, FM_EFORMAT,
                 "tensor \"steps\": dtype: expected one of F64, F32, F16, BF16, found I64");
    expect_error(fm_tensor_to_float64(&tensor, &wide, &err), &err, FM_EFORMAT, "found I64");
}
END_TEST

/* ---- Malformed headers ---- */

#define ENTRY(dtype, shape, offsets)                                                               \
    "\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets
#define ONE(dtype, shape, offsets) "{\"w\":{" ENTRY(dtype, shape, offsets) "}}"
#define TWO(first, second)                                                                         \
    "{\"a\":{" ENTRY("\"F32\"", "[2]", first) "},\"b\":{" ENTRY("\"F32\"", "[2]", second) "}}"

typedef struct malformed {
    const char *header;
    size_t payload_bytes;
    const char *needle;
} malformed;

static const malformed malformed_headers[] = {
    {"", 0, "begins with '{'"},
    {" {}", 0, "begins with '{'"},
    {"[]", 0, "begins with '{'"},
    {"{", 0, "header: line 1, column"},
    {"{} x", 0, "expected only spaces behind the JSON object, found byte 0x78"},
    {"{}\n", 0, "found byte 0x0a at offset 2"},
    {"{\"a\\u0000\":{}}", 0, "header: line 1"},
    {"{\"\xff\":{}}", 0, "header: line 1"},
    {"{\"w\":{" ENTRY("\"F32\"", "[1]", "[0,4]") "},\"w\":{" ENTRY("\"F32\"", "[1]", "[0,4]") "}}",
     4, "duplicate object key near '\"w\"'"},
    {"{\"__metadata__\":[]}", 0, "__metadata__: expected an object, found an array"},
    {"{\"__metadata__\":{\"n\":1}}", 0, "__metadata__: \"n\": expected a string, found an integer"},
    {"{\"w\":[]}", 0, "tensor \"w\": expected an object, found an array"},
    {"{\"w\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor \"w\": dtype: expected a string, found nothing"},
    {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
     "tensor \"w\": shape: expected an array, found nothing"},
    {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
     "tensor \"w\": data_offsets: expected [begin, end]"},
    {"{\"w\":{" ENTRY("\"F32\"", "[1]", "[0,4]") ",\"stride\":1}}", 4, "found the key \"stride\""},
    {ONE("4", "[1]", "[0,4]"), 4, "dtype: expected a string, found an integer"},
    {ONE("\"F8_E5M2\"", "[4]", "[0,4]"), 4,
     "tensor \"w\": dtype: expected one of F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, "
     "U8, BOOL, found \"F8_E5M2\""},
    {ONE("\"F32\"", "{}", "[0,4]"), 4, "shape: expected an array, found an object"},
    {ONE("\"F32\"", "[-1]", "[0,4]"), 4, "shape: expected integers >= 0, found a negative one"},
    {ONE("\"F32\"", "[1.0]", "[0,4]"), 4, "found a number at index 0"},
    {ONE("\"F32\"", "[1,\"1\"]", "[0,4]"), 4, "found a string at index 1"},
    {ONE("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "at most 8 dimensions, found 9"},
    {ONE("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "the element count overflows"},
    {ONE("\"U8\"", "[4294967296,4294967296,0]", "[0,0]"), 0, "the element count overflows"},
    {ONE("\"F64\"", "[4611686018427387904]", "[0,0]"), 0, "the size in bytes overflows"},
    {ONE("\"F32\"", "[99999999999999999999]", "[0,4]"), 4, "header: line 1"},
    {ONE("\"F32\"", "[1]", "[0]"), 4, "data_offsets: expected [begin, end]"},
    {ONE("\"F32\"", "[1]", "[0,4,4]"), 4, "data_offsets: expected [begin, end]"},
    {ONE("\"F32\"", "[1]", "[0,4.0]"), 4, "data_offsets: expected [begin, end]"},
    {ONE("\"F32\"", "[1]", "{\"0\":0}"), 4, "data_offsets: expected [begin, end]"},
    {ONE("\"F32\"", "[1]", "[-4,0]"), 4, "found [-4, 0]"},
    {ONE("\"F32\"", "[1]", "[4,0]"), 4, "found [4, 0]"},
    {ONE("\"F32\"", "[2]", "[0,8]"), 4,
     "begin <= end <= 4 (the bytes behind the header), found [0, 8]"},
    {ONE("\"F32\"", "[1]", "[0,9223372036854775807]"), 4, "found [0, 9223372036854775807]"},
    {ONE("\"F32\"", "[2,3]", "[0,20]"), 20,
     "tensor \"w\": data_offsets: expected 24 bytes for F32 [2, 3], found 20 ([0, 20])"},
    {ONE("\"F32\"", "[1]", "[0,8]"), 8, "expected 4 bytes for F32 [1], found 8"},
    {ONE("\"F32\"", "[1]", "[4,8]"), 8,
     "tensor \"w\": data_offsets: expected begin 0, found 4: bytes before it belong to no tensor"},
    {TWO("[0,8]", "[12,20]"), 20,
     "tensor \"b\": data_offsets: expected begin 8, found 12: bytes before it belong to no tensor"},
    {TWO("[0,8]", "[4,12]"), 12,
     "tensor \"b\": data_offsets: expected begin 8, found 4: overlaps tensor \"a\""},
    {TWO("[0,8]", "[0,8]"), 8, "expected begin 8, found 0: overlaps"},
    {TWO("[0,8]", "[8,16]"), 17,
     "expected 16 bytes behind the header (the end of the last tensor, \"b\"), found 17"},
    {"{}", 1, "expected 0 bytes behind the header"},
};

START_TEST(a_malformed_header_is_refused_by_name)
{
    const malformed *row = &malformed_headers[_i];
    safetensors_image image = {0};
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = parse(row->header, row->payload_bytes, &image, &tensors, &err);
    expect_error(status, &err, FM_EFORMAT, row->needle);
    ck_assert_ptr_null(tensors);
    safetensors_image_free(&image);
}
END_TEST

START_TEST(a_header_length_beyond_the_file_or_the_limit_is_refused)
{
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    expect_error(fm_tensors_parse("\2\0\0\0\0\0\0", 7, &tensors, &err), &err, FM_EFORMAT,
                 "expected 8 bytes of header length, found 7");
    expect_error(fm_tensors_parse("", 0, &tensors, &err), &err, FM_EFORMAT, "found 0 bytes in all");
    expect_error(fm_tensors_parse("\3\0\0\0\0\0\0\0{}", 10, &tensors, &err), &err, FM_EFORMAT,
                 "header: expected 3 bytes, found the file's end after 2");
    /* 100,000,000 is the limit itself, so only the file is too short. */
    expect_error(fm_tensors_parse("\x00\xe1\xf5\x05\0\0\0\0{}", 10, &tensors, &err), &err,
                 FM_EFORMAT, "header: expected 100000000 bytes, found the file's end");
    expect_error(fm_tensors_parse("\x01\xe1\xf5\x05\0\0\0\0{}", 10, &tensors, &err), &err,
                 FM_EFORMAT, "header: expected at most 100000000 bytes, found 100000001");
    expect_error(fm_tensors_parse("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, &tensors, &err), &err,
                 FM_EFORMAT, "found 18446744073709551615");
}
END_TEST

/* ---- Files ---- */

START_TEST(only_regular_files_are_opened)
{
    temp_folder folder;
    temp_folder_make(&folder);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    expect_error(fm_tensors_open(temp_folder_file(&folder, "no.safetensors"), &tensors, &err), &err,
                 FM_ENOTFOUND, "no.safetensors: cannot open: No such file");
    expect_error(fm_tensors_open(folder.path, &tensors, &err), &err, FM_EIO, "not a regular file");
    expect_error(fm_tensors_open("/dev/zero", &tensors, &err), &err, FM_EIO, "not a regular file");
    temp_folder_write(&folder, "empty.safetensors", "", 0);
    expect_error(fm_tensors_open(temp_folder_file(&folder, "empty.safetensors"), &tensors, &err),
                 &err, FM_EFORMAT, "empty.safetensors: expected 8 bytes of header length");
    temp_folder_remove(&folder);
}
END_TEST

static void write_image(const temp_folder *folder, const char *name, const char *header,
                        size_t payload_bytes)
{
    safetensors_image image = safetensors_image_make(header, NULL, payload_bytes);
    temp_folder_write(folder, name, image.data, image.size_bytes);
    safetensors_image_free(&image);
}

#define INDEX   "model.safetensors.index.json"
#define SHARD_1 "{\"b\":{" ENTRY("\"F32\"", "[1]", "[0,4]") "}}"
#define SHARD_2                                                                                    \
    "{\"a\":{" ENTRY("\"F32\"", "[1]", "[0,4]") "},\"c\":{" ENTRY("\"F32\"", "[1]", "[4,8]") "}}"

static fm_status open_index(const temp_folder *folder, const char *index, fm_tensors **ret,
                            fm_error *err)
{
    write_image(folder, "1.safetensors", SHARD_1, 4);
    write_image(folder, "2.safetensors", SHARD_2, 8);
    temp_folder_write_text(folder, INDEX, index);
    return fm_tensors_open(temp_folder_file(folder, INDEX), ret, err);
}

#define GOOD_MAP                                                                                   \
    "\"weight_map\":{\"c\":\"2.safetensors\",\"b\":\"1.safetensors\",\"a\":\"2.safetensors\"}"

START_TEST(shards_are_one_set_of_tensors)
{
    temp_folder folder;
    temp_folder_make(&folder);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status =
        open_index(&folder, "{\"metadata\":{\"total_size\":12}," GOOD_MAP "}", &tensors, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_uint_eq(fm_tensors_count(tensors), 3);
    const char *names[] = {"a", "b", "c"};
    const char *files[] = {INDEX, "1.safetensors", "2.safetensors"};
    ck_assert_uint_eq(fm_tensors_file_count(tensors), 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(fm_tensors_at(tensors, i)->name, names[i]);
        ck_assert_str_eq(fm_tensors_file_at(tensors, i), files[i]);
        float value = 1.0F;
        ck_assert_int_eq(fm_tensor_to_float32(fm_tensors_find(tensors, names[i]), &value, &err),
                         FM_OK);
        ck_assert_float_eq(value, 0.0F);
    }
    fm_tensors_close(tensors);
    temp_folder_remove(&folder);
}
END_TEST

static const malformed malformed_indices[] = {
    {"", 0, INDEX ": line 1"},
    {"[]", 0, "expected an object, found an array"},
    {"{" GOOD_MAP ",\"extra\":{}}", 0, "/extra: unknown key"},
    {"{" GOOD_MAP ",\"metadata\":1}", 0, "/metadata: expected an object, found an integer"},
    {"{}", 0, "/weight_map: expected at least one tensor, found nothing"},
    {"{\"weight_map\":{}}", 0, "/weight_map: expected at least one tensor, found {}"},
    {"{\"weight_map\":{\"a\":2}}", 0, "tensor \"a\": expected a file name, found an integer"},
    {"{\"weight_map\":{\"a\":\"../2.safetensors\"}}", 0, "of the same folder, found \"../2"},
    {"{\"weight_map\":{\"a\":\"/2.safetensors\"}}", 0, "of the same folder, found \"/2"},
    {"{\"weight_map\":{\"a\":\"..\"}}", 0, "of the same folder, found \"..\""},
    {"{\"weight_map\":{\"a\":\"\"}}", 0, "of the same folder, found \"\""},
    {"{\"weight_map\":{\"a\":\"2.bin\"}}", 0, "expected a .safetensors file"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"a\":\"1.safetensors\"}}", 0,
     "duplicate object key"},
    {"{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", 0,
     "2.safetensors: tensor \"c\": expected every tensor in weight_map"},
    {"{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\",\"c\":\"1.safetensors\"}}",
     0, "tensor \"c\": expected in 1.safetensors by weight_map, found in 2.safetensors too"},
    {"{\"weight_map\":{\"b\":\"1.safetensors\",\"d\":\"1.safetensors\"}}", 0,
     "tensor \"d\": expected in 1.safetensors by weight_map, not found"},
};

START_TEST(a_malformed_index_is_refused_by_name)
{
    temp_folder folder;
    temp_folder_make(&folder);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = open_index(&folder, malformed_indices[_i].header, &tensors, &err);
    expect_error(status, &err, FM_EFORMAT, malformed_indices[_i].needle);
    ck_assert_ptr_null(tensors);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_missing_shard_is_not_found)
{
    temp_folder folder;
    temp_folder_make(&folder);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status =
        open_index(&folder, "{\"weight_map\":{\"a\":\"3.safetensors\"}}", &tensors, &err);
    expect_error(status, &err, FM_ENOTFOUND, "3.safetensors: cannot open");
    temp_folder_remove(&folder);
}
END_TEST

/* ---- Memory ---- */

/* Opens with allocation k failing, for every k, until one run needs none of them. */
static void sweep(const char *path)
{
    for (size_t k = 0;; k++) {
        ck_assert_uint_lt(k, 10000);
        fm_tensors *tensors = NULL;
        fm_error err = {0};
        failing_memory_start(k);
        fm_status status = fm_tensors_open(path, &tensors, &err);
        if (!failing_memory_stop()) {
            ck_assert_msg(status == FM_OK, "%s", err.text);
            fm_tensors_close(tensors);
            ck_assert_uint_gt(k, 5);
            return;
        }
        ck_assert_msg(failing_memory_explains(status), "allocation %zu: %s: %s", k,
                      fm_status_name(status), err.text);
        ck_assert_ptr_null(tensors);
    }
}

START_TEST(every_failed_allocation_is_an_error_and_leaks_nothing)
{
    sweep("tests/golden/mlp-labels/model.safetensors");
    temp_folder folder;
    temp_folder_make(&folder);
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    ck_assert_int_eq(open_index(&folder, "{" GOOD_MAP "}", &tensors, &err), FM_OK);
    fm_tensors_close(tensors);
    char path[600];
    (void)snprintf(path, sizeof path, "%s", temp_folder_file(&folder, INDEX));
    sweep(path);
    temp_folder_remove(&folder);
}
END_TEST

Suite *suite_engine_tensors(void)
{
    Suite *suite = suite_create("engine/tensors");
    TCase *tests = tcase_create("tensors");
    tcase_add_test(tests, tensors_come_in_name_order_with_their_bytes);
    tcase_add_test(tests, a_file_without_tensors_is_a_file);
    tcase_add_test(tests, every_reference_file_opens_and_closes);
    tcase_add_test(tests, every_half_is_converted_exactly);
    tcase_add_test(tests, brain_floats_are_the_upper_half_of_floats);
    tcase_add_test(tests, doubles_are_kept_or_rounded);
    tcase_add_test(tests, integers_are_not_weights);
    tcase_add_loop_test(tests, a_malformed_header_is_refused_by_name, 0,
                        sizeof malformed_headers / sizeof *malformed_headers);
    tcase_add_test(tests, a_header_length_beyond_the_file_or_the_limit_is_refused);
    tcase_add_test(tests, only_regular_files_are_opened);
    tcase_add_test(tests, shards_are_one_set_of_tensors);
    tcase_add_loop_test(tests, a_malformed_index_is_refused_by_name, 0,
                        sizeof malformed_indices / sizeof *malformed_indices);
    tcase_add_test(tests, a_missing_shard_is_not_found);
    tcase_add_test(tests, every_failed_allocation_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
