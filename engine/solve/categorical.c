/* Logits to weights, and draws from weights. */
#include "engine/solve/categorical.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define LANES ((size_t)4)
#define BLOCK ((size_t)64) /* weights that the search passes over at once */

/* ---- passes over all logits ----
 *
 * Compilers make no vectors of loops that compare numbers of floating point and choose, for a comparison may trap. So
 * their bits are compared, as whole numbers. */

static inline int64_t bits_of(double x)
{
    int64_t ret;
    memcpy(&ret, &x, sizeof ret);
    return ret;
}

static inline double of_bits(int64_t bits)
{
    double ret;
    memcpy(&ret, &bits, sizeof ret);
    return ret;
}

/* Further below 0, e^x is so small beside 1 that no draw could tell it from 0; up to here, 2^n is a normal number. */
#define MOST 700.0
/* 1.5 * 2^52: added, it rounds to a whole number, which then is in the low bits. */
#define ROUNDER 6755399441055744.0

/* e^-x for x >= 0 within two units of the last place, 0 beyond MOST. -x = n ln 2 + r with |r| <= ln(2)/2, ln 2 in two
 * parts, of which the first leaves room for n; Taylor's series of e^r up to r^13/13!, whose rest is below 2^-57. */
static inline double exp_minus(double x)
{
    int64_t most = bits_of(MOST), found = bits_of(x);
    int64_t far = -(int64_t)((uint64_t)(most - found) >> 63); /* all bits, or none */
    double kept = of_bits((most & far) | (found & ~far));
    double shifted = ROUNDER - kept * 1.4426950408889634;
    double n = shifted - ROUNDER;
    double r = -(kept + n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1;
    p = p * r + 1;
    /* n is added to the exponent: what ROUNDER has above its low bits is shifted out. */
    uint64_t scaled = (uint64_t)bits_of(p) + ((uint64_t)bits_of(shifted) << 52);
    return of_bits((int64_t)scaled & ~far);
}

/* Numbers in their order, as whole numbers; the same function leads back. */
static inline int64_t order_of(int64_t bits)
{
    return bits ^ (bits < 0 ? INT64_MAX : 0);
}

static double largest_of(size_t n, const double *x)
{
    int64_t most[LANES] = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            int64_t order = order_of(bits_of(x[i + lane]));
            most[lane] = order > most[lane] ? order : most[lane];
        }
    }
    for (; i < n; i++) {
        int64_t order = order_of(bits_of(x[i]));
        most[0] = order > most[0] ? order : most[0];
    }
    for (size_t lane = 1; lane < LANES; lane++) {
        most[0] = most[lane] > most[0] ? most[lane] : most[0];
    }
    return of_bits(order_of(most[0]));
}

/* ---- the largest ---- */

static bool is_larger(const double *weights, size_t a, size_t b)
{
    bool precedes = a < b;
    return weights[a] == weights[b] ? precedes : weights[a] > weights[b];
}

/* order [n] is a heap, its largest first, but for the entry at `at`. */
static void sift(const double *weights, size_t n, size_t *order, size_t at)
{
    size_t moved = order[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && is_larger(weights, order[child + 1], order[child]);
        if (!is_larger(weights, order[child], moved)) {
            break;
        }
        order[at] = order[child];
    }
    order[at] = moved;
}

/* Takes the largest that is left out of the heap and puts it behind it. */
static double take_largest(const double *weights, size_t *n_left, size_t *order)
{
    size_t largest = order[0], last = --*n_left;
    order[0] = order[last];
    order[last] = largest;
    sift(weights, last, order, 0);
    return weights[largest];
}

/* Where the largest k have been taken, how many of them have the share top_p of their sum. */
static size_t share_of(const double *weights, size_t n, size_t k, const size_t *order, double top_p)
{
    double sum = 0, running = 0;
    for (size_t i = 0; i < k; i++) {
        sum += weights[order[n - 1 - i]];
    }
    size_t count = 0;
    while (count < k && (count == 0 || running < top_p * sum)) {
        running += weights[order[n - 1 - count++]];
    }
    return count;
}

static void keep_largest(const fm_categorical *how, size_t n, double *weights, size_t *order)
{
    size_t left = n, k = how->top_k > 0 && how->top_k < n ? how->top_k : n, kept;
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (size_t i = n / 2; i > 0; i--) {
        sift(weights, n, order, i - 1);
    }
    if (k < n) {
        while (n - left < k) {
            (void)take_largest(weights, &left, order);
        }
        kept = how->top_p < 1 ? share_of(weights, n, k, order, how->top_p) : k;
    } else {
        double running = 0, share = how->top_p * fm_categorical_sum(n, weights);
        while (left > 0 && (left == n || running < share)) {
            running += take_largest(weights, &left, order);
        }
        kept = n - left;
    }
    for (size_t i = 0; i < n - kept; i++) {
        weights[order[i]] = 0;
    }
}

/* ---- weights ---- */

bool fm_categorical_sorts(const fm_categorical *how, size_t n)
{
    return how->temperature > 0 && ((how->top_k > 0 && how->top_k < n) || how->top_p < 1);
}

static double weigh_largest(size_t n, double largest, double *logits)
{
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        bool is_first = !found && logits[i] == largest;
        found |= is_first;
        logits[i] = is_first;
    }
    return 1;
}

double fm_categorical_weigh(const fm_categorical *how, size_t n, double *logits, size_t *order)
{
    if (how->excluded < n) {
        assert(n > 1);
        logits[how->excluded] = -HUGE_VAL;
    }
    double largest = largest_of(n, logits), temperature = how->temperature;
    if (temperature == 0) {
        return weigh_largest(n, largest, logits);
    }
    if (temperature == 1) {
        for (size_t i = 0; i < n; i++) {
            logits[i] = exp_minus(largest - logits[i]);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            logits[i] = exp_minus((largest - logits[i]) / temperature);
        }
    }
    if (fm_categorical_sorts(how, n)) {
        keep_largest(how, n, logits, order);
    }
    return fm_categorical_sum(n, logits);
}

/* ---- draws ---- */

static double sum_block(size_t n, const double *weights)
{
    double sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            sums[lane] += weights[i + lane];
        }
    }
    for (size_t lane = 0; i < n; i++, lane++) {
        sums[lane] += weights[i];
    }
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

static size_t block_at(size_t n, size_t first)
{
    return n - first < BLOCK ? n - first : BLOCK;
}

double fm_categorical_sum(size_t n, const double *weights)
{
    double total = 0;
    for (size_t first = 0; first < n; first += BLOCK) {
        total += sum_block(block_at(n, first), weights + first);
    }
    return total;
}

size_t fm_categorical_draw(size_t n, const double *weights, double total, double u)
{
    double target = u * total, before = 0;
    size_t last = 0; /* of those with weight; what rounding leaves beyond all is its */
    for (size_t first = 0; first < n; first += BLOCK) {
        size_t count = block_at(n, first);
        double after = before + sum_block(count, weights + first);
        bool is_here = after > target;
        for (size_t i = first; is_here && i < first + count; i++) {
            before += weights[i];
            last = weights[i] > 0 ? i : last;
            if (before > target) {
                return i;
            }
        }
        if (is_here) {
            return last;
        }
        before = after;
    }
    for (size_t i = n; i > 0; i--) {
        if (weights[i - 1] > 0) {
            return i - 1;
        }
    }
    return last;
}
