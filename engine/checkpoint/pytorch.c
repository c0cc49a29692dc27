/* From a PyTorch archive to a list of tensors: the archive's records, the pickle, the state dict, and every
 * view checked against the storage it looks into. */
#include "engine/checkpoint/pytorch.h"

#include "engine/checkpoint/file.h"
#include "engine/checkpoint/pytorch_private.h"
#include "engine/checkpoint/tensors_private.h"
#include "engine/checkpoint/utf8.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_NAME_BYTES (FM_ZIP_MAX_NAME_BYTES + FM_PICKLE_MAX_NAME_BYTES + 16)
#define PICKLE_RECORD     "data.pkl"
#define SHOWN_NAME_BYTES  200 /* of a tensor's name in a message */

typedef struct archive {
    fm_zip *zip;
    char root[FM_ZIP_MAX_NAME_BYTES + 1]; /* "archive/" */
    fm_copies *copies;
} archive;

bool fm_pytorch_is_named(const char *path)
{
    return fm_file_name_ends(path, ".pt") || fm_file_name_ends(path, ".pth");
}

/* ---- Records ---- */

/* <root>/data.pkl, the only one of its kind. */
static fm_status find_root(archive *from, fm_error *err)
{
    size_t found = 0;
    for (size_t i = 0; i < fm_zip_count(from->zip); i++) {
        const char *name = fm_zip_at(from->zip, i)->name;
        const char *slash = strchr(name, '/');
        if (slash != NULL && slash != name && strcmp(slash + 1, PICKLE_RECORD) == 0) {
            (void)snprintf(from->root, sizeof from->root, "%.*s", (int)(slash - name + 1), name);
            found++;
        }
    }
    return found == 1 ? FM_OK
                      : fm_fail(err, FM_EFORMAT,
                                "expected one record <name>/" PICKLE_RECORD
                                " as torch.save writes it, found %zu",
                                found);
}

static fm_zip_record *find_record(const archive *from, const char *folder, const char *name)
{
    char whole[RECORD_NAME_BYTES];
    int length = snprintf(whole, sizeof whole, "%s%s%s", from->root, folder, name);
    assert(length > 0 && (size_t)length < sizeof whole);
    (void)length;
    return fm_zip_find(from->zip, whole);
}

/* What an archive of this kind says of itself beside the pickle. */
static fm_status check_kind(const archive *from, fm_error *err)
{
    if (find_record(from, "", "constants.pkl") != NULL) {
        return fm_fail(err, FM_EFORMAT,
                       "is a TorchScript program; save the module's state_dict() instead");
    }
    fm_zip_record *order = find_record(from, "", "byteorder");
    if (order == NULL) { /* before PyTorch 2.1, which wrote little-endian files alone */
        return FM_OK;
    }
    fm_status status = fm_zip_load(from->zip, order, from->copies, err);
    if (status == FM_OK &&
        (order->size_bytes != strlen("little") || memcmp(order->data, "little", 6) != 0)) {
        status = fm_fail(err, FM_EFORMAT, "expected byteorder \"little\", found \"%.*s\"",
                         (int)(order->size_bytes < 16 ? order->size_bytes : 16),
                         (const char *)order->data);
    }
    return status;
}

/* ---- One tensor ---- */

typedef struct view {
    const unsigned char *base; /* of its first element */
    size_t item_bytes;
    bool contiguous;
} view;

/* The record behind a storage, of exactly the size that the storage declares.
 *   ret_elements  how many of item_bytes it holds */
static fm_status load_storage(const archive *from, const fm_pickle_storage *storage,
                              size_t item_bytes, const unsigned char **ret, size_t *ret_elements,
                              fm_error *err)
{
    fm_zip_record *record = find_record(from, "data/", storage->key);
    if (record == NULL) {
        return fm_fail(err, FM_EFORMAT, "expected record %sdata/%s, found none", from->root,
                       storage->key);
    }
    size_t width = storage->is_untyped ? 1 : fm_dtype_size_bytes(storage->dtype);
    size_t size_bytes = 0;
    if (!fm_multiply(storage->count, width, &size_bytes) || record->size_bytes != size_bytes) {
        return fm_fail(
            err, FM_EFORMAT,
            "storage %s: expected a record of %zu elements of %zu bytes, found %zu bytes",
            storage->key, storage->count, width, record->size_bytes);
    }
    fm_status status = fm_zip_load(from->zip, record, from->copies, err);
    if (status == FM_OK) {
        *ret = record->data;
        *ret_elements = size_bytes / item_bytes;
    }
    return status;
}

static bool is_contiguous(const fm_pickle_tensor *tensor)
{
    size_t expected = 1;
    for (size_t axis = tensor->rank; axis-- > 0;) {
        if (tensor->shape[axis] != 1 && tensor->strides[axis] != expected) {
            return false;
        }
        expected *= tensor->shape[axis];
    }
    return true;
}

