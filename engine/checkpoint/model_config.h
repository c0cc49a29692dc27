/* config.json of a model folder, parsed and checked key by key (schema velocityd.model/1).
 *
 * This is what the file says, before any weights are read. Unknown keys are errors that name the
 * key's JSON pointer. What the contract lists and this release does not serve is refused by name with
 * FM_EUNSUPPORTED. */
#ifndef FM_MODEL_CONFIG_H
#define FM_MODEL_CONFIG_H

#include "engine/flow/prediction.h"
#include "engine/fm_model.h"
#include "engine/math/activation.h"
#include "engine/math/compute.h"
#include "engine/space/space.h"

typedef enum fm_architecture {
#define FM_ARCHITECTURE(id, name, has_weights, constructor) FM_ARCHITECTURE_##id,
#include "engine/network/architecture.def"
#undef FM_ARCHITECTURE
} fm_architecture;

typedef enum fm_mlp_label { FM_MLP_LABEL_NONE, FM_MLP_LABEL_CONCAT } fm_mlp_label;

typedef struct fm_mlp_config {
    fm_activation activation;
    bool time_first; /* concat_first: [t, label, x]; else [x, t, label] */
    fm_mlp_label label;
    size_t fourier_count; /* 0: none; n: the input z enters as [sin z … sin nz, cos z … cos nz] */
    char **layers;        /* [n_layers] tensor-name stems in order, or NULL: find them */
    size_t n_layers;
    /* [n_layers_without_bias] stems; other layers all have one, or none. */
    char **layers_without_bias;
    size_t n_layers_without_bias;
    /* Of tokens, which enter as rows of this table, "<stem>.weight"; NULL: states enter as numbers. */
    char *token_embedding;
    char *time_embedding;  /* a Linear of the time, which enters so; NULL: t itself */
    bool activation_first; /* the activation also stands before the first layer */
} fm_mlp_config;

/* Sum over k of weights[k] N(means[k], stds[k]^2 I); weights are normalised to sum 1. */
typedef struct fm_mixture_config {
    size_t n_components;
    double *weights; /* [n_components] */
    double *means;   /* [n_components][dimension] */
    double *stds;    /* [n_components] */
    /* Of the weights' sum before: a class is as likely as its weights are large. */
    double log_total;
} fm_mixture_config;

typedef struct fm_gaussian_mixture_config {
    fm_mixture_config mixture;  /* the null class, or the only one */
    fm_mixture_config *classes; /* [n_classes], one a label */
    size_t n_classes;
} fm_gaussian_mixture_config;

typedef struct fm_dataset_config {
    char *file; /* inside the folder */
} fm_dataset_config;

#define FM_UNET_MAX_LEVELS 16
#define FM_UNET_MAX_BLOCKS 64 /* a level */

/* One resolution; each next one has half the height and width. */
typedef struct fm_unet_level {
    size_t channels;
    bool attends; /* attention behind every residual block */
} fm_unet_level;

/* torchcfm.unet and meta.unet: the same network, its keys in one set of words. */
typedef struct fm_unet_config {
    size_t channels, height, width; /* of x */
    size_t output_channels; /* that the last convolution makes; the first `kept_channels` count */
    size_t kept_channels;   /* `channels` for each prediction */
    size_t time_channels;   /* of the sinusoidal embedding */
    size_t n_blocks;        /* residual blocks a level on the way down; one more on the way up */
    size_t n_levels;
    fm_unet_level levels[FM_UNET_MAX_LEVELS];
    size_t heads, up_heads; /* of attention on the way down and up */
    size_t head_channels;   /* 0: the heads are counted, else this decides their number */
    bool heads_first;       /* the order of attention's q, k, v: fm_plan_attention_spec */
    bool scale_shift; /* the embedding scales and shifts behind a norm, else it is added before */
    bool blocks_resample;  /* levels change in residual blocks of their own */
    bool convs_resample;   /* else: with a convolution, or only by pooling and repeating */
    bool fourier_features; /* sines and cosines of x enter beside x */
    size_t label_rows;     /* of the label embedding; 0: takes no label */
    bool has_null_row;     /* its last row is the null class */
} fm_unet_config;

