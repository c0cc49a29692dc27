/* THE public engine header: everything that proto, server, tools and tests outside the engine may use.
 *
 * The engine turns a model directory and a checked job into samples. It owns the worker threads; it
 * knows nothing of JSON requests, sockets or the environment, never logs and never exits.
 *
 * Conventions (defined once, in ARCHITECTURE.md): t = 0 is the source (noise), t = 1 is data, the
 * velocity is dx/dt. States, times and steps are float64; networks are float32 unless closed forms. */
#ifndef FM_FM_H
#define FM_FM_H

#include "engine/annotate.h"
#include "engine/status.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_MAX_RANK 8

/* ---- Build and machine -------------------------------------------------------------------- */

typedef struct fm_build_info {
    const char *dense_provider; /* "onednn" or "openblas" */
    const char *dense_version;  /* the library's own version */
    const char *kernels;        /* SIMD kernels picked at run time: "avx512", "avx2", "generic" */
    const char *id;             /* of the program file, in hexadecimal; "" when it has none */
    const char *cpu; /* CPU type that the bits belong to, e.g. "x86_64-family26-model2" */
} fm_build_info;

/* Static data. Thread: any. */
const fm_build_info *fm_build(void);

/* CPUs this process may use: the smaller of its affinity mask and its cgroup's quota (v1 or v2),
 * rounded up; at least 1. Thread: any. */
size_t fm_cpu_count(void);

/* ---- Schedulers: rows of engine/flow/path.def ------------------------------------------------ */

#define FM_PATH_MAX_PARAMETERS 4

typedef struct fm_path_type fm_path_type;
typedef struct fm_path_table fm_path_table; /* alpha and sigma between points */

/* A scheduler with its parameters, x_t = alpha(t) x1 + sigma(t) x0; a plain value. */
typedef struct fm_path {
    const fm_path_type *type;
    double parameters[FM_PATH_MAX_PARAMETERS];
    const fm_path_table *table; /* of the type that has one, outlives the path; else NULL */
    double source_std;          /* of x0 */
} fm_path;

const fm_path_type *fm_path_type_find(const char *name); /* NULL when there is none */
const char *fm_path_type_name(const fm_path_type *type);
/* Parameter `index` of a type: its name and default; false past the last. */
bool fm_path_type_parameter(const fm_path_type *type, size_t index, const char **ret_name,
                            double *ret_default);
/* Whether its alpha and sigma are given as a table. */
bool fm_path_type_is_table(const fm_path_type *type);

/* Errors: FM_EINVAL a parameter is out of its range; the text names it. */
FM_MUST_USE fm_status fm_path_init(fm_path *ret, const fm_path_type *type,
                                   const double parameters[FM_PATH_MAX_PARAMETERS],
                                   const fm_path_table *table, double source_std, fm_error *err);

bool fm_path_equal(const fm_path *a, const fm_path *b);

/* Monotone cubics through n points; the arrays are copied.
 * Errors: FM_EINVAL t does not rise from 0 to 1, or alpha does not rise while sigma falls (one of them may
 * stay); the text names the array. FM_ENOMEM. */
FM_MUST_USE fm_status fm_path_table_new(size_t n, const double *t, const double *alpha,
                                        const double *sigma, fm_path_table **ret, fm_error *err);
void fm_path_table_free(fm_path_table *table);          /* takes NULL */
size_t fm_path_table_bytes(const fm_path_table *table); /* 0 of NULL */

/* ---- Linear operators and inverse problems: rows of engine/inverse/operator.def ------------------ */

typedef struct fm_operator_type fm_operator_type;

#define FM_BLUR_MAX_RADIUS ((size_t)64)

/* What fm_operator_init() is told; the members that the type does not read are ignored. */
typedef struct fm_operator_options {
    size_t rank, shape[FM_MAX_RANK]; /* of one sample; images: [channels, height, width] */
    const double *values;            /* mask: [dimension] of 0 and 1; matrix: [n_rows][dimension] */
    size_t n_rows;                   /* matrix: >= 1 */
    size_t factor;                   /* average_pool: >= 1, divides height and width */
    double std;                      /* blur: in pixels, > 0 and at most FM_BLUR_MAX_RADIUS / 3 */
} fm_operator_options;

