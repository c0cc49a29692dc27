#include "tests/support/token_case.h"

#include "tests/support/trajectory.h"

#include <check.h>
#include <math.h>

#define NOTHING (-1e4) /* the logit of what cannot be: its exponential is 0 */

void token_case_init(token_case *ret)
{
    fm_error err;
    ret->path = trajectory_path();
    ret->space = (fm_space){
        .n_parts = 1,
        .parts = {{.id = FM_SPACE_TOKENS,
                   .n = 1,
                   .copies = ret->length,
                   .representation = FM_REPRESENTATION_INDEX,
                   .vocabulary = token_case_vocabulary(ret),
                   .source = {.id = ret->is_mask ? FM_SOURCE_MASK : FM_SOURCE_UNIFORM_TOKENS}}}};
    ck_assert_msg(fm_space_init(&ret->space, &err) == FM_OK, "%s", err.text);
}

token_case token_case_pair(void)
{
    token_case ret = {.length = 2, .letters = 2, .is_mask = true, .joint = {.4, .1, .1, .4}};
    token_case_init(&ret);
    return ret;
}

token_case token_case_uneven(bool is_mask)
{
    token_case ret = {.length = 2,
                      .letters = 3,
                      .is_mask = is_mask,
                      .joint = {.21, .04, .1, .02, .3, .01, .05, .12, .15}};
    token_case_init(&ret);
    return ret;
}

size_t token_case_vocabulary(const token_case *it)
{
    return it->letters + it->is_mask;
}

static size_t power(size_t base, size_t exponent)
{
    size_t ret = 1;
    for (size_t i = 0; i < exponent; i++) {
        ret *= base;
    }
    return ret;
}

static void digits(size_t base, size_t length, size_t number, size_t *ret)
{
    for (size_t i = length; i > 0; i--) {
        ret[i - 1] = number % base;
        number /= base;
    }
}

size_t token_case_states(const token_case *it)
{
    return power(token_case_vocabulary(it), it->length);
}

void token_case_tokens(const token_case *it, size_t state, size_t *ret)
{
    digits(token_case_vocabulary(it), it->length, state, ret);
}

double token_case_source(const token_case *it, size_t token)
{
    return it->is_mask ? token == it->letters : 1 / (double)it->letters;
}

double token_case_joint(const token_case *it, const size_t *x)
{
    size_t index = 0;
    for (size_t i = 0; i < it->length; i++) {
        if (x[i] >= it->letters) {
            return 0;
        }
        index = index * it->letters + x[i];
    }
    return it->joint[index];
}

/* p_t(x | x1) of one token. */
static double of_token(const token_case *it, double kappa, size_t x, size_t x1)
{
    return kappa * (x == x1) + (1 - kappa) * token_case_source(it, x);
}

/* q(x1) p_t(x | x1) for x1 number `data`, of which the tokens are written. */
static double weight(const token_case *it, double kappa, const size_t *x, size_t data, size_t *x1)
{
    digits(it->letters, it->length, data, x1);
    double ret = it->joint[data];
    for (size_t i = 0; i < it->length; i++) {
        ret *= of_token(it, kappa, x[i], x1[i]);
    }
    return ret;
}

double token_case_marginal(const token_case *it, double kappa, const size_t *x)
{
    size_t x1[TOKEN_CASE_MAX_LENGTH];
    double sum = 0;
    for (size_t data = 0; data < power(it->letters, it->length); data++) {
        sum += weight(it, kappa, x, data, x1);
    }
    return sum;
}

double token_case_slope(const token_case *it, double kappa, const size_t *x)
{
    size_t x1[TOKEN_CASE_MAX_LENGTH];
    double sum = 0;
    for (size_t data = 0; data < power(it->letters, it->length); data++) {
        digits(it->letters, it->length, data, x1);
        for (size_t i = 0; i < it->length; i++) {
            double term = it->joint[data] * ((x[i] == x1[i]) - token_case_source(it, x[i]));
            for (size_t j = 0; j < it->length; j++) {
                term *= j == i ? 1 : of_token(it, kappa, x[j], x1[j]);
            }
            sum += term;
        }
    }
    return sum;
}

void token_case_posterior(const token_case *it, double kappa, const size_t *x, double *ret)
{
    size_t x1[TOKEN_CASE_MAX_LENGTH], n = token_case_vocabulary(it);
    double all = token_case_marginal(it, kappa, x);
    for (size_t k = 0; k < it->length * n; k++) {
        ret[k] = all > 0 ? 0 : 1 / (double)n;
    }
    for (size_t data = 0; all > 0 && data < power(it->letters, it->length); data++) {
        double share = weight(it, kappa, x, data, x1) / all;
        for (size_t i = 0; i < it->length; i++) {
            ret[i * n + x1[i]] += share;
        }
    }
}

void velocity_tokens(void *context, double t, const double *x, double *v)
{
    const token_case *it = context;
    size_t tokens[TOKEN_CASE_MAX_LENGTH], n = token_case_vocabulary(it);
    for (size_t i = 0; i < it->length; i++) {
        tokens[i] = (size_t)x[i];
    }
    token_case_posterior(it, fm_path_at(it->path, t).alpha, tokens, v);
    for (size_t k = 0; k < it->length * n; k++) {
        v[k] = v[k] > 0 ? log(v[k]) : NOTHING;
    }
}

fm_solve_plan token_case_plan(const token_case *it, const char *method, const double *grid,
                              size_t n_grid)
{
    return (fm_solve_plan){.dimension = it->length,
                           .space = &it->space,
                           .n_velocity = it->space.velocities,
                           .path = it->path,
                           .seed = 11,
                           .solver = {.method = fm_method_find(method),
                                      .grid = grid,
                                      .n_grid = n_grid,
                                      .sampling = FM_SAMPLING_DEFAULT,
                                      .max_evaluations = 100000}};
}
