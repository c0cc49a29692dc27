/* The answer of …/velocity. */
#include "proto/json.h"
#include "proto/response_rows.h"
#include "proto/tensor.h"

static const float *field_of(const fm_row_result *row, unsigned id)
{
    return row->fields[id];
}

static double number_of(const fm_row_result *row, unsigned id)
{
    return id == FM_FIELD_DIVERGENCE ? *row->divergence : *row->log_density;
}

void fmp_response_write_velocity(fmp_buffer *buffer, const fmp_request *request,
                                 const fm_model_info *model, const char *id, const fmp_rows *rows)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_response_write_head(&json, model, id);
    if (fmp_response_draws_probes(request)) {
        fmp_response_write_seed(&json, request);
    }
    for (unsigned field = 0; field < FM_N_VECTOR_FIELDS; field++) {
        if ((request->spec.fields & FM_FIELD_BIT(field)) != 0) {
            fmp_response_write_states(&json, fm_field_name((fm_field_id)field), request, model,
                                      rows, field_of, field);
        }
    }
    for (unsigned field = FM_N_VECTOR_FIELDS; field < FM_N_FIELDS; field++) {
        if ((request->spec.fields & FM_FIELD_BIT(field)) != 0) {
            fmp_response_write_numbers(&json, fm_field_name((fm_field_id)field), request, rows,
                                       number_of, field);
        }
    }
    fmp_json_key(&json, "stats");
    fmp_json_open(&json, '{');
    fmp_response_write_statuses(&json, rows);
    fmp_response_write_times(&json, &rows->stats);
    fmp_json_close(&json, '}');
    fmp_json_close(&json, '}');
}
