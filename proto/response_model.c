/* What the daemon has: models, methods, version. */
#include "proto/json.h"
#include "proto/lat_lon.h"
#include "proto/response_rows.h"

#include <math.h>
#include <string.h>

static void write_labels(fmp_json *json, const fm_model_info *model)
{
    fmp_json_key(json, "labels");
    if (!model->has_labels) {
        fmp_json_null(json);
        return;
    }
    fmp_json_open(json, '{');
    fmp_json_pair_unsigned(json, "count", (uint64_t)model->label_count);
    fmp_json_key(json, "null");
    if (model->has_null_label) {
        fmp_json_integer(json, model->null_label);
    } else {
        fmp_json_null(json);
    }
    fmp_json_key(json, "names");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < model->n_label_names; i++) {
        fmp_json_text(json, model->label_names[i]);
    }
    fmp_json_close(json, ']');
    fmp_json_close(json, '}');
}

static void write_range(fmp_json *json, const char *key, const double range[2])
{
    fmp_json_key(json, key);
    fmp_json_open(json, '[');
    fmp_json_number(json, range[0]);
    fmp_json_number(json, range[1]);
    fmp_json_close(json, ']');
}

static void write_prediction(fmp_json *json, const fm_model_info *model)
{
    if (model->second_prediction == NULL) {
        fmp_json_pair_text(json, "prediction", model->prediction);
        return;
    }
    fmp_json_key(json, "prediction");
    fmp_json_open(json, '[');
    fmp_json_text(json, model->prediction);
    fmp_json_text(json, model->second_prediction);
    fmp_json_close(json, ']');
}

/* What is a part's own: its source, and how the network sees its points. */
static void write_part(fmp_json *json, const fm_space_part *part)
{
    const fm_source *source = &part->source;
    fmp_json_key(json, "source");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", fm_source_name(source->id));
    if (source->id == FM_SOURCE_NORMAL || source->id == FM_SOURCE_WRAPPED_NORMAL) {
        fmp_json_pair_number(json, "std", source->std);
    }
    if (part->id == FM_SPACE_SE3) {
        fmp_json_pair_bool(json, "centered", source->centered);
    }
    fmp_json_close(json, '}');
    if (part->id == FM_SPACE_TOKENS) {
        fmp_json_pair_unsigned(json, "vocabulary_size", part->vocabulary);
    }
}

/* Of a product, whose shape is all of them in a row. */
static void write_factors(fmp_json *json, const fm_space *space)
{
    fmp_json_key(json, "factors");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        fmp_json_open(json, '{');
        fmp_json_pair_text(json, "space", fm_space_name(part->id));
        fmp_json_pair_unsigned(json, "points", part->copies);
        fmp_json_pair_unsigned(json, "numbers", fm_space_point_numbers(part));
        write_part(json, part);
        fmp_json_close(json, '}');
    }
    fmp_json_close(json, ']');
}

static void write_jump(fmp_json *json, const fm_bins *bins)
{
    fmp_json_key(json, "jump");
    fmp_json_open(json, '{');
    fmp_json_pair_unsigned(json, "bins", bins->n);
    write_range(json, "range", bins->range);
    fmp_json_close(json, '}');
}

static void write_flow(fmp_json *json, const fm_model_info *model)
{
    fmp_json_pair_text(json, "space", model->space);
    fmp_json_key(json, "shape");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < model->rank; i++) {
        fmp_json_unsigned(json, model->shape[i]);
    }
    fmp_json_close(json, ']');
    if (model->geometry->is_product) {
        write_factors(json, model->geometry);
    } else {
        write_part(json, &model->geometry->parts[0]);
    }
    fmp_json_key(json, "path");
    fmp_json_open(json, '{');
    fmp_response_write_path(json, "scheduler", model->path);
    fmp_json_close(json, '}');
    write_prediction(json, model);
    if (model->geometry->bins.n > 0) {
        write_jump(json, &model->geometry->bins);
    }
    fmp_json_pair_text(json, "coupling", model->paired ? "paired" : "independent");
    fmp_json_key(json, "time");
    fmp_json_open(json, '{');
    write_range(json, "range", model->time_range);
    write_range(json, "sample_range", model->sample_range);
    fmp_json_close(json, '}');
}

