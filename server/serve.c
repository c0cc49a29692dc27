#include "server/serve.h"

#include "server/cache_folder.h"
#include "server/http.h"
#include "server/lifecycle.h"
#include "server/limits.h"
#include "server/log.h"
#include "server/sampling.h"
#include "server/server.h"

#include <assert.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

/* Descriptors that are not connections: logs, models, the loop, listeners, and room for /proc. */
#define OTHER_DESCRIPTORS 64

static void on_wake(uv_async_t *async)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_sampling_collect(async->data);
}

/* From a worker: uv_async_send() is the one call of libuv that other threads may make. */
static void wake(void *context)
{
    uv_async_send(context);
}

/* The configured number, or fewer where the descriptor limit, raised as far as it goes, is lower. */
static size_t connections_allowed(const fmc_options *options)
{
    uint64_t wanted = options->limits.connections;
    uint64_t needed = wanted + OTHER_DESCRIPTORS + FMD_RESERVE_CONNECTIONS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return wanted;
    }
    if (limit.rlim_cur < needed) {
        limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= needed) {
        return wanted;
    }
    uint64_t others = OTHER_DESCRIPTORS + FMD_RESERVE_CONNECTIONS;
    uint64_t allowed = limit.rlim_cur > others ? limit.rlim_cur - others : 1;
    fmd_log(FMD_WARNING, "connections_lowered", FMD_INTEGER("configured", wanted),
            FMD_INTEGER("allowed", allowed), FMD_INTEGER("descriptors", limit.rlim_cur));
    return allowed;
}

static fm_status open_listeners(fmd_server *server, fm_error *err)
{
    const fmc_list *addresses = &server->options->server.listen;
    fm_status status = FM_OK;
    for (size_t i = 0; status == FM_OK && i < addresses->count; i++) {
        status = fmd_listeners_open(&server->listeners, addresses->items[i], err);
    }
    return status;
}

static fm_status start_http(fmd_server *server, fm_error *err) FM_REQUIRES(fmd_on_loop)
{
    server->https = calloc(server->listeners.count, sizeof *server->https);
    if (server->https == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < server->listeners.count; i++) {
        fm_status status =
            fmd_http_new(server, &server->listeners.items[i], &server->https[server->n_https], err);
        if (status != FM_OK) {
            return status;
        }
        server->n_https++;
    }
    return FM_OK;
}

static void stop_http(fmd_server *server) FM_REQUIRES(fmd_on_loop)
{
    for (size_t i = 0; i < server->n_https; i++) {
        fmd_http_free(server->https[i]);
    }
    free(server->https);
    server->https = NULL;
    server->n_https = 0;
}

/* So many addresses, each within FMC_ADDRESS_MAX_PATH, fit into a line of the log. */
#define ADDRESSES_A_LINE 64

/* The names of the listeners from the one at `first`, as many as a line takes. */
static size_t addresses_from(const fmd_listeners *listeners, size_t first,
                             const char *ret[ADDRESSES_A_LINE])
{
    size_t count = 0;
    for (size_t i = first; i < listeners->count && count < ADDRESSES_A_LINE; i++) {
        ret[count++] = listeners->items[i].name;
    }
    return count;
}

static void log_ready(const fmd_server *server)
{
    const char *names[ADDRESSES_A_LINE];
    const fmd_listeners *listeners = &server->listeners;
    for (size_t first = ADDRESSES_A_LINE; first < listeners->count; first += ADDRESSES_A_LINE) {
        fmd_log(FMD_INFO, "listening",
                FMD_TEXTS("listening", names, addresses_from(listeners, first, names)));
    }
    fmd_log(FMD_INFO, "ready", FMD_TEXTS("listening", names, addresses_from(listeners, 0, names)),
            FMD_INTEGER("models", server->models.count), FMD_INTEGER("workers", server->workers),
            FMD_TEXT("version", FM_VERSION));
}

