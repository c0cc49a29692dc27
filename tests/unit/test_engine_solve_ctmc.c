/* Samplers of tokens against laws that are known exactly: by enumeration, from the reference, and in closed form.
 * tests/support/token_case.h has the small joint laws. */
#include "engine/math/rng.h"
#include "engine/solve/jump.h"
#include "tests/support/network_case.h"
#include "tests/support/token_law.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_V TOKEN_CASE_MAX_VOCABULARY
#define FINE  ((size_t)400)    /* of a lattice of uniform numbers, in each direction */
#define N     ((size_t)100000) /* draws */
#define TIMES 5

static const fm_jump_form forms[3] = {FM_JUMP_EULER, FM_JUMP_EXACT, FM_JUMP_TAU_LEAPING};

static fm_sampling with_corrector(double scale)
{
    fm_sampling ret = FM_SAMPLING_DEFAULT;
    ret.corrector.scale = scale;
    return ret;
}

/* ---- rates ---- */

typedef struct rates {
    const token_case *tokens;
    double t, kappa, d_kappa;
    fm_jump jump; /* of a short step */
    double h;
} rates;

static rates rates_at(const token_case *tokens, const fm_path *path, double t, double scale)
{
    const fm_sampling sampling = with_corrector(scale);
    fm_path_point at = fm_path_at(path, t);
    rates ret = {.tokens = tokens, .t = t, .kappa = at.alpha, .d_kappa = at.d_alpha, .h = 1e-3};
    ret.jump =
        fm_jump_make(FM_JUMP_EULER, path, &sampling, &tokens->space.parts[0], t, t + ret.h, false);
    return ret;
}

/* u(y, x) of one token, off the diagonal, as the steps read it. */
static double rate(const rates *at, const double *p1, size_t y)
{
    return (at->jump.to_x1 * p1[y] + at->jump.to_p0 * fm_jump_source(&at->jump, y)) / at->h;
}

/* sum_x u(y, x) p_t(x) for every state y of all tokens, ret [states]. */
static void flux(const rates *at, double *ret)
{
    const token_case *tokens = at->tokens;
    size_t n = token_case_states(tokens), v = token_case_vocabulary(tokens);
    memset(ret, 0, n * sizeof *ret);
    for (size_t x = 0; x < n; x++) {
        size_t from[TOKEN_CASE_MAX_LENGTH], to[TOKEN_CASE_MAX_LENGTH];
        double p1[TOKEN_CASE_MAX_LENGTH * MAX_V];
        token_case_tokens(tokens, x, from);
        double mass = token_case_marginal(tokens, at->kappa, from);
        token_case_posterior(tokens, at->kappa, from, p1);
        for (size_t y = 0; y < n; y++) {
            size_t changed = 0, where = 0;
            token_case_tokens(tokens, y, to);
            for (size_t i = 0; i < tokens->length; i++) {
                changed += to[i] != from[i];
                where = to[i] != from[i] ? i : where;
            }
            if (changed == 1) {
                double moved = mass * rate(at, p1 + where * v, to[where]);
                ret[y] += moved;
                ret[x] -= moved;
            }
        }
    }
}

START_TEST(rates_fulfil_kolmogorovs_equation_on_the_full_state_space)
{
    static const char *const paths[] = {"condot", "polynomial", "cosine"};
    token_case tokens = token_case_uneven(_i % 2 == 0);
    fm_path path = usual_path(paths[_i / 2], 1);
    path.parameters[0] = _i / 2 == 1 ? 3 : path.parameters[0]; /* polynomial n = 3 */
    double change[TOKEN_CASE_MAX_STATES];
    for (size_t of_scale = 0; of_scale < 3; of_scale++) {
        for (size_t k = 0; k < TIMES; k++) {
            double t = 0.1 + 0.2 * (double)k;
            rates at = rates_at(&tokens, &path, t, 2 * (double)of_scale);
            flux(&at, change);
            for (size_t y = 0; y < token_case_states(&tokens); y++) {
                size_t to[TOKEN_CASE_MAX_LENGTH];
                token_case_tokens(&tokens, y, to);
                double expected = at.d_kappa * token_case_slope(&tokens, at.kappa, to);
                ck_assert_msg(fabs(change[y] - expected) < 1e-12, "t %g, state %zu: %g, not %g", t,
                              y, change[y], expected);
            }
        }
    }
}
END_TEST

