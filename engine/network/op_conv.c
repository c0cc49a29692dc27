/* `conv`: a convolution or a linear layer over pixels, with bias, activation, gate and residual in the
 * same pass. */
#include "engine/math/conv.h"
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Where an optional input stands among the op's inputs; 0, the image, means that it is not there. */
typedef struct conv_op {
    fm_conv *conv;
    size_t inputs, kernel, stride, outputs;
    fm_activation activation;
    size_t row_bias, gate, residual;
    size_t gate_column, gate_stride;
} conv_op;

static fm_status conv_new(fm_plan *plan, fm_plan_value in, const fm_plan_conv_spec *spec,
                          conv_op **ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    const fm_conv_spec layer = {.inputs = shape.channels,
                                .outputs = spec->outputs,
                                .kernel = spec->kernel,
                                .stride = spec->stride,
                                .in_height = shape.height,
                                .in_width = shape.width,
                                .weight = spec->weight,
                                .bias = spec->bias,
                                .activation = spec->activation,
                                .has_gate = spec->gate != NULL,
                                .compute = plan->compute,
                                .pool = &plan->weights};
    conv_op *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a convolution");
    }
    *self = (conv_op){.inputs = shape.channels,
                      .kernel = spec->kernel,
                      .stride = spec->stride,
                      .outputs = spec->outputs,
                      .activation = spec->activation,
                      .gate_column = spec->gate_column,
                      .gate_stride = fm_kernels_round(spec->outputs)};
    fm_status status = fm_conv_new(&layer, FM_CONV_AUTO, &self->conv, err);
    if (status != FM_OK) {
        fm_free(self);
        return status;
    }
    *ret = self;
    return FM_OK;
}

/* Appends an optional input. */
static size_t input_add(const fm_plan_value *value, fm_plan_value inputs[FM_OP_MAX_INPUTS],
                        size_t *n_inputs)
{
    if (value == NULL) {
        return 0;
    }
    inputs[*n_inputs] = *value;
    return (*n_inputs)++;
}

fm_status fm_plan_conv(fm_plan *plan, fm_plan_value in, const fm_plan_conv_spec *spec,
                       fm_plan_value *ret, fm_error *err)
{
    conv_op *self = NULL;
    fm_status status = conv_new(plan, in, spec, &self, err);
    if (status != FM_OK) {
        return status;
    }
    fm_plan_value inputs[FM_OP_MAX_INPUTS] = {in};
    size_t n_inputs = 1;
    self->row_bias = input_add(spec->row_bias, inputs, &n_inputs);
    self->gate = input_add(spec->gate, inputs, &n_inputs);
    self->residual = input_add(spec->residual, inputs, &n_inputs);
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    const fm_plan_shape out = {(shape.height - 1) / spec->stride + 1,
                               (shape.width - 1) / spec->stride + 1, spec->outputs};
    const fm_conv *conv = self->conv;
    size_t gate_stride = self->gate_stride;
    status = fm_plan_add(plan, FM_OP_KIND_conv, self, inputs, n_inputs, &out, ret, err);
    if (status != FM_OK) {
        return status;
    }
    fm_plan_require_border(plan, in, spec->kernel / 2);
    fm_op *op = fm_plan_last_op(plan);
    op->piece_bytes = fm_conv_piece_bytes(conv);
    size_t gate_bytes = spec->gate == NULL ? 0 : plan->max_rows * gate_stride * sizeof(float);
    op->scratch_bytes = fm_arena_round(gate_bytes) + fm_conv_shared_bytes(conv, plan->max_rows);
    plan->divisible |= shape.height * shape.width > 1;
    plan->weight_bytes += fm_conv_packed_bytes(conv);
    plan->parameter_count += shape.channels * spec->outputs * spec->kernel * spec->kernel +
                             (spec->bias != NULL ? spec->outputs : 0);
    return FM_OK;
}

typedef struct conv_run {
    const conv_op *self;
    fm_conv_call call;
    fm_image residual;
    size_t piece_offset;
} conv_run;

static fm_status prepare_piece(void *context, size_t piece, unsigned char *memory)
{
    const conv_run *it = context;
    (void)memory;
    fm_conv_prepare(it->self->conv, &it->call, piece);
    return FM_OK;
}

static fm_status conv_piece(void *context, size_t piece, unsigned char *memory)
{
    const conv_run *it = context;
    return fm_conv_run_piece(it->self->conv, &it->call, piece, memory + it->piece_offset);
}

/* Every row's gate, alone and padded with zeros, for it is a part of a longer vector. */
static const float *gates_gather(const fm_op *op, const fm_op_call *call)
{
    const conv_op *self = op->state;
    const fm_image from = fm_op_image(call, op->inputs[self->gate]);
    float *gates = (float *)(void *)(call->memory + op->scratch_offset);
    for (size_t i = 0; i < call->n_rows; i++) {
        float *gate = gates + i * self->gate_stride;
        memcpy(gate, fm_image_at(&from, i, 0, 0) + self->gate_column, self->outputs * sizeof *gate);
        memset(gate + self->outputs, 0, (self->gate_stride - self->outputs) * sizeof *gate);
    }
    return gates;
}

fm_status fm_op_conv_eval(const fm_op *op, const fm_op_call *call)
{
    const conv_op *self = op->state;
    conv_run it = {.self = self,
                   .call = {.n_images = call->n_rows,
                            .in = fm_op_image(call, op->inputs[0]),
                            .out = fm_op_image(call, op->output),
                            .n_members = fm_team_members(call->team),
                            .shared = call->memory + op->scratch_offset},
                   .piece_offset = op->piece_offset};
    if (self->row_bias != 0) {
        const fm_image vectors = fm_op_image(call, op->inputs[self->row_bias]);
        it.call.row_bias = vectors.data;
        it.call.row_bias_stride = vectors.image_stride;
    }
    if (self->gate != 0) {
        it.call.gate = gates_gather(op, call);
        it.call.gate_stride = self->gate_stride;
        it.call.shared = call->memory + op->scratch_offset +
                         fm_arena_round(call->plan->max_rows * self->gate_stride * sizeof(float));
    }
    if (self->residual != 0) {
        it.residual = fm_op_image(call, op->inputs[self->residual]);
        it.call.residual = &it.residual;
    }
    fm_status status =
        fm_op_pieces(call, fm_conv_prepare_count(self->conv, &it.call), prepare_piece, &it);
    return status == FM_OK
               ? fm_op_pieces(call, fm_conv_piece_count(self->conv, &it.call), conv_piece, &it)
               : status;
}

void fm_op_conv_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const conv_op *self = op->state;
    (void)snprintf(
        text, size_bytes, "%zu > %zu, %zu x %zu, stride %zu, %s%s%s%s%s%s", self->inputs,
        self->outputs, self->kernel, self->kernel, self->stride,
        fm_conv_route_name(fm_conv_route_of(self->conv)), self->row_bias != 0 ? ", + row bias" : "",
        self->activation != FM_ACTIVATION_NONE ? ", " : "",
        self->activation != FM_ACTIVATION_NONE ? fm_activation_name(self->activation) : "",
        self->gate != 0 ? ", x gate" : "", self->residual != 0 ? ", + residual" : "");
}

void fm_op_conv_free(void *state)
{
    conv_op *self = state;
    fm_conv_free(self->conv);
    fm_free(self);
}
