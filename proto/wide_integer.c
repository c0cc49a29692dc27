/* Integers of a body that int64 does not hold: no JSON of ours (RFC 8259 section 6 lets a reader set such
 * limits). jansson would say so itself, but it also reads -0 as 0, so it is told to read all as reals. */
#include "proto/parse.h"

#include <string.h>

#define LARGEST  "9223372036854775807"
#define SMALLEST "9223372036854775808" /* below 0 */
#define DIGITS   (sizeof LARGEST - 1)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Of the number at body[begin], which is JSON: the index behind it. */
static size_t number_end(const char *body, size_t begin, size_t length)
{
    size_t end = begin + 1;
    while (end < length && (is_digit(body[end]) || memchr("+-.eE", body[end], 5) != NULL)) {
        end++;
    }
    return end;
}

static bool is_wide(const char *number, size_t length)
{
    bool negative = number[0] == '-';
    const char *digits = number + negative;
    size_t n = length - negative;
    if (n < DIGITS) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(digits[i])) {
            return false; /* a fraction or an exponent: a real */
        }
    }
    return n > DIGITS || memcmp(digits, negative ? SMALLEST : LARGEST, DIGITS) > 0;
}

/* As jansson counts them: lines and characters from 1. */
static void place(const char *body, size_t index, int *ret_line, int *ret_column)
{
    *ret_line = *ret_column = 1;
    for (size_t i = 0; i < index; i++) {
        bool continues = ((unsigned char)body[i] & 0xc0) == 0x80; /* a character of several bytes */
        *ret_column = body[i] == '\n' ? 1 : *ret_column + !continues;
        *ret_line += body[i] == '\n';
    }
}

bool fmp_parse_wide_integer(const char *body, size_t length, int *ret_line, int *ret_column)
{
    for (size_t i = 0; i < length; i++) {
        if (body[i] == '"') {
            i = fmp_parse_string_end(body, i + 1, length);
        } else if (is_digit(body[i]) || body[i] == '-') {
            size_t end = number_end(body, i, length);
            if (is_wide(body + i, end - i)) {
                place(body, i, ret_line, ret_column);
                return true;
            }
            i = end - 1;
        }
    }
    return false;
}
