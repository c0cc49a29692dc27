/* Trajectories of tokens: their law at the end, what is given, masks, outputs, and tokens beside points of a sphere. */
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/method.h"
#include "tests/support/token_law.h"
#include "tests/support/trajectory.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

#define SAMPLES ((size_t)40000)
#define STEPS   ((size_t)4)

static const char *const names[3] = {"ctmc_euler", "ctmc_exact", "ctmc_tau_leaping"};
static const fm_jump_form forms[3] = {FM_JUMP_EULER, FM_JUMP_EXACT, FM_JUMP_TAU_LEAPING};

static void ignore(void *context, size_t index, double t, const double *x)
{
    (void)context;
    (void)index;
    (void)t;
    (void)x;
}

/* From x0 to the end, ret [dimension]. */
static fm_row_status run(void *memory, const fm_solve_plan *plan, velocity_function logits,
                         void *context, uint64_t sample, const double *x0, double *ret)
{
    fm_solve_report report;
    fm_solve_want want;
    fm_solve *solve = fm_solve_init(memory, plan, sample, x0, NULL);
    while (fm_solve_next(solve, &want)) {
        logits(context, want.t, want.x, want.v);
        fm_solve_give(solve);
    }
    fm_solve_describe(solve, &report);
    memcpy(ret, report.x, plan->dimension * sizeof *ret);
    return report.status;
}

static void accept(const fm_solve_plan *plan)
{
    fm_error err = {0};
    ck_assert_msg(fm_solve_check(plan, &err) == FM_OK, "%s", err.text);
}

/* ---- laws ---- */

START_TEST(samples_have_the_law_of_their_steps)
{
    token_case tokens = token_case_uneven(_i % 2 == 0);
    double mass[TOKEN_CASE_MAX_STATES], grid[STEPS + 1], chi = 0;
    size_t counts[TOKEN_CASE_MAX_STATES] = {0}, degrees = 0, v = token_case_vocabulary(&tokens);
    double scale = _i >= 6 ? 2 : 0;
    token_law_end(&tokens, forms[_i / 2 % 3], scale, STEPS, mass);
    fm_grid_uniform(0, 1, STEPS, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i / 2 % 3], grid, STEPS + 1);
    plan.solver.sampling.corrector.scale = scale;
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    for (uint64_t sample = 0; sample < SAMPLES; sample++) {
        double normals[2] = {0}, u[2], x0[2], x[2];
        fm_rng_uniform(77, sample, FM_RNG_SOURCE_NOISE, 0, 2, u);
        fm_space_draw(&tokens.space, 1, normals, u, x0);
        ck_assert_int_eq(run(memory, &plan, velocity_tokens, &tokens, sample, x0, x), FM_ROW_OK);
        counts[(size_t)x[0] * v + (size_t)x[1]]++;
    }
    fm_free(memory);
    for (size_t k = 0; k < token_case_states(&tokens); k++) {
        double expected = (double)SAMPLES * mass[k], off = (double)counts[k] - expected;
        ck_assert(expected > 1e-9 || counts[k] == 0);
        chi += expected > 1e-9 ? off * off / expected : 0;
        degrees += expected > 1e-9;
    }
    ck_assert_uint_eq(degrees, 9);
    ck_assert_double_lt(chi, 26.12); /* eight degrees: the quantile of 0.999 */
}
END_TEST

START_TEST(share_of_masks_on_the_way_is_that_of_harmonic_numbers)
{
    /* of 32 steps the first 16: exp(-(H_32 - H_16)), the exact 1 - t, prod (1 - e^(-r) r) with r = 1/(32 - k) */
    const double left[3] = {.507750, .5, .515491};
    token_case tokens = {.length = 1, .letters = 2, .is_mask = true, .joint = {.5, .5}};
    double grid[17], mask = 2;
    size_t masks = 0;
    token_case_init(&tokens);
    fm_grid_uniform(0, 0.5, 16, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 17);
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    for (uint64_t sample = 0; sample < SAMPLES; sample++) {
        double x;
        ck_assert_int_eq(run(memory, &plan, velocity_tokens, &tokens, sample, &mask, &x),
                         FM_ROW_OK);
        masks += x == mask; /* the grid ends before 1: masks stay */
    }
    fm_free(memory);
    /* four standard errors */
    ck_assert_double_eq_tol((double)masks / (double)SAMPLES, left[_i],
                            4 * 0.5 / sqrt((double)SAMPLES));
}
END_TEST

