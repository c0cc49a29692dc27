/* Samples as pictures: one a sample as base64 in JSON, or all of them on one. */
#include "proto/base64.h"
#include "proto/json.h"
#include "proto/png.h"
#include "proto/response_rows.h"

static void write_string(fmp_json *json, const fmp_buffer *bytes)
{
    fmp_base64 base64;
    fmp_json_value(json);
    fmp_buffer_text(json->buffer, "\"");
    fmp_base64_init(&base64);
    fmp_base64_write(&base64, json->buffer, bytes->data, bytes->length);
    fmp_base64_finish(&base64, json->buffer);
    fmp_buffer_text(json->buffer, "\"");
}

void fmp_response_write_pictures(fmp_json *json, const char *key, const fm_model_info *model,
                                 const fmp_rows *rows)
{
    fmp_image image;
    fmp_png png;
    fmp_buffer bytes; /* of one picture after another */
    if (!fmp_image_of(model, &image) || !fmp_png_init(&png, &image, 1)) {
        json->buffer->failed = true;
        return;
    }
    fmp_buffer_init(&bytes, fmp_png_bytes(&image, 1));
    fmp_json_key(json, key);
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rows->n_rows && !json->buffer->failed; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_png_draw(&png, 0, row.x);
        bytes.length = 0;
        fmp_png_write(&png, &bytes);
        if (bytes.failed) {
            json->buffer->failed = true;
        } else {
            write_string(json, &bytes);
        }
    }
    fmp_json_close(json, ']');
    fmp_buffer_done(&bytes);
    fmp_png_done(&png);
}

void fmp_response_write_png_grid(fmp_buffer *buffer, const fm_model_info *model,
                                 const fmp_rows *rows)
{
    fmp_image image;
    fmp_png png;
    if (!fmp_image_of(model, &image) || !fmp_png_init(&png, &image, rows->n_rows)) {
        buffer->failed = true;
        return;
    }
    for (size_t i = 0; i < rows->n_rows; i++) {
        fm_row_result row;
        rows->at(rows->context, i, &row);
        fmp_png_draw(&png, i, row.x);
    }
    fmp_png_write(&png, buffer);
    fmp_png_done(&png);
}
