/* The gradient of a number made of a network's outputs, as a network. */
#include "engine/network/gradient_network.h"

#include "engine/memory.h"

#include <assert.h>
#include <math.h>

typedef struct gradient_network {
    fm_network network;
    fm_network *inner;
    fm_gradient_slopes slopes;
} gradient_network;

static const double one = 1.0; /* d s / d output where s is the output */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- gradients ---- */

/* Behind the inner network's scratch, for each row of a call: outputs that nobody asked for, and the cotangents. */
static size_t inner_bytes(const fm_network *inner)
{
    return fm_arena_round(larger(inner->info.scratch_bytes, inner->info.reverse_scratch_bytes));
}

static double *outputs_of(const fm_network *inner, void *scratch)
{
    return (double *)(void *)((unsigned char *)scratch + inner_bytes(inner));
}

static double *cotangents_of(const fm_network *inner, void *scratch)
{
    return outputs_of(inner, scratch) + inner->info.reverse_rows * inner->info.out_dimension;
}

static fm_status cotangents_make(const gradient_network *self, fm_tile_row *rows, size_t n_rows,
                                 void *scratch, fm_team *team)
{
    const fm_network *inner = self->inner;
    size_t n = inner->info.out_dimension;
    double *cotangents = cotangents_of(inner, scratch);
    for (size_t i = 0; i < n_rows; i++) {
        rows[i].out = &cotangents[i * n];
        rows[i].cotangent = &cotangents[i * n];
    }
    fm_status status = inner->ops->eval(inner, rows, n_rows, scratch, team);
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        self->slopes(n, rows[i].label, rows[i].out);
    }
    return status;
}

static fm_status gradients(const gradient_network *self, fm_tile_row *rows, size_t n_rows,
                           void *scratch, fm_team *team)
{
    const fm_network *inner = self->inner;
    double *outputs = outputs_of(inner, scratch);
    fm_status status = FM_OK;
    if (self->slopes != NULL) {
        status = cotangents_make(self, rows, n_rows, scratch, team);
    }
    for (size_t i = 0; i < n_rows; i++) {
        rows[i].out = &outputs[i * inner->info.out_dimension];
        rows[i].cotangent = self->slopes != NULL ? rows[i].cotangent : &one;
    }
    return status == FM_OK ? inner->ops->vjp(inner, rows, n_rows, scratch, team) : status;
}

static fm_tile_row gradient_row(const fm_tile_row *row)
{
    return (fm_tile_row){.x = row->x, .t = row->t, .label = row->label, .gradient = row->out};
}

/* In as many calls of the inner network as its reverse mode needs. */
static fm_status gradient_eval(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                               void *scratch, fm_team *team)
{
    const gradient_network *self = (const gradient_network *)network;
    size_t most = self->inner->info.reverse_rows;
    fm_status status = FM_OK;
    for (size_t first = 0; first < n_rows && status == FM_OK; first += most) {
        fm_tile_row tile[FM_MAX_TILE_ROWS];
        size_t left = n_rows - first;
        size_t n = left < most ? left : most;
        for (size_t i = 0; i < n; i++) {
            tile[i] = gradient_row(&rows[first + i]);
        }
        status = gradients(self, tile, n, scratch, team);
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
    size_t n = network->info.dimension;
    const double *v = row->tangents + k * n;
    double *out = row->tangent_out + k * n, length = length_of(n, v);
    moved at = moved_of(network, tangent_scratch);
    double step = length > 0 ? FM_GRADIENT_STEP / length : 0;
    fm_status status = FM_OK;
    /* One after the other: rows have the same bits in one call as in two. */
    for (size_t side = 0; side < 2 && status == FM_OK; side++) {
        double *x = at.x + side * n;
        for (size_t i = 0; i < n; i++) {
            x[i] = row->x[i] + (side == 0 ? step : -step) * v[i];
        }
        fm_tile_row tile = gradient_row(row);
        tile.x = x;
        tile.gradient = at.gradient + side * n;
        status = gradients((const gradient_network *)network, &tile, 1, scratch, NULL);
    }
    for (size_t i = 0; i < n; i++) {
        double difference = at.gradient[i] - at.gradient[n + i];
        out[i] = length > 0 ? difference / (2 * step) : 0.0;
    }
    return status;
}

static fm_status gradient_jvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                              void *scratch, void *tangent_scratch, fm_team *team)
{
    fm_status status = gradient_eval(network, rows, n_rows, scratch, team);
    for (size_t i = 0; i < n_rows && status == FM_OK; i++) {
        for (size_t k = 0; k < rows[i].n_tangents && status == FM_OK; k++) {
            status = tangent_run(network, &rows[i], k, scratch, tangent_scratch);
        }
    }
    return status;
}

/* ---- construction ---- */

static void gradient_network_free(fm_network *network)
{
    fm_network_free(((gradient_network *)network)->inner);
    fm_free(network);
}

static const fm_network_ops gradient_network_ops = {
    .eval = gradient_eval, .jvp = gradient_jvp, .free = gradient_network_free};

const fm_network *fm_gradient_network_inner(const fm_network *network)
{
    return network->ops == &gradient_network_ops ? ((const gradient_network *)network)->inner
                                                 : network;
}

fm_status fm_gradient_network_new(fm_network *inner, fm_gradient_slopes slopes, fm_network **ret,
                                  fm_error *err)
{
    const fm_network_info *info = &inner->info;
    assert(info->reverse_rows >= 1 && (slopes != NULL || info->out_dimension == 1));
    gradient_network *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        fm_network_free(inner);
        return fm_fail(err, FM_ENOMEM, "no memory for a network");
    }
    self->inner = inner;
    self->slopes = slopes;
    self->network.ops = &gradient_network_ops;
    self->network.info = *info;
    self->network.info.out_dimension = info->dimension;
    self->network.info.scratch_bytes =
        inner_bytes(inner) + 2 * info->reverse_rows * info->out_dimension * sizeof(double);
    self->network.info.tangent_scratch_bytes = 4 * info->dimension * sizeof(double);
    self->network.info.max_tangents = info->max_rows;
    self->network.info.reverse_rows = 0;
    self->network.info.reverse_scratch_bytes = 0;
    *ret = &self->network;
    return FM_OK;
}
