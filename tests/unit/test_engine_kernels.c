/* Sums, normalisations and the softmax's exponentials of every instruction set, against float64. The
 * kernels of products are tested by what is made of them: engine/dense, engine/conv, engine/attention. */
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "tests/support/image_case.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define HALF_ULP (FLT_EPSILON / 2) /* relative error of one rounding */

static const char *const instruction_sets[] = {"generic", "avx2", "avx512"};

/* Runs `check` with every set of kernels that this machine has. */
static void with_every_set(void (*check)(const fm_kernels *kernels))
{
    for (size_t i = 0; i < 3; i++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[i]);
        if (kernels != NULL) {
            check(kernels);
        }
    }
}

static bool is_untouched(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0;
        memcpy(&bits, x + i, sizeof bits);
        if (bits != UINT32_MAX) {
            return false;
        }
    }
    return true;
}

/* ---- pixel_norm ---- */

#define MAX_CHANNELS ((size_t)130)
#define MAX_STRIDE   ((size_t)144)
#define N_PIXELS     ((size_t)3)

typedef struct pixel_case {
    size_t channels, stride;
    bool rms;
    double epsilon;
    float in[N_PIXELS * MAX_STRIDE], out[(N_PIXELS + 1) * MAX_STRIDE];
    float weight[MAX_STRIDE], bias[MAX_STRIDE];
} pixel_case;

/* Pixels of mean + deviation * noise; their padding holds large numbers. */
static void pixel_fill(pixel_case *it, float mean, float deviation)
{
    for (size_t i = 0; i < N_PIXELS * it->stride; i++) {
        it->in[i] =
            i % it->stride < it->channels ? mean + deviation * image_case_noise(41, i) : 1e30F;
    }
    for (size_t c = 0; c < MAX_STRIDE; c++) {
        it->weight[c] = c < it->channels ? 1.0F + image_case_noise(42, c) / 2 : 0;
        it->bias[c] = c < it->channels ? image_case_noise(43, c) : 0;
    }
}

/* y of one channel; *ret_limit: roundings of the result, and the mean's, in units of the deviation. */
static double naive_norm(const pixel_case *it, size_t pixel, size_t channel, double *ret_limit)
{
    const float *x = it->in + pixel * it->stride;
    double n = (double)it->channels, mean = 0, square = 0;
    for (size_t c = 0; c < it->channels && !it->rms; c++) {
        mean += (double)x[c] / n;
    }
    for (size_t c = 0; c < it->channels; c++) {
        square += ((double)x[c] - mean) * ((double)x[c] - mean) / n;
    }
    double inverse = 1.0 / sqrt(square + it->epsilon);
    double weight = (double)it->weight[channel], bias = (double)it->bias[channel];
    double y = ((double)x[channel] - mean) * inverse * weight;
    *ret_limit = HALF_ULP * (8 * (fabs(y) + fabs(bias)) + 3 * fabs(mean * inverse * weight));
    return y + bias;
}

static void pixel_check(const fm_kernels *kernels, pixel_case *it)
{
    const fm_pixel_norm job = {.in = it->in,
                               .out = it->out,
                               .n_pixels = N_PIXELS,
                               .in_stride = it->stride,
                               .out_stride = it->stride,
                               .channels = it->channels,
                               .rms = it->rms,
                               .epsilon = it->epsilon,
                               .weight = it->weight,
                               .bias = it->bias};
    memset(it->out, 0xff, sizeof it->out);
    kernels->pixel_norm(&job);
    for (size_t i = 0; i < N_PIXELS * it->stride; i++) {
        size_t pixel = i / it->stride, channel = i % it->stride;
        if (channel >= it->channels) {
            if (!isfinite(it->out[i])) {
                ck_abort_msg("%s: %zu channels, padding %zu is %g", kernels->name, it->channels,
                             channel, (double)it->out[i]);
            }
            continue;
        }
        double limit, want = naive_norm(it, pixel, channel, &limit);
        if (!(fabs((double)it->out[i] - want) <= limit)) { /* NaN too */
            ck_abort_msg("%s: %zu channels, pixel %zu channel %zu: %.9g, want %.9g +- %.2g",
                         kernels->name, it->channels, pixel, channel, (double)it->out[i], want,
                         limit);
        }
    }
    ck_assert(is_untouched(it->out + N_PIXELS * it->stride, it->stride));
}

