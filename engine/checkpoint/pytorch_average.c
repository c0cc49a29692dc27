/* Exponential moving averages that know their order alone. */
#include "engine/checkpoint/pytorch_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHADOW "shadow_params."
#define MODEL  "model."

bool fm_pytorch_is_floating(fm_dtype dtype)
{
    return dtype == FM_DTYPE_F64 || dtype == FM_DTYPE_F32 || dtype == FM_DTYPE_F16 ||
           dtype == FM_DTYPE_BF16;
}

static bool name_ends(fm_pickle_text name, const char *suffix)
{
    size_t length = strlen(suffix);
    return name.length >= length &&
           memcmp(name.bytes + name.length - length, suffix, length) == 0 &&
           (name.length == length || name.bytes[name.length - length - 1] == '.');
}

/* Floating-point buffers of the usual modules, which would pass for parameters by their shapes. */
static bool is_buffer(const fm_pytorch_named *named)
{
    static const char *const suffixes[] = {"running_mean", "running_var", "inv_freq",
                                           "freqs_cos",    "freqs_sin",   "resample_filter"};
    bool is = !fm_pytorch_is_floating(named->tensor->dtype);
    for (size_t i = 0; !is && i < sizeof suffixes / sizeof *suffixes; i++) {
        is = name_ends(named->name, suffixes[i]);
    }
    return is;
}

static bool same_shape(const fm_pickle_tensor *a, const fm_pickle_tensor *b)
{
    bool same = a->rank == b->rank;
    for (size_t axis = 0; same && axis < a->rank; axis++) {
        same = a->shape[axis] == b->shape[axis];
    }
    return same;
}

/* ---- Fitting ---- */

/* Gives each average the first parameter that fits behind the one before, or, backwards, the last.
 * Returns how many found one. */
static size_t fit(const fm_pytorch_named *named, size_t n_named,
                  const fm_pickle_tensor *const *averages, size_t n_averages, bool backwards,
                  size_t *ret)
{
    size_t done = 0;
    for (size_t step = 0; step < n_named && done < n_averages; step++) {
        size_t at = backwards ? n_named - 1 - step : step;
        size_t wanted = backwards ? n_averages - 1 - done : done;
        if (!is_buffer(&named[at]) && same_shape(named[at].tensor, averages[wanted])) {
            ret[wanted] = at;
            done++;
        }
    }
    return done;
}

