/* Linear operators: hand-computed values, adjoints, pseudo-inverses, and broken rules. */
#include "engine/inverse/operator.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define CHANNELS 3
#define HEIGHT   6
#define WIDTH    4
#define PIXELS   (CHANNELS * HEIGHT * WIDTH)
#define ROWS     5

static double mask[PIXELS], matrix[ROWS * PIXELS];

static fm_operator_options image_options(void)
{
    return (fm_operator_options){.rank = 3,
                                 .shape = {CHANNELS, HEIGHT, WIDTH},
                                 .values = mask,
                                 .factor = 2,
                                 .std = 0.8,
                                 .n_rows = ROWS};
}

static fm_operator make(const char *name, const fm_operator_options *options)
{
    fm_operator forward;
    fm_error err;
    fm_status status = fm_operator_init(&forward, fm_operator_type_find(name), options, &err);
    ck_assert_msg(status == FM_OK, "%s: %s", name, err.text);
    return forward;
}

static const char *const names[] = {"mask", "average_pool", "blur", "gray", "matrix"};
#define N_NAMES 5

/* The i-th kind over one image. */
static fm_operator usual(int i)
{
    fm_operator_options options = image_options();
    for (size_t k = 0; k < PIXELS; k++) {
        mask[k] = k % 3 == 1;
    }
    fm_rng_normal(5, 0, FM_RNG_PROBE, 0, ROWS * PIXELS, matrix);
    options.values = i == 4 ? matrix : mask;
    return make(names[i], &options);
}

static double *scratch_of(const fm_operator *forward)
{
    double *scratch = fm_alloc_array(fm_operator_scratch_size(forward), sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    return scratch;
}

static double product(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void ck_near(size_t n, const double *found, const double *expected, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(fabs(found[i] - expected[i]) <= tolerance, "entry %zu: %.17g, not %.17g", i,
                      found[i], expected[i]);
    }
}

START_TEST(adjoint_is_the_transpose)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double x[PIXELS], z[PIXELS], image[PIXELS], back[PIXELS];
    for (uint64_t k = 0; k < 10; k++) {
        fm_rng_normal(1, k, FM_RNG_PROBE, 0, PIXELS, x);
        fm_rng_normal(2, k, FM_RNG_PROBE, 0, forward.observation_dimension, z);
        fm_operator_apply(&forward, x, image, scratch);
        fm_operator_adjoint(&forward, z, back, scratch);
        /* seen: below 2e-14 */
        ck_assert_double_eq_tol(product(forward.observation_dimension, image, z),
                                product(PIXELS, x, back), 1e-12);
    }
    fm_free(scratch);
}
END_TEST

START_TEST(gram_and_norm_are_those_of_the_operator)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double x[PIXELS], y[PIXELS], back[PIXELS], largest = 0;
    size_t m = forward.observation_dimension;
    fm_rng_normal(3, 0, FM_RNG_PROBE, 0, PIXELS, x);
    fm_operator_apply(&forward, x, y, scratch);
    fm_operator_adjoint(&forward, y, x, scratch);
    fm_operator_apply(&forward, x, back, scratch);
    if (forward.gram > 0) {
        for (size_t i = 0; i < m; i++) {
            ck_assert_double_eq_tol(back[i], forward.gram * y[i], 1e-15);
        }
        ck_assert_double_eq(forward.norm_squared, forward.gram);
    }
    /* many rounds of the power method */
    for (size_t round = 0; round < 2000; round++) {
        double length = sqrt(product(m, y, y));
        for (size_t i = 0; i < m; i++) {
            y[i] /= length;
        }
        fm_operator_adjoint(&forward, y, x, scratch);
        fm_operator_apply(&forward, x, y, scratch);
        largest = sqrt(product(m, y, y));
    }
    /* seen: 1e-5 below, of the matrix */
    ck_assert_double_le(forward.norm_squared, largest * (1 + 1e-9));
    ck_assert_double_ge(forward.norm_squared, largest * 0.98);
    fm_free(scratch);
}
END_TEST

