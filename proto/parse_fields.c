/* Body and defaults to values: unknown, refused, mistyped and out-of-bounds fields, then merging. */
#include "proto/number.h"
#include "proto/parse.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where in which document the fields are being read. */
typedef struct field_reader {
    fmp_parse *parse;
    json_t *values[FMP_FIELD_COUNT];
    bool present[FMP_FIELD_COUNT];
    fmp_vector vectors[FMP_FIELD_COUNT];
} field_reader;

bool fmp_parse_integer(json_t *value, int64_t *ret)
{
    double number = json_number_value(value);
    if (!json_is_number(value) || number != trunc(number) || fabs(number) > 0x1p53) {
        return false;
    }
    *ret = (int64_t)number;
    return true;
}

static bool seed_obeys(json_t *value)
{
    int64_t integer = 0;
    if (!json_is_string(value)) {
        return fmp_parse_integer(value, &integer) && integer >= 0 && integer <= FMP_SEED_MAX;
    }
    static const char largest[] = "18446744073709551615";
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    if (length == 0 || length > sizeof largest - 1 || strspn(text, "0123456789") != length) {
        return false;
    }
    if (text[0] == '0') {
        return length == 1;
    }
    return length < sizeof largest - 1 || memcmp(text, largest, length) <= 0;
}

static bool within(const fmp_field *field, const fmp_limits *limits, double value)
{
    double maximum = fmp_field_maximum(field, limits);
    return (field->minimum == 0 && maximum == 0) || (value >= field->minimum && value <= maximum);
}

static bool integer_obeys(const fmp_field *field, const fmp_limits *limits, json_t *value)
{
    int64_t integer = 0;
    return fmp_parse_integer(value, &integer) && within(field, limits, (double)integer);
}

static size_t count_of(const fmp_vector *vector, json_t *list)
{
    return vector->values != NULL ? vector->n : json_array_size(list);
}

static double number_of(const fmp_vector *vector, json_t *list, size_t i)
{
    return vector->values != NULL ? vector->values[i] : json_number_value(json_array_get(list, i));
}

static bool is_number_of(const fmp_vector *vector, json_t *list, size_t i)
{
    return vector->values != NULL || json_is_number(json_array_get(list, i));
}

size_t fmp_parse_count(const fmp_parse *parse, fmp_field_id field)
{
    return count_of(&parse->vectors[field], parse->values[field]);
}

double fmp_parse_number_at(const fmp_parse *parse, fmp_field_id field, size_t i)
{
    return number_of(&parse->vectors[field], parse->values[field], i);
}

bool fmp_parse_is_number_at(const fmp_parse *parse, fmp_field_id field, size_t i)
{
    return is_number_of(&parse->vectors[field], parse->values[field], i);
}

double *fmp_parse_copy_numbers(fmp_parse *parse, fmp_field_id field)
{
    size_t n = fmp_parse_count(parse, field);
    double *values = fmp_parse_alloc(parse, n, sizeof *values);
    for (size_t i = 0; values != NULL && i < n; i++) {
        values[i] = fmp_parse_number_at(parse, field, i);
    }
    return values;
}

static bool numbers_obey(const fmp_field *field, const fmp_limits *limits, const fmp_vector *vector,
                         json_t *list)
{
    size_t n = count_of(vector, list);
    bool obey = within(field, limits, (double)n);
    for (size_t i = 0; obey && i < n; i++) {
        obey = is_number_of(vector, list, i);
    }
    return obey;
}

/* Strictly ascending, or descending with the grid of a route that goes backward. */
static bool times_obey(const fmp_field *field, const fmp_parse *parse, const fmp_vector *vector,
                       json_t *list)
{
    bool obey = numbers_obey(field, parse->limits, vector, list);
    bool descend = field->along_grid && fmp_parse_descends(parse);
    for (size_t i = 1; obey && i < count_of(vector, list); i++) {
        double step = number_of(vector, list, i) - number_of(vector, list, i - 1);
        obey = descend ? step < 0 : step > 0;
    }
    return obey;
}

/* Whether a value is of its row's type and within its bounds. Choices are looked at apart.
 *   vector  what the value holds, where that is numbers in base64 */
