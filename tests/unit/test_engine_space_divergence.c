/* Divergences: what is asked of a network's derivative, and the rest, against the divergence in normal coordinates. */
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST SPACE_CASE_MOST

static const double weights[] = {-1.0 / 12, 8.0 / 12}; /* central differences of fourth order */

static void velocity_at(const fm_space *space, const double *x, double *v)
{
    double input[MOST], output[MOST];
    fm_space_input(space, x, input);
    space_case_field(space, input, output);
    fm_space_velocity(space, x, output, v);
}

/* As densities ask for it: the network's derivative along every coordinate, and the rest. */
static double asked(const fm_space *space, const double *x)
{
    double input[MOST], output[MOST], tangent[MOST], image[MOST], back[MOST], sum = 0;
    fm_space_input(space, x, input);
    space_case_field(space, input, output);
    for (size_t k = 0; k < space->dimensions; k++) {
        double coordinates[MOST] = {0};
        coordinates[k] = 1;
        fm_space_push(space, x, coordinates, tangent);
        space_case_field_derivative(space, input, tangent, image);
        fm_space_coordinates(space, x, image, back);
        sum += back[k];
    }
    return sum + fm_space_divergence_rest(space, x, output);
}

/* The normal coordinates at x of exp_y(s v). */
static void normal_coordinates(const fm_space *space, const double *x, const double *y,
                               const double *v, double s, double *ret)
{
    const fm_space twin = space_case_twin(space);
    double moved[MOST], u[MOST];
    for (size_t i = 0; i < space->states; i++) {
        u[i] = s * v[i];
    }
    fm_space_exp(space, y, u, moved);
    fm_space_log(space, x, moved, u);
    fm_space_coordinates(&twin, x, u, ret);
}

/* Component k of the field at y in the normal coordinates at x: how fast they change along it. */
static double component(const fm_space *space, const double *x, const double *y, size_t k)
{
    const double step = 2e-3;
    double v[MOST], sum = 0, before[MOST], after[MOST];
    velocity_at(space, y, v);
    for (int far = 0; far < 2; far++) {
        double s = far == 0 ? 2 * step : step;
        normal_coordinates(space, x, y, v, -s, before);
        normal_coordinates(space, x, y, v, s, after);
        sum += weights[far] * (after[k] - before[k]) / step;
    }
    return sum;
}

/* In normal coordinates the volume's density is stationary at the centre: the divergence there is the trace. Nothing but
 * exp and log is used of the space's geometry. */
static double by_differences(const fm_space *space, const double *x)
{
    const double step = 4e-3;
    double sum = 0;
    for (size_t k = 0; k < space->dimensions; k++) {
        double unit[MOST], u[MOST], y[MOST];
        space_case_unit(space, x, k, unit);
        for (int side = -2; side <= 2; side++) {
            for (size_t i = 0; i < space->states; i++) {
                u[i] = side * step * unit[i];
            }
            fm_space_exp(space, x, u, y);
            double weight = side == 0 ? 0 : (side > 0 ? 1 : -1) * weights[2 - abs(side)];
            sum += weight * (side == 0 ? 0 : component(space, x, y, k)) / step;
        }
    }
    return sum;
}

START_TEST(what_is_asked_is_the_divergence)
{
    space_case it;
    space_case_at(_i, &it);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        double x[MOST];
        space_case_point(&it.space, seed, x);
        double want = by_differences(&it.space, x), got = asked(&it.space, x);
        ck_assert_msg(fabs(got - want) < 1e-6 * (1 + fabs(want)), "%s: %.9g, want %.9g", it.name,
                      got, want);
    }
}
END_TEST

START_TEST(coordinates_are_those_of_the_slope)
{
    space_case it;
    space_case_at(_i, &it);
    double x[MOST], input[MOST], output[MOST], v[MOST], sum[MOST] = {0}, coordinates[MOST];
    space_case_point(&it.space, 11, x);
    velocity_at(&it.space, x, v);
    fm_space_input(&it.space, x, input);
    space_case_field(&it.space, input, output);
    fm_space_coordinates(&it.space, x, output, coordinates);
    for (size_t k = 0; k < it.space.dimensions; k++) {
        double unit[MOST];
        space_case_unit(&it.space, x, k, unit);
        for (size_t i = 0; i < it.space.states; i++) {
            sum[i] += coordinates[k] * unit[i];
        }
    }
    size_t tokens = it.space.is_product ? 3 : 0;
    for (size_t i = 0; i + tokens < it.space.states; i++) {
        ck_assert_double_eq_tol(sum[i], v[i], 1e-13);
    }
}
END_TEST

