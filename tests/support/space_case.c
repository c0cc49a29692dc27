/* Spaces for tests. */
#include "tests/support/space_case.h"

#include "engine/math/rng.h"

#include <check.h>
#include <math.h>
#include <string.h>

#define NORMAL     {.id = FM_SOURCE_NORMAL, .std = 1.3}
#define UNIFORM    {.id = FM_SOURCE_UNIFORM}
#define WRAPPED    {.id = FM_SOURCE_WRAPPED_NORMAL, .std = 0.6}

#define QUATERNION .representation = FM_REPRESENTATION_QUATERNION
#define MATRIX     .representation = FM_REPRESENTATION_MATRIX

static const struct {
    const char *name;
    fm_space_part parts[FM_SPACE_MAX_PARTS];
} cases[] = {
    {"two points of R^3", {{FM_SPACE_EUCLIDEAN, .n = 3, .copies = 2, .source = NORMAL}}},
    {"a circle", {{FM_SPACE_SPHERE, .n = 2, .copies = 1, .source = UNIFORM}}},
    {"two points of S^2", {{FM_SPACE_SPHERE, .n = 3, .copies = 2, .source = UNIFORM}}},
    {"S^6", {{FM_SPACE_SPHERE, .n = 7, .copies = 1, .source = UNIFORM}}},
    {"four angles", {{FM_SPACE_TORUS, .n = 4, .copies = 1, .source = UNIFORM}}},
    {"a line in hyperbolic coordinates",
     {{FM_SPACE_HYPERBOLIC, .n = 1, .copies = 1, .source = WRAPPED}}},
    {"two points of H^3", {{FM_SPACE_HYPERBOLIC, .n = 3, .copies = 2, .source = WRAPPED}}},
    {"a positive number", {{FM_SPACE_SPD, .n = 1, .copies = 1, .source = WRAPPED}}},
    {"two matrices [2, 2]", {{FM_SPACE_SPD, .n = 2, .copies = 2, .source = WRAPPED}}},
    {"a matrix [5, 5]", {{FM_SPACE_SPD, .n = 5, .copies = 1, .source = WRAPPED}}},
    {"two quaternions", {{FM_SPACE_SO3, .n = 4, .copies = 2, QUATERNION, .source = UNIFORM}}},
    {"three rotations", {{FM_SPACE_SO3, .n = 4, .copies = 3, MATRIX, .source = UNIFORM}}},
    {"two frames", {{FM_SPACE_SE3, .n = 7, .copies = 2, QUATERNION, .source = NORMAL}}},
    {"four centred frames",
     {{FM_SPACE_SE3, .n = 7, .copies = 4, MATRIX,
       .source = {.id = FM_SOURCE_NORMAL, .std = 0.7, .centered = true}}}},
    {"a product of all",
     {{FM_SPACE_EUCLIDEAN, .n = 2, .copies = 1, .source = NORMAL},
      {FM_SPACE_SPHERE, .n = 3, .copies = 2, .source = UNIFORM},
      {FM_SPACE_TORUS, .n = 2, .copies = 1, .source = WRAPPED},
      {FM_SPACE_HYPERBOLIC, .n = 2, .copies = 1, .source = WRAPPED},
      {FM_SPACE_SPD, .n = 2, .copies = 1, .source = WRAPPED},
      {FM_SPACE_SO3, .n = 4, .copies = 2, MATRIX, .source = UNIFORM},
      {FM_SPACE_SE3, .n = 7, .copies = 3, QUATERNION,
       .source = {.id = FM_SOURCE_NORMAL, .std = 0.7, .centered = true}},
      {FM_SPACE_TOKENS, .n = 1, .copies = 3, .representation = FM_REPRESENTATION_INDEX,
       .vocabulary = 5, .source = {.id = FM_SOURCE_UNIFORM_TOKENS}}}},
};

int space_case_count(void)
{
    return (int)(sizeof cases / sizeof *cases);
}

void space_case_at(int index, space_case *ret)
{
    *ret = (space_case){.name = cases[index].name};
    fm_space *space = &ret->space;
    memcpy(space->parts, cases[index].parts, sizeof space->parts);
    while (space->n_parts < FM_SPACE_MAX_PARTS && space->parts[space->n_parts].copies > 0) {
        space->n_parts++;
    }
    space->is_product = space->n_parts > 1;
    fm_error err;
    ck_assert_msg(fm_space_init(space, &err) == FM_OK, "%s", err.text);
    ck_assert_uint_le(space->inputs, SPACE_CASE_MOST);
    ck_assert_uint_le(space->outputs, SPACE_CASE_MOST);
}

