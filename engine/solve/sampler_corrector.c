/* Predictor and corrector: an Euler-Maruyama step to s, then steps of Langevin dynamics that leave the law at s as it
 * is, each
 *
 *     x += e score + sqrt(2 e) z,   e = 2 (snr sigma_s)^2
 *
 * The published size is 2 (snr |z| / |score|)^2 with norms averaged over a batch. Here no trajectory knows another, and
 * a size that depends on a trajectory's own state would change the law; |z|^2 / |score|^2 is sigma_s^2 in the mean over
 * many dimensions. No steps where sigma_s = 0, for there is no score.
 * Source: Song et al., arXiv:2011.13456, algorithms 4 and 5. */
#include "engine/solve/sampler.h"

#include <math.h>

typedef struct corrector {
    size_t index;     /* of the step under way */
    unsigned left;    /* corrector steps still to make at its end */
    uint64_t n_drawn; /* draws of noise so far */
    double *y, *v, *z;
} corrector;

static size_t own_bytes(void)
{
    return sizeof(corrector);
}

static size_t vectors(const fm_solve_plan *plan)
{
    (void)plan;
    return 3;
}

static void want_step(fm_solve *solve)
{
    corrector *own = solve->own;
    fm_solve_want_at(solve, solve->t, solve->x, own->v);
}

static void start(fm_solve *solve, double *memory)
{
    corrector *own = solve->own;
    *own = (corrector){.y = memory, .v = memory + solve->stride, .z = memory + 2 * solve->stride};
    want_step(solve);
}

static void arrive(fm_solve *solve)
{
    corrector *own = solve->own;
    fm_sampler_line(solve, own->index, own->y, own->z);
    if (fm_sampler_arrive(solve, own->index, &own->y)) {
        own->index++;
        want_step(solve);
    }
}

static void predict(fm_solve *solve)
{
    corrector *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    double end = plan->solver.grid[own->index + 1];
    fm_step step = fm_step_make(plan, own->index, end);
    fm_step_sum sum = fm_rule_euler_maruyama(plan, &step);
    fm_sampler_noise(solve, own->n_drawn++, own->z);
    fm_step_apply(&sum, solve->dimension, solve->x, own->v, own->z, own->y);
    fm_step_add_score(&sum, solve, own->y);
    own->left = step.to.sigma == 0 ? 0 : plan->solver.sampling.corrector_steps;
    if (own->left == 0) {
        arrive(solve);
    } else {
        fm_solve_want_at(solve, end, own->y, own->v);
    }
}

static void correct(fm_solve *solve)
{
    corrector *own = solve->own;
    const fm_solve_plan *plan = solve->plan;
    double end = plan->solver.grid[own->index + 1];
    fm_path_point at = fm_path_at(plan->path, end);
    fm_sampler_noise(solve, own->n_drawn++, own->z);
    double ratio = plan->solver.sampling.signal_to_noise * at.sigma;
    double size = 2 * ratio * ratio;
    fm_step_sum sum = fm_score_at(plan, &at, size);
    sum.x += 1;
    sum.noise = sqrt(2 * size);
    fm_step_apply(&sum, solve->dimension, own->y, own->v, own->z, own->y);
    fm_step_add_score(&sum, solve, own->y);
    own->left--;
    if (own->left == 0) {
        arrive(solve);
    } else {
        fm_solve_want_at(solve, end, own->y, own->v);
    }
}

static void advance(fm_solve *solve)
{
    corrector *own = solve->own;
    if (own->left > 0) {
        correct(solve);
    } else {
        predict(solve);
    }
}

static double expected(const fm_solve_plan *plan)
{
    const fm_solver *solver = &plan->solver;
    double n_steps = (double)(solver->n_grid - 1);
    bool last_is_data = fm_path_at(plan->path, solver->grid[solver->n_grid - 1]).sigma == 0;
    return n_steps + (n_steps - last_is_data) * solver->sampling.corrector_steps;
}

const fm_stepper fm_stepper_predictor_corrector = {.own_bytes = own_bytes,
                                                   .vectors = vectors,
                                                   .start = start,
                                                   .advance = advance,
                                                   .expected = expected,
                                                   .options =
                                                       "diffusion last_step corrector_steps snr",
                                                   .needs_path = true,
                                                   .ascends = true,
                                                   .uses_score = true,
                                                   .forgets = true};
