/* Building and running plans of listed ops. The naive loops are in plan_case_naive.c. */
#include "tests/support/plan_case.h"

#include "engine/memory.h"
#include "engine/network/op.h"
#include "engine/network/plan_frames.h"
#include "tests/support/image_case.h"
#include "tests/support/plan_case_naive.h"
#include "tests/support/plan_case_naive_frames.h"

#include <check.h>
#include <pthread.h>
#include <string.h>

#define GUARD_BYTES ((size_t)64)

/* ---- building ---- */

/* A node's values are numbered as the nodes are, for each but the last makes one. */
typedef struct builder {
    const plan_graph *graph;
    const plan_node *node;
    size_t index;
    fm_plan *plan;
    fm_plan_value ret;
    fm_error *err;
} builder;

static const fm_plan_value *optional(const size_t *input)
{
    return *input != 0 ? input : NULL;
}

static fm_status build_input(builder *it)
{
    const plan_graph *graph = it->graph;
    double frequencies[8];
    for (size_t i = 0; i < it->node->count; i++) {
        frequencies[i] = plan_naive_frequency(i);
    }
    const fm_plan_image_spec image = {graph->channels, graph->height, graph->width, it->node->count,
                                      frequencies};
    const fm_plan_patches_spec patches = {graph->channels, graph->height, graph->width,
                                          it->node->count};
    return it->node->kind == NODE_IMAGE ? fm_plan_image(it->plan, &image, &it->ret, it->err)
                                        : fm_plan_patches(it->plan, &patches, &it->ret, it->err);
}

static fm_status build_conv(builder *it, const float *weight, const float *bias)
{
    const plan_node *node = it->node;
    const fm_plan_conv_spec spec = {.outputs = node->size,
                                    .kernel = node->count,
                                    .stride = node->stride,
                                    .weight = weight,
                                    .bias = node->flag ? NULL : bias,
                                    .activation = node->activation,
                                    .row_bias = optional(&node->row_bias),
                                    .gate = optional(&node->gate),
                                    .gate_column = node->column,
                                    .residual = optional(&node->residual)};
    return fm_plan_conv(it->plan, node->from, &spec, &it->ret, it->err);
}

static fm_status build_linear(builder *it, const float *weight, const float *bias)
{
    const fm_dense_spec spec = {.inputs = fm_plan_shape_of(it->plan, it->node->from).channels,
                                .outputs = it->node->size,
                                .weight = weight,
                                .bias = it->node->flag ? NULL : bias,
                                .activation = it->node->activation};
    return fm_plan_linear(it->plan, it->node->from, &spec, &it->ret, it->err);
}

static fm_status build_norm(builder *it, const float *weight, const float *bias)
{
    const plan_node *node = it->node;
    size_t channels = fm_plan_shape_of(it->plan, node->from).channels;
    const fm_plan_modulation modulation = {node->with, node->column, node->column + channels};
    const fm_plan_group_norm_spec group = {.groups = node->count,
                                           .epsilon = PLAN_NAIVE_EPSILON,
                                           .weight = weight,
                                           .bias = bias,
                                           .modulation = node->with != 0 ? &modulation : NULL,
                                           .activation = node->activation};
    const fm_plan_layer_norm_spec layer = {.rms = node->flag,
                                           .epsilon = PLAN_NAIVE_EPSILON,
                                           .weight = node->count != 0 ? weight : NULL,
                                           .bias = node->count != 0 ? bias : NULL,
                                           .modulation = group.modulation};
    return node->kind == NODE_GROUP_NORM
               ? fm_plan_group_norm(it->plan, node->from, &group, &it->ret, it->err)
               : fm_plan_layer_norm(it->plan, node->from, &layer, &it->ret, it->err);
}

static fm_status build_rotary(builder *it)
{
    const plan_node *node = it->node;
    float frequencies[8];
    for (size_t i = 0; i < 8; i++) {
        frequencies[i] = (float)plan_naive_frequency(i);
    }
    const fm_plan_rotary_spec spec = {.heads = node->count,
                                      .head_channels = node->size,
                                      .heads_first = node->flag,
                                      .frequencies = node->stride == 1 ? frequencies : NULL};
    return fm_plan_rotary(it->plan, node->from, &spec, &it->ret, it->err);
}