/* A linear map H from samples x [dimension] to observations [observation_dimension]; a plain value, `values` is
 * borrowed.
 *
 *     mask          the entries whose mask is 1; observations have the shape of x, and what they hold elsewhere is
 *                   not read
 *     average_pool  the means of factor x factor pixels: [channels, height / factor, width / factor]
 *     blur          each channel with a Gaussian of standard deviation std, cut off at ceil(3 std) pixels and scaled
 *                   to sum 1, rows and columns one after the other; beyond its edges the image is reflected (the
 *                   edge pixel twice), which makes H symmetric
 *     gray          of [3, height, width] the luma 0.299 R + 0.587 G + 0.114 B (Rec. ITU-R BT.601)
 *     matrix        the given one */
typedef struct fm_operator {
    const fm_operator_type *type;
    size_t dimension, observation_dimension;
    size_t n_observed; /* entries of an observation that are read: of a mask its ones, else all */
    size_t channels, height, width; /* of images, else 0 */
    size_t factor;
    const double *values;
    double taps[FM_BLUR_MAX_RADIUS + 1]; /* blur: weights of pixels at distance 0, 1, … */
    size_t radius;
    double norm_squared; /* the largest eigenvalue of H H^T; of a matrix estimated from below */
    double gram;         /* H H^T is so many times the identity, on what H can give; 0: it is not */
} fm_operator;

const fm_operator_type *fm_operator_type_find(const char *name); /* NULL when there is none */
const char *fm_operator_type_name(const fm_operator_type *type);

/* Errors: FM_EINVAL the type's rule is broken, the text names the member; FM_ENOMEM (matrix). Thread: any. */
FM_MUST_USE fm_status fm_operator_init(fm_operator *ret, const fm_operator_type *type,
                                       const fm_operator_options *options, fm_error *err);

/* How far a sample is from an observation: the root mean square of y - H x over the entries that are observed.
 *   y        [observation_dimension]
 *   x        [dimension]
 *   scratch  as many doubles as fm_operator_misfit_scratch() says
 * Thread: any, one scratch each. */
double fm_operator_misfit(const fm_operator *forward, const double *y, const float *x,
                          double *scratch);
size_t fm_operator_misfit_scratch(const fm_operator *forward);

/* What is known of samples beforehand: y = H x1 + noise of standard deviation observation_std in every entry. To replace
 * is to give the state, by its least change, the observed part alpha y + sigma H e with fresh noise e. */
typedef struct fm_inverse {
    const fm_operator *forward; /* H */
    const double *observations; /* [n_observations][observation_dimension], finite; borrowed */
    size_t n_observations;      /* one for every row, or 1: the same for all */
    double observation_std;     /* >= 0 */
    bool replaces;              /* after each step: see engine/inverse/replacement.h */
    double
        guidance_scale; /* of the gradient of log p(y | x), see engine/inverse/likelihood.h; 0: none. Else the model
                            * has gradients */
    double
        guidance_from; /* the gradient's first time, 0 … 1: a_t has no bound at the source, where a network's
                           * Jacobian does not vanish as it should */
} fm_inverse;

/* ---- Methods: rows of engine/solve/method.def ------------------------------------------------ */

typedef struct fm_method fm_method;

typedef struct fm_method_info {
    const char *name;            /* "dopri5" */
    const char *title;           /* "Dormand and Prince 5(4)" */
    unsigned order;              /* declared order of convergence */
    double evaluations_per_step; /* of an accepted step, first-same-as-last counted once */
    bool adaptive, stochastic;
    const char *spaces; /* "euclidean" */
} fm_method_info;

