/* A function of time between points. */
#ifndef FM_TABLE_H
#define FM_TABLE_H

#include <stddef.h>

/* Linear between the points, constant beyond; times [n] ascend strictly, n >= 1. */
static inline double fm_table_at(size_t n, const double *times, const double *values, double t)
{
    size_t last = n - 1, i = 0;
    if (t <= times[0]) {
        return values[0];
    }
    if (t >= times[last]) {
        return values[last];
    }
    while (times[i + 1] < t) {
        i++;
    }
    double where = (t - times[i]) / (times[i + 1] - times[i]);
    return values[i] + where * (values[i + 1] - values[i]);
}

#endif
