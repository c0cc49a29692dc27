/* Derivatives of attention against naive ones in float64, against central differences of a naive forward
 * in float64 and against each other, with the kernels of every instruction set. */
#include "engine/math/attention_derivative.h"
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "tests/support/image_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static const char *const instruction_sets[] = {"generic", "avx2", "avx512"};
#define N_SETS      3
#define GUARD_BYTES ((size_t)64)

enum { QUERY, KEY, VALUE, N_PARTS };

typedef struct attention_case {
    size_t heads, head_channels, height, width, images;
    bool heads_first;
} attention_case;

static const attention_case cases[] = {
    {1, 8, 1, 1, 3, false},    {4, 24, 1, 1, 2, true},   {2, 32, 5, 1, 3, false},
    {3, 72, 1, 5, 2, true},    {4, 8, 7, 7, 3, true},    {3, 24, 7, 7, 2, false},
    {2, 72, 7, 7, 2, false},   {4, 32, 10, 10, 2, true}, {1, 72, 10, 10, 2, false},
    {2, 16, 8, 16, 3, false},  {3, 8, 4, 25, 3, true},   {2, 24, 28, 28, 1, true},
    {1, 72, 28, 28, 1, false},
};
#define N_CASES ((int)(sizeof cases / sizeof cases[0]))

/* x: the input, at which the derivatives are taken. Forward, `out` is the tangent of the output along
 * `tangent`; reverse, `gradient` is J^T cotangent beside what `before` holds. */
typedef struct fixture {
    fm_attention_shape shape;
    size_t n_images;
    image_case x, tangent, out, cotangent, before, gradient;
    unsigned char *scratch;
    size_t scratch_bytes; /* of the larger direction */
} fixture;

static void fixture_open(fixture *ret, const attention_case *it)
{
    *ret = (fixture){.n_images = it->images,
                     .shape = {.tokens = it->height * it->width,
                               .heads = it->heads,
                               .head_channels = it->head_channels,
                               .heads_first = it->heads_first}};
    size_t channels = it->heads * it->head_channels, border = (it->heads + 1) % 2;
    image_case *inputs[] = {&ret->x, &ret->tangent, &ret->before, &ret->gradient};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        image_case_open(inputs[i], it->images, it->height, it->width, N_PARTS * channels, 0);
        image_case_fill(inputs[i], i < 3 ? 41 + i : 43);
    }
    image_case_open(&ret->out, it->images, it->height, it->width, channels, border);
    image_case_open(&ret->cotangent, it->images, it->height, it->width, channels, border);
    image_case_fill(&ret->cotangent, 47);
    size_t forward = fm_attention_jvp_bytes(&ret->shape);
    size_t reverse = fm_attention_vjp_bytes(&ret->shape);
    ret->scratch_bytes = forward > reverse ? forward : reverse;
    ret->scratch = fm_alloc(ret->scratch_bytes + GUARD_BYTES);
    ck_assert_ptr_nonnull(ret->scratch);
}

static void fixture_close(fixture *f)
{
    image_case *all[] = {&f->x, &f->tangent, &f->out, &f->cotangent, &f->before, &f->gradient};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        image_case_close(all[i]);
    }
    fm_free(f->scratch);
}

static size_t part_channel(const fixture *f, size_t head, size_t part)
{
    size_t position = f->shape.heads_first ? head * N_PARTS + part : part * f->shape.heads + head;
    return position * f->shape.head_channels;
}

/* Where a channel of a token lies. */
static float *at(const image_case *it, size_t image, size_t token, size_t channel)
{
    size_t width = it->image.width;
    return fm_image_at(&it->image, image, token / width, token % width) + channel;
}

/* Multiplies the queries by a factor, so that the weights become less even. */
static void queries_sharpen(const fixture *f, float factor)
{
    size_t d = f->shape.head_channels, tokens = f->n_images * f->shape.tokens;
    for (size_t i = 0; i < tokens * f->shape.heads * d; i++) {
        size_t token = i / d / f->shape.heads, head = i / d % f->shape.heads;
        *at(&f->x, token / f->shape.tokens, token % f->shape.tokens,
            part_channel(f, head, QUERY) + i % d) *= factor;
    }
}

