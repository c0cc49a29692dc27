/* Activation kernels of every instruction set against float64. */
#include "engine/math/activation.h"
#include "engine/math/kernels.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define N_VALUES      ((size_t)1 << 16)
#define N_ACTIVATIONS 9

static const char *const variants[] = {"generic", "avx2", "avx512"};
#define N_VARIANTS 3

static double reference(fm_activation activation, double x)
{
    const double alpha = 1.6732632423543772848170429916717,
                 scale = 1.0507009873554804934193349852946;
    switch (activation) {
    case FM_ACTIVATION_SILU:
        return x == -INFINITY ? 0.0 : x / (1.0 + exp(-x));
    case FM_ACTIVATION_RELU:
        return x < 0.0 ? 0.0 : x;
    case FM_ACTIVATION_ELU:
        return x > 0.0 ? x : expm1(x);
    case FM_ACTIVATION_SELU:
        return scale * (x > 0.0 ? x : alpha * expm1(x));
    case FM_ACTIVATION_GELU:
        return x == -INFINITY ? 0.0 : 0.5 * x * erfc(-x / sqrt(2.0));
    case FM_ACTIVATION_GELU_TANH:
        if (x == -INFINITY) {
            return 0.0;
        }
        return x / (1.0 +
                    exp(-2.0 * sqrt(2.0 / 3.14159265358979323846) * x * (1.0 + 0.044715 * x * x)));
    case FM_ACTIVATION_TANH:
        return tanh(x);
    case FM_ACTIVATION_SOFTPLUS:
        return fmax(x, 0.0) + log1p(exp(-fabs(x))) + (isnan(x) ? x : 0.0);
    case FM_ACTIVATION_LEAKY_RELU:
        return x < 0.0 ? 0.01 * x : x;
    case FM_ACTIVATION_NONE:
    default:
        return x;
    }
}

/* Dense around 0, then every binade of both signs, then what is special. */
static float *values_new(void)
{
    static const float special[] = {0.0F,    -0.0F,    INFINITY, -INFINITY, FLT_MAX, -FLT_MAX,
                                    FLT_MIN, -FLT_MIN, 1e-45F,   -1e-45F,   87.0F,   -87.0F,
                                    88.8F,   -88.8F,   103.0F,   -104.0F,   20.0F,   -20.0F};
    float *x = aligned_alloc(64, N_VALUES * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < N_VALUES; i++) {
        float sign = i % 2 == 0 ? 1.0F : -1.0F, share = (float)i / (float)N_VALUES;
        x[i] = i % 4 < 2 ? sign * 12.0F * share : sign * exp2f(280.0F * share - 150.0F);
    }
    memcpy(x + 100, special, sizeof special);
    return x;
}

START_TEST(every_activation_is_accurate_everywhere)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(1 + _i / N_VARIANTS);
    if (kernels == NULL) {
        return; /* not this machine's */
    }
    float *x = values_new(), *y = values_new();
    kernels->activate(activation, NULL, 1, N_VALUES, N_VALUES, y);
    for (size_t i = 0; i < N_VALUES; i++) {
        double want = reference(activation, (double)x[i]);
        if (isinf((float)want)) {
            ck_assert_msg(y[i] == (float)want, "%s %s(%a) = %a", kernels->name,
                          fm_activation_name(activation), (double)x[i], (double)y[i]);
            continue;
        }
        /* a few ulp, or in the tails of the gated ones a small share of the argument */
        double limit = 4e-7 * fabs(want) + 2e-8 * fmin(1.0, fabs((double)x[i])) + 1e-37;
        ck_assert_msg(fabs((double)y[i] - want) <= limit, "%s %s(%.9g) = %.9g, want %.9g",
                      kernels->name, fm_activation_name(activation), (double)x[i], (double)y[i],
                      want);
    }
    free(x);
    free(y);
}
END_TEST

START_TEST(nan_stays_nan_in_its_own_lane)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(1 + _i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
        float x[FM_KERNEL_COLUMNS] __attribute__((aligned(64)));
        for (size_t i = 0; i < FM_KERNEL_COLUMNS; i++) {
            x[i] = i == lane ? (lane % 2 == 0 ? NAN : -NAN) : 0.5F;
        }
        kernels->activate(activation, NULL, 1, FM_KERNEL_COLUMNS, FM_KERNEL_COLUMNS, x);
        for (size_t i = 0; i < FM_KERNEL_COLUMNS; i++) {
            ck_assert_int_eq(isnan(x[i]) != 0, i == lane);
        }
    }
}
END_TEST

