/* Identities that tie samplers, schedulers and equations together, each against its golden number or another route to
 * the same quantity. Numbers and formulas: docs/solvers.md says where each comes from. */
#include "engine/flow/path.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "tests/support/trajectory.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- flows to N(mean, std^2) and to a mixture, on any path, each element by itself ---- */

typedef struct target {
    const fm_path *path;
    size_t dimension;
    double mean, std;
} target;

static void velocity_normal(void *context, double t, const double *x, double *v)
{
    const target *to = context;
    fm_path_point at = fm_path_at(to->path, t);
    double variance = at.alpha * at.alpha * to->std * to->std + at.sigma * at.sigma;
    double rate = (at.alpha * at.d_alpha * to->std * to->std + at.sigma * at.d_sigma) / variance;
    for (size_t i = 0; i < to->dimension; i++) {
        v[i] = rate * (x[i] - at.alpha * to->mean) + at.d_alpha * to->mean;
    }
}

/* Half N(-1, 0.3^2), half N(1, 0.3^2). */
static void velocity_two_modes(void *context, double t, const double *x, double *v)
{
    const target *to = context;
    fm_path_point at = fm_path_at(to->path, t);
    double variance = at.alpha * at.alpha * 0.09 + at.sigma * at.sigma;
    double rate = (at.alpha * at.d_alpha * 0.09 + at.sigma * at.d_sigma) / variance;
    for (size_t i = 0; i < to->dimension; i++) {
        double mean = tanh(at.alpha * x[i] / variance);
        v[i] = rate * (x[i] - at.alpha * mean) + at.d_alpha * mean;
    }
}

/* A plan on n equal steps of [first, last]; grid is the caller's, [n + 1]. */
static fm_solve_plan plan_of(const char *method, const target *to, double first, double last,
                             size_t n, double *grid)
{
    fm_grid_uniform(first, last, n, grid);
    return (fm_solve_plan){.dimension = to->dimension,
                           .path = to->path,
                           .seed = 7,
                           .solver = {.method = fm_method_find(method),
                                      .grid = grid,
                                      .n_grid = n + 1,
                                      .rtol = 1e-10,
                                      .atol = 1e-10,
                                      .sampling = FM_SAMPLING_DEFAULT,
                                      .max_evaluations = 1000000}};
}

static void end_of(fm_solve_plan *plan, velocity_function velocity, target *to, const double *x0,
                   double *ret)
{
    trajectory run;
    trajectory_run(&run, plan, velocity, to, x0);
    ck_assert_int_eq(run.report.status, FM_ROW_OK);
    memcpy(ret, run.end, plan->dimension * sizeof *ret);
    trajectory_done(&run);
}

#define N_STARTS ((size_t)7)
static const double starts[N_STARTS] = {-2.1, -1.3, -0.4, 0.05, 0.7, 1.6, 2.4};

/* ---- DDIM, natural Euler and Euler ---- */

START_TEST(ddim_on_the_straight_path_is_euler)
{
    double grid[9], natural[N_STARTS], plain[N_STARTS];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    fm_solve_plan ddim = plan_of("ddim", &to, 0, 1, 8, grid);
    fm_solve_plan euler = plan_of("euler", &to, 0, 1, 8, grid);
    end_of(&ddim, velocity_two_modes, &to, starts, natural);
    end_of(&euler, velocity_two_modes, &to, starts, plain);
    ck_assert_double_le(trajectory_distance(N_STARTS, natural, plain), 1e-13);
}
END_TEST

static const char *const schedulers[] = {"polynomial", "vp", "sub_vp", "linear_vp",
                                         "cosine",     "ve", "edm",    "target"};
#define N_SCHEDULERS ((int)(sizeof schedulers / sizeof *schedulers))

/* In one dimension trajectories do not cross, so the flow is the one monotone map between both laws: the quantiles'.
 * With half N(-1, 0.3^2) and half N(1, 0.3^2) as data, F(x1) = Phi(x0). */
START_TEST(a_flow_in_one_dimension_is_the_map_of_quantiles)
{
    double grid[401], end[N_STARTS], x0[N_STARTS];
    fm_path path = usual_path(schedulers[_i], 1);
    fm_path_point first = fm_path_at(&path, 0), last = fm_path_at(&path, 0.999);
    target to = {.path = &path, .dimension = N_STARTS};
    fm_solve_plan plan = plan_of("rk4", &to, 0, 0.999, 400, grid);
    double start_spread = sqrt(first.alpha * first.alpha * 0.09 + first.sigma * first.sigma);
    double spread = sqrt(last.alpha * last.alpha * 0.09 + last.sigma * last.sigma);
    for (size_t i = 0; i < N_STARTS; i++) {
        x0[i] = starts[i] * start_spread;
    }
    end_of(&plan, velocity_two_modes, &to, x0, end);
    for (size_t i = 0; i < N_STARTS; i++) {
        double share = 0, source = 0;
        for (int mode = -1; mode <= 1; mode += 2) {
            source += 0.25 * erfc((mode * first.alpha - x0[i]) / start_spread / sqrt(2));
            share += 0.25 * erfc((mode * last.alpha - end[i]) / spread / sqrt(2));
        }
        ck_assert_double_eq_tol(share, source, 1e-6);
    }
}
END_TEST

