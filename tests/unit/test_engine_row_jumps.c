/* Models that jump, from their folder to samples: by the velocity alone, by superposition, alone and together. */
#include "engine/inverse/operator.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define ROWS  ((size_t)40)
#define STEPS 10

static const double whole[] = {0, 1};

static fm_model *open_model(const char *folder)
{
    const fm_model_options options = {.workers = 2, .gradient_bytes = SIZE_MAX};
    return engine_case_model_with(folder, &options);
}

static fm_row_result row_of(const fm_job *job, size_t row)
{
    fm_row_result result;
    fm_job_row(job, row, &result);
    ck_assert_int_eq(result.status, FM_ROW_OK);
    return result;
}

/* Of the model that jumps, and of the same flow without its jumps. */
typedef struct pair {
    fm_model *models[2];
    fm_engine *engines[2];
} pair;

static void pair_open(pair *ret)
{
    ret->models[0] = open_model("tests/golden/jumps-mlp");
    ret->models[1] = open_model("tests/golden/jumps-mlp-flow");
    ret->engines[0] = engine_case_engine(2);
    ret->engines[1] = engine_case_engine(2);
}

static void pair_close(pair *it)
{
    for (size_t i = 0; i < 2; i++) {
        fm_engine_free(it->engines[i]);
        fm_model_unref(it->models[i]);
    }
}

/* Runs both, with the model exchanged. */
static void pair_run(const pair *it, fm_job_spec spec, fm_job *ret[2])
{
    for (size_t i = 0; i < 2; i++) {
        spec.model = it->models[i];
        ret[i] = engine_case_run(it->engines[i], &spec);
    }
}

static void are_close(fm_job *jobs[2])
{
    for (size_t i = 0; i < ROWS; i++) {
        fm_row_result a = row_of(jobs[0], i), b = row_of(jobs[1], i);
        ck_assert_double_eq_tol((double)a.x[0], (double)b.x[0], 2e-5);
        ck_assert_double_eq_tol((double)a.x[1], (double)b.x[1], 2e-5);
    }
}

START_TEST(flows_are_sampled_and_measured_as_if_they_did_not_jump)
{
    pair it;
    fm_job *jobs[2];
    pair_open(&it);
    fm_job_spec spec = engine_case_spec(it.models[0], ROWS, "dopri5", 2, whole);
    spec.log_likelihood = true;
    if (_i == 1) {
        spec.divergence = (fm_divergence){
            .method = FM_DIVERGENCE_HUTCHINSON, .probe = FM_PROBE_RADEMACHER, .n_probes = 7};
    }
    pair_run(&it, spec, jobs);
    are_close(jobs);
    for (size_t i = 0; i < ROWS; i++) {
        double likelihood = row_of(jobs[0], i).log_likelihood;
        ck_assert_double_eq_tol(likelihood, row_of(jobs[1], i).log_likelihood, 2e-4);
    }
    fm_job_free(jobs[0]);
    fm_job_free(jobs[1]);
    pair_close(&it);
}
END_TEST

START_TEST(observations_pull_as_if_they_did_not_jump)
{
    static const double matrix[] = {0.5, -2}, seen[] = {0.7};
    double grid[STEPS + 1];
    pair it;
    fm_job *jobs[2];
    pair_open(&it);
    fm_grid_uniform(0, 1, STEPS, grid);
    fm_operator forward;
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = matrix, .n_rows = 1};
    ck_assert_int_eq(fm_operator_init(&forward, fm_operator_type_find("matrix"), &options, NULL),
                     FM_OK);
    const fm_inverse inverse = {.forward = &forward,
                                .observations = seen,
                                .n_observations = 1,
                                .observation_std = 0.2,
                                .guidance_scale = 0.5};
    fm_job_spec spec = engine_case_spec(it.models[0], ROWS, "midpoint", STEPS + 1, grid);
    spec.inverse = &inverse;
    pair_run(&it, spec, jobs);
    are_close(jobs);
    spec.solver.method = fm_method_find("superposition");
    spec.model = it.models[0];
    engine_case_refuse(it.engines[0], &spec, "superposition does not take an observation");
    spec.inverse = NULL;
    spec.guidance.zero_until = 0.1;
    engine_case_refuse(it.engines[0], &spec, "superposition does not take guidance");
    spec.guidance.zero_until = 0;
    spec.log_likelihood = true;
    engine_case_refuse(it.engines[0], &spec, "n_velocity");
    spec.log_likelihood = false;
    spec.model = it.models[1];
    engine_case_refuse(it.engines[1], &spec, "flows that do not jump");
    fm_job_free(jobs[0]);
    fm_job_free(jobs[1]);
    pair_close(&it);
}
END_TEST

