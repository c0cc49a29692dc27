/* Superposition of flow, jumps and diffusion: the rates' identities, single steps, and the law of the samples. */
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/solve.h"
#include "engine/solve/superposition.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SQRT_TWO_PI 2.50662827463100050242

static double density(double z)
{
    return exp(-z * z / 2) / SQRT_TWO_PI;
}

static double distribution(double z)
{
    return erfc(-z / sqrt(2)) / 2;
}

/* ---- rates given x1: k(x) = x^2 - (1 + t) x x1 + t x1^2 - (1 - t)^2 ---- */

static double numerator_at(double t, double x, double x1)
{
    return x * x - (1 + t) * x * x1 + t * x1 * x1 - (1 - t) * (1 - t);
}

/* Of the engine: how often a state at x jumps in a short time. */
static double rate_at(double t, double x, double x1)
{
    const double h = 1e-9;
    double k = numerator_at(t, x, x1);
    return k > 0 ? fm_superposition_jumps(1, k, t, t + h) / h : 0;
}

/* The integral of [k]- p from a to b, k p = -(1 - t)^3 dp/dt: exact between k's roots. */
static double arrivals(double t, double x1, double a, double b)
{
    double s = 1 - t, root = sqrt(s * s * x1 * x1 + 4 * s * s);
    double ends[2] = {a, b}, flow[2];
    for (size_t i = 0; i < 2; i++) {
        double y = fmin(fmax(ends[i], ((1 + t) * x1 - root) / 2), ((1 + t) * x1 + root) / 2);
        flow[i] = s * density((y - t * x1) / s) * (y - x1);
    }
    return flow[1] - flow[0];
}

START_TEST(jumps_change_the_law_given_x1_as_its_path_does)
{
    const double x1 = 0.7, h = 1e-5;
    const size_t bins = 80, fine = 2000;
    for (int of_t = 0; of_t < 4; of_t++) {
        double t = 0.05 + 0.25 * of_t, s = 1 - t, out = 0, in = 0, width = 16.0 / (double)bins;
        for (size_t bin = 0; bin < bins; bin++) {
            double a = -8 + width * (double)bin, b = a + width, leaves = 0;
            for (size_t i = 0; i < fine; i++) {
                double x = a + width * ((double)i + 0.5) / (double)fine;
                leaves += rate_at(t, x, x1) * density((x - t * x1) / s) / s * width / (double)fine;
            }
            double arrives = arrivals(t, x1, a, b) / (s * s * s);
            double mass[2];
            for (int i = 0; i < 2; i++) {
                double at = t + (2 * i - 1) * h;
                mass[i] =
                    distribution((b - at * x1) / (1 - at)) - distribution((a - at * x1) / (1 - at));
            }
            ck_assert_double_eq_tol(arrives - leaves, (mass[1] - mass[0]) / (2 * h), 2e-6);
            out += leaves;
            in += arrives;
        }
        ck_assert_double_gt(out, 0.1);
        ck_assert_double_eq_tol(out, in, 2e-6); /* nothing is lost */
    }
}
END_TEST

/* exp(lambda (1 - t) (1 - (1-t)^2 / (1-t-h)^2) / 2), lambda = k / (1-t)^3, and by quadrature of the rate. */
START_TEST(survival_is_the_exponential_of_the_rates_integral)
{
    const double k = 0.37;
    for (int i = 0; i < 9; i++) {
        double t = 0.1 * i, h = 0.05 + 0.004 * i, s = t + h, lambda = k / pow(1 - t, 3);
        double of_rate = exp(lambda * (1 - t) * (1 - pow((1 - t) / (1 - t - h), 2)) / 2);
        double integral = 0;
        for (int n = 0; n < 20000; n++) {
            integral += k / pow(1 - (t + h * (n + 0.5) / 20000), 3) * h / 20000;
        }
        double survival = 1 - fm_superposition_jumps(1, k, t, s), middle = t + h / 3;
        ck_assert_double_eq_tol(survival, of_rate, 1e-13);
        ck_assert_double_eq_tol(survival, exp(-integral), 1e-9);
        ck_assert_double_eq_tol(1 - fm_superposition_jumps(0.5, k, t, s), sqrt(survival), 1e-14);
        ck_assert_double_eq_tol((1 - fm_superposition_jumps(1, k, t, middle)) *
                                    (1 - fm_superposition_jumps(1, k, middle, s)),
                                survival, 1e-14);
    }
    ck_assert_double_eq(fm_superposition_jumps(1, 0, 0.3, 0.4), 0);
    ck_assert_double_eq_tol(fm_superposition_jumps(1, 1e-14, 0, 0.5), 1.5e-14, 1e-20);
}
END_TEST

