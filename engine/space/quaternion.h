/* Quaternions [w, x, y, z], for engine/space. */
#ifndef FM_QUATERNION_H
#define FM_QUATERNION_H

#include <math.h>

/* ret = a b; may be neither. */
static inline void fm_quaternion_multiply(const double *a, const double *b, double *ret)
{
    ret[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
    ret[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
    ret[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1];
    ret[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0];
}

/* ret = a* b, a* being the inverse of a unit quaternion; may be neither. */
static inline void fm_quaternion_between(const double *a, const double *b, double *ret)
{
    const double inverse[4] = {a[0], -a[1], -a[2], -a[3]};
    fm_quaternion_multiply(inverse, b, ret);
}

/* The slope dq/dt = q (0, omega) / 2 of an angular velocity in the body's frame, and back. */
static inline void fm_quaternion_slope(const double *q, const double *omega, double *ret)
{
    const double half[4] = {0, 0.5 * omega[0], 0.5 * omega[1], 0.5 * omega[2]};
    fm_quaternion_multiply(q, half, ret);
}

static inline void fm_quaternion_omega(const double *q, const double *slope, double *ret)
{
    double product[4];
    fm_quaternion_between(q, slope, product);
    ret[0] = 2 * product[1];
    ret[1] = 2 * product[2];
    ret[2] = 2 * product[3];
}

/* The rotation's matrix, row-major. */
static inline void fm_quaternion_matrix(const double *q, double *ret)
{
    double w = q[0], x = q[1], y = q[2], z = q[3];
    ret[0] = 1 - 2 * (y * y + z * z);
    ret[1] = 2 * (x * y - w * z);
    ret[2] = 2 * (x * z + w * y);
    ret[3] = 2 * (x * y + w * z);
    ret[4] = 1 - 2 * (x * x + z * z);
    ret[5] = 2 * (y * z - w * x);
    ret[6] = 2 * (x * z - w * y);
    ret[7] = 2 * (y * z + w * x);
    ret[8] = 1 - 2 * (x * x + y * y);
}

static inline void fm_cross(const double *a, const double *b, double *ret)
{
    ret[0] = a[1] * b[2] - a[2] * b[1];
    ret[1] = a[2] * b[0] - a[0] * b[2];
    ret[2] = a[0] * b[1] - a[1] * b[0];
}

#endif
