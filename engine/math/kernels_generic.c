/* Kernels for any machine: four lanes of GCC vectors (SSE on x86-64, NEON on aarch64). */
#define LANES        4
#define KERNELS      fm_kernels_generic
#define KERNELS_NAME "generic"
#include "engine/math/kernels_body.h"
