/* What spaces are made of: names, sizes, what a point must be, what a network is fed. */
#include "engine/space/space.h"
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define PI SPACE_CASE_PI

static fm_space space_of(fm_space_id id, size_t n, size_t copies)
{
    return space_case_of(
        (fm_space_part){.id = id, .n = n, .copies = copies, .vocabulary = 5, .source = {.std = 1}});
}

/* ---- tables and sizes ---- */

START_TEST(names_are_found_again)
{
    for (int id = 0; id < (int)FM_N_SPACES; id++) {
        ck_assert_uint_eq(fm_space_find(fm_space_name((fm_space_id)id)), id);
    }
    for (int id = 0; id < (int)FM_N_SOURCES; id++) {
        ck_assert_uint_eq(fm_source_find(fm_source_name((fm_source_id)id)), id);
    }
    ck_assert_uint_eq(fm_space_find("cube"), FM_N_SPACES);
    ck_assert_uint_eq(fm_source_find("noise"), FM_N_SOURCES);
    ck_assert_uint_eq(fm_space_find("so3"), FM_SPACE_SO3);
    ck_assert_uint_eq(fm_source_find("wrapped_normal"), FM_SOURCE_WRAPPED_NORMAL);
}
END_TEST

START_TEST(every_space_can_be_drawn_from_or_given)
{
    for (int id = 0; id < (int)FM_N_SPACES; id++) {
        int drawn = 0;
        for (int source = 0; source < (int)FM_N_SOURCES; source++) {
            drawn += fm_source_is_of((fm_source_id)source, (fm_space_id)id);
        }
        ck_assert(fm_source_is_of(FM_SOURCE_EXTERNAL, (fm_space_id)id));
        ck_assert_int_ge(drawn, 2);
    }
    ck_assert(!fm_source_is_of(FM_SOURCE_NORMAL, FM_SPACE_SPHERE));
    ck_assert(!fm_source_is_of(FM_SOURCE_MASK, FM_SPACE_TORUS));
}
END_TEST

START_TEST(sizes_are_sums_over_parts_and_points)
{
    space_case it;
    space_case_at(space_case_count() - 1, &it);
    /* R^2, 2 S^2, T^2, H^2, 2 x 2, 2 rotations by matrix, 3 frames by quaternion, 3 of 5 tokens */
    ck_assert_uint_eq(it.space.states, 2 + 6 + 2 + 2 + 4 + 8 + 21 + 3);
    ck_assert_uint_eq(it.space.inputs, 2 + 6 + 2 + 2 + 4 + 18 + 21 + 3);
    ck_assert_uint_eq(it.space.outputs, 2 + 6 + 2 + 2 + 4 + 6 + 21 + 15);
    ck_assert_uint_eq(it.space.velocities, 2 + 6 + 2 + 2 + 4 + 8 + 21 + 15);
    ck_assert_uint_eq(it.space.dimensions, 2 + 4 + 2 + 2 + 3 + 6 + 18);
    ck_assert(!it.space.is_flat && !it.space.is_external);
}
END_TEST

START_TEST(flat_space_is_the_short_way_of_one_part)
{
    fm_space written = space_of(FM_SPACE_EUCLIDEAN, 7, 1), flat = fm_space_euclidean(7);
    ck_assert(flat.is_flat && written.is_flat);
    ck_assert_uint_eq(flat.states, written.states);
    ck_assert_uint_eq(flat.inputs, written.inputs);
    ck_assert_uint_eq(flat.outputs, written.outputs);
    ck_assert_uint_eq(flat.velocities, written.velocities);
    ck_assert_uint_eq(flat.dimensions, written.dimensions);
    ck_assert_uint_eq(fm_space_draws(&flat), 7);
}
END_TEST

