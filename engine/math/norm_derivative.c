/* Derivatives of normalisations: a tangent and a cotangent each lose their mean and their share along xh.
 *
 * With a = activation'(factor xh + term) factor and t = dx / deviation,
 *   dy = a (t - mean(t) - xh mean(xh t)),
 * and with g = w a, dx = (g - mean(g) - xh mean(xh g)) / deviation; without the first mean for rms. So both
 * are after (v - shift - xh slant), v = values before, where before and after change places.
 *
 * Passes go over the channels of a pixel in whole vectors. What multiplies the padding is 0 there, so it
 * adds nothing to any sum. */
#include "engine/math/norm_derivative.h"

#include "engine/math/kernels.h"

#include <math.h>
#include <string.h>

/* Slopes are computed once for so many tangents of a group norm; their means are kept meanwhile. */
#define TANGENTS_AT_ONCE ((size_t)8)

/* Views of the scratch, [padded] unless noted, all 0 beyond the channels. */
typedef struct workspace {
    const fm_norm_layer *layer;
    const fm_kernels *kernels;
    size_t padded;            /* the channels in whole vectors */
    double *sums, *products;  /* of v and xh v, over pixels; then the groups' means of these */
    float *ones;              /* 1 in the channels */
    float *factor, *term;     /* the layer's */
    float *mean, *inverse;    /* inverse: 1 / deviation */
    float *normalised, *gain; /* xh and a of the pixel at hand */
    float *pulled;            /* its share of the gradient */
    float *shifts, *slants;   /* [TANGENTS_AT_ONCE][padded]: mean(v) and mean(xh v) of groups */
} workspace;

#define PIXEL_ARRAYS     8
#define WORKSPACE_ARRAYS (4 + PIXEL_ARRAYS + 2 * TANGENTS_AT_ONCE) /* the first four are doubles */

size_t fm_norm_derivative_bytes(const fm_norm_layer *layer)
{
    return WORKSPACE_ARRAYS * fm_kernels_round(layer->channels) * sizeof(float);
}

static workspace workspace_of(const fm_norm_layer *layer, void *scratch)
{
    size_t padded = fm_kernels_round(layer->channels);
    double *doubles = scratch;
    float *floats = (float *)(void *)(doubles + 2 * padded);
    memset(scratch, 0, fm_norm_derivative_bytes(layer));
    workspace w = {
        .layer = layer,
        .kernels = layer->kernels != NULL ? layer->kernels : fm_kernels_best(),
        .padded = padded,
        .sums = doubles,
        .products = doubles + padded,
        .ones = floats,
        .factor = floats + padded,
        .term = floats + 2 * padded,
        .mean = floats + 3 * padded,
        .inverse = floats + 4 * padded,
        .normalised = floats + 5 * padded,
        .gain = floats + 6 * padded,
        .pulled = floats + 7 * padded,
        .shifts = floats + PIXEL_ARRAYS * padded,
        .slants = floats + (PIXEL_ARRAYS + TANGENTS_AT_ONCE) * padded,
    };
    memcpy(w.factor, layer->factor, layer->channels * sizeof *w.factor);
    memcpy(w.term, layer->term, layer->channels * sizeof *w.term);
    for (size_t c = 0; c < layer->channels; c++) {
        w.ones[c] = 1.0F;
    }
    return w;
}

static float *pixel_at(const fm_image *image, size_t index, size_t pixel)
{
    return fm_image_at(image, index, pixel / image->width, pixel % image->width);
}

/* ---- passes over channels ---- */

/* Inlined, they would lose what restrict says, and with it their vector instructions. */
#define PASS __attribute__((noinline)) static

/* n, which is whole vectors already, so that compilers see that a loop leaves no rest. */
static inline size_t whole(size_t n)
{
    return n / FM_KERNEL_COLUMNS * FM_KERNEL_COLUMNS;
}

PASS void scale(size_t n, const float *restrict x, float factor, float *restrict out)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        out[c] = x[c] * factor;
    }
}

PASS void multiply(size_t n, const float *restrict factor, float *restrict x)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        x[c] *= factor[c];
    }
}

PASS void affine(size_t n, const float *restrict x, const float *restrict factor,
                 const float *restrict term, float *restrict out)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        out[c] = x[c] * factor[c] + term[c];
    }
}

PASS void standardise(size_t n, const float *restrict x, const float *restrict mean,
                      const float *restrict inverse, float *restrict out)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        out[c] = (x[c] - mean[c]) * inverse[c];
    }
}

PASS void add_sums(size_t n, const float *restrict values, const float *restrict before,
                   const float *restrict xh, double *restrict sums, double *restrict products)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        float v = values[c] * before[c];
        sums[c] += (double)v;
        products[c] += (double)(xh[c] * v);
    }
}

/* The same over the channels as well; lanes keep apart what vector instructions add. */
typedef struct moments {
    double sum, product;
} moments;

