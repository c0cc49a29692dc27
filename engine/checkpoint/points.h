/* Point sets for the `dataset` architecture: .npy, .csv or .safetensors, float32 or float64. */
#ifndef FM_POINTS_H
#define FM_POINTS_H

#include "engine/status.h"

#include <stddef.h>

typedef struct fm_points {
    double *data; /* [count][dimension] */
    size_t count, dimension;
} fm_points;

/* Errors: FM_ENOTFOUND, FM_EIO, FM_ENOMEM; FM_EFORMAT says what is wrong and where. */
FM_MUST_USE fm_status fm_points_read(const char *path, fm_points *ret, fm_error *err);
void fm_points_done(fm_points *points);

#endif