START_TEST(pseudo_inverse_gives_back_what_was_observed)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double x[PIXELS], y[PIXELS], again[PIXELS];
    fm_rng_normal(4, 0, FM_RNG_PROBE, 0, PIXELS, x);
    fm_operator_apply(&forward, x, y, scratch);
    fm_operator_invert(&forward, 0, y, x, scratch);
    fm_operator_apply(&forward, x, again, scratch);
    ck_near(forward.observation_dimension, again, y, 1e-9); /* seen: 9e-12, of the blur */
    fm_free(scratch);
}
END_TEST

START_TEST(pseudo_inverse_is_the_least_solution)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double x[PIXELS], y[PIXELS], least[PIXELS], difference[PIXELS];
    fm_rng_normal(6, 0, FM_RNG_PROBE, 0, PIXELS, x);
    fm_operator_apply(&forward, x, y, scratch);
    fm_operator_invert(&forward, 0, y, least, scratch);
    for (size_t i = 0; i < PIXELS; i++) {
        difference[i] =
            x[i] - least[i]; /* of the null space of H, which the least one is normal to */
    }
    ck_assert_double_eq_tol(product(PIXELS, difference, least), 0, 1e-8);
    fm_free(scratch);
}
END_TEST

/* (H^T H + lambda I) z = H^T r */
START_TEST(regularised_inverse_solves_its_normal_equations)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double r[PIXELS], right[PIXELS], z[PIXELS], y[PIXELS], left[PIXELS];
    const double lambda = 0.3;
    fm_rng_normal(7, 0, FM_RNG_PROBE, 0, forward.observation_dimension, r);
    fm_operator_invert(&forward, lambda, r, z, scratch);
    fm_operator_adjoint(&forward, r, right, scratch);
    fm_operator_apply(&forward, z, y, scratch);
    fm_operator_adjoint(&forward, y, left, scratch);
    for (size_t i = 0; i < PIXELS; i++) {
        left[i] += lambda * z[i];
    }
    ck_near(PIXELS, left, right, 1e-8);
    fm_free(scratch);
}
END_TEST

START_TEST(correction_gives_the_state_its_observation_and_changes_nothing_unseen)
{
    fm_operator forward = usual(_i);
    double *scratch = scratch_of(&forward);
    double x[PIXELS], other[PIXELS], y[PIXELS], seen[PIXELS];
    fm_rng_normal(8, 0, FM_RNG_PROBE, 0, PIXELS, x);
    fm_rng_normal(9, 0, FM_RNG_PROBE, 0, PIXELS, other);
    fm_operator_apply(&forward, other, y, scratch);
    if (_i == 0) {
        for (size_t i = 0; i < PIXELS; i++) {
            y[i] = mask[i] != 0 ? y[i] : 1e300; /* where nothing is observed */
        }
    }
    memcpy(other, x, sizeof x);
    fm_operator_residual(&forward, y, x, seen, scratch);
    fm_operator_correct(&forward, 0, y, x, scratch);
    if (_i == 0) {
        for (size_t i = 0; i < PIXELS; i++) {
            ck_assert_double_eq(x[i], mask[i] != 0 ? y[i] : other[i]); /* to the bit */
        }
    } else {
        fm_operator_apply(&forward, x, seen, scratch);
        ck_near(forward.observation_dimension, seen, y, 1e-9);
    }
    fm_operator_residual(&forward, y, x, seen, scratch);
    ck_assert_double_le(product(forward.observation_dimension, seen, seen), 1e-16);
    fm_free(scratch);
}
END_TEST

/* Two equal rows that were observed to differ: the least squares take their mean. */
START_TEST(contradicting_rows_are_met_in_the_middle)
{
    const double rows[4] = {3, 4, 3, 4}, y[2] = {1, 2};
    double x[2] = {0, 0};
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = rows, .n_rows = 2};
    fm_operator forward = make("matrix", &options);
    double *scratch = scratch_of(&forward);
    ck_assert_double_eq_tol(forward.norm_squared, 50, 1e-12);
    fm_operator_correct(&forward, 0, y, x, scratch);
    const double expected[2] = {1.5 * 3 / 25, 1.5 * 4 / 25};
    ck_near(2, x, expected, 1e-12);
    fm_free(scratch);
}
END_TEST

