/* What builder.c and builder_ops.c share. Nobody else includes this. */
#ifndef FM_BUILDER_PRIVATE_H
#define FM_BUILDER_PRIVATE_H

#include "engine/checkpoint/tensor_floats.h"
#include "engine/network/builder.h"

/* What a dry walk knows of a value. */
typedef struct live_value {
    size_t size_bytes;
    size_t last_user; /* by the number of the value that it makes */
} live_value;

struct fm_builder {
    fm_weights *weights;
    fm_plan *plan; /* NULL: the walk is dry */
    fm_status status;
    fm_error *err;
    size_t n_refused; /* tensors */
    size_t parameter_count;
    live_value *values; /* [n_values] of a dry walk */
    size_t n_values, values_capacity;
};

/* A layer's two tensors. */
typedef struct fm_layer_floats {
    fm_tensor_floats weight, bias;
} fm_layer_floats;

void fm_layer_floats_done(fm_layer_floats *layer);

/* Whether an op is to be added to the plan: not in a dry walk, nor after a failure. */
bool fm_builder_plans(const fm_builder *builder);

/* A value is read by the op whose own value is made next. */
void fm_builder_use(fm_builder *builder, fm_plan_value value);
void fm_builder_use_optional(fm_builder *builder, const fm_built *built); /* takes NULL */
/* A new value; its number is the plan's to give where there is one. */
fm_built fm_builder_make(fm_builder *builder, fm_plan_shape shape);

/* Asks for a weight of this shape and, where it has one, a bias [shape[0]]. True where a plan is built and their numbers
 * are ready, until fm_layer_floats_done(). */
bool fm_builder_take_layer(fm_builder *builder, const char *stem, const char *part, size_t rank,
                           const size_t *shape, bool has_bias, fm_layer_floats *ret);
/* The same for a tensor that stands alone; until fm_tensor_floats_done(). */
bool fm_builder_take_alone(fm_builder *builder, const char *name, size_t rank, const size_t *shape,
                           fm_tensor_floats *ret);
/* The same for a buffer that need not be there, and is no parameter. */
bool fm_builder_take_buffer(fm_builder *builder, const char *name, size_t count,
                            fm_tensor_floats *ret);

#endif
