/* The predictions: each one's coefficients at a point of a path. */
#include "engine/flow/prediction.h"

#include <math.h>
#include <string.h>

typedef struct prediction_parameter {
    const char *name; /* NULL: none */
    double fallback;
} prediction_parameter;

/* In a pair: what tells the velocity, and what tells the noise. */
typedef enum part { PART_NONE, PART_STATE, PART_NOISE } part;

struct fm_prediction_type {
    const char *name;
    part part;
    fm_reading (*reading)(const fm_path_point *at, double parameter);
    prediction_parameter parameter;
};

static fm_reading velocity_reading(const fm_path_point *at, double parameter)
{
    (void)parameter;
    double determinant = fm_path_determinant(at);
    if (!isfinite(at->d_sigma)) { /* the limit, where the noise ends with a vertical tangent */
        return (fm_reading){.x1 = {.x = 1.0 / at->alpha}, .velocity = {.out = 1.0}};
    }
    return (fm_reading){
        .x1 = {.x = -at->d_sigma / determinant, .out = at->sigma / determinant},
        .noise = {.x = at->d_alpha / determinant, .out = -at->alpha / determinant},
        .velocity = {.x = 0.0, .out = 1.0},
    };
}

static fm_reading x1_reading(const fm_path_point *at, double parameter)
{
    (void)parameter;
    double rate = at->d_sigma / at->sigma;
    return (fm_reading){
        .x1 = {.x = 0.0, .out = 1.0},
        .noise = {.x = 1.0 / at->sigma, .out = -at->alpha / at->sigma},
        .velocity = {.x = rate, .out = at->d_alpha - at->alpha * rate},
    };
}

static fm_reading epsilon_reading(const fm_path_point *at, double parameter)
{
    (void)parameter;
    double rate = at->d_alpha / at->alpha;
    return (fm_reading){
        .x1 = {.x = 1.0 / at->alpha, .out = -at->sigma / at->alpha},
        .noise = {.x = 0.0, .out = 1.0},
        .velocity = {.x = rate, .out = at->d_sigma - at->sigma * rate},
    };
}

/* Through sigma d_sigma the velocity stays finite where d_sigma does not, as at the end of vp. */
static fm_reading score_reading(const fm_path_point *at, double parameter)
{
    (void)parameter;
    double rate = at->d_alpha / at->alpha;
    double variance = at->sigma * at->sigma;
    return (fm_reading){
        .x1 = {.x = 1.0 / at->alpha, .out = variance / at->alpha},
        .noise = {.x = 0.0, .out = -at->sigma},
        .velocity = {.x = rate, .out = rate * variance - at->sigma_d_sigma},
    };
}

static fm_linear velocity_of(const fm_path_point *at, fm_linear x1, fm_linear noise)
{
    return (fm_linear){.x = at->d_alpha * x1.x + at->d_sigma * noise.x,
                       .out = at->d_alpha * x1.out + at->d_sigma * noise.out};
}

static fm_reading v_reading(const fm_path_point *at, double parameter)
{
    (void)parameter;
    double norm = at->alpha * at->alpha + at->sigma * at->sigma;
    fm_linear x1 = {.x = at->alpha / norm, .out = -at->sigma / norm};
    fm_linear noise = {.x = at->sigma / norm, .out = at->alpha / norm};
    return (fm_reading){.x1 = x1, .noise = noise, .velocity = velocity_of(at, x1, noise)};
}

/* With k = sigma / alpha the noise level of x / alpha: c_skip = sigma_data^2 / (k^2 + sigma_data^2), c_out =
 * k sigma_data / sqrt(k^2 + sigma_data^2). The noise is (x - alpha x1) / sigma, its division carried out. */
static fm_reading edm_reading(const fm_path_point *at, double sigma_data)
{
    double level = at->sigma / at->alpha;
    double variance = level * level + sigma_data * sigma_data;
    double root = sqrt(variance);
    fm_linear x1 = {.x = sigma_data * sigma_data / variance / at->alpha,
                    .out = level * sigma_data / root};
    fm_linear noise = {.x = level / variance / at->alpha, .out = -sigma_data / root};
    return (fm_reading){.x1 = x1, .noise = noise, .velocity = velocity_of(at, x1, noise)};
}

