/* Content negotiation (RFC 9110, 12.5.1). */
#ifndef FMD_ACCEPT_H
#define FMD_ACCEPT_H

#include <stdbool.h>

/* The quality, 0 to 1000, that an Accept header gives a media type; its most specific range counts.
 * A missing header (NULL) accepts everything. */
int fmd_accept_quality(const char *accept, const char *type);

/* Whether a Content-Type header names that media type, whatever its parameters. */
bool fmd_media_type_is(const char *content_type, const char *type);

#endif
