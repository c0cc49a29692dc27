/* config.json as a whole: the name, the sections in their order, and what stands outside the network
 * and the flow. */
#include "engine/checkpoint/model_config.h"

#include "engine/checkpoint/file.h"
#include "engine/checkpoint/model_config_private.h"
#include "engine/checkpoint/pytorch.h"
#include "engine/fm_model.h"
#include "engine/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA           "velocityd.model/1"
#define MAX_CONFIG_BYTES ((size_t)64 << 20)

/* ---- Name ---- */

/* The last component of folder, without slashes behind it. */
static fm_status read_name(const char *folder, fm_model_config *config, fm_error *err)
{
    size_t end = strlen(folder);
    while (end > 0 && folder[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/') {
        begin--;
    }
    if (!fm_model_name_is_valid(folder + begin, end - begin)) {
        return fm_fail(err, FM_EFORMAT,
                       "the folder's name must match " FM_MODEL_NAME_RULE ", found \"%.*s\"",
                       (int)(end - begin), folder + begin);
    }
    config->folder = fm_string_copy(folder);
    config->name = fm_alloc(end - begin + 1);
    if (config->folder == NULL || config->name == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a name");
    }
    memcpy(config->name, folder + begin, end - begin);
    return FM_OK;
}

/* ---- Sections ---- */

static fm_status check_schema(const fm_json_node *root, fm_error *err)
{
    static const fm_json_choice schemas[] = {{SCHEMA, 0}, {0}};
    int ignored = 0;
    fm_json_node node = fm_json_member(root, "schema");
    fm_status status = fm_json_require(&node, err);
    return status == FM_OK ? fm_json_read_choice(&node, schemas, &ignored, err) : status;
}

static fm_status check_weights_file(const fm_json_node *node, const char *file, fm_error *err)
{
    if (!fm_file_name_is_local(file)) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must be a file of the same folder, found \"%s\"", file);
    }
    if (!fm_file_name_ends(file, ".safetensors") &&
        !fm_file_name_ends(file, ".safetensors.index.json") && !fm_pytorch_is_named(file)) {
        return fm_json_fail(node, err, FM_EFORMAT,
                            "must end with one of .safetensors, .safetensors.index.json, .pt, "
                            ".pth, found \"%s\"",
                            file);
    }
    return FM_OK;
}

static fm_status read_weights_entry(const fm_json_node *node, fm_model_config *config,
                                    fm_error *err)
{
    if (!fm_json_present(node)) {
        return FM_OK;
    }
    fm_status status = fm_json_read_string(node, &config->weights_entry, err);
    if (status == FM_OK && config->weights_entry[0] == '\0') {
        status = fm_json_fail(node, err, FM_EFORMAT, "must not be empty");
    }
    if (status == FM_OK && !fm_pytorch_is_named(config->weights_file)) {
        status =
            fm_json_fail(node, err, FM_EFORMAT,
                         "must be left out: it is for .pt and .pth files, and /weights/file is "
                         "\"%s\"",
                         config->weights_file);
    }
    return status;
}

static fm_status read_weights(const fm_json_node *root, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice computes[] = {
#define FM_COMPUTE(id, name) {name, FM_COMPUTE_##id},
#include "engine/math/compute.def"
#undef FM_COMPUTE
        {0},
    };
    static const char *const keys[] = {"file", "entry", "compute", "prefix", NULL};
    fm_json_node weights = fm_json_member(root, "weights");
    fm_json_node file = fm_json_member(&weights, "file");
    fm_json_node entry = fm_json_member(&weights, "entry");
    fm_json_node compute = fm_json_member(&weights, "compute");
    fm_json_node prefix = fm_json_member(&weights, "prefix");
    if (fm_json_present(&weights) && !fm_architecture_has_weights(config->architecture)) {
        return fm_json_fail(&weights, err, FM_EFORMAT, "%s has no weights",
                            fm_architecture_name(config->architecture));
    }
    fm_status status = fm_json_check_object(&weights, keys, err);
    if (status == FM_OK) {
        status = fm_json_read_string(&file, &config->weights_file, err);
    }
    if (status == FM_OK) {
        status = check_weights_file(&file, config->weights_file, err);
    }
    if (status == FM_OK) {
        status = read_weights_entry(&entry, config, err);
    }
    int chosen = FM_COMPUTE_FLOAT32;
    if (status == FM_OK) {
        status = fm_json_read_choice(&compute, computes, &chosen, err);
        config->compute = (fm_compute)chosen;
    }
    return status == FM_OK ? fm_json_read_string(&prefix, &config->weights_prefix, err) : status;
}