static const fm_prediction_type types[] = {
#define FM_PREDICTION(id, text, pair, ...)                                                         \
    {.name = (text), .part = PART_##pair, .reading = id##_reading, .parameter = __VA_ARGS__},
#include "engine/flow/prediction.def"
#undef FM_PREDICTION
};

const fm_prediction_type *fm_prediction_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

const char *fm_prediction_type_name(const fm_prediction_type *type)
{
    return type->name;
}

const char *fm_prediction_type_parameter(const fm_prediction_type *type, double *ret_default)
{
    *ret_default = type->parameter.fallback;
    return type->parameter.name;
}

fm_reading fm_prediction_read(const fm_prediction *prediction, const fm_path_point *at)
{
    fm_reading ret = prediction->type->reading(at, prediction->parameter);
    ret.score_noise = ret.noise;
    return ret;
}

/* ---- pairs ---- */

size_t fm_predictions_count(const fm_predictions *predictions)
{
    return predictions->second.type == NULL ? 1 : 2;
}

static bool is_equal(const fm_prediction *a, const fm_prediction *b)
{
    return a->type == b->type && a->parameter == b->parameter;
}

bool fm_predictions_equal(const fm_predictions *a, const fm_predictions *b)
{
    return is_equal(&a->first, &b->first) && is_equal(&a->second, &b->second);
}

bool fm_predictions_pair(const fm_predictions *predictions)
{
    part first = predictions->first.type->part, second = predictions->second.type->part;
    return (first == PART_STATE && second == PART_NOISE) ||
           (first == PART_NOISE && second == PART_STATE);
}

static bool is(const fm_prediction *prediction,
               fm_reading (*reading)(const fm_path_point *at, double parameter))
{
    return prediction->type != NULL && prediction->type->reading == reading;
}

bool fm_predictions_have_velocity(const fm_predictions *predictions, fm_linear *ret)
{
    bool second = is(&predictions->second, velocity_reading);
    *ret = (fm_linear){.out = !second, .second = second};
    return second || is(&predictions->first, velocity_reading);
}

bool fm_predictions_have_score(const fm_predictions *predictions)
{
    return fm_predictions_count(predictions) == 2 &&
           (is(&predictions->first, score_reading) || is(&predictions->second, score_reading));
}

bool fm_predictions_are_mixed(const fm_predictions *predictions)
{
    return fm_predictions_count(predictions) == 2 &&
           (is(&predictions->first, x1_reading) || is(&predictions->second, x1_reading));
}

static void to_second(fm_linear *it)
{
    *it = (fm_linear){.x = it->x, .second = it->out};
}

/* Of one of the two outputs. */
static fm_reading head_read(const fm_predictions *predictions, bool second, const fm_path_point *at)
{
    fm_reading ret = fm_prediction_read(second ? &predictions->second : &predictions->first, at);
    if (second) {
        to_second(&ret.x1);
        to_second(&ret.noise);
        to_second(&ret.velocity);
        to_second(&ret.score_noise);
    }
    return ret;
}

/* d_alpha x1 + d_sigma noise, each an output of its own; the noise of a score through sigma d_sigma, as above. */
static fm_linear velocity_of_both(const fm_predictions *predictions, bool noise_second,
                                  const fm_path_point *at)
{
    const fm_prediction *noise = noise_second ? &predictions->second : &predictions->first;
    double weight = is(noise, score_reading) ? -at->sigma_d_sigma : at->d_sigma;
    return noise_second ? (fm_linear){.out = at->d_alpha, .second = weight}
                        : (fm_linear){.out = weight, .second = at->d_alpha};
}

fm_reading fm_predictions_read(const fm_predictions *predictions, const fm_path_point *at)
{
    if (fm_predictions_count(predictions) == 1) {
        return fm_prediction_read(&predictions->first, at);
    }
    bool noise_second = predictions->second.type->part == PART_NOISE;
    fm_reading ret = head_read(predictions, !noise_second, at);
    fm_reading noise = head_read(predictions, noise_second, at);
    ret.score_noise = noise.score_noise;
    bool mixed = fm_predictions_are_mixed(predictions);
    if (mixed) {
        ret.velocity = velocity_of_both(predictions, noise_second, at);
    }
    if (mixed || !fm_predictions_have_score(predictions)) {
        ret.noise = noise.noise;
    }
    return ret;
}

fm_network_input fm_predictions_input(const fm_predictions *predictions, const fm_path_point *at)
{
    if (!is(&predictions->first, edm_reading)) {
        return (fm_network_input){.scale = 1.0};
    }
    double sigma_data = predictions->first.parameter;
    double level = at->sigma / at->alpha;
    return (fm_network_input){.scale =
                                  1.0 / (at->alpha * sqrt(level * level + sigma_data * sigma_data)),
                              .has_time = true,
                              .time = log(level) / 4.0};
}
