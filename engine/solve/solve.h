/* Solvers as reverse communication: a solver never calls a network, so it never blocks.
 *
 *     fm_solve_init(solve, …);
 *     while (fm_solve_next(solve, &want)) {   // where is a velocity wanted?
 *         … write the velocity at (want.t, want.x) to want.v …
 *         fm_solve_give(solve);               // advance, or find out that a step is rejected
 *     }
 *
 * One fm_solve is one trajectory: its own time, step, error control, outputs and status. Everything is
 * float64. The memory is the caller's, of fm_solve_size_bytes(), and nothing is allocated after
 * fm_solve_init(). A method is a row of method.def; the Runge-Kutta methods are tableaux there, run by
 * fixed.c or adaptive.c.
 *
 * Outputs leave through the fm_solve_output callback, in order: first those at the first time (x0),
 * then, as steps are accepted, all up to where the trajectory is. A time that equals the end of a step
 * up to rounding gets that state exactly; so the output at the last time is the final state. Between
 * the ends of a step
 *   fixed grids      cubic Hermite interpolation of states and slopes; an output inside the last step
 *                    costs one more evaluation, for the slope at its end
 *   adaptive_heun    a parabola (order 2)         bosh3   cubic Hermite (order 3)
 *   dopri5, tsit5    their own quartics (order 4), up to some twenty times the error of the step ends
 *   dopri8           order 7, an error of O(h^8) in one step, as the states have after many; it takes
 *                    four more evaluations in every step that holds outputs
 * Outputs never change the steps, nor the final state. Their evaluations count, and a trajectory that
 * ends early gives no outputs beyond the time it reached.
 *
 * Ends.
 *   FM_ROW_OK               the last time was reached, exactly; it is never passed, by no evaluation
 *                           either: the step before it is shortened (clipped)
 *   FM_ROW_MAX_EVALUATIONS  one more evaluation would have exceeded the budget
 *   FM_ROW_NON_FINITE       a velocity, the state after a fixed step, or x0 was not finite; or an adaptive
 *                           step had to become so small that it no longer moved t, as before a
 *                           singularity. A finite but overflowing trial step is only rejected.
 * In each case t and x are those of the last accepted step. Backward grids (first > last) are integrated
 * with negative steps. */
#ifndef FM_SOLVE_H
#define FM_SOLVE_H

#include "engine/flow/path.h"
#include "engine/fm_inverse.h"
#include "engine/fm_solver.h"
#include "engine/space/space.h"

typedef struct fm_solve fm_solve;

/* One output state.
 *   index  which output time, or the count so far with every_step
 *   x      [dimension] float64, valid during the call only */
typedef void (*fm_solve_output)(void *context, size_t index, double t, const double *x);

/* Step number `step`, from 0, has ended at time t in x [dimension], which may be changed: what it is changed to is what
 * the next step starts from and what outputs at t show. Outputs within steps show the unchanged flow, but that
 * Runge-Kutta methods interpolate between the changed ends. */
typedef void fm_solve_after_step(void *context, size_t step, double t, double *x);

/* Everything that the trajectories of one job share; read-only, outlives them. */
typedef struct fm_solve_plan {
    fm_solver solver; /* as given; grid and method are borrowed */
    size_t dimension;
    /* Of the dimension, the last so many: integrals along the flow, 0 at the start, which are no part of the path
     * that is measured. */
    size_t n_integrals;
    /* Where the states live, without the integrals; NULL or flat: x + u is a step. Outlives the plan. */
    const fm_space *space;
    /* Numbers that the caller writes to want.v; 0: one for each of the dimension. Of tokens there are as many as the
     * space has outputs: logits, and the slopes of parts that are none. */
    size_t n_velocity;
    /* [rows][dimension] by sample: tokens that never change, 1, and others; what it says of numbers that are no tokens
     * is not read. NULL: none. Outlives the plan. */
    const unsigned char *given;
    const fm_path *path; /* that the flow follows, for methods that know it; outlives the plan */
    uint64_t seed;       /* of stochastic methods' noise */
    /* The caller writes scores, for methods that use them; else the velocity tells them. */
    bool gives_score;
    const double *output_times; /* [n_output_times] along the grid, within its span */
    size_t n_output_times;
    bool output_every_step;
    bool measures_path;              /* fm_solve_report.shape is filled */
    fm_solve_output output;          /* called when either of the above asks for it */
    fm_solve_after_step *after_step; /* or NULL; fm_method_takes_replacement() */
    const fm_inverse *inverse;       /* for methods that solve one; observations by sample */
} fm_solve_plan;

