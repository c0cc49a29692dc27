/* Runs every suite of suites.def; exits non-zero when a test failed or none ran. */
#include "tests/unit/suites.h"

#include <stddef.h>

int main(void)
{
    SRunner *runner = srunner_create(NULL);
#define SUITE(make) srunner_add_suite(runner, make());
#include "tests/unit/suites.def"
#undef SUITE
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    int ran = srunner_ntests_run(runner);
    srunner_free(runner);
    return failed == 0 && ran > 0 ? 0 : 1;
}
