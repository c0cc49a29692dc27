/* The OpenAPI 3.1 document: paths from routes.def, problems from problem.def, bodies from api.def. */
#include "proto/openapi.h"

#include "engine/fm.h"
#include "proto/json.h"
#include "proto/openapi_schema.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef enum route_id {
#define FMP_ROUTE(id, method, path, summary) ROUTE_##id,
#include "proto/routes.def"
#undef FMP_ROUTE
    ROUTE_COUNT
} route_id;

/* What the document says of a route beside its row. */
typedef struct route_row {
    const char *id, *method, *path, *summary;
    const char *request;         /* schema of the body, or NULL */
    const char *request_example; /* JSON */
    const char *answer;          /* schema of the 200, or NULL: plain text */
    const char *answer_example;  /* JSON, or NULL */
    bool is_work;                /* also .npy and dry_run, and every status of the queue */
    bool has_no_tensor;          /* but no .npy */
    bool has_pictures;           /* also .png, of image models */
    bool takes_any_accept;       /* never answers 406 */
} route_row;

#define JSON_TEXT(...) #__VA_ARGS__

static const route_row facts[ROUTE_COUNT] = {
    [ROUTE_SAMPLE] = {.request = "SampleRequest",
                      .request_example = JSON_TEXT({
                          "num_samples" : 2,
                          "seed" : 7,
                          "solver" : {"method" : "midpoint", "steps" : 2},
                          "trajectory" : {"points" : 3}
                      }),
                      .answer = "SampleAnswer",
                      .answer_example = JSON_TEXT({
                          "id" : "01JDEXAMPLE",
                          "model" : "two-moons",
                          "model_version" : "sha256:0f1e",
                          "seed" : 7,
                          "samples" : [ [ 0.12, -0.55 ], [ 1.31, 0.02 ] ],
                          "trajectory" : {
                              "times" : [ 0, 0.5, 1 ],
                              "x" : [
                                  [ [ 0.2, -1.1 ], [ 0.15, -0.8 ], [ 0.12, -0.55 ] ],
                                  [ [ 2.3, 0.4 ], [ 1.8, 0.2 ], [ 1.31, 0.02 ] ]
                              ]
                          },
                          "solver" : {
                              "method" : "midpoint",
                              "steps" : 2,
                              "max_evaluations" : 10000,
                              "time_grid" : [ 0, 0.5, 1 ]
                          },
                          "stats" : {
                              "evaluations" : [ 4, 4 ],
                              "accepted" : [ 2, 2 ],
                              "rejected" : [ 0, 0 ],
                              "status" : [ "ok", "ok" ],
                              "t" : [ 1, 1 ],
                              "queue_ms" : 0.4,
                              "compute_ms" : 3.1
                          }
                      }),
                      .is_work = true,
                      .has_pictures = true},
    [ROUTE_VELOCITY] = {.request = "VelocityRequest",
                        .request_example = JSON_TEXT({"x" : [ [ 0.5, -1 ], [ 2, 0 ] ], "t" : 0.25}),
                        .answer = "VelocityAnswer",
                        .answer_example = JSON_TEXT({
                            "id" : "01JDEXAMPLE",
                            "model" : "two-moons",
                            "model_version" : "sha256:0f1e",
                            "velocity" : [ [ 0.3, 0.7 ], [ -1.1, 0.2 ] ],
                            "stats" :
                                {"status" : [ "ok", "ok" ], "queue_ms" : 0.2, "compute_ms" : 0.1}
                        }),
                        .is_work = true},
    [ROUTE_ENCODE] = {.request = "EncodeRequest",
                      .request_example = JSON_TEXT({"x1" : [ [ 0.5, -1 ], [ 2, 0 ] ]}),
                      .answer = "EncodeAnswer",
                      .is_work = true},
    [ROUTE_LOG_LIKELIHOOD] = {.request = "LogLikelihoodRequest",
                              .request_example = JSON_TEXT({"x" : [ [ 0.5, -1 ], [ 2, 0 ] ]}),
                              .answer = "LogLikelihoodAnswer",
                              .is_work = true,
                              .has_no_tensor = true},
    [ROUTE_INTERPOLATE] = {.request = "InterpolateRequest",
                           .request_example =
                               JSON_TEXT({"x1" : [ [ 0.5, -1 ], [ 2, 0 ] ], "points" : 5}),
                           .answer = "InterpolateAnswer",
                           .is_work = true,
                           .has_pictures = true},
    [ROUTE_EDIT] = {.request = "EditRequest",
                    .request_example =
                        JSON_TEXT({"x1" : [[ 2, 0 ]], "source" : {"labels" : 0}, "labels" : 2}),
                    .answer = "EditAnswer",
                    .is_work = true,
                    .has_pictures = true},
    [ROUTE_MODELS] = {.answer = "ModelList"},
    [ROUTE_MODEL] = {.answer = "Model"},
    [ROUTE_SOLVERS] = {.answer = "SolverList"},
    [ROUTE_LIVE] = {.answer = "Health", .takes_any_accept = true},
    [ROUTE_READY] = {.answer = "Health", .takes_any_accept = true},
    [ROUTE_VERSION] = {.answer = "Version"},
    [ROUTE_METRICS] = {.answer = NULL},
    [ROUTE_OPENAPI] = {.answer = "Document"},
};

