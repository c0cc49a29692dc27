/* Log lines on standard error, one write each: JSON for machines, text for people.
 *
 * A line is time, level, event and fields. Events are fixed words ("ready", "request"); what varies is
 * in fields. Control characters are escaped, so no client can forge a line. The level and the format
 * are, with the stop flag, the only mutable globals of the daemon. */
#ifndef FMD_LOG_H
#define FMD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of the choices of [log] level and format. */
typedef enum fmd_log_level { FMD_DEBUG, FMD_INFO, FMD_WARNING, FMD_ERROR } fmd_log_level;
typedef enum fmd_log_format { FMD_LOG_TEXT, FMD_LOG_JSON } fmd_log_format;

typedef enum fmd_field_type {
    FMD_FIELD_TEXT,
    FMD_FIELD_INTEGER,
    FMD_FIELD_NUMBER,
    FMD_FIELD_TEXTS,
} fmd_field_type;

/* One key and its value; a plain value that borrows its strings. */
typedef struct fmd_field {
    const char *key;
    fmd_field_type type;
    const char *text;
    int64_t integer;
    double number; /* three decimals are written */
    const char *const *texts;
    size_t n_texts;
} fmd_field;

#define FMD_TEXT(key_, text_) {.key = (key_), .type = FMD_FIELD_TEXT, .text = (text_)}
#define FMD_INTEGER(key_, value_)                                                                  \
    {.key = (key_), .type = FMD_FIELD_INTEGER, .integer = (int64_t)(value_)}
#define FMD_NUMBER(key_, value_) {.key = (key_), .type = FMD_FIELD_NUMBER, .number = (value_)}
#define FMD_TEXTS(key_, texts_, count_)                                                            \
    {.key = (key_), .type = FMD_FIELD_TEXTS, .texts = (texts_), .n_texts = (count_)}

/* Before the first line, from the thread that starts the others. */
void fmd_log_setup(fmd_log_level level, fmd_log_format format);
bool fmd_log_enabled(fmd_log_level level);

/* Writes one line when the level is enabled. A value over 1 KiB is cut. Thread: any. */
void fmd_log_fields(fmd_log_level level, const char *event, const fmd_field *fields,
                    size_t n_fields);

/* fmd_log(FMD_INFO, "signal", FMD_TEXT("name", text), FMD_INTEGER("number", 15)) */
#define fmd_log(level, event, ...)                                                                 \
    do {                                                                                           \
        const fmd_field fmd_log_these[] = {__VA_ARGS__};                                           \
        fmd_log_fields(level, event, fmd_log_these, sizeof fmd_log_these / sizeof(fmd_field));     \
    } while (0)

/* The same line as text, without writing it: what tests look at. Returns its length, newline included,
 * at most size - 1; ret is NUL-terminated.
 *   time_ns  since the epoch */
size_t fmd_log_format_line(char *ret, size_t size, fmd_log_format format, int64_t time_ns,
                           fmd_log_level level, const char *event, const fmd_field *fields,
                           size_t n_fields);

#endif
