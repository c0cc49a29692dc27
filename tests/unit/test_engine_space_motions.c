/* Where formulas break: equal and opposite points, the far ends of hyperbolic space; and the motions that leave a space's
 * distances and geodesics alone. */
#include "engine/math/rng.h"
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define PI   SPACE_CASE_PI
#define MOST SPACE_CASE_MOST

static fm_space space_of(fm_space_id id, size_t n)
{
    fm_source_id source = id == FM_SPACE_HYPERBOLIC || id == FM_SPACE_SPD ? FM_SOURCE_WRAPPED_NORMAL
                                                                          : FM_SOURCE_UNIFORM;
    return space_case_of(
        (fm_space_part){.id = id, .n = n, .copies = 1, .source = {.id = source, .std = 0.7}});
}

/* ---- opposite points ---- */

/* x to its antipode, or `off` from it in one number: half a turn, by a quarter that is as far from both. */
static void check_half_turn(const fm_space *space, const double *x, const double *y, double angle)
{
    double u[MOST], middle[MOST], end[MOST];
    ck_assert_double_eq_tol(fm_space_distance(space, x, y), angle, 1e-14);
    fm_space_log(space, x, y, u);
    fm_space_exp(space, x, u, end);
    ck_assert_double_lt(fm_space_distance(space, end, y), 1e-13);
    fm_space_between(space, x, y, 0.5, middle);
    ck_assert_double_eq_tol(fm_space_distance(space, x, middle), angle / 2, 1e-13);
    ck_assert_double_eq_tol(fm_space_distance(space, middle, y), angle / 2, 1e-13);
}

START_TEST(antipodes_are_half_a_turn_apart)
{
    static const size_t sizes[] = {2, 3, 7, 50};
    fm_space sphere = space_of(FM_SPACE_SPHERE, sizes[_i]);
    for (uint64_t seed = 0; seed < 200; seed++) {
        double x[MOST], y[MOST], u[2][MOST];
        space_case_point(&sphere, seed, x);
        for (size_t i = 0; i < sphere.states; i++) {
            y[i] = -x[i];
        }
        check_half_turn(&sphere, x, y, PI);
        fm_space_log(&sphere, x, y, u[0]);
        fm_space_log(&sphere, x, y, u[1]);
        ck_assert_mem_eq(u[0], u[1], sphere.states * sizeof **u);
        y[seed % sphere.states] = nextafter(y[seed % sphere.states], seed % 2 == 0 ? 2 : -2);
        check_half_turn(&sphere, x, y, PI);
    }
}
END_TEST

/* What is left of y across x is small there, and its rounding along x is not. */
START_TEST(the_way_almost_to_an_antipode_is_tangent)
{
    fm_space sphere = space_of(FM_SPACE_SPHERE, 3);
    for (uint64_t seed = 0; seed < 200; seed++) {
        double x[3], u[3], y[3], back[3];
        space_case_point(&sphere, seed, x);
        space_case_slope(&sphere, x, seed, PI - pow(10, -6 - (double)(seed % 8)), u);
        fm_space_exp(&sphere, x, u, y);
        fm_space_log(&sphere, x, y, back);
        ck_assert_double_eq_tol(x[0] * back[0] + x[1] * back[1] + x[2] * back[2], 0, 2e-15);
    }
}
END_TEST

/* The arc cosine of a product of rounded unit vectors is NaN for some of them, and 0 or 1.5e-8 for others. */
START_TEST(equal_and_near_points_are_no_rounding_apart)
{
    fm_space sphere = space_of(FM_SPACE_SPHERE, 3), turns = space_of(FM_SPACE_SO3, 4);
    int beyond = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        double x[4], u[4];
        space_case_point(&sphere, seed, x);
        beyond += isnan(acos(x[0] * x[0] + x[1] * x[1] + x[2] * x[2]));
        ck_assert_double_le(fm_space_distance(&sphere, x, x), 5e-16);
        space_case_slope(&sphere, x, seed, 1e-10, u);
        fm_space_exp(&sphere, x, u, u);
        ck_assert_double_eq_tol(fm_space_distance(&sphere, x, u), 1e-10, 5e-16);
        space_case_point(&turns, seed, x);
        ck_assert_double_le(fm_space_distance(&turns, x, x), 1e-15);
        space_case_slope(&turns, x, seed, 1e-10, u);
        fm_space_exp(&turns, x, u, u);
        ck_assert_double_eq_tol(fm_space_distance(&turns, x, u), 1e-10, 1e-15);
    }
    ck_assert_int_gt(beyond, 0);
}
END_TEST

