/* Monotonic seconds, for measuring; nothing in a result depends on it. */
#ifndef FM_CLOCK_H
#define FM_CLOCK_H

#include <time.h>

static inline double fm_clock_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
