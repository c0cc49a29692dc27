/* Steps on every space: what exp, log, distance and the derivative of exp are to one another. */
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define MOST    SPACE_CASE_MOST
#define N_SEEDS 5

/* A case, a point of it, and a slope there. */
typedef struct step_case {
    space_case it;
    const fm_space *space;
    double x[MOST], u[MOST], y[MOST];
} step_case;

static void open_at(step_case *ret, int index, uint64_t seed, double length)
{
    memset(ret, 0, sizeof *ret);
    space_case_at(index, &ret->it);
    ret->space = &ret->it.space;
    space_case_point(ret->space, seed, ret->x);
    space_case_slope(ret->space, ret->x, seed, length, ret->u);
    fm_space_exp(ret->space, ret->x, ret->u, ret->y);
}

/* By numbers: log is not asked. */
static double largest_difference(const fm_space *space, const double *a, const double *b)
{
    double apart[MOST];
    space_case_difference(space, a, b, apart);
    return space_case_most(space->states, apart);
}

START_TEST(log_inverts_exp)
{
    static const double lengths[] = {1e-9, 1e-3, 0.7, 2.5};
    step_case at;
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            open_at(&at, _i, seed, lengths[k]);
            double u[MOST], back[MOST];
            fm_space_log(at.space, at.x, at.y, u);
            ck_assert_msg(largest_difference(at.space, at.u, u) < 1e-12, "%s, length %g",
                          at.it.name, lengths[k]);
            ck_assert_double_eq_tol(fm_space_distance(at.space, at.x, at.y), lengths[k], 2e-12);
            fm_space_exp(at.space, at.x, u, back);
            ck_assert_double_lt(largest_difference(at.space, at.y, back), 1e-12);
        }
    }
}
END_TEST

START_TEST(a_step_of_no_length_stays)
{
    step_case at;
    open_at(&at, _i, 3, 1);
    double zero[MOST] = {0}, y[MOST], v[MOST];
    fm_space_exp(at.space, at.x, zero, y);
    ck_assert_double_lt(largest_difference(at.space, at.x, y), 1e-14);
    fm_space_log(at.space, at.x, at.x, v);
    ck_assert_double_lt(space_case_most(at.space->states, v), 1e-14);
    ck_assert_double_lt(fm_space_distance(at.space, at.x, at.x), 1e-14);
    memcpy(v, at.u, sizeof v);
    fm_space_pull(at.space, at.x, zero, v);
    ck_assert_double_lt(largest_difference(at.space, at.u, v), 1e-14);
}
END_TEST

START_TEST(results_may_be_written_over_their_arguments)
{
    step_case at;
    open_at(&at, _i, 4, 1);
    double y[MOST], z[MOST];
    memcpy(y, at.x, sizeof y);
    fm_space_exp(at.space, y, at.u, y);
    ck_assert_mem_eq(y, at.y, at.space->states * sizeof *y);
    memcpy(y, at.u, sizeof y);
    fm_space_exp(at.space, at.x, y, y);
    ck_assert_mem_eq(y, at.y, at.space->states * sizeof *y);
    fm_space_project_step(at.space, at.x, at.u, z);
    memcpy(y, at.x, sizeof y);
    fm_space_project_step(at.space, y, at.u, y);
    ck_assert_mem_eq(y, z, at.space->states * sizeof *y);
    memcpy(y, at.u, sizeof y);
    fm_space_project_step(at.space, at.x, y, y);
    ck_assert_mem_eq(y, z, at.space->states * sizeof *y);
}
END_TEST

/* ---- the derivative of exp ---- */

/* Of exp at u along w, by central differences of fourth order. */
static void derivative_of_exp(const step_case *at, const double *w, double *ret)
{
    static const double weights[] = {-1.0 / 12, 8.0 / 12};
    const double step = 2e-3;
    memset(ret, 0, MOST * sizeof *ret);
    for (int far = 0; far < 2; far++) {
        double u[2][MOST], y[2][MOST], apart[MOST];
        for (size_t i = 0; i < at->space->states; i++) {
            double away = (far == 0 ? 2 : 1) * step * w[i];
            u[0][i] = at->u[i] - away;
            u[1][i] = at->u[i] + away;
        }
        fm_space_exp(at->space, at->x, u[0], y[0]);
        fm_space_exp(at->space, at->x, u[1], y[1]);
        space_case_difference(at->space, y[0], y[1], apart);
        for (size_t i = 0; i < at->space->states; i++) {
            ret[i] += weights[far] * apart[i] / step;
        }
    }
}

START_TEST(pull_is_the_inverse_of_the_derivative_of_exp)
{
    static const double lengths[] = {0, 3e-5, 1e-2, 0.8, 2.5};
    step_case at;
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
            open_at(&at, _i, seed, lengths[k]);
            double w[MOST], v[MOST];
            space_case_slope(at.space, at.x, seed + 100, 1, w);
            derivative_of_exp(&at, w, v);
            fm_space_pull(at.space, at.x, at.u, v);
            ck_assert_msg(largest_difference(at.space, w, v) < 1e-9, "%s, length %g: %g",
                          at.it.name, lengths[k], largest_difference(at.space, w, v));
        }
    }
}
END_TEST

/* ---- geodesics and distances ---- */

