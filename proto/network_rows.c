/* What a request asks of the network, before anything is computed. */
#include "proto/request.h"

double fmp_request_network_rows(const fmp_request *request, const fm_model_info *model)
{
    const fm_job_spec *spec = &request->spec;
    size_t rows = spec->n_rows;
    bool is_guided = spec->guidance_scale != 0 && spec->guidance_scale != 1;
    if (!is_guided || spec->labels == NULL || !model->has_null_label) {
        return (double)rows;
    }
    for (size_t i = 0; i < spec->n_rows; i++) {
        rows += spec->labels[i] != model->null_label ? 1 : 0;
    }
    return (double)rows;
}
