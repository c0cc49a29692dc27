/* The solver: method, tolerances and the grid of times. */
#include "proto/number.h"
#include "proto/observation.h"
#include "proto/solver_options.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define BASE_METHOD          "midpoint"
#define DENSITY_METHOD       "dopri5"
#define RETURN_METHOD        "dopri8" /* where what is made of points must lead back to them */
#define PNP_METHOD           "pnp_flow"
#define TOKEN_METHOD         "ctmc_euler"
#define BASE_STEPS           50
#define BASE_TOLERANCE       1e-5
#define BASE_MAX_EVALUATIONS 10000

static double number_or(const fmp_parse *parse, fmp_field_id field, double fallback)
{
    json_t *value = parse->values[field];
    return value != NULL ? json_number_value(value) : fallback;
}

/* A positive integer, for its row says so. */
static uint64_t count_or(const fmp_parse *parse, fmp_field_id field, uint64_t fallback)
{
    int64_t count = 0;
    json_t *value = parse->values[field];
    return value != NULL && fmp_parse_integer(value, &count) ? (uint64_t)count : fallback;
}

/* A number between fixed texts, for rules that name the model's times. */
typedef struct number_text {
    char text[FMP_NUMBER_MAX_BYTES + 1];
} number_text;

static number_text text_of(double value)
{
    number_text ret;
    ret.text[fmp_number_write_double(ret.text, value)] = '\0';
    return ret;
}

/* Whether the request itself, not the model's defaults, has the field. */
static bool asked(const fmp_parse *parse, fmp_field_id field)
{
    return parse->present[field] && !parse->from_defaults[field];
}

static void refuse(fmp_parse *parse, fmp_field_id field, const char *rule)
{
    if (asked(parse, field)) {
        fmp_parse_fail(parse, field, "%s", rule);
    }
}

/* What a method does not use is refused where the request asks for it, for it would pass silently. */
static void refuse_unused(fmp_parse *parse, bool adaptive)
{
    if (adaptive) {
        const char *rule = "is for methods with a fixed step; adaptive ones choose their steps (a "
                           "time_grid's first and last time give the interval)";
        refuse(parse, FMP_FIELD_SOLVER_STEPS, rule);
        refuse(parse, FMP_FIELD_SOLVER_STEP_SIZE, rule);
        refuse(parse, FMP_FIELD_SOLVER_SCHEDULE, rule);
        return;
    }
    const char *rule = "is for adaptive methods";
    refuse(parse, FMP_FIELD_SOLVER_RTOL, rule);
    refuse(parse, FMP_FIELD_SOLVER_ATOL, rule);
    refuse(parse, FMP_FIELD_SOLVER_FIRST_STEP, rule);
}

static void check_one_grid_key(fmp_parse *parse)
{
    static const fmp_field_id keys[] = {FMP_FIELD_SOLVER_STEPS, FMP_FIELD_SOLVER_STEP_SIZE,
                                        FMP_FIELD_SOLVER_TIME_GRID, FMP_FIELD_SOLVER_SCHEDULE};
    size_t n_present = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        n_present += parse->present[keys[i]];
    }
    if (n_present > 1) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER,
                       "must have one of steps, step_size, time_grid and schedule at most");
    }
}

static void set_grid(fmp_parse *parse, double *grid, size_t n_grid)
{
    parse->request->grid = grid;
    parse->request->spec.solver.grid = grid;
    parse->request->spec.solver.n_grid = n_grid;
}

/* A grid starts at the source, where noise can be drawn, unless the request brings the states there. */
static void check_start(fmp_parse *parse)
{
    const double *grid = parse->request->spec.solver.grid;
    double source = parse->source;
    bool is_given = parse->present[FMP_FIELD_X0] || parse->present[FMP_FIELD_START];
    if (grid == NULL || is_given || parse->defaults_only || parse->route != FMP_API_SAMPLE) {
        return;
    }
    if (fabs(grid[0] - source) > FMP_SOURCE_MARGIN) {
        fmp_parse_fail(parse, FMP_FIELD_X0,
                       "must be given when the grid starts at t = %s, away from the source at %s",
                       text_of(grid[0]).text, text_of(source).text);
    }
}

static double earliest(const fm_solver *solver)
{
    return fmin(solver->grid[0], solver->grid[solver->n_grid - 1]);
}

static double latest(const fm_solver *solver)
{
    return fmax(solver->grid[0], solver->grid[solver->n_grid - 1]);
}

/* Methods that know the path have none beyond its ends; flows through several marginals go there. */
static void check_within_path(fmp_parse *parse)
{
    const fm_solver *solver = &parse->request->spec.solver;
    if (solver->grid != NULL && fm_method_needs_path(solver->method) &&
        (earliest(solver) < 0 || latest(solver) > 1)) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD, "%s needs a grid within 0 to 1",
                       fm_method_describe(solver->method)->name);
    }
}

