/* Checks every field of a safetensors header before any tensor is listed. */
#include "engine/checkpoint/safetensors.h"

#include "engine/checkpoint/json_text.h"
#include "engine/checkpoint/tensors_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES      ((size_t)8)
#define METADATA_KEY      "__metadata__"
#define DTYPE_NAMES_BYTES 128

/* The part of the image behind the header: what data_offsets count from. */
typedef struct image {
    const unsigned char *data;
    size_t size_bytes;
} image;

static void list_dtypes(char ret[DTYPE_NAMES_BYTES])
{
    size_t used = 0;
#define FM_DTYPE(id, name, size_bytes)                                                             \
    memcpy(ret + used, used == 0 ? name : ", " name,                                               \
           used == 0 ? sizeof name - 1 : sizeof(", " name) - 1);                                   \
    used += used == 0 ? sizeof name - 1 : sizeof(", " name) - 1;
#include "engine/checkpoint/dtype.def"
#undef FM_DTYPE
    assert(used < DTYPE_NAMES_BYTES);
    ret[used] = '\0';
}

static fm_status read_dtype(const char *name, const json_t *value, fm_dtype *ret, fm_error *err)
{
    const char *text = json_string_value(value);
    if (text == NULL) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": dtype: expected a string, found %s", name,
                       fm_json_kind(value));
    }
#define FM_DTYPE(id, dtype_name, size_bytes)                                                       \
    if (strcmp(text, dtype_name) == 0) {                                                           \
        *ret = FM_DTYPE_##id;                                                                      \
        return FM_OK;                                                                              \
    }
#include "engine/checkpoint/dtype.def"
#undef FM_DTYPE
    char names[DTYPE_NAMES_BYTES];
    list_dtypes(names);
    return fm_fail(err, FM_EFORMAT, "tensor \"%s\": dtype: expected one of %s, found \"%s\"", name,
                   names, text);
}

static fm_status read_shape(const char *name, const json_t *value, fm_tensor *ret, fm_error *err)
{
    if (!json_is_array(value)) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": shape: expected an array, found %s", name,
                       fm_json_kind(value));
    }
    size_t rank = json_array_size(value);
    if (rank > FM_MAX_RANK) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": shape: expected at most %d dimensions, found %zu", name,
                       FM_MAX_RANK, rank);
    }
    ret->rank = rank;
    ret->count = 1;
    for (size_t axis = 0; axis < rank; axis++) {
        const json_t *item = json_array_get(value, axis);
        if (!json_is_integer(item) || json_integer_value(item) < 0) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": shape: expected integers >= 0, found %s at index %zu",
                           name, json_is_integer(item) ? "a negative one" : fm_json_kind(item),
                           axis);
        }
        ret->shape[axis] = (size_t)json_integer_value(item);
        if (!fm_multiply(ret->count, ret->shape[axis], &ret->count)) {
            return fm_fail(err, FM_EFORMAT, "tensor \"%s\": shape: the element count overflows",
                           name);
        }
    }
    return FM_OK;
}

static fm_status read_offsets(const char *name, const json_t *value, const image *buffer,
                              fm_tensor *tensor, fm_error *err)
{
    const json_t *first = json_array_get(value, 0); /* NULL unless an array of that length */
    const json_t *last = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_integer(first) || !json_is_integer(last)) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": data_offsets: expected [begin, end], two integers", name);
    }
    json_int_t begin = json_integer_value(first);
    json_int_t end = json_integer_value(last);
    if (begin < 0 || end < begin || (size_t)end > buffer->size_bytes) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": data_offsets: expected 0 <= begin <= end <= %zu (the bytes "
                       "behind the header), found [%lld, %lld]",
                       name, buffer->size_bytes, (long long)begin, (long long)end);
    }
    size_t size_bytes = 0;
    if (!fm_multiply(tensor->count, fm_dtype_size_bytes(tensor->dtype), &size_bytes)) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": shape: the size in bytes overflows", name);
    }
    if ((size_t)(end - begin) != size_bytes) {
        char shape[FM_SHAPE_TEXT_BYTES];
        fm_shape_text(tensor->rank, tensor->shape, shape);
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": data_offsets: expected %zu bytes for %s %s, found %lld "
                       "([%lld, %lld])",
                       name, size_bytes, fm_dtype_name(tensor->dtype), shape,
                       (long long)(end - begin), (long long)begin, (long long)end);
    }
    tensor->data = buffer->data + begin;
    tensor->size_bytes = size_bytes;
    return FM_OK;
}

