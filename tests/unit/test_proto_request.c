/* Requests: what a body becomes. What is refused: test_proto_request_rules.c. */
#include "proto/number.h"
#include "proto/request.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *method_of(const fmp_request *request)
{
    return fm_method_describe(request->spec.solver.method)->name;
}

/* ---- What a request becomes ---- */

START_TEST(an_empty_body_takes_the_models_defaults)
{
    static const char *const bodies[] = {"", "{}", " { } "};
    for (size_t i = 0; i < 3; i++) {
        fmp_request request = proto_case_sample(proto_case_plain, bodies[i]);
        ck_assert_uint_eq(request.spec.n_rows, 1);
        ck_assert_uint_eq(request.spec.seed, PROTO_CASE_SEED);
        ck_assert_str_eq(method_of(&request), "midpoint");
        ck_assert(request.grid_from_steps);
        ck_assert_uint_eq(request.n_steps, 20);
        ck_assert_uint_eq(request.spec.solver.n_grid, 21);
        ck_assert(request.spec.solver.grid[0] == 0 && request.spec.solver.grid[20] == 1);
        ck_assert_uint_eq(request.spec.solver.max_evaluations, 10000);
        ck_assert(request.spec.guidance.scale == 1);
        ck_assert_ptr_null(request.spec.labels);
        ck_assert_ptr_null(request.spec.x);
        ck_assert_uint_eq(request.timeout_ms, 30000);
        ck_assert_int_eq(request.encoding, FMP_ENCODING_JSON);
        fmp_request_done(&request);
    }
}
END_TEST

START_TEST(base_defaults_are_midpoint_and_50_steps_over_the_sample_range)
{
    fmp_request request = proto_case_sample(proto_case_without_null, "{\"labels\": 1}");
    ck_assert_str_eq(method_of(&request), "midpoint");
    ck_assert_uint_eq(request.n_steps, 50);
    ck_assert(request.spec.solver.grid[0] == 0.001 && request.spec.solver.grid[50] == 0.999);
    ck_assert(request.spec.solver.rtol == 1e-5 && request.spec.solver.atol == 1e-5);
    fmp_request_done(&request);
}
END_TEST

#define POINT "[[1, 2, 3], [4, 5, 6]]"

/* What is made of points must lead back to them; a density needs no more than it shows. */
START_TEST(given_points_have_methods_of_their_own_whatever_the_model_says)
{
    static const struct {
        fmp_api_route route;
        const char *body, *method;
    } rows[] = {
        {FMP_API_ENCODE, "{\"x1\": [" POINT "]}", "dopri8"},
        {FMP_API_INTERPOLATE, "{\"x1\": [" POINT ", " POINT "]}", "dopri8"},
        {FMP_API_EDIT, "{\"x1\": [" POINT "]}", "dopri8"},
        {FMP_API_LOG_LIKELIHOOD, "{\"x\": [" POINT "]}", "dopri5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fmp_request request;
        fmp_problem problem;
        ck_assert(
            proto_case_parse(proto_case_labelled, rows[i].route, rows[i].body, &request, &problem));
        ck_assert_str_eq(method_of(&request), rows[i].method);
        ck_assert(request.spec.solver.rtol == 1e-5 && request.spec.solver.atol == 1e-5);
        fmp_request_done(&request);
    }
}
END_TEST

START_TEST(a_solver_without_method_is_merged_and_with_one_replaces)
{
    fmp_request request = proto_case_sample(proto_case_labelled, "{\"solver\": {\"atol\": 1e-3}}");
    ck_assert_str_eq(method_of(&request), "dopri5");
    ck_assert(request.spec.solver.rtol == 1e-4 && request.spec.solver.atol == 1e-3);
    ck_assert_uint_eq(request.spec.solver.n_grid, 2);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled, "{\"solver\": {\"method\": \"dopri5\"}}");
    ck_assert(request.spec.solver.rtol == 1e-5);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain, "{\"solver\": {\"max_evaluations\": 7}}");
    ck_assert_uint_eq(request.n_steps, 20);
    ck_assert_uint_eq(request.spec.solver.max_evaluations, 7);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain, "{\"solver\": {\"method\": \"euler\"}}");
    ck_assert_uint_eq(request.n_steps, 50);
    fmp_request_done(&request);
}
END_TEST

