/* Convolutions against naive loops in float64, and their promise on bits, on every route that takes the
 * shape and with the kernels of every instruction set. */
#include "engine/math/conv.h"
#include "engine/memory.h"
#include "tests/support/conv_case.h"
#include "tests/support/failing_memory.h"
#include "tests/support/image_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define NONE FM_ACTIVATION_NONE
#define SILU FM_ACTIVATION_SILU
#define TANH FM_ACTIVATION_TANH
#define RELU FM_ACTIVATION_RELU
static const conv_shape cases[] = {
    {3, 1, 1, 1, 3, 1, 2, BIAS, NONE},
    {3, 1, 2, 3, 16, 3, 3, BIAS | ROW_BIAS, SILU},
    {3, 1, 3, 2, 20, 33, 2, RESIDUAL, NONE},
    {3, 1, 4, 4, 64, 64, 5, BIAS | RESIDUAL | IN_PLACE, RELU},
    {3, 1, 5, 7, 130, 33, 2, BIAS | ROW_BIAS | RESIDUAL, NONE},
    {3, 1, 6, 6, 1, 64, 3, 0, TANH},
    {3, 1, 7, 5, 64, 33, 4, BIAS | GATE | RESIDUAL, NONE},
    {3, 1, 8, 8, 20, 64, 2, BIAS | ROW_BIAS | RESIDUAL | IN_PLACE, SILU},
    {3, 1, 9, 9, 16, 33, 3, BIAS, NONE},
    {3, 1, 9, 1, 64, 130, 1, BIAS, SILU},
    {3, 1, 14, 14, 64, 33, 2, BIAS | ROW_BIAS, NONE},
    {3, 1, 28, 28, 3, 33, 2, BIAS, NONE},
    {3, 1, 28, 27, 20, 33, 1, RESIDUAL, SILU},
    {3, 1, 32, 32, 16, 3, 1, BIAS, NONE},
    {3, 1, 32, 32, 1, 64, 1, ROW_BIAS, NONE},
    {3, 2, 1, 1, 16, 33, 3, BIAS, NONE},
    {3, 2, 2, 2, 3, 3, 2, BIAS | GATE, SILU},
    {3, 2, 7, 7, 64, 64, 3, BIAS | ROW_BIAS | GATE | RESIDUAL, SILU},
    {3, 2, 8, 5, 130, 1, 2, BIAS, NONE},
    {3, 2, 9, 9, 20, 33, 5, BIAS | RESIDUAL | IN_PLACE, NONE},
    {3, 2, 14, 13, 64, 64, 1, BIAS, RELU},
    {3, 2, 28, 28, 16, 33, 1, BIAS, NONE},
    {3, 2, 32, 32, 3, 64, 2, BIAS, NONE},
    {1, 1, 1, 1, 130, 64, 5, BIAS, SILU},
    {1, 1, 1, 1, 64, 130, 1, 0, NONE},
    {1, 1, 1, 49, 64, 64, 3, BIAS | GATE | RESIDUAL, NONE},
    {1, 1, 7, 7, 130, 33, 2, BIAS | GATE | RESIDUAL | IN_PLACE, NONE},
    {1, 1, 9, 5, 20, 33, 2, ROW_BIAS, TANH},
    {1, 1, 28, 28, 16, 3, 2, BIAS, NONE},
    {1, 1, 32, 32, 3, 1, 1, 0, NONE},
    {1, 2, 9, 7, 16, 64, 3, BIAS, NONE},
    {1, 2, 32, 32, 20, 33, 1, BIAS | RESIDUAL, SILU},
    {5, 1, 1, 1, 3, 33, 2, BIAS, NONE},
    {5, 1, 2, 2, 16, 1, 4, BIAS, NONE},
    {5, 1, 5, 6, 20, 33, 2, BIAS | ROW_BIAS | GATE | RESIDUAL | IN_PLACE, SILU},
    {5, 1, 14, 14, 16, 3, 2, BIAS, NONE},
    {5, 1, 28, 28, 1, 33, 1, BIAS, NONE},
    {5, 2, 3, 3, 64, 64, 3, BIAS | RESIDUAL, NONE},
    {5, 2, 9, 7, 130, 3, 2, BIAS, SILU},
    {5, 2, 32, 32, 3, 16, 1, BIAS, NONE},
};
#define N_CASES ((int)(sizeof cases / sizeof cases[0]))

