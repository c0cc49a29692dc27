/* State dicts: stripped names, and the record of what an architecture asked for. */
#include "engine/checkpoint/weights.h"
#include "tests/support/failing_memory.h"
#include "tests/support/safetensors_image.h"
#include "tests/unit/suites.h"

#include <stdio.h>
#include <string.h>

/* Tensors of the given names, each U8 [1, 2]. */
typedef struct state_dict {
    safetensors_image image;
    fm_tensors *tensors;
} state_dict;

static void state_dict_make(state_dict *ret, const char *const *names, size_t count)
{
    char header[4096] = "{";
    size_t used = 1;
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1,2],\"data_offsets\":[%zu,"
                                 "%zu]}",
                                 i == 0 ? "" : ",", names[i], 2 * i, 2 * i + 2);
    }
    (void)snprintf(header + used, sizeof header - used, "}");
    ret->image = safetensors_image_make(header, NULL, 2 * count);
    fm_error err = {0};
    fm_status status =
        fm_tensors_parse(ret->image.data, ret->image.size_bytes, &ret->tensors, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
}

static void state_dict_done(state_dict *dict)
{
    fm_tensors_close(dict->tensors);
    safetensors_image_free(&dict->image);
}

static fm_weights *weights_of(const state_dict *dict, const char *prefix)
{
    fm_weights *weights = NULL;
    fm_error err = {0};
    fm_status status = fm_weights_new(dict->tensors, prefix, &weights, &err);
    ck_assert_msg(status == FM_OK, "%s", err.text);
    return weights;
}

