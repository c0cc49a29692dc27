/* Forward passes of a text transformer, a JSON line each: by rows and threads, each thread with tiles of its own as
 * workers have them, and the ops of one tile.
 *
 * Usage: bench_text MODEL_FOLDER SECONDS */
#include "engine/clock.h"
#include "engine/fm.h"
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "engine/network/op.h"
#include "tests/bench/peak.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROWS    ((size_t)64)
#define MOST_THREADS ((size_t)2)
#define MAX_CALLS    ((size_t)1000)
#define MAX_OPS      ((size_t)1024)

typedef struct bench {
    fm_model *model;
    double *x, *out;
    fm_tile_row rows[MOST_ROWS];
    double seconds;
} bench;

/* The rows of one thread. */
typedef struct share {
    const bench *bench;
    size_t first, end;
    void *scratch;
} share;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "Error: %s: %s\n", what, why);
    exit(1);
}

static void *allocate(size_t count, size_t size_bytes)
{
    void *memory = fm_alloc_array(count, size_bytes);
    if (memory == NULL) {
        fail("memory", "none left");
    }
    return memory;
}

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

static void *run_share(void *argument)
{
    const share *it = argument;
    const fm_model *model = it->bench->model;
    fm_dense_thread_init();
    for (size_t first = it->first; first < it->end; first += model->tile_rows) {
        size_t left = it->end - first;
        size_t n = left < model->tile_rows ? left : model->tile_rows;
        if (fm_network_eval(model->network, it->bench->rows + first, n, it->scratch) != FM_OK) {
            fail("forward", "out of memory");
        }
    }
    return NULL;
}

static void call(const bench *b, size_t n_rows, size_t threads, void *const *scratches)
{
    pthread_t started[MOST_THREADS];
    share shares[MOST_THREADS];
    for (size_t i = threads; i-- > 0;) {
        shares[i] = (share){b, n_rows * i / threads, n_rows * (i + 1) / threads, scratches[i]};
        if (i > 0 && pthread_create(&started[i], NULL, run_share, &shares[i]) != 0) {
            fail("thread", "not started");
        }
    }
    (void)run_share(&shares[0]);
    for (size_t i = 1; i < threads; i++) {
        (void)pthread_join(started[i], NULL);
    }
}

static void measure(const bench *b, size_t n_rows, size_t threads, void *const *scratches)
{
    static double times[MAX_CALLS];
    size_t count = 0;
    call(b, n_rows, threads, scratches);
    double end = fm_clock_seconds() + b->seconds;
    while (count < MAX_CALLS && (count < 3 || fm_clock_seconds() < end)) {
        double start = fm_clock_seconds();
        call(b, n_rows, threads, scratches);
        times[count++] = fm_clock_seconds() - start;
    }
    printf("{\"rows\": %zu, \"threads\": %zu, \"ms\": %.4f, \"peak_gflops\": %.2f}\n", n_rows,
           threads, 1e3 * median(times, count), bench_peak_gflops());
    (void)fflush(stdout);
}

/* Each op of a full tile alone, summed by name. */
static void measure_ops(const bench *b, void *scratch)
{
    const fm_plan *plan = fm_network_plan(b->model->network);
    static double seconds[MAX_OPS];
    size_t n_ops = plan->n_ops < MAX_OPS ? plan->n_ops : MAX_OPS;
    size_t n = b->model->tile_rows < MOST_ROWS ? b->model->tile_rows : MOST_ROWS, rounds = 0;
    for (double end = fm_clock_seconds() + b->seconds; fm_clock_seconds() < end; rounds++) {
        for (size_t i = 0; i < n_ops; i++) {
            fm_plan alone = *plan;
            alone.ops += i;
            alone.n_ops = 1;
            double start = fm_clock_seconds();
            if (fm_plan_run(&alone, b->rows, n, scratch, NULL) != FM_OK) {
                fail("op", "out of memory");
            }
            seconds[i] += fm_clock_seconds() - start;
        }
    }
    for (size_t i = 0; i < n_ops; i++) {
        double sum = seconds[i];
        size_t count = 1;
        for (size_t k = i + 1; k < n_ops; k++) {
            bool same = strcmp(plan->ops[k].type->name, plan->ops[i].type->name) == 0;
            sum += same ? seconds[k] : 0;
            count += same;
            seconds[k] = same ? 0 : seconds[k];
        }
        if (sum > 0) {
            printf("{\"op\": \"%s\", \"count\": %zu, \"rows\": %zu, \"ms\": %.4f}\n",
                   plan->ops[i].type->name, count, n, 1e3 * sum / (double)rounds);
        }
    }
}

int main(int argc, char **argv)
{
    static bench b;
    fm_error error;
    const fm_model_options options = {.workers = MOST_THREADS};
    if (argc != 3 || (b.seconds = strtod(argv[2], NULL)) <= 0) {
        fputs("usage: bench_text MODEL_FOLDER SECONDS\n", stderr);
        return 2;
    }
    if (fm_model_open(argv[1], &options, &b.model, &error) != FM_OK) {
        fail(argv[1], error.text);
    }
    fm_dense_thread_init();
    const fm_network_info *info = &b.model->network->info;
    b.x = allocate(MOST_ROWS * info->dimension, sizeof *b.x);
    b.out = allocate(MOST_ROWS * info->out_dimension, sizeof *b.out);
    fm_network_probe(b.model->network, 0, MOST_ROWS, b.x);
    for (size_t i = 0; i < MOST_ROWS; i++) {
        b.rows[i] = (fm_tile_row){.x = b.x + i * info->dimension,
                                  .t = (double)i / MOST_ROWS,
                                  .out = b.out + i * info->out_dimension};
    }
    void *scratches[MOST_THREADS];
    for (size_t i = 0; i < MOST_THREADS; i++) {
        scratches[i] = fm_model_scratch(b.model, i);
    }
    printf("{\"kernels\": \"%s\", \"tile_rows\": %zu, \"parameters\": %zu}\n", fm_build()->kernels,
           b.model->tile_rows, info->parameter_count);
    static const size_t counts[] = {1, 8, 64};
    for (size_t threads = 1; threads <= MOST_THREADS; threads++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            measure(&b, counts[i], threads < counts[i] ? threads : 1, scratches);
        }
    }
    measure_ops(&b, scratches[0]);
    fm_free(b.x);
    fm_free(b.out);
    fm_model_unref(b.model);
    return 0;
}
