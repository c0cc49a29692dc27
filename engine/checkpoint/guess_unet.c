/* torchcfm.unet and meta.unet: the guided-diffusion U-Net of two libraries, which differ in their keys.
 *
 * input_blocks are: the first convolution; for each level num_res_blocks ResBlocks, each perhaps with an
 * attention behind it, and a down-sampling block, but for the last level. A down-sampling block is a
 * convolution ("op"), a ResBlock, or an average pool, which has no tensors. output_blocks mirror them; the last
 * block of each level ends with the up-sampling, which shows how many ResBlocks a level has. */
#include "engine/checkpoint/guess_private.h"

#include <stdio.h>
#include <string.h>

#define MAX_LEVELS ((size_t)16)

typedef enum resampling {
    RESAMPLING_NONE,
    RESAMPLING_CONV,
    RESAMPLING_BLOCK,
    RESAMPLING_POOL
} resampling;

typedef struct unet {
    size_t base; /* model channels, of the time embedding */
    size_t in_channels, out_channels;
    size_t res_blocks, levels;
    size_t channels[MAX_LEVELS];
    bool attention[MAX_LEVELS];
    bool scale_shift;
    resampling down;
    size_t label_rows; /* 0: none */
} unet;

/* ---- Reading shapes ---- */

/* The block of the outputs that ends with an up-sampling: the number of ResBlocks of a level. */
static size_t first_up(const fm_guesser *guesser, resampling *ret)
{
    size_t count = fm_guess_count(guesser, "output_blocks");
    for (size_t i = 0; i < count; i++) {
        for (int item = 1; item <= 2; item++) {
            bool conv = fm_guess_find(guesser, "output_blocks.%zu.%d.conv.weight", i, item) != NULL;
            bool block =
                fm_guess_find(guesser, "output_blocks.%zu.%d.in_layers.2.weight", i, item) != NULL;
            if (conv || block) {
                *ret = conv ? RESAMPLING_CONV : RESAMPLING_BLOCK;
                return i;
            }
        }
    }
    return 0;
}

/* The first of the inputs without tensors: an average pool. */
static size_t first_pool(const fm_guesser *guesser, size_t count)
{
    char prefix[64];
    for (size_t i = 1; i < count; i++) {
        (void)snprintf(prefix, sizeof prefix, "input_blocks.%zu.", i);
        if (!fm_guess_has(guesser, prefix)) {
            return i;
        }
    }
    return 0;
}

static void read_depths(const fm_guesser *guesser, size_t blocks, unet *ret)
{
    size_t pool = first_pool(guesser, blocks);
    size_t up = first_up(guesser, &ret->down);
    if (pool > 0) {
        ret->down = RESAMPLING_POOL;
        ret->res_blocks = pool - 1;
    } else {
        ret->res_blocks = up > 0 ? up : blocks - 1;
    }
}

static fm_status read_levels(const fm_guesser *guesser, unet *ret, fm_error *err)
{
    size_t blocks = fm_guess_count(guesser, "input_blocks");
    read_depths(guesser, blocks, ret);
    ret->levels = blocks / (ret->res_blocks + 1);
    if (ret->res_blocks == 0 || ret->levels > MAX_LEVELS ||
        ret->levels * (ret->res_blocks + 1) != blocks) {
        return fm_fail(err, FM_EFORMAT,
                       "%zu input_blocks are no levels of one number of ResBlocks; write "
                       "config.json by hand",
                       blocks);
    }
    for (size_t level = 0; level < ret->levels; level++) {
        size_t block = 1 + level * (ret->res_blocks + 1);
        char name[96];
        const fm_tensor *weight = NULL;
        (void)snprintf(name, sizeof name, "input_blocks.%zu.0.in_layers.2.weight", block);
        fm_status status = fm_guess_need(guesser, name, 4, &weight, err);
        if (status != FM_OK) {
            return status;
        }
        ret->channels[level] = weight->shape[0];
        ret->attention[level] =
            fm_guess_find(guesser, "input_blocks.%zu.1.qkv.weight", block) != NULL;
    }
    return FM_OK;
}

