#include "server/sampling.h"

#include "proto/response.h"
#include "proto/stages.h"
#include "server/handlers.h"
#include "server/log.h"
#include "server/ticket.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRY_RUN_BYTES ((size_t)1024)
/* Longer bodies are parsed on a thread of libuv's pool, for the loop would stand still meanwhile: a
 * megabyte takes it some 25 ms. */
#define PARSE_ON_LOOP_BYTES ((size_t)64 * 1024)
#define TRIM_BYTES          ((size_t)1024 * 1024)
/* Longer answers are encoded there, too; pictures from fewer bytes on, for to deflate one takes ten times
 * as long as to write one of JSON. */
#define ENCODE_ON_WORKER_BYTES ((size_t)64 * 1024)
#define DRAW_ON_WORKER_BYTES   ((size_t)8 * 1024)

/* ---- Encoding ---- */

/* A worker that encodes computes nothing for anybody. */
static bool is_long_answer(const fmd_ticket *ticket)
{
    fmp_encoding encoding = ticket->request.encoding;
    bool is_drawn = encoding == FMP_ENCODING_PNG || encoding == FMP_ENCODING_PNG_GRID;
    return ticket->answer_bytes > (is_drawn ? DRAW_ON_WORKER_BYTES : ENCODE_ON_WORKER_BYTES) ||
           ticket->request.spec.max_recording_bytes > 0; /* whose estimate is a guess */
}

static void encode(fmd_ticket *ticket, const fm_job *job)
{
    fmp_response_write(&ticket->answer, &ticket->request, ticket->model, ticket->id, job);
}

static bool is_last_job(const fmd_ticket *ticket)
{
    return ticket->stage + 1 == fmp_request_n_jobs(&ticket->request);
}

/* The engine's finished callback, on a worker: everything it reads was written before the job was
 * submitted. */
static void on_finished(void *context, const fm_job *job)
{
    fmd_ticket *ticket = context;
    if (fm_job_status(job) != FM_OK) {
        return;
    }
    if (!is_last_job(ticket)) {
        fmp_request_keep(&ticket->request, ticket->stage, job);
    } else if (!is_long_answer(ticket)) {
        encode(ticket, job);
    }
}

static void encode_beside(uv_work_t *work)
{
    fmd_ticket *ticket = work->data;
    encode(ticket, ticket->job);
}

static void queue_beside(fmd_ticket *ticket, uv_work_cb work, uv_after_work_cb done)
    FM_REQUIRES(fmd_on_loop)
{
    ticket->beside = true;
    ticket->work.data = ticket;
    int failed = uv_queue_work(&ticket->server->loop, &ticket->work, work, done);
    assert(failed == 0); /* it has all its arguments */
    (void)failed;
}

/* ---- Metrics ---- */

static fmd_model_metrics *model_metrics(const fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    return fmd_metrics_of(&ticket->server->metrics, ticket->model_index);
}

static void count_outcome(const fmd_ticket *ticket, fmd_outcome outcome) FM_REQUIRES(fmd_on_loop)
{
    model_metrics(ticket)->outcomes[outcome]++;
}

/* ---- Into the engine ---- */

/* Submits an admitted ticket. On failure its problem is filled and the cost given back. */
static bool submit(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    fmd_server *server = ticket->server;
    fm_error error;
    fm_job_spec spec = fmp_request_job(&ticket->request, ticket->stage);
    spec.finished = on_finished;
    spec.context = ticket;
    if (fm_engine_submit(server->engine, &spec, &ticket->job, &error) == FM_OK) {
        return true;
    }
    fmd_log(FMD_ERROR, "submit", FMD_TEXT("id", ticket->id), FMD_TEXT("error", error.text));
    fmp_problem_from_error(&ticket->problem, &error);
    fmd_admission_release(&server->admission, &ticket->cost);
    count_outcome(ticket, FMD_FAILED);
    return false;
}

/* The same with the next job of a request that takes several; the worker has kept what it needs of this one. */
static bool submit_next(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    ticket->earlier_evaluations += (double)fm_job_evaluations_done(ticket->job);
    fm_job_free(ticket->job);
    ticket->job = NULL;
    ticket->collected = false;
    ticket->stage++;
    return submit(ticket);
}

/* ---- Ends before the job's own ---- */

#define DEADLINE_DETAIL "the request had a deadline of %llu ms, which has passed"

