/* The ops of frames as their definitions say. */
#include "tests/support/plan_case_naive_frames.h"

#include <math.h>

void plan_naive_relative_frames(size_t n, size_t bins, const double *state, double *ret)
{
    for (size_t p = 0; p < n * n; p++) {
        const double *i = state + 12 * (p / n), *j = state + 12 * (p % n);
        double *out = ret + p * (12 + bins), square = 1e-6;
        for (size_t c = 0; c < 3; c++) {
            out[c] = 0;
            for (size_t a = 0; a < 3; a++) {
                out[c] += i[3 * a + c] * (j[9 + a] - i[9 + a]);
            }
            square += out[c] * out[c];
            for (size_t d = 0; d < 3; d++) {
                out[3 + 3 * c + d] = i[c] * j[d] + i[3 + c] * j[3 + d] + i[6 + c] * j[6 + d];
            }
        }
        for (size_t k = 0; k < bins; k++) {
            double z = sqrt(square) / PLAN_NAIVE_BUMP_WIDTH - (double)k;
            out[12 + k] = exp(-z * z / 2);
        }
    }
}

static double logit(const plan_naive_pairs *it, size_t head, size_t i, size_t j)
{
    size_t d = it->head_channels, width = it->heads * d;
    const double *q = it->qkv + i * 3 * width + head * d;
    const double *k = it->qkv + j * 3 * width + width + head * d;
    double sum = 0;
    for (size_t c = 0; c < d; c++) {
        sum += q[c] * k[c];
    }
    return sum / sqrt((double)d) + it->bias[(i * it->n + j) * it->heads + head];
}

void plan_naive_pair_attention(const plan_naive_pairs *it, double *ret)
{
    size_t d = it->head_channels, width = it->heads * d, pairs = it->pair_channels;
    for (size_t m = 0; m < it->heads * it->n; m++) {
        size_t head = m / it->n, i = m % it->n;
        double *out = ret + i * (width + it->heads * pairs), sum = 0;
        for (size_t j = 0; j < it->n; j++) {
            sum += exp(logit(it, head, i, j));
        }
        for (size_t c = 0; c < d + pairs; c++) {
            double total = 0;
            for (size_t j = 0; j < it->n; j++) {
                total += exp(logit(it, head, i, j)) / sum *
                         (c < d ? it->qkv[j * 3 * width + 2 * width + head * d + c]
                                : it->pairs[(i * it->n + j) * pairs + c - d]);
            }
            out[c < d ? head * d + c : width + head * pairs + c - d] = total;
        }
    }
}

void plan_naive_frames_output(size_t n, const double *nodes, const double *state, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        const double *node = nodes + 6 * i, *rotation = state + 12 * i;
        for (size_t a = 0; a < 3; a++) {
            ret[6 * i + a] = node[a];
            ret[6 * i + 3 + a] = rotation[3 * a] * node[3] + rotation[3 * a + 1] * node[4] +
                                 rotation[3 * a + 2] * node[5];
        }
    }
}
