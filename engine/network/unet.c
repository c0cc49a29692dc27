/* torchcfm.unet and meta.unet: the U-Net of guided diffusion with attention and a time embedding.
 *
 *   e    = SiLU(L2(SiLU(L1(time))) + label)
 *   down   a convolution, then for each level n_blocks residual blocks; levels end in halving
 *   middle residual block, attention, residual block
 *   up     for each level n_blocks + 1 residual blocks over [h, what the same place of the way down left]
 *   out  = conv(SiLU(norm(h)))
 *
 * A residual block, with c = conv(SiLU(norm(x))) and e' = L(e):
 *   x + conv(SiLU(norm(c + e')))   or   x + conv(SiLU(norm(c) (1 + scale) + shift)), [scale, shift] = e'
 * x goes through a convolution of kernel 1 where the channels change; in blocks that resample, x and
 * SiLU(norm(x)) are resampled first.
 * Source: Dhariwal and Nichol, arXiv:2105.05233; tensors as TorchCFM and flow_matching name them. */
#include "engine/memory.h"
#include "engine/network/architecture.h"
#include "engine/network/builder.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#define MAX_SKIPS  ((size_t)(1 + FM_UNET_MAX_LEVELS * (FM_UNET_MAX_BLOCKS + 1)))
#define STEM_BYTES ((size_t)64)

typedef enum resampling { SAME, HALVE, DOUBLE } resampling;

typedef struct unet {
    const fm_unet_config *config;
    fm_builder *builder;
    fm_built embedding; /* e */
    fm_built skips[MAX_SKIPS];
    size_t n_skips;
    size_t n_inputs, n_outputs; /* of input_blocks, output_blocks so far */
} unet;

/* ---- blocks ---- */

static fm_built resample(const unet *self, fm_built in, resampling how)
{
    switch (how) {
    case SAME:
        break;
    case HALVE:
        return fm_builder_pool(self->builder, in);
    case DOUBLE:
        return fm_builder_upsample(self->builder, in);
    }
    return in;
}

static fm_built residual_block(const unet *self, fm_built in, const char *stem, size_t outputs,
                               resampling how)
{
    fm_builder *builder = self->builder;
    bool scale_shift = self->config->scale_shift;
    fm_built h = fm_builder_group_norm(builder, in, stem, "in_layers.0", NULL, FM_ACTIVATION_SILU);
    h = resample(self, h, how);
    in = resample(self, in, how);
    fm_builder_conv_spec linear = {.weight = FM_BUILDER_LINEAR,
                                   .outputs = scale_shift ? 2 * outputs : outputs};
    fm_built e = fm_builder_conv(builder, self->embedding, stem, "emb_layers.1", &linear);
    fm_plan_modulation modulation = {.value = e.value, .scale_column = 0, .shift_column = outputs};
    fm_builder_conv_spec first = {
        .outputs = outputs, .kernel = 3, .row_bias = scale_shift ? NULL : &e};
    h = fm_builder_conv(builder, h, stem, "in_layers.2", &first);
    h = fm_builder_group_norm(builder, h, stem, "out_layers.0", scale_shift ? &modulation : NULL,
                              FM_ACTIVATION_SILU);
    if (in.shape.channels != outputs) {
        in = fm_builder_conv(builder, in, stem, "skip_connection",
                             &(fm_builder_conv_spec){.outputs = outputs});
    }
    fm_builder_conv_spec second = {.outputs = outputs, .kernel = 3, .residual = &in};
    return fm_builder_conv(builder, h, stem, "out_layers.3", &second);
}

static fm_built attention_block(const unet *self, fm_built in, const char *stem, size_t heads)
{
    size_t channels = in.shape.channels;
    size_t fixed = self->config->head_channels;
    fm_plan_attention_spec attention = {.heads = fixed > 0 ? channels / fixed : heads,
                                        .head_channels = fixed > 0 ? fixed : channels / heads,
                                        .heads_first = self->config->heads_first};
    fm_builder_conv_spec qkv = {.weight = FM_BUILDER_CONV1D, .outputs = 3 * channels};
    fm_builder_conv_spec projection = {
        .weight = FM_BUILDER_CONV1D, .outputs = channels, .residual = &in};
    fm_built h = fm_builder_group_norm(self->builder, in, stem, "norm", NULL, FM_ACTIVATION_NONE);
    h = fm_builder_conv(self->builder, h, stem, "qkv", &qkv);
    h = fm_builder_attention(self->builder, h, &attention);
    return fm_builder_conv(self->builder, h, stem, "proj_out", &projection);
}

/* "input_blocks.3.1" */
static void name_block(char stem[STEM_BYTES], const char *list, size_t index, size_t part)
{
    int length = snprintf(stem, STEM_BYTES, "%s.%zu.%zu", list, index, part);
    assert(length > 0 && (size_t)length < STEM_BYTES);
    (void)length;
}

/* ---- down ---- */

static void push(unet *self, fm_built h)
{
    assert(self->n_skips < MAX_SKIPS);
    self->skips[self->n_skips++] = h;
    self->n_inputs++;
}

static fm_built halve(const unet *self, fm_built h)
{
    char stem[STEM_BYTES];
    name_block(stem, "input_blocks", self->n_inputs, 0);
    if (self->config->blocks_resample) {
        return residual_block(self, h, stem, h.shape.channels, HALVE);
    }
    fm_builder_conv_spec strided = {.outputs = h.shape.channels, .kernel = 3, .stride = 2};
    return self->config->convs_resample ? fm_builder_conv(self->builder, h, stem, "op", &strided)
                                        : fm_builder_pool(self->builder, h);
}

