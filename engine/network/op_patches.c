/* Images as tokens: `patches` cuts the tile's states into patches, `patches_output` puts them together. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <stdio.h>

/* ---- patches ---- */

fm_status fm_plan_patches(fm_plan *plan, const fm_plan_patches_spec *spec, fm_plan_value *ret,
                          fm_error *err)
{
    assert(plan->n_ops == 0 && spec->height % spec->patch == 0 && spec->width % spec->patch == 0);
    fm_plan_patches_spec *state = fm_alloc(sizeof *state);
    if (state == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an input");
    }
    *state = *spec;
    plan->dimension = spec->channels * spec->height * spec->width;
    const fm_plan_shape shape = {spec->height / spec->patch, spec->width / spec->patch,
                                 spec->channels * spec->patch * spec->patch};
    return fm_plan_add(plan, FM_OP_KIND_patches, state, NULL, 0, &shape, ret, err);
}

/* corner is the patch's first entry in channel 0. */
static void patch_write(const fm_plan_patches_spec *spec, const double *corner, float *out)
{
    for (size_t c = 0; c < spec->channels; c++) {
        for (size_t y = 0; y < spec->patch; y++) {
            for (size_t x = 0; x < spec->patch; x++) {
                *out++ = (float)corner[(c * spec->height + y) * spec->width + x];
            }
        }
    }
}

fm_status fm_op_patches_eval(const fm_op *op, const fm_op_call *call)
{
    const fm_plan_patches_spec *spec = op->state;
    const fm_image out = fm_op_image(call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < out.height * out.width; p++) {
            size_t y = p / out.width, x = p % out.width;
            float *token = fm_image_at(&out, i, y, x);
            patch_write(spec, call->rows[i].x + (y * spec->width + x) * spec->patch, token);
            for (size_t c = out.channels; c < out.pixel_stride; c++) {
                token[c] = 0.0F;
            }
        }
    }
    return FM_OK;
}

static void patch_gradient(const fm_plan_patches_spec *spec, const float *token, double *corner)
{
    for (size_t c = 0; c < spec->channels; c++) {
        for (size_t y = 0; y < spec->patch; y++) {
            for (size_t x = 0; x < spec->patch; x++) {
                corner[(c * spec->height + y) * spec->width + x] = (double)*token++;
            }
        }
    }
}

fm_status fm_op_patches_vjp(const fm_op *op, const fm_op_call *call,
                            const fm_op_cotangents *cotangents)
{
    const fm_plan_patches_spec *spec = op->state;
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < from.height * from.width; p++) {
            size_t y = p / from.width, x = p % from.width;
            patch_gradient(spec, fm_image_at(&from, i, y, x),
                           call->rows[i].gradient + (y * spec->width + x) * spec->patch);
        }
    }
    return FM_OK;
}

void fm_op_patches_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const fm_plan_patches_spec *spec = op->state;
    (void)snprintf(text, size_bytes, "x [%zu][%zu][%zu] in patches of %zu x %zu", spec->channels,
                   spec->height, spec->width, spec->patch, spec->patch);
}

void fm_op_patches_free(void *state)
{
    fm_free(state);
}

/* ---- patches_output ---- */

fm_status fm_plan_patches_output(fm_plan *plan, fm_plan_value in,
                                 const fm_plan_patches_output_spec *spec, fm_error *err)
{
    const fm_value *value = &plan->values[in];
    size_t pixels = spec->patch * spec->patch;
    assert(value->columns == pixels * spec->patch_channels &&
           spec->channels <= spec->patch_channels);
    fm_plan_patches_output_spec *state = fm_alloc(sizeof *state);
    if (state == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an output");
    }
    *state = *spec;
    plan->out_dimension = spec->channels * value->height * value->width * pixels;
    return fm_plan_add(plan, FM_OP_KIND_patches_output, state, &in, 1, NULL, NULL, err);
}

/* corner is the patch's first entry in channel 0; plane and width are the output's. */
static void patch_read(const fm_plan_patches_output_spec *spec, const float *token, size_t plane,
                       size_t width, double *corner)
{
    for (size_t y = 0; y < spec->patch; y++) {
        for (size_t x = 0; x < spec->patch; x++, token += spec->patch_channels) {
            for (size_t c = 0; c < spec->channels; c++) {
                corner[c * plane + y * width + x] = (double)token[c];
            }
        }
    }
}

fm_status fm_op_patches_output_eval(const fm_op *op, const fm_op_call *call)
{
    const fm_plan_patches_output_spec *spec = op->state;
    const fm_image in = fm_op_image(call, op->inputs[0]);
    size_t width = in.width * spec->patch, plane = in.height * spec->patch * width;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < in.height * in.width; p++) {
            size_t y = p / in.width, x = p % in.width;
            patch_read(spec, fm_image_at(&in, i, y, x), plane, width,
                       call->rows[i].out + (y * width + x) * spec->patch);
        }
    }
    return FM_OK;
}

static void patch_cotangent(const fm_plan_patches_output_spec *spec, const double *corner,
                            size_t plane, size_t width, float *token)
{
    for (size_t y = 0; y < spec->patch; y++) {
        for (size_t x = 0; x < spec->patch; x++, token += spec->patch_channels) {
            for (size_t c = 0; c < spec->channels; c++) {
                token[c] += (float)corner[c * plane + y * width + x];
            }
        }
    }
}

fm_status fm_op_patches_output_vjp(const fm_op *op, const fm_op_call *call,
                                   const fm_op_cotangents *cotangents)
{
    const fm_plan_patches_output_spec *spec = op->state;
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    size_t width = to.width * spec->patch, plane = to.height * spec->patch * width;
    for (size_t i = 0; i < call->n_rows; i++) {
        for (size_t p = 0; p < to.height * to.width; p++) {
            size_t y = p / to.width, x = p % to.width;
            patch_cotangent(spec, call->rows[i].cotangent + (y * width + x) * spec->patch, plane,
                            width, fm_image_at(&to, i, y, x));
        }
    }
    return FM_OK;
}

void fm_op_patches_output_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const fm_plan_patches_output_spec *spec = op->state;
    (void)snprintf(text, size_bytes, "of value %zu, patches of %zu x %zu x %zu channels, %zu kept",
                   op->inputs[0], spec->patch, spec->patch, spec->patch_channels, spec->channels);
}

void fm_op_patches_output_free(void *state)
{
    fm_free(state);
}
