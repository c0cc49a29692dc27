/* Hessian-vector products of plans: forward mode over the reverse pass, exact but for rounding.
 *
 * Of a layer z = W a + b, h = phi(z), the reverse pass is g_z = phi'(z) g_h, g_a = W^T g_z. Along a tangent da
 *
 *   dz = W da,  dh = phi'(z) dz,  dg_z = phi''(z) dz g_h + phi'(z) dg_h,  dg_a = W^T dg_z
 *
 * Rows and their tangents go forward side by side, as in forward mode, and all that they meet is kept; on the way back
 * every op passes on the tangents of its cotangents, then the cotangents. What lies where: the rows' part as in reverse
 * mode, the tangents' part in a memory that is planned in the same way.
 * Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6(1), 1994. */
#include "engine/network/second_derivative.h"

#include "engine/math/kernels.h"
#include "engine/network/derivative.h"
#include "engine/network/op.h"

#include <assert.h>

/* ---- memory ---- */

static bool twice_differentiable(const fm_plan *plan)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].varies && plan->ops[i].type->hvp == NULL) {
            return false;
        }
    }
    return true;
}

/* Ops run on tangents with their own scratch or that of jvp, and back with that of hvp; no member helps. */
static void scratch_sizes(const fm_plan *plan, fm_plan *forward, fm_plan *backward)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        forward->ops[i].scratch_bytes = fm_op_jvp_bytes(&plan->ops[i]);
        forward->ops[i].piece_bytes = 0;
        backward->ops[i].vjp_scratch_bytes = plan->ops[i].hvp_scratch_bytes;
        backward->ops[i].vjp_piece_bytes = 0;
    }
}

fm_status fm_plan_place_second(fm_plan *plan, fm_error *err)
{
    if (!twice_differentiable(plan)) {
        return FM_OK;
    }
    fm_status status = fm_plan_view_new(plan, &plan->kept_tangents, err);
    if (status == FM_OK) {
        status = fm_plan_view_new(plan, &plan->gradient_tangents, err);
    }
    if (status != FM_OK) {
        return status;
    }
    scratch_sizes(plan, plan->kept_tangents, plan->gradient_tangents);
    return fm_plan_place_reverse(plan->kept_tangents, plan->gradient_tangents, plan->reverse_rows,
                                 err);
}

/* Behind the values: the tangents' tile rows, where each row's begin, and outputs that nobody asked for. */
typedef struct tangent_rows {
    fm_tile_row *rows; /* [reverse_rows] */
    size_t *first;     /* [reverse_rows + 1] */
    double *out;       /* [reverse_rows][out_dimension] */
} tangent_rows;

static size_t rows_bytes(const fm_plan *plan)
{
    return fm_arena_round(plan->reverse_rows * sizeof(fm_tile_row));
}

static size_t first_bytes(const fm_plan *plan)
{
    return fm_arena_round((plan->reverse_rows + 1) * sizeof(size_t));
}

size_t fm_plan_second_scratch_bytes(const fm_plan *plan)
{
    size_t out_bytes = plan->reverse_rows * plan->out_dimension * sizeof(double);
    return plan->kept_tangents == NULL ? 0
                                       : plan->kept_tangents->scratch_bytes + rows_bytes(plan) +
                                             first_bytes(plan) + fm_arena_round(out_bytes);
}

static tangent_rows tangent_rows_of(const fm_plan *plan, void *tangent_scratch)
{
    unsigned char *rows = (unsigned char *)tangent_scratch + plan->kept_tangents->scratch_bytes;
    unsigned char *first = rows + rows_bytes(plan);
    return (tangent_rows){.rows = (fm_tile_row *)(void *)rows,
                          .first = (size_t *)(void *)first,
                          .out = (double *)(void *)(first + first_bytes(plan))};
}

/* ---- the run ---- */

