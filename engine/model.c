/* Opening a model folder: configuration, tensors, network, field, checks and measures. */
#include "engine/model.h"

#include "engine/checkpoint/file.h"
#include "engine/math/dense.h"
#include "engine/model_trial.h"
#include "engine/network/gradient_network.h"
#include "engine/network/plan.h"

#include <assert.h>
#include <string.h>

#define MAX_WORKERS 1024

static void model_free(fm_model *model)
{
    fm_arena_done(&model->reverse);
    fm_arena_done(&model->tangents);
    fm_arena_done(&model->scratch);
    fm_network_free(model->network);
    fm_weights_free(model->weights);
    fm_tensors_close(model->tensors);
    fm_model_config_done(&model->config);
    fm_free(model);
}

static fm_status open_weights(fm_model *model, fm_error *err)
{
    const fm_model_config *config = &model->config;
    char *path = fm_file_path(config->folder, config->weights_file);
    if (path == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory to open %s", config->weights_file);
    }
    fm_status status = fm_tensors_open_entry(path, config->weights_entry, &model->tensors, err);
    fm_free(path);
    if (status != FM_OK) {
        return status;
    }
    return fm_weights_new(model->tensors, config->weights_prefix, &model->weights, err);
}

static fm_status build_network(fm_model *model, fm_error *err)
{
    fm_status status =
        fm_network_new(&model->config, model->weights, &model->config.path, &model->network, err);
    if (status == FM_OK) {
        status = fm_digest_model(&model->config, model->tensors, model->version, err);
    }
    if (status != FM_OK) {
        return status;
    }
    /* Packed copies serve from here on; the mapping and its record are not needed any more. */
    fm_weights_free(model->weights);
    fm_tensors_close(model->tensors);
    model->weights = NULL;
    model->tensors = NULL;
    fm_field_init(&model->field, &model->config);
    return FM_OK;
}

size_t fm_model_call_rows(const fm_model *model)
{
    return model->tile_rows > FM_FIELD_MAX_ROWS ? model->tile_rows : FM_FIELD_MAX_ROWS;
}

size_t fm_model_others_bytes(const fm_model *model)
{
    return fm_arena_round(fm_model_call_rows(model) * sizeof(double) *
                          model->network->info.out_dimension);
}

/* One network scratch a worker, and behind it the outputs of guided rows' other halves, and scaled states. */
static fm_status map_scratch(fm_model *model, fm_error *err)
{
    const fm_network_info *info = &model->network->info;
    size_t others = 0, states = 0, total = 0;
    size_t row_bytes = fm_model_call_rows(model) * sizeof(double);
    bool fits = fm_multiply(row_bytes, info->out_dimension, &others) &&
                fm_multiply(row_bytes, info->dimension, &states);
    model->scratch_stride =
        fm_arena_round(info->scratch_bytes) + fm_arena_round(others) + fm_arena_round(states);
    fits = fits && fm_multiply(model->scratch_stride, model->workers, &total);
    if (!fits) {
        return fm_fail(err, FM_ENOMEM, "scratch of %zu workers overflows", model->workers);
    }
    return fm_arena_init(&model->scratch, total, err);
}

static fm_status map_tangents(fm_model *model, fm_error *err)
{
    const fm_network_info *info = &model->network->info;
    size_t vectors = 0, total = 0;
    if (info->max_tangents == 0) {
        return FM_OK;
    }
    bool fits = fm_multiply(fm_model_call_rows(model) * sizeof(double),
                            info->dimension + info->out_dimension, &vectors);
    model->tangents_stride = fm_arena_round(info->tangent_scratch_bytes) + fm_arena_round(vectors);
    if (!fits || !fm_multiply(model->tangents_stride, model->workers, &total)) {
        return fm_fail(err, FM_ENOMEM, "tangents of %zu workers overflow", model->workers);
    }
    return fm_arena_init(&model->tangents, total, err);
}

static fm_status map_reverse(fm_model *model, fm_error *err)
{
    size_t total = 0;
    model->reverse_stride = fm_arena_round(model->network->info.reverse_scratch_bytes);
    if (!fm_multiply(model->reverse_stride, model->workers, &total)) {
        return fm_fail(err, FM_ENOMEM, "gradients of %zu workers overflow", model->workers);
    }
    return total == 0 ? FM_OK : fm_arena_init(&model->reverse, total, err);
}

/* Whether the weights, in float32, are few enough to be kept once more. */
static bool affords_gradients(const fm_model *model, size_t gradient_bytes)
{
    size_t left = gradient_bytes / sizeof(float);
    for (size_t i = 0; i < fm_tensors_count(model->tensors); i++) {
        size_t count = fm_tensors_at(model->tensors, i)->count;
        if (count > left) {
            return false;
        }
        left -= count;
    }
    return true;
}

/* Between which nothing is continuous. */
static bool has_tokens(const fm_space *space)
{
    bool found = false;
    for (size_t i = 0; i < space->n_parts; i++) {
        found |= space->parts[i].id == FM_SPACE_TOKENS;
    }
    return found;
}

