/* What matrix products and convolutions multiply; sums, norms and states are float32 and wider. */
#ifndef FM_COMPUTE_H
#define FM_COMPUTE_H

#include "engine/status.h"

typedef enum fm_compute {
#define FM_COMPUTE(id, name) FM_COMPUTE_##id,
#include "engine/math/compute.def"
#undef FM_COMPUTE
} fm_compute;

const char *fm_compute_name(fm_compute compute); /* "float32" */

/* Errors: FM_EUNSUPPORTED this machine, or this build, cannot compute so. */
FM_MUST_USE fm_status fm_compute_check(fm_compute compute, fm_error *err);

#endif
