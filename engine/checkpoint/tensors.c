/* Opening, listing and finding tensors. */
#include "engine/checkpoint/tensors.h"

#include "engine/checkpoint/pytorch.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/checkpoint/tensors_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *fm_dtype_name(fm_dtype dtype)
{
    static const char *const names[] = {
#define FM_DTYPE(id, name, size_bytes) [FM_DTYPE_##id] = name,
#include "engine/checkpoint/dtype.def"
#undef FM_DTYPE
    };
    assert((size_t)dtype < sizeof names / sizeof *names);
    return names[dtype];
}

size_t fm_dtype_size_bytes(fm_dtype dtype)
{
    static const size_t sizes[] = {
#define FM_DTYPE(id, name, size_bytes) [FM_DTYPE_##id] = (size_bytes),
#include "engine/checkpoint/dtype.def"
#undef FM_DTYPE
    };
    assert((size_t)dtype < sizeof sizes / sizeof *sizes);
    return sizes[dtype];
}

void fm_shape_text(size_t rank, const size_t *shape, char ret[FM_SHAPE_TEXT_BYTES])
{
    assert(rank <= FM_MAX_RANK);
    size_t used = 0;
    ret[used++] = '[';
    for (size_t axis = 0; axis < rank; axis++) {
        int length = snprintf(ret + used, FM_SHAPE_TEXT_BYTES - used, "%s%zu",
                              axis == 0 ? "" : ", ", shape[axis]);
        assert(length > 0 && (size_t)length < FM_SHAPE_TEXT_BYTES - used);
        used += (size_t)length;
    }
    assert(used + 2 <= FM_SHAPE_TEXT_BYTES);
    ret[used++] = ']';
    ret[used] = '\0';
}

int fm_tensor_compare_name(const void *left, const void *right)
{
    const fm_tensor *a = left;
    const fm_tensor *b = right;
    return strcmp(a->name, b->name);
}

static fm_status parse(const void *data, size_t length, bool pytorch, const char *entry,
                       fm_tensors **ret, fm_error *err)
{
    fm_tensors *tensors = fm_alloc(sizeof *tensors);
    if (tensors == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a list of tensors");
    }
    fm_status status = pytorch ? fm_pytorch_list(data, length, entry, tensors, err)
                               : fm_safetensors_list(data, length, &tensors->list, &tensors->count,
                                                     &tensors->names, err);
    if (status != FM_OK) {
        fm_tensors_close(tensors);
        return status;
    }
    *ret = tensors;
    return FM_OK;
}

fm_status fm_tensors_parse(const void *data, size_t length, fm_tensors **ret, fm_error *err)
{
    return parse(data, length, false, NULL, ret, err);
}

fm_status fm_tensors_parse_pytorch(const void *data, size_t length, const char *entry,
                                   fm_tensors **ret, fm_error *err)
{
    return parse(data, length, true, entry, ret, err);
}

/* Remembers the last component of path as the one file behind tensors. */
static fm_status set_file(fm_tensors *tensors, const char *path, fm_error *err)
{
    const char *slash = strrchr(path, '/');
    tensors->files = fm_alloc_array(1, sizeof *tensors->files);
    if (tensors->files != NULL) {
        tensors->files[0] = fm_string_copy(slash == NULL ? path : slash + 1);
    }
    if (tensors->files == NULL || tensors->files[0] == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a file name");
    }
    tensors->n_files = 1;
    return FM_OK;
}

/* By its name, or its first bytes where that says nothing. */
static bool is_pytorch(const char *path, const fm_mapping *mapping)
{
    return fm_pytorch_is_named(path) || (!fm_file_name_ends(path, ".safetensors") &&
                                         fm_zip_is_archive(mapping->data, mapping->size_bytes));
}

static fm_status open_single(const char *path, const char *entry, fm_tensors **ret, fm_error *err)
{
    fm_mapping mapping = {0};
    fm_status status = fm_file_map(path, &mapping, err);
    if (status != FM_OK) {
        return status;
    }
    fm_tensors *tensors = NULL;
    bool pytorch = is_pytorch(path, &mapping);
    if (!pytorch && entry != NULL) {
        status = fm_fail(err, FM_EFORMAT, "has no entries, found weights.entry \"%s\"", entry);
    } else {
        status = parse(mapping.data, mapping.size_bytes, pytorch, entry, &tensors, err);
    }
    if (status != FM_OK) {
        fm_file_unmap(&mapping);
        return fm_fail_prefix(err, status, "%s", path);
    }
    tensors->mapping = mapping;
    for (size_t i = 0; i < tensors->count; i++) { /* a PyTorch file's may be copies */
        const unsigned char *data = tensors->list[i].data;
        tensors->list[i].mapped = data >= mapping.data && data < mapping.data + mapping.size_bytes;
    }
    status = set_file(tensors, path, err);
    if (status != FM_OK) {
        fm_tensors_close(tensors);
        return status;
    }
    *ret = tensors;
    return FM_OK;
}

fm_status fm_tensors_open_single(const char *path, fm_tensors **ret, fm_error *err)
{
    return open_single(path, NULL, ret, err);
}

fm_status fm_tensors_open_entry(const char *path, const char *entry, fm_tensors **ret,
                                fm_error *err)
{
    if (!fm_file_name_ends(path, ".safetensors.index.json")) {
        return open_single(path, entry, ret, err);
    }
    return entry == NULL ? fm_shards_open(path, ret, err)
                         : fm_fail(err, FM_EFORMAT,
                                   "%s: has no entries, found weights.entry \"%s\"", path, entry);
}

fm_status fm_tensors_open(const char *path, fm_tensors **ret, fm_error *err)
{
    return fm_tensors_open_entry(path, NULL, ret, err);
}

void fm_tensors_close(fm_tensors *tensors)
{
    if (tensors == NULL) {
        return;
    }
    for (size_t i = 0; i < tensors->n_shards; i++) {
        fm_tensors_close(tensors->shards[i]);
    }
    for (size_t i = 0; i < tensors->n_files; i++) {
        fm_free(tensors->files[i]);
    }
    fm_free(tensors->shards);
    fm_free(tensors->files);
    fm_free(tensors->list);
    fm_free(tensors->names);
    fm_free(tensors->origin);
    fm_copies_done(&tensors->copies);
    fm_file_unmap(&tensors->mapping);
    fm_free(tensors);
}

const char *fm_tensors_origin(const fm_tensors *tensors)
{
    return tensors->origin;
}

size_t fm_tensors_file_count(const fm_tensors *tensors)
{
    return tensors->n_files;
}

const char *fm_tensors_file_at(const fm_tensors *tensors, size_t index)
{
    assert(index < tensors->n_files);
    return tensors->files[index];
}

size_t fm_tensors_count(const fm_tensors *tensors)
{
    return tensors->count;
}

const fm_tensor *fm_tensors_at(const fm_tensors *tensors, size_t index)
{
    assert(index < tensors->count);
    return &tensors->list[index];
}

const fm_tensor *fm_tensors_find(const fm_tensors *tensors, const char *name)
{
    if (tensors->count == 0) {
        return NULL;
    }
    const fm_tensor wanted = {.name = name};
    return bsearch(&wanted, tensors->list, tensors->count, sizeof *tensors->list,
                   fm_tensor_compare_name);
}
