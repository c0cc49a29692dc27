/* What a step of tokens costs beside the network, as JSON lines: nanoseconds for each token and entry of its vocabulary,
 * of a whole trajectory of ctmc_euler and of its last step, in which every token is drawn.
 *
 * Usage: bench_tokens      run it on an idle core. */
#include "engine/clock.h"
#include "engine/fm_path.h"
#include "engine/math/rng.h"
#include "engine/memory.h"
#include "engine/solve/solve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS   0.5 /* of steps, a row */
#define MAX_STEPS 1024

typedef struct figures {
    double all_seconds, last_seconds;
    size_t steps, runs;
} figures;

static fm_path straight_path(void)
{
    fm_path ret;
    const double none[FM_PATH_MAX_PARAMETERS] = {0};
    if (fm_path_init(&ret, fm_path_type_find("condot"), none, NULL, 1, NULL) != FM_OK) {
        exit(1);
    }
    return ret;
}

/* One trajectory; the logits are written beside the clock. */
static void run_once(void *memory, const fm_solve_plan *plan, const double *x0,
                     const double *logits, figures *ret)
{
    fm_solve *solve = fm_solve_init(memory, plan, ret->runs, x0, NULL);
    fm_solve_want want;
    double took = 0;
    while (fm_solve_next(solve, &want)) {
        memcpy(want.v, logits, plan->n_velocity * sizeof *logits);
        double start = fm_clock_seconds();
        fm_solve_give(solve);
        took = fm_clock_seconds() - start;
        ret->all_seconds += took;
        ret->steps++;
    }
    ret->last_seconds += took;
    ret->runs++;
}

static void bench(size_t length, size_t vocabulary, size_t n_steps, const fm_sampling *sampling,
                  const char *options)
{
    static double grid[MAX_STEPS + 1];
    fm_path path = straight_path();
    fm_error error;
    fm_space space = {.n_parts = 1,
                      .parts = {{.id = FM_SPACE_TOKENS,
                                 .n = 1,
                                 .copies = length,
                                 .vocabulary = vocabulary,
                                 .source = {.id = FM_SOURCE_MASK}}}};
    figures found = {0};
    fm_grid_uniform(0, 1, n_steps, grid);
    fm_solve_plan plan = {.dimension = length,
                          .space = &space,
                          .path = &path,
                          .solver = {.method = fm_method_find("ctmc_euler"),
                                     .grid = grid,
                                     .n_grid = n_steps + 1,
                                     .sampling = *sampling,
                                     .max_evaluations = MAX_STEPS + 1}};
    if (fm_space_init(&space, &error) != FM_OK) {
        exit(1);
    }
    plan.n_velocity = space.velocities;
    void *memory = fm_alloc(fm_solve_size_bytes(&plan));
    double *x0 = fm_alloc_array(length, sizeof *x0);
    double *logits = fm_alloc_array(plan.n_velocity, sizeof *logits);
    if (memory == NULL || x0 == NULL || logits == NULL || fm_solve_check(&plan, &error) != FM_OK) {
        exit(1);
    }
    for (size_t i = 0; i < length; i++) {
        x0[i] = (double)vocabulary - 1;
    }
    fm_rng_normal(1, 0, FM_RNG_PROBE, 0, plan.n_velocity, logits);
    while (found.runs < 2 || found.all_seconds < SECONDS) {
        run_once(memory, &plan, x0, logits, &found);
    }
    double entries = (double)plan.n_velocity;
    printf("{\"bench\": \"tokens\", \"length\": %zu, \"vocabulary\": %zu, \"steps\": %zu, "
           "\"options\": \"%s\", \"step_us\": %.3f, \"ns_per_entry\": %.4f, "
           "\"last_step_ns_per_entry\": %.4f}\n",
           length, vocabulary, n_steps, options, 1e6 * found.all_seconds / (double)found.steps,
           1e9 * found.all_seconds / (double)found.steps / entries,
           1e9 * found.last_seconds / (double)found.runs / entries);
    fm_free(logits);
    fm_free(x0);
    fm_free(memory);
}

int main(void)
{
    static const size_t shapes[][2] = {{2, 128}, {256, 27}, {64, 28}, {64, 50258}, {256, 32768}};
    fm_sampling plain = FM_SAMPLING_DEFAULT, corrected = plain, few = plain;
    corrected.corrector.scale = 1;
    few.top_k = 50;
    few.top_p = 0.9;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        bench(shapes[i][0], shapes[i][1], 64, &plain, "");
    }
    bench(64, 50258, 64, &corrected, "corrector 1");
    bench(64, 50258, 64, &few, "top_k 50, top_p 0.9");
    return 0;
}
