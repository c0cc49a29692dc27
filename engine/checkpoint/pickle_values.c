/* The unpickler's memory, values, stack, memo and input. */
#include "engine/checkpoint/pickle_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_BLOCK_BYTES ((size_t)16 << 10)
#define LAST_BLOCK_BYTES  ((size_t)1 << 20)
#define PIECE_BYTES       ((size_t)16)

/* Blocks grow by doubling up to a bound; pieces are taken off their ends. */
struct fm_pickle_block {
    struct fm_pickle_block *next;
    size_t size_bytes, used_bytes; /* of what follows the head */
};

#define HEAD_BYTES ((sizeof(struct fm_pickle_block) + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES)

/* ---- Memory ---- */

static fm_status add_block(fm_pickle *pickle, size_t needed, fm_error *err)
{
    size_t size_bytes = FIRST_BLOCK_BYTES;
    if (pickle->blocks != NULL) {
        size_bytes = pickle->blocks->size_bytes * 2;
    }
    size_bytes = size_bytes < LAST_BLOCK_BYTES ? size_bytes : LAST_BLOCK_BYTES;
    size_bytes = size_bytes < needed ? needed : size_bytes;
    struct fm_pickle_block *block = fm_alloc(HEAD_BYTES + size_bytes);
    if (block == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a pickle's values");
    }
    *block = (struct fm_pickle_block){.next = pickle->blocks, .size_bytes = size_bytes};
    pickle->blocks = block;
    return FM_OK;
}

fm_status fm_pickle_take(fm_pickle *pickle, size_t size_bytes, void **ret, fm_error *err)
{
    assert(size_bytes <= SIZE_MAX / 2);
    size_t rounded = (size_bytes + PIECE_BYTES - 1) / PIECE_BYTES * PIECE_BYTES;
    struct fm_pickle_block *block = pickle->blocks;
    if (block == NULL || rounded > block->size_bytes - block->used_bytes) {
        fm_status status = add_block(pickle, rounded, err);
        if (status != FM_OK) {
            return status;
        }
        block = pickle->blocks;
    }
    *ret = (unsigned char *)block + HEAD_BYTES + block->used_bytes;
    block->used_bytes += rounded;
    return FM_OK;
}

void fm_pickle_free(fm_pickle *pickle)
{
    if (pickle == NULL) {
        return;
    }
    while (pickle->blocks != NULL) {
        struct fm_pickle_block *next = pickle->blocks->next;
        fm_free(pickle->blocks);
        pickle->blocks = next;
    }
    fm_free(pickle->stack.at);
    fm_free(pickle->memo.at);
    fm_free(pickle);
}

/* ---- Values ---- */

fm_status fm_pickle_new(fm_pickle *pickle, fm_pickle_kind kind, fm_pickle_value **ret,
                        fm_error *err)
{
    if (pickle->n_values == FM_PICKLE_MAX_VALUES) {
        return fm_pickle_fail(pickle, err, "expected at most %zu values", FM_PICKLE_MAX_VALUES);
    }
    void *memory = NULL;
    fm_status status = fm_pickle_take(pickle, sizeof(fm_pickle_value), &memory, err);
    if (status == FM_OK) {
        pickle->n_values++;
        *ret = memory;
        (*ret)->kind = kind;
    }
    return status;
}

fm_status fm_pickle_new_opaque(fm_pickle *pickle, const char *name, fm_pickle_value **ret,
                               fm_error *err)
{
    fm_status status = fm_pickle_new(pickle, FM_PICKLE_OPAQUE, ret, err);
    if (status == FM_OK) {
        (*ret)->text = (fm_pickle_text){name, strlen(name)};
    }
    return status;
}

