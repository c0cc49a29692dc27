/* Images with guards. */
#include "tests/support/image_case.h"

#include "engine/math/kernels.h"
#include "engine/memory.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define GUARD        ((size_t)64) /* floats */
#define LARGE_NUMBER 1e30F

float image_case_noise(size_t stream, size_t i)
{
    /* SplitMix64's mixing (Steele, Lea and Flood, 2014). */
    uint64_t z = (uint64_t)stream * 0xd1342543de82ef95U + ((uint64_t)i + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (float)((double)(z >> 32) * 0x1p-31 - 1.0);
}

float *image_case_numbers(size_t stream, size_t count, float scale)
{
    float *x = fm_alloc_array(count, sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < count; i++) {
        x[i] = image_case_noise(stream, i) * scale;
    }
    return x;
}

void image_case_open(image_case *ret, size_t n_images, size_t height, size_t width, size_t channels,
                     size_t border)
{
    size_t stride = fm_kernels_round(channels), line = (width + 2 * border) * stride;
    size_t image = (height + 2 * border) * line;
    *ret = (image_case){.n_images = n_images,
                        .border = border,
                        .count = n_images * image + 2 * GUARD,
                        .image = {.height = height,
                                  .width = width,
                                  .channels = channels,
                                  .pixel_stride = stride,
                                  .line_stride = line,
                                  .image_stride = image}};
    ret->floats = fm_alloc_array(ret->count, sizeof *ret->floats);
    ck_assert_ptr_nonnull(ret->floats);
    ret->image.data = ret->floats + GUARD + border * (line + stride);
    image_case_reset(ret);
}

void image_case_close(image_case *it)
{
    fm_free(it->floats);
    *it = (image_case){0};
}

void image_case_reset(image_case *it)
{
    memset(it->floats, 0xff, it->count * sizeof *it->floats);
}

void image_case_fill(image_case *it, size_t stream)
{
    const fm_image *image = &it->image;
    size_t pixels = image->height * image->width, n = 0;
    memset(it->floats + GUARD, 0, it->n_images * image->image_stride * sizeof *it->floats);
    for (size_t p = 0; p < it->n_images * pixels; p++) {
        size_t at = p % pixels;
        float *x = fm_image_at(image, p / pixels, at / image->width, at % image->width);
        for (size_t c = 0; c < image->pixel_stride; c++) {
            x[c] = c < image->channels ? image_case_noise(stream, n++) : LARGE_NUMBER;
        }
    }
}

void image_case_copy(image_case *to_case, size_t to, const image_case *from_case, size_t from)
{
    const fm_image *image = &from_case->image;
    for (size_t y = 0; y < image->height; y++) {
        memcpy(fm_image_at(&to_case->image, to, y, 0), fm_image_at(image, from, y, 0),
               image->width * image->pixel_stride * sizeof(float));
    }
}

static bool is_inner(const image_case *it, size_t i)
{
    const fm_image *image = &it->image;
    if (i < GUARD || i >= it->count - GUARD) {
        return false;
    }
    size_t rest = (i - GUARD) % image->image_stride;
    size_t y = rest / image->line_stride, x = rest % image->line_stride / image->pixel_stride;
    return y >= it->border && y < it->border + image->height && x >= it->border &&
           x < it->border + image->width;
}

bool image_case_is_intact(const image_case *it)
{
    for (size_t i = 0; i < it->count; i++) {
        uint32_t bits = 0;
        memcpy(&bits, it->floats + i, sizeof bits);
        if (bits != UINT32_MAX && !is_inner(it, i)) {
            return false;
        }
    }
    return true;
}

bool image_case_is_padded(const image_case *it, size_t index)
{
    const fm_image *image = &it->image;
    for (size_t p = 0; p < image->height * image->width; p++) {
        const float *x = fm_image_at(image, index, p / image->width, p % image->width);
        for (size_t c = image->channels; c < image->pixel_stride; c++) {
            if (!isfinite(x[c])) {
                return false;
            }
        }
    }
    return true;
}

bool image_case_agree(const image_case *a, size_t index_a, const image_case *b, size_t index_b)
{
    const fm_image *image = &a->image;
    for (size_t p = 0; p < image->height * image->width; p++) {
        size_t y = p / image->width, x = p % image->width;
        if (memcmp(fm_image_at(image, index_a, y, x), fm_image_at(&b->image, index_b, y, x),
                   image->channels * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}
