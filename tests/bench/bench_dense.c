/* Speed of the dense layers: the machine's float32 peak, one layer of each shape by our kernels and by
 * the provider, and the 4 x 512 SiLU network at several row counts.
 *
 * Usage: bench_dense [rounds]     prints tables for tests/bench/LOG.md; run it on an idle core. */
#include "engine/math/dense.h"
#include "engine/math/dense_common.h"
#include "engine/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WEIGHT_SETS                                                                                \
    3 /* in rotation, as the layers of a network are: their weights leave the L1 and L2 */
#define ROUND_MULTIPLY_ADDS 2e7
#define MAX_ROUNDS          1000

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

#define CHAINS 12
#define STEPS  200000

/* Multiply-adds on registers alone, in chains enough to hide their latency. */
#define PEAK(name, isa, floats)                                                                    \
    __attribute__((target(isa))) static double name(void)                                          \
    {                                                                                              \
        typedef float vector __attribute__((vector_size((floats) * 4)));                           \
        vector sum[CHAINS] = {{0}}, factor = {0}, term = {0};                                      \
        factor += 0.999F;                                                                          \
        term += 1e-3F;                                                                             \
        double best = 0.0;                                                                         \
        for (int round = 0; round < 20; round++) {                                                 \
            double start = now();                                                                  \
            for (int step = 0; step < STEPS; step++) {                                             \
                _Pragma("GCC unroll 12") for (int i = 0; i < CHAINS; i++)                          \
                {                                                                                  \
                    MULTIPLY_ADD(sum[i], factor, term);                                            \
                }                                                                                  \
            }                                                                                      \
            double speed = 2e-9 * (floats) * CHAINS * STEPS / (now() - start);                     \
            best = speed > best ? speed : best;                                                    \
        }                                                                                          \
        return best;                                                                               \
    }
#if defined(__x86_64__)
#define MULTIPLY_ADD(s, f, t) __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(s) : "v"(f), "v"(t))
PEAK(peak_avx512, "avx512f", 16)
PEAK(peak_avx2, "avx2,fma", 8)
#undef MULTIPLY_ADD
#define MULTIPLY_ADD(s, f, t)                                                                      \
    __asm__ volatile("mulps %1, %0\n\taddps %2, %0" : "+x"(s) : "x"(f), "x"(t))
PEAK(peak_generic, "sse2", 4)
#endif

static double peak_print(void)
{
    double best = 0.0;
#if defined(__x86_64__)
    best = peak_generic();
    printf("generic multiply and add: %.0f GFLOP/s\n", best);
    if (fm_kernels_find("avx2") != NULL) {
        best = peak_avx2();
        printf("avx2 multiply-add: %.0f GFLOP/s\n", best);
    }
    if (fm_kernels_find("avx512") != NULL) {
        best = peak_avx512();
        printf("avx512 multiply-add: %.0f GFLOP/s\n", best);
    }
#endif
    return best;
}

static float *floats_new(size_t count)
{
    float *x = fm_alloc_array(count, sizeof *x);
    if (x == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)(i * 7919 % 1009) / 1009.0F - 0.5F;
    }
    return x;
}

/* Layers with the same shape and other weights; NULL ones where the route does not take the shape. */
typedef struct subject {
    fm_dense *layers[WEIGHT_SETS];
    float *in, *out;
    void *scratch;
} subject;

static subject subject_new(size_t inputs, size_t outputs, size_t rows, fm_dense_route route)
{
    subject s = {.in = NULL};
    fm_dense_spec spec = {
        .inputs = inputs, .outputs = outputs, .activation = FM_ACTIVATION_SILU, .max_rows = rows};
    float *weight = floats_new(inputs * outputs), *bias = floats_new(outputs);
    spec.weight = weight;
    spec.bias = bias;
    for (size_t i = 0; i < WEIGHT_SETS; i++) {
        if (fm_dense_new_with(&spec, fm_kernels_best(), route, &s.layers[i], NULL) != FM_OK) {
            break;
        }
    }
    fm_free(weight);
    fm_free(bias);
    if (s.layers[WEIGHT_SETS - 1] != NULL) {
        size_t padded = fm_dense_padded_rows(s.layers[0], rows);
        s.in = floats_new(padded * fm_dense_input_stride(s.layers[0]));
        s.out = floats_new(padded * fm_dense_output_stride(s.layers[0]));
        s.scratch = floats_new(fm_dense_scratch_bytes(s.layers[0]) / sizeof(float) + 1);
    }
    return s;
}

static void subject_done(subject *s)
{
    for (size_t i = 0; i < WEIGHT_SETS; i++) {
        fm_dense_free(s->layers[i]);
    }
    fm_free(s->in);
    fm_free(s->out);
    fm_free(s->scratch);
}

static void run(const fm_dense *layer, size_t rows, const float *in, float *out, void *scratch)
{
    if (fm_dense_run(layer, rows, in, out, scratch) != FM_OK) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
}

/* Seconds a run, over enough of them to be measured. */
static double subject_time(const subject *s, size_t rows, size_t repeats)
{
    double start = now();
    for (size_t i = 0; i < repeats; i++) {
        run(s->layers[i % WEIGHT_SETS], rows, s->in, s->out, s->scratch);
    }
    return (now() - start) / (double)repeats;
}

