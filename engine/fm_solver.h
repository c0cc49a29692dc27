/* Solvers: methods, rows of engine/solve/method.def, their options, grids, and what comes of a trajectory. */
#ifndef FM_FM_SOLVER_H
#define FM_FM_SOLVER_H

#include "engine/annotate.h"
#include "engine/fm_path.h"
#include "engine/fm_space.h"
#include "engine/status.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fm_method fm_method;

typedef struct fm_method_info {
    const char *name;            /* "dopri5" */
    const char *title;           /* "Dormand and Prince 5(4)" */
    unsigned order;              /* declared order of convergence */
    double evaluations_per_step; /* of an accepted step, first-same-as-last counted once */
    bool adaptive, stochastic;
    const char *spaces; /* words: "euclidean manifolds" */
} fm_method_info;

size_t fm_method_count(void);
const fm_method *fm_method_at(size_t index);
const fm_method *fm_method_find(const char *name); /* NULL when there is none */
const fm_method_info *fm_method_describe(const fm_method *method);
/* Whether its steps are made for states there; NULL: Euclidean. */
bool fm_method_serves(const fm_method *method, const fm_space *space);
/* Whether it is for states that jump, and is handed all that the network says of them. */
bool fm_method_jumps(const fm_method *method);
/* Words: the members of fm_sampling that it reads, by the names that requests have for them; "": none. */
const char *fm_method_options(const fm_method *method);
/* Whether its grid must lie within [0, 1], where paths are. */
bool fm_method_needs_path(const fm_method *method);
/* Whether it can take the score from the network; other stochastic methods need noise and data to be independent. */
bool fm_method_uses_score(const fm_method *method);
/* Whether it solves inverse problems and nothing else: its job must have one. */
bool fm_method_needs_inverse(const fm_method *method);
/* Whether the state may be replaced after each of its steps: of a step it keeps its end alone, a state of the flow. */
bool fm_method_takes_replacement(const fm_method *method);
/* Whether the guidance's momentum can be of the method: a fixed one that evaluates each step once. */
bool fm_method_takes_momentum(const fm_method *method);
/* Whether densities may be integrated with the method: it must know nothing of the path, and draw no noise. */
bool fm_method_takes_density(const fm_method *method);

/* ---- Stochastic methods: rows of engine/solve/diffusion.def ---- */

/* D(t) >= 0 of dx = (v + D s) dt + sqrt(2 D) dW, s the score: the marginals are those of the flow for any. */
typedef enum fm_diffusion_form {
#define FM_DIFFUSION(ID, name) FM_DIFFUSION_##ID,
#include "engine/solve/diffusion.def"
#undef FM_DIFFUSION
    FM_N_DIFFUSIONS,
} fm_diffusion_form;

/* FM_N_DIFFUSIONS when there is none. */
fm_diffusion_form fm_diffusion_find(const char *name);
const char *fm_diffusion_name(fm_diffusion_form form);

typedef struct fm_diffusion {
    fm_diffusion_form form;
    double norm; /* >= 0; all but the table are in proportion to it */
    /* [n] FM_DIFFUSION_TABLE: t strictly ascending, values >= 0; linear between, constant beyond; borrowed */
    const double *t, *values;
    size_t n;
} fm_diffusion;

/* Whether D is finite at time t of the path. */
bool fm_diffusion_has_value(const fm_diffusion *diffusion, const fm_path *path, double t);

/* How the grid's last step is made, where noise would stay in the samples. */
typedef enum fm_last_step {
    FM_LAST_STEP_MEAN,    /* without its noise */
    FM_LAST_STEP_TWEEDIE, /* the data prediction */
    FM_LAST_STEP_EULER,   /* by the velocity alone */
    FM_LAST_STEP_NOISE,   /* as every other */
    FM_N_LAST_STEPS,
} fm_last_step;

fm_last_step fm_last_step_find(const char *name); /* FM_N_LAST_STEPS when there is none */
const char *fm_last_step_name(fm_last_step last_step);

/* Of tokens: how often they jump to and fro beyond what the flow asks for; c(t) = scale t^power (1 - t)^end_power. */
typedef struct fm_corrector {
    double scale, power, end_power; /* >= 0; scale 0: not at all */
} fm_corrector;

/* What some methods are told beside the grid; fm_method_options() names what a method reads. */
typedef struct fm_sampling {
    fm_diffusion diffusion;
    fm_last_step last_step;
    double eta;       /* 0 … 1: how much of the ancestral noise */
    double refresh;   /* 0 … 1: the share of the noise that is drawn anew at each step */
    double overshoot; /* >= 0: how far beyond a step's end it is made, in parts of its length */
    double churn;     /* >= 0: noise added over all steps, in parts of the noise level */
    double churn_range[2]; /* of noise levels sigma / alpha at which it is added */
    double noise_scale;    /* > 0: standard deviation of churn's noise, in parts of the right one */
    double signal_to_noise;   /* > 0: of Langevin's corrector */
    unsigned corrector_steps; /* of Langevin's corrector, after each step */
    double pnp_power;         /* >= 0: a of pnp_flow's step sizes (1 - t)^a */
    unsigned pnp_samples;     /* >= 1: of pnp_flow, draws of noise in a step, an evaluation each */
    double temperature; /* >= 0: of tokens, what logits are divided by; 0: the likeliest alone */
    unsigned top_k;     /* of tokens, so many of the likeliest; 0: all */
    double top_p;       /* (0, 1]: of tokens, the fewest that have this share of the probability */
    fm_corrector corrector;
    double jump_weight;      /* 0 … 1: of jumps in a superposition, whose flow has the rest */
    double diffusion_weight; /* >= 0: of diffusion in it, a factor of D */
} fm_sampling;

