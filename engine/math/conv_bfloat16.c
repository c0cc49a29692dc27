/* The bfloat16 route: the call's images are rounded once, then windows are read as in the direct route. */
#include "engine/math/conv_common.h"
#include "engine/memory.h"

#include <string.h>

static size_t window_inputs(const fm_conv *conv)
{
    return conv->kernel * conv->kernel * conv->in_stride;
}

fm_status fm_conv_bfloat16_pack(fm_conv *conv, const float *weight, fm_error *err)
{
    size_t window = window_inputs(conv);
    float *ordered = fm_conv_alloc_packed(conv, window) ? fm_conv_window_order(conv, weight) : NULL;
    if (ordered == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu packed weights", conv->outputs,
                       window);
    }
    conv->kernels16->pack(ordered, window, conv->outputs, conv->packed16);
    fm_free(ordered);
    return FM_OK;
}

/* The rounded images have a border of kernel / 2 and no more. */
static fm_image rounded_image(const fm_conv *conv)
{
    size_t border = conv->kernel / 2, line = (conv->in_width + 2 * border) * conv->in_stride;
    return (fm_image){.height = conv->in_height,
                      .width = conv->in_width,
                      .channels = conv->inputs,
                      .pixel_stride = conv->in_stride,
                      .line_stride = line,
                      .image_stride = (conv->in_height + 2 * border) * line};
}

size_t fm_conv_bfloat16_shared_bytes(const fm_conv *conv, size_t n_images)
{
    return n_images * rounded_image(conv).image_stride * sizeof(uint16_t);
}

void fm_conv_bfloat16_prepare(const fm_conv *conv, const fm_conv_call *call, size_t piece)
{
    const fm_image to = rounded_image(conv);
    size_t border = conv->kernel / 2, lines = conv->in_height + 2 * border;
    size_t image = piece / call->n_members, part = piece % call->n_members;
    const float *from = call->in.data + image * call->in.image_stride -
                        border * (call->in.line_stride + call->in.pixel_stride);
    uint16_t *out = (uint16_t *)call->shared + image * to.image_stride;
    for (size_t y = lines * part / call->n_members; y < lines * (part + 1) / call->n_members; y++) {
        conv->kernels16->round(from + y * call->in.line_stride, to.line_stride,
                               out + y * to.line_stride);
    }
}

void fm_conv_bfloat16_run(const fm_conv *conv, const fm_conv_call *call, size_t piece)
{
    fm_pixel pixels[FM_CONV_BLOCK_PIXELS];
    fm_conv_call rounded = *call;
    rounded.in = rounded_image(conv);
    fm_conv_block block = fm_conv_block_of(conv, &rounded, piece);
    fm_conv_pixels(conv, &rounded, &block, pixels);
    const fm_convolve16 job = {
        .layer = {.segments = conv->kernel,
                  .segment_inputs = conv->kernel * conv->in_stride,
                  .segment_stride = rounded.in.line_stride,
                  .columns = conv->columns,
                  .first_column = block.first_column,
                  .end_column = block.end_column,
                  .bias = fm_conv_bias(conv, call),
                  .activation = fm_conv_activation(conv, call),
                  .n_pixels = block.n_pixels,
                  .pixels = pixels,
                  .residual = call->residual == NULL ? NULL : call->residual->data,
                  .out = call->out.data},
        .in = call->shared,
        .packed = conv->packed16,
    };
    conv->kernels16->convolve(&job);
}
