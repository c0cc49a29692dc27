/* Log lines: both formats, and values that try to be more than a value. */
#include "server/log.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

#define NOON_NS ((int64_t)1700000000 * 1000000000 + 123456789)

static char text[20000];

static const char *line(fmd_log_format format, const fmd_field *fields, size_t n_fields)
{
    size_t length = fmd_log_format_line(text, sizeof text, format, NOON_NS, FMD_WARNING, "event",
                                        fields, n_fields);
    ck_assert_uint_eq(length, strlen(text));
    ck_assert_int_eq(text[length - 1], '\n');
    ck_assert_ptr_eq(strchr(text, '\n'), text + length - 1);
    return text;
}

START_TEST(a_text_line_reads_well)
{
    const char *texts[] = {"127.0.0.1:1", "[::1]:2"};
    const fmd_field fields[] = {FMD_TEXTS("listening", texts, 2), FMD_TEXT("a", "b c"),
                                FMD_INTEGER("n", -3), FMD_NUMBER("ms", 1.5), FMD_TEXT("none", "")};
    ck_assert_str_eq(line(FMD_LOG_TEXT, fields, 5),
                     "2023-11-14T22:13:20.123Z warning event listening=127.0.0.1:1,[::1]:2 "
                     "a=\"b c\" n=-3 ms=1.500 none=\"\"\n");
}
END_TEST

START_TEST(a_json_line_is_one_object)
{
    const char *texts[] = {"127.0.0.1:1", "unix:/a\"b"};
    const fmd_field fields[] = {FMD_TEXTS("listening", texts, 2),
                                FMD_TEXT("path", "/\x1b[31m\n\"\\"), FMD_INTEGER("n", INT64_MIN),
                                FMD_NUMBER("ms", 0.25)};
    json_error_t error;
    json_t *root = json_loads(line(FMD_LOG_JSON, fields, 4), 0, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    ck_assert_str_eq(json_string_value(json_object_get(root, "time")), "2023-11-14T22:13:20.123Z");
    ck_assert_str_eq(json_string_value(json_object_get(root, "level")), "warning");
    ck_assert_str_eq(json_string_value(json_object_get(root, "path")), "/\x1b[31m\n\"\\");
    json_t *listening = json_object_get(root, "listening");
    ck_assert_str_eq(json_string_value(json_array_get(listening, 1)), "unix:/a\"b");
    ck_assert(json_integer_value(json_object_get(root, "n")) == INT64_MIN);
    json_decref(root);
}
END_TEST

/* What a client may send as path, and how it must look in both formats. */
static const struct {
    const char *sent, *escaped;
} hostile[] = {
    {"a\nb", "\"a\\u000ab\""},
    {"a\r", "\"a\\u000d\""},
    {"\x1b[2J", "\"\\u001b[2J\""},
    {"\x7f", "\"\\u007f\""},
    {"\xff", "\"\\u00ff\""},
    {"\xc3", "\"\\u00c3\""},
    {"\xc2\x85", "\"\\u00c2\\u0085\""},
    {"a=b", "\"a=b\""},
    {"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""},
    {"\"", "\"\\\"\""},
    {"\xc3\xa4", "\"\xc3\xa4\""},
};

START_TEST(no_value_forges_a_line)
{
    const fmd_field field = FMD_TEXT("path", hostile[_i].sent);
    char expected[128];
    snprintf(expected, sizeof expected, "event path=%s\n", hostile[_i].escaped);
    ck_assert_ptr_nonnull(strstr(line(FMD_LOG_TEXT, &field, 1), expected));
    snprintf(expected, sizeof expected, "\"path\":%s}\n", hostile[_i].escaped);
    ck_assert_ptr_nonnull(strstr(line(FMD_LOG_JSON, &field, 1), expected));
}
END_TEST

START_TEST(long_values_are_cut_and_the_line_stays_json)
{
    char path[8001];
    memset(path, '\x01', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    const fmd_field fields[] = {FMD_TEXT("path", path), FMD_INTEGER("status", 404)};
    json_error_t error;
    json_t *root = json_loads(line(FMD_LOG_JSON, fields, 2), 0, &error);
    ck_assert_msg(root != NULL, "%s", error.text);
    ck_assert_int_eq(json_integer_value(json_object_get(root, "status")), 404);
    ck_assert_uint_lt(strlen(text), 2000);
    json_decref(root);
}
END_TEST

Suite *suite_server_log(void)
{
    Suite *suite = suite_create("server/log");
    TCase *tests = tcase_create("lines");
    tcase_add_test(tests, a_text_line_reads_well);
    tcase_add_test(tests, a_json_line_is_one_object);
    tcase_add_loop_test(tests, no_value_forges_a_line, 0,
                        (int)(sizeof hostile / sizeof hostile[0]));
    tcase_add_test(tests, long_values_are_cut_and_the_line_stays_json);
    suite_add_tcase(suite, tests);
    return suite;
}
