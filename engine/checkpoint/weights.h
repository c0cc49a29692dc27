/* A state dict as an architecture sees it: tensors under the names of its library, prefixes stripped
 * (weights.prefix, "module." and "_orig_mod."), with a record of what was asked for.
 *
 * The record is what `velocityd inspect` prints, and what tells that a tensor is missing, misshapen or
 * unused. */
#ifndef FM_WEIGHTS_H
#define FM_WEIGHTS_H

#include "engine/checkpoint/tensors.h"

typedef struct fm_weights fm_weights;

typedef enum fm_weights_state {
    FM_WEIGHTS_UNUSED,
    FM_WEIGHTS_USED,
    FM_WEIGHTS_MISSING,
    FM_WEIGHTS_WRONG_SHAPE,
} fm_weights_state;

typedef struct fm_weights_entry {
    const char *name;        /* stripped */
    const fm_tensor *tensor; /* NULL when missing */
    fm_weights_state state;
    size_t expected_rank, expected_shape[FM_MAX_RANK]; /* of what was asked for */
} fm_weights_entry;

/* Views tensors, which must outlive it.
 * Errors: FM_EFORMAT two names become one by stripping; FM_ENOMEM. */
FM_MUST_USE fm_status fm_weights_new(const fm_tensors *tensors, const char *prefix,
                                     fm_weights **ret, fm_error *err);
void fm_weights_free(fm_weights *weights); /* takes NULL */

/* Looks without asking: for architectures that discover their layers. NULL when absent. */
const fm_tensor *fm_weights_peek(const fm_weights *weights, const char *name);
size_t fm_weights_count(const fm_weights *weights);
const fm_weights_entry *fm_weights_at(const fm_weights *weights, size_t index); /* in name order */

/* Asks for a tensor of exactly this shape and marks it used.
 * Errors: FM_EFORMAT missing or misshapen; names the tensor, expected and found shapes. */
FM_MUST_USE fm_status fm_weights_take(fm_weights *weights, const char *name, size_t rank,
                                      const size_t *shape, const fm_tensor **ret, fm_error *err);

/* After the last take. Errors: FM_EFORMAT names the first unused tensors and their shapes. */
FM_MUST_USE fm_status fm_weights_finish(const fm_weights *weights, fm_error *err);

#endif
