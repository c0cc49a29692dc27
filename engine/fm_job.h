/* Jobs, the unit of submission: what is asked, what it costs, and what came of it. */
#ifndef FM_FM_JOB_H
#define FM_FM_JOB_H

#include "engine/annotate.h"
#include "engine/fm_density.h"
#include "engine/fm_guidance.h"
#include "engine/fm_inverse.h"
#include "engine/fm_model.h"
#include "engine/fm_path.h"
#include "engine/fm_solver.h"
#include "engine/fm_state.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fm_job fm_job;

/* ---- What is asked ---- */

typedef enum fm_task {
    FM_TASK_SAMPLE,   /* integrate n rows along the solver's grid */
    FM_TASK_VELOCITY, /* evaluate fields at n given points and times */
    FM_TASK_BOUND,    /* of tokens: a lower bound of the log likelihood of n given points */
} fm_task;

/* The pointers in a spec are borrowed: they stay valid and unchanged until the job is freed. */
typedef struct fm_job_spec {
    fm_task task;
    fm_model *model;       /* the job takes a reference of its own */
    size_t n_rows;         /* >= 1 */
    uint64_t seed;         /* of drawn noise: row i depends on (seed, i) alone */
    const int32_t *labels; /* [n_rows], or NULL: the null label where there is one */
    /* The job takes references of its models, which are of the same engine. */
    fm_guidance guidance;
    /* [n_rows][dimension]: x0, or the points of FM_TASK_VELOCITY; NULL: noise or, for methods that need an inverse, the
     * least state that has the observation */
    const double *x;
    const double *t; /* [n_rows] FM_TASK_VELOCITY: the times */
    /* FM_TASK_SAMPLE of tokens: [n_rows][dimension], 1 where x has a token that never changes, 0 where it is drawn from
     * the source, or NULL: x is the start. */
    const unsigned char *given;
    size_t bound_draws; /* FM_TASK_BOUND: times at which a point is looked at, >= 2 */
    /* What is observed of the samples, or NULL; it may only guide FM_TASK_VELOCITY. */
    const fm_inverse *inverse;
    /* x is data: a row starts at alpha x + sigma eps of the grid's first time, which is on the path, eps the row's own
     * source noise. */
    bool adds_noise;
    /* FM_FIELD_BITs: of FM_TASK_VELOCITY's points, or of the outputs on the way, where all but x cost an evaluation
     * for each output. */
    unsigned fields;
    /* FM_TASK_SAMPLE: that the flow follows, of the model's source; NULL: the model's. */
    const fm_path *path;
    fm_solver solver; /* FM_TASK_SAMPLE */
    /* 0, or: x are images of 256 levels, [n_rows / draws][dimension]; each is taken so many times, row i the point
     * i / draws, with its levels made continuous by uniform noise (dequantisation). */
    size_t draws;
    fm_divergence divergence; /* of log_likelihood and of the fields that need it */
    /* FM_TASK_SAMPLE: of the state at the grid's later end, the earlier one's being that of the source:
     * d log p / dt = -divergence along the trajectory. FM_TASK_BOUND always has one. */
    bool log_likelihood;
    const double *output_times; /* [n_output_times] along the grid's direction, or NULL */
    size_t n_output_times;
    bool measures_path;     /* FM_TASK_SAMPLE: fm_row_result.shape is filled */
    bool output_every_step; /* the first state and the end of every accepted step */
    /* With output_every_step: bytes that all rows' recordings may take; 0: no bound. */
    size_t max_recording_bytes;
    /* Called once on the worker that finished the last row (or on the thread that cancelled a job
     * with none in flight), before the job is handed to fm_engine_collect(). May be NULL. Must not
     * call the engine. */
    void (*finished)(void *context, const fm_job *job);
    void *context;
} fm_job_spec;

/* ---- What came of it ---- */

/* With output_every_step of an adaptive method a row's recording has room for so many states at first,
 * and doubles when it is full. */
#define FM_RECORDING_STATES ((size_t)32)

/* One row's result; arrays live as long as the job. */
typedef struct fm_row_result {
    fm_row_status status;
    double t; /* time reached */
    uint64_t evaluations, accepted, rejected;
    const float *x;                 /* [dimension] last finite state; NULL of other tasks */
    const double *trajectory_times; /* [n_trajectory] with output_every_step, else NULL */
    size_t n_trajectory;            /* = n_output_times, unless every step or unfinished */
    /* Those asked for, else NULL: [n_trajectory][dimension], of FM_TASK_VELOCITY [dimension]. */
    const float *fields[FM_N_VECTOR_FIELDS];
    /* Of FM_TASK_VELOCITY one number, else [n_trajectory]; NULL where not asked for. What is not known, as in a
     * trajectory whose status is not FM_ROW_OK, is NAN. */
    const double *log_density, *divergence;
    double log_likelihood; /* in nats, with spec.log_likelihood, else NAN */
    /* Of it, from the spread of the probes; NAN of fewer than two, and of exact ones. */
    double standard_error;
    fm_path_shape shape; /* with measures_path, else 0 */
} fm_row_result;

typedef struct fm_job_stats {
    double queue_seconds;   /* from submission to the first evaluation */
    double compute_seconds; /* from there to the end */
    uint64_t evaluations;   /* all rows together */
} fm_job_stats;

void *fm_job_context(const fm_job *job);
/* FM_OK; FM_ECANCELED; FM_ENOMEM when recording every step ran out of memory, FM_ETOOBIG when it went
 * beyond max_recording_bytes. */
fm_status fm_job_status(const fm_job *job);
size_t fm_job_n_rows(const fm_job *job);
void fm_job_row(const fm_job *job, size_t row, fm_row_result *ret); /* of a finished job */
fm_job_stats fm_job_statistics(const fm_job *job);
/* Evaluations done so far, for progress; approximate while running. Thread: any. */
uint64_t fm_job_evaluations_done(const fm_job *job);
void fm_job_free(fm_job *job); /* a collected job; takes NULL */

/* ---- What it costs ---- */

/* Bytes that fm_engine_submit() would allocate for this job; SIZE_MAX when that overflows. */
size_t fm_job_size_bytes(const fm_job_spec *spec);

/* Velocity evaluations that one row of this job will need: exact for fixed grids, a guess for
 * adaptive methods. Guided rows count once, as everywhere. */
double fm_job_expected_evaluations(const fm_job_spec *spec);
/* Network rows that one velocity of every row takes together: two of a row that is guided away from the
 * null class, one of any other. */
size_t fm_job_network_rows(const fm_job_spec *spec);

/* What a job costs on an otherwise idle engine, by what was measured when its model was loaded. */
typedef struct fm_job_estimate {
    double evaluations;  /* of all rows; a guess as fm_job_expected_evaluations() is */
    double work_seconds; /* network time over all workers: what it takes from others */
    /* Until its end: more than the work where few rows cannot fill the workers, for the evaluations of a trajectory
     * follow each other. */
    double seconds;
} fm_job_estimate;

/* workers: >= 1. */
fm_job_estimate fm_job_estimate_of(const fm_job_spec *spec, size_t workers);

#endif