static fm_status build_output(builder *it)
{
    const plan_node *node = it->node;
    if (node->kind == NODE_OUTPUT) {
        return fm_plan_output(it->plan, node->from, it->err);
    }
    const fm_plan_patches_output_spec spec = {node->count, node->stride, node->size};
    return node->kind == NODE_IMAGE_OUTPUT
               ? fm_plan_image_output(it->plan, node->from, node->size, it->err)
               : fm_plan_patches_output(it->plan, node->from, &spec, it->err);
}

static fm_status build_of_frames(builder *it, const float *weight)
{
    const plan_node *node = it->node;
    const fm_plan_shape table = {node->stride, node->count, node->size};
    const fm_plan_relative_frames_spec relative = {node->count, PLAN_NAIVE_BUMP_WIDTH};
    const fm_plan_pair_attention_spec attention = {node->count, node->from, node->with,
                                                   node->residual};
    switch ((int)node->kind) {
    case NODE_TABLE:
        return fm_plan_table(it->plan, &table, weight, &it->ret, it->err);
    case NODE_RELATIVE_FRAMES:
        return fm_plan_relative_frames(it->plan, node->from, &relative, &it->ret, it->err);
    case NODE_PAIR_ATTENTION:
        return fm_plan_pair_attention(it->plan, &attention, &it->ret, it->err);
    default:
        return fm_plan_frames_output(it->plan, node->from, node->with, it->err);
    }
}

static fm_status build_node(builder *it, const float *weight, const float *bias)
{
    const plan_node *node = it->node;
    const fm_plan_attention_spec attention = {node->count, node->size, node->flag};
    switch (node->kind) {
    case NODE_IMAGE:
    case NODE_PATCHES:
        return build_input(it);
    case NODE_TIME:
        return fm_plan_time(it->plan, node->size, PLAN_NAIVE_PERIOD, &it->ret, it->err);
    case NODE_LABEL:
        return fm_plan_label(it->plan, weight, node->count, node->size, &it->ret, it->err);
    case NODE_LINEAR:
        return build_linear(it, weight, bias);
    case NODE_SUM:
        return fm_plan_sum(it->plan, node->from, optional(&node->with), node->activation, &it->ret,
                           it->err);
    case NODE_POSITIONS:
        return fm_plan_positions(it->plan, node->from, weight, &it->ret, it->err);
    case NODE_CONCAT:
        return fm_plan_concat(it->plan, node->from, node->with, &it->ret, it->err);
    case NODE_UPSAMPLE:
        return fm_plan_upsample(it->plan, node->from, &it->ret, it->err);
    case NODE_POOL:
        return fm_plan_pool(it->plan, node->from, &it->ret, it->err);
    case NODE_CONV:
        return build_conv(it, weight, bias);
    case NODE_GROUP_NORM:
    case NODE_LAYER_NORM:
        return build_norm(it, weight, bias);
    case NODE_ATTENTION:
        return fm_plan_attention(it->plan, node->from, &attention, &it->ret, it->err);
    case NODE_TABLE:
    case NODE_RELATIVE_FRAMES:
    case NODE_PAIR_ATTENTION:
    case NODE_FRAMES_OUTPUT:
        return build_of_frames(it, weight);
    case NODE_ROTARY:
        return build_rotary(it);
    case NODE_OUTPUT:
    case NODE_IMAGE_OUTPUT:
    case NODE_PATCHES_OUTPUT:
    case NODE_END:
        break;
    }
    return build_output(it);
}

