/* engine/flow/path: formulas against finite differences, known ends and an independent table. */
#include "engine/flow/path.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"condot", "polynomial", "vp",  "sub_vp", "linear_vp",
                                    "cosine", "ve",         "edm", "target"};
#define N_NAMES ((int)(sizeof names / sizeof names[0]))

static fm_path path_of(const char *name, const double *parameters)
{
    const fm_path_type *type = fm_path_type_find(name);
    ck_assert_msg(type != NULL, "no scheduler %s", name);
    double all[FM_PATH_MAX_PARAMETERS] = {0};
    const char *parameter = NULL;
    for (size_t i = 0; fm_path_type_parameter(type, i, &parameter, &all[i]); i++) {
        if (parameters != NULL) {
            all[i] = parameters[i];
        }
    }
    fm_path path;
    fm_error err;
    ck_assert_msg(fm_path_init(&path, type, all, NULL, 1, &err) == FM_OK, "%s", name);
    return path;
}

static void check_derivatives(const fm_path *path)
{
    const double h = 1e-5;
    for (double t = 0.021; t < 0.985; t += 0.0317) {
        fm_path_point at = fm_path_at(path, t);
        fm_path_point before = fm_path_at(path, t - h);
        fm_path_point after = fm_path_at(path, t + h);
        double d_alpha = (after.alpha - before.alpha) / (2 * h);
        double d_sigma = (after.sigma - before.sigma) / (2 * h);
        ck_assert_double_le(fabs(at.d_alpha - d_alpha), 1e-7 * (1 + fabs(d_alpha)));
        ck_assert_double_le(fabs(at.d_sigma - d_sigma), 1e-7 * (1 + fabs(d_sigma)));
        ck_assert_double_le(fabs(at.sigma_d_sigma - at.sigma * at.d_sigma),
                            1e-14 * fabs(at.sigma_d_sigma));
    }
}

START_TEST(derivatives_are_those_of_alpha_and_sigma)
{
    fm_path path = path_of(names[_i], NULL);
    check_derivatives(&path);
}
END_TEST

START_TEST(derivatives_hold_for_other_parameters)
{
    fm_path cubic = path_of("polynomial", (double[]){3});
    check_derivatives(&cubic);
    ck_assert_double_eq(fm_path_at(&cubic, 0.5).alpha, 0.125);
    fm_path linear = path_of("edm", (double[]){0.1, 3, 1});
    check_derivatives(&linear);
    fm_path steady = path_of("vp", (double[]){2, 2});
    check_derivatives(&steady);
    ck_assert_double_eq_tol(fm_path_at(&steady, 0.25).alpha, exp(-0.75), 1e-15);
    fm_path wide = path_of("target", (double[]){0.5});
    check_derivatives(&wide);
}
END_TEST

/* alpha and sigma at t = 0 and t = 1; of vp exp(-5.025), sqrt(1 - exp(-10.05)) and its square. */
static const struct {
    const char *name;
    double first[2], last[2];
} ends[] = {
    {"condot", {0, 1}, {1, 0}},
    {"polynomial", {0, 1}, {1, 0}},
    {"vp", {0.006571586494929613, 0.9999784068923386}, {1, 0}},
    {"sub_vp", {0.006571586494929613, 0.9999568142509396}, {1, 0}},
    {"linear_vp", {0, 1}, {1, 0}},
    {"cosine", {0, 1}, {1, 0}},
    {"ve", {1, 50}, {1, 0.01}},
    {"edm", {1, 80}, {1, 0.002}},
    {"target", {0, 1}, {1, 1e-4}},
};

START_TEST(paths_begin_and_end_where_their_formulas_say)
{
    fm_path path = path_of(ends[_i].name, NULL);
    fm_path_point first = fm_path_at(&path, 0);
    fm_path_point last = fm_path_at(&path, 1);
    ck_assert_double_eq_tol(first.alpha, ends[_i].first[0], 1e-11);
    ck_assert_double_le(fabs(first.sigma - ends[_i].first[1]), 1e-10 * ends[_i].first[1]);
    ck_assert_double_eq(last.alpha, ends[_i].last[0]);
    ck_assert_double_le(fabs(last.sigma - ends[_i].last[1]), 1e-12 * ends[_i].last[1]);
    ck_assert(isfinite(first.d_alpha) && isfinite(first.d_sigma) && isfinite(last.d_alpha));
    ck_assert(isfinite(first.sigma_d_sigma) && isfinite(last.sigma_d_sigma));
}
END_TEST

