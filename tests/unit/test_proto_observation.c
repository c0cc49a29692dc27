/* Inverse problems of …/edit: what an observation is parsed to, which rules it breaks, and what the answer says of it. */
#include "engine/memory.h"
#include "proto/observation.h"
#include "proto/response.h"
#include "proto/stages.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define E FMP_API_EDIT

/* {"observation": {…}, …} */
#define OBSERVED(members) "{\"observation\": {" members "}}"
#define MASK              "\"operator\": \"mask\", \"mask\": [0, 1], \"y\": [[0, 1.5]]"

/* ---- parsed ---- */

static fmp_request parsed(proto_case_model *make, const char *body)
{
    fmp_request request;
    fmp_problem problem;
    bool is_parsed = proto_case_parse(make, E, body, &request, &problem);
    ck_assert_msg(is_parsed, "%s: %s", body, problem.detail);
    return request;
}

/* What is left of x = 0, 1, 2, …, 11 over what is observed, worked out by hand. */
static const struct {
    const char *observation;
    size_t n_y, n_observed;
    double residual;
} operators[] = {
    {"\"operator\": \"mask\", \"mask\": [[0, 0], [0, 1]], "
     "\"y\": [[[[1, 2], [3, 4]], [[5, 6], [7, 9]], [[9, 10], [11, 14]]]]",
     12, 3, 2.160246899469287},
    {"\"operator\": \"mask\", \"mask\": [[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 1]]], "
     "\"y\": [[[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 14]]]]",
     12, 1, 3},
    /* blocks' means are 1.5, 5.5 and 9.5 */
    {"\"operator\": \"average_pool\", \"factor\": 2, \"y\": [[[[4.5]], [[5.5]], [[5.5]]]]", 3, 3,
     2.886751345948129},
    /* so wide that it leaves the means of the channels */
    {"\"operator\": \"blur\", \"std\": 4, "
     "\"y\": [[[[2.5, 2.5], [2.5, 2.5]], [[6.5, 6.5], [6.5, 6.5]], [[10.5, 10.5], [10.5, 10.5]]]]",
     12, 12, 1},
    /* 0.299 R + 0.587 G + 0.114 B is i + 4 (0.587 + 2 0.114) = i + 3.26 at pixel i */
    {"\"operator\": \"gray\", \"y\": [[[[5.26, 6.26], [7.26, 8.26]]]]", 4, 4, 2},
    {"\"operator\": \"matrix\", \"matrix\": [[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "
     "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]], \"y\": [[4, 26]]",
     2, 2, 3.5355339059327378},
};

START_TEST(every_operator_is_read_and_applied)
{
    char body[512];
    float x[12];
    for (unsigned i = 0; i < 12; i++) {
        x[i] = (float)i;
    }
    (void)snprintf(body, sizeof body, OBSERVED("%s"), operators[_i].observation);
    fmp_request request = parsed(proto_case_image, body);
    const fmp_observation *observation = request.observation;
    ck_assert_ptr_eq(request.spec.inverse, &observation->inverse);
    ck_assert_uint_eq(observation->forward.observation_dimension, operators[_i].n_y);
    ck_assert_uint_eq(observation->forward.n_observed, operators[_i].n_observed);
    double residual = fmp_observation_residual(observation, 0, x);
    ck_assert_double_eq_tol(residual, operators[_i].residual, 1e-3); /* of the blur: 3e-4 seen */
    fmp_request_done(&request);
}
END_TEST

static fm_model_info differentiable(void)
{
    fm_model_info info = proto_case_plain();
    info.has_gradients = true;
    return info;
}

