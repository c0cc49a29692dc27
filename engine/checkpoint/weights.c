/* Stripped names over tensors, and the record of what was asked for.
 *
 * A stripped name is the tail of the tensor's own name, so entries view it; only names that were asked
 * for in vain are copied. Entries are kept in name order, missing ones among them. */
#include "engine/checkpoint/weights.h"

#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMED ((size_t)4) /* unused tensors that an error names */

struct fm_weights {
    fm_weights_entry *entries; /* [count] */
    size_t count, capacity;
};

/* ---- Names ---- */

/* What library wrappers put in front: DataParallel and torch.compile. */
static const char *strip_wrappers(const char *name)
{
    static const char *const wrappers[] = {"module.", "_orig_mod."};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers;) {
        size_t length = strlen(wrappers[i]);
        bool matches = strncmp(name, wrappers[i], length) == 0 && name[length] != '\0';
        name += matches ? length : 0;
        i = matches ? 0 : i + 1; /* they may be nested in any order */
    }
    return name;
}

/* What follows prefix in name; NULL when there is none, or nothing behind it. */
static const char *behind(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    bool begins = strncmp(name, prefix, length) == 0 && (length == 0 || name[length] != '\0');
    return begins ? name + length : NULL;
}

/* The prefix may stand before the wrappers, behind them, or be one of them. */
static fm_status strip(const char *name, const char *prefix, const char **ret, fm_error *err)
{
    const char *rest = behind(name, prefix);
    rest = rest != NULL ? rest : behind(strip_wrappers(name), prefix);
    if (rest == NULL) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": expected a name that begins with weights.prefix, \"%s\"",
                       name, prefix);
    }
    *ret = strip_wrappers(rest);
    return FM_OK;
}

static int compare_entry(const void *left, const void *right)
{
    const fm_weights_entry *a = left;
    const fm_weights_entry *b = right;
    return strcmp(a->name, b->name);
}

static fm_status strip_all(fm_weights *weights, const fm_tensors *tensors, const char *prefix,
                           fm_error *err)
{
    for (size_t i = 0; i < fm_tensors_count(tensors); i++) {
        const fm_tensor *tensor = fm_tensors_at(tensors, i);
        fm_weights_entry *entry = &weights->entries[weights->count];
        fm_status status = strip(tensor->name, prefix, &entry->name, err);
        if (status != FM_OK) {
            return status;
        }
        entry->tensor = tensor;
        weights->count++;
    }
    if (weights->count > 1) {
        qsort(weights->entries, weights->count, sizeof *weights->entries, compare_entry);
    }
    for (size_t i = 1; i < weights->count; i++) {
        const fm_weights_entry *entry = &weights->entries[i];
        if (strcmp(entry[-1].name, entry->name) == 0) {
            return fm_fail(
                err, FM_EFORMAT,
                "tensors \"%s\" and \"%s\": expected different names, both become \"%s\" "
                "without their prefixes",
                entry[-1].tensor->name, entry->tensor->name, entry->name);
        }
    }
    return FM_OK;
}

fm_status fm_weights_new(const fm_tensors *tensors, const char *prefix, fm_weights **ret,
                         fm_error *err)
{
    fm_weights *weights = fm_alloc(sizeof *weights);
    if (weights == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a list of weights");
    }
    weights->capacity = fm_tensors_count(tensors);
    weights->entries = fm_alloc_array(weights->capacity, sizeof *weights->entries);
    fm_status status = FM_OK;
    if (weights->entries == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for %zu weights", weights->capacity);
    } else {
        status = strip_all(weights, tensors, prefix, err);
    }
    if (status == FM_OK) {
        *ret = weights;
    } else {
        fm_weights_free(weights);
    }
    return status;
}

void fm_weights_free(fm_weights *weights)
{
    if (weights == NULL) {
        return;
    }
    assert(weights->entries != NULL || weights->count == 0);
    for (size_t i = 0; i < weights->count; i++) {
        if (weights->entries[i].tensor == NULL) { /* a copied name */
            fm_free((void *)(uintptr_t)weights->entries[i].name);
        }
    }
    fm_free(weights->entries);
    fm_free(weights);
}

/* ---- Looking ---- */

