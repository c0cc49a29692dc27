#include "tests/support/trajectory.h"

#include "engine/memory.h"
#include "engine/solve/method.h"

#include <check.h>
#include <math.h>
#include <string.h>

const double trajectory_start[2] = {0.3, -0.4};
const double trajectory_times[6] = {0, 0.1, 0.45, 0.5, 0.9, 1};
static const double forward_grid[5] = {0, 0.2, 0.45, 0.8, 1};
static const double backward_grid[5] = {1, 0.8, 0.45, 0.2, 0};
static const double inner_times_backward[6] = {1, 0.9, 0.5, 0.45, 0.1, 0};

const fm_path *trajectory_path(void)
{
    static fm_path path;
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_status status = fm_path_init(&path, fm_path_type_find("condot"), none, NULL, 1, NULL);
    ck_assert_int_eq(status, FM_OK);
    return &path;
}

/* For methods that solve an inverse problem: the sum of both coordinates is 1.5. */
const fm_inverse *trajectory_inverse(void)
{
    static fm_operator forward;
    static const double row[2] = {1, 1}, y = 1.5;
    static const fm_inverse inverse = {
        .forward = &forward, .observations = &y, .n_observations = 1};
    const fm_operator_options options = {.rank = 1, .shape = {2}, .values = row, .n_rows = 1};
    fm_status status = fm_operator_init(&forward, fm_operator_type_find("matrix"), &options, NULL);
    ck_assert_int_eq(status, FM_OK);
    return &inverse;
}

int trajectory_method_count(void)
{
    size_t n = 0;
    while (n < fm_method_count() && fm_method_serves(fm_method_at(n), NULL)) {
        n++;
    }
    return (int)n;
}

fm_solve_plan trajectory_plan(int i, bool backward)
{
    return (fm_solve_plan){.dimension = 2,
                           .path = trajectory_path(),
                           .inverse = trajectory_inverse(),
                           .solver = {.method = fm_method_at((size_t)i),
                                      .grid = backward ? backward_grid : forward_grid,
                                      .n_grid = 5,
                                      .rtol = 1e-6,
                                      .atol = 1e-6,
                                      .sampling = FM_SAMPLING_DEFAULT,
                                      .max_evaluations = 10000}};
}

void trajectory_ask_times(fm_solve_plan *plan, bool backward)
{
    plan->output_times = backward ? inner_times_backward : trajectory_times;
    plan->n_output_times = 6;
}

bool trajectory_knows_path(const fm_solve_plan *plan)
{
    return plan->solver.method->stepper->needs_path;
}

bool trajectory_is_refused(const fm_solve_plan *plan)
{
    bool backward = plan->solver.grid[1] < plan->solver.grid[0];
    return backward && plan->solver.method->stepper->ascends;
}

const fm_method_info *trajectory_method(const fm_solve_plan *plan)
{
    return fm_method_describe(plan->solver.method);
}

static void take_output(void *context, size_t index, double t, const double *x)
{
    trajectory *run = context;
    ck_assert_uint_eq(index, run->n_outputs);
    ck_assert_uint_lt(index, TRAJECTORY_MAX_OUTPUTS);
    run->output_times[index] = t;
    size_t bytes = run->dimension * sizeof(double);
    run->outputs = fm_grow(run->outputs, index * bytes, (index + 1) * bytes);
    ck_assert_ptr_nonnull(run->outputs);
    memcpy(run->outputs + index * run->dimension, x, bytes);
    run->n_outputs++;
}

void trajectory_run(trajectory *ret, fm_solve_plan *plan, velocity_function velocity, void *context,
                    const double *x0)
{
    memset(ret, 0, sizeof *ret);
    plan->output = take_output;
    fm_error err;
    ck_assert_msg(fm_solve_check(plan, &err) == FM_OK, "refused: %s", err.text);
    ret->dimension = plan->dimension;
    ret->earliest = (double)INFINITY;
    ret->latest = -(double)INFINITY;
    void *memory = fm_alloc(fm_solve_size_bytes(plan));
    ret->end = fm_alloc_array(plan->dimension, sizeof(double));
    ck_assert(memory != NULL && ret->end != NULL);
    fm_solve *solve = fm_solve_init(memory, plan, 0, x0, ret);
    fm_solve_want want;
    while (fm_solve_next(solve, &want)) {
        ret->earliest = fmin(ret->earliest, want.t);
        ret->latest = fmax(ret->latest, want.t);
        velocity(context, want.t, want.x, want.v);
        fm_solve_give(solve);
    }
    fm_solve_describe(solve, &ret->report);
    memcpy(ret->end, ret->report.x, plan->dimension * sizeof(double));
    ret->report.x = ret->end;
    fm_free(memory);
}

void trajectory_done(trajectory *run)
{
    fm_free(run->end);
    fm_free(run->outputs);
}

double trajectory_distance(size_t dimension, const double *a, const double *b)
{
    double largest = 0;
    for (size_t i = 0; i < dimension; i++) {
        largest = fmax(largest, fabs(a[i] - b[i]));
    }
    return largest;
}

void velocity_mixture(void *context, double t, const double *x, double *v)
{
    (void)context;
    static const double weights[3] = {0.5, 0.3, 0.2};
    static const double means[3][2] = {{2, 0}, {-1, 1.5}, {-0.5, -2}};
    static const double stds[3] = {0.4, 0.6, 0.25};
    double log_mass[3], mode[3][2];
    double largest = -(double)INFINITY;
    for (size_t k = 0; k < 3; k++) {
        double variance = t * t * stds[k] * stds[k] + (1 - t) * (1 - t);
        double growth = (t * stds[k] * stds[k] - (1 - t)) / variance;
        double d0 = x[0] - t * means[k][0];
        double d1 = x[1] - t * means[k][1];
        mode[k][0] = growth * d0 + means[k][0];
        mode[k][1] = growth * d1 + means[k][1];
        log_mass[k] = log(weights[k]) - log(variance) - (d0 * d0 + d1 * d1) / (2 * variance);
        largest = fmax(largest, log_mass[k]);
    }
    double total = 0;
    v[0] = v[1] = 0;
    for (size_t k = 0; k < 3; k++) {
        double mass = exp(log_mass[k] - largest);
        total += mass;
        v[0] += mass * mode[k][0];
        v[1] += mass * mode[k][1];
    }
    v[0] /= total;
    v[1] /= total;
}

void velocity_gaussian(void *context, double t, const double *x, double *v)
{
    const double *parameters = context;
    double m = parameters[0];
    double s = parameters[1];
    double variance = (1 - t) * (1 - t) + s * s * t * t;
    v[0] = m + (s * s * t - (1 - t)) / variance * (x[0] - t * m);
}

void velocity_reference(void *context, double t, const double *x, double *v)
{
    (void)context;
    v[0] = -0.5 * x[0] + x[1] * sin(3 * t) + cos(2 * t);
    v[1] = -x[0] * x[2] + t * t;
    v[2] = x[0] * x[1] - 0.3 * x[2] + exp(-t);
}
