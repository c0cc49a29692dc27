#include "server/exchange.h"

#include "proto/png.h"
#include "server/accept.h"
#include "server/handlers.h"
#include "server/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_BYTES     (64 * 1024)
#define RETRY_AFTER_MS    1000 /* of a 503 that nothing better is known of */
#define BODY_FIRST_BYTES  4096
#define PROBLEM_MEDIATYPE "application/problem+json"

fmd_exchange *fmd_exchange_new(fmd_server *server, fmd_client *client,
                               struct MHD_Connection *connection, const char *target)
{
    size_t length = strlen(target);
    fmd_exchange *exchange = calloc(1, sizeof *exchange + length + 1);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->server = server;
    exchange->client = client;
    exchange->connection = connection;
    exchange->started_ns = uv_hrtime();
    exchange->model = FMD_NO_MODEL;
    exchange->routing.route = FMD_ROUTE_NONE;
    memcpy(exchange->raw_target, target, length);
    return exchange;
}

double fmd_exchange_seconds(const fmd_exchange *exchange)
{
    return 1e-9 * (double)(uv_hrtime() - exchange->started_ns);
}

/* ---- The head ---- */

/* Remembers why the request is refused; the body is swallowed first, so that the client reads the answer
 * and may go on. The first reason stays. */
FM_PRINTF(3, 4)
static void refuse(fmd_exchange *exchange, fmp_problem_kind kind, const char *format, ...)
{
    if (exchange->refused) {
        return;
    }
    exchange->refused = true;
    exchange->refusal = kind;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(exchange->refusal_detail, sizeof exchange->refusal_detail, format, arguments);
    va_end(arguments);
}

static void find_model(fmd_exchange *exchange)
{
    const char *name = exchange->routing.model;
    if (name[0] == '\0') {
        return;
    }
    exchange->model = fmd_models_find(&exchange->server->models, name);
    if (exchange->model == FMD_NO_MODEL) {
        bool valid = fm_model_name_is_valid(name, strlen(name));
        refuse(exchange, FMP_PROBLEM_NOT_FOUND, "there is no model \"%s\"%s", name,
               valid ? "" : ", and cannot be: names are " FM_MODEL_NAME_RULE);
    }
}

static bool has_pictures(const fmd_exchange *exchange)
{
    fmp_image ignored;
    return exchange->model != FMD_NO_MODEL &&
           fmp_image_of(exchange->server->models.described[exchange->model], &ignored);
}

/* The first of those that Accept likes best. */
static void check_accept(fmd_exchange *exchange, const fmd_handler *handler)
{
    if (handler->produces == NULL) {
        return;
    }
    const struct {
        bool offered;
        const char *type;
        fmp_encoding encoding;
    } offers[] = {
        {true, handler->produces, FMP_ENCODING_JSON},
        {handler->produces_npy, FMD_NPY, FMP_ENCODING_NPY},
        {handler->produces_png && has_pictures(exchange), FMD_PNG, FMP_ENCODING_PNG_GRID},
    };
    int best = 0;
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        int quality = fmd_accept_quality(exchange->head.accept, offers[i].type);
        if (offers[i].offered && quality > best) {
            best = quality;
            exchange->accepted = offers[i].encoding;
        }
    }
    if (best == 0) {
        refuse(exchange, FMP_PROBLEM_NOT_ACCEPTABLE, "this route answers %s%s%s", handler->produces,
               handler->produces_npy ? " and " FMD_NPY : "",
               handler->produces_png ? ", and " FMD_PNG
                                       " where samples are images of 1 or 3 channels"
                                     : "");
    }
}

static void check_content_type(fmd_exchange *exchange, const fmd_handler *handler)
{
    const char *type = exchange->head.content_type;
    if (!handler->takes_json || !fmd_head_has_body(&exchange->head)) {
        return;
    }
    if (exchange->head.is_encoded) {
        refuse(exchange, FMP_PROBLEM_UNSUPPORTED_MEDIA_TYPE,
               "the body must be sent as it is: no Content-Encoding but identity is known here");
    } else if (type == NULL || !fmd_media_type_is(type, FMD_JSON)) {
        refuse(exchange, FMP_PROBLEM_UNSUPPORTED_MEDIA_TYPE, "the body must be " FMD_JSON);
    }
}

static fmd_match match(fmd_exchange *exchange)
{
    const fmd_target *target = &exchange->target;
    return target->is_cut ? FMD_MATCH_NOTHING
                          : fmd_route_match(exchange->method, target->path, &exchange->routing);
}

