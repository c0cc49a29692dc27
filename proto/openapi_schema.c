/* JSON Schema (2020-12) of bodies, from the rows that check them. */
#include "proto/openapi_schema.h"

#include <stdio.h>
#include <string.h>

/* Text of JSON that is written as such in the source. */
#define JSON_TEXT(...) #__VA_ARGS__

static const struct {
    const char *name, *text;
} schemas[] = {
#define FMP_SCHEMA(name, ...) {#name, #__VA_ARGS__},
#include "proto/openapi_schemas.def"
#undef FMP_SCHEMA
};

static void write_bounds(fmp_json *json, const fmp_field *field, const fmp_limits *limits,
                         const char *least, const char *most)
{
    double maximum = fmp_field_maximum(field, limits);
    if (field->minimum != 0 || maximum != 0) {
        fmp_json_pair_number(json, least, field->minimum);
        fmp_json_pair_number(json, most, maximum);
    }
}

static void write_words(fmp_json *json, const char *words)
{
    fmp_json_open(json, '[');
    for (const char *at = words; *at != '\0';) {
        size_t length = strcspn(at, " ");
        fmp_json_value(json);
        fmp_buffer_format(json->buffer, "\"%.*s\"", (int)length, at);
        at += length + (at[length] == ' ');
    }
    fmp_json_close(json, ']');
}

static void write_methods(fmp_json *json)
{
    fmp_json_pair_text(json, "type", "string");
    fmp_json_key(json, "enum");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < fm_method_count(); i++) {
        fmp_json_text(json, fm_method_describe(fm_method_at(i))->name);
    }
    fmp_json_close(json, ']');
}

#define REFERENCE_TO_BASE64 JSON_TEXT({"$ref" : "#/components/schemas/Base64Tensor"})

static void write_times(fmp_json *json, const fmp_field *field, const fmp_limits *limits)
{
    fmp_json_key(json, "anyOf");
    fmp_json_open(json, '[');
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", "array");
    write_bounds(json, field, limits, "minItems", "maxItems");
    fmp_json_pair_raw(json, "items", JSON_TEXT({"type" : "number"}));
    fmp_json_close(json, '}');
    fmp_json_raw(json, REFERENCE_TO_BASE64);
    fmp_json_close(json, ']');
}

static void write_list(fmp_json *json, const fmp_field *field)
{
    fmp_json_pair_text(json, "type", "array");
    fmp_json_pair_unsigned(json, "minItems", 1);
    fmp_json_key(json, "items");
    fmp_json_open(json, '{');
    fmp_json_key(json, "enum");
    write_words(json, field->choices);
    fmp_json_close(json, '}');
}

/* One value, which one keyword tells, or a list of one a point. */
static void write_one_or_list(fmp_json *json, const char *keyword, const char *value,
                              const fmp_field *field, const fmp_limits *limits)
{
    fmp_json_key(json, "anyOf");
    fmp_json_open(json, '[');
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, keyword, value);
    fmp_json_close(json, '}');
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", "array");
    fmp_json_pair_unsigned(json, "minItems", 1);
    fmp_json_pair_number(json, "maxItems", fmp_field_maximum(field, limits));
    fmp_json_key(json, "items");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, keyword, value);
    fmp_json_close(json, '}');
    fmp_json_close(json, '}');
    if (field->type == FMP_TYPE_NUMBER_OR_NUMBERS) {
        fmp_json_raw(json, REFERENCE_TO_BASE64);
    }
    fmp_json_close(json, ']');
}

/* The keywords of every type that needs no table but its row. */
static void write_type(fmp_json *json, const fmp_field *field, const fmp_limits *limits)
{
    switch (field->type) {
    case FMP_TYPE_INTEGER:
        fmp_json_pair_text(json, "type", "integer");
        write_bounds(json, field, limits, "minimum", "maximum");
        break;
    case FMP_TYPE_NUMBER:
        fmp_json_pair_text(json, "type", "number");
        write_bounds(json, field, limits, "minimum", "maximum");
        break;
    case FMP_TYPE_POSITIVE:
        fmp_json_pair_text(json, "type", "number");
        fmp_json_pair_unsigned(json, "exclusiveMinimum", 0);
        break;
    case FMP_TYPE_BOOLEAN:
        fmp_json_pair_text(json, "type", "boolean");
        break;
    case FMP_TYPE_CHOICE:
        fmp_json_key(json, "enum");
        write_words(json, field->choices);
        break;
    case FMP_TYPE_CHOICES:
        write_list(json, field);
        break;
    case FMP_TYPE_TIMES:
    case FMP_TYPE_NUMBERS:
        write_times(json, field, limits);
        break;
    case FMP_TYPE_METHOD:
        write_methods(json);
        break;
    case FMP_TYPE_SEED:
        fmp_json_key(json, "anyOf");
        fmp_json_open(json, '[');
        fmp_json_raw(json,
                     "{\"type\":\"integer\",\"minimum\":0,\"maximum\":" FMP_SEED_MAX_TEXT "}");
        fmp_json_raw(json, JSON_TEXT({"type" : "string", "pattern" : "^(0|[1-9][0-9]{0,19})$"}));
        fmp_json_close(json, ']');
        break;
    case FMP_TYPE_LABELS:
        write_one_or_list(json, "$ref", "#/components/schemas/Label", field, limits);
        break;
    case FMP_TYPE_TENSOR:
        fmp_json_pair_text(json, "$ref", "#/components/schemas/Tensor");
        break;
    case FMP_TYPE_NUMBER_OR_NUMBERS:
        write_one_or_list(json, "type", "number", field, limits);
        break;
    case FMP_TYPE_CHANNELS:
        fmp_json_key(json, "anyOf");
        fmp_json_open(json, '[');
        fmp_json_raw(json, JSON_TEXT({"const" : "all"}));
        fmp_json_raw(json, JSON_TEXT({"type" : "integer", "minimum" : 1}));
        fmp_json_close(json, ']');
        break;
    case FMP_TYPE_MODEL:
        fmp_json_pair_text(json, "type", "string");
        break;
    case FMP_TYPE_OBJECT: /* written by their caller */
    case FMP_TYPE_SWITCH:
    case FMP_TYPE_ANY:
        break;
    }
}

