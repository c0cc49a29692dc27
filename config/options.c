#include "config/options.h"

#include "config/setting.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Where a value comes from, for its origin and for error texts. */
typedef struct site {
    fmc_source source;
    unsigned line;
    char where[640]; /* "velocityd.conf:12", "VELOCITYD_LIMITS_SAMPLES", "--limits-samples" */
} site;

/* Stores text found at a site. The first value from a stronger source replaces a list's items, further
 * ones from the same source add to it. */
static fm_status assign(fmc_options *options, size_t index, const char *text, const site *at,
                        fm_error *err)
{
    const fmc_setting *setting = &fmc_settings[index];
    fmc_origin *origin = &options->origins[index];
    char name[FMC_NAME_MAX];
    fmc_setting_name(setting, name);
    bool again = origin->source == at->source && at->source != FMC_FROM_DEFAULT;
    if (again && at->source == FMC_FROM_FILE && setting->type != FMC_TYPE_ADDRESSES) {
        return fm_fail(err, FM_EINVAL, "%s: %s is already set in line %u", at->where, name,
                       origin->line);
    }
    if (!again && setting->type == FMC_TYPE_ADDRESSES) {
        fmc_setting_clear(setting, options);
    }
    fm_status status = fmc_setting_assign(setting, options, text, err);
    if (status != FM_OK) {
        return fm_fail_prefix(err, status, "%s: %s", at->where, name);
    }
    if (!again) {
        *origin = (fmc_origin){.source = at->source, .line = at->line};
    }
    return FM_OK;
}

/* ---- The INI file ---- */

typedef struct ini_state {
    fmc_options *options;
    FILE *stream;
    const char *path;
    unsigned line; /* of what libinih is looking at; its handler is not told */
    fm_status status;
    fm_error *err;
} ini_state;

static site ini_site(const ini_state *state)
{
    site at = {.source = FMC_FROM_FILE, .line = state->line};
    snprintf(at.where, sizeof at.where, "%.600s:%u", state->path, state->line);
    return at;
}

