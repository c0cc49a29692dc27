/* A tensor's numbers in float32, as networks are built from them: all finite, and converted one tensor at
 * a time, so that a checkpoint is never in memory twice. */
#ifndef FM_TENSOR_FLOATS_H
#define FM_TENSOR_FLOATS_H

#include "engine/checkpoint/tensors.h"

typedef struct fm_tensor_floats {
    const float *values; /* [tensor->count], row-major */
    float *converted;    /* NULL: values are the tensor's own bytes, which must stay mapped */
    const fm_tensor *tensor;
} fm_tensor_floats;

/* Errors: FM_EFORMAT integers, or a number that is not finite in float32, with its place; FM_ENOMEM. */
FM_MUST_USE fm_status fm_tensor_floats_init(const fm_tensor *tensor, fm_tensor_floats *ret,
                                            fm_error *err);
/* The tensor's pages are forgotten with them. Takes a zeroed one. */
void fm_tensor_floats_done(fm_tensor_floats *floats);

/* The check alone, without memory. Errors: FM_EFORMAT, as above. */
FM_MUST_USE fm_status fm_tensor_check_finite(const fm_tensor *tensor, fm_error *err);

#endif
