/* Requests of several jobs: what they are parsed to, and their answers, with the engine's own jobs between. */
#include "proto/response.h"
#include "proto/stages.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define I FMP_API_INTERPOLATE
#define E FMP_API_EDIT

/* ---- parsed ---- */

static fmp_request parsed(proto_case_model *make, fmp_api_route route, const char *body)
{
    fmp_request request;
    fmp_problem problem;
    bool is_parsed = proto_case_parse(make, route, body, &request, &problem);
    ck_assert_msg(is_parsed, "%s: %s", body, problem.detail);
    return request;
}

START_TEST(an_edit_goes_back_by_its_source_and_forth_by_its_labels)
{
    fmp_request request =
        parsed(proto_case_labelled, E,
               "{\"x1\": [[[1,2,3],[4,5,6]], [[0,0,0],[0,0,1]]], \"source\": {\"labels\": "
               "[0, \"two\"]}, \"labels\": 1, \"guidance\": {\"scale\": 3, \"channels\": 1}, "
               "\"solver\": {\"method\": \"midpoint\", \"time_grid\": [0, 0.25, 1]}}");
    ck_assert_uint_eq(fmp_request_n_jobs(&request), 3);
    fm_job_spec encoding = fmp_request_job(&request, 0), back = fmp_request_job(&request, 1);
    fm_job_spec decoding = fmp_request_job(&request, 2);
    ck_assert(encoding.solver.grid[0] == 1 && encoding.solver.grid[1] == 0.25 &&
              encoding.solver.grid[2] == 0);
    ck_assert(back.solver.grid[0] == 0 && decoding.solver.grid[0] == 0);
    ck_assert(encoding.x[0] == 1 && encoding.x[11] == 1);
    ck_assert(encoding.guidance.scale == 1 && back.guidance.scale == 1);
    ck_assert(encoding.guidance.channels == 0 && back.guidance.channels == 0);
    ck_assert(decoding.guidance.scale == 3 && decoding.guidance.channels == 1);
    ck_assert(encoding.labels[0] == 0 && encoding.labels[1] == 2 && back.labels[1] == 2);
    ck_assert(decoding.labels[0] == 1 && decoding.labels[1] == 1);
    ck_assert(encoding.n_rows == 2 && back.n_rows == 2 && decoding.n_rows == 2);
    fmp_request_done(&request);
    request = parsed(proto_case_plain, E, "{\"x1\": [[1, 2]], \"round_trip\": false}");
    ck_assert_uint_eq(fmp_request_n_jobs(&request), 2);
    ck_assert_str_eq(fm_method_describe(request.spec.solver.method)->name, "dopri8");
    fmp_request_done(&request);
}
END_TEST

START_TEST(an_interpolation_of_data_is_encoded_first_and_one_of_latents_is_not)
{
    fmp_request request = parsed(proto_case_labelled, I,
                                 "{\"x1\": [[[1,2,3],[4,5,6]], [[0,0,0],[0,0,1]]], "
                                 "\"labels\": \"two\", \"guidance\": {\"scale\": 2}}");
    ck_assert_uint_eq(fmp_request_n_jobs(&request), 2);
    fm_job_spec encoding = fmp_request_job(&request, 0), decoding = fmp_request_job(&request, 1);
    ck_assert(encoding.n_rows == 2 && decoding.n_rows == 8);
    ck_assert(encoding.labels[1] == 2 && decoding.labels[7] == 2);
    ck_assert(encoding.guidance.scale == 1 && decoding.guidance.scale == 2);
    fmp_request_done(&request);
    request = parsed(proto_case_plain, I,
                     "{\"x0\": [[1, 2], [3, -4]], \"points\": 5, \"interpolation\": \"linear\", "
                     "\"solver\": {\"method\": \"ddim\", \"steps\": 4}}");
    ck_assert_uint_eq(fmp_request_n_jobs(&request), 1);
    ck_assert(request.spec.n_rows == 5 && request.spec.x[2] == 1.5 && request.spec.x[3] == 0.5);
    ck_assert(request.stages->weights[1] == 0.25);
    fmp_request_done(&request);
}
END_TEST

