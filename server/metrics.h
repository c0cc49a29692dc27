/* What is counted for /metrics, in Prometheus' text format 0.0.4; the metrics are rows of metrics.def. */
#ifndef FMD_METRICS_H
#define FMD_METRICS_H

#include "engine/fm.h"
#include "proto/buffer.h"
#include "server/admission.h"
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

/* Written by the loop thread alone; a plain value. */
typedef struct fmd_metrics {
    uint64_t requests[FMD_ROUTE_COUNT + 1][FMD_STATUS_MAX]; /* the last route: none */
    fmd_histogram duration[FMD_ROUTE_COUNT + 1];
    fmd_histogram queue, run;
    uint64_t outcomes[FMD_OUTCOME_COUNT];
    uint64_t connections, connections_total, connections_refused;
} fmd_metrics;

void fmd_metrics_add_request(fmd_metrics *metrics, fmd_route route, unsigned status,
                             double seconds);

/* Where the numbers that others keep come from. */
typedef struct fmd_metrics_sources {
    const fmd_metrics *metrics;
    const fmd_admission *admission;
    const fmd_models *models;
    fm_engine *engine;
} fmd_metrics_sources;

void fmd_metrics_write(fmp_buffer *buffer, const fmd_metrics_sources *sources);

#endif