fm_status fm_pickle_join(fm_pickle *pickle, const fm_pickle_text *pieces, size_t count,
                         fm_pickle_text *ret, fm_error *err)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += pieces[i].length;
    }
    void *memory = NULL;
    fm_status status = fm_pickle_take(pickle, length + 1, &memory, err);
    if (status != FM_OK) {
        return status;
    }
    char *at = memory;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].length > 0) {
            memcpy(at, pieces[i].bytes, pieces[i].length);
        }
        at += pieces[i].length;
    }
    *ret = (fm_pickle_text){memory, length};
    return FM_OK;
}

fm_status fm_pickle_append(fm_pickle *pickle, fm_pickle_value *to, fm_pickle_value *const *items,
                           size_t count, fm_error *err)
{
    fm_pickle_items *list = &to->items;
    if (count > FM_PICKLE_MAX_ITEMS - pickle->n_items) {
        return fm_pickle_fail(pickle, err, "expected at most %zu items in all",
                              FM_PICKLE_MAX_ITEMS);
    }
    if (count > list->capacity - list->count) {
        size_t capacity =
            2 * list->capacity > list->count + count ? 2 * list->capacity : list->count + count;
        void *memory = NULL;
        fm_status status = fm_pickle_take(pickle, capacity * sizeof *list->at, &memory, err);
        if (status != FM_OK) {
            return status;
        }
        if (list->count > 0) {
            memcpy(memory, list->at, list->count * sizeof *list->at);
        }
        list->at = memory;
        list->capacity = capacity;
    }
    if (count > 0) {
        memcpy(list->at + list->count, items, count * sizeof *list->at);
    }
    list->count += count;
    pickle->n_items += count;
    return FM_OK;
}

bool fm_pickle_is_text(const fm_pickle_value *value, const char *text)
{
    return value->kind == FM_PICKLE_TEXT && value->text.length == strlen(text) &&
           memcmp(value->text.bytes, text, value->text.length) == 0;
}

const char *fm_pickle_describe(const fm_pickle_value *value)
{
    switch (value->kind) {
    case FM_PICKLE_NONE:
        return "None";
    case FM_PICKLE_BOOLEAN:
        return "a boolean";
    case FM_PICKLE_INTEGER:
    case FM_PICKLE_REAL:
        return "a number";
    case FM_PICKLE_TEXT:
        return "a string";
    case FM_PICKLE_BYTES:
        return "bytes";
    case FM_PICKLE_LIST:
        return "a list";
    case FM_PICKLE_DICT:
        return "a dict";
    case FM_PICKLE_STORAGE:
        return "a storage";
    case FM_PICKLE_TENSOR:
        return "a tensor";
    case FM_PICKLE_CLASS:
    case FM_PICKLE_OPAQUE:
        return value->text.bytes;
    }
    return "an unknown value";
}

fm_pickle_value *fm_pickle_root(const fm_pickle *pickle)
{
    return pickle->root;
}

unsigned fm_pickle_new_walk(fm_pickle *pickle)
{
    return ++pickle->n_walks;
}

/* ---- The stack and the memo ---- */

/* Room for one more than count. */
static fm_status grow(fm_pickle_stack *stack, size_t count, fm_error *err)
{
    if (count < stack->capacity) {
        return FM_OK;
    }
    size_t capacity = 2 * stack->capacity > count + 1 ? 2 * stack->capacity : count + 1;
    capacity = capacity < 64 ? 64 : capacity;
    fm_pickle_value **grown =
        fm_grow(stack->at, stack->capacity * sizeof *stack->at, capacity * sizeof *stack->at);
    if (grown == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a pickle's stack");
    }
    stack->at = grown;
    stack->capacity = capacity;
    return FM_OK;
}

fm_status fm_pickle_push(fm_pickle *pickle, fm_pickle_value *value, fm_error *err)
{
    if (pickle->stack.count == FM_PICKLE_MAX_STACK) {
        return fm_pickle_fail(pickle, err, "expected at most %zu values on the stack",
                              FM_PICKLE_MAX_STACK);
    }
    fm_status status = grow(&pickle->stack, pickle->stack.count, err);
    if (status == FM_OK) {
        pickle->stack.at[pickle->stack.count++] = value;
    }
    return status;
}

