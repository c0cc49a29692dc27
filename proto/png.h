/* Pictures: images of numbers to PNG, 8 bit, gray or RGB.
 *
 *   pixel = round(255 clip((x - low) / (high - low), 0, 1))     in float64, halves away from zero
 *
 * A picture has one image, or several on a grid: as many columns as the square root of their number,
 * rounded up, filled row by row, black FMP_PNG_GAP pixels wide between images and where the last row
 * ends early. Its bytes follow from the images and the libraries' versions alone: no time, no text. */
#ifndef FMP_PNG_H
#define FMP_PNG_H

#include "engine/fm.h"
#include "proto/buffer.h"

#define FMP_PNG_GAP ((size_t)2)

/* What one sample of a model is. */
typedef struct fmp_image {
    size_t channels, height, width; /* 1 or 3 channels */
    double range[2];                /* black and white, ascending */
} fmp_image;

/* False where the model's samples are no images, or of other than 1 or 3 channels. */
bool fmp_image_of(const fm_model_info *model, fmp_image *ret);

/* A picture that is being drawn. */
typedef struct fmp_png {
    fmp_image image;
    size_t n_images, columns;
    size_t height, width;  /* of the whole, in pixels */
    unsigned char *pixels; /* [height][width][channels], owned */
} fmp_png;

/* Bytes of a picture's pixels, and at most of its PNG. SIZE_MAX where it would be larger than a PNG that
 * libpng writes: a million pixels a side, 4 GiB in all. */
size_t fmp_png_pixel_bytes(const fmp_image *image, size_t n_images);
size_t fmp_png_bytes(const fmp_image *image, size_t n_images);
/* What libpng takes beside those while it writes, about. */
#define FMP_PNG_WRITER_BYTES ((size_t)512 * 1024)

/* A black picture of n_images >= 1. False when out of memory or too large: nothing to release. */
FM_MUST_USE bool fmp_png_init(fmp_png *png, const fmp_image *image, size_t n_images);
/* Draws one image, over what was there.
 *   x  [channels][height][width]; what is not finite counts as the nearer end, NaN as black */
void fmp_png_draw(fmp_png *png, size_t index, const float *x);
/* Appends the PNG. The buffer fails when it has no room for fmp_png_bytes(), or memory is out. */
void fmp_png_write(const fmp_png *png, fmp_buffer *buffer);
void fmp_png_done(fmp_png *png);

#endif