START_TEST(a_mask_lets_its_ones_through_and_nothing_else)
{
    const double ones[3] = {0, 1, 0}, x[3] = {1, 2, 3}, expected[3] = {0, 2, 0};
    double y[3];
    const fm_operator_options options = {.rank = 1, .shape = {3}, .values = ones};
    fm_operator forward = make("mask", &options);
    fm_operator_apply(&forward, x, y, NULL);
    ck_assert_mem_eq(y, expected, sizeof y);
}
END_TEST

START_TEST(pooling_takes_means_of_blocks)
{
    const double x[2 * 2 * 4] = {1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 4, 0, 0, 8, 0, 0};
    const double expected[4] = {3.5, 5.5, 2, 1}, unit[4] = {4, 0, 0, 8};
    const double spread[16] = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 2, 2, 0, 0, 2, 2};
    double y[4], back[16];
    fm_operator_options options = {.rank = 3, .shape = {2, 2, 4}, .factor = 2};
    fm_operator forward = make("average_pool", &options);
    ck_assert_uint_eq(forward.observation_dimension, 4);
    ck_assert_double_eq(forward.gram, 0.25);
    fm_operator_apply(&forward, x, y, NULL);
    ck_assert_mem_eq(y, expected, sizeof y);
    fm_operator_adjoint(&forward, unit, back, NULL);
    ck_assert_mem_eq(back, spread, sizeof back);
}
END_TEST

START_TEST(gray_is_the_luma_of_rec_601)
{
    const double x[6] = {1, 0.5, 0, 0.5, 0, -1},
                 expected[2] = {0.299, 0.299 * 0.5 + 0.587 * 0.5 - 0.114};
    double y[2];
    fm_operator_options options = {.rank = 3, .shape = {3, 1, 2}};
    fm_operator forward = make("gray", &options);
    fm_operator_apply(&forward, x, y, NULL);
    ck_near(2, y, expected, 1e-15);
}
END_TEST

/* std 0.5: taps e^(-2 k^2) for k up to 2. A line of three pixels is read ... b a | a b c | c b ... */
START_TEST(blur_weighs_neighbours_and_reflects_at_the_edges)
{
    double one = exp(-2), two = exp(-8), sum = 1 + 2 * one + 2 * two;
    const double x[3] = {1, 0, 0};
    const double expected[3] = {(1 + one) / sum, (one + two) / sum, two / sum};
    double y[3], scratch[3];
    fm_operator_options options = {.rank = 3, .shape = {1, 1, 3}, .std = 0.5};
    for (size_t turned = 0; turned < 2; turned++) {
        options.shape[1] = turned ? 3 : 1;
        options.shape[2] = turned ? 1 : 3;
        fm_operator forward = make("blur", &options);
        ck_assert_uint_eq(forward.radius, 2);
        fm_operator_apply(&forward, x, y, scratch);
        ck_near(3, y, expected, 1e-15);
    }
}
END_TEST

START_TEST(blur_keeps_the_mean_even_where_it_is_wider_than_the_image)
{
    double x[PIXELS], y[PIXELS], flat[PIXELS], before = 0, after = 0;
    fm_operator_options options = image_options();
    options.std = 20;
    fm_operator forward = make("blur", &options);
    double *scratch = scratch_of(&forward);
    fm_rng_normal(1, 1, FM_RNG_PROBE, 0, PIXELS, x);
    fm_operator_apply(&forward, x, y, scratch);
    for (size_t i = 0; i < HEIGHT * WIDTH; i++) {
        before += x[i];
        after += y[i];
        ck_assert_double_eq_tol(y[i], y[0], 1e-2); /* nearly flat */
    }
    ck_assert_double_eq_tol(after, before, 1e-12);
    for (size_t i = 0; i < PIXELS; i++) {
        x[i] = 7;
        flat[i] = 7;
    }
    fm_operator_apply(&forward, x, y, scratch);
    ck_near(PIXELS, y, flat, 1e-13);
    fm_free(scratch);
}
END_TEST

START_TEST(kinds_are_found_by_the_names_they_have)
{
    for (size_t i = 0; i < N_NAMES; i++) {
        ck_assert_str_eq(fm_operator_type_name(fm_operator_type_find(names[i])), names[i]);
    }
    ck_assert_ptr_null(fm_operator_type_find("hologram"));
}
END_TEST

