/* Linear operators, rows of engine/inverse/operator.def, and the inverse problems of what they observe. */
#ifndef FM_FM_INVERSE_H
#define FM_FM_INVERSE_H

#include "engine/annotate.h"
#include "engine/fm_state.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct fm_operator_type fm_operator_type;

#define FM_BLUR_MAX_RADIUS ((size_t)64)

/* What fm_operator_init() is told; the members that the type does not read are ignored. */
typedef struct fm_operator_options {
    size_t rank, shape[FM_MAX_RANK]; /* of one sample; images: [channels, height, width] */
    const double *values;            /* mask: [dimension] of 0 and 1; matrix: [n_rows][dimension] */
    size_t n_rows;                   /* matrix: >= 1 */
    size_t factor;                   /* average_pool: >= 1, divides height and width */
    double std;                      /* blur: in pixels, > 0 and at most FM_BLUR_MAX_RADIUS / 3 */
} fm_operator_options;

/* A linear map H from samples x [dimension] to observations [observation_dimension]; a plain value, `values` is
 * borrowed.
 *
 *     mask          the entries whose mask is 1; observations have the shape of x, and what they hold elsewhere is
 *                   not read
 *     average_pool  the means of factor x factor pixels: [channels, height / factor, width / factor]
 *     blur          each channel with a Gaussian of standard deviation std, cut off at ceil(3 std) pixels and scaled
 *                   to sum 1, rows and columns one after the other; beyond its edges the image is reflected (the
 *                   edge pixel twice), which makes H symmetric
 *     gray          of [3, height, width] the luma 0.299 R + 0.587 G + 0.114 B (Rec. ITU-R BT.601)
 *     matrix        the given one */
typedef struct fm_operator {
    const fm_operator_type *type;
    size_t dimension, observation_dimension;
    size_t n_observed; /* entries of an observation that are read: of a mask its ones, else all */
    size_t channels, height, width; /* of images, else 0 */
    size_t factor;
    const double *values;
    double taps[FM_BLUR_MAX_RADIUS + 1]; /* blur: weights of pixels at distance 0, 1, … */
    size_t radius;
    double norm_squared; /* the largest eigenvalue of H H^T; of a matrix estimated from below */
    double gram;         /* H H^T is so many times the identity, on what H can give; 0: it is not */
} fm_operator;

const fm_operator_type *fm_operator_type_find(const char *name); /* NULL when there is none */
const char *fm_operator_type_name(const fm_operator_type *type);

/* Errors: FM_EINVAL the type's rule is broken, the text names the member; FM_ENOMEM (matrix). Thread: any. */
FM_MUST_USE fm_status fm_operator_init(fm_operator *ret, const fm_operator_type *type,
                                       const fm_operator_options *options, fm_error *err);

/* How far a sample is from an observation: the root mean square of y - H x over the entries that are observed.
 *   y        [observation_dimension]
 *   x        [dimension]
 *   scratch  as many doubles as fm_operator_misfit_scratch() says
 * Thread: any, one scratch each. */
double fm_operator_misfit(const fm_operator *forward, const double *y, const float *x,
                          double *scratch);
size_t fm_operator_misfit_scratch(const fm_operator *forward);

/* What is known of samples beforehand: y = H x1 + noise of standard deviation observation_std in every entry. To replace
 * is to give the state, by its least change, the observed part alpha y + sigma H e with fresh noise e. */
typedef struct fm_inverse {
    const fm_operator *forward; /* H */
    const double *observations; /* [n_observations][observation_dimension], finite; borrowed */
    size_t n_observations;      /* one for every row, or 1: the same for all */
    double observation_std;     /* >= 0 */
    bool replaces;              /* after each step: see engine/inverse/replacement.h */
    /* Of the gradient of log p(y | x), see engine/inverse/likelihood.h; 0: none. Else the model has gradients. */
    double guidance_scale;
    /* The gradient's first time, 0 … 1: a_t has no bound at the source, where a network's Jacobian does not vanish as
     * it should. */
    double guidance_from;
} fm_inverse;

#endif
