/* Settings as text for people: their values, the shipped file, the flags. */
#include "config/options.h"
#include "config/setting.h"

#include <string.h>

void fmc_setting_write_origin(const fmc_setting *setting, const fmc_options *options, FILE *stream)
{
    const fmc_origin *origin = &options->origins[setting - fmc_settings];
    char name[FMC_NAME_MAX];
    switch (origin->source) {
    case FMC_FROM_DEFAULT:
        fputs("default", stream);
        break;
    case FMC_FROM_FILE:
        fprintf(stream, "%s:%u", options->file == NULL ? "file" : options->file, origin->line);
        break;
    case FMC_FROM_ENVIRONMENT:
        fmc_setting_variable(setting, name);
        fputs(name, stream);
        break;
    case FMC_FROM_FLAG:
        fmc_setting_flag(setting, name);
        fprintf(stream, "--%s", name);
        break;
    }
}

void fmc_options_print(const fmc_options *options, FILE *stream)
{
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        char name[FMC_NAME_MAX];
        fmc_setting_name(&fmc_settings[i], name);
        fprintf(stream, "%s = ", name);
        fmc_setting_write(&fmc_settings[i], options, stream);
        fputs("  (", stream);
        fmc_setting_write_origin(&fmc_settings[i], options, stream);
        fputs(")\n", stream);
    }
}

static bool has_range(const fmc_setting *setting)
{
    return setting->type != FMC_TYPE_ADDRESSES && setting->type != FMC_TYPE_PATH &&
           setting->type != FMC_TYPE_BOOLEAN;
}

void fmc_options_print_defaults(FILE *stream)
{
    fputs(
        "# velocityd.conf: every setting with its default. Generated from config/options.def.\n"
        "#\n"
        "# An environment variable VELOCITYD_SECTION_KEY or a flag --section-key overrides a value "
        "here.\n"
        "# Sizes take K, M or G; durations need ms, s, m or h. See what applies with:\n"
        "#   velocityd check-config --config FILE --print\n",
        stream);
    for (size_t section = 0; section < fmc_section_count; section++) {
        fprintf(stream, "\n# %s\n[%s]\n", fmc_sections[section].doc, fmc_sections[section].name);
        for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
            const fmc_setting *setting = &fmc_settings[i];
            if (strcmp(setting->section, fmc_sections[section].name) != 0) {
                continue;
            }
            fprintf(stream, "\n# %s", setting->doc);
            if (has_range(setting)) {
                fputs(" (", stream);
                fmc_setting_write_range(setting, stream);
                fputs(")", stream);
            }
            bool empty = setting->initial != NULL && setting->initial[0] == '\0';
            fprintf(stream, "\n;%s =%s", setting->key, empty ? "" : " ");
            fmc_setting_write_default(setting, stream);
            fputs("\n", stream);
        }
    }
}

void fmc_options_print_flags(FILE *stream)
{
    fputs("  --config FILE\n        settings as INI file (or VELOCITYD_CONFIG)\n", stream);
    for (size_t i = 0; i < FMC_SETTING_COUNT; i++) {
        const fmc_setting *setting = &fmc_settings[i];
        char name[FMC_NAME_MAX];
        fmc_setting_flag(setting, name);
        fputs("  ", stream);
        if (setting->alias != NULL && strcmp(setting->alias, name) != 0) {
            fprintf(stream, "--%s, ", setting->alias);
        }
        fprintf(stream, "--%s VALUE\n        %s", name, setting->doc);
        fputs(" [", stream);
        fmc_setting_write_default(setting, stream);
        fputs("]\n", stream);
    }
}