/* The index of the last element, which lies furthest, for strides are not negative. */
static bool last_element(const fm_pickle_tensor *tensor, size_t *ret)
{
    size_t last = tensor->offset;
    for (size_t axis = 0; axis < tensor->rank; axis++) {
        size_t span = 0;
        if (!fm_multiply(tensor->shape[axis] - 1, tensor->strides[axis], &span) ||
            __builtin_add_overflow(last, span, &last)) {
            return false;
        }
    }
    *ret = last;
    return true;
}

static fm_status check_view(const fm_pickle_tensor *from, size_t n_elements, size_t *ret_count,
                            fm_error *err)
{
    size_t count = 1, last = 0, size_bytes = 0;
    for (size_t axis = 0; axis < from->rank; axis++) {
        if (!fm_multiply(count, from->shape[axis], &count)) {
            return fm_fail(err, FM_EFORMAT, "the element count overflows");
        }
    }
    if (!fm_multiply(count, fm_dtype_size_bytes(from->dtype), &size_bytes)) {
        return fm_fail(err, FM_EFORMAT, "the size in bytes overflows");
    }
    if (count > 0 && (!last_element(from, &last) || last >= n_elements)) {
        char shape[FM_SHAPE_TEXT_BYTES], strides[FM_SHAPE_TEXT_BYTES];
        fm_shape_text(from->rank, from->shape, shape);
        fm_shape_text(from->rank, from->strides, strides);
        return fm_fail(err, FM_EFORMAT,
                       "expected offset %zu, shape %s and strides %s to lie inside storage %s of "
                       "%zu elements",
                       from->offset, shape, strides, from->storage->key, n_elements);
    }
    *ret_count = count;
    return FM_OK;
}

/* Copies a view's elements in row-major order; the last axis is the inner loop. */
static void gather(const fm_pickle_tensor *from, const unsigned char *base, size_t item_bytes,
                   size_t count, unsigned char *ret)
{
    size_t index[FM_MAX_RANK] = {0};
    size_t inner = from->rank - 1;
    size_t step = from->strides[inner] * item_bytes;
    for (size_t done = 0; done < count; done += from->shape[inner]) {
        const unsigned char *at = base;
        for (size_t axis = 0; axis < inner; axis++) {
            at += index[axis] * from->strides[axis] * item_bytes;
        }
        for (size_t i = 0; i < from->shape[inner]; i++) {
            memcpy(ret, at + i * step, item_bytes);
            ret += item_bytes;
        }
        for (size_t axis = inner; axis > 0; axis--) { /* the next row, as an odometer counts */
            index[axis - 1]++;
            if (index[axis - 1] < from->shape[axis - 1]) {
                break;
            }
            index[axis - 1] = 0;
        }
    }
}

static fm_status read_tensor(const archive *from, const fm_pickle_tensor *tensor, fm_tensor *ret,
                             fm_error *err)
{
    size_t item_bytes = fm_dtype_size_bytes(tensor->dtype);
    const unsigned char *base = NULL;
    size_t n_elements = 0, count = 0;
    fm_status status = load_storage(from, tensor->storage, item_bytes, &base, &n_elements, err);
    if (status == FM_OK) {
        status = check_view(tensor, n_elements, &count, err);
    }
    if (status != FM_OK) {
        return status;
    }
    base += count > 0 ? tensor->offset * item_bytes : 0;
    if (count > 0 && !is_contiguous(tensor)) {
        void *copy = NULL;
        status = fm_copies_take(from->copies, count * item_bytes, &copy, err);
        if (status != FM_OK) {
            return status;
        }
        gather(tensor, base, item_bytes, count, copy);
        base = copy;
    }
    ret->dtype = tensor->dtype;
    ret->rank = tensor->rank;
    memcpy(ret->shape, tensor->shape, tensor->rank * sizeof *ret->shape);
    ret->count = count;
    ret->data = base;
    ret->size_bytes = count * item_bytes;
    return FM_OK;
}

/* ---- Names ---- */

static fm_status check_name(fm_pickle_text name, fm_error *err)
{
    if (name.length == 0 || name.length > FM_PYTORCH_MAX_NAME) {
        return fm_fail(err, FM_EFORMAT, "expected a tensor's name of 1 to %zu bytes, found %zu",
                       FM_PYTORCH_MAX_NAME, name.length);
    }
    const unsigned char *text = (const unsigned char *)name.bytes;
    for (size_t i = 0; i < name.length;) {
        size_t bytes = text[i] == '\0' ? 0 : fm_utf8_length(text + i, name.length - i);
        if (bytes == 0) {
            return fm_fail(err, FM_EFORMAT,
                           "expected tensors' names in UTF-8 without U+0000, found byte 0x%02x",
                           (unsigned)text[i]);
        }
        i += bytes;
    }
    return FM_OK;
}

/* ---- All tensors ---- */

