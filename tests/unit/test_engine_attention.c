/* Attention against a naive softmax in float64, and its promise on bits, with the kernels of every
 * instruction set. */
#include "engine/math/attention.h"
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "tests/support/image_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static const char *const instruction_sets[] = {"generic", "avx2", "avx512"};
#define N_SETS 3

typedef struct attention_case {
    size_t heads, head_channels, height, width, images;
    bool heads_first;
} attention_case;

static const attention_case cases[] = {
    {1, 8, 1, 1, 3, false},  {4, 24, 1, 1, 2, true},   {2, 32, 5, 1, 3, false},
    {3, 72, 1, 5, 2, true},  {4, 8, 7, 7, 3, true},    {3, 24, 7, 7, 2, false},
    {2, 72, 7, 7, 2, false}, {4, 32, 10, 10, 2, true}, {1, 72, 10, 10, 2, false},
    {3, 8, 4, 25, 3, true},  {2, 24, 28, 28, 1, true}, {1, 72, 28, 28, 1, false},
};
#define N_CASES ((int)(sizeof cases / sizeof cases[0]))

typedef struct fixture {
    fm_attention_shape shape;
    image_case in, out;
    unsigned char *packed, *scratch;
    size_t packed_bytes, scratch_bytes;
} fixture;

#define GUARD_BYTES ((size_t)64)

static void fixture_open(fixture *ret, const attention_case *it)
{
    *ret = (fixture){.shape = {.tokens = it->height * it->width,
                               .heads = it->heads,
                               .head_channels = it->head_channels,
                               .heads_first = it->heads_first}};
    size_t channels = it->heads * it->head_channels;
    image_case_open(&ret->in, it->images, it->height, it->width, 3 * channels, 0);
    image_case_fill(&ret->in, 11);
    image_case_open(&ret->out, it->images, it->height, it->width, channels, (it->heads + 1) % 2);
    ret->packed_bytes = fm_attention_packed_bytes(&ret->shape, it->images);
    ret->scratch_bytes = fm_attention_piece_bytes(&ret->shape);
    ret->packed = fm_alloc(ret->packed_bytes + GUARD_BYTES);
    ret->scratch = fm_alloc(ret->scratch_bytes + GUARD_BYTES);
    ck_assert(ret->packed != NULL && ret->scratch != NULL);
}

static void fixture_close(fixture *f)
{
    image_case_close(&f->in);
    image_case_close(&f->out);
    fm_free(f->packed);
    fm_free(f->scratch);
}

/* Where the part (q, k, v: 0, 1, 2) of a head begins in a token of in. */
static float *part_of(const fixture *f, size_t image, size_t token, size_t head, size_t part)
{
    size_t d = f->shape.head_channels, width = f->in.image.width;
    float *x = fm_image_at(&f->in.image, image, token / width, token % width);
    return x + (f->shape.heads_first ? head * 3 + part : part * f->shape.heads + head) * d;
}

static float *output_of(const fixture *f, size_t image, size_t token, size_t head)
{
    size_t width = f->out.image.width;
    return fm_image_at(&f->out.image, image, token / width, token % width) +
           head * f->shape.head_channels;
}

/* The i-th of n in an order: ascending, descending, or all even ones before the odd ones. */
static size_t in_order(int order, size_t i, size_t n)
{
    size_t evens = (n + 1) / 2;
    return order == 0 ? i : order == 1 ? n - 1 - i : i < evens ? 2 * i : 2 * (i - evens) + 1;
}

static void guard_check(const unsigned char *memory)
{
    unsigned char untouched[GUARD_BYTES];
    memset(untouched, 0xff, sizeof untouched);
    ck_assert_mem_eq(memory, untouched, sizeof untouched);
}

/* Runs images [first, first + n) into f->out, all memory full of NaNs before. */
static void images_run(fixture *f, const fm_kernels *kernels, size_t first, size_t n, int order)
{
    fm_attention_call call = {.shape = f->shape,
                              .n_images = n,
                              .in = f->in.image,
                              .out = f->out.image,
                              .packed = f->packed,
                              .kernels = kernels};
    call.in.data += first * call.in.image_stride;
    call.out.data += first * call.out.image_stride;
    image_case_reset(&f->out);
    memset(f->packed, 0xff, f->packed_bytes + GUARD_BYTES);
    size_t n_packs = fm_attention_pack_count(&call), n_pieces = fm_attention_piece_count(&call);
    for (size_t i = 0; i < n_packs; i++) {
        fm_attention_pack(&call, in_order(order, i, n_packs));
    }
    for (size_t i = 0; i < n_pieces; i++) {
        memset(f->scratch, 0xff, f->scratch_bytes + GUARD_BYTES);
        fm_attention_run(&call, in_order(order, i, n_pieces), f->scratch);
        guard_check(f->scratch + f->scratch_bytes);
    }
    guard_check(f->packed + f->packed_bytes);
    ck_assert(image_case_is_intact(&f->out));
}

