/* The table of request fields and what it says of itself. */
#include "proto/api.h"

#include "proto/number.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const fmp_field fields[FMP_FIELD_COUNT] = {
#define FMP_FIELD(id, ...) [FMP_FIELD_##id] = {__VA_ARGS__},
#include "proto/api.def"
#undef FMP_FIELD
};

const fmp_field *fmp_field_at(size_t index)
{
    assert(index < FMP_FIELD_COUNT);
    return &fields[index];
}

fmp_field_id fmp_field_find(fmp_api_route route, const char *pointer, size_t length)
{
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        if ((fields[i].routes & route) != 0 && strlen(fields[i].pointer) == length &&
            memcmp(fields[i].pointer, pointer, length) == 0) {
            return (fmp_field_id)i;
        }
    }
    return FMP_FIELD_COUNT;
}

const char *fmp_field_name(const fmp_field *field)
{
    return strrchr(field->pointer, '/') + 1;
}

double fmp_field_maximum(const fmp_field *field, const fmp_limits *limits)
{
    switch (field->limit) {
    case FMP_LIMIT_SAMPLES:
        return (double)limits->max_samples;
    case FMP_LIMIT_STEPS:
        return (double)limits->max_steps;
    case FMP_LIMIT_GRID_POINTS:
        return (double)limits->max_steps + 1;
    case FMP_LIMIT_EVALUATIONS:
        return (double)limits->max_evaluations;
    case FMP_LIMIT_TRAJECTORY_POINTS:
        return (double)limits->max_trajectory_points;
    case FMP_LIMIT_TIMEOUT_MS:
        return (double)limits->max_timeout_ms;
    case FMP_LIMIT_NONE:
        break;
    }
    return field->maximum;
}

static const char *type_rule(fmp_type type)
{
    switch (type) {
    case FMP_TYPE_OBJECT:
        return "must be an object";
    case FMP_TYPE_INTEGER:
        return "must be an integer";
    case FMP_TYPE_NUMBER:
        return "must be a number";
    case FMP_TYPE_POSITIVE:
        return "must be a number above 0";
    case FMP_TYPE_SWITCH:
        return "must be true, false or an object";
    case FMP_TYPE_BOOLEAN:
        return "must be true or false";
    case FMP_TYPE_CHOICE:
        return "must be one of";
    case FMP_TYPE_CHOICES:
        return "must be a list of one or more of";
    case FMP_TYPE_METHOD:
        return "must be the name of a method that GET /v1/solvers lists";
    case FMP_TYPE_SEED:
        return "must be an integer from 0 to " FMP_SEED_MAX_TEXT
               ", or a string of decimal digits without leading zeros up to 18446744073709551615";
    case FMP_TYPE_LABELS:
        return "must be a label (an integer, a name or null) or a list of labels";
    case FMP_TYPE_TENSOR:
        return "must be nested lists of numbers, or an object of dtype, shape and data";
    case FMP_TYPE_TIMES:
        return "must be a list of ascending numbers";
    case FMP_TYPE_NUMBERS:
        return "must be a list of numbers";
    case FMP_TYPE_NUMBER_OR_NUMBERS:
        return "must be a number or a list of numbers";
    case FMP_TYPE_CHANNELS:
        return "must be \"all\" or an integer of at least 1";
    case FMP_TYPE_MODEL:
        return "must be the name of a model";
    case FMP_TYPE_ANY:
        break;
    }
    return "is not supported by this release";
}

static size_t append_bound(char *ret, size_t size_bytes, const char *before, double bound)
{
    char number[FMP_NUMBER_MAX_BYTES];
    size_t length = fmp_number_write_double(number, bound);
    int written = snprintf(ret, size_bytes, "%s%.*s", before, (int)length, number);
    return written > 0 && (size_t)written < size_bytes ? (size_t)written : 0;
}

void fmp_field_rule(const fmp_field *field, const fmp_limits *limits, char *ret, size_t size_bytes)
{
    const char *rule = type_rule(field->later ? FMP_TYPE_ANY : field->type);
    int length = snprintf(ret, size_bytes, "%s", rule);
    assert(length > 0 && (size_t)length + 1 < size_bytes);
    char *end = ret + length;
    size_t room = size_bytes - (size_t)length;
    if (field->choices != NULL) {
        *end = ' ';
        fmp_words_join(field->choices, end + 1, room - 1);
        return;
    }
    double maximum = fmp_field_maximum(field, limits);
    bool of_value = field->type == FMP_TYPE_INTEGER || field->type == FMP_TYPE_NUMBER;
    bool of_length = field->type == FMP_TYPE_TIMES || field->type == FMP_TYPE_NUMBERS;
    if (maximum > 0 && (of_value || of_length)) {
        size_t used = append_bound(end, room, of_length ? ", of " : " from ", field->minimum);
        if (maximum > field->minimum) {
            used += append_bound(end + used, room - used, " to ", maximum);
        }
        (void)snprintf(end + used, room - used, "%s", of_length ? " entries" : "");
    }
}

void fmp_words_join(const char *words, char *ret, size_t size_bytes)
{
    size_t used = 0;
    for (; *words != '\0' && used + 2 < size_bytes; words++) {
        if (*words == ' ') {
            ret[used++] = ',';
        }
        ret[used++] = *words;
    }
    ret[used] = '\0';
}

bool fmp_words_have(const char *words, const char *word)
{
    size_t length = strlen(word);
    if (words == NULL || length == 0 || strchr(word, ' ') != NULL) {
        return false;
    }
    for (const char *at = strstr(words, word); at != NULL; at = strstr(at + 1, word)) {
        bool starts = at == words || at[-1] == ' ';
        bool ends = at[length] == ' ' || at[length] == '\0';
        if (starts && ends) {
            return true;
        }
    }
    return false;
}