START_TEST(numerators_are_positive_and_do_not_overflow)
{
    ck_assert_double_eq_tol(fm_superposition_numerator(0), log(2), 1e-16);
    ck_assert_double_eq_tol(fm_superposition_numerator(1.5), log(1 + exp(1.5)), 1e-15);
    ck_assert_double_eq(fm_superposition_numerator(1e4), 1e4);
    ck_assert_double_eq_tol(fm_superposition_numerator(-50) / exp(-50), 1, 1e-14);
}
END_TEST

/* ---- trajectories ---- */

typedef void answer(void *context, double t, const double *x, double *v);

static fm_row_status run(void *memory, const fm_solve_plan *plan, answer *network, void *context,
                         uint64_t sample, const double *x0, double *ret)
{
    fm_solve_report report;
    fm_solve_want want;
    fm_solve *solve = fm_solve_init(memory, plan, sample, x0, context);
    while (fm_solve_next(solve, &want)) {
        network(context, want.t, want.x, want.v);
        fm_solve_give(solve);
    }
    fm_solve_describe(solve, &report);
    memcpy(ret, report.x, plan->dimension * sizeof *ret);
    return report.status;
}

static fm_space space_of(size_t n, size_t bins, double from, double to)
{
    fm_space ret = fm_space_euclidean(n);
    fm_error err;
    ret.bins = (fm_bins){.n = bins, .range = {from, to}};
    ck_assert_msg(fm_space_init(&ret, &err) == FM_OK, "%s", err.text);
    ck_assert_uint_eq(ret.velocities, n * (2 + bins));
    return ret;
}

/* path and grid are borrowed. */
static fm_solve_plan plan_of(const fm_space *space, const fm_path *path, const double *grid,
                             size_t n_grid, double jump_weight)
{
    fm_solve_plan ret = {.solver = {.method = fm_method_find("superposition"),
                                    .grid = grid,
                                    .n_grid = n_grid,
                                    .sampling = FM_SAMPLING_DEFAULT,
                                    .max_evaluations = 10000},
                         .dimension = space->states,
                         .n_velocity = space->velocities,
                         .space = space,
                         .path = path,
                         .seed = 3};
    ret.solver.sampling.jump_weight = jump_weight;
    return ret;
}

static void accept(const fm_solve_plan *plan)
{
    fm_error err = {0};
    ck_assert_msg(fm_solve_check(plan, &err) == FM_OK, "%s", err.text);
}

/* ---- single numbers ---- */

/* Numbers at 0 that do not move but jump, if they are still there, to the first of two bins in one of four cases. */
static void wait_and_jump(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    v[0] = 0;
    v[1] = x[0] == 0 ? log(expm1(0.2)) : -800;
    v[2] = 0;
    v[3] = log(3);
}

START_TEST(states_that_stay_survive_as_long_as_the_rates_integral_says)
{
    const size_t n = 40000;
    const double start = 0;
    size_t stayed = 0, first = 0, halves = 0;
    double grid[6], weight = _i == 0 ? 1 : 0.5;
    fm_space space = space_of(1, 2, 5, 9);
    fm_path path = usual_path("condot", 1);
    fm_grid_uniform(0.1, 0.7, 5, grid);
    fm_solve_plan plan = plan_of(&space, &path, grid, 6, weight);
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    for (size_t sample = 0; sample < n; sample++) {
        double x;
        ck_assert_int_eq(run(memory, &plan, wait_and_jump, NULL, sample, &start, &x), FM_ROW_OK);
        stayed += x == 0;
        first += x > 0 && x < 7;
        halves += x > 0 && fmod(x - 5, 2) < 1;
        ck_assert(x == 0 || (x > 5 && x < 9));
    }
    fm_free(memory);
    double survival = exp(-weight * 0.2 * (1 / (0.3 * 0.3) - 1 / (0.9 * 0.9)) / 2);
    double jumped = (double)(n - stayed), error = 2 / sqrt(jumped); /* four standard errors */
    ck_assert_double_eq_tol((double)stayed / (double)n, survival, 2 / sqrt((double)n));
    ck_assert_double_eq_tol((double)first / jumped, 0.25, error);
    ck_assert_double_eq_tol((double)halves / jumped, 0.5, error);
}
END_TEST

