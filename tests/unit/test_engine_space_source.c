/* Sources: densities integrate to 1 over their space's volume, written down here once more, and draws follow them. */
#include "engine/math/rng.h"
#include "tests/support/space_case.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI      SPACE_CASE_PI
#define N_DRAWS ((size_t)20000)
#define MOST    SPACE_CASE_MOST

static fm_space space_of(fm_space_id id, size_t n, size_t copies, fm_source source)
{
    return space_case_of((fm_space_part){.id = id, .n = n, .copies = copies, .source = source});
}

static fm_source wrapped(double std)
{
    return (fm_source){.id = FM_SOURCE_WRAPPED_NORMAL, .std = std};
}

static double density(const fm_space *space, const double *x)
{
    return exp(fm_space_source_log_density(space, 1, x));
}

/* ---- densities ---- */

START_TEST(spheres_have_their_area)
{
    static const double areas[] = {2 * PI, 4 * PI, 2 * PI * PI, 8 * PI * PI / 3};
    double x[5] = {1};
    for (size_t n = 2; n < 6; n++) {
        fm_space sphere = space_of(FM_SPACE_SPHERE, n, 1, (fm_source){.id = FM_SOURCE_UNIFORM});
        ck_assert_double_eq_tol(density(&sphere, x) * areas[n - 2], 1, 1e-14);
    }
}
END_TEST

START_TEST(uniform_baselines_are_those_of_the_literature)
{
    const fm_source uniform = {.id = FM_SOURCE_UNIFORM};
    double x[7] = {1};
    fm_space sphere = space_of(FM_SPACE_SPHERE, 3, 1, uniform);
    fm_space torus = space_of(FM_SPACE_TORUS, 7, 1, uniform);
    fm_space turn = space_of(FM_SPACE_SO3, 4, 1, uniform);
    ck_assert_double_eq_tol(fm_space_source_log_density(&sphere, 1, x), -2.5310242469692907, 1e-14);
    ck_assert_double_eq_tol(fm_space_source_log_density(&torus, 1, x), -7 * 1.8378770664093453,
                            1e-13);
    ck_assert_double_eq(fm_space_source_log_density(&turn, 1, x), 0);
}
END_TEST

/* Nothing but N(angle + 2 pi k), summed far out. */
static double log_of_images(double angle, double std)
{
    double most = -HUGE_VAL, sum = 0;
    for (int k = -60; k <= 60; k++) {
        double at = (angle + 2 * PI * k) / std;
        most = fmax(most, -0.5 * at * at);
    }
    for (int k = -60; k <= 60; k++) {
        double at = (angle + 2 * PI * k) / std;
        sum += exp(-0.5 * at * at - most);
    }
    return most + log(sum) - log(std * sqrt(2 * PI));
}

START_TEST(a_wrapped_normal_is_the_sum_of_its_images)
{
    static const double stds[] = {1e-3, 0.05, 0.5, 0.999, 1, 1.001, 1.5, 3, 8};
    for (size_t k = 0; k < sizeof stds / sizeof *stds; k++) {
        fm_space torus = space_of(FM_SPACE_TORUS, 1, 1, wrapped(stds[k]));
        for (int i = 0; i < 32; i++) {
            double angle = 2 * PI * i / 32;
            double want = log_of_images(angle, stds[k]);
            ck_assert_double_eq_tol(fm_space_source_log_density(&torus, 1, &angle), want,
                                    2e-14 * (1 + fabs(want)));
        }
    }
}
END_TEST

START_TEST(torus_densities_integrate_to_one)
{
    static const double stds[] = {0.1, 0.7, 1.2, 4};
    const int n = 400;
    for (size_t k = 0; k < sizeof stds / sizeof *stds; k++) {
        fm_space torus = space_of(FM_SPACE_TORUS, 2, 1, wrapped(stds[k]));
        double sum = 0, step = 2 * PI / n;
        for (int i = 0; i < n * n; i++) {
            int row = i / n, column = i % n;
            double x[2] = {step * column, step * row};
            sum += step * step * density(&torus, x);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-12);
    }
}
END_TEST

