/* What is done pixel by pixel, without weights: sums, concatenation, nearest up-sampling, average pooling. */
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Lines of all rows' images, in pieces of one or more lines. */
typedef struct lines {
    const fm_op *op;
    const fm_op_call *call;
    size_t height, parts; /* of the output, and into how many pieces each row's image is cut */
    void (*run)(const fm_op *op, const fm_op_call *call, size_t row, size_t y);
} lines;

static fm_status lines_piece(void *context, size_t piece, unsigned char *memory)
{
    const lines *it = context;
    (void)memory;
    size_t row = piece / it->parts, part = piece % it->parts;
    for (size_t y = it->height * part / it->parts; y < it->height * (part + 1) / it->parts; y++) {
        it->run(it->op, it->call, row, y);
    }
    return FM_OK;
}

static fm_status lines_run(const fm_op *op, const fm_op_call *call,
                           void (*run)(const fm_op *op, const fm_op_call *call, size_t row,
                                       size_t y))
{
    size_t height = call->plan->values[op->output].height, members = fm_team_members(call->team);
    size_t parts = members == 1 ? 1 : members < height ? members : height;
    lines it = {.op = op, .call = call, .height = height, .parts = parts, .run = run};
    return fm_op_pieces(call, call->n_rows * parts, lines_piece, &it);
}

/* ---- sum ---- */

typedef struct sum {
    fm_activation activation;
    bool broadcast; /* b is a vector */
} sum;

fm_status fm_plan_sum(fm_plan *plan, fm_plan_value a, const fm_plan_value *b,
                      fm_activation activation, fm_plan_value *ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, a);
    sum *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a sum");
    }
    self->activation = activation;
    if (b != NULL) {
        const fm_plan_shape other = fm_plan_shape_of(plan, *b);
        self->broadcast = other.height * other.width == 1;
        assert(other.channels == shape.channels &&
               (self->broadcast || (other.height == shape.height && other.width == shape.width)));
    }
    const fm_plan_value inputs[] = {a, b != NULL ? *b : 0};
    return fm_plan_add(plan, FM_OP_KIND_sum, self, inputs, b != NULL ? 2 : 1, &shape, ret, err);
}

static void sum_line(const fm_op *op, const fm_op_call *call, size_t row, size_t y)
{
    const sum *self = op->state;
    const fm_image a = fm_op_image(call, op->inputs[0]), out = fm_op_image(call, op->output);
    fm_image b = {0};
    if (op->n_inputs > 1) {
        b = fm_op_image(call, op->inputs[1]);
    }
    for (size_t x = 0; x < out.width; x++) {
        const float *from = fm_image_at(&a, row, y, x);
        float *to = fm_image_at(&out, row, y, x);
        memcpy(to, from, out.pixel_stride * sizeof *to);
        const float *other = b.data == NULL    ? NULL
                             : self->broadcast ? fm_image_at(&b, row, 0, 0)
                                               : fm_image_at(&b, row, y, x);
        fm_kernels_best()->activate(self->activation, other, 1, out.pixel_stride, 0, to);
    }
}

fm_status fm_op_sum_eval(const fm_op *op, const fm_op_call *call)
{
    return lines_run(op, call, sum_line);
}

/* The sum alone, without its activation, pixel by pixel of `to`. */
static void sum_inputs(const fm_op *op, const fm_op_call *call, const fm_image *to)
{
    const sum *self = op->state;
    const fm_image a = fm_op_image(call, op->inputs[0]);
    const fm_image b = op->n_inputs > 1 ? fm_op_image(call, op->inputs[1]) : a;
    for (size_t p = 0; p < call->n_rows * to->height * to->width; p++) {
        size_t row = p / (to->height * to->width), y = p / to->width % to->height;
        size_t x = p % to->width;
        const float *from = fm_image_at(&a, row, y, x);
        const float *other =
            self->broadcast ? fm_image_at(&b, row, 0, 0) : fm_image_at(&b, row, y, x);
        float *out = fm_image_at(to, row, y, x);
        for (size_t c = 0; c < to->pixel_stride; c++) {
            out[c] = op->n_inputs > 1 ? from[c] + other[c] : from[c];
        }
    }
}

fm_status fm_op_sum_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    const fm_image out = fm_op_image(call, op->output);
    const fm_image to = fm_op_image(&tangents->call, op->output);
    sum_inputs(op, call, &out);
    for (size_t k = 0; k < tangents->call.n_rows; k++) {
        for (size_t y = 0; y < to.height; y++) {
            memset(fm_image_at(&to, k, y, 0), 0, to.width * to.pixel_stride * sizeof(float));
        }
    }
    for (size_t i = 0; i < op->n_inputs; i++) {
        if (fm_plan_varies(call->plan, op->inputs[i])) {
            const fm_image from = fm_op_image(&tangents->call, op->inputs[i]);
            fm_op_add(&from, &to, tangents->call.n_rows);
        }
    }
    fm_op_activate_jvp(op, call, tangents, ((const sum *)op->state)->activation);
    return FM_OK;
}

