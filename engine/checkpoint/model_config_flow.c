/* config.json's "flow": space, shape, source, scheduler, prediction and time. */
#include "engine/checkpoint/model_config_private.h"
#include "engine/memory.h"

#include <math.h>

#define MAX_DIMENSION      ((size_t)1 << 28)
#define SINGULAR_MARGIN    1e-3 /* what the default grid keeps away from a singular end */
#define MAX_SCHEDULER_KEYS (FM_PATH_MAX_PARAMETERS + 2)

static fm_status read_space(const fm_json_node *flow, fm_error *err)
{
    static const fm_json_choice spaces[] = {
        {"euclidean", 0},
        {"sphere", FM_JSON_UNSUPPORTED},
        {"torus", FM_JSON_UNSUPPORTED},
        {"hyperbolic", FM_JSON_UNSUPPORTED},
        {"so3", FM_JSON_UNSUPPORTED},
        {"se3", FM_JSON_UNSUPPORTED},
        {"spd", FM_JSON_UNSUPPORTED},
        {"product", FM_JSON_UNSUPPORTED},
        {"tokens", FM_JSON_UNSUPPORTED},
        {0},
    };
    int space = 0;
    fm_json_node node = fm_json_member(flow, "space");
    fm_status status = fm_json_read_choice(&node, spaces, &space, err);
    fm_json_node factors = fm_json_member(flow, "factors");
    if (status == FM_OK && fm_json_present(&factors)) {
        status = fm_json_unsupported(&factors, err);
    }
    return status;
}

static fm_status read_shape(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(flow, "shape");
    fm_status status = fm_json_require(&node, err);
    if (status == FM_OK) {
        status = fm_json_check_array(&node, 1, FM_MAX_RANK, err);
    }
    if (status != FM_OK) {
        return status;
    }
    config->rank = json_array_size(node.value);
    config->dimension = 1;
    for (size_t axis = 0; axis < config->rank; axis++) {
        fm_json_node item = fm_json_item(&node, axis);
        status = fm_json_read_size(&item, 1, MAX_DIMENSION, &config->shape[axis], err);
        if (status != FM_OK) {
            return status;
        }
        if (config->shape[axis] > MAX_DIMENSION / config->dimension) {
            return fm_json_fail(&node, err, FM_EFORMAT, "must have a product of at most %zu",
                                MAX_DIMENSION);
        }
        config->dimension *= config->shape[axis];
    }
    return FM_OK;
}

static fm_status read_source(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice types[] = {
        {"normal", 0},
        {"uniform", FM_JSON_UNSUPPORTED},
        {"mask", FM_JSON_UNSUPPORTED},
        {"uniform_tokens", FM_JSON_UNSUPPORTED},
        {"wrapped_normal", FM_JSON_UNSUPPORTED},
        {"dataset", FM_JSON_UNSUPPORTED},
        {"external", FM_JSON_UNSUPPORTED},
        {0},
    };
    static const char *const keys[] = {"type", "std", NULL};
    fm_json_node node = fm_json_member(flow, "source");
    fm_json_node type = fm_json_member(&node, "type");
    fm_json_node std = fm_json_member(&node, "std");
    config->source_std = 1.0;
    int ignored = 0;
    /* The type first: it says more than a key that only another type has. */
    fm_status status = fm_json_read_choice(&type, types, &ignored, err);
    if (status == FM_OK) {
        status = fm_json_check_object(&node, keys, err);
    }
    if (status == FM_OK) {
        status = fm_json_read_number(&std, &config->source_std, err);
    }
    if (status == FM_OK && !(config->source_std > 0.0)) {
        status =
            fm_json_fail(&std, err, FM_EFORMAT, "must be above 0, found %g", config->source_std);
    }
    return status;
}

/* ---- Scheduler ---- */

/* The contract's names; which of them are served is for path.def to say. */
static const char *const scheduler_names[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                              "cosine", "ve",         "edm", "target", "table"};

#define N_SCHEDULERS (sizeof scheduler_names / sizeof *scheduler_names)