/* These with every combination of extras. */
static const conv_shape combined[] = {{3, 1, 5, 7, 20, 33, 2, 0, SILU},
                                      {1, 1, 3, 5, 16, 64, 3, 0, NONE},
                                      {5, 2, 4, 6, 3, 20, 2, 0, RELU}};

/* ---- against float64 ---- */

static double activated(fm_activation activation, double x)
{
    switch ((int)activation) {
    case SILU:
        return x / (1.0 + exp(-x));
    case TANH:
        return tanh(x);
    case RELU:
        return x > 0 ? x : 0;
    default:
        return x;
    }
}

typedef struct output_place {
    size_t image, y, x, channel;
} output_place;

static output_place place_of(const conv_case *f, size_t index)
{
    const fm_image *out = &f->out.image;
    size_t pixel = index / out->channels;
    return (output_place){.image = pixel / (out->height * out->width),
                          .y = pixel / out->width % out->height,
                          .x = pixel % out->width,
                          .channel = index % out->channels};
}

static size_t output_count(const conv_case *f)
{
    const fm_image *out = &f->out.image;
    return f->shape.images * out->height * out->width * out->channels;
}

/* conv(in) of one output, and the size that rounding errors are measured by. */
static double naive_sum(const conv_case *f, output_place at, double *ret_size)
{
    const conv_shape *c = &f->shape;
    size_t taps = c->kernel * c->kernel, border = c->kernel / 2;
    const float *weight = f->weight + at.channel * c->inputs * taps;
    double sum = 0, size = 0;
    for (size_t tap = 0; tap < taps; tap++) {
        size_t y = at.y * c->stride + tap / c->kernel, x = at.x * c->stride + tap % c->kernel;
        if (y < border || x < border || y - border >= c->height || x - border >= c->width) {
            continue;
        }
        const float *in = fm_image_at(&f->in.image, at.image, y - border, x - border);
        for (size_t i = 0; i < c->inputs; i++) {
            double term = (double)in[i] * (double)weight[i * taps + tap];
            sum += term;
            size += fabs(term);
        }
    }
    *ret_size = size;
    return sum;
}

static void naive_fill(conv_case *f)
{
    size_t n = output_count(f);
    f->sums = fm_alloc_array(n, sizeof *f->sums);
    f->sizes = fm_alloc_array(n, sizeof *f->sizes);
    ck_assert(f->sums != NULL && f->sizes != NULL);
    for (size_t i = 0; i < n; i++) {
        f->sums[i] = naive_sum(f, place_of(f, i), &f->sizes[i]);
    }
}

/* The output, and how far off it may be when `rounding` is a sum's error relative to its size. */
static double naive(const conv_case *f, size_t index, double rounding, double *ret_limit)
{
    unsigned extras = f->shape.extras;
    output_place at = place_of(f, index);
    size_t row = at.image * f->row_stride + at.channel;
    double bias = (extras & BIAS) != 0 ? (double)f->bias[at.channel] : 0;
    double row_bias = (extras & ROW_BIAS) != 0 ? (double)f->row_bias[row] : 0;
    double gate = (extras & GATE) != 0 ? (double)f->gate[row] : 1;
    const float *from = fm_image_at(&f->residual.image, at.image, at.y, at.x);
    double residual = (extras & RESIDUAL) != 0 ? (double)from[at.channel] : 0;
    double y = gate * activated(f->shape.activation, f->sums[index] + bias + row_bias);
    double size = f->sizes[index] + fabs(bias) + fabs(row_bias);
    *ret_limit = 1.1 * fabs(gate) * rounding * size + 5e-7 * (fabs(y) + fabs(residual));
    return residual + y;
}

