#include "server/handlers.h"

#include "proto/openapi.h"
#include "proto/response.h"
#include "server/sampling.h"
#include "server/ticket.h"

#include <stdlib.h>

/* Documents of ours; models and metrics are bounded by what is loaded. */
#define DOCUMENT_BYTES ((size_t)64 * 1024 * 1024)

static enum MHD_Result handle_models(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    const fmd_models *models = &exchange->server->models;
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_response_write_models(&buffer, models->described, models->count);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

static enum MHD_Result handle_model(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_response_write_model(&buffer, exchange->server->models.described[exchange->model]);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

static enum MHD_Result handle_solvers(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_response_write_solvers(&buffer);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

static enum MHD_Result answer_state(fmd_exchange *exchange, const char *state)
    FM_REQUIRES(fmd_on_loop)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_buffer_format(&buffer, "{\"status\":\"%s\"}", state);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

static enum MHD_Result handle_live(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    return answer_state(exchange, "live");
}

static enum MHD_Result handle_ready(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    if (exchange->server->phase != FMD_SERVING) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_DRAINING, "the daemon is shutting down");
    }
    return answer_state(exchange, "ready");
}

static enum MHD_Result handle_version(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_response_write_version(&buffer, FM_VERSION);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

static enum MHD_Result handle_metrics(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    const fmd_server *server = exchange->server;
    if (!server->options->metrics.enabled) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_NOT_FOUND,
                                 "metrics are switched off ([metrics] enabled)");
    }
    fmd_usage *usage = calloc(server->models.count + 1, sizeof *usage);
    if (usage == NULL) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_OUT_OF_MEMORY, "out of memory");
    }
    fmd_tickets_usage(server, usage);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmd_metrics_write(&buffer, &(fmd_metrics_sources){.metrics = &server->metrics,
                                                      .models = &server->models,
                                                      .usage = usage,
                                                      .engine = server->engine});
    free(usage);
    return fmd_exchange_answer_buffer(exchange, "text/plain; version=0.0.4; charset=utf-8",
                                      &buffer);
}

static enum MHD_Result handle_openapi(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DOCUMENT_BYTES);
    fmp_openapi_write(&buffer, FM_VERSION, &exchange->server->limits);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

const fmd_handler fmd_handlers[FMD_ROUTE_COUNT] = {
    [FMD_ROUTE_SAMPLE] = {.run = fmd_handle_sample,
                          .produces = FMD_JSON,
                          .produces_npy = true,
                          .produces_png = true,
                          .takes_json = true,
                          .is_work = true},
    [FMD_ROUTE_VELOCITY] = {.run = fmd_handle_points,
                            .produces = FMD_JSON,
                            .produces_npy = true,
                            .takes_json = true,
                            .is_work = true},
    [FMD_ROUTE_ENCODE] = {.run = fmd_handle_points,
                          .produces = FMD_JSON,
                          .produces_npy = true,
                          .takes_json = true,
                          .is_work = true},
    [FMD_ROUTE_LOG_LIKELIHOOD] = {.run = fmd_handle_points,
                                  .produces = FMD_JSON,
                                  .takes_json = true,
                                  .is_work = true},
    [FMD_ROUTE_INTERPOLATE] = {.run = fmd_handle_points,
                               .produces = FMD_JSON,
                               .produces_npy = true,
                               .produces_png = true,
                               .takes_json = true,
                               .is_work = true},
    [FMD_ROUTE_EDIT] = {.run = fmd_handle_points,
                        .produces = FMD_JSON,
                        .produces_npy = true,
                        .produces_png = true,
                        .takes_json = true,
                        .is_work = true},
    [FMD_ROUTE_MODELS] = {.run = handle_models, .produces = FMD_JSON},
    [FMD_ROUTE_MODEL] = {.run = handle_model, .produces = FMD_JSON},
    [FMD_ROUTE_SOLVERS] = {.run = handle_solvers, .produces = FMD_JSON},
    /* A probe wants the status; what it accepts is no reason to call the daemon dead. */
    [FMD_ROUTE_LIVE] = {.run = handle_live},
    [FMD_ROUTE_READY] = {.run = handle_ready},
    [FMD_ROUTE_VERSION] = {.run = handle_version, .produces = FMD_JSON},
    [FMD_ROUTE_METRICS] = {.run = handle_metrics, .produces = "text/plain"},
    [FMD_ROUTE_OPENAPI] = {.run = handle_openapi, .produces = FMD_JSON},
};
