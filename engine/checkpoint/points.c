/* Point sets by file type; the types with a format of their own have files of their own. */
#include "engine/checkpoint/points.h"

#include "engine/checkpoint/file.h"
#include "engine/checkpoint/points_private.h"
#include "engine/checkpoint/tensors.h"
#include "engine/memory.h"

#include <math.h>

#define MAX_FILE_BYTES ((size_t)1 << 36)

static fm_status check_finite(const fm_points *points, fm_error *err)
{
    for (size_t row = 0; row < points->count; row++) {
        for (size_t column = 0; column < points->dimension; column++) {
            double value = points->data[row * points->dimension + column];
            if (!isfinite(value)) {
                return fm_fail(err, FM_EFORMAT,
                               "expected finite numbers, found %g at index [%zu, %zu]", value, row,
                               column);
            }
        }
    }
    return FM_OK;
}

static fm_status copy_tensor(const fm_tensor *tensor, fm_points *ret, fm_error *err)
{
    if (tensor->rank != 2 || tensor->count == 0) {
        char shape[FM_SHAPE_TEXT_BYTES];
        fm_shape_text(tensor->rank, tensor->shape, shape);
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": expected [points, dimension], both above 0, found %s",
                       tensor->name, shape);
    }
    if (tensor->dtype != FM_DTYPE_F32 && tensor->dtype != FM_DTYPE_F64) {
        return fm_fail(err, FM_EFORMAT, "tensor \"%s\": dtype: expected F32 or F64, found %s",
                       tensor->name, fm_dtype_name(tensor->dtype));
    }
    double *data = fm_alloc_array(tensor->count, sizeof *data);
    if (data == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu numbers", tensor->count);
    }
    fm_status status = fm_tensor_to_float64(tensor, data, err);
    if (status != FM_OK) {
        fm_free(data);
        return status;
    }
    *ret = (fm_points){.data = data, .count = tensor->shape[0], .dimension = tensor->shape[1]};
    return FM_OK;
}

static fm_status read_safetensors(const char *path, fm_points *ret, fm_error *err)
{
    fm_tensors *tensors = NULL;
    fm_status status = fm_tensors_open(path, &tensors, err); /* names the path itself */
    if (status != FM_OK) {
        return status;
    }
    if (fm_tensors_count(tensors) != 1) {
        status =
            fm_fail(err, FM_EFORMAT, "expected one tensor, found %zu", fm_tensors_count(tensors));
    } else {
        status = copy_tensor(fm_tensors_at(tensors, 0), ret, err);
    }
    if (status != FM_OK) {
        (void)fm_fail_prefix(err, status, "%s", path);
    }
    fm_tensors_close(tensors);
    return status;
}

static fm_status read_bytes(const char *path, fm_points *ret, fm_error *err)
{
    char *bytes = NULL;
    size_t length = 0;
    fm_status status = fm_file_read(path, MAX_FILE_BYTES, &bytes, &length, err);
    if (status != FM_OK) {
        return status;
    }
    status = fm_file_name_ends(path, ".npy") ? fm_points_parse_npy(bytes, length, ret, err)
                                             : fm_points_parse_csv(bytes, length, ret, err);
    if (status != FM_OK) {
        (void)fm_fail_prefix(err, status, "%s", path);
    }
    fm_free(bytes);
    return status;
}

fm_status fm_points_read(const char *path, fm_points *ret, fm_error *err)
{
    fm_points points = {0};
    fm_status status = FM_OK;
    if (fm_file_name_ends(path, ".safetensors")) {
        status = read_safetensors(path, &points, err);
    } else if (fm_file_name_ends(path, ".npy") || fm_file_name_ends(path, ".csv")) {
        status = read_bytes(path, &points, err);
    } else {
        status = fm_fail(err, FM_EFORMAT, "%s: expected one of .npy, .csv, .safetensors", path);
    }
    if (status != FM_OK) {
        return status;
    }
    status = check_finite(&points, err);
    if (status != FM_OK) {
        fm_points_done(&points);
        return fm_fail_prefix(err, status, "%s", path);
    }
    *ret = points;
    return FM_OK;
}

void fm_points_done(fm_points *points)
{
    fm_free(points->data);
    *points = (fm_points){0};
}
