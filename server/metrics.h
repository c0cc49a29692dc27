/* What is counted for /metrics, in Prometheus' text format 0.0.4; the metrics are rows of metrics.def. */
#ifndef FMD_METRICS_H
#define FMD_METRICS_H

#include "engine/fm.h"
#include "proto/buffer.h"
#include "server/models.h"
#include "server/routes.h"

#define FMD_STATUS_MAX        600
#define FMD_HISTOGRAM_BUCKETS 16

/* Seconds in buckets from 100 microseconds to 100 seconds. */
typedef struct fmd_histogram {
    uint64_t buckets[FMD_HISTOGRAM_BUCKETS + 1]; /* the last: above every bound */
    double sum;
    uint64_t count;
} fmd_histogram;

void fmd_histogram_add(fmd_histogram *histogram, double seconds);

typedef enum fmd_outcome {
    FMD_COMPLETED,
    FMD_CANCELLED, /* the client went away */
    FMD_EXPIRED,   /* its deadline passed */
    FMD_REFUSED,   /* queue or memory full, or shutting down */
    FMD_FAILED,
    FMD_OUTCOME_COUNT,
} fmd_outcome;

/* What is counted for each model, and of requests that name none that is served. */
typedef struct fmd_model_metrics {
    uint64_t requests[FMD_ROUTE_COUNT + 1][FMD_STATUS_MAX]; /* the last route: none */
    fmd_histogram duration[FMD_ROUTE_COUNT + 1];
    fmd_histogram queue, run;
    uint64_t outcomes[FMD_OUTCOME_COUNT];
    uint64_t body_bytes; /* of bodies being read, now */
} fmd_model_metrics;

/* Written by the loop thread alone. */
typedef struct fmd_metrics {
    fmd_model_metrics *models; /* [n_models + 1]: the last of no model */
    size_t n_models;
    uint64_t connections, connections_total, connections_refused;
} fmd_metrics;

/* Before the first request. Errors: FM_ENOMEM. */
FM_MUST_USE fm_status fmd_metrics_init(fmd_metrics *metrics, size_t n_models, fm_error *err);
void fmd_metrics_done(fmd_metrics *metrics); /* takes a zeroed one */
/* model: an index, or FMD_NO_MODEL */
fmd_model_metrics *fmd_metrics_of(fmd_metrics *metrics, size_t model);
void fmd_metrics_add_request(fmd_metrics *metrics, size_t model, fmd_route route, unsigned status,
                             double seconds);

/* What the admitted requests of a model hold, and its bodies being read. */
typedef struct fmd_usage {
    uint64_t requests;
    double seconds;
    uint64_t bytes;
} fmd_usage;

/* Where the numbers that others keep come from. */
typedef struct fmd_metrics_sources {
    const fmd_metrics *metrics;
    const fmd_models *models;
    const fmd_usage *usage; /* [models->count] */
    fm_engine *engine;
} fmd_metrics_sources;

void fmd_metrics_write(fmp_buffer *buffer, const fmd_metrics_sources *sources);

#endif
