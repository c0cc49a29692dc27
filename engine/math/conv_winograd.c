/* The Winograd route: 3 x 3 convolutions with stride 1 as 36 products of transformed tiles, 2.25 times
 * fewer multiplications a plane entry, four times fewer than a direct 4 x 4 output.
 *
 * A piece is a block of tiles, maybe of several images, and a range of columns: it transforms its tiles
 * into V [36][tiles][inputs], multiplies with U [36][inputs][outputs] into M [36][tiles][columns],
 * and transforms back. Tiles that reach past the image read zeros, and are written as far as it goes. */
#include "engine/math/conv_common.h"
#include "engine/memory.h"

#include <string.h>

#define TILE        ((size_t)4) /* pixels out; 6 in */
#define WINDOW      ((size_t)6)
#define PIECE_BYTES ((size_t)2304 << 10) /* of V and M: about an L2 cache */
#define LEAST_TILES ((size_t)8)          /* in a piece: fewer would read the weights too often */
#define MOST_TILES  ((size_t)64)
#define SHARED_TILES                                                                               \
    ((size_t)32) /* of a member: fewer are worth less than reading half of the weights */
#define LEAST_PIXELS  ((size_t)8 * 8)
#define LEAST_CHANNEL ((size_t)32)

bool fm_conv_winograd_suits(const fm_conv_spec *spec)
{
    return spec->kernel == 3 && spec->stride == 1 && !spec->has_gate &&
           spec->inputs >= LEAST_CHANNEL && spec->outputs >= LEAST_CHANNEL &&
           spec->in_height * spec->in_width >= LEAST_PIXELS;
}

/* ---- weights ---- */

#define SIDE_BY_SIDE                                                                               \
    ((size_t)16) /* kernels that are transformed together, a vector's worth and more */

static const double G[6][3] = {
    {1.0 / 4, 0, 0},
    {-1.0 / 6, -1.0 / 6, -1.0 / 6},
    {-1.0 / 6, 1.0 / 6, -1.0 / 6},
    {1.0 / 24, 1.0 / 12, 1.0 / 6},
    {1.0 / 24, -1.0 / 12, 1.0 / 6},
    {0, 0, 1},
};

/* to[lane] = G[row] times three numbers, lane by lane. */
static void three_weighted(size_t row, const double *a, const double *b, const double *c,
                           double *to)
{
    for (size_t lane = 0; lane < SIDE_BY_SIDE; lane++) {
        to[lane] = G[row][0] * a[lane] + G[row][1] * b[lane] + G[row][2] * c[lane];
    }
}

/* U = G g G^T of 3 x 3 kernels side by side, in float64. */
static void kernels_transform(double g[9][SIDE_BY_SIDE], double u[FM_WINOGRAD_PLANES][SIDE_BY_SIDE])
{
    double half[6][3][SIDE_BY_SIDE];
    for (size_t i = 0; i < 6; i++) {
        for (size_t x = 0; x < 3; x++) {
            three_weighted(i, g[x], g[3 + x], g[6 + x], half[i][x]);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 6; j++) {
            three_weighted(j, half[i][0], half[i][1], half[i][2], u[i * 6 + j]);
        }
    }
}

/* All planes of the kernels of `outputs` outputs, each as pack() reads it: [planes][outputs][inputs]. */
static void planes_fill(const fm_conv *conv, const float *weight, size_t outputs, float *planes)
{
    double g[9][SIDE_BY_SIDE] = {{0}}, u[FM_WINOGRAD_PLANES][SIDE_BY_SIDE];
    size_t n = outputs * conv->inputs;
    for (size_t i = 0; i < n; i += SIDE_BY_SIDE) {
        size_t count = n - i < SIDE_BY_SIDE ? n - i : SIDE_BY_SIDE;
        for (size_t at = 0; at < count * 9; at++) {
            g[at % 9][at / 9] = (double)weight[i * 9 + at];
        }
        kernels_transform(g, u);
        for (size_t plane = 0; plane < FM_WINOGRAD_PLANES; plane++) {
            for (size_t lane = 0; lane < count; lane++) {
                planes[plane * n + i + lane] = (float)u[plane][lane];
            }
        }
    }
}

