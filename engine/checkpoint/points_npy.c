/* .npy: magic, version, header length, a Python dict literal, then the array. */
#include "engine/checkpoint/points_private.h"
#include "engine/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES ((size_t)6)

/* What the dict says; the keys seen so far are bits of seen. */
typedef struct npy_header {
    size_t item_bytes; /* 4 or 8 */
    size_t rank, shape[2];
    bool column_major; /* fortran_order */
    unsigned seen;
} npy_header;

enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };

/* The unread rest of the header. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n')) {
        text->at++;
    }
}

/* Skips word, after blanks; false when something else stands there. */
static bool accept(cursor *text, const char *word)
{
    skip_blanks(text);
    size_t length = strlen(word);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) {
        return false;
    }
    text->at += length;
    return true;
}

static fm_status fail_header(const cursor *text, const char *expected, fm_error *err)
{
    int length = 0;
    while (length < 24 && text->at + length < text->end &&
           strchr(",}\n", text->at[length]) == NULL) {
        length++;
    }
    return fm_fail(err, FM_EFORMAT, "header: expected %s, found \"%.*s\"", expected, length,
                   text->at);
}

static fm_status read_size(cursor *text, size_t *ret, fm_error *err)
{
    skip_blanks(text);
    const char *begin = text->at;
    size_t value = 0;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        size_t digit = (size_t)(*text->at - '0');
        if (!fm_multiply(value, 10, &value) || value > SIZE_MAX - digit) {
            return fm_fail(err, FM_EFORMAT, "header: shape: a size overflows");
        }
        value += digit;
        text->at++;
    }
    if (text->at == begin) {
        return fail_header(text, "an integer >= 0 in shape", err);
    }
    *ret = value;
    return FM_OK;
}

static fm_status read_shape(cursor *text, npy_header *header, fm_error *err)
{
    if (!accept(text, "(")) {
        return fail_header(text, "a tuple", err);
    }
    bool more = true; /* a comma has been seen, or nothing yet */
    while (!accept(text, ")")) {
        size_t size = 0;
        fm_status status =
            more ? read_size(text, &size, err) : fail_header(text, "\",\" or \")\" in shape", err);
        if (status != FM_OK) {
            return status;
        }
        if (header->rank < 2) {
            header->shape[header->rank] = size;
        }
        header->rank++;
        more = accept(text, ",");
    }
    return FM_OK;
}

static fm_status read_descr(cursor *text, npy_header *header, fm_error *err)
{
    if (accept(text, "'<f4'")) {
        header->item_bytes = 4;
    } else if (accept(text, "'<f8'")) {
        header->item_bytes = 8;
    } else {
        return fail_header(text, "descr '<f4' or '<f8'", err);
    }
    return FM_OK;
}

static fm_status read_member(cursor *text, npy_header *header, fm_error *err)
{
    unsigned seen = 0;
    fm_status status = FM_OK;
    if (accept(text, "'descr':")) {
        seen = SEEN_DESCR;
        status = read_descr(text, header, err);
    } else if (accept(text, "'fortran_order':")) {
        seen = SEEN_ORDER;
        header->column_major = accept(text, "True");
        if (!header->column_major && !accept(text, "False")) {
            status = fail_header(text, "fortran_order True or False", err);
        }
    } else if (accept(text, "'shape':")) {
        seen = SEEN_SHAPE;
        status = header->seen & SEEN_SHAPE ? FM_OK : read_shape(text, header, err);
    } else {
        status = fail_header(text, "descr, fortran_order or shape", err);
    }
    if (status == FM_OK && (header->seen & seen) != 0) {
        status = fail_header(text, "every key once", err);
    }
    header->seen |= seen;
    return status;
}

static fm_status read_dict(cursor *text, npy_header *header, fm_error *err)
{
    if (!accept(text, "{")) {
        return fail_header(text, "\"{\"", err);
    }
    bool more = true;
    while (!accept(text, "}")) {
        fm_status status =
            more ? read_member(text, header, err) : fail_header(text, "\",\" or \"}\"", err);
        if (status != FM_OK) {
            return status;
        }
        more = accept(text, ",");
    }
    skip_blanks(text);
    if (text->at != text->end) {
        return fail_header(text, "blanks behind the dict", err);
    }
    if (header->seen != SEEN_ALL) {
        return fm_fail(err, FM_EFORMAT, "header: expected descr, fortran_order and shape");
    }
    return FM_OK;
}

