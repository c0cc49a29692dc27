/* Jobs: one block of memory each, and what callers may read of a finished one. */
#include "engine/batch/job.h"

#include "engine/memory.h"
#include "engine/model.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Trajectories of one job in flight at once, in full tiles per worker: two, so that a worker finds a
 * full tile while another call holds as many. */
#define TILES_IN_FLIGHT 2

/* Sizes of the pieces of a job's block, in the order that they are taken. */
typedef struct fm_job_layout {
    size_t n_slots;
    size_t solver_bytes; /* of one slot, with its vectors beside it */
    size_t total_bytes;
    bool overflow;
} fm_job_layout;

static void add(fm_job_layout *layout, size_t count, size_t size_bytes)
{
    size_t bytes = 0;
    if (!fm_multiply(count, size_bytes, &bytes) || bytes > SIZE_MAX / 2 ||
        layout->total_bytes > SIZE_MAX / 2) {
        layout->overflow = true;
        return;
    }
    layout->total_bytes += fm_arena_round(bytes);
}

static void add_matrix(fm_job_layout *layout, size_t rows, size_t columns, size_t size_bytes)
{
    size_t count = 0;
    if (!fm_multiply(rows, columns, &count)) {
        layout->overflow = true;
        return;
    }
    add(layout, count, size_bytes);
}

static bool wants_log_density(const fm_job_spec *spec)
{
    bool has_outputs =
        spec->task == FM_TASK_VELOCITY || spec->n_output_times > 0 || spec->output_every_step;
    return has_outputs && (spec->fields & FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)) != 0;
}

static bool wants_divergence(const fm_job_spec *spec)
{
    return (fm_job_read_fields(spec) & FM_FIELD_BIT(FM_FIELD_DIVERGENCE)) != 0;
}

static size_t integrals_of(const fm_job_spec *spec)
{
    bool integrates =
        spec->task == FM_TASK_SAMPLE && (spec->log_likelihood || wants_log_density(spec));
    return integrates ? fm_divergence_traces(&spec->divergence) : 0;
}

/* Tangents of one Jacobian; 0: none is asked for. */
static size_t tangents_of(const fm_job_spec *spec)
{
    if (integrals_of(spec) == 0 && !wants_divergence(spec)) {
        return 0;
    }
    return spec->divergence.method == FM_DIVERGENCE_EXACT ? spec->model->config.dimension
                                                          : spec->divergence.n_probes;
}

bool fm_job_needs_tangents(const fm_job_spec *spec)
{
    return tangents_of(spec) > 0;
}

static fm_solve_plan solve_plan_of(const fm_job_spec *spec)
{
    const fm_model_config *config = &spec->model->config;
    return (fm_solve_plan){.solver = spec->solver,
                           .dimension = config->dimension + integrals_of(spec),
                           .n_integrals = integrals_of(spec),
                           .path = spec->path != NULL ? spec->path : &config->path,
                           .seed = spec->seed,
                           .gives_score = fm_predictions_have_score(&config->predictions) &&
                                          fm_method_uses_score(spec->solver.method),
                           .output_times = spec->output_times,
                           .n_output_times = spec->n_output_times,
                           .output_every_step = spec->output_every_step,
                           .measures_path = spec->measures_path,
                           .output = fm_row_keep_output,
                           .after_step = fm_job_after_step(spec),
                           .inverse = spec->inverse};
}

/* States that a row with output_every_step records, where the grid says so beforehand; else 0, and its
 * recording grows. */
static size_t grid_states(const fm_job_spec *spec)
{
    return fm_method_describe(spec->solver.method)->adaptive ? 0 : spec->solver.n_grid;
}

/* Outputs of every row where they are known beforehand, of FM_TASK_VELOCITY the point; else 0. */
static size_t outputs_of(const fm_job_spec *spec)
{
    if (spec->task == FM_TASK_VELOCITY) {
        return 1;
    }
    return spec->output_every_step ? grid_states(spec) : spec->n_output_times;
}

