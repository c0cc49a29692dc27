/* What the calls in a PyTorch file stand for: storages, tensors, parameters and dicts; everything else is
 * opaque.
 *
 * Source: torch/serialization.py (persistent_id) and torch/_utils.py (_rebuild_*), versions 1.6 to 2.x. */
#include "engine/checkpoint/pickle_private.h"

#include <string.h>

/* ---- Names ---- */

static bool names_match(const char *module, const char *name, fm_pickle_text found_module,
                        fm_pickle_text found_name)
{
    size_t length = strlen(module);
    if (found_module.length < length || memcmp(found_module.bytes, module, length) != 0) {
        return false;
    }
    bool whole = found_module.length == length;
    if (strcmp(name, "*") == 0) {
        return whole || found_module.bytes[length] == '.';
    }
    return whole && found_name.length == strlen(name) &&
           memcmp(found_name.bytes, name, found_name.length) == 0;
}

static bool is_refused(fm_pickle_text module, fm_pickle_text name)
{
#define REFUSED(refused_module, refused_name)                                                      \
    if (names_match(refused_module, refused_name, module, name)) {                                 \
        return true;                                                                               \
    }
#include "engine/checkpoint/pytorch_refused.def"
#undef REFUSED
    return false;
}

static bool is_name(fm_pickle_text text)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = text.bytes[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '<' || c == '>')) {
            return false;
        }
    }
    return text.length > 0 && text.length <= FM_PICKLE_MAX_NAME_BYTES;
}

fm_status fm_pickle_global(fm_pickle *pickle, fm_pickle_text module, fm_pickle_text name,
                           fm_pickle_value **ret, fm_error *err)
{
    if (!is_name(module) || !is_name(name)) {
        return fm_pickle_fail(pickle, err, "expected the name of a module and of a class in it");
    }
    const fm_pickle_text pieces[] = {module, {".", 1}, name};
    fm_pickle_text joined = {0};
    fm_status status = fm_pickle_join(pickle, pieces, 3, &joined, err);
    if (status == FM_OK && is_refused(module, name)) {
        status = fm_pickle_fail(pickle, err,
                                "found %s, which no checkpoint needs: the file would run a program "
                                "where it is unpickled",
                                joined.bytes);
    }
    if (status == FM_OK) {
        status = fm_pickle_new(pickle, FM_PICKLE_CLASS, ret, err);
    }
    if (status == FM_OK) {
        (*ret)->text = joined;
    }
    return status;
}

/* ---- Storages ---- */

typedef struct dtype_row {
    const char *storage; /* class of the storage, NULL: none of its own */
    const char *scalar;  /* torch.dtype */
    fm_dtype dtype;
} dtype_row;

static const dtype_row dtypes[] = {
    {"torch.DoubleStorage", "torch.float64", FM_DTYPE_F64},
    {"torch.FloatStorage", "torch.float32", FM_DTYPE_F32},
    {"torch.HalfStorage", "torch.float16", FM_DTYPE_F16},
    {"torch.BFloat16Storage", "torch.bfloat16", FM_DTYPE_BF16},
    {"torch.LongStorage", "torch.int64", FM_DTYPE_I64},
    {"torch.IntStorage", "torch.int32", FM_DTYPE_I32},
    {"torch.ShortStorage", "torch.int16", FM_DTYPE_I16},
    {"torch.CharStorage", "torch.int8", FM_DTYPE_I8},
    {"torch.ByteStorage", "torch.uint8", FM_DTYPE_U8},
    {"torch.BoolStorage", "torch.bool", FM_DTYPE_BOOL},
    {NULL, "torch.uint64", FM_DTYPE_U64},
    {NULL, "torch.uint32", FM_DTYPE_U32},
    {NULL, "torch.uint16", FM_DTYPE_U16},
};

#define N_DTYPES (sizeof dtypes / sizeof *dtypes)

