/* Which kernels this machine runs: the only place that asks the CPU. */
#include "engine/math/kernels.h"

#include "engine/math/kernels16.h"

#include <string.h>

const fm_kernels *fm_kernels_find(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(name, "avx512") == 0) {
        return __builtin_cpu_supports("x86-64-v4") ? &fm_kernels_avx512 : NULL;
    }
    if (strcmp(name, "avx2") == 0) {
        return __builtin_cpu_supports("x86-64-v3") ? &fm_kernels_avx2 : NULL;
    }
#endif
    return strcmp(name, "generic") == 0 ? &fm_kernels_generic : NULL;
}

const fm_kernels *fm_kernels_best(void)
{
    static const char *const fastest_first[] = {"avx512", "avx2"};
    for (size_t i = 0; i < sizeof fastest_first / sizeof fastest_first[0]; i++) {
        const fm_kernels *kernels = fm_kernels_find(fastest_first[i]);
        if (kernels != NULL) {
            return kernels;
        }
    }
    return &fm_kernels_generic;
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
