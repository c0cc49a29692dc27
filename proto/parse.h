/* Inside the request parser: what request.c and the parse_*.c files share. For proto/ only.
 *
 * Every function goes on after a broken rule, so that one answer lists them all. */
#ifndef FMP_PARSE_H
#define FMP_PARSE_H

#include "proto/api.h"

#include <jansson.h>

/* JSON has one kind of number, and so have our trees: jansson's integers know no -0. Those that int64 does
 * not hold are refused beforehand (wide_integer.c); none that a field takes is beyond 2^53. */
#define FMP_PARSE_JSON (JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL)

/* Noise is drawn this near to the source and no farther: the margin of the paths that are singular there,
 * with room for its rounding. Farther in, part of the state would be data, which nobody has. */
#define FMP_SOURCE_MARGIN (1e-3 * (1 + 1e-9))

/* Numbers that came in base64. */
typedef struct fmp_vector {
    double *values; /* [n], malloc()ed; NULL: none */
    size_t n;
} fmp_vector;

typedef struct fmp_parse {
    const fm_model_info *model;
    const fmp_limits *limits;
    fmp_api_route route;
    const char *prefix;    /* before every pointer: "", or "/defaults" */
    fmp_encoding accepted; /* by Accept; JSON: the body's field decides */
    bool defaults_only; /* a model's defaults are checked: what only a request can bring may lack */
    bool out_of_memory;
    fmp_problem *problem;
    fmp_request *request;    /* what is being filled */
    double source;           /* the time at which noise is drawn */
    double span[2];          /* of the default grid, which no grid goes beyond */
    json_t *body, *defaults; /* owned */
    /* By fmp_field_id: the value where it obeys its row, whether there is one at all, and whether the
     * model's defaults brought it. Borrowed from body and defaults. */
    json_t *values[FMP_FIELD_COUNT];
    bool present[FMP_FIELD_COUNT];
    bool from_defaults[FMP_FIELD_COUNT];
    fmp_vector vectors[FMP_FIELD_COUNT]; /* of lists of numbers whose value is an object; owned */
} fmp_parse;

/* Whether the route's grids run from data to the source. */
static inline bool fmp_parse_descends(const fmp_parse *parse)
{
    return (parse->route & FMP_API_BACKWARD) != 0;
}

/* A broken rule at a field, which is one of /defaults where the model brought it, or at prefix + pointer. */
void fmp_parse_fail(fmp_parse *parse, fmp_field_id field, const char *format, ...) FM_PRINTF(3, 4);
void fmp_parse_fail_at(fmp_parse *parse, const char *pointer, const char *format, ...)
    FM_PRINTF(3, 4);
/* malloc() of count elements; NULL and out_of_memory when there is none or the product overflows. */
void *fmp_parse_alloc(fmp_parse *parse, size_t count, size_t element_bytes);

/* tree_size.c: the index of the quote that ends the string whose first byte is at `begin`, or length. */
size_t fmp_parse_string_end(const char *body, size_t begin, size_t length);
/* wide_integer.c: whether a text that is JSON has an integer beyond int64, and the place of the first. */
bool fmp_parse_wide_integer(const char *body, size_t length, int *ret_line, int *ret_column);

/* parse_fields.c: body and defaults to values, checked row by row and merged. */
void fmp_parse_fields(fmp_parse *parse);
/* A list of numbers, in JSON or base64: how many, and the i-th. What a JSON list holds beside numbers is 0,
 * and numbers where fmp_parse_is_number_at() says so. */
size_t fmp_parse_count(const fmp_parse *parse, fmp_field_id field);
double fmp_parse_number_at(const fmp_parse *parse, fmp_field_id field, size_t i);
bool fmp_parse_is_number_at(const fmp_parse *parse, fmp_field_id field, size_t i);
/* malloc()ed; NULL when out of memory. */
double *fmp_parse_copy_numbers(fmp_parse *parse, fmp_field_id field);
/* A list of one a point that has another length. */
void fmp_parse_fail_length(fmp_parse *parse, fmp_field_id field, size_t found);
/* A number without a fraction, within 2^53: beyond, a double does not tell integers apart. */
bool fmp_parse_integer(json_t *value, int64_t *ret);

/* parse_tensor.c: [n, …shape] as nested lists or base64. */
/* n of a tensor value, as far as it has one: 0 where it is malformed. */
size_t fmp_parse_tensor_rows(json_t *value);
/* malloc()ed [n_rows][dimension], NULL when a rule is broken (that there be a row, and no more than the
 * limit, among them) or out of memory. */
