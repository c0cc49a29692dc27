/* Layers and images of one convolution. */
#include "tests/support/conv_case.h"

#include "engine/memory.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *kernels; /* NULL: what fm_conv_new() takes */
    fm_conv_route route;
} ways[] = {
    {"generic", FM_CONV_DIRECT},   {"avx2", FM_CONV_DIRECT},     {"avx512", FM_CONV_DIRECT},
    {"generic", FM_CONV_WINOGRAD}, {"avx2", FM_CONV_WINOGRAD},   {"avx512", FM_CONV_WINOGRAD},
    {"generic", FM_CONV_PROVIDER}, {"avx512", FM_CONV_PROVIDER}, {NULL, FM_CONV_AUTO},
};
_Static_assert(sizeof ways / sizeof ways[0] == CONV_CASE_WAYS, "the header tells how many");

void conv_case_open(conv_case *ret, const conv_shape *shape)
{
    size_t window = shape->inputs * shape->kernel * shape->kernel;
    size_t out_height = (shape->height - 1) / shape->stride + 1;
    size_t out_width = (shape->width - 1) / shape->stride + 1;
    *ret = (conv_case){.shape = *shape, .row_stride = fm_kernels_round(shape->outputs) + 16};
    ret->weight = image_case_numbers(1, shape->outputs * window, 2.0F / sqrtf((float)window));
    ret->bias = image_case_numbers(2, shape->outputs, 1);
    ret->row_bias = image_case_numbers(3, shape->images * ret->row_stride, 1);
    ret->gate = image_case_numbers(4, shape->images * ret->row_stride, 2);
    image_case_open(&ret->in, shape->images, shape->height, shape->width, shape->inputs,
                    shape->kernel / 2);
    image_case_fill(&ret->in, 5);
    image_case_open(&ret->residual, shape->images, out_height, out_width, shape->outputs, 1);
    image_case_fill(&ret->residual, 6);
    image_case_open(&ret->out, shape->images, out_height, out_width, shape->outputs, 2);
    ret->spec = (fm_conv_spec){.inputs = shape->inputs,
                               .outputs = shape->outputs,
                               .kernel = shape->kernel,
                               .stride = shape->stride,
                               .in_height = shape->height,
                               .in_width = shape->width,
                               .weight = ret->weight,
                               .bias = (shape->extras & BIAS) != 0 ? ret->bias : NULL,
                               .activation = shape->activation,
                               .has_gate = (shape->extras & GATE) != 0};
}

void conv_case_close(conv_case *it)
{
    fm_free(it->weight);
    fm_free(it->bias);
    fm_free(it->row_bias);
    fm_free(it->gate);
    fm_free(it->sums);
    fm_free(it->sizes);
    fm_free(it->scratch);
    image_case_close(&it->in);
    image_case_close(&it->residual);
    image_case_close(&it->out);
}

fm_conv *conv_case_layer(const conv_case *it, size_t way)
{
    const char *name = ways[way].kernels;
    const fm_kernels *kernels = name != NULL ? fm_kernels_find(name) : fm_kernels_best();
    bool suits = ways[way].route != FM_CONV_WINOGRAD ||
                 (it->shape.kernel == 3 && it->shape.stride == 1 && !it->spec.has_gate);
    if (kernels == NULL || !suits) {
        return NULL;
    }
    fm_conv *conv = NULL;
    fm_error err = {0};
    fm_status status = fm_conv_new_with(&it->spec, kernels, ways[way].route, &conv, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    return conv;
}

fm_conv_call conv_case_call(const conv_case *it, size_t first, size_t n, size_t n_members)
{
    unsigned extras = it->shape.extras;
    fm_conv_call call = {
        .n_images = n, .in = it->in.image, .out = it->out.image, .n_members = n_members};
    call.in.data += first * call.in.image_stride;
    call.out.data += first * call.out.image_stride;
    if ((extras & ROW_BIAS) != 0) {
        call.row_bias = it->row_bias + first * it->row_stride;
        call.row_bias_stride = it->row_stride;
    }
    if ((extras & GATE) != 0) {
        call.gate = it->gate + first * it->row_stride;
        call.gate_stride = it->row_stride;
    }
    return call;
}

static unsigned char *scratch_of(conv_case *it, size_t bytes)
{
    if (bytes > it->scratch_bytes) {
        fm_free(it->scratch);
        it->scratch = fm_alloc(bytes);
        it->scratch_bytes = bytes;
        ck_assert_ptr_nonnull(it->scratch);
    }
    return it->scratch;
}

fm_conv_route conv_case_route(size_t way)
{
    return ways[way].route;
}

const char *conv_case_way(const fm_conv *conv)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "%s, %s", conv->kernels->name,
                   fm_conv_route_name(fm_conv_route_of(conv)));
    return text;
}

/* The pieces from the last to the first, each with a scratch of NaNs that must not be overrun. */
static void pieces_run(conv_case *it, const fm_conv *conv, const fm_conv_call *call)
{
    unsigned char guard[64];
    memset(guard, 0xff, sizeof guard);
    size_t bytes = fm_conv_piece_bytes(conv);
    unsigned char *scratch = scratch_of(it, bytes + sizeof guard);
    for (size_t piece = fm_conv_piece_count(conv, call); piece-- > 0;) {
        memset(scratch, 0xff, bytes + sizeof guard);
        ck_assert_int_eq(fm_conv_run_piece(conv, call, piece, scratch), FM_OK);
        ck_assert_mem_eq(scratch + bytes, guard, sizeof guard);
    }
}

void conv_case_run(conv_case *it, const fm_conv *conv, size_t first, size_t n, size_t n_members)
{
    image_case_reset(&it->out);
    fm_conv_call call = conv_case_call(it, first, n, n_members);
    fm_image residual = it->residual.image;
    residual.data += first * residual.image_stride;
    if ((it->shape.extras & IN_PLACE) != 0) {
        for (size_t i = first; i < first + n; i++) {
            image_case_copy(&it->out, i, &it->residual, i);
        }
        residual = call.out;
    }
    call.residual = (it->shape.extras & RESIDUAL) != 0 ? &residual : NULL;
    pieces_run(it, conv, &call);
    ck_assert_msg(image_case_is_intact(&it->out), "%s writes beyond its pixels",
                  conv_case_way(conv));
}