static route_row route_at(size_t index)
{
    static const route_row rows[ROUTE_COUNT] = {
#define FMP_ROUTE(name, verb, where, text)                                                         \
    [ROUTE_##name] = {.id = #name, .method = verb, .path = where, .summary = text},
#include "proto/routes.def"
#undef FMP_ROUTE
    };
    route_row ret = facts[index];
    ret.id = rows[index].id;
    ret.method = rows[index].method;
    ret.path = rows[index].path;
    ret.summary = rows[index].summary;
    return ret;
}

/* ---- Problems ---- */

typedef struct problem_row {
    fmp_problem_kind kind;
    int status;
    const char *title;
} problem_row;

static const problem_row problems[] = {
#define FMP_PROBLEM(id, slug, status, title) {FMP_PROBLEM_##id, status, title},
#include "proto/problem.def"
#undef FMP_PROBLEM
};

#define N_PROBLEMS (sizeof problems / sizeof *problems)

/* Statuses that a route with this can answer: those of the parser and the front for all, those of a
 * named model and of the queue for some. 499 is seen by nobody. */
static bool answers(const route_row *route, int status)
{
    switch (status) {
    case 400:
    case 405:
    case 408:
    case 500:
    case 503:
        return true;
    case 406:
        return !route->takes_any_accept;
    case 404:
        return strchr(route->path, '{') != NULL || strcmp(route->id, "METRICS") == 0;
    case 499:
        return false;
    default:
        return route->is_work;
    }
}

static bool is_first_of_status(size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (problems[i].status == problems[index].status) {
            return false;
        }
    }
    return true;
}

static void write_problem_responses(fmp_json *json, const route_row *route)
{
    for (size_t i = 0; i < N_PROBLEMS; i++) {
        if (!is_first_of_status(i) || !answers(route, problems[i].status)) {
            continue;
        }
        char text[64];
        (void)snprintf(text, sizeof text, "%d", problems[i].status);
        fmp_json_key(json, text);
        fmp_json_open(json, '{');
        (void)snprintf(text, sizeof text, "#/components/responses/Problem%d", problems[i].status);
        fmp_json_pair_text(json, "$ref", text);
        fmp_json_close(json, '}');
    }
}

static void write_problem_headers(fmp_json *json, int status)
{
    if (status == 405) {
        fmp_json_pair_raw(json, "headers", JSON_TEXT({"Allow" : {"schema" : {"type" : "string"}}}));
    } else if (status == 429 || status == 503) {
        fmp_json_pair_raw(json, "headers", JSON_TEXT({
                              "Retry-After" : {
                                  "description" : "Seconds; retry_after_ms says it finer.",
                                  "schema" : {"type" : "integer"}
                              }
                          }));
    }
}

