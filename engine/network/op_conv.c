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
    /* To the gradient of the input, of plans that have a reverse mode; else NULL. */
    fm_conv *reverse;
    size_t inputs, kernel, stride, outputs;
    fm_activation activation;
    size_t row_bias, gate, residual;
    size_t gate_column, gate_stride;
} conv_op;

/* weight [o][i][y][x] -> [i][o][k - 1 - y][k - 1 - x] */
static float *weight_turn(const fm_plan_conv_spec *spec, size_t inputs)
{
    size_t taps = spec->kernel * spec->kernel;
    float *turned = fm_alloc_array(inputs * spec->outputs * taps, sizeof *turned);
    for (size_t o = 0; turned != NULL && o < spec->outputs; o++) {
        for (size_t i = 0; i < inputs; i++) {
            for (size_t at = 0; at < taps; at++) {
                turned[(i * spec->outputs + o) * taps + taps - 1 - at] =
                    spec->weight[(o * inputs + i) * taps + at];
            }
        }
    }
    return turned;
}

/* The transpose of a convolution is one with its weights turned, of the output with its pixels `stride` apart. */
static fm_status reverse_new(fm_plan *plan, fm_plan_value in, const fm_plan_conv_spec *spec,
                             conv_op *self, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    float *turned = weight_turn(spec, shape.channels);
    if (turned == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a transposed convolution");
    }
    const fm_conv_spec reverse = {.inputs = spec->outputs,
                                  .outputs = shape.channels,
                                  .kernel = spec->kernel,
                                  .stride = 1,
                                  .in_height = shape.height,
                                  .in_width = shape.width,
                                  .weight = turned,
                                  .compute = plan->compute,
                                  .pool = &plan->weights};
    fm_status status = fm_conv_new(&reverse, FM_CONV_AUTO, &self->reverse, err);
    fm_free(turned);
    return status;
}

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
    if (status == FM_OK && plan->reversible && fm_plan_varies(plan, in)) {
        status = reverse_new(plan, in, spec, self, err);
    }
    if (status != FM_OK) {
        fm_op_conv_free(self);
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

static bool varies(const fm_plan *plan, const fm_plan_value *value)
{
    return value != NULL && fm_plan_varies(plan, *value);
}

static fm_image sums_image(const fm_op *op, const fm_plan *plan, float *data);
static fm_image spread_image(const fm_op *op, const fm_plan *plan, float *data);

/* What vjp needs beside the values. */
static void reverse_scratch(const fm_plan *plan, fm_op *op)
{
    const conv_op *self = op->state;
    if (self->reverse == NULL) {
        return;
    }
    const fm_image sums = sums_image(op, plan, NULL), spread = spread_image(op, plan, NULL);
    op->vjp_scratch_bytes = fm_arena_round(plan->max_rows * sums.image_stride * sizeof(float)) +
                            fm_arena_round(plan->max_rows * spread.image_stride * sizeof(float)) +
                            fm_arena_round(op->scratch_bytes) +
                            fm_conv_shared_bytes(self->reverse, plan->max_rows);
    size_t own = fm_conv_piece_bytes(self->reverse);
    op->vjp_piece_bytes = own > op->piece_bytes ? own : op->piece_bytes;
}

fm_status fm_plan_conv(fm_plan *plan, fm_plan_value in, const fm_plan_conv_spec *spec,
                       fm_plan_value *ret, fm_error *err)
{
    conv_op *self = NULL;
    assert(!varies(plan, spec->row_bias) && !varies(plan, spec->gate) &&
           (spec->gate == NULL || spec->activation == FM_ACTIVATION_NONE)); /* jvp relies on it */
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
    const fm_conv *conv = self->conv, *backward = self->reverse;
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
    reverse_scratch(plan, op);
    plan->weight_bytes +=
        fm_conv_packed_bytes(conv) + (backward != NULL ? fm_conv_packed_bytes(backward) : 0);
    plan->parameter_count += shape.channels * spec->outputs * spec->kernel * spec->kernel +
                             (spec->bias != NULL ? spec->outputs : 0);
    return FM_OK;
}

typedef struct conv_run {
    const fm_conv *conv;
    fm_conv_call call;
    fm_image residual;
    size_t piece_offset;
} conv_run;

static fm_status prepare_piece(void *context, size_t piece, unsigned char *memory)
{
    const conv_run *it = context;
    (void)memory;
    fm_conv_prepare(it->conv, &it->call, piece);
    return FM_OK;
}

static fm_status conv_piece(void *context, size_t piece, unsigned char *memory)
{
    const conv_run *it = context;
    return fm_conv_run_piece(it->conv, &it->call, piece, memory + it->piece_offset);
}

/* Every row's gate, or that of each of its tangents, alone and padded with zeros, for it is a part of a longer
 * vector. */
static const float *gates_gather(const fm_op *op, const fm_op_call *call,
                                 const fm_op_tangents *tangents, float *gates)
{
    const conv_op *self = op->state;
    const fm_image from = fm_op_image(call, op->inputs[self->gate]);
    for (size_t i = 0; i < call->n_rows; i++) {
        size_t first = tangents != NULL ? tangents->first[i] : i;
        size_t end = tangents != NULL ? tangents->first[i + 1] : i + 1;
        const float *entries = fm_image_at(&from, i, 0, 0) + self->gate_column;
        for (size_t k = first; k < end; k++) {
            float *gate = gates + k * self->gate_stride;
            memcpy(gate, entries, self->outputs * sizeof *gate);
            memset(gate + self->outputs, 0, (self->gate_stride - self->outputs) * sizeof *gate);
        }
    }
    return gates;
}

static fm_status run_pieces(conv_run *it, const fm_op_call *call)
{
    const fm_conv *conv = it->conv;
    fm_status status =
        fm_op_pieces(call, fm_conv_prepare_count(conv, &it->call), prepare_piece, it);
    return status == FM_OK
               ? fm_op_pieces(call, fm_conv_piece_count(conv, &it->call), conv_piece, it)
               : status;
}

static size_t gate_bytes(const fm_op *op, const fm_op_call *call)
{
    const conv_op *self = op->state;
    return self->gate == 0
               ? 0
               : fm_arena_round(call->plan->max_rows * self->gate_stride * sizeof(float));
}

/* The part of the layer on the call's rows or, where they are given, on their tangents.
 *   adds  the residual, too */
static fm_status run(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents,
                     fm_layer_part part, bool adds)
{
    const conv_op *self = op->state;
    const fm_op_call *of = tangents != NULL ? &tangents->call : call;
    unsigned char *scratch = of->memory + (tangents != NULL ? tangents->op : op)->scratch_offset;
    conv_run it = {.conv = self->conv,
                   .call = {.part = part,
                            .n_images = of->n_rows,
                            .in = fm_op_image(of, op->inputs[0]),
                            .out = fm_op_image(of, op->output),
                            .n_members = fm_team_members(of->team),
                            .shared = scratch + gate_bytes(op, of)},
                   .piece_offset = op->piece_offset};
    if (self->row_bias != 0 && tangents == NULL) {
        const fm_image vectors = fm_op_image(call, op->inputs[self->row_bias]);
        it.call.row_bias = vectors.data;
        it.call.row_bias_stride = vectors.image_stride;
    }
    if (self->gate != 0) {
        it.call.gate = gates_gather(op, call, tangents, (float *)(void *)scratch);
        it.call.gate_stride = self->gate_stride;
    }
    fm_plan_value residual = op->inputs[self->residual];
    if (self->residual != 0 && adds && (tangents == NULL || fm_plan_varies(of->plan, residual))) {
        it.residual = fm_op_image(of, residual);
        it.call.residual = &it.residual;
    }
    return run_pieces(&it, of);
}

fm_status fm_op_conv_eval(const fm_op *op, const fm_op_call *call)
{
    return run(op, call, NULL, FM_LAYER_WHOLE, true);
}

/* ---- derivatives ---- */

static void residual_add(const fm_op *op, const fm_op_call *call)
{
    const fm_image from = fm_op_image(call, op->inputs[((const conv_op *)op->state)->residual]);
    const fm_image to = fm_op_image(call, op->output);
    fm_op_add(&from, &to, call->n_rows);
}

/* What is convolved does not vary: the tangents are the residual's. */
static fm_status residual_jvp(const fm_op *op, const fm_op_call *call,
                              const fm_op_tangents *tangents)
{
    const fm_image to = fm_op_image(&tangents->call, op->output);
    for (size_t k = 0; k < tangents->call.n_rows; k++) {
        for (size_t y = 0; y < to.height; y++) {
            memset(fm_image_at(&to, k, y, 0), 0, to.width * to.pixel_stride * sizeof(float));
        }
    }
    residual_add(op, &tangents->call);
    return fm_op_conv_eval(op, call);
}

fm_status fm_op_conv_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    const conv_op *self = op->state;
    if (!fm_plan_varies(call->plan, op->inputs[0])) {
        return residual_jvp(op, call, tangents);
    }
    bool fused = self->activation == FM_ACTIVATION_NONE;
    fm_status status = run(op, call, NULL, FM_LAYER_AFFINE, fused);
    if (status == FM_OK) {
        status = run(op, call, tangents, FM_LAYER_LINEAR, fused);
    }
    if (status == FM_OK && !fused) {
        fm_op_activate_jvp(op, call, tangents, self->activation);
    }
    if (status == FM_OK && !fused && self->residual != 0) {
        residual_add(op, call);
        if (fm_plan_varies(call->plan, op->inputs[self->residual])) {
            residual_add(op, &tangents->call);
        }
    }
    return status;
}

