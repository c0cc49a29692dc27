/* Derivatives of one head of attention, out = softmax(scale q k^T) v with scale = head_channels^(-1/2),
 * with respect to its input, on which q, k and v all depend. float32.
 *
 * With the weights p = softmax(scale q k^T), a dot for the tangent and a bar for the cotangent of each,
 * and "rows" for the sum over a row of an element-wise product:
 *
 *   forward   s. = scale (q. k^T + q k.^T)      p. = p (s. - rows(p s.))      out. = p. v + p v.
 *   reverse   p- = out- v^T                     s- = p (p- - rows(p p-))
 *             q- += scale s- k                  k- += scale s-^T q            v- += p^T out-
 *
 * The weights are computed anew, for a block of queries at a time, and never all kept: memory grows with
 * the tokens, not with their square.
 *
 * Bits: a result depends on the image, its tangent or cotangent, what the gradient held, and the
 * instruction set, and on nothing else: every sum has a fixed order. */
#ifndef FM_ATTENTION_DERIVATIVE_H
#define FM_ATTENTION_DERIVATIVE_H

#include "engine/math/attention.h"

#include <stddef.h>

/* Scratch of one call, in bytes. */
size_t fm_attention_jvp_bytes(const fm_attention_shape *shape);
size_t fm_attention_vjp_bytes(const fm_attention_shape *shape);

/* Images as those of fm_attention_call: in, tangent and gradient [tokens][3 heads head_channels], without
 * border; out [tokens][heads head_channels], with any border. Of each, one image takes part, that of its
 * index. What lies beyond a pixel's channels is neither read nor written. */
typedef struct fm_attention_tangent {
    fm_attention_shape shape;
    fm_image in; /* where the derivative is taken */
    size_t in_index;
    fm_image tangent; /* of in */
    size_t tangent_index;
    /* The tangent of the output: the head's channels are written; not in nor tangent. */
    fm_image out;
    size_t out_index;
    const struct fm_kernels *kernels; /* NULL: the fastest of this machine */
} fm_attention_tangent;

/* Writes the head's channels of the output's tangent.
 *   scratch  [fm_attention_jvp_bytes()], the caller's own, as aligned as fm_alloc()'s memory; any content
 * Thread: any; heads of one job may run at the same time. */
void fm_attention_jvp(const fm_attention_tangent *job, size_t head, void *scratch);

typedef struct fm_attention_cotangent {
    fm_attention_shape shape;
    fm_image in; /* where the derivative is taken */
    size_t in_index;
    fm_image out; /* the cotangent of the output; read */
    size_t out_index;
    fm_image gradient; /* the cotangent of in: the head's q, k and v are added to; not in nor out */
    size_t gradient_index;
    const struct fm_kernels *kernels; /* NULL: the fastest of this machine */
} fm_attention_cotangent;

/* Adds to the head's q, k and v of the input's cotangent.
 *   scratch  [fm_attention_vjp_bytes()], the caller's own, as aligned as fm_alloc()'s memory; any content
 * Thread: any; heads of one job may run at the same time.
 * Source: the block-wise form is that of Dao et al. 2022 (FlashAttention), appendix B. */
void fm_attention_vjp(const fm_attention_cotangent *job, size_t head, void *scratch);

#endif
