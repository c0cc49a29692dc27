/* Samples as pictures, in JSON and on a grid, from made-up rows. */
#include "proto/base64.h"
#include "proto/png.h"
#include "proto/response_rows.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <png.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define N_ROWS 3

/* Of proto_case_image(), black at 0 and white at 2: pixels 0, 128 and 255, of every row others. */
static const float states[N_ROWS][3][4] = {
    {{0, 1, 2, 0}, {2, 2, 2, 2}, {1, 0, 0, 0}},
    {{2, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 2, 0}},
    {{-5, 9, 0, 1}, {0, 0, 1, 0}, {1, 1, 1, 1}},
};
static const unsigned char pixels[N_ROWS][4][3] = {
    {{0, 255, 128}, {128, 255, 0}, {255, 255, 0}, {0, 255, 0}},
    {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {0, 0, 0}},
    {{0, 0, 128}, {255, 0, 128}, {0, 128, 128}, {128, 0, 128}},
};
static const double own_times[] = {0, 1};

/* The last row has not come to the end; what it carries is drawn all the same. */
static void row_at(const void *context, size_t row, fm_row_result *ret)
{
    (void)context;
    *ret = (fm_row_result){.status = row == 2 ? FM_ROW_MAX_EVALUATIONS : FM_ROW_OK,
                           .t = 1,
                           .x = &states[row][0][0],
                           .fields[FM_FIELD_X] = &states[row][0][0],
                           .trajectory_times = own_times,
                           .n_trajectory = 1};
}

static fmp_rows made_rows(void)
{
    return (fmp_rows){.n_rows = N_ROWS, .at = row_at};
}

/* The answer of a body; within what was estimated. */
static fmp_buffer answer(const char *body, fmp_encoding accepted)
{
    fm_model_info model = proto_case_image();
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(fmp_request_parse_sample(body, strlen(body), &model, &limits, accepted, 1,
                                           &request, &problem),
                  "%s", problem.detail);
    fmp_rows rows = made_rows();
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, fmp_request_answer_bytes(&request, &model));
    fmp_response_write_rows(&buffer, &request, &model, "01J", &rows);
    ck_assert(!buffer.failed);
    fmp_request_done(&request);
    return buffer;
}

static void check_png(const void *data, size_t length, const void *expected, size_t size_bytes)
{
    png_image picture = {.version = PNG_IMAGE_VERSION};
    ck_assert_msg(png_image_begin_read_from_memory(&picture, data, length) != 0, "%s",
                  picture.message);
    ck_assert_uint_eq(picture.format, PNG_FORMAT_RGB);
    ck_assert_uint_eq(PNG_IMAGE_SIZE(picture), size_bytes);
    unsigned char *found = malloc(size_bytes);
    ck_assert_ptr_nonnull(found);
    ck_assert_msg(png_image_finish_read(&picture, NULL, found, 0, NULL) != 0, "%s",
                  picture.message);
    ck_assert_mem_eq(found, expected, size_bytes);
    free(found);
}

START_TEST(every_sample_is_a_picture_in_base64)
{
    fmp_buffer buffer = answer("{\"num_samples\": 3, \"encoding\": \"png\"}", FMP_ENCODING_JSON);
    json_t *json = json_loadb(buffer.data, buffer.length, JSON_REJECT_DUPLICATES, NULL);
    fmp_buffer_done(&buffer);
    const json_t *samples = json_object_get(json, "samples");
    ck_assert_uint_eq(json_array_size(samples), N_ROWS);
    for (size_t i = 0; i < N_ROWS; i++) {
        const char *text = json_string_value(json_array_get(samples, i));
        ck_assert_ptr_nonnull(text);
        size_t length = strlen(text) / 4 * 3;
        length -= strcspn(text, "=") < strlen(text) ? strlen(text) - strcspn(text, "=") : 0;
        unsigned char *bytes = malloc(length);
        ck_assert_ptr_nonnull(bytes);
        ck_assert(fmp_base64_read(text, strlen(text), bytes, length));
        check_png(bytes, length, pixels[i], sizeof pixels[i]);
        free(bytes);
    }
    json_decref(json);
}
END_TEST

START_TEST(states_on_the_way_and_times_stay_numbers)
{
    fmp_buffer buffer =
        answer("{\"num_samples\": 3, \"encoding\": \"png\", \"trajectory\": {\"times\": [1]}}",
               FMP_ENCODING_JSON);
    json_t *json = json_loadb(buffer.data, buffer.length, JSON_REJECT_DUPLICATES, NULL);
    fmp_buffer_done(&buffer);
    const json_t *trajectory = json_object_get(json, "trajectory");
    const json_t *x = json_array_get(json_array_get(json_object_get(trajectory, "x"), 1), 0);
    char *text = json_dumps(x, JSON_COMPACT);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, "[[[2,0],[0,0]],[[0,2],[0,0]],[[0,0],[2,0]]]");
    free(text);
    ck_assert(json_is_array(json_object_get(json_object_get(json, "solver"), "time_grid")));
    json_decref(json);
}
END_TEST

