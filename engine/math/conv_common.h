/* What the routes of a convolution share. Internal to engine/math (and its tests). */
#ifndef FM_CONV_COMMON_H
#define FM_CONV_COMMON_H

#include "engine/math/conv.h"
#include "engine/math/dense_common.h"
#include "engine/math/kernels.h"
#include "engine/math/kernels16.h"

#define FM_CONV_BLOCK_PIXELS ((size_t)64)

struct fm_conv {
    size_t inputs, outputs, kernel, stride;
    size_t in_height, in_width, out_height, out_width;
    size_t in_stride, columns; /* whole vectors of inputs and outputs */
    fm_conv_route route;
    fm_activation activation;
    bool has_gate;
    const fm_kernels *kernels;
    const fm_kernels16 *kernels16; /* bfloat16; else NULL */
    float *bias;                   /* [columns] */
    float *zeros;                  /* [columns]: where there is no bias */
    float *packed;                 /* direct, Winograd; else NULL */
    uint16_t *packed16;            /* bfloat16; else NULL */
    size_t packed_count;           /* of either */
    fm_pool *pool;                 /* of packed or packed16; NULL: the layer's own */
    fm_product *product;           /* provider; else NULL */
};

/* What follows the product in the part of the layer that a call runs. */
static inline const float *fm_conv_bias(const fm_conv *conv, const fm_conv_call *call)
{
    return call->part == FM_LAYER_LINEAR ? conv->zeros : conv->bias;
}

static inline fm_activation fm_conv_activation(const fm_conv *conv, const fm_conv_call *call)
{
    return call->part == FM_LAYER_WHOLE ? conv->activation : FM_ACTIVATION_NONE;
}

/* As fm_conv_new() with kernels of the caller's choice. */
FM_MUST_USE fm_status fm_conv_new_with(const fm_conv_spec *spec, const fm_kernels *kernels,
                                       fm_conv_route route, fm_conv **ret, fm_error *err);

/* A range of pixels (counted over all images) and of columns. */
typedef struct fm_conv_block {
    size_t first_pixel, n_pixels, first_column, end_column;
} fm_conv_block;

/* The part of the output that a piece of the direct and the provider's route is. */
fm_conv_block fm_conv_block_of(const fm_conv *conv, const fm_conv_call *call, size_t piece);

/* How the columns are cut so that there is a piece for every member; in whole panels. */
size_t fm_conv_column_parts(const fm_conv *conv, size_t n_blocks, size_t n_members);
void fm_conv_column_range(const fm_conv *conv, size_t part, size_t parts, size_t *ret_first,
                          size_t *ret_end);

/* Fills pixels[block->n_pixels] for the block. */
void fm_conv_pixels(const fm_conv *conv, const fm_conv_call *call, const fm_conv_block *block,
                    fm_pixel *pixels);

/* packed or packed16 of `rows` x columns zeros; false without memory. */
bool fm_conv_alloc_packed(fm_conv *conv, size_t rows);

/* Weights in the order in which a window lies in memory: [outputs][line][pixel][in_stride]; the channels
 * up to the stride are 0. The caller frees it; NULL without memory. */
float *fm_conv_window_order(const fm_conv *conv, const float *weight);

/* The routes: packing, the memory of a piece, their number, and one of them. */
FM_MUST_USE fm_status fm_conv_direct_pack(fm_conv *conv, const float *weight, fm_error *err);
size_t fm_conv_direct_piece_count(const fm_conv *conv, const fm_conv_call *call);
void fm_conv_direct_run(const fm_conv *conv, const fm_conv_call *call, size_t piece);

/* Whether a shape gains by it: a rule that measurement has shown right (tests/bench/LOG.md). */
bool fm_conv_winograd_suits(const fm_conv_spec *spec);
FM_MUST_USE fm_status fm_conv_winograd_pack(fm_conv *conv, const float *weight, fm_error *err);
size_t fm_conv_winograd_piece_bytes(const fm_conv *conv);
size_t fm_conv_winograd_piece_count(const fm_conv *conv, const fm_conv_call *call);
void fm_conv_winograd_run(const fm_conv *conv, const fm_conv_call *call, size_t piece,
                          void *scratch);

FM_MUST_USE fm_status fm_conv_bfloat16_pack(fm_conv *conv, const float *weight, fm_error *err);
size_t fm_conv_bfloat16_shared_bytes(const fm_conv *conv, size_t n_images);
void fm_conv_bfloat16_prepare(const fm_conv *conv, const fm_conv_call *call, size_t piece);
void fm_conv_bfloat16_run(const fm_conv *conv, const fm_conv_call *call, size_t piece);

FM_MUST_USE fm_status fm_conv_product_pack(fm_conv *conv, const float *weight, fm_error *err);
size_t fm_conv_product_piece_bytes(const fm_conv *conv);
FM_MUST_USE fm_status fm_conv_product_run(const fm_conv *conv, const fm_conv_call *call,
                                          size_t piece, void *scratch);

#endif