/* ---- what a network might say ---- */

#define LENGTH     24
#define VOCABULARY 9

typedef struct talk {
    uint64_t seed;
    double of_mask; /* its logit */
} talk;

/* Logits that depend on everything, by chance. */
static void velocity_talk(void *context, double t, const double *x, double *v)
{
    const talk *it = context;
    uint64_t state = it->seed + (uint64_t)(t * 1e6);
    for (size_t i = 0; i < LENGTH; i++) {
        state = state * 31 + (uint64_t)x[i];
    }
    fm_rng_normal(state, 0, FM_RNG_PROBE, 0, (size_t)LENGTH * VOCABULARY, v);
    for (size_t i = 0; i < LENGTH; i++) {
        v[i * VOCABULARY + VOCABULARY - 1] = it->of_mask;
    }
}

static token_case talk_case(bool is_mask)
{
    token_case ret = {.length = LENGTH, .letters = VOCABULARY - is_mask, .is_mask = is_mask};
    token_case_init(&ret);
    return ret;
}

static void all_masks(double x0[LENGTH])
{
    for (size_t i = 0; i < LENGTH; i++) {
        x0[i] = VOCABULARY - 1;
    }
}

START_TEST(no_sample_ends_with_a_mask_whatever_the_network_says)
{
    token_case tokens = talk_case(true);
    talk masks = {.of_mask = 8};
    double grid[6], x0[LENGTH], x[LENGTH];
    all_masks(x0);
    fm_grid_uniform(0, 1, 5, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 6);
    plan.solver.sampling.corrector.scale = 1;
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    for (uint64_t sample = 0; sample < 50; sample++) {
        ck_assert_int_eq(run(memory, &plan, velocity_talk, &masks, sample, x0, x), FM_ROW_OK);
        for (size_t i = 0; i < LENGTH; i++) {
            ck_assert(x[i] >= 0 && x[i] < VOCABULARY - 1 && x[i] == floor(x[i]));
        }
    }
    plan.solver.n_grid = 5; /* up to 0.8 */
    ck_assert_int_eq(run(memory, &plan, velocity_talk, &masks, 0, x0, x), FM_ROW_OK);
    size_t n_masks = 0;
    for (size_t i = 0; i < LENGTH; i++) {
        n_masks += x[i] == VOCABULARY - 1;
    }
    ck_assert_uint_gt(n_masks, LENGTH / 2);
    fm_free(memory);
}
END_TEST

START_TEST(given_tokens_never_change)
{
    token_case tokens = talk_case(_i % 2 == 0);
    talk network = {.seed = 4};
    static unsigned char given[5][LENGTH];
    double grid[9], x0[LENGTH], x[LENGTH];
    size_t changed = 0;
    for (size_t i = 0; i < LENGTH; i++) {
        x0[i] = (double)(i % VOCABULARY);
        for (size_t sample = 0; sample < 5; sample++) {
            given[sample][i] = (i + sample) % 3 == 0;
        }
    }
    fm_grid_uniform(0, 1, 8, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i / 2], grid, 9);
    plan.given = &given[0][0];
    plan.solver.sampling.corrector.scale = 3;
    accept(&plan);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    for (uint64_t sample = 0; sample < 5; sample++) {
        ck_assert_int_eq(run(memory, &plan, velocity_talk, &network, sample, x0, x), FM_ROW_OK);
        for (size_t i = 0; i < LENGTH; i++) {
            ck_assert(!given[sample][i] || x[i] == x0[i]);
            changed += x[i] != x0[i];
        }
    }
    ck_assert_uint_gt(changed, 50); /* of 80 */
    fm_free(memory);
}
END_TEST

