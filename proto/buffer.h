/* A growable byte buffer with a limit.
 *
 * Limit: never grows past limit_bytes. Failure: out of memory or over the limit sets `failed`, frees
 * the content and makes every later append a no-op, so that writers check once, at the end.
 * Lifetime: data may move with every append. */
#ifndef FMP_BUFFER_H
#define FMP_BUFFER_H

#include "engine/annotate.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct fmp_buffer {
    char *data; /* not NUL-terminated */
    size_t length, capacity, limit_bytes;
    bool failed;
} fmp_buffer;

void fmp_buffer_init(fmp_buffer *buffer, size_t limit_bytes);
void fmp_buffer_done(fmp_buffer *buffer);
void fmp_buffer_append(fmp_buffer *buffer, const void *data, size_t length);
void fmp_buffer_text(fmp_buffer *buffer, const char *text);
void fmp_buffer_format(fmp_buffer *buffer, const char *format, ...) FM_PRINTF(2, 3);
/* Room for at least `length` more bytes, or NULL when failed; commit says how many were written. */
char *fmp_buffer_reserve(fmp_buffer *buffer, size_t length);
void fmp_buffer_commit(fmp_buffer *buffer, size_t length);
/* The content as malloc()ed memory of *ret_length bytes, which the caller frees; NULL when failed.
 * The buffer is empty afterwards. */
char *fmp_buffer_take(fmp_buffer *buffer, size_t *ret_length);

#endif
