/* A row's guidance where that needs more than rows of its own network: the weaker model that is its base, the
 * classifier whose gradient joins the score, and the momentum of its differences. */
#include "engine/batch/job.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

typedef struct aside_sizes {
    size_t momentum, model_out, gradient, state; /* bytes, rounded */
} aside_sizes;

static aside_sizes sizes_of(const fm_job_spec *spec)
{
    const fm_guidance *guidance = &spec->guidance;
    const fm_network_info *info = &spec->model->network->info;
    size_t out = fm_arena_round(info->out_dimension * sizeof(double));
    size_t vector = fm_arena_round(info->dimension * sizeof(double));
    bool has_momentum = guidance->projects && guidance->projection.momentum != 0.0;
    return (aside_sizes){.momentum = has_momentum ? out : 0,
                         .model_out = guidance->model != NULL ? out : 0,
                         .gradient = guidance->classifier != NULL ? vector : 0,
                         .state = guidance->classifier != NULL ? vector : 0};
}

size_t fm_row_asides_bytes(const fm_job_spec *spec)
{
    const fm_network_info *info = &spec->model->network->info;
    if (info->dimension > SIZE_MAX / 64 || info->out_dimension > SIZE_MAX / 64) {
        return SIZE_MAX;
    }
    aside_sizes sizes = sizes_of(spec);
    return sizes.momentum + sizes.model_out + sizes.gradient + sizes.state;
}

static double *take(unsigned char **memory, size_t bytes)
{
    double *taken = bytes > 0 ? (double *)(void *)*memory : NULL;
    *memory += bytes;
    return taken;
}

void fm_row_asides_place(fm_row *row, void *memory)
{
    aside_sizes sizes = sizes_of(&row->job->spec);
    unsigned char *left = memory;
    row->asides.momentum = take(&left, sizes.momentum);
    row->asides.model_out = take(&left, sizes.model_out);
    row->asides.gradient = take(&left, sizes.gradient);
    row->asides.state = take(&left, sizes.state);
}

/* ---- on the way ---- */

void fm_row_asides_start(fm_row *row)
{
    if (row->asides.momentum != NULL) {
        memset(row->asides.momentum, 0, sizes_of(&row->job->spec).momentum);
    }
}

static const fm_model *ask_model(fm_row *row, const fm_model *model, fm_tile_row *ret)
{
    const fm_field *field = &model->field;
    fm_condition condition = {.label = row->condition.label, .path = row->condition.path};
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    (void)fm_field_asks(field, &condition, row->want.t, asks);
    ret->t = asks[0].t;
    ret->label = model->config.has_labels ? condition.label : 0;
    ret->out = row->asides.model_out;
    return model;
}

/* The state as the classifier is fed it. */
static const fm_model *ask_classifier(fm_row *row, const fm_model *classifier, fm_tile_row *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    fm_field_ask ask = fm_field_ask_likelihood(&spec->model->field, &classifier->field,
                                               &row->condition, row->want.t);
    for (size_t i = 0; i < row->job->dimension; i++) {
        row->asides.state[i] = ask.state_scale * row->want.x[i];
    }
    ret->x = row->asides.state;
    ret->t = ask.t;
    ret->label = spec->guidance.classifier_labels[row->index];
    ret->out = row->asides.gradient;
    return classifier;
}

const fm_model *fm_row_aside(fm_row *row, fm_aside aside, const double *x, fm_tile_row *ret)
{
    const fm_field *field = &row->job->spec.model->field;
    fm_field_asides asked = fm_field_asks_beside(field, &row->condition, row->want.t);
    *ret = (fm_tile_row){.x = x};
    if (aside == FM_ASIDE_MODEL && asked.model != NULL) {
        return ask_model(row, asked.model, ret);
    }
    if (aside == FM_ASIDE_CLASSIFIER && asked.classifier != NULL) {
        return ask_classifier(row, asked.classifier, ret);
    }
    return NULL;
}

const double *fm_row_weighted_gradient(fm_row *row)
{
    const fm_job_spec *spec = &row->job->spec;
    fm_field_asides asked = fm_field_asks_beside(&spec->model->field, &row->condition, row->want.t);
    if (asked.classifier == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < row->job->dimension; i++) {
        row->asides.gradient[i] *= spec->guidance.classifier_scale;
    }
    return row->asides.gradient;
}

/* ---- rules ---- */

static bool has_label(const fm_model_config *config, int32_t label)
{
    bool is_null = config->has_null_label && label == config->null_label;
    return config->has_labels && (is_null || (label >= 0 && label < config->label_count));
}

