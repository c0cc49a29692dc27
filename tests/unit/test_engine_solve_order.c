/* Orders: the tableaux against the order conditions of rooted trees, and every method against its
 * declared order on a smooth problem. */
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>

#define MAX_ORDER 8
#define MAX_TREES 256

/* A rooted tree: a root with the subtrees that other entries of the list are. Butcher's conditions for
 * weights b of order p at theta: sum_i b_i phi_i(tree) = theta^order / density for all trees up to p. */
typedef struct tree {
    size_t order, n_children, children[MAX_ORDER];
    double density;
    double phi[FM_MAX_STAGES];
} tree;

typedef struct tree_list {
    size_t n;
    tree trees[MAX_TREES];
} tree_list;

static void add_tree(tree_list *list, const tree *shape)
{
    ck_assert_uint_lt(list->n, MAX_TREES);
    tree *added = &list->trees[list->n++];
    *added = *shape;
    added->density = (double)added->order;
    for (size_t i = 0; i < added->n_children; i++) {
        added->density *= list->trees[added->children[i]].density;
    }
}

/* All trees of `order` whose further children come from the first `limit` trees, in falling order. */
static void grow_trees(tree_list *list, tree *shape, size_t order, size_t limit)
{
    if (shape->order == order) {
        add_tree(list, shape);
        return;
    }
    for (size_t i = limit; i-- > 0;) {
        size_t size = list->trees[i].order;
        if (shape->order + size <= order) {
            shape->children[shape->n_children++] = i;
            shape->order += size;
            grow_trees(list, shape, order, i + 1);
            shape->order -= size;
            shape->n_children--;
        }
    }
}

static void plant(tree_list *list)
{
    static const size_t counts[MAX_ORDER] = {1, 1, 2, 4, 9, 20, 48, 115};
    list->n = 0;
    for (size_t order = 1; order <= MAX_ORDER; order++) {
        size_t before = list->n;
        tree shape = {.order = 1};
        grow_trees(list, &shape, order, before);
        ck_assert_uint_eq(list->n - before, counts[order - 1]);
    }
}

/* Sum over j < i of a[i][j] phi[j]. */
static double row_sum(const fm_tableau *tableau, size_t i, const tree *child)
{
    double sum = 0;
    for (size_t j = 0; j < i; j++) {
        sum += fm_tableau_row(tableau, i)[j] * child->phi[j];
    }
    return sum;
}

static void weigh(tree_list *list, const fm_tableau *tableau)
{
    size_t rows = tableau->stages + tableau->extra;
    for (size_t n = 0; n < list->n; n++) {
        tree *at = &list->trees[n];
        for (size_t i = 0; i < rows; i++) {
            at->phi[i] = 1;
            for (size_t child = 0; child < at->n_children; child++) {
                at->phi[i] *= row_sum(tableau, i, &list->trees[at->children[child]]);
            }
        }
    }
}

/* The largest deviation from the conditions of exactly this order. */
static double defect(const tree_list *list, const double *weights, size_t n, size_t order,
                     double theta)
{
    double largest = 0;
    for (size_t k = 0; k < list->n; k++) {
        const tree *at = &list->trees[k];
        if (at->order == order) {
            double sum = 0;
            for (size_t i = 0; i < n; i++) {
                sum += weights[i] * at->phi[i];
            }
            largest = fmax(largest, fabs(sum - pow(theta, (double)order) / at->density));
        }
    }
    return largest;
}

/* The step's weights, [stages]. */
static void end_weights(const fm_tableau *tableau, double *ret)
{
    for (size_t i = 0; i < tableau->stages; i++) {
        bool last = i + 1 == tableau->stages;
        ret[i] = tableau->b != NULL ? tableau->b[i]
                 : last             ? 0
                                    : fm_tableau_row(tableau, tableau->stages - 1)[i];
    }
}

static tree_list conditions;

