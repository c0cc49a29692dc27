/* Text that something writes piece by piece, in one piece. */
#ifndef TESTS_TEXT_H
#define TESTS_TEXT_H

#include <stddef.h>

typedef struct text {
    char bytes[32768];
    size_t length;
} text;

/* An fm_write_cb; context is the text. Aborts the test when it is full. */
void text_append(void *context, const char *piece, size_t length);
/* Aborts the test, showing what was found, when it does not hold needle. */
void text_expect(const text *found, const char *needle);

#endif
