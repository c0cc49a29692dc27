/* The in-flight batch as its workers see it. */
#ifndef FM_ENGINE_H
#define FM_ENGINE_H

#include "engine/batch/job.h"
#include "engine/batch/team.h"
#include "engine/fm_engine.h"
#include "engine/thread.h"

#include <pthread.h>

typedef struct fm_worker {
    fm_engine *engine;
    size_t index;
    pthread_t thread;
    fm_call_team team; /* of the call that it leads */
    /* Guarded by the engine's mutex: */
    const fm_model *team_model; /* while the team is open, else NULL */
    size_t n_helpers;           /* that have not come back yet */
} fm_worker;

/* Lock order: there is one lock. It is never held while a row advances, a network is evaluated or a
 * callback runs. */
struct fm_engine {
    fm_engine_options options;
    fm_mutex mutex;
    pthread_cond_t work;     /* rows were offered, or stopping */
    pthread_cond_t finished; /* a job was finished */
    fm_lane_list lanes FM_GUARDED_BY(&mutex);
    fm_job *first_finished FM_GUARDED_BY(&mutex);
    fm_job *last_finished FM_GUARDED_BY(&mutex);
    size_t n_jobs FM_GUARDED_BY(&mutex); /* submitted and not collected */
    size_t n_idle FM_GUARDED_BY(&mutex);
    atomic_size_t n_offered; /* rows on offer, for helpers, who look without the lock */
    bool stopping FM_GUARDED_BY(&mutex);
    fm_engine_stats stats FM_GUARDED_BY(&mutex);
    fm_worker *workers; /* [options.workers] */
    size_t n_started;
};

/* A worker thread's life; context is its fm_worker. */
void *fm_worker_run(void *context);

/* By how much the numbers of a model's trajectories change; less is a number that wraps. */
typedef struct fm_row_changes {
    uint64_t in_flight, waiting, finished, non_finite, cancelled;
} fm_row_changes;

/* Counts them for the engine and for the model. */
void fm_engine_count_rows(fm_engine *engine, fm_model *model, const fm_row_changes *by)
    FM_REQUIRES(&engine->mutex);

/* Tells helpers how many rows are on offer, after every change. */
void fm_engine_show_offer(fm_engine *engine) FM_REQUIRES(&engine->mutex);

/* Takes what the job offers out of the batch and counts it as cancelled; rows in a call follow when
 * they return. */
void fm_engine_drop(fm_engine *engine, fm_job *job, fm_status status) FM_REQUIRES(&engine->mutex);

/* The job has ended: its callback runs, then it can be collected. Call unlocked, once per job. */
void fm_engine_finish(fm_engine *engine, fm_job *job) FM_EXCLUDES(&engine->mutex);

#endif
