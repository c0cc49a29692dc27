/* The report of a model folder for people: what config.json says, every tensor and what became of it,
 * and why the model cannot be opened. */
#include "engine/checkpoint/digest.h"
#include "engine/checkpoint/file.h"
#include "engine/checkpoint/tensor_floats.h"
#include "engine/fm_model.h"
#include "engine/memory.h"
#include "engine/network/network.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_BYTES     ((size_t)2048)
#define MAX_NAME_WIDTH ((size_t)64) /* longer names push their row out of line */
#define MAX_LABELS     ((size_t)16) /* names that are shown */

typedef struct report {
    fm_write_cb write;
    void *context;
} report;

/* What has been found so far; everything may be missing. */
typedef struct findings {
    bool has_config;
    fm_model_config config;
    fm_tensors *tensors;
    fm_weights *weights;
    fm_network *network;
} findings;

/* ---- Text ---- */

static void print(const report *to, const char *format, ...) FM_PRINTF(2, 3);

static void print(const report *to, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0) {
        size_t cut = (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
        to->write(to->context, line, cut);
    }
}

/* Text out of a file, without control characters: they could rewrite a terminal. */
static void print_text(const report *to, const char *text)
{
    for (const char *at = text; *at != '\0';) {
        size_t plain = 0;
        while ((unsigned char)at[plain] >= 0x20 && at[plain] != 0x7f) {
            plain++;
        }
        if (plain > 0) {
            to->write(to->context, at, plain);
        }
        at += plain;
        if (*at != '\0') {
            to->write(to->context, "?", 1);
            at++;
        }
    }
}

/* Columns that UTF-8 text takes, taking every character for one. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0U) != 0x80U;
    }
    return width;
}

static void print_padded(const report *to, const char *text, size_t width)
{
    size_t used = text_width(text);
    print_text(to, text);
    print(to, "%*s", used < width ? (int)(width - used) : 0, "");
}

static void print_row(const report *to, const char *key, const char *value)
{
    print(to, "%-14s", key);
    print_text(to, value);
    print(to, "\n");
}

/* ---- What config.json says ---- */

static void print_time(const report *to, const fm_model_config *config)
{
    print(to, "%-14s%s, scale %g, range [%g, %g], sampled over [%g, %g]\n", "time",
          config->data_to_noise ? "data_to_noise" : "noise_to_data", config->time_scale,
          config->time_range[0], config->time_range[1], config->sample_range[0],
          config->sample_range[1]);
}

static void print_path(const report *to, const fm_model_config *config)
{
    print(to, "%-14s%s", "path", fm_path_type_name(config->path.type));
    const char *name = NULL;
    double fallback = 0.0;
    for (size_t i = 0; fm_path_type_parameter(config->path.type, i, &name, &fallback); i++) {
        print(to, ", %s %g", name, config->path.parameters[i]);
    }
    print(to, "\n");
}

static void print_space(const report *to, const fm_space *space)
{
    print(to, "%-14s%s", "space", space->is_product ? "product of " : "");
    for (size_t i = 0; i < space->n_parts; i++) {
        print(to, i == 0 ? "%s" : ", %s", fm_space_name(space->parts[i].id));
    }
    print(to, "\n");
}

/* Of each part, the law that x0 has there. */
static void print_sources(const report *to, const fm_space *space)
{
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_source *source = &space->parts[i].source;
        bool has_std = source->id == FM_SOURCE_NORMAL || source->id == FM_SOURCE_WRAPPED_NORMAL;
        print(to, "%-14s%s", "source", fm_source_name(source->id));
        if (has_std) {
            print(to, ", std %g", source->std);
        }
        print(to, source->centered ? ", centered\n" : "\n");
    }
}

