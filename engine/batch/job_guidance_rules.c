/* The rules of a job's guidance. */
#include "engine/batch/job.h"
#include "engine/model.h"

#include <math.h>

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
    return model->dimension == guide->dimension &&
           model->geometry->outputs == guide->geometry->outputs && !guide->is_classifier &&
           same_labels && !needs_label && fm_path_equal(&a->path, &b->path) &&
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
