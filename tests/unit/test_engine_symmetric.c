/* Eigenvalues of small symmetric matrices, of which closed forms are known. */
#include "engine/math/rng.h"
#include "engine/math/symmetric.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 2 on the diagonal, -1 beside it: 2 - 2 cos(k pi / (n + 1)). */
START_TEST(a_second_difference_has_its_known_eigenvalues)
{
    size_t n = (size_t)_i;
    double a[MOST * MOST] = {0}, q[MOST * MOST], values[MOST];
    for (size_t i = 0; i < n; i++) {
        a[i * n + i] = 2;
        if (i > 0) {
            a[i * n + i - 1] = a[(i - 1) * n + i] = -1;
        }
    }
    fm_symmetric_eigen(n, a, values, q);
    qsort(values, n, sizeof *values, ascending);
    for (size_t i = 0; i < n; i++) {
        double want = 2 - 2 * cos((double)(i + 1) * acos(-1.0) / (double)(n + 1));
        ck_assert_double_eq_tol(values[i], want, 5e-14);
    }
}
END_TEST

static void symmetric_matrix(size_t n, uint64_t seed, double *a)
{
    for (size_t i = 0; i < n; i++) {
        fm_rng_normal(seed, i, FM_RNG_PROBE, 0, n, a + i * n);
        for (size_t j = 0; j < i; j++) {
            a[i * n + j] = a[j * n + i];
        }
    }
}

START_TEST(vectors_are_orthogonal_and_make_the_matrix)
{
    size_t n = (size_t)_i;
    double a[MOST * MOST] = {0}, work[MOST * MOST], q[MOST * MOST], again[MOST * MOST],
                    values[MOST];
    symmetric_matrix(n, 3, a);
    memcpy(work, a, sizeof work);
    fm_symmetric_eigen(n, work, values, q);
    fm_symmetric_compose(n, q, values, again);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++) {
                dot += q[k * n + i] * q[k * n + j];
            }
            ck_assert_double_eq_tol(dot, i == j ? 1 : 0, 2e-14);
            ck_assert_double_eq_tol(again[i * n + j], a[i * n + j], 1e-13);
            ck_assert_double_eq(again[i * n + j], again[j * n + i]);
        }
    }
}
END_TEST

/* One of 1e-12 beside one of 1e6 is right to its own digits: log and root of a matrix depend on it. */
START_TEST(small_eigenvalues_are_right_to_their_own_digits)
{
    const double s = 1e-3;
    double a[4] = {1e6, s, s, 2e-12}, values[2], q[4]; /* det = 2e-6 - 1e-6 */
    fm_symmetric_eigen(2, a, values, q);
    double small = fmin(values[0], values[1]);
    ck_assert_double_eq_tol(small / 1e-12, 1, 1e-9);
}
END_TEST

START_TEST(a_sandwich_is_two_products)
{
    size_t n = 5;
    double a[25], b[25], scratch[25], got[25];
    symmetric_matrix(n, 1, a);
    symmetric_matrix(n, 2, b);
    fm_symmetric_sandwich(n, a, b, scratch, got);
    for (size_t i = 0; i < n * n; i++) {
        double sum = 0;
        for (size_t k = 0; k < n * n; k++) {
            sum += a[i / n * n + k / n] * b[k] * a[k % n * n + i % n];
        }
        ck_assert_double_eq_tol(got[i], sum, 1e-13);
    }
    fm_symmetric_sandwich(n, a, b, scratch, b);
    ck_assert_mem_eq(b, got, sizeof b);
}
END_TEST

Suite *suite_engine_symmetric(void)
{
    Suite *suite = suite_create("engine/symmetric");
    TCase *matrices = tcase_create("matrices");
    tcase_add_loop_test(matrices, a_second_difference_has_its_known_eigenvalues, 1, MOST + 1);
    tcase_add_loop_test(matrices, vectors_are_orthogonal_and_make_the_matrix, 1, MOST + 1);
    tcase_add_test(matrices, small_eigenvalues_are_right_to_their_own_digits);
    tcase_add_test(matrices, a_sandwich_is_two_products);
    suite_add_tcase(suite, matrices);
    return suite;
}
