/* A network whose output is the gradient with respect to x of a number s that is made of another network's outputs.
 *
 *   potential   s = the one output; its gradient is the velocity (Neklyudov et al., arXiv:2210.06662)
 *   classifier  s = log p(label | x, t) (engine/network/classifier.h)
 *
 *   eval   one reverse pass of the other network, of the cotangents d s / d outputs
 *   jvp    the Hessian of s times a tangent v, by central differences of gradients along v, |v| set to
 *          h = FM_GRADIENT_STEP: (grad s(x + h v) - grad s(x - h v)) / 2 h; in float32 it has about four digits
 * There is no vjp. */
#ifndef FM_GRADIENT_NETWORK_H
#define FM_GRADIENT_NETWORK_H

#include "engine/network/network.h"

#define FM_GRADIENT_STEP 0.01

/* Replaces a row's n outputs by d s / d outputs. */
typedef void (*fm_gradient_slopes)(size_t n, int32_t label, double *outputs);

/* Takes `inner` over, on failure too; it has a reverse mode.
 *   slopes  NULL: s is the one output
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_gradient_network_new(fm_network *inner, fm_gradient_slopes slopes,
                                              fm_network **ret, fm_error *err);
/* The network whose outputs s is made of; any other's is itself. */
const fm_network *fm_gradient_network_inner(const fm_network *network);

#endif
