/* The rules of fm_job_spec, but those of guidance and of inverse problems. */
#include "engine/batch/job.h"
#include "engine/batch/job_spec.h"
#include "engine/model.h"

static fm_status check_divergence(const fm_job_spec *spec, fm_error *err)
{
    const fm_divergence *it = &spec->divergence;
    bool bad = it->method == FM_DIVERGENCE_HUTCHINSON && fm_job_tangents(spec) > FM_MAX_PROBES;
    if (bad || (it->method == FM_DIVERGENCE_HUTCHINSON && it->n_probes == 0)) {
        return fm_fail(err, FM_EINVAL, "divergence needs 1 to %zu probes", FM_MAX_PROBES);
    }
    bool needed = fm_job_integrals(spec) > 0 || fm_job_wants_divergence(spec);
    if (needed && !spec->model->info.has_divergence) {
        return fm_fail(err, FM_EINVAL, "model %s has no divergence", spec->model->config.name);
    }
    return FM_OK;
}

static fm_status check_labels(const fm_job_spec *spec, fm_error *err)
{
    const fm_model_config *config = &spec->model->config;
    if (spec->labels != NULL && !config->has_labels) {
        return fm_fail(err, FM_EINVAL, "model %s has no labels", config->name);
    }
    if (spec->labels == NULL && config->has_labels && !config->has_null_label) {
        return fm_fail(err, FM_EINVAL, "model %s needs labels", config->name);
    }
    for (size_t i = 0; spec->labels != NULL && i < spec->n_rows; i++) {
        int32_t label = spec->labels[i];
        bool is_null = config->has_null_label && label == config->null_label;
        if (!is_null && (label < 0 || label >= config->label_count)) {
            return fm_fail(err, FM_EINVAL, "label %d of row %zu is not one of model %s", label, i,
                           config->name);
        }
    }
    return FM_OK;
}

/* What is made of sums of points, or of the whole of a state. */
static fm_status check_space(const fm_job_spec *spec, fm_error *err)
{
    const fm_guidance *guidance = &spec->guidance;
    const char *space = spec->model->info.space;
    const struct {
        bool used;
        const char *what;
    } rows[] = {
        {spec->inverse != NULL, "an observation"},
        {spec->path != NULL, "another scheduler"},
        {spec->draws > 0, "dequantisation"},
        {spec->measures_path, "measures of the path"},
        {spec->adds_noise && spec->model->info.has_tokens, "noise added to data"},
        {(spec->fields & ~FM_FIELD_BIT(FM_FIELD_X)) != 0 && spec->model->info.has_tokens,
         "fields but x"},
        {guidance->zero_until > 0 && spec->model->info.has_tokens, "guidance.zero_until"},
        {(spec->fields & (FM_FIELD_BIT(FM_FIELD_SCORE) | FM_FIELD_BIT(FM_FIELD_X0_HAT))) != 0,
         "the fields score and x0_hat"},
        {guidance->model != NULL || guidance->classifier != NULL, "guidance by another model"},
        {guidance->channels > 0 || !fm_guidance_is_plain(guidance),
         "guidance of channels, by projection or with zero_star"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !fm_job_is_flat(spec); i++) {
        if (rows[i].used) {
            return fm_fail(err, FM_EINVAL, "a flow on %s does not take %s", space, rows[i].what);
        }
    }
    if (spec->given != NULL && (!fm_job_is_direct(spec) || spec->x == NULL)) {
        return fm_fail(err, FM_EINVAL, "given tokens need a flow of tokens, and x");
    }
    const fm_space *geometry = spec->model->info.geometry;
    if (spec->task == FM_TASK_SAMPLE && spec->x == NULL && geometry->is_external) {
        return fm_fail(err, FM_EINVAL, "x must be given: the source of model %s is external",
                       spec->model->config.name);
    }
    return FM_OK;
}

/* What moves the velocity alone would leave jumps to another law. */
static fm_status check_jumps(const fm_job_spec *spec, fm_error *err)
{
    const fm_method *method = spec->solver.method;
    if (spec->task != FM_TASK_SAMPLE || method == NULL || !fm_method_jumps(method)) {
        return FM_OK;
    }
    bool guided = fm_field_guidance(&spec->model->field, &spec->guidance) != NULL;
    if (guided || spec->inverse != NULL) {
        return fm_fail(err, FM_EINVAL, "%s does not take %s", fm_method_describe(method)->name,
                       guided ? "guidance" : "an observation");
    }
    return FM_OK;
}

fm_status fm_job_check(const fm_job_spec *spec, fm_error *err)
{
    const fm_model_config *config = &spec->model->config;
    if (spec->n_rows == 0) {
        return fm_fail(err, FM_EINVAL, "a job needs at least one row");
    }
    if (config->classifier) {
        return fm_fail(err, FM_EINVAL, "model %s is a classifier and has no velocity",
                       config->name);
    }
    fm_status labels = check_labels(spec, err);
    if (labels != FM_OK) {
        return labels;
    }
    if (spec->draws > 0 && (spec->x == NULL || spec->n_rows % spec->draws != 0)) {
        return fm_fail(err, FM_EINVAL, "draws need points x, and as many rows for each");
    }
    double first = spec->task == FM_TASK_SAMPLE && spec->adds_noise ? spec->solver.grid[0] : 0;
    if (spec->adds_noise && (spec->x == NULL || spec->draws > 0 || !(first >= 0 && first <= 1))) {
        return fm_fail(err, FM_EINVAL, "noise is added to points x at a time from 0 to 1");
    }
    fm_status options = check_space(spec, err);
    if (options == FM_OK) {
        options = check_jumps(spec, err);
    }
    if (options == FM_OK) {
        options = check_divergence(spec, err);
    }
    if (options == FM_OK) {
        options = fm_job_check_guidance(spec, err);
    }
    if (options != FM_OK) {
        return options;
    }
    if (spec->task == FM_TASK_VELOCITY) {
        bool density = fm_job_wants_log_density(spec);
        if (spec->x == NULL || spec->t == NULL || (density && !spec->model->info.has_log_density)) {
            return fm_fail(err, FM_EINVAL, "velocity needs x, t and fields that the model has");
        }
        return fm_job_check_inverse(spec, err);
    }
    if (spec->task == FM_TASK_BOUND) {
        return fm_job_check_bound(spec, err);
    }
    fm_solve_plan plan = fm_job_solve_plan(spec);
    fm_status status = fm_solve_check(&plan, err);
    if (status == FM_OK && plan.n_integrals > 0 && !fm_method_takes_density(spec->solver.method)) {
        status = fm_fail(err, FM_EINVAL, "densities cannot be integrated with %s",
                         fm_method_describe(spec->solver.method)->name);
    }
    return status == FM_OK ? fm_job_check_inverse(spec, err) : status;
}
