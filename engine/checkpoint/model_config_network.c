/* config.json's "network": the architecture and its own keys. */
#include "engine/checkpoint/model_config_private.h"
#include "engine/checkpoint/tensors.h"
#include "engine/memory.h"

static const fm_json_choice architectures[] = {
#define FM_ARCHITECTURE(id, name, has_weights, constructor) {name, FM_ARCHITECTURE_##id},
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE
    {"minrf.dit", FM_JSON_UNSUPPORTED}, {"minrf.mmdit", FM_JSON_UNSUPPORTED},
    {"sd3", FM_JSON_UNSUPPORTED},       {"flux", FM_JSON_UNSUPPORTED},
    {"onnx", FM_JSON_UNSUPPORTED},      {0},
};

const char *fm_architecture_name(fm_architecture architecture)
{
    for (size_t i = 0; architectures[i].name != NULL; i++) {
        if (architectures[i].value == (int)architecture) {
            return architectures[i].name;
        }
    }
    return "unknown";
}

bool fm_architecture_has_weights(fm_architecture architecture)
{
    static const bool has_weights[] = {
#define FM_ARCHITECTURE(id, name, has_weights, constructor) has_weights,
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE
    };
    return has_weights[architecture];
}

/* The others are made of images, or of sums of points; frames is of its own space alone, as its keys say. */
bool fm_model_config_serves_spaces(const fm_model_config *config)
{
    return config->architecture == FM_ARCHITECTURE_MLP ||
           config->architecture == FM_ARCHITECTURE_TEXT_DIT ||
           config->architecture == FM_ARCHITECTURE_FRAMES;
}

fm_status fm_model_config_read_architecture(const fm_json_node *root, fm_model_config *config,
                                            fm_error *err)
{
    fm_json_node network = fm_json_member(root, "network");
    fm_status status = fm_json_require(&network, err);
    if (status == FM_OK && !json_is_object(network.value)) {
        status = fm_json_fail(&network, err, FM_EFORMAT, "must be an object, found %s",
                              fm_json_kind(network.value));
    }
    fm_json_node node = fm_json_member(&network, "architecture");
    if (status == FM_OK) {
        status = fm_json_require(&node, err);
    }
    int chosen = 0;
    if (status == FM_OK) {
        status = fm_json_read_choice(&node, architectures, &chosen, err);
    }
    if (status == FM_OK) {
        config->architecture = (fm_architecture)chosen;
    }
    return status;
}

fm_status fm_model_config_read_network(const fm_json_node *root, fm_model_config *config,
                                       fm_error *err)
{
    fm_json_node network = fm_json_member(root, "network");
    switch (config->architecture) {
    case FM_ARCHITECTURE_MLP:
        return fm_model_config_read_mlp(&network, config, err);
    case FM_ARCHITECTURE_GAUSSIAN_MIXTURE:
        return fm_model_config_read_gaussian_mixture(&network, config, err);
    case FM_ARCHITECTURE_DATASET:
        return fm_model_config_read_dataset(&network, config, err);
    case FM_ARCHITECTURE_TORCHCFM_UNET:
        return fm_model_config_read_torchcfm_unet(&network, config, err);
    case FM_ARCHITECTURE_META_UNET:
        return fm_model_config_read_meta_unet(&network, config, err);
    case FM_ARCHITECTURE_SIT:
        return fm_model_config_read_sit(&network, config, err);
    case FM_ARCHITECTURE_TEXT_DIT:
        return fm_model_config_read_text_dit(&network, config, err);
    case FM_ARCHITECTURE_FRAMES:
        return fm_model_config_read_frames(&network, config, err);
    }
    return fm_json_fail(&network, err, FM_EINTERNAL, "no reader for this architecture");
}

fm_status fm_model_config_check_shape(const fm_json_node *network, const fm_model_config *config,
                                      const size_t shape[3], const char *origin, fm_error *err)
{
    if (config->rank == 3 && config->shape[0] == shape[0] && config->shape[1] == shape[1] &&
        config->shape[2] == shape[2]) {
        return FM_OK;
    }
    char found[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(config->rank, config->shape, found);
    fm_json_node flow = fm_json_member(network->parent, "flow");
    fm_json_node node = fm_json_member(&flow, "shape");
    if (config->rank != 3) {
        return fm_json_fail(&node, err, FM_EFORMAT, "must be [channels, height, width], found %s",
                            found);
    }
    return fm_json_fail(&node, err, FM_EFORMAT, "must be [%zu, %zu, %zu], from %s, found %s",
                        shape[0], shape[1], shape[2], origin, found);
}

fm_status fm_model_config_read_learn_sigma(const fm_json_node *network,
                                           const fm_model_config *config, bool fallback,
                                           size_t channels, size_t *ret_output, size_t *ret_kept,
                                           fm_error *err)
{
    size_t n = fm_predictions_count(&config->predictions);
    bool learn_sigma = fallback;
    fm_json_node node = fm_json_member(network, "learn_sigma");
    fm_status status = fm_json_read_bool(&node, &learn_sigma, err);
    if (status == FM_OK && n > 1 && !learn_sigma) {
        status = fm_json_fail(&node, err, FM_EFORMAT,
                              "must be true where /flow/prediction is a pair, which takes twice "
                              "the channels");
    }
    *ret_output = learn_sigma ? 2 * channels : channels;
    *ret_kept = n * channels;
    return status;
}

fm_status fm_model_config_check_ignored(const fm_json_node *network, const fm_json_ignored *ignored,
                                        fm_error *err)
{
    double number = 0.0;
    bool truth = false;
    fm_status status = FM_OK;
    for (; ignored->key != NULL && status == FM_OK; ignored++) {
        fm_json_node node = fm_json_member(network, ignored->key);
        status = ignored->is_number ? fm_json_read_number(&node, &number, err)
                                    : fm_json_read_bool(&node, &truth, err);
    }
    return status;
}

static void mixture_done(fm_mixture_config *mixture)
{
    fm_free(mixture->weights);
    fm_free(mixture->means);
    fm_free(mixture->stds);
}

static void names_done(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fm_free(names[i]);
    }
    fm_free(names);
}

void fm_model_config_network_done(fm_model_config *config)
{
    names_done(config->mlp.layers, config->mlp.n_layers);
    names_done(config->mlp.layers_without_bias, config->mlp.n_layers_without_bias);
    fm_free(config->mlp.token_embedding);
    fm_free(config->mlp.time_embedding);
    mixture_done(&config->gaussian_mixture.mixture);
    for (size_t i = 0; i < config->gaussian_mixture.n_classes; i++) {
        mixture_done(&config->gaussian_mixture.classes[i]);
    }
    fm_free(config->gaussian_mixture.classes);
    fm_free(config->dataset.file);
}
