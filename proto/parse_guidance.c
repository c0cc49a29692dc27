/* Guidance: how far the labels are followed, from where, and by whom else. */
#include "proto/parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double number_or(const fmp_parse *parse, fmp_field_id field, double fallback)
{
    json_t *value = parse->values[field];
    return value != NULL ? json_number_value(value) : fallback;
}

static bool require(fmp_parse *parse, fmp_field_id field)
{
    if (!parse->present[field]) {
        fmp_parse_fail(parse, field, "is required");
    }
    return parse->values[field] != NULL;
}

/* ---- the scale ---- */

static void read_channels(fmp_parse *parse)
{
    const fm_model_info *model = parse->model;
    json_t *channels = parse->values[FMP_FIELD_GUIDANCE_CHANNELS];
    if (!json_is_number(channels)) {
        return;
    }
    double count = json_number_value(channels), most = (double)model->shape[0];
    parse->request->spec.guidance.channels = (size_t)fmin(count, most);
    if (count > most) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_CHANNELS,
                       "must be \"all\" or from 1 to %zu, the first axis of the model's shape",
                       model->shape[0]);
    }
}

static void read_interval(fmp_parse *parse, fm_guidance *guidance)
{
    guidance->has_interval = parse->values[FMP_FIELD_GUIDANCE_INTERVAL] != NULL;
    for (size_t i = 0; i < 2 && guidance->has_interval; i++) {
        guidance->interval[i] = fmp_parse_number_at(parse, FMP_FIELD_GUIDANCE_INTERVAL, i);
    }
}

static void read_table(fmp_parse *parse, fm_guidance_schedule *schedule)
{
    const fmp_field_id t = FMP_FIELD_GUIDANCE_SCHEDULE_T,
                       values = FMP_FIELD_GUIDANCE_SCHEDULE_VALUES;
    bool has_t = require(parse, t), has_values = require(parse, values);
    if (!has_t || !has_values) {
        return;
    }
    if (fmp_parse_count(parse, t) != fmp_parse_count(parse, values)) {
        fmp_parse_fail(parse, values, "must have as many entries as t");
        return;
    }
    fmp_request *request = parse->request;
    request->guidance_t = fmp_parse_copy_numbers(parse, t);
    request->guidance_values = fmp_parse_copy_numbers(parse, values);
    *schedule = (fm_guidance_schedule){.form = FM_GUIDANCE_SCHEDULE_TABLE,
                                       .t = request->guidance_t,
                                       .values = request->guidance_values,
                                       .n = fmp_parse_count(parse, t)};
}

/* Keys of another type than the one that is asked for. */
static void refuse_keys(fmp_parse *parse, fm_guidance_schedule_form form)
{
    bool is_table = form == FM_GUIDANCE_SCHEDULE_TABLE;
    if (parse->present[FMP_FIELD_GUIDANCE_SCHEDULE_END] &&
        (is_table || form == FM_GUIDANCE_SCHEDULE_CONSTANT)) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_SCHEDULE_END, "is of types linear and cosine");
    }
    for (unsigned id = FMP_FIELD_GUIDANCE_SCHEDULE_T; id <= FMP_FIELD_GUIDANCE_SCHEDULE_VALUES;
         id++) {
        if (parse->present[id] && !is_table) {
            fmp_parse_fail(parse, (fmp_field_id)id, "is of type table");
        }
    }
}

static void read_schedule(fmp_parse *parse, fm_guidance_schedule *schedule)
{
    json_t *type = parse->values[FMP_FIELD_GUIDANCE_SCHEDULE_TYPE];
    if (type == NULL && parse->present[FMP_FIELD_GUIDANCE_SCHEDULE_TYPE]) {
        return;
    }
    schedule->form = type == NULL ? FM_GUIDANCE_SCHEDULE_CONSTANT
                                  : fm_guidance_schedule_find(json_string_value(type));
    schedule->end = number_or(parse, FMP_FIELD_GUIDANCE_SCHEDULE_END, 1);
    refuse_keys(parse, schedule->form);
    if (schedule->form == FM_GUIDANCE_SCHEDULE_TABLE) {
        *schedule = (fm_guidance_schedule){0};
        read_table(parse, schedule);
    }
}

/* ---- other labels ---- */

static void read_negative(fmp_parse *parse, fm_guidance *guidance)
{
    const fmp_field_id field = FMP_FIELD_GUIDANCE_NEGATIVE_LABELS;
    if (!parse->present[field]) {
        return;
    }
    if (!parse->model->has_labels) {
        fmp_parse_fail(parse, field, "must be left out: the model has no labels");
    } else if (parse->values[field] != NULL) {
        parse->request->negative_labels = fmp_parse_labels_of(parse, field, parse->model);
        guidance->negative_labels = parse->request->negative_labels;
    }
}

