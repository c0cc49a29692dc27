/* The answers of what integrates: of all routes with a body but …/velocity. */
#include "proto/json.h"
#include "proto/number.h"
#include "proto/response_rows.h"
#include "proto/solver_options.h"
#include "proto/tensor.h"

static bool is_adaptive(const fmp_request *request)
{
    return fm_method_describe(request->spec.solver.method)->adaptive;
}

static const float *state_of(const fm_row_result *row, unsigned which)
{
    (void)which;
    return row->x;
}

static void write_time_list(fmp_json *json, fmp_encoding encoding, const double *times, size_t n)
{
    fmp_tensor tensor;
    fmp_tensor_begin(&tensor, json, encoding, "float64", 1, &n);
    fmp_tensor_doubles(&tensor, times, n);
    fmp_tensor_end(&tensor);
}

/* A field at state k of a row; past the end of a row that stopped early, its last state's again, so that
 * every sample has as many as there are times. */
static const float *field_at(const fm_row_result *row, unsigned id, size_t k, size_t dimension)
{
    if (row->n_trajectory == 0) {
        return id == FM_FIELD_X ? row->x : row->fields[id];
    }
    size_t last = row->n_trajectory - 1;
    return row->fields[id] + (k < last ? k : last) * dimension;
}

static bool is_point(unsigned id)
{
    return id == FM_FIELD_X || id == FM_FIELD_X1_HAT;
}

/* [n_rows, n_times, …shape] */
static void write_common_field(fmp_json *json, unsigned id, size_t n_times,
                               const fmp_request *request, const fm_model_info *model,
                               const fmp_rows *rows)
{
    const size_t leading[] = {rows->n_rows, n_times};
    fmp_tensor tensor;
    fmp_json_key(json, fm_field_name((fm_field_id)id));
    fmp_tensor_begin_states(&tensor, json, request, model, is_point(id), 2, leading);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor_open(&tensor);
        for (size_t k = 0; k < n_times; k++) {
            const float *state = field_at(&row, id, k, model->dimension);
            fmp_tensor_state(&tensor, model, state);
        }
        fmp_tensor_close(&tensor);
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

static void write_common_times(fmp_json *json, const fmp_request *request,
                               const fm_model_info *model, const fmp_rows *rows)
{
    const fm_job_spec *spec = &request->spec;
    const double *times = spec->output_every_step ? spec->solver.grid : spec->output_times;
    size_t n_times = spec->output_every_step ? spec->solver.n_grid : spec->n_output_times;
    fmp_json_key(json, "times");
    write_time_list(json, request->encoding, times, n_times);
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        if ((spec->fields & FM_FIELD_BIT(id)) != 0) {
            write_common_field(json, id, n_times, request, model, rows);
        }
    }
    for (unsigned id = FM_N_VECTOR_FIELDS; id < FM_N_FIELDS; id++) {
        if ((spec->fields & FM_FIELD_BIT(id)) != 0) {
            fmp_response_write_state_numbers(json, id, n_times, request, rows);
        }
    }
}

/* A list a sample, each of its own length; only in JSON. */
static void write_own_field(fmp_json *json, unsigned id, const fmp_request *request,
                            const fm_model_info *model, const fmp_rows *rows)
{
    fmp_json_key(json, fm_field_name((fm_field_id)id));
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor tensor;
        fmp_tensor_begin_states(&tensor, json, request, model, is_point(id), 1, &row.n_trajectory);
        fmp_tensor_open(&tensor);
        for (size_t k = 0; k < row.n_trajectory; k++) {
            fmp_tensor_state(&tensor, model, row.fields[id] + k * model->dimension);
        }
        fmp_tensor_close(&tensor);
        fmp_tensor_end(&tensor);
    }
    fmp_json_close(json, ']');
}

/* Every sample has its own times. */
static void write_own_times(fmp_json *json, const fmp_request *request, const fm_model_info *model,
                            const fmp_rows *rows)
{
    unsigned fields = request->spec.fields;
    fmp_json_key(json, "times");
    fmp_json_open(json, '[');
    fm_row_result row;
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        rows->at(rows->context, i, &row);
        fmp_json_value(json);
        fmp_number_write_doubles(json->buffer, row.trajectory_times, 1, &row.n_trajectory);
    }
    fmp_json_close(json, ']');
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        if ((fields & FM_FIELD_BIT(id)) != 0) {
            write_own_field(json, id, request, model, rows);
        }
    }
    for (unsigned id = FM_N_VECTOR_FIELDS; id < FM_N_FIELDS; id++) {
        if ((fields & FM_FIELD_BIT(id)) != 0) {
            fmp_response_write_own_numbers(json, id, rows);
        }
    }
}

static void write_trajectory(fmp_json *json, const fmp_request *request, const fm_model_info *model,
                             const fmp_rows *rows)
{
    fmp_json_key(json, "trajectory");
    fmp_json_open(json, '{');
    if (request->spec.output_every_step && is_adaptive(request)) {
        write_own_times(json, request, model, rows);
    } else {
        write_common_times(json, request, model, rows);
    }
    fmp_json_close(json, '}');
}