static bool is_untyped(const char *class_name)
{
    return strcmp(class_name, "torch.UntypedStorage") == 0 ||
           strcmp(class_name, "torch.storage.UntypedStorage") == 0 ||
           strcmp(class_name, "torch.storage._UntypedStorage") == 0;
}

static fm_status check_key(const fm_pickle *pickle, const fm_pickle_value *key, fm_error *err)
{
    bool plain = key->kind == FM_PICKLE_TEXT && key->text.length > 0 &&
                 key->text.length <= FM_PICKLE_MAX_NAME_BYTES;
    for (size_t i = 0; plain && i < key->text.length; i++) {
        char c = key->text.bytes[i];
        plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                c == '_' || c == '-';
    }
    return plain ? FM_OK
                 : fm_pickle_fail(pickle, err, "expected a storage's key of letters and digits");
}

fm_status fm_pickle_persistent(fm_pickle *pickle, const fm_pickle_value *id, fm_pickle_value **ret,
                               fm_error *err)
{
    fm_pickle_value *const *item = id->items.at;
    if (id->kind != FM_PICKLE_LIST || id->items.count != 5 ||
        !fm_pickle_is_text(item[0], "storage") || item[1]->kind != FM_PICKLE_CLASS ||
        item[4]->kind != FM_PICKLE_INTEGER || item[4]->integer < 0) {
        return fm_pickle_fail(pickle, err,
                              "expected (\"storage\", class, key, location, count) for a "
                              "persistent identifier");
    }
    fm_status status = check_key(pickle, item[2], err);
    fm_pickle_text key = {0};
    void *memory = NULL;
    if (status == FM_OK) {
        status = fm_pickle_join(pickle, &item[2]->text, 1, &key, err);
    }
    if (status == FM_OK) {
        status = fm_pickle_take(pickle, sizeof(fm_pickle_storage), &memory, err);
    }
    if (status == FM_OK) {
        status = fm_pickle_new(pickle, FM_PICKLE_STORAGE, ret, err);
    }
    if (status != FM_OK) {
        return status;
    }
    fm_pickle_storage *storage = memory;
    storage->key = key.bytes;
    storage->class_name = item[1]->text.bytes;
    storage->count = (size_t)item[4]->integer;
    storage->is_untyped = is_untyped(storage->class_name);
    for (size_t i = 0; i < N_DTYPES; i++) {
        if (dtypes[i].storage != NULL && strcmp(dtypes[i].storage, storage->class_name) == 0) {
            storage->has_dtype = true;
            storage->dtype = dtypes[i].dtype;
        }
    }
    (*ret)->storage = storage;
    return FM_OK;
}

/* ---- Tensors ---- */

/* Non-negative integers; false for anything else. */
static bool read_sizes(const fm_pickle_value *list, size_t *ret)
{
    for (size_t i = 0; i < list->items.count; i++) {
        const fm_pickle_value *item = list->items.at[i];
        if (item->kind != FM_PICKLE_INTEGER || item->integer < 0) {
            return false;
        }
        ret[i] = (size_t)item->integer;
    }
    return true;
}

/* A view whose elements differ from the stored bytes: negated or conjugated ones say so here. */
static bool has_metadata(const fm_pickle_value *arguments, size_t index)
{
    if (arguments->items.count <= index) {
        return false;
    }
    const fm_pickle_value *metadata = arguments->items.at[index];
    return metadata->kind != FM_PICKLE_NONE &&
           !(metadata->kind == FM_PICKLE_DICT && metadata->items.count == 0);
}

/* Why the tensor cannot be used; NULL where nothing speaks against it. */
static const char *tensor_flaw(const fm_pickle_value *arguments, size_t metadata_at)
{
    fm_pickle_value *const *item = arguments->items.at;
    if (item[2]->items.count > FM_MAX_RANK) {
        return "a tensor of more than 8 dimensions";
    }
    size_t sizes[FM_MAX_RANK];
    if (!read_sizes(item[2], sizes) || !read_sizes(item[3], sizes)) {
        return "a tensor with a negative size or stride";
    }
    return has_metadata(arguments, metadata_at) ? "a tensor that is a negated or conjugated view"
                                                : NULL;
}

