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

static bool some_stay(const fm_field *field, const fm_guidance *guidance)
{
    return guidance->channels > 0 && guidance->channels < field->channels;
}

/* The rows of a guided velocity at one time. */
typedef struct guided {
    double scale;
    int32_t labels[FM_FIELD_MAX_ROWS];
    size_t n_rows;
    size_t base;           /* the row that the others are compared with; 0: the first itself */
    size_t conditions;     /* the first of them */
    bool combines;         /* else the first row is the result */
    bool base_is_of_model; /* of the guidance's */
} guided;

/* Whether at such a scale only u, or only c, is all of the result. */
static bool is_single(const fm_field *field, const fm_guidance *guidance, double scale,
                      double of_scale)
{
    bool plain = fm_guidance_is_plain(guidance) && !some_stay(field, guidance);
    return scale == of_scale && guidance->n_conditions == 0 && (plain || of_scale == 1.0);
}

static bool has_base(const fm_field *field, const fm_guidance *guidance)
{
    return field->has_null_label || guidance->negative_labels != NULL || guidance->model != NULL;
}

const fm_guidance *fm_field_guidance(const fm_field *field, const fm_guidance *guidance)
{
    bool constant = guidance->schedule.form == FM_GUIDANCE_SCHEDULE_CONSTANT;
    bool compares = has_base(field, guidance) &&
                    !(constant && is_single(field, guidance, guidance->scale, 1.0));
    bool acts = compares || guidance->classifier != NULL || guidance->zero_until > 0;
    return acts ? guidance : NULL;
}

static guided guided_at(const fm_field *field, const fm_condition *condition, double t)
{
    const fm_guidance *guidance = condition->guidance;
    guided ret = {.labels = {condition->label}, .n_rows = 1};
    if (guidance == NULL || !has_base(field, guidance) || !fm_guidance_acts(guidance, t)) {
        return ret;
    }
    bool has_negative = guidance->negative_labels != NULL;
    int32_t base = has_negative ? condition->negative_label : field->null_label;
    ret.scale = fm_guidance_scale_at(guidance, t);
    if (is_single(field, guidance, ret.scale, 0.0)) {
        ret.labels[0] = base;
        return ret;
    }
    ret.base_is_of_model = guidance->model != NULL;
    bool same = !ret.base_is_of_model && condition->label == base;
    if (is_single(field, guidance, ret.scale, 1.0) || (same && guidance->n_conditions == 0)) {
        ret.base_is_of_model = false;
        return ret;
    }
    ret.combines = true;
    if (!ret.base_is_of_model && !same) {
        ret.base = ret.n_rows;
        ret.labels[ret.n_rows++] = base;
    }
    ret.conditions = ret.n_rows;
    for (size_t i = 0; i < guidance->n_conditions; i++) {
        ret.labels[ret.n_rows++] = guidance->conditions[i].label;
    }
    return ret;
}

size_t fm_field_most_rows(const fm_field *field, const fm_condition *condition)
{
    const fm_guidance *guidance = condition->guidance;
    if (guidance == NULL) {
        return 1;
    }
    fm_guidance always = *guidance;
    fm_condition at_most = *condition;
    at_most.guidance = &always;
    always.has_interval = false;
    if (guidance->schedule.form != FM_GUIDANCE_SCHEDULE_CONSTANT) {
        always.schedule = (fm_guidance_schedule){.form = FM_GUIDANCE_SCHEDULE_CONSTANT};
        always.scale = 2.0; /* of which any other than 0 and 1 is an example */
    }
    return guided_at(field, &at_most, 0).n_rows;
}

fm_field_asides fm_field_asks_beside(const fm_field *field, const fm_condition *condition, double t)
{
    const fm_guidance *guidance = condition->guidance;
    if (guidance == NULL) {
        return (fm_field_asides){0};
    }
    bool classifies = guidance->classifier_scale != 0.0 && fm_guidance_acts(guidance, t);
    return (fm_field_asides){
        .model = guided_at(field, condition, t).base_is_of_model ? guidance->model : NULL,
        .classifier = classifies ? guidance->classifier : NULL,
    };
}