START_TEST(one_grid_key_removes_the_defaults)
{
    fmp_request request =
        proto_case_sample(proto_case_plain, "{\"solver\": {\"time_grid\": [0, 0.25, 1]}}");
    ck_assert(!request.grid_from_steps);
    ck_assert_uint_eq(request.spec.solver.n_grid, 3);
    ck_assert(request.spec.solver.grid[1] == 0.25);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain, "{\"solver\": {\"step_size\": 0.3}}");
    ck_assert(!request.grid_from_steps);
    ck_assert_uint_eq(request.spec.solver.n_grid, 5);
    ck_assert(request.spec.solver.grid[4] == 1);
    fmp_request_done(&request);
}
END_TEST

START_TEST(an_adaptive_method_takes_its_interval_from_the_grids_ends)
{
    fmp_request request = proto_case_sample(
        proto_case_labelled, "{\"solver\": {\"time_grid\": [0, 0.1, 0.75], \"first_step\": 0.01}}");
    ck_assert_uint_eq(request.spec.solver.n_grid, 2);
    ck_assert(request.spec.solver.grid[0] == 0 && request.spec.solver.grid[1] == 0.75);
    ck_assert(request.spec.solver.first_step == 0.01);
    fmp_request_done(&request);
}
END_TEST

static const struct {
    const char *text;
    uint64_t value;
    bool is_string;
} seeds[] = {
    {"0", 0, false},
    {"9007199254740991", UINT64_C(9007199254740991), false},
    {"7.0", 7, false},
    {"\"0\"", 0, true},
    {"\"18446744073709551615\"", UINT64_MAX, true},
    {"\"9007199254740993\"", UINT64_C(9007199254740993), true},
};

START_TEST(seeds_are_integers_or_decimal_strings)
{
    char body[64];
    (void)snprintf(body, sizeof body, "{\"seed\": %s}", seeds[_i].text);
    fmp_request request = proto_case_sample(proto_case_plain, body);
    ck_assert_uint_eq(request.spec.seed, seeds[_i].value);
    ck_assert_int_eq(request.seed_is_string, seeds[_i].is_string);
    fmp_request_done(&request);
}
END_TEST

START_TEST(labels_are_indices_names_or_null)
{
    fmp_request request =
        proto_case_sample(proto_case_labelled, "{\"labels\": [0, \"two\", null, 3]}");
    const int32_t expected[] = {0, 2, 3, 3};
    ck_assert_uint_eq(request.spec.n_rows, 4);
    ck_assert_mem_eq(request.spec.labels, expected, sizeof expected);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled, "{\"labels\": \"one\", \"num_samples\": 3}");
    const int32_t ones[] = {1, 1, 1};
    ck_assert_mem_eq(request.spec.labels, ones, sizeof ones);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled, "{}");
    ck_assert_ptr_null(request.spec.labels);
    ck_assert_uint_eq(request.spec.n_rows, 4); /* the model's default */
    ck_assert(request.spec.guidance.scale == 2);
    ck_assert_uint_eq(request.spec.guidance.channels, 0);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled, "{\"guidance\": {\"channels\": 1}}");
    ck_assert(request.spec.guidance.scale == 2);
    ck_assert_uint_eq(request.spec.guidance.channels, 1);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled, "{\"guidance\": {\"channels\": \"all\"}}");
    ck_assert_uint_eq(request.spec.guidance.channels, 0);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_tensor_reads_the_same_from_lists_and_from_base64)
{
    /* struct.pack('<4f', 1.5, -2, 0, 0.25) and '<4d' in Python's base64 */
    static const char *const bodies[] = {
        "{\"x0\": [[1.5, -2], [0, 0.25]]}",
        "{\"x0\": {\"dtype\": \"float32\", \"shape\": [2, 2], \"data\": "
        "\"AADAPwAAAMAAAAAAAACAPg==\"}}",
        "{\"x0\": {\"dtype\": \"float64\", \"shape\": [2, 2], \"data\": "
        "\"AAAAAAAA+D8AAAAAAAAAwAAAAAAAAAAAAAAAAAAA0D8=\"}}",
    };
    const double expected[] = {1.5, -2, 0, 0.25};
    for (size_t i = 0; i < 3; i++) {
        fmp_request request = proto_case_sample(proto_case_plain, bodies[i]);
        ck_assert_uint_eq(request.spec.n_rows, 2);
        ck_assert_mem_eq(request.spec.x, expected, sizeof expected);
        fmp_request_done(&request);
    }
}
END_TEST

