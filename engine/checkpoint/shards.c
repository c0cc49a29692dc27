/* Sharded checkpoints: an index that says which file holds which tensor.
 *
 * Source: the Hugging Face convention, {"metadata": {…}, "weight_map": {tensor: file}}. */
#include "engine/checkpoint/json_text.h"
#include "engine/checkpoint/tensors_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INDEX_BYTES ((size_t)100 * 1000 * 1000) /* as a header: it lists the same names */

static fm_status check_top(json_t *index, fm_error *err)
{
    if (!json_is_object(index)) {
        return fm_fail(err, FM_EFORMAT, "expected an object, found %s", fm_json_kind(index));
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(index, key, value)
    {
        if (strcmp(key, "metadata") != 0 && strcmp(key, "weight_map") != 0) {
            return fm_fail(err, FM_EFORMAT, "/%s: unknown key; expected metadata and weight_map",
                           key);
        }
        if (!json_is_object(value)) {
            return fm_fail(err, FM_EFORMAT, "/%s: expected an object, found %s", key,
                           fm_json_kind(value));
        }
    }
    if (json_object_size(json_object_get(index, "weight_map")) == 0) {
        return fm_fail(err, FM_EFORMAT, "/weight_map: expected at least one tensor, found %s",
                       json_object_get(index, "weight_map") == NULL ? "nothing" : "{}");
    }
    return FM_OK;
}

static int compare_text(const void *left, const void *right)
{
    const char *const *a = left;
    const char *const *b = right;
    return strcmp(*a, *b);
}

static fm_status check_file_name(const char *tensor, const json_t *file, fm_error *err)
{
    const char *name = json_string_value(file);
    if (name == NULL) {
        return fm_fail(err, FM_EFORMAT,
                       "/weight_map: tensor \"%s\": expected a file name, found %s", tensor,
                       fm_json_kind(file));
    }
    if (!fm_file_name_is_local(name) || !fm_file_name_ends(name, ".safetensors")) {
        return fm_fail(err, FM_EFORMAT,
                       "/weight_map: tensor \"%s\": expected a .safetensors file of the same "
                       "folder, found \"%s\"",
                       tensor, name);
    }
    return FM_OK;
}

/* The distinct file names of the map, sorted.
 *   ret  [json_object_size(map)] views of the tree */
static fm_status list_files(json_t *map, const char **ret, size_t *ret_count, fm_error *err)
{
    size_t count = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(map, key, value)
    {
        fm_status status = check_file_name(key, value, err);
        if (status != FM_OK) {
            return status;
        }
        ret[count++] = json_string_value(value);
    }
    assert(count > 0);
    qsort(ret, count, sizeof *ret, compare_text);
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(ret[i], ret[kept - 1]) != 0) {
            ret[kept++] = ret[i];
        }
    }
    *ret_count = kept;
    return FM_OK;
}

/* files[0] is the index itself, the shards' names follow. */
static fm_status set_files(fm_tensors *tensors, const char *index_name, const char *const *names,
                           size_t count, fm_error *err)
{
    tensors->files = fm_alloc_array(count + 1, sizeof *tensors->files);
    tensors->shards = fm_alloc_array(count, sizeof(fm_tensors *));
    if (tensors->files == NULL || tensors->shards == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu file names", count);
    }
    for (size_t i = 0; i <= count; i++) {
        tensors->files[i] = fm_string_copy(i == 0 ? index_name : names[i - 1]);
        if (tensors->files[i] == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for a file name");
        }
        tensors->n_files++;
    }
    return FM_OK;
}

/* Every tensor of one file must be listed, and for that file. */
static fm_status check_listed(const fm_tensors *shard, const char *file, const json_t *map,
                              fm_error *err)
{
    for (size_t i = 0; i < shard->count; i++) {
        const char *name = shard->list[i].name;
        const json_t *listed = json_object_get(map, name);
        if (listed == NULL) {
            return fm_fail(err, FM_EFORMAT,
                           "%s: tensor \"%s\": expected every tensor in weight_map, found none of "
                           "this name",
                           file, name);
        }
        if (strcmp(json_string_value(listed), file) != 0) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": expected in %s by weight_map, found in %s too", name,
                           json_string_value(listed), file);
        }
    }
    return FM_OK;
}

