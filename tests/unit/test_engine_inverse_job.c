/* Inverse problems as jobs: a mixture of Gaussians, part of which is observed, from the spec to the samples. */
#include "engine/batch/job.h"
#include "engine/fm.h"
#include "engine/inverse/replacement.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define STEPS   40
#define ROWS    300
#define MIXTURE "tests/golden/gaussian-mixture-2d"

static engine_case test; /* of a mixture */
static double grid[STEPS + 1], observation[2] = {0, 1.5};
static const double second[2] = {0, 1};
static fm_operator forward;
static fm_inverse inverse;

/* The second coordinate is 1.5, as it is about the second component, N((-1, 1.5), 0.6^2), alone. */
static fm_job_spec observed_spec(const char *method)
{
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = second};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find("mask"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    fm_grid_uniform(0, 1, STEPS, grid);
    inverse = (fm_inverse){.forward = &forward,
                           .observations = observation,
                           .n_observations = 1,
                           .replaces = strcmp(method, "pnp_flow") != 0};
    return (fm_job_spec){.task = FM_TASK_SAMPLE,
                         .model = test.model,
                         .n_rows = ROWS,
                         .seed = 1,
                         .guidance = {.scale = 1},
                         .inverse = &inverse,
                         .solver = {.method = fm_method_find(method),
                                    .grid = grid,
                                    .n_grid = STEPS + 1,
                                    .rtol = 1e-5,
                                    .atol = 1e-5,
                                    .sampling = FM_SAMPLING_DEFAULT,
                                    .max_evaluations = 10000}};
}

static fm_job *run(const fm_job_spec *spec)
{
    fm_job *job = engine_case_run(test.engine, spec);
    ck_assert_int_eq(fm_job_status(job), FM_OK);
    return job;
}

static double mean_of_first(const fm_job *job)
{
    double mean = 0;
    for (size_t i = 0; i < fm_job_n_rows(job); i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, FM_ROW_OK);
        mean += (double)result.x[0] / (double)fm_job_n_rows(job);
    }
    return mean;
}

