/* Convolutions: building a layer, and cutting its work into pieces. */
#include "engine/math/conv.h"

#include "engine/math/conv_common.h"
#include "engine/memory.h"

#include <assert.h>
#include <string.h>

/* ---- building ---- */

static fm_conv_route route_choose(const fm_conv_spec *spec, fm_conv_route asked)
{
    if (spec->compute == FM_COMPUTE_BFLOAT16) {
        return FM_CONV_BFLOAT16;
    }
    if (asked != FM_CONV_AUTO) {
        return asked;
    }
    if (!fm_product_prefers_own_conv()) {
        return FM_CONV_PROVIDER;
    }
    return fm_conv_winograd_suits(spec) ? FM_CONV_WINOGRAD : FM_CONV_DIRECT;
}

bool fm_conv_alloc_packed(fm_conv *conv, size_t rows)
{
    bool narrow = conv->route == FM_CONV_BFLOAT16;
    size_t each = narrow ? sizeof *conv->packed16 : sizeof *conv->packed, total;
    if (!fm_multiply(rows, conv->columns, &conv->packed_count) ||
        !fm_multiply(conv->packed_count, each, &total)) {
        return false;
    }
    void *packed = fm_pool_take_or_alloc(conv->pool, total);
    if (narrow) {
        conv->packed16 = packed;
    } else {
        conv->packed = packed;
    }
    return packed != NULL;
}

static fm_status weight_pack(fm_conv *conv, const float *weight, fm_error *err)
{
    switch (conv->route) {
    case FM_CONV_WINOGRAD:
        return fm_conv_winograd_pack(conv, weight, err);
    case FM_CONV_PROVIDER:
        return fm_conv_product_pack(conv, weight, err);
    case FM_CONV_BFLOAT16:
        return fm_conv_bfloat16_pack(conv, weight, err);
    case FM_CONV_DIRECT:
    case FM_CONV_AUTO:
        break;
    }
    return fm_conv_direct_pack(conv, weight, err);
}

static fm_status conv_fill(fm_conv *conv, const fm_conv_spec *spec, fm_error *err)
{
    conv->bias = fm_alloc_array(conv->columns, sizeof *conv->bias);
    conv->zeros = fm_alloc_array(conv->columns, sizeof *conv->zeros);
    if (conv->bias == NULL || conv->zeros == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for the bias of %zu outputs", spec->outputs);
    }
    if (spec->bias != NULL) {
        memcpy(conv->bias, spec->bias, spec->outputs * sizeof *spec->bias);
    }
    return weight_pack(conv, spec->weight, err);
}

fm_status fm_conv_new_with(const fm_conv_spec *spec, const fm_kernels *kernels, fm_conv_route route,
                           fm_conv **ret, fm_error *err)
{
    assert(spec->kernel % 2 == 1 && spec->stride >= 1 && spec->in_height > 0 && spec->in_width > 0);
    fm_status status = fm_compute_check(spec->compute, err);
    fm_conv *conv = status == FM_OK ? fm_alloc(sizeof *conv) : NULL;
    if (conv == NULL) {
        return status != FM_OK ? status : fm_fail(err, FM_ENOMEM, "out of memory for a layer");
    }
    *conv = (fm_conv){.inputs = spec->inputs,
                      .outputs = spec->outputs,
                      .kernel = spec->kernel,
                      .stride = spec->stride,
                      .in_height = spec->in_height,
                      .in_width = spec->in_width,
                      .out_height = (spec->in_height - 1) / spec->stride + 1,
                      .out_width = (spec->in_width - 1) / spec->stride + 1,
                      .in_stride = fm_kernels_round(spec->inputs),
                      .columns = fm_kernels_round(spec->outputs),
                      .activation = spec->activation,
                      .has_gate = spec->has_gate,
                      .pool = spec->pool,
                      .kernels = kernels,
                      .kernels16 = fm_kernels16_best(),
                      .route = route_choose(spec, route)};
    status = conv_fill(conv, spec, err);
    if (status != FM_OK) {
        fm_conv_free(conv);
        return status;
    }
    *ret = conv;
    return FM_OK;
}

fm_status fm_conv_new(const fm_conv_spec *spec, fm_conv_route route, fm_conv **ret, fm_error *err)
{
    return fm_conv_new_with(spec, fm_kernels_best(), route, ret, err);
}

void fm_conv_free(fm_conv *conv)
{
    if (conv != NULL) {
        fm_product_free(conv->product);
        if (conv->pool == NULL) {
            fm_free(conv->packed);
            fm_free(conv->packed16);
        }
        fm_free(conv->zeros);
        fm_free(conv->bias);
        fm_free(conv);
    }
}

fm_conv_route fm_conv_route_of(const fm_conv *conv)
{
    return conv->route;
}

