/* Derivatives of attention on the kernels of matrix products, a block of queries at a time. */
#include "engine/math/attention_derivative.h"

#include "engine/math/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define BLOCK_ROWS ((size_t)64) /* queries of a block: the kernels' own block of rows */

enum { QUERY, KEY, VALUE };

typedef struct matrix {
    const float *at;
    size_t stride;
} matrix;

/* The right side of a product, [inputs][outputs], as the kernels want it. */
typedef struct weights {
    size_t inputs, outputs;
    float *packed;
} weights;

/* What both directions know of a head, and the weights p of a block of queries. */
typedef struct head_run {
    const fm_kernels *kernels;
    size_t first_channel[3];       /* of q, k, v in a token of the input */
    size_t output_channel;         /* of the head in a token of the output */
    size_t tokens, channels;       /* channels: of the head */
    size_t token_columns, columns; /* the same in whole vectors */
    float scale;
    float *zeros;        /* [the larger of token_columns and columns] */
    float *inverse_sums; /* [BLOCK_ROWS] */
    float *p;            /* [BLOCK_ROWS][token_columns] */
} head_run;

/* ---- memory ---- */

/* Hands out pieces of a scratch; without one, it only counts. */
typedef struct carver {
    float *memory;
    size_t floats;
} carver;

static float *carve(carver *from, size_t floats)
{
    float *piece = from->memory == NULL ? NULL : from->memory + from->floats;
    from->floats += fm_kernels_round(floats);
    return piece;
}

static weights weights_carve(carver *from, size_t inputs, size_t outputs)
{
    return (weights){.inputs = inputs,
                     .outputs = outputs,
                     .packed = carve(from, inputs * fm_kernels_round(outputs))};
}

static head_run head_carve(carver *from, const fm_attention_shape *shape)
{
    size_t tokens = fm_kernels_round(shape->tokens);
    size_t columns = fm_kernels_round(shape->head_channels);
    head_run head = {.tokens = shape->tokens,
                     .channels = shape->head_channels,
                     .token_columns = tokens,
                     .columns = columns};
    head.zeros = carve(from, tokens > columns ? tokens : columns);
    head.inverse_sums = carve(from, BLOCK_ROWS);
    head.p = carve(from, BLOCK_ROWS * tokens);
    return head;
}

static void head_start(head_run *head, const fm_attention_shape *shape, size_t index,
                       const fm_kernels *kernels)
{
    size_t d = shape->head_channels;
    head->kernels = kernels != NULL ? kernels : fm_kernels_best();
    head->scale = (float)(1.0 / sqrt((double)d));
    head->output_channel = index * d;
    for (size_t part = 0; part < 3; part++) {
        head->first_channel[part] =
            (shape->heads_first ? index * 3 + part : part * shape->heads + index) * d;
    }
    size_t most = head->token_columns > head->columns ? head->token_columns : head->columns;
    memset(head->zeros, 0, most * sizeof *head->zeros);
}

/* ---- products ---- */

/* q, k or v in the image of an input, or in that of its tangent. */
static matrix part_of(const head_run *head, const fm_image *image, size_t index, size_t part)
{
    return (matrix){image->data + index * image->image_stride + head->first_channel[part],
                    image->pixel_stride};
}

static matrix rows_from(matrix of, size_t row)
{
    return (matrix){of.at + row * of.stride, of.stride};
}

/* The right side is part^T: [channels][tokens]. */
static void pack_transposed(const head_run *head, matrix part, const weights *to)
{
    head->kernels->pack(part.at, part.stride, 1, to->inputs, to->outputs, to->packed);
}

/* The right side is a matrix as it lies: [its rows][its columns]. */
static void pack_plain(const head_run *head, matrix part, const weights *to)
{
    head->kernels->pack(part.at, 1, part.stride, to->inputs, to->outputs, to->packed);
}

