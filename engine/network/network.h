/* A network: what a plan or a closed form offers to the batch. Read-only once built, shared by all
 * workers; each worker brings its own scratch.
 *
 * The seam is a tile: rows of any mix of trajectories, each with its own state, time and label. States
 * enter and outputs leave as float64 through row pointers, so gathering and converting are the
 * network's first and last pass over data it touches anyway. Inside, a plan computes in float32 (or
 * bfloat16), a closed form in float64.
 *
 * Bits: a row's output is a function of (network, x, t, label) alone, whatever the other rows, its
 * position and their number. fm_network_check_bits() proves it at start-up. */
#ifndef FM_NETWORK_H
#define FM_NETWORK_H

#include "engine/checkpoint/model_config.h"
#include "engine/checkpoint/weights.h"
#include "engine/flow/path.h"
#include "engine/network/team.h"
#include "engine/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct fm_network fm_network;

#define FM_MAX_TILE_ROWS ((size_t)1024) /* a call has no more, whatever a network could take */

typedef struct fm_tile_row {
    const double *x;     /* [dimension] in */
    double t;            /* in: what the network itself is fed, after direction and scale */
    int32_t label;       /* in: 0 for networks without labels */
    double *out;         /* [out_dimension] out */
    double *log_density; /* out, optional (NULL: not wanted); closed forms only */

    /* Of fm_network_ops.jvp, J = d out / d x: tangent_out[k] = J tangents[k]; and of .hvp, there
     * tangent_out[k] = (d gradient / d x) tangents[k], [n_tangents][dimension]. */
    const double *tangents; /* [n_tangents][dimension] in */
    size_t n_tangents;
    double *tangent_out; /* [n_tangents][out_dimension] out */

    /* Of fm_network_ops.vjp and .hvp: gradient = J^T cotangent. */
    const double *cotangent; /* [out_dimension] in */
    double *gradient;        /* [dimension] out */
} fm_tile_row;

typedef struct fm_network_info {
    size_t dimension, out_dimension;
    size_t parameter_count;
    size_t weight_bytes;  /* packed */
    size_t scratch_bytes; /* of one worker, for fm_network_max_rows rows */
    size_t max_rows;      /* capacity of the largest tile */
    bool has_log_density;
    bool divisible; /* a call is worth a team */
    /* x is whole numbers of 0 to vocabulary - 1, which are looked up; 0: any numbers. */
    size_t vocabulary;

    size_t max_tangents;          /* of all rows of a call of jvp; 0: there is no jvp */
    size_t tangent_scratch_bytes; /* of jvp, of one worker, beside the scratch */
    size_t reverse_rows;          /* of a call of vjp; 0: there is no vjp */
    size_t reverse_scratch_bytes; /* of vjp, in place of the scratch */
    size_t hvp_scratch_bytes;     /* of hvp, beside that of vjp; 0: there is no hvp */
} fm_network_info;

/* The vtable of a kind of network. An architecture file builds an fm_network and fills this. */
typedef struct fm_network_ops {
    /* Evaluates 1 <= n_rows <= max_rows rows. Must not lock, nor allocate anything of ours.
     *   scratch  info.scratch_bytes, aligned to FM_ALIGNMENT, contents undefined before and after
     *   team     who helps, or NULL: nobody; each member brings a scratch of its own
     * Errors: FM_ENOMEM a library ran out of memory; the outputs are undefined.
     * Thread: any, one call per scratch at a time. */
    fm_status (*eval)(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                      void *scratch, fm_team *team);
    /* The same with the derivatives along the rows' tangents, any number of each row, of all rows up to
     * max_tangents; where that is 0, it must not be called. A row's outputs have the bits that eval gives them; a
     * tangent's are a function of the row and of that tangent.
     *   tangent_scratch  info.tangent_scratch_bytes, as scratch */
    fm_status (*jvp)(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                     void *scratch, void *tangent_scratch, fm_team *team);
    /* The same with the gradients of <cotangent, out>, up to reverse_rows rows. Where reverse_rows is 0,
     * it must not be called.
     *   scratch  info.reverse_scratch_bytes */
    fm_status (*vjp)(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                     void *scratch, fm_team *team);
    /* The same with the Hessians of <cotangent, out>, the cotangents being constants, times the rows' tangents:
     * up to reverse_rows rows, and as many tangents of all of them. A row's out and gradient have the bits that vjp
     * gives them; a product is a function of the row, its cotangent and that tangent.
     *   tangent_scratch  info.hvp_scratch_bytes, as scratch */
    fm_status (*hvp)(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                     void *scratch, void *tangent_scratch);
    void (*free)(fm_network *network);
} fm_network_ops;

/* First member of every kind of network. */
struct fm_network {
    const fm_network_ops *ops;
    fm_network_info info;
};

/* One row of the architecture table (architecture.def): "mlp", "torchcfm.unet", "dataset" …
 *   weights  the checkpoint's tensors with use recorded, or NULL where the row needs no weights file
 *   path     the model's path, for closed forms; outlives the network
 * Errors: FM_EFORMAT names tensor, expected and found; FM_EUNSUPPORTED; FM_ENOMEM. */
FM_MUST_USE fm_status fm_network_new(const fm_model_config *config, fm_weights *weights,
                                     const fm_path *path, fm_network **ret, fm_error *err);
/* Takes and checks the tensors, names and shapes, and builds nothing; for rows with a weights file.
 * Errors: as fm_network_new(). */
FM_MUST_USE fm_status fm_network_check(const fm_model_config *config, fm_weights *weights,
                                       fm_error *err);
void fm_network_free(fm_network *network); /* takes NULL */

/* Alone. */
FM_MUST_USE static inline fm_status
fm_network_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows, void *scratch)
{
    return network->ops->eval(network, rows, n_rows, scratch, NULL);
}

/* Made-up states for checks and measures, the same ones for a sample; x [n][dimension]. */
void fm_network_probe(const fm_network *network, uint64_t sample, size_t n, double *x);

/* Evaluates random rows alone, at every size class and in different positions of full tiles, and
 * compares bytes.
 * Errors: FM_ENOMEM. *ret_independent tells the outcome. */
FM_MUST_USE fm_status fm_network_check_bits(const fm_network *network, int32_t max_label,
                                            bool *ret_independent, fm_error *err);

#endif
