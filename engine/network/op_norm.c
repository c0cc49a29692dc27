/* `group_norm` and `layer_norm`, with modulation and activation in the same pass. */
#include "engine/math/kernels.h"
#include "engine/math/norm_derivative.h"
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct norm {
    size_t channels, stride, groups; /* groups: 0 for a layer norm */
    bool rms, modulated;
    double epsilon;
    size_t scale_column, shift_column;
    fm_activation activation;
    float *weight, *bias; /* [stride], 0 beyond the channels */
} norm;

static void norm_free(norm *self)
{
    if (self != NULL) {
        fm_free(self->weight);
        fm_free(self->bias);
        fm_free(self);
    }
}

/* weight and bias of 1 and 0 where they are not given. */
static fm_status norm_new(size_t channels, const float *weight, const float *bias,
                          const fm_plan_modulation *modulation, norm **ret, fm_error *err)
{
    size_t stride = fm_kernels_round(channels);
    norm *self = fm_alloc(sizeof *self);
    if (self != NULL) {
        self->weight = fm_alloc_array(stride, sizeof *self->weight);
        self->bias = fm_alloc_array(stride, sizeof *self->bias);
    }
    if (self == NULL || self->weight == NULL || self->bias == NULL) {
        norm_free(self);
        return fm_fail(err, FM_ENOMEM, "no memory for a normalisation of %zu channels", channels);
    }
    self->channels = channels;
    self->stride = stride;
    for (size_t c = 0; c < channels; c++) {
        self->weight[c] = weight != NULL ? weight[c] : 1.0F;
        self->bias[c] = bias != NULL ? bias[c] : 0.0F;
    }
    if (modulation != NULL) {
        self->modulated = true;
        self->scale_column = modulation->scale_column;
        self->shift_column = modulation->shift_column;
    }
    *ret = self;
    return FM_OK;
}

/* The layer as its derivatives see it; factor and term are filled for each row. */
static fm_norm_layer layer_of(const norm *self, const float *affine)
{
    return (fm_norm_layer){.channels = self->channels,
                           .groups = self->groups,
                           .rms = self->rms,
                           .epsilon = self->epsilon,
                           .factor = affine,
                           .term = affine + self->stride,
                           .activation = self->activation};
}

static size_t affine_bytes(const norm *self)
{
    return fm_arena_round(2 * self->stride * sizeof(float));
}

/* Scratch of jvp and vjp, which go row by row. */
static size_t derivative_bytes(const norm *self)
{
    const fm_norm_layer layer = layer_of(self, self->weight);
    return affine_bytes(self) + fm_norm_derivative_bytes(&layer);
}

static fm_status norm_add(fm_plan *plan, fm_op_kind kind, norm *self, fm_plan_value in,
                          const fm_plan_modulation *modulation, size_t floats_per_row,
                          fm_plan_value *ret, fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, in);
    const fm_plan_value inputs[] = {in, modulation != NULL ? modulation->value : 0};
    assert(modulation == NULL || !fm_plan_varies(plan, modulation->value)); /* jvp relies on it */
    const size_t own_bytes = derivative_bytes(self);
    fm_status status =
        fm_plan_add(plan, kind, self, inputs, modulation != NULL ? 2 : 1, &shape, ret, err);
    if (status == FM_OK) {
        fm_op *op = fm_plan_last_op(plan);
        op->scratch_bytes = plan->max_rows * floats_per_row * sizeof(float);
        op->jvp_scratch_bytes = own_bytes;
        op->vjp_scratch_bytes = own_bytes;
    }
    return status;
}

/* One channel's factor and term, modulated: y (1 + scale) + shift. */
static void modulate(const norm *self, const float *modulation, size_t c, float *factor,
                     float *term)
{
    if (modulation != NULL) {
        float scale = 1.0F + modulation[self->scale_column + c];
        *factor *= scale;
        *term = *term * scale + modulation[self->shift_column + c];
    }
}

