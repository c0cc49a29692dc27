/* engine/network/derivative: forward and reverse mode of every op against central differences in float64, and of
 * whole networks against PyTorch's autograd. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/network/derivative.h"
#include "tests/support/image_case.h"
#include "tests/support/network_case.h"
#include "tests/support/plan_case_naive.h"
#include "tests/support/plan_graphs.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TANGENTS  ((size_t)3)
#define N_ROWS      ((size_t)2)
#define GUARD_BYTES ((size_t)64)

/* Fills with made-up numbers of order one. */
static double *made(size_t n, uint32_t salt)
{
    double *ret = fm_alloc_array(n, sizeof *ret);
    ck_assert_ptr_nonnull(ret);
    for (size_t i = 0; i < n; i++) {
        ret[i] = (double)image_case_noise(salt, i);
    }
    return ret;
}

/* Scratch full of NaNs with a guard behind. */
static unsigned char *poisoned(size_t bytes)
{
    unsigned char *ret = fm_alloc(bytes + GUARD_BYTES);
    ck_assert_ptr_nonnull(ret);
    memset(ret, 0xff, bytes + GUARD_BYTES);
    return ret;
}

static void release(unsigned char *scratch, size_t bytes)
{
    for (size_t i = 0; i < GUARD_BYTES; i++) {
        ck_assert_uint_eq(scratch[bytes + i], 0xff);
    }
    fm_free(scratch);
}

static double dot(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* ---- graphs ---- */

/* J v of the naive loops, by central differences in float64. */
static void naive_jvp(const plan_case *it, const fm_tile_row *row, const double *v, double *ret)
{
    const double h = 1e-6;
    double *x = made(it->dimension, 1), *out = made(2 * it->out_dimension, 1);
    fm_tile_row moved = *row;
    moved.x = x;
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < it->dimension; i++) {
            x[i] = row->x[i] + (side == 0 ? h : -h) * v[i];
        }
        plan_naive_run(it->graph, &moved, out + side * it->out_dimension);
    }
    for (size_t i = 0; i < it->out_dimension; i++) {
        ret[i] = (out[i] - out[it->out_dimension + i]) / (2 * h);
    }
    fm_free(x);
    fm_free(out);
}

static void jvp_run(const plan_case *it, fm_tile_row *rows, size_t n_rows, fm_team *team)
{
    size_t bytes = fm_plan_scratch_bytes(it->plan), more = fm_plan_tangent_scratch_bytes(it->plan);
    unsigned char *scratch = poisoned(bytes), *tangent_scratch = poisoned(more);
    ck_assert_int_eq(fm_plan_jvp(it->plan, rows, n_rows, scratch, tangent_scratch, team), FM_OK);
    release(scratch, bytes);
    release(tangent_scratch, more);
}

START_TEST(forward_mode_of_every_op_is_the_central_difference)
{
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    double *tangents = made(N_ROWS * N_TANGENTS * it.dimension, 71);
    double *images = made(N_ROWS * N_TANGENTS * it.out_dimension, 1);
    double *want = made(it.out_dimension, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        it.rows[i].tangents = tangents + i * N_TANGENTS * it.dimension;
        it.rows[i].n_tangents = N_TANGENTS - i; /* each its own number */
        it.rows[i].tangent_out = images + i * N_TANGENTS * it.out_dimension;
    }
    jvp_run(&it, it.rows, N_ROWS, NULL);
    double tolerance = _i == GRAPH_UNET ? 6e-5 : 1e-5;
    for (size_t i = 0; i < N_ROWS; i++) {
        for (size_t k = 0; k < it.rows[i].n_tangents; k++) {
            naive_jvp(&it, &it.rows[i], it.rows[i].tangents + k * it.dimension, want);
            double error = network_case_error(it.out_dimension,
                                              it.rows[i].tangent_out + k * it.out_dimension, want);
            ck_assert_msg(error <= tolerance, "%s: error %g", plan_graphs[_i].name, error);
        }
    }
    fm_free(tangents);
    fm_free(images);
    fm_free(want);
    plan_case_close(&it);
}
END_TEST

START_TEST(values_beside_tangents_have_the_bits_that_they_have_alone)
{
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    size_t order[] = {0, 1};
    plan_case_run(&it, order, N_ROWS, NULL);
    double *alone = made(N_ROWS * it.out_dimension, 1);
    memcpy(alone, it.out, N_ROWS * it.out_dimension * sizeof *alone);
    double *tangents = made(it.dimension, 71), *images = made(it.out_dimension, 1);
    it.rows[1].tangents = tangents;
    it.rows[1].n_tangents = 1;
    it.rows[1].tangent_out = images;
    jvp_run(&it, it.rows, N_ROWS, NULL);
    ck_assert_mem_eq(it.out, alone, N_ROWS * it.out_dimension * sizeof *alone);
    fm_free(alone);
    fm_free(tangents);
    fm_free(images);
    plan_case_close(&it);
}
END_TEST

