/* Spaces to loop over: one of each kind, powers of points, products; and smooth fields on them. */
#ifndef TESTS_SPACE_FIELD_H
#define TESTS_SPACE_FIELD_H

#include "engine/space/space.h"

#include <stdint.h>

#define SPACE_FIELD_MAX_NUMBERS 64 /* states, inputs, outputs */

/* How many there are, and space i of them with its name. */
size_t space_field_count(void);
fm_space space_field_at(size_t i, const char **ret_name);

/* A point of the space's source, the n-th. */
void space_field_point(const fm_space *space, uint64_t n, double *ret);

/* A smooth output [outputs] of an input [inputs] at time t, with entries of at most `size`. */
void space_field_output(const fm_space *space, double size, double t, const double *input,
                        double *ret);
/* A velocity made of it, which does not lead beyond the space. */
void space_field_velocity(const fm_space *space, double size, double t, const double *x, double *v);

/* The largest entry of a - b, which are coordinates of the space around: of angles along the circle. */
double space_field_gap(const fm_space *space, const double *a, const double *b);

#endif