/* The row's modulating vector, or NULL. */
static const float *modulation_of(const fm_op *op, const fm_op_call *call, size_t row)
{
    const norm *self = op->state;
    if (!self->modulated) {
        return NULL;
    }
    const fm_image vectors = fm_op_image(call, op->inputs[1]);
    return fm_image_at(&vectors, row, 0, 0);
}

static void norm_describe(const norm *self, char *text, size_t size_bytes)
{
    char groups[32] = "";
    if (self->groups > 0) {
        (void)snprintf(groups, sizeof groups, "%zu groups, ", self->groups);
    }
    (void)snprintf(
        text, size_bytes, "%s%sepsilon %g%s%s%s", groups, self->rms ? "rms, " : "", self->epsilon,
        self->modulated ? ", modulated" : "", self->activation != FM_ACTIVATION_NONE ? ", " : "",
        self->activation != FM_ACTIVATION_NONE ? fm_activation_name(self->activation) : "");
}

/* factors [stride], then terms: weight and bias, modulated. */
static void affine_fill(const norm *self, const float *modulation, float *factors)
{
    float *terms = factors + self->stride;
    memcpy(factors, self->weight, self->stride * sizeof *factors);
    memcpy(terms, self->bias, self->stride * sizeof *terms);
    for (size_t c = 0; c < self->channels; c++) {
        modulate(self, modulation, c, &factors[c], &terms[c]);
    }
}

/* ---- derivatives of both ---- */

fm_status fm_op_norm_jvp(const fm_op *op, const fm_op_call *call, const fm_op_tangents *tangents)
{
    const norm *self = op->state;
    float *affine = fm_op_jvp_scratch(tangents);
    unsigned char *scratch = (unsigned char *)affine + affine_bytes(self);
    const fm_norm_layer layer = layer_of(self, affine);
    for (size_t i = 0; i < call->n_rows; i++) {
        const fm_norm_tangent job = {.layer = &layer,
                                     .in = fm_op_image(call, op->inputs[0]),
                                     .in_index = i,
                                     .tangent = fm_op_image(&tangents->call, op->inputs[0]),
                                     .out = fm_op_image(&tangents->call, op->output),
                                     .first = tangents->first[i],
                                     .n = tangents->first[i + 1] - tangents->first[i]};
        affine_fill(self, modulation_of(op, call, i), affine);
        fm_norm_jvp(&job, scratch);
    }
    return op->type->eval(op, call);
}

fm_status fm_op_norm_vjp(const fm_op *op, const fm_op_call *call,
                         const fm_op_cotangents *cotangents)
{
    const norm *self = op->state;
    float *affine = fm_op_vjp_scratch(cotangents);
    unsigned char *scratch = (unsigned char *)affine + affine_bytes(self);
    const fm_norm_layer layer = layer_of(self, affine);
    for (size_t i = 0; i < call->n_rows; i++) {
        const fm_norm_cotangent job = {
            .layer = &layer,
            .in = fm_op_image(call, op->inputs[0]),
            .in_index = i,
            .out = fm_op_image(&cotangents->call, op->output),
            .gradient = fm_op_image(&cotangents->call, op->inputs[0]),
            .out_index = i,
        };
        affine_fill(self, modulation_of(op, call, i), affine);
        fm_norm_vjp(&job, scratch);
    }
    return FM_OK;
}

/* ---- group_norm ---- */

/* What a row needs: sums in float64, and in float32 means, factors and terms of its channels. */
#define GROUP_FLOATS(stride) ((stride) * 5)

fm_status fm_plan_group_norm(fm_plan *plan, fm_plan_value in, const fm_plan_group_norm_spec *spec,
                             fm_plan_value *ret, fm_error *err)
{
    size_t channels = fm_plan_shape_of(plan, in).channels;
    assert(channels % spec->groups == 0);
    norm *self = NULL;
    fm_status status = norm_new(channels, spec->weight, spec->bias, spec->modulation, &self, err);
    if (status != FM_OK) {
        return status;
    }
    self->groups = spec->groups;
    self->epsilon = spec->epsilon;
    self->activation = spec->activation;
    plan->parameter_count += 2 * channels;
    plan->weight_bytes += 2 * self->stride * sizeof(float);
    return norm_add(plan, FM_OP_KIND_group_norm, self, in, spec->modulation,
                    GROUP_FLOATS(self->stride), ret, err);
}

