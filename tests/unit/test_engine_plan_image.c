/* engine/network/plan_image: every op through a plan, against float64, alone, in tiles and with a team. */
#include "engine/memory.h"
#include "engine/network/op.h"
#include "tests/support/failing_memory.h"
#include "tests/support/image_case.h"
#include "tests/support/network_case.h"
#include "tests/support/plan_case_naive.h"
#include "tests/support/plan_graphs.h"
#include "tests/unit/suites.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const size_t ascending[] = {0, 1, 2, 3, 4, 5, 6};

/* ---- numbers ---- */

/* The error of every row relative to its root mean square. */
static void check_numbers(const plan_graph *graph, double tolerance)
{
    plan_case it;
    plan_case_open(&it, graph, true);
    for (size_t n_rows = 1; n_rows <= PLAN_CASE_MAX_ROWS; n_rows += 3) {
        plan_case_run_poisoned(&it, ascending, n_rows);
        for (size_t i = 0; i < n_rows; i++) {
            double error = network_case_error(it.out_dimension, it.out + i * it.out_dimension,
                                              it.want + i * it.out_dimension);
            ck_assert_msg(error <= tolerance, "%s: row %zu of %zu is off by %g", graph->name, i,
                          n_rows, error);
        }
    }
    plan_case_close(&it);
}

START_TEST(plans_compute_what_their_ops_are_defined_to)
{
    check_numbers(&plan_graphs[_i], _i == GRAPH_UNET ? 3e-5 : 4e-6); /* Winograd loses more */
}
END_TEST

static const size_t group_channels[] = {32, 64, 96, 384}, group_sizes[] = {1, 2, 3, 4, 8};

/* Modulated and activated where the numbers of channels and of a group are both even, or odd, in order. */
START_TEST(groups_of_every_size_are_normalised)
{
    size_t channels = group_channels[_i % 4], size = group_sizes[_i / 4];
    if (channels % size != 0) {
        return;
    }
    bool modulated = (_i + _i / 4) % 2 == 0;
    const plan_node nodes[] = {
        {.kind = NODE_IMAGE},
        {.kind = NODE_LABEL, .count = 5, .size = 2 * channels + 3},
        {.kind = NODE_CONV, .size = channels, .count = 1, .stride = 1},
        {.kind = NODE_GROUP_NORM,
         .from = 2,
         .count = channels / size,
         .with = modulated ? 1 : 0,
         .column = 3,
         .activation = modulated ? FM_ACTIVATION_SILU : FM_ACTIVATION_NONE},
        {.kind = NODE_IMAGE_OUTPUT, .from = 3, .size = channels},
        {.kind = NODE_END},
    };
    const plan_graph graph = {"group norm", 3, 6, 5, nodes};
    check_numbers(&graph, 4e-6);
}
END_TEST

START_TEST(tokens_of_every_width_are_normalised)
{
    static const size_t widths[] = {1, 2, 15, 16, 17, 31, 33, 64, 100, 130};
    for (size_t i = 0; i < 4; i++) {
        size_t channels = widths[_i];
        const plan_node nodes[] = {
            {.kind = NODE_IMAGE},
            {.kind = NODE_LABEL, .count = 5, .size = 2 * channels + 1},
            {.kind = NODE_CONV, .size = channels, .count = 1, .stride = 1},
            {.kind = NODE_LAYER_NORM,
             .from = 2,
             .with = i % 2 == 0 ? 1 : 0,
             .column = 1,
             .count = (i + 1) % 3,
             .flag = i >= 2},
            {.kind = NODE_CONV, .from = 3, .size = 8, .count = i == 3 ? 3 : 1, .stride = 1},
            {.kind = NODE_IMAGE_OUTPUT, .from = 4, .size = 8},
            {.kind = NODE_END},
        };
        const plan_graph graph = {"layer norm", 3, 7, 11, nodes};
        check_numbers(&graph, channels == 2 ? 2e-5 : 1e-5); /* two channels may be nearly equal */
    }
}
END_TEST

/* What float32 sums lose of a mean, in deviations: half a unit in the last place of the mean itself, of the
 * term that takes it away, and of each addition of a line (which mostly cancel). */
static double mean_error(const plan_graph *graph, double mean, double deviation)
{
    return FLT_EPSILON / 2 * (2 + (double)graph->width / 8) * fabs(mean) / deviation;
}

