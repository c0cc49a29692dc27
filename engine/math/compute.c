/* Precision names. */
#include "engine/math/compute.h"

static const char *const names[] = {
#define FM_COMPUTE(id, name) [FM_COMPUTE_##id] = (name),
#include "engine/math/compute.def"
#undef FM_COMPUTE
};

const char *fm_compute_name(fm_compute compute)
{
    return names[compute];
}
