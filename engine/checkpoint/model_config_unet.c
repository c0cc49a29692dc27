/* config.json's "network" of torchcfm.unet and meta.unet: each library's constructor arguments under its
 * own names and with its own defaults, as one description of the network. */
#include "engine/checkpoint/model_config_private.h"

#include <stdio.h>
#include <string.h>

#define GROUPS             ((size_t)32) /* of every group norm */
#define MAX_CHANNELS       ((size_t)65536)
#define MAX_HEADS          ((size_t)4096)
#define MAX_CLASSES        ((size_t)1 << 24)
#define MAX_LIST_BYTES     ((size_t)256)
#define MAX_RESOLUTIONS    ((size_t)64)
#define DEFAULT_RESOLUTION ((size_t)16) /* TorchCFM's attention_resolutions */
#define FOURIER_INPUTS     ((size_t)3)  /* the library counts on so many channels of x */

/* What both constructors know under the same names, and what does not matter here. */
#define SHARED_KEYS                                                                                \
    "architecture", "num_res_blocks", "channel_mult", "num_heads", "num_head_channels",            \
        "num_heads_upsample", "attention_resolutions", "num_classes", "use_scale_shift_norm",      \
        "resblock_updown", "use_new_attention_order", "dropout", "use_checkpoint", "use_fp16"

static const fm_json_ignored ignored_keys[] = {
    {"dropout", true}, {"use_checkpoint", false}, {"use_fp16", false}, {0}};

/* Both write null where Python has None. */
static bool is_given(const fm_json_node *node)
{
    return fm_json_present(node) && !json_is_null(node->value);
}

/* ---- lists ---- */

/* An array, or a string of numbers with commas between: "16,8". ret has the node's place and, unless it
 * is absent, a tree of its own, which the caller releases. */
static fm_status read_list(const fm_json_node *node, fm_json_node *ret, fm_error *err)
{
    *ret = *node;
    if (!is_given(node)) {
        ret->value = NULL;
        return FM_OK;
    }
    if (!json_is_string(node->value)) {
        ret->value = json_incref(node->value);
        return FM_OK;
    }
    char text[MAX_LIST_BYTES];
    const char *given = json_string_value(node->value);
    int length = snprintf(text, sizeof text, "[%s]", given);
    bool fits = length > 0 && (size_t)length < sizeof text;
    fm_status status =
        fits ? fm_json_text_parse(text, (size_t)length, NULL, &ret->value, NULL) : FM_EFORMAT;
    if (status == FM_EFORMAT) {
        ret->value = NULL;
        status = fm_json_fail(node, err, status,
                              "must be numbers with commas between, found \"%.64s\"", given);
    } else if (status != FM_OK) {
        ret->value = NULL;
        status = fm_json_fail(node, err, status, "no memory for a list");
    }
    return status;
}

/* ---- levels ---- */

static fm_status set_level(const fm_json_node *node, double multiple, fm_unet_config *unet,
                           fm_error *err)
{
    double exact = multiple * (double)unet->time_channels;
    if (!(exact >= 1.0 && exact <= (double)MAX_CHANNELS)) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must give a level from 1 to %zu channels, found %g times %zu",
                            MAX_CHANNELS, multiple, unet->time_channels);
    }
    size_t channels = (size_t)exact; /* cut, as Python's int() does */
    if (channels % GROUPS != 0) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must give every level a multiple of %zu channels, found %g times %zu",
                            GROUPS, multiple, unet->time_channels);
    }
    unet->levels[unet->n_levels++].channels = channels;
    return FM_OK;
}

static fm_status set_levels(const fm_json_node *node, const double *multiples, size_t count,
                            fm_unet_config *unet, fm_error *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < count && status == FM_OK; i++) {
        status = set_level(node, multiples[i], unet, err);
    }
    return status;
}

static fm_status read_multiples(const fm_json_node *list, fm_unet_config *unet, fm_error *err)
{
    fm_status status = fm_json_check_array(list, 1, FM_UNET_MAX_LEVELS, err);
    for (size_t i = 0; status == FM_OK && i < json_array_size(list->value); i++) {
        double multiple = 0.0;
        fm_json_node item = fm_json_item(list, i);
        status = fm_json_read_number(&item, &multiple, err);
        if (status == FM_OK) {
            status = set_level(&item, multiple, unet, err);
        }
    }
    return status;
}

