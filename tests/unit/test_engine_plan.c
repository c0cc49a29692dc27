/* engine/network/plan and lifetime: ops over shared memory, without allocation. */
#include "engine/memory.h"
#include "engine/network/lifetime.h"
#include "engine/network/op.h"
#include "engine/network/plan.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lifetimes ---- */

static void check_disjoint(const fm_lifetime *pieces, size_t n, size_t total)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(pieces[i].offset % FM_ALIGNMENT, 0);
        ck_assert_uint_le(pieces[i].offset + pieces[i].size_bytes, total);
        for (size_t j = 0; j < i; j++) {
            bool together = pieces[i].first <= pieces[j].last && pieces[j].first <= pieces[i].last;
            bool overlap = pieces[i].offset < pieces[j].offset + pieces[j].size_bytes &&
                           pieces[j].offset < pieces[i].offset + pieces[i].size_bytes;
            ck_assert_msg(!(together && overlap), "pieces %zu and %zu collide", i, j);
        }
    }
}

START_TEST(a_chain_of_equal_pieces_takes_the_memory_of_two)
{
    fm_lifetime pieces[6];
    for (size_t i = 0; i < 6; i++) {
        pieces[i] = (fm_lifetime){.size_bytes = 1000, .first = i, .last = i + 1};
    }
    size_t total = 0;
    ck_assert(fm_lifetimes_place(pieces, 6, &total));
    ck_assert_uint_eq(total, 2048);
    check_disjoint(pieces, 6, total);
}
END_TEST

START_TEST(long_skips_keep_their_memory_while_short_lives_share)
{
    fm_lifetime pieces[] = {{.size_bytes = 640, .first = 0, .last = 5},
                            {.size_bytes = 6400, .first = 1, .last = 2},
                            {.size_bytes = 64, .first = 2, .last = 3},
                            {.size_bytes = 6400, .first = 3, .last = 4},
                            {.size_bytes = 0, .first = 3, .last = 3}};
    size_t total = 0;
    ck_assert(fm_lifetimes_place(pieces, 5, &total));
    check_disjoint(pieces, 5, total);
    ck_assert_uint_eq(total, 640 + 6400 + 64);
}
END_TEST

START_TEST(random_lifetimes_never_collide_and_never_exceed_the_sum)
{
    fm_lifetime pieces[40];
    uint32_t state = 12345;
    for (size_t i = 0; i < 40; i++) {
        state = state * 1664525u + 1013904223u;
        size_t first = (state >> 8) % 30;
        pieces[i] = (fm_lifetime){
            .size_bytes = (state >> 16) % 5000, .first = first, .last = first + (state >> 24) % 6};
    }
    size_t total = 0;
    ck_assert(fm_lifetimes_place(pieces, 40, &total));
    check_disjoint(pieces, 40, total);
}
END_TEST

START_TEST(sizes_that_overflow_together_are_refused)
{
    fm_lifetime pieces[] = {{.size_bytes = SIZE_MAX / 2, .first = 0, .last = 1},
                            {.size_bytes = SIZE_MAX / 2, .first = 1, .last = 2},
                            {.size_bytes = 64, .first = 1, .last = 2}};
    size_t total = 77;
    ck_assert(!fm_lifetimes_place(pieces, 3, &total));
    ck_assert_uint_eq(total, 77);
}
END_TEST

/* ---- plans ---- */

#define DIMENSION 3
#define WIDTH     40
#define N_LAYERS  4
#define MAX_ROWS  64

typedef struct weights {
    float weight[N_LAYERS][WIDTH * WIDTH], bias[N_LAYERS][WIDTH];
} weights;

static const size_t widths[N_LAYERS + 1] = {DIMENSION + 2, WIDTH, WIDTH, WIDTH, DIMENSION};

static void weights_fill(weights *it)
{
    for (size_t l = 0; l < N_LAYERS; l++) {
        for (size_t i = 0; i < WIDTH * WIDTH; i++) {
            it->weight[l][i] = (float)(0.25 * sin(1.3 * (double)(i + 7 * l)));
        }
        for (size_t i = 0; i < WIDTH; i++) {
            it->bias[l][i] = (float)(0.1 * cos((double)(i + l)));
        }
    }
}

