/* What conditions a network: `time` as waves, `label` and `positions` from tables, or a `table` itself. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- time ---- */

typedef struct time_waves {
    size_t half;
    double max_period;
    double frequencies[]; /* [half] */
} time_waves;

fm_status fm_plan_time(fm_plan *plan, size_t size, double max_period, fm_plan_value *ret,
                       fm_error *err)
{
    size_t half = size / 2;
    time_waves *self = fm_alloc(sizeof *self + half * sizeof(double));
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a time embedding");
    }
    self->half = half;
    self->max_period = max_period;
    for (size_t k = 0; k < half; k++) {
        self->frequencies[k] = exp(-log(max_period) * (double)k / (double)half);
    }
    const fm_plan_shape shape = {1, 1, size};
    return fm_plan_add(plan, FM_OP_KIND_time, self, NULL, 0, &shape, ret, err);
}

fm_status fm_op_time_eval(const fm_op *op, const fm_op_call *call)
{
    const time_waves *self = op->state;
    const fm_image vectors = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        float *out = fm_image_at(&vectors, i, 0, 0);
        for (size_t k = 0; k < self->half; k++) {
            double angle = call->rows[i].t * self->frequencies[k];
            out[k] = (float)cos(angle);
            out[self->half + k] = (float)sin(angle);
        }
        for (size_t j = 2 * self->half; j < vectors.pixel_stride; j++) {
            out[j] = 0.0F;
        }
    }
    return FM_OK;
}

void fm_op_time_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const time_waves *self = op->state;
    (void)snprintf(text, size_bytes, "%zu cosines, then sines, longest period %g x 2 pi",
                   self->half, self->max_period);
}

void fm_op_time_free(void *state)
{
    fm_free(state);
}

/* ---- tables ---- */

typedef struct table {
    size_t count, size;
    float *entries; /* [count][size] */
} table;

static void table_free(table *self)
{
    if (self != NULL) {
        fm_free(self->entries);
        fm_free(self);
    }
}

static fm_status table_new(fm_plan *plan, const float *entries, size_t count, size_t size,
                           table **ret, fm_error *err)
{
    size_t n = 0;
    table *self = fm_alloc(sizeof *self);
    bool fits = self != NULL && fm_multiply(count, size, &n);
    if (fits) {
        self->entries = fm_alloc_array(n, sizeof *self->entries);
    }
    if (!fits || self->entries == NULL) {
        table_free(self);
        return fm_fail(err, FM_ENOMEM, "no memory for a table of %zu x %zu", count, size);
    }
    self->count = count;
    self->size = size;
    memcpy(self->entries, entries, n * sizeof *entries);
    plan->parameter_count += n;
    plan->weight_bytes += n * sizeof *entries;
    *ret = self;
    return FM_OK;
}

fm_status fm_plan_label(fm_plan *plan, const float *entries, size_t count, size_t size,
                        fm_plan_value *ret, fm_error *err)
{
    table *self = NULL;
    fm_status status = table_new(plan, entries, count, size, &self, err);
    const fm_plan_shape shape = {1, 1, size};
    return status != FM_OK ? status
                           : fm_plan_add(plan, FM_OP_KIND_label, self, NULL, 0, &shape, ret, err);
}

fm_status fm_op_label_eval(const fm_op *op, const fm_op_call *call)
{
    const table *self = op->state;
    const fm_image vectors = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        float *out = fm_image_at(&vectors, i, 0, 0);
        size_t label = (size_t)call->rows[i].label;
        assert(label < self->count); /* requests are checked against the model's labels */
        memcpy(out, self->entries + label * self->size, self->size * sizeof *out);
        memset(out + self->size, 0, (vectors.pixel_stride - self->size) * sizeof *out);
    }
    return FM_OK;
}

void fm_op_label_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const table *self = op->state;
    (void)snprintf(text, size_bytes, "table of %zu labels", self->count);
}

void fm_op_label_free(void *state)
{
    table_free(state);
}

fm_status fm_plan_positions(fm_plan *plan, fm_plan_value in, const float *entries,
                            fm_plan_value *ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    table *self = NULL;
    fm_status status =
        table_new(plan, entries, shape.height * shape.width, shape.channels, &self, err);
    return status != FM_OK
               ? status
               : fm_plan_add(plan, FM_OP_KIND_positions, self, &in, 1, &shape, ret, err);
}

fm_status fm_op_positions_eval(const fm_op *op, const fm_op_call *call)
{
    const table *self = op->state;
    const fm_image in = fm_op_image(call, op->inputs[0]), out = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < self->count; p++) {
            size_t y = p / in.width, x = p % in.width;
            const float *from = fm_image_at(&in, i, y, x), *entry = self->entries + p * self->size;
            float *to = fm_image_at(&out, i, y, x);
            for (size_t c = 0; c < self->size; c++) {
                to[c] = from[c] + entry[c];
            }
            for (size_t c = self->size; c < out.pixel_stride; c++) {
                to[c] = 0.0F;
            }
        }
    }
    return FM_OK;
}

fm_status fm_op_positions_jvp(const fm_op *op, const fm_op_call *call,
                              const fm_op_tangents *tangents)
{
    const fm_image from = fm_op_image(&tangents->call, op->inputs[0]);
    const fm_image to = fm_op_image(&tangents->call, op->output);
    for (size_t k = 0; k < tangents->call.n_rows; k++) {
        for (size_t y = 0; y < to.height; y++) {
            memcpy(fm_image_at(&to, k, y, 0), fm_image_at(&from, k, y, 0),
                   to.width * to.pixel_stride * sizeof(float));
        }
    }
    return fm_op_positions_eval(op, call);
}

fm_status fm_op_positions_vjp(const fm_op *op, const fm_op_call *call,
                              const fm_op_cotangents *cotangents)
{
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    fm_op_add(&from, &to, call->n_rows);
    return FM_OK;
}

void fm_op_positions_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "added to value %zu", op->inputs[0]);
}

void fm_op_positions_free(void *state)
{
    table_free(state);
}

fm_status fm_plan_table(fm_plan *plan, const fm_plan_shape *shape, const float *entries,
                        fm_plan_value *ret, fm_error *err)
{
    table *self = NULL;
    fm_status status =
        table_new(plan, entries, shape->height * shape->width, shape->channels, &self, err);
    return status != FM_OK ? status
                           : fm_plan_add(plan, FM_OP_KIND_table, self, NULL, 0, shape, ret, err);
}

fm_status fm_op_table_eval(const fm_op *op, const fm_op_call *call)
{
    const table *self = op->state;
    const fm_image out = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < self->count; p++) {
            float *to = fm_image_at(&out, i, p / out.width, p % out.width);
            memcpy(to, self->entries + p * self->size, self->size * sizeof *to);
            memset(to + self->size, 0, (out.pixel_stride - self->size) * sizeof *to);
        }
    }
    return FM_OK;
}

void fm_op_table_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const table *self = op->state;
    (void)snprintf(text, size_bytes, "of %zu pixels", self->count);
}

void fm_op_table_free(void *state)
{
    table_free(state);
}
