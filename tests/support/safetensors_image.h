/* Builds safetensors files in memory, right ones and wrong ones. */
#ifndef TESTS_SAFETENSORS_IMAGE_H
#define TESTS_SAFETENSORS_IMAGE_H

#include <stddef.h>

typedef struct safetensors_image {
    unsigned char *data; /* [size_bytes], from malloc() at exactly this size */
    size_t size_bytes;
} safetensors_image;

/* The header's length, the header padded with spaces to a multiple of 8, and the payload (zeros when
 * NULL). Nothing is checked: header may be any text. */
safetensors_image safetensors_image_make(const char *header, const void *payload,
                                         size_t payload_bytes);
void safetensors_image_free(safetensors_image *image);

#endif
