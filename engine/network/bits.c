/* The start-up check that a row's bits depend on that row alone. */
#include "engine/clock.h"
#include "engine/memory.h"
#include "engine/network/network.h"

#include <assert.h>
#include <string.h>

#define N_POINTS      ((size_t)16) /* different rows; tiles repeat them in changing orders */
#define LEAST_POINTS  ((size_t)2)
#define POINTS_BYTES  ((size_t)256 << 20) /* of their outputs: fewer points where these are large */
#define CHECK_SECONDS 0.25 /* for the rows alone: a network that takes long is tried with fewer */

typedef struct bits_check {
    const fm_network *network;
    size_t x_columns, out_columns; /* out_columns: the output and one log density */
    size_t n_points, most_rows;    /* how many are tried, and how many in a tile */
    double *x;                     /* [N_POINTS][x_columns] */
    double *alone;                 /* [N_POINTS][out_columns] */
    double *out;                   /* [max_rows][out_columns] */
    fm_tile_row *rows;             /* [max_rows] */
    int32_t max_label;
    void *scratch;
    bool failed; /* an evaluation ran out of memory */
} bits_check;

static void check_done(bits_check *check)
{
    fm_free(check->scratch);
    fm_free(check->rows);
    fm_free(check->out);
    fm_free(check->alone);
    fm_free(check->x);
}

static void *alloc_doubles(size_t rows, size_t columns)
{
    size_t count = 0;
    return fm_multiply(rows, columns, &count) ? fm_alloc_array(count, sizeof(double)) : NULL;
}

static size_t affordable_points(const fm_network_info *info)
{
    size_t points = POINTS_BYTES / sizeof(double) / (info->out_dimension + 1);
    points = points > LEAST_POINTS ? points : LEAST_POINTS;
    return points < N_POINTS ? points : N_POINTS;
}

/* On failure check is left for check_done(). */
static fm_status check_init(bits_check *check, const fm_network *network, int32_t max_label,
                            fm_error *err)
{
    const fm_network_info *info = &network->info;
    *check = (bits_check){.network = network,
                          .x_columns = info->dimension,
                          .out_columns = info->out_dimension + 1,
                          .n_points = affordable_points(info),
                          .max_label = max_label};
    check->x = alloc_doubles(N_POINTS, check->x_columns);
    check->alone = alloc_doubles(check->n_points, check->out_columns);
    check->out = alloc_doubles(info->max_rows, check->out_columns);
    check->rows = fm_alloc_array(info->max_rows, sizeof *check->rows);
    check->scratch = fm_alloc(info->scratch_bytes);
    if (check->x == NULL || check->alone == NULL || check->out == NULL || check->rows == NULL ||
        check->scratch == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to check a tile of %zu rows", info->max_rows);
    }
    for (size_t i = 0; i < N_POINTS; i++) {
        fm_network_probe(network, i, 1, check->x + i * check->x_columns);
    }
    return FM_OK;
}

/* Which point stands in a row: consecutive tiles shift and stride differently. */
static size_t point_at(size_t n_points, size_t tile, size_t row)
{
    return (row * (2 * tile + 1) + tile * 5 + row / n_points) % n_points;
}

static fm_tile_row row_of(const bits_check *check, size_t point, double *out)
{
    bool has_density = check->network->info.has_log_density;
    return (fm_tile_row){.x = check->x + point * check->x_columns,
                         .t = ((double)point + 0.5) / (double)N_POINTS,
                         .label = (int32_t)(point % ((size_t)check->max_label + 1)),
                         .out = out,
                         .log_density = has_density ? out + check->out_columns - 1 : NULL};
}

static void eval(bits_check *check, size_t n_rows)
{
    /* All bits set are NaNs: scratch that shows in a result would show here. */
    memset(check->scratch, 0xff, check->network->info.scratch_bytes);
    check->failed |= fm_network_eval(check->network, check->rows, n_rows, check->scratch) != FM_OK;
}

/* The first row also tells how many there will be. */
static void eval_alone(bits_check *check)
{
    double start = fm_clock_seconds();
    for (size_t point = 0; point < check->n_points; point++) {
        check->rows[0] = row_of(check, point, check->alone + point * check->out_columns);
        eval(check, 1);
        if (point == 0) {
            double affordable = CHECK_SECONDS / (fm_clock_seconds() - start + 1e-9);
            check->n_points = affordable >= (double)check->n_points ? check->n_points
                              : affordable <= (double)LEAST_POINTS  ? LEAST_POINTS
                                                                    : (size_t)affordable;
        }
    }
    size_t most = check->network->info.max_rows;
    check->most_rows =
        check->n_points < N_POINTS && check->n_points < most ? check->n_points : most;
}

static bool tile_agrees(bits_check *check, size_t tile, size_t n_rows)
{
    memset(check->out, 0, n_rows * check->out_columns * sizeof *check->out);
    for (size_t i = 0; i < n_rows; i++) {
        check->rows[i] =
            row_of(check, point_at(check->n_points, tile, i), check->out + i * check->out_columns);
    }
    eval(check, n_rows);
    for (size_t i = 0; i < n_rows; i++) {
        if (memcmp(check->out + i * check->out_columns,
                   check->alone + point_at(check->n_points, tile, i) * check->out_columns,
                   check->out_columns * sizeof *check->out) != 0) {
            return false;
        }
    }
    return true;
}

/* Kernels change at powers of two and have tails beside them; the full tile comes twice. A network that
 * takes long is tried with one tile. */
static bool tiles_agree(bits_check *check)
{
    size_t max_rows = check->most_rows;
    size_t tile = 0;
    if (check->n_points < N_POINTS) {
        return tile_agrees(check, tile, max_rows);
    }
    bool agree = true;
    for (size_t size = 1; agree && size <= max_rows; size *= 2) {
        for (size_t n_rows = size == 1 ? 1 : size - 1; agree && n_rows <= size + 1; n_rows++) {
            agree = n_rows > max_rows || tile_agrees(check, tile++, n_rows);
        }
    }
    for (size_t i = 0; agree && i < 2; i++) {
        agree = tile_agrees(check, tile++, max_rows);
    }
    return agree;
}

fm_status fm_network_check_bits(const fm_network *network, int32_t max_label, bool *ret_independent,
                                fm_error *err)
{
    assert(max_label >= 0);
    bits_check check;
    fm_status status = check_init(&check, network, max_label, err);
    if (status == FM_OK) {
        eval_alone(&check);
        *ret_independent = tiles_agree(&check);
    }
    if (status == FM_OK && check.failed) {
        status = fm_fail(err, FM_ENOMEM, "no memory to evaluate the network");
    }
    check_done(&check);
    return status;
}