static fm_status read_entry(const char *name, json_t *entry, const image *buffer, fm_tensor *ret,
                            fm_error *err)
{
    if (!json_is_object(entry)) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": expected an object, found %s", name,
                       fm_json_kind(entry));
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(entry, key, value)
    {
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 &&
            strcmp(key, "data_offsets") != 0) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": expected dtype, shape and data_offsets, found the key "
                           "\"%s\"",
                           name, key);
        }
    }
    *ret = (fm_tensor){0};
    fm_status status = read_dtype(name, json_object_get(entry, "dtype"), &ret->dtype, err);
    if (status == FM_OK) {
        status = read_shape(name, json_object_get(entry, "shape"), ret, err);
    }
    if (status == FM_OK) {
        status = read_offsets(name, json_object_get(entry, "data_offsets"), buffer, ret, err);
    }
    return status;
}

static fm_status check_metadata(json_t *metadata, fm_error *err)
{
    if (!json_is_object(metadata)) {
        return fm_fail(err, FM_EFORMAT, METADATA_KEY ": expected an object, found %s",
                       fm_json_kind(metadata));
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return fm_fail(err, FM_EFORMAT, METADATA_KEY ": \"%s\": expected a string, found %s",
                           key, fm_json_kind(value));
        }
    }
    return FM_OK;
}

static int compare_offset(const void *left, const void *right)
{
    const fm_tensor *a = left;
    const fm_tensor *b = right;
    if (a->data != b->data) {
        return (const unsigned char *)a->data < (const unsigned char *)b->data ? -1 : 1;
    }
    return (a->size_bytes > b->size_bytes) - (a->size_bytes < b->size_bytes);
}

/* The format wants the buffer covered exactly: no overlap, no hole, nothing behind the last. */
static fm_status check_coverage(fm_tensor *list, size_t count, const image *buffer, fm_error *err)
{
    if (count > 1) {
        qsort(list, count, sizeof *list, compare_offset);
    }
    size_t covered = 0;
    for (size_t i = 0; i < count; i++) {
        size_t begin = (size_t)((const unsigned char *)list[i].data - buffer->data);
        if (begin < covered) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": data_offsets: expected begin %zu, found %zu: overlaps "
                           "tensor \"%s\"",
                           list[i].name, covered, begin, list[i - 1].name);
        }
        if (begin > covered) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": data_offsets: expected begin %zu, found %zu: bytes "
                           "before it belong to no tensor",
                           list[i].name, covered, begin);
        }
        covered = begin + list[i].size_bytes;
    }
    if (covered != buffer->size_bytes) {
        return fm_fail(err, FM_EFORMAT,
                       "expected %zu bytes behind the header (the end of the last tensor%s%s%s), "
                       "found %zu",
                       covered, count > 0 ? ", \"" : "", count > 0 ? list[count - 1].name : "",
                       count > 0 ? "\"" : "", buffer->size_bytes);
    }
    return FM_OK;
}