static fm_built level_down(unet *self, fm_built h, size_t level)
{
    const fm_unet_config *config = self->config;
    char stem[STEM_BYTES];
    for (size_t i = 0; i < config->n_blocks; i++) {
        name_block(stem, "input_blocks", self->n_inputs, 0);
        h = residual_block(self, h, stem, config->levels[level].channels, SAME);
        if (config->levels[level].attends) {
            name_block(stem, "input_blocks", self->n_inputs, 1);
            h = attention_block(self, h, stem, config->heads);
        }
        push(self, h);
    }
    if (level + 1 < config->n_levels) {
        h = halve(self, h);
        push(self, h);
    }
    return h;
}

static fm_built middle(const unet *self, fm_built h)
{
    size_t channels = h.shape.channels;
    h = residual_block(self, h, "middle_block.0", channels, SAME);
    h = attention_block(self, h, "middle_block.1", self->config->heads);
    return residual_block(self, h, "middle_block.2", channels, SAME);
}

/* ---- up ---- */

static fm_built twice(const unet *self, fm_built h, size_t part)
{
    char stem[STEM_BYTES];
    name_block(stem, "output_blocks", self->n_outputs, part);
    if (self->config->blocks_resample) {
        return residual_block(self, h, stem, h.shape.channels, DOUBLE);
    }
    h = fm_builder_upsample(self->builder, h);
    fm_builder_conv_spec conv = {.outputs = h.shape.channels, .kernel = 3};
    return self->config->convs_resample ? fm_builder_conv(self->builder, h, stem, "conv", &conv)
                                        : h;
}

static fm_built level_up(unet *self, fm_built h, size_t level)
{
    const fm_unet_config *config = self->config;
    bool attends = config->levels[level].attends;
    char stem[STEM_BYTES];
    for (size_t i = 0; i <= config->n_blocks; i++) {
        h = fm_builder_concat(self->builder, h, self->skips[--self->n_skips]);
        name_block(stem, "output_blocks", self->n_outputs, 0);
        h = residual_block(self, h, stem, config->levels[level].channels, SAME);
        if (attends) {
            name_block(stem, "output_blocks", self->n_outputs, 1);
            h = attention_block(self, h, stem, config->up_heads);
        }
        if (level > 0 && i == config->n_blocks) {
            h = twice(self, h, attends ? 2 : 1);
        }
        self->n_outputs++;
    }
    return h;
}

/* ---- the whole ---- */

static fm_built embed(const unet *self)
{
    const fm_unet_config *config = self->config;
    size_t size = 4 * config->time_channels;
    fm_builder_conv_spec linear = {
        .weight = FM_BUILDER_LINEAR, .outputs = size, .activation = FM_ACTIVATION_SILU};
    fm_built e = fm_builder_time(self->builder, config->time_channels);
    e = fm_builder_conv(self->builder, e, "time_embed", "0", &linear);
    fm_built label = {0};
    if (config->label_rows > 0) {
        label = fm_builder_label(self->builder, "label_emb.weight", config->label_rows, size);
        linear.row_bias = &label;
    }
    return fm_builder_conv(self->builder, e, "time_embed", "2", &linear);
}

static fm_built enter(const unet *self)
{
    const fm_unet_config *config = self->config;
    /* What lets the network see differences below a level of an 8-bit image. */
    const double frequencies[] = {2.0 * M_PI * 64.0, 2.0 * M_PI * 128.0};
    fm_plan_image_spec image = {.channels = config->channels,
                                .height = config->height,
                                .width = config->width,
                                .n_frequencies = config->fourier_features ? 2 : 0,
                                .frequencies = frequencies};
    fm_builder_conv_spec conv = {.outputs = config->levels[0].channels, .kernel = 3};
    fm_built x = fm_builder_image(self->builder, &image);
    return fm_builder_conv(self->builder, x, "input_blocks.0", "0", &conv);
}

static void leave(const unet *self, fm_built h)
{
    const fm_unet_config *config = self->config;
    fm_builder_conv_spec conv = {
        .outputs = config->output_channels, .kept = config->kept_channels, .kernel = 3};
    h = fm_builder_group_norm(self->builder, h, "out", "0", NULL, FM_ACTIVATION_SILU);
    h = fm_builder_conv(self->builder, h, "out", "2", &conv);
    fm_builder_image_output(self->builder, h, config->kept_channels);
}

static void walk(fm_builder *builder, const fm_model_config *config)
{
    unet self = {.config = &config->unet, .builder = builder};
    fm_built h = enter(&self); /* first: a plan begins with its input */
    self.embedding = embed(&self);
    push(&self, h);
    for (size_t level = 0; level < config->unet.n_levels; level++) {
        h = level_down(&self, h, level);
    }
    h = middle(&self, h);
    for (size_t level = config->unet.n_levels; level-- > 0;) {
        h = level_up(&self, h, level);
    }
    assert(self.n_skips == 0);
    leave(&self, h);
}

fm_status fm_torchcfm_unet_new(const fm_model_config *config, fm_weights *weights,
                               const fm_path *path, fm_network **ret, fm_error *err)
{
    (void)path; /* it predicts the velocity; the path was the training's business */
    return fm_builder_network(config, weights, walk, ret, err);
}

fm_status fm_meta_unet_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                           fm_network **ret, fm_error *err)
{
    (void)path;
    return fm_builder_network(config, weights, walk, ret, err);
}