START_TEST(a_method_says_what_the_engine_does_and_how_it_is_solved)
{
    fmp_request request = parsed(differentiable, OBSERVED(MASK ", \"noise_std\": 0.25"));
    const fm_inverse *inverse = request.spec.inverse;
    ck_assert(inverse->replaces && inverse->guidance_scale == 0);
    ck_assert(inverse->observation_std == 0.25 && inverse->observations[1] == 1.5);
    ck_assert(request.stages == NULL && request.spec.x == NULL && request.spec.n_rows == 1);
    ck_assert_uint_eq(fmp_request_n_jobs(&request), 1);
    ck_assert_str_eq(fm_method_describe(request.spec.solver.method)->name, "midpoint");
    ck_assert_uint_eq(request.spec.solver.n_grid, 51);
    fmp_request_done(&request);
    request = parsed(differentiable,
                     "{\"observation\": {" MASK ", \"method\": \"pnp_flow\"}, \"solver\": "
                     "{\"pnp_power\": 0.5, \"pnp_samples\": 3, \"time_grid\": [0.25, 1]}}");
    ck_assert(!request.spec.inverse->replaces && request.spec.inverse->guidance_scale == 0);
    ck_assert_str_eq(fm_method_describe(request.spec.solver.method)->name, "pnp_flow");
    ck_assert(request.spec.solver.sampling.pnp_power == 0.5);
    ck_assert_uint_eq(request.spec.solver.sampling.pnp_samples, 3);
    ck_assert(request.spec.solver.grid[0] == 0.25);
    fmp_request_done(&request);
    request = parsed(differentiable,
                     "{\"observation\": {" MASK ", \"method\": \"gradient\", \"scale\": 2}, "
                     "\"solver\": {\"method\": \"dopri5\"}}");
    ck_assert(!request.spec.inverse->replaces && request.spec.inverse->guidance_scale == 2);
    fmp_request_done(&request);
}
END_TEST

