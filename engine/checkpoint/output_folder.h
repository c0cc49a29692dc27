/* A new folder that appears whole or not at all: it is filled under another name beside its place, then
 * renamed. */
#ifndef FM_OUTPUT_FOLDER_H
#define FM_OUTPUT_FOLDER_H

#include "engine/status.h"

#include <stddef.h>

typedef struct fm_output_folder {
    char *path, *partial; /* where it shall be, and is until then */
} fm_output_folder;

typedef struct fm_output_file {
    char *path;
    int descriptor;
} fm_output_file;

/* Errors: FM_EINVAL there is something at path; FM_EIO, FM_ENOTFOUND, FM_ENOMEM. */
FM_MUST_USE fm_status fm_output_folder_begin(const char *path, fm_output_folder *ret,
                                             fm_error *err);
/* Puts it in its place. Errors: FM_EINVAL something came there meanwhile; FM_EIO. Ends it on success. */
FM_MUST_USE fm_status fm_output_folder_commit(fm_output_folder *folder, fm_error *err);
/* Removes what was written, with the files in it. Takes a zeroed or a committed one. */
void fm_output_folder_abort(fm_output_folder *folder);

/* A new file in the folder. Errors: FM_EIO, FM_ENOMEM. */
FM_MUST_USE fm_status fm_output_file_begin(const fm_output_folder *folder, const char *name,
                                           fm_output_file *ret, fm_error *err);
FM_MUST_USE fm_status fm_output_file_write(fm_output_file *file, const void *data, size_t length,
                                           fm_error *err);
/* Closes it in any case, and on FM_OK has it on the disk: status is what came of writing. */
FM_MUST_USE fm_status fm_output_file_end(fm_output_file *file, fm_status status, fm_error *err);

#endif