static fm_status read_scheduler_type(const fm_json_node *scheduler, const fm_path_type **ret,
                                     fm_error *err)
{
    fm_json_choice choices[N_SCHEDULERS + 1] = {{0}};
    for (size_t i = 0; i < N_SCHEDULERS; i++) {
        bool served = fm_path_type_find(scheduler_names[i]) != NULL;
        choices[i] = (fm_json_choice){.name = scheduler_names[i],
                                      .value = served ? (int)i : FM_JSON_UNSUPPORTED};
    }
    int chosen = 0; /* condot */
    fm_json_node type = fm_json_member(scheduler, "type");
    fm_status status = fm_json_read_choice(&type, choices, &chosen, err);
    if (status == FM_OK) {
        *ret = fm_path_type_find(scheduler_names[chosen]);
    }
    return status;
}

static fm_status read_scheduler(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(flow, "scheduler");
    const fm_path_type *type = NULL;
    fm_status status = read_scheduler_type(&node, &type, err);
    if (status != FM_OK) {
        return status;
    }
    const char *keys[MAX_SCHEDULER_KEYS] = {"type"};
    double parameters[FM_PATH_MAX_PARAMETERS] = {0};
    size_t n_parameters = 0;
    while (n_parameters < FM_PATH_MAX_PARAMETERS &&
           fm_path_type_parameter(type, n_parameters, &keys[n_parameters + 1],
                                  &parameters[n_parameters])) {
        n_parameters++;
    }
    keys[n_parameters + 1] = NULL;
    status = fm_json_check_object(&node, keys, err);
    for (size_t i = 0; status == FM_OK && i < n_parameters; i++) {
        fm_json_node parameter = fm_json_member(&node, keys[i + 1]);
        status = fm_json_read_number(&parameter, &parameters[i], err);
    }
    if (status != FM_OK) {
        return status;
    }
    fm_error cause = {0};
    if (fm_path_init(&config->path, type, parameters, &cause) != FM_OK) {
        return fm_json_fail(&node, err, FM_EFORMAT, "%s", cause.text);
    }
    return FM_OK;
}

static fm_status read_prediction(const fm_json_node *flow, fm_error *err)
{
    static const fm_json_choice predictions[] = {
        {"velocity", 0},
        {"x1", FM_JSON_UNSUPPORTED},
        {"epsilon", FM_JSON_UNSUPPORTED},
        {"score", FM_JSON_UNSUPPORTED},
        {"v", FM_JSON_UNSUPPORTED},
        {"edm", FM_JSON_UNSUPPORTED},
        {"potential", FM_JSON_UNSUPPORTED},
        {"logits", FM_JSON_UNSUPPORTED},
        {0},
    };
    fm_json_node node = fm_json_member(flow, "prediction");
    if (json_is_array(node.value)) {
        return fm_json_fail(&node, err, FM_EUNSUPPORTED,
                            "a pair of predictions is not supported by this release");
    }
    int ignored = 0;
    return fm_json_read_choice(&node, predictions, &ignored, err);
}

/* ---- Time ---- */

static bool is_closed_form(const fm_model_config *config)
{
    return !fm_architecture_has_weights(config->architecture);
}

static fm_status read_range(const fm_json_node *node, double range[2], fm_error *err)
{
    fm_status status = fm_json_read_numbers(node, 2, range, err);
    if (status == FM_OK && !(range[0] < range[1])) {
        status = fm_json_fail(node, err, FM_EFORMAT, "must be ascending, found [%g, %g]", range[0],
                              range[1]);
    }
    return status;
}

/* Whether the velocity is without bound at an end. Where sigma vanishes a set of points is a sum of
 * deltas; a mixture stays smooth as long as alpha does. A network's output is finite everywhere. */
static bool is_singular(const fm_model_config *config, double t)
{
    if (!is_closed_form(config)) {
        return false;
    }
    fm_path_point point = fm_path_at(&config->path, t);
    bool vanishes = config->architecture == FM_ARCHITECTURE_DATASET && point.sigma == 0.0;
    return vanishes || !isfinite(point.d_alpha);
}

