/* What each kind of op asks of the checkpoint and of the plan. */
#include "engine/memory.h"
#include "engine/network/builder.h"
#include "engine/network/builder_private.h"

#include <assert.h>
#include <string.h>

#define GROUPS           ((size_t)32)
#define GROUP_EPSILON    1e-5
#define LAYER_EPSILON    1e-6
#define WEIGHTED_EPSILON 1e-5
#define MAX_PERIOD       10000.0

static fm_plan_shape vector_of(size_t channels)
{
    return (fm_plan_shape){.height = 1, .width = 1, .channels = channels};
}

/* ---- what enters and leaves ---- */

fm_built fm_builder_image(fm_builder *builder, const fm_plan_image_spec *spec)
{
    fm_built made = fm_builder_make(
        builder, (fm_plan_shape){.height = spec->height,
                                 .width = spec->width,
                                 .channels = spec->channels * (1 + 2 * spec->n_frequencies)});
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_image(builder->plan, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_patches(fm_builder *builder, const fm_plan_patches_spec *spec)
{
    fm_plan_shape shape = {.height = spec->height / spec->patch,
                           .width = spec->width / spec->patch,
                           .channels = spec->channels * spec->patch * spec->patch};
    fm_built made = fm_builder_make(builder, shape);
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_patches(builder->plan, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_tokens(fm_builder *builder, const char *name, size_t count, size_t size,
                           size_t length)
{
    fm_built made =
        fm_builder_make(builder, (fm_plan_shape){.height = 1, .width = length, .channels = size});
    fm_tensor_floats table;
    if (fm_builder_take_alone(builder, name, 2, (size_t[]){count, size}, &table)) {
        const fm_plan_tokens_spec spec = {
            .length = length, .count = count, .size = size, .table = table.values};
        builder->status = fm_plan_tokens(builder->plan, &spec, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

fm_built fm_builder_time(fm_builder *builder, size_t size)
{
    fm_built made = fm_builder_make(builder, vector_of(size));
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_time(builder->plan, size, MAX_PERIOD, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_label(fm_builder *builder, const char *name, size_t count, size_t size)
{
    fm_built made = fm_builder_make(builder, vector_of(size));
    fm_tensor_floats table;
    if (fm_builder_take_alone(builder, name, 2, (size_t[]){count, size}, &table)) {
        builder->status =
            fm_plan_label(builder->plan, table.values, count, size, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

void fm_builder_output(fm_builder *builder, fm_built in)
{
    fm_builder_use(builder, in.value);
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_output(builder->plan, in.value, builder->err);
    }
}

void fm_builder_image_output(fm_builder *builder, fm_built in, size_t channels)
{
    fm_builder_use(builder, in.value);
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_image_output(builder->plan, in.value, channels, builder->err);
    }
}

void fm_builder_patches_output(fm_builder *builder, fm_built in,
                               const fm_plan_patches_output_spec *spec)
{
    fm_builder_use(builder, in.value);
    if (fm_builder_plans(builder)) {
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
    fm_builder_use(builder, in.value);
    fm_builder_use_optional(builder, spec->row_bias);
    fm_builder_use_optional(builder, spec->gate);
    fm_builder_use_optional(builder, spec->residual);
    fm_built made =
        fm_builder_make(builder, (fm_plan_shape){.height = (in.shape.height - 1) / conv.stride + 1,
                                                 .width = (in.shape.width - 1) / conv.stride + 1,
                                                 .channels = conv.outputs});
    size_t shape[4];
    size_t rank = weight_shape(spec, in.shape.channels, conv.kernel, shape);
    fm_layer_floats layer;
    if (fm_builder_take_layer(builder, stem, part, rank, shape, !spec->no_bias, &layer)) {
        conv.weight = layer.weight.values;
        conv.bias = layer.bias.values;
        builder->status = fm_plan_conv(builder->plan, in.value, &conv, &made.value, builder->err);
        fm_layer_floats_done(&layer);
    }
    return made;
}

/* Their weights one after the other; NULL without memory, or where the walk is dry. */
static float *weights_join(fm_builder *builder, const char *stem, const char *const *parts,
                           size_t n_parts, const size_t shape[2])
{
    size_t count = shape[0] * shape[1];
    float *joined = NULL;
    if (fm_builder_plans(builder)) {
        joined = fm_alloc_array(n_parts * count, sizeof *joined);
        if (joined == NULL) {
            builder->status = fm_fail(builder->err, FM_ENOMEM, "no memory for joined layers");
        }
    }
    for (size_t i = 0; i < n_parts; i++) {
        fm_layer_floats layer;
        if (fm_builder_take_layer(builder, stem, parts[i], 2, shape, false, &layer)) {
            assert(joined != NULL); /* or there would be no plan to take it for */
            memcpy(joined + i * count, layer.weight.values, count * sizeof *joined);
            fm_layer_floats_done(&layer);
        }
    }
    return joined;
}

fm_built fm_builder_joined(fm_builder *builder, fm_built in, const char *stem,
                           const char *const *parts, size_t n_parts, size_t outputs)
{
    const size_t shape[] = {outputs, in.shape.channels};
    fm_builder_use(builder, in.value);
    fm_plan_shape out = in.shape;
    out.channels = n_parts * outputs;
    fm_built made = fm_builder_make(builder, out);
    float *weight = weights_join(builder, stem, parts, n_parts, shape);
    if (fm_builder_plans(builder)) {
        const fm_plan_conv_spec conv = {
            .outputs = out.channels, .kernel = 1, .stride = 1, .weight = weight};
        builder->status = fm_plan_conv(builder->plan, in.value, &conv, &made.value, builder->err);
    }
    fm_free(weight);
    return made;
}

fm_built fm_builder_group_norm(fm_builder *builder, fm_built in, const char *stem, const char *part,
                               const fm_plan_modulation *modulation, fm_activation activation)
{
    fm_builder_use(builder, in.value);
    if (modulation != NULL) {
        fm_builder_use(builder, modulation->value);
    }
    fm_built made = fm_builder_make(builder, in.shape);
    fm_layer_floats layer;
    if (fm_builder_take_layer(builder, stem, part, 1, &in.shape.channels, true, &layer)) {
        fm_plan_group_norm_spec norm = {.groups = GROUPS,
                                        .epsilon = GROUP_EPSILON,
                                        .weight = layer.weight.values,
                                        .bias = layer.bias.values,
                                        .modulation = modulation,
                                        .activation = activation};
        builder->status =
            fm_plan_group_norm(builder->plan, in.value, &norm, &made.value, builder->err);
        fm_layer_floats_done(&layer);
    }
    return made;
}

fm_built fm_builder_positions(fm_builder *builder, fm_built in, const char *name)
{
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, in.shape);
    size_t shape[] = {1, in.shape.height * in.shape.width, in.shape.channels};
    fm_tensor_floats table;
    if (fm_builder_take_alone(builder, name, 3, shape, &table)) {
        builder->status =
            fm_plan_positions(builder->plan, in.value, table.values, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

fm_built fm_builder_weighted_norm(fm_builder *builder, fm_built in, const char *stem,
                                  const char *part, const fm_plan_modulation *modulation)
{
    fm_builder_use(builder, in.value);
    fm_builder_use(builder, modulation->value);
    fm_built made = fm_builder_make(builder, in.shape);
    fm_layer_floats layer;
    if (fm_builder_take_layer(builder, stem, part, 1, &in.shape.channels, false, &layer)) {
        const fm_plan_layer_norm_spec norm = {
            .epsilon = WEIGHTED_EPSILON, .weight = layer.weight.values, .modulation = modulation};
        builder->status =
            fm_plan_layer_norm(builder->plan, in.value, &norm, &made.value, builder->err);
        fm_layer_floats_done(&layer);
    }
    return made;
}

fm_built fm_builder_rotary(fm_builder *builder, fm_built in, const fm_plan_attention_spec *spec,
                           const char *name)
{
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, in.shape);
    fm_tensor_floats frequencies;
    (void)fm_builder_take_buffer(builder, name, spec->head_channels / 2, &frequencies);
    if (fm_builder_plans(builder)) {
        const fm_plan_rotary_spec rotary = {.heads = spec->heads,
                                            .head_channels = spec->head_channels,
                                            .heads_first = spec->heads_first,
                                            .frequencies = frequencies.values};
        builder->status =
            fm_plan_rotary(builder->plan, in.value, &rotary, &made.value, builder->err);
    }
    fm_tensor_floats_done(&frequencies);
    return made;
}

/* ---- layers without ---- */

fm_built fm_builder_layer_norm(fm_builder *builder, fm_built in,
                               const fm_plan_modulation *modulation)
{
    fm_builder_use(builder, in.value);
    if (modulation != NULL) {
        fm_builder_use(builder, modulation->value);
    }
    fm_built made = fm_builder_make(builder, in.shape);
    if (fm_builder_plans(builder)) {
        fm_plan_layer_norm_spec norm = {.epsilon = LAYER_EPSILON, .modulation = modulation};
        builder->status =
            fm_plan_layer_norm(builder->plan, in.value, &norm, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_attention(fm_builder *builder, fm_built in, const fm_plan_attention_spec *spec)
{
    assert(in.shape.channels == 3 * spec->heads * spec->head_channels);
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, (fm_plan_shape){.height = in.shape.height,
                                                             .width = in.shape.width,
                                                             .channels = in.shape.channels / 3});
    if (fm_builder_plans(builder)) {
        builder->status =
            fm_plan_attention(builder->plan, in.value, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_concat(fm_builder *builder, fm_built a, fm_built b)
{
    assert(a.shape.height == b.shape.height && a.shape.width == b.shape.width);
    fm_builder_use(builder, a.value);
    fm_builder_use(builder, b.value);
    fm_built made =
        fm_builder_make(builder, (fm_plan_shape){.height = a.shape.height,
                                                 .width = a.shape.width,
                                                 .channels = a.shape.channels + b.shape.channels});
    if (fm_builder_plans(builder)) {
        builder->status =
            fm_plan_concat(builder->plan, a.value, b.value, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_upsample(fm_builder *builder, fm_built in)
{
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, (fm_plan_shape){.height = in.shape.height * 2,
                                                             .width = in.shape.width * 2,
                                                             .channels = in.shape.channels});
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_upsample(builder->plan, in.value, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_pool(fm_builder *builder, fm_built in)
{
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, (fm_plan_shape){.height = in.shape.height / 2,
                                                             .width = in.shape.width / 2,
                                                             .channels = in.shape.channels});
    if (fm_builder_plans(builder)) {
        builder->status = fm_plan_pool(builder->plan, in.value, &made.value, builder->err);
    }
    return made;
}
