/* Writing the safetensors format (safetensors.h). */
#ifndef FM_SAFETENSORS_WRITE_H
#define FM_SAFETENSORS_WRITE_H

#include "engine/checkpoint/output_folder.h"
#include "engine/checkpoint/tensors.h"

/* A tensor under a name that may differ from its own. */
typedef struct fm_safetensors_row {
    const char *name;
    const fm_tensor *tensor;
} fm_safetensors_row;

/* Wide elements first, then by name, so that every tensor is aligned to its elements.
 *   rows  [count] of different names; put in the order of the file
 *   ret_size_bytes  of the file
 * Errors: FM_EFORMAT the header would be too long; FM_EIO, FM_ENOMEM. */
FM_MUST_USE fm_status fm_safetensors_write(const fm_output_folder *folder, const char *name,
                                           fm_safetensors_row *rows, size_t count,
                                           size_t *ret_size_bytes, fm_error *err);

#endif
