/* Bytes that a request and its recordings take, counted before they do. */
#include "proto/request.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

/* ---- A request's own arrays ---- */

static size_t array_bytes(proto_case_model *make, fmp_api_route route, const char *body)
{
    fm_model_info model = make();
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(proto_case_parse(make, route, body, &request, &problem), "%s: %s", body,
                  problem.detail);
    size_t bytes = fmp_request_array_bytes(&request, &model);
    fmp_request_done(&request);
    return bytes;
}

START_TEST(a_request_counts_the_arrays_that_it_owns)
{
    const size_t grid = 21 * 8;
    ck_assert_uint_eq(array_bytes(proto_case_plain, FMP_API_SAMPLE, "{}"), grid);
    ck_assert_uint_eq(array_bytes(proto_case_plain, FMP_API_SAMPLE, "{\"num_samples\": 1000}"),
                      grid);
    ck_assert_uint_eq(
        array_bytes(proto_case_plain, FMP_API_SAMPLE, "{\"x0\": [[1, 2], [3, 4], [5, 6]]}"),
        grid + 3 * 2 * 8);
    ck_assert_uint_eq(
        array_bytes(proto_case_plain, FMP_API_SAMPLE, "{\"trajectory\": {\"points\": 5}}"),
        grid + 5 * 8);
    ck_assert_uint_eq(
        array_bytes(proto_case_plain, FMP_API_SAMPLE, "{\"trajectory\": {\"every_step\": true}}"),
        grid);
    ck_assert_uint_eq(array_bytes(proto_case_labelled, FMP_API_SAMPLE, "{\"labels\": [1, 2, 0]}"),
                      2 * 8 + 3 * 4);
    ck_assert_uint_eq(
        array_bytes(proto_case_labelled, FMP_API_SAMPLE, "{\"labels\": 1, \"num_samples\": 7}"),
        2 * 8 + 7 * 4);
    ck_assert_uint_eq(
        array_bytes(proto_case_plain, FMP_API_VELOCITY, "{\"x\": [[1, 2], [3, 4]], \"t\": 0.5}"),
        2 * 2 * 8 + 2 * 8);
    fm_model_info model = proto_case_plain();
    fmp_request request = proto_case_sample(proto_case_plain, "{\"x0\": [[1, 2], [3, 4]]}");
    model.dimension = SIZE_MAX / 8;
    ck_assert_uint_eq(fmp_request_array_bytes(&request, &model), SIZE_MAX);
    fmp_request_done(&request);
}
END_TEST

/* ---- Recordings ---- */

static size_t recording_bytes(const char *body)
{
    fm_model_info model = proto_case_labelled();
    fmp_request request = proto_case_sample(proto_case_labelled, body);
    size_t bytes = fmp_request_recording_bytes(&request, &model);
    fmp_request_done(&request);
    return bytes;
}

START_TEST(recordings_of_adaptive_steps_have_a_bound_and_others_need_none)
{
    /* dopri5: six evaluations a step; 6 float32 and a float64 a state; room doubles, from 32 states */
    ck_assert_uint_eq(
        recording_bytes("{\"trajectory\": {\"every_step\": true}, \"num_samples\": 3}"),
        3 * 2 * (10000 / 6 + 1) * 32);
    ck_assert_uint_eq(
        recording_bytes("{\"trajectory\": {\"every_step\": true}, \"num_samples\": 3, "
                        "\"solver\": {\"method\": \"dopri8\", "
                        "\"max_evaluations\": 20000}}"),
        3 * 2 * (20000 / 13 + 1) * 32);
    ck_assert_uint_eq(
        recording_bytes("{\"trajectory\": {\"every_step\": true}, \"num_samples\": 3, "
                        "\"solver\": {\"max_evaluations\": 6}}"),
        3 * 32 * 32);
    ck_assert_uint_eq(recording_bytes("{}"), 0);
    ck_assert_uint_eq(recording_bytes("{\"trajectory\": {\"points\": 9}}"), 0);
    ck_assert_uint_eq(recording_bytes("{\"trajectory\": {\"every_step\": true}, "
                                      "\"solver\": {\"method\": \"euler\"}}"),
                      0);
    fm_model_info model = proto_case_labelled();
    fmp_request request =
        proto_case_sample(proto_case_labelled, "{\"trajectory\": {\"every_step\": true}}");
    model.dimension = SIZE_MAX / 8;
    ck_assert_uint_eq(fmp_request_recording_bytes(&request, &model), SIZE_MAX);
    fmp_request_done(&request);
}
END_TEST

Suite *suite_proto_answer_size(void)
{
    Suite *suite = suite_create("proto/answer_size");
    TCase *tcase = tcase_create("sizes");
    tcase_add_test(tcase, a_request_counts_the_arrays_that_it_owns);
    tcase_add_test(tcase, recordings_of_adaptive_steps_have_a_bound_and_others_need_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
