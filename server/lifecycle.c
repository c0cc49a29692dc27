#include "server/lifecycle.h"

#include "server/http.h"
#include "server/log.h"
#include "server/sampling.h"

#include <signal.h>

static void stop(fmd_server *server) FM_REQUIRES(fmd_on_loop)
{
    server->phase = FMD_STOPPING;
    uv_stop(&server->loop);
}

/* Time is up: what still runs is answered 503. Its answers leave with the loop's end. */
static void cut_short(fmd_server *server, int exit_code) FM_REQUIRES(fmd_on_loop)
{
    fmd_log(FMD_WARNING, "cut_short", FMD_INTEGER("requests", server->n_exchanges));
    server->exit_code = exit_code;
    server->phase = FMD_STOPPING;
    fmd_sampling_cancel_all(server);
    stop(server);
}

static void on_drain_late(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    cut_short(timer->data, 0);
}

/* Before the loop waits, while draining: the last request may end in any phase of a turn, a timer's as
 * well, and nothing may come to be waited for. Idle connections do not count, they are closed. */
static void on_prepare(uv_prepare_t *prepare)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_server *server = prepare->data;
    if (server->phase == FMD_DRAINING && server->n_exchanges == 0 && server->tickets == NULL) {
        stop(server);
    }
}

static void drain(fmd_server *server) FM_REQUIRES(fmd_on_loop)
{
    server->phase = FMD_DRAINING;
    fmd_log(FMD_INFO, "draining", FMD_INTEGER("requests", server->n_exchanges));
    for (size_t i = 0; i < server->n_https; i++) {
        fmd_http_quiesce(server->https[i]);
    }
    uv_prepare_start(&server->drain_prepare, on_prepare);
    /* Started even at 0, so that the loop turns when nothing else happens. */
    uv_timer_start(&server->drain_timer, on_drain_late, server->options->server.drain_timeout, 0);
    if (server->n_exchanges == 0 && server->tickets == NULL) {
        stop(server);
    }
}

static void on_pause_over(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    drain(timer->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_server *server = handle->data;
    fmd_log(FMD_INFO, "signal", FMD_TEXT("name", number == SIGTERM ? "SIGTERM" : "SIGINT"));
    if (server->phase != FMD_SERVING) {
        cut_short(server, 1);
        return;
    }
    uint64_t pause_ms = server->options->server.drain_pause;
    if (number == SIGINT || pause_ms == 0) {
        drain(server);
        return;
    }
    server->phase = FMD_PAUSING;
    fmd_log(FMD_INFO, "pausing", FMD_INTEGER("ms", pause_ms));
    uv_timer_start(&server->drain_timer, on_pause_over, pause_ms, 0);
}

/* By custom it asks for the configuration to be read again; unwatched, it would end the process. */
static void on_hangup(uv_signal_t *handle, int number)
{
    fmd_role_enter(&fmd_on_loop);
    (void)handle;
    (void)number;
    fmd_log(FMD_WARNING, "signal", FMD_TEXT("name", "SIGHUP"),
            FMD_TEXT("detail", "reload is not served by this release"));
}

fm_status fmd_lifecycle_start(fmd_server *server, fm_error *err)
{
    uv_signal_init(&server->loop, &server->terminate);
    uv_signal_init(&server->loop, &server->interrupt);
    uv_signal_init(&server->loop, &server->hangup);
    uv_timer_init(&server->loop, &server->drain_timer);
    uv_prepare_init(&server->loop, &server->drain_prepare);
    server->terminate.data = server->interrupt.data = server;
    server->drain_timer.data = server->drain_prepare.data = server;
    if (uv_signal_start(&server->terminate, on_signal, SIGTERM) != 0 ||
        uv_signal_start(&server->interrupt, on_signal, SIGINT) != 0 ||
        uv_signal_start(&server->hangup, on_hangup, SIGHUP) != 0) {
        fmd_lifecycle_close(server);
        return fm_fail(err, FM_EIO, "signals cannot be watched");
    }
    return FM_OK;
}

void fmd_lifecycle_close(fmd_server *server)
{
    uv_close((uv_handle_t *)&server->terminate, NULL);
    uv_close((uv_handle_t *)&server->interrupt, NULL);
    uv_close((uv_handle_t *)&server->hangup, NULL);
    uv_close((uv_handle_t *)&server->drain_timer, NULL);
    uv_close((uv_handle_t *)&server->drain_prepare, NULL);
}
