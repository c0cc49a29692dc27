/* Where a plan meets its tile: `input` gathers float64 rows into float32, `output` scatters back. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- input ---- */

size_t fm_plan_input_columns(const fm_plan_input_spec *spec)
{
    size_t entries = spec->dimension + 1 + (spec->has_label ? 1 : 0);
    return spec->fourier_count == 0 ? entries : entries * 2 * spec->fourier_count;
}

fm_status fm_plan_input(fm_plan *plan, const fm_plan_input_spec *spec, fm_plan_value *ret,
                        fm_error *err)
{
    assert(plan->n_ops == 0 && spec->dimension >= 1);
    fm_plan_input_spec *state = fm_alloc(sizeof *state);
    if (state == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an input");
    }
    *state = *spec;
    plan->dimension = spec->dimension;
    const fm_plan_shape shape = {1, 1, fm_plan_input_columns(spec)};
    return fm_plan_add(plan, FM_OP_KIND_input, state, NULL, 0, &shape, ret, err);
}

static void write_plain(const fm_plan_input_spec *spec, const fm_tile_row *row, float *z)
{
    float *t = spec->time_first ? z : z + spec->dimension;
    float *x = spec->time_first ? z + 1 + (spec->has_label ? 1 : 0) : z;
    for (size_t i = 0; i < spec->dimension; i++) {
        x[i] = (float)row->x[i];
    }
    t[0] = (float)row->t;
    if (spec->has_label) {
        t[1] = (float)row->label;
    }
}

/* sin(k z) for k = 1 … n, then the cosines. */
static void write_waves(size_t n, size_t n_entries, size_t index, double z, float *features)
{
    for (size_t k = 0; k < n; k++) {
        double angle = (double)(k + 1) * z;
        features[k * n_entries + index] = (float)sin(angle);
        features[(n + k) * n_entries + index] = (float)cos(angle);
    }
}

static void write_fourier(const fm_plan_input_spec *spec, const fm_tile_row *row, float *features)
{
    size_t n = spec->fourier_count;
    size_t n_entries = fm_plan_input_columns(spec) / (2 * n);
    size_t t = spec->time_first ? 0 : spec->dimension;
    size_t x = spec->time_first ? n_entries - spec->dimension : 0;
    for (size_t i = 0; i < spec->dimension; i++) {
        write_waves(n, n_entries, x + i, row->x[i], features);
    }
    write_waves(n, n_entries, t, row->t, features);
    if (spec->has_label) {
        write_waves(n, n_entries, t + 1, row->label, features);
    }
}

fm_status fm_op_input_eval(const fm_op *op, const fm_op_call *call)
{
    const fm_plan_input_spec *spec = op->state;
    const fm_value *value = &call->plan->values[op->output];
    float *z = fm_op_value(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++, z += value->stride) {
        if (spec->fourier_count == 0) {
            write_plain(spec, &call->rows[i], z);
        } else {
            write_fourier(spec, &call->rows[i], z);
        }
        for (size_t j = value->columns; j < value->stride; j++) {
            z[j] = 0.0F;
        }
    }
    return FM_OK;
}

/* d sin(k z) = k cos(k z) dz, d cos(k z) = -k sin(k z) dz: the other half of the features, which z has already. */
static void waves_tangent(const fm_plan_input_spec *spec, const float *features, const double *dx,
                          float *tangent)
{
    size_t n = spec->fourier_count, n_entries = fm_plan_input_columns(spec) / (2 * n);
    size_t x = spec->time_first ? n_entries - spec->dimension : 0;
    memset(tangent, 0, 2 * n * n_entries * sizeof *tangent);
    for (size_t k = 0; k < n; k++) {
        const float *sines = features + k * n_entries + x, *cosines = sines + n * n_entries;
        float *d_sines = tangent + k * n_entries + x, *d_cosines = d_sines + n * n_entries;
        for (size_t i = 0; i < spec->dimension; i++) {
            double rate = (double)(k + 1) * dx[i];
            d_sines[i] = (float)(rate * (double)cosines[i]);
            d_cosines[i] = (float)(-rate * (double)sines[i]);
        }
    }
}

