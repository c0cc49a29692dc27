/* Draws from logits: the weights, what is left out, and which token a uniform number finds. */
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/categorical.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static const fm_categorical plain = {.excluded = FM_CATEGORICAL_NONE, .temperature = 1, .top_p = 1};

static void check_weights(const fm_categorical *how, size_t n, const double *logits,
                          const double *expected)
{
    double weights[16];
    size_t order[16];
    memcpy(weights, logits, n * sizeof *logits);
    double total = fm_categorical_weigh(how, n, weights, order);
    for (size_t i = 0; i < n; i++) {
        ck_assert_msg(fabs(weights[i] / total - expected[i]) < 1e-15, "%zu: %.17g, not %.17g", i,
                      weights[i] / total, expected[i]);
    }
}

START_TEST(softmax_of_logits_over_temperature)
{
    /* SciPy: softmax(logits / T) in float64 */
    const double logits[5] = {0.5, -1, 3, 2, -4};
    const double one[5] = {5.587084657583032e-02, 1.246647094409337e-02, 6.806462509894432e-01,
                           2.503957624494337e-01, 6.206690411995660e-04};
    double expected[5];
    for (int which = 0; which < 3; which++) {
        double temperature = which == 0 ? 1 : which == 1 ? 0.5 : 4, total = 0;
        fm_categorical how = plain;
        how.temperature = temperature;
        for (size_t i = 0; i < 5; i++) {
            expected[i] = exp(logits[i] / temperature);
            total += expected[i];
        }
        for (size_t i = 0; i < 5; i++) {
            expected[i] /= total;
            ck_assert(which > 0 || fabs(expected[i] - one[i]) < 1e-15);
        }
        check_weights(&how, 5, logits, expected);
    }
}
END_TEST

START_TEST(exponentials_are_those_of_the_library_within_two_units)
{
    double worst = 0;
    for (int i = 0; i <= 200000; i++) {
        double x = -(double)i * (700.0 / 200000), pair[2] = {0, x};
        (void)fm_categorical_weigh(&plain, 2, pair, NULL);
        worst = fmax(worst, fabs(pair[1] / exp(x) - 1));
    }
    ck_assert_double_lt(worst, 2 * 2.3e-16);
    double far[3] = {800, 0, -800};
    ck_assert_double_eq(fm_categorical_weigh(&plain, 3, far, NULL), 1);
    ck_assert(far[0] == 1 && far[1] == 0 && far[2] == 0);
}
END_TEST

START_TEST(temperature_zero_is_the_first_of_the_largest)
{
    const double logits[6] = {1, 7, 7, -2, 7, 3}, expected[6] = {0, 1, 0, 0, 0, 0};
    fm_categorical how = plain;
    how.temperature = 0;
    how.top_k = 3;
    check_weights(&how, 6, logits, expected);
    how.excluded = 1;
    const double second[6] = {0, 0, 1, 0, 0, 0};
    check_weights(&how, 6, logits, second);
}
END_TEST

/* log 1, 2, 3 …: probabilities in these proportions */
static void logs(size_t n, const double *weights, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        ret[i] = log(weights[i]);
    }
}

START_TEST(top_k_keeps_the_largest_and_of_equal_ones_the_first)
{
    const double weights[7] = {1, 4, 2, 4, 2, 2, 5};
    const double kept[8][7] = {{0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 5}, {0, 4, 0, 0, 0, 0, 5},
                               {0, 4, 0, 4, 0, 0, 5}, {0, 4, 2, 4, 0, 0, 5}, {0, 4, 2, 4, 2, 0, 5},
                               {0, 4, 2, 4, 2, 2, 5}, {1, 4, 2, 4, 2, 2, 5}};
    double logits[7], expected[7];
    logs(7, weights, logits);
    for (size_t k = 0; k <= 9; k++) {
        size_t row = k == 0 || k > 7 ? 7 : k;
        double total = 0;
        for (size_t i = 0; i < 7; i++) {
            total += kept[row][i];
        }
        for (size_t i = 0; i < 7; i++) {
            expected[i] = kept[row][i] / total;
        }
        fm_categorical how = plain;
        how.top_k = k;
        check_weights(&how, 7, logits, expected);
    }
}
END_TEST

START_TEST(top_p_keeps_the_fewest_that_have_the_share)
{
    const double weights[5] = {8, 1, 4, 1, 2}; /* of 16 */
    const struct {
        double top_p;
        size_t top_k;
        double kept[5];
    } cases[] = {{0.4, 0, {1, 0, 0, 0, 0}},
                 {0.51, 0, {8. / 12, 0, 4. / 12, 0, 0}},
                 {0.8, 0, {8. / 14, 0, 4. / 14, 0, 2. / 14}},
                 {0.9, 0, {8. / 15, 1. / 15, 4. / 15, 0, 2. / 15}},
                 {0.95, 0, {.5, 1. / 16, .25, 1. / 16, .125}},
                 {1e-9, 0, {1, 0, 0, 0, 0}},
                 {0.66, 2, {1, 0, 0, 0, 0}}, /* of the two that are left: 8 of 12 */
                 {0.67, 2, {8. / 12, 0, 4. / 12, 0, 0}},
                 {0.8, 3, {8. / 12, 0, 4. / 12, 0, 0}}};
    double logits[5];
    logs(5, weights, logits);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fm_categorical how = plain;
        how.top_p = cases[i].top_p;
        how.top_k = cases[i].top_k;
        ck_assert(fm_categorical_sorts(&how, 5));
        check_weights(&how, 5, logits, cases[i].kept);
    }
    ck_assert(!fm_categorical_sorts(&plain, 5));
}
END_TEST

