#include "tests/support/space_field.h"

#include "engine/math/rng.h"

#include <check.h>
#include <math.h>

#define POINTS(ID, numbers, count, SOURCE_ID)                                                      \
    {.id = FM_SPACE_##ID,                                                                          \
     .n = (numbers),                                                                               \
     .copies = (count),                                                                            \
     .representation = FM_REPRESENTATION_MATRIX,                                                   \
     .source = {.id = FM_SOURCE_##SOURCE_ID, .std = 0.7}}

static const struct {
    const char *name;
    fm_space space;
} cases[] = {
    {"sphere", {.parts = {POINTS(SPHERE, 3, 1, UNIFORM)}, .n_parts = 1}},
    {"circle", {.parts = {POINTS(SPHERE, 2, 1, UNIFORM)}, .n_parts = 1}},
    {"two spheres of four dimensions", {.parts = {POINTS(SPHERE, 5, 2, UNIFORM)}, .n_parts = 1}},
    {"torus", {.parts = {POINTS(TORUS, 3, 1, UNIFORM)}, .n_parts = 1}},
    {"torus, wrapped normal", {.parts = {POINTS(TORUS, 2, 1, WRAPPED_NORMAL)}, .n_parts = 1}},
    {"hyperbolic plane", {.parts = {POINTS(HYPERBOLIC, 2, 1, WRAPPED_NORMAL)}, .n_parts = 1}},
    {"hyperbolic space", {.parts = {POINTS(HYPERBOLIC, 3, 2, WRAPPED_NORMAL)}, .n_parts = 1}},
    {"matrices 2 x 2", {.parts = {POINTS(SPD, 2, 1, WRAPPED_NORMAL)}, .n_parts = 1}},
    {"matrices 4 x 4", {.parts = {POINTS(SPD, 4, 1, WRAPPED_NORMAL)}, .n_parts = 1}},
    {"rotations", {.parts = {POINTS(SO3, 4, 1, UNIFORM)}, .n_parts = 1}},
    {"frames", {.parts = {POINTS(SE3, 7, 2, NORMAL)}, .n_parts = 1}},
    {"product",
     {.parts = {POINTS(SPHERE, 3, 1, UNIFORM), POINTS(EUCLIDEAN, 2, 1, NORMAL),
                POINTS(SO3, 4, 1, UNIFORM), POINTS(TORUS, 1, 1, UNIFORM)},
      .n_parts = 4,
      .is_product = true}},
    /* Made special below: quaternions as they are, and frames whose mean is 0. */
    {"rotations as quaternions", {.parts = {POINTS(SO3, 4, 1, UNIFORM)}, .n_parts = 1}},
    {"centred frames", {.parts = {POINTS(SE3, 7, 3, NORMAL)}, .n_parts = 1}},
};

#define N_CASES (sizeof cases / sizeof *cases)

size_t space_field_count(void)
{
    return N_CASES;
}

fm_space space_field_at(size_t i, const char **ret_name)
{
    ck_assert_uint_lt(i, N_CASES);
    fm_space space = cases[i].space;
    if (i == N_CASES - 2) {
        space.parts[0].representation = FM_REPRESENTATION_QUATERNION;
    }
    space.parts[0].source.centered = i == N_CASES - 1;
    fm_error err;
    ck_assert_msg(fm_space_init(&space, &err) == FM_OK, "%s", err.text);
    ck_assert_uint_le(space.states, SPACE_FIELD_MAX_NUMBERS);
    ck_assert_uint_le(space.inputs, SPACE_FIELD_MAX_NUMBERS);
    *ret_name = cases[i].name;
    return space;
}

void space_field_point(const fm_space *space, uint64_t n, double *ret)
{
    double normals[SPACE_FIELD_MAX_NUMBERS], uniforms[SPACE_FIELD_MAX_NUMBERS];
    size_t draws = fm_space_draws(space);
    fm_rng_normal(4711, n, FM_RNG_SOURCE_NOISE, 0, draws, normals);
    fm_rng_uniform(4711, n, FM_RNG_SOURCE_NOISE, 2 * draws, draws, uniforms);
    fm_space_draw(space, 1, normals, uniforms, ret);
}

/* A mix of the inputs, each output of its own; odd, as it must be of a quaternion. */
void space_field_output(const fm_space *space, double size, double t, const double *input,
                        double *ret)
{
    for (size_t k = 0; k < space->outputs; k++) {
        double phase = 0;
        for (size_t j = 0; j < space->inputs; j++) {
            phase += cos(1.7 * (double)(k * space->inputs + j)) * input[j];
        }
        ret[k] = size * sin(phase) * cos((double)(k % 5 + 1) * t);
    }
}

/* Slower towards the boundary: in units of the metric. */
static void slow_down(size_t n, const double *x, double *v)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += x[i] * x[i];
    }
    for (size_t i = 0; i < n; i++) {
        v[i] *= 1 - square;
    }
}

/* (X V + V X) / 2, along which a matrix stays positive definite. */
static void multiply(size_t n, const double *x, double *v)
{
    double product[SPACE_FIELD_MAX_NUMBERS] = {0};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            product[i * n + j] = 0;
            for (size_t k = 0; k < n; k++) {
                product[i * n + j] += 0.5 * x[i * n + k] * v[k * n + j];
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            v[i * n + j] = product[i * n + j] + product[j * n + i];
        }
    }
}

/* So that it does not lead beyond the space, which is open for two kinds. */
static void keep_inside(const fm_space *space, const double *x, double *v)
{
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        size_t numbers = fm_space_point_numbers(part);
        for (size_t copy = 0; copy < part->copies; copy++, x += numbers, v += numbers) {
            if (part->id == FM_SPACE_HYPERBOLIC) {
                slow_down(part->n, x, v);
            } else if (part->id == FM_SPACE_SPD) {
                multiply(part->n, x, v);
            }
        }
    }
}

void space_field_velocity(const fm_space *space, double size, double t, const double *x, double *v)
{
    double input[SPACE_FIELD_MAX_NUMBERS], output[SPACE_FIELD_MAX_NUMBERS];
    fm_space_input(space, x, input);
    space_field_output(space, size, t, input, output);
    fm_space_velocity(space, x, output, v);
    keep_inside(space, x, v);
}

double space_field_gap(const fm_space *space, const double *a, const double *b)
{
    double largest = 0;
    size_t at = 0;
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        size_t numbers = part->copies * fm_space_point_numbers(part);
        for (size_t k = 0; k < numbers; k++, at++) {
            double gap = a[at] - b[at];
            gap = part->id == FM_SPACE_TORUS ? remainder(gap, 2 * acos(-1)) : gap;
            largest = fmax(largest, fabs(gap));
        }
    }
    return largest;
}
