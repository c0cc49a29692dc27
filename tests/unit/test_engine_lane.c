/* The scheduling policy: who shares the next network call. */
#include "engine/batch/job.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/unit/suites.h"

#define TILE     64
#define MAX_JOBS 70

static fm_model *model;
static fm_lane_list list;
static fm_job *jobs[MAX_JOBS];
static size_t n_jobs;
static double grid[600];

static void set_up(void)
{
    fm_error err;
    fm_model_options options = {.workers = 1};
    ck_assert_int_eq(fm_model_open("tests/golden/gaussian-mixture-2d", &options, &model, &err),
                     FM_OK);
    model->tile_rows = TILE;
    model->info.tile_rows = TILE;
    model->info.evaluation_seconds = 1e-3 / TILE;
    list = (fm_lane_list){0};
    n_jobs = 0;
}

/* A job of so many rows and steps that offers them all. */
static fm_job *offer(size_t n_rows, size_t steps)
{
    fm_error err;
    fm_grid_uniform(0, 1, steps, grid);
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = model,
                        .n_rows = n_rows,
                        .guidance = {.scale = 1},
                        .solver = {.method = fm_method_find("euler"),
                                   .grid = grid,
                                   .n_grid = steps + 1,
                                   .rtol = 1e-5,
                                   .atol = 1e-5,
                                   .max_evaluations = 1000}};
    fm_job *job = NULL;
    ck_assert_msg(fm_job_new(&spec, &job, &err) == FM_OK, "%s", err.text);
    fm_lane_offer(&list, job, job->n_slots);
    jobs[n_jobs++] = job;
    return job;
}

static void tear_down(void)
{
    for (size_t i = 0; i < n_jobs; i++) {
        fm_lane_withdraw(&list, jobs[i]);
        jobs[i]->finished = true;
        jobs[i]->n_in_call = 0;
        fm_job_free(jobs[i]);
    }
    ck_assert_uint_eq(list.n_offered, 0);
    ck_assert_ptr_null(fm_lane_next(&list));
    fm_model_unref(model);
}

static fm_row *picked[TILE];

static size_t pick(void)
{
    return fm_lane_pick(&list, fm_lane_next(&list), TILE, picked);
}

static size_t count_of(const fm_job *job, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += picked[i]->job == job;
    }
    return count;
}

/* As a worker does after a call that took so long. */
static void give_back(size_t n, double seconds)
{
    fm_lane_charge(&model->lane, picked, n, seconds);
    for (size_t i = 0; i < n; i++) {
        fm_job *job = picked[i]->job;
        job->n_in_call--;
        job->waiting[job->n_waiting++] = picked[i];
        fm_lane_offer(&list, job, 1);
    }
}

START_TEST(few_rows_share_one_call_whatever_their_size)
{
    fm_job *short_one = offer(1, 2), *long_one = offer(8, 500);
    size_t n = pick();
    ck_assert_uint_eq(n, 9);
    ck_assert_uint_eq(count_of(short_one, n), 1);
    ck_assert_uint_eq(count_of(long_one, n), 8);
}
END_TEST

START_TEST(short_job_gets_a_tile_of_its_own_beside_long_ones)
{
    (void)offer(64, 500);
    (void)offer(64, 500);
    size_t n = pick();
    ck_assert_uint_eq(n, TILE);
    give_back(n, 1e-3);
    fm_job *short_one = offer(1, 10);
    for (int i = 0; i < 10; i++) { /* until its class has used as much */
        n = pick();
        ck_assert_uint_eq(n, 1);
        ck_assert_uint_eq(count_of(short_one, n), 1);
        give_back(n, 1e-4);
    }
}
END_TEST