static fm_status read_output_range(const fm_json_node *range, fm_model_config *config,
                                   fm_error *err)
{
    double *limits = config->output_range;
    limits[0] = -1.0;
    limits[1] = 1.0;
    fm_status status = fm_json_read_numbers(range, 2, limits, err);
    if (status == FM_OK && !(limits[0] < limits[1])) {
        status = fm_json_fail(range, err, FM_EFORMAT, "must be ascending, found [%g, %g]",
                              limits[0], limits[1]);
    }
    if (status == FM_OK && !isfinite(limits[1] - limits[0])) {
        status = fm_json_fail(range, err, FM_EFORMAT, "must have a finite width, found [%g, %g]",
                              limits[0], limits[1]);
    }
    return status;
}

/* Whether states can be what they are said to be. */
static fm_status check_output_kind(const fm_json_node *root, const fm_model_config *config,
                                   fm_error *err)
{
    fm_json_node flow = fm_json_member(root, "flow");
    fm_json_node space = fm_json_member(&flow, "space");
    fm_json_node shape = fm_json_member(&flow, "shape");
    if (strcmp(config->output_kind, "frames") == 0 &&
        (config->space.is_product || config->space.parts[0].id != FM_SPACE_SE3)) {
        return fm_json_fail(&space, err, FM_EFORMAT, "must be %s where output.kind is frames",
                            fm_space_name(FM_SPACE_SE3));
    }
    if (strcmp(config->output_kind, "image") != 0 || config->rank == 3) {
        return FM_OK;
    }
    return fm_json_fail(&shape, err, FM_EFORMAT,
                        "must be [channels, height, width] where output.kind is image, found %zu "
                        "items",
                        config->rank);
}

