#include "server/http.h"

#include "server/exchange.h"
#include "server/log.h"
#include "server/sampling.h"

#include <assert.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DEAD_PEER_MS 60000u
/* Unread bytes behind a suspended request. The kernel takes 64 KiB and more for a connection that nobody
 * reads; an end behind what it does not take stays with the client. */
#define PIPELINED_BYTES (32 * 1024)

struct fmd_http {
    fmd_server *server;
    fmd_listener *listener;
    struct MHD_Daemon *daemon;
    bool again; /* a connection closed during this run */
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_timer_t timer;
    unsigned open_handles;
};

/* ---- Deadlines of a connection ---- */

static uint64_t allowed_ms(const fmd_client *client, uint64_t base_ms)
{
    uint64_t rate = client->http->server->options->limits.body_rate;
    return base_ms + client->phase_bytes / rate * 1000;
}

void fmd_client_send_last(fmd_client *client, const char *data, size_t length)
{
    ssize_t sent = send(client->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* a few hundred bytes, into a socket from which the last answer was taken */
    shutdown(client->fd, SHUT_WR);
}

/* Tells a client that is too slow so, where it has begun a request and was not told anything yet, and ends
 * the connection. */
static void hang_up(fmd_client *client, bool answer) FM_REQUIRES(fmd_on_loop)
{
    client->ended = true;
    if (client->exchange != NULL) {
        fmd_exchange_drop_body(client->exchange);
    }
    if (answer && client->exchange != NULL && client->exchange->status == 0) {
        fmd_exchange_answer_early(client->exchange, FMP_PROBLEM_TIMEOUT,
                                  "the request was too slow to arrive");
    }
    shutdown(client->fd, SHUT_RDWR);
    fmd_http_run(client->http);
}

static void client_arm(fmd_client *client, uv_timer_cb callback, uint64_t ms)
    FM_REQUIRES(fmd_on_loop)
{
    int failed = uv_timer_start(&client->timer, callback, ms, 0);
    assert(failed == 0);
    (void)failed;
}

static void on_head_late(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_client *client = timer->data;
    hang_up(client, client->head_begun);
}

static void on_body_late(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_client *client = timer->data;
    uint64_t timeout = client->http->server->options->limits.body_timeout;
    uint64_t slow_at = client->phase_started_ms + allowed_ms(client, timeout);
    uint64_t silent_at = client->received_ms + timeout;
    uint64_t due = slow_at < silent_at ? slow_at : silent_at;
    uint64_t now = uv_now(timer->loop);
    if (now < due) {
        client_arm(client, on_body_late, due - now);
    } else {
        hang_up(client, true);
    }
}

static void on_taking_late(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    hang_up(timer->data, false);
}

static void client_phase(fmd_client *client, size_t bytes) FM_REQUIRES(fmd_on_loop)
{
    client->head_begun = false;
    client->phase_started_ms = uv_now(client->timer.loop);
    client->phase_bytes = bytes;
}

/* The request line was read: its headers have to follow. */
static void client_expect_head(fmd_client *client) FM_REQUIRES(fmd_on_loop)
{
    client_phase(client, 0);
    client->head_begun = true;
    client_arm(client, on_head_late, client->http->server->options->limits.header_timeout);
}

/* Between requests: idle time, and then a head. */
static void client_expect_request(fmd_client *client) FM_REQUIRES(fmd_on_loop)
{
    const fmc_options *options = client->http->server->options;
    client_phase(client, 0);
    client_arm(client, on_head_late, options->limits.idle_timeout + options->limits.header_timeout);
}

void fmd_client_expect_body(fmd_client *client)
{
    client_phase(client, 0);
    client->received_ms = client->phase_started_ms;
    client_arm(client, on_body_late, client->http->server->options->limits.body_timeout);
}

void fmd_client_received(fmd_client *client, size_t bytes)
{
    client->phase_bytes += bytes;
    client->received_ms = uv_now(client->timer.loop);
}

void fmd_client_no_deadline(fmd_client *client)
{
    client->head_begun = false;
    uv_timer_stop(&client->timer);
}

void fmd_client_expect_taking(fmd_client *client, size_t bytes)
{
    client_phase(client, bytes);
    client_arm(client, on_taking_late,
               allowed_ms(client, client->http->server->options->limits.idle_timeout));
}

/* ---- The end of a connection ---- */

/* Whether everything that a client which closed its side has sent was read. */
static bool is_drained(const fmd_client *client)
{
    char byte;
    return recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* The client closed the connection, or its writing half, which looks the same here. It may have done so
 * behind its whole body, so that MHD gets a run for what it has not read. The watch reports again
 * until the body is complete, or its end is certain: MHD had nothing to hand on, and nothing is left. */
static void end_within_body(fmd_client *client, bool is_reset) FM_REQUIRES(fmd_on_loop)
{
    uint64_t before = client->n_calls;
    fmd_http_run(client->http);
    if (!uv_is_closing((uv_handle_t *)&client->watch) && client->n_calls == before &&
        (is_reset || is_drained(client))) {
        hang_up(client, false);
    }
}

/* A local socket is readable at its first byte, whatever its low-water mark is, and shows its end behind
 * any number of them; so is any when the kernel lacks memory. */
static bool has_sent_too_much(const fmd_client *client)
{
    int unread = 0;
    return ioctl(client->fd, SIOCINQ, &unread) == 0 && unread >= PIPELINED_BYTES;
}

static void on_end(uv_poll_t *watch, int status, int events);

static void client_watch_for(fmd_client *client, int events) FM_REQUIRES(fmd_on_loop)
{
    int failed = uv_poll_start(&client->watch, events, on_end);
    assert(failed == 0);
    (void)failed;
}

static void on_end(uv_poll_t *watch, int status, int events)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_client *client = watch->data;
    fmd_exchange *exchange = client->exchange;
    if (status == 0 && (events & UV_DISCONNECT) == 0) {
        if (exchange != NULL && exchange->ticket != NULL && has_sent_too_much(client)) {
            fmd_sampling_refuse_more(exchange);
            fmd_http_run(client->http);
        } else {
            client_watch_for(client, UV_DISCONNECT); /* or this would be told again and again */
        }
    } else if (exchange != NULL && exchange->ticket != NULL) {
        /* Nobody is there to be answered; the connection closes when it is resumed. */
        client->ended = true;
        fmd_sampling_leave(exchange);
        fmd_http_run(client->http);
    } else if (exchange != NULL && exchange->progress == FMD_READING) {
        end_within_body(client, status != 0);
    } else {
        uv_poll_stop(watch); /* it would report again and again */
    }
}

void fmd_client_watch(fmd_client *client)
{
    if (!uv_is_active((uv_handle_t *)&client->watch)) {
        client_watch_for(client, UV_DISCONNECT);
    }
}

/* From how many unread bytes on the socket is readable; without effect on local ones. */
static void client_set_low_water(const fmd_client *client, int bytes)
{
    setsockopt(client->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

void fmd_client_hold(fmd_client *client)
{
    client_set_low_water(client, PIPELINED_BYTES);
    client_watch_for(client, UV_READABLE | UV_DISCONNECT);
}

void fmd_client_let_go(fmd_client *client)
{
    client_set_low_water(client, 1);
    client_watch_for(client, UV_DISCONNECT);
}

/* ---- Connections ---- */

static void on_client_closed(uv_handle_t *handle)
{
    fmd_client *client = handle->data;
    assert(client->open_handles > 0);
    if (--client->open_handles == 0) {
        free(client);
    }
}

static void client_start(fmd_http *http, struct MHD_Connection *connection, void **socket_context)
    FM_REQUIRES(fmd_on_loop)
{
    fmd_server *server = http->server;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    fmd_client *client = calloc(1, sizeof *client);
    if (client == NULL || uv_poll_init(&server->loop, &client->watch, info->connect_fd) != 0) {
        free(client);
        *socket_context = NULL; /* its requests are cut off in on_request() */
        return;
    }
    *socket_context = client;
    client->http = http;
    client->fd = info->connect_fd;
    client->over_limit = server->metrics.connections >= server->max_connections;
    client->timer.data = client->watch.data = client;
    client->open_handles = 2;
    uv_timer_init(&server->loop, &client->timer);
    client_phase(client, 0);
    client_arm(client, on_head_late, server->options->limits.header_timeout);
    server->metrics.connections++;
    server->metrics.connections_total++;
    server->metrics.connections_refused += client->over_limit ? 1 : 0;
    /* A peer that vanished without a word ends the connection all the same. They fail on unix sockets,
     * whose peers cannot. */
    int on = 1;
    unsigned dead_ms = DEAD_PEER_MS;
    setsockopt(client->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        client_start(http, connection, socket_context);
        return;
    }
    http->again = true;
    fmd_client *client = *socket_context;
    if (client != NULL) {
        assert(http->server->metrics.connections > 0);
        http->server->metrics.connections--;
        uv_close((uv_handle_t *)&client->timer, on_client_closed);
        /* MHD closes the descriptor after this, and its number may be another's then. */
        uv_close((uv_handle_t *)&client->watch, on_client_closed);
    }
}

/* The reserve is one for all listeners, while each has a limit of its own in MHD: beyond both a connection
 * is closed, before descriptors run out. */
static enum MHD_Result on_accept(void *context, const struct sockaddr *address, socklen_t length)
{
    fmd_role_enter(&fmd_on_loop);
    (void)address;
    (void)length;
    const fmd_server *server = context;
    bool fits = server->metrics.connections < server->max_connections + FMD_RESERVE_CONNECTIONS;
    return fits ? MHD_YES : MHD_NO;
}

static fmd_client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info->socket_context;
}

/* ---- Requests ---- */

/* Called with the raw target when the request line was read; the exchange it returns is what the other
 * callbacks find in *request_context. */
static void *on_request_line(void *context, const char *target, struct MHD_Connection *connection)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_http *http = context;
    fmd_client *client = client_of(connection);
    if (client != NULL) {
        client->n_calls++;
        client_expect_head(client);
    }
    fmd_exchange *exchange = fmd_exchange_new(http->server, client, connection, target);
    if (client != NULL) {
        client->exchange = exchange;
    }
    return exchange;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *target, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **request_context)
{
    fmd_role_enter(&fmd_on_loop);
    (void)context;
    (void)target;
    fmd_exchange *exchange = *request_context;
    fmd_client *client = client_of(connection);
    if (exchange == NULL || client == NULL) {
        return MHD_NO; /* out of memory: nothing left to say it with */
    }
    client->n_calls++;
    if (client->ended) {
        return MHD_NO; /* whatever else had arrived from it; closes the connection */
    }
    if (exchange->progress == FMD_BEGUN) {
        return fmd_exchange_begin(exchange, method, version);
    }
    if (*upload_size > 0) {
        enum MHD_Result result = fmd_exchange_upload(exchange, upload, *upload_size);
        *upload_size = 0;
        return result;
    }
    return exchange->progress == FMD_READING ? fmd_exchange_dispatch(exchange) : MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code)
{
    fmd_role_enter(&fmd_on_loop);
    (void)context;
    (void)code;
    fmd_exchange *exchange = *request_context;
    fmd_client *client = client_of(connection);
    *request_context = NULL;
    if (client != NULL) {
        client->n_calls++;
        client->exchange = NULL;
        client_expect_request(client);
    }
    if (exchange != NULL) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
        unsigned status = info == NULL ? 0 : info->http_status;
        fmd_exchange_complete(exchange, status);
    }
}

