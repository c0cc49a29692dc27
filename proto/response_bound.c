/* The answer of …/log_likelihood where points are tokens: a bound, and what it says of each token. */
#include "proto/json.h"
#include "proto/response_rows.h"
#include "proto/tensor.h"

#include <math.h>

static double bound_of(const fm_row_result *row, unsigned which)
{
    (void)which;
    return row->log_likelihood;
}

static double error_of(const fm_row_result *row, unsigned which)
{
    (void)which;
    return row->standard_error;
}

/* exp(-bound / tokens): of a text that takes the bound, between how many tokens it chooses each time, in the mean. */
static double perplexity_of(const fm_row_result *row, unsigned n_tokens)
{
    return exp(-row->log_likelihood / (double)n_tokens);
}

static void write_stats(fmp_json *json, const fmp_rows *rows)
{
    fmp_json_key(json, "stats");
    fmp_json_open(json, '{');
    fmp_json_key(json, "evaluations");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_json_unsigned(json, row.evaluations);
    }
    fmp_json_close(json, ']');
    fmp_response_write_statuses(json, rows);
    fmp_response_write_times(json, &rows->stats);
    fmp_json_close(json, '}');
}

void fmp_response_write_bound(fmp_buffer *buffer, const fmp_request *request,
                              const fm_model_info *model, const char *id, const fmp_rows *rows)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_response_write_head(&json, model, id);
    fmp_response_write_seed(&json, request);
    fmp_response_write_numbers(&json, "log_likelihood", request, rows, bound_of, 0);
    fmp_response_write_numbers(&json, "standard_error", request, rows, error_of, 0);
    fmp_response_write_numbers(&json, "perplexity", request, rows, perplexity_of,
                               (unsigned)model->dimension);
    fmp_json_pair_text(&json, "bound", "elbo");
    fmp_json_pair_unsigned(&json, "draws", request->spec.bound_draws);
    fmp_response_write_guidance(&json, request, model);
    write_stats(&json, rows);
    fmp_json_close(&json, '}');
}