/* x on the path is (alpha + sigma) times x on the straight one at alpha / (alpha + sigma). */
START_TEST(natural_euler_on_any_scheduler_is_straight_euler_on_its_grid)
{
    double grid[13], straight_grid[13], natural[N_STARTS], plain[N_STARTS], x0[N_STARTS];
    fm_path path = usual_path(schedulers[_i], 1), condot = usual_path("condot", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    target straight = {.path = &condot, .dimension = N_STARTS};
    fm_solve_plan ddim = plan_of("ddim", &to, 0, 1, 12, grid);
    fm_solve_plan euler = plan_of("euler", &straight, 0, 1, 12, straight_grid);
    for (size_t i = 0; i <= 12; i++) {
        fm_path_point at = fm_path_at(&path, grid[i]);
        straight_grid[i] = at.alpha / (at.alpha + at.sigma);
    }
    fm_path_point first = fm_path_at(&path, 0), last = fm_path_at(&path, 1);
    for (size_t i = 0; i < N_STARTS; i++) {
        x0[i] = starts[i] * (first.alpha + first.sigma);
    }
    end_of(&ddim, velocity_two_modes, &to, x0, natural);
    end_of(&euler, velocity_two_modes, &straight, starts, plain);
    for (size_t i = 0; i < N_STARTS; i++) {
        ck_assert_double_eq_tol(natural[i], plain[i] * (last.alpha + last.sigma), 1e-11);
    }
}
END_TEST

START_TEST(plain_euler_on_the_cosine_path_is_not_ddim)
{
    double grid[9], natural[N_STARTS], plain[N_STARTS];
    fm_path path = usual_path("cosine", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    fm_solve_plan ddim = plan_of("ddim", &to, 0, 1, 8, grid);
    fm_solve_plan euler = plan_of("euler", &to, 0, 1, 8, grid);
    end_of(&ddim, velocity_two_modes, &to, starts, natural);
    end_of(&euler, velocity_two_modes, &to, starts, plain);
    ck_assert_double_ge(trajectory_distance(N_STARTS, natural, plain), 1e-2);
}
END_TEST

START_TEST(one_natural_step_on_the_cosine_path_is_a_rotation)
{
    double grid[2] = {0.3, 0.55}, found = 0, v = 0, x = 0.8;
    fm_path path = usual_path("cosine", 1);
    target to = {.path = &path, .dimension = 1};
    fm_solve_plan ddim = plan_of("ddim", &to, 0.3, 0.55, 1, grid);
    end_of(&ddim, velocity_two_modes, &to, &x, &found);
    velocity_two_modes(&to, 0.3, &x, &v);
    double angle = PI / 2 * 0.25;
    ck_assert_double_eq_tol(found, cos(angle) * x + 2 / PI * sin(angle) * v, 1e-13);
}
END_TEST

/* Euler in x / sigma, in x / alpha and in x / (alpha + sigma), on what each takes for constant. */
START_TEST(three_reparametrised_eulers_are_one_ddim_step)
{
    double grid[2], found = 0, v = 0, x = 0.8;
    fm_path path = usual_path("cosine", 1);
    target to = {.path = &path, .dimension = 1};
    fm_solve_plan ddim = plan_of("ddim", &to, 0.3, 0.55, 1, grid);
    end_of(&ddim, velocity_two_modes, &to, &x, &found);
    velocity_two_modes(&to, 0.3, &x, &v);
    fm_path_point a = fm_path_at(&path, 0.3), b = fm_path_at(&path, 0.55);
    double determinant = a.d_alpha * a.sigma - a.alpha * a.d_sigma;
    double data = (a.sigma * v - a.d_sigma * x) / determinant;
    double noise = (a.d_alpha * x - a.alpha * v) / determinant;
    double by_data = b.sigma * (x / a.sigma + data * (b.alpha / b.sigma - a.alpha / a.sigma));
    double by_noise = b.alpha * (x / a.alpha + noise * (b.sigma / b.alpha - a.sigma / a.alpha));
    double sum_a = a.alpha + a.sigma, sum_b = b.alpha + b.sigma;
    double by_velocity = sum_b * (x / sum_a + (noise - data) * (b.sigma / sum_b - a.sigma / sum_a));
    ck_assert_double_eq_tol(found, by_data, 1e-13);
    ck_assert_double_eq_tol(found, by_noise, 1e-13);
    ck_assert_double_eq_tol(found, by_velocity, 1e-13);
}
END_TEST

START_TEST(ten_ddim_steps_on_normal_data_scale_it_by_0_8834852)
{
    double grid[11], end = 0, one = 1;
    fm_path path = usual_path("cosine", 1);
    target to = {.path = &path, .dimension = 1, .std = 1};
    fm_solve_plan ddim = plan_of("ddim", &to, 0, 1, 10, grid);
    end_of(&ddim, velocity_normal, &to, &one, &end);
    ck_assert_double_eq_tol(end, 0.8834852, 5e-8);
    ck_assert_double_eq_tol(end, pow(cos(PI / 20), 10), 1e-13);
}
END_TEST

START_TEST(ddim_goes_back_the_way_that_euler_goes)
{
    double grid[9], natural[N_STARTS], plain[N_STARTS];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    fm_solve_plan ddim = plan_of("ddim", &to, 0.9, 0, 8, grid);
    fm_solve_plan euler = plan_of("euler", &to, 0.9, 0, 8, grid);
    end_of(&ddim, velocity_two_modes, &to, starts, natural);
    end_of(&euler, velocity_two_modes, &to, starts, plain);
    ck_assert_double_le(trajectory_distance(N_STARTS, natural, plain), 1e-12);
}
END_TEST

/* ---- the exact flow ---- */

START_TEST(all_schedulers_give_the_same_endpoint_map)
{
    double grid[3], other[N_STARTS], plain[N_STARTS], x0[N_STARTS];
    fm_path path = usual_path(schedulers[_i], 1), condot = usual_path("condot", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    target straight = {.path = &condot, .dimension = N_STARTS};
    /* From where and to where the two paths have the same signal to noise. */
    fm_path_point first = fm_path_at(&path, 0.1), last = fm_path_at(&path, 0.9);
    double begin = first.alpha / (first.alpha + first.sigma);
    double end = last.alpha / (last.alpha + last.sigma);
    for (size_t i = 0; i < N_STARTS; i++) {
        x0[i] = starts[i] * (first.alpha + first.sigma);
    }
    fm_solve_plan on_path = plan_of("dopri8", &to, 0.1, 0.9, 2, grid);
    end_of(&on_path, velocity_two_modes, &to, x0, other);
    fm_solve_plan on_line = plan_of("dopri8", &straight, begin, end, 2, grid);
    end_of(&on_line, velocity_two_modes, &straight, starts, plain);
    for (size_t i = 0; i < N_STARTS; i++) {
        ck_assert_double_eq_tol(other[i] / (last.alpha + last.sigma), plain[i], 2e-8);
    }
}
END_TEST

/* ---- how trajectories run ---- */

static fm_path_shape shape_of(const char *method, const char *scheduler, double std, double mean)
{
    double grid[2001], one = 1;
    fm_path path = usual_path(scheduler, 1);
    target to = {.path = &path, .dimension = 1, .mean = mean, .std = std};
    fm_solve_plan plan = plan_of(method, &to, 0, 1, 2000, grid);
    plan.measures_path = true;
    trajectory run;
    trajectory_run(&run, &plan, velocity_normal, &to, &one);
    fm_path_shape shape = run.report.shape;
    trajectory_done(&run);
    return shape;
}

/* Of the start 1, which is its mean over N(0, 1), for displacements are linear in the start. */
START_TEST(straightness_to_a_normal_is_s_times_2_minus_half_pi)
{
    static const double stds[] = {0.5, 1, 2};
    for (size_t i = 0; i < 3; i++) {
        double expected = stds[i] * (2 - PI / 2);
        double fixed = shape_of("midpoint", "condot", stds[i], 0).straightness;
        ck_assert_double_eq_tol(fixed, expected, 1e-6);
        double sampler = shape_of("ddim", "condot", stds[i], 0).straightness;
        ck_assert_double_eq_tol(sampler, expected, 3e-3);
        double adaptive = shape_of("dopri8", "condot", stds[i], 0).straightness;
        ck_assert_double_eq_tol(adaptive, expected, 1e-7);
    }
    ck_assert_double_eq_tol(shape_of("rk4", "condot", 1, 0).straightness, 0.429203673, 1e-9);
}
END_TEST

START_TEST(kinetic_energies_are_0_464602_and_0_308425)
{
    ck_assert_double_eq_tol(shape_of("rk4", "condot", 0.5, 0).kinetic_energy, 0.464602, 1e-6);
    ck_assert_double_eq_tol(shape_of("rk4", "cosine", 0.5, 0).kinetic_energy, 0.308425, 1e-6);
}
END_TEST

static void velocity_turning(void *context, double t, const double *x, double *v)
{
    (void)context;
    (void)x;
    v[0] = cos(3 * t);
    v[1] = sin(3 * t);
}

START_TEST(a_direction_that_turns_by_three_radians_has_a_curvature_of_three)
{
    double grid[501];
    const double x0[2] = {0, 0};
    target to = {.dimension = 2};
    fm_solve_plan plan = plan_of("rk4", &to, 0, 1, 500, grid);
    plan.measures_path = true;
    trajectory run;
    trajectory_run(&run, &plan, velocity_turning, NULL, x0);
    ck_assert_double_eq_tol(run.report.shape.curvature, 3 * 499.0 / 500, 1e-9);
    ck_assert_double_eq_tol(run.report.shape.kinetic_energy, 1, 1e-12);
    trajectory_done(&run);
}
END_TEST

/* ---- laws of stochastic samplers, by their noise ---- */

#define MAX_NOISE ((size_t)401)

/* A sampler on a linear field maps x to A x + B + sum of c[k] z_k over its draws of noise. Elements share A, B and c
 * and have noise of their own, so as many elements as draws give c. */
typedef struct linear_map {
    double scale, shift, variance; /* A, B; A^2 + sum of c^2 */
} linear_map;

/* Gaussian elimination with pivots: matrix [n][n] row-major and right become the solution. */
static void solve_linear(size_t n, double *matrix, double *right)
{
    for (size_t k = 0; k < n; k++) {
        size_t pivot = k;
        for (size_t i = k; i < n; i++) {
            pivot = fabs(matrix[i * n + k]) > fabs(matrix[pivot * n + k]) ? i : pivot;
        }
        for (size_t j = 0; j < n; j++) {
            double kept = matrix[k * n + j];
            matrix[k * n + j] = matrix[pivot * n + j];
            matrix[pivot * n + j] = kept;
        }
        double kept = right[k];
        right[k] = right[pivot];
        right[pivot] = kept;
        for (size_t i = 0; i < n; i++) {
            double factor = i == k ? 0 : matrix[i * n + k] / matrix[k * n + k];
            for (size_t j = k; factor != 0 && j < n; j++) {
                matrix[i * n + j] -= factor * matrix[k * n + j];
            }
            right[i] -= factor * right[k];
        }
    }
    for (size_t k = 0; k < n; k++) {
        right[k] /= matrix[k * n + k];
    }
}

/* draws: of noise that the sampler makes, one a step from the first on. */
static linear_map measure(fm_solve_plan plan, target to, size_t draws)
{
    static double zeros[MAX_NOISE], ones[MAX_NOISE], at_zero[MAX_NOISE], at_one[MAX_NOISE];
    static double noise[MAX_NOISE * MAX_NOISE], draw[MAX_NOISE], weights[MAX_NOISE];
    size_t n = draws + 1; /* an equation more, for the shift */
    ck_assert_uint_le(n, MAX_NOISE);
    for (size_t i = 0; i < n; i++) {
        ones[i] = 1;
    }
    plan.dimension = to.dimension = n;
    end_of(&plan, velocity_normal, &to, zeros, at_zero);
    end_of(&plan, velocity_normal, &to, ones, at_one);
    for (size_t k = 0; k < n; k++) {
        if (k < draws) {
            fm_rng_normal(plan.seed, 0, FM_RNG_SOLVER_NOISE, k * n, n, draw);
        }
        for (size_t i = 0; i < n; i++) {
            noise[i * n + k] = k < draws ? draw[i] : 1;
            weights[i] = at_zero[i];
        }
    }
    solve_linear(n, noise, weights);
    linear_map ret = {.scale = at_one[0] - at_zero[0], .shift = weights[draws]};
    ret.variance = ret.scale * ret.scale;
    for (size_t k = 0; k < draws; k++) {
        ret.variance += weights[k] * weights[k];
    }
    return ret;
}

START_TEST(euler_maruyama_by_injected_noise_has_variance_0_2497094864)
{
    double grid[101];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = 1, .mean = 2, .std = 0.5};
    fm_solve_plan plan = plan_of("euler_maruyama", &to, 0, 1, 100, grid);
    plan.solver.sampling.diffusion = (fm_diffusion){.form = FM_DIFFUSION_CONSTANT, .norm = 0.5};
    plan.solver.sampling.last_step = FM_LAST_STEP_NOISE;
    linear_map map = measure(plan, to, 100);
    ck_assert_double_eq_tol(map.variance, 0.2497094864, 1e-10);
    ck_assert_double_eq_tol(map.shift, 2, 1e-10);
}
END_TEST

START_TEST(the_variance_of_euler_maruyama_is_off_by_the_known_bias_of_weak_order_one)
{
    static const struct {
        size_t n;
        double bias;
    } rows[] = {{100, -2.905e-4}, {200, -1.542e-4}, {400, -7.93e-5}};
    double grid[401];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = 1, .mean = 2, .std = 0.5};
    fm_solve_plan plan = plan_of("euler_maruyama", &to, 0, 1, rows[_i].n, grid);
    plan.solver.sampling.diffusion = (fm_diffusion){.form = FM_DIFFUSION_CONSTANT, .norm = 0.5};
    plan.solver.sampling.last_step = FM_LAST_STEP_NOISE;
    linear_map map = measure(plan, to, rows[_i].n);
    ck_assert_double_eq_tol(map.variance - 0.25, rows[_i].bias, 1e-3 * fabs(rows[_i].bias));
}
END_TEST

/* dx = v dt + g (t v - x) dt + sqrt(2 g (1 - t)) dW on the straight path. */
START_TEST(a_linear_diffusion_is_the_straight_flow_s_own_equation)
{
    const double g = 0.8, t = 0.3, h = 0.2;
    double grid[2], v[N_STARTS], z[N_STARTS], end[N_STARTS];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = N_STARTS};
    fm_solve_plan plan = plan_of("euler_maruyama", &to, t, t + h, 1, grid);
    plan.solver.sampling.diffusion = (fm_diffusion){.form = FM_DIFFUSION_LINEAR, .norm = g};
    plan.solver.sampling.last_step = FM_LAST_STEP_NOISE;
    end_of(&plan, velocity_two_modes, &to, starts, end);
    velocity_two_modes(&to, t, starts, v);
    fm_rng_normal(plan.seed, 0, FM_RNG_SOLVER_NOISE, 0, N_STARTS, z);
    for (size_t i = 0; i < N_STARTS; i++) {
        double drift = v[i] + g * (t * v[i] - starts[i]);
        double x = starts[i] + h * drift + sqrt(2 * g * (1 - t) * h) * z[i];
        ck_assert_double_eq_tol(end[i], x, 1e-13);
    }
}
END_TEST

