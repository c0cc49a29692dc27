/* Matrix products and activations, for vectors of LANES floats.
 *
 * Part of kernels_body.h.
 *
 * DESIGN  Weights lie in panels of up to PANEL columns, [inputs][PANEL] each, so that the innermost
 * loop reads them in sequence; the last panel is narrower where the columns end. A tile of up to
 * TILE_ROWS rows and one panel (one row: several panels) is held in registers over all of k, then
 * stored with its bias and activated while it is in the L1 cache. Rows are taken in blocks that keep
 * the input in the L2 cache while the panels stream by. How rows are grouped never changes an output:
 * each is its own chain of multiply-adds. */
#ifndef FM_KERNELS_MATMUL_H
#define FM_KERNELS_MATMUL_H

#include "engine/math/kernels.h"
#include "engine/math/kernels_vector.h"

#include <stdbool.h>

#if LANES == 16
#define PANEL 32 /* two vectors */
/* 16 accumulators of 32 registers; 12 rows or 48, 64 columns measure the same. */
#define TILE_ROWS 8
#define PAIR_ROWS 4
#elif LANES == 8
#define PANEL     16 /* two vectors */
#define TILE_ROWS 6  /* 12 accumulators of 16 registers */
#define PAIR_ROWS 3
#else
#define PANEL     16 /* four vectors */
#define TILE_ROWS 2
#define PAIR_ROWS 1
#endif
#define BLOCK_ROWS ((size_t)64)
/* A single row is as fast as its weights arrive. Of layers about as large as an L2 cache the hardware
 * fetches too few ahead; of smaller and larger ones, asking for more slows it (tests/bench/LOG.md). */
#define AHEAD       512 /* floats */
#define AHEAD_LEAST ((size_t)768 << 10)
#define AHEAD_MOST  ((size_t)2 << 20)
#define UNROLL      _Pragma("GCC unroll 16")