static void on_mhd_log(void *context, const char *format, va_list arguments) FM_PRINTF(2, 0);

static void on_mhd_log(void *context, const char *format, va_list arguments)
{
    (void)context;
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\r\n")] = '\0';
    fmd_log(FMD_DEBUG, "microhttpd", FMD_TEXT("text", text));
}

/* ---- The daemon on the loop ---- */

void fmd_http_run(fmd_http *http)
{
    do {
        http->again = false;
        MHD_run(http->daemon);
    } while (http->again);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    fmd_role_enter(&fmd_on_loop);
    (void)status;
    (void)events;
    fmd_http_run(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_http_run(timer->data);
}

static void on_prepare(uv_prepare_t *prepare)
{
    fmd_http *http = prepare->data;
    MHD_UNSIGNED_LONG_LONG ms = 0;
    if (MHD_get_timeout(http->daemon, &ms) == MHD_YES) {
        uv_timer_start(&http->timer, on_timer, ms, 0);
    } else {
        uv_timer_stop(&http->timer);
    }
}

static struct MHD_Daemon *daemon_start(fmd_http *http)
{
    const fmc_options *options = http->server->options;
    unsigned connections = (unsigned)(http->server->max_connections + FMD_RESERVE_CONNECTIONS);
    /* Strict for clients 0: at 1 the library would answer what fmd_head_fault() and fmd_target_parse()
     * refuse as well, twice and without a problem document; at -1 a blank before a colon passes. */
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_mhd_log, NULL},
        {MHD_OPTION_LISTEN_SOCKET, http->listener->fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)connections, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)options->limits.connections_per_address,
         NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)(options->limits.idle_timeout / 1000), NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)options->limits.header_bytes, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 0, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_request_line, http},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, http},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, http},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
                            on_accept, http->server, on_request, http, MHD_OPTION_ARRAY, items,
                            MHD_OPTION_END);
}

