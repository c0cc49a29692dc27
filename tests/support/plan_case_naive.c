/* Every op as its definition says, one row at a time. */
#include "tests/support/plan_case_naive.h"

#include "tests/support/image_case.h"
#include "tests/support/plan_case_naive_frames.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value [pixels][channels]. */
typedef struct value {
    size_t height, width, channels;
    double *x;
} value;

typedef struct naive {
    const plan_graph *graph;
    const fm_tile_row *row;
    value values[PLAN_CASE_MAX_NODES];
} naive;

double plan_naive_frequency(size_t index)
{
    return 1.5 * (double)(index + 1);
}

/* ---- shapes and numbers ---- */

static void conv_shape(const plan_node *node, value *it)
{
    it->height = (it->height - 1) / node->stride + 1;
    it->width = (it->width - 1) / node->stride + 1;
    it->channels = node->size;
}

static void frames_shape(const plan_node *node, value *it)
{
    if (node->kind == NODE_RELATIVE_FRAMES) {
        size_t n = it->channels / 12;
        *it = (value){n, n, 12 + node->count, NULL};
    }
}

/* The shape of what a node makes; data is NULL. */
static value shape_of(const plan_graph *graph, size_t index)
{
    const plan_node *node = &graph->nodes[index];
    if (node->kind == NODE_IMAGE) {
        return (value){graph->height, graph->width, graph->channels * (1 + 2 * node->count), NULL};
    }
    if (node->kind == NODE_PATCHES) {
        return (value){graph->height / node->count, graph->width / node->count,
                       graph->channels * node->count * node->count, NULL};
    }
    if (node->kind == NODE_TIME || node->kind == NODE_LABEL || node->kind == NODE_LINEAR) {
        return (value){1, 1, node->size, NULL};
    }
    if (node->kind == NODE_TABLE) {
        return (value){node->stride, node->count, node->size, NULL};
    }
    value it = shape_of(graph, node->from);
    frames_shape(node, &it);
    if (node->kind == NODE_CONV) {
        conv_shape(node, &it);
    } else if (node->kind == NODE_CONCAT) {
        it.channels += shape_of(graph, node->with).channels;
    } else if (node->kind == NODE_UPSAMPLE) {
        it.height *= 2;
        it.width *= 2;
    } else if (node->kind == NODE_POOL) {
        it.height /= 2;
        it.width /= 2;
    } else if (node->kind == NODE_ATTENTION) {
        it.channels /= 3;
    } else if (node->kind == NODE_PAIR_ATTENTION) {
        it.channels = it.channels / 3 + node->count * shape_of(graph, node->residual).channels;
    }
    return it;
}

static float *numbers(size_t stream, size_t count, float offset, float scale)
{
    float *x = malloc((count + 1) * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < count; i++) {
        x[i] = offset + scale * image_case_noise(stream, i);
    }
    return x;
}

float *plan_naive_weight(const plan_graph *graph, size_t index)
{
    const plan_node *node = &graph->nodes[index];
    size_t stream = 100 + 2 * index;
    value in = {0};
    if (node->kind != NODE_IMAGE && node->kind != NODE_PATCHES) {
        in = shape_of(graph, node->from);
    }
    size_t window = in.channels * (node->kind == NODE_CONV ? node->count * node->count : 1);
    switch ((int)node->kind) {
    case NODE_CONV:
    case NODE_LINEAR:
        return numbers(stream, window * node->size, 0, 2.0F / sqrtf((float)window));
    case NODE_LABEL:
        return numbers(stream, node->count * node->size, 0, 1);
    case NODE_TABLE:
        return numbers(stream, node->stride * node->count * node->size, 0, 1);
    case NODE_POSITIONS:
        return numbers(stream, in.height * in.width * in.channels, 0, 1);
    case NODE_GROUP_NORM:
    case NODE_LAYER_NORM:
        return numbers(stream, in.channels, 1, 0.5F);
    default:
        return numbers(stream, 0, 0, 0);
    }
}

float *plan_naive_bias(const plan_graph *graph, size_t index)
{
    const plan_node *node = &graph->nodes[index];
    bool is_norm = node->kind == NODE_GROUP_NORM || node->kind == NODE_LAYER_NORM;
    size_t count = is_norm ? shape_of(graph, node->from).channels : node->size;
    return numbers(101 + 2 * index, count, 0, 0.5F);
}

void plan_naive_release(float *it)
{
    free(it);
}

/* ---- the ops ---- */