/* Everything that needs the loop; the loop and the models outlive it. */
static fm_status run(fmd_server *server, fm_error *err) FM_REQUIRES(fmd_on_loop)
{
    if (uv_async_init(&server->loop, &server->wake, on_wake) != 0) {
        return fm_fail(err, FM_EIO, "the event loop has no wake-up");
    }
    server->wake.data = server;
    fm_engine_options engine = {
        .workers = server->workers, .wake = wake, .wake_context = &server->wake};
    fm_status status = fm_engine_new(&engine, &server->engine, err);
    if (status != FM_OK) {
        goto fail_engine;
    }
    status = fmd_lifecycle_start(server, err);
    if (status != FM_OK) {
        goto fail_lifecycle;
    }
    status = start_http(server, err);
    if (status == FM_OK) {
        log_ready(server);
        uv_run(&server->loop, UV_RUN_DEFAULT);
        fmd_sampling_wait(server);
    }
    stop_http(server);
    fmd_lifecycle_close(server);
fail_lifecycle:
    fm_engine_free(server->engine);
fail_engine:
    uv_close((uv_handle_t *)&server->wake, NULL);
    /* Closing callbacks free connections, tickets and listeners. */
    uv_run(&server->loop, UV_RUN_DEFAULT);
    return status;
}

static fm_status open_and_run(fmd_server *server, fm_error *err) FM_REQUIRES(fmd_on_loop)
{
    const fmc_options *options = server->options;
    char cache[PATH_MAX];
    bool has_cache = fmd_cache_folder(options->engine.cache_folder, cache, sizeof cache);
    fm_model_options model = {.workers = server->workers,
                              .cache_folder = has_cache ? cache : NULL,
                              .gradient_bytes = (size_t)options->engine.gradient_weights};
    /* Sockets first: an address in use is found out before the models are read. */
    fm_status status = open_listeners(server, err);
    if (status == FM_OK) {
        status =
            fmd_models_open(&server->models, options->server.models, &model, &server->limits, err);
    }
    server->limits.models = server->models.described;
    server->limits.n_models = server->models.count;
    if (status == FM_OK) {
        status = fmd_metrics_init(&server->metrics, server->models.count, err);
    }
    if (status == FM_OK && uv_loop_init(&server->loop) != 0) {
        status = fm_fail(err, FM_EIO, "the event loop does not start");
    } else if (status == FM_OK) {
        status = run(server, err);
        int busy = uv_loop_close(&server->loop);
        assert(busy == 0); /* every handle was closed */
        (void)busy;
    }
    fmd_metrics_done(&server->metrics);
    fmd_models_done(&server->models);
    fmd_listeners_done(&server->listeners);
    return status;
}

int fmd_serve(const fmc_options *options)
{
    fmd_role_enter(&fmd_on_loop);
    /* A client, or a reader of the log, that goes away is an error of the write, not the daemon's end. */
    (void)signal(SIGPIPE, SIG_IGN);
    fmd_log_setup((fmd_log_level)options->log.level, (fmd_log_format)options->log.format);
    fmd_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        fmd_log(FMD_ERROR, "failed", FMD_TEXT("error", "out of memory"));
        return 1;
    }
    server->options = options;
    server->limits = fmd_limits_of(options);
    server->workers = options->server.workers > 0 ? options->server.workers : fm_cpu_count();
    server->max_connections = connections_allowed(options);
    server->admission = (fmd_admission){
        .max_requests = options->limits.queue_requests,
        .max_seconds = (double)options->limits.queue_seconds / 1000,
        .max_bytes = options->limits.memory,
    };
    fm_error error;
    int exit_code = 1;
    if (open_and_run(server, &error) != FM_OK) {
        fmd_log(FMD_ERROR, "failed", FMD_TEXT("error", error.text));
    } else {
        exit_code = server->exit_code;
        fmd_log(FMD_INFO, "stopped", FMD_INTEGER("exit_code", exit_code));
    }
    free(server);
    return exit_code;
}
