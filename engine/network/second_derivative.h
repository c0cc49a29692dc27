/* Hessians of <cotangent, output> of a plan with respect to the state, times tangents: where their memory lies, and
 * their run.
 *
 * fm_plan_finish() places; fm_network_ops.hvp runs. */
#ifndef FM_SECOND_DERIVATIVE_H
#define FM_SECOND_DERIVATIVE_H

#include "engine/network/plan.h"

/* Of a plan whose gradients are placed: as many tangents as these have rows. Places nothing where an op that varies
 * is not differentiated twice. Errors: FM_ENOMEM; FM_ETOOBIG the sizes overflow. */
FM_MUST_USE fm_status fm_plan_place_second(fm_plan *plan, fm_error *err);

size_t fm_plan_second_scratch_bytes(const fm_plan *plan); /* 0 where nothing is placed */

/* fm_network_ops.hvp's contract. */
FM_MUST_USE fm_status fm_plan_hvp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, void *tangent_scratch);

#endif
