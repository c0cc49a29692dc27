/* The velocity field: a fixed chain of steps between a solver and a network.
 *
 * Downwards (asks): guidance chooses the labels; the trajectory's time becomes one of the model's path, then
 * passes through the clock. Upwards (answer): guidance's combination, then the reading of the output, which holds
 * the clock's sign and both paths. A further decorator is one more step in each of the two directions. */
#include "engine/flow/field.h"

#include <assert.h>
#include <math.h>

void fm_field_init(fm_field *ret, const fm_model_config *config)
{
    *ret = (fm_field){.path = config->path,
                      .predictions = config->predictions,
                      .data_to_noise = config->data_to_noise,
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

size_t fm_field_n_rows(const fm_field *field, const fm_condition *condition)
{
    int32_t labels[FM_FIELD_MAX_ROWS];
    return guidance_labels(field, condition, labels);
}

void fm_field_combine(const fm_field *field, const fm_condition *condition, size_t dimension,
                      double *out, const double *other)
{
    if (fm_field_n_rows(field, condition) < 2) {
        return;
    }
    assert(other != NULL);
    double scale = condition->guidance_scale;
    size_t guided = some_stay(field, condition)
                        ? dimension / field->channels * condition->guidance_channels
                        : dimension;
    for (size_t head = 0; head < fm_predictions_count(&field->predictions); head++) {
        for (size_t i = head * dimension; i < head * dimension + guided; i++) {
            out[i] = other[i] + scale * (out[i] - other[i]);
        }
    }
}

/* ---- the network's clock ---- */

static double clock_time(const fm_field *field, double t)
{
    return field->time_scale * (field->data_to_noise ? 1.0 - t : t);
}

/* Against the canonical direction a velocity changes its sign; the time scale does not enter, for it is only
 * how t is written for the network. */
static void turn_clock(const fm_field *field, fm_reading *reading)
{
    fm_linear velocity;
    if (!field->data_to_noise || !fm_predictions_have_velocity(&field->predictions, &velocity)) {
        return;
    }
    fm_linear *quantities[] = {&reading->x1, &reading->noise, &reading->velocity,
                               &reading->score_noise};
    for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++) {
        quantities[i]->out *= velocity.out != 0.0 ? -1.0 : 1.0;
        quantities[i]->second *= velocity.second != 0.0 ? -1.0 : 1.0;
    }
}

/* ---- the path ---- */

/* The reading on the model's path becomes one of the trajectory's state, s times the model's, and its velocity
 * that of the trajectory's path. */
static void change_path(const fm_path_point *to, double s, fm_reading *reading)
{
    reading->x1.x /= s;
    reading->noise.x /= s;
    reading->score_noise.x /= s;
    const fm_linear *x1 = &reading->x1, *noise = &reading->noise;
    reading->velocity =
        (fm_linear){.x = to->d_alpha * x1->x + to->d_sigma * noise->x,
                    .out = to->d_alpha * x1->out + to->d_sigma * noise->out,
                    .second = to->d_alpha * x1->second + to->d_sigma * noise->second};
}

fm_field_at fm_field_velocity_at(const fm_field *field, const fm_condition *condition, double t)
{
    fm_field_at ret = {.network_t = clock_time(field, t), .state_scale = 1.0};
    if (condition->path != NULL ||
        !fm_predictions_have_velocity(&field->predictions, &ret.reading.velocity)) {
        return fm_field_at_time(field, condition, t);
    }
    turn_clock(field, &ret.reading);
    return ret;
}

fm_field_at fm_field_at_time(const fm_field *field, const fm_condition *condition, double t)
{
    const fm_path *path = condition->path != NULL ? condition->path : &field->path;
    fm_path_point to = fm_path_at(path, t), from = to;
    double model_t = t, s = 1.0;
    if (condition->path != NULL) {
        model_t = fm_path_time_of(&field->path, to.alpha, to.sigma);
        from = fm_path_at(&field->path, model_t);
        s = (to.alpha + to.sigma) / (from.alpha + from.sigma);
    }
    fm_network_input input = fm_predictions_input(&field->predictions, &from);
    fm_field_at ret = {.network_t = input.has_time ? field->time_scale * input.time
                                                   : clock_time(field, model_t),
                       .state_scale = input.scale / s,
                       .reading = fm_predictions_read(&field->predictions, &from),
                       .score_of_noise = -1.0 / to.sigma};
    turn_clock(field, &ret.reading);
    if (condition->path != NULL) {
        change_path(&to, s, &ret.reading);
    }
    return ret;
}

/* ---- reading ---- */

/* Terms with coefficient 0 or 1 leave the other's bits as they are. */
void fm_field_read(fm_linear reading, size_t dimension, const double *x, const double *out,
                   double *ret)
{
    if (reading.second != 0.0) {
        for (size_t i = 0; i < dimension; i++) {
            ret[i] = fm_field_element(reading, dimension, x, out, i);
        }
        return;
    }
    if (reading.x == 0.0) {
        for (size_t i = 0; i < dimension; i++) {
            ret[i] = reading.out * out[i];
        }
        return;
    }
    for (size_t i = 0; i < dimension; i++) {
        ret[i] = reading.x * x[i] + reading.out * out[i];
    }
}

/* ---- ask and answer ---- */

size_t fm_field_asks(const fm_field *field, const fm_condition *condition, double t,
                     fm_field_ask ret[FM_FIELD_MAX_ROWS])
{
    int32_t labels[FM_FIELD_MAX_ROWS];
    size_t n_rows = guidance_labels(field, condition, labels);
    fm_field_at at = fm_field_velocity_at(field, condition, t);
    for (size_t i = 0; i < n_rows; i++) {
        ret[i] =
            (fm_field_ask){.t = at.network_t, .state_scale = at.state_scale, .label = labels[i]};
    }
    return n_rows;
}

void fm_field_answer(const fm_field *field, const fm_condition *condition, double t,
                     size_t dimension, const double *x, const fm_field_outputs *outputs)
{
    fm_field_combine(field, condition, dimension, outputs->out, outputs->other);
    fm_field_at at = outputs->score == NULL ? fm_field_velocity_at(field, condition, t)
                                            : fm_field_at_time(field, condition, t);
    if (outputs->score != NULL) {
        fm_linear score = fm_field_reading(&at, FM_FIELD_SCORE);
        fm_field_read(score, dimension, x, outputs->out, outputs->score);
    }
    fm_field_read(at.reading.velocity, dimension, x, outputs->out, outputs->v);
}

/* ---- quantities ---- */

const char *fm_field_name(fm_field_id id)
{
    static const char *const names[] = {
#define FM_FIELD(ID, name) name,
#include "engine/field.def"
#undef FM_FIELD
        "log_density",
        "divergence",
    };
    return names[id];
}

fm_linear fm_field_reading(const fm_field_at *at, fm_field_id id)
{
    double scale = at->score_of_noise;
    fm_linear noise = at->reading.score_noise;
    fm_linear readings[FM_N_VECTOR_FIELDS] = {
        [FM_FIELD_X] = {.x = 1.0},
        [FM_FIELD_VELOCITY] = at->reading.velocity,
        [FM_FIELD_X1_HAT] = at->reading.x1,
        [FM_FIELD_X0_HAT] = at->reading.noise,
        [FM_FIELD_SCORE] = {.x = scale * noise.x,
                            .out = scale * noise.out,
                            .second = scale * noise.second},
    };
    assert(id < FM_N_VECTOR_FIELDS);
    return readings[id];
}

static bool is_finite(fm_linear reading)
{
    return isfinite(reading.x) && isfinite(reading.out) && isfinite(reading.second);
}

bool fm_flow_has_field(const fm_model_info *model, const fm_path *path, fm_field_id id, double t)
{
    fm_condition condition = {.path = path};
    if (id == FM_FIELD_X || id == FM_FIELD_LOG_DENSITY) {
        return true;
    }
    bool of_velocity = id == FM_FIELD_VELOCITY || id == FM_FIELD_DIVERGENCE;
    fm_field_at at = of_velocity ? fm_field_velocity_at(model->field, &condition, t)
                                 : fm_field_at_time(model->field, &condition, t);
    return is_finite(fm_field_reading(&at, of_velocity ? FM_FIELD_VELOCITY : id));
}

/* ---- the span ---- */

void fm_flow_span(const fm_model_info *model, const fm_path *path, double ret[2])
{
    fm_condition condition = {.path = path};
    for (size_t end = 0; end < 2; end++) {
        ret[end] = model->sample_range[end];
        if (path == NULL) {
            continue;
        }
        fm_path_point at = fm_path_at(model->path, ret[end]);
        ret[end] = fm_path_time_of(path, at.alpha, at.sigma);
        if (!is_finite(fm_field_velocity_at(model->field, &condition, ret[end]).reading.velocity)) {
            ret[end] += end == 0 ? FM_SINGULAR_MARGIN : -FM_SINGULAR_MARGIN;
        }
    }
}