START_TEST(stream_of_short_jobs_leaves_long_ones_their_share)
{
    fm_job *long_one = offer(64, 500);
    (void)offer(16, 1);
    double long_seconds = 0, total = 0;
    for (int i = 0; i < 1000; i++) {
        size_t n = pick();
        double seconds = n > 16 ? 1e-3 : 2e-4;
        long_seconds += count_of(long_one, n) > 0 ? seconds : 0;
        total += seconds;
        give_back(n, seconds);
    }
    ck_assert_double_ge(long_seconds, 0.45 * total);
    ck_assert_double_le(long_seconds, 0.75 * total); /* and not more either */
}
END_TEST

START_TEST(one_sample_is_in_the_next_tile_beside_ten_thousand)
{
    /* same class: equal shares come first */
    for (size_t i = 0; i < 20; i++) {
        (void)offer(100, 50);
    }
    fm_job *newcomer = offer(100, 50);
    size_t n = pick();
    ck_assert_uint_eq(n, TILE);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_uint_le(count_of(jobs[i], n), 4);
        ck_assert_uint_ge(count_of(jobs[i], n), 3);
    }
    ck_assert_uint_ge(count_of(newcomer, n), 1);
}
END_TEST

START_TEST(more_jobs_than_rows_take_turns)
{
    for (size_t i = 0; i < MAX_JOBS; i++) {
        (void)offer(4, 50);
    }
    size_t served[MAX_JOBS] = {0};
    for (int tile = 0; tile < MAX_JOBS; tile++) {
        size_t n = pick();
        ck_assert_uint_eq(n, TILE);
        for (size_t i = 0; i < MAX_JOBS; i++) {
            served[i] += count_of(jobs[i], n);
        }
        give_back(n, 1e-4);
    }
    for (size_t i = 0; i < MAX_JOBS; i++) {
        ck_assert_uint_ge(served[i], TILE - 3);
        ck_assert_uint_le(served[i], TILE + 3);
    }
}
END_TEST

START_TEST(withdrawn_job_is_not_picked)
{
    fm_job *gone = offer(30, 50), *stays = offer(30, 50);
    fm_lane_withdraw(&list, gone);
    size_t n = pick();
    ck_assert_uint_eq(n, 30);
    ck_assert_uint_eq(count_of(stays, n), 30);
}
END_TEST

START_TEST(idle_class_earns_no_credit)
{
    fm_job *long_one = offer(64, 500);
    for (int i = 0; i < 100; i++) {
        give_back(pick(), 1e-3);
    }
    (void)offer(16, 1); /* its class has used nothing so far */
    int long_tiles = 0;
    for (int i = 0; i < 40; i++) {
        size_t n = pick();
        long_tiles += count_of(long_one, n) > 0;
        give_back(n, 1e-3);
    }
    ck_assert_int_ge(long_tiles, 18);
}
END_TEST

START_TEST(classes_are_powers_of_four)
{
    ck_assert_uint_eq(fm_lane_class_of(1), 0);
    ck_assert_uint_eq(fm_lane_class_of(4), 0);
    ck_assert_uint_eq(fm_lane_class_of(5), 1);
    ck_assert_uint_eq(fm_lane_class_of(16), 1);
    ck_assert_uint_eq(fm_lane_class_of(17), 2);
    ck_assert_uint_eq(fm_lane_class_of(1e30), FM_LANE_CLASSES - 1);
}
END_TEST

Suite *suite_engine_lane(void)
{
    Suite *suite = suite_create("engine/lane");
    TCase *tcase = tcase_create("policy");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, few_rows_share_one_call_whatever_their_size);
    tcase_add_test(tcase, short_job_gets_a_tile_of_its_own_beside_long_ones);
    tcase_add_test(tcase, stream_of_short_jobs_leaves_long_ones_their_share);
    tcase_add_test(tcase, one_sample_is_in_the_next_tile_beside_ten_thousand);
    tcase_add_test(tcase, more_jobs_than_rows_take_turns);
    tcase_add_test(tcase, withdrawn_job_is_not_picked);
    tcase_add_test(tcase, idle_class_earns_no_credit);
    tcase_add_test(tcase, classes_are_powers_of_four);
    suite_add_tcase(suite, tcase);
    return suite;
}
