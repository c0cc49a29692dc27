/* What tensors.c and shards.c share. */
#ifndef FM_TENSORS_PRIVATE_H
#define FM_TENSORS_PRIVATE_H

#include "engine/checkpoint/file.h"
#include "engine/checkpoint/tensors.h"
#include "engine/checkpoint/zip_archive.h"

struct fm_tensors {
    fm_tensor *list; /* [count] in name order */
    size_t count;
    char *names;         /* what the names point into; NULL when sharded: the shards own them */
    fm_mapping mapping;  /* of a single file */
    fm_tensors **shards; /* [n_shards] in the order of their files */
    size_t n_shards;
    char **files; /* [n_files] names inside the folder */
    size_t n_files;
    fm_copies copies; /* of a PyTorch file: what could not be used in place */
    char *origin;     /* what of it was taken; NULL for other files */
};

/* One safetensors file.
 * Errors: as fm_tensors_open(). */
FM_MUST_USE fm_status fm_tensors_open_single(const char *path, fm_tensors **ret, fm_error *err);

/* All shards of a .safetensors.index.json: {"metadata": {…}, "weight_map": {tensor: file}}. The map
 * and the files must name the same tensors.
 * Errors: as fm_tensors_open(). */
FM_MUST_USE fm_status fm_shards_open(const char *path, fm_tensors **ret, fm_error *err);

/* By name; for qsort(). */
int fm_tensor_compare_name(const void *left, const void *right);

#endif
