/* Families of time grids.
 *
 * With u = i / n, each row gives the time of point i: on [0, 1], stretched over the span, or of its path where the row is
 * a list of noise levels sigma / alpha. The ends are the span's.
 *
 *     uniform           u
 *     cosine            1 - cos(pi u / 2), fine near the noise
 *     sine              sin(pi u / 2), fine near the data
 *     shift             1 - s w / (1 + (s - 1) w) with w = 1 - u: fine near the noise for s > 1
 *     dynamic_shift     the same with s = e^mu, mu linear in the length
 *     linear_quadratic  the first linear_steps linear up to the threshold, then a parabola with the same slope there
 *     logit_normal      quantiles of the logistic function of N(mean, std^2)
 *     edm               levels (max^(1/rho) + i / (n - 1) (min^(1/rho) - max^(1/rho)))^rho, i < n, and 0
 *     exponential       levels max (min / max)^(i / (n - 1)), i < n, and 0
 *
 * Sources: Esser et al., arXiv:2403.03206, for shift and logit_normal; Polyak et al., "Movie Gen", arXiv:2410.13720,
 * for linear_quadratic; Karras et al., arXiv:2206.00364, for edm. */
#include "engine/flow/path.h"
#include "engine/fm_solver.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define HALF_PI 1.57079632679489661923

/* Of quantiles. */
#define LOGISTIC_SCALE  1.702
#define MOST_ITERATIONS 50
#define LEAST_STEP      1e-15

#define MOST_LOG_SHIFT  30.0 /* beyond, a grid's first or last step is all of it */

typedef struct schedule_parameter {
    const char *name; /* NULL past the last */
    double fallback;
} schedule_parameter;

struct fm_schedule_type {
    const char *name;
    double (*time)(const fm_schedule *schedule, const fm_path *path, size_t i);
    const char *(*rule)(const fm_schedule *schedule); /* the rule it breaks, or NULL */
    schedule_parameter parameters[FM_SCHEDULE_MAX_PARAMETERS + 1];
};

static double part(const fm_schedule *schedule, size_t i)
{
    return (double)i / (double)schedule->n_steps;
}

static const char *no_rule(const fm_schedule *schedule)
{
    (void)schedule;
    return NULL;
}

/* ---- without parameters ---- */

#define uniform_rule no_rule
static double uniform_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    return part(schedule, i);
}

#define cosine_rule no_rule
static double cosine_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    return 1 - cos(HALF_PI * part(schedule, i));
}

#define sine_rule no_rule
static double sine_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    return sin(HALF_PI * part(schedule, i));
}

/* ---- shifts ---- */

static double shifted(double shift, double u)
{
    double noise = 1 - u;
    return 1 - shift * noise / (1 + (shift - 1) * noise);
}

static const char *shift_rule(const fm_schedule *schedule)
{
    return schedule->parameters[0] > 0 ? NULL : "shift must be above 0";
}

static double shift_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    return shifted(schedule->parameters[0], part(schedule, i));
}

static double log_shift(const double *p)
{
    return p[1] + (p[2] - p[1]) * (p[0] - p[3]) / (p[4] - p[3]);
}

static const char *dynamic_shift_rule(const fm_schedule *schedule)
{
    const double *p = schedule->parameters;
    if (!(p[0] > 0)) {
        return "length must be above 0";
    }
    if (!(p[4] > p[3])) {
        return "max_length must be above base_length";
    }
    return fabs(log_shift(p)) <= MOST_LOG_SHIFT ? NULL : "length must not shift by more than e^30";
}

static double dynamic_shift_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    return shifted(exp(log_shift(schedule->parameters)), part(schedule, i));
}

/* ---- linear_quadratic ---- */

static double linear_steps_of(const fm_schedule *schedule)
{
    double given = schedule->parameters[1];
    return given > 0 ? given : floor((double)schedule->n_steps / 2);
}

static const char *linear_quadratic_rule(const fm_schedule *schedule)
{
    double threshold = schedule->parameters[0], linear = linear_steps_of(schedule);
    double n = (double)schedule->n_steps;
    if (!(threshold > 0) || !(threshold < 1)) {
        return "threshold must be between 0 and 1";
    }
    if (schedule->n_steps == 1) {
        return NULL; /* the span */
    }
    if (linear != floor(linear) || linear < 1 || linear >= n) {
        return "linear_steps must be an integer from 1 to steps - 1";
    }
    return threshold <= linear / n ? NULL : "threshold must be at most linear_steps / steps";
}

static double linear_quadratic_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    double threshold = schedule->parameters[0], linear = linear_steps_of(schedule);
    double n = (double)schedule->n_steps, at = (double)i, quadratic = n - linear;
    if (at < linear) {
        return at * threshold / linear;
    }
    double behind =
        linear - threshold * n; /* how far a straight line would end before 1, times linear */
    double a = behind / (linear * quadratic * quadratic);
    double b = threshold / linear - 2 * behind / (quadratic * quadratic);
    return a * at * at + b * at + a * linear * linear;
}

/* ---- logit_normal ---- */

