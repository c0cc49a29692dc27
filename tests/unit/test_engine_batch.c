/* The in-flight batch: what a row depends on, cancellation, counts, limits. */
#include "engine/fm.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_MODELS  3
#define MAX_STEPS 24

static const char *const folders[N_MODELS] = {
    "tests/golden/mlp-moons-otcfm", "tests/golden/mlp-labels", "tests/golden/gaussian-mixture-2d"};

static fm_model *models[N_MODELS];
static fm_engine *engine;

static void open_models(size_t workers)
{
    for (size_t i = 0; i < N_MODELS; i++) {
        models[i] = engine_case_model(folders[i], workers);
    }
    engine = engine_case_engine(workers);
}

static void close_models(void)
{
    fm_engine_free(engine);
    for (size_t i = 0; i < N_MODELS; i++) {
        fm_model_unref(models[i]);
    }
}

static double unit_grid[MAX_STEPS + 1];

static fm_job_spec mixture_spec(size_t n_rows, size_t steps)
{
    fm_grid_uniform(0, 1, steps, unit_grid);
    fm_job_spec spec = engine_case_spec(models[2], n_rows, "euler", steps + 1, unit_grid);
    spec.solver.max_evaluations = 1000;
    return spec;
}

static fm_job *run(const fm_job_spec *spec)
{
    return engine_case_run(engine, spec);
}

START_TEST(sample_i_depends_on_seed_and_i_alone)
{
    open_models(2);
    fm_job_spec many = mixture_spec(3000, 5), few = mixture_spec(3, 5);
    fm_job *large = run(&many), *small = run(&few);
    for (size_t i = 0; i < 3; i++) {
        fm_row_result a, b;
        fm_job_row(large, i, &a);
        fm_job_row(small, i, &b);
        ck_assert_mem_eq(a.x, b.x, 2 * sizeof(float));
    }
    fm_row_result first, second;
    fm_job_row(small, 0, &first);
    fm_job_row(small, 1, &second);
    ck_assert_float_ne(first.x[0], second.x[0]);
    fm_job_free(large);
    fm_job_free(small);
    close_models();
}
END_TEST

START_TEST(rows_beyond_the_slots_all_run)
{
    open_models(2);
    fm_job_spec spec = mixture_spec(20000, 3);
    fm_job *job = run(&spec);
    ck_assert_uint_lt(fm_job_size_bytes(&spec), 20000 * 400);
    for (size_t i = 0; i < spec.n_rows; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, FM_ROW_OK);
        ck_assert_uint_eq(result.evaluations, 3);
    }
    ck_assert_uint_eq(fm_job_statistics(job).evaluations, 60000);
    fm_job_free(job);
    close_models();
}
END_TEST

static void count_call(void *context, const fm_job *job)
{
    (void)job;
    (void)atomic_fetch_add((atomic_int *)context, 1);
}

/* Half a minute of work, so that a job cannot end before it is cancelled. */
#define ENDLESS_STEPS 100000

START_TEST(cancelled_job_is_finished_once_and_frees_its_rows)
{
    static double endless[ENDLESS_STEPS + 1];
    fm_grid_uniform(0, 1, ENDLESS_STEPS, endless);
    open_models(2);
    atomic_int calls = 0;
    fm_error err;
    for (int i = 0; i < 200; i++) {
        fm_job_spec spec = mixture_spec(5000, 1);
        spec.solver.grid = endless;
        spec.solver.n_grid = ENDLESS_STEPS + 1;
        spec.solver.max_evaluations = ENDLESS_STEPS;
        spec.finished = count_call;
        spec.context = &calls;
        fm_job *job = NULL;
        ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_OK);
        while (i % 2 == 0 && fm_job_evaluations_done(job) == 0) {
            /* cancel it running every other time */
        }
        fm_engine_cancel(engine, job);
        fm_engine_cancel(engine, job); /* idempotent */
        ck_assert_ptr_eq(fm_engine_wait(engine), job);
        ck_assert_int_eq(fm_job_status(job), FM_ECANCELED);
        ck_assert_ptr_null(fm_engine_collect(engine));
        fm_job_free(job);
    }
    ck_assert_int_eq(atomic_load(&calls), 200);
    fm_engine_stats stats;
    fm_engine_statistics(engine, &stats);
    ck_assert_uint_eq(stats.rows_in_flight, 0);
    ck_assert_uint_eq(stats.rows_waiting, 0);
    ck_assert_uint_eq(stats.rows_finished + stats.rows_cancelled, 200 * 5000);
    close_models();
}
END_TEST