/* What TorchCFM's wrapper takes for images of this width. */
static fm_status set_default_levels(const fm_json_node *node, fm_unet_config *unet, fm_error *err)
{
    static const struct {
        size_t width, count;
        double multiples[7];
    } rows[] = {
        {512, 7, {0.5, 1, 1, 2, 2, 4, 4}},
        {256, 6, {1, 1, 2, 2, 4, 4}},
        {128, 5, {1, 1, 2, 3, 4}},
        {64, 4, {1, 2, 3, 4}},
        {32, 4, {1, 2, 2, 2}},
        {28, 3, {1, 2, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].width == unet->width) {
            return set_levels(node, rows[i].multiples, rows[i].count, unet, err);
        }
    }
    return fm_json_fail(node, err, FM_EFORMAT,
                        "is required, for the library has no default for a width of %zu",
                        unet->width);
}

static fm_status read_levels(const fm_json_node *network, fm_unet_config *unet, bool by_width,
                             fm_error *err)
{
    static const double plain[] = {1, 2, 4, 8};
    fm_json_node node = fm_json_member(network, "channel_mult");
    fm_json_node list;
    fm_status status = read_list(&node, &list, err);
    if (status != FM_OK) {
        return status;
    }
    if (fm_json_present(&list)) {
        status = read_multiples(&list, unet, err);
        json_decref(list.value);
    } else if (by_width) {
        status = set_default_levels(&node, unet, err);
    } else {
        status = set_levels(&node, plain, sizeof plain / sizeof *plain, unet, err);
    }
    size_t factor = (size_t)1 << (unet->n_levels > 0 ? unet->n_levels - 1 : 0);
    if (status == FM_OK && (unet->height % factor != 0 || unet->width % factor != 0)) {
        status = fm_json_fail(&node, err, FM_EFORMAT,
                              "must halve height and width without a rest %zu times, found %zu "
                              "levels for images of %zu x %zu",
                              unet->n_levels - 1, unet->n_levels, unet->height, unet->width);
    }
    return status;
}

/* ---- attention ---- */

static void set_attention(fm_unet_config *unet, size_t factor)
{
    for (size_t i = 0; i < unet->n_levels; i++) {
        unet->levels[i].attends |= factor == (size_t)1 << i;
    }
}

/* Numbers that match no level are legal, and place no attention.
 *   width  of x where the numbers are widths of levels, one by default; 0: they are the factors
 *          themselves */
static fm_status read_attention(const fm_json_node *network, size_t width, fm_unet_config *unet,
                                fm_error *err)
{
    fm_json_node node = fm_json_member(network, "attention_resolutions");
    fm_json_node list;
    fm_status status = read_list(&node, &list, err);
    if (status != FM_OK) {
        return status;
    }
    if (!fm_json_present(&list) && width > 0) {
        set_attention(unet, width / DEFAULT_RESOLUTION);
    }
    status = fm_json_check_array(&list, 0, MAX_RESOLUTIONS, err);
    for (size_t i = 0; status == FM_OK && i < json_array_size(list.value); i++) {
        size_t number = 1;
        fm_json_node item = fm_json_item(&list, i);
        status = fm_json_read_size(&item, 1, MAX_CHANNELS, &number, err);
        if (status == FM_OK) {
            set_attention(unet, width > 0 ? width / number : number);
        }
    }
    json_decref(list.value);
    return status;
}

/* A count, or -1 (and nothing) for none, which leaves *ret. */
static fm_status read_optional(const fm_json_node *node, size_t *ret, fm_error *err)
{
    bool none = json_is_integer(node->value) && json_integer_value(node->value) == -1;
    return none ? FM_OK : fm_json_read_size(node, 1, MAX_HEADS, ret, err);
}

static fm_status check_heads(const fm_json_node *network, const fm_unet_config *unet, bool up,
                             fm_error *err)
{
    const char *counted = up ? "num_heads_upsample" : "num_heads";
    size_t divisor = up ? unet->up_heads : unet->heads;
    divisor = unet->head_channels > 0 ? unet->head_channels : divisor;
    fm_json_node node =
        fm_json_member(network, unet->head_channels > 0 ? "num_head_channels" : counted);
    for (size_t i = 0; i < unet->n_levels; i++) {
        bool attends = unet->levels[i].attends || (!up && i + 1 == unet->n_levels);
        if (attends && unet->levels[i].channels % divisor != 0) {
            return fm_json_fail(
                &node, err, FM_EFORMAT,
                "must divide the channels where there is attention, %zu in level %zu, found %zu",
                unet->levels[i].channels, i + 1, divisor);
        }
    }
    return FM_OK;
}

