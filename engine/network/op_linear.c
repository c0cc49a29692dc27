/* `linear`: one dense layer with its bias and activation in the same pass. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef struct linear {
    fm_dense *dense;
    size_t inputs;
    fm_activation activation;
    bool has_bias;
} linear;

static fm_status linear_new(const fm_dense_spec *spec, linear **ret, fm_error *err)
{
    linear *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a linear layer");
    }
    fm_status status = fm_dense_new(spec, &self->dense, err);
    if (status != FM_OK) {
        fm_free(self);
        return status;
    }
    self->inputs = spec->inputs;
    self->activation = spec->activation;
    self->has_bias = spec->bias != NULL;
    *ret = self;
    return FM_OK;
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
    fm_status status = linear_new(&sized, &self, err);
    if (status != FM_OK) {
        return status;
    }
    const fm_dense *dense = self->dense;
    const fm_plan_shape shape = {1, 1, spec->outputs};
    status = fm_plan_add(plan, FM_OP_KIND_linear, self, &in, 1, &shape, ret, err);
    if (status != FM_OK) {
        return status;
    }
    plan->ops[plan->n_ops - 1].scratch_bytes = fm_dense_scratch_bytes(dense);
    plan->weight_bytes += fm_dense_packed_bytes(dense);
    plan->parameter_count +=
        spec->inputs * spec->outputs + (spec->bias != NULL ? spec->outputs : 0);
    size_t rows = fm_dense_padded_rows(dense, plan->max_rows);
    status = fm_plan_require(plan, in, fm_dense_input_stride(dense), rows, err);
    if (status == FM_OK) {
        status = fm_plan_require(plan, *ret, fm_dense_output_stride(dense), rows, err);
    }
    return status;
}

fm_status fm_op_linear_eval(const fm_op *op, const fm_op_call *call)
{
    const linear *self = op->state;
    float *in = fm_op_value(call, op->inputs[0]);
    assert(call->plan->values[op->inputs[0]].border == 0 &&
           call->plan->values[op->output].border == 0); /* rows in one run */
    size_t padded = fm_dense_padded_rows(self->dense, call->n_rows);
    if (padded > call->n_rows) { /* memory is shared: what lies there need not be finite */
        size_t stride = call->plan->values[op->inputs[0]].stride;
        memset(in + call->n_rows * stride, 0, (padded - call->n_rows) * stride * sizeof *in);
    }
    return fm_dense_run(self->dense, call->n_rows, in, fm_op_value(call, op->output),
                        call->memory + op->scratch_offset);
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
    fm_dense_free(self->dense);
    fm_free(self);
}