FM_PRINTF(2, 3) static void ini_fail(ini_state *state, const char *format, ...)
{
    if (state->status != FM_OK) {
        return;
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    site at = ini_site(state);
    state->status = fm_fail(state->err, FM_EINVAL, "%s: %s", at.where, text);
}

static bool section_known(const char *name, size_t length)
{
    for (size_t i = 0; i < fmc_section_count; i++) {
        if (strlen(fmc_sections[i].name) == length &&
            memcmp(fmc_sections[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* Looks at a section's heading itself, for libinih reports only sections that have keys. */
static void check_heading(ini_state *state, const char *line)
{
    size_t length = line[0] == '[' ? strcspn(line + 1, "]") : 0;
    if (line[0] == '[' && line[1 + length] == ']' && !section_known(line + 1, length)) {
        ini_fail(state, "unknown section [%.*s]", (int)length, line + 1);
    }
}

/* libinih's fgets: counts lines, and refuses those that would not fit its buffer. Spaces before a key are
 * taken off, for libinih would take the line as the value above it going on. */
static char *ini_read(char *text, int size, void *context)
{
    ini_state *state = context;
    char *line = fgets(text, size, state->stream);
    if (line == NULL) {
        return NULL;
    }
    state->line++;
    size_t length = strlen(line);
    if (length + 1 == (size_t)size && line[length - 1] != '\n' && !feof(state->stream)) {
        ini_fail(state, "line too long: at most %d bytes; a flag or a variable takes longer values",
                 size - 2);
    }
    size_t spaces = strspn(line, " \t");
    memmove(line, line + spaces, length - spaces + 1);
    check_heading(state, line);
    return state->status == FM_OK ? line : NULL;
}

static int ini_value(void *context, const char *section, const char *key, const char *text)
{
    ini_state *state = context;
    if (state->status != FM_OK) {
        return 0;
    }
    if (section[0] == '\0') {
        ini_fail(state, "key \"%s\" before the first [section]", key);
        return 0;
    }
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        if (strcmp(fmc_settings[i].section, section) == 0 &&
            strcmp(fmc_settings[i].key, key) == 0) {
            site at = ini_site(state);
            state->status = assign(state->options, i, text, &at, state->err);
            return state->status == FM_OK;
        }
    }
    ini_fail(state, "unknown key %s.%s", section, key);
    return 0;
}

static fm_status load_file(fmc_options *options, const char *path, fm_error *err)
{
    ini_state state = {.options = options, .path = path, .status = FM_OK, .err = err};
    state.stream = fopen(path, "re");
    if (state.stream == NULL) {
        return fm_fail(err, FM_EIO, "%s: cannot be read: %s", path, strerror(errno));
    }
    int bad_line = ini_parse_stream(ini_read, &state, ini_value, &state);
    bool unreadable = ferror(state.stream) != 0;
    fclose(state.stream);
    if (state.status != FM_OK) {
        return state.status;
    }
    if (unreadable) {
        return fm_fail(err, FM_EIO, "%s: cannot be read", path);
    }
    if (bad_line < 0) {
        return fm_fail(err, FM_ENOMEM, "%s: out of memory", path);
    }
    if (bad_line > 0) {
        return fm_fail(err, FM_EINVAL, "%s:%d: neither [section] nor key = value", path, bad_line);
    }
    free(options->file);
    options->file = strdup(path);
    return options->file == NULL ? fm_fail(err, FM_ENOMEM, "out of memory") : FM_OK;
}

/* ---- The environment ---- */

#define VARIABLE_PREFIX "VELOCITYD_"
#define CONFIG_VARIABLE VARIABLE_PREFIX "CONFIG"

static fm_status assign_items(fmc_options *options, size_t index, const char *text, const site *at,
                              fm_error *err)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    fm_status status = FM_OK;
    char *rest = copy;
    while (status == FM_OK && rest != NULL) {
        char *item = strsep(&rest, ",");
        item += strspn(item, " \t");
        size_t length = strlen(item);
        while (length > 0 && (item[length - 1] == ' ' || item[length - 1] == '\t')) {
            item[--length] = '\0';
        }
        status = assign(options, index, item, at, err);
    }
    free(copy);
    return status;
}

/* Kubernetes' variables about a Service named velocityd, which every pod of its namespace gets:
 * SERVICE_HOST, SERVICE_PORT[_<name>], PORT and PORT_<number>_<protocol>[_ADDR|_PORT|_PROTO] behind the
 * prefix. No setting has such a name. */
static bool is_of_kubernetes(const char *name)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP"};
    static const char *const parts[] = {"", "_ADDR", "_PORT", "_PROTO"};
    const char *rest = name + strlen(VARIABLE_PREFIX);
    if (strcmp(rest, "PORT") == 0 || strcmp(rest, "SERVICE_HOST") == 0 ||
        strcmp(rest, "SERVICE_PORT") == 0) {
        return true;
    }
    if (strncmp(rest, "SERVICE_PORT_", 13) == 0) {
        return rest[13] != '\0'; /* a port's name */
    }
    size_t digits = strncmp(rest, "PORT_", 5) == 0 ? strspn(rest + 5, "0123456789") : 0;
    if (digits == 0 || rest[5 + digits] != '_') {
        return false;
    }
    rest += 5 + digits + 1;
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        size_t length = strlen(protocols[i]);
        for (size_t k = 0; k < 4; k++) {
            if (strncmp(rest, protocols[i], length) == 0 && strcmp(rest + length, parts[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

static fm_status load_variable(fmc_options *options, const char *variable, fm_error *err)
{
    size_t length = strcspn(variable, "=");
    const char *text = variable[length] == '=' ? variable + length + 1 : "";
    site at = {.source = FMC_FROM_ENVIRONMENT};
    snprintf(at.where, sizeof at.where, "%.*s", (int)(length < 600 ? length : 600), variable);
    if (strcmp(at.where, CONFIG_VARIABLE) == 0 || is_of_kubernetes(at.where)) {
        return FM_OK;
    }
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        char name[FMC_NAME_MAX];
        fmc_setting_variable(&fmc_settings[i], name);
        if (strcmp(name, at.where) == 0) {
            return fmc_settings[i].type == FMC_TYPE_ADDRESSES
                       ? assign_items(options, i, text, &at, err)
                       : assign(options, i, text, &at, err);
        }
    }
    return fm_fail(err, FM_EINVAL, "%s: unknown variable", at.where);
}

static fm_status load_environment(fmc_options *options, char *const *environment, fm_error *err)
{
    for (char *const *variable = environment; variable != NULL && *variable != NULL; variable++) {
        if (strncmp(*variable, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) == 0) {
            fm_status status = load_variable(options, *variable, err);
            if (status != FM_OK) {
                return status;
            }
        }
    }
    return FM_OK;
}

static const char *environment_find(char *const *environment, const char *name)
{
    size_t length = strlen(name);
    for (char *const *variable = environment; variable != NULL && *variable != NULL; variable++) {
        if (strncmp(*variable, name, length) == 0 && (*variable)[length] == '=') {
            return *variable + length + 1;
        }
    }
    return NULL;
}

/* ---- The flags ---- */

#define MAX_SWITCHES 16
#define MAX_FLAGS    (2 * FMC_SETTING_COUNT + MAX_SWITCHES + 2)

/* What getopt_long() returns for a row: settings from FIRST_SETTING on, then --config, then switches;
 * all beyond any character, which getopt keeps for itself. */
#define FIRST_SETTING 1000
#define FLAG_CONFIG   (FIRST_SETTING + (int)FMC_SETTING_COUNT)
#define FIRST_SWITCH  (FLAG_CONFIG + 1)

typedef struct flag_table {
    const fmc_switch *switches;
    size_t n_switches;
    struct option rows[MAX_FLAGS];
    char names[FMC_SETTING_COUNT][FMC_NAME_MAX];
} flag_table;

static void flag_table_fill(flag_table *table, const fmc_switch *switches, size_t n_switches)
{
    assert(n_switches <= MAX_SWITCHES);
    table->switches = switches;
    table->n_switches = n_switches;
    size_t n = 0;
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        int argument =
            fmc_settings[i].type == FMC_TYPE_BOOLEAN ? optional_argument : required_argument;
        fmc_setting_flag(&fmc_settings[i], table->names[i]);
        table->rows[n++] = (struct option){table->names[i], argument, NULL, FIRST_SETTING + (int)i};
        if (fmc_settings[i].alias != NULL) {
            table->rows[n++] =
                (struct option){fmc_settings[i].alias, argument, NULL, FIRST_SETTING + (int)i};
        }
    }
    table->rows[n++] = (struct option){"config", required_argument, NULL, FLAG_CONFIG};
    for (size_t i = 0; i < n_switches; i++) {
        table->rows[n++] =
            (struct option){switches[i].name, no_argument, NULL, FIRST_SWITCH + (int)i};
    }
    table->rows[n] = (struct option){NULL, 0, NULL, 0};
}

/* What getopt_long() returns for a switch, or '?'. */
static int switch_find(const flag_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_switches; i++) {
        if (strcmp(table->switches[i].name, name) == 0) {
            return FIRST_SWITCH + (int)i;
        }
    }
    return '?';
}

/* One pass over the arguments. With assign_values only settings are stored; without, only --config and
 * the switches are, for the file has to be read before the flags that override it. */
static fm_status scan_flags(fmc_options *options, int argc, char *const *argv,
                            const flag_table *table, bool assign_values, const char **ret_config,
                            fm_error *err)
{
    optind = 0; /* glibc: start afresh */
    opterr = 0;
    int row = 0, id = 0;
    while ((id = getopt_long(argc, argv, ":h", table->rows, &row)) != -1) {
        if (id == 'h') {
            id = switch_find(table, "help"); /* where the command has one */
        }
        if (id == ':' || id == '?') {
            return fm_fail(err, FM_EINVAL, "%s: %s", argv[optind - 1],
                           id == ':' ? "needs a value" : "unknown flag");
        }
        if (id >= FIRST_SWITCH) {
            *table->switches[id - FIRST_SWITCH].value = true;
        } else if (id == FLAG_CONFIG) {
            *ret_config = optarg;
        } else if (assign_values) {
            site at = {.source = FMC_FROM_FLAG};
            snprintf(at.where, sizeof at.where, "--%s", table->rows[row].name);
            fm_status status = assign(options, (size_t)(id - FIRST_SETTING),
                                      optarg == NULL ? "true" : optarg, &at, err);
            if (status != FM_OK) {
                return status;
            }
        }
    }
    if (optind < argc) {
        return fm_fail(err, FM_EINVAL, "%s: unexpected argument", argv[optind]);
    }
    return FM_OK;
}

/* ---- The whole ---- */

/* A rule that a value breaks beyond its row: where it came from, its name, the rule, the value. */
static fm_status fail_at(const fmc_options *options, fmc_setting_id id, const char *rule,
                         fm_error *err)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (stream == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    char name[FMC_NAME_MAX];
    fmc_setting_name(&fmc_settings[id], name);
    fmc_setting_write_origin(&fmc_settings[id], options, stream);
    fprintf(stream, ": %s: %s, not \"", name, rule);
    fmc_setting_write(&fmc_settings[id], options, stream);
    fputs("\"", stream);
    bool whole = fclose(stream) == 0;
    fm_status status =
        whole ? fm_fail(err, FM_EINVAL, "%s", text) : fm_fail(err, FM_ENOMEM, "out of memory");
    free(text);
    return status;
}

/* Of two values that exclude each other, the stronger source's is the one that was changed last. */
static fm_status check_timeouts(const fmc_options *options, fm_error *err)
{
    if (options->limits.timeout <= options->limits.timeout_max) {
        return FM_OK;
    }
    const fmc_origin *origins = options->origins;
    bool largest =
        origins[FMC_ID_limits_timeout_max].source > origins[FMC_ID_limits_timeout].source;
    return largest ? fail_at(options, FMC_ID_limits_timeout_max, "must not be under limits.timeout",
                             err)
                   : fail_at(options, FMC_ID_limits_timeout, "must not be over limits.timeout_max",
                             err);
}

/* Rules between settings. */
static fm_status check_relations(const fmc_options *options, fm_error *err)
{
    if (options->limits.idle_timeout % FMC_SECOND != 0) {
        return fail_at(options, FMC_ID_limits_idle_timeout, "must be whole seconds", err);
    }
    return check_timeouts(options, err);
}

fm_status fmc_options_init(fmc_options *options, fm_error *err)
{
    *options = (fmc_options){.file = NULL};
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        fm_status status = fmc_setting_reset(&fmc_settings[i], options, err);
        if (status != FM_OK) {
            fmc_options_done(options);
            return status;
        }
    }
    return FM_OK;
}

void fmc_options_done(fmc_options *options)
{
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        fmc_setting_clear(&fmc_settings[i], options);
    }
    free(options->file);
    options->file = NULL;
}

fm_status fmc_options_load(fmc_options *options, int argc, char *const *argv,
                           char *const *environment, const fmc_switch *switches, size_t n_switches,
                           fm_error *err)
{
    flag_table table = {.names = {""}};
    flag_table_fill(&table, switches, n_switches);
    const char *config = environment_find(environment, CONFIG_VARIABLE);
    fm_status status = scan_flags(options, argc, argv, &table, false, &config, err);
    if (status == FM_OK && config != NULL) {
        status = load_file(options, config, err);
    }
    if (status == FM_OK) {
        status = load_environment(options, environment, err);
    }
    if (status == FM_OK) {
        status = scan_flags(options, argc, argv, &table, true, &config, err);
    }
    return status == FM_OK ? check_relations(options, err) : status;
}