static fm_status read_heads(const fm_json_node *network, fm_unet_config *unet, fm_error *err)
{
    fm_json_node heads = fm_json_member(network, "num_heads");
    fm_json_node up_heads = fm_json_member(network, "num_heads_upsample");
    fm_json_node head_channels = fm_json_member(network, "num_head_channels");
    unet->heads = 1;
    fm_status status = fm_json_read_size(&heads, 1, MAX_HEADS, &unet->heads, err);
    unet->up_heads = unet->heads;
    if (status == FM_OK) {
        status = read_optional(&up_heads, &unet->up_heads, err);
    }
    if (status == FM_OK) {
        status = read_optional(&head_channels, &unet->head_channels, err);
    }
    if (status == FM_OK) {
        status = check_heads(network, unet, false, err);
    }
    return status == FM_OK ? check_heads(network, unet, true, err) : status;
}

/* ---- what both share ---- */

static fm_status read_flags(const fm_json_node *network, fm_unet_config *unet, fm_error *err)
{
    bool new_order = false;
    const struct {
        const char *key;
        bool *ret;
    } flags[] = {
        {"use_scale_shift_norm", &unet->scale_shift},
        {"resblock_updown", &unet->blocks_resample},
        {"use_new_attention_order", &new_order},
    };
    fm_status status = FM_OK;
    for (size_t i = 0; i < sizeof flags / sizeof *flags && status == FM_OK; i++) {
        fm_json_node node = fm_json_member(network, flags[i].key);
        status = fm_json_read_bool(&node, flags[i].ret, err);
    }
    unet->heads_first = !new_order;
    return status;
}

static fm_status read_required_size(const fm_json_node *network, const char *key, size_t min,
                                    size_t max, size_t *ret, fm_error *err)
{
    fm_json_node node = fm_json_member(network, key);
    fm_status status = fm_json_require(&node, err);
    return status == FM_OK ? fm_json_read_size(&node, min, max, ret, err) : status;
}

/* After the shape: levels, attention, heads and flags. */
static fm_status read_blocks(const fm_json_node *network, const char *channels_key,
                             bool is_torchcfm, fm_unet_config *unet, fm_error *err)
{
    fm_status status =
        read_required_size(network, channels_key, 2, MAX_CHANNELS, &unet->time_channels, err);
    if (status == FM_OK) {
        status = read_required_size(network, "num_res_blocks", 1, FM_UNET_MAX_BLOCKS,
                                    &unet->n_blocks, err);
    }
    if (status == FM_OK) {
        status = read_levels(network, unet, is_torchcfm, err);
    }
    if (status == FM_OK) {
        status = read_attention(network, is_torchcfm ? unet->width : 0, unet, err);
    }
    if (status == FM_OK) {
        status = read_heads(network, unet, err);
    }
    if (status == FM_OK) {
        status = read_flags(network, unet, err);
    }
    return status == FM_OK ? fm_model_config_check_ignored(network, ignored_keys, err) : status;
}

/* ---- torchcfm.unet ---- */

static fm_status read_dim(const fm_json_node *network, const fm_model_config *config,
                          fm_unet_config *unet, fm_error *err)
{
    fm_json_node node = fm_json_member(network, "dim");
    fm_status status = fm_json_require(&node, err);
    if (status == FM_OK) {
        status = fm_json_check_array(&node, 3, 3, err);
    }
    size_t dim[3] = {0};
    for (size_t i = 0; i < 3 && status == FM_OK; i++) {
        fm_json_node item = fm_json_item(&node, i);
        status = fm_json_read_size(&item, 1, MAX_CHANNELS, &dim[i], err);
    }
    if (status == FM_OK) {
        status = fm_model_config_check_shape(network, config, dim, "/network/dim", err);
    }
    unet->channels = dim[0];
    unet->height = dim[1];
    unet->width = dim[2];
    return status;
}

static fm_status read_class_cond(const fm_json_node *network, fm_unet_config *unet, fm_error *err)
{
    bool class_cond = false;
    size_t num_classes = 1000;
    fm_json_node flag = fm_json_member(network, "class_cond");
    fm_json_node count = fm_json_member(network, "num_classes");
    fm_status status = fm_json_read_bool(&flag, &class_cond, err);
    if (status == FM_OK && (class_cond || is_given(&count))) {
        status = fm_json_read_size(&count, 1, MAX_CLASSES, &num_classes, err);
    }
    unet->label_rows = class_cond ? num_classes : 0;
    return status;
}

fm_status fm_model_config_read_torchcfm_unet(const fm_json_node *network, fm_model_config *config,
                                             fm_error *err)
{
    static const char *const keys[] = {"dim",        SHARED_KEYS,   "num_channels",
                                       "class_cond", "learn_sigma", NULL};
    fm_unet_config *unet = &config->unet;
    unet->convs_resample = true; /* the wrapper leaves no choice */
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_dim(network, config, unet, err);
    }
    if (status == FM_OK) {
        status = read_blocks(network, "num_channels", true, unet, err);
    }
    if (status == FM_OK) {
        status = read_class_cond(network, unet, err);
    }
    if (status == FM_OK) {
        status =
            fm_model_config_read_learn_sigma(network, config, false, unet->channels,
                                             &unet->output_channels, &unet->kept_channels, err);
    }
    return status;
}