static double activated(fm_activation activation, double x)
{
    switch ((int)activation) {
    case FM_ACTIVATION_SILU:
        return x / (1 + exp(-x));
    case FM_ACTIVATION_RELU:
        return x > 0 ? x : 0;
    case FM_ACTIVATION_GELU:
        return 0.5 * x * erfc(-x / sqrt(2.0));
    case FM_ACTIVATION_NONE:
        return x;
    default:
        ck_abort_msg("the naive loops lack %s", fm_activation_name(activation));
    }
}

static double *pixel(const value *it, size_t y, size_t x)
{
    return it->x + (y * it->width + x) * it->channels;
}

static void run_image(const naive *it, const plan_node *node, value *out)
{
    size_t n = it->graph->channels, plane = out->height * out->width;
    for (size_t p = 0; p < plane; p++) {
        double *to = out->x + p * out->channels;
        for (size_t c = 0; c < n; c++) {
            double x = it->row->x[c * plane + p];
            to[c] = x;
            for (size_t k = 0; k < node->count; k++) {
                to[n + c * node->count + k] = sin(plan_naive_frequency(k) * x);
                to[n + (n + c) * node->count + k] = cos(plan_naive_frequency(k) * x);
            }
        }
    }
}

static void run_patches(const naive *it, const plan_node *node, value *out)
{
    const plan_graph *graph = it->graph;
    size_t patch = node->count;
    for (size_t i = 0; i < graph->channels * graph->height * graph->width; i++) {
        size_t x = i % graph->width, y = i / graph->width % graph->height;
        size_t c = i / graph->width / graph->height;
        pixel(out, y / patch, x / patch)[(c * patch + y % patch) * patch + x % patch] =
            it->row->x[i];
    }
}

static void run_time(const naive *it, value *out)
{
    size_t half = out->channels / 2;
    for (size_t k = 0; k < half; k++) {
        double angle = it->row->t * pow(PLAN_NAIVE_PERIOD, -(double)k / (double)half);
        out->x[k] = cos(angle);
        out->x[half + k] = sin(angle);
    }
}

static void run_sum(const value *a, const value *b, const plan_node *node, value *out)
{
    for (size_t i = 0; i < out->height * out->width * out->channels; i++) {
        size_t at = b != NULL && b->height * b->width == 1 ? i % out->channels : i;
        out->x[i] = activated(node->activation, a->x[i] + (b != NULL ? b->x[at] : 0));
    }
}

static void run_concat(const value *a, const value *b, value *out)
{
    for (size_t p = 0; p < out->height * out->width; p++) {
        memcpy(out->x + p * out->channels, a->x + p * a->channels, a->channels * sizeof *a->x);
        memcpy(out->x + p * out->channels + a->channels, b->x + p * b->channels,
               b->channels * sizeof *b->x);
    }
}

static void run_resize(const value *in, bool up, value *out)
{
    for (size_t i = 0; i < out->height * out->width * out->channels; i++) {
        size_t c = i % out->channels, x = i / out->channels % out->width;
        size_t y = i / out->channels / out->width;
        out->x[i] = up ? pixel(in, y / 2, x / 2)[c]
                       : (pixel(in, 2 * y, 2 * x)[c] + pixel(in, 2 * y, 2 * x + 1)[c] +
                          pixel(in, 2 * y + 1, 2 * x)[c] + pixel(in, 2 * y + 1, 2 * x + 1)[c]) /
                             4;
    }
}

static double window_sum(const value *in, const plan_node *node, const float *weight, size_t y,
                         size_t x)
{
    bool is_conv = node->kind == NODE_CONV;
    size_t k = is_conv ? node->count : 1, stride = is_conv ? node->stride : 1;
    double sum = 0;
    for (size_t i = 0; i < in->channels * k * k; i++) {
        size_t row = y * stride + i / k % k, column = x * stride + i % k;
        if (row >= k / 2 && column >= k / 2 && row - k / 2 < in->height &&
            column - k / 2 < in->width) {
            sum += (double)weight[i] * pixel(in, row - k / 2, column - k / 2)[i / k / k];
        }
    }
    return sum;
}

