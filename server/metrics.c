#include "server/metrics.h"

#include "server/process.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static const double bounds[FMD_HISTOGRAM_BUCKETS] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                     0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                                     1,      5,       25,     100};

void fmd_histogram_add(fmd_histogram *histogram, double seconds)
{
    size_t bucket = 0;
    while (bucket < FMD_HISTOGRAM_BUCKETS && seconds > bounds[bucket]) {
        bucket++;
    }
    histogram->buckets[bucket]++;
    histogram->sum += seconds;
    histogram->count++;
}

void fmd_metrics_add_request(fmd_metrics *metrics, fmd_route route, unsigned status, double seconds)
{
    assert(route <= FMD_ROUTE_NONE && status < FMD_STATUS_MAX);
    metrics->requests[route][status]++;
    fmd_histogram_add(&metrics->duration[route], seconds);
}

/* What a row's writer needs: the sources and the engine's counters read once, so that all are of one
 * moment. */
typedef struct writer {
    fmp_buffer *buffer;
    const char *name;
    const fmd_metrics_sources *from;
    fm_engine_stats engine;
} writer;

static void write_count(const writer *out, uint64_t value)
{
    fmp_buffer_format(out->buffer, "%s %" PRIu64 "\n", out->name, value);
}

static void write_number(const writer *out, double value)
{
    fmp_buffer_format(out->buffer, "%s %.17g\n", out->name, value);
}

/* labels: "" or `route="…"` */
static void write_histogram(const writer *out, const char *labels, const fmd_histogram *histogram)
{
    bool bare = labels[0] == '\0';
    const char *comma = bare ? "" : ",", *open = bare ? "" : "{", *close = bare ? "" : "}";
    uint64_t cumulative = 0;
    for (size_t i = 0; i < FMD_HISTOGRAM_BUCKETS; i++) {
        cumulative += histogram->buckets[i];
        fmp_buffer_format(out->buffer, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", out->name, labels,
                          comma, bounds[i], cumulative);
    }
    fmp_buffer_format(out->buffer, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", out->name, labels,
                      comma, histogram->count);
    fmp_buffer_format(out->buffer, "%s_sum%s%s%s %.17g\n", out->name, open, labels, close,
                      histogram->sum);
    fmp_buffer_format(out->buffer, "%s_count%s%s%s %" PRIu64 "\n", out->name, open, labels, close,
                      histogram->count);
}

static void write_requests(const writer *out)
{
    for (size_t route = 0; route <= FMD_ROUTE_COUNT; route++) {
        for (size_t status = 0; status < FMD_STATUS_MAX; status++) {
            uint64_t count = out->from->metrics->requests[route][status];
            if (count > 0) {
                fmp_buffer_format(out->buffer, "%s{route=\"%s\",code=\"%zu\"} %" PRIu64 "\n",
                                  out->name, fmd_route_name((fmd_route)route), status, count);
            }
        }
    }
}

static void write_duration(const writer *out)
{
    for (size_t route = 0; route <= FMD_ROUTE_COUNT; route++) {
        const fmd_histogram *histogram = &out->from->metrics->duration[route];
        char labels[96];
        snprintf(labels, sizeof labels, "route=\"%s\"", fmd_route_name((fmd_route)route));
        if (histogram->count > 0) {
            write_histogram(out, labels, histogram);
        }
    }
}

static void write_job_queue(const writer *out)
{
    write_histogram(out, "", &out->from->metrics->queue);
}

static void write_job_run(const writer *out)
{
    write_histogram(out, "", &out->from->metrics->run);
}

static void write_jobs(const writer *out)
{
    static const char *const names[FMD_OUTCOME_COUNT] = {"completed", "cancelled", "expired",
                                                         "refused", "failed"};
    for (size_t i = 0; i < FMD_OUTCOME_COUNT; i++) {
        fmp_buffer_format(out->buffer, "%s{outcome=\"%s\"} %" PRIu64 "\n", out->name, names[i],
                          out->from->metrics->outcomes[i]);
    }
}

static void write_queue_requests(const writer *out)
{
    write_count(out, out->from->admission->requests);
}

static void write_queue_seconds(const writer *out)
{
    write_number(out, out->from->admission->seconds);
}

static void write_queue_bytes(const writer *out)
{
    write_count(out, out->from->admission->bytes);
}

static void write_rows_in_flight(const writer *out)
{
    write_count(out, out->engine.rows_in_flight);
}

static void write_rows_waiting(const writer *out)
{
    write_count(out, out->engine.rows_waiting);
}