/* The sphere of radius r has the area |S^(n-1)| sinh^(n-1) r. Points lie on a slanted ray. */
START_TEST(hyperbolic_densities_integrate_to_one)
{
    static const double areas[] = {2, 2 * PI, 4 * PI, 2 * PI * PI};
    static const double stds[] = {0.2, 0.6, 1.1};
    const double step = 5e-4;
    for (size_t k = 0; k < 12; k++) {
        size_t n = k % 4 + 1;
        fm_space ball = space_of(FM_SPACE_HYPERBOLIC, n, 1, wrapped(stds[k / 4]));
        double sum = 0;
        for (int i = 0; i < 28000; i++) {
            double r = step * (i + 0.5), x[4];
            for (size_t axis = 0; axis < n; axis++) {
                x[axis] = tanh(r / 2) / sqrt((double)n);
            }
            sum += step * areas[n - 1] * pow(sinh(r), (double)n - 1) * density(&ball, x);
        }
        ck_assert_double_eq_tol(sum, 1, 1e-6);
    }
}
END_TEST

/* [[a, b], [b, c]] with the volume sqrt(2) det^(-3/2) da db dc, at a = e^p, c = e^q, b = sqrt(ac) tanh z, where it is
 * sqrt(2) cosh z dp dq dz. */
START_TEST(matrix_densities_integrate_to_one)
{
    fm_space matrices = space_of(FM_SPACE_SPD, 2, 1, wrapped(0.5));
    const double step = 0.1;
    const int n = 70;
    double sum = 0;
    for (int i = 0; i < n * n * n; i++) {
        int middle = n / 2, of_p = i % n, of_q = i / n % n, of_z = i / n / n;
        double p = step * (of_p - middle), q = step * (of_q - middle), z = step * (of_z - middle);
        double b = exp(0.5 * (p + q)) * tanh(z), x[4] = {exp(p), b, b, exp(q)};
        sum += step * step * step * sqrt(2) * cosh(z) * density(&matrices, x);
    }
    ck_assert_double_eq_tol(sum, 1, 1e-8);
}
END_TEST

START_TEST(the_density_of_centred_frames_is_that_of_their_subspace)
{
    fm_space_part part = {.id = FM_SPACE_SE3,
                          .n = 7,
                          .copies = 3,
                          .source = {.id = FM_SOURCE_NORMAL, .std = 0.5, .centered = true}};
    fm_space frames = space_case_of(part);
    double x[21], square = 0, variance = pow(0.5 * 1.7, 2);
    space_case_point(&frames, 5, x);
    for (size_t i = 0; i < 21; i++) {
        square += i % 7 > 3 ? x[i] * x[i] : 0;
    }
    double want = -0.5 * square / variance - 0.5 * 6 * log(2 * PI * variance); /* 3 (3 - 1) */
    ck_assert_double_eq_tol(fm_space_source_log_density(&frames, 1.7, x), want, 1e-13);
}
END_TEST

START_TEST(densities_of_parts_multiply)
{
    fm_space_part angles = {.id = FM_SPACE_TORUS, .n = 2, .copies = 2, .source = wrapped(0.7)};
    fm_space_part flat = {.id = FM_SPACE_EUCLIDEAN,
                          .n = 1,
                          .copies = 1,
                          .source = {.id = FM_SOURCE_NORMAL, .std = 2}};
    fm_space both = {.parts = {angles, flat}, .n_parts = 2, .is_product = true};
    fm_error err;
    ck_assert_int_eq(fm_space_init(&both, &err), FM_OK);
    const double x[5] = {0.3, 1, 2, 6, -1.5};
    double want = -0.5 * pow(1.5 / 6, 2) - log(6 * sqrt(2 * PI)); /* std 2, times a scale of 3 */
    for (size_t i = 0; i < 4; i++) {
        want += log_of_images(x[i], 0.7);
    }
    ck_assert_double_eq_tol(fm_space_source_log_density(&both, 3, x), want, 1e-13);
    both.parts[0].source.id = FM_SOURCE_EXTERNAL;
    ck_assert_int_eq(fm_space_init(&both, &err), FM_OK);
    ck_assert(both.is_external);
    ck_assert(isnan(fm_space_source_log_density(&both, 3, x)));
}
END_TEST

START_TEST(token_densities_count_their_vocabulary)
{
    fm_space_part part = {.id = FM_SPACE_TOKENS,
                          .n = 1,
                          .copies = 3,
                          .representation = FM_REPRESENTATION_INDEX,
                          .vocabulary = 6,
                          .source = {.id = FM_SOURCE_MASK}};
    const double masks[3] = {5, 5, 5}, others[3] = {5, 0, 5};
    fm_space tokens = space_case_of(part);
    ck_assert_double_eq(fm_space_source_log_density(&tokens, 1, masks), 0);
    ck_assert_double_eq(fm_space_source_log_density(&tokens, 1, others), -HUGE_VAL);
    part.source.id = FM_SOURCE_UNIFORM_TOKENS;
    tokens = space_case_of(part);
    ck_assert_double_eq_tol(fm_space_source_log_density(&tokens, 1, others), -3 * log(6), 1e-14);
}
END_TEST