size_t fm_method_count(void);
const fm_method *fm_method_at(size_t index);
const fm_method *fm_method_find(const char *name); /* NULL when there is none */
const fm_method_info *fm_method_describe(const fm_method *method);
/* Words: the members of fm_sampling that it reads, by the names that requests have for them; "": none. */
const char *fm_method_options(const fm_method *method);
/* Whether its grid must lie within [0, 1], where paths are. */
bool fm_method_needs_path(const fm_method *method);
/* Whether it can take the score from the network; other stochastic methods need noise and data to be independent. */
bool fm_method_uses_score(const fm_method *method);
/* Whether it solves inverse problems and nothing else: its job must have one. */
bool fm_method_needs_inverse(const fm_method *method);
/* Whether the state may be replaced after each of its steps: of a step it keeps its end alone, a state of the flow. */
bool fm_method_takes_replacement(const fm_method *method);

/* ---- Fields: rows of engine/field.def ---------------------------------------------------------- */

/* Quantities of the flow at a state x and time t: the state itself, the velocity, the predictions of data and of
 * noise (at unit scale) that the network's output implies, and the score of the marginal. */
typedef enum fm_field_id {
#define FM_FIELD(ID, name) FM_FIELD_##ID,
#include "engine/field.def"
#undef FM_FIELD
    FM_N_VECTOR_FIELDS,
    /* Numbers: the logarithm of the marginal's density, which of given points only closed forms know
     * (fm_model_info.has_log_density), and the divergence of the velocity. */
    FM_FIELD_LOG_DENSITY = FM_N_VECTOR_FIELDS,
    FM_FIELD_DIVERGENCE,
    FM_N_FIELDS,
} fm_field_id;

#define FM_FIELD_BIT(id) (1U << (unsigned)(id)) /* in a set of fields */

const char *fm_field_name(fm_field_id id); /* "x1_hat" */

/* ---- Models -------------------------------------------------------------------------------- */

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
    const char *space;               /* "euclidean" */
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
    bool has_gradients; /* its velocity can be differentiated backward: fm_inverse.guidance_scale */
    bool divisible;     /* workers without rows of their own help with a call */
    bool bits_promised; /* the start-up check found every row's bits independent of its tile */
    const char *defaults_json; /* config.json's "defaults" as JSON text; "{}" when absent */
} fm_model_info;

