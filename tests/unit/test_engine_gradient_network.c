/* engine/network/gradient_network: gradients of what networks return, and Hessians of potentials, against PyTorch's
 * autograd. */
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct gradient_case {
    const char *folder;
    int32_t max_label;
} gradient_case;

static const gradient_case cases[] = {
    {"tests/golden/mlp-potential", 0},
    {"tests/golden/mlp-potential-waves", 2},
    {"tests/golden/mlp-classifier", 3},
};

#define N_CASES      ((int)(sizeof cases / sizeof *cases))
#define N_POTENTIALS 2 /* the first; a classifier has no jvp */
#define DIMENSION    ((size_t)2)

static fm_tensors *open_file(const char *folder, const char *name)
{
    char file[300];
    fm_tensors *ret = NULL;
    fm_error err = {0};
    (void)snprintf(file, sizeof file, "%s/%s", folder, name);
    ck_assert_msg(fm_tensors_open(file, &ret, &err) == FM_OK, "%s", err.text);
    return ret;
}

/* Points with a tangent each. */
typedef struct points {
    fm_tensors *network, *derivatives;
    size_t count;
    double *x, *t, *label, *tangent, *jvp; /* label: NULL where the case has none */
} points;

static points open_points(const gradient_case *it)
{
    points ret = {.network = open_file(it->folder, "network.safetensors"),
                  .derivatives = open_file(it->folder, "derivatives.safetensors")};
    ret.x = network_case_tensor(ret.network, "x", NULL);
    ret.t = network_case_tensor(ret.network, "t", &ret.count);
    ret.label = it->max_label > 0 ? network_case_tensor(ret.network, "label", NULL) : NULL;
    ret.tangent = network_case_tensor(ret.derivatives, "tangent", NULL);
    ret.jvp = network_case_tensor(ret.derivatives, "jvp", NULL);
    return ret;
}

static void close_points(points *at)
{
    free(at->x);
    free(at->t);
    free(at->label);
    free(at->tangent);
    free(at->jvp);
    fm_tensors_close(at->network);
    fm_tensors_close(at->derivatives);
}

/* Hessian times tangent of each point [count][dimension], and the outputs beside them, in calls of at most so many. */
static void run_jvp(const fm_network *network, const points *at, size_t most, double *images,
                    double *out)
{
    void *scratch = fm_alloc(network->info.scratch_bytes);
    void *tangent_scratch = fm_alloc(network->info.tangent_scratch_bytes);
    fm_tile_row *rows = fm_alloc_array(at->count, sizeof *rows);
    for (size_t i = 0; i < at->count; i++) {
        rows[i] = (fm_tile_row){.x = at->x + DIMENSION * i,
                                .t = at->t[i],
                                .label = at->label == NULL ? 0 : (int32_t)at->label[i],
                                .out = out + DIMENSION * i,
                                .tangents = at->tangent + DIMENSION * i,
                                .n_tangents = 1,
                                .tangent_out = images + DIMENSION * i};
    }
    for (size_t i = 0; i < at->count; i += most) {
        size_t left = at->count - i;
        memset(scratch, 0xff, network->info.scratch_bytes); /* NaNs */
        memset(tangent_scratch, 0xff, network->info.tangent_scratch_bytes);
        ck_assert_int_eq(network->ops->jvp(network, rows + i, left < most ? left : most, scratch,
                                           tangent_scratch, NULL),
                         FM_OK);
    }
    fm_free(rows);
    fm_free(scratch);
    fm_free(tangent_scratch);
}

START_TEST(the_output_is_the_gradient)
{
    network_case it;
    fm_dense_thread_init();
    network_case_open(&it, cases[_i].folder);
    ck_assert_uint_eq(it.network->info.out_dimension, DIMENSION);
    ck_assert_int_eq(it.network->info.max_tangents > 0, _i < N_POTENTIALS);
    double error = network_case_reference_error(&it, cases[_i].folder, NULL); /* seen: 7e-7 */
    ck_assert_msg(error <= 1e-5, "gradient: error %g", error);
    network_case_close(&it);
}
END_TEST