START_TEST(a_geodesic_is_made_of_geodesics)
{
    step_case at;
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        open_at(&at, _i, seed, 2.2);
        double middle[MOST], later[MOST], directly[MOST];
        const double share = 0.3, rest = 0.6;
        fm_space_between(at.space, at.x, at.y, share, middle);
        fm_space_between(at.space, middle, at.y, rest, later);
        fm_space_between(at.space, at.x, at.y, share + (1 - share) * rest, directly);
        ck_assert_double_lt(fm_space_distance(at.space, later, directly), 1e-11);
        ck_assert_double_eq_tol(fm_space_distance(at.space, at.x, middle), share * 2.2, 1e-11);
        ck_assert_double_eq_tol(fm_space_distance(at.space, middle, at.y), (1 - share) * 2.2,
                                1e-11);
    }
}
END_TEST

START_TEST(distances_are_symmetric_and_obey_the_triangle_inequality)
{
    space_case it;
    space_case_at(_i, &it);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        double x[MOST], y[MOST], z[MOST];
        space_case_point(&it.space, 3 * seed, x);
        space_case_point(&it.space, 3 * seed + 1, y);
        space_case_point(&it.space, 3 * seed + 2, z);
        double xy = fm_space_distance(&it.space, x, y), yz = fm_space_distance(&it.space, y, z);
        ck_assert_double_eq_tol(xy, fm_space_distance(&it.space, y, x), 1e-12);
        ck_assert_double_gt(xy, 0);
        ck_assert_double_le(fm_space_distance(&it.space, x, z), xy + yz + 1e-12);
    }
}
END_TEST

/* ---- staying on the space ---- */

static double distance_to_space(const fm_space_part *part, const double *x)
{
    double square = 0, a = x[0], n = (double)part->n;
    size_t of_length = part->id == FM_SPACE_SPHERE       ? part->n
                       : part->id == FM_SPACE_SO3        ? 4
                       : part->id == FM_SPACE_SE3        ? 4
                       : part->id == FM_SPACE_HYPERBOLIC ? part->n
                                                         : 0;
    for (size_t i = 0; i < of_length; i++) {
        square += x[i] * x[i];
    }
    if (part->id == FM_SPACE_HYPERBOLIC) {
        return square < 1 ? 0 : 1;
    }
    if (part->id == FM_SPACE_SPD && n == 2) {
        return x[1] == x[2] && a > 0 && a * x[3] > x[1] * x[1] ? 0 : 1;
    }
    for (size_t i = 0; part->id == FM_SPACE_TORUS && i < part->n; i++) {
        if (!(x[i] >= 0 && x[i] < 2 * SPACE_CASE_PI)) {
            return 1;
        }
    }
    return of_length > 0 ? fabs(sqrt(square) - 1) : 0;
}

static void check_on_space(const space_case *it, const double *x)
{
    size_t at = 0;
    for (size_t k = 0; k < it->space.n_parts; k++) {
        const fm_space_part *part = &it->space.parts[k];
        double sum = 0, most = 0;
        for (size_t copy = 0; copy < part->copies; copy++) {
            ck_assert_msg(distance_to_space(part, x + at) < 1e-12, "%s", it->name);
            sum += part->source.centered ? x[at + 4] : 0;
            most = fmax(most, part->source.centered ? fabs(x[at + 4]) : 0);
            at += fm_space_point_numbers(part);
        }
        ck_assert_msg(fabs(sum) <= 1e-12 * (1 + most), "%s: mean %g", it->name, sum);
    }
    ck_assert(isfinite(space_case_most(it->space.states, x)));
}

START_TEST(a_thousand_steps_stay_on_the_space)
{
    space_case it;
    space_case_at(_i, &it);
    double walked[MOST], projected[MOST], u[MOST];
    space_case_point(&it.space, 7, walked);
    memcpy(projected, walked, sizeof projected);
    for (uint64_t step = 0; step < 1000; step++) {
        space_case_slope(&it.space, walked, step, 0.1, u);
        fm_space_exp(&it.space, walked, u, walked);
        check_on_space(&it, walked);
        space_case_slope(&it.space, projected, step, 0.1, u);
        fm_space_project_step(&it.space, projected, u, projected);
        check_on_space(&it, projected);
    }
}
END_TEST

/* Normalised first-order steps differ from exponential ones by the square of their length. */
START_TEST(projected_steps_are_steps_to_first_order)
{
    step_case at;
    double apart[2];
    for (int k = 0; k < 2; k++) {
        double y[MOST];
        open_at(&at, _i, 5, k == 0 ? 2e-3 : 1e-3);
        fm_space_project_step(at.space, at.x, at.u, y);
        apart[k] = fm_space_distance(at.space, y, at.y);
    }
    ck_assert_double_lt(apart[0], 4e-5);
    ck_assert_double_le(apart[1], 0.26 * apart[0] + 1e-14);
}
END_TEST

Suite *suite_engine_space_steps(void)
{
    Suite *suite = suite_create("engine/space_steps");
    TCase *steps = tcase_create("steps");
    tcase_set_timeout(steps, 60);
    int count = space_case_count();
    tcase_add_loop_test(steps, log_inverts_exp, 0, count);
    tcase_add_loop_test(steps, a_step_of_no_length_stays, 0, count);
    tcase_add_loop_test(steps, results_may_be_written_over_their_arguments, 0, count);
    tcase_add_loop_test(steps, pull_is_the_inverse_of_the_derivative_of_exp, 0, count);
    tcase_add_loop_test(steps, a_geodesic_is_made_of_geodesics, 0, count);
    tcase_add_loop_test(steps, distances_are_symmetric_and_obey_the_triangle_inequality, 0, count);
    tcase_add_loop_test(steps, a_thousand_steps_stay_on_the_space, 0, count);
    tcase_add_loop_test(steps, projected_steps_are_steps_to_first_order, 0, count);
    suite_add_tcase(suite, steps);
    return suite;
}