START_TEST(tableau_meets_every_order_condition)
{
    const fm_method *method = fm_method_at((size_t)_i);
    const fm_tableau *tableau = method->tableau;
    if (tableau == NULL) {
        return;
    }
    unsigned order = method->info.order;
    plant(&conditions);
    weigh(&conditions, tableau);
    for (size_t i = 1; i < tableau->stages + tableau->extra; i++) {
        double sum = 0;
        for (size_t j = 0; j < i; j++) {
            sum += fm_tableau_row(tableau, i)[j];
        }
        ck_assert_msg(fabs(sum - tableau->c[i]) < 1e-14, "row %zu: sum %.17g", i, sum);
    }
    double b[FM_MAX_STAGES], embedded[FM_MAX_STAGES];
    end_weights(tableau, b);
    for (size_t p = 1; p <= order; p++) {
        double off = defect(&conditions, b, tableau->stages, p, 1);
        ck_assert_msg(off < 1e-13, "%s, order %zu: %g", method->info.name, p, off);
    }
    if (order < MAX_ORDER) {
        ck_assert_double_gt(defect(&conditions, b, tableau->stages, order + 1, 1), 1e-5);
    }
    if (tableau->error == NULL) {
        return;
    }
    for (size_t i = 0; i < tableau->stages; i++) {
        embedded[i] = b[i] - tableau->error[i];
    }
    for (size_t p = 1; p < order; p++) {
        double off = defect(&conditions, embedded, tableau->stages, p, 1);
        ck_assert_msg(off < 1e-13, "%s, embedded, order %zu: %g", method->info.name, p, off);
    }
    ck_assert_double_gt(defect(&conditions, embedded, tableau->stages, order, 1), 1e-5);
}
END_TEST

START_TEST(dense_output_meets_its_order_conditions_and_both_ends)
{
    const fm_method *method = fm_method_at((size_t)_i);
    const fm_tableau *tableau = method->tableau;
    if (tableau == NULL) {
        return;
    }
    if (tableau->dense == NULL) {
        ck_assert(!method->info.adaptive);
        return;
    }
    plant(&conditions);
    weigh(&conditions, tableau);
    size_t rows = tableau->stages + tableau->extra;
    double end[FM_MAX_STAGES];
    end_weights(tableau, end);
    for (double theta = 0.125; theta <= 1; theta += 0.125) {
        double weights[FM_MAX_STAGES];
        for (size_t i = 0; i < rows; i++) {
            weights[i] = 0;
            for (size_t m = 0; m < tableau->degree; m++) {
                weights[i] += tableau->dense[i * tableau->degree + m] * pow(theta, (double)(m + 1));
            }
            if (theta == 1) {
                double wanted = i < tableau->stages ? end[i] : 0;
                ck_assert_msg(fabs(weights[i] - wanted) < 1e-12, "%s, end, row %zu: %g",
                              method->info.name, i, weights[i] - wanted);
            }
        }
        for (size_t p = 1; p <= tableau->dense_order; p++) {
            double off = defect(&conditions, weights, rows, p, theta);
            ck_assert_msg(off < 1e-12, "%s, theta %g, order %zu: %g", method->info.name, theta, p,
                          off);
        }
    }
    /* The slope at the start is the first row's. */
    for (size_t i = 0; i < rows; i++) {
        ck_assert_double_eq_tol(tableau->dense[i * tableau->degree], i == 0 ? 1 : 0, 1e-15);
    }
}
END_TEST

/* Orders are observed on [0, END]. Further on the modes separate and paths contract towards them: there
 * the methods of order 5 and 8 show more than their order until rounding takes over. */
#define END 0.5

/* Adaptive methods take fixed steps when each step is a trajectory of its own, with the step as its
 * first step and a tolerance that accepts everything. */
static void chain_steps(const fm_method *method, double begin, size_t n_steps, double *x)
{
    for (size_t i = 0; i < n_steps; i++) {
        double step = (END - begin) / (double)n_steps;
        double grid[2] = {begin + step * (double)i, begin + step * (double)(i + 1)};
        fm_solve_plan plan = {.dimension = 2,
                              .path = trajectory_path(),
                              .solver = {.method = method,
                                         .grid = grid,
                                         .n_grid = 2,
                                         .sampling = FM_SAMPLING_DEFAULT,
                                         .rtol = 1e300,
                                         .atol = 1e300,
                                         .first_step = 1,
                                         .max_evaluations = 100}};
        trajectory run;
        trajectory_run(&run, &plan, velocity_mixture, NULL, x);
        ck_assert_uint_eq(run.report.accepted, 1);
        x[0] = run.end[0];
        x[1] = run.end[1];
        trajectory_done(&run);
    }
}

static void fixed_steps(const fm_method *method, double begin, size_t n_steps, double *x)
{
    double grid[1025];
    fm_grid_uniform(begin, END, n_steps, grid);
    fm_solve_plan plan = {.dimension = 2,
                          .path = trajectory_path(),
                          .solver = {.method = method,
                                     .grid = grid,
                                     .n_grid = n_steps + 1,
                                     .sampling = FM_SAMPLING_DEFAULT,
                                     .max_evaluations = 100000}};
    trajectory run;
    trajectory_run(&run, &plan, velocity_mixture, NULL, x);
    x[0] = run.end[0];
    x[1] = run.end[1];
    trajectory_done(&run);
}

