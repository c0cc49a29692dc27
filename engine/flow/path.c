/* The schedulers: formulas of alpha, sigma and their derivatives, and of the inverse of alpha / sigma; one
 * set of functions a row. */
#include "engine/flow/path.h"

#include "engine/flow/path_table.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define HALF_PI 1.57079632679489661923

typedef struct path_parameter {
    const char *name; /* NULL past the last */
    double fallback;
} path_parameter;

/* at() is given the whole path, so that a type with arrays can keep them there. */
struct fm_path_type {
    const char *name;
    fm_path_point (*at)(const fm_path *path, double t); /* of a source of standard deviation 1 */
    double (*time_of)(const fm_path *path, double alpha, double sigma); /* idem; may leave [0, 1] */
    const char *(*rule)(const double *parameters); /* the rule they break, or NULL */
    path_parameter parameters[FM_PATH_MAX_PARAMETERS + 1];
};

static const char *no_rule(const double *parameters)
{
    (void)parameters;
    return NULL;
}

/* ---- condot, polynomial, target: straight lines and their powers ---- */

#define condot_rule no_rule
static fm_path_point condot_at(const fm_path *path, double t)
{
    (void)path;
    return (fm_path_point){.alpha = t, .sigma = 1.0 - t, .d_alpha = 1.0, .d_sigma = -1.0};
}

static double condot_time_of(const fm_path *path, double alpha, double sigma)
{
    (void)path;
    return alpha / (alpha + sigma);
}

static const char *polynomial_rule(const double *parameters)
{
    return parameters[0] > 0.0 ? NULL : "n must be above 0";
}

static fm_path_point polynomial_at(const fm_path *path, double t)
{
    double n = path->parameters[0];
    double alpha = pow(t, n);
    double d_alpha = n * pow(t, n - 1.0);
    return (fm_path_point){
        .alpha = alpha, .sigma = 1.0 - alpha, .d_alpha = d_alpha, .d_sigma = -d_alpha};
}

static double polynomial_time_of(const fm_path *path, double alpha, double sigma)
{
    return pow(alpha / (alpha + sigma), 1.0 / path->parameters[0]);
}

static const char *target_rule(const double *parameters)
{
    return parameters[0] >= 0.0 && parameters[0] < 1.0 ? NULL : "sigma_min must be in [0, 1)";
}

static fm_path_point target_at(const fm_path *path, double t)
{
    double slope = 1.0 - path->parameters[0];
    /* Written from the far end, so that sigma(1) is exactly sigma_min. */
    double sigma = path->parameters[0] + slope * (1.0 - t);
    return (fm_path_point){.alpha = t, .sigma = sigma, .d_alpha = 1.0, .d_sigma = -slope};
}

static double target_time_of(const fm_path *path, double alpha, double sigma)
{
    return alpha / (sigma + alpha * (1.0 - path->parameters[0]));
}

/* ---- vp, sub_vp: T(t) = u^2 (beta_max - beta_min)/2 + u beta_min with u = 1 - t ---- */

static const char *vp_rule(const double *parameters)
{
    if (!(parameters[0] >= 0.0)) {
        return "beta_min must be at least 0";
    }
    return parameters[1] > 0.0 && parameters[1] >= parameters[0]
               ? NULL
               : "beta_max must be above 0 and at least beta_min";
}

#define sub_vp_rule vp_rule

typedef struct vp_clock {
    double integral, rate;  /* T and dT/dt, which is -beta */
    double variance, decay; /* 1 - exp(-T) without cancellation, and exp(-T) */
    double alpha, d_alpha;  /* exp(-T/2) */
} vp_clock;

static vp_clock vp_clock_at(const fm_path *path, double t)
{
    double beta_min = path->parameters[0];
    double span = path->parameters[1] - beta_min;
    double u = 1.0 - t;
    double integral = u * (u * span / 2.0 + beta_min);
    double rate = -(u * span + beta_min);
    double alpha = exp(-integral / 2.0);
    return (vp_clock){.integral = integral,
                      .rate = rate,
                      .variance = -expm1(-integral),
                      .decay = exp(-integral),
                      .alpha = alpha,
                      .d_alpha = -alpha * rate / 2.0};
}

