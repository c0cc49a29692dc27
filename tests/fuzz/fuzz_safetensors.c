/* Any bytes as a safetensors file: refused with a text, or listed, found and converted in full. */
#include "engine/checkpoint/tensors.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(const fm_tensor *tensor)
{
    fm_error err = {0};
    float *narrow = malloc(tensor->count * sizeof *narrow + 1);
    double *wide = malloc(tensor->count * sizeof *wide + 1);
    if (narrow == NULL || wide == NULL) {
        abort();
    }
    fm_status status = fm_tensor_to_float32(tensor, narrow, &err);
    assert(status == FM_OK || status == FM_EFORMAT);
    assert(fm_tensor_to_float64(tensor, wide, &err) == status);
    free(narrow);
    free(wide);
}

static void check_tensors(const fm_tensors *tensors, const uint8_t *data, size_t size)
{
    size_t total = 0;
    for (size_t i = 0; i < fm_tensors_count(tensors); i++) {
        const fm_tensor *tensor = fm_tensors_at(tensors, i);
        assert(fm_tensors_find(tensors, tensor->name) == tensor);
        assert(i == 0 || strcmp(fm_tensors_at(tensors, i - 1)->name, tensor->name) < 0);
        const uint8_t *begin = tensor->data;
        assert(begin >= data + 8 && tensor->size_bytes <= (size_t)(data + size - begin));
        assert(tensor->size_bytes == tensor->count * fm_dtype_size_bytes(tensor->dtype));
        total += tensor->size_bytes;
        convert(tensor);
    }
    assert(total <= size - 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = fm_tensors_parse(data, size, &tensors, &err);
    if (status != FM_OK) {
        assert(status == err.status && err.text[0] != '\0' && tensors == NULL);
        return 0;
    }
    check_tensors(tensors, data, size);
    fm_tensors_close(tensors);
    return 0;
}
