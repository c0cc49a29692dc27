/* The same bytes in any mix: random requests of every kind, alone and all at once. */
#include "engine/fm.h"
#include "engine/model.h"
#include "tests/support/engine_case.h"
#include "tests/support/sanitizer.h"
#include "tests/unit/suites.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define N_MODELS   4
#define LABELLED   1
#define WEAK       3 /* guides the second; asked for nothing itself */
#define N_REQUESTS ((size_t)(TESTS_SANITIZED ? 72 : 200))
#define MAX_ROWS   40
#define MAX_STEPS  12

#define FEW_ROWS   3
#define FEW_PROBES 4
#define SMALL_TILE 64 /* most rows of a call when all requests run together */

static const char *const folders[N_MODELS] = {
    "tests/golden/mlp-moons-otcfm", "tests/golden/mlp-labels", "tests/golden/gaussian-mixture-2d",
    "tests/golden/guidance/mlp-labels-weak"};

static fm_model *models[N_MODELS];
static fm_engine *engine;

/* Calls are of the size that was measured, which has its memory, but of no more rows than `most`. */
static void open_models(size_t workers, size_t most)
{
    const fm_model_options options = {.workers = workers, .gradient_bytes = SIZE_MAX};
    for (size_t i = 0; i < N_MODELS; i++) {
        models[i] = engine_case_model_with(folders[i], &options);
        size_t measured = models[i]->tile_rows;
        models[i]->tile_rows = models[i]->info.tile_rows = measured < most ? measured : most;
    }
    engine = engine_case_engine(workers);
}

static void close_models(void)
{
    fm_engine_free(engine);
    for (size_t i = 0; i < N_MODELS; i++) {
        fm_model_unref(models[i]);
    }
}

/* ---- random requests ---- */

typedef struct random_request {
    fm_job_spec spec;
    double grid[MAX_STEPS + 1];
    double times[3];
    int32_t labels[MAX_ROWS];
    size_t which;    /* model, of those open when it is submitted */
    bool has_weaker; /* it guides with models[WEAK] */
    fm_operator forward;
    fm_inverse inverse;
    double operator_values[2], observations[2 * MAX_ROWS];
    float *alone; /* [n_rows][dimension] */
} random_request;

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static const fm_path *other_path(void)
{
    static fm_path path;
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_status status = fm_path_init(&path, fm_path_type_find("cosine"), none, NULL, 1, NULL);
    ck_assert_int_eq(status, FM_OK);
    return &path;
}

/* Half of those that can have one. Probes are more than a call has room for now and then, of few rows, for each is a
 * network row of every velocity. */
static void make_density(random_request *request, unsigned *state)
{
    request->spec.log_likelihood = next_random(state) % 2 == 0;
    request->spec.divergence = (fm_divergence){
        .method = next_random(state) % 2 == 0 ? FM_DIVERGENCE_EXACT : FM_DIVERGENCE_HUTCHINSON,
        .probe = next_random(state) % 2 == 0 ? FM_PROBE_RADEMACHER : FM_PROBE_GAUSSIAN,
        .n_probes = 1 + next_random(state) % FEW_PROBES};
    if (next_random(state) % 3 == 0) {
        request->spec.divergence.n_probes += SMALL_TILE;
        request->spec.n_rows = 1 + request->spec.n_rows % FEW_ROWS;
    }
}