START_TEST(corrector_moves_each_token_and_nothing_in_the_mean)
{
    token_case tokens = token_case_uneven(_i == 0);
    fm_path path = usual_path("condot", 1);
    double with[TOKEN_CASE_MAX_STATES], without[TOKEN_CASE_MAX_STATES];
    for (size_t k = 0; k < TIMES; k++) {
        double t = 0.1 + 0.2 * (double)k;
        rates plain = rates_at(&tokens, &path, t, 0), corrected = rates_at(&tokens, &path, t, 3);
        flux(&plain, without);
        flux(&corrected, with);
        ck_assert_double_gt(corrected.jump.to_p0, 0);
        ck_assert_double_eq(plain.jump.to_p0, 0);
        ck_assert_double_eq_tol(corrected.jump.to_x1 / plain.jump.to_x1, 4, 1e-14);
        for (size_t y = 0; y < token_case_states(&tokens); y++) {
            ck_assert_double_eq_tol(with[y] - without[y], 0, 1e-12);
        }
    }
}
END_TEST

/* u-check = kappa'/kappa [delta_x - p_{0|t}(. | x)], p_{0|t} the posterior of the source's token. */
START_TEST(forward_and_backward_rates_of_one_token_have_the_same_flux)
{
    token_case tokens = {
        .length = 1, .letters = 4, .is_mask = _i == 0, .joint = {.5, .1, .15, .25}};
    token_case_init(&tokens);
    size_t v = token_case_vocabulary(&tokens);
    double change[MAX_V], backward[MAX_V];
    for (size_t k = 0; k < TIMES; k++) {
        double t = 0.1 + 0.2 * (double)k;
        rates at = rates_at(&tokens, tokens.path, t, 0);
        flux(&at, change);
        for (size_t y = 0; y < v; y++) {
            backward[y] = 0;
            for (size_t x = 0; x < v; x++) {
                double p0 = token_case_source(&tokens, x), seen = x < 4 ? tokens.joint[x] : 0;
                double p_t = t * seen + (1 - t) * p0;
                double of_data = p_t > 0 ? t * seen / p_t : 0; /* that x is x1 */
                double p0_given_x = of_data * token_case_source(&tokens, y) +
                                    (1 - of_data) * (x == y); /* x0 = x, where it is not x1 */
                backward[y] += (1 / t) * ((x == y) - p0_given_x) * p_t;
            }
            double target = y < 4 ? tokens.joint[y] : 0;
            double expected = target - token_case_source(&tokens, y); /* kappa' (q - p0) */
            ck_assert_double_eq_tol(change[y], expected, 1e-13);
            ck_assert_double_eq_tol(backward[y], expected, 1e-13);
        }
    }
}
END_TEST

START_TEST(corrector_is_the_power_law_that_is_asked_for_and_rests_at_the_source)
{
    fm_space_part part = {.id = FM_SPACE_TOKENS, .n = 1, .copies = 1, .vocabulary = 257};
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    fm_path path = usual_path("polynomial", 1);
    path.parameters[0] = 3;
    part.source.id = FM_SOURCE_MASK;
    sampling.corrector = (fm_corrector){.scale = 12, .power = 2, .end_power = 0.25};
    double t = 0.3, c = 12 * t * t * pow(1 - t, 0.25), kappa = t * t * t, slope = 3 * t * t;
    fm_jump jump = fm_jump_make(FM_JUMP_EULER, &path, &sampling, &part, t, t + 0.01, false);
    ck_assert_double_eq_tol(jump.to_x1, 0.01 * slope / (1 - kappa) * (1 + c), 1e-15);
    ck_assert_double_eq_tol(jump.to_p0, 0.01 * slope / kappa * c, 1e-15);
    double end = 0.5 * 0.5 * 0.5; /* int kappa'/(1 - kappa) and kappa'/kappa, c as it was */
    jump = fm_jump_make(FM_JUMP_EXACT, &path, &sampling, &part, t, 0.5, false);
    ck_assert_double_eq_tol(jump.to_x1, log((1 - kappa) / (1 - end)) * (1 + c), 1e-15);
    ck_assert_double_eq_tol(jump.to_p0, 3 * log(0.5 / t) * c, 1e-14);
    sampling.corrector = (fm_corrector){.scale = 1}; /* kappa'/kappa would be infinite */
    for (size_t i = 0; i < 3; i++) {
        fm_jump first = fm_jump_make(forms[i], &path, &sampling, &part, 0, 0.01, false);
        ck_assert_double_eq(first.to_p0, 0);
        ck_assert(isfinite(first.to_x1));
    }
}
END_TEST