static fm_status read_output(const fm_json_node *root, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice kinds[] = {
        {"points", 0}, {"image", 0},  {"series", 0},
        {"tokens", 0}, {"frames", 0}, {"mesh_points", FM_JSON_UNSUPPORTED},
        {0},
    };
    static const char *const keys[] = {"kind", "range", "vocabulary", NULL};
    fm_json_node output = fm_json_member(root, "output");
    fm_json_node kind = fm_json_member(&output, "kind");
    fm_json_node range = fm_json_member(&output, "range");
    int ignored = 0;
    fm_status status = fm_json_check_object(&output, keys, err);
    if (status == FM_OK) {
        status = fm_json_read_choice(&kind, kinds, &ignored, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_string(&kind, &config->output_kind, err);
    }
    if (status == FM_OK) {
        status = check_output_kind(root, config, err);
    }
    if (status == FM_OK) {
        status = read_output_range(&range, config, err);
    }
    return status == FM_OK ? fm_model_config_read_vocabulary(&output, config, err) : status;
}

static fm_status read_defaults(const fm_json_node *root, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(root, "defaults");
    if (!fm_json_present(&node)) {
        return FM_OK;
    }
    if (!json_is_object(node.value)) {
        return fm_json_fail(&node, err, FM_EFORMAT, "must be an object, found %s",
                            fm_json_kind(node.value));
    }
    if (config->classifier) {
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be left out: a classifier is not sampled");
    }
    char *text = fm_json_text_dump(node.value, JSON_COMPACT);
    char *copy = text == NULL ? NULL : fm_string_copy(text);
    free(text);
    if (copy == NULL) {
        return fm_json_fail(&node, err, FM_ENOMEM, "no memory for its text");
    }
    fm_free(config->defaults_json);
    config->defaults_json = copy;
    return FM_OK;
}

/* ---- The whole ---- */

static fm_status set_default_strings(fm_model_config *config, fm_error *err)
{
    struct {
        char **ret;
        const char *text;
    } rows[] = {
        {&config->description, ""},
        {&config->license, ""},
        {&config->weights_file, "model.safetensors"},
        {&config->weights_prefix, ""},
        {&config->output_kind, "points"},
        {&config->defaults_json, "{}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *rows[i].ret = fm_string_copy(rows[i].text);
        if (*rows[i].ret == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for a string");
        }
    }
    return FM_OK;
}

static fm_status read_texts(const fm_json_node *root, fm_model_config *config, fm_error *err)
{
    fm_json_node description = fm_json_member(root, "description");
    fm_json_node license = fm_json_member(root, "license");
    fm_status status = fm_json_read_string(&description, &config->description, err);
    return status == FM_OK ? fm_json_read_string(&license, &config->license, err) : status;
}

typedef fm_status (*section_reader)(const fm_json_node *root, fm_model_config *config,
                                    fm_error *err);

static fm_status read_root(const fm_json_node *root, fm_model_config *config, fm_error *err)
{
    static const char *const keys[] = {"schema", "description",  "license", "network",  "weights",
                                       "flow",   "conditioning", "output",  "defaults", NULL};
    /* In the order in which later sections need earlier ones. */
    static const section_reader readers[] = {
        read_texts,
        fm_model_config_read_architecture,
        read_weights,
        fm_model_config_read_flow,
        fm_model_config_read_network,
        fm_model_config_finish_space,
        fm_model_config_read_conditioning,
        read_output,
        read_defaults,
    };
    if (!json_is_object(root->value)) {
        return fm_fail(err, FM_EFORMAT, "must be an object, found %s", fm_json_kind(root->value));
    }
    fm_status status = check_schema(root, err);
    if (status == FM_OK) {
        status = fm_json_check_object(root, keys, err);
    }
    if (status == FM_OK) {
        status = set_default_strings(config, err);
    }
    for (size_t i = 0; status == FM_OK && i < sizeof readers / sizeof *readers; i++) {
        status = readers[i](root, config, err);
    }
    return status;
}

fm_status fm_model_config_parse(const char *folder, const char *json, size_t length,
                                fm_model_config *ret, fm_error *err)
{
    fm_model_config config = {0};
    json_t *tree = NULL;
    fm_status status = read_name(folder, &config, err);
    if (status == FM_OK) {
        status = fm_json_text_parse(json, length, NULL, &tree, err);
        if (status == FM_EFORMAT) {
            status = fm_fail_prefix(err, status, "config.json");
        }
    }
    if (status == FM_OK) {
        fm_json_node root = fm_json_root(tree);
        status = read_root(&root, &config, err);
    }
    json_decref(tree);
    if (status == FM_OK) {
        *ret = config;
    } else {
        fm_model_config_done(&config);
    }
    return status;
}

static fm_status parse_file(const char *folder, fm_model_config *ret, fm_error *err)
{
    char *path = fm_file_path(folder, "config.json");
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a path");
    }
    char *json = NULL;
    size_t length = 0;
    fm_model_config config = {0};
    fm_status status = fm_file_read(path, MAX_CONFIG_BYTES, &json, &length, err);
    if (status == FM_OK) {
        status = fm_model_config_parse(folder, json, length, &config, err);
    }
    if (status == FM_OK) {
        status = fm_model_config_load_vocabulary(&config, err);
        if (status == FM_OK) {
            *ret = config;
        } else {
            fm_model_config_done(&config);
        }
    }
    fm_free(json);
    fm_free(path);
    return status;
}

/* Whether the last component is "." or "..", which name no model by themselves. */
static bool ends_in_dots(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    const char *last = slash == NULL ? folder : slash + 1;
    return strcmp(last, "") == 0 ? false : !fm_file_name_is_local(last);
}

fm_status fm_model_config_read(const char *folder, fm_model_config *ret, fm_error *err)
{
    char *resolved = ends_in_dots(folder) ? realpath(folder, NULL) : NULL;
    fm_status status = parse_file(resolved == NULL ? folder : resolved, ret, err);
    free(resolved);
    return status;
}

void fm_model_config_done(fm_model_config *config)
{
    fm_path_table_free(config->path_table);
    for (size_t i = 0; i < config->n_label_names; i++) {
        fm_free(config->label_names[i]);
    }
    fm_free(config->label_names);
    fm_free(config->name);
    fm_free(config->folder);
    fm_free(config->description);
    fm_free(config->license);
    fm_free(config->weights_file);
    fm_free(config->weights_prefix);
    fm_free(config->weights_entry);
    fm_free(config->output_kind);
    fm_free(config->vocabulary_file);
    if (config->vocabulary != NULL) {
        fm_free(config->vocabulary[0]);
        fm_free(config->vocabulary);
    }
    fm_free(config->defaults_json);
    fm_model_config_network_done(config);
    *config = (fm_model_config){0};
}
