/* Guidance: scales over time, and the combination of outputs. */
#include "engine/flow/guidance.h"

#include "engine/math/table.h"
#include "engine/name.h"

#include <math.h>

#define PI 3.14159265358979323846

static const char *const schedule_names[] = {
#define FM_GUIDANCE_SCHEDULE(ID, name) name,
#include "engine/flow/guidance_schedule.def"
#undef FM_GUIDANCE_SCHEDULE
};

fm_guidance_schedule_form fm_guidance_schedule_find(const char *name)
{
    return (fm_guidance_schedule_form)fm_name_find(schedule_names, FM_N_GUIDANCE_SCHEDULES, name);
}

const char *fm_guidance_schedule_name(fm_guidance_schedule_form form)
{
    return schedule_names[form];
}

/* ---- scales ---- */

bool fm_guidance_acts(const fm_guidance *guidance, double t)
{
    const double *interval = guidance->interval;
    return !guidance->has_interval || (t >= interval[0] && t <= interval[1]);
}

double fm_guidance_scale_at(const fm_guidance *guidance, double t)
{
    const fm_guidance_schedule *schedule = &guidance->schedule;
    double start = guidance->scale, end = schedule->end;
    switch (schedule->form) {
    case FM_GUIDANCE_SCHEDULE_LINEAR:
        return start + (end - start) * t;
    case FM_GUIDANCE_SCHEDULE_COSINE:
        return end + (start - end) * (1 + cos(PI * t)) / 2;
    case FM_GUIDANCE_SCHEDULE_TABLE:
        return fm_table_at(schedule->n, schedule->t, schedule->values, t);
    case FM_GUIDANCE_SCHEDULE_CONSTANT:
    case FM_N_GUIDANCE_SCHEDULES:
        break;
    }
    return start;
}

bool fm_guidance_is_plain(const fm_guidance *guidance)
{
    return !guidance->zero_star && !guidance->projects && guidance->rescale == 0.0 &&
           guidance->model == NULL && guidance->classifier == NULL;
}

/* ---- combination ---- */

static double inner_product(size_t n, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Of all entries. */
static double deviation(size_t n, const double *x)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    return sqrt(squares / (double)n);
}

/* The base may be c itself. */
static void add_conditions(const fm_guidance *guidance, size_t n,
                           const fm_guidance_outputs *outputs)
{
    for (size_t i = 0; i < n && guidance->n_conditions > 0; i++) {
        double sum = 0;
        for (size_t k = 0; k < guidance->n_conditions; k++) {
            double condition = outputs->conditions[k * outputs->stride + i];
            sum += guidance->conditions[k].scale * (condition - outputs->base[i]);
        }
        outputs->c[i] += sum;
    }
}

/* The factor a that brings the base nearest to c. A base of zeros has none. */
static double nearest_factor(size_t n, const double *c, const double *base)
{
    double square = inner_product(n, base, base);
    return square > 0 ? inner_product(n, c, base) / square : 0;
}

static void extrapolate(double factor, double scale, size_t n, double *c, const double *base)
{
    for (size_t i = 0; i < n && scale != 1.0; i++) {
        double from = factor * base[i];
        c[i] = from + scale * (c[i] - from);
    }
}

static double difference_at(const fm_guidance_outputs *outputs, double momentum, size_t i)
{
    double d = outputs->c[i] - outputs->base[i];
    return outputs->momentum == NULL ? d : d + momentum * outputs->momentum[i];
}

/* In two passes over the entries: what d is along c, then c + what is added. */
static void project(const fm_guidance *guidance, double scale, size_t n,
                    const fm_guidance_outputs *outputs)
{
    const fm_guidance_projection *it = &guidance->projection;
    double square = 0, along = 0, c_square = 0;
    for (size_t i = 0; i < n; i++) {
        double d = difference_at(outputs, it->momentum, i);
        square += d * d;
        along += d * outputs->c[i];
        c_square += outputs->c[i] * outputs->c[i];
    }
    double length = sqrt(square);
    double shrink = it->threshold > 0 && length > it->threshold ? it->threshold / length : 1;
    double share = c_square > 0 ? along / c_square : 0; /* d_parallel = share c */
    for (size_t i = 0; i < n; i++) {
        double d = difference_at(outputs, it->momentum, i), parallel = share * outputs->c[i];
        if (outputs->momentum != NULL) {
            outputs->momentum[i] = d;
        }
        outputs->c[i] += (scale - 1) * shrink * ((d - parallel) + it->parallel * parallel);
    }
}

void fm_guidance_combine(const fm_guidance *guidance, double scale, size_t n,
                         const fm_guidance_outputs *outputs)
{
    double of_c = guidance->rescale > 0 ? deviation(n, outputs->c) : 0;
    if (guidance->projects) {
        project(guidance, scale, n, outputs);
    } else {
        bool is_nearest = guidance->zero_star;
        double factor = is_nearest ? nearest_factor(n, outputs->c, outputs->base) : 1;
        extrapolate(factor, scale, n, outputs->c, outputs->base);
    }
    add_conditions(guidance, n, outputs);
    double of_result = guidance->rescale > 0 ? deviation(n, outputs->c) : 0;
    if (of_result > 0) {
        double factor = 1 - guidance->rescale + guidance->rescale * of_c / of_result;
        for (size_t i = 0; i < n; i++) {
            outputs->c[i] *= factor;
        }
    }
}
