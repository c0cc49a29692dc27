/* Where a plan meets frames: `relative_frames` sees each in every other, `frames_output` takes velocities from the
 * frames into the world. Computed in float64 from float32, rounded once. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#define SOFTNESS 1e-6 /* under the root: distances have a slope at 0, too */

/* Of a state, or of its tangent, which is none. */
typedef struct frame {
    double rotation[3][3], place[3];
} frame;

/* Of a frame j in another, i; or its tangent. */
typedef struct relative {
    double place[3];      /* p = R_i^T (x_j - x_i) */
    double turn[3][3];    /* R_i^T R_j */
    double square, slope; /* |p|^2 + softness; of its tangent p . dp */
} relative;

static frame frame_of(const float *state, size_t index)
{
    frame ret;
    const float *numbers = state + FM_FRAME_INPUTS * index;
    for (size_t a = 0; a < 3; a++) {
        for (size_t c = 0; c < 3; c++) {
            ret.rotation[a][c] = (double)numbers[3 * a + c];
        }
        ret.place[a] = (double)numbers[9 + a];
    }
    return ret;
}

/* ret += R^T [turn | shift] */
static void add_seen(const double rotation[3][3], const double turn[3][3], const double shift[3],
                     relative *ret)
{
    for (size_t c = 0; c < 3; c++) {
        for (size_t a = 0; a < 3; a++) {
            ret->place[c] += rotation[a][c] * shift[a];
            for (size_t d = 0; d < 3; d++) {
                ret->turn[c][d] += rotation[a][c] * turn[a][d];
            }
        }
    }
}

static void shift_of(const frame *i, const frame *j, double ret[3])
{
    for (size_t a = 0; a < 3; a++) {
        ret[a] = j->place[a] - i->place[a];
    }
}

static relative relative_of(const frame *i, const frame *j)
{
    relative ret = {.square = SOFTNESS};
    double shift[3];
    shift_of(i, j, shift);
    add_seen(i->rotation, j->rotation, shift, &ret);
    for (size_t c = 0; c < 3; c++) {
        ret.square += ret.place[c] * ret.place[c];
    }
    return ret;
}

/* Along di and dj, `at` being relative_of(i, j). */
static relative tangent_of(const frame *i, const frame *j, const frame *di, const frame *dj,
                           const relative *at)
{
    relative ret = {.slope = 0};
    double shift[3], d_shift[3];
    shift_of(i, j, shift);
    shift_of(di, dj, d_shift);
    add_seen(di->rotation, j->rotation, shift, &ret);
    add_seen(i->rotation, dj->rotation, d_shift, &ret);
    for (size_t c = 0; c < 3; c++) {
        ret.slope += at->place[c] * ret.place[c];
    }
    return ret;
}

/* ---- relative frames ---- */

typedef struct relative_frames {
    size_t bins;
    double width;
} relative_frames;

fm_status fm_plan_relative_frames(fm_plan *plan, fm_plan_value state,
                                  const fm_plan_relative_frames_spec *spec, fm_plan_value *ret,
                                  fm_error *err)
{
    const fm_plan_shape vector = fm_plan_shape_of(plan, state);
    size_t length = vector.channels / FM_FRAME_INPUTS;
    assert(vector.height * vector.width == 1 && vector.channels % FM_FRAME_INPUTS == 0);
    assert(spec->width > 0);
    relative_frames *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for relative frames");
    }
    *self = (relative_frames){.bins = spec->bins, .width = spec->width};
    const fm_plan_shape shape = {length, length, FM_FRAME_INPUTS + spec->bins};
    return fm_plan_add(plan, FM_OP_KIND_relative_frames, self, &state, 1, &shape, ret, err);
}

/* A relative frame's own twelve numbers, and zeros behind all channels. */
static void pixel_write(const relative *it, const fm_image *image, float *pixel)
{
    for (size_t c = 0; c < 3; c++) {
        pixel[c] = (float)it->place[c];
        for (size_t d = 0; d < 3; d++) {
            pixel[3 + 3 * c + d] = (float)it->turn[c][d];
        }
    }
    for (size_t c = image->channels; c < image->pixel_stride; c++) {
        pixel[c] = 0.0F;
    }
}

/* The bump number k at distance d, and how steep it is there. */
typedef struct bump {
    double height, slope;
} bump;

static bump bump_at(const relative_frames *self, double distance, size_t k)
{
    double z = distance / self->width - (double)k;
    double height = exp(-z * z / 2);
    return (bump){.height = height, .slope = -height * z / self->width};
}

fm_status fm_op_relative_frames_eval(const fm_op *op, const fm_op_call *call)
{
    const relative_frames *self = op->state;
    const fm_image states = fm_op_image(call, op->inputs[0]);
    const fm_image out = fm_op_image(call, op->output);
    for (size_t p = 0; p < call->n_rows * out.height * out.width; p++) {
        size_t row = p / (out.height * out.width), i = p / out.width % out.height;
        size_t j = p % out.width;
        const float *state = fm_image_at(&states, row, 0, 0);
        float *pixel = fm_image_at(&out, row, i, j);
        const frame of_i = frame_of(state, i), of_j = frame_of(state, j);
        const relative at = relative_of(&of_i, &of_j);
        pixel_write(&at, &out, pixel);
        double distance = sqrt(at.square);
        for (size_t k = 0; k < self->bins; k++) {
            pixel[FM_FRAME_INPUTS + k] = (float)bump_at(self, distance, k).height;
        }
    }
    return FM_OK;
}