START_TEST(budget_ends_a_row_with_its_state_and_time)
{
    open_models(1);
    fm_job_spec spec = mixture_spec(4, 10);
    double times[] = {0.25, 1};
    spec.output_times = times;
    spec.n_output_times = 2;
    spec.solver.max_evaluations = 5;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 4; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, FM_ROW_MAX_EVALUATIONS);
        ck_assert_double_eq_tol(result.t, 0.5, 1e-15);
        ck_assert_uint_eq(result.evaluations, 5);
        /* a time that was not reached carries the last state */
        ck_assert_mem_eq(result.fields[FM_FIELD_X] + 2, result.x, 2 * sizeof(float));
    }
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(non_finite_start_ends_its_row_and_no_other)
{
    open_models(2);
    fm_job_spec spec = mixture_spec(3, 4);
    double x[] = {0, 0, 1e200, 1e200, 1, 1}; /* the middle one overflows in the field */
    spec.x = x;
    fm_job *job = run(&spec);
    static const fm_row_status expected[] = {FM_ROW_OK, FM_ROW_NON_FINITE, FM_ROW_OK};
    for (size_t i = 0; i < 3; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, expected[i]);
        ck_assert(isfinite(result.x[0]) && isfinite(result.x[1]));
    }
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(start_that_is_not_finite_ends_its_row_unasked)
{
    open_models(2);
    fm_job_spec spec = mixture_spec(3, 4);
    double x[] = {0, 0, 1, NAN, 1, 1};
    spec.x = x;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 3; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, i == 1 ? FM_ROW_NON_FINITE : FM_ROW_OK);
        ck_assert_uint_eq(result.evaluations, i == 1 ? 0 : 4);
    }
    ck_assert_uint_eq(fm_job_statistics(job).evaluations, 8);
    fm_job_free(job);
    fm_engine_stats before, after;
    fm_engine_statistics(engine, &before);
    for (size_t i = 0; i < 6; i++) {
        x[i] = NAN;
    }
    fm_job_free(run(&spec));
    fm_engine_statistics(engine, &after);
    ck_assert_uint_eq(after.tiles, before.tiles); /* the network was not called for them */
    ck_assert_uint_eq(after.rows_non_finite, before.rows_non_finite + 3);
    close_models();
}
END_TEST

/* Guided rows of a model whose null class is its first. */
START_TEST(calls_hold_no_more_rows_than_a_tile_with_any_null_class)
{
    open_models(1);
    models[1]->field.null_label = models[1]->config.null_label = 0;
    int32_t labels[300];
    for (size_t i = 0; i < 300; i++) {
        labels[i] = (int32_t)(i % 4);
    }
    fm_job_spec spec = mixture_spec(300, 3);
    spec.model = models[1];
    spec.labels = labels;
    spec.guidance.scale = 2;
    fm_job_free(run(&spec));
    fm_engine_stats stats;
    fm_engine_statistics(engine, &stats);
    ck_assert_uint_eq(stats.tile_rows, 3 * (300 + 225));
    ck_assert_uint_le(stats.tile_rows, stats.tile_capacity);
    close_models();
}
END_TEST

START_TEST(only_rows_guided_away_from_the_null_class_cost_two)
{
    open_models(1);
    int32_t labels[] = {0, 8, 2, 8};
    fm_job_spec spec = mixture_spec(4, 1);
    spec.model = models[1];
    spec.labels = labels;
    static const double scales[] = {3, 1, 0};
    static const size_t expected[] = {6, 4, 4};
    for (size_t i = 0; i < 3; i++) {
        spec.guidance.scale = scales[i];
        ck_assert_uint_eq(fm_job_network_rows(&spec), expected[i]);
    }
    spec.guidance.scale = 3;
    spec.labels = NULL; /* all of them null */
    ck_assert_uint_eq(fm_job_network_rows(&spec), 4);
    close_models();
}
END_TEST