/* An image in scratch, channels of the output: z without border, or the cotangent spread over the input's pixels
 * with the border that the transposed convolution reads. */
static fm_image scratch_image(const fm_plan_shape *shape, size_t channels, size_t border,
                              float *data)
{
    size_t stride = fm_kernels_round(channels), line = (shape->width + 2 * border) * stride;
    return (fm_image){.data = data == NULL ? NULL : data + border * (line + stride),
                      .height = shape->height,
                      .width = shape->width,
                      .channels = channels,
                      .pixel_stride = stride,
                      .line_stride = line,
                      .image_stride = (shape->height + 2 * border) * line};
}

static fm_image sums_image(const fm_op *op, const fm_plan *plan, float *data)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, op->output);
    return scratch_image(&shape, shape.channels, 0, data);
}

static fm_image spread_image(const fm_op *op, const fm_plan *plan, float *data)
{
    const conv_op *self = op->state;
    const fm_plan_shape shape = fm_plan_shape_of(plan, op->inputs[0]);
    return scratch_image(&shape, self->outputs, self->kernel / 2, data);
}

/* The activation's slopes at what enters it, which is made once more. */
static fm_status slopes_make(const fm_op *op, const fm_op_call *call, const fm_image *sums,
                             unsigned char *shared)
{
    const conv_op *self = op->state;
    conv_run it = {.conv = self->conv,
                   .call = {.part = FM_LAYER_AFFINE,
                            .n_images = call->n_rows,
                            .in = fm_op_image(call, op->inputs[0]),
                            .out = *sums,
                            .n_members = 1,
                            .shared = shared},
                   .piece_offset = op->piece_offset};
    if (self->row_bias != 0) {
        const fm_image vectors = fm_op_image(call, op->inputs[self->row_bias]);
        it.call.row_bias = vectors.data;
        it.call.row_bias_stride = vectors.image_stride;
    }
    fm_status status = run_pieces(&it, call);
    fm_kernels_best()->slopes(self->activation, call->n_rows * sums->image_stride, sums->data,
                              sums->data);
    return status;
}