static void pixel_tangent(const relative_frames *self, const float *state, const float *tangent,
                          const size_t at[2], const fm_image *to, float *pixel)
{
    const frame i = frame_of(state, at[0]), j = frame_of(state, at[1]);
    const frame di = frame_of(tangent, at[0]), dj = frame_of(tangent, at[1]);
    const relative it = relative_of(&i, &j), d_it = tangent_of(&i, &j, &di, &dj, &it);
    pixel_write(&d_it, to, pixel);
    double distance = sqrt(it.square), d_distance = d_it.slope / distance;
    for (size_t k = 0; k < self->bins; k++) {
        pixel[FM_FRAME_INPUTS + k] = (float)(bump_at(self, distance, k).slope * d_distance);
    }
}

fm_status fm_op_relative_frames_jvp(const fm_op *op, const fm_op_call *call,
                                    const fm_op_tangents *tangents)
{
    const fm_image states = fm_op_image(call, op->inputs[0]);
    const fm_image from = fm_op_image(&tangents->call, op->inputs[0]);
    const fm_image to = fm_op_image(&tangents->call, op->output);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t k = tangents->first[row]; k < tangents->first[row + 1]; k++) {
            for (size_t p = 0; p < to.height * to.width; p++) {
                const size_t at[2] = {p / to.width, p % to.width};
                pixel_tangent(op->state, fm_image_at(&states, row, 0, 0),
                              fm_image_at(&from, k, 0, 0), at, &to,
                              fm_image_at(&to, k, at[0], at[1]));
            }
        }
    }
    return fm_op_relative_frames_eval(op, call);
}

/* What a pixel's cotangent says of p: directly, and by the bumps. */
static void place_cotangent(const relative_frames *self, const relative *at, const float *cotangent,
                            double ret[3])
{
    double distance = sqrt(at->square), by_distance = 0;
    for (size_t k = 0; k < self->bins; k++) {
        by_distance += (double)cotangent[FM_FRAME_INPUTS + k] * bump_at(self, distance, k).slope;
    }
    for (size_t c = 0; c < 3; c++) {
        ret[c] = (double)cotangent[c] + by_distance * at->place[c] / distance;
    }
}

/* Adds to the cotangents of both frames' numbers: of p = R_i^T s that of R_i is s p-^T and that of s is R_i p-, of
 * M = R_i^T R_j they are R_j M-^T and R_i M-. */
static void pixel_gradient(const relative_frames *self, const float *state, const size_t at[2],
                           const float *cotangent, float *gradient)
{
    const frame i = frame_of(state, at[0]), j = frame_of(state, at[1]);
    const relative it = relative_of(&i, &j);
    float *of_i = gradient + FM_FRAME_INPUTS * at[0], *of_j = gradient + FM_FRAME_INPUTS * at[1];
    double shift[3], place[3];
    shift_of(&i, &j, shift);
    place_cotangent(self, &it, cotangent, place);
    for (size_t a = 0; a < 3; a++) {
        double of_shift = 0;
        for (size_t c = 0; c < 3; c++) {
            const float *turn = cotangent + 3 + 3 * c;
            double sum = shift[a] * place[c];
            of_shift += i.rotation[a][c] * place[c];
            for (size_t d = 0; d < 3; d++) {
                sum += j.rotation[a][d] * (double)turn[d];
                of_j[3 * a + d] += (float)(i.rotation[a][c] * (double)turn[d]);
            }
            of_i[3 * a + c] += (float)sum;
        }
        of_i[9 + a] -= (float)of_shift;
        of_j[9 + a] += (float)of_shift;
    }
}

fm_status fm_op_relative_frames_vjp(const fm_op *op, const fm_op_call *call,
                                    const fm_op_cotangents *cotangents)
{
    const fm_image states = fm_op_image(call, op->inputs[0]);
    const fm_image from = fm_op_image(&cotangents->call, op->output);
    const fm_image to = fm_op_image(&cotangents->call, op->inputs[0]);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t p = 0; p < from.height * from.width; p++) {
            const size_t at[2] = {p / from.width, p % from.width};
            pixel_gradient(op->state, fm_image_at(&states, row, 0, 0), at,
                           fm_image_at(&from, row, at[0], at[1]), fm_image_at(&to, row, 0, 0));
        }
    }
    return FM_OK;
}

void fm_op_relative_frames_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const relative_frames *self = op->state;
    (void)snprintf(text, size_bytes, "of value %zu, %zu bumps %g apart", op->inputs[0], self->bins,
                   self->width);
}

void fm_op_relative_frames_free(void *state)
{
    fm_free(state);
}

