/* Building, placing, running and printing plans. */
#include "engine/network/plan.h"

#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "engine/network/derivative.h"
#include "engine/network/lifetime.h"
#include "engine/network/op.h"
#include "engine/network/second_derivative.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* What the values kept by a reverse run may take, where one row does not take more. */
#define REVERSE_BYTES ((size_t)64 << 20)

static const fm_op_type op_types[] = {
#define FM_OP(id, text, forward_mode, reverse_mode, second_order)                                  \
    [FM_OP_KIND_##id] = {.name = (text),                                                           \
                         .eval = fm_op_##id##_eval,                                                \
                         .jvp = (forward_mode),                                                    \
                         .vjp = (reverse_mode),                                                    \
                         .hvp = (second_order),                                                    \
                         .describe = fm_op_##id##_describe,                                        \
                         .free = fm_op_##id##_free},
#include "engine/network/op.def"
#undef FM_OP
};

/* ---- building ---- */

fm_status fm_plan_new(size_t max_rows, fm_compute compute, fm_plan **ret, fm_error *err)
{
    assert(max_rows >= 1);
    fm_status status = fm_compute_check(compute, err);
    if (status != FM_OK) {
        return status;
    }
    fm_plan *plan = fm_alloc(sizeof *plan);
    if (plan == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a plan");
    }
    plan->max_rows = max_rows;
    plan->compute = compute;
    *ret = plan;
    return FM_OK;
}

void fm_plan_make_reversible(fm_plan *plan)
{
    assert(plan->n_ops == 0);
    plan->reversible = true;
}

void fm_plan_expect_weights(fm_plan *plan, size_t size_bytes)
{
    fm_pool_expect(&plan->weights, size_bytes);
}

void fm_plan_free(fm_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->n_ops; i++) {
        plan->ops[i].type->free(plan->ops[i].state);
    }
    fm_plan_view_free(plan->tangents);
    fm_plan_view_free(plan->kept);
    fm_plan_view_free(plan->gradients);
    fm_plan_view_free(plan->kept_tangents);
    fm_plan_view_free(plan->gradient_tangents);
    fm_pool_done(&plan->weights);
    fm_free(plan->ops);
    fm_free(plan->values);
    fm_free(plan);
}

