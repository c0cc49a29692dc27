/* Requests that go through the engine: all routes of a model with a body.
 *
 * DESIGN. A ticket is what a suspended exchange and its job share.
 * 1. The loop thread parses (a long body: a thread of libuv's pool, while the connection is already
 *    suspended), admits and submits, suspends the connection, starts the deadline timer and has the
 *    client watched (fmd_client_watch()).
 * 2. The worker that finishes the last row encodes a short answer into ticket->answer; it touches
 *    nothing else that the loop thread writes.
 * 3. The loop thread collects the job; a long answer is encoded on libuv's pool now. Then the loop
 *    thread answers and resumes.
 * A request of several jobs (proto/stages.h) repeats 2 and 3: the worker keeps what the next job needs, and the loop
 * thread submits that one in the place of the finished one, which is freed. Admission has taken on all of them.
 * Deadline and disconnect let the exchange go first (answered 504, or its connection closed without an
 * answer and logged as 499) and cancel the job, whose rows leave the engine; the ticket is freed when
 * the job has come back, no thread of the pool has it, and libuv has let go of the timer. */
#ifndef FMD_SAMPLING_H
#define FMD_SAMPLING_H

#include "server/exchange.h"

enum MHD_Result fmd_handle_sample(fmd_exchange *exchange);
/* Those whose points are given: all but …/sample. */
enum MHD_Result fmd_handle_points(fmd_exchange *exchange);

/* The client of a suspended exchange is gone: resumes its connection, which closes, and cancels the job. */
void fmd_sampling_leave(fmd_exchange *exchange) FM_REQUIRES(fmd_on_loop);
/* Takes every finished job, answers its exchange and runs libmicrohttpd. */
void fmd_sampling_collect(fmd_server *server) FM_REQUIRES(fmd_on_loop);
/* Answers 503 for everything that is still running, cancels it and resumes the connections. */
void fmd_sampling_cancel_all(fmd_server *server) FM_REQUIRES(fmd_on_loop);
/* Waits until the engine has handed back every job. After fmd_sampling_cancel_all(). */
void fmd_sampling_wait(fmd_server *server) FM_REQUIRES(fmd_on_loop);

#endif
