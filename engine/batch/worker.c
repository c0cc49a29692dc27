/* A worker: picks rows, evaluates the network once, lets every row's solver move, puts them back.
 *
 * Nothing of ours allocates between two picks: the rows' state belongs to their jobs, the network's
 * scratch to the model, the arrays below to the worker's stack. */
#include "engine/batch/asides.h"
#include "engine/batch/engine.h"
#include "engine/clock.h"
#include "engine/math/dense.h"
#include "engine/model.h"

#include <assert.h>

/* One network call and the rows that share it. */
typedef struct fm_call {
    fm_lane *lane;
    fm_row *rows[FM_MAX_TILE_ROWS];
    size_t n_rows;
    /* Of each row so many as its guidance asks, one after the other. */
    fm_tile_row tile[FM_MAX_TILE_ROWS];
    size_t n_tile_rows;
    size_t n_tangents;     /* of all tile rows */
    size_t n_evaluated;    /* rows that got a velocity: all but those that could not even start */
    double picked_seconds; /* when */
    double seconds;        /* inside the network */
    fm_status status;      /* of the network; when it failed no row moved */
    fm_team *team;         /* idle workers who may help, or NULL */
} fm_call;

static void wake_another(fm_engine *engine) FM_REQUIRES(&engine->mutex)
{
    if (engine->lanes.n_offered > 0 && engine->n_idle > 0) {
        (void)pthread_cond_signal(&engine->work);
    }
}

/* The open team with the fewest helpers, or NULL. */
static fm_worker *leader_find(fm_engine *engine) FM_REQUIRES(&engine->mutex)
{
    fm_worker *found = NULL;
    for (size_t i = 0; i < engine->options.workers; i++) {
        fm_worker *it = &engine->workers[i];
        if (it->team_model != NULL && (found == NULL || it->n_helpers < found->n_helpers)) {
            found = it;
        }
    }
    return found;
}

/* Without rows: helps a leader, or sleeps until there is something to do. */
static void stand_by(fm_engine *engine, fm_worker *self) FM_REQUIRES(&engine->mutex)
{
    fm_worker *leader = leader_find(engine);
    if (leader == NULL) {
        engine->n_idle++;
        fm_condition_wait(&engine->work, &engine->mutex);
        engine->n_idle--;
        return;
    }
    leader->n_helpers++;
    fm_mutex_unlock(&engine->mutex);
    fm_call_team_help(&leader->team, self->index, &engine->n_offered);
    fm_mutex_lock(&engine->mutex);
    leader->n_helpers--;
}

/* When nothing is left for the idle, they may help with this call. The last call's helpers count, for
 * they are on their way back. */
static void team_open(fm_engine *engine, fm_worker *self, fm_call *call) FM_REQUIRES(&engine->mutex)
{
    const fm_model *model = call->lane->model;
    size_t others = engine->n_idle + self->n_helpers;
    call->team = NULL;
    if (others == 0 || engine->lanes.n_offered > 0 || !model->network->info.divisible) {
        return;
    }
    fm_call_team_open(&self->team, others + 1, model->scratch.base, model->scratch_stride,
                      self->index);
    self->team_model = model;
    call->team = &self->team.team;
    for (size_t i = 0; i < engine->n_idle; i++) {
        (void)pthread_cond_signal(&engine->work);
    }
}

static void team_close(fm_engine *engine, fm_worker *self) FM_REQUIRES(&engine->mutex)
{
    (void)engine; /* whose lock is held */
    if (self->team_model != NULL) {
        fm_call_team_close(&self->team);
        self->team_model = NULL;
    }
}

