/* Requests from bytes to a checked value; the pieces are in parse_*.c. */
#include "proto/request.h"

#include "proto/base64.h"
#include "proto/lat_lon.h"
#include "proto/observation.h"
#include "proto/parse.h"
#include "proto/png.h"
#include "proto/stages.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fmp_parse_fail_at(fmp_parse *parse, const char *pointer, const char *format, ...)
{
    char whole[FMP_POINTER_BYTES];
    char detail[FMP_DETAIL_BYTES];
    (void)snprintf(whole, sizeof whole, "%s%s", parse->prefix, pointer);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    fmp_problem_add(parse->problem, whole, "%s", detail);
}

void fmp_parse_fail(fmp_parse *parse, fmp_field_id field, const char *format, ...)
{
    char detail[FMP_DETAIL_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    const char *prefix = parse->prefix;
    parse->prefix = parse->from_defaults[field] ? "/defaults" : prefix;
    fmp_parse_fail_at(parse, fmp_field_at(field)->pointer, "%s", detail);
    parse->prefix = prefix;
}

void fmp_parse_fail_length(fmp_parse *parse, fmp_field_id field, size_t found)
{
    size_t n_rows = parse->request->spec.n_rows;
    if (n_rows == 1) {
        fmp_parse_fail(parse, field, "must have one entry; it has %zu", found);
    } else {
        fmp_parse_fail(parse, field, "must have %zu entries, one a point; it has %zu", n_rows,
                       found);
    }
}

void *fmp_parse_alloc(fmp_parse *parse, size_t count, size_t element_bytes)
{
    /* calloc() checks the product; at least a byte, so that NULL means failure alone. */
    void *memory = calloc(count > 0 ? count : 1, element_bytes);
    parse->out_of_memory = parse->out_of_memory || memory == NULL;
    return memory;
}

/* jansson says nothing at all where its own memory ran out before it looked at the text. Where it runs
 * out within, it calls that bad syntax, and so do we, unknowing. */
static bool lacked_memory(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_out_of_memory || code == json_error_unknown;
}

/* The body as JSON. An empty one is NULL without a problem where that may be. */
static bool load_body(fmp_parse *parse, const char *body, size_t length)
{
    if (length == 0 && parse->route == FMP_API_SAMPLE) {
        return true;
    }
    json_error_t error = {0}; /* jansson leaves the code alone where it has no text */
    parse->body = json_loadb(body, length, FMP_PARSE_JSON | JSON_DECODE_ANY, &error);
    if (parse->body == NULL) {
        if (lacked_memory(&error)) {
            parse->out_of_memory = true;
        } else {
            /* What jansson says of U+0000 names an option of its own. */
            bool is_nul = json_error_code(&error) == json_error_null_character;
            fmp_problem_set(parse->problem, FMP_PROBLEM_MALFORMED,
                            "the body is not JSON: line %d, column %d: %s", error.line,
                            error.column, is_nul ? "\\u0000 is not allowed" : error.text);
        }
        return false;
    }
    int line = 0, column = 0;
    if (fmp_parse_wide_integer(body, length, &line, &column)) {
        fmp_problem_set(parse->problem, FMP_PROBLEM_MALFORMED,
                        "the body is not JSON: line %d, column %d: an integer beyond 64 bits", line,
                        column);
        return false;
    }
    if (!json_is_object(parse->body)) {
        fmp_parse_fail_at(parse, "", "must be a JSON object");
        return false;
    }
    return true;
}

/* The model's defaults. They were checked when it was loaded, so all that can go wrong later is memory,
 * which jansson does not always call by its name. */
static bool load_defaults(fmp_parse *parse)
{
    json_error_t error = {0};
    const char *text = parse->model->defaults_json;
    if (text == NULL) {
        return true;
    }
    parse->defaults = json_loads(text, FMP_PARSE_JSON, &error);
    if (json_is_object(parse->defaults)) {
        return true;
    }
    if (parse->defaults_only && !lacked_memory(&error)) {
        fmp_parse_fail_at(parse, "", "must be a JSON object");
    } else {
        parse->out_of_memory = true;
    }
    return false;
}

/* num_samples, else the length of x0, of start.x or of a list of labels, else 1; within 1 and the limit. */
static size_t count_rows(const fmp_parse *parse)
{
    int64_t count = 1;
    json_t *labels = parse->values[FMP_FIELD_LABELS];
    if (parse->values[FMP_FIELD_NUM_SAMPLES] != NULL) {
        (void)fmp_parse_integer(parse->values[FMP_FIELD_NUM_SAMPLES], &count);
        return (size_t)count;
    }
    size_t found = 1;
    if (parse->values[FMP_FIELD_GIVEN_X] != NULL) {
        found = fmp_parse_tensor_rows(parse->values[FMP_FIELD_GIVEN_X]);
    } else if (parse->values[FMP_FIELD_X0] != NULL) {
        found = fmp_parse_tensor_rows(parse->values[FMP_FIELD_X0]);
    } else if (parse->values[FMP_FIELD_START_X] != NULL) {
        found = fmp_parse_tensor_rows(parse->values[FMP_FIELD_START_X]);
    } else if (json_is_array(labels)) {
        found = json_array_size(labels);
        if (found < 1 || found > parse->limits->max_samples) {
            found = 1; /* the list is refused as too long or short for it */
        }
    }
    return found < 1 || found > parse->limits->max_samples ? 1 : found;
}

static void read_seed(fmp_parse *parse, uint64_t drawn_seed)
{
    json_t *value = parse->values[FMP_FIELD_SEED];
    fmp_request *request = parse->request;
    int64_t integer = 0;
    request->spec.seed = drawn_seed;
    request->seed_is_string = json_is_string(value);
    if (request->seed_is_string) {
        request->spec.seed = strtoull(json_string_value(value), NULL, 10);
    } else if (value != NULL && fmp_parse_integer(value, &integer)) {
        request->spec.seed = (uint64_t)integer;
    }
}

/* The field's word: routes that end in samples have their own row of it. */
static fmp_encoding read_encoding(fmp_parse *parse)
{
    bool is_samples = (parse->route & FMP_API_SAMPLES) != 0;
    fmp_field_id field = is_samples ? FMP_FIELD_ENCODING : FMP_FIELD_VELOCITY_ENCODING;
    const char *word = json_string_value(parse->values[field]);
    if (word == NULL || strcmp(word, "json") == 0) {
        return FMP_ENCODING_JSON;
    }
    if (strcmp(word, "base64") == 0) {
        return FMP_ENCODING_BASE64;
    }
    fmp_image ignored;
    if (!fmp_image_of(parse->model, &ignored)) {
        fmp_parse_fail(parse, field,
                       "must be json or base64: the model's samples are no images of 1 or 3 "
                       "channels");
    }
    return FMP_ENCODING_PNG;
}

/* What both routes have. */
static void read_common(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    fmp_encoding encoding = read_encoding(parse);
    request->encoding = parse->accepted == FMP_ENCODING_JSON ? encoding : parse->accepted;
    const fmp_limits *limits = parse->limits;
    request->timeout_ms = limits->default_timeout_ms < limits->max_timeout_ms
                              ? limits->default_timeout_ms
                              : limits->max_timeout_ms;
    int64_t timeout_ms = 0;
    if (parse->values[FMP_FIELD_TIMEOUT_MS] != NULL &&
        fmp_parse_integer(parse->values[FMP_FIELD_TIMEOUT_MS], &timeout_ms)) {
        request->timeout_ms = (uint64_t)timeout_ms;
    }
    fmp_parse_check_space(parse);
    fmp_parse_labels(parse);
    fmp_parse_guidance(parse);
    fmp_parse_divergence(parse);
}

static void read_stats(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    json_t *list = parse->values[FMP_FIELD_STATS];
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        request->wants_straightness |= strcmp(name, "straightness") == 0;
        request->wants_kinetic_energy |= strcmp(name, "kinetic_energy") == 0;
        request->wants_curvature |= strcmp(name, "curvature") == 0;
    }
    request->spec.measures_path = list != NULL;
}

