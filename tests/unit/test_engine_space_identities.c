/* What theory says of geodesic flows to one data point, u = log_x(x1) / (1 - t): divergences, densities, Euler steps; and
 * what is left alone by the motions of a space. */
#include "engine/math/rng.h"
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define PI   SPACE_CASE_PI
#define MOST SPACE_CASE_MOST

static fm_space space_of(fm_space_id id, size_t n)
{
    const fm_source sources[FM_N_SPACES] = {
        [FM_SPACE_SPHERE] = {.id = FM_SOURCE_UNIFORM},
        [FM_SPACE_TORUS] = {.id = FM_SOURCE_UNIFORM},
        [FM_SPACE_SO3] = {.id = FM_SOURCE_UNIFORM},
        [FM_SPACE_HYPERBOLIC] = {.id = FM_SOURCE_WRAPPED_NORMAL, .std = 0.5},
        [FM_SPACE_SPD] = {.id = FM_SOURCE_WRAPPED_NORMAL, .std = 0.5},
    };
    return space_case_of((fm_space_part){.id = id,
                                         .n = n,
                                         .copies = 1,
                                         .representation = FM_REPRESENTATION_QUATERNION,
                                         .source = sources[id]});
}

/* ---- divergences ---- */

static void flow_to(const fm_space *space, const double *x, const double *x1, double t, double *v)
{
    fm_space_log(space, x, x1, v);
    for (size_t i = 0; i < space->states; i++) {
        v[i] /= 1 - t;
    }
}

/* Of that flow, through what densities use; the derivative along geodesics by central differences of fourth order. x is
 * a point with w >= 0. */
static double divergence_at(const fm_space *space, const double *x, const double *x1, double t)
{
    static const double weights[] = {-1.0 / 12, 8.0 / 12};
    const double step = 1e-3;
    double v[MOST], sum = 0;
    for (size_t k = 0; k < space->dimensions; k++) {
        double unit[MOST], u[MOST], y[MOST], image[MOST] = {0}, coordinates[MOST];
        space_case_unit(space, x, k, unit);
        for (int side = -2; side <= 2; side++) {
            double weight = side < 0 ? -weights[side + 2] : side > 0 ? weights[2 - side] : 0;
            for (size_t i = 0; i < space->states; i++) {
                u[i] = side * step * unit[i];
            }
            fm_space_exp(space, x, u, y);
            flow_to(space, y, x1, t, v);
            for (size_t i = 0; i < space->states; i++) {
                image[i] += weight * v[i] / step;
            }
        }
        fm_space_coordinates(space, x, image, coordinates);
        sum += coordinates[k];
    }
    flow_to(space, x, x1, t, v);
    return sum + fm_space_divergence_rest(space, x, v);
}

/* x times its cotangent, ordinary or hyperbolic; 1 at 0. */
static double circular(double x)
{
    return fabs(x) < 1e-6 ? 1 : x / tan(x);
}

static double hyperbolic(double x)
{
    return fabs(x) < 1e-6 ? 1 : x / tanh(x);
}

/* The divergence times -(1 - t), by what lies between. */
static double expected(const fm_space *space, const double *x, const double *x1)
{
    const fm_space_part *part = &space->parts[0];
    double theta = fm_space_distance(space, x, x1), n = (double)part->n;
    switch (part->id) {
    case FM_SPACE_SPHERE:
        return 1 + (n - 2) * circular(theta);
    case FM_SPACE_TORUS:
        return n;
    case FM_SPACE_SO3:
        return 1 + 2 * circular(theta / 2);
    case FM_SPACE_HYPERBOLIC:
        return 1 + (n - 1) * hyperbolic(theta);
    case FM_SPACE_SPD: { /* 2 x 2: the eigenvalues of x^-1 x1 are e^(l1) and e^(l2) */
        double det = x[0] * x[3] - x[1] * x[2], det1 = x1[0] * x1[3] - x1[1] * x1[2];
        double half_trace = 0.5 * (x[3] * x1[0] - 2 * x[1] * x1[1] + x[0] * x1[3]) / det;
        return 2 + hyperbolic(acosh(half_trace / sqrt(det1 / det)));
    }
    case FM_SPACE_EUCLIDEAN:
    case FM_SPACE_SE3:
    case FM_SPACE_TOKENS:
    case FM_N_SPACES:
    default:
        return (double)NAN;
    }
}

static const struct {
    fm_space_id id;
    size_t n;
} curved[] = {
    {FM_SPACE_SPHERE, 2}, {FM_SPACE_SPHERE, 3},     {FM_SPACE_SPHERE, 6},     {FM_SPACE_TORUS, 3},
    {FM_SPACE_SO3, 4},    {FM_SPACE_HYPERBOLIC, 1}, {FM_SPACE_HYPERBOLIC, 4}, {FM_SPACE_SPD, 2},
};
#define N_CURVED ((int)(sizeof curved / sizeof *curved))