static const struct {
    fm_space_id id;
    size_t n, copies;
    const char *says;
} refused[] = {
    {FM_SPACE_SPHERE, 1, 1, "a point of sphere must have 2 or more numbers along an axis, found 1"},
    {FM_SPACE_SO3, 3, 1, "a point of so3 must have 4 numbers along an axis, found 3"},
    {FM_SPACE_SE3, 6, 1, "a point of se3 must have 7 numbers along an axis, found 6"},
    {FM_SPACE_SPD, 17, 1, "a point of spd must have 1 to 16 numbers along an axis, found 17"},
    {FM_SPACE_SPD, 16, SIZE_MAX / 1000, "are too many"},
    {FM_SPACE_EUCLIDEAN, SIZE_MAX / 2, 3, "are too many"},
};

START_TEST(impossible_sizes_are_refused)
{
    fm_space space = {
        .parts = {{.id = refused[_i].id, .n = refused[_i].n, .copies = refused[_i].copies}},
        .n_parts = 1};
    fm_error err;
    ck_assert_int_eq(fm_space_init(&space, &err), FM_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, refused[_i].says));
}
END_TEST

/* ---- what a point must be ---- */

static const struct {
    fm_space_id id;
    size_t n;
    double x[9], want[9]; /* want[0] NAN: refused */
} points[] = {
    {FM_SPACE_EUCLIDEAN, 2, {1e9, -3}, {1e9, -3}},
    {FM_SPACE_SPHERE, 3, {0.6, 0, 0.8004}, {0.6 / 1.00032, 0, 0.8004 / 1.00032}},
    {FM_SPACE_SPHERE, 3, {0.6, 0, 0.802}, {(double)NAN}},
    {FM_SPACE_SPHERE, 3, {0, 0, 0}, {(double)NAN}},
    {FM_SPACE_SPHERE, 2, {(double)NAN, 1}, {(double)NAN}},
    {FM_SPACE_TORUS, 3, {-1, 7, 6.28}, {2 * PI - 1, 7 - 2 * PI, 6.28}},
    {FM_SPACE_TORUS, 2, {2 * PI, -1e-9}, {0, 0}}, /* what is 2 pi as a float32 is 0 */
    {FM_SPACE_HYPERBOLIC, 2, {0.6, 0.79}, {0.6, 0.79}},
    {FM_SPACE_HYPERBOLIC, 2, {0.6, 0.8}, {(double)NAN}},
    {FM_SPACE_HYPERBOLIC, 1, {(double)NAN}, {(double)NAN}},
    {FM_SPACE_SPD, 2, {2, 1.0004, 1, 1}, {2, 1.0002, 1.0002, 1}},
    {FM_SPACE_SPD, 2, {2, 1.01, 1, 1}, {(double)NAN}}, /* not symmetric */
    {FM_SPACE_SPD, 2, {1, 2, 2, 1}, {(double)NAN}},    /* indefinite */
    {FM_SPACE_SPD, 2, {1, 1, 1, 1}, {(double)NAN}},    /* singular */
    {FM_SPACE_SPD, 2, {1, (double)NAN, (double)NAN, 1}, {(double)NAN}},
    {FM_SPACE_SPD, 1, {0}, {(double)NAN}},
    {FM_SPACE_SO3, 4, {-0.6, 0, 0.8, 0}, {0.6, 0, -0.8, 0}},
    {FM_SPACE_SO3, 4, {0.6, 0, 0.8004, 0}, {0.6 / 1.00032, 0, 0.8004 / 1.00032, 0}},
    {FM_SPACE_SO3, 4, {0.6, 0, 0.81, 0}, {(double)NAN}},
    {FM_SPACE_SE3, 7, {-0.6, 0, 0, 0.8, 5, -6, 7}, {0.6, 0, 0, -0.8, 5, -6, 7}},
    {FM_SPACE_SE3, 7, {1, 1, 0, 0, 5, -6, 7}, {(double)NAN}},
    {FM_SPACE_TOKENS, 1, {4}, {4}}, /* the vocabulary has five */
    {FM_SPACE_TOKENS, 1, {5}, {(double)NAN}},
    {FM_SPACE_TOKENS, 1, {-1}, {(double)NAN}},
    {FM_SPACE_TOKENS, 1, {1.5}, {(double)NAN}},
    {FM_SPACE_TOKENS, 1, {(double)NAN}, {(double)NAN}},
};
#define N_POINTS ((int)(sizeof points / sizeof *points))