/* out [rows][outputs in whole vectors] = in [rows][inputs] right */
static void multiply(const head_run *head, matrix in, size_t rows, const weights *right, float *out)
{
    size_t columns = fm_kernels_round(right->outputs);
    const fm_matmul product = {.inputs = right->inputs,
                               .columns = columns,
                               .packed = right->packed,
                               .bias = head->zeros,
                               .activation = FM_ACTIVATION_NONE,
                               .rows = rows,
                               .in = in.at,
                               .out = out,
                               .in_stride = in.stride,
                               .out_stride = columns};
    head->kernels->matmul(&product);
}

/* p of some queries; 0 beyond the tokens. */
static void weights_run(const head_run *head, matrix queries, size_t rows, const weights *keys)
{
    size_t columns = head->token_columns;
    multiply(head, queries, rows, keys, head->p);
    head->kernels->exponentials(rows, head->tokens, columns, head->scale, head->p,
                                head->inverse_sums);
    head->kernels->scale_rows(rows, columns, columns, head->inverse_sums, head->p);
}

/* ---- rows ---- */

/* rows(p x) of a row in whole vectors. Running sums side by side, then those in float64: the loops
 * become vectors without a change of bits. */
static float row_product(size_t columns, const float *restrict p, const float *restrict x)
{
    float sums[FM_KERNEL_COLUMNS] = {0};
    for (size_t c = 0; c < columns; c += FM_KERNEL_COLUMNS) {
        for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
            sums[lane] += p[c + lane] * x[c + lane];
        }
    }
    double sum = 0;
    for (size_t lane = 0; lane < FM_KERNEL_COLUMNS; lane++) {
        sum += (double)sums[lane];
    }
    return (float)sum;
}

/* x = factor p (x - rows(p x)): the derivative of the softmax, which is its own transpose. */
static void softmax_slopes(const head_run *head, size_t rows, float factor, float *restrict x)
{
    size_t columns = head->token_columns;
    const float *restrict p = head->p;
    for (size_t row = 0; row < rows; row++, p += columns, x += columns) {
        float mean = row_product(columns, p, x);
        for (size_t c = 0; c < columns; c += FM_KERNEL_COLUMNS) {
            for (size_t lane = c; lane < c + FM_KERNEL_COLUMNS; lane++) {
                x[lane] = factor * (p[lane] * (x[lane] - mean));
            }
        }
    }
}

/* sums += terms; the count is whole vectors. */
static void add(size_t count, const float *restrict terms, float *restrict sums)
{
    for (size_t i = 0; i < count; i += FM_KERNEL_COLUMNS) {
        for (size_t lane = i; lane < i + FM_KERNEL_COLUMNS; lane++) {
            sums[lane] += terms[lane];
        }
    }
}

static float *output_of(const head_run *head, const fm_image *out, size_t index, size_t token)
{
    return fm_image_at(out, index, token / out->width, token % out->width) + head->output_channel;
}

static size_t block_rows(const head_run *head, size_t from)
{
    return head->tokens - from < BLOCK_ROWS ? head->tokens - from : BLOCK_ROWS;
}

/* ---- forward ---- */

typedef struct jvp_run {
    const fm_attention_tangent *job;
    head_run head;
    weights keys, values, key_tangents, value_tangents;
    float *slopes, *scores; /* [BLOCK_ROWS][token_columns]: s., then p.; q k.^T */
    float *sums, *terms;    /* [BLOCK_ROWS][columns]: p. v; p v. */
} jvp_run;

static jvp_run jvp_carve(carver *from, const fm_attention_shape *shape)
{
    jvp_run it = {.head = head_carve(from, shape)};
    size_t tokens = it.head.tokens, channels = it.head.channels;
    it.keys = weights_carve(from, channels, tokens);
    it.key_tangents = weights_carve(from, channels, tokens);
    it.values = weights_carve(from, tokens, channels);
    it.value_tangents = weights_carve(from, tokens, channels);
    it.slopes = carve(from, BLOCK_ROWS * it.head.token_columns);
    it.scores = carve(from, BLOCK_ROWS * it.head.token_columns);
    it.sums = carve(from, BLOCK_ROWS * it.head.columns);
    it.terms = carve(from, BLOCK_ROWS * it.head.columns);
    return it;
}

size_t fm_attention_jvp_bytes(const fm_attention_shape *shape)
{
    carver counter = {0};
    (void)jvp_carve(&counter, shape);
    return counter.floats * sizeof(float);
}

