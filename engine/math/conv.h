/* Convolutions, and linear layers over pixels or tokens, which are convolutions with kernel 1.
 *
 *   y = activation(conv(in) + bias + row_bias);  out = residual + gate * y
 *
 * A layer is built once at load, its weights packed, and run piece by piece: pieces write different
 * outputs, so any thread may run any piece at any time.
 *
 * Bits: an output is a function of its window and the layer alone, whatever the number of images, how
 * they are cut into pieces and who runs them: the route is chosen by the layer's shape, and every output
 * is one chain of multiply-adds in a fixed order. */
#ifndef FM_CONV_H
#define FM_CONV_H

#include "engine/math/activation.h"
#include "engine/math/compute.h"
#include "engine/math/image.h"
#include "engine/math/layer_part.h"
#include "engine/memory.h"
#include "engine/status.h"

#include <stdbool.h>

typedef struct fm_conv fm_conv;

typedef enum fm_conv_route {
    FM_CONV_AUTO,
    FM_CONV_DIRECT,   /* windows read in place, our kernels */
    FM_CONV_WINOGRAD, /* F(4 x 4, 3 x 3), our kernels; kernel 3, stride 1, no gate */
    FM_CONV_PROVIDER, /* windows gathered, the provider's product */
    FM_CONV_BFLOAT16, /* as direct, on images rounded to bfloat16; exactly when that is asked for */
} fm_conv_route;

typedef struct fm_conv_spec {
    size_t inputs, outputs;
    size_t kernel, stride; /* kernel 1, 3 or 5, padding kernel / 2; stride 1 or 2 */
    size_t in_height, in_width;
    const float *weight; /* [outputs][inputs][kernel][kernel]; read during fm_conv_new() only */
    const float *bias;   /* [outputs] or NULL; idem */
    fm_activation activation;
    bool has_gate;
    fm_compute compute;
    fm_pool *pool; /* of the packed weights, outlives the layer; NULL: its own memory */
} fm_conv_spec;

/* Errors: FM_ENOMEM; FM_EINTERNAL the provider refused; FM_EUNSUPPORTED fm_compute_check(). */
FM_MUST_USE fm_status fm_conv_new(const fm_conv_spec *spec, fm_conv_route route, fm_conv **ret,
                                  fm_error *err);
void fm_conv_free(fm_conv *conv); /* takes NULL */

fm_conv_route fm_conv_route_of(const fm_conv *conv); /* never AUTO */
const char *fm_conv_route_name(fm_conv_route route);
size_t fm_conv_packed_bytes(const fm_conv *conv);
/* Memory that one piece needs while it runs, and that all pieces of a call share. */
size_t fm_conv_piece_bytes(const fm_conv *conv);
size_t fm_conv_shared_bytes(const fm_conv *conv, size_t n_images);

/* Images with the shapes of the layer; in has a border of kernel / 2 zero pixels, and the channels
 * beyond its own up to a whole vector hold finite numbers. out's are written up to a whole vector. */
typedef struct fm_conv_call {
    fm_layer_part part; /* gate and residual count in every part */
    size_t n_images;
    fm_image in, out;
    const fm_image *residual; /* may be out itself; NULL: 0 */
    const float *row_bias;    /* [n_images][row_bias_stride], or NULL */
    size_t row_bias_stride;
    const float *gate; /* [n_images][gate_stride], given exactly when the layer has one */
    size_t gate_stride;
    size_t n_members; /* who will share the pieces: more, smaller pieces for more */
    void *shared;     /* [fm_conv_shared_bytes()] */
} fm_conv_call;

/* First all of these (maybe none), */
size_t fm_conv_prepare_count(const fm_conv *conv, const fm_conv_call *call);
void fm_conv_prepare(const fm_conv *conv, const fm_conv_call *call, size_t piece);
/* then all of these. */
size_t fm_conv_piece_count(const fm_conv *conv, const fm_conv_call *call);
/*   scratch  [fm_conv_piece_bytes()], the caller's own
 * Errors: FM_ENOMEM the provider ran out of memory. Thread: any after fm_dense_thread_init(). */
FM_MUST_USE fm_status fm_conv_run_piece(const fm_conv *conv, const fm_conv_call *call, size_t piece,
                                        void *scratch);

#endif
