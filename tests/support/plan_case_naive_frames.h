/* What the ops of plan_frames.h mean, in float64: of one row, values [pixels][channels]. */
#ifndef TESTS_PLAN_CASE_NAIVE_FRAMES_H
#define TESTS_PLAN_CASE_NAIVE_FRAMES_H

#include <stddef.h>

#define PLAN_NAIVE_BUMP_WIDTH 0.7

/* state [n][12], ret [n][n][12 + bins] */
void plan_naive_relative_frames(size_t n, size_t bins, const double *state, double *ret);

typedef struct plan_naive_pairs {
    size_t n, heads, head_channels, pair_channels;
    const double *qkv, *bias, *pairs;
} plan_naive_pairs;
/* ret [n][heads (head_channels + pair_channels)] */
void plan_naive_pair_attention(const plan_naive_pairs *it, double *ret);

/* nodes [n][6], state [n][12], ret [n][6] */
void plan_naive_frames_output(size_t n, const double *nodes, const double *state, double *ret);

#endif