/* Linear layers too. */
static void run_conv(const naive *it, size_t index, value *out)
{
    const plan_node *node = &it->graph->nodes[index];
    const value *in = &it->values[node->from];
    size_t k = node->kind == NODE_CONV ? node->count : 1, window = in->channels * k * k;
    float *weight = plan_naive_weight(it->graph, index), *bias = plan_naive_bias(it->graph, index);
    for (size_t i = 0; i < out->height * out->width * out->channels; i++) {
        size_t o = i % out->channels, x = i / out->channels % out->width;
        size_t y = i / out->channels / out->width;
        double sum = window_sum(in, node, weight + o * window, y, x);
        sum += node->flag ? 0 : (double)bias[o];
        sum += node->row_bias != 0 ? it->values[node->row_bias].x[o] : 0;
        double gate = node->gate != 0 ? it->values[node->gate].x[node->column + o] : 1;
        double residual = node->residual != 0 ? it->values[node->residual].x[i] : 0;
        out->x[i] = residual + gate * activated(node->activation, sum);
    }
    plan_naive_release(weight);
    plan_naive_release(bias);
}

/* Normalises `count` runs of `length` channels, from `first` on, one run a pixel. */
static void normalise(const value *in, size_t first, size_t length, size_t pixels, bool rms,
                      double *out)
{
    double n = (double)(length * pixels), mean = 0, square = 0;
    for (size_t i = 0; i < length * pixels && !rms; i++) {
        mean += in->x[first + i / length * in->channels + i % length] / n;
    }
    for (size_t i = 0; i < length * pixels; i++) {
        double x = in->x[first + i / length * in->channels + i % length] - mean;
        square += x * x / n;
    }
    for (size_t i = 0; i < length * pixels; i++) {
        size_t at = first + i / length * in->channels + i % length;
        out[at] = (in->x[at] - mean) / sqrt(square + PLAN_NAIVE_EPSILON);
    }
}

static void run_norm(const naive *it, size_t index, value *out)
{
    const plan_node *node = &it->graph->nodes[index];
    const value *in = &it->values[node->from];
    size_t channels = in->channels, pixels = in->height * in->width;
    bool is_group = node->kind == NODE_GROUP_NORM;
    size_t length = is_group ? channels / node->count : channels;
    for (size_t i = 0; i < (is_group ? node->count : pixels); i++) {
        normalise(in, i * length, length, is_group ? pixels : 1, !is_group && node->flag, out->x);
    }
    float *weight = plan_naive_weight(it->graph, index), *bias = plan_naive_bias(it->graph, index);
    for (size_t i = 0; i < pixels * channels; i++) {
        size_t c = i % channels;
        double y = out->x[i];
        if (is_group || node->count != 0) {
            y = y * (double)weight[c] + (double)bias[c];
        }
        if (node->with != 0) {
            const double *modulation = it->values[node->with].x + node->column;
            y = y * (1 + modulation[c]) + modulation[channels + c];
        }
        out->x[i] = activated(node->activation, y);
    }
    plan_naive_release(weight);
    plan_naive_release(bias);
}

/* Pairs (x_i, x_(i + half)) of q and k as complex numbers, times e^(i place frequency). */
static void run_rotary(const plan_node *node, const value *in, value *out)
{
    size_t d = node->size, half = d / 2;
    memcpy(out->x, in->x, in->height * in->width * in->channels * sizeof *out->x);
    for (size_t i = 0; i < in->height * in->width * node->count * 2 * half; i++) {
        size_t k = i % half, part = i / half % 2, head = i / half / 2 % node->count;
        size_t place = i / half / 2 / node->count;
        double frequency = node->stride == 1
                               ? plan_naive_frequency(k)
                               : (double)(float)pow(1e4, -2.0 * (double)k / (double)d);
        double angle = (double)place * frequency;
        size_t first = place * in->channels +
                       (node->flag ? (3 * head + part) * d : (part * node->count + head) * d) + k;
        out->x[first] = in->x[first] * cos(angle) - in->x[first + half] * sin(angle);
        out->x[first + half] = in->x[first] * sin(angle) + in->x[first + half] * cos(angle);
    }
}

static void attend(const plan_node *node, const value *in, size_t token, size_t head, value *out)
{
    size_t d = node->size, n = in->height * in->width;
    size_t part = node->flag ? d : node->count * d, q = node->flag ? head * 3 * d : head * d;
    double weights[72], sum = 0, *to = out->x + token * out->channels + head * d;
    ck_assert_uint_le(n, 72);
    for (size_t j = 0; j < n; j++) {
        double score = 0;
        for (size_t c = 0; c < d; c++) {
            score += in->x[token * in->channels + q + c] * in->x[j * in->channels + q + part + c];
        }
        weights[j] = exp(score / sqrt((double)d));
        sum += weights[j];
    }
    for (size_t c = 0; c < d; c++) {
        to[c] = 0;
        for (size_t j = 0; j < n; j++) {
            to[c] += weights[j] / sum * in->x[j * in->channels + q + 2 * part + c];
        }
    }
}