static fm_status fail_unfit(const fm_pickle_tensor *average, size_t index, size_t count,
                            fm_error *err)
{
    char shape[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(average->rank, average->shape, shape);
    return fm_fail(err, FM_EFORMAT,
                   "moving average %zu of %zu: expected a parameter of its shape %s in the order "
                   "of the state dict, found none",
                   index, count, shape);
}

static fm_status fit_uniquely(const fm_pytorch_named *named, size_t n_named,
                              const fm_pickle_tensor *const *averages, size_t n_averages,
                              size_t *first, size_t *last, fm_error *err)
{
    size_t fitting = fit(named, n_named, averages, n_averages, false, first);
    if (fitting < n_averages) {
        return fail_unfit(averages[fitting], fitting, n_averages, err);
    }
    fitting = fit(named, n_named, averages, n_averages, true, last);
    assert(fitting == n_averages);
    for (size_t i = 0; i < n_averages; i++) {
        if (first[i] != last[i]) {
            const fm_pickle_text *a = &named[first[i]].name, *b = &named[last[i]].name;
            return fm_fail(err, FM_EFORMAT,
                           "moving average %zu of %zu: may belong to \"%.*s\" or to \"%.*s\" by "
                           "its shape; name a state dict with names in weights.entry",
                           i, n_averages, (int)a->length, a->bytes, (int)b->length, b->bytes);
        }
    }
    return FM_OK;
}

/* ---- Tensors in the same memory ---- */

/* By memory, then by shape. */
static int compare_memory(const void *left, const void *right)
{
    const fm_pickle_tensor *a = ((const fm_pytorch_named *)left)->tensor;
    const fm_pickle_tensor *b = ((const fm_pytorch_named *)right)->tensor;
    int order = strcmp(a->storage->key, b->storage->key);
    if (order == 0 && a->offset != b->offset) {
        order = a->offset < b->offset ? -1 : 1;
    }
    if (order == 0 && a->rank != b->rank) {
        order = a->rank < b->rank ? -1 : 1;
    }
    for (size_t axis = 0; order == 0 && axis < a->rank; axis++) {
        if (a->shape[axis] != b->shape[axis]) {
            order = a->shape[axis] < b->shape[axis] ? -1 : 1;
        }
    }
    return order;
}

/* pairs [n_averages]: the averages, as names, that parameters' memory is known by. */
typedef struct replaced {
    fm_pytorch_named raw;
    const fm_pickle_tensor *average;
} replaced;

static size_t replace(fm_pytorch_named *named, size_t n_named, replaced *pairs, size_t n_pairs)
{
    size_t count = 0;
    qsort(pairs, n_pairs, sizeof *pairs, compare_memory); /* a pair begins with its raw tensor */
    for (size_t i = 0; i < n_named; i++) {
        const replaced *pair = is_buffer(&named[i]) ? NULL
                                                    : bsearch(&named[i], pairs, n_pairs,
                                                              sizeof *pairs, compare_memory);
        if (pair != NULL) {
            named[i].tensor = pair->average;
            count++;
        }
    }
    return count;
}

fm_status fm_pytorch_average(fm_pytorch_named *named, size_t n_named,
                             const fm_pickle_tensor *const *averages, size_t n_averages,
                             size_t *ret_replaced, fm_error *err)
{
    assert(n_averages > 0);
    size_t *first = fm_alloc_array(n_averages, 2 * sizeof *first);
    replaced *pairs = fm_alloc_array(n_averages, sizeof *pairs);
    fm_status status = FM_OK;
    if (first == NULL || pairs == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for %zu moving averages", n_averages);
        goto out;
    }
    status = fit_uniquely(named, n_named, averages, n_averages, first, first + n_averages, err);
    if (status != FM_OK) {
        goto out;
    }
    for (size_t i = 0; i < n_averages; i++) {
        pairs[i] = (replaced){.raw = named[first[i]], .average = averages[i]};
    }
    *ret_replaced = replace(named, n_named, pairs, n_averages);
out:
    fm_free(pairs);
    fm_free(first);
    return status;
}

/* ---- The wrapper's state dict ---- */

/* What follows prefix and then part in name; false for other names. */
static bool name_behind(fm_pickle_text name, fm_pickle_text prefix, const char *part,
                        fm_pickle_text *ret)
{
    size_t length = prefix.length + strlen(part);
    if (name.length <= length || memcmp(name.bytes, prefix.bytes, prefix.length) != 0 ||
        memcmp(name.bytes + prefix.length, part, length - prefix.length) != 0) {
        return false;
    }
    *ret = (fm_pickle_text){name.bytes + length, name.length - length};
    return true;
}

/* The prefix in front of "shadow_params.0". */
static bool find_wrapper(const fm_pytorch_selection *selection, fm_pickle_text *ret)
{
    for (size_t i = 0; i < selection->count; i++) {
        fm_pickle_text name = selection->list[i].name;
        if (name_ends(name, SHADOW "0")) {
            *ret = (fm_pickle_text){name.bytes, name.length - strlen(SHADOW "0")};
            return true;
        }
    }
    return false;
}

/* A number below limit, without leading zeros. */
static bool read_index(fm_pickle_text text, size_t limit, size_t *ret)
{
    size_t value = 0;
    bool is = text.length > 0 && text.length <= 6 && (text.length == 1 || text.bytes[0] != '0');
    for (size_t i = 0; is && i < text.length; i++) {
        is = text.bytes[i] >= '0' && text.bytes[i] <= '9';
        value = value * 10 + (size_t)(text.bytes[i] - '0');
    }
    *ret = value;
    return is && value < limit;
}

/* Splits the wrapper's tensors: averages by number, and the rest but its counters, the model's first.
 *   rest      [selection->count]
 *   averages  [selection->count], zeroed */
static fm_status split(const fm_pytorch_selection *selection, fm_pickle_text prefix,
                       fm_pytorch_named *rest, size_t *ret_model, size_t *ret_rest,
                       const fm_pickle_tensor **averages, size_t *ret_averages, fm_error *err)
{
    fm_pickle_text tail = {0};
    size_t n_model = 0, n_rest = 0, n_averages = 0, index = 0;
    for (size_t i = 0; i < selection->count; i++) {
        if (name_behind(selection->list[i].name, prefix, MODEL, &tail)) {
            rest[n_model++] = selection->list[i];
        }
    }
    n_rest = n_model;
    for (size_t i = 0; i < selection->count; i++) {
        const fm_pytorch_named *named = &selection->list[i];
        if (name_behind(named->name, prefix, SHADOW, &tail)) {
            if (!read_index(tail, selection->count, &index) || averages[index] != NULL) {
                return fm_fail(err, FM_EFORMAT, "tensor \"%.*s\": expected a number, and each once",
                               (int)named->name.length, named->name.bytes);
            }
            averages[index] = named->tensor;
            n_averages++;
        } else if (!name_behind(named->name, prefix, MODEL, &tail) &&
                   !name_ends(named->name, "num_updates") && !name_ends(named->name, "decay")) {
            rest[n_rest++] = *named;
        }
    }
    *ret_model = n_model;
    *ret_rest = n_rest;
    *ret_averages = n_averages;
    return FM_OK;
}

static fm_status unwrap(fm_pytorch_selection *selection, fm_pickle_text prefix,
                        fm_pytorch_named *rest, const fm_pickle_tensor **averages, fm_error *err)
{
    size_t n_model = 0, n_rest = 0, n_averages = 0, n_replaced = 0;
    fm_status status =
        split(selection, prefix, rest, &n_model, &n_rest, averages, &n_averages, err);
    for (size_t i = 0; status == FM_OK && i < n_averages; i++) {
        if (averages[i] == NULL) {
            status = fm_fail(err, FM_EFORMAT, "expected moving averages 0 to %zu, %zu is missing",
                             n_averages - 1, i);
        }
    }
    if (status == FM_OK) {
        status = fm_pytorch_average(rest, n_model, averages, n_averages, &n_replaced, err);
    }
    if (status == FM_OK) {
        memcpy(selection->list, rest, n_rest * sizeof *rest);
        selection->count = n_rest;
        size_t used = strlen(selection->origin);
        (void)snprintf(selection->origin + used, sizeof selection->origin - used,
                       ", moving averages (shadow_params) for %zu of its %zu model tensors",
                       n_replaced, n_model);
    }
    return status;
}

fm_status fm_pytorch_unwrap_averages(fm_pytorch_selection *selection, fm_error *err)
{
    fm_pickle_text prefix = {0};
    if (!find_wrapper(selection, &prefix)) {
        return FM_OK;
    }
    fm_pytorch_named *rest = fm_alloc_array(selection->count, sizeof *rest);
    const fm_pickle_tensor **averages =
        fm_alloc_array(selection->count, sizeof(const fm_pickle_tensor *));
    fm_status status = FM_OK;
    if (rest == NULL || averages == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for %zu moving averages", selection->count);
    } else {
        status = unwrap(selection, prefix, rest, averages, err);
    }
    fm_free((void *)averages);
    fm_free(rest);
    return status;
}