START_TEST(bits_do_not_depend_on_the_lane_or_the_length)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(1 + _i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    float *x = values_new(), *whole = values_new();
    kernels->activate(activation, NULL, 1, N_VALUES, N_VALUES, whole);
    for (size_t i = 0; i + FM_KERNEL_COLUMNS <= N_VALUES; i += 1021) {
        float part[FM_KERNEL_COLUMNS] __attribute__((aligned(64)));
        for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
            part[lane] = x[i + FM_KERNEL_COLUMNS - 1 - lane]; /* reversed: every value moves */
        }
        kernels->activate(activation, NULL, 1, FM_KERNEL_COLUMNS, FM_KERNEL_COLUMNS, part);
        for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
            ck_assert_mem_eq(&part[lane], &whole[i + FM_KERNEL_COLUMNS - 1 - lane], sizeof(float));
        }
    }
    free(x);
    free(whole);
}
END_TEST

START_TEST(bias_is_added_first_and_columns_beyond_are_untouched)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i]);
    if (kernels == NULL) {
        return;
    }
    enum { ROWS = 3, STRIDE = 48, COLUMNS = 32 };
    float x[ROWS * STRIDE] __attribute__((aligned(64))), bias[COLUMNS] __attribute__((aligned(64)));
    for (size_t i = 0; i < ROWS * STRIDE; i++) {
        x[i] = (float)i - 70.0F;
    }
    for (size_t i = 0; i < COLUMNS; i++) {
        bias[i] = 0.25F * (float)i;
    }
    kernels->activate(FM_ACTIVATION_RELU, bias, ROWS, COLUMNS, STRIDE, x);
    for (size_t i = 0; i < ROWS * STRIDE; i++) {
        float plain = (float)i - 70.0F, biased = plain + 0.25F * (float)(i % STRIDE);
        ck_assert_float_eq(x[i], i % STRIDE >= COLUMNS ? plain : biased < 0.0F ? 0.0F : biased);
    }
}
END_TEST

/* d reference / dx; 0 or the left one where there is none, as PyTorch has it. */
static double reference_slope(fm_activation activation, double x)
{
    const double alpha = 1.6732632423543772848170429916717,
                 scale = 1.0507009873554804934193349852946, pi = 3.14159265358979323846;
    double s = 1.0 / (1.0 + exp(-x)), down = 1.0 / (1.0 + exp(x)), c = 2.0 * sqrt(2.0 / pi);
    switch (activation) {
    case FM_ACTIVATION_SILU:
        return s + (s == 0.0 ? 0.0 : x * s * down);
    case FM_ACTIVATION_RELU:
        return x > 0.0 ? 1.0 : 0.0;
    case FM_ACTIVATION_ELU:
        return x > 0.0 ? 1.0 : exp(x);
    case FM_ACTIVATION_SELU:
        return x > 0.0 ? scale : scale * alpha * exp(x);
    case FM_ACTIVATION_GELU:
        return 0.5 * erfc(-x / sqrt(2.0)) + x * exp(-0.5 * x * x) / sqrt(2.0 * pi);
    case FM_ACTIVATION_GELU_TANH: {
        double y = fmin(fmax(c * x * (1.0 + 0.044715 * x * x), -700.0), 700.0);
        s = 1.0 / (1.0 + exp(-y));
        down = 1.0 / (1.0 + exp(y));
        return s + x * s * down * c * (1.0 + 3.0 * 0.044715 * x * x);
    }
    case FM_ACTIVATION_TANH:
        return 1.0 / (cosh(x) * cosh(x));
    case FM_ACTIVATION_SOFTPLUS:
        return s;
    case FM_ACTIVATION_LEAKY_RELU:
        return x > 0.0 ? 1.0 : 0.01;
    case FM_ACTIVATION_NONE:
    default:
        return 1.0;
    }
}

/* Of FM_ACTIVATION_NONE as well. */
#define N_SLOPES (N_ACTIVATIONS + 1)

START_TEST(every_slope_is_accurate_everywhere)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(_i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    float *x = values_new(), *slopes = values_new();
    kernels->slopes(activation, N_VALUES, x, slopes);
    for (size_t i = 0; i < N_VALUES; i++) {
        if (isinf(x[i])) {
            continue;
        }
        double want = reference_slope(activation, (double)x[i]);
        ck_assert_msg(fabs((double)slopes[i] - want) <= 3e-7, "%s %s'(%.9g) = %.9g, want %.9g",
                      kernels->name, fm_activation_name(activation), (double)x[i],
                      (double)slopes[i], want);
    }
    kernels->slopes(activation, N_VALUES, x, x);
    ck_assert_mem_eq(x, slopes, N_VALUES * sizeof *x);
    free(x);
    free(slopes);
}
END_TEST

