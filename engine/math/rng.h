/* Counter-based random numbers: Philox4x32-10.
 *
 * There is no state: a number is a pure function of (seed, sample, stream, position), so what a sample
 * receives depends on nothing that happens beside it.
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405. */
#ifndef FM_RNG_H
#define FM_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct fm_philox_block {
    uint32_t word[4];
} fm_philox_block;

/* The block function itself, for the published test vectors. */
fm_philox_block fm_philox4x32_10(fm_philox_block counter, uint32_t key0, uint32_t key1);

/* What the numbers are for, so that two uses of one sample never share any. */
typedef enum fm_rng_stream {
    FM_RNG_SOURCE_NOISE, /* x0 */
    FM_RNG_SOLVER_NOISE, /* stochastic methods, one position a step */
    FM_RNG_PROBE,        /* divergence estimators */
    FM_RNG_DEQUANTIZE,   /* noise within a level */
    FM_RNG_REPLACEMENT,  /* noise of observations, one position a step */
} fm_rng_stream;

#define FM_RNG_POSITIONS ((uint64_t)1 << 57) /* numbers in one stream of one sample */

/* n standard normals, positions first … first + n - 1 of (seed, sample, stream); ret [n] float64, out.
 * first + n <= FM_RNG_POSITIONS is asserted.
 *
 * Position p is lane p % 2 of block b = p / 2 < 2^56:
 *   key      (seed low, seed high)
 *   counter  (b low 32 bits, stream << 24 | b high 24 bits, sample low, sample high)
 * which leaves room for 2^64 seeds and samples and 256 streams. The block's words w give two uniforms,
 * u0 = ((w1:w0 >> 11) | 1) 2^-53 and u1 likewise of w3:w2 (exact, in (0, 1)); Box-Muller in float64:
 *   lane 0  sqrt(-2 ln u0) cos(2 pi u1)      lane 1  sqrt(-2 ln u0) sin(2 pi u1)
 * Exactly the same bits on every CPU for the same libm. Thread: any. */
void fm_rng_normal(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t first, size_t n,
                   double *ret);
/* The same with uniform numbers in (0, 1): lane 0 is u0, lane 1 u1. */
void fm_rng_uniform(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t first, size_t n,
                    double *ret);

#endif
