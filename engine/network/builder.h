/* Image networks from checkpoints: one walk over an architecture, taken twice.
 *
 * The first walk is dry. It asks for every tensor by name and shape, past the first failure, so that the
 * record of what is missing is whole, and adds up how much memory the activations of one row need. The
 * second one adds ops to a plan: it converts a layer's tensors, packs them and lets them go before the
 * next layer. So an architecture file says once what its network is.
 *
 * Errors stick: after a failure the functions below do nothing more, and the walk need not look. Names
 * are "<stem>.<part>.weight" and ".bias". Shapes that do not fit together are mistakes of the walk, and
 * assert. */
#ifndef FM_BUILDER_H
#define FM_BUILDER_H

#include "engine/network/network.h"
#include "engine/network/plan_image.h"

typedef struct fm_builder fm_builder;

/* A value of the plan with its shape, which a dry walk knows as well. */
typedef struct fm_built {
    fm_plan_value value;
    fm_plan_shape shape;
} fm_built;

/* The largest tile is 16 rows, or as many fewer (a power of two, not below a guided pair) as keep the
 * activations inside this: beyond it a row gains nothing from its neighbours. */
#define FM_BUILDER_TILE_BYTES ((size_t)64 << 20)
#define FM_BUILDER_MOST_ROWS  ((size_t)16)
#define FM_BUILDER_LEAST_ROWS ((size_t)2)
/* A row whose activations are larger is refused. */
#define FM_BUILDER_ROW_BYTES ((size_t)4 << 30)

/* Takes the network from its input to its output. */
typedef void (*fm_builder_walk)(fm_builder *builder, const fm_model_config *config);

/* Walks dry, checks that no tensor is left over, and, unless ret is NULL, builds the network.
 * Errors: FM_EFORMAT tensors; FM_ETOOBIG activations; FM_ENOMEM, FM_EINTERNAL. */
FM_MUST_USE fm_status fm_builder_network(const fm_model_config *config, fm_weights *weights,
                                         fm_builder_walk walk, fm_network **ret, fm_error *err);

/* ---- what enters and leaves: the image, its patches or tokens first, an output last ---- */

fm_built fm_builder_image(fm_builder *builder, const fm_plan_image_spec *spec);
fm_built fm_builder_patches(fm_builder *builder, const fm_plan_patches_spec *spec);
/* Tokens, each a row of tensor `name` [count][size]. */
fm_built fm_builder_tokens(fm_builder *builder, const char *name, size_t count, size_t size,
                           size_t length);
/* Sinusoids of the time, with the usual largest period of 10000. */
fm_built fm_builder_time(fm_builder *builder, size_t size);
/* The label's row of tensor `name` [count][size]. */
fm_built fm_builder_label(fm_builder *builder, const char *name, size_t count, size_t size);
/* All channels, pixel by pixel. */
void fm_builder_output(fm_builder *builder, fm_built in);
void fm_builder_image_output(fm_builder *builder, fm_built in, size_t channels);
void fm_builder_patches_output(fm_builder *builder, fm_built in,
                               const fm_plan_patches_output_spec *spec);

/* ---- layers ---- */

/* How a library shapes the weight of what is a convolution here. */
typedef enum fm_builder_weight {
    FM_BUILDER_CONV2D, /* [outputs][inputs][kernel][kernel] */
    FM_BUILDER_CONV1D, /* [outputs][inputs][1] */
    FM_BUILDER_LINEAR, /* [outputs][inputs] */
    FM_BUILDER_PATCH,  /* [outputs][channels][patch][patch], on patches: kernel 1 */
} fm_builder_weight;

typedef struct fm_builder_conv_spec {
    fm_builder_weight weight;
    size_t outputs;        /* of the tensors */
    size_t kept;           /* the first so many of them are computed; 0: all */
    size_t kernel, stride; /* 0: 1 */
    size_t patch;          /* of FM_BUILDER_PATCH */
    bool no_bias;
    fm_activation activation;
    const fm_built *row_bias, *gate, *residual; /* fm_plan_conv_spec; NULL: none */
    size_t gate_column;
} fm_builder_conv_spec;
/* Of a linear layer with a bias, to begin with. */
static inline fm_builder_conv_spec fm_builder_linear(size_t outputs)
{
    return (fm_builder_conv_spec){.weight = FM_BUILDER_LINEAR, .outputs = outputs};
}
fm_built fm_builder_conv(fm_builder *builder, fm_built in, const char *stem, const char *part,
                         const fm_builder_conv_spec *spec);

/* Linear layers without bias, `outputs` each, as one layer of theirs side by side. */
fm_built fm_builder_joined(fm_builder *builder, fm_built in, const char *stem,
                           const char *const *parts, size_t n_parts, size_t outputs);

/* 32 groups, epsilon 1e-5; modulation NULL: none. */
fm_built fm_builder_group_norm(fm_builder *builder, fm_built in, const char *stem, const char *part,
                               const fm_plan_modulation *modulation, fm_activation activation);
/* Without weights, epsilon 1e-6. */
fm_built fm_builder_layer_norm(fm_builder *builder, fm_built in,
                               const fm_plan_modulation *modulation);
/* With a weight alone, epsilon 1e-5. */
fm_built fm_builder_weighted_norm(fm_builder *builder, fm_built in, const char *stem,
                                  const char *part, const fm_plan_modulation *modulation);
/* The frequencies are those of tensor `name`, a buffer, where there is one. */
fm_built fm_builder_rotary(fm_builder *builder, fm_built in, const fm_plan_attention_spec *spec,
                           const char *name);
fm_built fm_builder_attention(fm_builder *builder, fm_built in, const fm_plan_attention_spec *spec);
/* Adds tensor `name` [1][height * width][channels]. */
fm_built fm_builder_positions(fm_builder *builder, fm_built in, const char *name);
fm_built fm_builder_concat(fm_builder *builder, fm_built a, fm_built b);
fm_built fm_builder_upsample(fm_builder *builder, fm_built in);
fm_built fm_builder_pool(fm_builder *builder, fm_built in);

#endif
