/* What choosing a state dict, averaging and reading tensors share. */
#ifndef FM_PYTORCH_PRIVATE_H
#define FM_PYTORCH_PRIVATE_H

#include "engine/checkpoint/pickle.h"
#include "engine/checkpoint/pytorch_limits.h"

#define FM_PYTORCH_TEXT_BYTES ((size_t)512) /* of paths and origins in messages */

/* A tensor of the state dict under its own name, which views the pickle. */
typedef struct fm_pytorch_named {
    fm_pickle_text name;
    const fm_pickle_tensor *tensor;
} fm_pytorch_named;

typedef struct fm_pytorch_selection {
    fm_pytorch_named *list; /* [count] in the file's order; freed with fm_free() */
    size_t count;
    char origin[FM_PYTORCH_TEXT_BYTES];
} fm_pytorch_selection;

/* Errors: FM_EFORMAT no such entry, none or several where there is none; FM_ENOMEM. */
FM_MUST_USE fm_status fm_pytorch_choose(fm_pickle *pickle, const char *entry,
                                        fm_pytorch_selection *ret, fm_error *err);

/* Puts moving averages in the place of the parameters they belong to.
 *
 * averages are those of model.parameters(), whose order is that of the state dict without its buffers;
 * shapes tell what a buffer is. They must fit in one way only. Tensors that share a parameter's memory get its
 * average; buffers keep their own values.
 *   named         [n_named] the state dict; changed on success
 *   averages      [n_averages]
 *   ret_replaced  how many of named are averages now
 * Errors: FM_EFORMAT they fit in no way, or in several; FM_ENOMEM. */
FM_MUST_USE fm_status fm_pytorch_average(fm_pytorch_named *named, size_t n_named,
                                         const fm_pickle_tensor *const *averages, size_t n_averages,
                                         size_t *ret_replaced, fm_error *err);

/* The same where both stand in one state dict, as flow_matching's EMA wrapper saves them: "model.*",
 * "shadow_params.<i>", "num_updates", perhaps all behind a prefix. A selection without them is left alone. */
FM_MUST_USE fm_status fm_pytorch_unwrap_averages(fm_pytorch_selection *selection, fm_error *err);

bool fm_pytorch_is_floating(fm_dtype dtype);

#endif