/* Resumes the connection and cancels the job, whose rows leave the engine. */
static void ticket_let_go(fmd_ticket *ticket, struct MHD_Connection *connection,
                          fmd_outcome outcome) FM_REQUIRES(fmd_on_loop)
{
    fmd_server *server = ticket->server;
    MHD_resume_connection(connection);
    count_outcome(ticket, outcome);
    if (ticket->job != NULL && !ticket->collected) {
        fm_engine_cancel(server->engine, ticket->job);
    }
}

/* Answers with a problem instead of the job's result. */
static void ticket_abandon(fmd_ticket *ticket, fmp_problem_kind kind, const char *detail,
                           fmd_outcome outcome) FM_REQUIRES(fmd_on_loop)
{
    fmd_exchange *exchange = fmd_ticket_detach(ticket);
    struct MHD_Connection *connection = exchange->connection;
    exchange->must_close = kind != FMP_PROBLEM_DEADLINE;
    enum MHD_Result queued = fmd_exchange_fail(exchange, kind, "%s", detail);
    (void)queued; /* refused, it is a connection that ends when it is resumed */
    ticket_let_go(ticket, connection, outcome);
}

static void on_deadline(uv_timer_t *timer)
{
    fmd_role_enter(&fmd_on_loop);
    fmd_ticket *ticket = timer->data;
    fmd_http *http = ticket->exchange->client->http;
    char detail[sizeof DEADLINE_DETAIL + 20];
    snprintf(detail, sizeof detail, DEADLINE_DETAIL, (unsigned long long)ticket->timeout_ms);
    ticket_abandon(ticket, FMP_PROBLEM_DEADLINE, detail, FMD_EXPIRED);
    fmd_http_run(http);
}

void fmd_sampling_leave(fmd_exchange *exchange)
{
    fmd_ticket *ticket = exchange->ticket;
    fmd_ticket_detach(ticket);
    ticket_let_go(ticket, exchange->connection, FMD_CANCELLED);
}

void fmd_sampling_cancel_all(fmd_server *server)
{
    for (fmd_ticket *ticket = server->tickets; ticket != NULL; ticket = ticket->next) {
        if (ticket->exchange != NULL) {
            ticket_abandon(ticket, FMP_PROBLEM_DRAINING, "the daemon is shutting down",
                           FMD_REFUSED);
        }
    }
    for (size_t i = 0; i < server->n_https; i++) {
        fmd_http_run(server->https[i]);
    }
}

static enum MHD_Result answer_dry_run(fmd_exchange *exchange, const fmd_ticket *ticket)
    FM_REQUIRES(fmd_on_loop)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, DRY_RUN_BYTES);
    fmp_response_write_dry_run(&buffer, &ticket->request, ticket->model, exchange->server->workers);
    return fmd_exchange_answer_buffer(exchange, FMD_JSON, &buffer);
}

/* Answers what does not reach the engine. */
static enum MHD_Result answer_unstarted(fmd_exchange *exchange, fmd_ticket *ticket)
    FM_REQUIRES(fmd_on_loop)
{
    return ticket->parsed && ticket->dry_run ? answer_dry_run(exchange, ticket)
                                             : fmd_exchange_problem(exchange, &ticket->problem);
}

/* Ends a suspended ticket that has no job in the engine. */
static void ticket_drop(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    if (ticket->exchange != NULL) {
        fmd_exchange *exchange = fmd_ticket_detach(ticket);
        struct MHD_Connection *connection = exchange->connection;
        enum MHD_Result queued = answer_unstarted(exchange, ticket);
        (void)queued;
        MHD_resume_connection(connection);
    }
    fmd_ticket_unlink(ticket);
    fmd_ticket_end(ticket);
}

/* ---- The job's own end ---- */

static const char *content_type_of(const fmp_request *request)
{
    switch (request->encoding) {
    case FMP_ENCODING_NPY:
        return FMD_NPY;
    case FMP_ENCODING_PNG_GRID:
        return FMD_PNG;
    case FMP_ENCODING_JSON:
    case FMP_ENCODING_BASE64:
    case FMP_ENCODING_PNG:
        break;
    }
    return FMD_JSON;
}

