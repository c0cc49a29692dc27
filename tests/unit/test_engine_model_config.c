/* config.json: defaults, every rule of the contract, and the pointer in every error. */
#include "engine/checkpoint/model_config.h"
#include "tests/support/failing_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA  "\"schema\":\"velocityd.model/1\""
#define MLP     "\"network\":{\"architecture\":\"mlp\",\"activation\":\"silu\"}"
#define FLOW    "\"flow\":{\"shape\":[2]}"
#define MINIMAL "{" SCHEMA "," MLP "," FLOW "}"

/* Variations on the minimal file, one section each. */
#define ROOT(more)      "{" SCHEMA "," MLP "," FLOW "," more "}"
#define NETWORK(body)   "{" SCHEMA "," FLOW ",\"network\":{" body "}}"
#define MLP_WITH(more)  NETWORK("\"architecture\":\"mlp\",\"activation\":\"silu\"," more)
#define FLOW_IS(body)   "{" SCHEMA "," MLP ",\"flow\":{" body "}}"
#define FLOW_WITH(more) FLOW_IS("\"shape\":[2]," more)
#define LABELLED(labels)                                                                           \
    "{" SCHEMA "," FLOW ",\"network\":{\"architecture\":\"mlp\",\"activation\":\"relu\","          \
    "\"label\":\"concat\"},\"conditioning\":{\"labels\":" labels "}}"
#define CLASSIFIER(network, rest)                                                                  \
    "{" SCHEMA ",\"network\":{" network                                                            \
    "},\"flow\":{\"shape\":[2],\"prediction\":\"classifier\"}" rest "}"
#define SILU              "\"architecture\":\"mlp\",\"activation\":\"silu\""
#define OF_LABELS(labels) ",\"conditioning\":{\"labels\":" labels "}"
#define MIXTURE_BODY(weights, means, stds)                                                         \
    "\"architecture\":\"gaussian_mixture\",\"weights\":" weights ",\"means\":" means               \
    ",\"stds\":" stds
#define MIXTURE(weights, means, stds) NETWORK(MIXTURE_BODY(weights, means, stds))
#define GOOD_MIXTURE                  MIXTURE_BODY("[1,3]", "[[1,2],[3,4]]", "[0.5,2]")
#define DATASET_WITH(flow)                                                                         \
    "{" SCHEMA ",\"network\":{\"architecture\":\"dataset\",\"file\":\"p.npy\"},\"flow\":{"         \
    "\"shape\":[2]" flow "}}"

static fm_status parse(const char *json, fm_model_config *ret, fm_error *err)
{
    /* Exactly as long as the text, so that ASan sees one byte too far. */
    size_t length = strlen(json);
    char *copy = malloc(length + (length == 0));
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, json, length);
    fm_status status = fm_model_config_parse("models/a-model", copy, length, ret, err);
    free(copy);
    return status;
}

static void parse_well(const char *json, fm_model_config *ret)
{
    fm_error err = {0};
    fm_status status = parse(json, ret, &err);
    ck_assert_msg(status == FM_OK, "%s: %s", json, err.text);
}

/* ---- What is read ---- */