static void read_condition(fmp_parse *parse, size_t i, json_t *label, fm_guidance *guidance)
{
    const fmp_field_id field = FMP_FIELD_GUIDANCE_CONDITIONS_LABELS;
    char pointer[FMP_POINTER_BYTES];
    (void)snprintf(pointer, sizeof pointer, "%s/%zu", fmp_field_at(field)->pointer, i);
    guidance->conditions[i].scale =
        fmp_parse_number_at(parse, FMP_FIELD_GUIDANCE_CONDITIONS_SCALES, i);
    const char *prefix = parse->prefix;
    parse->prefix = parse->from_defaults[field] ? "/defaults" : prefix;
    (void)fmp_parse_label(parse, parse->model, label, pointer, &guidance->conditions[i].label);
    parse->prefix = prefix;
}

static void read_conditions(fmp_parse *parse, fm_guidance *guidance)
{
    const fmp_field_id labels = FMP_FIELD_GUIDANCE_CONDITIONS_LABELS,
                       scales = FMP_FIELD_GUIDANCE_CONDITIONS_SCALES;
    if (!parse->present[FMP_FIELD_GUIDANCE_CONDITIONS]) {
        return;
    }
    if (!parse->model->has_labels) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_CONDITIONS,
                       "must be left out: the model has no labels");
        return;
    }
    bool has_labels = require(parse, labels), has_scales = require(parse, scales);
    if (!has_labels || !has_scales) {
        return;
    }
    json_t *list = parse->values[labels];
    size_t n = fmp_parse_count(parse, scales);
    if (!json_is_array(list) || json_array_size(list) != n) {
        fmp_parse_fail(parse, labels, "must be a list with as many entries as scales");
        return;
    }
    guidance->n_conditions = n;
    for (size_t i = 0; i < n; i++) {
        read_condition(parse, i, json_array_get(list, i), guidance);
    }
}

/* ---- other models ---- */

/* The model's index, or FMP_NO_MODEL: a rule is broken, or a model's defaults are read by themselves. */
static size_t find_model(fmp_parse *parse, fmp_field_id field,
                         bool (*can)(const fm_model_info *model, const fm_model_info *other),
                         const char *rule)
{
    const char *name = json_string_value(parse->values[field]);
    bool alone = parse->defaults_only && parse->limits->n_models == 0;
    if (name == NULL || alone) {
        return FMP_NO_MODEL;
    }
    for (size_t i = 0; i < parse->limits->n_models; i++) {
        const fm_model_info *other = parse->limits->models[i];
        if (strcmp(other->name, name) != 0) {
            continue;
        }
        if (!can(parse->model, other)) {
            fmp_parse_fail(parse, field, "%s", rule);
            return FMP_NO_MODEL;
        }
        return i;
    }
    fmp_parse_fail(parse, field, "must be a model that is loaded: there is no %s", name);
    return FMP_NO_MODEL;
}

static void read_model(fmp_parse *parse)
{
    static const fmp_field_id excluded[] = {FMP_FIELD_GUIDANCE_NEGATIVE_LABELS,
                                            FMP_FIELD_GUIDANCE_CONDITIONS};
    parse->request->guide = find_model(
        parse, FMP_FIELD_GUIDANCE_MODEL, fm_model_can_guide,
        "must be a model of the same shape, labels, prediction, path and direction of time");
    for (size_t i = 0; i < sizeof excluded / sizeof *excluded; i++) {
        if (parse->present[FMP_FIELD_GUIDANCE_MODEL] && parse->present[excluded[i]]) {
            fmp_parse_fail(parse, excluded[i],
                           "must be left out with guidance.model: that is what is led away from");
        }
    }
}

static void read_classifier(fmp_parse *parse, fm_guidance *guidance)
{
    const fmp_field_id model = FMP_FIELD_GUIDANCE_CLASSIFIER_MODEL,
                       labels = FMP_FIELD_GUIDANCE_CLASSIFIER_LABELS;
    fmp_request *request = parse->request;
    if (!parse->present[FMP_FIELD_GUIDANCE_CLASSIFIER]) {
        return;
    }
    guidance->classifier_scale = number_or(parse, FMP_FIELD_GUIDANCE_CLASSIFIER_SCALE, 1);
    bool has_model = require(parse, model), has_labels = require(parse, labels);
    if (!has_model || !has_labels) {
        return;
    }
    request->classifier = find_model(parse, model, fm_model_can_classify,
                                     "must be a classifier of the same shape and path");
    if (request->classifier != FMP_NO_MODEL) {
        request->classifier_labels =
            fmp_parse_labels_of(parse, labels, parse->limits->models[request->classifier]);
        guidance->classifier_labels = request->classifier_labels;
    }
}

