/* Philox4x32-10 and the normals made of it. */
#include "engine/math/rng.h"

#include <assert.h>
#include <math.h>

fm_philox_block fm_philox4x32_10(fm_philox_block counter, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53U * counter.word[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57U * counter.word[2];
        counter = (fm_philox_block){{
            (uint32_t)(product1 >> 32) ^ counter.word[1] ^ key0,
            (uint32_t)product1,
            (uint32_t)(product0 >> 32) ^ counter.word[3] ^ key1,
            (uint32_t)product0,
        }};
        key0 += 0x9E3779B9U; /* golden ratio */
        key1 += 0xBB67AE85U; /* sqrt(3) - 1 */
    }
    return counter;
}

/* An odd multiple of 2^-53: exact, in (0, 1), and symmetric about 1/2. */
static double uniform(uint32_t low, uint32_t high)
{
    uint64_t bits = (uint64_t)high << 32 | low;
    return (double)(bits >> 11 | 1) * 0x1p-53;
}

/* Positions 2 block and 2 block + 1. */
static void uniform_pair(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t block,
                         double ret[2])
{
    fm_philox_block counter = {{
        (uint32_t)block,
        (uint32_t)(block >> 32) | (uint32_t)stream << 24,
        (uint32_t)sample,
        (uint32_t)(sample >> 32),
    }};
    fm_philox_block bits = fm_philox4x32_10(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
    ret[0] = uniform(bits.word[0], bits.word[1]);
    ret[1] = uniform(bits.word[2], bits.word[3]);
}

static void normal_pair(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t block,
                        double ret[2])
{
    double u[2];
    uniform_pair(seed, sample, stream, block, u);
    double radius = sqrt(-2.0 * log(u[0]));
    double angle = 6.283185307179586476925286766559 * u[1];
    ret[0] = radius * cos(angle);
    ret[1] = radius * sin(angle);
}

typedef void draw_pair(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t block,
                       double ret[2]);

static void draw(draw_pair *draw_two, uint64_t seed, uint64_t sample, fm_rng_stream stream,
                 uint64_t first, size_t n, double *ret)
{
    assert(first <= FM_RNG_POSITIONS && n <= FM_RNG_POSITIONS - first);
    double pair[2];
    for (size_t i = 0; i < n;) {
        uint64_t position = first + i;
        draw_two(seed, sample, stream, position / 2, pair);
        if (position % 2 == 0 && i + 1 < n) {
            ret[i++] = pair[0];
            ret[i++] = pair[1];
        } else {
            ret[i++] = pair[position % 2];
        }
    }
}

void fm_rng_normal(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t first, size_t n,
                   double *ret)
{
    draw(normal_pair, seed, sample, stream, first, n, ret);
}

void fm_rng_uniform(uint64_t seed, uint64_t sample, fm_rng_stream stream, uint64_t first, size_t n,
                    double *ret)
{
    draw(uniform_pair, seed, sample, stream, first, n, ret);
}
