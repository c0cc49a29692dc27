/* Rows whose states are not in flat space, from a model's folder to samples: densities, fields, starts, tokens. */
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/model.h"
#include "engine/space/space.h"
#include "tests/support/engine_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN "tests/golden/"
#define PI     3.14159265358979323846

static const double forward[] = {0, 1}, backward[] = {1, 0};
static const double early[] = {0.3, 0}; /* while densities are smooth enough for a grid of points */

static fm_row_result row_of(const fm_job *job, size_t row)
{
    fm_row_result result;
    fm_job_row(job, row, &result);
    ck_assert_int_eq(result.status, FM_ROW_OK);
    return result;
}

/* ---- densities are those of a distribution ---- */

/* Points and weights of a rule that integrates over a space; those of the sphere and the torus are products. */
typedef struct quadrature {
    double *x, *weights;
    size_t n;
} quadrature;

static quadrature quadrature_new(size_t n, size_t dimension)
{
    return (quadrature){.x = fm_alloc_array(n * dimension, sizeof(double)),
                        .weights = fm_alloc_array(n, sizeof(double)),
                        .n = n};
}

/* Equal cells in z and longitude have equal areas. */
static quadrature over_sphere(size_t side)
{
    quadrature ret = quadrature_new(side * side, 3);
    for (size_t i = 0; i < ret.n; i++) {
        size_t row = i / side;
        double z = -1 + 2 * ((double)row + 0.5) / (double)side;
        double lon = 2 * PI * ((double)(i % side) + 0.5) / (double)side, r = sqrt(1 - z * z);
        ret.x[3 * i] = r * cos(lon);
        ret.x[3 * i + 1] = r * sin(lon);
        ret.x[3 * i + 2] = z;
        ret.weights[i] = 4 * PI / (double)ret.n;
    }
    return ret;
}

static quadrature over_torus(size_t side)
{
    quadrature ret = quadrature_new(side * side, 2);
    for (size_t i = 0; i < ret.n; i++) {
        size_t row = i / side;
        ret.x[2 * i] = 2 * PI * ((double)row + 0.5) / (double)side;
        ret.x[2 * i + 1] = 2 * PI * ((double)(i % side) + 0.5) / (double)side;
        ret.weights[i] = 4 * PI * PI / (double)ret.n;
    }
    return ret;
}

/* Shoemake's parametrisation of uniform rotations, on a grid. */
static quadrature over_rotations(size_t side)
{
    quadrature ret = quadrature_new(side * side * side, 4);
    for (size_t i = 0; i < ret.n; i++) {
        size_t outer = i / side / side;
        double u = ((double)(i % side) + 0.5) / (double)side;
        double a = 2 * PI * ((double)(i / side % side) + 0.5) / (double)side;
        double b = 2 * PI * ((double)outer + 0.5) / (double)side;
        double *q = ret.x + 4 * i;
        q[0] = sqrt(1 - u) * sin(a);
        q[1] = sqrt(1 - u) * cos(a);
        q[2] = sqrt(u) * sin(b);
        q[3] = sqrt(u) * cos(b);
        ret.weights[i] = 1 / (double)ret.n;
    }
    return ret;
}

static const struct {
    const char *folder;
    quadrature (*over)(size_t side);
    size_t side;
    double allowed; /* of the integral, seen to be three times less */
} densities[] = {
    {GOLDEN "sphere-mlp", over_sphere, 96, 2e-3},
    {GOLDEN "torus-fourier", over_torus, 96, 2e-3},
    {GOLDEN "so3-mlp", over_rotations, 20, 2e-3},
};

START_TEST(densities_integrate_to_one)
{
    engine_case it;
    engine_case_open(&it, densities[_i].folder, 2);
    quadrature rule = densities[_i].over(densities[_i].side);
    fm_job_spec spec = engine_case_spec(it.model, rule.n, "dopri5", 2, early);
    spec.x = rule.x;
    spec.log_likelihood = true;
    fm_job *job = engine_case_run(it.engine, &spec);
    double sum = 0;
    for (size_t i = 0; i < rule.n; i++) {
        sum += rule.weights[i] * exp(row_of(job, i).log_likelihood);
    }
    ck_assert_msg(fabs(sum - 1) < densities[_i].allowed, "%s: %g", densities[_i].folder, sum);
    fm_job_free(job);
    fm_free(rule.x);
    fm_free(rule.weights);
    engine_case_close(&it);
}
END_TEST

