/* The numbers of plan_case.h's graphs, and what their ops mean, in float64. */
#ifndef TESTS_PLAN_CASE_NAIVE_H
#define TESTS_PLAN_CASE_NAIVE_H

#include "tests/support/plan_case.h"

#define PLAN_NAIVE_EPSILON 1e-5
#define PLAN_NAIVE_PERIOD  1e4

double plan_naive_frequency(size_t index);

/* A node's weight (or table) and bias, never NULL; made up from its place, released by
 * plan_naive_release(). They do not go through the engine's allocator, so that a test can fail that. */
float *plan_naive_weight(const plan_graph *graph, size_t index);
float *plan_naive_bias(const plan_graph *graph, size_t index);
void plan_naive_release(float *it);

/* One row's output. */
void plan_naive_run(const plan_graph *graph, const fm_tile_row *row, double *out);

#endif
