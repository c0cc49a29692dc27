/* Operators of images, [channels, height, width]: mean pooling, Gaussian blur, luma. */
#include "engine/inverse/operator.h"

#include <math.h>
#include <string.h>

/* ---- average_pool: rows of k^2 entries 1 / k^2 that share none, so H H^T = I / k^2 ---- */

static fm_status average_pool_init(fm_operator *ret, const fm_operator_options *options,
                                   fm_error *err)
{
    size_t factor = options->factor;
    if (factor == 0 || ret->height % factor != 0 || ret->width % factor != 0) {
        return fm_fail(err, FM_EINVAL, "factor must divide height %zu and width %zu", ret->height,
                       ret->width);
    }
    ret->factor = factor;
    ret->observation_dimension = ret->dimension / (factor * factor);
    ret->norm_squared = ret->gram = 1 / ((double)factor * (double)factor);
    return FM_OK;
}

/* Where pixel `row`, `column` of all channels' rows, one after the other, is pooled. */
static size_t block_of(const fm_operator *forward, size_t row, size_t column)
{
    return row / forward->factor * (forward->width / forward->factor) + column / forward->factor;
}

static void average_pool_apply(const fm_operator *forward, const double *x, double *ret,
                               double *scratch)
{
    (void)scratch;
    memset(ret, 0, forward->observation_dimension * sizeof *ret);
    for (size_t row = 0; row < forward->channels * forward->height; row++) {
        for (size_t column = 0; column < forward->width; column++) {
            ret[block_of(forward, row, column)] += x[row * forward->width + column];
        }
    }
    for (size_t i = 0; i < forward->observation_dimension; i++) {
        ret[i] *= forward->gram;
    }
}

static void average_pool_adjoint(const fm_operator *forward, const double *y, double *ret,
                                 double *scratch)
{
    (void)scratch;
    for (size_t row = 0; row < forward->channels * forward->height; row++) {
        for (size_t column = 0; column < forward->width; column++) {
            ret[row * forward->width + column] = forward->gram * y[block_of(forward, row, column)];
        }
    }
}

const fm_operator_type fm_operator_average_pool = {.name = "average_pool",
                                                   .init = average_pool_init,
                                                   .is_image = true,
                                                   .apply = average_pool_apply,
                                                   .adjoint = average_pool_adjoint};

/* ---- blur: with symmetric taps and half-sample reflection a symmetric H, whose eigenvectors are the cosines of the
 * discrete cosine transform; the constant image has the largest eigenvalue, 1 ---- */

static fm_status blur_init(fm_operator *ret, const fm_operator_options *options, fm_error *err)
{
    double radius = ceil(3 * options->std), sum = 0;
    if (!(options->std > 0) || !(radius <= (double)FM_BLUR_MAX_RADIUS)) {
        return fm_fail(err, FM_EINVAL, "std must be above 0 and at most %.4g",
                       (double)FM_BLUR_MAX_RADIUS / 3);
    }
    ret->radius = (size_t)radius;
    for (size_t i = 0; i <= ret->radius; i++) {
        double distance = (double)i / options->std;
        ret->taps[i] = exp(-0.5 * distance * distance);
        sum += i == 0 ? ret->taps[i] : 2 * ret->taps[i];
    }
    for (size_t i = 0; i <= ret->radius; i++) {
        ret->taps[i] /= sum;
    }
    ret->observation_dimension = ret->dimension;
    ret->norm_squared = 1;
    return FM_OK;
}

/* Pixel i, which may lie beyond the edges, of a line of n that is reflected at both, as often as it takes. */
static size_t reflected(ptrdiff_t i, size_t n)
{
    ptrdiff_t period = 2 * (ptrdiff_t)n;
    ptrdiff_t at = i % period;
    size_t place = (size_t)(at < 0 ? at + period : at);
    return place < n ? place : 2 * n - 1 - place;
}

/* One line of n pixels, `stride` apart in both. */
static void blur_line(const fm_operator *forward, size_t n, size_t stride, const double *x,
                      double *ret)
{
    ptrdiff_t radius = (ptrdiff_t)forward->radius;
    for (size_t i = 0; i < n; i++) {
        double sum = forward->taps[0] * x[i * stride];
        for (ptrdiff_t k = 1; k <= radius; k++) {
            size_t before = reflected((ptrdiff_t)i - k, n), after = reflected((ptrdiff_t)i + k, n);
            sum += forward->taps[k] * (x[before * stride] + x[after * stride]);
        }
        ret[i * stride] = sum;
    }
}

static void blur_apply(const fm_operator *forward, const double *x, double *ret, double *scratch)
{
    size_t height = forward->height, width = forward->width;
    for (size_t channel = 0; channel < forward->channels; channel++) {
        const double *from = x + channel * height * width;
        double *to = ret + channel * height * width;
        for (size_t row = 0; row < height; row++) {
            blur_line(forward, width, 1, from + row * width, scratch + row * width);
        }
        for (size_t column = 0; column < width; column++) {
            blur_line(forward, height, width, scratch + column, to + column);
        }
    }
}

const fm_operator_type fm_operator_blur = {.name = "blur",
                                           .init = blur_init,
                                           .is_image = true,
                                           .apply = blur_apply,
                                           .adjoint = blur_apply};

/* ---- gray: rows that share no entry, so H H^T = |weights|^2 I ---- */

static const double luma[3] = {0.299, 0.587, 0.114};

static fm_status gray_init(fm_operator *ret, const fm_operator_options *options, fm_error *err)
{
    (void)options;
    if (ret->channels != 3) {
        return fm_fail(err, FM_EINVAL, "shape must have 3 channels for gray, not %zu",
                       ret->channels);
    }
    ret->observation_dimension = ret->height * ret->width;
    ret->norm_squared = ret->gram = luma[0] * luma[0] + luma[1] * luma[1] + luma[2] * luma[2];
    return FM_OK;
}

static void gray_apply(const fm_operator *forward, const double *x, double *ret, double *scratch)
{
    (void)scratch;
    size_t n = forward->observation_dimension;
    for (size_t i = 0; i < n; i++) {
        ret[i] = luma[0] * x[i] + luma[1] * x[n + i] + luma[2] * x[2 * n + i];
    }
}

static void gray_adjoint(const fm_operator *forward, const double *y, double *ret, double *scratch)
{
    (void)scratch;
    size_t n = forward->observation_dimension;
    for (size_t channel = 0; channel < 3; channel++) {
        for (size_t i = 0; i < n; i++) {
            ret[channel * n + i] = luma[channel] * y[i];
        }
    }
}

const fm_operator_type fm_operator_gray = {.name = "gray",
                                           .init = gray_init,
                                           .is_image = true,
                                           .apply = gray_apply,
                                           .adjoint = gray_adjoint};