static void route(fmd_exchange *exchange)
{
    switch (match(exchange)) {
    case FMD_MATCH_NOTHING:
        refuse(exchange, FMP_PROBLEM_NOT_FOUND, "there is no path %.200s", exchange->target.path);
        return;
    case FMD_MATCH_WRONG_METHOD:
        refuse(exchange, FMP_PROBLEM_METHOD_NOT_ALLOWED, "this path allows %s",
               exchange->routing.allow);
        return;
    case FMD_MATCH_OPTIONS:
        return;
    case FMD_MATCH_ROUTE:
        break;
    }
    const fmd_handler *handler = &fmd_handlers[exchange->routing.route];
    find_model(exchange);
    check_accept(exchange, handler);
    check_content_type(exchange, handler);
}

static void check_length(fmd_exchange *exchange)
{
    uint64_t limit = exchange->server->options->limits.body_bytes;
    if (exchange->head.length > limit) {
        refuse(exchange, FMP_PROBLEM_TOO_LARGE, "the body has %llu bytes, the limit is %llu",
               (unsigned long long)exchange->head.length, (unsigned long long)limit);
        /* Nothing of it is read, so the connection cannot be used again. */
        exchange->must_close = true;
    }
}

static enum MHD_Result answer_refusal(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop)
{
    assert(exchange->refused);
    return fmd_exchange_fail(exchange, exchange->refusal, "%s", exchange->refusal_detail);
}

enum MHD_Result fmd_exchange_begin(fmd_exchange *exchange, const char *method, const char *version)
{
    fmd_client *client = exchange->client;
    exchange->progress = FMD_READING;
    exchange->server->n_exchanges++;
    snprintf(exchange->method, sizeof exchange->method, "%s", method);
    fmd_head_read(exchange->connection, version, &exchange->head);
    const char *id = exchange->head.request_id;
    if (id != NULL && fmd_request_id_is_sane(id)) {
        snprintf(exchange->id, sizeof exchange->id, "%s", id);
    } else {
        fmd_request_id_make(exchange->id);
    }
    const char *fault = fmd_head_fault(&exchange->head, method, version);
    if (fault != NULL || !fmd_target_parse(exchange->raw_target, &exchange->target, &fault)) {
        exchange->must_close = true;
        return fmd_exchange_fail(exchange, FMP_PROBLEM_MALFORMED, "%s", fault);
    }
    if (client->over_limit) {
        exchange->must_close = true;
        return fmd_exchange_fail(exchange, FMP_PROBLEM_OVERLOADED, "too many connections");
    }
    route(exchange);
    check_length(exchange);
    if (exchange->refused && (exchange->must_close || exchange->head.expects_continue)) {
        exchange->must_close = true;
        return answer_refusal(exchange);
    }
    if (fmd_head_has_body(&exchange->head)) {
        fmd_client_expect_body(client);
        fmd_client_watch(client);
    } else {
        fmd_client_no_deadline(client);
    }
    return MHD_YES;
}

/* ---- The body ---- */

void fmd_exchange_drop_body(fmd_exchange *exchange)
{
    free(exchange->body);
    fmd_admission_release_bytes(&exchange->server->admission, exchange->body_capacity);
    fmd_exchange_forget_body(exchange);
}

void fmd_exchange_forget_body(fmd_exchange *exchange)
{
    fmd_metrics_of(&exchange->server->metrics, exchange->model)->body_bytes -=
        exchange->body_capacity;
    exchange->body = NULL;
    exchange->body_length = exchange->body_capacity = 0;
}

/* Room for `length` more bytes, doubling: a client that announces much and sends little holds little. */
static bool body_reserve(fmd_exchange *exchange, size_t length)
{
    size_t needed = exchange->body_length + length, capacity = exchange->body_capacity;
    if (needed <= capacity) {
        return true;
    }
    capacity = capacity == 0 ? BODY_FIRST_BYTES : capacity * 2;
    capacity = capacity < needed ? needed : capacity;
    size_t more = capacity - exchange->body_capacity;
    fmd_admission *admission = &exchange->server->admission;
    if (!fmd_admission_take_bytes(admission, more)) {
        return false;
    }
    char *body = realloc(exchange->body, capacity);
    if (body == NULL) {
        fmd_admission_release_bytes(admission, more);
        return false;
    }
    exchange->body = body;
    exchange->body_capacity = capacity;
    fmd_metrics_of(&exchange->server->metrics, exchange->model)->body_bytes += more;
    return true;
}