static void add_fields(fm_job_layout *layout, const fm_job_spec *spec)
{
    size_t outputs = 0;
    layout->overflow |= !fm_multiply(spec->n_rows, outputs_of(spec), &outputs);
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS && !layout->overflow; id++) {
        if ((fm_job_read_fields(spec) & FM_FIELD_BIT(id)) != 0) {
            add_matrix(layout, outputs, spec->model->config.dimension, sizeof(float));
        }
    }
    if (wants_log_density(spec)) {
        add(layout, outputs, sizeof(double));
    }
    if (wants_divergence(spec)) {
        add(layout, outputs, sizeof(double));
    }
}

/* What a slot has beside its solver: a sample's state, the network's output where it is kept, traces. */
static size_t state_bytes(const fm_job_spec *spec)
{
    size_t n = spec->model->config.dimension + integrals_of(spec);
    return spec->task == FM_TASK_SAMPLE ? fm_arena_round(n * sizeof(double)) : 0;
}

static size_t output_bytes(const fm_job_spec *spec)
{
    size_t n = fm_predictions_count(&spec->model->config.predictions);
    bool kept = spec->task == FM_TASK_VELOCITY || fm_job_read_fields(spec) != 0 || n > 1;
    return kept ? fm_arena_round(n * spec->model->config.dimension * sizeof(double)) : 0;
}

static size_t trace_bytes(const fm_job_spec *spec)
{
    return tangents_of(spec) == 0
               ? 0
               : fm_arena_round(fm_divergence_traces(&spec->divergence) * sizeof(double));
}

static fm_job_layout layout_of(const fm_job_spec *spec)
{
    const fm_model *model = spec->model;
    size_t dimension = model->config.dimension;
    size_t in_flight = model->tile_rows * model->workers * TILES_IN_FLIGHT;
    fm_job_layout layout = {.n_slots = spec->n_rows < in_flight ? spec->n_rows : in_flight};
    add(&layout, 1, sizeof(fm_job));
    add(&layout, spec->n_rows, sizeof(fm_row_record));
    add(&layout, layout.n_slots, sizeof(fm_row));
    add(&layout, layout.n_slots, sizeof(fm_row *));
    size_t solve_bytes = 0;
    if (spec->task == FM_TASK_SAMPLE) {
        fm_solve_plan plan = solve_plan_of(spec);
        solve_bytes = fm_solve_size_bytes(&plan);
        add_matrix(&layout, spec->n_rows, dimension, sizeof(float));
        if (spec->n_output_times > 0 && !spec->output_every_step) {
            size_t states = 0;
            layout.overflow |= !fm_multiply(spec->n_rows, spec->n_output_times, &states);
            add_matrix(&layout, states, dimension, sizeof(float));
        }
        if (spec->output_every_step) {
            add(&layout, spec->n_rows, sizeof(fm_recording));
            size_t states = 0;
            layout.overflow |= !fm_multiply(spec->n_rows, grid_states(spec), &states);
            add_matrix(&layout, states, dimension, sizeof(float));
            add(&layout, states, sizeof(double));
        }
    }
    add_fields(&layout, spec);
    if (spec->log_likelihood) {
        add(&layout, spec->n_rows, sizeof(double));
        add(&layout, spec->n_rows, sizeof(double));
    }
    size_t aside_bytes = fm_row_asides_bytes(spec);
    if (solve_bytes > SIZE_MAX / 4 || aside_bytes > SIZE_MAX / 4 || dimension > SIZE_MAX / 64) {
        layout.overflow = true;
        return layout;
    }
    layout.solver_bytes = fm_arena_round(solve_bytes) + state_bytes(spec) + output_bytes(spec) +
                          trace_bytes(spec) + fm_arena_round(aside_bytes) +
                          fm_job_inverse_bytes(spec);
    add(&layout, layout.n_slots, layout.solver_bytes);
    return layout;
}

size_t fm_job_size_bytes(const fm_job_spec *spec)
{
    fm_job_layout layout = layout_of(spec);
    return layout.overflow ? SIZE_MAX : layout.total_bytes;
}

