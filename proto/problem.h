/* Problem documents, RFC 9457: what is wrong with a request, every broken rule with its pointer.
 *
 * A kind is a row of problem.def: slug, HTTP status, title. A plain value, filled by parsers and by the
 * server, written once. */
#ifndef FMP_PROBLEM_H
#define FMP_PROBLEM_H

#include "engine/status.h"
#include "proto/buffer.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum fmp_problem_kind {
#define FMP_PROBLEM(id, slug, status, title) FMP_PROBLEM_##id,
#include "proto/problem.def"
#undef FMP_PROBLEM
} fmp_problem_kind;

/* Of one error's texts, NUL included; longer ones are cut. */
#define FMP_POINTER_BYTES ((size_t)128)
#define FMP_DETAIL_BYTES  ((size_t)256)
#define FMP_ERRORS_BYTES  ((size_t)12 * 1024) /* of all; further errors are counted, not listed */

typedef struct fmp_problem {
    fmp_problem_kind kind;
    char detail[512];
    size_t n_errors, n_listed;
    uint64_t retry_after_ms; /* 0: none */
    size_t errors_length;
    char errors[FMP_ERRORS_BYTES]; /* of each error that is listed: pointer, NUL, detail, NUL */
} fmp_problem;

typedef struct fmp_problem_error {
    /* JSON pointer into the request body; within the problem, as is the detail. */
    const char *pointer;
    const char *detail;
} fmp_problem_error;

/* The listed errors one after the other; false behind the last.
 *   cursor  0 before the first call */
bool fmp_problem_next_error(const fmp_problem *problem, size_t *cursor, fmp_problem_error *ret);

void fmp_problem_set(fmp_problem *problem, fmp_problem_kind kind, const char *format, ...)
    FM_PRINTF(3, 4);
/* Adds one broken rule of an invalid request (422); the first also makes the detail:
 * "solver.steps must be an integer from 1 to 10000". */
void fmp_problem_add(fmp_problem *problem, const char *pointer, const char *format, ...)
    FM_PRINTF(3, 4);
/* From an engine failure: the kind, and with it the HTTP status, that belongs to its status. */
void fmp_problem_from_error(fmp_problem *problem, const fm_error *error);
int fmp_problem_status(const fmp_problem *problem); /* HTTP */
void fmp_problem_write(fmp_buffer *buffer, const fmp_problem *problem, const char *request_id);

#endif
