/* Numbers as text: they read back, no shorter text does, and the layout is JavaScript's, but for integers
 * that int64 does not hold. */
#include "proto/number.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *float_text(float value)
{
    static char text[FMP_NUMBER_MAX_BYTES + 1];
    text[fmp_number_write_float(text, value)] = '\0';
    return text;
}

static const char *double_text(double value)
{
    static char text[FMP_NUMBER_MAX_BYTES + 1];
    text[fmp_number_write_double(text, value)] = '\0';
    return text;
}

/* Significant digits: zeros that only place the point do not count. */
static int significant_digits(const char *text)
{
    int n = 0;
    int zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0') {
            zeros += n > 0;
        } else if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        }
    }
    return n;
}

static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double double_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The C library is the judge: the text reads back, and the nearest decimals with one digit less, below
 * and above, do not. */
static void check_float(float value)
{
    const char *text = float_text(value);
    float back = strtof(text, NULL);
    ck_assert_msg(memcmp(&back, &value, sizeof back) == 0, "%a as %s reads back as %a",
                  (double)value, text, (double)back);
    int digits = significant_digits(text);
    ck_assert_int_le(digits, 9);
    if (digits > 1) {
        char shorter[32];
        (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, (double)value);
        double nearest = strtod(shorter, NULL);
        double unit = pow(10, floor(log10(fabs((double)value))) - digits + 2);
        for (int step = -1; step <= 1; step++) {
            (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, nearest + step * unit);
            ck_assert_msg(strtof(shorter, NULL) != value, "%s is longer than %s", text, shorter);
        }
    }
}

static void check_double(double value)
{
    const char *text = double_text(value);
    double back = strtod(text, NULL);
    ck_assert_msg(memcmp(&back, &value, sizeof back) == 0, "%a as %s reads back as %a", value, text,
                  back);
    int digits = significant_digits(text);
    ck_assert_int_le(digits, 17);
    if (digits > 1) {
        char shorter[40];
        (void)snprintf(shorter, sizeof shorter, "%.*e", digits - 2, value);
        ck_assert_msg(strtod(shorter, NULL) != value, "%s is longer than %s", text, shorter);
    }
}

#define N_FLOAT_EXPONENTS  255
#define N_DOUBLE_EXPONENTS 2047

START_TEST(every_float_exponent_is_shortest_and_reads_back)
{
    uint64_t state = 7;
    for (uint32_t exponent = 0; exponent < N_FLOAT_EXPONENTS; exponent++) {
        for (uint32_t i = 0; i < 100; i++) {
            uint32_t random = (uint32_t)next_bits(&state);
            /* the ends of the binade, where its spacing changes, and random fractions and signs */
            uint32_t fraction = i < 3 ? i : i == 3 ? 0x7fffff : random & 0x7fffff;
            check_float(float_of_bits(exponent << 23 | fraction | (random & 0x80000000u)));
        }
    }
}
END_TEST

START_TEST(every_double_exponent_is_shortest_and_reads_back)
{
    uint64_t state = 11;
    for (uint64_t exponent = 0; exponent < N_DOUBLE_EXPONENTS; exponent++) {
        for (uint64_t i = 0; i < 20; i++) {
            uint64_t random = next_bits(&state);
            uint64_t fraction = i < 3    ? i
                                : i == 3 ? UINT64_C(0xfffffffffffff)
                                         : random & UINT64_C(0xfffffffffffff);
            check_double(
                double_of_bits(exponent << 52 | fraction | (random & (UINT64_C(1) << 63))));
        }
    }
}
END_TEST

/* Layouts and hard cases. Expected texts: node's String(x) for doubles, and from 10^18 on its
 * x.toExponential(); for floats the shortest digits of C++17 std::to_chars (libstdc++ 12). */
static const struct {
    float value;
    const char *text;
} float_cases[] = {
    {0.0f, "0"},
    {-0.0f, "-0"},
    {1.0f, "1"},
    {-1.5f, "-1.5"},
    {0.1f, "0.1"},
    {0.3f, "0.3"},
    {100.0f, "100"},
    {1e6f, "1000000"},
    {16777216.0f, "16777216"},
    {33554432.0f, "33554432"},
    {16777215.0f, "16777215"},
    {8388607.5f, "8388607.5"},
    {1e10f, "10000000000"},
    {1e15f, "1000000000000000"},
    {9.999999e17f, "999999900000000000"},
    {9.9999998e17f, "1e+18"},
    {-9.2233715e18f, "-9.2233715e+18"},
    {1e20f, "1e+20"},
    {1e21f, "1e+21"},
    {1e-5f, "0.00001"},
    {1.2345678e-6f, "0.0000012345678"},
    {1e-6f, "0.000001"},
    {9.999e-7f, "9.999e-7"},
    {1e-7f, "1e-7"},
    {FLT_MAX, "3.4028235e+38"},
    {FLT_MIN, "1.1754944e-38"},
    {FLT_TRUE_MIN, "1e-45"},
    {1.1754942e-38f, "1.1754942e-38"},
    {4.7223665e21f, "4.7223665e+21"},
    {9.5367431640625e-7f, "9.536743e-7"},
    {1.4901161e-8f, "1.4901161e-8"},
    {5.0e-39f, "5e-39"},
    {2.2204460e-16f, "2.220446e-16"},
};

