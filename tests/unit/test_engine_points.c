/* Point sets: .npy, .csv and .safetensors. */
#include "engine/checkpoint/points.h"
#include "tests/support/failing_memory.h"
#include "tests/support/safetensors_image.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static fm_status read_bytes(const char *name, const void *bytes, size_t length, fm_points *ret,
                            fm_error *err)
{
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write(&folder, name, bytes, length);
    fm_status status = fm_points_read(temp_folder_file(&folder, name), ret, err);
    temp_folder_remove(&folder);
    return status;
}

static void expect_refused(const char *name, const void *bytes, size_t length, const char *needle)
{
    fm_points points = {0};
    fm_error err = {0};
    fm_status status = read_bytes(name, bytes, length, &points, &err);
    ck_assert_msg(status == FM_EFORMAT, "expected EFORMAT (%s), found %s: %s", needle,
                  fm_status_name(status), err.text);
    ck_assert_msg(strstr(err.text, needle) != NULL, "expected \"%s\" in: %s", needle, err.text);
    ck_assert_ptr_null(points.data);
}

static void expect_points(fm_points *points, size_t count, size_t dimension, const double *values)
{
    ck_assert_uint_eq(points->count, count);
    ck_assert_uint_eq(points->dimension, dimension);
    for (size_t i = 0; i < count * dimension; i++) {
        ck_assert_msg(points->data[i] == values[i], "number %zu: expected %.17g, found %.17g", i,
                      values[i], points->data[i]);
    }
    fm_points_done(points);
    ck_assert_ptr_null(points->data);
}

/* ---- .npy ---- */

/* An image of version major with this header text, padded as NumPy does, and this array. */
static size_t npy(unsigned char *ret, unsigned char major, const char *header, const void *array,
                  size_t array_bytes)
{
    size_t length_bytes = major == 1 ? 2 : 4;
    size_t text_bytes = strlen(header);
    memcpy(ret, "\x93NUMPY", 6);
    ret[6] = major;
    ret[7] = 0;
    for (size_t i = 0; i < length_bytes; i++) {
        ret[8 + i] = (unsigned char)(text_bytes >> (8 * i));
    }
    memcpy(ret + 8 + length_bytes, header, text_bytes);
    if (array_bytes > 0) {
        memcpy(ret + 8 + length_bytes + text_bytes, array, array_bytes);
    }
    return 8 + length_bytes + text_bytes + array_bytes;
}

static const double six[] = {1.5, -2.0, 3.0, 0.25, 1e-3, 6.0};

START_TEST(npy_arrays_of_both_widths_and_versions_are_read)
{
    float narrow[6];
    double rounded[6];
    for (size_t i = 0; i < 6; i++) {
        narrow[i] = (float)six[i];
        rounded[i] = (double)narrow[i];
    }
    unsigned char bytes[512];
    fm_points points = {0};
    fm_error err = {0};
    size_t length =
        npy(bytes, 1, "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }   \n", six,
            sizeof six);
    ck_assert_msg(read_bytes("p.npy", bytes, length, &points, &err) == FM_OK, "%s", err.text);
    expect_points(&points, 3, 2, six);
    length = npy(bytes, 2, "{'shape': (2, 3), 'descr': '<f4','fortran_order': False}\n", narrow,
                 sizeof narrow);
    ck_assert_msg(read_bytes("p.npy", bytes, length, &points, &err) == FM_OK, "%s", err.text);
    expect_points(&points, 2, 3, rounded);
    ck_assert_int_eq(fm_points_read("tests/golden/dataset-moons/points.npy", &points, &err), FM_OK);
    ck_assert_uint_eq(points.count, 200);
    ck_assert_uint_eq(points.dimension, 2);
    fm_points_done(&points);
}
END_TEST