START_TEST(infinite_slopes_at_the_data_are_said_and_their_products_with_sigma_finite)
{
    fm_path vp = path_of("vp", NULL);
    ck_assert(isinf(fm_path_at(&vp, 1).d_sigma) && fm_path_at(&vp, 1).d_sigma < 0);
    ck_assert_double_eq_tol(fm_path_at(&vp, 1).sigma_d_sigma, -0.05, 1e-15);
    fm_path linear_vp = path_of("linear_vp", NULL);
    ck_assert(isinf(fm_path_at(&linear_vp, 1).d_sigma) && fm_path_at(&linear_vp, 1).d_sigma < 0);
    ck_assert_double_eq(fm_path_at(&linear_vp, 1).sigma_d_sigma, -1.0);
    fm_path sub_vp = path_of("sub_vp", NULL);
    ck_assert_double_eq_tol(fm_path_at(&sub_vp, 1).d_sigma, -0.1, 1e-15);
    fm_path vp_from_zero = path_of("vp", (double[]){0, 20}); /* sigma ~ (1 - t) sqrt(10) */
    ck_assert_double_eq_tol(fm_path_at(&vp_from_zero, 1).d_sigma, -sqrt(10), 1e-14);
    ck_assert_double_eq_tol(fm_path_at(&vp_from_zero, 1 - 1e-9).d_sigma, -sqrt(10), 1e-7);
}
END_TEST

/* What the table was made with, of predictions.json; there is none for edm and sub_vp. */
static const struct {
    const char *name;
    double parameters[FM_PATH_MAX_PARAMETERS];
} referenced[] = {
    {"condot", {0}}, {"polynomial", {2}}, {"vp", {0.1, 20}}, {"linear_vp", {0}},
    {"cosine", {0}}, {"ve", {0.02, 10}},  {"target", {0.1}},
};

START_TEST(coefficients_match_the_reference_table)
{
    fm_tensors *tensors = NULL;
    fm_error err;
    ck_assert_int_eq(
        fm_tensors_open("tests/golden/predictions/predictions.safetensors", &tensors, &err), FM_OK);
    size_t n = 0;
    double *t = network_case_tensor(tensors, "t", &n);
    for (size_t i = 0; i < sizeof referenced / sizeof referenced[0]; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s.alpha_sigma_dalpha_dsigma", referenced[i].name);
        double *table = network_case_tensor(tensors, name, NULL);
        fm_path path = path_of(referenced[i].name, referenced[i].parameters);
        for (size_t row = 0; row < n; row++) {
            fm_path_point at = fm_path_at(&path, t[row]);
            const double ours[4] = {at.alpha, at.sigma, at.d_alpha, at.d_sigma};
            for (size_t j = 0; j < 4; j++) {
                double theirs = table[row * 4 + j];
                ck_assert_msg(fabs(ours[j] - theirs) <= 1e-11 * (1 + fabs(theirs)),
                              "%s t = %g column %zu: %.17g, expected %.17g", referenced[i].name,
                              t[row], j, ours[j], theirs);
            }
        }
        free(table);
    }
    free(t);
    fm_tensors_close(tensors);
}
END_TEST

/* One broken parameter set a row; the message names the parameter. */
static const struct {
    const char *name;
    double parameters[FM_PATH_MAX_PARAMETERS];
    const char *culprit;
} broken[] = {
    {"polynomial", {0}, "n "},
    {"polynomial", {-1}, "n "},
    {"polynomial", {INFINITY}, "n "},
    {"vp", {-0.1, 20}, "beta_min"},
    {"vp", {0.1, NAN}, "beta_max"},
    {"vp", {2, 1}, "beta_max"},
    {"vp", {0, 0}, "beta_max"},
    {"sub_vp", {-0.1, 20}, "beta_min"},
    {"ve", {0, 50}, "sigma_min"},
    {"ve", {1, 1}, "sigma_max"},
    {"edm", {0.002, 0.001, 7}, "sigma_max"},
    {"edm", {0, 80, 7}, "sigma_min"},
    {"edm", {0.002, 80, 0}, "rho"},
    {"target", {1}, "sigma_min"},
    {"target", {-1e-4}, "sigma_min"},
};