static enum MHD_Result answer_finished(fmd_ticket *ticket, fmd_exchange *exchange)
    FM_REQUIRES(fmd_on_loop)
{
    fmd_model_metrics *metrics = model_metrics(ticket);
    fm_job_stats stats = fmp_request_statistics(&ticket->request, ticket->job);
    fmd_histogram_add(&metrics->queue, stats.queue_seconds);
    fmd_histogram_add(&metrics->run, stats.compute_seconds);
    fmd_answer answer = {
        .status = MHD_HTTP_OK,
        .content_type = content_type_of(&ticket->request),
        .stats = &stats,
    };
    if (fm_job_status(ticket->job) == FM_OK) {
        answer.data = fmp_buffer_take(&ticket->answer, &answer.length);
    }
    if (answer.data != NULL) {
        metrics->outcomes[FMD_COMPLETED]++;
        return fmd_exchange_answer(exchange, &answer);
    }
    metrics->outcomes[FMD_FAILED]++;
    /* Only a trajectory of every step has a size that is not known, and checked, beforehand. */
    fm_status status = fm_job_status(ticket->job);
    if (status == FM_ETOOBIG || (status == FM_OK && ticket->request.spec.output_every_step)) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_TOO_LARGE,
                                 "the steps taken are more than limits.answer_bytes has room for");
    }
    return fmd_exchange_fail(exchange, FMP_PROBLEM_OUT_OF_MEMORY, "no memory for the answer");
}

/* A collected ticket, whose answer is encoded where it has one. */
static void ticket_finish(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    if (ticket->exchange != NULL) {
        fmd_exchange *exchange = fmd_ticket_detach(ticket);
        struct MHD_Connection *connection = exchange->connection;
        enum MHD_Result queued = answer_finished(ticket, exchange);
        (void)queued;
        MHD_resume_connection(connection);
    }
    fmd_admission_release(&ticket->server->admission, &ticket->cost);
    fmd_ticket_unlink(ticket);
    fmd_ticket_end(ticket);
}

static void on_encoded(uv_work_t *work, int status)
{
    fmd_role_enter(&fmd_on_loop);
    (void)status; /* never cancelled */
    fmd_ticket *ticket = work->data;
    fmd_http *http = ticket->exchange == NULL ? NULL : ticket->exchange->client->http;
    ticket->beside = false;
    ticket_finish(ticket);
    if (http != NULL) {
        fmd_http_run(http);
    }
}

static void ticket_collect(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    ticket->collected = true;
    bool is_wanted = ticket->exchange != NULL && fm_job_status(ticket->job) == FM_OK;
    if (is_wanted && !is_last_job(ticket)) {
        if (!submit_next(ticket)) {
            ticket_drop(ticket);
        }
    } else if (is_wanted && is_long_answer(ticket)) {
        queue_beside(ticket, encode_beside, on_encoded);
    } else {
        ticket_finish(ticket);
    }
}

void fmd_sampling_collect(fmd_server *server)
{
    bool any = false;
    for (fm_job *job; (job = fm_engine_collect(server->engine)) != NULL; any = true) {
        ticket_collect(fm_job_context(job));
    }
    for (size_t i = 0; any && i < server->n_https; i++) {
        fmd_http_run(server->https[i]);
    }
}

static bool any_beside(const fmd_server *server)
{
    const fmd_ticket *ticket = server->tickets;
    while (ticket != NULL && !ticket->beside) {
        ticket = ticket->next;
    }
    return ticket != NULL;
}

void fmd_sampling_wait(fmd_server *server)
{
    while (any_beside(server)) {
        uv_run(&server->loop, UV_RUN_ONCE);
    }
    while (server->tickets != NULL) {
        ticket_collect(fm_job_context(fm_engine_wait(server->engine)));
    }
}

/* ---- The beginning ---- */

/* Takes a parsed ticket into the engine, or fills its problem.
 *   ret_left_ms  until its deadline */
static bool start(fmd_ticket *ticket, const fmd_exchange *exchange, uint64_t *ret_left_ms)
    FM_REQUIRES(fmd_on_loop)
{
    uint64_t spent_ms = (uint64_t)(fmd_exchange_seconds(exchange) * 1000);
    ticket->timeout_ms = ticket->request.timeout_ms;
    if (spent_ms >= ticket->request.timeout_ms) {
        count_outcome(ticket, FMD_EXPIRED);
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_DEADLINE, DEADLINE_DETAIL,
                        (unsigned long long)ticket->timeout_ms);
        return false;
    }
    *ret_left_ms = ticket->request.timeout_ms - spent_ms;
    if (!fmd_ticket_admit(ticket)) {
        count_outcome(ticket, FMD_REFUSED);
        return false;
    }
    return submit(ticket);
}