/* What the sum may lose of the sum of its terms' sizes. Chains of multiply-adds lose a random walk of
 * roundings; Winograd's transforms add and subtract numbers up to a hundred times larger. */
static double rounding_of(const conv_case *f, const fm_conv *conv)
{
    double terms = (double)(f->shape.inputs * f->shape.kernel * f->shape.kernel);
    return fm_conv_route_of(conv) == FM_CONV_WINOGRAD ? 2e-5 : 6e-8 * (2 + 0.5 * sqrt(terms));
}

static void outputs_compare(const conv_case *f, const fm_conv *conv)
{
    double rounding = rounding_of(f, conv);
    for (size_t i = 0; i < output_count(f); i++) {
        output_place at = place_of(f, i);
        double limit, want = naive(f, i, rounding, &limit);
        double got = (double)fm_image_at(&f->out.image, at.image, at.y, at.x)[at.channel];
        if (!(fabs(got - want) <= limit)) { /* NaN too */
            ck_abort_msg("%s: image %zu (%zu, %zu) channel %zu: %.9g, want %.9g +- %.2g",
                         conv_case_way(conv), at.image, at.y, at.x, at.channel, got, want, limit);
        }
    }
}

static void check_against_naive(const conv_shape *shape)
{
    conv_case f;
    conv_case_open(&f, shape);
    naive_fill(&f);
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        if (conv != NULL) {
            conv_case_run(&f, conv, 0, shape->images, 1);
            outputs_compare(&f, conv);
            for (size_t i = 0; i < shape->images; i++) {
                ck_assert(image_case_is_padded(&f.out, i));
            }
        }
        fm_conv_free(conv);
    }
    conv_case_close(&f);
}

START_TEST(every_route_agrees_with_a_naive_convolution)
{
    check_against_naive(&cases[_i]);
}
END_TEST

START_TEST(bias_row_bias_activation_gate_and_residual_combine_in_every_way)
{
    conv_shape shape = combined[_i];
    for (shape.extras = 0; shape.extras < 32; shape.extras++) {
        check_against_naive(&shape);
    }
}
END_TEST

/* ---- bits ---- */

/* All images together for every number of members, then each alone, then turned by one. */
static void check_bits(conv_case *f, const fm_conv *conv, image_case *want)
{
    static const size_t members[] = {1, 2, 3, 7};
    size_t n = f->shape.images;
    conv_case_run(f, conv, 0, n, 1);
    for (size_t i = 0; i < n; i++) {
        image_case_copy(want, i, &f->out, i);
    }
    for (size_t m = 0; m < 4; m++) {
        conv_case_run(f, conv, 0, n, members[m]);
        for (size_t i = 0; i < n; i++) {
            ck_assert_msg(image_case_agree(&f->out, i, want, i), "%s: image %zu, %zu members",
                          conv_case_way(conv), i, members[m]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        conv_case_run(f, conv, i, 1, members[i % 4]);
        ck_assert_msg(image_case_agree(&f->out, i, want, i), "%s: image %zu alone",
                      conv_case_way(conv), i);
    }
}

START_TEST(bits_of_an_image_do_not_depend_on_its_company_or_the_pieces)
{
    conv_case f;
    conv_case_open(&f, &cases[_i]);
    image_case want;
    image_case_open(&want, f.shape.images, f.out.image.height, f.out.image.width, f.shape.outputs,
                    0);
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        if (conv != NULL) {
            check_bits(&f, conv, &want);
        }
        fm_conv_free(conv);
    }
    image_case_close(&want);
    conv_case_close(&f);
}
END_TEST

/* One image at every place among others: with 35 pixels it never starts at a multiple of a block. */
START_TEST(bits_of_an_image_are_the_same_at_every_place)
{
    const size_t places = 9;
    conv_case f;
    conv_case_open(&f, &(conv_shape){3, 1, 5, 7, 33, 33, places, BIAS | RESIDUAL, SILU});
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        if (conv == NULL) {
            continue;
        }
        for (size_t i = 1; i < places; i++) {
            image_case_copy(&f.in, i, &f.in, 0);
            image_case_copy(&f.residual, i, &f.residual, 0);
        }
        conv_case_run(&f, conv, 0, places, 1 + way % 3);
        for (size_t i = 1; i < places; i++) {
            ck_assert_msg(image_case_agree(&f.out, i, &f.out, 0), "%s: place %zu",
                          conv_case_way(conv), i);
        }
        fm_conv_free(conv);
    }
    conv_case_close(&f);
}
END_TEST

