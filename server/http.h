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

#include "server/client.h"
#include "server/server.h"

#include <microhttpd.h>

/* Errors: FM_EIO, FM_ENOMEM. The listener stays the caller's. */
FM_MUST_USE fm_status fmd_http_new(fmd_server *server, fmd_listener *listener, fmd_http **ret,
                                   fm_error *err) FM_REQUIRES(fmd_on_loop);
/* Lets MHD do what it can; after every change that it must see. Not from within its callbacks. */
void fmd_http_run(fmd_http *http) FM_REQUIRES(fmd_on_loop);
/* Accepts no more; the listener is closed. */
void fmd_http_quiesce(fmd_http *http) FM_REQUIRES(fmd_on_loop);
/* Stops the daemon, which closes every connection; the memory goes with the loop's last turn. */
void fmd_http_free(fmd_http *http) FM_REQUIRES(fmd_on_loop);

#endif