/* Rows of mean + deviation * noise in float32, and what the graph makes of them. */
static void rows_fill(plan_case *it, double mean, double deviation)
{
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS * it->dimension; i++) {
        it->x[i] = (double)(float)(mean + deviation * (double)image_case_noise(71, i));
    }
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS; i++) {
        plan_naive_run(it->graph, &it->rows[i], it->want + i * it->out_dimension);
    }
}

START_TEST(means_far_larger_than_the_deviation_cost_no_more_than_their_rounding)
{
    static const struct {
        double mean, deviation;
    } images[] = {{1000, 1}, {-30, 0.01}, {1e5, 100}, {3, 0}, {-1000, 0}};
    const plan_node nodes[] = {
        {.kind = NODE_IMAGE},
        {.kind = _i == 0 ? NODE_GROUP_NORM : NODE_LAYER_NORM, .count = 4},
        {.kind = NODE_IMAGE_OUTPUT, .from = 1, .size = 32},
        {.kind = NODE_END},
    };
    const plan_graph graph = {"norm", 32, 6, 28, nodes};
    plan_case it;
    plan_case_open(&it, &graph, false);
    for (size_t k = 0; k < 5; k++) {
        rows_fill(&it, images[k].mean, images[k].deviation);
        plan_case_run(&it, ascending, PLAN_CASE_MAX_ROWS, NULL);
        /* The noise's deviation is 1 / sqrt 3; a weight is at most 1.5, a result about 3. */
        double spread = sqrt(images[k].deviation * images[k].deviation / 3 + PLAN_NAIVE_EPSILON);
        double limit = 1e-6 + 1.5 * mean_error(&graph, images[k].mean, spread);
        for (size_t i = 0; i < PLAN_CASE_MAX_ROWS * it.out_dimension; i++) {
            if (!(fabs(it.out[i] - it.want[i]) <= limit)) { /* NaN too */
                ck_abort_msg("mean %g: %.9g, want %.9g +- %.2g", images[k].mean, it.out[i],
                             it.want[i], limit);
            }
        }
    }
    plan_case_close(&it);
}
END_TEST

/* ---- bits ---- */

/* Every row alone, into it->want. */
static void rows_alone(plan_case *it, fm_team *team)
{
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS; i++) {
        plan_case_run(it, &i, 1, team);
        memcpy(it->want + i * it->out_dimension, it->out + i * it->out_dimension,
               it->out_dimension * sizeof *it->out);
    }
}

static void check_tile(plan_case *it, const size_t *order, size_t n_rows, fm_team *team)
{
    plan_case_run(it, order, n_rows, team);
    for (size_t i = 0; i < n_rows; i++) {
        ck_assert_msg(memcmp(it->out + order[i] * it->out_dimension,
                             it->want + order[i] * it->out_dimension,
                             it->out_dimension * sizeof *it->out) == 0,
                      "%s: row %zu at %zu of %zu, %zu members", it->graph->name, order[i], i,
                      n_rows, fm_team_members(team));
    }
}

START_TEST(rows_have_the_same_bytes_alone_and_in_tiles)
{
    static const size_t orders[][PLAN_CASE_MAX_ROWS] = {
        {0, 1, 2, 3, 4, 5, 6}, {6, 5, 4, 3, 2, 1, 0}, {3, 0, 6, 1, 5, 2, 4}};
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    rows_alone(&it, NULL);
    for (size_t n_rows = 2; n_rows <= PLAN_CASE_MAX_ROWS; n_rows++) {
        check_tile(&it, orders[n_rows % 3], n_rows, NULL);
    }
    check_tile(&it, orders[0], PLAN_CASE_MAX_ROWS, NULL);
    check_tile(&it, orders[1], PLAN_CASE_MAX_ROWS, NULL);
    plan_case_close(&it);
}
END_TEST

START_TEST(teams_of_every_size_give_the_bytes_of_one_that_works_alone)
{
    static const size_t members[] = {1, 2, 3, 8};
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    rows_alone(&it, NULL);
    for (size_t m = 0; m < 4; m++) {
        reversed_team team;
        reversed_team_open(&team, &it, members[m]);
        for (size_t n_rows = 1; n_rows <= PLAN_CASE_MAX_ROWS; n_rows += 2) {
            check_tile(&it, ascending, n_rows, &team.team);
        }
        ck_assert(team.n_runs > 0 || _i < GRAPH_CONDITIONS); /* those only enter and leave */
        reversed_team_close(&team);
    }
    plan_case_close(&it);
}
END_TEST