double *fmp_parse_tensor(fmp_parse *parse, fmp_field_id field, size_t n_rows);
/* An array whose shape is known but for its first length. */
typedef struct fmp_array {
    const char *name, *items;            /* "y", "observations": for what is said of it */
    size_t least, most;                  /* of the first length */
    bool on_globe;                       /* points of three numbers may also be {"lat", "lon"} */
    bool are_tokens;                     /* they may be int32 in base64 */
    size_t rank, shape[FM_MAX_RANK + 1]; /* the first as it was found */
} fmp_array;

/* malloc()ed [product of shape], NULL when a rule is broken or out of memory. */
double *fmp_parse_array(fmp_parse *parse, fmp_field_id field, const fmp_array *array);
/* The same of all rows of a tensor, of which there must be n_rows. */
double *fmp_parse_states(fmp_parse *parse, fmp_field_id field, size_t n_rows);

/* The object {"dtype", "shape", "data"} of one dimension, of least to most finite numbers; no values when a
 * rule is broken or out of memory. */
fmp_vector fmp_parse_vector(fmp_parse *parse, fmp_field_id field, json_t *object, size_t least,
                            size_t most);

/* parse_space.c: refuses what is for other spaces than the model's; whether n points [n][dimension] are the model's, which
 * are made exact. */
void fmp_parse_check_space(fmp_parse *parse);
bool fmp_parse_accept_points(fmp_parse *parse, fmp_field_id field, double *points, size_t n);

/* parse_labels.c: one label, or of a field one for every row, malloc()ed; need spec.n_rows. NULL only when out of
 * memory; the labels are not all set when a rule is broken. */
bool fmp_parse_label(fmp_parse *parse, const fm_model_info *model, json_t *value,
                     const char *pointer, int32_t *ret);
int32_t *fmp_parse_labels_of(fmp_parse *parse, fmp_field_id field, const fm_model_info *model);
void fmp_parse_labels(fmp_parse *parse);
/* Those of another field: malloc()ed [n_rows]; NULL without one (the null class), or when a rule is broken. */
int32_t *fmp_parse_label_rows(fmp_parse *parse, fmp_field_id field);

/* parse_guidance.c: what is guided how; then, when the solver is known, what that needs of it. */
void fmp_parse_guidance(fmp_parse *parse);
void fmp_parse_check_guidance(fmp_parse *parse);

/* parse_fields_wanted.c: a list of fields as FM_FIELD_BITs; without one, `fallback`. */
unsigned fmp_parse_wanted_fields(fmp_parse *parse, fmp_field_id field, fm_field_id fallback);
/* Refuses those among them that have no finite value at time t, at this pointer. */
void fmp_parse_check_fields_at(fmp_parse *parse, const char *pointer, double t);

/* parse_velocity.c: the fields of given points and their times; the points have been read. */
void fmp_parse_velocity(fmp_parse *parse);

/* parse_scheduler.c: the path, and the span of the times on it. */
void fmp_parse_scheduler(fmp_parse *parse);

/* parse_start.c: data that noise is added to; then, when the span is known, the time up to which, where grids begin. */
void fmp_parse_start(fmp_parse *parse);
void fmp_parse_start_time(fmp_parse *parse);

/* parse_given.c: tokens that stay as they are. */
void fmp_parse_given(fmp_parse *parse);

/* parse_edit.c, of FMP_API_EDITS: the points, the first of a request; its jobs, the last. */
void fmp_parse_edit_points(fmp_parse *parse);
void fmp_parse_edit_jobs(fmp_parse *parse);
/* Whether its points are data, which is carried to the source first. */
bool fmp_parse_encodes(const fmp_parse *parse);

/* parse_observation.c, of an edit that has one: what is observed, and of how many samples; then, when the solver is
 * known, what solves it. */
void fmp_parse_observation(fmp_parse *parse);
void fmp_parse_check_observation(fmp_parse *parse);

/* parse_schedule.c: the times of solver.schedule, request->schedule.n_steps + 1 of them, malloc()ed; NULL when a rule
 * is broken or out of memory. */
double *fmp_parse_schedule(fmp_parse *parse);

/* Of a model without has_divergence. */
#define FMP_NO_DIVERGENCE                                                                          \
    "needs the divergence, which a potential in bfloat16 does not have (weights.compute float32 "  \
    "does)"

/* parse_density.c: how divergences are found; then, when the grid and the trajectory are known, what densities need
 * of both. */
void fmp_parse_divergence(fmp_parse *parse);
void fmp_parse_check_density(fmp_parse *parse);

/* parse_bound.c: whether a log likelihood is of tokens, and so a bound; then all that it takes. */
bool fmp_parse_bounds(const fmp_parse *parse);
void fmp_parse_bound(fmp_parse *parse);

/* parse_solver.c, then parse_trajectory.c, which needs the grid. */
void fmp_parse_solver(fmp_parse *parse);
void fmp_parse_trajectory(fmp_parse *parse);

#endif
