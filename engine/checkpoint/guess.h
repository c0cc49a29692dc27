/* config.json for a bare checkpoint: the architecture by the names of its tensors, its keys by their shapes,
 * and what neither tells as the training library's default, on record as assumed.
 *
 * It writes keys of the model directory's contract, also for architectures that this build does not have. */
#ifndef FM_GUESS_H
#define FM_GUESS_H

#include "engine/checkpoint/safetensors_write.h"

#include <jansson.h>

typedef struct fm_guess {
    /* [count] in name order; prefixes that all names share are cut off them. */
    fm_safetensors_row *rows;
    size_t count;
    json_t *config;  /* the whole of config.json, released with json_decref() */
    json_t *assumed; /* strings: "network.num_heads 4: …" */
} fm_guess;

/*   rows          [count] in name order; borrowed, their names are changed
 *   architecture  NULL: by the names
 * Errors: FM_EINVAL there is no such architecture to guess; FM_EFORMAT the names fit none, or a tensor that it
 *         has is missing; FM_ENOMEM. ret is left alone then. */
FM_MUST_USE fm_status fm_guess_config(fm_safetensors_row *rows, size_t count,
                                      const char *architecture, const char *source_name,
                                      fm_guess *ret, fm_error *err);

#endif
