/* Listen addresses: "HOST:PORT", "[IPv6]:PORT" and "unix:PATH". */
#ifndef FMC_ADDRESS_H
#define FMC_ADDRESS_H

#include "engine/status.h"

#include <stdbool.h>
#include <stdint.h>

#define FMC_ADDRESS_MAX_HOST 256 /* a DNS name has at most 253 characters */
#define FMC_ADDRESS_MAX_PATH 107 /* sockaddr_un.sun_path less its NUL */

/* A plain value. */
typedef struct fmc_address {
    bool is_unix;
    char host[FMC_ADDRESS_MAX_HOST]; /* without brackets; "" or "*": every address */
    char path[FMC_ADDRESS_MAX_PATH + 1];
    uint16_t port; /* 0: any free one */
} fmc_address;

/* Checks the form only; names are resolved when the socket is opened.
 * Errors: FM_EINVAL says which rule of the form is broken. */
FM_MUST_USE fm_status fmc_address_parse(const char *text, fmc_address *ret, fm_error *err);

#endif
