/* mlp: Linear layers under "<stem>.<i>.weight", perhaps behind an "input_layer". What is fed follows from
 * the widths: the last layer gives the dimension D, the first takes [x, t] or [x, t, label], plain or as
 * Fourier features. */
#include "engine/checkpoint/guess_private.h"
#include "engine/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT          ".weight"
#define BIAS            ".bias"
#define INPUT           "input_layer"
#define ASSUMED_CLASSES ((size_t)10)

typedef struct layer {
    const char *name;   /* of its weight */
    size_t stem_length; /* up to the number's dot; the whole stem where there is no number */
    size_t number;
    bool is_input;
    const fm_tensor *weight; /* [outputs][inputs] */
} layer;

typedef struct layers {
    layer *list; /* [count] in order */
    size_t count;
} layers;

static bool name_ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length > tail && strcmp(name + length - tail, suffix) == 0;
}

/* Whether one of the name's components is part. */
static bool begins_component(const char *name, const char *part)
{
    size_t length = strlen(part);
    for (const char *at = name; at != NULL; at = strchr(at, '.')) {
        at += *at == '.';
        if (strncmp(at, part, length) == 0 && at[length] == '.') {
            return true;
        }
    }
    return false;
}

/* False for a name that no layer has. */
static bool split_name(const char *name, layer *ret)
{
    size_t end = strlen(name) - strlen(WEIGHT);
    size_t begin = end;
    while (begin > 0 && name[begin - 1] >= '0' && name[begin - 1] <= '9') {
        begin--;
    }
    ret->name = name;
    ret->is_input = begins_component(name, INPUT);
    bool numbered = begin < end && end - begin <= 6 && (begin == 0 || name[begin - 1] == '.');
    ret->stem_length = numbered ? begin : end;
    for (size_t i = begin; numbered && i < end; i++) {
        ret->number = ret->number * 10 + (size_t)(name[i] - '0');
    }
    return numbered || ret->is_input;
}

