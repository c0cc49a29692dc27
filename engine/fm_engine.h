/* The engine: worker threads that take jobs and hand them back. */
#ifndef FM_FM_ENGINE_H
#define FM_FM_ENGINE_H

#include "engine/annotate.h"
#include "engine/fm_job.h"
#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct fm_engine fm_engine;

typedef struct fm_engine_options {
    size_t workers; /* threads, >= 1 */
    /* Called from any thread when fm_engine_collect() has something; must be async-safe for its
     * receiver (uv_async_send is). May be NULL. */
    void (*wake)(void *context);
    void *wake_context;
} fm_engine_options;

FM_MUST_USE fm_status fm_engine_new(const fm_engine_options *options, fm_engine **ret,
                                    fm_error *err);
/* Cancels what is left, joins the workers, frees the engine. Jobs must have been freed. */
void fm_engine_free(fm_engine *engine);

/* Queues a job; its rows join network calls from the next evaluation on.
 * Errors: FM_EINVAL a rule of fm_job_spec is broken; FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_engine_submit(fm_engine *engine, const fm_job_spec *spec, fm_job **ret,
                                       fm_error *err);

/* Takes the job's rows out: waiting ones at once, those in a network call when it returns. The job
 * is then finished and comes out of fm_engine_collect() as any other. Idempotent. Thread: any. */
void fm_engine_cancel(fm_engine *engine, fm_job *job);

/* The next finished job, or NULL. Thread: any, one at a time. */
fm_job *fm_engine_collect(fm_engine *engine);
/* Waits until a job is finished and returns it; for callers without a loop. */
fm_job *fm_engine_wait(fm_engine *engine);

/* Counters since start. Thread: any. */
typedef struct fm_engine_stats {
    uint64_t tiles;          /* network calls */
    uint64_t tile_rows;      /* network rows evaluated */
    uint64_t tile_capacity;  /* network rows those calls had room for */
    uint64_t evaluations;    /* velocity evaluations handed to solvers */
    uint64_t rows_in_flight; /* trajectories started and not finished, now */
    uint64_t rows_waiting;   /* trajectories not started, now */
    uint64_t rows_finished, rows_non_finite, rows_cancelled;
    double network_seconds; /* inside network calls, all workers */
    double busy_seconds;    /* workers not waiting for work */
} fm_engine_stats;

void fm_engine_statistics(fm_engine *engine, fm_engine_stats *ret);

#endif
