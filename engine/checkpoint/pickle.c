/* The pickle machine: one function per row of pickle_opcode.def. */
#include "engine/checkpoint/pickle.h"

#include "engine/checkpoint/pickle_private.h"
#include "engine/memory.h"

#include <string.h>

static fm_status push_new(fm_pickle *pickle, fm_pickle_kind kind, fm_pickle_value **ret,
                          fm_error *err)
{
    fm_status status = fm_pickle_new(pickle, kind, ret, err);
    return status == FM_OK ? fm_pickle_push(pickle, *ret, err) : status;
}

/* ---- Framing ---- */

static fm_status read_protocol(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    uint64_t protocol = 0;
    fm_status status = fm_pickle_read_number(pickle, 1, &protocol, err);
    if (status == FM_OK && (protocol < 2 || protocol > 5)) {
        status =
            fm_pickle_fail(pickle, err, "expected protocol 2 to 5, found %u", (unsigned)protocol);
    }
    return status;
}

/* Frames are for readers of streams. */
static fm_status read_frame(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    uint64_t ignored = 0;
    return fm_pickle_read_number(pickle, 8, &ignored, err);
}

static fm_status stop(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    if (pickle->n_marks > 0 || pickle->stack.count != 1) {
        return fm_pickle_fail(pickle, err, "expected one value on the stack, found %zu",
                              pickle->stack.count);
    }
    pickle->root = pickle->stack.at[0];
    return FM_OK;
}

static fm_status push_mark(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    if (pickle->n_marks == FM_PICKLE_MAX_MARKS) {
        return fm_pickle_fail(pickle, err, "expected at most %zu containers open at once",
                              FM_PICKLE_MAX_MARKS);
    }
    pickle->marks[pickle->n_marks++] = pickle->stack.count;
    return FM_OK;
}

static fm_status drop_mark(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *const *ignored = NULL;
    size_t count = 0;
    return fm_pickle_pop_mark(pickle, &ignored, &count, err);
}

static fm_status drop(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *ignored = NULL;
    return fm_pickle_pop(pickle, &ignored, err);
}

static fm_status duplicate(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *top = NULL;
    fm_status status = fm_pickle_pop(pickle, &top, err);
    if (status == FM_OK) {
        status = fm_pickle_push(pickle, top, err);
    }
    return status == FM_OK ? fm_pickle_push(pickle, top, err) : status;
}

/* ---- Plain values ---- */

static fm_status push_none(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *value = NULL;
    return push_new(pickle, FM_PICKLE_NONE, &value, err);
}

static fm_status push_boolean(fm_pickle *pickle, unsigned is_true, fm_error *err)
{
    fm_pickle_value *value = NULL;
    fm_status status = push_new(pickle, FM_PICKLE_BOOLEAN, &value, err);
    if (status == FM_OK) {
        value->integer = is_true;
    }
    return status;
}

static fm_status push_integer(fm_pickle *pickle, uint64_t bits, size_t width, bool is_signed,
                              fm_error *err)
{
    fm_pickle_value *value = NULL;
    fm_status status = push_new(pickle, FM_PICKLE_INTEGER, &value, err);
    if (status == FM_OK) {
        bool negative = is_signed && width > 0 && (bits >> (8 * width - 1) & 1) != 0;
        value->integer = (int64_t)(negative && width < 8 ? bits | ~0ULL << (8 * width) : bits);
    }
    return status;
}

static fm_status push_unsigned(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t bits = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &bits, err);
    return status == FM_OK ? push_integer(pickle, bits, width, false, err) : status;
}

static fm_status push_signed(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t bits = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &bits, err);
    return status == FM_OK ? push_integer(pickle, bits, width, true, err) : status;
}

