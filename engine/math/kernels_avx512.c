/* Kernels for x86-64-v4: sixteen lanes. Compiled with -march=x86-64-v4, see the Makefile. */
#include "engine/math/kernels.h"

#if defined(__x86_64__)
#define LANES        16
#define KERNELS      fm_kernels_avx512
#define KERNELS_NAME "avx512"
#include "engine/math/kernels_body.h"
#endif