static bool obeys(const fmp_field *field, const fmp_parse *parse, const fmp_vector *vector,
                  json_t *value)
{
    const fmp_limits *limits = parse->limits;
    int64_t label = 0;
    int64_t channels = 0;
    switch (field->type) {
    case FMP_TYPE_OBJECT:
        return json_is_object(value);
    case FMP_TYPE_INTEGER:
        return integer_obeys(field, limits, value);
    case FMP_TYPE_NUMBER:
        return json_is_number(value) && within(field, limits, json_number_value(value));
    case FMP_TYPE_POSITIVE:
        return json_is_number(value) && json_number_value(value) > 0;
    case FMP_TYPE_SWITCH:
        return json_is_boolean(value) || json_is_object(value);
    case FMP_TYPE_BOOLEAN:
        return json_is_boolean(value);
    case FMP_TYPE_CHOICE:
        return json_is_string(value);
    case FMP_TYPE_CHOICES:
        return json_array_size(value) > 0;
    case FMP_TYPE_METHOD:
        return json_is_string(value) && fm_method_find(json_string_value(value)) != NULL;
    case FMP_TYPE_SEED:
        return seed_obeys(value);
    case FMP_TYPE_LABELS:
        return fmp_parse_integer(value, &label) || json_is_string(value) || json_is_null(value) ||
               json_is_array(value);
    case FMP_TYPE_TENSOR:
        return json_is_array(value) || json_is_object(value);
    case FMP_TYPE_TIMES:
        return (json_is_array(value) || vector->values != NULL) &&
               times_obey(field, parse, vector, value);
    case FMP_TYPE_NUMBERS:
        return (json_is_array(value) || vector->values != NULL) &&
               numbers_obey(field, limits, vector, value);
    case FMP_TYPE_NUMBER_OR_NUMBERS:
        return json_is_number(value) || json_is_array(value) || vector->values != NULL;
    case FMP_TYPE_CHANNELS:
        return json_is_string(value) ? strcmp(json_string_value(value), "all") == 0
                                     : fmp_parse_integer(value, &channels) && channels >= 1;
    case FMP_TYPE_MODEL:
        return json_is_string(value) &&
               fm_model_name_is_valid(json_string_value(value), json_string_length(value));
    case FMP_TYPE_ANY:
        break;
    }
    return false;
}

static bool is_inert(fmp_parse *parse, const fmp_field *field, json_t *value)
{
    if (field->inert == NULL) {
        return false;
    }
    json_t *inert = json_loads(field->inert, FMP_PARSE_JSON | JSON_DECODE_ANY, NULL);
    parse->out_of_memory = parse->out_of_memory || inert == NULL;
    bool equal = json_equal(inert, value) != 0;
    json_decref(inert);
    return equal;
}

static bool choice_obeys(field_reader *reader, const fmp_field *field, const char *pointer,
                         json_t *value)
{
    const char *word = json_string_value(value);
    if (word != NULL && fmp_words_have(field->choices, word)) {
        return true;
    }
    char list[160];
    fmp_words_join(field->choices, list, sizeof list);
    fmp_parse_fail_at(reader->parse, pointer, "must be one of %s", list);
    return false;
}

static bool choices_obey(field_reader *reader, const fmp_field *field, json_t *value)
{
    if (field->type == FMP_TYPE_CHOICE) {
        return choice_obeys(reader, field, field->pointer, value);
    }
    bool obey = true;
    for (size_t i = 0; i < json_array_size(value); i++) {
        char pointer[64];
        (void)snprintf(pointer, sizeof pointer, "%s/%zu", field->pointer, i);
        obey = choice_obeys(reader, field, pointer, json_array_get(value, i)) && obey;
    }
    return obey;
}

static bool is_list_of_numbers(const fmp_field *field)
{
    return field->type == FMP_TYPE_TIMES || field->type == FMP_TYPE_NUMBERS ||
           field->type == FMP_TYPE_NUMBER_OR_NUMBERS;
}

static void read_field(field_reader *reader, fmp_field_id id, json_t *value)
{
    const fmp_field *field = fmp_field_at(id);
    const fmp_limits *limits = reader->parse->limits;
    if (field->later) {
        if (!is_inert(reader->parse, field, value)) {
            fmp_parse_fail(reader->parse, id, "is not supported by this release");
        }
        return;
    }
    reader->present[id] = true;
    if (is_list_of_numbers(field) && json_is_object(value)) {
        size_t least = field->minimum > 1 ? (size_t)field->minimum : 1;
        size_t most = (size_t)fmp_field_maximum(field, limits);
        reader->vectors[id] = fmp_parse_vector(reader->parse, id, value, least, most);
        if (reader->vectors[id].values == NULL) {
            return;
        }
    }
    if (!obeys(field, reader->parse, &reader->vectors[id], value)) {
        char rule[256];
        fmp_field_rule(field, limits, rule, sizeof rule);
        const char *ascending = strstr(rule, "ascending");
        if (field->along_grid && fmp_parse_descends(reader->parse) && ascending != NULL) {
            fmp_parse_fail(reader->parse, id, "%.*sdescending%s", (int)(ascending - rule), rule,
                           ascending + strlen("ascending"));
        } else {
            fmp_parse_fail(reader->parse, id, "%s", rule);
        }
    } else if (field->choices == NULL || choices_obey(reader, field, value)) {
        reader->values[id] = value;
    }
}

/* One reference token of a JSON pointer, RFC 6901 section 3. */
static void append_token(char *pointer, size_t size_bytes, const char *key)
{
    size_t used = strlen(pointer);
    if (used + 1 < size_bytes) {
        pointer[used++] = '/';
    }
    for (; *key != '\0' && used + 2 < size_bytes; key++) {
        if (*key == '~' || *key == '/') {
            pointer[used++] = '~';
            pointer[used++] = *key == '~' ? '0' : '1';
        } else {
            pointer[used++] = *key;
        }
    }
    pointer[used] = '\0';
}

