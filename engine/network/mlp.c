/* mlp: a chain of Linear layers, PyTorch's nn.Sequential of Linears and activations.
 *
 *   z    [rows][n]   [x, t], [x, t, label], [t, x] or [t, label, x]; n = dimension + 1 (+ 1), times
 *                    2 count with Fourier features
 *   h_1  = act(W_1 z + b_1)           W_1 [h_1][n]
 *   h_i  = act(W_i h_(i-1) + b_i)     W_i [h_i][h_(i-1)]
 *   out  = W_L h_(L-1) + b_L          W_L [predictions dimension][h_(L-1)], no activation
 *
 * Tensors are "<stem>.<i>.weight" and, of all layers or of none, ".bias"; the numbers between are the
 * activations. What is an exception to that stands in config.json.
 * Tokens that are looked up enter as mlp_tokens.h says.
 * Networks that apply the activation before each hidden Linear instead of after it are the same chain.
 */
#include "engine/checkpoint/tensor_floats.h"
#include "engine/math/kernels.h"
#include "engine/memory.h"
#include "engine/network/architecture.h"
#include "engine/network/mlp_tokens.h"
#include "engine/network/plan.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define WEIGHT_SUFFIX     ".weight"
#define BIAS_SUFFIX       ".bias"
#define TENSOR_NAME_BYTES ((size_t)512)
#define CACHE_BYTES       ((size_t)1 << 20) /* of a core's L2: the activations of a tile should fit */
#define LARGEST_STEP      3 /* between layers' numbers: a Linear, its activation, and a Dropout */
#define USUAL_STEP        2

typedef struct layer {
    char *stem;      /* "main.0" */
    unsigned number; /* its last part, where layers are discovered */
    bool in_gap;     /* no such tensor was discovered, but the numbers leave room for one */
    bool has_bias;
    size_t inputs, outputs;
    const fm_tensor *weight, *bias; /* bias is NULL where it has none */
} layer;

typedef struct layers {
    layer *items; /* [count] in order */
    size_t count;
} layers;

static void layers_done(layers *all)
{
    for (size_t i = 0; i < all->count; i++) {
        fm_free(all->items[i].stem);
    }
    fm_free(all->items);
    *all = (layers){0};
}

/* ---- which layers there are ---- */

static fm_status tensor_name(const char *stem, const char *suffix, char *ret, fm_error *err)
{
    int length = snprintf(ret, TENSOR_NAME_BYTES, "%s%s", stem, suffix);
    return length >= 0 && (size_t)length < TENSOR_NAME_BYTES
               ? FM_OK
               : fm_fail(err, FM_EFORMAT, "tensor name %.64s… is too long", stem);
}

/* Splits "main.4.weight" into the length of "main." (0 for "4.weight") and 4; false for other names. */
static bool name_split(const char *name, size_t *ret_stem_length, unsigned *ret_number)
{
    size_t length = strlen(name);
    size_t suffix = strlen(WEIGHT_SUFFIX);
    if (length <= suffix || strcmp(name + length - suffix, WEIGHT_SUFFIX) != 0) {
        return false;
    }
    size_t end = length - suffix;
    size_t begin = end;
    while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') {
        begin--;
    }
    bool padded = end - begin > 1 && name[begin] == '0'; /* "02" is no number of PyTorch's */
    if (begin == end || end - begin > 6 || padded || (begin > 0 && name[begin - 1] != '.')) {
        return false;
    }
    unsigned number = 0;
    for (size_t i = begin; i < end; i++) {
        number = number * 10 + (unsigned)(name[i] - '0');
    }
    *ret_stem_length = begin;
    *ret_number = number;
    return true;
}

/* Inserts by number; the stem is the name without its suffix. */
static fm_status layers_insert(layers *all, const char *name, unsigned number, fm_error *err)
{
    char *stem = fm_string_copy(name);
    if (stem == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a layer's name");
    }
    stem[strlen(stem) - strlen(WEIGHT_SUFFIX)] = '\0';
    size_t at = all->count++;
    for (; at > 0 && all->items[at - 1].number > number; at--) {
        all->items[at] = all->items[at - 1];
    }
    all->items[at] = (layer){.stem = stem, .number = number};
    return FM_OK;
}