START_TEST(temperature_and_top_k_leave_the_likeliest_where_they_say_so)
{
    token_case tokens = talk_case(false);
    talk network = {.seed = 9};
    double grid[2] = {0, 1}, x0[LENGTH] = {0}, x[LENGTH], logits[LENGTH * VOCABULARY];
    velocity_talk(&network, 0, x0, logits);
    for (int which = 0; which < 3; which++) {
        fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 2);
        plan.solver.sampling.temperature = which == 0 ? 0 : 1;
        plan.solver.sampling.top_k = which == 1;
        plan.solver.sampling.top_p = which == 2 ? 1e-6 : 1;
        accept(&plan);
        void *memory = fm_alloc(fm_solve_size_bytes(&plan));
        ck_assert_int_eq(run(memory, &plan, velocity_talk, &network, 1, x0, x), FM_ROW_OK);
        for (size_t i = 0; i < LENGTH; i++) {
            for (size_t k = 0; k < VOCABULARY; k++) {
                ck_assert(logits[i * VOCABULARY + k] <= logits[i * VOCABULARY + (size_t)x[i]]);
            }
        }
        fm_free(memory);
    }
}
END_TEST

START_TEST(a_token_depends_on_its_own_numbers_and_logits_alone)
{
    token_case tokens = talk_case(false);
    talk network = {.seed = 2};
    double grid[5], x0[LENGTH] = {0}, x[LENGTH], again[LENGTH];
    static unsigned char given[LENGTH];
    fm_grid_uniform(0, 1, 4, grid);
    fm_solve_plan plan =
        token_case_plan(&tokens, names[_i], grid, 2); /* one step: the same logits */
    plan.solver.sampling.corrector.scale = 1;
    accept(&plan);
    size_t bytes = fm_solve_size_bytes(&plan);
    unsigned char *memory = fm_alloc(bytes);
    for (uint64_t sample = 0; sample < 20; sample++) {
        ck_assert_int_eq(run(memory, &plan, velocity_talk, &network, sample, x0, x), FM_ROW_OK);
        memset(memory, 0xff, bytes);
        memset(given, 1, sizeof given);
        given[sample] = 0; /* all others rest */
        plan.given = given - sample * LENGTH;
        ck_assert_int_eq(run(memory, &plan, velocity_talk, &network, sample, x0, again), FM_ROW_OK);
        ck_assert_double_eq(again[sample], x[sample]);
        plan.given = NULL;
    }
    fm_free(memory);
}
END_TEST

/* ---- outputs ---- */

START_TEST(outputs_are_the_state_at_the_last_ended_step)
{
    token_case tokens = token_case_uneven(true);
    const double times[6] = {0, 0.1, 0.25, 0.6, 0.99, 1}, x0[2] = {3, 3};
    const size_t steps[6] = {0, 0, 1, 2, 3, 4};
    double grid[5];
    fm_grid_uniform(0, 1, 4, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 5);
    trajectory all, some;
    plan.output_every_step = true;
    trajectory_run(&all, &plan, velocity_tokens, &tokens, x0);
    ck_assert_uint_eq(all.n_outputs, 5);
    ck_assert_uint_eq(all.report.evaluations, 4);
    plan.output_every_step = false;
    plan.output_times = times;
    plan.n_output_times = 6;
    trajectory_run(&some, &plan, velocity_tokens, &tokens, x0);
    ck_assert_uint_eq(some.n_outputs, 6);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_mem_eq(some.outputs + 2 * i, all.outputs + 2 * steps[i], 2 * sizeof(double));
        ck_assert_double_eq(some.output_times[i], times[i]);
    }
    ck_assert_mem_eq(some.end, all.end, 2 * sizeof(double));
    trajectory_done(&all);
    trajectory_done(&some);
}
END_TEST

START_TEST(logits_that_are_not_finite_end_the_trajectory)
{
    token_case tokens = talk_case(true);
    talk network = {.of_mask = (double)NAN};
    double grid[3] = {0, 0.5, 1}, x0[LENGTH], x[LENGTH];
    all_masks(x0);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 3);
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    ck_assert_int_eq(run(memory, &plan, velocity_talk, &network, 0, x0, x), FM_ROW_NON_FINITE);
    ck_assert_mem_eq(x, x0, sizeof x);
    fm_free(memory);
}
END_TEST

