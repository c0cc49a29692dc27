/* Settings: every type, every source, their order, and what is refused with which words. */
#include "config/options.h"
#include "config/setting.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/suites.h"

#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 8

/* What is given to fmc_options_load(): flags, variables, and the text of an INI file or NULL. */
typedef struct sources {
    const char *flags[MAX_WORDS];
    const char *variables[MAX_WORDS];
    const char *file;
} sources;

static fm_status load(fmc_options *options, const sources *from, fm_error *error)
{
    char *argv[MAX_WORDS + 4] = {(char *)(uintptr_t)"serve"};
    char *environment[MAX_WORDS + 1] = {NULL};
    int argc = 1;
    temp_folder folder;
    temp_folder_make(&folder);
    char path[512];
    strcpy(path, temp_folder_file(&folder, "v.conf"));
    if (from->file != NULL) {
        temp_folder_write_text(&folder, "v.conf", from->file);
        argv[argc++] = (char *)(uintptr_t)"--config";
        argv[argc++] = path;
    }
    for (size_t i = 0; i < MAX_WORDS && from->flags[i] != NULL; i++) {
        argv[argc++] = (char *)(uintptr_t)from->flags[i];
    }
    for (size_t i = 0; i < MAX_WORDS && from->variables[i] != NULL; i++) {
        environment[i] = (char *)(uintptr_t)from->variables[i];
    }
    ck_assert_int_eq(fmc_options_init(options, error), FM_OK);
    fm_status status = fmc_options_load(options, argc, argv, environment, NULL, 0, error);
    temp_folder_remove(&folder);
    return status;
}

static void loads(fmc_options *options, const sources *from)
{
    fm_error error = {FM_OK, ""};
    ck_assert_msg(load(options, from, &error) == FM_OK, "%s", error.text);
}

START_TEST(defaults_are_those_of_the_table)
{
    fmc_options options;
    loads(&options, &(sources){.file = NULL});
    ck_assert_uint_eq(options.server.listen.count, 1);
    ck_assert_str_eq(options.server.listen.items[0], "127.0.0.1:8080");
    ck_assert_str_eq(options.server.models, "models");
    ck_assert_uint_eq(options.limits.body_bytes, 16 * 1024 * 1024);
    ck_assert_uint_eq(options.limits.timeout, 60000);
    ck_assert(options.log.access);
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        ck_assert_int_eq(options.origins[i].source, FMC_FROM_DEFAULT);
    }
    fmc_options_done(&options);
}
END_TEST

START_TEST(every_type_is_read)
{
    fmc_options options;
    loads(&options,
          &(sources){.file = "[limits]\nsamples = 12\nbody_bytes = 3K\nbody_timeout = 2m\n"
                             "[log]\nlevel = warning\naccess = no\n"
                             "[server]\nmodels = /a b\nlisten = unix:/x\n"});
    ck_assert_uint_eq(options.limits.samples, 12);
    ck_assert_uint_eq(options.limits.body_bytes, 3072);
    ck_assert_uint_eq(options.limits.body_timeout, 120000);
    ck_assert_uint_eq(options.log.level, 2);
    ck_assert(!options.log.access);
    ck_assert_str_eq(options.server.models, "/a b");
    ck_assert_str_eq(options.server.listen.items[0], "unix:/x");
    fmc_options_done(&options);
}
END_TEST

START_TEST(lines_may_begin_with_spaces)
{
    fmc_options options;
    loads(&options, &(sources){.file = "  [server]\nlisten = 127.0.0.1:0\n\n  workers = 3\n"
                                       "\t; a comment\n\tmodels = /m\n [limits]\n samples = 4\n"});
    ck_assert_uint_eq(options.server.listen.count, 1);
    ck_assert_str_eq(options.server.listen.items[0], "127.0.0.1:0");
    ck_assert_uint_eq(options.server.workers, 3);
    ck_assert_str_eq(options.server.models, "/m");
    ck_assert_uint_eq(options.limits.samples, 4);
    ck_assert_uint_eq(options.origins[FMC_ID_limits_samples].line, 8);
    fmc_options_done(&options);
}
END_TEST

