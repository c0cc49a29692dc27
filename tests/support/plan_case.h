/* Plans of image networks for tests, written down as lists of ops: built by fm_plan_*, and evaluated by
 * naive loops in float64. */
#ifndef TESTS_PLAN_CASE_H
#define TESTS_PLAN_CASE_H

#include "engine/network/plan_image.h"

#include <stdatomic.h>

typedef enum plan_node_kind {
    NODE_END, /* ends a list */
    NODE_IMAGE,
    NODE_PATCHES,
    NODE_TIME,
    NODE_LABEL,
    NODE_LINEAR,
    NODE_SUM,
    NODE_POSITIONS,
    NODE_CONCAT,
    NODE_UPSAMPLE,
    NODE_POOL,
    NODE_CONV,
    NODE_GROUP_NORM,
    NODE_LAYER_NORM,
    NODE_ROTARY,
    NODE_ATTENTION,
    NODE_TABLE,
    NODE_RELATIVE_FRAMES,
    NODE_PAIR_ATTENTION,
    NODE_OUTPUT,
    NODE_IMAGE_OUTPUT,
    NODE_PATCHES_OUTPUT,
    NODE_FRAMES_OUTPUT,
} plan_node_kind;

/* One op. Its inputs are given by the places of other nodes; node 0 is the image or the patches, so 0
 * stands for none where an input is optional. */
typedef struct plan_node {
    plan_node_kind kind;
    size_t from, with; /* with: the second input of a sum or a concat, the modulation of a norm */
    size_t row_bias, gate,
        residual; /* of pair attention: from qkv, with bias, residual the pairs */
    size_t size;  /* channels that it makes or, at the end, keeps; labels' and time's columns */
    size_t count; /* kernel, groups, heads, patch, frequencies, labels, bumps, a table's width */
    /* Of a convolution; a patch's channels; 1: the turns' frequencies are given; a table's height. */
    size_t stride;
    size_t column; /* of the gate or the scale; the shift follows the scale */
    bool flag;     /* rms; heads first; no bias (or, in a layer norm, neither weight nor bias) */
    fm_activation activation;
} plan_node;

typedef struct plan_graph {
    const char *name;
    size_t channels, height, width; /* of the states */
    const plan_node *nodes;
} plan_graph;

#define PLAN_CASE_MAX_ROWS  ((size_t)7)
#define PLAN_CASE_MAX_NODES ((size_t)32)

/* A graph's plan, finished, with rows to evaluate. */
typedef struct plan_case {
    const plan_graph *graph;
    fm_plan *plan;
    size_t dimension, out_dimension;
    double *x, *out, *want; /* [PLAN_CASE_MAX_ROWS][the dimension] */
    fm_tile_row rows[PLAN_CASE_MAX_ROWS];
    unsigned char *scratch; /* with a guard behind */
} plan_case;

/* Everything but fm_plan_finish(); weights are freed again. */
fm_status plan_case_build(const plan_graph *graph, size_t max_rows, fm_plan **ret, fm_error *err);

/* Aborts the test when anything fails. `want` is filled by the naive loops when `naive`. */
void plan_case_open(plan_case *ret, const plan_graph *graph, bool naive);
/* The same with a reverse mode, without the naive outputs. */
void plan_case_open_reversible(plan_case *ret, const plan_graph *graph);
void plan_case_close(plan_case *it);

/* Evaluates the rows order[0 … n_rows) in one tile, in a scratch of NaNs; results to it->out by row. Fails
 * the test where the scratch is overrun. */
void plan_case_run(plan_case *it, const size_t *order, size_t n_rows, fm_team *team);
/* The same op by op, where every op's output and scratch are NaNs before it runs: what it leaves there, of
 * its padding too, would reach a result. */
void plan_case_run_poisoned(plan_case *it, const size_t *order, size_t n_rows);

/* A team of one thread that runs all pieces from the last to the first, with memory that is another for
 * each member and full of NaNs. */
typedef struct reversed_team {
    fm_team team;
    unsigned char *memories[8]; /* the first is the caller's scratch */
    size_t bytes, n_runs;
} reversed_team;
void reversed_team_open(reversed_team *ret, const plan_case *it, size_t n_members);
void reversed_team_close(reversed_team *it);

/* A team of threads that claim pieces one by one; as above otherwise. */
typedef struct threaded_team {
    reversed_team members;
    fm_piece_run run;
    void *context;
    size_t n_pieces;
    atomic_size_t next, next_member;
    atomic_int status;
} threaded_team;
void threaded_team_open(threaded_team *ret, const plan_case *it, size_t n_members);
void threaded_team_close(threaded_team *it);

#endif
