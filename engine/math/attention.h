/* Attention of every token to all tokens of its image: out = softmax(scale q k^T) v, head by head.
 *
 * Two stages: first every head's keys and values are packed as the weights of two products, then blocks
 * of queries are multiplied, exponentiated and multiplied again. A block's scores are all of a row's
 * that ever exist, so memory grows with the tokens, not with their square.
 *
 * Bits: a query's result depends on its image alone, however the work is cut into pieces. */
#ifndef FM_ATTENTION_H
#define FM_ATTENTION_H

#include "engine/math/image.h"

#include <stdbool.h>

typedef struct fm_attention_shape {
    size_t tokens, heads, head_channels;
    bool heads_first; /* channels head by head [q | k | v], else [q of all heads | k | v] */
} fm_attention_shape;

typedef struct fm_attention_call {
    fm_attention_shape shape;
    size_t n_images;
    fm_image in, out; /* in without border: an image's tokens are one run of pixels */
    void *packed;     /* fm_attention_packed_bytes(), shared by all pieces */
    const struct fm_kernels *kernels; /* NULL: the fastest of this machine */
} fm_attention_call;

size_t fm_attention_packed_bytes(const fm_attention_shape *shape, size_t n_images);
size_t fm_attention_piece_bytes(const fm_attention_shape *shape);

/* First all of these, */
size_t fm_attention_pack_count(const fm_attention_call *call);
void fm_attention_pack(const fm_attention_call *call, size_t piece);
/* then all of these; scratch [fm_attention_piece_bytes()] is the caller's own. Thread: any. */
size_t fm_attention_piece_count(const fm_attention_call *call);
void fm_attention_run(const fm_attention_call *call, size_t piece, void *scratch);

#endif
