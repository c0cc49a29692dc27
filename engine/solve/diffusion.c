/* Forms of the diffusion coefficient, and the settings of stochastic methods by name and by rule. */
#include "engine/solve/diffusion.h"

#include "engine/math/table.h"
#include "engine/name.h"

#include <math.h>

#define PI 3.14159265358979323846

static const char *const diffusion_names[FM_N_DIFFUSIONS] = {
#define FM_DIFFUSION(ID, name) name,
#include "engine/solve/diffusion.def"
#undef FM_DIFFUSION
};

static const char *const last_step_names[FM_N_LAST_STEPS] = {
    [FM_LAST_STEP_MEAN] = "mean",
    [FM_LAST_STEP_TWEEDIE] = "tweedie",
    [FM_LAST_STEP_EULER] = "euler",
    [FM_LAST_STEP_NOISE] = "noise",
};

fm_diffusion_form fm_diffusion_find(const char *name)
{
    return (fm_diffusion_form)fm_name_find(diffusion_names, FM_N_DIFFUSIONS, name);
}

const char *fm_diffusion_name(fm_diffusion_form form)
{
    return diffusion_names[form];
}

fm_last_step fm_last_step_find(const char *name)
{
    return (fm_last_step)fm_name_find(last_step_names, FM_N_LAST_STEPS, name);
}

const char *fm_last_step_name(fm_last_step last_step)
{
    return last_step_names[last_step];
}

double fm_diffusion_at(const fm_diffusion *diffusion, const fm_path_point *at, double t)
{
    double norm = diffusion->norm;
    double wave = 0;
    switch (diffusion->form) {
    case FM_DIFFUSION_SIGMA:
        return norm * at->sigma;
    case FM_DIFFUSION_CONSTANT:
        return norm;
    case FM_DIFFUSION_LINEAR:
        return norm * (1 - t);
    case FM_DIFFUSION_SBDM:
        return norm * (at->sigma * at->sigma * at->d_alpha / at->alpha - at->sigma_d_sigma);
    case FM_DIFFUSION_DECREASING:
        wave = norm * cos(PI * t) + 1;
        return wave * wave / 4;
    case FM_DIFFUSION_INCREASING_DECREASING:
        wave = sin(PI * t);
        return norm * wave * wave;
    case FM_DIFFUSION_TABLE:
        return fm_table_at(diffusion->n, diffusion->t, diffusion->values, t);
    case FM_N_DIFFUSIONS:
        break;
    }
    return 0;
}

bool fm_diffusion_has_value(const fm_diffusion *diffusion, const fm_path *path, double t)
{
    fm_path_point at = fm_path_at(path, t);
    return isfinite(fm_diffusion_at(diffusion, &at, t)) != 0;
}

static fm_status check_table(const fm_diffusion *table, fm_error *err)
{
    if (table->n < 1 || table->t == NULL || table->values == NULL) {
        return fm_fail(err, FM_EINVAL, "diffusion must have t and values");
    }
    for (size_t i = 0; i < table->n; i++) {
        if (!isfinite(table->t[i]) || (i > 0 && !(table->t[i] > table->t[i - 1]))) {
            return fm_fail(err, FM_EINVAL, "diffusion.t must ascend; entry %zu does not", i);
        }
        if (!(table->values[i] >= 0) || !isfinite(table->values[i])) {
            return fm_fail(err, FM_EINVAL,
                           "diffusion.values must be finite and not negative; entry %zu is not", i);
        }
    }
    return FM_OK;
}

static bool is_not_negative(double value)
{
    return value >= 0 && isfinite(value);
}

static bool is_within(double value, double least, double most)
{
    return value >= least && value <= most;
}

fm_status fm_sampling_check(const fm_sampling *sampling, fm_error *err)
{
    const double *range = sampling->churn_range;
    const struct {
        const char *rule;
        bool holds;
    } rules[] = {
        {"diffusion.norm must be finite and not negative",
         is_not_negative(sampling->diffusion.norm)},
        {"eta must be from 0 to 1", is_within(sampling->eta, 0, 1)},
        {"refresh must be from 0 to 1", is_within(sampling->refresh, 0, 1)},
        {"overshoot must be finite and not negative", is_not_negative(sampling->overshoot)},
        {"churn must be finite and not negative", is_not_negative(sampling->churn)},
        {"churn_range must be two ascending numbers of at least 0",
         range[0] >= 0 && range[1] >= range[0]},
        {"noise_scale must be finite and above 0",
         sampling->noise_scale > 0 && isfinite(sampling->noise_scale)},
        {"snr must be finite and above 0",
         sampling->signal_to_noise > 0 && isfinite(sampling->signal_to_noise)},
        {"pnp_power must be finite and not negative", is_not_negative(sampling->pnp_power)},
        {"pnp_samples must be at least 1", sampling->pnp_samples >= 1},
        {"temperature must be finite and not negative", is_not_negative(sampling->temperature)},
        {"top_p must be above 0 and at most 1", sampling->top_p > 0 && sampling->top_p <= 1},
        {"corrector.scale must be finite and not negative",
         is_not_negative(sampling->corrector.scale)},
        {"corrector.power must be finite and not negative",
         is_not_negative(sampling->corrector.power)},
        {"corrector.end_power must be finite and not negative",
         is_not_negative(sampling->corrector.end_power)},
        {"jump_weight must be from 0 to 1", is_within(sampling->jump_weight, 0, 1)},
        {"diffusion_weight must be finite and not negative",
         is_not_negative(sampling->diffusion_weight)},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].holds) {
            return fm_fail(err, FM_EINVAL, "solver.%s", rules[i].rule);
        }
    }
    bool is_table = sampling->diffusion.form == FM_DIFFUSION_TABLE;
    return is_table ? check_table(&sampling->diffusion, err) : FM_OK;
}
