/* The ops that image networks are made of, for the architecture files that build their plans.
 *
 * A value's shape is [height][width][channels], channels last, for every row of the tile; a sequence of
 * tokens is an image one pixel high or as high as its grid, a vector an image of one pixel. All weights
 * are given as PyTorch holds them, float32, read while the op is added and packed then; the caller
 * may free them afterwards. Optional values are pointers, NULL where there is none.
 *
 * A convolution with a kernel of 3 or 5 gives the value that it reads a border. Every op copes with that,
 * but attention and linear layers (not kernel 1) need an input without, and linear layers an output.
 *
 * Errors of every function: FM_ENOMEM; FM_EINTERNAL from the dense provider. Shapes that do not fit
 * together are mistakes of the architecture file, and assert. */
#ifndef FM_PLAN_IMAGE_H
#define FM_PLAN_IMAGE_H

#include "engine/network/plan.h"

typedef struct fm_plan_shape {
    size_t height, width, channels;
} fm_plan_shape;

fm_plan_shape fm_plan_shape_of(const fm_plan *plan, fm_plan_value value);

/* ---- what enters ---- */

/* The tile's states [channels][height][width], transposed to channels last. With waves, each channel c
 * is followed, after all channels, by sin(frequencies[k] x_c), then cos: [x, sin, cos], where the
 * n_frequencies of one channel stand together. */
typedef struct fm_plan_image_spec {
    size_t channels, height, width;
    size_t n_frequencies; /* 0: none */
    const double *frequencies;
} fm_plan_image_spec;
FM_MUST_USE fm_status fm_plan_image(fm_plan *plan, const fm_plan_image_spec *spec,
                                    fm_plan_value *ret, fm_error *err);

/* The same states cut into patches: [height / patch][width / patch][channels * patch * patch], the
 * entries of a patch in the order (channel, row, column) of a convolution's weight. */
typedef struct fm_plan_patches_spec {
    size_t channels, height, width, patch;
} fm_plan_patches_spec;
FM_MUST_USE fm_status fm_plan_patches(fm_plan *plan, const fm_plan_patches_spec *spec,
                                      fm_plan_value *ret, fm_error *err);

/* The time of each row as [cos(w_0 t) … cos(w_(h-1) t), sin(w_0 t) …], h = size / 2,
 * w_k = max_period^(-k / h); an odd size ends in a zero. Computed in float64, rounded once. */
FM_MUST_USE fm_status fm_plan_time(fm_plan *plan, size_t size, double max_period,
                                   fm_plan_value *ret, fm_error *err);

/* The table's row of each row's label: table [count][size]. */
FM_MUST_USE fm_status fm_plan_label(fm_plan *plan, const float *table, size_t count, size_t size,
                                    fm_plan_value *ret, fm_error *err);

/* ---- element-wise ---- */

/* activation(a + b); b of the same shape, or a vector that is added to every pixel, or NULL: only the
 * activation. */
FM_MUST_USE fm_status fm_plan_sum(fm_plan *plan, fm_plan_value a, const fm_plan_value *b,
                                  fm_activation activation, fm_plan_value *ret, fm_error *err);

/* in + table, table [height][width][channels] the same for every row (positions). */
FM_MUST_USE fm_status fm_plan_positions(fm_plan *plan, fm_plan_value in, const float *table,
                                        fm_plan_value *ret, fm_error *err);

/* a's channels, then b's. */
FM_MUST_USE fm_status fm_plan_concat(fm_plan *plan, fm_plan_value a, fm_plan_value b,
                                     fm_plan_value *ret, fm_error *err);

/* Nearest up-sampling by two; the mean of 2 x 2 pixels (odd last lines and columns are dropped). */
FM_MUST_USE fm_status fm_plan_upsample(fm_plan *plan, fm_plan_value in, fm_plan_value *ret,
                                       fm_error *err);
FM_MUST_USE fm_status fm_plan_pool(fm_plan *plan, fm_plan_value in, fm_plan_value *ret,
                                   fm_error *err);

/* ---- layers ---- */

/* A convolution with zero padding kernel / 2; kernel 1 on pixels or tokens is a linear layer:
 *   y = activation(conv(in) + bias + row_bias);  out = residual + gate * y
 * Output size (n - 1) / stride + 1. */