/* Of every form now and then, those that densities cannot have only where there are none. */
static void make_guidance(random_request *request, unsigned *state)
{
    static const double scales[] = {0, 0.5, 1, 2.5};
    fm_guidance *guidance = &request->spec.guidance;
    guidance->scale = scales[next_random(state) % 4];
    guidance->has_interval = next_random(state) % 4 == 0;
    guidance->interval[0] = 0.25;
    guidance->interval[1] = 0.75;
    size_t most_conditions = request->spec.log_likelihood ? 2 : 8; /* a Jacobian of each */
    guidance->n_conditions =
        next_random(state) % 4 == 0 ? 1 + next_random(state) % most_conditions : 0;
    for (size_t i = 0; i < guidance->n_conditions; i++) {
        guidance->conditions[i] = (fm_guidance_condition){.label = (int32_t)i, .scale = 0.25};
    }
    if (request->spec.log_likelihood ||
        (request->spec.fields & FM_FIELD_BIT(FM_FIELD_LOG_DENSITY)) != 0) {
        return;
    }
    guidance->zero_star = next_random(state) % 4 == 0;
    guidance->rescale = next_random(state) % 4 == 0 ? 0.7 : 0;
    bool once = fm_method_takes_momentum(request->spec.solver.method) &&
                request->spec.fields == FM_FIELD_BIT(FM_FIELD_X);
    guidance->projects = !guidance->zero_star && (once || next_random(state) % 4 == 0);
    guidance->projection.momentum = once ? -0.5 : 0;
    request->has_weaker = guidance->n_conditions == 0 && next_random(state) % 4 == 0;
}

/* Of methods that solve an inverse problem, and of every other request whose states may be replaced. */
static void make_inverse(random_request *request, unsigned *state)
{
    fm_job_spec *spec = &request->spec;
    bool must = fm_method_needs_inverse(spec->solver.method);
    bool may = fm_method_takes_replacement(spec->solver.method) && !spec->log_likelihood;
    if (!must && (!may || next_random(state) % 2 != 0)) {
        return;
    }
    bool is_mask = next_random(state) % 2 == 0;
    request->operator_values[0] = is_mask ? 0 : 0.5;
    request->operator_values[1] = is_mask ? 1 : -2;
    for (size_t i = 0; i < 2 * MAX_ROWS; i++) {
        request->observations[i] = (double)(next_random(state) % 100) / 50 - 1;
    }
    const fm_operator_options options = {
        .rank = 1, .shape = {2}, .values = request->operator_values, .n_rows = 1};
    const fm_operator_type *type = fm_operator_type_find(is_mask ? "mask" : "matrix");
    ck_assert_int_eq(fm_operator_init(&request->forward, type, &options, NULL), FM_OK);
    bool shared = next_random(state) % 2 == 0;
    request->inverse = (fm_inverse){.forward = &request->forward,
                                    .observations = request->observations,
                                    .n_observations = shared ? 1 : spec->n_rows,
                                    .observation_std = next_random(state) % 2 == 0 ? 0 : 0.2,
                                    .replaces = !must,
                                    .guidance_scale = next_random(state) % 2 == 0 ? 0.5 : 0};
    spec->inverse = &request->inverse;
}

/* Methods for Euclidean states are the first of the table. */
static size_t method_count(void)
{
    size_t n = 0;
    while (n < fm_method_count() && fm_method_serves(fm_method_at(n), NULL)) {
        n++;
    }
    return n;
}

/* Method after method, all else by chance. */
static void make_request(random_request *request, size_t index, unsigned *state)
{
    memset(request, 0, sizeof *request);
    request->which = next_random(state) % WEAK;
    size_t steps = 1 + next_random(state) % MAX_STEPS;
    fm_grid_uniform(0, 1, steps, request->grid);
    double tolerance = next_random(state) % 2 == 0 ? 1e-2 : 1e-3;
    const fm_method *method = fm_method_at(index % method_count());
    request->spec = (fm_job_spec){
        .task = FM_TASK_SAMPLE,
        .n_rows = 1 + next_random(state) % MAX_ROWS,
        .seed = next_random(state),
        .guidance = {.scale = 1},
        .solver = {.method = method,
                   .n_grid = steps + 1,
                   .rtol = tolerance,
                   .atol = tolerance,
                   .sampling = FM_SAMPLING_DEFAULT,
                   .max_evaluations = 400},
    };
    request->spec.solver.sampling.churn = next_random(state) % 20;
    request->spec.path = next_random(state) % 3 == 0 ? other_path() : NULL;
    for (size_t i = 0; i < 3; i++) {
        request->times[i] = (double)(i + 1) / 3;
    }
    request->spec.n_output_times = next_random(state) % 2 == 0 ? 3 : 0;
    request->spec.fields = FM_FIELD_BIT(FM_FIELD_X) |
                           (next_random(state) % 2 == 0 ? FM_FIELD_BIT(FM_FIELD_X1_HAT) : 0);
    if (fm_method_takes_density(method)) {
        make_density(request, state);
    }
    for (size_t i = 0; i < request->spec.n_rows; i++) {
        request->labels[i] = (int32_t)(next_random(state) % 9);
    }
    if (request->which == LABELLED) {
        make_guidance(request, state);
    }
    make_inverse(request, state);
}