/* struct.pack('<3d', 0, 0.25, 1), '<3f' of the same and '<2d', 0.125, 1 in Python's base64 */
#define GRID_DOUBLES                                                                               \
    "\"dtype\": \"float64\", \"shape\": [3], \"data\": \"AAAAAAAAAAAAAAAAAADQPwAAAAAAAPA/\""
#define GRID_FLOATS "\"dtype\": \"float32\", \"shape\": [3], \"data\": \"AAAAAAAAgD4AAIA/\""
#define TIMES_DOUBLES                                                                              \
    "\"dtype\": \"float64\", \"shape\": [2], \"data\": \"AAAAAAAAwD8AAAAAAADwPw==\""

START_TEST(times_read_the_same_from_lists_and_from_base64)
{
    static const char *const bodies[] = {
        "{\"solver\": {\"time_grid\": [0, 0.25, 1]}, \"trajectory\": {\"times\": [0.125, 1]}}",
        "{\"solver\": {\"time_grid\": {" GRID_DOUBLES
        "}}, \"trajectory\": {\"times\": {" TIMES_DOUBLES "}}}",
        "{\"solver\": {\"time_grid\": {" GRID_FLOATS "}}, \"trajectory\": {\"times\": [0.125, 1]}}",
    };
    const double grid[] = {0, 0.25, 1}, times[] = {0.125, 1};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        fmp_request request = proto_case_sample(proto_case_plain, bodies[i]);
        ck_assert_uint_eq(request.spec.solver.n_grid, 3);
        ck_assert_mem_eq(request.spec.solver.grid, grid, sizeof grid);
        ck_assert_uint_eq(request.spec.n_output_times, 2);
        ck_assert_mem_eq(request.spec.output_times, times, sizeof times);
        fmp_request_done(&request);
    }
    fmp_request request =
        proto_case_sample(proto_case_labelled, "{\"solver\": {\"time_grid\": {" GRID_DOUBLES "}}}");
    ck_assert_uint_eq(request.spec.solver.n_grid, 2); /* an adaptive method's interval */
    ck_assert(request.spec.solver.grid[0] == 0 && request.spec.solver.grid[1] == 1);
    fmp_request_done(&request);
    fmp_problem problem;
    bool parsed = proto_case_parse(proto_case_plain, FMP_API_VELOCITY,
                                   "{\"x\": [[1, 2], [3, 4]], \"t\": {" TIMES_DOUBLES "}}",
                                   &request, &problem);
    ck_assert_msg(parsed, "%s", problem.detail);
    ck_assert_mem_eq(request.spec.t, times, sizeof times);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_default_in_base64_is_used_replaced_and_freed)
{
    fm_model_info model = proto_case_plain();
    fmp_limits limits = proto_case_limits();
    model.defaults_json = "{\"solver\": {\"time_grid\": {" GRID_DOUBLES "}}}";
    static const char *const bodies[] = {"{}", "{\"solver\": {\"steps\": 4}}",
                                         "{\"solver\": {\"time_grid\": {" GRID_FLOATS "}}}"};
    const size_t n_grid[] = {3, 5, 3};
    fmp_problem problem;
    ck_assert(fmp_request_check_defaults(&model, &limits, &problem));
    for (size_t i = 0; i < 3; i++) {
        fmp_request request;
        ck_assert(fmp_request_parse_sample(bodies[i], strlen(bodies[i]), &model, &limits,
                                           FMP_ENCODING_JSON, 1, &request, &problem));
        ck_assert_uint_eq(request.spec.solver.n_grid, n_grid[i]);
        fmp_request_done(&request);
    }
}
END_TEST