START_TEST(floats_are_laid_out_as_javascript_does_below_1e18)
{
    ck_assert_str_eq(float_text(float_cases[_i].value), float_cases[_i].text);
}
END_TEST

static const struct {
    double value;
    const char *text;
} double_cases[] = {
    {0.0, "0"},
    {-0.0, "-0"},
    {0.1, "0.1"},
    {0.02, "0.02"},
    {0.1 + 0.2, "0.30000000000000004"},
    {123456789012345680.0, "123456789012345680"},
    {9007199254740993.0, "9007199254740992"},
    {12345678901234567.0, "12345678901234568"},
    {1234567890123456.7, "1234567890123456.8"},
    {0.00001234567890123456, "0.00001234567890123456"},
    {1e21, "1e+21"},
    {123e18, "1.23e+20"},
    {999999999999999900.0, "999999999999999900"},
    {1e18, "1e+18"},
    {9223372036854775808.0, "9.223372036854776e+18"},
    {-9223372036854775808.0, "-9.223372036854776e+18"},
    {1.7976931348623157e308, "1.7976931348623157e+308"},
    {2.2250738585072014e-308, "2.2250738585072014e-308"},
    {5e-324, "5e-324"},
    {-1e-7, "-1e-7"},
    {5e-7, "5e-7"},
    {9.5e-6, "0.0000095"},
    {2e22, "2e+22"},
    {9e15, "9000000000000000"},
    {4503599627370495.5, "4503599627370495.5"},
    {1.0 / 3, "0.3333333333333333"},
    {2.0 / 3, "0.6666666666666666"},
    {9.109383632e-31, "9.109383632e-31"},
};

START_TEST(doubles_are_laid_out_as_javascript_does_below_1e18)
{
    ck_assert_str_eq(double_text(double_cases[_i].value), double_cases[_i].text);
}
END_TEST

static void check_text(fmp_buffer *buffer, const char *expected)
{
    size_t length = 0;
    char *text = fmp_buffer_take(buffer, &length);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(length, strlen(expected));
    ck_assert_mem_eq(text, expected, length);
    free(text);
}

START_TEST(arrays_are_nested_by_their_shape)
{
    const float values[] = {1, 2, 3, 4.5f, -5, 6, 7, 8, 9, 10, 11, 12};
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_number_write_floats(&buffer, values, 3, (const size_t[]){2, 3, 2});
    check_text(&buffer, "[[[1,2],[3,4.5],[-5,6]],[[7,8],[9,10],[11,12]]]");
    fmp_number_write_floats(&buffer, values, 0, NULL);
    check_text(&buffer, "1");
    fmp_number_write_floats(&buffer, values, 2, (const size_t[]){2, 0});
    check_text(&buffer, "[[],[]]");
    const double times[] = {0, 0.5, 1};
    fmp_number_write_doubles(&buffer, times, 1, (const size_t[]){3});
    check_text(&buffer, "[0,0.5,1]");
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(a_long_list_just_fits_its_limit)
{
    enum { N_VALUES = 3000 };
    static float values[N_VALUES];
    for (size_t i = 0; i < N_VALUES; i++) {
        values[i] = (float)(i % 10);
    }
    const size_t needed = 2 * N_VALUES + 1;
    for (size_t limit = needed - 1; limit <= needed + 1; limit++) {
        fmp_buffer buffer;
        fmp_buffer_init(&buffer, limit);
        fmp_number_write_floats(&buffer, values, 1, (const size_t[]){N_VALUES});
        ck_assert_int_eq(buffer.failed, limit < needed);
        if (!buffer.failed) {
            ck_assert_uint_eq(buffer.length, needed);
            ck_assert_mem_eq(buffer.data, "[0,1,2", 6);
            ck_assert_mem_eq(buffer.data + needed - 7, ",7,8,9]", 7);
            for (size_t i = 0; i < N_VALUES; i++) {
                ck_assert_int_eq(buffer.data[1 + 2 * i], '0' + (int)(i % 10));
            }
        }
        fmp_buffer_done(&buffer);
    }
}
END_TEST

Suite *suite_proto_number(void)
{
    Suite *suite = suite_create("proto/number");
    TCase *tcase = tcase_create("number");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, every_float_exponent_is_shortest_and_reads_back);
    tcase_add_test(tcase, every_double_exponent_is_shortest_and_reads_back);
    tcase_add_loop_test(tcase, floats_are_laid_out_as_javascript_does_below_1e18, 0,
                        sizeof float_cases / sizeof *float_cases);
    tcase_add_loop_test(tcase, doubles_are_laid_out_as_javascript_does_below_1e18, 0,
                        sizeof double_cases / sizeof *double_cases);
    tcase_add_test(tcase, arrays_are_nested_by_their_shape);
    tcase_add_test(tcase, a_long_list_just_fits_its_limit);
    suite_add_tcase(suite, tcase);
    return suite;
}
