/* The ops of networks of frames: what does not change when all frames are turned and shifted together, attention that
 * knows of pairs, and the way back into the world.
 *
 * Values as in plan_image.h. The nodes of a chain are an image one pixel high, its pairs (i, j) an image of as many lines
 * as columns: i is the line. A state is a vector of 12 numbers a frame, [R row-major 9, x 3], and R need not be a
 * rotation: the derivatives are those of the formulas.
 *
 * Errors of every function: FM_ENOMEM. Shapes that do not fit together are mistakes of the architecture file, and assert. */
#ifndef FM_PLAN_FRAMES_H
#define FM_PLAN_FRAMES_H

#include "engine/network/plan_image.h"

#define FM_FRAME_INPUTS  ((size_t)12)
#define FM_FRAME_OUTPUTS ((size_t)6)

/* The same numbers for every row: entries [height][width][channels]. */
FM_MUST_USE fm_status fm_plan_table(fm_plan *plan, const fm_plan_shape *shape, const float *entries,
                                    fm_plan_value *ret, fm_error *err);

/* The frames as they lie in each other, [n][n][12 + bins]: R_i^T (x_j - x_i), then R_i^T R_j row-major, then the distance
 * d = sqrt(|x_j - x_i|^2 + 1e-6) (measured in i's frame) as exp(-((d - k w) / w)^2 / 2), k = 0 ... bins - 1. */
typedef struct fm_plan_relative_frames_spec {
    size_t bins;
    double width; /* w */
} fm_plan_relative_frames_spec;
FM_MUST_USE fm_status fm_plan_relative_frames(fm_plan *plan, fm_plan_value state,
                                              const fm_plan_relative_frames_spec *spec,
                                              fm_plan_value *ret, fm_error *err);

/* Attention of nodes with pairs z: head by head, softmax over j of head_channels^(-1/2) q_i k_j + bias_ij weighs v_j and
 * z_ij.
 *   qkv    [1][n][q of all heads | k | v]
 *   bias   [n][n][heads]
 *   pairs  [n][n][c]
 *   out    [1][n][head][head_channels], then [head][c] */
typedef struct fm_plan_pair_attention_spec {
    size_t heads;
    fm_plan_value qkv, bias, pairs;
} fm_plan_pair_attention_spec;
FM_MUST_USE fm_status fm_plan_pair_attention(fm_plan *plan, const fm_plan_pair_attention_spec *spec,
                                             fm_plan_value *ret, fm_error *err);

/* What leaves, of nodes [1][n][w 3, u 3] and the state: w as it is, and R u, frame by frame. Once, last. */
FM_MUST_USE fm_status fm_plan_frames_output(fm_plan *plan, fm_plan_value nodes, fm_plan_value state,
                                            fm_error *err);

#endif
