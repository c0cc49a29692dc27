/* Requests that are refused: every rule of the contract, with the pointer that names what broke it. */
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct refusal {
    proto_case_model *model;
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

/* Its null class is one of its labels. */
static fm_model_info paired(void)
{
    fm_model_info info = proto_case_plain();
    info.paired = true;
    info.has_score = false;
    return info;
}

/* The same, but the network gives the score beside the velocity. */
static fm_model_info scored(void)
{
    fm_model_info info = paired();
    info.second_prediction = "score";
    info.has_score = true;
    return info;
}

static fm_model_info bfloat16_potential(void)
{
    fm_model_info info = proto_case_plain();
    info.prediction = "potential";
    info.has_divergence = false;
    return info;
}

static fm_model_info classifier(void)
{
    fm_model_info info = proto_case_without_null();
    info.name = "judge";
    info.prediction = "classifier";
    info.is_classifier = true;
    info.has_score = false;
    return info;
}

static fm_model_info null_within(void)
{
    fm_model_info info = proto_case_labelled();
    info.null_label = 0;
    return info;
}

static fm_model_info null_within_without_names(void)
{
    fm_model_info info = null_within();
    info.n_label_names = 0;
    return info;
}

#define S            FMP_API_SAMPLE
#define V            FMP_API_VELOCITY
#define E            FMP_API_ENCODE
#define L            FMP_API_LOG_LIKELIHOOD
#define PLAIN        proto_case_plain
#define LABELLED     proto_case_labelled
#define PAIRED       paired
#define SCORED       scored
#define WITHOUT_NULL proto_case_without_null

/* Its default grid starts where the state is no noise any more. */
static fm_model_info far_from_source(void)
{
    fm_model_info info = proto_case_plain();
    info.sample_range[0] = 0.01;
    return info;
}

#define DOUBLES(n, data) "{\"dtype\": \"float64\", \"shape\": [" #n "], \"data\": \"" data "\"}"

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
    {PLAIN, S, "{\"seed\": 9223372036854775807}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN, S, "{\"seed\": 1e30}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN, S, "{\"seed\": -9223372036854775808}", {"/seed must be an integer from 0 to 90"}},
    {PLAIN,
     S,
     "{\"num_samples\": 4294967297, \"timeout_ms\": 9007199254740993, "
     "\"solver\": {\"steps\": 1.8446744073709552e19, \"max_evaluations\": 3e20}}",
     {"/num_samples must be an integer from 1 to 1000",
      "/timeout_ms must be an integer from 1 to 60000",
      "/solver/steps must be an integer from 1 to 200",
      "/solver/max_evaluations must be an integer from 1 to 20000"}},
    {LABELLED, S, "{\"labels\": 18446744073709551616.0}", {"/labels must be"}},
    {LABELLED, S, "{\"labels\": [4294967297]}", {"/labels/0 must be an integer from 0"}},
    {PLAIN,
     S,
     "{\"x0\": {\"dtype\": \"float32\", \"shape\": [18446744073709551617e0, 2], \"data\": \"\"}}",
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
    {PLAIN, S, "{\"log_likelihood\": 1}", {"/log_likelihood must be true, false or an object"}},
    {PLAIN,
     S,
     "{\"log_likelihood\": {\"divergence\": \"trace\", \"probes\": 1025}}",
     {"/log_likelihood/divergence must be one of exact, hutchinson",
      "/log_likelihood/probes must be an integer from 1 to 1024"}},
    {PLAIN,
     S,
     "{\"log_likelihood\": {\"probes\": 2}}",
     {"/log_likelihood/probes is for the divergence hutchinson"}},
    {PLAIN,
     S,
     "{\"log_likelihood\": true, \"solver\": {\"method\": \"ddim\"}}",
     {"/log_likelihood needs a method that integrates the velocity alone: ddim"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"points\": 2, \"fields\": [\"log_density\"]}, \"solver\": {\"method\": "
     "\"euler_maruyama\"}}",
     {"/trajectory/fields needs a method that integrates the velocity alone: euler_maruyama"}},
    {PLAIN,
     S,
     "{\"log_likelihood\": true, \"x0\": [[1, 2]], \"solver\": {\"time_grid\": [0.5, 1]}}",
     {"/log_likelihood needs a grid that reaches the source at 0, where the density is known; its "
      "earliest time is 0.5"}},
    {PLAIN, S, "{\"priority\": 1}", {"/priority is not supported by this release"}},
    {PLAIN, S, "{\"stream\": true}", {"/stream is not supported by this release"}},
    {PLAIN, S, "{\"solver\": {\"schedule\": 1}}", {"/solver/schedule must be an object"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"channels\": 3}}",
     {"/guidance/channels must be \"all\" or from 1 to 2"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"channels\": 0}}",
     {"/guidance/channels must be \"all\" or an integer"}},
    {PLAIN, S, "{\"guidance\": {\"channels\": 1.5}}", {"/guidance/channels must be \"all\" or an"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"channels\": \"some\"}}",
     {"/guidance/channels must be \"all\" or"}},
    {PLAIN, S, "{\"guidance\": {\"channels\": 1e300}}", {"/guidance/channels must be \"all\" or"}},
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
     {"/solver must have one of steps, step_size, time_grid and schedule at most"}},
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
    /* forms of guidance */
    {LABELLED, S, "{\"guidance\": {\"interval\": [0.7, 0.3]}}", {"/guidance/interval must be"}},
    {LABELLED, S, "{\"guidance\": {\"interval\": [0.3]}}", {"/guidance/interval must be"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"rescale\": 1.5}}",
     {"/guidance/rescale must be a number from 0 to 1"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"schedule\": {\"type\": \"steep\"}}}",
     {"/guidance/schedule/type must be one of constant, linear, cosine, table"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"schedule\": {\"type\": \"table\"}}}",
     {"/guidance/schedule/t is required", "/guidance/schedule/values is required"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"schedule\": {\"type\": \"table\", \"t\": [0, 1], \"values\": [1]}}}",
     {"/guidance/schedule/values must have as many entries as t"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"schedule\": {\"type\": \"table\", \"t\": [0], \"values\": [1], \"end\": "
     "2}}}",
     {"/guidance/schedule/end is of types linear and cosine"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"schedule\": {\"type\": \"linear\", \"t\": [0, 1]}}}",
     {"/guidance/schedule/t is of type table"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"negative_labels\": 7}}",
     {"/guidance/negative_labels must be an integer from 0 to 2"}},
    {LABELLED,
     S,
     "{\"num_samples\": 2, \"guidance\": {\"negative_labels\": [1, 9]}}",
     {"/guidance/negative_labels/1 must be an integer from 0 to 2"}},
    {LABELLED,
     S,
     "{\"num_samples\": 2, \"guidance\": {\"negative_labels\": [1]}}",
     {"/guidance/negative_labels must have 2 entries"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"negative_labels\": 0}}",
     {"/guidance/negative_labels must be left out: the model has no labels"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"conditions\": {}}}",
     {"/guidance/conditions must be left out: the model has no labels"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"conditions\": {}}}",
     {"/guidance/conditions/labels is required", "/guidance/conditions/scales is required"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"conditions\": {\"labels\": [0], \"scales\": [1, 2]}}}",
     {"/guidance/conditions/labels must be a list with as many entries as scales"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"conditions\": {\"labels\": [\"four\"], \"scales\": [1]}}}",
     {"/guidance/conditions/labels/0 must be an integer"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"conditions\": {\"labels\": 0, \"scales\": [1, 1, 1, 1, 1, 1, 1, 1, 1]}}}",
     {"/guidance/conditions/scales must be"}},
    {WITHOUT_NULL,
     S,
     "{\"labels\": 1, \"guidance\": {\"conditions\": {\"labels\": [0], \"scales\": [1]}, "
     "\"schedule\": {\"type\": \"linear\"}}}",
     {"/guidance/conditions must be left out: the model has no null class",
      "/guidance/schedule must be left out: the model has no null class"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"projection\": {}, \"zero_star\": true}}",
     {"/guidance/projection must be left out with zero_star"}},
    {LABELLED,
     S,
     "{\"solver\": {\"method\": \"midpoint\"}, \"guidance\": {\"projection\": {\"momentum\": "
     "-0.5}}}",
     {"/guidance/projection/momentum needs a method that evaluates each step once: midpoint does "
      "not"}},
    {LABELLED,
     S,
     "{\"solver\": {\"method\": \"euler\"}, \"trajectory\": {\"points\": 2, \"fields\": "
     "[\"velocity\"]}, \"guidance\": {\"projection\": {\"momentum\": -0.5}}}",
     {"/guidance/projection/momentum cannot be had with trajectory.fields beside x"}},
    {LABELLED,
     S,
     "{\"log_likelihood\": true, \"guidance\": {\"rescale\": 0.5}}",
     {"/guidance/rescale must be left out of densities and divergences"}},
    {LABELLED,
     L,
     "{\"x\": [[[0, 0, 0], [0, 0, 0]]], \"guidance\": {\"zero_star\": true}}",
     {"/guidance/zero_star must be left out of densities"}},
    {LABELLED,
     V,
     "{\"x\": [[[0, 0, 0], [0, 0, 0]]], \"t\": 0.5, \"fields\": [\"divergence\"], \"guidance\": "
     "{\"projection\": {}}}",
     {"/guidance/projection must be left out of densities"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"model\": \"nowhere\"}}",
     {"/guidance/model must be a model that is loaded: there is no nowhere"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"model\": \"No Name\"}}",
     {"/guidance/model must be the name of a model"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"model\": \"two-moons\"}}",
     {"/guidance/model must be a model of the same shape, labels, prediction, path"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"model\": \"judge\"}}",
     {"/guidance/model must be a model of the same shape"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"model\": \"weak\", \"negative_labels\": 1}}",
     {"/guidance/negative_labels must be left out with guidance.model"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"classifier\": {}}}",
     {"/guidance/classifier/model is required", "/guidance/classifier/labels is required"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"classifier\": {\"model\": \"weak\", \"labels\": 0}}}",
     {"/guidance/classifier/model must be a classifier of the same shape and path"}},
    {LABELLED,
     S,
     "{\"guidance\": {\"classifier\": {\"model\": \"judge\", \"labels\": null}}}",
     {"/guidance/classifier/labels must be a label: the model has no null class"}},
    {PLAIN,
     S,
     "{\"guidance\": {\"classifier\": {\"model\": \"judge\", \"labels\": 0}}}",
     {"/guidance/classifier/model must be a classifier of the same shape and path"}},
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
    {null_within,
     S,
     "{\"labels\": 4}",
     {"/labels must be an integer from 0 to 2, a name that the model lists, or null"}},
    {null_within_without_names,
     S,
     "{\"labels\": 4}",
     {"/labels must be an integer from 0 to 2 or null"}},
    {LABELLED,
     S,
     "{\"labels\": [0, 1], \"num_samples\": 1}",
     {"/labels must have one entry; it has 2"}},
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
     "{\"trajectory\": {\"points\": 2, \"fields\": [\"x\", \"divergence\", \"y\"]}}",
     {"/trajectory/fields/2 must be one of x"}},
    {PLAIN, S, "{\"trajectory\": {\"points\": 2, \"fields\": []}}", {"/trajectory/fields must be"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"points\": 2, \"fields\": [\"score\"]}}",
     {"/trajectory/fields score has no finite value at t = 1 of this path"}},
    /* options of methods */
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler\", \"eta\": 1}}",
     {"/solver/eta is not an option of euler"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"ddpm\", \"eta\": 1.5, \"churn\": 2}}",
     {"/solver/eta must be a number from 0 to 1", "/solver/churn is not an option of ddpm"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"edm_heun\", \"churn\": -1, \"noise_scale\": 0}}",
     {"/solver/churn must be a number from 0", "/solver/noise_scale must be a number above 0"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"edm_heun\", \"churn_range\": [-1, 3]}}",
     {"/solver/churn_range must not be negative"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"edm_heun\", \"churn_range\": [3, 1]}}",
     {"/solver/churn_range must be a list of ascending numbers, of 2"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"predictor_corrector\", \"corrector_steps\": 0, \"snr\": \"1\"}}",
     {"/solver/corrector_steps must be an integer from 1 to 100",
      "/solver/snr must be a number above 0"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": 1}}",
     {"/solver/diffusion must be an object"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"type\": \"g\"}, "
     "\"last_step\": \"x\"}}",
     {"/solver/diffusion/type must be one of sigma", "/solver/last_step must be one of mean"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"type\": \"table\", \"norm\": "
     "2}}}",
     {"/solver/diffusion/norm is not of a table", "/solver/diffusion/t is required",
      "/solver/diffusion/values is required"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"type\": \"table\", \"t\": "
     "[0, 1], "
     "\"values\": [1]}}}",
     {"/solver/diffusion/values must have as many entries as t"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"type\": \"table\", \"t\": "
     "[0, 1], "
     "\"values\": [1, -1]}}}",
     {"/solver/diffusion/values must not be negative"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"t\": [0, 1]}}}",
     {"/solver/diffusion/t is of type table"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\", \"diffusion\": {\"type\": \"sbdm\"}}}",
     {"/solver/diffusion/type sbdm has no finite value at the grid's first time"}},
    {PAIRED,
     S,
     "{\"solver\": {\"method\": \"ddpm\"}}",
     {"/solver/method ddpm needs independent noise, which this model has not"}},
    {PAIRED,
     S,
     "{\"solver\": {\"method\": \"euler_maruyama\"}}",
     {"/solver/method euler_maruyama needs the score, which is not known of this model"}},
    {SCORED,
     S,
     "{\"solver\": {\"method\": \"noise_refresh\"}}",
     {"/solver/method noise_refresh needs independent noise, which this model has not"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"pnp_flow\"}}",
     {"/solver/method pnp_flow solves inverse problems alone: it needs an observation"}},
    {PAIRED,
     V,
     "{\"x\": [[1, 2]], \"t\": 0.5, \"fields\": [\"x1_hat\", \"score\"]}",
     {"/fields/1 score is not known of this model: its noise and data were paired"}},
    {bfloat16_potential,
     V,
     "{\"x\": [[1, 2]], \"t\": 0.5, \"fields\": [\"divergence\"]}",
     {"/fields/0 needs the divergence, which a potential in bfloat16 does not have"}},
    {bfloat16_potential, L, "{\"x\": [[1, 2]]}", {"/x needs the divergence"}},
    {bfloat16_potential, S, "{\"log_likelihood\": true}", {"/log_likelihood needs the divergence"}},
    {bfloat16_potential,
     S,
     "{\"trajectory\": {\"points\": 2, \"fields\": [\"log_density\"]}}",
     {"/trajectory/fields needs the divergence"}},
    /* schedule */
    {PLAIN,
     S,
     "{\"solver\": {\"schedule\": {\"steps\": 5}}}",
     {"/solver/schedule/type is required"}},
    {PLAIN,
     S,
     "{\"solver\": {\"schedule\": {\"type\": \"shift\", \"steps\": 201, \"rho\": 7}}}",
     {"/solver/schedule/steps must be an integer from 1 to 200",
      "/solver/schedule/rho is not of schedule shift"}},
    {PLAIN,
     S,
     "{\"solver\": {\"schedule\": {\"type\": \"shift\", \"shift\": 0}}}",
     {"/solver/schedule shift must be above 0"}},
    {PLAIN,
     S,
     "{\"solver\": {\"schedule\": {\"type\": \"dynamic_shift\"}}}",
     {"/solver/schedule length is required for dynamic_shift"}},
    {PLAIN,
     S,
     "{\"solver\": {\"steps\": 5, \"schedule\": {\"type\": \"cosine\"}}}",
     {"/solver must have one of steps, step_size, time_grid and schedule at most"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": \"dopri5\", \"schedule\": {\"type\": \"cosine\"}}}",
     {"/solver/schedule is for methods with a fixed step"}},
    /* scheduler */
    {PLAIN, S, "{\"scheduler\": \"vp\"}", {"/scheduler must be an object"}},
    {PLAIN, S, "{\"scheduler\": {\"n\": 2}}", {"/scheduler/type is required"}},
    {PLAIN, S, "{\"scheduler\": {\"type\": \"ddpm\"}}", {"/scheduler/type must be one of condot"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"vp\", \"n\": 2, \"beta_max\": \"20\", \"t\": [0, 1]}}",
     {"/scheduler/n is not of scheduler vp", "/scheduler/beta_max must be a number",
      "/scheduler/t is not of scheduler vp"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"vp\", \"beta_min\": 30}}",
     {"/scheduler scheduler vp: beta_max must be"}},
    {WITHOUT_NULL,
     S,
     "{\"labels\": 0, \"scheduler\": {\"type\": \"ve\", \"sigma_min\": 1e6, \"sigma_max\": 2e6}}",
     {"/scheduler must have noise levels sigma / alpha in common with the model's path"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"table\", \"t\": [0, 1], \"alpha\": [0, 0.5, 1]}}",
     {"/scheduler/alpha must have as many entries as t", "/scheduler/sigma is required"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"table\", \"t\": [0, 1], \"alpha\": [0, 1], \"sigma\": [0, 1]}}",
     {"/scheduler sigma must not rise; entry 1 does"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"ve\"}, \"solver\": {\"time_grid\": [0, 1.5]}}",
     {"/solver/time_grid must lie within the model's 0 to 1"}},
    {PLAIN,
     S,
     "{\"scheduler\": {\"type\": \"vp\"}, \"solver\": {\"time_grid\": [0, 1]}}",
     {"/solver/time_grid must lie within the model's 0 to 0.999"}},
    {LABELLED,
     S,
     "{\"encoding\": \"base64\", \"trajectory\": {\"every_step\": true}}",
     {"/trajectory/every_step must not be true with base64"}},
    /* times in base64: 0 1 0.5; 0 NaN 1; 0; 0 1.5; 1e300 0 */
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": " DOUBLES(3, "AAAAAAAAAAAAAAAAAADwPwAAAAAAAOA/") "}}",
     {"/solver/time_grid must be a list of ascending numbers, of 2 to 201"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": " DOUBLES(3, "AAAAAAAAAAAAAAAAAAD4fwAAAAAAAPA/") "}}",
     {"/solver/time_grid/data must hold finite numbers"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": " DOUBLES(1, "AAAAAAAAAAA=") "}}",
     {"/solver/time_grid/shape must be [n], n from 2 to 201"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": " DOUBLES(202, "AAAAAAAAAAA=") "}}",
     {"/solver/time_grid/shape must be [n], n from 2 to 201"}},
    {PLAIN,
     S,
     "{\"solver\": {\"time_grid\": " DOUBLES(2, "AAAAAAAAAAAAAAAAAAD4Pw==") "}}",
     {"/solver/time_grid must lie within the model's 0 to 1"}},
    {PLAIN,
     S,
     "{\"solver\": {\"method\": 1, \"time_grid\": {\"order\": 1, \"dtype\": \"float64\", "
     "\"shape\": [2], "
     "\"data\": 1}}}",
     {"/solver/method must be the name", "/solver/time_grid must have no members but",
      "/solver/time_grid/data must be a base64 string"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"times\": " DOUBLES(2, "AAAAAAAAAAAAAAAAAAD4Pw==") "}}",
     {"/trajectory/times must lie between the grid's"}},
    {PLAIN,
     S,
     "{\"trajectory\": {\"times\": " DOUBLES(2, "AAAAAAAAAAAAAAAAAAD4") "}}",
     {"/trajectory/times/data must be the base64 of as many bytes"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": " DOUBLES(2, "AAAAAAAAAAAAAAAAAAD4Pw==") "}",
     {"/t must have one entry"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2], [3, 4]], \"t\": " DOUBLES(2, "AAAAAAAAAAAAAAAAAAD4Pw==") "}",
     {"/t/1 must be a number from 0 to 1"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2], [3, 4]], \"t\": " DOUBLES(2, "nHUAiDzkN34AAAAAAAAAAA==") "}",
     {"/t/0 must be a number from 0 to 1"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": {\"shape\": 3}}",
     {"/t/shape must be [n], n from 1 to 1000", "/t/dtype must be", "/t/data must be"}},
    /* velocity */
    {PLAIN, V, "{}", {"/x is required", "/t is required"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": 1.5}", {"/t must be a number from 0 to 1"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": [0, 1]}", {"/t must have one entry; it has 2"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2], [3, 4]], \"t\": [0, \"1\"]}",
     {"/t/1 must be a number from 0 to 1"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": 0, \"fields\": [\"log_density\", \"divergence\"], \"probe\": "
     "\"gaussian\"}",
     {"/fields/0 log_density of given points is not known of this model",
      "/probe is for the divergence hutchinson"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": 1, \"fields\": [\"score\"]}",
     {"/t score has no finite value at t = 1 of this path"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2], [3, 4]], \"t\": [0, 1], \"fields\": [\"x1_hat\", \"score\"]}",
     {"/t/1 score has no finite value at t = 1 of this path"}},
    {PLAIN,
     V,
     "{\"x\": [[1, 2]], \"t\": 0, \"fields\": [\"log_density\"]}",
     {"/fields/0 log_density of given points is not known of this model"}},
    {PLAIN, V, "{\"x\": [[1, 2]], \"t\": 0, \"num_samples\": 1}", {"/num_samples is not a field"}},
    {PLAIN, E, "{}", {"/x1 is required"}},
    {PLAIN, E, "{\"x\": [[1, 2]]}", {"/x is not a field of this request", "/x1 is required"}},
    {PLAIN, E, "{\"x1\": [[1, 2]], \"num_samples\": 1}", {"/num_samples is not a field"}},
    {PLAIN,
     E,
     "{\"x1\": [[1, 2]], \"solver\": {\"time_grid\": [0, 1]}}",
     {"/solver/time_grid must be a list of descending numbers, of 2 to 201 entries"}},
    {PLAIN,
     E,
     "{\"x1\": [[1, 2]], \"solver\": {\"time_grid\": [1.5, 0]}}",
     {"/solver/time_grid must lie within the model's 0 to 1"}},
    {PLAIN,
     E,
     "{\"x1\": [[1, 2]], \"trajectory\": {\"times\": [0, 1]}}",
     {"/trajectory/times must be a list of descending numbers"}},
    {PLAIN,
     E,
     "{\"x1\": [[1, 2]], \"solver\": {\"method\": \"ddpm\"}}",
     {"/solver/method must integrate the velocity alone"}},
    {PLAIN,
     E,
     "{\"x1\": [[1, 2]], \"log_likelihood\": true, \"solver\": {\"time_grid\": [1, 0.25]}}",
     {"/log_likelihood needs a grid that reaches the source at 0"}},
    {PLAIN, L, "{\"x1\": [[1, 2]]}", {"/x1 is not a field of this request", "/x is required"}},
    {PLAIN,
     L,
     "{\"x\": [[1, 2]], \"trajectory\": {\"points\": 2}}",
     {"/trajectory is not a field"}},
    {PLAIN,
     L,
     "{\"x\": [[1, 2]], \"probes\": 2, \"divergence\": \"exact\"}",
     {"/probes is for the divergence hutchinson"}},
    {PLAIN,
     L,
     "{\"x\": [[1, 2]], \"solver\": {\"time_grid\": [1, 0.25]}}",
     {"/solver needs a grid that reaches the source at 0"}},
};

START_TEST(a_broken_rule_is_refused_with_its_pointer)
{
    const refusal *row = &refusals[_i];
    fmp_request request;
    fmp_problem problem;
    ck_assert_msg(!proto_case_parse(row->model, row->route, row->body, &request, &problem), "%s",
                  row->body);
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_INVALID_REQUEST);
    char found[2000] = "";
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(&problem, &at, &error);) {
        size_t used = strlen(found);
        (void)snprintf(found + used, sizeof found - used, "[%s %s]", error.pointer, error.detail);
    }
    size_t n_expected = 0;
    for (; n_expected < 4 && row->errors[n_expected] != NULL; n_expected++) {
        const char *expected = row->errors[n_expected];
        ck_assert_msg(proto_case_has_error(&problem, expected), "%s: no %s in %s", row->body,
                      expected, found);
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
    {"{\"seed\": 9223372036854775808}", "line 1, column 10: an integer beyond 64 bits"},
    {"{\"seed\": 12345678901234567890123}", "line 1, column 10: an integer beyond 64 bits"},
    {"{\n \"seed\":\n  -9223372036854775809}", "line 3, column 3: an integer beyond 64 bits"},
    {"{\"a\": \"\xc3\xa4\", \"b\": [1, 10000000000000000000]}", "line 1, column 21: an integer"},
    {"{\"a\": \"10000000000000000000\\\"\", \"b\": -100000000000000000000}",
     "column 38: an integer"},
    {"{\"x0\": [[0, 99999999999999999999999999999999]]}", "line 1, column 13: an integer"},
    {"{\"labels\": \"a\\u0000b\"}", "line 1, column 21: \\u0000 is not allowed"},
    {"{\"labels\": \"\xff\"}", "byte 0xff"},
    {"\xef\xbb\xbf{}", "line 1"},
    {"{\"x0\": NaN}", "line 1"},
    {" ", "line 1"},
};

START_TEST(a_score_beside_the_velocity_is_enough_for_the_stochastic_equation)
{
    static const char *const methods[] = {"euler_maruyama", "stochastic_heun",
                                          "predictor_corrector"};
    for (size_t i = 0; i < 3; i++) {
        char body[256];
        fmp_request request;
        fmp_problem problem;
        (void)snprintf(body, sizeof body,
                       "{\"solver\": {\"method\": \"%s\"}, \"trajectory\": "
                       "{\"times\": [0.5], \"fields\": [\"score\"]}}",
                       methods[i]);
        ck_assert_msg(proto_case_parse(scored, FMP_API_SAMPLE, body, &request, &problem), "%s",
                      methods[i]);
        fmp_request_done(&request);
    }
}
END_TEST

START_TEST(a_classifier_is_asked_nothing_and_has_no_defaults_to_check)
{
    static const fmp_api_route routes[] = {S, V, E, L};
    fmp_request request;
    fmp_problem problem;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        ck_assert(!proto_case_parse(classifier, routes[i], "{\"labels\": 0}", &request, &problem));
        ck_assert_int_eq(fmp_problem_status(&problem), 422);
        ck_assert_str_eq(problem.detail,
                         "judge is a classifier: it guides other models (guidance.classifier) and "
                         "has no velocity itself");
        ck_assert_uint_eq(problem.n_errors, 0);
    }
    fm_model_info model = classifier();
    fmp_limits limits = proto_case_limits();
    ck_assert(fmp_request_check_defaults(&model, &limits, &problem));
}
END_TEST

START_TEST(what_is_not_json_is_malformed_with_line_and_column)
{
    fmp_request request;
    fmp_problem problem;
    ck_assert(!proto_case_parse(proto_case_plain, FMP_API_SAMPLE, malformed[_i].body, &request,
                                &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_MALFORMED);
    ck_assert_int_eq(fmp_problem_status(&problem), 400);
    ck_assert_msg(strstr(problem.detail, malformed[_i].detail) != NULL, "%s", problem.detail);
    ck_assert_msg(strstr(problem.detail, "JSON_") == NULL, "%s", problem.detail);
    ck_assert_uint_eq(problem.n_errors, 0);
}
END_TEST

/* Digits that are no integer of the body: within strings, before a fraction, an exponent. */
START_TEST(digits_elsewhere_are_no_integer)
{
    static const char *const bodies[] = {
        "{\"seed\": \"10000000000000000000\"}",
        "{\"a\\\"10000000000000000000\": 1}",
        "{\"seed\": 10000000000000000000.0}",
        "{\"seed\": 10000000000000000000e-3}",
        "{\"seed\": 0.10000000000000000000}",
        "{\"seed\": 1E10000000000000000000000000000000000000000000000000000000}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        fmp_request request;
        fmp_problem problem;
        bool parsed =
            proto_case_parse(proto_case_plain, FMP_API_SAMPLE, bodies[i], &request, &problem);
        ck_assert_msg(strstr(problem.detail, "integer beyond") == NULL, "%s", problem.detail);
        fmp_request_done(parsed ? &request : NULL);
    }
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
    ck_assert(!proto_case_parse(proto_case_plain, FMP_API_SAMPLE, body, &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_MALFORMED);
    free(body);
}
END_TEST

START_TEST(an_answer_over_the_limit_is_too_large)
{
    fmp_request request;
    fmp_problem problem;
    ck_assert(!proto_case_parse(proto_case_plain, FMP_API_SAMPLE,
                                "{\"num_samples\": 1000, \"solver\": {\"steps\": 200}, "
                                "\"trajectory\": {\"every_step\": true}}",
                                &request, &problem));
    ck_assert_int_eq(problem.kind, FMP_PROBLEM_TOO_LARGE);
    ck_assert_msg(strstr(problem.detail, "10000000") != NULL, "%s", problem.detail);
    fmp_request small = proto_case_sample(proto_case_plain, "{\"num_samples\": 1000}");
    fmp_request_done(&small);
}
END_TEST

Suite *suite_proto_request_rules(void)
{
    Suite *suite = suite_create("proto/request_rules");
    TCase *tcase = tcase_create("refuse");
    tcase_add_test(tcase, a_score_beside_the_velocity_is_enough_for_the_stochastic_equation);
    tcase_add_loop_test(tcase, a_broken_rule_is_refused_with_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_loop_test(tcase, what_is_not_json_is_malformed_with_line_and_column, 0,
                        sizeof malformed / sizeof *malformed);
    tcase_add_test(tcase, a_classifier_is_asked_nothing_and_has_no_defaults_to_check);
    tcase_add_test(tcase, digits_elsewhere_are_no_integer);
    tcase_add_test(tcase, deep_nesting_is_refused_and_not_followed);
    tcase_add_test(tcase, an_answer_over_the_limit_is_too_large);
    suite_add_tcase(suite, tcase);
    return suite;
}
