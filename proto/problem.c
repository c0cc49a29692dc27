/* Problem documents. Written without jansson, so that the answer to "out of memory" needs little. */
#include "proto/problem.h"

#include "proto/json.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct problem_row {
    const char *slug;
    int status;
    const char *title;
} problem_row;

static const problem_row problem_rows[] = {
#define FMP_PROBLEM(id, slug, status, title) [FMP_PROBLEM_##id] = {slug, status, title},
#include "proto/problem.def"
#undef FMP_PROBLEM
};

static const problem_row *row_of(fmp_problem_kind kind)
{
    assert((size_t)kind < sizeof problem_rows / sizeof *problem_rows);
    return &problem_rows[kind];
}

void fmp_problem_set(fmp_problem *problem, fmp_problem_kind kind, const char *format, ...)
{
    problem->kind = kind;
    problem->n_errors = problem->n_listed = problem->errors_length = 0;
    problem->retry_after_ms = 0;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->detail, sizeof problem->detail, format, arguments);
    va_end(arguments);
}

/* "/solver/steps" as "solver.steps", "/labels/3" as "labels[3]", "" as "the body". */
static void pointer_to_name(const char *pointer, char *ret, size_t size_bytes)
{
    size_t used = 0;
    bool in_index = false;
    for (const char *at = pointer; *at != '\0' && used + 3 < size_bytes; at++) {
        if (*at != '/') {
            ret[used++] = *at;
            continue;
        }
        if (in_index) {
            ret[used++] = ']';
        }
        size_t digits = strspn(at + 1, "0123456789");
        in_index = digits > 0 && (at[1 + digits] == '/' || at[1 + digits] == '\0');
        if (in_index) {
            ret[used++] = '[';
        } else if (used > 0) {
            ret[used++] = '.';
        }
    }
    if (in_index) {
        ret[used++] = ']';
    }
    ret[used] = '\0';
    if (used == 0) {
        (void)snprintf(ret, size_bytes, "the body");
    }
}

static bool list_error(fmp_problem *problem, const char *pointer, const char *detail)
{
    size_t pointer_length = strnlen(pointer, FMP_POINTER_BYTES - 1);
    size_t detail_bytes = strlen(detail) + 1;
    if (pointer_length + 1 + detail_bytes > FMP_ERRORS_BYTES - problem->errors_length) {
        return false;
    }
    char *to = problem->errors + problem->errors_length;
    memcpy(to, pointer, pointer_length);
    to[pointer_length] = '\0';
    memcpy(to + pointer_length + 1, detail, detail_bytes);
    problem->errors_length += pointer_length + 1 + detail_bytes;
    return true;
}

void fmp_problem_add(fmp_problem *problem, const char *pointer, const char *format, ...)
{
    char detail[FMP_DETAIL_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    if (problem->n_errors == 0) {
        char name[FMP_POINTER_BYTES + 8];
        pointer_to_name(pointer, name, sizeof name);
        fmp_problem_set(problem, FMP_PROBLEM_INVALID_REQUEST, "%s %s", name, detail);
    }
    /* Behind the first that has no room none is listed, so that those that are come in order. */
    if (problem->n_errors == problem->n_listed && list_error(problem, pointer, detail)) {
        problem->n_listed++;
    }
    problem->n_errors++;
}

bool fmp_problem_next_error(const fmp_problem *problem, size_t *cursor, fmp_problem_error *ret)
{
    if (*cursor >= problem->errors_length) {
        return false;
    }
    ret->pointer = problem->errors + *cursor;
    *cursor += strlen(ret->pointer) + 1;
    ret->detail = problem->errors + *cursor;
    *cursor += strlen(ret->detail) + 1;
    return true;
}

static fmp_problem_kind kind_of_status(fm_status status)
{
    switch (status) {
    case FM_EINVAL:
    case FM_EUNSUPPORTED:
        return FMP_PROBLEM_INVALID_REQUEST;
    case FM_ENOMEM:
        return FMP_PROBLEM_OUT_OF_MEMORY;
    case FM_ENOTFOUND:
        return FMP_PROBLEM_NOT_FOUND;
    case FM_ECANCELED:
        return FMP_PROBLEM_CANCELLED;
    case FM_EDEADLINE:
        return FMP_PROBLEM_DEADLINE;
    case FM_EFULL:
        return FMP_PROBLEM_QUEUE_FULL;
    case FM_EDRAINING:
        return FMP_PROBLEM_DRAINING;
    case FM_ETOOBIG:
        return FMP_PROBLEM_TOO_LARGE;
    case FM_OK:
    case FM_EIO:
    case FM_EFORMAT:
    case FM_EINTERNAL:
        break;
    }
    return FMP_PROBLEM_INTERNAL;
}

void fmp_problem_from_error(fmp_problem *problem, const fm_error *error)
{
    fmp_problem_kind kind = kind_of_status(error->status);
    if (kind == FMP_PROBLEM_INTERNAL) {
        /* The text names files of the host, which are the log's and no client's business. */
        fmp_problem_set(problem, kind, "%s; the daemon's log says more under this request_id",
                        fm_status_text(error->status));
        return;
    }
    fmp_problem_set(problem, kind, "%s", error->text);
}

int fmp_problem_status(const fmp_problem *problem)
{
    return row_of(problem->kind)->status;
}

static void write_errors(fmp_json *json, const fmp_problem *problem)
{
    if (problem->n_errors > problem->n_listed) {
        fmp_json_pair_unsigned(json, "errors_not_listed", problem->n_errors - problem->n_listed);
    }
    fmp_json_key(json, "errors");
    fmp_json_open(json, '[');
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(problem, &at, &error);) {
        fmp_json_open(json, '{');
        fmp_json_pair_text(json, "pointer", error.pointer);
        fmp_json_pair_text(json, "detail", error.detail);
        fmp_json_close(json, '}');
    }
    fmp_json_close(json, ']');
}

void fmp_problem_write(fmp_buffer *buffer, const fmp_problem *problem, const char *request_id)
{
    const problem_row *row = row_of(problem->kind);
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_key(&json, "type");
    fmp_json_value(&json);
    fmp_buffer_format(buffer, "\"urn:velocityd:problem:%s\"", row->slug);
    fmp_json_pair_text(&json, "title", row->title);
    fmp_json_pair_unsigned(&json, "status", (uint64_t)row->status);
    fmp_json_pair_text(&json, "detail", problem->detail);
    if (request_id != NULL) {
        fmp_json_pair_text(&json, "request_id", request_id);
    }
    if (problem->retry_after_ms > 0) {
        fmp_json_pair_unsigned(&json, "retry_after_ms", problem->retry_after_ms);
    }
    if (problem->n_errors > 0) {
        write_errors(&json, problem);
    }
    fmp_json_close(&json, '}');
}
