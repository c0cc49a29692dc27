#include "proto/stages.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void fmp_stages_free(fmp_stages *stages)
{
    if (stages == NULL) {
        return;
    }
    free(stages->given);
    free(stages->backward);
    free(stages->source_labels);
    free(stages->encoded);
    free(stages->latents);
    free(stages->earlier);
    free(stages->errors);
    free(stages->weights);
    free(stages);
}

/* ---- Jobs ---- */

size_t fmp_request_n_jobs(const fmp_request *request)
{
    return request->stages != NULL ? request->stages->n_jobs : 1;
}

/* The flow of the labels alone is the one that can be followed back and forth. */
static void leave_unguided(fm_job_spec *spec)
{
    spec->guidance = (fm_guidance){.scale = 1};
}

fm_job_spec fmp_request_job(const fmp_request *request, size_t index)
{
    const fmp_stages *stages = request->stages;
    fm_job_spec spec = request->spec;
    assert(index < fmp_request_n_jobs(request));
    if (stages == NULL || stages->jobs[index] == FMP_STAGE_DECODE) {
        return spec;
    }
    leave_unguided(&spec);
    spec.n_rows = stages->n_given;
    if (stages->weights == NULL) { /* an interpolation has one label for all rows */
        spec.labels = stages->source_labels;
    }
    if (stages->jobs[index] == FMP_STAGE_ENCODE) {
        spec.x = stages->given;
        spec.solver.grid = stages->backward;
    } else {
        spec.x = stages->encoded;
    }
    return spec;
}

fm_job_estimate fmp_request_estimate(const fmp_request *request, size_t workers)
{
    fm_job_estimate sum = {.evaluations = 0};
    for (size_t i = 0; i < fmp_request_n_jobs(request); i++) {
        fm_job_spec spec = fmp_request_job(request, i);
        fm_job_estimate job = fm_job_estimate_of(&spec, workers);
        sum.evaluations += job.evaluations;
        sum.work_seconds += job.work_seconds;
        sum.seconds += job.seconds;
    }
    return sum;
}

size_t fmp_request_job_bytes(const fmp_request *request)
{
    size_t most = 0;
    for (size_t i = 0; i < fmp_request_n_jobs(request); i++) {
        fm_job_spec spec = fmp_request_job(request, i);
        size_t bytes = fm_job_size_bytes(&spec);
        most = bytes > most ? bytes : most;
    }
    return most;
}

fm_job_stats fmp_request_statistics(const fmp_request *request, const fm_job *last)
{
    fm_job_stats stats = fm_job_statistics(last);
    const fmp_stages *stages = request->stages;
    if (stages != NULL) {
        stats.queue_seconds += stages->queue_seconds;
        stats.compute_seconds += stages->compute_seconds;
        for (size_t i = 0; i < stages->n_given; i++) {
            stats.evaluations += stages->earlier[i].evaluations;
        }
    }
    return stats;
}

/* ---- Between two jobs ---- */

/* Row `row` of the latents, as answers write them, becomes where its decoding starts: whoever sends them again in
 * base64 gets the same samples. A latent beyond float32 is clamped, for answers hold no infinity. */
static void round_latent(fmp_stages *stages, size_t row)
{
    double *x = stages->x + row * stages->dimension;
    float *latent = stages->latents + row * stages->dimension;
    for (size_t i = 0; i < stages->dimension; i++) {
        latent[i] = (float)fmax(fmin(x[i], (double)FLT_MAX), -(double)FLT_MAX);
        x[i] = (double)latent[i];
    }
}

void fmp_stages_interpolate(fmp_stages *stages, const double *a, const double *b)
{
    for (size_t row = 0; row < stages->n_rows; row++) {
        fm_interpolate(stages->interpolation, stages->dimension, a, b, stages->weights[row],
                       stages->x + row * stages->dimension);
        round_latent(stages, row);
    }
}

static void widen(const float *from, size_t n, double *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)from[i];
    }
}

