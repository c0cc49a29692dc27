/* Request ids: 26 characters that sort by time and cannot be guessed (the form of a ULID), or the
 * client's own X-Request-Id where that is a sane one. */
#ifndef FMD_REQUEST_ID_H
#define FMD_REQUEST_ID_H

#include <stdbool.h>
#include <stdint.h>

#define FMD_REQUEST_ID_MAX 64

/* 48 bits of milliseconds and 80 random bits in Crockford's base 32; ret is NUL-terminated. */
void fmd_request_id_make(char ret[FMD_REQUEST_ID_MAX + 1]);
/* Whether a client's id is used: [A-Za-z0-9._-]{1,64}. */
bool fmd_request_id_is_sane(const char *text);

/* Random bits from the kernel; below 2^53, so that a JSON number holds it exactly. */
uint64_t fmd_draw_seed(void);

#endif