/* Every number of channels; means of 0, of a thousand deviations, and none at all. */
static void check_pixel_norms(const fm_kernels *kernels)
{
    static const struct {
        float mean, deviation;
        double epsilon;
    } pixels[] = {{0.5F, 1, 1e-5}, {1000, 1, 1e-6}, {0, 1e-4F, 1e-6}, {-3, 0, 1e-5}};
    static pixel_case it;
    for (it.channels = 1; it.channels <= MAX_CHANNELS; it.channels++) {
        it.stride = fm_kernels_round(it.channels);
        for (size_t i = 0; i < 8; i++) {
            it.rms = i >= 4;
            it.epsilon = pixels[i % 4].epsilon;
            pixel_fill(&it, pixels[i % 4].mean, pixels[i % 4].deviation);
            pixel_check(kernels, &it);
        }
    }
}

START_TEST(pixels_are_normalised_over_their_channels_and_padded_with_finite_numbers)
{
    with_every_set(check_pixel_norms);
}
END_TEST

/* ---- channel_sums and channel_map ---- */

static const struct {
    size_t height, width, channels, first, end;
} images[] = {{1, 1, 16, 0, 16},  {1, 49, 32, 0, 32},  {7, 5, 96, 0, 96},    {7, 5, 96, 16, 80},
              {3, 9, 80, 48, 80}, {28, 28, 20, 0, 32}, {2, 31, 384, 0, 384}, {4, 4, 144, 128, 144}};
#define N_IMAGES (sizeof images / sizeof images[0])

/* Three roundings of a square, and one of each addition of a line; lines are added in float64. */
static void sums_check(const fm_kernels *kernels, const image_case *it, size_t first, size_t end,
                       const float *means)
{
    const fm_image *image = &it->image;
    double sums[400];
    memset(sums, 0xff, sizeof sums);
    kernels->channel_sums(image, 1, first, end, means, sums);
    for (size_t c = 0; c < 400; c++) {
        if (c >= image->channels && c < end) {
            continue; /* padding */
        }
        double want = 0, size = 0;
        for (size_t p = 0; p < image->height * image->width && c >= first && c < end; p++) {
            double x = (double)fm_image_at(image, 1, p / image->width, p % image->width)[c];
            double term = means == NULL ? x : (x - (double)means[c]) * (x - (double)means[c]);
            want += term;
            size += fabs(term);
        }
        double limit = HALF_ULP * (3 + (double)image->width / 4) * size;
        if (!(c < first || c >= end ? isnan(sums[c])
                                    : fabs(sums[c] - want) <= limit)) { /* NaN too */
            ck_abort_msg("%s: channel %zu: %.12g, want %.12g +- %.2g", kernels->name, c, sums[c],
                         want, limit);
        }
    }
}

static void check_channel_sums(const fm_kernels *kernels)
{
    float means[400];
    for (size_t c = 0; c < 400; c++) {
        means[c] = image_case_noise(44, c) / 4;
    }
    for (size_t i = 0; i < N_IMAGES; i++) {
        image_case it;
        image_case_open(&it, 2, images[i].height, images[i].width, images[i].channels, 1);
        image_case_fill(&it, 45 + i);
        sums_check(kernels, &it, images[i].first, images[i].end, NULL);
        sums_check(kernels, &it, images[i].first, images[i].end, means);
        image_case_close(&it);
    }
}

START_TEST(channels_are_summed_over_the_pixels_of_their_image)
{
    with_every_set(check_channel_sums);
}
END_TEST

static double activated(fm_activation activation, double x)
{
    return activation == FM_ACTIVATION_SILU   ? x / (1 + exp(-x))
           : activation == FM_ACTIVATION_TANH ? tanh(x)
                                              : x;
}

