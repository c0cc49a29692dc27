/* Answers: what the contract's examples show, from made-up rows. */
#include "proto/base64.h"
#include "proto/response.h"
#include "proto/response_rows.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define N_ROWS 2

static const float states[N_ROWS][2] = {{0.12f, -0.55f}, {1.31f, 0.02f}};
static const float trajectory[N_ROWS][3][2] = {{{0, 1}, {0.5f, 2}, {0.12f, -0.55f}},
                                               {{3, 4}, {1.31f, 0.02f}, {9, 9}}};
static const double own_times[N_ROWS][3] = {{0, 0.25, 1}, {0, 0.5, 77}};

static const double log_densities[N_ROWS] = {-1.25, (double)-INFINITY};
static const double divergences[N_ROWS] = {0.5, -2};

/* Row 0 is ok; row 1 stopped after two states. */
static void row_at(const void *context, size_t row, fm_row_result *ret)
{
    const bool *with_trajectory = context;
    *ret = (fm_row_result){.status = row == 0 ? FM_ROW_OK : FM_ROW_MAX_EVALUATIONS,
                           .t = row == 0 ? 1 : 0.5,
                           .evaluations = 100 - 60 * row,
                           .accepted = 50 - 30 * row,
                           .rejected = 3 * row,
                           .x = states[row],
                           .fields[FM_FIELD_VELOCITY] = states[row],
                           .log_density = &log_densities[row],
                           .divergence = &divergences[row]};
    if (*with_trajectory) {
        ret->fields[FM_FIELD_X] = &trajectory[row][0][0];
        ret->trajectory_times = own_times[row];
        ret->n_trajectory = row == 0 ? 3 : 2;
    }
}

static const bool yes = true;

static fmp_rows made_rows(void)
{
    return (fmp_rows){.n_rows = N_ROWS,
                      .at = row_at,
                      .context = &yes,
                      .stats = {.queue_seconds = 0.0004, .compute_seconds = 0.0031004}};
}

static fmp_request parsed(const fm_model_info *model, const char *body)
{
    fmp_request request;
    fmp_problem problem;
    fmp_limits limits = proto_case_limits();
    ck_assert_msg(fmp_request_parse_sample(body, strlen(body), model, &limits, FMP_ENCODING_JSON, 5,
                                           &request, &problem),
                  "%s", problem.detail);
    return request;
}

static json_t *read_back(fmp_buffer *buffer)
{
    json_error_t error;
    ck_assert(!buffer->failed);
    json_t *json = json_loadb(buffer->data, buffer->length, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json != NULL, "%s: %.*s", error.text, (int)buffer->length, buffer->data);
    fmp_buffer_done(buffer);
    return json;
}

static json_t *sample_answer(const fm_model_info *model, const char *body)
{
    fmp_request request = parsed(model, body);
    fmp_rows rows = made_rows();
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_sample(&buffer, &request, model, "01J", &rows);
    ck_assert_uint_le(buffer.length, fmp_request_answer_bytes(&request, model));
    fmp_request_done(&request);
    return read_back(&buffer);
}

