/* The inside of a plan: what op files and plan.c share. Nobody else includes this. */
#ifndef FM_OP_H
#define FM_OP_H

#include "engine/math/image.h"
#include "engine/memory.h"
#include "engine/network/plan.h"
#include "engine/network/plan_image.h"

#define FM_OP_MAX_INPUTS 4

typedef struct fm_op fm_op;

/* What an evaluation is given. */
typedef struct fm_op_call {
    const fm_plan *plan;
    const fm_tile_row *rows; /* [n_rows] */
    size_t n_rows;
    unsigned char *memory; /* the worker's scratch, where all values live */
    fm_team *team;         /* NULL: alone */
} fm_op_call;

/* A row of op.def. */
typedef struct fm_op_type {
    const char *name;
    fm_status (*eval)(const fm_op *op, const fm_op_call *call); /* fm_network_ops.eval's rules */
    /* Puts what shapes do not tell (order of columns, activation) into text. */
    void (*describe)(const fm_op *op, char *text, size_t size_bytes);
    void (*free)(void *state);
} fm_op_type;

typedef enum fm_op_kind {
#define FM_OP(id, name) FM_OP_KIND_##id,
#include "engine/network/op.def"
#undef FM_OP
} fm_op_kind;

#define FM_OP(id, name)                                                                            \
    fm_status fm_op_##id##_eval(const fm_op *op, const fm_op_call *call);                          \
    void fm_op_##id##_describe(const fm_op *op, char *text, size_t size_bytes);                    \
    void fm_op_##id##_free(void *state);
#include "engine/network/op.def"
#undef FM_OP

struct fm_op {
    const fm_op_type *type;
    void *state; /* the op file's own; released by type->free */
    fm_plan_value inputs[FM_OP_MAX_INPUTS];
    size_t n_inputs;
    bool has_output;
    fm_plan_value output;
    size_t scratch_bytes; /* memory that only this op uses, while it runs; all members share it */
    size_t scratch_offset;
    size_t piece_bytes; /* the same for each member, in its own scratch */
    size_t piece_offset;
};

typedef struct fm_value {
    size_t height, width, columns; /* columns: channels */
    size_t stride;                 /* floats from pixel to pixel; 0 while no op has asked for one */
    size_t border;                 /* pixels of zeros around each row's image */
    size_t rows;                   /* room for so many, >= the plan's max_rows */
    size_t maker, last_user;       /* ops */
    size_t offset;                 /* in bytes from the start of the scratch */
} fm_value;

struct fm_plan {
    size_t max_rows;
    fm_compute compute;
    fm_value *values; /* [n_values] */
    size_t n_values, values_capacity;
    fm_op *ops; /* [n_ops] */
    size_t n_ops, ops_capacity;
    size_t dimension, out_dimension;
    bool divisible; /* some op is cut into pieces that are worth a team */
    size_t parameter_count, weight_bytes;
    fm_pool weights; /* packed by ops */
    size_t scratch_bytes, unshared_bytes;
};

/* Adds an op, with a value of that shape of its making unless it is NULL. Takes state over, on failure
 * too. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_add(fm_plan *plan, fm_op_kind kind, void *state,
                                  const fm_plan_value *inputs, size_t n_inputs,
                                  const fm_plan_shape *shape, fm_plan_value *ret, fm_error *err);
/* The op that was added last. */
fm_op *fm_plan_last_op(fm_plan *plan);
/* An op that reads or makes a value needs this stride and room for so many rows.
 * Errors: FM_EINTERNAL another op needs another stride. */
FM_MUST_USE fm_status fm_plan_require(fm_plan *plan, fm_plan_value value, size_t stride,
                                      size_t rows, fm_error *err);

/* A reader needs a border of so many zero pixels around the value. */
void fm_plan_require_border(fm_plan *plan, fm_plan_value value, size_t border);

/* Where a value lies in this call's memory: its first float, border included. */
static inline float *fm_op_value(const fm_op_call *call, fm_plan_value value)
{
    return (float *)(void *)(call->memory + call->plan->values[value].offset);
}
/* The same as images, from their first inner pixel. */
fm_image fm_op_image(const fm_op_call *call, fm_plan_value value);

/* Runs the op's pieces, with the team where there is one. Errors: the first of a piece. */
FM_MUST_USE fm_status fm_op_pieces(const fm_op_call *call, size_t n_pieces, fm_piece_run run,
                                   void *context);

#endif
