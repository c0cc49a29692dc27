/* The growable buffer: its limit, its failure state and its lifetime. */
#include "proto/buffer.h"
#include "tests/unit/suites.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

START_TEST(appends_join_in_order)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    fmp_buffer_text(&buffer, "a");
    fmp_buffer_append(&buffer, "bcd", 2);
    fmp_buffer_format(&buffer, "%d/%s", 12, "x");
    size_t length = 0;
    char *data = fmp_buffer_take(&buffer, &length);
    ck_assert_uint_eq(length, 7);
    ck_assert_mem_eq(data, "abc12/x", 7);
    free(data);
    ck_assert_uint_eq(buffer.length, 0);
    ck_assert(!buffer.failed);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(holds_exactly_its_limit_and_fails_one_byte_later)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 1000);
    for (size_t i = 0; i < 1000; i++) {
        fmp_buffer_append(&buffer, "x", 1);
    }
    ck_assert(!buffer.failed);
    ck_assert_uint_eq(buffer.length, 1000);
    fmp_buffer_append(&buffer, "x", 1);
    ck_assert(buffer.failed);
    ck_assert_ptr_null(buffer.data);
    fmp_buffer_text(&buffer, "later appends do nothing");
    fmp_buffer_format(&buffer, "%s", "neither do these");
    ck_assert_uint_eq(buffer.length, 0);
    size_t length = 1;
    ck_assert_ptr_null(fmp_buffer_take(&buffer, &length));
    ck_assert_uint_eq(length, 0);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(a_reservation_over_the_limit_fails_even_when_it_overflows)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 100);
    fmp_buffer_text(&buffer, "0123456789");
    ck_assert_ptr_null(fmp_buffer_reserve(&buffer, SIZE_MAX - 4));
    ck_assert(buffer.failed);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(only_what_is_committed_counts)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, SIZE_MAX);
    char *room = fmp_buffer_reserve(&buffer, 4096);
    ck_assert_ptr_nonnull(room);
    memset(room, 'y', 4096);
    fmp_buffer_commit(&buffer, 3);
    ck_assert_uint_eq(buffer.length, 3);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(formats_longer_than_any_line)
{
    char text[3000];
    memset(text, 'z', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, sizeof text - 1);
    fmp_buffer_format(&buffer, "%s", text);
    ck_assert(!buffer.failed);
    ck_assert_uint_eq(buffer.length, sizeof text - 1);
    ck_assert_mem_eq(buffer.data, text, sizeof text - 1);
    fmp_buffer_done(&buffer);
}
END_TEST

START_TEST(an_empty_buffer_is_taken_as_no_bytes_and_not_as_failure)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 0);
    size_t length = 1;
    char *data = fmp_buffer_take(&buffer, &length);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(length, 0);
    free(data);
}
END_TEST

Suite *suite_proto_buffer(void)
{
    Suite *suite = suite_create("proto/buffer");
    TCase *tcase = tcase_create("buffer");
    tcase_add_test(tcase, appends_join_in_order);
    tcase_add_test(tcase, holds_exactly_its_limit_and_fails_one_byte_later);
    tcase_add_test(tcase, a_reservation_over_the_limit_fails_even_when_it_overflows);
    tcase_add_test(tcase, only_what_is_committed_counts);
    tcase_add_test(tcase, formats_longer_than_any_line);
    tcase_add_test(tcase, an_empty_buffer_is_taken_as_no_bytes_and_not_as_failure);
    suite_add_tcase(suite, tcase);
    return suite;
}
