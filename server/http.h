/* libmicrohttpd in external-epoll mode on the libuv loop: one daemon a listener.
 *
 * DESIGN. The daemon's epoll descriptor is polled by the loop; whatever it needs, MHD_run() does. Rules
 * that keep it alive, each with the trap it avoids:
 * 1. All MHD calls are made on the loop thread, and a resume is followed by fmd_http_run(): nothing else
 *    would wake it.
 * 2. After a connection closed, MHD_run() runs once more: the listening socket is put back into its epoll
 *    set at the start of a run, the slot is freed at the end.
 * 3. Connections beyond our limit are answered 503 by us; MHD's own limit, behind which clients would sit
 *    unanswered, is a reserve higher. Of several listeners the sum is held to the same bound.
 * 4. A client's time is bounded by deadlines of ours, for MHD's own timeout restarts at every byte: for
 *    the head, for the body at a minimum rate and without long silence, and for taking the answer.
 * 5. MHD_stop_daemon() aborts while a connection is suspended; fmd_http_free() asserts there is none.
 * 6. MHD does not see an end that comes with the last bytes (its epoll is edge-triggered, and a short
 *    read counts as everything), nor any while a connection is suspended: client->watch does. */
#ifndef FMD_HTTP_H
#define FMD_HTTP_H

#include "server/server.h"

#include <microhttpd.h>

/* A client's connection; lives from accept to close. */
typedef struct fmd_client {
    fmd_http *http;
    int fd;
    bool over_limit; /* every request is answered 503 and closes it */
    bool head_begun; /* a request line was read and its headers were not */
    bool ended; /* too slow, or gone within a request: whatever else it sent is not looked at */
    struct fmd_exchange *exchange; /* the request in progress, or NULL */
    uv_timer_t timer;
    uv_poll_t watch;       /* for its end, on since a request of it first had to be waited for */
    unsigned open_handles; /* timer and watch */
    uint64_t n_calls;      /* of MHD about it: unchanged by a run, MHD holds nothing more of it */
    uint64_t phase_started_ms; /* on the loop's clock: when the head, body or answer began */
    uint64_t received_ms;      /* when a byte of the body came last */
    uint64_t phase_bytes;      /* of the body or answer so far: what body_rate lends time for */
} fmd_client;

/* Errors: FM_EIO, FM_ENOMEM. The listener stays the caller's. */
FM_MUST_USE fm_status fmd_http_new(fmd_server *server, fmd_listener *listener, fmd_http **ret,
                                   fm_error *err) FM_REQUIRES(fmd_on_loop);
/* Lets MHD do what it can; after every change that it must see. Not from within its callbacks. */
void fmd_http_run(fmd_http *http) FM_REQUIRES(fmd_on_loop);
/* Accepts no more; the listener is closed. */
void fmd_http_quiesce(fmd_http *http) FM_REQUIRES(fmd_on_loop);
/* Stops the daemon, which closes every connection; the memory goes with the loop's last turn. */
void fmd_http_free(fmd_http *http) FM_REQUIRES(fmd_on_loop);

/* Looks out for the client's end: while a request is suspended it is cancelled, while its body is read
 * the connection is closed; at any other time it is for MHD to see. */
void fmd_client_watch(fmd_client *client) FM_REQUIRES(fmd_on_loop);
/* The same for a connection that was suspended, until it is let go: nobody reads it then, and an end is
 * not seen behind more bytes than the kernel takes for it, so that more than a few are refused. */
void fmd_client_hold(fmd_client *client) FM_REQUIRES(fmd_on_loop);
void fmd_client_let_go(fmd_client *client) FM_REQUIRES(fmd_on_loop);

/* Deadlines of a connection. */
void fmd_client_expect_body(fmd_client *client) FM_REQUIRES(fmd_on_loop);
void fmd_client_received(fmd_client *client, size_t bytes) FM_REQUIRES(fmd_on_loop);
void fmd_client_no_deadline(fmd_client *client) FM_REQUIRES(fmd_on_loop);
void fmd_client_expect_taking(fmd_client *client, size_t bytes) FM_REQUIRES(fmd_on_loop);

/* Sends a whole answer past libmicrohttpd, which takes none in the middle of a request, and closes our side
 * of the connection, so that nothing can follow it; the other side may still be read. Nothing of
 * libmicrohttpd's own may be under way on the socket. */
void fmd_client_send_last(fmd_client *client, const char *data, size_t length)
    FM_REQUIRES(fmd_on_loop);

#endif
