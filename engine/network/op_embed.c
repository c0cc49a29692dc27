/* What is looked up: `label`, `positions`, `table`, `tokens` and `token_vector` from tables, and `time` as waves. */
#include "engine/math/kernels.h"
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

/* ---- tokens ---- */

/* A row of the table; what clients send is checked long before. */
static const float *token_entry(const table *self, double token)
{
    assert(token >= 0 && token < (double)self->count && floor(token) == token);
    return self->entries + (size_t)token * self->size;
}

fm_status fm_plan_tokens(fm_plan *plan, const fm_plan_tokens_spec *spec, fm_plan_value *ret,
                         fm_error *err)
{
    assert(plan->n_ops == 0 && spec->length >= 1);
    table *self = NULL;
    fm_status status = table_new(plan, spec->table, spec->count, spec->size, &self, err);
    plan->dimension = spec->length;
    plan->vocabulary = spec->count;
    const fm_plan_shape shape = {1, spec->length, spec->size};
    return status != FM_OK ? status
                           : fm_plan_add(plan, FM_OP_KIND_tokens, self, NULL, 0, &shape, ret, err);
}

fm_status fm_op_tokens_eval(const fm_op *op, const fm_op_call *call)
{
    const table *self = op->state;
    const fm_image out = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < out.width; p++) {
            float *pixel = fm_image_at(&out, i, 0, p);
            memcpy(pixel, token_entry(self, call->rows[i].x[p]), self->size * sizeof *pixel);
            memset(pixel + self->size, 0, (out.pixel_stride - self->size) * sizeof *pixel);
        }
    }
    return FM_OK;
}

void fm_op_tokens_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const table *self = op->state;
    (void)snprintf(text, size_bytes, "table of %zu tokens", self->count);
}

void fm_op_tokens_free(void *state)
{
    table_free(state);
}

/* ---- token_vector ---- */

typedef struct token_vector {
    table *table;
    float *time; /* [n_time] weights, then biases */
    size_t length, n_time;
    bool time_first, has_label;
    fm_activation activation;
} token_vector;

static fm_status token_vector_new(fm_plan *plan, const fm_plan_token_vector_spec *spec,
                                  token_vector **ret, fm_error *err)
{
    token_vector *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for tokens");
    }
    *self = (token_vector){.length = spec->tokens.length,
                           .n_time = spec->n_time,
                           .time_first = spec->time_first,
                           .has_label = spec->has_label,
                           .activation = spec->activation};
    self->time = fm_alloc_array(2 * spec->n_time, sizeof *self->time);
    fm_status status = self->time != NULL
                           ? table_new(plan, spec->tokens.table, spec->tokens.count,
                                       spec->tokens.size, &self->table, err)
                           : fm_fail(err, FM_ENOMEM, "no memory for the time of tokens");
    if (status != FM_OK) {
        fm_op_token_vector_free(self);
        return status;
    }
    for (size_t k = 0; k < spec->n_time; k++) {
        self->time[k] = spec->time_weight != NULL ? spec->time_weight[k] : 1.0F;
        self->time[spec->n_time + k] = spec->time_bias != NULL ? spec->time_bias[k] : 0.0F;
    }
    plan->parameter_count += spec->time_weight != NULL ? spec->n_time : 0;
    plan->parameter_count += spec->time_bias != NULL ? spec->n_time : 0;
    *ret = self;
    return FM_OK;
}

fm_status fm_plan_token_vector(fm_plan *plan, const fm_plan_token_vector_spec *spec,
                               fm_plan_value *ret, fm_error *err)
{
    assert(plan->n_ops == 0 && spec->tokens.length >= 1 && spec->n_time >= 1 &&
           (spec->time_weight != NULL || (spec->n_time == 1 && spec->time_bias == NULL)));
    size_t columns = 0;
    if (!fm_multiply(spec->tokens.length, spec->tokens.size, &columns)) {
        return fm_fail(err, FM_ETOOBIG, "the embeddings of %zu tokens overflow",
                       spec->tokens.length);
    }
    token_vector *self = NULL;
    fm_status status = token_vector_new(plan, spec, &self, err);
    if (status != FM_OK) {
        return status;
    }
    plan->dimension = spec->tokens.length;
    plan->vocabulary = spec->tokens.count;
    const fm_plan_shape shape = {1, 1, columns + spec->n_time + (spec->has_label ? 1 : 0)};
    return fm_plan_add(plan, FM_OP_KIND_token_vector, self, NULL, 0, &shape, ret, err);
}

static void token_vector_write(const token_vector *self, const fm_tile_row *row, float *out)
{
    size_t size = self->table->size, tokens = self->length * size;
    size_t others = self->n_time + (self->has_label ? 1 : 0);
    float *time = self->time_first ? out : out + tokens;
    float *entries = self->time_first ? out + others : out;
    for (size_t i = 0; i < self->length; i++) {
        memcpy(entries + i * size, token_entry(self->table, row->x[i]), size * sizeof *entries);
    }
    for (size_t k = 0; k < self->n_time; k++) {
        time[k] = (float)((double)self->time[k] * row->t + (double)self->time[self->n_time + k]);
    }
    if (self->has_label) {
        time[self->n_time] = (float)row->label;
    }
}

fm_status fm_op_token_vector_eval(const fm_op *op, const fm_op_call *call)
{
    const token_vector *self = op->state;
    const fm_image vectors = fm_op_image(call, op->output);
    size_t n = fm_kernels_round(vectors.channels);
    for (size_t i = 0; i < call->n_rows; i++) {
        float *out = fm_image_at(&vectors, i, 0, 0);
        token_vector_write(self, &call->rows[i], out);
        memset(out + vectors.channels, 0, (vectors.pixel_stride - vectors.channels) * sizeof *out);
        if (self->activation != FM_ACTIVATION_NONE) {
            fm_kernels_best()->activate(self->activation, NULL, 1, n, 0, out);
        }
    }
    return FM_OK;
}

void fm_op_token_vector_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const token_vector *self = op->state;
    bool is_activated = self->activation != FM_ACTIVATION_NONE;
    char time[16];
    (void)snprintf(time, sizeof time, "t%s", self->has_label ? ", label" : "");
    (void)snprintf(text, size_bytes, "[%s%s%zu of %zu tokens%s%s]%s%s",
                   self->time_first ? time : "", self->time_first ? ", " : "", self->length,
                   self->table->count, self->time_first ? "" : ", ", self->time_first ? "" : time,
                   is_activated ? ", " : "",
                   is_activated ? fm_activation_name(self->activation) : "");
}

void fm_op_token_vector_free(void *state)
{
    token_vector *self = state;
    table_free(self->table);
    fm_free(self->time);
    fm_free(self);
}
