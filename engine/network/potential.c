/* The gradient of a potential as a network. */
#include "engine/network/potential.h"

#include "engine/memory.h"

#include <assert.h>
#include <math.h>

typedef struct potential {
    fm_network network;
    fm_network *inner;
} potential;

static const double one = 1.0; /* the cotangent of s */

/* Behind the inner network's scratch: the values of s that nobody asked for. */
static double *values_of(const fm_network *inner, void *scratch)
{
    return (double *)(void *)((unsigned char *)scratch +
                              fm_arena_round(inner->info.reverse_scratch_bytes));
}

static fm_status gradients(const fm_network *inner, fm_tile_row *rows, size_t n_rows, void *scratch,
                           fm_team *team)
{
    double *values = values_of(inner, scratch);
    for (size_t i = 0; i < n_rows; i++) {
        rows[i].out = &values[i];
        rows[i].cotangent = &one;
    }
    return inner->ops->vjp(inner, rows, n_rows, scratch, team);
}

static fm_tile_row gradient_row(const fm_tile_row *row)
{
    return (fm_tile_row){.x = row->x, .t = row->t, .label = row->label, .gradient = row->out};
}

/* In as many calls of the inner network as its reverse mode needs. */
static fm_status potential_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                                void *scratch, fm_team *team)
{
    const fm_network *inner = ((const potential *)network)->inner;
    fm_status status = FM_OK;
    for (size_t first = 0; first < n_rows && status == FM_OK; first += inner->info.reverse_rows) {
        fm_tile_row tile[FM_MAX_TILE_ROWS];
        size_t left = n_rows - first;
        size_t n = left < inner->info.reverse_rows ? left : inner->info.reverse_rows;
        for (size_t i = 0; i < n; i++) {
            tile[i] = gradient_row(&rows[first + i]);
        }
        status = gradients(inner, tile, n, scratch, team);
    }
    return status;
}

/* ---- Hessian-vector products ---- */

/* Of jvp's scratch: two moved states and their gradients. */
typedef struct moved {
    double *x, *gradient; /* [2][dimension] */
} moved;

static moved moved_of(const fm_network *network, void *tangent_scratch)
{
    double *x = tangent_scratch;
    return (moved){.x = x, .gradient = x + 2 * network->info.dimension};
}

static double length_of(size_t n, const double *v)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += v[i] * v[i];
    }
    return sqrt(square);
}

static fm_status tangent_run(const fm_network *network, const fm_tile_row *row, size_t k,
                             void *scratch, void *tangent_scratch)
{
    const fm_network *inner = ((const potential *)network)->inner;
    size_t n = network->info.dimension;
    const double *v = row->tangents + k * n;
    double *out = row->tangent_out + k * n, length = length_of(n, v);
    moved at = moved_of(network, tangent_scratch);
    double step = length > 0 ? FM_POTENTIAL_STEP / length : 0;
    fm_tile_row tile[2];
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) {
            at.x[side * n + i] = row->x[i] + (side == 0 ? step : -step) * v[i];
        }
        tile[side] = gradient_row(row);
        tile[side].x = at.x + side * n;
        tile[side].gradient = at.gradient + side * n;
    }
    /* Rows have the same bits in one call as in two. */
    fm_status status = FM_OK;
    for (size_t side = 0; side < 2 && status == FM_OK; side++) {
        status = gradients(inner, &tile[side], 1, scratch, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        double difference = at.gradient[i] - at.gradient[n + i];
        out[i] = length > 0 ? difference / (2 * step) : 0.0;
    }
    return status;
}

static fm_status potential_jvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                               void *scratch, void *tangent_scratch, fm_team *team)
{
    fm_status status = potential_eval(network, rows, n_rows, scratch, team);
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        for (size_t k = 0; k < rows[i].n_tangents && status == FM_OK; k++) {
            status = tangent_run(network, &rows[i], k, scratch, tangent_scratch);
        }
    }
    return status;
}

/* ---- construction ---- */

static void potential_free(fm_network *network)
{
    fm_network_free(((potential *)network)->inner);
    fm_free(network);
}

static const fm_network_ops potential_ops = {
    .eval = potential_eval, .jvp = potential_jvp, .free = potential_free};

const fm_network *fm_potential_inner(const fm_network *network)
{
    return network->ops == &potential_ops ? ((const potential *)network)->inner : network;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

fm_status fm_potential_new(fm_network *inner, fm_network **ret, fm_error *err)
{
    const fm_network_info *info = &inner->info;
    assert(info->out_dimension == 1 && info->reverse_rows >= 1);
    potential *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        fm_network_free(inner);
        return fm_fail(err, FM_ENOMEM, "no memory for a network");
    }
    self->inner = inner;
    self->network.ops = &potential_ops;
    self->network.info = *info;
    self->network.info.out_dimension = info->dimension;
    self->network.info.scratch_bytes =
        larger(info->scratch_bytes, fm_arena_round(info->reverse_scratch_bytes) +
                                        larger(info->reverse_rows, 2) * sizeof(double));
    self->network.info.tangent_scratch_bytes = 4 * info->dimension * sizeof(double);
    self->network.info.max_tangents = info->max_rows;
    self->network.info.reverse_rows = 0;
    self->network.info.reverse_scratch_bytes = 0;
    *ret = &self->network;
    return FM_OK;
}
