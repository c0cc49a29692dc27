/* SHA-256 of what makes a model: config.json and its weight files, by name and content. */
#ifndef FM_DIGEST_H
#define FM_DIGEST_H

#include "engine/checkpoint/model_config.h"
#include "engine/checkpoint/tensors.h"
#include "engine/status.h"

#include <stddef.h>

#define FM_DIGEST_TEXT_BYTES 72 /* "sha256:" + 64 hex digits + NUL */

/*   files  [n_files] names inside folder, hashed in this order with their lengths
 * Errors: FM_EIO, FM_ENOTFOUND, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_digest_files(const char *folder, const char *const *files, size_t n_files,
                                      char ret[FM_DIGEST_TEXT_BYTES], fm_error *err);

/* A model's version: config.json, then the files behind tensors, or the points of a dataset.
 *   tensors  the open checkpoint; NULL for architectures without weights
 * Errors: as fm_digest_files(), FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_digest_model(const fm_model_config *config, const fm_tensors *tensors,
                                      char ret[FM_DIGEST_TEXT_BYTES], fm_error *err);

#endif