static size_t longest_name(const fm_model_config *config)
{
    size_t longest = 0;
    for (size_t i = 0; config->vocabulary != NULL && i < config->vocabulary_size; i++) {
        size_t length = strlen(config->vocabulary[i]);
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void fill_names(fm_model *model)
{
    const fm_model_config *config = &model->config;
    fm_model_info *info = &model->info;
    info->name = config->name;
    info->description = config->description;
    info->license = config->license;
    info->version = model->version;
    info->architecture = fm_architecture_name(config->architecture);
    const fm_space *space = &config->space;
    info->space = space->is_product ? "product" : fm_space_name(space->parts[0].id);
    info->geometry = space;
    info->has_tokens = has_tokens(space);
    const fm_predictions *predictions = &config->predictions;
    info->prediction = fm_model_config_prediction(config);
    info->second_prediction = fm_predictions_count(predictions) > 1
                                  ? fm_prediction_type_name(predictions->second.type)
                                  : NULL;
    info->output_kind = config->output_kind;
    info->compute = fm_architecture_has_weights(config->architecture)
                        ? fm_compute_name(config->compute)
                        : "float64";
    info->has_divergence = !config->classifier &&
                           !(config->potential && config->compute != FM_COMPUTE_FLOAT32) &&
                           !info->has_tokens;
    info->defaults_json = config->defaults_json;
    info->label_names = (const char *const *)config->label_names;
    info->n_label_names = config->n_label_names;
    info->n_vocabulary = config->vocabulary_size;
    info->masked = config->masked;
    info->vocabulary = (const char *const *)config->vocabulary;
    info->longest_name = longest_name(config);
}

static void fill_info(fm_model *model)
{
    const fm_model_config *config = &model->config;
    static const fm_network_info unknown;
    const fm_network_info *network = model->network == NULL ? &unknown : &model->network->info;
    fm_model_info *info = &model->info;
    fill_names(model);
    info->rank = config->rank;
    memcpy(info->shape, config->shape, sizeof info->shape);
    info->dimension = config->dimension;
    info->path = &config->path;
    info->paired = config->paired;
    info->is_classifier = config->classifier;
    info->has_score = !config->classifier && config->space.is_flat &&
                      (!config->paired || fm_predictions_have_score(&config->predictions));
    memcpy(info->time_range, config->time_range, sizeof info->time_range);
    memcpy(info->sample_range, config->sample_range, sizeof info->sample_range);
    memcpy(info->output_range, config->output_range, sizeof info->output_range);
    info->has_labels = config->has_labels;
    info->has_null_label = config->has_null_label;
    info->label_count = config->label_count;
    info->null_label = config->null_label;
    info->has_log_density = network->has_log_density;
    assert(model->network == NULL || config->classifier || !info->has_divergence ||
           network->max_tangents > 0);
    info->has_gradients = network->reverse_rows > 0 && !config->classifier && config->space.is_flat;
    info->field = &model->field;
    info->parameter_count = network->parameter_count;
    info->memory_bytes = network->weight_bytes + model->scratch.size_bytes;
    info->tile_rows = model->tile_rows;
    info->divisible = network->divisible;
}

static fm_status open_stages(fm_model *model, const fm_model_options *options, fm_error *err)
{
    fm_status status = FM_OK;
    if (fm_architecture_has_weights(model->config.architecture)) {
        status = open_weights(model, err);
        if (status == FM_OK && options->describe_only) {
            return fm_network_check(&model->config, model->weights, err);
        }
        if (status == FM_OK && affords_gradients(model, options->gradient_bytes)) {
            model->config.reversible = true;
        }
    }
    if (status == FM_OK) {
        status = build_network(model, err);
    }
    if (status == FM_OK) {
        status = fm_model_try(model, options->cache_folder, err);
    }
    if (status == FM_OK) {
        status = map_scratch(model, err);
    }
    if (status == FM_OK) {
        status = map_tangents(model, err);
    }
    if (status == FM_OK) {
        status = map_reverse(model, err);
    }
    return status;
}

fm_status fm_model_open(const char *folder, const fm_model_options *options, fm_model **ret,
                        fm_error *err)
{
    assert(options->workers >= 1 && options->workers <= MAX_WORKERS);
    fm_model *model = fm_alloc(sizeof *model);
    if (model == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a model");
    }
    fm_status status = fm_model_config_read(folder, &model->config, err);
    if (status != FM_OK) {
        fm_free(model);
        return status;
    }
    model->workers = options->workers;
    model->lane.model = model;
    atomic_init(&model->references, 1);
    fm_dense_thread_init(); /* the checks run networks on this thread */
    status = open_stages(model, options, err);
    if (status != FM_OK) {
        model_free(model);
        return status;
    }
    fill_info(model);
    *ret = model;
    return FM_OK;
}

fm_model *fm_model_ref(fm_model *model)
{
    (void)atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void fm_model_unref(fm_model *model)
{
    /* acq_rel: the last owner must see what the others did with the model. */
    if (model != NULL &&
        atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) == 1) {
        model_free(model);
    }
}

const fm_model_info *fm_model_describe(const fm_model *model)
{
    return &model->info;
}

void fm_model_print_plan(const fm_model *model, fm_write_cb write, void *context)
{
    const fm_plan *plan = fm_network_plan(fm_gradient_network_inner(model->network));
    if (plan == NULL) {
        static const char text[] = "a closed form: no plan\n";
        write(context, text, sizeof text - 1);
    } else {
        fm_plan_print(plan, write, context);
    }
}

static uint64_t load(const atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void fm_model_statistics(const fm_model *model, fm_model_stats *ret)
{
    *ret = (fm_model_stats){
        .tiles = load(&model->tiles),
        .tile_rows = load(&model->rows),
        .tile_capacity = load(&model->capacity),
        .evaluations = load(&model->evaluations),
        .rows_in_flight = load(&model->in_flight),
        .rows_waiting = load(&model->waiting),
        .rows_finished = load(&model->finished),
        .rows_non_finite = load(&model->non_finite),
        .rows_cancelled = load(&model->cancelled),
        .network_seconds = 1e-9 * (double)load(&model->network_ns),
    };
}
