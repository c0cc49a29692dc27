/* Derivatives of normalisations against float64: the formulas, central differences, and each other. */
#include "engine/math/kernels.h"
#include "engine/math/norm_derivative.h"
#include "engine/memory.h"
#include "tests/support/image_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define HEIGHT     ((size_t)3)
#define WIDTH      ((size_t)5)
#define N_PIXELS   (HEIGHT * WIDTH)
#define N_TANGENTS ((size_t)12)
#define IN_INDEX   ((size_t)1)
#define STEP       1e-5 /* central differences are off by about its square */
#define LIMIT      4e-6 /* of derivatives up to about 5 in float32 */

/* Each with every set of kernels, and with the one that is chosen where none is named. */
static const char *const instruction_sets[] = {"generic", "avx2", "avx512", NULL};
#define N_SETS 4
static const fm_norm_layer layers[] = {
    {.channels = 24, .groups = 8, .activation = FM_ACTIVATION_SILU},
    {.channels = 40, .groups = 8},
    {.channels = 40, .groups = 1, .activation = FM_ACTIVATION_TANH},
    {.channels = 16, .groups = 16, .activation = FM_ACTIVATION_SILU},
    {.channels = 21, .groups = 7, .rms = true},
    {.channels = 40},
    {.channels = 37, .activation = FM_ACTIVATION_SILU},
    {.channels = 40, .rms = true},
    {.channels = 24, .rms = true, .activation = FM_ACTIVATION_TANH},
    {.channels = 144, .activation = FM_ACTIVATION_SILU},
};
#define N_CASES ((int)(sizeof layers / sizeof layers[0]) * N_SETS)

typedef struct norm_case {
    fm_norm_layer layer;
    float *factor, *term;
    image_case in, tangents, out;
    void *scratch;
    size_t count; /* pixels * channels: of the float64 images below, [pixels][channels] */
    double *x, *v, *w, *want;
} norm_case;

static float *channel_of(const image_case *it, size_t index, size_t i)
{
    size_t pixel = i / it->image.channels, c = i % it->image.channels;
    return fm_image_at(&it->image, index, pixel / WIDTH, pixel % WIDTH) + c;
}

static void to_float64(const image_case *it, size_t index, double *x)
{
    for (size_t i = 0; i < N_PIXELS * it->image.channels; i++) {
        x[i] = (double)*channel_of(it, index, i);
    }
}