/* What two pieces of an op share, the thread sanitizer sees (make MODE=tsan unit). */
START_TEST(pieces_of_one_op_may_run_at_the_same_time)
{
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    rows_alone(&it, NULL);
    threaded_team team;
    threaded_team_open(&team, &it, 3);
    for (size_t n_rows = 1; n_rows <= PLAN_CASE_MAX_ROWS; n_rows += 3) {
        check_tile(&it, ascending, n_rows, &team.members.team);
    }
    threaded_team_close(&team);
    plan_case_close(&it);
}
END_TEST

START_TEST(a_row_of_nans_leaves_the_others_alone)
{
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    rows_alone(&it, NULL);
    for (size_t i = 0; i < it.dimension; i++) {
        it.x[3 * it.dimension + i] = NAN;
    }
    plan_case_run(&it, ascending, PLAN_CASE_MAX_ROWS, NULL);
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS; i++) {
        const double *out = it.out + i * it.out_dimension, *want = it.want + i * it.out_dimension;
        ck_assert_msg(i == 3 ? isnan(out[0])
                             : memcmp(out, want, it.out_dimension * sizeof *out) == 0,
                      "%s: row %zu", it.graph->name, i);
    }
    plan_case_close(&it);
}
END_TEST

START_TEST(the_check_of_bits_passes)
{
    fm_plan *plan = NULL;
    fm_network *network = NULL;
    bool independent = false;
    ck_assert_int_eq(plan_case_build(&plan_graphs[_i], 5, &plan, NULL), FM_OK);
    ck_assert_int_eq(fm_plan_finish(plan, NULL), FM_OK);
    ck_assert_int_eq(fm_plan_network_new(plan, &network, NULL), FM_OK);
    ck_assert_int_eq(fm_network_check_bits(network, 4, &independent, NULL), FM_OK);
    ck_assert(independent);
    fm_network_free(network);
}
END_TEST

/* ---- memory ---- */

START_TEST(every_failed_allocation_while_building_is_reported_and_leaks_nothing)
{
    fm_status status = FM_ENOMEM;
    size_t k = 0;
    for (; status != FM_OK; k++) {
        ck_assert_uint_lt(k, 1000);
        fm_plan *plan = NULL;
        fm_network *network = NULL;
        fm_error err = {0};
        failing_memory_start(k);
        status = plan_case_build(&plan_graphs[_i], 3, &plan, &err);
        if (status == FM_OK) {
            status = fm_plan_finish(plan, &err);
            if (status == FM_OK) {
                status = fm_plan_network_new(plan, &network, &err);
            } else {
                fm_plan_free(plan);
            }
        }
        ck_assert_int_eq(failing_memory_stop(), status != FM_OK);
        ck_assert(status == FM_OK || (status == FM_ENOMEM && err.status == FM_ENOMEM));
        fm_network_free(network);
    }
    ck_assert_uint_ge(k, 5); /* plan, ops, values, an input, the places */
}
END_TEST

static bool refuse(void *context, size_t size_bytes)
{
    (void)context;
    (void)size_bytes;
    return false;
}

START_TEST(evaluation_allocates_nothing)
{
    plan_case it;
    plan_case_open(&it, &plan_graphs[_i], false);
    fm_memory_set_hook(refuse, NULL);
    plan_case_run(&it, ascending, PLAN_CASE_MAX_ROWS, NULL);
    fm_memory_set_hook(NULL, NULL);
    plan_case_close(&it);
}
END_TEST

/* ---- sizes and words ---- */

