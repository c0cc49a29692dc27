/* The ops of plan_frames.h on both walks. */
#include "engine/network/builder_frames.h"

#include "engine/memory.h"
#include "engine/network/builder_private.h"

#include <assert.h>
#include <string.h>

fm_built fm_builder_state(fm_builder *builder, size_t numbers)
{
    const fm_plan_image_spec vector = {.channels = numbers, .height = 1, .width = 1};
    return fm_builder_image(builder, &vector);
}

fm_built fm_builder_table(fm_builder *builder, const char *name, size_t count, size_t channels)
{
    const fm_plan_shape shape = {.height = 1, .width = count, .channels = channels};
    fm_built made = fm_builder_make(builder, shape);
    fm_tensor_floats table;
    if (fm_builder_take_alone(builder, name, 3, (size_t[]){1, count, channels}, &table)) {
        builder->status =
            fm_plan_table(builder->plan, &shape, table.values, &made.value, builder->err);
        fm_tensor_floats_done(&table);
    }
    return made;
}

/* A row of the table for every pair. */
static float *offsets_spread(const float *table, size_t n, size_t channels)
{
    float *spread = fm_alloc_array(n * n * channels, sizeof *spread);
    for (size_t p = 0; p < n * n && spread != NULL; p++) {
        size_t i = p / n, j = p % n;
        memcpy(spread + p * channels, table + (j + n - 1 - i) * channels,
               channels * sizeof *spread);
    }
    return spread;
}

fm_built fm_builder_offsets(fm_builder *builder, fm_built in, const char *name)
{
    size_t n = in.shape.width, channels = in.shape.channels;
    assert(in.shape.height == n);
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, in.shape);
    fm_tensor_floats table;
    if (fm_builder_take_alone(builder, name, 2, (size_t[]){2 * n - 1, channels}, &table)) {
        float *spread = offsets_spread(table.values, n, channels);
        builder->status = spread == NULL ? fm_fail(builder->err, FM_ENOMEM, "no memory for offsets")
                                         : fm_plan_positions(builder->plan, in.value, spread,
                                                             &made.value, builder->err);
        fm_free(spread);
        fm_tensor_floats_done(&table);
    }
    return made;
}

fm_built fm_builder_activation(fm_builder *builder, fm_built in, fm_activation activation)
{
    fm_builder_use(builder, in.value);
    fm_built made = fm_builder_make(builder, in.shape);
    if (fm_builder_plans(builder)) {
        builder->status =
            fm_plan_sum(builder->plan, in.value, NULL, activation, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_relative_frames(fm_builder *builder, fm_built state,
                                    const fm_plan_relative_frames_spec *spec)
{
    size_t length = state.shape.channels / FM_FRAME_INPUTS;
    fm_builder_use(builder, state.value);
    fm_built made = fm_builder_make(
        builder, (fm_plan_shape){
                     .height = length, .width = length, .channels = FM_FRAME_INPUTS + spec->bins});
    if (fm_builder_plans(builder)) {
        builder->status =
            fm_plan_relative_frames(builder->plan, state.value, spec, &made.value, builder->err);
    }
    return made;
}

fm_built fm_builder_pair_attention(fm_builder *builder, size_t heads, fm_built qkv, fm_built bias,
                                   fm_built pairs)
{
    fm_builder_use(builder, qkv.value);
    fm_builder_use(builder, bias.value);
    fm_builder_use(builder, pairs.value);
    size_t channels = qkv.shape.channels / 3 + heads * pairs.shape.channels;
    fm_built made = fm_builder_make(
        builder, (fm_plan_shape){.height = 1, .width = qkv.shape.width, .channels = channels});
    if (fm_builder_plans(builder)) {
        const fm_plan_pair_attention_spec spec = {
            .heads = heads, .qkv = qkv.value, .bias = bias.value, .pairs = pairs.value};
        builder->status = fm_plan_pair_attention(builder->plan, &spec, &made.value, builder->err);
    }
    return made;
}

void fm_builder_frames_output(fm_builder *builder, fm_built nodes, fm_built state)
{
    fm_builder_use(builder, nodes.value);
    fm_builder_use(builder, state.value);
    if (fm_builder_plans(builder)) {
        builder->status =
            fm_plan_frames_output(builder->plan, nodes.value, state.value, builder->err);
    }
}
