/* Requests: every rule of the contract, with the pointer that names what broke it. */
#include "proto/api.h"
#include "proto/number.h"
#include "proto/parse.h"
#include "proto/request.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef fm_model_info make_model(void);

#define DRAWN_SEED UINT64_C(424242)

static bool parse(make_model *make, fmp_api_route route, const char *body, fmp_request *ret,
                  fmp_problem *problem)
{
    fm_model_info model = make();
    fmp_limits limits = proto_case_limits();
    /* Exactly the body, so that the sanitizer sees a read beyond it. */
    size_t length = strlen(body);
    char *copy = malloc(length + 1);
    ck_assert_ptr_nonnull(copy);
    char *exact = length > 0 ? realloc(copy, length) : copy;
    memcpy(exact, body, length);
    bool parsed = route == FMP_API_SAMPLE
                      ? fmp_request_parse_sample(exact, length, &model, &limits, FMP_ENCODING_JSON,
                                                 DRAWN_SEED, ret, problem)
                      : fmp_request_parse_velocity(exact, length, &model, &limits, ret, problem);
    free(exact);
    return parsed;
}

/* A request that must parse; released by fmp_request_done(). */
static fmp_request sample(make_model *make, const char *body)
{
    fmp_request request;
    fmp_problem problem;
    bool parsed = parse(make, FMP_API_SAMPLE, body, &request, &problem);
    ck_assert_msg(parsed, "%s: %s", body, problem.detail);
    return request;
}

static const char *method_of(const fmp_request *request)
{
    return fm_method_describe(request->spec.solver.method)->name;
}

/* ---- What a request becomes ---- */

