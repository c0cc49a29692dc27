/* The table of request fields: every row explains itself and is obeyed. */
#include "proto/api.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <string.h>

/* A body with one field, `value`, at a row's pointer; velocity's required ones beside it. */
static void body_with(const fmp_field *field, const char *value, char *ret, size_t size_bytes)
{
    const char *name = fmp_field_name(field);
    const char *required = (field->routes & FMP_API_SAMPLE) != 0     ? ""
                           : (field->routes & FMP_API_VELOCITY) == 0 ? ""
                           : strcmp(name, "x") == 0                  ? "\"t\": 0, "
                           : strcmp(name, "t") == 0                  ? "\"x\": [[1, 2]], "
                                                    : "\"x\": [[1, 2]], \"t\": 0, ";
    /* "/solver/diffusion/" becomes "solver": {"diffusion": { */
    char before[128] = "", after[8] = "";
    for (const char *at = field->pointer; at + 1 < name; at = strchr(at + 1, '/')) {
        size_t length = strcspn(at + 1, "/");
        (void)snprintf(before + strlen(before), sizeof before - strlen(before), "\"%.*s\": {",
                       (int)length, at + 1);
        (void)snprintf(after + strlen(after), sizeof after - strlen(after), "}");
    }
    (void)snprintf(ret, size_bytes, "{%s%s\"%s\": %s%s}", required, before, name, value, after);
}

START_TEST(every_row_refuses_a_wrong_type_with_its_own_pointer)
{
    const fmp_field *field = fmp_field_at((size_t)_i);
    /* true is no value of any type but BOOLEAN and SWITCH; a list of it of none. */
    bool takes_true = field->type == FMP_TYPE_BOOLEAN || field->type == FMP_TYPE_SWITCH;
    const char *value = takes_true ? "[true]" : "true";
    char body[256];
    body_with(field, value, body, sizeof body);
    fmp_api_route route = (fmp_api_route)(field->routes & -field->routes); /* the first of them */
    fmp_request request;
    fmp_problem problem;
    ck_assert(!proto_case_parse(proto_case_plain, route, body, &request, &problem));
    char rule[256];
    fmp_limits limits = proto_case_limits();
    fmp_field_rule(field, &limits, rule, sizeof rule);
    bool found = false;
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(&problem, &at, &error);) {
        found = found || (strcmp(error.pointer, field->pointer) == 0 &&
                          (field->type == FMP_TYPE_LABELS || field->type == FMP_TYPE_CHOICE ||
                           strcmp(error.detail, rule) == 0));
    }
    ck_assert_msg(found, "%s: %s", body, problem.detail);
}
END_TEST

START_TEST(every_row_stands_after_its_object_and_explains_itself)
{
    const fmp_field *field = fmp_field_at((size_t)_i);
    size_t length = strlen(field->pointer);
    ck_assert(field->pointer[0] == '/');
    ck_assert_ptr_nonnull(field->doc);
    ck_assert_int_eq(fmp_field_find(field->routes, field->pointer, length), _i);
    const char *name = fmp_field_name(field);
    size_t parent_length = (size_t)(name - field->pointer) - 1;
    if (parent_length > 0) {
        fmp_field_id parent = fmp_field_find(field->routes, field->pointer, parent_length);
        ck_assert_int_lt(parent, _i);
        fmp_type type = fmp_field_at(parent)->type;
        ck_assert(type == FMP_TYPE_OBJECT || type == FMP_TYPE_SWITCH);
    }
    ck_assert(field->inert == NULL || field->later);
}
END_TEST

Suite *suite_proto_api(void)
{
    Suite *suite = suite_create("proto/api");
    TCase *tcase = tcase_create("rows");
    tcase_add_loop_test(tcase, every_row_refuses_a_wrong_type_with_its_own_pointer, 0,
                        FMP_FIELD_COUNT);
    tcase_add_loop_test(tcase, every_row_stands_after_its_object_and_explains_itself, 0,
                        FMP_FIELD_COUNT);
    suite_add_tcase(suite, tcase);
    return suite;
}