static void jvp_pack(const jvp_run *it)
{
    const fm_attention_tangent *job = it->job;
    const head_run *head = &it->head;
    pack_transposed(head, part_of(head, &job->in, job->in_index, KEY), &it->keys);
    pack_transposed(head, part_of(head, &job->tangent, job->tangent_index, KEY), &it->key_tangents);
    pack_plain(head, part_of(head, &job->in, job->in_index, VALUE), &it->values);
    pack_plain(head, part_of(head, &job->tangent, job->tangent_index, VALUE), &it->value_tangents);
}

static void jvp_block(const jvp_run *it, size_t from, size_t rows)
{
    const fm_attention_tangent *job = it->job;
    const head_run *head = &it->head;
    size_t columns = head->token_columns;
    matrix queries = rows_from(part_of(head, &job->in, job->in_index, QUERY), from);
    matrix tangents = rows_from(part_of(head, &job->tangent, job->tangent_index, QUERY), from);
    weights_run(head, queries, rows, &it->keys);
    multiply(head, tangents, rows, &it->keys, it->slopes);
    multiply(head, queries, rows, &it->key_tangents, it->scores);
    add(rows * columns, it->scores, it->slopes);
    softmax_slopes(head, rows, head->scale, it->slopes);
    multiply(head, (matrix){it->slopes, columns}, rows, &it->values, it->sums);
    multiply(head, (matrix){head->p, columns}, rows, &it->value_tangents, it->terms);
    add(rows * head->columns, it->terms, it->sums);
    for (size_t row = 0; row < rows; row++) {
        memcpy(output_of(head, &job->out, job->out_index, from + row),
               it->sums + row * head->columns, head->channels * sizeof *it->sums);
    }
}

void fm_attention_jvp(const fm_attention_tangent *job, size_t head, void *scratch)
{
    assert(scratch != NULL);
    carver from = {.memory = scratch};
    jvp_run it = jvp_carve(&from, &job->shape);
    it.job = job;
    head_start(&it.head, &job->shape, head, job->kernels);
    jvp_pack(&it);
    for (size_t first = 0; first < it.head.tokens; first += BLOCK_ROWS) {
        jvp_block(&it, first, block_rows(&it.head, first));
    }
}

/* ---- reverse ---- */

/* The sums of keys and values go over the queries. They are kept transposed, [channels][tokens], because
 * then the blocks of p and s- are right sides of products, which are packed line by line. */
typedef struct vjp_run {
    const fm_attention_cotangent *job;
    head_run head;
    weights keys, values;         /* transposed */
    weights key_rows;             /* plain */
    float *packed;                /* [BLOCK_ROWS][token_columns]: p or s- as a right side */
    float *slopes;                /* [BLOCK_ROWS][token_columns]: p-, then s- */
    float *cotangents;            /* [BLOCK_ROWS][columns]: out- */
    float *query_terms;           /* [BLOCK_ROWS][columns] */
    float *turned;                /* [channels][BLOCK_ROWS]: out- or q, transposed */
    float *terms;                 /* [channels][token_columns]: one block's part of */
    float *key_sums, *value_sums; /* [channels][token_columns] */
} vjp_run;

static vjp_run vjp_carve(carver *from, const fm_attention_shape *shape)
{
    vjp_run it = {.head = head_carve(from, shape)};
    size_t tokens = it.head.tokens, channels = it.head.channels;
    it.keys = weights_carve(from, channels, tokens);
    it.values = weights_carve(from, channels, tokens);
    it.key_rows = weights_carve(from, tokens, channels);
    it.packed = carve(from, BLOCK_ROWS * it.head.token_columns);
    it.slopes = carve(from, BLOCK_ROWS * it.head.token_columns);
    it.cotangents = carve(from, BLOCK_ROWS * it.head.columns);
    it.query_terms = carve(from, BLOCK_ROWS * it.head.columns);
    it.turned = carve(from, channels * BLOCK_ROWS);
    it.terms = carve(from, channels * it.head.token_columns);
    it.key_sums = carve(from, channels * it.head.token_columns);
    it.value_sums = carve(from, channels * it.head.token_columns);
    return it;
}

