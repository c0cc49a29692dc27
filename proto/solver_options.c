/* Options of single methods, as a table of the numbers among them and functions for the others. */
#include "proto/solver_options.h"

#include "proto/json.h"

#include <stddef.h>
#include <string.h>

static const struct {
    fmp_field_id field;
    size_t offset; /* of a double in fm_sampling */
} numbers[] = {
    {FMP_FIELD_SOLVER_ETA, offsetof(fm_sampling, eta)},
    {FMP_FIELD_SOLVER_REFRESH, offsetof(fm_sampling, refresh)},
    {FMP_FIELD_SOLVER_OVERSHOOT, offsetof(fm_sampling, overshoot)},
    {FMP_FIELD_SOLVER_CHURN, offsetof(fm_sampling, churn)},
    {FMP_FIELD_SOLVER_NOISE_SCALE, offsetof(fm_sampling, noise_scale)},
    {FMP_FIELD_SOLVER_SNR, offsetof(fm_sampling, signal_to_noise)},
    {FMP_FIELD_SOLVER_PNP_POWER, offsetof(fm_sampling, pnp_power)},
    {FMP_FIELD_SOLVER_TEMPERATURE, offsetof(fm_sampling, temperature)},
    {FMP_FIELD_SOLVER_TOP_P, offsetof(fm_sampling, top_p)},
    {FMP_FIELD_SOLVER_JUMP_WEIGHT, offsetof(fm_sampling, jump_weight)},
    {FMP_FIELD_SOLVER_DIFFUSION_WEIGHT, offsetof(fm_sampling, diffusion_weight)},
};

#define N_NUMBERS (sizeof numbers / sizeof *numbers)

static const struct {
    fmp_field_id field;
    size_t offset; /* of an unsigned in fm_sampling */
} counts[] = {
    {FMP_FIELD_SOLVER_CORRECTOR_STEPS, offsetof(fm_sampling, corrector_steps)},
    {FMP_FIELD_SOLVER_PNP_SAMPLES, offsetof(fm_sampling, pnp_samples)},
    {FMP_FIELD_SOLVER_TOP_K, offsetof(fm_sampling, top_k)},
};

static const struct {
    fmp_field_id field;
    size_t offset; /* of a double in fm_corrector */
} corrector_numbers[] = {
    {FMP_FIELD_SOLVER_CORRECTOR_SCALE, offsetof(fm_corrector, scale)},
    {FMP_FIELD_SOLVER_CORRECTOR_POWER, offsetof(fm_corrector, power)},
    {FMP_FIELD_SOLVER_CORRECTOR_END_POWER, offsetof(fm_corrector, end_power)},
};

#define N_CORRECTOR (sizeof corrector_numbers / sizeof *corrector_numbers)
#define N_COUNTS    (sizeof counts / sizeof *counts)

static double *number_at(fm_sampling *sampling, size_t i)
{
    return (double *)(void *)((char *)sampling + numbers[i].offset);
}

static unsigned *count_at(fm_sampling *sampling, size_t i)
{
    return (unsigned *)(void *)((char *)sampling + counts[i].offset);
}

static double *corrector_at(fm_corrector *corrector, size_t i)
{
    return (double *)(void *)((char *)corrector + corrector_numbers[i].offset);
}

static bool is_option_of(const fm_solver *solver, fmp_field_id field)
{
    return fmp_words_have(fm_method_options(solver->method), fmp_field_name(fmp_field_at(field)));
}

/* ---- reading ---- */

static const fmp_field_id options[] = {
    FMP_FIELD_SOLVER_DIFFUSION,   FMP_FIELD_SOLVER_LAST_STEP,   FMP_FIELD_SOLVER_ETA,
    FMP_FIELD_SOLVER_REFRESH,     FMP_FIELD_SOLVER_OVERSHOOT,   FMP_FIELD_SOLVER_CHURN,
    FMP_FIELD_SOLVER_CHURN_RANGE, FMP_FIELD_SOLVER_NOISE_SCALE, FMP_FIELD_SOLVER_CORRECTOR_STEPS,
    FMP_FIELD_SOLVER_SNR,         FMP_FIELD_SOLVER_PNP_POWER,   FMP_FIELD_SOLVER_PNP_SAMPLES,
    FMP_FIELD_SOLVER_TEMPERATURE, FMP_FIELD_SOLVER_TOP_K,       FMP_FIELD_SOLVER_TOP_P,
    FMP_FIELD_SOLVER_CORRECTOR,   FMP_FIELD_SOLVER_JUMP_WEIGHT, FMP_FIELD_SOLVER_DIFFUSION_WEIGHT,
};