/* Waits for rows; false when the engine stops. */
static bool pick(fm_engine *engine, fm_worker *self, fm_call *call) FM_REQUIRES(&engine->mutex)
{
    while (engine->lanes.n_offered == 0) {
        if (engine->stopping) {
            return false;
        }
        stand_by(engine, self);
    }
    call->lane = fm_lane_next(&engine->lanes);
    /* When others are idle, few enough to leave them some. */
    size_t part =
        fm_lane_part(call->lane->model->tile_rows, call->lane->n_offered, engine->n_idle + 1);
    call->n_rows = fm_lane_pick(&engine->lanes, call->lane, part, call->rows);
    call->picked_seconds = fm_clock_seconds();
    fm_engine_show_offer(engine);
    team_open(engine, self, call);
    wake_another(engine);
    return true;
}

/* What is behind the network's scratches: a vector for each row of a call, and two for each tangent. */
typedef struct fm_call_buffers {
    double *others; /* the outputs of guided rows but for the first of each */
    double *states; /* scaled for the network */
    double *tangents, *images;
} fm_call_buffers;

static fm_call_buffers buffers_of(const fm_model *model, size_t worker)
{
    const fm_network_info *info = &model->network->info;
    unsigned char *scratch = fm_model_scratch(model, worker);
    unsigned char *others = scratch + fm_arena_round(info->scratch_bytes);
    unsigned char *tangents =
        fm_model_tangents(model, worker) + fm_arena_round(info->tangent_scratch_bytes);
    return (fm_call_buffers){
        .others = (double *)(void *)others,
        .states = (double *)(void *)(others + fm_model_others_bytes(model)),
        .tangents = (double *)(void *)tangents,
        .images = (double *)(void *)tangents + fm_model_call_rows(model) * info->dimension,
    };
}

/* The state as the network is fed it. */
static const double *network_state(const fm_row *row, double scale, fm_call_buffers *buffers)
{
    const fm_space *space = &row->job->spec.model->config.space;
    size_t dimension = space->inputs;
    double *scaled = buffers->states;
    if (!space->is_flat) {
        fm_space_input(space, row->want.x, scaled);
        buffers->states += dimension;
        return scaled;
    }
    if (scale == 1.0) {
        return row->want.x;
    }
    for (size_t i = 0; i < dimension; i++) {
        scaled[i] = scale * row->want.x[i];
    }
    buffers->states += dimension;
    return scaled;
}

/* The same of each of a row's network rows, whose images follow each other. */
static void gather_tangents(fm_call *call, const fm_row *row, double scale, size_t n_asks,
                            fm_call_buffers *buffers)
{
    const fm_network_info *info = &row->job->spec.model->network->info;
    if (!fm_row_wants_tangents(row)) {
        return;
    }
    size_t n = fm_row_tangents(row, scale, buffers->tangents);
    for (size_t i = 0; i < n_asks; i++) {
        fm_tile_row *tile_row = &call->tile[call->n_tile_rows - n_asks + i];
        tile_row->tangents = buffers->tangents;
        tile_row->n_tangents = n;
        tile_row->tangent_out = buffers->images;
        buffers->images += n * info->out_dimension;
    }
    buffers->tangents += n * info->dimension;
    call->n_tangents += n * n_asks;
}

static void gather_row(fm_call *call, fm_row *row, fm_call_buffers *buffers)
{
    const fm_job *job = row->job;
    const fm_model *model = job->spec.model;
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    size_t n = fm_field_asks(&model->field, &row->condition, row->want.t, asks);
    const double *x = network_state(row, asks[0].state_scale, buffers);
    for (size_t i = 0; i < n; i++) {
        fm_tile_row *tile_row = &call->tile[call->n_tile_rows++];
        *tile_row = (fm_tile_row){.x = x, .t = asks[i].t, .label = asks[i].label};
        tile_row->out = i == 0 ? fm_row_network_output(row) : buffers->others;
        if (i > 0) {
            buffers->others += model->network->info.out_dimension;
        }
    }
    row->n_asks = n;
    gather_tangents(call, row, asks[0].state_scale, n, buffers);
    if (job->spec.task == FM_TASK_VELOCITY && job->log_density != NULL) {
        call->tile[call->n_tile_rows - n].log_density = &job->log_density[row->index];
    }
}