START_TEST(superposition_without_jumps_is_eulers_method)
{
    double grid[STEPS + 1];
    engine_case it;
    engine_case_open(&it, "tests/golden/jumps-mlp", 2);
    fm_grid_uniform(0, 1, STEPS, grid);
    fm_job_spec spec = engine_case_spec(it.model, ROWS, "euler", STEPS + 1, grid);
    fm_job *euler = engine_case_run(it.engine, &spec);
    spec.solver.method = fm_method_find("superposition");
    spec.solver.sampling.jump_weight = 0;
    fm_job *flow = engine_case_run(it.engine, &spec);
    spec.solver.sampling.jump_weight = 1;
    fm_job *jumps = engine_case_run(it.engine, &spec);
    size_t differ = 0;
    for (size_t i = 0; i < ROWS; i++) {
        ck_assert_mem_eq(row_of(euler, i).x, row_of(flow, i).x, 2 * sizeof(float));
        differ += memcmp(row_of(euler, i).x, row_of(jumps, i).x, 2 * sizeof(float)) != 0;
    }
    ck_assert_uint_eq(differ, ROWS);
    fm_job_free(euler);
    fm_job_free(flow);
    fm_job_free(jumps);
    engine_case_close(&it);
}
END_TEST

START_TEST(jumps_are_the_same_alone_and_beside_others)
{
    double grid[STEPS + 1];
    fm_error err;
    engine_case it, alone;
    engine_case_open(&it, "tests/golden/jumps-mlp", 2);
    engine_case_open(&alone, "tests/golden/jumps-mlp", 1);
    fm_grid_uniform(0, 1, STEPS, grid);
    fm_job_spec spec = engine_case_spec(it.model, ROWS, "superposition", STEPS + 1, grid);
    fm_job_spec other = engine_case_spec(it.model, 3 * ROWS, "dopri5", 2, whole);
    spec.solver.sampling.diffusion_weight = 0.3;
    fm_job *jobs[2], *ended;
    ck_assert_int_eq(fm_engine_submit(it.engine, &other, &jobs[1], &err), FM_OK);
    ck_assert_int_eq(fm_engine_submit(it.engine, &spec, &jobs[0], &err), FM_OK);
    for (int n = 0; n < 2; n++) {
        ended = fm_engine_wait(it.engine);
        ck_assert(ended == jobs[0] || ended == jobs[1]);
    }
    spec.model = alone.model;
    for (size_t n = ROWS; n > 0;
         n = n / 3) { /* also fewer: what a row draws depends on its index */
        spec.n_rows = n;
        fm_job *job = engine_case_run(alone.engine, &spec);
        for (size_t i = 0; i < n; i++) {
            ck_assert_mem_eq(row_of(job, i).x, row_of(jobs[0], i).x, 2 * sizeof(float));
        }
        fm_job_free(job);
    }
    fm_job_free(jobs[0]);
    fm_job_free(jobs[1]);
    engine_case_close(&it);
    engine_case_close(&alone);
}
END_TEST

START_TEST(networks_outputs_are_counted_by_numbers_and_bins)
{
    fm_model *model = engine_case_model("tests/golden/jumps-mlp", 1);
    const fm_space *space = fm_model_describe(model)->geometry;
    ck_assert(space->is_flat);
    ck_assert_uint_eq(space->bins.n, 5);
    ck_assert_double_eq(space->bins.range[0], -3);
    ck_assert_double_eq(space->bins.range[1], 3);
    ck_assert_uint_eq(space->outputs, 14);
    ck_assert_uint_eq(model->network->info.out_dimension, 14);
    fm_model_unref(model);
}
END_TEST

Suite *suite_engine_row_jumps(void)
{
    Suite *suite = suite_create("engine/row_jumps");
    TCase *flow = tcase_create("flow");
    tcase_set_timeout(flow, 60);
    tcase_add_loop_test(flow, flows_are_sampled_and_measured_as_if_they_did_not_jump, 0, 2);
    tcase_add_test(flow, observations_pull_as_if_they_did_not_jump);
    suite_add_tcase(suite, flow);
    TCase *jumps = tcase_create("jumps");
    tcase_add_test(jumps, superposition_without_jumps_is_eulers_method);
    tcase_add_test(jumps, jumps_are_the_same_alone_and_beside_others);
    tcase_add_test(jumps, networks_outputs_are_counted_by_numbers_and_bins);
    suite_add_tcase(suite, jumps);
    return suite;
}