/* ---- meta.unet ---- */

/* The channels are the keys', height and width the flow's. */
static fm_status read_meta_shape(const fm_json_node *network, const fm_model_config *config,
                                 fm_unet_config *unet, fm_error *err)
{
    fm_json_node out = fm_json_member(network, "out_channels");
    fm_status status =
        read_required_size(network, "in_channels", 1, MAX_CHANNELS, &unet->channels, err);
    if (status == FM_OK) {
        status = read_required_size(network, "out_channels", 1, MAX_CHANNELS,
                                    &unet->output_channels, err);
    }
    size_t n = fm_predictions_count(&config->predictions);
    unet->kept_channels = n * unet->channels;
    if (status == FM_OK && unet->output_channels != unet->kept_channels) {
        status = fm_json_fail(&out, err, FM_EFORMAT, "must be %zu, in_channels for %s, found %zu",
                              unet->kept_channels, n > 1 ? "each prediction" : "the prediction",
                              unet->output_channels);
    }
    unet->height = config->rank == 3 ? config->shape[1] : 1;
    unet->width = config->rank == 3 ? config->shape[2] : 1;
    if (status == FM_OK) {
        status = fm_model_config_check_shape(
            network, config, (size_t[]){unet->channels, unet->height, unet->width},
            "/network/in_channels and an image's height and width", err);
    }
    return status;
}

static fm_status read_fourier(const fm_json_node *network, fm_unet_config *unet, fm_error *err)
{
    fm_json_node node = fm_json_member(network, "with_fourier_features");
    fm_status status = fm_json_read_bool(&node, &unet->fourier_features, err);
    if (status == FM_OK && unet->fourier_features && unet->channels != FOURIER_INPUTS) {
        status = fm_json_fail(&node, err, FM_EFORMAT,
                              "must be false unless in_channels is %zu, found in_channels %zu",
                              FOURIER_INPUTS, unet->channels);
    }
    return status;
}

/* Arguments of which this release serves one value. */
static fm_status read_fixed(const fm_json_node *network, fm_error *err)
{
    size_t dims = 2;
    bool ignore_time = false, input_projection = true;
    fm_json_node dims_node = fm_json_member(network, "dims");
    fm_json_node time_node = fm_json_member(network, "ignore_time");
    fm_json_node projection_node = fm_json_member(network, "input_projection");
    fm_status status = fm_json_read_size(&dims_node, 2, 2, &dims, err);
    if (status == FM_OK) {
        status = fm_json_read_bool(&time_node, &ignore_time, err);
    }
    if (status == FM_OK && ignore_time) {
        status = fm_json_unsupported(&time_node, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_bool(&projection_node, &input_projection, err);
    }
    return status == FM_OK && !input_projection ? fm_json_unsupported(&projection_node, err)
                                                : status;
}

static fm_status read_meta_classes(const fm_json_node *network, fm_unet_config *unet, fm_error *err)
{
    size_t num_classes = 0;
    fm_json_node node = fm_json_member(network, "num_classes");
    if (!is_given(&node)) {
        return FM_OK;
    }
    fm_status status = fm_json_read_size(&node, 1, MAX_CLASSES, &num_classes, err);
    unet->label_rows = num_classes + 1;
    unet->has_null_row = true;
    return status;
}

fm_status fm_model_config_read_meta_unet(const fm_json_node *network, fm_model_config *config,
                                         fm_error *err)
{
    static const char *const keys[] = {
        "in_channels", SHARED_KEYS,   "model_channels",   "out_channels",          "conv_resample",
        "dims",        "ignore_time", "input_projection", "with_fourier_features", NULL};
    fm_unet_config *unet = &config->unet;
    unet->convs_resample = true;
    fm_json_node attention = fm_json_member(network, "attention_resolutions");
    fm_json_node resample = fm_json_member(network, "conv_resample");
    fm_status status = fm_json_check_object(network, keys, err);
    if (status == FM_OK) {
        status = read_meta_shape(network, config, unet, err);
    }
    if (status == FM_OK) {
        status = fm_json_require(&attention, err);
    }
    if (status == FM_OK) {
        status = read_blocks(network, "model_channels", false, unet, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_bool(&resample, &unet->convs_resample, err);
    }
    if (status == FM_OK) {
        status = read_fourier(network, unet, err);
    }
    if (status == FM_OK) {
        status = read_fixed(network, err);
    }
    return status == FM_OK ? read_meta_classes(network, unet, err) : status;
}