static bool has_nan(const image_case *it, size_t index)
{
    const fm_image *image = &it->image;
    for (size_t p = 0; p < image->height * image->width; p++) {
        const float *x = fm_image_at(image, index, p / image->width, p % image->width);
        for (size_t c = 0; c < image->channels; c++) {
            if (isnan(x[c])) {
                return true;
            }
        }
    }
    return false;
}

START_TEST(a_nan_stays_in_its_image)
{
    conv_case f;
    conv_case_open(&f, &cases[_i]);
    size_t n = f.shape.images, sick = n / 2;
    fm_image_at(&f.in.image, sick, 0, 0)[f.shape.inputs - 1] = NAN;
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        if (conv == NULL) {
            continue;
        }
        conv_case_run(&f, conv, 0, n, 2);
        for (size_t i = 0; i < n; i++) {
            ck_assert_msg(has_nan(&f.out, i) == (i == sick), "%s: image %zu", conv_case_way(conv),
                          i);
        }
        fm_conv_free(conv);
    }
    conv_case_close(&f);
}
END_TEST

/* ---- the rest of the contract ---- */

/* The rule of conv_common.h, which decides bits, so that it does not change unseen. */
START_TEST(the_route_is_a_function_of_the_shape)
{
    bool own = strcmp(fm_dense_provider(), "onednn") == 0;
    for (int i = 0; i < N_CASES; i++) {
        conv_case f;
        conv_case_open(&f, &cases[i]);
        fm_conv *conv = NULL;
        ck_assert_int_eq(fm_conv_new(&f.spec, FM_CONV_AUTO, &conv, NULL), FM_OK);
        bool winograd = f.shape.kernel == 3 && f.shape.stride == 1 && !f.spec.has_gate &&
                        f.shape.inputs >= 32 && f.shape.outputs >= 32 &&
                        f.shape.height * f.shape.width >= 49;
        fm_conv_route want = !own ? FM_CONV_PROVIDER : winograd ? FM_CONV_WINOGRAD : FM_CONV_DIRECT;
        ck_assert_msg(fm_conv_route_of(conv) == want, "case %d: %s", i,
                      fm_conv_route_name(fm_conv_route_of(conv)));
        ck_assert_ptr_eq(conv->kernels, fm_kernels_best());
        ck_assert_uint_ge(fm_conv_packed_bytes(conv), f.shape.outputs * f.shape.inputs *
                                                          f.shape.kernel * f.shape.kernel *
                                                          sizeof(float));
        fm_conv_free(conv);
        conv_case_close(&f);
    }
}
END_TEST

START_TEST(a_few_pixels_and_many_columns_are_cut_for_every_member)
{
    conv_case f;
    conv_case_open(&f, &(conv_shape){3, 1, 8, 8, 64, 512, 1, BIAS, NONE});
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        for (size_t members = 1; conv != NULL && members <= 8; members++) {
            fm_conv_call call = conv_case_call(&f, 0, 1, members);
            ck_assert_uint_ge(fm_conv_piece_count(conv, &call), members);
        }
        fm_conv_free(conv);
    }
    conv_case_close(&f);
}
END_TEST