static const fm_diffusion_form forms[] = {FM_DIFFUSION_SIGMA, FM_DIFFUSION_CONSTANT,
                                          FM_DIFFUSION_LINEAR, FM_DIFFUSION_DECREASING,
                                          FM_DIFFUSION_INCREASING_DECREASING};

/* How far the variance is from 0.25 with n and with 2 n steps of [0, 0.999]. */
static void check_weak_order(const char *method, const fm_sampling *sampling, const char *scheduler)
{
    double grid[2 * 64 + 1], off[2];
    fm_path path = usual_path(scheduler, 1);
    target to = {.path = &path, .dimension = 1, .mean = 2, .std = 0.5};
    for (size_t fine = 0; fine < 2; fine++) {
        size_t n = fine ? 128 : 64;
        fm_solve_plan plan = plan_of(method, &to, 0.01, 0.99, n, grid);
        plan.solver.sampling = *sampling;
        linear_map map = measure(plan, to, n);
        fm_path_point first = fm_path_at(&path, 0.01), last = fm_path_at(&path, 0.99);
        double begin = first.alpha * first.alpha * 0.25 + first.sigma * first.sigma;
        double end = last.alpha * last.alpha * 0.25 + last.sigma * last.sigma;
        double variance = map.variance + map.scale * map.scale * (begin - 1);
        double mean = map.shift + map.scale * first.alpha * 2;
        off[fine] = fabs(variance / end - 1);
        ck_assert_msg(fabs(mean / (2 * last.alpha) - 1) <= 2e-2, "%s: mean %g", method, mean);
        ck_assert_msg(off[fine] <= 0.1, "%s: variance %g, not %g", method, variance, end);
    }
    ck_assert_msg(off[1] <= 0.6 * off[0] || off[1] <= 1.5e-3, "%s: off by %g, then %g", method,
                  off[0], off[1]);
}

