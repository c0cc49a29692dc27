/* `pair_attention`: nodes attend to nodes by what is known of each pair, and gather that, too.
 *
 * Of one head and one query i, a dot for tangents and a bar for cotangents:
 *
 *   s_j = scale q_i k_j + b_ij      p = softmax(s)      out = sum_j p_j [v_j | z_ij]
 *   forward   s. = scale (q_i. k_j + q_i k_j.) + b.     p. = p (s. - sum p s.)   out. = sum_j p. [v | z] + p [v. | z.]
 *   reverse   p-_j = out- . [v_j | z_ij]                s- = p (p- - sum p p-)
 *             q-_i += scale s-_j k_j   k-_j += scale s-_j q_i   b-_ij += s-_j   [v- | z-] += p_j out-
 *
 * Weights in float64, one query's at a time: memory does not grow with the pairs. */
#include "engine/memory.h"
#include "engine/network/op.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct pair_attention {
    size_t tokens, heads, head_channels, pair_channels;
    double scale;
} pair_attention;

enum { QKV, BIAS, PAIRS, N_INPUTS };

fm_status fm_plan_pair_attention(fm_plan *plan, const fm_plan_pair_attention_spec *spec,
                                 fm_plan_value *ret, fm_error *err)
{
    const fm_plan_value inputs[N_INPUTS] = {spec->qkv, spec->bias, spec->pairs};
    const fm_plan_shape qkv = fm_plan_shape_of(plan, spec->qkv);
    const fm_plan_shape bias = fm_plan_shape_of(plan, spec->bias);
    const fm_plan_shape pairs = fm_plan_shape_of(plan, spec->pairs);
    size_t tokens = qkv.width;
    assert(qkv.height == 1 && qkv.channels % (3 * spec->heads) == 0);
    assert(bias.height == tokens && bias.width == tokens && bias.channels == spec->heads);
    assert(pairs.height == tokens && pairs.width == tokens);
    pair_attention *self = fm_alloc(sizeof *self);
    if (self == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for an attention");
    }
    *self = (pair_attention){.tokens = tokens,
                             .heads = spec->heads,
                             .head_channels = qkv.channels / 3 / spec->heads,
                             .pair_channels = pairs.channels};
    self->scale = 1 / sqrt((double)self->head_channels);
    const fm_plan_shape out = {1, tokens, qkv.channels / 3 + spec->heads * pairs.channels};
    fm_status status =
        fm_plan_add(plan, FM_OP_KIND_pair_attention, self, inputs, N_INPUTS, &out, ret, err);
    if (status == FM_OK) {
        fm_op *op = fm_plan_last_op(plan);
        op->piece_bytes = tokens * sizeof(double);
        op->jvp_scratch_bytes = 2 * op->piece_bytes;
        op->vjp_scratch_bytes = 2 * op->piece_bytes;
    }
    return status;
}

/* One head of one row, or of a tangent or cotangent of it; NULL: that does not vary. */
typedef struct head {
    const pair_attention *self;
    size_t row, index;
    const fm_image *nodes, *bias, *pairs; /* inputs */
    const fm_image *out;
} head;

/* q, k and v are the parts 0, 1 and 2. */
static float *node_at(const head *it, size_t part, size_t token)
{
    const pair_attention *self = it->self;
    return fm_image_at(it->nodes, it->row, 0, token) +
           (part * self->heads + it->index) * self->head_channels;
}

static float *bias_at(const head *it, size_t i, size_t j)
{
    return fm_image_at(it->bias, it->row, i, j) + it->index;
}

static float *pair_at(const head *it, size_t i, size_t j)
{
    return fm_image_at(it->pairs, it->row, i, j);
}

/* Where the head's nodes are gathered, and its pairs. */
static float *of_nodes(const head *it, size_t token)
{
    return fm_image_at(it->out, it->row, 0, token) + it->index * it->self->head_channels;
}

static float *of_pairs(const head *it, size_t token)
{
    const pair_attention *self = it->self;
    return fm_image_at(it->out, it->row, 0, token) + self->heads * self->head_channels +
           it->index * self->pair_channels;
}

static double dot(size_t n, const float *a, const float *b)
{
    double sum = 0;
    for (size_t c = 0; c < n; c++) {
        sum += (double)a[c] * (double)b[c];
    }
    return sum;
}

