/* config.json's "flow": coupling and time; space, shape and source are model_config_space.c's, scheduler and prediction
 * model_config_path.c's. */
#include "engine/checkpoint/model_config_private.h"

#include <math.h>

static bool is_closed_form(const fm_model_config *config)
{
    return !fm_architecture_has_weights(config->architecture);
}

/* ---- Coupling and prediction ---- */

/* Where noise and data are independent the velocity tells the score; where they were paired it does not. */
static fm_status read_coupling(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    static const fm_json_choice couplings[] = {{"independent", 0}, {"paired", 1}, {0}};
    int coupling = 0;
    fm_json_node node = fm_json_member(flow, "coupling");
    fm_status status = fm_json_read_choice(&node, couplings, &coupling, err);
    config->paired = coupling == 1;
    return status;
}

/* x1 and the score make a velocity only where the score is that of independent noise. */
static fm_status check_coupling(const fm_json_node *flow, const fm_model_config *config,
                                fm_error *err)
{
    const fm_predictions *predictions = &config->predictions;
    if (config->paired && fm_predictions_have_score(predictions) &&
        fm_predictions_are_mixed(predictions)) {
        fm_json_node node = fm_json_member(flow, "coupling");
        return fm_json_fail(&node, err, FM_EFORMAT,
                            "must be independent where x1 and the score make the velocity");
    }
    return FM_OK;
}

/* Whether the velocity is an output of the network, so that no path is needed for it. */
static bool has_velocity(const fm_model_config *config)
{
    fm_linear ignored;
    return fm_predictions_have_velocity(&config->predictions, &ignored);
}

/* Closed forms answer with the velocity. */
static fm_status check_prediction(const fm_json_node *flow, const fm_model_config *config,
                                  fm_error *err)
{
    bool pair = fm_predictions_count(&config->predictions) > 1;
    if (is_closed_form(config) && (pair || !has_velocity(config))) {
        fm_json_node node = fm_json_member(flow, "prediction");
        return fm_json_fail(&node, err, FM_EFORMAT, "must be velocity for %s",
                            fm_architecture_name(config->architecture));
    }
    return FM_OK;
}

/* Beyond Euclidean space a network says where to go, or of tokens which they will be: what else it might predict is made
 * of sums of points. */
static fm_status check_space(const fm_json_node *flow, const fm_model_config *config, fm_error *err)
{
    const fm_space *space = &config->space;
    fm_space_id first = space->parts[0].id;
    if (!space->is_product && first == FM_SPACE_EUCLIDEAN) {
        fm_json_node node = fm_json_member(flow, "prediction");
        return config->predicts_logits
                   ? fm_json_fail(&node, err, FM_EFORMAT, "must not be logits: they are of tokens")
                   : FM_OK;
    }
    if (!fm_model_config_serves_spaces(config)) {
        fm_json_node node = fm_json_member(flow, "space");
        return fm_json_fail(&node, err, FM_EFORMAT, "must be euclidean for %s",
                            fm_architecture_name(config->architecture));
    }
    bool tokens = !space->is_product && first == FM_SPACE_TOKENS;
    bool single = fm_predictions_count(&config->predictions) == 1 && !config->potential &&
                  !config->classifier;
    if (!single || config->predicts_logits != tokens || !has_velocity(config)) {
        fm_json_node node = fm_json_member(flow, "prediction");
        return fm_json_fail(&node, err, FM_EFORMAT, "must be %s for %s",
                            tokens ? "logits" : "velocity",
                            space->is_product ? "a product" : fm_space_name(first));
    }
    return FM_OK;
}

/* ---- Time ---- */

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
 * deltas; a mixture stays smooth as long as alpha does. A network's output is finite everywhere, and then it is for
 * its reading as a velocity to say. */
static bool is_singular(const fm_model_config *config, double t)
{
    if (!is_closed_form(config) && has_velocity(config)) {
        return false;
    }
    fm_path_point point = fm_path_at(&config->path, t);
    if (!is_closed_form(config)) {
        fm_linear velocity = fm_predictions_read(&config->predictions, &point).velocity;
        return !isfinite(velocity.x + velocity.out + velocity.second);
    }
    bool vanishes = config->architecture == FM_ARCHITECTURE_DATASET && point.sigma == 0.0;
    return vanishes || !isfinite(point.d_alpha);
}