static fm_status check_numbers(const fm_job_spec *spec, fm_error *err)
{
    const fm_guidance *it = &spec->guidance;
    const fm_guidance_projection *projection = &it->projection;
    bool finite = isfinite(it->scale) && isfinite(it->schedule.end) && isfinite(it->zero_until) &&
                  isfinite(projection->parallel) && isfinite(projection->momentum) &&
                  isfinite(it->classifier_scale);
    if (!finite || !(it->rescale >= 0 && it->rescale <= 1) || !(projection->threshold >= 0)) {
        return fm_fail(err, FM_EINVAL,
                       "guidance must have finite scales, a rescale from 0 to 1, and "
                       "no threshold below 0");
    }
    if (it->channels > spec->model->config.shape[0]) {
        return fm_fail(err, FM_EINVAL, "guidance.channels must be at most %zu",
                       spec->model->config.shape[0]);
    }
    if (it->has_interval && !(it->interval[0] <= it->interval[1])) {
        return fm_fail(err, FM_EINVAL, "guidance.interval must ascend");
    }
    if (it->schedule.form == FM_GUIDANCE_SCHEDULE_TABLE && it->schedule.n == 0) {
        return fm_fail(err, FM_EINVAL, "guidance.schedule needs a table");
    }
    return FM_OK;
}

static fm_status check_labels(const fm_job_spec *spec, fm_error *err)
{
    const fm_guidance *it = &spec->guidance;
    const fm_model_config *config = &spec->model->config;
    bool valid = it->n_conditions <= FM_MAX_GUIDANCE_CONDITIONS &&
                 (it->n_conditions == 0 || config->has_null_label || it->negative_labels != NULL);
    for (size_t i = 0; valid && i < it->n_conditions; i++) {
        valid = has_label(config, it->conditions[i].label) && isfinite(it->conditions[i].scale);
    }
    for (size_t i = 0; valid && it->negative_labels != NULL && i < spec->n_rows; i++) {
        valid = has_label(config, it->negative_labels[i]);
    }
    return valid ? FM_OK
                 : fm_fail(err, FM_EINVAL, "guidance has a label that is not one of model %s",
                           config->name);
}

bool fm_model_can_guide(const fm_model_info *model, const fm_model_info *guide)
{
    const fm_field *a = model->field, *b = guide->field;
    bool same_labels =
        !model->has_labels || !guide->has_labels ||
        (model->label_count == guide->label_count &&
         model->has_null_label == guide->has_null_label && model->null_label == guide->null_label);
    bool needs_label = !model->has_labels && guide->has_labels && !guide->has_null_label;
    return model->dimension == guide->dimension && !guide->is_classifier && same_labels &&
           !needs_label && fm_path_equal(&a->path, &b->path) &&
           a->data_to_noise == b->data_to_noise &&
           fm_predictions_equal(&a->predictions, &b->predictions);
}

bool fm_model_can_classify(const fm_model_info *model, const fm_model_info *classifier)
{
    return classifier->is_classifier && model->dimension == classifier->dimension &&
           fm_path_equal(&model->field->path, &classifier->field->path);
}

static fm_status check_models(const fm_job_spec *spec, fm_error *err)
{
    const fm_guidance *it = &spec->guidance;
    const fm_model_info *model = &spec->model->info;
    if (it->model != NULL && (it->n_conditions > 0 || it->negative_labels != NULL ||
                              !fm_model_can_guide(model, &it->model->info))) {
        return fm_fail(err, FM_EINVAL,
                       "guidance.model must be of the same flow, and excludes "
                       "conditions and negative labels");
    }
    if (it->classifier == NULL) {
        return FM_OK;
    }
    bool valid =
        it->classifier_labels != NULL && fm_model_can_classify(model, &it->classifier->info);
    for (size_t i = 0; valid && i < spec->n_rows; i++) {
        valid = has_label(&it->classifier->config, it->classifier_labels[i]);
    }
    return valid ? FM_OK
                 : fm_fail(err, FM_EINVAL,
                           "guidance.classifier needs a classifier of the same path "
                           "and labels of its own");
}

/* What needs more than a velocity that is a function of state and time. */
static fm_status check_uses(const fm_job_spec *spec, fm_error *err)
{
    const fm_guidance *it = &spec->guidance;
    bool has_momentum = it->projects && it->projection.momentum != 0.0;
    if (it->projects && it->zero_star) {
        return fm_fail(err, FM_EINVAL, "guidance is by zero_star or by projection");
    }
    if (!fm_guidance_is_plain(it) && fm_job_needs_tangents(spec)) {
        return fm_fail(err, FM_EINVAL, "densities and divergences take plain guidance only");
    }
    if (has_momentum &&
        (spec->task == FM_TASK_VELOCITY || !fm_method_takes_momentum(spec->solver.method) ||
         fm_job_read_fields(spec) != 0)) {
        return fm_fail(err, FM_EINVAL,
                       "guidance.projection.momentum needs a method that evaluates "
                       "each step once, and no fields");
    }
    return FM_OK;
}

fm_status fm_job_check_guidance(const fm_job_spec *spec, fm_error *err)
{
    fm_status status = check_numbers(spec, err);
    if (status == FM_OK) {
        status = check_labels(spec, err);
    }
    if (status == FM_OK) {
        status = check_models(spec, err);
    }
    return status == FM_OK ? check_uses(spec, err) : status;
}
