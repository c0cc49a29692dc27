/* Philox against the published vectors of Random123 (kat_vectors), and the normals made of it. */
#include "engine/math/rng.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_NORMALS ((size_t)200000)

START_TEST(philox_gives_the_published_vectors)
{
    static const struct {
        fm_philox_block counter;
        uint32_t key[2];
        fm_philox_block want;
    } vectors[] = {
        {{{0, 0, 0, 0}}, {0, 0}, {{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}}},
        {{{0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}},
         {0xffffffffU, 0xffffffffU},
         {{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}}},
        {{{0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}},
         {0xa4093822U, 0x299f31d0U},
         {{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}}},
    };
    fm_philox_block got =
        fm_philox4x32_10(vectors[_i].counter, vectors[_i].key[0], vectors[_i].key[1]);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(got.word[i], vectors[_i].want.word[i]);
    }
}
END_TEST

/* From the documented layout alone: a second writing of the header's words. */
START_TEST(normals_follow_the_documented_layout)
{
    const uint64_t seed = 0x0123456789abcdefU, sample = 0xfedcba9876543210U;
    const uint64_t position = 0x0123456789abcdU; /* odd: lane 1 */
    uint64_t block = position / 2;
    fm_philox_block counter = {{(uint32_t)(block & 0xffffffffU),
                                (uint32_t)FM_RNG_PROBE * 0x1000000U + (uint32_t)(block >> 32),
                                0x76543210U, 0xfedcba98U}};
    fm_philox_block bits = fm_philox4x32_10(counter, 0x89abcdefU, 0x01234567U);
    double u[2];
    for (size_t i = 0; i < 2; i++) {
        uint64_t word = (uint64_t)bits.word[2 * i + 1] * 0x100000000U + bits.word[2 * i];
        u[i] = ldexp((double)((word >> 11) | 1), -53);
    }
    double got;
    fm_rng_normal(seed, sample, FM_RNG_PROBE, position, 1, &got);
    ck_assert_double_eq_tol(got, sqrt(-2.0 * log(u[0])) * sin(2.0 * acos(-1.0) * u[1]), 1e-14);
}
END_TEST

static double *normals_new(uint64_t seed, uint64_t sample)
{
    double *x = malloc(N_NORMALS * sizeof *x);
    ck_assert_ptr_nonnull(x);
    fm_rng_normal(seed, sample, FM_RNG_SOURCE_NOISE, 0, N_NORMALS, x);
    return x;
}

/* Limits are five standard deviations of each estimate. */
START_TEST(normals_have_the_moments_of_a_normal)
{
    double *x = normals_new(17, 3), moment[5] = {0}, lag = 0.0;
    for (size_t i = 0; i < N_NORMALS; i++) {
        double power = 1.0;
        for (size_t k = 1; k < 5; k++) {
            power *= x[i];
            moment[k] += power / (double)N_NORMALS;
        }
        lag += i > 0 ? x[i] * x[i - 1] / (double)N_NORMALS : 0.0;
    }
    double unit = 5.0 / sqrt((double)N_NORMALS);
    ck_assert_double_eq_tol(moment[1], 0.0, unit);
    ck_assert_double_eq_tol(moment[2], 1.0, unit * sqrt(2.0));
    ck_assert_double_eq_tol(moment[3], 0.0, unit * sqrt(15.0));
    ck_assert_double_eq_tol(moment[4], 3.0, unit * sqrt(96.0));
    ck_assert_double_eq_tol(lag, 0.0, unit);
    free(x);
}
END_TEST

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov; sqrt(n) D exceeds 1.95 with probability 0.001. Along positions of one sample, and
 * along samples at one position, which is how the engine uses them. */
START_TEST(normals_pass_kolmogorov_smirnov)
{
    double *x = normals_new(5, 0), worst = 0.0;
    for (size_t i = 0; _i == 1 && i < N_NORMALS; i++) {
        fm_rng_normal(5, i, FM_RNG_SOURCE_NOISE, 0, 1, &x[i]);
    }
    qsort(x, N_NORMALS, sizeof *x, ascending);
    for (size_t i = 0; i < N_NORMALS; i++) {
        double cdf = 0.5 * erfc(-x[i] / sqrt(2.0));
        worst = fmax(worst, fmax(cdf - (double)i / (double)N_NORMALS,
                                 (double)(i + 1) / (double)N_NORMALS - cdf));
    }
    ck_assert_double_lt(worst * sqrt((double)N_NORMALS), 1.95);
    free(x);
}
END_TEST

