/* The table of operators, and what all kinds do alike. */
#include "engine/inverse/operator.h"

#include "engine/memory.h"

#include <math.h>
#include <string.h>

static const fm_operator_type *const types[] = {
#define FM_OPERATOR(id, name) &fm_operator_##id,
#include "engine/inverse/operator.def"
#undef FM_OPERATOR
};

const fm_operator_type *fm_operator_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i]->name, name) == 0) {
            return types[i];
        }
    }
    return NULL;
}

const char *fm_operator_type_name(const fm_operator_type *type)
{
    return type->name;
}

static fm_status take_shape(fm_operator *ret, const fm_operator_options *options, fm_error *err)
{
    const char *name = ret->type->name;
    bool is_image = ret->type->is_image;
    ret->dimension = 1;
    if (options->rank == 0 || options->rank > FM_MAX_RANK) {
        return fm_fail(err, FM_EINVAL, "shape must have 1 to %d axes", FM_MAX_RANK);
    }
    for (size_t i = 0; i < options->rank; i++) {
        if (!fm_multiply(ret->dimension, options->shape[i], &ret->dimension) ||
            ret->dimension == 0 || ret->dimension > SIZE_MAX / 64) {
            return fm_fail(err, FM_EINVAL, "shape must have positive axes of a possible product");
        }
    }
    if (is_image && options->rank != 3) {
        return fm_fail(err, FM_EINVAL, "shape must be [channels, height, width] for %s", name);
    }
    if (is_image) {
        ret->channels = options->shape[0];
        ret->height = options->shape[1];
        ret->width = options->shape[2];
    }
    return FM_OK;
}

fm_status fm_operator_init(fm_operator *ret, const fm_operator_type *type,
                           const fm_operator_options *options, fm_error *err)
{
    fm_operator made = {.type = type};
    fm_status status = take_shape(&made, options, err);
    if (status == FM_OK) {
        status = type->init(&made, options, err);
    }
    if (status == FM_OK) {
        made.n_observed = made.n_observed > 0 ? made.n_observed : made.observation_dimension;
        *ret = made;
    }
    return status;
}

/* ---- scratch: a kind's own, then the buffers of the longest function, fm_operator_correct() ---- */

/* A blurred plane between its two passes. */
static size_t own_size(const fm_operator *forward)
{
    return forward->height * forward->width;
}

size_t fm_operator_scratch_size(const fm_operator *forward)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    size_t correct = n + m, invert = forward->gram > 0 ? 0 : 2 * n + 2 * m;
    return own_size(forward) + correct + invert;
}

void fm_operator_apply(const fm_operator *forward, const double *x, double *ret, double *scratch)
{
    forward->type->apply(forward, x, ret, scratch);
}

void fm_operator_adjoint(const fm_operator *forward, const double *y, double *ret, double *scratch)
{
    forward->type->adjoint(forward, y, ret, scratch);
}

void fm_operator_residual(const fm_operator *forward, const double *y, const double *x, double *ret,
                          double *scratch)
{
    if (forward->type->residual != NULL) {
        forward->type->residual(forward, y, x, ret);
        return;
    }
    forward->type->apply(forward, x, ret, scratch);
    for (size_t i = 0; i < forward->observation_dimension; i++) {
        ret[i] = y[i] - ret[i];
    }
}

void fm_operator_correct(const fm_operator *forward, double lambda, const double *y, double *x,
                         double *scratch)
{
    if (forward->type->replace != NULL && lambda == 0) {
        forward->type->replace(forward, y, x);
        return;
    }
    double *residual = scratch, *change = scratch + forward->observation_dimension;
    double *rest = change + forward->dimension;
    fm_operator_residual(forward, y, x, residual, rest);
    fm_operator_invert(forward, lambda, residual, change, rest);
    for (size_t i = 0; i < forward->dimension; i++) {
        x[i] += change[i];
    }
}

size_t fm_operator_misfit_scratch(const fm_operator *forward)
{
    return forward->dimension + forward->observation_dimension + own_size(forward);
}

double fm_operator_misfit(const fm_operator *forward, const double *y, const float *x,
                          double *scratch)
{
    size_t n = forward->dimension, m = forward->observation_dimension;
    double *wide = scratch, *residual = scratch + n, sum = 0;
    for (size_t i = 0; i < n; i++) {
        wide[i] = (double)x[i];
    }
    fm_operator_residual(forward, y, wide, residual, residual + m);
    for (size_t i = 0; i < m; i++) {
        sum += residual[i] * residual[i];
    }
    return sqrt(sum / (double)forward->n_observed);
}
