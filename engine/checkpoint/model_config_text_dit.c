/* config.json's "network" of text_dit: the configuration of the flow_matching library's text example. */
#include "engine/checkpoint/model_config_private.h"

#define MAX_CHANNELS ((size_t)65536)
#define MAX_DEPTH    ((size_t)1024)

static fm_status read_sizes(const fm_json_node *network, fm_text_dit_config *text, fm_error *err)
{
    const struct {
        const char *key;
        size_t max, *ret;
    } rows[] = {
        {"hidden_size", MAX_CHANNELS, &text->hidden},
        {"cond_dim", MAX_CHANNELS, &text->condition},
        {"n_blocks", MAX_DEPTH, &text->depth},
        {"n_heads", MAX_CHANNELS, &text->heads},
    };
    fm_status status = FM_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == FM_OK; i++) {
        fm_json_node node = fm_json_member(network, rows[i].key);
        status = fm_json_require(&node, err);
        if (status == FM_OK) {
            status = fm_json_read_size(&node, 1, rows[i].max, rows[i].ret, err);
        }
    }
    return status;
}

/* Half of a head's channels are turned against the other half. */
static fm_status check_heads(const fm_json_node *network, const fm_text_dit_config *text,
                             fm_error *err)
{
    fm_json_node node = fm_json_member(network, "n_heads");
    if (text->hidden % text->heads != 0) {
        return fm_json_fail(&node, err, FM_EFORMAT, "must divide hidden_size, %zu, found %zu",
                            text->hidden, text->heads);
    }
    return text->hidden / text->heads % 2 == 0
               ? FM_OK
               : fm_json_fail(&node, err, FM_EFORMAT,
                              "must give heads of an even size, found %zu of %zu", text->heads,
                              text->hidden / text->heads);
}

/* The longest sequence that was trained on, and here the only one. */
static fm_status read_length(const fm_json_node *network, const fm_model_config *config,
                             fm_text_dit_config *text, fm_error *err)
{
    fm_json_node flow = fm_json_member(network->parent, "flow");
    fm_json_node shape = fm_json_member(&flow, "shape");
    if (config->rank != 1) {
        return fm_json_fail(&shape, err, FM_EFORMAT, "must be [length], found %zu items",
                            config->rank);
    }
    text->length = config->shape[0];
    fm_json_node node = fm_json_member(network, "length");
    fm_status status = fm_json_read_size(&node, 1, SIZE_MAX, &text->length, err);
    if (status == FM_OK && text->length != config->shape[0]) {
        status = fm_json_fail(&node, err, FM_EFORMAT, "must be that of /flow/shape, %zu, found %zu",
                              config->shape[0], text->length);
    }
    return status;
}

fm_status fm_model_config_read_text_dit(const fm_json_node *network, fm_model_config *config,
                                        fm_error *err)
{
    static const char *const keys[] = {"architecture", "vocab_size", "masked",   "hidden_size",
                                       "cond_dim",     "length",     "n_blocks", "n_heads",
                                       "dropout",      NULL};
    static const fm_json_ignored ignored[] = {{"dropout", true}, {0}};
    fm_text_dit_config *text = &config->text_dit;
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = fm_model_config_read_tokens(network, config, err);
    }
    if (status == FM_OK) {
        status = read_sizes(network, text, err);
    }
    if (status == FM_OK) {
        status = check_heads(network, text, err);
    }
    if (status == FM_OK) {
        status = read_length(network, config, text, err);
    }
    return status == FM_OK ? fm_model_config_check_ignored(network, ignored, err) : status;
}
