/* The restricted unpickler: data.pkl of a PyTorch file as a tree of values, protocols 2 to 5.
 *
 * It calls nothing and imports nothing. A global is a name; a call of a name that rebuilds a tensor, a
 * parameter or a dict becomes that value, a call of any other becomes an opaque value that knows only the
 * name, so that a checkpoint that also holds an argparse.Namespace stays readable, and whoever needs such a
 * value refuses it by name. Names that only an attack would call (pytorch_refused.def) refuse the file.
 *
 * A tree may share values and hold cycles: walks mark what they have seen. Everything is bounded
 * (pytorch_limits.h), and nothing recurses over the file's nesting.
 *
 * Source: Python's pickletools (the opcodes), torch/serialization.py and torch/_utils.py (what is called). */
#ifndef FM_PICKLE_H
#define FM_PICKLE_H

#include "engine/checkpoint/tensors.h"

typedef enum fm_pickle_kind {
    FM_PICKLE_NONE,
    FM_PICKLE_BOOLEAN,
    FM_PICKLE_INTEGER,
    FM_PICKLE_REAL,
    FM_PICKLE_TEXT,
    FM_PICKLE_BYTES,
    FM_PICKLE_LIST, /* tuples and sets too */
    FM_PICKLE_DICT,
    FM_PICKLE_CLASS, /* a global that nothing was made of yet */
    FM_PICKLE_STORAGE,
    FM_PICKLE_TENSOR,
    FM_PICKLE_OPAQUE, /* what is not kept, by its name or what makes it unusable */
} fm_pickle_kind;

/* What a tensor's bytes lie in: a record of the archive, data/<key>. */
typedef struct fm_pickle_storage {
    const char *key;
    const char *class_name; /* "torch.FloatStorage" */
    bool has_dtype;         /* false: of bytes (untyped) or of a class that is not read */
    bool is_untyped;
    fm_dtype dtype;
    size_t count; /* elements; bytes where it is untyped */
} fm_pickle_storage;

/* In elements of dtype, unchecked against the storage. */
typedef struct fm_pickle_tensor {
    const fm_pickle_storage *storage;
    fm_dtype dtype;
    size_t offset, rank, shape[FM_MAX_RANK], strides[FM_MAX_RANK];
} fm_pickle_tensor;

typedef struct fm_pickle_value fm_pickle_value;

typedef struct fm_pickle_text {
    const char *bytes; /* of TEXT and BYTES not terminated; of CLASS and OPAQUE terminated */
    size_t length;
} fm_pickle_text;

typedef struct fm_pickle_items {
    fm_pickle_value **at; /* [count]; of a DICT key, value, key, value, … in the order they came */
    size_t count, capacity;
} fm_pickle_items;

struct fm_pickle_value {
    fm_pickle_kind kind;
    unsigned walk; /* the last walk that came by */
    union {
        int64_t integer; /* INTEGER, BOOLEAN */
        double real;
        fm_pickle_text text;
        fm_pickle_items items;
        const fm_pickle_storage *storage;
        const fm_pickle_tensor *tensor;
    };
};

typedef struct fm_pickle fm_pickle;

/* Reads a whole pickle.
 *   data  [length] borrowed until fm_pickle_free()
 * Errors: FM_EFORMAT names the opcode and its offset, what was expected and found; FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_pickle_parse(const unsigned char *data, size_t length, fm_pickle **ret,
                                      fm_error *err);
void fm_pickle_free(fm_pickle *pickle); /* takes NULL */

fm_pickle_value *fm_pickle_root(const fm_pickle *pickle);
/* A number that no walk over this tree has had. */
unsigned fm_pickle_new_walk(fm_pickle *pickle);

bool fm_pickle_is_text(const fm_pickle_value *value, const char *text);
/* "a list", "a number", or the class of what is opaque. Valid as long as the pickle. */
const char *fm_pickle_describe(const fm_pickle_value *value);

#endif
