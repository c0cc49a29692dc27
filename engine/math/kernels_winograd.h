/* The transforms of Winograd's F(4 x 4, 3 x 3), channel by channel.
 *
 * Part of kernels_body.h.
 *
 * Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308; the
 * points are 0, 1, -1, 2, -2 and infinity:
 *   V = B^T d B,  Y = A^T M A
 *         | 4  0 -5  0  1  0 |          | 1  1  1  1  1  0 |
 *         | 0 -4 -4  1  1  0 |    A^T = | 0  1 -1  2 -2  0 |
 *   B^T = | 0  4 -4 -1  1  0 |          | 0  1  1  4  4  0 |
 *         | 0 -2 -1  2  1  0 |          | 0  1 -1  8 -8  1 |
 *         | 0  2 -1 -2  1  0 |
 *         | 0  4  0 -5  0  1 | */
#ifndef FM_KERNELS_WINOGRAD_H
#define FM_KERNELS_WINOGRAD_H

#include "engine/math/kernels.h"
#include "engine/math/kernels_matmul.h"

/* B^T times one column of six. */
INLINE void winograd_b(const vec d[6], vec v[6])
{
    vec p = fma_vec(splat(-4.0F), d[2], d[4]), q = fma_vec(splat(-4.0F), d[1], d[3]);
    vec r = d[4] - d[2], s = d[3] - d[1];
    v[0] = fma_vec(splat(4.0F), d[0], fma_vec(splat(-5.0F), d[2], d[4]));
    v[1] = p + q;
    v[2] = p - q;
    v[3] = fma_vec(splat(2.0F), s, r);
    v[4] = fma_vec(splat(-2.0F), s, r);
    v[5] = fma_vec(splat(4.0F), d[1], fma_vec(splat(-5.0F), d[3], d[5]));
}

/* A^T times one column of six. */
INLINE void winograd_a(const vec m[6], vec y[4])
{
    vec p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
    y[0] = m[0] + p + r;
    y[1] = fma_vec(splat(2.0F), s, q);
    y[2] = fma_vec(splat(4.0F), r, p);
    y[3] = fma_vec(splat(8.0F), s, q) + m[5];
}

static inline void winograd_input(const fm_winograd_input *job)
{
    for (size_t c = 0; c < job->channels; c += LANES) {
        vec half[6][6]; /* [line][pixel], transformed over lines */
        UNROLL for (size_t x = 0; x < 6; x++)
        {
            vec d[6], v[6];
            UNROLL for (size_t y = 0; y < 6; y++)
            {
                d[y] = load(job->in + y * job->line_stride + x * job->pixel_stride + c);
            }
            winograd_b(d, v);
            UNROLL for (size_t y = 0; y < 6; y++)
            {
                half[y][x] = v[y];
            }
        }
        UNROLL for (size_t y = 0; y < 6; y++)
        {
            vec v[6];
            winograd_b(half[y], v);
            UNROLL for (size_t x = 0; x < 6; x++)
            {
                store(job->out + (y * 6 + x) * job->plane_stride + c, v[x]);
            }
        }
    }
}

/* One vector of columns: y[line][pixel] of the tile, before what is added. */
INLINE void winograd_products(const fm_winograd_output *job, size_t c, vec y[4][4])
{
    vec half[4][6];
    UNROLL for (size_t x = 0; x < 6; x++)
    {
        vec m[6], v[4];
        UNROLL for (size_t i = 0; i < 6; i++)
        {
            m[i] = load(job->in + (i * 6 + x) * job->plane_stride + c);
        }
        winograd_a(m, v);
        UNROLL for (size_t i = 0; i < 4; i++)
        {
            half[i][x] = v[i];
        }
    }
    UNROLL for (size_t i = 0; i < 4; i++)
    {
        winograd_a(half[i], y[i]);
    }
}

/* What follows the product of one pixel of the tile. */
INLINE void winograd_pixel(const fm_winograd_output *job, size_t line, size_t pixel, size_t c,
                           vec value)
{
    activate_function function = activations[job->activation];
    if (function != NULL) {
        float room[LANES]; /* not out, which may be the residual, too */
        store(room, value);
        function(1, LANES, 0, room);
        value = load(room);
    }
    if (job->residual != NULL) {
        value += load(job->residual + line * job->residual_line_stride +
                      pixel * job->residual_pixel_stride + c);
    }
    store(job->out + line * job->line_stride + pixel * job->pixel_stride + c, value);
}

static inline void winograd_output(const fm_winograd_output *job)
{
    for (size_t c = 0; c < job->columns; c += LANES) {
        vec y[4][4], bias = load(job->bias + c);
        if (job->row_bias != NULL) {
            bias += load(job->row_bias + c);
        }
        winograd_products(job, c, y);
        for (size_t i = 0; i < job->lines; i++) {
            for (size_t j = 0; j < job->pixels; j++) {
                winograd_pixel(job, i, j, c, y[i][j] + bias);
            }
        }
    }
}

#endif