fm_space space_case_of(fm_space_part part)
{
    fm_space space = {.parts = {part}, .n_parts = 1};
    fm_error err;
    ck_assert_msg(fm_space_init(&space, &err) == FM_OK, "%s", err.text);
    return space;
}

void space_case_point(const fm_space *space, uint64_t seed, double *x)
{
    double normals[SPACE_CASE_MOST], uniforms[SPACE_CASE_MOST];
    size_t n = fm_space_draws(space);
    fm_rng_normal(seed, 0, FM_RNG_SOURCE_NOISE, 0, n, normals);
    fm_rng_uniform(seed, 1, FM_RNG_SOURCE_NOISE, 0, n, uniforms);
    fm_space_draw(space, 1, normals, uniforms, x);
    fm_space_normalise(space, x);
}

/* They come last. */
static size_t n_tokens(const fm_space *space)
{
    const fm_space_part *last = &space->parts[space->n_parts - 1];
    return last->id == FM_SPACE_TOKENS ? last->copies : 0;
}

void space_case_slope(const fm_space *space, const double *x, uint64_t seed, double length,
                      double *u)
{
    const double little = 0.02;
    double output[SPACE_CASE_MOST], tried[SPACE_CASE_MOST], y[SPACE_CASE_MOST];
    fm_rng_normal(seed, 0, FM_RNG_PROBE, 0, space->outputs, output);
    fm_space_velocity(space, x, output, u);
    for (size_t i = space->states - n_tokens(space); i < space->velocities; i++) {
        u[i] = 0; /* logits are no slope */
    }
    for (size_t i = 0; i < space->states; i++) {
        tried[i] = little * u[i];
    }
    fm_space_exp(space, x, tried, y); /* too short for a turn that is the longer way */
    double factor = length * little / fm_space_distance(space, x, y);
    for (size_t i = 0; i < space->states; i++) {
        u[i] *= factor;
    }
}

fm_space space_case_twin(const fm_space *space)
{
    fm_space twin = *space;
    for (size_t i = 0; i < twin.n_parts; i++) {
        if (twin.parts[i].id == FM_SPACE_SO3 || twin.parts[i].id == FM_SPACE_SE3) {
            twin.parts[i].representation = FM_REPRESENTATION_QUATERNION;
        }
    }
    fm_error err;
    ck_assert_int_eq(fm_space_init(&twin, &err), FM_OK);
    return twin;
}

void space_case_unit(const fm_space *space, const double *x, size_t k, double *u)
{
    const fm_space twin = space_case_twin(space);
    double coordinates[SPACE_CASE_MOST] = {0}, output[SPACE_CASE_MOST] = {0};
    coordinates[k] = 1;
    fm_space_push(&twin, x, coordinates, output);
    fm_space_velocity(&twin, x, output, u);
}

void space_case_difference(const fm_space *space, const double *x, const double *y, double *ret)
{
    size_t at = 0;
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        size_t end = at + part->copies * fm_space_point_numbers(part);
        for (; at < end; at++) {
            double apart = y[at] - x[at];
            ret[at] = part->id == FM_SPACE_TORUS ? remainder(apart, 2 * SPACE_CASE_PI) : apart;
        }
    }
}

static double weight(const fm_space *space, size_t j, size_t i)
{
    return 2 * sin(1.3 * (double)j + 2.1 * (double)i + 0.5) / sqrt((double)space->inputs);
}

static double angle_at(const fm_space *space, size_t j, const double *input)
{
    double sum = (double)j;
    for (size_t i = 0; i < space->inputs; i++) {
        sum += weight(space, j, i) * input[i];
    }
    return sum;
}

void space_case_field(const fm_space *space, const double *input, double *out)
{
    for (size_t j = 0; j < space->outputs; j++) {
        out[j] = sin(angle_at(space, j, input));
    }
}

void space_case_field_derivative(const fm_space *space, const double *input, const double *tangent,
                                 double *out)
{
    for (size_t j = 0; j < space->outputs; j++) {
        double slope = 0;
        for (size_t i = 0; i < space->inputs; i++) {
            slope += weight(space, j, i) * tangent[i];
        }
        out[j] = slope * cos(angle_at(space, j, input));
    }
}

double space_case_most(size_t n, const double *values)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fabs(values[i]) > most || isnan(values[i]) ? fabs(values[i]) : most;
    }
    return most;
}
