/* Problem documents: RFC 9457 members, every broken rule, and nothing of the host in a 500. */
#include "proto/problem.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

static json_t *written(const fmp_problem *problem, const char *request_id)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_problem_write(&buffer, problem, request_id);
    ck_assert(!buffer.failed);
    json_error_t error;
    json_t *json = json_loadb(buffer.data, buffer.length, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json != NULL, "%s in %.*s", error.text, (int)buffer.length, buffer.data);
    fmp_buffer_done(&buffer);
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text != NULL ? text : "(absent)";
}

START_TEST(a_broken_rule_is_named_by_pointer_and_in_the_detail)
{
    fmp_problem problem = {0};
    fmp_problem_add(&problem, "/solver/steps", "must be an integer from %d to %d", 1, 10000);
    fmp_problem_add(&problem, "/labels/3", "must be at most 7");
    json_t *json = written(&problem, "01JABC");
    ck_assert_str_eq(text_of(json, "type"), "urn:velocityd:problem:invalid-request");
    ck_assert_str_eq(text_of(json, "title"), "Invalid request");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "status")), 422);
    ck_assert_str_eq(text_of(json, "detail"), "solver.steps must be an integer from 1 to 10000");
    ck_assert_str_eq(text_of(json, "request_id"), "01JABC");
    const json_t *errors = json_object_get(json, "errors");
    ck_assert_uint_eq(json_array_size(errors), 2);
    ck_assert_str_eq(text_of(json_array_get(errors, 0), "pointer"), "/solver/steps");
    ck_assert_str_eq(text_of(json_array_get(errors, 0), "detail"),
                     "must be an integer from 1 to 10000");
    ck_assert_str_eq(text_of(json_array_get(errors, 1), "pointer"), "/labels/3");
    json_decref(json);
}
END_TEST

static const struct {
    const char *pointer, *detail;
} names[] = {
    {"", "the body is wrong"},          {"/labels/3", "labels[3] is wrong"},
    {"/x0/1/20", "x0[1][20] is wrong"}, {"/x0/1/data", "x0[1].data is wrong"},
    {"/a/3d", "a.3d is wrong"},
};

START_TEST(pointers_read_as_names)
{
    fmp_problem problem = {0};
    fmp_problem_add(&problem, names[_i].pointer, "is wrong");
    ck_assert_str_eq(problem.detail, names[_i].detail);
}
END_TEST

START_TEST(hundreds_of_errors_are_listed_and_those_beyond_are_counted)
{
    fmp_problem problem = {0};
    enum { N_ERRORS = 1000 };
    for (size_t i = 0; i < N_ERRORS; i++) {
        char pointer[32];
        (void)snprintf(pointer, sizeof pointer, "/x0/%zu/1", i);
        fmp_problem_add(&problem, pointer, "must be a number within the range of float32");
    }
    json_t *json = written(&problem, "id");
    const json_t *errors = json_object_get(json, "errors");
    size_t listed = json_array_size(errors);
    ck_assert_uint_ge(listed, 200);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "errors_not_listed")),
                     (json_int_t)(N_ERRORS - listed));
    for (size_t i = 0; i < listed; i++) {
        char pointer[32];
        (void)snprintf(pointer, sizeof pointer, "/x0/%zu/1", i);
        ck_assert_str_eq(text_of(json_array_get(errors, i), "pointer"), pointer);
        ck_assert_str_eq(text_of(json_array_get(errors, i), "detail"),
                         "must be a number within the range of float32");
    }
    json_decref(json);
}
END_TEST

START_TEST(the_longest_errors_fill_the_list_and_not_more)
{
    char pointer[FMP_POINTER_BYTES + 9], detail[FMP_DETAIL_BYTES + 9];
    memset(pointer, 'p', sizeof pointer);
    memset(detail, 'd', sizeof detail);
    pointer[sizeof pointer - 1] = detail[sizeof detail - 1] = '\0';
    fmp_problem problem = {0};
    for (size_t i = 0; i < 100; i++) {
        fmp_problem_add(&problem, pointer, "%s", detail);
        fmp_problem_add(&problem, "/a", "b"); /* is not listed before those that came earlier */
    }
    ck_assert_uint_eq(problem.n_errors, 200);
    ck_assert_uint_le(problem.errors_length, FMP_ERRORS_BYTES);
    fmp_problem_error error;
    size_t listed = 0;
    for (size_t at = 0; fmp_problem_next_error(&problem, &at, &error); listed++) {
        ck_assert_uint_eq(strlen(error.pointer), listed % 2 == 0 ? FMP_POINTER_BYTES - 1 : 2);
        ck_assert_uint_eq(strlen(error.detail), listed % 2 == 0 ? FMP_DETAIL_BYTES - 1 : 1);
    }
    ck_assert_uint_eq(listed, problem.n_listed);
    ck_assert_uint_ge(listed, 60);
}
END_TEST

