/* sit: SiT and DiT, transformers over the patches of an image.
 *
 *   h    = L(patches of x) + positions          [size / patch][size / patch][hidden]
 *   c    = SiLU(L2(SiLU(L1(time))) + label)
 * and in every block, with [shift, scale, gate, shift', scale', gate'] = L(c):
 *   h   += gate  * L(attention(L(norm(h) (1 + scale) + shift)))
 *   h   += gate' * L(GELU(L(norm(h) (1 + scale') + shift')))
 *   out  = L(norm(h) (1 + scale) + shift), [shift, scale] = L(c): patch * patch pixels a token
 * Norms have no weights. Source: Peebles and Xie, arXiv:2212.09748; Ma et al., arXiv:2401.08740. */
#include "engine/network/architecture.h"
#include "engine/network/builder.h"

#include <assert.h>
#include <stdio.h>

#define TIME_CHANNELS ((size_t)256)
#define STEM_BYTES    ((size_t)64)

/* c */
static fm_built embed(fm_builder *builder, const fm_sit_config *config)
{
    fm_builder_conv_spec linear = fm_builder_linear(config->hidden);
    linear.activation = FM_ACTIVATION_SILU;
    fm_built c = fm_builder_time(builder, TIME_CHANNELS);
    c = fm_builder_conv(builder, c, "t_embedder.mlp", "0", &linear);
    fm_built label = fm_builder_label(builder, "y_embedder.embedding_table.weight",
                                      config->label_rows, config->hidden);
    linear.row_bias = &label;
    return fm_builder_conv(builder, c, "t_embedder.mlp", "2", &linear);
}

static fm_built enter(fm_builder *builder, const fm_sit_config *config)
{
    fm_plan_patches_spec patches = {.channels = config->channels,
                                    .height = config->size,
                                    .width = config->size,
                                    .patch = config->patch};
    fm_builder_conv_spec conv = {
        .weight = FM_BUILDER_PATCH, .outputs = config->hidden, .patch = config->patch};
    fm_built h = fm_builder_patches(builder, &patches);
    h = fm_builder_conv(builder, h, "x_embedder", "proj", &conv);
    return fm_builder_positions(builder, h, "pos_embed");
}

static fm_built attend(fm_builder *builder, const fm_sit_config *config, fm_built h,
                       const fm_built *modulation, const char *stem)
{
    size_t hidden = config->hidden;
    fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 0, .scale_column = hidden};
    fm_plan_attention_spec attention = {.heads = config->heads,
                                        .head_channels = hidden / config->heads};
    fm_builder_conv_spec qkv = fm_builder_linear(3 * hidden);
    fm_builder_conv_spec projection = fm_builder_linear(hidden);
    projection.gate = modulation;
    projection.gate_column = 2 * hidden;
    projection.residual = &h;
    fm_built a = fm_builder_layer_norm(builder, h, &norm);
    a = fm_builder_conv(builder, a, stem, "attn.qkv", &qkv);
    a = fm_builder_attention(builder, a, &attention);
    return fm_builder_conv(builder, a, stem, "attn.proj", &projection);
}

static fm_built feed_forward(fm_builder *builder, const fm_sit_config *config, fm_built h,
                             const fm_built *modulation, const char *stem)
{
    size_t hidden = config->hidden;
    fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 3 * hidden, .scale_column = 4 * hidden};
    fm_builder_conv_spec first = fm_builder_linear(config->mlp_hidden);
    first.activation = FM_ACTIVATION_GELU_TANH;
    fm_builder_conv_spec second = fm_builder_linear(hidden);
    second.gate = modulation;
    second.gate_column = 5 * hidden;
    second.residual = &h;
    fm_built a = fm_builder_layer_norm(builder, h, &norm);
    a = fm_builder_conv(builder, a, stem, "mlp.fc1", &first);
    return fm_builder_conv(builder, a, stem, "mlp.fc2", &second);
}

static fm_built block(fm_builder *builder, const fm_sit_config *config, fm_built h, fm_built c,
                      size_t index)
{
    char stem[STEM_BYTES];
    int length = snprintf(stem, sizeof stem, "blocks.%zu", index);
    assert(length > 0 && (size_t)length < sizeof stem);
    (void)length;
    fm_builder_conv_spec linear = fm_builder_linear(6 * config->hidden);
    fm_built modulation = fm_builder_conv(builder, c, stem, "adaLN_modulation.1", &linear);
    h = attend(builder, config, h, &modulation, stem);
    return feed_forward(builder, config, h, &modulation, stem);
}

static void leave(fm_builder *builder, const fm_sit_config *config, fm_built h, fm_built c)
{
    size_t hidden = config->hidden;
    fm_builder_conv_spec linear = fm_builder_linear(2 * hidden);
    fm_built modulation = fm_builder_conv(builder, c, "final_layer", "adaLN_modulation.1", &linear);
    fm_plan_modulation norm = {
        .value = modulation.value, .shift_column = 0, .scale_column = hidden};
    fm_builder_conv_spec pixels =
        fm_builder_linear(config->patch * config->patch * config->output_channels);
    fm_plan_patches_output_spec output = {.patch = config->patch,
                                          .patch_channels = config->output_channels,
                                          .channels = config->kept_channels};
    h = fm_builder_layer_norm(builder, h, &norm);
    h = fm_builder_conv(builder, h, "final_layer", "linear", &pixels);
    fm_builder_patches_output(builder, h, &output);
}

static void walk(fm_builder *builder, const fm_model_config *config)
{
    const fm_sit_config *sit = &config->sit;
    fm_built h = enter(builder, sit); /* first: a plan begins with its input */
    fm_built c = embed(builder, sit);
    for (size_t i = 0; i < sit->depth; i++) {
        h = block(builder, sit, h, c, i);
    }
    leave(builder, sit, h, c);
}

fm_status fm_sit_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                     fm_network **ret, fm_error *err)
{
    (void)path; /* it predicts the velocity; the path was the training's business */
    return fm_builder_network(config, weights, walk, ret, err);
}
