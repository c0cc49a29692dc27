/* Typed values of a JSON tree, with the pointer in every error. */
#include "engine/checkpoint/json_reader.h"

#include "engine/memory.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTER_BYTES ((size_t)512)
#define LIST_BYTES    ((size_t)512)
#define MESSAGE_BYTES ((size_t)768)

fm_json_node fm_json_root(json_t *value)
{
    return (fm_json_node){.value = value};
}

fm_json_node fm_json_member(const fm_json_node *object, const char *key)
{
    return (fm_json_node){
        .parent = object, .key = key, .value = json_object_get(object->value, key)};
}

fm_json_node fm_json_item(const fm_json_node *array, size_t index)
{
    return (fm_json_node){
        .parent = array, .index = index, .value = json_array_get(array->value, index)};
}

bool fm_json_present(const fm_json_node *node)
{
    return node->value != NULL;
}

/* ---- Errors ---- */

/* Appends what fits; returns the length used. */
static size_t append(char *text, size_t used, size_t size_bytes, const char *more)
{
    size_t length = strlen(more);
    if (length > size_bytes - 1 - used) {
        length = size_bytes - 1 - used;
    }
    memcpy(text + used, more, length);
    text[used + length] = '\0';
    return used + length;
}

/* One reference token: "~" and "/" escaped by RFC 6901, control characters shown as "?", so that an
 * error stays one line. */
static size_t append_key(char *text, size_t used, size_t size_bytes, const char *key)
{
    for (const char *at = key; *at != '\0'; at++) {
        char plain[2] = {(unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at, '\0'};
        const char *token = plain;
        if (*at == '~') {
            token = "~0";
        } else if (*at == '/') {
            token = "~1";
        }
        used = append(text, used, size_bytes, token);
    }
    return used;
}

static size_t append_pointer(char *text, size_t size_bytes, const fm_json_node *node)
{
    if (node->parent == NULL) {
        text[0] = '\0';
        return 0;
    }
    size_t used = append_pointer(text, size_bytes, node->parent);
    used = append(text, used, size_bytes, "/");
    if (node->key != NULL) {
        return append_key(text, used, size_bytes, node->key);
    }
    char index[24];
    (void)snprintf(index, sizeof index, "%zu", node->index);
    return append(text, used, size_bytes, index);
}

fm_status fm_json_fail(const fm_json_node *node, fm_error *err, fm_status status,
                       const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    char pointer[POINTER_BYTES];
    size_t length = append_pointer(pointer, sizeof pointer, node);
    return fm_fail(err, status, "%s%s%s", pointer, length > 0 ? ": " : "", message);
}

fm_status fm_json_unsupported(const fm_json_node *node, fm_error *err)
{
    return fm_json_fail(node, err, FM_EUNSUPPORTED, "is not supported by this release");
}

fm_status fm_json_require(const fm_json_node *node, fm_error *err)
{
    return fm_json_present(node) ? FM_OK : fm_json_fail(node, err, FM_EFORMAT, "is required");
}

static fm_status fail_kind(const fm_json_node *node, const char *expected, fm_error *err)
{
    return fm_json_fail(node, err, FM_EFORMAT, "must be %s, found %s", expected,
                        fm_json_kind(node->value));
}

/* ---- Objects and arrays ---- */

static fm_status fail_unknown_key(const fm_json_node *node, const char *const *keys, fm_error *err)
{
    char list[LIST_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; keys[i] != NULL; i++) {
        used = append(list, used, sizeof list, i == 0 ? "" : ", ");
        used = append(list, used, sizeof list, keys[i]);
    }
    return fm_json_fail(node, err, FM_EFORMAT, "unknown key; must be one of %s", list);
}

static bool is_listed(const char *key, const char *const *keys)
{
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

fm_status fm_json_check_object(const fm_json_node *node, const char *const *keys, fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_object(node->value)) {
        return fail_kind(node, "an object", err);
    }
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(node->value, key, value)
    {
        if (!is_listed(key, keys)) {
            fm_json_node member = fm_json_member(node, key);
            return fail_unknown_key(&member, keys, err);
        }
    }
    return FM_OK;
}

fm_status fm_json_check_array(const fm_json_node *node, size_t min, size_t max, fm_error *err)
{
    assert(min <= max);
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_array(node->value)) {
        return fail_kind(node, "an array", err);
    }
    size_t count = json_array_size(node->value);
    if (count >= min && count <= max) {
        return FM_OK;
    }
    if (min == max) {
        return fm_json_fail(node, err, FM_EFORMAT, "must have %zu items, found %zu", min, count);
    }
    if (max == SIZE_MAX) {
        return fm_json_fail(node, err, FM_EFORMAT, "must have at least %zu items, found %zu", min,
                            count);
    }
    return fm_json_fail(node, err, FM_EFORMAT, "must have %zu to %zu items, found %zu", min, max,
                        count);
}

/* ---- Values ---- */

fm_status fm_json_read_string(const fm_json_node *node, char **ret, fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_string(node->value)) {
        return fail_kind(node, "a string", err);
    }
    char *copy = fm_string_copy(json_string_value(node->value));
    if (copy == NULL) {
        return fm_json_fail(node, err, FM_ENOMEM, "no memory for a string");
    }
    fm_free(*ret);
    *ret = copy;
    return FM_OK;
}