fm_status fm_pickle_pop(fm_pickle *pickle, fm_pickle_value **ret, fm_error *err)
{
    size_t bottom = pickle->n_marks == 0 ? 0 : pickle->marks[pickle->n_marks - 1];
    if (pickle->stack.count == bottom) {
        return fm_pickle_fail(pickle, err, "expected a value on the stack");
    }
    *ret = pickle->stack.at[--pickle->stack.count];
    return FM_OK;
}

fm_status fm_pickle_pop_mark(fm_pickle *pickle, fm_pickle_value *const **ret, size_t *ret_count,
                             fm_error *err)
{
    if (pickle->n_marks == 0) {
        return fm_pickle_fail(pickle, err, "expected a mark on the stack");
    }
    size_t bottom = pickle->marks[--pickle->n_marks];
    *ret_count = pickle->stack.count - bottom;
    *ret = *ret_count == 0 ? NULL : pickle->stack.at + bottom;
    pickle->stack.count = bottom;
    return FM_OK;
}

fm_status fm_pickle_memo_put(fm_pickle *pickle, uint64_t number, fm_error *err)
{
    if (number >= FM_PICKLE_MAX_MEMO) {
        return fm_pickle_fail(pickle, err, "expected at most %zu memo entries, found number %llu",
                              FM_PICKLE_MAX_MEMO, (unsigned long long)number);
    }
    fm_pickle_value *top = NULL;
    fm_status status = fm_pickle_pop(pickle, &top, err);
    if (status == FM_OK) {
        status = fm_pickle_push(pickle, top, err);
    }
    if (status == FM_OK) {
        status = grow(&pickle->memo, (size_t)number, err);
    }
    if (status == FM_OK) {
        pickle->memo.at[number] = top;
        pickle->memo.count = number < pickle->memo.count ? pickle->memo.count : (size_t)number + 1;
    }
    return status;
}

fm_status fm_pickle_memo_get(fm_pickle *pickle, uint64_t number, fm_error *err)
{
    if (number >= pickle->memo.count || pickle->memo.at[number] == NULL) {
        return fm_pickle_fail(pickle, err, "expected memo entry %llu to be put before",
                              (unsigned long long)number);
    }
    return fm_pickle_push(pickle, pickle->memo.at[number], err);
}

/* ---- Arguments ---- */

fm_status fm_pickle_read(fm_pickle *pickle, uint64_t count, const unsigned char **ret,
                         fm_error *err)
{
    size_t left = pickle->length - pickle->position;
    if (count > left) {
        return fm_pickle_fail(pickle, err, "expected %llu more bytes, the pickle ends after %zu",
                              (unsigned long long)count, left);
    }
    *ret = pickle->data + pickle->position;
    pickle->position += (size_t)count;
    return FM_OK;
}

fm_status fm_pickle_read_number(fm_pickle *pickle, size_t width, uint64_t *ret, fm_error *err)
{
    const unsigned char *bytes = NULL;
    fm_status status = fm_pickle_read(pickle, width, &bytes, err);
    if (status == FM_OK) {
        *ret = 0;
        for (size_t i = 0; i < width; i++) {
            *ret |= (uint64_t)bytes[i] << (8 * i);
        }
    }
    return status;
}

/* ---- Failing ---- */

#undef fm_pickle_fail /* what the analyzer is told of it */
fm_status fm_pickle_fail(const fm_pickle *pickle, fm_error *err, const char *format, ...)
{
    char message[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (pickle->opcode_at >= pickle->length) {
        return fm_fail(err, FM_EFORMAT, "byte %zu: %s", pickle->opcode_at, message);
    }
    return fm_fail(err, FM_EFORMAT, "byte %zu (%s): %s", pickle->opcode_at,
                   fm_pickle_opcode_name(pickle->data[pickle->opcode_at]), message);
}