static const char *const folders[] = {GOLDEN "sphere-mlp", GOLDEN "torus-fourier", GOLDEN "so3-mlp",
                                      GOLDEN "hyperbolic-mlp", GOLDEN "spd-mlp"};

/* Along the way and by the way back; Hutchinson's probes about the exact trace. */
START_TEST(a_samples_log_likelihood_is_what_its_point_is_said_to_have)
{
    engine_case it;
    engine_case_open(&it, folders[_i], 2);
    size_t n = 6, dimension = fm_model_describe(it.model)->dimension;
    fm_job_spec spec = engine_case_spec(it.model, n, "dopri8", 2, forward);
    spec.log_likelihood = true;
    fm_job *sampled = engine_case_run(it.engine, &spec);
    double *x = fm_alloc_array(n * dimension, sizeof *x);
    for (size_t i = 0; i < n * dimension; i++) {
        x[i] = row_of(sampled, i / dimension).x[i % dimension];
    }
    spec.solver.grid = backward;
    spec.x = x;
    fm_job *found = engine_case_run(it.engine, &spec);
    spec.divergence = (fm_divergence){
        .method = FM_DIVERGENCE_HUTCHINSON, .probe = FM_PROBE_GAUSSIAN, .n_probes = 256};
    fm_job *estimated = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < n; i++) {
        double exact = row_of(found, i).log_likelihood;
        fm_row_result estimate = row_of(estimated, i);
        ck_assert_double_le(fabs(exact - row_of(sampled, i).log_likelihood), 1e-3);
        ck_assert_double_gt(estimate.standard_error, 0);
        ck_assert_double_le(fabs(estimate.log_likelihood - exact), 5 * estimate.standard_error);
    }
    fm_job_free(sampled);
    fm_job_free(found);
    fm_job_free(estimated);
    fm_free(x);
    engine_case_close(&it);
}
END_TEST

/* Ten times the tolerance, which is 1e-5; states are float32 between. */
START_TEST(what_is_encoded_is_decoded_again)
{
    engine_case it;
    engine_case_open(&it, folders[_i], 2);
    const fm_space *space = fm_model_describe(it.model)->geometry;
    size_t n = 8, dimension = space->states;
    fm_job_spec spec = engine_case_spec(it.model, n, "dopri8", 2, forward);
    double *x = fm_alloc_array(n * dimension, sizeof *x);
    double *again = fm_alloc_array(dimension, sizeof *again);
    fm_job *there = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < n * dimension; i++) {
        x[i] = row_of(there, i / dimension).x[i % dimension];
    }
    spec.x = x;
    spec.solver.grid = backward;
    fm_job *back = engine_case_run(it.engine, &spec);
    double *latents = fm_alloc_array(n * dimension, sizeof *latents);
    for (size_t i = 0; i < n * dimension; i++) {
        latents[i] = row_of(back, i / dimension).x[i % dimension];
    }
    spec.x = latents;
    spec.solver.grid = forward;
    fm_job *forth = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < dimension; k++) {
            again[k] = row_of(forth, i).x[k];
        }
        ck_assert_double_le(fm_space_distance(space, x + i * dimension, again), 1e-4);
    }
    fm_job_free(there);
    fm_job_free(back);
    fm_job_free(forth);
    fm_free(x);
    fm_free(latents);
    fm_free(again);
    engine_case_close(&it);
}
END_TEST

/* ---- fields ---- */

/* The velocity at a point, by the engine. */
static void velocity_at(const engine_case *it, const double *x, unsigned fields, fm_job **ret)
{
    static const double t[] = {0.4};
    fm_job_spec spec = {.task = FM_TASK_VELOCITY,
                        .model = it->model,
                        .n_rows = 1,
                        .guidance = {.scale = 1},
                        .x = x,
                        .t = t,
                        .fields = fields};
    *ret = engine_case_run(it->engine, &spec);
}

