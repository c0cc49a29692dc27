/* What the unpickler's files share: the machine's state, values, and what calls make. */
#ifndef FM_PICKLE_PRIVATE_H
#define FM_PICKLE_PRIVATE_H

#include "engine/checkpoint/pickle.h"
#include "engine/checkpoint/pytorch_limits.h"

typedef struct fm_pickle_stack {
    fm_pickle_value **at;
    size_t count, capacity;
} fm_pickle_stack;

struct fm_pickle {
    const unsigned char *data;
    size_t length, position;
    size_t opcode_at; /* of the opcode at work */
    struct fm_pickle_block *blocks;
    fm_pickle_stack stack;
    size_t marks[FM_PICKLE_MAX_MARKS]; /* [n_marks] heights of the stack */
    size_t n_marks;
    fm_pickle_stack memo; /* by number; NULL where nothing was put */
    size_t n_values, n_items;
    unsigned n_walks;
    fm_pickle_value *root; /* set by STOP */
};

/* "byte 12 (REDUCE): …" */
fm_status fm_pickle_fail(const fm_pickle *pickle, fm_error *err, const char *format, ...)
    FM_PRINTF(3, 4);
#ifdef __clang_analyzer__
/* As for fm_fail(). */
#define fm_pickle_fail(...) ((void)fm_pickle_fail(__VA_ARGS__), FM_EFORMAT)
#endif
const char *fm_pickle_opcode_name(unsigned char byte); /* "not read" for those without a row */

/* ---- Values: all live until fm_pickle_free() ---- */

/* Zeroed. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_pickle_take(fm_pickle *pickle, size_t size_bytes, void **ret,
                                     fm_error *err);
FM_MUST_USE fm_status fm_pickle_new(fm_pickle *pickle, fm_pickle_kind kind, fm_pickle_value **ret,
                                    fm_error *err);
FM_MUST_USE fm_status fm_pickle_new_opaque(fm_pickle *pickle, const char *name,
                                           fm_pickle_value **ret, fm_error *err);
/* The pieces one behind the other, terminated. */
FM_MUST_USE fm_status fm_pickle_join(fm_pickle *pickle, const fm_pickle_text *pieces, size_t count,
                                     fm_pickle_text *ret, fm_error *err);
FM_MUST_USE fm_status fm_pickle_append(fm_pickle *pickle, fm_pickle_value *to,
                                       fm_pickle_value *const *items, size_t count, fm_error *err);

/* ---- The stack and the memo ---- */

FM_MUST_USE fm_status fm_pickle_push(fm_pickle *pickle, fm_pickle_value *value, fm_error *err);
/* Errors: nothing above the last mark. */
FM_MUST_USE fm_status fm_pickle_pop(fm_pickle *pickle, fm_pickle_value **ret, fm_error *err);
/* The last mark goes, and what stood above it: valid until the next push. */
FM_MUST_USE fm_status fm_pickle_pop_mark(fm_pickle *pickle, fm_pickle_value *const **ret,
                                         size_t *ret_count, fm_error *err);
FM_MUST_USE fm_status fm_pickle_memo_put(fm_pickle *pickle, uint64_t number, fm_error *err);
FM_MUST_USE fm_status fm_pickle_memo_get(fm_pickle *pickle, uint64_t number, fm_error *err);

/* ---- What follows an opcode ---- */

/* The next count bytes. */
FM_MUST_USE fm_status fm_pickle_read(fm_pickle *pickle, uint64_t count, const unsigned char **ret,
                                     fm_error *err);
/* Little-endian.
 *   width  up to 8 bytes */
FM_MUST_USE fm_status fm_pickle_read_number(fm_pickle *pickle, size_t width, uint64_t *ret,
                                            fm_error *err);

/* ---- Names and calls (pickle_torch.c) ---- */

/* A CLASS value. Errors: a name of pytorch_refused.def, or no name at all. */
FM_MUST_USE fm_status fm_pickle_global(fm_pickle *pickle, fm_pickle_text module,
                                       fm_pickle_text name, fm_pickle_value **ret, fm_error *err);
/* What callable(*arguments) stands for. */
FM_MUST_USE fm_status fm_pickle_call(fm_pickle *pickle, const fm_pickle_value *callable,
                                     const fm_pickle_value *arguments, fm_pickle_value **ret,
                                     fm_error *err);
/* ("storage", class, key, location, count) */
FM_MUST_USE fm_status fm_pickle_persistent(fm_pickle *pickle, const fm_pickle_value *id,
                                           fm_pickle_value **ret, fm_error *err);

#endif
