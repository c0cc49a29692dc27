/* Rates of tokens, the chance of a jump, draws and their law. */
#include "engine/solve/jump.h"

#include <math.h>

/* Means are kept below it, so that their quotients are numbers: e^-MOST is 0. */
#define MOST 1e300

/* c(t). */
static double corrector_at(const fm_corrector *corrector, double t)
{
    if (corrector->scale == 0) {
        return 0;
    }
    return corrector->scale * pow(t, corrector->power) * pow(1 - t, corrector->end_power);
}

static double chance_of_one(const fm_jump *jump, double mean)
{
    return jump->leaps ? mean * exp(-mean) : -expm1(-mean);
}

static bool arrives_at(const fm_path_point *to, bool last)
{
    return last && to->alpha >= 1;
}

fm_jump fm_jump_make(fm_jump_form form, const fm_path *path, const fm_sampling *sampling,
                     const fm_space_part *part, double t, double s, bool last)
{
    fm_path_point from = fm_path_at(path, t), to = fm_path_at(path, s);
    bool is_mask = part->source.id == FM_SOURCE_MASK;
    bool arrives = arrives_at(&to, last);
    double c = from.alpha > 0 ? corrector_at(&sampling->corrector, t) : 0;
    double to_x1 = (s - t) * from.d_alpha / (1 - from.alpha);
    double to_p0 = c > 0 ? c * (s - t) * from.d_alpha / from.alpha : 0;
    if (form == FM_JUMP_EXACT) {
        to_x1 = -log1p((from.alpha - to.alpha) / (1 - from.alpha));
        to_p0 = c > 0 ? c * log(to.alpha / from.alpha) : 0;
    }
    fm_jump ret = {
        .vocabulary = part->vocabulary,
        .is_mask = is_mask,
        .arrives = arrives,
        .leaps = form == FM_JUMP_TAU_LEAPING,
        .to_x1 = fmin((1 + c) * to_x1, MOST),
        .to_p0 = fmin(to_p0, MOST),
        .how = {.excluded = arrives && is_mask ? part->vocabulary - 1 : FM_CATEGORICAL_NONE,
                .temperature = sampling->temperature,
                .top_k = sampling->top_k,
                .top_p = sampling->top_p},
    };
    double mean = ret.to_x1 + ret.to_p0;
    ret.most = chance_of_one(&ret, ret.leaps ? fmin(mean, 1) : mean);
    return ret;
}

/* The chance of a jump, in parts by where to. */
typedef struct odds {
    double to_x1, to_p0;
} odds;

/*   away  the share of p1, or of the x1 that was drawn, that is not at x */
static odds odds_at(const fm_jump *jump, size_t x, double away)
{
    double to_x1 = jump->to_x1 * away;
    double to_p0 = jump->to_p0 * (1 - fm_jump_source(jump, x));
    double mean = to_x1 + to_p0;
    double chance = chance_of_one(jump, mean);
    if (!(mean > 0)) {
        return (odds){0};
    }
    return (odds){.to_x1 = chance * (to_x1 / mean), .to_p0 = chance * (to_p0 / mean)};
}

/* One of p0 that is not x; of the mask there is no other. */
static size_t draw_source(const fm_jump *jump, size_t x, double u)
{
    size_t others = jump->vocabulary - 1;
    if (jump->is_mask) {
        return others;
    }
    size_t y = (size_t)(u * (double)others);
    y = y < others ? y : others - 1;
    return y < x ? y : y + 1;
}

size_t fm_jump_draw(const fm_jump *jump, size_t x, double *logits, size_t *order, const double u[3])
{
    size_t n = jump->vocabulary;
    if (u[0] >= jump->most && !jump->arrives) {
        return x;
    }
    double total = fm_categorical_weigh(&jump->how, n, logits, order), away = 1;
    if (jump->arrives) {
        return fm_categorical_draw(n, logits, total, u[1]);
    }
    size_t x1 = x;
    if (jump->leaps) {
        double all = total;
        logits[x] = 0;
        total = fm_categorical_sum(n, logits);
        away = total / all;
        x1 = total > 0 ? fm_categorical_draw(n, logits, total, u[1]) : x;
    } else {
        x1 = fm_categorical_draw(n, logits, total, u[1]);
        away = x1 != x;
    }
    odds chance = odds_at(jump, x, away);
    if (u[0] < chance.to_x1) {
        return x1;
    }
    return u[0] - chance.to_x1 < chance.to_p0 ? draw_source(jump, x, u[2]) : x;
}

/* law += chance times p1, or p0, without x, of which `away` lies elsewhere. */
static void spread(const fm_jump *jump, size_t x, const double *p1, odds chance, double *law)
{
    double away = 1 - fm_jump_source(jump, x);
    for (size_t y = 0; y < jump->vocabulary; y++) {
        if (y != x) {
            double of_source = away > 0 ? fm_jump_source(jump, y) / away : 0;
            law[y] = chance.to_x1 * p1[y] + chance.to_p0 * of_source;
        }
    }
}

static void arrival_law(const fm_jump *jump, const double *p1, double *law)
{
    double total = 0;
    for (size_t y = 0; y < jump->vocabulary; y++) {
        law[y] = y == jump->how.excluded ? 0 : p1[y];
        total += law[y];
    }
    for (size_t y = 0; y < jump->vocabulary; y++) {
        law[y] /= total;
    }
}

void fm_jump_law(const fm_jump *jump, size_t x, const double *p1, double *law)
{
    if (jump->arrives) {
        arrival_law(jump, p1, law);
        return;
    }
    double away = 0;
    for (size_t y = 0; y < jump->vocabulary; y++) {
        away += y == x ? 0 : p1[y];
    }
    odds chance;
    if (jump->leaps) {
        chance = odds_at(jump, x, away);
        chance.to_x1 /= away > 0 ? away : 1;
    } else {
        odds moved = odds_at(jump, x, 1), kept = odds_at(jump, x, 0);
        chance.to_x1 = moved.to_x1;
        chance.to_p0 = away * moved.to_p0 + (1 - away) * kept.to_p0;
    }
    spread(jump, x, p1, chance, law);
    double jumped = 0;
    for (size_t y = 0; y < jump->vocabulary; y++) {
        jumped += y == x ? 0 : law[y];
    }
    law[x] = 1 - jumped;
}
