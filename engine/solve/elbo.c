/* Draws on the way from the source to given tokens, and what the logits there are worth. */
#include "engine/solve/elbo.h"

#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/categorical.h"
#include "engine/solve/vector.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define BISECTIONS 64

/* A mean of draws, one in each stratum. */
typedef struct stratified {
    size_t n;
    double sum, previous, squares; /* of the differences of neighbours */
} stratified;

struct fm_elbo {
    const fm_elbo_plan *plan;
    uint64_t sample;
    size_t draw;
    double t, s; /* of the draw; 1 - kappa = s^2 */
    double *x1, *x, *logits;
    stratified integral, end;
    bool ended, failed;
};

static bool is_mask(const fm_space_part *part)
{
    return part->source.id == FM_SOURCE_MASK;
}

static fm_status check_space(const fm_space *space, fm_error *err)
{
    for (size_t i = 0; i < space->n_parts; i++) {
        if (space->parts[i].id != FM_SPACE_TOKENS) {
            return fm_fail(err, FM_EINVAL, "space must be of tokens alone");
        }
        if (space->parts[i].source.id == FM_SOURCE_EXTERNAL) {
            return fm_fail(err, FM_EINVAL, "space must have a source that is known");
        }
    }
    return FM_OK;
}

fm_status fm_elbo_check(const fm_elbo_plan *plan, fm_error *err)
{
    if (!(plan->last > 0 && plan->last <= 1)) {
        return fm_fail(err, FM_EINVAL, "last must be above 0 and at most 1");
    }
    if (plan->n_draws < FM_ELBO_LEAST_DRAWS) {
        return fm_fail(err, FM_EINVAL, "n_draws must be at least %zu", FM_ELBO_LEAST_DRAWS);
    }
    if (fm_path_at(plan->path, 0).alpha != 0 || fm_path_at(plan->path, 1).alpha != 1) {
        return fm_fail(err, FM_EINVAL, "path must have an alpha from 0 to 1");
    }
    return check_space(plan->space, err);
}

static double last_alpha(const fm_elbo_plan *plan)
{
    return fm_path_at(plan->path, plan->last).alpha;
}

static size_t end_draws(const fm_elbo_plan *plan)
{
    size_t n = (plan->n_draws + 7) / 8;
    n = n < FM_ELBO_LEAST_DRAWS ? FM_ELBO_LEAST_DRAWS : n;
    return last_alpha(plan) < 1 ? n : 0;
}

size_t fm_elbo_evaluations(const fm_elbo_plan *plan)
{
    return plan->n_draws + end_draws(plan);
}

size_t fm_elbo_size_bytes(const fm_elbo_plan *plan)
{
    size_t numbers = plan->space->states, bytes;
    if (numbers > SIZE_MAX / 4 || plan->space->velocities > SIZE_MAX / 4 ||
        !fm_multiply(2 * numbers + plan->space->velocities, sizeof(double), &bytes) ||
        bytes > SIZE_MAX / 2) {
        return SIZE_MAX;
    }
    return fm_arena_round(sizeof(fm_elbo)) + fm_arena_round(bytes);
}

/* ---- draws ---- */

/* The first time, but for rounding, with that alpha. */
static double time_of(const fm_elbo_plan *plan, double alpha)
{
    double low = 0, high = plan->last;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = low + (high - low) / 2;
        if (fm_path_at(plan->path, middle).alpha < alpha) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

/* Uniform numbers `first` and behind of the draw under way: one for s, two of each token. */
static void uniforms(const fm_elbo *elbo, size_t first, double ret[2])
{
    uint64_t of_draw = 2 * ((uint64_t)elbo->plan->space->states + 1);
    fm_rng_uniform(elbo->plan->seed, elbo->sample, FM_RNG_PROBE, elbo->draw * of_draw + first, 2,
                   ret);
}

static double draw_source(const fm_space_part *part, double u)
{
    double last = (double)part->vocabulary - 1;
    return is_mask(part) ? last : fmin(floor(u * (double)part->vocabulary), last);
}

static void begin_draw(fm_elbo *elbo)
{
    const fm_elbo_plan *plan = elbo->plan;
    size_t n = plan->n_draws, token = 0;
    double least = sqrt(1 - last_alpha(plan)), u[2];
    uniforms(elbo, 0, u);
    double stratum = ((double)elbo->draw + u[0]) / (double)n;
    elbo->s = elbo->draw < n ? 1 - stratum * (1 - least) : least;
    elbo->t = elbo->draw < n ? time_of(plan, (1 - elbo->s) * (1 + elbo->s)) : plan->last;
    for (size_t i = 0; i < plan->space->n_parts; i++) {
        const fm_space_part *part = &plan->space->parts[i];
        for (size_t k = 0; k < part->copies; k++, token++) {
            uniforms(elbo, 2 * token + 2, u);
            bool is_source = u[0] < elbo->s * elbo->s;
            elbo->x[token] = is_source ? draw_source(part, u[1]) : elbo->x1[token];
        }
    }
}

fm_elbo *fm_elbo_init(void *memory, const fm_elbo_plan *plan, uint64_t sample, const double *x1)
{
    assert((uintptr_t)memory % FM_ALIGNMENT == 0);
    fm_elbo *elbo = memory;
    double *numbers = (double *)(void *)((unsigned char *)memory + fm_arena_round(sizeof(fm_elbo)));
    size_t n = plan->space->states;
    *elbo = (fm_elbo){
        .plan = plan, .sample = sample, .x1 = numbers, .x = numbers + n, .logits = numbers + 2 * n};
    memcpy(elbo->x1, x1, n * sizeof *x1);
    begin_draw(elbo);
    return elbo;
}

bool fm_elbo_next(fm_elbo *elbo, fm_solve_want *ret)
{
    if (elbo->ended) {
        return false;
    }
    *ret = (fm_solve_want){.t = elbo->t, .x = elbo->x, .v = elbo->logits};
    return true;
}

/* ---- what they are worth ---- */

static void add(stratified *mean, double value)
{
    if (mean->n > 0) {
        double difference = value - mean->previous;
        mean->squares += difference * difference;
    }
    mean->previous = value;
    mean->sum += value;
    mean->n++;
}

/* -log p(token); logits become weights. */
static double surprise(const fm_categorical *how, size_t n, size_t token, double *logits,
                       double *ret_total)
{
    double logit = logits[token], largest = -HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        largest = i == how->excluded ? largest : fmax(largest, logits[i]);
    }
    *ret_total = fm_categorical_weigh(how, n, logits, NULL);
    return log(*ret_total) - (logit - largest);
}