/* Tokens. A state has each as a whole number of its part's vocabulary, and want.v takes, part after part as the space
 * has them, of tokens copies times vocabulary logits, whose softmax is the posterior of x1, and of other points slopes,
 * tangent to the space at want.x, as many as they have numbers: plan.n_velocity = plan.space->velocities in all. The
 * methods for them (markov.c) move other points along geodesics, by Euler's method, in the same steps. Outputs between
 * the ends of steps have tokens as they were at the step's start, and other points on the geodesic between both ends. A
 * grid that ends at t = 1 ends without masks; one that ends before does not. */

/* Jumps. Of a space with bins want.v takes, for methods with jumps (superposition.c), velocities, intensities and logits as
 * fm_space has them: plan.n_velocity = plan.space->velocities; for the others the velocities alone, n_velocity = 0. */

/* What the solver wants next. x and v stay valid until fm_solve_give(). */
typedef struct fm_solve_want {
    double t;
    const double *x; /* [dimension] where */
    double *v;       /* [plan's n_velocity] the caller writes dx/dt here */
    double *score;   /* [dimension] and the score here; NULL where the plan gives none */
    bool
        integrals; /* the slopes of the plan's integrals are read; else 0 will do, for their weights are 0 */
} fm_solve_want;

/* Checks the rules of fm_solver (finite, monotone grid, tolerances, counts).
 * Errors: FM_EINVAL, the text names the field. Thread: any. */
FM_MUST_USE fm_status fm_solve_check(const fm_solve_plan *plan, fm_error *err);

/* Memory of one trajectory; SIZE_MAX when it overflows. */
size_t fm_solve_size_bytes(const fm_solve_plan *plan);

/* Starts a trajectory.
 *   memory  fm_solve_size_bytes(), aligned to FM_ALIGNMENT, caller-owned, reusable afterwards
 *   sample  which of the job's, for its noise and its observation
 *   x0      [dimension] the state at grid[0]; copied
 *   context  passed to plan->output and plan->after_step
 * Thread: one at a time per fm_solve. */
fm_solve *fm_solve_init(void *memory, const fm_solve_plan *plan, uint64_t sample, const double *x0,
                        void *context);

/* True: *ret says what is wanted. False: the trajectory has ended. Idempotent until give. */
bool fm_solve_next(fm_solve *solve, fm_solve_want *ret);

/* The velocity wanted has been written to want.v, and the score to want.score; a non-finite one ends the
 * trajectory with FM_ROW_NON_FINITE at the last accepted state. Calls plan->after_step and plan->output. */
void fm_solve_give(fm_solve *solve);

/* The state, time and counts reached so far (FM_ROW_UNFINISHED), or at the end. */
typedef struct fm_solve_report {
    fm_row_status status;
    double t;
    const double *x; /* [dimension] last finite accepted state */
    uint64_t evaluations, accepted, rejected;
    fm_path_shape shape; /* of an ended trajectory whose plan measures it */
} fm_solve_report;

void fm_solve_describe(const fm_solve *solve, fm_solve_report *ret);

/* Evaluations a whole trajectory will take, at most max_evaluations: exact for fixed grids; for adaptive
 * methods a guess, 1 + (rtol + atol)^(-1/order) steps, which is right within a factor of two on trained
 * fields in two dimensions. */
double fm_solve_expected_evaluations(const fm_solve_plan *plan);
/* The share of a step's evaluations that want integrals. */
double fm_solve_integral_share(const fm_solve_plan *plan);

#endif
