/* Greedy placement by size: near the optimum for chains and the long skips of image networks, and
 * plain enough to be checked by eye in a printed plan. */
#include "engine/network/lifetime.h"

#include "engine/memory.h"

#include <assert.h>

static size_t end_of(const fm_lifetime *piece)
{
    return piece->offset + fm_arena_round(piece->size_bytes);
}

static bool alive_together(const fm_lifetime *a, const fm_lifetime *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The first placed piece that piece would collide with at its present offset, or NULL. */
static const fm_lifetime *collision(const fm_lifetime *pieces, size_t n_pieces,
                                    const fm_lifetime *piece)
{
    for (size_t i = 0; i < n_pieces; i++) {
        const fm_lifetime *other = &pieces[i];
        if (other->placed && alive_together(other, piece) && other->offset < end_of(piece) &&
            piece->offset < end_of(other)) {
            return other;
        }
    }
    return NULL;
}

static fm_lifetime *largest_unplaced(fm_lifetime *pieces, size_t n_pieces)
{
    fm_lifetime *largest = NULL;
    for (size_t i = 0; i < n_pieces; i++) {
        if (!pieces[i].placed && (largest == NULL || pieces[i].size_bytes > largest->size_bytes)) {
            largest = &pieces[i];
        }
    }
    return largest;
}

/* Whether all pieces side by side stay below SIZE_MAX, so that no sum of offsets can overflow. */
static bool sizes_fit(const fm_lifetime *pieces, size_t n_pieces)
{
    size_t sum = 0;
    for (size_t i = 0; i < n_pieces; i++) {
        if (pieces[i].size_bytes > SIZE_MAX - FM_ALIGNMENT ||
            __builtin_add_overflow(sum, fm_arena_round(pieces[i].size_bytes), &sum)) {
            return false;
        }
    }
    return true;
}

bool fm_lifetimes_place(fm_lifetime *pieces, size_t n_pieces, size_t *ret_total_bytes)
{
    if (!sizes_fit(pieces, n_pieces)) {
        return false;
    }
    for (size_t i = 0; i < n_pieces; i++) {
        assert(pieces[i].first <= pieces[i].last);
        pieces[i].placed = false;
    }
    size_t total_bytes = 0;
    fm_lifetime *piece;
    while ((piece = largest_unplaced(pieces, n_pieces)) != NULL) {
        piece->offset = 0;
        const fm_lifetime *other;
        while ((other = collision(pieces, n_pieces, piece)) != NULL) {
            piece->offset = end_of(other);
        }
        piece->placed = true;
        total_bytes = end_of(piece) > total_bytes ? end_of(piece) : total_bytes;
    }
    *ret_total_bytes = total_bytes;
    return true;
}
