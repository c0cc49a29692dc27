/* Any bytes as the body of any request of any model: parsed or refused, never worse, and what is parsed
 * keeps the promises that the engine and the answers rely on. */
#include "engine/solve/diffusion.h"
#include "proto/observation.h"
#include "proto/png.h"
#include "proto/stages.h"
#include "tests/support/proto_case.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise) {
        abort();
    }
}

static void check_problem(const fmp_problem *problem)
{
    fmp_buffer buffer;
    fmp_buffer_init(&buffer, 1 << 20);
    fmp_problem_write(&buffer, problem, "fuzz");
    require(!buffer.failed && problem->detail[0] != '\0');
    require(problem->kind != FMP_PROBLEM_INTERNAL);
    fmp_buffer_done(&buffer);
}

/* Strictly monotone from `first` towards `last`. */
static void check_times(const double *times, size_t n, double first, double last)
{
    double direction = last > first ? 1 : -1;
    for (size_t i = 0; i < n; i++) {
        require((times[i] - first) * direction >= 0 && (last - times[i]) * direction >= 0);
        require(i == 0 || (times[i] - times[i - 1]) * direction > 0);
    }
}

static void check_sample(const fmp_request *request, const fm_model_info *model)
{
    const fm_job_spec *spec = &request->spec;
    const fm_solver *solver = &spec->solver;
    require(solver->method != NULL && solver->n_grid >= 2 && solver->max_evaluations >= 1);
    double span[2];
    fm_flow_span(model, spec->path, span);
    double source = spec->path == NULL ? model->time_range[0] : span[0];
    bool backward = (request->route & FMP_API_BACKWARD) != 0;
    check_times(solver->grid, solver->n_grid, span[backward ? 1 : 0], span[backward ? 0 : 1]);
    require(fm_sampling_check(&solver->sampling, NULL) == FM_OK);
    check_times(spec->output_times, spec->n_output_times, solver->grid[0],
                solver->grid[solver->n_grid - 1]);
    bool draws = spec->x == NULL && !fm_method_needs_inverse(solver->method);
    require(!draws || fabs(solver->grid[0] - source) <= 1.000001e-3);
    require(!spec->adds_noise || (spec->x != NULL && solver->grid[0] >= 0 && solver->grid[0] < 1));
}

/* Every job is what the engine takes: points on a grid that runs the right way, by the labels alone but for the last. */
static void check_jobs(const fmp_request *request)
{
    const fmp_stages *stages = request->stages;
    size_t n_jobs = fmp_request_n_jobs(request);
    bool is_edit = (request->route & FMP_API_EDITS) != 0;
    require((stages != NULL) == (is_edit && request->observation == NULL));
    require(n_jobs >= 1 && n_jobs <= FMP_MAX_JOBS);
    for (size_t i = 0; stages != NULL && i < n_jobs; i++) {
        fm_job_spec spec = fmp_request_job(request, i);
        bool is_last = i + 1 == n_jobs, encodes = stages->jobs[i] == FMP_STAGE_ENCODE;
        double first = request->spec.solver.grid[0];
        double last = request->spec.solver.grid[spec.solver.n_grid - 1];
        require(is_last == (stages->jobs[i] == FMP_STAGE_DECODE));
        require(spec.x != NULL && spec.n_rows >= 1 && (is_last || spec.guidance.scale == 1));
        require(encodes == (i == 0 && stages->backward != NULL));
        check_times(spec.solver.grid, spec.solver.n_grid, encodes ? last : first,
                    encodes ? first : last);
        require(n_jobs == 1 || fm_method_takes_density(spec.solver.method));
        for (size_t row = 0; spec.labels != NULL && row < spec.n_rows; row++) {
            require(spec.labels[row] >= 0);
        }
    }
}

static void check_stages(const fmp_request *request, const fm_model_info *model)
{
    const fmp_stages *stages = request->stages;
    for (size_t i = 0; i < stages->n_given * model->dimension; i++) {
        require(isfinite((float)stages->given[i]));
    }
    for (size_t i = 0; i < stages->n_rows * model->dimension; i++) {
        require(isfinite(stages->latents[i]) && stages->x[i] == (double)stages->latents[i]);
    }
    require(stages->n_rows == request->spec.n_rows && stages->x == request->spec.x);
    require(stages->noise >= 0 && stages->noise <= 1);
    require(stages->weights == NULL || (stages->n_given == 2 && stages->n_rows >= 2));
}

/* What fm_inverse and the method ask for. */
static void check_observation(const fmp_request *request, const fm_model_info *model)
{
    const fmp_observation *observation = request->observation;
    const fm_job_spec *spec = &request->spec;
    const fm_inverse *inverse = &observation->inverse;
    size_t n = inverse->n_observations, m = observation->forward.observation_dimension;
    require(request->route == FMP_API_EDIT && spec->inverse == inverse && spec->x == NULL);
    require(inverse->forward == &observation->forward && inverse->observations == observation->y);
    require(observation->forward.dimension == model->dimension && (n == 1 || n == spec->n_rows));
    require(observation->forward.n_observed >= 1 && observation->forward.n_observed <= m);
    for (size_t i = 0; i < n * m; i++) {
        require(isfinite((float)observation->y[i]));
    }
    require(isfinite(inverse->observation_std) && inverse->observation_std >= 0);
    bool is_pnp = fm_method_needs_inverse(spec->solver.method);
    require(is_pnp + inverse->replaces + (inverse->guidance_scale != 0) == 1);
    require(!inverse->replaces || fm_method_takes_replacement(spec->solver.method));
    require(spec->solver.grid[0] >= 0 && spec->solver.grid[spec->solver.n_grid - 1] <= 1);
    float zero[16] = {0};
    require(model->dimension <= 16 && fmp_observation_residual(observation, n - 1, zero) >= 0);
}