START_TEST(tangents_are_multiplied_by_the_slopes_beside_the_activation)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(_i / N_VARIANTS);
    const size_t n = 4 * FM_KERNEL_COLUMNS, stride = 5 * FM_KERNEL_COLUMNS;
    if (kernels == NULL) {
        return;
    }
    for (size_t n_tangents = 0; n_tangents < 4; n_tangents++) {
        float *x = values_new(), *activated = values_new(), *slopes = values_new();
        float *tangents = values_new(), *before = values_new();
        kernels->slopes(activation, n, x, slopes);
        kernels->activate(activation, NULL, 1, n, 0, activated);
        kernels->activate_tangents(activation, n, x, n_tangents, stride, tangents);
        ck_assert_mem_eq(x, activated, n * sizeof *x);
        for (size_t i = 0; i < 4 * stride; i++) {
            bool inside = i / stride < n_tangents && i % stride < n;
            float want = inside ? before[i] * slopes[i % stride] : before[i];
            ck_assert_msg(memcmp(&want, &tangents[i], sizeof want) == 0 || isnan(want),
                          "%s %s, %zu of %zu tangents", kernels->name,
                          fm_activation_name(activation), i, n_tangents);
        }
        free(x);
        free(activated);
        free(slopes);
        free(tangents);
        free(before);
    }
}
END_TEST

START_TEST(slopes_are_the_central_differences_of_the_activation)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(_i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    const double step = 1e-5; /* off by step^2 / 6 of the third derivative, and 1e-16 |x| / step */
    float *x = values_new(), *slopes = values_new();
    kernels->slopes(activation, N_VALUES, x, slopes);
    for (size_t i = 0; i < N_VALUES; i++) {
        double at = (double)x[i];
        if (fabs(at) > 1e3 || fabs(at) < 2.0 * step) { /* kinks are at 0 */
            continue;
        }
        double want =
            (reference(activation, at + step) - reference(activation, at - step)) / (2.0 * step);
        ck_assert_msg(fabs((double)slopes[i] - want) <= 4e-7, "%s %s'(%.9g) = %.9g, want %.9g",
                      kernels->name, fm_activation_name(activation), at, (double)slopes[i], want);
    }
    free(x);
    free(slopes);
}
END_TEST

