/* The memory that a body's tree takes, estimated from its text, against what jansson takes. */
#include "proto/parse.h"
#include "proto/request.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t held_bytes, peak_bytes;

/* As malloc() rounds: a word beside the bytes, in units of 16, at least 32. */
static size_t malloc_bytes(size_t size)
{
    size_t rounded = (size + 8 + 15) / 16 * 16;
    return rounded < 32 ? 32 : rounded;
}

static void *counting_malloc(size_t size)
{
    size_t *block = malloc(size + 16);
    ck_assert_ptr_nonnull(block);
    block[0] = malloc_bytes(size);
    held_bytes += block[0];
    peak_bytes = held_bytes > peak_bytes ? held_bytes : peak_bytes;
    return block + 2;
}

static void counting_free(void *memory)
{
    if (memory != NULL) {
        size_t *block = (size_t *)memory - 2;
        held_bytes -= block[0];
        free(block);
    }
}

/* The most that jansson holds at once while it parses the text, be it JSON or not. */
static size_t measure_tree(const char *text, size_t length)
{
    json_malloc_t old_malloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(counting_malloc, counting_free);
    held_bytes = peak_bytes = 0;
    json_t *tree = json_loadb(text, length, FMP_PARSE_JSON | JSON_DECODE_ANY, NULL);
    json_decref(tree);
    json_set_alloc_funcs(old_malloc, old_free);
    ck_assert_uint_eq(held_bytes, 0);
    return peak_bytes;
}

/* begin, n times the item (with "%zu" its number where it has one), end */
static const struct {
    const char *begin, *item, *end;
    size_t ratio; /* the most that the estimate may be above the use; 0: any */
} trees[] = {
    {"{\"x0\": [0", ",%zu", "]}", 4},
    {"{\"x0\": [0", ", -0.123456789", "]}", 4},
    {"{\"x0\": [[0, 0]", ", [1.5, %zu]", "]}", 4},
    {"[0", ",[]", "]", 4},
    {"[[]", ",[1]", "]", 4},
    {"[0", ",{}", "]", 4},
    {"[0", ",{\"a\":1}", "]", 4},
    {"[0", ",{\"a\":{}}", "]", 4},
    {"{\"a\": 0", ",\"%zu\":0", "}", 4},
    {"{\"a\": 0", ",\"a much longer name of a member %zu\":\"and as long a value of it\"", "}", 4},
    {"{\"a\": 0", ",\"%zu\":[]", "}", 4},
    {"[0", ",\"\"", "]", 4},
    {"[0", ",\"a\"", "]", 4},
    {"[0", ",true", "]", 8},
    {"{\"x0\": {\"data\": \"", "AAAAAAAA", "\"}}", 4},
    {"[\"", "\\\"\\\\", "\"]", 6},
    {"{\"", "AAAAAAAA", "\": 0}", 6},
    {"", "[", "", 0}, /* too deep to be parsed in whole */
    {"", "{\"a\":", "", 0},
    {"", "{\"a key that is kept while its value is read\":", "", 0},
    {"", "1", "", 4},
    {"\"", "AAAA", "", 4}, /* a string without an end */
    {"", ",", "", 0},
    {"", "a", "", 0},
    {"[1]", " ", "", 0},
};

START_TEST(a_bodys_tree_takes_no_more_memory_than_estimated)
{
    for (size_t n = 0; n <= 20000; n = n < 300 ? n + 1 : n * 3 / 2) {
        size_t size = 200 + n * 96, length = 0;
        char *text = malloc(size);
        ck_assert_ptr_nonnull(text);
        length += (size_t)snprintf(text, size, "%s", trees[_i].begin);
        const char *hole = strstr(trees[_i].item, "%zu");
        for (size_t i = 0; i < n; i++) {
            int before =
                (int)(hole != NULL ? (size_t)(hole - trees[_i].item) : strlen(trees[_i].item));
            length +=
                (size_t)snprintf(text + length, size - length, "%.*s", before, trees[_i].item);
            if (hole != NULL) {
                length += (size_t)snprintf(text + length, size - length, "%zu%s", i, hole + 3);
            }
        }
        length += (size_t)snprintf(text + length, size - length, "%s", trees[_i].end);
        ck_assert_uint_lt(length, size);
        size_t used = measure_tree(text, length);
        size_t estimate = fmp_request_tree_bytes(text, length);
        free(text);
        ck_assert_msg(estimate >= used, "%zu of %s: %zu of %zu", n, trees[_i].item, estimate, used);
        /* Few of them are all constants. */
        ck_assert_msg(n < 300 || trees[_i].ratio == 0 || estimate <= trees[_i].ratio * used,
                      "%zu of %s: %zu of %zu", n, trees[_i].item, estimate, used);
    }
}
END_TEST

START_TEST(estimating_a_tree_stays_within_the_body_and_saturates)
{
    ck_assert_uint_gt(fmp_request_tree_bytes(NULL, 0), 0);
    /* a token that a quote ends is one, too */
    ck_assert_uint_ge(fmp_request_tree_bytes("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", 41),
                      fmp_request_tree_bytes("\"", 1) + 3 * 40 - 3);
    ck_assert_uint_gt(fmp_request_tree_bytes("\"\\", 2), 0);
    ck_assert_uint_eq(fmp_request_tree_bytes("", SIZE_MAX), SIZE_MAX);
}
END_TEST

Suite *suite_proto_tree_size(void)
{
    Suite *suite = suite_create("proto/tree_size");
    TCase *tcase = tcase_create("memory");
    tcase_add_loop_test(tcase, a_bodys_tree_takes_no_more_memory_than_estimated, 0,
                        sizeof trees / sizeof *trees);
    tcase_add_test(tcase, estimating_a_tree_stays_within_the_body_and_saturates);
    suite_add_tcase(suite, tcase);
    return suite;
}
