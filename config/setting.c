#include "config/setting.h"

#include "config/address.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A default outside its own range does not compile. */
#define FMC_SECTION(section, doc)
#define FMC_SECTION_END(section)
#define FMC_ADDRESSES(section, key, initial, alias, doc)
#define FMC_PATH(section, key, initial, alias, doc)
#define FMC_BOOLEAN(section, key, initial, alias, doc)
#define FMC_CHOICE(section, key, initial, choices, alias, doc)
#define CHECK_RANGE(section, key, initial, minimum, maximum)                                       \
    _Static_assert((int64_t)(minimum) <= (int64_t)(initial) &&                                     \
                       (int64_t)(initial) <= (int64_t)(maximum),                                   \
                   #section "." #key ": default outside its range");
#define FMC_INTEGER(section, key, initial, minimum, maximum, alias, doc)                           \
    CHECK_RANGE(section, key, initial, minimum, maximum)
#define FMC_SIZE(section, key, initial, minimum, maximum, alias, doc)                              \
    CHECK_RANGE(section, key, initial, minimum, maximum)
#define FMC_DURATION(section, key, initial, minimum, maximum, alias, doc)                          \
    CHECK_RANGE(section, key, initial, minimum, maximum)
#include "config/options.def"
#include "config/options_undef.h"

const fmc_setting fmc_settings[FMC_SETTING_COUNT] = {
#define ROW(section_, key_, type_, ...)                                                            \
    {.section = #section_,                                                                         \
     .key = #key_,                                                                                 \
     .type = FMC_TYPE_##type_,                                                                     \
     .offset = offsetof(fmc_options, section_.key_),                                               \
     __VA_ARGS__},
#define NUMBER(section_, key_, type_, initial_, minimum_, maximum_, alias_, doc_)                  \
    ROW(section_, key_, type_, .initial_number = (initial_), .minimum = (minimum_),                \
        .maximum = (maximum_), .alias = (alias_), .doc = (doc_))
#define TEXT(section_, key_, type_, initial_, alias_, doc_)                                        \
    ROW(section_, key_, type_, .initial = (initial_), .alias = (alias_), .doc = (doc_))
#define FMC_SECTION(section, doc)
#define FMC_SECTION_END(section)
#define FMC_ADDRESSES(section, key, initial, alias, doc)                                           \
    TEXT(section, key, ADDRESSES, initial, alias, doc)
#define FMC_PATH(section, key, initial, alias, doc) TEXT(section, key, PATH, initial, alias, doc)
#define FMC_BOOLEAN(section, key, initial, alias, doc)                                             \
    NUMBER(section, key, BOOLEAN, initial, 0, 1, alias, doc)
#define FMC_CHOICE(section, key, initial_, choices_, alias_, doc_)                                 \
    ROW(section, key, CHOICE, .initial = (initial_), .choices = (choices_), .alias = (alias_),     \
        .doc = (doc_))
#define FMC_INTEGER(section, key, initial, minimum, maximum, alias, doc)                           \
    NUMBER(section, key, INTEGER, initial, minimum, maximum, alias, doc)
#define FMC_SIZE(section, key, initial, minimum, maximum, alias, doc)                              \
    NUMBER(section, key, SIZE, initial, minimum, maximum, alias, doc)
#define FMC_DURATION(section, key, initial, minimum, maximum, alias, doc)                          \
    NUMBER(section, key, DURATION, initial, minimum, maximum, alias, doc)
#include "config/options.def"
#include "config/options_undef.h"
};

const fmc_section fmc_sections[] = {
#define FMC_SECTION(section, doc) {#section, doc},
#define FMC_SECTION_END(section)
#define FMC_ADDRESSES(section, key, initial, alias, doc)
#define FMC_PATH(section, key, initial, alias, doc)
#define FMC_BOOLEAN(section, key, initial, alias, doc)
#define FMC_CHOICE(section, key, initial, choices, alias, doc)
#define FMC_INTEGER(section, key, initial, minimum, maximum, alias, doc)
#define FMC_SIZE(section, key, initial, minimum, maximum, alias, doc)
#define FMC_DURATION(section, key, initial, minimum, maximum, alias, doc)
#include "config/options.def"
#include "config/options_undef.h"
};
const size_t fmc_section_count = sizeof fmc_sections / sizeof fmc_sections[0];

typedef struct suffix {
    const char *text;
    uint64_t factor;
} suffix;

/* Largest first, so that a value is written with the largest that divides it. */
static const suffix size_suffixes[] = {{"G", FMC_GIB}, {"M", FMC_MIB}, {"K", FMC_KIB}, {"", 1}};
static const suffix duration_suffixes[] = {
    {"h", FMC_HOUR}, {"m", 60 * FMC_SECOND}, {"s", FMC_SECOND}, {"ms", 1}};
static const suffix integer_suffixes[] = {{"", 1}};

typedef struct suffixes {
    const suffix *items;
    size_t count;
} suffixes;

static suffixes suffixes_of(fmc_type type)
{
    if (type == FMC_TYPE_SIZE) {
        return (suffixes){size_suffixes, sizeof size_suffixes / sizeof size_suffixes[0]};
    }
    if (type == FMC_TYPE_DURATION) {
        return (suffixes){duration_suffixes,
                          sizeof duration_suffixes / sizeof duration_suffixes[0]};
    }
    return (suffixes){integer_suffixes, 1};
}

static void *value_of(const fmc_setting *setting, fmc_options *options)
{
    return (char *)options + setting->offset;
}

static const void *const_value_of(const fmc_setting *setting, const fmc_options *options)
{
    return (const char *)options + setting->offset;
}

void fmc_setting_name(const fmc_setting *setting, char ret[FMC_NAME_MAX])
{
    snprintf(ret, FMC_NAME_MAX, "%s.%s", setting->section, setting->key);
}

void fmc_setting_variable(const fmc_setting *setting, char ret[FMC_NAME_MAX])
{
    snprintf(ret, FMC_NAME_MAX, "VELOCITYD_%s_%s", setting->section, setting->key);
    for (char *c = ret; *c != '\0'; c++) {
        *c = (char)toupper((unsigned char)*c);
    }
}

void fmc_setting_flag(const fmc_setting *setting, char ret[FMC_NAME_MAX])
{
    snprintf(ret, FMC_NAME_MAX, "%s-%s", setting->section, setting->key);
    for (char *c = ret; *c != '\0'; c++) {
        *c = *c == '_' ? '-' : *c;
    }
}

static const char *form_of(fmc_type type)
{
    switch (type) {
    case FMC_TYPE_SIZE:
        return "a whole number of bytes, with K, M or G for larger units";
    case FMC_TYPE_DURATION:
        return "a whole number with ms, s, m or h";
    case FMC_TYPE_BOOLEAN:
        return "true or false";
    case FMC_TYPE_INTEGER:
        return "a whole number";
    case FMC_TYPE_ADDRESSES:
    case FMC_TYPE_PATH:
    case FMC_TYPE_CHOICE:
        break;
    }
    return "text";
}

/* Digits and one of the type's suffixes to a number; false for another form. Zero needs no unit. What no
 * number holds becomes the largest, which is beyond every maximum. */
static bool number_parse(fmc_type type, const char *text, uint64_t *ret)
{
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10); /* the largest where it is beyond */
    if (number == 0 && *end == '\0') {
        *ret = 0;
        return true;
    }
    suffixes known = suffixes_of(type);
    for (size_t i = 0; i < known.count; i++) {
        if (strcasecmp(end, known.items[i].text) == 0) {
            bool beyond = __builtin_mul_overflow((uint64_t)number, known.items[i].factor, ret);
            *ret = beyond ? UINT64_MAX : *ret;
            return true;
        }
    }
    return false;
}