/* ---- runs ---- */

static void guard_check(const unsigned char *memory)
{
    unsigned char untouched[GUARD_BYTES];
    memset(untouched, 0xff, sizeof untouched);
    ck_assert_mem_eq(memory, untouched, sizeof untouched);
}

/* Both derivatives of a head at the input's image `in`, with the image `index` of all others; the scratch is
 * full of NaNs before. */
static void both_run(fixture *f, const fm_kernels *kernels, size_t head, size_t in, size_t index)
{
    const fm_attention_tangent forward = {.shape = f->shape,
                                          .in = f->x.image,
                                          .in_index = in,
                                          .tangent = f->tangent.image,
                                          .tangent_index = index,
                                          .out = f->out.image,
                                          .out_index = index,
                                          .kernels = kernels};
    const fm_attention_cotangent reverse = {.shape = f->shape,
                                            .in = f->x.image,
                                            .in_index = in,
                                            .out = f->cotangent.image,
                                            .out_index = index,
                                            .gradient = f->gradient.image,
                                            .gradient_index = index,
                                            .kernels = kernels};
    memset(f->scratch, 0xff, f->scratch_bytes + GUARD_BYTES);
    fm_attention_jvp(&forward, head, f->scratch);
    guard_check(f->scratch + fm_attention_jvp_bytes(&f->shape));
    image_case_copy(&f->gradient, index, &f->before, index);
    memset(f->scratch, 0xff, f->scratch_bytes + GUARD_BYTES);
    fm_attention_vjp(&reverse, head, f->scratch);
    guard_check(f->scratch + fm_attention_vjp_bytes(&f->shape));
}

/* ---- naive, in float64 ---- */

#define MOST_TOKENS  784
#define MOST_OUTPUTS (MOST_TOKENS * 72)
#define MOST_INPUTS  (N_PARTS * MOST_OUTPUTS)

/* One head of one image: its input x + step dx and its gradient [part][token][channel], its output's
 * cotangent w and tangent [token][channel]. got_ is what was computed in float32; beside every derivative
 * stands its size, the sum of its terms without their signs. */
typedef struct naive_head {
    size_t n, d, outputs, inputs; /* n d, 3 n d */
    double x[MOST_INPUTS], dx[MOST_INPUTS], before[MOST_INPUTS];
    double gradient[MOST_INPUTS], gradient_size[MOST_INPUTS], got_gradient[MOST_INPUTS];
    double w[MOST_OUTPUTS], difference[MOST_OUTPUTS], along; /* central differences */
    double tangent[MOST_OUTPUTS], tangent_size[MOST_OUTPUTS], got_tangent[MOST_OUTPUTS];
    double p[MOST_TOKENS], dp[MOST_TOKENS], dp_size[MOST_TOKENS]; /* of one query */
    double score_error; /* what scores may be off by in float32 */
} naive_head;

static void naive_open(naive_head *ret, const fixture *f, size_t head, size_t in, size_t image)
{
    size_t n = f->shape.tokens, d = f->shape.head_channels;
    memset(ret, 0, sizeof *ret);
    ret->n = n, ret->d = d, ret->outputs = n * d, ret->inputs = N_PARTS * n * d;
    for (size_t i = 0; i < ret->inputs; i++) {
        size_t token = i / d % n, channel = part_channel(f, head, i / d / n) + i % d;
        ret->x[i] = (double)*at(&f->x, in, token, channel);
        ret->dx[i] = (double)*at(&f->tangent, image, token, channel);
        ret->before[i] = (double)*at(&f->before, image, token, channel);
        ret->gradient_size[i] = fabs(ret->before[i]); /* a term of it */
    }
    for (size_t i = 0; i < ret->outputs; i++) {
        ret->w[i] = (double)*at(&f->cotangent, image, i / d, head * d + i % d);
    }
}

static void results_read(naive_head *h, const fixture *f, size_t image, size_t head)
{
    for (size_t i = 0; i < h->inputs; i++) {
        size_t channel = part_channel(f, head, i / h->d / h->n) + i % h->d;
        h->got_gradient[i] =
            (double)*at(&f->gradient, image, i / h->d % h->n, channel) - h->before[i];
    }
    for (size_t i = 0; i < h->outputs; i++) {
        h->got_tangent[i] = (double)*at(&f->out, image, i / h->d, head * h->d + i % h->d);
    }
}