/* Written as an answer writes it, and read as x0. */
static void check_round_trip(float value)
{
    char text[FMP_NUMBER_MAX_BYTES], body[128];
    size_t length = fmp_number_write_float(text, value);
    (void)snprintf(body, sizeof body, "{\"x0\": [[%.*s, -%.*s]]}", (int)length, text, (int)length,
                   text);
    fmp_request request = proto_case_sample(proto_case_plain, body);
    const float read[] = {(float)request.spec.x[0], (float)request.spec.x[1]};
    const float expected[] = {value, -value};
    ck_assert_msg(memcmp(read, expected, sizeof read) == 0, "%s", body);
    fmp_request_done(&request);
}

START_TEST(every_number_of_an_answer_is_taken_as_input)
{
    for (int exponent = -45; exponent <= 38; exponent++) {
        char decimal[16];
        (void)snprintf(decimal, sizeof decimal, "1e%d", exponent);
        float power = strtof(decimal, NULL);
        ck_assert(power > 0);
        for (float digit = 1; digit < 10 && isfinite(digit * power); digit++) {
            check_round_trip(digit * power);
        }
    }
    check_round_trip(0); /* and -0, whose sign is kept */
    check_round_trip(FLT_MAX);
    check_round_trip(0x1p63F);
    check_round_trip(nextafterf(0x1p63F, 0)); /* 9223371500000000000, if it had no exponent */
    fmp_request request = proto_case_sample(
        proto_case_plain, "{\"x0\": [[9223372036854775807, -9223372036854775808], "
                          "[9.3e18, 12345678901234567890.0]]}");
    ck_assert(request.spec.x[0] == 0x1p63 && request.spec.x[1] == -0x1p63);
    ck_assert(request.spec.x[2] == 9.3e18 && request.spec.x[3] == 12345678901234567890.0);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_trajectory_is_asked_for_in_three_ways)
{
    fmp_request request = proto_case_sample(proto_case_plain, "{\"trajectory\": {\"points\": 5}}");
    const double points[] = {0, 0.25, 0.5, 0.75, 1};
    ck_assert(request.has_trajectory);
    ck_assert_uint_eq(request.spec.n_output_times, 5);
    ck_assert_mem_eq(request.spec.output_times, points, sizeof points);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain,
                                "{\"trajectory\": {\"times\": [0.125, 1], \"fields\": [\"x\"]}}");
    const double times[] = {0.125, 1};
    ck_assert_uint_eq(request.spec.n_output_times, 2);
    ck_assert_mem_eq(request.spec.output_times, times, sizeof times);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain, "{\"trajectory\": {\"every_step\": true}}");
    ck_assert(request.spec.output_every_step);
    ck_assert_uint_eq(request.spec.n_output_times, 0);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_plain, "{}");
    ck_assert(!request.has_trajectory);
    fmp_request_done(&request);
}
END_TEST

START_TEST(what_is_not_wanted_may_be_said_of_unserved_fields)
{
    fmp_request request = proto_case_sample(
        proto_case_plain, "{\"log_likelihood\": false, \"priority\": 0, \"stream\": false, "
                          "\"preview\": false}");
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_grid_may_start_anywhere_where_x0_is_given)
{
    fmp_request request = proto_case_sample(
        proto_case_plain, "{\"x0\": [[1, 2]], \"solver\": {\"time_grid\": [0.5, 1]}}");
    ck_assert(request.spec.solver.grid[0] == 0.5);
    fmp_request_done(&request);
}
END_TEST