START_TEST(slopes_at_0_are_those_of_pytorch)
{
    static const double want[] = {
        [FM_ACTIVATION_NONE] = 1,         [FM_ACTIVATION_SILU] = 0.5,
        [FM_ACTIVATION_RELU] = 0,         [FM_ACTIVATION_ELU] = 1,
        [FM_ACTIVATION_SELU] = 1.7580993, [FM_ACTIVATION_GELU] = 0.5,
        [FM_ACTIVATION_GELU_TANH] = 0.5,  [FM_ACTIVATION_TANH] = 1,
        [FM_ACTIVATION_SOFTPLUS] = 0.5,   [FM_ACTIVATION_LEAKY_RELU] = 0.01};
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(_i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    float x[FM_KERNEL_COLUMNS] __attribute__((aligned(64))) = {0.0F, -0.0F};
    kernels->slopes(activation, FM_KERNEL_COLUMNS, x, x);
    for (size_t i = 0; i < FM_KERNEL_COLUMNS; i++) {
        ck_assert_double_eq_tol((double)x[i], want[activation], 3e-7);
    }
}
END_TEST

/* d reference_slope / dx, and 0 where there is none. */
static double reference_curvature(fm_activation activation, double x)
{
    const double alpha = 1.6732632423543772848170429916717,
                 scale = 1.0507009873554804934193349852946, pi = 3.14159265358979323846;
    double c = 2.0 * sqrt(2.0 / pi), near = fmin(fmax(x, -700.0), 700.0);
    double s = 1.0 / (1.0 + exp(-near)), bell = s / (1.0 + exp(near)); /* s (1 - s) */
    switch (activation) {
    case FM_ACTIVATION_SILU:
        return bell * (2.0 + near * (1.0 - 2.0 * s));
    case FM_ACTIVATION_ELU:
        return x >= 0.0 ? 0.0 : exp(x);
    case FM_ACTIVATION_SELU:
        return x >= 0.0 ? 0.0 : scale * alpha * exp(x);
    case FM_ACTIVATION_GELU:
        near = fmin(fmax(x, -50.0), 50.0);
        return exp(-0.5 * near * near) * (2.0 - near * near) / sqrt(2.0 * pi);
    case FM_ACTIVATION_GELU_TANH: {
        near = fmin(fmax(x, -20.0), 20.0);
        double u = 0.5 * c * near * (1.0 + 0.044715 * near * near);
        double du = 0.5 * c * (1.0 + 3.0 * 0.044715 * near * near);
        double ddu = 0.5 * c * 6.0 * 0.044715 * near, sech = 1.0 / (cosh(u) * cosh(u));
        return sech * (du + 0.5 * near * ddu - near * tanh(u) * du * du);
    }
    case FM_ACTIVATION_TANH:
        return -2.0 * tanh(near) / (cosh(near) * cosh(near));
    case FM_ACTIVATION_SOFTPLUS:
        return bell;
    case FM_ACTIVATION_RELU:
    case FM_ACTIVATION_LEAKY_RELU:
    case FM_ACTIVATION_NONE:
    default:
        return 0.0;
    }
}

/* Seen: 2.5e-7, of tanh. */
START_TEST(every_curvature_is_accurate_everywhere)
{
    const fm_kernels *kernels = fm_kernels_find(variants[_i % N_VARIANTS]);
    fm_activation activation = (fm_activation)(_i / N_VARIANTS);
    if (kernels == NULL) {
        return;
    }
    float *x = values_new(), *curvatures = values_new();
    kernels->curvatures(activation, N_VALUES, x, curvatures);
    for (size_t i = 0; i < N_VALUES; i++) {
        if (isinf(x[i])) {
            continue;
        }
        double want = reference_curvature(activation, (double)x[i]);
        ck_assert_msg(fabs((double)curvatures[i] - want) <= 3e-7, "%s %s''(%.9g) = %.9g, want %.9g",
                      kernels->name, fm_activation_name(activation), (double)x[i],
                      (double)curvatures[i], want);
    }
    kernels->curvatures(activation, N_VALUES, x, x);
    ck_assert_mem_eq(x, curvatures, N_VALUES * sizeof *x);
    free(x);
    free(curvatures);
}
END_TEST

START_TEST(curvatures_are_the_central_differences_of_the_slopes)
{
    fm_activation activation = (fm_activation)_i;
    const fm_kernels *kernels = fm_kernels_best();
    const double step = 1e-5;
    float *x = values_new(), *curvatures = values_new();
    kernels->curvatures(activation, N_VALUES, x, curvatures);
    for (size_t i = 0; i < N_VALUES; i++) {
        double at = (double)x[i];
        if (fabs(at) > 1e3 || fabs(at) < 2.0 * step) {
            continue;
        }
        double want =
            (reference_slope(activation, at + step) - reference_slope(activation, at - step)) /
            (2.0 * step);
        ck_assert_msg(fabs((double)curvatures[i] - want) <= 4e-7, "%s''(%.9g) = %.9g, want %.9g",
                      fm_activation_name(activation), at, (double)curvatures[i], want);
    }
    free(x);
    free(curvatures);
}
END_TEST

Suite *suite_engine_activation(void)
{
    Suite *suite = suite_create("engine/activation");
    TCase *names = tcase_create("names");
    suite_add_tcase(suite, names);
    TCase *kernels = tcase_create("kernels");
    int all = N_ACTIVATIONS * N_VARIANTS;
    tcase_add_loop_test(kernels, every_activation_is_accurate_everywhere, 0, all);
    tcase_add_loop_test(kernels, nan_stays_nan_in_its_own_lane, 0, all);
    tcase_add_loop_test(kernels, bits_do_not_depend_on_the_lane_or_the_length, 0, all);
    tcase_add_loop_test(kernels, bias_is_added_first_and_columns_beyond_are_untouched, 0,
                        N_VARIANTS);
    suite_add_tcase(suite, kernels);
    TCase *slopes = tcase_create("slopes");
    all = N_SLOPES * N_VARIANTS;
    tcase_add_loop_test(slopes, every_slope_is_accurate_everywhere, 0, all);
    tcase_add_loop_test(slopes, tangents_are_multiplied_by_the_slopes_beside_the_activation, 0,
                        all);
    tcase_add_loop_test(slopes, slopes_are_the_central_differences_of_the_activation, 0, all);
    tcase_add_loop_test(slopes, slopes_at_0_are_those_of_pytorch, 0, all);
    tcase_add_loop_test(slopes, every_curvature_is_accurate_everywhere, 0, all);
    tcase_add_loop_test(slopes, curvatures_are_the_central_differences_of_the_slopes, 0, N_SLOPES);
    suite_add_tcase(suite, slopes);
    return suite;
}
