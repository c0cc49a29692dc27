/* config.json's "flow.scheduler" and "flow.prediction". */
#include "engine/checkpoint/model_config_private.h"
#include "engine/memory.h"

#include <string.h>

#define MAX_SCHEDULER_KEYS (FM_PATH_MAX_PARAMETERS + 2)
#define MAX_TABLE_POINTS   ((size_t)65536)

/* ---- Scheduler ---- */

/* The contract's names; which of them are served is for path.def to say. */
static const char *const scheduler_names[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                              "cosine", "ve",         "edm", "target", "table"};

#define N_SCHEDULERS (sizeof scheduler_names / sizeof *scheduler_names)

static fm_status read_scheduler_type(const fm_json_node *scheduler, const fm_path_type **ret,
                                     fm_error *err)
{
    fm_json_choice choices[N_SCHEDULERS + 1] = {{0}};
    for (size_t i = 0; i < N_SCHEDULERS; i++) {
        bool served = fm_path_type_find(scheduler_names[i]) != NULL;
        choices[i] = (fm_json_choice){.name = scheduler_names[i],
                                      .value = served ? (int)i : FM_JSON_UNSUPPORTED};
    }
    int chosen = 0; /* condot */
    fm_json_node type = fm_json_member(scheduler, "type");
    fm_status status = fm_json_read_choice(&type, choices, &chosen, err);
    if (status == FM_OK) {
        *ret = fm_path_type_find(scheduler_names[chosen]);
    }
    return status;
}