/* A token at x that shall be x1: the terms of the header's integral, or at the end the last step's. */
static double of_token(const fm_space_part *part, size_t x, size_t x1, bool at_end, double *logits)
{
    size_t n = part->vocabulary, mask = n - 1;
    const fm_categorical how = {
        .excluded = is_mask(part) ? mask : FM_CATEGORICAL_NONE, .temperature = 1, .top_p = 1};
    double total;
    if (is_mask(part) && (x != mask || x1 == mask)) {
        return x != mask ? 0 : HUGE_VAL;
    }
    double of_x1 = surprise(&how, n, x1, logits, &total);
    if (at_end || is_mask(part)) {
        return of_x1;
    }
    return x == x1 ? (total - logits[x]) / total : of_x1 - logits[x] / total;
}

static double of_state(fm_elbo *elbo, bool at_end)
{
    double *logits = elbo->logits, sum = 0;
    size_t token = 0;
    for (size_t i = 0; i < elbo->plan->space->n_parts; i++) {
        const fm_space_part *part = &elbo->plan->space->parts[i];
        for (size_t k = 0; k < part->copies; k++, token++, logits += part->vocabulary) {
            size_t x = (size_t)elbo->x[token], x1 = (size_t)elbo->x1[token];
            sum += of_token(part, x, x1, at_end, logits);
        }
    }
    return sum;
}

void fm_elbo_give(fm_elbo *elbo)
{
    assert(!elbo->ended);
    const fm_elbo_plan *plan = elbo->plan;
    bool at_end = elbo->draw >= plan->n_draws;
    if (!fm_vector_finite(plan->space->velocities, elbo->logits)) {
        elbo->ended = elbo->failed = true;
        elbo->draw++;
        return;
    }
    double value = of_state(elbo, at_end);
    if (at_end) {
        add(&elbo->end, value);
    } else { /* dkappa/(1 - kappa) = -2 ds/s */
        add(&elbo->integral, 2 * (1 - sqrt(1 - last_alpha(plan))) * value / elbo->s);
    }
    elbo->draw++;
    elbo->ended = elbo->draw == fm_elbo_evaluations(plan);
    if (!elbo->ended) {
        begin_draw(elbo);
    }
}

/* Of the mean of n strata: half of the mean square of the differences estimates a stratum's variance. */
static double variance(const stratified *mean)
{
    double n = (double)mean->n;
    return mean->n < 2 ? 0 : mean->squares / (2 * (n - 1)) / n;
}

void fm_elbo_describe(const fm_elbo *elbo, fm_elbo_report *ret)
{
    const stratified *integral = &elbo->integral, *end = &elbo->end;
    *ret = (fm_elbo_report){.status = FM_ROW_UNFINISHED,
                            .bound = (double)NAN,
                            .standard_error = (double)NAN,
                            .evaluations = elbo->draw};
    if (!elbo->ended) {
        return;
    }
    ret->status = elbo->failed ? FM_ROW_NON_FINITE : FM_ROW_OK;
    if (!elbo->failed) {
        double of_end = end->n > 0 ? end->sum / (double)end->n : 0;
        ret->bound = -(integral->sum / (double)integral->n + of_end);
        ret->standard_error = sqrt(variance(integral) + variance(end));
    }
}
