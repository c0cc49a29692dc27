/* velocityd sample: one request through the engine without HTTP, with a progress bar on a terminal. */
#include "config/options.h"
#include "proto/api.h"
#include "proto/png.h"
#include "proto/response.h"
#include "server/command.h"
#include "server/sample_flags.h"
#include "server/sample_guides.h"
#include "server/sample_pairs.h"

#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS      ((uint64_t)1000000000)
#define PROGRESS_NS    (SECOND_NS / 10) /* between two drawings */
#define PROGRESS_WIDTH 40
#define MAX_ANSWER     ((size_t)1 << 36) /* the caller's own machine and disk */
#define SEED_BITS      53
#define NO_DEADLINE    UINT64_MAX

/* Everything that one run opens, closed in reverse by done(). */
typedef struct fmd_sampling {
    fmd_sample_flags flags;
    fm_model *model;
    fmd_sample_guides guides;
    fm_engine *engine;
    fmp_request request;
    bool has_request;
    uint64_t deadline_ns; /* of the monotonic clock, or NO_DEADLINE */
    sem_t finished;
    fm_job *job;
    fmp_buffer answer;
} fmd_sampling;

/* What this command may ask is bounded by the machine, not by a service's limits. Without timeout_ms
 * there is no deadline: 0, which no request can ask for. */
static const fmp_limits no_limits = {.max_samples = (size_t)1 << 31,
                                     .max_steps = (size_t)1 << 24,
                                     .max_evaluations = (uint64_t)1 << 48,
                                     .max_trajectory_points = (size_t)1 << 24,
                                     .max_answer_bytes = MAX_ANSWER,
                                     .default_timeout_ms = 0,
                                     .max_timeout_ms = UINT32_MAX};

static void post(void *semaphore)
{
    (void)sem_post(semaphore);
}

/* where: what comes before each line, for "/path/config.json: "; "" of the request */
static int complain_about(const fmp_problem *problem, const char *where)
{
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(problem, &at, &error);) {
        (void)fmd_complain(FMD_EXIT_USAGE, "%s%s %s", where, error.pointer, error.detail);
    }
    return problem->n_errors > 0 ? FMD_EXIT_USAGE
                                 : fmd_complain(FMD_EXIT_USAGE, "%s%s", where, problem->detail);
}

/* As serve does, so that what the model brought is not blamed on the request. */
static int check_defaults(const fmd_sampling *run)
{
    fmp_problem problem = {0};
    if (fmp_request_check_defaults(fm_model_describe(run->model), &no_limits, &problem)) {
        return FMD_EXIT_OK;
    }
    char where[PATH_MAX + sizeof "/config.json: "];
    snprintf(where, sizeof where, "%s/config.json: ", run->flags.folder);
    return complain_about(&problem, where);
}

static uint64_t draw_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint64_t)time(NULL); /* any seed will do: it is echoed */
    }
    return seed >> (64 - SEED_BITS);
}

/* Whether the model's samples can be what the output's name says. */
static bool has_format(const fmd_sampling *run)
{
    fmp_image ignored;
    return run->flags.accepted != FMP_ENCODING_PNG_GRID ||
           fmp_image_of(fm_model_describe(run->model), &ignored);
}

static int open_all(fmd_sampling *run)
{
    fm_error error = {0};
    size_t workers = run->flags.workers == 0 ? fm_cpu_count() : run->flags.workers;
    fm_model_options model_options = {.workers = workers, .gradient_bytes = SIZE_MAX};
    fm_engine_options engine_options = {
        .workers = workers, .wake = post, .wake_context = &run->finished};
    if (sem_init(&run->finished, 0, 0) != 0) {
        return fmd_complain(FMD_EXIT_FAILED, "cannot make a semaphore: %s", strerror(errno));
    }
    if (fm_model_open(run->flags.folder, &model_options, &run->model, &error) != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s: %s", run->flags.folder, error.text);
    }
    if (fm_engine_new(&engine_options, &run->engine, &error) != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s", error.text);
    }
    int code = check_defaults(run);
    if (code != FMD_EXIT_OK) {
        return code;
    }
    if (!has_format(run)) {
        return fmd_complain(FMD_EXIT_USAGE,
                            "%s: the model's samples are no images of 1 or 3 channels",
                            run->flags.output);
    }
    code = fmd_sample_guides_open(&run->guides, run->flags.folder, run->flags.body, &model_options);
    if (code != FMD_EXIT_OK) {
        return code;
    }
    fmp_problem problem = {0};
    fmp_limits limits = no_limits;
    limits.models = run->guides.described;
    limits.n_models = run->guides.count;
    run->flags.accepted = run->flags.pairs != NULL ? FMP_ENCODING_NPY : run->flags.accepted;
    run->has_request = fmp_request_parse_sample(
        run->flags.body, strlen(run->flags.body), fm_model_describe(run->model), &limits,
        run->flags.accepted, draw_seed(), &run->request, &problem);
    if (run->has_request && run->flags.pairs != NULL) {
        fmd_ask_for_starts(&run->request);
    }
    return run->has_request ? FMD_EXIT_OK : complain_about(&problem, "");
}

