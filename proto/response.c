/* The answer of a job, and what the answers of both tasks share. */
#include "proto/response.h"

#include "proto/api.h"
#include "proto/json.h"
#include "proto/response_rows.h"
#include "proto/stages.h"
#include "proto/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void row_of_job(const void *context, size_t row, fm_row_result *ret)
{
    const fm_job *job = context;
    fm_job_row(job, row, ret);
}

/* What the draws of one point say together. */
typedef struct drawn_job {
    const fm_job *job;
    size_t draws;
} drawn_job;

/* log (1/n) sum_k p_k, of the rows of one point; NAN where one of them is not known. */
static double mean_log(const drawn_job *it, size_t point)
{
    double largest = -HUGE_VAL, sum = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t k = 0; k < it->draws; k++) {
            fm_row_result row;
            fm_job_row(it->job, point * it->draws + k, &row);
            if (isnan(row.log_likelihood)) {
                return row.log_likelihood;
            }
            largest = pass == 0 ? fmax(largest, row.log_likelihood) : largest;
            sum += pass == 0 ? 0 : exp(row.log_likelihood - largest);
        }
    }
    return largest + log(sum / (double)it->draws);
}

/* Counts are summed; the status is that of the first draw that did not end well. */
static void point_of_job(const void *context, size_t point, fm_row_result *ret)
{
    const drawn_job *it = context;
    fm_job_row(it->job, point * it->draws, ret);
    for (size_t k = 1; k < it->draws; k++) {
        fm_row_result row;
        fm_job_row(it->job, point * it->draws + k, &row);
        ret->evaluations += row.evaluations;
        ret->accepted += row.accepted;
        ret->rejected += row.rejected;
        if (ret->status == FM_ROW_OK && row.status != FM_ROW_OK) {
            ret->status = row.status;
            ret->t = row.t;
        }
    }
    ret->log_likelihood = mean_log(it, point);
    if (it->draws > 1) { /* of the mean of draws it says nothing */
        ret->standard_error = (double)NAN;
    }
}

/* The last job, and what those before it said. */
typedef struct staged_job {
    const fm_job *job;
    const fmp_stages *stages;
} staged_job;

static void row_of_stages(const void *context, size_t row, fm_row_result *ret)
{
    const staged_job *it = context;
    fm_job_row(it->job, row, ret);
    fmp_stages_merge(it->stages, row, ret);
}

void fmp_response_write(fmp_buffer *buffer, const fmp_request *request, const fm_model_info *model,
                        const char *id, const fm_job *job)
{
    const drawn_job drawn = {.job = job, .draws = request->spec.draws};
    const staged_job staged = {.job = job, .stages = request->stages};
    fmp_rows rows = {.n_rows = fm_job_n_rows(job),
                     .at = row_of_job,
                     .context = job,
                     .stats = fmp_request_statistics(request, job)};
    if (staged.stages != NULL) {
        rows.at = row_of_stages;
        rows.context = &staged;
    }
    if (drawn.draws > 0) {
        rows.n_rows /= drawn.draws;
        rows.at = point_of_job;
        rows.context = &drawn;
    }
    fmp_response_write_rows(buffer, request, model, id, &rows);
}

/* A .npy file holds one float32 array: a sample always has one, a velocity where it was asked for. */
static bool has_npy(const fmp_request *request)
{
    return (request->spec.task == FM_TASK_SAMPLE && request->route != FMP_API_LOG_LIKELIHOOD) ||
           (request->spec.fields & FM_FIELD_BIT(FM_FIELD_VELOCITY)) != 0;
}

