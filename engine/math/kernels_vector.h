/* Vectors of LANES floats and the functions that activations are made of.
 *
 * Part of kernels_body.h, for kernels_*.c only. Arguments: LANES (4, 8 or 16). All is static, so the
 * three instruction sets never meet at link time. */
#ifndef FM_KERNELS_VECTOR_H
#define FM_KERNELS_VECTOR_H

#ifndef LANES
#define LANES 4 /* so that the header compiles alone */
#endif

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4))); /* where NaN may overflow */

#define INLINE static inline __attribute__((always_inline))

INLINE vec splat(float x)
{
    return x - (vec){0};
}

INLINE vec load(const float *from)
{
    vec x;
    memcpy(&x, from, sizeof x);
    return x;
}

INLINE void store(float *to, vec x)
{
    memcpy(to, &x, sizeof x);
}

/* a b + c, rounded once wherever the instruction set can. */
INLINE vec fma_vec(vec a, vec b, vec c)
{
#if LANES == 16 && defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif LANES == 8 && defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif LANES == 4 && defined(__FMA__)
    return (vec)_mm_fmadd_ps((__m128)a, (__m128)b, (__m128)c);
#elif LANES == 4 && defined(__ARM_NEON) && defined(__aarch64__)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* Lanes of a where the mask is all ones, of b where it is 0. */
INLINE vec choose(ivec mask, vec a, vec b)
{
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}

/* The larger, the smaller; NaN in x stays NaN (bound is not NaN). */
INLINE vec at_least(vec x, float bound)
{
#if LANES == 16 && defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)splat(bound), (__m512)x);
#elif LANES == 8 && defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)splat(bound), (__m256)x);
#elif LANES == 4 && defined(__SSE__)
    return (vec)_mm_max_ps((__m128)splat(bound), (__m128)x);
#else
    return choose(x < splat(bound), splat(bound), x);
#endif
}

INLINE vec at_most(vec x, float bound)
{
#if LANES == 16 && defined(__AVX512F__)
    return (vec)_mm512_min_ps((__m512)splat(bound), (__m512)x);
#elif LANES == 8 && defined(__AVX__)
    return (vec)_mm256_min_ps((__m256)splat(bound), (__m256)x);
#elif LANES == 4 && defined(__SSE__)
    return (vec)_mm_min_ps((__m128)splat(bound), (__m128)x);
#else
    return choose(x > splat(bound), splat(bound), x);
#endif
}

INLINE vec absolute(vec x)
{
    return (vec)((ivec)x & INT32_MAX);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + ret. For |x| < 2^20.
 * The polynomial is that of Cephes' expf (Moshier), error below 2^-25. */
INLINE vec exp_reduced(vec x, ivec *ret_n)
{
    const float magic = 0x1.8p23F; /* adding it rounds to an integer, kept in the low bits */
    vec shifted = fma_vec(x, splat(1.44269504F), splat(magic));
    *ret_n = (ivec)((uvec)shifted - (uvec)splat(magic));
    vec n = shifted - magic;
    vec r = fma_vec(n, splat(-0.693359375F), x);
    r = fma_vec(n, splat(2.12194440e-4F), r);
    vec square = r * r; /* terms in pairs: as many steps, of which half wait for another */
    vec p5 = fma_vec(splat(1.9875691500e-4F), r, splat(1.3981999507e-3F));
    vec p3 = fma_vec(splat(8.3334519073e-3F), r, splat(4.1665795894e-2F));
    vec p1 = fma_vec(splat(1.6666665459e-1F), r, splat(5.0000001201e-1F));
    vec p = fma_vec(fma_vec(p5, square, p3), square, p1);
    return fma_vec(p, square, r);
}

/* 2^n for -126 <= n <= 127. */
INLINE vec power_of_two(ivec n)
{
    return (vec)(((uvec)n + 127U) << 23);
}

/* e^x for all x: 0 and infinity beyond the range, denormals in between, NaN stays. */
INLINE vec exp_vec(vec x)
{
    ivec n;
    vec p = 1.0F + exp_reduced(at_most(at_least(x, -105.0F), 89.0F), &n);
#if LANES == 16 && defined(__AVX512F__)
    return (vec)_mm512_scalef_ps((__m512)p, _mm512_cvtepi32_ps((__m512i)n));
#else
    ivec half = n >> 1; /* 2^n alone may overflow where p 2^n does not */
    return p * power_of_two(half) * power_of_two((ivec)((uvec)n - (uvec)half));
#endif
}

/* e^x - 1 for x <= 87, accurate relative to itself near 0. */
INLINE vec expm1_vec(vec x)
{
    ivec n;
    vec p = exp_reduced(at_least(x, -30.0F), &n);
    vec scale = power_of_two(n);
    return fma_vec(p, scale, scale - 1.0F);
}

/* ln(1 + u) for 0 <= u <= 1, as 2 artanh(s), s = u / (2 + u) <= 1/3; series error below 2^-29. */
INLINE vec log1p_vec(vec u)
{
    vec s = u / (2.0F + u), z = s * s;
    vec p = splat(1.0F / 15);
    p = fma_vec(p, z, splat(1.0F / 13));
    p = fma_vec(p, z, splat(1.0F / 11));
    p = fma_vec(p, z, splat(1.0F / 9));
    p = fma_vec(p, z, splat(1.0F / 7));
    p = fma_vec(p, z, splat(1.0F / 5));
    p = fma_vec(p, z, splat(1.0F / 3));
    s += s;
    return fma_vec(p * z, s, s);
}

/* x / (1 + e^-y): 0 at x = y = -infinity, where the quotient alone would be NaN. */
INLINE vec gate(vec x, vec y)
{
    return at_least(x, -3.4e38F) / (1.0F + exp_vec(-y));
}

INLINE vec silu_vec(vec x)
{
    return gate(x, x);
}

INLINE vec relu_vec(vec x)
{
    return at_least(x, 0.0F);
}

INLINE vec leaky_relu_vec(vec x)
{
    return choose(x < 0.0F, x * 0.01F, x);
}

INLINE vec elu_vec(vec x)
{
    return choose(x > 0.0F, x, expm1_vec(at_most(x, 0.0F)));
}

INLINE vec selu_vec(vec x)
{
    const float alpha = 1.6732632423543772F, scale = 1.0507009873554805F;
    return choose(x > 0.0F, x * scale, expm1_vec(at_most(x, 0.0F)) * (alpha * scale));
}

/* (e^2|x| - 1) / (e^2|x| + 1) with the sign of x; 10 is where it has long rounded to 1. */
INLINE vec tanh_vec(vec x)
{
    vec a = at_most(absolute(x), 10.0F);
    vec e = expm1_vec(a + a);
    return (vec)((ivec)(e / (e + 2.0F)) | ((ivec)x & INT32_MIN));
}

INLINE vec softplus_vec(vec x)
{
    return at_least(x, 0.0F) + log1p_vec(exp_vec(-absolute(x)));
}

/* The same as 0.5 x (1 + tanh y), 2 y = sqrt(8 / pi) (x + 0.044715 x^3), without its cancellation. */
INLINE vec gelu_tanh_vec(vec x)
{
    const float c = 1.5957691216057308F;
    vec y = x * fma_vec(x * x, splat(c * 0.044715F), splat(c));
    return gate(x, y);
}

/* x Phi(x) = max(x, 0) - a Q(a), a = |x|, with the upper tail Q(a) = e^(-a^2 / 2) t P(t),
 * t = 1 / (1 + 0.3 a). P is a least-squares fit, iterated to minimax, of erfcx(a / sqrt 2) / (2 t) on
 * 0 <= a <= 14.5, relative error 4e-9; beyond, e^(-a^2 / 2) is 0. */
INLINE vec gelu_vec(vec x)
{
    vec a = at_most(absolute(x), 20.0F);
    vec t = 1.0F / fma_vec(a, splat(0.3F), splat(1.0F));
    vec p = splat(-0.0206236653F);
    p = fma_vec(p, t, splat(0.112436667F));
    p = fma_vec(p, t, splat(-0.228216022F));
    p = fma_vec(p, t, splat(0.191787705F));
    p = fma_vec(p, t, splat(-0.0794260502F));
    p = fma_vec(p, t, splat(0.0961581543F));
    p = fma_vec(p, t, splat(0.0783892125F));
    p = fma_vec(p, t, splat(0.110235512F));
    p = fma_vec(p, t, splat(0.119571805F));
    p = fma_vec(p, t, splat(0.119686693F));
    vec tail = exp_vec(a * a * -0.5F) * t * p;
    return relu_vec(x) - a * tail;
}

#endif
