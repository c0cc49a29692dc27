/* Jobs and their rows, as the batch sees them.
 *
 * A job of many rows keeps only some in flight: each of its slots holds one trajectory's solver state
 * and takes the next row when that trajectory ends. So memory and cache footprint follow the tile, not
 * the request.
 *
 *           submit            pick                 return, not ended
 *   spec ----------> offered ------> in a call ------------------------> offered
 *                       ^                |   return, ended
 *                       '--- next row ---+-------> slot free; all rows ended: finished
 * Cancelled jobs withdraw what they offer; rows in a call are dropped when they return. */
#ifndef FM_JOB_H
#define FM_JOB_H

#include "engine/batch/lane.h"
#include "engine/flow/field.h"
#include "engine/network/network.h"
#include "engine/solve/elbo.h"
#include "engine/solve/solve.h"

#include <stdatomic.h>

/* What a row's guidance asks of other networks than its own, and keeps; NULL where it does not. */
typedef struct fm_row_asides {
    double *momentum;  /* [predictions][dimension] of the projection */
    double *model_out; /* idem, of the guidance's model */
    double *gradient;  /* [dimension] of log likelihoods, weighted */
    double *state;     /* [dimension] as a classifier is fed it */
    /* Of an observation: g of engine/inverse/likelihood.h and its J^T [dimension], the cotangent and the output that
     * comes with it [predictions][dimension]. */
    double *pull, *pulled, *cotangent, *again;
} fm_row_asides;

/* A slot: one trajectory in flight. Owned by the job while offered, by one worker while in a call. */
struct fm_row {
    fm_job *job;
    size_t index; /* which sample */
    bool started, ended;
    fm_condition condition;
    size_t n_asks;   /* network rows of the wanted velocity, in a call */
    fm_solve *solve; /* FM_TASK_SAMPLE */
    fm_elbo *elbo;   /* FM_TASK_BOUND */
    void *memory;    /* of either */
    /* [dimension and integrals] of FM_TASK_SAMPLE: x0 while starting, then the state whose fields are read */
    double *vector;
    /* [predictions][dimension] of the network, where that is not the velocity; else NULL. */
    double *output;
    bool reading; /* the output is wanted for fields, and no velocity */
    /* [fm_divergence_traces()] of the wanted Jacobian, so far; NULL where none is asked for. */
    double *traces;
    size_t n_tangents; /* in them */
    fm_row_asides asides;
    /* [fm_row_space_numbers()] where the states are not in flat space; else NULL. */
    double *ambient;
    double divergence_rest;   /* what the traces lack there; else 0 */
    double *inverse_scratch;  /* of the observation's operator; NULL where nothing is observed */
    double start_log_density; /* of the source at the start; with integrals */
    size_t n_read;            /* outputs whose fields are known */
    fm_solve_want want;
    size_t n_recorded; /* output times passed */
    bool overflowed;   /* a finite state beyond float32 was clamped on its way to the results */
};

/* Every accepted step of a row. On a fixed grid it has its place in the job's block, else it grows. */
typedef struct fm_recording {
    float *x;      /* [capacity][dimension] */
    double *times; /* [capacity] */
    size_t count, capacity;
    /* [fields read][count][dimension], allocated when the row has ended; else NULL. */
    float *fields;
    double *integrals;   /* [capacity], grown with x where log densities are asked for; else NULL */
    double *divergences; /* [count], allocated when the row has ended; else NULL */
} fm_recording;

/* What is kept of an ended row. */
typedef struct fm_row_record {
    fm_row_status status;
    double t;
    uint64_t evaluations, accepted, rejected;
    fm_path_shape shape;
} fm_row_record;

struct fm_job {
    fm_job_spec spec;
    fm_solve_plan plan; /* of FM_TASK_SAMPLE */
    fm_elbo_plan bound; /* of FM_TASK_BOUND */
    size_t dimension;
    size_t n_outputs; /* of every row, known beforehand; 0: recordings grow, or none */
    unsigned size_class;
    size_t row_cost; /* network rows or, if they are more, tangents that a row takes in a call */
    size_t n_integrals, n_tangents, tangents_a_call; /* of a row; 0: none */
    bool asks_beside; /* its rows may have something for fm_row_aside() */

