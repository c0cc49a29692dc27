#include "tests/support/network_case.h"

#include "engine/memory.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fm_status network_case_make(network_case *ret, const fm_model_config *config, const char *file,
                            const void *image, size_t image_bytes, fm_error *err)
{
    *ret = (network_case){.config = *config};
    fm_status status = FM_OK;
    if (file != NULL) {
        status = fm_tensors_open(file, &ret->tensors, err);
    } else if (image != NULL) {
        status = fm_tensors_parse(image, image_bytes, &ret->tensors, err);
    }
    if (status == FM_OK && ret->tensors != NULL) {
        const char *prefix = config->weights_prefix == NULL ? "" : config->weights_prefix;
        status = fm_weights_new(ret->tensors, prefix, &ret->weights, err);
    }
    if (status == FM_OK) {
        status = fm_network_new(&ret->config, ret->weights, &ret->config.path, &ret->network, err);
    }
    return status;
}

void network_case_open(network_case *ret, const char *folder)
{
    fm_error err = {0};
    fm_model_config config;
    ck_assert_msg(fm_model_config_read(folder, &config, &err) == FM_OK, "%s", err.text);
    char file[512];
    (void)snprintf(file, sizeof file, "%s/%s", folder, config.weights_file);
    bool has_weights = fm_architecture_has_weights(config.architecture);
    fm_status status = network_case_make(ret, &config, has_weights ? file : NULL, NULL, 0, &err);
    ret->owns_config = true;
    ck_assert_msg(status == FM_OK, "%s: %s", folder, err.text);
}

void network_case_close(network_case *it)
{
    fm_network_free(it->network);
    fm_weights_free(it->weights);
    fm_tensors_close(it->tensors);
    if (it->owns_config) {
        fm_model_config_done(&it->config);
    }
    *it = (network_case){0};
}

double *network_case_tensor(const fm_tensors *tensors, const char *name, size_t *ret_count)
{
    const fm_tensor *tensor = fm_tensors_find(tensors, name);
    ck_assert_msg(tensor != NULL, "no tensor %s", name);
    double *ret = malloc(tensor->count * sizeof *ret);
    ck_assert_ptr_nonnull(ret);
    if (tensor->dtype == FM_DTYPE_I64) {
        for (size_t i = 0; i < tensor->count; i++) {
            int64_t integer = 0;
            memcpy(&integer, (const unsigned char *)tensor->data + i * sizeof integer,
                   sizeof integer);
            ret[i] = (double)integer;
        }
    } else {
        ck_assert_int_eq(fm_tensor_to_float64(tensor, ret, NULL), FM_OK);
    }
    if (ret_count != NULL) {
        *ret_count = tensor->count;
    }
    return ret;
}

static size_t shape_count(const tensor_shape *it)
{
    size_t count = 1;
    for (size_t i = 0; i < it->rank; i++) {
        count *= it->shape[i];
    }
    return count;
}

/* The header's JSON; returns the bytes of data behind it. */
static size_t write_header(const tensor_shape *shapes, char *header, size_t room)
{
    size_t offset = 0;
    size_t length = (size_t)snprintf(header, room, "{");
    for (const tensor_shape *it = shapes; it->name != NULL; it++) {
        size_t bytes = shape_count(it) * sizeof(float);
        char shape[48] = "";
        if (it->rank == 1) {
            (void)snprintf(shape, sizeof shape, "%zu", it->shape[0]);
        } else if (it->rank == 2) {
            (void)snprintf(shape, sizeof shape, "%zu,%zu", it->shape[0], it->shape[1]);
        }
        length += (size_t)snprintf(
            header + length, room - length,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
            it == shapes ? "" : ",", it->name, shape, offset, offset + bytes);
        offset += bytes;
    }
    length += (size_t)snprintf(header + length, room - length, "}");
    ck_assert_uint_lt(length + 8, room);
    while (length % 8 != 0) {
        header[length++] = ' ';
    }
    header[length] = '\0';
    return offset;
}