/* x1_hat is at the end of the geodesic that the velocity begins, and velocities are tangent. */
START_TEST(the_data_predicted_lies_where_the_velocity_points)
{
    engine_case it;
    engine_case_open(&it, folders[_i], 1);
    const fm_space *space = fm_model_describe(it.model)->geometry;
    fm_job_spec spec = engine_case_spec(it.model, 1, "euler", 2, forward);
    fm_job *job = engine_case_run(it.engine, &spec), *at = NULL;
    double x[16], v[16], expected[16], found[16], again[16];
    for (size_t i = 0; i < space->states; i++) {
        x[i] = row_of(job, 0).x[i];
    }
    velocity_at(&it, x, FM_FIELD_BIT(FM_FIELD_VELOCITY) | FM_FIELD_BIT(FM_FIELD_X1_HAT), &at);
    fm_space_normalise(space, x);
    for (size_t i = 0; i < space->states; i++) {
        v[i] = 0.6 * (double)row_of(at, 0).fields[FM_FIELD_VELOCITY][i]; /* (1 - t) v of condot */
        found[i] = row_of(at, 0).fields[FM_FIELD_X1_HAT][i];
    }
    fm_space_exp(space, x, v, expected);
    ck_assert_double_le(fm_space_distance(space, expected, found), 1e-5);
    memcpy(again, v, sizeof again);
    double zero[16] = {0}, moved[16];
    fm_space_exp(space, x, zero, moved); /* the space's own x */
    fm_space_log(space, moved, expected, again);
    ck_assert_double_le(fabs(again[0] - v[0]), 1e-5);
    fm_job_free(job);
    fm_job_free(at);
    engine_case_close(&it);
}
END_TEST

START_TEST(fields_and_requests_of_flat_space_are_refused)
{
    engine_case it;
    engine_case_open(&it, GOLDEN "sphere-mlp", 1);
    const double x[] = {1, 0, 0}, t[] = {0.5};
    fm_job_spec spec = engine_case_spec(it.model, 1, "euler", 2, forward);
    fm_job_spec bad = spec;
    bad.fields = FM_FIELD_BIT(FM_FIELD_SCORE);
    engine_case_refuse(it.engine, &bad, "does not take the fields score and x0_hat");
    bad = spec;
    bad.path = fm_model_describe(it.model)->path;
    engine_case_refuse(it.engine, &bad, "does not take another scheduler");
    bad = spec;
    bad.measures_path = true;
    engine_case_refuse(it.engine, &bad, "does not take measures of the path");
    bad = spec;
    bad.guidance.zero_star = true;
    engine_case_refuse(it.engine, &bad, "does not take guidance of channels");
    bad = spec;
    bad.solver.method = fm_method_find("ddim");
    engine_case_refuse(it.engine, &bad, "is not made for sphere");
    bad = spec;
    bad.task = FM_TASK_BOUND;
    bad.x = x;
    bad.t = t;
    bad.bound_draws = 8;
    engine_case_refuse(it.engine, &bad, "a bound is of tokens");
    engine_case_close(&it);
}
END_TEST

/* ---- starts ---- */

START_TEST(noise_is_added_along_the_geodesic)
{
    engine_case it;
    engine_case_open(&it, GOLDEN "sphere-mlp", 1);
    const fm_space *space = fm_model_describe(it.model)->geometry;
    const double data[] = {0, 0.6, 0.8}, late[] = {0.25, 1}, whole[] = {0, 1}, first[] = {0.25};
    fm_job_spec spec = engine_case_spec(it.model, 1, "euler", 2, whole);
    spec.output_every_step = true;
    fm_job *noise = engine_case_run(it.engine, &spec);
    spec.solver.grid = late;
    spec.x = data;
    spec.adds_noise = true;
    fm_job *mixed = engine_case_run(it.engine, &spec);
    double x0[3], x[3], expected[3];
    for (size_t i = 0; i < 3; i++) {
        x0[i] = row_of(noise, 0).fields[FM_FIELD_X][i];
        x[i] = row_of(mixed, 0).fields[FM_FIELD_X][i];
    }
    fm_space_between(space, x0, data, first[0], expected);
    ck_assert_double_le(fm_space_distance(space, x, expected), 1e-6);
    fm_job_free(noise);
    fm_job_free(mixed);
    engine_case_close(&it);
}
END_TEST

