/* All engine memory: one allocator, replaceable by tests, and arenas for what lives together.
 *
 * fm_memory_set_hook() is the engine's only mutable global; a test sets it before any other call and
 * resets it after the last, so no lock guards it. */
#ifndef FM_MEMORY_H
#define FM_MEMORY_H

#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_ALIGNMENT ((size_t)64) /* one cache line, one AVX-512 register */

/* Zeroed memory, aligned to FM_ALIGNMENT, or NULL. Freed with fm_free(), which takes NULL.
 * Thread: any. */
FM_MUST_USE void *fm_alloc(size_t size_bytes);
/* As fm_alloc() for count elements; NULL too when the product overflows. */
FM_MUST_USE void *fm_alloc_array(size_t count, size_t size_bytes);
/* Copy of old_bytes, grown to new_bytes (the rest zero); old is freed, on failure it is kept. */
FM_MUST_USE void *fm_grow(void *old, size_t old_bytes, size_t new_bytes);
FM_MUST_USE char *fm_string_copy(const char *text);
void fm_free(void *memory);

/* *ret = a * b; false when that overflows. */
FM_MUST_USE bool fm_multiply(size_t a, size_t b, size_t *ret);

/* Asked before every allocation when set: false makes that allocation fail. */
typedef bool (*fm_memory_hook)(void *context, size_t size_bytes);
void fm_memory_set_hook(fm_memory_hook hook, void *context);

/* A block of one size, mapped once (huge pages advised when large), handed out in aligned pieces and
 * freed as a whole. A plain value: _init on caller storage, _done takes a zeroed one. */
typedef struct fm_arena {
    unsigned char *base;
    size_t size_bytes, used_bytes;
} fm_arena;

FM_MUST_USE fm_status fm_arena_init(fm_arena *arena, size_t size_bytes, fm_error *err);
/* The next aligned piece; asserts that it fits, for the owner has computed the size beforehand. */
void *fm_arena_take(fm_arena *arena, size_t size_bytes);
void fm_arena_done(fm_arena *arena);
/* size_bytes rounded up to what fm_arena_take() uses of an arena. */
size_t fm_arena_round(size_t size_bytes);

/* Memory that grows, handed out in zeroed aligned pieces and freed as a whole: for what is made once and
 * lives together, as packed weights do. Large pools lie in huge pages, which are there sooner than so
 * many small ones, and are found faster. A plain value: a zeroed one is empty. */
typedef struct fm_pool {
    struct fm_pool_chunk *last;
    size_t expected_bytes; /* in all; 0: nobody said */
    size_t size_bytes; /* of all chunks; what was never taken costs no memory, huge pages aside */
} fm_pool;

/* The next piece, or NULL without memory. Thread: one at a time. */
FM_MUST_USE void *fm_pool_take(fm_pool *pool, size_t size_bytes);
/* From the pool, or, where that is NULL, fm_alloc()'s. */
FM_MUST_USE void *fm_pool_take_or_alloc(fm_pool *pool, size_t size_bytes);
/* Says beforehand how much will be taken, so that a small pool takes no huge page. It may be wrong. */
void fm_pool_expect(fm_pool *pool, size_t size_bytes);
void fm_pool_done(fm_pool *pool);

#endif
