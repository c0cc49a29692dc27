/* Networks for tests: from a model folder, or from a configuration and tensors made up on the spot. */
#ifndef TESTS_NETWORK_CASE_H
#define TESTS_NETWORK_CASE_H

#include "engine/checkpoint/model_config.h"
#include "engine/checkpoint/weights.h"
#include "engine/network/network.h"

/* A network with everything that it was made from. Zeroed is closed. */
typedef struct network_case {
    fm_model_config config;
    bool owns_config; /* read from a folder */
    fm_tensors *tensors;
    fm_weights *weights;
    fm_network *network;
} network_case;

/* Opens the model folder; aborts the test when that fails. */
void network_case_open(network_case *ret, const char *folder);
/* Makes a network from a configuration (borrowed) and the safetensors file or image (each may be NULL). */
fm_status network_case_make(network_case *ret, const fm_model_config *config, const char *file,
                            const void *image, size_t image_bytes, fm_error *err);
void network_case_close(network_case *it);

/* A tensor of any dtype, integers too, as float64 [*ret_count]; aborts the test when there is none.
 * The caller frees it. */
double *network_case_tensor(const fm_tensors *tensors, const char *name, size_t *ret_count);

/* A safetensors image of float32 tensors, small smooth numbers by position. */
typedef struct tensor_shape {
    const char *name; /* NULL ends a list */
    size_t rank, shape[2];
} tensor_shape;

/* The caller frees it. */
unsigned char *network_case_image(const tensor_shape *shapes, size_t *ret_bytes);

/* Evaluates the network at n points, in tiles of at most max_tile rows.
 *   x [n][dimension]   t [n]   label [n] or NULL   out [n][out_dimension]   log_density [n] or NULL */
void network_case_eval(const fm_network *network, size_t n, size_t max_tile, const double *x,
                       const double *t, const double *label, double *out, double *log_density);

/* max |a - b| over the root mean square of b. */
double network_case_error(size_t n, const double *a, const double *b);
/* The root mean square of a - b over that of b. */
double network_case_mean_error(size_t n, const double *a, const double *b);

/* The network against the case's network.safetensors: network_case_error() over all of it, and
 * network_case_mean_error() where ret_mean_error is not NULL. */
double network_case_reference_error(const network_case *it, const char *folder,
                                    double *ret_mean_error);

#endif