/* A row's channels are cut at multiples of a unit: whole groups and whole vectors. */
static size_t unit_channels(const norm *self)
{
    size_t group = self->channels / self->groups, unit = group;
    while (unit % FM_KERNEL_COLUMNS != 0) {
        unit += group;
    }
    return unit;
}

typedef struct group_run {
    const fm_op *op;
    const fm_op_call *call;
    size_t unit, units, parts;
} group_run;

/* Channels [first, end) of one row, with the row's scratch. */
typedef struct group_part {
    size_t row, first, end;
    double *sums;
    float *means, *factors, *terms;
} group_part;

static group_part part_of(const group_run *it, size_t piece)
{
    const norm *self = it->op->state;
    size_t row = piece / it->parts, part = piece % it->parts, stride = self->stride;
    size_t end = it->units * (part + 1) / it->parts * it->unit;
    float *scratch =
        (float *)(void *)(it->call->memory + it->op->scratch_offset) + row * GROUP_FLOATS(stride);
    return (group_part){.row = row,
                        .first = it->units * part / it->parts * it->unit,
                        .end = end < stride ? end : stride,
                        .sums = (double *)(void *)scratch,
                        .means = scratch + 2 * stride,
                        .factors = scratch + 3 * stride,
                        .terms = scratch + 4 * stride};
}

/* The mean of each group's sums over n pixels. */
static double group_mean(const double *sums, size_t group_channels, size_t n)
{
    double sum = 0;
    for (size_t c = 0; c < group_channels; c++) {
        sum += sums[c];
    }
    return sum / (double)(group_channels * n);
}

static void part_measure(const norm *self, const fm_image *in, const group_part *part,
                         const float *modulation)
{
    const fm_kernels *kernels = fm_kernels_best();
    size_t group = self->channels / self->groups, n = in->height * in->width;
    kernels->channel_sums(in, part->row, part->first, part->end, NULL, part->sums);
    for (size_t c = part->first; c < part->end; c++) {
        part->means[c] = c < self->channels && c % group != 0 ? part->means[c - 1]
                         : c < self->channels ? (float)group_mean(part->sums + c, group, n)
                                              : 0.0F;
    }
    kernels->channel_sums(in, part->row, part->first, part->end, part->means, part->sums);
    double deviation = 1;
    for (size_t c = part->first; c < part->end; c++) {
        if (c < self->channels && c % group == 0) {
            deviation = 1.0 / sqrt(group_mean(part->sums + c, group, n) + self->epsilon);
        }
        float factor = self->weight[c] * (float)deviation;
        float term = self->bias[c] - part->means[c] * factor;
        if (c < self->channels) {
            modulate(self, modulation, c, &factor, &term);
        }
        part->factors[c] = factor;
        part->terms[c] = term;
    }
}

static fm_status group_piece(void *context, size_t piece, unsigned char *memory)
{
    const group_run *it = context;
    const norm *self = it->op->state;
    (void)memory;
    const fm_image in = fm_op_image(it->call, it->op->inputs[0]);
    const fm_image out = fm_op_image(it->call, it->op->output);
    const group_part part = part_of(it, piece);
    part_measure(self, &in, &part, modulation_of(it->op, it->call, part.row));
    const fm_channel_map map = {.in = fm_image_at(&in, part.row, 0, 0),
                                .out = fm_image_at(&out, part.row, 0, 0),
                                .height = in.height,
                                .width = in.width,
                                .first = part.first,
                                .end = part.end,
                                .in_line_stride = in.line_stride,
                                .in_pixel_stride = in.pixel_stride,
                                .out_line_stride = out.line_stride,
                                .out_pixel_stride = out.pixel_stride,
                                .scale = part.factors,
                                .shift = part.terms,
                                .activation = self->activation};
    fm_kernels_best()->channel_map(&map);
    return FM_OK;
}