/* Compares the member at a path of keys with JSON text. */
static void check_member(const json_t *json, const char *first, const char *second,
                         const char *expected)
{
    const json_t *member = json_object_get(json, first);
    if (second != NULL) {
        member = json_object_get(member, second);
    }
    char *text = member != NULL ? json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    ck_assert_msg(text != NULL, "no %s %s", first, second != NULL ? second : "");
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(a_sample_answer_has_everything_the_contract_shows)
{
    fm_model_info model = proto_case_plain();
    fmp_request request =
        parsed(&model, "{\"seed\": 7, \"num_samples\": 2, \"solver\": {\"steps\": 2},"
                       " \"trajectory\": {\"times\": [0, 0.5, 1]}}");
    fmp_rows rows = made_rows();
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_sample(&buffer, &request, &model, "01J", &rows);
    fmp_buffer_append(&buffer, "", 1);
    ck_assert(!buffer.failed);
    ck_assert_str_eq(
        buffer.data,
        "{\"id\":\"01J\",\"model\":\"two-moons\",\"model_version\":\"sha256:00ff\",\"seed\":7,"
        "\"samples\":[[0.12,-0.55],[1.31,0.02]],"
        "\"trajectory\":{\"times\":[0,0.5,1],"
        "\"x\":[[[0,1],[0.5,2],[0.12,-0.55]],[[3,4],[1.31,0.02],[1.31,0.02]]]},"
        "\"solver\":{\"method\":\"midpoint\",\"steps\":2,\"max_evaluations\":10000,"
        "\"time_grid\":[0,0.5,1]},"
        "\"stats\":{\"evaluations\":[100,40],\"accepted\":[50,20],\"rejected\":[0,3],"
        "\"status\":[\"ok\",\"max_evaluations\"],\"t\":[1,0.5],\"queue_ms\":0.4,\"compute_ms\":3.1}"
        "}");
    fmp_buffer_done(&buffer);
    fmp_request_done(&request);
}
END_TEST

START_TEST(guidance_is_echoed_with_channels_where_fewer_than_all_were_asked_for)
{
    fm_model_info model = proto_case_labelled();
    model.rank = 1; /* as wide as the rows that are made up */
    model.shape[0] = model.dimension = 2;
    json_t *json = sample_answer(
        &model, "{\"num_samples\": 2, \"guidance\": {\"scale\": 4, \"channels\": 1}}");
    check_member(json, "guidance", NULL, "{\"scale\":4,\"channels\":1}");
    json_decref(json);
    json = sample_answer(&model, "{\"num_samples\": 2, \"guidance\": {\"channels\": \"all\"}}");
    check_member(json, "guidance", NULL, "{\"scale\":2}");
    json_decref(json);
}
END_TEST

static const struct {
    const char *sent, *echoed;
} seeds[] = {
    {"9007199254740991", "9007199254740991"},
    {"\"12\"", "\"12\""},
    {"\"18446744073709551615\"", "\"18446744073709551615\""},
};

START_TEST(the_seed_is_echoed_as_sent)
{
    fm_model_info model = proto_case_plain();
    char body[100];
    (void)snprintf(body, sizeof body, "{\"num_samples\": 2, \"seed\": %s}", seeds[_i].sent);
    json_t *json = sample_answer(&model, body);
    check_member(json, "seed", NULL, seeds[_i].echoed);
    ck_assert_ptr_null(json_object_get(json, "trajectory"));
    ck_assert_ptr_null(json_object_get(json, "guidance"));
    json_decref(json);
}
END_TEST

START_TEST(an_adaptive_answer_has_its_tolerances_and_interval)
{
    fm_model_info model = proto_case_plain();
    json_t *json =
        sample_answer(&model, "{\"num_samples\": 2, \"solver\": {\"method\": \"dopri5\", "
                              "\"rtol\": 1e-3, \"first_step\": 0.125}, "
                              "\"trajectory\": {\"every_step\": true}}");
    check_member(json, "solver", NULL,
                 "{\"method\":\"dopri5\",\"rtol\":0.001,\"atol\":1.0000000000000001e-5,"
                 "\"first_step\":0.125,\"max_evaluations\":10000,\"time_grid\":[0,1]}");
    check_member(json, "trajectory", "times", "[[0,0.25,1],[0,0.5]]");
    ck_assert_uint_eq(json_array_size(json_array_get(
                          json_object_get(json_object_get(json, "trajectory"), "x"), 1)),
                      2);
    json_decref(json);
}
END_TEST

START_TEST(every_step_of_a_fixed_grid_has_the_grids_times)
{
    fm_model_info model = proto_case_plain();
    json_t *json =
        sample_answer(&model, "{\"num_samples\": 2, \"solver\": {\"time_grid\": [0, 0.75, 1]}, "
                              "\"trajectory\": {\"every_step\": true}}");
    check_member(json, "trajectory", "times", "[0,0.75,1]");
    const json_t *x = json_object_get(json_object_get(json, "trajectory"), "x");
    ck_assert_uint_eq(json_array_size(json_array_get(x, 1)), 3); /* filled up */
    ck_assert_ptr_null(json_object_get(json_object_get(json, "solver"), "steps"));
    json_decref(json);
}
END_TEST

START_TEST(options_that_the_method_reads_are_echoed)
{
    fm_model_info model = proto_case_plain();
    json_t *json = sample_answer(
        &model, "{\"num_samples\": 2, \"solver\": {\"method\": \"edm_heun\", \"steps\": 1, "
                "\"churn\": 2.5, \"churn_range\": [0.25, 50]}}");
    check_member(json, "solver", NULL,
                 "{\"method\":\"edm_heun\",\"steps\":1,\"churn\":2.5,\"noise_scale\":1,"
                 "\"churn_range\":[0.25,50],\"max_evaluations\":10000,\"time_grid\":[0,1]}");
    json_decref(json);
    json = sample_answer(
        &model, "{\"num_samples\": 2, \"solver\": {\"method\": \"predictor_corrector\", "
                "\"steps\": 1, \"diffusion\": {\"type\": \"linear\"}, \"last_step\": \"euler\"}}");
    check_member(
        json, "solver", NULL,
        "{\"method\":\"predictor_corrector\",\"steps\":1,\"snr\":0.16,\"corrector_steps\":1,"
        "\"diffusion\":{\"type\":\"linear\",\"norm\":1},\"last_step\":\"euler\","
        "\"max_evaluations\":10000,\"time_grid\":[0,1]}");
    json_decref(json);
}
END_TEST

START_TEST(a_schedule_is_echoed_with_its_times)
{
    fm_model_info model = proto_case_plain(); /* whose default of 20 steps gives way */
    json_t *json = sample_answer(
        &model, "{\"num_samples\": 2, \"solver\": {\"schedule\": {\"type\": \"shift\", "
                "\"steps\": 2, \"shift\": 4}}}");
    check_member(
        json, "solver", NULL,
        "{\"method\":\"midpoint\",\"schedule\":{\"type\":\"shift\",\"steps\":2,\"shift\":4},"
        "\"max_evaluations\":10000,\"time_grid\":[0,0.19999999999999996,1]}");
    json_decref(json);
}
END_TEST

START_TEST(another_path_is_echoed_with_all_its_parameters)
{
    fm_model_info model = proto_case_plain();
    json_t *json = sample_answer(&model, "{\"num_samples\": 2, \"scheduler\": {\"type\": \"vp\", "
                                         "\"beta_min\": 0.5, \"beta_max\": 10}}");
    check_member(json, "scheduler", NULL, "{\"type\":\"vp\",\"beta_min\":0.5,\"beta_max\":10}");
    json_decref(json);
}
END_TEST

/* Bytes of a base64 member, after its dtype and shape. */
static void check_base64(const json_t *object, const char *dtype, const char *shape,
                         const void *bytes, size_t length)
{
    check_member(object, "shape", NULL, shape);
    ck_assert_str_eq(json_string_value(json_object_get(object, "dtype")), dtype);
    const json_t *data = json_object_get(object, "data");
    void *decoded = malloc(length);
    ck_assert_ptr_nonnull(decoded);
    ck_assert(fmp_base64_read(json_string_value(data), json_string_length(data), decoded, length));
    ck_assert_mem_eq(decoded, bytes, length);
    free(decoded);
}

START_TEST(base64_answers_hold_the_same_numbers)
{
    fm_model_info model = proto_case_plain();
    json_t *json = sample_answer(&model, "{\"encoding\": \"base64\", \"num_samples\": 2, "
                                         "\"trajectory\": {\"points\": 3}}");
    check_base64(json_object_get(json, "samples"), "float32", "[2,2]", states, sizeof states);
    const double times[] = {0, 0.5, 1};
    const json_t *answer = json_object_get(json, "trajectory");
    check_base64(json_object_get(answer, "times"), "float64", "[3]", times, sizeof times);
    float filled[N_ROWS][3][2];
    memcpy(filled, trajectory, sizeof filled);
    memcpy(filled[1][2], filled[1][1], sizeof filled[1][1]);
    check_base64(json_object_get(answer, "x"), "float32", "[2,3,2]", filled, sizeof filled);
    json_decref(json);
}
END_TEST

START_TEST(velocity_answers_have_the_fields_asked_for)
{
    fm_model_info model = proto_case_plain();
    fmp_rows rows = made_rows();
    fmp_request request = {
        .spec = {.task = FM_TASK_VELOCITY,
                 .n_rows = N_ROWS,
                 .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)}};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_velocity(&buffer, &request, &model, "01J", &rows);
    ck_assert_uint_le(buffer.length, fmp_request_answer_bytes(&request, &model));
    fmp_buffer_append(&buffer, "", 1);
    ck_assert_str_eq(buffer.data,
                     "{\"id\":\"01J\",\"model\":\"two-moons\",\"model_version\":\"sha256:00ff\","
                     "\"velocity\":[[0.12,-0.55],[1.31,0.02]],\"log_density\":[-1.25,null],"
                     "\"stats\":{\"status\":[\"ok\",\"max_evaluations\"],\"queue_ms\":0.4,"
                     "\"compute_ms\":3.1}}");
    fmp_buffer_done(&buffer);

    request.encoding = FMP_ENCODING_BASE64;
    request.spec.fields = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY);
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_velocity(&buffer, &request, &model, "01J", &rows);
    json_t *json = read_back(&buffer);
    const double logs[] = {-1.25, -DBL_MAX};
    check_base64(json_object_get(json, "log_density"), "float64", "[2]", logs, sizeof logs);
    ck_assert_ptr_null(json_object_get(json, "velocity"));
    json_decref(json);
}
END_TEST

