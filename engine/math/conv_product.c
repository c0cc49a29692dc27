/* The provider's route: windows are gathered into rows of its product; the same bits at any number. */
#include "engine/math/conv_common.h"
#include "engine/memory.h"

#include <string.h>

static size_t window_floats(const fm_conv *conv)
{
    return conv->kernel * conv->kernel * conv->inputs;
}

fm_status fm_conv_product_pack(fm_conv *conv, const float *weight, fm_error *err)
{
    size_t window = window_floats(conv), taps = conv->kernel * conv->kernel, count;
    float *ordered =
        fm_multiply(window, conv->outputs, &count) ? fm_alloc_array(count, sizeof *ordered) : NULL;
    if (ordered == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu weights", conv->outputs,
                       window);
    }
    for (size_t o = 0; o < conv->outputs; o++) {
        for (size_t c = 0; c < conv->inputs; c++) {
            for (size_t at = 0; at < taps; at++) {
                ordered[o * window + at * conv->inputs + c] = *weight++;
            }
        }
    }
    const fm_dense_spec spec = {.inputs = window,
                                .outputs = conv->outputs,
                                .weight = ordered,
                                .max_rows = FM_CONV_BLOCK_PIXELS};
    fm_status status = fm_product_new(&spec, &conv->product, err);
    fm_free(ordered);
    if (status == FM_OK && conv->product == NULL) { /* its bits depend on the rows here */
        conv->route = FM_CONV_DIRECT;
        return fm_conv_direct_pack(conv, weight - count, err);
    }
    return status;
}

static size_t padded_rows(void)
{
    return fm_product_padded_rows(FM_CONV_BLOCK_PIXELS);
}

size_t fm_conv_product_piece_bytes(const fm_conv *conv)
{
    size_t in = padded_rows() * fm_kernels_round(window_floats(conv));
    size_t out = padded_rows() * conv->columns;
    return fm_arena_round((in + out) * sizeof(float)) + fm_product_scratch_bytes(conv->product);
}

static void windows_gather(const fm_conv *conv, const fm_conv_call *call,
                           const fm_conv_block *block, const fm_pixel *pixels, float *rows)
{
    size_t k = conv->kernel, stride = fm_kernels_round(window_floats(conv)), border = k / 2;
    const float *corner = call->in.data - border * (call->in.line_stride + call->in.pixel_stride);
    memset(rows, 0, padded_rows() * stride * sizeof *rows);
    for (size_t i = 0; i < block->n_pixels; i++) {
        float *row = rows + i * stride;
        for (size_t at = 0; at < k * k; at++) {
            memcpy(row + at * conv->inputs,
                   corner + pixels[i].in + at / k * call->in.line_stride +
                       at % k * call->in.pixel_stride,
                   conv->inputs * sizeof *row);
        }
    }
}

static void pixel_finish(const fm_conv *conv, const fm_conv_call *call, const fm_pixel *pixel,
                         const fm_conv_block *block, float *y)
{
    const fm_kernels *kernels = conv->kernels;
    size_t first = block->first_column, n = block->end_column - first;
    float *out = call->out.data + pixel->out;
    kernels->activate(FM_ACTIVATION_NONE, fm_conv_bias(conv, call) + first, 1, n, 0, y + first);
    kernels->activate(fm_conv_activation(conv, call),
                      pixel->row_bias == NULL ? NULL : pixel->row_bias + first, 1, n, 0, y + first);
    for (size_t c = first; c < block->end_column; c++) {
        float value = pixel->gate == NULL ? y[c] : y[c] * pixel->gate[c];
        out[c] = call->residual == NULL ? value : call->residual->data[pixel->residual + c] + value;
    }
}

fm_status fm_conv_product_run(const fm_conv *conv, const fm_conv_call *call, size_t piece,
                              void *scratch)
{
    fm_pixel pixels[FM_CONV_BLOCK_PIXELS];
    fm_conv_block block = fm_conv_block_of(conv, call, piece);
    fm_conv_pixels(conv, call, &block, pixels);
    size_t in_floats = padded_rows() * fm_kernels_round(window_floats(conv));
    float *rows = scratch, *products = rows + in_floats;
    unsigned char *own =
        (unsigned char *)scratch +
        fm_arena_round((in_floats + padded_rows() * conv->columns) * sizeof(float));
    windows_gather(conv, call, &block, pixels, rows);
    fm_status status = fm_product_run(conv->product, block.n_pixels, rows, products, own);
    for (size_t i = 0; i < block.n_pixels && status == FM_OK; i++) {
        pixel_finish(conv, call, &pixels[i], &block, products + i * conv->columns);
    }
    return status;
}