static double *numbers_new(size_t count)
{
    double *x = fm_alloc_array(count, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

/* False when this machine lacks the instructions. The scratch holds NaNs, so nothing can rely on it. */
static bool case_open(norm_case *ret, int number)
{
    const char *set = instruction_sets[number % N_SETS];
    *ret = (norm_case){.layer = layers[number / N_SETS]};
    ret->layer.kernels = set != NULL ? fm_kernels_find(set) : NULL;
    if (set != NULL && ret->layer.kernels == NULL) {
        return false;
    }
    size_t channels = ret->layer.channels;
    ret->factor = image_case_numbers(51, channels, 1.5F);
    ret->term = image_case_numbers(52, channels, 0.5F);
    ret->layer.factor = ret->factor;
    ret->layer.term = ret->term;
    ret->layer.epsilon = 1e-3;
    image_case_open(&ret->in, 2, HEIGHT, WIDTH, channels, 1);
    image_case_open(&ret->tangents, N_TANGENTS, HEIGHT, WIDTH, channels, 2);
    image_case_open(&ret->out, N_TANGENTS, HEIGHT, WIDTH, channels, 1);
    image_case_fill(&ret->in, 53);
    image_case_fill(&ret->tangents, 54);
    ret->count = N_PIXELS * channels;
    for (size_t i = 0; i < ret->count; i++) { /* no group's mean is near 0 */
        float *x = channel_of(&ret->in, IN_INDEX, i);
        *x = 1.0F + 1.5F * *x + (float)(i % 3);
    }
    size_t size_bytes = fm_norm_derivative_bytes(&ret->layer);
    ret->scratch = fm_alloc(size_bytes);
    ck_assert_ptr_nonnull(ret->scratch);
    memset(ret->scratch, 0xff, size_bytes);
    ret->x = numbers_new(ret->count);
    ret->v = numbers_new(ret->count);
    ret->w = numbers_new(ret->count);
    ret->want = numbers_new(ret->count);
    to_float64(&ret->in, IN_INDEX, ret->x);
    return true;
}

static void case_close(norm_case *it)
{
    image_case_close(&it->in);
    image_case_close(&it->tangents);
    image_case_close(&it->out);
    fm_free(it->factor);
    fm_free(it->term);
    fm_free(it->scratch);
    fm_free(it->x);
    fm_free(it->v);
    fm_free(it->w);
    fm_free(it->want);
}

/* Tangents [first, first + n); `it` has the images. */
static void run_jvp(const norm_case *it, size_t first, size_t n)
{
    const fm_norm_tangent job = {.layer = &it->layer,
                                 .in = it->in.image,
                                 .in_index = IN_INDEX,
                                 .tangent = it->tangents.image,
                                 .out = it->out.image,
                                 .first = first,
                                 .n = n};
    fm_norm_jvp(&job, it->scratch);
}

/* The cotangent is a tangent's image; the gradient is out's. */
static void run_vjp(const norm_case *it, size_t index)
{
    const fm_norm_cotangent job = {.layer = &it->layer,
                                   .in = it->in.image,
                                   .in_index = IN_INDEX,
                                   .out = it->tangents.image,
                                   .gradient = it->out.image,
                                   .out_index = index};
    fm_norm_vjp(&job, it->scratch);
}

/* ---- float64 ---- */

static double activation_of(fm_activation activation, double u)
{
    return activation == FM_ACTIVATION_SILU   ? u / (1.0 + exp(-u))
           : activation == FM_ACTIVATION_TANH ? tanh(u)
                                              : u;
}

static double slope_of(fm_activation activation, double u)
{
    double s = 1.0 / (1.0 + exp(-u));
    return activation == FM_ACTIVATION_SILU   ? s + u * s * (1.0 - s)
           : activation == FM_ACTIVATION_TANH ? 1.0 - tanh(u) * tanh(u)
                                              : 1.0;
}

/* The first of the elements that are normalised together with i. */
static size_t leader_of(const fm_norm_layer *layer, size_t i)
{
    size_t channels = layer->channels;
    if (layer->groups == 0) {
        return i / channels * channels;
    }
    size_t group = channels / layer->groups;
    return i % channels / group * group;
}

/* ret_i = the mean of a_j b_j over what is normalised together with i; b NULL: of a_j. */
static void means_of(const norm_case *it, const double *a, const double *b, double *ret)
{
    double *n = numbers_new(it->count);
    memset(n, 0, it->count * sizeof *n);
    memset(ret, 0, it->count * sizeof *ret);
    for (size_t i = 0; i < it->count; i++) {
        size_t leader = leader_of(&it->layer, i);
        ret[leader] += a[i] * (b != NULL ? b[i] : 1.0);
        n[leader]++;
    }
    for (size_t i = it->count; i-- > 0;) { /* leaders, which come first, are read until the end */
        size_t leader = leader_of(&it->layer, i);
        ret[i] = ret[leader] / n[leader];
    }
    fm_free(n);
}

/* xh, and each element's 1 / deviation. */
static void naive_standardise(const norm_case *it, const double *x, double *xh, double *inverse)
{
    double *mean = numbers_new(it->count);
    means_of(it, x, NULL, mean);
    means_of(it, x, x, inverse);
    for (size_t i = 0; i < it->count; i++) {
        mean[i] = it->layer.rms ? 0.0 : mean[i];
        inverse[i] = 1.0 / sqrt(inverse[i] - mean[i] * mean[i] + it->layer.epsilon);
        xh[i] = (x[i] - mean[i]) * inverse[i];
    }
    fm_free(mean);
}

static double before_activation(const norm_case *it, const double *xh, size_t i)
{
    size_t c = i % it->layer.channels;
    return (double)it->factor[c] * xh[i] + (double)it->term[c];
}

static void naive_eval(const norm_case *it, const double *x, double *y)
{
    double *xh = numbers_new(it->count), *inverse = numbers_new(it->count);
    naive_standardise(it, x, xh, inverse);
    for (size_t i = 0; i < it->count; i++) {
        y[i] = activation_of(it->layer.activation, before_activation(it, xh, i));
    }
    fm_free(xh);
    fm_free(inverse);
}

/* ret_i = after_i (v_i - mean(v) - xh_i mean(xh v)), v = values before. */
static void naive_project(const norm_case *it, bool transposed, const double *values, double *ret)
{
    double *xh = numbers_new(it->count), *inverse = numbers_new(it->count);
    double *gain = numbers_new(it->count), *v = numbers_new(it->count);
    double *mean = numbers_new(it->count);
    naive_standardise(it, it->x, xh, inverse);
    for (size_t i = 0; i < it->count; i++) {
        gain[i] = slope_of(it->layer.activation, before_activation(it, xh, i)) *
                  (double)it->factor[i % it->layer.channels];
        v[i] = values[i] * (transposed ? gain[i] : inverse[i]);
    }
    means_of(it, v, NULL, mean);
    means_of(it, xh, v, ret);
    for (size_t i = 0; i < it->count; i++) {
        ret[i] = (transposed ? inverse[i] : gain[i]) *
                 (v[i] - (it->layer.rms ? 0.0 : mean[i]) - xh[i] * ret[i]);
    }
    fm_free(mean);
    fm_free(xh);
    fm_free(inverse);
    fm_free(gain);
    fm_free(v);
}

/* (y(x + step v) - y(x - step v)) / (2 step) */
static void difference(const norm_case *it, const double *v, double *ret)
{
    double *moved = numbers_new(it->count), *below = numbers_new(it->count);
    for (size_t i = 0; i < it->count; i++) {
        moved[i] = it->x[i] - STEP * v[i];
    }
    naive_eval(it, moved, below);
    for (size_t i = 0; i < it->count; i++) {
        moved[i] = it->x[i] + STEP * v[i];
    }
    naive_eval(it, moved, ret);
    for (size_t i = 0; i < it->count; i++) {
        ret[i] = (ret[i] - below[i]) / (2.0 * STEP);
    }
    fm_free(moved);
    fm_free(below);
}

static double dot(size_t count, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* ---- tests ---- */

static void check_near(const norm_case *it, size_t index, const double *want, double limit)
{
    for (size_t i = 0; i < it->count; i++) {
        double got = (double)*channel_of(&it->out, index, i);
        ck_assert_msg(fabs(got - want[i]) <= limit, "element %zu is %.9g, want %.9g", i, got,
                      want[i]);
    }
}

START_TEST(a_tangent_is_pushed_as_in_float64)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    run_jvp(&it, 0, N_TANGENTS);
    for (size_t index = 0; index < N_TANGENTS; index += N_TANGENTS - 1) {
        to_float64(&it.tangents, index, it.v);
        naive_project(&it, false, it.v, it.want);
        check_near(&it, index, it.want, LIMIT);
        difference(&it, it.v, it.want);
        check_near(&it, index, it.want, LIMIT + 1e-7);
    }
    case_close(&it);
}
END_TEST

START_TEST(a_cotangent_is_pulled_back_as_in_float64_and_added)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    image_case_fill(&it.out, 55);
    to_float64(&it.out, 3, it.v);
    to_float64(&it.tangents, 3, it.w);
    run_vjp(&it, 3);
    naive_project(&it, true, it.w, it.want);
    for (size_t i = 0; i < it.count; i++) {
        it.want[i] += it.v[i];
    }
    check_near(&it, 3, it.want, LIMIT);
    case_close(&it);
}
END_TEST

/* One pixel's channels, each by itself: a whole Jacobian takes long. */
START_TEST(a_gradient_is_made_of_central_differences)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    image_case_fill(&it.out, 55);
    for (size_t i = 0; i < it.count; i++) {
        *channel_of(&it.out, 0, i) = 0;
    }
    to_float64(&it.tangents, 0, it.w);
    run_vjp(&it, 0);
    size_t channels = it.layer.channels, step = channels > 40 ? 7 : 1;
    for (size_t i = 7 * channels; i < 8 * channels; i += step) {
        memset(it.v, 0, it.count * sizeof *it.v);
        it.v[i] = 1;
        difference(&it, it.v, it.want);
        double want = dot(it.count, it.w, it.want), got = (double)*channel_of(&it.out, 0, i);
        ck_assert_double_eq_tol(got, want, LIMIT + 1e-7);
    }
    case_close(&it);
}
END_TEST

