/* engine/batch/team: workers that share a call hand out every piece once, and no bit tells who ran it. */
#include "engine/batch/team.h"
#include "engine/fm.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- pieces ---- */

#define MAX_PIECES 70
#define N_ROUNDS   3000
#define N_HELPERS  3

static fm_call_team team;
static atomic_size_t nothing_offered;
static atomic_int times_run[MAX_PIECES];

static fm_status count_piece(void *context, size_t piece, unsigned char *memory)
{
    (void)memory;
    size_t n_pieces = *(const size_t *)context;
    ck_assert_uint_lt(piece, n_pieces);
    (void)atomic_fetch_add(&times_run[piece], 1);
    return FM_OK;
}

static void *help(void *context)
{
    fm_call_team_help(&team, *(const size_t *)context, &nothing_offered);
    return NULL;
}

static const size_t members[N_HELPERS] = {1, 2, 3}; /* 0 leads */

START_TEST(every_piece_of_every_round_runs_once)
{
    pthread_t helpers[N_HELPERS];
    static unsigned char memory[N_HELPERS + 1];
    fm_call_team_open(&team, N_HELPERS + 1, memory, 1, 0);
    for (size_t i = 0; i < N_HELPERS; i++) {
        void *member = (void *)(uintptr_t)&members[i];
        ck_assert_int_eq(pthread_create(&helpers[i], NULL, help, member), 0);
    }
    for (size_t round = 0; round < N_ROUNDS; round++) {
        size_t n_pieces = 1 + round * 7919 % MAX_PIECES;
        ck_assert_int_eq(team.team.run(&team.team, n_pieces, count_piece, &n_pieces), FM_OK);
        for (size_t i = 0; i < MAX_PIECES; i++) {
            ck_assert_int_eq(atomic_exchange(&times_run[i], 0), i < n_pieces ? 1 : 0);
        }
    }
    fm_call_team_close(&team);
    for (size_t i = 0; i < N_HELPERS; i++) {
        ck_assert_int_eq(pthread_join(helpers[i], NULL), 0);
    }
}
END_TEST

/* Scratch of one call: each member's part is as many bytes as the stride. */
typedef struct call_scratch {
    unsigned char *base;
    size_t stride;
    atomic_size_t astray; /* pieces with memory of another call */
} call_scratch;

static fm_status check_memory(void *context, size_t piece, unsigned char *memory)
{
    (void)piece;
    call_scratch *scratch = context;
    bool own =
        memory >= scratch->base && memory < scratch->base + (N_HELPERS + 1) * scratch->stride;
    (void)atomic_fetch_add(&scratch->astray, !own);
    return FM_OK;
}

/* A helper that is late for one call is there for the next, which may be another model's. */
START_TEST(helpers_work_in_the_scratch_of_the_call_whose_piece_they_run)
{
    pthread_t helpers[N_HELPERS];
    static unsigned char small[(N_HELPERS + 1) * 8], large[(N_HELPERS + 1) * 4096];
    call_scratch calls[2] = {{.base = small, .stride = 8}, {.base = large, .stride = 4096}};
    fm_call_team_open(&team, N_HELPERS + 1, small, 8, 0);
    for (size_t i = 0; i < N_HELPERS; i++) {
        void *member = (void *)(uintptr_t)&members[i];
        ck_assert_int_eq(pthread_create(&helpers[i], NULL, help, member), 0);
    }
    for (size_t round = 0; round < N_ROUNDS; round++) {
        call_scratch *call = &calls[round % 2];
        fm_call_team_open(&team, N_HELPERS + 1, call->base, call->stride, 0); /* none has left */
        ck_assert_int_eq(team.team.run(&team.team, 20, check_memory, call), FM_OK);
    }
    fm_call_team_close(&team);
    for (size_t i = 0; i < N_HELPERS; i++) {
        ck_assert_int_eq(pthread_join(helpers[i], NULL), 0);
    }
    ck_assert_uint_eq(atomic_load(&calls[0].astray) + atomic_load(&calls[1].astray), 0);
}
END_TEST

static fm_status fail_at_three(void *context, size_t piece, unsigned char *memory)
{
    (void)context;
    (void)memory;
    return piece == 3 ? FM_ENOMEM : FM_OK;
}

START_TEST(a_piece_that_fails_fails_its_round_and_no_later_one)
{
    unsigned char memory[1];
    size_t n_pieces = 5;
    fm_call_team_open(&team, 1, memory, 1, 0);
    ck_assert_int_eq(team.team.run(&team.team, 5, fail_at_three, NULL), FM_ENOMEM);
    ck_assert_int_eq(team.team.run(&team.team, 5, count_piece, &n_pieces), FM_OK);
    fm_call_team_close(&team);
}
END_TEST

START_TEST(helpers_leave_for_rows_on_offer_and_after_the_call)
{
    unsigned char memory[1];
    atomic_size_t offered = 1;
    fm_call_team_open(&team, 2, memory, 1, 0);
    fm_call_team_help(&team, 0, &offered); /* returns */
    fm_call_team_close(&team);
    fm_call_team_help(&team, 0, &nothing_offered);
}
END_TEST