/* A long of at most 8 bytes is a number; a longer one (a random generator's state) is kept as its name. */
static fm_status push_long(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t length = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &length, err);
    if (status == FM_OK && length <= 8) {
        uint64_t bits = 0;
        status = fm_pickle_read_number(pickle, (size_t)length, &bits, err);
        return status == FM_OK ? push_integer(pickle, bits, (size_t)length, true, err) : status;
    }
    const unsigned char *ignored = NULL;
    if (status == FM_OK) {
        status = fm_pickle_read(pickle, length, &ignored, err);
    }
    fm_pickle_value *value = NULL;
    if (status == FM_OK) {
        status = fm_pickle_new_opaque(pickle, "an integer of over 64 bits", &value, err);
    }
    return status == FM_OK ? fm_pickle_push(pickle, value, err) : status;
}

/* Big-endian, alone among the opcodes. */
static fm_status push_real(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t bits = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &bits, err);
    fm_pickle_value *value = NULL;
    if (status == FM_OK) {
        status = push_new(pickle, FM_PICKLE_REAL, &value, err);
    }
    if (status == FM_OK) {
        bits = __builtin_bswap64(bits);
        memcpy(&value->real, &bits, sizeof value->real);
    }
    return status;
}

static fm_status push_string(fm_pickle *pickle, size_t width, fm_pickle_kind kind, fm_error *err)
{
    uint64_t length = 0;
    const unsigned char *bytes = NULL;
    fm_pickle_value *value = NULL;
    fm_status status = fm_pickle_read_number(pickle, width, &length, err);
    if (status == FM_OK) {
        status = fm_pickle_read(pickle, length, &bytes, err);
    }
    if (status == FM_OK) {
        status = push_new(pickle, kind, &value, err);
    }
    if (status == FM_OK) {
        value->text = (fm_pickle_text){(const char *)bytes, (size_t)length};
    }
    return status;
}

static fm_status push_text(fm_pickle *pickle, unsigned width, fm_error *err)
{
    return push_string(pickle, width, FM_PICKLE_TEXT, err);
}

static fm_status push_bytes(fm_pickle *pickle, unsigned width, fm_error *err)
{
    return push_string(pickle, width, FM_PICKLE_BYTES, err);
}

/* ---- Containers ---- */

static fm_status push_list(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *value = NULL;
    return push_new(pickle, FM_PICKLE_LIST, &value, err);
}

static fm_status push_dict(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *value = NULL;
    return push_new(pickle, FM_PICKLE_DICT, &value, err);
}

/* Adds to the container on the stack; opaque ones forget what they are given. */
static fm_status add_items(fm_pickle *pickle, fm_pickle_kind kind, fm_pickle_value *const *items,
                           size_t count, fm_error *err)
{
    fm_pickle_value *container = NULL;
    fm_status status = fm_pickle_pop(pickle, &container, err);
    if (status != FM_OK) {
        return status;
    }
    if (container->kind == kind) {
        status = fm_pickle_append(pickle, container, items, count, err);
    } else if (container->kind != FM_PICKLE_OPAQUE) {
        status = fm_pickle_fail(pickle, err, "expected %s on the stack, found %s",
                                kind == FM_PICKLE_DICT ? "a dict" : "a list",
                                fm_pickle_describe(container));
    }
    return status == FM_OK ? fm_pickle_push(pickle, container, err) : status;
}

static fm_status append_one(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *item = NULL;
    fm_status status = fm_pickle_pop(pickle, &item, err);
    return status == FM_OK ? add_items(pickle, FM_PICKLE_LIST, &item, 1, err) : status;
}

static fm_status append_marked(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *const *items = NULL;
    size_t count = 0;
    fm_status status = fm_pickle_pop_mark(pickle, &items, &count, err);
    return status == FM_OK ? add_items(pickle, FM_PICKLE_LIST, items, count, err) : status;
}

static fm_status set_one(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *pair[2] = {NULL, NULL};
    fm_status status = fm_pickle_pop(pickle, &pair[1], err);
    if (status == FM_OK) {
        status = fm_pickle_pop(pickle, &pair[0], err);
    }
    return status == FM_OK ? add_items(pickle, FM_PICKLE_DICT, pair, 2, err) : status;
}

