/* Dense layers against a naive float64 product, and their promise on bits, on every route of this build
 * and with the kernels of every instruction set. */
#include "engine/math/dense.h"
#include "engine/math/dense_common.h"
#include "engine/memory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Ways to make a layer: our kernels by name, or what the provider or fm_dense_new() itself would do. */
static const struct {
    const char *kernels;
    fm_dense_route route;
} ways[] = {
    {"generic", FM_DENSE_OWN},      {"avx2", FM_DENSE_OWN}, {"avx512", FM_DENSE_OWN},
    {"generic", FM_DENSE_PROVIDER}, {NULL, FM_DENSE_AUTO},
};
#define N_WAYS 5

static const struct {
    size_t inputs, outputs;
} shapes[] = {{1, 1},     {1, 33},    {3, 2},     {3, 512},   {130, 1},    {130, 33},
              {130, 512}, {512, 512}, {16, 48},   {64, 1040}, {512, 130},  {1100, 130},
              {40, 16},   {64, 64},   {2050, 33}, {1152, 48}, {1536, 1040}};
#define N_SHAPES ((int)(sizeof shapes / sizeof shapes[0]))
#define MAX_ROWS ((size_t)75) /* more than a block, and no multiple of a tile */

typedef struct fixture {
    fm_dense_spec spec;
    fm_dense *dense; /* NULL where this machine or provider cannot */
    float *weight, *bias, *in, *out;
    void *scratch;
    size_t in_stride, out_stride;
} fixture;

static float noise(size_t i)
{
    return sinf((float)(i * 7919 % 100003)) * (1.0F + (float)(i % 7));
}

static float *floats_new(size_t count)
{
    float *x = fm_alloc_array(count, sizeof *x);
    ck_assert_ptr_nonnull(x);
    return x;
}

static fixture fixture_new(int way, int shape, fm_activation activation, bool with_bias)
{
    fixture f = {.spec = {.inputs = shapes[shape].inputs,
                          .outputs = shapes[shape].outputs,
                          .activation = activation,
                          .max_rows = MAX_ROWS}};
    const fm_kernels *kernels =
        ways[way].kernels != NULL ? fm_kernels_find(ways[way].kernels) : fm_kernels_best();
    f.weight = floats_new(f.spec.inputs * f.spec.outputs);
    f.bias = floats_new(f.spec.outputs);
    for (size_t i = 0; i < f.spec.inputs * f.spec.outputs; i++) {
        f.weight[i] = noise(i) / sqrtf((float)f.spec.inputs) / 8.0F;
    }
    for (size_t i = 0; i < f.spec.outputs; i++) {
        f.bias[i] = noise(i + 5);
    }
    f.spec.weight = f.weight;
    f.spec.bias = with_bias ? f.bias : NULL;
    if (kernels == NULL) {
        return f;
    }
    fm_error err = {.status = FM_OK};
    fm_status status = fm_dense_new_with(&f.spec, kernels, ways[way].route, &f.dense, &err);
    if (status == FM_EUNSUPPORTED) {
        ck_assert_int_eq(ways[way].route, FM_DENSE_PROVIDER);
        return f;
    }
    ck_assert_msg(status == FM_OK, "%s", err.text);
    f.in_stride = fm_dense_input_stride(f.dense);
    f.out_stride = fm_dense_output_stride(f.dense);
    size_t rows = fm_dense_padded_rows(f.dense, MAX_ROWS);
    f.in = floats_new(rows * f.in_stride);
    f.out = floats_new(rows * f.out_stride);
    f.scratch = fm_alloc(fm_dense_scratch_bytes(f.dense) + 1);
    ck_assert_ptr_nonnull(f.scratch);
    for (size_t i = 0; i < rows * f.in_stride; i++) {
        f.in[i] = noise(i + 3) / 4.0F;
    }
    return f;
}

static void fixture_done(fixture *f)
{
    fm_dense_free(f->dense);
    fm_free(f->weight);
    fm_free(f->bias);
    fm_free(f->in);
    fm_free(f->out);
    fm_free(f->scratch);
}

