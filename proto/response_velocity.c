/* The answer of …/velocity. */
#include "proto/json.h"
#include "proto/response_rows.h"
#include "proto/tensor.h"

static const float *field_of(const fm_row_result *row, unsigned id)
{
    return row->fields[id];
}

static void write_log_density(fmp_json *json, const fmp_request *request, const fmp_rows *rows)
{
    fmp_tensor tensor;
    fmp_json_key(json, "log_density");
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &rows->n_rows);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_tensor_log(&tensor, row.log_density);
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_velocity(fmp_buffer *buffer, const fmp_request *request,
                                 const fm_model_info *model, const char *id, const fmp_rows *rows)
{
    fmp_json json = {.buffer = buffer};
    fmp_json_open(&json, '{');
    fmp_response_write_head(&json, model, id);
    for (unsigned field = 0; field < FM_N_VECTOR_FIELDS; field++) {
        if ((request->spec.fields & FM_FIELD_BIT(field)) != 0) {
            fmp_response_write_states(&json, fm_field_name((fm_field_id)field), request, model,
                                      rows, field_of, field);
        }
    }
    if ((request->spec.fields & FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)) != 0) {
        write_log_density(&json, request, rows);
    }
    fmp_json_key(&json, "stats");
    fmp_json_open(&json, '{');
    fmp_response_write_statuses(&json, rows);
    fmp_response_write_times(&json, &rows->stats);
    fmp_json_close(&json, '}');
    fmp_json_close(&json, '}');
}
