/* Listen addresses: the three forms, and what is none of them. */
#include "config/address.h"
#include "tests/unit/suites.h"

#include <string.h>

static const struct {
    const char *text, *host;
    unsigned port;
} good[] = {
    {"127.0.0.1:8080", "127.0.0.1", 8080},
    {"localhost:0", "localhost", 0},
    {"[::1]:65535", "::1", 65535},
    {"[fe80::1%eth0]:1", "fe80::1%eth0", 1},
    {":80", "", 80},
    {"*:80", "*", 80},
};

START_TEST(host_and_port_are_taken_apart)
{
    fmc_address address;
    fm_error error = {FM_OK, ""};
    ck_assert_msg(fmc_address_parse(good[_i].text, &address, &error) == FM_OK, "%s", error.text);
    ck_assert(!address.is_unix);
    ck_assert_str_eq(address.host, good[_i].host);
    ck_assert_uint_eq(address.port, good[_i].port);
}
END_TEST

static const char *const bad[] = {
    "",
    "localhost",
    "localhost:",
    "localhost:x",
    "localhost:65536",
    "localhost:-1",
    "localhost:1 ",
    "::1:80",
    "[::1]",
    "[::1:80",
    "[]80",
    "unix:",
    "a:000080",
    "a:+1",
};

START_TEST(other_forms_are_refused)
{
    fmc_address address = {.port = 7};
    fm_error error = {FM_OK, ""};
    ck_assert_int_eq(fmc_address_parse(bad[_i], &address, &error), FM_EINVAL);
    ck_assert_uint_gt(strlen(error.text), 0);
    ck_assert_uint_eq(address.port, 7);
}
END_TEST

START_TEST(unix_paths_fit_their_socket_address)
{
    char text[5 + FMC_ADDRESS_MAX_PATH + 2] = "unix:";
    memset(text + 5, 'p', FMC_ADDRESS_MAX_PATH);
    fmc_address address;
    fm_error error;
    ck_assert_int_eq(fmc_address_parse(text, &address, &error), FM_OK);
    ck_assert(address.is_unix);
    ck_assert_str_eq(address.path, text + 5);
    text[5 + FMC_ADDRESS_MAX_PATH] = 'p';
    ck_assert_int_eq(fmc_address_parse(text, &address, &error), FM_EINVAL);
}
END_TEST

Suite *suite_config_address(void)
{
    Suite *suite = suite_create("config/address");
    TCase *tests = tcase_create("forms");
    tcase_add_loop_test(tests, host_and_port_are_taken_apart, 0,
                        (int)(sizeof good / sizeof good[0]));
    tcase_add_loop_test(tests, other_forms_are_refused, 0, (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(tests, unix_paths_fit_their_socket_address);
    suite_add_tcase(suite, tests);
    return suite;
}
