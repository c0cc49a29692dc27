/* engine/network/unet, sit: networks that the libraries evaluated. */
#include "engine/math/dense.h"
#include "engine/network/plan.h"
#include "tests/support/failing_memory.h"
#include "tests/support/network_case.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <string.h>

/* Tolerances and counts of tests/golden/README.md and of the files. */
static const struct {
    const char *folder;
    double tolerance;
    size_t parameter_count;
} cases[] = {
    {"tests/golden/unet-torchcfm-mnist", 4e-5, 1076641},
    {"tests/golden/unet-torchcfm-variants-a", 4e-5, 0},
    {"tests/golden/unet-torchcfm-variants-b", 4e-5, 0},
    {"tests/golden/unet-meta-tiny", 4e-5, 0},
    {"tests/golden/sit-tiny-sigma", 1e-5, 0},
    {"tests/golden/sit-tiny-nosigma", 1e-5, 0},
};
#define N_CASES ((int)(sizeof cases / sizeof *cases))

START_TEST(image_networks_are_what_the_libraries_evaluated)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, cases[_i].folder);
    double error = network_case_reference_error(&it, cases[_i].folder, NULL);
    ck_assert_msg(error <= cases[_i].tolerance, "%s: error %g", cases[_i].folder, error);
    network_case_close(&it);
}
END_TEST

START_TEST(image_networks_count_every_number_of_their_file)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, cases[_i].folder);
    size_t count = 0;
    for (size_t i = 0; i < fm_tensors_count(it.tensors); i++) {
        count += fm_tensors_at(it.tensors, i)->count;
    }
    ck_assert_uint_eq(it.network->info.parameter_count, count);
    if (cases[_i].parameter_count > 0) {
        ck_assert_uint_eq(count, cases[_i].parameter_count);
    }
    network_case_close(&it);
}
END_TEST

START_TEST(a_row_of_an_image_network_has_its_bits_whatever_shares_its_call)
{
    fm_dense_thread_init();
    network_case it;
    network_case_open(&it, cases[_i].folder);
    bool independent = false;
    int32_t max_label = it.config.has_labels ? it.config.label_count - 1 : 0;
    ck_assert_uint_eq(it.network->info.max_rows, 16);
    ck_assert_int_eq(fm_network_check_bits(it.network, max_label, &independent, NULL), FM_OK);
    ck_assert(independent);
    network_case_close(&it);
}
END_TEST

START_TEST(bfloat16_is_within_two_hundredths_or_refused_by_name)
{
    fm_dense_thread_init();
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(cases[_i].folder, &config, &err), FM_OK);
    config.compute = FM_COMPUTE_BFLOAT16;
    network_case it;
    char file[256];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", cases[_i].folder);
    fm_status status = network_case_make(&it, &config, file, NULL, 0, &err);
    if (fm_compute_check(FM_COMPUTE_BFLOAT16, NULL) != FM_OK) {
        ck_assert_int_eq(status, FM_EUNSUPPORTED);
        ck_assert(strncmp(err.text, "/weights/compute: bfloat16 needs ", 33) == 0);
    } else {
        ck_assert_msg(status == FM_OK, "%s", err.text);
        double mean = 0;
        double largest = network_case_reference_error(&it, cases[_i].folder, &mean);
        printf("%s in bfloat16: error %.2e of 2e-2, largest %.2e\n", cases[_i].folder, mean,
               largest);
        ck_assert_msg(mean <= 2e-2 && largest <= 1e-1, "%s: error %g, largest %g", cases[_i].folder,
                      mean, largest);
        bool independent = false;
        ck_assert_int_eq(fm_network_check_bits(it.network, 0, &independent, NULL), FM_OK);
        ck_assert(independent);
    }
    network_case_close(&it);
    fm_model_config_done(&config);
}
END_TEST

/* Every hundredth allocation or so: there are thousands. */
START_TEST(every_failed_allocation_of_an_image_network_is_an_error_and_leaks_nothing)
{
    fm_dense_thread_init();
    fm_error err = {0};
    fm_model_config config;
    ck_assert_int_eq(fm_model_config_read(cases[_i].folder, &config, &err), FM_OK);
    char file[256];
    (void)snprintf(file, sizeof file, "%s/model.safetensors", cases[_i].folder);
    bool refused = true;
    for (size_t k = 0; refused; k += 1 + k / 4) {
        ck_assert_uint_lt(k, 1000000);
        network_case it;
        failing_memory_start(k);
        fm_status status = network_case_make(&it, &config, file, NULL, 0, &err);
        refused = failing_memory_stop();
        ck_assert_msg(refused ? failing_memory_explains(status) : status == FM_OK,
                      "allocation %zu: %s", k, err.text);
        network_case_close(&it);
    }
    fm_model_config_done(&config);
}
END_TEST

Suite *suite_engine_image_network(void)
{
    Suite *suite = suite_create("engine/image_network");
    TCase *tests = tcase_create("image_network");
    tcase_set_tags(tests, "one_thread");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, image_networks_are_what_the_libraries_evaluated, 0, N_CASES);
    tcase_add_loop_test(tests, image_networks_count_every_number_of_their_file, 0, N_CASES);
    tcase_add_loop_test(tests, a_row_of_an_image_network_has_its_bits_whatever_shares_its_call, 0,
                        N_CASES);
    tcase_add_loop_test(tests, bfloat16_is_within_two_hundredths_or_refused_by_name, 0, N_CASES);
    tcase_add_loop_test(tests,
                        every_failed_allocation_of_an_image_network_is_an_error_and_leaks_nothing,
                        0, N_CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
