/* Safetensors files in memory. */
#include "tests/support/safetensors_image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

safetensors_image safetensors_image_make(const char *header, const void *payload,
                                         size_t payload_bytes)
{
    size_t text_bytes = strlen(header);
    size_t header_bytes = (text_bytes + 7) / 8 * 8;
    safetensors_image image = {.size_bytes = 8 + header_bytes + payload_bytes};
    image.data = calloc(1, image.size_bytes);
    if (image.data == NULL) {
        abort();
    }
    for (size_t i = 0; i < 8; i++) {
        image.data[i] = (unsigned char)((uint64_t)header_bytes >> (8 * i));
    }
    memset(image.data + 8, ' ', header_bytes);
    memcpy(image.data + 8, header, text_bytes);
    if (payload != NULL) {
        memcpy(image.data + 8 + header_bytes, payload, payload_bytes);
    }
    return image;
}

void safetensors_image_free(safetensors_image *image)
{
    free(image->data);
    *image = (safetensors_image){0};
}