/* A panel of outputs at a time, so that what is transformed and not yet packed stays small. */
fm_status fm_conv_winograd_pack(fm_conv *conv, const float *weight, fm_error *err)
{
    size_t panel = conv->kernels->panel < conv->outputs ? conv->kernels->panel : conv->outputs;
    float *planes = NULL;
    if (fm_conv_alloc_packed(conv, conv->inputs * FM_WINOGRAD_PLANES)) {
        planes = fm_alloc_array(panel * conv->inputs * FM_WINOGRAD_PLANES, sizeof *planes);
    }
    if (planes == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory for %zu x %zu transformed kernels",
                       conv->outputs, conv->inputs);
    }
    for (size_t first = 0; first < conv->outputs; first += panel) {
        size_t live = conv->outputs - first < panel ? conv->outputs - first : panel;
        planes_fill(conv, weight + first * conv->inputs * 9, live, planes);
        for (size_t i = 0; i < FM_WINOGRAD_PLANES; i++) {
            conv->kernels->pack(planes + i * live * conv->inputs, conv->inputs, 1, conv->inputs,
                                live, conv->packed + (i * conv->columns + first) * conv->inputs);
        }
    }
    fm_free(planes);
    return FM_OK;
}

/* ---- pieces ---- */

typedef struct tile_place {
    size_t image, y, x; /* of its first output pixel */
} tile_place;

static size_t across(size_t pixels)
{
    return (pixels + TILE - 1) / TILE;
}

static size_t tile_count(const fm_conv *conv, const fm_conv_call *call)
{
    return call->n_images * across(conv->out_height) * across(conv->out_width);
}

/* Tiles of a full piece: V and M of so many fit. */
static size_t piece_tiles(const fm_conv *conv)
{
    size_t bytes = FM_WINOGRAD_PLANES * (conv->in_stride + conv->columns) * sizeof(float);
    size_t tiles = PIECE_BYTES / bytes / LEAST_TILES * LEAST_TILES;
    tiles = tiles < LEAST_TILES ? LEAST_TILES : tiles;
    return tiles < MOST_TILES ? tiles : MOST_TILES;
}

/* As few as their memory allows, but one for every member where each then still has many tiles. */
static size_t block_count(const fm_conv *conv, const fm_conv_call *call)
{
    size_t per_piece = piece_tiles(conv), tiles = tile_count(conv, call);
    size_t blocks = (tiles + per_piece - 1) / per_piece;
    bool shared = tiles >= SHARED_TILES * call->n_members;
    return shared && blocks < call->n_members ? call->n_members : blocks;
}

/* Else a range of columns for every member: each transforms all tiles, but reads its part of the weights. */
static size_t column_parts(const fm_conv *conv, const fm_conv_call *call)
{
    size_t panels = (conv->columns + conv->kernels->panel - 1) / conv->kernels->panel;
    size_t wanted = block_count(conv, call) < call->n_members ? call->n_members : 1;
    return wanted < panels ? wanted : panels;
}

static tile_place place_of(const fm_conv *conv, size_t tile)
{
    size_t wide = across(conv->out_width), per_image = across(conv->out_height) * wide;
    size_t rest = tile % per_image;
    return (tile_place){
        .image = tile / per_image, .y = rest / wide * TILE, .x = rest % wide * TILE};
}

size_t fm_conv_winograd_piece_bytes(const fm_conv *conv)
{
    size_t floats = FM_WINOGRAD_PLANES * piece_tiles(conv) * (conv->in_stride + conv->columns) +
                    WINDOW * WINDOW * conv->in_stride;
    return floats * sizeof(float);
}

size_t fm_conv_winograd_piece_count(const fm_conv *conv, const fm_conv_call *call)
{
    return block_count(conv, call) * column_parts(conv, call);
}

/* Copies the part of a window that exists, border included, into a patch of zeros. */
static void patch_fill(const fm_image *in, const float *corner, size_t lines, size_t pixels,
                       float *patch)
{
    size_t c = in->pixel_stride;
    memset(patch, 0, WINDOW * WINDOW * c * sizeof *patch);
    for (size_t y = 0; y < lines && y < WINDOW; y++) {
        size_t n = pixels < WINDOW ? pixels : WINDOW;
        memcpy(patch + y * WINDOW * c, corner + y * in->line_stride, n * c * sizeof *patch);
    }
}

