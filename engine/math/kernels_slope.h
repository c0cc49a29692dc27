/* The activations' derivatives, for vectors of LANES floats.
 *
 * Part of kernels_body.h. Errors are absolute, a few 1e-7 at most: a slope multiplies, so its own
 * relative error does not matter where it is nearly 0. Arguments are bounded to where the slope is
 * still changing, so that no product of a huge and a vanished factor is NaN. */
#ifndef FM_KERNELS_SLOPE_H
#define FM_KERNELS_SLOPE_H

#include "engine/math/kernels.h"
#include "engine/math/kernels_vector.h"

/* 1 / (1 + e^-x) and 1 / (1 + e^x), neither as a difference from 1: large factors may follow. */
typedef struct sigmoids {
    vec up, down;
} sigmoids;

INLINE sigmoids sigmoids_of(vec x)
{
    vec e = exp_vec(-absolute(x));
    vec large = 1.0F / (1.0F + e), small = e * large;
    ivec positive = x > 0.0F;
    return (sigmoids){.up = choose(positive, large, small), .down = choose(positive, small, large)};
}

INLINE vec bounded(vec x, float bound)
{
    return at_most(at_least(x, -bound), bound);
}

INLINE vec none_vec(vec x)
{
    return x;
}

INLINE vec none_slope(vec x)
{
    (void)x;
    return splat(1.0F);
}

/* s (1 + x (1 - s)), s = 1 / (1 + e^-x), which is 0 before -104. */
INLINE vec silu_slope(vec x)
{
    x = bounded(x, 110.0F);
    sigmoids s = sigmoids_of(x);
    return s.up * fma_vec(x, s.down, splat(1.0F));
}

/* At 0, where there is no derivative, 0 as PyTorch has it; the other kinks follow PyTorch as well. */
INLINE vec relu_slope(vec x)
{
    return choose(x > 0.0F, splat(1.0F), splat(0.0F));
}

INLINE vec leaky_relu_slope(vec x)
{
    return choose(x > 0.0F, splat(1.0F), splat(0.01F));
}

INLINE vec elu_slope(vec x)
{
    return choose(x > 0.0F, splat(1.0F), exp_vec(at_most(x, 0.0F)));
}

INLINE vec selu_slope(vec x)
{
    const float alpha = 1.6732632423543772F, scale = 1.0507009873554805F;
    return choose(x > 0.0F, splat(scale), exp_vec(at_most(x, 0.0F)) * (alpha * scale));
}

/* 1 - tanh^2 x without the cancellation. */
INLINE vec tanh_slope(vec x)
{
    sigmoids s = sigmoids_of(x + x);
    return s.up * s.down * 4.0F;
}

INLINE vec softplus_slope(vec x)
{
    return sigmoids_of(x).up;
}

/* s + x s (1 - s) y', s = 1 / (1 + e^-y), y = sqrt(8 / pi) (x + 0.044715 x^3), |y| > 104 at 12. */
INLINE vec gelu_tanh_slope(vec x)
{
    const float c = 1.5957691216057308F;
    x = bounded(x, 12.0F);
    vec square = x * x;
    sigmoids s = sigmoids_of(x * fma_vec(square, splat(c * 0.044715F), splat(c)));
    vec rise = x * fma_vec(square, splat(3 * c * 0.044715F), splat(c));
    return fma_vec(rise * s.up, s.down, s.up);
}

/* Phi(x) + x phi(x) = Q(a) - a phi(a) at -a, 1 minus that at a, with the upper tail
 * Q(a) = e^(-a^2 / 2) t P(t), t = 1 / (1 + 0.28 a). P is a least-squares fit of Q, iterated to
 * minimax, on 0 <= a <= 9: of absolute error 3e-8, thus shorter than gelu_vec()'s. */
INLINE vec gelu_slope(vec x)
{
    const float density = 0.39894228040143268F; /* phi(0) */
    vec a = at_most(absolute(x), 20.0F);
    vec t = 1.0F / fma_vec(a, splat(0.28F), splat(1.0F));
    vec p = splat(-0.10580743F);
    p = fma_vec(p, t, splat(0.38987076F));
    p = fma_vec(p, t, splat(-0.23698832F));
    p = fma_vec(p, t, splat(0.2689061F));
    p = fma_vec(p, t, splat(0.06749835F));
    p = fma_vec(p, t, splat(0.11652053F));
    vec below = exp_vec(a * a * -0.5F) * fma_vec(t, p, a * -density);
    return choose(x > 0.0F, 1.0F - below, below);
}

#define SLOPE(function)                                                                            \
    static inline void slopes_##function(size_t n, const float *x, float *to)                      \
    {                                                                                              \
        for (size_t i = 0; i < n; i += LANES) {                                                    \
            store(to + i, function##_slope(load(x + i)));                                          \
        }                                                                                          \
    }                                                                                              \
    static inline void tangents_##function(size_t n, float *x, size_t n_tangents, size_t stride,   \
                                           float *tangents)                                        \
    {                                                                                              \
        for (size_t i = 0; i < n; i += LANES) {                                                    \
            vec at = load(x + i), slope = function##_slope(at);                                    \
            for (size_t k = 0; k < n_tangents; k++) {                                              \
                float *tangent = tangents + k * stride + i;                                        \
                store(tangent, load(tangent) * slope);                                             \
            }                                                                                      \
            store(x + i, function##_vec(at));                                                      \
        }                                                                                          \
    }
SLOPE(none)
SLOPE(silu)
SLOPE(relu)
SLOPE(elu)
SLOPE(selu)
SLOPE(gelu)
SLOPE(gelu_tanh)
SLOPE(tanh)
SLOPE(softplus)
SLOPE(leaky_relu)

typedef struct slope_functions {
    void (*slopes)(size_t n, const float *x, float *to);
    void (*tangents)(size_t n, float *x, size_t n_tangents, size_t stride, float *tangents);
} slope_functions;

static const slope_functions by_activation[] = {
    [FM_ACTIVATION_NONE] = {slopes_none, tangents_none},
    [FM_ACTIVATION_SILU] = {slopes_silu, tangents_silu},
    [FM_ACTIVATION_RELU] = {slopes_relu, tangents_relu},
    [FM_ACTIVATION_ELU] = {slopes_elu, tangents_elu},
    [FM_ACTIVATION_SELU] = {slopes_selu, tangents_selu},
    [FM_ACTIVATION_GELU] = {slopes_gelu, tangents_gelu},
    [FM_ACTIVATION_GELU_TANH] = {slopes_gelu_tanh, tangents_gelu_tanh},
    [FM_ACTIVATION_TANH] = {slopes_tanh, tangents_tanh},
    [FM_ACTIVATION_SOFTPLUS] = {slopes_softplus, tangents_softplus},
    [FM_ACTIVATION_LEAKY_RELU] = {slopes_leaky_relu, tangents_leaky_relu},
};

static inline void slopes(fm_activation activation, size_t n, const float *x, float *to)
{
    by_activation[activation].slopes(n, x, to);
}

static inline void activate_tangents(fm_activation activation, size_t n, float *x,
                                     size_t n_tangents, size_t stride, float *tangents)
{
    by_activation[activation].tangents(n, x, n_tangents, stride, tangents);
}

#endif
