/* Schedulers, how a flow gets from noise to data: rows of engine/flow/path.def. */
#ifndef FM_FM_PATH_H
#define FM_FM_PATH_H

#include "engine/annotate.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

#define FM_PATH_MAX_PARAMETERS 4

typedef struct fm_path_type fm_path_type;
typedef struct fm_path_table fm_path_table; /* alpha and sigma between points */

/* A scheduler with its parameters, x_t = alpha(t) x1 + sigma(t) x0; a plain value. */
typedef struct fm_path {
    const fm_path_type *type;
    double parameters[FM_PATH_MAX_PARAMETERS];
    const fm_path_table *table; /* of the type that has one, outlives the path; else NULL */
    double source_std;          /* of x0 */
} fm_path;

const fm_path_type *fm_path_type_find(const char *name); /* NULL when there is none */
const char *fm_path_type_name(const fm_path_type *type);
/* Parameter `index` of a type: its name and default; false past the last. */
bool fm_path_type_parameter(const fm_path_type *type, size_t index, const char **ret_name,
                            double *ret_default);
/* Whether its alpha and sigma are given as a table. */
bool fm_path_type_is_table(const fm_path_type *type);

/* Errors: FM_EINVAL a parameter is out of its range; the text names it. */
FM_MUST_USE fm_status fm_path_init(fm_path *ret, const fm_path_type *type,
                                   const double parameters[FM_PATH_MAX_PARAMETERS],
                                   const fm_path_table *table, double source_std, fm_error *err);

bool fm_path_equal(const fm_path *a, const fm_path *b);

/* Monotone cubics through n points; the arrays are copied.
 * Errors: FM_EINVAL t does not rise from 0 to 1, or alpha does not rise while sigma falls (one of them may
 * stay); the text names the array. FM_ENOMEM. */
FM_MUST_USE fm_status fm_path_table_new(size_t n, const double *t, const double *alpha,
                                        const double *sigma, fm_path_table **ret, fm_error *err);
void fm_path_table_free(fm_path_table *table);          /* takes NULL */
size_t fm_path_table_bytes(const fm_path_table *table); /* 0 of NULL */

#endif
