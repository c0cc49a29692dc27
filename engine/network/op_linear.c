/* `linear`: one dense layer with its bias and activation in the same pass. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef struct linear {
    fm_dense *dense;
    fm_dense *reverse; /* weight^T, of plans that have a reverse mode; else NULL */
    size_t inputs, outputs;
    fm_activation activation;
    bool has_bias;
} linear;

static fm_status reverse_new(const fm_dense_spec *spec, linear *self, fm_error *err)
{
    float *transposed = fm_alloc_array(spec->inputs * spec->outputs, sizeof *transposed);
    if (transposed == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a transposed layer");
    }
    for (size_t o = 0; o < spec->outputs; o++) {
        for (size_t i = 0; i < spec->inputs; i++) {
            transposed[i * spec->outputs + o] = spec->weight[o * spec->inputs + i];
        }
    }
    const fm_dense_spec reverse = {.inputs = spec->outputs,
                                   .outputs = spec->inputs,
                                   .weight = transposed,
                                   .max_rows = spec->max_rows,
                                   .pool = spec->pool};
    fm_status status = fm_dense_new(&reverse, &self->reverse, err);
    fm_free(transposed);
    return status;
}

static fm_status linear_new(const fm_dense_spec *spec, bool reverse, linear **ret, fm_error *err)
{
    linear *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a linear layer");
    }
    fm_status status = fm_dense_new(spec, &self->dense, err);
    if (status == FM_OK && reverse) {
        status = reverse_new(spec, self, err);
    }
    if (status != FM_OK) {
        fm_op_linear_free(self);
        return status;
    }
    self->inputs = spec->inputs;
    self->outputs = spec->outputs;
    self->activation = spec->activation;
    self->has_bias = spec->bias != NULL;
    *ret = self;
    return FM_OK;
}

/* Of vjp: z with its padding rows, what the transposed layer makes, and the layers' own. Of hvp: the same for
 * tangents, and their dz behind that. */
typedef struct scratch_layout {
    size_t sums_bytes, gradient_bytes, total_bytes;
} scratch_layout;

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static scratch_layout vjp_scratch(const fm_dense *dense, const fm_dense *reverse, size_t rows)
{
    size_t padded = most(fm_dense_padded_rows(dense, rows), fm_dense_padded_rows(reverse, rows));
    scratch_layout ret = {
        .sums_bytes = fm_arena_round(padded * fm_dense_output_stride(dense) * sizeof(float)),
        .gradient_bytes = fm_arena_round(padded * fm_dense_output_stride(reverse) * sizeof(float)),
    };
    ret.total_bytes = ret.sums_bytes + ret.gradient_bytes +
                      most(fm_dense_scratch_bytes(dense), fm_dense_scratch_bytes(reverse));
    return ret;
}

fm_status fm_plan_linear(fm_plan *plan, fm_plan_value in, const fm_dense_spec *spec,
                         fm_plan_value *ret, fm_error *err)
{
    assert(plan->values[in].columns == spec->inputs && plan->values[in].height == 1 &&
           plan->values[in].width == 1);
    if (plan->compute == FM_COMPUTE_BFLOAT16) { /* a row is an image of one pixel */
        const fm_plan_conv_spec conv = {.outputs = spec->outputs,
                                        .kernel = 1,
                                        .stride = 1,
                                        .weight = spec->weight,
                                        .bias = spec->bias,
                                        .activation = spec->activation};
        return fm_plan_conv(plan, in, &conv, ret, err);
    }
    fm_dense_spec sized = *spec;
    sized.max_rows = plan->max_rows;
    sized.pool = &plan->weights;
    linear *self = NULL;
    bool reverse = plan->reversible && fm_plan_varies(plan, in);
    fm_status status = linear_new(&sized, reverse, &self, err);
    if (status != FM_OK) {
        return status;
    }
    const fm_dense *dense = self->dense, *backward = self->reverse;
    const fm_plan_shape shape = {1, 1, spec->outputs};
    status = fm_plan_add(plan, FM_OP_KIND_linear, self, &in, 1, &shape, ret, err);
    if (status != FM_OK) {
        return status;
    }
    fm_op *op = fm_plan_last_op(plan);
    op->scratch_bytes = fm_dense_scratch_bytes(dense);
    plan->weight_bytes += fm_dense_packed_bytes(dense);
    if (backward != NULL) {
        const scratch_layout layout = vjp_scratch(dense, backward, plan->max_rows);
        op->vjp_scratch_bytes = layout.total_bytes;
        op->hvp_scratch_bytes = fm_arena_round(layout.total_bytes) + layout.sums_bytes;
        plan->weight_bytes += fm_dense_packed_bytes(backward);
    }
    plan->parameter_count +=
        spec->inputs * spec->outputs + (spec->bias != NULL ? spec->outputs : 0);
    size_t rows = fm_dense_padded_rows(dense, plan->max_rows);
    status = fm_plan_require(plan, in, fm_dense_input_stride(dense), rows, err);
    if (status == FM_OK) {
        status = fm_plan_require(plan, *ret, fm_dense_output_stride(dense), rows, err);
    }
    return status;
}

/* Memory is shared: what lies in padding rows need not be finite. */
static void padding_clear(const fm_dense *dense, size_t n_rows, float *in)
{
    size_t padded = fm_dense_padded_rows(dense, n_rows), stride = fm_dense_input_stride(dense);
    memset(in + n_rows * stride, 0, (padded - n_rows) * stride * sizeof *in);
}

