/* bfloat16 kernels for AVX512_BF16. Compiled with -mavx512bf16, see the Makefile. */
#include "engine/math/kernels16.h"

#if defined(__x86_64__)
#define LANES 16
#include "engine/math/kernels_convolve.h"

static void round_floats(const float *in, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i += LANES) {
        __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(in + i));
        memcpy(out + i, &half, sizeof half);
    }
}

static uint16_t round_float(float x)
{
    float lanes[LANES] = {x};
    uint16_t rounded[LANES];
    round_floats(lanes, LANES, rounded);
    return rounded[0];
}

static void pack_pairs(const float *weight, size_t inputs, size_t outputs, uint16_t *packed)
{
    size_t columns = fm_kernels_round(outputs);
    for (size_t first = 0; first < columns; first += PANEL) {
        size_t width = panel_columns(columns, first);
        for (size_t k = 0; k < inputs; k += 2) {
            for (size_t column = first; column < first + width; column++) {
                const float *at = weight + column * inputs + k;
                *packed++ = column < outputs ? round_float(at[0]) : 0;
                *packed++ = column < outputs ? round_float(at[1]) : 0;
            }
        }
    }
}

INLINE __m512bh load_pairs(const uint16_t *from)
{
    __m512bh pairs;
    memcpy(&pairs, from, sizeof pairs);
    return pairs;
}

/* The same pair in every lane. */
INLINE __m512bh splat_pair(const uint16_t *from)
{
    int32_t both;
    memcpy(&both, from, sizeof both);
    return (__m512bh)_mm512_set1_epi32(both);
}

/* As line_run(), pair by pair. */
INLINE void pair_line_run(const uint16_t *const in[TILE_ROWS], const uint16_t *panel, size_t inputs,
                          size_t pixels, size_t width, __m512 sum[TILE_ROWS][2])
{
    __m512bh column[2];
    for (size_t k = 0; k < inputs; k += 2, panel += width * 2 * LANES) {
        UNROLL for (size_t v = 0; v < width; v++)
        {
            column[v] = load_pairs(panel + v * 2 * LANES);
        }
        UNROLL for (size_t r = 0; r < pixels; r++)
        {
            __m512bh x = splat_pair(in[r] + k);
            UNROLL for (size_t v = 0; v < width; v++)
            {
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], x, column[v]);
            }
        }
    }
}

/* As window_run(), pair by pair. */
INLINE void pairs_run(const fm_convolve16 *job, const fm_pixel *pixel, size_t first,
                      float *products, size_t pixels, size_t width)
{
    __m512 sum[TILE_ROWS][2];
    const fm_convolve *layer = &job->layer;
    const uint16_t *in[TILE_ROWS];
    const uint16_t *panel = job->packed + first * layer->segments * layer->segment_inputs;
    UNROLL for (size_t r = 0; r < pixels; r++)
    {
        in[r] = job->in + pixel[r].in;
        UNROLL for (size_t v = 0; v < width; v++)
        {
            sum[r][v] = _mm512_setzero_ps();
        }
    }
    for (size_t segment = 0; segment < layer->segments; segment++) {
        pair_line_run(in, panel, layer->segment_inputs, pixels, width, sum);
        panel += layer->segment_inputs * width * LANES; /* a pair of inputs is two vectors wide */
        UNROLL for (size_t r = 0; r < pixels; r++)
        {
            in[r] += layer->segment_stride;
        }
    }
    UNROLL for (size_t r = 0; r < pixels; r++)
    {
        float *to = products != NULL ? products + r * PANEL : layer->out + pixel[r].out + first;
        UNROLL for (size_t v = 0; v < width; v++)
        {
            store(to + v * LANES, (vec)sum[r][v] + load(layer->bias + first + v * LANES));
        }
    }
}

#define PAIRS(pixels, width)                                                                       \
    static void pairs_##pixels##_##width(const fm_convolve16 *job, const fm_pixel *pixel,          \
                                         size_t first, float *products)                            \
    {                                                                                              \
        pairs_run(job, pixel, first, products, pixels, width);                                     \
    }
typedef void (*pairs_function)(const fm_convolve16 *job, const fm_pixel *pixel, size_t first,
                               float *products);

/* clang-format off */
PAIRS(1, 2) PAIRS(2, 2) PAIRS(3, 2) PAIRS(4, 2) PAIRS(5, 2) PAIRS(6, 2) PAIRS(7, 2) PAIRS(8, 2)
PAIRS(1, 1) PAIRS(2, 1) PAIRS(3, 1) PAIRS(4, 1) PAIRS(5, 1) PAIRS(6, 1) PAIRS(7, 1) PAIRS(8, 1)
static const pairs_function whole_pairs[TILE_ROWS] = {
    pairs_1_2, pairs_2_2, pairs_3_2, pairs_4_2, pairs_5_2, pairs_6_2, pairs_7_2, pairs_8_2};
static const pairs_function narrow_pairs[TILE_ROWS] = {
    pairs_1_1, pairs_2_1, pairs_3_1, pairs_4_1, pairs_5_1, pairs_6_1, pairs_7_1, pairs_8_1};
/* clang-format on */

static void convolve_pairs(const fm_convolve16 *job)
{
    const fm_convolve *layer = &job->layer;
    float products[TILE_ROWS * PANEL];
    bool finished = window_is_finished(layer);
    size_t tiles = (layer->n_pixels + TILE_ROWS - 1) / TILE_ROWS, width = 0;
    for (size_t first = layer->first_column; first < layer->end_column; first += width) {
        width = panel_columns(layer->columns, first);
        const pairs_function *functions = width == PANEL ? whole_pairs : narrow_pairs;
        for (size_t i = 0; i < tiles; i++) {
            size_t from = layer->n_pixels * i / tiles, until = layer->n_pixels * (i + 1) / tiles;
            functions[until - from - 1](job, layer->pixels + from, first,
                                        finished ? NULL : products);
            for (size_t p = from; !finished && p < until; p++) {
                window_finish(layer, layer->pixels + p, first, width,
                              products + (p - from) * PANEL);
            }
        }
    }
}

const fm_kernels16 fm_kernels16_avx512 = {
    .name = "avx512_bf16",
    .panel = PANEL,
    .round = round_floats,
    .pack = pack_pairs,
    .convolve = convolve_pairs,
};
#endif