/* ---- what they must be, some of them ---- */

static const char *const kinds[] = {
    "moons",
    "labels",
    "mixture",
    "another path",
    "outputs",
    "data predictions",
    "an exact divergence",
    "Rademacher probes",
    "Gaussian probes",
    "more probes than a call",
    "scale",
    "interval",
    "conditions",
    "zero_star",
    "rescale",
    "projection",
    "momentum",
    "a weaker model",
    "a guided density",
    "mask",
    "matrix",
    "replacement",
    "an observation's gradient",
    "one observation",
    "an observation each",
};
#define N_KINDS (sizeof kinds / sizeof *kinds)

/* In the order of their names. */
static void note_kinds(const random_request *request, bool seen[N_KINDS])
{
    const fm_job_spec *spec = &request->spec;
    const fm_guidance *guidance = &spec->guidance;
    const fm_inverse *inverse = &request->inverse;
    const bool observed = spec->inverse != NULL, density = spec->log_likelihood;
    const bool probed = density && spec->divergence.method == FM_DIVERGENCE_HUTCHINSON;
    const bool is_mask = observed && request->forward.type == fm_operator_type_find("mask");
    const bool has[] = {
        request->which == 0,
        request->which == LABELLED,
        request->which == 2,
        spec->path != NULL,
        spec->n_output_times > 0,
        spec->n_output_times > 0 && (spec->fields & FM_FIELD_BIT(FM_FIELD_X1_HAT)) != 0,
        density && !probed,
        probed && spec->divergence.probe == FM_PROBE_RADEMACHER,
        probed && spec->divergence.probe == FM_PROBE_GAUSSIAN,
        probed && spec->divergence.n_probes > SMALL_TILE,
        guidance->scale > 1,
        guidance->has_interval,
        guidance->n_conditions > 0,
        guidance->zero_star,
        guidance->rescale > 0,
        guidance->projects,
        guidance->projects && guidance->projection.momentum < 0,
        request->has_weaker,
        density && guidance->scale > 1,
        is_mask,
        observed && !is_mask,
        observed && inverse->replaces,
        observed && inverse->guidance_scale > 0,
        observed && inverse->n_observations == 1,
        observed && inverse->n_observations > 1,
    };
    static_assert(sizeof has / sizeof *has == N_KINDS, "a name for each");
    for (size_t i = 0; i < N_KINDS; i++) {
        seen[i] = seen[i] || has[i];
    }
}

static void check_kinds(const bool seen[N_KINDS])
{
    ck_assert_uint_ge(N_REQUESTS, method_count());
    for (size_t i = 0; i < N_KINDS; i++) {
        ck_assert_msg(seen[i], "no request has %s", kinds[i]);
    }
}

/* ---- alone and together ---- */

static fm_job *submit(random_request *request)
{
    fm_error err;
    fm_job *job = NULL;
    request->spec.model = models[request->which];
    request->spec.guidance.model = request->has_weaker ? models[WEAK] : NULL;
    request->spec.solver.grid = request->grid;
    request->spec.output_times = request->times;
    request->spec.labels = request->which == LABELLED ? request->labels : NULL;
    request->spec.context = request;
    ck_assert_msg(fm_engine_submit(engine, &request->spec, &job, &err) == FM_OK, "%s", err.text);
    return job;
}

