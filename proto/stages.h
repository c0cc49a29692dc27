/* Requests that take several jobs, one after the other: data is encoded, what came of it changed, and decoded.
 *
 *   interpolate  x1 --encode--> two latents --interpolate--> x --decode--> samples
 *   edit         x1 --encode--> latents --renew a share--> x --decode--> samples
 *                                  \-- round trip: decoded as they are, for the error
 *
 * Everything is allocated when the request is parsed, so that nothing can fail between two jobs. A row goes on from the
 * last finite state of a job that it has not ended well, and keeps that job's status.
 * Source: Su et al., arXiv:2203.08382, for edits by another label; Song et al., arXiv:2010.02502, section 5.3, for
 * interpolation. */
#ifndef FMP_STAGES_H
#define FMP_STAGES_H

#include "proto/request.h"

#define FMP_MAX_JOBS 3

typedef enum fmp_stage {
    FMP_STAGE_ENCODE,     /* given data to the source, by the source's labels alone */
    FMP_STAGE_ROUND_TRIP, /* and back */
    FMP_STAGE_DECODE,     /* fmp_request.spec */
} fmp_stage;

/* What the jobs before the last say of a given point. */
typedef struct fmp_earlier {
    fm_row_status status; /* of its encoding; not ok: t is the time at which that ended */
    double t;
    uint64_t evaluations, accepted, rejected; /* of all of them */
} fmp_earlier;

/* Owned by its request, but for what it borrows from there and from the model. */
struct fmp_stages {
    fmp_stage jobs[FMP_MAX_JOBS];
    size_t n_jobs;
    size_t dimension, n_given, n_rows; /* n_rows: of the last job */
    double *given;          /* [n_given][dimension], x1 of the request or, not encoded, x0 */
    double *backward;       /* [n_grid] the grid reversed; NULL: nothing is encoded */
    int32_t *source_labels; /* [n_given] of an edit; NULL: the null class */
    /* [n_given][dimension] the latents of the given points: of a round trip, or of an interpolation that encodes;
     * else NULL. */
    double *encoded;
    double *x;            /* [n_rows][dimension] where decoding starts: fmp_request.x */
    float *latents;       /* [n_rows][dimension] the same: what is decoded is what is answered */
    fmp_earlier *earlier; /* [n_given] */
    double *errors;       /* [n_given] of an edit's round trip, NAN where it is not known */
    double *weights;      /* [n_rows] of an interpolation; NULL: an edit */
    fm_interpolation interpolation;
    double noise;                          /* the share of an edit's latents that is drawn anew */
    const fm_path *path;                   /* that the flow follows; borrowed */
    double queue_seconds, compute_seconds; /* of the jobs before the last */
};

void fmp_stages_free(fmp_stages *stages); /* takes NULL */

/* Fills x and latents of an interpolation from the two. */
void fmp_stages_interpolate(fmp_stages *stages, const double *a, const double *b);

/* ---- Any request ---- */

/* How many jobs it takes: 1 without stages. */
size_t fmp_request_n_jobs(const fmp_request *request);
/* Job `index`, to be submitted when those before it were kept and freed. Borrows from the request. */
fm_job_spec fmp_request_job(const fmp_request *request, size_t index);
/* Takes what later jobs and the answer need from job `index`, which is finished, FM_OK and not the last. */
void fmp_request_keep(fmp_request *request, size_t index, const fm_job *job);
/* Of all jobs together; bytes of the largest, for each is freed before the next. */
fm_job_estimate fmp_request_estimate(const fmp_request *request, size_t workers);
size_t fmp_request_job_bytes(const fmp_request *request);
fm_job_stats fmp_request_statistics(const fmp_request *request, const fm_job *last);

/* ---- The answer of one with stages ---- */

/* Adds what the earlier jobs say of a row to the last one's result. */
void fmp_stages_merge(const fmp_stages *stages, size_t row, fm_row_result *ret);
/* The row that ends where given point i began. */
size_t fmp_stages_row_of(const fmp_stages *stages, size_t given);
/* The distance between given point i and its round trip; NAN where it is not known.
 *   row  merged, of fmp_stages_row_of() */
double fmp_stages_error(const fmp_stages *stages, size_t given, const fm_row_result *row);

#endif