/* Index of name, or of where it belongs. */
static size_t position(const fm_weights *weights, const char *name, bool *ret_found)
{
    size_t low = 0;
    size_t high = weights->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(weights->entries[middle].name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *ret_found = false;
    return low;
}

const fm_tensor *fm_weights_peek(const fm_weights *weights, const char *name)
{
    bool found = false;
    size_t index = position(weights, name, &found);
    return found ? weights->entries[index].tensor : NULL;
}

size_t fm_weights_count(const fm_weights *weights)
{
    return weights->count;
}

const fm_weights_entry *fm_weights_at(const fm_weights *weights, size_t index)
{
    assert(index < weights->count);
    return &weights->entries[index];
}

/* ---- Taking ---- */

static fm_status insert_missing(fm_weights *weights, const char *name, size_t index, fm_error *err)
{
    size_t size_bytes = sizeof *weights->entries;
    if (weights->count == weights->capacity) {
        size_t capacity = weights->capacity + 16;
        fm_weights_entry *grown =
            fm_grow(weights->entries, weights->count * size_bytes, capacity * size_bytes);
        if (grown == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for %zu weights", capacity);
        }
        weights->entries = grown;
        weights->capacity = capacity;
    }
    char *copy = fm_string_copy(name);
    if (copy == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a name");
    }
    fm_weights_entry *entry = &weights->entries[index];
    memmove(entry + 1, entry, (weights->count - index) * size_bytes);
    *entry = (fm_weights_entry){.name = copy, .state = FM_WEIGHTS_MISSING};
    weights->count++;
    return FM_OK;
}

static void expect(fm_weights_entry *entry, size_t rank, const size_t *shape)
{
    entry->expected_rank = rank;
    for (size_t axis = 0; axis < rank; axis++) {
        entry->expected_shape[axis] = shape[axis];
    }
}

static bool has_shape(const fm_tensor *tensor, size_t rank, const size_t *shape)
{
    bool same = tensor->rank == rank;
    for (size_t axis = 0; same && axis < rank; axis++) {
        same = tensor->shape[axis] == shape[axis];
    }
    return same;
}

fm_status fm_weights_take(fm_weights *weights, const char *name, size_t rank, const size_t *shape,
                          const fm_tensor **ret, fm_error *err)
{
    assert(rank <= FM_MAX_RANK);
    bool found = false;
    size_t index = position(weights, name, &found);
    if (!found) {
        fm_status status = insert_missing(weights, name, index, err);
        if (status != FM_OK) {
            return status;
        }
    }
    fm_weights_entry *entry = &weights->entries[index];
    expect(entry, rank, shape);
    char expected[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(rank, shape, expected);
    if (entry->tensor == NULL) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": expected shape %s, found no such tensor",
                       name, expected);
    }
    if (!has_shape(entry->tensor, rank, shape)) {
        char actual[FM_SHAPE_TEXT_BYTES];
        fm_shape_text(entry->tensor->rank, entry->tensor->shape, actual);
        entry->state = FM_WEIGHTS_WRONG_SHAPE;
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": expected shape %s, found %s",
                       entry->tensor->name, expected, actual);
    }
    entry->state = FM_WEIGHTS_USED;
    *ret = entry->tensor;
    return FM_OK;
}

fm_status fm_weights_finish(const fm_weights *weights, fm_error *err)
{
    char list[512] = "";
    size_t used = 0;
    size_t n_unused = 0;
    for (size_t i = 0; i < weights->count; i++) {
        const fm_weights_entry *entry = &weights->entries[i];
        if (entry->state != FM_WEIGHTS_UNUSED) {
            continue;
        }
        if (n_unused < MAX_NAMED && used < sizeof list) {
            char shape[FM_SHAPE_TEXT_BYTES];
            fm_shape_text(entry->tensor->rank, entry->tensor->shape, shape);
            int length = snprintf(list + used, sizeof list - used, "%s\"%s\" %s",
                                  n_unused == 0 ? "" : ", ", entry->tensor->name, shape);
            assert(length > 0);
            used += (size_t)length;
        }
        n_unused++;
    }
    if (n_unused == 0) {
        return FM_OK;
    }
    return fm_fail(err, FM_EFORMAT, "expected no other tensors than the network's, found %zu: %s%s",
                   n_unused, list, n_unused > MAX_NAMED ? ", …" : "");
}
