/* JSON text to a jansson tree: the one place that parses, so that all files of a model are read by the
 * same rules (no duplicate keys, UTF-8 only, no U+0000) and fail with line and column. */
#ifndef FM_JSON_TEXT_H
#define FM_JSON_TEXT_H

#include "engine/status.h"

#include <jansson.h>
#include <stddef.h>

/*   ret_used  bytes up to the end of the value; NULL: nothing but white space may follow it
 *   ret       one reference, released with json_decref()
 * Errors: FM_EFORMAT with line and column, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_json_text_parse(const char *text, size_t length, size_t *ret_used,
                                         json_t **ret, fm_error *err);

/* JSON text with the fewest digits (15 to 17) that keep every number, from malloc(); NULL when out of memory.
 *   flags  jansson's for dumping: JSON_COMPACT, JSON_INDENT(n) */
char *fm_json_text_dump(const json_t *value, size_t flags);

/* What a value is, for messages: "an object", "a string", …; "nothing" for NULL. */
const char *fm_json_kind(const json_t *value);

#endif
