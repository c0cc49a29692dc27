/* Listening sockets: TCP over IPv4 and IPv6, and unix sockets. */
#ifndef FMD_LISTEN_H
#define FMD_LISTEN_H

#include "config/address.h"
#include "engine/status.h"

#include <sys/types.h>

/* A bound socket; a plain value that owns its descriptor, and a unix socket's file. */
typedef struct fmd_listener {
    int fd;                               /* -1: closed */
    char name[FMC_ADDRESS_MAX_HOST + 16]; /* as bound: "127.0.0.1:43211", "unix:/run/v.sock" */
    bool is_unix;
    char path[FMC_ADDRESS_MAX_PATH + 1];
    dev_t device; /* of the socket's file, so that only our own is removed */
    ino_t inode;
} fmd_listener;

typedef struct fmd_listeners {
    fmd_listener *items;
    size_t count;
} fmd_listeners;

/* Binds an address and adds what was bound; a host name may give several. Nothing is accepted before
 * fmd_listener_start(). A socket file that nobody listens on any more is replaced; one in use, or
 * another kind of file, is an error.
 * Errors: FM_EIO names address and cause; FM_ENOMEM. */
FM_MUST_USE fm_status fmd_listeners_open(fmd_listeners *listeners, const char *address,
                                         fm_error *err);
/* Errors: FM_EIO. */
FM_MUST_USE fm_status fmd_listener_start(fmd_listener *listener, fm_error *err);
/* Closes the socket and removes its file; takes a closed one. */
void fmd_listener_close(fmd_listener *listener);
void fmd_listeners_done(fmd_listeners *listeners);

#endif
