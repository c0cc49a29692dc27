/* Jobs: their birth and death, one block of memory each. */
#include "engine/batch/job.h"

#include "engine/batch/job_layout.h"
#include "engine/batch/job_spec.h"
#include "engine/memory.h"
#include "engine/model.h"

#include <assert.h>

/* A row has tangents of all its network rows in a call, as many as have room. */
static void cost_of_rows(fm_job *job)
{
    const fm_job_spec *spec = &job->spec;
    size_t asks = 0;
    (void)fm_job_count_network_rows(spec, &asks);
    size_t room = asks < spec->model->tile_rows ? spec->model->tile_rows / asks : 1;
    job->n_integrals = fm_job_integrals(spec);
    job->n_tangents = fm_job_tangents(spec);
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
    fm_status status = fm_job_check(spec, err);
    if (status != FM_OK) {
        return status;
    }
    fm_job_layout layout = fm_job_layout_of(spec);
    void *block = layout.overflow ? NULL : fm_alloc(layout.total_bytes);
    if (block == NULL) {
        return fm_fail(err, FM_ENOMEM, "no memory for a job of %zu rows", spec->n_rows);
    }
    fm_arena arena = {.base = block, .size_bytes = layout.total_bytes};
    fm_job *job = fm_arena_take(&arena, sizeof *job);
    job->block = block;
    job->spec = *spec;
    if (spec->task == FM_TASK_SAMPLE) { /* else there is no method */
        job->plan = fm_job_solve_plan(spec);
    }
    if (spec->task == FM_TASK_BOUND) {
        job->bound = fm_job_bound_plan(spec);
    }
    job->dimension = spec->model->config.dimension;
    job->n_outputs = fm_job_outputs(spec);
    cost_of_rows(job);
    job->asks_beside = fm_row_asides_bytes(spec) > 0;
    job->size_class = fm_lane_class_of((double)spec->n_rows * fm_job_expected_evaluations(spec));
    fm_job_place(job, &arena, &layout);
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
