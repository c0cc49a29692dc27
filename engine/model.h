/* What a model is inside the engine: network, path and field, with what the batch needs of it. */
#ifndef FM_MODEL_H
#define FM_MODEL_H

#include "engine/batch/lane.h"
#include "engine/checkpoint/digest.h"
#include "engine/checkpoint/model_config.h"
#include "engine/checkpoint/trial_file.h"
#include "engine/flow/field.h"
#include "engine/fm_model.h"
#include "engine/memory.h"
#include "engine/network/network.h"

#include <stdatomic.h>

/* Everything but the counters and the lane is written while opening and read-only afterwards. */
struct fm_model {
    fm_model_config config;
    fm_tensors *tensors; /* NULL for closed forms */
    fm_weights *weights; /* idem */
    fm_network *network;
    fm_field field;
    char version[FM_DIGEST_TEXT_BYTES];
    fm_model_info info;
    size_t tile_rows; /* network rows of a full call */
    size_t workers;
    fm_arena scratch; /* [workers][scratch_stride] */
    size_t scratch_stride;
    fm_arena tangents; /* [workers][tangents_stride]: mapped, and touched by derivatives alone */
    size_t tangents_stride;
    /* [workers][reverse_stride]: idem, by gradients alone; empty where there are none. */
    fm_arena reverse;
    size_t reverse_stride;
    atomic_size_t references;
    atomic_ullong tiles, rows, capacity, evaluations, network_ns;
    atomic_ullong in_flight, waiting, finished, non_finite, cancelled; /* trajectories */
    fm_lane lane; /* guarded by the engine's mutex */
};

/* Scratch of one worker for fm_network_eval(). */
static inline void *fm_model_scratch(const fm_model *model, size_t worker)
{
    return model->scratch.base + worker * model->scratch_stride;
}

/* What a call with derivatives needs of one worker: the network's scratch for them, then the tangents
 * [call_rows][dimension], then their images
 * [call_rows][out_dimension]. */
static inline unsigned char *fm_model_tangents(const fm_model *model, size_t worker)
{
    return model->tangents.base + worker * model->tangents_stride;
}

/* Of one worker for fm_network_ops.vjp. */
static inline void *fm_model_reverse_scratch(const fm_model *model, size_t worker)
{
    return model->reverse.base + worker * model->reverse_stride;
}

/* Network rows that the batch gathers at once: a full call, or a row whose guidance takes more. */
size_t fm_model_call_rows(const fm_model *model);
/* Of the outputs behind the network's scratch, of all but the first network row of each trajectory; scaled states
 * follow them. */
size_t fm_model_others_bytes(const fm_model *model);

/* Rows that a network call can have. */
size_t fm_model_most_tile_rows(const fm_model *model);
/* Chooses tile_rows by timing (bit-neutral, so it may be timed) and measures the seconds of a row and a
 * call; leaves bits_independent alone.
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_model_measure(const fm_model *model, fm_trial *ret, fm_error *err);

#endif