/* Only channels [first, end) of image 1 are written. */
static void map_check(const fm_kernels *kernels, size_t index, fm_activation activation,
                      const float *scale, const float *shift)
{
    size_t height = images[index].height, width = images[index].width;
    size_t channels = images[index].channels, end = images[index].end;
    image_case in, out;
    image_case_open(&in, 2, height, width, channels, 1);
    image_case_fill(&in, 46);
    image_case_open(&out, 2, height, width, channels, 2);
    const fm_channel_map job = {.in = fm_image_at(&in.image, 1, 0, 0),
                                .out = fm_image_at(&out.image, 1, 0, 0),
                                .height = height,
                                .width = width,
                                .first = images[index].first,
                                .end = end,
                                .in_line_stride = in.image.line_stride,
                                .in_pixel_stride = in.image.pixel_stride,
                                .out_line_stride = out.image.line_stride,
                                .out_pixel_stride = out.image.pixel_stride,
                                .scale = scale,
                                .shift = shift,
                                .activation = activation};
    kernels->channel_map(&job);
    ck_assert(image_case_is_intact(&out));
    for (size_t p = 0; p < height * width; p++) {
        const float *x = fm_image_at(&in.image, 1, p / width, p % width);
        const float *y = fm_image_at(&out.image, 1, p / width, p % width);
        ck_assert(is_untouched(y, job.first));
        ck_assert(is_untouched(y + end, out.image.pixel_stride - end));
        for (size_t c = job.first; c < end && c < channels; c++) {
            double product = (double)x[c] * (double)scale[c];
            double want = activated(activation, product + (double)shift[c]);
            if (!(fabs((double)y[c] - want) <= 4e-7 * (1 + fabs(want)))) { /* NaN too */
                ck_abort_msg("%s: channel %zu: %.9g, want %.9g", kernels->name, c, (double)y[c],
                             want);
            }
        }
    }
    image_case_close(&in);
    image_case_close(&out);
}

static void check_channel_maps(const fm_kernels *kernels)
{
    static const fm_activation some[] = {FM_ACTIVATION_NONE, FM_ACTIVATION_SILU,
                                         FM_ACTIVATION_TANH};
    float scale[400], shift[400];
    for (size_t c = 0; c < 400; c++) {
        scale[c] = image_case_noise(47, c);
        shift[c] = image_case_noise(48, c);
    }
    for (size_t i = 0; i < N_IMAGES; i++) {
        map_check(kernels, i, some[i % 3], scale, shift);
    }
}

START_TEST(channels_are_scaled_shifted_and_activated_in_their_range_only)
{
    with_every_set(check_channel_maps);
}
END_TEST

/* ---- the softmax's exponentials ---- */

#define MAX_COLUMNS ((size_t)784)

typedef struct softmax_case {
    size_t columns, stride;
    float scale;
    float in[2 * MAX_COLUMNS], out[2 * MAX_COLUMNS + 16], inverse_sums[3];
} softmax_case;

static void softmax_run(const fm_kernels *kernels, softmax_case *it)
{
    memset(it->out, 0xff, sizeof it->out);
    memcpy(it->out, it->in, 2 * it->stride * sizeof *it->out);
    memset(it->inverse_sums, 0xff, sizeof it->inverse_sums);
    kernels->exponentials(2, it->columns, it->stride, it->scale, it->out, it->inverse_sums);
    ck_assert(is_untouched(it->out + 2 * it->stride, 16));
    ck_assert(is_untouched(it->inverse_sums + 2, 1));
}

/* The exponent is rounded at the size of the largest score. */
static void softmax_check(const fm_kernels *kernels, softmax_case *it)
{
    softmax_run(kernels, it);
    for (size_t row = 0; row < 2; row++) {
        const float *x = it->in + row * it->stride, *e = it->out + row * it->stride;
        double scale = (double)it->scale, most = -INFINITY, largest = 0, sum = 0;
        for (size_t c = 0; c < it->columns; c++) {
            most = fmax(most, (double)x[c] * scale);
            largest = fmax(largest, fabs((double)x[c] * scale));
        }
        for (size_t c = 0; c < it->columns; c++) {
            sum += exp((double)x[c] * scale - most);
        }
        double rounding = expm1(2 * HALF_ULP * largest) + 5e-7;
        for (size_t c = 0; c < it->columns; c++) {
            double want = exp((double)x[c] * scale - most) / sum;
            double got = (double)e[c] * (double)it->inverse_sums[row];
            if (!(fabs(got - want) <= rounding * want + 1e-38)) { /* NaN too */
                ck_abort_msg("%s: column %zu of %zu: %.9g, want %.9g", kernels->name, c,
                             it->columns, got, want);
            }
        }
    }
}

