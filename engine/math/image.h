/* Where the pixels of a tile's images lie: channels last, float32.
 *
 * An image is [height][width][channels]; a pixel's channels are contiguous and padded to whole vectors
 * (FM_KERNEL_COLUMNS), lines may have a border of pixels around them, which convolutions read as zeros.
 * Tokens are pixels; a vector is an image of one pixel. */
#ifndef FM_IMAGE_H
#define FM_IMAGE_H

#include <stddef.h>

typedef struct fm_image {
    float *data; /* the first inner pixel of the tile's first image; offsets below are in floats */
    size_t height, width, channels;
    size_t pixel_stride, line_stride, image_stride;
} fm_image;

static inline float *fm_image_at(const fm_image *image, size_t index, size_t y, size_t x)
{
    return image->data + index * image->image_stride + y * image->line_stride +
           x * image->pixel_stride;
}

#endif