START_TEST(noise_is_drawn_at_the_source_and_a_margin_from_it)
{
    fmp_request request =
        proto_case_sample(proto_case_plain, "{\"solver\": {\"time_grid\": [0.001, 1]}}");
    ck_assert(request.spec.solver.grid[0] == 0.001);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_real_without_a_fraction_is_an_integer_everywhere)
{
    fmp_request request = proto_case_sample(
        proto_case_labelled, "{\"labels\": 1.0, \"num_samples\": 2.0, \"seed\": 7.0, "
                             "\"priority\": 0.0, \"timeout_ms\": 5e3, "
                             "\"trajectory\": {\"points\": 2.0}, "
                             "\"solver\": {\"method\": \"euler\", \"steps\": 4.0}}");
    ck_assert_uint_eq(request.spec.n_rows, 2);
    ck_assert(request.spec.labels[0] == 1 && request.spec.labels[1] == 1);
    ck_assert_uint_eq(request.spec.seed, 7);
    ck_assert_uint_eq(request.timeout_ms, 5000);
    ck_assert_uint_eq(request.spec.n_output_times, 2);
    ck_assert_uint_eq(request.n_steps, 4);
    fmp_request_done(&request);
    request = proto_case_sample(proto_case_labelled, "{\"labels\": [1.0, 2]}");
    ck_assert(request.spec.labels[0] == 1 && request.spec.labels[1] == 2);
    fmp_request_done(&request);
    request = proto_case_sample(proto_case_plain,
                                "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1.0, 2.0], "
                                "\"data\": \"AAAAAAAAAAA=\"}}");
    fmp_request_done(&request);
}
END_TEST

START_TEST(the_least_step_size_that_is_named_is_allowed)
{
    fmp_request request =
        proto_case_sample(proto_case_plain, "{\"solver\": {\"step_size\": 0.005}}");
    ck_assert_uint_eq(request.spec.solver.n_grid, 201);
    fmp_request_done(&request);
}
END_TEST

START_TEST(more_labels_than_samples_allowed_are_called_too_many)
{
    char body[4096] = "{\"labels\": [0";
    size_t length = strlen(body);
    for (size_t i = 0; i < 1000; i++, length += 2) {
        memcpy(body + length, ",0", 2);
    }
    memcpy(body + length, "]}", 3);
    fmp_request request;
    fmp_problem problem;
    ck_assert(!proto_case_parse(proto_case_labelled, FMP_API_SAMPLE, body, &request, &problem));
    ck_assert_uint_eq(problem.n_errors, 1);
    ck_assert_str_eq(problem.detail,
                     "labels must have 1 to 1000 entries, one a point; it has 1001");
}
END_TEST

START_TEST(pictures_are_an_encoding_of_images)
{
    fmp_request request = proto_case_sample(proto_case_image, "{\"encoding\": \"png\"}");
    ck_assert_int_eq(request.encoding, FMP_ENCODING_PNG);
    fmp_request_done(&request);
    /* The states on the way stay lists, so that each sample may have its own. */
    request = proto_case_sample(proto_case_image,
                                "{\"encoding\": \"png\", \"solver\": {\"method\": \"dopri5\"}, "
                                "\"trajectory\": {\"every_step\": true}}");
    ck_assert_int_eq(request.encoding, FMP_ENCODING_PNG);
    fmp_request_done(&request);
}
END_TEST

START_TEST(what_is_accepted_is_stronger_than_the_encoding)
{
    static const fmp_encoding accepted[] = {FMP_ENCODING_NPY, FMP_ENCODING_PNG_GRID};
    static const char body[] = "{\"encoding\": \"base64\", \"num_samples\": 999}";
    fm_model_info model = proto_case_image();
    fmp_limits limits = proto_case_limits();
    limits.max_answer_bytes = 80000; /* as lists, 999 samples need more */
    for (size_t i = 0; i < 2; i++) {
        fmp_request request;
        fmp_problem problem;
        ck_assert_msg(fmp_request_parse_sample(body, sizeof body - 1, &model, &limits, accepted[i],
                                               PROTO_CASE_SEED, &request, &problem),
                      "%s", problem.detail);
        ck_assert_int_eq(request.encoding, accepted[i]);
        fmp_request_done(&request);
        ck_assert(!fmp_request_parse_sample(body, sizeof body - 1, &model, &limits,
                                            FMP_ENCODING_JSON, PROTO_CASE_SEED, &request,
                                            &problem));
        ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE);
    }
}
END_TEST