/* Copies all names into one block and fills list; both have been sized for the header. */
static fm_status read_entries(json_t *header, const image *buffer, fm_tensor *list, char *names,
                              size_t *ret_count, fm_error *err)
{
    size_t count = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(header, key, value)
    {
        fm_status status = FM_OK;
        if (strcmp(key, METADATA_KEY) == 0) {
            status = check_metadata(value, err);
        } else {
            status = read_entry(key, value, buffer, &list[count], err);
            size_t name_bytes = strlen(key) + 1;
            memcpy(names, key, name_bytes);
            list[count].name = names;
            names += name_bytes;
            count++;
        }
        if (status != FM_OK) {
            return status;
        }
    }
    *ret_count = count;
    return FM_OK;
}

static size_t names_size_bytes(json_t *header)
{
    size_t size_bytes = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(header, key, value)
    {
        size_bytes += strlen(key) + 1;
    }
    return size_bytes;
}

/* Finds the header and the buffer behind it, and parses the header. */
static fm_status split_image(const unsigned char *data, size_t length, json_t **ret_header,
                             image *ret_buffer, fm_error *err)
{
    if (length < LENGTH_BYTES) {
        return fm_fail(err, FM_EFORMAT, "expected 8 bytes of header length, found %zu bytes in all",
                       length);
    }
    uint64_t header_bytes = 0;
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        header_bytes |= (uint64_t)data[i] << (8 * i);
    }
    if (header_bytes > FM_SAFETENSORS_MAX_HEADER_BYTES) {
        return fm_fail(err, FM_EFORMAT, "header: expected at most %zu bytes, found %llu",
                       FM_SAFETENSORS_MAX_HEADER_BYTES, (unsigned long long)header_bytes);
    }
    if (header_bytes > length - LENGTH_BYTES) {
        return fm_fail(err, FM_EFORMAT,
                       "header: expected %llu bytes, found the file's end after %zu",
                       (unsigned long long)header_bytes, length - LENGTH_BYTES);
    }
    const char *text = (const char *)data + LENGTH_BYTES;
    if (header_bytes == 0 || text[0] != '{') {
        return fm_fail(err, FM_EFORMAT, "header: expected a JSON object that begins with '{'");
    }
    json_t *header = NULL;
    size_t used = 0;
    fm_status status = fm_json_text_parse(text, (size_t)header_bytes, &used, &header, err);
    if (status != FM_OK) {
        return fm_fail_prefix(err, status, "header");
    }
    while (used < header_bytes && text[used] == ' ') {
        used++;
    }
    if (used < header_bytes) {
        json_decref(header);
        return fm_fail(err, FM_EFORMAT,
                       "header: expected only spaces behind the JSON object, found byte 0x%02x at "
                       "offset %zu",
                       (unsigned)(unsigned char)text[used], used);
    }
    *ret_header = header;
    *ret_buffer = (image){.data = data + LENGTH_BYTES + header_bytes,
                          .size_bytes = length - LENGTH_BYTES - (size_t)header_bytes};
    return FM_OK;
}

fm_status fm_safetensors_list(const unsigned char *data, size_t length, fm_tensor **ret_list,
                              size_t *ret_count, char **ret_names, fm_error *err)
{
    json_t *header = NULL;
    image buffer = {0};
    fm_status status = split_image(data, length, &header, &buffer, err);
    if (status != FM_OK) {
        return status;
    }
    assert(json_is_object(header)); /* it began with '{' */
    size_t count = 0;
    fm_tensor *list = fm_alloc_array(json_object_size(header), sizeof *list);
    char *names = fm_alloc(names_size_bytes(header));
    if (list == NULL || names == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", json_object_size(header));
        goto out;
    }
    status = read_entries(header, &buffer, list, names, &count, err);
    if (status == FM_OK) {
        status = check_coverage(list, count, &buffer, err);
    }
    if (status == FM_OK) {
        if (count > 1) {
            qsort(list, count, sizeof *list, fm_tensor_compare_name);
        }
        *ret_list = list;
        *ret_count = count;
        *ret_names = names;
        list = NULL;
        names = NULL;
    }
out:
    fm_free(list);
    fm_free(names);
    json_decref(header);
    return status;
}