static size_t index_of(const naive_head *h, size_t part, size_t token, size_t channel)
{
    return (part * h->n + token) * h->d + channel;
}

static double moved(const naive_head *h, double step, size_t i)
{
    return h->x[i] + step * h->dx[i];
}

static void naive_weights(naive_head *h, double step, size_t token)
{
    double scale = 1.0 / sqrt((double)h->d), most = -INFINITY, sum = 0, largest = 0;
    for (size_t j = 0; j < h->n; j++) {
        double score = 0, size = 0;
        for (size_t c = 0; c < h->d; c++) {
            double term = moved(h, step, index_of(h, QUERY, token, c)) *
                          moved(h, step, index_of(h, KEY, j, c)) * scale;
            score += term;
            size += fabs(term);
        }
        h->p[j] = score;
        most = fmax(most, score);
        largest = fmax(largest, size);
    }
    for (size_t j = 0; j < h->n; j++) {
        h->p[j] = exp(h->p[j] - most);
        sum += h->p[j];
    }
    for (size_t j = 0; j < h->n; j++) {
        h->p[j] /= sum;
    }
    h->score_error = fmax(h->score_error, 6e-8 * (2 + 0.5 * sqrt((double)h->d)) * largest);
}

static void naive_forward(naive_head *h, double step, double *out)
{
    for (size_t i = 0; i < h->n; i++) {
        naive_weights(h, step, i);
        for (size_t c = 0; c < h->d; c++) {
            double sum = 0;
            for (size_t j = 0; j < h->n; j++) {
                sum += h->p[j] * moved(h, step, index_of(h, VALUE, j, c));
            }
            out[i * h->d + c] = sum;
        }
    }
}

/* dp = p (dp - sum of p dp), and the sizes of that. */
static void naive_softmax(naive_head *h)
{
    double sum = 0, size = 0;
    for (size_t j = 0; j < h->n; j++) {
        sum += h->p[j] * h->dp[j];
        size += h->p[j] * h->dp_size[j];
    }
    for (size_t j = 0; j < h->n; j++) {
        h->dp[j] = h->p[j] * (h->dp[j] - sum);
        h->dp_size[j] = h->p[j] * (h->dp_size[j] + size);
    }
}

static void naive_jvp_query(naive_head *h, size_t i)
{
    double scale = 1.0 / sqrt((double)h->d);
    memset(h->dp, 0, h->n * sizeof *h->dp);
    memset(h->dp_size, 0, h->n * sizeof *h->dp_size);
    for (size_t a = 0; a < h->n * h->d; a++) {
        size_t j = a / h->d, q = index_of(h, QUERY, i, a % h->d), k = index_of(h, KEY, 0, a);
        h->dp[j] += scale * (h->dx[q] * h->x[k] + h->x[q] * h->dx[k]);
        h->dp_size[j] += scale * (fabs(h->dx[q] * h->x[k]) + fabs(h->x[q] * h->dx[k]));
    }
    naive_softmax(h);
    for (size_t a = 0; a < h->n * h->d; a++) {
        size_t j = a / h->d, v = index_of(h, VALUE, 0, a), out = i * h->d + a % h->d;
        h->tangent[out] += h->dp[j] * h->x[v] + h->p[j] * h->dx[v];
        h->tangent_size[out] += h->dp_size[j] * fabs(h->x[v]) + h->p[j] * fabs(h->dx[v]);
    }
}

static void term_add(naive_head *h, size_t i, double weight, double size, double factor)
{
    h->gradient[i] += weight * factor;
    h->gradient_size[i] += size * fabs(factor);
}