static int compare_layer(const void *left, const void *right)
{
    const layer *a = left;
    const layer *b = right;
    if (a->is_input != b->is_input) {
        return a->is_input ? -1 : 1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

static fm_status fail_unknown(const char *name, fm_error *err)
{
    return fm_fail(
        err, FM_EFORMAT,
        "tensor \"%s\": its name and shape fit no architecture that can be guessed; write "
        "config.json by hand",
        name);
}

/* Whether it is a tensor of how tokens and their time enter. */
static bool is_of_tokens(const fm_guesser *guesser, const char *name)
{
    const char *stems[] = {fm_guess_token_embedding(guesser), fm_guess_time_embedding(guesser)};
    for (size_t i = 0; i < 2; i++) {
        size_t length = stems[i] == NULL ? 0 : strlen(stems[i]);
        if (length > 0 && strncmp(name, stems[i], length) == 0 && name[length] == '.') {
            return true;
        }
    }
    return false;
}

static fm_status collect(const fm_guesser *guesser, layers *ret, fm_error *err)
{
    for (size_t i = 0; i < guesser->count; i++) {
        const fm_safetensors_row *row = &guesser->rows[i];
        layer found = {.weight = row->tensor};
        bool is_weight = name_ends(row->name, WEIGHT) && row->tensor->rank == 2;
        if (name_ends(row->name, BIAS) && row->tensor->rank == 1) {
            continue;
        }
        if (is_of_tokens(guesser, row->name)) {
            continue;
        }
        if (!is_weight || !split_name(row->name, &found)) {
            return fail_unknown(row->name, err);
        }
        ret->list[ret->count++] = found;
    }
    if (ret->count == 0) {
        return fm_fail(err, FM_EFORMAT, "expected layers, found none");
    }
    qsort(ret->list, ret->count, sizeof *ret->list, compare_layer);
    return FM_OK;
}

/* One stem, and each layer takes what the one before gives. */
static fm_status check_chain(const layers *all, fm_error *err)
{
    for (size_t i = 1; i < all->count; i++) {
        const layer *before = &all->list[i - 1], *here = &all->list[i];
        bool same_stem =
            before->is_input || (before->stem_length == here->stem_length &&
                                 strncmp(before->name, here->name, here->stem_length) == 0);
        if (!same_stem || here->is_input) {
            return fail_unknown(here->name, err);
        }
        if (here->weight->shape[1] != before->weight->shape[0]) {
            return fm_fail(err, FM_EFORMAT,
                           "tensor \"%s\": expected %zu columns, the width of \"%s\", found %zu",
                           here->name, before->weight->shape[0], before->name,
                           here->weight->shape[1]);
        }
    }
    return FM_OK;
}

/* ---- Keys ---- */

static fm_status put_inputs(fm_guesser *guesser, const layers *all, fm_error *err)
{
    size_t inputs = all->list[0].weight->shape[1];
    size_t dimension = all->list[all->count - 1].weight->shape[0];
    if (fm_guess_token_embedding(guesser) != NULL) {
        return fm_guess_mlp_tokens(guesser, inputs, dimension, err);
    }
    size_t fourier = 0;
    bool label = inputs == dimension + 2;
    if (inputs != dimension + 1 && !label) {
        label = inputs % (2 * (dimension + 1)) != 0;
        fourier = inputs / (2 * (dimension + (label ? 2 : 1)));
    }
    size_t width = dimension + (label ? 2 : 1);
    if (dimension == 0 || (fourier > 0 && inputs != 2 * fourier * width) ||
        (fourier == 0 && inputs != width)) {
        return fm_fail(err, FM_EFORMAT,
                       "the first layer takes %zu numbers and the last gives %zu: that is neither "
                       "[x, t] nor [x, t, label], nor Fourier features of them",
                       inputs, dimension);
    }
    if (fourier > 0) {
        fm_guess_put(guesser, guesser->network, "features",
                     json_pack("{s:s, s:I}", "type", "fourier", "count", (json_int_t)fourier));
        fm_guess_assume(guesser,
                        "network.features fourier, count %zu: the first layer takes %zu "
                        "numbers",
                        fourier, inputs);
    }
    if (label) {
        fm_guess_put(guesser, guesser->network, "label", json_string("concat"));
        fm_guess_put_labels(guesser, ASSUMED_CLASSES, false);
        fm_guess_assume(guesser,
                        "conditioning.labels.count %zu, no null class: the number of "
                        "classes is not in the file",
                        ASSUMED_CLASSES);
    }
    fm_guess_put_shape(guesser, 1, &dimension);
    return FM_OK;
}

/* The libraries' examples by the stem that they use. */
static void put_activation(fm_guesser *guesser, const layer *first, bool of_tokens)
{
    const char *name = first->is_input ? INPUT : first->name;
    static const struct {
        const char *stem, *activation, *time, *library;
    } rows[] = {
        {"main.", "silu", "concat_last", "the flow_matching library"},
        {INPUT, "silu", "concat_last", "the flow_matching library"},
        {"net.", "selu", "concat_last",
         "TorchCFM's MLP; the flow_matching standalone example has "
         "elu and concat_first"},
        {"net.", "elu", "concat_first", "the flow_matching library's standalone example of tokens"},
        {"model.", "relu", "concat_first", "TorchCFM's SimpleDenseNet"},
        {"mlp.layers.", "relu", "concat_last", "the rectified-flow library"},
        {"", "silu", "concat_last", "a guess"},
    };
    size_t i = 0;
    while (strncmp(name, rows[i].stem, strlen(rows[i].stem)) != 0 ||
           (of_tokens && strcmp(rows[i].activation, "selu") == 0)) {
        i++;
    }
    fm_guess_put(guesser, guesser->network, "activation", json_string(rows[i].activation));
    fm_guess_put(guesser, guesser->network, "time", json_string(rows[i].time));
    fm_guess_assume(guesser, "network.activation %s, network.time %s: as %s", rows[i].activation,
                    rows[i].time, rows[i].library);
}

static void put_layers(fm_guesser *guesser, const layers *all)
{
    json_t *stems = json_array();
    for (size_t i = 0; i < all->count; i++) {
        const char *name = all->list[i].name;
        if (json_array_append_new(stems, json_stringn(name, strlen(name) - strlen(WEIGHT))) != 0) {
            guesser->out_of_memory = true;
        }
    }
    fm_guess_put(guesser, guesser->network, "layers", stems);
}

fm_status fm_guess_mlp(fm_guesser *guesser, fm_error *err)
{
    layers all = {.list = fm_alloc_array(guesser->count, sizeof *all.list)};
    if (all.list == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for %zu layers", guesser->count);
    }
    fm_status status = collect(guesser, &all, err);
    if (status == FM_OK) {
        status = check_chain(&all, err);
    }
    if (status == FM_OK) {
        put_activation(guesser, &all.list[0], fm_guess_token_embedding(guesser) != NULL);
        status = put_inputs(guesser, &all, err);
    }
    if (status == FM_OK && all.list[0].is_input) {
        put_layers(guesser, &all);
    }
    fm_guess_put(guesser, guesser->output, "kind",
                 json_string(guesser->is_of_tokens ? "tokens" : "points"));
    fm_free(all.list);
    return status;
}