static fm_status read_unet(const fm_guesser *guesser, unet *ret, fm_error *err)
{
    const fm_tensor *first = NULL, *time = NULL, *last = NULL, *embedding = NULL;
    fm_status status = fm_guess_need(guesser, "input_blocks.0.0.weight", 4, &first, err);
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "time_embed.0.weight", 2, &time, err);
    }
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "out.2.weight", 4, &last, err);
    }
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "input_blocks.1.0.emb_layers.1.weight", 2, &embedding, err);
    }
    if (status != FM_OK) {
        return status;
    }
    ret->base = time->shape[1];
    ret->in_channels = first->shape[1];
    ret->out_channels = last->shape[0];
    const fm_tensor *labels = fm_guess_find(guesser, "label_emb.weight");
    ret->label_rows = labels != NULL && labels->rank == 2 ? labels->shape[0] : 0;
    status = read_levels(guesser, ret, err);
    ret->scale_shift = status == FM_OK && embedding->shape[0] == 2 * ret->channels[0];
    return status;
}

/* ---- Keys that both have ---- */

static void put_multipliers(fm_guesser *guesser, const unet *net)
{
    json_t *list = json_array();
    for (size_t level = 0; level < net->levels; level++) {
        bool whole = net->channels[level] % net->base == 0;
        json_t *item = whole ? json_integer((json_int_t)(net->channels[level] / net->base))
                             : json_real((double)net->channels[level] / (double)net->base);
        if (json_array_append_new(list, item) != 0) {
            guesser->out_of_memory = true;
        }
    }
    fm_guess_put(guesser, guesser->network, "channel_mult", list);
}

static void put_heads(fm_guesser *guesser, bool by_channels, size_t heads, bool new_order,
                      const char *why)
{
    json_t *network = guesser->network;
    fm_guess_put_size(guesser, network, "num_heads", heads);
    fm_guess_put(guesser, network, "num_head_channels", json_integer(by_channels ? 64 : -1));
    fm_guess_put(guesser, network, "use_new_attention_order", json_boolean(new_order));
    fm_guess_assume(guesser,
                    "network.num_heads %zu, network.num_head_channels %d, "
                    "network.use_new_attention_order %s: %s",
                    heads, by_channels ? 64 : -1, new_order ? "true" : "false", why);
}

static void put_image(fm_guesser *guesser, size_t channels, size_t side)
{
    const size_t shape[] = {channels, side, side};
    fm_guess_put_shape(guesser, 3, shape);
    fm_guess_put(guesser, guesser->output, "kind", json_string("image"));
}

static void put_shared(fm_guesser *guesser, const unet *net)
{
    json_t *network = guesser->network;
    fm_guess_put_size(guesser, network, "num_res_blocks", net->res_blocks);
    put_multipliers(guesser, net);
    fm_guess_put(guesser, network, "use_scale_shift_norm", json_boolean(net->scale_shift));
    fm_guess_put(guesser, network, "resblock_updown", json_boolean(net->down == RESAMPLING_BLOCK));
}

/* ---- torchcfm.unet ---- */

/* Its attention_resolutions are sides of the image, in one string. */
static void put_torchcfm_attention(fm_guesser *guesser, const unet *net, size_t side)
{
    char text[128] = "";
    size_t used = 0;
    for (size_t level = 0; level < net->levels; level++) {
        if (net->attention[level] && side >> level > 0) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%zu", used == 0 ? "" : ",",
                                     side >> level);
        }
    }
    if (used == 0) { /* a side that no level has: the list may not be empty */
        (void)snprintf(text, sizeof text, "%zu", 2 * side);
    }
    fm_guess_put(guesser, guesser->network, "attention_resolutions", json_string(text));
}