/* One row's cotangent, times its gate or slopes, on the input's pixels. */
static void cotangent_spread(const fm_op *op, const fm_op_call *call, const fm_image *from,
                             const fm_image *slopes, const fm_image *to, size_t row)
{
    const conv_op *self = op->state;
    const float *gate = NULL;
    if (self->gate != 0) {
        const fm_image vectors = fm_op_image(call, op->inputs[self->gate]);
        gate = fm_image_at(&vectors, row, 0, 0) + self->gate_column;
    }
    for (size_t p = 0; p < from->height * from->width; p++) {
        size_t y = p / from->width, x = p % from->width;
        const float *cotangent = fm_image_at(from, row, y, x);
        const float *factors = slopes != NULL ? fm_image_at(slopes, row, y, x) : gate;
        float *pixel = fm_image_at(to, row, y * self->stride, x * self->stride);
        for (size_t c = 0; c < self->outputs; c++) {
            pixel[c] = factors != NULL ? cotangent[c] * factors[c] : cotangent[c];
        }
    }
}

fm_status fm_op_conv_vjp(const fm_op *op, const fm_op_call *call,
                         const fm_op_cotangents *cotangents)
{
    const conv_op *self = op->state;
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    if (self->residual != 0 && fm_plan_varies(call->plan, op->inputs[self->residual])) {
        const fm_image to = fm_op_image(&cotangents->call, op->inputs[self->residual]);
        fm_op_add(&from, &to, call->n_rows);
    }
    if (self->reverse == NULL) { /* what is convolved does not vary */
        return FM_OK;
    }
    size_t rows = call->plan->max_rows;
    float *scratch = fm_op_vjp_scratch(cotangents);
    const fm_image sums = sums_image(op, call->plan, scratch);
    float *spread_data =
        scratch + fm_arena_round(rows * sums.image_stride * sizeof(float)) / sizeof(float);
    const fm_image spread = spread_image(op, call->plan, spread_data);
    size_t spread_bytes = rows * spread.image_stride * sizeof(float);
    unsigned char *shared = (unsigned char *)spread_data + fm_arena_round(spread_bytes);
    bool slopes = self->activation != FM_ACTIVATION_NONE;
    fm_status status = slopes ? slopes_make(cotangents->op, call, &sums, shared) : FM_OK;
    memset(spread_data, 0, spread_bytes);
    for (size_t i = 0; i < call->n_rows; i++) {
        cotangent_spread(op, call, &from, slopes ? &sums : NULL, &spread, i);
    }
    conv_run it = {.conv = self->reverse,
                   .call = {.n_images = call->n_rows,
                            .in = spread,
                            .out = fm_op_image(&cotangents->call, op->inputs[0]),
                            .n_members = 1,
                            .shared = shared},
                   .piece_offset = cotangents->op->piece_offset};
    it.residual = it.call.out;
    it.call.residual = &it.residual;
    return status == FM_OK ? run_pieces(&it, call) : status;
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
    fm_conv_free(self->reverse);
    fm_conv_free(self->conv);
    fm_free(self);
}
