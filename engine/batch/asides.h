/* What rows of a call ask beside their own network's outputs: of a weaker model, of a classifier, or of their own
 * network backward.
 *
 * They are asked in the same call, right after the rows' own network, by the worker that has it: rows of any jobs
 * that ask the same network share its calls, and a row's bits do not depend on it. */
#ifndef FM_ASIDES_H
#define FM_ASIDES_H

#include "engine/batch/job.h"

/* Runs all that the rows ask beside.
 *   rows    [n_rows] of a call; those that have ended ask nothing
 *   tile    the tile rows of the others, n_asks of each one after the other, as they were answered
 *   worker  whose scratches are used
 * Errors: FM_ENOMEM, as of the network's call. Thread: the worker. */
FM_MUST_USE fm_status fm_asides_run(fm_row *const *rows, size_t n_rows, const fm_tile_row *tile,
                                    size_t worker);

#endif