static void naive_vjp_query(naive_head *h, size_t i)
{
    double scale = 1.0 / sqrt((double)h->d);
    memset(h->dp, 0, h->n * sizeof *h->dp);
    memset(h->dp_size, 0, h->n * sizeof *h->dp_size);
    for (size_t a = 0; a < h->n * h->d; a++) {
        double w = h->w[i * h->d + a % h->d], v = h->x[index_of(h, VALUE, 0, a)];
        h->dp[a / h->d] += w * v;
        h->dp_size[a / h->d] += fabs(w * v);
        term_add(h, index_of(h, VALUE, 0, a), h->p[a / h->d], h->p[a / h->d], w);
    }
    naive_softmax(h);
    for (size_t a = 0; a < h->n * h->d; a++) {
        size_t j = a / h->d, q = index_of(h, QUERY, i, a % h->d), k = index_of(h, KEY, 0, a);
        term_add(h, q, h->dp[j] * scale, h->dp_size[j] * scale, h->x[k]);
        term_add(h, k, h->dp[j] * scale, h->dp_size[j] * scale, h->x[q]);
    }
}

/* d out / d step at 0, by the central difference, and its product with w. */
#define STEP 1e-5
static void naive_difference(naive_head *h)
{
    static double ahead[MOST_OUTPUTS], behind[MOST_OUTPUTS];
    naive_forward(h, STEP, ahead);
    naive_forward(h, -STEP, behind);
    h->along = 0;
    for (size_t i = 0; i < h->outputs; i++) {
        h->difference[i] = (ahead[i] - behind[i]) / (2 * STEP);
        h->along += h->w[i] * h->difference[i];
    }
}

static void naive_run(naive_head *h, bool differences)
{
    for (size_t i = 0; i < h->n; i++) {
        naive_weights(h, 0, i);
        naive_jvp_query(h, i);
        naive_vjp_query(h, i);
    }
    if (differences) {
        naive_difference(h);
    }
}

/* ---- against float64 ---- */

/* A score that is off by e changes its weight by a factor of 1 +- e. */
static double rounding_of(const naive_head *h)
{
    return 3e-7 + expm1(h->score_error);
}

static void near_check(const char *what, size_t i, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound)) { /* NaN too */
        ck_abort_msg("%s %zu: %.9g, want %.9g +- %.2g", what, i, got, want, bound);
    }
}

static void naive_check(const naive_head *h)
{
    for (size_t i = 0; i < h->outputs; i++) {
        double bound = rounding_of(h) * h->tangent_size[i];
        near_check("tangent", i, h->got_tangent[i], h->tangent[i], bound);
    }
    for (size_t i = 0; i < h->inputs; i++) {
        double bound = rounding_of(h) * h->gradient_size[i];
        near_check("gradient", i, h->got_gradient[i], h->gradient[i], bound);
    }
}

/* <w, J dx> = <J^T w, dx> = the derivative of <w, out> along dx. */
static void differences_check(const naive_head *h)
{
    double size = 0, forward = 0, reverse = 0;
    for (size_t i = 0; i < h->outputs; i++) {
        double bound = (rounding_of(h) + 1e-8) * h->tangent_size[i];
        near_check("difference", i, h->got_tangent[i], h->difference[i], bound);
        forward += h->w[i] * h->got_tangent[i];
        size += fabs(h->w[i]) * h->tangent_size[i];
    }
    for (size_t i = 0; i < h->inputs; i++) {
        reverse += h->dx[i] * h->got_gradient[i];
        size += fabs(h->dx[i]) * h->gradient_size[i];
    }
    near_check("<J^T w, dx>", 0, reverse, h->along, 1e-8 * size);
    near_check("<w, J dx> - <J^T w, dx>", 0, forward - reverse, 0, 1e-8 * size);
}

/* Some entries of the gradient of a short head, each by a difference of its own. */
static void entries_check(naive_head *h)
{
    size_t step = h->n <= 5 ? 1 : 71;
    memset(h->dx, 0, h->inputs * sizeof *h->dx);
    for (size_t i = 0; h->n < 50 && i < h->inputs; i += step) {
        h->dx[i] = 1;
        naive_difference(h);
        double bound = (rounding_of(h) + 1e-8) * h->gradient_size[i];
        near_check("entry", i, h->got_gradient[i], h->along, bound);
        h->dx[i] = 0;
    }
}