/* Whether anybody will read it. */
static bool takes_body(const fmd_exchange *exchange)
{
    fmd_route route = exchange->routing.route;
    return route != FMD_ROUTE_NONE && fmd_handlers[route].takes_json;
}

enum MHD_Result fmd_exchange_upload(fmd_exchange *exchange, const char *data, size_t length)
{
    uint64_t limit = exchange->server->options->limits.body_bytes;
    fmd_client_received(exchange->client, length);
    exchange->body_seen += length;
    if (exchange->body_seen > limit && exchange->status == 0) {
        fmd_exchange_drop_body(exchange);
        fmd_exchange_answer_early(exchange, FMP_PROBLEM_TOO_LARGE,
                                  "the body is over the limit of %llu bytes",
                                  (unsigned long long)limit);
    }
    if (exchange->status != 0) {
        return exchange->body_seen / 2 > limit ? MHD_NO : MHD_YES; /* swallowing has an end, too */
    }
    if (exchange->refused || !takes_body(exchange)) {
        fmd_exchange_drop_body(exchange);
        return MHD_YES;
    }
    if (!body_reserve(exchange, length)) {
        refuse(exchange, FMP_PROBLEM_OUT_OF_MEMORY, "there is no memory for the body now");
        fmd_exchange_drop_body(exchange);
        return MHD_YES;
    }
    memcpy(exchange->body + exchange->body_length, data, length);
    exchange->body_length += length;
    return MHD_YES;
}

enum MHD_Result fmd_exchange_dispatch(fmd_exchange *exchange)
{
    exchange->progress = FMD_DISPATCHED;
    fmd_client_no_deadline(exchange->client);
    if (exchange->status != 0) {
        return MHD_NO; /* answered early: all that was left was to read it */
    }
    if (exchange->refused) {
        return answer_refusal(exchange);
    }
    if (exchange->routing.route == FMD_ROUTE_NONE) {
        return fmd_exchange_answer(exchange, &(fmd_answer){.status = MHD_HTTP_NO_CONTENT,
                                                           .allow = exchange->routing.allow});
    }
    const fmd_handler *handler = &fmd_handlers[exchange->routing.route];
    if (handler->is_work && exchange->server->phase >= FMD_DRAINING) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_DRAINING, "the daemon is shutting down");
    }
    return handler->run(exchange);
}

/* ---- The answer ---- */

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    /* Out of memory for a header is no reason to withhold the answer. */
    enum MHD_Result added = MHD_add_response_header(response, name, value);
    (void)added;
}

static void add_headers(const fmd_exchange *exchange, const fmd_answer *answer,
                        struct MHD_Response *response)
{
    char text[96];
    add_header(response, "X-Request-Id", exchange->id);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (answer->content_type != NULL) {
        add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    }
    if (answer->allow != NULL) {
        add_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    }
    if (answer->status == MHD_HTTP_UNSUPPORTED_MEDIA_TYPE && exchange->head.is_encoded) {
        add_header(response, MHD_HTTP_HEADER_ACCEPT_ENCODING, "identity"); /* RFC 9110, 12.5.3 */
    }
    if (answer->retry_after_ms > 0) {
        snprintf(text, sizeof text, "%llu",
                 (unsigned long long)(answer->retry_after_ms / 1000 +
                                      (answer->retry_after_ms % 1000 > 0)));
        add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, text);
    }
    if (answer->stats != NULL) {
        snprintf(text, sizeof text, "queue;dur=%.3f, compute;dur=%.3f",
                 answer->stats->queue_seconds * 1000, answer->stats->compute_seconds * 1000);
        add_header(response, "Server-Timing", text);
    }
    if (exchange->must_close || exchange->server->phase >= FMD_DRAINING) {
        add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    }
}

enum MHD_Result fmd_exchange_answer(fmd_exchange *exchange, const fmd_answer *answer)
{
    assert(exchange->status == 0);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        answer->length, answer->data,
        answer->data == NULL ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(answer->data);
        return MHD_NO;
    }
    add_headers(exchange, answer, response);
    enum MHD_Result result = MHD_queue_response(exchange->connection, answer->status, response);
    MHD_destroy_response(response);
    exchange->progress = FMD_ANSWERED;
    exchange->status = answer->status;
    exchange->answer_bytes = strcmp(exchange->method, "HEAD") == 0 ? 0 : answer->length;
    fmd_client_expect_taking(exchange->client, answer->length);
    return result;
}

