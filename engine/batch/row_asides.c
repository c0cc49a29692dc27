/* What a row's velocity asks beside the rows of its own network: a weaker model that is its base, the gradient of a
 * classifier, or that of an observation's likelihood; and the momentum of its guidance. */
#include "engine/batch/job.h"
#include "engine/inverse/likelihood.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <string.h>

/* ---- memory ---- */

static bool is_observed(const fm_job_spec *spec)
{
    return spec->inverse != NULL && spec->inverse->guidance_scale != 0.0;
}

/* Places every array that the spec needs; returns the bytes. memory: NULL to count them. */
static size_t place(const fm_job_spec *spec, unsigned char *memory, fm_row_asides *ret)
{
    const fm_guidance *guidance = &spec->guidance;
    const fm_network_info *info = &spec->model->network->info;
    size_t out = fm_arena_round(info->out_dimension * sizeof(double));
    size_t vector = fm_arena_round(info->dimension * sizeof(double));
    bool classified = guidance->classifier != NULL, observed = is_observed(spec);
    const struct {
        double **array;
        bool needed;
        size_t bytes;
    } rows[] = {
        {&ret->momentum, guidance->projects && guidance->projection.momentum != 0.0, out},
        {&ret->model_out, guidance->model != NULL, out},
        {&ret->gradient, classified || observed, vector},
        {&ret->state, classified, vector},
        {&ret->pull, observed, vector},
        {&ret->pulled, observed, vector},
        {&ret->cotangent, observed, out},
        {&ret->again, observed, out},
    };
    size_t total = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool taken = rows[i].needed && memory != NULL;
        *rows[i].array = taken ? (double *)(void *)(memory + total) : NULL;
        total += rows[i].needed ? rows[i].bytes : 0;
    }
    return total;
}

size_t fm_row_asides_bytes(const fm_job_spec *spec)
{
    const fm_network_info *info = &spec->model->network->info;
    if (info->dimension > SIZE_MAX / 128 || info->out_dimension > SIZE_MAX / 128) {
        return SIZE_MAX;
    }
    fm_row_asides ignored;
    return place(spec, NULL, &ignored);
}

void fm_row_asides_place(fm_row *row, void *memory)
{
    (void)place(&row->job->spec, memory, &row->asides);
}

void fm_row_asides_start(fm_row *row)
{
    if (row->asides.momentum != NULL) {
        size_t n = row->job->spec.model->network->info.out_dimension;
        memset(row->asides.momentum, 0, n * sizeof *row->asides.momentum);
    }
}

/* ---- asking ---- */

static const fm_model *ask_model(fm_row *row, const fm_model *model, fm_tile_row *ret)
{
    fm_condition condition = {.label = row->condition.label, .path = row->condition.path};
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    (void)fm_field_asks(&model->field, &condition, row->want.t, asks);
    ret->t = asks[0].t;
    ret->label = model->config.has_labels ? condition.label : 0;
    ret->out = row->asides.model_out;
    return model;
}

static const fm_model *ask_classifier(fm_row *row, const fm_model *classifier, fm_tile_row *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    fm_field_ask ask = fm_field_ask_likelihood(&spec->model->field, &classifier->field,
                                               &row->condition, row->want.t);
    for (size_t i = 0; i < row->job->dimension; i++) {
        row->asides.state[i] = ask.state_scale * row->want.x[i];
    }
    ret->x = row->asides.state;
    ret->t = ask.t;
    ret->label = spec->guidance.classifier_labels[row->index];
    ret->out = row->asides.gradient;
    return classifier;
}

/* Of the flow with the label, unguided. */
static fm_field_at observed_at(const fm_row *row)
{
    const fm_condition condition = {.path = row->condition.path};
    return fm_field_at_time(&row->job->spec.model->field, &condition, row->want.t);
}

static fm_path_point point_of(const fm_row *row)
{
    const fm_path *path = row->condition.path;
    return fm_path_at(path != NULL ? path : &row->job->spec.model->field.path, row->want.t);
}