/* The cotangent of what enters the activation, in its own place. */
static void sum_through_activation(const fm_op *op, const fm_op_call *call,
                                   const fm_op_cotangents *cotangents)
{
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    fm_image z = fm_op_image(call, op->output); /* its value is not needed any more */
    sum_inputs(op, call, &z);
    for (size_t p = 0; p < call->n_rows * from.height * from.width; p++) {
        size_t row = p / (from.height * from.width), y = p / from.width % from.height;
        size_t x = p % from.width;
        fm_op_multiply_slopes(((const sum *)op->state)->activation, from.pixel_stride,
                              fm_image_at(&z, row, y, x), fm_image_at(&from, row, y, x));
    }
}

fm_status fm_op_sum_vjp(const fm_op *op, const fm_op_call *call, const fm_op_cotangents *cotangents)
{
    const sum *self = op->state;
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    if (self->activation != FM_ACTIVATION_NONE) {
        sum_through_activation(op, call, cotangents);
    }
    for (size_t i = 0; i < op->n_inputs; i++) {
        if (!fm_plan_varies(call->plan, op->inputs[i])) {
            continue;
        }
        const fm_image to = fm_op_image(&cotangents->call, op->inputs[i]);
        if (i == 1 && self->broadcast) {
            fm_op_add_sums(&from, &to, call->n_rows);
        } else {
            fm_op_add(&from, &to, call->n_rows);
        }
    }
    return FM_OK;
}

void fm_op_sum_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const sum *self = op->state;
    char other[32] = "";
    if (op->n_inputs > 1) {
        (void)snprintf(other, sizeof other, " + %zu", op->inputs[1]);
    }
    (void)snprintf(text, size_bytes, "of values %zu%s, %s", op->inputs[0], other,
                   self->activation == FM_ACTIVATION_NONE ? "no activation"
                                                          : fm_activation_name(self->activation));
}

void fm_op_sum_free(void *state)
{
    fm_free(state);
}

/* ---- concat ---- */

fm_status fm_plan_concat(fm_plan *plan, fm_plan_value a, fm_plan_value b, fm_plan_value *ret,
                         fm_error *err)
{
    fm_plan_shape shape = fm_plan_shape_of(plan, a);
    const fm_plan_shape other = fm_plan_shape_of(plan, b);
    assert(shape.height == other.height && shape.width == other.width);
    shape.channels += other.channels;
    return fm_plan_add(plan, FM_OP_KIND_concat, NULL, (fm_plan_value[]){a, b}, 2, &shape, ret, err);
}

static void concat_line(const fm_op *op, const fm_op_call *call, size_t row, size_t y)
{
    const fm_image a = fm_op_image(call, op->inputs[0]), b = fm_op_image(call, op->inputs[1]);
    const fm_image out = fm_op_image(call, op->output);
    for (size_t x = 0; x < out.width; x++) {
        float *to = fm_image_at(&out, row, y, x);
        memcpy(to, fm_image_at(&a, row, y, x), a.channels * sizeof *to);
        memcpy(to + a.channels, fm_image_at(&b, row, y, x), b.channels * sizeof *to);
        memset(to + out.channels, 0, (out.pixel_stride - out.channels) * sizeof *to);
    }
}

fm_status fm_op_concat_eval(const fm_op *op, const fm_op_call *call)
{
    return lines_run(op, call, concat_line);
}

/* An input's channels of the output's cotangent, from `first` on. */
static void concat_gradient(const fm_op *op, const fm_op_cotangents *cotangents, size_t input,
                            size_t first)
{
    const fm_op_call *call = &cotangents->call;
    if (!fm_plan_varies(call->plan, op->inputs[input])) {
        return;
    }
    const fm_image from = fm_op_image(call, op->output), to = fm_op_image(call, op->inputs[input]);
    for (size_t p = 0; p < call->n_rows * to.height * to.width; p++) {
        size_t row = p / (to.height * to.width), y = p / to.width % to.height, x = p % to.width;
        const float *cotangent = fm_image_at(&from, row, y, x) + first;
        float *gradient = fm_image_at(&to, row, y, x);
        for (size_t c = 0; c < to.channels; c++) {
            gradient[c] += cotangent[c];
        }
    }
}