static fm_status make_tensor(fm_pickle *pickle, const fm_pickle_value *arguments,
                             const fm_dtype *dtype, size_t metadata_at, fm_pickle_value **ret,
                             fm_error *err)
{
    fm_pickle_value *const *item = arguments->items.at;
    if (arguments->items.count < 4 || item[0]->kind != FM_PICKLE_STORAGE ||
        item[1]->kind != FM_PICKLE_INTEGER || item[1]->integer < 0 ||
        item[2]->kind != FM_PICKLE_LIST || item[3]->kind != FM_PICKLE_LIST ||
        item[2]->items.count != item[3]->items.count) {
        return fm_pickle_fail(pickle, err,
                              "expected a tensor of (storage, offset, sizes, as many strides)");
    }
    const fm_pickle_storage *storage = item[0]->storage;
    const char *flaw = tensor_flaw(arguments, metadata_at);
    if (flaw == NULL && !storage->has_dtype && !(storage->is_untyped && dtype != NULL)) {
        flaw = storage->class_name;
    }
    if (flaw != NULL) {
        return fm_pickle_new_opaque(pickle, flaw, ret, err);
    }
    void *memory = NULL;
    fm_status status = fm_pickle_take(pickle, sizeof(fm_pickle_tensor), &memory, err);
    if (status == FM_OK) {
        status = fm_pickle_new(pickle, FM_PICKLE_TENSOR, ret, err);
    }
    if (status != FM_OK) {
        return status;
    }
    fm_pickle_tensor *tensor = memory;
    tensor->storage = storage;
    tensor->dtype = dtype != NULL ? *dtype : storage->dtype;
    tensor->offset = (size_t)item[1]->integer;
    tensor->rank = item[2]->items.count;
    bool read = read_sizes(item[2], tensor->shape) && read_sizes(item[3], tensor->strides);
    (void)read; /* tensor_flaw() has seen it */
    (*ret)->tensor = tensor;
    return FM_OK;
}

/* _rebuild_tensor(storage, offset, size, stride)
 * _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata=None) */
static fm_status make_tensor_v2(fm_pickle *pickle, const fm_pickle_value *arguments,
                                fm_pickle_value **ret, fm_error *err)
{
    return make_tensor(pickle, arguments, NULL, 6, ret, err);
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None) */
static fm_status make_tensor_v3(fm_pickle *pickle, const fm_pickle_value *arguments,
                                fm_pickle_value **ret, fm_error *err)
{
    if (arguments->items.count < 7 || arguments->items.at[6]->kind != FM_PICKLE_CLASS) {
        return fm_pickle_fail(pickle, err, "expected a tensor's dtype");
    }
    const char *name = arguments->items.at[6]->text.bytes;
    for (size_t i = 0; i < N_DTYPES; i++) {
        if (strcmp(dtypes[i].scalar, name) == 0) {
            return make_tensor(pickle, arguments, &dtypes[i].dtype, 7, ret, err);
        }
    }
    return fm_pickle_new_opaque(pickle, name, ret, err);
}

/* _rebuild_parameter(data, requires_grad, hooks), …_with_state(data, requires_grad, hooks, state) */
static fm_status make_parameter(fm_pickle *pickle, const fm_pickle_value *arguments,
                                fm_pickle_value **ret, fm_error *err)
{
    if (arguments->items.count < 1 || (arguments->items.at[0]->kind != FM_PICKLE_TENSOR &&
                                       arguments->items.at[0]->kind != FM_PICKLE_OPAQUE)) {
        return fm_pickle_fail(pickle, err, "expected a parameter of a tensor");
    }
    *ret = arguments->items.at[0];
    return FM_OK;
}

