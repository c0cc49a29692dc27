/* Admission: what is taken on, what is refused, and the promise of Retry-After. */
#include "server/admission.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>

static fmd_admission fresh(void)
{
    return (fmd_admission){.max_requests = 3, .max_seconds = 10, .max_bytes = 1000};
}

static fmd_verdict take(fmd_admission *admission, double seconds, uint64_t bytes, uint64_t *retry)
{
    /* As with one admitted request that nothing of is done and that has no deadline. */
    fmd_load load = {.ahead_seconds = fmin(admission->seconds, seconds),
                     .work_seconds = admission->seconds,
                     .place_seconds = admission->seconds,
                     .gone_seconds = admission->seconds};
    return fmd_admission_take(admission, &(fmd_cost){seconds, seconds, bytes}, &load, retry);
}

START_TEST(requests_are_counted_up_and_down)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(take(&admission, 1, 100, &retry), FMD_ADMITTED);
    }
    fmd_load load = {
        .ahead_seconds = 3, .work_seconds = 3, .place_seconds = 0.7, .gone_seconds = 4};
    ck_assert_int_eq(fmd_admission_take(&admission, &(fmd_cost){1, 1, 100}, &load, &retry),
                     FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 700); /* the first to end leaves its place */
    fmd_admission_release(&admission, &(fmd_cost){1, 1, 100});
    ck_assert_int_eq(take(&admission, 1, 100, &retry), FMD_ADMITTED);
    ck_assert_uint_eq(admission.bytes, 300);
}
END_TEST

START_TEST(time_is_bounded_and_retry_after_is_the_excess)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    ck_assert_int_eq(take(&admission, 9, 1, &retry), FMD_ADMITTED);
    ck_assert_int_eq(take(&admission, 5.5, 1, &retry), FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 1000);
    /* With five seconds of the nine done it fits. */
    fmd_load load = {.ahead_seconds = 4, .work_seconds = 4, .place_seconds = 4, .gone_seconds = 4};
    ck_assert_int_eq(fmd_admission_take(&admission, &(fmd_cost){5.5, 5.5, 1}, &load, &retry),
                     FMD_ADMITTED);
}
END_TEST

START_TEST(the_excess_drains_at_the_pace_that_is_seen)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    ck_assert_int_eq(take(&admission, 9, 1, &retry), FMD_ADMITTED);
    /* What was predicted as six seconds of work will take twenty-four. */
    fmd_load slow = {
        .ahead_seconds = 6, .work_seconds = 6, .place_seconds = 24, .gone_seconds = 24};
    ck_assert_int_eq(fmd_admission_take(&admission, &(fmd_cost){6, 6, 1}, &slow, &retry),
                     FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 8000);
}
END_TEST

START_TEST(a_long_request_of_little_work_counts_as_long_and_takes_little)
{
    fmd_admission admission = fresh();
    fmd_load none = {.ahead_seconds = 0};
    const fmd_cost serial = {8, 0.5, 1};
    uint64_t retry = 0;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fmd_admission_take(&admission, &serial, &none, &retry), FMD_ADMITTED);
    }
    ck_assert_double_eq(admission.seconds, 1);
    fmd_load busy = {.ahead_seconds = 2.5, .work_seconds = 5, .gone_seconds = 5};
    ck_assert_int_eq(fmd_admission_take(&admission, &serial, &busy, &retry), FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 500);
    fmd_admission_release(&admission, &serial);
    ck_assert_double_eq(admission.seconds, 0.5);
}
END_TEST

START_TEST(a_short_request_does_not_wait_for_a_long_one)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    ck_assert_int_eq(take(&admission, 1000, 1, &retry), FMD_ADMITTED);
    ck_assert_int_eq(take(&admission, 0.1, 1, &retry), FMD_ADMITTED);
    /* But for many that are as short as itself. */
    fmd_load load = {.ahead_seconds = 10, .work_seconds = 1000, .gone_seconds = 1000};
    ck_assert_int_eq(fmd_admission_take(&admission, &(fmd_cost){0.1, 0.1, 1}, &load, &retry),
                     FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 100);
}
END_TEST

