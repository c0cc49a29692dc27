/* A scheduler with its default parameters, as a path. */
#ifndef TESTS_USUAL_PATH_H
#define TESTS_USUAL_PATH_H

#include "engine/flow/path.h"

/* Of a type that is a formula. Fails the test where there is none of that name. */
fm_path usual_path(const char *name, double source_std);

#endif