fm_status fm_op_concat_vjp(const fm_op *op, const fm_op_call *call,
                           const fm_op_cotangents *cotangents)
{
    concat_gradient(op, cotangents, 0, 0);
    concat_gradient(op, cotangents, 1, call->plan->values[op->inputs[0]].columns);
    return FM_OK;
}

void fm_op_concat_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "of values %zu and %zu", op->inputs[0], op->inputs[1]);
}

void fm_op_concat_free(void *state)
{
    (void)state;
}

/* ---- upsample ---- */

fm_status fm_plan_upsample(fm_plan *plan, fm_plan_value in, fm_plan_value *ret, fm_error *err)
{
    fm_plan_shape shape = fm_plan_shape_of(plan, in);
    shape.height *= 2;
    shape.width *= 2;
    return fm_plan_add(plan, FM_OP_KIND_upsample, NULL, &in, 1, &shape, ret, err);
}

static void upsample_line(const fm_op *op, const fm_op_call *call, size_t row, size_t y)
{
    const fm_image in = fm_op_image(call, op->inputs[0]), out = fm_op_image(call, op->output);
    for (size_t x = 0; x < out.width; x++) {
        memcpy(fm_image_at(&out, row, y, x), fm_image_at(&in, row, y / 2, x / 2),
               out.pixel_stride * sizeof(float));
    }
}

fm_status fm_op_upsample_eval(const fm_op *op, const fm_op_call *call)
{
    return lines_run(op, call, upsample_line);
}

/* to[y / 2][x / 2] += weight from[y][x] or, when not `halves`, the other way round: nearest up-sampling and the
 * mean of 2 x 2 pixels are each other's transposes, but for the weight. */
static void resample_gradient(const fm_op *op, const fm_op_cotangents *cotangents, bool halves,
                              float weight)
{
    const fm_op_call *call = &cotangents->call;
    const fm_image from = fm_op_image(call, op->output), to = fm_op_image(call, op->inputs[0]);
    const fm_image *small = halves ? &to : &from;
    size_t height = 2 * small->height, width = 2 * small->width;
    for (size_t p = 0; p < call->n_rows * height * width; p++) {
        size_t row = p / (height * width), y = p / width % height, x = p % width;
        const float *cotangent =
            halves ? fm_image_at(&from, row, y, x) : fm_image_at(&from, row, y / 2, x / 2);
        float *gradient =
            halves ? fm_image_at(&to, row, y / 2, x / 2) : fm_image_at(&to, row, y, x);
        for (size_t c = 0; c < to.pixel_stride; c++) {
            gradient[c] += weight * cotangent[c];
        }
    }
}

fm_status fm_op_upsample_vjp(const fm_op *op, const fm_op_call *call,
                             const fm_op_cotangents *cotangents)
{
    (void)call;
    resample_gradient(op, cotangents, true, 1.0F);
    return FM_OK;
}

void fm_op_upsample_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "value %zu, nearest, x 2", op->inputs[0]);
}

void fm_op_upsample_free(void *state)
{
    (void)state;
}

/* ---- pool ---- */

fm_status fm_plan_pool(fm_plan *plan, fm_plan_value in, fm_plan_value *ret, fm_error *err)
{
    fm_plan_shape shape = fm_plan_shape_of(plan, in);
    shape.height /= 2;
    shape.width /= 2;
    return fm_plan_add(plan, FM_OP_KIND_pool, NULL, &in, 1, &shape, ret, err);
}

static void pool_line(const fm_op *op, const fm_op_call *call, size_t row, size_t y)
{
    const fm_image in = fm_op_image(call, op->inputs[0]), out = fm_op_image(call, op->output);
    for (size_t x = 0; x < out.width; x++) {
        const float *a = fm_image_at(&in, row, 2 * y, 2 * x), *b = a + in.pixel_stride;
        const float *c = a + in.line_stride, *d = c + in.pixel_stride;
        float *to = fm_image_at(&out, row, y, x);
        for (size_t i = 0; i < out.pixel_stride; i++) {
            to[i] = ((a[i] + b[i]) + (c[i] + d[i])) * 0.25F;
        }
    }
}

fm_status fm_op_pool_eval(const fm_op *op, const fm_op_call *call)
{
    return lines_run(op, call, pool_line);
}

fm_status fm_op_pool_vjp(const fm_op *op, const fm_op_call *call,
                         const fm_op_cotangents *cotangents)
{
    (void)call;
    resample_gradient(op, cotangents, false, 0.25F);
    return FM_OK;
}

void fm_op_pool_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "value %zu, mean of 2 x 2", op->inputs[0]);
}

void fm_op_pool_free(void *state)
{
    (void)state;
}
