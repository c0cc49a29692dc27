/* Pictures: every pixel as the formula says, read back by libpng. */
#include "proto/png.h"
#include "tests/support/proto_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <png.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a decoder makes of a PNG; pixels are malloc()ed. */
typedef struct decoded {
    size_t height, width, channels;
    unsigned char *pixels;
} decoded;

static decoded decode(const fmp_buffer *bytes)
{
    png_image picture = {.version = PNG_IMAGE_VERSION};
    ck_assert(!bytes->failed);
    ck_assert_msg(png_image_begin_read_from_memory(&picture, bytes->data, bytes->length) != 0, "%s",
                  picture.message);
    decoded ret = {picture.height, picture.width, PNG_IMAGE_SAMPLE_CHANNELS(picture.format), NULL};
    ck_assert_uint_eq(picture.format,
                      ret.channels == 1 ? (unsigned)PNG_FORMAT_GRAY : (unsigned)PNG_FORMAT_RGB);
    ret.pixels = malloc(PNG_IMAGE_SIZE(picture));
    ck_assert_ptr_nonnull(ret.pixels);
    ck_assert_msg(png_image_finish_read(&picture, NULL, ret.pixels, 0, NULL) != 0, "%s",
                  picture.message);
    ck_assert_uint_eq(picture.warning_or_error, 0);
    return ret;
}

/* n images one behind the other as a PNG; the buffer is to be released. */
static fmp_buffer encode(const fmp_image *image, const float *x, size_t n)
{
    fmp_png png;
    fmp_buffer bytes;
    fmp_buffer_init(&bytes, fmp_png_bytes(image, n));
    ck_assert(fmp_png_init(&png, image, n));
    for (size_t i = 0; i < n; i++) {
        fmp_png_draw(&png, i, x + i * image->channels * image->height * image->width);
    }
    fmp_png_write(&png, &bytes);
    fmp_png_done(&png);
    return bytes;
}

static const struct {
    double range[2];
    float x;
    unsigned char pixel;
} values[] = {
    {{-1, 1}, -1, 0},          {{-1, 1}, 1, 255},
    {{-1, 1}, 0.5f, 191}, /* 191.25 */
    {{-1, 1}, -0.5f, 64}, /* 63.75 */
    {{-1, 1}, 0, 128},    /* 127.5 */
    {{0, 1}, 0.5f, 128},  /* 127.5 */
    {{-3, 5}, 1, 128},    /* 127.5 */
    {{0, 255}, 7, 7},     /* bytes stay as they are */
    {{0, 255}, 254.25f, 254},  {{0, 255}, 254.75f, 255},
    {{10, 20}, 9.9f, 0},       {{10, 20}, -1e30f, 0},
    {{10, 20}, 20.1f, 255},    {{10, 20}, 3e38f, 255},
    {{10, 20}, INFINITY, 255}, {{10, 20}, -INFINITY, 0},
    {{10, 20}, NAN, 0},        {{-1e308, 7e307}, -1.5e38f, 150}, /* 255 / 1.7 */
};

START_TEST(a_pixel_is_the_share_of_the_range_rounded)
{
    fmp_image image = {1, 1, 1, {values[_i].range[0], values[_i].range[1]}};
    fmp_buffer bytes = encode(&image, &values[_i].x, 1);
    decoded picture = decode(&bytes);
    ck_assert_uint_eq(picture.channels, 1);
    ck_assert_uint_eq(picture.pixels[0], values[_i].pixel);
    free(picture.pixels);
    fmp_buffer_done(&bytes);
}
END_TEST

START_TEST(gray_images_keep_their_rows_and_columns)
{
    fmp_image image = {1, 2, 3, {0, 255}};
    static const float x[] = {0, 10, 20, 30, 40, 255};
    static const unsigned char expected[] = {0, 10, 20, 30, 40, 255};
    fmp_buffer bytes = encode(&image, x, 1);
    decoded picture = decode(&bytes);
    ck_assert_uint_eq(picture.height, 2);
    ck_assert_uint_eq(picture.width, 3);
    ck_assert_uint_eq(picture.channels, 1);
    ck_assert_mem_eq(picture.pixels, expected, sizeof expected);
    free(picture.pixels);
    fmp_buffer_done(&bytes);
}
END_TEST

