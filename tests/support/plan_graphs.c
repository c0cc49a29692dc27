/* The graphs. */
#include "tests/support/plan_graphs.h"

#define RELU FM_ACTIVATION_RELU
#define SILU FM_ACTIVATION_SILU
#define GELU FM_ACTIVATION_GELU

static const plan_node waves[] = {
    {.kind = NODE_IMAGE, .count = 3},
    {.kind = NODE_IMAGE_OUTPUT, .size = 21},
    {.kind = NODE_END},
};

static const plan_node channels_kept[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_IMAGE_OUTPUT, .size = 2},
    {.kind = NODE_END},
};

static const plan_node patches[] = {
    {.kind = NODE_PATCHES, .count = 2},
    {.kind = NODE_CONV, .size = 12, .count = 3, .stride = 1},
    {.kind = NODE_SUM, .from = 0, .with = 1},
    {.kind = NODE_PATCHES_OUTPUT, .from = 2, .count = 2, .stride = 3, .size = 2},
    {.kind = NODE_END},
};

static const plan_node conditions[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TIME, .size = 41},
    {.kind = NODE_LABEL, .count = 5, .size = 41},
    {.kind = NODE_CONV, .size = 41, .count = 1, .stride = 1},
    {.kind = NODE_SUM, .from = 3, .with = 1, .activation = SILU},
    {.kind = NODE_SUM, .from = 4, .with = 2},
    {.kind = NODE_SUM, .from = 5, .with = 3},
    {.kind = NODE_SUM, .from = 6, .activation = GELU},
    {.kind = NODE_IMAGE_OUTPUT, .from = 7, .size = 41},
    {.kind = NODE_END},
};

/* Of 5 x 7 pixels, so that pooling drops a line and a column. Here and below a 3 x 3 convolution reads what
 * any other op makes, for it would see padding that is not finite. */
static const plan_node pixels[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_CONV, .size = 20, .count = 1, .stride = 1},
    {.kind = NODE_POSITIONS, .from = 1},
    {.kind = NODE_CONV, .from = 2, .size = 20, .count = 3, .stride = 1, .residual = 2},
    {.kind = NODE_CONCAT, .from = 0, .with = 3},
    {.kind = NODE_POOL, .from = 4},
    {.kind = NODE_UPSAMPLE, .from = 5},
    {.kind = NODE_IMAGE_OUTPUT, .from = 6, .size = 23},
    {.kind = NODE_END},
};

static const plan_node convolutions[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TIME, .size = 40},
    {.kind = NODE_LABEL, .count = 5, .size = 24},
    {.kind = NODE_CONV, .size = 24, .count = 3, .stride = 1, .row_bias = 2, .activation = SILU},
    {.kind = NODE_CONV,
     .from = 3,
     .size = 24,
     .count = 5,
     .stride = 1,
     .gate = 1,
     .column = 9,
     .residual = 3,
     .flag = true},
    {.kind = NODE_CONV, .from = 4, .size = 35, .count = 3, .stride = 2},
    {.kind = NODE_CONV,
     .from = 5,
     .size = 35,
     .count = 3,
     .stride = 1,
     .residual = 5,
     .activation = RELU},
    {.kind = NODE_CONV, .from = 6, .size = 10, .count = 1, .stride = 2, .flag = true},
    {.kind = NODE_IMAGE_OUTPUT, .from = 7, .size = 10},
    {.kind = NODE_END},
};

/* Value 2 is read by everything. */
static const plan_node borders[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TIME, .size = 40},
    {.kind = NODE_CONV, .size = 20, .count = 3, .stride = 1},
    {.kind = NODE_CONV, .from = 2, .size = 20, .count = 5, .stride = 1, .residual = 2},
    {.kind = NODE_CONV, .from = 2, .size = 20, .count = 3, .stride = 1, .gate = 1},
    {.kind = NODE_CONV, .from = 2, .size = 20, .count = 1, .stride = 1},
    {.kind = NODE_SUM, .from = 3, .with = 4},
    {.kind = NODE_SUM, .from = 6, .with = 5, .activation = SILU},
    {.kind = NODE_SUM, .from = 2, .with = 7},
    {.kind = NODE_POSITIONS, .from = 2},
    {.kind = NODE_CONCAT, .from = 9, .with = 2},
    {.kind = NODE_CONV, .from = 10, .size = 20, .count = 3, .stride = 1, .residual = 8},
    {.kind = NODE_UPSAMPLE, .from = 2},
    {.kind = NODE_CONV, .from = 12, .size = 20, .count = 3, .stride = 2, .residual = 11},
    {.kind = NODE_POOL, .from = 2},
    {.kind = NODE_CONV, .from = 14, .size = 20, .count = 3, .stride = 1},
    {.kind = NODE_UPSAMPLE, .from = 15},
    {.kind = NODE_SUM, .from = 13, .with = 16},
    {.kind = NODE_LAYER_NORM, .from = 2, .with = 1, .count = 1},
    {.kind = NODE_CONV, .from = 18, .size = 20, .count = 3, .stride = 1, .residual = 17},
    {.kind = NODE_GROUP_NORM, .from = 2, .count = 5, .with = 1, .activation = SILU},
    {.kind = NODE_CONV, .from = 20, .size = 60, .count = 3, .stride = 1},
    {.kind = NODE_ATTENTION, .from = 21, .count = 2, .size = 10},
    {.kind = NODE_CONV, .from = 22, .size = 20, .count = 3, .stride = 1, .residual = 19},
    {.kind = NODE_IMAGE_OUTPUT, .from = 23, .size = 20},
    {.kind = NODE_END},
};

