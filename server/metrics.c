#include "server/metrics.h"

#include "server/process.h"

#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

fm_status fmd_metrics_init(fmd_metrics *metrics, size_t n_models, fm_error *err)
{
    fmd_model_metrics *models = calloc(n_models + 1, sizeof *models);
    if (models == NULL) {
        return fm_fail(err, FM_ENOMEM, "out of memory");
    }
    *metrics = (fmd_metrics){.models = models, .n_models = n_models};
    return FM_OK;
}

void fmd_metrics_done(fmd_metrics *metrics)
{
    free(metrics->models);
}

fmd_model_metrics *fmd_metrics_of(fmd_metrics *metrics, size_t model)
{
    assert(model == FMD_NO_MODEL || model < metrics->n_models);
    return &metrics->models[model == FMD_NO_MODEL ? metrics->n_models : model];
}

void fmd_metrics_add_request(fmd_metrics *metrics, size_t model, fmd_route route, unsigned status,
                             double seconds)
{
    assert(route <= FMD_ROUTE_NONE && status < FMD_STATUS_MAX);
    fmd_model_metrics *of = fmd_metrics_of(metrics, model);
    of->requests[route][status]++;
    fmd_histogram_add(&of->duration[route], seconds);
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

#define MODEL_LABEL_MAX (FMD_MODEL_NAME_MAX + sizeof "model=\"\"")
#define LABELS_MAX      (MODEL_LABEL_MAX + 96) /* and a route's pattern */

/* `model="…"`, or nothing for the requests of none; without braces. */
static const char *model_label(const writer *out, size_t model, char ret[MODEL_LABEL_MAX])
{
    ret[0] = '\0';
    if (model < out->from->models->count) {
        snprintf(ret, MODEL_LABEL_MAX, "model=\"%s\"", out->from->models->described[model]->name);
    }
    return ret;
}

/* The same behind `route="…"`. */
static const char *route_labels(const writer *out, size_t model, size_t route, char ret[LABELS_MAX])
{
    char label[MODEL_LABEL_MAX];
    model_label(out, model, label);
    snprintf(ret, LABELS_MAX, "route=\"%s\"%s%s", fmd_route_name((fmd_route)route),
             label[0] == '\0' ? "" : ",", label);
    return ret;
}

static void write_requests_of(const writer *out, size_t model)
{
    const fmd_model_metrics *of = &out->from->metrics->models[model];
    char labels[LABELS_MAX];
    for (size_t route = 0; route <= FMD_ROUTE_COUNT; route++) {
        for (size_t status = 0; status < FMD_STATUS_MAX; status++) {
            uint64_t count = of->requests[route][status];
            if (count > 0) {
                fmp_buffer_format(out->buffer, "%s{%s,code=\"%zu\"} %" PRIu64 "\n", out->name,
                                  route_labels(out, model, route, labels), status, count);
            }
        }
    }
}

static void write_requests(const writer *out)
{
    for (size_t model = 0; model <= out->from->metrics->n_models; model++) {
        write_requests_of(out, model);
    }
}

static void write_duration(const writer *out)
{
    char labels[LABELS_MAX];
    for (size_t model = 0; model <= out->from->metrics->n_models; model++) {
        for (size_t route = 0; route <= FMD_ROUTE_COUNT; route++) {
            const fmd_histogram *histogram = &out->from->metrics->models[model].duration[route];
            if (histogram->count > 0) {
                write_histogram(out, route_labels(out, model, route, labels), histogram);
            }
        }
    }
}

static void write_job_queue(const writer *out)
{
    char label[MODEL_LABEL_MAX];
    for (size_t i = 0; i < out->from->models->count; i++) {
        write_histogram(out, model_label(out, i, label), &out->from->metrics->models[i].queue);
    }
}

static void write_job_run(const writer *out)
{
    char label[MODEL_LABEL_MAX];
    for (size_t i = 0; i < out->from->models->count; i++) {
        write_histogram(out, model_label(out, i, label), &out->from->metrics->models[i].run);
    }
}

static void write_jobs(const writer *out)
{
    static const char *const names[FMD_OUTCOME_COUNT] = {"completed", "cancelled", "expired",
                                                         "refused", "failed"};
    char label[MODEL_LABEL_MAX];
    for (size_t model = 0; model < out->from->models->count; model++) {
        for (size_t i = 0; i < FMD_OUTCOME_COUNT; i++) {
            fmp_buffer_format(out->buffer, "%s{%s,outcome=\"%s\"} %" PRIu64 "\n", out->name,
                              model_label(out, model, label), names[i],
                              out->from->metrics->models[model].outcomes[i]);
        }
    }
}

static void write_of_model(const writer *out, size_t model, uint64_t value)
{
    char label[MODEL_LABEL_MAX];
    fmp_buffer_format(out->buffer, "%s{%s} %" PRIu64 "\n", out->name,
                      model_label(out, model, label), value);
}

static void write_queue_requests(const writer *out)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        write_of_model(out, i, out->from->usage[i].requests);
    }
}

static void write_queue_seconds(const writer *out)
{
    char label[MODEL_LABEL_MAX];
    for (size_t i = 0; i < out->from->models->count; i++) {
        fmp_buffer_format(out->buffer, "%s{%s} %.17g\n", out->name, model_label(out, i, label),
                          out->from->usage[i].seconds);
    }
}

static void write_queue_bytes(const writer *out)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        write_of_model(out, i, out->from->usage[i].bytes);
    }
}

static void write_busy(const writer *out)
{
    write_number(out, out->engine.busy_seconds);
}

/* A counter of each model, by where it lies in fm_model_stats. */
static void write_model_counter(const writer *out, size_t offset)
{
    for (size_t i = 0; i < out->from->models->count; i++) {
        fm_model_stats stats;
        uint64_t value;
        fm_model_statistics(out->from->models->items[i], &stats);
        memcpy(&value, (const char *)&stats + offset, sizeof value);
        write_of_model(out, i, value);
    }
}

static void write_tiles(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, tiles));
}

static void write_tile_rows(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, tile_rows));
}

static void write_tile_capacity(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, tile_capacity));
}

static void write_evaluations(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, evaluations));
}

static void write_rows_in_flight(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, rows_in_flight));
}

static void write_rows_waiting(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, rows_waiting));
}

static void write_rows_finished(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, rows_finished));
}

static void write_rows_non_finite(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, rows_non_finite));
}

static void write_rows_cancelled(const writer *out)
{
    write_model_counter(out, offsetof(fm_model_stats, rows_cancelled));
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