#define N_STARTS 6

/* RMS over start points of the error at END with that many steps. Integrators in the logarithm of the signal to
 * noise begin where it is finite. */
static double mixture_error(const fm_method *method, size_t n_steps)
{
    double begin = method->stepper->needs_path ? 0.1 : 0;
    static const double starts[N_STARTS][2] = {{0.3, -0.4}, {1.2, 0.7},   {-0.8, 1.1},
                                               {0.1, 1.9},  {-1.4, -0.6}, {0.9, -1.3}};
    double sum = 0;
    for (size_t i = 0; i < N_STARTS; i++) {
        double x[2] = {starts[i][0], starts[i][1]};
        double exact[2] = {starts[i][0], starts[i][1]};
        chain_steps(fm_method_find("dopri8"), begin, 50, exact);
        if (fm_method_describe(method)->adaptive) {
            chain_steps(method, begin, n_steps, x);
        } else {
            fixed_steps(method, begin, n_steps, x);
        }
        sum += (x[0] - exact[0]) * (x[0] - exact[0]) + (x[1] - exact[1]) * (x[1] - exact[1]);
    }
    return sqrt(sum / N_STARTS);
}

START_TEST(method_attains_its_declared_order_on_the_gaussian_mixture)
{
    const fm_method *method = fm_method_at((size_t)_i);
    unsigned order = fm_method_describe(method)->order;
    if (method->info.stochastic) {
        return; /* its noise does not fall with the step */
    }
    /* Fine enough for the asymptotic regime, coarse enough for errors above rounding. */
    static const size_t steps[MAX_ORDER + 1] = {0, 512, 256, 128, 64, 48, 16, 0, 7};
    size_t n = steps[order];
    double coarse = mixture_error(method, n);
    double fine = mixture_error(method, 2 * n);
    double observed = log2(coarse / fine);
    ck_assert_msg(fabs(observed - order) <= 0.2, "%s: observed order %.3f (errors %g, %g)",
                  fm_method_describe(method)->name, observed, coarse, fine);
}
END_TEST

/* The largest error inside one step of size h, against many small steps to the same times. */
static double dense_error(const fm_method *method, double h)
{
    double grid[2] = {0.3, 0.3 + h};
    double times[9];
    for (size_t i = 0; i < 9; i++) {
        times[i] = grid[0] + h * (double)(i + 1) / 10;
    }
    fm_solve_plan plan = {.dimension = 2,
                          .solver = {.method = method,
                                     .grid = grid,
                                     .n_grid = 2,
                                     .rtol = 1e300,
                                     .atol = 1e300,
                                     .first_step = 1,
                                     .max_evaluations = 1000},
                          .output_times = times,
                          .n_output_times = 9};
    const double x0[2] = {0.3, -0.4};
    trajectory run, exact;
    trajectory_run(&run, &plan, velocity_mixture, NULL, x0);
    ck_assert_uint_eq(run.n_outputs, 9);
    double largest = 0;
    for (size_t i = 0; i < 9; i++) {
        double short_grid[2] = {grid[0], times[i]};
        fm_solve_plan fine = {.dimension = 2,
                              .solver = {.method = fm_method_find("dopri8"),
                                         .grid = short_grid,
                                         .n_grid = 2,
                                         .rtol = 1e-14,
                                         .atol = 1e-14,
                                         .max_evaluations = 100000}};
        trajectory_run(&exact, &fine, velocity_mixture, NULL, x0);
        largest = fmax(largest, trajectory_distance(2, exact.end, run.outputs + 2 * i));
        trajectory_done(&exact);
    }
    trajectory_done(&run);
    return largest;
}

START_TEST(dense_output_error_falls_with_its_order_plus_one)
{
    const fm_method *method = fm_method_at((size_t)_i);
    if (method->tableau == NULL) {
        return;
    }
    double order = method->info.adaptive ? (double)method->tableau->dense_order : 3;
    if (!method->info.adaptive && method->info.order < 3) {
        order = method->info.order; /* the step's own error is the larger one */
    }
    double h = order > 5 ? 0.24 : 0.04;
    double observed = log2(dense_error(method, h) / dense_error(method, h / 2));
    ck_assert_msg(observed > order + 0.7, "%s: the error in one step falls with h^%.2f",
                  method->info.name, observed);
}
END_TEST

/* dx/dt = -rate (x - cos t), whose solution is soon a smooth one however large the rate. */
#define RATE 1000.0

static void velocity_stiff(void *context, double t, const double *x, double *v)
{
    (void)context;
    v[0] = -RATE * (x[0] - cos(t));
    v[1] = -x[1] + x[0];
}

