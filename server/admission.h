/* Admission: how much work and memory the daemon has taken on, and whether it takes more.
 *
 * Invariants: requests, seconds and bytes are the sums over what was admitted and not yet released;
 * none is ever negative. A request that alone is over a bound of time is admitted when nothing else is
 * there, for no waiting would ever make it fit. Plain arithmetic: no clock, no locks. */
#ifndef FMD_ADMISSION_H
#define FMD_ADMISSION_H

#include "engine/annotate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fmd_admission {
    uint64_t max_requests;
    double max_seconds; /* until a request's predicted end */
    uint64_t max_bytes;
    uint64_t requests; /* admitted, not yet released */
    double seconds;    /* of work, predicted for them, all workers together */
    uint64_t bytes;    /* of their jobs and answers, and of bodies being read */
} fmd_admission;

/* What a request is predicted to take on an otherwise idle daemon. */
typedef struct fmd_cost {
    double seconds;      /* until its end */
    double work_seconds; /* of all workers: less, where it cannot fill them */
    uint64_t bytes;
} fmd_cost;

/* What is in a newcomer's way. Progress and deadlines are known to the caller only; work that a deadline
 * will cut off does not count. */
typedef struct fmd_load {
    /* What it waits for while the engine shares evenly: of every admitted request the work that remains, but
     * at most as much as its own. A short request does not wait for the end of a long one. */
    double ahead_seconds;
    double work_seconds;  /* all that remains */
    double place_seconds; /* until the first of them ends, as far as they have shown */
    double gone_seconds;  /* until all have ended, idem */
} fmd_load;

typedef enum fmd_verdict {
    FMD_ADMITTED,
    FMD_QUEUE_FULL,  /* requests or seconds: 429 */
    FMD_MEMORY_FULL, /* it would fit an idle daemon: 503 */
    FMD_TOO_LARGE,   /* it never fits: 413 */
} fmd_verdict;

/* Takes the cost on, or says why not. A request is expected to end after load->ahead_seconds and its own
 * seconds; beyond max_seconds it is refused.
 *   ret_retry_after_ms  when refused: an estimate of when the same request would be admitted, >= 1 and
 *                       never after load->gone_seconds. What work of so many predicted seconds really
 *                       takes is seen from what the admitted requests show. */
FM_MUST_USE fmd_verdict fmd_admission_take(fmd_admission *admission, const fmd_cost *cost,
                                           const fmd_load *load, uint64_t *ret_retry_after_ms);
void fmd_admission_release(fmd_admission *admission, const fmd_cost *cost);

/* Memory alone, for bodies while they are read. */
FM_MUST_USE bool fmd_admission_take_bytes(fmd_admission *admission, uint64_t bytes);
void fmd_admission_release_bytes(fmd_admission *admission, uint64_t bytes);

#endif