START_TEST(networks_of_images_tell_their_sizes)
{
    fm_plan *plan = NULL;
    fm_network *network = NULL;
    ck_assert_int_eq(plan_case_build(&plan_graphs[GRAPH_TRANSFORMER], 5, &plan, NULL), FM_OK);
    ck_assert_int_eq(fm_plan_finish(plan, NULL), FM_OK);
    ck_assert_uint_lt(fm_plan_scratch_bytes(plan), fm_plan_unshared_bytes(plan));
    ck_assert_int_eq(fm_plan_network_new(plan, &network, NULL), FM_OK);
    const fm_network_info *info = &network->info;
    ck_assert_uint_eq(info->dimension, 3 * 8 * 6);
    ck_assert_uint_eq(info->out_dimension, 3 * 8 * 6);
    size_t linear = 65 * 64 + 65 * 192, tables = 5 * 64 + 12 * 32, norms = 2 * 32;
    size_t convs = 13 * 32 + 33 * 96 + 33 * 32 + 33 * 128 + 129 * 32 + 33 * 16;
    ck_assert_uint_eq(info->parameter_count, linear + tables + norms + convs);
    ck_assert_uint_ge(info->weight_bytes, 4 * info->parameter_count);
    fm_network_free(network);
}
END_TEST

static void append(void *context, const char *text, size_t length)
{
    char *all = context;
    size_t used = strlen(all);
    ck_assert_uint_lt(used + length, 8192);
    memcpy(all + used, text, length);
    all[used + length] = '\0';
}

/* Whether `before`, any one word (the route, which depends on the build) and `after` stand in the text. */
static bool is_printed(const char *text, const char *before, const char *after)
{
    for (const char *at = strstr(text, before); at != NULL; at = strstr(at + 1, before)) {
        const char *rest = at + strlen(before);
        rest += strspn(rest, "abcdefghijklmnopqrstuvwxyz");
        if (strncmp(rest, after, strlen(after)) == 0) {
            return true;
        }
    }
    return false;
}

static const struct {
    int graph;
    const char *before, *after;
} printed[] = {
    {GRAPH_UNET,
     "  0 image      x [3][8][8] and 4 waves of each -> [7][8][8][15] stride 16 bordered at", ""},
    {GRAPH_UNET, "  1 time       16 cosines, then sines, longest period 10000 x 2 pi -> [", ""},
    {GRAPH_UNET, "  2 linear     [32 inputs] + bias, silu -> [", ""},
    {GRAPH_UNET,
     "  6 group norm 16 groups, epsilon 1e-05, silu -> [7][8][8][48] stride 48 bordered", ""},
    {GRAPH_UNET, "  7 conv       48 > 48, 3 x 3, stride 1, ", ", + row bias -> [7][8][8][48]"},
    {GRAPH_UNET, "  8 group norm 6 groups, epsilon 1e-05, modulated, silu -> ", ""},
    {GRAPH_UNET, " 10 conv       48 > 64, 3 x 3, stride 2, ", " -> [7][4][4][64] stride 64 at"},
    {GRAPH_UNET,
     " 13 attention  2 heads of 32 channels over 16 tokens, q, k, v first -> [7][4][4][64]", ""},
    {GRAPH_UNET, " 15 upsample   value 14, nearest, x 2 -> [7][8][8][64]", ""},
    {GRAPH_UNET, " 17 concat     of values 16 and 9 -> [7][8][8][96]", ""},
    {GRAPH_UNET, " 19 conv       96 > 48, 3 x 3, stride 1, ", ", relu -> [7]"},
    {GRAPH_UNET, " 20 pool       value 19, mean of 2 x 2 -> [7][4][4][48]", ""},
    {GRAPH_UNET, " 22 sum        of values 21 + 19, silu -> ", ""},
    {GRAPH_UNET, " 24 output     of value 23, channels first\n7 rows, ", ""},
    {GRAPH_TRANSFORMER,
     "  0 patches    x [3][8][6] in patches of 2 x 2 -> [7][4][3][12] stride 16 at", ""},
    {GRAPH_TRANSFORMER, "  2 label      table of 5 labels -> [7][64]", ""},
    {GRAPH_TRANSFORMER, "  7 positions  added to value 6 -> [7][4][3][32]", ""},
    {GRAPH_TRANSFORMER, "  8 layer norm epsilon 1e-05, modulated -> [7][4][3][32]", ""},
    {GRAPH_TRANSFORMER, " 10 attention  4 heads of 8 channels over 12 tokens, heads first -> ", ""},
    {GRAPH_TRANSFORMER, " 11 conv       32 > 32, 1 x 1, stride 1, ",
     ", x gate, + residual -> [7][4][3][32]"},
    {GRAPH_TRANSFORMER, " 12 layer norm rms, epsilon 1e-05, modulated -> ", ""},
    {GRAPH_TRANSFORMER, " 17 output     of value 16, patches of 2 x 2 x 4 channels, 3 kept\n", ""},
    {GRAPH_PLACES,
     "  2 rotary     q and k of 2 heads of 6 channels, q, k, v first -> [7][5][13][36]", ""},
    {GRAPH_PLACES,
     "  5 rotary     q and k of 1 heads of 16 channels, heads first -> [7][5][13][48]", ""},
    {GRAPH_PLACES, "  8 output     of value 7\n", ""},
    {GRAPH_CONDITIONS, "  7 sum        of values 6, gelu -> ", ""},
    {GRAPH_FRAMES, "  1 table      of 5 pixels -> [7][1][5][24]", ""},
    {GRAPH_FRAMES, "  2 relative frames of value 0, 7 bumps 0.7 apart -> [7][5][5][19]", ""},
    {GRAPH_FRAMES, "  6 pair attention 3 heads of 5 and 11 channels over 5 tokens -> [7][1][5][48]",
     ""},
    {GRAPH_FRAMES, " 13 output     of value 12, in the frames of value 0\n7 rows, ", ""},
};

