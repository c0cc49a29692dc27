/* A ticket: what a suspended exchange and its job share. Private to sampling.c, ticket*.c and
 * handlers.c, which asks what all of them hold. */
#ifndef FMD_TICKET_H
#define FMD_TICKET_H

#include "server/exchange.h"

struct fmd_ticket {
    fmd_server *server;
    fmd_exchange *exchange; /* NULL once it was answered, or its client is gone */
    fmd_ticket *previous, *next;
    size_t model_index;
    const fm_model_info *model;
    fmd_route route;
    bool dry_run;
    fmp_encoding accepted; /* by Accept */
    /* Work on libuv's pool: parsing a long body, which belongs to the ticket then, or encoding a long
     * answer. While it lasts, the pool's thread has body, problem and request, or job and answer. */
    uv_work_t work;
    bool beside;
    bool parsed; /* request is filled, otherwise problem */
    char *body;
    size_t body_length, body_capacity;
    size_t tree_bytes; /* reserved for parsing it */
    fmp_problem problem;
    fmp_request request;
    fm_job *job;    /* NULL before it is submitted */
    size_t stage;   /* which of the request's jobs it is */
    bool collected; /* the job has come back from the engine */
    char id[FMD_REQUEST_ID_MAX + 1];
    /* Written by the worker that finishes the job, or by the pool; read by the loop afterwards. */
    fmp_buffer answer;
    size_t answer_bytes; /* estimated when it was admitted */
    fmd_cost cost;
    double expected_evaluations; /* of all rows and jobs */
    double earlier_evaluations;  /* of the jobs before this one */
    uint64_t admitted_ns;        /* uv_hrtime() */
    uv_timer_t deadline;
    uint64_t timeout_ms; /* the request's, or the largest there is until that is known */
    unsigned holds;      /* the job and the open timer; freed at 0 */
};

/* NULL when out of memory. */
fmd_ticket *fmd_ticket_new(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop);
/* Its job has come back, or was never submitted: frees the job and lets the ticket go. */
void fmd_ticket_end(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);
/* Into and out of server->tickets. */
void fmd_ticket_link(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);
void fmd_ticket_unlink(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);
/* What the tickets of each model hold, and its bodies being read.
 *   ret  [server->models.count] */
void fmd_tickets_usage(const fmd_server *server, fmd_usage *ret) FM_REQUIRES(fmd_on_loop);
/* Takes the exchange from its ticket, to be answered and resumed, and closes the deadline. */
fmd_exchange *fmd_ticket_detach(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);

/* Fills the request, or the problem. Pure, on any thread that has the ticket. */
void fmd_ticket_parse(fmd_ticket *ticket, const char *body, size_t length);
/* Reserves what parsing the ticket's body will take, or fills its problem. */
FM_MUST_USE bool fmd_ticket_reserve_tree(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);
/* Frees the body and gives its memory, and what was reserved for parsing it, back. */
void fmd_ticket_drop_body(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);
/* Predicts what a parsed ticket costs and admits it, or fills its problem. */
FM_MUST_USE bool fmd_ticket_admit(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop);

#endif