enum MHD_Result fmd_exchange_problem(fmd_exchange *exchange, fmp_problem *problem)
{
    int status = fmp_problem_status(problem);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE && problem->retry_after_ms == 0) {
        problem->retry_after_ms = RETRY_AFTER_MS;
    }
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, PROBLEM_BYTES);
    fmp_problem_write(&buffer, problem, exchange->id);
    fmd_answer answer = {
        .status = (unsigned)status,
        .content_type = PROBLEM_MEDIATYPE,
        .retry_after_ms = problem->retry_after_ms,
        .allow = status == MHD_HTTP_METHOD_NOT_ALLOWED ? exchange->routing.allow : NULL,
    };
    answer.data = fmp_buffer_take(&buffer, &answer.length);
    answer.length = answer.data == NULL ? 0 : answer.length; /* the status alone says enough */
    fmp_buffer_done(&buffer);
    return fmd_exchange_answer(exchange, &answer);
}

enum MHD_Result fmd_exchange_fail(fmd_exchange *exchange, fmp_problem_kind kind, const char *format,
                                  ...)
{
    char detail[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    fmp_problem problem = {.n_errors = 0};
    fmp_problem_set(&problem, kind, "%s", detail);
    return fmd_exchange_problem(exchange, &problem);
}

enum MHD_Result fmd_exchange_answer_buffer(fmd_exchange *exchange, const char *content_type,
                                           fmp_buffer *buffer)
{
    fmd_answer answer = {.status = MHD_HTTP_OK, .content_type = content_type};
    answer.data = fmp_buffer_take(buffer, &answer.length);
    fmp_buffer_done(buffer);
    if (answer.data == NULL) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_OUT_OF_MEMORY, "no memory for the answer");
    }
    return fmd_exchange_answer(exchange, &answer);
}

void fmd_exchange_answer_early(fmd_exchange *exchange, fmp_problem_kind kind, const char *format,
                               ...)
{
    assert(exchange->status == 0);
    if (exchange->id[0] == '\0') {
        fmd_request_id_make(exchange->id); /* its head was not complete */
    }
    char detail[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    fmp_problem problem = {.n_errors = 0};
    fmp_problem_set(&problem, kind, "%s", detail);
    exchange->status = (unsigned)fmp_problem_status(&problem);
    fmp_buffer body, whole;
    fmp_buffer_init(&body, PROBLEM_BYTES);
    fmp_buffer_init(&whole, PROBLEM_BYTES);
    fmp_problem_write(&body, &problem, exchange->id);
    fmp_buffer_format(&whole,
                      "HTTP/1.1 %u %s\r\nConnection: close\r\nX-Request-Id: %s\r\n"
                      "Cache-Control: no-store\r\nContent-Type: " PROBLEM_MEDIATYPE
                      "\r\nContent-Length: %zu\r\n\r\n",
                      exchange->status, MHD_get_reason_phrase_for(exchange->status), exchange->id,
                      body.length);
    fmp_buffer_append(&whole, body.data, body.length);
    exchange->answer_bytes = whole.failed ? 0 : body.length;
    fmd_client_send_last(exchange->client, whole.data, whole.length);
    fmp_buffer_done(&whole);
    fmp_buffer_done(&body);
}

/* ---- The end ---- */

#define CLIENT_CLOSED 499 /* in the log and the metrics alone */

void fmd_exchange_complete(fmd_exchange *exchange, unsigned status)
{
    fmd_server *server = exchange->server;
    assert(exchange->ticket == NULL);
    unsigned logged = exchange->status != 0 ? exchange->status : status;
    logged = logged == 0 ? CLIENT_CLOSED : logged;
    double seconds = fmd_exchange_seconds(exchange);
    if (exchange->id[0] == '\0') {
        fmd_request_id_make(exchange->id); /* its head was never complete */
    }
    fmd_metrics_add_request(&server->metrics, exchange->model, exchange->routing.route, logged,
                            seconds);
    if (server->options->log.access) {
        fmd_log(logged >= 500 ? FMD_WARNING : FMD_INFO, "request", FMD_TEXT("id", exchange->id),
                FMD_TEXT("method", exchange->method), FMD_TEXT("path", exchange->raw_target),
                FMD_INTEGER("status", logged), FMD_INTEGER("bytes", exchange->answer_bytes),
                FMD_NUMBER("ms", seconds * 1000));
    }
    fmd_exchange_drop_body(exchange);
    if (exchange->progress != FMD_BEGUN) {
        assert(server->n_exchanges > 0);
        server->n_exchanges--;
    }
    free(exchange);
}