static fm_status run(const fm_op *op, const fm_op_call *call, fm_layer_part part)
{
    const linear *self = op->state;
    float *in = fm_op_value(call, op->inputs[0]);
    assert(call->plan->values[op->inputs[0]].border == 0 &&
           call->plan->values[op->output].border == 0); /* rows in one run */
    padding_clear(self->dense, call->n_rows, in);
    return fm_dense_run_part(self->dense, part, call->n_rows, in, fm_op_value(call, op->output),
                             call->memory + op->scratch_offset);
}

fm_status fm_op_linear_eval(const fm_op *op, const fm_op_call *call)
{
    return run(op, call, FM_LAYER_WHOLE);
}

fm_status fm_op_linear_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    const linear *self = op->state;
    fm_status status = run(op, call, FM_LAYER_AFFINE);
    if (status == FM_OK) {
        status = run(tangents->op, &tangents->call, FM_LAYER_LINEAR);
    }
    if (status == FM_OK) {
        fm_op_activate_jvp(op, call, tangents, self->activation);
    }
    return status;
}

/* z of the call's rows, or W times its rows, made once more. */
static fm_status sums_make(const fm_op *op, const fm_op_call *call, fm_layer_part part, float *z,
                           void *own)
{
    const linear *self = op->state;
    float *in = fm_op_value(call, op->inputs[0]);
    padding_clear(self->dense, call->n_rows, in);
    return fm_dense_run_part(self->dense, part, call->n_rows, in, z, own);
}

/* Adds W^T times the output's images, which are cotangents of z or tangents of such, to the input's.
 *   gradient  the product */
static fm_status pass_back(const fm_op *op, const fm_op_call *cotangents, float *gradient,
                           void *own)
{
    const linear *self = op->state;
    float *factors = fm_op_value(cotangents, op->output);
    padding_clear(self->reverse, cotangents->n_rows, factors);
    fm_status status = fm_dense_run(self->reverse, cotangents->n_rows, factors, gradient, own);
    const fm_image to = fm_op_image(cotangents, op->inputs[0]);
    fm_image from = to;
    from.data = gradient;
    fm_op_add(&from, &to, cotangents->n_rows);
    return status;
}

fm_status fm_op_linear_vjp(const fm_op *op, const fm_op_call *call,
                           const fm_op_cotangents *cotangents)
{
    const linear *self = op->state;
    const scratch_layout layout = vjp_scratch(self->dense, self->reverse, call->plan->max_rows);
    unsigned char *scratch = fm_op_vjp_scratch(cotangents);
    unsigned char *gradient = scratch + layout.sums_bytes, *own = gradient + layout.gradient_bytes;
    float *z = (float *)(void *)scratch, *factors = fm_op_value(&cotangents->call, op->output);
    fm_status status = FM_OK;
    if (self->activation != FM_ACTIVATION_NONE) {
        status = sums_make(op, call, FM_LAYER_AFFINE, z, own);
        fm_op_multiply_slopes(self->activation, call->n_rows * fm_dense_output_stride(self->dense),
                              z, factors);
    }
    return status == FM_OK ? pass_back(op, &cotangents->call, (float *)(void *)gradient, own)
                           : status;
}

/* The tangents of g_h become those of g_z, row by row. */
static void bend(const fm_op *op, const fm_op_second *second, const float *z, const float *dz)
{
    const linear *self = op->state;
    const fm_op_tangents *tangents = second->tangents;
    size_t stride = fm_dense_output_stride(self->dense);
    const float *g = fm_op_value(&second->cotangents->call, op->output);
    float *dg = fm_op_value(&second->call, op->output);
    for (size_t i = 0; i < second->cotangents->call.n_rows; i++) {
        size_t first = tangents->first[i];
        const fm_bend row = {.z = z + i * stride,
                             .g = g + i * stride,
                             .dz = dz + first * stride,
                             .dg = dg + first * stride,
                             .stride = stride,
                             .n_tangents = tangents->first[i + 1] - first};
        fm_op_bend(self->activation, &row);
    }
}

fm_status fm_op_linear_hvp(const fm_op *op, const fm_op_call *call, const fm_op_second *second)
{
    const linear *self = op->state;
    const scratch_layout layout =
        vjp_scratch(self->dense, self->reverse, second->call.plan->max_rows);
    unsigned char *scratch = fm_op_hvp_scratch(second);
    unsigned char *gradient = scratch + layout.sums_bytes, *own = gradient + layout.gradient_bytes;
    float *z = (float *)(void *)scratch;
    float *dz = (float *)(void *)(scratch + fm_arena_round(layout.total_bytes));
    fm_status status = FM_OK;
    if (self->activation != FM_ACTIVATION_NONE) {
        status = sums_make(op, call, FM_LAYER_AFFINE, z, own);
        if (status == FM_OK) {
            status = sums_make(op, &second->tangents->call, FM_LAYER_LINEAR, dz, own);
        }
        if (status == FM_OK) {
            bend(op, second, z, dz);
        }
    }
    return status == FM_OK ? pass_back(op, &second->call, (float *)(void *)gradient, own) : status;
}

void fm_op_linear_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const linear *self = op->state;
    (void)snprintf(text, size_bytes, "[%zu inputs]%s %s", self->inputs,
                   self->has_bias ? " + bias," : "",
                   self->activation == FM_ACTIVATION_NONE ? "no activation"
                                                          : fm_activation_name(self->activation));
}

void fm_op_linear_free(void *state)
{
    linear *self = state;
    fm_dense_free(self->reverse);
    fm_dense_free(self->dense);
    fm_free(self);
}
