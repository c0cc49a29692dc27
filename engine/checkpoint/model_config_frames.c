/* config.json's "network" of frames: the constructor arguments of train/frames.py, and the flow that it is of. */
#include "engine/checkpoint/model_config_private.h"
#include "engine/checkpoint/tensors.h"

#define MAX_LENGTH   ((size_t)1024) /* pairs are its square */
#define MAX_CHANNELS ((size_t)65536)
#define MAX_BLOCKS   ((size_t)1024)
#define MAX_BINS     ((size_t)4096)

static fm_status read_sizes(const fm_json_node *network, fm_frames_config *frames, fm_error *err)
{
    const struct {
        const char *key;
        size_t min, max, *ret;
    } rows[] = {
        {"length", 2, MAX_LENGTH, &frames->length},
        {"hidden_size", 1, MAX_CHANNELS, &frames->hidden},
        {"pair_size", 1, MAX_CHANNELS, &frames->pair},
        {"n_blocks", 1, MAX_BLOCKS, &frames->n_blocks},
        {"n_heads", 1, MAX_CHANNELS, &frames->heads},
        {"distance_bins", 2, MAX_BINS, &frames->bins},
    };
    fm_status status = FM_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == FM_OK; i++) {
        fm_json_node node = fm_json_member(network, rows[i].key);
        status = fm_json_require(&node, err);
        if (status == FM_OK) {
            status = fm_json_read_size(&node, rows[i].min, rows[i].max, rows[i].ret, err);
        }
    }
    fm_json_node heads = fm_json_member(network, "n_heads");
    if (status == FM_OK && frames->hidden % frames->heads != 0) {
        status = fm_json_fail(&heads, err, FM_EFORMAT, "must divide hidden_size, %zu, found %zu",
                              frames->hidden, frames->heads);
    }
    return status;
}

static fm_status read_reach(const fm_json_node *network, fm_frames_config *frames, fm_error *err)
{
    fm_json_node node = fm_json_member(network, "distance_max");
    fm_status status = fm_json_require(&node, err);
    if (status == FM_OK) {
        status = fm_json_read_number(&node, &frames->reach, err);
    }
    if (status == FM_OK && !(frames->reach > 0.0)) {
        status = fm_json_fail(&node, err, FM_EFORMAT, "must be above 0, found %g", frames->reach);
    }
    return status;
}

static fm_status check_flow(const fm_json_node *network, const fm_model_config *config,
                            fm_error *err)
{
    const fm_space_part *part = &config->space.parts[0];
    fm_json_node flow = fm_json_member(network->parent, "flow");
    if (config->space.is_product || part->id != FM_SPACE_SE3) {
        fm_json_node node = fm_json_member(&flow, "space");
        return fm_json_fail(&node, err, FM_EFORMAT, "must be %s for frames",
                            fm_space_name(FM_SPACE_SE3));
    }
    if (part->representation != FM_REPRESENTATION_MATRIX) {
        fm_json_node node = fm_json_member(&flow, "representation");
        return fm_json_fail(&node, err, FM_EFORMAT, "must be matrix for frames");
    }
    if (config->rank != 2 || config->shape[0] != config->frames.length) {
        char found[FM_SHAPE_TEXT_BYTES];
        fm_shape_text(config->rank, config->shape, found);
        fm_json_node node = fm_json_member(&flow, "shape");
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be [%zu, 7], from length of /network, found %s",
                            config->frames.length, found);
    }
    return FM_OK;
}

fm_status fm_model_config_read_frames(const fm_json_node *network, fm_model_config *config,
                                      fm_error *err)
{
    static const char *const keys[] = {"architecture",  "length",       "hidden_size",
                                       "pair_size",     "n_blocks",     "n_heads",
                                       "distance_bins", "distance_max", NULL};
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_sizes(network, &config->frames, err);
    }
    if (status == FM_OK) {
        status = read_reach(network, &config->frames, err);
    }
    return status == FM_OK ? check_flow(network, config, err) : status;
}