size_t fm_attention_vjp_bytes(const fm_attention_shape *shape)
{
    carver counter = {0};
    (void)vjp_carve(&counter, shape);
    return counter.floats * sizeof(float);
}

static void vjp_start(const vjp_run *it)
{
    const fm_attention_cotangent *job = it->job;
    const head_run *head = &it->head;
    matrix keys = part_of(head, &job->in, job->in_index, KEY);
    pack_transposed(head, keys, &it->keys);
    pack_plain(head, keys, &it->key_rows);
    pack_transposed(head, part_of(head, &job->in, job->in_index, VALUE), &it->values);
    size_t bytes = head->channels * head->token_columns * sizeof(float);
    memset(it->key_sums, 0, bytes);
    memset(it->value_sums, 0, bytes);
}

/* The block's part of left^T block, added to sums: left [rows][channels], block [rows][token_columns]. */
static void accumulate(const vjp_run *it, matrix left, size_t rows, const float *block, float *sums)
{
    const head_run *head = &it->head;
    const weights right = {rows, head->tokens, it->packed};
    pack_plain(head, (matrix){block, head->token_columns}, &right);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < head->channels; c++) {
            it->turned[c * BLOCK_ROWS + row] = left.at[row * left.stride + c];
        }
    }
    multiply(head, (matrix){it->turned, BLOCK_ROWS}, head->channels, &right, it->terms);
    add(head->channels * head->token_columns, it->terms, sums);
}

static float *gradient_of(const vjp_run *it, size_t part, size_t token)
{
    const fm_image *image = &it->job->gradient;
    return image->data + it->job->gradient_index * image->image_stride +
           token * image->pixel_stride + it->head.first_channel[part];
}

static void query_gradient_add(const vjp_run *it, size_t from, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        const float *terms = it->query_terms + row * it->head.columns;
        float *gradient = gradient_of(it, QUERY, from + row);
        for (size_t c = 0; c < it->head.channels; c++) {
            gradient[c] += terms[c];
        }
    }
}

static void vjp_block(const vjp_run *it, size_t from, size_t rows)
{
    const fm_attention_cotangent *job = it->job;
    const head_run *head = &it->head;
    matrix queries = rows_from(part_of(head, &job->in, job->in_index, QUERY), from);
    matrix cotangents = {it->cotangents, head->columns};
    for (size_t row = 0; row < rows; row++) {
        memcpy(it->cotangents + row * head->columns,
               output_of(head, &job->out, job->out_index, from + row),
               head->channels * sizeof *it->cotangents);
    }
    weights_run(head, queries, rows, &it->keys);
    multiply(head, cotangents, rows, &it->values, it->slopes);
    softmax_slopes(head, rows, head->scale, it->slopes);
    multiply(head, (matrix){it->slopes, head->token_columns}, rows, &it->key_rows, it->query_terms);
    query_gradient_add(it, from, rows);
    accumulate(it, queries, rows, it->slopes, it->key_sums);
    accumulate(it, cotangents, rows, head->p, it->value_sums);
}

/* Turns the sums [channels][tokens] back into tokens. */
static void sums_add(const vjp_run *it, const float *sums, size_t part)
{
    for (size_t token = 0; token < it->head.tokens; token++) {
        float *gradient = gradient_of(it, part, token);
        for (size_t c = 0; c < it->head.channels; c++) {
            gradient[c] += sums[c * it->head.token_columns + token];
        }
    }
}

void fm_attention_vjp(const fm_attention_cotangent *job, size_t head, void *scratch)
{
    assert(scratch != NULL);
    carver from = {.memory = scratch};
    vjp_run it = vjp_carve(&from, &job->shape);
    it.job = job;
    head_start(&it.head, &job->shape, head, job->kernels);
    vjp_start(&it);
    for (size_t first = 0; first < it.head.tokens; first += BLOCK_ROWS) {
        vjp_block(&it, first, block_rows(&it.head, first));
    }
    sums_add(&it, it.key_sums, KEY);
    sums_add(&it, it.value_sums, VALUE);
}
