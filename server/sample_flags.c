/* From command-line flags to a request body. */
#include "server/sample_flags.h"

#include "proto/api.h"
#include "server/command.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 64
#define MAX_WORKERS    1024

/* What getopt_long() returns, beyond its own '?': the command's flags, then a request field each. */
enum { FLAG_REQUEST = 256, FLAG_OUTPUT, FLAG_PAIRS, FLAG_WORKERS, FLAG_HELP, FLAG_FIRST_FIELD };

#define MAX_FLAGS (FLAG_FIRST_FIELD - FLAG_REQUEST + FMP_FIELD_COUNT + 1)

/* "/solver/first_step" becomes "solver-first-step". */
static void flag_name(const char *pointer, char ret[NAME_MAX_BYTES])
{
    size_t i = 0;
    for (pointer++; i < NAME_MAX_BYTES - 1 && pointer[i] != '\0'; i++) {
        ret[i] = pointer[i] == '/' || pointer[i] == '_' ? '-' : pointer[i];
    }
    ret[i] = '\0';
}

/* Fields of a later release are flags too, so that they are refused by name. */
static bool is_flag(const fmp_field *field)
{
    return (field->routes & FMP_API_SAMPLE) != 0;
}

static void print_help(void)
{
    puts(
        "Usage: velocityd sample MODEL_DIR [flags]\n\n"
        "  --request FILE   a request body; flags override its fields\n"
        "  --output FILE    *.npy: the samples as an array; *.png: images on one picture; *.json:\n"
        "                   the answer (default: the answer, on standard output)\n"
        "  --pairs FOLDER   writes x0.npy and x1.npy there: the starts and the samples, to train "
        "a\n"
        "                   rectified flow on (instead of the answer)\n"
        "  --workers N      threads; by default as many as the CPU quota and affinity allow\n\n"
        "Fields of the request (values are JSON; bare words are strings):");
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at(i);
        if (is_flag(field) && !field->later) {
            char name[NAME_MAX_BYTES];
            flag_name(field->pointer, name);
            printf("  --%s\n        %s\n", name, field->doc);
        }
    }
}

/* *body gets the value at the field's pointer; objects on the way are made. */
static bool set_field(json_t *body, const char *pointer, const char *text)
{
    /* Integers beyond 64 bits: numbers within a list, as a service's answers write them, but a seed alone. */
    bool is_list = text[0] == '[';
    size_t decode = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
    json_t *value = json_loads(text, decode | (is_list ? JSON_DECODE_INT_AS_REAL : 0), NULL);
    value = value == NULL ? json_string(text) : value;
    json_t *object = body;
    const char *name = pointer + 1;
    for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(name, '/')) {
        char key[NAME_MAX_BYTES];
        (void)snprintf(key, sizeof key, "%.*s", (int)(slash - name), name);
        json_t *inner = json_object_get(object, key);
        if (!json_is_object(inner)) {
            inner = json_object();
            if (json_object_set_new(object, key, inner) != 0) {
                json_decref(value);
                return false;
            }
        }
        object = inner;
        name = slash + 1;
    }
    return json_object_set_new(object, name, value) == 0;
}

/* error NULL: it is JSON, but no object. */
static int complain_about_request(const char *path, const json_error_t *error)
{
    if (error == NULL) {
        return fmd_complain(FMD_EXIT_USAGE, "%s: must be a JSON object", path);
    }
    if (json_error_code(error) == json_error_cannot_open_file) {
        return fmd_complain(FMD_EXIT_USAGE, "%s", error->text);
    }
    /* What jansson says of U+0000 names an option of its own. */
    bool is_nul = json_error_code(error) == json_error_null_character;
    return fmd_complain(FMD_EXIT_USAGE, "%s:%d: %s", path, error->line,
                        is_nul ? "\\u0000 is not allowed" : error->text);
}

static int load_request(json_t **body, const char *path)
{
    json_error_t error;
    json_t *loaded = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    bool was_read = loaded != NULL;
    if (loaded == NULL || !json_is_object(loaded)) {
        json_decref(loaded);
        return complain_about_request(path, was_read ? NULL : &error);
    }
    int failed = json_object_update_recursive(loaded, *body); /* flags are stronger */
    json_decref(*body);
    *body = loaded;
    return failed == 0 ? FMD_EXIT_OK : fmd_complain(FMD_EXIT_FAILED, "out of memory");
}

static int parse_workers(fmd_sample_flags *flags, const char *text)
{
    char *end = NULL;
    unsigned long workers = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || workers > MAX_WORKERS) {
        return fmd_complain(FMD_EXIT_USAGE, "--workers must be an integer from 0 to %d",
                            MAX_WORKERS);
    }
    flags->workers = workers;
    return FMD_EXIT_OK;
}

static bool ends_in(const char *path, const char *ending)
{
    size_t length = strlen(path), wanted = strlen(ending);
    return length >= wanted && strcasecmp(path + length - wanted, ending) == 0;
}

