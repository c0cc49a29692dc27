/* Problem documents, RFC 9457: what is wrong with a request, every broken rule with its pointer.
 *
 * A kind is a row of problem.def: slug, HTTP status, title. A plain value, filled by parsers and by the
 * server, written once. */
#ifndef FMP_PROBLEM_H
#define FMP_PROBLEM_H

#include "engine/status.h"
#include "proto/buffer.h"

#include <stdint.h>

typedef enum fmp_problem_kind {
#define FMP_PROBLEM(id, slug, status, title) FMP_PROBLEM_##id,
#include "proto/problem.def"
#undef FMP_PROBLEM
} fmp_problem_kind;

#define FMP_PROBLEM_MAX_ERRORS 32 /* further ones are counted, not listed */

typedef struct fmp_problem_error {
    char pointer[128]; /* JSON pointer into the request body */
    char detail[256];
} fmp_problem_error;

typedef struct fmp_problem {
    fmp_problem_kind kind;
    char detail[512];
    fmp_problem_error errors[FMP_PROBLEM_MAX_ERRORS];
    size_t n_errors;
    uint64_t retry_after_ms; /* 0: none */
} fmp_problem;

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
