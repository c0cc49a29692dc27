/* The two walks: values that are counted, tensors that are asked for, and the network at the end. */
#include "engine/network/builder.h"

#include "engine/memory.h"
#include "engine/network/builder_private.h"

#include <assert.h>
#include <stdio.h>

#define TENSOR_NAME_BYTES ((size_t)128)
#define MAX_REFUSED       ((size_t)4096) /* tensors; a configuration could ask for many more */

/* Whether a walk has nothing more to do. A dry one goes on after refused tensors. */
static bool is_over(const fm_builder *builder)
{
    return builder->status != FM_OK &&
           (builder->plan != NULL || builder->n_refused == 0 || builder->n_refused > MAX_REFUSED);
}

/* Ends a dry walk too. */
static void give_up(fm_builder *builder, fm_status status)
{
    builder->n_refused = 0;
    builder->status = status;
}

static fm_status fail_row(fm_error *err)
{
    return fm_fail(err, FM_ETOOBIG, "the activations of one row take more than %zu bytes",
                   FM_BUILDER_ROW_BYTES);
}

/* ---- values ---- */

static bool grow(fm_builder *builder)
{
    if (builder->n_values < builder->values_capacity) {
        return true;
    }
    size_t capacity = builder->values_capacity * 2 + 64;
    live_value *grown = fm_grow(builder->values, builder->values_capacity * sizeof *builder->values,
                                capacity * sizeof *builder->values);
    if (grown == NULL) {
        give_up(builder, fm_fail(builder->err, FM_ENOMEM, "no memory to plan a network"));
        return false;
    }
    builder->values = grown;
    builder->values_capacity = capacity;
    return true;
}

void fm_builder_use(fm_builder *builder, fm_plan_value value)
{
    if (builder->plan == NULL && !is_over(builder)) {
        builder->values[value].last_user = builder->n_values;
    }
}

void fm_builder_use_optional(fm_builder *builder, const fm_built *built)
{
    if (built != NULL) {
        fm_builder_use(builder, built->value);
    }
}

fm_built fm_builder_make(fm_builder *builder, fm_plan_shape shape)
{
    fm_built made = {.shape = shape};
    if (builder->plan != NULL || is_over(builder) || !grow(builder)) {
        return made;
    }
    size_t size_bytes = shape.height * shape.width * shape.channels * sizeof(float);
    if (size_bytes > FM_BUILDER_ROW_BYTES) {
        give_up(builder, fail_row(builder->err));
        return made;
    }
    made.value = builder->n_values++;
    builder->values[made.value] = (live_value){.size_bytes = size_bytes, .last_user = made.value};
    return made;
}

/* The most bytes that are alive at once in one row. */
static fm_status measure(const fm_builder *builder, size_t *ret, fm_error *err)
{
    size_t count = builder->n_values;
    size_t *dying = fm_alloc_array(count + 2, sizeof *dying);
    if (dying == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to plan a network");
    }
    size_t live = 0;
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        live += builder->values[i].size_bytes;
        most = live > most ? live : most;
        dying[builder->values[i].last_user] += builder->values[i].size_bytes;
        live -= dying[i];
    }
    fm_free(dying);
    *ret = most;
    return FM_OK;
}

/* ---- tensors ---- */

static const fm_tensor *take(fm_builder *builder, const char *name, size_t rank,
                             const size_t *shape)
{
    const fm_tensor *tensor = NULL;
    bool first = builder->status == FM_OK;
    fm_status status =
        fm_weights_take(builder->weights, name, rank, shape, &tensor, first ? builder->err : NULL);
    if (status == FM_OK) {
        builder->parameter_count += tensor->count;
        return tensor;
    }
    builder->status = first ? status : builder->status;
    builder->n_refused++;
    if (status == FM_ENOMEM) {
        give_up(builder, fm_fail(builder->err, status, "no memory for a tensor's name"));
    }
    return NULL;
}

static const fm_tensor *take_part(fm_builder *builder, const char *stem, const char *part,
                                  const char *kind, size_t rank, const size_t *shape)
{
    char name[TENSOR_NAME_BYTES];
    int length = snprintf(name, sizeof name, "%s.%s.%s", stem, part, kind);
    assert(length > 0 && (size_t)length < sizeof name);
    (void)length;
    return take(builder, name, rank, shape);
}

void fm_layer_floats_done(fm_layer_floats *layer)
{
    fm_tensor_floats_done(&layer->bias);
    fm_tensor_floats_done(&layer->weight);
}

