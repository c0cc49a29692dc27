/* `attention`: every pixel or token of a row attends to all of that row. */
#include "engine/math/attention.h"
#include "engine/math/attention_derivative.h"
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

fm_status fm_plan_attention(fm_plan *plan, fm_plan_value in, const fm_plan_attention_spec *spec,
                            fm_plan_value *ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    assert(shape.channels == 3 * spec->heads * spec->head_channels);
    fm_attention_shape *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an attention");
    }
    *self = (fm_attention_shape){.tokens = shape.height * shape.width,
                                 .heads = spec->heads,
                                 .head_channels = spec->head_channels,
                                 .heads_first = spec->heads_first};
    const fm_attention_shape kept = *self;
    const fm_plan_shape out = {shape.height, shape.width, shape.channels / 3};
    fm_status status = fm_plan_add(plan, FM_OP_KIND_attention, self, &in, 1, &out, ret, err);
    if (status == FM_OK) {
        fm_op *op = fm_plan_last_op(plan);
        op->scratch_bytes = fm_attention_packed_bytes(&kept, plan->max_rows);
        op->piece_bytes = fm_attention_piece_bytes(&kept);
        op->jvp_scratch_bytes = fm_attention_jvp_bytes(&kept);
        op->vjp_scratch_bytes = fm_attention_vjp_bytes(&kept);
    }
    return status;
}

typedef struct attention_run {
    fm_attention_call call;
    size_t piece_offset;
} attention_run;

static fm_status pack_piece(void *context, size_t piece, unsigned char *memory)
{
    (void)memory;
    fm_attention_pack(&((const attention_run *)context)->call, piece);
    return FM_OK;
}

static fm_status attend_piece(void *context, size_t piece, unsigned char *memory)
{
    const attention_run *it = context;
    fm_attention_run(&it->call, piece, memory + it->piece_offset);
    return FM_OK;
}

/* The heads write their channels; those beyond are cleared here. */
static void padding_clear(const fm_image *out, size_t n_images)
{
    size_t bytes = (out->pixel_stride - out->channels) * sizeof(float);
    for (size_t i = 0; i < n_images && bytes > 0; i++) {
        for (size_t p = 0; p < out->height * out->width; p++) {
            memset(fm_image_at(out, i, p / out->width, p % out->width) + out->channels, 0, bytes);
        }
    }
}

fm_status fm_op_attention_eval(const fm_op *op, const fm_op_call *call)
{
    attention_run it = {.call = {.shape = *(const fm_attention_shape *)op->state,
                                 .n_images = call->n_rows,
                                 .in = fm_op_image(call, op->inputs[0]),
                                 .out = fm_op_image(call, op->output),
                                 .packed = call->memory + op->scratch_offset},
                        .piece_offset = op->piece_offset};
    assert(call->plan->values[op->inputs[0]].border == 0); /* tokens in one run */
    padding_clear(&it.call.out, call->n_rows);
    fm_status status = fm_op_pieces(call, fm_attention_pack_count(&it.call), pack_piece, &it);
    return status == FM_OK
               ? fm_op_pieces(call, fm_attention_piece_count(&it.call), attend_piece, &it)
               : status;
}

fm_status fm_op_attention_jvp(const fm_op *op, const fm_op_call *call,
                              const fm_op_tangents *tangents)
{
    fm_attention_tangent job = {.shape = *(const fm_attention_shape *)op->state,
                                .in = fm_op_image(call, op->inputs[0]),
                                .tangent = fm_op_image(&tangents->call, op->inputs[0]),
                                .out = fm_op_image(&tangents->call, op->output)};
    padding_clear(&job.out, tangents->call.n_rows);
    for (size_t i = 0; i < call->n_rows; i++) {
        job.in_index = i;
        for (size_t k = tangents->first[i]; k < tangents->first[i + 1]; k++) {
            job.tangent_index = k;
            job.out_index = k;
            for (size_t head = 0; head < job.shape.heads; head++) {
                fm_attention_jvp(&job, head, fm_op_jvp_scratch(tangents));
            }
        }
    }
    return fm_op_attention_eval(op, call);
}

fm_status fm_op_attention_vjp(const fm_op *op, const fm_op_call *call,
                              const fm_op_cotangents *cotangents)
{
    fm_attention_cotangent job = {.shape = *(const fm_attention_shape *)op->state,
                                  .in = fm_op_image(call, op->inputs[0]),
                                  .out = fm_op_image(&cotangents->call, op->output),
                                  .gradient = fm_op_image(&cotangents->call, op->inputs[0])};
    for (size_t i = 0; i < call->n_rows; i++) {
        job.in_index = i;
        job.out_index = i;
        job.gradient_index = i;
        for (size_t head = 0; head < job.shape.heads; head++) {
            fm_attention_vjp(&job, head, fm_op_vjp_scratch(cotangents));
        }
    }
    return FM_OK;
}

void fm_op_attention_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const fm_attention_shape *self = op->state;
    (void)snprintf(text, size_bytes, "%zu heads of %zu channels over %zu tokens, %s", self->heads,
                   self->head_channels, self->tokens,
                   self->heads_first ? "heads first" : "q, k, v first");
}

void fm_op_attention_free(void *state)
{
    fm_free(state);
}