/* Pushed coordinates are how the input changes along the slope. */
START_TEST(a_push_is_the_derivative_of_the_input)
{
    const double step = 1e-4;
    space_case it;
    space_case_at(_i, &it);
    double x[MOST];
    space_case_point(&it.space, 12, x);
    for (size_t k = 0; k < it.space.dimensions && !it.space.parts[0].source.centered; k++) {
        double unit[MOST], u[MOST], y[MOST], input[2][MOST], tangent[MOST], coordinates[MOST] = {0};
        coordinates[k] = 1;
        space_case_unit(&it.space, x, k, unit);
        fm_space_push(&it.space, x, coordinates, tangent);
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < it.space.states; i++) {
                u[i] = (side == 0 ? -step : step) * unit[i];
            }
            fm_space_exp(&it.space, x, u, y);
            fm_space_input(&it.space, y, input[side]);
        }
        size_t centred = it.space.is_product ? 3 * 7 + 3 : 0; /* which a unit's slope is not */
        for (size_t i = 0; i + centred < it.space.inputs; i++) {
            double slope = (input[1][i] - input[0][i]) / (2 * step);
            ck_assert_msg(fabs(slope - tangent[i]) < 1e-6, "%s: %g, want %g", it.name, tangent[i],
                          slope);
        }
    }
}
END_TEST

/* q and -q are one rotation: the network sees the same, and what it answers turns the same way. */
START_TEST(a_quaternions_sign_changes_nothing_but_the_slopes_sign)
{
    fm_space_part part = {.id = _i % 2 == 0 ? FM_SPACE_SO3 : FM_SPACE_SE3,
                          .n = _i % 2 == 0 ? 4 : 7,
                          .copies = 1,
                          .representation =
                              _i < 2 ? FM_REPRESENTATION_QUATERNION : FM_REPRESENTATION_MATRIX,
                          .source = {.id = FM_SOURCE_NORMAL, .std = 1}};
    fm_space space = space_case_of(part);
    double x[2][7] = {0}, input[2][12], output[7], v[2][7], push[2][12], coordinates[2][6];
    const double some[6] = {0.3, -0.2, 0.9, 1, 2, 3};
    space_case_point(&space, 3, x[0]);
    for (size_t i = 0; i < 7; i++) {
        x[1][i] = i < 4 ? -x[0][i] : x[0][i];
    }
    for (int k = 0; k < 2; k++) {
        fm_space_input(&space, x[k], input[k]);
        space_case_field(&space, input[k], output);
        fm_space_velocity(&space, x[k], output, v[k]);
        fm_space_push(&space, x[k], some, push[k]);
        fm_space_coordinates(&space, x[k], output, coordinates[k]);
    }
    ck_assert_mem_eq(input[0], input[1], space.inputs * sizeof **input);
    for (size_t i = 0; i < space.states; i++) {
        ck_assert_double_eq(v[1][i], i < 4 ? -v[0][i] : v[0][i]);
    }
    for (size_t i = 0; i < space.inputs; i++) {
        ck_assert_double_eq(push[0][i], push[1][i]);
    }
    for (size_t i = 0; i < space.dimensions; i++) {
        ck_assert_double_eq(coordinates[0][i], coordinates[1][i]);
    }
    ck_assert_double_eq(fm_space_divergence_rest(&space, x[0], output),
                        fm_space_divergence_rest(&space, x[1], output));
}
END_TEST

Suite *suite_engine_space_divergence(void)
{
    Suite *suite = suite_create("engine/space_divergence");
    TCase *divergence = tcase_create("divergence");
    tcase_set_timeout(divergence, 60);
    int count = space_case_count();
    tcase_add_loop_test(divergence, what_is_asked_is_the_divergence, 0, count);
    tcase_add_loop_test(divergence, coordinates_are_those_of_the_slope, 0, count);
    tcase_add_loop_test(divergence, a_push_is_the_derivative_of_the_input, 0, count);
    tcase_add_loop_test(divergence, a_quaternions_sign_changes_nothing_but_the_slopes_sign, 0, 4);
    suite_add_tcase(suite, divergence);
    return suite;
}