START_TEST(a_grid_has_every_sample)
{
    unsigned char expected[6][6][3] = {{{0}}};
    for (size_t i = 0; i < N_ROWS; i++) {
        for (size_t k = 0; k < 4; k++) {
            memcpy(expected[i / 2 * 4 + k / 2][i % 2 * 4 + k % 2], pixels[i][k], 3);
        }
    }
    fmp_buffer buffer = answer("{\"num_samples\": 3}", FMP_ENCODING_PNG_GRID);
    check_png(buffer.data, buffer.length, expected, sizeof expected);
    fmp_buffer_done(&buffer);
}
END_TEST

/* Numbers without a pattern, so that nothing deflates. */
static void noise_at(const void *context, size_t row, fm_row_result *ret)
{
    float *x = *(float *const *)context;
    uint32_t state = (uint32_t)row + 1;
    for (size_t i = 0; i < (size_t)3 * 32 * 32; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 16) / 0x1p15f;
    }
    *ret = (fm_row_result){.x = x, .t = 1};
}

START_TEST(pictures_of_noise_fit_the_estimate)
{
    static float x[3 * 32 * 32];
    float *context = x;
    fm_model_info model = proto_case_image();
    model.shape[1] = model.shape[2] = 32;
    model.dimension = sizeof x / sizeof *x;
    fmp_rows rows = {.n_rows = 50, .at = noise_at, .context = &context};
    fmp_request request = {
        .spec = {.n_rows = 50,
                 .solver = {.method = fm_method_find("dopri5"), .grid = own_times, .n_grid = 2}},
        .encoding = FMP_ENCODING_PNG};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_rows(&buffer, &request, &model, "01J", &rows);
    ck_assert(!buffer.failed);
    ck_assert_uint_gt(buffer.length, 50 * sizeof x / sizeof *x * 4 / 3);
    ck_assert_uint_le(buffer.length, fmp_request_answer_bytes(&request, &model));
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(without_room_an_answer_of_pictures_fails_as_a_whole)
{
    static const fmp_encoding encodings[] = {FMP_ENCODING_PNG, FMP_ENCODING_PNG_GRID};
    fm_model_info model = proto_case_image();
    fmp_rows rows = made_rows();
    for (size_t i = 0; i < 2; i++) {
        fmp_request request = {.spec = {.n_rows = N_ROWS,
                                        .solver = {.method = fm_method_find("dopri5"),
                                                   .grid = own_times,
                                                   .n_grid = 2}},
                               .encoding = encodings[i]};
        size_t needed = SIZE_MAX, failures = 0;
        for (size_t limit = 0; limit <= needed; limit++) {
            fmp_buffer buffer;
            fmp_buffer_init(&buffer, limit);
            fmp_response_write_rows(&buffer, &request, &model, "01J", &rows);
            failures += buffer.failed;
            needed = buffer.failed ? needed : limit;
            fmp_buffer_done(&buffer);
        }
        ck_assert_uint_eq(failures, needed); /* below it, every one */
        ck_assert_uint_le(needed, fmp_request_answer_bytes(&request, &model));
    }
}
END_TEST

START_TEST(rows_that_are_no_images_fail_and_draw_nothing)
{
    fm_model_info model = proto_case_plain();
    fmp_rows rows = made_rows();
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_png_grid(&buffer, &model, &rows);
    ck_assert(buffer.failed);
    fmp_buffer_done(&buffer);
}
END_TEST

static size_t writer_bytes(const char *body, fmp_encoding accepted)
{
    fm_model_info model = proto_case_image();
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(fmp_request_parse_sample(body, strlen(body), &model, &limits, accepted, 1,
                                           &request, &problem),
                  "%s", problem.detail);
    size_t bytes = fmp_request_writer_bytes(&request, &model);
    fmp_request_done(&request);
    return bytes;
}

START_TEST(what_drawing_takes_is_known_before)
{
    fm_model_info model = proto_case_image();
    fmp_image image;
    ck_assert(fmp_image_of(&model, &image));
    ck_assert_uint_eq(writer_bytes("{\"num_samples\": 64}", FMP_ENCODING_JSON), 0);
    ck_assert_uint_eq(writer_bytes("{\"num_samples\": 64}", FMP_ENCODING_NPY), 0);
    ck_assert_uint_eq(writer_bytes("{\"num_samples\": 64}", FMP_ENCODING_PNG_GRID),
                      FMP_PNG_WRITER_BYTES + (size_t)30 * 30 * 3);
    ck_assert_uint_eq(
        writer_bytes("{\"num_samples\": 64, \"encoding\": \"png\"}", FMP_ENCODING_JSON),
        FMP_PNG_WRITER_BYTES + 12 + fmp_png_bytes(&image, 1));
}
END_TEST

Suite *suite_proto_response_png(void)
{
    Suite *suite = suite_create("proto/response_png");
    TCase *tcase = tcase_create("pictures");
    tcase_add_test(tcase, every_sample_is_a_picture_in_base64);
    tcase_add_test(tcase, states_on_the_way_and_times_stay_numbers);
    tcase_add_test(tcase, a_grid_has_every_sample);
    tcase_add_test(tcase, pictures_of_noise_fit_the_estimate);
    tcase_add_test(tcase, without_room_an_answer_of_pictures_fails_as_a_whole);
    tcase_add_test(tcase, rows_that_are_no_images_fail_and_draw_nothing);
    tcase_add_test(tcase, what_drawing_takes_is_known_before);
    suite_add_tcase(suite, tcase);
    return suite;
}