static fm_status set_marked(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *const *items = NULL;
    size_t count = 0;
    fm_status status = fm_pickle_pop_mark(pickle, &items, &count, err);
    if (status == FM_OK && count % 2 != 0) {
        status = fm_pickle_fail(pickle, err, "expected keys and values, found %zu items", count);
    }
    return status == FM_OK ? add_items(pickle, FM_PICKLE_DICT, items, count, err) : status;
}

static fm_status push_tuple(fm_pickle *pickle, fm_pickle_value *const *items, size_t count,
                            fm_error *err)
{
    fm_pickle_value *value = NULL;
    fm_status status = fm_pickle_new(pickle, FM_PICKLE_LIST, &value, err);
    if (status == FM_OK) {
        status = fm_pickle_append(pickle, value, items, count, err);
    }
    return status == FM_OK ? fm_pickle_push(pickle, value, err) : status;
}

static fm_status tuple_marked(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *const *items = NULL;
    size_t count = 0;
    fm_status status = fm_pickle_pop_mark(pickle, &items, &count, err);
    return status == FM_OK ? push_tuple(pickle, items, count, err) : status;
}

static fm_status tuple_of(fm_pickle *pickle, unsigned count, fm_error *err)
{
    fm_pickle_value *items[3] = {NULL, NULL, NULL};
    fm_status status = FM_OK;
    for (size_t i = count; status == FM_OK && i-- > 0;) {
        status = fm_pickle_pop(pickle, &items[i], err);
    }
    return status == FM_OK ? push_tuple(pickle, items, count, err) : status;
}

/* ---- Memo ---- */

static fm_status memo_put(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t number = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &number, err);
    return status == FM_OK ? fm_pickle_memo_put(pickle, number, err) : status;
}

static fm_status memoize(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    return fm_pickle_memo_put(pickle, pickle->memo.count, err);
}

static fm_status memo_get(fm_pickle *pickle, unsigned width, fm_error *err)
{
    uint64_t number = 0;
    fm_status status = fm_pickle_read_number(pickle, width, &number, err);
    return status == FM_OK ? fm_pickle_memo_get(pickle, number, err) : status;
}

/* ---- Names and calls ---- */

static fm_status take_line(fm_pickle *pickle, fm_pickle_text *ret, fm_error *err)
{
    const unsigned char *begin = pickle->data + pickle->position;
    size_t left = pickle->length - pickle->position;
    size_t longest = left < FM_PICKLE_MAX_NAME_BYTES ? left : FM_PICKLE_MAX_NAME_BYTES;
    const unsigned char *end = longest == 0 ? NULL : memchr(begin, '\n', longest);
    if (end == NULL) {
        return fm_pickle_fail(pickle, err, "expected a line of at most %zu bytes",
                              FM_PICKLE_MAX_NAME_BYTES);
    }
    *ret = (fm_pickle_text){(const char *)begin, (size_t)(end - begin)};
    pickle->position += ret->length + 1;
    return FM_OK;
}

static fm_status push_name(fm_pickle *pickle, fm_pickle_text module, fm_pickle_text name,
                           fm_error *err)
{
    fm_pickle_value *value = NULL;
    fm_status status = fm_pickle_global(pickle, module, name, &value, err);
    return status == FM_OK ? fm_pickle_push(pickle, value, err) : status;
}

static fm_status push_global(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_text module = {0}, name = {0};
    fm_status status = take_line(pickle, &module, err);
    if (status == FM_OK) {
        status = take_line(pickle, &name, err);
    }
    return status == FM_OK ? push_name(pickle, module, name, err) : status;
}

static fm_status push_stack_global(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *module = NULL, *name = NULL;
    fm_status status = fm_pickle_pop(pickle, &name, err);
    if (status == FM_OK) {
        status = fm_pickle_pop(pickle, &module, err);
    }
    if (status != FM_OK) {
        return status;
    }
    if (module->kind != FM_PICKLE_TEXT || name->kind != FM_PICKLE_TEXT) {
        return fm_pickle_fail(pickle, err, "expected two strings, found %s and %s",
                              fm_pickle_describe(module), fm_pickle_describe(name));
    }
    return push_name(pickle, module->text, name->text, err);
}