static fm_status plan_build(const weights *it, bool time_first, fm_plan **ret, fm_error *err)
{
    fm_plan_input_spec input = {
        .dimension = DIMENSION, .time_first = time_first, .has_label = true};
    fm_plan *plan = NULL;
    fm_plan_value value = 0;
    fm_status status = fm_plan_new(MAX_ROWS, FM_COMPUTE_FLOAT32, &plan, err);
    if (status != FM_OK) {
        return status;
    }
    status = fm_plan_input(plan, &input, &value, err);
    for (size_t l = 0; status == FM_OK && l < N_LAYERS; l++) {
        fm_dense_spec spec = {.inputs = widths[l],
                              .outputs = widths[l + 1],
                              .weight = it->weight[l],
                              .bias = l == 1 ? NULL : it->bias[l],
                              .activation =
                                  l + 1 < N_LAYERS ? FM_ACTIVATION_RELU : FM_ACTIVATION_NONE};
        status = fm_plan_linear(plan, value, &spec, &value, err);
    }
    if (status == FM_OK) {
        status = fm_plan_output(plan, value, err);
    }
    if (status == FM_OK) {
        status = fm_plan_finish(plan, err);
    }
    if (status != FM_OK) {
        fm_plan_free(plan);
        return status;
    }
    *ret = plan;
    return FM_OK;
}

/* The same in float64, layer by layer. */
static void naive(const weights *it, bool time_first, const fm_tile_row *row, double *out)
{
    double a[WIDTH] = {0};
    double b[WIDTH] = {0};
    size_t x = time_first ? 2 : 0;
    size_t t = time_first ? 0 : DIMENSION;
    memcpy(a + x, row->x, DIMENSION * sizeof *a);
    a[t] = row->t;
    a[t + 1] = row->label;
    for (size_t l = 0; l < N_LAYERS; l++) {
        for (size_t o = 0; o < widths[l + 1]; o++) {
            b[o] = l == 1 ? 0 : it->bias[l][o];
            for (size_t i = 0; i < widths[l]; i++) {
                b[o] += it->weight[l][o * widths[l] + i] * a[i];
            }
            b[o] = l + 1 < N_LAYERS && b[o] < 0 ? 0 : b[o];
        }
        memcpy(a, b, sizeof a);
    }
    memcpy(out, a, DIMENSION * sizeof *out);
}

typedef struct tile {
    double x[MAX_ROWS][DIMENSION], out[MAX_ROWS][DIMENSION];
    fm_tile_row rows[MAX_ROWS];
} tile;

static void tile_fill(tile *it)
{
    for (size_t i = 0; i < MAX_ROWS; i++) {
        for (size_t j = 0; j < DIMENSION; j++) {
            it->x[i][j] = sin((double)(3 * i + j));
        }
        it->rows[i] = (fm_tile_row){
            .x = it->x[i], .t = (double)i / MAX_ROWS, .label = (int32_t)(i % 5), .out = it->out[i]};
    }
}

static weights fixed_weights;
static tile fixed_tile;

START_TEST(plans_compute_what_their_ops_say_in_both_orders_of_the_input)
{
    bool time_first = _i == 1;
    weights_fill(&fixed_weights);
    tile_fill(&fixed_tile);
    fm_dense_thread_init();
    fm_plan *plan = NULL;
    fm_error err;
    ck_assert_int_eq(plan_build(&fixed_weights, time_first, &plan, &err), FM_OK);
    void *scratch = fm_alloc(fm_plan_scratch_bytes(plan));
    const size_t sizes[] = {1, 2, 7, 33, MAX_ROWS};
    for (size_t s = 0; s < 5; s++) {
        memset(scratch, 0xff, fm_plan_scratch_bytes(plan));
        ck_assert_int_eq(fm_plan_run(plan, fixed_tile.rows, sizes[s], scratch, NULL), FM_OK);
        for (size_t i = 0; i < sizes[s]; i++) {
            double expected[DIMENSION];
            naive(&fixed_weights, time_first, &fixed_tile.rows[i], expected);
            ck_assert_double_le(network_case_error(DIMENSION, fixed_tile.out[i], expected), 5e-6);
        }
    }
    fm_free(scratch);
    fm_plan_free(plan);
}
END_TEST

