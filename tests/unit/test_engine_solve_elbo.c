/* The bound of the log likelihood of tokens: exact with the true posterior, a bound with others. */
#include "engine/memory.h"
#include "engine/solve/elbo.h"
#include "tests/support/token_case.h"
#include "tests/support/trajectory.h"
#include "tests/support/usual_path.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define SAMPLES ((size_t)2000)
#define POINTS  ((size_t)4000) /* of a midpoint rule */

static fm_elbo_plan plan_of(const token_case *tokens, size_t n_draws)
{
    return (fm_elbo_plan){
        .space = &tokens->space, .path = tokens->path, .last = 1, .n_draws = n_draws, .seed = 8};
}

static fm_elbo_report run(const fm_elbo_plan *plan, velocity_function logits, void *context,
                          uint64_t sample, const double *x1)
{
    fm_error err;
    fm_elbo_report ret;
    fm_solve_want want, again;
    ck_assert_msg(fm_elbo_check(plan, &err) == FM_OK, "%s", err.text);
    void *memory = fm_alloc(fm_elbo_size_bytes(plan));
    fm_elbo *elbo = fm_elbo_init(memory, plan, sample, x1);
    while (fm_elbo_next(elbo, &want)) {
        ck_assert(fm_elbo_next(elbo, &again) && again.t == want.t && again.x == want.x);
        ck_assert(want.t >= 0 && want.t <= plan->last);
        logits(context, want.t, want.x, want.v);
        fm_elbo_give(elbo);
    }
    fm_elbo_describe(elbo, &ret);
    fm_free(memory);
    return ret;
}

/* The same with each true probability p as c p + (1 - c)/n. */
typedef struct blurred {
    token_case tokens;
    double sharpness;
} blurred;

static void velocity_blurred(void *context, double t, const double *x, double *v)
{
    blurred *it = context;
    double n = (double)token_case_vocabulary(&it->tokens);
    velocity_tokens(&it->tokens, t, x, v);
    for (size_t k = 0; k < it->tokens.space.velocities; k++) {
        v[k] = log(it->sharpness * exp(v[k]) + (1 - it->sharpness) / n);
    }
}

START_TEST(bound_with_the_mask_and_the_true_posterior_is_the_log_likelihood)
{
    static const char *const paths[3] = {"condot", "polynomial", "cosine"};
    token_case tokens = token_case_uneven(true);
    fm_path path = usual_path(paths[_i], 1);
    path.parameters[0] = _i == 1 ? 3 : path.parameters[0];
    tokens.path = &path;
    for (size_t a = 0; a < 3; a++) {
        for (size_t b = 0; b < 3; b++) {
            const double x1[2] = {(double)a, (double)b};
            double exact = log(tokens.joint[3 * a + b]);
            fm_elbo_plan plan = plan_of(&tokens, 20000);
            fm_elbo_report found = run(&plan, velocity_tokens, &tokens, 3 * a + b, x1);
            ck_assert_int_eq(found.status, FM_ROW_OK);
            ck_assert_uint_eq(found.evaluations, 20000);
            ck_assert_double_lt(found.standard_error, 0.05);
            ck_assert_msg(fabs(found.bound - exact) < 4 * found.standard_error, "%g +- %g, not %g",
                          found.bound, found.standard_error, exact);
        }
    }
}
END_TEST

START_TEST(bound_with_a_last_time_is_the_same_for_the_last_step_is_counted)
{
    token_case tokens = token_case_uneven(true);
    const double x1[2] = {1, 2};
    fm_elbo_plan plan = plan_of(&tokens, 40000);
    plan.last = 0.5;
    fm_elbo_report found = run(&plan, velocity_tokens, &tokens, 1, x1);
    ck_assert_uint_eq(found.evaluations, 45000);
    /* of masks at the last time each token costs its own -log p(x1 | x): not quite the joint's */
    double exact = 0, model = 0;
    for (size_t masks = 0; masks < 4;
         masks++) { /* which are masks at 0.5: each with probability 1/4 */
        const size_t x[2] = {masks & 1 ? 3 : 1, masks & 2 ? 3 : 2};
        double p1[8];
        token_case_posterior(&tokens, 0.5, x, p1);
        exact += (masks & 1 ? log(p1[1]) : 0) / 4 + (masks & 2 ? log(p1[4 + 2]) : 0) / 4;
        model += token_case_marginal(&tokens, 0.5, x) * p1[1] * p1[4 + 2];
    }
    /* int_0^.5 dkappa/(1 - kappa) sum over masks, by the same enumeration on a fine midpoint rule */
    for (size_t k = 0; k < 2000; k++) {
        double kappa = 0.5 * ((double)k + 0.5) / 2000;
        for (size_t masks = 1; masks < 4; masks++) {
            const size_t x[2] = {masks & 1 ? 3 : 1, masks & 2 ? 3 : 2};
            double p1[8], chance = masks == 3 ? (1 - kappa) * (1 - kappa) : kappa * (1 - kappa);
            token_case_posterior(&tokens, kappa, x, p1);
            double sum = (masks & 1 ? log(p1[1]) : 0) + (masks & 2 ? log(p1[4 + 2]) : 0);
            exact += 0.5 / 2000 * chance * sum / (1 - kappa);
        }
    }
    ck_assert_double_lt(found.standard_error, 0.03);
    ck_assert_double_eq_tol(found.bound, exact, 4 * found.standard_error);
    ck_assert_double_lt(exact, log(model)); /* what samplers that end so have of it */
}
END_TEST