static void check_refused(const char *name, fm_operator_options options, const char *text)
{
    fm_error err;
    fm_operator forward = {.dimension = 77};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find(name), &options, &err);
    ck_assert_msg(status == FM_EINVAL, "%s: %s was accepted", name, text);
    ck_assert_msg(strncmp(err.text, text, strlen(text)) == 0, "%s: %s", text, err.text);
    ck_assert_uint_eq(forward.dimension, 77); /* untouched */
}

START_TEST(broken_rules_are_named)
{
    static double half[PIXELS] = {0, 1, 0.5}, none[PIXELS], endless[PIXELS] = {1, HUGE_VAL};
#define REFUSED(name, text, ...)                                                                   \
    do {                                                                                           \
        fm_operator_options bad = image_options();                                                 \
        __VA_ARGS__;                                                                               \
        check_refused(name, bad, text);                                                            \
    } while (0)
    REFUSED("mask", "shape must have", bad.rank = 0);
    REFUSED("mask", "shape must have", bad.rank = FM_MAX_RANK + 1);
    REFUSED("mask", "shape must have positive", bad.shape[1] = 0);
    REFUSED("mask", "shape must have positive", bad.shape[1] = SIZE_MAX / 2);
    REFUSED("mask", "mask must be given", bad.values = NULL);
    REFUSED("mask", "mask must hold 0 and 1; entry 2", bad.values = half);
    REFUSED("mask", "mask must hold a 1", bad.values = none);
    REFUSED("average_pool", "shape must be [channels", bad.rank = 2);
    REFUSED("average_pool", "factor", bad.factor = 0);
    REFUSED("average_pool", "factor must divide height 6 and width 4", bad.factor = 3);
    REFUSED("blur", "std", bad.std = 0);
    REFUSED("blur", "std", bad.std = 21.4);
    REFUSED("blur", "std", bad.std = (double)NAN);
    REFUSED("gray", "shape must have 3 channels", bad.shape[0] = 1);
    REFUSED("matrix", "matrix must have at least one row", bad.n_rows = 0);
    REFUSED("matrix", "matrix must have at least one row", bad.values = NULL);
    REFUSED("matrix", "matrix has more rows", bad.n_rows = SIZE_MAX / 4);
    REFUSED("matrix", "matrix must be finite; entry 1", bad.values = endless; bad.n_rows = 1);
    REFUSED("matrix", "matrix must hold more than zeros", bad.values = none; bad.n_rows = 1);
#undef REFUSED
}
END_TEST

Suite *suite_engine_operator(void)
{
    Suite *suite = suite_create("engine/operator");
    TCase *kinds = tcase_create("every kind");
    tcase_add_loop_test(kinds, adjoint_is_the_transpose, 0, N_NAMES);
    tcase_add_loop_test(kinds, gram_and_norm_are_those_of_the_operator, 0, N_NAMES);
    tcase_add_loop_test(kinds, pseudo_inverse_gives_back_what_was_observed, 0, N_NAMES);
    tcase_add_loop_test(kinds, pseudo_inverse_is_the_least_solution, 0, N_NAMES);
    tcase_add_loop_test(kinds, regularised_inverse_solves_its_normal_equations, 0, N_NAMES);
    tcase_add_loop_test(
        kinds, correction_gives_the_state_its_observation_and_changes_nothing_unseen, 0, N_NAMES);
    suite_add_tcase(suite, kinds);
    TCase *values = tcase_create("values");
    tcase_add_test(values, contradicting_rows_are_met_in_the_middle);
    tcase_add_test(values, a_mask_lets_its_ones_through_and_nothing_else);
    tcase_add_test(values, pooling_takes_means_of_blocks);
    tcase_add_test(values, gray_is_the_luma_of_rec_601);
    tcase_add_test(values, blur_weighs_neighbours_and_reflects_at_the_edges);
    tcase_add_test(values, blur_keeps_the_mean_even_where_it_is_wider_than_the_image);
    tcase_add_test(values, kinds_are_found_by_the_names_they_have);
    tcase_add_test(values, broken_rules_are_named);
    suite_add_tcase(suite, values);
    return suite;
}
