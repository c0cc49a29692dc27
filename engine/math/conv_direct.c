/* The direct route: windows are read where they lie, and a window's line is one run of memory. */
#include "engine/math/conv_common.h"
#include "engine/memory.h"

#include <string.h>

float *fm_conv_window_order(const fm_conv *conv, const float *weight)
{
    size_t k = conv->kernel, window = k * k * conv->in_stride, count;
    float *ordered =
        fm_multiply(conv->outputs, window, &count) ? fm_alloc_array(count, sizeof *ordered) : NULL;
    for (size_t o = 0; ordered != NULL && o < conv->outputs; o++) {
        for (size_t c = 0; c < conv->inputs; c++) {
            for (size_t at = 0; at < k * k; at++) {
                ordered[o * window + at * conv->in_stride + c] = *weight++;
            }
        }
    }
    return ordered;
}

static size_t segment_inputs(const fm_conv *conv)
{
    return conv->kernel == 1 ? conv->inputs : conv->kernel * conv->in_stride;
}

fm_status fm_conv_direct_pack(fm_conv *conv, const float *weight, fm_error *err)
{
    size_t window = conv->kernel * segment_inputs(conv);
    bool fits = fm_conv_alloc_packed(conv, window);
    float *ordered = fits && conv->kernel > 1 ? fm_conv_window_order(conv, weight) : NULL;
    if (!fits || (conv->kernel > 1 && ordered == NULL)) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu packed weights", conv->outputs,
                       window);
    }
    conv->kernels->pack(ordered != NULL ? ordered : weight, window, 1, window, conv->outputs,
                        conv->packed);
    fm_free(ordered);
    return FM_OK;
}

static size_t block_count(const fm_conv *conv, const fm_conv_call *call)
{
    size_t pixels = call->n_images * conv->out_height * conv->out_width;
    return (pixels + FM_CONV_BLOCK_PIXELS - 1) / FM_CONV_BLOCK_PIXELS;
}

size_t fm_conv_direct_piece_count(const fm_conv *conv, const fm_conv_call *call)
{
    size_t blocks = block_count(conv, call);
    return blocks * fm_conv_column_parts(conv, blocks, call->n_members);
}

fm_conv_block fm_conv_block_of(const fm_conv *conv, const fm_conv_call *call, size_t piece)
{
    size_t parts = fm_conv_column_parts(conv, block_count(conv, call), call->n_members);
    size_t pixels = call->n_images * conv->out_height * conv->out_width;
    size_t first = piece / parts * FM_CONV_BLOCK_PIXELS, left = pixels - first;
    fm_conv_block block = {.first_pixel = first,
                           .n_pixels = left < FM_CONV_BLOCK_PIXELS ? left : FM_CONV_BLOCK_PIXELS};
    fm_conv_column_range(conv, piece % parts, parts, &block.first_column, &block.end_column);
    return block;
}

void fm_conv_direct_run(const fm_conv *conv, const fm_conv_call *call, size_t piece)
{
    fm_pixel pixels[FM_CONV_BLOCK_PIXELS];
    fm_conv_block block = fm_conv_block_of(conv, call, piece);
    fm_conv_pixels(conv, call, &block, pixels);
    size_t border = conv->kernel / 2;
    const fm_convolve job = {
        .segments = conv->kernel,
        .segment_inputs = segment_inputs(conv),
        .segment_stride = call->in.line_stride,
        .columns = conv->columns,
        .first_column = block.first_column,
        .end_column = block.end_column,
        .packed = conv->packed,
        .bias = fm_conv_bias(conv, call),
        .activation = fm_conv_activation(conv, call),
        .n_pixels = block.n_pixels,
        .pixels = pixels,
        .in = call->in.data - border * (call->in.line_stride + call->in.pixel_stride),
        .residual = call->residual == NULL ? NULL : call->residual->data,
        .out = call->out.data,
    };
    conv->kernels->convolve(&job);
}
