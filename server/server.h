/* The daemon's state, all of it owned by the loop thread. Private to server/.
 *
 * Who knows whom: serve.c wires; lifecycle.c starts, drains and stops; http.c drives libmicrohttpd and
 * calls exchange.c, one exchange a request; handlers.c answers at once, sampling.c through the engine,
 * ticket_admission.c says what that costs. */
#ifndef FMD_SERVER_H
#define FMD_SERVER_H

#include "config/options.h"
#include "engine/fm.h"
#include "server/admission.h"
#include "server/listen.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/roles.h"

#include <uv.h>

/* Connections beyond the limit, of all listeners together, that are answered 503 instead of waiting. */
#define FMD_RESERVE_CONNECTIONS 64

typedef struct fmd_http fmd_http;
typedef struct fmd_ticket fmd_ticket;

/* SERVING → PAUSING (fmd_lifecycle: SIGTERM) → DRAINING (the pause is over, or SIGINT) → STOPPING
 * (nothing left, drain_timeout, or a second signal). */
typedef enum fmd_phase {
    FMD_SERVING,
    FMD_PAUSING,  /* not ready any more, but serving */
    FMD_DRAINING, /* no new connections, no new work */
    FMD_STOPPING, /* the loop is about to end */
} fmd_phase;

typedef struct fmd_server {
    const fmc_options *options;
    fmp_limits limits;
    size_t workers;
    fmd_models models;
    fmd_listeners listeners;
    fm_engine *engine;

    uv_loop_t loop;
    uv_async_t wake; /* from workers: fm_engine_collect() has something */
    uv_signal_t terminate, interrupt, hangup;
    uv_timer_t drain_timer;
    uv_prepare_t drain_prepare;
    fmd_phase phase;
    int exit_code;

    fmd_http **https; /* one a listener */
    size_t n_https;
    size_t n_exchanges; /* requests whose head was read, not completed: what a drain waits for */
    size_t max_connections;

    fmd_ticket *tickets; /* list of jobs in the engine */
    fmd_admission admission;
    fmd_metrics metrics;
} fmd_server;

#endif
