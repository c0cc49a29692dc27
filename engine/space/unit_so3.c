/* Rotations: SO(3), as unit quaternions q, of which q and -q are the same. Volume: the Haar probability measure.
 *
 *   slope    dq/dt = q (0, omega) / 2, omega the angular velocity in the body's frame: its coordinates
 *   exp      q exp(theta / 2), theta the slope's omega;      log: the shorter way round, its angle at most pi
 *   d exp    y = q exp(theta):  theta' = omega + theta x omega / 2 + c theta x (theta x omega),
 *            c = (1 - (|theta| / 2) cot(|theta| / 2)) / |theta|^2
 *
 * Left-invariant fields have no divergence, so that of omega as an output there is nothing but its trace; of a
 * quaternion's slope it is the sphere's. Networks are fed the representative with w >= 0; steps keep the sign that they
 * start with, for a slope belongs to one of the two.
 * Source: Chirikjian, "Stochastic Models, Information Theory, and Lie Groups", volume 2, 10.8, on the Jacobians. */
#include "engine/space/quaternion.h"
#include "engine/space/unit.h"

#include <string.h>

#define SMALL 1e-4

static fm_unit_sizes sizes(const fm_space_part *part)
{
    bool is_matrix = part->representation == FM_REPRESENTATION_MATRIX;
    return (fm_unit_sizes){.states = 4,
                           .inputs = is_matrix ? 9 : 4,
                           .outputs = is_matrix ? 3 : 4,
                           .velocities = 4,
                           .dimensions = 3,
                           .draws = 4};
}

static void project(const fm_space_part *part, double *q)
{
    (void)part;
    double length = sqrt(fm_unit_dot(4, q, q));
    if (!(length > 0)) {
        q[0] = length = 1;
    }
    for (size_t i = 0; i < 4; i++) {
        q[i] /= length;
    }
}

static double sign_of(const double *q)
{
    return q[0] < 0 ? -1 : 1;
}

static bool accept(const fm_space_part *part, double *q, double slack)
{
    if (!(fabs(sqrt(fm_unit_dot(4, q, q)) - 1) <= slack)) {
        return false;
    }
    project(part, q);
    double sign = sign_of(q);
    for (size_t i = 0; i < 4; i++) {
        q[i] *= sign;
    }
    return true;
}

static void move(const fm_space_part *part, const double *x, const double *u, double *y)
{
    double theta[3], turn[4], moved[4];
    fm_quaternion_omega(x, u, theta);
    double half = 0.5 * sqrt(fm_unit_dot(3, theta, theta));
    turn[0] = cos(half);
    for (size_t i = 0; i < 3; i++) {
        turn[i + 1] = 0.5 * fm_unit_sine_over(half) * theta[i];
    }
    fm_quaternion_multiply(x, turn, moved);
    memcpy(y, moved, sizeof moved);
    project(part, y);
}

/* The rotation vector from x to y by the shorter way; returns its angle. */
static double rotation_between(const double *x, const double *y, double *ret)
{
    double turn[4];
    fm_quaternion_between(x, y, turn);
    double sign = sign_of(turn), sine = sqrt(fm_unit_dot(3, turn + 1, turn + 1));
    double angle = 2 * atan2(sine, fabs(turn[0]));
    double weight = sine > 0 ? sign * angle / sine : 0;
    for (size_t i = 0; i < 3; i++) {
        ret[i] = weight * turn[i + 1];
    }
    return angle;
}

static void difference(const fm_space_part *part, const double *x, const double *y, double *u)
{
    (void)part;
    double theta[3];
    (void)rotation_between(x, y, theta);
    fm_quaternion_slope(x, theta, u);
}

static double distance(const fm_space_part *part, const double *x, const double *y)
{
    (void)part;
    double theta[3];
    return rotation_between(x, y, theta);
}

static double curvature_weight(double angle)
{
    if (angle < SMALL) {
        return 1.0 / 12 + angle * angle / 720;
    }
    double half = 0.5 * angle;
    return (1 - half * cos(half) / sin(half)) / (angle * angle);
}

static void pull(const fm_space_part *part, const double *x, const double *u, double *v)
{
    double theta[3], omega[3], once[3], twice[3], y[4];
    fm_quaternion_omega(x, u, theta);
    move(part, x, u, y);
    fm_quaternion_omega(y, v, omega);
    fm_cross(theta, omega, once);
    fm_cross(theta, once, twice);
    double weight = curvature_weight(sqrt(fm_unit_dot(3, theta, theta)));
    for (size_t i = 0; i < 3; i++) {
        omega[i] += 0.5 * once[i] + weight * twice[i];
    }
    fm_quaternion_slope(x, omega, v);
}

static void input(const fm_space_part *part, const double *x, double *ret)
{
    if (part->representation == FM_REPRESENTATION_MATRIX) {
        fm_quaternion_matrix(x, ret);
        return;
    }
    double sign = sign_of(x);
    for (size_t i = 0; i < 4; i++) {
        ret[i] = sign * x[i];
    }
}

/* The angular velocity that an output stands for. */
static void coordinates(const fm_space_part *part, const double *x, const double *output,
                        double *ret)
{
    if (part->representation == FM_REPRESENTATION_MATRIX) {
        memcpy(ret, output, 3 * sizeof *ret);
        return;
    }
    double sign = sign_of(x);
    fm_quaternion_omega(x, output, ret); /* what is along q has no part in it */
    for (size_t i = 0; i < 3; i++) {
        ret[i] *= sign;
    }
}

static void velocity(const fm_space_part *part, const double *x, const double *output, double *v)
{
    double omega[3];
    coordinates(part, x, output, omega);
    fm_quaternion_slope(x, omega, v);
}

static void push(const fm_space_part *part, const double *x, const double *omega, double *ret)
{
    if (part->representation == FM_REPRESENTATION_QUATERNION) {
        double sign = sign_of(x);
        fm_quaternion_slope(x, omega, ret);
        for (size_t i = 0; i < 4; i++) {
            ret[i] *= sign;
        }
        return;
    }
    double matrix[9];
    fm_quaternion_matrix(x, matrix);
    for (size_t row = 0; row < 3; row++) { /* of R times the cross product's matrix */
        const double *r = matrix + 3 * row;
        ret[3 * row] = r[1] * omega[2] - r[2] * omega[1];
        ret[3 * row + 1] = r[2] * omega[0] - r[0] * omega[2];
        ret[3 * row + 2] = r[0] * omega[1] - r[1] * omega[0];
    }
}

static double rest(const fm_space_part *part, const double *x, const double *output)
{
    bool is_matrix = part->representation == FM_REPRESENTATION_MATRIX;
    return is_matrix ? 0 : -3 * sign_of(x) * fm_unit_dot(4, x, output);
}

static void draw(const fm_space_part *part, double scale, const double *normals,
                 const double *uniforms, double *ret)
{
    (void)scale;
    (void)uniforms;
    memcpy(ret, normals, 4 * sizeof *ret);
    project(part, ret);
}

static double source_log_density(const fm_space_part *part, double scale, const double *x)
{
    (void)part;
    (void)scale;
    (void)x;
    return 0;
}

const fm_unit_type fm_unit_so3 = {.rule = "must be a unit quaternion [w, x, y, z]",
                                  .sources = FM_SOURCE_BIT(UNIFORM),
                                  .least = 4,
                                  .most = 4,
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
