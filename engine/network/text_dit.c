/* text_dit: the transformer over tokens of the flow_matching library's text example.
 *
 *   h    = table[tokens]                        [length][hidden]
 *   c    = SiLU(L2(SiLU(L1(time))))
 * and in every block, with [shift, scale, gate, shift', scale', gate'] = L(c):
 *   h   += gate  * W(attention(rotary(Wq z), rotary(Wk z), Wv z)),  z = norm(h) (1 + scale) + shift
 *   h   += gate' * L(GELU(L(norm(h) (1 + scale') + shift')))
 *   out  = L(norm(h) (1 + scale) + shift), [shift, scale] = L(c): a logit for each token of the vocabulary
 * Norms have a weight and no bias; W have no bias, and nothing is causal.
 * Source: Gat et al., arXiv:2407.15595; Lou et al., arXiv:2310.16834; flow_matching, examples/text. */
#include "engine/network/architecture.h"
#include "engine/network/builder.h"

#include <assert.h>
#include <stdio.h>

#define TIME_CHANNELS ((size_t)256)
#define MLP_RATIO     ((size_t)4)
#define STEM_BYTES    ((size_t)64)

/* c */
static fm_built embed(fm_builder *builder, const fm_text_dit_config *config)
{
    fm_builder_conv_spec linear = fm_builder_linear(config->condition);
    linear.activation = FM_ACTIVATION_SILU;
    fm_built c = fm_builder_time(builder, TIME_CHANNELS);
    c = fm_builder_conv(builder, c, "time_embedding.mlp", "0", &linear);
    return fm_builder_conv(builder, c, "time_embedding.mlp", "2", &linear);
}

static fm_built attend(fm_builder *builder, const fm_text_dit_config *config, fm_built h,
                       const fm_built *modulation, const char *stem)
{
    static const char *const parts[] = {"qw", "kw", "vw"};
    size_t hidden = config->hidden;
    const fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 0, .scale_column = hidden};
    const fm_plan_attention_spec attention = {.heads = config->heads,
                                              .head_channels = hidden / config->heads};
    fm_builder_conv_spec projection = fm_builder_linear(hidden);
    projection.no_bias = true;
    projection.gate = modulation;
    projection.gate_column = 2 * hidden;
    projection.residual = &h;
    fm_built a = fm_builder_weighted_norm(builder, h, stem, "norm1", &norm);
    a = fm_builder_joined(builder, a, stem, parts, sizeof parts / sizeof *parts, hidden);
    a = fm_builder_rotary(builder, a, &attention, "rotary_emb.inv_freq");
    a = fm_builder_attention(builder, a, &attention);
    return fm_builder_conv(builder, a, stem, "attn_out", &projection);
}

static fm_built feed_forward(fm_builder *builder, const fm_text_dit_config *config, fm_built h,
                             const fm_built *modulation, const char *stem)
{
    size_t hidden = config->hidden;
    const fm_plan_modulation norm = {
        .value = modulation->value, .shift_column = 3 * hidden, .scale_column = 4 * hidden};
    fm_builder_conv_spec first = fm_builder_linear(MLP_RATIO * hidden);
    first.activation = FM_ACTIVATION_GELU_TANH;
    fm_builder_conv_spec second = fm_builder_linear(hidden);
    second.gate = modulation;
    second.gate_column = 5 * hidden;
    second.residual = &h;
    fm_built a = fm_builder_weighted_norm(builder, h, stem, "norm2", &norm);
    a = fm_builder_conv(builder, a, stem, "mlp.0", &first);
    return fm_builder_conv(builder, a, stem, "mlp.2", &second);
}

static fm_built block(fm_builder *builder, const fm_text_dit_config *config, fm_built h, fm_built c,
                      size_t index)
{
    char stem[STEM_BYTES];
    int length = snprintf(stem, sizeof stem, "blocks.%zu", index);
    assert(length > 0 && (size_t)length < sizeof stem);
    (void)length;
    const fm_builder_conv_spec linear = fm_builder_linear(6 * config->hidden);
    const fm_built modulation = fm_builder_conv(builder, c, stem, "adaLN_modulation", &linear);
    h = attend(builder, config, h, &modulation, stem);
    return feed_forward(builder, config, h, &modulation, stem);
}

static void leave(fm_builder *builder, const fm_text_dit_config *config, size_t vocabulary,
                  fm_built h, fm_built c)
{
    size_t hidden = config->hidden;
    const fm_builder_conv_spec linear = fm_builder_linear(2 * hidden);
    const fm_built modulation =
        fm_builder_conv(builder, c, "output_layer", "adaLN_modulation", &linear);
    const fm_plan_modulation norm = {
        .value = modulation.value, .shift_column = 0, .scale_column = hidden};
    const fm_builder_conv_spec logits = fm_builder_linear(vocabulary);
    h = fm_builder_weighted_norm(builder, h, "output_layer", "norm_final", &norm);
    h = fm_builder_conv(builder, h, "output_layer", "linear", &logits);
    fm_builder_output(builder, h);
}

static void walk(fm_builder *builder, const fm_model_config *config)
{
    const fm_text_dit_config *text = &config->text_dit;
    fm_built h = fm_builder_tokens(builder, "vocab_embed.weight", config->vocabulary_size,
                                   text->hidden, text->length); /* a plan begins with its input */
    const fm_built c = embed(builder, text);
    for (size_t i = 0; i < text->depth; i++) {
        h = block(builder, text, h, c, i);
    }
    leave(builder, text, config->vocabulary_size, h, c);
}

fm_status fm_text_dit_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                          fm_network **ret, fm_error *err)
{
    (void)path; /* it predicts what the tokens will be, whatever the path */
    return fm_builder_network(config, weights, walk, ret, err);
}