/* All tangents of two rows together, then the last of the second row alone, with a team and without. */
START_TEST(a_tangent_has_its_bits_whatever_shares_its_call)
{
    plan_case it;
    reversed_team team;
    plan_case_open(&it, &plan_graphs[_i], false);
    reversed_team_open(&team, &it, 3);
    double *tangents = made(N_TANGENTS * it.dimension, 71);
    double *images = made(2 * N_TANGENTS * it.out_dimension, 1);
    double *alone = made(it.out_dimension, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        it.rows[i].tangents = tangents;
        it.rows[i].n_tangents = N_TANGENTS;
        it.rows[i].tangent_out = images + i * N_TANGENTS * it.out_dimension;
    }
    jvp_run(&it, it.rows, N_ROWS, NULL);
    fm_tile_row row = it.rows[1];
    row.tangents = tangents + (N_TANGENTS - 1) * it.dimension;
    row.n_tangents = 1;
    row.tangent_out = alone;
    size_t more = fm_plan_tangent_scratch_bytes(it.plan);
    unsigned char *tangent_scratch = poisoned(more);
    ck_assert_int_eq(fm_plan_jvp(it.plan, &row, 1, it.scratch, tangent_scratch, &team.team), FM_OK);
    release(tangent_scratch, more);
    ck_assert_mem_eq(alone, images + (2 * N_TANGENTS - 1) * it.out_dimension,
                     it.out_dimension * sizeof *alone);
    fm_free(tangents);
    fm_free(images);
    fm_free(alone);
    reversed_team_close(&team);
    plan_case_close(&it);
}
END_TEST

/* <w, J v> by central differences is <J^T w, v>, for several v: the gradient has no other part that matters. */
START_TEST(reverse_mode_of_every_op_is_the_transpose_of_the_central_difference)
{
    plan_case it;
    plan_case_open_reversible(&it, &plan_graphs[_i]);
    double *cotangents = made(N_ROWS * it.out_dimension, 73);
    double *gradients = made(N_ROWS * it.dimension, 1);
    double *image = made(it.out_dimension, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        it.rows[i].cotangent = cotangents + i * it.out_dimension;
        it.rows[i].gradient = gradients + i * it.dimension;
    }
    size_t bytes = fm_plan_reverse_scratch_bytes(it.plan);
    unsigned char *scratch = poisoned(bytes);
    ck_assert_int_eq(fm_plan_vjp(it.plan, it.rows, N_ROWS, scratch, NULL), FM_OK);
    release(scratch, bytes);
    double tolerance = _i == GRAPH_UNET ? 6e-5 : 1e-5;
    for (size_t i = 0; i < N_ROWS; i++) {
        for (uint32_t k = 0; k < 4; k++) {
            double *v = made(it.dimension, 80 + k);
            naive_jvp(&it, &it.rows[i], v, image);
            double want = dot(it.out_dimension, it.rows[i].cotangent, image);
            double got = dot(it.dimension, it.rows[i].gradient, v);
            double scale = sqrt(dot(it.dimension, it.rows[i].gradient, it.rows[i].gradient) *
                                dot(it.dimension, v, v) / (double)it.dimension);
            ck_assert_msg(fabs(got - want) <= tolerance * scale, "%s: %g, not %g (scale %g)",
                          plan_graphs[_i].name, got, want, scale);
            fm_free(v);
        }
    }
    fm_free(cotangents);
    fm_free(gradients);
    fm_free(image);
    plan_case_close(&it);
}
END_TEST

/* ---- whole networks ---- */

static const struct {
    const char *name;
    double tolerance; /* of the largest error over the root mean square */
} cases[] = {
    {"mlp-checkerboard", 2e-5},
    {"mlp-moons-otcfm", 2e-5},
    {"mlp-labels", 2e-5},
    {"mlp-reversed", 2e-5},
    {"mlp-activation-elu", 2e-5},
    {"mlp-activation-gelu", 2e-5},
    {"mlp-activation-gelu-tanh", 2e-5},
    {"mlp-activation-leaky-relu", 2e-5},
    {"mlp-activation-softplus", 2e-5},
    {"mlp-activation-tanh", 2e-5},
    /* The networks themselves are held to 4e-5; a derivative has the errors of every normalisation twice. */
    {"unet-torchcfm-mnist", 1e-4},
    {"unet-torchcfm-variants-a", 1e-4},
    {"unet-torchcfm-variants-b", 1e-4},
    {"unet-meta-tiny", 1e-4},
    {"sit-tiny-sigma", 2e-5},
    {"sit-tiny-nosigma", 2e-5},
    {"frames-tiny", 2e-5},
};
#define N_CASES ((int)(sizeof cases / sizeof *cases))

