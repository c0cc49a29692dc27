/* What trying a model told is remembered for the build that tried, and for no other. */
#include "engine/checkpoint/trial_file.h"
#include "engine/model.h"
#include "tests/support/failing_memory.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define MODEL "tests/golden/mlp-labels"

static temp_folder cache;

static void set_up(void)
{
    temp_folder_make(&cache);
}

static void tear_down(void)
{
    temp_folder_remove(&cache);
}

static fm_model *open_model(const char *cache_folder)
{
    const fm_model_options options = {.workers = 1, .cache_folder = cache_folder};
    fm_model *model = NULL;
    fm_error err = {0};
    fm_status status = fm_model_open(MODEL, &options, &model, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    return model;
}

static fm_model_info open_and_describe(const char *cache_folder)
{
    fm_model *model = open_model(cache_folder);
    fm_model_info info = *fm_model_describe(model);
    fm_model_unref(model);
    return info;
}

/* The cache's only file. */
static void only_file(char *ret, size_t size_bytes)
{
    DIR *listing = opendir(cache.path);
    ck_assert_ptr_nonnull(listing);
    size_t count = 0;
    for (const struct dirent *item = readdir(listing); item != NULL; item = readdir(listing)) {
        if (item->d_name[0] != '.') {
            (void)snprintf(ret, size_bytes, "%s", item->d_name);
            count++;
        }
    }
    (void)closedir(listing);
    ck_assert_uint_eq(count, 1);
}

/* What the file says, with the number or word behind `key` put in the place of its own. */
static void change_file(const char *name, const char *key, const char *value)
{
    char text[4096] = {0}, changed[8192], quoted[64];
    FILE *file = fopen(temp_folder_file(&cache, name), "re");
    ck_assert_ptr_nonnull(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    ck_assert_uint_gt(length, 0);
    (void)fclose(file);
    (void)snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    char *place = strstr(text, quoted);
    ck_assert_ptr_nonnull(place);
    place += strlen(quoted);
    (void)snprintf(changed, sizeof changed, "%.*s%s%s", (int)(place - text), text, value,
                   place + strcspn(place, ",\n}"));
    temp_folder_write_text(&cache, name, changed);
}

START_TEST(what_a_start_found_is_what_the_next_one_takes)
{
    fm_model_info first = open_and_describe(cache.path);
    ck_assert(first.bits_promised);
    char name[256];
    only_file(name, sizeof name);
    /* Numbers that no measuring would give. */
    change_file(name, "tile_rows", "3");
    change_file(name, "row_seconds", "12.5");
    change_file(name, "call_seconds", "25");
    change_file(name, "bits_independent", "false");
    fm_model_info second = open_and_describe(cache.path);
    ck_assert_uint_eq(second.tile_rows, 3);
    ck_assert_double_eq(second.evaluation_seconds, 12.5);
    ck_assert_double_eq(second.call_seconds, 25);
    ck_assert(!second.bits_promised);
}
END_TEST

START_TEST(another_build_tries_again_and_leaves_its_own_findings_in_the_place_of_the_old)
{
    (void)open_and_describe(cache.path);
    char name[256];
    only_file(name, sizeof name);
    change_file(name, "row_seconds", "12.5");
    change_file(name, "build", "\"another\"");
    fm_model_info second = open_and_describe(cache.path);
    ck_assert_double_lt(second.evaluation_seconds, 1);
    only_file(name, sizeof name); /* still one */
    change_file(name, "row_seconds", "12.5");
    ck_assert_double_eq(open_and_describe(cache.path).evaluation_seconds, 12.5);
}
END_TEST

static const char *const broken[] = {
    "", "{", "[]", "null", "independent\n", "{}", "{\"build\": 1}",
};

static const struct {
    const char *key, *value;
} changes[] = {
    {"tile_rows", "0"},
    {"tile_rows", "-1"},
    {"tile_rows", "1000000000"},
    {"tile_rows", "1.5"},
    {"row_seconds", "0"},
    {"row_seconds", "-1"},
    {"call_seconds", "0"},
    {"call_seconds", "\"1\""},
    {"bits_independent", "1"},
    {"call_seconds", "null"},
    {"row_seconds", "1, \"x\": 2"},
};

#define N_BROKEN  (sizeof broken / sizeof broken[0])
#define N_CHANGES (sizeof changes / sizeof changes[0])

START_TEST(a_broken_file_is_replaced)
{
    (void)open_and_describe(cache.path);
    char name[256];
    only_file(name, sizeof name);
    size_t index = (size_t)_i;
    change_file(name, "call_seconds", "25");
    if (index < N_BROKEN) {
        temp_folder_write_text(&cache, name, broken[index]);
    } else {
        change_file(name, changes[index - N_BROKEN].key, changes[index - N_BROKEN].value);
    }
    fm_model_info info = open_and_describe(cache.path);
    ck_assert(info.bits_promised);
    ck_assert_uint_ge(info.tile_rows, 2);
    ck_assert_double_lt(info.call_seconds, 1);
    ck_assert_double_gt(info.evaluation_seconds, 0);
    change_file(name, "row_seconds", "12.5");
    ck_assert_double_eq(open_and_describe(cache.path).evaluation_seconds, 12.5);
}
END_TEST

START_TEST(a_cache_that_cannot_be_written_costs_only_the_trial)
{
    fm_model_info info = open_and_describe("/proc/no/such/folder");
    ck_assert(info.bits_promised);
    ck_assert_uint_ge(info.tile_rows, 2);
}
END_TEST

#define N_WRITERS 8
#define N_WRITES  200

static char shared_path[600];

/* Each writes a text of another length. */
static void *write_many(void *context)
{
    fm_trial trial = {.bits_independent = true,
                      .tile_rows = 1,
                      .row_seconds = 1.0 / (3.0 + *(const double *)context),
                      .call_seconds = 1};
    for (size_t i = 0; i < N_WRITES; i++) {
        trial.tile_rows = trial.tile_rows == 1 ? 1000000000 : 1;
        fm_trial_file_write(shared_path, "build", &trial);
    }
    return NULL;
}

START_TEST(models_with_the_same_bytes_that_are_opened_at_once_leave_a_whole_file)
{
    (void)snprintf(shared_path, sizeof shared_path, "%s", temp_folder_file(&cache, "trial.json"));
    const fm_trial first = {.tile_rows = 1, .row_seconds = 1, .call_seconds = 1};
    fm_trial_file_write(shared_path, "build", &first);
    pthread_t writers[N_WRITERS];
    double numbers[N_WRITERS];
    for (size_t i = 0; i < N_WRITERS; i++) {
        numbers[i] = (double)i;
        ck_assert_int_eq(pthread_create(&writers[i], NULL, write_many, &numbers[i]), 0);
    }
    size_t broken_reads = 0;
    for (size_t i = 0; i < (size_t)N_WRITERS * N_WRITES; i++) {
        fm_trial trial;
        broken_reads += !fm_trial_file_read(shared_path, "build", SIZE_MAX, &trial);
    }
    for (size_t i = 0; i < N_WRITERS; i++) {
        ck_assert_int_eq(pthread_join(writers[i], NULL), 0);
    }
    ck_assert_uint_eq(broken_reads, 0);
    char name[256];
    only_file(name, sizeof name); /* nothing was left aside */
}
END_TEST

/* Without memory it is as if there were no file. */
START_TEST(a_file_that_memory_lacks_for_counts_as_none)
{
    const fm_trial written = {
        .bits_independent = true, .tile_rows = 4, .row_seconds = 0.1, .call_seconds = 1.0 / 3.0};
    char path[600];
    (void)snprintf(path, sizeof path, "%s", temp_folder_file(&cache, "trial.json"));
    fm_trial_file_write(path, "build", &written);
    bool refused = true, whole = false;
    for (size_t k = 0; refused; k++) {
        fm_trial trial = {0};
        failing_memory_start(k);
        whole = fm_trial_file_read(path, "build", 64, &trial);
        refused = failing_memory_stop();
        ck_assert(whole || trial.tile_rows == 0);
        ck_assert(!whole || (trial.bits_independent && trial.tile_rows == 4));
        ck_assert(!whole || (trial.row_seconds == 0.1 && trial.call_seconds == 1.0 / 3.0));
    }
    ck_assert(whole);
    failing_memory_start(0);
    fm_trial_file_write(path, "build", &written);
    (void)failing_memory_stop();
    fm_trial trial = {0};
    ck_assert(fm_trial_file_read(path, "build", 64, &trial));
}
END_TEST

Suite *suite_engine_model_trial(void)
{
    Suite *suite = suite_create("engine/model_trial");
    TCase *tcase = tcase_create("trial");
    tcase_set_timeout(tcase, 60); /* its files may lie on a slow disk */
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_a_start_found_is_what_the_next_one_takes);
    tcase_add_test(tcase,
                   another_build_tries_again_and_leaves_its_own_findings_in_the_place_of_the_old);
    tcase_add_loop_test(tcase, a_broken_file_is_replaced, 0, (int)(N_BROKEN + N_CHANGES));
    tcase_add_test(tcase, a_cache_that_cannot_be_written_costs_only_the_trial);
    tcase_add_test(tcase, models_with_the_same_bytes_that_are_opened_at_once_leave_a_whole_file);
    tcase_add_test(tcase, a_file_that_memory_lacks_for_counts_as_none);
    suite_add_tcase(suite, tcase);
    return suite;
}