static void print_labels(const report *to, const fm_model_config *config)
{
    if (!config->has_labels) {
        print_row(to, "labels", "none");
        return;
    }
    print(to, "%-14s%" PRId32, "labels", config->label_count);
    if (config->has_null_label) {
        print(to, ", null %" PRId32, config->null_label);
    }
    for (size_t i = 0; i < config->n_label_names && i < MAX_LABELS; i++) {
        print(to, i == 0 ? ": " : ", ");
        print_text(to, config->label_names[i]);
    }
    print(to, config->n_label_names > MAX_LABELS ? ", …\n" : "\n");
}

static void print_output(const report *to, const fm_model_config *config)
{
    if (strcmp(config->output_kind, "image") == 0) {
        print(to, "%-14simage, black %g, white %g\n", "output", config->output_range[0],
              config->output_range[1]);
    } else {
        print_row(to, "output", config->output_kind);
    }
    if (config->vocabulary_size > 0) {
        print(to, "%-14s%zu tokens%s%s", "vocabulary", config->vocabulary_size,
              config->masked ? ", the last is the mask" : "",
              config->vocabulary_file != NULL ? ", named in " : "\n");
    }
    if (config->vocabulary_file != NULL) {
        print_text(to, config->vocabulary_file);
        print(to, "\n");
    }
}

static void print_data(const report *to, const fm_model_config *config)
{
    switch (config->architecture) {
    case FM_ARCHITECTURE_MLP:
    case FM_ARCHITECTURE_TORCHCFM_UNET:
    case FM_ARCHITECTURE_META_UNET:
    case FM_ARCHITECTURE_SIT:
    case FM_ARCHITECTURE_TEXT_DIT:
    case FM_ARCHITECTURE_FRAMES:
        print_row(to, "weights", config->weights_file);
        if (config->weights_prefix[0] != '\0') {
            print_row(to, "prefix", config->weights_prefix);
        }
        print_row(to, "compute", fm_compute_name(config->compute));
        break;
    case FM_ARCHITECTURE_GAUSSIAN_MIXTURE:
        print(to, "%-14s%zu, classes with their own %zu\n", "components",
              config->gaussian_mixture.mixture.n_components, config->gaussian_mixture.n_classes);
        break;
    case FM_ARCHITECTURE_DATASET:
        print_row(to, "points", config->dataset.file);
        break;
    }
}

static void print_prediction(const report *to, const fm_model_config *config)
{
    const fm_predictions *predictions = &config->predictions;
    bool pair = fm_predictions_count(predictions) > 1;
    print(to, "%-14s%s%s%s%s\n", "prediction", fm_model_config_prediction(config),
          pair ? " and " : "", pair ? fm_prediction_type_name(predictions->second.type) : "",
          config->paired ? ", of paired noise and data" : "");
}