START_TEST(npy_files_are_as_numpy_writes_them)
{
    fm_model_info model = proto_case_plain();
    fmp_rows rows = made_rows();
    fmp_request request = {.spec = {.n_rows = N_ROWS}, .encoding = FMP_ENCODING_NPY};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_npy(&buffer, &request, &model, &rows);
    /* numpy.save() of a float32 array of shape (2, 2), NumPy 1.24 */
    static const char header[] =
        "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, "
        "'shape': (2, 2), }";
    ck_assert_uint_eq(buffer.length, 128 + sizeof states);
    ck_assert_mem_eq(buffer.data, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < 127; i++) {
        ck_assert_int_eq(buffer.data[i], ' ');
    }
    ck_assert_int_eq(buffer.data[127], '\n');
    ck_assert_mem_eq(buffer.data + 128, states, sizeof states);
    ck_assert_uint_le(buffer.length, fmp_request_answer_bytes(&request, &model));
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(without_a_velocity_there_is_no_npy_but_json)
{
    fm_model_info model = proto_case_plain();
    fmp_rows rows = made_rows();
    fmp_request request = {.spec = {.task = FM_TASK_VELOCITY,
                                    .n_rows = N_ROWS,
                                    .fields = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)},
                           .encoding = FMP_ENCODING_NPY};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_rows(&buffer, &request, &model, "01J", &rows);
    json_t *json = read_back(&buffer);
    check_member(json, "log_density", NULL, "[-1.25,null]");
    ck_assert_ptr_null(json_object_get(json, "velocity"));
    json_decref(json);

    request.spec.fields |= FM_FIELD_BIT(FM_FIELD_VELOCITY);
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_rows(&buffer, &request, &model, "01J", &rows);
    ck_assert_mem_eq(buffer.data, "\x93NUMPY", 6);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(an_answer_over_the_buffers_limit_fails_as_a_whole)
{
    fmp_rows rows = made_rows();
    fm_model_info plain = proto_case_plain();
    fmp_request request = parsed(&plain, "{\"num_samples\": 2, \"trajectory\": {\"points\": 3}}");
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_sample(&buffer, &request, &plain, "01J", &rows);
    size_t needed = buffer.length;
    fmp_buffer_done(&buffer);
    for (size_t limit = 0; limit <= needed; limit++) {
        fmp_buffer_init(&buffer, limit);
        fmp_response_write_sample(&buffer, &request, &plain, "01J", &rows);
        ck_assert_int_eq(buffer.failed, limit < needed);
        fmp_buffer_done(&buffer);
    }
    fmp_request_done(&request);
}
END_TEST

START_TEST(models_are_listed_with_what_they_are)
{
    fm_model_info plain = proto_case_plain();
    fm_model_info labelled = proto_case_labelled();
    fm_model_info image = proto_case_image();
    labelled.second_prediction = "score";
    labelled.paired = true;
    fm_model_info classifier = proto_case_without_null();
    classifier.prediction = "classifier";
    classifier.is_classifier = true;
    image.has_divergence = false;
    const fm_model_info *models[] = {&plain, &labelled, &image, &classifier};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_models(&buffer, models, 4);
    json_t *json = read_back(&buffer);
    check_member(json, "object", NULL, "\"list\"");
    const json_t *data = json_object_get(json, "data");
    ck_assert_uint_eq(json_array_size(data), 4);
    const json_t *first = json_array_get(data, 0);
    const json_t *second = json_array_get(data, 1);
    check_member(first, "id", NULL, "\"two-moons\"");
    check_member(first, "output", NULL, "{\"kind\":\"points\"}");
    check_member(json_array_get(data, 2), "output", NULL, "{\"kind\":\"image\",\"range\":[0,2]}");
    check_member(first, "labels", NULL, "null");
    check_member(first, "prediction", NULL, "\"velocity\"");
    check_member(first, "coupling", NULL, "\"independent\"");
    check_member(second, "prediction", NULL, "[\"velocity\",\"score\"]");
    check_member(second, "coupling", NULL, "\"paired\"");
    check_member(first, "shape", NULL, "[2]");
    check_member(
        first, "supports", NULL,
        "[\"sample\",\"velocity\",\"encode\",\"log_likelihood\",\"interpolate\",\"edit\"]");
    check_member(first, "defaults", "solver", "{\"method\":\"midpoint\",\"steps\":20}");
    check_member(second, "shape", NULL, "[2,3]");
    check_member(second, "labels", NULL,
                 "{\"count\":3,\"null\":3,\"names\":[\"zero\",\"one\",\"two\"]}");
    check_member(second, "supports", NULL,
                 "[\"sample\",\"velocity\",\"encode\",\"log_likelihood\",\"interpolate\",\"edit\","
                 "\"log_density\",\"guidance\"]");
    check_member(json_array_get(data, 2), "supports", NULL,
                 "[\"sample\",\"velocity\",\"encode\",\"interpolate\",\"edit\"]");
    const json_t *last = json_array_get(data, 3);
    check_member(last, "prediction", NULL, "\"classifier\"");
    check_member(last, "labels", "null", "null");
    check_member(last, "supports", NULL, "[]");
    check_member(last, "defaults", NULL, "{}");
    json_decref(json);
}
END_TEST

START_TEST(every_method_is_listed)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_solvers(&buffer);
    json_t *json = read_back(&buffer);
    const json_t *data = json_object_get(json, "data");
    ck_assert_uint_eq(json_array_size(data), fm_method_count());
    for (size_t i = 0; i < fm_method_count(); i++) {
        const json_t *method = json_array_get(data, i);
        const fm_method_info *info = fm_method_describe(fm_method_at(i));
        ck_assert_str_eq(json_string_value(json_object_get(method, "id")), info->name);
        ck_assert_int_eq(json_is_true(json_object_get(method, "adaptive")), info->adaptive);
        static const char *const words[][2] = {
            {"euclidean", "[\"euclidean\"]"},
            {"euclidean manifolds", "[\"euclidean\",\"manifolds\"]"},
            {"tokens", "[\"tokens\"]"},
            {"jumps", "[\"jumps\"]"}};
        size_t k = 0;
        while (k < 4 && strcmp(words[k][0], info->spaces) != 0) {
            k++;
        }
        ck_assert_uint_lt(k, 4);
        check_member(method, "spaces", NULL, words[k][1]);
    }
    json_decref(json);
}
END_TEST