/* From here on the exchange is answered by the ticket. */
static void suspend(fmd_exchange *exchange, fmd_ticket *ticket, uint64_t left_ms)
    FM_REQUIRES(fmd_on_loop)
{
    fmd_server *server = exchange->server;
    exchange->ticket = ticket;
    fmd_ticket_link(ticket);
    ticket->deadline.data = ticket;
    ticket->holds++;
    uv_timer_init(&server->loop, &ticket->deadline);
    uv_timer_start(&ticket->deadline, on_deadline, left_ms, 0);
    MHD_suspend_connection(exchange->connection);
    fmd_client_watch(exchange->client);
}

/* ---- Parsing ---- */

static void parse_beside(uv_work_t *work)
{
    fmd_ticket *ticket = work->data;
    fmd_ticket_parse(ticket, ticket->body, ticket->body_length);
    if (ticket->body_length > TRIM_BYTES) {
        malloc_trim(0); /* the tree's many small pieces would stay with the process */
    }
}

static void on_parsed(uv_work_t *work, int status)
{
    fmd_role_enter(&fmd_on_loop);
    (void)status; /* never cancelled */
    fmd_ticket *ticket = work->data;
    ticket->beside = false;
    fmd_ticket_drop_body(ticket);
    fmd_exchange *exchange = ticket->exchange;
    uint64_t left_ms = 0;
    if (exchange != NULL && ticket->parsed && !ticket->dry_run &&
        start(ticket, exchange, &left_ms)) {
        uv_timer_start(&ticket->deadline, on_deadline, left_ms, 0);
        return;
    }
    fmd_http *http = exchange == NULL ? NULL : exchange->client->http;
    ticket_drop(ticket);
    if (http != NULL) {
        fmd_http_run(http);
    }
}

/* The body becomes the ticket's; until its timeout_ms is known, the largest allowed holds. */
static enum MHD_Result start_parsing(fmd_exchange *exchange, fmd_ticket *ticket)
    FM_REQUIRES(fmd_on_loop)
{
    ticket->body = exchange->body;
    ticket->body_length = exchange->body_length;
    ticket->body_capacity = exchange->body_capacity;
    fmd_exchange_forget_body(exchange);
    if (fmd_ticket_reserve_tree(ticket)) {
        ticket->timeout_ms = exchange->server->limits.max_timeout_ms;
        suspend(exchange, ticket, ticket->timeout_ms);
        queue_beside(ticket, parse_beside, on_parsed);
        return MHD_YES;
    }
    count_outcome(ticket, FMD_REFUSED);
    fmd_ticket_drop_body(ticket);
    enum MHD_Result result = fmd_exchange_problem(exchange, &ticket->problem);
    fmd_ticket_end(ticket);
    return result;
}

static enum MHD_Result handle(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop)
{
    fmd_query query = fmd_query_parse(exchange->target.query);
    if (query == FMD_QUERY_INVALID) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_MALFORMED,
                                 "the only query here is dry_run=0 or dry_run=1");
    }
    fmd_ticket *ticket = fmd_ticket_new(exchange);
    if (ticket == NULL) {
        return fmd_exchange_fail(exchange, FMP_PROBLEM_OUT_OF_MEMORY, "out of memory");
    }
    ticket->dry_run = query == FMD_QUERY_DRY_RUN;
    if (exchange->body_length > PARSE_ON_LOOP_BYTES) {
        return start_parsing(exchange, ticket);
    }
    fmd_ticket_parse(ticket, exchange->body, exchange->body_length);
    fmd_exchange_drop_body(exchange);
    uint64_t left_ms = 0;
    if (ticket->parsed && !ticket->dry_run && start(ticket, exchange, &left_ms)) {
        suspend(exchange, ticket, left_ms);
        return MHD_YES;
    }
    enum MHD_Result result = answer_unstarted(exchange, ticket);
    fmd_ticket_end(ticket);
    return result;
}

enum MHD_Result fmd_handle_sample(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    return handle(exchange);
}

enum MHD_Result fmd_handle_points(fmd_exchange *exchange)
{
    fmd_role_enter(&fmd_on_loop);
    return handle(exchange);
}