/* Of one pixel: the time, the label and the image are read by 3 x 3 convolutions, too. */
static const plan_node vector_borders[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TIME, .size = 24},
    {.kind = NODE_LABEL, .count = 5, .size = 24},
    {.kind = NODE_CONV, .size = 24, .count = 3, .stride = 1},
    {.kind = NODE_CONV, .from = 1, .size = 24, .count = 3, .stride = 1},
    {.kind = NODE_CONV, .from = 2, .size = 48, .count = 5, .stride = 1},
    {.kind = NODE_CONV,
     .from = 3,
     .size = 24,
     .count = 1,
     .stride = 1,
     .row_bias = 1,
     .gate = 2,
     .residual = 4},
    {.kind = NODE_LAYER_NORM, .from = 6, .with = 5, .count = 1},
    {.kind = NODE_CONV, .from = 5, .size = 24, .count = 3, .stride = 1, .residual = 7},
    {.kind = NODE_GROUP_NORM, .from = 8, .with = 5, .count = 4},
    {.kind = NODE_SUM, .from = 9, .with = 1},
    {.kind = NODE_IMAGE_OUTPUT, .from = 10, .size = 24},
    {.kind = NODE_END},
};

/* A block of a diffusion transformer. */
static const plan_node transformer[] = {
    {.kind = NODE_PATCHES, .count = 2},
    {.kind = NODE_TIME, .size = 64},
    {.kind = NODE_LABEL, .count = 5, .size = 64},
    {.kind = NODE_SUM, .from = 1, .with = 2},
    {.kind = NODE_LINEAR, .from = 3, .size = 64, .activation = SILU},
    {.kind = NODE_LINEAR, .from = 4, .size = 192},
    {.kind = NODE_CONV, .size = 32, .count = 1, .stride = 1},
    {.kind = NODE_POSITIONS, .from = 6},
    {.kind = NODE_LAYER_NORM, .from = 7, .with = 5, .column = 32},
    {.kind = NODE_CONV, .from = 8, .size = 96, .count = 1, .stride = 1},
    {.kind = NODE_ATTENTION, .from = 9, .count = 4, .size = 8, .flag = true},
    {.kind = NODE_CONV,
     .from = 10,
     .size = 32,
     .count = 1,
     .stride = 1,
     .gate = 5,
     .column = 96,
     .residual = 7},
    {.kind = NODE_LAYER_NORM, .from = 11, .with = 5, .count = 1, .flag = true},
    {.kind = NODE_CONV, .from = 12, .size = 128, .count = 1, .stride = 1, .activation = GELU},
    {.kind = NODE_CONV,
     .from = 13,
     .size = 32,
     .count = 1,
     .stride = 1,
     .gate = 5,
     .column = 160,
     .residual = 11},
    {.kind = NODE_LAYER_NORM, .from = 14},
    {.kind = NODE_CONV, .from = 15, .size = 16, .count = 1, .stride = 1},
    {.kind = NODE_PATCHES_OUTPUT, .from = 16, .count = 2, .stride = 4, .size = 3},
    {.kind = NODE_END},
};

/* Two attentions over turned queries and keys, of both orders, on 5 x 13 pixels: more than a piece. What leaves is
 * channels last. */
static const plan_node places[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_CONV, .size = 36, .count = 3, .stride = 1},
    {.kind = NODE_ROTARY, .from = 1, .count = 2, .size = 6},
    {.kind = NODE_ATTENTION, .from = 2, .count = 2, .size = 6},
    {.kind = NODE_CONV, .from = 3, .size = 48, .count = 1, .stride = 1},
    {.kind = NODE_ROTARY, .from = 4, .count = 1, .size = 16, .flag = true, .stride = 1},
    {.kind = NODE_ATTENTION, .from = 5, .count = 1, .size = 16, .flag = true},
    {.kind = NODE_CONV, .from = 6, .size = 5, .count = 1, .stride = 1},
    {.kind = NODE_OUTPUT, .from = 7},
    {.kind = NODE_END},
};