/* A tangent's tile row has the time and the label 0. */
fm_status fm_op_input_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    const fm_plan_input_spec *spec = op->state;
    fm_status status = fm_op_input_eval(op, call);
    if (status != FM_OK || spec->fourier_count == 0) {
        return status == FM_OK ? fm_op_input_eval(op, &tangents->call) : status;
    }
    const fm_value *value = &call->plan->values[op->output];
    const float *features = fm_op_value(call, op->output);
    float *to = fm_op_value(&tangents->call, op->output);
    for (size_t i = 0; i < call->n_rows; i++, features += value->stride) {
        for (size_t k = tangents->first[i]; k < tangents->first[i + 1]; k++) {
            float *tangent = to + k * value->stride;
            waves_tangent(spec, features, tangents->call.rows[k].x, tangent);
            for (size_t j = value->columns; j < value->stride; j++) {
                tangent[j] = 0.0F;
            }
        }
    }
    return FM_OK;
}

/* gradient += the product. */
static void waves_gradient_add(const fm_plan_input_spec *spec, const float *features,
                               const float *cotangent, double *gradient)
{
    size_t n = spec->fourier_count, n_entries = fm_plan_input_columns(spec) / (2 * n);
    size_t x = spec->time_first ? n_entries - spec->dimension : 0;
    for (size_t i = 0; i < spec->dimension; i++) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) {
            size_t sine = k * n_entries + x + i, cosine = sine + n * n_entries;
            sum += (double)(k + 1) * ((double)cotangent[sine] * (double)features[cosine] -
                                      (double)cotangent[cosine] * (double)features[sine]);
        }
        gradient[i] += sum;
    }
}

static void waves_gradient(const fm_plan_input_spec *spec, const float *features,
                           const float *cotangent, double *gradient)
{
    memset(gradient, 0, spec->dimension * sizeof *gradient);
    waves_gradient_add(spec, features, cotangent, gradient);
}

fm_status fm_op_input_vjp(const fm_op *op, const fm_op_call *call,
                          const fm_op_cotangents *cotangents)
{
    const fm_plan_input_spec *spec = op->state;
    const fm_value *value = &call->plan->values[op->output];
    const float *features = fm_op_value(call, op->output);
    const float *cotangent = fm_op_value(&cotangents->call, op->output);
    size_t x = spec->time_first ? 1 + (spec->has_label ? 1 : 0) : 0;
    for (size_t i = 0; i < call->n_rows; i++) {
        double *gradient = call->rows[i].gradient;
        if (spec->fourier_count > 0) {
            waves_gradient(spec, features, cotangent, gradient);
        }
        for (size_t j = 0; j < spec->dimension && spec->fourier_count == 0; j++) {
            gradient[j] = (double)cotangent[x + j];
        }
        features += value->stride;
        cotangent += value->stride;
    }
    return FM_OK;
}

/* The gradient is linear in the cotangent, and of waves in the features too, whose tangents were kept. */
fm_status fm_op_input_hvp(const fm_op *op, const fm_op_call *call, const fm_op_second *second)
{
    const fm_plan_input_spec *spec = op->state;
    const fm_op_cotangents own = {.call = second->call, .op = second->op};
    if (spec->fourier_count == 0) {
        return fm_op_input_vjp(op, &second->call, &own);
    }
    size_t stride = call->plan->values[op->output].stride;
    const float *features = fm_op_value(call, op->output);
    const float *cotangent = fm_op_value(&second->cotangents->call, op->output);
    const fm_op_tangents *tangents = second->tangents;
    for (size_t i = 0; i < call->n_rows; i++, features += stride, cotangent += stride) {
        for (size_t k = tangents->first[i]; k < tangents->first[i + 1]; k++) {
            const float *d_features = fm_op_value(&tangents->call, op->output) + k * stride;
            const float *d_cotangent = fm_op_value(&second->call, op->output) + k * stride;
            double *product = second->call.rows[k].gradient;
            waves_gradient(spec, features, d_cotangent, product);
            waves_gradient_add(spec, d_features, cotangent, product);
        }
    }
    return FM_OK;
}

