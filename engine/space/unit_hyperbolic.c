/* Points of hyperbolic space, in the Poincare ball of curvature -1. Volume: Riemannian, lambda^n dx.
 *
 *   lambda_x = 2 / (1 - |x|^2), the length of a unit of x;   x (+) y: Moebius addition
 *   exp_x(u) = x (+) tanh(lambda_x |u| / 2) u / |u|          log_x(y) = (2 / lambda_x) artanh|w| w / |w|, w = -x (+) y
 *   d exp_x at u: parallel transport, and what is across u times sinh(theta) / theta, theta = lambda_x |u|
 *   transport from y to x: v lambda_y / lambda_x, turned by the gyration gyr[x, -y]
 *   div v = tr J + n lambda_x x . v
 *
 * Coordinates are those of x themselves: a trace is the same in a scaled basis. Points are kept within 1 - 1e-7, where
 * the metric is 17 from the centre, for a float32 could not tell the next ones from the boundary.
 * Source: Ungar, "A gyrovector space approach to hyperbolic geometry"; Ganea, Becigneul and Hofmann, arXiv:1805.09112. */
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define MOST  (1 - 1e-7) /* length of a point */
#define SMALL 1e-4

static fm_unit_sizes sizes(const fm_space_part *part)
{
    size_t n = part->n;
    return (fm_unit_sizes){
        .states = n, .inputs = n, .outputs = n, .velocities = n, .dimensions = n, .draws = n};
}

static void project(const fm_space_part *part, double *x)
{
    double length = sqrt(fm_unit_dot(part->n, x, x));
    double factor = length > MOST ? MOST / length : 1;
    for (size_t i = 0; i < part->n; i++) {
        x[i] *= factor;
    }
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    (void)slack;
    if (!(fm_unit_dot(part->n, x, x) < 1)) {
        return false;
    }
    project(part, x);
    return true;
}

/* a x + b y = x (+) y, from their products. */
typedef struct sum {
    double x, y;
} sum;

static sum moebius(double xx, double xy, double yy)
{
    double below = 1 + 2 * xy + xx * yy;
    return (sum){.x = (1 + 2 * xy + yy) / below, .y = (1 - xx) / below};
}

/* exp_x(u) = x.x x + x.y u */
static sum exp_sum(size_t n, const double *x, const double *u)
{
    double xx = fm_unit_dot(n, x, x), length = sqrt(fm_unit_dot(n, u, u));
    if (length == 0) {
        return (sum){.x = 1, .y = 0};
    }
    double reach = tanh(length / (1 - xx)), per_u = reach / length;
    sum ret = moebius(xx, per_u * fm_unit_dot(n, x, u), reach * reach);
    ret.y *= per_u;
    return ret;
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    sum weights = exp_sum(part->n, x, u);
    for (size_t i = 0; i < part->n; i++) {
        y[i] = weights.x * x[i] + weights.y * u[i];
    }
    project(part, y);
}

/* What log and distance are made of. |w|^2 of w = -x (+) y is square / (square + gap). */
typedef struct apart {
    double square; /* |y - x|^2 */
    double gap;    /* (1 - |x|^2) (1 - |y|^2) */
    double rest;   /* 1 - |x|^2 */
} apart;

static apart apart_of(size_t n, const double *x, const double *y)
{
    apart ret = {.rest = 1 - fm_unit_dot(n, x, x)};
    ret.gap = ret.rest * (1 - fm_unit_dot(n, y, y));
    for (size_t i = 0; i < n; i++) {
        ret.square += (y[i] - x[i]) * (y[i] - x[i]);
    }
    return ret;
}

/* 2 artanh|w|, as an area sine: |w| itself rounds to 1 between points that are far apart. */
static double length_of(const apart *it)
{
    return 2 * asinh(sqrt(it->square / it->gap));
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    apart it = apart_of(part->n, x, y);
    return length_of(&it);
}

/* w is along (1 - |x|^2) (y - x) - |y - x|^2 x, where nothing cancels between near points. */
static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    apart it = apart_of(part->n, x, y);
    double length = sqrt(it.square * (it.square + it.gap)); /* of that vector */
    double factor = length > 0 ? 0.5 * it.rest * length_of(&it) / length : 0;
    for (size_t i = 0; i < part->n; i++) {
        u[i] = factor * (it.rest * (y[i] - x[i]) - it.square * x[i]);
    }
}