/* to += weight from */
static void add(size_t n, double weight, const float *from, float *to)
{
    const float rounded = (float)weight;
    for (size_t c = 0; c < n; c++) {
        to[c] += rounded * from[c];
    }
}

/* p of the query i */
static void weights_make(const head *it, size_t i, double *weights)
{
    const pair_attention *self = it->self;
    double largest = -HUGE_VAL, sum = 0;
    for (size_t j = 0; j < self->tokens; j++) {
        double logit = self->scale * dot(self->head_channels, node_at(it, 0, i), node_at(it, 1, j));
        weights[j] = logit + (double)*bias_at(it, i, j);
        largest = weights[j] > largest ? weights[j] : largest;
    }
    for (size_t j = 0; j < self->tokens; j++) {
        weights[j] = exp(weights[j] - largest);
        sum += weights[j];
    }
    for (size_t j = 0; j < self->tokens; j++) {
        weights[j] /= sum;
    }
}

/* s becomes p (s - sum p s) */
static void through_softmax(size_t n, const double *weights, double *s)
{
    double mean = 0;
    for (size_t j = 0; j < n; j++) {
        mean += weights[j] * s[j];
    }
    for (size_t j = 0; j < n; j++) {
        s[j] = weights[j] * (s[j] - mean);
    }
}

/* out's += what `from` has, weighted. */
static void gather(const head *from, const head *out, size_t i, const double *weights)
{
    const pair_attention *self = from->self;
    for (size_t j = 0; j < self->tokens; j++) {
        if (from->nodes != NULL) {
            add(self->head_channels, weights[j], node_at(from, 2, j), of_nodes(out, i));
        }
        if (from->pairs != NULL) {
            add(self->pair_channels, weights[j], pair_at(from, i, j), of_pairs(out, i));
        }
    }
}

/* Zeros, padding too. */
static void row_clear(const fm_image *out, size_t row)
{
    memset(fm_image_at(out, row, 0, 0), 0, out->width * out->pixel_stride * sizeof(float));
}

/* ---- eval ---- */

typedef struct pair_attention_run {
    const fm_op *op;
    fm_image nodes, bias, pairs, out;
} pair_attention_run;

static pair_attention_run run_of(const fm_op *op, const fm_op_call *call)
{
    return (pair_attention_run){.op = op,
                                .nodes = fm_op_image(call, op->inputs[QKV]),
                                .bias = fm_op_image(call, op->inputs[BIAS]),
                                .pairs = fm_op_image(call, op->inputs[PAIRS]),
                                .out = fm_op_image(call, op->output)};
}

static head head_of(const pair_attention_run *it, size_t row, size_t index)
{
    return (head){.self = it->op->state,
                  .row = row,
                  .index = index,
                  .nodes = &it->nodes,
                  .bias = &it->bias,
                  .pairs = &it->pairs,
                  .out = &it->out};
}

/* The same of derivatives, where only what varies has some. */
static head varying_head_of(const pair_attention_run *it, const fm_plan *plan, size_t row,
                            size_t index)
{
    head ret = head_of(it, row, index);
    ret.nodes = fm_plan_varies(plan, it->op->inputs[QKV]) ? ret.nodes : NULL;
    ret.bias = fm_plan_varies(plan, it->op->inputs[BIAS]) ? ret.bias : NULL;
    ret.pairs = fm_plan_varies(plan, it->op->inputs[PAIRS]) ? ret.pairs : NULL;
    return ret;
}

static fm_status row_run(void *context, size_t piece, unsigned char *memory)
{
    const pair_attention_run *it = context;
    const pair_attention *self = it->op->state;
    double *weights = (double *)(void *)(memory + it->op->piece_offset);
    row_clear(&it->out, piece);
    for (size_t k = 0; k < self->heads; k++) {
        const head of_row = head_of(it, piece, k);
        for (size_t i = 0; i < self->tokens; i++) {
            weights_make(&of_row, i, weights);
            gather(&of_row, &of_row, i, weights);
        }
    }
    return FM_OK;
}

fm_status fm_op_pair_attention_eval(const fm_op *op, const fm_op_call *call)
{
    pair_attention_run it = run_of(op, call);
    return fm_op_pieces(call, call->n_rows, row_run, &it);
}

/* ---- derivatives ---- */