/* What a method does not read is refused where the request asks for it, for it would pass silently. */
static void refuse_unread(fmp_parse *parse)
{
    const fm_solver *solver = &parse->request->spec.solver;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        bool asked = parse->present[options[i]] && !parse->from_defaults[options[i]];
        if (asked && !is_option_of(solver, options[i])) {
            fmp_parse_fail(parse, options[i], "is not an option of %s",
                           fm_method_describe(solver->method)->name);
        }
    }
}

static bool are_positive(const fmp_parse *parse, fmp_field_id field)
{
    for (size_t i = 0; i < fmp_parse_count(parse, field); i++) {
        if (!(fmp_parse_number_at(parse, field, i) >= 0)) {
            return false;
        }
    }
    return true;
}

static void read_table(fmp_parse *parse, fm_diffusion *diffusion)
{
    static const fmp_field_id lists[] = {FMP_FIELD_SOLVER_DIFFUSION_T,
                                         FMP_FIELD_SOLVER_DIFFUSION_VALUES};
    bool usable = true;
    for (size_t i = 0; i < 2; i++) {
        if (!parse->present[lists[i]]) {
            fmp_parse_fail(parse, lists[i], "is required");
        }
        usable = usable && parse->values[lists[i]] != NULL;
    }
    if (!usable) {
        return;
    }
    if (fmp_parse_count(parse, lists[0]) != fmp_parse_count(parse, lists[1])) {
        fmp_parse_fail(parse, lists[1], "must have as many entries as t");
        return;
    }
    if (!are_positive(parse, lists[1])) {
        fmp_parse_fail(parse, lists[1], "must not be negative");
        return;
    }
    fmp_request *request = parse->request;
    request->diffusion_t = fmp_parse_copy_numbers(parse, lists[0]);
    request->diffusion_values = fmp_parse_copy_numbers(parse, lists[1]);
    *diffusion = (fm_diffusion){.form = FM_DIFFUSION_TABLE,
                                .norm = 1,
                                .t = request->diffusion_t,
                                .values = request->diffusion_values,
                                .n = fmp_parse_count(parse, lists[0])};
}

static void read_diffusion(fmp_parse *parse, fm_diffusion *diffusion)
{
    json_t *type = parse->values[FMP_FIELD_SOLVER_DIFFUSION_TYPE];
    json_t *norm = parse->values[FMP_FIELD_SOLVER_DIFFUSION_NORM];
    fm_diffusion_form form =
        type != NULL ? fm_diffusion_find(json_string_value(type)) : diffusion->form;
    bool is_table = form == FM_DIFFUSION_TABLE;
    if (is_table && norm != NULL) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_DIFFUSION_NORM, "is not of a table");
    }
    if (is_table) {
        read_table(parse, diffusion);
        return;
    }
    for (unsigned id = FMP_FIELD_SOLVER_DIFFUSION_T; id <= FMP_FIELD_SOLVER_DIFFUSION_VALUES;
         id++) {
        if (parse->present[id]) {
            fmp_parse_fail(parse, (fmp_field_id)id, "is of type table");
        }
    }
    diffusion->form = form;
    diffusion->norm = norm != NULL ? json_number_value(norm) : diffusion->norm;
}

static void read_churn_range(fmp_parse *parse, fm_sampling *sampling)
{
    fmp_field_id field = FMP_FIELD_SOLVER_CHURN_RANGE;
    if (parse->values[field] == NULL) {
        return;
    }
    if (!are_positive(parse, field)) {
        fmp_parse_fail(parse, field, "must not be negative");
    }
    sampling->churn_range[0] = fmp_parse_number_at(parse, field, 0);
    sampling->churn_range[1] = fmp_parse_number_at(parse, field, 1);
}