static fm_status build(const plan_graph *graph, size_t max_rows, bool reversible, fm_plan **ret,
                       fm_error *err)
{
    fm_plan *plan = NULL;
    fm_status status = fm_plan_new(max_rows, FM_COMPUTE_FLOAT32, &plan, err);
    if (status == FM_OK && reversible) {
        fm_plan_make_reversible(plan);
    }
    for (size_t i = 0; status == FM_OK && graph->nodes[i].kind != NODE_END; i++) {
        builder it = {
            .graph = graph, .node = &graph->nodes[i], .index = i, .plan = plan, .err = err};
        float *weight = plan_naive_weight(graph, i), *bias = plan_naive_bias(graph, i);
        status = build_node(&it, weight, bias);
        plan_naive_release(weight);
        plan_naive_release(bias);
    }
    if (status != FM_OK) {
        fm_plan_free(plan);
        return status;
    }
    *ret = plan;
    return FM_OK;
}

fm_status plan_case_build(const plan_graph *graph, size_t max_rows, fm_plan **ret, fm_error *err)
{
    return build(graph, max_rows, false, ret, err);
}

/* ---- running ---- */

static void open_with(plan_case *ret, const plan_graph *graph, bool naive, bool reversible)
{
    fm_error err = {0};
    *ret = (plan_case){.graph = graph};
    ck_assert_msg(build(graph, PLAN_CASE_MAX_ROWS, reversible, &ret->plan, &err) == FM_OK, "%s",
                  err.text);
    ck_assert_int_eq(fm_plan_finish(ret->plan, &err), FM_OK);
    ret->dimension = ret->plan->dimension;
    ret->out_dimension = ret->plan->out_dimension;
    ret->x = fm_alloc_array(PLAN_CASE_MAX_ROWS * ret->dimension, sizeof *ret->x);
    ret->out = fm_alloc_array(PLAN_CASE_MAX_ROWS * ret->out_dimension, sizeof *ret->out);
    ret->want = fm_alloc_array(PLAN_CASE_MAX_ROWS * ret->out_dimension, sizeof *ret->want);
    ret->scratch = fm_alloc(fm_plan_scratch_bytes(ret->plan) + GUARD_BYTES);
    ck_assert(ret->x != NULL && ret->out != NULL && ret->want != NULL && ret->scratch != NULL);
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS * ret->dimension; i++) {
        ret->x[i] = 2 * (double)image_case_noise(61, i);
    }
    for (size_t i = 0; i < PLAN_CASE_MAX_ROWS; i++) {
        ret->rows[i] = (fm_tile_row){.x = ret->x + i * ret->dimension,
                                     .t = (double)(i + 1) / 7.3,
                                     .label = (int32_t)(i * 2 % 5),
                                     .out = ret->out + i * ret->out_dimension};
        if (naive) {
            plan_naive_run(graph, &ret->rows[i], ret->want + i * ret->out_dimension);
        }
    }
}

void plan_case_open(plan_case *ret, const plan_graph *graph, bool naive)
{
    open_with(ret, graph, naive, false);
}

void plan_case_open_reversible(plan_case *ret, const plan_graph *graph)
{
    open_with(ret, graph, false, true);
}

void plan_case_close(plan_case *it)
{
    fm_plan_free(it->plan);
    fm_free(it->x);
    fm_free(it->out);
    fm_free(it->want);
    fm_free(it->scratch);
}

static void poison(const plan_case *it, size_t offset, size_t bytes)
{
    ck_assert_uint_le(offset + bytes, fm_plan_scratch_bytes(it->plan));
    memset(it->scratch + offset, 0xff, bytes);
}

static fm_status run_poisoned(const plan_case *it, const fm_tile_row *rows, size_t n_rows)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < it->plan->n_ops && status == FM_OK; i++) {
        fm_plan alone = *it->plan;
        const fm_op *op = &it->plan->ops[i];
        const fm_value *out = &alone.values[op->output];
        size_t pixels = (out->height + 2 * out->border) * (out->width + 2 * out->border);
        if (op->has_output) {
            poison(it, out->offset, out->rows * pixels * out->stride * sizeof(float));
        }
        poison(it, op->scratch_offset, op->scratch_bytes);
        poison(it, op->piece_offset, op->piece_bytes);
        alone.ops += i;
        alone.n_ops = 1;
        status = fm_plan_run(&alone, rows, n_rows, it->scratch, NULL);
    }
    return status;
}

