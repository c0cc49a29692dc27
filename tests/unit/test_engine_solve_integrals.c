/* Integrals beside a trajectory: which of their slopes are wanted. */
#include "engine/memory.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

typedef struct integrated {
    double end[3], outputs[6][3];
    size_t evaluations, wanted; /* wanted: of the integral's slope */
} integrated;

static void take_integrated(void *context, size_t index, double t, const double *x)
{
    (void)t;
    memcpy(((integrated *)context)->outputs[index], x, 3 * sizeof *x);
}

/* The mixture's flow, and beside it the integral of a number; `unwanted` takes its slope's place where none is wanted. */
static void integrate_beside(fm_solve_plan *plan, const double *unwanted, integrated *ret)
{
    memset(ret, 0, sizeof *ret);
    plan->output = take_integrated;
    void *memory = fm_alloc(fm_solve_size_bytes(plan));
    ck_assert_ptr_nonnull(memory);
    const double start[3] = {trajectory_start[0], trajectory_start[1], 0};
    fm_solve *solve = fm_solve_init(memory, plan, 0, start, ret);
    fm_solve_want want;
    while (fm_solve_next(solve, &want)) {
        velocity_mixture(NULL, want.t, want.x, want.v);
        bool given = want.integrals || unwanted == NULL;
        want.v[2] = given ? cos(want.x[0]) + want.t : *unwanted;
        ret->wanted += want.integrals;
        ret->evaluations++;
        fm_solve_give(solve);
    }
    fm_solve_report report;
    fm_solve_describe(solve, &report);
    ck_assert_int_eq(report.status, FM_ROW_OK);
    memcpy(ret->end, report.x, sizeof ret->end);
    fm_free(memory);
}

START_TEST(slopes_of_integrals_that_are_not_wanted_are_not_read)
{
    for (int outputs = 0; outputs < 2; outputs++) {
        fm_solve_plan plan = trajectory_plan(_i, false);
        plan.dimension = 3;
        plan.n_integrals = 1;
        if (!fm_method_takes_density(plan.solver.method)) {
            return;
        }
        if (outputs) {
            trajectory_ask_times(&plan, false);
        }
        integrated all, some;
        const double huge = 1e100;
        integrate_beside(&plan, NULL, &all);
        integrate_beside(&plan, &huge, &some);
        ck_assert_mem_eq(all.end, some.end, sizeof all.end);
        ck_assert_mem_eq(all.outputs, some.outputs, sizeof all.outputs);
        ck_assert_uint_eq(all.evaluations, some.evaluations);
        ck_assert_double_ne(all.end[2], 0);
    }
}
END_TEST

/* Of each step, and beyond the steps: of a pair the first slope and the trial step. */
static const struct {
    const char *method;
    size_t stages, wanted, wanted_with_outputs, beyond;
} integral_rows[] = {
    {"euler", 1, 1, 1, 0}, {"midpoint", 2, 1, 2, 0}, {"heun3", 3, 2, 2, 0}, {"rk4", 4, 4, 4, 0},
    {"bosh3", 3, 3, 3, 2}, {"dopri5", 6, 5, 5, 2},   {"tsit5", 6, 6, 6, 2}, {"dopri8", 13, 9, 9, 2},
};

START_TEST(integrals_want_the_slopes_that_have_weights)
{
    for (int outputs = 0; outputs < 2; outputs++) {
        fm_solve_plan plan = trajectory_plan(0, false);
        plan.solver.method = fm_method_find(integral_rows[_i].method);
        plan.dimension = 3;
        plan.n_integrals = 1;
        if (outputs) {
            trajectory_ask_times(&plan, false);
        }
        size_t wanted = outputs ? integral_rows[_i].wanted_with_outputs : integral_rows[_i].wanted;
        double share = (double)wanted / (double)integral_rows[_i].stages;
        ck_assert_double_eq(fm_solve_integral_share(&plan), share);
        integrated run;
        integrate_beside(&plan, NULL, &run);
        if (!outputs) { /* whose own evaluations come to it */
            size_t beyond = integral_rows[_i].beyond;
            size_t steps = (run.evaluations - beyond) / integral_rows[_i].stages;
            ck_assert_uint_eq(run.wanted, beyond + steps * wanted);
        }
    }
}
END_TEST

Suite *suite_engine_solve_integrals(void)
{
    Suite *suite = suite_create("engine/solve_integrals");
    TCase *tests = tcase_create("integrals");
    tcase_add_loop_test(tests, slopes_of_integrals_that_are_not_wanted_are_not_read, 0,
                        trajectory_method_count());
    tcase_add_loop_test(tests, integrals_want_the_slopes_that_have_weights, 0,
                        (int)(sizeof integral_rows / sizeof *integral_rows));
    suite_add_tcase(suite, tests);
    return suite;
}