/* A copy of the result, where the first row is its own base. */
static void combine_rows(const fm_field *field, const fm_condition *condition, const guided *it,
                         size_t dimension, const fm_field_outputs *outputs)
{
    const fm_guidance *guidance = condition->guidance;
    size_t n =
        some_stay(field, guidance) ? dimension / field->channels * guidance->channels : dimension;
    for (size_t head = 0; head < fm_predictions_count(&field->predictions); head++) {
        size_t first = head * dimension;
        const double *others = outputs->others == NULL ? NULL : outputs->others + first;
        const double *base = it->base_is_of_model ? outputs->model + first
                             : it->base == 0      ? outputs->out + first
                                                  : others + (it->base - 1) * outputs->stride;
        fm_guidance_combine(
            guidance, it->scale, n,
            &(fm_guidance_outputs){
                .c = outputs->out + first,
                .base = base,
                .conditions = guidance->n_conditions == 0
                                  ? NULL
                                  : others + (it->conditions - 1) * outputs->stride,
                .stride = outputs->stride,
                .momentum = condition->momentum == NULL ? NULL : condition->momentum + first});
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

/* Before zero_until the velocity is nothing of what is known. */
static fm_field_at stopped(const fm_condition *condition, double t, fm_field_at at)
{
    if (condition->guidance != NULL && t < condition->guidance->zero_until) {
        at.reading.velocity = (fm_linear){0};
    }
    return at;
}

fm_field_at fm_field_velocity_at(const fm_field *field, const fm_condition *condition, double t)
{
    fm_field_at ret = {.network_t = clock_time(field, t), .state_scale = 1.0};
    if (condition->path != NULL ||
        !fm_predictions_have_velocity(&field->predictions, &ret.reading.velocity)) {
        return fm_field_at_time(field, condition, t);
    }
    turn_clock(field, &ret.reading);
    return stopped(condition, t, ret);
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
    return stopped(condition, t, ret);
}

/* ---- likelihoods ---- */

/* On the model's own path. */
static double likelihood_time(const fm_field *field, const fm_condition *condition, double t)
{
    double model_t = t;
    if (condition->path != NULL) {
        fm_path_point to = fm_path_at(condition->path, t);
        model_t = fm_path_time_of(&field->path, to.alpha, to.sigma);
    }
    return fmax(model_t, FM_FIELD_LIKELIHOOD_FROM);
}

/* What a state of the trajectory is multiplied by to be one of the model. */
static double model_scale(const fm_field *field, const fm_condition *condition, double t)
{
    if (condition->path == NULL) {
        return 1;
    }
    fm_path_point to = fm_path_at(condition->path, t);
    double model_t = fm_path_time_of(&field->path, to.alpha, to.sigma);
    fm_path_point from = fm_path_at(&field->path, model_t);
    return (from.alpha + from.sigma) / (to.alpha + to.sigma);
}

fm_field_ask fm_field_ask_likelihood(const fm_field *field, const fm_field *of,
                                     const fm_condition *condition, double t)
{
    return (fm_field_ask){.t = clock_time(of, likelihood_time(field, condition, t)),
                          .state_scale = model_scale(field, condition, t)};
}

/* By how much an output of the prediction moves with the gradient. */
static double gradient_factor(const fm_field *field, const fm_prediction *prediction,
                              const fm_path_point *at)
{
    fm_predictions alone = {.first = *prediction};
    fm_reading reading = fm_prediction_read(prediction, at);
    fm_linear velocity;
    bool turned = field->data_to_noise && fm_predictions_have_velocity(&alone, &velocity);
    return at->sigma == 0.0 ? 0.0 : (turned ? 1 : -1) * at->sigma / reading.noise.out;
}

static void add_gradient(const fm_field *field, const fm_condition *condition, double t,
                         size_t dimension, const fm_field_outputs *outputs)
{
    fm_path_point at = fm_path_at(&field->path, likelihood_time(field, condition, t));
    const fm_predictions *heads = &field->predictions;
    for (size_t head = 0; head < fm_predictions_count(&field->predictions); head++) {
        double factor = gradient_factor(field, head == 0 ? &heads->first : &heads->second, &at);
        double *out = outputs->out + head * dimension;
        for (size_t i = 0; i < dimension; i++) {
            out[i] += factor * outputs->gradient[i];
        }
    }
}

void fm_field_combine(const fm_field *field, const fm_condition *condition, double t,
                      size_t dimension, const fm_field_outputs *outputs)
{
    if (condition->guidance != NULL) {
        guided it = guided_at(field, condition, t);
        if (it.combines) {
            combine_rows(field, condition, &it, dimension, outputs);
        }
    }
    if (outputs->gradient != NULL) {
        add_gradient(field, condition, t, dimension, outputs);
    }
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
    guided it = guided_at(field, condition, t);
    fm_field_at at = fm_field_velocity_at(field, condition, t);
    for (size_t i = 0; i < it.n_rows; i++) {
        ret[i] =
            (fm_field_ask){.t = at.network_t, .state_scale = at.state_scale, .label = it.labels[i]};
    }
    return it.n_rows;
}

void fm_field_answer(const fm_field *field, const fm_condition *condition, double t,
                     size_t dimension, const double *x, const fm_field_outputs *outputs, double *v,
                     double *score)
{
    fm_field_combine(field, condition, t, dimension, outputs);
    fm_field_at at = score == NULL ? fm_field_velocity_at(field, condition, t)
                                   : fm_field_at_time(field, condition, t);
    if (score != NULL) {
        fm_field_read(fm_field_reading(&at, FM_FIELD_SCORE), dimension, x, outputs->out, score);
    }
    fm_field_read(at.reading.velocity, dimension, x, outputs->out, v);
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
    if (!model->geometry->is_flat && (id == FM_FIELD_X0_HAT || id == FM_FIELD_SCORE)) {
        return false;
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