static void run_attention(const plan_node *node, const value *in, value *out)
{
    for (size_t i = 0; i < in->height * in->width * node->count; i++) {
        attend(node, in, i / node->count, i % node->count, out);
    }
}

static void run_pair_attention(const naive *it, const plan_node *node, value *out)
{
    const value *qkv = &it->values[node->from], *pairs = &it->values[node->residual];
    const plan_naive_pairs of = {.n = qkv->width,
                                 .heads = node->count,
                                 .head_channels = qkv->channels / 3 / node->count,
                                 .pair_channels = pairs->channels,
                                 .qkv = qkv->x,
                                 .bias = it->values[node->with].x,
                                 .pairs = pairs->x};
    plan_naive_pair_attention(&of, out->x);
}

static void run_node(const naive *it, size_t index, value *out)
{
    const plan_node *node = &it->graph->nodes[index];
    const value *from = &it->values[node->from];
    const value *with = node->with != 0 ? &it->values[node->with] : NULL;
    float *table = plan_naive_weight(it->graph, index);
    switch ((int)node->kind) {
    case NODE_IMAGE:
        run_image(it, node, out);
        break;
    case NODE_PATCHES:
        run_patches(it, node, out);
        break;
    case NODE_TIME:
        run_time(it, out);
        break;
    case NODE_LABEL:
        for (size_t c = 0; c < out->channels; c++) {
            out->x[c] = (double)table[(size_t)it->row->label * out->channels + c];
        }
        break;
    case NODE_SUM:
        run_sum(from, with, node, out);
        break;
    case NODE_POSITIONS:
        for (size_t i = 0; i < out->height * out->width * out->channels; i++) {
            out->x[i] = from->x[i] + (double)table[i];
        }
        break;
    case NODE_CONCAT:
        run_concat(from, with, out);
        break;
    case NODE_UPSAMPLE:
    case NODE_POOL:
        run_resize(from, node->kind == NODE_UPSAMPLE, out);
        break;
    case NODE_GROUP_NORM:
    case NODE_LAYER_NORM:
        run_norm(it, index, out);
        break;
    case NODE_ROTARY:
        run_rotary(node, from, out);
        break;
    case NODE_ATTENTION:
        run_attention(node, from, out);
        break;
    case NODE_TABLE:
        for (size_t i = 0; i < out->height * out->width * out->channels; i++) {
            out->x[i] = (double)table[i];
        }
        break;
    case NODE_RELATIVE_FRAMES:
        plan_naive_relative_frames(out->width, node->count, from->x, out->x);
        break;
    case NODE_PAIR_ATTENTION:
        run_pair_attention(it, node, out);
        break;
    default:
        run_conv(it, index, out);
    }
    plan_naive_release(table);
}

static void run_output(const plan_node *node, const value *in, double *out)
{
    if (node->kind == NODE_OUTPUT) {
        memcpy(out, in->x, in->height * in->width * in->channels * sizeof *out);
        return;
    }
    size_t patch = node->kind == NODE_IMAGE_OUTPUT ? 1 : node->count;
    size_t channels = node->kind == NODE_IMAGE_OUTPUT ? in->channels : node->stride;
    size_t width = in->width * patch, height = in->height * patch;
    for (size_t i = 0; i < node->size * height * width; i++) {
        size_t x = i % width, y = i / width % height, c = i / width / height;
        out[i] = pixel(in, y / patch, x / patch)[(y % patch * patch + x % patch) * channels + c];
    }
}

void plan_naive_run(const plan_graph *graph, const fm_tile_row *row, double *out)
{
    naive it = {.graph = graph, .row = row};
    for (size_t i = 0; graph->nodes[i].kind != NODE_END; i++) {
        const plan_node *node = &graph->nodes[i];
        if (node->kind == NODE_OUTPUT || node->kind == NODE_IMAGE_OUTPUT ||
            node->kind == NODE_PATCHES_OUTPUT) {
            run_output(node, &it.values[node->from], out);
            continue;
        }
        if (node->kind == NODE_FRAMES_OUTPUT) {
            plan_naive_frames_output(it.values[node->from].width, it.values[node->from].x,
                                     it.values[node->with].x, out);
            continue;
        }
        it.values[i] = shape_of(graph, i);
        it.values[i].x = calloc(it.values[i].height * it.values[i].width * it.values[i].channels,
                                sizeof(double));
        ck_assert_ptr_nonnull(it.values[i].x);
        run_node(&it, i, &it.values[i]);
    }
    for (size_t i = 0; i < PLAN_CASE_MAX_NODES; i++) {
        free(it.values[i].x);
    }
}
