/* JSON text, RFC 8259. */
#include "proto/json.h"

#include "proto/number.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

void fmp_json_value(fmp_json *json)
{
    if (json->follows) {
        fmp_buffer_append(json->buffer, ",", 1);
    }
    json->follows = true;
}

void fmp_json_open(fmp_json *json, char bracket)
{
    assert(bracket == '{' || bracket == '[');
    fmp_json_value(json);
    fmp_buffer_append(json->buffer, &bracket, 1);
    json->follows = false;
}

void fmp_json_close(fmp_json *json, char bracket)
{
    assert(bracket == '}' || bracket == ']');
    fmp_buffer_append(json->buffer, &bracket, 1);
    json->follows = true;
}

void fmp_json_key(fmp_json *json, const char *key)
{
    fmp_json_text(json, key);
    fmp_buffer_append(json->buffer, ":", 1);
    json->follows = false;
}

/* Bytes of the well-formed UTF-8 sequence at text, 0 when it is none (RFC 3629 section 4). */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char lead = text[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) { /* a NUL ends here too */
            return 0;
        }
    }
    return length;
}

static void write_escaped(fmp_buffer *buffer, unsigned char byte)
{
    switch (byte) {
    case '"':
        fmp_buffer_text(buffer, "\\\"");
        break;
    case '\\':
        fmp_buffer_text(buffer, "\\\\");
        break;
    case '\n':
        fmp_buffer_text(buffer, "\\n");
        break;
    case '\t':
        fmp_buffer_text(buffer, "\\t");
        break;
    case '\r':
        fmp_buffer_text(buffer, "\\r");
        break;
    default:
        fmp_buffer_format(buffer, "\\u%04x", (unsigned)byte);
        break;
    }
}

/* What stands between the quotes. */
static void write_text(fmp_buffer *buffer, const char *text)
{
    const unsigned char *plain = (const unsigned char *)text; /* start of what needs no escape */
    const unsigned char *at = plain;
    while (*at != '\0') {
        size_t length = utf8_length(at);
        bool escape = *at < 0x20 || *at == '"' || *at == '\\';
        if (length > 0 && !escape) {
            at += length;
            continue;
        }
        fmp_buffer_append(buffer, plain, (size_t)(at - plain));
        if (escape) {
            write_escaped(buffer, *at);
        } else {
            fmp_buffer_text(buffer, "\xef\xbf\xbd");
        }
        at++;
        plain = at;
    }
    fmp_buffer_append(buffer, plain, (size_t)(at - plain));
}

void fmp_json_text(fmp_json *json, const char *text)
{
    fmp_json_text_open(json);
    fmp_json_text_add(json, text);
    fmp_json_text_close(json);
}

void fmp_json_text_open(fmp_json *json)
{
    fmp_json_value(json);
    fmp_buffer_append(json->buffer, "\"", 1);
}

void fmp_json_text_add(fmp_json *json, const char *text)
{
    write_text(json->buffer, text);
}

void fmp_json_text_close(fmp_json *json)
{
    fmp_buffer_append(json->buffer, "\"", 1);
}

void fmp_json_integer(fmp_json *json, int64_t value)
{
    fmp_json_value(json);
    fmp_buffer_format(json->buffer, "%" PRId64, value);
}

void fmp_json_unsigned(fmp_json *json, uint64_t value)
{
    fmp_json_value(json);
    fmp_buffer_format(json->buffer, "%" PRIu64, value);
}

void fmp_json_raw(fmp_json *json, const char *text)
{
    fmp_json_value(json);
    fmp_buffer_text(json->buffer, text);
}

void fmp_json_bool(fmp_json *json, bool value)
{
    fmp_json_raw(json, value ? "true" : "false");
}

void fmp_json_null(fmp_json *json)
{
    fmp_json_raw(json, "null");
}

void fmp_json_number(fmp_json *json, double value)
{
    if (!isfinite(value)) {
        fmp_json_null(json);
        return;
    }
    char text[FMP_NUMBER_MAX_BYTES];
    fmp_json_value(json);
    fmp_buffer_append(json->buffer, text, fmp_number_write_double(text, value));
}

void fmp_json_pair_text(fmp_json *json, const char *key, const char *text)
{
    fmp_json_key(json, key);
    fmp_json_text(json, text);
}

void fmp_json_pair_unsigned(fmp_json *json, const char *key, uint64_t value)
{
    fmp_json_key(json, key);
    fmp_json_unsigned(json, value);
}

void fmp_json_pair_bool(fmp_json *json, const char *key, bool value)
{
    fmp_json_key(json, key);
    fmp_json_bool(json, value);
}

void fmp_json_pair_float(fmp_json *json, const char *key, float value)
{
    char text[FMP_NUMBER_MAX_BYTES + 1];
    text[fmp_number_write_float(text, value)] = '\0';
    fmp_json_pair_raw(json, key, text);
}

void fmp_json_pair_number(fmp_json *json, const char *key, double value)
{
    fmp_json_key(json, key);
    fmp_json_number(json, value);
}

void fmp_json_pair_raw(fmp_json *json, const char *key, const char *text)
{
    fmp_json_key(json, key);
    fmp_json_raw(json, text);
}
