/* `rotary`: q and k of what an attention is given, turned by the places of their pixels. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BASE         1e4
#define BLOCK_PIXELS ((size_t)64)

typedef struct rotary {
    size_t heads, head_channels, half;
    bool heads_first;
    float *turns; /* [pixels][2][half]: cosines, then sines */
} rotary;

static void turns_fill(const fm_plan_rotary_spec *spec, size_t pixels, float *turns)
{
    size_t half = spec->head_channels / 2;
    for (size_t p = 0; p < pixels; p++, turns += 2 * half) {
        for (size_t i = 0; i < half; i++) {
            /* In float32, as PyTorch keeps them: a thousand places on the difference shows. */
            float frequency = spec->frequencies != NULL
                                  ? spec->frequencies[i]
                                  : (float)pow(BASE, -(double)i / (double)half);
            double angle = (double)p * (double)frequency;
            turns[i] = (float)cos(angle);
            turns[half + i] = (float)sin(angle);
        }
    }
}

static fm_status rotary_new(const fm_plan_rotary_spec *spec, size_t pixels, rotary **ret,
                            fm_error *err)
{
    size_t count = 0;
    rotary *self = fm_alloc(sizeof *self);
    bool fits = self != NULL && fm_multiply(pixels, spec->head_channels, &count);
    if (fits) {
        self->turns = fm_alloc_array(count, sizeof *self->turns);
    }
    if (!fits || self->turns == NULL) {
        fm_free(self);
        return fm_fail(err, FM_ENOMEM, "no memory for the turns of %zu places", pixels);
    }
    self->heads = spec->heads;
    self->head_channels = spec->head_channels;
    self->half = spec->head_channels / 2;
    self->heads_first = spec->heads_first;
    turns_fill(spec, pixels, self->turns);
    *ret = self;
    return FM_OK;
}

fm_status fm_plan_rotary(fm_plan *plan, fm_plan_value in, const fm_plan_rotary_spec *spec,
                         fm_plan_value *ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    assert(spec->head_channels % 2 == 0 && shape.channels == 3 * spec->heads * spec->head_channels);
    rotary *self = NULL;
    fm_status status = rotary_new(spec, shape.height * shape.width, &self, err);
    return status != FM_OK ? status
                           : fm_plan_add(plan, FM_OP_KIND_rotary, self, &in, 1, &shape, ret, err);
}

/* Where the n-th of the q and k of all heads begins. */
static size_t first_channel(const rotary *self, size_t n)
{
    size_t head = n / 2, part = n % 2;
    return (self->heads_first ? 3 * head + part : part * self->heads + head) * self->head_channels;
}

static void turn(const rotary *self, const float *restrict turns, const float *restrict from,
                 float *restrict to)
{
    size_t half = self->half;
    const float *sines = turns + half, *second = from + half;
    float *to_second = to + half;
    for (size_t i = 0; i < half; i++) {
        to[i] = from[i] * turns[i] - second[i] * sines[i];
        to_second[i] = second[i] * turns[i] + from[i] * sines[i];
    }
}

/* The other way round. */
static void turn_back_add(const rotary *self, const float *restrict turns,
                          const float *restrict from, float *restrict to)
{
    size_t half = self->half;
    for (size_t i = 0; i < half; i++) {
        to[i] += from[i] * turns[i] + from[half + i] * turns[half + i];
        to[half + i] += from[half + i] * turns[i] - from[i] * turns[half + i];
    }
}

static void pixel_turn(const rotary *self, size_t place, size_t stride, const float *from,
                       float *to)
{
    const float *turns = self->turns + place * self->head_channels;
    memcpy(to, from, stride * sizeof *to); /* v, and the padding */
    for (size_t n = 0; n < 2 * self->heads; n++) {
        size_t channel = first_channel(self, n);
        turn(self, turns, from + channel, to + channel);
    }
}

typedef struct rotary_run {
    const rotary *self;
    fm_image in, out;
    size_t n_pixels; /* of all rows */
} rotary_run;

static fm_status rotary_piece(void *context, size_t piece, unsigned char *memory)
{
    const rotary_run *it = context;
    (void)memory;
    size_t plane = it->in.height * it->in.width, end = (piece + 1) * BLOCK_PIXELS;
    end = end < it->n_pixels ? end : it->n_pixels;
    for (size_t p = piece * BLOCK_PIXELS; p < end; p++) {
        size_t row = p / plane, place = p % plane;
        size_t y = place / it->in.width, x = place % it->in.width;
        pixel_turn(it->self, place, it->out.pixel_stride, fm_image_at(&it->in, row, y, x),
                   fm_image_at(&it->out, row, y, x));
    }
    return FM_OK;
}

fm_status fm_op_rotary_eval(const fm_op *op, const fm_op_call *call)
{
    rotary_run it = {.self = op->state,
                     .in = fm_op_image(call, op->inputs[0]),
                     .out = fm_op_image(call, op->output)};
    it.n_pixels = call->n_rows * it.in.height * it.in.width;
    return fm_op_pieces(call, (it.n_pixels + BLOCK_PIXELS - 1) / BLOCK_PIXELS, rotary_piece, &it);
}

/* v's part of the cotangent, which nothing turned, is added by turning nothing. */
static void pixel_turn_back(const rotary *self, size_t place, size_t channels, const float *from,
                            float *to)
{
    const float *turns = self->turns + place * self->head_channels;
    for (size_t n = 0; n < 2 * self->heads; n++) {
        size_t channel = first_channel(self, n);
        turn_back_add(self, turns, from + channel, to + channel);
    }
    for (size_t head = 0; head < self->heads; head++) {
        size_t channel = self->heads_first ? (3 * head + 2) * self->head_channels
                                           : channels / 3 * 2 + head * self->head_channels;
        for (size_t c = channel; c < channel + self->head_channels; c++) {
            to[c] += from[c];
        }
    }
}

fm_status fm_op_rotary_vjp(const fm_op *op, const fm_op_call *call,
                           const fm_op_cotangents *cotangents)
{
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    size_t plane = to.height * to.width;
    for (size_t p = 0; p < call->n_rows * plane; p++) {
        size_t row = p / plane, place = p % plane, y = place / to.width, x = place % to.width;
        pixel_turn_back(op->state, place, to.channels, fm_image_at(&from, row, y, x),
                        fm_image_at(&to, row, y, x));
    }
    return FM_OK;
}

void fm_op_rotary_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const rotary *self = op->state;
    (void)snprintf(text, size_bytes, "q and k of %zu heads of %zu channels, %s", self->heads,
                   self->head_channels, self->heads_first ? "heads first" : "q, k, v first");
}

void fm_op_rotary_free(void *state)
{
    rotary *self = state;
    fm_free(self->turns);
    fm_free(self);
}