START_TEST(more_than_a_picture_holds_is_too_large)
{
    static const char body[] = "{\"num_samples\": 999}";
    fm_model_info model = proto_case_image();
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    limits.max_answer_bytes = SIZE_MAX;
    model.shape[1] = 40000;
    model.dimension = (size_t)3 * 40000 * 2;
    ck_assert(!fmp_request_parse_sample(body, sizeof body - 1, &model, &limits,
                                        FMP_ENCODING_PNG_GRID, PROTO_CASE_SEED, &request,
                                        &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(problem.detail, "more than its format holds"));
}
END_TEST

START_TEST(velocity_takes_points_and_times)
{
    fmp_request request;
    fmp_problem problem;
    bool parsed =
        proto_case_parse(proto_case_labelled, FMP_API_VELOCITY,
                         "{\"x\": [[[1,2,3],[4,5,6]], [[7,8,9],[1,2,3]]], \"t\": [0, 0.5], "
                         "\"labels\": 1, \"fields\": [\"log_density\", \"velocity\"]}",
                         &request, &problem);
    ck_assert_msg(parsed, "%s", problem.detail);
    ck_assert_int_eq(request.spec.task, FM_TASK_VELOCITY);
    ck_assert_uint_eq(request.spec.n_rows, 2);
    ck_assert(request.spec.x[11] == 3 && request.spec.t[1] == 0.5);
    ck_assert_uint_eq(request.spec.fields,
                      FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_LOG_DENSITY));
    ck_assert_int_eq(request.spec.labels[1], 1);
    /* defaults are a sampling request's */
    ck_assert(request.spec.guidance.scale == 1);
    fmp_request_done(&request);

    parsed = proto_case_parse(proto_case_plain, FMP_API_VELOCITY,
                              "{\"x\": [[1,2], [3,4]], \"t\": 0.25}", &request, &problem);
    ck_assert(parsed);
    ck_assert(request.spec.t[0] == 0.25 && request.spec.t[1] == 0.25);
    ck_assert_uint_eq(request.spec.fields, FM_FIELD_BIT(FM_FIELD_VELOCITY));
    fmp_request_done(&request);
}
END_TEST

/* ---- Defaults ---- */

START_TEST(good_defaults_pass_even_where_a_request_needs_more)
{
    static proto_case_model *const makes[] = {proto_case_plain, proto_case_labelled,
                                              proto_case_without_null};
    fmp_limits limits = proto_case_limits();
    for (size_t i = 0; i < 3; i++) {
        fm_model_info model = makes[i]();
        fmp_problem problem;
        ck_assert(fmp_request_check_defaults(&model, &limits, &problem));
    }
}
END_TEST

