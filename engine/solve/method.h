/* What a method is made of, inside engine/solve: the row, the stepper behind it, the trajectory.
 *
 * DESIGN. fm_solve is the part that all methods share: what is wanted, where the trajectory is, its
 * counts and its outputs. A stepper is a state machine of its own struct in the same memory. It is
 * driven by solve.c:
 *   start     at the first time: it must set `want`
 *   advance   the velocity asked for is in want.v, is finite and has been counted: it must set `want`
 *             anew or end the trajectory
 * Invariants: (1) x is the last accepted state, finite, and t its time. (2) want.t lies within the
 * span. (3) Outputs leave in order; next_output is the first not yet given. */
#ifndef FM_METHOD_H
#define FM_METHOD_H

#include "engine/solve/solve.h"
#include "engine/solve/tableau.h"

/* A step of a sampler, from t to s along the path. */
typedef struct fm_step {
    double t, s;
    fm_path_point from, to;
    const fm_path *path;
    bool last; /* of the grid */
} fm_step;

/* What the state at s is made of: x + velocity at (t, x) + score there, where the plan gives it, + fresh noise. */
typedef struct fm_step_sum {
    double x, v, score, noise;
} fm_step_sum;

typedef fm_step_sum fm_step_rule(const fm_solve_plan *plan, const fm_step *step);

typedef struct fm_stepper {
    size_t (*own_bytes)(void);                    /* of the stepper's struct */
    size_t (*vectors)(const fm_solve_plan *plan); /* [dimension] buffers it takes, x not counted */
    size_t (*numbers)(const fm_solve_plan *plan); /* and so many more, side by side; NULL: none */
    /* vectors: that many, solve->stride apart; behind them the numbers */
    void (*start)(fm_solve *solve, double *vectors);
    void (*advance)(fm_solve *solve);
    double (*expected)(const fm_solve_plan *plan); /* evaluations, max_evaluations aside */
    /* Its own rules, after all others; NULL: none. Errors: FM_EINVAL, the text names the field. */
    fm_status (*check)(const fm_solve_plan *plan, fm_error *err);
    fm_step_rule *rule; /* of samplers with one evaluation a step, else NULL */
    const struct fm_implicit_tableau *implicit; /* of implicit methods, else NULL */
    const char *options;                        /* words of fm_method_options(), or NULL: none */
    bool needs_path; /* the plan must have one, and the grid lie within [0, 1] */
    bool ascends;    /* the grid must */
    bool uses_score; /* where the plan gives it */
    bool forgets;    /* of a step it keeps the end alone, a state of the flow: it may be changed */
    bool needs_inverse; /* the plan must have one; the state is none of the flow */
} fm_stepper;

extern const fm_stepper fm_stepper_fixed, fm_stepper_adaptive, fm_stepper_explicit_adams,
    fm_stepper_implicit_adams, fm_stepper_implicit_euler, fm_stepper_implicit_midpoint,
    fm_stepper_trapezoid, fm_stepper_sdirk2, fm_stepper_trbdf2, fm_stepper_radau3,
    fm_stepper_radau5, fm_stepper_gauss4, fm_stepper_gauss6, fm_stepper_ddim, fm_stepper_ddpm,
    fm_stepper_noise_refresh, fm_stepper_overshoot, fm_stepper_euler_maruyama,
    fm_stepper_stochastic_heun, fm_stepper_edm_heun, fm_stepper_predictor_corrector,
    fm_stepper_dpmpp_2m, fm_stepper_dpmpp_3m, fm_stepper_dpmpp_2s, fm_stepper_unipc,
    fm_stepper_pnp_flow, fm_stepper_ctmc_euler, fm_stepper_ctmc_exact, fm_stepper_ctmc_tau_leaping,
    fm_stepper_superposition;

struct fm_method {
    fm_method_info info;
    const fm_tableau *tableau;
    const fm_stepper *stepper;
};

struct fm_solve {
    const fm_solve_plan *plan;
    const fm_method *method;
    void *own;       /* the stepper's struct */
    void *context;   /* of the plan's callbacks */
    uint64_t sample; /* of its noise */
    fm_solve_want want;
    double t, last;
    double *x;     /* [dimension] */
    double *score; /* [dimension] of the last look, or NULL: the plan gives none */
    size_t dimension, stride;
    uint64_t evaluations, accepted, rejected;
    size_t next_output;
    struct fm_measure *measure; /* NULL: the plan does not ask for it */
    double slack;               /* fm_solve_slack() */
    fm_row_status status;
    bool ended;
};

static inline void fm_solve_end(fm_solve *solve, fm_row_status status)
{
    solve->status = status;
    solve->ended = true;
}

static inline void fm_solve_want_at(fm_solve *solve, double t, const double *x, double *v)
{
    bool integrals = solve->plan->n_integrals > 0;
    solve->want =
        (fm_solve_want){.t = t, .x = x, .v = v, .score = solve->score, .integrals = integrals};
}

/* The same for row i of the method's tableau. Nothing that is integrated depends on the integrals, so that those of a
 * slope without weight in what leaves the step are not wanted. */
static inline void fm_solve_want_row(fm_solve *solve, size_t i, double t, const double *x,
                                     double *v)
{
    const fm_solve_plan *plan = solve->plan;
    fm_solve_want_at(solve, t, x, v);
    solve->want.integrals =
        plan->n_integrals > 0 &&
        fm_tableau_integrates(solve->method->tableau, i, plan->n_output_times > 0);
}

/* Step `index` is about to end at time t in x [dimension]: changes it as the plan says. Whether it is finite, before and
 * after. */
bool fm_solve_accepts(fm_solve *solve, size_t index, double t, double *x);

/* Numbers of want.v. */
size_t fm_solve_velocities(const fm_solve_plan *plan);

/* Times of a trajectory closer than this differ by rounding only and count as equal. */
double fm_solve_slack(const fm_solve_plan *plan);

/* ---- measure.c ---- */

/* How the trajectory runs, while it runs. */
typedef struct fm_measure {
    bool has_slope;
    double t, square; /* of the last slope: its time and squared norm */
    double energy, turning;
    double first_t;
    double *start, *slope; /* [dimension] the first state, the last slope */
} fm_measure;

/* vectors: two, solve->stride apart. */
void fm_measure_start(fm_solve *solve, double *vectors);
/* The velocity v has been found at the state that the trajectory is at. */
void fm_measure_slope(fm_solve *solve, const double *v);
/* A Runge-Kutta step of size h with these weights and slopes has been accepted; nothing where nothing is measured. */
void fm_measure_stages(fm_solve *solve, double h, size_t n, const double *weights,
                       double *const *slopes);
fm_path_shape fm_measure_end(const fm_solve *solve);

/* ---- output.c ---- */

/* Gives the outputs due at the end of a step (or at the start of the trajectory). */
void fm_output_at(fm_solve *solve, double t, const double *x);
/* The next output time, if it lies in the open interval from where outputs stand to `end`. */
bool fm_output_before(const fm_solve *solve, double end, double *ret_t);
/* Gives the output that fm_output_before() announced. */
void fm_output_give(fm_solve *solve, double t, const double *x);

#endif
