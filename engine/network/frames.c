/* frames: velocities of the frames of a chain, which turn and move as the frames do.
 *
 *   z    = L2(SiLU(L1(frames in each other) + L(c) + offset[j - i]))      [length][length][pair]
 *   h    = residue[i]                                                     [length][hidden]
 *   c    = SiLU(L2(SiLU(L1(time))))
 * and in every block, with [shift, scale, gate, shift', scale', gate'] = L(c) and a = norm(h) (1 + scale) + shift:
 *   h   += gate  * L(sum_j softmax_j(q_i k_j + L(z_ij)) [v_j, z_ij]), [q, k, v] = L(a)
 *   h   += gate' * L(GELU(L(norm(h) (1 + scale') + shift')))
 *   [w, u] = L(norm(h) (1 + scale) + shift), [shift, scale] = L(c);   out = [w, R u]
 * Norms have no weights. Source: train/frames.py; the shape is that of FrameDiff (Yim et al., arXiv:2302.02277) and of
 * AlphaFold 2's invariant point attention, without points. */
#include "engine/network/architecture.h"
#include "engine/network/builder_frames.h"

#include <assert.h>
#include <stdio.h>

#define TIME_CHANNELS ((size_t)256)
#define MLP_FACTOR    ((size_t)4)
#define STEM_BYTES    ((size_t)64)

/* c */
static fm_built embed_time(fm_builder *builder, const fm_frames_config *config)
{
    fm_builder_conv_spec linear = fm_builder_linear(config->hidden);
    linear.activation = FM_ACTIVATION_SILU;
    fm_built c = fm_builder_time(builder, TIME_CHANNELS);
    c = fm_builder_conv(builder, c, "t_embedder.mlp", "0", &linear);
    return fm_builder_conv(builder, c, "t_embedder.mlp", "2", &linear);
}

/* z */
static fm_built embed_pairs(fm_builder *builder, const fm_frames_config *config, fm_built state,
                            fm_built c)
{
    const fm_plan_relative_frames_spec relative = {
        .bins = config->bins, .width = config->reach / (double)(config->bins - 1)};
    const fm_builder_conv_spec linear = fm_builder_linear(config->pair);
    fm_built time = fm_builder_conv(builder, c, "pair_embedder", "time", &linear);
    fm_builder_conv_spec first = linear;
    first.row_bias = &time;
    fm_built z = fm_builder_relative_frames(builder, state, &relative);
    z = fm_builder_conv(builder, z, "pair_embedder", "fc1", &first);
    z = fm_builder_offsets(builder, z, "pair_embedder.offsets");
    z = fm_builder_activation(builder, z, FM_ACTIVATION_SILU);
    return fm_builder_conv(builder, z, "pair_embedder", "fc2", &linear);
}

static fm_built attend(fm_builder *builder, const fm_frames_config *config, fm_built h, fm_built z,
                       const fm_built *modulation, const char *stem)
{
    size_t hidden = config->hidden;
    fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 0, .scale_column = hidden};
    fm_builder_conv_spec qkv = fm_builder_linear(3 * hidden),
                         heads = fm_builder_linear(config->heads);
    fm_builder_conv_spec projection = fm_builder_linear(hidden);
    projection.gate = modulation;
    projection.gate_column = 2 * hidden;
    projection.residual = &h;
    fm_built a = fm_builder_layer_norm(builder, h, &norm);
    a = fm_builder_conv(builder, a, stem, "attn.qkv", &qkv);
    fm_built bias = fm_builder_conv(builder, z, stem, "attn.bias", &heads);
    a = fm_builder_pair_attention(builder, config->heads, a, bias, z);
    return fm_builder_conv(builder, a, stem, "attn.proj", &projection);
}

static fm_built feed_forward(fm_builder *builder, const fm_frames_config *config, fm_built h,
                             const fm_built *modulation, const char *stem)
{
    size_t hidden = config->hidden;
    fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 3 * hidden, .scale_column = 4 * hidden};
    fm_builder_conv_spec first = fm_builder_linear(MLP_FACTOR * hidden);
    first.activation = FM_ACTIVATION_GELU_TANH;
    fm_builder_conv_spec second = fm_builder_linear(hidden);
    second.gate = modulation;
    second.gate_column = 5 * hidden;
    second.residual = &h;
    fm_built a = fm_builder_layer_norm(builder, h, &norm);
    a = fm_builder_conv(builder, a, stem, "mlp.fc1", &first);
    return fm_builder_conv(builder, a, stem, "mlp.fc2", &second);
}

static fm_built block(fm_builder *builder, const fm_frames_config *config, fm_built h, fm_built z,
                      fm_built c, size_t index)
{
    char stem[STEM_BYTES];
    int length = snprintf(stem, sizeof stem, "blocks.%zu", index);
    assert(length > 0 && (size_t)length < sizeof stem);
    (void)length;
    fm_builder_conv_spec linear = fm_builder_linear(6 * config->hidden);
    fm_built modulation = fm_builder_conv(builder, c, stem, "adaLN_modulation.1", &linear);
    h = attend(builder, config, h, z, &modulation, stem);
    return feed_forward(builder, config, h, &modulation, stem);
}

static void leave(fm_builder *builder, const fm_frames_config *config, fm_built h, fm_built c,
                  fm_built state)
{
    size_t hidden = config->hidden;
    fm_builder_conv_spec linear = fm_builder_linear(2 * hidden),
                         velocities = fm_builder_linear(FM_FRAME_OUTPUTS);
    fm_built modulation = fm_builder_conv(builder, c, "final_layer", "adaLN_modulation.1", &linear);
    fm_plan_modulation norm = {
        .value = modulation.value, .shift_column = 0, .scale_column = hidden};
    h = fm_builder_layer_norm(builder, h, &norm);
    h = fm_builder_conv(builder, h, "final_layer", "linear", &velocities);
    fm_builder_frames_output(builder, h, state);
}

static void walk(fm_builder *builder, const fm_model_config *config)
{
    const fm_frames_config *frames = &config->frames;
    fm_built state = fm_builder_state(builder, FM_FRAME_INPUTS * frames->length);
    fm_built c = embed_time(builder, frames);
    fm_built z = embed_pairs(builder, frames, state, c);
    fm_built h = fm_builder_table(builder, "residues", frames->length, frames->hidden);
    for (size_t i = 0; i < frames->n_blocks; i++) {
        h = block(builder, frames, h, z, c, i);
    }
    leave(builder, frames, h, c, state);
}

fm_status fm_frames_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                        fm_network **ret, fm_error *err)
{
    (void)path; /* it predicts the velocity; the path was the training's business */
    return fm_builder_network(config, weights, walk, ret, err);
}
