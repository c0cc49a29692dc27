/* Where everything of a job lies in its one block of memory. Private to the jobs' files. */
#ifndef FM_JOB_LAYOUT_H
#define FM_JOB_LAYOUT_H

#include "engine/fm_job.h"
#include "engine/memory.h"

/* Sizes of the pieces of a job's block, in the order that they are taken. */
typedef struct fm_job_layout {
    size_t n_slots;
    size_t solver_bytes; /* of one slot, with its vectors beside it */
    size_t total_bytes;
    bool overflow;
} fm_job_layout;

fm_job_layout fm_job_layout_of(const fm_job_spec *spec);
/* Takes the job's arrays out of an arena whose only piece so far is the job itself; its spec, dimension and
 * n_outputs are set. */
void fm_job_place(fm_job *job, fm_arena *arena, const fm_job_layout *layout);

#endif
