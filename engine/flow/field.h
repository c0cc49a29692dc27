/* The velocity field of a model: what makes a network's output a velocity in the one convention.
 *
 * A field does not evaluate anything. For one velocity at (x, t) of one trajectory it says which network
 * rows are needed (one, or a guided pair), and afterwards turns their outputs into dx/dt. So rows of
 * any trajectories share a network call. Decorators (time direction and scale, prediction, guidance)
 * are steps of ask and answer.
 *
 * Guidance: v = v_null + scale (v_label - v_null), in all channels or in the first few, where the others
 * stay v_label. Scales 0 (of all channels) and 1 cost one row.
 * Source: Ho and Salimans, arXiv:2207.12598; for flows Zheng et al., arXiv:2311.13443. */
#ifndef FM_FIELD_H
#define FM_FIELD_H

#include "engine/checkpoint/model_config.h"

#define FM_FIELD_MAX_ROWS 2 /* network rows that one velocity may need */

typedef struct fm_field {
    bool data_to_noise;
    double time_scale;
    bool has_null_label;
    int32_t null_label;
    size_t channels; /* the first axis of the shape */
} fm_field;

/* What distinguishes one trajectory's field from another's of the same model. */
typedef struct fm_condition {
    int32_t label;
    double guidance_scale;
    size_t guidance_channels; /* so many of the first channels; 0: all */
} fm_condition;

typedef struct fm_field_ask {
    double t; /* what the network is fed */
    int32_t label;
} fm_field_ask;

void fm_field_init(fm_field *ret, const fm_model_config *config);

/* How many network rows a velocity under this condition takes: 1 or 2. */
size_t fm_field_n_rows(const fm_field *field, const fm_condition *condition);

/* The rows to evaluate at x for the velocity at canonical time t; returns their number. */
size_t fm_field_asks(const fm_field *field, const fm_condition *condition, double t,
                     fm_field_ask ret[FM_FIELD_MAX_ROWS]);

/* The network wrote row 0 to v itself and row 1, if any, to other; v becomes dx/dt.
 *   v      [dimension] in and out
 *   other  [dimension] in; unused with one row */
void fm_field_answer(const fm_field *field, const fm_condition *condition, size_t dimension,
                     double *v, const double *other);

#endif
