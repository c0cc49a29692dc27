/* Dense math behind one header; nothing else in the engine calls a BLAS.
 *
 * Two providers: oneDNN (default) and OpenBLAS (MATH=openblas). A layer is built once at load, its
 * weights packed for the provider, and run by any thread without allocating. Each worker thread calls
 * fm_dense_thread_init() first: one BLAS thread a worker.
 *
 * Bits: for one layer and CPU type, a row of the output depends on that row of the input alone,
 * whatever `rows` is and wherever it stands. Our own kernels hold that by construction, oneDNN's packed
 * matmul where its row classes are seen to agree (else the layer is ours); OpenBLAS only at a fixed
 * number of rows, so there rows are padded to it. */
#ifndef FM_DENSE_H
#define FM_DENSE_H

#include "engine/math/activation.h"
#include "engine/math/layer_part.h"
#include "engine/memory.h"
#include "engine/status.h"

#include <stddef.h>

typedef struct fm_dense fm_dense;

const char *fm_dense_provider(void);                 /* "onednn" or "openblas" */
void fm_dense_version(char *ret, size_t size_bytes); /* the library's own, cut to fit */
const char *
fm_dense_kernels(void); /* "avx512", "avx2", "generic": own kernels picked at run time */

/* Once per worker thread, before any run. */
void fm_dense_thread_init(void);

typedef struct fm_dense_spec {
    size_t inputs, outputs;
    const float *weight; /* [outputs][inputs], as PyTorch has it; read during fm_dense_new() only */
    const float *bias;   /* [outputs] or NULL; idem */
    fm_activation activation; /* applied to the output, in the same pass */
    size_t max_rows;
    fm_pool *pool; /* of packed weights that are ours, outlives the layer; NULL: its own memory */
} fm_dense_spec;

/* Errors: FM_ENOMEM; FM_EINTERNAL the provider refused (its own code in the text). */
FM_MUST_USE fm_status fm_dense_new(const fm_dense_spec *spec, fm_dense **ret, fm_error *err);
void fm_dense_free(fm_dense *dense); /* takes NULL */

/* Row strides of the buffers that fm_dense_run() reads and writes: inputs and outputs rounded up to
 * what the kernels like; padding columns of the input may hold anything finite. */
size_t fm_dense_input_stride(const fm_dense *dense);
size_t fm_dense_output_stride(const fm_dense *dense);
/* Rows the buffers must have room for when `rows` are run (padding rows may hold anything finite). */
size_t fm_dense_padded_rows(const fm_dense *dense, size_t rows);
size_t fm_dense_scratch_bytes(const fm_dense *dense);
size_t fm_dense_packed_bytes(const fm_dense *dense);

/* out = activation(in weight^T + bias), or a part of it, float32, [rows][stride]; 1 <= rows <= max_rows.
 *   in, out  not the same memory; padding columns of out hold nothing of meaning
 *   scratch  fm_dense_scratch_bytes(), aligned; never allocates of ours
 * Errors: FM_ENOMEM oneDNN itself ran out of memory.
 * Thread: any after fm_dense_thread_init(). */
FM_MUST_USE fm_status fm_dense_run_part(const fm_dense *dense, fm_layer_part part, size_t rows,
                                        const float *in, float *out, void *scratch);
FM_MUST_USE static inline fm_status fm_dense_run(const fm_dense *dense, size_t rows,
                                                 const float *in, float *out, void *scratch)
{
    return fm_dense_run_part(dense, FM_LAYER_WHOLE, rows, in, out, scratch);
}

#endif