/* Stochastic methods need the score; those that build the noise in anew need noise and data to be independent. */
static void check_coupling(fmp_parse *parse)
{
    const fm_method *method = parse->request->spec.solver.method;
    bool uses_score = fm_method_uses_score(method);
    if (!fm_method_describe(method)->stochastic || !parse->model->paired ||
        (uses_score && parse->model->has_score)) {
        return;
    }
    fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                   "%s needs %s: its noise and data were paired in training",
                   fm_method_describe(method)->name,
                   uses_score ? "the score, which is not known of this model"
                              : "independent noise, which this model has not");
}

/* Samplers and stochastic methods go from noise to data alone. */
static void check_direction(fmp_parse *parse)
{
    const fm_method *method = parse->request->spec.solver.method;
    bool goes_back = fmp_parse_descends(parse) || fmp_parse_encodes(parse);
    if (goes_back && !fm_method_takes_density(method)) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "must integrate the velocity alone, from data to the source; %s does not",
                       fm_method_describe(method)->name);
    }
}

static void check_space(fmp_parse *parse)
{
    const fm_method *method = parse->request->spec.solver.method;
    if (!fm_method_serves(method, parse->model->geometry)) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_METHOD,
                       "%s is not a method for %s: see GET /v1/solvers",
                       fm_method_describe(method)->name, parse->model->space);
    }
}

/* Jumps are those of the model's own path, and nothing moves them with the velocity. */
static void check_jumps(fmp_parse *parse)
{
    static const fmp_field_id others[] = {FMP_FIELD_SCHEDULER, FMP_FIELD_GUIDANCE,
                                          FMP_FIELD_OBSERVATION};
    const fm_method *method = parse->request->spec.solver.method;
    for (size_t i = 0; i < sizeof others / sizeof *others && fm_method_jumps(method); i++) {
        if (parse->present[others[i]] && !parse->from_defaults[others[i]]) {
            fmp_parse_fail(parse, others[i], "is not for %s", fm_method_describe(method)->name);
        }
    }
}

static void read_time_grid(fmp_parse *parse, bool adaptive)
{
    const double *range = parse->span;
    size_t n = fmp_parse_count(parse, FMP_FIELD_SOLVER_TIME_GRID);
    double first = fmp_parse_number_at(parse, FMP_FIELD_SOLVER_TIME_GRID, 0);
    double last = fmp_parse_number_at(parse, FMP_FIELD_SOLVER_TIME_GRID, n - 1);
    json_t *start = parse->values[FMP_FIELD_START_T];
    if (start != NULL && first != json_number_value(start)) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_TIME_GRID, "must begin at start.t");
        return;
    }
    if (fmin(first, last) < range[0] || fmax(first, last) > range[1]) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_TIME_GRID, "must lie within the model's %s to %s",
                       text_of(range[0]).text, text_of(range[1]).text);
        return;
    }
    size_t n_grid = adaptive ? 2 : n;
    double *grid = fmp_parse_alloc(parse, n_grid, sizeof *grid);
    if (grid == NULL) {
        return;
    }
    for (size_t i = 0; i < n_grid; i++) {
        grid[i] = fmp_parse_number_at(parse, FMP_FIELD_SOLVER_TIME_GRID, i);
    }
    grid[n_grid - 1] = last;
    set_grid(parse, grid, n_grid);
}

/* Of the span, in the grid's direction. */
static void ends(const fmp_parse *parse, double *ret_first, double *ret_last)
{
    bool descends = fmp_parse_descends(parse);
    *ret_first = parse->span[descends ? 1 : 0];
    *ret_last = parse->span[descends ? 0 : 1];
}

/* Schedules are made ascending. */
static void turn(double *grid, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        double kept = grid[i];
        grid[i] = grid[n - 1 - i];
        grid[n - 1 - i] = kept;
    }
}

static void make_step_size_grid(fmp_parse *parse, double step_size)
{
    const double *range = parse->span;
    double first = 0, last = 0;
    ends(parse, &first, &last);
    /* Compared as floating point first: a tiny step would overflow the count. */
    bool too_many = (range[1] - range[0]) / step_size > (double)parse->limits->max_steps + 1;
    size_t n_steps = too_many ? 0 : fm_grid_steps(range[0], range[1], step_size);
    if (too_many || n_steps > parse->limits->max_steps) {
        double least = (range[1] - range[0]) / (double)parse->limits->max_steps;
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_STEP_SIZE,
                       "must be at least %s, which makes %zu steps, the most allowed",
                       text_of(least).text, parse->limits->max_steps);
        return;
    }
    double *grid = fmp_parse_alloc(parse, n_steps + 1, sizeof *grid);
    if (grid != NULL) {
        fm_grid_step_size(first, last, step_size, grid);
        set_grid(parse, grid, n_steps + 1);
    }
}