START_TEST(a_request_over_every_bound_of_time_is_admitted_alone)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    ck_assert_int_eq(take(&admission, 1000, 1, &retry), FMD_ADMITTED);
    ck_assert_int_eq(take(&admission, 1000, 1, &retry), FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 1000000); /* when the first is done, not later */
    fmd_load cut_off = {.ahead_seconds = 60, .work_seconds = 60, .gone_seconds = 60};
    ck_assert_int_eq(fmd_admission_take(&admission, &(fmd_cost){1000, 1000, 1}, &cut_off, &retry),
                     FMD_QUEUE_FULL);
    ck_assert_uint_eq(retry, 60000); /* nor after its deadline */
}
END_TEST

START_TEST(memory_that_never_fits_is_told_from_memory_that_will)
{
    fmd_admission admission = fresh();
    uint64_t retry = 0;
    ck_assert_int_eq(take(&admission, 1, 1001, &retry), FMD_TOO_LARGE);
    ck_assert_int_eq(take(&admission, 1, UINT64_MAX, &retry), FMD_TOO_LARGE);
    ck_assert_int_eq(take(&admission, 1, 600, &retry), FMD_ADMITTED);
    ck_assert_int_eq(take(&admission, 1, 600, &retry), FMD_MEMORY_FULL);
    ck_assert_uint_ge(retry, 1);
    ck_assert(!fmd_admission_take_bytes(&admission, 401));
    ck_assert(fmd_admission_take_bytes(&admission, 400));
    ck_assert(!fmd_admission_take_bytes(&admission, UINT64_MAX));
    fmd_admission_release_bytes(&admission, 400);
    ck_assert_uint_eq(admission.bytes, 600);
}
END_TEST

START_TEST(random_takes_and_releases_end_at_nothing)
{
    fmd_admission admission = {.max_requests = 50, .max_seconds = 100, .max_bytes = 100000};
    fmd_cost held[50];
    size_t n_held = 0;
    unsigned state = 1;
    for (int i = 0; i < 10000; i++) {
        state = state * 1103515245 + 12345;
        double seconds = (state >> 8) % 1000 / 77.0;
        fmd_cost cost = {seconds, seconds, (state >> 4) % 5000};
        uint64_t retry = 0;
        if (state % 3 != 0) {
            if (take(&admission, cost.seconds, cost.bytes, &retry) == FMD_ADMITTED) {
                held[n_held++] = cost;
            }
        } else if (n_held > 0) {
            fmd_admission_release(&admission, &held[--n_held]);
        }
        ck_assert_uint_eq(admission.requests, n_held);
        ck_assert_uint_le(admission.bytes, admission.max_bytes);
        ck_assert_double_ge(admission.seconds, 0);
    }
    while (n_held > 0) {
        fmd_admission_release(&admission, &held[--n_held]);
    }
    ck_assert_uint_eq(admission.bytes, 0);
    ck_assert_double_eq(admission.seconds, 0);
}
END_TEST

Suite *suite_server_admission(void)
{
    Suite *suite = suite_create("server/admission");
    TCase *tests = tcase_create("bounds");
    tcase_add_test(tests, requests_are_counted_up_and_down);
    tcase_add_test(tests, time_is_bounded_and_retry_after_is_the_excess);
    tcase_add_test(tests, the_excess_drains_at_the_pace_that_is_seen);
    tcase_add_test(tests, a_long_request_of_little_work_counts_as_long_and_takes_little);
    tcase_add_test(tests, a_short_request_does_not_wait_for_a_long_one);
    tcase_add_test(tests, a_request_over_every_bound_of_time_is_admitted_alone);
    tcase_add_test(tests, memory_that_never_fits_is_told_from_memory_that_will);
    tcase_add_test(tests, random_takes_and_releases_end_at_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
