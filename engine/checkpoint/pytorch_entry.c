/* Which value of the file is the state dict. */
#include "engine/checkpoint/pytorch_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TOP            "the top level"
#define MAX_CANDIDATES ((size_t)32)
#define MAX_NAMED_KEYS ((size_t)8) /* keys and candidates that an error lists */

typedef struct candidate {
    fm_pickle_value *value;
    size_t n_tensors;
    bool has_names; /* false: moving averages in order */
    char path[FM_PYTORCH_TEXT_BYTES];
} candidate;

typedef struct candidates {
    candidate *list; /* [MAX_CANDIDATES] */
    size_t count;    /* may go beyond what is listed */
    unsigned walk;
} candidates;

/* ---- Looking ---- */

/* "a.b" behind path; the top level has none. */
static void join_path(const char *path, fm_pickle_text key, char ret[FM_PYTORCH_TEXT_BYTES])
{
    bool top = strcmp(path, TOP) == 0;
    int length = (int)(key.length < FM_PYTORCH_TEXT_BYTES ? key.length : FM_PYTORCH_TEXT_BYTES);
    (void)snprintf(ret, FM_PYTORCH_TEXT_BYTES, "%s%s%.*s", top ? "" : path, top ? "" : ".", length,
                   key.bytes);
}

/* The value of the last such key, as in Python; NULL when there is none. */
static fm_pickle_value *find_key(const fm_pickle_value *dict, const char *key, size_t length)
{
    for (size_t i = dict->items.count; i > 0; i -= 2) {
        const fm_pickle_value *name = dict->items.at[i - 2];
        if (name->kind == FM_PICKLE_TEXT && name->text.length == length &&
            memcmp(name->text.bytes, key, length) == 0) {
            return dict->items.at[i - 1];
        }
    }
    return NULL;
}

/* How many tensors a list has, if it has nothing else. */
static size_t count_averages(const fm_pickle_value *list)
{
    if (list == NULL || list->kind != FM_PICKLE_LIST) {
        return 0;
    }
    for (size_t i = 0; i < list->items.count; i++) {
        if (list->items.at[i]->kind != FM_PICKLE_TENSOR) {
            return 0;
        }
    }
    return list->items.count;
}

/* How many tensors a state dict has: a dict with names for keys, no containers in it, and at least one
 * floating-point tensor. 0 for any other. */
static size_t count_state(const fm_pickle_value *dict)
{
    size_t count = 0;
    bool floating = false;
    for (size_t i = 0; i < dict->items.count; i += 2) {
        const fm_pickle_value *value = dict->items.at[i + 1];
        if (dict->items.at[i]->kind != FM_PICKLE_TEXT || value->kind == FM_PICKLE_DICT ||
            value->kind == FM_PICKLE_LIST) {
            return 0;
        }
        if (value->kind == FM_PICKLE_TENSOR) {
            count++;
            floating = floating || fm_pytorch_is_floating(value->tensor->dtype);
        }
    }
    return floating ? count : 0;
}

static void add_candidate(candidates *all, fm_pickle_value *value, const char *path, size_t count,
                          bool has_names)
{
    if (all->count < MAX_CANDIDATES) {
        candidate *row = &all->list[all->count];
        *row = (candidate){.value = value, .n_tensors = count, .has_names = has_names};
        (void)snprintf(row->path, sizeof row->path, "%s", path);
    }
    all->count++;
}

/* Every state dict in value and in the dicts inside it, once each. */
static void find_candidates(candidates *all, fm_pickle_value *value, const char *path, size_t depth)
{
    if (value->kind != FM_PICKLE_DICT || value->walk == all->walk || depth > FM_PYTORCH_MAX_DEPTH) {
        return;
    }
    value->walk = all->walk;
    size_t count = count_state(value);
    size_t averages = count_averages(find_key(value, "shadow_params", strlen("shadow_params")));
    if (count > 0 || averages > 0) {
        add_candidate(all, value, path, count > 0 ? count : averages, count > 0);
        return;
    }
    for (size_t i = 0; i < value->items.count; i += 2) {
        const fm_pickle_value *key = value->items.at[i];
        if (key->kind == FM_PICKLE_TEXT) {
            char inner[FM_PYTORCH_TEXT_BYTES];
            join_path(path, key->text, inner);
            find_candidates(all, value->items.at[i + 1], inner, depth + 1);
        }
    }
}

