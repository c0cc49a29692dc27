/* Points of Euclidean space, with normal noise. Volume: Lebesgue measure. */
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>

static fm_unit_sizes sizes(const fm_space_part *part)
{
    size_t n = part->n;
    return (fm_unit_sizes){
        .states = n, .inputs = n, .outputs = n, .velocities = n, .dimensions = n, .draws = n};
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    (void)part;
    (void)x;
    (void)slack;
    return true;
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    for (size_t i = 0; i < part->n; i++) {
        y[i] = x[i] + u[i];
    }
}

static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    for (size_t i = 0; i < part->n; i++) {
        u[i] = y[i] - x[i];
    }
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    double square = 0;
    for (size_t i = 0; i < part->n; i++) {
        square += (y[i] - x[i]) * (y[i] - x[i]);
    }
    return sqrt(square);
}

static void project(const fm_space_part *part, double *x)
{
    (void)part;
    (void)x;
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)uniforms;
    for (size_t i = 0; i < part->n; i++) {
        ret[i] = part->source.std * scale * normals[i];
    }
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    double std = part->source.std * scale, square = 0;
    for (size_t i = 0; i < part->n; i++) {
        square += x[i] / std * (x[i] / std);
    }
    return -0.5 * square - (double)part->n * (0.5 * FM_LOG_TWO_PI + log(std));
}

const fm_unit_type fm_unit_euclidean = {.rule = "must be a point",
                                        .sources = FM_SOURCE_BIT(NORMAL),
                                        .least = 1,
                                        .most = SIZE_MAX,
                                        .sizes = sizes,
                                        .accept = accept,
                                        .exp = move,
                                        .log = difference,
                                        .distance = distance,
                                        .project = project,
                                        .input = fm_unit_copy,
                                        .velocity = fm_unit_copy_at,
                                        .push = fm_unit_copy_at,
                                        .coordinates = fm_unit_copy_at,
                                        .rest = fm_unit_no_rest,
                                        .draw = draw,
                                        .source_log_density = source_log_density};
