/* What samplers share: the estimates of data and noise in a velocity, fresh noise, and the walk along the grid. For
 * engine/solve alone. */
#ifndef FM_SAMPLER_H
#define FM_SAMPLER_H

#include "engine/flow/prediction.h"
#include "engine/solve/method.h"

/* Data and noise (of unit standard deviation) as sums of the state and the velocity at it. */
typedef struct fm_estimates {
    fm_linear x1, noise;
} fm_estimates;

fm_estimates fm_estimates_at(const fm_path_point *at);

/* The step from grid[index] to time s at most grid[index + 1]. */
fm_step fm_step_make(const fm_solve_plan *plan, size_t index, double s);

/* Standard normals number n of this trajectory, [dimension]: each n is drawn once, and is the same whatever else
 * happens. */
void fm_sampler_noise(const fm_solve *solve, uint64_t n, double *ret);

/* out = sum.x x + sum.v v + sum.noise noise; noise is not read where its weight is 0. Of the score see
 * fm_step_add_score(). */
void fm_step_apply(const fm_step_sum *sum, size_t dimension, const double *x, const double *v,
                   const double *noise, double *out);

/* Adds the part of the score of the last look. */
void fm_step_add_score(const fm_step_sum *sum, const fm_solve *solve, double *out);

/* Outputs inside step `index`, whose end is y, on the straight line between its ends: for samplers that look again
 * after the first part of a step's noise. memory: [dimension]. */
void fm_sampler_line(fm_solve *solve, size_t index, const double *y, double *memory);

/* y is the state at the end of step `index`: becomes solve->x, and solve->x becomes *y. Outputs at that time
 * leave. False when the trajectory has ended. */
bool fm_sampler_arrive(fm_solve *solve, size_t index, double **y);

/* Rules that other samplers use: euler_maruyama's, its last step included, and ddim's. */
fm_step_rule fm_rule_euler_maruyama, fm_rule_ddim;

/* weight times the score as a sum of state and velocity, or of the score itself where the plan gives it. */
fm_step_sum fm_score_at(const fm_solve_plan *plan, const fm_path_point *at, double weight);

/* Drift and noise of dx = (v + D s) dt + sqrt(2 D) dW at a time. */
typedef struct fm_drift {
    fm_step_sum sum; /* v + D s */
    double diffusion;
} fm_drift;
fm_drift fm_drift_at(const fm_solve_plan *plan, const fm_path_point *at, double t);

#endif
