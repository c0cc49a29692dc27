/* The engine's own figures on a model, as JSON lines: forward passes at several row counts on one
 * thread with the core's float32 peak meanwhile, and the share of a run that is not the network's.
 *
 * Usage: bench_network MODEL_FOLDER      run it on an idle core. */
#include "engine/clock.h"
#include "engine/fm.h"
#include "engine/math/dense.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "tests/bench/peak.h"

#include <stdio.h>
#include <stdlib.h>

#define SECONDS       0.4 /* of measuring, a row count */
#define MAX_ROWS      1024
#define BURST_SECONDS 5e-3 /* from one measurement of the peak to the next */
#define MAX_ROUNDS    2000
#define EULER_ROWS    256
#define STEPS         50

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, ascending);
    return values[n / 2];
}

static void fail(const char *what, const fm_error *error)
{
    fprintf(stderr, "%s: %s\n", what, error->text);
    exit(1);
}

/* One forward pass of n rows, in tiles as a worker would run them. */
static void forward(const fm_model *model, const fm_tile_row *rows, size_t n)
{
    for (size_t first = 0; first < n; first += model->tile_rows) {
        size_t left = n - first;
        size_t n_rows = left < model->tile_rows ? left : model->tile_rows;
        if (fm_network_eval(model->network, rows + first, n_rows, fm_model_scratch(model, 0)) !=
            FM_OK) {
            fail("forward", &(fm_error){.text = "out of memory"});
        }
    }
}

/* The clock of a core changes by a tenth from one second to the next, and others take slices of it, so the
 * peak is measured between the passes, as long as one of them takes, and by the same median. */
static void bench_forward(const fm_model *model, size_t n)
{
    static double rounds[MAX_ROUNDS], bursts[MAX_ROUNDS];
    size_t dimension = model->config.dimension, count = 0, n_bursts = 0;
    double *x = fm_alloc_array(2 * n * dimension, sizeof *x);
    fm_tile_row *rows = fm_alloc_array(n, sizeof *rows);
    if (x == NULL || rows == NULL) {
        exit(1);
    }
    fm_rng_normal(1, 0, FM_RNG_PROBE, 0, n * dimension, x);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (fm_tile_row){
            .x = x + i * dimension, .t = (double)i / (double)n, .out = x + (n + i) * dimension};
    }
    forward(model, rows, n);
    double end = fm_clock_seconds() + SECONDS, burst = 0;
    while (count < MAX_ROUNDS && (count < 3 || fm_clock_seconds() < end)) {
        double start = fm_clock_seconds();
        forward(model, rows, n);
        double stop = fm_clock_seconds();
        rounds[count++] = stop - start;
        if (stop - burst > BURST_SECONDS && n_bursts < MAX_ROUNDS) {
            bursts[n_bursts++] = bench_peak_over(stop - start);
            burst = fm_clock_seconds();
        }
    }
    printf("{\"bench\": \"network\", \"rows\": %zu, \"ms\": %.6f, \"peak_gflops\": %.2f}\n", n,
           1e3 * median(rounds, count), median(bursts, n_bursts));
    fm_free(x);
    fm_free(rows);
}

/* A whole job on one worker: how much of the worker's time was not inside the network. Every method looks at the
 * network about equally often. */
static void bench_overhead(fm_engine *engine, fm_model *model, const fm_method *method)
{
    const fm_method_info *info = fm_method_describe(method);
    size_t n_steps = (size_t)fmax(4, STEPS / info->evaluations_per_step);
    fm_error error;
    double grid[STEPS + 1];
    fm_engine_stats before, after;
    fm_grid_uniform(0, 1, n_steps, grid);
    fm_job_spec spec = {.task = FM_TASK_SAMPLE,
                        .model = model,
                        .n_rows = EULER_ROWS,
                        .seed = 1,
                        .guidance = {.scale = 1},
                        .solver = {.method = method,
                                   .grid = grid,
                                   .n_grid = n_steps + 1,
                                   .sampling = FM_SAMPLING_DEFAULT,
                                   .rtol = 1e-5,
                                   .atol = 1e-5,
                                   .max_evaluations = 10000}};
    fm_engine_statistics(engine, &before);
    fm_job *job = NULL;
    if (fm_engine_submit(engine, &spec, &job, &error) != FM_OK) {
        fail(info->name, &error);
    }
    fm_job_free(fm_engine_wait(engine));
    fm_engine_statistics(engine, &after);
    double busy = after.busy_seconds - before.busy_seconds;
    double network = after.network_seconds - before.network_seconds;
    printf("{\"bench\": \"overhead\", \"method\": \"%s\", \"rows\": %d, \"share\": %.5f}\n",
           info->name, EULER_ROWS, 1 - network / busy);
}

int main(int argc, char **argv)
{
    fm_error error;
    fm_model *model = NULL;
    fm_engine *engine = NULL;
    if (argc != 2) {
        fputs("usage: bench_network MODEL_FOLDER\n", stderr);
        return 2;
    }
    fm_model_options model_options = {.workers = 1};
    fm_engine_options engine_options = {.workers = 1};
    if (fm_model_open(argv[1], &model_options, &model, &error) != FM_OK ||
        fm_engine_new(&engine_options, &engine, &error) != FM_OK) {
        fail(argv[1], &error);
    }
    fm_dense_thread_init();
    printf("{\"bench\": \"tile\", \"rows\": %zu}\n", model->tile_rows);
    static const size_t counts[] = {1, 8, 64, 256, MAX_ROWS};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        bench_forward(model, counts[i]);
    }
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        if (fm_method_serves(method, NULL) && !fm_method_needs_inverse(method)) {
            bench_overhead(engine, model, method);
        }
    }
    fm_engine_free(engine);
    fm_model_unref(model);
    return 0;
}
