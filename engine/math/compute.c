/* Precision names. */
#include "engine/math/compute.h"

#include "engine/math/kernels16.h"

static const char *const names[] = {
#define FM_COMPUTE(id, name) [FM_COMPUTE_##id] = (name),
#include "engine/math/compute.def"
#undef FM_COMPUTE
};

const char *fm_compute_name(fm_compute compute)
{
    return names[compute];
}

fm_status fm_compute_check(fm_compute compute, fm_error *err)
{
    if (compute == FM_COMPUTE_FLOAT32 || fm_kernels16_best() != NULL) {
        return FM_OK;
    }
    return fm_fail(err, FM_EUNSUPPORTED, "%s needs a CPU with AVX512_BF16, and the oneDNN build",
                   fm_compute_name(compute));
}