    /* results, each row's written by the one worker that has it */
    fm_row_record *records;   /* [n_rows] */
    float *x;                 /* [n_rows][dimension], FM_TASK_SAMPLE */
    float *trajectory;        /* [n_rows][n_output_times][dimension] */
    fm_recording *recordings; /* [n_rows], every step */
    bool recordings_grow;     /* each is an allocation of its own */
    /* [n_rows][n_outputs][dimension] of each field asked for but x; NULL where recordings grow */
    float *fields[FM_N_VECTOR_FIELDS];
    double *log_density; /* [n_rows][n_outputs] where asked for and known beforehand; else NULL */
    double *divergence;  /* idem */
    double *log_likelihood, *standard_error; /* [n_rows]; NULL where not asked for */

    /* guarded by the engine's mutex */
    fm_row *slots;    /* [n_slots] */
    fm_row **waiting; /* [n_slots] stack of slots on offer */
    size_t n_slots, n_waiting;
    size_t next_row; /* first row without a slot */
    size_t n_ended, n_in_call;
    bool finished;
    fm_status status;
    fm_job *previous, *next; /* in its class while it offers rows */
    fm_job *next_finished;
    double submitted_seconds, first_call_seconds, ended_seconds;

    atomic_ullong evaluations;
    atomic_size_t recording_bytes; /* that all rows' recordings have room for */
    atomic_int recording_status;   /* fm_status: why recording every step cannot go on, or FM_OK */
    void *block;                   /* one allocation behind all arrays */
};

/* The rules of a spec.
 * Errors: FM_EINVAL one is broken. */
FM_MUST_USE fm_status fm_job_check(const fm_job_spec *spec, fm_error *err);
/* Allocates a job and its arrays, takes a reference to the model.
 * Errors: FM_EINVAL a rule is broken; FM_ENOMEM. */
FM_MUST_USE fm_status fm_job_new(const fm_job_spec *spec, fm_job **ret, fm_error *err);

/* ---- one row; the caller owns it for the moment. Thread: the worker that has it. ---- */

/* fm_solve_output of every job (context: the fm_row): keeps a state at an asked time, or of an accepted step. */
void fm_row_keep_output(void *context, size_t index, double t, const double *x);
/* Draws or copies the start and asks for the first velocity. */
void fm_row_start(fm_row *row);
/* Where the network writes its outputs at want.x, [predictions][dimension]. */
double *fm_row_network_output(const fm_row *row);
/* They have been written there and, of a guided row's other network rows, to others [...][predictions][dimension]:
 * they become what the row wants. */
void fm_row_answer(fm_row *row, const double *others);
/* What was wanted is there: advance. Sets `ended`, or the next want. */
void fm_row_give(fm_row *row);

/* ---- row_density.c: divergences and densities ---- */

/* Numbers that a divergence is kept as: one, or one a probe. */
size_t fm_divergence_traces(const fm_divergence *divergence);
/* Whether the divergence is wanted beside the network's output, now. */
bool fm_row_wants_tangents(const fm_row *row);
/* Writes the next tangents of a call, times `scale`; returns their number.
 *   ret  [tangents_a_call][dimension] */
size_t fm_row_tangents(const fm_row *row, double scale, double *ret);
/* Their images have been written: adds them to the traces. True when those are complete.
 *   tangents  as fm_row_tangents() has written them
 *   images    [network rows][n][predictions][dimension]; overwritten */
bool fm_row_add_tangents(fm_row *row, size_t n, const double *tangents, double *images);
/* What the traces say of the divergence: their mean. */
double fm_row_divergence(const fm_row *row);
/* Their part of the wanted velocity: minus the divergence, for each. */
void fm_row_give_integrals(fm_row *row);
/* Of state x at time t, where the path is at its source. */
double fm_row_source_log_density(const fm_row *row, double t, const double *x);
/* The row has ended: its log likelihood, and the log densities of its outputs, or NAN where it has not ended well. */
void fm_row_densities(fm_row *row, const fm_solve_report *report);

/* ---- row_space.c: where the states are not in flat space ---- */

bool fm_job_is_flat(const fm_job_spec *spec);
/* Whether the network's outputs are what a solver wants, as they are: logits alone. */
bool fm_job_is_direct(const fm_job_spec *spec);
/* Of a slot's `ambient`; 0 in flat space. */
size_t fm_row_space_numbers(const fm_job_spec *spec);
/* Draws x0; scale: the path's sigma. */
void fm_row_draw_on_space(const fm_row *row, double scale, double *ret);
/* Those of spec.given take their places in x, noise. */
void fm_row_give_tokens(const fm_row *row, double *x);
/* x, noise, becomes the state on the way to the data where the path has this alpha. */
void fm_row_add_noise_on_space(const fm_row *row, double alpha, const double *data, double *x);
/* x as it leaves: a copy made exact, valid until the next of these calls; x itself in flat space. */
const double *fm_row_exact_state(const fm_row *row, const double *x);
/* fm_row_answer()'s part. */
void fm_row_answer_on_space(fm_row *row, const fm_field_outputs *outputs);
/* The tangent of the network's input along the slope with these coordinates, and <coordinates, those of the velocity's
 * derivative> from the image of that tangent; scratch [dimensions]. */