/* Our kernels and the provider in turn, round by round, so that both meet the same disturbances. */
static void layer_print(size_t inputs, size_t outputs, size_t rows, size_t rounds)
{
    static const fm_dense_route routes[] = {FM_DENSE_OWN, FM_DENSE_PROVIDER};
    subject subjects[2];
    static double times[2][MAX_ROUNDS];
    double multiply_adds = (double)inputs * (double)outputs * (double)rows, speed[2] = {0.0};
    size_t repeats = (size_t)(ROUND_MULTIPLY_ADDS / multiply_adds) + 1;
    for (size_t i = 0; i < 2; i++) {
        subjects[i] = subject_new(inputs, outputs, rows, routes[i]);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < 2; i++) {
            times[i][round] =
                subjects[i].in != NULL ? subject_time(&subjects[i], rows, repeats) : 1.0;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        if (subjects[i].in != NULL) {
            speed[i] = 2e-9 * multiply_adds / median(times[i], rounds);
        }
        subject_done(&subjects[i]);
    }
    if (speed[1] > 0.0) {
        printf("| %zu | %zu | %zu | %.0f | %.0f | %.2f |\n", inputs, outputs, rows, speed[0],
               speed[1], speed[0] / speed[1]);
    } else {
        printf("| %zu | %zu | %zu | %.0f | - | - |\n", inputs, outputs, rows, speed[0]);
    }
}

static double network_run(fm_dense *const *layers, size_t n, size_t rows, float *const *buffers,
                          void *scratch, size_t repeats)
{
    double start = now();
    for (size_t repeat = 0; repeat < repeats; repeat++) {
        for (size_t i = 0; i < n; i++) {
            run(layers[i], rows, buffers[i % 2], buffers[(i + 1) % 2], scratch);
        }
    }
    return (now() - start) / (double)repeats;
}

/* 130 -> 512 x 4 -> 2, as a two-dimensional model with a time embedding has it, by fm_dense_new(). */
static void network_print(size_t rows, size_t rounds, double peak)
{
    static const size_t widths[] = {130, 512, 512, 512, 512, 2};
    enum { LAYERS = 5 };
    static double times[MAX_ROUNDS];
    fm_dense *layers[LAYERS] = {NULL};
    size_t tile = rows < 64 ? rows : 64,
           scratch_bytes = 0; /* rows run in tiles, as the engine has it */
    double multiply_adds = 0.0;
    for (size_t i = 0; i < LAYERS; i++) {
        float *weight = floats_new(widths[i] * widths[i + 1]);
        fm_dense_spec spec = {.inputs = widths[i],
                              .outputs = widths[i + 1],
                              .weight = weight,
                              .activation =
                                  i + 1 < LAYERS ? FM_ACTIVATION_SILU : FM_ACTIVATION_NONE,
                              .max_rows = tile};
        if (fm_dense_new(&spec, &layers[i], NULL) != FM_OK) {
            abort();
        }
        fm_free(weight);
        size_t bytes = fm_dense_scratch_bytes(layers[i]);
        scratch_bytes = bytes > scratch_bytes ? bytes : scratch_bytes;
        multiply_adds += (double)widths[i] * (double)widths[i + 1] * (double)rows;
    }
    size_t padded = fm_dense_padded_rows(layers[1], tile);
    float *buffers[2] = {floats_new(padded * 512), floats_new(padded * 512)};
    void *scratch = floats_new(scratch_bytes / sizeof(float) + 1);
    size_t repeats = (size_t)(ROUND_MULTIPLY_ADDS / multiply_adds) + 1, tiles = rows / tile;
    for (size_t round = 0; round < rounds; round++) {
        times[round] =
            network_run(layers, LAYERS, tile, buffers, scratch, repeats * tiles) * (double)tiles;
    }
    double seconds = median(times, rounds), speed = 2e-9 * multiply_adds / seconds;
    printf("| %zu | %.4f | %.0f | %.0f %% |\n", rows, 1e3 * seconds, speed, 100.0 * speed / peak);
    for (size_t i = 0; i < LAYERS; i++) {
        fm_dense_free(layers[i]);
    }
    fm_free(buffers[0]);
    fm_free(buffers[1]);
    fm_free(scratch);
}

int main(int argc, char **argv)
{
    static const size_t shapes[][2] = {{3, 512},   {64, 64},     {128, 128},   {256, 256},
                                       {512, 512}, {1024, 1024}, {2048, 2048}, {512, 2048}};
    static const size_t rows[] = {1, 8, 16, 64, 256, 1024};
    size_t rounds = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 51;
    rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
    fm_dense_thread_init();
    char version[64];
    fm_dense_version(version, sizeof version);
    printf("kernels %s, provider %s %s\n", fm_dense_kernels(), fm_dense_provider(), version);
    double peak = peak_print();
    printf("\n| inputs | outputs | rows | own GFLOP/s | provider GFLOP/s | own / provider |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++) {
            layer_print(shapes[i][0], shapes[i][1], rows[j], rounds);
        }
    }
    printf("\n| rows | 4 x 512 SiLU network, ms | GFLOP/s | of the peak |\n| --- | --- | --- | --- "
           "|\n");
    for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++) {
        network_print(rows[j], rounds, peak);
    }
    return 0;
}
