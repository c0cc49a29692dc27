/* Our own bfloat16 kernels: products of bfloat16 pairs, summed in float32.
 *
 * Internal to engine/math (and its tests and bench). They need instructions of their own (AVX512_BF16);
 * there is no slow substitute, for a model that asks for bfloat16 asks for its speed.
 *
 * Bits: an output is one chain of pairwise products over k ascending, then what follows in float32; it
 * depends on its window alone. */
#ifndef FM_KERNELS16_H
#define FM_KERNELS16_H

#include "engine/math/kernels.h"

#include <stdint.h>

/* As fm_convolve, with windows and weights in bfloat16: layer.in and layer.packed are not used.
 * layer.segment_inputs is even. */
typedef struct fm_convolve16 {
    fm_convolve layer;
    const uint16_t *in, *packed;
} fm_convolve16;

typedef struct fm_kernels16 {
    const char *name;
    size_t panel; /* columns of a panel */
    /* out[i] = in[i] rounded to nearest, ties to even; count is a multiple of FM_KERNEL_COLUMNS */
    void (*round)(const float *in, size_t count, uint16_t *out);
    /* weight [outputs][inputs], inputs even, to panels of pairs; packed [inputs * columns] */
    void (*pack)(const float *weight, size_t inputs, size_t outputs, uint16_t *packed);
    void (*convolve)(const fm_convolve16 *job);
} fm_kernels16;

/* NULL when this machine or build has none. Thread: any. */
const fm_kernels16 *fm_kernels16_best(void);

#if defined(__x86_64__)
extern const fm_kernels16 fm_kernels16_avx512;
#endif

#endif
