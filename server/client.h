/* A client's connection: its deadlines, and its end, which libmicrohttpd does not always see (rules 4 and 6
 * of server/http.h). */
#ifndef FMD_CLIENT_H
#define FMD_CLIENT_H

#include "server/server.h"

/* A client's connection; lives from accept to close. */
typedef struct fmd_client {
    fmd_http *http;
    fmd_server *server;
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

/* Begins with the deadline of a first request line. The descriptor stays libmicrohttpd's. NULL when out of
 * memory. */
fmd_client *fmd_client_new(fmd_http *http, fmd_server *server, int fd) FM_REQUIRES(fmd_on_loop);
/* Before the descriptor is closed; the memory goes with the loop's next turn. */
void fmd_client_close(fmd_client *client) FM_REQUIRES(fmd_on_loop);

/* Looks out for the client's end: while a request is suspended it is cancelled, while its body is read
 * the connection is closed; at any other time it is for MHD to see. Nobody reads a suspended connection:
 * what was pipelined waits in the kernels, and an end behind more than ours takes is not seen before. */
void fmd_client_watch(fmd_client *client) FM_REQUIRES(fmd_on_loop);

/* Deadlines of a connection. */
/* Between requests: idle time, and then a head. */
void fmd_client_expect_request(fmd_client *client) FM_REQUIRES(fmd_on_loop);
/* The request line was read: its headers have to follow. */
void fmd_client_expect_head(fmd_client *client) FM_REQUIRES(fmd_on_loop);
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
