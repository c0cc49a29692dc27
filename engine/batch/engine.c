/* The engine: workers, submission, cancellation and the list of finished jobs. */
#include "engine/batch/engine.h"

#include "engine/clock.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

fm_role fm_on_worker;

/* Signals belong to the caller's threads: a worker's would interrupt nothing useful. */
static int start_thread(fm_worker *worker)
{
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&worker->thread, NULL, fm_worker_run, worker);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

static void stop_workers(fm_engine *engine)
{
    fm_mutex_lock(&engine->mutex);
    engine->stopping = true;
    (void)pthread_cond_broadcast(&engine->work);
    fm_mutex_unlock(&engine->mutex);
    for (size_t i = 0; i < engine->n_started; i++) {
        (void)pthread_join(engine->workers[i].thread, NULL);
    }
}

static void destroy(fm_engine *engine)
{
    (void)pthread_cond_destroy(&engine->work);
    (void)pthread_cond_destroy(&engine->finished);
    fm_mutex_done(&engine->mutex);
    fm_free(engine->workers);
    fm_free(engine);
}

fm_status fm_engine_new(const fm_engine_options *options, fm_engine **ret, fm_error *err)
{
    assert(options->workers >= 1);
    fm_engine *engine = fm_alloc(sizeof *engine);
    fm_worker *workers = fm_alloc_array(options->workers, sizeof *workers);
    if (engine == NULL || workers == NULL) {
        fm_free(engine);
        fm_free(workers);
        return fm_fail(err, FM_ENOMEM, "no memory for %zu workers", options->workers);
    }
    engine->options = *options;
    engine->workers = workers;
    fm_mutex_init(&engine->mutex);
    (void)pthread_cond_init(&engine->work, NULL);
    (void)pthread_cond_init(&engine->finished, NULL);
    for (size_t i = 0; i < options->workers;
         i++) { /* all before the first starts: it looks at them */
        workers[i] = (fm_worker){.engine = engine, .index = i};
    }
    for (size_t i = 0; i < options->workers; i++) {
        int failed = start_thread(&workers[i]);
        if (failed != 0) {
            stop_workers(engine);
            destroy(engine);
            return fm_fail(err, FM_ENOMEM, "cannot start worker %zu: %s", i, strerror(failed));
        }
        engine->n_started++;
    }
    *ret = engine;
    return FM_OK;
}

void fm_engine_free(fm_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    stop_workers(engine);
    fm_mutex_lock(&engine->mutex);
    assert(engine->n_jobs == 0); /* the caller has collected every job */
    fm_mutex_unlock(&engine->mutex);
    destroy(engine);
}

fm_status fm_engine_submit(fm_engine *engine, const fm_job_spec *spec, fm_job **ret, fm_error *err)
{
    assert(spec->model->workers >= engine->options.workers);
    fm_job *job = NULL;
    fm_status status = fm_job_new(spec, &job, err);
    if (status != FM_OK) {
        return status;
    }
    job->submitted_seconds = fm_clock_seconds();
    *ret = job; /* before the first row can end */
    fm_mutex_lock(&engine->mutex);
    engine->n_jobs++;
    fm_engine_count_rows(
        engine, spec->model,
        &(fm_row_changes){.in_flight = job->n_slots, .waiting = spec->n_rows - job->n_slots});
    fm_lane_offer(&engine->lanes, job, job->n_slots);
    fm_engine_show_offer(engine);
    (void)pthread_cond_signal(&engine->work); /* whoever picks wakes the next if rows are left */
    fm_mutex_unlock(&engine->mutex);
    return FM_OK;
}

static void add(atomic_ullong *counter, uint64_t by)
{
    if (by != 0) {
        (void)atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
    }
}

void fm_engine_count_rows(fm_engine *engine, fm_model *model, const fm_row_changes *by)
{
    fm_engine_stats *stats = &engine->stats;
    stats->rows_in_flight += by->in_flight;
    stats->rows_waiting += by->waiting;
    stats->rows_finished += by->finished;
    stats->rows_non_finite += by->non_finite;
    stats->rows_cancelled += by->cancelled;
    add(&model->in_flight, by->in_flight);
    add(&model->waiting, by->waiting);
    add(&model->finished, by->finished);
    add(&model->non_finite, by->non_finite);
    add(&model->cancelled, by->cancelled);
}

void fm_engine_show_offer(fm_engine *engine)
{
    atomic_store_explicit(&engine->n_offered, engine->lanes.n_offered, memory_order_relaxed);
}

void fm_engine_drop(fm_engine *engine, fm_job *job, fm_status status)
{
    size_t unstarted = job->spec.n_rows - job->next_row;
    job->status = status;
    fm_engine_count_rows(engine, job->spec.model,
                         &(fm_row_changes){.waiting = -unstarted,
                                           .in_flight = -job->n_waiting,
                                           .cancelled = unstarted + job->n_waiting});
    job->next_row = job->spec.n_rows;
    fm_lane_withdraw(&engine->lanes, job);
    fm_engine_show_offer(engine);
}

void fm_engine_cancel(fm_engine *engine, fm_job *job)
{
    bool ended = false;
    fm_mutex_lock(&engine->mutex);
    bool running = job->status == FM_OK && job->n_ended < job->spec.n_rows;
    if (running) {
        fm_engine_drop(engine, job, FM_ECANCELED);
        ended = job->n_in_call == 0;
        job->ended_seconds = ended ? fm_clock_seconds() : 0;
    }
    fm_mutex_unlock(&engine->mutex);
    if (ended) {
        fm_engine_finish(engine, job);
    }
}

void fm_engine_finish(fm_engine *engine, fm_job *job)
{
    if (job->spec.finished != NULL) {
        job->spec.finished(job->spec.context, job);
    }
    fm_mutex_lock(&engine->mutex);
    job->finished = true;
    job->next_finished = NULL;
    if (engine->last_finished != NULL) {
        engine->last_finished->next_finished = job;
    } else {
        engine->first_finished = job;
    }
    engine->last_finished = job;
    (void)pthread_cond_signal(&engine->finished);
    fm_mutex_unlock(&engine->mutex);
    if (engine->options.wake != NULL) {
        engine->options.wake(engine->options.wake_context);
    }
}

static fm_job *pop_finished(fm_engine *engine) FM_REQUIRES(&engine->mutex)
{
    fm_job *job = engine->first_finished;
    if (job != NULL) {
        engine->first_finished = job->next_finished;
        if (engine->first_finished == NULL) {
            engine->last_finished = NULL;
        }
        job->next_finished = NULL;
        engine->n_jobs--;
    }
    return job;
}

fm_job *fm_engine_collect(fm_engine *engine)
{
    fm_mutex_lock(&engine->mutex);
    fm_job *job = pop_finished(engine);
    fm_mutex_unlock(&engine->mutex);
    return job;
}

fm_job *fm_engine_wait(fm_engine *engine)
{
    fm_mutex_lock(&engine->mutex);
    assert(engine->n_jobs > 0); /* else this would wait for ever */
    while (engine->first_finished == NULL) {
        fm_condition_wait(&engine->finished, &engine->mutex);
    }
    fm_job *job = pop_finished(engine);
    fm_mutex_unlock(&engine->mutex);
    return job;
}

void fm_engine_statistics(fm_engine *engine, fm_engine_stats *ret)
{
    fm_mutex_lock(&engine->mutex);
    *ret = engine->stats;
    fm_mutex_unlock(&engine->mutex);
}