static void check_labels(const int32_t *labels, size_t n_rows, const fm_model_info *model)
{
    for (size_t i = 0; labels != NULL && i < n_rows; i++) {
        require(labels[i] >= 0 && labels[i] <= model->label_count);
    }
}

/* Of what is guided, everything is finite and of the models that it names. */
static void check_guidance(const fmp_request *request, const fm_model_info *model,
                           const fmp_limits *limits)
{
    const fm_guidance *it = &request->spec.guidance;
    require(isfinite(it->scale) && isfinite(it->schedule.end) && isfinite(it->classifier_scale));
    require(it->rescale >= 0 && it->rescale <= 1 && it->projection.threshold >= 0);
    require(!it->has_interval || it->interval[0] < it->interval[1]);
    require(!it->projects || !it->zero_star);
    require(it->n_conditions <= FM_MAX_GUIDANCE_CONDITIONS);
    for (size_t i = 0; i < it->n_conditions; i++) {
        check_labels(&it->conditions[i].label, 1, model);
        require(isfinite(it->conditions[i].scale));
    }
    for (size_t i = 1; i < it->schedule.n; i++) {
        require(it->schedule.t[i] > it->schedule.t[i - 1]);
    }
    check_labels(it->negative_labels, request->spec.n_rows, model);
    require(request->guide == FMP_NO_MODEL || request->guide < limits->n_models);
    require((request->classifier == FMP_NO_MODEL) == (it->classifier_labels == NULL));
    if (request->classifier != FMP_NO_MODEL) {
        require(request->classifier < limits->n_models);
        check_labels(it->classifier_labels, request->spec.n_rows,
                     limits->models[request->classifier]);
    }
}

static void check_pictures(const fmp_request *request, const fm_model_info *model)
{
    fmp_image image;
    bool is_png = request->encoding == FMP_ENCODING_PNG;
    require(!is_png || (request->spec.task == FM_TASK_SAMPLE && fmp_image_of(model, &image)));
    require((fmp_request_writer_bytes(request, model) > 0) == is_png);
}

static void check_request(const fmp_request *request, const fm_model_info *model,
                          const fmp_limits *limits)
{
    const fm_job_spec *spec = &request->spec;
    require(spec->n_rows >= 1 && spec->n_rows <= limits->max_samples);
    check_guidance(request, model, limits);
    require(request->timeout_ms >= 1 && request->timeout_ms <= limits->max_timeout_ms);
    check_labels(spec->labels, spec->n_rows, model);
    require(spec->draws == 0 || (spec->x != NULL && spec->n_rows % spec->draws == 0));
    size_t n_points = spec->draws == 0 ? spec->n_rows : spec->n_rows / spec->draws;
    for (size_t i = 0; spec->x != NULL && i < n_points * model->dimension; i++) {
        require(isfinite((float)spec->x[i]));
    }
    if (spec->task == FM_TASK_SAMPLE) {
        check_sample(request, model);
    } else {
        require(spec->x != NULL && spec->t != NULL && spec->fields != 0);
    }
    check_pictures(request, model);
    check_jobs(request);
    if (request->stages != NULL) {
        check_stages(request, model);
    }
    if (request->observation != NULL) {
        check_observation(request, model);
    }
    bool records = spec->output_every_step && fm_method_describe(spec->solver.method)->adaptive;
    require((fmp_request_recording_bytes(request, model) > 0) == records);
    require(fmp_request_answer_bytes(request, model) <= limits->max_answer_bytes);
}

/* Lower bytes than letters: digits are velocity, as the corpus has them. */
static fmp_api_route points_route(uint8_t byte)
{
    switch (byte & 0x30) {
    case 0x30:
        return FMP_API_VELOCITY;
    case 0x20:
        return FMP_API_ENCODE;
    case 0x10:
        return FMP_API_LOG_LIKELIHOOD;
    default:
        return (byte & 0x08) != 0 ? FMP_API_EDIT : FMP_API_INTERPOLATE;
    }
}

/* The first byte chooses model and route, the rest is the body: images with the highest bit. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const fm_model_info models[] = {proto_case_plain(), proto_case_labelled(),
                                    proto_case_without_null()};
    fmp_limits limits = proto_case_limits();
    fm_model_info image = proto_case_image();
    image.has_gradients = true;
    const fm_model_info *model = (data[0] & 0x80) != 0 ? &image : &models[data[0] % 3];
    const char *body = (const char *)data + 1;
    fmp_request request;
    fmp_problem problem;
    require(fmp_request_tree_bytes(body, size - 1) >= size);
    bool parsed = (data[0] & 0x40) != 0 /* upper-case letters and `: sample */
                      ? fmp_request_parse_sample(body, size - 1, model, &limits, FMP_ENCODING_JSON,
                                                 1, &request, &problem)
                      : fmp_request_parse_points(points_route(data[0]), body, size - 1, model,
                                                 &limits, 1, &request, &problem);
    if (parsed) {
        check_request(&request, model, &limits);
        fmp_request_done(&request);
    } else {
        check_problem(&problem);
    }
    return 0;
}