START_TEST(both_directions_are_of_one_jacobian)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    run_jvp(&it, 2, 1);
    to_float64(&it.tangents, 5, it.w);
    to_float64(&it.out, 2, it.want);
    double pushed = dot(it.count, it.w, it.want);
    image_case_fill(&it.out, 55);
    for (size_t i = 0; i < it.count; i++) {
        *channel_of(&it.out, 5, i) = 0;
    }
    run_vjp(&it, 5);
    to_float64(&it.tangents, 2, it.v);
    to_float64(&it.out, 5, it.want);
    double pulled = dot(it.count, it.v, it.want);
    ck_assert_double_eq_tol(pushed, pulled, 1e-6 * sqrt((double)it.count));
    case_close(&it);
}
END_TEST

START_TEST(tangents_do_not_depend_on_each_other)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    image_case alone;
    image_case_open(&alone, N_TANGENTS, HEIGHT, WIDTH, it.layer.channels, 1);
    run_jvp(&it, 1, N_TANGENTS - 1);
    norm_case other = it;
    other.out = alone;
    for (size_t index = 1; index < N_TANGENTS; index++) {
        run_jvp(&other, index, 1);
        ck_assert(image_case_agree(&it.out, index, &alone, index));
    }
    image_case_copy(&it.tangents, 2, &it.tangents, 11); /* another place of a tangent */
    run_jvp(&other, 2, 3);
    ck_assert(image_case_agree(&it.out, 11, &alone, 2));
    image_case_close(&alone);
    case_close(&it);
}
END_TEST

