/* Numbers of an answer: one of every row, one of every state on the way, and log likelihoods. All are float64, and
 * null where they are not known. */
#include "proto/json.h"
#include "proto/png.h"
#include "proto/response_rows.h"
#include "proto/tensor.h"

#include <math.h>

void fmp_response_write_numbers(fmp_json *json, const char *key, const fmp_request *request,
                                const fmp_rows *rows, fmp_row_number *number, unsigned which)
{
    fmp_tensor tensor;
    fmp_json_key(json, key);
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &rows->n_rows);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor_log(&tensor, number(&row, which));
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

/* Of one state; past the end of a row that stopped early, its last one's again. */
static double number_at(const fm_row_result *row, unsigned id, size_t k)
{
    const double *values = id == FM_FIELD_DIVERGENCE ? row->divergence : row->log_density;
    if (row->n_trajectory == 0 || values == NULL) {
        return (double)NAN;
    }
    return values[k < row->n_trajectory ? k : row->n_trajectory - 1];
}

void fmp_response_write_state_numbers(fmp_json *json, unsigned id, size_t n_times,
                                      const fmp_request *request, const fmp_rows *rows)
{
    const size_t shape[] = {rows->n_rows, n_times};
    fmp_tensor tensor;
    fmp_json_key(json, fm_field_name((fm_field_id)id));
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 2, shape);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor_open(&tensor);
        for (size_t k = 0; k < n_times; k++) {
            fmp_tensor_log(&tensor, number_at(&row, id, k));
        }
        fmp_tensor_close(&tensor);
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_own_numbers(fmp_json *json, unsigned id, const fmp_rows *rows)
{
    fmp_json_key(json, fm_field_name((fm_field_id)id));
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_json_open(json, '[');
        for (size_t k = 0; k < row.n_trajectory; k++) {
            fmp_json_number(json, number_at(&row, id, k));
        }
        fmp_json_close(json, ']');
    }
    fmp_json_close(json, ']');
}

/* ---- log likelihoods ---- */

static double log_likelihood_of(const fm_row_result *row, unsigned which)
{
    (void)which;
    return row->log_likelihood;
}

static double standard_error_of(const fm_row_result *row, unsigned which)
{
    (void)which;
    return row->standard_error;
}

/* Bits that a level of a channel takes, where each of 256 levels is as wide as a part of the range: of a uniform
 * density over the range, 8. */
static void write_bits(fmp_json *json, const fmp_request *request, const fm_model_info *model,
                       const fmp_rows *rows)
{
    double width = (model->output_range[1] - model->output_range[0]) / FM_IMAGE_LEVELS;
    fmp_tensor tensor;
    fmp_json_key(json, "bits_per_dimension");
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &rows->n_rows);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        double per_dimension = row.log_likelihood / (double)model->dimension;
        fmp_tensor_log(&tensor, -(per_dimension + log(width)) / log(2.0));
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_log_likelihood(fmp_json *json, const fmp_request *request,
                                       const fm_model_info *model, const fmp_rows *rows)
{
    const fm_divergence *divergence = &request->spec.divergence;
    fmp_image ignored;
    fmp_response_write_numbers(json, "log_likelihood", request, rows, log_likelihood_of, 0);
    bool has_error = divergence->method == FM_DIVERGENCE_HUTCHINSON && divergence->n_probes > 1;
    if (has_error && request->spec.draws <= 1) {
        fmp_response_write_numbers(json, "standard_error", request, rows, standard_error_of, 0);
    }
    if (fmp_image_of(model, &ignored)) {
        write_bits(json, request, model, rows);
    }
}

/* Of given points a log density needs none. */
static bool has_divergence(const fmp_request *request)
{
    unsigned of_divergence = FM_FIELD_BIT(FM_FIELD_DIVERGENCE);
    if (request->route != FMP_API_VELOCITY) {
        of_divergence |= FM_FIELD_BIT(FM_FIELD_LOG_DENSITY);
    }
    return request->spec.log_likelihood || (request->spec.fields & of_divergence) != 0;
}

bool fmp_response_draws_probes(const fmp_request *request)
{
    bool probes =
        has_divergence(request) && request->spec.divergence.method == FM_DIVERGENCE_HUTCHINSON;
    return probes || request->spec.draws > 0;
}

void fmp_response_write_divergence(fmp_json *json, const fmp_request *request)
{
    const fm_divergence *divergence = &request->spec.divergence;
    bool exact = divergence->method == FM_DIVERGENCE_EXACT;
    if (!has_divergence(request)) {
        return;
    }
    fmp_json_key(json, "divergence");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "method", exact ? "exact" : "hutchinson");
    if (!exact) {
        fmp_json_pair_unsigned(json, "probes", divergence->n_probes);
        fmp_json_pair_text(json, "probe",
                           divergence->probe == FM_PROBE_GAUSSIAN ? "gaussian" : "rademacher");
    }
    fmp_json_close(json, '}');
}