static fm_status eval_without_memory(const fm_network *network, const fm_tile_row *rows,
                                     size_t n_rows, void *scratch, fm_team *team)
{
    (void)network;
    (void)rows;
    (void)n_rows;
    (void)scratch;
    (void)team;
    return FM_ENOMEM;
}

START_TEST(network_out_of_memory_ends_the_jobs_of_its_call_and_no_others)
{
    open_models(2);
    const fm_network_ops failing = {.eval = eval_without_memory};
    const fm_network_ops *working = models[0]->network->ops;
    fm_job_spec spec = mixture_spec(500, 5);
    spec.model = models[0];
    models[0]->network->ops = &failing;
    fm_job *job = run(&spec);
    ck_assert_int_eq(fm_job_status(job), FM_ENOMEM);
    fm_job_free(job);
    models[0]->network->ops = working;
    for (size_t i = 0; i < 3; i += 2) {
        spec.model = models[i];
        job = run(&spec);
        ck_assert_int_eq(fm_job_status(job), FM_OK);
        fm_job_free(job);
    }
    fm_engine_stats stats;
    fm_engine_statistics(engine, &stats);
    ck_assert_uint_eq(stats.rows_in_flight, 0);
    ck_assert_uint_eq(stats.rows_waiting, 0);
    ck_assert_uint_eq(stats.rows_cancelled, 500);
    close_models();
}
END_TEST

START_TEST(every_step_is_recorded_per_row)
{
    open_models(2);
    fm_job_spec spec = mixture_spec(9, 8);
    spec.solver.method = fm_method_find(_i == 0 ? "dopri5" : "rk4");
    spec.output_every_step = true;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < spec.n_rows; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_uint_eq(result.n_trajectory, result.accepted + 1);
        ck_assert_double_eq(result.trajectory_times[0], 0);
        ck_assert_double_eq(result.trajectory_times[result.n_trajectory - 1], 1);
        ck_assert_mem_eq(result.fields[FM_FIELD_X] + 2 * (result.n_trajectory - 1), result.x,
                         2 * sizeof(float));
    }
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(recordings_end_the_job_at_their_bound)
{
    open_models(2);
    fm_job_spec spec = mixture_spec(40, 1);
    spec.solver.method = fm_method_find("dopri5");
    spec.output_every_step = true;
    const size_t row_bytes =
        32 * (2 * sizeof(float) + sizeof(double)); /* the first room of a row */
    static const fm_status expected[] = {FM_OK, FM_ETOOBIG, FM_OK, FM_ETOOBIG};
    const size_t bounds[] = {0, 40 * row_bytes - 1, 40 * row_bytes, 1};
    for (size_t i = 0; i < 4; i++) {
        spec.max_recording_bytes = bounds[i];
        fm_job *job = run(&spec);
        ck_assert_int_eq(fm_job_status(job), expected[i]);
        fm_job_free(job);
    }
    fm_engine_stats stats;
    fm_engine_statistics(engine, &stats);
    ck_assert_uint_eq(stats.rows_in_flight, 0);
    ck_assert_uint_eq(stats.rows_waiting, 0);
    close_models();
}
END_TEST

START_TEST(a_recording_that_doubles_counts_all_its_room)
{
    open_models(1);
    fm_job_spec spec = mixture_spec(1, 1);
    spec.solver.method = fm_method_find("adaptive_heun");
    spec.solver.rtol = spec.solver.atol = 1e-7;
    spec.output_every_step = true;
    spec.solver.max_evaluations = 100000;
    fm_job *job = run(&spec);
    fm_row_result result;
    fm_job_row(job, 0, &result);
    ck_assert_uint_gt(result.n_trajectory, 64);
    size_t room = 32;
    while (room < result.n_trajectory) {
        room *= 2;
    }
    fm_job_free(job);
    for (size_t missing = 0; missing < 2; missing++) {
        spec.max_recording_bytes = room * (2 * sizeof(float) + sizeof(double)) - missing;
        job = run(&spec);
        ck_assert_int_eq(fm_job_status(job), missing == 0 ? FM_OK : FM_ETOOBIG);
        fm_job_free(job);
    }
    close_models();
}
END_TEST