START_TEST(a_minimal_file_has_the_contracts_defaults)
{
    fm_model_config config;
    parse_well(MINIMAL, &config);
    ck_assert_str_eq(config.name, "a-model");
    ck_assert_str_eq(config.folder, "models/a-model");
    ck_assert_str_eq(config.description, "");
    ck_assert_str_eq(config.license, "");
    ck_assert_int_eq(config.architecture, FM_ARCHITECTURE_MLP);
    ck_assert_int_eq(config.mlp.activation, FM_ACTIVATION_SILU);
    ck_assert(!config.mlp.time_first);
    ck_assert_int_eq(config.mlp.label, FM_MLP_LABEL_NONE);
    ck_assert_uint_eq(config.mlp.fourier_count, 0);
    ck_assert_ptr_null(config.mlp.layers);
    ck_assert_str_eq(config.weights_file, "model.safetensors");
    ck_assert_str_eq(config.weights_prefix, "");
    ck_assert_uint_eq(config.rank, 1);
    ck_assert_uint_eq(config.dimension, 2);
    ck_assert(config.path.source_std == 1.0);
    ck_assert_str_eq(fm_path_type_name(config.path.type), "condot");
    ck_assert(!config.data_to_noise);
    ck_assert(config.time_scale == 1.0);
    ck_assert(config.time_range[0] == 0.0 && config.time_range[1] == 1.0);
    ck_assert(config.sample_range[0] == 0.0 && config.sample_range[1] == 1.0);
    ck_assert(!config.has_labels && !config.has_null_label);
    ck_assert_uint_eq(config.n_label_names, 0);
    ck_assert_str_eq(config.output_kind, "points");
    ck_assert(config.output_range[0] == -1.0 && config.output_range[1] == 1.0);
    ck_assert_str_eq(config.defaults_json, "{}");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_key_is_read)
{
    fm_model_config config;
    parse_well(
        "{" SCHEMA ",\"description\":\"d\",\"license\":\"CC0-1.0\",\"network\":{"
        "\"architecture\":\"mlp\",\"activation\":\"gelu_tanh\",\"time\":\"concat_first\","
        "\"label\":\"concat\",\"features\":{\"type\":\"fourier\",\"count\":3},"
        "\"layers\":[\"in\",\"out\"]},"
        "\"weights\":{\"file\":\"m.safetensors.index.json\",\"prefix\":\"ema.\","
        "\"compute\":\"float32\"},"
        "\"flow\":{\"space\":\"euclidean\",\"shape\":[3,4,5],\"source\":{\"type\":\"normal\","
        "\"std\":2},\"scheduler\":{\"type\":\"edm\",\"rho\":5,\"sigma_max\":90.5},"
        "\"prediction\":\"velocity\",\"time\":{\"direction\":\"data_to_noise\","
        "\"scale\":-1000,\"range\":[-1,2],\"sample_range\":[-0.5,2]}},"
        "\"conditioning\":{\"labels\":{\"count\":2,\"null\":2,\"names\":[\"x\",\"y\"]}},"
        "\"output\":{\"kind\":\"image\",\"range\":[0,255]},"
        "\"defaults\":{\"solver\":{\"method\":\"dopri5\",\"rtol\":1e-06},\"seed\":7}}",
        &config);
    ck_assert_str_eq(config.description, "d");
    ck_assert_str_eq(config.license, "CC0-1.0");
    ck_assert_int_eq(config.mlp.activation, FM_ACTIVATION_GELU_TANH);
    ck_assert(config.mlp.time_first);
    ck_assert_int_eq(config.mlp.label, FM_MLP_LABEL_CONCAT);
    ck_assert_uint_eq(config.mlp.fourier_count, 3);
    ck_assert_uint_eq(config.mlp.n_layers, 2);
    ck_assert_str_eq(config.mlp.layers[0], "in");
    ck_assert_str_eq(config.mlp.layers[1], "out");
    ck_assert_str_eq(config.weights_file, "m.safetensors.index.json");
    ck_assert_str_eq(config.weights_prefix, "ema.");
    ck_assert_uint_eq(config.rank, 3);
    ck_assert_uint_eq(config.shape[2], 5);
    ck_assert_uint_eq(config.dimension, 60);
    ck_assert(config.path.source_std == 2.0);
    ck_assert_str_eq(fm_path_type_name(config.path.type), "edm");
    ck_assert(config.path.parameters[0] == 0.002 && config.path.parameters[1] == 90.5 &&
              config.path.parameters[2] == 5.0);
    ck_assert(config.data_to_noise);
    ck_assert(config.time_scale == -1000.0);
    ck_assert(config.time_range[0] == -1.0 && config.time_range[1] == 2.0);
    ck_assert(config.sample_range[0] == -0.5 && config.sample_range[1] == 2.0);
    ck_assert(config.has_labels && config.has_null_label);
    ck_assert_int_eq(config.label_count, 2);
    ck_assert_int_eq(config.null_label, 2);
    ck_assert_uint_eq(config.n_label_names, 2);
    ck_assert_str_eq(config.label_names[1], "y");
    ck_assert_str_eq(config.output_kind, "image");
    ck_assert(config.output_range[0] == 0.0 && config.output_range[1] == 255.0);
    ck_assert_str_eq(config.defaults_json,
                     "{\"solver\":{\"method\":\"dopri5\",\"rtol\":1e-6},\"seed\":7}");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_activation_and_scheduler_is_found_by_name)
{
    fm_model_config config;
    char json[512];
#define FM_ACTIVATION(id, name)                                                                    \
    parse_well(NETWORK("\"architecture\":\"mlp\",\"activation\":\"" name "\""), &config);          \
    ck_assert_int_eq(config.mlp.activation, FM_ACTIVATION_##id);                                   \
    fm_model_config_done(&config);
#include "engine/math/activation.def"
#undef FM_ACTIVATION
    const char *names[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                           "cosine", "ve",         "edm", "target"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(json, sizeof json, FLOW_WITH("\"scheduler\":{\"type\":\"%s\"}"), names[i]);
        parse_well(json, &config);
        ck_assert_ptr_eq(config.path.type, fm_path_type_find(names[i]));
        const char *name = NULL;
        double fallback = 0.0;
        for (size_t k = 0; fm_path_type_parameter(config.path.type, k, &name, &fallback); k++) {
            ck_assert(config.path.parameters[k] == fallback);
        }
        fm_model_config_done(&config);
    }
}
END_TEST

START_TEST(a_pytorch_file_may_name_its_entry)
{
    fm_model_config config;
    parse_well(ROOT("\"weights\":{\"file\":\"m.pth\"}"), &config);
    ck_assert_str_eq(config.weights_file, "m.pth");
    ck_assert_ptr_null(config.weights_entry);
    fm_model_config_done(&config);
    parse_well(ROOT("\"weights\":{\"file\":\"m.pt\",\"entry\":\"ema.model\"}"), &config);
    ck_assert_str_eq(config.weights_entry, "ema.model");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(mixture_weights_are_normalised)
{
    fm_model_config config;
    parse_well(MIXTURE("[1,0,3]", "[[1,2],[3,4],[5,6]]", "[0.5,2,1e-3]"), &config);
    const fm_mixture_config *mixture = &config.gaussian_mixture.mixture;
    ck_assert_int_eq(config.architecture, FM_ARCHITECTURE_GAUSSIAN_MIXTURE);
    ck_assert_uint_eq(mixture->n_components, 3);
    ck_assert(mixture->weights[0] == 0.25 && mixture->weights[1] == 0.0 &&
              mixture->weights[2] == 0.75);
    for (size_t i = 0; i < 6; i++) {
        ck_assert(mixture->means[i] == (double)i + 1.0);
    }
    ck_assert(mixture->stds[1] == 2.0);
    ck_assert_uint_eq(config.gaussian_mixture.n_classes, 0);
    ck_assert(config.sample_range[1] == 1.0); /* a mixture has no singular end */
    fm_model_config_done(&config);
    parse_well(MIXTURE("[1e308,1e308,1e308]", "[[1,2],[3,4],[5,6]]", "[1,1,1]"), &config);
    ck_assert_double_eq_tol(config.gaussian_mixture.mixture.weights[2], 1.0 / 3.0, 1e-15);
    fm_model_config_done(&config);
}
END_TEST

#define CLASS         "{\"weights\":[1],\"means\":[[7,8]],\"stds\":[0.25]}"
#define CLASSES(list) "{" SCHEMA "," FLOW ",\"network\":{" GOOD_MIXTURE ",\"classes\":" list "}"

START_TEST(a_mixture_may_have_one_for_each_label)
{
    fm_model_config config;
    parse_well(CLASSES("[" CLASS "," CLASS "]") ",\"conditioning\":{\"labels\":{\"count\":2,"
                                                "\"null\":2}}}",
               &config);
    ck_assert_uint_eq(config.gaussian_mixture.n_classes, 2);
    ck_assert_uint_eq(config.gaussian_mixture.classes[1].n_components, 1);
    ck_assert(config.gaussian_mixture.classes[1].means[1] == 8.0);
    ck_assert(config.gaussian_mixture.classes[0].stds[0] == 0.25);
    ck_assert(config.has_null_label && config.null_label == 2);
    fm_model_config_done(&config);
}
END_TEST

START_TEST(a_classifier_has_labels_though_its_network_takes_none)
{
    fm_model_config config;
    parse_well(CLASSIFIER(SILU, OF_LABELS("{\"count\":3,\"names\":[\"a\",\"b\",\"c\"]}")), &config);
    ck_assert(config.classifier && config.reversible && !config.potential);
    ck_assert(config.has_labels && !config.has_null_label && config.label_count == 3);
    ck_assert_int_eq(config.mlp.label, FM_MLP_LABEL_NONE);
    ck_assert_str_eq(fm_model_config_prediction(&config), "classifier");
    ck_assert(config.sample_range[0] == 0 && config.sample_range[1] == 1);
    fm_model_config_done(&config);
    parse_well(FLOW_WITH("\"prediction\":\"potential\""), &config);
    ck_assert(config.potential && config.reversible && !config.classifier);
    ck_assert_str_eq(fm_model_config_prediction(&config), "potential");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(the_default_sample_range_keeps_off_singular_ends)
{
    static const struct {
        const char *json;
        double first, last;
    } rows[] = {
        {DATASET_WITH(""), 0.0, 1.0 - 1e-3},
        {DATASET_WITH(",\"scheduler\":{\"type\":\"target\"}"), 0.0, 1.0},
        {DATASET_WITH(",\"scheduler\":{\"type\":\"ve\"}"), 0.0, 1.0},
        {DATASET_WITH(",\"scheduler\":{\"type\":\"polynomial\",\"n\":0.5}"), 1e-3, 1.0 - 1e-3},
        {DATASET_WITH(",\"time\":{\"range\":[0.25,0.5]}"), 0.25, 0.5},
        {DATASET_WITH(",\"time\":{\"sample_range\":[0.5,1]}"), 0.5, 1.0},
        {FLOW_WITH("\"time\":{\"range\":[-1,2]}"), -1.0, 2.0},
        {FLOW_WITH("\"scheduler\":{\"type\":\"polynomial\",\"n\":0.5}"), 0.0, 1.0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fm_model_config config;
        parse_well(rows[i].json, &config);
        ck_assert_msg(config.sample_range[0] == rows[i].first &&
                          config.sample_range[1] == rows[i].last,
                      "%s: [%g, %g]", rows[i].json, config.sample_range[0], config.sample_range[1]);
        fm_model_config_done(&config);
    }
}
END_TEST

START_TEST(defaults_keep_their_numbers_with_few_digits)
{
    fm_model_config config;
    parse_well(ROOT("\"defaults\":{\"a\":0.1,\"b\":0.30000000000000004,\"c\":[1,null,true]}"),
               &config);
    /* One precision for all: 17 digits, which 0.30000000000000004 needs. */
    ck_assert_ptr_nonnull(strstr(config.defaults_json, "0.30000000000000004"));
    fm_model_config_done(&config);
    parse_well(ROOT("\"defaults\":{\"a\":0.1,\"b\":1e-5}"), &config);
    ck_assert_str_eq(config.defaults_json, "{\"a\":0.1,\"b\":1e-5}");
    fm_model_config_done(&config);
}
END_TEST

START_TEST(every_reference_configuration_is_read)
{
    DIR *listing = opendir("tests/golden");
    ck_assert_ptr_nonnull(listing);
    size_t count = 0;
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        bool served =
            (strncmp(entry->d_name, "mlp-", 4) == 0 && strstr(entry->d_name, "-onnx") == NULL) ||
            strcmp(entry->d_name, "gaussian-mixture-2d") == 0 ||
            strcmp(entry->d_name, "dataset-moons") == 0;
        if (!served) {
            continue;
        }
        char folder[300];
        (void)snprintf(folder, sizeof folder, "tests/golden/%s", entry->d_name);
        fm_model_config config;
        fm_error err = {0};
        fm_status status = fm_model_config_read(folder, &config, &err);
        ck_assert_msg(status == FM_OK, "%s: %s", folder, err.text);
        ck_assert_str_eq(config.name, entry->d_name);
        ck_assert_uint_eq(config.dimension, 2);
        fm_model_config_done(&config);
        count++;
    }
    ck_assert_int_eq(closedir(listing), 0);
    ck_assert_uint_eq(count, 15);
}
END_TEST

/* ---- What is refused ---- */

typedef struct refusal {
    const char *json;
    fm_status status;
    const char *text; /* how the error begins */
} refusal;

#define BAD(json, text)   {json, FM_EFORMAT, text}
#define LATER(json, text) {json, FM_EUNSUPPORTED, text}

static const refusal refusals[] = {
    /* JSON */
    BAD("", "config.json: line 1, column 0: "),
    BAD("{\n  \"schema\": }", "config.json: line 2, column 13: "),
    BAD(MINIMAL " x", "config.json: line 1, column "),
    BAD("{\"schema\":1,\"schema\":1}", "config.json: line 1, column 20: duplicate object key"),
    BAD("[]", "must be an object, found an array"),
    /* the top */
    BAD("{}", "/schema: is required"),
    BAD("{\"schema\":\"velocityd.model/2\"}",
        "/schema: must be one of velocityd.model/1, found \"velocityd.model/2\""),
    BAD("{\"schema\":1}", "/schema: must be a string, found an integer"),
    BAD(ROOT("\"netwrok\":{}"), "/netwrok: unknown key; must be one of schema, description,"),
    BAD(ROOT("\"a~/b\\n\":{}"), "/a~0~1b?: unknown key"),
    BAD(ROOT("\"description\":1"), "/description: must be a string, found an integer"),
    BAD(ROOT("\"license\":null"), "/license: must be a string, found null"),
    /* network */
    BAD("{" SCHEMA "," FLOW "}", "/network: is required"),
    BAD("{" SCHEMA "," FLOW ",\"network\":\"mlp\"}", "/network: must be an object, found a string"),
    BAD(NETWORK(""), "/network/architecture: is required"),
    BAD(NETWORK("\"architecture\":\"mpl\""),
        "/network/architecture: must be one of mlp, gaussian_mixture, dataset, torchcfm.unet, "
        "meta.unet, sit, text_dit, frames, found \"mpl\""),
    LATER(NETWORK("\"architecture\":\"flux\""),
          "/network/architecture: \"flux\" is not supported by this release"),
    LATER(NETWORK("\"architecture\":\"onnx\""), "/network/architecture: \"onnx\" is not supported"),
    BAD(NETWORK("\"architecture\":\"mlp\""), "/network/activation: is required"),
    BAD(NETWORK("\"architecture\":\"mlp\",\"activation\":\"swish\""),
        "/network/activation: must be one of silu, relu, elu, selu, gelu, gelu_tanh, tanh, "
        "softplus, "
        "leaky_relu, found \"swish\""),
    BAD(MLP_WITH("\"depth\":3"), "/network/depth: unknown key; must be one of architecture, activ"),
    BAD(MLP_WITH("\"time\":\"last\""), "/network/time: must be one of concat_last, concat_first"),
    BAD(MLP_WITH("\"label\":1"), "/network/label: must be a string, found an integer"),
    BAD(MLP_WITH("\"features\":\"some\""),
        "/network/features: must be one of none, found \"some\""),
    BAD(MLP_WITH("\"features\":3"), "/network/features: must be a string"),
    BAD(MLP_WITH("\"features\":{\"count\":3}"), "/network/features/type: is required"),
    BAD(MLP_WITH("\"features\":{\"type\":\"fourier\"}"), "/network/features/count: is required"),
    BAD(MLP_WITH("\"features\":{\"type\":\"fourier\",\"count\":0}"),
        "/network/features/count: must be from 1 to 65536, found 0"),
    BAD(MLP_WITH("\"features\":{\"type\":\"random\",\"count\":1}"),
        "/network/features/type: must be one of fourier, found \"random\""),
    BAD(MLP_WITH("\"features\":{\"type\":\"fourier\",\"count\":1,\"scale\":1}"),
        "/network/features/scale: unknown key"),
    BAD(MLP_WITH("\"layers\":\"a\""), "/network/layers: must be an array, found a string"),
    BAD(MLP_WITH("\"layers\":[]"), "/network/layers: must have at least 1 items, found 0"),
    BAD(MLP_WITH("\"layers\":[\"a\",2]"), "/network/layers/1: must be a string"),
    BAD(MLP_WITH("\"layers\":[\"a\",\"\"]"), "/network/layers/1: must not be empty"),
    BAD(MLP_WITH("\"layers\":[\"b\",\"a\",\"b\"]"),
        "/network/layers: must have different names, found \"b\" twice"),
    /* gaussian_mixture */
    BAD(NETWORK("\"architecture\":\"gaussian_mixture\",\"weights\":[1],\"means\":[[1,2]]"),
        "/network/stds: is required"),
    BAD(NETWORK(GOOD_MIXTURE ",\"covariances\":1"), "/network/covariances: unknown key"),
    BAD(MIXTURE("[]", "[]", "[]"), "/network/weights: must have at least 1 items, found 0"),
    BAD(MIXTURE("[1]", "[[1,2],[3,4]]", "[1]"), "/network/means: must have 1 items, found 2"),
    BAD(MIXTURE("[1,1]", "[[1,2],[3,4]]", "[1]"), "/network/stds: must have 2 items, found 1"),
    BAD(MIXTURE("[1]", "[[1,2,3]]", "[1]"), "/network/means/0: must have 2 items, found 3"),
    BAD(MIXTURE("[1]", "[1]", "[1]"), "/network/means/0: must be an array, found an integer"),
    BAD(MIXTURE("[1]", "[[1,null]]", "[1]"), "/network/means/0/1: must be a number, found null"),
    BAD(MIXTURE("[1,-1]", "[[1,2],[3,4]]", "[1,1]"),
        "/network/weights/1: must be at least 0, found -1"),
    BAD(MIXTURE("[0,0]", "[[1,2],[3,4]]", "[1,1]"), "/network/weights: must have a sum above 0"),
    BAD(MIXTURE("[1,1]", "[[1,2],[3,4]]", "[1,0]"), "/network/stds/1: must be above 0, found 0"),
    BAD(CLASSES("[]") "}", "/network/classes: must have 1 to 2147483646 items, found 0"),
    BAD(CLASSES("[" CLASS ",{\"weights\":[1],\"means\":[[7]],\"stds\":[1]}]") "}",
        "/network/classes/1/means/0: must have 2 items, found 1"),
    BAD(CLASSES("[{\"weights\":[1],\"means\":[[7,8]],\"stds\":[1],\"name\":\"x\"}]") "}",
        "/network/classes/0/name: unknown key"),
    BAD(CLASSES("[3]") "}", "/network/classes/0: must be an object"),
    BAD(CLASSES("[" CLASS "]") "}", "/conditioning/labels: is required"),
    BAD(CLASSES("[" CLASS "]") ",\"conditioning\":{\"labels\":{\"count\":2}}}",
        "/conditioning/labels/count: must be the number of /network/classes, 1, found 2"),
    BAD(CLASSES("[" CLASS "]") ",\"conditioning\":{\"labels\":{\"count\":1,\"null\":0}}}",
        "/conditioning/labels/null: must be from 1 to 1, found 0"),
    BAD("{" SCHEMA "," FLOW ",\"network\":{" GOOD_MIXTURE "},\"weights\":{}}",
        "/weights: gaussian_mixture has no weights"),
    BAD("{" SCHEMA ",\"flow\":{\"shape\":[2],\"time\":{\"range\":[0,2]}},\"network\":{" GOOD_MIXTURE
        "}}",
        "/flow/time/range: must be inside [0, 1] for gaussian_mixture"),
    /* dataset */
    BAD(NETWORK("\"architecture\":\"dataset\""), "/network/file: is required"),
    BAD(NETWORK("\"architecture\":\"dataset\",\"file\":1"), "/network/file: must be a string"),
    BAD(NETWORK("\"architecture\":\"dataset\",\"file\":\"../p.npy\""),
        "/network/file: must be a file of the same folder, found \"../p.npy\""),
    BAD(NETWORK("\"architecture\":\"dataset\",\"file\":\"p.txt\""),
        "/network/file: must end with one of .npy, .csv, .safetensors"),
    BAD(NETWORK("\"architecture\":\"dataset\",\"file\":\"p.npy\",\"std\":1"),
        "/network/std: unknown key"),
    BAD(DATASET_WITH(",\"time\":{\"range\":[0.9995,1]}"),
        "/flow/time/range: must be wider than the margin of 0.001"),
    /* weights */
    BAD(ROOT("\"weights\":[]"), "/weights: must be an object"),
    BAD(ROOT("\"weights\":{\"files\":\"a\"}"), "/weights/files: unknown key"),
    BAD(ROOT("\"weights\":{\"file\":\"a/b.safetensors\"}"),
        "/weights/file: must be a file of the s"),
    BAD(ROOT("\"weights\":{\"file\":\"model.bin\"}"),
        "/weights/file: must end with one of .safete"),
    BAD(ROOT("\"weights\":{\"file\":\"../m.pt\"}"),
        "/weights/file: must be a file of the same folder, found \"../m.pt\""),
    BAD(ROOT("\"weights\":{\"file\":\"m.pt\",\"entry\":1}"), "/weights/entry: must be a string"),
    BAD(ROOT("\"weights\":{\"file\":\"m.pt\",\"entry\":\"\"}"),
        "/weights/entry: must not be empty"),
    BAD(ROOT("\"weights\":{\"entry\":\"ema\"}"),
        "/weights/entry: must be left out: it is for .pt and .pth files, and /weights/file is "
        "\"model.safetensors\""),
    BAD(ROOT("\"weights\":{\"compute\":\"fp32\"}"),
        "/weights/compute: must be one of float32, bfloat16, found \"fp32\""),
    BAD(ROOT("\"weights\":{\"prefix\":0}"), "/weights/prefix: must be a string"),
    /* flow */
    BAD("{" SCHEMA "," MLP "}", "/flow: is required"),
    BAD("{" SCHEMA "," MLP ",\"flow\":[]}", "/flow: must be an object"),
    BAD(FLOW_WITH("\"path\":1"), "/flow/path: unknown key"),
    BAD(FLOW_WITH("\"space\":\"plane\""),
        "/flow/space: must be one of euclidean, sphere, torus, hyperbolic, spd, so3, se3, tokens, "
        "product, found \"plane\""),
    BAD(FLOW_WITH("\"factors\":[]"), "/flow/factors: must be left out: it is for products"),
    BAD(FLOW_WITH("\"representation\":\"matrix\""),
        "/flow/representation: must be left out: it is for rotations and tokens"),
    BAD(FLOW_WITH("\"vocabulary_size\":9"), "/flow/vocabulary_size: must be left out"),
    BAD(FLOW_WITH("\"space\":\"sphere\",\"source\":{\"type\":\"normal\"}"),
        "/flow/source/type: must be a distribution on sphere, found \"normal\""),
    BAD(FLOW_WITH("\"space\":\"sphere\",\"source\":{\"std\":2}"), "/flow/source/std: unknown key"),
    BAD(FLOW_WITH("\"source\":{\"centered\":true}"), "/flow/source/centered: unknown key"),
    BAD(FLOW_WITH("\"space\":\"sphere\",\"prediction\":\"x1\""),
        "/flow/prediction: must be velocity for sphere"),
    BAD(FLOW_WITH("\"space\":\"sphere\",\"prediction\":[\"velocity\",\"score\"]"),
        "/flow/prediction: must be velocity for sphere"),
    BAD(FLOW_WITH("\"space\":\"sphere\",\"prediction\":\"potential\""),
        "/flow/prediction: must be velocity for sphere"),
    BAD(FLOW_IS("\"space\":\"sphere\",\"shape\":[4,1]"),
        "/flow/shape: a point of sphere must have 2 or more numbers along an axis, found 1"),
    BAD(FLOW_IS("\"space\":\"so3\",\"shape\":[3]"),
        "/flow/shape: a point of so3 must have 4 numbers along an axis, found 3"),
    BAD(FLOW_IS("\"space\":\"spd\",\"shape\":[9]"),
        "/flow/shape: must have at least 2 items for spd, found 1"),
    BAD(FLOW_IS("\"space\":\"spd\",\"shape\":[2,3]"),
        "/flow/shape: must end with a square for spd, found [2, 3]"),
    BAD(FLOW_IS("\"space\":\"spd\",\"shape\":[17,17]"),
        "/flow/shape: a point of spd must have 1 to 16 numbers along an axis, found 17"),
    BAD(FLOW_IS("\"space\":\"so3\",\"shape\":[4],\"representation\":\"index\""),
        "/flow/representation: must be one of quaternion, matrix, found \"index\""),
    BAD(FLOW_IS("\"space\":\"tokens\",\"shape\":[4]"), "/flow/vocabulary_size: is required"),
    BAD(FLOW_IS("\"space\":\"tokens\",\"shape\":[4],\"prediction\":\"velocity\""),
        "/flow/prediction: must be logits for tokens"),
    BAD(FLOW_WITH("\"prediction\":\"logits\""),
        "/flow/prediction: must not be logits: they are of tokens"),
    BAD(FLOW_IS("\"space\":\"product\",\"shape\":[3]"), "/flow/factors: is required"),
    BAD(FLOW_IS("\"space\":\"product\",\"shape\":[3],\"factors\":[{\"shape\":[2]}]"),
        "/flow/shape: must be [2], the factors' numbers together"),
    BAD(FLOW_IS("\"space\":\"product\",\"shape\":[2],\"factors\":[{\"shape\":[2]}],"
                "\"source\":{}"),
        "/flow/source: must be left out: each factor has its own"),
    BAD(FLOW_IS("\"space\":\"product\",\"shape\":[2],\"factors\":[{\"space\":\"product\"}]"),
        "/flow/factors/0/space: must not be a product of its own"),
    BAD(FLOW_IS(""), "/flow/shape: is required"),
    BAD(FLOW_IS("\"shape\":2"), "/flow/shape: must be an array"),
    BAD(FLOW_IS("\"shape\":[]"), "/flow/shape: must have 1 to 8 items, found 0"),
    BAD(FLOW_IS("\"shape\":[1,1,1,1,1,1,1,1,1]"), "/flow/shape: must have 1 to 8 items, found 9"),
    BAD(FLOW_IS("\"shape\":[2,0]"), "/flow/shape/1: must be from 1 to 268435456, found 0"),
    BAD(FLOW_IS("\"shape\":[-2]"), "/flow/shape/0: must be from 1 to 268435456, found -2"),
    BAD(FLOW_IS("\"shape\":[2.0]"), "/flow/shape/0: must be an integer, found a number"),
    BAD(FLOW_IS("\"shape\":[268435456,2]"),
        "/flow/shape: must have a product of at most 268435456"),
    BAD(FLOW_WITH("\"source\":\"normal\""), "/flow/source: must be an object"),
    BAD(FLOW_WITH("\"source\":{\"type\":\"gauss\"}"), "/flow/source/type: must be one of normal"),
    LATER(FLOW_WITH("\"source\":{\"type\":\"dataset\",\"file\":\"x.npy\"}"),
          "/flow/source/type: \"dataset\" is not supported"),
    BAD(FLOW_WITH("\"source\":{\"mean\":0}"), "/flow/source/mean: unknown key"),
    BAD(FLOW_WITH("\"source\":{\"std\":0}"), "/flow/source/std: must be above 0, found 0"),
    BAD(FLOW_WITH("\"source\":{\"std\":\"1\"}"),
        "/flow/source/std: must be a number, found a stri"),
    BAD(FLOW_WITH("\"source\":{\"std\":1e999}"), "config.json: line 1, column "),
    BAD(FLOW_WITH("\"scheduler\":\"condot\""), "/flow/scheduler: must be an object"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"ot\"}"),
        "/flow/scheduler/type: must be one of condot, polynomial, vp, sub_vp, linear_vp, cosine, "
        "ve, "
        "edm, target, table, found \"ot\""),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"table\",\"t\":[0,1]}"),
        "/flow/scheduler/alpha: is required"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"table\",\"t\":[0,1],\"alpha\":[0,1],\"sigma\":[1]}"),
        "/flow/scheduler/sigma: must have 2 items, found 1"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"table\",\"t\":[0,1],\"alpha\":[0,1],\"sigma\":[0,1]}"),
        "/flow/scheduler: sigma must not rise; entry 1 does"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"table\",\"n\":2}"), "/flow/scheduler/n: unknown key"),
    BAD(FLOW_WITH("\"scheduler\":{\"n\":2}"),
        "/flow/scheduler/n: unknown key; must be one of type"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"vp\",\"beta\":2}"),
        "/flow/scheduler/beta: unknown key; must be one of type, beta_min, beta_max"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"polynomial\",\"n\":\"2\"}"),
        "/flow/scheduler/n: must be a number"),
    BAD(FLOW_WITH("\"scheduler\":{\"type\":\"polynomial\",\"n\":0}"), "/flow/scheduler: "),
    BAD(FLOW_WITH("\"prediction\":\"noise\""),
        "/flow/prediction: must be one of velocity, x1, epsilon, score, v, edm, potential, "
        "classifier, logits, found"),
    LATER(FLOW_WITH("\"prediction\":[\"potential\",\"score\"]"),
          "/flow/prediction/0: \"potential\" is not supported"),
    LATER(FLOW_WITH("\"prediction\":[\"velocity\",\"classifier\"]"),
          "/flow/prediction/1: \"classifier\" is not supported"),
    LATER(FLOW_WITH("\"prediction\":[\"logits\",\"score\"]"),
          "/flow/prediction/0: \"logits\" is not supported"),
    BAD(FLOW_WITH("\"prediction\":{\"type\":\"edm\",\"sigma_data\":0}"),
        "/flow/prediction/sigma_data: must be above 0, found 0"),
    BAD(FLOW_WITH("\"prediction\":{\"type\":\"x1\",\"sigma_data\":1}"),
        "/flow/prediction/sigma_data: unknown key; must be one of type"),
    BAD(FLOW_WITH("\"prediction\":\"x1\",\"time\":{\"range\":[0,2]}"),
        "/flow/time/range: must be inside [0, 1] for predictions other than velocity"),
    BAD(FLOW_WITH("\"prediction\":[\"velocity\"]"), "/flow/prediction: must have 2 items, found 1"),
    BAD(FLOW_WITH("\"prediction\":[\"velocity\",\"noise\"]"),
        "/flow/prediction/1: must be one of velocity, x1, epsilon, score, v, edm, found"),
    BAD(FLOW_WITH("\"prediction\":[\"velocity\",\"x1\"]"),
        "/flow/prediction: must pair velocity, v or x1 with epsilon or score"),
    BAD(FLOW_WITH("\"prediction\":[\"score\",\"epsilon\"]"), "/flow/prediction: must pair"),
    BAD(FLOW_WITH("\"prediction\":[\"edm\",\"score\"]"), "/flow/prediction: must pair"),
    BAD(FLOW_WITH("\"prediction\":[\"velocity\",\"score\"],\"time\":{\"range\":[0,2]}"),
        "/flow/time/range: must be inside [0, 1] for predictions other than velocity alone"),
    BAD(FLOW_WITH("\"prediction\":[\"x1\",\"score\"],\"coupling\":\"paired\""),
        "/flow/coupling: must be independent where x1 and the score make the velocity"),
    BAD(FLOW_WITH("\"coupling\":\"ot\""),
        "/flow/coupling: must be one of independent, paired, found \"ot\""),
    BAD(FLOW_WITH("\"time\":1"), "/flow/time: must be an object"),
    BAD(FLOW_WITH("\"time\":{\"start\":0}"), "/flow/time/start: unknown key"),
    BAD(FLOW_WITH("\"time\":{\"direction\":\"up\"}"),
        "/flow/time/direction: must be one of noise_to_data, data_to_noise, found \"up\""),
    BAD(FLOW_WITH("\"time\":{\"scale\":0}"), "/flow/time/scale: must not be 0"),
    BAD(FLOW_WITH("\"time\":{\"range\":[0]}"), "/flow/time/range: must have 2 items, found 1"),
    BAD(FLOW_WITH("\"time\":{\"range\":[1,0]}"),
        "/flow/time/range: must be ascending, found [1, 0]"),
    BAD(FLOW_WITH(
            "\"scheduler\":{\"type\":\"polynomial\",\"n\":0.5},\"time\":{\"range\":[-0.1,1]}"),
        "/flow/time/range: must end where the scheduler's sigma is finite; at -0.1 it is not"),
    BAD(FLOW_WITH("\"time\":{\"range\":[0,0]}"), "/flow/time/range: must be ascending"),
    BAD(FLOW_WITH("\"time\":{\"range\":[0,\"1\"]}"), "/flow/time/range/1: must be a number"),
    BAD(FLOW_WITH("\"time\":{\"sample_range\":[0,1.5]}"),
        "/flow/time/sample_range: must be inside the range [0, 1], found [0, 1.5]"),
    BAD(FLOW_WITH("\"time\":{\"sample_range\":[-1,1]}"), "/flow/time/sample_range: must be inside"),
    BAD(FLOW_WITH("\"time\":{\"sample_range\":[1,0]}"),
        "/flow/time/sample_range: must be ascending"),
    /* jumps */
    BAD(FLOW_WITH("\"jump\":{\"bins\":8}"), "/flow/jump/range: is required"),
    BAD(FLOW_WITH("\"jump\":{\"range\":[0,1]}"), "/flow/jump/bins: is required"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":1,\"range\":[0,1]}"), "/flow/jump/bins: must be from 2 to"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[1,0]}"), "/flow/jump/range: must be ascending"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[-1e308,1e308]}"),
        "/flow/jump/range: must have a finite width"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[0,1],\"b\":1}"), "/flow/jump/b: unknown key"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[0,1]},\"scheduler\":{\"type\":\"cosine\"}"),
        "/flow/jump: must be left out: it is for scheduler condot"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[0,1]},\"prediction\":\"x1\""),
        "/flow/jump: must be left out: it is for prediction velocity"),
    BAD(FLOW_WITH("\"jump\":{\"bins\":8,\"range\":[0,1]},\"coupling\":\"paired\""),
        "/flow/jump: must be left out: it is for coupling independent"),
    BAD(FLOW_WITH(
            "\"jump\":{\"bins\":8,\"range\":[0,1]},\"time\":{\"direction\":\"data_to_noise\"}"),
        "/flow/jump: must be left out: it is for time from noise to data"),
    /* conditioning */
    BAD(ROOT("\"conditioning\":1"), "/conditioning: must be an object"),
    BAD(ROOT("\"conditioning\":{\"label\":{}}"), "/conditioning/label: unknown key"),
    LATER(ROOT("\"conditioning\":{\"tensors\":{}}"), "/conditioning/tensors: is not supported by"),
    BAD(ROOT("\"conditioning\":{\"labels\":{\"count\":2}}"),
        "/conditioning/labels: the network takes no label"),
    BAD(MLP_WITH("\"label\":\"concat\""), "/conditioning/labels: is required"),
    BAD(LABELLED("3"), "/conditioning/labels: must be an object"),
    BAD(LABELLED("{}"), "/conditioning/labels/count: is required"),
    BAD(LABELLED("{\"count\":0}"), "/conditioning/labels/count: must be from 1 to 2147483646"),
    BAD(LABELLED("{\"count\":2,\"none\":2}"), "/conditioning/labels/none: unknown key"),
    BAD(LABELLED("{\"count\":2,\"null\":3}"), "/conditioning/labels/null: must be from 0 to 2, fo"),
    BAD(LABELLED("{\"count\":2,\"null\":-1}"),
        "/conditioning/labels/null: must be from 0 to 2, fo"),
    BAD(LABELLED("{\"count\":2,\"null\":null}"), "/conditioning/labels/null: must be an integer"),
    BAD(LABELLED("{\"count\":2,\"names\":[\"a\"]}"),
        "/conditioning/labels/names: must have 2 items, found 1"),
    BAD(LABELLED("{\"count\":2,\"names\":[\"a\",\"a\"]}"),
        "/conditioning/labels/names: must have different names, found \"a\" twice"),
    /* classifiers */
    BAD(CLASSIFIER(SILU, ""),
        "/conditioning/labels: is required, for a classifier returns a logit for each label"),
    BAD(CLASSIFIER(SILU, OF_LABELS("{\"count\":2,\"null\":2}")),
        "/conditioning/labels/null: must be left out: a classifier has no null class"),
    BAD(CLASSIFIER(SILU ",\"label\":\"concat\"", OF_LABELS("{\"count\":2}")),
        "/network/label: must be none for a classifier"),
    BAD(CLASSIFIER(SILU, OF_LABELS("{\"count\":2}") ",\"defaults\":{}"),
        "/defaults: must be left out: a classifier is not sampled"),
    BAD(CLASSIFIER(GOOD_MIXTURE, ""),
        "/network/classes: is required, for a classifier tells them apart"),
    LATER(CLASSIFIER("\"architecture\":\"sit\"", ""),
          "/flow/prediction: classifier is served of mlp and gaussian_mixture, not of sit"),
    /* output and defaults */
    BAD(ROOT("\"output\":\"points\""), "/output: must be an object"),
    BAD(ROOT("\"output\":{\"kind\":\"dots\"}"),
        "/output/kind: must be one of points, image, series, tokens, frames, found \"dots\""),
    BAD(ROOT("\"output\":{\"kind\":\"tokens\"}"), "/output/kind: must be tokens only where"),
    LATER(ROOT("\"output\":{\"kind\":\"mesh_points\"}"),
          "/output/kind: \"mesh_points\" is not supported"),
    BAD(ROOT("\"output\":{\"vocabulary\":\"v.txt\"}"),
        "/output/vocabulary: must be left out where"),
    BAD(ROOT("\"output\":{\"scale\":1}"), "/output/scale: unknown key"),
    BAD(ROOT("\"output\":{\"range\":[1,-1]}"), "/output/range: must be ascending, found [1, -1]"),
    BAD(ROOT("\"output\":{\"range\":[1]}"), "/output/range: must have 2 items, found 1"),
    BAD(ROOT("\"output\":{\"range\":[1,1]}"), "/output/range: must be ascending, found [1, 1]"),
    BAD(ROOT("\"output\":{\"range\":[-1e308,1e308]}"), "/output/range: must have a finite width"),
    BAD(ROOT("\"output\":{\"kind\":\"image\"}"),
        "/flow/shape: must be [channels, height, width] where output.kind is image, found 1 items"),
    BAD(ROOT("\"output\":{\"kind\":\"frames\"}"),
        "/flow/space: must be se3 where output.kind is frames"),
    LATER(ROOT("\"output\":{\"kind\":\"mesh_points\"}"),
          "/output/kind: \"mesh_points\" is not supported"),
    BAD(ROOT("\"defaults\":[]"), "/defaults: must be an object, found an array"),
};

