/* The engine's forward passes of one image network; answers commands on standard input, a JSON line each.
 *
 * Usage: bench_image MODEL_FOLDER PROBE_FILE THREADS [CACHE_FOLDER]
 *
 *   run ROWS SECONDS   the median time of ROWS rows: on one thread as the tiles of a worker, on more as
 *                      one job of the engine
 *   job ROWS SECONDS   as one job of the engine, with any number of threads
 *   out FILE           writes the outputs of the probe's rows, raw float32, as one job of the engine
 *
 * The probe holds [x, t, label] a row, raw float32; its rows come again and again to fill a batch. "bits"
 * is a digest of the first row's output: one network has one, whatever the batch and the threads. */
#include "engine/clock.h"
#include "engine/fm.h"
#include "engine/math/dense.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "engine/network/op.h"
#include "tests/bench/peak.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS    128
#define MAX_CALLS   1000
#define MAX_THREADS 64

typedef struct bench {
    fm_model *model;
    fm_engine *engine;
    size_t threads, dimension, n_probe;
    float *probe;        /* [n_probe][dimension + 2] */
    double *x, *t, *out; /* [MAX_ROWS] rows of the largest batch, the probe's again and again */
    int32_t labels[MAX_ROWS];
    fm_tile_row rows[MAX_ROWS];
} bench;

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
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- the machine ---- */

static void *measure_peak(void *ret_gflops)
{
    *(double *)ret_gflops = bench_peak_gflops();
    return NULL;
}

/* Of so many cores at once: they may share what a core alone has to itself. */
static double peak_of(size_t threads)
{
    pthread_t started[MAX_THREADS];
    double gflops[MAX_THREADS], sum = 0;
    for (size_t i = 0; i < threads; i++) {
        if (pthread_create(&started[i], NULL, measure_peak, &gflops[i]) != 0) {
            fail("peak", "no thread");
        }
    }
    for (size_t i = 0; i < threads; i++) {
        (void)pthread_join(started[i], NULL);
        sum += gflops[i];
    }
    return sum;
}

/* ---- the batch ---- */

static void read_probe(bench *b, const char *path)
{
    size_t columns = b->dimension + 2;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fail(path, "cannot be read");
    }
    size_t count = (size_t)ftell(file) / sizeof *b->probe;
    b->n_probe = count / columns;
    b->probe = allocate(count, sizeof *b->probe);
    rewind(file);
    if (b->n_probe == 0 || count % columns != 0 ||
        fread(b->probe, sizeof *b->probe, count, file) != count) {
        fail(path, "is no probe of this network");
    }
    (void)fclose(file);
}

static void fill_batch(bench *b)
{
    size_t dimension = b->dimension;
    b->x = allocate(MAX_ROWS * dimension, sizeof *b->x);
    b->out = allocate(MAX_ROWS * dimension, sizeof *b->out);
    b->t = allocate(MAX_ROWS, sizeof *b->t);
    for (size_t i = 0; i < MAX_ROWS; i++) {
        const float *row = b->probe + i % b->n_probe * (dimension + 2);
        for (size_t j = 0; j < dimension; j++) {
            b->x[i * dimension + j] = row[j];
        }
        b->t[i] = row[dimension];
        b->labels[i] = (int32_t)row[dimension + 1];
        b->rows[i] = (fm_tile_row){.x = b->x + i * dimension,
                                   .t = b->t[i],
                                   .label = b->labels[i],
                                   .out = b->out + i * dimension};
    }
}

/* ---- the calls: each leaves the outputs in b->out ---- */

static void run_tiles(bench *b, size_t n_rows)
{
    const fm_model *model = b->model;
    for (size_t first = 0; first < n_rows; first += model->tile_rows) {
        size_t left = n_rows - first;
        size_t n = left < model->tile_rows ? left : model->tile_rows;
        if (fm_network_eval(model->network, b->rows + first, n, fm_model_scratch(model, 0)) !=
            FM_OK) {
            fail("forward", "out of memory");
        }
    }
}

static void run_job(bench *b, size_t n_rows)
{
    fm_error error;
    fm_job *job = NULL;
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = b->model,
                        .n_rows = n_rows,
                        .labels = b->model->info.has_labels ? b->labels : NULL,
                        .guidance = {.scale = 1},
                        .x = b->x,
                        .t = b->t,
                        .fields = FM_FIELD_BIT(FM_FIELD_VELOCITY)};
    if (fm_engine_submit(b->engine, &spec, &job, &error) != FM_OK) {
        fail("job", error.text);
    }
    job = fm_engine_wait(b->engine);
    for (size_t i = 0; i < n_rows; i++) {
        fm_row_result result;
        fm_job_row(job, i, &result);
        if (result.status != FM_ROW_OK) {
            fail("job", fm_row_status_name(result.status));
        }
        for (size_t j = 0; j < b->dimension; j++) {
            b->out[i * b->dimension + j] = result.fields[FM_FIELD_VELOCITY][j];
        }
    }
    fm_job_free(job);
}

