/* What is decided about a request before its body: target, head, route, media types, id. */
#include "engine/fm.h"
#include "server/accept.h"
#include "server/head.h"
#include "server/request_id.h"
#include "server/routes.h"
#include "server/target.h"
#include "tests/unit/suites.h"

#include <string.h>

static const struct {
    const char *raw, *path, *query; /* path NULL: refused */
} targets[] = {
    {"/", "/", ""},
    {"/a/b?c=d?e", "/a/b", "c=d?e"},
    {"/%61%2D%7e", "/a-~", ""},
    {"http://host:1/a?b", "/a", "b"},
    {"HTTPS://host", "/", ""},
    {"http://host?q", "/", "q"},
    {"*", "*", ""},
    {"", NULL, NULL},
    {"a", NULL, NULL},
    {"*/x", NULL, NULL},
    {"/a%00b", NULL, NULL},
    {"/%1f", NULL, NULL},
    {"/%7f", NULL, NULL},
    {"/%2f", NULL, NULL},
    {"/%", NULL, NULL},
    {"/%4", NULL, NULL},
    {"/%g0", NULL, NULL},
    {"/ ", NULL, NULL},
    {"/\x01", NULL, NULL},
    {"/\x80", NULL, NULL},
    {"/?%00", NULL, NULL},
};

START_TEST(targets_are_taken_apart_or_refused)
{
    fmd_target target;
    const char *reason = NULL;
    bool taken = fmd_target_parse(targets[_i].raw, &target, &reason);
    ck_assert_msg(taken == (targets[_i].path != NULL), "%s", targets[_i].raw);
    if (taken) {
        ck_assert_str_eq(target.path, targets[_i].path);
        ck_assert_str_eq(target.query, targets[_i].query);
    } else {
        ck_assert_ptr_nonnull(reason);
    }
}
END_TEST

/* A path of FMD_PATH_MAX + `more` escaped letters, and what is behind it, of which so much is kept. */
static void parse_long(int more, const char *behind, bool taken, bool is_cut)
{
    size_t letters = (size_t)(FMD_PATH_MAX + more);
    char raw[4 * FMD_PATH_MAX] = "/";
    for (size_t i = 0; i < letters; i++) {
        memcpy(raw + 1 + 3 * i, "%41", 4);
    }
    memcpy(raw + 1 + 3 * letters, behind, strlen(behind) + 1);
    fmd_target target;
    const char *reason = NULL;
    ck_assert(fmd_target_parse(raw, &target, &reason) == taken);
    if (taken) {
        ck_assert(target.is_cut == is_cut);
        ck_assert_uint_eq(strlen(target.path), is_cut ? FMD_PATH_MAX - 1 : letters + 1);
        ck_assert_str_eq(target.query, "q");
    }
}

START_TEST(a_long_path_is_cut_within_its_room_and_says_so)
{
    parse_long(-2, "?q", true, false);
    parse_long(-1, "?q", true, true);
    parse_long(60, "/sample?q", true, true);
    parse_long(60, "%2f?q", false, false); /* and looked at in whole */
}
END_TEST

START_TEST(queries_are_dry_runs_or_nothing)
{
    ck_assert_int_eq(fmd_query_parse(""), FMD_QUERY_PLAIN);
    ck_assert_int_eq(fmd_query_parse("dry_run=0"), FMD_QUERY_PLAIN);
    ck_assert_int_eq(fmd_query_parse("dry_run=1"), FMD_QUERY_DRY_RUN);
    ck_assert_int_eq(fmd_query_parse("dry_run=1&x=1"), FMD_QUERY_INVALID);
    ck_assert_int_eq(fmd_query_parse("dry_run"), FMD_QUERY_INVALID);
}
END_TEST

#define MAX_HEADERS 4