static fm_status check_divergence(const fm_job_spec *spec, fm_error *err)
{
    const fm_divergence *it = &spec->divergence;
    bool bad = it->method == FM_DIVERGENCE_HUTCHINSON && tangents_of(spec) > FM_MAX_PROBES;
    if (bad || (it->method == FM_DIVERGENCE_HUTCHINSON && it->n_probes == 0)) {
        return fm_fail(err, FM_EINVAL, "divergence needs 1 to %zu probes", FM_MAX_PROBES);
    }
    if (tangents_of(spec) > 0 && spec->model->network->info.max_tangents == 0) {
        return fm_fail(err, FM_EINVAL,
                       "model %s has no densities: a potential's are of float32 networks alone",
                       spec->model->config.name);
    }
    return FM_OK;
}

static fm_status check_spec(const fm_job_spec *spec, fm_error *err)
{
    const fm_model_config *config = &spec->model->config;
    if (spec->n_rows == 0) {
        return fm_fail(err, FM_EINVAL, "a job needs at least one row");
    }
    if (config->classifier) {
        return fm_fail(err, FM_EINVAL, "model %s is a classifier and has no velocity",
                       config->name);
    }
    if (spec->labels != NULL && !config->has_labels) {
        return fm_fail(err, FM_EINVAL, "model %s has no labels", config->name);
    }
    if (spec->labels == NULL && config->has_labels && !config->has_null_label) {
        return fm_fail(err, FM_EINVAL, "model %s needs labels", config->name);
    }
    for (size_t i = 0; spec->labels != NULL && i < spec->n_rows; i++) {
        int32_t label = spec->labels[i];
        bool is_null = config->has_null_label && label == config->null_label;
        if (!is_null && (label < 0 || label >= config->label_count)) {
            return fm_fail(err, FM_EINVAL, "label %d of row %zu is not one of model %s", label, i,
                           config->name);
        }
    }
    if (spec->draws > 0 && (spec->x == NULL || spec->n_rows % spec->draws != 0)) {
        return fm_fail(err, FM_EINVAL, "draws need points x, and as many rows for each");
    }
    double first = spec->task == FM_TASK_SAMPLE && spec->adds_noise ? spec->solver.grid[0] : 0;
    if (spec->adds_noise && (spec->x == NULL || spec->draws > 0 || !(first >= 0 && first <= 1))) {
        return fm_fail(err, FM_EINVAL, "noise is added to points x at a time from 0 to 1");
    }
    fm_status options = check_divergence(spec, err);
    if (options == FM_OK) {
        options = fm_job_check_guidance(spec, err);
    }
    if (options != FM_OK) {
        return options;
    }
    if (spec->task == FM_TASK_VELOCITY) {
        bool density = wants_log_density(spec);
        if (spec->x == NULL || spec->t == NULL || (density && !spec->model->info.has_log_density)) {
            return fm_fail(err, FM_EINVAL, "velocity needs x, t and fields that the model has");
        }
        return fm_job_check_inverse(spec, err);
    }
    fm_solve_plan plan = solve_plan_of(spec);
    fm_status status = fm_solve_check(&plan, err);
    if (status == FM_OK && plan.n_integrals > 0 && !fm_method_takes_density(spec->solver.method)) {
        status = fm_fail(err, FM_EINVAL, "densities cannot be integrated with %s",
                         fm_method_describe(spec->solver.method)->name);
    }
    return status == FM_OK ? fm_job_check_inverse(spec, err) : status;
}

static void *take(fm_arena *arena, size_t count, size_t size_bytes)
{
    return fm_arena_take(arena, count * size_bytes); /* layout_of() has checked the product */
}