START_TEST(plans_print_what_each_op_does)
{
    static char text[8192];
    plan_case it;
    plan_case_open(&it, &plan_graphs[printed[_i].graph], false);
    text[0] = '\0';
    fm_plan_print(it.plan, append, text);
    ck_assert_msg(is_printed(text, printed[_i].before, printed[_i].after),
                  "no \"%s<route>%s\" in\n%s", printed[_i].before, printed[_i].after, text);
    plan_case_close(&it);
}
END_TEST

Suite *suite_engine_plan_image(void)
{
    Suite *suite = suite_create("engine/plan_image");
    TCase *numbers = tcase_create("numbers");
    tcase_add_checked_fixture(numbers, fm_dense_thread_init, NULL);
    tcase_set_timeout(numbers, 60);
    tcase_add_loop_test(numbers, plans_compute_what_their_ops_are_defined_to, 0, N_GRAPHS);
    tcase_add_loop_test(numbers, groups_of_every_size_are_normalised, 0, 20);
    tcase_add_loop_test(numbers, tokens_of_every_width_are_normalised, 0, 10);
    tcase_add_loop_test(numbers,
                        means_far_larger_than_the_deviation_cost_no_more_than_their_rounding, 0, 2);
    suite_add_tcase(suite, numbers);
    TCase *bits = tcase_create("bits");
    tcase_add_checked_fixture(bits, fm_dense_thread_init, NULL);
    tcase_set_timeout(bits, 60);
    tcase_add_loop_test(bits, rows_have_the_same_bytes_alone_and_in_tiles, 0, N_GRAPHS);
    tcase_add_loop_test(bits, teams_of_every_size_give_the_bytes_of_one_that_works_alone, 0,
                        N_GRAPHS);
    tcase_add_loop_test(bits, pieces_of_one_op_may_run_at_the_same_time, 0, N_GRAPHS);
    tcase_add_loop_test(bits, a_row_of_nans_leaves_the_others_alone, 0, N_GRAPHS);
    tcase_add_loop_test(bits, the_check_of_bits_passes, 0, N_GRAPHS);
    suite_add_tcase(suite, bits);
    TCase *memory = tcase_create("memory");
    tcase_add_checked_fixture(memory, fm_dense_thread_init, NULL);
    tcase_set_timeout(memory, 60);
    tcase_add_loop_test(
        memory, every_failed_allocation_while_building_is_reported_and_leaks_nothing, 0, N_GRAPHS);
    tcase_add_loop_test(memory, evaluation_allocates_nothing, 0, N_GRAPHS);
    suite_add_tcase(suite, memory);
    TCase *words = tcase_create("words");
    tcase_add_checked_fixture(words, fm_dense_thread_init, NULL);
    tcase_add_test(words, networks_of_images_tell_their_sizes);
    tcase_add_loop_test(words, plans_print_what_each_op_does, 0,
                        (int)(sizeof printed / sizeof printed[0]));
    suite_add_tcase(suite, words);
    return suite;
}
