/* Sums, normalisations and the softmax: what is not a product.
 *
 * Part of kernels_body.h. The order of every sum is written out and depends on the image's shape alone. */
#ifndef FM_KERNELS_NORM_H
#define FM_KERNELS_NORM_H

#include "engine/math/kernels.h"
#include "engine/math/kernels_matmul.h"

#include <math.h>

#define SUM_VECTORS 4 /* columns of sums in registers at a time */

/* One line's sums of `vectors` vectors of channels, added to sums. */
INLINE void line_sums(const float *line, size_t width, size_t pixel_stride, size_t vectors,
                      const float *means, double *sums)
{
    vec sum[SUM_VECTORS], mean[SUM_VECTORS];
    UNROLL for (size_t v = 0; v < vectors; v++)
    {
        sum[v] = (vec){0};
        mean[v] = means != NULL ? load(means + v * LANES) : (vec){0};
    }
    for (size_t x = 0; x < width; x++, line += pixel_stride) {
        UNROLL for (size_t v = 0; v < vectors; v++)
        {
            vec value = load(line + v * LANES) - mean[v];
            sum[v] = means != NULL ? fma_vec(value, value, sum[v]) : sum[v] + value;
        }
    }
    UNROLL for (size_t v = 0; v < vectors; v++)
    {
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[v * LANES + lane] += (double)sum[v][lane];
        }
    }
}

/* sums is zeroed here. */
static inline void channel_sums(const fm_image *image, size_t index, size_t first, size_t end,
                                const float *means, double *sums)
{
    const size_t step = (size_t)SUM_VECTORS * LANES;
    for (size_t c = first; c < end; c++) {
        sums[c] = 0;
    }
    for (size_t c = first; c < end; c += step) {
        for (size_t y = 0; y < image->height; y++) {
            const float *line = fm_image_at(image, index, y, 0);
            size_t until = end - c < step ? end : c + step;
            if (until - c == step && means == NULL) {
                line_sums(line + c, image->width, image->pixel_stride, SUM_VECTORS, NULL, sums + c);
                continue;
            }
            if (until - c == step) {
                line_sums(line + c, image->width, image->pixel_stride, SUM_VECTORS, means + c,
                          sums + c);
                continue;
            }
            for (size_t at = c; at < until; at += LANES) {
                line_sums(line + at, image->width, image->pixel_stride, 1,
                          means != NULL ? means + at : NULL, sums + at);
            }
        }
    }
}

static inline void channel_map(const fm_channel_map *job)
{
    activate_function function = activations[job->activation];
    bool is_silu = job->activation == FM_ACTIVATION_SILU; /* nearly always: no second pass */
    size_t n = job->end - job->first;
    for (size_t y = 0; y < job->height; y++) {
        const float *in = job->in + y * job->in_line_stride + job->first;
        float *out = job->out + y * job->out_line_stride + job->first;
        for (size_t x = 0; x < job->width; x++) {
            for (size_t c = 0; c < n; c += LANES) {
                vec value = fma_vec(load(in + c), load(job->scale + job->first + c),
                                    load(job->shift + job->first + c));
                store(out + c, is_silu ? silu_vec(value) : value);
            }
            if (function != NULL && !is_silu) {
                function(1, n, 0, out);
            }
            in += job->in_pixel_stride;
            out += job->out_pixel_stride;
        }
    }
}

/* The lanes in one fixed order. */
INLINE double lanes_sum(vec x)
{
    double sum = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += (double)x[lane];
    }
    return sum;
}

/* The sum of x - mean, or of its square; the channels beyond the last whole vector one by one. */
INLINE double pixel_sum(const float *x, size_t channels, float mean, bool square)
{
    vec sum[2] = {{0}, {0}}; /* two chains hide an addition's latency */
    size_t c = 0;
    for (; c + 2 * LANES <= channels; c += (size_t)2 * LANES) {
        UNROLL for (size_t v = 0; v < 2; v++)
        {
            vec value = load(x + c + v * LANES) - splat(mean);
            sum[v] = square ? fma_vec(value, value, sum[v]) : sum[v] + value;
        }
    }
    double rest = 0;
    for (; c < channels; c++) {
        double value = (double)x[c] - (double)mean;
        rest += square ? value * value : value;
    }
    return lanes_sum(sum[0] + sum[1]) + rest;
}

static inline void pixel_norm(const fm_pixel_norm *job)
{
    size_t padded = (job->channels + FM_KERNEL_COLUMNS - 1) / FM_KERNEL_COLUMNS * FM_KERNEL_COLUMNS;
    for (size_t i = 0; i < job->n_pixels; i++) {
        const float *in = job->in + i * job->in_stride;
        float *out = job->out + i * job->out_stride;
        double n = (double)job->channels;
        float mean = job->rms ? 0.0F : (float)(pixel_sum(in, job->channels, 0, false) / n);
        double square = pixel_sum(in, job->channels, mean, true) / n;
        float factor = (float)(1.0 / sqrt(square + job->epsilon));
        for (size_t c = 0; c < padded; c += LANES) {
            vec value = (load(in + c) - splat(mean)) * splat(factor);
            store(out + c, fma_vec(value, load(job->weight + c), load(job->bias + c)));
        }
    }
}

INLINE float row_maximum(const float *x, size_t columns)
{
    float maximum = x[0];
    size_t c = 0;
    if (columns >= LANES) {
        vec most = load(x);
        for (; c + LANES <= columns; c += LANES) {
            vec value = load(x + c);
            most = choose(value > most, value, most);
        }
        for (size_t lane = 0; lane < LANES; lane++) {
            maximum = most[lane] > maximum ? most[lane] : maximum;
        }
    }
    for (; c < columns; c++) {
        maximum = x[c] > maximum ? x[c] : maximum;
    }
    return maximum;
}

/* The last vector may reach past the columns (rows are whole vectors long); its extra lanes become 0. */
static inline void exponentials(size_t rows, size_t columns, size_t stride, float scale, float *x,
                                float *inverse_sums)
{
    size_t full = columns / LANES * LANES;
    for (size_t row = 0; row < rows; row++, x += stride) {
        float shift = row_maximum(x, columns) * -scale;
        vec sum = {0};
        for (size_t c = 0; c < full; c += LANES) {
            vec e = exp_vec(fma_vec(load(x + c), splat(scale), splat(shift)));
            store(x + c, e);
            sum += e;
        }
        if (full < columns) {
            vec e = exp_vec(fma_vec(load(x + full), splat(scale), splat(shift)));
            for (size_t lane = columns - full; lane < LANES; lane++) {
                e[lane] = 0;
            }
            store(x + full, e);
            sum += e;
        }
        inverse_sums[row] = (float)(1.0 / lanes_sum(sum));
    }
}

static inline void scale_rows(size_t rows, size_t columns, size_t stride, const float *factors,
                              float *x)
{
    for (size_t row = 0; row < rows; row++, x += stride) {
        for (size_t c = 0; c < columns; c += LANES) {
            store(x + c, load(x + c) * splat(factors[row]));
        }
    }
}

#endif