/* Arrays of one length into one new table. */
static fm_status read_table(const fm_json_node *scheduler, fm_path_table **ret, fm_error *err)
{
    static const char *const names[] = {"t", "alpha", "sigma"};
    double *arrays[3] = {NULL};
    fm_json_node nodes[3];
    size_t n = 0;
    fm_status status = FM_OK;
    for (size_t i = 0; i < 3 && status == FM_OK; i++) {
        nodes[i] = fm_json_member(scheduler, names[i]);
        status = fm_json_require(&nodes[i], err);
        if (status == FM_OK && i == 0) {
            status = fm_json_check_array(&nodes[0], 2, MAX_TABLE_POINTS, err);
            n = json_array_size(nodes[0].value);
        }
        if (status == FM_OK) {
            arrays[i] = fm_alloc_array(n, sizeof(double));
            status = arrays[i] == NULL ? fm_fail(err, FM_ENOMEM, "no memory for a scheduler")
                                       : fm_json_read_numbers(&nodes[i], n, arrays[i], err);
        }
    }
    fm_error cause = {0};
    if (status == FM_OK) {
        status = fm_path_table_new(n, arrays[0], arrays[1], arrays[2], ret, &cause);
        if (status != FM_OK) {
            status = fm_json_fail(scheduler, err, status == FM_EINVAL ? FM_EFORMAT : status, "%s",
                                  cause.text);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        fm_free(arrays[i]);
    }
    return status;
}

/* The parameters of a scheduler that is a formula, or the points of one that is a table. */
static fm_status read_parameters(const fm_json_node *scheduler, const fm_path_type *type,
                                 double parameters[FM_PATH_MAX_PARAMETERS], fm_path_table **table,
                                 fm_error *err)
{
    static const char *const table_keys[] = {"type", "t", "alpha", "sigma", NULL};
    const char *keys[MAX_SCHEDULER_KEYS] = {"type"};
    size_t n_parameters = 0;
    while (n_parameters < FM_PATH_MAX_PARAMETERS &&
           fm_path_type_parameter(type, n_parameters, &keys[n_parameters + 1],
                                  &parameters[n_parameters])) {
        n_parameters++;
    }
    keys[n_parameters + 1] = NULL;
    bool is_table = fm_path_type_is_table(type);
    fm_status status = fm_json_check_object(scheduler, is_table ? table_keys : keys, err);
    if (status == FM_OK && is_table) {
        return read_table(scheduler, table, err);
    }
    for (size_t i = 0; status == FM_OK && i < n_parameters; i++) {
        fm_json_node parameter = fm_json_member(scheduler, keys[i + 1]);
        status = fm_json_read_number(&parameter, &parameters[i], err);
    }
    return status;
}

fm_status fm_model_config_read_scheduler(const fm_json_node *flow, fm_model_config *config,
                                         fm_error *err)
{
    fm_json_node node = fm_json_member(flow, "scheduler");
    const fm_path_type *type = NULL;
    double parameters[FM_PATH_MAX_PARAMETERS] = {0};
    fm_status status = read_scheduler_type(&node, &type, err);
    if (status == FM_OK) {
        status = read_parameters(&node, type, parameters, &config->path_table, err);
    }
    if (status != FM_OK) {
        return status;
    }
    fm_error cause = {0};
    if (fm_path_init(&config->path, type, parameters, config->path_table, config->path.source_std,
                     &cause) != FM_OK) {
        return fm_json_fail(&node, err, FM_EFORMAT, "%s", cause.text);
    }
    return FM_OK;
}

/* ---- Prediction ---- */

/* The contract's names; which of them are served is for prediction.def to say. */
static const char *const prediction_names[] = {"velocity", "x1",        "epsilon",    "score", "v",
                                               "edm",      "potential", "classifier", "logits"};
/* No rows of their own: engine/network/gradient_network.h takes the gradient of what the first two return, and of logits
 * engine/solve/markov.c draws tokens. */
enum { POTENTIAL = 6, CLASSIFIER = 7, LOGITS = 8 };

#define N_PREDICTIONS (sizeof prediction_names / sizeof *prediction_names)

const char *fm_model_config_prediction(const fm_model_config *config)
{
    if (config->potential || config->classifier) {
        return prediction_names[config->potential ? POTENTIAL : CLASSIFIER];
    }
    if (config->predicts_logits) {
        return prediction_names[LOGITS];
    }
    return fm_prediction_type_name(config->predictions.first.type);
}

/*   alone  it may be a potential, a classifier or logits: *ret is NULL then */
static fm_status read_prediction_type(const fm_json_node *node, bool alone,
                                      const fm_prediction_type **ret, fm_error *err)
{
    fm_json_choice choices[N_PREDICTIONS + 1] = {{0}};
    for (size_t i = 0; i < N_PREDICTIONS; i++) {
        bool is_special = i == POTENTIAL || i == CLASSIFIER || i == LOGITS;
        bool served = fm_prediction_type_find(prediction_names[i]) != NULL || (alone && is_special);
        choices[i] = (fm_json_choice){.name = prediction_names[i],
                                      .value = served ? (int)i : FM_JSON_UNSUPPORTED};
    }
    int chosen = 0; /* velocity */
    fm_status status = fm_json_read_choice(node, choices, &chosen, err);
    if (status == FM_OK) {
        *ret = fm_prediction_type_find(prediction_names[chosen]);
    }
    return status;
}

/* An object, {"type": "edm", "sigma_data": 0.5}, where the prediction has a parameter that is not its default. */
static fm_status read_prediction_object(const fm_json_node *node, fm_prediction *ret, fm_error *err)
{
    const char *keys[] = {"type", NULL, NULL};
    fm_json_node type = fm_json_member(node, "type");
    fm_status status = fm_json_require(&type, err);
    if (status == FM_OK) {
        status = read_prediction_type(&type, false, &ret->type, err);
    }
    if (status != FM_OK) {
        return status;
    }
    keys[1] = fm_prediction_type_parameter(ret->type, &ret->parameter);
    status = fm_json_check_object(node, keys, err);
    if (status != FM_OK || keys[1] == NULL) {
        return status;
    }
    fm_json_node parameter = fm_json_member(node, keys[1]);
    status = fm_json_read_number(&parameter, &ret->parameter, err);
    if (status == FM_OK && !(ret->parameter > 0.0)) {
        status =
            fm_json_fail(&parameter, err, FM_EFORMAT, "must be above 0, found %g", ret->parameter);
    }
    return status;
}

static fm_status read_one(const fm_json_node *node, bool alone, fm_prediction *ret, fm_error *err)
{
    if (json_is_object(node->value)) {
        return read_prediction_object(node, ret, err);
    }
    fm_status status = read_prediction_type(node, alone, &ret->type, err);
    if (status == FM_OK && ret->type != NULL) {
        (void)fm_prediction_type_parameter(ret->type, &ret->parameter);
    }
    return status;
}

static fm_status read_pair(const fm_json_node *node, fm_predictions *ret, fm_error *err)
{
    fm_prediction *heads[] = {&ret->first, &ret->second};
    fm_status status = fm_json_check_array(node, 2, 2, err);
    for (size_t i = 0; i < 2 && status == FM_OK; i++) {
        fm_json_node item = fm_json_item(node, i);
        status = read_one(&item, false, heads[i], err);
    }
    if (status == FM_OK && !fm_predictions_pair(ret)) {
        status = fm_json_fail(node, err, FM_EFORMAT,
                              "must pair velocity, v or x1 with epsilon or score");
    }
    return status;
}

/* Image networks have as many outputs as inputs; a mixture knows how likely each of its classes is. */
static bool is_served(const fm_model_config *config)
{
    return config->architecture == FM_ARCHITECTURE_MLP ||
           (config->classifier && config->architecture == FM_ARCHITECTURE_GAUSSIAN_MIXTURE);
}

static fm_status read_special(const fm_json_node *node, fm_model_config *config, fm_error *err)
{
    const char *name = json_string_value(node->value);
    config->predicts_logits = strcmp(name, prediction_names[LOGITS]) == 0;
    if (config->predicts_logits) {
        config->predictions.first.type = fm_prediction_type_find("velocity");
        return FM_OK;
    }
    config->potential = strcmp(name, prediction_names[POTENTIAL]) == 0;
    config->classifier = !config->potential;
    if (!is_served(config)) {
        return fm_json_fail(node, err, FM_EUNSUPPORTED, "%s is served of mlp%s, not of %s", name,
                            config->classifier ? " and gaussian_mixture" : "",
                            fm_architecture_name(config->architecture));
    }
    config->reversible = true;
    config->predictions.first.type = fm_prediction_type_find("velocity");
    return FM_OK;
}

fm_status fm_model_config_read_prediction(const fm_json_node *flow, fm_model_config *config,
                                          fm_error *err)
{
    fm_json_node node = fm_json_member(flow, "prediction");
    if (json_is_array(node.value)) {
        return read_pair(&node, &config->predictions, err);
    }
    fm_status status = read_one(&node, true, &config->predictions.first, err);
    bool is_special = status == FM_OK && config->predictions.first.type == NULL;
    bool by_default = !fm_json_present(&node) && !config->space.is_product &&
                      config->space.parts[0].id == FM_SPACE_TOKENS;
    config->predicts_logits = by_default;
    return is_special ? read_special(&node, config, err) : status;
}