static void draw_progress(const fm_job *job, double expected)
{
    double part = (double)fm_job_evaluations_done(job) / expected;
    part = part > 1 ? 1 : part;
    int filled = (int)(part * PROGRESS_WIDTH);
    fprintf(stderr, "\r[");
    for (int i = 0; i < PROGRESS_WIDTH; i++) {
        fputc(i < filled ? '#' : '.', stderr);
    }
    fprintf(stderr, "] %3.0f %% ", 100 * part);
    (void)fflush(stderr);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

/* Until the job is finished or that moment. */
static bool wait_until(fmd_sampling *run, uint64_t ns)
{
    struct timespec until = {.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)};
    return sem_clockwait(&run->finished, CLOCK_MONOTONIC, &until) == 0;
}

/* Whatever ends it, the job is finished when this returns. */
static void wait_finished(fmd_sampling *run)
{
    double each = fm_job_expected_evaluations(&run->request.spec);
    double expected = each * (double)run->request.spec.n_rows;
    bool show = isatty(STDERR_FILENO) == 1;
    uint64_t drawing = now_ns() + PROGRESS_NS;
    while (!wait_until(run, drawing < run->deadline_ns ? drawing : run->deadline_ns)) {
        uint64_t now = now_ns();
        if (now >= run->deadline_ns) {
            fm_engine_cancel(run->engine, run->job);
            run->deadline_ns = NO_DEADLINE;
        }
        if (now >= drawing) {
            drawing = now + PROGRESS_NS;
            if (show) {
                draw_progress(run->job, expected);
            }
        }
    }
    if (show) {
        fputs("\r\033[K", stderr); /* the bar's line is empty again */
    }
    (void)fm_engine_collect(run->engine);
}

static int write_answer(fmd_sampling *run)
{
    const char *path = run->flags.output;
    FILE *file = path == NULL ? stdout : fopen(path, "wb");
    if (file == NULL) {
        return fmd_complain(FMD_EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
    }
    bool written = fwrite(run->answer.data, 1, run->answer.length, file) == run->answer.length;
    if (run->flags.accepted == FMP_ENCODING_JSON) {
        written = fputc('\n', file) != EOF && written;
    }
    written = (path == NULL ? fflush(file) : fclose(file)) == 0 && written;
    return written ? FMD_EXIT_OK
                   : fmd_complain(FMD_EXIT_FAILED, "cannot write %s: %s",
                                  path == NULL ? "the answer" : path, strerror(errno));
}

static int sample(fmd_sampling *run)
{
    fm_error error = {0};
    run->request.spec.model = run->model;
    fmd_sample_guides_name(&run->guides, &run->request);
    uint64_t timeout_ms = run->request.timeout_ms;
    run->deadline_ns = timeout_ms == 0 ? NO_DEADLINE : now_ns() + timeout_ms * (SECOND_NS / 1000);
    if (fm_engine_submit(run->engine, &run->request.spec, &run->job, &error) != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s", error.text);
    }
    wait_finished(run);
    if (fm_job_status(run->job) == FM_ECANCELED) {
        return fmd_complain(FMD_EXIT_FAILED, "timeout_ms has passed");
    }
    if (fm_job_status(run->job) != FM_OK) {
        return fmd_complain(FMD_EXIT_FAILED, "%s", fm_status_text(fm_job_status(run->job)));
    }
    if (run->flags.pairs != NULL) {
        return fmd_write_pairs(run->flags.pairs, &run->request, fm_model_describe(run->model),
                               run->job);
    }
    fmp_buffer_init(&run->answer, MAX_ANSWER);
    fmp_response_write(&run->answer, &run->request, fm_model_describe(run->model), "sample",
                       run->job);
    return run->answer.failed ? fmd_complain(FMD_EXIT_FAILED, "no memory for the answer")
                              : write_answer(run);
}

static void done(fmd_sampling *run)
{
    fmp_buffer_done(&run->answer);
    fm_job_free(run->job);
    if (run->has_request) {
        fmp_request_done(&run->request);
    }
    fm_engine_free(run->engine);
    fmd_sample_guides_done(&run->guides);
    fm_model_unref(run->model);
    (void)sem_destroy(&run->finished);
    fmd_sample_flags_done(&run->flags);
}

int fmd_command_sample(int argc, char **argv)
{
    fmd_sampling run = {0};
    int code = fmd_sample_flags_parse(&run.flags, argc, argv);
    if (code != FMD_EXIT_OK || run.flags.help) {
        fmd_sample_flags_done(&run.flags);
        return code;
    }
    code = open_all(&run);
    if (code == FMD_EXIT_OK) {
        code = sample(&run);
    }
    done(&run);
    return code;
}