START_TEST(inputs_fill_their_padding_columns_with_zeros)
{
    fm_plan *plan = NULL;
    fm_plan_value value = 0;
    const fm_plan_input_spec input = {.dimension = DIMENSION};
    tile_fill(&fixed_tile);
    ck_assert_int_eq(fm_plan_new(MAX_ROWS, FM_COMPUTE_FLOAT32, &plan, NULL), FM_OK);
    ck_assert_int_eq(fm_plan_input(plan, &input, &value, NULL), FM_OK);
    ck_assert_int_eq(fm_plan_require(plan, value, 7, MAX_ROWS, NULL), FM_OK);
    fm_error err = {0};
    ck_assert_int_eq(fm_plan_require(plan, value, 8, MAX_ROWS, &err), FM_EINTERNAL);
    ck_assert_ptr_nonnull(strstr(err.text, "rows of 8 floats"));
    ck_assert_int_eq(fm_plan_finish(plan, NULL), FM_OK);
    float *z = fm_alloc(fm_plan_scratch_bytes(plan));
    memset(z, 0xff, fm_plan_scratch_bytes(plan));
    ck_assert_int_eq(fm_plan_run(plan, fixed_tile.rows, 2, z, NULL), FM_OK);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_float_eq(z[7 * i], (float)fixed_tile.x[i][0]);
        ck_assert_float_eq(z[7 * i + DIMENSION], (float)fixed_tile.rows[i].t);
        for (size_t j = DIMENSION + 1; j < 7; j++) {
            ck_assert_float_eq(z[7 * i + j], 0);
        }
    }
    ck_assert(isnan(z[14])); /* the next row is not its business */
    fm_free(z);
    fm_plan_free(plan);
}
END_TEST

START_TEST(a_chain_needs_room_for_two_neighbouring_activations)
{
    weights_fill(&fixed_weights);
    fm_plan *plan = NULL;
    fm_error err;
    ck_assert_int_eq(plan_build(&fixed_weights, false, &plan, &err), FM_OK);
    size_t shared = fm_plan_scratch_bytes(plan);
    size_t unshared = fm_plan_unshared_bytes(plan);
    /* Strides are at most 64 floats here. */
    ck_assert_uint_le(shared, 2 * MAX_ROWS * 64 * sizeof(float) + 4096);
    ck_assert_uint_ge(shared, 2 * MAX_ROWS * WIDTH * sizeof(float));
    ck_assert_uint_ge(unshared, shared + MAX_ROWS * WIDTH * sizeof(float));
    fm_plan_free(plan);
}
END_TEST

static bool count_allocation(void *context, size_t size_bytes)
{
    (void)size_bytes;
    *(size_t *)context += 1;
    return true;
}

START_TEST(evaluation_allocates_nothing)
{
    weights_fill(&fixed_weights);
    tile_fill(&fixed_tile);
    fm_plan *plan = NULL;
    fm_error err;
    ck_assert_int_eq(plan_build(&fixed_weights, false, &plan, &err), FM_OK);
    void *scratch = fm_alloc(fm_plan_scratch_bytes(plan));
    size_t n_allocations = 0;
    fm_memory_set_hook(count_allocation, &n_allocations);
    for (size_t n = 1; n <= MAX_ROWS; n++) {
        ck_assert_int_eq(fm_plan_run(plan, fixed_tile.rows, n, scratch, NULL), FM_OK);
    }
    ck_assert_uint_eq(n_allocations, 0);
    fm_free(fm_alloc(1));
    fm_memory_set_hook(NULL, NULL);
    ck_assert_uint_eq(n_allocations, 1);
    fm_free(scratch);
    fm_plan_free(plan);
}
END_TEST

static bool fail_when_zero(void *context, size_t size_bytes)
{
    (void)size_bytes;
    size_t *left = context;
    if (*left == 0) {
        return false;
    }
    *left -= 1;
    return true;
}

START_TEST(a_failed_allocation_while_building_is_reported_and_leaks_nothing)
{
    weights_fill(&fixed_weights);
    fm_status status = FM_ENOMEM;
    size_t k = 0;
    for (; status != FM_OK; k++) {
        ck_assert_uint_lt(k, 1000);
        fm_plan *plan = NULL;
        fm_error err = {0};
        size_t left = k;
        fm_memory_set_hook(fail_when_zero, &left);
        status = plan_build(&fixed_weights, false, &plan, &err);
        fm_memory_set_hook(NULL, NULL);
        ck_assert(status == FM_OK || (status == FM_ENOMEM && err.text[0] != '\0'));
        fm_plan_free(plan);
    }
    ck_assert_uint_gt(k, 2 * N_LAYERS);
}
END_TEST