#define PIXELS 3
#define BINS   4

/* The first never jumps, the others always, each to its own bin; all move to the right. */
static void each_its_own(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    (void)x;
    for (size_t i = 0; i < PIXELS; i++) {
        v[i] = 1;
        v[PIXELS + i] = i == 0 ? -800 : 800;
        for (size_t bin = 0; bin < BINS; bin++) {
            v[2 * PIXELS + i * BINS + bin] = bin == i ? 50 : 0;
        }
    }
}

START_TEST(each_number_has_a_jump_kernel_of_its_own)
{
    const double x0[PIXELS] = {0.5, 0.5, 0.5}, grid[] = {0, 0.3, 0.6};
    double x[PIXELS], again[PIXELS];
    fm_space space = space_of(PIXELS, BINS, 10, 14);
    fm_path path = usual_path("condot", 1);
    fm_solve_plan plan = plan_of(&space, &path, grid, 3, 0.5);
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    ck_assert_int_eq(run(memory, &plan, each_its_own, NULL, 0, x0, x), FM_ROW_OK);
    ck_assert_double_eq_tol(x[0], 0.5 + 0.5 * 0.6, 1e-15);
    ck_assert(x[1] > 11 && x[1] < 12 && x[2] > 12 && x[2] < 13);
    ck_assert_double_ne(x[1] - 11, x[2] - 12); /* by numbers of their own */
    ck_assert_int_eq(run(memory, &plan, each_its_own, NULL, 0, x0, again), FM_ROW_OK);
    ck_assert_mem_eq(x, again, sizeof x);
    ck_assert_int_eq(run(memory, &plan, each_its_own, NULL, 1, x0, again), FM_ROW_OK);
    ck_assert_double_ne(x[1], again[1]);
    plan.solver.grid = &grid[1];
    plan.solver.n_grid = 2;
    plan.solver.sampling.diffusion_weight = 1; /* what jumps is not moved by the others' noise */
    ck_assert_int_eq(run(memory, &plan, each_its_own, NULL, 0, x0, x), FM_ROW_OK);
    plan.solver.sampling.diffusion_weight = 0;
    ck_assert_int_eq(run(memory, &plan, each_its_own, NULL, 0, x0, again), FM_ROW_OK);
    ck_assert_mem_eq(x + 1, again + 1, 2 * sizeof *x);
    ck_assert_double_ne(x[0], again[0]);
    fm_free(memory);
}
END_TEST

static void keep(void *context, size_t index, double t, const double *x)
{
    (void)t;
    ((double *)context)[index] = x[0];
}

START_TEST(last_step_to_data_is_the_flows_alone_and_outputs_show_a_steps_start)
{
    const double grid[] = {0.5, 0.75, 1}, x0[PIXELS] = {0}, times[] = {0.5, 0.6, 0.75, 0.9, 1};
    double x[PIXELS], seen[5];
    fm_space space = space_of(PIXELS, BINS, 10, 14);
    fm_path path = usual_path("condot", 1);
    fm_solve_plan plan = plan_of(&space, &path, grid, 3, 1);
    plan.output_times = times;
    plan.n_output_times = 5;
    plan.output = keep;
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    ck_assert_int_eq(run(memory, &plan, each_its_own, seen, 0, x0, x), FM_ROW_OK);
    const double expected[] = {0, 0, 0, 0,
                               0.25}; /* the first number: no flow but in the last step */
    for (size_t i = 0; i < 5; i++) {
        ck_assert_double_eq(seen[i], expected[i]);
    }
    ck_assert(x[1] > 11.25 && x[1] < 12.25);
    fm_free(memory);
}
END_TEST

/* ---- the law of the samples ---- */

#define SAMPLES   ((size_t)10000)
#define STEPS     ((size_t)400)
#define FINE_BINS ((size_t)100)
#define MODES     2

static const double weights[MODES] = {0.4, 0.6}, means[MODES] = {-1.5, 1}, stds[MODES] = {0.3, 0.4};

/* Density, its flux and so the velocity of the marginal at t, a mixture of N(t m, t^2 s^2 + (1 - t)^2). */
static double marginal(double t, double x, double *ret_flux)
{
    double p = 0;
    *ret_flux = 0;
    for (size_t j = 0; j < MODES; j++) {
        double variance = t * t * stds[j] * stds[j] + (1 - t) * (1 - t);
        double slope = t * stds[j] * stds[j] - (1 - t), off = x - t * means[j];
        double part = weights[j] * density(off / sqrt(variance)) / sqrt(variance);
        p += part;
        *ret_flux += part * (means[j] + slope / variance * off);
    }
    return p;
}

