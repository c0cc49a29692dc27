/* Derivatives of plans: where tangents and cotangents lie, both runs, and what the derivatives of ops share.
 *
 * Forward mode walks the list once: an op's tangents follow its values, so they need no more values than eval
 * does, and their memory is planned as that of values is. Reverse mode keeps the values of one walk and goes back;
 * a value's cotangent lives from its last reader, which is met first, to its maker. What an op computes inside
 * (sums before an activation, normalisation, attention weights) is made once more. Rows a call are as many as a
 * bound on the memory allows.
 * Source: Griewank and Walther, "Evaluating Derivatives", 2008, chapters 3 and 4. */
#include "engine/network/derivative.h"

#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "engine/network/lifetime.h"
#include "engine/network/op.h"

#include <assert.h>
#include <string.h>

/* ---- views: the same values and ops, elsewhere ---- */

static fm_status no_memory(const fm_plan *plan, fm_error *err)
{
    return fm_fail(err, FM_ENOMEM, "no memory to place the derivatives of %zu activations",
                   plan->n_values);
}

fm_status fm_plan_view_new(const fm_plan *plan, fm_plan **ret, fm_error *err)
{
    fm_plan *view = fm_alloc(sizeof *view);
    if (view == NULL) {
        return no_memory(plan, err);
    }
    *view = *plan;
    view->values = fm_alloc_array(plan->n_values, sizeof *view->values);
    view->ops = fm_alloc_array(plan->n_ops, sizeof *view->ops);
    if (view->values == NULL || view->ops == NULL) {
        fm_plan_view_free(view);
        return no_memory(plan, err);
    }
    memcpy(view->values, plan->values, plan->n_values * sizeof *view->values);
    memcpy(view->ops, plan->ops, plan->n_ops * sizeof *view->ops);
    *ret = view;
    return FM_OK;
}

void fm_plan_view_free(fm_plan *view)
{
    if (view != NULL) {
        fm_free(view->values);
        fm_free(view->ops);
        fm_free(view);
    }
}

static fm_status overflow(const fm_plan *plan, fm_error *err)
{
    return fm_fail(err, FM_ETOOBIG, "the derivatives of %zu rows overflow", plan->max_rows);
}

/* ---- forward mode ---- */

/* The tile rows of the tangents and where each row's begin, behind the tangents' values. */
static size_t tangent_rows_bytes(const fm_plan *plan)
{
    return fm_arena_round(plan->max_rows * sizeof(fm_tile_row)) +
           fm_arena_round((plan->max_rows + 1) * sizeof(size_t));
}

fm_status fm_plan_place_tangents(fm_plan *plan, fm_error *err)
{
    size_t n_pieces = plan->n_values + plan->n_ops;
    fm_status status = fm_plan_view_new(plan, &plan->tangents, err);
    if (status != FM_OK) {
        return status;
    }
    fm_plan *view = plan->tangents;
    fm_lifetime *pieces = fm_alloc_array(n_pieces, sizeof *pieces);
    if (pieces == NULL) {
        return no_memory(plan, err);
    }
    bool fits = true;
    for (size_t i = 0; i < plan->n_values; i++) {
        const fm_value *value = &plan->values[i];
        pieces[i] = (fm_lifetime){.first = value->maker, .last = value->last_user};
        fits &= fm_plan_value_bytes(value, &pieces[i].size_bytes);
    }
    for (size_t i = 0; i < plan->n_ops; i++) {
        pieces[plan->n_values + i] =
            (fm_lifetime){.size_bytes = fm_op_jvp_bytes(&plan->ops[i]), .first = i, .last = i};
    }
    fits = fits && fm_lifetimes_place(pieces, n_pieces, &view->scratch_bytes);
    for (size_t i = 0; i < plan->n_values; i++) {
        view->values[i].offset = pieces[i].offset;
    }
    for (size_t i = 0; i < plan->n_ops; i++) {
        view->ops[i].scratch_offset = pieces[plan->n_values + i].offset;
    }
    fm_free(pieces);
    return fits ? FM_OK : overflow(plan, err);
}