static void tile_enter(const fm_conv *conv, const fm_conv_call *call, tile_place at, float *v,
                       size_t plane_stride, float *patch)
{
    const fm_image *in = &call->in;
    const float *corner =
        fm_image_at(in, at.image, at.y, at.x) - in->line_stride - in->pixel_stride;
    fm_winograd_input job = {.in = corner,
                             .line_stride = in->line_stride,
                             .pixel_stride = in->pixel_stride,
                             .channels = conv->in_stride,
                             .out = v,
                             .plane_stride = plane_stride};
    size_t lines = conv->in_height + 2 - at.y, pixels = conv->in_width + 2 - at.x;
    if (lines < WINDOW || pixels < WINDOW) {
        patch_fill(in, corner, lines, pixels, patch);
        job.in = patch;
        job.line_stride = WINDOW * in->pixel_stride;
    }
    conv->kernels->winograd_input(&job);
}

static void tile_leave(const fm_conv *conv, const fm_conv_call *call, tile_place at, const float *m,
                       size_t plane_stride, size_t first, size_t end)
{
    const fm_image *out = &call->out, *residual = call->residual;
    size_t lines = conv->out_height - at.y, pixels = conv->out_width - at.x;
    const fm_winograd_output job = {
        .in = m,
        .plane_stride = plane_stride,
        .columns = end - first,
        .lines = lines < TILE ? lines : TILE,
        .pixels = pixels < TILE ? pixels : TILE,
        .bias = fm_conv_bias(conv, call) + first,
        .row_bias = call->row_bias == NULL
                        ? NULL
                        : call->row_bias + at.image * call->row_bias_stride + first,
        .residual = residual == NULL ? NULL : fm_image_at(residual, at.image, at.y, at.x) + first,
        .residual_line_stride = residual == NULL ? 0 : residual->line_stride,
        .residual_pixel_stride = residual == NULL ? 0 : residual->pixel_stride,
        .activation = fm_conv_activation(conv, call),
        .out = fm_image_at(out, at.image, at.y, at.x) + first,
        .line_stride = out->line_stride,
        .pixel_stride = out->pixel_stride,
    };
    conv->kernels->winograd_output(&job);
}

static void planes_multiply(const fm_conv *conv, size_t tiles, size_t first, size_t end,
                            const float *v, float *m)
{
    size_t width = end - first;
    for (size_t i = 0; i < FM_WINOGRAD_PLANES; i++) {
        const fm_matmul job = {
            .inputs = conv->inputs,
            .columns = width,
            .packed = conv->packed + (i * conv->columns + first) * conv->inputs,
            .bias = conv->zeros,
            .activation = FM_ACTIVATION_NONE,
            .rows = tiles,
            .in = v + i * tiles * conv->in_stride,
            .out = m + i * tiles * width,
            .in_stride = conv->in_stride,
            .out_stride = width,
        };
        conv->kernels->matmul(&job);
    }
}

void fm_conv_winograd_run(const fm_conv *conv, const fm_conv_call *call, size_t piece,
                          void *scratch)
{
    size_t blocks = block_count(conv, call), total = tile_count(conv, call);
    size_t parts = column_parts(conv, call);
    size_t from = total * (piece / parts) / blocks, until = total * (piece / parts + 1) / blocks;
    size_t tiles = until - from, first = 0, end = 0;
    fm_conv_column_range(conv, piece % parts, parts, &first, &end);
    float *patch = scratch, *v = patch + WINDOW * WINDOW * conv->in_stride;
    float *m = v + FM_WINOGRAD_PLANES * tiles * conv->in_stride;
    for (size_t i = 0; i < tiles; i++) {
        tile_enter(conv, call, place_of(conv, from + i), v + i * conv->in_stride,
                   tiles * conv->in_stride, patch);
    }
    planes_multiply(conv, tiles, first, end, v, m);
    for (size_t i = 0; i < tiles; i++) {
        tile_leave(conv, call, place_of(conv, from + i), m + i * (end - first),
                   tiles * (end - first), first, end);
    }
}
