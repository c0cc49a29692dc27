/* Convolutions as matrix products whose rows are windows of an image, read in place.
 *
 * Part of kernels_body.h.
 *
 * DESIGN  As in kernels_matmul.h a tile of pixels and one panel stays in registers over all of the
 * window; only where a row begins is a table. A line of a window is contiguous, for channels are last. */
#ifndef FM_KERNELS_CONVOLVE_H
#define FM_KERNELS_CONVOLVE_H

#include "engine/math/kernels.h"
#include "engine/math/kernels_matmul.h"

/* One line of the windows. pixels and width (of the panel, in vectors) are constants wherever this is
 * inlined, and the sums registers. */
INLINE void line_run(const float *const in[TILE_ROWS], const float *panel, size_t inputs,
                     size_t pixels, size_t width, vec sum[TILE_ROWS][4])
{
    vec column[4];
    for (size_t k = 0; k < inputs; k++, panel += width * LANES) {
        UNROLL for (size_t v = 0; v < width; v++)
        {
            column[v] = load(panel + v * LANES);
        }
        UNROLL for (size_t r = 0; r < pixels; r++)
        {
            vec x = splat(in[r][k]);
            UNROLL for (size_t v = 0; v < width; v++)
            {
                sum[r][v] = fma_vec(x, column[v], sum[r][v]);
            }
        }
    }
}

/* The products and bias, to the outputs or, where more follows, to `products` [pixels][PANEL]: an output
 * may be the residual, too. */
INLINE void window_run(const fm_convolve *job, const fm_pixel *pixel, size_t first, float *products,
                       size_t pixels, size_t width)
{
    vec sum[TILE_ROWS][4];
    const float *in[TILE_ROWS];
    const float *panel = job->packed + first * job->segments * job->segment_inputs;
    UNROLL for (size_t r = 0; r < pixels; r++)
    {
        in[r] = job->in + pixel[r].in;
        UNROLL for (size_t v = 0; v < width; v++)
        {
            sum[r][v] = (vec){0};
        }
    }
    for (size_t segment = 0; segment < job->segments; segment++) {
        line_run(in, panel, job->segment_inputs, pixels, width, sum);
        panel += job->segment_inputs * width * LANES;
        UNROLL for (size_t r = 0; r < pixels; r++)
        {
            in[r] += job->segment_stride;
        }
    }
    UNROLL for (size_t r = 0; r < pixels; r++)
    {
        float *to = products != NULL ? products + r * PANEL : job->out + pixel[r].out + first;
        UNROLL for (size_t v = 0; v < width; v++)
        {
            store(to + v * LANES, sum[r][v] + load(job->bias + first + v * LANES));
        }
    }
}

#define WINDOW(pixels, width)                                                                      \
    static inline void window_##pixels##_##width(const fm_convolve *job, const fm_pixel *pixel,    \
                                                 size_t first, float *products)                    \
    {                                                                                              \
        window_run(job, pixel, first, products, pixels, width);                                    \
    }
typedef void (*window_function)(const fm_convolve *job, const fm_pixel *pixel, size_t first,
                                float *products);

/* clang-format off */
#if LANES == 16
WINDOW(1, 2) WINDOW(2, 2) WINDOW(3, 2) WINDOW(4, 2) WINDOW(5, 2) WINDOW(6, 2) WINDOW(7, 2) WINDOW(8, 2)
WINDOW(1, 1) WINDOW(2, 1) WINDOW(3, 1) WINDOW(4, 1) WINDOW(5, 1) WINDOW(6, 1) WINDOW(7, 1) WINDOW(8, 1)
static const window_function whole_windows[TILE_ROWS] = {
    window_1_2, window_2_2, window_3_2, window_4_2, window_5_2, window_6_2, window_7_2, window_8_2};
static const window_function narrow_windows[TILE_ROWS] = {
    window_1_1, window_2_1, window_3_1, window_4_1, window_5_1, window_6_1, window_7_1, window_8_1};
#elif LANES == 8
WINDOW(1, 2) WINDOW(2, 2) WINDOW(3, 2) WINDOW(4, 2) WINDOW(5, 2) WINDOW(6, 2)
static const window_function whole_windows[TILE_ROWS] = {
    window_1_2, window_2_2, window_3_2, window_4_2, window_5_2, window_6_2};
static const window_function *const narrow_windows = whole_windows;
#else
WINDOW(1, 4) WINDOW(2, 4)
static const window_function whole_windows[TILE_ROWS] = {window_1_4, window_2_4};
static const window_function *const narrow_windows = whole_windows;
#endif
/* clang-format on */

/* What follows the products y of a pixel, which are still in the L1 cache. */
static inline void window_finish(const fm_convolve *job, const fm_pixel *pixel, size_t first,
                                 size_t width, float *y)
{
    float *out = job->out + pixel->out + first;
    const float *row_bias = pixel->row_bias, *gate = pixel->gate;
    for (size_t i = 0; row_bias != NULL && i < width; i += LANES) {
        store(y + i, load(y + i) + load(row_bias + first + i));
    }
    if (activations[job->activation] != NULL) {
        activations[job->activation](1, width, 0, y);
    }
    if (job->residual == NULL) {
        for (size_t i = 0; i < width; i += LANES) {
            store(out + i, gate == NULL ? load(y + i) : load(y + i) * load(gate + first + i));
        }
        return;
    }
    const float *residual = job->residual + pixel->residual + first;
    for (size_t i = 0; i < width; i += LANES) {
        store(out + i, gate == NULL
                           ? load(residual + i) + load(y + i)
                           : fma_vec(load(y + i), load(gate + first + i), load(residual + i)));
    }
}

static inline bool window_is_finished(const fm_convolve *job)
{
    return job->residual == NULL && job->activation == FM_ACTIVATION_NONE &&
           job->pixels[0].row_bias == NULL && job->pixels[0].gate == NULL;
}

/* Panel by panel, the pixels in tiles of about equal height. */
static inline void convolve(const fm_convolve *job)
{
    float room[TILE_ROWS * PANEL], *products = window_is_finished(job) ? NULL : room;
    size_t tiles = (job->n_pixels + TILE_ROWS - 1) / TILE_ROWS, width = 0;
    for (size_t first = job->first_column; first < job->end_column; first += width) {
        width = panel_columns(job->columns, first);
        const window_function *functions = width == PANEL ? whole_windows : narrow_windows;
        for (size_t i = 0; i < tiles; i++) {
            size_t from = job->n_pixels * i / tiles, until = job->n_pixels * (i + 1) / tiles;
            functions[until - from - 1](job, job->pixels + from, first, products);
            for (size_t p = from; products != NULL && p < until; p++) {
                window_finish(job, job->pixels + p, first, width, products + (p - from) * PANEL);
            }
        }
    }
}

#endif
