/* engine/network/second_derivative: Hessian-vector products of MLPs against PyTorch's autograd in float64. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "tests/support/failing_memory.h"
#include "tests/support/image_case.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD_BYTES ((size_t)64)
#define DIMENSION   ((size_t)2)

/* In units of the products' RMS. Seen: 4e-6, of gelu; of the others 3e-6. */
#define TOLERANCE 1e-5

static const char *const cases[] = {
    "mlp-checkerboard",
    "mlp-moons-otcfm",
    "mlp-labels",
    "mlp-reversed",
    "mlp-activation-elu",
    "mlp-activation-gelu",
    "mlp-activation-gelu-tanh",
    "mlp-activation-leaky-relu",
    "mlp-activation-softplus",
    "mlp-activation-tanh",
};
#define N_CASES ((int)(sizeof cases / sizeof *cases))

/* A case's network, its points [n], and what autograd said of them. */
typedef struct hessian_case {
    fm_model_config config;
    network_case it;
    double *x, *t, *label, *tangent, *cotangent, *hvp;
    double *out, *gradient, *product; /* room for n rows, of products for two each */
    size_t n;
} hessian_case;

static double *read_tensor(const char *name, const char *file, const char *tensor, size_t *count)
{
    char path[256];
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    (void)snprintf(path, sizeof path, "tests/golden/%s/%s.safetensors", name, file);
    ck_assert_msg(fm_tensors_open(path, &tensors, &err) == FM_OK, "%s", err.text);
    double *ret = network_case_tensor(tensors, tensor, count);
    fm_tensors_close(tensors);
    return ret;
}

static fm_status case_build(hessian_case *it, const char *name, fm_error *err)
{
    char path[256];
    (void)snprintf(path, sizeof path, "tests/golden/%s/model.safetensors", name);
    return network_case_make(&it->it, &it->config, path, NULL, 0, err);
}

static void config_open(hessian_case *ret, const char *name)
{
    char path[256];
    fm_error err = {0};
    fm_dense_thread_init();
    *ret = (hessian_case){0};
    (void)snprintf(path, sizeof path, "tests/golden/%s", name);
    ck_assert_int_eq(fm_model_config_read(path, &ret->config, &err), FM_OK);
    ret->config.reversible = true;
}

static void case_open(hessian_case *ret, const char *name)
{
    fm_error err = {0};
    config_open(ret, name);
    ck_assert_msg(case_build(ret, name, &err) == FM_OK, "%s", err.text);
    ret->x = read_tensor(name, "network", "x", NULL);
    ret->t = read_tensor(name, "network", "t", NULL);
    ret->label = ret->config.has_labels ? read_tensor(name, "network", "label", NULL) : NULL;
    ret->tangent = read_tensor(name, "derivatives", "tangent", &ret->n);
    ret->cotangent = read_tensor(name, "derivatives", "cotangent", NULL);
    ret->hvp = read_tensor(name, "hessian", "hvp", NULL);
    ret->out = fm_alloc_array(ret->n, sizeof *ret->out);
    ret->gradient = fm_alloc_array(ret->n, sizeof *ret->gradient);
    ret->product = fm_alloc_array(2 * ret->n, sizeof *ret->product);
    ret->n /= DIMENSION;
    ck_assert_uint_eq(ret->it.network->info.out_dimension, DIMENSION);
}

static void case_close(hessian_case *it)
{
    double *read[] = {it->x, it->t, it->label, it->tangent, it->cotangent, it->hvp};
    for (size_t i = 0; i < sizeof read / sizeof *read; i++) {
        free(read[i]);
    }
    fm_free(it->out);
    fm_free(it->gradient);
    fm_free(it->product);
    network_case_close(&it->it);
    fm_model_config_done(&it->config);
}

/* Row i, along n tangents: its own, then the next row's. */
static fm_tile_row row_of(const hessian_case *it, size_t i, size_t n)
{
    return (fm_tile_row){.x = it->x + i * DIMENSION,
                         .t = it->t[i],
                         .label = it->label != NULL ? (int32_t)it->label[i] : 0,
                         .out = it->out + i * DIMENSION,
                         .tangents = it->tangent + i * DIMENSION,
                         .n_tangents = n,
                         .tangent_out = it->product + 2 * i * DIMENSION,
                         .cotangent = it->cotangent + i * DIMENSION,
                         .gradient = it->gradient + i * DIMENSION};
}

static unsigned char *poisoned(size_t bytes)
{
    unsigned char *ret = fm_alloc(bytes + GUARD_BYTES);
    ck_assert_ptr_nonnull(ret);
    memset(ret, 0xff, bytes + GUARD_BYTES); /* NaNs */
    return ret;
}

static void release(unsigned char *scratch, size_t bytes)
{
    for (size_t i = 0; i < GUARD_BYTES; i++) {
        ck_assert_uint_eq(scratch[bytes + i], 0xff);
    }
    fm_free(scratch);
}

static void run(const fm_network *network, const fm_tile_row *rows, size_t n)
{
    size_t bytes = network->info.reverse_scratch_bytes, more = network->info.hvp_scratch_bytes;
    ck_assert_uint_gt(more, 0);
    ck_assert_uint_le(n, network->info.reverse_rows);
    unsigned char *scratch = poisoned(bytes), *tangent_scratch = poisoned(more);
    ck_assert_int_eq(network->ops->hvp(network, rows, n, scratch, tangent_scratch), FM_OK);
    release(scratch, bytes);
    release(tangent_scratch, more);
}