/* ---- beside other points ---- */

static fm_space sphere_and_tokens(void)
{
    fm_error err;
    fm_space ret = {
        .is_product = true,
        .n_parts = 3,
        .parts = {{.id = FM_SPACE_TOKENS,
                   .n = 1,
                   .copies = 2,
                   .vocabulary = 4,
                   .source = {.id = FM_SOURCE_MASK}},
                  {.id = FM_SPACE_SPHERE, .n = 3, .copies = 2, .source = {.id = FM_SOURCE_UNIFORM}},
                  {.id = FM_SPACE_TOKENS,
                   .n = 1,
                   .copies = 1,
                   .vocabulary = 5,
                   .source = {.id = FM_SOURCE_UNIFORM_TOKENS}}}};
    ck_assert_msg(fm_space_init(&ret, &err) == FM_OK, "%s", err.text);
    return ret;
}

/* Tangent at both points, by a rotation about an axis that turns with t. */
static void velocity_sphere(void *context, double t, const double *x, double *v)
{
    (void)context;
    const double axis[3] = {cos(3 * t), sin(3 * t), 1.5};
    for (size_t i = 0; i < 2; i++, x += 3, v += 3) {
        for (size_t k = 0; k < 3; k++) {
            size_t a = (k + 1) % 3, b = (k + 2) % 3;
            v[k] = axis[a] * x[b] - axis[b] * x[a];
        }
    }
}

static void velocity_product(void *context, double t, const double *x, double *v)
{
    for (size_t k = 0; k < 8; k++) {
        v[k] = k % 4 == 3 ? -30 : (double)k;
    }
    velocity_sphere(context, t, x + 2, v + 8);
    for (size_t k = 14; k < 19; k++) {
        v[k] = 0.1 * (double)k;
    }
}

START_TEST(points_beside_tokens_take_the_steps_of_euler)
{
    fm_space product = sphere_and_tokens();
    fm_error err;
    fm_space sphere = {.n_parts = 1, .parts = {product.parts[1]}};
    ck_assert_int_eq(fm_space_init(&sphere, &err), FM_OK);
    const double x0[9] = {3, 3, 0, 0.6, 0.8, 1, 0, 0, 2}, times[3] = {0.2, 0.55, 1};
    double grid[6];
    fm_grid_uniform(0, 1, 5, grid);
    fm_solve_plan plan = {.dimension = 6,
                          .space = &sphere,
                          .path = trajectory_path(),
                          .output_times = times,
                          .n_output_times = 3,
                          .solver = {.method = fm_method_find("euler"),
                                     .grid = grid,
                                     .n_grid = 6,
                                     .sampling = FM_SAMPLING_DEFAULT,
                                     .step = (fm_step_form)(_i % FM_N_STEP_FORMS),
                                     .max_evaluations = 100}};
    trajectory alone, beside;
    trajectory_run(&alone, &plan, velocity_sphere, NULL, x0 + 2);
    plan.dimension = 9;
    plan.space = &product;
    plan.n_velocity = product.velocities;
    plan.solver.method = fm_method_find(names[_i / FM_N_STEP_FORMS]);
    ck_assert_uint_eq(product.velocities, 19);
    trajectory_run(&beside, &plan, velocity_product, NULL, x0);
    ck_assert_int_eq(beside.report.status, FM_ROW_OK);
    ck_assert_mem_eq(beside.end + 2, alone.end, 6 * sizeof(double));
    ck_assert_mem_eq(beside.outputs + 2, alone.outputs, 6 * sizeof(double)); /* at a step's end */
    for (size_t i = 0; i < 2; i++) { /* inside, on the geodesic */
        const double *point = beside.outputs + 9 + 2 + 3 * i;
        ck_assert_double_eq_tol(point[0] * point[0] + point[1] * point[1] + point[2] * point[2], 1,
                                1e-14);
        ck_assert_double_lt(trajectory_distance(3, point, alone.outputs + 6 + 3 * i), 0.05);
    }
    for (size_t i = 0; i < 9; i++) {
        bool is_token = i < 2 || i == 8;
        ck_assert(!is_token || (beside.end[i] == floor(beside.end[i]) && beside.end[i] < 5));
        ck_assert(i > 1 || beside.end[i] < 3);
    }
    trajectory_done(&alone);
    trajectory_done(&beside);
}
END_TEST