/* ---- the law of a step ---- */

static fm_jump jump_between(const token_case *tokens, fm_jump_form form, double scale, double t,
                            double s, bool last)
{
    const fm_sampling sampling = with_corrector(scale);
    return fm_jump_make(form, tokens->path, &sampling, &tokens->space.parts[0], t, s, last);
}

static double total_variation(const token_case *tokens, const double *mass)
{
    double sum = 0;
    for (size_t x = 0; x < token_case_states(tokens); x++) {
        size_t at[TOKEN_CASE_MAX_LENGTH];
        token_case_tokens(tokens, x, at);
        sum += fabs(mass[x] - token_case_joint(tokens, at)) / 2;
    }
    return sum;
}

START_TEST(two_tokens_are_off_their_joint_law_by_that_of_their_product_over_n)
{
    static const double golden[5] = {.3, .15, .075, .0375, .01875};
    token_case tokens = token_case_pair();
    double mass[TOKEN_CASE_MAX_STATES];
    for (size_t k = 0; k < 5; k++) {
        token_law_end(&tokens, FM_JUMP_EXACT, 0, (size_t)1 << k, mass);
        ck_assert_double_eq_tol(total_variation(&tokens, mass), golden[k], 1e-14);
    }
}
END_TEST

START_TEST(one_token_with_exact_jumps_has_its_law_after_any_number_of_steps)
{
    static const char *const paths[] = {"condot", "polynomial", "cosine"};
    fm_path path = usual_path(paths[_i / 2], 1);
    path.parameters[0] = _i / 2 == 1 ? 2 : path.parameters[0];
    token_case tokens = {
        .length = 1, .letters = 4, .is_mask = _i % 2 == 0, .joint = {.5, .1, .15, .25}};
    token_case_init(&tokens);
    tokens.path = &path;
    double mass[TOKEN_CASE_MAX_STATES];
    for (size_t n = 1; n <= 20; n++) {
        token_law_end(&tokens, FM_JUMP_EXACT, 0, n, mass);
        ck_assert_double_lt(total_variation(&tokens, mass), 1e-15 * 10);
    }
    /* which frozen rates do not attain with the uniform source: then the last step is not all */
    token_law_end(&tokens, FM_JUMP_EULER, 0, 4, mass);
    ck_assert(tokens.is_mask || total_variation(&tokens, mass) > 1e-3);
}
END_TEST

START_TEST(share_of_masks_after_steps_is_that_of_harmonic_numbers)
{
    token_case tokens = {.length = 1, .letters = 2, .is_mask = true, .joint = {.5, .5}};
    token_case_init(&tokens);
    double left[3] = {1, 1, 1}, harmonic = 0, leapt = 1;
    const double p1[3] = {.5, .5, 0};
    for (size_t k = 0; k < 16; k++) { /* n = 16 of N = 32 */
        double law[3], t = (double)k / 32, s = (double)(k + 1) / 32;
        for (size_t i = 0; i < 3; i++) {
            fm_jump jump = jump_between(&tokens, forms[i], 0, t, s, false);
            fm_jump_law(&jump, 2, p1, law);
            left[i] *= law[2];
        }
        double rate_of_step = 1 / (double)(32 - k);
        harmonic += rate_of_step;
        leapt *= 1 - rate_of_step * exp(-rate_of_step);
    }
    ck_assert_double_eq_tol(left[0], exp(-harmonic), 1e-14);
    ck_assert_double_eq_tol(left[0], .507750, 5e-7);
    ck_assert_double_eq_tol(left[1], .5, 1e-14);
    ck_assert_double_eq_tol(left[2], leapt, 1e-14);
}
END_TEST