/* _rebuild_from_type_v2(function, type, arguments, state): type's own attributes are left out. */
static fm_status make_from_type(fm_pickle *pickle, const fm_pickle_value *arguments,
                                fm_pickle_value **ret, fm_error *err)
{
    fm_pickle_value *const *item = arguments->items.at;
    if (arguments->items.count < 3 || item[0]->kind != FM_PICKLE_CLASS ||
        item[1]->kind != FM_PICKLE_CLASS) {
        return fm_pickle_fail(pickle, err, "expected a function, a type and arguments");
    }
    bool plain = strcmp(item[1]->text.bytes, "torch.Tensor") == 0 ||
                 strcmp(item[1]->text.bytes, "torch.nn.parameter.Parameter") == 0;
    if (!plain || strcmp(item[0]->text.bytes, "torch._tensor._rebuild_from_type_v2") == 0) {
        return fm_pickle_new_opaque(pickle, item[1]->text.bytes, ret, err);
    }
    return fm_pickle_call(pickle, item[0], item[2], ret, err);
}

/* ---- Calls ---- */

/* OrderedDict() and defaultdict(factory): the items follow. */
static fm_status make_dict(fm_pickle *pickle, const fm_pickle_value *arguments,
                           fm_pickle_value **ret, fm_error *err)
{
    for (size_t i = 0; i < arguments->items.count; i++) {
        fm_pickle_kind kind = arguments->items.at[i]->kind;
        if (kind != FM_PICKLE_CLASS && kind != FM_PICKLE_NONE) {
            return fm_pickle_new_opaque(pickle, "a dict made with arguments", ret, err);
        }
    }
    return fm_pickle_new(pickle, FM_PICKLE_DICT, ret, err);
}

/* torch.Size((…)) */
static fm_status make_size(fm_pickle *pickle, const fm_pickle_value *arguments,
                           fm_pickle_value **ret, fm_error *err)
{
    if (arguments->items.count != 1 || arguments->items.at[0]->kind != FM_PICKLE_LIST) {
        return fm_pickle_fail(pickle, err, "expected a torch.Size of a tuple");
    }
    *ret = arguments->items.at[0];
    return FM_OK;
}

typedef struct maker {
    const char *name;
    fm_status (*make)(fm_pickle *pickle, const fm_pickle_value *arguments, fm_pickle_value **ret,
                      fm_error *err);
} maker;

static const maker makers[] = {
    {"collections.OrderedDict", make_dict},
    {"collections.defaultdict", make_dict},
    {"torch.Size", make_size},
    {"torch._utils._rebuild_tensor", make_tensor_v2},
    {"torch._utils._rebuild_tensor_v2", make_tensor_v2},
    {"torch._utils._rebuild_tensor_v3", make_tensor_v3},
    {"torch._utils._rebuild_parameter", make_parameter},
    {"torch._utils._rebuild_parameter_with_state", make_parameter},
    {"torch._tensor._rebuild_from_type_v2", make_from_type},
};

fm_status fm_pickle_call(fm_pickle *pickle, const fm_pickle_value *callable,
                         const fm_pickle_value *arguments, fm_pickle_value **ret, fm_error *err)
{
    if (callable->kind != FM_PICKLE_CLASS && callable->kind != FM_PICKLE_OPAQUE) {
        return fm_pickle_fail(pickle, err, "expected a class or function, found %s",
                              fm_pickle_describe(callable));
    }
    if (arguments->kind != FM_PICKLE_LIST) {
        return fm_pickle_fail(pickle, err, "expected a tuple of arguments, found %s",
                              fm_pickle_describe(arguments));
    }
    const char *name = callable->text.bytes;
    for (size_t i = 0; callable->kind == FM_PICKLE_CLASS && i < sizeof makers / sizeof *makers;
         i++) {
        if (strcmp(makers[i].name, name) == 0) {
            return makers[i].make(pickle, arguments, ret, err);
        }
    }
    return fm_pickle_new_opaque(pickle, name, ret, err);
}