START_TEST(the_planes_of_three_channels_become_red_green_and_blue)
{
    fmp_image image = {3, 2, 2, {0, 255}};
    static const float x[] = {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24};
    static const unsigned char expected[] = {1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24};
    fmp_buffer bytes = encode(&image, x, 1);
    decoded picture = decode(&bytes);
    ck_assert_uint_eq(picture.height, 2);
    ck_assert_uint_eq(picture.width, 2);
    ck_assert_uint_eq(picture.channels, 3);
    ck_assert_mem_eq(picture.pixels, expected, sizeof expected);
    free(picture.pixels);
    fmp_buffer_done(&bytes);
}
END_TEST

START_TEST(several_images_fill_a_grid_row_by_row_with_black_between)
{
    fmp_image image = {1, 1, 2, {0, 255}};
    static const float x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    static const unsigned char expected[4][10] = {
        {1, 2, 0, 0, 3, 4, 0, 0, 5, 6}, {0}, {0}, {7, 8, 0, 0, 9, 10, 0, 0, 0, 0}};
    fmp_buffer bytes = encode(&image, x, 5);
    decoded picture = decode(&bytes);
    ck_assert_uint_eq(picture.height, 4);
    ck_assert_uint_eq(picture.width, 10);
    ck_assert_mem_eq(picture.pixels, expected, sizeof expected);
    free(picture.pixels);
    fmp_buffer_done(&bytes);
}
END_TEST

static const struct {
    size_t n, columns, rows;
} grids[] = {{1, 1, 1}, {2, 2, 1}, {3, 2, 2},  {4, 2, 2},
             {5, 3, 2}, {9, 3, 3}, {10, 4, 3}, {64, 8, 8}};

START_TEST(a_grid_is_nearly_square_and_no_larger_than_needed)
{
    fmp_image image = {3, 4, 5, {-1, 1}};
    fmp_png png;
    ck_assert(fmp_png_init(&png, &image, grids[_i].n));
    ck_assert_uint_eq(png.width, grids[_i].columns * 7 - 2);
    ck_assert_uint_eq(png.height, grids[_i].rows * 6 - 2);
    ck_assert_uint_eq(fmp_png_pixel_bytes(&image, grids[_i].n), png.width * png.height * 3);
    fmp_png_done(&png);
}
END_TEST

START_TEST(drawing_again_replaces_the_image)
{
    fmp_image image = {1, 1, 1, {0, 255}};
    static const float x[] = {200, 3};
    fmp_png png;
    ck_assert(fmp_png_init(&png, &image, 1));
    fmp_png_draw(&png, 0, &x[0]);
    fmp_png_draw(&png, 0, &x[1]);
    ck_assert_uint_eq(png.pixels[0], 3);
    fmp_png_done(&png);
}
END_TEST

/* Numbers without a pattern, which deflate to more than they are. */
static float *make_noise(size_t n)
{
    float *ret = malloc(n * sizeof *ret);
    ck_assert_ptr_nonnull(ret);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        ret[i] = (float)(state >> 24);
    }
    return ret;
}

START_TEST(noise_fits_the_size_that_was_promised)
{
    static const fmp_image images[] = {
        {1, 1, 1, {0, 255}}, {3, 1, 1, {0, 255}}, {1, 28, 28, {0, 255}}, {3, 300, 301, {0, 255}}};
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        for (size_t n = 1; n <= 7; n += 3) {
            float *x = make_noise(n * images[i].channels * images[i].height * images[i].width);
            fmp_buffer bytes = encode(&images[i], x, n); /* with a limit of so many */
            ck_assert(!bytes.failed);
            fmp_buffer_done(&bytes);
            free(x);
        }
    }
}
END_TEST

START_TEST(the_bytes_hold_nothing_but_the_picture)
{
    static const char *const chunks[] = {"IHDR", "sRGB", "IDAT", "IEND"};
    fmp_image image = {3, 9, 7, {0, 255}};
    float *x = make_noise((size_t)3 * 9 * 7);
    fmp_buffer once = encode(&image, x, 1), again = encode(&image, x, 1);
    ck_assert_uint_eq(once.length, again.length);
    ck_assert_mem_eq(once.data, again.data, once.length);
    const unsigned char *at = (const unsigned char *)once.data + 8, *end = at - 8 + once.length;
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        ck_assert_mem_eq(at + 4, chunks[i], 4);
        at += 12 + ((size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3]);
    }
    ck_assert_ptr_eq(at, end);
    fmp_buffer_done(&once);
    fmp_buffer_done(&again);
    free(x);
}
END_TEST

