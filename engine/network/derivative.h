/* Derivatives of a plan's outputs with respect to the state: where their memory lies, and their runs.
 *
 * fm_plan_finish() places; fm_network_ops.jvp and .vjp run. */
#ifndef FM_DERIVATIVE_H
#define FM_DERIVATIVE_H

#include "engine/network/plan.h"

/* Of a plan whose own memory is placed. Errors: FM_ENOMEM; FM_ETOOBIG the sizes overflow. */
FM_MUST_USE fm_status fm_plan_place_tangents(fm_plan *plan, fm_error *err);
/* For a plan that is reversible: as many rows a call, down to one, as take at most bound_bytes.
 * Errors: as above. */
FM_MUST_USE fm_status fm_plan_place_gradients(fm_plan *plan, size_t bound_bytes, fm_error *err);
/* The same values and ops, to be placed elsewhere. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fm_plan_view_new(const fm_plan *plan, fm_plan **ret, fm_error *err);
/* Two views of a plan, for so many rows: all values kept in the first, their cotangents beside them in the second, in
 * one scratch, whose size is the first's. The ops' scratch is the first's of eval and the second's of vjp.
 * Errors: FM_ENOMEM, FM_ETOOBIG. */
FM_MUST_USE fm_status fm_plan_place_reverse(fm_plan *kept, fm_plan *gradients, size_t rows,
                                            fm_error *err);
void fm_plan_view_free(fm_plan *view); /* takes NULL */

size_t fm_plan_tangent_scratch_bytes(const fm_plan *plan); /* 0 where nothing varies */
size_t fm_plan_reverse_scratch_bytes(const fm_plan *plan); /* 0 where there is no reverse mode */

/* fm_network_ops.jvp's and .vjp's contracts. */
FM_MUST_USE fm_status fm_plan_jvp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, void *tangent_scratch, fm_team *team);
FM_MUST_USE fm_status fm_plan_vjp(const fm_plan *plan, const fm_tile_row *rows, size_t n_rows,
                                  void *scratch, fm_team *team);

#endif