static void place_slots(fm_job *job, fm_arena *arena, const fm_job_layout *layout)
{
    const fm_job_spec *spec = &job->spec;
    size_t state = state_bytes(spec), output = output_bytes(spec), traces = trace_bytes(spec);
    size_t asides = fm_arena_round(fm_row_asides_bytes(spec));
    size_t inverse = fm_job_inverse_bytes(spec);
    unsigned char *memory = take(arena, layout->n_slots, layout->solver_bytes);
    job->n_slots = layout->n_slots;
    for (size_t i = 0; i < layout->n_slots; i++) {
        fm_row *row = &job->slots[i];
        row->job = job;
        row->vector = state > 0 ? (double *)(void *)memory : NULL;
        row->output = output > 0 ? (double *)(void *)(memory + state) : NULL;
        row->traces = traces > 0 ? (double *)(void *)(memory + state + output) : NULL;
        unsigned char *behind = memory + state + output + traces;
        fm_row_asides_place(row, behind);
        behind += asides;
        row->inverse_scratch = inverse > 0 ? (double *)(void *)behind : NULL;
        row->memory = behind + inverse;
        memory += layout->solver_bytes;
        row->index = i;
        job->waiting[layout->n_slots - 1 - i] = row; /* a stack: row 0 leaves first */
    }
    job->n_waiting = layout->n_slots;
    job->next_row = layout->n_slots;
}

static void place_recordings(fm_job *job, fm_arena *arena)
{
    size_t n_rows = job->spec.n_rows, capacity = grid_states(&job->spec);
    job->recordings = take(arena, n_rows, sizeof *job->recordings);
    job->recordings_grow = capacity == 0;
    float *x = take(arena, n_rows * capacity * job->dimension, sizeof *x);
    double *times = take(arena, n_rows * capacity, sizeof *times);
    for (size_t i = 0; i < n_rows && capacity > 0; i++) {
        job->recordings[i] = (fm_recording){.x = x + i * capacity * job->dimension,
                                            .times = times + i * capacity,
                                            .capacity = capacity};
    }
}

static void place_fields(fm_job *job, fm_arena *arena)
{
    size_t values = job->spec.n_rows * job->n_outputs * job->dimension;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS && job->n_outputs > 0; id++) {
        if ((fm_job_read_fields(&job->spec) & FM_FIELD_BIT(id)) != 0) {
            job->fields[id] = take(arena, values, sizeof(float));
        }
    }
    size_t numbers = job->spec.n_rows * job->n_outputs;
    if (wants_log_density(&job->spec) && numbers > 0) {
        job->log_density = take(arena, numbers, sizeof(double));
    }
    if (wants_divergence(&job->spec) && numbers > 0) {
        job->divergence = take(arena, numbers, sizeof(double));
    }
}

static void place(fm_job *job, fm_arena *arena, const fm_job_layout *layout)
{
    const fm_job_spec *spec = &job->spec;
    job->records = take(arena, spec->n_rows, sizeof *job->records);
    job->slots = take(arena, layout->n_slots, sizeof *job->slots);
    job->waiting = take(arena, layout->n_slots, sizeof(fm_row *));
    if (spec->task == FM_TASK_SAMPLE) {
        job->x = take(arena, spec->n_rows * job->dimension, sizeof(float));
        if (spec->n_output_times > 0 && !spec->output_every_step) {
            job->trajectory =
                take(arena, spec->n_rows * spec->n_output_times * job->dimension, sizeof(float));
        }
        if (spec->output_every_step) {
            place_recordings(job, arena);
        }
    }
    place_fields(job, arena);
    if (spec->log_likelihood) {
        job->log_likelihood = take(arena, spec->n_rows, sizeof(double));
        job->standard_error = take(arena, spec->n_rows, sizeof(double));
    }
    place_slots(job, arena, layout);
    for (size_t i = 0; i < spec->n_rows; i++) {
        job->records[i].status = FM_ROW_UNFINISHED;
    }
}

