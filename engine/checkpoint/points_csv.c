/* .csv: numbers and commas. */
#include "engine/checkpoint/points_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY ((size_t)256)

/* The numbers so far, and the place in the text. */
typedef struct csv_reader {
    locale_t c_locale; /* a decimal point, whatever the process's locale says */
    size_t line;       /* from 1 */
    double *values;
    size_t count, capacity;
} csv_reader;

static fm_status push(csv_reader *reader, double value, fm_error *err)
{
    if (reader->count == reader->capacity) {
        size_t capacity = reader->capacity == 0 ? FIRST_CAPACITY : reader->capacity * 2;
        size_t size_bytes = 0;
        double *grown = NULL;
        if (fm_multiply(capacity, sizeof *grown, &size_bytes)) {
            grown = fm_grow(reader->values, reader->count * sizeof *grown, size_bytes);
        }
        if (grown == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for %zu numbers", capacity);
        }
        reader->values = grown;
        reader->capacity = capacity;
    }
    reader->values[reader->count++] = value;
    return FM_OK;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return at;
}

/* One number of [begin, end): strtod() alone would also take "nan", "inf", hexadecimal, and run on over
 * the line's end. */
static fm_status read_number(csv_reader *reader, const char *begin, const char *end, fm_error *err)
{
    begin = skip_blanks(begin, end);
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    size_t length = (size_t)(end - begin);
    char *stopped = NULL;
    double value = 0.0;
    bool plain = length > 0 && strspn(begin, "+-.0123456789eE") >= length;
    if (plain) {
        value = strtod_l(begin, &stopped, reader->c_locale);
    }
    if (!plain || stopped != end) {
        return fm_fail(err, FM_EFORMAT, "line %zu: expected a number, found \"%.*s\"", reader->line,
                       (int)(length < 24 ? length : 24), begin);
    }
    return push(reader, value, err);
}

static fm_status read_line(csv_reader *reader, const char *begin, const char *end, fm_error *err)
{
    for (;;) {
        const char *comma = memchr(begin, ',', (size_t)(end - begin));
        fm_status status = read_number(reader, begin, comma == NULL ? end : comma, err);
        if (status != FM_OK || comma == NULL) {
            return status;
        }
        begin = comma + 1;
    }
}

static bool is_blank(const char *begin, const char *end)
{
    return skip_blanks(begin, end) == end;
}

static fm_status read_lines(csv_reader *reader, const char *text, const char *end,
                            size_t *ret_dimension, fm_error *err)
{
    size_t dimension = 0;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *next = newline == NULL ? end : newline + 1;
        const char *stop = newline == NULL ? end : newline;
        stop -= stop > text && stop[-1] == '\r' ? 1 : 0;
        reader->line++;
        if (is_blank(text, stop) && next == end && dimension > 0) {
            break; /* the last line may be blank */
        }
        size_t before = reader->count;
        fm_status status = read_line(reader, text, stop, err);
        if (status != FM_OK) {
            return status;
        }
        size_t found = reader->count - before;
        dimension = dimension == 0 ? found : dimension;
        if (found != dimension) {
            return fm_fail(err, FM_EFORMAT, "line %zu: expected %zu numbers, found %zu",
                           reader->line, dimension, found);
        }
        text = next;
    }
    if (dimension == 0) {
        return fm_fail(err, FM_EFORMAT, "line 1: expected a number, found the file's end");
    }
    *ret_dimension = dimension;
    return FM_OK;
}

fm_status fm_points_parse_csv(const char *text, size_t length, fm_points *ret, fm_error *err)
{
    assert(text[length] == '\0'); /* what stops strtod() at the end */
    csv_reader reader = {.c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (reader.c_locale == (locale_t)0) {
        return fm_fail(err, FM_ENOMEM, "no memory for the C locale");
    }
    size_t dimension = 0;
    fm_status status = read_lines(&reader, text, text + length, &dimension, err);
    freelocale(reader.c_locale);
    if (status != FM_OK) {
        fm_free(reader.values);
        return status;
    }
    *ret = (fm_points){
        .data = reader.values, .count = reader.count / dimension, .dimension = dimension};
    return FM_OK;
}
