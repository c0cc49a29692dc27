/* Latents: joined two by two, and drawn anew in part. */
#include "engine/flow/path.h"
#include "engine/fm_latent.h"
#include "engine/math/rng.h"
#include "engine/name.h"

#include <assert.h>
#include <math.h>

/* sin theta below which a great circle is a line to half a double's digits, or has no one direction. */
#define LEAST_SINE 1e-8

static const char *const names[FM_N_INTERPOLATIONS] = {
    [FM_INTERPOLATION_SLERP] = "slerp",
    [FM_INTERPOLATION_VARIANCE_PRESERVING] = "variance_preserving",
    [FM_INTERPOLATION_LINEAR] = "linear",
};

fm_interpolation fm_interpolation_find(const char *name)
{
    return (fm_interpolation)fm_name_find(names, FM_N_INTERPOLATIONS, name);
}

const char *fm_interpolation_name(fm_interpolation interpolation)
{
    return names[interpolation];
}

static double norm(size_t dimension, const double *x)
{
    double square = 0;
    for (size_t i = 0; i < dimension; i++) {
        square += x[i] * x[i];
    }
    return sqrt(square);
}

/* Of the unit vectors by the half angle, whose tangent is |a - b| / |a + b|: an arc cosine loses half of the digits of
 * small angles. NAN where a vector is 0. */
static double angle(size_t dimension, const double *a, const double *b)
{
    double a_norm = norm(dimension, a), b_norm = norm(dimension, b), sum = 0, difference = 0;
    for (size_t i = 0; i < dimension; i++) {
        double left = a[i] / a_norm, right = b[i] / b_norm;
        sum += (left + right) * (left + right);
        difference += (left - right) * (left - right);
    }
    return 2 * atan2(sqrt(difference), sqrt(sum));
}

void fm_interpolate(fm_interpolation interpolation, size_t dimension, const double *a,
                    const double *b, double weight, double *ret)
{
    double of_a = 1 - weight, of_b = weight;
    if (interpolation == FM_INTERPOLATION_SLERP) {
        double theta = angle(dimension, a, b), sine = sin(theta);
        if (sine > LEAST_SINE) {
            of_a = sin((1 - weight) * theta) / sine;
            of_b = sin(weight * theta) / sine;
        }
    } else if (interpolation == FM_INTERPOLATION_VARIANCE_PRESERVING) {
        double scale = sqrt(of_a * of_a + of_b * of_b);
        of_a /= scale;
        of_b /= scale;
    }
    for (size_t i = 0; i < dimension; i++) {
        ret[i] = of_a * a[i] + of_b * b[i];
    }
}

void fm_latent_renew(const fm_path *path, double t, uint64_t seed, size_t row, double share,
                     size_t dimension, double *x)
{
    double noise[2]; /* what a block of the generator gives */
    double kept = sqrt(1 - share * share), drawn = share * fm_path_at(path, t).sigma;
    assert(share >= 0 && share <= 1);
    for (size_t i = 0; share > 0 && i < dimension; i += 2) {
        size_t n = dimension - i < 2 ? dimension - i : 2;
        fm_rng_normal(seed, row, FM_RNG_SOURCE_NOISE, i, n, noise);
        for (size_t k = 0; k < n; k++) {
            x[i + k] = kept * x[i + k] + drawn * noise[k];
        }
    }
}
