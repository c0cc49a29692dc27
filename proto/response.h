/* Answers: results to bytes. Arrays of numbers go through number.h straight into the buffer, small
 * envelopes through jansson. Pure; any thread. */
#ifndef FMP_RESPONSE_H
#define FMP_RESPONSE_H

#include "proto/request.h"

/* The 200 answer of any request in its encoding (NPY: samples, or velocity, as one .npy float32 array; PNG_GRID:
 * samples on one picture). job, the request's last, is finished and not cancelled; those before it were kept. NPY of a velocity needs
 * velocity among the fields; without it the answer is JSON, so callers refuse that before.
 *   id  the request's id, echoed as "id" */
void fmp_response_write(fmp_buffer *buffer, const fmp_request *request, const fm_model_info *model,
                        const char *id, const fm_job *job);

/* The answer of ?dry_run=1: evaluations, estimated milliseconds, answer bytes. */
void fmp_response_write_dry_run(fmp_buffer *buffer, const fmp_request *request,
                                const fm_model_info *model, size_t workers);

/* GET /v1/models, /v1/models/{model}, /v1/solvers, /version. */
void fmp_response_write_models(fmp_buffer *buffer, const fm_model_info *const *models,
                               size_t n_models);
void fmp_response_write_model(fmp_buffer *buffer, const fm_model_info *model);
void fmp_response_write_solvers(fmp_buffer *buffer);
void fmp_response_write_version(fmp_buffer *buffer, const char *version);

#endif
