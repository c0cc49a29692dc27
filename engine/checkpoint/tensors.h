/* Named read-only tensors of a checkpoint on disk: safetensors files, single or sharded, and the zip files
 * of torch.save().
 *
 * The file is mapped, not read; every field of the header is checked before any tensor is listed
 * (lengths, offsets, overlaps, holes, sizes against dtype and shape, duplicate names, at most 100 MB
 * of header). Tensors point into the mapping and live until fm_tensors_close(). Of a PyTorch file only what
 * is compressed or not contiguous is copied (pytorch.h). */
#ifndef FM_TENSORS_H
#define FM_TENSORS_H

#include "engine/fm_state.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fm_dtype {
#define FM_DTYPE(id, name, size_bytes) FM_DTYPE_##id,
#include "engine/checkpoint/dtype.def"
#undef FM_DTYPE
} fm_dtype;

const char *fm_dtype_name(fm_dtype dtype);  /* "F32" */
size_t fm_dtype_size_bytes(fm_dtype dtype); /* 4 */

typedef struct fm_tensor {
    const char *name;
    fm_dtype dtype;
    size_t rank, shape[FM_MAX_RANK];
    size_t count;     /* product of shape */
    const void *data; /* row-major, little-endian, possibly unaligned */
    size_t size_bytes;
    bool mapped; /* data is a part of a mapped file: fm_file_forget() may drop its pages */
} fm_tensor;

typedef struct fm_tensors fm_tensors;

/* Opens a .safetensors file, a .safetensors.index.json, or a PyTorch .pt or .pth file; a file of any other
 * name by its first bytes.
 * Errors: FM_ENOTFOUND, FM_EIO, FM_ENOMEM; FM_EFORMAT names the tensor, what was expected and found.
 * Thread: any. */
FM_MUST_USE fm_status fm_tensors_open(const char *path, fm_tensors **ret, fm_error *err);
/* The same.
 *   entry  of a PyTorch file: dotted path to the state dict; NULL: the only one there is. Other files have
 *          no entries: FM_EFORMAT */
FM_MUST_USE fm_status fm_tensors_open_entry(const char *path, const char *entry, fm_tensors **ret,
                                            fm_error *err);
/* A safetensors image in memory, borrowed until close; for the fuzzer and tests. */
FM_MUST_USE fm_status fm_tensors_parse(const void *data, size_t length, fm_tensors **ret,
                                       fm_error *err);
/* The same of a PyTorch file. */
FM_MUST_USE fm_status fm_tensors_parse_pytorch(const void *data, size_t length, const char *entry,
                                               fm_tensors **ret, fm_error *err);
void fm_tensors_close(fm_tensors *tensors); /* takes NULL */

/* The files behind it, as names inside its folder: an index first, then its shards in name order. None
 * for fm_tensors_parse(). */
size_t fm_tensors_file_count(const fm_tensors *tensors);
const char *fm_tensors_file_at(const fm_tensors *tensors, size_t index);

/* What of a PyTorch file was taken: "ema_model", "the top level", with "moving averages of …" where they were
 * preferred. NULL for other files. */
const char *fm_tensors_origin(const fm_tensors *tensors);

size_t fm_tensors_count(const fm_tensors *tensors);
const fm_tensor *fm_tensors_at(const fm_tensors *tensors, size_t index); /* in name order */
const fm_tensor *fm_tensors_find(const fm_tensors *tensors, const char *name);

#define FM_SHAPE_TEXT_BYTES 192 /* rank 8 with 20 digits each */
/* "[128, 4]"; "[]" for a scalar. */
void fm_shape_text(size_t rank, const size_t *shape, char ret[FM_SHAPE_TEXT_BYTES]);

/* Converts any floating-point dtype: ret is [tensor->count]. FM_EFORMAT for integers. */
FM_MUST_USE fm_status fm_tensor_to_float32(const fm_tensor *tensor, float *ret, fm_error *err);
FM_MUST_USE fm_status fm_tensor_to_float64(const fm_tensor *tensor, double *ret, fm_error *err);

#endif
