/* The velocity field: a fixed chain of steps between a solver and a network.
 *
 * Downwards (asks): guidance chooses the labels, then each row's time passes through the clock.
 * Upwards (answer): the same steps in reverse order, the clock's sign and guidance's combination.
 * A further decorator is one more step in each of the two directions; callers see only rows. */
#include "engine/flow/field.h"

#include <assert.h>

void fm_field_init(fm_field *ret, const fm_model_config *config)
{
    *ret = (fm_field){.data_to_noise = config->data_to_noise,
                      .time_scale = config->time_scale,
                      .has_null_label = config->has_null_label,
                      .null_label = config->null_label,
                      .channels = config->shape[0]};
}

/* ---- guidance ---- */

static bool some_stay(const fm_field *field, const fm_condition *condition)
{
    return condition->guidance_channels > 0 && condition->guidance_channels < field->channels;
}

/* The rows' labels; the second is always the null class. */
static size_t guidance_labels(const fm_field *field, const fm_condition *condition,
                              int32_t ret[FM_FIELD_MAX_ROWS])
{
    double scale = condition->guidance_scale;
    bool only_null = scale == 0.0 && !some_stay(field, condition);
    ret[0] = field->has_null_label && only_null ? field->null_label : condition->label;
    ret[1] = field->null_label;
    return !field->has_null_label || scale == 1.0 || ret[0] == field->null_label ? 1 : 2;
}

static void guidance_combine(const fm_field *field, const fm_condition *condition, size_t dimension,
                             double *v, const double *null)
{
    double scale = condition->guidance_scale;
    size_t guided = some_stay(field, condition)
                        ? dimension / field->channels * condition->guidance_channels
                        : dimension;
    for (size_t i = 0; i < guided; i++) {
        v[i] = null[i] + scale * (v[i] - null[i]);
    }
}

/* ---- the network's clock ---- */

static double clock_time(const fm_field *field, double t)
{
    return field->time_scale * (field->data_to_noise ? 1.0 - t : t);
}

/* Against the canonical direction dx/dt changes its sign; the time scale does not enter, for it is
 * only how t is written for the network. */
static void clock_velocity(const fm_field *field, size_t dimension, double *v)
{
    if (!field->data_to_noise) {
        return;
    }
    for (size_t i = 0; i < dimension; i++) {
        v[i] = -v[i];
    }
}

/* ---- ask and answer ---- */

size_t fm_field_n_rows(const fm_field *field, const fm_condition *condition)
{
    int32_t labels[FM_FIELD_MAX_ROWS];
    return guidance_labels(field, condition, labels);
}

size_t fm_field_asks(const fm_field *field, const fm_condition *condition, double t,
                     fm_field_ask ret[FM_FIELD_MAX_ROWS])
{
    int32_t labels[FM_FIELD_MAX_ROWS];
    size_t n_rows = guidance_labels(field, condition, labels);
    for (size_t i = 0; i < n_rows; i++) {
        ret[i] = (fm_field_ask){.t = clock_time(field, t), .label = labels[i]};
    }
    return n_rows;
}

void fm_field_answer(const fm_field *field, const fm_condition *condition, size_t dimension,
                     double *v, const double *other)
{
    if (fm_field_n_rows(field, condition) == 2) {
        assert(other != NULL);
        guidance_combine(field, condition, dimension, v, other);
    }
    clock_velocity(field, dimension, v);
}
