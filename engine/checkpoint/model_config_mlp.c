/* config.json's "network" of an mlp. */
#include "engine/checkpoint/model_config_private.h"

#define MAX_FOURIER_COUNT ((size_t)65536)

static fm_status read_features(const fm_json_node *network, fm_mlp_config *mlp, fm_error *err)
{
    static const fm_json_choice words[] = {{"none", 0}, {0}};
    static const fm_json_choice types[] = {{"fourier", 0}, {0}};
    static const char *const keys[] = {"type", "count", NULL};
    int ignored = 0;
    fm_json_node node = fm_json_member(network, "features");
    if (!json_is_object(node.value)) {
        return fm_json_read_choice(&node, words, &ignored, err);
    }
    fm_json_node type = fm_json_member(&node, "type");
    fm_json_node count = fm_json_member(&node, "count");
    fm_status status = fm_json_check_object(&node, keys, err);
    if (status == FM_OK) {
        status = fm_json_require(&type, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_choice(&type, types, &ignored, err);
    }
    if (status == FM_OK) {
        status = fm_json_require(&count, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_size(&count, 1, MAX_FOURIER_COUNT, &mlp->fourier_count, err);
    }
    return status;
}

static fm_status read_activation(const fm_json_node *network, fm_mlp_config *mlp, fm_error *err)
{
    static const fm_json_choice activations[] = {
#define FM_ACTIVATION(id, name) {name, FM_ACTIVATION_##id},
#include "engine/math/activation.def"
#undef FM_ACTIVATION
        {0},
    };
    int chosen = FM_ACTIVATION_NONE;
    fm_json_node node = fm_json_member(network, "activation");
    fm_status status = fm_json_require(&node, err);
    if (status == FM_OK) {
        status = fm_json_read_choice(&node, activations, &chosen, err);
        mlp->activation = (fm_activation)chosen;
    }
    return status;
}

/* A classifier is asked about labels; the network itself is given none. */
static fm_status read_label(const fm_json_node *network, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice labels[] = {
        {"none", FM_MLP_LABEL_NONE}, {"concat", FM_MLP_LABEL_CONCAT}, {0}};
    int label = FM_MLP_LABEL_NONE;
    fm_json_node node = fm_json_member(network, "label");
    fm_status status = fm_json_read_choice(&node, labels, &label, err);
    if (status == FM_OK && label != FM_MLP_LABEL_NONE && config->classifier) {
        return fm_json_fail(&node, err, FM_EFORMAT, "must be none for a classifier");
    }
    config->mlp.label = (fm_mlp_label)label;
    return status;
}

static fm_status read_stem(const fm_json_node *node, char **ret, fm_error *err)
{
    fm_status status = fm_json_read_string(node, ret, err);
    return status == FM_OK && *ret != NULL && **ret == '\0'
               ? fm_json_fail(node, err, FM_EFORMAT, "must not be empty")
               : status;
}

/* Of tokens that are looked up: the tables' stems, and what only such networks have. */
static fm_status read_embeddings(const fm_json_node *network, fm_model_config *config,
                                 fm_error *err)
{
    static const char *const of_tokens[] = {"vocab_size", "masked", "time_embedding",
                                            "activation_first"};
    fm_mlp_config *mlp = &config->mlp;
    fm_json_node table = fm_json_member(network, "token_embedding");
    fm_json_node time = fm_json_member(network, "time_embedding");
    fm_json_node first = fm_json_member(network, "activation_first");
    fm_json_node features = fm_json_member(network, "features");
    for (size_t i = 0; !fm_json_present(&table) && i < sizeof of_tokens / sizeof *of_tokens; i++) {
        fm_json_node node = fm_json_member(network, of_tokens[i]);
        if (fm_json_present(&node)) {
            return fm_json_fail(&node, err, FM_EFORMAT,
                                "must be left out: it is for networks with a token_embedding");
        }
    }
    if (!fm_json_present(&table)) {
        return FM_OK;
    }
    fm_status status = read_stem(&table, &mlp->token_embedding, err);
    if (status == FM_OK) {
        status = fm_model_config_read_tokens(network, config, err);
    }
    if (status == FM_OK) {
        status = read_stem(&time, &mlp->time_embedding, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_bool(&first, &mlp->activation_first, err);
    }
    if (status == FM_OK && mlp->fourier_count > 0) {
        status = fm_json_fail(&features, err, FM_EFORMAT,
                              "must be none where tokens enter by a token_embedding");
    }
    return status;
}

fm_status fm_model_config_read_mlp(const fm_json_node *network, fm_model_config *config,
                                   fm_error *err)
{
    static const fm_json_choice times[] = {{"concat_last", 0}, {"concat_first", 1}, {0}};
    static const char *const keys[] = {"architecture",
                                       "activation",
                                       "time",
                                       "label",
                                       "features",
                                       "layers",
                                       "layers_without_bias",
                                       "token_embedding",
                                       "vocab_size",
                                       "masked",
                                       "time_embedding",
                                       "activation_first",
                                       NULL};
    fm_mlp_config *mlp = &config->mlp;
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_activation(network, mlp, err);
    }
    int time_first = 0;
    if (status == FM_OK) {
        fm_json_node node = fm_json_member(network, "time");
        status = fm_json_read_choice(&node, times, &time_first, err);
        mlp->time_first = time_first == 1;
    }
    if (status == FM_OK) {
        status = read_label(network, config, err);
    }
    if (status == FM_OK) {
        status = read_features(network, mlp, err);
    }
    if (status == FM_OK) {
        status = read_embeddings(network, config, err);
    }
    if (status == FM_OK) {
        fm_json_node node = fm_json_member(network, "layers");
        status = fm_json_read_names(&node, &mlp->layers, &mlp->n_layers, err);
    }
    if (status == FM_OK) {
        fm_json_node node = fm_json_member(network, "layers_without_bias");
        status =
            fm_json_read_names(&node, &mlp->layers_without_bias, &mlp->n_layers_without_bias, err);
    }
    return status;
}