START_TEST(any_bytes_make_valid_json)
{
    fmp_problem problem = {0};
    fmp_problem_set(&problem, FMP_PROBLEM_NOT_FOUND,
                    "no \"%s\"\n\x01\\ \xff\xc0\xaf \xed\xa0\x80 %s", "model", "\xe2\x82\xac");
    json_t *json = written(&problem, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "status")), 404);
    ck_assert_ptr_null(json_object_get(json, "request_id"));
    const char *bad = "\xef\xbf\xbd";
    char expected[64];
    (void)snprintf(expected, sizeof expected, "no \"model\"\n\x01\\ %s%s%s %s%s%s \xe2\x82\xac",
                   bad, bad, bad, bad, bad, bad);
    ck_assert_str_eq(text_of(json, "detail"), expected);
    json_decref(json);
}
END_TEST

START_TEST(texts_that_do_not_fit_are_cut_and_stay_valid)
{
    char pointer[400];
    char text[2000];
    memset(pointer, '/', sizeof pointer - 1);
    pointer[sizeof pointer - 1] = '\0';
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        text[i] = "\xe2\x82\xac"[i % 3]; /* will be cut inside a character */
    }
    text[sizeof text - 1] = '\0';
    fmp_problem problem = {0};
    fmp_problem_add(&problem, pointer, "%s", text);
    json_decref(written(&problem, text));
    fmp_problem_set(&problem, FMP_PROBLEM_MALFORMED, "%s", text);
    json_decref(written(&problem, text));
}
END_TEST

START_TEST(retry_after_is_written_where_there_is_one)
{
    fmp_problem problem = {0};
    fmp_problem_set(&problem, FMP_PROBLEM_QUEUE_FULL, "come back");
    problem.retry_after_ms = 1500;
    json_t *json = written(&problem, "id");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "retry_after_ms")), 1500);
    ck_assert_ptr_null(json_object_get(json, "errors"));
    json_decref(json);
}
END_TEST

static const struct {
    fm_status status;
    int http;
} statuses[] = {
    {FM_OK, 500},        {FM_EINVAL, 422},    {FM_ENOMEM, 503},       {FM_EIO, 500},
    {FM_EFORMAT, 500},   {FM_ENOTFOUND, 404}, {FM_EUNSUPPORTED, 422}, {FM_ECANCELED, 499},
    {FM_EDEADLINE, 504}, {FM_EFULL, 429},     {FM_EDRAINING, 503},    {FM_ETOOBIG, 413},
    {FM_EINTERNAL, 500},
};

START_TEST(an_engine_failure_has_its_http_status)
{
    fm_error error = {0};
    int expected = statuses[_i].http;
    (void)fm_fail(&error, statuses[_i].status, "cannot read /srv/secret/model.safetensors");
    fmp_problem problem = {0};
    fmp_problem_from_error(&problem, &error);
    ck_assert_int_eq(fmp_problem_status(&problem), expected);
    if (expected == 500) {
        ck_assert_ptr_null(strstr(problem.detail, "secret"));
    } else {
        ck_assert_str_eq(problem.detail, error.text);
    }
}
END_TEST

Suite *suite_proto_problem(void)
{
    Suite *suite = suite_create("proto/problem");
    TCase *tcase = tcase_create("problem");
    tcase_add_test(tcase, a_broken_rule_is_named_by_pointer_and_in_the_detail);
    tcase_add_loop_test(tcase, pointers_read_as_names, 0, sizeof names / sizeof *names);
    tcase_add_test(tcase, hundreds_of_errors_are_listed_and_those_beyond_are_counted);
    tcase_add_test(tcase, the_longest_errors_fill_the_list_and_not_more);
    tcase_add_test(tcase, any_bytes_make_valid_json);
    tcase_add_test(tcase, texts_that_do_not_fit_are_cut_and_stay_valid);
    tcase_add_test(tcase, retry_after_is_written_where_there_is_one);
    tcase_add_loop_test(tcase, an_engine_failure_has_its_http_status, 0,
                        sizeof statuses / sizeof *statuses);
    suite_add_tcase(suite, tcase);
    return suite;
}