START_TEST(replaced_samples_have_the_observation_to_the_bit)
{
    static const char *const methods[] = {"midpoint", "euler_maruyama", "ddpm", "edm_heun"};
    engine_case_open(&test, MIXTURE, 2);
    fm_job_spec spec = observed_spec(methods[_i]);
    fm_job *job = run(&spec);
    for (size_t i = 0; i < ROWS; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_float_eq(result.x[1], 1.5F);
    }
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

/* The mean of the first coordinate: 0.6 of the test.model, -1 of the posterior, and of one-sided replacement, which lets most
 * samples end in other components, 0.404 in NumPy (20,000 samples, 40 midpoint steps). */
START_TEST(replaced_samples_have_the_law_of_another_implementation)
{
    engine_case_open(&test, MIXTURE, 2);
    fm_job_spec spec = observed_spec("midpoint");
    spec.n_rows = 4000;
    fm_job *job = run(&spec);
    ck_assert_double_eq_tol(mean_of_first(job), 0.404, 0.1); /* four standard errors */
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

START_TEST(recorded_states_show_what_has_been_replaced)
{
    engine_case_open(&test, MIXTURE, 2);
    fm_job_spec spec = observed_spec("heun2");
    double times[2] = {0.5, 1};
    spec.output_times = times;
    spec.n_output_times = 2;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 5; i++) {
        fm_row_result result;
        double state[2] = {0, 0}, scratch[8];
        const fm_replacement replacement = {
            .inverse = &inverse, .path = &test.model->config.path, .seed = 1, .sample = i};
        ck_assert_uint_le(fm_replacement_scratch_size(&forward), 8);
        fm_replacement_apply(&replacement, STEPS / 2 - 1, 0.5, state, scratch);
        fm_job_row(job, i, &result);
        ck_assert_float_eq(result.fields[FM_FIELD_X][1], (float)state[1]);
        ck_assert_float_eq(result.fields[FM_FIELD_X][3], 1.5F);
    }
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

START_TEST(pnp_flow_comes_to_the_observation_and_the_component_that_it_tells)
{
    engine_case_open(&test, MIXTURE, 2);
    fm_job_spec spec = observed_spec("pnp_flow");
    spec.solver.sampling.pnp_power = 0;
    ck_assert_double_eq(fm_job_expected_evaluations(&spec), 5 * STEPS);
    fm_job *job = run(&spec);
    fm_row_result result;
    fm_job_row(job, ROWS - 1, &result);
    ck_assert_uint_eq(result.evaluations, 5 * STEPS);
    ck_assert_double_eq_tol(result.x[1], 1.5, 0.05);
    ck_assert_double_eq_tol(mean_of_first(job), -1, 0.35); /* the posterior's; seen: -0.79 */
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

/* On a grid whose first time keeps something of it. */
START_TEST(without_a_start_pnp_flow_begins_at_the_least_state_that_has_the_observation)
{
    const double row[2] = {3, 4}, y[2] = {5, 10};
    double start[2] = {0, 0.1};
    fm_operator matrix;
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = row, .n_rows = 1};
    fm_status status = fm_operator_init(&matrix, fm_operator_type_find("matrix"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    engine_case_open(&test, MIXTURE, 1);
    fm_job_spec spec = observed_spec("pnp_flow");
    spec.n_rows = 2;
    spec.output_times = start;
    spec.n_output_times = 1;
    inverse = (fm_inverse){.forward = &matrix, .observations = y, .n_observations = 2};
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 2; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_double_eq_tol(result.fields[FM_FIELD_X][0], 0.6 * (double)(i + 1), 1e-6);
        ck_assert_double_eq_tol(result.fields[FM_FIELD_X][1], 0.8 * (double)(i + 1), 1e-6);
    }
    fm_job_free(job);
    const double given[4] = {1, 2, 3, 4};
    spec.x = given;
    job = run(&spec);
    fm_row_result result;
    fm_job_row(job, 1, &result);
    ck_assert_float_eq(result.fields[FM_FIELD_X][1], 4);
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

START_TEST(broken_rules_are_refused_by_name)
{
    static const double endless[2] = {0, HUGE_VAL}, down[2] = {1, 0}, beyond[2] = {0, 1.5};
    fm_operator other = {.dimension = 3};
    engine_case_open(&test, MIXTURE, 1);
#define REFUSED(method, text, ...)                                                                 \
    do {                                                                                           \
        fm_job_spec bad = observed_spec(method);                                                   \
        __VA_ARGS__;                                                                               \
        engine_case_refuse(test.engine, &bad, text);                                               \
    } while (0)
    REFUSED("euler", "inverse: forward", inverse.forward = &other);
    REFUSED("euler", "inverse: forward", inverse.forward = NULL);
    REFUSED("euler", "inverse: observations must be one", inverse.n_observations = 7);
    REFUSED("euler", "inverse: observations must be one", inverse.observations = NULL);
    REFUSED("euler", "finite; entry 1", inverse.observations = endless);
    REFUSED("euler", "inverse: observation_std", inverse.observation_std = -1);
    REFUSED("euler", "inverse must replace or guide, for euler", inverse.replaces = false);
    REFUSED("euler", "grid that ascends", bad.solver.grid = down; bad.solver.n_grid = 2);
    REFUSED("euler", "grid that ascends", bad.solver.grid = beyond; bad.solver.n_grid = 2);
    REFUSED("euler", "densities", bad.log_likelihood = true);
    REFUSED("dopri5", "after_step must not go with dopri5", (void)bad);
    REFUSED("pnp_flow", "after_step must not go with pnp_flow", inverse.replaces = true);
    REFUSED("pnp_flow", "inverse must be set for pnp_flow", bad.inverse = NULL);
    REFUSED("pnp_flow", "inverse must be set for pnp_flow", inverse.forward = NULL);
    double x[2] = {0, 0}, t = 0.5;
    REFUSED("euler", "only guide where nothing is sampled", bad.task = FM_TASK_VELOCITY; bad.x = x;
            bad.t = &t; bad.n_rows = 1);
#undef REFUSED
    engine_case_close(&test);
}
END_TEST

static bool count_allocation(void *context, size_t size_bytes)
{
    (void)size_bytes;
    (void)atomic_fetch_add((atomic_int *)context, 1);
    return true;
}

START_TEST(nothing_is_allocated_but_the_job)
{
    static const char *const methods[] = {"euler", "pnp_flow"};
    engine_case_open(&test, MIXTURE, 1);
    fm_error err;
    fm_job *job = NULL;
    fm_job_spec spec = observed_spec(methods[_i]);
    const double rows[4] = {1, 2, 2, 1}, y[2] = {1, 1}; /* solved for by iteration */
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = rows, .n_rows = 2};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find("matrix"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    inverse.observations = y;
    atomic_int count = 0;
    fm_memory_set_hook(count_allocation, &count);
    ck_assert_int_eq(fm_engine_submit(test.engine, &spec, &job, &err), FM_OK);
    ck_assert_ptr_eq(fm_engine_wait(test.engine), job);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_int_eq(atomic_load(&count), 1);
    fm_row_result result;
    fm_job_row(job, ROWS - 1, &result);
    ck_assert_double_eq_tol(result.x[0] + 2 * result.x[1], 1, _i == 0 ? 1e-6 : 0.5);
    fm_job_free(job);
    engine_case_close(&test);
}
END_TEST

/* Of every slot, not once. */
START_TEST(the_size_of_a_job_counts_the_scratch_of_its_rows)
{
    engine_case_open(&test, MIXTURE, 1);
    fm_job_spec spec = observed_spec("euler");
    size_t with = fm_job_size_bytes(&spec);
    size_t slot_bytes = fm_job_inverse_bytes(&spec);
    spec.inverse = NULL;
    size_t without = fm_job_size_bytes(&spec);
    ck_assert_uint_ge(slot_bytes, fm_replacement_scratch_size(&forward) * sizeof(double));
    ck_assert_uint_eq((with - without) % slot_bytes, 0);
    ck_assert_uint_gt((with - without) / slot_bytes, 1);
    ck_assert_uint_eq(fm_job_inverse_bytes(&spec), 0);
    engine_case_close(&test);
}
END_TEST

Suite *suite_engine_inverse_job(void)
{
    Suite *suite = suite_create("engine/inverse_job");
    TCase *tcase = tcase_create("inverse_job");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, replaced_samples_have_the_observation_to_the_bit, 0, 4);
    tcase_add_test(tcase, replaced_samples_have_the_law_of_another_implementation);
    tcase_add_test(tcase, recorded_states_show_what_has_been_replaced);
    tcase_add_test(tcase, pnp_flow_comes_to_the_observation_and_the_component_that_it_tells);
    tcase_add_test(tcase,
                   without_a_start_pnp_flow_begins_at_the_least_state_that_has_the_observation);
    tcase_add_test(tcase, broken_rules_are_refused_by_name);
    tcase_add_loop_test(tcase, nothing_is_allocated_but_the_job, 0, 2);
    tcase_add_test(tcase, the_size_of_a_job_counts_the_scratch_of_its_rows);
    suite_add_tcase(suite, tcase);
    return suite;
}