/* Hands the row what its tile rows gave; a row whose Jacobian needs further calls stays where it is. */
static void answer_row(fm_call *call, fm_row *row, const fm_tile_row *tile_row)
{
    fm_job *job = row->job;
    if (tile_row->n_tangents > 0 &&
        !fm_row_add_tangents(row, tile_row->n_tangents, tile_row->tangents,
                             tile_row->tangent_out)) {
        return;
    }
    fm_row_answer(row, row->n_asks > 1 ? tile_row[1].out : NULL);
    (void)atomic_fetch_add_explicit(&job->evaluations, 1, memory_order_relaxed);
    call->n_evaluated++;
    fm_row_give(row);
}

static fm_status run_tile(const fm_call *call, size_t first, size_t n_rows, size_t worker)
{
    const fm_model *model = call->lane->model;
    const fm_network_ops *ops = model->network->ops;
    void *scratch = fm_model_scratch(model, worker);
    return call->n_tangents == 0
               ? ops->eval(model->network, call->tile + first, n_rows, scratch, call->team)
               : ops->jvp(model->network, call->tile + first, n_rows, scratch,
                          fm_model_tangents(model, worker), call->team);
}

/* In one call of the network, but for a row that takes more than a full tile. */
static fm_status run_network(const fm_call *call, size_t worker)
{
    size_t most = call->lane->model->tile_rows, first = 0;
    fm_status status = FM_OK;
    while (first < call->n_tile_rows && status == FM_OK) {
        size_t left = call->n_tile_rows - first, n = left < most ? left : most;
        status = run_tile(call, first, n, worker);
        first += n;
    }
    return status;
}

static void gather(fm_call *call, size_t worker)
{
    fm_call_buffers buffers = buffers_of(call->lane->model, worker);
    call->n_tile_rows = 0;
    call->n_tangents = 0;
    call->n_evaluated = 0;
    for (size_t i = 0; i < call->n_rows; i++) {
        fm_row *row = call->rows[i];
        if (!row->started) {
            fm_row_start(row);
        }
        if (!row->ended) {
            gather_row(call, row, &buffers);
        }
    }
}

static void evaluate(fm_call *call, size_t worker)
{
    gather(call, worker);
    double start = fm_clock_seconds();
    call->status = run_network(call, worker);
    if (call->status == FM_OK) {
        call->status = fm_asides_run(call->rows, call->n_rows, call->tile, worker);
    }
    call->seconds = fm_clock_seconds() - start;
    const fm_tile_row *tile_row = call->tile;
    for (size_t i = 0; i < call->n_rows && call->status == FM_OK; i++) {
        fm_row *row = call->rows[i];
        if (!row->ended) {
            answer_row(call, row, tile_row);
            tile_row += row->n_asks;
        }
    }
}

/* The slot takes the job's next row, if there is one and the job goes on. */
static bool reuse_slot(fm_row *row)
{
    fm_job *job = row->job;
    if (job->next_row == job->spec.n_rows) {
        return false;
    }
    row->index = job->next_row++;
    row->started = false;
    return true;
}

static void count_end(fm_engine *engine, fm_row *row) FM_REQUIRES(&engine->mutex)
{
    fm_job *job = row->job;
    job->n_ended++;
    bool non_finite = job->records[row->index].status == FM_ROW_NON_FINITE;
    fm_engine_count_rows(
        engine, job->spec.model,
        &(fm_row_changes){.in_flight = -UINT64_C(1), .finished = 1, .non_finite = non_finite});
}