START_TEST(every_diffusion_keeps_the_marginals)
{
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.diffusion = (fm_diffusion){.form = forms[_i], .norm = 0.7};
    sampling.last_step = FM_LAST_STEP_NOISE;
    check_weak_order("euler_maruyama", &sampling, "condot");
    check_weak_order("euler_maruyama", &sampling, "vp");
}
END_TEST

START_TEST(a_diffusion_by_points_keeps_the_marginals)
{
    const double t[3] = {0, 0.4, 1}, values[3] = {0.2, 1.5, 0};
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.diffusion =
        (fm_diffusion){.form = FM_DIFFUSION_TABLE, .t = t, .values = values, .n = 3};
    sampling.last_step = FM_LAST_STEP_NOISE;
    check_weak_order("euler_maruyama", &sampling, "condot");
}
END_TEST

START_TEST(the_forward_process_s_own_diffusion_keeps_the_marginals)
{
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.diffusion = (fm_diffusion){.form = FM_DIFFUSION_SBDM, .norm = 1};
    check_weak_order("euler_maruyama", &sampling, "vp");
}
END_TEST

START_TEST(ancestral_refreshed_and_overshot_noise_keep_the_marginals)
{
    static const char *const methods[] = {"ddpm", "noise_refresh", "overshoot"};
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.refresh = 0.1;
    check_weak_order(methods[_i], &sampling, "condot");
    check_weak_order(methods[_i], &sampling, "cosine");
}
END_TEST