#define FM_SAMPLING_DEFAULT                                                                        \
    ((fm_sampling){.diffusion = {.form = FM_DIFFUSION_SIGMA, .norm = 1},                           \
                   .eta = 1,                                                                       \
                   .refresh = 0.5,                                                                 \
                   .overshoot = 1,                                                                 \
                   .churn_range = {0, HUGE_VAL},                                                   \
                   .noise_scale = 1,                                                               \
                   .signal_to_noise = 0.16,                                                        \
                   .corrector_steps = 1,                                                           \
                   .pnp_samples = 5,                                                               \
                   .temperature = 1,                                                               \
                   .top_p = 1,                                                                     \
                   .jump_weight = 0.5})

/* ---- Settings ---- */

/* How a step is made where x + u leaves the space. */
typedef enum fm_step_form {
    FM_STEP_EXPONENTIAL, /* along geodesics */
    FM_STEP_PROJECTION,  /* in the space around, then to the nearest point */
    FM_N_STEP_FORMS,
} fm_step_form;

fm_step_form fm_step_form_find(const char *name); /* FM_N_STEP_FORMS when there is none */
const char *fm_step_form_name(fm_step_form form);

typedef struct fm_solver {
    const fm_method *method;
    /* [n_grid] strictly monotone, >= 2. Fixed-step methods: the ends of every step; adaptive
     * methods: the first and the last are the interval, the rest is ignored. */
    const double *grid;
    size_t n_grid;
    double rtol, atol;        /* adaptive: >= 0, not both 0 */
    fm_step_form step;        /* of spaces that are not flat */
    double first_step;        /* adaptive: 0 chooses one after Hairer, Norsett and Wanner */
    fm_sampling sampling;     /* of methods that have options */
    uint64_t max_evaluations; /* >= 1; reaching it ends a trajectory with FM_ROW_MAX_EVALUATIONS */
} fm_solver;

/* The usual grids; both write n_steps + 1 points whose last is exactly `last`.
 * step_size grids shorten the last step; a step count follows from fm_grid_steps(). */
size_t fm_grid_steps(double first, double last, double step_size);
void fm_grid_uniform(double first, double last, size_t n_steps, double *ret_grid);
void fm_grid_step_size(double first, double last, double step_size, double *ret_grid);

/* ---- Families of grids: rows of engine/solve/schedule.def ---- */

#define FM_SCHEDULE_MAX_PARAMETERS 5

typedef struct fm_schedule_type fm_schedule_type;

typedef struct fm_schedule {
    const fm_schedule_type *type;
    size_t n_steps; /* >= 1 */
    double parameters[FM_SCHEDULE_MAX_PARAMETERS];
} fm_schedule;

const fm_schedule_type *fm_schedule_type_find(const char *name); /* NULL when there is none */
const char *fm_schedule_type_name(const fm_schedule_type *type);
/* Parameter `index` of a type: its name, and its default or NAN where it is required; false past the last. */
bool fm_schedule_type_parameter(const fm_schedule_type *type, size_t index, const char **ret_name,
                                double *ret_default);
/* Writes n_steps + 1 ascending times; the first is `first`, the last `last`.
 *   path  whose noise levels some types list
 * Errors: FM_EINVAL a parameter breaks its rule, or the times do not ascend within the span; the text says it. */
FM_MUST_USE fm_status fm_schedule_make(const fm_schedule *schedule, const fm_path *path,
                                       double first, double last, double *ret_grid, fm_error *err);

/* ---- What comes of a trajectory ---- */

typedef enum fm_row_status {
    FM_ROW_OK,
    FM_ROW_MAX_EVALUATIONS,
    FM_ROW_NON_FINITE,
    FM_ROW_UNFINISHED, /* the job ended first, see fm_job_status() */
} fm_row_status;

const char *fm_row_status_name(fm_row_status status); /* "ok", "max_evaluations", "non_finite" */

/* How a trajectory ran, from the velocities that its steps are made of (engine/solve/measure.c). */
typedef struct fm_path_shape {
    /* int |x1 - x0 - v|^2 dt over a unit of time: int |v|^2 dt - |x1 - x0|^2 / T; 0: straight */
    double straightness;
    double kinetic_energy; /* int |v|^2 dt */
    double curvature;      /* how far the direction turns in all, in radians */
} fm_path_shape;

#endif
