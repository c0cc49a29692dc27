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
} fm_rng_stream;

/* n standard normals, positions first … first + n - 1 of (seed, sample, stream).
 * key = seed; counter = (position block, stream and high bits, sample low, sample high); Box-Muller in
 * float64 on 53-bit uniforms in (0, 1), two per block. Exactly the same bits on every CPU for the same
 * libm. */
void fm_rng_normal(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t first, size_t n,
                   double *ret);

#endif