/* Of all rows together, and of the one with the most. */
static size_t network_rows(const fm_job_spec *spec, size_t *ret_most)
{
    size_t total = 0;
    const fm_model_config *config = &spec->model->config;
    fm_condition condition = {.guidance = &spec->guidance, .label = config->null_label};
    const int32_t *negative = spec->guidance.negative_labels;
    *ret_most = 1;
    if (spec->labels == NULL && negative == NULL) { /* all are alike */
        *ret_most = fm_field_most_rows(&spec->model->field, &condition);
        return spec->n_rows * *ret_most;
    }
    for (size_t i = 0; i < spec->n_rows; i++) {
        condition.label = spec->labels != NULL ? spec->labels[i] : condition.label;
        condition.negative_label = negative != NULL ? negative[i] : 0;
        size_t rows = fm_field_most_rows(&spec->model->field, &condition);
        total += rows;
        *ret_most = rows > *ret_most ? rows : *ret_most;
    }
    return total;
}

/* A row has tangents of all its network rows in a call, as many as have room. */
static void cost_of_rows(fm_job *job)
{
    const fm_job_spec *spec = &job->spec;
    size_t asks = 0;
    (void)network_rows(spec, &asks);
    size_t room = asks < spec->model->tile_rows ? spec->model->tile_rows / asks : 1;
    job->n_integrals = integrals_of(spec);
    job->n_tangents = tangents_of(spec);
    job->tangents_a_call = job->n_tangents < room ? job->n_tangents : room;
    job->row_cost = asks * (job->tangents_a_call > 1 ? job->tangents_a_call : 1);
}

static void ref_models(const fm_job_spec *spec)
{
    (void)fm_model_ref(spec->model);
    if (spec->guidance.model != NULL) {
        (void)fm_model_ref(spec->guidance.model);
    }
    if (spec->guidance.classifier != NULL) {
        (void)fm_model_ref(spec->guidance.classifier);
    }
}

fm_status fm_job_new(const fm_job_spec *spec, fm_job **ret, fm_error *err)
{
    fm_status status = check_spec(spec, err);
    if (status != FM_OK) {
        return status;
    }
    fm_job_layout layout = layout_of(spec);
    void *block = layout.overflow ? NULL : fm_alloc(layout.total_bytes);
    if (block == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a job of %zu rows", spec->n_rows);
    }
    fm_arena arena = {.base = block, .size_bytes = layout.total_bytes};
    fm_job *job = take(&arena, 1, sizeof *job);
    job->block = block;
    job->spec = *spec;
    if (spec->task == FM_TASK_SAMPLE) { /* else there is no method */
        job->plan = solve_plan_of(spec);
    }
    job->dimension = spec->model->config.dimension;
    job->n_outputs = outputs_of(spec);
    cost_of_rows(job);
    job->asks_beside = fm_row_asides_bytes(spec) > 0;
    job->size_class = fm_lane_class_of((double)spec->n_rows * fm_job_expected_evaluations(spec));
    place(job, &arena, &layout);
    ref_models(spec);
    *ret = job;
    return FM_OK;
}

void fm_job_free(fm_job *job)
{
    if (job == NULL) {
        return;
    }
    assert(job->finished && job->n_in_call == 0);
    for (size_t i = 0; job->recordings_grow && i < job->spec.n_rows; i++) {
        fm_free(job->recordings[i].x);
        fm_free(job->recordings[i].times);
        fm_free(job->recordings[i].fields);
        fm_free(job->recordings[i].integrals);
        fm_free(job->recordings[i].divergences);
    }
    fm_model *model = job->spec.model, *guide = job->spec.guidance.model,
             *classifier = job->spec.guidance.classifier;
    fm_free(job->block);
    fm_model_unref(model);
    fm_model_unref(guide);
    fm_model_unref(classifier);
}

size_t fm_job_network_rows(const fm_job_spec *spec)
{
    size_t each =
        integrals_of(spec) > 0 || spec->task == FM_TASK_VELOCITY ? 1 + tangents_of(spec) : 1;
    size_t total = 0, most = 0;
    return fm_multiply(network_rows(spec, &most), each, &total) ? total : SIZE_MAX;
}