/* ---- single steps ---- */

/* One step from x at t to s: scale of x by the state alone, and its fresh noise. */
static linear_map one_step(const char *method, const fm_path *path, double t, double s,
                           const fm_sampling *sampling)
{
    double grid[2];
    target to = {.path = path, .dimension = 1, .std = 1};
    fm_solve_plan plan = plan_of(method, &to, t, s, 1, grid);
    plan.solver.sampling = *sampling;
    return measure(plan, to, 1);
}

START_TEST(a_ddpm_step_is_ddim_to_twice_the_distance_then_renoised)
{
    fm_path path = usual_path("cosine", 1);
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    double t = 0.3, s = 0.45;
    fm_path_point from = fm_path_at(&path, t), to = fm_path_at(&path, s);
    linear_map ancestral = one_step("ddpm", &path, t, s, &sampling);
    /* At the time with l = 2 l_s - l_t, then back by a = alpha_s / alpha_r. */
    double ratio = to.alpha / to.sigma, farther = ratio * ratio / (from.alpha / from.sigma);
    double r = fm_path_time_of(&path, farther, 1);
    fm_path_point beyond = fm_path_at(&path, r);
    linear_map ddim = one_step("ddim", &path, t, r, &sampling);
    double a = to.alpha / beyond.alpha;
    double added = to.sigma * to.sigma - a * a * beyond.sigma * beyond.sigma;
    ck_assert_double_eq_tol(ancestral.scale, a * ddim.scale, 1e-13);
    ck_assert_double_eq_tol(ancestral.variance - ancestral.scale * ancestral.scale, added, 1e-12);
    /* and the variance is the posterior's, sigma_s^2 (1 - e^-dl) */
    double gap = 1 - pow(from.alpha * to.sigma / (to.alpha * from.sigma), 2);
    ck_assert_double_eq_tol(added, to.sigma * to.sigma * gap, 1e-13);
}
END_TEST