PASS moments moments_of(size_t n, const float *restrict values, const float *restrict before,
                        const float *restrict xh)
{
    double sums[FM_KERNEL_COLUMNS] = {0}, products[FM_KERNEL_COLUMNS] = {0};
    for (size_t c = 0; c < n; c += FM_KERNEL_COLUMNS) {
        for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
            float v = values[c + lane] * before[c + lane];
            sums[lane] += (double)v;
            products[lane] += (double)(xh[c + lane] * v);
        }
    }
    moments ret = {0};
    for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
        ret.sum += sums[lane];
        ret.product += products[lane];
    }
    return ret;
}

/* after (v - shift - xh slant), with the means of each channel's group. */
PASS void project_group(size_t n, const float *restrict values, const float *restrict before,
                        const float *restrict after, const float *restrict xh,
                        const float *restrict shift, const float *restrict slant,
                        float *restrict out)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        out[c] = after[c] * (values[c] * before[c] - shift[c] - xh[c] * slant[c]);
    }
}

/* The same with the means of one pixel. */
PASS void project_pixel(size_t n, const float *restrict values, const float *restrict before,
                        const float *restrict after, const float *restrict xh, float shift,
                        float slant, float *restrict out)
{
    for (size_t c = 0, end = whole(n); c < end; c++) {
        out[c] = after[c] * (values[c] * before[c] - shift - xh[c] * slant);
    }
}

/* The channels alone: not the rest of the last vector. */
PASS void add(size_t channels, const float *restrict x, float *restrict to)
{
    size_t end = whole(channels);
    for (size_t c = 0; c < end; c++) {
        to[c] += x[c];
    }
    for (size_t c = end; c < channels; c++) {
        to[c] += x[c];
    }
}

/* ---- what both directions need ---- */

/* Each channel's sum over n_pixels pixels becomes its group's mean. */
static void sums_to_means(const workspace *w, size_t n_pixels, double *sums)
{
    size_t group = w->layer->channels / w->layer->groups;
    for (size_t first = 0; first < w->layer->channels; first += group) {
        double sum = 0;
        for (size_t c = first; c < first + group; c++) {
            sum += sums[c];
        }
        for (size_t c = first; c < first + group; c++) {
            sums[c] = sum / (double)(n_pixels * group);
        }
    }
}

/* As the network itself measures a group. */
static void measure_groups(const workspace *w, const fm_image *in, size_t index)
{
    size_t n_pixels = in->height * in->width;
    w->kernels->channel_sums(in, index, 0, w->padded, NULL, w->sums);
    sums_to_means(w, n_pixels, w->sums);
    for (size_t c = 0; c < w->layer->channels && !w->layer->rms; c++) {
        w->mean[c] = (float)w->sums[c];
    }
    w->kernels->channel_sums(in, index, 0, w->padded, w->mean, w->sums);
    sums_to_means(w, n_pixels, w->sums);
    for (size_t c = 0; c < w->layer->channels; c++) {
        w->inverse[c] = (float)(1.0 / sqrt(w->sums[c] + w->layer->epsilon));
    }
}

static void measure_pixel(const workspace *w, const float *x)
{
    double n = (double)w->layer->channels;
    if (!w->layer->rms) {
        scale(w->padded, w->ones, (float)(moments_of(w->padded, x, w->ones, w->ones).sum / n),
              w->mean);
    }
    standardise(w->padded, x, w->mean, w->ones, w->normalised);
    double square = moments_of(w->padded, w->normalised, w->ones, w->normalised).product / n;
    scale(w->padded, w->ones, (float)(1.0 / sqrt(square + w->layer->epsilon)), w->inverse);
}

/* xh and a of a measured pixel. */
static void differentiate(const workspace *w, const float *x)
{
    standardise(w->padded, x, w->mean, w->inverse, w->normalised);
    affine(w->padded, w->normalised, w->factor, w->term, w->gain);
    w->kernels->slopes(w->layer->activation, w->padded, w->gain, w->gain);
    multiply(w->padded, w->factor, w->gain);
}

/* The sums so far become means, kept as those of the k-th tangent. */
static void keep_group_means(const workspace *w, size_t n_pixels, size_t k)
{
    float *shift = w->shifts + k * w->padded, *slant = w->slants + k * w->padded;
    sums_to_means(w, n_pixels, w->sums);
    sums_to_means(w, n_pixels, w->products);
    for (size_t c = 0; c < w->layer->channels; c++) {
        shift[c] = w->layer->rms ? 0.0F : (float)w->sums[c];
        slant[c] = (float)w->products[c];
    }
}

static void clear_sums(const workspace *w)
{
    memset(w->sums, 0, w->padded * sizeof *w->sums);
    memset(w->products, 0, w->padded * sizeof *w->products);
}