/* The generalised KL of the header for the uniform source, integrated over kappa by midpoints and over all states. */
static double exact_bound(blurred *it, const size_t x1[2], double last)
{
    const token_case *tokens = &it->tokens;
    size_t n = tokens->letters;
    double sum = 0;
    for (size_t k = 0; k <= POINTS; k++) {
        bool at_end = k == POINTS; /* the last step's -log p */
        double kappa = at_end ? last : last * ((double)k + 0.5) / (double)POINTS;
        double measure = at_end ? 1 : last / (double)POINTS / (1 - kappa);
        for (size_t state = 0; state < n * n; state++) {
            const size_t x[2] = {state / n, state % n};
            const double point[2] = {(double)x[0], (double)x[1]};
            double logits[18], chance = 1, value = 0;
            velocity_blurred(it, kappa, point, logits);
            for (size_t i = 0; i < 2; i++) {
                const double *l = logits + i * n;
                chance *= kappa * (x[i] == x1[i]) + (1 - kappa) / (double)n;
                double stays = x[i] == x1[i] ? 1 : -l[x1[i]];
                value += at_end ? -l[x1[i]] : stays - exp(l[x[i]]);
            }
            sum += measure * chance * value;
        }
    }
    return -sum;
}

START_TEST(bound_with_uniform_tokens_is_the_generalised_kl)
{
    blurred it = {.tokens = token_case_uneven(false), .sharpness = _i == 0 ? 1 : 0.9};
    const double last = 0.99;
    for (size_t which = 0; which < 9; which += 4) {
        const size_t tokens[2] = {which / 3, which % 3};
        const double x1[2] = {(double)tokens[0], (double)tokens[1]};
        double exact = exact_bound(&it, tokens, last);
        fm_elbo_plan plan = plan_of(&it.tokens, 40000);
        plan.last = last;
        fm_elbo_report found = run(&plan, velocity_blurred, &it, which, x1);
        ck_assert_double_lt(found.standard_error, 0.03);
        ck_assert_msg(fabs(found.bound - exact) < 4 * found.standard_error, "%g +- %g, not %g",
                      found.bound, found.standard_error, exact);
        ck_assert_double_lt(exact, log(it.tokens.joint[which]));
    }
}
END_TEST

START_TEST(a_worse_posterior_has_a_lower_bound_in_the_mean_of_data)
{
    blurred it = {.tokens = token_case_uneven(true)};
    double before = 0;
    for (size_t which = 0; which < 9; which++) {
        before += it.tokens.joint[which] * log(it.tokens.joint[which]);
    }
    for (int k = 1; k <= 3; k++) {
        double mean = 0, square = 0;
        it.sharpness = 1 - 0.25 * k;
        for (size_t which = 0; which < 9; which++) { /* the same draws for every k */
            const size_t row = which / 3;
            const double x1[2] = {(double)row, (double)(which % 3)};
            fm_elbo_plan plan = plan_of(&it.tokens, 20000);
            fm_elbo_report found = run(&plan, velocity_blurred, &it, which, x1);
            double weight = it.tokens.joint[which];
            mean += weight * found.bound;
            square += weight * weight * found.standard_error * found.standard_error;
        }
        ck_assert_double_lt(mean, before - (k == 1 ? 3 * sqrt(square) : 0));
        before = mean;
    }
}
END_TEST