START_TEST(velocity_and_density_are_those_of_the_network)
{
    open_models(2);
    double x[] = {0.5, -1, 2, 0}, t[] = {0.5, 1};
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = models[2],
                        .n_rows = 2,
                        .guidance = {.scale = 1},
                        .x = x,
                        .t = t,
                        .fields = FM_FIELD_BIT(FM_FIELD_X) | FM_FIELD_BIT(FM_FIELD_VELOCITY) |
                                  FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)};
    fm_job *job = run(&spec);
    /* at t = 1 the density is the mixture's own: dominated by 0.5 N((2, 0), 0.4) at its mean */
    fm_row_result result;
    fm_job_row(job, 1, &result);
    double expected = log(0.5) - log(2 * acos(-1) * 0.16);
    ck_assert_ptr_nonnull(result.log_density);
    ck_assert_double_eq_tol(result.log_density[0], expected, 1e-6);
    fm_job_row(job, 0, &result);
    ck_assert_ptr_nonnull(result.fields[FM_FIELD_VELOCITY]);
    ck_assert_uint_eq(result.evaluations, 1);
    ck_assert_float_eq(result.fields[FM_FIELD_X][0], 0.5F);
    ck_assert_float_eq(result.fields[FM_FIELD_X][1], -1);
    fm_job_free(job);
    close_models();
}
END_TEST

/* The fields at output k of a row, against those of the same point by itself. */
static void compare_output(const fm_row_result *result, size_t k, double t, unsigned fields)
{
    const float *state = result->fields[FM_FIELD_X] + 2 * k;
    double x[2] = {(double)state[0], (double)state[1]};
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = models[2],
                        .n_rows = 1,
                        .guidance = {.scale = 1},
                        .x = x,
                        .t = &t,
                        .fields = fields};
    fm_job *alone = run(&spec);
    fm_row_result point;
    fm_job_row(alone, 0, &point);
    bool same = true;
    for (unsigned id = FM_FIELD_VELOCITY; id < FM_N_VECTOR_FIELDS; id++) {
        const float *along = result->fields[id], *there = point.fields[id];
        same = same && (along == NULL) == (there == NULL);
        same = same && (along == NULL || memcmp(along + 2 * k, there, 2 * sizeof *there) == 0);
    }
    ck_assert_msg(same, "output %zu", k);
    fm_job_free(alone);
}

static void compare_fields(const fm_job *job, const double *times, unsigned fields)
{
    for (size_t row = 0; row < fm_job_n_rows(job); row++) {
        fm_row_result result;
        fm_job_row(job, row, &result);
        const double *own = result.trajectory_times != NULL ? result.trajectory_times : times;
        for (size_t k = 0; k < result.n_trajectory; k++) {
            compare_output(&result, k, own[k], fields);
        }
    }
}