/* Seen: products off by 1e-6 of their RMS. */
START_TEST(a_tangents_image_is_the_hessians)
{
    network_case it;
    fm_dense_thread_init();
    network_case_open(&it, cases[_i].folder);
    points at = open_points(&cases[_i]);
    double *images = fm_alloc_array(DIMENSION * at.count, sizeof *images);
    double *together = fm_alloc_array(DIMENSION * at.count, sizeof *together);
    double *out = fm_alloc_array(DIMENSION * at.count, sizeof *out);
    double *alone = fm_alloc_array(DIMENSION * at.count, sizeof *alone);
    run_jvp(it.network, &at, 1, images, out);
    double error = network_case_error(DIMENSION * at.count, images, at.jvp);
    ck_assert_msg(error <= 5e-6, "Hessian: error %g", error);
    network_case_eval(it.network, at.count, 64, at.x, at.t, at.label, alone, NULL);
    ck_assert_mem_eq(out, alone, DIMENSION * at.count * sizeof *out);
    run_jvp(it.network, &at, at.count, together, out);
    ck_assert_mem_eq(together, images, DIMENSION * at.count * sizeof *out);
    ck_assert_mem_eq(out, alone, DIMENSION * at.count * sizeof *out);
    fm_free(images);
    fm_free(together);
    fm_free(out);
    fm_free(alone);
    close_points(&at);
    network_case_close(&it);
}
END_TEST

/* A row's tangents, one of which is 0, then twice as many rows as have room: in turns, with the bits of each alone. */
START_TEST(more_tangents_than_fit_are_taken_in_turns)
{
    enum { TANGENTS = 300, ROWS = 3 };
    static double tangents[TANGENTS * DIMENSION], images[ROWS][TANGENTS * DIMENSION];
    network_case it;
    fm_dense_thread_init();
    network_case_open(&it, cases[_i].folder);
    void *scratch = fm_alloc(it.network->info.scratch_bytes);
    void *tangent_scratch = fm_alloc(it.network->info.tangent_scratch_bytes);
    double x[ROWS * DIMENSION] = {0.5, -1, 0.25, 2, -0.75, 0}, out[ROWS * DIMENSION];
    fm_tile_row rows[ROWS];
    ck_assert_uint_lt(it.network->info.max_tangents, TANGENTS);
    for (size_t k = 1; k < TANGENTS; k++) {
        tangents[2 * k] = (double)k / (double)TANGENTS;
        tangents[2 * k + 1] = 1 - tangents[2 * k] / 3;
    }
    for (size_t i = 0; i < ROWS; i++) {
        rows[i] = (fm_tile_row){.x = x + DIMENSION * i,
                                .t = 0.5,
                                .out = out + DIMENSION * i,
                                .tangents = tangents,
                                .n_tangents = TANGENTS - 10 * i,
                                .tangent_out = images[i]};
    }
    ck_assert_int_eq(it.network->ops->jvp(it.network, rows, ROWS, scratch, tangent_scratch, NULL),
                     FM_OK);
    for (size_t k = 0; k < ROWS * (TANGENTS - 20); k++) {
        double image[DIMENSION], velocity[DIMENSION];
        size_t i = k % ROWS;
        fm_tile_row row = rows[i];
        row.out = velocity;
        row.tangents = tangents + k / ROWS * DIMENSION;
        row.n_tangents = 1;
        row.tangent_out = image;
        ck_assert_int_eq(it.network->ops->jvp(it.network, &row, 1, scratch, tangent_scratch, NULL),
                         FM_OK);
        ck_assert_mem_eq(image, images[i] + k / ROWS * DIMENSION, sizeof image);
        ck_assert_mem_eq(velocity, rows[i].out, sizeof velocity);
    }
    ck_assert(images[0][0] == 0 && images[0][1] == 0);
    fm_free(scratch);
    fm_free(tangent_scratch);
    network_case_close(&it);
}
END_TEST

START_TEST(a_gradients_bits_depend_on_its_row_alone)
{
    network_case it;
    bool independent = false;
    fm_dense_thread_init();
    network_case_open(&it, cases[_i].folder);
    fm_status status = fm_network_check_bits(it.network, cases[_i].max_label, &independent, NULL);
    ck_assert_int_eq(status, FM_OK);
    ck_assert(independent);
    network_case_close(&it);
}
END_TEST

Suite *suite_engine_gradient_network(void)
{
    Suite *suite = suite_create("engine/gradient_network");
    TCase *tests = tcase_create("gradient_network");
    tcase_set_tags(tests, "one_thread");
    tcase_add_loop_test(tests, the_output_is_the_gradient, 0, N_CASES);
    tcase_add_loop_test(tests, a_tangents_image_is_the_hessians, 0, N_POTENTIALS);
    tcase_add_loop_test(tests, more_tangents_than_fit_are_taken_in_turns, 0, N_POTENTIALS);
    tcase_add_loop_test(tests, a_gradients_bits_depend_on_its_row_alone, 0, N_CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
