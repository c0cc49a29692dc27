/* What this program was built of, and the machine that it runs on. */
#ifndef FM_FM_MACHINE_H
#define FM_FM_MACHINE_H

#include <stddef.h>

typedef struct fm_build_info {
    const char *dense_provider; /* "onednn" or "openblas" */
    const char *dense_version;  /* the library's own version */
    const char *kernels;        /* SIMD kernels picked at run time: "avx512", "avx2", "generic" */
    const char *id;             /* of the program file, in hexadecimal; "" when it has none */
    const char *cpu;            /* CPU type that the bits belong to: "x86_64-family26-model2" */
} fm_build_info;

/* Static data. Thread: any. */
const fm_build_info *fm_build(void);

/* CPUs this process may use: the smaller of its affinity mask and its cgroup's quota (v1 or v2),
 * rounded up; at least 1. Thread: any. */
size_t fm_cpu_count(void);

#endif
