/* What the guesses of single architectures share. */
#ifndef FM_GUESS_PRIVATE_H
#define FM_GUESS_PRIVATE_H

#include "engine/checkpoint/guess.h"

/* A guess in the making. jansson's failures are collected: whoever puts and assumes need not look. */
typedef struct fm_guesser {
    fm_safetensors_row *rows; /* [count] in name order */
    size_t count;
    json_t *network, *flow, *conditioning, *output, *assumed;
    bool is_of_tokens; /* the flow is */
    bool out_of_memory;
} fm_guesser;

typedef fm_status (*fm_guess_fill)(fm_guesser *guesser, fm_error *err);
FM_MUST_USE fm_status fm_guess_mlp(fm_guesser *guesser, fm_error *err);
FM_MUST_USE fm_status fm_guess_text_dit(fm_guesser *guesser, fm_error *err);
FM_MUST_USE fm_status fm_guess_sit(fm_guesser *guesser, fm_error *err);
FM_MUST_USE fm_status fm_guess_torchcfm_unet(fm_guesser *guesser, fm_error *err);
FM_MUST_USE fm_status fm_guess_meta_unet(fm_guesser *guesser, fm_error *err);

/* Of an mlp: the stem of its table of tokens, or NULL; and of the Linear that its time goes through. */
const char *fm_guess_token_embedding(const fm_guesser *guesser);
const char *fm_guess_time_embedding(const fm_guesser *guesser);
/* Their keys, of a first and a last layer of so many inputs and outputs. Errors: FM_EFORMAT. */
FM_MUST_USE fm_status fm_guess_mlp_tokens(fm_guesser *guesser, size_t inputs, size_t outputs,
                                          fm_error *err);

/* By printf() name; NULL when there is none. */
const fm_tensor *fm_guess_find(const fm_guesser *guesser, const char *format, ...) FM_PRINTF(2, 3);
/* The same of a tensor that must be there, with so many dimensions.
 * Errors: FM_EFORMAT. */
FM_MUST_USE fm_status fm_guess_need(const fm_guesser *guesser, const char *name, size_t rank,
                                    const fm_tensor **ret, fm_error *err);
/* Whether a name begins so. */
bool fm_guess_has(const fm_guesser *guesser, const char *prefix);
/* One more than the largest i of "<stem>.<i>.…"; 0 when there is none. */
size_t fm_guess_count(const fm_guesser *guesser, const char *stem);

/* Takes the value, which may be NULL when jansson is out of memory. */
void fm_guess_put(fm_guesser *guesser, json_t *to, const char *key, json_t *value);
void fm_guess_put_size(fm_guesser *guesser, json_t *to, const char *key, size_t value);
/* flow.shape; sizes [rank] */
void fm_guess_put_shape(fm_guesser *guesser, size_t rank, const size_t *sizes);
/* conditioning.labels; null: the index of the null class, or count for none */
void fm_guess_put_labels(fm_guesser *guesser, size_t count, bool has_null);
/* vocab_size, masked and what the flow of tokens has, of a table of so many rows. */
void fm_guess_put_tokens(fm_guesser *guesser, size_t rows);
void fm_guess_assume(fm_guesser *guesser, const char *format, ...) FM_PRINTF(2, 3);

#endif
