/* What matrix products and convolutions multiply; sums, norms and states are float32 and wider. */
#ifndef FM_COMPUTE_H
#define FM_COMPUTE_H

typedef enum fm_compute {
#define FM_COMPUTE(id, name) FM_COMPUTE_##id,
#include "engine/math/compute.def"
#undef FM_COMPUTE
} fm_compute;

const char *fm_compute_name(fm_compute compute); /* "float32" */

#endif