static void write_description(fmp_json *json, const fmp_field *field)
{
    char text[640];
    (void)snprintf(
        text, sizeof text, "%s%s%s%s%s", field->doc, field->fallback != NULL ? " Default: " : "",
        field->fallback != NULL ? field->fallback : "", field->fallback != NULL ? "." : "",
        field->later ? " Not supported by this release." : "");
    fmp_json_pair_text(json, "description", text);
}

/* Whether a row is a member of the object at `parent` ("" is the body) and not of one within it. */
static bool is_member(const fmp_field *field, const char *parent)
{
    size_t length = strlen(parent);
    return strncmp(field->pointer, parent, length) == 0 && field->pointer[length] == '/' &&
           strchr(field->pointer + length + 1, '/') == NULL;
}

static void write_members(fmp_json *json, fmp_api_route route, const char *parent,
                          const fmp_limits *limits);

/* A boolean, or an object, which means true. */
static void write_switch(fmp_json *json, fmp_api_route route, const fmp_field *field,
                         const fmp_limits *limits)
{
    fmp_json_key(json, "anyOf");
    fmp_json_open(json, '[');
    fmp_json_raw(json, "{\"type\": \"boolean\"}");
    fmp_json_open(json, '{');
    write_members(json, route, field->pointer, limits);
    fmp_json_close(json, '}');
    fmp_json_close(json, ']');
}

static void write_field(fmp_json *json, fmp_api_route route, const fmp_field *field,
                        const fmp_limits *limits)
{
    fmp_json_key(json, fmp_field_name(field));
    fmp_json_open(json, '{');
    if (field->later) {
        fmp_json_pair_raw(json, "const", field->inert);
    } else if (field->type == FMP_TYPE_OBJECT) {
        write_members(json, route, field->pointer, limits);
    } else if (field->type == FMP_TYPE_SWITCH) {
        write_switch(json, route, field, limits);
    } else {
        write_type(json, field, limits);
    }
    write_description(json, field);
    fmp_json_close(json, '}');
}

/* Objects lie three deep at most: the body, its own and theirs. */
static void write_members(fmp_json *json, fmp_api_route route, const char *parent,
                          const fmp_limits *limits)
{
    fmp_json_pair_text(json, "type", "object");
    fmp_json_pair_bool(json, "additionalProperties", false);
    fmp_json_key(json, "properties");
    fmp_json_open(json, '{');
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at(i);
        bool accepted = !field->later || field->inert != NULL;
        if (accepted && (field->routes & route) != 0 && is_member(field, parent)) {
            write_field(json, route, field, limits);
        }
    }
    fmp_json_close(json, '}');
    fmp_json_key(json, "required");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at(i);
        if (field->required && (field->routes & route) != 0 && is_member(field, parent)) {
            fmp_json_text(json, fmp_field_name(field));
        }
    }
    fmp_json_close(json, ']');
}

static void write_body(fmp_json *json, const char *name, fmp_api_route route,
                       const fmp_limits *limits)
{
    fmp_json_key(json, name);
    fmp_json_open(json, '{');
    write_members(json, route, "", limits);
    fmp_json_close(json, '}');
}

void fmp_openapi_write_schemas(fmp_json *json, const fmp_limits *limits)
{
    fmp_json_key(json, "schemas");
    fmp_json_open(json, '{');
    write_body(json, "SampleRequest", FMP_API_SAMPLE, limits);
    write_body(json, "VelocityRequest", FMP_API_VELOCITY, limits);
    write_body(json, "EncodeRequest", FMP_API_ENCODE, limits);
    write_body(json, "LogLikelihoodRequest", FMP_API_LOG_LIKELIHOOD, limits);
    write_body(json, "InterpolateRequest", FMP_API_INTERPOLATE, limits);
    write_body(json, "EditRequest", FMP_API_EDIT, limits);
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        fmp_json_pair_raw(json, schemas[i].name, schemas[i].text);
    }
    fmp_json_close(json, '}');
}
