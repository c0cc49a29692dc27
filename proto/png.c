/* PNG by libpng's simplified interface: it catches its own errors, so that no setjmp() is needed here,
 * and marks the pixels as sRGB. */
#include "proto/png.h"

#include <assert.h>
#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- Sizes ---- */

static size_t square_root_up(size_t n)
{
    size_t root = (size_t)sqrt((double)n);
    while (root * root < n) {
        root++;
    }
    return root;
}

/* count images of so many pixels, and the gaps between them. */
static size_t side_pixels(size_t count, size_t each)
{
    return count * (each + FMP_PNG_GAP) - FMP_PNG_GAP;
}

/* Fills all but the pixels; false where the picture would be too large. */
static bool lay_out(fmp_png *png, const fmp_image *image, size_t n_images)
{
    assert(image->channels == 1 || image->channels == 3);
    assert(n_images >= 1 && image->height >= 1 && image->width >= 1);
    if (n_images > UINT32_MAX) {
        return false;
    }
    size_t columns = square_root_up(n_images);
    size_t rows = (n_images + columns - 1) / columns;
    if (image->width > PNG_USER_WIDTH_MAX || image->height > PNG_USER_HEIGHT_MAX) {
        return false;
    }
    *png = (fmp_png){.image = *image,
                     .n_images = n_images,
                     .columns = columns,
                     .height = side_pixels(rows, image->height),
                     .width = side_pixels(columns, image->width)};
    /* libpng counts a byte more a row, for the filter, and that in 32 bits. */
    return png->width <= PNG_USER_WIDTH_MAX && png->height <= PNG_USER_HEIGHT_MAX &&
           png->height * (png->width * image->channels + 1) <= UINT32_MAX;
}

static png_image describe(const fmp_png *png)
{
    return (png_image){.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)png->width,
                       .height = (png_uint_32)png->height,
                       .format = png->image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
}

static size_t png_bytes(const fmp_png *png)
{
    png_image picture = describe(png);
    return PNG_IMAGE_PNG_SIZE_MAX(picture);
}

static size_t pixel_bytes(const fmp_png *png)
{
    return png->height * png->width * png->image.channels;
}

size_t fmp_png_pixel_bytes(const fmp_image *image, size_t n_images)
{
    fmp_png png;
    return lay_out(&png, image, n_images) ? pixel_bytes(&png) : SIZE_MAX;
}

size_t fmp_png_bytes(const fmp_image *image, size_t n_images)
{
    fmp_png png;
    return lay_out(&png, image, n_images) ? png_bytes(&png) : SIZE_MAX;
}

bool fmp_image_of(const fm_model_info *model, fmp_image *ret)
{
    size_t channels = model->shape[0];
    if (strcmp(model->output_kind, "image") != 0 || model->rank != 3 ||
        (channels != 1 && channels != 3)) {
        return false;
    }
    *ret = (fmp_image){.channels = channels,
                       .height = model->shape[1],
                       .width = model->shape[2],
                       .range = {model->output_range[0], model->output_range[1]}};
    return true;
}

/* ---- Drawing ---- */

bool fmp_png_init(fmp_png *png, const fmp_image *image, size_t n_images)
{
    fmp_png laid_out;
    if (!lay_out(&laid_out, image, n_images)) {
        return false;
    }
    laid_out.pixels = calloc(1, pixel_bytes(&laid_out));
    if (laid_out.pixels == NULL) {
        return false;
    }
    *png = laid_out;
    return true;
}

static unsigned char pixel_of(double x, const double range[2])
{
    double share = (x - range[0]) / (range[1] - range[0]);
    double clipped = share > 0 ? fmin(share, 1) : 0; /* NaN is not above 0 */
    return (unsigned char)round(255 * clipped);
}

void fmp_png_draw(fmp_png *png, size_t index, const float *x)
{
    const fmp_image *image = &png->image;
    assert(index < png->n_images);
    size_t top = index / png->columns * (image->height + FMP_PNG_GAP);
    size_t left = index % png->columns * (image->width + FMP_PNG_GAP);
    for (size_t channel = 0; channel < image->channels; channel++) {
        for (size_t row = 0; row < image->height; row++) {
            unsigned char *pixel =
                png->pixels + ((top + row) * png->width + left) * image->channels + channel;
            for (size_t column = 0; column < image->width; column++, x++) {
                pixel[column * image->channels] = pixel_of((double)*x, image->range);
            }
        }
    }
}

void fmp_png_write(const fmp_png *png, fmp_buffer *buffer)
{
    png_image picture = describe(png);
    png_alloc_size_t length = png_bytes(png);
    char *room = fmp_buffer_reserve(buffer, length);
    if (room == NULL) {
        return;
    }
    if (png_image_write_to_memory(&picture, room, &length, 0, png->pixels, 0, NULL) == 0) {
        buffer->failed = true; /* its memory ran out */
        return;
    }
    fmp_buffer_commit(buffer, length);
}

void fmp_png_done(fmp_png *png)
{
    free(png->pixels);
    png->pixels = NULL;
}