/* components/responses: one a status, whose description joins the titles of its problems. */
static void write_responses(fmp_json *json)
{
    fmp_json_key(json, "responses");
    fmp_json_open(json, '{');
    for (size_t i = 0; i < N_PROBLEMS; i++) {
        if (!is_first_of_status(i)) {
            continue;
        }
        char name[32];
        char titles[256] = "";
        (void)snprintf(name, sizeof name, "Problem%d", problems[i].status);
        for (size_t k = i, used = 0; k < N_PROBLEMS && used < sizeof titles; k++) {
            if (problems[k].status == problems[i].status) {
                used += (size_t)snprintf(titles + used, sizeof titles - used, "%s%s",
                                         used > 0 ? "; " : "", problems[k].title);
            }
        }
        fmp_json_key(json, name);
        fmp_json_open(json, '{');
        fmp_json_pair_text(json, "description", titles);
        write_problem_headers(json, problems[i].status);
        fmp_json_pair_raw(json, "content", JSON_TEXT({
                              "application/problem+json" :
                                  {"schema" : {"$ref" : "#/components/schemas/Problem"}}
                          }));
        fmp_json_close(json, '}');
    }
    fmp_json_close(json, '}');
}

/* ---- Operations ---- */

static void write_parameters(fmp_json *json, const route_row *route)
{
    fmp_json_key(json, "parameters");
    fmp_json_open(json, '[');
    if (strchr(route->path, '{') != NULL) {
        fmp_json_raw(json,
                     "{\"name\": \"model\", \"in\": \"path\", \"required\": true, \"schema\": "
                     "{\"type\": \"string\", \"pattern\": \"^" FM_MODEL_NAME_RULE "$\"}}");
    }
    if (route->is_work) {
        fmp_json_raw(
            json, JSON_TEXT({
                "name" : "dry_run",
                "in" : "query",
                "description" : "1: answer with evaluations, estimated time and answer size only.",
                "schema" : {"enum" : [ 0, 1 ], "default" : 0}
            }));
    }
    fmp_json_raw(json, JSON_TEXT({
                     "name" : "X-Request-Id",
                     "in" : "header",
                     "description" : "Echoed where it is sane, else drawn.",
                     "schema" : {"type" : "string"}
                 }));
    fmp_json_close(json, ']');
}

static void write_schema(fmp_json *json, const char *name)
{
    char reference[96];
    (void)snprintf(reference, sizeof reference, "#/components/schemas/%s", name);
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "$ref", reference);
    fmp_json_close(json, '}');
}

static void write_media(fmp_json *json, const char *schema, const char *also, const char *example)
{
    fmp_json_key(json, "application/json");
    fmp_json_open(json, '{');
    fmp_json_key(json, "schema");
    if (also == NULL) {
        write_schema(json, schema);
    } else {
        fmp_json_open(json, '{');
        fmp_json_key(json, "anyOf");
        fmp_json_open(json, '[');
        write_schema(json, schema);
        write_schema(json, also);
        fmp_json_close(json, ']');
        fmp_json_close(json, '}');
    }
    if (example != NULL) {
        fmp_json_pair_raw(json, "example", example);
    }
    fmp_json_close(json, '}');
}

