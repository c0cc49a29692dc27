/* One request and its answer.
 *
 * DESIGN. An exchange begins with the request line and ends when libmicrohttpd has sent the answer or
 * lost the client.
 *
 *   begun ──head──► reading ──body──► dispatched ──► answered ──► completed
 *     │ fmd_exchange_begin   │ fmd_exchange_upload        │ fmd_exchange_answer   fmd_exchange_complete
 *     └────────── refused ───┘   (at once with Connection: close, or after the body was swallowed)
 *
 * A body of unknown length that passes the limit is answered 413 past libmicrohttpd while it is still
 * being sent (fmd_exchange_answer_early()), and read on without being kept, so that the client comes to
 * read the answer; at twice the limit, or when it is complete, the connection is cut.
 *
 * A handler answers at once, or suspends the connection and keeps a ticket (sampling.c), which answers
 * and resumes later. An exchange is logged and counted exactly once, when it completes. */
#ifndef FMD_EXCHANGE_H
#define FMD_EXCHANGE_H

#include "proto/problem.h"
#include "proto/request.h"
#include "server/head.h"
#include "server/http.h"
#include "server/request_id.h"
#include "server/routes.h"
#include "server/target.h"

typedef enum fmd_progress {
    FMD_BEGUN,
    FMD_READING,
    FMD_DISPATCHED,
    FMD_ANSWERED,
} fmd_progress;

typedef struct fmd_exchange {
    fmd_server *server;
    fmd_client *client; /* NULL when memory was out as it connected */
    struct MHD_Connection *connection;
    fmd_ticket *ticket; /* while suspended */
    fmd_progress progress;
    char id[FMD_REQUEST_ID_MAX + 1];
    char method[16];
    uint64_t started_ns; /* uv_hrtime() */
    fmd_head head;
    fmd_target target;
    fmd_routing routing;
    size_t model;          /* index, or FMD_NO_MODEL */
    fmp_encoding accepted; /* by Accept, see fmp_request_parse_sample() */
    /* A refusal decided while the body is still to be swallowed. */
    bool refused;
    fmp_problem_kind refusal;
    char refusal_detail[256];
    bool must_close; /* the answer ends the connection */
    char *body;
    size_t body_length, body_capacity, body_seen;
    unsigned status; /* 0: not answered */
    uint64_t answer_bytes;
    char raw_target[]; /* as sent */
} fmd_exchange;

/* An answer. data is malloc()ed memory that the answer takes, or NULL for none. */
typedef struct fmd_answer {
    unsigned status;
    const char *content_type;
    char *data;
    size_t length;
    uint64_t retry_after_ms;   /* 0: none */
    const char *allow;         /* NULL: none */
    const fm_job_stats *stats; /* for Server-Timing; NULL: none */
} fmd_answer;

/* The request line was read. NULL when out of memory. */
fmd_exchange *fmd_exchange_new(fmd_server *server, fmd_client *client,
                               struct MHD_Connection *connection, const char *target)
    FM_REQUIRES(fmd_on_loop);
/* The head was read: checks and routes it; may answer. */
enum MHD_Result fmd_exchange_begin(fmd_exchange *exchange, const char *method, const char *version)
    FM_REQUIRES(fmd_on_loop);
/* A piece of the body. MHD_NO cuts the connection. */
enum MHD_Result fmd_exchange_upload(fmd_exchange *exchange, const char *data, size_t length)
    FM_REQUIRES(fmd_on_loop);
/* The body is complete: runs the route's handler. */
enum MHD_Result fmd_exchange_dispatch(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop);
/* Answers a request that has not arrived in whole, for the last time on its connection: see
 * fmd_client_send_last(). */
void fmd_exchange_answer_early(fmd_exchange *exchange, fmp_problem_kind kind, const char *format,
                               ...) FM_PRINTF(3, 4) FM_REQUIRES(fmd_on_loop);
/* Logs, counts and frees it.
 *   status  what libmicrohttpd sent by itself, where we have not answered; 0: nothing */
void fmd_exchange_complete(fmd_exchange *exchange, unsigned status) FM_REQUIRES(fmd_on_loop);

/* Queues the answer; the data is freed in any case. MHD_NO cuts the connection. */
enum MHD_Result fmd_exchange_answer(fmd_exchange *exchange, const fmd_answer *answer)
    FM_REQUIRES(fmd_on_loop);
/* The same of a problem document; every 503 gets a Retry-After. */
enum MHD_Result fmd_exchange_problem(fmd_exchange *exchange, fmp_problem *problem)
    FM_REQUIRES(fmd_on_loop);
enum MHD_Result fmd_exchange_fail(fmd_exchange *exchange, fmp_problem_kind kind, const char *format,
                                  ...) FM_PRINTF(3, 4) FM_REQUIRES(fmd_on_loop);
/* Answers 200 with what a writer has put into the buffer, and empties it. */
enum MHD_Result fmd_exchange_answer_buffer(fmd_exchange *exchange, const char *content_type,
                                           fmp_buffer *buffer) FM_REQUIRES(fmd_on_loop);
/* Frees the body and gives its memory back to admission. */
void fmd_exchange_drop_body(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop);
/* Lets go of a body that another has taken over, with what admission has reserved for it. */
void fmd_exchange_forget_body(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop);
double fmd_exchange_seconds(const fmd_exchange *exchange); /* since its request line */

#endif
