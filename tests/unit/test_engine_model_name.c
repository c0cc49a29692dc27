/* What a model may be called. */
#include "engine/fm.h"
#include "tests/unit/suites.h"

#include <string.h>

START_TEST(model_names_follow_the_contract)
{
    const char *good[] = {"a", "0", "two-moons", "a.b_c-9"};
    const char *bad[] = {"", ".", "..", "-a", "_a", ".a", "A", "a/b", "a b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(fm_model_name_is_valid(good[i], strlen(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!fm_model_name_is_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
    }
}
END_TEST

START_TEST(a_name_has_at_most_64_characters)
{
    char name[65];
    memset(name, 'a', sizeof name);
    ck_assert(fm_model_name_is_valid(name, 64));
    ck_assert(!fm_model_name_is_valid(name, 65));
}
END_TEST

Suite *suite_engine_model_name(void)
{
    Suite *suite = suite_create("engine/model_name");
    TCase *tcase = tcase_create("name");
    tcase_add_test(tcase, model_names_follow_the_contract);
    tcase_add_test(tcase, a_name_has_at_most_64_characters);
    suite_add_tcase(suite, tcase);
    return suite;
}