void fmp_parse_solver_options(fmp_parse *parse)
{
    fm_sampling *sampling = &parse->request->spec.solver.sampling;
    *sampling = FM_SAMPLING_DEFAULT;
    refuse_unread(parse);
    for (size_t i = 0; i < N_NUMBERS; i++) {
        json_t *value = parse->values[numbers[i].field];
        if (value != NULL) {
            *number_at(sampling, i) = json_number_value(value);
        }
    }
    for (size_t i = 0; i < N_COUNTS; i++) {
        int64_t count = 0;
        if (fmp_parse_integer(parse->values[counts[i].field], &count)) {
            *count_at(sampling, i) = (unsigned)count;
        }
    }
    for (size_t i = 0; i < N_CORRECTOR; i++) {
        json_t *value = parse->values[corrector_numbers[i].field];
        if (value != NULL) {
            *corrector_at(&sampling->corrector, i) = json_number_value(value);
        }
    }
    if (parse->values[FMP_FIELD_SOLVER_LAST_STEP] != NULL) {
        sampling->last_step =
            fm_last_step_find(json_string_value(parse->values[FMP_FIELD_SOLVER_LAST_STEP]));
    }
    if (parse->values[FMP_FIELD_SOLVER_DIFFUSION] != NULL) {
        read_diffusion(parse, &sampling->diffusion);
    }
    read_churn_range(parse, sampling);
}

void fmp_parse_check_diffusion(fmp_parse *parse)
{
    const fm_solver *solver = &parse->request->spec.solver;
    const fm_path *path = parse->request->spec.path;
    if (solver->grid == NULL || !is_option_of(solver, FMP_FIELD_SOLVER_DIFFUSION)) {
        return;
    }
    path = path != NULL ? path : parse->model->path;
    if (!fm_diffusion_has_value(&solver->sampling.diffusion, path, solver->grid[0])) {
        fmp_parse_fail(parse, FMP_FIELD_SOLVER_DIFFUSION_TYPE,
                       "%s has no finite value at the grid's first time; noise may be drawn up to "
                       "0.001 after the source",
                       fm_diffusion_name(solver->sampling.diffusion.form));
    }
}

/* ---- writing ---- */

static void write_diffusion(fmp_json *json, const fm_diffusion *diffusion)
{
    fmp_json_key(json, "diffusion");
    fmp_json_open(json, '{');
    fmp_json_pair_text(json, "type", fm_diffusion_name(diffusion->form));
    if (diffusion->form != FM_DIFFUSION_TABLE) {
        fmp_json_pair_number(json, "norm", diffusion->norm);
    }
    fmp_json_close(json, '}');
}

static void write_corrector(fmp_json *json, fm_corrector *corrector)
{
    fmp_json_key(json, "corrector");
    fmp_json_open(json, '{');
    for (size_t i = 0; i < N_CORRECTOR; i++) {
        fmp_json_pair_number(json, fmp_field_name(fmp_field_at(corrector_numbers[i].field)),
                             *corrector_at(corrector, i));
    }
    fmp_json_close(json, '}');
}

void fmp_solver_options_write(fmp_json *json, const fm_solver *solver)
{
    fm_sampling sampling = solver->sampling;
    for (size_t i = 0; i < N_NUMBERS; i++) {
        if (is_option_of(solver, numbers[i].field)) {
            fmp_json_pair_number(json, fmp_field_name(fmp_field_at(numbers[i].field)),
                                 *number_at(&sampling, i));
        }
    }
    for (size_t i = 0; i < N_COUNTS; i++) {
        if (is_option_of(solver, counts[i].field)) {
            fmp_json_pair_unsigned(json, fmp_field_name(fmp_field_at(counts[i].field)),
                                   *count_at(&sampling, i));
        }
    }
    if (is_option_of(solver, FMP_FIELD_SOLVER_CORRECTOR)) {
        write_corrector(json, &sampling.corrector);
    }
    if (is_option_of(solver, FMP_FIELD_SOLVER_DIFFUSION)) {
        write_diffusion(json, &sampling.diffusion);
    }
    if (is_option_of(solver, FMP_FIELD_SOLVER_LAST_STEP)) {
        fmp_json_pair_text(json, "last_step", fm_last_step_name(sampling.last_step));
    }
    if (is_option_of(solver, FMP_FIELD_SOLVER_CHURN_RANGE) && isfinite(sampling.churn_range[1])) {
        fmp_json_key(json, "churn_range");
        fmp_json_open(json, '[');
        fmp_json_number(json, sampling.churn_range[0]);
        fmp_json_number(json, sampling.churn_range[1]);
        fmp_json_close(json, ']');
    }
}
