/* Which kernels this machine runs: the only place that asks the CPU. */
#include "engine/math/kernels.h"

#include "engine/math/kernels16.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
static bool runs_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v4") != 0;
}

static bool runs_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("x86-64-v3") != 0;
}
#endif

static bool runs_everywhere(void)
{
    return true;
}

static const struct {
    const fm_kernels *kernels;
    bool (*runs)(void);
} fastest_first[] = {
#if defined(__x86_64__)
    {&fm_kernels_avx512, runs_avx512},
    {&fm_kernels_avx2, runs_avx2},
#endif
    {&fm_kernels_generic, runs_everywhere},
};

#define N_SETS (sizeof fastest_first / sizeof fastest_first[0])

const fm_kernels *fm_kernels_find(const char *name)
{
    for (size_t i = 0; i < N_SETS; i++) {
        if (strcmp(fastest_first[i].kernels->name, name) == 0) {
            return fastest_first[i].runs() ? fastest_first[i].kernels : NULL;
        }
    }
    return NULL;
}

const fm_kernels *fm_kernels_best(void)
{
    size_t i = 0;
    while (!fastest_first[i].runs()) { /* the last always does */
        i++;
    }
    return fastest_first[i].kernels;
}

const fm_kernels16 *fm_kernels16_best(void)
{
#if defined(__x86_64__) && defined(FM_MATH_onednn)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16")) {
        return &fm_kernels16_avx512;
    }
#endif
    return NULL;
}

size_t fm_kernels_round(size_t n)
{
    return (n + FM_KERNEL_COLUMNS - 1) / FM_KERNEL_COLUMNS * FM_KERNEL_COLUMNS;
}
