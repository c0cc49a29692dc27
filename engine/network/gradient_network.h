/* A network whose output is the gradient with respect to x of a number s that is made of another network's outputs.
 *
 *   potential   s = the one output; its gradient is the velocity (Neklyudov et al., arXiv:2210.06662)
 *   classifier  s = log p(label | x, t) (engine/network/classifier.h)
 *
 *   eval   one reverse pass of the other network, of the cotangents d s / d outputs
 *   jvp    of a potential alone: the Hessian of s times the tangents, one Hessian-vector product of the other network
 *          (engine/network/second_derivative.h). max_tangents is 0, and there is no jvp, where that has none: of a
 *          network whose products are in bfloat16; and of a classifier, whose jvp nobody needs.
 * There is no vjp. */
#ifndef FM_GRADIENT_NETWORK_H
#define FM_GRADIENT_NETWORK_H

#include "engine/network/network.h"

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
