/* Tokens whose joint law is a small table: everything about their mixture path p_t = prod_i (kappa [x^i = x1^i] + (1 -
 * kappa) p0(x^i)) summed over x1 is known by enumeration, here, without any of the engine's code. */
#ifndef TESTS_TOKEN_CASE_H
#define TESTS_TOKEN_CASE_H

#include "engine/solve/solve.h"

#define TOKEN_CASE_MAX_LENGTH     3
#define TOKEN_CASE_MAX_VOCABULARY 5
#define TOKEN_CASE_MAX_STATES     64

typedef struct token_case {
    size_t length, letters; /* the data's tokens; a mask is one more of the vocabulary */
    bool is_mask;           /* p0 is the mask; else uniform */
    double joint[TOKEN_CASE_MAX_STATES]; /* [letters]^length, the last token the fastest */
    fm_space space;
    const fm_path *path; /* of velocity_tokens() */
} token_case;

/* Sets space, and path to the straight one. */
void token_case_init(token_case *ret);
/* [[.4, .1], [.1, .4]], with the mask; and three letters in two tokens, where none is like another. */
token_case token_case_pair(void);
token_case token_case_uneven(bool is_mask);

size_t token_case_vocabulary(const token_case *it);
size_t token_case_states(const token_case *it); /* vocabulary^length */
/* The tokens of state number `state`, the last the fastest. */
void token_case_tokens(const token_case *it, size_t state, size_t *ret);
double token_case_source(const token_case *it, size_t token);

/* p_t(x), and its derivative in kappa. */
double token_case_marginal(const token_case *it, double kappa, const size_t *x);
double token_case_slope(const token_case *it, double kappa, const size_t *x);
/* p(x1^i = y | x), ret [length][vocabulary]; uniform at states that are never seen. */
void token_case_posterior(const token_case *it, double kappa, const size_t *x, double *ret);
/* q of the data's tokens x; 0 of masks. */
double token_case_joint(const token_case *it, const size_t *x);

/* A velocity_function: logits of the true posterior; context: token_case. */
void velocity_tokens(void *context, double t, const double *x, double *v);

/* A plan of such tokens, solved over the grid; max_evaluations are enough. */
fm_solve_plan token_case_plan(const token_case *it, const char *method, const double *grid,
                              size_t n_grid);

#endif