fm_status fm_guess_torchcfm_unet(fm_guesser *guesser, fm_error *err)
{
    unet net = {0};
    fm_status status = read_unet(guesser, &net, err);
    if (status == FM_OK && net.down == RESAMPLING_POOL) {
        status = fm_fail(err, FM_EFORMAT, "TorchCFM's U-Net has no average pools; try meta.unet");
    }
    if (status != FM_OK) {
        return status;
    }
    json_t *network = guesser->network;
    size_t side = net.in_channels == 1 ? 28 : 32;
    bool cifar = net.base == 128 && net.in_channels == 3;
    fm_guess_put(
        guesser, network, "dim",
        json_pack("[I, I, I]", (json_int_t)net.in_channels, (json_int_t)side, (json_int_t)side));
    fm_guess_put_size(guesser, network, "num_channels", net.base);
    put_shared(guesser, &net);
    put_torchcfm_attention(guesser, &net, side);
    put_heads(guesser, cifar, cifar ? 4 : 1, false,
              cifar ? "as TorchCFM's CIFAR-10 example" : "TorchCFM's defaults");
    fm_guess_put(guesser, network, "learn_sigma",
                 json_boolean(net.out_channels == 2 * net.in_channels));
    if (net.label_rows > 0) {
        fm_guess_put(guesser, network, "class_cond", json_true());
        fm_guess_put_size(guesser, network, "num_classes", net.label_rows);
        fm_guess_put_labels(guesser, net.label_rows, false);
        fm_guess_assume(guesser, "conditioning.labels has no null class");
    }
    put_image(guesser, net.in_channels, side);
    fm_guess_assume(guesser,
                    "images of %zu x %zu in network.dim, network.attention_resolutions and "
                    "flow.shape: the size is not in the file",
                    side, side);
    return FM_OK;
}

/* ---- meta.unet ---- */

/* Its attention_resolutions are down-sampling factors. */
static void put_meta_attention(fm_guesser *guesser, const unet *net)
{
    json_t *list = json_array();
    for (size_t level = 0; level < net->levels; level++) {
        if (net->attention[level] &&
            json_array_append_new(list, json_integer((json_int_t)1 << level)) != 0) {
            guesser->out_of_memory = true;
        }
    }
    fm_guess_put(guesser, guesser->network, "attention_resolutions", list);
}

fm_status fm_guess_meta_unet(fm_guesser *guesser, fm_error *err)
{
    unet net = {0};
    fm_status status = read_unet(guesser, &net, err);
    if (status != FM_OK) {
        return status;
    }
    json_t *network = guesser->network;
    bool fourier = net.in_channels == net.out_channels + 12;
    size_t channels = fourier ? net.out_channels : net.in_channels;
    fm_guess_put_size(guesser, network, "in_channels", channels);
    fm_guess_put_size(guesser, network, "model_channels", net.base);
    fm_guess_put_size(guesser, network, "out_channels", net.out_channels);
    put_shared(guesser, &net);
    put_meta_attention(guesser, &net);
    fm_guess_put(guesser, network, "conv_resample", json_boolean(net.down != RESAMPLING_POOL));
    fm_guess_put(guesser, network, "with_fourier_features", json_boolean(fourier));
    put_heads(guesser, net.base == 192, 1, true,
              net.base == 192 ? "as the library's ImageNet example" : "the library's defaults");
    if (net.label_rows > 1) {
        fm_guess_put_size(guesser, network, "num_classes", net.label_rows - 1);
        fm_guess_put_labels(guesser, net.label_rows - 1, true);
        fm_guess_assume(guesser,
                        "network.architecture meta.unet and a null class %zu, not "
                        "torchcfm.unet with %zu classes",
                        net.label_rows - 1, net.label_rows);
    }
    put_image(guesser, channels, 32);
    fm_guess_assume(guesser, "images of 32 x 32 in flow.shape: the size is not in the file");
    return FM_OK;
}