START_TEST(standard_error_is_the_spread_of_bounds)
{
    const size_t draws[3] = {2, 5, 64};
    token_case tokens = token_case_uneven(true);
    const double x1[2] = {1, 2};
    for (size_t k = 0; k < 3; k++) {
        double sum = 0, squares = 0, told = 0, exact = log(tokens.joint[5]);
        fm_elbo_plan plan = plan_of(&tokens, draws[k]);
        for (uint64_t sample = 0; sample < SAMPLES; sample++) {
            fm_elbo_report found = run(&plan, velocity_tokens, &tokens, sample, x1);
            sum += found.bound;
            squares += (found.bound - exact) * (found.bound - exact);
            told += found.standard_error * found.standard_error;
        }
        double spread = squares / (double)SAMPLES;
        ck_assert_double_eq_tol(sum / (double)SAMPLES, exact, 4 * sqrt(spread / (double)SAMPLES));
        ck_assert_double_gt(told / (double)SAMPLES / spread, 0.85);
        ck_assert_double_lt(told / (double)SAMPLES / spread,
                            draws[k] > 5 ? 1.15 : 1.8); /* no less than it is */
    }
}
END_TEST

START_TEST(masks_of_the_logits_and_tokens_that_are_none_do_not_count)
{
    blurred it = {.tokens = token_case_uneven(true), .sharpness = 0.5};
    const double x1[2] = {2, 2}, mask[2] = {3, 0};
    fm_elbo_plan plan = plan_of(&it.tokens, 1000);
    fm_elbo_report found = run(&plan, velocity_blurred, &it, 0, x1);
    /* c p + (1 - c)/4 without the mask, to one: (c p + (1 - c)/4)/(1 - (1 - c)/4) */
    ck_assert(isfinite(found.bound) && found.bound > 2 * log(0.125 / 0.875) * 2);
    found = run(&plan, velocity_blurred, &it, 0, mask);
    ck_assert(found.status == FM_ROW_OK && found.bound == -HUGE_VAL);
}
END_TEST

static void velocity_nan(void *context, double t, const double *x, double *v)
{
    velocity_tokens(context, t, x, v);
    v[3] = t > 0.5 ? (double)NAN : v[3];
}

START_TEST(logits_that_are_not_finite_end_it_without_a_bound)
{
    token_case tokens = token_case_uneven(true);
    const double x1[2] = {0, 0};
    fm_elbo_plan plan = plan_of(&tokens, 100);
    fm_elbo_report found = run(&plan, velocity_nan, &tokens, 0, x1);
    ck_assert_int_eq(found.status, FM_ROW_NON_FINITE);
    ck_assert(isnan(found.bound) && found.evaluations < 100 && found.evaluations > 10);
}
END_TEST

static void refused(fm_elbo_plan plan, const char *text)
{
    fm_error err = {0};
    ck_assert_msg(fm_elbo_check(&plan, &err) == FM_EINVAL, "accepted: %s", text);
    ck_assert_msg(strstr(err.text, text) != NULL, "%s: %s", text, err.text);
}

START_TEST(check_names_what_a_bound_needs)
{
    token_case tokens = token_case_uneven(true);
    fm_elbo_plan good = plan_of(&tokens, 4), bad = good;
    fm_path vp = usual_path("vp", 1);
    fm_space other = tokens.space;
    bad.n_draws = 1;
    refused(bad, "n_draws");
    bad = good;
    bad.last = 0;
    refused(bad, "last");
    bad.last = 1.5;
    refused(bad, "last");
    bad = good;
    bad.path = &vp;
    refused(bad, "path");
    bad = good;
    bad.space = &other;
    other.parts[0].source.id = FM_SOURCE_EXTERNAL;
    refused(bad, "source");
    other.parts[0].id = FM_SPACE_SPHERE;
    refused(bad, "tokens");
    other = tokens.space;
    other.velocities = SIZE_MAX / 2;
    ck_assert_uint_eq(fm_elbo_size_bytes(&bad), SIZE_MAX);
}
END_TEST

Suite *suite_engine_solve_elbo(void)
{
    Suite *suite = suite_create("engine/solve_elbo");
    TCase *tests = tcase_create("bound");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, bound_with_the_mask_and_the_true_posterior_is_the_log_likelihood, 0,
                        3);
    tcase_add_test(tests, bound_with_a_last_time_is_the_same_for_the_last_step_is_counted);
    tcase_add_loop_test(tests, bound_with_uniform_tokens_is_the_generalised_kl, 0, 2);
    tcase_add_test(tests, a_worse_posterior_has_a_lower_bound_in_the_mean_of_data);
    tcase_add_test(tests, standard_error_is_the_spread_of_bounds);
    tcase_add_test(tests, masks_of_the_logits_and_tokens_that_are_none_do_not_count);
    tcase_add_test(tests, logits_that_are_not_finite_end_it_without_a_bound);
    tcase_add_test(tests, check_names_what_a_bound_needs);
    suite_add_tcase(suite, tests);
    return suite;
}