/* Float64, and the size that rounding errors are measured by. */
static double naive(const fixture *f, size_t row, size_t output, double *ret_size)
{
    double sum = f->spec.bias != NULL ? (double)f->bias[output] : 0.0, size = fabs(sum);
    for (size_t k = 0; k < f->spec.inputs; k++) {
        double term =
            (double)f->in[row * f->in_stride + k] * (double)f->weight[output * f->spec.inputs + k];
        sum += term;
        size += fabs(term);
    }
    *ret_size = size;
    return sum;
}

static double activated(fm_activation activation, double x)
{
    if (activation == FM_ACTIVATION_SILU) {
        return x / (1.0 + exp(-x));
    }
    return activation == FM_ACTIVATION_TANH ? tanh(x) : x;
}

START_TEST(layers_agree_with_a_naive_product)
{
    static const fm_activation some[] = {FM_ACTIVATION_NONE, FM_ACTIVATION_SILU,
                                         FM_ACTIVATION_TANH};
    fixture f = fixture_new(_i % N_WAYS, _i / N_WAYS, some[_i % 3], _i % 4 != 3);
    if (f.dense != NULL) {
        ck_assert_int_eq(fm_dense_run(f.dense, MAX_ROWS, f.in, f.out, f.scratch), FM_OK);
        for (size_t row = 0; row < MAX_ROWS; row += 1 + row % 3) {
            for (size_t output = 0; output < f.spec.outputs; output++) {
                double size, want = activated(some[_i % 3], naive(&f, row, output, &size));
                double got = (double)f.out[row * f.out_stride + output];
                double limit =
                    1.2e-7 * size * (2.0 + sqrt((double)f.spec.inputs)) + 1e-6 * fabs(want);
                ck_assert_msg(fabs(got - want) <= limit, "row %zu output %zu: %.9g, want %.9g", row,
                              output, got, want);
            }
        }
    }
    fixture_done(&f);
}
END_TEST

/* Every row count, each with the rows turned so that every row visits other positions. */
START_TEST(bits_of_a_row_do_not_depend_on_row_count_or_position)
{
    fixture f = fixture_new(_i % N_WAYS, _i / N_WAYS, FM_ACTIVATION_SILU, true);
    if (f.dense == NULL) {
        fixture_done(&f);
        return;
    }
    size_t in_bytes = f.in_stride * sizeof(float), padded = fm_dense_padded_rows(f.dense, MAX_ROWS);
    size_t out_bytes = f.spec.outputs * sizeof(float);
    float *in = floats_new(padded * f.in_stride), *out = floats_new(padded * f.out_stride);
    ck_assert_int_eq(fm_dense_run(f.dense, MAX_ROWS, f.in, f.out, f.scratch), FM_OK);
    for (size_t rows = 1; rows <= MAX_ROWS; rows++) {
        for (size_t row = 0; row < rows; row++) {
            memcpy(in + row * f.in_stride, f.in + (row + 11 * rows) % MAX_ROWS * f.in_stride,
                   in_bytes);
        }
        ck_assert_int_eq(fm_dense_run(f.dense, rows, in, out, f.scratch), FM_OK);
        for (size_t row = 0; row < rows; row++) {
            const float *want = f.out + (row + 11 * rows) % MAX_ROWS * f.out_stride;
            ck_assert_msg(memcmp(out + row * f.out_stride, want, out_bytes) == 0,
                          "%zu x %zu: row %zu of %zu", f.spec.outputs, f.spec.inputs, row, rows);
        }
    }
    fm_free(in);
    fm_free(out);
    fixture_done(&f);
}
END_TEST