static const char *logit_normal_rule(const fm_schedule *schedule)
{
    return schedule->parameters[1] > 0 ? NULL : "std must be above 0";
}

/* x with Phi(x) = u, by Halley's iteration from the logistic curve beside it. */
static double normal_quantile(double u)
{
    double x = log(u / (1 - u)) / LOGISTIC_SCALE, step = 1;
    for (int i = 0; i < MOST_ITERATIONS && fabs(step) > LEAST_STEP; i++) {
        double density = exp(-x * x / 2) / sqrt(4 * HALF_PI);
        double off = (erfc(-x / sqrt(2)) / 2 - u) / density;
        step = off / (1 + x * off / 2);
        x -= step;
    }
    return x;
}

static double logit_normal_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    (void)path;
    if (i == 0 || i == schedule->n_steps) {
        return part(schedule, i);
    }
    double x =
        schedule->parameters[0] + schedule->parameters[1] * normal_quantile(part(schedule, i));
    return 1 / (1 + exp(-x));
}

/* ---- noise levels ---- */

static const char *edm_rule(const fm_schedule *schedule)
{
    const double *p = schedule->parameters;
    if (!(p[0] > 0)) {
        return "sigma_min must be above 0";
    }
    if (!(p[1] > p[0])) {
        return "sigma_max must be above sigma_min";
    }
    bool has_rho = schedule->type->parameters[2].name != NULL;
    return !has_rho || p[2] > 0 ? NULL : "rho must be above 0";
}

#define exponential_rule edm_rule

/* How far point i is from the first level to the last but 0. */
static double level_part(const fm_schedule *schedule, size_t i)
{
    return schedule->n_steps > 1 ? (double)i / (double)(schedule->n_steps - 1) : 0;
}

static double time_of_level(const fm_path *path, double level)
{
    return fm_path_time_of(path, 1, level);
}

static double edm_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    const double *p = schedule->parameters;
    double first = pow(p[1], 1 / p[2]), last = pow(p[0], 1 / p[2]);
    double root = first + level_part(schedule, i) * (last - first);
    return i == schedule->n_steps ? 1 : time_of_level(path, pow(root, p[2]));
}

static double exponential_time(const fm_schedule *schedule, const fm_path *path, size_t i)
{
    const double *p = schedule->parameters;
    double level = p[1] * pow(p[0] / p[1], level_part(schedule, i));
    return i == schedule->n_steps ? 1 : time_of_level(path, level);
}

/* ---- the table ---- */

static const fm_schedule_type types[] = {
#define FM_SCHEDULE(id, text, ...)                                                                 \
    {.name = (text), .time = id##_time, .rule = id##_rule, .parameters = {__VA_ARGS__}},
#include "engine/solve/schedule.def"
#undef FM_SCHEDULE
};

const fm_schedule_type *fm_schedule_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

const char *fm_schedule_type_name(const fm_schedule_type *type)
{
    return type->name;
}

bool fm_schedule_type_parameter(const fm_schedule_type *type, size_t index, const char **ret_name,
                                double *ret_default)
{
    for (size_t i = 0; i <= index; i++) {
        if (type->parameters[i].name == NULL) {
            return false;
        }
    }
    *ret_name = type->parameters[index].name;
    *ret_default = type->parameters[index].fallback;
    return true;
}

static fm_status check_parameters(const fm_schedule *schedule, fm_error *err)
{
    const fm_schedule_type *type = schedule->type;
    for (size_t i = 0; type->parameters[i].name != NULL; i++) {
        if (isnan(schedule->parameters[i])) {
            return fm_fail(err, FM_EINVAL, "%s is required for %s", type->parameters[i].name,
                           type->name);
        }
        if (!isfinite(schedule->parameters[i])) {
            return fm_fail(err, FM_EINVAL, "%s must be finite", type->parameters[i].name);
        }
    }
    const char *broken = type->rule(schedule);
    return broken == NULL ? FM_OK : fm_fail(err, FM_EINVAL, "%s", broken);
}

static bool is_of_levels(const fm_schedule *schedule)
{
    return schedule->type->time == edm_time || schedule->type->time == exponential_time;
}

fm_status fm_schedule_make(const fm_schedule *schedule, const fm_path *path, double first,
                           double last, double *ret_grid, fm_error *err)
{
    assert(schedule->n_steps >= 1);
    fm_status status = check_parameters(schedule, err);
    if (status != FM_OK) {
        return status;
    }
    size_t n = schedule->n_steps;
    ret_grid[0] = first;
    ret_grid[n] = last;
    for (size_t i = 1; i < n; i++) {
        double time = schedule->type->time(schedule, path, i);
        ret_grid[i] = is_of_levels(schedule) ? time : first + (last - first) * time;
    }
    for (size_t i = 1; i <= n; i++) {
        if (!(ret_grid[i] > ret_grid[i - 1])) {
            return fm_fail(err, FM_EINVAL,
                           "its times must ascend within the span from %g to %g; point %zu would "
                           "be %g after %g",
                           first, last, i, ret_grid[i], ret_grid[i - 1]);
        }
    }
    return FM_OK;
}