/* ---- against float64 ---- */

typedef struct naive_head {
    double weights[784]; /* of the tokens */
    double score_error;  /* what the scores may be off by in float32 */
} naive_head;

static void naive_weights(const fixture *f, size_t image, size_t token, size_t head,
                          naive_head *ret)
{
    size_t d = f->shape.head_channels, n = f->shape.tokens;
    const float *q = part_of(f, image, token, head, 0);
    double scale = 1.0 / sqrt((double)d), most = -INFINITY, sum = 0, largest = 0;
    for (size_t j = 0; j < n; j++) {
        const float *k = part_of(f, image, j, head, 1);
        double score = 0, size = 0;
        for (size_t c = 0; c < d; c++) {
            score += (double)q[c] * (double)k[c];
            size += fabs((double)q[c] * (double)k[c]);
        }
        ret->weights[j] = score * scale;
        most = fmax(most, score * scale);
        largest = fmax(largest, size * scale);
    }
    for (size_t j = 0; j < n; j++) {
        ret->weights[j] = exp(ret->weights[j] - most);
        sum += ret->weights[j];
    }
    for (size_t j = 0; j < n; j++) {
        ret->weights[j] /= sum;
    }
    ret->score_error = 6e-8 * (2 + 0.5 * sqrt((double)d)) * largest;
}

/* A score that is off by e changes its weight by a factor of 1 +- e, and the sum by one of at most that. */
static void query_check(const fixture *f, size_t image, size_t token, size_t head)
{
    static naive_head naive;
    naive_weights(f, image, token, head, &naive);
    const float *got = output_of(f, image, token, head);
    double rounding = 5e-7 + expm1(naive.score_error);
    for (size_t c = 0; c < f->shape.head_channels; c++) {
        double want = 0, size = 0;
        for (size_t j = 0; j < f->shape.tokens; j++) {
            double term = naive.weights[j] * (double)part_of(f, image, j, head, 2)[c];
            want += term;
            size += fabs(term);
        }
        if (!(fabs((double)got[c] - want) <= rounding * size)) { /* NaN too */
            ck_abort_msg("image %zu token %zu head %zu channel %zu: %.9g, want %.9g +- %.2g", image,
                         token, head, c, (double)got[c], want, rounding * size);
        }
    }
}

/* All queries of short images, about fifty of long ones. */
static void queries_check(const fixture *f)
{
    size_t step = f->shape.tokens <= 100 ? 1 : 17;
    for (size_t image = 0; image < f->in.n_images; image++) {
        for (size_t head = 0; head < f->shape.heads; head++) {
            for (size_t token = 0; token < f->shape.tokens; token += step) {
                query_check(f, image, token, head);
            }
        }
    }
}

START_TEST(attention_agrees_with_a_naive_softmax)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        if (kernels != NULL) {
            images_run(&f, kernels, 0, f.in.n_images, 0);
            queries_check(&f);
        }
    }
    fixture_close(&f);
}
END_TEST

/* Queries and keys of one direction with scores up to 10^4, some of them far below the largest; values 3. */
static void extremes_fill(const fixture *f)
{
    float scale = powf((float)f->shape.head_channels, -0.25F) * 100.0F;
    for (size_t i = 0; i < f->in.n_images * f->shape.heads * f->shape.tokens; i++) {
        size_t head = i % f->shape.heads, token = i / f->shape.heads % f->shape.tokens;
        size_t image = i / f->shape.heads / f->shape.tokens;
        for (size_t c = 0; c < f->shape.head_channels; c++) {
            float q = c % 2 == 0 ? scale : -scale;
            part_of(f, image, token, head, 0)[c] = q;
            part_of(f, image, token, head, 1)[c] = q * image_case_noise(31, token);
            part_of(f, image, token, head, 2)[c] = 3.0F;
        }
    }
}

/* Weights sum to 1 whatever the scores are. */
static void extremes_check(const fixture *f)
{
    for (size_t i = 0; i < f->shape.tokens * f->shape.head_channels; i++) {
        size_t token = i / f->shape.head_channels, channel = i % f->shape.head_channels;
        double got = (double)output_of(f, 0, token, 0)[channel];
        if (!(fabs(got - 3) <= 3e-6)) { /* NaN too */
            ck_abort_msg("token %zu: %.9g, want 3", token, got);
        }
    }
}