START_TEST(a_nan_row_and_padding_leave_the_other_rows_alone)
{
    fixture f = fixture_new(_i % N_WAYS, _i / N_WAYS, FM_ACTIVATION_GELU, true);
    if (f.dense == NULL) {
        fixture_done(&f);
        return;
    }
    const size_t rows = 13, sick = 6;
    float *want = floats_new(fm_dense_padded_rows(f.dense, MAX_ROWS) * f.out_stride);
    ck_assert_int_eq(fm_dense_run(f.dense, rows, f.in, want, f.scratch), FM_OK);
    for (size_t row = 0; row < rows; row++) {
        for (size_t k = f.spec.inputs; k < f.in_stride; k++) {
            f.in[row * f.in_stride + k] = 1e30F; /* padding */
        }
    }
    f.in[sick * f.in_stride] = NAN;
    ck_assert_int_eq(fm_dense_run(f.dense, rows, f.in, f.out, f.scratch), FM_OK);
    for (size_t row = 0; row < rows; row++) {
        const float *got = f.out + row * f.out_stride;
        if (row == sick) {
            ck_assert(isnan(got[0]) && isnan(got[f.spec.outputs - 1]));
        } else {
            ck_assert_mem_eq(got, want + row * f.out_stride, f.spec.outputs * sizeof(float));
        }
    }
    fm_free(want);
    fixture_done(&f);
}
END_TEST

typedef struct other_thread {
    const fixture *f;
    float *out;
    void *scratch;
} other_thread;

static void *run_often(void *argument)
{
    other_thread *own = argument;
    fm_dense_thread_init();
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(fm_dense_run(own->f->dense, MAX_ROWS, own->f->in, own->out, own->scratch),
                         FM_OK);
    }
    return NULL;
}

START_TEST(threads_share_a_layer)
{
    fixture f = fixture_new(_i, 11, FM_ACTIVATION_SILU, true);
    if (f.dense != NULL) {
        size_t count = fm_dense_padded_rows(f.dense, MAX_ROWS) * f.out_stride;
        other_thread own[2];
        pthread_t threads[2];
        ck_assert_int_eq(fm_dense_run(f.dense, MAX_ROWS, f.in, f.out, f.scratch), FM_OK);
        for (size_t i = 0; i < 2; i++) {
            own[i] = (other_thread){&f, floats_new(count),
                                    fm_alloc(fm_dense_scratch_bytes(f.dense) + 1)};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, run_often, &own[i]), 0);
        }
        for (size_t i = 0; i < 2; i++) {
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
            for (size_t row = 0; row < MAX_ROWS; row++) {
                ck_assert_mem_eq(own[i].out + row * f.out_stride, f.out + row * f.out_stride,
                                 f.spec.outputs * sizeof(float));
            }
            fm_free(own[i].out);
            fm_free(own[i].scratch);
        }
    }
    fixture_done(&f);
}
END_TEST

typedef struct fault {
    size_t calls, fail_at;
} fault;

static bool fault_hook(void *context, size_t size_bytes)
{
    fault *state = context;
    (void)size_bytes;
    return state->calls++ != state->fail_at;
}

START_TEST(every_failed_allocation_is_reported_and_freed)
{
    fixture f = fixture_new(_i, 11, FM_ACTIVATION_SILU, true);
    if (f.dense != NULL) {
        const fm_kernels *kernels = fm_kernels_find("generic");
        fm_status status = FM_ENOMEM;
        size_t k = 0;
        for (; status != FM_OK; k++) {
            fault state = {.fail_at = k};
            fm_error err = {.status = FM_OK};
            fm_dense *dense = NULL;
            fm_memory_set_hook(fault_hook, &state);
            status = fm_dense_new_with(&f.spec, kernels, ways[_i].route, &dense, &err);
            fm_memory_set_hook(NULL, NULL);
            if (status != FM_OK) {
                ck_assert_int_eq(status, FM_ENOMEM);
                ck_assert_int_eq(err.status, FM_ENOMEM);
                ck_assert_ptr_null(dense);
            }
            fm_dense_free(dense);
        }
        ck_assert_uint_ge(k, 4); /* layer, bias, weights, then success */
    }
    fixture_done(&f);
}
END_TEST

static bool count_hook(void *context, size_t size_bytes)
{
    (void)size_bytes;
    *(size_t *)context += 1;
    return true;
}

