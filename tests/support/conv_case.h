/* One convolution for tests: its layer, its images and what is added, for every way to make it. */
#ifndef TESTS_CONV_CASE_H
#define TESTS_CONV_CASE_H

#include "engine/math/conv_common.h"
#include "tests/support/image_case.h"

/* Kernels and routes; a case that a way does not take, or this machine, has no layer of it. */
#define CONV_CASE_WAYS ((size_t)9)

enum {
    BIAS = 1,
    ROW_BIAS = 2,
    GATE = 4,
    RESIDUAL = 8,
    IN_PLACE = 16
}; /* in place: with RESIDUAL */

typedef struct conv_shape {
    size_t kernel, stride, height, width, inputs, outputs, images;
    unsigned extras;
    fm_activation activation;
} conv_shape;

/* Zeroed is closed. */
typedef struct conv_case {
    conv_shape shape;
    fm_conv_spec spec;
    float *weight, *bias, *row_bias, *gate;
    size_t row_stride; /* of row biases and gates */
    image_case in, residual, out;
    double *sums, *sizes; /* of the outputs' terms; the test's own, freed with the case */
    unsigned char *scratch;
    size_t scratch_bytes;
} conv_case;

void conv_case_open(conv_case *ret, const conv_shape *shape);
void conv_case_close(conv_case *it);

/* The layer of a way, or NULL; aborts the test when it cannot be built. */
fm_conv *conv_case_layer(const conv_case *it, size_t way);
fm_conv_route conv_case_route(size_t way); /* as asked for */
/* "avx512, winograd" */
const char *conv_case_way(const fm_conv *conv);

/* The call for images [first, first + n), with their row biases and gates; no residual. */
fm_conv_call conv_case_call(const conv_case *it, size_t first, size_t n, size_t n_members);
/* Runs images [first, first + n) into it->out: the pieces from the last to the first, each with a scratch
 * of NaNs. Fails the test where anything is written outside the images' pixels or the scratch. */
void conv_case_run(conv_case *it, const fm_conv *conv, size_t first, size_t n, size_t n_members);

#endif
