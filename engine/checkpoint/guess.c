/* The table of architectures, and what all their configurations have in common.
 *
 * Source: the state dicts of the libraries named in architectures[]. */
#include "engine/checkpoint/guess.h"

#include "engine/checkpoint/guess_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME_BYTES ((size_t)256)

/* ---- Looking ---- */

static int compare_row(const void *left, const void *right)
{
    const fm_safetensors_row *a = left;
    const fm_safetensors_row *b = right;
    return strcmp(a->name, b->name);
}

static const fm_tensor *find(const fm_guesser *guesser, const char *name)
{
    const fm_safetensors_row wanted = {.name = name};
    const fm_safetensors_row *row =
        bsearch(&wanted, guesser->rows, guesser->count, sizeof wanted, compare_row);
    return row == NULL ? NULL : row->tensor;
}

const fm_tensor *fm_guess_find(const fm_guesser *guesser, const char *format, ...)
{
    char name[MAX_NAME_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return find(guesser, name);
}

fm_status fm_guess_need(const fm_guesser *guesser, const char *name, size_t rank,
                        const fm_tensor **ret, fm_error *err)
{
    const fm_tensor *tensor = find(guesser, name);
    if (tensor == NULL || tensor->rank != rank || tensor->count == 0) {
        return fm_fail(err, FM_EFORMAT,
                       "tensor \"%s\": expected with %zu dimensions for this architecture, found "
                       "%s",
                       name, rank, tensor == NULL ? "none" : "another shape");
    }
    *ret = tensor;
    return FM_OK;
}

bool fm_guess_has(const fm_guesser *guesser, const char *prefix)
{
    for (size_t i = 0; i < guesser->count; i++) {
        if (strncmp(guesser->rows[i].name, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

size_t fm_guess_count(const fm_guesser *guesser, const char *stem)
{
    size_t count = 0;
    size_t length = strlen(stem);
    for (size_t i = 0; i < guesser->count; i++) {
        const char *name = guesser->rows[i].name;
        if (strncmp(name, stem, length) != 0 || name[length] != '.') {
            continue;
        }
        size_t index = 0;
        const char *at = name + length + 1;
        while (*at >= '0' && *at <= '9' && index < 100000) {
            index = index * 10 + (size_t)(*at++ - '0');
        }
        bool is_index = at > name + length + 1 && *at == '.';
        count = is_index && index + 1 > count ? index + 1 : count;
    }
    return count;
}

/* ---- Writing ---- */

void fm_guess_put(fm_guesser *guesser, json_t *to, const char *key, json_t *value)
{
    if (json_object_set_new(to, key, value) != 0) {
        guesser->out_of_memory = true;
    }
}

void fm_guess_put_size(fm_guesser *guesser, json_t *to, const char *key, size_t value)
{
    fm_guess_put(guesser, to, key, json_integer((json_int_t)value));
}

void fm_guess_put_shape(fm_guesser *guesser, size_t rank, const size_t *sizes)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < rank; i++) {
        if (json_array_append_new(shape, json_integer((json_int_t)sizes[i])) != 0) {
            guesser->out_of_memory = true;
        }
    }
    fm_guess_put(guesser, guesser->flow, "shape", shape);
}

void fm_guess_put_labels(fm_guesser *guesser, size_t count, bool has_null)
{
    json_t *labels = json_pack("{s:I}", "count", (json_int_t)count);
    if (has_null) {
        fm_guess_put(guesser, labels, "null", json_integer((json_int_t)count));
    }
    fm_guess_put(guesser, guesser->conditioning, "labels", labels);
}

void fm_guess_assume(fm_guesser *guesser, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (json_array_append_new(guesser->assumed, json_string(text)) != 0) {
        guesser->out_of_memory = true;
    }
}

/* ---- Which architecture ---- */

typedef struct architecture {
    const char *name;
    const char *tensors[3]; /* all of them say which it is; one that ends in a dot begins a name */
    fm_guess_fill fill;     /* NULL: known by name, not guessed */
} architecture;

/* In this order: the first whose tensors are there. mlp comes last and by itself. */
static const architecture architectures[] = {
    {"the discrete U-Net of the flow_matching library",
     {"pixel_embedding.embedding_table.weight"},
     NULL},
    {"text_dit", {"vocab_embed.weight", "blocks.0.qw.weight"}, fm_guess_text_dit},
    {"minrf.dit", {"init_conv_seq.0.weight"}, NULL},
    {"minrf.mmdit", {"double_layers.0.modC.1.weight"}, NULL},
    {"SongUNet", {"map_layer0.weight", "enc."}, NULL},
    {"flux", {"single_transformer_blocks.", "transformer_blocks."}, NULL},
    {"sd3", {"transformer_blocks.", "pos_embed.proj.weight"}, NULL},
    {"LightningDiT", {"t_embedder.W"}, NULL},
    {"the DiT of the rectified-flow library", {"in_blocks.", "x_embedder.proj.weight"}, NULL},
    {"sit",
     {"x_embedder.proj.weight", "final_layer.linear.weight", "blocks.0.attn.qkv.weight"},
     fm_guess_sit},
    {"meta.unet", {NULL}, fm_guess_meta_unet}, /* by is_meta_unet() */
    {"torchcfm.unet", {"input_blocks.0.0.weight", "time_embed.0.weight"}, fm_guess_torchcfm_unet},
};

#define N_ARCHITECTURES (sizeof architectures / sizeof *architectures)

static const architecture mlp = {"mlp", {NULL}, fm_guess_mlp};

static bool ends_in_dot(const char *name)
{
    return name[strlen(name) - 1] == '.';
}

/* The two libraries' U-Nets have the same names. Meta's multiplies its first convolution's channels, and
 * counts a null class in its labels, where the usual numbers of classes are multiples of ten. */
static bool is_meta_unet(const fm_guesser *guesser)
{
    const fm_tensor *first = find(guesser, "input_blocks.0.0.weight");
    const fm_tensor *time = find(guesser, "time_embed.0.weight");
    const fm_tensor *labels = find(guesser, "label_emb.weight");
    if (first == NULL || time == NULL || first->rank != 4 || time->rank != 2) {
        return false;
    }
    return first->shape[0] != time->shape[1] ||
           (labels != NULL && labels->rank == 2 && labels->shape[0] > 1 &&
            labels->shape[0] % 10 == 1);
}

static bool matches(const fm_guesser *guesser, const architecture *row)
{
    if (row->tensors[0] == NULL) {
        return is_meta_unet(guesser);
    }
    for (size_t i = 0; i < 3 && row->tensors[i] != NULL; i++) {
        const char *name = row->tensors[i];
        if (ends_in_dot(name) ? !fm_guess_has(guesser, name) : find(guesser, name) == NULL) {
            return false;
        }
    }
    return true;
}

static const architecture *match(const fm_guesser *guesser)
{
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        if (matches(guesser, &architectures[i])) {
            return &architectures[i];
        }
    }
    return NULL;
}

/* Length of the first component, dot and all, that all names share; 0 when they differ. */
static size_t common_component(const fm_guesser *guesser)
{
    const char *dot = guesser->count == 0 ? NULL : strchr(guesser->rows[0].name, '.');
    size_t length = dot == NULL ? 0 : (size_t)(dot - guesser->rows[0].name) + 1;
    for (size_t i = 0; i < guesser->count; i++) {
        const char *name = guesser->rows[i].name;
        if (strncmp(name, guesser->rows[0].name, length) != 0 || name[length] == '\0') {
            return 0;
        }
    }
    return length;
}

/* Cuts what all names share until one of architectures fits; the names stay whole when none does. */
static const architecture *match_behind_prefix(fm_guesser *guesser)
{
    size_t cut = 0;
    const architecture *row = match(guesser);
    for (size_t length = common_component(guesser); row == NULL && length > 0;
         length = common_component(guesser)) {
        for (size_t i = 0; i < guesser->count; i++) {
            guesser->rows[i].name += length;
        }
        cut += length;
        row = match(guesser);
    }
    for (size_t i = 0; row == NULL && i < guesser->count; i++) {
        guesser->rows[i].name -= cut;
    }
    return row;
}

static fm_status choose(fm_guesser *guesser, const char *name, const architecture **ret,
                        fm_error *err)
{
    const architecture *row = match_behind_prefix(guesser);
    if (name == NULL) {
        *ret = row == NULL ? &mlp : row;
        return (*ret)->fill != NULL
                   ? FM_OK
                   : fm_fail(err, FM_EFORMAT,
                             "the tensors are named like those of %s, whose config.json cannot be "
                             "guessed",
                             (*ret)->name);
    }
    if (strcmp(name, mlp.name) == 0) {
        *ret = &mlp;
        return FM_OK;
    }
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        if (architectures[i].fill != NULL && strcmp(architectures[i].name, name) == 0) {
            *ret = &architectures[i];
            return FM_OK;
        }
    }
    return fm_fail(
        err, FM_EINVAL,
        "architecture must be one of mlp, text_dit, sit, meta.unet, torchcfm.unet, found \"%s\"",
        name);
}

/* ---- The whole ---- */

static void put_flow(fm_guesser *guesser)
{
    json_t *flow = guesser->flow;
    fm_guess_put(guesser, flow, "scheduler", json_pack("{s:s}", "type", "condot"));
    fm_guess_put(guesser, flow, "prediction",
                 json_string(guesser->is_of_tokens ? "logits" : "velocity"));
    fm_guess_put(guesser, flow, "time",
                 json_pack("{s:s, s:f}", "direction", "noise_to_data", "scale", 1.0));
    fm_guess_assume(guesser,
                    "%sflow.scheduler.type condot, flow.prediction %s: how it was trained is not "
                    "in the file",
                    guesser->is_of_tokens ? ""
                                          : "flow.space euclidean, flow.source normal with std 1, ",
                    guesser->is_of_tokens ? "logits" : "velocity");
    fm_guess_assume(guesser, "flow.time.direction noise_to_data, flow.time.scale 1");
}

/* The sections in the order of the contract; those that hold nothing are left out. */
static json_t *assemble(const fm_guesser *guesser, const char *source_name)
{
    json_t *config = json_pack("{s:s, s:o}", "schema", "velocityd.model/1", "description",
                               json_sprintf("Converted from %s", source_name));
    const struct {
        const char *key;
        json_t *value;
    } sections[] = {{"network", guesser->network},
                    {"flow", guesser->flow},
                    {"conditioning", guesser->conditioning},
                    {"output", guesser->output}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (json_object_size(sections[i].value) > 0 &&
            json_object_set(config, sections[i].key, sections[i].value) != 0) {
            json_decref(config);
            return NULL;
        }
    }
    return config;
}

static void done(const fm_guesser *guesser)
{
    json_decref(guesser->network);
    json_decref(guesser->flow);
    json_decref(guesser->conditioning);
    json_decref(guesser->output);
    json_decref(guesser->assumed);
}

static fm_status fill(fm_guesser *guesser, const architecture *row, fm_error *err)
{
    guesser->network = json_pack("{s:s}", "architecture", row->name);
    guesser->flow = json_object();
    guesser->conditioning = json_object();
    guesser->output = json_object();
    guesser->assumed = json_array();
    fm_status status = row->fill(guesser, err);
    if (status == FM_OK) {
        put_flow(guesser);
    }
    return status;
}

fm_status fm_guess_config(fm_safetensors_row *rows, size_t count, const char *architecture_name,
                          const char *source_name, fm_guess *ret, fm_error *err)
{
    fm_guesser guesser = {.rows = rows, .count = count};
    const architecture *row = NULL;
    fm_status status = choose(&guesser, architecture_name, &row, err);
    if (status == FM_OK) {
        status = fill(&guesser, row, err);
    }
    json_t *config = status == FM_OK ? assemble(&guesser, source_name) : NULL;
    if (status == FM_OK && (config == NULL || guesser.out_of_memory)) {
        json_decref(config);
        status = fm_fail(err, FM_ENOMEM, "no memory for config.json");
    }
    if (status == FM_OK) {
        *ret = (fm_guess){.rows = rows,
                          .count = count,
                          .config = config,
                          .assumed = json_incref(guesser.assumed)};
    }
    done(&guesser);
    return status;
}
