/* Base64 by nettle; stricter than it about white space and text after the padding. */
#include "proto/base64.h"

#include <nettle/base64.h>
#include <stdint.h>
#include <string.h>

size_t fmp_base64_encoded_length(size_t length)
{
    return BASE64_ENCODE_RAW_LENGTH(length);
}

void fmp_base64_init(fmp_base64 *base64)
{
    base64->n_pending = 0;
}

static void encode_pending(fmp_base64 *base64, fmp_buffer *buffer)
{
    size_t encoded = fmp_base64_encoded_length(base64->n_pending);
    char *room = fmp_buffer_reserve(buffer, encoded);
    if (room != NULL) {
        base64_encode_raw(room, base64->n_pending, base64->pending);
        fmp_buffer_commit(buffer, encoded);
    }
    base64->n_pending = 0;
}

void fmp_base64_write(fmp_base64 *base64, fmp_buffer *buffer, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    for (size_t done = 0; done < length;) {
        size_t count = FMP_BASE64_PENDING_BYTES - base64->n_pending;
        count = length - done < count ? length - done : count;
        memcpy(base64->pending + base64->n_pending, bytes + done, count);
        base64->n_pending += count;
        done += count;
        if (base64->n_pending == FMP_BASE64_PENDING_BYTES) {
            encode_pending(base64, buffer);
        }
    }
}

void fmp_base64_finish(fmp_base64 *base64, fmp_buffer *buffer)
{
    encode_pending(base64, buffer);
}

bool fmp_base64_read(const char *text, size_t text_length, void *ret, size_t ret_length)
{
    if (ret_length > SIZE_MAX / 4 * 3 - 3 || text_length != fmp_base64_encoded_length(ret_length)) {
        return false;
    }
    if (ret_length == 0) {
        return true;
    }
    size_t last_bytes = ret_length % 3 == 0 ? 3 : ret_length % 3;
    size_t whole_text = text_length - 4;
    if (memchr(text, '=', whole_text) != NULL) {
        return false;
    }
    struct base64_decode_ctx context;
    base64_decode_init(&context);
    uint8_t *bytes = ret;
    size_t decoded = 0;
    /* White space would be skipped: then fewer bytes come out than the length says. */
    if (base64_decode_update(&context, &decoded, bytes, whole_text, text) == 0 ||
        decoded != ret_length - last_bytes) {
        return false;
    }
    uint8_t last[BASE64_DECODE_LENGTH(4)];
    if (base64_decode_update(&context, &decoded, last, 4, text + whole_text) == 0 ||
        decoded != last_bytes || base64_decode_final(&context) == 0) {
        return false;
    }
    memcpy(bytes + ret_length - last_bytes, last, last_bytes);
    return true;
}
