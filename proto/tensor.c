/* Tensors of an answer. Their bytes are the host's, which number.c requires to be little-endian. */
#include "proto/tensor.h"

#include "proto/number.h"

#include <assert.h>
#include <float.h>
#include <math.h>

void fmp_tensor_begin(fmp_tensor *tensor, fmp_json *json, fmp_encoding encoding, const char *dtype,
                      size_t rank, const size_t *shape)
{
    tensor->json = json;
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