typedef struct fm_sit_config {
    size_t channels, size, patch; /* x is [channels][size][size] */
    size_t output_channels;       /* of a patch's pixels; the first `kept_channels` count */
    size_t kept_channels;         /* `channels` for each prediction */
    size_t hidden, depth, heads, mlp_hidden;
    size_t label_rows; /* of the label embedding */
    bool has_null_row; /* its last row is the null class */
} fm_sit_config;

typedef struct fm_text_dit_config {
    size_t length, hidden, condition, depth, heads; /* condition: channels of what modulates */
} fm_text_dit_config;

/* Frames of a chain: x is [length][7], which it is fed as [length][12]. */
typedef struct fm_frames_config {
    size_t length, hidden, pair, n_blocks, heads;
    size_t bins;  /* bumps over distances from 0 to `reach`, both included */
    double reach; /* > 0 */
} fm_frames_config;

typedef struct fm_model_config {
    char *name;   /* the folder's base name */
    char *folder; /* its path */
    char *description, *license;
    fm_architecture architecture;
    fm_mlp_config mlp;
    fm_gaussian_mixture_config gaussian_mixture;
    fm_dataset_config dataset;
    fm_unet_config unet;
    fm_sit_config sit;
    fm_text_dit_config text_dit;
    fm_frames_config frames;
    char *weights_file, *weights_prefix; /* "model.safetensors", "" by default */
    fm_compute compute;
    char *weights_entry; /* dotted path inside a PyTorch file, or NULL: find it */
    size_t rank, shape[FM_MAX_RANK], dimension;
    fm_space space;            /* of so many numbers */
    size_t vocabulary_size;    /* of tokens, the mask included; 0 of other spaces and of products */
    bool masked;               /* the last of them is the mask */
    fm_path path;              /* with the source's standard deviation */
    fm_path_table *path_table; /* owned; NULL: the scheduler has none */
    bool reversible;           /* the network is to have a reverse mode */
    /* Its one output is a potential; its gradient, the velocity, counts from there on. */
    bool potential;
    /* Its outputs are one logit a label; the gradient of a label's log probability counts from there on. */
    bool classifier;
    fm_predictions predictions; /* of logits and of slopes on a space: velocity */
    bool predicts_logits;
    bool paired;        /* flow.coupling: noise and data were paired in training */
    bool data_to_noise; /* flow.time.direction: the network's t = 0 is data */
    double time_scale;
    double time_range[2], sample_range[2];
    bool has_labels, has_null_label;
    int32_t label_count, null_label;
    char **label_names;
    size_t n_label_names;
    char *vocabulary_file; /* of the folder, or NULL: tokens have no names */
    char **
        vocabulary; /* [vocabulary_size] read with the folder, or NULL; views of one block, the first */
    char *output_kind;      /* of an image the shape is [channels, height, width] */
    double output_range[2]; /* ascending, its width finite */
    char *defaults_json;
} fm_model_config;

/* What flow.prediction says: "velocity"; of a pair the first. */
const char *fm_model_config_prediction(const fm_model_config *config);

/* Reads folder/config.json, and the vocabulary that it names.
 *   ret  caller storage; released by fm_model_config_done() after success only
 * Errors: FM_ENOTFOUND, FM_EIO, FM_ENOMEM; FM_EFORMAT not JSON or a rule is broken, FM_EUNSUPPORTED:
 *         both start with the JSON pointer. Thread: any. */
FM_MUST_USE fm_status fm_model_config_read(const char *folder, fm_model_config *ret, fm_error *err);
/* The same from memory, for the fuzzer and tests; folder only names the model, and no other file is read. */
FM_MUST_USE fm_status fm_model_config_parse(const char *folder, const char *json, size_t length,
                                            fm_model_config *ret, fm_error *err);
void fm_model_config_done(fm_model_config *config);

const char *fm_architecture_name(fm_architecture architecture);
/* Whether it reads weights_file; closed forms do not. */
bool fm_architecture_has_weights(fm_architecture architecture);

#endif
