/* Request targets, checked and taken apart from their raw bytes, for the parser below hands out decoded
 * ones in which "%00" has already ended the string. */
#ifndef FMD_TARGET_H
#define FMD_TARGET_H

#include "engine/annotate.h"

#include <stdbool.h>

#define FMD_PATH_MAX 512

typedef struct fmd_target {
    char path[FMD_PATH_MAX]; /* percent-decoded; "*" for OPTIONS of the whole server */
    bool is_cut;             /* it is longer than any route's: path is its beginning, and none */
    const char *query;       /* raw, into the text that was parsed; "" when there is none */
} fmd_target;

/* Origin form, absolute form and "*". False when the target holds bytes that no URL may (controls,
 * blanks, anything beyond ASCII), a broken or control percent escape, or an encoded slash, which has no
 * one meaning; then *ret_reason says which. */
FM_MUST_USE bool fmd_target_parse(const char *text, fmd_target *ret, const char **ret_reason);

typedef enum fmd_query { FMD_QUERY_PLAIN, FMD_QUERY_DRY_RUN, FMD_QUERY_INVALID } fmd_query;

/* The query of a sampling request: nothing, dry_run=1 or dry_run=0. */
fmd_query fmd_query_parse(const char *query);

#endif
