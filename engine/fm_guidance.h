/* Guidance of a velocity: engine/flow/guidance.h has its equations. */
#ifndef FM_FM_GUIDANCE_H
#define FM_FM_GUIDANCE_H

#include "engine/fm_model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    /* [n] TABLE: t strictly ascending; linear between, constant beyond; borrowed */
    const double *t, *values;
    size_t n;
} fm_guidance_schedule;

/* Of c - u, the part along c and the part orthogonal to it are guided each by their own. */
typedef struct fm_guidance_projection {
    double parallel;  /* how much of the parallel part is kept; 1: all */
    double threshold; /* the longest that the difference may be; 0: any length */
    /* Of the differences of the evaluations before it; 0: none. Else of methods that evaluate each step once. */
    double momentum;
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
    /* Whose velocity with the label is u; of the same flow; NULL: the model itself. */
    fm_model *model;
    /* Its log p(label | x) at its labels raises the score by classifier_scale times its gradient; NULL: none. */
    fm_model *classifier;
    double classifier_scale;
    const int32_t *classifier_labels; /* [n_rows]; borrowed */
} fm_guidance;

/* Whether `guide` may be fm_guidance.model: of the same shape, path, predictions, direction and labels. */
bool fm_model_can_guide(const fm_model_info *model, const fm_model_info *guide);
/* Whether it may be fm_guidance.classifier: one of the same shape and path. */
bool fm_model_can_classify(const fm_model_info *model, const fm_model_info *classifier);

#endif
