/* What closed forms share: they are networks, so they are fed the network's time and answer in the
 * network's direction, yet their formulas are canonical. This undoes flow.time exactly where
 * the field will apply it again. */
#ifndef FM_CLOSED_FORM_H
#define FM_CLOSED_FORM_H

#include "engine/network/network.h"

typedef struct fm_closed_form {
    fm_path path;
    bool data_to_noise;
    double time_scale;
} fm_closed_form;

static inline fm_closed_form fm_closed_form_of(const fm_model_config *config, const fm_path *path)
{
    return (fm_closed_form){
        .path = *path, .data_to_noise = config->data_to_noise, .time_scale = config->time_scale};
}

/* alpha, sigma and derivatives where the network is fed t. */
static inline fm_path_point fm_closed_form_at(const fm_closed_form *form, double t)
{
    double unscaled = t / form->time_scale;
    return fm_path_at(&form->path, form->data_to_noise ? 1.0 - unscaled : unscaled);
}

/* What a canonical velocity is multiplied by to be the network's output. */
static inline double fm_closed_form_sign(const fm_closed_form *form)
{
    return form->data_to_noise ? -1.0 : 1.0;
}

/* The Jacobian of a canonical velocity from Gaussian noise is symmetric, for u = a s + b x with s the gradient of a
 * log density: a row's vjp is its jvp along the cotangent. */
static inline fm_tile_row fm_closed_form_transposed(const fm_tile_row *row)
{
    fm_tile_row ret = *row;
    ret.tangents = row->cotangent;
    ret.n_tangents = 1;
    ret.tangent_out = row->gradient;
    return ret;
}

#endif