/* Room for one more element; false without memory. */
static bool reserve(void **array, size_t count, size_t *capacity, size_t element_bytes)
{
    if (count < *capacity) {
        return true;
    }
    size_t wanted = *capacity == 0 ? 8 : *capacity * 2;
    size_t wanted_bytes = 0;
    if (!fm_multiply(wanted, element_bytes, &wanted_bytes)) {
        return false;
    }
    void *grown = fm_grow(*array, *capacity * element_bytes, wanted_bytes);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

static bool reserve_op_and_value(fm_plan *plan)
{
    void *ops = plan->ops;
    void *values = plan->values;
    bool fits = reserve(&ops, plan->n_ops, &plan->ops_capacity, sizeof *plan->ops) &&
                reserve(&values, plan->n_values, &plan->values_capacity, sizeof *plan->values);
    plan->ops = ops;
    plan->values = values;
    return fits;
}

fm_status fm_plan_add(fm_plan *plan, fm_op_kind kind, void *state, const fm_plan_value *inputs,
                      size_t n_inputs, const fm_plan_shape *shape, fm_plan_value *ret,
                      fm_error *err)
{
    assert(n_inputs <= FM_OP_MAX_INPUTS && plan->scratch_bytes == 0);
    if (!reserve_op_and_value(plan)) {
        op_types[kind].free(state);
        return fm_fail(err, FM_ENOMEM, "no memory for a plan of %zu ops", plan->n_ops + 1);
    }
    fm_op op = {.type = &op_types[kind], .state = state, .n_inputs = n_inputs};
    op.varies = n_inputs == 0 && op.type->jvp != NULL; /* the state's own entry */
    for (size_t i = 0; i < n_inputs; i++) {
        assert(inputs[i] < plan->n_values);
        op.varies |= plan->values[inputs[i]].varies;
        op.inputs[i] = inputs[i];
        plan->values[inputs[i]].last_user = plan->n_ops;
    }
    if (shape != NULL) {
        assert(shape->height > 0 && shape->width > 0 && shape->channels > 0);
        op.has_output = true;
        op.output = plan->n_values;
        plan->values[plan->n_values++] = (fm_value){.varies = op.varies,
                                                    .height = shape->height,
                                                    .width = shape->width,
                                                    .columns = shape->channels,
                                                    .rows = plan->max_rows,
                                                    .maker = plan->n_ops,
                                                    .last_user = plan->n_ops};
        *ret = op.output;
    }
    plan->ops[plan->n_ops++] = op;
    return FM_OK;
}

fm_op *fm_plan_last_op(fm_plan *plan)
{
    return &plan->ops[plan->n_ops - 1];
}

fm_plan_shape fm_plan_shape_of(const fm_plan *plan, fm_plan_value value)
{
    const fm_value *it = &plan->values[value];
    return (fm_plan_shape){.height = it->height, .width = it->width, .channels = it->columns};
}

void fm_plan_require_border(fm_plan *plan, fm_plan_value value, size_t border)
{
    fm_value *it = &plan->values[value];
    it->border = border > it->border ? border : it->border;
}

fm_status fm_plan_require(fm_plan *plan, fm_plan_value value, size_t stride, size_t rows,
                          fm_error *err)
{
    fm_value *it = &plan->values[value];
    assert(stride >= it->columns);
    if (it->stride != 0 && it->stride != stride) {
        return fm_fail(err, FM_EINTERNAL,
                       "op %zu needs rows of %zu floats where op %zu makes rows of %zu",
                       plan->n_ops - 1, stride, it->maker, it->stride);
    }
    it->stride = stride;
    it->rows = rows > it->rows ? rows : it->rows;
    return FM_OK;
}

/* ---- placing ---- */

bool fm_plan_value_bytes(const fm_value *value, size_t *ret)
{
    size_t pixels = 0, row_bytes = 0;
    return fm_multiply(value->height + 2 * value->border, value->width + 2 * value->border,
                       &pixels) &&
           fm_multiply(pixels, value->stride * sizeof(float), &row_bytes) &&
           fm_multiply(row_bytes, value->rows, ret);
}

/* One piece a value, then one piece an op's scratch, then one an op's scratch of each member. */
static bool lifetimes_fill(const fm_plan *plan, fm_lifetime *pieces)
{
    for (size_t i = 0; i < plan->n_values; i++) {
        const fm_value *value = &plan->values[i];
        pieces[i] = (fm_lifetime){.first = value->maker, .last = value->last_user};
        if (!fm_plan_value_bytes(value, &pieces[i].size_bytes)) {
            return false;
        }
    }
    fm_lifetime *shared = pieces + plan->n_values, *own = shared + plan->n_ops;
    for (size_t i = 0; i < plan->n_ops; i++) {
        const fm_op *op = &plan->ops[i];
        shared[i] = (fm_lifetime){.size_bytes = op->scratch_bytes, .first = i, .last = i};
        own[i] = (fm_lifetime){.size_bytes = op->piece_bytes, .first = i, .last = i};
    }
    return true;
}

static void offsets_take(fm_plan *plan, const fm_lifetime *pieces)
{
    plan->unshared_bytes = 0;
    for (size_t i = 0; i < plan->n_values; i++) {
        plan->values[i].offset = pieces[i].offset;
    }
    for (size_t i = 0; i < plan->n_ops; i++) {
        plan->ops[i].scratch_offset = pieces[plan->n_values + i].offset;
        plan->ops[i].piece_offset = pieces[plan->n_values + plan->n_ops + i].offset;
    }
    for (size_t i = 0; i < plan->n_values + 2 * plan->n_ops; i++) {
        plan->unshared_bytes += fm_arena_round(pieces[i].size_bytes);
    }
}

fm_status fm_plan_finish(fm_plan *plan, fm_error *err)
{
    for (size_t i = 0; i < plan->n_values; i++) {
        if (plan->values[i].stride == 0) { /* nobody minds: whole vectors */
            plan->values[i].stride = fm_kernels_round(plan->values[i].columns);
        }
    }
    size_t n_pieces = plan->n_values + 2 * plan->n_ops;
    fm_lifetime *pieces = fm_alloc_array(n_pieces, sizeof *pieces);
    if (pieces == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to place %zu activations", plan->n_values);
    }
    bool fits =
        lifetimes_fill(plan, pieces) && fm_lifetimes_place(pieces, n_pieces, &plan->scratch_bytes);
    if (fits) {
        offsets_take(plan, pieces);
    }
    fm_free(pieces);
    if (!fits) {
        return fm_fail(err, FM_ETOOBIG, "the activations of %zu rows overflow", plan->max_rows);
    }
    if (!plan->ops[0].varies) { /* it begins with tokens: there is nothing to differentiate */
        return FM_OK;
    }
    fm_status status = fm_plan_place_tangents(plan, err);
    if (status == FM_OK && plan->reversible) {
        status = fm_plan_place_gradients(plan, REVERSE_BYTES, err);
    }
    return status == FM_OK && plan->reversible ? fm_plan_place_second(plan, err) : status;
}

size_t fm_plan_scratch_bytes(const fm_plan *plan)
{
    return plan->scratch_bytes;
}

size_t fm_plan_unshared_bytes(const fm_plan *plan)
{
    return plan->unshared_bytes;
}

/* ---- running and printing ---- */

fm_image fm_op_image(const fm_op_call *call, fm_plan_value value)
{
    const fm_value *it = &call->plan->values[value];
    size_t line_stride = (it->width + 2 * it->border) * it->stride;
    return (fm_image){
        .data = fm_op_value(call, value) + it->border * (line_stride + it->stride),
        .height = it->height,
        .width = it->width,
        .channels = it->columns,
        .pixel_stride = it->stride,
        .line_stride = line_stride,
        .image_stride = (it->height + 2 * it->border) * line_stride,
    };
}

/* Zeros around every row's image; inner pixels are the op's own. */
void fm_op_borders_clear(const fm_op *op, const fm_op_call *call)
{
    if (!op->has_output) {
        return;
    }
    fm_plan_value value = op->output;
    const fm_value *it = &call->plan->values[value];
    const fm_image image = fm_op_image(call, value);
    size_t side = it->border * it->stride, above = it->border * image.line_stride;
    float *row = fm_op_value(call, value);
    for (size_t i = 0; i < call->n_rows && it->border > 0; i++, row += image.image_stride) {
        memset(row, 0, above * sizeof *row);
        for (size_t y = 0; y < it->height; y++) {
            float *line = row + above + y * image.line_stride;
            memset(line, 0, side * sizeof *line);
            memset(line + image.line_stride - side, 0, side * sizeof *line);
        }
        memset(row + image.image_stride - above, 0, above * sizeof *row);
    }
}

fm_status fm_op_pieces(const fm_op_call *call, size_t n_pieces, fm_piece_run run, void *context)
{
    if (call->team != NULL && n_pieces > 1) {
        return call->team->run(call->team, n_pieces, run, context);
    }
    fm_status status = FM_OK;
    for (size_t i = 0; i < n_pieces && status == FM_OK; i++) {
        status = run(context, i, call->piece_memory);
    }
    return status;
}

fm_status fm_plan_run(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows, void *scratch,
                      fm_team *team)
{
    assert(n_rows >= 1 && n_rows <= plan->max_rows);
    fm_op_call call = {.plan = plan,
                       .rows = rows,
                       .n_rows = n_rows,
                       .memory = scratch,
                       .piece_memory = scratch,
                       .team = team};
    fm_status status = FM_OK;
    for (size_t i = 0; i < plan->n_ops && status == FM_OK; i++) {
        const fm_op *op = &plan->ops[i];
        fm_op_borders_clear(op, &call);
        status = op->type->eval(op, &call);
    }
    return status;
}

static void print_line(fm_write_cb write, void *context, const char *line, int length, size_t room)
{
    assert(length >= 0);
    write(context, line, (size_t)length < room ? (size_t)length : room - 1);
}

static void print_op(const fm_plan *plan, size_t index, fm_write_cb write, void *context)
{
    const fm_op *op = &plan->ops[index];
    char description[96];
    char output[160] = "";
    char line[400];
    op->type->describe(op, description, sizeof description);
    if (op->has_output) {
        const fm_value *value = &plan->values[op->output];
        char shape[64] = "";
        if (value->height * value->width > 1) {
            (void)snprintf(shape, sizeof shape, "[%zu][%zu]", value->height, value->width);
        }
        (void)snprintf(output, sizeof output, " -> [%zu]%s[%zu] stride %zu%s at %zu", value->rows,
                       shape, value->columns, value->stride, value->border > 0 ? " bordered" : "",
                       value->offset);
    }
    char scratch[128] = "";
    if (op->scratch_bytes > 0) {
        (void)snprintf(scratch, sizeof scratch, ", scratch %zu at %zu", op->scratch_bytes,
                       op->scratch_offset);
    }
    if (op->piece_bytes > 0) {
        size_t length = strlen(scratch);
        (void)snprintf(scratch + length, sizeof scratch - length, ", a member's %zu at %zu",
                       op->piece_bytes, op->piece_offset);
    }
    int length = snprintf(line, sizeof line, "%3zu %-10s %s%s%s\n", index, op->type->name,
                          description, output, scratch);
    print_line(write, context, line, length, sizeof line);
}

void fm_plan_print(const fm_plan *plan, fm_write_cb write, void *context)
{
    for (size_t i = 0; i < plan->n_ops; i++) {
        print_op(plan, i, write, context);
    }
    char line[128];
    int length =
        snprintf(line, sizeof line, "%zu rows, %zu bytes of scratch, %zu without sharing\n",
                 plan->max_rows, plan->scratch_bytes, plan->unshared_bytes);
    print_line(write, context, line, length, sizeof line);
}

/* ---- the network of a plan ---- */

typedef struct fm_plan_network {
    fm_network network;
    fm_plan *plan;
} fm_plan_network;

static fm_status plan_network_eval(const fm_network *network, const fm_tile_row *rows,
                                   size_t n_rows, void *scratch, fm_team *team)
{
    return fm_plan_run(((const fm_plan_network *)network)->plan, rows, n_rows, scratch, team);
}

static fm_status plan_network_jvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, void *tangent_scratch, fm_team *team)
{
    return fm_plan_jvp(((const fm_plan_network *)network)->plan, rows, n_rows, scratch,
                       tangent_scratch, team);
}