void fm_op_input_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const fm_plan_input_spec *spec = op->state;
    const char *label = spec->has_label ? ", label" : "";
    int length = spec->time_first
                     ? snprintf(text, size_bytes, "[t%s, x %zu]", label, spec->dimension)
                     : snprintf(text, size_bytes, "[x %zu, t%s]", spec->dimension, label);
    if (spec->fourier_count > 0 && length > 0 && (size_t)length < size_bytes) {
        (void)snprintf(text + length, size_bytes - (size_t)length, " as %zu waves",
                       spec->fourier_count);
    }
}

void fm_op_input_free(void *state)
{
    fm_free(state);
}

/* ---- output ---- */

#define OUTPUT_BLOCK_PIXELS ((size_t)64)

fm_status fm_plan_output(fm_plan *plan, fm_plan_value in, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    plan->out_dimension = shape.height * shape.width * shape.channels;
    return fm_plan_add(plan, FM_OP_KIND_output, NULL, &in, 1, NULL, NULL, err);
}

/* Pixel p of all rows', its floats in the value, and its row. */
static float *output_pixel(const fm_image *image, size_t p, size_t *ret_row, size_t *ret_first)
{
    size_t plane = image->height * image->width, at = p % plane;
    *ret_row = p / plane;
    *ret_first = at * image->channels;
    return fm_image_at(image, *ret_row, at / image->width, at % image->width);
}

typedef struct output_run {
    fm_image in;
    const fm_tile_row *rows;
    size_t n_pixels; /* of all rows */
} output_run;

static fm_status output_piece(void *context, size_t piece, unsigned char *memory)
{
    const output_run *it = context;
    (void)memory;
    size_t end = (piece + 1) * OUTPUT_BLOCK_PIXELS;
    end = end < it->n_pixels ? end : it->n_pixels;
    for (size_t p = piece * OUTPUT_BLOCK_PIXELS; p < end; p++) {
        size_t row = 0, first = 0;
        const float *pixel = output_pixel(&it->in, p, &row, &first);
        double *out = it->rows[row].out + first;
        for (size_t c = 0; c < it->in.channels; c++) {
            out[c] = (double)pixel[c];
        }
    }
    return FM_OK;
}

fm_status fm_op_output_eval(const fm_op *op, const fm_op_call *call)
{
    output_run it = {.in = fm_op_image(call, op->inputs[0]), .rows = call->rows};
    it.n_pixels = call->n_rows * it.in.height * it.in.width;
    size_t n_pieces = (it.n_pixels + OUTPUT_BLOCK_PIXELS - 1) / OUTPUT_BLOCK_PIXELS;
    return fm_op_pieces(call, n_pieces, output_piece, &it);
}

fm_status fm_op_output_vjp(const fm_op *op, const fm_op_call *call,
                           const fm_op_cotangents *cotangents)
{
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    for (size_t p = 0; p < call->n_rows * to.height * to.width; p++) {
        size_t row = 0, first = 0;
        float *gradient = output_pixel(&to, p, &row, &first);
        for (size_t c = 0; c < to.channels; c++) {
            gradient[c] += (float)call->rows[row].cotangent[first + c];
        }
    }
    return FM_OK;
}

/* A cotangent that a call is given does not depend on the state: its tangents are 0. */
fm_status fm_op_output_hvp(const fm_op *op, const fm_op_call *call, const fm_op_second *second)
{
    (void)op;
    (void)call;
    (void)second;
    return FM_OK;
}

void fm_op_output_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "of value %zu", op->inputs[0]);
}

void fm_op_output_free(void *state)
{
    assert(state == NULL);
    (void)state;
}