START_TEST(a_flag_beats_a_variable_beats_the_file)
{
    fmc_options options;
    loads(&options, &(sources){.file = "[limits]\nsamples = 1\nsteps = 1\nevaluations = 1\n",
                               .variables = {"VELOCITYD_LIMITS_SAMPLES=2",
                                             "VELOCITYD_LIMITS_STEPS=2", "OTHER=x"},
                               .flags = {"--limits-samples", "3", "--workers=4"}});
    ck_assert_uint_eq(options.limits.samples, 3);
    ck_assert_uint_eq(options.limits.steps, 2);
    ck_assert_uint_eq(options.limits.evaluations, 1);
    ck_assert_uint_eq(options.server.workers, 4);
    ck_assert_int_eq(options.origins[FMC_ID_limits_samples].source, FMC_FROM_FLAG);
    ck_assert_int_eq(options.origins[FMC_ID_limits_steps].source, FMC_FROM_ENVIRONMENT);
    ck_assert_int_eq(options.origins[FMC_ID_limits_evaluations].source, FMC_FROM_FILE);
    ck_assert_uint_eq(options.origins[FMC_ID_limits_evaluations].line, 4);
    fmc_options_done(&options);
}
END_TEST

START_TEST(what_kubernetes_says_of_a_service_is_no_setting)
{
    fmc_options options;
    loads(&options,
          &(sources){.variables = {"VELOCITYD_SERVICE_HOST=10.0.0.7", "VELOCITYD_SERVICE_PORT=8080",
                                   "VELOCITYD_SERVICE_PORT_HTTP=8080",
                                   "VELOCITYD_PORT=tcp://10.0.0.7:8080",
                                   "VELOCITYD_PORT_8080_TCP=tcp://10.0.0.7:8080"}});
    fmc_options_done(&options);
    loads(&options, &(sources){.variables = {"VELOCITYD_PORT_8080_TCP_PROTO=tcp",
                                             "VELOCITYD_PORT_8080_TCP_PORT=8080",
                                             "VELOCITYD_PORT_8080_TCP_ADDR=10.0.0.7"}});
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        ck_assert_int_eq(options.origins[i].source, FMC_FROM_DEFAULT);
    }
    fmc_options_done(&options);
}
END_TEST

/* Lists of a weaker source are replaced as a whole. */
static const struct {
    sources from;
    const char *items[4];
} lists[] = {
    {{.file = "[server]\nlisten = a:1\nlisten = b:2\n"}, {"a:1", "b:2"}},
    {{.variables = {"VELOCITYD_SERVER_LISTEN=a:1, [::1]:2 ,unix:/c"}},
     {"a:1", "[::1]:2", "unix:/c"}},
    {{.flags = {"--listen", "a:1", "--server-listen", "b:2"}}, {"a:1", "b:2"}},
    {{.file = "[server]\nlisten = a:1\nlisten = b:2\n", .flags = {"--listen", "c:3"}}, {"c:3"}},
};

START_TEST(lists_gather_within_a_source_and_replace_across)
{
    fmc_options options;
    loads(&options, &lists[_i].from);
    size_t count = 0;
    while (lists[_i].items[count] != NULL) {
        ck_assert_uint_lt(count, options.server.listen.count);
        ck_assert_str_eq(options.server.listen.items[count], lists[_i].items[count]);
        count++;
    }
    ck_assert_uint_eq(options.server.listen.count, count);
    fmc_options_done(&options);
}
END_TEST