START_TEST(the_version_names_the_build)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_response_write_version(&buffer, "1.2.3");
    json_t *json = read_back(&buffer);
    check_member(json, "version", NULL, "\"1.2.3\"");
    ck_assert_str_eq(json_string_value(json_object_get(json, "kernels")), fm_build()->kernels);
    json_decref(json);
}
END_TEST

START_TEST(base64_joins_its_pieces)
{
    uint8_t bytes[10000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + i / 256);
    }
    for (size_t length = 0; length < sizeof bytes; length += length < 20 ? 1 : 997) {
        fmp_buffer buffer;
        fmp_buffer_init(&buffer, SIZE_MAX);
        fmp_base64 base64;
        fmp_base64_init(&base64);
        for (size_t done = 0, piece = 1; done < length; done += piece++) {
            piece = piece < length - done ? piece : length - done;
            fmp_base64_write(&base64, &buffer, bytes + done, piece);
        }
        fmp_base64_finish(&base64, &buffer);
        ck_assert(!buffer.failed);
        ck_assert_uint_eq(buffer.length, fmp_base64_encoded_length(length));
        uint8_t back[sizeof bytes];
        ck_assert(fmp_base64_read(buffer.data, buffer.length, back, length));
        ck_assert_mem_eq(back, bytes, length);
        fmp_buffer_done(&buffer);
    }
}
END_TEST

