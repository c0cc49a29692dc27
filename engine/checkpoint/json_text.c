/* jansson's parser with this engine's rules and errors. */
#include "engine/checkpoint/json_text.h"

#include <stdbool.h>
#include <stdlib.h>

fm_status fm_json_text_parse(const char *text, size_t length, size_t *ret_used, json_t **ret,
                             fm_error *err)
{
    size_t flags = JSON_REJECT_DUPLICATES;
    if (ret_used != NULL) {
        flags |= JSON_DISABLE_EOF_CHECK;
    }
    json_error_t error = {0};
    json_t *tree = json_loadb(text, length, flags, &error);
    if (tree == NULL) {
        /* jansson says nothing at all where its first allocations or a value's fail. */
        if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0') {
            return fm_fail(err, FM_ENOMEM, "no memory for %zu bytes of JSON", length);
        }
        /* What jansson says of U+0000 names an option of its own. */
        bool is_nul = json_error_code(&error) == json_error_null_character;
        return fm_fail(err, FM_EFORMAT, "line %d, column %d: %s", error.line, error.column,
                       is_nul ? "\\u0000 is not allowed" : error.text);
    }
    if (ret_used != NULL) {
        *ret_used = (size_t)error.position;
    }
    *ret = tree;
    return FM_OK;
}

char *fm_json_text_dump(const json_t *value, size_t flags)
{
    for (size_t digits = 15; digits < 17; digits++) {
        char *text = json_dumps(value, flags | JSON_REAL_PRECISION(digits));
        json_t *again = text == NULL ? NULL : json_loads(text, 0, NULL);
        bool same = json_equal(again, value) == 1;
        json_decref(again);
        if (same) {
            return text;
        }
        free(text);
    }
    return json_dumps(value, flags);
}

const char *fm_json_kind(const json_t *value)
{
    if (value == NULL) {
        return "nothing";
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "an unknown value";
}
