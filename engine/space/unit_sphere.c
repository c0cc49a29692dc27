/* Unit vectors: the sphere S^(n-1) in R^n. Volume: surface measure.
 *
 *   exp_x(u) = cos|u| x + sin|u| u / |u|       log_x(y) = theta (y - cos theta x) / sin theta, cos theta = x . y
 *   d exp_x at u: the part of a slope along u is carried along the geodesic, the rest of it times sin|u| / |u|
 *   div v of v = (1 - x x^T) out: the trace of J over the tangent space, less (n - 1) x . out
 *
 * The angle is taken from sine and cosine together, for the arc cosine of a rounded cosine is wrong near 0 and nothing
 * beyond 1. Coordinates are those of x's Householder frame: H = 1 - w w^T 2 / |w|^2 takes the last axis to -+x, and so
 * the others to a basis of the tangent space. */
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>

#define ANTIPODAL 1e-14 /* a sine that may be nothing but rounding */

static fm_unit_sizes sizes(const fm_space_part *part)
{
    size_t n = part->n;
    return (fm_unit_sizes){
        .states = n, .inputs = n, .outputs = n, .velocities = n, .dimensions = n - 1, .draws = n};
}

static void project(const fm_space_part *part, double *x)
{
    double length = sqrt(fm_unit_dot(part->n, x, x));
    if (!(length > 0)) { /* the centre is as near to any point */
        x[0] = length = 1;
    }
    for (size_t i = 0; i < part->n; i++) {
        x[i] /= length;
    }
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    if (!(fabs(sqrt(fm_unit_dot(part->n, x, x)) - 1) <= slack)) {
        return false;
    }
    project(part, x);
    return true;
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    double theta = sqrt(fm_unit_dot(part->n, u, u));
    double of_x = cos(theta), of_u = fm_unit_sine_over(theta);
    for (size_t i = 0; i < part->n; i++) {
        y[i] = of_x * x[i] + of_u * u[i];
    }
    project(part, y);
}

/* y - (x . y) x */
static double across(const double *x, const double *y, double cosine, size_t i)
{
    return y[i] - cosine * x[i];
}

/* |y - (x . y) x|, by subtraction: exact where it is small. */
static double sine_between(size_t n, const double *x, const double *y, double cosine)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += across(x, y, cosine, i) * across(x, y, cosine, i);
    }
    return sqrt(square);
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    double cosine = fm_unit_dot(part->n, x, y);
    return atan2(sine_between(part->n, x, y, cosine), cosine);
}

/* Of antipodes: half a turn towards the axis that x is least along. */
static void log_of_antipode(size_t n, const double *x, double *u)
{
    size_t axis = 0;
    for (size_t i = 1; i < n; i++) {
        axis = fabs(x[i]) < fabs(x[axis]) ? i : axis;
    }
    double along = x[axis], length = sqrt(fmax(1 - along * along, 0));
    for (size_t i = 0; i < n; i++) {
        u[i] = FM_PI * ((i == axis ? 1.0 : 0.0) - along * x[i]) / length;
    }
}

/* Near the antipode what is left of y is rounding, some of it along x, and grows to a length of pi: it is made tangent
 * once more. */
static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    size_t n = part->n;
    double cosine = fm_unit_dot(n, x, y), sine = sine_between(n, x, y, cosine), along = 0;
    if (cosine < 0 && sine < ANTIPODAL) {
        log_of_antipode(n, x, u);
        return;
    }
    double weight = sine > 0 ? atan2(sine, cosine) / sine : 0;
    for (size_t i = 0; i < n; i++) {
        u[i] = weight * across(x, y, cosine, i);
        along += u[i] * x[i];
    }
    for (size_t i = 0; i < n; i++) {
        u[i] -= along * x[i];
    }
}

/* At y = exp_x(u) the geodesic runs along t = cos|u| u / |u| - sin|u| x. */
static void pull(const fm_space_part *part, const double *x, const double *u, double *v)
{
    size_t n = part->n;
    double theta = sqrt(fm_unit_dot(n, u, u));
    if (theta == 0) {
        return;
    }
    double along = (cos(theta) * fm_unit_dot(n, u, v) / theta) - sin(theta) * fm_unit_dot(n, x, v);
    double grow = fm_unit_over_sine(theta);
    for (size_t i = 0; i < n; i++) {
        double tangent = cos(theta) * u[i] / theta - sin(theta) * x[i];
        v[i] = grow * (v[i] - along * tangent) + along * u[i] / theta;
    }
}

static void input(const fm_space_part *part, const double *x, double *ret)
{
    for (size_t i = 0; i < part->n; i++) {
        ret[i] = x[i];
    }
}

static void velocity(const fm_space_part *part, const double *x, const double *output, double *v)
{
    double along = fm_unit_dot(part->n, x, output);
    for (size_t i = 0; i < part->n; i++) {
        v[i] = output[i] - along * x[i];
    }
}

/* H z, with w = x +- the last axis, z's last entry 0 (its other n - 1 given). */
static double reflection(size_t n, const double *x, size_t i)
{
    double sign = x[n - 1] < 0 ? -1 : 1;
    return i == n - 1 ? x[i] + sign : x[i];
}

static void push(const fm_space_part *part, const double *x, const double *coordinates, double *ret)
{
    size_t n = part->n;
    double along = fm_unit_dot(n - 1, x, coordinates), square = 2 * (1 + fabs(x[n - 1]));
    for (size_t i = 0; i < n; i++) {
        double own = i < n - 1 ? coordinates[i] : 0;
        ret[i] = own - 2 * along / square * reflection(n, x, i);
    }
}

static void coordinates(const fm_space_part *part, const double *x, const double *output,
                        double *ret)
{
    size_t n = part->n;
    double along = fm_unit_dot(n, x, output), square = 2 * (1 + fabs(x[n - 1])), across = 0;
    for (size_t i = 0; i < n; i++) {
        across += reflection(n, x, i) * (output[i] - along * x[i]);
    }
    for (size_t i = 0; i + 1 < n; i++) {
        ret[i] = output[i] - along * x[i] - 2 * across / square * x[i];
    }
}

static double rest(const fm_space_part *part, const double *x, const double *output)
{
    return -(double)(part->n - 1) * fm_unit_dot(part->n, x, output);
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    (void)uniforms;
    input(part, normals, ret);
    project(part, ret);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)scale;
    (void)x;
    double half = 0.5 * (double)part->n;
    int sign = 1; /* lgamma leaves it in a variable of all threads */
    return lgamma_r(half, &sign) - log(2) - half * log(FM_PI);
}

const fm_unit_type fm_unit_sphere = {.rule = "must be a unit vector",
                                     .sources = FM_SOURCE_BIT(UNIFORM),
                                     .least = 2,
                                     .most = SIZE_MAX,
                                     .sizes = sizes,
                                     .accept = accept,
                                     .exp = move,
                                     .log = difference,
                                     .distance = distance,
                                     .project = project,
                                     .pull = pull,
                                     .input = input,
                                     .velocity = velocity,
                                     .push = push,
                                     .coordinates = coordinates,
                                     .rest = rest,
                                     .draw = draw,
                                     .source_log_density = source_log_density};
