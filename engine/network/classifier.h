/* A classifier p(y | x, t) = softmax(logits(x, t))[y], of states on their way from noise to data: what of it guides
 * a flow, v + w a_t grad_x log p(y | x, t), a_t being the path's.
 *
 * Source: Dhariwal and Nichol, arXiv:2105.05233; of flows: Zheng et al., arXiv:2311.13443. */
#ifndef FM_CLASSIFIER_H
#define FM_CLASSIFIER_H

#include <stddef.h>
#include <stdint.h>

/* Of s = log softmax(logits)[label]: replaces the logits, finite numbers, by d s / d logits = e_label - softmax(logits),
 * in float64. An fm_gradient_slopes.
 *   logits  [n]   label  0 to n - 1 */
void fm_classifier_slopes(size_t n, int32_t label, double *logits);

#endif
