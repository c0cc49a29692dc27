/* Settings: one table (options.def), four sources, one struct.
 *
 * A value comes from the strongest source that names it: default < INI file < environment < flag.
 * `[limits] samples` in the file is VELOCITYD_LIMITS_SAMPLES in the environment and --limits-samples as
 * a flag. Unknown keys, sections and VELOCITYD_* variables are errors, and so are values out of range. */
#ifndef FMC_OPTIONS_H
#define FMC_OPTIONS_H

#include "engine/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define FMC_KIB    ((uint64_t)1024)
#define FMC_MIB    (1024 * FMC_KIB)
#define FMC_GIB    (1024 * FMC_MIB)
#define FMC_SECOND ((uint64_t)1000) /* durations are kept in milliseconds */
#define FMC_HOUR   (3600 * FMC_SECOND)

typedef struct fmc_list {
    char **items;
    size_t count;
} fmc_list;

typedef enum fmc_source {
    FMC_FROM_DEFAULT,
    FMC_FROM_FILE,
    FMC_FROM_ENVIRONMENT,
    FMC_FROM_FLAG,
} fmc_source;

typedef struct fmc_origin {
    fmc_source source;
    unsigned line; /* FMC_FROM_FILE */
} fmc_origin;

/* How many settings there are: one enumerator a row. */
typedef enum fmc_setting_id {
#define FMC_SECTION(section, doc)
#define FMC_SECTION_END(section)
#define FMC_ADDRESSES(section, key, initial, alias, doc)                  FMC_ID_##section##_##key,
#define FMC_PATH(section, key, initial, alias, doc)                       FMC_ID_##section##_##key,
#define FMC_BOOLEAN(section, key, initial, alias, doc)                    FMC_ID_##section##_##key,
#define FMC_CHOICE(section, key, initial, choices, alias, doc)            FMC_ID_##section##_##key,
#define FMC_INTEGER(section, key, initial, minimum, maximum, alias, doc)  FMC_ID_##section##_##key,
#define FMC_SIZE(section, key, initial, minimum, maximum, alias, doc)     FMC_ID_##section##_##key,
#define FMC_DURATION(section, key, initial, minimum, maximum, alias, doc) FMC_ID_##section##_##key,
#include "config/options.def"
#include "config/options_undef.h"
    FMC_SETTING_COUNT,
} fmc_setting_id;

/* options.server.listen, options.limits.samples, …: sizes in bytes, durations in milliseconds, choices
 * as index into their list. Strings and lists are owned by the struct. */
typedef struct fmc_options {
#define FMC_SECTION(section, doc) struct {
#define FMC_SECTION_END(section)                                                                   \
    }                                                                                              \
    section;
#define FMC_ADDRESSES(section, key, initial, alias, doc)                  fmc_list key;
#define FMC_PATH(section, key, initial, alias, doc)                       char *key;
#define FMC_BOOLEAN(section, key, initial, alias, doc)                    bool key;
#define FMC_CHOICE(section, key, initial, choices, alias, doc)            unsigned key;
#define FMC_INTEGER(section, key, initial, minimum, maximum, alias, doc)  uint64_t key;
#define FMC_SIZE(section, key, initial, minimum, maximum, alias, doc)     uint64_t key;
#define FMC_DURATION(section, key, initial, minimum, maximum, alias, doc) uint64_t key;
#include "config/options.def"
#include "config/options_undef.h"
    char *file; /* the INI file read, or NULL */
    fmc_origin origins[FMC_SETTING_COUNT];
} fmc_options;

/* A flag without a value that belongs to a command and not to the table: --help, --print. */
typedef struct fmc_switch {
    const char *name; /* without dashes */
    bool *value;      /* set to true when the flag is seen */
} fmc_switch;

/* Every default; cannot be used before, and is released by fmc_options_done().
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fmc_options_init(fmc_options *options, fm_error *err);
void fmc_options_done(fmc_options *options); /* takes a zeroed one, too */

/* Adds file, environment and flags to an initialised struct.
 *   argc, argv   flags only; argv[0] is not looked at. --config FILE names the INI file, and so does
 *                the variable VELOCITYD_CONFIG
 *   environment  "NAME=value" strings, NULL-terminated; may be NULL
 *   switches     [n_switches] the command's own flags; may be NULL
 * Errors: FM_EINVAL names file and line, variable or flag, then the value and the rule it breaks;
 *         FM_EIO the file cannot be read; FM_ENOMEM.
 * Thread: one at a time (getopt keeps globals). */
FM_MUST_USE fm_status fmc_options_load(fmc_options *options, int argc, char *const *argv,
                                       char *const *environment, const fmc_switch *switches,
                                       size_t n_switches, fm_error *err);

/* One line a setting: "section.key = value  (where it came from)". */
void fmc_options_print(const fmc_options *options, FILE *stream);
/* An INI file with every setting at its default, commented out, and its documentation. */
void fmc_options_print_defaults(FILE *stream);
/* The flags with their documentation, for --help. */
void fmc_options_print_flags(FILE *stream);

#endif