/* A model belongs to at most one engine, whose workers its scratch memory is made for. */
typedef struct fm_model_options {
    size_t workers;           /* of that engine, >= 1 */
    const char *cache_folder; /* where trials of models are remembered; NULL: nowhere */
    size_t
        gradient_bytes; /* a network whose weights in float32 are no more is made so that it has gradients, for which
                            * it keeps them once more; closed forms always have */
    bool
        describe_only; /* checks a network's tensors without building it: fm_model_describe() is all
                           * that the model is good for, and what is counted or measured is 0 */
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

/* ---- Stochastic methods: rows of engine/solve/diffusion.def --------------------------------------- */

/* D(t) >= 0 of dx = (v + D s) dt + sqrt(2 D) dW, s the score: the marginals are those of the flow for any. */
typedef enum fm_diffusion_form {
#define FM_DIFFUSION(ID, name) FM_DIFFUSION_##ID,
#include "engine/solve/diffusion.def"
#undef FM_DIFFUSION
    FM_N_DIFFUSIONS,
} fm_diffusion_form;

/* FM_N_DIFFUSIONS when there is none. */
fm_diffusion_form fm_diffusion_find(const char *name);
const char *fm_diffusion_name(fm_diffusion_form form);

typedef struct fm_diffusion {
    fm_diffusion_form form;
    double norm; /* >= 0; all but the table are in proportion to it */
    const double *t,
        *values; /* [n] FM_DIFFUSION_TABLE: t strictly ascending, values >= 0; linear between,
                               * constant beyond; borrowed */
    size_t n;
} fm_diffusion;

/* Whether D is finite at time t of the path. */
bool fm_diffusion_has_value(const fm_diffusion *diffusion, const fm_path *path, double t);

/* How the grid's last step is made, where noise would stay in the samples. */
typedef enum fm_last_step {
    FM_LAST_STEP_MEAN,    /* without its noise */
    FM_LAST_STEP_TWEEDIE, /* the data prediction */
    FM_LAST_STEP_EULER,   /* by the velocity alone */
    FM_LAST_STEP_NOISE,   /* as every other */
    FM_N_LAST_STEPS,
} fm_last_step;

fm_last_step fm_last_step_find(const char *name); /* FM_N_LAST_STEPS when there is none */
const char *fm_last_step_name(fm_last_step last_step);

/* What some methods are told beside the grid; fm_method_options() names what a method reads. */
typedef struct fm_sampling {
    fm_diffusion diffusion;
    fm_last_step last_step;
    double eta;       /* 0 … 1: how much of the ancestral noise */
    double refresh;   /* 0 … 1: the share of the noise that is drawn anew at each step */
    double overshoot; /* >= 0: how far beyond a step's end it is made, in parts of its length */
    double churn;     /* >= 0: noise added over all steps, in parts of the noise level */
    double churn_range[2]; /* of noise levels sigma / alpha at which it is added */
    double noise_scale;    /* > 0: standard deviation of churn's noise, in parts of the right one */
    double signal_to_noise;   /* > 0: of Langevin's corrector */
    unsigned corrector_steps; /* of Langevin's corrector, after each step */
    double pnp_power;         /* >= 0: a of pnp_flow's step sizes (1 - t)^a */
    unsigned pnp_samples;     /* >= 1: of pnp_flow, draws of noise in a step, an evaluation each */
} fm_sampling;

#define FM_SAMPLING_DEFAULT                                                                        \
    ((fm_sampling){.diffusion = {.form = FM_DIFFUSION_SIGMA, .norm = 1},                           \
                   .eta = 1,                                                                       \
                   .refresh = 0.5,                                                                 \
                   .overshoot = 1,                                                                 \
                   .churn_range = {0, HUGE_VAL},                                                   \
                   .noise_scale = 1,                                                               \
                   .signal_to_noise = 0.16,                                                        \
                   .corrector_steps = 1,                                                           \
                   .pnp_power = 1,                                                                 \
                   .pnp_samples = 5})

/* ---- Solver settings ------------------------------------------------------------------------- */

typedef struct fm_solver {
    const fm_method *method;
    /* [n_grid] strictly monotone, >= 2. Fixed-step methods: the ends of every step; adaptive
     * methods: the first and the last are the interval, the rest is ignored. */
    const double *grid;
    size_t n_grid;
    double rtol, atol;        /* adaptive: >= 0, not both 0 */
    double first_step;        /* adaptive: 0 chooses one after Hairer, Norsett and Wanner */
    fm_sampling sampling;     /* of methods that have options */
    uint64_t max_evaluations; /* >= 1; reaching it ends a trajectory with FM_ROW_MAX_EVALUATIONS */
} fm_solver;

/* The usual grids; both write n_steps + 1 points whose last is exactly `last`.
 * step_size grids shorten the last step; a step count follows from fm_grid_steps(). */
size_t fm_grid_steps(double first, double last, double step_size);
void fm_grid_uniform(double first, double last, size_t n_steps, double *ret_grid);
void fm_grid_step_size(double first, double last, double step_size, double *ret_grid);

/* Families of grids: rows of engine/solve/schedule.def. */
#define FM_SCHEDULE_MAX_PARAMETERS 5

typedef struct fm_schedule_type fm_schedule_type;

typedef struct fm_schedule {
    const fm_schedule_type *type;
    size_t n_steps; /* >= 1 */
    double parameters[FM_SCHEDULE_MAX_PARAMETERS];
} fm_schedule;

const fm_schedule_type *fm_schedule_type_find(const char *name); /* NULL when there is none */
const char *fm_schedule_type_name(const fm_schedule_type *type);
/* Parameter `index` of a type: its name, and its default or NAN where it is required; false past the last. */
bool fm_schedule_type_parameter(const fm_schedule_type *type, size_t index, const char **ret_name,
                                double *ret_default);
/* Writes n_steps + 1 ascending times; the first is `first`, the last `last`.
 *   path  whose noise levels some types list
 * Errors: FM_EINVAL a parameter breaks its rule, or the times do not ascend within the span; the text says it. */
FM_MUST_USE fm_status fm_schedule_make(const fm_schedule *schedule, const fm_path *path,
                                       double first, double last, double *ret_grid, fm_error *err);

/* ---- Guidance: engine/flow/guidance.h has its equations ------------------------------------------- */

/* The scale over the time t of the trajectory; forms are rows of engine/flow/guidance_schedule.def. */
typedef enum fm_guidance_schedule_form {
#define FM_GUIDANCE_SCHEDULE(ID, name) FM_GUIDANCE_SCHEDULE_##ID,
#include "engine/flow/guidance_schedule.def"
#undef FM_GUIDANCE_SCHEDULE
    FM_N_GUIDANCE_SCHEDULES,
} fm_guidance_schedule_form;

/* FM_N_GUIDANCE_SCHEDULES when there is none. */
fm_guidance_schedule_form fm_guidance_schedule_find(const char *name);
const char *fm_guidance_schedule_name(fm_guidance_schedule_form form);

typedef struct fm_guidance_schedule {
    fm_guidance_schedule_form form;
    double end; /* LINEAR, COSINE: the scale at t = 1; fm_guidance.scale is that at t = 0 */
    const double *t,
        *values; /* [n] TABLE: t strictly ascending; linear between, constant beyond; borrowed */
    size_t n;
} fm_guidance_schedule;

/* Of c - u, the part along c and the part orthogonal to it are guided each by their own. */
typedef struct fm_guidance_projection {
    double parallel;  /* how much of the parallel part is kept; 1: all */
    double threshold; /* the longest that the difference may be; 0: any length */
    double
        momentum; /* of the differences of the evaluations before it; 0: none. Else of methods that evaluate each
                       * step once */
} fm_guidance_projection;

#define FM_MAX_GUIDANCE_CONDITIONS ((size_t)8)

typedef struct fm_guidance_condition {
    int32_t label;
    double scale;
} fm_guidance_condition;

/* How the velocity with the label is guided; zeroed but for a scale of 1: not at all. Where more is asked for than a
 * scale, densities and divergences may be had with schedules, intervals, channels, conditions and negative labels
 * alone. */
typedef struct fm_guidance {
    double scale;    /* u + scale (c - u); 1, and 0 of all channels, cost one evaluation */
    size_t channels; /* entries along the shape's first axis that are guided; 0: all */
    bool has_interval;
    double interval[2]; /* ascending: outside it the velocity is c */
    fm_guidance_schedule schedule;
    const int32_t *negative_labels; /* [n_rows] in place of the null class, or NULL; borrowed */
    fm_guidance_condition conditions[FM_MAX_GUIDANCE_CONDITIONS]; /* further ones */
    size_t n_conditions;
    double rescale;    /* 0 … 1 */
    bool zero_star;    /* u is brought nearest to c */
    double zero_until; /* the velocity is 0 at times before it */
    bool projects;     /* excludes zero_star */
    fm_guidance_projection projection;
    fm_model
        *model; /* whose velocity with the label is u; of the same flow; NULL: the model itself */
    fm_model *
        classifier; /* NULL: none; its log p(label | x) at its labels raises the score by classifier_scale times
                           * its gradient */
    double classifier_scale;
    const int32_t *classifier_labels; /* [n_rows]; borrowed */
} fm_guidance;

/* Whether the guidance's momentum can be of the method: a fixed one that evaluates each step once. */
bool fm_method_takes_momentum(const fm_method *method);
/* Whether `guide` may be fm_guidance.model: of the same shape, path, predictions, direction and labels. */
bool fm_model_can_guide(const fm_model_info *model, const fm_model_info *guide);
/* Whether it may be fm_guidance.classifier: one of the same shape and path. */
bool fm_model_can_classify(const fm_model_info *model, const fm_model_info *classifier);

/* ---- Latents: states at the source, and what is made of them ------------------------------------- */

/* How two latents are joined at a weight w from 0 (the first) to 1 (the second). */
typedef enum fm_interpolation {
    FM_INTERPOLATION_SLERP, /* along a great circle: sin((1 - w) theta) / sin theta a + sin(w theta) / sin theta b, theta
                             * the angle between them; linear where they are nearly parallel, or one is 0 */
    FM_INTERPOLATION_VARIANCE_PRESERVING, /* ((1 - w) a + w b) / sqrt((1 - w)^2 + w^2), which is N(0, I) if both are */
    FM_INTERPOLATION_LINEAR,
    FM_N_INTERPOLATIONS,
} fm_interpolation;

fm_interpolation
fm_interpolation_find(const char *name); /* FM_N_INTERPOLATIONS when there is none */
const char *fm_interpolation_name(fm_interpolation interpolation);
/* a, b and ret are [dimension], ret may be one of them; the ends are exact. Thread: any.
 * Source: Shoemake, 1985, doi:10.1145/325165.325242; Song et al., arXiv:2010.02502, appendix D.5. */
void fm_interpolate(fm_interpolation interpolation, size_t dimension, const double *a,
                    const double *b, double weight, double *ret);

/* Draws a share of a latent anew: x becomes sqrt(1 - share^2) x + share sigma eps, which has the source's law if x has.
 *   path   whose sigma at time t is the source's standard deviation
 *   row    eps is the source noise of this row of the seed
 *   share  0 … 1; 0 leaves x as it is
 *   x      [dimension] */
void fm_latent_renew(const fm_path *path, double t, uint64_t seed, size_t row, double share,
                     size_t dimension, double *x);

/* ---- Densities ---------------------------------------------------------------------------------- */

/* How the divergence of the velocity, the trace of its Jacobian J, is found: exactly, sum_i e_i . J e_i over all
 * dimensions, or by Hutchinson's estimator, the mean of n probes' z . J z, which is unbiased for independent z of
 * mean 0 and variance 1. A trajectory keeps its probes.
 * Source: Hutchinson, 1990, doi:10.1080/03610919008812866; Grathwohl et al., arXiv:1810.01367. */
typedef enum fm_divergence_method {
    FM_DIVERGENCE_EXACT,
    FM_DIVERGENCE_HUTCHINSON,
} fm_divergence_method;

typedef enum fm_probe {
    FM_PROBE_RADEMACHER, /* +1 or -1: no variance where J is diagonal, 2 sum_{i != j} J_ij^2 where symmetric */
    FM_PROBE_GAUSSIAN,
} fm_probe;

#define FM_MAX_PROBES ((size_t)1024)

typedef struct fm_divergence {
    fm_divergence_method method;
    fm_probe probe;
    size_t n_probes; /* of Hutchinson's: 1 to FM_MAX_PROBES */
} fm_divergence;

#define FM_IMAGE_LEVELS 256.0

/* Whether densities may be integrated with the method: it must know nothing of the path, and draw no noise. */
bool fm_method_takes_density(const fm_method *method);

/* ---- Jobs: the unit of submission -------------------------------------------------------------- */

typedef struct fm_engine fm_engine;
typedef struct fm_job fm_job;

typedef enum fm_task {
    FM_TASK_SAMPLE,   /* integrate n rows along the solver's grid */
    FM_TASK_VELOCITY, /* evaluate fields at n given points and times */
} fm_task;

typedef enum fm_row_status {
    FM_ROW_OK,
    FM_ROW_MAX_EVALUATIONS,
    FM_ROW_NON_FINITE,
    FM_ROW_UNFINISHED, /* the job ended first, see fm_job_status() */
} fm_row_status;

const char *fm_row_status_name(fm_row_status status); /* "ok", "max_evaluations", "non_finite" */

typedef struct fm_job_spec {
    fm_task task;
    fm_model *model;       /* the job takes a reference of its own */
    size_t n_rows;         /* >= 1 */
    uint64_t seed;         /* of drawn noise: row i depends on (seed, i) alone */
    const int32_t *labels; /* [n_rows], or NULL: the null label where there is one */
    fm_guidance guidance; /* the job takes references of its models, which are of the same engine */
    /* [n_rows][dimension]: x0, or the points of FM_TASK_VELOCITY; NULL: noise or, for methods that need an inverse, the
     * least state that has the observation */
    const double *x;
    const double *t; /* [n_rows] FM_TASK_VELOCITY: the times */
    const fm_inverse
        *inverse; /* what is observed of the samples, or NULL; it may only guide FM_TASK_VELOCITY */
    bool
        adds_noise; /* x is data: a row starts at alpha x + sigma eps of the grid's first time, which is on
                      * the path, eps the row's own source noise */
    unsigned
        fields; /* FM_FIELD_BITs: of FM_TASK_VELOCITY's points, or of the outputs on the way, where
                      * all but x cost an evaluation for each output */
    const fm_path
        *path; /* FM_TASK_SAMPLE: that the flow follows, of the model's source; NULL: the model's */
    fm_solver solver; /* FM_TASK_SAMPLE */
    size_t
        draws; /* 0, or: x are images of 256 levels, [n_rows / draws][dimension]; each is taken so many times,
                   * row i the point i / draws, with its levels made continuous by uniform noise (dequantisation) */
    fm_divergence divergence; /* of log_likelihood and of the fields that need it */
    bool
        log_likelihood; /* FM_TASK_SAMPLE: of the state at the grid's later end, the earlier one's being that of
                          * the source: d log p / dt = -divergence along the trajectory */
    const double *output_times; /* [n_output_times] along the grid's direction, or NULL */
    size_t n_output_times;
    bool measures_path;         /* FM_TASK_SAMPLE: fm_row_result.shape is filled */
    bool output_every_step;     /* the first state and the end of every accepted step */
    size_t max_recording_bytes; /* with output_every_step: bytes that all rows' recordings may take;
                                 * 0: no bound */
    /* Called once on the worker that finished the last row (or on the thread that cancelled a job
     * with none in flight), before the job is handed to fm_engine_collect(). May be NULL. Must not
     * call the engine. */
    void (*finished)(void *context, const fm_job *job);
    void *context;
} fm_job_spec;
/* The pointers in a spec are borrowed: they stay valid and unchanged until the job is freed. */

/* One row's result; arrays live as long as the job. */
/* With output_every_step of an adaptive method a row's recording has room for so many states at first,
 * and doubles when it is full. */
#define FM_RECORDING_STATES ((size_t)32)

/* How a trajectory ran, from the velocities that its steps are made of (engine/solve/measure.c). */
typedef struct fm_path_shape {
    double
        straightness; /* int |x1 - x0 - v|^2 dt over a unit of time: int |v|^2 dt - |x1 - x0|^2 / T; 0: straight */
    double kinetic_energy; /* int |v|^2 dt */
    double curvature;      /* how far the direction turns in all, in radians */
} fm_path_shape;

typedef struct fm_row_result {
    fm_row_status status;
    double t; /* time reached */
    uint64_t evaluations, accepted, rejected;
    const float *x;                 /* [dimension] last finite state; NULL for FM_TASK_VELOCITY */
    const double *trajectory_times; /* [n_trajectory] with output_every_step, else NULL */
    size_t n_trajectory;            /* = n_output_times, unless every step or unfinished */
    const float
        *fields[FM_N_VECTOR_FIELDS]; /* those asked for, else NULL: [n_trajectory][dimension], of
                                              * FM_TASK_VELOCITY [dimension] */
    /* Of FM_TASK_VELOCITY one number, else [n_trajectory]; NULL where not asked for. What is not known, as in a
     * trajectory whose status is not FM_ROW_OK, is NAN. */
    const double *log_density, *divergence;
    double log_likelihood; /* in nats, with spec.log_likelihood, else NAN */
    double
        standard_error; /* of it, from the spread of the probes; NAN of fewer than two, and of exact ones */
    fm_path_shape shape; /* with measures_path, else 0 */
} fm_row_result;

typedef struct fm_job_stats {
    double queue_seconds;   /* from submission to the first evaluation */
    double compute_seconds; /* from there to the end */
    uint64_t evaluations;   /* all rows together */
} fm_job_stats;

typedef struct fm_engine_options {
    size_t workers; /* threads, >= 1 */
    /* Called from any thread when fm_engine_collect() has something; must be async-safe for its
     * receiver (uv_async_send is). May be NULL. */
    void (*wake)(void *context);
    void *wake_context;
} fm_engine_options;

FM_MUST_USE fm_status fm_engine_new(const fm_engine_options *options, fm_engine **ret,
                                    fm_error *err);
/* Cancels what is left, joins the workers, frees the engine. Jobs must have been freed. */
void fm_engine_free(fm_engine *engine);

/* Bytes that fm_engine_submit() would allocate for this job; SIZE_MAX when that overflows. */
size_t fm_job_size_bytes(const fm_job_spec *spec);

/* Queues a job; its rows join network calls from the next evaluation on.
 * Errors: FM_EINVAL a rule of fm_job_spec is broken; FM_ENOMEM. Thread: any. */
FM_MUST_USE fm_status fm_engine_submit(fm_engine *engine, const fm_job_spec *spec, fm_job **ret,
                                       fm_error *err);

/* Takes the job's rows out: waiting ones at once, those in a network call when it returns. The job
 * is then finished and comes out of fm_engine_collect() as any other. Idempotent. Thread: any. */
void fm_engine_cancel(fm_engine *engine, fm_job *job);

/* The next finished job, or NULL. Thread: any, one at a time. */
fm_job *fm_engine_collect(fm_engine *engine);
/* Waits until a job is finished and returns it; for callers without a loop. */
fm_job *fm_engine_wait(fm_engine *engine);

void *fm_job_context(const fm_job *job);
/* FM_OK; FM_ECANCELED; FM_ENOMEM when recording every step ran out of memory, FM_ETOOBIG when it went
 * beyond max_recording_bytes. */
fm_status fm_job_status(const fm_job *job);
size_t fm_job_n_rows(const fm_job *job);
void fm_job_row(const fm_job *job, size_t row, fm_row_result *ret); /* of a finished job */
fm_job_stats fm_job_statistics(const fm_job *job);
/* Evaluations done so far, for progress; approximate while running. Thread: any. */
uint64_t fm_job_evaluations_done(const fm_job *job);
void fm_job_free(fm_job *job); /* a collected job; takes NULL */

/* Counters since start. Thread: any. */
typedef struct fm_engine_stats {
    uint64_t tiles;          /* network calls */
    uint64_t tile_rows;      /* network rows evaluated */
    uint64_t tile_capacity;  /* network rows those calls had room for */
    uint64_t evaluations;    /* velocity evaluations handed to solvers */
    uint64_t rows_in_flight; /* trajectories started and not finished, now */
    uint64_t rows_waiting;   /* trajectories not started, now */
    uint64_t rows_finished, rows_non_finite, rows_cancelled;
    double network_seconds; /* inside network calls, all workers */
    double busy_seconds;    /* workers not waiting for work */
} fm_engine_stats;

void fm_engine_statistics(fm_engine *engine, fm_engine_stats *ret);

/* The same for one model, and its measured cost. Thread: any. */
typedef struct fm_model_stats {
    uint64_t tiles, tile_rows, tile_capacity, evaluations;
    uint64_t rows_in_flight, rows_waiting;
    uint64_t rows_finished, rows_non_finite, rows_cancelled;
    double network_seconds;
} fm_model_stats;

void fm_model_statistics(const fm_model *model, fm_model_stats *ret);

/* Velocity evaluations that one row of this job will need: exact for fixed grids, a guess for
 * adaptive methods. Guided rows count once, as everywhere. */
double fm_job_expected_evaluations(const fm_job_spec *spec);
/* Network rows that one velocity of every row takes together: two of a row that is guided away from the
 * null class, one of any other. */
size_t fm_job_network_rows(const fm_job_spec *spec);

/* What a job costs on an otherwise idle engine, by what was measured when its model was loaded. */
typedef struct fm_job_estimate {
    double evaluations;  /* of all rows; a guess as fm_job_expected_evaluations() is */
    double work_seconds; /* network time over all workers: what it takes from others */
    double
        seconds; /* until its end: more than the work where few rows cannot fill the workers, for the
                          * evaluations of a trajectory follow each other */
} fm_job_estimate;

/* workers: >= 1. */
fm_job_estimate fm_job_estimate_of(const fm_job_spec *spec, size_t workers);

#endif