static fm_status read_sample_range(const fm_json_node *time, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(time, "sample_range");
    double *range = config->sample_range;
    for (size_t end = 0; end < 2; end++) {
        double margin = is_singular(config, config->time_range[end]) ? SINGULAR_MARGIN : 0.0;
        range[end] = config->time_range[end] + (end == 0 ? margin : -margin);
    }
    if (!fm_json_present(&node) && !(range[0] < range[1])) {
        fm_json_node whole = fm_json_member(time, "range");
        return fm_json_fail(&whole, err, FM_EFORMAT,
                            "must be wider than the margin of %g at a singular end",
                            SINGULAR_MARGIN);
    }
    fm_status status = read_range(&node, range, err);
    if (status == FM_OK && (range[0] < config->time_range[0] || range[1] > config->time_range[1])) {
        status = fm_json_fail(&node, err, FM_EFORMAT,
                              "must be inside the range [%g, %g], found [%g, %g]",
                              config->time_range[0], config->time_range[1], range[0], range[1]);
    }
    return status;
}

/* A path is defined on [0, 1]; starts may be drawn beyond where its formula goes on. */
static fm_status check_source(const fm_json_node *range, const fm_model_config *config,
                              fm_error *err)
{
    for (size_t end = 0; end < 2; end++) {
        double t = config->time_range[end];
        if (!isfinite(fm_path_at(&config->path, t).sigma * config->source_std)) {
            return fm_json_fail(range, err, FM_EFORMAT,
                                "must end where the scheduler's sigma is finite; at %g it is not",
                                t);
        }
    }
    return FM_OK;
}

static fm_status read_time(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice directions[] = {{"noise_to_data", 0}, {"data_to_noise", 1}, {0}};
    static const char *const keys[] = {"direction", "scale", "range", "sample_range", NULL};
    fm_json_node node = fm_json_member(flow, "time");
    fm_json_node direction = fm_json_member(&node, "direction");
    fm_json_node scale = fm_json_member(&node, "scale");
    fm_json_node range = fm_json_member(&node, "range");
    int reversed = 0;
    config->time_scale = 1.0;
    config->time_range[1] = 1.0;
    fm_status status = fm_json_check_object(&node, keys, err);
    if (status == FM_OK) {
        status = fm_json_read_choice(&direction, directions, &reversed, err);
        config->data_to_noise = reversed == 1;
    }
    if (status == FM_OK) {
        status = fm_json_read_number(&scale, &config->time_scale, err);
    }
    if (status == FM_OK && config->time_scale == 0.0) {
        status = fm_json_fail(&scale, err, FM_EFORMAT, "must not be 0");
    }
    if (status == FM_OK) {
        status = read_range(&range, config->time_range, err);
    }
    /* Paths end at 0 and 1, and closed forms are made of them. */
    if (status == FM_OK && is_closed_form(config) &&
        (config->time_range[0] < 0.0 || config->time_range[1] > 1.0)) {
        status = fm_json_fail(&range, err, FM_EFORMAT, "must be inside [0, 1] for %s",
                              fm_architecture_name(config->architecture));
    }
    if (status == FM_OK) {
        status = check_source(&range, config, err);
    }
    return status == FM_OK ? read_sample_range(&node, config, err) : status;
}

fm_status fm_model_config_read_flow(const fm_json_node *root, fm_model_config *config,
                                    fm_error *err)
{
    static const char *const keys[] = {"space",     "shape",      "source", "factors",
                                       "scheduler", "prediction", "time",   NULL};
    fm_json_node flow = fm_json_member(root, "flow");
    fm_status status = fm_json_require(&flow, err);
    if (status == FM_OK) {
        status = fm_json_check_object(&flow, keys, err);
    }
    if (status == FM_OK) {
        status = read_space(&flow, err);
    }
    if (status == FM_OK) {
        status = read_shape(&flow, config, err);
    }
    if (status == FM_OK) {
        status = read_source(&flow, config, err);
    }
    if (status == FM_OK) {
        status = read_scheduler(&flow, config, err);
    }
    if (status == FM_OK) {
        status = read_prediction(&flow, err);
    }
    return status == FM_OK ? read_time(&flow, config, err) : status;
}
