/* From command-line flags to a request body. */
#include "server/sample_flags.h"

#include "proto/api.h"
#include "server/command.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64
#define MAX_WORKERS    1024

/* What getopt_long() returns, beyond its own '?': the command's flags, then a request field each. */
enum { FLAG_REQUEST = 256, FLAG_OUTPUT, FLAG_WORKERS, FLAG_HELP, FLAG_FIRST_FIELD };

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

static bool is_flag(const fmp_field *field)
{
    return (field->routes & FMP_API_SAMPLE) != 0 && !field->later;
}

static void print_help(void)
{
    puts("Usage: velocityd sample MODEL_DIR [flags]\n\n"
         "  --request FILE   a request body; flags override its fields\n"
         "  --output FILE    .npy: the samples as an array; else the JSON answer (default: "
         "standard\n"
         "                   output)\n"
         "  --workers N      threads; by default as many as the CPU quota and affinity allow\n\n"
         "Fields of the request (values are JSON; bare words are strings):");
    for (size_t i = 0; i < FMP_FIELD_COUNT; i++) {
        const fmp_field *field = fmp_field_at(i);
        if (is_flag(field)) {
            char name[NAME_MAX_BYTES];
            flag_name(field->pointer, name);
            printf("  --%s\n        %s\n", name, field->doc);
        }
    }
}

/* *body gets the value at the field's pointer; objects on the way are made. */
static bool set_field(json_t *body, const char *pointer, const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
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

static int load_request(json_t **body, const char *path)
{
    json_error_t error;
    json_t *loaded = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (loaded == NULL || !json_is_object(loaded)) {
        json_decref(loaded);
        return fmd_complain(FMD_EXIT_USAGE, "%s: %s", path,
                            loaded == NULL ? error.text : "must be a JSON object");
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

static void set_output(fmd_sample_flags *flags, const char *path)
{
    size_t length = strlen(path);
    flags->output = path;
    flags->npy = length > 4 && strcmp(path + length - 4, ".npy") == 0;
}

/* One flag that getopt_long() has found. */
static int take_flag(fmd_sample_flags *flags, json_t **body, int flag, const char **request)
{
    switch (flag) {
    case FLAG_REQUEST:
        *request = optarg;
        return FMD_EXIT_OK;
    case FLAG_OUTPUT:
        set_output(flags, optarg);
        return FMD_EXIT_OK;
    case FLAG_WORKERS:
        return parse_workers(flags, optarg);
    case FLAG_HELP:
        flags->help = true;
        return FMD_EXIT_OK;
    default:
        break;
    }
    const fmp_field *field = fmp_field_at((size_t)(flag - FLAG_FIRST_FIELD));
    return set_field(*body, field->pointer, optarg)
               ? FMD_EXIT_OK
               : fmd_complain(FMD_EXIT_FAILED, "out of memory");
}

static void list_flags(struct option options[MAX_FLAGS],
                       char names[FMP_FIELD_COUNT][NAME_MAX_BYTES])
{
    size_t count = 0;
    for (int i = 0; i < FMP_FIELD_COUNT; i++) {
        if (is_flag(fmp_field_at((size_t)i))) {
            flag_name(fmp_field_at((size_t)i)->pointer, names[i]);
            options[count++] =
                (struct option){names[i], required_argument, NULL, FLAG_FIRST_FIELD + i};
        }
    }
    options[count++] = (struct option){"request", required_argument, NULL, FLAG_REQUEST};
    options[count++] = (struct option){"output", required_argument, NULL, FLAG_OUTPUT};
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
        flag = getopt_long(argc, argv, "", options, NULL);
        if (flag == '?') {
            return fmd_complain(
                FMD_EXIT_USAGE,
                "%s: no such flag, or its value is missing; see velocityd sample --help",
                argv[optind - 1]);
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
    return request == NULL ? code : load_request(body, request);
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