/* ---- the reference's law ---- */

START_TEST(law_of_one_euler_step_is_that_of_the_reference)
{
    fm_error err;
    fm_tensors *tensors;
    json_t *table = json_load_file("tests/golden/text-dit-tiny/transitions.json", 0, NULL);
    ck_assert_msg(fm_tensors_open("tests/golden/text-dit-tiny/transitions.safetensors", &tensors,
                                  &err) == FM_OK,
                  "%s", err.text);
    size_t n, n_tokens, v, index;
    double *x = network_case_tensor(tensors, "x_t", &n_tokens);
    double *source = network_case_tensor(tensors, "p0", &v), law[28];
    fm_space_part part = {.id = FM_SPACE_TOKENS,
                          .n = 1,
                          .copies = 16,
                          .vocabulary = v,
                          .source = {.id = FM_SOURCE_MASK}};
    fm_path path = usual_path("polynomial", 1);
    json_t *row;
    ck_assert_uint_eq(v, 28);
    ck_assert_uint_eq(json_array_size(json_object_get(table, "rows")), 4);
    json_array_foreach(json_object_get(table, "rows"), index, row)
    {
        double *p1 =
            network_case_tensor(tensors, json_string_value(json_object_get(row, "posterior")), &n);
        double *expected =
            network_case_tensor(tensors, json_string_value(json_object_get(row, "law")), &n);
        double t = json_number_value(json_object_get(row, "t"));
        double s = t + json_number_value(json_object_get(row, "step"));
        const fm_sampling sampling =
            with_corrector(json_number_value(json_object_get(row, "divergence_free")));
        fm_jump jump = fm_jump_make(FM_JUMP_EULER, &path, &sampling, &part, t, s, false);
        for (size_t i = 0; i < n_tokens; i++) {
            fm_jump_law(&jump, (size_t)x[i], p1 + i * v, law);
            for (size_t y = 0; y < v; y++) {
                ck_assert_double_eq(fm_jump_source(&jump, y), source[y]);
                ck_assert_msg(fabs(law[y] - expected[i * v + y]) < 1e-13,
                              "row %zu, token %zu, %zu: %g, not %g", index, i, y, law[y],
                              expected[i * v + y]);
            }
        }
        free(p1);
        free(expected);
    }
    free(x);
    free(source);
    fm_tensors_close(tensors);
    json_decref(table);
}
END_TEST

/* ---- draws ---- */

/* Where a token at x goes, seen [4], for the first two uniform numbers at the middles of a fine lattice. */
static void draw_over_a_lattice(const fm_jump *jump, size_t x, const double *p1, double *seen)
{
    for (size_t i = 0; i < FINE * FINE; i++) {
        size_t row = i / FINE;
        const double u[3] = {((double)row + 0.5) / (double)FINE,
                             ((double)(i % FINE) + 0.5) / (double)FINE,
                             fmod(0.618034 * (double)i, 1)};
        double logits[4];
        for (size_t k = 0; k < 4; k++) {
            logits[k] = p1[k] > 0 ? log(p1[k]) : -1e4;
        }
        seen[fm_jump_draw(jump, x, logits, NULL, u)] += 1. / (double)(FINE * FINE);
    }
}

START_TEST(draws_over_a_lattice_of_uniform_numbers_have_the_law)
{
    static const double p1[2][4] = {{.4, .3, .2, .1}, {0, 1, 0, 0}};
    token_case tokens = {.length = 1, .letters = 3 + (_i % 2), .is_mask = _i % 2 == 0};
    token_case_init(&tokens);
    for (size_t which = 0; which < 12; which++) {
        size_t x = which % 4,
               kind = which / 4; /* plain, corrected, and a posterior that is certain */
        double law[4], seen[4] = {0};
        fm_jump jump = jump_between(&tokens, forms[_i / 2], kind == 1 ? 2 : 0, 0.6, 0.8, false);
        fm_jump_law(&jump, x, p1[kind == 2], law);
        draw_over_a_lattice(&jump, x, p1[kind == 2], seen);
        for (size_t k = 0; k < 4; k++) {
            ck_assert_msg(fabs(seen[k] - law[k]) < 3. / (double)FINE, "from %zu to %zu: %g, not %g",
                          x, k, seen[k], law[k]);
        }
    }
}
END_TEST

