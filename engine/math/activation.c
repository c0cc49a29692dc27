/* Activation names. */
#include "engine/math/activation.h"

static const char *const names[] = {
    [FM_ACTIVATION_NONE] = "none",
#define FM_ACTIVATION(id, name) [FM_ACTIVATION_##id] = (name),
#include "engine/math/activation.def"
#undef FM_ACTIVATION
};

const char *fm_activation_name(fm_activation activation)
{
    return names[activation];
}
