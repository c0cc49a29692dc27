/* The scheduling policy of the in-flight batch; lane.h numbers its rules. */
#include "engine/batch/lane.h"

#include "engine/batch/job.h"
#include "engine/model.h"

#include <assert.h>

/* Rule 2: so small a part of a tile is shared by everybody. */
#define SHARED_TILE_PART 4
/* Rule 4: from this part on a tile takes long anyway. */
#define LONG_TILE_PART 2

unsigned fm_lane_class_of(double row_evaluations)
{
    unsigned size_class = 0;
    while (row_evaluations > 4 && size_class < FM_LANE_CLASSES - 1) {
        row_evaluations /= 4;
        size_class++;
    }
    return size_class;
}

/* ---- rings ---- */

static void class_append(fm_lane_class *ring, fm_job *job)
{
    job->previous = ring->last;
    job->next = NULL;
    if (ring->last != NULL) {
        ring->last->next = job;
    } else {
        ring->first = job;
    }
    ring->last = job;
    ring->n_jobs++;
}

static void class_remove(fm_lane_class *ring, fm_job *job)
{
    if (job->previous != NULL) {
        job->previous->next = job->next;
    } else {
        ring->first = job->next;
    }
    if (job->next != NULL) {
        job->next->previous = job->previous;
    } else {
        ring->last = job->previous;
    }
    job->previous = NULL;
    job->next = NULL;
    ring->n_jobs--;
}

static void lane_enter(fm_lane_list *list, fm_lane *lane)
{
    fm_lane *next = fm_lane_next(list); /* rule 5 */
    if (next != NULL && lane->used_seconds < next->used_seconds) {
        lane->used_seconds = next->used_seconds;
    }
    lane->previous = NULL;
    lane->next = list->first;
    if (list->first != NULL) {
        list->first->previous = lane;
    }
    list->first = lane;
    lane->active = true;
}

static void lane_leave(fm_lane_list *list, fm_lane *lane)
{
    if (lane->previous != NULL) {
        lane->previous->next = lane->next;
    } else {
        list->first = lane->next;
    }
    if (lane->next != NULL) {
        lane->next->previous = lane->previous;
    }
    lane->active = false;
}

/* The class with jobs that has used the least time; NULL when none has jobs. */
static fm_lane_class *least_used(fm_lane *lane)
{
    fm_lane_class *least = NULL;
    for (size_t i = 0; i < FM_LANE_CLASSES; i++) {
        fm_lane_class *candidate = &lane->classes[i];
        if (candidate->n_jobs > 0 &&
            (least == NULL || candidate->used_seconds < least->used_seconds)) {
            least = candidate;
        }
    }
    return least;
}

static void class_enter(fm_lane *lane, fm_job *job)
{
    fm_lane_class *ring = &lane->classes[job->size_class];
    const fm_lane_class *least = ring->n_jobs == 0 ? least_used(lane) : NULL;
    if (least != NULL) { /* rule 5 */
        const fm_model_info *info = &lane->model->info;
        double start = least->used_seconds - (double)info->tile_rows * info->evaluation_seconds;
        ring->used_seconds = ring->used_seconds < start ? start : ring->used_seconds;
    }
    class_append(ring, job);
}

void fm_lane_offer(fm_lane_list *list, fm_job *job, size_t rows)
{
    fm_lane *lane = &job->spec.model->lane;
    if (rows == 0) {
        return;
    }
    assert(job->n_waiting >= rows);
    if (job->n_waiting == rows) { /* had none */
        if (!lane->active) {
            lane_enter(list, lane);
        }
        class_enter(lane, job);
    }
    lane->n_offered += rows;
    list->n_offered += rows;
}

static void forget(fm_lane_list *list, fm_lane *lane, size_t rows)
{
    lane->n_offered -= rows;
    list->n_offered -= rows;
    if (lane->n_offered == 0) {
        lane_leave(list, lane);
    }
}

void fm_lane_withdraw(fm_lane_list *list, fm_job *job)
{
    if (job->n_waiting == 0) {
        return;
    }
    fm_lane *lane = &job->spec.model->lane;
    size_t rows = job->n_waiting;
    class_remove(&lane->classes[job->size_class], job);
    job->n_waiting = 0;
    forget(list, lane, rows);
}