/* Finds the header's text; *ret_data is where the array begins. */
static fm_status split(const char *bytes, size_t length, cursor *ret_text, const char **ret_data,
                       fm_error *err)
{
    if (length < MAGIC_BYTES + 4 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0) {
        return fm_fail(err, FM_EFORMAT, "expected a .npy file, found another magic number");
    }
    const unsigned char *fields = (const unsigned char *)bytes + MAGIC_BYTES;
    unsigned major = fields[0];
    if ((major != 1 && major != 2) || fields[1] != 0) {
        return fm_fail(err, FM_EFORMAT, "expected .npy version 1.0 or 2.0, found %u.%u", major,
                       (unsigned)fields[1]);
    }
    size_t length_bytes = major == 1 ? 2 : 4;
    size_t begin = MAGIC_BYTES + 2 + length_bytes;
    size_t header_bytes = 0;
    for (size_t i = 0; begin <= length && i < length_bytes; i++) {
        header_bytes |= (size_t)fields[2 + i] << (8 * i);
    }
    if (begin > length || header_bytes > length - begin) {
        return fm_fail(err, FM_EFORMAT, "expected a header of %zu bytes, found the file's end",
                       header_bytes);
    }
    *ret_text = (cursor){.at = bytes + begin, .end = bytes + begin + header_bytes};
    *ret_data = bytes + begin + header_bytes;
    return FM_OK;
}

static fm_status check_array(const npy_header *header, size_t size_bytes, size_t *ret_count,
                             fm_error *err)
{
    if (header->rank != 2) {
        return fm_fail(err, FM_EFORMAT, "shape: expected (points, dimension), found %zu axes",
                       header->rank);
    }
    size_t count = 0;
    size_t expected = 0;
    if (!fm_multiply(header->shape[0], header->shape[1], &count) ||
        !fm_multiply(count, header->item_bytes, &expected) || count == 0) {
        return fm_fail(err, FM_EFORMAT, "shape: expected sizes above 0, found (%zu, %zu)",
                       header->shape[0], header->shape[1]);
    }
    if (expected != size_bytes) {
        return fm_fail(err, FM_EFORMAT, "expected %zu bytes for (%zu, %zu), found %zu", expected,
                       header->shape[0], header->shape[1], size_bytes);
    }
    *ret_count = count;
    return FM_OK;
}

static double load(const npy_header *header, const char *data, size_t index)
{
    if (header->item_bytes == sizeof(double)) {
        double value;
        memcpy(&value, data + index * sizeof value, sizeof value);
        return value;
    }
    float narrow;
    memcpy(&narrow, data + index * sizeof narrow, sizeof narrow);
    return (double)narrow;
}

fm_status fm_points_parse_npy(const char *bytes, size_t length, fm_points *ret, fm_error *err)
{
    cursor text = {0};
    const char *data = NULL;
    npy_header header = {0};
    size_t count = 0;
    fm_status status = split(bytes, length, &text, &data, err);
    if (status == FM_OK) {
        status = read_dict(&text, &header, err);
    }
    if (status == FM_OK) {
        status = check_array(&header, (size_t)(bytes + length - data), &count, err);
    }
    if (status != FM_OK) {
        return status;
    }
    double *values = fm_alloc_array(count, sizeof *values);
    if (values == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu numbers", count);
    }
    size_t rows = header.shape[0], columns = header.shape[1];
    for (size_t row = 0; row < rows; row++) {
        for (size_t column = 0; column < columns; column++) {
            size_t at = header.column_major ? column * rows + row : row * columns + column;
            values[row * columns + column] = load(&header, data, at);
        }
    }
    *ret = (fm_points){.data = values, .count = rows, .dimension = columns};
    return FM_OK;
}
