/* Plans: neural networks as lists of typed ops over one arena.
 *
 * An architecture file builds a plan op by op; fm_plan_finish() then decides where in a worker's
 * scratch every activation lives: two whose lifetimes do not meet share memory. Evaluation walks the
 * list and allocates nothing.
 *
 * DESIGN
 *   value  one activation, float32: for every row an image [height][width][channels], channels last and
 *          padded to whole vectors, maybe with a border of zero pixels that convolutions read. A vector
 *          is an image of one pixel. Made by exactly one op, used by any number of later ones.
 *   op     a row of op.def (its functions) with a state of its own (weights), the values it reads, the
 *          value it makes, scratch that only it uses and scratch of each member of the team.
 * Invariants
 *   1. Ops run in the order in which they were added; a value lives from its maker to its last user.
 *   2. Every op writes its output's padding channels with finite numbers. Padding rows are the business
 *      of the op that reads them; borders are cleared by the plan.
 *   3. A plan is read-only once finished, and shared by all workers.
 * Errors: every fm_plan_ function that adds an op leaves a plan that can only be freed when it fails. */
#ifndef FM_PLAN_H
#define FM_PLAN_H

#include "engine/fm_model.h"
#include "engine/math/compute.h"
#include "engine/math/dense.h"
#include "engine/network/network.h"

typedef struct fm_plan fm_plan;
typedef size_t fm_plan_value; /* index of a value in its plan */

/*   max_rows  rows of the largest tile, >= 1
 *   compute   what its products and convolutions multiply
 * Errors: FM_ENOMEM; FM_EUNSUPPORTED fm_compute_check(). */
FM_MUST_USE fm_status fm_plan_new(size_t max_rows, fm_compute compute, fm_plan **ret,
                                  fm_error *err);
void fm_plan_free(fm_plan *plan); /* takes NULL */
/* Ops added from here on pack what the reverse mode needs: before the first. */
void fm_plan_make_reversible(fm_plan *plan);

/* What enters the network: z = [x, t, label] or, with time_first, [t, label, x], converted to float32;
 * with fourier_count n > 0 instead [sin z … sin nz, cos z … cos nz], in float64 before it is rounded. */
typedef struct fm_plan_input_spec {
    size_t dimension;
    bool time_first, has_label;
    size_t fourier_count;
} fm_plan_input_spec;

/* Columns of such an input. */
size_t fm_plan_input_columns(const fm_plan_input_spec *spec);
/* Gathers the tile's rows. Once, first. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_input(fm_plan *plan, const fm_plan_input_spec *spec,
                                    fm_plan_value *ret, fm_error *err);

/* The tile's states as tokens, each a row of a table: an image of one line. A plan that begins with tokens, between which
 * nothing is continuous, has no derivatives. */
typedef struct fm_plan_tokens_spec {
    size_t length;      /* of a state: so many whole numbers of 0 to count - 1 */
    size_t count, size; /* of the table */
    const float *table; /* [count][size], read while the op is added */
} fm_plan_tokens_spec;
/* Once, first. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_tokens(fm_plan *plan, const fm_plan_tokens_spec *spec,
                                     fm_plan_value *ret, fm_error *err);

/* All of them in one vector with the time: activation([rows of the table, time, label]), with time_first
 * [time, label, rows of the table]. */
typedef struct fm_plan_token_vector_spec {
    fm_plan_tokens_spec tokens;
    bool time_first, has_label;
    size_t n_time;                        /* columns of the time: weight t + bias */
    const float *time_weight, *time_bias; /* [n_time], the bias NULL: 0; both NULL: t itself */
    fm_activation activation;
} fm_plan_token_vector_spec;
/* Once, first. Errors: FM_ENOMEM, FM_ETOOBIG. */
FM_MUST_USE fm_status fm_plan_token_vector(fm_plan *plan, const fm_plan_token_vector_spec *spec,
                                           fm_plan_value *ret, fm_error *err);

/* How many bytes the packed weights will take in all, where that is known: before the first op. */
void fm_plan_expect_weights(fm_plan *plan, size_t size_bytes);

/* activation(in weight^T + bias); spec->inputs is the number of in's columns, max_rows is the plan's.
 * Errors: FM_ENOMEM, FM_EINTERNAL from the dense provider. */
FM_MUST_USE fm_status fm_plan_linear(fm_plan *plan, fm_plan_value in, const fm_dense_spec *spec,
                                     fm_plan_value *ret, fm_error *err);

/* Scatters in's columns, pixel by pixel, to the tile rows' `out`. Once, last. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_output(fm_plan *plan, fm_plan_value in, fm_error *err);

/* Places all values and scratches. Errors: FM_ETOOBIG the sizes overflow; FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_finish(fm_plan *plan, fm_error *err);

size_t fm_plan_scratch_bytes(const fm_plan *plan); /* of a finished plan */
/* What the values and scratches would take if none shared memory. */
size_t fm_plan_unshared_bytes(const fm_plan *plan);

/* Evaluates a finished plan; fm_network_ops.eval's contract. */
FM_MUST_USE fm_status fm_plan_run(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, fm_team *team);

/* One line per op: its name, shapes, where its output and scratch lie. */
void fm_plan_print(const fm_plan *plan, fm_write_cb write, void *context);

/* The network of a finished plan, which it takes over (on failure the plan is freed).
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_network_new(fm_plan *plan, fm_network **ret, fm_error *err);
/* The plan of such a network; NULL for closed forms. */
const fm_plan *fm_network_plan(const fm_network *network);

#endif
