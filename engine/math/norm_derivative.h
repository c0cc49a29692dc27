/* Derivatives of a normalisation with its modulation and activation, with respect to its input.
 *
 * One image: y = activation(factor xh + term), xh = (x - mean) / deviation, deviation = sqrt(variance + epsilon),
 * channel by channel; mean and variance are over the group, or over the pixel's channels.
 *
 * Float32, with the sums over pixels and channels in float64. Images are read in whole vectors
 * (FM_KERNEL_COLUMNS): padding may hold anything finite. */
#ifndef FM_NORM_DERIVATIVE_H
#define FM_NORM_DERIVATIVE_H

#include "engine/math/activation.h"
#include "engine/math/image.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct fm_norm_layer {
    size_t channels, groups; /* groups: 0 for a layer norm; else they divide the channels */
    bool rms;                /* the mean counts as 0 */
    double epsilon;
    const float *factor, *term; /* [channels], modulation included: weight (1 + scale) and
                                   bias (1 + scale) + shift */
    fm_activation activation;
    const struct fm_kernels *kernels; /* NULL: this machine's fastest */
} fm_norm_layer;

/* The images first, ..., first + n - 1 of tangents at the image in_index of in; `out` has the same
 * indices, and is none of the other images. */
typedef struct fm_norm_tangent {
    const fm_norm_layer *layer;
    fm_image in;
    size_t in_index;
    fm_image tangent, out;
    size_t first, n;
} fm_norm_tangent;

/* out: cotangent of y, read; gradient: cotangent of x, of the same index, added to. */
typedef struct fm_norm_cotangent {
    const fm_norm_layer *layer;
    fm_image in;
    size_t in_index;
    fm_image out, gradient;
    size_t out_index;
} fm_norm_cotangent;

/* What either function below needs as scratch, for images of any size. */
size_t fm_norm_derivative_bytes(const fm_norm_layer *layer);

/* out = J tangent, J = dy / dx at `in`; 0 in the padding of out's pixels. A tangent's bits depend on `in`
 * and on that tangent, not on the others. scratch: aligned for double. Thread: any. */
void fm_norm_jvp(const fm_norm_tangent *job, void *scratch);
/* gradient += J^T out; its padding stays. scratch: aligned for double. Thread: any. */
void fm_norm_vjp(const fm_norm_cotangent *job, void *scratch);

#endif