/* Good by themselves, but not with these requests. */
START_TEST(defaults_that_a_request_cannot_have_are_named_under_defaults)
{
    static const struct {
        const char *defaults, *body, *error;
    } pairs[] = {
        {"{\"labels\": [0, 1]}", "{\"num_samples\": 3}",
         "/defaults/labels must have 3 entries, one a point; it has 2"},
        {"{\"trajectory\": {\"times\": [0, 1]}}", "{\"solver\": {\"time_grid\": [0, 0.5]}}",
         "/defaults/trajectory/times must lie between"},
        {"{\"labels\": [0, 1]}", "{\"labels\": [0], \"num_samples\": 3}",
         "/labels must have 3 entries, one a point; it has 1"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        fm_model_info model = proto_case_labelled();
        fmp_limits limits = proto_case_limits();
        fmp_request request;
        fmp_problem problem;
        model.defaults_json = pairs[i].defaults;
        ck_assert_msg(fmp_request_check_defaults(&model, &limits, &problem), "%s", problem.detail);
        ck_assert(!fmp_request_parse_sample(pairs[i].body, strlen(pairs[i].body), &model, &limits,
                                            FMP_ENCODING_JSON, PROTO_CASE_SEED, &request,
                                            &problem));
        ck_assert_uint_eq(problem.n_errors, 1);
        ck_assert_msg(proto_case_has_error(&problem, pairs[i].error), "%s", problem.detail);
    }
}
END_TEST

START_TEST(bad_defaults_are_named_under_defaults)
{
    fm_model_info model = proto_case_plain();
    fmp_limits limits = proto_case_limits();
    fmp_problem problem;
    model.defaults_json = "{\"solver\": {\"steps\": 0}, \"sead\": 1, \"labels\": 0}";
    ck_assert(!fmp_request_check_defaults(&model, &limits, &problem));
    ck_assert_uint_eq(problem.n_errors, 3);
    ck_assert(
        proto_case_has_error(&problem, "/defaults/solver/steps must be an integer from 1 to 200"));
    ck_assert(proto_case_has_error(&problem, "/defaults/sead is not a field of this request"));
    ck_assert(proto_case_has_error(&problem, "/defaults/labels must be left out"));
}
END_TEST

/* ---- Memory ---- */

static size_t allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left > 0 ? (allocations_left--, malloc(size)) : NULL;
}

START_TEST(any_json_allocation_may_fail_and_nothing_leaks)
{
    fmp_request request;
    fmp_problem problem;
    bool parsed = false;
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    for (size_t k = 0; !parsed; k++) {
        ck_assert_uint_lt(k, 1000);
        allocations_left = k;
        json_set_alloc_funcs(failing_malloc, free);
        parsed = proto_case_parse(proto_case_labelled, FMP_API_SAMPLE,
                                  "{\"labels\": [1, \"two\", null], \"solver\": {\"atol\": 1e-3}, "
                                  "\"stream\": false, \"seed\": \"12\"}",
                                  &request, &problem);
        json_set_alloc_funcs(old_malloc, old_free);
        if (!parsed) {
            /* jansson calls a token that it has no memory for bad syntax. */
            ck_assert_msg(problem.kind == FMP_PROBLEM_OUT_OF_MEMORY ||
                              (k > 0 && problem.kind == FMP_PROBLEM_MALFORMED),
                          "allocation %zu: %s", k, problem.detail);
        }
    }
    fmp_request_done(&request);
}

START_TEST(every_form_of_guidance_is_read)
{
    fmp_request request = proto_case_sample(
        proto_case_labelled,
        "{\"num_samples\": 2, \"solver\": {\"method\": \"euler\"}, \"guidance\": {\"interval\": "
        "[0.25, 0.75], "
        "\"schedule\": {\"type\": \"table\", \"t\": [0, 1], \"values\": [1, 3]}, "
        "\"negative_labels\": [0, \"one\"], "
        "\"conditions\": {\"labels\": [\"two\", 0], \"scales\": [1.5, -0.5]}, \"rescale\": 0.5, "
        "\"zero_until\": 0.125, "
        "\"projection\": {\"parallel\": 0.25, \"threshold\": 2, \"momentum\": -0.75}, "
        "\"classifier\": {\"model\": \"judge\", \"scale\": 2, \"labels\": [\"two\", 1]}}}");
    const fm_guidance *it = &request.spec.guidance;
    ck_assert(it->scale == 2 && it->has_interval && it->interval[0] == 0.25 &&
              it->interval[1] == 0.75);
    ck_assert(it->schedule.form == FM_GUIDANCE_SCHEDULE_TABLE && it->schedule.n == 2);
    ck_assert(it->schedule.t[1] == 1 && it->schedule.values[1] == 3);
    ck_assert(it->negative_labels[0] == 0 && it->negative_labels[1] == 1);
    ck_assert(it->n_conditions == 2 && it->conditions[0].label == 2 &&
              it->conditions[0].scale == 1.5);
    ck_assert(it->conditions[1].label == 0 && it->conditions[1].scale == -0.5);
    ck_assert(it->rescale == 0.5 && it->zero_until == 0.125 && !it->zero_star && it->projects);
    ck_assert(it->projection.parallel == 0.25 && it->projection.threshold == 2);
    ck_assert(it->projection.momentum == -0.75);
    ck_assert(request.classifier == 0 && it->classifier_scale == 2 &&
              request.guide == FMP_NO_MODEL);
    ck_assert(it->classifier_labels[0] == 2 && it->classifier_labels[1] == 1);
    fmp_request_done(&request);

    request = proto_case_sample(proto_case_labelled,
                                "{\"guidance\": {\"model\": \"weak\", \"zero_star\": true, "
                                "\"schedule\": {\"type\": \"cosine\"}}}");
    ck_assert(request.guide == 2 && request.spec.guidance.zero_star &&
              !request.spec.guidance.projects);
    ck_assert(request.spec.guidance.schedule.form == FM_GUIDANCE_SCHEDULE_COSINE);
    ck_assert(request.spec.guidance.schedule.end == 1);
    fmp_request_done(&request);
}
END_TEST
END_TEST

