/* Activations by name, with PyTorch's default parameters: leaky_relu 0.01, softplus beta 1, elu 1. */
#ifndef FM_ACTIVATION_H
#define FM_ACTIVATION_H

typedef enum fm_activation {
    FM_ACTIVATION_NONE,
#define FM_ACTIVATION(id, name) FM_ACTIVATION_##id,
#include "engine/math/activation.def"
#undef FM_ACTIVATION
} fm_activation;

const char *fm_activation_name(fm_activation activation);

#endif
