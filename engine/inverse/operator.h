/* Linear operators H of what is observed, y = H x + noise, and their regularised pseudo-inverse.
 *
 * A kind is a row of operator.def. Every function works in the caller's scratch, of as many doubles as
 * fm_operator_scratch_size() says, and allocates nothing; results overlap neither operands nor scratch.
 * Thread: any, one scratch each. */
#ifndef FM_OPERATOR_H
#define FM_OPERATOR_H

#include "engine/fm_inverse.h"

#define FM_INVERT_ITERATIONS ((size_t)100)

struct fm_operator_type {
    const char *name;
    /* Checks the options and fills what is left open of *ret: `dimension` and the options' members are there. */
    fm_status (*init)(fm_operator *ret, const fm_operator_options *options, fm_error *err);
    bool is_image; /* the shape must be [channels, height, width] */
    void (*apply)(const fm_operator *forward, const double *x, double *ret, double *scratch);
    void (*adjoint)(const fm_operator *forward, const double *y, double *ret, double *scratch);
    /* Of kinds whose observations hold entries that nothing is known of; NULL: y - H x. */
    void (*residual)(const fm_operator *forward, const double *y, const double *x, double *ret);
    /* x += H^+ (y - H x) without rounding; NULL: as the formula says. */
    void (*replace)(const fm_operator *forward, const double *y, double *x);
};

#define FM_OPERATOR(id, name) extern const fm_operator_type fm_operator_##id;
#include "engine/inverse/operator.def"
#undef FM_OPERATOR

/* Doubles. */
size_t fm_operator_scratch_size(const fm_operator *forward);

/* ret [observation_dimension] = H x, x [dimension] */
void fm_operator_apply(const fm_operator *forward, const double *x, double *ret, double *scratch);
/* ret [dimension] = H^T y, y [observation_dimension] */
void fm_operator_adjoint(const fm_operator *forward, const double *y, double *ret, double *scratch);
/* ret [observation_dimension] = y - H x, 0 where y is not read */
void fm_operator_residual(const fm_operator *forward, const double *y, const double *x, double *ret,
                          double *scratch);

/* ret [dimension] = H^T (H H^T + lambda I)^-1 r, lambda >= 0; 0: the pseudo-inverse's H^+ r, which exists for any H.
 * At once where H H^T is a multiple of the identity, else by conjugate gradients on the normal equations
 * (H^T H + lambda I) ret = H^T r from 0, whose iterates stay in the range of H^T: at most FM_INVERT_ITERATIONS, until
 * their residual has fallen to 1e-10 of the first. Where H is ill-conditioned and lambda 0, as under a wide blur, the
 * bound regularises: directions that H hardly passes are left alone.
 * Source: Hestenes and Stiefel, doi:10.6028/jres.049.044, section 10; Bjorck, doi:10.1137/1.9781611971484, 7.4. */
void fm_operator_invert(const fm_operator *forward, double lambda, const double *r, double *ret,
                        double *scratch);

/* x += H^T (H H^T + lambda I)^-1 (y - H x): the least change of x that gives it the observation y, exactly of a mask
 * with lambda 0. */
void fm_operator_correct(const fm_operator *forward, double lambda, const double *y, double *x,
                         double *scratch);

#endif