/* FNV-1a of the first row's output. */
static uint64_t digest(const bench *b)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < b->dimension; i++) {
        float value = (float)b->out[i];
        unsigned char bytes[sizeof value];
        memcpy(bytes, &value, sizeof value);
        for (size_t k = 0; k < sizeof bytes; k++) {
            hash = (hash ^ bytes[k]) * 0x100000001b3U;
        }
    }
    return hash;
}

/* The first call warms up, unless it alone takes so long that a second would cost more than it tells. */
static void measure(bench *b, void (*call)(bench *, size_t), size_t n_rows, double seconds)
{
    double times[MAX_CALLS];
    size_t count = 0;
    double begin = fm_clock_seconds(), end = begin;
    while (count < MAX_CALLS && (count == 0 || end - begin < seconds)) {
        double start = fm_clock_seconds();
        call(b, n_rows);
        end = fm_clock_seconds();
        times[count++] = end - start;
    }
    size_t dropped = count > 1;
    printf("{\"rows\": %zu, \"ms\": %.6f, \"calls\": %zu, \"bits\": \"%016" PRIx64 "\"}\n", n_rows,
           1e3 * median(times + dropped, count - dropped), count - dropped, digest(b));
}

/* ---- memory ---- */

/* The most that the activations of a full call take at once, without padding, borders and scratch: no
 * plan of these ops could do with less. */
static size_t live_bytes(const fm_plan *plan)
{
    size_t most = 0;
    for (size_t op = 0; plan != NULL && op < plan->n_ops; op++) {
        size_t live = 0;
        for (size_t i = 0; i < plan->n_values; i++) {
            const fm_value *value = &plan->values[i];
            if (value->maker <= op && op <= value->last_user) {
                live += value->height * value->width * value->columns * sizeof(float);
            }
        }
        most = live > most ? live : most;
    }
    return most * (plan == NULL ? 0 : plan->max_rows);
}

/* ---- commands ---- */

static void write_outputs(bench *b, const char *path)
{
    run_job(b, b->n_probe);
    FILE *file = fopen(path, "wb");
    for (size_t i = 0; file != NULL && i < b->n_probe * b->dimension; i++) {
        float value = (float)b->out[i];
        (void)fwrite(&value, sizeof value, 1, file);
    }
    if (file == NULL || ferror(file) || fclose(file) != 0) {
        fail(path, "cannot be written");
    }
    printf("{\"written\": \"%s\"}\n", path);
}

static void answer(bench *b, char *line)
{
    size_t n_rows = 0;
    double seconds = 0;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "out ", 4) == 0) {
        write_outputs(b, line + 4);
        return;
    }
    bool is_job = strncmp(line, "job ", 4) == 0;
    if ((!is_job && strncmp(line, "run ", 4) != 0) ||
        sscanf(line + 4, "%zu %lf", &n_rows, &seconds) != 2 || n_rows == 0 || n_rows > MAX_ROWS) {
        fail(line, "is no command");
    }
    measure(b, is_job || b->threads > 1 ? run_job : run_tiles, n_rows, seconds);
}

static void introduce(const bench *b, double open_seconds)
{
    const fm_network *network = b->model->network;
    printf("{\"ready\": \"%s\", \"open_seconds\": %.3f, \"peak_gflops\": %.2f, \"tile_rows\": %zu, "
           "\"parameters\": %zu, \"weight_bytes\": %zu, \"scratch_bytes\": %zu, "
           "\"live_bytes\": %zu}\n",
           fm_build()->kernels, open_seconds, peak_of(b->threads), b->model->tile_rows,
           network->info.parameter_count, network->info.weight_bytes, network->info.scratch_bytes,
           live_bytes(fm_network_plan(network)));
    (void)fflush(stdout);
}

static void open_all(bench *b, char **argv, const char *cache_folder)
{
    fm_error error;
    fm_model_options model_options = {.workers = b->threads, .cache_folder = cache_folder};
    fm_engine_options engine_options = {.workers = b->threads};
    double start = fm_clock_seconds();
    if (fm_model_open(argv[1], &model_options, &b->model, &error) != FM_OK ||
        fm_engine_new(&engine_options, &b->engine, &error) != FM_OK) {
        fail(argv[1], error.text);
    }
    double open_seconds = fm_clock_seconds() - start;
    fm_dense_thread_init();
    b->dimension = b->model->config.dimension;
    read_probe(b, argv[2]);
    fill_batch(b);
    introduce(b, open_seconds);
}

int main(int argc, char **argv)
{
    static bench b;
    static char line[4096];
    b.threads = argc >= 4 ? (size_t)strtoul(argv[3], NULL, 10) : 0;
    if (argc > 5 || b.threads == 0 || b.threads > MAX_THREADS) {
        fputs("usage: bench_image MODEL_FOLDER PROBE_FILE THREADS [CACHE_FOLDER]\n", stderr);
        return 2;
    }
    open_all(&b, argv, argc == 5 ? argv[4] : NULL);
    while (fgets(line, sizeof line, stdin) != NULL) {
        answer(&b, line);
        (void)fflush(stdout);
    }
    fm_engine_free(b.engine);
    fm_model_unref(b.model);
    fm_free(b.probe);
    fm_free(b.x);
    fm_free(b.out);
    fm_free(b.t);
    return 0;
}