/* A case's network with a reverse mode, its points and what autograd said of them. */
typedef struct autograd_case {
    fm_model_config config;
    network_case it;
    fm_tensors *points, *derivatives;
    double *x, *t, *label, *tangent, *jvp, *cotangent, *vjp;
    size_t n;
} autograd_case;

static void autograd_open(autograd_case *ret, const char *name)
{
    char file[256];
    fm_error err = {0};
    fm_dense_thread_init();
    *ret = (autograd_case){0};
    (void)snprintf(file, sizeof file, "tests/golden/%s", name);
    ck_assert_int_eq(fm_model_config_read(file, &ret->config, &err), FM_OK);
    ret->config.reversible = true;
    (void)snprintf(file, sizeof file, "tests/golden/%s/model.safetensors", name);
    ck_assert_int_eq(network_case_make(&ret->it, &ret->config, file, NULL, 0, &err), FM_OK);
    (void)snprintf(file, sizeof file, "tests/golden/%s/network.safetensors", name);
    ck_assert_int_eq(fm_tensors_open(file, &ret->points, &err), FM_OK);
    (void)snprintf(file, sizeof file, "tests/golden/%s/derivatives.safetensors", name);
    ck_assert_int_eq(fm_tensors_open(file, &ret->derivatives, &err), FM_OK);
    ret->x = network_case_tensor(ret->points, "x", NULL);
    ret->t = network_case_tensor(ret->points, "t", NULL);
    ret->label = ret->config.has_labels ? network_case_tensor(ret->points, "label", NULL) : NULL;
    ret->tangent = network_case_tensor(ret->derivatives, "tangent", &ret->n);
    ret->jvp = network_case_tensor(ret->derivatives, "jvp", NULL);
    ret->cotangent = network_case_tensor(ret->derivatives, "cotangent", NULL);
    ret->vjp = network_case_tensor(ret->derivatives, "vjp", NULL);
    ret->n /= ret->it.network->info.dimension;
}

static void autograd_close(autograd_case *it)
{
    double *arrays[] = {it->x, it->t, it->label, it->tangent, it->jvp, it->cotangent, it->vjp};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        free(arrays[i]);
    }
    fm_tensors_close(it->points);
    fm_tensors_close(it->derivatives);
    network_case_close(&it->it);
    fm_model_config_done(&it->config);
}

/* One row at a time: what shares a call is a matter of the tests above. */
static fm_tile_row row_of(const autograd_case *it, size_t i, double *out)
{
    size_t dimension = it->it.network->info.dimension;
    size_t out_dimension = it->it.network->info.out_dimension;
    return (fm_tile_row){.x = it->x + i * dimension,
                         .t = it->t[i],
                         .label = it->label != NULL ? (int32_t)it->label[i] : 0,
                         .out = out,
                         .tangents = it->tangent + i * dimension,
                         .n_tangents = 1,
                         .cotangent = it->cotangent + i * out_dimension};
}

START_TEST(forward_mode_of_every_architecture_is_autograds)
{
    autograd_case it;
    autograd_open(&it, cases[_i].name);
    const fm_network *network = it.it.network;
    size_t out_dimension = network->info.out_dimension;
    double *out = made(out_dimension, 1), *images = made(it.n * out_dimension, 1);
    void *scratch = fm_alloc(network->info.scratch_bytes);
    void *tangent_scratch = fm_alloc(network->info.tangent_scratch_bytes);
    for (size_t i = 0; i < it.n; i++) {
        fm_tile_row row = row_of(&it, i, out);
        row.tangent_out = images + i * out_dimension;
        ck_assert_int_eq(network->ops->jvp(network, &row, 1, scratch, tangent_scratch, NULL),
                         FM_OK);
    }
    double error = network_case_error(it.n * out_dimension, images, it.jvp);
    ck_assert_msg(error <= cases[_i].tolerance, "%s: error %g", cases[_i].name, error);
    fm_free(out);
    fm_free(images);
    fm_free(scratch);
    fm_free(tangent_scratch);
    autograd_close(&it);
}
END_TEST

