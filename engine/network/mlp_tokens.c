/* The vector [E_(x_1), …, E_(x_L), w t + b, label] of an MLP of tokens, or with the time and the label first, activated
 * where the network begins with an activation. */
#include "engine/network/mlp_tokens.h"

#include "engine/checkpoint/tensor_floats.h"
#include "engine/memory.h"

#include <stdio.h>

#define TENSOR_NAME_BYTES ((size_t)512)

static fm_status tensor_name(const char *stem, const char *suffix, char *ret, fm_error *err)
{
    int length = snprintf(ret, TENSOR_NAME_BYTES, "%s.%s", stem, suffix);
    return length >= 0 && (size_t)length < TENSOR_NAME_BYTES
               ? FM_OK
               : fm_fail(err, FM_EFORMAT, "tensor name %.64s… is too long", stem);
}

/* How long the tensor is along an axis, where it has that rank; else what is said to be expected. */
static size_t found_size(const fm_weights *weights, const char *name, size_t rank, size_t axis)
{
    const fm_tensor *tensor = fm_weights_peek(weights, name);
    return tensor != NULL && tensor->rank == rank && tensor->shape[axis] > 0 ? tensor->shape[axis]
                                                                             : 1;
}

static fm_status take_table(const fm_model_config *config, fm_weights *weights, fm_mlp_tokens *ret,
                            fm_error *err)
{
    char name[TENSOR_NAME_BYTES];
    fm_status status = tensor_name(config->mlp.token_embedding, "weight", name, err);
    if (status != FM_OK) {
        return status;
    }
    const size_t shape[] = {config->vocabulary_size, found_size(weights, name, 2, 1)};
    status = fm_weights_take(weights, name, 2, shape, &ret->table, err);
    if (status == FM_OK && !fm_multiply(config->dimension, shape[1], &ret->columns)) {
        status =
            fm_fail(err, FM_ETOOBIG, "the embeddings of %zu tokens overflow", config->dimension);
    }
    return status == FM_OK
               ? FM_OK
               : fm_fail_prefix(err, status, "/network/token_embedding, of /network/vocab_size%s",
                                config->masked ? " and a mask" : "");
}

static fm_status take_time(const fm_model_config *config, fm_weights *weights, fm_mlp_tokens *ret,
                           size_t *ret_columns, fm_error *err)
{
    char weight[TENSOR_NAME_BYTES], bias[TENSOR_NAME_BYTES];
    *ret_columns = 1;
    if (config->mlp.time_embedding == NULL) {
        return FM_OK;
    }
    fm_status status = tensor_name(config->mlp.time_embedding, "weight", weight, err);
    if (status == FM_OK) {
        status = tensor_name(config->mlp.time_embedding, "bias", bias, err);
    }
    if (status != FM_OK) {
        return status;
    }
    size_t n = found_size(weights, weight, 2, 0);
    *ret_columns = n;
    status = fm_weights_take(weights, weight, 2, (size_t[]){n, 1}, &ret->time_weight, err);
    if (fm_weights_peek(weights, bias) != NULL) {
        fm_status second =
            fm_weights_take(weights, bias, 1, &n, &ret->time_bias, status == FM_OK ? err : NULL);
        status = status == FM_OK ? second : status;
    }
    return status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "/network/time_embedding");
}

fm_status fm_mlp_tokens_take(const fm_model_config *config, fm_weights *weights, fm_mlp_tokens *ret,
                             fm_error *err)
{
    size_t n_time = 0;
    *ret = (fm_mlp_tokens){0};
    fm_status status = take_table(config, weights, ret, err);
    fm_status second = take_time(config, weights, ret, &n_time, status == FM_OK ? err : NULL);
    ret->columns += n_time + (config->mlp.label == FM_MLP_LABEL_CONCAT ? 1 : 0);
    return status == FM_OK ? second : status;
}

fm_status fm_mlp_tokens_plan(const fm_mlp_tokens *tokens, const fm_model_config *config,
                             fm_plan *plan, fm_plan_value *ret, fm_error *err)
{
    const fm_mlp_config *mlp = &config->mlp;
    fm_tensor_floats table = {0}, weight = {0}, bias = {0};
    fm_status status = fm_tensor_floats_init(tokens->table, &table, err);
    if (status == FM_OK && tokens->time_weight != NULL) {
        status = fm_tensor_floats_init(tokens->time_weight, &weight, err);
    }
    if (status == FM_OK && tokens->time_bias != NULL) {
        status = fm_tensor_floats_init(tokens->time_bias, &bias, err);
    }
    if (status == FM_OK) {
        const fm_plan_token_vector_spec spec = {
            .tokens = {.length = config->dimension,
                       .count = tokens->table->shape[0],
                       .size = tokens->table->shape[1],
                       .table = table.values},
            .time_first = mlp->time_first,
            .has_label = mlp->label == FM_MLP_LABEL_CONCAT,
            .n_time = tokens->time_weight != NULL ? tokens->time_weight->shape[0] : 1,
            .time_weight = weight.values,
            .time_bias = bias.values,
            .activation = mlp->activation_first ? mlp->activation : FM_ACTIVATION_NONE};
        status = fm_plan_token_vector(plan, &spec, ret, err);
    }
    fm_tensor_floats_done(&bias);
    fm_tensor_floats_done(&weight);
    fm_tensor_floats_done(&table);
    return status;
}