START_TEST(eta_takes_part_of_the_ancestral_noise)
{
    fm_path path = usual_path("vp", 1);
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    double t = 0.3, s = 0.45;
    fm_path_point from = fm_path_at(&path, t), to = fm_path_at(&path, s);
    sampling.eta = 0;
    linear_map none = one_step("ddpm", &path, t, s, &sampling);
    linear_map ddim = one_step("ddim", &path, t, s, &sampling);
    ck_assert_double_eq_tol(none.scale, ddim.scale, 1e-14);
    ck_assert_double_eq_tol(none.variance, ddim.variance, 1e-14);
    sampling.eta = 0.6;
    linear_map part = one_step("ddpm", &path, t, s, &sampling);
    double c = 0.6 * to.sigma / from.sigma * sqrt(1 - pow(from.alpha / to.alpha, 2));
    ck_assert_double_eq_tol(part.variance - part.scale * part.scale, c * c, 1e-12);
}
END_TEST

START_TEST(an_overshot_step_is_renoised_to_the_right_variance)
{
    fm_path path = usual_path("condot", 1);
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.overshoot = 2;
    double t = 0.3, s = 0.4, over = s + 2 * 0.1 * 0.6;
    linear_map map = one_step("overshoot", &path, t, s, &sampling);
    linear_map ddim = one_step("ddim", &path, t, over, &sampling);
    double a = s / over;
    ck_assert_double_eq_tol(map.scale, a * ddim.scale, 1e-13);
    ck_assert_double_eq_tol(map.variance - map.scale * map.scale,
                            pow(1 - s, 2) - pow(a * (1 - over), 2), 1e-12);
}
END_TEST