/* ---- the whole ---- */

/* A scale of 0 is the null class alone: without labels that is the model itself, with labels but without a null
 * class it would be a velocity that was never trained. */
static void check_base(fmp_parse *parse, const fm_guidance *guidance)
{
    const fm_model_info *model = parse->model;
    bool varies = guidance->schedule.form != FM_GUIDANCE_SCHEDULE_CONSTANT;
    double scale = guidance->scale;
    bool has_base = model->has_null_label || parse->present[FMP_FIELD_GUIDANCE_NEGATIVE_LABELS] ||
                    parse->present[FMP_FIELD_GUIDANCE_MODEL];
    if (has_base) {
        return;
    }
    if (scale != 1 && (scale != 0 || model->has_labels)) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_SCALE, "must be %s: the model has no null class",
                       model->has_labels ? "1" : "0 or 1");
    }
    if (varies) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_SCHEDULE,
                       "must be left out: the model has no null class");
    }
    if (guidance->n_conditions > 0) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_CONDITIONS,
                       "must be left out: the model has no null class");
    }
}

void fmp_parse_guidance(fmp_parse *parse)
{
    fm_guidance *guidance = &parse->request->spec.guidance;
    *guidance =
        (fm_guidance){.scale = number_or(parse, FMP_FIELD_GUIDANCE_SCALE, 1),
                      .rescale = number_or(parse, FMP_FIELD_GUIDANCE_RESCALE, 0),
                      .zero_star = json_is_true(parse->values[FMP_FIELD_GUIDANCE_ZERO_STAR]),
                      .zero_until = number_or(parse, FMP_FIELD_GUIDANCE_ZERO_UNTIL, 0),
                      .projects = parse->present[FMP_FIELD_GUIDANCE_PROJECTION]};
    guidance->projection = (fm_guidance_projection){
        .parallel = number_or(parse, FMP_FIELD_GUIDANCE_PROJECTION_PARALLEL, 0),
        .threshold = number_or(parse, FMP_FIELD_GUIDANCE_PROJECTION_THRESHOLD, 0),
        .momentum = number_or(parse, FMP_FIELD_GUIDANCE_PROJECTION_MOMENTUM, 0)};
    parse->request->guide = parse->request->classifier = FMP_NO_MODEL;
    read_channels(parse);
    read_interval(parse, guidance);
    read_schedule(parse, &guidance->schedule);
    read_negative(parse, guidance);
    read_conditions(parse, guidance);
    read_model(parse);
    read_classifier(parse, guidance);
    check_base(parse, guidance);
    if (guidance->projects && guidance->zero_star) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_PROJECTION, "must be left out with zero_star");
    }
}

/* Of what is not linear in the outputs of one network. */
static void check_density(fmp_parse *parse)
{
    static const fmp_field_id fields[] = {FMP_FIELD_GUIDANCE_RESCALE, FMP_FIELD_GUIDANCE_ZERO_STAR,
                                          FMP_FIELD_GUIDANCE_PROJECTION, FMP_FIELD_GUIDANCE_MODEL,
                                          FMP_FIELD_GUIDANCE_CLASSIFIER};
    const fm_guidance *guidance = &parse->request->spec.guidance;
    const bool used[] = {guidance->rescale > 0, guidance->zero_star, guidance->projects,
                         parse->present[FMP_FIELD_GUIDANCE_MODEL],
                         parse->present[FMP_FIELD_GUIDANCE_CLASSIFIER]};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (used[i]) {
            fmp_parse_fail(parse, fields[i],
                           "must be left out of densities and divergences, which take guidance "
                           "that is linear in one network's outputs");
        }
    }
}

void fmp_parse_check_guidance(fmp_parse *parse)
{
    const fm_job_spec *spec = &parse->request->spec;
    const unsigned numbers = FM_FIELD_BIT(FM_FIELD_LOG_DENSITY) | FM_FIELD_BIT(FM_FIELD_DIVERGENCE);
    const fm_method *method = spec->solver.method;
    if (spec->log_likelihood || (spec->fields & numbers) != 0) {
        check_density(parse);
    }
    if (spec->guidance.projection.momentum == 0.0 || method == NULL) {
        return;
    }
    if (!fm_method_takes_momentum(method)) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_PROJECTION_MOMENTUM,
                       "needs a method that evaluates each step once: %s does not",
                       fm_method_describe(method)->name);
    }
    if ((spec->fields & ~FM_FIELD_BIT(FM_FIELD_X)) != 0) {
        fmp_parse_fail(parse, FMP_FIELD_GUIDANCE_PROJECTION_MOMENTUM,
                       "cannot be had with trajectory.fields beside x");
    }
}