static void write_ok(fmp_json *json, const route_row *route)
{
    fmp_json_key(json, "200");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "description", route->summary);
    fmp_json_pair_raw(json, "headers",
                      JSON_TEXT({"X-Request-Id" : {"schema" : {"type" : "string"}}}));
    fmp_json_key(json, "content");
    fmp_json_open(json, '{');
    if (route->answer == NULL) {
        fmp_json_pair_raw(json, "text/plain", JSON_TEXT({"schema" : {"type" : "string"}}));
    } else {
        write_media(json, route->answer, route->is_work ? "DryRunAnswer" : NULL,
                    route->answer_example);
    }
    if (route->is_work && !route->has_no_tensor) {
        fmp_json_pair_raw(json, "application/x-npy", JSON_TEXT({}));
    }
    if (route->has_pictures) {
        fmp_json_pair_raw(json, "image/png", JSON_TEXT({}));
    }
    fmp_json_close(json, '}');
    fmp_json_close(json, '}');
}

static void write_operation(fmp_json *json, const route_row *route)
{
    char text[32];
    size_t n = 0;
    for (; route->method[n] != '\0' && n + 1 < sizeof text; n++) {
        text[n] = (char)tolower((unsigned char)route->method[n]);
    }
    text[n] = '\0';
    fmp_json_key(json, text);
    fmp_json_open(json, '{');
    for (n = 0; route->id[n] != '\0' && n + 1 < sizeof text; n++) {
        text[n] = (char)tolower((unsigned char)route->id[n]);
    }
    text[n] = '\0';
    fmp_json_pair_text(json, "operationId", text);
    fmp_json_pair_text(json, "summary", route->summary);
    write_parameters(json, route);
    if (route->request != NULL) {
        fmp_json_key(json, "requestBody");
        fmp_json_open(json, '{');
        fmp_json_pair_bool(json, "required", strcmp(route->id, "SAMPLE") != 0);
        fmp_json_key(json, "content");
        fmp_json_open(json, '{');
        write_media(json, route->request, NULL, route->request_example);
        fmp_json_close(json, '}');
        fmp_json_close(json, '}');
    }
    fmp_json_key(json, "responses");
    fmp_json_open(json, '{');
    write_ok(json, route);
    write_problem_responses(json, route);
    fmp_json_close(json, '}');
    fmp_json_close(json, '}');
}

/* A path's methods may be several rows; the path is written at the first of them. */
static void write_paths(fmp_json *json)
{
    fmp_json_key(json, "paths");
    fmp_json_open(json, '{');
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        route_row first = route_at(i);
        bool written = false;
        for (size_t k = 0; k < i; k++) {
            written = written || strcmp(route_at(k).path, first.path) == 0;
        }
        if (written) {
            continue;
        }
        fmp_json_key(json, first.path);
        fmp_json_open(json, '{');
        for (size_t k = i; k < ROUTE_COUNT; k++) {
            route_row route = route_at(k);
            if (strcmp(route.path, first.path) == 0) {
                write_operation(json, &route);
            }
        }
        fmp_json_close(json, '}');
    }
    fmp_json_close(json, '}');
}

void fmp_openapi_write(fmp_buffer *buffer, const char *version, const fmp_limits *limits)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_pair_text(&json, "openapi", "3.1.0");
    fmp_json_key(&json, "info");
    fmp_json_open(&json, '{');
    fmp_json_pair_text(&json, "title", "velocityd");
    fmp_json_pair_text(&json, "version", version);
    fmp_json_pair_text(
        &json, "description",
        "Samples of flow-matching models. Times are in one convention: t = 0 is the "
        "source, t = 1 is data, the velocity is dx/dt. Answers contain no NaN or "
        "infinity; a number has the fewest digits that read back to the same float32, "
        "times, grids and log densities to the same float64. A model's defaults fill "
        "what a sample request leaves out: solver and guidance key by key, trajectory "
        "as a whole.");
    fmp_json_pair_raw(&json, "license",
                      JSON_TEXT({"name" : "Apache-2.0", "identifier" : "Apache-2.0"}));
    fmp_json_close(&json, '}');
    write_paths(&json);
    fmp_json_key(&json, "components");
    fmp_json_open(&json, '{');
    fmp_openapi_write_schemas(&json, limits);
    write_responses(&json);
    fmp_json_close(&json, '}');
    fmp_json_close(&json, '}');
}
