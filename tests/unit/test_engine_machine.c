/* CPUs that may be used: affinity and cgroup quotas; and which build this is. */
#include "engine/machine.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static temp_folder root;
static char membership[300];

static void write_file(const char *name, const char *text)
{
    temp_folder_write_text(&root, name, text);
}

static void make_folder(const char *name)
{
    ck_assert_int_eq(mkdir(temp_folder_file(&root, name), 0700), 0);
}

static void set_up(void)
{
    temp_folder_make(&root);
    (void)snprintf(membership, sizeof membership, "%s", temp_folder_file(&root, "membership"));
    make_folder("pod");
    make_folder("pod/container");
    make_folder("cpu");
    write_file("membership", "0::/pod/container\n");
}

static void tear_down(void)
{
    static const char *const names[] = {"pod/container/cpu.max",
                                        "pod/cpu.max",
                                        "cpu.max",
                                        "cpu/cpu.cfs_quota_us",
                                        "cpu/cpu.cfs_period_us",
                                        "membership",
                                        "pod/container",
                                        "pod",
                                        "cpu"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)remove(temp_folder_file(&root, names[i]));
    }
    temp_folder_remove(&root);
}

/* A trial that another build remembered would be taken for this one's. */
START_TEST(a_build_has_an_id)
{
    const char *id = fm_build()->id;
    ck_assert_uint_ge(strlen(id), 16);
    ck_assert_uint_eq(strspn(id, "0123456789abcdef"), strlen(id));
}
END_TEST

START_TEST(no_quota_file_means_no_quota)
{
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 0);
    ck_assert_double_eq(fm_cpu_quota("/nowhere", "/nowhere"), 0);
}
END_TEST

START_TEST(max_means_no_quota)
{
    write_file("pod/container/cpu.max", "max 100000\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 0);
}
END_TEST

START_TEST(the_tightest_group_on_the_way_up_counts)
{
    write_file("pod/container/cpu.max", "400000 100000\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 4);
    write_file("pod/cpu.max", "150000 100000\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 1.5);
    write_file("cpu.max", "50000 100000\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 0.5);
}
END_TEST

START_TEST(version_one_is_read_where_version_two_is_not)
{
    write_file("membership", "3:cpu,cpuacct:/\n");
    write_file("cpu/cpu.cfs_quota_us", "250000\n");
    write_file("cpu/cpu.cfs_period_us", "100000\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 2.5);
    write_file("cpu/cpu.cfs_quota_us", "-1\n");
    ck_assert_double_eq(fm_cpu_quota(membership, root.path), 0);
}
END_TEST

START_TEST(count_follows_the_affinity_mask)
{
    cpu_set_t old, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof old, &old), 0);
    ck_assert_uint_le(fm_cpu_count(), (size_t)CPU_COUNT(&old));
    ck_assert_uint_ge(fm_cpu_count(), 1);
    int first = 0;
    while (!CPU_ISSET(first, &old)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(fm_cpu_count(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof old, &old), 0);
}
END_TEST

static void *ask_build(void *context)
{
    (void)context;
    return (void *)(uintptr_t)(fm_build() != NULL);
}

START_TEST(build_information_outlives_the_thread_that_asked_first)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_build, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_gt(strlen(fm_build()->dense_version), 0);
}
END_TEST

Suite *suite_engine_machine(void)
{
    Suite *suite = suite_create("engine/machine");
    TCase *tcase = tcase_create("cpus");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_build_has_an_id);
    tcase_add_test(tcase, no_quota_file_means_no_quota);
    tcase_add_test(tcase, max_means_no_quota);
    tcase_add_test(tcase, the_tightest_group_on_the_way_up_counts);
    tcase_add_test(tcase, version_one_is_read_where_version_two_is_not);
    tcase_add_test(tcase, build_information_outlives_the_thread_that_asked_first);
    tcase_add_test(tcase, count_follows_the_affinity_mask);
    suite_add_tcase(suite, tcase);
    return suite;
}
