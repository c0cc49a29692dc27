/* The pieces of a job's block: their sizes, then their places, in the same order. */
#include "engine/batch/job_layout.h"

#include "engine/batch/job.h"
#include "engine/batch/job_spec.h"
#include "engine/model.h"

#include <stdint.h>

/* Trajectories of one job in flight at once, in full tiles per worker: two, so that a worker finds a
 * full tile while another call holds as many. */
#define TILES_IN_FLIGHT 2

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

static void add_fields(fm_job_layout *layout, const fm_job_spec *spec)
{
    size_t outputs = 0;
    layout->overflow |= !fm_multiply(spec->n_rows, fm_job_outputs(spec), &outputs);
    for (unsigned id = 0; id < FM_N_VECTOR_FIELDS && !layout->overflow; id++) {
        if ((fm_job_read_fields(spec) & FM_FIELD_BIT(id)) != 0) {
            add_matrix(layout, outputs, spec->model->config.dimension, sizeof(float));
        }
    }
    if (fm_job_wants_log_density(spec)) {
        add(layout, outputs, sizeof(double));
    }
    if (fm_job_wants_divergence(spec)) {
        add(layout, outputs, sizeof(double));
    }
}

static bool has_log_likelihood(const fm_job_spec *spec)
{
    return spec->log_likelihood || spec->task == FM_TASK_BOUND;
}

/* What a slot has beside its solver: a sample's state, the network's output where it is kept, traces. */
static size_t state_bytes(const fm_job_spec *spec)
{
    size_t n = spec->model->config.dimension + fm_job_integrals(spec);
    return spec->task == FM_TASK_SAMPLE ? fm_arena_round(n * sizeof(double)) : 0;
}

static size_t output_bytes(const fm_job_spec *spec)
{
    size_t n = fm_predictions_count(&spec->model->config.predictions);
    bool kept = spec->task == FM_TASK_VELOCITY || fm_job_read_fields(spec) != 0 || n > 1 ||
                spec->model->config.space.bins.n > 0 ||
                (!fm_job_is_flat(spec) && !fm_job_is_direct(spec));
    return kept ? fm_arena_round(n * spec->model->config.space.outputs * sizeof(double)) : 0;
}

static size_t ambient_bytes(const fm_job_spec *spec)
{
    return fm_arena_round(fm_row_space_numbers(spec) * sizeof(double));
}

static size_t trace_bytes(const fm_job_spec *spec)
{
    return fm_job_tangents(spec) == 0
               ? 0
               : fm_arena_round(fm_divergence_traces(&spec->divergence) * sizeof(double));
}

fm_job_layout fm_job_layout_of(const fm_job_spec *spec)
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
        fm_solve_plan plan = fm_job_solve_plan(spec);
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
            layout.overflow |= !fm_multiply(spec->n_rows, fm_job_grid_states(spec), &states);
            add_matrix(&layout, states, dimension, sizeof(float));
            add(&layout, states, sizeof(double));
        }
    }
    add_fields(&layout, spec);
    if (spec->task == FM_TASK_BOUND) {
        fm_elbo_plan plan = fm_job_bound_plan(spec);
        solve_bytes = fm_elbo_size_bytes(&plan);
    }
    if (has_log_likelihood(spec)) {
        add(&layout, spec->n_rows, sizeof(double));
        add(&layout, spec->n_rows, sizeof(double));
    }
    size_t aside_bytes = fm_row_asides_bytes(spec);
    if (solve_bytes > SIZE_MAX / 4 || aside_bytes > SIZE_MAX / 4 || dimension > SIZE_MAX / 64 ||
        spec->model->config.space.outputs > SIZE_MAX / 64) {
        layout.overflow = true;
        return layout;
    }
    layout.solver_bytes = fm_arena_round(solve_bytes) + state_bytes(spec) + output_bytes(spec) +
                          trace_bytes(spec) + ambient_bytes(spec) + fm_arena_round(aside_bytes) +
                          fm_job_inverse_bytes(spec);
    add(&layout, layout.n_slots, layout.solver_bytes);
    return layout;
}

size_t fm_job_size_bytes(const fm_job_spec *spec)
{
    fm_job_layout layout = fm_job_layout_of(spec);
    return layout.overflow ? SIZE_MAX : layout.total_bytes;
}

static void *take(fm_arena *arena, size_t count, size_t size_bytes)
{
    return fm_arena_take(
        arena, count * size_bytes); /* fm_job_fm_job_layout_of() has checked the product */
}

static void place_slots(fm_job *job, fm_arena *arena, const fm_job_layout *layout)
{
    const fm_job_spec *spec = &job->spec;
    size_t state = state_bytes(spec), output = output_bytes(spec), traces = trace_bytes(spec);
    size_t ambient = ambient_bytes(spec), asides = fm_arena_round(fm_row_asides_bytes(spec));
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
        row->ambient = ambient > 0 ? (double *)(void *)behind : NULL;
        behind += ambient;
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
    size_t n_rows = job->spec.n_rows, capacity = fm_job_grid_states(&job->spec);
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
    if (fm_job_wants_log_density(&job->spec) && numbers > 0) {
        job->log_density = take(arena, numbers, sizeof(double));
    }
    if (fm_job_wants_divergence(&job->spec) && numbers > 0) {
        job->divergence = take(arena, numbers, sizeof(double));
    }
}

void fm_job_place(fm_job *job, fm_arena *arena, const fm_job_layout *layout)
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
    if (has_log_likelihood(spec)) {
        job->log_likelihood = take(arena, spec->n_rows, sizeof(double));
        job->standard_error = take(arena, spec->n_rows, sizeof(double));
    }
    place_slots(job, arena, layout);
    for (size_t i = 0; i < spec->n_rows; i++) {
        job->records[i].status = FM_ROW_UNFINISHED;
    }
}