START_TEST(the_divergence_of_the_flow_to_a_point_is_known)
{
    fm_space space = space_of(curved[_i].id, curved[_i].n);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        double x[MOST], x1[MOST], t = 0.3;
        space_case_point(&space, seed, x);
        space_case_point(&space, seed + 50, x1);
        double want = -expected(&space, x, x1) / (1 - t), got = divergence_at(&space, x, x1, t);
        ck_assert_msg(fabs(got - want) < 1e-7 * (1 + fabs(want)), "%.10g, want %.10g", got, want);
    }
}
END_TEST

/* ---- densities on the way ---- */

/* log p_t at the point that x0 has become: the source's, less the integral of the divergence; Gauss-Legendre of five
 * points in every part. */
static double log_density_on_the_way(const fm_space *space, const double *x0, const double *x1,
                                     double t)
{
    static const double nodes[] = {-0.9061798459386640, -0.5384693101056831, 0, 0.5384693101056831,
                                   0.9061798459386640};
    static const double weights[] = {0.2369268850561891, 0.4786286704993665, 0.5688888888888889,
                                     0.4786286704993665, 0.2369268850561891};
    const int parts = 4;
    double sum = fm_space_source_log_density(space, 1, x0);
    for (int i = 0; i < 5 * parts; i++) {
        int piece = i / 5;
        double at = t * (piece + 0.5 + 0.5 * nodes[i % 5]) / parts, x[MOST];
        fm_space_between(space, x0, x1, at, x);
        fm_space_normalise(space, x);
        sum -= 0.5 * t / parts * weights[i % 5] * divergence_at(space, x, x1, at);
    }
    return sum;
}

/* p_t(x | x1), theta or omega from x1, a = 1 - t: sin(theta / a) / (4 pi a sin theta) on the sphere,
 * (1 - cos(omega / a)) / (a (1 - cos omega)) of rotations, 1 / (2 pi a)^n on the torus. */
static double density_on_the_way(const fm_space *space, double theta, double a)
{
    switch (space->parts[0].id) {
    case FM_SPACE_SPHERE:
        return sin(theta / a) / (4 * PI * a * sin(theta));
    case FM_SPACE_SO3:
        return (1 - cos(theta / a)) / (a * (1 - cos(theta)));
    case FM_SPACE_TORUS:
        return pow(2 * PI * a, -(double)space->parts[0].n);
    case FM_SPACE_EUCLIDEAN:
    case FM_SPACE_HYPERBOLIC:
    case FM_SPACE_SPD:
    case FM_SPACE_SE3:
    case FM_SPACE_TOKENS:
    case FM_N_SPACES:
    default:
        return (double)NAN;
    }
}

START_TEST(densities_on_the_way_are_known)
{
    static const fm_space_id kinds[] = {FM_SPACE_SPHERE, FM_SPACE_SO3, FM_SPACE_TORUS};
    fm_space space = space_of(kinds[_i], _i == 1 ? 4 : 3);
    for (uint64_t seed = 1; seed <= 8; seed++) {
        double x0[MOST], x1[MOST], x[MOST], t = 0.1 * (double)seed;
        space_case_point(&space, seed, x0);
        space_case_point(&space, seed + 60, x1);
        fm_space_between(&space, x0, x1, t, x);
        double theta = fm_space_distance(&space, x, x1);
        double want = density_on_the_way(&space, theta, 1 - t);
        ck_assert_double_eq_tol(exp(log_density_on_the_way(&space, x0, x1, t)) / want, 1, 1e-6);
    }
}
END_TEST

/* Over the distance from x1, that of x0 and what it has become by t: the mass between two spheres around x1 stays. */
START_TEST(densities_on_the_way_integrate_to_one)
{
    fm_space space = space_of(_i == 0 ? FM_SPACE_SPHERE : FM_SPACE_SO3, _i == 0 ? 3 : 4);
    const double t = 0.4, x1[4] = {1};
    const int n = 60;
    double sum = 0, step = (1 - t) * PI / n;
    for (int i = 0; i < n; i++) {
        double theta = step * (i + 0.5), start = theta / (1 - t);
        double x0[4] = {cos(_i == 0 ? start : start / 2), sin(_i == 0 ? start : start / 2)};
        double area = _i == 0 ? 2 * PI * sin(theta) : (1 - cos(theta)) / PI;
        sum += step * area * exp(log_density_on_the_way(&space, x0, x1, t));
    }
    ck_assert_double_eq_tol(sum, 1, 2e-4); /* the midpoint rule's error in a sine */
}
END_TEST

/* Each angle is uniform within (1 - t) pi of its data. */
START_TEST(on_the_torus_there_is_a_box_around_the_data)
{
    fm_space torus = space_of(FM_SPACE_TORUS, 2);
    const double t = 0.75, n = 4000, x1[2] = {0.1, 6.2};
    double counts[10] = {0};
    for (uint64_t seed = 0; seed < 4000; seed++) {
        double x0[2], x[2], u[2];
        space_case_point(&torus, seed, x0);
        fm_space_between(&torus, x0, x1, t, x);
        for (size_t i = 0; i < 2; i++) {
            u[i] = remainder(x[i] - x1[i], 2 * PI) / ((1 - t) * PI);
            ck_assert(x[i] >= 0 && x[i] < 2 * PI && fabs(u[i]) <= 1 + 1e-12);
            counts[(size_t)fmin(5 * (u[i] + 1), 9)]++;
        }
    }
    for (size_t i = 0; i < 10; i++) {
        ck_assert_double_eq_tol(counts[i], 2 * n / 10, 5 * sqrt(2 * n / 10));
    }
}
END_TEST