START_TEST(the_source_is_drawn_as_the_space_says)
{
    engine_case it;
    engine_case_open(&it, GOLDEN "sphere-mlp", 2);
    size_t n = 4000;
    fm_job_spec spec = engine_case_spec(it.model, n, "euler", 2, forward);
    spec.output_every_step = true;
    fm_job *job = engine_case_run(it.engine, &spec);
    double mean[3] = {0}, square[3] = {0};
    for (size_t i = 0; i < n; i++) {
        const float *x = row_of(job, i).fields[FM_FIELD_X];
        for (size_t k = 0; k < 3; k++) {
            mean[k] += (double)x[k] / (double)n;
            square[k] += (double)x[k] * (double)x[k] / (double)n;
        }
    }
    for (size_t k = 0; k < 3; k++) { /* standard errors of 0.009 and 0.005 */
        ck_assert_double_le(fabs(mean[k]), 0.04);
        ck_assert_double_le(fabs(square[k] - 1.0 / 3), 0.02);
    }
    fm_job_free(job);
    engine_case_close(&it);
}
END_TEST

/* ---- tokens ---- */

static const double laws[3][4] = {
    {0.1, 0.2, 0.3, 0.4}, {0.25, 0.25, 0.25, 0.25}, {0.7, 0.1, 0.1, 0.1}};
static const char *const coins[] = {GOLDEN "coins", GOLDEN "coins-uniform"};
static const char *const samplers[] = {"ctmc_euler", "ctmc_exact", "ctmc_tau_leaping"};

/* Chi-square with 9 degrees of freedom: above 27.9 once in a thousand. */
START_TEST(samples_of_tokens_have_the_networks_law)
{
    double grid[9];
    engine_case it;
    engine_case_open(&it, coins[_i % 2], 2);
    size_t n = 4000, counts[3][5] = {{0}};
    fm_grid_uniform(0, 1, 8, grid);
    fm_job_spec spec = engine_case_spec(it.model, n, samplers[_i / 2], 9, grid);
    fm_job *job = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++) {
            double token = (double)row_of(job, i).x[k];
            ck_assert(token >= 0 && token < 4 && floor(token) == token); /* and no mask */
            counts[k][(size_t)token]++;
        }
    }
    double chi_square = 0;
    for (size_t k = 0; k < 3; k++) {
        for (size_t v = 0; v < 4; v++) {
            double expected = (double)n * laws[k][v], found = (double)counts[k][v];
            chi_square += (found - expected) * (found - expected) / expected;
        }
    }
    ck_assert_msg(chi_square < 27.9, "%s, %s: %g", coins[_i % 2], samplers[_i / 2], chi_square);
    fm_job_free(job);
    engine_case_close(&it);
}
END_TEST

START_TEST(given_tokens_never_change_and_the_others_are_drawn)
{
    double grid[9];
    engine_case it;
    engine_case_open(&it, coins[_i], 2);
    enum { N = 64 };
    double x[3 * N];
    unsigned char given[3 * N];
    size_t changed = 0;
    for (size_t i = 0; i < (size_t)3 * N; i++) {
        x[i] = (double)(i % 4);
        given[i] = i % 3 == 1;
    }
    fm_grid_uniform(0, 1, 8, grid);
    fm_job_spec spec = engine_case_spec(it.model, N, "ctmc_euler", 9, grid);
    spec.x = x;
    spec.given = given;
    spec.output_every_step = true;
    spec.solver.sampling.corrector.scale = 4;
    fm_job *job = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < N; i++) {
        fm_row_result row = row_of(job, i);
        ck_assert_uint_eq(row.n_trajectory, 9);
        for (size_t k = 0; k < row.n_trajectory; k++) {
            ck_assert_double_eq((double)row.fields[FM_FIELD_X][3 * k + 1], x[3 * i + 1]);
        }
        changed += (double)row.x[0] != x[3 * i];
    }
    ck_assert_uint_gt(changed, N / 4);
    fm_job_free(job);
    engine_case_close(&it);
}
END_TEST