static void softmax_fill(softmax_case *it, size_t columns, float size)
{
    it->columns = columns;
    it->stride = fm_kernels_round(columns);
    it->scale = 0.5F;
    for (size_t i = 0; i < 2 * it->stride; i++) {
        it->in[i] = i % it->stride < columns ? size * image_case_noise(49 + columns, i) : 0;
    }
}

static void check_softmax(const fm_kernels *kernels)
{
    static softmax_case it;
    static const float sizes[] = {0, 1, 30, 2e4F};
    for (size_t columns = 1; columns <= MAX_COLUMNS; columns += columns < 70 ? 1 : 119) {
        for (size_t i = 0; i < 4; i++) {
            softmax_fill(&it, columns, sizes[i]);
            softmax_check(kernels, &it);
        }
        softmax_fill(&it, columns, 1);
        it.in[columns - 1] = -INFINITY; /* the first row's last: no weight */
        it.in[it.stride + columns / 2] = 3e38F;
        it.scale = 0.125F;
        softmax_run(kernels, &it);
        ck_assert(columns == 1 || (isfinite(it.inverse_sums[0]) && it.out[columns - 1] == 0));
        ck_assert_float_eq(it.inverse_sums[1], 1);
    }
}

START_TEST(exponentials_over_their_sum_are_a_softmax_of_scores_of_every_size)
{
    with_every_set(check_softmax);
}
END_TEST

static void check_softmax_nans(const fm_kernels *kernels)
{
    static softmax_case it;
    for (size_t at = 0; at < 37; at++) {
        softmax_fill(&it, 37, 30);
        it.in[at] = NAN;
        softmax_run(kernels, &it);
        ck_assert(isnan(it.inverse_sums[0]) && isfinite(it.inverse_sums[1]));
    }
}

START_TEST(a_nan_score_spoils_its_row_and_no_other)
{
    with_every_set(check_softmax_nans);
}
END_TEST

static void check_scaled_rows(const fm_kernels *kernels)
{
    float x[4 * 48], factors[] = {2, -0.5F, NAN, 3};
    for (size_t i = 0; i < 4 * 48; i++) {
        x[i] = (float)i;
    }
    kernels->scale_rows(4, 32, 48, factors, x);
    for (size_t i = 0; i < 4 * 48; i++) {
        size_t row = i / 48;
        if (i % 48 < 32 && row == 2) {
            ck_assert(isnan(x[i]));
        } else {
            ck_assert_float_eq(x[i], i % 48 < 32 ? (float)i * factors[row] : (float)i);
        }
    }
}

START_TEST(rows_are_scaled_each_by_its_factor)
{
    with_every_set(check_scaled_rows);
}
END_TEST

Suite *suite_engine_kernels(void)
{
    Suite *suite = suite_create("engine/kernels");
    TCase *tcase = tcase_create("kernels");
    tcase_set_tags(tcase, "one_thread");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, pixels_are_normalised_over_their_channels_and_padded_with_finite_numbers);
    tcase_add_test(tcase, channels_are_summed_over_the_pixels_of_their_image);
    tcase_add_test(tcase, channels_are_scaled_shifted_and_activated_in_their_range_only);
    tcase_add_test(tcase, exponentials_over_their_sum_are_a_softmax_of_scores_of_every_size);
    tcase_add_test(tcase, a_nan_score_spoils_its_row_and_no_other);
    tcase_add_test(tcase, rows_are_scaled_each_by_its_factor);
    suite_add_tcase(suite, tcase);
    return suite;
}
