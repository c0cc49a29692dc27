/* velocityd probe: one GET, for container health checks, so that an image needs no curl.
 *
 * Only the status line is read; so much HTTP needs no library. */
#include "server/command.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 3
#define DEFAULT_PATH    "/health/ready"

/* http://HOST[:PORT][/path], http://[IPv6]:PORT[/path] or unix:SOCKET. */
typedef struct fmd_probe_target {
    char host[256]; /* "" for a socket file */
    char port[8];
    char path[512]; /* of the request, or of the socket file */
} fmd_probe_target;

static bool parse_authority(const char *text, size_t length, fmd_probe_target *ret)
{
    const char *end = text + length;
    const char *host_end = memchr(text, ':', length);
    if (length > 0 && text[0] == '[') {
        host_end = memchr(text, ']', length);
        if (host_end == NULL) {
            return false;
        }
        text++;
    }
    size_t host_length = (size_t)((host_end == NULL ? end : host_end) - text);
    const char *colon = host_end == NULL ? NULL : memchr(host_end, ':', (size_t)(end - host_end));
    size_t port_length = colon == NULL ? 0 : (size_t)(end - colon) - 1;
    if (host_length == 0 || host_length >= sizeof ret->host || port_length >= sizeof ret->port) {
        return false;
    }
    memcpy(ret->host, text, host_length);
    memcpy(ret->port, colon == NULL ? "80" : colon + 1, colon == NULL ? 3 : port_length);
    return true;
}

static bool parse_target(const char *url, fmd_probe_target *ret)
{
    *ret = (fmd_probe_target){0};
    if (strncmp(url, "unix:", 5) == 0) {
        int length = snprintf(ret->path, sizeof ret->path, "%s", url + 5);
        return length > 0 && (size_t)length < sizeof((struct sockaddr_un *)NULL)->sun_path;
    }
    if (strncmp(url, "http://", 7) != 0) {
        return false;
    }
    const char *authority = url + 7;
    size_t length = strcspn(authority, "/");
    const char *path = authority[length] == '/' && authority[length + 1] != '\0'
                           ? authority + length
                           : DEFAULT_PATH;
    int written = snprintf(ret->path, sizeof ret->path, "%s", path);
    return written > 0 && (size_t)written < sizeof ret->path &&
           strcspn(path, " \r\n") == (size_t)written && parse_authority(authority, length, ret);
}

static int connect_with_timeout(int domain, const struct sockaddr *address, socklen_t length)
{
    int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    struct timeval limit = {.tv_sec = TIMEOUT_SECONDS};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect() too */
    if (connect(fd, address, length) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int connect_target(const fmd_probe_target *target)
{
    if (target->host[0] == '\0') {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, target->path, strlen(target->path) + 1);
        return connect_with_timeout(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(target->host, target->port, &hints, &found) != 0) {
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *each = found; each != NULL && fd < 0; each = each->ai_next) {
        fd = connect_with_timeout(each->ai_family, each->ai_addr, each->ai_addrlen);
    }
    freeaddrinfo(found);
    return fd;
}

/* The status of the answer, or 0. */
static int ask(int fd, const fmd_probe_target *target)
{
    bool local = target->host[0] == '\0';
    char text[1024];
    int length =
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                 local ? DEFAULT_PATH : target->path, local ? "localhost" : target->host);
    if (send(fd, text, (size_t)length, MSG_NOSIGNAL) != length) {
        return 0;
    }
    size_t used = 0;
    while (used < 12) { /* "HTTP/1.1 200" */
        ssize_t got = recv(fd, text + used, sizeof text - 1 - used, 0);
        if (got <= 0) {
            return 0;
        }
        used += (size_t)got;
    }
    text[used] = '\0';
    return strncmp(text, "HTTP/1.", 7) == 0 ? (int)strtol(text + 9, NULL, 10) : 0;
}

int fmd_command_probe(int argc, char **argv)
{
    fmd_probe_target target;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("Usage: velocityd probe URL\n\n"
             "URL is http://HOST[:PORT][/path] or unix:SOCKET; the path is " DEFAULT_PATH
             " by default.\nThe exit code is 0 when the answer is a 2xx within 3 seconds, else 1.");
        return FMD_EXIT_OK;
    }
    if (argc != 2 || !parse_target(argv[1], &target)) {
        return fmd_complain(FMD_EXIT_USAGE,
                            "usage: velocityd probe http://HOST[:PORT][/path] | unix:SOCKET");
    }
    int fd = connect_target(&target);
    if (fd < 0) {
        return fmd_complain(FMD_EXIT_FAILED, "cannot connect to %s", argv[1]);
    }
    int status = ask(fd, &target);
    (void)close(fd);
    if (status < 200 || status > 299) {
        return fmd_complain(FMD_EXIT_FAILED, "%s answered %d", argv[1], status);
    }
    return FMD_EXIT_OK;
}