/* Where the posterior is exact, the mask source's bound is the log probability itself. */
START_TEST(the_bound_of_independent_tokens_is_their_log_probability)
{
    engine_case it;
    engine_case_open(&it, GOLDEN "coins", 2);
    const double x[] = {0, 1, 2, 3, 3, 0};
    fm_job_spec spec = {.task = FM_TASK_BOUND,
                        .model = it.model,
                        .n_rows = 2,
                        .seed = 3,
                        .guidance = {.scale = 1},
                        .x = x,
                        .bound_draws = 4096};
    ck_assert_double_eq(fm_job_expected_evaluations(&spec), 4096);
    fm_job *job = engine_case_run(it.engine, &spec);
    for (size_t i = 0; i < 2; i++) {
        fm_row_result row = row_of(job, i);
        double exact = 0;
        for (size_t k = 0; k < 3; k++) {
            exact += log(laws[k][(size_t)x[3 * i + k]]);
        }
        ck_assert_uint_eq(row.evaluations, 4096);
        ck_assert_double_lt(row.standard_error, 0.15);
        ck_assert_double_le(fabs(row.log_likelihood - exact), 4 * row.standard_error);
    }
    fm_job_free(job);
    engine_case_close(&it);
}
END_TEST

START_TEST(what_tokens_cannot_have_is_refused)
{
    engine_case it;
    engine_case_open(&it, coins[0], 1);
    const double x[] = {0, 1, 2};
    fm_job_spec spec = engine_case_spec(it.model, 1, "ctmc_euler", 2, forward);
    fm_job_spec bad = spec;
    bad.log_likelihood = true;
    engine_case_refuse(it.engine, &bad, "has no divergence");
    bad = spec;
    bad.x = x;
    bad.adds_noise = true;
    engine_case_refuse(it.engine, &bad, "noise added to data");
    bad = spec;
    bad.fields = FM_FIELD_BIT(FM_FIELD_VELOCITY);
    engine_case_refuse(it.engine, &bad, "does not take fields but x");
    bad = spec;
    bad.guidance.zero_until = 0.1;
    engine_case_refuse(it.engine, &bad, "guidance.zero_until");
    bad = spec;
    bad.solver.method = fm_method_find("midpoint");
    engine_case_refuse(it.engine, &bad, "is not made for tokens");
    bad = spec;
    bad.task = FM_TASK_BOUND;
    bad.bound_draws = 8;
    engine_case_refuse(it.engine, &bad, "a bound needs points x");
    engine_case_close(&it);
}
END_TEST

/* ---- bits ---- */

static const struct {
    const char *folder, *method;
    bool log_likelihood;
} kinds[] = {
    {GOLDEN "sphere-mlp", "midpoint", true},    {GOLDEN "sphere-mlp", "dopri5", false},
    {GOLDEN "torus-fourier", "rk4", true},      {GOLDEN "so3-mlp", "dopri5", true},
    {GOLDEN "so3-quaternion", "euler", false},  {GOLDEN "hyperbolic-mlp", "bosh3", true},
    {GOLDEN "spd-mlp", "heun3", true},          {GOLDEN "product-mlp", "ctmc_exact", false},
    {GOLDEN "coins", "ctmc_euler", false},      {GOLDEN "coins-uniform", "ctmc_tau_leaping", false},
    {GOLDEN "mlp-moons-otcfm", "dopri5", true}, {GOLDEN "gaussian-mixture-2d", "euler", false},
};

#define N_KINDS (sizeof kinds / sizeof *kinds)
#define N_ROWS  13

