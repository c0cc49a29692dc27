/* The velocity field of a model: what makes a network's output a velocity in the one convention.
 *
 * A field does not evaluate anything. For one velocity at (x, t) of one trajectory it says which network
 * rows are needed (one, or a guided pair) and what they are fed, and afterwards turns their outputs into
 * dx/dt or into another quantity of the flow. So rows of any trajectories share a network call. Decorators
 * (time direction and scale, prediction, change of the path, guidance) are steps of ask and answer.
 *
 * Guidance: v = v_null + scale (v_label - v_null), in all channels or in the first few, where the others
 * stay v_label. Scales 0 (of all channels) and 1 cost one row. As readings of one state are affine in the
 * output, it may be done before them.
 * Source: Ho and Salimans, arXiv:2207.12598; for flows Zheng et al., arXiv:2311.13443.
 *
 * Change of the path: a model of the path (alpha, sigma) serves any other path (a, b) of the same source. At the
 * time where alpha/sigma = a/b the states differ by the factor s = (a + b) / (alpha + sigma) alone, and what the
 * network says of x1 and of the noise holds on both; so u = da x1 + db noise, which is finite at both ends.
 * Source: Lipman et al., arXiv:2412.06264, section 4.6.2, in another form. */
#ifndef FM_FIELD_H
#define FM_FIELD_H

#include "engine/checkpoint/model_config.h"
#include "engine/flow/guidance.h"
#include "engine/flow/prediction.h"

#define FM_FIELD_MAX_ROWS                                                                          \
    (2 + FM_MAX_GUIDANCE_CONDITIONS) /* network rows that one velocity may need */
#define FM_FIELD_LIKELIHOOD_FROM 1e-3

typedef struct fm_field {
    fm_path path; /* that the model was trained on */
    fm_predictions predictions;
    bool data_to_noise;
    double time_scale;
    bool has_null_label;
    int32_t null_label;
    size_t channels; /* the first axis of the shape */
} fm_field;

/* The guidance, or NULL where a velocity under it is the unguided one at any time and with any label. */
const fm_guidance *fm_field_guidance(const fm_field *field, const fm_guidance *guidance);

/* What distinguishes one trajectory's field from another's of the same model. */
typedef struct fm_condition {
    int32_t label, negative_label; /* the latter where the guidance has negative labels */
    const fm_guidance *guidance;   /* NULL: none */
    const fm_path *path;           /* that the trajectory follows, or NULL: the model's */
    double *momentum; /* [predictions][dimension] of the guidance's projection, or NULL */
} fm_condition;

/* A network row. */
typedef struct fm_field_ask {
    double t;           /* what the network is fed */
    double state_scale; /* what the state is multiplied by for it; of all rows the same */
    int32_t label;
} fm_field_ask;

/* The field at one time of a trajectory. */
typedef struct fm_field_at {
    double network_t;      /* what the network is fed */
    double state_scale;    /* what the state is multiplied by for the network */
    fm_reading reading;    /* of the trajectory's state and the network's output */
    double score_of_noise; /* score = this times the reading's score_noise */
} fm_field_at;

void fm_field_init(fm_field *ret, const fm_model_config *config);

/* The most network rows that a velocity under this condition takes at any time. */
size_t fm_field_most_rows(const fm_field *field, const fm_condition *condition);

/* The rows to evaluate for the velocity at canonical time t; returns their number. The first is the one with the
 * label, unless nothing of it is wanted. */
size_t fm_field_asks(const fm_field *field, const fm_condition *condition, double t,
                     fm_field_ask ret[FM_FIELD_MAX_ROWS]);

/* What the rows are fed at canonical time t of the trajectory, and what their outputs mean: everything, for t in
 * [0, 1], or what the velocity needs, which of a velocity prediction on its own path is nothing of the path. */
fm_field_at fm_field_at_time(const fm_field *field, const fm_condition *condition, double t);
fm_field_at fm_field_velocity_at(const fm_field *field, const fm_condition *condition, double t);

/* What is asked beside the network's own rows; NULL: nothing. */
typedef struct fm_field_asides {
    const fm_model *model, *classifier; /* of the guidance */
} fm_field_asides;

fm_field_asides fm_field_asks_beside(const fm_field *field, const fm_condition *condition,
                                     double t);

/* What a network that tells a likelihood is fed for the state at canonical time t, as the field says for its own:
 * network_t and state_scale by the clock of that network, which knows the same path.
 *   of  the field of the network that tells it */
fm_field_ask fm_field_ask_likelihood(const fm_field *field, const fm_field *of,
                                     const fm_condition *condition, double t);

/* What the rows gave. */
typedef struct fm_field_outputs {
    double *out;          /* [predictions][dimension] of row 0; becomes the combination */
    const double *others; /* idem of row i at others + (i - 1) * stride */
    size_t stride;
    const double *model; /* idem of the guidance's model, where it was asked */
    /* [dimension] of log likelihoods, by the model's own state, weighted; or NULL. */
    const double *gradient;
} fm_field_outputs;

/* Guidance: out becomes the combination, of each of the network's predictions. */
void fm_field_combine(const fm_field *field, const fm_condition *condition, double t,
                      size_t dimension, const fm_field_outputs *outputs);

/* Guidance, then the velocity and the score at canonical time t.
 *   x      [dimension] the trajectory's state
 *   v      [dimension]; may be outputs->out
 *   score  [dimension], or NULL: not wanted */
void fm_field_answer(const fm_field *field, const fm_condition *condition, double t,
                     size_t dimension, const double *x, const fm_field_outputs *outputs, double *v,
                     double *score);

/* A quantity of the flow at state x from the network's (combined) output there.
 *   out  [predictions][dimension]
 *   ret  [dimension]; may be `out` */
void fm_field_read(fm_linear reading, size_t dimension, const double *x, const double *out,
                   double *ret);

/* Element i of the same; terms without weight are not read. */
static inline double fm_field_element(fm_linear reading, size_t dimension, const double *x,
                                      const double *out, size_t i)
{
    double value = reading.x == 0.0 ? 0.0 : reading.x * x[i];
    value += reading.out == 0.0 ? 0.0 : reading.out * out[i];
    value += reading.second == 0.0 ? 0.0 : reading.second * out[dimension + i];
    return value;
}

/* The reading of a vector field. */
fm_linear fm_field_reading(const fm_field_at *at, fm_field_id id);

#endif