static void number_write(fmc_type type, uint64_t number, FILE *stream)
{
    suffixes known = suffixes_of(type);
    size_t i = 0;
    while (i + 1 < known.count && (number == 0 || number % known.items[i].factor != 0)) {
        i++;
    }
    fprintf(stream, "%" PRIu64 "%s", number / known.items[i].factor, known.items[i].text);
}

static fm_status assign_number(const fmc_setting *setting, uint64_t *ret, const char *text,
                               fm_error *err)
{
    uint64_t number = 0;
    if (!number_parse(setting->type, text, &number)) {
        return fm_fail(err, FM_EINVAL, "must be %s, not \"%s\"", form_of(setting->type), text);
    }
    if (number < setting->minimum || number > setting->maximum) {
        char *range = NULL;
        size_t length = 0;
        FILE *stream = open_memstream(&range, &length);
        if (stream != NULL) {
            fmc_setting_write_range(setting, stream);
            fclose(stream);
        }
        fm_status status = fm_fail(err, FM_EINVAL, "must be from %s, not \"%s\"",
                                   range == NULL ? "its minimum to its maximum" : range, text);
        free(range);
        return status;
    }
    *ret = number;
    return FM_OK;
}

static fm_status assign_boolean(bool *ret, const char *text, fm_error *err)
{
    static const char *const names[2][4] = {{"false", "no", "off", "0"},
                                            {"true", "yes", "on", "1"}};
    for (size_t i = 0; i < 8; i++) {
        if (strcasecmp(text, names[i % 2][i / 2]) == 0) {
            *ret = i % 2 == 1;
            return FM_OK;
        }
    }
    return fm_fail(err, FM_EINVAL, "must be %s, not \"%s\"", form_of(FMC_TYPE_BOOLEAN), text);
}

