/* The table of request fields (api.def), for the parser, OpenAPI and the command line's flags. */
#ifndef FMP_API_H
#define FMP_API_H

#include "proto/request.h"

/* The largest seed that is a JSON integer, 2^53 - 1: every JSON reader keeps it exactly. */
#define FMP_SEED_MAX       9007199254740991
#define FMP_SEED_MAX_TEXT  FMP_TEXT_OF(FMP_SEED_MAX) /* as a string literal */
#define FMP_TEXT_OF(macro) FMP_LITERAL(macro)
#define FMP_LITERAL(token) #token

typedef enum fmp_type {
    FMP_TYPE_OBJECT,
    FMP_TYPE_INTEGER,
    FMP_TYPE_NUMBER,
    FMP_TYPE_POSITIVE, /* a number above 0 */
    FMP_TYPE_BOOLEAN,
    FMP_TYPE_SWITCH,            /* a boolean, or an object, which means true */
    FMP_TYPE_CHOICE,            /* one of choices */
    FMP_TYPE_CHOICES,           /* a list of one or more of choices */
    FMP_TYPE_METHOD,            /* a name of fm_method_find() */
    FMP_TYPE_SEED,              /* an integer to 2^53 - 1, or a decimal string to 2^64 - 1 */
    FMP_TYPE_LABELS,            /* an integer, a name or null, or a list of them */
    FMP_TYPE_TENSOR,            /* nested lists, or {"dtype", "shape", "data"} */
    FMP_TYPE_TIMES,             /* strictly ascending numbers: a list, or base64 as of a tensor */
    FMP_TYPE_NUMBERS,           /* numbers: a list, or base64 */
    FMP_TYPE_NUMBER_OR_NUMBERS, /* a number, or a list of them, or base64 */
    FMP_TYPE_CHANNELS,          /* "all", or a count of at least 1 */
    FMP_TYPE_MODEL,             /* the name of a model */
    FMP_TYPE_ANY,               /* of fields that are not served */
} fmp_type;

/* A bound that the configuration sets. */
typedef enum fmp_limit {
    FMP_LIMIT_NONE,
    FMP_LIMIT_SAMPLES,
    FMP_LIMIT_STEPS,
    FMP_LIMIT_GRID_POINTS, /* steps + 1 */
    FMP_LIMIT_EVALUATIONS,
    FMP_LIMIT_TRAJECTORY_POINTS,
    FMP_LIMIT_TIMEOUT_MS,
} fmp_limit;

typedef struct fmp_field {
    const char *pointer; /* "/solver/steps" */
    fmp_api_route routes;
    fmp_type type;
    /* Of the value, or of a list's length. Both 0: no bounds; limit replaces maximum. */
    double minimum, maximum;
    fmp_limit limit;
    const char *choices;  /* words */
    const char *fallback; /* the default, in words or as JSON; NULL: none */
    const char *inert;    /* with later: the JSON value that means "not wanted", or NULL */
    bool required;
    bool along_grid; /* of TIMES: they run as the route's grids do */
    bool later;      /* in the contract, refused by this release */
    const char *doc;
} fmp_field;

typedef enum fmp_field_id {
#define FMP_FIELD(id, ...) FMP_FIELD_##id,
#include "proto/api.def"
#undef FMP_FIELD
    FMP_FIELD_COUNT
} fmp_field_id;

/* Rows by index, 0 to FMP_FIELD_COUNT - 1. Static data. */
const fmp_field *fmp_field_at(size_t index);
/* The row of this pointer (of `length` bytes), or FMP_FIELD_COUNT. */
fmp_field_id fmp_field_find(fmp_api_route route, const char *pointer, size_t length);
/* The last part of the pointer: "steps". */
const char *fmp_field_name(const fmp_field *field);
/* The upper bound under these limits; 0: none. */
double fmp_field_maximum(const fmp_field *field, const fmp_limits *limits);
/* The sentence that a value of the wrong type or out of bounds is answered with: "must be an integer
 * from 1 to 10000".
 *   ret  [size_bytes], NUL-terminated, cut to fit */
void fmp_field_rule(const fmp_field *field, const fmp_limits *limits, char *ret, size_t size_bytes);

/* Whether word is one of the words of a list that spaces divide (or NULL, which has none). */
bool fmp_words_have(const char *words, const char *word);
/* Such a list for people: "json, base64".
 *   ret  [size_bytes], NUL-terminated, cut to fit */
void fmp_words_join(const char *words, char *ret, size_t size_bytes);

#endif
