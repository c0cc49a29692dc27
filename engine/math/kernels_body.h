/* The kernels, written once for vectors of LANES floats and compiled for each instruction set.
 *
 * Part of kernels_*.c, which define LANES, KERNELS (the table's name) and KERNELS_NAME. */
#ifndef FM_KERNELS_BODY_H
#define FM_KERNELS_BODY_H

#ifndef KERNELS
#define KERNELS      fm_kernels_generic /* so that the header compiles alone */
#define KERNELS_NAME "generic"
#endif

#include "engine/math/kernels.h"
#include "engine/math/kernels_convolve.h"
#include "engine/math/kernels_curvature.h"
#include "engine/math/kernels_matmul.h"
#include "engine/math/kernels_norm.h"
#include "engine/math/kernels_slope.h"
#include "engine/math/kernels_winograd.h"

const fm_kernels KERNELS = {
    .name = KERNELS_NAME,
    .activate = activate,
    .pack = pack,
    .matmul = matmul,
    .panel = PANEL,
    .convolve = convolve,
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .channel_sums = channel_sums,
    .channel_map = channel_map,
    .pixel_norm = pixel_norm,
    .exponentials = exponentials,
    .scale_rows = scale_rows,
    .slopes = slopes,
    .activate_tangents = activate_tangents,
    .curvatures = curvatures,
};

#endif
