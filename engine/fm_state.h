/* States of a flow, and what is known of one: its fields, rows of engine/field.def. */
#ifndef FM_FM_STATE_H
#define FM_FM_STATE_H

#define FM_MAX_RANK 8 /* of a state's shape */

/* Quantities of the flow at a state x and time t: the state itself, the velocity, the predictions of data and of
 * noise (at unit scale) that the network's output implies, and the score of the marginal. */
typedef enum fm_field_id {
#define FM_FIELD(ID, name) FM_FIELD_##ID,
#include "engine/field.def"
#undef FM_FIELD
    FM_N_VECTOR_FIELDS,
    /* Numbers: the logarithm of the marginal's density, which of given points only closed forms know
     * (fm_model_info.has_log_density), and the divergence of the velocity. */
    FM_FIELD_LOG_DENSITY = FM_N_VECTOR_FIELDS,
    FM_FIELD_DIVERGENCE,
    FM_N_FIELDS,
} fm_field_id;

#define FM_FIELD_BIT(id) (1U << (unsigned)(id)) /* in a set of fields */

const char *fm_field_name(fm_field_id id); /* "x1_hat" */

#endif