START_TEST(a_buffer_without_room_fails)
{
    fmp_image image = {1, 2, 2, {-1, 1}};
    fmp_png png;
    fmp_buffer bytes;
    fmp_buffer_init(&bytes, fmp_png_bytes(&image, 1) - 1);
    ck_assert(fmp_png_init(&png, &image, 1));
    fmp_png_write(&png, &bytes);
    ck_assert(bytes.failed);
    fmp_png_done(&png);
    fmp_buffer_done(&bytes);
}
END_TEST

static const struct {
    size_t channels, height, width, n;
    bool fits;
} largest[] = {
    {1, 1, 1000000, 1, true},
    {1, 1, 1000001, 1, false},
    {1, 1000001, 1, 1, false},
    {1, 1000000, 4293, 1, true}, /* a byte more a row, and 2^32 in all */
    {1, 1000000, 4294, 1, false},
    {3, 1000000, 1431, 1, true},
    {3, 1000000, 1432, 1, false},
    {1, 1, 1, (size_t)333334 * 333334, false}, /* more images than a picture counts */
    {1, 1, 9998, (size_t)101 * 101, false},
    {1, 1, 9998, (size_t)100 * 100, true},
    {1, 9998, 1, (size_t)101 * 101, false},
    {1, 9998, 1, (size_t)100 * 100, true},
    {1, 1, SIZE_MAX / 2, 1, false},
    {1, 28, 28, UINT32_MAX, false},
    {1, 28, 28, SIZE_MAX, false},
};

START_TEST(a_picture_beyond_the_format_is_refused)
{
    fmp_image image = {largest[_i].channels, largest[_i].height, largest[_i].width, {-1, 1}};
    size_t pixels = fmp_png_pixel_bytes(&image, largest[_i].n);
    size_t bytes = fmp_png_bytes(&image, largest[_i].n);
    ck_assert_int_eq(pixels != SIZE_MAX, largest[_i].fits);
    ck_assert_int_eq(bytes != SIZE_MAX, largest[_i].fits);
    if (largest[_i].fits) {
        ck_assert_uint_gt(bytes, pixels);
    } else {
        fmp_png png;
        ck_assert(!fmp_png_init(&png, &image, largest[_i].n));
    }
}
END_TEST

START_TEST(only_images_of_one_or_three_channels_are_pictures)
{
    fmp_image image;
    fm_model_info model = proto_case_image();
    ck_assert(fmp_image_of(&model, &image));
    ck_assert_uint_eq(image.channels, 3);
    ck_assert(image.range[0] == 0 && image.range[1] == 2);
    for (size_t channels = 1; channels <= 5; channels++) {
        model.shape[0] = channels;
        ck_assert_int_eq(fmp_image_of(&model, &image), channels == 1 || channels == 3);
    }
    model = proto_case_image();
    model.output_kind = "points";
    ck_assert(!fmp_image_of(&model, &image));
    model = proto_case_image();
    model.rank = 2;
    ck_assert(!fmp_image_of(&model, &image));
}
END_TEST

#define COUNT(table) (int)(sizeof(table) / sizeof(table)[0])

Suite *suite_proto_png(void)
{
    Suite *suite = suite_create("proto/png");
    TCase *tcase = tcase_create("png");
    tcase_add_loop_test(tcase, a_pixel_is_the_share_of_the_range_rounded, 0, COUNT(values));
    tcase_add_test(tcase, gray_images_keep_their_rows_and_columns);
    tcase_add_test(tcase, the_planes_of_three_channels_become_red_green_and_blue);
    tcase_add_test(tcase, several_images_fill_a_grid_row_by_row_with_black_between);
    tcase_add_loop_test(tcase, a_grid_is_nearly_square_and_no_larger_than_needed, 0, COUNT(grids));
    tcase_add_test(tcase, drawing_again_replaces_the_image);
    tcase_add_test(tcase, noise_fits_the_size_that_was_promised);
    tcase_add_test(tcase, the_bytes_hold_nothing_but_the_picture);
    tcase_add_test(tcase, a_buffer_without_room_fails);
    tcase_add_loop_test(tcase, a_picture_beyond_the_format_is_refused, 0, COUNT(largest));
    tcase_add_test(tcase, only_images_of_one_or_three_channels_are_pictures);
    suite_add_tcase(suite, tcase);
    return suite;
}