/* dp/dt = -d flux / dx, by its closed form. */
static double change(double t, double x)
{
    double sum = 0;
    for (size_t j = 0; j < MODES; j++) {
        double variance = t * t * stds[j] * stds[j] + (1 - t) * (1 - t);
        double slope = t * stds[j] * stds[j] - (1 - t), off = x - t * means[j];
        double part = weights[j] * density(off / sqrt(variance)) / sqrt(variance);
        sum += part * (means[j] * off / variance +
                       slope * (off * off / (variance * variance) - 1 / variance));
    }
    return sum;
}

typedef struct exact {
    double logits[STEPS][FINE_BINS]; /* where the marginal rises */
    double factor;                   /* of flow and jumps alike: 1, or wrong */
} exact;

static void exact_init(exact *ret, const fm_bins *bins, const double *grid)
{
    double width = (bins->range[1] - bins->range[0]) / (double)bins->n;
    for (size_t k = 0; k < STEPS; k++) {
        for (size_t bin = 0; bin < FINE_BINS; bin++) {
            double a = bins->range[0] + width * (double)bin, from, to;
            (void)marginal(grid[k], a, &from);
            (void)marginal(grid[k], a + width, &to);
            ret->logits[k][bin] = log(fmax(from - to, 1e-300)); /* d/dt of the bin's mass */
        }
    }
}

