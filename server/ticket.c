#include "server/ticket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_SLACK_BYTES ((size_t)1024 * 1024) /* the envelope around what the limit counts */

static void ticket_release(fmd_ticket *ticket)
{
    assert(ticket->holds > 0);
    if (--ticket->holds == 0) {
        free(ticket);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    ticket_release(handle->data);
}

fmd_ticket *fmd_ticket_new(fmd_exchange *exchange)
{
    fmd_ticket *ticket = calloc(1, sizeof *ticket);
    if (ticket == NULL) {
        return NULL;
    }
    fmd_server *server = exchange->server;
    ticket->server = server;
    ticket->exchange = exchange;
    ticket->model_index = exchange->model;
    ticket->model = server->models.described[exchange->model];
    ticket->route = exchange->routing.route;
    ticket->accepted = exchange->accepted;
    ticket->holds = 1;
    memcpy(ticket->id, exchange->id, sizeof ticket->id);
    fmp_buffer_init(&ticket->answer, server->limits.max_answer_bytes + ANSWER_SLACK_BYTES);
    return ticket;
}

void fmd_ticket_end(fmd_ticket *ticket)
{
    fm_job_free(ticket->job);
    ticket->job = NULL;
    if (ticket->parsed) {
        fmp_request_done(&ticket->request);
    }
    fmp_buffer_done(&ticket->answer);
    ticket_release(ticket);
}

void fmd_ticket_link(fmd_ticket *ticket)
{
    fmd_server *server = ticket->server;
    ticket->next = server->tickets;
    if (ticket->next != NULL) {
        ticket->next->previous = ticket;
    }
    server->tickets = ticket;
}

void fmd_ticket_unlink(fmd_ticket *ticket)
{
    fmd_server *server = ticket->server;
    if (ticket->previous != NULL) {
        ticket->previous->next = ticket->next;
    } else {
        server->tickets = ticket->next;
    }
    if (ticket->next != NULL) {
        ticket->next->previous = ticket->previous;
    }
    ticket->previous = ticket->next = NULL;
}

void fmd_tickets_usage(const fmd_server *server, fmd_usage *ret)
{
    for (size_t i = 0; i < server->models.count; i++) {
        ret[i] = (fmd_usage){.bytes = server->metrics.models[i].body_bytes};
    }
    for (const fmd_ticket *ticket = server->tickets; ticket != NULL; ticket = ticket->next) {
        fmd_usage *usage = &ret[ticket->model_index];
        usage->bytes += ticket->body_capacity + ticket->tree_bytes;
        if (ticket->job != NULL) { /* admitted */
            usage->requests++;
            usage->seconds += ticket->cost.seconds;
            usage->bytes += ticket->cost.bytes;
        }
    }
}

fmd_exchange *fmd_ticket_detach(fmd_ticket *ticket)
{
    fmd_exchange *exchange = ticket->exchange;
    assert(exchange != NULL && exchange->ticket == ticket);
    ticket->exchange = NULL;
    exchange->ticket = NULL;
    uv_close((uv_handle_t *)&ticket->deadline, on_handle_closed);
    return exchange;
}
