/* Checking piece by piece, converting only where the file does not hold aligned float32 already. */
#include "engine/checkpoint/tensor_floats.h"

#include "engine/checkpoint/file.h"
#include "engine/memory.h"

#include <math.h>
#include <stdalign.h>

#define PIECE ((size_t)1024)

/* count elements from begin on, as a tensor. */
static fm_tensor piece_of(const fm_tensor *tensor, size_t begin, size_t count)
{
    size_t element_bytes = fm_dtype_size_bytes(tensor->dtype);
    fm_tensor piece = {.name = tensor->name,
                       .dtype = tensor->dtype,
                       .rank = 1,
                       .shape = {count},
                       .count = count,
                       .data = (const unsigned char *)tensor->data + begin * element_bytes,
                       .size_bytes = count * element_bytes};
    return piece;
}

static fm_status fail_infinite(const fm_tensor *tensor, size_t begin, const float *floats,
                               size_t count, fm_error *err)
{
    size_t i = 0;
    while (i + 1 < count && isfinite(floats[i])) {
        i++;
    }
    size_t index[FM_MAX_RANK], rest = begin + i;
    for (size_t axis = tensor->rank; axis-- > 0;) {
        index[axis] = rest % tensor->shape[axis];
        rest /= tensor->shape[axis];
    }
    char text[FM_SHAPE_TEXT_BYTES];
    fm_shape_text(tensor->rank, index, text);
    return fm_fail(
        err, FM_EFORMAT,
        "tensor \"%s\": expected numbers that are finite in float32, found %g at index %s",
        tensor->name, (double)floats[i], text);
}

fm_status fm_tensor_check_finite(const fm_tensor *tensor, fm_error *err)
{
    float floats[PIECE];
    for (size_t begin = 0; begin < tensor->count; begin += PIECE) {
        size_t count = tensor->count - begin < PIECE ? tensor->count - begin : PIECE;
        fm_tensor piece = piece_of(tensor, begin, count);
        fm_status status = fm_tensor_to_float32(&piece, floats, err);
        if (status != FM_OK) {
            return status;
        }
        bool finite = true;
        for (size_t i = 0; i < count; i++) {
            finite &= isfinite(floats[i]) != 0;
        }
        if (!finite) {
            return fail_infinite(tensor, begin, floats, count, err);
        }
    }
    return FM_OK;
}

fm_status fm_tensor_floats_init(const fm_tensor *tensor, fm_tensor_floats *ret, fm_error *err)
{
    fm_status status = fm_tensor_check_finite(tensor, err);
    if (status != FM_OK) {
        return status;
    }
    if (tensor->dtype == FM_DTYPE_F32 && (uintptr_t)tensor->data % alignof(float) == 0) {
        *ret = (fm_tensor_floats){.values = tensor->data, .tensor = tensor};
        return FM_OK;
    }
    float *converted = fm_alloc_array(tensor->count, sizeof *converted);
    if (converted == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to convert tensor %s", tensor->name);
    }
    status = fm_tensor_to_float32(tensor, converted, err);
    if (status != FM_OK) {
        fm_free(converted);
        return status;
    }
    *ret = (fm_tensor_floats){.values = converted, .converted = converted, .tensor = tensor};
    return FM_OK;
}

void fm_tensor_floats_done(fm_tensor_floats *floats)
{
    fm_free(floats->converted);
    if (floats->tensor != NULL && floats->tensor->mapped) {
        fm_file_forget(floats->tensor->data, floats->tensor->size_bytes);
    }
    *floats = (fm_tensor_floats){0};
}
