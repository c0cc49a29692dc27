/* What a network's output says of a state: predictions as linear readings.
 *
 * On a path x_t = alpha x1 + sigma noise, every quantity of the field is a linear function of the state x and the
 * network's output at it: the data prediction x1, the noise (of unit standard deviation) and the velocity.
 * A prediction is a row of prediction.def that gives these coefficients:
 *
 *     velocity   the output is u;                     x1 = (sigma u - d_sigma x) / L, noise = (d_alpha x - alpha u) / L
 *     x1         the output is x1;                    noise = (x - alpha x1) / sigma
 *     epsilon    the output is the noise;             x1 = (x - sigma noise) / alpha
 *     score      the output is s = -noise / sigma;    idem
 *     v          the output is alpha noise - sigma x1
 *     edm        the output is F: x1 = c_skip x / alpha + c_out F, at the network's input c_in x / alpha
 *
 * with L = d_alpha sigma - alpha d_sigma, and u = d_alpha x1 + d_sigma noise.
 * Source: Lipman et al., arXiv:2412.06264, table 1; Salimans and Ho, arXiv:2202.00512, for v; Karras et al.,
 * arXiv:2206.00364, section 5, for edm. */
#ifndef FM_PREDICTION_H
#define FM_PREDICTION_H

#include "engine/flow/path.h"

typedef struct fm_prediction_type fm_prediction_type; /* a row of prediction.def */

typedef struct fm_prediction {
    const fm_prediction_type *type;
    double parameter; /* the row's; 0 where it has none */
} fm_prediction;

/* What a network returns: one prediction, or a pair, each with all channels of the state, one after the other. A pair
 * is a velocity, v or x1 and, in either order, an epsilon or score. What a head predicts is read from it:
 *
 *     velocity, v  and score     all but the score from the former
 *     velocity, v  and epsilon   the velocity and x1 from the former
 *     x1           and either    x1 from the former, the noise from the latter, u = d_alpha x1 + d_sigma noise
 *
 * so velocity and score need no relation, as where noise and data were paired in training.
 * Source: Albergo, Boffi and Vanden-Eijnden, arXiv:2303.08797, section 2, on learning both. */
typedef struct fm_predictions {
    fm_prediction first, second; /* second.type is NULL: one */
} fm_predictions;

/* A quantity as x state + out output, of a pair's first and second. */
typedef struct fm_linear {
    double x, out, second;
} fm_linear;

typedef struct fm_reading {
    fm_linear x1, noise, velocity;
    fm_linear score_noise; /* score = -this / sigma: the noise, but of a pair with a score */
} fm_reading;

/* What the network is fed where it is not the state and the time. */
typedef struct fm_network_input {
    double scale; /* of the state */
    bool has_time;
    double time; /* in place of the flow's time */
} fm_network_input;

const fm_prediction_type *fm_prediction_type_find(const char *name); /* NULL when there is none */
const char *fm_prediction_type_name(const fm_prediction_type *type);
/* The name of the row's parameter, or NULL, and its default. */
const char *fm_prediction_type_parameter(const fm_prediction_type *type, double *ret_default);

/* The coefficients at a point of the path. Those without a finite limit there are not finite. */
fm_reading fm_prediction_read(const fm_prediction *prediction, const fm_path_point *at);

/* ---- one prediction or a pair ---- */

size_t fm_predictions_count(const fm_predictions *predictions); /* 1 or 2 */
bool fm_predictions_equal(const fm_predictions *a, const fm_predictions *b);
/* Whether the two make a pair, as above. */
bool fm_predictions_pair(const fm_predictions *predictions);
/* Whether an output is a velocity itself, so that it changes its sign with the direction of time; *ret says which. */
bool fm_predictions_have_velocity(const fm_predictions *predictions, fm_linear *ret);
/* Whether the network gives the score beside another prediction: then nothing need be known of the coupling. */
bool fm_predictions_have_score(const fm_predictions *predictions);
/* Whether the velocity is made of both outputs of a pair. */
bool fm_predictions_are_mixed(const fm_predictions *predictions);
fm_reading fm_predictions_read(const fm_predictions *predictions, const fm_path_point *at);
fm_network_input fm_predictions_input(const fm_predictions *predictions, const fm_path_point *at);

#endif
