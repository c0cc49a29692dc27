/* oneDNN's own convolutions for bench_conv.c: direct, channels last, and Winograd in whatever layout it
 * likes (its reorders are not counted, in its favour). */
#ifndef BENCH_ONEDNN_CONV_H
#define BENCH_ONEDNN_CONV_H

#include "engine/clock.h"

#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_shape {
    size_t images, size, inputs, outputs, kernel, stride;
} bench_shape;

static inline size_t bench_out_size(const bench_shape *s)
{
    return (s->size - 1) / s->stride + 1;
}

static inline double bench_flop(const bench_shape *s)
{
    size_t pixels = s->images * bench_out_size(s) * bench_out_size(s);
    return 2.0 * (double)(pixels * s->inputs * s->outputs * s->kernel * s->kernel);
}

static inline dnnl_status_t bench_describe(const bench_shape *s, dnnl_engine_t engine, int winograd,
                                           dnnl_primitive_desc_t *ret)
{
    const dnnl_dim_t images = (dnnl_dim_t)s->images, size = (dnnl_dim_t)s->size;
    const dnnl_dim_t inputs = (dnnl_dim_t)s->inputs, outputs = (dnnl_dim_t)s->outputs;
    const dnnl_dim_t kernel = (dnnl_dim_t)s->kernel, out = (dnnl_dim_t)bench_out_size(s);
    const dnnl_dims_t in_dims = {images, inputs, size, size},
                      out_dims = {images, outputs, out, out};
    const dnnl_dims_t weight_dims = {outputs, inputs, kernel, kernel};
    const dnnl_dims_t strides = {(dnnl_dim_t)s->stride, (dnnl_dim_t)s->stride};
    const dnnl_dim_t after = (out - 1) * strides[0] + kernel - size - kernel / 2;
    const dnnl_dims_t before = {kernel / 2, kernel / 2}, behind = {after, after};
    dnnl_format_tag_t tag = winograd ? dnnl_format_tag_any : dnnl_nhwc;
    dnnl_memory_desc_t in, weight, result;
    (void)dnnl_memory_desc_init_by_tag(&in, 4, in_dims, dnnl_f32, tag);
    (void)dnnl_memory_desc_init_by_tag(&weight, 4, weight_dims, dnnl_f32, dnnl_format_tag_any);
    (void)dnnl_memory_desc_init_by_tag(&result, 4, out_dims, dnnl_f32, tag);
    dnnl_convolution_desc_t description;
    dnnl_status_t status = dnnl_convolution_forward_desc_init(
        &description, dnnl_forward_inference,
        winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, &in, &weight, NULL, &result,
        strides, before, behind);
    return status == dnnl_success
               ? dnnl_primitive_desc_create(ret, &description, NULL, engine, NULL)
               : status;
}

static inline dnnl_memory_t bench_memory(dnnl_primitive_desc_t description, dnnl_query_t what,
                                         dnnl_engine_t engine)
{
    dnnl_memory_t memory = NULL;
    void *data = NULL;
    const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(description, what, 0);
    if (dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_ALLOCATE) != dnnl_success ||
        dnnl_memory_get_data_handle(memory, &data) != dnnl_success) {
        abort();
    }
    memset(data, 0, dnnl_memory_desc_get_size(desc));
    return memory;
}

static inline double bench_onednn_seconds(dnnl_primitive_desc_t description, dnnl_engine_t engine,
                                          int rounds)
{
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    if (dnnl_primitive_create(&primitive, description) != dnnl_success ||
        dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) != dnnl_success) {
        return HUGE_VAL;
    }
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, bench_memory(description, dnnl_query_src_md, engine)},
        {DNNL_ARG_WEIGHTS, bench_memory(description, dnnl_query_weights_md, engine)},
        {DNNL_ARG_DST, bench_memory(description, dnnl_query_dst_md, engine)}};
    double best = HUGE_VAL;
    for (int round = 0; round < rounds; round++) {
        double start = fm_clock_seconds();
        (void)dnnl_primitive_execute(primitive, stream, 3, arguments);
        (void)dnnl_stream_wait(stream);
        best = fmin(best, fm_clock_seconds() - start);
    }
    for (size_t i = 0; i < 3; i++) {
        (void)dnnl_memory_destroy(arguments[i].memory);
    }
    (void)dnnl_stream_destroy(stream);
    (void)dnnl_primitive_destroy(primitive);
    return best;
}

static inline void bench_onednn_run(const bench_shape *s, int rounds)
{
    dnnl_engine_t engine = NULL;
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) {
        return;
    }
    for (int winograd = 0; winograd < 2; winograd++) {
        dnnl_primitive_desc_t description = NULL;
        if (bench_describe(s, engine, winograd, &description) != dnnl_success) {
            printf("  oneDNN %s -", winograd ? "winograd" : "direct");
            continue;
        }
        double seconds = bench_onednn_seconds(description, engine, rounds);
        printf("  oneDNN %s %4.0f", winograd ? "winograd" : "direct",
               1e-9 * bench_flop(s) / seconds);
        (void)dnnl_primitive_desc_destroy(description);
    }
    (void)dnnl_engine_destroy(engine);
}

#endif