START_TEST(rotations_by_half_a_turn_have_a_way)
{
    fm_space turns = space_of(FM_SPACE_SO3, 4);
    for (uint64_t seed = 0; seed < 100; seed++) {
        double x[4], axis[3], y[4], back[4];
        space_case_point(&turns, seed, x);
        fm_rng_normal(seed, 0, FM_RNG_PROBE, 0, 3, axis);
        double length = sqrt(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]);
        const double a = axis[0] / length, b = axis[1] / length, c = axis[2] / length;
        y[0] = -x[1] * a - x[2] * b - x[3] * c; /* x (0, axis) */
        y[1] = x[0] * a + x[2] * c - x[3] * b;
        y[2] = x[0] * b + x[3] * a - x[1] * c;
        y[3] = x[0] * c + x[1] * b - x[2] * a;
        check_half_turn(&turns, x, y, PI);
        for (size_t i = 0; i < 4; i++) {
            back[i] = -y[i];
        }
        check_half_turn(&turns, x, back, PI);
    }
}
END_TEST

START_TEST(a_rotation_is_one_with_either_sign_of_its_quaternion)
{
    fm_space turns = space_of(FM_SPACE_SO3, 4);
    double x[4], y[4], u[2][4], minus[4], there[4];
    space_case_point(&turns, 1, x);
    space_case_point(&turns, 2, y);
    for (size_t i = 0; i < 4; i++) {
        minus[i] = -y[i];
    }
    fm_space_log(&turns, x, y, u[0]);
    fm_space_log(&turns, x, minus, u[1]);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_double_eq(u[0][i], u[1][i]);
    }
    ck_assert_double_eq(fm_space_distance(&turns, x, y), fm_space_distance(&turns, x, minus));
    fm_space_exp(&turns, x, u[0], there);
    ck_assert_double_lt(fm_space_distance(&turns, there, y), 1e-14);
}
END_TEST

START_TEST(frames_are_apart_by_turn_and_shift_at_right_angles)
{
    fm_space frames = space_case_of((fm_space_part){
        .id = FM_SPACE_SE3, .n = 7, .copies = 2, .source = {.id = FM_SOURCE_NORMAL, .std = 1}});
    const double x[14] = {1, 0, 0, 0, 1, 2, 3, 1};
    const double y[14] = {cos(0.6), 0, 0, sin(0.6), 1.3, 2, 2.6, cos(1), sin(1)};
    /* a turn of 1.2 and a shift of 0.5; a turn of 2 */
    ck_assert_double_eq_tol(fm_space_distance(&frames, x, y), sqrt(1.44 + 0.25 + 4), 1e-14);
}
END_TEST

/* Steps longer than half a turn go on, and do not change the sign on the way. */
START_TEST(quaternions_are_continuous_along_a_geodesic)
{
    fm_space turns = space_of(FM_SPACE_SO3, 4);
    double x[4], u[4], before[4], y[4], part[4];
    space_case_point(&turns, 4, x);
    space_case_slope(&turns, x, 4, 6, u);
    memcpy(before, x, sizeof before);
    for (int i = 1; i <= 60; i++) {
        double square = 0;
        for (size_t k = 0; k < 4; k++) {
            part[k] = u[k] * i / 60;
        }
        fm_space_exp(&turns, x, part, y);
        for (size_t k = 0; k < 4; k++) {
            square += (y[k] - before[k]) * (y[k] - before[k]);
        }
        ck_assert_double_eq_tol(sqrt(square), 2 * sin(0.1 / 4), 1e-13);
        memcpy(before, y, sizeof before);
    }
}
END_TEST