void fm_row_push(const fm_row *row, const double *coordinates, double *ret);
double fm_row_product_on_space(const fm_row *row, const double *coordinates, const double *image,
                               double *scratch);
/* x, velocity or x1_hat from row->output; [dimension], valid until the next of these calls. */
const double *fm_row_field_on_space(const fm_row *row, fm_field_id id);

/* ---- row_bound.c: FM_TASK_BOUND ---- */

fm_elbo_plan fm_job_bound_plan(const fm_job_spec *spec);
/* Errors: FM_EINVAL. */
FM_MUST_USE fm_status fm_job_check_bound(const fm_job_spec *spec, fm_error *err);
void fm_row_bound_start(fm_row *row);
/* Asks for the next logits, or ends the row. */
void fm_row_bound_advance(fm_row *row);

/* ---- row_asides.c: what guidance needs beside the row's own network ---- */

/* Of one slot. SIZE_MAX when it overflows. */
size_t fm_row_asides_bytes(const fm_job_spec *spec);
/* memory: so many bytes. */
void fm_row_asides_place(fm_row *row, void *memory);
void fm_row_asides_start(fm_row *row);
/* The networks that a velocity may ask beside the row's own. */
typedef enum fm_aside {
    FM_ASIDE_MODEL,       /* guidance.model */
    FM_ASIDE_CLASSIFIER,  /* guidance.classifier */
    FM_ASIDE_OBSERVATION, /* the row's own, backward, for what inverse.guidance_scale weighs */
    FM_N_ASIDES,
} fm_aside;
/* Which model the row asks for the wanted velocity, and what: a row of eval or, where it has a cotangent, of vjp. NULL:
 * none.
 *   own  the first row that its own network has answered */
const fm_model *fm_row_aside(fm_row *row, fm_aside aside, const fm_tile_row *own, fm_tile_row *ret);
/* Those asked have answered: the gradient of log likelihoods, weighted, or NULL. Call once. */
const double *fm_row_weighted_gradient(fm_row *row);
/* Whether the job has a Jacobian's trace to find. */
bool fm_job_needs_tangents(const fm_job_spec *spec);
/* job_guidance_rules.c. Errors: FM_EINVAL a rule of fm_guidance is broken. */
FM_MUST_USE fm_status fm_job_check_guidance(const fm_job_spec *spec, fm_error *err);

/* ---- row_inverse.c: inverse problems ---- */

/* Of a slot's scratch. */
size_t fm_job_inverse_bytes(const fm_job_spec *spec);
/* What is called after each step, or NULL. */
fm_solve_after_step *fm_job_after_step(const fm_job_spec *spec);
/* The rest of the spec has been checked.
 * Errors: FM_EINVAL. */
FM_MUST_USE fm_status fm_job_check_inverse(const fm_job_spec *spec, fm_error *err);
/* ret [dimension]: the least state that has the observation, lambda considered; false, and nothing, where the method
 * starts from noise. */
bool fm_row_start_inverse(fm_row *row, double *ret);
/* fm_solve_after_step of jobs that replace (context: the fm_row). */
void fm_row_after_step(void *context, size_t step, double t, double *x);

/* ---- row_fields.c: the quantities of the flow at a row's outputs ---- */

/* Fields that are read when a network's output is there: all but the log density and, of trajectories, x. */
unsigned fm_job_read_fields(const fm_job_spec *spec);
/* The trajectory has ended: asks for the first output's. False when there are none to read. */
bool fm_row_fields_start(fm_row *row);
/* The network's output is in row->output; false when it was the last one's. */
bool fm_row_fields_give(fm_row *row);
/* Reads the fields of FM_TASK_VELOCITY; whether all are finite. */
bool fm_row_fields_at_point(fm_row *row);

/* ---- row.c, for row_fields.c ---- */

/* Of output k of the row; NULL where not asked for. */
double *fm_row_log_density_at(fm_row *row, size_t k);
double *fm_row_divergence_at(fm_row *row, size_t k);
/* Counts the room that a recording is about to get with that of all rows of the job; false beyond the bound. */
bool fm_row_count_recording(fm_job *job, size_t bytes);
/* What is beyond float32 is clamped, and true is returned: answers hold no infinity. */
bool fm_row_to_float(const double *from, float *to, size_t n);

#endif