START_TEST(a_start_shortens_every_grid)
{
    static const struct {
        const char *solver;
        size_t n_grid;
    } grids[] = {{"{}", 21},
                 {"{\"method\": \"euler\"}", 51},
                 {"{\"steps\": 4}", 5},
                 {"{\"step_size\": 0.2}", 5},
                 {"{\"schedule\": {\"type\": \"shift\", \"steps\": 6}}", 7},
                 {"{\"time_grid\": [0.25, 0.5, 1]}", 3},
                 {"{\"method\": \"dopri5\"}", 2}};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{\"start\": {\"x\": [[1, 2], [3, 4]], \"t\": 0.25}, \"solver\": %s}",
                       grids[i].solver);
        fmp_request request = proto_case_sample(proto_case_plain, body);
        ck_assert_uint_eq(request.spec.solver.n_grid, grids[i].n_grid);
        ck_assert(request.spec.solver.grid[0] == 0.25);
        ck_assert(request.spec.solver.grid[grids[i].n_grid - 1] == 1);
        ck_assert(request.spec.adds_noise && request.spec.n_rows == 2 && request.spec.x[3] == 4);
        fmp_request_done(&request);
    }
}
END_TEST

static fm_model_info gridded(void)
{
    fm_model_info info = proto_case_plain();
    info.defaults_json = "{\"num_samples\": 5, \"solver\": {\"method\": \"midpoint\", "
                         "\"time_grid\": [0, 0.5, 1]}}";
    return info;
}

START_TEST(a_start_takes_the_place_of_defaults_that_begin_elsewhere)
{
    fmp_request request =
        proto_case_sample(gridded, "{\"start\": {\"x\": [[1, 2], [3, 4]], \"t\": 0.25}}");
    ck_assert_uint_eq(request.spec.solver.n_grid, 51);
    ck_assert_uint_eq(request.spec.n_rows, 2);
    ck_assert(request.spec.solver.grid[0] == 0.25);
    fmp_request_done(&request);
}
END_TEST

/* ---- refused ---- */

