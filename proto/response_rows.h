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
/* Of FM_TASK_BOUND. */
void fmp_response_write_bound(fmp_buffer *buffer, const fmp_request *request,
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
 *   which  the field that it is, FM_FIELD_X of samples; passed to state() */
typedef const float *fmp_row_state(const fm_row_result *row, unsigned which);
void fmp_response_write_states(fmp_json *json, const char *key, const fmp_request *request,
                               const fm_model_info *model, const fmp_rows *rows,
                               fmp_row_state *state, unsigned which);
/* One number of every row: `key`: [n_rows], float64, null where it is not finite.
 *   which  passed to number() */
typedef double fmp_row_number(const fm_row_result *row, unsigned which);
void fmp_response_write_numbers(fmp_json *json, const char *key, const fmp_request *request,
                                const fmp_rows *rows, fmp_row_number *number, unsigned which);
/* One number of every state on the way: `name of the field`: [n_rows, n_times], or of each row as many as it has. */
void fmp_response_write_state_numbers(fmp_json *json, unsigned id, size_t n_times,
                                      const fmp_request *request, const fmp_rows *rows);
void fmp_response_write_own_numbers(fmp_json *json, unsigned id, const fmp_rows *rows);
/* "log_likelihood", "standard_error" of several probes, "bits_per_dimension" of images */
void fmp_response_write_log_likelihood(fmp_json *json, const fmp_request *request,
                                       const fm_model_info *model, const fmp_rows *rows);
/* Whether the answer depends on probes or noise that are drawn by the seed, though its points are given. */
bool fmp_response_draws_probes(const fmp_request *request);
/* "text" of every row, where tokens have names */
void fmp_response_write_text(fmp_json *json, const fm_model_info *model, const fmp_rows *rows);
/* "seed", as sent or drawn */
void fmp_response_write_seed(fmp_json *json, const fmp_request *request);
/* "guidance", of models that have labels or are guided by others */
void fmp_response_write_guidance(fmp_json *json, const fmp_request *request,
                                 const fm_model_info *model);
/* "weights" of an interpolation, "x0" (the latents that were decoded), "round_trip_error" where data was given */
void fmp_response_write_latents(fmp_json *json, const fmp_request *request,
                                const fm_model_info *model, const fmp_rows *rows);
/* "residual" of every row, and "observation": of those that have one */
void fmp_response_write_residuals(fmp_json *json, const fmp_request *request, const fmp_rows *rows);
void fmp_response_write_observation(fmp_json *json, const fmp_request *request);
/* "divergence": how they were found, where the answer has any */
void fmp_response_write_divergence(fmp_json *json, const fmp_request *request);
/* The sample of every row as a picture: `key`: [n_rows] strings of base64. Fails the buffer where
 * fmp_image_of() says no. */
void fmp_response_write_pictures(fmp_json *json, const char *key, const fm_model_info *model,
                                 const fmp_rows *rows);

#endif
