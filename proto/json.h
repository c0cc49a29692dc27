/* A JSON text writer: commas and colons by itself, strings escaped, nothing allocated but the buffer.
 *
 *     fmp_json json = {.buffer = buffer};
 *     fmp_json_open(&json, '{');
 *     fmp_json_key(&json, "id");
 *     fmp_json_text(&json, id);
 *     fmp_json_close(&json, '}');
 *
 * Failure is the buffer's, checked once at the end. */
#ifndef FMP_JSON_H
#define FMP_JSON_H

#include "proto/buffer.h"

#include <stdint.h>

typedef struct fmp_json {
    fmp_buffer *buffer;
    bool follows; /* a value was written at this level: a comma comes before the next */
} fmp_json;

void fmp_json_open(fmp_json *json, char bracket);  /* '{' or '[' */
void fmp_json_close(fmp_json *json, char bracket); /* '}' or ']' */
void fmp_json_key(fmp_json *json, const char *key);

/* text is meant to be UTF-8; each byte that is not is written as U+FFFD. */
void fmp_json_text(fmp_json *json, const char *text);
/* The same in pieces. */
void fmp_json_text_open(fmp_json *json);
void fmp_json_text_add(fmp_json *json, const char *text);
void fmp_json_text_close(fmp_json *json);
#define FMP_JSON_TEXT_GROWTH ((size_t)6) /* bytes that one of a text may become: \u001f */
void fmp_json_integer(fmp_json *json, int64_t value);
void fmp_json_unsigned(fmp_json *json, uint64_t value);
void fmp_json_bool(fmp_json *json, bool value);
void fmp_json_null(fmp_json *json);
/* The shortest that reads back; null where the value is not finite, for JSON has no such numbers. */
void fmp_json_number(fmp_json *json, double value);
/* A value that is already JSON text. */
void fmp_json_raw(fmp_json *json, const char *text);
/* Says that a value is about to be appended to the buffer by other means. */
void fmp_json_value(fmp_json *json);

/* key and value in one call */
void fmp_json_pair_text(fmp_json *json, const char *key, const char *text);
void fmp_json_pair_unsigned(fmp_json *json, const char *key, uint64_t value);
void fmp_json_pair_bool(fmp_json *json, const char *key, bool value);
void fmp_json_pair_number(fmp_json *json, const char *key, double value);
void fmp_json_pair_float(fmp_json *json, const char *key, float value); /* finite */
void fmp_json_pair_raw(fmp_json *json, const char *key, const char *text);

#endif
