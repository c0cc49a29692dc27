/* velocityd convert: a checkpoint, or a model folder, into a new model folder of safetensors. */
#include "engine/checkpoint/file.h"
#include "engine/checkpoint/guess.h"
#include "engine/checkpoint/json_text.h"
#include "engine/checkpoint/output_folder.h"
#include "engine/checkpoint/pytorch.h"
#include "engine/checkpoint/weights.h"
#include "engine/fm_model.h"
#include "engine/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WEIGHTS_FILE     "model.safetensors"
#define CONFIG_FILE      "config.json"
#define MAX_CONFIG_BYTES ((size_t)64 << 20)

/* What is read and what will be written. */
typedef struct conversion {
    const fm_convert_options *options;
    fm_write_cb write;
    void *context;
    fm_tensors *tensors;
    fm_weights *weights;      /* stripped names, of a bare checkpoint */
    fm_safetensors_row *rows; /* [count] */
    size_t count;
    json_t *config, *assumed;
    char *vocabulary; /* the bytes of output.vocabulary of a folder, or NULL */
    size_t vocabulary_bytes;
} conversion;

static void say(const conversion *run, const char *format, ...) FM_PRINTF(2, 3);

static void say(const conversion *run, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0) {
        run->write(run->context, line,
                   (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
    }
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* ---- A bare checkpoint ---- */

static fm_status list_stripped(conversion *run, fm_error *err)
{
    const char *prefix = run->options->prefix == NULL ? "" : run->options->prefix;
    fm_status status = fm_weights_new(run->tensors, prefix, &run->weights, err);
    if (status != FM_OK) {
        return status;
    }
    run->count = fm_weights_count(run->weights);
    run->rows = fm_alloc_array(run->count, sizeof *run->rows);
    if (run->rows == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", run->count);
    }
    for (size_t i = 0; i < run->count; i++) {
        const fm_weights_entry *entry = fm_weights_at(run->weights, i);
        run->rows[i] = (fm_safetensors_row){.name = entry->name, .tensor = entry->tensor};
    }
    return FM_OK;
}

static fm_status read_file(conversion *run, const char *path, fm_error *err)
{
    fm_guess guess = {0};
    fm_status status = fm_tensors_open_entry(path, run->options->entry, &run->tensors, err);
    if (status == FM_OK) {
        status = list_stripped(run, err);
    }
    if (status == FM_OK) {
        status = fm_guess_config(run->rows, run->count, run->options->architecture,
                                 last_component(path), &guess, err);
    }
    if (status == FM_OK) {
        run->config = guess.config;
        run->assumed = guess.assumed;
    }
    return status;
}

/* ---- A model folder ---- */

static fm_status read_config(conversion *run, const char *folder, fm_error *err)
{
    char *path = fm_file_path(folder, CONFIG_FILE);
    char *text = NULL;
    size_t length = 0;
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    fm_status status = fm_file_read(path, MAX_CONFIG_BYTES, &text, &length, err);
    if (status == FM_OK) {
        status = fm_json_text_parse(text, length, NULL, &run->config, err);
        status = status == FM_OK ? FM_OK : fm_fail_prefix(err, status, "%s", path);
    }
    fm_free(text);
    fm_free(path);
    return status;
}

/* weights.file and weights.entry as config.json has them; the rest of it is not looked at. */
static fm_status read_names(const conversion *run, const char **ret_file, const char **ret_entry,
                            fm_error *err)
{
    if (!json_is_object(run->config)) {
        return fm_fail(err, FM_EFORMAT, CONFIG_FILE ": must be an object, found %s",
                       fm_json_kind(run->config));
    }
    const json_t *weights = json_object_get(run->config, "weights");
    const json_t *file = json_object_get(weights, "file");
    const json_t *entry = json_object_get(weights, "entry");
    if ((weights != NULL && !json_is_object(weights)) || (file != NULL && !json_is_string(file)) ||
        (entry != NULL && !json_is_string(entry))) {
        return fm_fail(err, FM_EFORMAT,
                       "/weights: must be an object with strings for file and entry");
    }
    *ret_file = file == NULL ? WEIGHTS_FILE : json_string_value(file);
    *ret_entry = json_string_value(entry);
    return fm_file_name_is_local(*ret_file)
               ? FM_OK
               : fm_fail(err, FM_EFORMAT,
                         "/weights/file: must be a file of the same folder, found \"%s\"",
                         *ret_file);
}

/* The tensors keep their names, for weights.prefix stays. */
static fm_status list_whole(conversion *run, fm_error *err)
{
    run->count = fm_tensors_count(run->tensors);
    run->rows = fm_alloc_array(run->count, sizeof *run->rows);
    if (run->rows == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu tensors", run->count);
    }
    for (size_t i = 0; i < run->count; i++) {
        const fm_tensor *tensor = fm_tensors_at(run->tensors, i);
        run->rows[i] = (fm_safetensors_row){.name = tensor->name, .tensor = tensor};
    }
    return FM_OK;
}

static fm_status name_weights(const conversion *run, fm_error *err)
{
    json_t *weights = json_object_get(run->config, "weights");
    bool done = weights != NULL || json_object_set_new(run->config, "weights", json_object()) == 0;
    weights = json_object_get(run->config, "weights");
    (void)json_object_del(weights, "entry"); /* it may not be there */
    done = done && json_object_set_new(weights, "file", json_string(WEIGHTS_FILE)) == 0;
    return done ? FM_OK : fm_fail(err, FM_ENOMEM, "no memory for config.json");
}

/* Its name; NULL where config.json has none that fm_model_open() would take. */
static const char *vocabulary_name(const conversion *run)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(run->config, "output"), "vocabulary"));
    return name != NULL && fm_file_name_is_local(name) ? name : NULL;
}