fm_lane *fm_lane_next(const fm_lane_list *list)
{
    fm_lane *next = list->first;
    for (fm_lane *lane = list->first; lane != NULL; lane = lane->next) {
        if (lane->used_seconds < next->used_seconds) {
            next = lane;
        }
    }
    return next;
}

/* ---- picking ---- */

/* What is being put together. */
typedef struct fm_selection {
    fm_lane_list *list;
    fm_lane *lane;
    fm_row **rows;
    size_t n_rows, max_rows; /* trajectories */
    size_t n_network_rows, max_network_rows;
} fm_selection;

/* A row that takes more than a full tile has room in one of its own. */
static bool has_room(const fm_selection *selection, const fm_job *job)
{
    return selection->n_rows == 0 ||
           (selection->n_rows < selection->max_rows &&
            selection->n_network_rows + job->row_cost <= selection->max_network_rows);
}

/* Takes up to `share` rows of the job and puts it at the end of its turn. False: the tile is full. */
static bool take_rows(fm_selection *selection, fm_job *job, size_t share)
{
    size_t taken = 0;
    while (taken < share && job->n_waiting > 0 && has_room(selection, job)) {
        selection->rows[selection->n_rows++] = job->waiting[--job->n_waiting];
        selection->n_network_rows += job->row_cost;
        job->n_in_call++;
        taken++;
    }
    fm_lane_class *ring = &selection->lane->classes[job->size_class];
    bool room = has_room(selection, job);
    if (taken > 0) {
        class_remove(ring, job);
        if (job->n_waiting > 0) {
            class_append(ring, job);
        }
        selection->lane->n_offered -= taken;
        selection->list->n_offered -= taken;
    }
    return room;
}

/* Rule 3: equal shares first, then whatever there is. */
static void take_class(fm_selection *selection, fm_lane_class *ring)
{
    while (ring->n_jobs > 0) {
        size_t most = selection->max_network_rows, used = selection->n_network_rows;
        size_t room = used < most ? most - used : 0;
        size_t share = room / ring->n_jobs;
        size_t before = selection->n_rows;
        for (size_t turns = ring->n_jobs; turns > 0; turns--) {
            if (!take_rows(selection, ring->first, share == 0 ? 1 : share)) {
                return;
            }
        }
        if (selection->n_rows == before) {
            return;
        }
    }
}

static void take_by_class(fm_selection *selection)
{
    fm_lane *lane = selection->lane;
    fm_lane_class *turn = least_used(lane);
    size_t index = (size_t)(turn - lane->classes);
    take_class(selection, turn);
    for (size_t i = index; i > 0; i--) {
        take_class(selection, &lane->classes[i - 1]);
    }
    for (size_t i = index + 1; i < FM_LANE_CLASSES; i++) {
        if (selection->n_network_rows * LONG_TILE_PART >= selection->max_network_rows) {
            take_class(selection, &lane->classes[i]);
        }
    }
}

size_t fm_lane_pick(fm_lane_list *list, fm_lane *lane, size_t max_rows, fm_row **ret)
{
    assert(lane->active && lane->n_offered > 0 && max_rows > 0);
    fm_selection selection = {.list = list,
                              .lane = lane,
                              .rows = ret,
                              .max_rows = max_rows,
                              .max_network_rows = lane->model->tile_rows};
    if (lane->n_offered * SHARED_TILE_PART <= lane->model->tile_rows) { /* rule 2 */
        for (size_t i = 0; i < FM_LANE_CLASSES; i++) {
            take_class(&selection, &lane->classes[i]);
        }
    } else {
        take_by_class(&selection);
    }
    assert(selection.n_rows > 0);
    if (lane->n_offered == 0) {
        lane_leave(list, lane);
    }
    return selection.n_rows;
}

void fm_lane_charge(fm_lane *lane, fm_row *const *rows, size_t n_rows, double seconds)
{
    lane->used_seconds += seconds;
    for (size_t i = 0; i < n_rows; i++) {
        lane->classes[rows[i]->job->size_class].used_seconds += seconds / (double)n_rows;
    }
}