static void write_rows_finished(const writer *out)
{
    write_count(out, out->engine.rows_finished);
}

static void write_rows_non_finite(const writer *out)
{
    write_count(out, out->engine.rows_non_finite);
}

static void write_rows_cancelled(const writer *out)
{
    write_count(out, out->engine.rows_cancelled);
}

static void write_busy(const writer *out)
{
    write_number(out, out->engine.busy_seconds);
}

typedef enum model_counter { TILES, TILE_ROWS, TILE_CAPACITY, EVALUATIONS } model_counter;

static uint64_t counter_of(const fm_model_stats *stats, model_counter which)
{
    switch (which) {
    case TILES:
        return stats->tiles;
    case TILE_ROWS:
        return stats->tile_rows;
    case TILE_CAPACITY:
        return stats->tile_capacity;
    case EVALUATIONS:
        break;
    }
    return stats->evaluations;
}

static void write_model_counter(const writer *out, model_counter which)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        fm_model_stats stats;
        fm_model_statistics(out->from->models->items[i], &stats);
        fmp_buffer_format(out->buffer, "%s{model=\"%s\"} %" PRIu64 "\n", out->name,
                          out->from->models->described[i]->name, counter_of(&stats, which));
    }
}

static void write_tiles(const writer *out)
{
    write_model_counter(out, TILES);
}

static void write_tile_rows(const writer *out)
{
    write_model_counter(out, TILE_ROWS);
}

static void write_tile_capacity(const writer *out)
{
    write_model_counter(out, TILE_CAPACITY);
}

static void write_evaluations(const writer *out)
{
    write_model_counter(out, EVALUATIONS);
}

static void write_network(const writer *out)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        fm_model_stats stats;
        fm_model_statistics(out->from->models->items[i], &stats);
        fmp_buffer_format(out->buffer, "%s{model=\"%s\"} %.17g\n", out->name,
                          out->from->models->described[i]->name, stats.network_seconds);
    }
}

static void write_connections(const writer *out)
{
    write_count(out, out->from->metrics->connections);
}

static void write_connections_total(const writer *out)
{
    write_count(out, out->from->metrics->connections_total);
}

static void write_connections_refused(const writer *out)
{
    write_count(out, out->from->metrics->connections_refused);
}

static void write_model_bytes(const writer *out)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        const fm_model_info *info = out->from->models->described[i];
        fmp_buffer_format(out->buffer, "%s{model=\"%s\"} %zu\n", out->name, info->name,
                          info->memory_bytes);
    }
}

static void write_model_info(const writer *out)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        const fm_model_info *info = out->from->models->described[i];
        fmp_buffer_format(out->buffer,
                          "%s{model=\"%s\",architecture=\"%s\",compute=\"%s\",version=\"%s\"} 1\n",
                          out->name, info->name, info->architecture, info->compute, info->version);
    }
}

static void write_build_info(const writer *out)
{
    const fm_build_info *build = fm_build();
    fmp_buffer_format(
        out->buffer, "%s{version=\"%s\",dense=\"%s %s\",kernels=\"%s\",cpu=\"%s\"} 1\n", out->name,
        FM_VERSION, build->dense_provider, build->dense_version, build->kernels, build->cpu);
}

static void write_resident(const writer *out)
{
    write_number(out, fmd_process_resident_bytes());
}

static void write_cpu(const writer *out)
{
    write_number(out, fmd_process_cpu_seconds());
}

static void write_open_fds(const writer *out)
{
    write_number(out, fmd_process_open_fds());
}

static void write_max_fds(const writer *out)
{
    write_number(out, fmd_process_max_fds());
}

static void write_start_time(const writer *out)
{
    write_number(out, fmd_process_start_seconds());
}

typedef struct metric {
    void (*write)(const writer *out);
    const char *type, *name, *help;
} metric;

static const metric all_metrics[] = {
#define FMD_METRIC(write, type, name, help) {write_##write, #type, name, help},
#include "server/metrics.def"
#undef FMD_METRIC
};

void fmd_metrics_write(fmp_buffer *buffer, const fmd_metrics_sources *sources)
{
    writer out = {.buffer = buffer, .from = sources};
    fm_engine_statistics(sources->engine, &out.engine);
    for (size_t i = 0; i < sizeof all_metrics / sizeof all_metrics[0]; i++) {
        const metric *row = &all_metrics[i];
        out.name = row->name;
        fmp_buffer_format(buffer, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                          row->type);
        row->write(&out);
    }
}
