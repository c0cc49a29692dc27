/* Speed of the convolution routes beside oneDNN's own convolutions: each shape by each route, in effective
 * GFLOP/s (multiplications of the direct form), with the largest difference from the direct route.
 *
 * Usage: bench_conv [rounds]     prints a table for tests/bench/LOG.md; run it on an idle core. */
#include "engine/clock.h"
#include "engine/math/conv.h"
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "tests/bench/onednn_conv.h"
#include "tests/bench/peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const bench_shape shapes[] = {
    {1, 28, 32, 32, 3, 1},    {8, 28, 32, 32, 3, 1},    {1, 14, 64, 64, 3, 1},
    {8, 14, 64, 64, 3, 1},    {1, 32, 128, 128, 3, 1},  {4, 32, 128, 128, 3, 1},
    {1, 32, 256, 128, 3, 1},  {1, 16, 256, 256, 3, 1},  {4, 16, 256, 256, 3, 1},
    {1, 16, 512, 256, 3, 1},  {1, 8, 256, 256, 3, 1},   {4, 8, 256, 256, 3, 1},
    {1, 4, 256, 256, 3, 1},   {4, 4, 256, 256, 3, 1},   {1, 32, 128, 128, 3, 2},
    {1, 16, 384, 1152, 1, 1}, {1, 16, 384, 1536, 1, 1}, {1, 16, 1536, 384, 1, 1},
    {1, 16, 768, 3072, 1, 1},
};

static float *noise(size_t count, float scale)
{
    float *x = fm_alloc_array(count, sizeof *x);
    if (x == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        x[i] = scale * sinf((float)(i * 7919 % 100003));
    }
    return x;
}

static size_t rounded(size_t channels)
{
    return (channels + 15) / 16 * 16;
}

/* Images with a border of zeros, or without. */
static fm_image images_new(size_t images, size_t size, size_t channels, size_t border, float **ret)
{
    size_t padded = size + 2 * border, stride = rounded(channels);
    float *data = noise(images * padded * padded * stride, 1.0F);
    for (size_t i = 0; i < images * padded * padded; i++) {
        size_t y = i / padded % padded, x = i % padded;
        bool inner = y >= border && y < size + border && x >= border && x < size + border;
        for (size_t c = 0; c < stride && !inner; c++) {
            data[i * stride + c] = 0;
        }
    }
    *ret = data;
    return (fm_image){.data = data + border * (padded + 1) * stride,
                      .height = size,
                      .width = size,
                      .channels = channels,
                      .pixel_stride = stride,
                      .line_stride = padded * stride,
                      .image_stride = padded * padded * stride};
}

static double route_seconds(const fm_conv *conv, const fm_conv_call *call, void *scratch)
{
    double start = fm_clock_seconds();
    for (size_t i = 0; i < fm_conv_prepare_count(conv, call); i++) {
        fm_conv_prepare(conv, call, i);
    }
    for (size_t i = 0; i < fm_conv_piece_count(conv, call); i++) {
        if (fm_conv_run_piece(conv, call, i, scratch) != FM_OK) {
            abort();
        }
    }
    return fm_clock_seconds() - start;
}

static double largest_difference(const float *a, const float *b, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    return worst;
}

static fm_conv *route_new(const bench_shape *s, fm_conv_route route, const float *weight)
{
    const fm_conv_spec spec = {.inputs = s->inputs,
                               .outputs = s->outputs,
                               .kernel = s->kernel,
                               .stride = s->stride,
                               .in_height = s->size,
                               .in_width = s->size,
                               .weight = weight,
                               .compute = route == FM_CONV_BFLOAT16 ? FM_COMPUTE_BFLOAT16
                                                                    : FM_COMPUTE_FLOAT32};
    fm_conv *conv = NULL;
    return fm_conv_new(&spec, route, &conv, NULL) == FM_OK ? conv : NULL;
}

/* Prints one route; what the direct route computes is kept in *direct. */
static void route_run(const bench_shape *s, fm_conv_route route, const float *weight, int rounds,
                      float **direct)
{
    bool takes = route != FM_CONV_WINOGRAD || (s->kernel == 3 && s->stride == 1);
    fm_conv *conv = takes ? route_new(s, route, weight) : NULL;
    if (conv == NULL) {
        printf("  %-8s    -", fm_conv_route_name(route));
        return;
    }
    float *in = NULL, *out = NULL;
    size_t out_size = bench_out_size(s);
    void *scratch = fm_alloc(fm_conv_piece_bytes(conv) + 1);
    void *shared = fm_alloc(fm_conv_shared_bytes(conv, s->images) + 1);
    fm_conv_call call = {.n_images = s->images,
                         .n_members = 1,
                         .shared = shared,
                         .in = images_new(s->images, s->size, s->inputs, s->kernel / 2, &in),
                         .out = images_new(s->images, out_size, s->outputs, 0, &out)};
    double best = HUGE_VAL;
    for (int round = 0; round < rounds; round++) {
        best = fmin(best, route_seconds(conv, &call, scratch));
    }
    size_t count = s->images * call.out.image_stride;
    double difference = *direct == NULL ? 0 : largest_difference(out, *direct, count);
    printf("  %-8s %4.0f (%.0e)", fm_conv_route_name(fm_conv_route_of(conv)),
           1e-9 * bench_flop(s) / best, difference);
    if (*direct == NULL) {
        *direct = out;
    } else {
        fm_free(out);
    }
    fm_free(in);
    fm_free(shared);
    fm_free(scratch);
    fm_conv_free(conv);
}

static void shape_run(const bench_shape *s, int rounds)
{
    float spread = 1.0F / sqrtf((float)(s->inputs * s->kernel * s->kernel));
    float *weight = noise(s->outputs * s->inputs * s->kernel * s->kernel, spread);
    float *direct = NULL;
    printf("%zu x %2zu^2 %4zu > %4zu k%zu s%zu", s->images, s->size, s->inputs, s->outputs,
           s->kernel, s->stride);
    for (int route = FM_CONV_DIRECT; route <= FM_CONV_BFLOAT16; route++) {
        route_run(s, (fm_conv_route)route, weight, rounds, &direct);
    }
    bench_onednn_run(s, rounds);
    printf("\n");
    fm_free(direct);
    fm_free(weight);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 20;
    fm_dense_thread_init();
    printf("peak %.0f GFLOP/s\n", bench_peak_gflops());
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        shape_run(&shapes[i], rounds);
    }
    return 0;
}