static fm_status open_shards(fm_tensors *tensors, const char *folder, const json_t *map,
                             fm_error *err)
{
    size_t n_shards = tensors->n_files - 1;
    for (size_t i = 0; i < n_shards; i++) {
        const char *file = tensors->files[i + 1];
        char *path = fm_file_path(folder, file);
        if (path == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for a path");
        }
        fm_status status = fm_tensors_open_single(path, &tensors->shards[i], err);
        fm_free(path);
        if (status != FM_OK) {
            return status;
        }
        tensors->n_shards++;
        status = check_listed(tensors->shards[i], file, map, err);
        if (status != FM_OK) {
            return status;
        }
        tensors->count += tensors->shards[i]->count;
    }
    return FM_OK;
}

/* One list over all shards; with check_listed() and equal numbers, map and files name the same. */
static fm_status merge(fm_tensors *tensors, json_t *map, fm_error *err)
{
    tensors->list = fm_alloc_array(tensors->count, sizeof *tensors->list);
    if (tensors->list == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", tensors->count);
    }
    size_t used = 0;
    for (size_t i = 0; i < tensors->n_shards; i++) {
        const fm_tensors *shard = tensors->shards[i];
        if (shard->count > 0) {
            memcpy(tensors->list + used, shard->list, shard->count * sizeof *shard->list);
        }
        used += shard->count;
    }
    if (used > 0) {
        qsort(tensors->list, used, sizeof *tensors->list, fm_tensor_compare_name);
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(map, key, value)
    {
        if (fm_tensors_find(tensors, key) == NULL) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": expected in %s by weight_map, not found", key,
                           json_string_value(value));
        }
    }
    assert(used == json_object_size(map));
    return FM_OK;
}

static fm_status open_all(const char *folder, const char *index_name, json_t *index,
                          fm_tensors *tensors, fm_error *err)
{
    fm_status status = check_top(index, err);
    if (status != FM_OK) {
        return status;
    }
    json_t *map = json_object_get(index, "weight_map");
    const char **names = fm_alloc_array(json_object_size(map), sizeof *names);
    if (names == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu names", json_object_size(map));
    }
    size_t count = 0;
    status = list_files(map, names, &count, err);
    if (status == FM_OK) {
        status = set_files(tensors, index_name, names, count, err);
    }
    if (status == FM_OK) {
        status = open_shards(tensors, folder, map, err);
    }
    if (status == FM_OK) {
        status = merge(tensors, map, err);
    }
    fm_free((void *)names);
    return status;
}

static fm_status read_index(const char *path, json_t **ret, fm_error *err)
{
    char *text = NULL;
    size_t length = 0;
    fm_status status = fm_file_read(path, MAX_INDEX_BYTES, &text, &length, err);
    if (status != FM_OK) {
        return status;
    }
    status = fm_json_text_parse(text, length, NULL, ret, err);
    fm_free(text);
    return status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "%s", path);
}

fm_status fm_shards_open(const char *path, fm_tensors **ret, fm_error *err)
{
    json_t *index = NULL;
    fm_status status = read_index(path, &index, err);
    if (status != FM_OK) {
        return status;
    }
    fm_tensors *tensors = fm_alloc(sizeof *tensors);
    char *folder = fm_string_copy(path);
    if (tensors == NULL || folder == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for a list of tensors");
        goto out;
    }
    char *slash = strrchr(folder, '/');
    const char *name = slash == NULL ? path : path + (slash - folder) + 1;
    if (slash != NULL) {
        *slash = '\0';
    }
    status = open_all(slash == NULL ? "." : folder, name, index, tensors, err);
    if (status == FM_OK) {
        *ret = tensors;
        tensors = NULL;
    } else {
        (void)fm_fail_prefix(err, status, "%s", path);
    }
out:
    fm_tensors_close(tensors);
    fm_free(folder);
    json_decref(index);
    return status;
}
