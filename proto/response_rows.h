/* Answers from rows, wherever they come from: response.c takes them from a job, tests from arrays. */
#ifndef FMP_RESPONSE_ROWS_H
#define FMP_RESPONSE_ROWS_H

#include "proto/response.h"

typedef struct fmp_rows {
    size_t n_rows;
    void (*at)(const void *context, size_t row, fm_row_result *ret);
    const void *context;
    fm_job_stats stats;
} fmp_rows;

/* Whatever the request asks for, in its encoding. */
void fmp_response_write_rows(fmp_buffer *buffer, const fmp_request *request,
                             const fm_model_info *model, const char *id, const fmp_rows *rows);
void fmp_response_write_sample(fmp_buffer *buffer, const fmp_request *request,
                               const fm_model_info *model, const char *id, const fmp_rows *rows);
void fmp_response_write_velocity(fmp_buffer *buffer, const fmp_request *request,
                                 const fm_model_info *model, const char *id, const fmp_rows *rows);
/* samples, or velocity, as a .npy file. The latter needs the field velocity. */
void fmp_response_write_npy(fmp_buffer *buffer, const fmp_request *request,
                            const fm_model_info *model, const fmp_rows *rows);

/* samples on one picture; fails the buffer where fmp_image_of() says no. */
void fmp_response_write_png_grid(fmp_buffer *buffer, const fm_model_info *model,
                                 const fmp_rows *rows);

/* ---- Shared by the above ---- */

typedef struct fmp_json fmp_json;

/* "id", "model" and "model_version" */
void fmp_response_write_head(fmp_json *json, const fm_model_info *model, const char *id);
/* `key`: the scheduler's type and parameters; of a table the type. */
void fmp_response_write_path(fmp_json *json, const char *key, const fm_path *path);
/* "queue_ms" and "compute_ms", to the microsecond */
void fmp_response_write_times(fmp_json *json, const fm_job_stats *stats);
/* "status" of every row */
void fmp_response_write_statuses(fmp_json *json, const fmp_rows *rows);
/* One state of every row: `key`: [n_rows, …shape].
 *   which  passed to state() */
typedef const float *fmp_row_state(const fm_row_result *row, unsigned which);
void fmp_response_write_states(fmp_json *json, const char *key, const fmp_request *request,
                               const fm_model_info *model, const fmp_rows *rows,
                               fmp_row_state *state, unsigned which);
/* The sample of every row as a picture: `key`: [n_rows] strings of base64. Fails the buffer where
 * fmp_image_of() says no. */
void fmp_response_write_pictures(fmp_json *json, const char *key, const fm_model_info *model,
                                 const fmp_rows *rows);

#endif
