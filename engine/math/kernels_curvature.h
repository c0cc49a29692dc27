/* The activations' second derivatives, for vectors of LANES floats.
 *
 * Part of kernels_body.h. Errors are absolute, as those of slopes. Where there is no second derivative it is 0,
 * as PyTorch has it. */
#ifndef FM_KERNELS_CURVATURE_H
#define FM_KERNELS_CURVATURE_H

#include "engine/math/kernels_slope.h"

INLINE vec no_curvature(vec x)
{
    (void)x;
    return splat(0.0F);
}

/* s (1 - s) (2 + x (1 - 2 s)), s = 1 / (1 + e^-x). */
INLINE vec silu_curvature(vec x)
{
    x = bounded(x, 110.0F);
    sigmoids s = sigmoids_of(x);
    return s.up * s.down * fma_vec(x, s.down - s.up, splat(2.0F));
}

INLINE vec elu_curvature(vec x)
{
    return choose(x >= 0.0F, splat(0.0F), exp_vec(at_most(x, 0.0F)));
}

INLINE vec selu_curvature(vec x)
{
    const float alpha = 1.6732632423543772F, scale = 1.0507009873554805F;
    return elu_curvature(x) * (alpha * scale);
}

/* -2 tanh x (1 - tanh^2 x). */
INLINE vec tanh_curvature(vec x)
{
    sigmoids s = sigmoids_of(x + x);
    return s.up * s.down * (s.down - s.up) * 8.0F;
}

INLINE vec softplus_curvature(vec x)
{
    sigmoids s = sigmoids_of(x);
    return s.up * s.down;
}

/* s (1 - s) (2 y' + x y'' + x (1 - 2 s) y'^2), with the s and y of gelu_tanh_slope(). */
INLINE vec gelu_tanh_curvature(vec x)
{
    const float c = 1.5957691216057308F;
    x = bounded(x, 12.0F);
    vec square = x * x;
    sigmoids s = sigmoids_of(x * fma_vec(square, splat(c * 0.044715F), splat(c)));
    vec rise = fma_vec(square, splat(3 * c * 0.044715F), splat(c));
    vec straight = fma_vec(square, splat(12 * c * 0.044715F), splat(2 * c)); /* 2 y' + x y'' */
    return s.up * s.down * fma_vec(x * (s.down - s.up), rise * rise, straight);
}

/* phi(x) (2 - x^2). */
INLINE vec gelu_curvature(vec x)
{
    const float density = 0.39894228040143268F; /* phi(0) */
    x = bounded(x, 20.0F);
    vec square = x * x;
    return exp_vec(square * -0.5F) * fma_vec(square, splat(-density), splat(2 * density));
}

#define CURVATURE(function)                                                                        \
    static inline void curvatures_##function(size_t n, const float *x, float *to)                  \
    {                                                                                              \
        for (size_t i = 0; i < n; i += LANES) {                                                    \
            store(to + i, function##_curvature(load(x + i)));                                      \
        }                                                                                          \
    }
CURVATURE(no)
CURVATURE(silu)
CURVATURE(elu)
CURVATURE(selu)
CURVATURE(gelu)
CURVATURE(gelu_tanh)
CURVATURE(tanh)
CURVATURE(softplus)

typedef void (*curvatures_function)(size_t n, const float *x, float *to);

static const curvatures_function curvature_functions[] = {
    [FM_ACTIVATION_NONE] = curvatures_no,
    [FM_ACTIVATION_SILU] = curvatures_silu,
    [FM_ACTIVATION_RELU] = curvatures_no,
    [FM_ACTIVATION_ELU] = curvatures_elu,
    [FM_ACTIVATION_SELU] = curvatures_selu,
    [FM_ACTIVATION_GELU] = curvatures_gelu,
    [FM_ACTIVATION_GELU_TANH] = curvatures_gelu_tanh,
    [FM_ACTIVATION_TANH] = curvatures_tanh,
    [FM_ACTIVATION_SOFTPLUS] = curvatures_softplus,
    [FM_ACTIVATION_LEAKY_RELU] = curvatures_no,
};

static inline void curvatures(fm_activation activation, size_t n, const float *x, float *to)
{
    curvature_functions[activation](n, x, to);
}

#endif
