#include "server/log.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES  16384
#define VALUE_MAX_BYTES 1024 /* of one value, escaped; what is longer ends in "..." */

static fmd_log_level log_level = FMD_INFO;
static fmd_log_format log_format = FMD_LOG_TEXT;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* A line being written; what does not fit is dropped, the newline always fits. */
typedef struct line {
    char *data;
    size_t length, size;
    fmd_log_format format;
} line;

static void put(line *out, const char *text, size_t length)
{
    assert(out->length + 3 <= out->size);
    size_t room = out->size - out->length - 3; /* quote or brace, newline, NUL */
    size_t taken = length < room ? length : room;
    memcpy(out->data + out->length, text, taken);
    out->length += taken;
}

static void put_text(line *out, const char *text)
{
    put(out, text, strlen(text));
}

/* Bytes that would break a line, end a string or are not ASCII text become escapes. Bytes of UTF-8 are
 * kept when they form a valid sequence of it, for both formats are UTF-8. */
static size_t utf8_length(const unsigned char *text)
{
    size_t length = text[0] >= 0xf0 && text[0] <= 0xf4   ? 4
                    : text[0] >= 0xe0 && text[0] <= 0xef ? 3
                    : text[0] >= 0xc2 && text[0] <= 0xdf ? 2
                                                         : 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool forbidden = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
                     (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f) ||
                     (text[0] == 0xc2 && text[1] < 0xa0); /* C1 controls */
    return length > 0 && forbidden ? 0 : length;
}

static void put_escaped(line *out, const char *text)
{
    size_t start = out->length;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0';) {
        if (out->length - start > VALUE_MAX_BYTES) {
            put_text(out, "...");
            return;
        }
        size_t length = *c < 0x80 ? 1 : utf8_length(c);
        if (length > 1 || (length == 1 && *c >= 0x20 && *c != 0x7f && *c != '"' && *c != '\\')) {
            put(out, (const char *)c, length);
            c += length;
            continue;
        }
        char escape[8];
        if (*c == '"' || *c == '\\') {
            snprintf(escape, sizeof escape, "\\%c", *c);
        } else {
            snprintf(escape, sizeof escape, "\\u%04x", *c);
        }
        put_text(out, escape);
        c++;
    }
}

static void put_quoted(line *out, const char *text)
{
    put_text(out, "\"");
    put_escaped(out, text);
    put_text(out, "\"");
}

/* In text lines a value is bare when nothing in it could be taken for something else. */
static void put_value_text(line *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_.:/[]+,%@~*";
    if (out->format == FMD_LOG_TEXT && text[0] != '\0' && text[strspn(text, plain)] == '\0') {
        put_text(out, text);
    } else {
        put_quoted(out, text);
    }
}

static void put_texts(line *out, const fmd_field *field)
{
    put_text(out, out->format == FMD_LOG_JSON ? "[" : "");
    for (size_t i = 0; i < field->n_texts; i++) {
        put_text(out, i > 0 ? "," : "");
        put_value_text(out, field->texts[i]);
    }
    put_text(out, out->format == FMD_LOG_JSON ? "]" : "");
}

static void put_field(line *out, const fmd_field *field)
{
    if (out->format == FMD_LOG_JSON) {
        put_text(out, ",");
        put_quoted(out, field->key);
        put_text(out, ":");
    } else {
        put_text(out, " ");
        put_text(out, field->key);
        put_text(out, "=");
    }
    char number[32];
    switch (field->type) {
    case FMD_FIELD_TEXT:
        put_value_text(out, field->text == NULL ? "" : field->text);
        break;
    case FMD_FIELD_INTEGER:
        snprintf(number, sizeof number, "%" PRId64, field->integer);
        put_text(out, number);
        break;
    case FMD_FIELD_NUMBER:
        snprintf(number, sizeof number, "%.3f", isfinite(field->number) ? field->number : -1.0);
        put_text(out, number);
        break;
    case FMD_FIELD_TEXTS:
        put_texts(out, field);
        break;
    }
}

static void put_time(line *out, int64_t time_ns)
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm parts;
    char text[48] = "";
    if (gmtime_r(&seconds, &parts) != NULL) {
        size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
        snprintf(text + length, sizeof text - length, ".%03dZ", (int)(time_ns / 1000000 % 1000));
    }
    put_text(out, text);
}

size_t fmd_log_format_line(char *ret, size_t size, fmd_log_format format, int64_t time_ns,
                           fmd_log_level level, const char *event, const fmd_field *fields,
                           size_t n_fields)
{
    assert(size >= 3);
    line out = {.data = ret, .size = size, .format = format};
    bool json = format == FMD_LOG_JSON;
    put_text(&out, json ? "{\"time\":\"" : "");
    put_time(&out, time_ns);
    put_text(&out, json ? "\",\"level\":\"" : " ");
    put_text(&out, level_names[level]);
    put_text(&out, json ? "\",\"event\":" : " ");
    put_value_text(&out, event);
    for (size_t i = 0; i < n_fields; i++) {
        put_field(&out, &fields[i]);
    }
    if (json) {
        out.data[out.length++] = '}';
    }
    out.data[out.length++] = '\n';
    out.data[out.length] = '\0';
    return out.length;
}

void fmd_log_setup(fmd_log_level level, fmd_log_format format)
{
    log_level = level;
    log_format = format;
}

bool fmd_log_enabled(fmd_log_level level)
{
    return level >= log_level;
}

void fmd_log_fields(fmd_log_level level, const char *event, const fmd_field *fields,
                    size_t n_fields)
{
    if (!fmd_log_enabled(level)) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    char text[LINE_MAX_BYTES];
    size_t length = fmd_log_format_line(text, sizeof text, log_format,
                                        (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, level,
                                        event, fields, n_fields);
    /* One write, so that lines of several threads do not mix. A log that cannot be written is not worth
     * failing a request for. */
    ssize_t written = write(STDERR_FILENO, text, length);
    (void)written;
}
