/* Growth by half again, so that a long answer is copied a constant number of times on average. */
#include "proto/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 256

static void fail(fmp_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->length = buffer->capacity = 0;
    buffer->failed = true;
}

void fmp_buffer_init(fmp_buffer *buffer, size_t limit_bytes)
{
    *buffer = (fmp_buffer){.limit_bytes = limit_bytes};
}

void fmp_buffer_done(fmp_buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    free(buffer->data);
    *buffer = (fmp_buffer){.limit_bytes = buffer->limit_bytes};
}

/* The capacity to grow to: at least needed, at most the limit (needed is within it). */
static size_t grown_capacity(const fmp_buffer *buffer, size_t needed)
{
    size_t wanted = FIRST_CAPACITY;
    if (buffer->capacity > wanted) {
        wanted = buffer->capacity;
    }
    while (wanted < needed) {
        if (wanted > SIZE_MAX - wanted / 2) {
            return needed;
        }
        wanted += wanted / 2;
    }
    return wanted < buffer->limit_bytes ? wanted : buffer->limit_bytes;
}

char *fmp_buffer_reserve(fmp_buffer *buffer, size_t length)
{
    if (buffer->failed) {
        return NULL;
    }
    assert(buffer->length <= buffer->limit_bytes);
    if (length > buffer->limit_bytes - buffer->length) {
        fail(buffer);
        return NULL;
    }
    size_t needed = buffer->length + length;
    if (needed > buffer->capacity || buffer->data == NULL) {
        size_t capacity = grown_capacity(buffer, needed);
        /* realloc(…, 0) may return NULL without having failed. */
        char *data = realloc(buffer->data, capacity > 0 ? capacity : 1);
        if (data == NULL) {
            fail(buffer);
            return NULL;
        }
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->length;
}

void fmp_buffer_commit(fmp_buffer *buffer, size_t length)
{
    if (buffer->failed) {
        return;
    }
    assert(length <= buffer->capacity - buffer->length);
    buffer->length += length;
}

void fmp_buffer_append(fmp_buffer *buffer, const void *data, size_t length)
{
    char *room = fmp_buffer_reserve(buffer, length);
    if (room != NULL && length > 0) {
        memcpy(room, data, length);
        fmp_buffer_commit(buffer, length);
    }
}

void fmp_buffer_text(fmp_buffer *buffer, const char *text)
{
    fmp_buffer_append(buffer, text, strlen(text));
}

void fmp_buffer_format(fmp_buffer *buffer, const char *format, ...)
{
    if (buffer->failed) {
        return;
    }
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        fail(buffer);
    } else if ((size_t)length < sizeof text) {
        fmp_buffer_append(buffer, text, (size_t)length);
    } else {
        /* vsnprintf() writes a NUL too: it goes into a copy, so that the limit counts text only. */
        char *whole = malloc((size_t)length + 1);
        if (whole == NULL) {
            fail(buffer);
        } else {
            (void)vsnprintf(whole, (size_t)length + 1, format, again);
            fmp_buffer_append(buffer, whole, (size_t)length);
            free(whole);
        }
    }
    va_end(again);
}

char *fmp_buffer_take(fmp_buffer *buffer, size_t *ret_length)
{
    *ret_length = 0;
    if (fmp_buffer_reserve(buffer, 0) == NULL) {
        return NULL;
    }
    char *data = buffer->data;
    *ret_length = buffer->length;
    *buffer = (fmp_buffer){.limit_bytes = buffer->limit_bytes};
    return data;
}