static fm_status list_candidates(fm_pickle *pickle, candidates *ret, fm_error *err)
{
    *ret = (candidates){.walk = fm_pickle_new_walk(pickle)};
    ret->list = fm_alloc_array(MAX_CANDIDATES, sizeof *ret->list);
    if (ret->list == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a list of state dicts");
    }
    find_candidates(ret, fm_pickle_root(pickle), TOP, 0);
    return FM_OK;
}

/* ---- A path ---- */

/* "model, opt and 3 more", for messages. */
static void list_keys(const fm_pickle_value *dict, char ret[FM_PYTORCH_TEXT_BYTES])
{
    size_t used = 0, listed = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < dict->items.count && listed < MAX_NAMED_KEYS; i += 2) {
        const fm_pickle_value *key = dict->items.at[i];
        if (key->kind == FM_PICKLE_TEXT && key->text.length < 48) {
            int length = snprintf(ret + used, FM_PYTORCH_TEXT_BYTES - used, "%s%.*s",
                                  listed == 0 ? "" : ", ", (int)key->text.length, key->text.bytes);
            used += (size_t)length;
            listed++;
        }
    }
    if (listed * 2 < dict->items.count) {
        (void)snprintf(ret + used, FM_PYTORCH_TEXT_BYTES - used, "%s…", listed == 0 ? "" : ", ");
    }
}

/* The longest key of dict that path begins with, whole or up to a dot; keys may hold dots themselves. */
static fm_pickle_value *step_into(const fm_pickle_value *dict, const char *path, size_t *ret_length)
{
    size_t longest = strlen(path);
    for (size_t length = longest; length > 0; length--) {
        bool ends = length == longest || path[length] == '.';
        fm_pickle_value *value = ends ? find_key(dict, path, length) : NULL;
        if (value != NULL) {
            *ret_length = length;
            return value;
        }
    }
    return NULL;
}

static fm_status resolve(fm_pickle *pickle, const char *entry, fm_pickle_value **ret, fm_error *err)
{
    fm_pickle_value *value = fm_pickle_root(pickle);
    const char *rest = entry;
    while (*rest != '\0') {
        size_t length = 0;
        fm_pickle_value *next =
            value->kind == FM_PICKLE_DICT ? step_into(value, rest, &length) : NULL;
        if (next == NULL) {
            char keys[FM_PYTORCH_TEXT_BYTES] = "";
            if (value->kind == FM_PICKLE_DICT) {
                list_keys(value, keys);
            }
            return fm_fail(err, FM_EFORMAT,
                           "weights.entry \"%s\": expected \"%s\" in a dict, found %s%s%s", entry,
                           rest, fm_pickle_describe(value), keys[0] == '\0' ? "" : " of ", keys);
        }
        value = next;
        rest += length;
        rest += *rest == '.';
    }
    *ret = value;
    return FM_OK;
}

/* ---- Taking ---- */

static fm_status new_selection(size_t capacity, const char *path, fm_pytorch_selection *ret,
                               fm_error *err)
{
    *ret = (fm_pytorch_selection){.list = fm_alloc_array(capacity, sizeof *ret->list)};
    if (ret->list == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", capacity);
    }
    (void)snprintf(ret->origin, sizeof ret->origin, "%s", path);
    return FM_OK;
}