static void tile_run(plan_case *it, const size_t *order, size_t n_rows, fm_team *team,
                     bool poisoned)
{
    fm_tile_row rows[PLAN_CASE_MAX_ROWS];
    unsigned char guard[GUARD_BYTES];
    size_t bytes = fm_plan_scratch_bytes(it->plan);
    memset(guard, 0xff, sizeof guard);
    memset(it->scratch, 0xff, bytes + sizeof guard);
    memset(it->out, 0xff, PLAN_CASE_MAX_ROWS * it->out_dimension * sizeof *it->out);
    for (size_t i = 0; i < n_rows; i++) {
        rows[i] = it->rows[order[i]];
    }
    ck_assert_int_eq(poisoned ? run_poisoned(it, rows, n_rows)
                              : fm_plan_run(it->plan, rows, n_rows, it->scratch, team),
                     FM_OK);
    ck_assert_mem_eq(it->scratch + bytes, guard, sizeof guard);
}

void plan_case_run(plan_case *it, const size_t *order, size_t n_rows, fm_team *team)
{
    tile_run(it, order, n_rows, team, false);
}

void plan_case_run_poisoned(plan_case *it, const size_t *order, size_t n_rows)
{
    tile_run(it, order, n_rows, NULL, true);
}

/* ---- teams ---- */

static fm_status reversed_run(fm_team *team, size_t n_pieces, fm_piece_run run, void *context)
{
    reversed_team *it = (reversed_team *)team;
    fm_status status = FM_OK;
    it->n_runs++;
    for (size_t i = 1; i < team->n_members; i++) {
        memset(it->memories[i], 0xff, it->bytes);
    }
    for (size_t piece = n_pieces; piece-- > 0 && status == FM_OK;) {
        status = run(context, piece, it->memories[piece % team->n_members]);
    }
    return status;
}

void reversed_team_open(reversed_team *ret, const plan_case *it, size_t n_members)
{
    *ret = (reversed_team){.team = {.n_members = n_members, .run = reversed_run},
                           .bytes = fm_plan_scratch_bytes(it->plan)};
    ret->memories[0] = it->scratch;
    for (size_t i = 1; i < n_members; i++) {
        ret->memories[i] = fm_alloc(ret->bytes);
        ck_assert_ptr_nonnull(ret->memories[i]);
    }
}

void reversed_team_close(reversed_team *it)
{
    for (size_t i = 1; i < it->team.n_members; i++) {
        fm_free(it->memories[i]);
    }
}

static void *member_run(void *argument)
{
    threaded_team *it = argument;
    unsigned char *memory = it->members.memories[atomic_fetch_add(&it->next_member, 1)];
    size_t piece = 0;
    while ((piece = atomic_fetch_add(&it->next, 1)) < it->n_pieces) {
        fm_status status = it->run(it->context, piece, memory);
        if (status != FM_OK) {
            atomic_store(&it->status, (int)status);
        }
    }
    return NULL;
}

static fm_status threaded_run(fm_team *team, size_t n_pieces, fm_piece_run run, void *context)
{
    threaded_team *it = (threaded_team *)team;
    pthread_t threads[8];
    it->run = run;
    it->context = context;
    it->n_pieces = n_pieces;
    atomic_store(&it->next, 0);
    atomic_store(&it->next_member, 0);
    for (size_t i = 1; i < team->n_members; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, member_run, it), 0);
    }
    (void)member_run(it);
    for (size_t i = 1; i < team->n_members; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    return (fm_status)atomic_load(&it->status);
}

void threaded_team_open(threaded_team *ret, const plan_case *it, size_t n_members)
{
    *ret = (threaded_team){.status = FM_OK};
    reversed_team_open(&ret->members, it, n_members);
    ret->members.team.run = threaded_run;
}

void threaded_team_close(threaded_team *it)
{
    reversed_team_close(&it->members);
}