size_t fm_plan_tangent_scratch_bytes(const fm_plan *plan)
{
    return plan->tangents == NULL ? 0 : plan->tangents->scratch_bytes + tangent_rows_bytes(plan);
}

/* A tangent is a row whose state is the tangent, whose time and label are 0, and whose output is its image. */
static size_t tangent_rows_fill(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                fm_tile_row *tangent_rows, size_t *first)
{
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
        first[i] = n;
        for (size_t k = 0; k < rows[i].n_tangents; k++) {
            tangent_rows[n++] = (fm_tile_row){.x = rows[i].tangents + k * plan->dimension,
                                              .out = rows[i].tangent_out + k * plan->out_dimension};
        }
    }
    first[n_rows] = n;
    return n;
}

fm_status fm_op_linear_map_jvp(const fm_op *op, const fm_op_call *call,
                               const fm_op_tangents *tangents)
{
    for (size_t i = 0; i < op->n_inputs; i++) { /* concatenated with what varies */
        if (!fm_plan_varies(call->plan, op->inputs[i])) {
            const fm_image image = fm_op_image(&tangents->call, op->inputs[i]);
            memset(fm_op_value(&tangents->call, op->inputs[i]), 0,
                   tangents->call.n_rows * image.image_stride * sizeof(float));
        }
    }
    fm_status status = op->type->eval(op, call);
    return status == FM_OK ? op->type->eval(tangents->op, &tangents->call) : status;
}

fm_status fm_plan_walk_tangents(const fm_op_call *call, fm_op_tangents *tangents)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < call->plan->n_ops && status == FM_OK; i++) {
        const fm_op *op = &call->plan->ops[i];
        fm_op_borders_clear(op, call);
        if (!op->varies) {
            status = op->type->eval(op, call);
            continue;
        }
        tangents->op = &tangents->call.plan->ops[i];
        fm_op_borders_clear(op, &tangents->call);
        status = op->type->jvp(op, call, tangents);
    }
    return status;
}

fm_status fm_plan_jvp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows, void *scratch,
                      void *tangent_scratch, fm_team *team)
{
    assert(n_rows >= 1 && n_rows <= plan->max_rows);
    const fm_plan *view = plan->tangents;
    unsigned char *behind = (unsigned char *)tangent_scratch + view->scratch_bytes;
    fm_tile_row *tangent_rows = (fm_tile_row *)(void *)behind;
    size_t *first = (size_t *)(void *)(behind + fm_arena_round(plan->max_rows * sizeof *rows));
    size_t n_tangents = tangent_rows_fill(plan, rows, n_rows, tangent_rows, first);
    assert(n_tangents <= plan->max_rows);
    if (n_tangents == 0) {
        return fm_plan_run(plan, rows, n_rows, scratch, team);
    }
    fm_op_call call = {.plan = plan,
                       .rows = rows,
                       .n_rows = n_rows,
                       .memory = scratch,
                       .piece_memory = scratch,
                       .team = team};
    fm_op_tangents tangents = {.call = call, .first = first};
    tangents.call.plan = view;
    tangents.call.rows = tangent_rows;
    tangents.call.n_rows = n_tangents;
    tangents.call.memory = tangent_scratch;
    return fm_plan_walk_tangents(&call, &tangents);
}

/* ---- reverse mode ---- */

/* Values kept, cotangents, then scratch of ops forward and backward, shared and of a member. */
enum { KEPT, COTANGENTS, N_OF_VALUES };
enum { FORWARD, FORWARD_PIECE, BACKWARD, BACKWARD_PIECE, N_OF_OPS };

/* Moments 0 … n - 1 go forward, op by op, n … 2 n - 1 back. */
static void op_lifetimes(const fm_plan *kept, const fm_plan *gradients, size_t index,
                         fm_lifetime *pieces)
{
    size_t back = 2 * kept->n_ops - 1 - index;
    const fm_op *forward = &kept->ops[index], *backward = &gradients->ops[index];
    const size_t sizes[N_OF_OPS] = {forward->scratch_bytes, forward->piece_bytes,
                                    backward->vjp_scratch_bytes, backward->vjp_piece_bytes};
    for (size_t k = 0; k < N_OF_OPS; k++) {
        size_t at = k < BACKWARD ? index : back;
        pieces[k] = (fm_lifetime){.size_bytes = sizes[k], .first = at, .last = at};
    }
}