/* What integrates: all but …/velocity. */
static void read_flow(fmp_parse *parse)
{
    parse->request->spec.task = FM_TASK_SAMPLE;
    fmp_parse_scheduler(parse);
    fmp_parse_start_time(parse);
    fmp_parse_solver(parse);
    fmp_parse_trajectory(parse);
    fmp_parse_check_density(parse);
    fmp_parse_check_guidance(parse);
    read_stats(parse);
}

static void read_sample(fmp_parse *parse, uint64_t drawn_seed)
{
    fmp_request *request = parse->request;
    fmp_parse_fields(parse);
    request->spec.n_rows = count_rows(parse);
    read_seed(parse, drawn_seed);
    read_common(parse);
    if (parse->values[FMP_FIELD_X0] != NULL) {
        request->x = fmp_parse_states(parse, FMP_FIELD_X0, request->spec.n_rows);
        request->spec.x = request->x;
    }
    fmp_parse_start(parse);
    fmp_parse_given(parse);
    read_flow(parse);
}

/* Points that are given: of …/encode x1, else x. */
static void read_points(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    if ((parse->route & FMP_API_EDITS) != 0) {
        fmp_parse_edit_points(parse);
        return;
    }
    fmp_field_id field = parse->route == FMP_API_ENCODE ? FMP_FIELD_X1 : FMP_FIELD_X;
    request->spec.n_rows = 1;
    if (parse->values[field] != NULL) {
        size_t found = fmp_parse_tensor_rows(parse->values[field]);
        request->spec.n_rows = found < 1 || found > parse->limits->max_samples ? 1 : found;
        request->x = fmp_parse_states(parse, field, request->spec.n_rows);
        request->spec.x = request->x;
    }
}