static fm_status plan_network_vjp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, fm_team *team)
{
    return fm_plan_vjp(((const fm_plan_network *)network)->plan, rows, n_rows, scratch, team);
}

static fm_status plan_network_hvp(const fm_network *network, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, void *tangent_scratch)
{
    return fm_plan_hvp(((const fm_plan_network *)network)->plan, rows, n_rows, scratch,
                       tangent_scratch);
}

static void plan_network_free(fm_network *network)
{
    fm_plan_free(((fm_plan_network *)network)->plan);
    fm_free(network);
}

static const fm_network_ops plan_network_ops = {.eval = plan_network_eval,
                                                .jvp = plan_network_jvp,
                                                .vjp = plan_network_vjp,
                                                .hvp = plan_network_hvp,
                                                .free = plan_network_free};

fm_status fm_plan_network_new(fm_plan *plan, fm_network **ret, fm_error *err)
{
    assert(plan->scratch_bytes > 0); /* finished */
    fm_plan_network *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        fm_plan_free(plan);
        return fm_fail(err, FM_ENOMEM, "no memory for a network");
    }
    self->network.ops = &plan_network_ops;
    self->network.info =
        (fm_network_info){.dimension = plan->dimension,
                          .out_dimension = plan->out_dimension,
                          .parameter_count = plan->parameter_count,
                          .weight_bytes = plan->weight_bytes,
                          .scratch_bytes = plan->scratch_bytes,
                          .max_rows = plan->max_rows,
                          .divisible = plan->divisible,
                          .vocabulary = plan->vocabulary,
                          .max_tangents = plan->tangents != NULL ? plan->max_rows : 0,
                          .tangent_scratch_bytes = fm_plan_tangent_scratch_bytes(plan),
                          .reverse_rows = plan->reverse_rows,
                          .reverse_scratch_bytes = fm_plan_reverse_scratch_bytes(plan),
                          .hvp_scratch_bytes = fm_plan_second_scratch_bytes(plan)};
    self->plan = plan;
    *ret = &self->network;
    return FM_OK;
}

const fm_plan *fm_network_plan(const fm_network *network)
{
    return network->ops == &plan_network_ops ? ((const fm_plan_network *)network)->plan : NULL;
}
