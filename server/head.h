/* A request's head as libmicrohttpd read it, and the checks that it leaves to us.
 *
 * It accepts what lets two parsers in a row disagree on where a request ends: Content-Length beside
 * Transfer-Encoding, several differing lengths, unknown codings, several Hosts, lines that end in a bare
 * line feed. Worse, it appends a folded line to the header's name, so that a folded length is none, and
 * a fold can make one up. Those are answered 400 and the connection is closed. */
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
    bool bad_name;   /* one that is no token, or begins like one that frames the body and goes on */
    bool bad_value;  /* a control character */
    bool bad_line;   /* not one line, ended by CR LF */
} fmd_head;

/* version: libmicrohttpd's own text, for where it lies. */
void fmd_head_read(struct MHD_Connection *connection, const char *version, fmd_head *ret);
/* One header more; what fmd_head_read() does for each. Pure. */
void fmd_head_add(fmd_head *head, const char *name, const char *value);
/* Whether a header stood on a line of its own, told from where its name and its value lie in the buffer
 * that libmicrohttpd has read: it ends the name, and the line, with NULs in place of the colon and of CR
 * and LF. Another line was folded onto this one where the value does not lie behind the name, or where
 * the next line begins with a blank.
 *   name, value  two bytes beyond the value's NUL must be readable */
bool fmd_head_is_one_line(const char *name, const char *value);
/* NULL, or why the request is refused. */
const char *fmd_head_fault(const fmd_head *head, const char *method, const char *version);

static inline bool fmd_head_has_body(const fmd_head *head)
{
    return head->n_codings > 0 || (head->n_lengths > 0 && head->length > 0);
}

#endif