/* Puts a row back. True when its job has just ended. */
static bool return_row(fm_engine *engine, fm_row *row, fm_status call_status)
    FM_REQUIRES(&engine->mutex)
{
    fm_job *job = row->job;
    job->n_in_call--;
    if (row->ended) {
        count_end(engine, row);
    }
    int recorded = atomic_load_explicit(&job->recording_status, memory_order_relaxed);
    fm_status failed = call_status != FM_OK ? call_status : (fm_status)recorded;
    if (failed != FM_OK && job->status == FM_OK) {
        fm_engine_drop(engine, job, failed);
    }
    if (job->status != FM_OK) {
        uint64_t cancelled = !row->ended;
        fm_engine_count_rows(engine, job->spec.model,
                             &(fm_row_changes){.in_flight = -cancelled, .cancelled = cancelled});
        return job->n_in_call == 0;
    }
    bool goes_on = !row->ended;
    if (row->ended && reuse_slot(row)) {
        fm_engine_count_rows(engine, job->spec.model,
                             &(fm_row_changes){.waiting = -UINT64_C(1), .in_flight = 1});
        goes_on = true;
    }
    if (goes_on) {
        job->waiting[job->n_waiting++] = row;
        fm_lane_offer(&engine->lanes, job, 1);
    }
    return job->n_ended == job->spec.n_rows;
}

/* Puts all rows back; jobs that ended are chained through next_finished. */
static fm_job *give_back(fm_engine *engine, fm_call *call) FM_REQUIRES(&engine->mutex)
{
    const fm_model *model = call->lane->model;
    bool was_called = call->n_tile_rows > 0; /* else no row could even start */
    engine->stats.tiles += was_called;
    engine->stats.tile_rows += call->n_tile_rows;
    engine->stats.tile_capacity += was_called ? model->tile_rows : 0;
    engine->stats.evaluations += call->n_evaluated;
    engine->stats.network_seconds += call->seconds;
    fm_lane_charge(call->lane, call->rows, call->n_rows, call->seconds);
    double now = fm_clock_seconds();
    engine->stats.busy_seconds += now - call->picked_seconds;
    fm_job *ended = NULL;
    for (size_t i = 0; i < call->n_rows; i++) {
        fm_job *job = call->rows[i]->job;
        if (job->first_call_seconds == 0) {
            job->first_call_seconds = now - call->seconds;
        }
        if (return_row(engine, call->rows[i], call->status)) {
            job->ended_seconds = now;
            job->next_finished = ended;
            ended = job;
        }
    }
    fm_engine_show_offer(engine);
    return ended;
}

static void count_model(fm_call *call)
{
    fm_model *model = call->rows[0]->job->spec.model;
    if (call->n_tile_rows == 0) {
        return;
    }
    (void)atomic_fetch_add_explicit(&model->tiles, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&model->rows, call->n_tile_rows, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&model->capacity, model->tile_rows, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&model->evaluations, call->n_evaluated, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&model->network_ns, (unsigned long long)(call->seconds * 1e9),
                                    memory_order_relaxed);
}

static void finish_all(fm_engine *engine, fm_job *ended) FM_EXCLUDES(&engine->mutex)
{
    while (ended != NULL) {
        fm_job *next = ended->next_finished;
        fm_engine_finish(engine, ended);
        ended = next;
    }
}

void *fm_worker_run(void *context)
{
    fm_worker *worker = context;
    fm_engine *engine = worker->engine;
    fm_role_enter(&fm_on_worker);
    fm_dense_thread_init();
    fm_call call; /* about 90 KiB */
    fm_mutex_lock(&engine->mutex);
    while (pick(engine, worker, &call)) {
        fm_mutex_unlock(&engine->mutex);
        evaluate(&call, worker->index);
        count_model(&call);
        fm_mutex_lock(&engine->mutex);
        team_close(engine, worker);
        fm_job *ended = give_back(engine, &call);
        if (ended != NULL) {
            wake_another(engine); /* not to wait until the answers below are encoded */
            fm_mutex_unlock(&engine->mutex);
            finish_all(engine, ended);
            fm_mutex_lock(&engine->mutex);
        }
    }
    fm_mutex_unlock(&engine->mutex);
    return NULL;
}
