/* Steps on curved spaces against SciPy's matrix functions and the hyperboloid (tests/golden/spaces.py). */
#include "engine/checkpoint/tensors.h"
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST  256 /* numbers of a point */
#define LIMIT 2e-12

static fm_tensors *tensors;

static void open_tensors(void)
{
    fm_error err;
    ck_assert_msg(fm_tensors_open("tests/golden/spaces/spaces.safetensors", &tensors, &err) ==
                      FM_OK,
                  "%s", err.text);
}

static void close_tensors(void)
{
    fm_tensors_close(tensors);
}

/* Row `row` of "<space>.<name>"; returns its numbers, 0 where there is no such row. */
static size_t read_row(const char *space, const char *name, size_t row, double *ret)
{
    char full[32];
    (void)snprintf(full, sizeof full, "%s.%s", space, name);
    const fm_tensor *tensor = fm_tensors_find(tensors, full);
    ck_assert_msg(tensor != NULL && tensor->dtype == FM_DTYPE_F64, "no %s", full);
    size_t count = tensor->count / tensor->shape[0];
    ck_assert_uint_le(count, MOST);
    if (row >= tensor->shape[0]) {
        return 0;
    }
    memcpy(ret, (const char *)tensor->data + 8 * count * row, 8 * count);
    return count;
}

typedef struct reference {
    double x[MOST], u[MOST], y[MOST], w[MOST], v[MOST], distance;
} reference;

static bool read_reference(const char *space, const char *point, size_t row, reference *ret)
{
    return read_row(space, point, row, ret->x) > 0 && read_row(space, "u", row, ret->u) > 0 &&
           read_row(space, "y", row, ret->y) > 0 && read_row(space, "w", row, ret->w) > 0 &&
           read_row(space, "v", row, ret->v) > 0 &&
           read_row(space, "distance", row, &ret->distance) > 0;
}

static void check_near(size_t n, const double *got, const double *want, const char *what)
{
    double apart[MOST], limit = LIMIT * (1 + space_case_most(n, want));
    for (size_t i = 0; i < n; i++) {
        apart[i] = got[i] - want[i];
    }
    ck_assert_msg(space_case_most(n, apart) < limit, "%s is off by %g", what,
                  space_case_most(n, apart));
}

/* Of states and slopes as the file has them. */
static size_t check_rows(const fm_space *space, const char *name)
{
    reference it;
    size_t row = 0;
    for (; read_reference(name, "x", row, &it); row++) {
        double got[MOST];
        fm_space_exp(space, it.x, it.u, got);
        check_near(space->states, got, it.y, "exp");
        fm_space_log(space, it.x, it.y, got);
        check_near(space->states, got, it.u, "log");
        ck_assert_double_eq_tol(fm_space_distance(space, it.x, it.y), it.distance, LIMIT);
        memcpy(got, it.v, sizeof got);
        fm_space_pull(space, it.x, it.u, got);
        check_near(space->states, got, it.w, "pull");
    }
    return row;
}

START_TEST(matrices_step_as_scipys_matrix_functions_say)
{
    static const size_t sizes[] = {2, 3, 6, 16};
    char name[16];
    (void)snprintf(name, sizeof name, "spd.%zu", sizes[_i]);
    fm_space space =
        space_case_of((fm_space_part){.id = FM_SPACE_SPD,
                                      .n = sizes[_i],
                                      .copies = 1,
                                      .source = {.id = FM_SOURCE_WRAPPED_NORMAL, .std = 1}});
    ck_assert_uint_ge(check_rows(&space, name), 3);
}
END_TEST

START_TEST(the_ball_steps_as_the_hyperboloid)
{
    fm_space space =
        space_case_of((fm_space_part){.id = FM_SPACE_HYPERBOLIC,
                                      .n = 3,
                                      .copies = 1,
                                      .source = {.id = FM_SOURCE_WRAPPED_NORMAL, .std = 1}});
    ck_assert_uint_ge(check_rows(&space, "ball"), 12);
}
END_TEST

/* What a network is fed of a rotation is its matrix, and what it answers an angular velocity. */
START_TEST(rotations_step_as_scipys_matrix_functions_say)
{
    fm_space space = space_case_of((fm_space_part){.id = FM_SPACE_SO3,
                                                   .n = 4,
                                                   .copies = 1,
                                                   .representation = FM_REPRESENTATION_MATRIX,
                                                   .source = {.id = FM_SOURCE_UNIFORM}});
    reference it;
    size_t row = 0;
    for (; read_reference("so3", "q", row, &it); row++) {
        double u[4], w[4], v[4], y[4], got[9], matrix[MOST];
        fm_space_input(&space, it.x, got);
        ck_assert_uint_eq(read_row("so3", "x", row, matrix), 9);
        check_near(9, got, matrix, "the matrix");
        fm_space_velocity(&space, it.x, it.u, u);
        fm_space_exp(&space, it.x, u, y);
        fm_space_input(&space, y, got);
        check_near(9, got, it.y, "exp");
        ck_assert_double_eq_tol(fm_space_distance(&space, it.x, y), it.distance, LIMIT);
        fm_space_log(&space, it.x, y, got);
        check_near(4, got, u, "log");
        fm_space_velocity(&space, y, it.v, v);
        fm_space_velocity(&space, it.x, it.w, w);
        fm_space_pull(&space, it.x, u, v);
        check_near(4, v, w, "pull");
    }
    ck_assert_uint_eq(row, 12);
}
END_TEST

Suite *suite_engine_space_reference(void)
{
    Suite *suite = suite_create("engine/space_reference");
    TCase *steps = tcase_create("reference");
    tcase_add_checked_fixture(steps, open_tensors, close_tensors);
    tcase_add_loop_test(steps, matrices_step_as_scipys_matrix_functions_say, 0, 4);
    tcase_add_test(steps, the_ball_steps_as_the_hyperboloid);
    tcase_add_test(steps, rotations_step_as_scipys_matrix_functions_say);
    suite_add_tcase(suite, steps);
    return suite;
}