/* ---- rules ---- */

static void refused(fm_solve_plan plan, const char *text)
{
    fm_error err = {0};
    ck_assert_msg(fm_solve_check(&plan, &err) == FM_EINVAL, "accepted: %s", text);
    ck_assert_msg(strstr(err.text, text) != NULL, "%s: %s", text, err.text);
}

START_TEST(check_names_what_tokens_need)
{
    static const double descending[2] = {1, 0}, beyond[2] = {0, 1.5}, whole[3] = {0, 0.5, 1};
    token_case tokens = token_case_uneven(true);
    fm_space external = tokens.space;
    fm_path standing = *tokens.path;
    const double none[FM_PATH_MAX_PARAMETERS] = {0.01, 50};
    ck_assert_int_eq(fm_path_init(&standing, fm_path_type_find("ve"), none, NULL, 1, NULL), FM_OK);
    external.parts[0].source.id = FM_SOURCE_EXTERNAL;
    fm_solve_plan good = token_case_plan(&tokens, names[_i], whole, 3);
    accept(&good);
#define REFUSED(text, ...)                                                                         \
    do {                                                                                           \
        fm_solve_plan bad = good;                                                                  \
        __VA_ARGS__;                                                                               \
        refused(bad, text);                                                                        \
    } while (0)
    REFUSED("solver.grid must ascend", bad.solver.grid = descending; bad.solver.n_grid = 2);
    REFUSED("solver.grid must lie within [0, 1]", bad.solver.grid = beyond; bad.solver.n_grid = 2);
    REFUSED("is not made for euclidean", bad.space = NULL);
    REFUSED("solver.method euler is not made for tokens",
            bad.solver.method = fm_method_find("euler"));
    REFUSED("n_velocity", bad.n_velocity = 0);
    REFUSED("dimension", bad.dimension = 3);
    REFUSED("path must be set", bad.path = NULL);
    REFUSED("path must have an alpha below 1", bad.path = &standing);
    REFUSED("solver.temperature", bad.solver.sampling.temperature = -1);
    REFUSED("solver.temperature", bad.solver.sampling.temperature = (double)INFINITY);
    REFUSED("solver.top_p", bad.solver.sampling.top_p = 0);
    REFUSED("solver.top_p", bad.solver.sampling.top_p = 1.1);
    REFUSED("solver.corrector.scale", bad.solver.sampling.corrector.scale = -1);
    REFUSED("solver.corrector.power", bad.solver.sampling.corrector.power = (double)NAN);
    REFUSED("solver.corrector.end_power", bad.solver.sampling.corrector.end_power = -1);
    REFUSED("solver.corrector.scale must be 0 where the source is external", bad.space = &external;
            bad.solver.sampling.corrector.scale = 1);
    REFUSED("measures_path", bad.measures_path = true);
#undef REFUSED
    ck_assert_str_eq(fm_method_options(good.solver.method), "temperature top_k top_p corrector");
    ck_assert(!fm_method_takes_density(good.solver.method));
}
END_TEST