START_TEST(npy_arrays_in_column_order_are_read)
{
    static const double columns[] = {1, 3, 5, 2, 4, 6};
    static const double rows[] = {1, 2, 3, 4, 5, 6};
    unsigned char bytes[512];
    fm_points points = {0};
    fm_error err = {0};
    size_t length = npy(bytes, 1, "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2), }\n",
                        columns, sizeof columns);
    ck_assert_msg(read_bytes("p.npy", bytes, length, &points, &err) == FM_OK, "%s", err.text);
    expect_points(&points, 3, 2, rows);
}
END_TEST

#define DICT(descr, order, shape)                                                                  \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

static const struct {
    const char *header;
    size_t array_bytes;
    const char *needle;
} malformed_npy[] = {
    {DICT("'<f8'", "False", "(6,)"), 48,
     "p.npy: shape: expected (points, dimension), found 1 axes"},
    {DICT("'<f8'", "False", "()"), 8, "found 0 axes"},
    {DICT("'<f8'", "False", "(3, 2, 1)"), 48, "found 3 axes"},
    {DICT("'<f8'", "0", "(3, 2)"), 48, "expected fortran_order True or False, found \"0\""},
    {DICT("'>f8'", "False", "(3, 2)"), 48, "expected descr '<f4' or '<f8', found \"'>f8'\""},
    {DICT("'<i8'", "False", "(3, 2)"), 48, "expected descr '<f4' or '<f8'"},
    {DICT("'<f8'", "False", "(3, -2)"), 48, "expected an integer >= 0 in shape"},
    {DICT("'<f8'", "False", "(3 2)"), 48, "expected \",\" or \")\" in shape"},
    {DICT("'<f8'", "False", "[3, 2]"), 48, "expected a tuple"},
    {DICT("'<f8'", "False", "(99999999999999999999, 2)"), 48, "a size overflows"},
    {DICT("'<f8'", "False", "(9999999999999999999, 9999999999)"), 48, "expected sizes above 0"},
    {DICT("'<f8'", "False", "(0, 2)"), 0, "expected sizes above 0, found (0, 2)"},
    {DICT("'<f8'", "False", "(3, 2)"), 47, "expected 48 bytes for (3, 2), found 47"},
    {DICT("'<f8'", "False", "(2, 2)"), 48, "expected 32 bytes for (2, 2), found 48"},
    {"{'descr': '<f8', 'fortran_order': False}", 48, "expected descr, fortran_order and shape"},
    {"{'descr': '<f8', 'descr': '<f8', 'shape': (3, 2)}", 48, "expected every key once"},
    {"{'descr': '<f8', 'order': False, 'shape': (3, 2)}", 48,
     "expected descr, fortran_order or shape, found \"'order'"},
    {"{'descr': '<f8' 'fortran_order': False}", 48, "expected \",\" or \"}\""},
    {DICT("'<f8'", "False", "(3, 2)") " x", 48, "expected blanks behind the dict, found \"x\""},
    {"", 48, "expected \"{\""},
};

START_TEST(a_malformed_npy_file_is_refused)
{
    unsigned char bytes[512];
    size_t length = npy(bytes, 1, malformed_npy[_i].header, six, malformed_npy[_i].array_bytes);
    expect_refused("p.npy", bytes, length, malformed_npy[_i].needle);
}
END_TEST

START_TEST(a_cut_or_foreign_npy_file_is_refused)
{
    unsigned char bytes[512];
    size_t length = npy(bytes, 1, DICT("'<f8'", "False", "(3, 2)"), six, sizeof six);
    expect_refused("p.npy", bytes, 0, "another magic number");
    expect_refused("p.npy", bytes, 9, "another magic number");
    expect_refused("p.npy", bytes, 40, "found the file's end");
    expect_refused("p.npy", bytes, length - 1, "found 47");
    bytes[7] = 1;
    expect_refused("p.npy", bytes, length, "expected .npy version 1.0 or 2.0, found 1.1");
    length = npy(bytes, 3, DICT("'<f8'", "False", "(3, 2)"), six, sizeof six);
    expect_refused("p.npy", bytes, length, "found 3.0");
    bytes[6] = 2;
    expect_refused("p.npy", bytes, 11, "found the file's end");
}
END_TEST