static fm_status read_sample_range(const fm_json_node *time, fm_model_config *config, fm_error *err)
{
    fm_json_node node = fm_json_member(time, "sample_range");
    double *range = config->sample_range;
    for (size_t end = 0; end < 2; end++) {
        double margin = is_singular(config, config->time_range[end]) ? FM_SINGULAR_MARGIN : 0.0;
        range[end] = config->time_range[end] + (end == 0 ? margin : -margin);
    }
    if (!fm_json_present(&node) && !(range[0] < range[1])) {
        fm_json_node whole = fm_json_member(time, "range");
        return fm_json_fail(&whole, err, FM_EFORMAT,
                            "must be wider than the margin of %g at a singular end",
                            FM_SINGULAR_MARGIN);
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
        if (!isfinite(fm_path_at(&config->path, t).sigma)) {
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
    /* Paths end at 0 and 1; closed forms are made of them, and other predictions read by them. */
    bool pair = fm_predictions_count(&config->predictions) > 1;
    bool needs_path = is_closed_form(config) || pair || !has_velocity(config);
    if (status == FM_OK && needs_path &&
        (config->time_range[0] < 0.0 || config->time_range[1] > 1.0)) {
        status = fm_json_fail(&range, err, FM_EFORMAT, "must be inside [0, 1] for %s",
                              is_closed_form(config) ? fm_architecture_name(config->architecture)
                                                     : "predictions other than velocity alone");
    }
    if (status == FM_OK) {
        status = check_source(&range, config, err);
    }
    return status == FM_OK ? read_sample_range(&node, config, err) : status;
}

/* ---- Jumps ---- */

/* Their rates are those of one path and one direction of time, and stand behind a velocity. */
static fm_status check_jump(const fm_json_node *node, const fm_model_config *config, fm_error *err)
{
    const fm_space *space = &config->space;
    bool single = fm_predictions_count(&config->predictions) == 1 && has_velocity(config) &&
                  !config->potential && !config->classifier;
    const struct {
        bool holds;
        const char *rule;
    } rows[] = {
        {!space->is_product && space->parts[0].id == FM_SPACE_EUCLIDEAN, "space euclidean"},
        {config->architecture == FM_ARCHITECTURE_MLP, "an mlp"},
        {config->path.type == fm_path_type_find("condot"), "scheduler condot"},
        {single, "prediction velocity"},
        {space->parts[0].source.id == FM_SOURCE_NORMAL, "a normal source"},
        {!config->paired, "coupling independent"},
        {!config->data_to_noise, "time from noise to data"},
        {config->time_range[0] >= 0 && config->time_range[1] <= 1, "time within [0, 1]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].holds) {
            return fm_json_fail(node, err, FM_EFORMAT, "must be left out: it is for %s",
                                rows[i].rule);
        }
    }
    return FM_OK;
}

static fm_status read_jump(const fm_json_node *flow, fm_model_config *config, fm_error *err)
{
    static const char *const keys[] = {"bins", "range", NULL};
    fm_json_node node = fm_json_member(flow, "jump");
    fm_json_node bins = fm_json_member(&node, "bins");
    fm_json_node range = fm_json_member(&node, "range");
    fm_bins *ret = &config->space.bins;
    if (!fm_json_present(&node)) {
        return FM_OK;
    }
    fm_status status = fm_json_check_object(&node, keys, err);
    status = status == FM_OK ? fm_json_require(&bins, err) : status;
    status = status == FM_OK ? fm_json_require(&range, err) : status;
    status = status == FM_OK ? fm_json_read_size(&bins, 2, FM_MAX_BINS, &ret->n, err) : status;
    status = status == FM_OK ? read_range(&range, ret->range, err) : status;
    if (status == FM_OK && !isfinite(ret->range[1] - ret->range[0])) {
        status = fm_json_fail(&range, err, FM_EFORMAT, "must have a finite width");
    }
    return status == FM_OK ? check_jump(&node, config, err) : status;
}

fm_status fm_model_config_read_flow(const fm_json_node *root, fm_model_config *config,
                                    fm_error *err)
{
    static const char *const keys[] = {
        "space",     "shape",      "source",   "factors", "representation", "vocabulary_size",
        "scheduler", "prediction", "coupling", "jump",    "time",           NULL};
    fm_json_node flow = fm_json_member(root, "flow");
    fm_status status = fm_json_require(&flow, err);
    if (status == FM_OK) {
        status = fm_json_check_object(&flow, keys, err);
    }
    if (status == FM_OK) {
        status = fm_model_config_read_space(&flow, config, err);
    }
    if (status == FM_OK) {
        status = fm_model_config_read_scheduler(&flow, config, err);
    }
    if (status == FM_OK) {
        status = fm_model_config_read_prediction(&flow, config, err);
    }
    if (status == FM_OK) {
        status = read_coupling(&flow, config, err);
    }
    if (status == FM_OK) {
        status = check_coupling(&flow, config, err);
    }
    if (status == FM_OK) {
        status = check_prediction(&flow, config, err);
    }
    if (status == FM_OK) {
        status = check_space(&flow, config, err);
    }
    if (status == FM_OK) {
        status = read_time(&flow, config, err);
    }
    return status == FM_OK ? read_jump(&flow, config, err) : status;
}