START_TEST(every_method_says_which_spaces_it_serves)
{
    fm_error err;
    fm_space product = sphere_and_tokens();
    token_case tokens = token_case_uneven(true);
    for (size_t i = 0; i < fm_method_count(); i++) {
        const fm_method *method = fm_method_at(i);
        bool jumps = strncmp(fm_method_describe(method)->name, "ctmc_", 5) == 0;
        ck_assert_int_eq(fm_method_serves(method, &tokens.space), jumps);
        ck_assert_int_eq(fm_method_serves(method, &product), jumps);
        bool flat = !jumps && !fm_method_jumps(method);
        ck_assert_int_eq(fm_method_serves(method, NULL), flat);
        for (int id = 0; id < FM_N_SPACES; id++) {
            fm_space space = {
                .n_parts = 1,
                .parts = {{.id = (fm_space_id)id, .n = 1, .copies = 1, .vocabulary = 3}}};
            space.parts[0].n = id == FM_SPACE_SPHERE ? 3 : id == FM_SPACE_SO3 ? 4 : 1;
            space.parts[0].n = id == FM_SPACE_SE3 ? 7 : space.parts[0].n;
            ck_assert_msg(fm_space_init(&space, &err) == FM_OK, "%s", err.text);
            bool expected = id == FM_SPACE_TOKENS      ? jumps
                            : id == FM_SPACE_EUCLIDEAN ? flat
                                                       : method->tableau != NULL;
            ck_assert_int_eq(fm_method_serves(method, &space), expected);
        }
    }
}
END_TEST

static bool refuse_memory(void *context, size_t size_bytes)
{
    (void)size_bytes;
    ++*(int *)context;
    return false;
}

START_TEST(steps_allocate_nothing_and_memory_is_reusable)
{
    token_case tokens = talk_case(true);
    talk network = {.seed = 6};
    double grid[5], x0[LENGTH], first[LENGTH], second[LENGTH];
    const double times[2] = {0.3, 0.9};
    int asked = 0;
    all_masks(x0);
    fm_grid_uniform(0, 1, 4, grid);
    fm_solve_plan plan = token_case_plan(&tokens, names[_i], grid, 5);
    plan.solver.sampling.top_k = 4;
    plan.solver.sampling.top_p = 0.9;
    plan.output_times = times;
    plan.n_output_times = 2;
    plan.output = ignore;
    accept(&plan);
    size_t bytes = fm_solve_size_bytes(&plan);
    unsigned char *memory = fm_alloc(bytes);
    fm_memory_set_hook(refuse_memory, &asked);
    (void)run(memory, &plan, velocity_talk, &network, 3, x0, first);
    memset(memory, 0xff, bytes);
    (void)run(memory, &plan, velocity_talk, &network, 3, x0, second);
    fm_memory_set_hook(NULL, NULL);
    ck_assert_int_eq(asked, 0);
    ck_assert_mem_eq(first, second, sizeof first);
    plan.n_velocity = SIZE_MAX / 16;
    ck_assert_uint_eq(fm_solve_size_bytes(&plan), SIZE_MAX);
    fm_free(memory);
}
END_TEST

Suite *suite_engine_solve_ctmc_sampler(void)
{
    Suite *suite = suite_create("engine/solve_ctmc_sampler");
    TCase *law = tcase_create("law");
    tcase_set_timeout(law, 60);
    tcase_add_loop_test(law, samples_have_the_law_of_their_steps, 0, 12);
    tcase_add_loop_test(law, share_of_masks_on_the_way_is_that_of_harmonic_numbers, 0, 3);
    suite_add_tcase(suite, law);
    TCase *states = tcase_create("states");
    tcase_add_loop_test(states, no_sample_ends_with_a_mask_whatever_the_network_says, 0, 3);
    tcase_add_loop_test(states, given_tokens_never_change, 0, 6);
    tcase_add_loop_test(states, temperature_and_top_k_leave_the_likeliest_where_they_say_so, 0, 3);
    tcase_add_loop_test(states, a_token_depends_on_its_own_numbers_and_logits_alone, 0, 3);
    tcase_add_loop_test(states, outputs_are_the_state_at_the_last_ended_step, 0, 3);
    tcase_add_loop_test(states, logits_that_are_not_finite_end_the_trajectory, 0, 3);
    tcase_add_loop_test(states, points_beside_tokens_take_the_steps_of_euler, 0,
                        3 * FM_N_STEP_FORMS);
    tcase_add_loop_test(states, steps_allocate_nothing_and_memory_is_reusable, 0, 3);
    suite_add_tcase(suite, states);
    TCase *rules = tcase_create("rules");
    tcase_add_loop_test(rules, check_names_what_tokens_need, 0, 3);
    tcase_add_test(rules, every_method_says_which_spaces_it_serves);
    suite_add_tcase(suite, rules);
    return suite;
}