static void repeat_labels(fmp_parse *parse, int32_t **labels, size_t n_draws)
{
    if (*labels == NULL) {
        return;
    }
    size_t n_rows = parse->request->spec.n_rows;
    int32_t *repeated = fmp_parse_alloc(parse, n_rows, sizeof *repeated);
    for (size_t i = 0; repeated != NULL && i < n_rows; i++) {
        repeated[i] = (*labels)[i / n_draws];
    }
    free(*labels);
    *labels = repeated;
}

/* Every point becomes so many rows, and so does its label. */
static void read_draws(fmp_parse *parse)
{
    fmp_request *request = parse->request;
    fmp_image ignored;
    int64_t draws = 0;
    if (!fmp_parse_integer(parse->values[FMP_FIELD_DEQUANTIZE], &draws)) {
        return;
    }
    if (!fmp_image_of(parse->model, &ignored)) {
        fmp_parse_fail(parse, FMP_FIELD_DEQUANTIZE, "is for images of 1 or 3 channels");
        return;
    }
    size_t n_points = request->spec.n_rows, n_draws = (size_t)draws;
    if (n_points > parse->limits->max_samples / n_draws) {
        fmp_parse_fail(parse, FMP_FIELD_DEQUANTIZE,
                       "must be at most %zu for %zu points: the two multiplied are at most %zu",
                       parse->limits->max_samples / n_points, n_points, parse->limits->max_samples);
        return;
    }
    request->spec.draws = n_draws;
    request->spec.n_rows = n_points * n_draws;
    repeat_labels(parse, &request->labels, n_draws);
    repeat_labels(parse, &request->negative_labels, n_draws);
    repeat_labels(parse, &request->classifier_labels, n_draws);
    request->spec.labels = request->labels;
    request->spec.guidance.negative_labels = request->negative_labels;
    request->spec.guidance.classifier_labels = request->classifier_labels;
}

static bool answer_fits(const fmp_request *request, const fm_model_info *model,
                        const fmp_limits *limits, fmp_problem *problem)
{
    size_t needed = fmp_request_answer_bytes(request, model);
    size_t limit = limits->max_answer_bytes;
    if (needed == SIZE_MAX) {
        fmp_problem_set(problem, FMP_PROBLEM_TOO_LARGE,
                        "the answer would be more than its format holds; ask for fewer samples");
    } else if (needed > limit) {
        fmp_problem_set(
            problem, FMP_PROBLEM_TOO_LARGE,
            "the answer would have about %zu bytes, over the limit of %zu; ask for fewer "
            "samples or times, or for base64",
            needed, limit);
    }
    return needed != SIZE_MAX && needed <= limit;
}

/* Everything allocated ends here but the request. True: no rule is broken. */
static bool finish(fmp_parse *parse, bool loaded)
{
    bool broken = !loaded || parse->problem->detail[0] != '\0';
    if (!broken && !parse->out_of_memory && !parse->defaults_only) {
        broken = !answer_fits(parse->request, parse->model, parse->limits, parse->problem);
    }
    if (parse->out_of_memory) {
        fmp_problem_set(parse->problem, FMP_PROBLEM_OUT_OF_MEMORY,
                        "no memory to read the request now");
        broken = true;
    }
    json_decref(parse->body);
    json_decref(parse->defaults);
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        free(parse->vectors[i].values);
    }
    if (broken) {
        fmp_request_done(parse->request);
    }
    return !broken;
}

/* A parser of one request; empties what the caller gave. */
static fmp_parse begin(fmp_api_route route, const fm_model_info *model, const fmp_limits *limits,
                       fmp_request *ret, fmp_problem *problem)
{
    *ret = (fmp_request){.route = route};
    *problem = (fmp_problem){0};
    return (fmp_parse){.model = model,
                       .limits = limits,
                       .route = route,
                       .prefix = "",
                       .problem = problem,
                       .request = ret};
}

