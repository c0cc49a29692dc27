/* What a spec comes to: what is asked of each row, and what that costs. Private to the jobs' files. */
#ifndef FM_JOB_SPEC_H
#define FM_JOB_SPEC_H

#include "engine/fm_job.h"
#include "engine/solve/solve.h"

/* Whether outputs have log densities, and divergences. */
bool fm_job_wants_log_density(const fm_job_spec *spec);
bool fm_job_wants_divergence(const fm_job_spec *spec);
/* Integrals beside a row's state; 0: none. */
size_t fm_job_integrals(const fm_job_spec *spec);
/* Tangents of one Jacobian; 0: none is asked for. */
size_t fm_job_tangents(const fm_job_spec *spec);
/* How the rows of FM_TASK_SAMPLE are integrated. */
fm_solve_plan fm_job_solve_plan(const fm_job_spec *spec);
/* States that a row with output_every_step records, where the grid says so beforehand; else 0, and its
 * recording grows. */
size_t fm_job_grid_states(const fm_job_spec *spec);
/* Outputs of every row where they are known beforehand, of FM_TASK_VELOCITY the point; else 0. */
size_t fm_job_outputs(const fm_job_spec *spec);
/* Network rows of one velocity: of all rows together, and of the one with the most. */
size_t fm_job_count_network_rows(const fm_job_spec *spec, size_t *ret_most);

#endif
