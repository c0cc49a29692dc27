/* The two walks, and what each kind of op asks of the checkpoint and of the plan. */
#include "engine/network/builder.h"

#include "engine/checkpoint/tensor_floats.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>

#define GROUPS            ((size_t)32)
#define GROUP_EPSILON     1e-5
#define LAYER_EPSILON     1e-6
#define MAX_PERIOD        10000.0
#define TENSOR_NAME_BYTES ((size_t)128)
#define MAX_REFUSED       ((size_t)4096) /* tensors; a configuration could ask for many more */

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

/* By the op whose value is made next. */
static void use(fm_builder *builder, fm_plan_value value)
{
    if (builder->plan == NULL && !is_over(builder)) {
        builder->values[value].last_user = builder->n_values;
    }
}

static void use_optional(fm_builder *builder, const fm_built *built)
{
    if (built != NULL) {
        use(builder, built->value);
    }
}

/* A new value; its number is the plan's to give where there is one. */
static fm_built make(fm_builder *builder, fm_plan_shape shape)
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

static fm_plan_shape vector_of(size_t channels)
{
    return (fm_plan_shape){.height = 1, .width = 1, .channels = channels};
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

/* A layer's two tensors. */
typedef struct layer_floats {
    fm_tensor_floats weight, bias;
} layer_floats;

static void layer_floats_done(layer_floats *layer)
{
    fm_tensor_floats_done(&layer->bias);
    fm_tensor_floats_done(&layer->weight);
}

/* Asks for both; only where a plan is built their numbers are made ready, and true says so. */
static bool take_layer(fm_builder *builder, const char *stem, const char *part, size_t rank,
                       const size_t *shape, layer_floats *ret)
{
    *ret = (layer_floats){0};
    if (is_over(builder)) {
        return false;
    }
    const fm_tensor *weight = take_part(builder, stem, part, "weight", rank, shape);
    const fm_tensor *bias = take_part(builder, stem, part, "bias", 1, shape);
    if (builder->plan == NULL || builder->status != FM_OK) {
        return false;
    }
    builder->status = fm_tensor_floats_init(weight, &ret->weight, builder->err);
    if (builder->status == FM_OK) {
        builder->status = fm_tensor_floats_init(bias, &ret->bias, builder->err);
    }
    if (builder->status != FM_OK) {
        layer_floats_done(ret);
    }
    return builder->status == FM_OK;
}

/* The same for a tensor that stands alone. */
static bool take_alone(fm_builder *builder, const char *name, size_t rank, const size_t *shape,
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

/* Whether ops without tensors are to be added to the plan. */
static bool plans(const fm_builder *builder)
{
    return builder->plan != NULL && builder->status == FM_OK;
}

/* ---- what enters and leaves ---- */

fm_built fm_builder_image(fm_builder *builder, const fm_plan_image_spec *spec)
{
    fm_built made =
        make(builder, (fm_plan_shape){.height = spec->height,
                                      .width = spec->width,
                                      .channels = spec->channels * (1 + 2 * spec->n_frequencies)});
    if (plans(builder)) {
        builder->status = fm_plan_image(builder->plan, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_patches(fm_builder *builder, const fm_plan_patches_spec *spec)
{
    fm_plan_shape shape = {.height = spec->height / spec->patch,
                           .width = spec->width / spec->patch,
                           .channels = spec->channels * spec->patch * spec->patch};
    fm_built made = make(builder, shape);
    if (plans(builder)) {
        builder->status = fm_plan_patches(builder->plan, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_time(fm_builder *builder, size_t size)
{
    fm_built made = make(builder, vector_of(size));
    if (plans(builder)) {
        builder->status = fm_plan_time(builder->plan, size, MAX_PERIOD, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_label(fm_builder *builder, const char *name, size_t count, size_t size)
{
    fm_built made = make(builder, vector_of(size));
    fm_tensor_floats table;
    if (take_alone(builder, name, 2, (size_t[]){count, size}, &table)) {
        builder->status =
            fm_plan_label(builder->plan, table.values, count, size, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

void fm_builder_image_output(fm_builder *builder, fm_built in, size_t channels)
{
    use(builder, in.value);
    if (plans(builder)) {
        builder->status = fm_plan_image_output(builder->plan, in.value, channels, builder->err);
    }
}

void fm_builder_patches_output(fm_builder *builder, fm_built in,
                               const fm_plan_patches_output_spec *spec)
{
    use(builder, in.value);
    if (plans(builder)) {
        builder->status = fm_plan_patches_output(builder->plan, in.value, spec, builder->err);
    }
}

/* ---- layers with tensors ---- */

/* The rank of the weight, and its shape. */
static size_t weight_shape(const fm_builder_conv_spec *spec, size_t inputs, size_t kernel,
                           size_t ret[4])
{
    bool is_patch = spec->weight == FM_BUILDER_PATCH;
    ret[0] = spec->outputs;
    ret[1] = is_patch ? inputs / (spec->patch * spec->patch) : inputs;
    ret[2] = is_patch ? spec->patch : kernel;
    ret[3] = ret[2];
    switch (spec->weight) {
    case FM_BUILDER_LINEAR:
        return 2;
    case FM_BUILDER_CONV1D:
        return 3;
    case FM_BUILDER_CONV2D:
    case FM_BUILDER_PATCH:
        break;
    }
    return 4;
}

static const fm_plan_value *value_of(const fm_built *built)
{
    return built == NULL ? NULL : &built->value;
}

/* The op of a spec without its tensors. */
static fm_plan_conv_spec conv_of(const fm_builder_conv_spec *spec)
{
    return (fm_plan_conv_spec){.outputs = spec->kept == 0 ? spec->outputs : spec->kept,
                               .kernel = spec->kernel == 0 ? 1 : spec->kernel,
                               .stride = spec->stride == 0 ? 1 : spec->stride,
                               .activation = spec->activation,
                               .row_bias = value_of(spec->row_bias),
                               .gate = value_of(spec->gate),
                               .gate_column = spec->gate_column,
                               .residual = value_of(spec->residual)};
}

fm_built fm_builder_conv(fm_builder *builder, fm_built in, const char *stem, const char *part,
                         const fm_builder_conv_spec *spec)
{
    fm_plan_conv_spec conv = conv_of(spec);
    use(builder, in.value);
    use_optional(builder, spec->row_bias);
    use_optional(builder, spec->gate);
    use_optional(builder, spec->residual);
    fm_built made = make(builder, (fm_plan_shape){.height = (in.shape.height - 1) / conv.stride + 1,
                                                  .width = (in.shape.width - 1) / conv.stride + 1,
                                                  .channels = conv.outputs});
    size_t shape[4];
    size_t rank = weight_shape(spec, in.shape.channels, conv.kernel, shape);
    layer_floats layer;
    if (take_layer(builder, stem, part, rank, shape, &layer)) {
        conv.weight = layer.weight.values;
        conv.bias = layer.bias.values;
        builder->status = fm_plan_conv(builder->plan, in.value, &conv, &made.value, builder->err);
        layer_floats_done(&layer);
    }
    return made;
}

fm_built fm_builder_group_norm(fm_builder *builder, fm_built in, const char *stem, const char *part,
                               const fm_plan_modulation *modulation, fm_activation activation)
{
    use(builder, in.value);
    if (modulation != NULL) {
        use(builder, modulation->value);
    }
    fm_built made = make(builder, in.shape);
    layer_floats layer;
    if (take_layer(builder, stem, part, 1, &in.shape.channels, &layer)) {
        fm_plan_group_norm_spec norm = {.groups = GROUPS,
                                        .epsilon = GROUP_EPSILON,
                                        .weight = layer.weight.values,
                                        .bias = layer.bias.values,
                                        .modulation = modulation,
                                        .activation = activation};
        builder->status =
            fm_plan_group_norm(builder->plan, in.value, &norm, &made.value, builder->err);
        layer_floats_done(&layer);
    }
    return made;
}

fm_built fm_builder_positions(fm_builder *builder, fm_built in, const char *name)
{
    use(builder, in.value);
    fm_built made = make(builder, in.shape);
    size_t shape[] = {1, in.shape.height * in.shape.width, in.shape.channels};
    fm_tensor_floats table;
    if (take_alone(builder, name, 3, shape, &table)) {
        builder->status =
            fm_plan_positions(builder->plan, in.value, table.values, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

/* ---- layers without ---- */

fm_built fm_builder_layer_norm(fm_builder *builder, fm_built in,
                               const fm_plan_modulation *modulation)
{
    use(builder, in.value);
    if (modulation != NULL) {
        use(builder, modulation->value);
    }
    fm_built made = make(builder, in.shape);
    if (plans(builder)) {
        fm_plan_layer_norm_spec norm = {.epsilon = LAYER_EPSILON, .modulation = modulation};
        builder->status =
            fm_plan_layer_norm(builder->plan, in.value, &norm, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_attention(fm_builder *builder, fm_built in, const fm_plan_attention_spec *spec)
{
    assert(in.shape.channels == 3 * spec->heads * spec->head_channels);
    use(builder, in.value);
    fm_built made = make(builder, (fm_plan_shape){.height = in.shape.height,
                                                  .width = in.shape.width,
                                                  .channels = in.shape.channels / 3});
    if (plans(builder)) {
        builder->status =
            fm_plan_attention(builder->plan, in.value, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_concat(fm_builder *builder, fm_built a, fm_built b)
{
    assert(a.shape.height == b.shape.height && a.shape.width == b.shape.width);
    use(builder, a.value);
    use(builder, b.value);
    fm_built made = make(builder, (fm_plan_shape){.height = a.shape.height,
                                                  .width = a.shape.width,
                                                  .channels = a.shape.channels + b.shape.channels});
    if (plans(builder)) {
        builder->status =
            fm_plan_concat(builder->plan, a.value, b.value, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_upsample(fm_builder *builder, fm_built in)
{
    use(builder, in.value);
    fm_built made = make(builder, (fm_plan_shape){.height = in.shape.height * 2,
                                                  .width = in.shape.width * 2,
                                                  .channels = in.shape.channels});
    if (plans(builder)) {
        builder->status = fm_plan_upsample(builder->plan, in.value, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_pool(fm_builder *builder, fm_built in)
{
    use(builder, in.value);
    fm_built made = make(builder, (fm_plan_shape){.height = in.shape.height / 2,
                                                  .width = in.shape.width / 2,
                                                  .channels = in.shape.channels});
    if (plans(builder)) {
        builder->status = fm_plan_pool(builder->plan, in.value, &made.value, builder->err);
    }
    return made;
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