START_TEST(numbers_that_are_not_finite_are_refused_with_their_place)
{
    double values[] = {1.0, 2.0, 3.0, 4.0, 0.0, 6.0};
    values[4] /= values[4]; /* NaN */
    unsigned char bytes[512];
    size_t length = npy(bytes, 1, DICT("'<f8'", "False", "(3, 2)"), values, sizeof values);
    expect_refused("p.npy", bytes, length, "nan at index [2, 0]");
    expect_refused("p.csv", "1,2\n3,1e999\n", 12, "found inf at index [1, 1]");
}
END_TEST

/* ---- .csv ---- */

START_TEST(csv_lines_are_points)
{
    static const char *const texts[] = {
        "1.5,-2\n3,0.25\n1e-3,6\n",
        "1.5,-2\r\n3,0.25\r\n1e-3,6",
        " 1.5 ,\t-2.0\n+3,.25\n0.001,6.\n\n",
        "1.5,-2\n3,25E-2\n1e-3,6\n \t\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        fm_points points = {0};
        fm_error err = {0};
        fm_status status = read_bytes("p.csv", texts[i], strlen(texts[i]), &points, &err);
        ck_assert_msg(status == FM_OK, "%s", err.text);
        expect_points(&points, 3, 2, six);
    }
}
END_TEST

START_TEST(csv_files_may_be_long)
{
    static char text[64 * 3000];
    size_t used = 0;
    for (int i = 0; i < 3000; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,%d.5,-%d\n", i, i, i);
    }
    fm_points points = {0};
    fm_error err = {0};
    ck_assert_int_eq(read_bytes("p.csv", text, used, &points, &err), FM_OK);
    ck_assert_uint_eq(points.count, 3000);
    for (size_t i = 0; i < 3000; i++) {
        ck_assert(points.data[3 * i] == (double)i && points.data[3 * i + 1] == (double)i + 0.5 &&
                  points.data[3 * i + 2] == -(double)i);
    }
    fm_points_done(&points);
}
END_TEST

static const struct {
    const char *text, *needle;
} malformed_csv[] = {
    {"", "p.csv: line 1: expected a number, found the file's end"},
    {"\n", "line 1: expected a number, found \"\""},
    {"x,y\n1,2\n", "line 1: expected a number, found \"x\""},
    {"1,2\n3\n", "line 2: expected 2 numbers, found 1"},
    {"1,2\n3,4,5\n", "line 2: expected 2 numbers, found 3"},
    {"1,2\n\n3,4\n", "line 2: expected a number, found \"\""},
    {"1,2\n3,4\n\n\n", "line 3: expected a number"},
    {"1,2,\n", "line 1: expected a number, found \"\""},
    {"1;2\n", "found \"1;2\""},
    {"1,nan\n", "found \"nan\""},
    {"1,inf\n", "found \"inf\""},
    {"1,0x10\n", "found \"0x10\""},
    {"1,2e\n", "found \"2e\""},
    {"1,2 3\n", "found \"2 3\""},
    {"1,--2\n", "found \"--2\""},
    {"1,\"2\"\n", "found \"\"2\"\""},
};

START_TEST(a_malformed_csv_file_is_refused_with_its_line)
{
    expect_refused("p.csv", malformed_csv[_i].text, strlen(malformed_csv[_i].text),
                   malformed_csv[_i].needle);
}
END_TEST

START_TEST(a_nul_byte_does_not_end_a_csv_file)
{
    expect_refused("p.csv", "1,2\n3,4\0\n5,6\n", 13, "line 2: expected a number");
}
END_TEST

/* ---- .safetensors ---- */

static void expect_safetensors_refused(const char *header, size_t payload_bytes, const char *needle)
{
    safetensors_image image = safetensors_image_make(header, NULL, payload_bytes);
    expect_refused("p.safetensors", image.data, image.size_bytes, needle);
    safetensors_image_free(&image);
}

