/* Models: opening, describing, inspecting and converting them. */
#ifndef FM_FM_MODEL_H
#define FM_FM_MODEL_H

#include "engine/annotate.h"
#include "engine/fm_path.h"
#include "engine/fm_space.h"
#include "engine/fm_state.h"
#include "engine/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A model is known by its folder's name, which must match this regular expression as a whole. */
#define FM_MODEL_NAME_RULE "[a-z0-9][a-z0-9._-]{0,63}"
bool fm_model_name_is_valid(const char *name, size_t length);

typedef struct fm_model fm_model; /* read-only after opening, reference-counted */

/* What a model is; strings and arrays live as long as the model. */
typedef struct fm_model_info {
    const char *name;                /* the folder's name */
    const char *description;         /* "" when absent */
    const char *license;             /* "" when absent */
    const char *version;             /* "sha256:…" over config.json and the weights */
    const char *architecture;        /* "mlp" */
    const char *space;               /* "euclidean"; "product" */
    const fm_space *geometry;        /* what points are there */
    const char *prediction;          /* "velocity"; of a pair the first; "classifier" */
    const char *second_prediction;   /* of a pair, else NULL */
    const char *output_kind;         /* "points"; "image": shape [channels, height, width] */
    const char *compute;             /* "float32", "bfloat16", or "float64" for closed forms */
    size_t rank, shape[FM_MAX_RANK]; /* of one sample */
    size_t dimension;                /* product of shape */
    const fm_path *path;             /* scheduler and source */
    bool is_classifier; /* guides others and takes no jobs itself, for it has no velocity */
    bool paired;        /* noise and data were paired in training: the velocity tells no score */
    bool has_score;     /* it is known, from the velocity or beside it */
    double time_range[2];
    double sample_range[2]; /* span of the default grid */
    double output_range[2]; /* of an image: black and white, ascending */
    bool has_labels, has_null_label;
    int32_t label_count, null_label;
    const char *const *label_names; /* [n_label_names] */
    size_t n_label_names;
    bool has_log_density;         /* closed forms: FM_FIELD_LOG_DENSITY is served */
    const struct fm_field *field; /* the engine's, for fm_flow_span() and its like */
    size_t parameter_count;
    size_t memory_bytes;       /* packed weights and the plan's arenas, all workers */
    size_t tile_rows;          /* rows a full network call holds */
    double evaluation_seconds; /* one row of a full tile on one worker, measured at load */
    double call_seconds;       /* a call of one row on one worker, measured at load */
    /* Of tokens that are all of a state, their number with the mask, the last where masked; else 0. */
    size_t n_vocabulary;
    bool masked;
    const char *const *vocabulary; /* [n_vocabulary] names, or NULL: tokens are known by number */
    size_t longest_name;           /* of them, in bytes; 0 without */
    bool has_tokens;     /* between which nothing is continuous: no encoding, and no divergence */
    bool has_divergence; /* of its velocity, and so densities; not of potentials in bfloat16 */
    bool has_gradients;  /* backward ones of its velocity: fm_inverse.guidance_scale */
    bool divisible;      /* workers without rows of their own help with a call */
    bool bits_promised;  /* the start-up check: a row's bits do not depend on its tile */
    const char *defaults_json; /* config.json's "defaults" as JSON text; "{}" when absent */
} fm_model_info;

/* A model belongs to at most one engine, whose workers its scratch memory is made for. */
typedef struct fm_model_options {
    size_t workers;           /* of that engine, >= 1 */
    const char *cache_folder; /* where trials of models are remembered; NULL: nowhere */
    /* A network whose weights in float32 are no more is made so that it has gradients, for which it keeps them once
     * more; closed forms always have. */
    size_t gradient_bytes;
    /* Checks a network's tensors without building it: fm_model_describe() is all that the model is good for, and what
     * is counted or measured is 0. */
    bool describe_only;
} fm_model_options;

/* Reads folder/config.json and the weights, builds and checks the plan.
 *   ret  one reference, released by fm_model_unref()
 * Errors: FM_ENOTFOUND no config.json; FM_EFORMAT it or a checkpoint is malformed (names the JSON
 *         pointer or tensor, the expected and the found); FM_EUNSUPPORTED a later release's feature;
 *         FM_EIO, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_model_open(const char *folder, const fm_model_options *options,
                                    fm_model **ret, fm_error *err);
fm_model *fm_model_ref(fm_model *model);
void fm_model_unref(fm_model *model); /* takes NULL */
const fm_model_info *fm_model_describe(const fm_model *model);

/* The span of the default grid of a flow along `path` (of the model's source; NULL: the model's own): the times at
 * which it is where the model's sample_range is, less a margin where its velocity has no finite limit. */
void fm_flow_span(const fm_model_info *model, const fm_path *path, double ret[2]);
/* Whether the field has a finite value at time t, as far as the path decides. */
bool fm_flow_has_field(const fm_model_info *model, const fm_path *path, fm_field_id field,
                       double t);

/* A text report of a model folder: what was found tensor by tensor, the parameter count, what is
 * unused, missing or misshapen. Made also for folders that fm_model_open() would refuse.
 *   write  called with consecutive pieces of text
 *   ret_usable  whether fm_model_open() would accept it */
typedef void (*fm_write_cb)(void *context, const char *text, size_t length);
FM_MUST_USE fm_status fm_model_inspect(const char *folder, fm_write_cb write, void *context,
                                       bool *ret_usable, fm_error *err);
/* The network's operations, a line each: shapes, and where in a worker's scratch their results lie. */
void fm_model_print_plan(const fm_model *model, fm_write_cb write, void *context);

typedef struct fm_convert_options {
    const char *entry;        /* of a PyTorch file: dotted path to the state dict; NULL: found */
    const char *prefix;       /* stripped from every name, as weights.prefix; NULL: none */
    const char *architecture; /* NULL: by the names of the tensors */
} fm_convert_options;

/* Writes a new model folder with model.safetensors and config.json, whole or not at all.
 *   in     a checkpoint file, whose config.json is guessed, or a model folder, whose config.json is kept
 *   out    must not be there
 *   write  called with lines of text: what was read and written, and each "assumed: …"
 * Errors: FM_EINVAL out is there or no model's name, or an option does not apply; FM_EFORMAT the checkpoint is
 *         malformed or its architecture not known; FM_ENOTFOUND, FM_EIO, FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_model_convert(const char *in, const char *out,
                                       const fm_convert_options *options, fm_write_cb write,
                                       void *context, fm_error *err);

/* Counters since it was opened, as fm_engine_stats has them of all. Thread: any. */
typedef struct fm_model_stats {
    uint64_t tiles, tile_rows, tile_capacity, evaluations;
    uint64_t rows_in_flight, rows_waiting;
    uint64_t rows_finished, rows_non_finite, rows_cancelled;
    double network_seconds;
} fm_model_stats;

void fm_model_statistics(const fm_model *model, fm_model_stats *ret);

#endif
