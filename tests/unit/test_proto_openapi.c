/* The OpenAPI document: whole, consistent with the tables, and every reference resolves. */
#include "proto/api.h"
#include "proto/openapi.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *document(void)
{
    fmp_limits limits = proto_case_limits();
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_openapi_write(&buffer, "1.2.3", &limits);
    ck_assert(!buffer.failed);
    json_error_t error;
    json_t *json = json_loadb(buffer.data, buffer.length, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(json != NULL, "%s at %d", error.text, error.position);
    fmp_buffer_done(&buffer);
    return json;
}

static const json_t *schema_of(const json_t *openapi, const char *name)
{
    const json_t *components = json_object_get(openapi, "components");
    return json_object_get(json_object_get(components, "schemas"), name);
}

/* "#/components/schemas/X" or ".../responses/X" */
static bool resolves(const json_t *openapi, const char *reference)
{
    const char *name = strrchr(reference, '/');
    const json_t *components = json_object_get(openapi, "components");
    bool is_schema = strncmp(reference, "#/components/schemas/", 21) == 0;
    bool is_response = strncmp(reference, "#/components/responses/", 23) == 0;
    return (is_schema || is_response) && name != NULL &&
           json_object_get(json_object_get(components, is_schema ? "schemas" : "responses"),
                           name + 1) != NULL;
}

static size_t check_references(const json_t *openapi, json_t *value)
{
    size_t count = 0;
    const char *key;
    json_t *member;
    size_t index;
    json_object_foreach(value, key, member)
    {
        if (strcmp(key, "$ref") == 0) {
            ck_assert_msg(resolves(openapi, json_string_value(member)), "%s does not resolve",
                          json_string_value(member));
            count++;
        }
        count += check_references(openapi, member);
    }
    json_array_foreach(value, index, member)
    {
        count += check_references(openapi, member);
    }
    return count;
}

START_TEST(every_reference_resolves)
{
    json_t *json = document();
    ck_assert_str_eq(json_string_value(json_object_get(json, "openapi")), "3.1.0");
    ck_assert_uint_gt(check_references(json, json), 50);
    json_decref(json);
}
END_TEST

static const struct {
    const char *id, *method, *path;
} routes[] = {
#define FMP_ROUTE(id, method, path, summary) {#id, method, path},
#include "proto/routes.def"
#undef FMP_ROUTE
};

START_TEST(every_route_is_an_operation_with_its_answers)
{
    json_t *json = document();
    char method[16] = "";
    for (size_t i = 0; routes[_i].method[i] != '\0'; i++) {
        method[i] = (char)tolower((unsigned char)routes[_i].method[i]);
    }
    const json_t *path = json_object_get(json_object_get(json, "paths"), routes[_i].path);
    const json_t *responses = json_object_get(json_object_get(path, method), "responses");
    ck_assert_ptr_nonnull(json_object_get(responses, "200"));
    ck_assert_ptr_nonnull(json_object_get(responses, "500"));
    bool is_work = strcmp(routes[_i].method, "POST") == 0;
    static const char *const of_work[] = {"404", "413", "415", "422", "429", "503", "504"};
    for (size_t i = 0; is_work && i < sizeof of_work / sizeof *of_work; i++) {
        ck_assert_msg(json_object_get(responses, of_work[i]) != NULL, "no %s", of_work[i]);
    }
    static const char *const nowhere[] = {"409", "411", "499"};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        ck_assert_msg(json_object_get(responses, nowhere[i]) == NULL, "%s", nowhere[i]);
    }
    ck_assert_int_eq(json_object_get(responses, "422") != NULL, is_work);
    bool is_health = strncmp(routes[_i].path, "/health/", 8) == 0;
    ck_assert_int_eq(json_object_get(responses, "406") != NULL, !is_health);
    json_decref(json);
}
END_TEST