START_TEST(reverse_mode_of_every_architecture_is_autograds)
{
    autograd_case it;
    autograd_open(&it, cases[_i].name);
    const fm_network *network = it.it.network;
    size_t dimension = network->info.dimension;
    double *out = made(network->info.out_dimension, 1), *gradients = made(it.n * dimension, 1);
    void *scratch = fm_alloc(network->info.reverse_scratch_bytes);
    ck_assert_uint_ge(network->info.reverse_rows, 1);
    for (size_t i = 0; i < it.n; i++) {
        fm_tile_row row = row_of(&it, i, out);
        row.gradient = gradients + i * dimension;
        ck_assert_int_eq(network->ops->vjp(network, &row, 1, scratch, NULL), FM_OK);
    }
    double error = network_case_error(it.n * dimension, gradients, it.vjp);
    ck_assert_msg(error <= cases[_i].tolerance, "%s: error %g", cases[_i].name, error);
    fm_free(out);
    fm_free(gradients);
    fm_free(scratch);
    autograd_close(&it);
}
END_TEST

/* ---- closed forms, in float64 ---- */

static const char *const closed_forms[] = {"tests/golden/gaussian-mixture-2d",
                                           "tests/golden/dataset-moons"};

static void eval_at(const fm_network *network, const double x[2], double out[2], void *scratch)
{
    const fm_tile_row row = {.x = x, .t = 0.6, .out = out};
    ck_assert_int_eq(network->ops->eval(network, &row, 1, scratch, NULL), FM_OK);
}

/* J by central differences, a column for each axis; then both modes along the axes. */
START_TEST(both_modes_of_closed_forms_are_the_central_differences)
{
    static const double axes[4] = {1, 0, 0, 1};
    const double x[2] = {0.4, -0.3}, h = 1e-5;
    double out[2], above[2], below[2], columns[4], gradient[2];
    network_case it;
    network_case_open(&it, closed_forms[_i]);
    const fm_network *network = it.network;
    void *scratch = fm_alloc(network->info.scratch_bytes + network->info.reverse_scratch_bytes);
    void *tangent_scratch = fm_alloc(network->info.tangent_scratch_bytes + 1);
    const fm_tile_row row = {
        .x = x, .t = 0.6, .out = out, .tangents = axes, .n_tangents = 2, .tangent_out = columns};
    ck_assert_int_eq(network->ops->jvp(network, &row, 1, scratch, tangent_scratch, NULL), FM_OK);
    for (size_t j = 0; j < 2; j++) {
        double moved[2] = {x[0] + h * axes[2 * j], x[1] + h * axes[2 * j + 1]};
        eval_at(network, moved, above, scratch);
        moved[0] -= 2 * h * axes[2 * j];
        moved[1] -= 2 * h * axes[2 * j + 1];
        eval_at(network, moved, below, scratch);
        const fm_tile_row back = {
            .x = x, .t = 0.6, .out = out, .cotangent = axes + 2 * j, .gradient = gradient};
        ck_assert_int_eq(network->ops->vjp(network, &back, 1, scratch, NULL), FM_OK);
        for (size_t i = 0; i < 2; i++) {
            ck_assert_double_eq_tol(columns[2 * j + i], (above[i] - below[i]) / (2 * h), 1e-7);
            ck_assert_double_eq_tol(gradient[i], columns[2 * i + j], 1e-12);
        }
    }
    fm_free(scratch);
    fm_free(tangent_scratch);
    network_case_close(&it);
}
END_TEST

Suite *suite_engine_derivative(void)
{
    Suite *suite = suite_create("engine/derivative");
    TCase *tests = tcase_create("derivative");
    tcase_set_tags(tests, "one_thread");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, forward_mode_of_every_op_is_the_central_difference, 0, N_GRAPHS);
    tcase_add_loop_test(tests, values_beside_tangents_have_the_bits_that_they_have_alone, 0,
                        N_GRAPHS);
    tcase_add_loop_test(tests, a_tangent_has_its_bits_whatever_shares_its_call, 0, N_GRAPHS);
    tcase_add_loop_test(tests, reverse_mode_of_every_op_is_the_transpose_of_the_central_difference,
                        0, N_GRAPHS);
    tcase_add_loop_test(tests, forward_mode_of_every_architecture_is_autograds, 0, N_CASES);
    tcase_add_loop_test(tests, reverse_mode_of_every_architecture_is_autograds, 0, N_CASES);
    tcase_add_loop_test(tests, both_modes_of_closed_forms_are_the_central_differences, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