void fmp_response_write_rows(fmp_buffer *buffer, const fmp_request *request,
                             const fm_model_info *model, const char *id, const fmp_rows *rows)
{
    fmp_request as_json = *request;
    if (request->encoding == FMP_ENCODING_NPY && !has_npy(request)) {
        as_json.encoding = FMP_ENCODING_JSON;
        request = &as_json;
    }
    if (request->encoding == FMP_ENCODING_NPY) {
        fmp_response_write_npy(buffer, request, model, rows);
    } else if (request->encoding == FMP_ENCODING_PNG_GRID) {
        fmp_response_write_png_grid(buffer, model, rows);
    } else if (request->spec.task == FM_TASK_SAMPLE) {
        fmp_response_write_sample(buffer, request, model, id, rows);
    } else if (request->spec.task == FM_TASK_BOUND) {
        fmp_response_write_bound(buffer, request, model, id, rows);
    } else {
        fmp_response_write_velocity(buffer, request, model, id, rows);
    }
}

void fmp_response_write_dry_run(fmp_buffer *buffer, const fmp_request *request,
                                const fm_model_info *model, size_t workers)
{
    fm_job_estimate estimate = fmp_request_estimate(request, workers);
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_json_pair_number(&json, "evaluations", ceil(estimate.evaluations));
    fmp_json_pair_number(&json, "estimated_ms", round(estimate.seconds * 1e6) / 1e3);
    fmp_json_pair_unsigned(&json, "answer_bytes", fmp_request_answer_bytes(request, model));
    fmp_json_close(&json, '}');
}

void fmp_response_write_head(fmp_json *json, const fm_model_info *model, const char *id)
{
    fmp_json_pair_text(json, "id", id);
    fmp_json_pair_text(json, "model", model->name);
    fmp_json_pair_text(json, "model_version", model->version);
}

void fmp_response_write_seed(fmp_json *json, const fmp_request *request)
{
    fmp_json_key(json, "seed");
    fmp_json_value(json);
    bool quoted = request->seed_is_string || request->spec.seed > FMP_SEED_MAX;
    fmp_buffer_format(json->buffer, quoted ? "\"%" PRIu64 "\"" : "%" PRIu64, request->spec.seed);
}

void fmp_response_write_path(fmp_json *json, const char *key, const fm_path *path)
{
    const char *name = NULL;
    double ignored = 0;
    fmp_json_key(json, key);
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", fm_path_type_name(path->type));
    for (size_t i = 0; fm_path_type_parameter(path->type, i, &name, &ignored); i++) {
        fmp_json_pair_number(json, name, path->parameters[i]);
    }
    fmp_json_close(json, '}');
}

void fmp_response_write_times(fmp_json *json, const fm_job_stats *stats)
{
    fmp_json_pair_number(json, "queue_ms", round(stats->queue_seconds * 1e6) / 1e3);
    fmp_json_pair_number(json, "compute_ms", round(stats->compute_seconds * 1e6) / 1e3);
}

void fmp_response_write_statuses(fmp_json *json, const fmp_rows *rows)
{
    fmp_json_key(json, "status");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_json_text(json, fm_row_status_name(row.status));
    }
    fmp_json_close(json, ']');
}

void fmp_response_write_states(fmp_json *json, const char *key, const fmp_request *request,
                               const fm_model_info *model, const fmp_rows *rows,
                               fmp_row_state *state, unsigned which)
{
    fmp_tensor tensor;
    bool are_points = which == FM_FIELD_X || which == FM_FIELD_X1_HAT;
    fmp_json_key(json, key);
    fmp_tensor_begin_states(&tensor, json, request, model, are_points, 1, &rows->n_rows);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor_state(&tensor, model, state(&row, which));
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_npy(fmp_buffer *buffer, const fmp_request *request,
                            const fm_model_info *model, const fmp_rows *rows)
{
    size_t shape[FM_MAX_RANK + 1] = {rows->n_rows};
    memcpy(shape + 1, model->shape, model->rank * sizeof *model->shape);
    fmp_npy_write_header(buffer, model->rank + 1, shape);
    bool is_sample = request->spec.task == FM_TASK_SAMPLE;
    for (size_t i = 0; i < rows->n_rows && !buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        const float *state = is_sample ? row.x : row.fields[FM_FIELD_VELOCITY];
        if (state == NULL) {
            buffer->failed = true; /* half a file is none */
            return;
        }
        fmp_buffer_append(buffer, state, model->dimension * sizeof *state);
    }
}
