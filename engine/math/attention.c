/* Attention on the kernels of matrix products. */
#include "engine/math/attention.h"

#include "engine/math/kernels.h"
#include "engine/memory.h"

#include <math.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)256 << 10) /* of a block's scores: a part of the L2 cache */
#define LEAST_ROWS  ((size_t)8)
#define MOST_ROWS   ((size_t)64)

static const fm_kernels *kernels_of(const fm_attention_call *call)
{
    return call->kernels != NULL ? call->kernels : fm_kernels_best();
}

static size_t block_rows(const fm_attention_shape *shape)
{
    size_t rows = BLOCK_BYTES / (fm_kernels_round(shape->tokens) * sizeof(float));
    rows = rows / LEAST_ROWS * LEAST_ROWS;
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows;
    return rows < MOST_ROWS ? rows : MOST_ROWS;
}

static size_t block_count(const fm_attention_shape *shape)
{
    size_t rows = block_rows(shape);
    return (shape->tokens + rows - 1) / rows;
}

/* Floats of one head's packed keys, and of its values. */
static size_t key_floats(const fm_attention_shape *shape)
{
    return shape->head_channels * fm_kernels_round(shape->tokens);
}

static size_t value_floats(const fm_attention_shape *shape)
{
    return shape->tokens * fm_kernels_round(shape->head_channels);
}

static float *packed_head(const fm_attention_call *call, size_t index)
{
    return (float *)call->packed + index * (key_floats(&call->shape) + value_floats(&call->shape));
}

/* Which of q, k, v (0, 1, 2) of a head begins at which channel. */
static size_t part_channel(const fm_attention_shape *shape, size_t head, size_t part)
{
    return shape->heads_first ? (head * 3 + part) * shape->head_channels
                              : (part * shape->heads + head) * shape->head_channels;
}

size_t fm_attention_packed_bytes(const fm_attention_shape *shape, size_t n_images)
{
    return n_images * shape->heads * (key_floats(shape) + value_floats(shape)) * sizeof(float);
}

size_t fm_attention_piece_bytes(const fm_attention_shape *shape)
{
    size_t tokens = fm_kernels_round(shape->tokens), d = fm_kernels_round(shape->head_channels);
    size_t zeros = tokens > d ? tokens : d;
    return (block_rows(shape) * (tokens + d + 1) + FM_KERNEL_COLUMNS + zeros) * sizeof(float);
}

size_t fm_attention_pack_count(const fm_attention_call *call)
{
    return call->n_images * call->shape.heads;
}

void fm_attention_pack(const fm_attention_call *call, size_t piece)
{
    const fm_attention_shape *shape = &call->shape;
    const fm_kernels *kernels = kernels_of(call);
    size_t image = piece / shape->heads, head = piece % shape->heads;
    const float *tokens = call->in.data + image * call->in.image_stride;
    size_t stride = call->in.pixel_stride;
    float *keys = packed_head(call, piece), *values = keys + key_floats(shape);
    kernels->pack(tokens + part_channel(shape, head, 1), stride, 1, shape->head_channels,
                  shape->tokens, keys);
    kernels->pack(tokens + part_channel(shape, head, 2), 1, stride, shape->tokens,
                  shape->head_channels, values);
}

size_t fm_attention_piece_count(const fm_attention_call *call)
{
    return fm_attention_pack_count(call) * block_count(&call->shape);
}

/* The block's scores, and the exponentials in their place. */
static void scores_run(const fm_attention_call *call, const float *queries, size_t rows,
                       const float *keys, const float *zeros, float *scores, float *inverse_sums)
{
    const fm_attention_shape *shape = &call->shape;
    const fm_kernels *kernels = kernels_of(call);
    size_t stride = fm_kernels_round(shape->tokens);
    const fm_matmul product = {.inputs = shape->head_channels,
                               .columns = stride,
                               .packed = keys,
                               .bias = zeros,
                               .activation = FM_ACTIVATION_NONE,
                               .rows = rows,
                               .in = queries,
                               .out = scores,
                               .in_stride = call->in.pixel_stride,
                               .out_stride = stride};
    kernels->matmul(&product);
    float scale = (float)(1.0 / sqrt((double)shape->head_channels));
    kernels->exponentials(rows, shape->tokens, stride, scale, scores, inverse_sums);
}

void fm_attention_run(const fm_attention_call *call, size_t piece, void *scratch)
{
    const fm_attention_shape *shape = &call->shape;
    const fm_kernels *kernels = kernels_of(call);
    size_t blocks = block_count(shape), index = piece / blocks, block = piece % blocks;
    size_t image = index / shape->heads, head = index % shape->heads;
    size_t from = block * block_rows(shape), left = shape->tokens - from;
    size_t rows = left < block_rows(shape) ? left : block_rows(shape);
    size_t stride = fm_kernels_round(shape->tokens);
    size_t d = fm_kernels_round(shape->head_channels);
    float *scores = scratch, *sums = scores + block_rows(shape) * stride;
    float *inverse_sums = sums + block_rows(shape) * d;
    float *zeros = inverse_sums + block_rows(shape) + FM_KERNEL_COLUMNS;
    memset(zeros, 0, (stride > d ? stride : d) * sizeof *zeros);
    const float *queries = call->in.data + image * call->in.image_stride +
                           from * call->in.pixel_stride + part_channel(shape, head, 0);
    const float *keys = packed_head(call, index);
    scores_run(call, queries, rows, keys, zeros, scores, inverse_sums);
    const fm_matmul product = {.inputs = shape->tokens,
                               .columns = d,
                               .packed = keys + key_floats(shape),
                               .bias = zeros,
                               .activation = FM_ACTIVATION_NONE,
                               .rows = rows,
                               .in = scores,
                               .out = sums,
                               .in_stride = stride,
                               .out_stride = d};
    kernels->matmul(&product);
    kernels->scale_rows(rows, d, d, inverse_sums, sums);
    for (size_t i = 0; i < rows; i++) {
        size_t y = (from + i) / call->out.width, x = (from + i) % call->out.width;
        memcpy(fm_image_at(&call->out, image, y, x) + head * shape->head_channels, sums + i * d,
               shape->head_channels * sizeof *sums);
    }
}
