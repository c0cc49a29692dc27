/* What a spec comes to: what is asked of each row, and what that costs. */
#include "engine/batch/job_spec.h"

#include "engine/batch/job.h"
#include "engine/model.h"

#include <math.h>

bool fm_job_wants_log_density(const fm_job_spec *spec)
{
    bool has_outputs =
        spec->task == FM_TASK_VELOCITY || spec->n_output_times > 0 || spec->output_every_step;
    return has_outputs && (spec->fields & FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)) != 0;
}

bool fm_job_wants_divergence(const fm_job_spec *spec)
{
    return (fm_job_read_fields(spec) & FM_FIELD_BIT(FM_FIELD_DIVERGENCE)) != 0;
}

size_t fm_job_integrals(const fm_job_spec *spec)
{
    bool integrates =
        spec->task == FM_TASK_SAMPLE && (spec->log_likelihood || fm_job_wants_log_density(spec));
    return integrates ? fm_divergence_traces(&spec->divergence) : 0;
}

size_t fm_job_tangents(const fm_job_spec *spec)
{
    if (fm_job_integrals(spec) == 0 && !fm_job_wants_divergence(spec)) {
        return 0;
    }
    return spec->divergence.method == FM_DIVERGENCE_EXACT ? spec->model->config.space.dimensions
                                                          : spec->divergence.n_probes;
}

bool fm_job_needs_tangents(const fm_job_spec *spec)
{
    return fm_job_tangents(spec) > 0;
}

/* 0: as many as states. */
static size_t n_velocity(const fm_job_spec *spec)
{
    const fm_space *space = &spec->model->config.space;
    bool plain = space->is_flat && !fm_method_jumps(spec->solver.method);
    return plain ? 0 : space->velocities + fm_job_integrals(spec);
}

fm_solve_plan fm_job_solve_plan(const fm_job_spec *spec)
{
    const fm_model_config *config = &spec->model->config;
    return (fm_solve_plan){.solver = spec->solver,
                           .dimension = config->dimension + fm_job_integrals(spec),
                           .n_integrals = fm_job_integrals(spec),
                           .space = &config->space,
                           .n_velocity = n_velocity(spec),
                           .path = spec->path != NULL ? spec->path : &config->path,
                           .seed = spec->seed,
                           .given = spec->given,
                           .gives_score = fm_predictions_have_score(&config->predictions) &&
                                          fm_method_uses_score(spec->solver.method),
                           .output_times = spec->output_times,
                           .n_output_times = spec->n_output_times,
                           .output_every_step = spec->output_every_step,
                           .measures_path = spec->measures_path,
                           .output = fm_row_keep_output,
                           .after_step = fm_job_after_step(spec),
                           .inverse = spec->inverse};
}

size_t fm_job_grid_states(const fm_job_spec *spec)
{
    return fm_method_describe(spec->solver.method)->adaptive ? 0 : spec->solver.n_grid;
}

size_t fm_job_outputs(const fm_job_spec *spec)
{
    if (spec->task == FM_TASK_VELOCITY) {
        return 1;
    }
    return spec->output_every_step ? fm_job_grid_states(spec) : spec->n_output_times;
}

size_t fm_job_count_network_rows(const fm_job_spec *spec, size_t *ret_most)
{
    size_t total = 0;
    const fm_model_config *config = &spec->model->config;
    fm_condition condition = {.guidance = &spec->guidance, .label = config->null_label};
    const int32_t *negative = spec->guidance.negative_labels;
    *ret_most = 1;
    if (spec->labels == NULL && negative == NULL) { /* all are alike */
        *ret_most = fm_field_most_rows(&spec->model->field, &condition);
        return spec->n_rows * *ret_most;
    }
    for (size_t i = 0; i < spec->n_rows; i++) {
        condition.label = spec->labels != NULL ? spec->labels[i] : condition.label;
        condition.negative_label = negative != NULL ? negative[i] : 0;
        size_t rows = fm_field_most_rows(&spec->model->field, &condition);
        total += rows;
        *ret_most = rows > *ret_most ? rows : *ret_most;
    }
    return total;
}

size_t fm_job_network_rows(const fm_job_spec *spec)
{
    size_t most = 0;
    double rows = (double)fm_job_count_network_rows(spec, &most), share = 0;
    if (spec->task == FM_TASK_VELOCITY) {
        share = 1;
    } else if (fm_job_integrals(spec) > 0) {
        fm_solve_plan plan = fm_job_solve_plan(spec);
        share = fm_solve_integral_share(&plan);
    }
    double total = round(rows * (1 + share * (double)fm_job_tangents(spec)));
    return total < (double)SIZE_MAX ? (size_t)total : SIZE_MAX;
}

/* Outputs of a trajectory, of adaptive steps by the usual number. */
static double expected_outputs(const fm_job_spec *spec, double evaluations)
{
    bool counted = fm_job_outputs(spec) > 0;
    double step = fm_method_describe(spec->solver.method)->evaluations_per_step;
    return counted ? (double)fm_job_outputs(spec) : 1 + evaluations / step;
}

double fm_job_expected_evaluations(const fm_job_spec *spec)
{
    if (spec->task == FM_TASK_VELOCITY) {
        return 1;
    }
    if (spec->task == FM_TASK_BOUND) {
        fm_elbo_plan plan = fm_job_bound_plan(spec);
        return (double)fm_elbo_evaluations(&plan);
    }
    fm_solve_plan plan = fm_job_solve_plan(spec);
    double evaluations = fm_solve_expected_evaluations(&plan);
    return evaluations + (fm_job_read_fields(spec) != 0 ? expected_outputs(spec, evaluations) : 0);
}