static void write_schedule(fmp_json *json, const fm_schedule *schedule)
{
    const char *name = NULL;
    double ignored = 0;
    fmp_json_key(json, "schedule");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", fm_schedule_type_name(schedule->type));
    fmp_json_pair_unsigned(json, "steps", schedule->n_steps);
    for (size_t i = 0; fm_schedule_type_parameter(schedule->type, i, &name, &ignored); i++) {
        fmp_json_pair_number(json, name, schedule->parameters[i]);
    }
    fmp_json_close(json, '}');
}

/* Every setting that had effect, given or by default. */
static void write_solver(fmp_json *json, const fmp_request *request, const fm_model_info *model)
{
    const fm_solver *solver = &request->spec.solver;
    fmp_json_key(json, "solver");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "method", fm_method_describe(solver->method)->name);
    if (is_adaptive(request)) {
        fmp_json_pair_number(json, "rtol", solver->rtol);
        fmp_json_pair_number(json, "atol", solver->atol);
        if (solver->first_step > 0) {
            fmp_json_pair_number(json, "first_step", solver->first_step);
        }
    } else if (request->grid_from_steps) {
        fmp_json_pair_unsigned(json, "steps", request->n_steps);
    }
    if (!model->geometry->is_flat) {
        fmp_json_pair_text(json, "step", fm_step_form_name(solver->step));
    }
    if (request->schedule.type != NULL) {
        write_schedule(json, &request->schedule);
    }
    fmp_solver_options_write(json, solver);
    fmp_json_pair_unsigned(json, "max_evaluations", solver->max_evaluations);
    fmp_json_key(json, "time_grid");
    write_time_list(json, request->encoding, solver->grid, solver->n_grid);
    fmp_json_close(json, '}');
}

typedef uint64_t row_count(const fm_row_result *row);

static uint64_t evaluations_of(const fm_row_result *row)
{
    return row->evaluations;
}

static uint64_t accepted_of(const fm_row_result *row)
{
    return row->accepted;
}

static uint64_t rejected_of(const fm_row_result *row)
{
    return row->rejected;
}

static void write_counts(fmp_json *json, const char *key, const fmp_rows *rows, row_count *count)
{
    fmp_json_key(json, key);
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_json_unsigned(json, count(&row));
    }
    fmp_json_close(json, ']');
}

typedef double row_number(const fm_row_result *row);

static double time_of(const fm_row_result *row)
{
    return row->t;
}

static double straightness_of(const fm_row_result *row)
{
    return row->shape.straightness;
}

static double kinetic_energy_of(const fm_row_result *row)
{
    return row->shape.kinetic_energy;
}

static double curvature_of(const fm_row_result *row)
{
    return row->shape.curvature;
}

static void write_numbers(fmp_json *json, const char *key, const fmp_rows *rows, row_number *number)
{
    fmp_json_key(json, key);
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_json_number(json, number(&row));
    }
    fmp_json_close(json, ']');
}

static void write_stats(fmp_json *json, const fmp_request *request, const fmp_rows *rows)
{
    fmp_json_key(json, "stats");
    fmp_json_open(json, '{');
    write_counts(json, "evaluations", rows, evaluations_of);
    write_counts(json, "accepted", rows, accepted_of);
    write_counts(json, "rejected", rows, rejected_of);
    fmp_response_write_statuses(json, rows);
    write_numbers(json, "t", rows, time_of);
    if (request->wants_straightness) {
        write_numbers(json, "straightness", rows, straightness_of);
    }
    if (request->wants_kinetic_energy) {
        write_numbers(json, "kinetic_energy", rows, kinetic_energy_of);
    }
    if (request->wants_curvature) {
        write_numbers(json, "curvature", rows, curvature_of);
    }
    fmp_response_write_times(json, &rows->stats);
    fmp_json_close(json, '}');
}

/* Where the trajectories end. */
static void write_states(fmp_json *json, const fmp_request *request, const fm_model_info *model,
                         const fmp_rows *rows)
{
    if (request->route == FMP_API_LOG_LIKELIHOOD) {
        return;
    }
    const char *key = request->route == FMP_API_ENCODE ? "x0" : "samples";
    if (request->encoding == FMP_ENCODING_PNG) {
        fmp_response_write_pictures(json, key, model, rows);
    } else {
        fmp_response_write_states(json, key, request, model, rows, state_of, FM_FIELD_X);
        fmp_response_write_text(json, model, rows);
    }
}

void fmp_response_write_sample(fmp_buffer *buffer, const fmp_request *request,
                               const fm_model_info *model, const char *id, const fmp_rows *rows)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_response_write_head(&json, model, id);
    if ((request->route & FMP_API_SAMPLES) != 0 || fmp_response_draws_probes(request)) {
        fmp_response_write_seed(&json, request);
    }
    write_states(&json, request, model, rows);
    fmp_response_write_residuals(&json, request, rows);
    if (request->stages != NULL) {
        fmp_response_write_latents(&json, request, model, rows);
    }
    if (request->has_trajectory) {
        write_trajectory(&json, request, model, rows);
    }
    if (request->spec.log_likelihood) {
        fmp_response_write_log_likelihood(&json, request, model, rows);
    }
    fmp_response_write_divergence(&json, request);
    if (request->path != NULL) {
        fmp_response_write_path(&json, "scheduler", request->path);
    }
    write_solver(&json, request, model);
    fmp_response_write_guidance(&json, request, model);
    fmp_response_write_observation(&json, request);
    write_stats(&json, request, rows);
    fmp_json_close(&json, '}');
}