fm_status fm_op_group_norm_eval(const fm_op *op, const fm_op_call *call)
{
    const norm *self = op->state;
    size_t members = fm_team_members(call->team);
    group_run it = {.op = op, .call = call, .unit = unit_channels(self)};
    it.units = (self->stride + it.unit - 1) / it.unit;
    size_t wanted = members == 1 ? 1 : (2 * members + call->n_rows - 1) / call->n_rows;
    it.parts = wanted < it.units ? wanted : it.units;
    return fm_op_pieces(call, call->n_rows * it.parts, group_piece, &it);
}

void fm_op_group_norm_describe(const fm_op *op, char *text, size_t size_bytes)
{
    norm_describe(op->state, text, size_bytes);
}

void fm_op_group_norm_free(void *state)
{
    norm_free(state);
}

/* ---- layer_norm ---- */

#define LAYER_BLOCK_PIXELS ((size_t)64)

fm_status fm_plan_layer_norm(fm_plan *plan, fm_plan_value in, const fm_plan_layer_norm_spec *spec,
                             fm_plan_value *ret, fm_error *err)
{
    size_t channels = fm_plan_shape_of(plan, in).channels;
    norm *self = NULL;
    fm_status status = norm_new(channels, spec->weight, spec->bias, spec->modulation, &self, err);
    if (status != FM_OK) {
        return status;
    }
    self->rms = spec->rms;
    self->epsilon = spec->epsilon;
    plan->parameter_count +=
        (spec->weight != NULL ? channels : 0) + (spec->bias != NULL ? channels : 0);
    plan->weight_bytes += 2 * self->stride * sizeof(float);
    return norm_add(plan, FM_OP_KIND_layer_norm, self, in, spec->modulation, 2 * self->stride, ret,
                    err);
}

typedef struct layer_run {
    const norm *self;
    fm_image in, out;
    const float *affine; /* [rows][2][stride]: factors, then terms */
    size_t pixels, parts;
} layer_run;

/* A line at a time, for images may have borders. */
static fm_status layer_piece(void *context, size_t piece, unsigned char *memory)
{
    const layer_run *it = context;
    (void)memory;
    size_t row = piece / it->parts, part = piece % it->parts;
    size_t from = it->pixels * part / it->parts, until = it->pixels * (part + 1) / it->parts;
    const float *affine = it->affine + row * 2 * it->self->stride;
    for (size_t p = from, n = 0; p < until; p += n) {
        size_t y = p / it->in.width, x = p % it->in.width, rest = it->in.width - x;
        n = rest < until - p ? rest : until - p;
        const fm_pixel_norm job = {
            .in = fm_image_at(&it->in, row, y, x),
            .out = fm_image_at(&it->out, row, y, x),
            .n_pixels = n,
            .in_stride = it->in.pixel_stride,
            .out_stride = it->out.pixel_stride,
            .channels = it->self->channels,
            .rms = it->self->rms,
            .epsilon = it->self->epsilon,
            .weight = affine,
            .bias = affine + it->self->stride,
        };
        fm_kernels_best()->pixel_norm(&job);
    }
    return FM_OK;
}

fm_status fm_op_layer_norm_eval(const fm_op *op, const fm_op_call *call)
{
    const norm *self = op->state;
    float *affine = (float *)(void *)(call->memory + op->scratch_offset);
    for (size_t i = 0; i < call->n_rows; i++) {
        affine_fill(self, modulation_of(op, call, i), affine + i * 2 * self->stride);
    }
    layer_run it = {.self = self,
                    .in = fm_op_image(call, op->inputs[0]),
                    .out = fm_op_image(call, op->output),
                    .affine = affine};
    it.pixels = it.in.height * it.in.width;
    it.parts = (it.pixels + LAYER_BLOCK_PIXELS - 1) / LAYER_BLOCK_PIXELS;
    return fm_op_pieces(call, call->n_rows * it.parts, layer_piece, &it);
}

void fm_op_layer_norm_describe(const fm_op *op, char *text, size_t size_bytes)
{
    norm_describe(op->state, text, size_bytes);
}

void fm_op_layer_norm_free(void *state)
{
    norm_free(state);
}
