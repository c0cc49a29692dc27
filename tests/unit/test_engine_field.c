/* engine/flow/field: which rows a velocity needs, and what becomes of their outputs. */
#include "engine/flow/field.h"
#include "tests/unit/suites.h"

#include <math.h>
#include <string.h>

static fm_field labelled = {.time_scale = 1, .has_null_label = true, .null_label = 8};
static fm_field unlabelled = {.time_scale = 1};
static fm_field reversed = {.data_to_noise = true, .time_scale = 1000};

static fm_prediction velocity(void)
{
    return (fm_prediction){.type = fm_prediction_type_find("velocity")};
}

static void set_predictions(void)
{
    labelled.predictions.first = unlabelled.predictions.first = reversed.predictions.first =
        velocity();
}

/* A state that a velocity prediction must not read. */
static const double anywhere[6] = {NAN, NAN, NAN, NAN, NAN, NAN};

/* Outputs whose combinations round differently in every order of operations. */
static const double row_label[3] = {0.1, -2.7, 1e9 / 3};
static const double row_null[3] = {0.3, 1.3, -1e-9 / 7};

START_TEST(fields_take_clock_and_null_label_from_the_configuration)
{
    fm_model_config config = {
        .data_to_noise = true, .time_scale = 1000, .has_null_label = true, .null_label = 3};
    fm_field field;
    fm_field_init(&field, &config);
    ck_assert(field.data_to_noise && field.has_null_label);
    ck_assert_double_eq(field.time_scale, 1000);
    ck_assert_int_eq(field.null_label, 3);
}
END_TEST

/* The label that the only row must have, or -1 where there are two: label's, then null's. */
static const struct {
    const fm_field *field;
    fm_condition condition;
    int32_t only;
} rows[] = {
    {&labelled, {.label = 2, .guidance = &(fm_guidance){.scale = 1}}, 2},
    {&labelled, {.label = 2, .guidance = &(fm_guidance){.scale = 0}}, 8},
    {&labelled, {.label = 2, .guidance = &(fm_guidance){.scale = 2.5}}, -1},
    {&labelled, {.label = 2, .guidance = &(fm_guidance){.scale = -1}}, -1},
    {&labelled, {.label = 2, .guidance = &(fm_guidance){.scale = 1.0000001}}, -1},
    {&labelled,
     {.label = 8, .guidance = &(fm_guidance){.scale = 4}},
     8}, /* null guided by null is null */
    {&unlabelled, {.label = 2, .guidance = &(fm_guidance){.scale = 3}}, 2},
    {&unlabelled, {.label = 0, .guidance = &(fm_guidance){.scale = 0}}, 0},
};

START_TEST(one_row_is_asked_wherever_one_is_enough)
{
    fm_field_ask asks[FM_FIELD_MAX_ROWS] = {0};
    size_t n_rows = fm_field_asks(rows[_i].field, &rows[_i].condition, 0.375, asks);
    ck_assert_uint_eq(n_rows, rows[_i].only < 0 ? 2 : 1);
    ck_assert_uint_eq(n_rows, fm_field_most_rows(rows[_i].field, &rows[_i].condition));
    ck_assert_int_eq(asks[0].label, rows[_i].only < 0 ? 2 : rows[_i].only);
    ck_assert_double_eq(asks[0].t, 0.375);
    if (rows[_i].only < 0) {
        ck_assert_int_eq(asks[1].label, 8);
        ck_assert_double_eq(asks[1].t, 0.375);
    }
}
END_TEST

START_TEST(a_single_row_passes_with_its_bits)
{
    if (rows[_i].only < 0) {
        return;
    }
    double v[3];
    memcpy(v, row_label, sizeof v);
    fm_field_answer(rows[_i].field, &rows[_i].condition, 0.375, 3, anywhere,
                    &(fm_field_outputs){.out = v}, v, NULL);
    ck_assert_mem_eq(v, row_label, sizeof v);
}
END_TEST

START_TEST(guidance_goes_from_the_null_towards_the_label)
{
    double v[3];
    memcpy(v, row_label, sizeof v);
    fm_condition condition = {.label = 1, .guidance = &(fm_guidance){.scale = 2.5}};
    fm_field_answer(&labelled, &condition, 0.375, 3, anywhere,
                    &(fm_field_outputs){.out = v, .others = row_null}, v, NULL);
    for (size_t i = 0; i < 3; i++) {
        double expected = -1.5 * row_null[i] + 2.5 * row_label[i];
        ck_assert_double_eq_tol(v[i] / expected, 1.0, 1e-14);
    }
}
END_TEST