START_TEST(one_observation_is_of_many_samples_and_many_are_of_one_each)
{
    static const struct {
        const char *tail;
        size_t n_rows, n_observations;
    } cases[] = {{"\"y\": [[0, 1]]}}", 1, 1},
                 {"\"y\": [[0, 1]]}, \"num_samples\": 7}", 7, 1},
                 {"\"y\": [[0, 1], [0, 2], [0, 3]]}}", 3, 3},
                 {"\"y\": [[0, 1], [0, 2], [0, 3]]}, \"num_samples\": 3}", 3, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{\"observation\": {\"operator\": \"mask\", \"mask\": [0, 1], %s",
                       cases[i].tail);
        fmp_request request = parsed(proto_case_plain, body);
        ck_assert_uint_eq(request.spec.n_rows, cases[i].n_rows);
        ck_assert_uint_eq(request.spec.inverse->n_observations, cases[i].n_observations);
        const float x[2] = {5, 0};
        size_t last = cases[i].n_rows - 1;
        double residual = fmp_observation_residual(request.observation, last, x);
        ck_assert_double_eq(residual, (double)cases[i].n_observations);
        fmp_request_done(&request);
    }
}
END_TEST

/* ---- refused ---- */

static fm_model_info paired(void)
{
    fm_model_info info = proto_case_plain();
    info.paired = true;
    return info;
}

static fm_model_info potential(void)
{
    fm_model_info info = proto_case_plain();
    info.prediction = "potential";
    return info;
}

#define PLAIN proto_case_plain
#define IMAGE proto_case_image
#define ROWS  "[[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]"

static const struct {
    proto_case_model *model;
    const char *body, *errors[4];
} refusals[] = {
    {PLAIN, "{}", {"/x1 is required where observation is left out"}},
    {PLAIN,
     "{\"x1\": [[1, 2]], \"num_samples\": 1}",
     {"/num_samples must be left out without an observation"}},
    {PLAIN,
     "{\"x1\": [[1, 2]], \"solver\": {\"method\": \"pnp_flow\"}}",
     {"/solver/method pnp_flow solves inverse problems alone: it needs an observation"}},
    {PLAIN, "{\"observation\": 3}", {"/observation must be an object"}},
    {PLAIN, OBSERVED(""), {"/observation/operator is required", "/observation/y is required"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"x1\": [[1, 2]], \"source\": {}, \"noise\": 0, "
     "\"round_trip\": false}",
     {"/x1 must be left out where an observation is given",
      "/source must be left out where an observation is given",
      "/noise must be left out where an observation is given",
      "/round_trip must be left out where an observation is given"}},
    {PLAIN,
     OBSERVED(MASK ", \"x\": 1, \"method\": \"ddrm\", \"noise_std\": -1"),
     {"/observation/x is not a field of this request",
      "/observation/method must be one of replacement, pnp_flow, gradient",
      "/observation/noise_std must be a number from 0 to 1000000"}},
    /* operators */
    {PLAIN,
     OBSERVED("\"operator\": \"fourier\", \"y\": [[1, 2]]"),
     {"/observation/operator must be one of mask, average_pool, blur, gray, matrix"}},
    {PLAIN,
     OBSERVED(MASK ", \"factor\": 2, \"std\": 1, \"matrix\": [[1, 2]]"),
     {"/observation/factor is not of operator mask", "/observation/std is not of operator mask",
      "/observation/matrix is not of operator mask"}},
    {PLAIN, OBSERVED("\"operator\": \"mask\", \"y\": [[1, 2]]"), {"/observation/mask is required"}},
    {IMAGE, OBSERVED("\"operator\": \"average_pool\""), {"/observation/factor is required"}},
    {IMAGE, OBSERVED("\"operator\": \"blur\""), {"/observation/std is required"}},
    {IMAGE, OBSERVED("\"operator\": \"matrix\""), {"/observation/matrix is required"}},
    {IMAGE,
     OBSERVED("\"operator\": \"gray\", \"mask\": [[1, 1], [1, 1]]"),
     {"/observation/mask is not of operator gray"}},
    {PLAIN,
     OBSERVED("\"operator\": \"gray\", \"y\": [[1, 2]]"),
     {"/observation/operator cannot be of this model: shape must be [channels, height, width]"}},
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [0, 0.5], \"y\": [[1, 2]]"),
     {"/observation/mask must hold 0 and 1; entry 1 does not"}},
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [0, 0], \"y\": [[1, 2]]"),
     {"/observation/mask must hold a 1"}},
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [[0, 1]], \"y\": [[1, 2]]"),
     {"/observation/mask must be a list of 2 numbers; mask must be [2]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"mask\", \"mask\": [[0, 1]], \"y\": []"),
     {"/observation/mask must be a list of 2 lists; mask must be [2, 2]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"mask\", \"mask\": [[[0, 1], [1, 1]]], \"y\": []"),
     {"/observation/mask must be a list of 3 lists; mask must be [3, 2, 2]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"average_pool\", \"factor\": 3"),
     {"/observation/factor must divide height 2 and width 2"}},
    {IMAGE,
     OBSERVED("\"operator\": \"average_pool\", \"factor\": 0"),
     {"/observation/factor must be an integer from 1 to 65536"}},
    {IMAGE,
     OBSERVED("\"operator\": \"blur\", \"std\": 22"),
     {"/observation/std must be above 0 and at most 21.33"}},
    {PLAIN,
     OBSERVED("\"operator\": \"matrix\", \"matrix\": [[0, 0]], \"y\": [[1]]"),
     {"/observation/matrix must hold more than zeros"}},
    {PLAIN,
     OBSERVED("\"operator\": \"matrix\", \"matrix\": [[1, 0], [0, 1], [1, 1]]"),
     {"/observation/matrix must hold 1 to 2 rows"}},
    {PLAIN,
     OBSERVED("\"operator\": \"matrix\", \"matrix\": [[1, 0, 0]]"),
     {"/observation/matrix/0 must be a list of 2 numbers; matrix must be [N, 2]"}},
    {PLAIN,
     OBSERVED("\"operator\": \"matrix\", \"matrix\": [[1, \"a\"]]"),
     {"/observation/matrix/0/1 must be a number within"}},
    /* observations */
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [0, 1], \"y\": [1.5]"),
     {"/observation/y/0 must be a list of 2 numbers; y must be [N, 2]"}},
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [0, 1], \"y\": []"),
     {"/observation/y must hold 1 to 1000 observations"}},
    {PLAIN,
     OBSERVED("\"operator\": \"mask\", \"mask\": [0, 1], \"y\": [[1, null]]"),
     {"/observation/y/0/1 must be a number within"}},
    {IMAGE,
     OBSERVED("\"operator\": \"average_pool\", \"factor\": 2, \"y\": [[[[1, 2]]]]"),
     {"/observation/y/0 must be a list of 3 lists; y must be [N, 3, 1, 1]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"gray\", \"y\": [[[1, 2], [3, 4]]]"),
     {"/observation/y/0 must be a list of 1 lists; y must be [N, 1, 2, 2]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"gray\", \"y\": {\"dtype\": \"float32\", \"shape\": [1, 2, 2], "
              "\"data\": \"\"}"),
     {"/observation/y/shape must be [1, 1, 2, 2]"}},
    {IMAGE,
     OBSERVED("\"operator\": \"matrix\", \"matrix\": " ROWS ", \"y\": [[1, 2]]"),
     {"/observation/y/0 must be a list of 1 numbers; y must be [N, 1]"}},
    {PLAIN,
     "{\"observation\": {\"operator\": \"mask\", \"mask\": [0, 1], \"y\": [[1, 2], [3, 4]]}, "
     "\"num_samples\": 3}",
     {"/num_samples must be left out, or as many as y has observations: 2"}},
    {proto_case_labelled,
     "{\"observation\": {\"operator\": \"mask\", \"mask\": [[1,0,0],[0,0,0]], "
     "\"y\": [[[1,0,0],[0,0,0]]]}, \"num_samples\": 2, \"labels\": [1]}",
     {"/labels must have 2 entries, one a point; it has 1"}},
    {proto_case_without_null, OBSERVED(MASK), {"/labels is required: the model has no null"}},
    /* methods */
    {PLAIN,
     OBSERVED(MASK ", \"method\": \"gradient\""),
     {"/observation/method gradient needs a velocity that can be differentiated: the daemon keeps "
      "the weights that it takes of models up to the size of engine.gradient_weights"}},
    {potential,
     OBSERVED(MASK ", \"method\": \"gradient\""),
     {"/observation/method gradient needs a velocity that can be differentiated: this model's is "
      "the gradient of a potential already"}},
    {differentiable,
     OBSERVED(MASK ", \"method\": \"gradient\", \"scale\": 0"),
     {"/observation/scale must not be 0"}},
    {PLAIN, OBSERVED(MASK ", \"scale\": 2"), {"/observation/scale is not of method replacement"}},
    {PLAIN, OBSERVED(MASK ", \"from\": 0"), {"/observation/from is not of method replacement"}},
    {paired,
     OBSERVED(MASK),
     {"/observation/method replacement needs independent noise, which this model has not"}},
    {paired,
     OBSERVED(MASK ", \"method\": \"pnp_flow\""),
     {"/solver/method pnp_flow needs independent noise, which this model has not"}},
    /* solvers */
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"method\": \"dopri5\"}}",
     {"/solver/method replacement needs a fixed grid and a method that uses no velocity of earlier "
      "steps again; dopri5 is none"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"method\": \"unipc\"}}",
     {"/solver/method replacement needs a fixed grid"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"method\": \"pnp_flow\"}}",
     {"/solver/method pnp_flow solves inverse problems by itself: observation.method must be"}},
    {PLAIN,
     "{\"observation\": {" MASK ", \"method\": \"pnp_flow\"}, \"solver\": {\"method\": \"euler\"}}",
     {"/solver/method must be left out or pnp_flow"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"pnp_power\": 1, \"pnp_samples\": 2}}",
     {"/solver/pnp_power is not an option of midpoint",
      "/solver/pnp_samples is not an option of midpoint"}},
    {PLAIN,
     "{\"observation\": {" MASK ", \"method\": \"pnp_flow\"}, "
     "\"solver\": {\"pnp_power\": -1, \"pnp_samples\": 0}}",
     {"/solver/pnp_power must be a number from 0 to 100",
      "/solver/pnp_samples must be an integer from 1 to 100"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"time_grid\": [1, 0.5, 0]}}",
     {"/solver/time_grid must be a list of ascending numbers"}},
    {PLAIN,
     "{\"observation\": {" MASK "}, \"solver\": {\"time_grid\": [0.5, 1]}}",
     {"/solver/time_grid must begin at the source, 0, where noise is drawn"}},
};

START_TEST(a_broken_rule_is_refused_with_its_pointer)
{
    fmp_request request;
    fmp_problem problem;
    bool is_parsed = proto_case_parse(refusals[_i].model, E, refusals[_i].body, &request, &problem);
    ck_assert_msg(!is_parsed, "%s", refusals[_i].body);
    for (size_t i = 0; i < 4 && refusals[_i].errors[i] != NULL; i++) {
        ck_assert_msg(proto_case_has_error(&problem, refusals[_i].errors[i]), "%s: no %s; %s",
                      refusals[_i].body, refusals[_i].errors[i], problem.detail);
    }
}
END_TEST

static fm_model_info wide(void)
{
    fm_model_info info = proto_case_plain();
    info.shape[0] = info.dimension = 1 << 20;
    return info;
}

static fm_model_info several_marginals(void)
{
    fm_model_info info = proto_case_plain();
    info.time_range[1] = info.sample_range[1] = 2;
    return info;
}

START_TEST(a_matrix_is_bounded_and_nothing_is_observed_beyond_a_path)
{
    fmp_request request;
    fmp_problem problem;
    ck_assert(!proto_case_parse(
        wide, E, OBSERVED("\"operator\": \"matrix\", \"matrix\": [[1], [2]]"), &request, &problem));
    ck_assert(proto_case_has_error(&problem, "/observation/matrix must hold 1 to 1 rows"));
    ck_assert(!proto_case_parse(several_marginals, E, OBSERVED(MASK), &request, &problem));
    ck_assert(proto_case_has_error(&problem, "/solver/time_grid must lie within 0 to 1"));
}
END_TEST

START_TEST(the_arrays_of_a_request_are_counted)
{
    fm_model_info info = proto_case_plain();
    fmp_request request = parsed(proto_case_plain, OBSERVED(MASK));
    size_t doubles = 2 + 2 + fm_operator_misfit_scratch(&request.observation->forward);
    ck_assert_uint_eq(fmp_request_array_bytes(&request, &info),
                      51 * sizeof(double) + sizeof(fmp_observation) + doubles * sizeof(double));
    fmp_request_done(&request);
}
END_TEST

/* ---- run ---- */

/* Of tests/golden/gaussian-mixture-2d, where the second coordinate 1.5 tells the component about (-1, 1.5). */
static json_t *answer_to(const char *body)
{
    fm_error err;
    fm_model *model = NULL;
    fm_engine *engine = NULL;
    fm_model_options options = {.workers = 1};
    fm_engine_options engine_options = {.workers = 1};
    ck_assert_int_eq(fm_model_open("tests/golden/gaussian-mixture-2d", &options, &model, &err),
                     FM_OK);
    ck_assert_int_eq(fm_engine_new(&engine_options, &engine, &err), FM_OK);
    const fm_model_info *info = fm_model_describe(model);
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    bool is_parsed =
        fmp_request_parse_points(E, body, strlen(body), info, &limits, 5, &request, &problem);
    ck_assert_msg(is_parsed, "%s: %s", body, problem.detail);
    request.spec.model = model;
    fm_job_spec spec = fmp_request_job(&request, 0);
    fm_job *job = NULL;
    ck_assert_msg(fm_engine_submit(engine, &spec, &job, &err) == FM_OK, "%s", err.text);
    ck_assert_ptr_eq(fm_engine_wait(engine), job);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 1 << 20);
    fmp_response_write(&buffer, &request, info, "id", job);
    ck_assert(!buffer.failed && buffer.length <= fmp_request_answer_bytes(&request, info));
    json_t *ret = json_loadb(buffer.data, buffer.length, 0, NULL);
    ck_assert_ptr_nonnull(ret);
    fmp_buffer_done(&buffer);
    fm_job_free(job);
    fmp_request_done(&request);
    fm_engine_free(engine);
    fm_model_unref(model);
    return ret;
}

static const struct {
    const char *method, *echo;
    double most; /* of the residual; 0, 0.005 and 5e-5 seen */
} methods[] = {
    {"replacement", "{\"operator\":\"mask\",\"method\":\"replacement\",\"noise_std\":0}", 0},
    {"pnp_flow", "{\"operator\":\"mask\",\"method\":\"pnp_flow\",\"noise_std\":0}", 0.05},
    {"gradient",
     "{\"operator\":\"mask\",\"method\":\"gradient\",\"noise_std\":0,\"scale\":1,\"from\":0."
     "050000000000000003}",
     5e-4},
};

START_TEST(an_answer_says_how_well_its_samples_fit)
{
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"observation\": {" MASK ", \"method\": \"%s\"}, \"num_samples\": 20%s}",
                   methods[_i].method,
                   _i == 1 ? ", \"solver\": {\"steps\": 100, \"method\": \"pnp_flow\", "
                             "\"pnp_power\": 0}"
                           : "");
    json_t *answer = answer_to(body), *residuals = json_object_get(answer, "residual");
    ck_assert_uint_eq(json_array_size(residuals), 20);
    for (size_t i = 0; i < 20; i++) {
        json_t *sample = json_array_get(json_object_get(answer, "samples"), i);
        double second = json_number_value(json_array_get(sample, 1));
        double residual = json_number_value(json_array_get(residuals, i));
        /* Samples are float32 in the text: 1e-7 of 1.5 is allowed, 6e-8 seen. */
        ck_assert_double_eq_tol(residual, fabs(1.5 - second), 1e-7);
        ck_assert_double_le(residual, methods[_i].most);
    }
    char *echo = json_dumps(json_object_get(answer, "observation"), JSON_COMPACT);
    ck_assert_str_eq(echo, methods[_i].echo);
    free(echo);
    ck_assert_ptr_null(json_object_get(answer, "x0"));
    ck_assert_ptr_null(json_object_get(answer, "round_trip_error"));
    json_decref(answer);
}
END_TEST