static void add_parsing(Suite *suite)
{
    TCase *tcase = tcase_create("parse");
    tcase_add_test(tcase, every_form_of_guidance_is_read);
    tcase_add_test(tcase, an_empty_body_takes_the_models_defaults);
    tcase_add_test(tcase, base_defaults_are_midpoint_and_50_steps_over_the_sample_range);
    tcase_add_test(tcase, given_points_have_methods_of_their_own_whatever_the_model_says);
    tcase_add_test(tcase, a_solver_without_method_is_merged_and_with_one_replaces);
    tcase_add_test(tcase, one_grid_key_removes_the_defaults);
    tcase_add_test(tcase, an_adaptive_method_takes_its_interval_from_the_grids_ends);
    tcase_add_loop_test(tcase, seeds_are_integers_or_decimal_strings, 0,
                        sizeof seeds / sizeof *seeds);
    tcase_add_test(tcase, labels_are_indices_names_or_null);
    tcase_add_test(tcase, a_tensor_reads_the_same_from_lists_and_from_base64);
    tcase_add_test(tcase, times_read_the_same_from_lists_and_from_base64);
    tcase_add_test(tcase, a_default_in_base64_is_used_replaced_and_freed);
    tcase_add_test(tcase, every_number_of_an_answer_is_taken_as_input);
    tcase_add_test(tcase, a_trajectory_is_asked_for_in_three_ways);
    tcase_add_test(tcase, what_is_not_wanted_may_be_said_of_unserved_fields);
    tcase_add_test(tcase, a_grid_may_start_anywhere_where_x0_is_given);
    tcase_add_test(tcase, noise_is_drawn_at_the_source_and_a_margin_from_it);
    tcase_add_test(tcase, a_real_without_a_fraction_is_an_integer_everywhere);
    tcase_add_test(tcase, the_least_step_size_that_is_named_is_allowed);
    tcase_add_test(tcase, more_labels_than_samples_allowed_are_called_too_many);
    tcase_add_test(tcase, pictures_are_an_encoding_of_images);
    tcase_add_test(tcase, what_is_accepted_is_stronger_than_the_encoding);
    tcase_add_test(tcase, more_than_a_picture_holds_is_too_large);
    tcase_add_test(tcase, velocity_takes_points_and_times);
    suite_add_tcase(suite, tcase);
}

Suite *suite_proto_request(void)
{
    Suite *suite = suite_create("proto/request");
    add_parsing(suite);
    TCase *tcase = tcase_create("defaults");
    tcase_add_test(tcase, good_defaults_pass_even_where_a_request_needs_more);
    tcase_add_test(tcase, bad_defaults_are_named_under_defaults);
    tcase_add_test(tcase, defaults_that_a_request_cannot_have_are_named_under_defaults);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("memory");
    tcase_add_test(tcase, any_json_allocation_may_fail_and_nothing_leaks);
    suite_add_tcase(suite, tcase);
    return suite;
}