static void write_supports(fmp_json *json, const fm_model_info *model)
{
    fmp_json_key(json, "supports");
    fmp_json_open(json, '[');
    if (model->is_classifier) { /* what it is good for is asked of other models */
        fmp_json_close(json, ']');
        return;
    }
    fmp_json_text(json, "sample");
    if (!model->has_tokens) {
        fmp_json_text(json, "velocity");
        fmp_json_text(json, "encode");
    }
    if (model->has_divergence || fmp_model_is_text(model)) {
        fmp_json_text(json, "log_likelihood");
    }
    if (model->geometry->is_flat) {
        fmp_json_text(json, "interpolate");
        fmp_json_text(json, "edit");
    }
    if (model->has_log_density) {
        fmp_json_text(json, "log_density");
    }
    if (model->has_null_label) {
        fmp_json_text(json, "guidance");
    }
    fmp_json_close(json, ']');
}

static void write_model(fmp_json *json, const fm_model_info *model)
{
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "id", model->name);
    fmp_json_pair_text(json, "object", "model");
    fmp_json_pair_text(json, "version", model->version);
    fmp_json_pair_text(json, "description", model->description);
    fmp_json_pair_text(json, "license", model->license);
    fmp_json_pair_text(json, "architecture", model->architecture);
    write_flow(json, model);
    write_labels(json, model);
    fmp_json_key(json, "output");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "kind", model->output_kind);
    if (strcmp(model->output_kind, "image") == 0) {
        write_range(json, "range", model->output_range);
    }
    fmp_json_close(json, '}');
    fmp_json_pair_raw(json, "defaults", model->defaults_json);
    write_supports(json, model);
    fmp_json_pair_unsigned(json, "parameter_count", model->parameter_count);
    fmp_json_pair_unsigned(json, "memory_bytes", model->memory_bytes);
    fmp_json_pair_text(json, "compute", model->compute);
    fmp_json_pair_unsigned(json, "tile_rows", model->tile_rows);
    fmp_json_pair_number(json, "evaluation_us", round(model->evaluation_seconds * 1e9) / 1e3);
    fmp_json_pair_number(json, "call_us", round(model->call_seconds * 1e9) / 1e3);
    fmp_json_pair_bool(json, "same_bytes", model->bits_promised);
    fmp_json_close(json, '}');
}

void fmp_response_write_model(fmp_buffer *buffer, const fm_model_info *model)
{
    fmp_json json = {.buffer = buffer};
    write_model(&json, model);
}

void fmp_response_write_models(fmp_buffer *buffer, const fm_model_info *const *models,
                               size_t n_models)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_pair_text(&json, "object", "list");
    fmp_json_key(&json, "data");
    fmp_json_open(&json, '[');
    for (size_t i = 0; i < n_models; i++) {
        write_model(&json, models[i]);
    }
    fmp_json_close(&json, ']');
    fmp_json_close(&json, '}');
}

/* "euclidean sphere" as a list */
static void write_words(fmp_json *json, const char *words)
{
    fmp_json_open(json, '[');
    for (const char *at = words; *at != '\0';) {
        const char *end = at;
        while (*end != '\0' && *end != ' ') {
            end++;
        }
        fmp_json_value(json);
        fmp_buffer_format(json->buffer, "\"%.*s\"", (int)(end - at), at);
        at = *end == ' ' ? end + 1 : end;
    }
    fmp_json_close(json, ']');
}

void fmp_response_write_solvers(fmp_buffer *buffer)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_pair_text(&json, "object", "list");
    fmp_json_key(&json, "data");
    fmp_json_open(&json, '[');
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method_info *method = fm_method_describe(fm_method_at(i));
        fmp_json_open(&json, '{');
        fmp_json_pair_text(&json, "id", method->name);
        fmp_json_pair_text(&json, "object", "solver");
        fmp_json_pair_text(&json, "title", method->title);
        fmp_json_pair_unsigned(&json, "order", method->order);
        fmp_json_pair_number(&json, "evaluations_per_step", method->evaluations_per_step);
        fmp_json_pair_bool(&json, "adaptive", method->adaptive);
        fmp_json_pair_bool(&json, "stochastic", method->stochastic);
        fmp_json_key(&json, "options");
        write_words(&json, fm_method_options(fm_method_at(i)));
        fmp_json_key(&json, "spaces");
        write_words(&json, method->spaces);
        fmp_json_close(&json, '}');
    }
    fmp_json_close(&json, ']');
    fmp_json_close(&json, '}');
}

void fmp_response_write_version(fmp_buffer *buffer, const char *version)
{
    const fm_build_info *build = fm_build();
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_pair_text(&json, "name", "velocityd");
    fmp_json_pair_text(&json, "version", version);
    fmp_json_pair_text(&json, "dense_provider", build->dense_provider);
    fmp_json_pair_text(&json, "dense_version", build->dense_version);
    fmp_json_pair_text(&json, "kernels", build->kernels);
    fmp_json_pair_text(&json, "cpu", build->cpu);
    fmp_json_close(&json, '}');
}