static double dot(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1];
}

/* Those of piecewise linear networks are exactly 0. */
START_TEST(products_of_every_mlp_are_autograds)
{
    hessian_case it;
    case_open(&it, cases[_i]);
    double error = 0, size = 0;
    for (size_t i = 0; i < it.n; i++) {
        const fm_tile_row row = row_of(&it, i, 1);
        run(it.it.network, &row, 1);
        memmove(it.product + i * DIMENSION, row.tangent_out, DIMENSION * sizeof *it.product);
    }
    for (size_t i = 0; i < it.n * DIMENSION; i++) {
        error = fmax(error, fabs(it.product[i] - it.hvp[i]));
        size += it.hvp[i] * it.hvp[i] / (double)(it.n * DIMENSION);
    }
    ck_assert_msg(error <= TOLERANCE * sqrt(size), "%s: error %g, RMS %g", cases[_i], error,
                  sqrt(size));
    case_close(&it);
}
END_TEST

/* <u, H v> = <v, H u>. Seen: off by 1e-6 of the largest. */
START_TEST(hessians_are_symmetric)
{
    hessian_case it;
    case_open(&it, cases[_i]);
    size_t n = 16;
    fm_tile_row rows[16];
    for (size_t i = 0; i < n; i++) {
        rows[i] = row_of(&it, i, 2);
    }
    run(it.it.network, rows, n);
    double largest = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        const double *u = rows[i].tangents, *v = u + DIMENSION, *hu = rows[i].tangent_out;
        double one = dot(v, hu), other = dot(u, hu + DIMENSION);
        largest = fmax(largest, fabs(one));
        error = fmax(error, fabs(one - other));
    }
    ck_assert_msg(error <= TOLERANCE * largest, "%s: %g of %g", cases[_i], error, largest);
    case_close(&it);
}
END_TEST

/* Rows with no, one and two tangents together, then each alone; and without tangents, by vjp. */
START_TEST(bits_do_not_depend_on_what_shares_the_call)
{
    hessian_case it;
    case_open(&it, cases[_i]);
    const fm_network *network = it.it.network;
    size_t n = 17;
    fm_tile_row rows[17];
    for (size_t i = 0; i < n; i++) {
        rows[i] = row_of(&it, i, i % 3);
    }
    run(network, rows, n);
    for (size_t i = 0; i < n; i++) {
        double out[DIMENSION], gradient[DIMENSION], product[2 * DIMENSION];
        fm_tile_row row = rows[i];
        row.out = out;
        row.gradient = gradient;
        row.tangent_out = product;
        run(network, &row, 1);
        ck_assert_mem_eq(out, rows[i].out, sizeof out);
        ck_assert_mem_eq(gradient, rows[i].gradient, sizeof gradient);
        ck_assert_mem_eq(product, rows[i].tangent_out, row.n_tangents * sizeof gradient);
        void *scratch = fm_alloc(network->info.reverse_scratch_bytes);
        ck_assert_int_eq(network->ops->vjp(network, &row, 1, scratch, NULL), FM_OK);
        fm_free(scratch);
        ck_assert_mem_eq(out, rows[i].out, sizeof out);
        ck_assert_mem_eq(gradient, rows[i].gradient, sizeof gradient);
    }
    case_close(&it);
}
END_TEST

START_TEST(a_network_without_memory_is_refused)
{
    hessian_case it;
    config_open(&it, "mlp-activation-tanh");
    bool failed = true;
    size_t k = 0;
    for (; failed; k++) {
        fm_error err = {0};
        failing_memory_start(k);
        fm_status status = case_build(&it, "mlp-activation-tanh", &err);
        failed = failing_memory_stop();
        ck_assert(failed ? failing_memory_explains(status) : status == FM_OK);
        network_case_close(&it.it);
        it.it = (network_case){0};
    }
    ck_assert_uint_gt(k, 30);
    fm_model_config_done(&it.config);
}
END_TEST

/* Their layers are convolutions, which have first derivatives alone. */
START_TEST(networks_in_bfloat16_have_none)
{
    hessian_case it;
    fm_error err = {0};
    if (fm_compute_check(FM_COMPUTE_BFLOAT16, NULL) != FM_OK) {
        return; /* not this machine's */
    }
    config_open(&it, "mlp-potential");
    it.config.compute = FM_COMPUTE_BFLOAT16;
    ck_assert_msg(case_build(&it, "mlp-potential", &err) == FM_OK, "%s", err.text);
    ck_assert_uint_eq(it.it.network->info.max_tangents, 0);
    network_case_close(&it.it);
    fm_model_config_done(&it.config);
}
END_TEST

Suite *suite_engine_second_derivative(void)
{
    Suite *suite = suite_create("engine/second_derivative");
    TCase *tests = tcase_create("second_derivative");
    tcase_set_tags(tests, "one_thread");
    tcase_add_loop_test(tests, products_of_every_mlp_are_autograds, 0, N_CASES);
    tcase_add_loop_test(tests, hessians_are_symmetric, 0, N_CASES);
    tcase_add_loop_test(tests, bits_do_not_depend_on_what_shares_the_call, 0, N_CASES);
    tcase_add_test(tests, a_network_without_memory_is_refused);
    tcase_add_test(tests, networks_in_bfloat16_have_none);
    suite_add_tcase(suite, tests);
    return suite;
}
