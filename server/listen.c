#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG     1024
#define SOCKET_MODE 0660

static fm_status add(fmd_listeners *listeners, const fmd_listener *listener, fm_error *err)
{
    fmd_listener *items = realloc(listeners->items, (listeners->count + 1) * sizeof *items);
    if (items == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    listeners->items = items;
    items[listeners->count++] = *listener;
    return FM_OK;
}

/* ---- Unix sockets ---- */

static struct sockaddr_un unix_name(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path));
    return name;
}

/* Removes a socket file that no process listens on: a connection to it is refused. */
static fm_status remove_stale(const char *path, fm_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? FM_OK : fm_fail(err, FM_EIO, "%s", strerror(errno));
    }
    if (!S_ISSOCK(info.st_mode)) {
        return fm_fail(err, FM_EIO, "the file exists and is not a socket");
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fm_fail(err, FM_EIO, "%s", strerror(errno));
    }
    struct sockaddr_un name = unix_name(path);
    int failed = connect(fd, (const struct sockaddr *)&name, sizeof name) == 0 ? 0 : errno;
    close(fd);
    if (failed != ECONNREFUSED) {
        return fm_fail(err, FM_EIO, "the socket is in use by another process");
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return fm_fail(err, FM_EIO, "the stale socket cannot be removed: %s", strerror(errno));
    }
    return FM_OK;
}

static fm_status open_unix(fmd_listeners *listeners, const fmc_address *address, fm_error *err)
{
    fmd_listener listener = {.fd = -1, .is_unix = true};
    snprintf(listener.name, sizeof listener.name, "unix:%s", address->path);
    memcpy(listener.path, address->path, sizeof listener.path);
    fm_status status = remove_stale(address->path, err);
    if (status != FM_OK) {
        return status;
    }
    listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener.fd < 0) {
        return fm_fail(err, FM_EIO, "%s", strerror(errno));
    }
    struct sockaddr_un name = unix_name(address->path);
    /* The file has its mode from the moment it exists, which chmod() afterwards could not promise. */
    mode_t before = umask(0777 & ~SOCKET_MODE);
    int failed = bind(listener.fd, (const struct sockaddr *)&name, sizeof name) == 0 ? 0 : errno;
    umask(before);
    struct stat info;
    if (failed != 0 || lstat(address->path, &info) != 0) {
        close(listener.fd);
        return fm_fail(err, FM_EIO, "%s", strerror(failed != 0 ? failed : errno));
    }
    listener.device = info.st_dev;
    listener.inode = info.st_ino;
    status = add(listeners, &listener, err);
    if (status != FM_OK) {
        fmd_listener_close(&listener);
    }
    return status;
}

/* ---- TCP ---- */

static void name_bound(fmd_listener *listener)
{
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &length) != 0 ||
        getnameinfo((const struct sockaddr *)&bound, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(listener->name, sizeof listener->name, "unknown");
        return;
    }
    if (bound.ss_family == AF_INET6) {
        snprintf(listener->name, sizeof listener->name, "[%.200s]:%.10s", host, port);
    } else {
        snprintf(listener->name, sizeof listener->name, "%.200s:%.10s", host, port);
    }
}

static int bind_tcp(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    /* IPv4 gets a socket of its own, so that both can be bound to one port. */
    bool ready = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 (info->ai_family != AF_INET6 ||
                  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
                 bind(fd, info->ai_addr, info->ai_addrlen) == 0;
    if (!ready) {
        int failed = errno;
        close(fd);
        errno = failed;
        return -1;
    }
    return fd;
}

static fm_status open_tcp(fmd_listeners *listeners, const fmc_address *address, fm_error *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    bool every = address->host[0] == '\0' || strcmp(address->host, "*") == 0;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)address->port);
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(every ? NULL : address->host, port, &hints, &found);
    if (failed != 0) {
        return fm_fail(err, FM_EIO, "%s", gai_strerror(failed));
    }
    fm_status status = FM_OK;
    size_t bound = 0;
    for (const struct addrinfo *info = found; status == FM_OK && info != NULL;
         info = info->ai_next) {
        fmd_listener listener = {.fd = bind_tcp(info)};
        if (listener.fd < 0) {
            /* A machine without IPv6 still serves "localhost" and "*". */
            bool absent = errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL;
            bool last = info->ai_next == NULL && bound == 0;
            status = absent && !last ? FM_OK : fm_fail(err, FM_EIO, "%s", strerror(errno));
            continue;
        }
        name_bound(&listener);
        status = add(listeners, &listener, err);
        if (status != FM_OK) {
            fmd_listener_close(&listener);
        }
        bound++;
    }
    freeaddrinfo(found);
    return status;
}

/* ---- The whole ---- */

fm_status fmd_listeners_open(fmd_listeners *listeners, const char *text, fm_error *err)
{
    fmc_address address;
    fm_status status = fmc_address_parse(text, &address, err);
    if (status == FM_OK) {
        status = address.is_unix ? open_unix(listeners, &address, err)
                                 : open_tcp(listeners, &address, err);
    }
    return status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "cannot listen on %s", text);
}

fm_status fmd_listener_start(fmd_listener *listener, fm_error *err)
{
    if (listen(listener->fd, BACKLOG) != 0) {
        return fm_fail(err, FM_EIO, "cannot listen on %s: %s", listener->name, strerror(errno));
    }
    return FM_OK;
}

void fmd_listener_close(fmd_listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    struct stat info;
    if (listener->is_unix && lstat(listener->path, &info) == 0 && info.st_dev == listener->device &&
        info.st_ino == listener->inode) {
        unlink(listener->path);
    }
    close(listener->fd);
    listener->fd = -1;
}

void fmd_listeners_done(fmd_listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        fmd_listener_close(&listeners->items[i]);
    }
    free(listeners->items);
    *listeners = (fmd_listeners){NULL, 0};
}