/* Plain values beside the tensors (counters, names) are no weights; anything else is refused by name. */
static fm_status add_item(const fm_pickle_value *key, const fm_pickle_value *value,
                          fm_pytorch_selection *selection, fm_error *err)
{
    if (key->kind != FM_PICKLE_TEXT) {
        return fm_fail(err, FM_EFORMAT, "%s: expected names for keys, found %s", selection->origin,
                       fm_pickle_describe(key));
    }
    switch (value->kind) {
    case FM_PICKLE_TENSOR:
        selection->list[selection->count++] =
            (fm_pytorch_named){.name = key->text, .tensor = value->tensor};
        return FM_OK;
    case FM_PICKLE_NONE:
    case FM_PICKLE_BOOLEAN:
    case FM_PICKLE_INTEGER:
    case FM_PICKLE_REAL:
    case FM_PICKLE_TEXT:
        return FM_OK;
    case FM_PICKLE_BYTES:
    case FM_PICKLE_LIST:
    case FM_PICKLE_DICT:
    case FM_PICKLE_CLASS:
    case FM_PICKLE_STORAGE:
    case FM_PICKLE_OPAQUE:
        break;
    }
    return fm_fail(err, FM_EFORMAT, "%s: \"%.*s\": expected a tensor, found %s", selection->origin,
                   (int)(key->text.length < 256 ? key->text.length : 256), key->text.bytes,
                   fm_pickle_describe(value));
}

static fm_status take_state(const fm_pickle_value *dict, const char *path,
                            fm_pytorch_selection *ret, fm_error *err)
{
    if (dict->items.count / 2 > FM_PYTORCH_MAX_TENSORS) {
        return fm_fail(err, FM_EFORMAT, "%s: expected at most %zu tensors, found %zu", path,
                       FM_PYTORCH_MAX_TENSORS, dict->items.count / 2);
    }
    fm_status status = new_selection(dict->items.count / 2, path, ret, err);
    for (size_t i = 0; status == FM_OK && i < dict->items.count; i += 2) {
        status = add_item(dict->items.at[i], dict->items.at[i + 1], ret, err);
    }
    if (status == FM_OK && ret->count == 0) {
        status = fm_fail(err, FM_EFORMAT, "%s: expected tensors, found none", path);
    }
    if (status == FM_OK) {
        status = fm_pytorch_unwrap_averages(ret, err);
    }
    if (status != FM_OK) {
        fm_free(ret->list);
        *ret = (fm_pytorch_selection){0};
    }
    return status;
}

/* The names of one state dict on the averages, where they fit. */
static fm_status name_averages(const candidate *names, const fm_pickle_tensor *const *averages,
                               size_t count, const char *path, fm_pytorch_selection *ret,
                               fm_error *err)
{
    fm_status status = take_state(names->value, names->path, ret, err);
    size_t replaced = 0;
    if (status == FM_OK) {
        status = fm_pytorch_average(ret->list, ret->count, averages, count, &replaced, err);
        if (status != FM_OK) {
            fm_free(ret->list);
            *ret = (fm_pytorch_selection){0};
            return status;
        }
        (void)snprintf(ret->origin, sizeof ret->origin,
                       "%.200s, moving averages for %zu of the %zu tensors of %.200s", path,
                       replaced, ret->count, names->path);
    }
    return status;
}

/* Moving averages in a list get their names from the only state dict of the file that they fit. */
static fm_status take_averages(fm_pickle *pickle, const fm_pickle_value *list, const char *path,
                               fm_pytorch_selection *ret, fm_error *err)
{
    size_t count = list->items.count;
    candidates all = {0};
    const fm_pickle_tensor **averages = fm_alloc_array(count, sizeof(const fm_pickle_tensor *));
    fm_status status = FM_OK;
    if (averages == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu moving averages", count);
    }
    for (size_t i = 0; i < count; i++) {
        averages[i] = list->items.at[i]->tensor;
    }
    status = list_candidates(pickle, &all, err);
    size_t fitting = 0;
    fm_error why = {.text = "there is no state dict beside them"};
    for (size_t i = 0; status == FM_OK && i < all.count && i < MAX_CANDIDATES; i++) {
        fm_pytorch_selection named = {0};
        fm_status fits = all.list[i].has_names
                             ? name_averages(&all.list[i], averages, count, path, &named, &why)
                             : FM_EFORMAT;
        if (fits == FM_OK) {
            fitting++;
            fm_free(ret->list);
            *ret = named;
        } else if (fits == FM_ENOMEM) {
            status = fm_fail(err, fits, "%s", why.text);
        }
    }
    if (status == FM_OK && fitting != 1) {
        status =
            fm_fail(err, FM_EFORMAT,
                    "%s: %zu moving averages without names: expected one state dict that they "
                    "fit, found %zu%s%s",
                    path, count, fitting, fitting == 0 ? "; " : "", fitting == 0 ? why.text : "");
    }
    if (status != FM_OK) {
        fm_free(ret->list);
        *ret = (fm_pytorch_selection){0};
    }
    fm_free(all.list);
    fm_free((void *)averages);
    return status;
}

