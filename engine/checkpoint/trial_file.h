/* What the first runs of a model on this machine told, in a small JSON file of a cache folder. */
#ifndef FM_TRIAL_FILE_H
#define FM_TRIAL_FILE_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct fm_trial {
    bool bits_independent; /* a row's bits do not depend on the rows beside it */
    size_t tile_rows;      /* rows that a network call should have, >= 1 */
    double row_seconds;    /* of a row in such a call, > 0 */
    double call_seconds;   /* of a call of one row, > 0 */
} fm_trial;

/* True when the file holds a trial by that very build; a file that is missing, broken or another build's
 * is as good as none.
 *   most_rows  tile_rows is at most that, or the file is broken
 * Thread: any. */
FM_MUST_USE bool fm_trial_file_read(const char *path, const char *build, size_t most_rows,
                                    fm_trial *ret);
/* Writes the file, whole or not at all; what prevents it costs the next start some time, and no more.
 * Thread: any. */
void fm_trial_file_write(const char *path, const char *build, const fm_trial *trial);

#endif