static fm_path_point vp_at(const fm_path *path, double t)
{
    vp_clock clock = vp_clock_at(path, t);
    double sigma = sqrt(clock.variance);
    double d_sigma;
    if (clock.integral != 0.0) {
        d_sigma = clock.rate * clock.decay / (2.0 * sigma);
    } else if (path->parameters[0] > 0.0) {
        d_sigma = -HUGE_VAL; /* sigma falls like sqrt(beta_min u) */
    } else {
        d_sigma = -sqrt(path->parameters[1] / 2.0); /* sigma falls like u sqrt(beta_max / 2) */
    }
    return (fm_path_point){.alpha = clock.alpha,
                           .sigma = sigma,
                           .d_alpha = clock.d_alpha,
                           .d_sigma = d_sigma,
                           .sigma_d_sigma = clock.rate * clock.decay / 2.0};
}

/* The time at which T has this value: the positive root, written without cancellation. */
static double vp_clock_time(const fm_path *path, double integral)
{
    double beta_min = path->parameters[0];
    double span = path->parameters[1] - beta_min;
    if (!isfinite(integral)) {
        return -HUGE_VAL;
    }
    double root = beta_min + sqrt(beta_min * beta_min + 2.0 * span * integral);
    return root > 0.0 ? 1.0 - 2.0 * integral / root : 1.0;
}

static double vp_time_of(const fm_path *path, double alpha, double sigma)
{
    double ratio = sigma / alpha;
    return vp_clock_time(path, log1p(ratio * ratio));
}

static fm_path_point sub_vp_at(const fm_path *path, double t)
{
    vp_clock clock = vp_clock_at(path, t);
    return (fm_path_point){.alpha = clock.alpha,
                           .sigma = clock.variance,
                           .d_alpha = clock.d_alpha,
                           .d_sigma = clock.rate * clock.decay};
}

/* sigma / alpha = 2 sinh(T / 2) */
static double sub_vp_time_of(const fm_path *path, double alpha, double sigma)
{
    return vp_clock_time(path, 2.0 * asinh(sigma / (2.0 * alpha)));
}

/* ---- linear_vp, cosine: alpha^2 + sigma^2 = 1 ---- */

#define linear_vp_rule no_rule
static fm_path_point linear_vp_at(const fm_path *path, double t)
{
    (void)path;
    double sigma = sqrt((1.0 - t) * (1.0 + t));
    double d_sigma = t == 1.0 ? -HUGE_VAL : -t / sigma;
    return (fm_path_point){
        .alpha = t, .sigma = sigma, .d_alpha = 1.0, .d_sigma = d_sigma, .sigma_d_sigma = -t};
}

static double linear_vp_time_of(const fm_path *path, double alpha, double sigma)
{
    (void)path;
    return alpha / hypot(alpha, sigma);
}

#define cosine_rule no_rule
static fm_path_point cosine_at(const fm_path *path, double t)
{
    (void)path;
    double alpha = sin(HALF_PI * t);
    double sigma = sin(HALF_PI * (1.0 - t)); /* cos(pi t/2) that is exactly 0 at t = 1 */
    return (fm_path_point){
        .alpha = alpha, .sigma = sigma, .d_alpha = HALF_PI * sigma, .d_sigma = -HALF_PI * alpha};
}

static double cosine_time_of(const fm_path *path, double alpha, double sigma)
{
    (void)path;
    return atan2(alpha, sigma) / HALF_PI;
}

/* ---- ve, edm: alpha = 1, only the noise moves ---- */

static const char *ve_rule(const double *parameters)
{
    if (!(parameters[0] > 0.0)) {
        return "sigma_min must be above 0";
    }
    return parameters[1] > parameters[0] ? NULL : "sigma_max must be above sigma_min";
}

static fm_path_point ve_at(const fm_path *path, double t)
{
    double ratio = path->parameters[1] / path->parameters[0];
    double sigma = path->parameters[0] * pow(ratio, 1.0 - t);
    return (fm_path_point){
        .alpha = 1.0, .sigma = sigma, .d_alpha = 0.0, .d_sigma = -sigma * log(ratio)};
}

static double ve_time_of(const fm_path *path, double alpha, double sigma)
{
    double ratio = path->parameters[1] / path->parameters[0];
    return 1.0 - log(sigma / alpha / path->parameters[0]) / log(ratio);
}

static const char *edm_rule(const double *parameters)
{
    const char *broken = ve_rule(parameters);
    if (broken != NULL) {
        return broken;
    }
    return parameters[2] > 0.0 ? NULL : "rho must be above 0";
}