/* One level down and up again, with attention below. */
static const plan_node unet[] = {
    {.kind = NODE_IMAGE, .count = 2},
    {.kind = NODE_TIME, .size = 32},
    {.kind = NODE_LINEAR, .from = 1, .size = 64, .activation = SILU},
    {.kind = NODE_LINEAR, .from = 2, .size = 48, .flag = true},
    {.kind = NODE_LINEAR, .from = 2, .size = 96},
    {.kind = NODE_CONV, .size = 48, .count = 3, .stride = 1},
    {.kind = NODE_GROUP_NORM, .from = 5, .count = 16, .activation = SILU},
    {.kind = NODE_CONV, .from = 6, .size = 48, .count = 3, .stride = 1, .row_bias = 3},
    {.kind = NODE_GROUP_NORM, .from = 7, .with = 4, .count = 6, .activation = SILU},
    {.kind = NODE_CONV, .from = 8, .size = 48, .count = 3, .stride = 1, .residual = 5},
    {.kind = NODE_CONV, .from = 9, .size = 64, .count = 3, .stride = 2},
    {.kind = NODE_GROUP_NORM, .from = 10, .count = 32},
    {.kind = NODE_CONV, .from = 11, .size = 192, .count = 1, .stride = 1},
    {.kind = NODE_ATTENTION, .from = 12, .count = 2, .size = 32},
    {.kind = NODE_CONV, .from = 13, .size = 64, .count = 1, .stride = 1, .residual = 10},
    {.kind = NODE_UPSAMPLE, .from = 14},
    {.kind = NODE_CONV, .from = 15, .size = 48, .count = 3, .stride = 1},
    {.kind = NODE_CONCAT, .from = 16, .with = 9},
    {.kind = NODE_GROUP_NORM, .from = 17, .count = 24, .activation = SILU},
    {.kind = NODE_CONV, .from = 18, .size = 48, .count = 3, .stride = 1, .activation = RELU},
    {.kind = NODE_POOL, .from = 19},
    {.kind = NODE_UPSAMPLE, .from = 20},
    {.kind = NODE_SUM, .from = 21, .with = 19, .activation = SILU},
    {.kind = NODE_CONV, .from = 22, .size = 3, .count = 3, .stride = 1},
    {.kind = NODE_IMAGE_OUTPUT, .from = 23, .size = 3},
    {.kind = NODE_END},
};

/* Of five frames; the first attention's nodes do not vary. */
static const plan_node frames[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TABLE, .stride = 1, .count = 5, .size = 24},
    {.kind = NODE_RELATIVE_FRAMES, .count = 7},
    {.kind = NODE_CONV, .from = 2, .size = 11, .count = 3, .stride = 1},
    {.kind = NODE_CONV, .from = 3, .size = 3, .count = 3, .stride = 1},
    {.kind = NODE_CONV, .from = 1, .size = 45, .count = 3, .stride = 1},
    {.kind = NODE_PAIR_ATTENTION, .from = 5, .with = 4, .residual = 3, .count = 3},
    {.kind = NODE_CONV, .from = 6, .size = 24, .count = 3, .stride = 1, .residual = 1},
    {.kind = NODE_CONV, .from = 7, .size = 45, .count = 1, .stride = 1},
    {.kind = NODE_CONV, .from = 8, .size = 45, .count = 3, .stride = 1},
    {.kind = NODE_PAIR_ATTENTION, .from = 8, .with = 4, .residual = 3, .count = 3},
    {.kind = NODE_CONV, .from = 10, .size = 6, .count = 1, .stride = 1},
    {.kind = NODE_CONV, .from = 9, .size = 6, .count = 1, .stride = 1, .residual = 11},
    {.kind = NODE_FRAMES_OUTPUT, .from = 12},
    {.kind = NODE_END},
};

static const plan_node pair_tables[] = {
    {.kind = NODE_IMAGE},
    {.kind = NODE_TABLE, .stride = 5, .count = 5, .size = 3},
    {.kind = NODE_TABLE, .stride = 5, .count = 5, .size = 11},
    {.kind = NODE_CONV, .size = 45, .count = 1, .stride = 1},
    {.kind = NODE_PAIR_ATTENTION, .from = 3, .with = 1, .residual = 2, .count = 3},
    {.kind = NODE_IMAGE_OUTPUT, .from = 4, .size = 48},
    {.kind = NODE_END},
};

const plan_graph plan_graphs[N_GRAPHS] = {
    [GRAPH_WAVES] = {"waves", 3, 5, 4, waves},
    [GRAPH_CHANNELS_KEPT] = {"channels kept", 3, 5, 4, channels_kept},
    [GRAPH_PATCHES] = {"patches", 3, 6, 4, patches},
    [GRAPH_CONDITIONS] = {"conditions", 3, 5, 4, conditions},
    [GRAPH_PIXELS] = {"pixels", 3, 5, 7, pixels},
    [GRAPH_CONVOLUTIONS] = {"convolutions", 3, 7, 6, convolutions},
    [GRAPH_BORDERS] = {"borders", 3, 6, 4, borders},
    [GRAPH_VECTOR_BORDERS] = {"borders of vectors", 3, 1, 1, vector_borders},
    [GRAPH_TRANSFORMER] = {"transformer", 3, 8, 6, transformer},
    [GRAPH_PLACES] = {"places", 3, 5, 13, places},
    [GRAPH_UNET] = {"unet", 3, 8, 8, unet},
    [GRAPH_FRAMES] = {"frames", 60, 1, 1, frames},
    [GRAPH_PAIR_TABLES] = {"tables of pairs", 6, 1, 5, pair_tables},
};