static void add_counts(fmp_earlier *earlier, const fm_row_result *row)
{
    earlier->evaluations += row->evaluations;
    earlier->accepted += row->accepted;
    earlier->rejected += row->rejected;
}

static void keep_encoding(fmp_request *request, size_t i, const fm_row_result *row)
{
    fmp_stages *stages = request->stages;
    size_t dimension = stages->dimension;
    stages->earlier[i].status = row->status;
    stages->earlier[i].t = row->t;
    if (stages->encoded != NULL) {
        widen(row->x, dimension, stages->encoded + i * dimension);
    }
    if (stages->weights == NULL) {
        double *x = stages->x + i * dimension;
        widen(row->x, dimension, x);
        fm_latent_renew(stages->path, request->spec.solver.grid[0], request->spec.seed, i,
                        stages->noise, dimension, x);
        round_latent(stages, i);
    }
}

/* From given point i. */
static double distance(const fmp_stages *stages, size_t i, const float *x)
{
    const double *given = stages->given + i * stages->dimension;
    double square = 0;
    for (size_t k = 0; k < stages->dimension; k++) {
        square += ((double)x[k] - given[k]) * ((double)x[k] - given[k]);
    }
    return sqrt(square);
}

void fmp_request_keep(fmp_request *request, size_t index, const fm_job *job)
{
    fmp_stages *stages = request->stages;
    assert(index + 1 < fmp_request_n_jobs(request) && fm_job_n_rows(job) == stages->n_given);
    bool encodes = stages->jobs[index] == FMP_STAGE_ENCODE;
    for (size_t i = 0; i < stages->n_given; i++) {
        fm_row_result row;
        fm_job_row(job, i, &row);
        add_counts(&stages->earlier[i], &row);
        if (encodes) {
            keep_encoding(request, i, &row);
        } else if (row.status == FM_ROW_OK && stages->earlier[i].status == FM_ROW_OK) {
            stages->errors[i] = distance(stages, i, row.x);
        }
    }
    if (encodes && stages->weights != NULL) {
        fmp_stages_interpolate(stages, stages->encoded, stages->encoded + stages->dimension);
    }
    fm_job_stats stats = fm_job_statistics(job);
    stages->queue_seconds += stats.queue_seconds;
    stages->compute_seconds += stats.compute_seconds;
}

/* ---- The answer ---- */

size_t fmp_stages_row_of(const fmp_stages *stages, size_t given)
{
    return stages->weights == NULL ? given : given * (stages->n_rows - 1);
}

/* A row of an interpolation follows from both given points, but at the ends. */
static bool follows_from(const fmp_stages *stages, size_t row, size_t given)
{
    bool between = row > 0 && row + 1 < stages->n_rows;
    return row == fmp_stages_row_of(stages, given) || (stages->weights != NULL && between);
}

void fmp_stages_merge(const fmp_stages *stages, size_t row, fm_row_result *ret)
{
    /* An edit's rows are its points; looking at all of them for each would be a square. */
    size_t first = stages->weights == NULL ? row : 0;
    size_t end = stages->weights == NULL ? row + 1 : stages->n_given;
    fm_row_status status = ret->status;
    for (size_t i = end; i-- > first;) {
        const fmp_earlier *earlier = &stages->earlier[i];
        if (row == fmp_stages_row_of(stages, i)) {
            ret->evaluations += earlier->evaluations;
            ret->accepted += earlier->accepted;
            ret->rejected += earlier->rejected;
        }
        if (follows_from(stages, row, i) && earlier->status != FM_ROW_OK) {
            status = earlier->status;
            ret->t = earlier->t;
        }
    }
    ret->status = status;
}

double fmp_stages_error(const fmp_stages *stages, size_t given, const fm_row_result *row)
{
    if (stages->weights == NULL) {
        return stages->errors[given];
    }
    return row->status == FM_ROW_OK ? distance(stages, given, row->x) : (double)NAN;
}