/* The products of x, u, y = exp_x(u) and a slope v at y. */
typedef struct products {
    double xx, xv, xy, yy, yv;
} products;

static products products_of(size_t n, const double *x, const double *u, const double *v, sum y)
{
    products ret = {.xx = fm_unit_dot(n, x, x), .xv = fm_unit_dot(n, x, v)};
    double xu = fm_unit_dot(n, x, u), uu = fm_unit_dot(n, u, u), uv = fm_unit_dot(n, u, v);
    ret.xy = y.x * ret.xx + y.y * xu;
    ret.yy = y.x * y.x * ret.xx + 2 * y.x * y.y * xu + y.y * y.y * uu;
    ret.yv = y.x * ret.xv + y.y * uv;
    return ret;
}

/* gyr[x, -y] v = v + of_x x + of_y y. */
static void gyration(const products *at, double *of_x, double *of_y)
{
    double below = 1 - 2 * at->xy + at->xx * at->yy;
    *of_x = 2 * (-at->xv * at->yy - at->yv + 2 * at->xy * at->yv) / below;
    *of_y = 2 * (at->xv - at->yv * at->xx) / below;
}

static void pull(const fm_space_part *part, const double *x, const double *u, double *v)
{
    size_t n = part->n;
    double length = sqrt(fm_unit_dot(n, u, u));
    if (length == 0) {
        return;
    }
    sum y = exp_sum(n, x, u);
    products at = products_of(n, x, u, v, y);
    double of_x = 0, of_y = 0;
    double scale = (1 - at.xx) / fmax(1 - at.yy, 1 - MOST * MOST); /* lambda_y / lambda_x */
    gyration(&at, &of_x, &of_y);
    double theta = 2 * length / (1 - at.xx);
    double shrink = theta < SMALL ? 1 - theta * theta / 6 : theta / sinh(theta);
    double along = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = scale * (v[i] + of_x * x[i] + of_y * (y.x * x[i] + y.y * u[i]));
        along += v[i] * u[i] / length;
    }
    for (size_t i = 0; i < n; i++) {
        double direction = u[i] / length;
        v[i] = shrink * (v[i] - along * direction) + along * direction;
    }
}

static double rest(const fm_space_part *part, const double *x, const double *output)
{
    double lambda = 2 / (1 - fm_unit_dot(part->n, x, x));
    return (double)part->n * lambda * fm_unit_dot(part->n, x, output);
}

/* exp_0 of N(0, std^2) in the metric at the centre, where lambda is 2. */
static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    (void)uniforms;
    double length = part->source.std * sqrt(fm_unit_dot(part->n, normals, normals));
    double factor = length > 0 ? part->source.std * tanh(0.5 * length) / length : 0;
    for (size_t i = 0; i < part->n; i++) {
        ret[i] = factor * normals[i];
    }
    project(part, ret);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)scale;
    double n = (double)part->n, std = part->source.std;
    double r = 2 * atanh(fmin(sqrt(fm_unit_dot(part->n, x, x)), MOST));
    double log_shrink = r < SMALL ? -r * r / 6 : log(r / sinh(r));
    return -0.5 * (r / std) * (r / std) - n * (0.5 * FM_LOG_TWO_PI + log(std)) +
           (n - 1) * log_shrink;
}

const fm_unit_type fm_unit_hyperbolic = {.rule = "must be shorter than 1",
                                         .sources = FM_SOURCE_BIT(WRAPPED_NORMAL),
                                         .least = 1,
                                         .most = SIZE_MAX,
                                         .sizes = sizes,
                                         .accept = accept,
                                         .exp = move,
                                         .log = difference,
                                         .distance = distance,
                                         .project = project,
                                         .pull = pull,
                                         .input = fm_unit_copy,
                                         .velocity = fm_unit_copy_at,
                                         .push = fm_unit_copy_at,
                                         .coordinates = fm_unit_copy_at,
                                         .rest = rest,
                                         .draw = draw,
                                         .source_log_density = source_log_density};