START_TEST(every_served_field_is_a_property_and_no_refused_one_is)
{
    const fmp_field *field = fmp_field_at((size_t)_i);
    json_t *json = document();
    static const char *const bodies[] = {[FMP_API_SAMPLE] = "SampleRequest",
                                         [FMP_API_VELOCITY] = "VelocityRequest",
                                         [FMP_API_ENCODE] = "EncodeRequest",
                                         [FMP_API_LOG_LIKELIHOOD] = "LogLikelihoodRequest",
                                         [FMP_API_INTERPOLATE] = "InterpolateRequest",
                                         [FMP_API_EDIT] = "EditRequest"};
    const json_t *at = schema_of(json, bodies[field->routes & -field->routes]); /* the first */
    char pointer[64];
    (void)snprintf(pointer, sizeof pointer, "%s", field->pointer + 1);
    char *name = pointer;
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(name, '/')) {
        *slash = '\0';
        at = json_object_get(json_object_get(at, "properties"), name);
        const json_t *kinds = json_object_get(at, "anyOf"); /* of a switch the object */
        at = kinds != NULL ? json_array_get(kinds, 1) : at;
        name = slash + 1;
    }
    ck_assert(json_is_false(json_object_get(at, "additionalProperties")));
    const json_t *property =
        json_object_get(json_object_get(at, "properties"), fmp_field_name(field));
    ck_assert_int_eq(property != NULL, !field->later || field->inert != NULL);
    if (property != NULL) {
        ck_assert_ptr_nonnull(
            strstr(json_string_value(json_object_get(property, "description")), field->doc));
    }
    json_decref(json);
}
END_TEST

static const json_t *answer_types(const json_t *openapi, const char *path)
{
    const json_t *post =
        json_object_get(json_object_get(json_object_get(openapi, "paths"), path), "post");
    const json_t *ok = json_object_get(json_object_get(post, "responses"), "200");
    return json_object_get(ok, "content");
}

START_TEST(samples_may_be_a_picture_and_velocities_not)
{
    json_t *json = document();
    const json_t *sample = answer_types(json, "/v1/models/{model}/sample");
    const json_t *velocity = answer_types(json, "/v1/models/{model}/velocity");
    ck_assert_ptr_nonnull(json_object_get(sample, "application/x-npy"));
    ck_assert_ptr_nonnull(json_object_get(sample, "image/png"));
    ck_assert_ptr_nonnull(json_object_get(velocity, "application/x-npy"));
    ck_assert_ptr_null(json_object_get(velocity, "image/png"));
    json_decref(json);
}
END_TEST

START_TEST(bounds_are_the_configured_ones)
{
    json_t *json = document();
    const json_t *solver =
        json_object_get(json_object_get(schema_of(json, "SampleRequest"), "properties"), "solver");
    const json_t *steps = json_object_get(json_object_get(solver, "properties"), "steps");
    ck_assert_int_eq(json_integer_value(json_object_get(steps, "minimum")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(steps, "maximum")), 200);
    const json_t *methods =
        json_object_get(json_object_get(json_object_get(solver, "properties"), "method"), "enum");
    ck_assert_uint_eq(json_array_size(methods), fm_method_count());
    json_decref(json);
}
END_TEST

START_TEST(times_are_a_list_or_a_tensor_object)
{
    static const struct {
        const char *object, *field;
        int least, most;
    } lists[] = {{"solver", "time_grid", 2, 201}, {"trajectory", "times", 1, 100}};
    json_t *json = document();
    const json_t *properties = json_object_get(schema_of(json, "SampleRequest"), "properties");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *inner =
            json_object_get(json_object_get(properties, lists[i].object), "properties");
        const json_t *kinds = json_object_get(json_object_get(inner, lists[i].field), "anyOf");
        const json_t *list = json_array_get(kinds, 0);
        ck_assert_str_eq(json_string_value(json_object_get(list, "type")), "array");
        ck_assert_int_eq(json_integer_value(json_object_get(list, "minItems")), lists[i].least);
        ck_assert_int_eq(json_integer_value(json_object_get(list, "maxItems")), lists[i].most);
        ck_assert_str_eq(json_string_value(json_object_get(json_array_get(kinds, 1), "$ref")),
                         "#/components/schemas/Base64Tensor");
    }
    json_decref(json);
}
END_TEST

