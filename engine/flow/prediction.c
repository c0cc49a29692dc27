/* The predictions: each one's coefficients at a point of a path. */
#include "engine/flow/prediction.h"

#include <math.h>
#include <string.h>

typedef struct prediction_parameter {
    const char *name; /* NULL: none */
    double fallback;
} prediction_parameter;

struct fm_prediction_type {
    const char *name;
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
#define FM_PREDICTION(id, text, ...)                                                               \
    {.name = (text), .reading = id##_reading, .parameter = __VA_ARGS__},
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

bool fm_prediction_is_velocity(const fm_prediction *prediction)
{
    return prediction->type->reading == velocity_reading;
}

fm_reading fm_prediction_read(const fm_prediction *prediction, const fm_path_point *at)
{
    return prediction->type->reading(at, prediction->parameter);
}

fm_network_input fm_prediction_input(const fm_prediction *prediction, const fm_path_point *at)
{
    if (prediction->type->reading != edm_reading) {
        return (fm_network_input){.scale = 1.0};
    }
    double sigma_data = prediction->parameter;
    double level = at->sigma / at->alpha;
    return (fm_network_input){.scale =
                                  1.0 / (at->alpha * sqrt(level * level + sigma_data * sigma_data)),
                              .has_time = true,
                              .time = log(level) / 4.0};
}
