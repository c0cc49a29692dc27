/* The allocator and the arenas. */
#include "engine/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

static fm_memory_hook memory_hook;
static void *memory_hook_context;

void fm_memory_set_hook(fm_memory_hook hook, void *context)
{
    memory_hook = hook;
    memory_hook_context = context;
}

static bool allowed(size_t size_bytes)
{
    return memory_hook == NULL || memory_hook(memory_hook_context, size_bytes);
}

/* Aligned by hand, with the block's own address in front of what is handed out: aligned_alloc() of
 * glibc before 2.38 does not find its freed blocks again (its bug 14581), which spreads the heap. */
void *fm_alloc(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - 2 * FM_ALIGNMENT || !allowed(size_bytes)) {
        return NULL;
    }
    /* malloc() aligns to two pointers at least, so there is room for one in front. */
    unsigned char *block = calloc(1, fm_arena_round(size_bytes) + FM_ALIGNMENT);
    if (block == NULL) {
        return NULL;
    }
    unsigned char *memory = block + FM_ALIGNMENT - (uintptr_t)block % FM_ALIGNMENT;
    memcpy(memory - sizeof block, &block, sizeof block);
    return memory;
}

void *fm_alloc_array(size_t count, size_t size_bytes)
{
    size_t total = 0;
    return fm_multiply(count, size_bytes, &total) ? fm_alloc(total) : NULL;
}

void *fm_grow(void *old, size_t old_bytes, size_t new_bytes)
{
    assert(new_bytes >= old_bytes);
    void *grown = fm_alloc(new_bytes);
    if (grown != NULL && old != NULL) {
        memcpy(grown, old, old_bytes);
        fm_free(old);
    }
    return grown;
}

char *fm_string_copy(const char *text)
{
    size_t size_bytes = strlen(text) + 1;
    char *copy = fm_alloc(size_bytes);
    if (copy != NULL) {
        memcpy(copy, text, size_bytes);
    }
    return copy;
}

void fm_free(void *memory)
{
    if (memory == NULL) {
        return;
    }
    unsigned char *block;
    memcpy(&block, (unsigned char *)memory - sizeof block, sizeof block);
    free(block);
}

bool fm_multiply(size_t a, size_t b, size_t *ret)
{
    return !__builtin_mul_overflow(a, b, ret);
}

size_t fm_arena_round(size_t size_bytes)
{
    return (size_bytes + FM_ALIGNMENT - 1) / FM_ALIGNMENT * FM_ALIGNMENT;
}

fm_status fm_arena_init(fm_arena *arena, size_t size_bytes, fm_error *err)
{
    size_t rounded = fm_arena_round(size_bytes == 0 ? 1 : size_bytes);
    void *base = MAP_FAILED;
    if (rounded >= size_bytes && allowed(rounded)) {
        base = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (base == MAP_FAILED) {
        return fm_fail(err, FM_ENOMEM, "cannot map %zu bytes", size_bytes);
    }
    if (rounded >= HUGE_PAGE_BYTES) {
        (void)madvise(base, rounded, MADV_HUGEPAGE); /* advice: refusing it costs only time */
    }
    *arena = (fm_arena){.base = base, .size_bytes = rounded, .used_bytes = 0};
    return FM_OK;
}

void *fm_arena_take(fm_arena *arena, size_t size_bytes)
{
    size_t rounded = fm_arena_round(size_bytes);
    assert(rounded <= arena->size_bytes - arena->used_bytes);
    void *piece = arena->base + arena->used_bytes;
    arena->used_bytes += rounded;
    return piece;
}

void fm_arena_done(fm_arena *arena)
{
    if (arena->base != NULL) {
        (void)munmap(arena->base, arena->size_bytes);
    }
    *arena = (fm_arena){0};
}

/* ---- pools ---- */

#define LAST_CHUNK_BYTES ((size_t)64 << 20)

typedef struct fm_pool_chunk {
    fm_arena arena;
    struct fm_pool_chunk *before;
} fm_pool_chunk;

/* The first as large as was said, the others as all before them, within limits, so that there are few. */
static size_t chunk_bytes(const fm_pool *pool, size_t piece_bytes)
{
    size_t wanted = pool->last == NULL                    ? pool->expected_bytes
                    : pool->size_bytes < LAST_CHUNK_BYTES ? pool->size_bytes
                                                          : LAST_CHUNK_BYTES;
    wanted = wanted > piece_bytes ? wanted : piece_bytes;
    bool is_small = pool->last == NULL && wanted < HUGE_PAGE_BYTES && pool->expected_bytes > 0;
    bool overflows = wanted > SIZE_MAX - HUGE_PAGE_BYTES;
    size_t whole = (wanted / HUGE_PAGE_BYTES + 1) * HUGE_PAGE_BYTES; /* and up to a page more */
    return is_small || overflows ? wanted : whole;
}

static bool chunk_add(fm_pool *pool, size_t piece_bytes)
{
    fm_pool_chunk *chunk = fm_alloc(sizeof *chunk);
    if (chunk == NULL ||
        fm_arena_init(&chunk->arena, chunk_bytes(pool, piece_bytes), NULL) != FM_OK) {
        fm_free(chunk);
        return false;
    }
    chunk->before = pool->last;
    pool->last = chunk;
    pool->size_bytes += chunk->arena.size_bytes;
    return true;
}

void fm_pool_expect(fm_pool *pool, size_t size_bytes)
{
    pool->expected_bytes = size_bytes;
}

void *fm_pool_take_or_alloc(fm_pool *pool, size_t size_bytes)
{
    return pool != NULL ? fm_pool_take(pool, size_bytes) : fm_alloc(size_bytes);
}

void *fm_pool_take(fm_pool *pool, size_t size_bytes)
{
    size_t rounded = fm_arena_round(size_bytes);
    const fm_pool_chunk *last = pool->last;
    bool fits = last != NULL && rounded <= last->arena.size_bytes - last->arena.used_bytes;
    if (rounded < size_bytes || (!fits && !chunk_add(pool, rounded))) {
        return NULL;
    }
    return fm_arena_take(&pool->last->arena, size_bytes);
}

void fm_pool_done(fm_pool *pool)
{
    for (fm_pool_chunk *chunk = pool->last; chunk != NULL;) {
        fm_pool_chunk *before = chunk->before;
        fm_arena_done(&chunk->arena);
        fm_free(chunk);
        chunk = before;
    }
    *pool = (fm_pool){0};
}