static bool value_lifetimes(const fm_value *value, size_t n_ops, fm_lifetime *pieces)
{
    size_t end = 2 * n_ops - 1 - value->maker;
    size_t bytes = 0;
    bool fits = fm_plan_value_bytes(value, &bytes);
    pieces[KEPT] = (fm_lifetime){.size_bytes = bytes, .first = value->maker, .last = end};
    pieces[COTANGENTS] = (fm_lifetime){.size_bytes = value->varies ? bytes : 0,
                                       .first = 2 * n_ops - 1 - value->last_user,
                                       .last = end};
    return fits;
}

static void reverse_offsets(const fm_lifetime *pieces, fm_plan *kept, fm_plan *gradients)
{
    for (size_t i = 0; i < kept->n_values; i++) {
        kept->values[i].offset = pieces[N_OF_VALUES * i + KEPT].offset;
        gradients->values[i].offset = pieces[N_OF_VALUES * i + COTANGENTS].offset;
    }
    const fm_lifetime *of_ops = pieces + N_OF_VALUES * kept->n_values;
    for (size_t i = 0; i < kept->n_ops; i++) {
        const fm_lifetime *of_op = of_ops + N_OF_OPS * i;
        kept->ops[i].scratch_offset = of_op[FORWARD].offset;
        kept->ops[i].piece_offset = of_op[FORWARD_PIECE].offset;
        gradients->ops[i].scratch_offset = of_op[BACKWARD].offset;
        gradients->ops[i].piece_offset = of_op[BACKWARD_PIECE].offset;
    }
}

/* Padding rows of dense layers: their largest class, whatever the number of rows. */
#define MOST_PADDING_ROWS ((size_t)64)

static void rows_limit(fm_plan *view, size_t rows)
{
    view->max_rows = rows;
    for (size_t i = 0; i < view->n_values; i++) {
        fm_value *value = &view->values[i];
        size_t padded = value->height * value->width == 1 ? rows + MOST_PADDING_ROWS : rows;
        value->rows = padded < value->rows ? padded : value->rows;
    }
}

fm_status fm_plan_place_reverse(fm_plan *kept, fm_plan *gradients, size_t rows, fm_error *err)
{
    size_t n_pieces = N_OF_VALUES * kept->n_values + N_OF_OPS * kept->n_ops;
    fm_lifetime *pieces = fm_alloc_array(n_pieces, sizeof *pieces);
    if (pieces == NULL) {
        return no_memory(kept, err);
    }
    rows_limit(kept, rows);
    rows_limit(gradients, rows);
    bool fits = true;
    for (size_t i = 0; i < kept->n_values; i++) {
        fits &= value_lifetimes(&kept->values[i], kept->n_ops, pieces + N_OF_VALUES * i);
    }
    for (size_t i = 0; i < kept->n_ops; i++) {
        op_lifetimes(kept, gradients, i, pieces + N_OF_VALUES * kept->n_values + N_OF_OPS * i);
    }
    fits = fits && fm_lifetimes_place(pieces, n_pieces, &kept->scratch_bytes);
    reverse_offsets(pieces, kept, gradients);
    fm_free(pieces);
    return fits ? FM_OK : overflow(kept, err);
}

fm_status fm_plan_place_gradients(fm_plan *plan, size_t bound_bytes, fm_error *err)
{
    fm_status status = fm_plan_view_new(plan, &plan->kept, err);
    if (status == FM_OK) {
        status = fm_plan_view_new(plan, &plan->gradients, err);
    }
    for (size_t rows = plan->max_rows; rows >= 1 && status == FM_OK; rows /= 2) {
        status = fm_plan_place_reverse(plan->kept, plan->gradients, rows, err);
        if (status != FM_OK || plan->kept->scratch_bytes <= bound_bytes || rows == 1) {
            plan->reverse_rows = rows;
            break;
        }
    }
    return status;
}

