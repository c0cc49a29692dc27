/* Draws of a token from logits: temperature, the most likely tokens alone, softmax, a cumulative search. For engine/solve.
 *
 * All is float64: in float32 the running sum of a vocabulary of 50,000 tokens no longer moves by a token of probability
 * 1e-8, which then is never drawn. Nothing is allocated. The exponential is our own, so that its bits are those of no
 * libm. */
#ifndef FM_CATEGORICAL_H
#define FM_CATEGORICAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_CATEGORICAL_NONE SIZE_MAX

/* How logits become a distribution, in this order. Of equal ones the first index counts as the larger. */
typedef struct fm_categorical {
    size_t excluded;    /* an index that is never drawn; FM_CATEGORICAL_NONE */
    double temperature; /* >= 0: logits are divided by it; 0: the largest alone */
    size_t top_k;       /* so many of the largest; 0: all */
    double
        top_p; /* (0, 1]: of these the fewest, largest first, that have this share of their probability */
} fm_categorical;

/* Whether some are left out by size, which takes scratch and, beyond one pass, O(n + m log n) for m that are not. */
bool fm_categorical_sorts(const fm_categorical *how, size_t n);

/* logits [n], finite, become weights in place: their probabilities times the sum that is returned; the largest is 1.
 * n > 1 where one is excluded.
 *   order  [n] scratch where fm_categorical_sorts(), else not read */
double fm_categorical_weigh(const fm_categorical *how, size_t n, double *logits, size_t *order);

/* The index whose share of the cumulative sum u, in (0, 1), falls into; never one of weight 0.
 *   total  the sum of the weights, above 0: fm_categorical_sum() */
size_t fm_categorical_draw(size_t n, const double *weights, double total, double u);
double fm_categorical_sum(size_t n, const double *weights);

#endif