/* ---- frames output ---- */

fm_status fm_plan_frames_output(fm_plan *plan, fm_plan_value nodes, fm_plan_value state,
                                fm_error *err)
{
    const fm_plan_shape shape = fm_plan_shape_of(plan, nodes);
    const fm_plan_shape vector = fm_plan_shape_of(plan, state);
    const fm_plan_value inputs[2] = {nodes, state};
    assert(shape.height == 1 && shape.channels == FM_FRAME_OUTPUTS);
    assert(vector.height * vector.width == 1 && vector.channels == FM_FRAME_INPUTS * shape.width);
    assert(fm_plan_varies(plan, nodes) && fm_plan_varies(plan, state)); /* jvp, vjp rely on it */
    plan->out_dimension = FM_FRAME_OUTPUTS * shape.width;
    return fm_plan_add(plan, FM_OP_KIND_frames_output, NULL, inputs, 2, NULL, NULL, err);
}

/* ret += R u, u behind the angular velocity. */
static void add_turned(const float *state, size_t index, const float *node, double ret[3])
{
    const frame it = frame_of(state, index);
    for (size_t a = 0; a < 3; a++) {
        for (size_t c = 0; c < 3; c++) {
            ret[a] += it.rotation[a][c] * (double)node[3 + c];
        }
    }
}

static void node_start(const float *node, double *out)
{
    for (size_t a = 0; a < 3; a++) {
        out[a] = (double)node[a];
        out[3 + a] = 0.0;
    }
}

fm_status fm_op_frames_output_eval(const fm_op *op, const fm_op_call *call)
{
    const fm_image nodes = fm_op_image(call, op->inputs[0]);
    const fm_image states = fm_op_image(call, op->inputs[1]);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t i = 0; i < nodes.width; i++) {
            const float *node = fm_image_at(&nodes, row, 0, i);
            double *out = call->rows[row].out + FM_FRAME_OUTPUTS * i;
            node_start(node, out);
            add_turned(fm_image_at(&states, row, 0, 0), i, node, out + 3);
        }
    }
    return FM_OK;
}

fm_status fm_op_frames_output_jvp(const fm_op *op, const fm_op_call *call,
                                  const fm_op_tangents *tangents)
{
    const fm_image nodes = fm_op_image(call, op->inputs[0]);
    const fm_image states = fm_op_image(call, op->inputs[1]);
    const fm_image d_nodes = fm_op_image(&tangents->call, op->inputs[0]);
    const fm_image d_states = fm_op_image(&tangents->call, op->inputs[1]);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t k = tangents->first[row]; k < tangents->first[row + 1]; k++) {
            for (size_t i = 0; i < nodes.width; i++) {
                const float *d_node = fm_image_at(&d_nodes, k, 0, i);
                double *out = tangents->call.rows[k].out + FM_FRAME_OUTPUTS * i;
                node_start(d_node, out);
                add_turned(fm_image_at(&states, row, 0, 0), i, d_node, out + 3);
                add_turned(fm_image_at(&d_states, k, 0, 0), i, fm_image_at(&nodes, row, 0, i),
                           out + 3);
            }
        }
    }
    return fm_op_frames_output_eval(op, call);
}

/* Of R u the cotangents are R^T v- of u and v- u^T of R. */
static void output_gradient(const float *state, const double *cotangent, const float *node,
                            float *of_node, float *of_state)
{
    const frame it = frame_of(state, 0);
    for (size_t a = 0; a < 3; a++) {
        of_node[a] += (float)cotangent[a];
        for (size_t c = 0; c < 3; c++) {
            of_node[3 + c] += (float)(it.rotation[a][c] * cotangent[3 + a]);
            of_state[3 * a + c] += (float)(cotangent[3 + a] * (double)node[3 + c]);
        }
    }
}

fm_status fm_op_frames_output_vjp(const fm_op *op, const fm_op_call *call,
                                  const fm_op_cotangents *cotangents)
{
    const fm_image nodes = fm_op_image(call, op->inputs[0]);
    const fm_image states = fm_op_image(call, op->inputs[1]);
    const fm_image of_nodes = fm_op_image(&cotangents->call, op->inputs[0]);
    const fm_image of_states = fm_op_image(&cotangents->call, op->inputs[1]);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t i = 0; i < nodes.width; i++) {
            output_gradient(fm_image_at(&states, row, 0, 0) + FM_FRAME_INPUTS * i,
                            call->rows[row].cotangent + FM_FRAME_OUTPUTS * i,
                            fm_image_at(&nodes, row, 0, i), fm_image_at(&of_nodes, row, 0, i),
                            fm_image_at(&of_states, row, 0, 0) + FM_FRAME_INPUTS * i);
        }
    }
    return FM_OK;
}

void fm_op_frames_output_describe(const fm_op *op, char *text, size_t size_bytes)
{
    (void)snprintf(text, size_bytes, "of value %zu, in the frames of value %zu", op->inputs[0],
                   op->inputs[1]);
}

void fm_op_frames_output_free(void *state)
{
    assert(state == NULL);
    (void)state;
}