START_TEST(normals_are_made_of_the_uniform_numbers_at_their_positions)
{
    double normal[16], u[17];
    fm_rng_normal(9, 4, FM_RNG_DEQUANTIZE, 6, 16, normal);
    fm_rng_uniform(9, 4, FM_RNG_DEQUANTIZE, 5, 17, u); /* from the middle of a block */
    for (size_t i = 0; i < 16; i += 2) {
        double radius = sqrt(-2.0 * log(u[1 + i])), angle = 2.0 * acos(-1.0) * u[2 + i];
        ck_assert(u[i] > 0 && u[i] < 1);
        ck_assert_double_eq_tol(normal[i], radius * cos(angle), 1e-15);
        ck_assert_double_eq_tol(normal[i + 1], radius * sin(angle), 1e-15);
    }
}
END_TEST

START_TEST(a_sub_range_is_the_slice_of_the_whole)
{
    double whole[64], part[64];
    fm_rng_normal(9, 4, FM_RNG_SOLVER_NOISE, 0, 64, whole);
    for (size_t first = 0; first < 64; first++) {
        for (size_t n = 0; n <= 64 - first; n++) {
            fm_rng_normal(9, 4, FM_RNG_SOLVER_NOISE, first, n, part);
            ck_assert_int_eq(memcmp(part, whole + first, n * sizeof *part), 0);
        }
    }
}
END_TEST

START_TEST(the_last_positions_can_be_reached)
{
    double got[3];
    fm_rng_normal(1, UINT64_MAX, FM_RNG_PROBE, FM_RNG_POSITIONS - 3, 3, got);
    for (size_t i = 0; i < 3; i++) {
        ck_assert(isfinite(got[i]));
    }
    ck_assert_double_ne(got[0], got[1]);
}
END_TEST

/* Each coordinate of the address changes every number, in its low and its high half. */
START_TEST(seeds_samples_streams_and_positions_differ)
{
    static const struct {
        uint64_t seed, sample;
        fm_rng_stream stream;
        uint64_t first;
    } address[] = {
        {0, 0, FM_RNG_SOURCE_NOISE, 0},
        {1, 0, FM_RNG_SOURCE_NOISE, 0},
        {(uint64_t)1 << 32, 0, FM_RNG_SOURCE_NOISE, 0},
        {0, 1, FM_RNG_SOURCE_NOISE, 0},
        {0, (uint64_t)1 << 32, FM_RNG_SOURCE_NOISE, 0},
        {0, 0, FM_RNG_SOLVER_NOISE, 0},
        {0, 0, FM_RNG_PROBE, 0},
        {0, 0, FM_RNG_SOURCE_NOISE, 8},
        {0, 0, FM_RNG_SOURCE_NOISE, (uint64_t)1 << 33},
        {0, 0, FM_RNG_SOURCE_NOISE, (uint64_t)1 << 56},
    };
    enum { N = sizeof address / sizeof address[0], LENGTH = 8 };
    double x[N * LENGTH];
    for (size_t i = 0; i < N; i++) {
        fm_rng_normal(address[i].seed, address[i].sample, address[i].stream, address[i].first,
                      LENGTH, x + i * LENGTH);
    }
    for (size_t i = 0; i < N * LENGTH; i++) {
        for (size_t j = 0; j < i; j++) {
            ck_assert_msg(x[i] != x[j], "addresses %zu and %zu share a number", i / LENGTH,
                          j / LENGTH);
        }
    }
}
END_TEST

Suite *suite_engine_rng(void)
{
    Suite *suite = suite_create("engine/rng");
    TCase *philox = tcase_create("philox");
    tcase_add_loop_test(philox, philox_gives_the_published_vectors, 0, 3);
    suite_add_tcase(suite, philox);
    TCase *normals = tcase_create("normals");
    tcase_add_test(normals, normals_follow_the_documented_layout);
    tcase_add_test(normals, normals_have_the_moments_of_a_normal);
    tcase_add_loop_test(normals, normals_pass_kolmogorov_smirnov, 0, 2);
    tcase_add_test(normals, normals_are_made_of_the_uniform_numbers_at_their_positions);
    tcase_add_test(normals, a_sub_range_is_the_slice_of_the_whole);
    tcase_add_test(normals, the_last_positions_can_be_reached);
    tcase_add_test(normals, seeds_samples_streams_and_positions_differ);
    suite_add_tcase(suite, normals);
    return suite;
}