unsigned char *network_case_image(const tensor_shape *shapes, size_t *ret_bytes)
{
    char header[4096];
    size_t data_bytes = write_header(shapes, header, sizeof header);
    uint64_t header_bytes = strlen(header);
    unsigned char *image = malloc(sizeof header_bytes + header_bytes + data_bytes);
    ck_assert_ptr_nonnull(image);
    memcpy(image, &header_bytes, sizeof header_bytes);
    memcpy(image + sizeof header_bytes, header, header_bytes);
    for (size_t i = 0; i < data_bytes / sizeof(float); i++) {
        float number = (float)(0.3 * sin(1.0 + 1.7 * (double)i));
        memcpy(image + sizeof header_bytes + header_bytes + i * sizeof number, &number,
               sizeof number);
    }
    *ret_bytes = sizeof header_bytes + header_bytes + data_bytes;
    return image;
}

void network_case_eval(const fm_network *network, size_t n, size_t max_tile, const double *x,
                       const double *t, const double *label, double *out, double *log_density)
{
    const fm_network_info *info = &network->info;
    size_t tile = max_tile < info->max_rows ? max_tile : info->max_rows;
    fm_tile_row *rows = calloc(tile, sizeof *rows);
    void *scratch = fm_alloc(info->scratch_bytes);
    ck_assert(rows != NULL && scratch != NULL);
    for (size_t begin = 0; begin < n; begin += tile) {
        size_t n_rows = n - begin < tile ? n - begin : tile;
        for (size_t i = 0; i < n_rows; i++) {
            size_t at = begin + i;
            rows[i] = (fm_tile_row){.x = x + at * info->dimension,
                                    .t = t[at],
                                    .label = label == NULL ? 0 : (int32_t)label[at],
                                    .out = out + at * info->out_dimension,
                                    .log_density = log_density == NULL ? NULL : log_density + at};
        }
        memset(scratch, 0xff, info->scratch_bytes);
        ck_assert_int_eq(fm_network_eval(network, rows, n_rows, scratch), FM_OK);
    }
    fm_free(scratch);
    free(rows);
}

double network_case_error(size_t n, const double *a, const double *b)
{
    double square = 0.0;
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        square += b[i] * b[i];
        double difference = fabs(a[i] - b[i]);
        if (!(difference <= largest)) { /* NaN too */
            largest = difference;
        }
    }
    return largest / sqrt(square / (double)n);
}

double network_case_mean_error(size_t n, const double *a, const double *b)
{
    double square = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++) {
        square += b[i] * b[i];
        error += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return sqrt(error / square);
}

double network_case_reference_error(const network_case *it, const char *folder,
                                    double *ret_mean_error)
{
    char file[512];
    (void)snprintf(file, sizeof file, "%s/network.safetensors", folder);
    fm_tensors *tensors = NULL;
    ck_assert_int_eq(fm_tensors_open(file, &tensors, NULL), FM_OK);
    size_t n = 0;
    size_t n_out = 0;
    double *x = network_case_tensor(tensors, "x", NULL);
    double *t = network_case_tensor(tensors, "t", &n);
    double *expected = network_case_tensor(tensors, "out", &n_out);
    double *label = fm_tensors_find(tensors, "label") == NULL
                        ? NULL
                        : network_case_tensor(tensors, "label", NULL);
    double *out = malloc(n_out * sizeof *out);
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(n_out, n * it->network->info.out_dimension);
    network_case_eval(it->network, n, SIZE_MAX, x, t, label, out, NULL);
    double error = network_case_error(n_out, out, expected);
    if (ret_mean_error != NULL) {
        *ret_mean_error = network_case_mean_error(n_out, out, expected);
    }
    free(out);
    free(label);
    free(expected);
    free(t);
    free(x);
    fm_tensors_close(tensors);
    return error;
}
