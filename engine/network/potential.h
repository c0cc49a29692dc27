/* A network whose one output is a potential s(x, t): as a network its output is the gradient of s with respect to x,
 * which is the velocity.
 *
 *   eval   one reverse pass of the potential's network
 *   jvp    the Hessian times a tangent v, by central differences of gradients along v, |v| set to
 *          h = FM_POTENTIAL_STEP: (grad s(x + h v) - grad s(x - h v)) / 2 h; in float32 it has about four digits
 * There is no vjp. Source: Neklyudov et al., arXiv:2210.06662. */
#ifndef FM_POTENTIAL_H
#define FM_POTENTIAL_H

#include "engine/network/network.h"

#define FM_POTENTIAL_STEP 0.01

/* Takes `inner` over, on failure too; it has one output and a reverse mode.
 * Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_potential_new(fm_network *inner, fm_network **ret, fm_error *err);
/* The network that has the potential; any other's is itself. */
const fm_network *fm_potential_inner(const fm_network *network);

#endif