START_TEST(parameters_out_of_range_are_refused_by_name)
{
    fm_path path = {0};
    fm_error err = {0};
    const fm_path_type *type = fm_path_type_find(broken[_i].name);
    ck_assert_int_eq(fm_path_init(&path, type, broken[_i].parameters, NULL, 1, &err), FM_EINVAL);
    ck_assert_msg(strstr(err.text, broken[_i].culprit) != NULL, "%s", err.text);
    ck_assert_msg(strstr(err.text, broken[_i].name) != NULL, "%s", err.text);
    ck_assert_ptr_null(path.type);
}
END_TEST

START_TEST(the_time_of_a_ratio_is_the_time_that_has_it)
{
    static const double source_stds[] = {1, 2.5};
    fm_path path = path_of(names[_i], NULL);
    for (size_t i = 0; i < 2; i++) {
        path.source_std = source_stds[i];
        for (double t = 0; t <= 1; t += 0.03125) {
            fm_path_point at = fm_path_at(&path, t);
            double found = fm_path_time_of(&path, 3 * at.alpha, 3 * at.sigma);
            ck_assert_msg(fabs(found - t) <= 1e-9, "%s: t = %g became %.17g", names[_i], t, found);
        }
    }
}
END_TEST

START_TEST(ratios_that_a_path_does_not_reach_give_its_ends)
{
    fm_path ve = path_of("ve", NULL), vp = path_of("vp", NULL), edm = path_of("edm", NULL);
    ck_assert_double_eq(fm_path_time_of(&ve, 1, 60), 0);
    ck_assert_double_eq(fm_path_time_of(&ve, 1, 0), 1);
    ck_assert_double_eq(fm_path_time_of(&vp, 0, 1), 0);
    ck_assert_double_eq(fm_path_time_of(&vp, 1, 0), 1);
    ck_assert_double_eq(fm_path_time_of(&edm, 0, 1), 0);
    ck_assert_double_eq(fm_path_time_of(&edm, 1, 0), 1);
}
END_TEST

/* ---- table ---- */

#define N_POINTS ((size_t)33)

