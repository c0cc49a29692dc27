/* Tensors of an answer, piece by piece, as nested lists or as {"dtype", "shape", "data"}.
 *
 * The caller opens and closes the lists outside the pieces; in base64 those calls write nothing. */
#ifndef FMP_TENSOR_H
#define FMP_TENSOR_H

#include "proto/base64.h"
#include "proto/json.h"
#include "proto/request.h"

/* The leading dimensions of an answer beside those of a sample: samples and times. */
#define FMP_TENSOR_MAX_RANK (FM_MAX_RANK + 2)

/* How the numbers of a point are written. */
typedef enum fmp_point_form {
    FMP_POINT_NUMBERS, /* as they are */
    FMP_POINT_LAT_LON, /* in lists: a unit vector as {"lat", "lon"}, in degrees */
    FMP_POINT_TOKENS,  /* in base64: int32 */
} fmp_point_form;

typedef struct fmp_tensor {
    fmp_json *json;
    bool as_lists;
    fmp_point_form form;
    fmp_base64 base64;
} fmp_tensor;

/* Says what comes: "float32", "float64" or "int32" of a shape. One piece or more follow, then the end. */
void fmp_tensor_begin(fmp_tensor *tensor, fmp_json *json, fmp_encoding encoding, const char *dtype,
                      size_t rank, const size_t *shape);
/* The same of states: points of the model's space, or vectors at them.
 *   leading  [n_leading] lengths before the model's shape */
void fmp_tensor_begin_states(fmp_tensor *tensor, fmp_json *json, const fmp_request *request,
                             const fm_model_info *model, bool are_points, size_t n_leading,
                             const size_t *leading);
/* One of them. */
void fmp_tensor_state(fmp_tensor *tensor, const fm_model_info *model, const float *state);
void fmp_tensor_open(fmp_tensor *tensor);
void fmp_tensor_close(fmp_tensor *tensor);
/* Pieces: finite numbers, row-major. */
void fmp_tensor_floats(fmp_tensor *tensor, const float *values, size_t rank, const size_t *shape);
void fmp_tensor_doubles(fmp_tensor *tensor, const double *values, size_t n);
/* One number of a list that may be minus infinity: null in a list, the least float64 in base64. */
void fmp_tensor_log(fmp_tensor *tensor, double value);
void fmp_tensor_end(fmp_tensor *tensor);

/* The header of a .npy file, version 1.0, of float32 in C order. */
void fmp_npy_write_header(fmp_buffer *buffer, size_t rank, const size_t *shape);

#endif
