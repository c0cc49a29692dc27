/* The inside of a plan: what op files and plan.c share. Nobody else includes this. */
#ifndef FM_OP_H
#define FM_OP_H

#include "engine/math/image.h"
#include "engine/memory.h"
#include "engine/network/plan.h"
#include "engine/network/plan_frames.h"
#include "engine/network/plan_image.h"

#define FM_OP_MAX_INPUTS 4

typedef struct fm_op fm_op;

/* What an evaluation is given. */
typedef struct fm_op_call {
    const fm_plan *plan;
    const fm_tile_row *rows; /* [n_rows] */
    size_t n_rows;
    unsigned char *memory;       /* the worker's scratch, where all values live */
    unsigned char *piece_memory; /* where a piece that runs alone has its own scratch */
    fm_team *team;               /* NULL: alone */
} fm_op_call;

/* The tangents of a call's rows, those of row i from first[i] up to first[i + 1]: rows of a call of their own,
 * with memory of their own, whose tile rows hold a tangent and where its image goes. A value that varies with
 * the state has a tangent there, of the value's shape. */
typedef struct fm_op_tangents {
    fm_op_call call;
    const size_t *first; /* [rows of the primal call + 1] */
    const fm_op *op;     /* the op that runs, with its scratch in the tangents' memory */
} fm_op_tangents;

/* The cotangents of all values that vary: each is the sum of what its readers have added. */
typedef struct fm_op_cotangents {
    fm_op_call call; /* its images are the cotangents; the memory is that of the values */
    const fm_op *op; /* the op that runs, with a scratch for that */
} fm_op_cotangents;

/* The tangents of the cotangents of a call's rows: what the reverse mode passes on, differentiated along the tangents. */
typedef struct fm_op_second {
    const fm_op_tangents *tangents;     /* of the values, all kept */
    const fm_op_cotangents *cotangents; /* of the rows themselves; the output's is whole */
    fm_op_call call; /* its rows are the tangents', its images their cotangents' tangents */
    const fm_op *op; /* the op that runs, with a scratch for that */
} fm_op_second;

/* A row of op.def. */
typedef struct fm_op_type {
    const char *name;
    fm_status (*eval)(const fm_op *op, const fm_op_call *call); /* fm_network_ops.eval's rules */
    /* Both NULL where the output does not depend on the state, and called only where it does.
     * eval, and the tangents of the output from those of the inputs; */
    fm_status (*jvp)(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents);
    /* after an eval of the whole plan that kept all values: adds the output's cotangent, times the op's transposed
     * Jacobian, to those of the inputs that vary. */
    fm_status (*vjp)(const fm_op *op, const fm_op_call *call, const fm_op_cotangents *cotangents);
    /* before the vjp of the same call, of a plan that kept all values and their tangents: adds the tangents of what
     * vjp will add. NULL: the op is not differentiated twice. */
    fm_status (*hvp)(const fm_op *op, const fm_op_call *call, const fm_op_second *second);
    /* Puts what shapes do not tell (order of columns, activation) into text. */
    void (*describe)(const fm_op *op, char *text, size_t size_bytes);
    void (*free)(void *state);
} fm_op_type;

typedef enum fm_op_kind {
#define FM_OP(id, name, jvp, vjp, hvp) FM_OP_KIND_##id,
#include "engine/network/op.def"
#undef FM_OP
} fm_op_kind;

typedef fm_status fm_op_jvp(const fm_op *op, const fm_op_call *call,
                            const fm_op_tangents *tangents);
typedef fm_status fm_op_vjp(const fm_op *op, const fm_op_call *call,
                            const fm_op_cotangents *cotangents);
typedef fm_status fm_op_hvp(const fm_op *op, const fm_op_call *call, const fm_op_second *second);

#define FM_OP(id, name, jvp, vjp, hvp)                                                             \
    fm_status fm_op_##id##_eval(const fm_op *op, const fm_op_call *call);                          \
    void fm_op_##id##_describe(const fm_op *op, char *text, size_t size_bytes);                    \
    void fm_op_##id##_free(void *state);
#include "engine/network/op.def"
#undef FM_OP

fm_op_jvp fm_op_input_jvp, fm_op_linear_jvp, fm_op_image_jvp, fm_op_sum_jvp, fm_op_positions_jvp,
    fm_op_conv_jvp, fm_op_norm_jvp, fm_op_attention_jvp;
fm_op_vjp fm_op_input_vjp, fm_op_linear_vjp, fm_op_output_vjp, fm_op_image_vjp, fm_op_patches_vjp,
    fm_op_sum_vjp, fm_op_positions_vjp, fm_op_concat_vjp, fm_op_upsample_vjp, fm_op_pool_vjp,
    fm_op_conv_vjp, fm_op_norm_vjp, fm_op_rotary_vjp, fm_op_attention_vjp, fm_op_image_output_vjp,
    fm_op_patches_output_vjp;
