#include "tests/support/proto_case.h"

#include "engine/flow/field.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Of all models: a velocity on condot. */
static fm_field field;

static void set_field(void)
{
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_status status = fm_path_init(&field.path, fm_path_type_find("condot"), none, NULL, 1, NULL);
    if (status != FM_OK) {
        abort(); /* fuzzers come here too, where there is no test to fail */
    }
    field.predictions.first.type = fm_prediction_type_find("velocity");
    field.time_scale = 1;
}

/* Of all models that say nothing else; how many numbers a point has matters in other spaces alone. */
static const fm_space flat = {
    .parts = {{.id = FM_SPACE_EUCLIDEAN, .n = 2, .copies = 1, .source = {.std = 1}}},
    .n_parts = 1,
    .is_flat = true};

fm_model_info proto_case_plain(void)
{
    set_field();
    return (fm_model_info){.name = "two-moons",
                           .description = "Two moons",
                           .license = "CC0-1.0",
                           .version = "sha256:00ff",
                           .architecture = "mlp",
                           .space = "euclidean",
                           .geometry = &flat,
                           .prediction = "velocity",
                           .output_kind = "points",
                           .compute = "float32",
                           .rank = 1,
                           .shape = {2},
                           .dimension = 2,
                           .path = &field.path,
                           .field = &field,
                           .has_score = true,
                           .has_divergence = true,
                           .time_range = {0, 1},
                           .sample_range = {0, 1},
                           .parameter_count = 1234,
                           .memory_bytes = 65536,
                           .tile_rows = 64,
                           .evaluation_seconds = 1e-6,
                           .call_seconds = 8e-6,
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

fm_model_info proto_case_classifier(void)
{
    fm_model_info info = proto_case_labelled();
    info.name = "judge";
    info.prediction = "classifier";
    info.is_classifier = true;
    info.has_null_label = false;
    info.has_log_density = false;
    info.defaults_json = "{}";
    return info;
}

/* Static for good: limits are plain values. */
static const fm_model_info *const *loaded(void)
{
    static fm_model_info infos[3];
    static const fm_model_info *const models[] = {&infos[0], &infos[1], &infos[2]};
    infos[0] = proto_case_classifier();
    infos[1] = proto_case_plain();
    infos[2] = proto_case_labelled();
    infos[2].name = "weak";
    return models;
}

fmp_limits proto_case_limits(void)
{
    return (fmp_limits){.models = loaded(),
                        .n_models = 3,
                        .max_samples = 1000,
                        .max_steps = 200,
                        .max_evaluations = 20000,
                        .max_trajectory_points = 100,
                        .max_answer_bytes = 10000000,
                        .default_timeout_ms = 30000,
                        .max_timeout_ms = 60000};
}

bool proto_case_parse(proto_case_model *make, fmp_api_route route, const char *body,
                      fmp_request *ret, fmp_problem *problem)
{
    fm_model_info model = make();
    fmp_limits limits = proto_case_limits();
    /* Exactly the body, so that the sanitizer sees a read beyond it. */
    size_t length = strlen(body);
    char *copy = malloc(length + 1);
    ck_assert_ptr_nonnull(copy);
    char *exact = length > 0 ? realloc(copy, length) : copy;
    memcpy(exact, body, length);
    bool parsed = route == FMP_API_SAMPLE
                      ? fmp_request_parse_sample(exact, length, &model, &limits, FMP_ENCODING_JSON,
                                                 PROTO_CASE_SEED, ret, problem)
                      : fmp_request_parse_points(route, exact, length, &model, &limits,
                                                 PROTO_CASE_SEED, ret, problem);
    free(exact);
    return parsed;
}

fmp_request proto_case_sample(proto_case_model *make, const char *body)
{
    fmp_request request;
    fmp_problem problem;
    bool parsed = proto_case_parse(make, FMP_API_SAMPLE, body, &request, &problem);
    ck_assert_msg(parsed, "%s: %s", body, problem.detail);
    return request;
}

bool proto_case_has_error(const fmp_problem *problem, const char *expected)
{
    size_t pointer_length = strcspn(expected, " ");
    const char *detail = expected + pointer_length + 1;
    fmp_problem_error error;
    for (size_t at = 0; fmp_problem_next_error(problem, &at, &error);) {
        if (strlen(error.pointer) == pointer_length &&
            strncmp(error.pointer, expected, pointer_length) == 0 &&
            strncmp(error.detail, detail, strlen(detail)) == 0) {
            return true;
        }
    }
    return false;
}
