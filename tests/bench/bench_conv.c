/* Speed of the convolution routes: the machine's float32 peak, and each shape by each route, in
 * effective GFLOP/s (multiplications of the direct form), with the largest difference from direct.
 *
 * Usage: bench_conv [rounds]     prints a table for tests/bench/LOG.md; run it on an idle core. */
#include "engine/clock.h"
#include "engine/math/conv.h"
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "tests/bench/peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct shape {
    size_t images, size, inputs, outputs, kernel, stride;
} shape;

static const shape shapes[] = {
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

static double run(const fm_conv *conv, const fm_conv_call *call, void *scratch, int rounds)
{
    double best = HUGE_VAL;
    for (int round = 0; round < rounds; round++) {
        double start = fm_clock_seconds();
        for (size_t i = 0; i < fm_conv_prepare_count(conv, call); i++) {
            fm_conv_prepare(conv, call, i);
        }
        size_t pieces = fm_conv_piece_count(conv, call);
        for (size_t i = 0; i < pieces; i++) {
            if (fm_conv_run_piece(conv, call, i, scratch) != FM_OK) {
                abort();
            }
        }
        best = fmin(best, fm_clock_seconds() - start);
    }
    return best;
}

static void shape_run(const shape *s, int rounds)
{
    size_t in_stride = (s->inputs + 15) / 16 * 16, out_stride = (s->outputs + 15) / 16 * 16;
    size_t border = s->kernel / 2, padded = s->size + 2 * border,
           out_size = (s->size - 1) / s->stride + 1;
    float *weight = noise(s->outputs * s->inputs * s->kernel * s->kernel,
                          1.0F / sqrtf((float)(s->inputs * s->kernel * s->kernel)));
    float *in = noise(s->images * padded * padded * in_stride, 1.0F);
    float *first = NULL;
    printf("%3zu x %2zu^2 %4zu > %4zu k%zu s%zu", s->images, s->size, s->inputs, s->outputs,
           s->kernel, s->stride);
    for (int route = FM_CONV_DIRECT; route <= FM_CONV_BFLOAT16; route++) {
        if (route == FM_CONV_WINOGRAD && (s->kernel != 3 || s->stride != 1)) {
            printf("  %-9s    -", fm_conv_route_name(route));
            continue;
        }
        fm_conv_spec spec = {.inputs = s->inputs,
                             .outputs = s->outputs,
                             .kernel = s->kernel,
                             .stride = s->stride,
                             .in_height = s->size,
                             .in_width = s->size,
                             .weight = weight,
                             .compute = route == FM_CONV_BFLOAT16 ? FM_COMPUTE_BFLOAT16
                                                                  : FM_COMPUTE_FLOAT32};
        fm_conv *conv = NULL;
        if (fm_conv_new(&spec, route, &conv, NULL) != FM_OK) {
            abort();
        }
        float *out = noise(s->images * out_size * out_size * out_stride, 0);
        void *scratch = fm_alloc(fm_conv_piece_bytes(conv) + 1);
        void *shared = fm_alloc(fm_conv_shared_bytes(conv, s->images) + 1);
        fm_conv_call call = {.n_images = s->images,
                             .n_members = 1,
                             .shared = shared,
                             .in = {.data = in + border * (padded + 1) * in_stride,
                                    .height = s->size,
                                    .width = s->size,
                                    .channels = s->inputs,
                                    .pixel_stride = in_stride,
                                    .line_stride = padded * in_stride,
                                    .image_stride = padded * padded * in_stride},
                             .out = {.data = out,
                                     .height = out_size,
                                     .width = out_size,
                                     .channels = s->outputs,
                                     .pixel_stride = out_stride,
                                     .line_stride = out_size * out_stride,
                                     .image_stride = out_size * out_size * out_stride}};
        /* borders must be zeros for Winograd's edge tiles to agree */
        for (size_t i = 0; i < s->images; i++) {
            for (size_t y = 0; y < padded; y++) {
                for (size_t x = 0; x < padded; x++) {
                    if (y < border || x < border || y >= padded - border || x >= padded - border) {
                        for (size_t c = 0; c < in_stride; c++) {
                            in[((i * padded + y) * padded + x) * in_stride + c] = 0;
                        }
                    }
                }
            }
        }
        double seconds = run(conv, &call, scratch, rounds);
        double flop = 2.0 * (double)(s->images * out_size * out_size * s->inputs * s->outputs *
                                     s->kernel * s->kernel);
        double worst = 0;
        size_t count = s->images * out_size * out_size * out_stride;
        for (size_t i = 0; first != NULL && i < count; i++) {
            worst = fmax(worst, fabs((double)out[i] - (double)first[i]));
        }
        printf("  %-9s %4.0f (%.0e)", fm_conv_route_name(fm_conv_route_of(conv)),
               1e-9 * flop / seconds, worst);
        if (first == NULL) {
            first = out;
        } else {
            fm_free(out);
        }
        fm_free(scratch);
        fm_free(shared);
        fm_conv_free(conv);
    }
    printf("\n");
    fm_free(first);
    fm_free(in);
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
