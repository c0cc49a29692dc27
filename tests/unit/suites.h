/* Every test file defines one function of suites.def that builds its suite. */
#ifndef TESTS_SUITES_H
#define TESTS_SUITES_H

#include <check.h>

#define SUITE(make) Suite *make(void);
#include "tests/unit/suites.def"
#undef SUITE

#endif