/* One value or a list of one a point: an empty list is refused, and so is one over the limit. */
START_TEST(lists_of_one_a_point_have_a_length)
{
    static const struct {
        const char *schema, *field;
    } lists[] = {
        {"SampleRequest", "labels"}, {"VelocityRequest", "labels"}, {"VelocityRequest", "t"}};
    json_t *json = document();
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *properties = json_object_get(schema_of(json, lists[i].schema), "properties");
        const json_t *kinds = json_object_get(json_object_get(properties, lists[i].field), "anyOf");
        const json_t *list = json_array_get(kinds, 1);
        bool is_tensor = strcmp(lists[i].field, "t") == 0; /* which base64 may hold */
        ck_assert_uint_eq(json_array_size(kinds), is_tensor ? 3 : 2);
        ck_assert_str_eq(json_string_value(json_object_get(list, "type")), "array");
        ck_assert_int_eq(json_integer_value(json_object_get(list, "minItems")), 1);
        ck_assert_int_eq(json_integer_value(json_object_get(list, "maxItems")), 1000);
        ck_assert(json_equal(json_object_get(list, "items"), json_array_get(kinds, 0)));
    }
    json_decref(json);
}
END_TEST

START_TEST(the_example_request_is_one_that_parses)
{
    static const char *const paths[] = {"/v1/models/{model}/sample", "/v1/models/{model}/velocity",
                                        "/v1/models/{model}/encode",
                                        "/v1/models/{model}/log_likelihood"};
    json_t *json = document();
    const json_t *post =
        json_object_get(json_object_get(json_object_get(json, "paths"), paths[_i]), "post");
    const json_t *content = json_object_get(json_object_get(post, "requestBody"), "content");
    char *body =
        json_dumps(json_object_get(json_object_get(content, "application/json"), "example"), 0);
    ck_assert_ptr_nonnull(body);
    fm_model_info model = proto_case_plain();
    fmp_limits limits = proto_case_limits();
    fmp_request request;
    fmp_problem problem;
    static const fmp_api_route bodies[] = {FMP_API_SAMPLE, FMP_API_VELOCITY, FMP_API_ENCODE,
                                           FMP_API_LOG_LIKELIHOOD};
    bool parsed = _i == 0 ? fmp_request_parse_sample(body, strlen(body), &model, &limits,
                                                     FMP_ENCODING_JSON, 1, &request, &problem)
                          : fmp_request_parse_points(bodies[_i], body, strlen(body), &model,
                                                     &limits, 1, &request, &problem);
    ck_assert_msg(parsed, "%s", problem.detail);
    fmp_request_done(&request);
    free(body);
    json_decref(json);
}
END_TEST

Suite *suite_proto_openapi(void)
{
    Suite *suite = suite_create("proto/openapi");
    TCase *tcase = tcase_create("openapi");
    tcase_add_test(tcase, every_reference_resolves);
    tcase_add_loop_test(tcase, every_route_is_an_operation_with_its_answers, 0,
                        sizeof routes / sizeof *routes);
    tcase_add_loop_test(tcase, every_served_field_is_a_property_and_no_refused_one_is, 0,
                        FMP_FIELD_COUNT);
    tcase_add_test(tcase, samples_may_be_a_picture_and_velocities_not);
    tcase_add_test(tcase, bounds_are_the_configured_ones);
    tcase_add_test(tcase, times_are_a_list_or_a_tensor_object);
    tcase_add_test(tcase, lists_of_one_a_point_have_a_length);
    tcase_add_loop_test(tcase, the_example_request_is_one_that_parses, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