size_t fm_plan_reverse_scratch_bytes(const fm_plan *plan)
{
    return plan->kept == NULL ? 0 : plan->kept->scratch_bytes;
}

/* A value's cotangent is first met by its last reader. */
void fm_op_cotangents_begin(const fm_op *op, size_t index, const fm_op_call *call)
{
    for (size_t i = 0; i < op->n_inputs; i++) {
        const fm_value *value = &call->plan->values[op->inputs[i]];
        if (value->varies && value->last_user == index) {
            const fm_image image = fm_op_image(call, op->inputs[i]);
            memset(fm_op_value(call, op->inputs[i]), 0,
                   call->n_rows * image.image_stride * sizeof(float));
        }
    }
}

fm_status fm_plan_vjp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows, void *scratch,
                      fm_team *team)
{
    assert(n_rows >= 1 && n_rows <= plan->reverse_rows);
    (void)team; /* its members' memories are made for eval */
    fm_status status = fm_plan_run(plan->kept, rows, n_rows, scratch, NULL);
    const fm_op_call call = {.plan = plan->kept,
                             .rows = rows,
                             .n_rows = n_rows,
                             .memory = scratch,
                             .piece_memory = scratch};
    fm_op_cotangents cotangents = {.call = call};
    cotangents.call.plan = plan->gradients;
    for (size_t i = plan->n_ops; i-- > 0 && status == FM_OK;) {
        const fm_op *op = &plan->kept->ops[i];
        if (op->varies) {
            cotangents.op = &plan->gradients->ops[i];
            fm_op_cotangents_begin(op, i, &cotangents.call);
            status = op->type->vjp(op, &call, &cotangents);
        }
    }
    return status;
}

/* ---- what the ops share ---- */

void fm_op_activate_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents,
                        fm_activation activation)
{
    if (activation == FM_ACTIVATION_NONE) {
        return;
    }
    const fm_kernels *kernels = fm_kernels_best();
    const fm_image out = fm_op_image(call, op->output);
    const fm_image to = fm_op_image(&tangents->call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        size_t first = tangents->first[i], n = tangents->first[i + 1] - first;
        for (size_t p = 0; p < out.height * out.width; p++) {
            size_t y = p / out.width, x = p % out.width;
            kernels->activate_tangents(activation, to.pixel_stride, fm_image_at(&out, i, y, x), n,
                                       to.image_stride, fm_image_at(&to, first, y, x));
        }
    }
}

#define CHUNK (4 * FM_KERNEL_COLUMNS)

void fm_op_multiply_slopes(fm_activation activation, size_t n, const float *z, float *factors)
{
    float slopes[CHUNK];
    for (size_t first = 0; first < n; first += CHUNK) {
        size_t count = n - first < CHUNK ? n - first : CHUNK;
        fm_kernels_best()->slopes(activation, count, z + first, slopes);
        for (size_t c = 0; c < count; c++) {
            factors[first + c] *= slopes[c];
        }
    }
}

static void pixel_add(const float *from, float *to, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        to[c] += from[c];
    }
}

void fm_op_add(const fm_image *from, const fm_image *to, size_t n_rows)
{
    bool is_vector = from->height * from->width == 1;
    for (size_t p = 0; p < n_rows * to->height * to->width; p++) {
        size_t row = p / (to->height * to->width), y = p / to->width % to->height;
        size_t x = p % to->width;
        const float *pixel =
            is_vector ? fm_image_at(from, row, 0, 0) : fm_image_at(from, row, y, x);
        pixel_add(pixel, fm_image_at(to, row, y, x), to->pixel_stride);
    }
}

void fm_op_add_sums(const fm_image *from, const fm_image *to, size_t n_rows)
{
    for (size_t p = 0; p < n_rows * from->height * from->width; p++) {
        size_t row = p / (from->height * from->width), y = p / from->width % from->height;
        pixel_add(fm_image_at(from, row, y, p % from->width), fm_image_at(to, row, 0, 0),
                  to->pixel_stride);
    }
}
