/* config.json's "conditioning": labels, and whether the network has any use for them. */
#include "engine/checkpoint/model_config_private.h"

#define MAX_LABELS ((size_t)INT32_MAX - 1) /* the null class may be one past the last */

/* Which labels a network knows. */
typedef struct known_labels {
    bool any;          /* they enter as numbers, or count a classifier's outputs */
    size_t count;      /* classes or rows of an embedding; 0 and not any: takes no label */
    bool has_null_row; /* the last row is the null class */
} known_labels;

static known_labels network_labels(const fm_model_config *config)
{
    switch (config->architecture) {
    case FM_ARCHITECTURE_MLP:
        return (known_labels){.any =
                                  config->mlp.label == FM_MLP_LABEL_CONCAT || config->classifier};
    case FM_ARCHITECTURE_GAUSSIAN_MIXTURE:
        return (known_labels){.count = config->gaussian_mixture.n_classes};
    case FM_ARCHITECTURE_DATASET:
    case FM_ARCHITECTURE_TEXT_DIT:
    case FM_ARCHITECTURE_FRAMES:
        break;
    case FM_ARCHITECTURE_TORCHCFM_UNET:
    case FM_ARCHITECTURE_META_UNET:
        return (known_labels){.count = config->unet.label_rows,
                              .has_null_row = config->unet.has_null_row};
    case FM_ARCHITECTURE_SIT:
        return (known_labels){.count = config->sit.label_rows,
                              .has_null_row = config->sit.has_null_row};
    }
    return (known_labels){0};
}

static bool network_takes_labels(const fm_model_config *config)
{
    known_labels known = network_labels(config);
    return known.any || known.count > 0;
}

static fm_status check_count(const fm_json_node *node, const fm_model_config *config, size_t count,
                             fm_error *err)
{
    known_labels known = network_labels(config);
    if (config->architecture == FM_ARCHITECTURE_GAUSSIAN_MIXTURE && count != known.count) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must be the number of /network/classes, %zu, found %zu", known.count,
                            count);
    }
    if (known.has_null_row && count != known.count - 1) {
        return fm_json_fail(node, err, FM_EFORMAT, "must be /network/num_classes, %zu, found %zu",
                            known.count - 1, count);
    }
    if (!known.any && count > known.count) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must be at most /network/num_classes, %zu, found %zu", known.count,
                            count);
    }
    return FM_OK;
}

/* From where to where the null class may be: inside the embedding, and its last row where that is made
 * for it. A mixture's classes fill 0 to count - 1; its null class is the mixture beside them. */
static void null_range(const fm_model_config *config, size_t *ret_least, size_t *ret_most)
{
    known_labels known = network_labels(config);
    size_t count = (size_t)config->label_count;
    bool is_mixture = config->architecture == FM_ARCHITECTURE_GAUSSIAN_MIXTURE;
    *ret_least = is_mixture || known.has_null_row ? count : 0;
    *ret_most = !known.any && !is_mixture && known.count == count ? count - 1 : count;
}

/* The label names, one a class. */
static fm_status read_label_names(const fm_json_node *labels, fm_model_config *config,
                                  fm_error *err)
{
    fm_json_node node = fm_json_member(labels, "names");
    size_t count = (size_t)config->label_count;
    fm_status status = fm_json_check_array(&node, count, count, err);
    if (status == FM_OK) {
        status = fm_json_read_names(&node, &config->label_names, &config->n_label_names, err);
    }
    return status;
}

static fm_status read_null_label(const fm_json_node *labels, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(labels, "null");
    if (!fm_json_present(&node)) {
        return FM_OK;
    }
    if (config->classifier) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be left out: a classifier has no null class");
    }
    size_t null_label = 0;
    size_t least = 0, most = 0;
    null_range(config, &least, &most);
    fm_status status = fm_json_read_size(&node, least, most, &null_label, err);
    if (status == FM_OK) {
        config->has_null_label = true;
        config->null_label = (int32_t)null_label;
    }
    return status;
}

static fm_status read_labels(const fm_json_node *labels, fm_model_config *config, fm_error *err)
{
    static const char *const keys[] = {"count", "null", "names", NULL};
    fm_status status = fm_json_check_object(labels, keys, err);
    fm_json_node node = fm_json_member(labels, "count");
    if (status == FM_OK) {
        status = fm_json_require(&node, err);
    }
    size_t count = 0;
    if (status == FM_OK) {
        status = fm_json_read_size(&node, 1, MAX_LABELS, &count, err);
    }
    if (status != FM_OK) {
        return status;
    }
    config->has_labels = true;
    config->label_count = (int32_t)count;
    status = check_count(&node, config, count, err);
    if (status == FM_OK) {
        status = read_null_label(labels, config, err);
    }
    return status == FM_OK ? read_label_names(labels, config, err) : status;
}

static const char *wrong_labels(const fm_model_config *config, bool wanted)
{
    if (config->classifier) {
        return "is required, for a classifier returns a logit for each label";
    }
    return wanted ? "is required, for the network takes a label" : "the network takes no label";
}

fm_status fm_model_config_read_conditioning(const fm_json_node *root, fm_model_config *config,
                                            fm_error *err)
{
    static const char *const keys[] = {"labels", "tensors", NULL};
    fm_json_node conditioning = fm_json_member(root, "conditioning");
    fm_json_node labels = fm_json_member(&conditioning, "labels");
    fm_json_node tensors = fm_json_member(&conditioning, "tensors");
    fm_status status = fm_json_check_object(&conditioning, keys, err);
    if (status != FM_OK) {
        return status;
    }
    if (fm_json_present(&tensors)) {
        return fm_json_unsupported(&tensors, err);
    }
    bool wanted = network_takes_labels(config);
    if (config->classifier && !wanted) { /* a mixture */
        fm_json_node network = fm_json_member(root, "network");
        fm_json_node classes = fm_json_member(&network, "classes");
        return fm_json_fail(&classes, err, FM_EFORMAT,
                            "is required, for a classifier tells them apart");
    }
    if (wanted != fm_json_present(&labels)) {
        return fm_json_fail(&labels, err, FM_EFORMAT, "%s", wrong_labels(config, wanted));
    }
    return wanted ? read_labels(&labels, config, err) : FM_OK;
}
