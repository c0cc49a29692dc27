/* Activation names. */
#include "engine/math/activation.h"

#include <string.h>

static const char *const names[] = {
    [FM_ACTIVATION_NONE] = "none",
#define FM_ACTIVATION(id, name) [FM_ACTIVATION_##id] = (name),
#include "engine/math/activation.def"
#undef FM_ACTIVATION
};

fm_activation fm_activation_find(const char *name)
{
    for (size_t i = FM_ACTIVATION_NONE + 1; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (fm_activation)i;
        }
    }
    return FM_ACTIVATION_NONE;
}

const char *fm_activation_name(fm_activation activation)
{
    return names[activation];
}
