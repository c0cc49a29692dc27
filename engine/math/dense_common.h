/* What the two dense providers share: the layer, and the seam to the provider compiled in.
 *
 * Internal to engine/math (and its tests and bench).
 *
 * DESIGN  A layer takes one of two routes, fixed when it is made by its shape, the build and the CPU
 * type alone, never by a timing or by max_rows, and serves every row count by it:
 *   own       our matmul kernel, bias and activation on the tile while it is in cache
 *   provider  the provider's product, then our bias and activation pass
 * In the oneDNN build layers of up to 1024 inputs and outputs are our own (tests/bench/LOG.md), and
 * every layer where oneDNN has no product whose bits are the same at every row count. In the OpenBLAS
 * build, the cross-check, every layer is the provider's. */
#ifndef FM_DENSE_COMMON_H
#define FM_DENSE_COMMON_H

#include "engine/math/dense.h"
#include "engine/math/kernels.h"

typedef enum fm_dense_route {
    FM_DENSE_AUTO,
    FM_DENSE_OWN,
    FM_DENSE_PROVIDER,
} fm_dense_route;

/* As fm_dense_new() with kernels and route of the caller's choice.
 * Errors: FM_EUNSUPPORTED too, when FM_DENSE_PROVIDER is asked and it does not take the shape. */
FM_MUST_USE fm_status fm_dense_new_with(const fm_dense_spec *spec, const fm_kernels *kernels,
                                        fm_dense_route route, fm_dense **ret, fm_error *err);
/* The route taken: FM_DENSE_OWN or FM_DENSE_PROVIDER. */
fm_dense_route fm_dense_route_of(const fm_dense *dense);

/* The product of one layer in the provider's own form. */
typedef struct fm_product fm_product;

/* Whether layers of this shape are left to our kernels under FM_DENSE_AUTO. */
int fm_product_prefers_own(const fm_dense_spec *spec);
/* Whether convolutions are left to our kernels under FM_CONV_AUTO. */
int fm_product_prefers_own_conv(void);
/* *ret is NULL, with FM_OK, when the provider cannot keep the promise on bits for this shape.
 * Errors: FM_ENOMEM; FM_EINTERNAL with the provider's status. */
FM_MUST_USE fm_status fm_product_new(const fm_dense_spec *spec, fm_product **ret, fm_error *err);
void fm_product_free(fm_product *product); /* takes NULL */

size_t fm_product_padded_rows(size_t rows);
size_t fm_product_scratch_bytes(const fm_product *product);
size_t fm_product_packed_bytes(const fm_product *product);
/* out = in weight^T on fm_product_padded_rows(rows) rows, strides as fm_dense_*_stride().
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_product_run(const fm_product *product, size_t rows, const float *in,
                                     float *out, void *scratch);

#endif