START_TEST(scores_of_ten_thousand_neither_overflow_nor_lose_the_sum_of_the_weights)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    extremes_fill(&f);
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        if (kernels != NULL) {
            images_run(&f, kernels, 0, f.in.n_images, 0);
            extremes_check(&f);
            queries_check(&f);
        }
    }
    fixture_close(&f);
}
END_TEST

/* ---- bits ---- */

START_TEST(bits_of_an_image_depend_neither_on_its_company_nor_on_the_order_of_pieces)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    image_case want;
    const fm_image *out = &f.out.image;
    image_case_open(&want, f.in.n_images, out->height, out->width, out->channels, 0);
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        if (kernels == NULL) {
            continue;
        }
        for (size_t i = 0; i < f.in.n_images; i++) {
            images_run(&f, kernels, i, 1, 0);
            image_case_copy(&want, i, &f.out, i);
        }
        for (int order = 0; order < 3; order++) {
            images_run(&f, kernels, 0, f.in.n_images, order);
            for (size_t i = 0; i < f.in.n_images; i++) {
                ck_assert_msg(image_case_agree(&f.out, i, &want, i), "%s: image %zu, order %d",
                              kernels->name, i, order);
            }
        }
    }
    image_case_close(&want);
    fixture_close(&f);
}
END_TEST

/* Whether an output must be NaN when the sick image's last token and head has a NaN in its part: a query's
 * own, a key's head, a value's channel. */
static bool must_be_nan(const fixture *f, size_t part, size_t token, size_t head, size_t channel)
{
    bool same_head = head == f->shape.heads - 1;
    if (part == 0) {
        return same_head && token == f->shape.tokens - 1;
    }
    return same_head && (part == 1 || channel == 0);
}

/* Compares f->out with what healthy images gave, but for the sick one's. */
static void sick_check(const fixture *f, const image_case *healthy, size_t sick, size_t part)
{
    for (size_t i = 0; i < f->in.n_images; i++) {
        ck_assert(i == sick || image_case_agree(&f->out, i, healthy, i));
    }
    for (size_t i = 0; i < f->shape.tokens * f->out.image.channels; i++) {
        size_t token = i / f->out.image.channels, at = i % f->out.image.channels;
        size_t head = at / f->shape.head_channels, channel = at % f->shape.head_channels;
        bool is = isnan(output_of(f, sick, token, head)[channel]);
        if (is != must_be_nan(f, part, token, head, channel)) {
            ck_abort_msg("part %zu: token %zu head %zu channel %zu", part, token, head, channel);
        }
    }
}

START_TEST(a_nan_reaches_what_attends_to_it_and_nothing_else)
{
    fixture f;
    fixture_open(&f, &cases[_i]);
    image_case healthy;
    const fm_image *out = &f.out.image;
    size_t n = f.in.n_images, sick = n / 2;
    image_case_open(&healthy, n, out->height, out->width, out->channels, 0);
    for (size_t set = 0; set < N_SETS; set++) {
        const fm_kernels *kernels = fm_kernels_find(instruction_sets[set]);
        for (size_t part = 0; kernels != NULL && part < 3; part++) {
            images_run(&f, kernels, 0, n, 0);
            for (size_t i = 0; i < n; i++) {
                image_case_copy(&healthy, i, &f.out, i);
            }
            float *x = part_of(&f, sick, f.shape.tokens - 1, f.shape.heads - 1, part);
            float kept = *x;
            *x = NAN;
            images_run(&f, kernels, 0, n, 1);
            *x = kept;
            sick_check(&f, &healthy, sick, part);
        }
    }
    image_case_close(&healthy);
    fixture_close(&f);
}
END_TEST

Suite *suite_engine_attention(void)
{
    Suite *suite = suite_create("engine/attention");
    TCase *tcase = tcase_create("attention");
    tcase_set_tags(tcase, "one_thread");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, attention_agrees_with_a_naive_softmax, 0, N_CASES);
    tcase_add_loop_test(
        tcase, scores_of_ten_thousand_neither_overflow_nor_lose_the_sum_of_the_weights, 0, N_CASES);
    tcase_add_loop_test(tcase,
                        bits_of_an_image_depend_neither_on_its_company_nor_on_the_order_of_pieces,
                        0, N_CASES);
    tcase_add_loop_test(tcase, a_nan_reaches_what_attends_to_it_and_nothing_else, 0, N_CASES);
    suite_add_tcase(suite, tcase);
    return suite;
}