static fm_status discovered_add(const fm_weights_entry *entry, const char **first, layers *all,
                                fm_error *err)
{
    size_t stem = 0;
    unsigned number = 0;
    if (entry->tensor == NULL || entry->tensor->rank != 2 ||
        !name_split(entry->name, &stem, &number)) {
        return FM_OK;
    }
    *first = *first == NULL ? entry->name : *first;
    size_t first_stem = 0;
    unsigned first_number = 0;
    bool split = name_split(*first, &first_stem, &first_number);
    assert(split);
    (void)split;
    if (stem != first_stem || strncmp(*first, entry->name, stem) != 0) {
        return fm_fail(err, FM_EFORMAT,
                       "tensors %s and %s are layers of different stems; name the layers in order "
                       "in /network/layers",
                       *first, entry->name);
    }
    return layers_insert(all, entry->name, number, err);
}

/* What the numbers rise by from one layer to the next. */
static unsigned number_step(const layers *all)
{
    unsigned least = UINT_MAX;
    for (size_t i = 1; i < all->count; i++) {
        unsigned step = all->items[i].number - all->items[i - 1].number;
        least = step < least ? step : least;
    }
    return least > LARGEST_STEP ? USUAL_STEP : least;
}

/* Where the numbers do not rise evenly, a layer is missing: it takes its place, so that whoever asks for
 * its tensors is told. One is enough for that. */
static fm_status gap_fill(const fm_weights *weights, layers *all, fm_error *err)
{
    unsigned step = number_step(all);
    size_t at = 1;
    while (at < all->count && all->items[at].number == all->items[at - 1].number + step) {
        at++;
    }
    if (at >= all->count) {
        return FM_OK;
    }
    char name[TENSOR_NAME_BYTES];
    size_t stem = 0;
    unsigned number = 0;
    fm_status status = tensor_name(all->items[at].stem, WEIGHT_SUFFIX, name, err);
    if (status != FM_OK) {
        return status;
    }
    size_t outputs = fm_weights_peek(weights, name)->shape[1];
    bool split = name_split(name, &stem, &number);
    assert(split);
    (void)split;
    number = all->items[at - 1].number + step;
    (void)snprintf(name + stem, sizeof name - stem, "%u%s", number, WEIGHT_SUFFIX);
    status = layers_insert(all, name, number, err);
    if (status == FM_OK) {
        all->items[at].in_gap = true;
        all->items[at].outputs = outputs;
    }
    return status;
}

static fm_status layers_discover(const fm_weights *weights, layers *all, fm_error *err)
{
    size_t count = fm_weights_count(weights);
    all->items = fm_alloc_array(count + 1, sizeof *all->items); /* one more to fill a gap */
    if (all->items == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu layers", count);
    }
    const char *first = NULL;
    for (size_t i = 0; i < count; i++) {
        fm_status status = discovered_add(fm_weights_at(weights, i), &first, all, err);
        if (status != FM_OK) {
            return status;
        }
    }
    if (all->count == 0) {
        return fm_fail(err, FM_EFORMAT,
                       "none of the %zu tensors is a layer: expected <stem>.<i>.weight with two "
                       "dimensions",
                       count);
    }
    return gap_fill(weights, all, err);
}

static fm_status layers_named(const fm_mlp_config *config, layers *all, fm_error *err)
{
    all->items = fm_alloc_array(config->n_layers, sizeof *all->items);
    if (all->items == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu layers", config->n_layers);
    }
    for (size_t i = 0; i < config->n_layers; i++) {
        all->items[i].stem = fm_string_copy(config->layers[i]);
        if (all->items[i].stem == NULL) {
            return fm_fail(err, FM_ENOMEM, "no memory for a layer's name");
        }
        all->count++;
    }
    return FM_OK;
}

/* ---- their tensors ---- */

/* Takes weight and bias; `outputs` 0 lets the tensors say how many there are. */
static fm_status layer_take(layer *it, fm_weights *weights, size_t inputs, size_t outputs,
                            fm_error *err)
{
    char weight_name[TENSOR_NAME_BYTES];
    char bias_name[TENSOR_NAME_BYTES];
    fm_status status = tensor_name(it->stem, WEIGHT_SUFFIX, weight_name, err);
    if (status == FM_OK) {
        status = tensor_name(it->stem, BIAS_SUFFIX, bias_name, err);
    }
    if (status != FM_OK) {
        return status;
    }
    const fm_tensor *weight = fm_weights_peek(weights, weight_name);
    const fm_tensor *bias = it->has_bias ? fm_weights_peek(weights, bias_name) : NULL;
    if (outputs == 0 && weight != NULL && weight->rank == 2) {
        outputs = weight->shape[0];
    } else if (outputs ==
               0) { /* for the message only: what the bias says, or a layer as wide as before */
        outputs = bias != NULL && bias->rank == 1 ? bias->shape[0] : inputs;
    }
    it->inputs = inputs;
    it->outputs = outputs;
    status =
        fm_weights_take(weights, weight_name, 2, (size_t[]){outputs, inputs}, &it->weight, err);
    if (status == FM_OK && outputs == 0) {
        status = fm_fail(err, FM_EFORMAT, "tensor %s must have at least one row", weight_name);
    }
    if (it->has_bias) { /* taken in any case, so that a report of the folder tells of both */
        fm_error *bias_err = status == FM_OK ? err : NULL;
        fm_status bias_status =
            fm_weights_take(weights, bias_name, 1, &outputs, &it->bias, bias_err);
        if (bias_status == FM_EFORMAT && bias == NULL) {
            bias_status =
                fm_fail_prefix(bias_err, bias_status,
                               "other layers have a bias (if this one has none, name it in "
                               "/network/layers_without_bias)");
        }
        status = status == FM_OK ? bias_status : status;
    }
    return status;
}

