/* The guidance that a request had, in its answer: what it asked for, and no more. */
#include "proto/json.h"
#include "proto/response_rows.h"

static void write_list(fmp_json *json, const char *key, const double *values, size_t n)
{
    fmp_json_key(json, key);
    fmp_json_open(json, '[');
    for (size_t i = 0; i < n; i++) {
        fmp_json_number(json, values[i]);
    }
    fmp_json_close(json, ']');
}

static void write_schedule(fmp_json *json, const fm_guidance_schedule *schedule)
{
    fmp_json_key(json, "schedule");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", fm_guidance_schedule_name(schedule->form));
    if (schedule->form == FM_GUIDANCE_SCHEDULE_TABLE) {
        write_list(json, "t", schedule->t, schedule->n);
        write_list(json, "values", schedule->values, schedule->n);
    } else {
        fmp_json_pair_number(json, "end", schedule->end);
    }
    fmp_json_close(json, '}');
}

static void write_conditions(fmp_json *json, const fm_guidance *guidance)
{
    double scales[FM_MAX_GUIDANCE_CONDITIONS];
    fmp_json_key(json, "conditions");
    fmp_json_open(json, '{');
    fmp_json_key(json, "labels");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < guidance->n_conditions; i++) {
        fmp_json_unsigned(json, (uint64_t)guidance->conditions[i].label);
        scales[i] = guidance->conditions[i].scale;
    }
    fmp_json_close(json, ']');
    write_list(json, "scales", scales, guidance->n_conditions);
    fmp_json_close(json, '}');
}

static void write_projection(fmp_json *json, const fm_guidance_projection *projection)
{
    fmp_json_key(json, "projection");
    fmp_json_open(json, '{');
    fmp_json_pair_number(json, "parallel", projection->parallel);
    if (projection->threshold > 0) {
        fmp_json_pair_number(json, "threshold", projection->threshold);
    }
    if (projection->momentum != 0.0) {
        fmp_json_pair_number(json, "momentum", projection->momentum);
    }
    fmp_json_close(json, '}');
}

/* How outputs are combined, beside the scale. */
static void write_form(fmp_json *json, const fm_guidance *guidance)
{
    if (guidance->rescale > 0) {
        fmp_json_pair_number(json, "rescale", guidance->rescale);
    }
    if (guidance->zero_star) {
        fmp_json_pair_bool(json, "zero_star", true);
    }
    if (guidance->zero_until > 0) {
        fmp_json_pair_number(json, "zero_until", guidance->zero_until);
    }
    if (guidance->projects) {
        write_projection(json, &guidance->projection);
    }
}

static void write_models(fmp_json *json, const fm_guidance *guidance)
{
    if (guidance->model != NULL) {
        fmp_json_pair_text(json, "model", fm_model_describe(guidance->model)->name);
    }
    if (guidance->classifier != NULL) {
        fmp_json_key(json, "classifier");
        fmp_json_open(json, '{');
        fmp_json_pair_text(json, "model", fm_model_describe(guidance->classifier)->name);
        fmp_json_pair_number(json, "scale", guidance->classifier_scale);
        fmp_json_close(json, '}');
    }
}

void fmp_response_write_guidance(fmp_json *json, const fmp_request *request,
                                 const fm_model_info *model)
{
    const fm_guidance *guidance = &request->spec.guidance;
    if (!model->has_labels && guidance->model == NULL && guidance->classifier == NULL) {
        return;
    }
    fmp_json_key(json, "guidance");
    fmp_json_open(json, '{');
    fmp_json_pair_number(json, "scale", guidance->scale);
    if (guidance->channels > 0) {
        fmp_json_pair_unsigned(json, "channels", guidance->channels);
    }
    if (guidance->has_interval) {
        write_list(json, "interval", guidance->interval, 2);
    }
    if (guidance->schedule.form != FM_GUIDANCE_SCHEDULE_CONSTANT) {
        write_schedule(json, &guidance->schedule);
    }
    if (guidance->n_conditions > 0) {
        write_conditions(json, guidance);
    }
    write_form(json, guidance);
    write_models(json, guidance);
    fmp_json_close(json, '}');
}