/* The second of three points, between two that are fine. */
START_TEST(points_are_made_exact_or_refused)
{
    fm_space space = space_of(points[_i].id, points[_i].n, 3);
    size_t n = space.states / 3, at = SIZE_MAX;
    double x[27];
    const char *rule = NULL;
    bool is_fine = !isnan(points[_i].want[0]);
    for (size_t copy = 0; copy < 3; copy++) {
        memset(x + copy * n, 0, n * sizeof *x);
        bool starts_with_one = points[_i].id != FM_SPACE_HYPERBOLIC;
        x[copy * n] = starts_with_one ? 1 : 0;
        x[copy * n + n - 1] = points[_i].id == FM_SPACE_SPD ? 1 : x[copy * n + n - 1];
    }
    memcpy(x + n, points[_i].x, n * sizeof *x);
    ck_assert_int_eq(fm_space_accept(&space, x, &rule, &at), is_fine);
    if (!is_fine) {
        ck_assert_uint_eq(at, n);
        ck_assert_int_eq(strncmp(rule, "must be ", 8), 0);
        ck_assert_mem_eq(x + n, points[_i].x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        ck_assert_double_eq_tol(x[n + i], points[_i].want[i], 1e-6);
    }
    double again[27];
    memcpy(again, x, sizeof again);
    fm_space_normalise(&space, again);
    for (size_t i = 0; i < 3 * n; i++) {
        ck_assert_double_eq_tol(again[i], x[i], 1e-15);
    }
}
END_TEST

/* A point that cannot be made exact is no reason to leave the next ones as they are. */
START_TEST(normalising_goes_on_behind_a_point_that_is_lost)
{
    fm_space_part ball = {.id = FM_SPACE_HYPERBOLIC, .n = 1, .copies = 1, .source = {.std = 1}};
    fm_space_part turn = {.id = FM_SPACE_SO3, .n = 4, .copies = 1};
    fm_space both = {.parts = {ball, turn}, .n_parts = 2, .is_product = true};
    fm_error err;
    ck_assert_int_eq(fm_space_init(&both, &err), FM_OK);
    double x[5] = {(double)NAN, -0.6, 0, 0.8, 0};
    fm_space_normalise(&both, x);
    ck_assert(isnan(x[0]));
    ck_assert_double_eq_tol(x[1], 0.6, 1e-15);
    ck_assert_double_eq_tol(x[3], -0.8, 1e-15);
}
END_TEST

START_TEST(centred_frames_have_no_mean_wherever_they_come_from)
{
    fm_space frames = space_case_of(
        (fm_space_part){.id = FM_SPACE_SE3,
                        .n = 7,
                        .copies = 2,
                        .representation = FM_REPRESENTATION_MATRIX,
                        .source = {.id = FM_SOURCE_NORMAL, .std = 1, .centered = true}});
    double x[14] = {1, 0, 0, 0, 5, 6, 7, 1, 0, 0, 0, 1, 0, -1}, v[14], coordinates[12];
    const double output[12] = {1, 2, 3, 4, 0, 0, 4, 5, 6, 2, 2, -1};
    const double want_x[14] = {1, 0, 0, 0, 2, 3, 4, 1, 0, 0, 0, -2, -3, -4};
    const double want_v[14] = {0, 0.5, 1, 1.5, 1, -1, 0.5, 0, 2, 2.5, 3, -1, 1, -0.5};
    const double want_coordinates[12] = {1, 2, 3, 1, -1, 0.5, 4, 5, 6, -1, 1, -0.5};
    const char *rule;
    size_t at;
    ck_assert(fm_space_accept(&frames, x, &rule, &at));
    ck_assert_mem_eq(x, want_x, sizeof want_x);
    fm_space_velocity(&frames, x, output, v);
    fm_space_coordinates(&frames, x, output, coordinates);
    for (size_t i = 0; i < 14; i++) {
        ck_assert_double_eq(v[i], want_v[i]);
    }
    for (size_t i = 0; i < 12; i++) {
        ck_assert_double_eq(coordinates[i], want_coordinates[i]);
    }
}
END_TEST

/* ---- what a network is fed ---- */

START_TEST(a_quarter_turn_has_its_matrix)
{
    fm_space_part part = {.id = FM_SPACE_SE3,
                          .n = 7,
                          .copies = 1,
                          .representation = FM_REPRESENTATION_MATRIX,
                          .source = {.std = 1}};
    fm_space frames = space_case_of(part);
    const double x[7] = {sqrt(0.5), 0, 0, sqrt(0.5), 1, 2, 3}; /* about z: x to y, y to -x */
    const double want[12] = {0, -1, 0, 1, 0, 0, 0, 0, 1, 1, 2, 3};
    double input[12];
    fm_space_input(&frames, x, input);
    for (size_t i = 0; i < 12; i++) {
        ck_assert_double_eq_tol(input[i], want[i], 1e-15);
    }
}
END_TEST

START_TEST(tokens_are_fed_by_index_or_one_hot_and_never_move)
{
    fm_space_part part = {.id = FM_SPACE_TOKENS,
                          .n = 1,
                          .copies = 2,
                          .representation = FM_REPRESENTATION_ONE_HOT,
                          .vocabulary = 3,
                          .source = {.id = FM_SOURCE_MASK}};
    fm_space tokens = space_case_of(part);
    double x[2] = {2, 0}, u[2] = {0.7, -1}, y[2], v[6], input[6];
    const double want[6] = {0, 0, 1, 1, 0, 0}, logits[6] = {1, 2, 3, 4, 5, 6};
    fm_space_input(&tokens, x, input);
    ck_assert_mem_eq(input, want, sizeof want);
    fm_space_velocity(&tokens, x, logits, v);
    ck_assert_mem_eq(v, logits, sizeof logits);
    fm_space_exp(&tokens, x, u, y);
    ck_assert_mem_eq(y, x, sizeof x);
    ck_assert_uint_eq(tokens.dimensions, 0);
    part.representation = FM_REPRESENTATION_INDEX;
    tokens = space_case_of(part);
    ck_assert_uint_eq(tokens.inputs, 2);
    fm_space_input(&tokens, x, input);
    ck_assert_mem_eq(input, x, sizeof x);
}
END_TEST

Suite *suite_engine_space(void)
{
    Suite *suite = suite_create("engine/space");
    TCase *tables = tcase_create("tables");
    tcase_add_test(tables, names_are_found_again);
    tcase_add_test(tables, every_space_can_be_drawn_from_or_given);
    tcase_add_test(tables, sizes_are_sums_over_parts_and_points);
    tcase_add_test(tables, flat_space_is_the_short_way_of_one_part);
    tcase_add_loop_test(tables, impossible_sizes_are_refused, 0,
                        (int)(sizeof refused / sizeof *refused));
    suite_add_tcase(suite, tables);
    TCase *states = tcase_create("states");
    tcase_add_loop_test(states, points_are_made_exact_or_refused, 0, N_POINTS);
    tcase_add_test(states, normalising_goes_on_behind_a_point_that_is_lost);
    tcase_add_test(states, centred_frames_have_no_mean_wherever_they_come_from);
    tcase_add_test(states, a_quarter_turn_has_its_matrix);
    tcase_add_test(states, tokens_are_fed_by_index_or_one_hot_and_never_move);
    suite_add_tcase(suite, states);
    return suite;
}
