/* Which rows share the next network call: the scheduling policy of the in-flight batch.
 *
 * Every model has a lane; a lane holds its jobs in classes by size (row evaluations, powers of four).
 *
 * DESIGN
 *  1. A lane is active while some job of it has a row to offer. Active lanes take turns by the network
 *     seconds they have used, so no model starves another.
 *  2. Few rows on offer (at most a quarter of a tile): all of them share one call.
 *  3. Otherwise the class that has used the least network time fills the tile, every job of it an equal
 *     share of rows first. So a short job never waits for long ones: it gets small tiles of its own, until
 *     its class has used as much time as the others.
 *  4. Room that is left goes to shorter classes, and to longer ones only when the tile is at least half full, for
 *     then it takes long anyway.
 *  5. A class or lane that becomes active starts at the least time used by the active ones (a class one
 *     full tile's time before it, for that is what it may have just waited), so that idling earns no
 *     further credit.
 * Which rows share a call cannot change any row's bits; it is a question of time alone.
 *
 * Thread: all functions need the engine's mutex. */
#ifndef FM_LANE_H
#define FM_LANE_H

#include "engine/fm_job.h"

#define FM_LANE_CLASSES 16

/* The smallest part of a tile worth giving to an idle worker is one of so many. */
#define FM_TILE_PARTS 16

typedef struct fm_row fm_row;
typedef struct fm_lane fm_lane;

/* Jobs of one size class with rows on offer, in turn order. */
typedef struct fm_lane_class {
    fm_job *first, *last;
    size_t n_jobs;
    double used_seconds;
} fm_lane_class;

struct fm_lane {
    const fm_model *model;    /* set when the model is opened */
    fm_lane *previous, *next; /* active lanes of the engine */
    bool active;
    size_t n_offered; /* rows on offer */
    double used_seconds;
    fm_lane_class classes[FM_LANE_CLASSES];
};

typedef struct fm_lane_list {
    fm_lane *first;
    size_t n_offered; /* rows on offer in all lanes */
} fm_lane_list;

/* How many of the rows on offer one of `takers` workers takes: an even part, but no tiny piece of a tile. */
static inline size_t fm_lane_part(size_t tile_rows, size_t n_offered, size_t takers)
{
    size_t part = (n_offered + takers - 1) / takers;
    size_t least = tile_rows < FM_TILE_PARTS ? 1 : tile_rows / FM_TILE_PARTS;
    part = part < least ? least : part;
    return part < tile_rows ? part : tile_rows;
}

/* The class of a job of so many row evaluations. */
unsigned fm_lane_class_of(double row_evaluations);

/* The job offers `rows` more rows; enters its class's turn when it had none. */
void fm_lane_offer(fm_lane_list *list, fm_job *job, size_t rows);
/* The job offers nothing any more. */
void fm_lane_withdraw(fm_lane_list *list, fm_job *job);

/* The lane whose turn it is, or NULL. */
fm_lane *fm_lane_next(const fm_lane_list *list);

/* Takes up to max_rows rows of the lane by the policy above.
 *   ret  [max_rows]
 * Returns their number, at least 1 for an active lane. */
size_t fm_lane_pick(fm_lane_list *list, fm_lane *lane, size_t max_rows, fm_row **ret);

/* Charges the network time of a call to the lane and to the classes of its rows. */
void fm_lane_charge(fm_lane *lane, fm_row *const *rows, size_t n_rows, double seconds);

#endif