static size_t tangent_rows_fill(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                const tangent_rows *to)
{
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        to->first[i] = n;
        assert(n + rows[i].n_tangents <= plan->reverse_rows);
        for (size_t k = 0; k < rows[i].n_tangents; k++, n++) {
            to->rows[n] = (fm_tile_row){.x = rows[i].tangents + k * plan->dimension,
                                        .out = to->out + n * plan->out_dimension,
                                        .gradient = rows[i].tangent_out + k * plan->dimension};
        }
    }
    to->first[n_rows] = n;
    return n;
}

static fm_status walk_back(const fm_plan *plan, const fm_op_call *call,
                           fm_op_cotangents *cotangents, fm_op_second *second)
{
    fm_status status = FM_OK;
    for (size_t i = plan->n_ops; i-- > 0 && status == FM_OK;) {
        const fm_op *op = &plan->kept->ops[i];
        if (!op->varies) {
            continue;
        }
        cotangents->op = &plan->gradients->ops[i];
        second->op = &plan->gradient_tangents->ops[i];
        fm_op_cotangents_begin(op, i, &cotangents->call);
        fm_op_cotangents_begin(op, i, &second->call);
        status = op->type->hvp(op, call, second);
        if (status == FM_OK) {
            status = op->type->vjp(op, call, cotangents);
        }
    }
    return status;
}

fm_status fm_plan_hvp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows, void *scratch,
                      void *tangent_scratch)
{
    assert(n_rows >= 1 && n_rows <= plan->reverse_rows);
    const tangent_rows of_tangents = tangent_rows_of(plan, tangent_scratch);
    size_t n_tangents = tangent_rows_fill(plan, rows, n_rows, &of_tangents);
    if (n_tangents == 0) {
        return fm_plan_vjp(plan, rows, n_rows, scratch, NULL);
    }
    const fm_op_call call = {.plan = plan->kept,
                             .rows = rows,
                             .n_rows = n_rows,
                             .memory = scratch,
                             .piece_memory = scratch};
    fm_op_tangents tangents = {.call = {.plan = plan->kept_tangents,
                                        .rows = of_tangents.rows,
                                        .n_rows = n_tangents,
                                        .memory = tangent_scratch,
                                        .piece_memory = tangent_scratch},
                               .first = of_tangents.first};
    fm_op_cotangents cotangents = {.call = call};
    cotangents.call.plan = plan->gradients;
    fm_op_second second = {.tangents = &tangents, .cotangents = &cotangents, .call = tangents.call};
    second.call.plan = plan->gradient_tangents;
    fm_status status = fm_plan_walk_tangents(&call, &tangents);
    return status == FM_OK ? walk_back(plan, &call, &cotangents, &second) : status;
}

/* ---- what the ops share ---- */

#define CHUNK (4 * FM_KERNEL_COLUMNS)

/* Some columns of one row, n_tangents rows of dz and dg: dg = phi''(z) dz g + phi'(z) dg. */
static void bend_chunk(fm_activation activation, size_t n, const fm_bend *at)
{
    float slopes[CHUNK], bends[CHUNK];
    fm_kernels_best()->slopes(activation, n, at->z, slopes);
    fm_kernels_best()->curvatures(activation, n, at->z, bends);
    for (size_t c = 0; c < n; c++) {
        bends[c] *= at->g[c];
    }
    for (size_t k = 0; k < at->n_tangents; k++) {
        const float *dz = at->dz + k * at->stride;
        float *dg = at->dg + k * at->stride;
        for (size_t c = 0; c < n; c++) {
            dg[c] = bends[c] * dz[c] + slopes[c] * dg[c];
        }
    }
}

void fm_op_bend(fm_activation activation, const fm_bend *row)
{
    for (size_t c = 0; c < row->stride; c += CHUNK) {
        size_t left = row->stride - c;
        fm_bend at = *row;
        at.z += c;
        at.g += c;
        at.dz += c;
        at.dg += c;
        bend_chunk(activation, left < CHUNK ? left : CHUNK, &at);
    }
}