/* The marginal's own jumps: away at [-dp/dt]+ / p, to where dp/dt > 0 in proportion to it. */
static void exact_answer(void *context, double t, const double *x, double *v)
{
    const exact *it = context;
    double flux, p = marginal(t, x[0], &flux), k = pow(1 - t, 3) * fmax(-change(t, x[0]) / p, 0);
    v[0] = it->factor * flux / p;
    v[1] = log(expm1(fmax(it->factor * k, 1e-300)));
    memcpy(v + 2, it->logits[(size_t)(t * (double)STEPS + 0.5)], sizeof it->logits[0]);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* sqrt(n) D of Kolmogorov and Smirnov; beyond 1.95 with probability 0.001. */
static double distance_to_target(double *x, size_t n)
{
    double largest = 0;
    qsort(x, n, sizeof *x, ascending);
    for (size_t i = 0; i < n; i++) {
        double f = 0;
        for (size_t j = 0; j < MODES; j++) {
            f += weights[j] * distribution((x[i] - means[j]) / stds[j]);
        }
        largest = fmax(largest, fmax(f - (double)i / (double)n, (double)(i + 1) / (double)n - f));
    }
    return sqrt((double)n) * largest;
}

static double distance_with(double jump_weight, double diffusion_weight, double factor)
{
    double grid[STEPS + 1];
    fm_space space = space_of(1, FINE_BINS, -6, 6);
    fm_path path = usual_path("condot", 1);
    fm_grid_uniform(0, 1, STEPS, grid);
    fm_solve_plan plan = plan_of(&space, &path, grid, STEPS + 1, jump_weight);
    plan.solver.sampling.diffusion_weight = diffusion_weight;
    plan.solver.sampling.diffusion.norm = 0.5;
    accept(&plan);
    exact *law = fm_alloc(sizeof *law);
    double *x = fm_alloc_array(SAMPLES, sizeof *x);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    exact_init(law, &space.bins, grid);
    law->factor = factor;
    for (size_t sample = 0; sample < SAMPLES; sample++) {
        double x0;
        fm_rng_normal(3, sample, FM_RNG_SOURCE_NOISE, 0, 1, &x0);
        ck_assert_int_eq(run(memory, &plan, exact_answer, law, sample, &x0, &x[sample]), FM_ROW_OK);
    }
    double ret = distance_to_target(x, SAMPLES);
    fm_free(memory);
    fm_free(x);
    fm_free(law);
    return ret;
}

static const double superpositions[][2] = {{0, 0}, {0.5, 0}, {1, 0}, {0, 1}, {0.5, 1}, {1, 1}};

START_TEST(superpositions_keep_the_marginals_by_kolmogorov_and_smirnov)
{
    double distance = distance_with(superpositions[_i][0], superpositions[_i][1], 1);
    ck_assert_msg(distance < 1.95, "jumps %g, diffusion %g: sqrt(n) D = %g", superpositions[_i][0],
                  superpositions[_i][1], distance);
}
END_TEST

START_TEST(weights_that_do_not_sum_to_one_do_not_keep_them)
{
    ck_assert_double_gt(distance_with(0.5, 0, 2), 3); /* flow and jumps, both in full */
    ck_assert_double_gt(distance_with(0.5, 0, 1.25), 1.95);
}
END_TEST

/* ---- rules ---- */

START_TEST(what_superposition_cannot_do_is_refused)
{
    static const double back[] = {1, 0.5, 0}, grid[] = {0, 0.5, 1};
    fm_error err;
    fm_space space = space_of(2, BINS, -1, 1), plain = fm_space_euclidean(2);
    fm_path path = usual_path("condot", 1), other = usual_path("cosine", 1);
    const fm_solve_plan good = plan_of(&space, &path, grid, 3, 0.5);
    accept(&good);
#define REFUSED(words, change)                                                                     \
    do {                                                                                           \
        fm_solve_plan bad = good;                                                                  \
        change;                                                                                    \
        ck_assert_int_eq(fm_solve_check(&bad, &err), FM_EINVAL);                                   \
        ck_assert_msg(strstr(err.text, words) != NULL, "%s", err.text);                            \
    } while (0)
    REFUSED("solver.grid must ascend", bad.solver.grid = back);
    REFUSED("flows that do not jump", bad.space = &plain);
    REFUSED("flows that do not jump", bad.space = NULL);
    REFUSED("path must be condot", bad.path = &other);
    REFUSED("n_velocity", bad.n_velocity = 2);
    REFUSED("solver.jump_weight", bad.solver.sampling.jump_weight = 1.1);
    REFUSED("solver.jump_weight", bad.solver.sampling.jump_weight = -0.1);
    REFUSED("solver.diffusion_weight", bad.solver.sampling.diffusion_weight = -1);
    REFUSED("solver.diffusion_weight", bad.solver.sampling.diffusion_weight = (double)INFINITY);
#undef REFUSED
    ck_assert_str_eq(fm_method_options(good.solver.method),
                     "jump_weight diffusion_weight diffusion");
    fm_space sphere = {.n_parts = 1, .parts = {{.id = FM_SPACE_SPHERE, .n = 3, .copies = 1}}};
    sphere.bins.n = 4;
    ck_assert_int_eq(fm_space_init(&sphere, &err), FM_EINVAL);
}
END_TEST

START_TEST(flows_that_jump_are_flows_to_every_other_method)
{
    fm_space space = space_of(2, BINS, -1, 1);
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        ck_assert_int_eq(fm_method_serves(method, &space),
                         fm_method_serves(method, NULL) || fm_method_jumps(method));
        ck_assert_int_eq(fm_method_jumps(method),
                         strcmp(fm_method_describe(method)->name, "superposition") == 0);
    }
}
END_TEST

Suite *suite_engine_solve_superposition(void)
{
    Suite *suite = suite_create("engine/solve_superposition");
    TCase *rates = tcase_create("rates");
    tcase_add_test(rates, jumps_change_the_law_given_x1_as_its_path_does);
    tcase_add_test(rates, survival_is_the_exponential_of_the_rates_integral);
    tcase_add_test(rates, numerators_are_positive_and_do_not_overflow);
    suite_add_tcase(suite, rates);
    TCase *steps = tcase_create("steps");
    tcase_add_loop_test(steps, states_that_stay_survive_as_long_as_the_rates_integral_says, 0, 2);
    tcase_add_test(steps, each_number_has_a_jump_kernel_of_its_own);
    tcase_add_test(steps, last_step_to_data_is_the_flows_alone_and_outputs_show_a_steps_start);
    suite_add_tcase(suite, steps);
    TCase *laws = tcase_create("laws");
    tcase_set_timeout(laws, 60);
    tcase_add_loop_test(laws, superpositions_keep_the_marginals_by_kolmogorov_and_smirnov, 0,
                        (int)(sizeof superpositions / sizeof *superpositions));
    tcase_add_test(laws, weights_that_do_not_sum_to_one_do_not_keep_them);
    suite_add_tcase(suite, laws);
    TCase *rules = tcase_create("rules");
    tcase_add_test(rules, what_superposition_cannot_do_is_refused);
    tcase_add_test(rules, flows_that_jump_are_flows_to_every_other_method);
    suite_add_tcase(suite, rules);
    return suite;
}