START_TEST(fields_along_a_trajectory_are_those_of_its_points)
{
    open_models(2);
    double times[] = {0, 0.31, 0.9};
    unsigned fields = FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_X1_HAT) |
                      FM_FIELD_BIT(FM_FIELD_X0_HAT) | FM_FIELD_BIT(FM_FIELD_SCORE);
    fm_job_spec spec = mixture_spec(70, 4);
    spec.output_times = times;
    spec.n_output_times = 3;
    spec.fields = fields;
    fm_job *job = run(&spec);
    fm_row_result result;
    fm_job_row(job, 69, &result);
    ck_assert_uint_eq(result.evaluations, 4 + 1 + 3); /* steps, a slope for 0.9, fields */
    ck_assert_uint_eq(fm_job_evaluations_done(job), 70 * 8);
    ck_assert_double_eq(fm_job_expected_evaluations(&spec), 8);
    compare_fields(job, times, fields);
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(fields_are_given_at_every_accepted_step)
{
    open_models(2);
    unsigned fields = FM_FIELD_BIT(FM_FIELD_X0_HAT) | FM_FIELD_BIT(FM_FIELD_X1_HAT);
    fm_job_spec spec = mixture_spec(5, 1);
    spec.solver.method = fm_method_find("dopri5");
    spec.output_every_step = true;
    spec.fields = fields;
    fm_job *job = run(&spec);
    compare_fields(job, NULL, fields);
    fm_job_free(job);
    spec.max_recording_bytes = 5 * FM_RECORDING_STATES * (2 * sizeof(float) + sizeof(double));
    job = run(&spec); /* the states have room, their fields have none */
    ck_assert_int_eq(fm_job_status(job), FM_ETOOBIG);
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(fields_of_times_that_a_row_did_not_reach_are_those_of_its_last)
{
    open_models(2);
    double times[] = {0, 0.25, 1};
    fm_job_spec spec = mixture_spec(3, 4);
    spec.output_times = times;
    spec.n_output_times = 3;
    spec.fields = FM_FIELD_BIT(FM_FIELD_VELOCITY);
    spec.solver.max_evaluations = 2;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 3; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        ck_assert_int_eq(result.status, FM_ROW_MAX_EVALUATIONS);
        const float *velocity = result.fields[FM_FIELD_VELOCITY];
        ck_assert_mem_eq(velocity + 4, velocity + 2, 2 * sizeof(float));
        ck_assert_mem_ne(velocity + 2, velocity, 2 * sizeof(float));
    }
    fm_job_free(job);
    close_models();
}
END_TEST

START_TEST(guidance_on_gaussians_gives_the_closed_form)
{
    open_models(2);
    fm_model *guided = engine_case_model_of_text(
        "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"gaussian_mixture\","
        "\"weights\":[1],\"means\":[[0]],\"stds\":[1.2],\"classes\":[{\"weights\":[1],"
        "\"means\":[[1.5]],\"stds\":[0.4]}]},\"flow\":{\"shape\":[1]},"
        "\"conditioning\":{\"labels\":{\"count\":1,\"null\":1}}}",
        2);
    double x[] = {0, 1};
    int32_t labels[] = {0, 0};
    fm_job_spec spec = mixture_spec(2, 1);
    spec.model = guided;
    spec.x = x;
    spec.labels = labels;
    spec.guidance.scale = 3;
    spec.solver.method = fm_method_find("dopri8");
    spec.solver.rtol = spec.solver.atol = 1e-10;
    fm_job *job = run(&spec);
    fm_row_result at_zero, at_one;
    fm_job_row(job, 0, &at_zero);
    fm_job_row(job, 1, &at_one);
    /* the map is affine: x0 -> mean + std x0 */
    ck_assert_double_eq_tol(at_zero.x[0], 1.833333, 1e-6);
    ck_assert_double_eq_tol((double)at_one.x[0] - at_zero.x[0], 0.044444, 1e-6);
    fm_job_free(job);
    fm_model_unref(guided);
    close_models();
}
END_TEST

START_TEST(drawn_noise_has_the_scale_of_source_and_path)
{
    open_models(2);
    fm_model *wide = engine_case_model_of_text(
        "{\"schema\":\"velocityd.model/1\",\"network\":{\"architecture\":\"gaussian_mixture\","
        "\"weights\":[1],\"means\":[[0]],\"stds\":[1]},\"flow\":{\"shape\":[1],"
        "\"source\":{\"type\":\"normal\",\"std\":2},\"scheduler\":{\"type\":\"ve\",\"sigma_max\":5}"
        "}}",
        2);
    double start[] = {0};
    fm_job_spec spec = mixture_spec(4, 1);
    spec.model = wide;
    spec.output_times = start;
    spec.n_output_times = 1;
    fm_job *job = run(&spec);
    for (size_t i = 0; i < 4; i++) {
        double noise = 0;
        fm_row_result result;
        fm_rng_normal(spec.seed, i, FM_RNG_SOURCE_NOISE, 0, 1, &noise);
        fm_job_row(job, i, &result);
        ck_assert_float_eq(result.fields[FM_FIELD_X][0], (float)(2 * 5 * noise));
    }
    fm_job_free(job);
    fm_model_unref(wide);
    close_models();
}
END_TEST

