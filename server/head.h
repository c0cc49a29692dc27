/* A request's head as libmicrohttpd read it, and the checks that it leaves to us.
 *
 * It accepts what lets two parsers in a row disagree on where a request ends: Content-Length beside
 * Transfer-Encoding, several differing lengths, unknown codings, several Hosts. Those are answered 400
 * and the connection is closed. */
#ifndef FMD_HEAD_H
#define FMD_HEAD_H

#include "engine/annotate.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct fmd_head {
    unsigned n_hosts, n_lengths, n_codings;
    bool length_is_number, coding_is_chunked, expects_continue;
    uint64_t length; /* of the body, with n_lengths */
    /* Borrowed from the connection; NULL when absent. Several Accept headers: the first counts. */
    const char *accept, *content_type, *request_id;
    bool is_encoded; /* a Content-Encoding that is not identity */
    bool bad_value;  /* a name that is no token, or a control character in a value */
} fmd_head;

void fmd_head_read(struct MHD_Connection *connection, fmd_head *ret);
/* One header more; what fmd_head_read() does for each. Pure. */
void fmd_head_add(fmd_head *head, const char *name, const char *value);
/* NULL, or why the request is refused. */
const char *fmd_head_fault(const fmd_head *head, const char *method, const char *version);

static inline bool fmd_head_has_body(const fmd_head *head)
{
    return head->n_codings > 0 || (head->n_lengths > 0 && head->length > 0);
}

#endif
