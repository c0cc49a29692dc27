/* What a job will cost, from made-up measured times: against the model of it in closed form. */
#include "engine/fm.h"
#include "engine/model.h"
#include "tests/unit/suites.h"

#define TILE    64
#define STEPS   100
#define WORKERS 4

static fm_model *model;
static double grid[STEPS + 1];

/* A full call takes 64 units, a lone row's 10. */
static void set_up(void)
{
    fm_error err = {0};
    fm_model_options options = {.workers = 1};
    fm_status status = fm_model_open("tests/golden/mlp-labels", &options, &model, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    ck_assert_double_gt(model->info.call_seconds, 0); /* it was measured */
    ck_assert_double_gt(model->info.evaluation_seconds, 0);
    ck_assert(!model->info.divisible);
    model->info.tile_rows = TILE;
    model->info.evaluation_seconds = 1;
    model->info.call_seconds = 10;
    fm_grid_uniform(0, 1, STEPS, grid);
}

static void tear_down(void)
{
    fm_model_unref(model);
}

static fm_job_spec euler(size_t n_rows)
{
    return (fm_job_spec){.task = FM_TASK_SAMPLE,
                         .model = model,
                         .n_rows = n_rows,
                         .guidance = {.scale = 1},
                         .solver = {.method = fm_method_find("euler"),
                                    .grid = grid,
                                    .n_grid = STEPS + 1,
                                    .max_evaluations = 10000}};
}

static const struct {
    size_t n_rows, workers;
    double call; /* of a round, where that is longer than its work */
} rounds[] = {
    {1, 1, 10}, /* a lone row: call by call, with idle workers too */
    {1, WORKERS, 10},
    {4, WORKERS, 10 + 54 * 3 / 63.0}, /* a sixteenth of a tile is not split */
    {16, WORKERS, 10 + 54 * 3 / 63.0},
    {64, WORKERS, 10 + 54 * 15 / 63.0},
    {64, 1, 64},
    {256, WORKERS, 64},   /* every worker has a full tile */
    {1000, WORKERS, 250}, /* beyond, it is the work */
    {1000, 1, 1000},
};

START_TEST(evaluations_follow_each_other_and_calls_of_few_rows_cost_more_a_row)
{
    fm_job_spec spec = euler(rounds[_i].n_rows);
    fm_job_estimate estimate = fm_job_estimate_of(&spec, rounds[_i].workers);
    double rows = (double)spec.n_rows;
    ck_assert_double_eq(estimate.evaluations, rows * STEPS);
    ck_assert_double_eq_tol(estimate.work_seconds, rows * STEPS / (double)rounds[_i].workers, 1e-9);
    ck_assert_double_eq_tol(estimate.seconds, STEPS * rounds[_i].call, 1e-3);
    ck_assert_double_ge(estimate.seconds, estimate.work_seconds);
}
END_TEST

START_TEST(workers_that_help_divide_a_call)
{
    model->info.divisible = true;
    fm_job_spec spec = euler(1);
    ck_assert_double_eq_tol(fm_job_estimate_of(&spec, WORKERS).seconds, STEPS * 10.0 / WORKERS,
                            1e-9);
}
END_TEST

START_TEST(a_guided_row_is_two_of_its_call)
{
    const int32_t label = 0;
    fm_job_spec spec = euler(1);
    spec.labels = &label;
    spec.guidance.scale = 3;
    fm_job_estimate estimate = fm_job_estimate_of(&spec, 1);
    ck_assert_double_eq(estimate.evaluations, STEPS);
    ck_assert_double_eq(estimate.work_seconds, 2 * STEPS);
    ck_assert_double_eq_tol(estimate.seconds, STEPS * (10 + 54 / 63.0), 1e-9);
}
END_TEST

/* Exact, in two dimensions: two tangents beside each velocity whose divergence has a weight. */
START_TEST(a_density_costs_the_tangents_that_are_wanted)
{
    static const struct {
        const char *method;
        double rows;
    } costs[] = {{"euler", 3}, {"midpoint", 2}, {"heun2", 3}, {"dopri5", 1 + 2 * 5 / 6.0}};
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        fm_job_spec spec = euler(600);
        spec.solver.method = fm_method_find(costs[i].method);
        spec.solver.rtol = spec.solver.atol = 1e-5;
        double plain = fm_job_estimate_of(&spec, 1).work_seconds;
        spec.log_likelihood = true;
        double with = fm_job_estimate_of(&spec, 1).work_seconds;
        ck_assert_double_eq_tol(with / plain, costs[i].rows, 1e-9);
    }
}
END_TEST

Suite *suite_engine_estimate(void)
{
    Suite *suite = suite_create("engine/estimate");
    TCase *tests = tcase_create("estimate");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, evaluations_follow_each_other_and_calls_of_few_rows_cost_more_a_row,
                        0, (int)(sizeof rounds / sizeof *rounds));
    tcase_add_test(tests, workers_that_help_divide_a_call);
    tcase_add_test(tests, a_guided_row_is_two_of_its_call);
    tcase_add_test(tests, a_density_costs_the_tangents_that_are_wanted);
    suite_add_tcase(suite, tests);
    return suite;
}
