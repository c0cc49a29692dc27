/* How many rows a network call should have, and what a row costs: measured when a model is loaded, by one
 * thread.
 *
 * The tile is the smallest of the doubled sizes whose time a row is within TOLERANCE of the best. More
 * rows gain nothing and make everybody wait longer for the next turn. */
#include "engine/clock.h"
#include "engine/model.h"

#include <math.h>

/* What a call costs beside the network: picking, giving back, a contended lock. */
#define CALL_SECONDS      3e-6
#define LONE_CALL_SECONDS 4e-7 /* the same for a worker that meets no other */
#define FIRST_TILE        8
#define LEAST_TILE        2 /* a guided pair, where the capacity allows */
#define MAX_SIZES         16
#define TOLERANCE         1.04
#define REPEATS           3
#define LONG_CALL_SECONDS 4e-3 /* no larger tiles once a call takes this long */
#define COLD_CALL_SECONDS                                                                          \
    0.1 /* a long call that was the first is tried again, if it was no longer */

typedef struct fm_measurement {
    const fm_model *model;
    fm_tile_row *rows;
    double *x, *out;
    void *scratch;
    bool failed; /* a call ran out of memory */
} fm_measurement;

static double time_call(fm_measurement *bench, size_t n_rows)
{
    double best = 0;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = fm_clock_seconds();
        bench->failed |=
            fm_network_eval(bench->model->network, bench->rows, n_rows, bench->scratch) != FM_OK;
        double seconds = fm_clock_seconds() - start;
        best = repeat == 0 || seconds < best ? seconds : best;
        bool again_is_cheap = repeat == 0 && seconds < COLD_CALL_SECONDS; /* the first was cold */
        if (seconds > LONG_CALL_SECONDS && !again_is_cheap) {
            break;
        }
    }
    return best;
}

/* Where the sizes begin: at one row for a network whose smallest tile would take long. */
static size_t first_tile(double one_seconds, size_t capacity)
{
    size_t size = capacity < FIRST_TILE ? capacity : FIRST_TILE;
    return one_seconds * (double)size > LONG_CALL_SECONDS ? 1 : size;
}

/* Tries the doubled sizes up to the capacity; returns the tile chosen. */
static size_t choose_tile(fm_measurement *bench, size_t capacity, fm_trial *ret)
{
    double one_seconds = time_call(bench, 1);
    ret->call_seconds = one_seconds + LONE_CALL_SECONDS;
    if (one_seconds > LONG_CALL_SECONDS) { /* rows gain nothing by company */
        ret->row_seconds = one_seconds;
        return capacity < LEAST_TILE ? capacity : LEAST_TILE;
    }
    size_t sizes[MAX_SIZES] = {0};
    double row_seconds[MAX_SIZES] = {0};
    double best = HUGE_VAL;
    size_t count = 0, chosen = 0;
    bool short_call = true;
    size_t size = first_tile(one_seconds, capacity);
    for (; size <= capacity && count < MAX_SIZES && short_call; size *= 2) {
        double seconds = time_call(bench, size);
        sizes[count] = size;
        row_seconds[count] = (seconds + CALL_SECONDS) / (double)size;
        best = fmin(best, row_seconds[count]);
        count++;
        short_call = seconds <= LONG_CALL_SECONDS;
    }
    while (chosen + 1 < count && row_seconds[chosen] > best * TOLERANCE) {
        chosen++;
    }
    ret->row_seconds = row_seconds[chosen];
    size_t least = capacity < LEAST_TILE ? capacity : LEAST_TILE;
    return sizes[chosen] > least ? sizes[chosen] : least;
}

static void fill(fm_measurement *bench, size_t capacity)
{
    size_t dimension = bench->model->network->info.dimension;
    fm_network_probe(bench->model->network, 0, capacity, bench->x);
    for (size_t i = 0; i < capacity; i++) {
        double t = (double)i / (double)capacity;
        bench->rows[i] = (fm_tile_row){.x = bench->x + i * dimension,
                                       .t = t * bench->model->config.time_scale,
                                       .out = bench->out};
    }
}

size_t fm_model_most_tile_rows(const fm_model *model)
{
    size_t capacity = model->network->info.max_rows;
    return capacity < FM_MAX_TILE_ROWS ? capacity : FM_MAX_TILE_ROWS;
}

fm_status fm_model_measure(const fm_model *model, fm_trial *ret, fm_error *err)
{
    const fm_network_info *info = &model->network->info;
    fm_measurement bench = {.model = model,
                            .rows = fm_alloc_array(info->max_rows, sizeof *bench.rows),
                            .x = fm_alloc_array(info->max_rows * info->dimension, sizeof *bench.x),
                            .out = fm_alloc_array(info->out_dimension, sizeof *bench.out),
                            .scratch = fm_alloc(info->scratch_bytes)};
    fm_status status = FM_OK;
    if (bench.rows == NULL || bench.x == NULL || bench.out == NULL || bench.scratch == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory to measure model %s", model->config.name);
    } else {
        fill(&bench, info->max_rows);
        ret->tile_rows = choose_tile(&bench, fm_model_most_tile_rows(model), ret);
    }
    if (bench.failed) {
        status = fm_fail(err, FM_ENOMEM, "no memory to evaluate model %s", model->config.name);
    }
    fm_free(bench.rows);
    fm_free(bench.x);
    fm_free(bench.out);
    fm_free(bench.scratch);
    return status;
}