static const struct {
    const char *method, *version;
    const char *headers[MAX_HEADERS][2];
    bool fine;
} heads[] = {
    {"GET", "HTTP/1.1", {{"Host", "x"}}, true},
    {"GET", "HTTP/1.0", {{NULL, NULL}}, true},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length", "18446744073709551615"}}, true},
    {"POST", "HTTP/1.1", {{"host", "x"}, {"transfer-encoding", "Chunked"}}, true},
    {"GET", "HTTP/1.1", {{NULL, NULL}}, false},
    {"GET", "HTTP/1.1", {{"Host", "x"}, {"HOST", "x"}}, false},
    {"GET", "HTTP/2.0", {{"Host", "x"}}, false},
    {"FETCH", "HTTP/1.1", {{"Host", "x"}}, false},
    {"post", "HTTP/1.1", {{"Host", "x"}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length", "18446744073709551616"}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length", ""}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length", "1 "}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length", "1"}, {"Content-Length", "1"}}, false},
    {"POST",
     "HTTP/1.1",
     {{"Host", "x"}, {"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}},
     false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Transfer-Encoding", "gzip, chunked"}}, false},
    {"POST",
     "HTTP/1.1",
     {{"Host", "x"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
     false},
    {"POST", "HTTP/1.0", {{"Host", "x"}, {"Transfer-Encoding", "chunked"}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Transfer-Encoding ", "chunked"}}, false},
    {"GET", "HTTP/1.1", {{"Host", "x"}, {"X", "a\x01"}}, false},
    {"GET", "HTTP/1.1", {{"Host", "x"}, {"X\x01", "a"}}, false},
    {"GET", "HTTP/1.1", {{"Host", "x"}, {"", "a"}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Length39", ""}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"transfer-encodingchunked", ""}}, false},
    {"POST", "HTTP/1.1", {{"Host", "x"}, {"Content-Lengt", "39"}}, true},
};

/* Buffers as libmicrohttpd leaves them; the value begins at the offset. */
static const struct {
    const char *buffer;
    size_t value;
    bool one_line;
} lines[] = {
    {"Host\0x\0\0\0\0", 5, true},     {"Host\0 \t x\0\0\0\0", 8, true}, {"Host\0\0\0\0\0", 5, true},
    {"Host\0x\0\0X: y", 5, true},     {"Host\0x\0\0 y", 5, false}, /* folded */
    {"Host\0x\0\0\ty", 5, false},                                  /* by a tab */
    {"Host\0x\0X: y", 5, false},                                   /* a bare line feed */
    {"Host\0x\0 y\0", 5, false},                                   /* and a fold */
    {"Hosty\0x\0\0\0\0", 5, false},   /* the name has grown up to the value, */
    {"Hostyyy\0x\0\0\0\0", 5, false}, /* over it, */
    {"Host\0y\0x\0\0\0\0", 7, false}, /* or lies somewhere else */
};

START_TEST(headers_that_are_not_one_line_are_seen)
{
    const char *name = lines[_i].buffer;
    ck_assert(fmd_head_is_one_line(name, name + lines[_i].value) == lines[_i].one_line);
}
END_TEST

START_TEST(a_name_that_moved_behind_its_value_is_seen)
{
    static const char buffer[] = "Host\0x\0\0\0\0Host\0";
    ck_assert(!fmd_head_is_one_line(buffer + 10, buffer + 5));
}
END_TEST

START_TEST(ambiguous_heads_are_at_fault)
{
    fmd_head head = {.n_hosts = 0};
    for (size_t i = 0; i < MAX_HEADERS && heads[_i].headers[i][0] != NULL; i++) {
        fmd_head_add(&head, heads[_i].headers[i][0], heads[_i].headers[i][1]);
    }
    const char *fault = fmd_head_fault(&head, heads[_i].method, heads[_i].version);
    ck_assert_msg((fault == NULL) == heads[_i].fine, "%s", fault == NULL ? "no fault" : fault);
}
END_TEST

static const struct {
    const char *method, *path;
    fmd_match match;
    fmd_route route;
    const char *model, *allow;
} routes[] = {
    {"POST", "/v1/models/m/sample", FMD_MATCH_ROUTE, FMD_ROUTE_SAMPLE, "m", "POST, OPTIONS"},
    {"POST", "/v1/models/m.1-x/velocity", FMD_MATCH_ROUTE, FMD_ROUTE_VELOCITY, "m.1-x",
     "POST, OPTIONS"},
    {"GET", "/v1/models", FMD_MATCH_ROUTE, FMD_ROUTE_MODELS, "", "GET, HEAD, OPTIONS"},
    {"GET", "/v1/models/m", FMD_MATCH_ROUTE, FMD_ROUTE_MODEL, "m", "GET, HEAD, OPTIONS"},
    {"HEAD", "/version", FMD_MATCH_ROUTE, FMD_ROUTE_VERSION, "", "GET, HEAD, OPTIONS"},
    {"HEAD", "/v1/models/m/sample", FMD_MATCH_WRONG_METHOD, FMD_ROUTE_NONE, "m", "POST, OPTIONS"},
    {"OPTIONS", "/version", FMD_MATCH_OPTIONS, FMD_ROUTE_NONE, "", "GET, HEAD, OPTIONS"},
    {"OPTIONS", "*", FMD_MATCH_OPTIONS, FMD_ROUTE_NONE, "", "GET, HEAD, POST, OPTIONS"},
    {"GET", "*", FMD_MATCH_WRONG_METHOD, FMD_ROUTE_NONE, "", "GET, HEAD, POST, OPTIONS"},
    {"GET", "/v1/models/", FMD_MATCH_NOTHING, FMD_ROUTE_NONE, "", "OPTIONS"},
    {"GET", "/v1/models//sample", FMD_MATCH_NOTHING, FMD_ROUTE_NONE, "", "OPTIONS"},
    {"POST", "/v1/models/a/b/sample", FMD_MATCH_NOTHING, FMD_ROUTE_NONE, "", "OPTIONS"},
    {"GET", "/versions", FMD_MATCH_NOTHING, FMD_ROUTE_NONE, "", "OPTIONS"},
    {"GET", "", FMD_MATCH_NOTHING, FMD_ROUTE_NONE, "", "OPTIONS"},
};

START_TEST(methods_and_paths_find_their_route)
{
    fmd_routing routing;
    ck_assert_int_eq(fmd_route_match(routes[_i].method, routes[_i].path, &routing),
                     routes[_i].match);
    ck_assert_int_eq(routing.route, routes[_i].route);
    ck_assert_str_eq(routing.model, routes[_i].model);
    ck_assert_str_eq(routing.allow, routes[_i].allow);
}
END_TEST

START_TEST(no_long_name_is_cut_to_a_models)
{
    char path[256] = "/v1/models/";
    memset(path + strlen(path), 'a', 70);
    fmd_routing routing;
    ck_assert_int_eq(fmd_route_match("GET", path, &routing), FMD_MATCH_ROUTE);
    ck_assert_uint_eq(strlen(routing.model), 65);
    ck_assert(!fm_model_name_is_valid(routing.model, strlen(routing.model)));
}
END_TEST

static const struct {
    const char *accept, *type;
    int quality;
} accepts[] = {
    {NULL, "application/json", 1000},
    {"", "application/json", 0},
    {"*/*", "application/json", 1000},
    {"application/*;q=0.5", "application/json", 500},
    {"text/*", "application/json", 0},
    {"text/html, application/json;q=0.9, */*;q=0.1", "application/json", 900},
    {"text/html,*/*;q=0.25", "application/json", 250},
    {"application/json;q=0, */*", "application/json", 0},
    {"*/*, application/*;q=0.3", "application/json", 300},
    {"APPLICATION/JSON ; Q=0.123", "application/json", 123},
    {"application/json;charset=utf-8;q=0.7", "application/json", 700},
    {"application/json;q=2", "application/json", 1000},
    {"application/jsonx", "application/json", 0},
    {"application/x-npy", "application/x-npy", 1000},
    {" , ,application/json", "application/json", 1000},
};

START_TEST(the_most_specific_range_gives_the_quality)
{
    ck_assert_int_eq(fmd_accept_quality(accepts[_i].accept, accepts[_i].type), accepts[_i].quality);
}
END_TEST

START_TEST(media_types_are_compared_without_parameters)
{
    ck_assert(fmd_media_type_is("application/json", "application/json"));
    ck_assert(fmd_media_type_is(" Application/JSON ; charset=utf-8", "application/json"));
    ck_assert(!fmd_media_type_is("application/json5", "application/json"));
    ck_assert(!fmd_media_type_is("", "application/json"));
}
END_TEST

START_TEST(ids_are_new_sortable_and_sane)
{
    char one[FMD_REQUEST_ID_MAX + 1], two[FMD_REQUEST_ID_MAX + 1];
    fmd_request_id_make(one);
    fmd_request_id_make(two);
    ck_assert_uint_eq(strlen(one), 26);
    ck_assert(fmd_request_id_is_sane(one));
    ck_assert_str_ne(one, two);
    ck_assert_int_le(strncmp(one, two, 9), 0);
    char long_one[FMD_REQUEST_ID_MAX + 2];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    ck_assert(!fmd_request_id_is_sane(long_one));
    ck_assert(fmd_request_id_is_sane(long_one + 1));
    ck_assert(!fmd_request_id_is_sane(""));
    ck_assert(!fmd_request_id_is_sane("a b"));
    ck_assert(!fmd_request_id_is_sane("a\n"));
    ck_assert_uint_lt(fmd_draw_seed(), (uint64_t)1 << 53);
    ck_assert(fmd_draw_seed() != fmd_draw_seed());
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

Suite *suite_server_request(void)
{
    Suite *suite = suite_create("server/request");
    TCase *target = tcase_create("target");
    tcase_add_loop_test(target, targets_are_taken_apart_or_refused, 0, COUNT(targets));
    tcase_add_test(target, a_long_path_is_cut_within_its_room_and_says_so);
    tcase_add_test(target, queries_are_dry_runs_or_nothing);
    suite_add_tcase(suite, target);
    TCase *head = tcase_create("head");
    tcase_add_loop_test(head, ambiguous_heads_are_at_fault, 0, COUNT(heads));
    tcase_add_loop_test(head, headers_that_are_not_one_line_are_seen, 0, COUNT(lines));
    tcase_add_test(head, a_name_that_moved_behind_its_value_is_seen);
    tcase_add_loop_test(head, the_most_specific_range_gives_the_quality, 0, COUNT(accepts));
    tcase_add_test(head, media_types_are_compared_without_parameters);
    tcase_add_test(head, ids_are_new_sortable_and_sane);
    suite_add_tcase(suite, head);
    TCase *route = tcase_create("route");
    tcase_add_loop_test(route, methods_and_paths_find_their_route, 0, COUNT(routes));
    tcase_add_test(route, no_long_name_is_cut_to_a_models);
    suite_add_tcase(suite, route);
    return suite;
}
