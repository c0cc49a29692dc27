/* One setting: its row of options.def as data, and text to value and back. Private to config/. */
#ifndef FMC_SETTING_H
#define FMC_SETTING_H

#include "config/options.h"

typedef enum fmc_type {
    FMC_TYPE_ADDRESSES,
    FMC_TYPE_PATH,
    FMC_TYPE_BOOLEAN,
    FMC_TYPE_CHOICE,
    FMC_TYPE_INTEGER,
    FMC_TYPE_SIZE,
    FMC_TYPE_DURATION,
} fmc_type;

typedef struct fmc_setting {
    const char *section, *key;
    fmc_type type;
    size_t offset;       /* of the value in fmc_options */
    const char *initial; /* default as text; NULL for numbers and booleans */
    uint64_t initial_number, minimum, maximum;
    const char *choices; /* "one|two" */
    const char *alias;   /* flag without dashes, or NULL */
    const char *doc;
} fmc_setting;

typedef struct fmc_section {
    const char *name, *doc;
} fmc_section;

extern const fmc_setting fmc_settings[FMC_SETTING_COUNT];
extern const fmc_section fmc_sections[];
extern const size_t fmc_section_count;

/* "section.key", "VELOCITYD_SECTION_KEY", "section-key" (a flag without dashes). */
#define FMC_NAME_MAX 96
void fmc_setting_name(const fmc_setting *setting, char ret[FMC_NAME_MAX]);
void fmc_setting_variable(const fmc_setting *setting, char ret[FMC_NAME_MAX]);
void fmc_setting_flag(const fmc_setting *setting, char ret[FMC_NAME_MAX]);

/* Puts the default in place; lists begin with their one default item. */
FM_MUST_USE fm_status fmc_setting_reset(const fmc_setting *setting, fmc_options *options,
                                        fm_error *err);
/* Checks text and stores it; a list gains one item.
 * Errors: FM_EINVAL "must be …, not \"text\"" without the setting's name, which the caller adds. */
FM_MUST_USE fm_status fmc_setting_assign(const fmc_setting *setting, fmc_options *options,
                                         const char *text, fm_error *err);
/* Frees what the value owns. */
void fmc_setting_clear(const fmc_setting *setting, fmc_options *options);
/* The value as fmc_setting_assign() would read it; list items are separated by ", ". */
void fmc_setting_write(const fmc_setting *setting, const fmc_options *options, FILE *stream);
/* Where it came from: "velocityd.conf:12", "VELOCITYD_LIMITS_SAMPLES", "--limits-samples", "default". */
void fmc_setting_write_origin(const fmc_setting *setting, const fmc_options *options, FILE *stream);
/* Its default, likewise, and what a value may be: "1K to 1G", "debug, info, …". */
void fmc_setting_write_default(const fmc_setting *setting, FILE *stream);
void fmc_setting_write_range(const fmc_setting *setting, FILE *stream);

#endif
