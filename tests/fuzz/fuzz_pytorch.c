/* Any bytes as a PyTorch file: refused with a text, or listed, found and converted in full. Bytes that begin
 * like a zip archive are one; all others are the pickle of an archive with two records of twelve floats. */
#include "engine/checkpoint/pytorch_limits.h"
#include "engine/checkpoint/tensors.h"
#include "engine/checkpoint/zip_archive.h"
#include "tests/support/zip_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(const fm_tensor *tensor)
{
    fm_error err = {0};
    float *narrow = malloc(tensor->count * sizeof *narrow + 1);
    if (narrow == NULL) {
        abort();
    }
    fm_status status = fm_tensor_to_float32(tensor, narrow, &err);
    assert(status == FM_OK || status == FM_EFORMAT);
    free(narrow);
}

/* Many tensors may look at the same bytes; what is read of them in one run is bounded. */
static void check_tensors(const fm_tensors *tensors)
{
    size_t left = (size_t)1 << 22;
    assert(fm_tensors_origin(tensors) != NULL);
    for (size_t i = 0; i < fm_tensors_count(tensors); i++) {
        const fm_tensor *tensor = fm_tensors_at(tensors, i);
        assert(fm_tensors_find(tensors, tensor->name) == tensor);
        assert(i == 0 || strcmp(fm_tensors_at(tensors, i - 1)->name, tensor->name) < 0);
        assert(tensor->size_bytes == tensor->count * fm_dtype_size_bytes(tensor->dtype));
        if (tensor->size_bytes <= left) {
            left -= tensor->size_bytes;
            convert(tensor);
        }
    }
}

static void read_archive(const uint8_t *data, size_t size, const char *entry)
{
    fm_tensors *tensors = NULL;
    fm_error err = {0};
    fm_status status = fm_tensors_parse_pytorch(data, size, entry, &tensors, &err);
    if (status != FM_OK) {
        assert(status == err.status && err.text[0] != '\0' && tensors == NULL);
        return;
    }
    check_tensors(tensors);
    fm_tensors_close(tensors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fm_zip_is_archive(data, size)) {
        read_archive(data, size, NULL);
        return 0;
    }
    zip_image image = zip_image_make_pickle(data, size);
    read_archive(image.data, image.size_bytes, NULL);
    read_archive(image.data, image.size_bytes, "ema");
    zip_image_free(&image);
    return 0;
}
