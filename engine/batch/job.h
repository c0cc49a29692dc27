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
#include "engine/solve/solve.h"

#include <stdatomic.h>

/* A slot: one trajectory in flight. Owned by the job while offered, by one worker while in a call. */
struct fm_row {
    fm_job *job;
    size_t index; /* which sample */
    bool started, ended;
    fm_condition condition;
    fm_solve *solve; /* FM_TASK_SAMPLE */
    void *memory;    /* of the solver */
    double *
        vector; /* [dimension] of FM_TASK_SAMPLE: x0 while starting, then the state whose fields are read */
    double *
        output; /* [predictions][dimension] of the network, where that is not the velocity; else NULL */
    bool reading;  /* the output is wanted for fields, and no velocity */
    size_t n_read; /* outputs whose fields are known */
    fm_solve_want want;
    size_t n_recorded; /* output times passed */
    bool overflowed;   /* a finite state beyond float32 was clamped on its way to the results */
};

/* Every accepted step of a row. On a fixed grid it has its place in the job's block, else it grows. */
typedef struct fm_recording {
    float *x;      /* [capacity][dimension] */
    double *times; /* [capacity] */
    size_t count, capacity;
    float
        *fields; /* [fields read][count][dimension], allocated when the row has ended; else NULL */
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
    size_t dimension;
    size_t n_outputs; /* of every row, known beforehand; 0: recordings grow, or none */
    unsigned size_class;
    bool guided; /* velocities of some rows take two network rows */

    /* results, each row's written by the one worker that has it */
    fm_row_record *records;   /* [n_rows] */
    float *x;                 /* [n_rows][dimension], FM_TASK_SAMPLE */
    float *trajectory;        /* [n_rows][n_output_times][dimension] */
    fm_recording *recordings; /* [n_rows], every step */
    bool recordings_grow;     /* each is an allocation of its own */
    /* [n_rows][n_outputs][dimension] of each field asked for but x; NULL where recordings grow */
    float *fields[FM_N_VECTOR_FIELDS];
    double *log_density; /* [n_rows], FM_TASK_VELOCITY that asks for it; else NULL */

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
/* They have been written there and, of a guided row, to other: they become what the row wants. */
void fm_row_answer(fm_row *row, const double *other);
/* What was wanted is there: advance. Sets `ended`, or the next want. */
void fm_row_give(fm_row *row);

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

/* Counts the room that a recording is about to get with that of all rows of the job; false beyond the bound. */
bool fm_row_count_recording(fm_job *job, size_t bytes);
/* What is beyond float32 is clamped, and true is returned: answers hold no infinity. */
bool fm_row_to_float(const double *from, float *to, size_t n);

#endif