START_TEST(residuals_are_written_as_tensors_are)
{
    json_t *answer = answer_to("{\"observation\": {" MASK "}, \"encoding\": \"base64\"}");
    json_t *residual = json_object_get(answer, "residual");
    ck_assert_str_eq(json_string_value(json_object_get(residual, "dtype")), "float64");
    ck_assert_str_eq(json_string_value(json_object_get(residual, "data")), "AAAAAAAAAAA=");
    json_decref(answer);
}
END_TEST

START_TEST(the_options_of_plug_and_play_are_echoed)
{
    json_t *answer = answer_to("{\"observation\": {" MASK ", \"method\": \"pnp_flow\"}, "
                               "\"solver\": {\"pnp_samples\": 2, \"pnp_power\": 0.5}}");
    json_t *solver = json_object_get(answer, "solver");
    ck_assert(json_number_value(json_object_get(solver, "pnp_power")) == 0.5);
    ck_assert(json_integer_value(json_object_get(solver, "pnp_samples")) == 2);
    json_t *evaluations = json_object_get(json_object_get(answer, "stats"), "evaluations");
    ck_assert(json_integer_value(json_array_get(evaluations, 0)) == 100);
    json_decref(answer);
}
END_TEST

Suite *suite_proto_observation(void)
{
    Suite *suite = suite_create("proto/observation");
    TCase *tcase = tcase_create("parse");
    tcase_add_loop_test(tcase, every_operator_is_read_and_applied, 0,
                        sizeof operators / sizeof *operators);
    tcase_add_test(tcase, a_method_says_what_the_engine_does_and_how_it_is_solved);
    tcase_add_test(tcase, one_observation_is_of_many_samples_and_many_are_of_one_each);
    tcase_add_loop_test(tcase, a_broken_rule_is_refused_with_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(tcase, a_matrix_is_bounded_and_nothing_is_observed_beyond_a_path);
    tcase_add_test(tcase, the_arrays_of_a_request_are_counted);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("run");
    tcase_add_loop_test(tcase, an_answer_says_how_well_its_samples_fit, 0,
                        sizeof methods / sizeof *methods);
    tcase_add_test(tcase, residuals_are_written_as_tensors_are);
    tcase_add_test(tcase, the_options_of_plug_and_play_are_echoed);
    suite_add_tcase(suite, tcase);
    return suite;
}