START_TEST(the_only_tensor_of_a_file_is_its_points)
{
    safetensors_image image = safetensors_image_make(
        "{\"points\":{\"dtype\":\"F64\",\"shape\":[3,2],\"data_offsets\":[0,48]}}", six,
        sizeof six);
    fm_points points = {0};
    fm_error err = {0};
    fm_status status = read_bytes("p.safetensors", image.data, image.size_bytes, &points, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    expect_points(&points, 3, 2, six);
    safetensors_image_free(&image);
    expect_safetensors_refused("{}", 0, "expected one tensor, found 0");
    expect_safetensors_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]},"
                               "\"b\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[4,8]}}",
                               8, "expected one tensor, found 2");
    expect_safetensors_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
                               16,
                               "tensor \"a\": expected [points, dimension], both above 0, found "
                               "[4]");
    expect_safetensors_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[0,0]}}",
                               0, "found [0, 4]");
    expect_safetensors_refused("{\"a\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]}}",
                               4, "dtype: expected F32 or F64, found F16");
    expect_safetensors_refused("{", 0, "p.safetensors: header");
}
END_TEST

START_TEST(other_files_are_refused)
{
    expect_refused("p.txt", "1\n", 2, "expected one of .npy, .csv, .safetensors");
    fm_points points = {0};
    fm_error err = {0};
    ck_assert_int_eq(fm_points_read("tests/golden/none.csv", &points, &err), FM_ENOTFOUND);
    ck_assert_int_eq(fm_points_read("tests/golden/none.safetensors", &points, &err), FM_ENOTFOUND);
}
END_TEST

START_TEST(every_failed_allocation_is_an_error_and_leaks_nothing)
{
    safetensors_image image = safetensors_image_make(
        "{\"points\":{\"dtype\":\"F64\",\"shape\":[3,2],\"data_offsets\":[0,48]}}", six,
        sizeof six);
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write(&folder, "p.safetensors", image.data, image.size_bytes);
    char csv[2000];
    for (size_t i = 0; i < sizeof csv; i += 2) {
        memcpy(csv + i, "1\n", 2);
    }
    temp_folder_write(&folder, "p.csv", csv, sizeof csv);
    char paths[3][600] = {"tests/golden/dataset-moons/points.npy"};
    (void)snprintf(paths[1], sizeof paths[1], "%s", temp_folder_file(&folder, "p.csv"));
    (void)snprintf(paths[2], sizeof paths[2], "%s", temp_folder_file(&folder, "p.safetensors"));
    for (size_t i = 0; i < 3; i++) {
        bool refused = true;
        for (size_t k = 0; refused; k++) {
            fm_points points = {0};
            fm_error err = {0};
            failing_memory_start(k);
            fm_status status = fm_points_read(paths[i], &points, &err);
            refused = failing_memory_stop();
            ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                          "allocation %zu: %s", k, err.text);
            ck_assert(refused || k >= 2);
            fm_points_done(&points);
        }
    }
    safetensors_image_free(&image);
    temp_folder_remove(&folder);
}
END_TEST

Suite *suite_engine_points(void)
{
    Suite *suite = suite_create("engine/points");
    TCase *tests = tcase_create("points");
    tcase_add_test(tests, npy_arrays_of_both_widths_and_versions_are_read);
    tcase_add_test(tests, npy_arrays_in_column_order_are_read);
    tcase_add_loop_test(tests, a_malformed_npy_file_is_refused, 0,
                        sizeof malformed_npy / sizeof *malformed_npy);
    tcase_add_test(tests, a_cut_or_foreign_npy_file_is_refused);
    tcase_add_test(tests, numbers_that_are_not_finite_are_refused_with_their_place);
    tcase_add_test(tests, csv_lines_are_points);
    tcase_add_test(tests, csv_files_may_be_long);
    tcase_add_loop_test(tests, a_malformed_csv_file_is_refused_with_its_line, 0,
                        sizeof malformed_csv / sizeof *malformed_csv);
    tcase_add_test(tests, a_nul_byte_does_not_end_a_csv_file);
    tcase_add_test(tests, the_only_tensor_of_a_file_is_its_points);
    tcase_add_test(tests, other_files_are_refused);
    tcase_add_test(tests, every_failed_allocation_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
