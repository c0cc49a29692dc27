/* The derivative of a label's log probability in the logits. */
#include "engine/network/classifier.h"

#include <assert.h>
#include <math.h>

void fm_classifier_slopes(size_t n, int32_t label, double *logits)
{
    assert(label >= 0 && (size_t)label < n);
    double largest = logits[0], sum = 0;
    for (size_t i = 1; i < n; i++) {
        largest = fmax(largest, logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        logits[i] = exp(logits[i] - largest); /* no overflow, and a sum of at least 1 */
        sum += logits[i];
    }
    /* 1 - p of the label is the others' share: so it keeps its digits where p is near 1. */
    double others = 0;
    for (size_t i = 0; i < n; i++) {
        others += i == (size_t)label ? 0.0 : logits[i];
        logits[i] /= -sum;
    }
    logits[label] = others / sum;
}
