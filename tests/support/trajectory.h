/* Runs one fm_solve against a velocity given as a function, and watches what it asks for. */
#ifndef TESTS_TRAJECTORY_H
#define TESTS_TRAJECTORY_H

#include "engine/solve/solve.h"

#define TRAJECTORY_MAX_OUTPUTS 4096

/* v [dimension] = dx/dt at (t, x [dimension]). */
typedef void (*velocity_function)(void *context, double t, const double *x, double *v);

typedef struct trajectory {
    fm_solve_report report;  /* x points to `end` */
    double *end;             /* [dimension] */
    double earliest, latest; /* times evaluated */
    size_t n_outputs;
    double output_times[TRAJECTORY_MAX_OUTPUTS];
    double *outputs; /* [n_outputs][dimension] */
    size_t dimension;
} trajectory;

/* Sets plan->output; the rest of the plan is the caller's. Fails the test where the plan is refused or
 * outputs come out of order. Release with trajectory_done(). */
void trajectory_run(trajectory *ret, fm_solve_plan *plan, velocity_function velocity, void *context,
                    const double *x0);
void trajectory_done(trajectory *run);

/* The largest difference of two states. */
double trajectory_distance(size_t dimension, const double *a, const double *b);

/* Methods that know Euclidean space; they are the first of the table. */
int trajectory_method_count(void);

/* A usual plan: the i-th method on a coarse grid from 0 to 1 or back, in two dimensions, with tolerances
 * of 1e-6 and no outputs; where to start it; and six times to ask for with both ends, of which 0.45 is on
 * the grid. */
/* condot, for methods that know the path. */
const fm_path *trajectory_path(void);
/* For methods that solve an inverse problem; other plans ignore it. */
const fm_inverse *trajectory_inverse(void);
extern const double trajectory_start[2];
extern const double trajectory_times[6]; /* forward */
fm_solve_plan trajectory_plan(int i, bool backward);
void trajectory_ask_times(fm_solve_plan *plan, bool backward);
/* Whether the method is one of those that know the path, and whether it is not made for such a grid. */
bool trajectory_knows_path(const fm_solve_plan *plan);
bool trajectory_is_refused(const fm_solve_plan *plan);
const fm_method_info *trajectory_method(const fm_solve_plan *plan);

/* Velocity fields. The context of the last two is not used. */

/* The marginal velocity of the three-mode Gaussian mixture in two dimensions of
 * tests/golden/gaussian-mixture-2d, conditional-OT path. */
void velocity_mixture(void *context, double t, const double *x, double *v);
/* N(0, 1) to N(m, s^2) in one dimension; context: double [2], m and s. */
void velocity_gaussian(void *context, double t, const double *x, double *v);
/* The equation in three dimensions of tests/golden/solvers. */
void velocity_reference(void *context, double t, const double *x, double *v);

#endif
