/* What networks of frames ask of the checkpoint and of the plan, beside builder.h. */
#ifndef FM_BUILDER_FRAMES_H
#define FM_BUILDER_FRAMES_H

#include "engine/network/builder.h"
#include "engine/network/plan_frames.h"

/* The tile's states as they are: a vector of so many numbers. First. */
fm_built fm_builder_state(fm_builder *builder, size_t numbers);
/* Tensor `name` [1][count][channels] as an image one pixel high. */
fm_built fm_builder_table(fm_builder *builder, const char *name, size_t count, size_t channels);
/* Adds to the pixel (i, j) of a square image of n the row j - i + n - 1 of tensor `name` [2 n - 1][channels]. */
fm_built fm_builder_offsets(fm_builder *builder, fm_built in, const char *name);
/* activation(in) */
fm_built fm_builder_activation(fm_builder *builder, fm_built in, fm_activation activation);
fm_built fm_builder_relative_frames(fm_builder *builder, fm_built state,
                                    const fm_plan_relative_frames_spec *spec);
fm_built fm_builder_pair_attention(fm_builder *builder, size_t heads, fm_built qkv, fm_built bias,
                                   fm_built pairs);
void fm_builder_frames_output(fm_builder *builder, fm_built nodes, fm_built state);

#endif