static layer *layer_find(const layers *all, const char *stem)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->items[i].stem, stem) == 0) {
            return &all->items[i];
        }
    }
    return NULL;
}

/* Layers have a bias where any of them has one and config.json does not say that they do not. */
static fm_status biases_expect(layers *all, const fm_mlp_config *mlp, const fm_weights *weights,
                               fm_error *err)
{
    bool any = false;
    char name[TENSOR_NAME_BYTES];
    for (size_t i = 0; i < all->count; i++) {
        fm_status status = tensor_name(all->items[i].stem, BIAS_SUFFIX, name, err);
        if (status != FM_OK) {
            return status;
        }
        any |= fm_weights_peek(weights, name) != NULL;
    }
    for (size_t i = 0; i < all->count; i++) {
        all->items[i].has_bias = any;
    }
    for (size_t k = 0; k < mlp->n_layers_without_bias; k++) {
        layer *named = layer_find(all, mlp->layers_without_bias[k]);
        if (named == NULL) {
            return fm_fail(
                err, FM_EFORMAT,
                "/network/layers_without_bias/%zu: \"%s\" is not a layer of this network", k,
                mlp->layers_without_bias[k]);
        }
        named->has_bias = false;
    }
    return FM_OK;
}

/* Where a layer stands, before what is wrong with it. */
static fm_status layer_fail(const layers *all, size_t index, const fm_model_config *config,
                            fm_status status, fm_error *err)
{
    if (index > 0) {
        const layer *before = &all->items[index - 1];
        if (all->items[index].in_gap) { /* which is never the last, either */
            status = fm_fail_prefix(
                err, status,
                "the numbers of layers %s and %s leave a gap (if no layer is missing "
                "there, name all in order in /network/layers)",
                before->stem, all->items[index + 1].stem);
        }
        return fm_fail_prefix(err, status, "layer %zu of %zu, after %s [%zu, %zu]", index + 1,
                              all->count, before->stem, before->outputs, before->inputs);
    }
    return fm_fail_prefix(err, status, "layer 1 of %zu, whose input is x [%zu], t%s%s", all->count,
                          config->space.inputs,
                          config->mlp.label == FM_MLP_LABEL_CONCAT ? " and label" : "",
                          config->mlp.fourier_count > 0         ? " as sines and cosines"
                          : config->mlp.token_embedding != NULL ? ", x by a table"
                                                                : "");
}

static size_t outputs_of(const fm_model_config *config)
{
    if (config->classifier) {
        return (size_t)config->label_count;
    }
    return config->potential ? 1
                             : fm_predictions_count(&config->predictions) * config->space.outputs;
}

/* Takes all, past the first failure too: the record of what was asked for is what users are shown. */
static fm_status layers_take(layers *all, const fm_model_config *config, size_t inputs,
                             fm_weights *weights, fm_error *err)
{
    fm_status first = FM_OK;
    for (size_t i = 0; i < all->count; i++) {
        size_t outputs = i + 1 == all->count ? outputs_of(config) : all->items[i].outputs;
        fm_status status =
            layer_take(&all->items[i], weights, inputs, outputs, first == FM_OK ? err : NULL);
        if (status != FM_OK && first == FM_OK) {
            first = layer_fail(all, i, config, status, err);
        }
        inputs = all->items[i].outputs;
    }
    return first;
}

/* ---- the plan ---- */

/* The largest tile whose two widest neighbouring activations stay in a core's cache: a rule, not a
 * measurement. Callers may use fewer rows a call; no bit depends on it. */
static size_t tile_rows(const layers *all)
{
    size_t widest = 1;
    for (size_t i = 0; i < all->count; i++) {
        size_t floats = all->items[i].inputs + all->items[i].outputs;
        widest = floats > widest ? floats : widest;
    }
    for (size_t rows = 256; rows > 64; rows /= 2) {
        if (widest <= CACHE_BYTES / sizeof(float) / rows) {
            return rows;
        }
    }
    return 64;
}