START_TEST(guidance_of_the_first_channels_leaves_the_others_to_the_label)
{
    fm_field field = {.predictions.first = velocity(),
                      .time_scale = 1,
                      .has_null_label = true,
                      .null_label = 5,
                      .channels = 3};
    static const double scales[] = {0, -1, 2.5};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        fm_condition condition = {.label = 1,
                                  .guidance = &(fm_guidance){.scale = scales[i], .channels = 2}};
        fm_field_ask asks[FM_FIELD_MAX_ROWS];
        ck_assert_uint_eq(fm_field_asks(&field, &condition, 0.5, asks), 2); /* a scale of 0 too */
        ck_assert_int_eq(asks[0].label, 1);
        ck_assert_int_eq(asks[1].label, 5);
        double v[6] = {1, 2, 3, 4, 5, 6}; /* two entries a channel */
        fm_field_answer(&field, &condition, 0.375, 6, anywhere,
                        &(fm_field_outputs){.out = v, .others = (double[]){10, 20, 30, 40, 50, 60}},
                        v, NULL);
        for (size_t k = 0; k < 6; k++) {
            double label = (double)k + 1, null = 10 * label;
            ck_assert_double_eq(v[k], k < 4 ? null + scales[i] * (label - null) : label);
        }
    }
    fm_condition plain = {.label = 1, .guidance = &(fm_guidance){.scale = 1, .channels = 2}};
    ck_assert_uint_eq(fm_field_most_rows(&field, &plain), 1);
    fm_condition all = {.label = 1, .guidance = &(fm_guidance){.scale = 0, .channels = 3}};
    ck_assert_uint_eq(fm_field_most_rows(&field, &all), 1);
}
END_TEST

START_TEST(networks_against_the_direction_get_the_mirrored_time_and_lose_their_sign)
{
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    fm_condition condition = {.guidance = &(fm_guidance){.scale = 1}};
    ck_assert_uint_eq(fm_field_asks(&reversed, &condition, 0.25, asks), 1);
    ck_assert_double_eq(asks[0].t, 750);
    double v[3];
    memcpy(v, row_label, sizeof v);
    fm_field_answer(&reversed, &condition, 0.375, 3, anywhere, &(fm_field_outputs){.out = v}, v,
                    NULL);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_double_eq(v[i], -row_label[i]);
    }
}
END_TEST

START_TEST(guided_networks_against_the_direction_do_both)
{
    fm_field field = {.predictions.first = velocity(),
                      .data_to_noise = true,
                      .time_scale = 2,
                      .has_null_label = true,
                      .null_label = 5};
    fm_condition condition = {.label = 1, .guidance = &(fm_guidance){.scale = 3}};
    fm_field_ask asks[FM_FIELD_MAX_ROWS];
    ck_assert_uint_eq(fm_field_asks(&field, &condition, 0.75, asks), 2);
    ck_assert_double_eq(asks[0].t, 0.5);
    ck_assert_double_eq(asks[1].t, 0.5);
    double v[1] = {2};
    fm_field_answer(&field, &condition, 0.375, 1, anywhere,
                    &(fm_field_outputs){.out = v, .others = (double[]){1}}, v, NULL);
    ck_assert_double_eq(v[0], -4);
}
END_TEST

Suite *suite_engine_field(void)
{
    Suite *suite = suite_create("engine/field");
    TCase *tcase = tcase_create("field");
    tcase_add_checked_fixture(tcase, set_predictions, NULL);
    int n_rows = (int)(sizeof rows / sizeof rows[0]);
    tcase_add_test(tcase, fields_take_clock_and_null_label_from_the_configuration);
    tcase_add_loop_test(tcase, one_row_is_asked_wherever_one_is_enough, 0, n_rows);
    tcase_add_loop_test(tcase, a_single_row_passes_with_its_bits, 0, n_rows);
    tcase_add_test(tcase, guidance_goes_from_the_null_towards_the_label);
    tcase_add_test(tcase, guidance_of_the_first_channels_leaves_the_others_to_the_label);
    tcase_add_test(tcase, networks_against_the_direction_get_the_mirrored_time_and_lose_their_sign);
    tcase_add_test(tcase, guided_networks_against_the_direction_do_both);
    suite_add_tcase(suite, tcase);
    return suite;
}
