/* Memory planning: pieces that are never alive together may share an address. */
#ifndef FM_LIFETIME_H
#define FM_LIFETIME_H

#include "engine/annotate.h"

#include <stdbool.h>
#include <stddef.h>

/* A piece of memory needed at the moments first … last, both included. */
typedef struct fm_lifetime {
    size_t size_bytes, first, last;
    size_t offset; /* out: aligned to FM_ALIGNMENT */
    bool placed;   /* out */
} fm_lifetime;

/* Places every piece, the largest first, each at the lowest address that is free all its life.
 * Returns false when the total would overflow. */
FM_MUST_USE bool fm_lifetimes_place(fm_lifetime *pieces, size_t n_pieces, size_t *ret_total_bytes);

#endif