fm_op_jvp fm_op_relative_frames_jvp, fm_op_pair_attention_jvp, fm_op_frames_output_jvp;
fm_op_vjp fm_op_relative_frames_vjp, fm_op_pair_attention_vjp, fm_op_frames_output_vjp;
fm_op_hvp fm_op_input_hvp, fm_op_linear_hvp, fm_op_output_hvp;

/* The jvp of an op that is linear and has no constant term: eval, twice. */
fm_op_jvp fm_op_linear_map_jvp;

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
    bool varies;                                                  /* jvp and vjp are called */
    size_t jvp_scratch_bytes, vjp_scratch_bytes, vjp_piece_bytes; /* of these, in place of eval's */
    size_t hvp_scratch_bytes;
};

typedef struct fm_value {
    bool varies;                   /* with the state: it has tangents and cotangents */
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
    size_t vocabulary; /* fm_network_info */
    bool divisible;    /* some op is cut into pieces that are worth a team */
    bool reversible;   /* ops pack what the reverse mode needs */
    size_t parameter_count, weight_bytes;
    fm_pool weights; /* packed by ops */
    size_t scratch_bytes, unshared_bytes;
    /* The same values and ops at other places; NULL in these themselves. derivative.c */
    struct fm_plan *tangents; /* the values' tangents */
    struct fm_plan *kept,
        *gradients;      /* all values kept, and their cotangents beside them; or NULL */
    size_t reverse_rows; /* that these two have room for */
    /* The tangents of both, of as many tangents as there are reverse_rows; or NULL. second_derivative.c */
    struct fm_plan *kept_tangents, *gradient_tangents;
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

/* The bytes of all rows of a value; false when they overflow. */
bool fm_plan_value_bytes(const fm_value *value, size_t *ret);

/* A reader needs a border of so many zero pixels around the value. */
void fm_plan_require_border(fm_plan *plan, fm_plan_value value, size_t border);

/* Where a value lies in this call's memory: its first float, border included. */
static inline float *fm_op_value(const fm_op_call *call, fm_plan_value value)
{
    return (float *)(void *)(call->memory + call->plan->values[value].offset);
}
/* The same as images, from their first inner pixel. */
fm_image fm_op_image(const fm_op_call *call, fm_plan_value value);

/* Whether a value depends on the state. */
static inline bool fm_plan_varies(const fm_plan *plan, fm_plan_value value)
{
    return plan->values[value].varies;
}

/* ---- what the derivatives of ops share: derivative.c ---- */

/* An op's scratch beside eval's, of jvp and of vjp. */
static inline void *fm_op_jvp_scratch(const fm_op_tangents *tangents)
{
    return tangents->call.memory + tangents->op->scratch_offset;
}
static inline void *fm_op_vjp_scratch(const fm_op_cotangents *cotangents)
{
    return cotangents->call.memory + cotangents->op->scratch_offset;
}
static inline void *fm_op_hvp_scratch(const fm_op_second *second)
{
    return second->call.memory + second->op->scratch_offset;
}

/* The op's output holds z, and its tangents dz: they become activation(z) and its derivative times dz. */
void fm_op_activate_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents,
                        fm_activation activation);
/* factors[i] *= activation'(z[i]), n in whole vectors. */
void fm_op_multiply_slopes(fm_activation activation, size_t n, const float *z, float *factors);

/* A row of an activation's z, cotangent g, and for each of its tangents dz and dg, a stride apart. */
typedef struct fm_bend {
    const float *z, *g, *dz;
    float *dg;
    size_t stride, n_tangents;
} fm_bend;
/* dg = activation''(z) dz g + activation'(z) dg; the stride is in whole vectors. second_derivative.c */
void fm_op_bend(fm_activation activation, const fm_bend *row);

/* Values and tangents of all ops, in the call's plan and the tangents' plan, views of one plan. */
FM_MUST_USE fm_status fm_plan_walk_tangents(const fm_op_call *call, fm_op_tangents *tangents);
/* Zeros where an op's inputs, which it is the first to meet on the way back, have their cotangents. */
void fm_op_cotangents_begin(const fm_op *op, size_t index, const fm_op_call *call);

/* An op runs with its own scratch on tangents too, or with that of its jvp. */
static inline size_t fm_op_jvp_bytes(const fm_op *op)
{
    return op->scratch_bytes > op->jvp_scratch_bytes ? op->scratch_bytes : op->jvp_scratch_bytes;
}

/* to += from, pixel by pixel in whole vectors, for all rows of the call; from may be a vector that is added to
 * every pixel. */
void fm_op_add(const fm_image *from, const fm_image *to, size_t n_rows);
/* to += the sum of from's pixels. */
void fm_op_add_sums(const fm_image *from, const fm_image *to, size_t n_rows);

/* Zeros around the images of the op's output, which its readers may read. */
void fm_op_borders_clear(const fm_op *op, const fm_op_call *call);

/* Runs the op's pieces, with the team where there is one. Errors: the first of a piece. */
FM_MUST_USE fm_status fm_op_pieces(const fm_op_call *call, size_t n_pieces, fm_piece_run run,
                                   void *context);

#endif
