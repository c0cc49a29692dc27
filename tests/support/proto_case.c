#include "tests/support/proto_case.h"

fm_model_info proto_case_plain(void)
{
    return (fm_model_info){.name = "two-moons",
                           .description = "Two moons",
                           .license = "CC0-1.0",
                           .version = "sha256:00ff",
                           .architecture = "mlp",
                           .space = "euclidean",
                           .scheduler = "condot",
                           .prediction = "velocity",
                           .output_kind = "points",
                           .compute = "float32",
                           .rank = 1,
                           .shape = {2},
                           .dimension = 2,
                           .source_std = 1,
                           .time_range = {0, 1},
                           .sample_range = {0, 1},
                           .parameter_count = 1234,
                           .memory_bytes = 65536,
                           .tile_rows = 64,
                           .evaluation_seconds = 1e-6,
                           .bits_promised = true,
                           .defaults_json =
                               "{\"solver\": {\"method\": \"midpoint\", \"steps\": 20}}"};
}

fm_model_info proto_case_labelled(void)
{
    static const char *const names[] = {"zero", "one", "two"};
    fm_model_info info = proto_case_plain();
    info.name = "labelled";
    info.rank = 2;
    info.shape[1] = 3;
    info.dimension = 6;
    info.has_labels = info.has_null_label = true;
    info.label_count = info.null_label = 3;
    info.label_names = names;
    info.n_label_names = 3;
    info.has_log_density = true;
    info.defaults_json = "{\"solver\": {\"method\": \"dopri5\", \"rtol\": 1e-4}, "
                         "\"guidance\": {\"scale\": 2}, \"num_samples\": 4}";
    return info;
}

fm_model_info proto_case_without_null(void)
{
    fm_model_info info = proto_case_plain();
    info.name = "without-null";
    info.has_labels = true;
    info.label_count = 2;
    info.sample_range[0] = 0.001;
    info.sample_range[1] = 0.999;
    info.defaults_json = "{}";
    return info;
}

fm_model_info proto_case_image(void)
{
    fm_model_info info = proto_case_plain();
    info.name = "image";
    info.output_kind = "image";
    info.output_range[1] = 2;
    info.rank = 3;
    info.shape[0] = 3;
    info.shape[1] = info.shape[2] = 2;
    info.dimension = 12;
    return info;
}

fmp_limits proto_case_limits(void)
{
    return (fmp_limits){.max_samples = 1000,
                        .max_steps = 200,
                        .max_evaluations = 20000,
                        .max_trajectory_points = 100,
                        .max_answer_bytes = 10000000,
                        .default_timeout_ms = 30000,
                        .max_timeout_ms = 60000};
}