/* The input and what else takes part have different places in their images. */
static void head_check(fixture *f, size_t image, size_t head, bool differences)
{
    static naive_head naive;
    size_t in = (image + 1) % f->n_images;
    naive_open(&naive, f, head, in, image);
    naive_run(&naive, differences);
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        if (kernels == NULL) {
            continue;
        }
        both_run(f, kernels, head, in, image);
        results_read(&naive, f, image, head);
        naive_check(&naive);
        if (differences) {
            differences_check(&naive);
        }
    }
    if (differences) {
        entries_check(&naive); /* of the fastest */
    }
}

static void case_check(const attention_case *it, float sharpness, bool differences)
{
    fixture f;
    fixture_open(&f, it);
    queries_sharpen(&f, sharpness);
    for (size_t i = 0; i < f.n_images * f.shape.heads; i++) {
        head_check(&f, i / f.shape.heads, i % f.shape.heads, differences);
    }
    fixture_close(&f);
}

START_TEST(both_derivatives_agree_with_naive_ones_and_with_differences)
{
    case_check(&cases[_i], 4, true);
}
END_TEST

START_TEST(scores_of_ten_thousand_give_the_derivatives_of_a_hard_choice)
{
    case_check(&cases[_i], 1e4F, false);
}
END_TEST

/* ---- bits ---- */

START_TEST(bits_depend_neither_on_the_place_of_an_image_nor_on_its_company)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    size_t last = f.n_images - 1, head = f.shape.heads - 1;
    image_case *inputs[] = {&f.x, &f.tangent, &f.cotangent, &f.before};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        image_case_copy(inputs[i], last, inputs[i], 0);
    }
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        if (kernels != NULL) {
            both_run(&f, kernels, head, 0, 0);
            both_run(&f, kernels, head, last, last);
            ck_assert(image_case_agree(&f.out, last, &f.out, 0));
            ck_assert(image_case_agree(&f.gradient, last, &f.gradient, 0));
        }
    }
    fixture_close(&f);
}
END_TEST

/* b has the bytes of a, but for a head's channels of image 0, which begin at `firsts`. */
static void others_check(const fixture *f, const image_case *a, const image_case *b,
                         const size_t *firsts, size_t n_firsts)
{
    size_t stride = a->image.pixel_stride, tokens = f->shape.tokens;
    for (size_t i = 0; i < f->n_images * tokens * stride; i++) {
        size_t image = i / stride / tokens, token = i / stride % tokens, channel = i % stride;
        bool own = false;
        for (size_t part = 0; image == 0 && part < n_firsts; part++) {
            own = own || channel - firsts[part] < f->shape.head_channels;
        }
        const float *was = at(a, image, token, channel), *is = at(b, image, token, channel);
        if (!own && memcmp(was, is, sizeof *is) != 0) {
            ck_abort_msg("image %zu token %zu channel %zu changed", image, token, channel);
        }
    }
}

START_TEST(a_head_writes_its_own_channels_alone)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    image_case untouched;
    const fm_image *out = &f.out.image;
    image_case_open(&untouched, f.n_images, out->height, out->width, out->channels, f.out.border);
    size_t head = f.shape.heads - 1, first = head * f.shape.head_channels;
    const size_t firsts[] = {part_channel(&f, head, QUERY), part_channel(&f, head, KEY),
                             part_channel(&f, head, VALUE)};
    both_run(&f, NULL, head, 0, 0);
    ck_assert(image_case_is_intact(&f.out));
    others_check(&f, &untouched, &f.out, &first, 1);
    others_check(&f, &f.before, &f.gradient, firsts, N_PARTS);
    image_case_close(&untouched);
    fixture_close(&f);
}
END_TEST

Suite *suite_engine_attention_derivative(void)
{
    Suite *suite = suite_create("engine/attention_derivative");
    TCase *tcase = tcase_create("attention_derivative");
    tcase_set_tags(tcase, "one_thread");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, both_derivatives_agree_with_naive_ones_and_with_differences, 0,
                        N_CASES);
    tcase_add_loop_test(tcase, scores_of_ten_thousand_give_the_derivatives_of_a_hard_choice, 0,
                        N_CASES);
    tcase_add_loop_test(tcase, bits_depend_neither_on_the_place_of_an_image_nor_on_its_company, 0,
                        N_CASES);
    tcase_add_loop_test(tcase, a_head_writes_its_own_channels_alone, 0, N_CASES);
    suite_add_tcase(suite, tcase);
    return suite;
}