START_TEST(angles_go_the_shorter_way_and_down_from_the_opposite)
{
    fm_space torus = space_of(FM_SPACE_TORUS, 4);
    const double x[4] = {0.1, 6, 0, 1}, y[4] = {6.2, 0.2, PI, 1}, step[4] = {-0.2, 1, 100, -1};
    double u[4], moved[4];
    fm_space_log(&torus, x, y, u);
    ck_assert_double_eq_tol(u[0], 6.1 - 2 * PI, 1e-15);
    ck_assert_double_eq_tol(u[1], 2 * PI - 5.8, 1e-15);
    ck_assert_double_eq(u[2], -PI);
    ck_assert_double_eq(u[3], 0);
    fm_space_exp(&torus, x, step, moved);
    ck_assert_double_eq_tol(moved[0], 2 * PI - 0.1, 1e-15);
    ck_assert_double_eq_tol(moved[1], 7 - 2 * PI, 1e-15);
    ck_assert_double_eq_tol(moved[2], 100 - 15 * 2 * PI, 1e-13);
    ck_assert_double_eq(moved[3], 0);
}
END_TEST

/* -x (+) y of these is 1 - 2e-13 and less: rounding must not end the distance there. */
START_TEST(hyperbolic_distances_are_not_cut_off)
{
    fm_space ball = space_of(FM_SPACE_HYPERBOLIC, 2);
    for (int i = 1; i <= 16; i++) {
        const double at = tanh(0.5 * i), zero[2] = {0};
        const double x[2] = {0.6 * at, 0.8 * at}, y[2] = {-0.6 * at, -0.8 * at};
        double u[2], end[2], limit = 1e-14 * exp(i);
        ck_assert_double_eq_tol(fm_space_distance(&ball, x, zero), i, limit);
        ck_assert_double_eq_tol(fm_space_distance(&ball, x, y), 2 * i, 2 * limit);
        fm_space_log(&ball, x, y, u);
        ck_assert_double_eq_tol(hypot(u[0], u[1]) * 2 / (1 - at * at), 2 * i, 4 * limit);
        ck_assert_double_eq_tol(u[0] * 0.8 - u[1] * 0.6, 0, 1e-15);
        fm_space_log(&ball, zero, x, u);
        fm_space_exp(&ball, zero, u, end);
        ck_assert_double_eq_tol(end[0], x[0], 1e-14);
        ck_assert_double_eq_tol(end[1], x[1], 1e-14);
    }
}
END_TEST

/* However long a step is, it ends in the ball, and slopes there come back finite. */
START_TEST(hyperbolic_steps_have_no_overflow)
{
    fm_space ball = space_of(FM_SPACE_HYPERBOLIC, 2);
    static const double lengths[] = {10, 100, 1e4, 1e100};
    for (size_t i = 0; i < 4; i++) {
        const double x[2] = {0.5, -0.3}, u[2] = {-lengths[i], 0.3 * lengths[i]};
        double y[2], v[2] = {0.1, 0.2};
        fm_space_exp(&ball, x, u, y);
        ck_assert(hypot(y[0], y[1]) < 1);
        ck_assert((float)y[0] * (float)y[0] + (float)y[1] * (float)y[1] < 1);
        fm_space_pull(&ball, x, u, v);
        ck_assert(isfinite(v[0]) && isfinite(v[1]));
        ck_assert(isfinite(fm_space_distance(&ball, x, y)));
        ck_assert(isfinite(fm_space_source_log_density(&ball, 1, y)));
    }
}
END_TEST

/* ---- motions ---- */

/* A motion of a space: linear on its numbers, or Moebius addition. */
typedef void motion(const double *x, double *ret);

static void reflect(const double *x, double *ret) /* of R^4, at the plane across w */
{
    const double w[4] = {0.5, -0.5, 0.1, 0.7};
    double along = 2 * (w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3]);
    for (size_t i = 0; i < 4; i++) {
        ret[i] = x[i] - along * w[i];
    }
}

static void turn_from_the_left(const double *q, double *ret)
{
    const double a = 0.1, b = 0.7, c = -0.5, d = 0.5;
    ret[0] = a * q[0] - b * q[1] - c * q[2] - d * q[3];
    ret[1] = a * q[1] + b * q[0] + c * q[3] - d * q[2];
    ret[2] = a * q[2] - b * q[3] + c * q[0] + d * q[1];
    ret[3] = a * q[3] + b * q[2] - c * q[1] + d * q[0];
}

static void turn_from_the_right(const double *q, double *ret)
{
    const double a = 0.1, b = 0.7, c = -0.5, d = 0.5;
    ret[0] = q[0] * a - q[1] * b - q[2] * c - q[3] * d;
    ret[1] = q[0] * b + q[1] * a + q[2] * d - q[3] * c;
    ret[2] = q[0] * c - q[1] * d + q[2] * a + q[3] * b;
    ret[3] = q[0] * d + q[1] * c - q[2] * b + q[3] * a;
}