static const struct {
    sources from;
    const char *says[3]; /* all of them */
} refused[] = {
    {{.file = "[limits]\n\nsampels = 1\n"}, {"v.conf:3", "limits.sampels"}},
    {{.file = "[limit]\n"}, {"v.conf:1", "[limit]"}},
    {{.file = "samples = 1\n"}, {"v.conf:1", "section"}},
    {{.file = "[limits]\nsamples = 1\nsamples = 2\n"}, {"v.conf:3", "limits.samples", "line 2"}},
    {{.file = "[limits]\nnonsense\n"}, {"v.conf:2"}},
    {{.file = "[limits]\nsamples = many\n"}, {"v.conf:2", "limits.samples", "\"many\""}},
    {{.file = "[limits]\nsamples = 0\n"}, {"v.conf:2", "1 to 1000000000", "\"0\""}},
    {{.file = "[limits]\nsamples = -1\n"}, {"limits.samples", "\"-1\""}},
    {{.file = "[limits]\nsamples = 99999999999999999999\n"},
     {"limits.samples: must be from 1 to 1000000000, not \"99999999999999999999\""}},
    {{.file = "[limits]\nsamples = 99999999999999999999x\n"}, {"must be a whole number, not"}},
    {{.file = "[limits]\nbody_timeout = 99999999999999999999h\n"}, {"must be from 100ms to 1h"}},
    {{.file = "[limits]\nbody_bytes = 17G\n"}, {"1 to 16G", "\"17G\""}},
    {{.file = "[limits]\nmemory = 99999999999G\n"}, {"limits.memory", "must be from 1M to 1024G"}},
    {{.file = "[limits]\nbody_timeout = 20\n"}, {"ms, s, m or h", "\"20\""}},
    {{.file = "[log]\nlevel = loud\n"},
     {"must be one of debug, info, warning, error, not \"loud\""}},
    {{.file = "[log]\naccess = maybe\n"}, {"true or false", "\"maybe\""}},
    {{.file = "[server]\nlisten = nowhere\n"}, {"server.listen", "HOST:PORT", "\"nowhere\""}},
    {{.variables = {"VELOCITYD_LIMITS_SAMPELS=1"}}, {"VELOCITYD_LIMITS_SAMPELS", "unknown"}},
    {{.variables = {"VELOCITYD_SERVICE_HOSTS=1"}}, {"VELOCITYD_SERVICE_HOSTS", "unknown"}},
    {{.variables = {"VELOCITYD_SERVICE_PORT_=1"}}, {"VELOCITYD_SERVICE_PORT_", "unknown"}},
    {{.variables = {"VELOCITYD_PORTS=1"}}, {"VELOCITYD_PORTS", "unknown"}},
    {{.variables = {"VELOCITYD_PORT_TCP=1"}}, {"VELOCITYD_PORT_TCP", "unknown"}},
    {{.variables = {"VELOCITYD_PORT_80_TCP_HOST=1"}}, {"VELOCITYD_PORT_80_TCP_HOST", "unknown"}},
    {{.variables = {"VELOCITYD_LIMITS_SAMPLES="}}, {"VELOCITYD_LIMITS_SAMPLES", "limits.samples"}},
    {{.flags = {"--limits-sampels", "1"}}, {"--limits-sampels", "unknown"}},
    {{.flags = {"--limits-samples"}}, {"--limits-samples", "value"}},
    {{.flags = {"stray"}}, {"stray", "unexpected"}},
    {{.flags = {"--limits-timeout", "11m"}},
     {"--limits-timeout: limits.timeout: must not be over limits.timeout_max, not \"11m\""}},
    {{.file = "[limits]\ntimeout_max = 1s\n"},
     {"v.conf:2: limits.timeout_max: must not be under limits.timeout, not \"1s\""}},
    {{.file = "[limits]\ntimeout_max = 3m\n", .variables = {"VELOCITYD_LIMITS_TIMEOUT=4m"}},
     {"VELOCITYD_LIMITS_TIMEOUT: limits.timeout: must not be over limits.timeout_max"}},
    {{.flags = {"--limits-idle-timeout", "1500ms"}},
     {"--limits-idle-timeout: limits.idle_timeout: must be whole seconds, not \"1500ms\""}},
    {{.file = "[log]\n\n[limits]\nidle_timeout = 1500ms\n"},
     {"v.conf:4: limits.idle_timeout: must be whole seconds"}},
    {{.file = "[server]\nlisten = a:1\n  b:2\n"}, {"v.conf:3: unknown key server.b"}},
    {{.flags = {"--config", "/nonexistent.conf"}}, {"/nonexistent.conf", "No such file"}},
};

START_TEST(mistakes_are_errors_that_say_where_and_why)
{
    fmc_options options;
    fm_error error = {FM_OK, ""};
    ck_assert_int_ne(load(&options, &refused[_i].from, &error), FM_OK);
    for (size_t i = 0; i < 3 && refused[_i].says[i] != NULL; i++) {
        ck_assert_msg(strstr(error.text, refused[_i].says[i]) != NULL, "no \"%s\" in \"%s\"",
                      refused[_i].says[i], error.text);
    }
    fmc_options_done(&options);
}
END_TEST

/* The length of a line that libinih is built to take. */
#define MAX_LINE 198

START_TEST(a_line_too_long_is_an_error_that_says_how_long_it_may_be)
{
    fmc_options options;
    fm_error error = {FM_OK, ""};
    for (size_t length = MAX_LINE; length < 600; length += 101) {
        char file[1024] = "[server]\nmodels = ";
        memset(file + strlen(file), 'x', length - strlen("models = "));
        strcat(file, "\n");
        fm_status status = load(&options, &(sources){.file = file}, &error);
        ck_assert_int_eq(status == FM_OK, length == MAX_LINE);
        fmc_options_done(&options);
    }
    ck_assert_ptr_nonnull(strstr(error.text, "v.conf:2: line too long: at most 198 bytes"));
}
END_TEST