/* "one|two" as "one, two", cut to fit. */
static void choices_join(const char *choices, char *ret, size_t size)
{
    size_t used = 0;
    for (; *choices != '\0' && used + 2 < size; choices++) {
        ret[used++] = *choices == '|' ? ',' : *choices;
        if (*choices == '|') {
            ret[used++] = ' ';
        }
    }
    ret[used] = '\0';
}

static fm_status assign_choice(const fmc_setting *setting, unsigned *ret, const char *text,
                               fm_error *err)
{
    assert(setting->choices != NULL);
    unsigned index = 0;
    size_t length = strlen(text);
    for (const char *choice = setting->choices; choice != NULL; index++) {
        size_t choice_length = strcspn(choice, "|");
        if (choice_length == length && memcmp(choice, text, length) == 0) {
            *ret = index;
            return FM_OK;
        }
        choice = choice[choice_length] == '|' ? choice + choice_length + 1 : NULL;
    }
    char list[160];
    choices_join(setting->choices, list, sizeof list);
    return fm_fail(err, FM_EINVAL, "must be one of %s, not \"%s\"", list, text);
}

static fm_status assign_string(char **ret, const char *text, fm_error *err)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    free(*ret);
    *ret = copy;
    return FM_OK;
}

static fm_status assign_address(fmc_list *list, const char *text, fm_error *err)
{
    fmc_address address;
    fm_error why;
    if (fmc_address_parse(text, &address, &why) != FM_OK) {
        return fm_fail(err, FM_EINVAL, "%s, not \"%s\"", why.text, text);
    }
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    list->items = items;
    items[list->count] = NULL;
    fm_status status = assign_string(&items[list->count], text, err);
    list->count += status == FM_OK ? 1 : 0;
    return status;
}

