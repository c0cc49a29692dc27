/* Networks of tokens: text_dit, and what an mlp of tokens has beside its layers. */
#include "engine/checkpoint/guess_private.h"

#include <string.h>

#define GPT2_TOKENS    ((size_t)50257)
#define ASSUMED_HEAD   ((size_t)64)
#define ASSUMED_LENGTH ((size_t)1024)

/* The tables' rows are those of the vocabulary, and one more where there is a mask: only GPT-2's says which. */
void fm_guess_put_tokens(fm_guesser *guesser, size_t rows)
{
    bool masked = rows != GPT2_TOKENS && rows > 2;
    guesser->is_of_tokens = true;
    fm_guess_put_size(guesser, guesser->network, "vocab_size", masked ? rows - 1 : rows);
    fm_guess_put(guesser, guesser->network, "masked", json_boolean(masked));
    fm_guess_put(guesser, guesser->flow, "space", json_string("tokens"));
    fm_guess_put(guesser, guesser->flow, "source",
                 json_pack("{s:s}", "type", masked ? "mask" : "uniform_tokens"));
    fm_guess_assume(guesser,
                    "network.vocab_size %zu, network.masked %s, flow.source %s: the table has %zu "
                    "rows, and which of them is the mask is not in the file",
                    masked ? rows - 1 : rows, masked ? "true" : "false",
                    masked ? "mask" : "uniform_tokens", rows);
}

/* ---- text_dit ---- */

static void put_heads(fm_guesser *guesser, size_t hidden)
{
    const fm_tensor *turns = fm_guess_find(guesser, "rotary_emb.inv_freq");
    bool known =
        turns != NULL && turns->rank == 1 && turns->count > 0 && hidden % (2 * turns->count) == 0;
    size_t head = known ? 2 * turns->count : hidden % ASSUMED_HEAD == 0 ? ASSUMED_HEAD : hidden;
    fm_guess_put_size(guesser, guesser->network, "n_heads", hidden / head);
    if (!known) {
        fm_guess_assume(guesser, "network.n_heads %zu: heads of %zu channels", hidden / head, head);
    }
}

fm_status fm_guess_text_dit(fm_guesser *guesser, fm_error *err)
{
    const fm_tensor *table = NULL, *time = NULL;
    fm_status status = fm_guess_need(guesser, "vocab_embed.weight", 2, &table, err);
    if (status == FM_OK) {
        status = fm_guess_need(guesser, "time_embedding.mlp.0.weight", 2, &time, err);
    }
    if (status != FM_OK) {
        return status;
    }
    json_t *network = guesser->network;
    fm_guess_put_tokens(guesser, table->shape[0]);
    fm_guess_put_size(guesser, network, "hidden_size", table->shape[1]);
    fm_guess_put_size(guesser, network, "cond_dim", time->shape[0]);
    fm_guess_put_size(guesser, network, "length", ASSUMED_LENGTH);
    fm_guess_put_size(guesser, network, "n_blocks", fm_guess_count(guesser, "blocks"));
    put_heads(guesser, table->shape[1]);
    const size_t length = ASSUMED_LENGTH;
    fm_guess_put_shape(guesser, 1, &length);
    fm_guess_assume(guesser, "network.length %zu, flow.shape [%zu]: as in the library's example",
                    length, length);
    fm_guess_put(guesser, guesser->output, "kind", json_string("tokens"));
    return FM_OK;
}

/* ---- mlp ---- */

const char *fm_guess_token_embedding(const fm_guesser *guesser)
{
    static const char *const stems[] = {"token_embedding", "embed"};
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        const fm_tensor *table = fm_guess_find(guesser, "%s.weight", stems[i]);
        if (table != NULL && table->rank == 2 && table->count > 0) {
            return stems[i];
        }
    }
    return NULL;
}

const char *fm_guess_time_embedding(const fm_guesser *guesser)
{
    const fm_tensor *time = fm_guess_find(guesser, "time_embedding.weight");
    bool is_linear = time != NULL && time->rank == 2 && time->shape[0] > 0 && time->shape[1] == 1;
    return is_linear && fm_guess_token_embedding(guesser) != NULL ? "time_embedding" : NULL;
}

fm_status fm_guess_mlp_tokens(fm_guesser *guesser, size_t inputs, size_t outputs, fm_error *err)
{
    const char *stem = fm_guess_token_embedding(guesser);
    const char *time = fm_guess_time_embedding(guesser);
    const fm_tensor *table = fm_guess_find(guesser, "%s.weight", stem);
    size_t rows = table->shape[0], length = outputs / rows;
    size_t n_time = time == NULL ? 1 : fm_guess_find(guesser, "%s.weight", time)->shape[0];
    if (length == 0 || length * rows != outputs || inputs != length * table->shape[1] + n_time) {
        return fm_fail(err, FM_EFORMAT,
                       "the first layer takes %zu numbers and the last gives %zu: that is not "
                       "of tokens with rows of %zu numbers out of %zu, and a time of %zu",
                       inputs, outputs, table->shape[1], rows, n_time);
    }
    json_t *network = guesser->network;
    fm_guess_put(guesser, network, "token_embedding", json_string(stem));
    fm_guess_put_tokens(guesser, rows);
    if (time != NULL) {
        fm_guess_put(guesser, network, "time_embedding", json_string(time));
    }
    bool first = strcmp(stem, "token_embedding") == 0;
    fm_guess_put(guesser, network, "activation_first", json_boolean(first));
    fm_guess_assume(guesser, "network.activation_first %s: as the library's example",
                    first ? "true" : "false");
    fm_guess_put_shape(guesser, 1, &length);
    return FM_OK;
}