/* Only before the end: there x1 is the state, and nothing is left to be moved. */
static bool asks_observation(const fm_row *row)
{
    const fm_job_spec *spec = &row->job->spec;
    return is_observed(spec) && row->want.t >= spec->inverse->guidance_from &&
           point_of(row).sigma > 0;
}

/* The cotangent of the output: that of x1_hat by its reading. */
static const fm_model *ask_observation(fm_row *row, const fm_tile_row *own, fm_tile_row *ret)
{
    const fm_job_spec *spec = &row->job->spec;
    size_t n = row->job->dimension;
    fm_path_point point = point_of(row);
    fm_field_at at = observed_at(row);
    double *x1_hat = row->asides.pulled;
    fm_field_read(at.reading.x1, n, row->want.x, own->out, x1_hat);
    fm_likelihood_pull(spec->inverse, row->index, &point, x1_hat, row->asides.pull,
                       row->inverse_scratch);
    const double weights[] = {at.reading.x1.out, at.reading.x1.second};
    for (size_t head = 0; head < fm_predictions_count(&spec->model->field.predictions); head++) {
        for (size_t i = 0; i < n; i++) {
            row->asides.cotangent[head * n + i] = weights[head] * row->asides.pull[i];
        }
    }
    size_t n_out = spec->model->network->info.out_dimension; /* jumps, behind, pull nothing */
    for (size_t i = fm_predictions_count(&spec->model->field.predictions) * n; i < n_out; i++) {
        row->asides.cotangent[i] = 0;
    }
    ret->t = own->t;
    ret->label = own->label;
    ret->out = row->asides.again;
    ret->cotangent = row->asides.cotangent;
    ret->gradient = row->asides.pulled;
    return spec->model;
}

const fm_model *fm_row_aside(fm_row *row, fm_aside aside, const fm_tile_row *own, fm_tile_row *ret)
{
    const fm_field *field = &row->job->spec.model->field;
    *ret = (fm_tile_row){.x = own->x};
    if (aside == FM_ASIDE_OBSERVATION) {
        return asks_observation(row) ? ask_observation(row, own, ret) : NULL;
    }
    fm_field_asides asked = fm_field_asks_beside(field, &row->condition, row->want.t);
    if (aside == FM_ASIDE_MODEL && asked.model != NULL) {
        return ask_model(row, asked.model, ret);
    }
    if (aside == FM_ASIDE_CLASSIFIER && asked.classifier != NULL) {
        return ask_classifier(row, asked.classifier, ret);
    }
    return NULL;
}

/* ---- answering ---- */

/* By the model's own state, as the classifier's is. */
static void add_observed(fm_row *row)
{
    const fm_job_spec *spec = &row->job->spec;
    const fm_field *field = &spec->model->field;
    fm_field_at at = observed_at(row);
    fm_field_ask own = fm_field_ask_likelihood(field, field, &row->condition, row->want.t);
    double scale = spec->inverse->guidance_scale / own.state_scale;
    for (size_t i = 0; i < row->job->dimension; i++) {
        row->asides.gradient[i] += scale * (at.reading.x1.x * row->asides.pull[i] +
                                            at.state_scale * row->asides.pulled[i]);
    }
}

const double *fm_row_weighted_gradient(fm_row *row)
{
    const fm_job_spec *spec = &row->job->spec;
    if (!row->job->asks_beside) {
        return NULL;
    }
    fm_field_asides asked = fm_field_asks_beside(&spec->model->field, &row->condition, row->want.t);
    bool observed = asks_observation(row);
    if (asked.classifier == NULL && !observed) {
        return NULL;
    }
    double weight = asked.classifier == NULL ? 0 : spec->guidance.classifier_scale;
    for (size_t i = 0; i < row->job->dimension; i++) {
        row->asides.gradient[i] = weight == 0.0 ? 0.0 : weight * row->asides.gradient[i];
    }
    if (observed) {
        add_observed(row);
    }
    return row->asides.gradient;
}
