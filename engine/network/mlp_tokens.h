/* What enters an MLP of tokens: rows of a table, and the time, alone or through a Linear. mlp.c alone uses it. */
#ifndef FM_MLP_TOKENS_H
#define FM_MLP_TOKENS_H

#include "engine/network/network.h"
#include "engine/network/plan.h"

typedef struct fm_mlp_tokens {
    const fm_tensor *table;                   /* [vocabulary][size] */
    const fm_tensor *time_weight, *time_bias; /* [n][1] and [n], or NULL: t itself enters */
    size_t columns;                           /* of the vector that the first layer is given */
} fm_mlp_tokens;

/* Takes the tensors that the configuration names, all of them past a failure too.
 * Errors: FM_EFORMAT, FM_ETOOBIG, FM_ENOMEM. */
FM_MUST_USE fm_status fm_mlp_tokens_take(const fm_model_config *config, fm_weights *weights,
                                         fm_mlp_tokens *ret, fm_error *err);
/* Errors: as fm_tensor_floats_init() and fm_plan_token_vector(). */
FM_MUST_USE fm_status fm_mlp_tokens_plan(const fm_mlp_tokens *tokens, const fm_model_config *config,
                                         fm_plan *plan, fm_plan_value *ret, fm_error *err);

#endif