START_TEST(draws_pass_a_chi_square_test_against_the_law)
{
    static double u[4 * N];
    const double p1[4] = {.35, .05, .5, .1};
    double law[4], chi = 0;
    size_t counts[4] = {0};
    token_case tokens = {.length = 1, .letters = 3 + (_i % 2), .is_mask = _i % 2 == 0};
    token_case_init(&tokens);
    fm_jump jump = jump_between(&tokens, forms[_i / 2], 1.5, 0.5, 0.7, false);
    fm_jump_law(&jump, 1, p1, law);
    fm_rng_uniform(3, (uint64_t)_i, FM_RNG_SOLVER_NOISE, 0, 4 * N, u);
    for (size_t i = 0; i < N; i++) {
        double logits[4];
        for (size_t k = 0; k < 4; k++) {
            logits[k] = log(p1[k]) + 3;
        }
        counts[fm_jump_draw(&jump, 1, logits, NULL, u + 4 * i)]++;
    }
    for (size_t k = 0; k < 4; k++) {
        double off = (double)counts[k] - (double)N * law[k];
        chi += off * off / ((double)N * law[k]);
    }
    ck_assert_double_lt(chi, 16.27); /* three degrees: the quantile of 0.999 */
}
END_TEST

START_TEST(two_jumps_of_one_token_leave_it_where_it_is)
{
    token_case tokens = {.length = 1, .letters = 4, .is_mask = false};
    token_case_init(&tokens);
    const double p1[4] = {.4, .3, .2, .1};
    for (size_t k = 0; k < TIMES; k++) {
        double s = 0.55 + 0.1 * (double)k;
        fm_jump jump = jump_between(&tokens, FM_JUMP_TAU_LEAPING, 1, 0.5, s, false);
        double law[4], none = 1, mean[4];
        for (size_t y = 0; y < 4; y++) {
            mean[y] = y == 1 ? 0 : jump.to_x1 * p1[y] + jump.to_p0 / 4;
            none *= exp(-mean[y]);
        }
        fm_jump_law(&jump, 1, p1, law);
        for (size_t y = 0; y < 4; y++) { /* one of y and none of all others, by Poisson's law */
            ck_assert_msg(y == 1 || fabs(law[y] - mean[y] * none) < 1e-14, "%g: %zu", s, y);
        }
        ck_assert_double_eq_tol(law[0] + law[1] + law[2] + law[3], 1, 1e-15);
    }
}
END_TEST

Suite *suite_engine_solve_ctmc(void)
{
    Suite *suite = suite_create("engine/solve_ctmc");
    TCase *rates_case = tcase_create("rates");
    tcase_add_loop_test(rates_case, rates_fulfil_kolmogorovs_equation_on_the_full_state_space, 0,
                        6);
    tcase_add_loop_test(rates_case, corrector_moves_each_token_and_nothing_in_the_mean, 0, 2);
    tcase_add_loop_test(rates_case, forward_and_backward_rates_of_one_token_have_the_same_flux, 0,
                        2);
    tcase_add_test(rates_case,
                   corrector_is_the_power_law_that_is_asked_for_and_rests_at_the_source);
    suite_add_tcase(suite, rates_case);
    TCase *law = tcase_create("law of steps");
    tcase_add_test(law, two_tokens_are_off_their_joint_law_by_that_of_their_product_over_n);
    tcase_add_loop_test(law, one_token_with_exact_jumps_has_its_law_after_any_number_of_steps, 0,
                        6);
    tcase_add_test(law, share_of_masks_after_steps_is_that_of_harmonic_numbers);
    tcase_add_test(law, law_of_one_euler_step_is_that_of_the_reference);
    suite_add_tcase(suite, law);
    TCase *draws = tcase_create("draws");
    tcase_add_loop_test(draws, draws_over_a_lattice_of_uniform_numbers_have_the_law, 0, 6);
    tcase_add_loop_test(draws, draws_pass_a_chi_square_test_against_the_law, 0, 6);
    tcase_add_test(draws, two_jumps_of_one_token_leave_it_where_it_is);
    suite_add_tcase(suite, draws);
    return suite;
}