static void append(void *context, const char *text, size_t length)
{
    char *all = context;
    size_t used = strlen(all);
    ck_assert_uint_lt(used + length, 4096);
    memcpy(all + used, text, length);
    all[used + length] = '\0';
}

START_TEST(plans_print_every_op_with_shapes_and_places)
{
    weights_fill(&fixed_weights);
    fm_plan *plan = NULL;
    fm_error err;
    ck_assert_int_eq(plan_build(&fixed_weights, true, &plan, &err), FM_OK);
    char text[4096] = "";
    fm_plan_print(plan, append, text);
    ck_assert_msg(strstr(text, "  0 input      [t, label, x 3] -> [64][5] stride") != NULL, "%s",
                  text);
    ck_assert_msg(strstr(text, "  1 linear     [5 inputs] + bias, relu -> [64][40] stride") != NULL,
                  "%s", text);
    ck_assert_msg(strstr(text, "  2 linear     [40 inputs] relu -> [64][40] stride") != NULL, "%s",
                  text);
    ck_assert_msg(strstr(text, "  5 output") != NULL, "%s", text);
    char total[64];
    (void)snprintf(total, sizeof total, "64 rows, %zu bytes of scratch",
                   fm_plan_scratch_bytes(plan));
    ck_assert_msg(strstr(text, total) != NULL, "%s", text);
    fm_plan_free(plan);
}
END_TEST

START_TEST(networks_of_plans_tell_their_sizes_and_closed_forms_have_no_plan)
{
    network_case it;
    network_case_open(&it, "tests/golden/mlp-checkerboard");
    const fm_network_info *info = &it.network->info;
    const fm_plan *plan = fm_network_plan(it.network);
    ck_assert_ptr_nonnull(plan);
    ck_assert_uint_eq(info->scratch_bytes, fm_plan_scratch_bytes(plan));
    ck_assert_uint_eq(info->parameter_count, 256 * 4 + 3 * 257 * 256 + 2 * 257);
    ck_assert_uint_ge(info->weight_bytes, 4 * (info->parameter_count - 4 * 256 - 2));
    ck_assert_uint_eq(info->dimension, 2);
    ck_assert_uint_eq(info->out_dimension, 2);
    ck_assert_uint_eq(info->max_rows, 256);
    ck_assert(!info->has_log_density);
    network_case_close(&it);
    network_case_open(&it, "tests/golden/gaussian-mixture-2d");
    ck_assert_ptr_null(fm_network_plan(it.network));
    network_case_close(&it);
}
END_TEST

Suite *suite_engine_plan(void)
{
    Suite *suite = suite_create("engine/plan");
    TCase *lifetimes = tcase_create("lifetimes");
    tcase_add_test(lifetimes, a_chain_of_equal_pieces_takes_the_memory_of_two);
    tcase_add_test(lifetimes, long_skips_keep_their_memory_while_short_lives_share);
    tcase_add_test(lifetimes, random_lifetimes_never_collide_and_never_exceed_the_sum);
    tcase_add_test(lifetimes, sizes_that_overflow_together_are_refused);
    suite_add_tcase(suite, lifetimes);
    TCase *plans = tcase_create("plans");
    tcase_add_loop_test(plans, plans_compute_what_their_ops_say_in_both_orders_of_the_input, 0, 2);
    tcase_add_test(plans, inputs_fill_their_padding_columns_with_zeros);
    tcase_add_test(plans, a_chain_needs_room_for_two_neighbouring_activations);
    tcase_add_test(plans, evaluation_allocates_nothing);
    tcase_add_test(plans, a_failed_allocation_while_building_is_reported_and_leaks_nothing);
    tcase_add_test(plans, plans_print_every_op_with_shapes_and_places);
    tcase_add_test(plans, networks_of_plans_tell_their_sizes_and_closed_forms_have_no_plan);
    suite_add_tcase(suite, plans);
    return suite;
}