/* Of all weights as the kernels pack them. */
static size_t packed_bytes(const layers *all)
{
    size_t floats = 0;
    for (size_t i = 0; i < all->count; i++) {
        floats += all->items[i].inputs * fm_kernels_round(all->items[i].outputs);
    }
    return floats * sizeof(float);
}

static fm_status plan_layer(fm_plan *plan, const layer *it, fm_activation activation,
                            fm_plan_value *value, fm_error *err)
{
    fm_tensor_floats weight = {0};
    fm_tensor_floats bias = {0};
    fm_status status = fm_tensor_floats_init(it->weight, &weight, err);
    if (status == FM_OK && it->bias != NULL) {
        status = fm_tensor_floats_init(it->bias, &bias, err);
    }
    if (status == FM_OK) {
        fm_dense_spec spec = {.inputs = it->inputs,
                              .outputs = it->outputs,
                              .weight = weight.values,
                              .bias = bias.values,
                              .activation = activation};
        status = fm_plan_linear(plan, *value, &spec, value, err);
    }
    fm_tensor_floats_done(&bias);
    fm_tensor_floats_done(&weight);
    return status;
}

/* How x, t and a label enter. */
typedef struct entry {
    fm_plan_input_spec numbers;
    fm_mlp_tokens tokens; /* instead, where its table is not NULL */
} entry;

static fm_status plan_fill(fm_plan *plan, const layers *all, const entry *input,
                           const fm_model_config *config, fm_error *err)
{
    fm_plan_value value = 0;
    fm_activation activation = config->mlp.activation;
    fm_status status = input->tokens.table != NULL
                           ? fm_mlp_tokens_plan(&input->tokens, config, plan, &value, err)
                           : fm_plan_input(plan, &input->numbers, &value, err);
    for (size_t i = 0; status == FM_OK && i < all->count; i++) {
        bool last = i + 1 == all->count;
        status =
            plan_layer(plan, &all->items[i], last ? FM_ACTIVATION_NONE : activation, &value, err);
    }
    if (status == FM_OK) {
        status = fm_plan_output(plan, value, err);
    }
    return status == FM_OK ? fm_plan_finish(plan, err) : status;
}

static fm_status network_of(const layers *all, const entry *input, const fm_model_config *config,
                            fm_network **ret, fm_error *err)
{
    fm_plan *plan = NULL;
    fm_status status = fm_plan_new(tile_rows(all), config->compute, &plan, err);
    if (status != FM_OK) {
        return status;
    }
    fm_plan_expect_weights(plan, packed_bytes(all));
    if (config->reversible) {
        fm_plan_make_reversible(plan);
    }
    status = plan_fill(plan, all, input, config, err);
    if (status != FM_OK) {
        fm_plan_free(plan);
        return status;
    }
    return fm_plan_network_new(plan, ret, err);
}

/* Columns of what enters. */
static fm_status entry_take(const fm_model_config *config, fm_weights *weights, entry *ret,
                            size_t *ret_columns, fm_error *err)
{
    const fm_mlp_config *mlp = &config->mlp;
    *ret = (entry){.numbers = {.dimension = config->space.inputs,
                               .time_first = mlp->time_first,
                               .has_label = mlp->label == FM_MLP_LABEL_CONCAT,
                               .fourier_count = mlp->fourier_count}};
    if (mlp->token_embedding == NULL) {
        *ret_columns = fm_plan_input_columns(&ret->numbers);
        return FM_OK;
    }
    fm_status status = fm_mlp_tokens_take(config, weights, &ret->tokens, err);
    *ret_columns = ret->tokens.columns;
    return status;
}

fm_status fm_mlp_new(const fm_model_config *config, fm_weights *weights, const fm_path *path,
                     fm_network **ret, fm_error *err)
{
    (void)path; /* it predicts the velocity; the path was the training's business */
    const fm_mlp_config *mlp = &config->mlp;
    entry input;
    size_t columns = 0;
    layers all = {0};
    fm_status status =
        mlp->n_layers > 0 ? layers_named(mlp, &all, err) : layers_discover(weights, &all, err);
    if (status == FM_OK) {
        status = biases_expect(&all, mlp, weights, err);
    }
    if (status == FM_OK) {
        status = entry_take(config, weights, &input, &columns, err);
    }
    if (status == FM_OK) {
        status = layers_take(&all, config, columns, weights, err);
    }
    if (status == FM_OK && ret != NULL) {
        status = network_of(&all, &input, config, ret, err);
    }
    layers_done(&all);
    return status;
}
