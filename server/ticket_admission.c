/* What a ticket costs, and what it would wait for. */
#include "server/ticket.h"

#include <math.h>
#include <stdlib.h>

/* What is left of an admitted ticket: its work, but never more than its deadline leaves it. */
static double remaining_seconds(const fmd_ticket *ticket, double left_seconds)
{
    double done = (double)fm_job_evaluations_done(ticket->job);
    double share = ticket->expected_evaluations > 0 ? done / ticket->expected_evaluations : 0;
    return share < 1 ? fmin(ticket->cost.seconds * (1 - share), left_seconds) : 0;
}

static fmd_load load_for(const fmd_ticket *newcomer) FM_REQUIRES(fmd_on_loop)
{
    fmd_load load = {.ahead_seconds = 0};
    double sum = 0, last = 0;
    const fmd_ticket *ticket = newcomer->server->tickets;
    for (; ticket != NULL; ticket = ticket->next) {
        /* Not admitted yet, computed already, or cancelled: nothing that the engine would do. */
        if (ticket->job == NULL || ticket->collected || ticket->exchange == NULL) {
            continue;
        }
        double left = (double)uv_timer_get_due_in(&ticket->deadline) / 1000;
        double remaining = remaining_seconds(ticket, left);
        load.ahead_seconds += fmin(remaining, newcomer->cost.seconds);
        sum += remaining;
        last = fmax(last, left);
    }
    load.gone_seconds = fmin(sum, last);
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
    double expected = fm_job_expected_evaluations(spec);
    ticket->expected_evaluations = (double)spec->n_rows * expected;
    ticket->cost.seconds = expected * (double)fm_job_network_rows(spec) *
                           ticket->model->evaluation_seconds / (double)ticket->server->workers;
    size_t recording = fmp_request_recording_bytes(&ticket->request, ticket->model);
    size_t most = ticket->server->limits.max_answer_bytes;
    spec->max_recording_bytes = recording < most ? recording : most;
    ticket->answer_bytes = fmp_request_answer_bytes(&ticket->request, ticket->model);
    size_t request_bytes = fmp_request_array_bytes(&ticket->request, ticket->model);
    size_t job_bytes = add(fm_job_size_bytes(spec), spec->max_recording_bytes);
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
    double ours = ticket->cost.seconds * (double)admission->requests;
    fmd_load most = {.ahead_seconds = fmin(admission->seconds, ours),
                     .gone_seconds = admission->seconds};
    fmd_verdict verdict = fmd_admission_take(admission, &ticket->cost, &most, &retry_after_ms);
    if (verdict == FMD_QUEUE_FULL || verdict == FMD_MEMORY_FULL) {
        fmd_load load = load_for(ticket);
        verdict = fmd_admission_take(admission, &ticket->cost, &load, &retry_after_ms);
    }
    if (verdict == FMD_ADMITTED) {
        return true;
    }
    refuse(ticket, verdict);
    ticket->problem.retry_after_ms = retry_after_ms;
    return false;
}
