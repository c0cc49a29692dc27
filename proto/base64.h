/* Base64 with the standard alphabet and padding, RFC 4648 section 4. */
#ifndef FMP_BASE64_H
#define FMP_BASE64_H

#include "proto/buffer.h"

/* Appends the text of length bytes. */
void fmp_base64_write(fmp_buffer *buffer, const void *data, size_t length);
size_t fmp_base64_encoded_length(size_t length);

/* Decodes exactly ret_length bytes; false when the text is not base64 of just so many.
 *   ret  [ret_length], undefined on failure */
FM_MUST_USE bool fmp_base64_read(const char *text, size_t text_length, void *ret,
                                 size_t ret_length);

#endif