/* Routes that are made for points of flat space; the others say field by field what is not for them. */
static bool has_route(const fmp_parse *parse)
{
    bool edits = (parse->route & FMP_API_EDITS) != 0;
    bool goes_back = parse->route == FMP_API_ENCODE || parse->route == FMP_API_VELOCITY;
    bool lacks = (edits && !parse->model->geometry->is_flat) ||
                 (goes_back && parse->model->has_tokens) ||
                 (parse->route == FMP_API_LOG_LIKELIHOOD && parse->model->has_tokens &&
                  !fmp_model_is_text(parse->model));
    if (lacks) {
        fmp_problem_set(parse->problem, FMP_PROBLEM_INVALID_REQUEST,
                        "%s does not take this: its points are of the space %s, see its supports",
                        parse->model->name, parse->model->space);
    }
    return !lacks;
}

/* A classifier answers no request of its own. */
static bool has_velocity(const fmp_parse *parse)
{
    if (parse->model->is_classifier) {
        fmp_problem_set(parse->problem, FMP_PROBLEM_INVALID_REQUEST,
                        "%s is a classifier: it guides other models (guidance.classifier) and has "
                        "no velocity itself",
                        parse->model->name);
    }
    return !parse->model->is_classifier;
}

bool fmp_request_parse_sample(const char *body, size_t length, const fm_model_info *model,
                              const fmp_limits *limits, fmp_encoding accepted, uint64_t drawn_seed,
                              fmp_request *ret, fmp_problem *problem)
{
    fmp_parse parse = begin(FMP_API_SAMPLE, model, limits, ret, problem);
    parse.accepted = accepted;
    bool loaded = has_velocity(&parse) && load_body(&parse, body, length) && load_defaults(&parse);
    if (loaded) {
        read_sample(&parse, drawn_seed);
    }
    return finish(&parse, loaded);
}

bool fmp_request_parse_points(fmp_api_route route, const char *body, size_t length,
                              const fm_model_info *model, const fmp_limits *limits,
                              uint64_t drawn_seed, fmp_request *ret, fmp_problem *problem)
{
    fmp_parse parse = begin(route, model, limits, ret, problem);
    bool loaded = has_velocity(&parse) && has_route(&parse) && load_body(&parse, body, length);
    if (loaded) {
        fmp_parse_fields(&parse);
        read_points(&parse);
        read_seed(&parse, drawn_seed);
        read_common(&parse);
        if (route == FMP_API_VELOCITY) {
            fmp_parse_velocity(&parse);
        } else if (fmp_parse_bounds(&parse)) {
            fmp_parse_bound(&parse);
        } else {
            read_draws(&parse);
            read_flow(&parse);
        }
        if ((route & FMP_API_EDITS) != 0) {
            fmp_parse_edit_jobs(&parse);
        }
    }
    return finish(&parse, loaded);
}

bool fmp_request_check_defaults(const fm_model_info *model, const fmp_limits *limits,
                                fmp_problem *problem)
{
    fmp_request request;
    fmp_parse parse = begin(FMP_API_SAMPLE, model, limits, &request, problem);
    parse.prefix = "/defaults";
    parse.defaults_only = true;
    bool loaded = load_defaults(&parse);
    if (loaded) {
        read_sample(&parse, 0);
    }
    bool usable = finish(&parse, loaded);
    fmp_request_done(usable ? &request : NULL);
    return usable;
}

bool fmp_request_accept(fmp_request *request, const fm_model_info *model, const fmp_limits *limits,
                        fmp_encoding accepted, fmp_problem *problem)
{
    request->encoding = accepted == FMP_ENCODING_JSON ? request->encoding : accepted;
    if (answer_fits(request, model, limits, problem)) {
        return true;
    }
    fmp_request_done(request);
    return false;
}

void fmp_request_done(fmp_request *request)
{
    if (request == NULL) {
        return;
    }
    free(request->grid);
    free(request->output_times);
    free(request->x);
    free(request->t);
    free(request->labels);
    free(request->path);
    free(request->diffusion_t);
    free(request->diffusion_values);
    free(request->guidance_t);
    free(request->guidance_values);
    free(request->negative_labels);
    free(request->classifier_labels);
    free(request->given);
    fm_path_table_free(request->path_table);
    fmp_stages_free(request->stages);
    fmp_observation_free(request->observation);
    *request = (fmp_request){0};
}
