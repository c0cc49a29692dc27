#include "server/limits.h"

fmp_limits fmd_limits_of(const fmc_options *options)
{
    return (fmp_limits){
        .max_samples = options->limits.samples,
        .max_steps = options->limits.steps,
        .max_evaluations = options->limits.evaluations,
        .max_trajectory_points = options->limits.trajectory_points,
        .max_answer_bytes = options->limits.answer_bytes,
        .default_timeout_ms = options->limits.timeout,
        .max_timeout_ms = options->limits.timeout_max,
    };
}