START_TEST(a_broken_rule_is_named_by_its_pointer)
{
    const refusal *row = &refusals[_i];
    fm_model_config config;
    memset(&config, 0x5a, sizeof config);
    fm_error err = {0};
    fm_status status = parse(row->json, &config, &err);
    ck_assert_msg(status == row->status, "%s: expected %s, found %s: %s", row->json,
                  fm_status_name(row->status), fm_status_name(status), err.text);
    ck_assert_msg(strncmp(err.text, row->text, strlen(row->text)) == 0,
                  "%s: expected \"%s…\", found: %s", row->json, row->text, err.text);
    for (size_t i = 0; i < sizeof config; i++) { /* untouched on failure */
        ck_assert_uint_eq(((const unsigned char *)&config)[i], 0x5a);
    }
}
END_TEST

START_TEST(a_label_may_be_the_null_class)
{
    fm_model_config config;
    parse_well(LABELLED("{\"count\":2,\"null\":0}"), &config);
    ck_assert(config.has_null_label && config.null_label == 0);
    fm_model_config_done(&config);
    parse_well(LABELLED("{\"count\":2}"), &config);
    ck_assert(config.has_labels && !config.has_null_label);
    fm_model_config_done(&config);
}
END_TEST

/* ---- Folders ---- */

START_TEST(a_folders_name_follows_the_pattern)
{
    static const struct {
        const char *folder, *name; /* NULL: refused */
    } rows[] = {
        {"m", "m"},
        {"/models/two-moons.v1_b//", "two-moons.v1_b"},
        {"9", "9"},
        {"", NULL},
        {"/", NULL},
        {".", NULL},
        {"x/..", NULL},
        {"x/.hidden", NULL},
        {"x/-a", NULL},
        {"x/Moons", NULL},
        {"x/two moons", NULL},
        {"x/a123456789b123456789c123456789d123456789e123456789f123456789g123",
         "a123456789b123456789c123456789d123456789e123456789f123456789g123"},
        {"x/a123456789b123456789c123456789d123456789e123456789f123456789g1234", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fm_model_config config;
        fm_error err = {0};
        fm_status status =
            fm_model_config_parse(rows[i].folder, MINIMAL, strlen(MINIMAL), &config, &err);
        ck_assert_int_eq(status, rows[i].name == NULL ? FM_EFORMAT : FM_OK);
        if (status == FM_OK) {
            ck_assert_str_eq(config.name, rows[i].name);
            fm_model_config_done(&config);
        } else {
            ck_assert_ptr_nonnull(strstr(err.text, "must match [a-z0-9][a-z0-9._-]{0,63}"));
        }
    }
}
END_TEST

START_TEST(a_folder_may_be_given_as_a_dot)
{
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", MINIMAL);
    char before[4096];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder.path), 0);
    fm_model_config config;
    fm_error err = {0};
    fm_status status = fm_model_config_read(".", &config, &err);
    ck_assert_int_eq(chdir(before), 0);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_str_eq(config.name, "model");
    fm_model_config_done(&config);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_folder_may_end_in_two_dots)
{
    temp_folder folder;
    temp_folder_make(&folder);
    temp_folder_write_text(&folder, "config.json", MINIMAL);
    ck_assert_int_eq(mkdir(temp_folder_file(&folder, "inner"), 0700), 0);
    fm_model_config config;
    fm_error err = {0};
    fm_status status = fm_model_config_read(temp_folder_file(&folder, "inner/.."), &config, &err);
    ck_assert_int_eq(rmdir(temp_folder_file(&folder, "inner")), 0);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_str_eq(config.name, "model");
    fm_model_config_done(&config);
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(a_folder_without_configuration_is_not_found)
{
    temp_folder folder;
    temp_folder_make(&folder);
    fm_model_config config;
    fm_error err = {0};
    ck_assert_int_eq(fm_model_config_read(folder.path, &config, &err), FM_ENOTFOUND);
    ck_assert_ptr_nonnull(strstr(err.text, "/model/config.json: cannot open"));
    temp_folder_remove(&folder);
}
END_TEST

START_TEST(every_failed_allocation_is_an_error_and_leaks_nothing)
{
    static const char *const texts[] = {
        CLASSES("[" CLASS "," CLASS "]") ",\"conditioning\":{\"labels\":{\"count\":2}},"
                                         "\"defaults\":{\"a\":0.5,\"b\":[0.30000000000000004]}}",
        MLP_WITH("\"layers\":[\"b\",\"a\"]"),
        DATASET_WITH(""),
        LABELLED("{\"count\":2,\"names\":[\"a\",\"b\"]}"),
        ROOT("\"description\":\"d\",\"license\":\"l\",\"weights\":{\"prefix\":\"p.\"},"
             "\"output\":{\"kind\":\"series\",\"range\":[0,1]}"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bool refused = true;
        for (size_t k = 0; refused; k++) {
            ck_assert_uint_lt(k, 10000);
            fm_model_config config;
            fm_error err = {0};
            failing_memory_start(k);
            fm_status status = parse(texts[i], &config, &err);
            refused = failing_memory_stop();
            ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                          "%s: allocation %zu: %s: %s", texts[i], k, fm_status_name(status),
                          err.text);
            if (status == FM_OK) {
                ck_assert_uint_gt(k, 20);
                fm_model_config_done(&config);
            }
        }
    }
}
END_TEST

Suite *suite_engine_model_config(void)
{
    Suite *suite = suite_create("engine/model_config");
    TCase *tests = tcase_create("model_config");
    tcase_add_test(tests, a_minimal_file_has_the_contracts_defaults);
    tcase_add_test(tests, every_key_is_read);
    tcase_add_test(tests, every_activation_and_scheduler_is_found_by_name);
    tcase_add_test(tests, mixture_weights_are_normalised);
    tcase_add_test(tests, a_pytorch_file_may_name_its_entry);
    tcase_add_test(tests, a_mixture_may_have_one_for_each_label);
    tcase_add_test(tests, a_classifier_has_labels_though_its_network_takes_none);
    tcase_add_test(tests, the_default_sample_range_keeps_off_singular_ends);
    tcase_add_test(tests, defaults_keep_their_numbers_with_few_digits);
    tcase_add_test(tests, every_reference_configuration_is_read);
    tcase_add_loop_test(tests, a_broken_rule_is_named_by_its_pointer, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(tests, a_label_may_be_the_null_class);
    tcase_add_test(tests, a_folders_name_follows_the_pattern);
    tcase_add_test(tests, a_folder_may_be_given_as_a_dot);
    tcase_add_test(tests, a_folder_may_end_in_two_dots);
    tcase_add_test(tests, a_folder_without_configuration_is_not_found);
    tcase_add_test(tests, every_failed_allocation_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
