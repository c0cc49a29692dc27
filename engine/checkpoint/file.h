/* Regular files of a model folder: mapped when large and kept, read when small, and names that stay
 * inside the folder. */
#ifndef FM_FILE_H
#define FM_FILE_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

/* Opens a regular file for reading.
 *   ret_size_bytes  its size now
 *   ret_descriptor  closed by the caller
 * Errors: FM_ENOTFOUND, FM_EIO (also for folders, pipes and devices); FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_file_open(const char *path, size_t *ret_size_bytes, int *ret_descriptor,
                                   fm_error *err);

/* A private read-only mapping; data is NULL when the file is empty. A plain value: a zeroed one may be
 * unmapped. Truncating a mapped file ends the process at the next access to the lost part, so files
 * are replaced by renaming, as every downloader does. */
typedef struct fm_mapping {
    const unsigned char *data;
    size_t size_bytes;
} fm_mapping;

/* Errors: as fm_file_open(). Thread: any. */
FM_MUST_USE fm_status fm_file_map(const char *path, fm_mapping *ret, fm_error *err);
void fm_file_unmap(fm_mapping *mapping);
/* Lets go of the pages that lie wholly in a part of a mapping: they are read again when they are used
 * again. So that a large checkpoint and its packed copy need not be in memory together. */
void fm_file_forget(const void *data, size_t size_bytes);

/* The whole file in memory with a NUL behind it, freed with fm_free().
 * Errors: as fm_file_open(), and FM_EFORMAT over max_bytes. Thread: any. */
FM_MUST_USE fm_status fm_file_read(const char *path, size_t max_bytes, char **ret,
                                   size_t *ret_size_bytes, fm_error *err);

/* One path component other than "." and "..": such a name cannot leave its folder. */
bool fm_file_name_is_local(const char *name);
bool fm_file_name_ends(const char *name, const char *suffix);

/* folder/name, freed with fm_free(), or NULL when out of memory. */
FM_MUST_USE char *fm_file_path(const char *folder, const char *name);

#endif