static fm_status check_unique(const fm_tensors *tensors, fm_error *err)
{
    for (size_t i = 1; i < tensors->count; i++) {
        if (strcmp(tensors->list[i - 1].name, tensors->list[i].name) == 0) {
            return fm_fail(err, FM_EFORMAT, "tensor \"%s\": is there twice", tensors->list[i].name);
        }
    }
    return FM_OK;
}

static fm_status make_room(const fm_pytorch_selection *selection, fm_tensors *tensors,
                           fm_error *err)
{
    size_t names_bytes = 0;
    for (size_t i = 0; i < selection->count; i++) {
        fm_status status = check_name(selection->list[i].name, err);
        if (status != FM_OK) {
            return status;
        }
        names_bytes += selection->list[i].name.length + 1;
    }
    tensors->list = fm_alloc_array(selection->count, sizeof *tensors->list);
    tensors->names = fm_alloc(names_bytes);
    tensors->origin = fm_string_copy(selection->origin);
    if (tensors->list == NULL || tensors->names == NULL || tensors->origin == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", selection->count);
    }
    return FM_OK;
}

static fm_status read_all(const archive *from, const fm_pytorch_selection *selection,
                          fm_tensors *tensors, fm_error *err)
{
    fm_status status = make_room(selection, tensors, err);
    char *names = tensors->names;
    for (size_t i = 0; status == FM_OK && i < selection->count; i++) {
        const fm_pytorch_named *named = &selection->list[i];
        fm_tensor *tensor = &tensors->list[tensors->count];
        status = read_tensor(from, named->tensor, tensor, err);
        if (status != FM_OK) {
            return fm_fail_prefix(err, status, "tensor \"%.*s\"",
                                  (int)(named->name.length < SHOWN_NAME_BYTES ? named->name.length
                                                                              : SHOWN_NAME_BYTES),
                                  named->name.bytes);
        }
        memcpy(names, named->name.bytes, named->name.length); /* terminated by the zeroed memory */
        tensor->name = names;
        names += named->name.length + 1;
        tensors->count++;
    }
    if (status == FM_OK && tensors->count > 0) {
        qsort(tensors->list, tensors->count, sizeof *tensors->list, fm_tensor_compare_name);
        status = check_unique(tensors, err);
    }
    return status;
}

/* ---- The file ---- */

static fm_status check_magic(const unsigned char *data, size_t length, fm_error *err)
{
    if (fm_zip_is_archive(data, length)) {
        return FM_OK;
    }
    if (length > 1 && data[0] == 0x80) { /* a bare pickle */
        return fm_fail(err, FM_EFORMAT,
                       "is in PyTorch's format from before 1.6, which is not a zip archive; load "
                       "it with torch.load(…, map_location=\"cpu\") and torch.save() it again");
    }
    return fm_fail(err, FM_EFORMAT,
                   "expected a zip archive as torch.save writes it, found other bytes");
}

static fm_status read_pickle(const archive *from, const char *entry, fm_tensors *tensors,
                             fm_error *err)
{
    fm_zip_record *record = find_record(from, "", PICKLE_RECORD);
    assert(record != NULL);
    if (record->size_bytes > FM_PICKLE_MAX_BYTES) {
        return fm_fail(err, FM_EFORMAT, PICKLE_RECORD ": expected at most %zu bytes, found %zu",
                       FM_PICKLE_MAX_BYTES, record->size_bytes);
    }
    fm_status status = fm_zip_load(from->zip, record, from->copies, err);
    fm_pickle *pickle = NULL;
    if (status == FM_OK) {
        status = fm_pickle_parse(record->data, record->size_bytes, &pickle, err);
        if (status != FM_OK) {
            return fm_fail_prefix(err, status, PICKLE_RECORD);
        }
    }
    fm_pytorch_selection selection = {0};
    if (status == FM_OK) {
        status = fm_pytorch_choose(pickle, entry, &selection, err);
    }
    if (status == FM_OK) {
        status = read_all(from, &selection, tensors, err);
    }
    fm_free(selection.list);
    fm_pickle_free(pickle);
    return status;
}

fm_status fm_pytorch_list(const unsigned char *data, size_t length, const char *entry,
                          fm_tensors *tensors, fm_error *err)
{
    fm_status status = check_magic(data, length, err);
    if (status != FM_OK) {
        return status;
    }
    size_t more = 0;
    tensors->copies.left_bytes =
        fm_multiply(length, FM_PYTORCH_COPIES, &more) && more <= SIZE_MAX - FM_PYTORCH_COPY_BYTES
            ? more + FM_PYTORCH_COPY_BYTES
            : SIZE_MAX;
    archive from = {.copies = &tensors->copies};
    status = fm_zip_open(data, length, &from.zip, err);
    if (status != FM_OK) {
        return status;
    }
    status = find_root(&from, err);
    if (status == FM_OK) {
        status = check_kind(&from, err);
    }
    if (status == FM_OK) {
        status = read_pickle(&from, entry, tensors, err);
    }
    fm_zip_close(from.zip);
    return status;
}