START_TEST(churn_adds_the_variance_between_both_noise_levels)
{
    double grid[3];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = 1, .std = 1e-6};
    fm_solve_plan plan = plan_of("edm_heun", &to, 0.5, 1, 1, grid);
    plan.solver.sampling.churn = 0.2;
    /* On a point at 0 the step to sigma = 0 ends at 0; its data is what the churned state has been. */
    plan.output_every_step = true;
    double x = 0.7, end = 1;
    end_of(&plan, velocity_normal, &to, &x, &end);
    ck_assert_double_eq_tol(end, 0, 1e-9);
    /* to t = 0.6 by ddim: x sigma_s / sigma_t of the churned state. */
    fm_solve_plan step = plan_of("edm_heun", &to, 0.5, 0.6, 1, grid);
    step.solver.sampling.churn = 0.2;
    linear_map map = measure(step, to, 1);
    double level = 1, higher = 1.2, next = 0.4 / 0.6;
    ck_assert_double_eq_tol(map.scale, 0.6 * next / (0.5 * higher), 1e-6);
    double noise = (map.variance - map.scale * map.scale) / pow(0.6 * next / higher, 2);
    ck_assert_double_eq_tol(noise, higher * higher - level * level, 1e-6);
    step.solver.sampling.churn_range[0] = 2;
    linear_map outside = measure(step, to, 1);
    ck_assert_double_eq_tol(outside.variance, outside.scale * outside.scale, 1e-12);
}
END_TEST

/* The corrector alone: many Langevin steps of size e on N(mean, V) end in N(mean, V / (1 - e / (2 V))). */
START_TEST(langevin_steps_have_the_stationary_variance_of_their_size)
{
    double grid[2];
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = 1, .mean = 2, .std = 0.5};
    fm_solve_plan plan = plan_of("predictor_corrector", &to, 0.499, 0.5, 1, grid);
    plan.solver.sampling.corrector_steps = 150;
    plan.solver.sampling.signal_to_noise = 0.3;
    linear_map map = measure(plan, to, 151);
    double variance = 0.25 * 0.25 + 0.25, size = 2 * pow(0.3 * 0.5, 2);
    ck_assert_double_eq_tol(map.variance, variance / (1 - size / (2 * variance)), 1e-8);
    ck_assert_double_eq_tol(map.shift, 1, 1e-8);
}
END_TEST

/* ---- last steps ---- */

START_TEST(the_last_step_is_made_as_asked)
{
    double grid[3] = {0.5, 0.9, 1}, ends[FM_N_LAST_STEPS] = {0}, before = 0, v = 0, x = 0.2;
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .dimension = 1, .mean = 2, .std = 0.5};
    fm_solve_plan plan = plan_of("euler_maruyama", &to, 0.5, 1, 2, grid);
    grid[1] = 0.9;
    plan.n_output_times = 1;
    plan.output_times = &grid[1];
    for (unsigned last = 0; last < FM_N_LAST_STEPS; last++) {
        plan.solver.sampling.last_step = (fm_last_step)last;
        trajectory run;
        trajectory_run(&run, &plan, velocity_normal, &to, &x);
        before = run.outputs[0]; /* the same for all */
        ends[last] = run.end[0];
        trajectory_done(&run);
    }
    velocity_normal(&to, 0.9, &before, &v);
    double score = (0.9 * v - before) / 0.1, diffusion = 0.1;
    ck_assert_double_eq_tol(ends[FM_LAST_STEP_EULER], before + 0.1 * v, 1e-12);
    ck_assert_double_eq_tol(ends[FM_LAST_STEP_MEAN], before + 0.1 * (v + diffusion * score), 1e-12);
    ck_assert_double_eq_tol(ends[FM_LAST_STEP_TWEEDIE], before / 0.9 + 0.01 / 0.9 * score, 1e-12);
    double noise = 0;
    fm_rng_normal(plan.seed, 0, FM_RNG_SOLVER_NOISE, 1, 1, &noise);
    ck_assert_double_eq_tol(ends[FM_LAST_STEP_NOISE],
                            ends[FM_LAST_STEP_MEAN] + sqrt(2 * diffusion * 0.1) * noise, 1e-12);
}
END_TEST

/* ---- many samples ---- */

#define N_SAMPLES ((size_t)40000)