static fm_status call(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *callable = NULL, *arguments = NULL, *value = NULL;
    fm_status status = fm_pickle_pop(pickle, &arguments, err);
    if (status == FM_OK) {
        status = fm_pickle_pop(pickle, &callable, err);
    }
    if (status == FM_OK) {
        status = fm_pickle_call(pickle, callable, arguments, &value, err);
    }
    return status == FM_OK ? fm_pickle_push(pickle, value, err) : status;
}

/* No tensor is made with keywords: the result is opaque, or a dict's subclass without them. */
static fm_status call_with_keywords(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    fm_status status = drop(pickle, unused, err);
    return status == FM_OK ? call(pickle, unused, err) : status;
}

/* A state for the object on the stack. A dict's (OrderedDict's _metadata) says nothing of its items. */
static fm_status build(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *state = NULL, *object = NULL;
    fm_status status = fm_pickle_pop(pickle, &state, err);
    if (status == FM_OK) {
        status = fm_pickle_pop(pickle, &object, err);
    }
    if (status != FM_OK) {
        return status;
    }
    if (object->kind != FM_PICKLE_DICT && object->kind != FM_PICKLE_OPAQUE) {
        return fm_pickle_fail(pickle, err, "expected a dict or an object, found %s",
                              fm_pickle_describe(object));
    }
    return fm_pickle_push(pickle, object, err);
}

static fm_status push_persistent(fm_pickle *pickle, unsigned unused, fm_error *err)
{
    (void)unused;
    fm_pickle_value *id = NULL, *value = NULL;
    fm_status status = fm_pickle_pop(pickle, &id, err);
    if (status == FM_OK) {
        status = fm_pickle_persistent(pickle, id, &value, err);
    }
    return status == FM_OK ? fm_pickle_push(pickle, value, err) : status;
}

/* ---- The machine ---- */

typedef struct opcode {
    fm_status (*run)(fm_pickle *pickle, unsigned number, fm_error *err);
    unsigned number;
    const char *name;
} opcode;

static const opcode opcodes[256] = {
#define OPCODE(byte, name, function, number) [byte] = {function, number, #name},
#include "engine/checkpoint/pickle_opcode.def"
#undef OPCODE
};

const char *fm_pickle_opcode_name(unsigned char byte)
{
    return opcodes[byte].name == NULL ? "not read" : opcodes[byte].name;
}

static fm_status run(fm_pickle *pickle, fm_error *err)
{
    fm_status status = FM_OK;
    while (status == FM_OK && pickle->root == NULL) {
        pickle->opcode_at = pickle->position;
        const unsigned char *byte = NULL;
        status = fm_pickle_read(pickle, 1, &byte, err);
        if (status != FM_OK) {
            return status;
        }
        const opcode *row = &opcodes[*byte];
        if (row->run == NULL) {
            return fm_pickle_fail(pickle, err, "opcode 0x%02x is not one that torch.save writes",
                                  (unsigned)*byte);
        }
        status = row->run(pickle, row->number, err);
    }
    return status;
}

fm_status fm_pickle_parse(const unsigned char *data, size_t length, fm_pickle **ret, fm_error *err)
{
    if (length > FM_PICKLE_MAX_BYTES) {
        return fm_fail(err, FM_EFORMAT, "expected at most %zu bytes, found %zu",
                       FM_PICKLE_MAX_BYTES, length);
    }
    fm_pickle *pickle = fm_alloc(sizeof *pickle);
    if (pickle == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a pickle");
    }
    pickle->data = data;
    pickle->length = length;
    fm_status status = run(pickle, err);
    if (status == FM_OK) {
        *ret = pickle;
    } else {
        fm_pickle_free(pickle);
    }
    return status;
}
