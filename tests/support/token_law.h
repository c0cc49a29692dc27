/* The law of a sampler's tokens, step by step: the engine's law of one step of one token, over all states of all tokens,
 * with the true posterior of tests/support/token_case.h. Nothing is drawn. */
#ifndef TESTS_TOKEN_LAW_H
#define TESTS_TOKEN_LAW_H

#include "engine/solve/jump.h"
#include "tests/support/token_case.h"

/* After so many equal steps of [0, 1] with a corrector of that scale; mass [TOKEN_CASE_MAX_STATES]. */
void token_law_end(const token_case *tokens, fm_jump_form form, double scale, size_t n_steps,
                   double *mass);

#endif
