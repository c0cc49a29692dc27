/* Markov superposition: flow, jumps and diffusion, each of which keeps the marginals of one path, in one process.
 *
 * With the velocity v, the rate's numerator k and the bins' logits of each number, all at (t, x), and weights a + b = 1
 * of flow and jumps and c of diffusion, a step to s = t + h < 1 is
 *
 *     x + h (a v + c D score) + sqrt(2 c D h) z,   or, with the probability of a jump in [t, s],
 *     a point drawn evenly from a bin, the bin by the softmax of the logits
 *
 * for each number on its own. The generator a L_flow + b L_jump + c L_Langevin moves the marginals as L_flow does, for
 * a + b = 1 and L_Langevin does not move them. A step that ends at t = 1, where the rate of jumps has no bound and bins
 * are too wide, is the flow's alone: h v.
 * Random numbers of step k and number i of a state are those at 6 (k dimension + i) and behind: jump, bin, place in it,
 * (none), and two that are one normal. Outputs inside a step show the state at its start.
 * Source: Holderrieth et al., "Generator Matching", arXiv:2410.20587, propositions 3 and 5. */
#include "engine/solve/superposition.h"

#include "engine/math/rng.h"
#include "engine/solve/categorical.h"
#include "engine/solve/diffusion.h"
#include "engine/solve/sampler.h"

#include <math.h>
#include <string.h>

#define DRAWS    6 /* for a number in a step */
#define UNIFORMS 4 /* of these */

double fm_superposition_numerator(double output)
{
    return fmax(output, 0) + log1p(exp(-fabs(output)));
}

double fm_superposition_jumps(double weight, double numerator, double t, double s)
{
    double from = 1 - t, to = 1 - s;
    double integral = (from - to) * (from + to) / (2 * from * from * to * to);
    return -expm1(-weight * numerator * integral);
}

typedef struct superposition {
    size_t index;    /* of the step under way */
    double *y;       /* the state at the step's end */
    double *outputs; /* want.v */
} superposition;

static size_t own_bytes(void)
{
    return sizeof(superposition);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return 1;
}

static void start(fm_solve *solve, double *memory)
{
    superposition *own = solve->own;
    *own = (superposition){.y = memory, .outputs = memory + solve->stride};
    fm_solve_want_at(solve, solve->t, solve->x, own->outputs);
}

/* ---- a step ---- */

static uint64_t position_of(const fm_solve *solve, size_t i)
{
    const superposition *own = solve->own;
    return DRAWS * ((uint64_t)own->index * solve->dimension + i);
}

static void move(fm_solve *solve, const fm_step *step)
{
    superposition *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    const fm_sampling *sampling = &plan->solver.sampling;
    double h = step->s - step->t, diffusion = 0;
    fm_step_sum sum = {.v = step->s < 1 ? 1 - sampling->jump_weight : 1};
    if (sampling->diffusion_weight > 0 && step->s < 1) {
        diffusion = sampling->diffusion_weight *
                    fm_diffusion_at(&sampling->diffusion, &step->from, step->t);
        fm_step_sum score = fm_score_at(plan, &step->from, diffusion);
        sum.x = score.x;
        sum.v += score.v;
    }
    for (size_t i = 0; i < solve->dimension; i++) {
        own->y[i] = solve->x[i] + h * (sum.x * solve->x[i] + sum.v * own->outputs[i]);
        if (diffusion > 0) {
            double z;
            fm_rng_normal(plan->seed, solve->sample, FM_RNG_SOLVER_NOISE,
                          position_of(solve, i) + UNIFORMS, 1, &z);
            own->y[i] += sqrt(2 * diffusion * h) * z;
        }
    }
}

/* A point of the range; logits become weights in place. */
static double land(const fm_bins *bins, double *logits, double which, double where)
{
    const fm_categorical all = {.excluded = FM_CATEGORICAL_NONE, .temperature = 1, .top_p = 1};
    double total = fm_categorical_weigh(&all, bins->n, logits, NULL);
    size_t bin = fm_categorical_draw(bins->n, logits, total, which);
    double width = (bins->range[1] - bins->range[0]) / (double)bins->n;
    return bins->range[0] + width * ((double)bin + where);
}

static void jump(fm_solve *solve, const fm_step *step)
{
    superposition *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    const fm_bins *bins = &plan->space->bins;
    const double *intensities = own->outputs + solve->dimension;
    double *logits = own->outputs + 2 * solve->dimension;
    for (size_t i = 0; i < solve->dimension; i++) {
        double u[UNIFORMS], numerator = fm_superposition_numerator(intensities[i]);
        fm_rng_uniform(plan->seed, solve->sample, FM_RNG_SOLVER_NOISE, position_of(solve, i),
                       UNIFORMS, u);
        double weight = plan->solver.sampling.jump_weight;
        if (u[0] < fm_superposition_jumps(weight, numerator, step->t, step->s)) {
            own->y[i] = land(bins, logits + i * bins->n, u[1], u[2]);
        }
    }
}

static void give_outputs(fm_solve *solve, double end)
{
    double time;
    while (fm_output_before(solve, end, &time)) {
        fm_output_give(solve, time, solve->x);
    }
}

static void advance(fm_solve *solve)
{
    superposition *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    fm_step step = fm_step_make(plan, own->index, plan->solver.grid[own->index + 1]);
    give_outputs(solve, step.s);
    move(solve, &step);
    if (plan->solver.sampling.jump_weight > 0 && step.s < 1) {
        jump(solve, &step);
    }
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        fm_solve_want_at(solve, solve->t, solve->x, own->outputs);
    }
}

static double expected(const fm_solve_plan *plan)
{
    return (double)(plan->solver.n_grid - 1);
}

/* The rate is that of one path. */
static fm_status check(const fm_solve_plan *plan, fm_error *err)
{
    const fm_space *space = plan->space;
    if (plan->path->type != fm_path_type_find("condot")) {
        return fm_fail(err, FM_EINVAL, "path must be condot for superposition, not %s",
                       fm_path_type_name(plan->path->type));
    }
    if (plan->n_integrals > 0 || plan->dimension != space->states ||
        fm_solve_velocities(plan) != space->velocities) {
        return fm_fail(err, FM_EINVAL,
                       "dimension and n_velocity must be the space's %zu states and %zu outputs",
                       space->states, space->velocities);
    }
    return FM_OK;
}

const fm_stepper fm_stepper_superposition = {.own_bytes = own_bytes,
                                             .vectors = vectors,
                                             .numbers = fm_solve_velocities,
                                             .start = start,
                                             .advance = advance,
                                             .expected = expected,
                                             .check = check,
                                             .options = "jump_weight diffusion_weight diffusion",
                                             .needs_path = true,
                                             .ascends = true,
                                             .forgets = true};