static fm_path table_of(const char *name, fm_path_table **ret_table)
{
    double t[N_POINTS], alpha[N_POINTS], sigma[N_POINTS];
    fm_path formula = path_of(name, NULL);
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_error err = {0};
    for (size_t i = 0; i < N_POINTS; i++) {
        t[i] = (double)i / (N_POINTS - 1);
        fm_path_point at = fm_path_at(&formula, t[i]);
        alpha[i] = at.alpha;
        sigma[i] = at.sigma;
    }
    fm_status status = fm_path_table_new(N_POINTS, t, alpha, sigma, ret_table, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    fm_path path;
    ck_assert_int_eq(fm_path_init(&path, fm_path_type_find("table"), none, *ret_table, 1, &err),
                     FM_OK);
    return path;
}

START_TEST(a_table_meets_its_points_and_follows_the_curve_between_them)
{
    static const char *const curves[] = {"condot", "cosine", "polynomial", "sub_vp"};
    fm_path_table *table = NULL;
    fm_path path = table_of(curves[_i], &table), formula = path_of(curves[_i], NULL);
    check_derivatives(&path);
    for (size_t i = 0; i <= 8 * (N_POINTS - 1); i++) {
        double t = (double)i / (8 * (N_POINTS - 1));
        fm_path_point ours = fm_path_at(&path, t), theirs = fm_path_at(&formula, t);
        double tolerance = i % 8 == 0 ? 0 : 2e-3;
        ck_assert_double_le(fabs(ours.alpha - theirs.alpha), tolerance);
        ck_assert_double_le(fabs(ours.sigma - theirs.sigma), tolerance);
        double found = fm_path_time_of(&path, ours.alpha, ours.sigma);
        ck_assert_msg(fabs(found - t) <= 1e-12, "t = %g became %.17g", t, found);
    }
    fm_path_table_free(table);
}
END_TEST

START_TEST(a_table_is_monotone_between_its_points)
{
    static const double t[] = {0, 0.1, 0.15, 0.7, 1}, alpha[] = {0, 0.001, 0.8, 0.81, 1},
                        sigma[] = {5, 4, 4, 0.1, 0};
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    fm_path_table *table = NULL;
    fm_path path;
    ck_assert_int_eq(fm_path_table_new(5, t, alpha, sigma, &table, NULL), FM_OK);
    ck_assert_int_eq(fm_path_init(&path, fm_path_type_find("table"), none, table, 1, NULL), FM_OK);
    fm_path_point before = fm_path_at(&path, 0);
    for (double at = 0.001; at <= 1; at += 0.001) {
        fm_path_point now = fm_path_at(&path, at);
        ck_assert(now.alpha >= before.alpha && now.sigma <= before.sigma);
        before = now;
    }
    fm_path_table_free(table);
}
END_TEST

static const struct {
    double t[3], alpha[3], sigma[3];
    const char *rule;
} broken_tables[] = {
    {{0, 0.5, 0.9}, {0, 0.5, 1}, {1, 0.5, 0}, "t must begin with 0 and end with 1"},
    {{0, 0, 1}, {0, 0.5, 1}, {1, 0.5, 0}, "t must ascend; entry 1"},
    {{0, 0.5, 1}, {0, 0.5, 0.4}, {1, 0.5, 0}, "alpha must not fall; entry 2"},
    {{0, 0.5, 1}, {0, 0.5, 1}, {1, 0.5, 0.6}, "sigma must not rise; entry 2"},
    {{0, 0.5, 1}, {0, 0.5, 1}, {1, -0.5, -1}, "sigma must be finite and not negative; entry 1"},
    {{0, 0.5, 1}, {0, HUGE_VAL, HUGE_VAL}, {1, 0.5, 0}, "alpha must be finite"},
    {{0, 0.5, 1}, {0, 0, 1}, {1, 0.5, 0.5}, "alpha must rise between all points, or sigma fall"},
};

START_TEST(tables_that_are_no_path_are_refused_with_the_rule)
{
    fm_path_table *table = NULL;
    fm_error err = {0};
    fm_status status = fm_path_table_new(3, broken_tables[_i].t, broken_tables[_i].alpha,
                                         broken_tables[_i].sigma, &table, &err);
    ck_assert_int_eq(status, FM_EINVAL);
    ck_assert_msg(strstr(err.text, broken_tables[_i].rule) != NULL, "%s", err.text);
    ck_assert_ptr_null(table);
}
END_TEST

START_TEST(schedulers_are_found_by_name_with_their_defaults)
{
    for (int i = 0; i < N_NAMES; i++) {
        ck_assert_str_eq(fm_path_type_name(fm_path_type_find(names[i])), names[i]);
    }
    ck_assert_ptr_null(fm_path_type_find("karras"));
    ck_assert_ptr_null(fm_path_type_find(""));
    const char *name = NULL;
    double value = 0;
    const fm_path_type *edm = fm_path_type_find("edm");
    ck_assert(fm_path_type_parameter(edm, 2, &name, &value));
    ck_assert_str_eq(name, "rho");
    ck_assert_double_eq(value, 7);
    ck_assert(!fm_path_type_parameter(edm, 3, &name, &value));
    ck_assert(!fm_path_type_parameter(edm, 100, &name, &value));
    ck_assert(!fm_path_type_parameter(fm_path_type_find("condot"), 0, &name, &value));
}
END_TEST

Suite *suite_engine_path(void)
{
    Suite *suite = suite_create("engine/path");
    TCase *tcase = tcase_create("path");
    tcase_add_loop_test(tcase, derivatives_are_those_of_alpha_and_sigma, 0, N_NAMES);
    tcase_add_test(tcase, derivatives_hold_for_other_parameters);
    tcase_add_loop_test(tcase, paths_begin_and_end_where_their_formulas_say, 0, N_NAMES);
    tcase_add_test(tcase,
                   infinite_slopes_at_the_data_are_said_and_their_products_with_sigma_finite);
    tcase_add_test(tcase, coefficients_match_the_reference_table);
    tcase_add_loop_test(tcase, parameters_out_of_range_are_refused_by_name, 0,
                        (int)(sizeof broken / sizeof broken[0]));
    tcase_add_loop_test(tcase, the_time_of_a_ratio_is_the_time_that_has_it, 0, N_NAMES);
    tcase_add_test(tcase, ratios_that_a_path_does_not_reach_give_its_ends);
    tcase_add_loop_test(tcase, a_table_meets_its_points_and_follows_the_curve_between_them, 0, 4);
    tcase_add_test(tcase, a_table_is_monotone_between_its_points);
    tcase_add_loop_test(tcase, tables_that_are_no_path_are_refused_with_the_rule, 0,
                        (int)(sizeof broken_tables / sizeof *broken_tables));
    tcase_add_test(tcase, schedulers_are_found_by_name_with_their_defaults);
    suite_add_tcase(suite, tcase);
    return suite;
}
