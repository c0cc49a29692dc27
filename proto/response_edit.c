/* What the answers of …/interpolate and …/edit have beside those of …/sample. */
#include "proto/json.h"
#include "proto/response_rows.h"
#include "proto/stages.h"
#include "proto/tensor.h"

#include <string.h>

static void write_weights(fmp_json *json, const fmp_request *request)
{
    const fmp_stages *stages = request->stages;
    fmp_tensor tensor;
    fmp_json_key(json, "weights");
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &stages->n_rows);
    fmp_tensor_doubles(&tensor, stages->weights, stages->n_rows);
    fmp_tensor_end(&tensor);
}

static void write_states(fmp_json *json, const fmp_request *request, const fm_model_info *model)
{
    const fmp_stages *stages = request->stages;
    size_t shape[FM_MAX_RANK + 1] = {stages->n_rows};
    memcpy(shape + 1, model->shape, model->rank * sizeof *model->shape);
    fmp_tensor tensor;
    fmp_json_key(json, "x0");
    fmp_tensor_begin(&tensor, json, request->encoding, "float32", model->rank + 1, shape);
    fmp_tensor_floats(&tensor, stages->latents, model->rank + 1, shape);
    fmp_tensor_end(&tensor);
}

static void write_errors(fmp_json *json, const fmp_request *request, const fmp_rows *rows)
{
    const fmp_stages *stages = request->stages;
    fmp_tensor tensor;
    fmp_json_key(json, "round_trip_error");
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &stages->n_given);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < stages->n_given && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, fmp_stages_row_of(stages, i), &row);
        fmp_tensor_log(&tensor, fmp_stages_error(stages, i, &row));
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_latents(fmp_json *json, const fmp_request *request,
                                const fm_model_info *model, const fmp_rows *rows)
{
    const fmp_stages *stages = request->stages;
    if (stages->weights != NULL) {
        write_weights(json, request);
    }
    write_states(json, request, model);
    if (stages->encoded != NULL) {
        write_errors(json, request, rows);
    }
}