/* The members of the body ("") or of one of its objects ("/solver"). */
static void read_members(field_reader *reader, const char *parent, json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        char pointer[FMP_POINTER_BYTES];
        (void)snprintf(pointer, sizeof pointer, "%s", parent);
        append_token(pointer, sizeof pointer, key);
        fmp_field_id id = fmp_field_find(reader->parse->route, pointer, strlen(pointer));
        if (id == FMP_FIELD_COUNT) {
            fmp_parse_fail_at(reader->parse, pointer, "is not a field of this request");
            continue;
        }
        read_field(reader, id, value);
        fmp_type type = fmp_field_at(id)->type;
        if ((type == FMP_TYPE_OBJECT || type == FMP_TYPE_SWITCH) && json_is_object(value)) {
            read_members(reader, pointer, value);
        }
    }
}

static bool is_within(fmp_field_id id, fmp_field_id object)
{
    const char *pointer = fmp_field_at(object)->pointer;
    size_t length = strlen(pointer);
    const char *inner = fmp_field_at(id)->pointer;
    return strncmp(inner, pointer, length) == 0 && inner[length] == '/';
}

static bool is_grid_key(fmp_field_id id)
{
    return id == FMP_FIELD_SOLVER_STEPS || id == FMP_FIELD_SOLVER_STEP_SIZE ||
           id == FMP_FIELD_SOLVER_TIME_GRID || id == FMP_FIELD_SOLVER_SCHEDULE ||
           is_within(id, FMP_FIELD_SOLVER_SCHEDULE);
}

static bool has_grid_key(const field_reader *body)
{
    return body->present[FMP_FIELD_SOLVER_STEPS] || body->present[FMP_FIELD_SOLVER_STEP_SIZE] ||
           body->present[FMP_FIELD_SOLVER_TIME_GRID] || body->present[FMP_FIELD_SOLVER_SCHEDULE];
}

/* Objects that a request gives as a whole: each of their types has its own keys, or the keys exclude each other. */
static const fmp_field_id wholes[] = {
    FMP_FIELD_SOLVER_DIFFUSION,    FMP_FIELD_SCHEDULER,           FMP_FIELD_LOG_LIKELIHOOD,
    FMP_FIELD_TRAJECTORY,          FMP_FIELD_GUIDANCE_SCHEDULE,   FMP_FIELD_GUIDANCE_CONDITIONS,
    FMP_FIELD_GUIDANCE_PROJECTION, FMP_FIELD_GUIDANCE_CLASSIFIER,
};

/* Where the flow starts is said in one way, whichever the model's default is. */
static bool says_start(const field_reader *body)
{
    return body->present[FMP_FIELD_X0] || body->present[FMP_FIELD_START];
}

/* Whether a request that is silent about a field takes the model's default of it. */
static bool takes_default(const field_reader *body, fmp_field_id id)
{
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        if (is_within(id, wholes[i]) && body->present[wholes[i]]) {
            return false;
        }
    }
    if (id == FMP_FIELD_SOLVER_TIME_GRID && body->present[FMP_FIELD_START]) {
        return false; /* it begins elsewhere */
    }
    if (id == FMP_FIELD_X0 || id == FMP_FIELD_START || is_within(id, FMP_FIELD_START)) {
        return !says_start(body);
    }
    if (is_within(id, FMP_FIELD_SOLVER)) {
        return !body->present[FMP_FIELD_SOLVER_METHOD] && !(is_grid_key(id) && has_grid_key(body));
    }
    if (id == FMP_FIELD_NUM_SAMPLES) {
        json_t *labels = body->values[FMP_FIELD_LABELS];
        return !says_start(body) && !json_is_array(labels);
    }
    return true;
}

static void merge(fmp_parse *parse, const field_reader *body, const field_reader *defaults)
{
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const field_reader *source = body, *other = defaults;
        if (!body->present[i] && defaults->present[i] && takes_default(body, (fmp_field_id)i)) {
            source = defaults;
            other = body;
        }
        free(other->vectors[i].values);
        parse->vectors[i] = source->vectors[i];
        parse->values[i] = source->values[i];
        parse->present[i] = source->present[i];
        parse->from_defaults[i] = source == defaults;
    }
}

void fmp_parse_fields(fmp_parse *parse)
{
    field_reader body = {.parse = parse};
    field_reader defaults = {.parse = parse};
    if (parse->defaults != NULL) {
        const char *prefix = parse->prefix;
        parse->prefix = "/defaults";
        read_members(&defaults, "", parse->defaults);
        parse->prefix = prefix;
    }
    if (parse->body != NULL) {
        read_members(&body, "", parse->body);
    }
    merge(parse, &body, &defaults);
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at(i);
        if (field->required && (field->routes & parse->route) != 0 && !parse->present[i]) {
            fmp_parse_fail(parse, (fmp_field_id)i, "is required");
        }
    }
}
