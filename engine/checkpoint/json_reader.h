/* A typed reader over a JSON tree: every value knows where it stands, so that every error starts with the
 * JSON pointer (RFC 6901) of what broke a rule.
 *
 * A node is a plain value that views its parent node and the tree; both must outlive it. The members of
 * an absent node are absent. Readers of absent nodes leave *ret as it is, which is how defaults are
 * given; fm_json_require() comes first where there is none. */
#ifndef FM_JSON_READER_H
#define FM_JSON_READER_H

#include "engine/checkpoint/json_text.h"

#include <stdbool.h>

typedef struct fm_json_node {
    const struct fm_json_node *parent; /* NULL: the root */
    const char *key;                   /* in parent, or NULL: an item */
    size_t index;                      /* of an item */
    json_t *value;                     /* NULL: absent */
} fm_json_node;

fm_json_node fm_json_root(json_t *value);
fm_json_node fm_json_member(const fm_json_node *object, const char *key);
fm_json_node fm_json_item(const fm_json_node *array, size_t index);
bool fm_json_present(const fm_json_node *node);

/* fm_fail() with "/the/pointer: " in front. */
fm_status fm_json_fail(const fm_json_node *node, fm_error *err, fm_status status,
                       const char *format, ...) FM_PRINTF(4, 5);
/* "/the/pointer: is not supported by this release", for keys; choices have their own. */
fm_status fm_json_unsupported(const fm_json_node *node, fm_error *err);

FM_MUST_USE fm_status fm_json_require(const fm_json_node *node, fm_error *err);

/* An object without other keys than these.
 *   keys  NULL-terminated */
FM_MUST_USE fm_status fm_json_check_object(const fm_json_node *node, const char *const *keys,
                                           fm_error *err);
/* An array of min to max items. */
FM_MUST_USE fm_status fm_json_check_array(const fm_json_node *node, size_t min, size_t max,
                                          fm_error *err);

/* *ret is replaced by a copy of the string, freed with fm_free(); the old one is freed. */
FM_MUST_USE fm_status fm_json_read_string(const fm_json_node *node, char **ret, fm_error *err);
FM_MUST_USE fm_status fm_json_read_number(const fm_json_node *node, double *ret, fm_error *err);
FM_MUST_USE fm_status fm_json_read_bool(const fm_json_node *node, bool *ret, fm_error *err);
FM_MUST_USE fm_status fm_json_read_size(const fm_json_node *node, size_t min, size_t max,
                                        size_t *ret, fm_error *err);
/* Exactly count numbers. */
FM_MUST_USE fm_status fm_json_read_numbers(const fm_json_node *node, size_t count, double *ret,
                                           fm_error *err);
/* An array of one string or more, all different and none empty.
 *   ret  [ret_count], each and the array freed with fm_free() */
FM_MUST_USE fm_status fm_json_read_names(const fm_json_node *node, char ***ret, size_t *ret_count,
                                         fm_error *err);

/* One word of a contract's list. */
typedef struct fm_json_choice {
    const char *name;
    int value; /* FM_JSON_UNSUPPORTED: listed by the contract, not served by this release */
} fm_json_choice;

#define FM_JSON_UNSUPPORTED (-1)

/* A string out of choices; *ret is the value beside it.
 *   choices  ended by a row without a name
 * Errors: FM_EUNSUPPORTED, FM_EFORMAT lists what is served. */
FM_MUST_USE fm_status fm_json_read_choice(const fm_json_node *node, const fm_json_choice *choices,
                                          int *ret, fm_error *err);

#endif