/* ---- Euler steps ---- */

static void euler(const fm_space *space, const double *x1, int steps, bool projects, double *x)
{
    double u[MOST];
    for (int i = 0; i < steps; i++) {
        fm_space_log(space, x, x1, u);
        for (size_t k = 0; k < space->states; k++) {
            u[k] /= steps - i; /* of a step 1 / steps at t = i / steps */
        }
        if (projects) {
            fm_space_project_step(space, x, u, x);
        } else {
            fm_space_exp(space, x, u, x);
        }
    }
}

START_TEST(geodesic_euler_ends_on_the_only_data_point)
{
    fm_space space = space_of(curved[_i].id, curved[_i].n);
    for (int steps = 1; steps <= 12; steps++) {
        double x[MOST], x1[MOST];
        space_case_point(&space, 5, x);
        space_case_point(&space, 6, x1);
        euler(&space, x1, steps, false, x);
        ck_assert_double_lt(fm_space_distance(&space, x, x1), 1e-12);
    }
}
END_TEST

/* The start is the north pole, the data 1.1 rad away; the miss by the recursion of angles
 * theta -= atan(theta / (7 - i)). */
START_TEST(projected_euler_misses_it_by_a_known_angle)
{
    fm_space sphere = space_of(FM_SPACE_SPHERE, 3);
    double x[3] = {0, 0, 1}, theta = 1.1;
    const double x1[3] = {sin(1.1), 0, cos(1.1)};
    euler(&sphere, x1, 7, true, x);
    for (int i = 0; i < 7; i++) {
        theta -= atan(theta / (7 - i));
    }
    ck_assert_double_eq_tol(fm_space_distance(&sphere, x, x1), fabs(theta), 1e-13);
    ck_assert_double_eq_tol(fabs(theta), 0.0014, 5e-5);
}
END_TEST

/* Rotations of a schedule of rate 10: every step of 0.01 takes a tenth of what is left. */
START_TEST(the_exponential_schedule_of_rotations_leaves_a_known_share)
{
    fm_space turns = space_of(FM_SPACE_SO3, 4);
    double x[4], x1[4], u[4];
    space_case_point(&turns, 1, x);
    space_case_point(&turns, 2, x1);
    double start = fm_space_distance(&turns, x, x1);
    for (int step = 0; step < 99; step++) {
        fm_space_log(&turns, x, x1, u);
        for (size_t i = 0; i < 4; i++) {
            u[i] *= 10 * 0.01;
        }
        fm_space_exp(&turns, x, u, x);
    }
    double share = fm_space_distance(&turns, x, x1) / start;
    ck_assert_double_eq_tol(share, pow(0.9, 99), 1e-14);
    ck_assert_double_eq_tol(share, 2.951e-5, 5e-9);
}
END_TEST

START_TEST(the_logarithm_of_a_determinant_is_linear_on_the_way)
{
    fm_space matrices = space_of(FM_SPACE_SPD, 2);
    double x[4], y[4], z[4];
    space_case_point(&matrices, 1, x);
    space_case_point(&matrices, 2, y);
    double of_x = log(x[0] * x[3] - x[1] * x[2]), of_y = log(y[0] * y[3] - y[1] * y[2]);
    for (int i = 0; i <= 10; i++) {
        double s = 0.1 * i;
        fm_space_between(&matrices, x, y, s, z);
        ck_assert_double_eq_tol(log(z[0] * z[3] - z[1] * z[2]), (1 - s) * of_x + s * of_y, 1e-13);
    }
}
END_TEST

Suite *suite_engine_space_identities(void)
{
    Suite *suite = suite_create("engine/space_identities");
    TCase *identities = tcase_create("identities");
    tcase_set_timeout(identities, 60);
    tcase_add_loop_test(identities, the_divergence_of_the_flow_to_a_point_is_known, 0, N_CURVED);
    tcase_add_loop_test(identities, densities_on_the_way_are_known, 0, 3);
    tcase_add_loop_test(identities, densities_on_the_way_integrate_to_one, 0, 2);
    tcase_add_test(identities, on_the_torus_there_is_a_box_around_the_data);
    tcase_add_loop_test(identities, geodesic_euler_ends_on_the_only_data_point, 0, N_CURVED);
    tcase_add_test(identities, projected_euler_misses_it_by_a_known_angle);
    tcase_add_test(identities, the_exponential_schedule_of_rotations_leaves_a_known_share);
    tcase_add_test(identities, the_logarithm_of_a_determinant_is_linear_on_the_way);
    suite_add_tcase(suite, identities);
    return suite;
}