static void query_tangent(const head *at, const head *tangent, size_t i, double *scratch)
{
    const pair_attention *self = at->self;
    size_t n = self->head_channels;
    double *weights = scratch, *s = scratch + self->tokens;
    weights_make(at, i, weights);
    for (size_t j = 0; j < self->tokens; j++) {
        s[j] = tangent->bias != NULL ? (double)*bias_at(tangent, i, j) : 0;
        if (tangent->nodes != NULL) {
            s[j] += self->scale * (dot(n, node_at(tangent, 0, i), node_at(at, 1, j)) +
                                   dot(n, node_at(at, 0, i), node_at(tangent, 1, j)));
        }
    }
    through_softmax(self->tokens, weights, s);
    gather(at, tangent, i, s);
    gather(tangent, tangent, i, weights);
}

fm_status fm_op_pair_attention_jvp(const fm_op *op, const fm_op_call *call,
                                   const fm_op_tangents *tangents)
{
    const pair_attention *self = op->state;
    const pair_attention_run values = run_of(op, call), derivatives = run_of(op, &tangents->call);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t k = tangents->first[row]; k < tangents->first[row + 1]; k++) {
            row_clear(&derivatives.out, k);
            for (size_t m = 0; m < self->heads * self->tokens; m++) {
                size_t index = m / self->tokens;
                const head at = head_of(&values, row, index);
                const head tangent = varying_head_of(&derivatives, call->plan, k, index);
                query_tangent(&at, &tangent, m % self->tokens, fm_op_jvp_scratch(tangents));
            }
        }
    }
    return fm_op_pair_attention_eval(op, call);
}

/* s- from p and what the output's cotangent says of p. */
static void logits_cotangent(const head *at, const head *cotangent, size_t i, double *scratch)
{
    const pair_attention *self = at->self;
    double *weights = scratch, *s = scratch + self->tokens;
    weights_make(at, i, weights);
    for (size_t j = 0; j < self->tokens; j++) {
        s[j] = dot(self->head_channels, of_nodes(cotangent, i), node_at(at, 2, j)) +
               dot(self->pair_channels, of_pairs(cotangent, i), pair_at(at, i, j));
    }
    through_softmax(self->tokens, weights, s);
}

static void query_gradient(const head *at, const head *cotangent, size_t i, double *scratch)
{
    const pair_attention *self = at->self;
    const double *weights = scratch, *s = scratch + self->tokens;
    logits_cotangent(at, cotangent, i, scratch);
    for (size_t j = 0; j < self->tokens; j++) {
        if (cotangent->nodes != NULL) {
            double slope = self->scale * s[j];
            add(self->head_channels, slope, node_at(at, 1, j), node_at(cotangent, 0, i));
            add(self->head_channels, slope, node_at(at, 0, i), node_at(cotangent, 1, j));
            add(self->head_channels, weights[j], of_nodes(cotangent, i), node_at(cotangent, 2, j));
        }
        if (cotangent->bias != NULL) {
            *bias_at(cotangent, i, j) += (float)s[j];
        }
        if (cotangent->pairs != NULL) {
            add(self->pair_channels, weights[j], of_pairs(cotangent, i), pair_at(cotangent, i, j));
        }
    }
}

fm_status fm_op_pair_attention_vjp(const fm_op *op, const fm_op_call *call,
                                   const fm_op_cotangents *cotangents)
{
    const pair_attention *self = op->state;
    const pair_attention_run values = run_of(op, call), derivatives = run_of(op, &cotangents->call);
    for (size_t row = 0; row < call->n_rows; row++) {
        for (size_t m = 0; m < self->heads * self->tokens; m++) {
            size_t index = m / self->tokens;
            const head at = head_of(&values, row, index);
            const head cotangent = varying_head_of(&derivatives, call->plan, row, index);
            query_gradient(&at, &cotangent, m % self->tokens, fm_op_vjp_scratch(cotangents));
        }
    }
    return FM_OK;
}

void fm_op_pair_attention_describe(const fm_op *op, char *text, size_t size_bytes)
{
    const pair_attention *self = op->state;
    (void)snprintf(text, size_bytes, "%zu heads of %zu and %zu channels over %zu tokens",
                   self->heads, self->head_channels, self->pair_channels, self->tokens);
}

void fm_op_pair_attention_free(void *state)
{
    fm_free(state);
}
