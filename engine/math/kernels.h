/* Our own float32 kernels, compiled once per instruction set and picked at run time.
 *
 * Internal to engine/math (and its tests and bench): everybody else uses dense.h.
 *
 * Bits: an output of a matrix product is one chain of fused multiply-adds over k ascending from 0,
 * then + bias, then the activation; an element of an activation depends on that element alone. So the
 * bits of a row depend on the row only, for one instruction set. (The generic kernels of a machine
 * without fused multiply-add round each product: other bits, the same promise.) */
#ifndef FM_KERNELS_H
#define FM_KERNELS_H

#include "engine/math/activation.h"
#include "engine/math/image.h"

#include <stddef.h>

#define FM_KERNEL_COLUMNS ((size_t)16) /* buffers and strides are multiples of this many floats */

/* out = activation(in weight^T + bias), weights packed by the same kernels' pack(). */
typedef struct fm_matmul {
    size_t inputs, columns; /* columns: outputs rounded up to FM_KERNEL_COLUMNS */
    const float *packed;    /* [packed_floats()] */
    const float *bias;      /* [columns], 0 beyond the outputs */
    fm_activation activation;
    size_t rows;
    const float *in; /* [rows][in_stride]; columns from `inputs` on are never read */
    float *out;      /* [rows][out_stride], all `columns` written; not in */
    size_t in_stride, out_stride;
} fm_matmul;

/* One output pixel of a convolution: its window's first float, its result and what is added to it,
 * counted from the job's in, out and residual. */
typedef struct fm_pixel {
    size_t in, out, residual;
    const float *row_bias, *gate; /* [columns] of the pixel's image, or NULL */
} fm_pixel;

/* out = residual + gate * activation(window weight^T + bias + row_bias) for some pixels and columns.
 * A window is `segments` runs of segment_inputs floats, the lines that the kernel covers; its weights
 * [outputs][segments * segment_inputs] are packed by pack(). */
typedef struct fm_convolve {
    size_t segments, segment_inputs, segment_stride;
    size_t columns, first_column, end_column; /* a range, in whole panels: fm_kernels.panel */
    const float *packed, *bias;               /* bias [columns] */
    fm_activation activation;
    size_t n_pixels;
    const fm_pixel *pixels;     /* all of them with a gate, or none; idem row_bias */
    const float *in, *residual; /* residual may be NULL, and may be out */
    float *out;
} fm_convolve;

/* Winograd's F(4 x 4, 3 x 3): 36 planes of products. A tile is 6 x 6 pixels in, 4 x 4 out. */
#define FM_WINOGRAD_PLANES ((size_t)36)
typedef struct fm_winograd_input {
    const float *in;                            /* the tile's first pixel */
    size_t line_stride, pixel_stride, channels; /* channels: whole vectors */
    float *out;                                 /* of plane 0; planes plane_stride floats apart */
    size_t plane_stride;
} fm_winograd_input;
typedef struct fm_winograd_output {
    const float *in;                             /* plane 0 */
    size_t plane_stride, columns, lines, pixels; /* of the 4 x 4, so many are written */
    const float *bias, *row_bias, *residual; /* of the columns; row_bias, residual may be NULL */
    size_t residual_line_stride, residual_pixel_stride;
    fm_activation activation;
    float *out;
    size_t line_stride, pixel_stride;
} fm_winograd_output;

/* y = activation(x scale + shift), channel by channel, for channels [first, end) of one image. */
typedef struct fm_channel_map {
    const float *in;
    float *out;
    size_t height, width, first, end;
    size_t in_line_stride, in_pixel_stride, out_line_stride, out_pixel_stride;
    const float *scale, *shift; /* [channels] */
    fm_activation activation;
} fm_channel_map;

/* Normalises each pixel over its channels: y = (x - mean) / deviation * weight + bias. Pixels are read and
 * written in whole FM_KERNEL_COLUMNS. */
typedef struct fm_pixel_norm {
    const float *in;
    float *out;
    size_t n_pixels, in_stride, out_stride, channels;
    int rms; /* the mean counts as 0 */
    double epsilon;
    const float *weight, *bias; /* [channels in whole FM_KERNEL_COLUMNS], 0 beyond the channels */
} fm_pixel_norm;

typedef struct fm_kernels {
    const char *name; /* "avx512", "avx2", "generic" */
    /* x = activation(x + bias) on [rows][stride], the first `columns` of each row; columns is a
     * multiple of FM_KERNEL_COLUMNS, bias [columns] or NULL. */
    void (*activate)(fm_activation activation, const float *bias, size_t rows, size_t columns,
                     size_t stride, float *x);
    /* weight [outputs][inputs], its entries at output * output_stride + input * input_stride, to panels;
     * packed [inputs * columns] */
    void (*pack)(const float *weight, size_t output_stride, size_t input_stride, size_t inputs,
                 size_t outputs, float *packed);
    void (*matmul)(const fm_matmul *job);
    size_t panel; /* columns of a panel */
    void (*convolve)(const fm_convolve *job);
    void (*winograd_input)(const fm_winograd_input *job);
    void (*winograd_output)(const fm_winograd_output *job);
    /* sums[c] = sum over the image's pixels of x_c, or of (x_c - means[c])^2 where means are given, for
     * channels [first, end), whole vectors; a line at a time, the lines in float64. */
    void (*channel_sums)(const fm_image *image, size_t index, size_t first, size_t end,
                         const float *means, double *sums);
    void (*channel_map)(const fm_channel_map *job);
    void (*pixel_norm)(const fm_pixel_norm *job);
    /* x = e^(scale (x - max)) for the first columns of each row; *inverse_sums = 1 / the row's sum. */
    void (*exponentials)(size_t rows, size_t columns, size_t stride, float scale, float *x,
                         float *inverse_sums);
    /* x *= factors[row] for the first columns (whole vectors) of each row */
    void (*scale_rows)(size_t rows, size_t columns, size_t stride, const float *factors, float *x);
    /* slopes = d activation / dx at x, element by element; n is a multiple of FM_KERNEL_COLUMNS; slopes may
     * be x. Finite for all finite x. */
    void (*slopes)(fm_activation activation, size_t n, const float *x, float *slopes);
    /* x = activation(x), and each of n_tangents rows of tangents, `stride` floats apart, times the slopes there; n as
     * above. */
    void (*activate_tangents)(fm_activation activation, size_t n, float *x, size_t n_tangents,
                              size_t stride, float *tangents);
    /* curvatures = d^2 activation / dx^2 at x, as slopes. */
    void (*curvatures)(fm_activation activation, size_t n, const float *x, float *curvatures);
} fm_kernels;

/* The fastest of this machine. Never NULL. Thread: any. */
const fm_kernels *fm_kernels_best(void);
/* NULL when there is none of that name or this machine lacks its instructions. */
const fm_kernels *fm_kernels_find(const char *name);

/* n rounded up to FM_KERNEL_COLUMNS. */
size_t fm_kernels_round(size_t n);

extern const fm_kernels fm_kernels_generic;
#if defined(__x86_64__)
extern const fm_kernels fm_kernels_avx2, fm_kernels_avx512;
#endif

#endif