START_TEST(a_tangent_s_padding_becomes_0_and_nothing_else_is_written)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    static const float zeros[FM_KERNEL_COLUMNS] = {0};
    run_jvp(&it, 3, 9);
    ck_assert(image_case_is_intact(&it.out));
    for (size_t index = 0; index < N_TANGENTS; index++) {
        bool is_written = index >= 3;
        for (size_t pixel = 0; pixel < N_PIXELS; pixel++) {
            const float *x = channel_of(&it.out, index, pixel * it.layer.channels);
            size_t channels = it.layer.channels, stride = it.out.image.pixel_stride;
            for (size_t c = 0; c < stride; c++) {
                ck_assert(is_written ? isfinite(x[c]) : isnan(x[c]));
            }
            if (is_written && channels < stride) { /* not -0 either */
                ck_assert_mem_eq(x + channels, zeros, (stride - channels) * sizeof *x);
            }
        }
    }
    case_close(&it);
}
END_TEST

/* Of -0, which adding a 0 would change. */
static void fill_padding(const image_case *it, size_t index)
{
    for (size_t pixel = 0; pixel < N_PIXELS; pixel++) {
        float *x = channel_of(it, index, pixel * it->image.channels);
        for (size_t c = it->image.channels; c < it->image.pixel_stride; c++) {
            x[c] = -0.0F;
        }
    }
}

START_TEST(a_gradient_s_padding_and_other_images_stay)
{
    norm_case it;
    if (!case_open(&it, _i)) {
        return;
    }
    image_case fresh;
    image_case_open(&fresh, N_TANGENTS, HEIGHT, WIDTH, it.layer.channels, 1);
    fill_padding(&fresh, 4);
    fill_padding(&it.out, 4);
    for (size_t i = 0; i < it.count; i++) {
        *channel_of(&it.out, 4, i) = 0;
    }
    run_vjp(&it, 4);
    for (size_t i = 0; i < it.count; i++) {
        float *x = channel_of(&it.out, 4, i);
        ck_assert(isfinite(*x));
        memset(x, 0xff, sizeof *x);
    }
    ck_assert_mem_eq(it.out.floats, fresh.floats, fresh.count * sizeof *fresh.floats);
    image_case_close(&fresh);
    case_close(&it);
}
END_TEST

Suite *suite_engine_norm_derivative(void)
{
    Suite *suite = suite_create("engine/norm_derivative");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, a_tangent_is_pushed_as_in_float64, 0, N_CASES);
    tcase_add_loop_test(all, a_cotangent_is_pulled_back_as_in_float64_and_added, 0, N_CASES);
    tcase_add_loop_test(all, a_gradient_is_made_of_central_differences, 0, N_CASES);
    tcase_add_loop_test(all, both_directions_are_of_one_jacobian, 0, N_CASES);
    tcase_add_loop_test(all, tangents_do_not_depend_on_each_other, 0, N_CASES);
    tcase_add_loop_test(all, a_tangent_s_padding_becomes_0_and_nothing_else_is_written, 0, N_CASES);
    tcase_add_loop_test(all, a_gradient_s_padding_and_other_images_stay, 0, N_CASES);
    suite_add_tcase(suite, all);
    return suite;
}
