/* Spaces of every kind, with points, slopes and a smooth field on them. */
#ifndef TESTS_SPACE_CASE_H
#define TESTS_SPACE_CASE_H

#include "engine/space/space.h"

#include <stdint.h>

#define SPACE_CASE_MOST 160 /* numbers of a state, an input or an output */
#define SPACE_CASE_PI   3.14159265358979323846

typedef struct space_case {
    const char *name;
    fm_space space;
} space_case;

/* Every kind alone, in several sizes, and a product of all; 0 … space_case_count() - 1. */
int space_case_count(void);
void space_case_at(int index, space_case *ret);

/* A space of one part. */
fm_space space_case_of(fm_space_part part);

/* A point of the source, as a network sees it: w >= 0. */
void space_case_point(const fm_space *space, uint64_t seed, double *x);
/* A slope at x whose geodesic is so long. */
void space_case_slope(const fm_space *space, const double *x, uint64_t seed, double length,
                      double *u);

/* The same space, fed and answering with slopes, so that coordinates can be had of any slope. */
fm_space space_case_twin(const fm_space *space);
/* The slope at x with coordinate k one and the others zero. */
void space_case_unit(const fm_space *space, const double *x, size_t k, double *u);
/* y - x by numbers, of angles the shorter way. */
void space_case_difference(const fm_space *space, const double *x, const double *y, double *ret);

/* out_j = sin(sum_i W_ji in_i + j), of what the network is fed, and its derivative. */
void space_case_field(const fm_space *space, const double *input, double *out);
void space_case_field_derivative(const fm_space *space, const double *input, const double *tangent,
                                 double *out);

double space_case_most(size_t n, const double *values); /* the largest |value| */

#endif
