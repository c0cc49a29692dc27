/* Angles in [0, 2 pi): the flat torus. Volume: Lebesgue measure of the angles.
 * The wrapped normal is that of angles drawn from N(0, std^2) and wrapped, its density the sum over all windings. */
#include "engine/space/unit.h"

#include <math.h>
#include <stdint.h>

#define TWO_PI (2 * FM_PI)

static fm_unit_sizes sizes(const fm_space_part *part)
{
    size_t n = part->n;
    return (fm_unit_sizes){
        .states = n, .inputs = n, .outputs = n, .velocities = n, .dimensions = n, .draws = n};
}

/* To [0, 2 pi). */
static double wrap(double angle)
{
    double turns = floor(angle / TWO_PI), rest = angle - turns * TWO_PI;
    return rest < 0 || rest >= TWO_PI ? 0 : rest;
}

/* To [-pi, pi). */
static double wrap_around_zero(double angle)
{
    double rest = angle - TWO_PI * floor(angle / TWO_PI + 0.5);
    return rest < -FM_PI ? rest + TWO_PI : rest >= FM_PI ? rest - TWO_PI : rest;
}

static void project(const fm_space_part *part, double *x)
{
    for (size_t i = 0; i < part->n; i++) {
        x[i] = wrap(x[i]);
    }
}

static bool accept(const fm_space_part *part, double *x, double slack)
{
    (void)slack; /* any angle is one */
    for (size_t i = 0; i < part->n; i++) {
        double angle = wrap(x[i]);
        x[i] = (double)(float)angle >= TWO_PI ? 0 : angle; /* it goes out as a float32 */
    }
    return true;
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    for (size_t i = 0; i < part->n; i++) {
        y[i] = wrap(x[i] + u[i]);
    }
}

static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    for (size_t i = 0; i < part->n; i++) {
        u[i] = wrap_around_zero(y[i] - x[i]);
    }
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    double square = 0;
    for (size_t i = 0; i < part->n; i++) {
        double u = wrap_around_zero(y[i] - x[i]);
        square += u * u;
    }
    return sqrt(square);
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    bool is_normal = part->source.id == FM_SOURCE_WRAPPED_NORMAL;
    for (size_t i = 0; i < part->n; i++) {
        ret[i] = wrap(is_normal ? part->source.std * normals[i] : TWO_PI * uniforms[i]);
    }
}

/* log sum over k of N(angle + 2 pi k; 0, std^2), from its largest term. A wide one is so nearly uniform that its Fourier
 * series is shorter: 1 + 2 sum exp(-k^2 std^2 / 2) cos(k angle), over 2 pi. */
static double wrapped_log_density(double angle, double std)
{
    angle = wrap_around_zero(angle);
    double sum = 0;
    if (std > 1) {
        for (int k = 12; k > 0; k--) {
            sum += 2 * exp(-0.5 * k * k * std * std) * cos(k * angle);
        }
        return log1p(sum) - FM_LOG_TWO_PI;
    }
    double square = angle / std * (angle / std);
    for (int k = -8; k <= 8; k++) {
        double at = (angle + TWO_PI * k) / std;
        sum += exp(-0.5 * (at * at - square));
    }
    return log(sum) - 0.5 * square - 0.5 * FM_LOG_TWO_PI - log(std);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)scale;
    double sum = 0;
    if (part->source.id == FM_SOURCE_UNIFORM) {
        return -(double)part->n * FM_LOG_TWO_PI;
    }
    for (size_t i = 0; i < part->n; i++) {
        sum += wrapped_log_density(x[i], part->source.std);
    }
    return sum;
}

const fm_unit_type fm_unit_torus = {.rule = "must be angles",
                                    .sources =
                                        FM_SOURCE_BIT(UNIFORM) | FM_SOURCE_BIT(WRAPPED_NORMAL),
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
