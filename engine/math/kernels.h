/* Our own float32 kernels, compiled once per instruction set and picked at run time.
 *
 * Internal to engine/math (and its tests and bench): everybody else uses dense.h.
 *
 * Bits: an output of a matrix product is one chain of fused multiply-adds over k ascending from 0,
 * then + bias, then the activation; an element of an activation depends on that element alone. So the
 * bits of a row depend on the row only, for one instruction set. (The generic kernels of a machine
 * without fused multiply-add round each product: other bits, the same promise.) */
#ifndef FM_KERNELS_H
#define FM_KERNELS_H

#include "engine/math/activation.h"

#include <stddef.h>

#define FM_KERNEL_COLUMNS ((size_t)16) /* buffers and strides are multiples of this many floats */

/* out = activation(in weight^T + bias), weights packed by the same kernels' pack(). */
typedef struct fm_matmul {
    size_t inputs, columns; /* columns: outputs rounded up to FM_KERNEL_COLUMNS */
    const float *packed;    /* [packed_floats()] */
    const float *bias;      /* [columns], 0 beyond the outputs */
    fm_activation activation;
    size_t rows;
    const float *in; /* [rows][in_stride]; columns from `inputs` on are never read */
    float *out;      /* [rows][out_stride], all `columns` written; not in */
    size_t in_stride, out_stride;
} fm_matmul;

typedef struct fm_kernels {
    const char *name; /* "avx512", "avx2", "generic" */
    /* x = activation(x + bias) on [rows][stride], the first `columns` of each row; columns is a
     * multiple of FM_KERNEL_COLUMNS, bias [columns] or NULL. */
    void (*activate)(fm_activation activation, const float *bias, size_t rows, size_t columns,
                     size_t stride, float *x);
    /* weight [outputs][inputs] to panels; packed [inputs * columns] */
    void (*pack)(const float *weight, size_t inputs, size_t outputs, float *packed);
    void (*matmul)(const fm_matmul *job);
} fm_kernels;

/* The fastest of this machine. Never NULL. Thread: any. */
const fm_kernels *fm_kernels_best(void);
/* NULL when there is none of that name or this machine lacks its instructions. */
const fm_kernels *fm_kernels_find(const char *name);

/* n rounded up to FM_KERNEL_COLUMNS. */
size_t fm_kernels_round(size_t n);

extern const fm_kernels fm_kernels_generic;
#if defined(__x86_64__)
extern const fm_kernels fm_kernels_avx2, fm_kernels_avx512;
#endif

#endif