START_TEST(broken_rules_are_refused_before_anything_is_queued)
{
    open_models(1);
    fm_error err;
    fm_job *job = NULL;
    fm_job_spec spec = mixture_spec(0, 2);
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_EINVAL);
    int32_t label = 0;
    spec = mixture_spec(1, 2);
    spec.labels = &label;
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_EINVAL);
    spec = mixture_spec(1, 2);
    spec.guidance.scale = NAN;
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_EINVAL);
    spec = mixture_spec(1, 2);
    spec.guidance.channels = 1000;
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_EINVAL);
    spec = mixture_spec(SIZE_MAX / 8, 2);
    ck_assert_uint_eq(fm_job_size_bytes(&spec), SIZE_MAX);
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_ENOMEM);
    close_models();
}
END_TEST

static bool count_allocation(void *context, size_t size_bytes)
{
    (void)size_bytes;
    (void)atomic_fetch_add((atomic_int *)context, 1);
    return true;
}

START_TEST(nothing_is_allocated_between_submission_and_result)
{
    open_models(1);
    fm_error err;
    fm_job *job = NULL;
    fm_job_spec spec = mixture_spec(500, 10);
    spec.solver.method = fm_method_find(_i == 0 ? "dopri5" : "rk4");
    spec.output_every_step = _i == 1;
    atomic_int count = 0;
    fm_memory_set_hook(count_allocation, &count);
    ck_assert_int_eq(fm_engine_submit(engine, &spec, &job, &err), FM_OK);
    ck_assert_ptr_eq(fm_engine_wait(engine), job);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_int_eq(atomic_load(&count), 1); /* the job's own block */
    size_t with = fm_job_size_bytes(&spec);
    spec.output_every_step = false;
    size_t states =
        _i == 1 ? (size_t)500 * 11 : 0; /* what fixed grids record is known beforehand */
    ck_assert_uint_ge(with,
                      fm_job_size_bytes(&spec) + states * (2 * sizeof(float) + sizeof(double)));
    fm_job_free(job);
    close_models();
}
END_TEST

Suite *suite_engine_batch(void)
{
    Suite *suite = suite_create("engine/batch");
    TCase *tcase = tcase_create("batch");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, sample_i_depends_on_seed_and_i_alone);
    tcase_add_test(tcase, rows_beyond_the_slots_all_run);
    tcase_add_test(tcase, cancelled_job_is_finished_once_and_frees_its_rows);
    tcase_add_test(tcase, budget_ends_a_row_with_its_state_and_time);
    tcase_add_test(tcase, non_finite_start_ends_its_row_and_no_other);
    tcase_add_test(tcase, start_that_is_not_finite_ends_its_row_unasked);
    tcase_add_test(tcase, calls_hold_no_more_rows_than_a_tile_with_any_null_class);
    tcase_add_test(tcase, only_rows_guided_away_from_the_null_class_cost_two);
    tcase_add_test(tcase, network_out_of_memory_ends_the_jobs_of_its_call_and_no_others);
    tcase_add_loop_test(tcase, every_step_is_recorded_per_row, 0, 2);
    tcase_add_test(tcase, recordings_end_the_job_at_their_bound);
    tcase_add_test(tcase, a_recording_that_doubles_counts_all_its_room);
    tcase_add_test(tcase, fields_along_a_trajectory_are_those_of_its_points);
    tcase_add_test(tcase, fields_are_given_at_every_accepted_step);
    tcase_add_test(tcase, fields_of_times_that_a_row_did_not_reach_are_those_of_its_last);
    tcase_add_test(tcase, velocity_and_density_are_those_of_the_network);
    tcase_add_test(tcase, guidance_on_gaussians_gives_the_closed_form);
    tcase_add_test(tcase, drawn_noise_has_the_scale_of_source_and_path);
    tcase_add_test(tcase, broken_rules_are_refused_before_anything_is_queued);
    tcase_add_loop_test(tcase, nothing_is_allocated_between_submission_and_result, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
