/* What a ticket costs, and what it would wait for. */
#include "proto/stages.h"
#include "server/ticket.h"

#include <math.h>
#include <stdlib.h>

/* What is left of an admitted ticket, never more than its deadline leaves it. */
typedef struct ticket_rest {
    double work_seconds; /* as predicted */
    /* Until its end: by its own pace so far, else as predicted, when nothing is ahead. */
    double seconds;
    bool is_started;
} ticket_rest;

/* As much of a job counts as not done whatever was predicted: of adaptive methods it was a guess, and a
 * client that asks again and again until the very end is no help. */
#define LEAST_LEFT 0.05

/* Otherwise not submitted yet, computed already, or cancelled: nothing that the engine would do. */
static bool is_in_engine(const fmd_ticket *ticket)
{
    return ticket->job != NULL && !ticket->collected && ticket->exchange != NULL;
}

static ticket_rest rest_of(const fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    double deadline = (double)uv_timer_get_due_in(&ticket->deadline) / 1000;
    double elapsed = (double)(uv_hrtime() - ticket->admitted_ns) / 1e9;
    double done = ticket->earlier_evaluations + (double)fm_job_evaluations_done(ticket->job);
    double share = ticket->expected_evaluations > 0 ? done / ticket->expected_evaluations : 0;
    double left = fmax(1 - share, LEAST_LEFT);
    double seconds = done > 0 ? elapsed * left / (1 - left) : ticket->cost.seconds;
    return (ticket_rest){.work_seconds = fmin(ticket->cost.work_seconds * left, deadline),
                         .seconds = fmin(seconds, deadline),
                         .is_started = done > 0};
}

static fmd_load load_for(const fmd_ticket *newcomer) FM_REQUIRES(fmd_on_loop)
{
    fmd_load load = {.ahead_seconds = 0};
    double n = 0, longest_deadline = 0;
    const fmd_ticket *ticket = newcomer->server->tickets;
    for (; ticket != NULL; ticket = ticket->next) {
        if (is_in_engine(ticket)) {
            ticket_rest rest = rest_of(ticket);
            load.ahead_seconds += fmin(rest.work_seconds, newcomer->cost.work_seconds);
            load.work_seconds += rest.work_seconds;
            load.gone_seconds = fmax(load.gone_seconds, rest.seconds);
            double deadline = (double)uv_timer_get_due_in(&ticket->deadline) / 1000;
            longest_deadline = fmax(longest_deadline, deadline);
            n++;
        }
    }
    load.gone_seconds = fmin(fmax(load.gone_seconds, load.work_seconds), longest_deadline);
    load.place_seconds = load.gone_seconds;
    for (ticket = newcomer->server->tickets; ticket != NULL; ticket = ticket->next) {
        if (is_in_engine(ticket)) {
            ticket_rest rest = rest_of(ticket);
            /* Those that have not begun take turns with the others, none of which gets more than they do. */
            double ahead =
                rest.is_started ? 0 : fmin(load.work_seconds, (n - 1) * rest.work_seconds);
            load.place_seconds = fmin(load.place_seconds, rest.seconds + ahead);
        }
    }
    return load;
}

static size_t add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* Fills the cost, and the bound of what the job may record. */
static void predict(fmd_ticket *ticket) FM_REQUIRES(fmd_on_loop)
{
    fm_job_spec *spec = &ticket->request.spec;
    fm_job_estimate estimate = fmp_request_estimate(&ticket->request, ticket->server->workers);
    ticket->expected_evaluations = estimate.evaluations;
    ticket->cost.seconds = estimate.seconds;
    ticket->cost.work_seconds = estimate.work_seconds;
    size_t recording = fmp_request_recording_bytes(&ticket->request, ticket->model);
    size_t most = ticket->server->limits.max_answer_bytes;
    spec->max_recording_bytes = recording < most ? recording : most;
    ticket->answer_bytes = fmp_request_answer_bytes(&ticket->request, ticket->model);
    size_t request_bytes = fmp_request_array_bytes(&ticket->request, ticket->model);
    size_t job_bytes = add(fmp_request_job_bytes(&ticket->request), spec->max_recording_bytes);
    size_t writer_bytes = fmp_request_writer_bytes(&ticket->request, ticket->model);
    ticket->cost.bytes =
        add(add(request_bytes, job_bytes), add(ticket->answer_bytes, writer_bytes));
}

static void refuse(fmd_ticket *ticket, fmd_verdict verdict) FM_REQUIRES(fmd_on_loop)
{
    if (verdict == FMD_QUEUE_FULL) {
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_QUEUE_FULL, "the queue is full");
    } else if (verdict == FMD_MEMORY_FULL) {
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_OUT_OF_MEMORY,
                        "the requests being served hold the memory that limits.memory allows");
    } else {
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_TOO_LARGE,
                        "the request needs %llu bytes, more than limits.memory",
                        (unsigned long long)ticket->cost.bytes);
    }
}

bool fmd_ticket_reserve_tree(fmd_ticket *ticket)
{
    fmd_admission *admission = &ticket->server->admission;
    size_t bytes = fmp_request_tree_bytes(ticket->body, ticket->body_length);
    if (bytes > SIZE_MAX - ticket->body_capacity ||
        bytes + ticket->body_capacity > admission->max_bytes) {
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_TOO_LARGE,
                        "to read the body takes %zu bytes, more than limits.memory", bytes);
    } else if (!fmd_admission_take_bytes(admission, bytes)) {
        fmp_problem_set(&ticket->problem, FMP_PROBLEM_OUT_OF_MEMORY,
                        "there is no memory to read the body now");
    } else {
        ticket->tree_bytes = bytes;
        return true;
    }
    return false;
}

void fmd_ticket_drop_body(fmd_ticket *ticket)
{
    free(ticket->body);
    fmd_admission_release_bytes(&ticket->server->admission,
                                ticket->body_capacity + ticket->tree_bytes);
    ticket->body = NULL;
    ticket->body_length = ticket->body_capacity = ticket->tree_bytes = 0;
}

bool fmd_ticket_admit(fmd_ticket *ticket)
{
    fmd_admission *admission = &ticket->server->admission;
    uint64_t retry_after_ms = 0;
    predict(ticket);
    /* At first without a look at every ticket: no one is ahead by more than all of its work, or ours. */
    double ours = ticket->cost.work_seconds * (double)admission->requests;
    fmd_load most = {.ahead_seconds = fmin(admission->seconds, ours)};
    fmd_verdict verdict = fmd_admission_take(admission, &ticket->cost, &most, &retry_after_ms);
    if (verdict == FMD_QUEUE_FULL || verdict == FMD_MEMORY_FULL) {
        fmd_load load = load_for(ticket);
        verdict = fmd_admission_take(admission, &ticket->cost, &load, &retry_after_ms);
    }
    if (verdict == FMD_ADMITTED) {
        ticket->admitted_ns = uv_hrtime();
        return true;
    }
    refuse(ticket, verdict);
    ticket->problem.retry_after_ms = retry_after_ms;
    return false;
}