static const struct {
    const char *text;
    size_t length;
    bool good;
} base64_texts[] = {
    /* RFC 4648 section 10 */
    {"", 0, true},
    {"Zg==", 1, true},
    {"Zm8=", 2, true},
    {"Zm9v", 3, true},
    {"Zm9vYmFy", 6, true},
    /* wrong length, padding, stray bits, alphabet, white space */
    {"Zm9v", 2, false},
    {"Zm8=", 3, false},
    {"Zg", 1, false},
    {"Zh==", 1, false},
    {"Zm9=", 2, false},
    {"Zg==Zg==", 4, false},
    {"Zm9-", 3, false},
    {"Zm 9vYmF", 6, false},
    {"Zm9v\nYmF", 6, false},
    {"====", 1, false},
};

START_TEST(base64_is_read_strictly)
{
    uint8_t bytes[16];
    ck_assert_int_eq(fmp_base64_read(base64_texts[_i].text, strlen(base64_texts[_i].text), bytes,
                                     base64_texts[_i].length),
                     base64_texts[_i].good);
    if (base64_texts[_i].good) {
        ck_assert_mem_eq(bytes, "foobar", base64_texts[_i].length);
    }
}
END_TEST

Suite *suite_proto_response(void)
{
    Suite *suite = suite_create("proto/response");
    TCase *tcase = tcase_create("jobs");
    tcase_add_test(tcase, a_sample_answer_has_everything_the_contract_shows);
    tcase_add_test(tcase, guidance_is_echoed_with_channels_where_fewer_than_all_were_asked_for);
    tcase_add_loop_test(tcase, the_seed_is_echoed_as_sent, 0, sizeof seeds / sizeof *seeds);
    tcase_add_test(tcase, an_adaptive_answer_has_its_tolerances_and_interval);
    tcase_add_test(tcase, every_step_of_a_fixed_grid_has_the_grids_times);
    tcase_add_test(tcase, options_that_the_method_reads_are_echoed);
    tcase_add_test(tcase, a_schedule_is_echoed_with_its_times);
    tcase_add_test(tcase, another_path_is_echoed_with_all_its_parameters);
    tcase_add_test(tcase, base64_answers_hold_the_same_numbers);
    tcase_add_test(tcase, velocity_answers_have_the_fields_asked_for);
    tcase_add_test(tcase, npy_files_are_as_numpy_writes_them);
    tcase_add_test(tcase, without_a_velocity_there_is_no_npy_but_json);
    tcase_add_test(tcase, an_answer_over_the_buffers_limit_fails_as_a_whole);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("lists");
    tcase_add_test(tcase, models_are_listed_with_what_they_are);
    tcase_add_test(tcase, every_method_is_listed);
    tcase_add_test(tcase, the_version_names_the_build);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("base64");
    tcase_add_test(tcase, base64_joins_its_pieces);
    tcase_add_loop_test(tcase, base64_is_read_strictly, 0,
                        sizeof base64_texts / sizeof *base64_texts);
    suite_add_tcase(suite, tcase);
    return suite;
}
