/* The method table and what all trajectories do alike; the rest is behind the row's stepper. */
#include "engine/solve/solve.h"

#include "engine/memory.h"
#include "engine/solve/diffusion.h"
#include "engine/solve/method.h"
#include "engine/solve/vector.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#define MEASURE_VECTORS 2

static const fm_method methods[] = {
#define FM_METHOD(name, title, order, cost, adaptive, stochastic, spaces, tableau, stepper)        \
    {{name, title, order, cost, adaptive, stochastic, spaces}, tableau, stepper},
#include "engine/solve/method.def"
#undef FM_METHOD
};

size_t fm_method_count(void)
{
    return sizeof methods / sizeof methods[0];
}

const fm_method *fm_method_at(size_t index)
{
    assert(index < fm_method_count());
    return &methods[index];
}

const fm_method *fm_method_find(const char *name)
{
    for (size_t i = 0; i < fm_method_count(); i++) {
        if (strcmp(methods[i].info.name, name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

const fm_method_info *fm_method_describe(const fm_method *method)
{
    return &method->info;
}

const char *fm_method_options(const fm_method *method)
{
    return method->stepper->options != NULL ? method->stepper->options : "";
}

static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == words || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

bool fm_method_serves(const fm_method *method, const fm_space *space)
{
    const char *kind = space == NULL || space->is_flat ? "euclidean" : "manifolds";
    for (size_t i = 0; space != NULL && i < space->n_parts; i++) {
        kind = space->parts[i].id == FM_SPACE_TOKENS ? "tokens" : kind;
    }
    bool jumps = space != NULL && space->bins.n > 0;
    return has_word(method->info.spaces, kind) || (jumps && fm_method_jumps(method));
}

bool fm_method_jumps(const fm_method *method)
{
    return has_word(method->info.spaces, "jumps");
}

bool fm_method_needs_path(const fm_method *method)
{
    return method->stepper->needs_path;
}

bool fm_method_takes_density(const fm_method *method)
{
    return !method->stepper->needs_path && !method->info.stochastic;
}

bool fm_method_takes_momentum(const fm_method *method)
{
    return !method->info.adaptive && method->info.evaluations_per_step <= 1.0;
}

bool fm_method_uses_score(const fm_method *method)
{
    return method->stepper->uses_score;
}

bool fm_method_needs_inverse(const fm_method *method)
{
    return method->stepper->needs_inverse;
}

bool fm_method_takes_replacement(const fm_method *method)
{
    return method->stepper->forgets;
}

const char *fm_row_status_name(fm_row_status status)
{
    switch (status) {
    case FM_ROW_OK:
        return "ok";
    case FM_ROW_MAX_EVALUATIONS:
        return "max_evaluations";
    case FM_ROW_NON_FINITE:
        return "non_finite";
    case FM_ROW_UNFINISHED:
        return "unfinished";
    }
    return "unknown";
}

static fm_status check_grid(const fm_solver *solver, fm_error *err)
{
    if (solver->grid == NULL || solver->n_grid < 2) {
        return fm_fail(err, FM_EINVAL, "solver.grid must have at least two times");
    }
    const double *grid = solver->grid;
    bool ascends = grid[1] > grid[0];
    for (size_t i = 0; i < solver->n_grid; i++) {
        if (!isfinite(grid[i])) {
            return fm_fail(err, FM_EINVAL, "solver.grid must be finite; entry %zu is not", i);
        }
        if (i > 0 && (grid[i] == grid[i - 1] || (grid[i] > grid[i - 1]) != ascends)) {
            return fm_fail(err, FM_EINVAL,
                           "solver.grid must be strictly monotone; entry %zu breaks it", i);
        }
    }
    return FM_OK;
}

static fm_status check_tolerances(const fm_solver *solver, fm_error *err)
{
    if (!(solver->rtol >= 0) || !isfinite(solver->rtol)) {
        return fm_fail(err, FM_EINVAL, "solver.rtol must be finite and not negative");
    }
    if (!(solver->atol >= 0) || !isfinite(solver->atol)) {
        return fm_fail(err, FM_EINVAL, "solver.atol must be finite and not negative");
    }
    if (solver->rtol == 0 && solver->atol == 0) {
        return fm_fail(err, FM_EINVAL, "solver.rtol and solver.atol must not both be zero");
    }
    if (!(solver->first_step >= 0) || !isfinite(solver->first_step)) {
        return fm_fail(err, FM_EINVAL, "solver.first_step must be finite and not negative");
    }
    return FM_OK;
}

static fm_status check_sampler(const fm_solve_plan *plan, fm_error *err)
{
    const fm_solver *solver = &plan->solver;
    const char *name = solver->method->info.name;
    if (plan->path == NULL) {
        return fm_fail(err, FM_EINVAL, "path must be set for %s", name);
    }
    double first = solver->grid[0], last = solver->grid[solver->n_grid - 1];
    if (fmin(first, last) < 0 || fmax(first, last) > 1) {
        return fm_fail(err, FM_EINVAL, "solver.grid must lie within [0, 1] for %s", name);
    }
    if (solver->method->stepper->ascends && last < first) {
        return fm_fail(err, FM_EINVAL, "solver.grid must ascend for %s", name);
    }
    return fm_sampling_check(&solver->sampling, err);
}

static fm_status check_outputs(const fm_solve_plan *plan, fm_error *err)
{
    size_t n = plan->n_output_times;
    if ((n > 0 || plan->output_every_step) && plan->output == NULL) {
        return fm_fail(err, FM_EINVAL, "output must be set when outputs are asked for");
    }
    if (n > 0 && plan->output_every_step) {
        return fm_fail(err, FM_EINVAL, "output_every_step must not go with output_times");
    }
    if (n > 0 && plan->output_times == NULL) {
        return fm_fail(err, FM_EINVAL, "output_times must be set when n_output_times is not zero");
    }
    double previous = plan->solver.grid[0];
    double last = plan->solver.grid[plan->solver.n_grid - 1];
    double direction = last > previous ? 1 : -1;
    for (size_t i = 0; i < n; i++) {
        double time = plan->output_times[i];
        if (!((time - previous) * direction >= 0) || !((last - time) * direction >= 0)) {
            return fm_fail(
                err, FM_EINVAL,
                "output_times must run along the grid, within its span; entry %zu does not", i);
        }
        previous = time;
    }
    return FM_OK;
}

/* A method that reuses a velocity of the step before would go on from a state that is no longer there; an adaptive one
 * takes the change for its own error; and the state of one that solves an inverse problem is not of the flow. */
static fm_status check_after_step(const fm_solve_plan *plan, fm_error *err)
{
    const fm_stepper *stepper = plan->solver.method->stepper;
    const char *name = plan->solver.method->info.name;
    if (plan->after_step == NULL) {
        return FM_OK;
    }
    if (plan->solver.method->info.adaptive) {
        return fm_fail(err, FM_EINVAL,
                       "after_step must not go with %s: its step control takes changes for errors",
                       name);
    }
    if (stepper->needs_inverse) {
        return fm_fail(err, FM_EINVAL,
                       "after_step must not go with %s: its state is not one of the flow", name);
    }
    if (!stepper->forgets) {
        return fm_fail(err, FM_EINVAL,
                       "after_step must not go with %s: it uses velocities of earlier steps again",
                       name);
    }
    return FM_OK;
}

static fm_status check_inverse(const fm_solve_plan *plan, fm_error *err)
{
    const char *name = plan->solver.method->info.name;
    if (!plan->solver.method->stepper->needs_inverse) {
        return FM_OK;
    }
    if (plan->inverse == NULL || plan->inverse->forward == NULL ||
        plan->inverse->forward->dimension != plan->dimension) {
        return fm_fail(err, FM_EINVAL, "inverse must be set for %s, with an operator on its states",
                       name);
    }
    return FM_OK;
}

static fm_status check_space(const fm_solve_plan *plan, fm_error *err)
{
    const fm_method *method = plan->solver.method;
    const fm_space *space = plan->space;
    if (!fm_method_serves(method, space)) {
        bool is_flat = space == NULL || space->is_flat;
        return fm_fail(err, FM_EINVAL, "solver.method %s is not made for %s", method->info.name,
                       is_flat && fm_method_jumps(method) ? "flows that do not jump"
                       : space == NULL                    ? fm_space_name(FM_SPACE_EUCLIDEAN)
                       : space->is_product                ? "products"
                                                          : fm_space_name(space->parts[0].id));
    }
    if (plan->measures_path && space != NULL && !space->is_flat) {
        return fm_fail(err, FM_EINVAL, "measures_path must not go with a space that is not flat");
    }
    return method->stepper->check != NULL ? method->stepper->check(plan, err) : FM_OK;
}

/* How a trajectory runs is measured of the flow's. */
static fm_status check_measures(const fm_solve_plan *plan, fm_error *err)
{
    bool is_flow = plan->after_step == NULL && !plan->solver.method->stepper->needs_inverse;
    if (plan->measures_path && !is_flow) {
        return fm_fail(err, FM_EINVAL,
                       "measures_path must not go with after_step or a method for an inverse");
    }
    return FM_OK;
}

fm_status fm_solve_check(const fm_solve_plan *plan, fm_error *err)
{
    const fm_solver *solver = &plan->solver;
    if (solver->method == NULL) {
        return fm_fail(err, FM_EINVAL, "solver.method must be set");
    }
    if (plan->dimension == 0) {
        return fm_fail(err, FM_EINVAL, "dimension must be at least 1");
    }
    if (solver->max_evaluations == 0) {
        return fm_fail(err, FM_EINVAL, "solver.max_evaluations must be at least 1");
    }
    fm_status status = check_grid(solver, err);
    if (status == FM_OK && solver->method->info.adaptive) {
        status = check_tolerances(solver, err);
    }
    if (status == FM_OK && solver->method->stepper->needs_path) {
        status = check_sampler(plan, err);
    }
    status = status == FM_OK ? check_outputs(plan, err) : status;
    status = status == FM_OK ? check_after_step(plan, err) : status;
    status = status == FM_OK ? check_inverse(plan, err) : status;
    status = status == FM_OK ? check_measures(plan, err) : status;
    return status == FM_OK ? check_space(plan, err) : status;
}

double fm_solve_slack(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    double first = fabs(solver->grid[0]);
    double last = fabs(solver->grid[solver->n_grid - 1]);
    return 8 * DBL_EPSILON * fmax(first, last);
}

/* The parts of a trajectory's memory, each a multiple of FM_ALIGNMENT. */
typedef struct layout {
    size_t solve_bytes, own_bytes, vector_bytes, n_vectors, numbers_bytes;
} layout;

static bool lay_out(const fm_solve_plan *plan, layout *ret)
{
    const fm_stepper *stepper = plan->solver.method->stepper;
    size_t vector_bytes, numbers_bytes = 0;
    if (!fm_multiply(plan->dimension, sizeof(double), &vector_bytes) ||
        vector_bytes > SIZE_MAX - FM_ALIGNMENT ||
        (stepper->numbers != NULL &&
         !fm_multiply(stepper->numbers(plan), sizeof(double), &numbers_bytes)) ||
        numbers_bytes > SIZE_MAX / 2) {
        return false;
    }
    ret->numbers_bytes = fm_arena_round(numbers_bytes);
    ret->solve_bytes = fm_arena_round(sizeof(fm_solve) + sizeof(fm_measure));
    ret->own_bytes = fm_arena_round(stepper->own_bytes());
    ret->vector_bytes = fm_arena_round(vector_bytes);
    ret->n_vectors = 1 + stepper->vectors(plan) + (plan->measures_path ? MEASURE_VECTORS : 0) +
                     plan->gives_score;
    return true;
}

size_t fm_solve_size_bytes(const fm_solve_plan *plan)
{
    layout parts;
    size_t vectors_bytes;
    if (!lay_out(plan, &parts) ||
        !fm_multiply(parts.n_vectors, parts.vector_bytes, &vectors_bytes)) {
        return SIZE_MAX;
    }
    size_t head_bytes = parts.solve_bytes + parts.own_bytes + parts.numbers_bytes;
    return vectors_bytes > SIZE_MAX - head_bytes ? SIZE_MAX : head_bytes + vectors_bytes;
}

fm_solve *fm_solve_init(void *memory, const fm_solve_plan *plan, uint64_t sample, const double *x0,
                        void *context)
{
    layout parts;
    bool fits = lay_out(plan, &parts);
    assert(fits && (uintptr_t)memory % FM_ALIGNMENT == 0);
    unsigned char *bytes = memory;
    fm_solve *solve = memory;
    unsigned char *vectors = bytes + parts.solve_bytes + parts.own_bytes;
    const fm_solver *solver = &plan->solver;
    *solve = (fm_solve){
        .plan = plan,
        .method = solver->method,
        .own = bytes + parts.solve_bytes,
        .context = context,
        .sample = sample,
        .t = solver->grid[0],
        .last = solver->grid[solver->n_grid - 1],
        .x = (double *)(void *)vectors,
        .dimension = plan->dimension,
        .stride = parts.vector_bytes / sizeof(double),
        .slack = fm_solve_slack(plan),
        .status = FM_ROW_UNFINISHED,
    };
    memcpy(solve->x, x0, plan->dimension * sizeof(double));
    if (!fm_vector_finite(solve->dimension, solve->x)) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return solve;
    }
    fm_output_at(solve, solve->t, solve->x);
    double *free_vectors = solve->x + solve->stride;
    if (plan->gives_score) {
        solve->score = free_vectors;
        free_vectors += solve->stride;
    }
    if (plan->measures_path) {
        solve->measure = (fm_measure *)(void *)(solve + 1);
        fm_measure_start(solve, free_vectors);
        free_vectors += MEASURE_VECTORS * solve->stride;
    }
    solve->method->stepper->start(solve, free_vectors);
    return solve;
}

size_t fm_solve_velocities(const fm_solve_plan *plan)
{
    return plan->n_velocity > 0 ? plan->n_velocity : plan->dimension;
}

bool fm_solve_accepts(fm_solve *solve, size_t index, double t, double *x)
{
    const fm_solve_plan *plan = solve->plan;
    if (!fm_vector_finite(solve->dimension, x)) {
        return false;
    }
    if (plan->after_step == NULL) {
        return true;
    }
    plan->after_step(solve->context, index, t, x);
    return fm_vector_finite(solve->dimension, x);
}

bool fm_solve_next(fm_solve *solve, fm_solve_want *ret)
{
    if (solve->ended) {
        return false;
    }
    *ret = solve->want;
    return true;
}

static bool is_at_state(const fm_solve *solve, const fm_solve_want *want)
{
    return want->x == solve->x && want->t == solve->t;
}

static void advance(fm_solve *solve)
{
    const fm_solve_want given = solve->want;
    bool before = is_at_state(solve, &given);
    if (solve->measure != NULL && before) {
        fm_measure_slope(solve, given.v);
    }
    solve->method->stepper->advance(solve);
    /* The last look of an adaptive step that has just been accepted is the first of the next. */
    if (solve->measure != NULL && !before && solve->method->info.adaptive &&
        is_at_state(solve, &given)) {
        fm_measure_slope(solve, given.v);
    }
}

void fm_solve_give(fm_solve *solve)
{
    assert(!solve->ended);
    solve->evaluations++;
    if (!fm_vector_finite(fm_solve_velocities(solve->plan), solve->want.v) ||
        (solve->score != NULL && !fm_vector_finite(solve->dimension, solve->score))) {
        fm_solve_end(solve, FM_ROW_NON_FINITE);
        return;
    }
    advance(solve);
    if (!solve->ended && solve->evaluations == solve->plan->solver.max_evaluations) {
        fm_solve_end(solve, FM_ROW_MAX_EVALUATIONS);
    }
}

void fm_solve_describe(const fm_solve *solve, fm_solve_report *ret)
{
    *ret = (fm_solve_report){
        .status = solve->status,
        .t = solve->t,
        .x = solve->x,
        .evaluations = solve->evaluations,
        .accepted = solve->accepted,
        .rejected = solve->rejected,
    };
    if (solve->measure != NULL && solve->ended) {
        ret->shape = fm_measure_end(solve);
    }
}

double fm_solve_expected_evaluations(const fm_solve_plan *plan)
{
    double expected = plan->solver.method->stepper->expected(plan);
    return fmin(expected, (double)plan->solver.max_evaluations);
}

double fm_solve_integral_share(const fm_solve_plan *plan)
{
    const fm_tableau *tableau = plan->solver.method->tableau;
    if (tableau == NULL) {
        return 1;
    }
    size_t first = tableau->error != NULL ? 1 : 0; /* a pair's first slope is of the step before */
    size_t wanted = 0;
    for (size_t i = first; i < tableau->stages; i++) {
        wanted += fm_tableau_integrates(tableau, i, plan->n_output_times > 0);
    }
    return (double)wanted / (double)(tableau->stages - first);
}
