/* Requests: bytes of a body to a checked, typed value, or a problem that lists every broken rule.
 *
 * Fields are rows of api.def; unknown fields are refused, and fields that the contract has but this
 * release does not serve are refused by name. A model's defaults fill what the body leaves out.
 * Pure: no clock, no randomness, so the caller brings a seed for requests without one. */
#ifndef FMP_REQUEST_H
#define FMP_REQUEST_H

#include "engine/fm.h"
#include "proto/problem.h"

/* Bounds from the configuration (config/options.def, section [limits]). */
typedef struct fmp_limits {
    size_t max_samples;           /* num_samples */
    size_t max_steps;             /* solver.steps and every other grid */
    uint64_t max_evaluations;     /* solver.max_evaluations */
    size_t max_trajectory_points; /* times, points */
    size_t max_answer_bytes;      /* estimate of the encoded answer */
    uint64_t default_timeout_ms, max_timeout_ms;
    const fm_model_info *const
        *models; /* [n_models] that are loaded, for requests that name another */
    size_t n_models;
} fmp_limits;

#define FMP_NO_MODEL SIZE_MAX

/* What a body is for: bits, for a row of api.def may be of several. */
typedef enum fmp_api_route {
    FMP_API_NONE = 0,
    FMP_API_SAMPLE = 1,
    FMP_API_VELOCITY = 2,
    FMP_API_ENCODE = 4,
    FMP_API_LOG_LIKELIHOOD = 8,
    FMP_API_INTERPOLATE = 16,
    FMP_API_EDIT = 32,
    FMP_API_ALL = 63,
    FMP_API_EDITS =
        FMP_API_INTERPOLATE | FMP_API_EDIT, /* of several jobs, as a rule: proto/stages.h */
    FMP_API_FLOWS = FMP_API_ALL & ~FMP_API_VELOCITY,            /* integrate */
    FMP_API_SAMPLES = FMP_API_SAMPLE | FMP_API_EDITS,           /* end in samples */
    FMP_API_STATES = FMP_API_SAMPLE | FMP_API_ENCODE,           /* and give states on the way */
    FMP_API_BACKWARD = FMP_API_ENCODE | FMP_API_LOG_LIKELIHOOD, /* from data to the source */
    FMP_API_POINTS = FMP_API_VELOCITY | FMP_API_LOG_LIKELIHOOD, /* give numbers of points */
} fmp_api_route;

/* The first three are words of the body's field, the others media types of their own. */
typedef enum fmp_encoding {
    FMP_ENCODING_JSON,
    FMP_ENCODING_BASE64,
    FMP_ENCODING_PNG, /* samples as base64 of one picture each; all else as JSON */
    FMP_ENCODING_NPY,
    FMP_ENCODING_PNG_GRID, /* one picture of all samples */
} fmp_encoding;

typedef struct fmp_stages fmp_stages;
typedef struct fmp_observation fmp_observation;

/* A checked request. It owns its arrays; spec borrows them (and the caller's fm_model). */
typedef struct fmp_request {
    fmp_api_route route;
    /* Of its last job, whose result is answered; ready for fm_engine_submit() but for its models, finished and
     * context. fmp_request_job() gives those of all its jobs. */
    fm_job_spec spec;
    fmp_encoding encoding;
    bool seed_is_string; /* echo as sent */
    uint64_t timeout_ms;
    bool grid_from_steps; /* echo solver.steps */
    size_t n_steps;
    fm_schedule schedule;     /* that made the grid; type NULL: none did */
    size_t guide, classifier; /* of fmp_limits.models, for spec.guidance; FMP_NO_MODEL: none */
    bool has_trajectory;
    bool lat_lon; /* points of the globe go out as latitude and longitude */
    bool wants_straightness, wants_kinetic_energy, wants_curvature; /* in stats */
    /* owned */
    double *grid, *output_times, *x, *t;
    int32_t *labels;
    fm_path *path; /* of `scheduler`; NULL: none was asked for */
    fm_path_table *path_table;
    double *diffusion_t, *diffusion_values; /* of solver.diffusion */
    double *guidance_t, *guidance_values;   /* of guidance.schedule */
    int32_t *negative_labels, *classifier_labels;
    unsigned char *given; /* [n_rows][dimension] of spec.given, or NULL */
    fmp_stages *stages;   /* of FMP_API_EDITS without an observation, else NULL */
    /* Of FMP_API_EDIT, or NULL: proto/observation.h; spec.inverse is within. */
    fmp_observation *observation;
} fmp_request;

/* POST …/sample. The model's defaults fill what it leaves out. A classifier has no velocity, so its requests are all
 * refused. false: *problem is filled and *ret needs no release.
 *   accepted  NPY or PNG_GRID (of a model that fmp_image_of() knows) by Accept; JSON: the body's field
 *             says how the answer is encoded */
FM_MUST_USE bool fmp_request_parse_sample(const char *body, size_t length,
                                          const fm_model_info *model, const fmp_limits *limits,
                                          fmp_encoding accepted, uint64_t drawn_seed,
                                          fmp_request *ret, fmp_problem *problem);
/* POST …/velocity, …/encode, …/log_likelihood, …/interpolate and …/edit, whose points are given. */
FM_MUST_USE bool fmp_request_parse_points(fmp_api_route route, const char *body, size_t length,
                                          const fm_model_info *model, const fmp_limits *limits,
                                          uint64_t drawn_seed, fmp_request *ret,
                                          fmp_problem *problem);
/* Answers with what Accept asks for beside JSON. false: the answer would be too large; *problem is filled and the
 * request needs no release. */
FM_MUST_USE bool fmp_request_accept(fmp_request *request, const fm_model_info *model,
                                    const fmp_limits *limits, fmp_encoding accepted,
                                    fmp_problem *problem);
void fmp_request_done(fmp_request *request);

/* Checks a model's own defaults as if they were a request's. Another model that they name is looked for where the limits
 * list any. */
FM_MUST_USE bool fmp_request_check_defaults(const fm_model_info *model, const fmp_limits *limits,
                                            fmp_problem *problem);

/* Bytes that a body's tree takes while it is parsed, from one look at its text: no less than the real
 * use, and within four times of it for lists of numbers. SIZE_MAX where it would overflow. */
size_t fmp_request_tree_bytes(const char *body, size_t length);

/* Bytes of the arrays that a parsed request owns until it is done. SIZE_MAX where it would overflow. */
size_t fmp_request_array_bytes(const fmp_request *request, const fm_model_info *model);

/* Estimated bytes of the encoded answer. At most so many, but for every step of an adaptive method,
 * where it is a usual number of steps: the most that could be would refuse requests that are small. */
size_t fmp_request_answer_bytes(const fmp_request *request, const fm_model_info *model);

/* Bytes that writing the answer takes beside the answer itself, while it lasts. */
size_t fmp_request_writer_bytes(const fmp_request *request, const fm_model_info *model);

/* The most bytes that the recordings of every step of an adaptive method can take, for
 * fm_job_spec.max_recording_bytes; 0 for any other request. SIZE_MAX where it would overflow. */
size_t fmp_request_recording_bytes(const fmp_request *request, const fm_model_info *model);

#endif