/* The names of tokens, which go along. */
static fm_status read_vocabulary(conversion *run, const char *folder, fm_error *err)
{
    const char *name = vocabulary_name(run);
    if (name == NULL) {
        return FM_OK;
    }
    char *path = fm_file_path(folder, name);
    fm_status status = path == NULL ? fm_fail(err, FM_ENOMEM, "no memory for a path")
                                    : fm_file_read(path, MAX_CONFIG_BYTES, &run->vocabulary,
                                                   &run->vocabulary_bytes, err);
    fm_free(path);
    return status;
}

static fm_status read_folder(conversion *run, const char *folder, fm_error *err)
{
    const fm_convert_options *options = run->options;
    if (options->entry != NULL || options->prefix != NULL || options->architecture != NULL) {
        return fm_fail(err, FM_EINVAL,
                       "entry, prefix and architecture are for a bare checkpoint; %s has a "
                       "config.json that says them",
                       folder);
    }
    const char *file = NULL, *entry = NULL;
    fm_status status = read_config(run, folder, err);
    if (status == FM_OK) {
        status = read_names(run, &file, &entry, err);
    }
    char *path = status == FM_OK ? fm_file_path(folder, file) : NULL;
    if (status == FM_OK && path == NULL) {
        status = fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    if (status == FM_OK) {
        status = fm_tensors_open_entry(path, entry, &run->tensors, err);
    }
    if (status == FM_OK) {
        status = list_whole(run, err);
    }
    fm_free(path);
    if (status == FM_OK) {
        status = read_vocabulary(run, folder, err);
    }
    return status == FM_OK ? name_weights(run, err) : status;
}

/* ---- Writing ---- */

static fm_status write_config(const conversion *run, const fm_output_folder *folder, fm_error *err)
{
    char *text = fm_json_text_dump(run->config, JSON_INDENT(2));
    if (text == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for config.json");
    }
    fm_output_file file;
    fm_status status = fm_output_file_begin(folder, CONFIG_FILE, &file, err);
    if (status == FM_OK) {
        status = fm_output_file_write(&file, text, strlen(text), err);
        if (status == FM_OK) {
            status = fm_output_file_write(&file, "\n", 1, err);
        }
        status = fm_output_file_end(&file, status, err);
    }
    free(text);
    return status;
}

static fm_status write_vocabulary(const conversion *run, const fm_output_folder *folder,
                                  fm_error *err)
{
    if (run->vocabulary == NULL) {
        return FM_OK;
    }
    fm_output_file file;
    fm_status status = fm_output_file_begin(folder, vocabulary_name(run), &file, err);
    if (status == FM_OK) {
        status = fm_output_file_write(&file, run->vocabulary, run->vocabulary_bytes, err);
        status = fm_output_file_end(&file, status, err);
    }
    return status;
}

static fm_status write_all(const conversion *run, const char *path, size_t *ret_size_bytes,
                           fm_error *err)
{
    fm_output_folder folder = {0};
    fm_status status = fm_output_folder_begin(path, &folder, err);
    if (status == FM_OK) {
        status =
            fm_safetensors_write(&folder, WEIGHTS_FILE, run->rows, run->count, ret_size_bytes, err);
    }
    if (status == FM_OK) {
        status = write_config(run, &folder, err);
    }
    if (status == FM_OK) {
        status = write_vocabulary(run, &folder, err);
    }
    if (status == FM_OK) {
        status = fm_output_folder_commit(&folder, err);
    }
    fm_output_folder_abort(&folder);
    return status;
}

static void report(const conversion *run, const char *in, const char *out, size_t size_bytes)
{
    const char *origin = fm_tensors_origin(run->tensors);
    const char *architecture =
        json_string_value(json_object_get(json_object_get(run->config, "network"), "architecture"));
    say(run, "read %s: %zu tensors%s%s\n", in, run->count, origin == NULL ? "" : " of ",
        origin == NULL ? "" : origin);
    say(run, "wrote %s: %s (%zu bytes), %s\n", out, WEIGHTS_FILE, size_bytes, CONFIG_FILE);
    say(run, "architecture: %s\n", architecture == NULL ? "as config.json says" : architecture);
    for (size_t i = 0; i < json_array_size(run->assumed); i++) {
        say(run, "assumed: %s\n", json_string_value(json_array_get(run->assumed, i)));
    }
}

/* The daemon would not find a model of another name. */
static fm_status check_name(const char *path, fm_error *err)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') {
        begin--;
    }
    return fm_model_name_is_valid(path + begin, end - begin)
               ? FM_OK
               : fm_fail(err, FM_EINVAL,
                         "the new folder's name must match " FM_MODEL_NAME_RULE ", found \"%.*s\"",
                         (int)(end - begin), path + begin);
}

fm_status fm_model_convert(const char *in, const char *out, const fm_convert_options *options,
                           fm_write_cb write, void *context, fm_error *err)
{
    conversion run = {.options = options, .write = write, .context = context};
    struct stat facts;
    size_t size_bytes = 0;
    fm_status status = check_name(out, err);
    if (status == FM_OK) {
        bool is_folder = stat(in, &facts) == 0 && S_ISDIR(facts.st_mode);
        status = is_folder ? read_folder(&run, in, err) : read_file(&run, in, err);
    }
    if (status == FM_OK) {
        status = write_all(&run, out, &size_bytes, err);
    }
    if (status == FM_OK) {
        report(&run, in, out, size_bytes);
    }
    json_decref(run.config);
    json_decref(run.assumed);
    fm_free(run.rows);
    fm_free(run.vocabulary);
    fm_weights_free(run.weights);
    fm_tensors_close(run.tensors);
    return status;
}
