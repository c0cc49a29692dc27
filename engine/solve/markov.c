/* Samplers of discrete flow matching: tokens jump (jump.h has the laws), other points move by Euler's method.
 *
 * The uniform numbers of step k and number i of a state are those at 4 (k dimension + i) and behind, whatever is done
 * with them, so that what a token becomes depends on its own logits alone. */
#include "engine/math/rng.h"
#include "engine/solve/chart.h"
#include "engine/solve/jump.h"
#include "engine/solve/sampler.h"

#include <assert.h>
#include <string.h>

#define UNIFORMS 4

typedef struct markov {
    size_t index;   /* of the step under way */
    bool moves;     /* some part is no tokens */
    double *y;      /* the state at the step's end */
    double *slope;  /* [dimension] of the points that move, 0 of tokens */
    double *logits; /* want.v */
    size_t *order;  /* scratch of sorting */
    fm_chart chart;
} markov;

static bool is_tokens(const fm_space_part *part)
{
    return part->id == FM_SPACE_TOKENS;
}

/* Of no space, in a plan that will be refused, there are none. */
static bool has_points(const fm_space *space)
{
    size_t n = 0;
    for (size_t i = 0; space != NULL && i < space->n_parts; i++) {
        n += !is_tokens(&space->parts[i]);
    }
    return n > 0;
}

static size_t own_bytes(void)
{
    return sizeof(markov);
}

static size_t vectors(const fm_solve_plan *plan)
{
    return has_points(plan->space) ? 2 + fm_chart_vectors(plan) : 1;
}

/* As many as the largest vocabulary has tokens, of whose logits some are left out by size. */
static size_t order_size(const fm_solve_plan *plan)
{
    const fm_sampling *sampling = &plan->solver.sampling;
    const fm_space *space = plan->space;
    size_t most = 0;
    for (size_t i = 0; space != NULL && i < space->n_parts; i++) {
        size_t n = space->parts[i].vocabulary;
        most = is_tokens(&space->parts[i]) && n > most ? n : most;
    }
    return sampling->top_k > 0 || sampling->top_p < 1 ? most : 0;
}

static size_t numbers(const fm_solve_plan *plan)
{
    return fm_solve_velocities(plan) + order_size(plan);
}

static fm_jump_form form_of(const fm_solve *solve)
{
    const fm_stepper *stepper = solve->method->stepper;
    return stepper == &fm_stepper_ctmc_exact         ? FM_JUMP_EXACT
           : stepper == &fm_stepper_ctmc_tau_leaping ? FM_JUMP_TAU_LEAPING
                                                     : FM_JUMP_EULER;
}

static void start(fm_solve *solve, double *memory)
{
    static_assert(sizeof(size_t) <= sizeof(double), "an order has room in as many numbers");
    markov *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    *own = (markov){.moves = has_points(plan->space), .y = memory};
    memory += solve->stride;
    if (own->moves) {
        own->slope = memory;
        memset(own->slope, 0, solve->dimension * sizeof *own->slope);
        memory = fm_chart_place(&own->chart, solve, memory + solve->stride);
    }
    own->logits = memory;
    own->order = (size_t *)(void *)(memory + fm_solve_velocities(plan));
    fm_solve_want_at(solve, solve->t, solve->x, own->logits);
}

/* ---- a step ---- */

/* y = the state at the step's end, tokens as they are at its start. */
static void move_points(fm_solve *solve, double h)
{
    markov *own = solve->own;
    const fm_space *space = solve->plan->space;
    size_t state = 0, velocity = 0;
    fm_sum sum = {0};
    for (size_t i = 0; i < space->n_parts; i++) {
        const fm_space_part *part = &space->parts[i];
        size_t n = part->copies * fm_space_point_numbers(part);
        if (!is_tokens(part)) {
            memcpy(own->slope + state, own->logits + velocity, n * sizeof *own->slope);
        }
        state += n;
        velocity += is_tokens(part) ? n * part->vocabulary : n;
    }
    fm_sum_add(&sum, h, own->slope);
    fm_chart_move(solve, &own->chart, own->y, solve->x, &sum);
}

static void give_outputs(fm_solve *solve, double end)
{
    markov *own = solve->own;
    double time;
    while (fm_output_before(solve, end, &time)) {
        const double *x = solve->x;
        if (own->moves) {
            double share = (time - solve->t) / (end - solve->t);
            fm_space_between(solve->plan->space, solve->x, own->y, share, own->chart.slope);
            x = own->chart.slope;
        }
        fm_output_give(solve, time, x);
    }
}

