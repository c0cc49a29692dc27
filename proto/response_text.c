/* Samples of tokens whose vocabulary has names, as text: the names one after the other. */
#include "proto/json.h"
#include "proto/response_rows.h"

static void write_row(fmp_json *json, const fm_model_info *model, const float *tokens)
{
    fmp_json_text_open(json);
    for (size_t i = 0; i < model->dimension; i++) {
        fmp_json_text_add(json, model->vocabulary[(size_t)tokens[i]]);
    }
    fmp_json_text_close(json);
}

void fmp_response_write_text(fmp_json *json, const fm_model_info *model, const fmp_rows *rows)
{
    if (model->vocabulary == NULL) {
        return;
    }
    fmp_json_key(json, "text");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        write_row(json, model, row.x);
    }
    fmp_json_close(json, ']');
}