START_TEST(every_failed_allocation_is_reported_and_freed)
{
    conv_case f;
    conv_case_open(&f, &(conv_shape){3, 1, 7, 7, 32, 32, 1, BIAS, NONE});
    const fm_kernels *kernels = fm_kernels_best();
    fm_status status = FM_ENOMEM;
    size_t k = 0;
    for (; status != FM_OK; k++) {
        ck_assert_uint_lt(k, 100);
        fm_conv *conv = NULL;
        fm_error err = {0};
        failing_memory_start(k);
        status = fm_conv_new_with(&f.spec, kernels, conv_case_route((size_t)_i), &conv, &err);
        ck_assert_int_eq(failing_memory_stop(), status != FM_OK);
        if (status != FM_OK) {
            ck_assert_int_eq(status, FM_ENOMEM);
            ck_assert_int_eq(err.status, FM_ENOMEM);
            ck_assert_ptr_null(conv);
        }
        fm_conv_free(conv);
    }
    ck_assert_uint_ge(k, 5); /* layer, bias, zeros, weights, then success */
    conv_case_close(&f);
}
END_TEST

static bool refuse(void *context, size_t size_bytes)
{
    (void)context;
    (void)size_bytes;
    return false;
}

START_TEST(running_allocates_nothing_of_ours)
{
    conv_case f;
    conv_case_open(&f, &(conv_shape){3, 1, 7, 7, 32, 48, 2, BIAS | RESIDUAL, SILU});
    for (size_t way = 0; way < CONV_CASE_WAYS; way++) {
        fm_conv *conv = conv_case_layer(&f, way);
        if (conv == NULL) {
            continue;
        }
        fm_conv_call call = conv_case_call(&f, 0, 2, 2);
        void *scratch = fm_alloc(fm_conv_piece_bytes(conv) + 1);
        fm_memory_set_hook(refuse, NULL);
        for (size_t piece = 0; piece < fm_conv_piece_count(conv, &call); piece++) {
            ck_assert_int_eq(fm_conv_run_piece(conv, &call, piece, scratch), FM_OK);
        }
        fm_memory_set_hook(NULL, NULL);
        fm_free(scratch);
        fm_conv_free(conv);
    }
    conv_case_close(&f);
}
END_TEST

Suite *suite_engine_conv(void)
{
    Suite *suite = suite_create("engine/conv");
    TCase *numbers = tcase_create("numbers");
    tcase_set_tags(numbers, "one_thread");
    tcase_set_timeout(numbers, 60);
    tcase_add_checked_fixture(numbers, fm_dense_thread_init, NULL);
    tcase_add_loop_test(numbers, every_route_agrees_with_a_naive_convolution, 0, N_CASES);
    tcase_add_loop_test(numbers, bias_row_bias_activation_gate_and_residual_combine_in_every_way, 0,
                        (int)(sizeof combined / sizeof combined[0]));
    suite_add_tcase(suite, numbers);
    TCase *bits = tcase_create("bits");
    tcase_set_tags(bits, "one_thread");
    tcase_set_timeout(bits, 60);
    tcase_add_checked_fixture(bits, fm_dense_thread_init, NULL);
    tcase_add_loop_test(bits, bits_of_an_image_do_not_depend_on_its_company_or_the_pieces, 0,
                        N_CASES);
    tcase_add_test(bits, bits_of_an_image_are_the_same_at_every_place);
    tcase_add_loop_test(bits, a_nan_stays_in_its_image, 0, N_CASES);
    suite_add_tcase(suite, bits);
    TCase *contract = tcase_create("contract");
    tcase_set_timeout(contract, 60);
    tcase_add_checked_fixture(contract, fm_dense_thread_init, NULL);
    tcase_add_test(contract, the_route_is_a_function_of_the_shape);
    tcase_add_test(contract, a_few_pixels_and_many_columns_are_cut_for_every_member);
    tcase_add_loop_test(contract, every_failed_allocation_is_reported_and_freed, 0,
                        (int)CONV_CASE_WAYS);
    tcase_add_test(contract, running_allocates_nothing_of_ours);
    suite_add_tcase(suite, contract);
    return suite;
}