static void make_uniform_grid(fmp_parse *parse, size_t n_steps)
{
    double first = 0, last = 0;
    ends(parse, &first, &last);
    double *grid = fmp_parse_alloc(parse, n_steps + 1, sizeof *grid);
    if (grid != NULL) {
        fm_grid_uniform(first, last, n_steps, grid);
        set_grid(parse, grid, n_steps + 1);
    }
}

static void read_grid(fmp_parse *parse, bool adaptive)
{
    fmp_request *request = parse->request;
    if (parse->present[FMP_FIELD_SOLVER_TIME_GRID]) {
        if (parse->values[FMP_FIELD_SOLVER_TIME_GRID] != NULL) {
            read_time_grid(parse, adaptive);
        }
        return;
    }
    if (adaptive) {
        make_uniform_grid(parse, 1); /* the interval */
        return;
    }
    if (parse->present[FMP_FIELD_SOLVER_SCHEDULE]) {
        if (parse->values[FMP_FIELD_SOLVER_SCHEDULE] != NULL) {
            double *grid = fmp_parse_schedule(parse);
            size_t n_grid = grid == NULL ? 0 : request->schedule.n_steps + 1;
            if (fmp_parse_descends(parse)) {
                turn(grid, n_grid);
            }
            set_grid(parse, grid, n_grid);
        }
        return;
    }
    if (parse->present[FMP_FIELD_SOLVER_STEP_SIZE]) {
        if (parse->values[FMP_FIELD_SOLVER_STEP_SIZE] != NULL) {
            make_step_size_grid(parse, number_or(parse, FMP_FIELD_SOLVER_STEP_SIZE, 0));
        }
        return;
    }
    size_t base = BASE_STEPS < parse->limits->max_steps ? BASE_STEPS : parse->limits->max_steps;
    request->n_steps = (size_t)count_or(parse, FMP_FIELD_SOLVER_STEPS, base);
    request->grid_from_steps = true;
    make_uniform_grid(parse, request->n_steps);
}

static const char *base_method(const fmp_parse *parse)
{
    const fmp_observation *observation = parse->request->observation;
    if (observation != NULL) {
        bool is_pnp = observation->method == FMP_OBSERVATION_PNP_FLOW;
        return is_pnp ? PNP_METHOD : BASE_METHOD;
    }
    if (parse->model->has_tokens) {
        return TOKEN_METHOD;
    }
    if (parse->route == FMP_API_SAMPLE) {
        return BASE_METHOD;
    }
    return parse->route == FMP_API_LOG_LIKELIHOOD ? DENSITY_METHOD : RETURN_METHOD;
}

void fmp_parse_solver(fmp_parse *parse)
{
    fm_solver *solver = &parse->request->spec.solver;
    json_t *name = parse->values[FMP_FIELD_SOLVER_METHOD];
    if (parse->present[FMP_FIELD_SOLVER_METHOD] && name == NULL) {
        return; /* refused; what else is right depends on it */
    }
    solver->method = fm_method_find(name != NULL ? json_string_value(name) : base_method(parse));
    assert(solver->method != NULL);
    bool adaptive = fm_method_describe(solver->method)->adaptive;
    solver->rtol = number_or(parse, FMP_FIELD_SOLVER_RTOL, BASE_TOLERANCE);
    solver->atol = number_or(parse, FMP_FIELD_SOLVER_ATOL, BASE_TOLERANCE);
    solver->first_step = number_or(parse, FMP_FIELD_SOLVER_FIRST_STEP, 0);
    uint64_t base = BASE_MAX_EVALUATIONS < parse->limits->max_evaluations
                        ? BASE_MAX_EVALUATIONS
                        : parse->limits->max_evaluations;
    solver->max_evaluations = count_or(parse, FMP_FIELD_SOLVER_MAX_EVALUATIONS, base);
    if (parse->values[FMP_FIELD_SOLVER_STEP] != NULL) {
        solver->step = fm_step_form_find(json_string_value(parse->values[FMP_FIELD_SOLVER_STEP]));
    }
    check_space(parse);
    check_jumps(parse);
    refuse_unused(parse, adaptive);
    fmp_parse_solver_options(parse);
    check_one_grid_key(parse);
    if (adaptive && solver->rtol == 0 && solver->atol == 0) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_RTOL, "must be above 0 where atol is 0");
    }
    read_grid(parse, adaptive);
    check_start(parse);
    check_within_path(parse);
    check_coupling(parse);
    fmp_parse_check_observation(parse);
    check_direction(parse);
    fmp_parse_check_diffusion(parse);
}
