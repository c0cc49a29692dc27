/* The safetensors format: 8 bytes little-endian header length n, n bytes of JSON padded with spaces,
 * then the tensors' bytes, which cover the rest of the file exactly.
 *
 * Source: "Safetensors", https://github.com/huggingface/safetensors, section Format. */
#ifndef FM_SAFETENSORS_H
#define FM_SAFETENSORS_H

#include "engine/checkpoint/tensors.h"

#define FM_SAFETENSORS_MAX_HEADER_BYTES ((size_t)100 * 1000 * 1000)

/* Checks an image and lists its tensors in name order.
 *   data       [length] borrowed by the tensors
 *   ret_list   [ret_count], NULL when there is none; freed with fm_free()
 *   ret_names  what the names point into; freed with fm_free()
 * Errors: FM_EFORMAT names the tensor, what was expected and found; FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_safetensors_list(const unsigned char *data, size_t length,
                                          fm_tensor **ret_list, size_t *ret_count, char **ret_names,
                                          fm_error *err);

#endif