/* Outputs of a trajectory, of adaptive steps by the usual number. */
static double expected_outputs(const fm_job_spec *spec, double evaluations)
{
    bool counted = outputs_of(spec) > 0;
    double step = fm_method_describe(spec->solver.method)->evaluations_per_step;
    return counted ? (double)outputs_of(spec) : 1 + evaluations / step;
}

double fm_job_expected_evaluations(const fm_job_spec *spec)
{
    if (spec->task == FM_TASK_VELOCITY) {
        return 1;
    }
    fm_solve_plan plan = solve_plan_of(spec);
    double evaluations = fm_solve_expected_evaluations(&plan);
    return evaluations + (fm_job_read_fields(spec) != 0 ? expected_outputs(spec, evaluations) : 0);
}

void *fm_job_context(const fm_job *job)
{
    return job->spec.context;
}

fm_status fm_job_status(const fm_job *job)
{
    return job->status;
}

size_t fm_job_n_rows(const fm_job *job)
{
    return job->spec.n_rows;
}

uint64_t fm_job_evaluations_done(const fm_job *job)
{
    return atomic_load_explicit(&job->evaluations, memory_order_relaxed);
}

static void describe_trajectory(const fm_job *job, size_t row, fm_row_result *ret)
{
    if (job->recordings != NULL) {
        const fm_recording *recording = &job->recordings[row];
        ret->fields[FM_FIELD_X] = recording->x;
        ret->trajectory_times = recording->times;
        ret->n_trajectory = recording->count;
    } else if (job->trajectory != NULL) {
        size_t n = job->spec.n_output_times;
        ret->fields[FM_FIELD_X] = job->trajectory + row * n * job->dimension;
        ret->n_trajectory = n;
    }
}

/* Fields lie in the job's block, or one after the other in a recording of their own. */
static void describe_fields(const fm_job *job, size_t row, fm_row_result *ret)
{
    const float *own = job->recordings != NULL ? job->recordings[row].fields : NULL;
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS; id++) {
        if ((fm_job_read_fields(&job->spec) & FM_FIELD_BIT(id)) == 0) {
            continue;
        }
        if (job->fields[id] != NULL) {
            ret->fields[id] = job->fields[id] + row * job->n_outputs * job->dimension;
        } else if (own != NULL) {
            ret->fields[id] = own;
            own += job->recordings[row].count * job->dimension;
        }
    }
}

static void describe_densities(const fm_job *job, size_t row, fm_row_result *ret)
{
    bool known = job->log_likelihood != NULL;
    ret->log_likelihood = known ? job->log_likelihood[row] : (double)NAN;
    ret->standard_error = known ? job->standard_error[row] : (double)NAN;
    if (job->log_density != NULL) {
        ret->log_density = job->log_density + row * job->n_outputs;
    } else if (job->recordings != NULL) {
        ret->log_density = job->recordings[row].integrals;
    }
    if (job->divergence != NULL) {
        ret->divergence = job->divergence + row * job->n_outputs;
    } else if (job->recordings != NULL) {
        ret->divergence = job->recordings[row].divergences;
    }
}

void fm_job_row(const fm_job *job, size_t row, fm_row_result *ret)
{
    assert(row < job->spec.n_rows);
    const fm_row_record *record = &job->records[row];
    *ret = (fm_row_result){.status = record->status,
                           .t = record->t,
                           .evaluations = record->evaluations,
                           .accepted = record->accepted,
                           .rejected = record->rejected,
                           .shape = record->shape};
    if (job->spec.task == FM_TASK_SAMPLE) {
        ret->x = job->x + row * job->dimension;
        describe_trajectory(job, row, ret);
    }
    describe_fields(job, row, ret);
    describe_densities(job, row, ret);
}

fm_job_stats fm_job_statistics(const fm_job *job)
{
    double first = job->first_call_seconds > 0 ? job->first_call_seconds : job->ended_seconds;
    return (fm_job_stats){.queue_seconds = first - job->submitted_seconds,
                          .compute_seconds = job->ended_seconds - first,
                          .evaluations = fm_job_evaluations_done(job)};
}