static void print_config(const report *to, const fm_model_config *config)
{
    char shape[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(config->rank, config->shape, shape);
    print_row(to, "name", config->name);
    print_row(to, "description", config->description);
    print_row(to, "license", config->license);
    print_row(to, "architecture", fm_architecture_name(config->architecture));
    print_space(to, &config->space);
    print_row(to, "shape", shape);
    print_sources(to, &config->space);
    print_path(to, config);
    print_prediction(to, config);
    print_time(to, config);
    print_labels(to, config);
    print_output(to, config);
    print_data(to, config);
}

static void print_digest(const report *to, const findings *found)
{
    char digest[FM_DIGEST_TEXT_BYTES];
    fm_error why = {0};
    if (found->tensors == NULL && fm_architecture_has_weights(found->config.architecture)) {
        print_row(to, "digest", "none, for the weights cannot be read");
        return;
    }
    bool made = fm_digest_model(&found->config, found->tensors, digest, &why) == FM_OK;
    print_row(to, "digest", made ? digest : why.text);
}

/* ---- Tensors ---- */

static size_t capped(size_t width)
{
    return width < MAX_NAME_WIDTH ? width : MAX_NAME_WIDTH;
}

static size_t wider(size_t width, const char *text)
{
    size_t other = capped(text_width(text));
    return other > width ? other : width;
}

static void print_tensor(const report *to, const char *name, const fm_tensor *tensor, size_t width)
{
    char shape[FM_SHAPE_TEXT_BYTES] = "-";
    print_padded(to, name, width);
    if (tensor == NULL) {
        print(to, "  %-5s  %-20s  %12s", "-", shape, "-");
        return;
    }
    fm_shape_text(tensor->rank, tensor->shape, shape);
    print(to, "  %-5s  %-20s  %12zu", fm_dtype_name(tensor->dtype), shape, tensor->count);
}

static void print_state(const report *to, const fm_weights_entry *entry)
{
    char expected[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(entry->expected_rank, entry->expected_shape, expected);
    switch (entry->state) {
    case FM_WEIGHTS_USED:
        print(to, "  used");
        break;
    case FM_WEIGHTS_UNUSED:
        print(to, "  UNUSED");
        break;
    case FM_WEIGHTS_MISSING:
        print(to, "  MISSING, expected %s", expected);
        break;
    case FM_WEIGHTS_WRONG_SHAPE:
        print(to, "  WRONG SHAPE, expected %s", expected);
        break;
    }
    if (entry->tensor != NULL && strcmp(entry->tensor->name, entry->name) != 0) {
        print(to, ", in the file ");
        print_text(to, entry->tensor->name);
    }
}

static void print_table_head(const report *to, size_t width)
{
    print(to, "\n");
    print_padded(to, "tensor", width);
    print(to, "  %-5s  %-20s  %12s  %s\n", "dtype", "shape", "elements", "use");
}

static void print_weights(const report *to, const fm_weights *weights)
{
    size_t width = strlen("tensor");
    for (size_t i = 0; i < fm_weights_count(weights); i++) {
        width = wider(width, fm_weights_at(weights, i)->name);
    }
    print_table_head(to, width);
    for (size_t i = 0; i < fm_weights_count(weights); i++) {
        const fm_weights_entry *entry = fm_weights_at(weights, i);
        print_tensor(to, entry->name, entry->tensor, width);
        print_state(to, entry);
        print(to, "\n");
    }
}

/* Where there is no record of use. */
static void print_tensors(const report *to, const fm_tensors *tensors)
{
    size_t width = strlen("tensor");
    for (size_t i = 0; i < fm_tensors_count(tensors); i++) {
        width = wider(width, fm_tensors_at(tensors, i)->name);
    }
    print_table_head(to, width);
    for (size_t i = 0; i < fm_tensors_count(tensors); i++) {
        const fm_tensor *tensor = fm_tensors_at(tensors, i);
        print_tensor(to, tensor->name, tensor, width);
        print(to, "  not checked\n");
    }
}

static void print_totals(const report *to, const findings *found)
{
    size_t parameters = 0;
    size_t size_bytes = 0;
    for (size_t i = 0; i < fm_tensors_count(found->tensors); i++) {
        parameters += fm_tensors_at(found->tensors, i)->count;
        size_bytes += fm_tensors_at(found->tensors, i)->size_bytes;
    }
    print(to, "\n%-14s%zu in %zu tensors, %zu bytes\n", "parameters", parameters,
          fm_tensors_count(found->tensors), size_bytes);
    size_t counts[FM_WEIGHTS_WRONG_SHAPE + 1] = {0};
    for (size_t i = 0; found->weights != NULL && i < fm_weights_count(found->weights); i++) {
        counts[fm_weights_at(found->weights, i)->state]++;
    }
    if (found->weights != NULL) {
        print(to, "%-14s%zu used, %zu unused, %zu missing, %zu of a wrong shape\n", "tensors",
              counts[FM_WEIGHTS_USED], counts[FM_WEIGHTS_UNUSED], counts[FM_WEIGHTS_MISSING],
              counts[FM_WEIGHTS_WRONG_SHAPE]);
    }
}

/* ---- Finding ---- */

static fm_status open_tensors(const char *folder, const char *file, const char *entry,
                              fm_tensors **ret, fm_error *err)
{
    char *path = fm_file_path(folder, file);
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    fm_status status = fm_tensors_open_entry(path, entry, ret, err);
    fm_free(path);
    return status;
}

/* Of every tensor, one at a time: what building the network would find. */
static fm_status check_numbers(const fm_weights *weights, fm_error *err)
{
    fm_status status = FM_OK;
    for (size_t i = 0; i < fm_weights_count(weights) && status == FM_OK; i++) {
        const fm_tensor *tensor = fm_weights_at(weights, i)->tensor;
        status = tensor == NULL ? FM_OK : fm_tensor_check_finite(tensor, err);
        if (tensor != NULL && tensor->mapped) {
            fm_file_forget(tensor->data, tensor->size_bytes);
        }
    }
    return status;
}

/* The steps of opening a model that a folder can fail. */
static fm_status find(const char *folder, findings *found, fm_error *err)
{
    fm_status status = fm_model_config_read(folder, &found->config, err);
    if (status != FM_OK) {
        return status;
    }
    found->has_config = true;
    const fm_model_config *config = &found->config;
    if (fm_architecture_has_weights(config->architecture)) {
        status = open_tensors(config->folder, config->weights_file, config->weights_entry,
                              &found->tensors, err);
        if (status == FM_OK) {
            status = fm_weights_new(found->tensors, config->weights_prefix, &found->weights, err);
        }
    }
    if (status != FM_OK) {
        return status;
    }
    if (!fm_architecture_has_weights(config->architecture)) {
        return fm_network_new(config, NULL, &config->path, &found->network, err);
    }
    status = fm_network_check(config, found->weights, err);
    return status == FM_OK ? check_numbers(found->weights, err) : status;
}

/* Tensors under the usual names, for whoever is still writing config.json. */
static void find_tensors(const char *folder, findings *found)
{
    if (open_tensors(folder, "model.safetensors", NULL, &found->tensors, NULL) != FM_OK) {
        found->tensors = NULL;
        if (open_tensors(folder, "model.safetensors.index.json", NULL, &found->tensors, NULL) !=
            FM_OK) {
            found->tensors = NULL;
        }
    }
}

static void findings_done(findings *found)
{
    fm_network_free(found->network);
    fm_weights_free(found->weights);
    fm_tensors_close(found->tensors);
    if (found->has_config) {
        fm_model_config_done(&found->config);
    }
}

static void print_findings(const report *to, const char *folder, const findings *found)
{
    if (found->has_config) {
        print_config(to, &found->config);
        if (found->tensors != NULL && fm_tensors_origin(found->tensors) != NULL) {
            print_row(to, "entry", fm_tensors_origin(found->tensors));
        }
        print_digest(to, found);
    } else {
        print_row(to, "folder", folder);
    }
    if (found->tensors == NULL) {
        if (found->network != NULL) {
            print(to, "\n%-14s%zu\n", "parameters", found->network->info.parameter_count);
        }
        return;
    }
    if (found->weights != NULL) {
        print_weights(to, found->weights);
    } else {
        print_tensors(to, found->tensors);
    }
    print_totals(to, found);
}

fm_status fm_model_inspect(const char *folder, fm_write_cb write, void *context, bool *ret_usable,
                           fm_error *err)
{
    struct stat facts;
    if (stat(folder, &facts) != 0 || !S_ISDIR(facts.st_mode)) {
        return fm_fail(err, FM_ENOTFOUND, "%s: is not a folder", folder);
    }
    const report to = {.write = write, .context = context};
    findings found = {0};
    fm_error why = {0};
    fm_status status = find(folder, &found, &why);
    if (status == FM_ENOMEM) { /* says nothing about the folder */
        findings_done(&found);
        return fm_fail(err, status, "%s", why.text);
    }
    if (!found.has_config) {
        find_tensors(folder, &found);
    }
    print_findings(&to, folder, &found);
    if (status != FM_OK) { /* the verdict is the caller's, who may know more rules */
        print(&to, "\nerror: ");
        print_text(&to, why.text);
        print(&to, "\n");
    }
    *ret_usable = status == FM_OK;
    findings_done(&found);
    return FM_OK;
}