fm_status fm_json_read_number(const fm_json_node *node, double *ret, fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_number(node->value)) {
        return fail_kind(node, "a number", err);
    }
    double value = json_number_value(node->value);
    assert(isfinite(value)); /* JSON has no others, and its parser refuses an overflow */
    *ret = value;
    return FM_OK;
}

fm_status fm_json_read_bool(const fm_json_node *node, bool *ret, fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_boolean(node->value)) {
        return fail_kind(node, "true or false", err);
    }
    *ret = json_is_true(node->value);
    return FM_OK;
}

fm_status fm_json_read_size(const fm_json_node *node, size_t min, size_t max, size_t *ret,
                            fm_error *err)
{
    assert(min <= max);
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_integer(node->value)) {
        return fail_kind(node, "an integer", err);
    }
    json_int_t value = json_integer_value(node->value);
    if (value < 0 || (uint64_t)value < min || (uint64_t)value > max) {
        return fm_json_fail(node, err, FM_EFORMAT, "must be from %zu to %zu, found %lld", min, max,
                            (long long)value);
    }
    *ret = (size_t)value;
    return FM_OK;
}

fm_status fm_json_read_numbers(const fm_json_node *node, size_t count, double *ret, fm_error *err)
{
    fm_status status = fm_json_check_array(node, count, count, err);
    for (size_t i = 0; status == FM_OK && fm_json_present(node) && i < count; i++) {
        fm_json_node item = fm_json_item(node, i);
        status = fm_json_read_number(&item, &ret[i], err);
    }
    return status;
}

/* ---- Names ---- */

static int compare_name(const void *left, const void *right)
{
    const char *const *a = left;
    const char *const *b = right;
    return strcmp(*a, *b);
}

/* Through a sorted copy, for there may be many thousand. */
static fm_status check_unique(const fm_json_node *node, char *const *names, size_t count,
                              fm_error *err)
{
    const char **sorted = fm_alloc_array(count, sizeof *sorted);
    if (sorted == NULL) {
        return fm_json_fail(node, err, FM_ENOMEM, "no memory for %zu names", count);
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = names[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_name);
    fm_status status = FM_OK;
    for (size_t i = 1; status == FM_OK && i < count; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            status = fm_json_fail(node, err, FM_EFORMAT,
                                  "must have different names, found \"%s\" twice", sorted[i]);
        }
    }
    fm_free((void *)sorted);
    return status;
}

static fm_status read_name(const fm_json_node *node, char **ret, fm_error *err)
{
    fm_status status = fm_json_read_string(node, ret, err);
    if (status == FM_OK && (*ret)[0] == '\0') {
        status = fm_json_fail(node, err, FM_EFORMAT, "must not be empty");
    }
    return status;
}

fm_status fm_json_read_names(const fm_json_node *node, char ***ret, size_t *ret_count,
                             fm_error *err)
{
    fm_status status = fm_json_check_array(node, 1, SIZE_MAX, err);
    if (status != FM_OK || !fm_json_present(node)) {
        return status;
    }
    size_t count = json_array_size(node->value);
    char **names = fm_alloc_array(count, sizeof *names);
    if (names == NULL) {
        return fm_json_fail(node, err, FM_ENOMEM, "no memory for %zu names", count);
    }
    for (size_t i = 0; status == FM_OK && i < count; i++) {
        fm_json_node item = fm_json_item(node, i);
        status = read_name(&item, &names[i], err);
    }
    if (status == FM_OK) {
        status = check_unique(node, names, count, err);
    }
    if (status == FM_OK) {
        *ret = names;
        *ret_count = count;
        return FM_OK;
    }
    for (size_t i = 0; i < count; i++) {
        fm_free(names[i]);
    }
    fm_free(names);
    return status;
}

/* ---- Choices ---- */

static fm_status fail_choice(const fm_json_node *node, const fm_json_choice *choices, fm_error *err)
{
    char list[LIST_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; choices[i].name != NULL; i++) {
        if (choices[i].value != FM_JSON_UNSUPPORTED) {
            used = append(list, used, sizeof list, used == 0 ? "" : ", ");
            used = append(list, used, sizeof list, choices[i].name);
        }
    }
    return fm_json_fail(node, err, FM_EFORMAT, "must be one of %s, found \"%s\"", list,
                        json_string_value(node->value));
}

fm_status fm_json_read_choice(const fm_json_node *node, const fm_json_choice *choices, int *ret,
                              fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    if (!json_is_string(node->value)) {
        return fail_kind(node, "a string", err);
    }
    for (size_t i = 0; choices[i].name != NULL; i++) {
        if (strcmp(json_string_value(node->value), choices[i].name) != 0) {
            continue;
        }
        if (choices[i].value == FM_JSON_UNSUPPORTED) {
            return fm_json_fail(node, err, FM_EUNSUPPORTED,
                                "\"%s\" is not supported by this release", choices[i].name);
        }
        *ret = choices[i].value;
        return FM_OK;
    }
    return fail_choice(node, choices, err);
}