/* Token number `at` of the state, which is not given. */
static void jump(fm_solve *solve, const fm_jump *law, size_t at, double *logits)
{
    markov *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    uint64_t position = UNIFORMS * ((uint64_t)own->index * solve->dimension + at);
    double u[UNIFORMS];
    fm_rng_uniform(plan->seed, solve->sample, FM_RNG_SOLVER_NOISE, position, 2, u);
    if (u[0] >= law->most && !law->arrives) {
        return; /* as most do: their logits are not read, nor the second pair drawn */
    }
    fm_rng_uniform(plan->seed, solve->sample, FM_RNG_SOLVER_NOISE, position + 2, 2, u + 2);
    own->y[at] = (double)fm_jump_draw(law, (size_t)own->y[at], logits, own->order, u);
}

static void jump_all(fm_solve *solve, double end)
{
    markov *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    const unsigned char *given =
        plan->given == NULL ? NULL : plan->given + solve->sample * solve->dimension;
    bool last = own->index + 2 == plan->solver.n_grid;
    size_t at = 0;
    double *logits = own->logits;
    for (size_t i = 0; i < plan->space->n_parts; i++) {
        const fm_space_part *part = &plan->space->parts[i];
        size_t n = part->copies * fm_space_point_numbers(part);
        if (!is_tokens(part)) {
            logits += n;
            at += n;
            continue;
        }
        fm_jump law = fm_jump_make(form_of(solve), plan->path, &plan->solver.sampling, part,
                                   solve->t, end, last);
        for (size_t k = 0; k < n; k++, at++, logits += part->vocabulary) {
            if (given == NULL || !given[at]) {
                jump(solve, &law, at, logits);
            }
        }
    }
}

static void advance(fm_solve *solve)
{
    markov *own = solve->own;
    double end = solve->plan->solver.grid[own->index + 1];
    if (own->moves) {
        move_points(solve, end - solve->t);
    } else {
        memcpy(own->y, solve->x, solve->dimension * sizeof *own->y);
    }
    give_outputs(solve, end);
    jump_all(solve, end);
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        fm_solve_want_at(solve, solve->t, solve->x, own->logits);
    }
}

static double expected(const fm_solve_plan *plan)
{
    return (double)(plan->solver.n_grid - 1);
}

/* ---- rules ---- */

static bool has_external_tokens(const fm_space *space)
{
    bool found = false;
    for (size_t i = 0; i < space->n_parts; i++) {
        found |= is_tokens(&space->parts[i]) && space->parts[i].source.id == FM_SOURCE_EXTERNAL;
    }
    return found;
}

static fm_status check(const fm_solve_plan *plan, fm_error *err)
{
    const fm_solver *solver = &plan->solver;
    const fm_space *space = plan->space;
    double begin = solver->grid[solver->n_grid - 2]; /* of the last step */
    if (plan->n_integrals > 0 || plan->dimension != space->states ||
        fm_solve_velocities(plan) != space->velocities) {
        return fm_fail(err, FM_EINVAL,
                       "dimension and n_velocity must be the space's %zu states and %zu velocities",
                       space->states, space->velocities);
    }
    if (!(fm_path_at(plan->path, begin).alpha < 1)) {
        return fm_fail(err, FM_EINVAL, "path must have an alpha below 1 at t = %g for %s", begin,
                       solver->method->info.name);
    }
    if (solver->sampling.corrector.scale > 0 && has_external_tokens(space)) {
        return fm_fail(err, FM_EINVAL,
                       "solver.corrector.scale must be 0 where the source is external: its "
                       "distribution is not known");
    }
    return FM_OK;
}

#define MARKOV(name)                                                                               \
    const fm_stepper fm_stepper_##name = {.own_bytes = own_bytes,                                  \
                                          .vectors = vectors,                                      \
                                          .numbers = numbers,                                      \
                                          .start = start,                                          \
                                          .advance = advance,                                      \
                                          .expected = expected,                                    \
                                          .check = check,                                          \
                                          .options = "temperature top_k top_p corrector",          \
                                          .needs_path = true,                                      \
                                          .ascends = true,                                         \
                                          .forgets = true}

MARKOV(ctmc_euler);
MARKOV(ctmc_exact);
MARKOV(ctmc_tau_leaping);