fm_status fmd_http_new(fmd_server *server, fmd_listener *listener, fmd_http **ret, fm_error *err)
{
    fmd_http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    http->server = server;
    http->listener = listener;
    fm_status status = fmd_listener_start(listener, err);
    if (status != FM_OK) {
        goto fail_listen;
    }
    http->daemon = daemon_start(http);
    if (http->daemon == NULL) {
        status = fm_fail(err, FM_EIO, "%s: libmicrohttpd does not start", listener->name);
        goto fail_listen;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(&server->loop, &http->poll, info->epoll_fd) != 0) {
        status = fm_fail(err, FM_EIO, "%s: libmicrohttpd has no epoll descriptor", listener->name);
        goto fail_poll;
    }
    uv_prepare_init(&server->loop, &http->prepare);
    uv_timer_init(&server->loop, &http->timer);
    http->poll.data = http->prepare.data = http->timer.data = http;
    http->open_handles = 3;
    uv_poll_start(&http->poll, UV_READABLE, on_poll);
    uv_prepare_start(&http->prepare, on_prepare);
    *ret = http;
    return FM_OK;

fail_poll:
    MHD_stop_daemon(http->daemon);
fail_listen:
    free(http);
    return status;
}

void fmd_http_quiesce(fmd_http *http)
{
    if (http->listener->fd >= 0) {
        MHD_quiesce_daemon(http->daemon);
        fmd_listener_close(http->listener);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    fmd_http *http = handle->data;
    assert(http->open_handles > 0);
    if (--http->open_handles == 0) {
        free(http);
    }
}

void fmd_http_free(fmd_http *http)
{
    assert(http->server->tickets == NULL); /* a ticket's connection is suspended: rule 5 */
    fmd_http_quiesce(http);
    uv_poll_stop(&http->poll);
    MHD_stop_daemon(http->daemon);
    uv_close((uv_handle_t *)&http->poll, on_handle_closed);
    uv_close((uv_handle_t *)&http->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&http->timer, on_handle_closed);
}