static fm_job_spec kind_spec(size_t i, fm_model *model, const double grid[5])
{
    fm_job_spec spec = engine_case_spec(model, N_ROWS, kinds[i].method, 5, grid);
    spec.seed = i;
    spec.log_likelihood = kinds[i].log_likelihood;
    return spec;
}

/* Rows of all kinds are in flight together, and share calls where they are of one model. */
START_TEST(every_space_gives_the_same_bytes_alone_and_in_a_mix)
{
    double grid[5];
    fm_model *models[N_KINDS];
    fm_job *alone[N_KINDS], *mixed[2 * N_KINDS];
    fm_job_spec specs[N_KINDS];
    fm_error err;
    size_t workers = (size_t)_i + 1;
    fm_engine *engine = engine_case_engine(workers);
    fm_grid_uniform(0, 1, 4, grid);
    for (size_t i = 0; i < N_KINDS; i++) {
        models[i] = engine_case_model(kinds[i].folder, workers);
        specs[i] = kind_spec(i, models[i], grid);
        alone[i] = engine_case_run(engine, &specs[i]);
    }
    for (size_t i = 0; i < 2 * N_KINDS; i++) {
        ck_assert_int_eq(fm_engine_submit(engine, &specs[i % N_KINDS], &mixed[i], &err), FM_OK);
    }
    for (size_t i = 0; i < 2 * N_KINDS; i++) {
        ck_assert_ptr_nonnull(fm_engine_wait(engine));
    }
    for (size_t i = 0; i < 2 * N_KINDS; i++) {
        size_t bytes = fm_model_describe(models[i % N_KINDS])->dimension * sizeof(float);
        for (size_t row = 0; row < N_ROWS; row++) {
            fm_row_result a = row_of(alone[i % N_KINDS], row), b = row_of(mixed[i], row);
            ck_assert_mem_eq(a.x, b.x, bytes);
            bool known = kinds[i % N_KINDS].log_likelihood;
            ck_assert(!known || a.log_likelihood == b.log_likelihood);
        }
        fm_job_free(mixed[i]);
    }
    for (size_t i = 0; i < N_KINDS; i++) {
        fm_job_free(alone[i]);
    }
    fm_engine_free(engine);
    for (size_t i = 0; i < N_KINDS; i++) {
        fm_model_unref(models[i]);
    }
}
END_TEST

Suite *suite_engine_row_space(void)
{
    Suite *suite = suite_create("engine/row_space");
    TCase *points = tcase_create("points"), *tokens = tcase_create("tokens");
    TCase *mix = tcase_create("mix");
    int n = (int)(sizeof folders / sizeof *folders);
    int n_densities = (int)(sizeof densities / sizeof *densities);
    tcase_set_timeout(points, 60);
    tcase_set_timeout(tokens, 60);
    tcase_set_timeout(mix, 60);
    tcase_add_loop_test(points, densities_integrate_to_one, 0, n_densities);
    tcase_add_loop_test(points, a_samples_log_likelihood_is_what_its_point_is_said_to_have, 0, n);
    tcase_add_loop_test(points, what_is_encoded_is_decoded_again, 0, n);
    tcase_add_loop_test(points, the_data_predicted_lies_where_the_velocity_points, 0, n);
    tcase_add_test(points, fields_and_requests_of_flat_space_are_refused);
    tcase_add_test(points, noise_is_added_along_the_geodesic);
    tcase_add_test(points, the_source_is_drawn_as_the_space_says);
    tcase_add_loop_test(tokens, samples_of_tokens_have_the_networks_law, 0, 6);
    tcase_add_loop_test(tokens, given_tokens_never_change_and_the_others_are_drawn, 0, 2);
    tcase_add_test(tokens, the_bound_of_independent_tokens_is_their_log_probability);
    tcase_add_test(tokens, what_tokens_cannot_have_is_refused);
    tcase_add_loop_test(mix, every_space_gives_the_same_bytes_alone_and_in_a_mix, 0, 2);
    suite_add_tcase(suite, points);
    suite_add_tcase(suite, tokens);
    suite_add_tcase(suite, mix);
    return suite;
}
