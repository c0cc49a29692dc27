#include "server/http.h"

#include "server/exchange.h"
#include "server/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

/* ---- Connections ---- */

static void client_start(fmd_http *http, struct MHD_Connection *connection, void **socket_context)
    FM_REQUIRES(fmd_on_loop)
{
    fmd_server *server = http->server;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    fmd_client *client = fmd_client_new(http, server, info->connect_fd);
    *socket_context = client; /* without one, its requests are cut off in on_request() */
    if (client != NULL) {
        client->over_limit = server->metrics.connections >= server->max_connections;
        server->metrics.connections++;
        server->metrics.connections_total++;
        server->metrics.connections_refused += client->over_limit ? 1 : 0;
    }
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
        fmd_client_close(client);
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
        fmd_client_expect_head(client);
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
        fmd_client_expect_request(client);
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