bool fm_builder_take_layer(fm_builder *builder, const char *stem, const char *part, size_t rank,
                           const size_t *shape, bool has_bias, fm_layer_floats *ret)
{
    *ret = (fm_layer_floats){0};
    if (is_over(builder)) {
        return false;
    }
    const fm_tensor *weight = take_part(builder, stem, part, "weight", rank, shape);
    const fm_tensor *bias = has_bias ? take_part(builder, stem, part, "bias", 1, shape) : NULL;
    if (builder->plan == NULL || builder->status != FM_OK) {
        return false;
    }
    builder->status = fm_tensor_floats_init(weight, &ret->weight, builder->err);
    if (builder->status == FM_OK && has_bias) {
        builder->status = fm_tensor_floats_init(bias, &ret->bias, builder->err);
    }
    if (builder->status != FM_OK) {
        fm_layer_floats_done(ret);
    }
    return builder->status == FM_OK;
}

bool fm_builder_take_alone(fm_builder *builder, const char *name, size_t rank, const size_t *shape,
                           fm_tensor_floats *ret)
{
    *ret = (fm_tensor_floats){0};
    if (is_over(builder)) {
        return false;
    }
    const fm_tensor *tensor = take(builder, name, rank, shape);
    if (builder->plan == NULL || builder->status != FM_OK) {
        return false;
    }
    builder->status = fm_tensor_floats_init(tensor, ret, builder->err);
    return builder->status == FM_OK;
}

bool fm_builder_take_buffer(fm_builder *builder, const char *name, size_t count,
                            fm_tensor_floats *ret)
{
    size_t counted = builder->parameter_count;
    *ret = (fm_tensor_floats){0};
    if (fm_weights_peek(builder->weights, name) == NULL) {
        return false;
    }
    bool taken = fm_builder_take_alone(builder, name, 1, &count, ret);
    builder->parameter_count = counted;
    return taken;
}

bool fm_builder_plans(const fm_builder *builder)
{
    return builder->plan != NULL && builder->status == FM_OK;
}

/* ---- the two walks ---- */

/* Leaves the bytes of one row's activations, and the number of parameters in the builder. */
static fm_status walk_dry(fm_builder *builder, const fm_model_config *config, fm_builder_walk walk,
                          size_t *ret_row_bytes)
{
    walk(builder, config);
    fm_status status = builder->status;
    if (status == FM_OK) {
        status = fm_weights_finish(builder->weights, builder->err);
    }
    if (status == FM_OK) {
        status = measure(builder, ret_row_bytes, builder->err);
    }
    if (status == FM_OK && *ret_row_bytes > FM_BUILDER_ROW_BYTES) {
        status = fail_row(builder->err);
    }
    return status;
}

static size_t tile_rows(size_t row_bytes)
{
    size_t rows = FM_BUILDER_MOST_ROWS;
    while (rows > FM_BUILDER_LEAST_ROWS && row_bytes > FM_BUILDER_TILE_BYTES / rows) {
        rows /= 2;
    }
    return rows;
}

static fm_status walk_planning(fm_builder *builder, const fm_model_config *config,
                               fm_builder_walk walk, size_t max_rows, fm_network **ret)
{
    size_t parameter_count = builder->parameter_count;
    fm_status status = fm_plan_new(max_rows, config->compute, &builder->plan, builder->err);
    if (status != FM_OK) {
        return status;
    }
    if (config->reversible) {
        fm_plan_make_reversible(builder->plan);
    }
    walk(builder, config);
    status = builder->status;
    if (status == FM_OK) {
        status = fm_plan_finish(builder->plan, builder->err);
    }
    if (status != FM_OK) {
        fm_plan_free(builder->plan);
        return status;
    }
    status = fm_plan_network_new(builder->plan, ret, builder->err);
    if (status == FM_OK) { /* the library's count: what is not computed, too */
        (*ret)->info.parameter_count = parameter_count;
    }
    return status;
}

fm_status fm_builder_network(const fm_model_config *config, fm_weights *weights,
                             fm_builder_walk walk, fm_network **ret, fm_error *err)
{
    fm_builder builder = {.weights = weights, .err = err};
    size_t row_bytes = 0;
    fm_status status = walk_dry(&builder, config, walk, &row_bytes);
    fm_free(builder.values);
    return status == FM_OK && ret != NULL
               ? walk_planning(&builder, config, walk, tile_rows(row_bytes), ret)
               : status;
}