static fm_path_point edm_at(const fm_path *path, double t)
{
    double rho = path->parameters[2];
    double first = pow(path->parameters[1], 1.0 / rho);
    double last = pow(path->parameters[0], 1.0 / rho);
    double root = first * (1.0 - t) + last * t;
    return (fm_path_point){.alpha = 1.0,
                           .sigma = pow(root, rho),
                           .d_alpha = 0.0,
                           .d_sigma = rho * pow(root, rho - 1.0) * (last - first)};
}

static double edm_time_of(const fm_path *path, double alpha, double sigma)
{
    double rho = path->parameters[2];
    double first = pow(path->parameters[1], 1.0 / rho);
    double last = pow(path->parameters[0], 1.0 / rho);
    return (first - pow(sigma / alpha, 1.0 / rho)) / (first - last);
}

/* ---- table: points and what lies between them ---- */

#define table_rule no_rule
static fm_path_point table_at(const fm_path *path, double t)
{
    return fm_path_table_at(path->table, t);
}

static double table_time_of(const fm_path *path, double alpha, double sigma)
{
    return fm_path_table_time_of(path->table, alpha, sigma);
}

/* ---- the table of types ---- */

static const fm_path_type path_types[] = {
#define FM_PATH_TYPE(id, text, ...)                                                                \
    {.name = (text),                                                                               \
     .at = id##_at,                                                                                \
     .time_of = id##_time_of,                                                                      \
     .rule = id##_rule,                                                                            \
     .parameters = {__VA_ARGS__}},
#include "engine/flow/path.def"
#undef FM_PATH_TYPE
};

const fm_path_type *fm_path_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof path_types / sizeof path_types[0]; i++) {
        if (strcmp(path_types[i].name, name) == 0) {
            return &path_types[i];
        }
    }
    return NULL;
}

const char *fm_path_type_name(const fm_path_type *type)
{
    return type->name;
}

bool fm_path_type_parameter(const fm_path_type *type, size_t index, const char **ret_name,
                            double *ret_default)
{
    /* The names end with a NULL, at FM_PATH_MAX_PARAMETERS at the latest. */
    for (size_t i = 0; i <= index; i++) {
        if (type->parameters[i].name == NULL) {
            return false;
        }
    }
    *ret_name = type->parameters[index].name;
    *ret_default = type->parameters[index].fallback;
    return true;
}

bool fm_path_type_is_table(const fm_path_type *type)
{
    return type->at == table_at;
}

fm_status fm_path_init(fm_path *ret, const fm_path_type *type,
                       const double parameters[FM_PATH_MAX_PARAMETERS], const fm_path_table *table,
                       double source_std, fm_error *err)
{
    assert(type != NULL && fm_path_type_is_table(type) == (table != NULL));
    fm_path path = {.type = type, .table = table, .source_std = source_std};
    for (size_t i = 0; type->parameters[i].name != NULL; i++) {
        if (!isfinite(parameters[i])) {
            return fm_fail(err, FM_EINVAL, "scheduler %s: %s must be finite", type->name,
                           type->parameters[i].name);
        }
        path.parameters[i] = parameters[i];
    }
    const char *broken = type->rule(path.parameters);
    if (broken != NULL) {
        return fm_fail(err, FM_EINVAL, "scheduler %s: %s", type->name, broken);
    }
    *ret = path;
    return FM_OK;
}

fm_path_point fm_path_at(const fm_path *path, double t)
{
    assert(path->type != NULL);
    double std = path->source_std;
    fm_path_point point = path->type->at(path, t);
    if (isfinite(point.d_sigma)) { /* else the type has set it */
        point.sigma_d_sigma = point.sigma * point.d_sigma;
    }
    point.sigma *= std;
    point.d_sigma *= std;
    point.sigma_d_sigma *= std * std;
    return point;
}

double fm_path_time_of(const fm_path *path, double alpha, double sigma)
{
    double t = path->type->time_of(path, alpha, sigma / path->source_std);
    return fmin(1.0, fmax(0.0, t));
}

bool fm_path_equal(const fm_path *a, const fm_path *b)
{
    bool equal = a->type == b->type && a->table == b->table && a->source_std == b->source_std;
    for (size_t i = 0; equal && a->type->parameters[i].name != NULL; i++) {
        equal = a->parameters[i] == b->parameters[i];
    }
    return equal;
}