const char *fm_conv_route_name(fm_conv_route route)
{
    static const char *const names[] = {[FM_CONV_AUTO] = "auto",
                                        [FM_CONV_DIRECT] = "direct",
                                        [FM_CONV_WINOGRAD] = "winograd",
                                        [FM_CONV_PROVIDER] = "provider",
                                        [FM_CONV_BFLOAT16] = "bfloat16"};
    return names[route];
}

size_t fm_conv_packed_bytes(const fm_conv *conv)
{
    size_t each = conv->packed16 != NULL ? sizeof *conv->packed16 : sizeof *conv->packed;
    size_t weights =
        conv->product != NULL ? fm_product_packed_bytes(conv->product) : conv->packed_count * each;
    return weights + 2 * conv->columns * sizeof(float);
}

/* ---- pieces ---- */

size_t fm_conv_column_parts(const fm_conv *conv, size_t n_blocks, size_t n_members)
{
    size_t panels = (conv->columns + conv->kernels->panel - 1) / conv->kernels->panel;
    size_t wanted = n_members <= 1 || n_blocks >= 2 * n_members ? 1 : 2 * n_members / n_blocks;
    return wanted < panels ? wanted : panels;
}

void fm_conv_column_range(const fm_conv *conv, size_t part, size_t parts, size_t *ret_first,
                          size_t *ret_end)
{
    size_t panel = conv->kernels->panel, panels = (conv->columns + panel - 1) / panel;
    size_t end = panels * (part + 1) / parts * panel;
    *ret_first = panels * part / parts * panel;
    *ret_end = end < conv->columns ? end : conv->columns;
}

static fm_pixel pixel_of(const fm_conv *conv, const fm_conv_call *call, size_t image, size_t y,
                         size_t x)
{
    const fm_image *in = &call->in, *out = &call->out, *residual = call->residual;
    return (fm_pixel){
        .in =
            image * in->image_stride + conv->stride * (y * in->line_stride + x * in->pixel_stride),
        .out = image * out->image_stride + y * out->line_stride + x * out->pixel_stride,
        .residual = residual == NULL ? 0
                                     : image * residual->image_stride + y * residual->line_stride +
                                           x * residual->pixel_stride,
        .row_bias = call->row_bias == NULL ? NULL : call->row_bias + image * call->row_bias_stride,
        .gate = call->gate == NULL ? NULL : call->gate + image * call->gate_stride,
    };
}

void fm_conv_pixels(const fm_conv *conv, const fm_conv_call *call, const fm_conv_block *block,
                    fm_pixel *pixels)
{
    size_t per_image = conv->out_height * conv->out_width;
    size_t image = block->first_pixel / per_image, rest = block->first_pixel % per_image;
    size_t y = rest / conv->out_width, x = rest % conv->out_width;
    for (size_t i = 0; i < block->n_pixels; i++) {
        pixels[i] = pixel_of(conv, call, image, y, x);
        if (++x == conv->out_width) {
            x = 0;
            y++;
        }
        if (y == conv->out_height) {
            y = 0;
            image++;
        }
    }
}

size_t fm_conv_piece_bytes(const fm_conv *conv)
{
    switch (conv->route) {
    case FM_CONV_WINOGRAD:
        return fm_conv_winograd_piece_bytes(conv);
    case FM_CONV_PROVIDER:
        return fm_conv_product_piece_bytes(conv);
    case FM_CONV_BFLOAT16:
    case FM_CONV_DIRECT:
    case FM_CONV_AUTO:
        break;
    }
    return 0;
}

size_t fm_conv_shared_bytes(const fm_conv *conv, size_t n_images)
{
    return conv->route == FM_CONV_BFLOAT16 ? fm_conv_bfloat16_shared_bytes(conv, n_images) : 0;
}

size_t fm_conv_prepare_count(const fm_conv *conv, const fm_conv_call *call)
{
    return conv->route == FM_CONV_BFLOAT16 ? call->n_images * call->n_members : 0;
}

void fm_conv_prepare(const fm_conv *conv, const fm_conv_call *call, size_t piece)
{
    fm_conv_bfloat16_prepare(conv, call, piece);
}

size_t fm_conv_piece_count(const fm_conv *conv, const fm_conv_call *call)
{
    return conv->route == FM_CONV_WINOGRAD ? fm_conv_winograd_piece_count(conv, call)
                                           : fm_conv_direct_piece_count(conv, call);
}

fm_status fm_conv_run_piece(const fm_conv *conv, const fm_conv_call *call, size_t piece,
                            void *scratch)
{
    assert((call->gate != NULL) == conv->has_gate);
    if (conv->route == FM_CONV_PROVIDER) {
        return fm_conv_product_run(conv, call, piece, scratch);
    }
    if (conv->route == FM_CONV_WINOGRAD) {
        fm_conv_winograd_run(conv, call, piece, scratch);
    } else if (conv->route == FM_CONV_BFLOAT16) {
        fm_conv_bfloat16_run(conv, call, piece);
    } else {
        fm_conv_direct_run(conv, call, piece);
    }
    return FM_OK;
}
