/* Where a plan meets a tile of images: `image` gathers float64 [channels][height][width] into channels
 * last, `image_output` scatters back. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- image ---- */

typedef struct image_input {
    fm_plan_image_spec spec;
    double frequencies[];
} image_input;

static size_t entered_channels(const fm_plan_image_spec *spec)
{
    return spec->channels * (1 + 2 * spec->n_frequencies);
}

fm_status fm_plan_image(fm_plan *plan, const fm_plan_image_spec *spec, fm_plan_value *ret,
                        fm_error *err)
{
    assert(plan->n_ops == 0);
    image_input *self = fm_alloc(sizeof *self + spec->n_frequencies * sizeof(double));
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an input");
    }
    self->spec = *spec;
    if (spec->n_frequencies > 0) {
        memcpy(self->frequencies, spec->frequencies, spec->n_frequencies * sizeof(double));
    }
    plan->dimension = spec->channels * spec->height * spec->width;
    const fm_plan_shape shape = {spec->height, spec->width, entered_channels(spec)};
    return fm_plan_add(plan, FM_OP_KIND_image, self, NULL, 0, &shape, ret, err);
}

/* All channels of one pixel. */
static void pixel_write(const image_input *self, const double *x, size_t plane, float *out)
{
    const fm_plan_image_spec *spec = &self->spec;
    float *sines = out + spec->channels, *cosines = sines + spec->channels * spec->n_frequencies;
    for (size_t c = 0; c < spec->channels; c++) {
        double value = x[c * plane];
        out[c] = (float)value;
        for (size_t k = 0; k < spec->n_frequencies; k++) {
            *sines++ = (float)sin(self->frequencies[k] * value);
            *cosines++ = (float)cos(self->frequencies[k] * value);
        }
    }
}

fm_status fm_op_image_eval(const fm_op *op, const fm_op_call *call)
{
    const image_input *self = op->state;
    const fm_image out = fm_op_image(call, op->output);
    size_t plane = out.height * out.width;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < plane; p++) {
            float *pixel = fm_image_at(&out, i, p / out.width, p % out.width);
            pixel_write(self, call->rows[i].x + p, plane, pixel);
            for (size_t c = out.channels; c < out.pixel_stride; c++) {
                pixel[c] = 0.0F;
            }
        }
    }
    return FM_OK;
}

/* Of one pixel: sines and cosines tell each other's derivative. */
static void pixel_tangent(const image_input *self, const float *waves, const double *dx,
                          size_t plane, float *tangent)
{
    const fm_plan_image_spec *spec = &self->spec;
    size_t n = spec->n_frequencies;
    for (size_t c = 0; c < spec->channels; c++) {
        size_t sine = spec->channels + c * n, cosine = sine + spec->channels * n;
        double dx_c = dx[c * plane];
        tangent[c] = (float)dx_c;
        for (size_t k = 0; k < n; k++, sine++, cosine++) {
            double rate = self->frequencies[k] * dx_c;
            tangent[sine] = (float)(rate * (double)waves[cosine]);
            tangent[cosine] = (float)(-rate * (double)waves[sine]);
        }
    }
}

static void image_tangents(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents,
                           size_t row)
{
    const fm_image out = fm_op_image(call, op->output);
    const fm_image to = fm_op_image(&tangents->call, op->output);
    for (size_t k = tangents->first[row]; k < tangents->first[row + 1]; k++) {
        for (size_t p = 0; p < out.height * out.width; p++) {
            size_t y = p / out.width, x = p % out.width;
            float *pixel = fm_image_at(&to, k, y, x);
            pixel_tangent(op->state, fm_image_at(&out, row, y, x), tangents->call.rows[k].x + p,
                          out.height * out.width, pixel);
            memset(pixel + out.channels, 0, (out.pixel_stride - out.channels) * sizeof *pixel);
        }
    }
}

fm_status fm_op_image_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    fm_status status = fm_op_image_eval(op, call);
    for (size_t i = 0; i < call->n_rows && status == FM_OK; i++) {
        image_tangents(op, call, tangents, i);
    }
    return status;
}

static double pixel_gradient(const image_input *self, const float *waves, const float *cotangent,
                             size_t channel)
{
    size_t n = self->spec.n_frequencies;
    size_t sine = self->spec.channels + channel * n, cosine = sine + self->spec.channels * n;
    double sum = (double)cotangent[channel];
    for (size_t k = 0; k < n; k++, sine++, cosine++) {
        sum += self->frequencies[k] * ((double)cotangent[sine] * (double)waves[cosine] -
                                       (double)cotangent[cosine] * (double)waves[sine]);
    }
    return sum;
}

fm_status fm_op_image_vjp(const fm_op *op, const fm_op_call *call,
                          const fm_op_cotangents *cotangents)
{
    const image_input *self = op->state;
    const fm_image out = fm_op_image(call, op->output);
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    size_t plane = out.height * out.width;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < plane; p++) {
            size_t y = p / out.width, x = p % out.width;
            for (size_t c = 0; c < self->spec.channels; c++) {
                call->rows[i].gradient[c * plane + p] = pixel_gradient(
                    self, fm_image_at(&out, i, y, x), fm_image_at(&from, i, y, x), c);
            }
        }
    }
    return FM_OK;
}

void fm_op_image_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const fm_plan_image_spec *spec = &((const image_input *)op->state)->spec;
    int length =
        snprintf(text, size_bytes, "x [%zu][%zu][%zu]", spec->channels, spec->height, spec->width);
    if (spec->n_frequencies > 0 && length > 0 && (size_t)length < size_bytes) {
        (void)snprintf(text + length, size_bytes - (size_t)length, " and %zu waves of each",
                       2 * spec->n_frequencies);
    }
}

void fm_op_image_free(void *state)
{
    fm_free(state);
}

/* ---- image_output ---- */

fm_status fm_plan_image_output(fm_plan *plan, fm_plan_value in, size_t channels, fm_error *err)
{
    const fm_value *value = &plan->values[in];
    assert(channels <= value->columns);
    plan->out_dimension = channels * value->height * value->width;
    return fm_plan_add(plan, FM_OP_KIND_image_output, NULL, &in, 1, NULL, NULL, err);
}

fm_status fm_op_image_output_eval(const fm_op *op, const fm_op_call *call)
{
    const fm_image in = fm_op_image(call, op->inputs[0]);
    size_t plane = in.height * in.width, channels = call->plan->out_dimension / plane;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < plane; p++) {
            const float *pixel = fm_image_at(&in, i, p / in.width, p % in.width);
            for (size_t c = 0; c < channels; c++) {
                call->rows[i].out[c * plane + p] = (double)pixel[c];
            }
        }
    }
    return FM_OK;
}

fm_status fm_op_image_output_vjp(const fm_op *op, const fm_op_call *call,
                                 const fm_op_cotangents *cotangents)
{
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    size_t plane = to.height * to.width, channels = call->plan->out_dimension / plane;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < plane; p++) {
            float *pixel = fm_image_at(&to, i, p / to.width, p % to.width);
            for (size_t c = 0; c < channels; c++) {
                pixel[c] += (float)call->rows[i].cotangent[c * plane + p];
            }
        }
    }
    return FM_OK;
}

void fm_op_image_output_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "of value %zu, channels first", op->inputs[0]);
}

void fm_op_image_output_free(void *state)
{
    assert(state == NULL);
    (void)state;
}