static fm_status take(fm_pickle *pickle, const fm_pickle_value *value, const char *path,
                      fm_pytorch_selection *ret, fm_error *err)
{
    if (value->kind == FM_PICKLE_LIST && count_averages(value) > 0) {
        return take_averages(pickle, value, path, ret, err);
    }
    if (value->kind != FM_PICKLE_DICT) {
        return fm_fail(err, FM_EFORMAT, "%s: expected a state dict, found %s%s", path,
                       fm_pickle_describe(value),
                       value->kind == FM_PICKLE_OPAQUE ? "; save its state_dict() instead" : "");
    }
    const fm_pickle_value *shadow = find_key(value, "shadow_params", strlen("shadow_params"));
    if (count_averages(shadow) > 0) {
        return take_averages(pickle, shadow, path, ret, err);
    }
    return take_state(value, path, ret, err);
}

/* ---- Choosing ---- */

static fm_status fail_several(const candidates *all, fm_error *err)
{
    char list[2 * FM_PYTORCH_TEXT_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < all->count && i < MAX_NAMED_KEYS; i++) {
        const candidate *row = &all->list[i];
        used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%.64s\" (%zu %s)",
                                 i == 0 ? "" : ", ", row->path, row->n_tensors,
                                 row->has_names ? "tensors" : "moving averages");
    }
    return fm_fail(err, FM_EFORMAT, "weights.entry must name one of the %zu state dicts: %s%s",
                   all->count, list, all->count > MAX_NAMED_KEYS ? ", …" : "");
}

static fm_status fail_none(const fm_pickle_value *root, fm_error *err)
{
    char keys[FM_PYTORCH_TEXT_BYTES] = "";
    if (root->kind == FM_PICKLE_DICT) {
        list_keys(root, keys);
    }
    return fm_fail(err, FM_EFORMAT, "expected a state dict, a dict of tensors; found %s%s%s%s",
                   fm_pickle_describe(root), keys[0] == '\0' ? "" : " of ", keys,
                   root->kind == FM_PICKLE_OPAQUE ? "; save its state_dict() instead" : "");
}

fm_status fm_pytorch_choose(fm_pickle *pickle, const char *entry, fm_pytorch_selection *ret,
                            fm_error *err)
{
    if (entry != NULL) {
        fm_pickle_value *value = NULL;
        if (strlen(entry) > FM_PYTORCH_MAX_ENTRY) {
            return fm_fail(err, FM_EFORMAT, "weights.entry: expected at most %zu bytes, found %zu",
                           FM_PYTORCH_MAX_ENTRY, strlen(entry));
        }
        fm_status status = resolve(pickle, entry, &value, err);
        return status == FM_OK ? take(pickle, value, entry, ret, err) : status;
    }
    candidates all = {0};
    fm_status status = list_candidates(pickle, &all, err);
    if (status == FM_OK && all.count == 0) {
        status = fail_none(fm_pickle_root(pickle), err);
    } else if (status == FM_OK && all.count > 1) {
        status = fail_several(&all, err);
    } else if (status == FM_OK) {
        status = take(pickle, all.list[0].value, all.list[0].path, ret, err);
    }
    fm_free(all.list);
    return status;
}