START_TEST(excluded_token_is_never_drawn_and_the_rest_are_as_they_were)
{
    const double weights[4] = {1, 2, 3, 1e6};
    const double expected[4] = {1. / 6, 2. / 6, 3. / 6, 0};
    double logits[4];
    logs(4, weights, logits);
    fm_categorical how = plain;
    how.excluded = 3;
    check_weights(&how, 4, logits, expected);
}
END_TEST

START_TEST(uniform_number_finds_the_token_whose_share_it_is_in)
{
    const double weights[6] = {0, 0.25, 0, 0.5, 0.25, 0};
    const struct {
        double u;
        size_t found;
    } cases[] = {{0x1p-53, 1}, {0.2499, 1}, {0.25, 3}, {0.7499, 3}, {0.75, 4}, {1 - 0x1p-53, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_uint_eq(fm_categorical_draw(6, weights, 1, cases[i].u), cases[i].found);
    }
    /* in any block, and none but the last by rounding */
    static double many[1000];
    for (size_t at = 0; at < 1000; at++) {
        memset(many, 0, sizeof many);
        many[at] = 0.3;
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            double total = fm_categorical_sum(1000, many);
            ck_assert_uint_eq(fm_categorical_draw(1000, many, total, cases[k].u), at);
        }
    }
}
END_TEST

#define VOCABULARY ((size_t)50258)

/* The token that a sum in float32 finds, as libraries do that draw in it. */
static size_t draw_in_float32(const float *weights, float total, double u)
{
    float target = (float)u * total, sum = 0;
    for (size_t i = 0; i < VOCABULARY; i++) {
        sum += weights[i];
        if (sum > target) {
            return i;
        }
    }
    return VOCABULARY - 1;
}

START_TEST(every_token_of_a_large_vocabulary_can_be_drawn_which_float32_does_not_do)
{
    static double weights[VOCABULARY];
    static float rounded[VOCABULARY];
    size_t lost = 0;
    float float_total = 0;
    /* falling from 4e-4 to 4e-12 */
    for (size_t i = 0; i < VOCABULARY; i++) {
        weights[i] = -18.4 * (double)i / (double)VOCABULARY;
    }
    double total = fm_categorical_weigh(&plain, VOCABULARY, weights, NULL);
    for (size_t i = 0; i < VOCABULARY; i++) {
        rounded[i] = (float)weights[i];
        float_total += rounded[i];
    }
    long double before = 0;
    for (size_t i = 0; i < VOCABULARY; i++) {
        double u = (double)((before + weights[i] / 2) / total);
        size_t found = fm_categorical_draw(VOCABULARY, weights, total, u);
        ck_assert_msg(found == i, "token %zu: found %zu", i, found);
        lost += i % 64 == 0 && draw_in_float32(rounded, float_total, u) != i;
        before += weights[i];
    }
    ck_assert_uint_gt(lost, VOCABULARY / 64 / 2);
}
END_TEST

#define N      ((size_t)200000)
#define TOKENS ((size_t)200)

START_TEST(draws_have_the_frequencies_of_the_weights)
{
    static double weights[TOKENS], u[N];
    size_t counts[TOKENS] = {0};
    for (size_t i = 0; i < TOKENS; i++) {
        weights[i] = 2 * sin((double)(i * i));
    }
    double total = fm_categorical_weigh(&plain, TOKENS, weights, NULL), chi = 0;
    fm_rng_uniform(5, 0, FM_RNG_SOLVER_NOISE, 0, N, u);
    for (size_t i = 0; i < N; i++) {
        counts[fm_categorical_draw(TOKENS, weights, total, u[i])]++;
    }
    for (size_t i = 0; i < TOKENS; i++) {
        double expected = weights[i] / total * (double)N, off = (double)counts[i] - expected;
        chi += off * off / expected;
    }
    /* chi-square of 199 degrees: 0.001 and 0.999 quantiles */
    ck_assert_double_gt(chi, 142.9);
    ck_assert_double_lt(chi, 266.4);
}
END_TEST

Suite *suite_engine_solve_categorical(void)
{
    Suite *suite = suite_create("engine/solve_categorical");
    TCase *weights = tcase_create("weights");
    tcase_add_test(weights, softmax_of_logits_over_temperature);
    tcase_add_test(weights, exponentials_are_those_of_the_library_within_two_units);
    tcase_add_test(weights, temperature_zero_is_the_first_of_the_largest);
    tcase_add_test(weights, top_k_keeps_the_largest_and_of_equal_ones_the_first);
    tcase_add_test(weights, top_p_keeps_the_fewest_that_have_the_share);
    tcase_add_test(weights, excluded_token_is_never_drawn_and_the_rest_are_as_they_were);
    suite_add_tcase(suite, weights);
    TCase *draws = tcase_create("draws");
    tcase_set_timeout(draws, 60);
    tcase_add_test(draws, uniform_number_finds_the_token_whose_share_it_is_in);
    tcase_add_test(draws, every_token_of_a_large_vocabulary_can_be_drawn_which_float32_does_not_do);
    tcase_add_test(draws, draws_have_the_frequencies_of_the_weights);
    suite_add_tcase(suite, draws);
    return suite;
}