/* One activation over [rows][stride], the first columns of each row. */
#define ACTIVATE(function)                                                                         \
    static inline void activate_##function(size_t rows, size_t columns, size_t stride, float *x)   \
    {                                                                                              \
        for (size_t row = 0; row < rows; row++) {                                                  \
            for (size_t column = 0; column < columns; column += LANES) {                           \
                float *at = x + row * stride + column;                                             \
                store(at, function##_vec(load(at)));                                               \
            }                                                                                      \
        }                                                                                          \
    }
ACTIVATE(silu)
ACTIVATE(relu)
ACTIVATE(elu)
ACTIVATE(selu)
ACTIVATE(gelu)
ACTIVATE(gelu_tanh)
ACTIVATE(tanh)
ACTIVATE(softplus)
ACTIVATE(leaky_relu)

typedef void (*activate_function)(size_t rows, size_t columns, size_t stride, float *x);

static const activate_function activations[] = {
    [FM_ACTIVATION_NONE] = NULL,
    [FM_ACTIVATION_SILU] = activate_silu,
    [FM_ACTIVATION_RELU] = activate_relu,
    [FM_ACTIVATION_ELU] = activate_elu,
    [FM_ACTIVATION_SELU] = activate_selu,
    [FM_ACTIVATION_GELU] = activate_gelu,
    [FM_ACTIVATION_GELU_TANH] = activate_gelu_tanh,
    [FM_ACTIVATION_TANH] = activate_tanh,
    [FM_ACTIVATION_SOFTPLUS] = activate_softplus,
    [FM_ACTIVATION_LEAKY_RELU] = activate_leaky_relu,
};

static inline void activate(fm_activation activation, const float *bias, size_t rows,
                            size_t columns, size_t stride, float *x)
{
    activate_function function = activations[activation];
    for (size_t row = 0; row < rows; row++) {
        float *at = x + row * stride; /* a row at a time, so that it is still in L1 */
        for (size_t column = 0; bias != NULL && column < columns; column += LANES) {
            store(at + column, load(at + column) + load(bias + column));
        }
        if (function != NULL) {
            function(1, columns, stride, at);
        }
    }
}

/* Columns of the panel that starts at column first. */
INLINE size_t panel_columns(size_t columns, size_t first)
{
    return columns - first < PANEL ? columns - first : PANEL;
}

/* Inputs of a panel that are packed together: their lines stay in L1 for all columns. */
#define PACKED_AT_ONCE ((size_t)64)

/* The panel of the columns [first, first + width), of which the outputs end maybe earlier. */
static inline void pack_panel(const float *weight, size_t output_stride, size_t input_stride,
                              size_t inputs, size_t width, size_t live, float *packed)
{
    if (output_stride == 1) { /* whole lines */
        for (size_t k = 0; k < inputs; k++) {
            memcpy(packed + k * width, weight + k * input_stride, live * sizeof *packed);
            memset(packed + k * width + live, 0, (width - live) * sizeof *packed);
        }
        return;
    }
    for (size_t first = 0; first < inputs; first += PACKED_AT_ONCE) {
        size_t end = inputs - first < PACKED_AT_ONCE ? inputs : first + PACKED_AT_ONCE;
        for (size_t column = 0; column < width; column++) {
            for (size_t k = first; k < end; k++) {
                packed[k * width + column] =
                    column < live ? weight[column * output_stride + k * input_stride] : 0.0F;
            }
        }
    }
}

static inline void pack(const float *weight, size_t output_stride, size_t input_stride,
                        size_t inputs, size_t outputs, float *packed)
{
    size_t columns = (outputs + FM_KERNEL_COLUMNS - 1) / FM_KERNEL_COLUMNS * FM_KERNEL_COLUMNS;
    for (size_t first = 0; first < columns; first += PANEL) {
        size_t width = panel_columns(columns, first);
        size_t live = outputs - first < width ? outputs - first : width;
        pack_panel(weight + first * output_stride, output_stride, input_stride, inputs, width, live,
                   packed + first * inputs);
    }
}

/* A tile of the product: rows of the input, and one or two panels side by side. */
typedef struct tile {
    size_t inputs, in_stride, out_stride;
    const float *in, *panel, *bias;
    float *out;
} tile;

/* rows, panels, width (of a panel, in vectors) and whether to fetch ahead are constants wherever this is
 * inlined. */
INLINE void tile_run(const tile *t, size_t rows, size_t panels, size_t width, bool ahead)
{
    vec sum[TILE_ROWS][8], column[8];
    const size_t vectors = panels * width, inputs = t->inputs, in_stride = t->in_stride;
    const float *in = t->in, *panel = t->panel;
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        UNROLL for (size_t v = 0; v < vectors; v++)
        {
            sum[r][v] = (vec){0};
        }
    }
    for (size_t k = 0; k < inputs; k++) {
        UNROLL for (size_t v = 0; v < vectors; v++)
        {
            const float *from = panel + v / width * PANEL * inputs + v % width * LANES;
            column[v] = load(from + k * width * LANES);
            if (ahead) {
                __builtin_prefetch(from + k * width * LANES + AHEAD);
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
        {
            vec x = splat(in[r * in_stride + k]);
            UNROLL for (size_t v = 0; v < vectors; v++)
            {
                sum[r][v] = fma_vec(x, column[v], sum[r][v]);
            }
        }
    }
    UNROLL for (size_t r = 0; r < rows; r++)
    {
        UNROLL for (size_t v = 0; v < vectors; v++)
        {
            store(t->out + r * t->out_stride + v * LANES, sum[r][v] + load(t->bias + v * LANES));
        }
    }
}

#define TILE(rows, panels, width)                                                                  \
    static void tile_##rows##_##panels##_##width(const tile *t)                                    \
    {                                                                                              \
        tile_run(t, rows, panels, width, false);                                                   \
    }
typedef void (*tile_function)(const tile *t);

/* [rows - 1]: tiles of one panel, of the narrow last panel, and of two panels for few rows, which
 * would not keep the multiply-adders busy with one. */
/* clang-format off */
#if LANES == 16
TILE(1, 1, 2) TILE(2, 1, 2) TILE(3, 1, 2) TILE(4, 1, 2)
TILE(5, 1, 2) TILE(6, 1, 2) TILE(7, 1, 2) TILE(8, 1, 2)
TILE(1, 1, 1) TILE(2, 1, 1) TILE(3, 1, 1) TILE(4, 1, 1)
TILE(5, 1, 1) TILE(6, 1, 1) TILE(7, 1, 1) TILE(8, 1, 1)
TILE(1, 2, 2) TILE(2, 2, 2) TILE(3, 2, 2) TILE(4, 2, 2)
#elif LANES == 8
TILE(1, 1, 2) TILE(2, 1, 2) TILE(3, 1, 2) TILE(4, 1, 2)
TILE(5, 1, 2) TILE(6, 1, 2) TILE(1, 2, 2) TILE(2, 2, 2)
TILE(3, 2, 2)
#else
TILE(1, 1, 4) TILE(2, 1, 4) TILE(1, 2, 4)
#endif

#if LANES == 16
static const tile_function whole[TILE_ROWS] = {tile_1_1_2, tile_2_1_2, tile_3_1_2, tile_4_1_2,
                                               tile_5_1_2, tile_6_1_2, tile_7_1_2, tile_8_1_2};
static const tile_function narrow[TILE_ROWS] = {tile_1_1_1, tile_2_1_1, tile_3_1_1, tile_4_1_1,
                                                tile_5_1_1, tile_6_1_1, tile_7_1_1, tile_8_1_1};
static const tile_function pair[PAIR_ROWS] = {tile_1_2_2, tile_2_2_2, tile_3_2_2, tile_4_2_2};
#elif LANES == 8
static const tile_function whole[TILE_ROWS] = {tile_1_1_2, tile_2_1_2, tile_3_1_2,
                                               tile_4_1_2, tile_5_1_2, tile_6_1_2};
static const tile_function *const narrow = whole; /* columns are a multiple of the panel */
static const tile_function pair[PAIR_ROWS] = {tile_1_2_2, tile_2_2_2, tile_3_2_2};
#else
static const tile_function whole[TILE_ROWS] = {tile_1_1_4, tile_2_1_4};
static const tile_function *const narrow = whole;
static const tile_function pair[PAIR_ROWS] = {tile_1_2_4};
#endif
/* clang-format on */

static inline void tile_ahead(const tile *t)
{
    tile_run(t, 1, 2, PANEL / LANES, true);
}

/* What runs a tile of that height and width in columns. */
static inline tile_function tile_find(const fm_matmul *job, size_t rows, size_t width)
{
    size_t weight_bytes = job->inputs * job->columns * sizeof(float);
    if (width > PANEL && rows == 1 && weight_bytes >= AHEAD_LEAST && weight_bytes <= AHEAD_MOST) {
        return tile_ahead;
    }
    const tile_function *functions = width > PANEL ? pair : width == PANEL ? whole : narrow;
    return functions[rows - 1];
}

/* The columns [first, first + width) of a block of rows, in tiles of about equal height. */
static inline void column_run(const fm_matmul *job, size_t block, size_t rows, size_t first,
                              size_t width)
{
    size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    activate_function activation = activations[job->activation];
    for (size_t i = 0; i < tiles; i++) {
        size_t from = rows * i / tiles, until = rows * (i + 1) / tiles;
        tile t = {
            .inputs = job->inputs,
            .in_stride = job->in_stride,
            .out_stride = job->out_stride,
            .in = job->in + (block + from) * job->in_stride,
            .panel = job->packed + first * job->inputs,
            .bias = job->bias + first,
            .out = job->out + (block + from) * job->out_stride + first,
        };
        tile_find(job, until - from, width)(&t);
        if (activation != NULL) {
            activation(until - from, width, job->out_stride, t.out);
        }
    }
}

static inline void matmul(const fm_matmul *job)
{
    for (size_t block = 0; block < job->rows; block += BLOCK_ROWS) {
        size_t left = job->rows - block, rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        for (size_t first = 0; first < job->columns;) {
            size_t width = panel_columns(job->columns, first);
            if (rows <= PAIR_ROWS && job->columns - first >= 2 * PANEL) {
                width = (size_t)2 * PANEL;
            }
            column_run(job, block, rows, first, width);
            first += width;
        }
    }
}

#endif