/* ---- bits ---- */

#define N_MODELS  4
#define N_JOBS    16
#define MAX_ROWS  3
#define N_WORKERS 3

static const char *const folders[N_MODELS] = {
    "tests/golden/unet-torchcfm-variants-a", "tests/golden/unet-meta-tiny",
    "tests/golden/sit-tiny-nosigma", "tests/golden/mlp-labels"};

typedef struct setting {
    fm_model *models[N_MODELS];
    fm_engine *engine;
} setting;

static void setting_open(setting *ret, size_t workers)
{
    for (size_t i = 0; i < N_MODELS; i++) {
        ret->models[i] = engine_case_model(folders[i], workers);
    }
    ret->engine = engine_case_engine(workers);
}

static void setting_close(setting *it)
{
    fm_engine_free(it->engine);
    for (size_t i = 0; i < N_MODELS; i++) {
        fm_model_unref(it->models[i]);
    }
}

static const double grid[] = {0, 0.3, 0.7, 1};
static const int32_t labels[] = {1, 2, 0};

/* Job i: always the same request. */
static fm_job *job_submit(const setting *it, size_t i)
{
    static const char *const methods[] = {"euler", "heun2", "bosh3"};
    const fm_model *model = it->models[i % N_MODELS];
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = it->models[i % N_MODELS],
                        .n_rows = 1 + i % MAX_ROWS,
                        .seed = i,
                        .labels = model->config.has_labels ? labels : NULL,
                        .guidance = {.scale = model->config.has_null_label && i % 2 == 1 ? 2.5 : 1},
                        .context = (void *)(intptr_t)i,
                        .solver = {.method = fm_method_find(methods[i % 3]),
                                   .grid = grid,
                                   .n_grid = 4,
                                   .rtol = 1e-2,
                                   .atol = 1e-2,
                                   .max_evaluations = 100}};
    fm_job *job = NULL;
    fm_error err;
    ck_assert_msg(fm_engine_submit(it->engine, &spec, &job, &err) == FM_OK, "%s", err.text);
    return job;
}

/* All rows of a finished job, which is freed. */
static float *job_take(const setting *it, fm_job *job, size_t i, size_t *ret_count)
{
    size_t dimension = it->models[i % N_MODELS]->config.dimension, rows = 1 + i % MAX_ROWS;
    float *values = malloc(rows * dimension * sizeof *values);
    ck_assert_int_eq(fm_job_status(job), FM_OK);
    for (size_t row = 0; row < rows; row++) {
        fm_row_result result;
        fm_job_row(job, row, &result);
        memcpy(values + row * dimension, result.x, dimension * sizeof *values);
    }
    *ret_count = rows * dimension;
    fm_job_free(job);
    return values;
}

static void job_compare(const setting *it, fm_job *job, size_t i, float *const *alone)
{
    size_t count = 0;
    float *values = job_take(it, job, i, &count);
    ck_assert_msg(memcmp(values, alone[i], count * sizeof *values) == 0, "job %zu differs", i);
    free(values);
}

START_TEST(image_models_give_the_same_bytes_alone_in_teams_and_in_any_mix)
{
    setting one, many;
    float *alone[N_JOBS];
    size_t count = 0;
    setting_open(&one, 1);
    for (size_t i = 0; i < N_JOBS; i++) {
        (void)job_submit(&one, i);
        alone[i] = job_take(&one, fm_engine_wait(one.engine), i, &count);
    }
    setting_close(&one);
    setting_open(&many, N_WORKERS);
    for (size_t i = 0; i < N_JOBS; i++) { /* one at a time: all workers on each */
        (void)job_submit(&many, i);
        job_compare(&many, fm_engine_wait(many.engine), i, alone);
    }
    for (size_t i = 0; i < N_JOBS; i++) { /* all at once */
        (void)job_submit(&many, i);
    }
    for (size_t i = 0; i < N_JOBS; i++) {
        fm_job *job = fm_engine_wait(many.engine);
        job_compare(&many, job, (size_t)(intptr_t)fm_job_context(job), alone);
    }
    setting_close(&many);
    for (size_t i = 0; i < N_JOBS; i++) {
        free(alone[i]);
    }
}
END_TEST

Suite *suite_engine_team(void)
{
    Suite *suite = suite_create("engine/team");
    TCase *tcase = tcase_create("team");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_piece_of_every_round_runs_once);
    tcase_add_test(tcase, helpers_work_in_the_scratch_of_the_call_whose_piece_they_run);
    tcase_add_test(tcase, a_piece_that_fails_fails_its_round_and_no_later_one);
    tcase_add_test(tcase, helpers_leave_for_rows_on_offer_and_after_the_call);
    tcase_add_test(tcase, image_models_give_the_same_bytes_alone_in_teams_and_in_any_mix);
    suite_add_tcase(suite, tcase);
    return suite;
}
