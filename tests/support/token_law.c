#include "tests/support/token_law.h"

#include <string.h>

/* mass [states] at time t becomes that at s, by the laws of all tokens. */
static void propagate(const token_case *tokens, const fm_jump *jump, double t, double *mass)
{
    size_t n = token_case_states(tokens), v = token_case_vocabulary(tokens);
    double after[TOKEN_CASE_MAX_STATES] = {0};
    for (size_t x = 0; x < n; x++) {
        size_t from[TOKEN_CASE_MAX_LENGTH], to[TOKEN_CASE_MAX_LENGTH];
        double p1[TOKEN_CASE_MAX_LENGTH * TOKEN_CASE_MAX_VOCABULARY],
            law[TOKEN_CASE_MAX_LENGTH * TOKEN_CASE_MAX_VOCABULARY] = {0};
        token_case_tokens(tokens, x, from);
        token_case_posterior(tokens, fm_path_at(tokens->path, t).alpha, from, p1);
        for (size_t i = 0; i < tokens->length; i++) {
            fm_jump_law(jump, from[i], p1 + i * v, law + i * v);
        }
        for (size_t y = 0; y < n; y++) {
            double chance = mass[x];
            token_case_tokens(tokens, y, to);
            for (size_t i = 0; i < tokens->length; i++) {
                chance *= law[i * v + to[i]];
            }
            after[y] += chance;
        }
    }
    memcpy(mass, after, sizeof after);
}

void token_law_end(const token_case *tokens, fm_jump_form form, double scale, size_t n_steps,
                   double *mass)
{
    fm_sampling sampling = FM_SAMPLING_DEFAULT;
    sampling.corrector.scale = scale;
    memset(mass, 0, TOKEN_CASE_MAX_STATES * sizeof *mass);
    for (size_t x = 0; x < token_case_states(tokens); x++) {
        size_t at[TOKEN_CASE_MAX_LENGTH];
        token_case_tokens(tokens, x, at);
        mass[x] = token_case_marginal(tokens, 0, at);
    }
    for (size_t k = 0; k < n_steps; k++) {
        double t = (double)k / (double)n_steps;
        double s = k + 1 == n_steps ? 1 : (double)(k + 1) / (double)n_steps;
        fm_jump jump = fm_jump_make(form, tokens->path, &sampling, &tokens->space.parts[0], t, s,
                                    k + 1 == n_steps);
        propagate(tokens, &jump, t, mass);
    }
}
