#include "server/client.h"

#include "server/exchange.h"
#include "server/http.h"
#include "server/sampling.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

/* ---- Deadlines of a connection ---- */

static uint64_t allowed_ms(const fmd_client *client, uint64_t base_ms)
{
    uint64_t rate = client->server->options->limits.body_rate;
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
    uint64_t timeout = client->server->options->limits.body_timeout;
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

void fmd_client_expect_head(fmd_client *client)
{
    client_phase(client, 0);
    client->head_begun = true;
    client_arm(client, on_head_late, client->server->options->limits.header_timeout);
}

void fmd_client_expect_request(fmd_client *client)
{
    const fmc_options *options = client->server->options;
    client_phase(client, 0);
    client_arm(client, on_head_late, options->limits.idle_timeout + options->limits.header_timeout);
}

void fmd_client_expect_body(fmd_client *client)
{
    client_phase(client, 0);
    client->received_ms = client->phase_started_ms;
    client_arm(client, on_body_late, client->server->options->limits.body_timeout);
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
               allowed_ms(client, client->server->options->limits.idle_timeout));
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

static void on_end(uv_poll_t *watch, int status, int events)
{
    fmd_role_enter(&fmd_on_loop);
    (void)events; /* UV_DISCONNECT, or none with an error */
    fmd_client *client = watch->data;
    fmd_exchange *exchange = client->exchange;
    if (exchange != NULL && exchange->ticket != NULL) {
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
        int failed = uv_poll_start(&client->watch, UV_DISCONNECT, on_end);
        assert(failed == 0);
        (void)failed;
    }
}

/* ---- Begin and end ---- */

static void set_tcp(int fd, int option, unsigned value)
{
    setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
}

/* A peer that vanished without a word ends the connection all the same: it takes nothing that it is sent,
 * and where nothing is sent, because its request is being worked on, it is asked at a half and at three
 * quarters of the time. They fail on unix sockets, whose peers cannot vanish. */
static void end_on_silence(const fmd_client *client)
{
    int on = 1;
    unsigned dead_ms = (unsigned)client->server->options->limits.peer_timeout;
    setsockopt(client->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    set_tcp(client->fd, TCP_KEEPIDLE, dead_ms / 2000);
    set_tcp(client->fd, TCP_KEEPINTVL, dead_ms < 4000 ? 1 : dead_ms / 4000);
    set_tcp(client->fd, TCP_USER_TIMEOUT, dead_ms);
}

fmd_client *fmd_client_new(fmd_http *http, fmd_server *server, int fd)
{
    fmd_client *client = calloc(1, sizeof *client);
    if (client == NULL || uv_poll_init(&server->loop, &client->watch, fd) != 0) {
        free(client);
        return NULL;
    }
    client->http = http;
    client->server = server;
    client->fd = fd;
    client->timer.data = client->watch.data = client;
    client->open_handles = 2;
    uv_timer_init(&server->loop, &client->timer);
    client_phase(client, 0);
    client_arm(client, on_head_late, server->options->limits.header_timeout);
    end_on_silence(client);
    return client;
}

static void on_client_closed(uv_handle_t *handle)
{
    fmd_client *client = handle->data;
    assert(client->open_handles > 0);
    if (--client->open_handles == 0) {
        free(client);
    }
}

void fmd_client_close(fmd_client *client)
{
    uv_close((uv_handle_t *)&client->timer, on_client_closed);
    /* MHD closes the descriptor after this, and its number may be another's then. */
    uv_close((uv_handle_t *)&client->watch, on_client_closed);
}