static const struct {
    proto_case_model *model;
    fmp_api_route route;
    const char *body, *errors[3];
} refusals[] = {
    {proto_case_plain, I, "{}", {"/x1 is required where x0 is left out"}},
    {proto_case_plain,
     I,
     "{\"x1\": [[1,2],[3,4]], \"x0\": [[1,2],[3,4]]}",
     {"/x0 must be left out where x1 is given"}},
    {proto_case_plain, I, "{\"x1\": [[1,2]]}", {"/x1 must be a list of 2 lists"}},
    {proto_case_plain, I, "{\"x0\": [[1,2],[3,4],[5,6]]}", {"/x0 must be a list of 2 lists"}},
    {proto_case_plain, I, "{\"x0\": [[1,2],[3,\"4\"]]}", {"/x0/1/1 must be a number within"}},
    {proto_case_plain,
     I,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [1, 2], \"data\": \"AACAPwAAAMA=\"}}",
     {"/x0/shape must be [2, 2]"}},
    {proto_case_plain,
     I,
     "{\"x0\": [[1,2],[3,4]], \"points\": 1, \"interpolation\": \"cubic\", \"noise\": 0}",
     {"/points must be an integer from 2 to 1000",
      "/interpolation must be one of slerp, variance_preserving, linear",
      "/noise is not a field of this request"}},
    {proto_case_plain,
     I,
     "{\"x1\": [[1,2],[3,4]], \"solver\": {\"method\": \"ddim\"}}",
     {"/solver/method must integrate the velocity alone"}},
    {proto_case_plain,
     I,
     "{\"x1\": [[1,2],[3,4]], \"solver\": {\"time_grid\": [1, 0]}}",
     {"/solver/time_grid must be a list of ascending numbers"}},
    {proto_case_labelled,
     I,
     "{\"x1\": [[[1,2,3],[4,5,6]], [[0,0,0],[0,0,1]]], \"labels\": [0, 1]}",
     {"/labels must be one label"}},
    {proto_case_without_null,
     I,
     "{\"x1\": [[1,2],[3,4]]}",
     {"/labels is required: the model has no null class"}},
    {proto_case_plain, E, "{}", {"/x1 is required"}},
    {proto_case_plain, E, "{\"x1\": []}", {"/x1 must hold 1 to 1000 points"}},
    {proto_case_plain, E, "{\"x1\": [[1,2]], \"source\": 3}", {"/source must be an object"}},
    {proto_case_plain,
     E,
     "{\"x1\": [[1,2]], \"source\": {\"labels\": 0}}",
     {"/source/labels must be left out: the model has no labels"}},
    {proto_case_labelled,
     E,
     "{\"x1\": [[[1,2,3],[4,5,6]]], \"source\": {\"labels\": [0, 7], \"label\": 1}}",
     {"/source/labels must have one entry; it has 2", "/source/label is not a field"}},
    {proto_case_labelled,
     E,
     "{\"x1\": [[[1,2,3],[4,5,6]]], \"source\": {\"labels\": [7]}, \"labels\": \"nine\"}",
     {"/source/labels/0 must be an integer from 0 to 2, a name", "/labels must be an integer"}},
    {proto_case_without_null,
     E,
     "{\"x1\": [[1,2]], \"guidance\": {\"scale\": 2}}",
     {"/source/labels is required: the model has no null class", "/labels is required",
      "/guidance/scale must be 1"}},
    {proto_case_plain,
     E,
     "{\"x1\": [[1,2]], \"noise\": 1.5, \"round_trip\": 1, \"encoding\": \"png\"}",
     {"/noise must be a number from 0 to 1", "/round_trip must be true or false",
      "/encoding must be json or base64"}},
    {proto_case_plain,
     E,
     "{\"x1\": [[1,2]], \"noise\": 0.5, \"solver\": {\"time_grid\": [0.5, 1]}}",
     {"/noise must be 0 where the grid does not begin at the source"}},
    {proto_case_plain,
     E,
     "{\"x1\": [[1,2]], \"solver\": {\"method\": \"euler_maruyama\"}}",
     {"/solver/method must integrate the velocity alone"}},
    {proto_case_plain, FMP_API_SAMPLE, "{\"start\": 3}", {"/start must be an object"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {}}",
     {"/start/x is required", "/start/t is required"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {\"x\": [[1,2]], \"t\": 0.5}, \"x0\": [[1,2]]}",
     {"/start must be left out where x0 is given"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {\"x\": [[1,2]], \"t\": 0.5}, \"num_samples\": 2}",
     {"/start/x must hold num_samples = 2 points; it holds 1"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {\"x\": [[1,2]], \"t\": 1}}",
     {"/start/t must be a time from 0 to before 1"}},
    {proto_case_without_null,
     FMP_API_SAMPLE,
     "{\"labels\": 0, \"start\": {\"x\": [[1,2]], \"t\": 0}}",
     {"/start/t must be a time from 0.001 to before 0.999"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {\"x\": [[1,2]], \"t\": 0.5}, \"solver\": {\"time_grid\": [0.25, 1]}}",
     {"/solver/time_grid must begin at start.t"}},
    {proto_case_plain,
     FMP_API_SAMPLE,
     "{\"start\": {\"x\": [[1,2]], \"t\": 0.5}, \"log_likelihood\": true}",
     {"/log_likelihood needs a grid that reaches the source"}},
};

START_TEST(a_broken_rule_is_refused_with_its_pointer)
{
    fmp_request request;
    fmp_problem problem;
    bool is_parsed = proto_case_parse(refusals[_i].model, refusals[_i].route, refusals[_i].body,
                                      &request, &problem);
    ck_assert_msg(!is_parsed, "%s", refusals[_i].body);
    for (size_t i = 0; i < 3 && refusals[_i].errors[i] != NULL; i++) {
        ck_assert_msg(proto_case_has_error(&problem, refusals[_i].errors[i]), "%s: no %s; %s",
                      refusals[_i].body, refusals[_i].errors[i], problem.detail);
    }
}
END_TEST

/* ---- run ---- */

static fm_model *model;
static fm_engine *engine;

static void open_model(const char *folder)
{
    fm_error err;
    fm_model_options options = {.workers = 2};
    ck_assert_msg(fm_model_open(folder, &options, &model, &err) == FM_OK, "%s", err.text);
    fm_engine_options engine_options = {.workers = 2};
    ck_assert_msg(fm_engine_new(&engine_options, &engine, &err) == FM_OK, "%s", err.text);
}

static void close_model(void)
{
    fm_engine_free(engine);
    fm_model_unref(model);
}

#define MIXTURE "tests/golden/gaussian-mixture-2d"
#define LABELS  "tests/golden/mlp-labels"

/* Runs all jobs of a request and writes its answer. */
static void write_answer(fmp_request *request, fmp_buffer *buffer)
{
    size_t n_jobs = fmp_request_n_jobs(request);
    request->spec.model = model;
    for (size_t i = 0; i < n_jobs; i++) {
        fm_job_spec spec = fmp_request_job(request, i);
        fm_job *job = NULL;
        fm_error err;
        ck_assert_msg(fm_engine_submit(engine, &spec, &job, &err) == FM_OK, "%s", err.text);
        ck_assert_ptr_eq(fm_engine_wait(engine), job);
        if (i + 1 < n_jobs) {
            fmp_request_keep(request, i, job);
        } else {
            fmp_response_write(buffer, request, fm_model_describe(model), "id", job);
        }
        fm_job_free(job);
    }
}

static json_t *answer_to(fmp_api_route route, const char *body)
{
    const fm_model_info *info = fm_model_describe(model);
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    bool is_parsed = route == FMP_API_SAMPLE
                         ? fmp_request_parse_sample(body, strlen(body), info, &limits,
                                                    FMP_ENCODING_JSON, 5, &request, &problem)
                         : fmp_request_parse_points(route, body, strlen(body), info, &limits, 5,
                                                    &request, &problem);
    ck_assert_msg(is_parsed, "%s: %s", body, problem.detail);
    size_t estimate = fmp_request_answer_bytes(&request, info);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 1 << 20);
    write_answer(&request, &buffer);
    ck_assert(!buffer.failed && buffer.length <= estimate);
    json_t *ret = json_loadb(buffer.data, buffer.length, 0, NULL);
    ck_assert_ptr_nonnull(ret);
    fmp_buffer_done(&buffer);
    fmp_request_done(&request);
    return ret;
}

/* Element i, k of a member's nested lists, or i of a list. */
static double number_at(json_t *answer, const char *key, size_t i, size_t k)
{
    json_t *value = json_array_get(json_object_get(answer, key), i);
    value = json_is_array(value) ? json_array_get(value, k) : value;
    ck_assert_msg(json_is_number(value), "%s", key);
    return json_number_value(value);
}

static json_t *stats_of(json_t *answer)
{
    return json_object_get(answer, "stats");
}

/* The solver's tolerance at every step: 1e-5; ten times it is allowed, 1.4e-5 seen. */
START_TEST(a_round_trip_comes_back_within_ten_tolerances)
{
    open_model(MIXTURE);
    const char *solver = "\"solver\": {\"method\": \"dopri8\", \"rtol\": 1e-5, \"atol\": 1e-5}";
    char body[256];
    (void)snprintf(body, sizeof body, "{\"x1\": [[2, 0.1], [-1, 1.2], [-0.4, -2], [0.5, 0.5]], %s}",
                   solver);
    json_t *edit = answer_to(E, body);
    double x1[4][2] = {{2, 0.1}, {-1, 1.2}, {-0.4, -2}, {0.5, 0.5}};
    for (size_t i = 0; i < 4; i++) {
        double error = number_at(edit, "round_trip_error", i, 0);
        ck_assert_msg(error > 0 && error < 1e-4, "%g", error);
        /* No noise and no other label: the sample is its round trip. */
        double found = hypot(number_at(edit, "samples", i, 0) - x1[i][0],
                             number_at(edit, "samples", i, 1) - x1[i][1]);
        ck_assert_double_eq_tol(found, error, 1e-7);
    }
    json_decref(edit);
    (void)snprintf(body, sizeof body, "{\"x1\": [[2, 0.1], [-1, 1.2]], \"points\": 3, %s}", solver);
    json_t *between = answer_to(I, body);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_double_lt(number_at(between, "round_trip_error", i, 0), 1e-4);
        ck_assert_double_eq_tol(number_at(between, "samples", 2 * i, 0), x1[i][0], 1e-4);
    }
    json_decref(between);
    close_model();
}
END_TEST

/* In base64, for decimals of float32 are other float64s. */
START_TEST(the_latents_of_an_answer_give_its_samples_again)
{
    open_model(LABELS);
    json_t *edit = answer_to(E, "{\"x1\": [[2, 0.1], [-1, 1.2]], \"source\": {\"labels\": 0}, "
                                "\"labels\": 2, \"noise\": 0.25, \"guidance\": {\"scale\": 2}, "
                                "\"encoding\": \"base64\"}");
    json_t *body =
        json_pack("{s:O,s:s,s:i,s:{s:i},s:{s:s}}", "x0", json_object_get(edit, "x0"), "encoding",
                  "base64", "labels", 2, "guidance", "scale", 2, "solver", "method", "dopri8");
    char *text = json_dumps(body, 0);
    json_t *again = answer_to(FMP_API_SAMPLE, text);
    ck_assert(json_equal(json_object_get(edit, "samples"), json_object_get(again, "samples")));
    free(text);
    json_decref(body);
    json_decref(again);
    json_decref(edit);
    close_model();
}
END_TEST

/* Float32 holds the latent: 1e-5 is allowed, 3e-8 seen. */
START_TEST(a_latent_that_is_all_noise_is_that_of_a_sample)
{
    open_model(LABELS);
    json_t *edit = answer_to(E, "{\"x1\": [[2, 0.1], [-1, 1.2]], \"source\": {\"labels\": 0}, "
                                "\"labels\": 2, \"noise\": 1, \"seed\": 9, "
                                "\"solver\": {\"method\": \"midpoint\", \"steps\": 20}}");
    json_t *sample = answer_to(FMP_API_SAMPLE, "{\"num_samples\": 2, \"labels\": 2, \"seed\": 9}");
    for (size_t i = 0; i < 4; i++) {
        ck_assert_double_eq_tol(number_at(edit, "samples", i / 2, i % 2),
                                number_at(sample, "samples", i / 2, i % 2), 1e-5);
    }
    json_decref(sample);
    json_decref(edit);
    close_model();
}
END_TEST

START_TEST(evaluations_of_all_jobs_are_counted)
{
    open_model(MIXTURE);
    const char *tail = "\"solver\": {\"method\": \"midpoint\", \"steps\": 4}}";
    char body[256];
    static const struct {
        fmp_api_route route;
        const char *head;
        double evaluations[3]; /* of each sample, 8 a job */
    } cases[] = {
        {E, "{\"x1\": [[2, 0], [1, 1], [0, 0]],", {24, 24, 24}},
        {E, "{\"x1\": [[2, 0], [1, 1], [0, 0]], \"round_trip\": false,", {16, 16, 16}},
        {I, "{\"x1\": [[2, 0], [1, 1]], \"points\": 3,", {16, 8, 16}},
        {I, "{\"x0\": [[2, 0], [1, 1]], \"points\": 3,", {8, 8, 8}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(body, sizeof body, "%s %s", cases[i].head, tail);
        json_t *answer = answer_to(cases[i].route, body);
        for (size_t k = 0; k < 3; k++) {
            double expected = cases[i].evaluations[k];
            ck_assert_double_eq(number_at(stats_of(answer), "evaluations", k, 0), expected);
            ck_assert_double_eq(number_at(stats_of(answer), "accepted", k, 0), expected / 2);
        }
        bool encodes = strstr(cases[i].head, "x1") != NULL && strstr(body, "false") == NULL;
        ck_assert(encodes == (json_object_get(answer, "round_trip_error") != NULL));
        ck_assert((cases[i].route == I) == (json_object_get(answer, "weights") != NULL));
        json_decref(answer);
    }
    close_model();
}
END_TEST

START_TEST(a_row_whose_encoding_ends_early_says_so)
{
    open_model(MIXTURE);
    json_t *answer = answer_to(E, "{\"x1\": [[2, 0], [1, 1]], \"solver\": {\"method\": \"euler\", "
                                  "\"steps\": 8, \"max_evaluations\": 2}}");
    for (size_t i = 0; i < 2; i++) {
        json_t *status = json_array_get(json_object_get(stats_of(answer), "status"), i);
        ck_assert_str_eq(json_string_value(status), "max_evaluations");
        ck_assert_double_eq(number_at(stats_of(answer), "t", i, 0), 0.75); /* of the encoding */
        json_t *error = json_array_get(json_object_get(answer, "round_trip_error"), i);
        ck_assert(json_is_null(error));
    }
    json_decref(answer);
    close_model();
}
END_TEST

START_TEST(a_point_between_two_ends_as_well_as_both)
{
    fmp_earlier earlier[2] = {{.evaluations = 3},
                              {.status = FM_ROW_MAX_EVALUATIONS, .t = 0.5, .evaluations = 5}};
    double weights[4] = {0};
    fmp_stages stages = {.n_given = 2, .n_rows = 4, .weights = weights, .earlier = earlier};
    static const uint64_t evaluations[4] = {13, 10, 10, 15};
    for (size_t row = 0; row < 4; row++) {
        fm_row_result result = {.evaluations = 10, .t = 1};
        fmp_stages_merge(&stages, row, &result);
        ck_assert_int_eq(result.status, row == 0 ? FM_ROW_OK : FM_ROW_MAX_EVALUATIONS);
        ck_assert_double_eq(result.t, row == 0 ? 1 : 0.5);
        ck_assert_uint_eq(result.evaluations, evaluations[row]);
    }
}
END_TEST

START_TEST(an_estimate_is_of_all_jobs_and_its_memory_of_the_largest)
{
    open_model(MIXTURE);
    const fm_model_info *info = fm_model_describe(model);
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    const char *body = "{\"x1\": [[2, 0], [1, 1]], \"points\": 100, \"solver\": {\"method\": "
                       "\"midpoint\", \"steps\": 4}}";
    ck_assert(
        fmp_request_parse_points(I, body, strlen(body), info, &limits, 5, &request, &problem));
    request.spec.model = model;
    fm_job_spec encoding = fmp_request_job(&request, 0), decoding = fmp_request_job(&request, 1);
    fm_job_estimate all = fmp_request_estimate(&request, 2);
    ck_assert_double_eq(all.evaluations, (2 + 100) * 8);
    double apart = fm_job_estimate_of(&encoding, 2).seconds;
    apart += fm_job_estimate_of(&decoding, 2).seconds;
    ck_assert_double_eq(all.seconds, apart);
    ck_assert_uint_eq(fmp_request_job_bytes(&request), fm_job_size_bytes(&decoding));
    /* grid and its reverse; given, latents and encoded points; weights; what is kept of both */
    size_t bytes = 2 * 5 * 8 + 2 * 2 * 8 * 2 + 100 * 2 * (8 + 4) + 100 * 8;
    ck_assert_uint_eq(fmp_request_array_bytes(&request, info), bytes + 2 * sizeof(fmp_earlier));
    fmp_request_done(&request);
    close_model();
}
END_TEST

START_TEST(other_formats_hold_the_samples_alone)
{
    open_model(MIXTURE);
    const fm_model_info *info = fm_model_describe(model);
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    const char *body = "{\"x0\": [[2, 0], [1, 1]], \"points\": 4}";
    ck_assert(
        fmp_request_parse_points(I, body, strlen(body), info, &limits, 5, &request, &problem));
    ck_assert(fmp_request_accept(&request, info, &limits, FMP_ENCODING_NPY, &problem));
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 1 << 20);
    write_answer(&request, &buffer);
    ck_assert_mem_eq(buffer.data, "\x93NUMPY", 6);
    ck_assert_uint_eq(buffer.length % 64, 4 * 2 * sizeof(float));
    fmp_buffer_done(&buffer);
    ck_assert(!fmp_request_accept(&request, info, &limits, FMP_ENCODING_PNG_GRID, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE); /* points make no picture */
    close_model();
}
END_TEST

Suite *suite_proto_stages(void)
{
    Suite *suite = suite_create("proto/stages");
    TCase *tcase = tcase_create("parse");
    tcase_add_test(tcase, an_edit_goes_back_by_its_source_and_forth_by_its_labels);
    tcase_add_test(tcase, an_interpolation_of_data_is_encoded_first_and_one_of_latents_is_not);
    tcase_add_test(tcase, a_start_shortens_every_grid);
    tcase_add_test(tcase, a_start_takes_the_place_of_defaults_that_begin_elsewhere);
    tcase_add_loop_test(tcase, a_broken_rule_is_refused_with_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("run");
    tcase_add_test(tcase, a_round_trip_comes_back_within_ten_tolerances);
    tcase_add_test(tcase, the_latents_of_an_answer_give_its_samples_again);
    tcase_add_test(tcase, a_latent_that_is_all_noise_is_that_of_a_sample);
    tcase_add_test(tcase, evaluations_of_all_jobs_are_counted);
    tcase_add_test(tcase, a_row_whose_encoding_ends_early_says_so);
    tcase_add_test(tcase, a_point_between_two_ends_as_well_as_both);
    tcase_add_test(tcase, an_estimate_is_of_all_jobs_and_its_memory_of_the_largest);
    tcase_add_test(tcase, other_formats_hold_the_samples_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}