typedef struct fm_plan_conv_spec {
    size_t outputs, kernel, stride; /* kernel 1, 3, 5; stride 1, 2 */
    const float *weight;            /* [outputs][in channels][kernel][kernel] */
    const float *bias;              /* [outputs] or NULL */
    fm_activation activation;
    const fm_plan_value *row_bias; /* vector [outputs], added to every pixel, or NULL */
    const fm_plan_value *gate;     /* vector, its columns from gate_column on, or NULL: 1 */
    size_t gate_column;
    const fm_plan_value *residual; /* of the output's shape, or NULL: 0 */
} fm_plan_conv_spec;
FM_MUST_USE fm_status fm_plan_conv(fm_plan *plan, fm_plan_value in, const fm_plan_conv_spec *spec,
                                   fm_plan_value *ret, fm_error *err);

/* Scale and shift of each row, from a vector: y * (1 + scale) + shift. */
typedef struct fm_plan_modulation {
    fm_plan_value value;
    size_t scale_column, shift_column; /* where each begins; as many as channels follow */
} fm_plan_modulation;

/* activation(modulation(group_norm(in) * weight + bias)), over the pixels and channels of a group. */
typedef struct fm_plan_group_norm_spec {
    size_t groups;
    double epsilon;
    const float *weight, *bias; /* [channels] */
    const fm_plan_modulation *modulation;
    fm_activation activation;
} fm_plan_group_norm_spec;
FM_MUST_USE fm_status fm_plan_group_norm(fm_plan *plan, fm_plan_value in,
                                         const fm_plan_group_norm_spec *spec, fm_plan_value *ret,
                                         fm_error *err);

/* modulation(layer_norm(in) * weight + bias), over the channels of each pixel; with rms the mean is not
 * subtracted and the root mean square divides (RMSNorm). */
typedef struct fm_plan_layer_norm_spec {
    bool rms;
    double epsilon;
    const float *weight, *bias; /* [channels], each NULL where there is none */
    const fm_plan_modulation *modulation;
} fm_plan_layer_norm_spec;
FM_MUST_USE fm_status fm_plan_layer_norm(fm_plan *plan, fm_plan_value in,
                                         const fm_plan_layer_norm_spec *spec, fm_plan_value *ret,
                                         fm_error *err);

/* Turns q and k of what an attention is given by the places p of their pixels: in every head, with h = head_channels / 2,
 *   a_i cos(p w_i) - a_(h+i) sin(p w_i)   and   a_(h+i) cos(p w_i) + a_i sin(p w_i)   for i < h
 * Source: Su et al., arXiv:2104.09864, in the order of halves of GPT-NeoX. */
typedef struct fm_plan_rotary_spec {
    size_t heads, head_channels;
    bool heads_first;         /* fm_plan_attention_spec */
    const float *frequencies; /* w [head_channels / 2]; NULL: 10000^(-i / h) */
} fm_plan_rotary_spec;
FM_MUST_USE fm_status fm_plan_rotary(fm_plan *plan, fm_plan_value in,
                                     const fm_plan_rotary_spec *spec, fm_plan_value *ret,
                                     fm_error *err);

/* softmax(scale q k^T) v over all pixels of a row, scale = head_channels^(-1/2).
 *   in   channels [q of all heads | k | v], or with heads_first, head by head, [q | k | v]
 *   out  channels [head][head_channels] */
typedef struct fm_plan_attention_spec {
    size_t heads, head_channels;
    bool heads_first;
} fm_plan_attention_spec;
FM_MUST_USE fm_status fm_plan_attention(fm_plan *plan, fm_plan_value in,
                                        const fm_plan_attention_spec *spec, fm_plan_value *ret,
                                        fm_error *err);

/* ---- what leaves ---- */

/* The first `channels` channels, as [channels][height][width]. Once, last. */
FM_MUST_USE fm_status fm_plan_image_output(fm_plan *plan, fm_plan_value in, size_t channels,
                                           fm_error *err);

/* Patches put together: the entries of a pixel of `in` are (row, column, channel) with
 * patch_channels channels, of which the first `channels` leave as
 * [channels][height * patch][width * patch]. Once, last. */
typedef struct fm_plan_patches_output_spec {
    size_t patch, patch_channels, channels;
} fm_plan_patches_output_spec;
FM_MUST_USE fm_status fm_plan_patches_output(fm_plan *plan, fm_plan_value in,
                                             const fm_plan_patches_output_spec *spec,
                                             fm_error *err);

#endif
