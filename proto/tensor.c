/* Tensors of an answer. Their bytes are the host's, which number.c requires to be little-endian. */
#include "proto/tensor.h"

#include "proto/lat_lon.h"
#include "proto/number.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

void fmp_tensor_begin(fmp_tensor *tensor, fmp_json *json, fmp_encoding encoding, const char *dtype,
                      size_t rank, const size_t *shape)
{
    tensor->json = json;
    tensor->form = FMP_POINT_NUMBERS;
    tensor->as_lists = encoding != FMP_ENCODING_BASE64;
    if (tensor->as_lists) {
        return;
    }
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "dtype", dtype);
    fmp_json_key(json, "shape");
    fmp_json_open(json, '[');
    for (size_t i = 0; i < rank; i++) {
        fmp_json_unsigned(json, shape[i]);
    }
    fmp_json_close(json, ']');
    fmp_json_key(json, "data");
    fmp_json_value(json);
    fmp_buffer_text(json->buffer, "\"");
    fmp_base64_init(&tensor->base64);
}

void fmp_tensor_begin_states(fmp_tensor *tensor, fmp_json *json, const fmp_request *request,
                             const fm_model_info *model, bool are_points, size_t n_leading,
                             const size_t *leading)
{
    size_t shape[FMP_TENSOR_MAX_RANK];
    assert(n_leading + model->rank <= FMP_TENSOR_MAX_RANK);
    memcpy(shape, leading, n_leading * sizeof *shape);
    memcpy(shape + n_leading, model->shape, model->rank * sizeof *shape);
    bool are_tokens = are_points && fmp_model_is_text(model);
    fmp_tensor_begin(tensor, json, request->encoding, are_tokens ? "int32" : "float32",
                     n_leading + model->rank, shape);
    bool lat_lon = are_points && request->lat_lon;
    tensor->form = are_tokens ? FMP_POINT_TOKENS : lat_lon ? FMP_POINT_LAT_LON : FMP_POINT_NUMBERS;
}

/* Lists within lists, down to the last axis, which is a point. */
static void write_lat_lon(fmp_json *json, const float *values, size_t rank, const size_t *shape)
{
    if (rank == 1) {
        fmp_lat_lon at = fmp_lat_lon_of(values);
        fmp_json_open(json, '{');
        fmp_json_pair_float(json, "lat", at.lat);
        fmp_json_pair_float(json, "lon", at.lon);
        fmp_json_close(json, '}');
        return;
    }
    size_t numbers = 1;
    for (size_t i = 1; i < rank; i++) {
        numbers *= shape[i];
    }
    fmp_json_open(json, '[');
    for (size_t i = 0; i < shape[0]; i++) {
        write_lat_lon(json, values + i * numbers, rank - 1, shape + 1);
    }
    fmp_json_close(json, ']');
}

static void write_tokens(fmp_tensor *tensor, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t token = (int32_t)values[i];
        fmp_base64_write(&tensor->base64, tensor->json->buffer, &token, sizeof token);
    }
}

void fmp_tensor_state(fmp_tensor *tensor, const fm_model_info *model, const float *state)
{
    if (tensor->as_lists && tensor->form == FMP_POINT_LAT_LON) {
        write_lat_lon(tensor->json, state, model->rank, model->shape);
    } else if (!tensor->as_lists && tensor->form == FMP_POINT_TOKENS) {
        write_tokens(tensor, state, model->dimension);
    } else {
        fmp_tensor_floats(tensor, state, model->rank, model->shape);
    }
}

void fmp_tensor_open(fmp_tensor *tensor)
{
    if (tensor->as_lists) {
        fmp_json_open(tensor->json, '[');
    }
}

void fmp_tensor_close(fmp_tensor *tensor)
{
    if (tensor->as_lists) {
        fmp_json_close(tensor->json, ']');
    }
}

void fmp_tensor_floats(fmp_tensor *tensor, const float *values, size_t rank, const size_t *shape)
{
    fmp_buffer *buffer = tensor->json->buffer;
    if (tensor->as_lists) {
        fmp_json_value(tensor->json);
        fmp_number_write_floats(buffer, values, rank, shape);
        return;
    }
    size_t n = 1;
    for (size_t i = 0; i < rank; i++) {
        n *= shape[i];
    }
    fmp_base64_write(&tensor->base64, buffer, values, n * sizeof *values);
}

void fmp_tensor_doubles(fmp_tensor *tensor, const double *values, size_t n)
{
    fmp_buffer *buffer = tensor->json->buffer;
    if (tensor->as_lists) {
        fmp_json_value(tensor->json);
        fmp_number_write_doubles(buffer, values, 1, &n);
    } else {
        fmp_base64_write(&tensor->base64, buffer, values, n * sizeof *values);
    }
}

void fmp_tensor_log(fmp_tensor *tensor, double value)
{
    if (tensor->as_lists) {
        fmp_json_number(tensor->json, value);
        return;
    }
    double finite = isfinite(value) ? value : -DBL_MAX;
    fmp_base64_write(&tensor->base64, tensor->json->buffer, &finite, sizeof finite);
}

void fmp_tensor_end(fmp_tensor *tensor)
{
    if (!tensor->as_lists) {
        fmp_base64_finish(&tensor->base64, tensor->json->buffer);
        fmp_buffer_text(tensor->json->buffer, "\"");
        fmp_json_close(tensor->json, '}');
    }
}