/* Fresh starts of N(0, 1) through the sampler to N(2, 0.5^2): mean and variance of what comes out. */
static void sample_moments(fm_solve_plan *plan, target *to, double *ret_mean, double *ret_variance)
{
    double *x0 = malloc(N_SAMPLES * sizeof *x0), *x1 = malloc(N_SAMPLES * sizeof *x1);
    double sum = 0, squares = 0;
    plan->dimension = to->dimension = N_SAMPLES;
    fm_rng_normal(3, 0, FM_RNG_SOURCE_NOISE, 0, N_SAMPLES, x0);
    end_of(plan, velocity_normal, to, x0, x1);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        sum += x1[i];
        squares += (x1[i] - 2) * (x1[i] - 2);
    }
    *ret_mean = sum / N_SAMPLES;
    *ret_variance = squares / N_SAMPLES - pow(*ret_mean - 2, 2);
    free(x0);
    free(x1);
}

START_TEST(two_look_samplers_and_the_corrector_keep_the_marginals)
{
    static const char *const methods[] = {"stochastic_heun", "edm_heun", "predictor_corrector"};
    double grid[201], mean = 0, variance = 0;
    fm_path path = usual_path("condot", 1);
    target to = {.path = &path, .mean = 2, .std = 0.5};
    fm_solve_plan plan = plan_of(methods[_i], &to, 0, 1, 200, grid);
    plan.solver.sampling.churn = 40;
    plan.solver.sampling.signal_to_noise = 0.05;
    sample_moments(&plan, &to, &mean, &variance);
    ck_assert_msg(fabs(mean - 2) < 0.02, "%s: mean %g", methods[_i], mean);
    ck_assert_msg(fabs(variance - 0.25) < 0.012, "%s: variance %g", methods[_i], variance);
}
END_TEST

Suite *suite_engine_identities(void)
{
    Suite *suite = suite_create("engine/identities");
    TCase *natural = tcase_create("natural steps");
    tcase_add_test(natural, ddim_on_the_straight_path_is_euler);
    tcase_add_loop_test(natural, natural_euler_on_any_scheduler_is_straight_euler_on_its_grid, 0,
                        N_SCHEDULERS);
    tcase_add_loop_test(natural, a_flow_in_one_dimension_is_the_map_of_quantiles, 0, N_SCHEDULERS);
    tcase_add_test(natural, plain_euler_on_the_cosine_path_is_not_ddim);
    tcase_add_test(natural, one_natural_step_on_the_cosine_path_is_a_rotation);
    tcase_add_test(natural, three_reparametrised_eulers_are_one_ddim_step);
    tcase_add_test(natural, ten_ddim_steps_on_normal_data_scale_it_by_0_8834852);
    tcase_add_test(natural, ddim_goes_back_the_way_that_euler_goes);
    tcase_add_loop_test(natural, all_schedulers_give_the_same_endpoint_map, 0, N_SCHEDULERS);
    tcase_add_test(natural, straightness_to_a_normal_is_s_times_2_minus_half_pi);
    tcase_add_test(natural, kinetic_energies_are_0_464602_and_0_308425);
    tcase_add_test(natural, a_direction_that_turns_by_three_radians_has_a_curvature_of_three);
    suite_add_tcase(suite, natural);
    TCase *laws = tcase_create("laws");
    tcase_add_test(laws, euler_maruyama_by_injected_noise_has_variance_0_2497094864);
    tcase_add_loop_test(
        laws, the_variance_of_euler_maruyama_is_off_by_the_known_bias_of_weak_order_one, 0, 3);
    tcase_add_test(laws, a_linear_diffusion_is_the_straight_flow_s_own_equation);
    tcase_add_loop_test(laws, every_diffusion_keeps_the_marginals, 0,
                        (int)(sizeof forms / sizeof *forms));
    tcase_add_test(laws, a_diffusion_by_points_keeps_the_marginals);
    tcase_add_test(laws, the_forward_process_s_own_diffusion_keeps_the_marginals);
    tcase_add_loop_test(laws, ancestral_refreshed_and_overshot_noise_keep_the_marginals, 0, 3);
    tcase_add_test(laws, a_ddpm_step_is_ddim_to_twice_the_distance_then_renoised);
    tcase_add_test(laws, eta_takes_part_of_the_ancestral_noise);
    tcase_add_test(laws, an_overshot_step_is_renoised_to_the_right_variance);
    tcase_add_test(laws, churn_adds_the_variance_between_both_noise_levels);
    tcase_add_test(laws, langevin_steps_have_the_stationary_variance_of_their_size);
    tcase_add_test(laws, the_last_step_is_made_as_asked);
    tcase_add_loop_test(laws, two_look_samplers_and_the_corrector_keep_the_marginals, 0, 3);
    suite_add_tcase(suite, laws);
    return suite;
}