/* One pixel by itself, with its own means. */
static void project_alone(const workspace *w, const float *values, const float *before,
                          const float *after, float *out)
{
    double n = (double)w->layer->channels;
    const moments sums = moments_of(w->padded, values, before, w->normalised);
    float shift = w->layer->rms ? 0.0F : (float)(sums.sum / n);
    project_pixel(w->padded, values, before, after, w->normalised, shift, (float)(sums.product / n),
                  out);
}

/* ---- tangents ---- */

static void clear_padding(const fm_norm_tangent *job, float *out)
{
    size_t channels = job->layer->channels;
    memset(out + channels, 0, (job->out.pixel_stride - channels) * sizeof *out);
}

static void jvp_layer(const fm_norm_tangent *job, const workspace *w)
{
    for (size_t pixel = 0; pixel < job->in.height * job->in.width; pixel++) {
        const float *x = pixel_at(&job->in, job->in_index, pixel);
        measure_pixel(w, x);
        differentiate(w, x);
        for (size_t i = job->first; i < job->first + job->n; i++) {
            float *out = pixel_at(&job->out, i, pixel);
            project_alone(w, pixel_at(&job->tangent, i, pixel), w->inverse, w->gain, out);
            clear_padding(job, out);
        }
    }
}

static void tangent_means(const fm_norm_tangent *job, const workspace *w, size_t index, size_t k)
{
    size_t n_pixels = job->in.height * job->in.width;
    clear_sums(w);
    for (size_t pixel = 0; pixel < n_pixels; pixel++) {
        standardise(w->padded, pixel_at(&job->in, job->in_index, pixel), w->mean, w->inverse,
                    w->normalised);
        add_sums(w->padded, pixel_at(&job->tangent, index, pixel), w->inverse, w->normalised,
                 w->sums, w->products);
    }
    keep_group_means(w, n_pixels, k);
}

/* Up to TANGENTS_AT_ONCE tangents. */
static void jvp_groups(const fm_norm_tangent *job, const workspace *w, size_t first, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        tangent_means(job, w, first + k, k);
    }
    for (size_t pixel = 0; pixel < job->in.height * job->in.width; pixel++) {
        differentiate(w, pixel_at(&job->in, job->in_index, pixel));
        for (size_t k = 0; k < n; k++) {
            float *out = pixel_at(&job->out, first + k, pixel);
            project_group(w->padded, pixel_at(&job->tangent, first + k, pixel), w->inverse, w->gain,
                          w->normalised, w->shifts + k * w->padded, w->slants + k * w->padded, out);
            clear_padding(job, out);
        }
    }
}

void fm_norm_jvp(const fm_norm_tangent *job, void *scratch)
{
    const workspace w = workspace_of(job->layer, scratch);
    if (job->layer->groups == 0) {
        jvp_layer(job, &w);
        return;
    }
    measure_groups(&w, &job->in, job->in_index);
    for (size_t at = 0; at < job->n; at += TANGENTS_AT_ONCE) {
        size_t left = job->n - at;
        jvp_groups(job, &w, job->first + at, left < TANGENTS_AT_ONCE ? left : TANGENTS_AT_ONCE);
    }
}

/* ---- cotangents ---- */

static void vjp_layer(const fm_norm_cotangent *job, const workspace *w)
{
    for (size_t pixel = 0; pixel < job->in.height * job->in.width; pixel++) {
        const float *x = pixel_at(&job->in, job->in_index, pixel);
        measure_pixel(w, x);
        differentiate(w, x);
        project_alone(w, pixel_at(&job->out, job->out_index, pixel), w->gain, w->inverse,
                      w->pulled);
        add(w->layer->channels, w->pulled, pixel_at(&job->gradient, job->out_index, pixel));
    }
}

/* Slopes are computed twice: there is no room for an image of them. */
static void vjp_groups(const fm_norm_cotangent *job, const workspace *w)
{
    size_t n_pixels = job->in.height * job->in.width;
    measure_groups(w, &job->in, job->in_index);
    clear_sums(w);
    for (size_t pixel = 0; pixel < n_pixels; pixel++) {
        differentiate(w, pixel_at(&job->in, job->in_index, pixel));
        add_sums(w->padded, pixel_at(&job->out, job->out_index, pixel), w->gain, w->normalised,
                 w->sums, w->products);
    }
    keep_group_means(w, n_pixels, 0);
    for (size_t pixel = 0; pixel < n_pixels; pixel++) {
        differentiate(w, pixel_at(&job->in, job->in_index, pixel));
        project_group(w->padded, pixel_at(&job->out, job->out_index, pixel), w->gain, w->inverse,
                      w->normalised, w->shifts, w->slants, w->pulled);
        add(w->layer->channels, w->pulled, pixel_at(&job->gradient, job->out_index, pixel));
    }
}

void fm_norm_vjp(const fm_norm_cotangent *job, void *scratch)
{
    const workspace w = workspace_of(job->layer, scratch);
    if (job->layer->groups == 0) {
        vjp_layer(job, &w);
        return;
    }
    vjp_groups(job, &w);
}
