/* How long a million normal float32 numbers take as a JSON array, on one core.
 *
 * Prints the best and the median of 21 runs, and the bytes of the array. */
#include "proto/number.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_VALUES 1000000
#define N_RUNS   21

/* SplitMix64, Steele, Lea and Flood 2014. */
static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double next_uniform(uint64_t *state)
{
    return ((double)(next_bits(state) >> 11) + 0.5) * 0x1p-53;
}

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void)
{
    float *values = malloc(N_VALUES * sizeof *values);
    if (values == NULL) {
        return 1;
    }
    uint64_t state = 1;
    for (size_t i = 0; i < N_VALUES; i++) {
        double radius = sqrt(-2 * log(next_uniform(&state)));
        values[i] = (float)(radius * cos(2 * 3.14159265358979323846 * next_uniform(&state)));
    }
    double run_ms[N_RUNS];
    size_t length = 0;
    for (size_t run = 0; run < N_RUNS; run++) {
        fmp_buffer buffer;
        fmp_buffer_init(&buffer, SIZE_MAX);
        double start = now_ms();
        fmp_number_write_floats(&buffer, values, 2, (const size_t[]){N_VALUES / 2, 2});
        run_ms[run] = now_ms() - start;
        length = buffer.length;
        fmp_buffer_done(&buffer);
    }
    qsort(run_ms, N_RUNS, sizeof *run_ms, compare);
    printf("number/float32 shape=[%d,2] best_ms=%.1f median_ms=%.1f bytes=%zu\n", N_VALUES / 2,
           run_ms[0], run_ms[N_RUNS / 2], length);
    free(values);
    return 0;
}