START_TEST(running_allocates_nothing_of_ours)
{
    fixture f = fixture_new(_i, 7, FM_ACTIVATION_SILU, true);
    if (f.dense != NULL) {
        size_t calls = 0;
        fm_memory_set_hook(count_hook, &calls);
        ck_assert_int_eq(fm_dense_run(f.dense, MAX_ROWS, f.in, f.out, f.scratch), FM_OK);
        fm_memory_set_hook(NULL, NULL);
        ck_assert_uint_eq(calls, 0);
    }
    fixture_done(&f);
}
END_TEST

START_TEST(strides_padding_and_sizes_are_consistent)
{
    fixture f = fixture_new(_i % N_WAYS, _i / N_WAYS, FM_ACTIVATION_NONE, false);
    if (f.dense != NULL) {
        ck_assert_uint_ge(f.in_stride, f.spec.inputs);
        ck_assert_uint_ge(f.out_stride, f.spec.outputs);
        ck_assert_uint_eq(f.in_stride % 16, 0);
        ck_assert_uint_eq(f.out_stride % 16, 0);
        for (size_t rows = 1; rows <= MAX_ROWS; rows++) {
            ck_assert_uint_ge(fm_dense_padded_rows(f.dense, rows), rows);
        }
        ck_assert_uint_ge(fm_dense_packed_bytes(f.dense),
                          f.spec.inputs * f.spec.outputs * sizeof(float));
    }
    fixture_done(&f);
}
END_TEST

/* The rule of dense_common.h, which decides bits, so that it does not change unseen. */
START_TEST(the_route_is_a_function_of_the_shape)
{
    for (int shape = 0; shape < N_SHAPES; shape++) {
        fixture f = fixture_new(4, shape, FM_ACTIVATION_NONE, false);
        bool large = f.spec.inputs > 1024 || f.spec.outputs > 1024;
        if (strcmp(fm_dense_provider(), "openblas") == 0) {
            ck_assert_int_eq(fm_dense_route_of(f.dense), FM_DENSE_PROVIDER);
        } else if (!large) {
            ck_assert_int_eq(fm_dense_route_of(f.dense), FM_DENSE_OWN);
        } else if (f.spec.inputs % 16 == 0 && f.spec.outputs % 16 == 0 &&
                   fm_kernels_find("avx512") != NULL) {
            ck_assert_int_eq(fm_dense_route_of(f.dense), FM_DENSE_PROVIDER);
        }
        fixture_done(&f);
    }
}
END_TEST

START_TEST(the_kernels_of_this_machine_are_named)
{
    ck_assert_ptr_eq(fm_kernels_find(fm_dense_kernels()), fm_kernels_best());
    ck_assert_ptr_nonnull(fm_kernels_find("generic"));
    ck_assert_ptr_null(fm_kernels_find("avx1024"));
    char version[64];
    fm_dense_version(version, sizeof version);
    ck_assert_uint_gt(strlen(version), 0);
}
END_TEST

Suite *suite_engine_dense(void)
{
    Suite *suite = suite_create("engine/dense");
    TCase *layers = tcase_create("layers");
    int all = N_WAYS * N_SHAPES;
    tcase_set_timeout(layers, 60);
    tcase_add_checked_fixture(layers, fm_dense_thread_init, NULL);
    tcase_add_loop_test(layers, layers_agree_with_a_naive_product, 0, all);
    tcase_add_loop_test(layers, bits_of_a_row_do_not_depend_on_row_count_or_position, 0, all);
    tcase_add_loop_test(layers, a_nan_row_and_padding_leave_the_other_rows_alone, 0, all);
    tcase_add_loop_test(layers, threads_share_a_layer, 0, N_WAYS);
    tcase_add_loop_test(layers, every_failed_allocation_is_reported_and_freed, 0, N_WAYS);
    tcase_add_loop_test(layers, running_allocates_nothing_of_ours, 0, N_WAYS);
    tcase_add_loop_test(layers, strides_padding_and_sizes_are_consistent, 0, all);
    tcase_add_test(layers, the_route_is_a_function_of_the_shape);
    tcase_add_test(layers, the_kernels_of_this_machine_are_named);
    suite_add_tcase(suite, layers);
    return suite;
}
