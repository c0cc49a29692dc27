/* Base64 with the standard alphabet and padding, RFC 4648 section 4. */
#ifndef FMP_BASE64_H
#define FMP_BASE64_H

#include "proto/buffer.h"

#include <stdint.h>

#define FMP_BASE64_PENDING_BYTES 3072 /* a multiple of 3 */

/* Text out of bytes that come in pieces: init, write…, finish (which writes the rest and padding). */
typedef struct fmp_base64 {
    uint8_t pending[FMP_BASE64_PENDING_BYTES];
    size_t n_pending;
} fmp_base64;

void fmp_base64_init(fmp_base64 *base64);
void fmp_base64_write(fmp_base64 *base64, fmp_buffer *buffer, const void *data, size_t length);
void fmp_base64_finish(fmp_base64 *base64, fmp_buffer *buffer);
size_t fmp_base64_encoded_length(size_t length);

/* Decodes exactly ret_length bytes; false when the text is not base64 of just so many.
 *   ret  [ret_length], undefined on failure */
FM_MUST_USE bool fmp_base64_read(const char *text, size_t text_length, void *ret,
                                 size_t ret_length);

#endif
