/* How much of a layer is run: derivatives need its parts. */
#ifndef FM_LAYER_PART_H
#define FM_LAYER_PART_H

typedef enum fm_layer_part {
    FM_LAYER_WHOLE,
    FM_LAYER_AFFINE, /* without its activation: what the activation's slope is taken at */
    FM_LAYER_LINEAR, /* nor a bias: its derivative */
} fm_layer_part;

#endif
