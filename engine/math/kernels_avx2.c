/* Kernels for x86-64-v3: eight lanes. Compiled with -march=x86-64-v3, see the Makefile. */
#include "engine/math/kernels.h"

#if defined(__x86_64__)
#define LANES        8
#define KERNELS      fm_kernels_avx2
#define KERNELS_NAME "avx2"
#include "engine/math/kernels_body.h"
#endif