/* ---- draws ---- */

static void draw(const fm_space *space, double scale, uint64_t sample, double *ret)
{
    double normals[MOST], uniforms[MOST];
    size_t n = fm_space_draws(space);
    fm_rng_normal(21, sample, FM_RNG_SOURCE_NOISE, 0, n, normals);
    fm_rng_uniform(22, sample, FM_RNG_SOURCE_NOISE, 0, n, uniforms);
    fm_space_draw(space, scale, normals, uniforms, ret);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov-Smirnov of values that should be uniform in (0, 1); beyond 1.95 with probability 0.001. */
static void check_uniform(double *shares)
{
    double worst = 0;
    qsort(shares, N_DRAWS, sizeof *shares, ascending);
    for (size_t i = 0; i < N_DRAWS; i++) {
        worst = fmax(worst, fmax(shares[i] - (double)i / (double)N_DRAWS,
                                 (double)(i + 1) / (double)N_DRAWS - shares[i]));
    }
    ck_assert_double_lt(worst * sqrt((double)N_DRAWS), 1.95);
}

/* Of some number that is made of a draw, its cumulative distribution there. */
typedef struct law {
    fm_space_part part;
    double scale;
    double (*share)(const double *x);
} law;

static double normal_share(double z)
{
    return 0.5 * erfc(-z / sqrt(2));
}

static double of_height(const double *x) /* Archimedes */
{
    return 0.5 * (x[2] + 1);
}

static double of_angle(const double *x)
{
    return x[1] / (2 * PI);
}

static double of_wrapped_angle(const double *x) /* std 0.4: within half a turn but for 4e-15 */
{
    return normal_share(remainder(x[0], 2 * PI) / 0.4);
}

static double of_hyperbolic_radius(const double *x) /* two dimensions, std 0.8: Rayleigh */
{
    double r = 2 * atanh(hypot(x[0], x[1])) / 0.8;
    return 1 - exp(-0.5 * r * r);
}

static double of_hyperbolic_direction(const double *x)
{
    return atan2(x[1], x[0]) / (2 * PI) + 0.5;
}

static double of_determinant(const double *x) /* the trace of the logarithm: std 0.7 sqrt(2) */
{
    return normal_share(log(x[0] * x[3] - x[1] * x[2]) / (0.7 * sqrt(2)));
}

/* The square of the distance between the logarithm's eigenvalues over 2 std^2 is of two normals: that of (a - c) / sqrt(2)
 * and that of sqrt(2) b. */
static double of_spread(const double *x)
{
    double middle = 0.5 * (x[0] + x[3]), apart = hypot(0.5 * (x[0] - x[3]), x[1]);
    double spread = log((middle + apart) / (middle - apart)) / 0.7;
    return 1 - exp(-0.25 * spread * spread);
}

static double of_rotation_angle(const double *x) /* density (1 - cos w) / pi */
{
    double angle = 2 * acos(fmin(fabs(x[0]), 1));
    return (angle - sin(angle)) / PI;
}

static double of_rotation_axis(const double *x)
{
    return 0.5 * (x[2] / sqrt(x[1] * x[1] + x[2] * x[2] + x[3] * x[3]) + 1);
}

static double of_shift(const double *x) /* std 0.5, times a scale of 3 */
{
    return normal_share(x[5] / 1.5);
}

static double of_centred_shift(const double *x) /* less the mean of three: variance by 2 / 3 */
{
    return normal_share(x[6] / (1.5 * sqrt(2.0 / 3)));
}

#define LAW(ID, numbers, points, ...)                                                              \
    {                                                                                              \
        .id = FM_SPACE_##ID, .n = (numbers), .copies = (points), .source = { __VA_ARGS__ }         \
    }
#define WRAPPED .id = FM_SOURCE_WRAPPED_NORMAL
#define UNIFORM .id = FM_SOURCE_UNIFORM

static const law laws[] = {
    {LAW(SPHERE, 3, 1, UNIFORM), 1, of_height},
    {LAW(TORUS, 2, 1, UNIFORM), 1, of_angle},
    {LAW(TORUS, 1, 1, WRAPPED, .std = 0.4), 1, of_wrapped_angle},
    {LAW(HYPERBOLIC, 2, 1, WRAPPED, .std = 0.8), 1, of_hyperbolic_radius},
    {LAW(HYPERBOLIC, 2, 1, WRAPPED, .std = 0.8), 1, of_hyperbolic_direction},
    {LAW(SPD, 2, 1, WRAPPED, .std = 0.7), 1, of_determinant},
    {LAW(SPD, 2, 1, WRAPPED, .std = 0.7), 1, of_spread},
    {LAW(SO3, 4, 1, UNIFORM), 1, of_rotation_angle},
    {LAW(SO3, 4, 1, UNIFORM), 1, of_rotation_axis},
    {LAW(SE3, 7, 2, .id = FM_SOURCE_NORMAL, .std = 0.5), 3, of_shift},
    {LAW(SE3, 7, 3, .id = FM_SOURCE_NORMAL, .std = 0.5, .centered = true), 3, of_centred_shift},
    {LAW(SE3, 7, 3, .id = FM_SOURCE_NORMAL, .std = 0.5, .centered = true), 3, of_rotation_angle},
};
#define N_LAWS ((int)(sizeof laws / sizeof *laws))

START_TEST(draws_follow_their_law)
{
    const law *it = &laws[_i];
    fm_space space = space_case_of(it->part);
    static double shares[N_DRAWS];
    for (size_t i = 0; i < N_DRAWS; i++) {
        double x[21];
        draw(&space, it->scale, i, x);
        shares[i] = it->share(x);
        ck_assert(shares[i] >= 0 && shares[i] <= 1);
    }
    check_uniform(shares);
}
END_TEST

/* How many points differ, and the last that does. */
static size_t count_changed(const fm_space *space, const double *a, const double *b,
                            size_t *ret_last)
{
    size_t changed = 0, at = 0, point = 0;
    for (size_t k = 0; k < space->n_parts; k++) {
        size_t numbers = fm_space_point_numbers(&space->parts[k]);
        for (size_t copy = 0; copy < space->parts[k].copies; copy++, point++, at += numbers) {
            if (memcmp(a + at, b + at, numbers * sizeof *a) != 0) {
                changed++;
                *ret_last = point;
            }
        }
    }
    return changed;
}

/* So they are independent, as the random numbers are. Of a frame, its turn and its shift, too. */
START_TEST(every_random_number_is_of_one_point)
{
    space_case it;
    space_case_at(_i, &it);
    for (size_t k = 0; k < it.space.n_parts; k++) {
        it.space.parts[k].source.centered = false; /* which joins all shifts */
    }
    double normals[MOST], uniforms[MOST], x[MOST] = {0}, y[MOST] = {0};
    size_t n = fm_space_draws(&it.space), last = 0, before = 0, points = 1;
    fm_rng_normal(1, 0, FM_RNG_SOURCE_NOISE, 0, n, normals);
    fm_rng_uniform(2, 0, FM_RNG_SOURCE_NOISE, 0, n, uniforms);
    fm_space_draw(&it.space, 1, normals, uniforms, x);
    for (size_t i = 0; i < n; i++, before = last) {
        normals[i] += 1;
        uniforms[i] += uniforms[i] < 0.5 ? 0.5 : -0.5;
        fm_space_draw(&it.space, 1, normals, uniforms, y);
        ck_assert_msg(count_changed(&it.space, x, y, &last) == 1, "%s, number %zu", it.name, i);
        ck_assert(last == before || last == before + 1);
        points += last > before;
        memcpy(x, y, sizeof x);
    }
    size_t want = 0;
    for (size_t k = 0; k < it.space.n_parts; k++) {
        want += it.space.parts[k].copies;
    }
    ck_assert_uint_eq(points, want);
}
END_TEST

START_TEST(a_frames_shift_is_not_drawn_with_its_turn)
{
    fm_space_part part = {
        .id = FM_SPACE_SE3, .n = 7, .copies = 1, .source = {.id = FM_SOURCE_NORMAL, .std = 1}};
    fm_space frames = space_case_of(part);
    double normals[7] = {1, 2, 3, 4, 5, 6, 7}, uniforms[7] = {0}, x[7], y[7];
    fm_space_draw(&frames, 1, normals, uniforms, x);
    for (size_t i = 0; i < 4; i++) {
        normals[i] = -1 - (double)(i * i);
    }
    fm_space_draw(&frames, 1, normals, uniforms, y);
    ck_assert_mem_eq(x + 4, y + 4, 3 * sizeof *x);
    ck_assert_mem_ne(x, y, 4 * sizeof *x);
}
END_TEST

/* pi / 2 + 2 / pi; five standard deviations of the estimate. */
START_TEST(the_mean_angle_of_a_uniform_rotation_is_known)
{
    fm_space turns = space_of(FM_SPACE_SO3, 4, 1, (fm_source){.id = FM_SOURCE_UNIFORM});
    double sum = 0, square = 0;
    const double one[4] = {1};
    for (size_t i = 0; i < N_DRAWS; i++) {
        double x[4];
        draw(&turns, 1, i, x);
        double angle = fm_space_distance(&turns, one, x);
        sum += angle / (double)N_DRAWS;
        square += angle * angle / (double)N_DRAWS;
    }
    double limit = 5 * sqrt((square - sum * sum) / (double)N_DRAWS);
    ck_assert_double_lt(limit, 0.025);
    ck_assert_double_eq_tol(sum, 2.2074161, limit);
}
END_TEST

START_TEST(tokens_are_masks_or_uniform)
{
    fm_space_part part = {.id = FM_SPACE_TOKENS,
                          .n = 1,
                          .copies = 4,
                          .representation = FM_REPRESENTATION_INDEX,
                          .vocabulary = 5,
                          .source = {.id = FM_SOURCE_MASK}};
    fm_space masks = space_case_of(part);
    part.source.id = FM_SOURCE_UNIFORM_TOKENS;
    fm_space uniform = space_case_of(part);
    double counts[5] = {0}, want = 4 * (double)N_DRAWS / 5;
    for (size_t i = 0; i < N_DRAWS; i++) {
        double x[4];
        draw(&masks, 1, i, x);
        ck_assert(x[0] == 4 && x[1] == 4 && x[2] == 4 && x[3] == 4);
        draw(&uniform, 1, i, x);
        for (size_t k = 0; k < 4; k++) {
            ck_assert(x[k] >= 0 && x[k] < 5 && x[k] == floor(x[k]));
            counts[(size_t)x[k]]++;
        }
    }
    for (size_t k = 0; k < 5; k++) {
        ck_assert_double_eq_tol(counts[k], want, 5 * sqrt(want * 0.8));
    }
}
END_TEST

/* The largest uniform number below 1 times any vocabulary is still a token of it. */
START_TEST(the_last_uniform_number_is_the_last_token)
{
    fm_space_part part = {.id = FM_SPACE_TOKENS,
                          .n = 1,
                          .copies = 1,
                          .representation = FM_REPRESENTATION_INDEX,
                          .vocabulary = 50257,
                          .source = {.id = FM_SOURCE_UNIFORM_TOKENS}};
    fm_space tokens = space_case_of(part);
    const double normal = 0, first = 0x1p-53, last = 1 - 0x1p-53;
    double x = -1;
    fm_space_draw(&tokens, 1, &normal, &last, &x);
    ck_assert_double_eq(x, 50256);
    fm_space_draw(&tokens, 1, &normal, &first, &x);
    ck_assert_double_eq(x, 0);
}
END_TEST

Suite *suite_engine_space_source(void)
{
    Suite *suite = suite_create("engine/space_source");
    TCase *densities = tcase_create("densities");
    tcase_set_timeout(densities, 60);
    tcase_add_test(densities, spheres_have_their_area);
    tcase_add_test(densities, uniform_baselines_are_those_of_the_literature);
    tcase_add_test(densities, a_wrapped_normal_is_the_sum_of_its_images);
    tcase_add_test(densities, torus_densities_integrate_to_one);
    tcase_add_test(densities, hyperbolic_densities_integrate_to_one);
    tcase_add_test(densities, matrix_densities_integrate_to_one);
    tcase_add_test(densities, the_density_of_centred_frames_is_that_of_their_subspace);
    tcase_add_test(densities, densities_of_parts_multiply);
    tcase_add_test(densities, token_densities_count_their_vocabulary);
    suite_add_tcase(suite, densities);
    TCase *draws = tcase_create("draws");
    tcase_set_timeout(draws, 60);
    tcase_add_loop_test(draws, draws_follow_their_law, 0, N_LAWS);
    tcase_add_loop_test(draws, every_random_number_is_of_one_point, 0, space_case_count());
    tcase_add_test(draws, a_frames_shift_is_not_drawn_with_its_turn);
    tcase_add_test(draws, the_mean_angle_of_a_uniform_rotation_is_known);
    tcase_add_test(draws, tokens_are_masks_or_uniform);
    tcase_add_test(draws, the_last_uniform_number_is_the_last_token);
    suite_add_tcase(suite, draws);
    return suite;
}
