/* The zip files of torch.save() (PyTorch 1.6 and newer): <root>/data.pkl, a pickle whose tensors are views of
 * the records <root>/data/<key>.
 *
 * weights.entry is a dotted path to the state dict. Without one the file must hold one state dict: a dict of
 * nothing but tensors and plain values, some of them floating-point; it may stand inside other dicts. Exponential
 * moving averages that are kept as a list in the order of model.parameters() get their names from the state
 * dict they belong to (pytorch_average.c), and are preferred where both stand in one state dict.
 *
 * What lies outside the entry is not looked at: a value of an unknown class is refused by name only where a
 * tensor is expected.
 *
 * Source: torch/serialization.py, torch/csrc/jit/serialization (the archive's records). */
#ifndef FM_PYTORCH_H
#define FM_PYTORCH_H

#include "engine/checkpoint/tensors.h"

bool fm_pytorch_is_named(const char *path); /* .pt, .pth */

/* Fills list, count, names, copies and origin of a zeroed tensors, which the caller closes either way.
 *   data   [length] borrowed by the tensors
 *   entry  NULL: found
 * Errors: FM_EFORMAT, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_pytorch_list(const unsigned char *data, size_t length, const char *entry,
                                      fm_tensors *tensors, fm_error *err);

#endif