static int set_output(fmd_sample_flags *flags, const char *path)
{
    static const struct {
        const char *ending;
        fmp_encoding accepted;
    } files[] = {
        {".json", FMP_ENCODING_JSON}, {".npy", FMP_ENCODING_NPY}, {".png", FMP_ENCODING_PNG_GRID}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (ends_in(path, files[i].ending)) {
            flags->output = path;
            flags->accepted = files[i].accepted;
            return FMD_EXIT_OK;
        }
    }
    return fmd_complain(FMD_EXIT_USAGE, "--output must end in .npy, .png or .json, not \"%s\"",
                        path);
}

/* One flag that getopt_long() has found. */
static int take_flag(fmd_sample_flags *flags, json_t **body, int flag, const char **request)
{
    switch (flag) {
    case FLAG_REQUEST:
        *request = optarg;
        return FMD_EXIT_OK;
    case FLAG_OUTPUT:
        return set_output(flags, optarg);
    case FLAG_PAIRS:
        flags->pairs = optarg;
        return FMD_EXIT_OK;
    case FLAG_WORKERS:
        return parse_workers(flags, optarg);
    case FLAG_HELP:
    case 'h':
        flags->help = true;
        return FMD_EXIT_OK;
    default:
        break;
    }
    const fmp_field *field = fmp_field_at((size_t)(flag - FLAG_FIRST_FIELD));
    if (field->later) {
        char name[NAME_MAX_BYTES];
        flag_name(field->pointer, name);
        return fmd_complain(FMD_EXIT_USAGE, "--%s is not supported by this release", name);
    }
    return set_field(*body, field->pointer, optarg)
               ? FMD_EXIT_OK
               : fmd_complain(FMD_EXIT_FAILED, "out of memory");
}

static void list_flags(struct option options[MAX_FLAGS],
                       char names[FMP_FIELD_COUNT][NAME_MAX_BYTES])
{
    size_t count = 0;
    for (int i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at((size_t)i);
        if (is_flag(field)) {
            flag_name(field->pointer, names[i]);
            int argument = field->later ? optional_argument : required_argument;
            options[count++] = (struct option){names[i], argument, NULL, FLAG_FIRST_FIELD + i};
        }
    }
    options[count++] = (struct option){"request", required_argument, NULL, FLAG_REQUEST};
    options[count++] = (struct option){"output", required_argument, NULL, FLAG_OUTPUT};
    options[count++] = (struct option){"pairs", required_argument, NULL, FLAG_PAIRS};
    options[count++] = (struct option){"workers", required_argument, NULL, FLAG_WORKERS};
    options[count++] = (struct option){"help", no_argument, NULL, FLAG_HELP};
    options[count] = (struct option){0};
}

static int parse_into(fmd_sample_flags *flags, json_t **body, int argc, char **argv)
{
    struct option options[MAX_FLAGS];
    char names[FMP_FIELD_COUNT][NAME_MAX_BYTES];
    const char *request = NULL;
    int code = FMD_EXIT_OK;
    list_flags(options, names);
    optind = 1;
    opterr = 0; /* the complaint is ours, like every other */
    for (int flag = 0; code == FMD_EXIT_OK && flag != -1;) {
        flag = getopt_long(argc, argv, ":h", options, NULL);
        if (flag == '?' || flag == ':') {
            return fmd_complain(FMD_EXIT_USAGE, "%s: %s; see velocityd sample --help",
                                argv[optind - 1], flag == ':' ? "needs a value" : "no such flag");
        }
        code = flag == -1 ? code : take_flag(flags, body, flag, &request);
    }
    if (code != FMD_EXIT_OK || flags->help) {
        return code;
    }
    if (argc - optind != 1) {
        return fmd_complain(FMD_EXIT_USAGE, "usage: velocityd sample MODEL_DIR [flags]");
    }
    flags->folder = argv[optind];
    code = request == NULL ? code : load_request(body, request);
    if (code == FMD_EXIT_OK && flags->accepted != FMP_ENCODING_JSON &&
        json_object_get(*body, "trajectory") != NULL) {
        return fmd_complain(FMD_EXIT_USAGE,
                            "%s would hold the samples alone: --output must end in .json for a "
                            "request with /trajectory",
                            flags->output);
    }
    if (code == FMD_EXIT_OK && flags->pairs != NULL &&
        (flags->output != NULL || json_object_get(*body, "trajectory") != NULL)) {
        return fmd_complain(FMD_EXIT_USAGE,
                            "--pairs writes the ends of trajectories alone: it goes with neither "
                            "--output nor /trajectory");
    }
    return code;
}

int fmd_sample_flags_parse(fmd_sample_flags *flags, int argc, char **argv)
{
    json_t *body = json_object();
    int code = body == NULL ? fmd_complain(FMD_EXIT_FAILED, "out of memory")
                            : parse_into(flags, &body, argc, argv);
    if (code == FMD_EXIT_OK && flags->help) {
        print_help();
    } else if (code == FMD_EXIT_OK) {
        flags->body = json_dumps(body, JSON_COMPACT);
        code = flags->body == NULL ? fmd_complain(FMD_EXIT_FAILED, "out of memory") : code;
    }
    json_decref(body);
    return code;
}

void fmd_sample_flags_done(fmd_sample_flags *flags)
{
    free(flags->body);
    *flags = (fmd_sample_flags){0};
}