#define DENSITY_FLOATS (2 * sizeof(double) / sizeof(float))

/* Samples, then trajectories and their fields, then log likelihoods and their errors, as one array. */
static size_t result_count(const random_request *request)
{
    size_t dimension = models[request->which]->config.dimension;
    size_t states = dimension * (1 + 2 * request->spec.n_output_times);
    return request->spec.n_rows * (states + DENSITY_FLOATS);
}

static float *copy_results(const random_request *request, const fm_job *job)
{
    size_t dimension = models[request->which]->config.dimension;
    size_t n = request->spec.n_output_times * dimension;
    float *copy = calloc(result_count(request), sizeof *copy);
    float *to = copy;
    for (size_t row = 0; row < request->spec.n_rows; row++) {
        fm_row_result result;
        fm_job_row(job, row, &result);
        ck_assert_int_ne(result.status, FM_ROW_UNFINISHED);
        memcpy(to, result.x, dimension * sizeof *to);
        if (n > 0) {
            memcpy(to + dimension, result.fields[FM_FIELD_X], n * sizeof *to);
        }
        if (n > 0 && result.fields[FM_FIELD_X1_HAT] != NULL) {
            memcpy(to + dimension + n, result.fields[FM_FIELD_X1_HAT], n * sizeof *to);
        }
        to += dimension + 2 * n;
        const double density[] = {result.log_likelihood, result.standard_error};
        memcpy(to, density, sizeof density);
        to += DENSITY_FLOATS;
    }
    return copy;
}

static void run_alone(random_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fm_job *job = submit(&requests[i]);
        ck_assert_ptr_eq(fm_engine_wait(engine), job);
        requests[i].alone = copy_results(&requests[i], job);
        fm_job_free(job);
    }
}

static void shuffle(size_t *order, size_t count, unsigned *state)
{
    for (size_t i = 0; i < count; i++) {
        size_t j = next_random(state) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

static void compare_next(void)
{
    fm_job *job = fm_engine_wait(engine);
    const random_request *request = fm_job_context(job);
    if (fm_job_status(job) == FM_OK) {
        float *together = copy_results(request, job);
        ck_assert_mem_eq(together, request->alone, result_count(request) * sizeof(float));
        free(together);
    }
    fm_job_free(job);
}

/* All at once in random order; every fifth has a twin beside it that is cancelled. */
static void run_together(random_request *requests, size_t count, unsigned *state)
{
    size_t order[N_REQUESTS];
    size_t submitted = 0;
    shuffle(order, count, state);
    for (size_t i = 0; i < count; i++, submitted++) {
        (void)submit(&requests[order[i]]);
        if (i % 5 == 0) {
            fm_engine_cancel(engine, submit(&requests[order[(i + 7) % count]]));
            submitted++;
        }
    }
    while (submitted-- > 0) {
        compare_next();
    }
}

START_TEST(same_request_gives_same_bytes_in_any_mix)
{
    static random_request requests[N_REQUESTS];
    bool seen[N_KINDS] = {false};
    unsigned state = 20261123u + (unsigned)_i;
    size_t workers = (size_t)_i;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        make_request(&requests[i], i, &state);
        note_kinds(&requests[i], seen);
    }
    check_kinds(seen);
    open_models(1, SIZE_MAX);
    run_alone(requests, N_REQUESTS);
    close_models();
    open_models(workers, SMALL_TILE);
    run_together(requests, N_REQUESTS, &state);
    fm_engine_stats stats;
    fm_engine_statistics(engine, &stats);
    ck_assert_uint_eq(stats.rows_in_flight, 0);
    ck_assert_uint_eq(stats.rows_waiting, 0);
    close_models();
    for (size_t i = 0; i < N_REQUESTS; i++) {
        free(requests[i].alone);
    }
}
END_TEST

Suite *suite_engine_mix(void)
{
    Suite *suite = suite_create("engine/mix");
    TCase *tcase = tcase_create("mix");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, same_request_gives_same_bytes_in_any_mix, 1, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
