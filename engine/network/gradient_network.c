/* The gradient of a number made of a network's outputs, as a network. */
#include "engine/network/gradient_network.h"

#include "engine/memory.h"

#include <assert.h>

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

/* The rows and tangents of a call that are still to be done: from that row on, of it from that tangent on. */
typedef struct rest {
    const fm_tile_row *rows;
    size_t n_rows, n_done; /* tangents of the first */
} rest;

/* Fills a call of the inner network, of at most so many rows and so many tangents; a row with more of these comes
 * again. Returns the rows. */
static size_t tile_fill(const fm_network *network, rest *left, size_t most, fm_tile_row *tile)
{
    size_t n = 0, n_dimension = network->info.dimension;
    for (size_t room = most; n < most && left->n_rows > 0; n++) {
        const fm_tile_row *row = left->rows;
        size_t wanted = row->n_tangents - left->n_done, taken = wanted < room ? wanted : room;
        if (taken == 0 && wanted > 0) {
            break;
        }
        tile[n] = gradient_row(row);
        if (taken > 0) {
            tile[n].tangents = row->tangents + left->n_done * n_dimension;
            tile[n].n_tangents = taken;
            tile[n].tangent_out = row->tangent_out + left->n_done * n_dimension;
        }
        room -= taken;
        left->n_done += taken;
        if (taken == wanted) {
            *left = (rest){.rows = row + 1, .n_rows = left->n_rows - 1};
        }
    }
    return n;
}

static fm_status gradient_jvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                              void *scratch, void *tangent_scratch, fm_team *team)
{
    const fm_network *inner = ((const gradient_network *)network)->inner;
    assert(network->info.max_tangents > 0);
    (void)team;
    double *outputs = outputs_of(inner, scratch);
    rest left = {.rows = rows, .n_rows = n_rows};
    fm_status status = FM_OK;
    while (left.n_rows > 0 && status == FM_OK) {
        fm_tile_row tile[FM_MAX_TILE_ROWS];
        size_t n = tile_fill(network, &left, inner->info.reverse_rows, tile);
        for (size_t i = 0; i < n; i++) {
            tile[i].out = &outputs[i];
            tile[i].cotangent = &one;
        }
        status = inner->ops->hvp(inner, tile, n, scratch, tangent_scratch);
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
    bool twice = slopes == NULL && info->hvp_scratch_bytes > 0;
    self->network.info.max_tangents = twice ? info->max_rows : 0;
    self->network.info.tangent_scratch_bytes = twice ? info->hvp_scratch_bytes : 0;
    self->network.info.hvp_scratch_bytes = 0;
    self->network.info.reverse_rows = 0;
    self->network.info.reverse_scratch_bytes = 0;
    *ret = &self->network;
    return FM_OK;
}
