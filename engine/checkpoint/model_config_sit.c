/* config.json's "network" of sit: the constructor arguments of SiT and DiT. */
#include "engine/checkpoint/model_config_private.h"

#define MAX_CHANNELS ((size_t)65536)
#define MAX_DEPTH    ((size_t)1024)
#define MAX_CLASSES  ((size_t)1 << 24)

static const fm_sit_config defaults = {
    .channels = 4, .size = 32, .patch = 2, .hidden = 1152, .depth = 28, .heads = 16};
#define DEFAULT_MLP_RATIO     4.0
#define DEFAULT_CLASS_DROPOUT 0.1
#define DEFAULT_NUM_CLASSES   ((size_t)1000)

static fm_status read_sizes(const fm_json_node *network, fm_sit_config *sit, fm_error *err)
{
    const struct {
        const char *key;
        size_t max, *ret;
    } rows[] = {
        {"input_size", MAX_CHANNELS, &sit->size},
        {"patch_size", MAX_CHANNELS, &sit->patch},
        {"in_channels", MAX_CHANNELS, &sit->channels},
        {"hidden_size", MAX_CHANNELS, &sit->hidden},
        {"depth", MAX_DEPTH, &sit->depth},
        {"num_heads", MAX_CHANNELS, &sit->heads},
    };
    fm_status status = FM_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == FM_OK; i++) {
        fm_json_node node = fm_json_member(network, rows[i].key);
        status = fm_json_read_size(&node, 1, rows[i].max, rows[i].ret, err);
    }
    return status;
}

static fm_status check_divides(const fm_json_node *network, const char *key, size_t divisor,
                               const char *whole_key, size_t whole, fm_error *err)
{
    fm_json_node node = fm_json_member(network, key);
    return whole % divisor == 0
               ? FM_OK
               : fm_json_fail(&node, err, FM_EFORMAT, "must divide %s, %zu, found %zu", whole_key,
                              whole, divisor);
}

static fm_status read_mlp_ratio(const fm_json_node *network, fm_sit_config *sit, fm_error *err)
{
    double ratio = DEFAULT_MLP_RATIO;
    fm_json_node node = fm_json_member(network, "mlp_ratio");
    fm_status status = fm_json_read_number(&node, &ratio, err);
    double exact = ratio * (double)sit->hidden;
    if (status == FM_OK && !(exact >= 1.0 && exact <= (double)MAX_CHANNELS)) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must give a hidden layer from 1 to %zu wide, found %g times %zu",
                            MAX_CHANNELS, ratio, sit->hidden);
    }
    sit->mlp_hidden = status == FM_OK ? (size_t)exact : 0; /* cut, as Python's int() does */
    return status;
}

/* Dropping classes in training takes a row of the table for "no class". */
static fm_status read_classes(const fm_json_node *network, fm_sit_config *sit, fm_error *err)
{
    size_t num_classes = DEFAULT_NUM_CLASSES;
    double dropout = DEFAULT_CLASS_DROPOUT;
    fm_json_node count = fm_json_member(network, "num_classes");
    fm_json_node dropped = fm_json_member(network, "class_dropout_prob");
    fm_status status = fm_json_read_size(&count, 1, MAX_CLASSES, &num_classes, err);
    if (status == FM_OK) {
        status = fm_json_read_number(&dropped, &dropout, err);
    }
    if (status == FM_OK && !(dropout >= 0.0 && dropout <= 1.0)) {
        status = fm_json_fail(&dropped, err, FM_EFORMAT, "must be from 0 to 1, found %g", dropout);
    }
    sit->has_null_row = dropout > 0.0;
    sit->label_rows = num_classes + (sit->has_null_row ? 1 : 0);
    return status;
}

static fm_status check_shapes(const fm_json_node *network, const fm_model_config *config,
                              const fm_sit_config *sit, fm_error *err)
{
    fm_status status = fm_model_config_check_shape(network, config,
                                                   (size_t[]){sit->channels, sit->size, sit->size},
                                                   "in_channels and input_size of /network", err);
    if (status == FM_OK) {
        status = check_divides(network, "patch_size", sit->patch, "input_size", sit->size, err);
    }
    if (status == FM_OK) {
        status = check_divides(network, "num_heads", sit->heads, "hidden_size", sit->hidden, err);
    }
    return status;
}

fm_status fm_model_config_read_sit(const fm_json_node *network, fm_model_config *config,
                                   fm_error *err)
{
    static const char *const keys[] = {
        "architecture", "input_size", "patch_size",  "in_channels", "hidden_size",        "depth",
        "num_heads",    "mlp_ratio",  "num_classes", "learn_sigma", "class_dropout_prob", NULL};
    fm_sit_config *sit = &config->sit;
    *sit = defaults;
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_sizes(network, sit, err);
    }
    if (status == FM_OK) {
        status = check_shapes(network, config, sit, err);
    }
    if (status == FM_OK) {
        status = read_mlp_ratio(network, sit, err);
    }
    if (status == FM_OK) {
        status = read_classes(network, sit, err);
    }
    if (status == FM_OK) {
        status = fm_model_config_read_learn_sigma(network, config, true, sit->channels,
                                                  &sit->output_channels, &sit->kept_channels, err);
    }
    return status;
}
