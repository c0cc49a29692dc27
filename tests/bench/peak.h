/* The core's float32 peak: multiply-adds on registers alone, in chains enough to hide their latency.
 * One widest instruction set is measured, the one whose kernels the engine would pick. */
#ifndef BENCH_PEAK_H
#define BENCH_PEAK_H

#include "engine/clock.h"

#define BENCH_PEAK_CHAINS 12
#define BENCH_PEAK_STEPS  200000
#define BENCH_PEAK_ROUNDS 20

#define BENCH_PEAK(name, isa, floats)                                                              \
    __attribute__((target(isa))) static inline double name(void)                                   \
    {                                                                                              \
        typedef float vector __attribute__((vector_size((floats) * 4)));                           \
        vector sum[BENCH_PEAK_CHAINS] = {{0}}, factor = {0}, term = {0};                           \
        factor += 0.999F;                                                                          \
        term += 1e-3F;                                                                             \
        double start = fm_clock_seconds();                                                         \
        for (int step = 0; step < BENCH_PEAK_STEPS; step++) {                                      \
            _Pragma("GCC unroll 12") for (int i = 0; i < BENCH_PEAK_CHAINS; i++)                   \
            {                                                                                      \
                BENCH_MULTIPLY_ADD(sum[i], factor, term);                                          \
            }                                                                                      \
        }                                                                                          \
        double seconds = fm_clock_seconds() - start;                                               \
        return 2e-9 * (floats) * BENCH_PEAK_CHAINS * BENCH_PEAK_STEPS / seconds;                   \
    }

#if defined(__x86_64__)
#define BENCH_MULTIPLY_ADD(s, f, t)                                                                \
    __asm__ volatile("vfmadd213ps %2, %1, %0" : "+v"(s) : "v"(f), "v"(t))
BENCH_PEAK(bench_peak_avx512, "avx512f", 16)
BENCH_PEAK(bench_peak_avx2, "avx2,fma", 8)
#undef BENCH_MULTIPLY_ADD
#define BENCH_MULTIPLY_ADD(s, f, t)                                                                \
    __asm__ volatile("mulps %1, %0\n\taddps %2, %0" : "+x"(s) : "x"(f), "x"(t))
BENCH_PEAK(bench_peak_sse, "sse2", 4)

/* One burst of a third of a millisecond. */
static inline double bench_peak_burst(void)
{
    if (__builtin_cpu_supports("avx512f")) {
        return bench_peak_avx512();
    }
    return __builtin_cpu_supports("fma") ? bench_peak_avx2() : bench_peak_sse();
}
#else
static inline double bench_peak_burst(void)
{
    return 0; /* not measured on this architecture */
}
#endif

/* The mean over bursts that take so long together, one at least. */
static inline double bench_peak_over(double seconds)
{
    double start = fm_clock_seconds(), sum = 0;
    size_t count = 0;
    while (count == 0 || fm_clock_seconds() - start < seconds) {
        sum += 1 / bench_peak_burst();
        count++;
    }
    return (double)count / sum;
}

/* The best of several. */
static inline double bench_peak_gflops(void)
{
    double best = 0;
    for (int round = 0; round < BENCH_PEAK_ROUNDS; round++) {
        double speed = bench_peak_burst();
        best = speed > best ? speed : best;
    }
    return best;
}

#endif