fm_status fmc_setting_assign(const fmc_setting *setting, fmc_options *options, const char *text,
                             fm_error *err)
{
    void *value = value_of(setting, options);
    switch (setting->type) {
    case FMC_TYPE_ADDRESSES:
        return assign_address(value, text, err);
    case FMC_TYPE_PATH:
        return assign_string(value, text, err);
    case FMC_TYPE_BOOLEAN:
        return assign_boolean(value, text, err);
    case FMC_TYPE_CHOICE:
        return assign_choice(setting, value, text, err);
    case FMC_TYPE_INTEGER:
    case FMC_TYPE_SIZE:
    case FMC_TYPE_DURATION:
        return assign_number(setting, value, text, err);
    }
    return fm_fail(err, FM_EINTERNAL, "has no known type");
}

fm_status fmc_setting_reset(const fmc_setting *setting, fmc_options *options, fm_error *err)
{
    fmc_setting_clear(setting, options);
    if (setting->initial != NULL) {
        return fmc_setting_assign(setting, options, setting->initial, err);
    }
    if (setting->type == FMC_TYPE_BOOLEAN) {
        *(bool *)value_of(setting, options) = setting->initial_number != 0;
    } else {
        *(uint64_t *)value_of(setting, options) = setting->initial_number;
    }
    return FM_OK;
}

void fmc_setting_clear(const fmc_setting *setting, fmc_options *options)
{
    if (setting->type == FMC_TYPE_ADDRESSES) {
        fmc_list *list = value_of(setting, options);
        for (size_t i = 0; i < list->count; i++) {
            free(list->items[i]);
        }
        free(list->items);
        *list = (fmc_list){NULL, 0};
    } else if (setting->type == FMC_TYPE_PATH) {
        char **text = value_of(setting, options);
        free(*text);
        *text = NULL;
    }
}

static void choice_write(const char *choices, unsigned index, FILE *stream)
{
    while (index > 0) {
        choices += strcspn(choices, "|") + 1;
        index--;
    }
    fprintf(stream, "%.*s", (int)strcspn(choices, "|"), choices);
}

void fmc_setting_write(const fmc_setting *setting, const fmc_options *options, FILE *stream)
{
    const void *value = const_value_of(setting, options);
    switch (setting->type) {
    case FMC_TYPE_ADDRESSES: {
        const fmc_list *list = value;
        for (size_t i = 0; i < list->count; i++) {
            fprintf(stream, "%s%s", i > 0 ? ", " : "", list->items[i]);
        }
        break;
    }
    case FMC_TYPE_PATH:
        fputs(*(char *const *)value, stream);
        break;
    case FMC_TYPE_BOOLEAN:
        fputs(*(const bool *)value ? "true" : "false", stream);
        break;
    case FMC_TYPE_CHOICE:
        choice_write(setting->choices, *(const unsigned *)value, stream);
        break;
    case FMC_TYPE_INTEGER:
    case FMC_TYPE_SIZE:
    case FMC_TYPE_DURATION:
        number_write(setting->type, *(const uint64_t *)value, stream);
        break;
    }
}

void fmc_setting_write_default(const fmc_setting *setting, FILE *stream)
{
    if (setting->initial != NULL) {
        fputs(setting->initial, stream);
    } else if (setting->type == FMC_TYPE_BOOLEAN) {
        fputs(setting->initial_number != 0 ? "true" : "false", stream);
    } else {
        number_write(setting->type, setting->initial_number, stream);
    }
}

void fmc_setting_write_range(const fmc_setting *setting, FILE *stream)
{
    switch (setting->type) {
    case FMC_TYPE_INTEGER:
    case FMC_TYPE_SIZE:
    case FMC_TYPE_DURATION:
        number_write(setting->type, setting->minimum, stream);
        fputs(" to ", stream);
        number_write(setting->type, setting->maximum, stream);
        break;
    case FMC_TYPE_CHOICE:
        fputs(setting->choices, stream);
        break;
    case FMC_TYPE_BOOLEAN:
        fputs(form_of(setting->type), stream);
        break;
    case FMC_TYPE_ADDRESSES:
    case FMC_TYPE_PATH:
        break;
    }
}