START_TEST(implicit_methods_stay_on_a_stiff_solution_where_explicit_ones_leave_it)
{
    const fm_method *method = fm_method_at((size_t)_i);
    double grid[41];
    const double x0[2] = {1, 0};
    fm_grid_uniform(0, 2, 40, grid); /* a step is 50 times what explicit methods bear */
    fm_solve_plan plan = {
        .dimension = 2,
        .solver = {.method = method, .grid = grid, .n_grid = 41, .max_evaluations = 100000}};
    if (method->info.adaptive || method->stepper->needs_path) {
        return;
    }
    trajectory run;
    trajectory_run(&run, &plan, velocity_stiff, NULL, x0);
    /* x follows cos t by a distance of about sin t / RATE. */
    double off = fabs(run.end[0] - cos(2) - sin(2) / RATE);
    if (method->stepper->implicit != NULL) {
        ck_assert_int_eq(run.report.status, FM_ROW_OK);
        ck_assert_msg(off < 3e-3, "%s: off by %g", method->info.name, off);
        ck_assert_msg(run.report.evaluations < 40 * 40, "%s: %llu evaluations", method->info.name,
                      (unsigned long long)run.report.evaluations);
    } else {
        ck_assert_msg(!(off < 1), "%s: off by %g", method->info.name, off);
    }
    trajectory_done(&run);
}
END_TEST

/* A jump between two slopes has no solution at some steps' ends. */
static void velocity_torn(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)t;
    v[0] = x[0] > 0 ? -1e6 - x[0] : 1e6 - x[0];
    v[1] = 0;
}

START_TEST(equations_without_a_solution_end_the_row_where_the_step_began)
{
    const double grid[3] = {0, 0.5, 1}, x0[2] = {1, 0};
    fm_solve_plan plan = {.dimension = 2,
                          .solver = {.method = fm_method_find("implicit_euler"),
                                     .grid = grid,
                                     .n_grid = 3,
                                     .max_evaluations = 100000}};
    trajectory run;
    trajectory_run(&run, &plan, velocity_torn, NULL, x0);
    ck_assert_int_eq(run.report.status, FM_ROW_NON_FINITE);
    ck_assert_double_eq(run.report.t, 0);
    ck_assert_double_eq(run.end[0], 1);
    trajectory_done(&run);
}
END_TEST

/* Noise of a float32 network: a residual below it is never seen. */
static void velocity_rounded(void *context, double t, const double *x, double *v)
{
    velocity_mixture(context, t, x, v);
    for (size_t i = 0; i < 2; i++) {
        v[i] = (float)v[i] + 1e-7F * sinf(1e6F * (float)(x[0] + x[1]));
    }
}

START_TEST(equations_are_solved_as_far_as_rounding_allows)
{
    double grid[11];
    fm_grid_uniform(0, 1, 10, grid);
    fm_solve_plan plan = {.dimension = 2,
                          .solver = {.method = fm_method_find("gl4"),
                                     .grid = grid,
                                     .n_grid = 11,
                                     .max_evaluations = 100000}};
    trajectory noisy, exact;
    trajectory_run(&noisy, &plan, velocity_rounded, NULL, trajectory_start);
    trajectory_run(&exact, &plan, velocity_mixture, NULL, trajectory_start);
    ck_assert_int_eq(noisy.report.status, FM_ROW_OK);
    ck_assert_double_le(trajectory_distance(2, noisy.end, exact.end), 2e-6);
    trajectory_done(&noisy);
    trajectory_done(&exact);
}
END_TEST

Suite *suite_engine_solve_order(void)
{
    Suite *suite = suite_create("engine/solve_order");
    TCase *methods = tcase_create("every method");
    int count = trajectory_method_count();
    tcase_set_timeout(methods, 20);
    tcase_add_loop_test(methods, tableau_meets_every_order_condition, 0, count);
    tcase_add_loop_test(methods, dense_output_meets_its_order_conditions_and_both_ends, 0, count);
    tcase_add_loop_test(
        methods, implicit_methods_stay_on_a_stiff_solution_where_explicit_ones_leave_it, 0, count);
    tcase_add_test(methods, equations_without_a_solution_end_the_row_where_the_step_began);
    tcase_add_test(methods, equations_are_solved_as_far_as_rounding_allows);
    tcase_add_loop_test(methods, method_attains_its_declared_order_on_the_gaussian_mixture, 0,
                        count);
    tcase_add_loop_test(methods, dense_output_error_falls_with_its_order_plus_one, 0, count);
    suite_add_tcase(suite, methods);
    return suite;
}