static void change_basis(const double *x, double *ret) /* G X G^T, 2 x 2 */
{
    const double g[2][2] = {{1.4, -0.3}, {0.8, 0.6}};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < 2; j++) {
            ret[2 * i + j] = g[i][0] * (x[0] * g[j][0] + x[1] * g[j][1]) +
                             g[i][1] * (x[2] * g[j][0] + x[3] * g[j][1]);
        }
    }
}

static void invert(const double *x, double *ret) /* X^-1 */
{
    double det = x[0] * x[3] - x[1] * x[2];
    const double inverse[4] = {x[3] / det, -x[1] / det, -x[2] / det, x[0] / det};
    memcpy(ret, inverse, sizeof inverse);
}

static void add_from_the_left(const double *x, double *ret) /* a (+) x, in the plane */
{
    const double a[2] = {0.3, -0.5}, aa = 0.34;
    double ax = a[0] * x[0] + a[1] * x[1], xx = x[0] * x[0] + x[1] * x[1];
    double below = 1 + 2 * ax + aa * xx;
    for (size_t i = 0; i < 2; i++) {
        ret[i] = ((1 + 2 * ax + xx) * a[i] + (1 - aa) * x[i]) / below;
    }
}

static const struct {
    fm_space_id id;
    size_t n;
    motion *motion;
} motions[] = {
    {FM_SPACE_SPHERE, 4, reflect},
    {FM_SPACE_SO3, 4, turn_from_the_left},
    {FM_SPACE_SO3, 4, turn_from_the_right},
    {FM_SPACE_SPD, 2, change_basis},
    {FM_SPACE_SPD, 2, invert},
    {FM_SPACE_HYPERBOLIC, 2, add_from_the_left},
};
#define N_MOTIONS ((int)(sizeof motions / sizeof *motions))

START_TEST(motions_leave_distances_and_geodesics_alone)
{
    fm_space space = space_of(motions[_i].id, motions[_i].n);
    motion *move = motions[_i].motion;
    for (uint64_t seed = 0; seed < 20; seed++) {
        double x[4], y[4], z[4], moved_x[4], moved_y[4], moved_z[4], got[4];
        space_case_point(&space, seed, x);
        space_case_point(&space, seed + 1000, y);
        move(x, moved_x);
        move(y, moved_y);
        ck_assert_double_eq_tol(fm_space_distance(&space, moved_x, moved_y),
                                fm_space_distance(&space, x, y), 1e-12);
        fm_space_between(&space, x, y, 0.37, z);
        move(z, moved_z);
        fm_space_between(&space, moved_x, moved_y, 0.37, got);
        ck_assert_double_lt(fm_space_distance(&space, got, moved_z), 1e-12);
    }
}
END_TEST

Suite *suite_engine_space_motions(void)
{
    Suite *suite = suite_create("engine/space_motions");
    TCase *ends = tcase_create("ends");
    tcase_add_loop_test(ends, antipodes_are_half_a_turn_apart, 0, 4);
    tcase_add_test(ends, the_way_almost_to_an_antipode_is_tangent);
    tcase_add_test(ends, equal_and_near_points_are_no_rounding_apart);
    tcase_add_test(ends, rotations_by_half_a_turn_have_a_way);
    tcase_add_test(ends, a_rotation_is_one_with_either_sign_of_its_quaternion);
    tcase_add_test(ends, frames_are_apart_by_turn_and_shift_at_right_angles);
    tcase_add_test(ends, quaternions_are_continuous_along_a_geodesic);
    tcase_add_test(ends, angles_go_the_shorter_way_and_down_from_the_opposite);
    tcase_add_test(ends, hyperbolic_distances_are_not_cut_off);
    tcase_add_test(ends, hyperbolic_steps_have_no_overflow);
    suite_add_tcase(suite, ends);
    TCase *motion_cases = tcase_create("motions");
    tcase_add_loop_test(motion_cases, motions_leave_distances_and_geodesics_alone, 0, N_MOTIONS);
    suite_add_tcase(suite, motion_cases);
    return suite;
}
