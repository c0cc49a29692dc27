/* Images for tests: noise to read, and memory around what is written that must not change. */
#ifndef TESTS_IMAGE_CASE_H
#define TESTS_IMAGE_CASE_H

#include "engine/math/image.h"

#include <stdbool.h>
#include <stddef.h>

/* The i-th number of a stream, evenly spread over [-1, 1). */
float image_case_noise(size_t stream, size_t i);
/* So many of them, times scale; the caller frees them with fm_free(). Aborts the test without memory. */
float *image_case_numbers(size_t stream, size_t count, float scale);

/* Some images with a border, and guards before and behind them. Zeroed is closed. */
typedef struct image_case {
    fm_image image;
    size_t n_images, border, count; /* count: floats, guards included */
    float *floats;
} image_case;

/* All bytes are 0xff, NaNs. Aborts the test without memory. */
void image_case_open(image_case *ret, size_t n_images, size_t height, size_t width, size_t channels,
                     size_t border);
void image_case_close(image_case *it);

/* Borders become 0, channels noise, and the padding of pixels a large number. */
void image_case_fill(image_case *it, size_t stream);
/* All floats become NaNs again. */
void image_case_reset(image_case *it);
/* The image `from` of one takes the place `to` of another of the same shape; borders stay. */
void image_case_copy(image_case *to_case, size_t to, const image_case *from_case, size_t from);

/* Whether all floats outside the pixels, border and guards, are still as image_case_open() left them. */
bool image_case_is_intact(const image_case *it);
/* Whether the padding of every pixel of an image is finite. */
bool image_case_is_padded(const image_case *it, size_t index);
/* Whether the channels of two images are the same bytes. */
bool image_case_agree(const image_case *a, size_t index_a, const image_case *b, size_t index_b);

#endif