START_TEST(switches_of_a_command_are_set)
{
    fmc_options options;
    fm_error error;
    bool print = false, help = false;
    const fmc_switch switches[] = {{"print", &print}, {"help", &help}};
    char *argv[] = {(char *)(uintptr_t)"check-config", (char *)(uintptr_t)"--print", NULL};
    ck_assert_int_eq(fmc_options_init(&options, &error), FM_OK);
    ck_assert_int_eq(fmc_options_load(&options, 2, argv, NULL, switches, 2, &error), FM_OK);
    ck_assert(print);
    ck_assert(!help);
    fmc_options_done(&options);
}
END_TEST

static char *printed(void (*print)(const fmc_options *, FILE *), const fmc_options *options)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    ck_assert_ptr_nonnull(stream);
    print(options, stream);
    fclose(stream);
    return text;
}

START_TEST(printing_shows_values_and_origins)
{
    fmc_options options;
    loads(&options, &(sources){.file = "[limits]\nbody_bytes = 2048\n",
                               .variables = {"VELOCITYD_LOG_LEVEL=error"},
                               .flags = {"--workers", "2"}});
    char *text = printed(fmc_options_print, &options);
    ck_assert_ptr_nonnull(strstr(text, "log.level = error  (VELOCITYD_LOG_LEVEL)\n"));
    ck_assert_ptr_nonnull(strstr(text, "server.workers = 2  (--server-workers)\n"));
    ck_assert_ptr_nonnull(strstr(text, "limits.timeout = 1m  (default)\n"));
    ck_assert_ptr_nonnull(strstr(text, "limits.body_bytes = 2K  ("));
    ck_assert_ptr_nonnull(strstr(text, "v.conf:2)\n"));
    free(text);
    fmc_options_done(&options);
}
END_TEST

static void print_defaults(const fmc_options *options, FILE *stream)
{
    (void)options;
    fmc_options_print_defaults(stream);
}

/* The shipped file, its settings uncommented, is read back to the defaults. */
START_TEST(the_printed_defaults_read_back)
{
    char *text = printed(print_defaults, NULL);
    for (char *c = text; (c = strstr(c, "\n;")) != NULL; c++) {
        memmove(c + 1, c + 2, strlen(c + 1));
    }
    fmc_options options, defaults;
    loads(&options, &(sources){.file = text});
    loads(&defaults, &(sources){.file = NULL});
    char *one = printed(fmc_options_print, &options), *two = printed(fmc_options_print, &defaults);
    for (char *a = one, *b = two; *a != '\0' || *b != '\0';) {
        ck_assert_msg(strncmp(a, b, strcspn(a, "(")) == 0, "%.60s against %.60s", a, b);
        a += strcspn(a, "\n") + 1;
        b += strcspn(b, "\n") + 1;
    }
    free(one);
    free(two);
    free(text);
    fmc_options_done(&options);
    fmc_options_done(&defaults);
}
END_TEST

START_TEST(the_shipped_file_is_current)
{
    char *text = printed(print_defaults, NULL);
    FILE *file = fopen("config/velocityd.conf", "re");
    ck_assert_ptr_nonnull(file);
    char shipped[16384];
    size_t length = fread(shipped, 1, sizeof shipped - 1, file);
    fclose(file);
    shipped[length] = '\0';
    ck_assert_msg(strcmp(text, shipped) == 0, "config/velocityd.conf is not what options.def says");
    free(text);
}
END_TEST

Suite *suite_config_options(void)
{
    Suite *suite = suite_create("config/options");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, defaults_are_those_of_the_table);
    tcase_add_test(reading, every_type_is_read);
    tcase_add_test(reading, lines_may_begin_with_spaces);
    tcase_add_test(reading, a_flag_beats_a_variable_beats_the_file);
    tcase_add_test(reading, what_kubernetes_says_of_a_service_is_no_setting);
    tcase_add_loop_test(reading, lists_gather_within_a_source_and_replace_across, 0,
                        (int)(sizeof lists / sizeof lists[0]));
    tcase_add_test(reading, switches_of_a_command_are_set);
    suite_add_tcase(suite, reading);
    TCase *refusing = tcase_create("refusing");
    tcase_add_loop_test(refusing, mistakes_are_errors_that_say_where_and_why, 0,
                        (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(refusing, a_line_too_long_is_an_error_that_says_how_long_it_may_be);
    suite_add_tcase(suite, refusing);
    TCase *printing = tcase_create("printing");
    tcase_add_test(printing, printing_shows_values_and_origins);
    tcase_add_test(printing, the_printed_defaults_read_back);
    tcase_add_test(printing, the_shipped_file_is_current);
    suite_add_tcase(suite, printing);
    return suite;
}
