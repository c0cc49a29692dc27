/* Text in files of others. */
#ifndef FM_UTF8_H
#define FM_UTF8_H

#include <stddef.h>

/* Bytes of the UTF-8 character at text[0], of `left` bytes, >= 1; 0 where it is none. Surrogates and overlong forms are
 * none; U+0000 is one. */
size_t fm_utf8_length(const unsigned char *text, size_t left);

#endif
