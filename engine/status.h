/* Status codes and the error text that travels with them. */
#ifndef FM_STATUS_H
#define FM_STATUS_H

#include "engine/annotate.h"

#include <stddef.h>

typedef enum fm_status {
#define FM_STATUS(name, code, text) FM_##name = (code),
#include "engine/status.def"
#undef FM_STATUS
} fm_status;

/* A failure: its code and one sentence, set once, where the cause is known. A plain value. */
typedef struct fm_error {
    fm_status status;
    char text[1024];
} fm_error;

/* Sets *err (which may be NULL) and returns status, so that `return fm_fail(…)` reads well.
 * Text longer than the buffer is cut. */
fm_status fm_fail(fm_error *err, fm_status status, const char *format, ...) FM_PRINTF(3, 4);

/* Puts "prefix: " before the text already in *err (which may be NULL); returns its status. */
fm_status fm_fail_prefix(fm_error *err, fm_status status, const char *format, ...) FM_PRINTF(3, 4);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: tell it that what fm_fail() returns is what it was given. */
#define fm_fail(err, status, ...)        ((void)fm_fail(err, status, __VA_ARGS__), (status))
#define fm_fail_prefix(err, status, ...) ((void)fm_fail_prefix(err, status, __VA_ARGS__), (status))
#endif

const char *fm_status_name(fm_status status); /* "EINVAL" */
const char *fm_status_text(fm_status status); /* "a rule is broken" */

#endif