START_TEST(an_empty_body_takes_the_models_defaults)
{
    static const char *const bodies[] = {"", "{}", " { } "};
    for (size_t i = 0; i < 3; i++) {
        fmp_request request = sample(proto_case_plain, bodies[i]);
        ck_assert_uint_eq(request.spec.n_rows, 1);
        ck_assert_uint_eq(request.spec.seed, DRAWN_SEED);
        ck_assert_str_eq(method_of(&request), "midpoint");
        ck_assert(request.grid_from_steps);
        ck_assert_uint_eq(request.n_steps, 20);
        ck_assert_uint_eq(request.spec.solver.n_grid, 21);
        ck_assert(request.spec.solver.grid[0] == 0 && request.spec.solver.grid[20] == 1);
        ck_assert_uint_eq(request.spec.solver.max_evaluations, 10000);
        ck_assert(request.spec.guidance_scale == 1);
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
    fmp_request request = sample(proto_case_without_null, "{\"labels\": 1}");
    ck_assert_str_eq(method_of(&request), "midpoint");
    ck_assert_uint_eq(request.n_steps, 50);
    ck_assert(request.spec.solver.grid[0] == 0.001 && request.spec.solver.grid[50] == 0.999);
    ck_assert(request.spec.solver.rtol == 1e-5 && request.spec.solver.atol == 1e-5);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_solver_without_method_is_merged_and_with_one_replaces)
{
    fmp_request request = sample(proto_case_labelled, "{\"solver\": {\"atol\": 1e-3}}");
    ck_assert_str_eq(method_of(&request), "dopri5");
    ck_assert(request.spec.solver.rtol == 1e-4 && request.spec.solver.atol == 1e-3);
    ck_assert_uint_eq(request.spec.solver.n_grid, 2);
    fmp_request_done(&request);

    request = sample(proto_case_labelled, "{\"solver\": {\"method\": \"dopri5\"}}");
    ck_assert(request.spec.solver.rtol == 1e-5);
    fmp_request_done(&request);

    request = sample(proto_case_plain, "{\"solver\": {\"max_evaluations\": 7}}");
    ck_assert_uint_eq(request.n_steps, 20);
    ck_assert_uint_eq(request.spec.solver.max_evaluations, 7);
    fmp_request_done(&request);

    request = sample(proto_case_plain, "{\"solver\": {\"method\": \"euler\"}}");
    ck_assert_uint_eq(request.n_steps, 50);
    fmp_request_done(&request);
}
END_TEST

START_TEST(one_grid_key_removes_the_defaults)
{
    fmp_request request = sample(proto_case_plain, "{\"solver\": {\"time_grid\": [0, 0.25, 1]}}");
    ck_assert(!request.grid_from_steps);
    ck_assert_uint_eq(request.spec.solver.n_grid, 3);
    ck_assert(request.spec.solver.grid[1] == 0.25);
    fmp_request_done(&request);

    request = sample(proto_case_plain, "{\"solver\": {\"step_size\": 0.3}}");
    ck_assert(!request.grid_from_steps);
    ck_assert_uint_eq(request.spec.solver.n_grid, 5);
    ck_assert(request.spec.solver.grid[4] == 1);
    fmp_request_done(&request);
}
END_TEST

START_TEST(an_adaptive_method_takes_its_interval_from_the_grids_ends)
{
    fmp_request request = sample(
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
    fmp_request request = sample(proto_case_plain, body);
    ck_assert_uint_eq(request.spec.seed, seeds[_i].value);
    ck_assert_int_eq(request.seed_is_string, seeds[_i].is_string);
    fmp_request_done(&request);
}
END_TEST

START_TEST(labels_are_indices_names_or_null)
{
    fmp_request request = sample(proto_case_labelled, "{\"labels\": [0, \"two\", null, 3]}");
    const int32_t expected[] = {0, 2, 3, 3};
    ck_assert_uint_eq(request.spec.n_rows, 4);
    ck_assert_mem_eq(request.spec.labels, expected, sizeof expected);
    fmp_request_done(&request);

    request = sample(proto_case_labelled, "{\"labels\": \"one\", \"num_samples\": 3}");
    const int32_t ones[] = {1, 1, 1};
    ck_assert_mem_eq(request.spec.labels, ones, sizeof ones);
    fmp_request_done(&request);

    request = sample(proto_case_labelled, "{}");
    ck_assert_ptr_null(request.spec.labels);
    ck_assert_uint_eq(request.spec.n_rows, 4); /* the model's default */
    ck_assert(request.spec.guidance_scale == 2);
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
        fmp_request request = sample(proto_case_plain, bodies[i]);
        ck_assert_uint_eq(request.spec.n_rows, 2);
        ck_assert_mem_eq(request.spec.x, expected, sizeof expected);
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
    fmp_request request = sample(proto_case_plain, body);
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
    check_round_trip(
        nextafterf(1e21F, 0)); /* 999999980506447900000, the longest of the plain ones */
    fmp_request request =
        sample(proto_case_plain, "{\"x0\": [[300000000000000000000, -9223372036854775809]]}");
    ck_assert(request.spec.x[0] == 3e20 && request.spec.x[1] == -0x1p63);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_trajectory_is_asked_for_in_three_ways)
{
    fmp_request request = sample(proto_case_plain, "{\"trajectory\": {\"points\": 5}}");
    const double points[] = {0, 0.25, 0.5, 0.75, 1};
    ck_assert(request.has_trajectory);
    ck_assert_uint_eq(request.spec.n_output_times, 5);
    ck_assert_mem_eq(request.spec.output_times, points, sizeof points);
    fmp_request_done(&request);

    request =
        sample(proto_case_plain, "{\"trajectory\": {\"times\": [0.125, 1], \"fields\": [\"x\"]}}");
    const double times[] = {0.125, 1};
    ck_assert_uint_eq(request.spec.n_output_times, 2);
    ck_assert_mem_eq(request.spec.output_times, times, sizeof times);
    fmp_request_done(&request);

    request = sample(proto_case_plain, "{\"trajectory\": {\"every_step\": true}}");
    ck_assert(request.spec.output_every_step);
    ck_assert_uint_eq(request.spec.n_output_times, 0);
    fmp_request_done(&request);

    request = sample(proto_case_plain, "{}");
    ck_assert(!request.has_trajectory);
    fmp_request_done(&request);
}
END_TEST

START_TEST(what_is_not_wanted_may_be_said_of_unserved_fields)
{
    fmp_request request =
        sample(proto_case_plain, "{\"log_likelihood\": false, \"priority\": 0, \"stream\": false, "
                                 "\"preview\": false, \"guidance\": {\"channels\": \"all\"}}");
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_grid_may_start_anywhere_where_x0_is_given)
{
    fmp_request request =
        sample(proto_case_plain, "{\"x0\": [[1, 2]], \"solver\": {\"time_grid\": [0.5, 1]}}");
    ck_assert(request.spec.solver.grid[0] == 0.5);
    fmp_request_done(&request);
}
END_TEST

START_TEST(noise_is_drawn_at_the_source_and_a_margin_from_it)
{
    fmp_request request = sample(proto_case_plain, "{\"solver\": {\"time_grid\": [0.001, 1]}}");
    ck_assert(request.spec.solver.grid[0] == 0.001);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_real_without_a_fraction_is_an_integer_everywhere)
{
    fmp_request request =
        sample(proto_case_labelled, "{\"labels\": 1.0, \"num_samples\": 2.0, \"seed\": 7.0, "
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
    request = sample(proto_case_labelled, "{\"labels\": [1.0, 2]}");
    ck_assert(request.spec.labels[0] == 1 && request.spec.labels[1] == 2);
    fmp_request_done(&request);
    request = sample(proto_case_plain, "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1.0, 2.0], "
                                       "\"data\": \"AAAAAAAAAAA=\"}}");
    fmp_request_done(&request);
}
END_TEST

START_TEST(the_least_step_size_that_is_named_is_allowed)
{
    fmp_request request = sample(proto_case_plain, "{\"solver\": {\"step_size\": 0.005}}");
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
    ck_assert(!parse(proto_case_labelled, FMP_API_SAMPLE, body, &request, &problem));
    ck_assert_uint_eq(problem.n_errors, 1);
    ck_assert_str_eq(problem.errors[0].detail,
                     "must have 1 to 1000 entries, one a point; it has 1001");
}
END_TEST

START_TEST(pictures_are_an_encoding_of_images)
{
    fmp_request request = sample(proto_case_image, "{\"encoding\": \"png\"}");
    ck_assert_int_eq(request.encoding, FMP_ENCODING_PNG);
    fmp_request_done(&request);
    /* The states on the way stay lists, so that each sample may have its own. */
    request =
        sample(proto_case_image, "{\"encoding\": \"png\", \"solver\": {\"method\": \"dopri5\"}, "
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
                                               DRAWN_SEED, &request, &problem),
                      "%s", problem.detail);
        ck_assert_int_eq(request.encoding, accepted[i]);
        fmp_request_done(&request);
        ck_assert(!fmp_request_parse_sample(body, sizeof body - 1, &model, &limits,
                                            FMP_ENCODING_JSON, DRAWN_SEED, &request, &problem));
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
                                        FMP_ENCODING_PNG_GRID, DRAWN_SEED, &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(problem.detail, "more than its format holds"));
}
END_TEST

START_TEST(velocity_takes_points_and_times)
{
    fmp_request request;
    fmp_problem problem;
    bool parsed = parse(proto_case_labelled, FMP_API_VELOCITY,
                        "{\"x\": [[[1,2,3],[4,5,6]], [[7,8,9],[1,2,3]]], \"t\": [0, 0.5], "
                        "\"labels\": 1, \"fields\": [\"log_density\", \"velocity\"]}",
                        &request, &problem);
    ck_assert_msg(parsed, "%s", problem.detail);
    ck_assert_int_eq(request.spec.task, FM_TASK_VELOCITY);
    ck_assert_uint_eq(request.spec.n_rows, 2);
    ck_assert(request.spec.x[11] == 3 && request.spec.t[1] == 0.5);
    ck_assert_uint_eq(request.spec.fields, FM_FIELD_VELOCITY | FM_FIELD_LOG_DENSITY);
    ck_assert_int_eq(request.spec.labels[1], 1);
    /* defaults are a sampling request's */
    ck_assert(request.spec.guidance_scale == 1);
    fmp_request_done(&request);

    parsed = parse(proto_case_plain, FMP_API_VELOCITY, "{\"x\": [[1,2], [3,4]], \"t\": 0.25}",
                   &request, &problem);
    ck_assert(parsed);
    ck_assert(request.spec.t[0] == 0.25 && request.spec.t[1] == 0.25);
    ck_assert_uint_eq(request.spec.fields, FM_FIELD_VELOCITY);
    fmp_request_done(&request);
}
END_TEST

/* ---- What is refused ---- */

typedef struct refusal {
    make_model *model;
    fmp_api_route route;
    const char *body;
    const char *errors[4]; /* "pointer detail's start", one an error, in any order */
} refusal;

/* Images of four channels, of which no picture can be made. */
static fm_model_info latent(void)
{
    fm_model_info info = proto_case_image();
    info.shape[0] = 4;
    info.dimension = 16;
    return info;
}

#define S            FMP_API_SAMPLE
#define V            FMP_API_VELOCITY
#define PLAIN        proto_case_plain
#define LABELLED     proto_case_labelled
#define WITHOUT_NULL proto_case_without_null

/* Its default grid starts where the state is no noise any more. */
static fm_model_info far_from_source(void)
{
    fm_model_info info = proto_case_plain();
    info.sample_range[0] = 0.01;
    return info;
}

static const refusal refusals[] = {
    {PLAIN, S, "[1]", {" must be a JSON object"}},
    {PLAIN, S, "3", {" must be a JSON object"}},
    {PLAIN, S, "{\"num_sample\": 3}", {"/num_sample is not a field of this request"}},
    {PLAIN, S, "{\"t\": 3}", {"/t is not a field of this request"}},
    {PLAIN, S, "{\"a/b~\": 3}", {"/a~1b~0 is not a field of this request"}},
    {PLAIN, S, "{\"\": 3}", {"/ is not a field of this request"}},
    {PLAIN, S, "{\"solver/steps\": 3}", {"/solver~1steps is not a field of this request"}},
    {PLAIN, S, "{\"solver\": {\"stepz\": 3}}", {"/solver/stepz is not a field of this request"}},
    {PLAIN,
     S,
     "{\"num_samples\": 0, \"seed\": -1, \"solver\": {\"steps\": 201}, \"trajectory\": 7}",
     {"/num_samples must be an integer from 1 to 1000",
      "/seed must be an integer from 0 to 9007199254740991, or a string",
      "/solver/steps must be an integer from 1 to 200", "/trajectory must be an object"}},
    {PLAIN, S, "{\"num_samples\": 1.5}", {"/num_samples must be an integer from 1 to 1000"}},
    {PLAIN, S, "{\"num_samples\": 1e300}", {"/num_samples must be an integer from 1 to 1000"}},
    {PLAIN, S, "{\"num_samples\": null}", {"/num_samples must be an integer"}},
    {PLAIN, S, "{\"seed\": 9007199254740992}", {"/seed must be"}},
    {PLAIN, S, "{\"seed\": 9007199254740993}", {"/seed must be"}}, /* rounds to the above */
    {PLAIN, S, "{\"seed\": 9223372036854775808}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN, S, "{\"seed\": 18446744073709551616}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN, S, "{\"seed\": 1e30}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN, S, "{\"seed\": -9223372036854775809}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN,
     S,
     "{\"num_samples\": 100000000000000000000, \"timeout_ms\": 18446744073709551617, "
     "\"solver\": {\"steps\": 18446744073709551620, \"max_evaluations\": 300000000000000000000}}",
     {"/num_samples must be an integer from 1 to 1000",
      "/timeout_ms must be an integer from 1 to 60000",
      "/solver/steps must be an integer from 1 to 200",
      "/solver/max_evaluations must be an integer from 1 to 20000"}},
    {LABELLED, S, "{\"labels\": 18446744073709551616}", {"/labels must be"}},
    {LABELLED, S, "{\"labels\": [18446744073709551617]}", {"/labels/0 must be an integer from 0"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [18446744073709551617, 2], \"data\": \"\"}}",
     {"/x0/shape must be [n, 2], n from 1 to 1000"}},
    {PLAIN, S, "{\"seed\": \"18446744073709551616\"}", {"/seed must be"}},
    {PLAIN, S, "{\"seed\": \"99999999999999999999\"}", {"/seed must be"}},
    {PLAIN, S, "{\"seed\": \"007\"}", {"/seed must be"}},
    {PLAIN, S, "{\"seed\": \"-7\"}", {"/seed must be"}},
    {PLAIN, S, "{\"seed\": \"\"}", {"/seed must be"}},
    {PLAIN, S, "{\"timeout_ms\": 60001}", {"/timeout_ms must be an integer from 1 to 60000"}},
    {PLAIN,
     S,
     "{\"encoding\": \"png\"}",
     {"/encoding must be json or base64: the model's samples"}},
    {PLAIN, S, "{\"encoding\": \"xml\"}", {"/encoding must be one of json, base64, png"}},
    {latent,
     S,
     "{\"encoding\": \"png\"}",
     {"/encoding must be json or base64: the model's samples"}},
    {proto_case_image,
     V,
     "{\"x\": [[[[0,0],[0,0]],[[0,0],[0,0]],[[0,0],[0,0]]]], \"t\": 0, \"encoding\": \"png\"}",
     {"/encoding must be one of json, base64"}},
    {PLAIN, S, "{\"start\": {}}", {"/start is not supported by this release"}},
    {PLAIN, S, "{\"log_likelihood\": true}", {"/log_likelihood is not supported by this release"}},
    {PLAIN, S, "{\"priority\": 1}", {"/priority is not supported by this release"}},
    {PLAIN, S, "{\"stream\": true}", {"/stream is not supported by this release"}},
    {PLAIN, S, "{\"solver\": {\"schedule\": 1}}", {"/solver/schedule is not supported"}},
    {PLAIN, S, "{\"guidance\": {\"channels\": 2}}", {"/guidance/channels is not supported"}},
    /* solver */
    {PLAIN, S, "{\"solver\": {\"method\": \"rk5\"}}", {"/solver/method must be the name of"}},
    {PLAIN, S, "{\"solver\": {\"rtol\": 1e-3}}", {"/solver/rtol is for adaptive methods"}},
    {PLAIN, S, "{\"solver\": {\"first_step\": 1}}", {"/solver/first_step is for adaptive"}},
    {LABELLED, S, "{\"solver\": {\"steps\": 5}}", {"/solver/steps is for methods with a fixed"}},
    {LABELLED, S, "{\"solver\": {\"step_size\": 1}}", {"/solver/step_size is for methods with"}},
    {LABELLED, S, "{\"solver\": {\"rtol\": 0, \"atol\": 0}}", {"/solver/rtol must be above 0"}},
    {LABELLED, S, "{\"solver\": {\"rtol\": -1}}", {"/solver/rtol must be a number from 0 to 1"}},
    {LABELLED,
     S,
     "{\"solver\": {\"first_step\": 0}}",
     {"/solver/first_step must be a number above"}},
    {PLAIN, S, "{\"solver\": {\"max_evaluations\": 20001}}", {"/solver/max_evaluations must be"}},
    {PLAIN,
     S,
     "{\"solver\": {\"steps\": 5, \"step_size\": 0.5}}",
     {"/solver must have one of steps, step_size and time_grid at most"}},
    {PLAIN,
     S,
     "{\"solver\": {\"step_size\": 1e-300}}",
     {"/solver/step_size must be at least 0.005, which makes 200 steps"}},
    {PLAIN,
     S,
     "{\"solver\": {\"step_size\": 0.0049}}",
     {"/solver/step_size must be at least 0.005, which makes 200 steps"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": [0]}}",
     {"/solver/time_grid must be a list of ascend"}},
    {PLAIN, S, "{\"solver\": {\"time_grid\": [0, 0]}}", {"/solver/time_grid must be a list of"}},
    {PLAIN, S, "{\"solver\": {\"time_grid\": [1, 0]}}", {"/solver/time_grid must be a list of"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": [0, \"1\"]}}",
     {"/solver/time_grid must be a list of"}},
    {PLAIN, S, "{\"solver\": {\"time_grid\": [0, 1.01]}}", {"/solver/time_grid must lie within"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": [0.5, 1]}}",
     {"/x0 must be given when the grid starts at t = 0.5, away from the source at 0"}},
    {WITHOUT_NULL,
     S,
     "{\"labels\": 0, \"solver\": {\"time_grid\": [0, 0.5]}}",
     {"/solver/time_grid must lie within the model's 0.001 to 0.999"}},
    /* labels and guidance */
    {PLAIN, S, "{\"labels\": 0}", {"/labels must be left out: the model has no labels"}},
    {PLAIN, S, "{\"guidance\": {\"scale\": 2}}", {"/guidance/scale must be 0 or 1"}},
    {WITHOUT_NULL, S, "{}", {"/labels is required: the model has no null class"}},
    {WITHOUT_NULL, S, "{\"labels\": null}", {"/labels must be a label: the model has no null"}},
    {WITHOUT_NULL, S, "{\"labels\": 2}", {"/labels must be an integer from 0 to 1"}},
    {WITHOUT_NULL, S, "{\"labels\": \"one\"}", {"/labels must be an integer from 0 to 1"}},
    {WITHOUT_NULL,
     S,
     "{\"labels\": 1, \"guidance\": {\"scale\": 0}}",
     {"/guidance/scale must be 1: the model has no null class"}},
    {LABELLED,
     S,
     "{\"labels\": [0, 4, -1, \"three\"]}",
     {"/labels/1 must be an integer from 0 to 2",
      "/labels/2 must be an integer from 0 to 2, a name that the model lists, 3 or null",
      "/labels/3 must be an integer from 0 to 2"}},
    {LABELLED, S, "{\"labels\": [0, 1], \"num_samples\": 3}", {"/labels must have 3 entries"}},
    {LABELLED,
     S,
     "{\"labels\": []}",
     {"/labels must have 1 to 1000 entries, one a point; it has 0"}},
    {LABELLED, S, "{\"labels\": 1.5}", {"/labels must be a label"}},
    {LABELLED, S, "{\"labels\": [1.5]}", {"/labels/0 must be an integer from 0 to 2"}},
    {LABELLED,
     V,
     "{\"x\": [[[1,2,3],[4,5,6]]], \"t\": 0, \"labels\": []}",
     {"/labels must have 1 to 1000 entries"}},
    {PLAIN, S, "{\"priority\": 0.5}", {"/priority is not supported"}},
    {far_from_source,
     S,
     "{}",
     {"/x0 must be given when the grid starts at t = 0.01, away from the source at 0"}},
    {far_from_source, S, "{\"solver\": {\"step_size\": 0.5}}", {"/x0 must be given when"}},
    {far_from_source, S, "{\"solver\": {\"method\": \"dopri5\"}}", {"/x0 must be given when"}},
    {far_from_source,
     S,
     "{\"solver\": {\"time_grid\": [0.5, 1]}}",
     {"/x0 must be given when the grid starts at t = 0.5"}},
    {LABELLED, S, "{\"labels\": {}}", {"/labels must be a label"}},
    /* x0 */
    {PLAIN, S, "{\"x0\": []}", {"/x0 must hold 1 to 1000 points"}},
    {PLAIN, S, "{\"x0\": 3}", {"/x0 must be nested lists of numbers"}},
    {PLAIN, S, "{\"x0\": [[1, 2]], \"num_samples\": 2}", {"/x0 must hold num_samples = 2 points"}},
    {PLAIN,
     S,
     "{\"x0\": [[1, 2], [3], 4, [5, \"6\"]]}",
     {"/x0/1 must be a list of 2 numbers", "/x0/2 must be a list of 2 numbers",
      "/x0/3/1 must be a number within the range of float32"}},
    {PLAIN, S, "{\"x0\": [[1, 1e39]]}", {"/x0/0/1 must be a number within the range"}},
    {LABELLED, S, "{\"x0\": [[1, 2]]}", {"/x0/0/0 must be a list", "/x0/0/1 must be a list"}},
    {PLAIN, S, "{\"x0\": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]}", {"/x0/0 must be a list of 2 numbers"}},
    {PLAIN,
     S,
     "{\"x0\": {}}",
     {"/x0/shape must be [n, 2], n from 1 to 1000", "/x0/dtype must be float32 or float64",
      "/x0/data must be a base64 string"}},
    {LABELLED,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"data\": \"\"}}",
     {"/x0/shape must be [n, 2, 3], n from 1 to 1000"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1001, 2], \"data\": \"\"}}",
     {"/x0/shape must be [n, 2], n from 1 to 1000"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": \"2\", \"data\": \"\"}}",
     {"/x0/shape must be [n, 2]"}},
    {PLAIN,
     S,
     "{\"x0\": {\"shape\": [1, 2], \"data\": 7}}",
     {"/x0/dtype must be float32 or float64", "/x0/data must be a base64 string"}},
    {PLAIN,
     V,
     "{\"t\": 0, \"x\": {\"dtype\": 1, \"shape\": [0, 2], \"data\": \"\"}}",
     {"/x/dtype must be float32 or float64", "/x/shape must be [n, 2], n from 1 to 1000"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float16\", \"shape\": [1, 3], \"data\": \"\", \"order\": \"C\"}}",
     {"/x0 must have no members but", "/x0/dtype must be float32 or float64",
      "/x0/shape must be [1, 2]"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1, 2], \"data\": \"AAAA\"}}",
     {"/x0/data must be the base64 of as many bytes"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1, 2], \"data\": \"AADAfwAAAAA=\"}}",
     {"/x0/data must hold finite numbers"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [900, 2], \"data\": \"AADAfwAAAAA=\"}}",
     {"/x0/data must be the base64 of as many bytes"}},
    /* trajectory */
    {PLAIN, S, "{\"trajectory\": {}}", {"/trajectory must have exactly one of times, points"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"points\": 2, \"every_step\": true}}",
     {"/trajectory must have exactly one of"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"points\": 1}}",
     {"/trajectory/points must be an integer from 2"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"times\": []}}",
     {"/trajectory/times must be a list of ascending"}},
    {PLAIN, S, "{\"trajectory\": {\"times\": [0, 2]}}", {"/trajectory/times must lie between"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"points\": 2, \"fields\": [\"x\", \"score\", \"y\"]}}",
     {"/trajectory/fields/1 score is not supported by this release",
      "/trajectory/fields/2 must be one of x"}},
    {PLAIN, S, "{\"trajectory\": {\"points\": 2, \"fields\": []}}", {"/trajectory/fields must be"}},
    {LABELLED,
     S,
     "{\"encoding\": \"base64\", \"trajectory\": {\"every_step\": true}}",
     {"/trajectory/every_step must not be true with base64"}},
    /* velocity */
    {PLAIN, V, "{}", {"/x is required", "/t is required"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": 1.5}", {"/t must be a number from 0 to 1"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": [0, 1]}", {"/t must have 1 entries, one a point"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2], [3, 4]], \"t\": [0, \"1\"]}",
     {"/t/1 must be a number from 0 to 1"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": 0, \"fields\": [\"log_density\", \"x\"]}",
     {"/fields/1 x is not supported by this release"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": 0, \"fields\": [\"log_density\"]}",
     {"/fields/0 log_density is not known of this model"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": 0, \"seed\": 1}", {"/seed is not a field"}},
};

static bool has_error(const fmp_problem *problem, const char *expected)
{
    size_t pointer_length = strcspn(expected, " ");
    const char *detail = expected + pointer_length + 1;
    for (size_t i = 0; i < problem->n_errors; i++) {
        const fmp_problem_error *error = &problem->errors[i];
        if (strlen(error->pointer) == pointer_length &&
            strncmp(error->pointer, expected, pointer_length) == 0 &&
            strncmp(error->detail, detail, strlen(detail)) == 0) {
            return true;
        }
    }
    return false;
}

START_TEST(a_broken_rule_is_refused_with_its_pointer)
{
    const refusal *row = &refusals[_i];
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(!parse(row->model, row->route, row->body, &request, &problem), "%s", row->body);
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_INVALID_REQUEST);
    char found[2000] = "";
    for (size_t i = 0; i < problem.n_errors; i++) {
        size_t used = strlen(found);
        (void)snprintf(found + used, sizeof found - used, "[%s %s]", problem.errors[i].pointer,
                       problem.errors[i].detail);
    }
    size_t n_expected = 0;
    for (; n_expected < 4 && row->errors[n_expected] != NULL; n_expected++) {
        const char *expected = row->errors[n_expected];
        ck_assert_msg(has_error(&problem, expected), "%s: no %s in %s", row->body, expected, found);
    }
    ck_assert_msg(problem.n_errors == n_expected, "%s: %s", row->body, found);
}
END_TEST

static const struct {
    const char *body, *detail;
} malformed[] = {
    {"{", "line 1"},
    {"{\"seed\": 1,}", "line 1, column 12"},
    {"{\"seed\": 1} x", "line 1"},
    {"{\n\"seed\" 1}", "line 2"},
    {"{\"seed\": 1, \"seed\": 2}", "duplicate"},
    {"{\"seed\": 1e400}", "real number overflow"},
    {"{\"x0\": [[1e400, 0]]}", "real number overflow"},
    {"{\"labels\": \"a\\u0000b\"}", "line 1, column 21: \\u0000 is not allowed"},
    {"{\"labels\": \"\xff\"}", "byte 0xff"},
    {"\xef\xbb\xbf{}", "line 1"},
    {"{\"x0\": NaN}", "line 1"},
    {" ", "line 1"},
};

START_TEST(what_is_not_json_is_malformed_with_line_and_column)
{
    fmp_request request;
    fmp_problem problem;
    ck_assert(!parse(proto_case_plain, FMP_API_SAMPLE, malformed[_i].body, &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_MALFORMED);
    ck_assert_int_eq(fmp_problem_status(&problem), 400);
    ck_assert_msg(strstr(problem.detail, malformed[_i].detail) != NULL, "%s", problem.detail);
    ck_assert_msg(strstr(problem.detail, "JSON_") == NULL, "%s", problem.detail);
    ck_assert_uint_eq(problem.n_errors, 0);
}
END_TEST

START_TEST(deep_nesting_is_refused_and_not_followed)
{
    enum { DEPTH = 100000 };
    char *body = malloc(DEPTH + 16);
    ck_assert_ptr_nonnull(body);
    memset(body, '[', DEPTH);
    memcpy(body, "{\"x0\":", 6);
    body[DEPTH] = '\0';
    fmp_request request;
    fmp_problem problem;
    ck_assert(!parse(proto_case_plain, FMP_API_SAMPLE, body, &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_MALFORMED);
    free(body);
}
END_TEST

START_TEST(an_answer_over_the_limit_is_too_large)
{
    fmp_request request;
    fmp_problem problem;
    ck_assert(!parse(proto_case_plain, FMP_API_SAMPLE,
                     "{\"num_samples\": 1000, \"solver\": {\"steps\": 200}, "
                     "\"trajectory\": {\"every_step\": true}}",
                     &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE);
    ck_assert_msg(strstr(problem.detail, "10000000") != NULL, "%s", problem.detail);
    fmp_request small = sample(proto_case_plain, "{\"num_samples\": 1000}");
    fmp_request_done(&small);
}
END_TEST

/* ---- The table ---- */

/* A body with one field, `value`, at a row's pointer; velocity's required ones beside it. */
static void body_with(const fmp_field *field, const char *value, char *ret, size_t size_bytes)
{
    const char *name = fmp_field_name(field);
    size_t parent_length = (size_t)(name - field->pointer) - 1;
    const char *required = (field->routes & FMP_API_SAMPLE) != 0 ? ""
                           : strcmp(name, "x") == 0              ? "\"t\": 0, "
                           : strcmp(name, "t") == 0              ? "\"x\": [[1, 2]], "
                                                                 : "\"x\": [[1, 2]], \"t\": 0, ";
    if (parent_length == 0) {
        (void)snprintf(ret, size_bytes, "{%s\"%s\": %s}", required, name, value);
    } else {
        (void)snprintf(ret, size_bytes, "{%s\"%.*s\": {\"%s\": %s}}", required,
                       (int)parent_length - 1, field->pointer + 1, name, value);
    }
}

START_TEST(every_row_refuses_a_wrong_type_with_its_own_pointer)
{
    const fmp_field *field = fmp_field_at((size_t)_i);
    /* true is no value of any type but BOOLEAN; a list of it of none. */
    const char *value = field->type == FMP_TYPE_BOOLEAN ? "[true]" : "true";
    char body[256];
    body_with(field, value, body, sizeof body);
    fmp_api_route route = (field->routes & FMP_API_SAMPLE) != 0 ? FMP_API_SAMPLE : FMP_API_VELOCITY;
    fmp_request request;
    fmp_problem problem;
    ck_assert(!parse(proto_case_plain, route, body, &request, &problem));
    char rule[256];
    fmp_limits limits = proto_case_limits();
    fmp_field_rule(field, &limits, rule, sizeof rule);
    bool found = false;
    for (size_t i = 0; i < problem.n_errors; i++) {
        found = found || (strcmp(problem.errors[i].pointer, field->pointer) == 0 &&
                          (field->type == FMP_TYPE_LABELS || field->type == FMP_TYPE_CHOICE ||
                           strcmp(problem.errors[i].detail, rule) == 0));
    }
    ck_assert_msg(found, "%s: %s", body, problem.detail);
}
END_TEST

START_TEST(every_row_stands_after_its_object_and_explains_itself)
{
    const fmp_field *field = fmp_field_at((size_t)_i);
    size_t length = strlen(field->pointer);
    ck_assert(field->pointer[0] == '/');
    ck_assert_ptr_nonnull(field->doc);
    ck_assert_int_eq(fmp_field_find(field->routes, field->pointer, length), _i);
    const char *name = fmp_field_name(field);
    size_t parent_length = (size_t)(name - field->pointer) - 1;
    if (parent_length > 0) {
        fmp_field_id parent = fmp_field_find(field->routes, field->pointer, parent_length);
        ck_assert_int_lt(parent, _i);
        ck_assert_int_eq(fmp_field_at(parent)->type, FMP_TYPE_OBJECT);
    }
    ck_assert(field->inert == NULL || field->later);
}
END_TEST

/* ---- Defaults ---- */

START_TEST(good_defaults_pass_even_where_a_request_needs_more)
{
    static make_model *const makes[] = {proto_case_plain, proto_case_labelled,
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
                                            FMP_ENCODING_JSON, DRAWN_SEED, &request, &problem));
        ck_assert_uint_eq(problem.n_errors, 1);
        ck_assert_msg(has_error(&problem, pairs[i].error), "%s %s", problem.errors[0].pointer,
                      problem.errors[0].detail);
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
    ck_assert(has_error(&problem, "/defaults/solver/steps must be an integer from 1 to 200"));
    ck_assert(has_error(&problem, "/defaults/sead is not a field of this request"));
    ck_assert(has_error(&problem, "/defaults/labels must be left out"));
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
        parsed = parse(proto_case_labelled, FMP_API_SAMPLE,
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
END_TEST

/* ---- Memory of a body's tree ---- */

static size_t held_bytes, peak_bytes;

/* As malloc() rounds: a word beside the bytes, in units of 16, at least 32. */
static size_t malloc_bytes(size_t size)
{
    size_t rounded = (size + 8 + 15) / 16 * 16;
    return rounded < 32 ? 32 : rounded;
}

static void *counting_malloc(size_t size)
{
    size_t *block = malloc(size + 16);
    ck_assert_ptr_nonnull(block);
    block[0] = malloc_bytes(size);
    held_bytes += block[0];
    peak_bytes = held_bytes > peak_bytes ? held_bytes : peak_bytes;
    return block + 2;
}

static void counting_free(void *memory)
{
    if (memory != NULL) {
        size_t *block = (size_t *)memory - 2;
        held_bytes -= block[0];
        free(block);
    }
}

/* The most that jansson holds at once while it parses the text, be it JSON or not. */
static size_t measure_tree(const char *text, size_t length)
{
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(counting_malloc, counting_free);
    held_bytes = peak_bytes = 0;
    json_t *tree = json_loadb(text, length, FMP_PARSE_JSON | JSON_DECODE_ANY, NULL);
    json_decref(tree);
    json_set_alloc_funcs(old_malloc, old_free);
    ck_assert_uint_eq(held_bytes, 0);
    return peak_bytes;
}

/* begin, n times the item (with "%zu" its number where it has one), end */
static const struct {
    const char *begin, *item, *end;
    size_t ratio; /* the most that the estimate may be above the use; 0: any */
} trees[] = {
    {"{\"x0\": [0", ",%zu", "]}", 4},
    {"{\"x0\": [0", ", -0.123456789", "]}", 4},
    {"{\"x0\": [[0, 0]", ", [1.5, %zu]", "]}", 4},
    {"[0", ",[]", "]", 4},
    {"[[]", ",[1]", "]", 4},
    {"[0", ",{}", "]", 4},
    {"[0", ",{\"a\":1}", "]", 4},
    {"[0", ",{\"a\":{}}", "]", 4},
    {"{\"a\": 0", ",\"%zu\":0", "}", 4},
    {"{\"a\": 0", ",\"a much longer name of a member %zu\":\"and as long a value of it\"", "}", 4},
    {"{\"a\": 0", ",\"%zu\":[]", "}", 4},
    {"[0", ",\"\"", "]", 4},
    {"[0", ",\"a\"", "]", 4},
    {"[0", ",true", "]", 8},
    {"{\"x0\": {\"data\": \"", "AAAAAAAA", "\"}}", 4},
    {"[\"", "\\\"\\\\", "\"]", 6},
    {"{\"", "AAAAAAAA", "\": 0}", 6},
    {"", "[", "", 0}, /* too deep to be parsed in whole */
    {"", "{\"a\":", "", 0},
    {"", "{\"a key that is kept while its value is read\":", "", 0},
    {"", "1", "", 4},
    {"\"", "AAAA", "", 4}, /* a string without an end */
    {"", ",", "", 0},
    {"", "a", "", 0},
    {"[1]", " ", "", 0},
};

START_TEST(a_bodys_tree_takes_no_more_memory_than_estimated)
{
    for (size_t n = 0; n <= 20000; n = n < 300 ? n + 1 : n * 3 / 2) {
        size_t size = 200 + n * 96, length = 0;
        char *text = malloc(size);
        ck_assert_ptr_nonnull(text);
        length += (size_t)snprintf(text, size, "%s", trees[_i].begin);
        const char *hole = strstr(trees[_i].item, "%zu");
        for (size_t i = 0; i < n; i++) {
            int before =
                (int)(hole != NULL ? (size_t)(hole - trees[_i].item) : strlen(trees[_i].item));
            length +=
                (size_t)snprintf(text + length, size - length, "%.*s", before, trees[_i].item);
            if (hole != NULL) {
                length += (size_t)snprintf(text + length, size - length, "%zu%s", i, hole + 3);
            }
        }
        length += (size_t)snprintf(text + length, size - length, "%s", trees[_i].end);
        ck_assert_uint_lt(length, size);
        size_t used = measure_tree(text, length);
        size_t estimate = fmp_request_tree_bytes(text, length);
        free(text);
        ck_assert_msg(estimate >= used, "%zu of %s: %zu of %zu", n, trees[_i].item, estimate, used);
        /* Few of them are all constants. */
        ck_assert_msg(n < 300 || trees[_i].ratio == 0 || estimate <= trees[_i].ratio * used,
                      "%zu of %s: %zu of %zu", n, trees[_i].item, estimate, used);
    }
}
END_TEST

START_TEST(estimating_a_tree_stays_within_the_body_and_saturates)
{
    ck_assert_uint_gt(fmp_request_tree_bytes(NULL, 0), 0);
    /* a token that a quote ends is one, too */
    ck_assert_uint_ge(fmp_request_tree_bytes("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", 41),
                      fmp_request_tree_bytes("\"", 1) + 3 * 40 - 3);
    ck_assert_uint_gt(fmp_request_tree_bytes("\"\\", 2), 0);
    ck_assert_uint_eq(fmp_request_tree_bytes("", SIZE_MAX), SIZE_MAX);
}
END_TEST

/* ---- A request's own arrays ---- */

static size_t array_bytes(make_model *make, fmp_api_route route, const char *body)
{
    fm_model_info model = make();
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(parse(make, route, body, &request, &problem), "%s: %s", body, problem.detail);
    size_t bytes = fmp_request_array_bytes(&request, &model);
    fmp_request_done(&request);
    return bytes;
}

START_TEST(a_request_counts_the_arrays_that_it_owns)
{
    const size_t grid = 21 * 8;
    ck_assert_uint_eq(array_bytes(PLAIN, S, "{}"), grid);
    ck_assert_uint_eq(array_bytes(PLAIN, S, "{\"num_samples\": 1000}"), grid);
    ck_assert_uint_eq(array_bytes(PLAIN, S, "{\"x0\": [[1, 2], [3, 4], [5, 6]]}"),
                      grid + 3 * 2 * 8);
    ck_assert_uint_eq(array_bytes(PLAIN, S, "{\"trajectory\": {\"points\": 5}}"), grid + 5 * 8);
    ck_assert_uint_eq(array_bytes(PLAIN, S, "{\"trajectory\": {\"every_step\": true}}"), grid);
    ck_assert_uint_eq(array_bytes(LABELLED, S, "{\"labels\": [1, 2, 0]}"), 2 * 8 + 3 * 4);
    ck_assert_uint_eq(array_bytes(LABELLED, S, "{\"labels\": 1, \"num_samples\": 7}"),
                      2 * 8 + 7 * 4);
    ck_assert_uint_eq(array_bytes(PLAIN, V, "{\"x\": [[1, 2], [3, 4]], \"t\": 0.5}"),
                      2 * 2 * 8 + 2 * 8);
    fm_model_info model = proto_case_plain();
    fmp_request request = sample(proto_case_plain, "{\"x0\": [[1, 2], [3, 4]]}");
    model.dimension = SIZE_MAX / 8;
    ck_assert_uint_eq(fmp_request_array_bytes(&request, &model), SIZE_MAX);
    fmp_request_done(&request);
}
END_TEST

/* ---- Recordings ---- */

static size_t recording_bytes(const char *body)
{
    fm_model_info model = proto_case_labelled();
    fmp_request request = sample(proto_case_labelled, body);
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
    fmp_request request = sample(proto_case_labelled, "{\"trajectory\": {\"every_step\": true}}");
    model.dimension = SIZE_MAX / 8;
    ck_assert_uint_eq(fmp_request_recording_bytes(&request, &model), SIZE_MAX);
    fmp_request_done(&request);
}
END_TEST

static void add_parsing(Suite *suite)
{
    TCase *tcase = tcase_create("parse");
    tcase_add_test(tcase, an_empty_body_takes_the_models_defaults);
    tcase_add_test(tcase, base_defaults_are_midpoint_and_50_steps_over_the_sample_range);
    tcase_add_test(tcase, a_solver_without_method_is_merged_and_with_one_replaces);
    tcase_add_test(tcase, one_grid_key_removes_the_defaults);
    tcase_add_test(tcase, an_adaptive_method_takes_its_interval_from_the_grids_ends);
    tcase_add_loop_test(tcase, seeds_are_integers_or_decimal_strings, 0,
                        sizeof seeds / sizeof *seeds);
    tcase_add_test(tcase, labels_are_indices_names_or_null);
    tcase_add_test(tcase, a_tensor_reads_the_same_from_lists_and_from_base64);
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
    TCase *tcase = tcase_create("refuse");
    tcase_add_loop_test(tcase, a_broken_rule_is_refused_with_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_loop_test(tcase, what_is_not_json_is_malformed_with_line_and_column, 0,
                        sizeof malformed / sizeof *malformed);
    tcase_add_test(tcase, deep_nesting_is_refused_and_not_followed);
    tcase_add_test(tcase, an_answer_over_the_limit_is_too_large);
    tcase_add_loop_test(tcase, every_row_refuses_a_wrong_type_with_its_own_pointer, 0,
                        FMP_FIELD_COUNT);
    tcase_add_loop_test(tcase, every_row_stands_after_its_object_and_explains_itself, 0,
                        FMP_FIELD_COUNT);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("defaults");
    tcase_add_test(tcase, good_defaults_pass_even_where_a_request_needs_more);
    tcase_add_test(tcase, bad_defaults_are_named_under_defaults);
    tcase_add_test(tcase, defaults_that_a_request_cannot_have_are_named_under_defaults);
    tcase_add_test(tcase, any_json_allocation_may_fail_and_nothing_leaks);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("memory");
    tcase_add_loop_test(tcase, a_bodys_tree_takes_no_more_memory_than_estimated, 0,
                        sizeof trees / sizeof *trees);
    tcase_add_test(tcase, estimating_a_tree_stays_within_the_body_and_saturates);
    tcase_add_test(tcase, a_request_counts_the_arrays_that_it_owns);
    tcase_add_test(tcase, recordings_of_adaptive_steps_have_a_bound_and_others_need_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
