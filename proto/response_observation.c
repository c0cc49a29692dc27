/* What the answer of an inverse problem says of its observation. */
#include "proto/json.h"
#include "proto/observation.h"
#include "proto/response_rows.h"
#include "proto/tensor.h"

void fmp_response_write_residuals(fmp_json *json, const fmp_request *request, const fmp_rows *rows)
{
    fmp_tensor tensor;
    if (request->observation == NULL) {
        return;
    }
    fmp_json_key(json, "residual");
    fmp_tensor_begin(&tensor, json, request->encoding, "float64", 1, &rows->n_rows);
    fmp_tensor_open(&tensor);
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        double residual = fmp_observation_residual(request->observation, i, row.x);
        fmp_tensor_log(&tensor, residual);
    }
    fmp_tensor_close(&tensor);
    fmp_tensor_end(&tensor);
}

void fmp_response_write_observation(fmp_json *json, const fmp_request *request)
{
    const fmp_observation *observation = request->observation;
    if (observation == NULL) {
        return;
    }
    fmp_json_key(json, "observation");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "operator", fm_operator_type_name(observation->forward.type));
    fmp_json_pair_text(json, "method", fmp_observation_method_name(observation->method));
    fmp_json_pair_number(json, "noise_std", observation->inverse.observation_std);
    if (observation->method == FMP_OBSERVATION_GRADIENT) {
        fmp_json_pair_number(json, "scale", observation->inverse.guidance_scale);
        fmp_json_pair_number(json, "from", observation->inverse.guidance_from);
    }
    fmp_json_close(json, '}');
}