START_TEST(wrappers_and_the_configured_prefix_are_stripped)
{
    const char *names[] = {"ema.module._orig_mod.module.z", "ema.b", "ema._orig_mod.a",
                           "ema.x.module.y"};
    const char *expected[] = {"a", "b", "x.module.y", "z"};
    state_dict dict;
    state_dict_make(&dict, names, 4);
    fm_weights *weights = weights_of(&dict, "ema.");
    ck_assert_uint_eq(fm_weights_count(weights), 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(fm_weights_at(weights, i)->name, expected[i]);
        ck_assert_ptr_nonnull(fm_weights_peek(weights, expected[i]));
    }
    ck_assert_str_eq(fm_weights_peek(weights, "z")->name, names[0]);
    ck_assert_ptr_null(fm_weights_peek(weights, "ema.b"));
    fm_weights_free(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(the_configured_prefix_may_stand_behind_wrappers_or_be_one)
{
    const char *names[] = {"module._orig_mod.model.module.a", "model.b", "module.model.c"};
    state_dict dict;
    state_dict_make(&dict, names, 3);
    fm_weights *weights = weights_of(&dict, "model.");
    ck_assert_str_eq(fm_weights_at(weights, 0)->name, "a");
    ck_assert_str_eq(fm_weights_at(weights, 1)->name, "b");
    ck_assert_str_eq(fm_weights_at(weights, 2)->name, "c");
    fm_weights_free(weights);
    state_dict_done(&dict);
    const char *wrapped[] = {"module.a", "module.module.b"};
    state_dict_make(&dict, wrapped, 2);
    weights = weights_of(&dict, "module.");
    ck_assert_str_eq(fm_weights_at(weights, 0)->name, "a");
    ck_assert_str_eq(fm_weights_at(weights, 1)->name, "b");
    fm_weights_free(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(a_name_is_never_stripped_to_nothing)
{
    const char *names[] = {"module.", "_orig_mod"};
    state_dict dict;
    state_dict_make(&dict, names, 2);
    fm_weights *weights = weights_of(&dict, "");
    ck_assert_ptr_nonnull(fm_weights_peek(weights, "module."));
    ck_assert_ptr_nonnull(fm_weights_peek(weights, "_orig_mod"));
    fm_weights_free(weights);
    fm_error err = {0};
    ck_assert_int_eq(fm_weights_new(dict.tensors, "module.", &weights, &err), FM_EFORMAT);
    state_dict_done(&dict);
}
END_TEST

START_TEST(a_tensor_without_the_configured_prefix_is_named)
{
    const char *names[] = {"model.a", "step"};
    state_dict dict;
    state_dict_make(&dict, names, 2);
    fm_weights *weights = NULL;
    fm_error err = {0};
    ck_assert_int_eq(fm_weights_new(dict.tensors, "model.", &weights, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text, "tensor \"step\": expected a name that begins with weights.prefix, "
                               "\"model.\"");
    ck_assert_ptr_null(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(two_names_that_become_one_are_refused)
{
    const char *names[] = {"module.a", "_orig_mod.a"};
    state_dict dict;
    state_dict_make(&dict, names, 2);
    fm_weights *weights = NULL;
    fm_error err = {0};
    ck_assert_int_eq(fm_weights_new(dict.tensors, "", &weights, &err), FM_EFORMAT);
    ck_assert_ptr_nonnull(strstr(err.text, "\"module.a\""));
    ck_assert_ptr_nonnull(strstr(err.text, "\"_orig_mod.a\""));
    ck_assert_ptr_nonnull(strstr(err.text, "both become \"a\""));
    state_dict_done(&dict);
}
END_TEST

START_TEST(taking_records_what_was_used_missing_and_misshapen)
{
    const char *names[] = {"module.a", "module.c", "module.e"};
    state_dict dict;
    state_dict_make(&dict, names, 3);
    fm_weights *weights = weights_of(&dict, "");
    const fm_tensor *tensor = NULL;
    fm_error err = {0};
    const size_t right[] = {1, 2};
    const size_t wrong[] = {2, 1};
    ck_assert_int_eq(fm_weights_take(weights, "a", 2, right, &tensor, &err), FM_OK);
    ck_assert_ptr_eq(tensor, fm_tensors_find(dict.tensors, "module.a"));
    tensor = NULL;
    ck_assert_int_eq(fm_weights_take(weights, "c", 2, wrong, &tensor, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text, "tensor \"module.c\": expected shape [2, 1], found [1, 2]");
    ck_assert_int_eq(fm_weights_take(weights, "a", 1, right, &tensor, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text, "tensor \"module.a\": expected shape [1], found [1, 2]");
    ck_assert_int_eq(fm_weights_take(weights, "a", 2, right, &tensor, &err), FM_OK);
    tensor = NULL;
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(fm_weights_take(weights, "b", 2, right, &tensor, &err), FM_EFORMAT);
        ck_assert_str_eq(err.text, "tensor \"b\": expected shape [1, 2], found no such tensor");
    }
    ck_assert_ptr_null(tensor);
    ck_assert_ptr_null(fm_weights_peek(weights, "b"));
    const char *order[] = {"a", "b", "c", "e"};
    const fm_weights_state states[] = {FM_WEIGHTS_USED, FM_WEIGHTS_MISSING, FM_WEIGHTS_WRONG_SHAPE,
                                       FM_WEIGHTS_UNUSED};
    ck_assert_uint_eq(fm_weights_count(weights), 4);
    for (size_t i = 0; i < 4; i++) {
        const fm_weights_entry *entry = fm_weights_at(weights, i);
        ck_assert_str_eq(entry->name, order[i]);
        ck_assert_int_eq(entry->state, states[i]);
        ck_assert_int_eq(entry->tensor == NULL, i == 1);
    }
    ck_assert_uint_eq(fm_weights_at(weights, 2)->expected_rank, 2);
    ck_assert_uint_eq(fm_weights_at(weights, 2)->expected_shape[0], 2);
    fm_weights_free(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(unused_tensors_are_named_with_their_shapes)
{
    const char *names[] = {"a", "b", "c", "d", "e", "f"};
    const size_t shape[] = {1, 2};
    state_dict dict;
    state_dict_make(&dict, names, 6);
    fm_weights *weights = weights_of(&dict, "");
    const fm_tensor *tensor = NULL;
    fm_error err = {0};
    ck_assert_int_eq(fm_weights_take(weights, "a", 2, shape, &tensor, &err), FM_OK);
    ck_assert_int_eq(fm_weights_finish(weights, &err), FM_EFORMAT);
    ck_assert_str_eq(err.text,
                     "expected no other tensors than the network's, found 5: \"b\" [1, 2],"
                     " \"c\" [1, 2], \"d\" [1, 2], \"e\" [1, 2], …");
    for (size_t i = 1; i < 6; i++) {
        ck_assert_int_eq(fm_weights_take(weights, names[i], 2, shape, &tensor, &err), FM_OK);
    }
    ck_assert_int_eq(fm_weights_finish(weights, &err), FM_OK);
    fm_weights_free(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(many_missing_tensors_keep_the_record_in_order)
{
    const char *names[] = {"m"};
    state_dict dict;
    state_dict_make(&dict, names, 1);
    fm_weights *weights = weights_of(&dict, "");
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        const fm_tensor *tensor = NULL;
        (void)snprintf(name, sizeof name, "%c%02u", i % 2 == 0 ? 'a' : 'z', i * 37 % 100);
        ck_assert_int_eq(fm_weights_take(weights, name, 0, NULL, &tensor, NULL), FM_EFORMAT);
    }
    ck_assert_uint_eq(fm_weights_count(weights), 101);
    for (size_t i = 1; i < 101; i++) {
        ck_assert_int_lt(
            strcmp(fm_weights_at(weights, i - 1)->name, fm_weights_at(weights, i)->name), 0);
    }
    fm_weights_free(weights);
    state_dict_done(&dict);
}
END_TEST

START_TEST(every_failed_allocation_is_an_error_and_leaks_nothing)
{
    const char *names[] = {"a", "b"};
    state_dict dict;
    state_dict_make(&dict, names, 2);
    bool refused = true;
    for (size_t k = 0; refused; k++) {
        fm_weights *weights = NULL;
        const fm_tensor *tensor = NULL;
        fm_error err = {0};
        failing_memory_start(k);
        fm_status status = fm_weights_new(dict.tensors, "", &weights, &err);
        fm_status missing = FM_ENOMEM;
        if (status == FM_OK) {
            missing = fm_weights_take(weights, "c", 0, NULL, &tensor, &err);
        }
        refused = failing_memory_stop();
        ck_assert_int_eq(missing, refused ? FM_ENOMEM : FM_EFORMAT);
        ck_assert_int_eq(status, k < 2 ? FM_ENOMEM : FM_OK);
        fm_weights_free(weights);
    }
    state_dict_done(&dict);
}
END_TEST

Suite *suite_engine_weights(void)
{
    Suite *suite = suite_create("engine/weights");
    TCase *tests = tcase_create("weights");
    tcase_add_test(tests, wrappers_and_the_configured_prefix_are_stripped);
    tcase_add_test(tests, the_configured_prefix_may_stand_behind_wrappers_or_be_one);
    tcase_add_test(tests, a_name_is_never_stripped_to_nothing);
    tcase_add_test(tests, a_tensor_without_the_configured_prefix_is_named);
    tcase_add_test(tests, two_names_that_become_one_are_refused);
    tcase_add_test(tests, taking_records_what_was_used_missing_and_misshapen);
    tcase_add_test(tests, unused_tensors_are_named_with_their_shapes);
    tcase_add_test(tests, many_missing_tensors_keep_the_record_in_order);
    tcase_add_test(tests, every_failed_allocation_is_an_error_and_leaks_nothing);
    suite_add_tcase(suite, tests);
    return suite;
}
